"""New examples to predict, from pictures and arrays."""

from pathlib import Path

import numpy as np
from jaxtyping import Num

from ..errors import InputError
from . import checks
from .sources import read_npz


def read_examples(path: Path, shape: tuple[int, ...], white: float | None) -> Num[np.ndarray, "examples ..."]:
    """The examples in an .npz file with x, or the one in a PNG image, of the shape that a network was trained on.

    white: the value of white in the training images. Raises InputError for what does not fit.
    """
    if path.suffix == ".npz":
        arrays = read_npz(path)
        if "x" not in arrays:
            raise InputError(f"{path}: needs an array x; the file holds {', '.join(sorted(arrays)) or 'none'}")
        x = checks.inputs(arrays["x"], f"{path}: ")
        if x.shape[1:] != shape:
            raise InputError(f"{path}: x has examples of shape {x.shape[1:]}, but the network was trained on {shape}")
        return x
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: give PNG images or .npz files")
    if white is None or len(shape) not in (2, 3):
        raise InputError(f"{path}: the network was not trained on images, but on examples of shape {shape}; give an .npz file")
    return (_pixels(path, shape).astype(np.float32) * (white / 255))[None]


def _pixels(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable PNG image ({error})") from None
    if image.mode.startswith(("I", "F")):
        raise InputError(f"{path}: has 16 bits a pixel; save it with 8")
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        raise InputError(f"{path}: is partly transparent; save it on a plain background")
    if (image.height, image.width) != shape[:2]:
        raise InputError(
            f"{path}: is {image.width}x{image.height} pixels, but the network was trained on {shape[1]}x{shape[0]}; scale it first"
        )
    pixels = np.asarray(image.convert("RGB" if shape[2:] == (3,) else "L"))
    return pixels.reshape(shape)

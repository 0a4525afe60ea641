"""Decode PNG and JPEG images: upright, in gray or in color, from 0 to 255."""

import io
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Num

from jaxnet.errors import InputError, near_path

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger("jaxnet")

WHITE = 255.0  # a white pixel of every image that is read here
DEEP_FACTOR = 257.0  # by how much a white pixel of 16 bits, 65,535, is larger
ORIENTATION = 0x0112  # the tag of EXIF


class Picture(NamedTuple):
    """One decoded image.

    Attributes:
        pixels: (height, width) gray or (height, width, 3) colored, from 0 to 255: uint8, or float32
            for a gray image of 16 bits.
        turned: whether it was turned or mirrored as its EXIF orientation says.
        scaling: what became of its 16 bits a channel, in words; None if it has 8 or fewer.
    """

    pixels: np.ndarray
    turned: bool
    scaling: str | None


def decode(
    pictures: Sequence[Path] | Sequence[bytes], names: Sequence[str], size: tuple[int, int] | None
) -> np.ndarray:
    """The pixels of PNG or JPEG images.

    Args:
        pictures: the files, or their contents.
        names: name of each image, for messages.
        size: (height, width) to which images are scaled; None if all have one size.

    Returns:
        (images, height, width[, 3]) uint8.

    Raises:
        InputError: for unreadable images and different sizes.
    """
    with ThreadPoolExecutor() as pool:  # Pillow decodes without the interpreter lock
        opened = list(pool.map(open_image, pictures, names, [size] * len(names)))
    return stacked(opened, names)


def stacked(opened: list[np.ndarray], names: Sequence[str]) -> np.ndarray:
    """The pixels of images of one size in one array.

    Args:
        opened: (height, width[, 3]) pixels of each image.
        names: name of each image, for messages.

    Returns:
        (images, height, width), or (images, height, width, 3) where any image has colors.

    Raises:
        InputError: where sizes differ.
    """
    shapes: dict[tuple[int, ...], str] = {}
    for image, name in zip(opened, names, strict=True):
        shapes.setdefault(image.shape[:2], name)
    if len(shapes) > 1:
        (a, first), (b, second), *_ = shapes.items()
        raise InputError(
            f"{first}: is {a[1]}x{a[0]} pixels, and {second} is {b[1]}x{b[0]}; scale all to one "
            "size, such as --image-size 64 64 "
            "(image_size=(64, 64))"
        )
    if any(image.ndim == 3 for image in opened):
        opened = [
            image if image.ndim == 3 else np.repeat(image[..., None], 3, -1) for image in opened
        ]
    return np.stack(opened)


def read_image(
    path: Path, shape: tuple[int, ...], pixel_max: float | None
) -> Num[np.ndarray, "1 ..."]:
    """Read one new image, as a network was trained on images.

    Args:
        path: a PNG or JPEG file.
        shape: shape of the examples that the network was trained on.
        pixel_max: the value of a white pixel in them; None if they were not images.

    Returns:
        (1, *shape).

    Raises:
        InputError: for what cannot be read or does not fit.
    """
    if pixel_max is None or len(shape) not in (2, 3):
        raise InputError(
            f"{path}: the network was not trained on images, but on examples of shape {shape}; "
            "give an .npz file"
        )
    gray = shape[2:] != (3,)
    pixels, _, scaling = read_picture(path, str(path), gray=gray)
    height, width = pixels.shape[:2]
    if (height, width) != shape[:2]:
        raise InputError(
            f"{path}: is {width}x{height} pixels, but the network was trained on "
            f"{shape[1]}x{shape[0]}; scale it first"
        )
    if scaling is not None:
        logger.info("%s: has 16 bits a channel, %s", path, scaling)
    if not gray and pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, -1)
    return (pixels.reshape(shape).astype(np.float32) * (pixel_max / WHITE))[None]


def open_image(picture: Path | bytes, name: str, size: tuple[int, int] | None) -> np.ndarray:
    """The pixels of one image whose channels have 8 bits.

    Args:
        picture: the file, or its content.
        name: its name, for messages.
        size: (height, width) to which it is scaled; None keeps its size.

    Returns:
        (height, width) uint8 for a gray image, else (height, width, 3).

    Raises:
        InputError: for an unreadable image, and for a gray one of 16 bits.
    """
    pixels = read_picture(picture, name, size).pixels
    if pixels.dtype != np.uint8:
        raise InputError(
            f"{name}: has 16 bits a pixel, which are read from a folder of images only; save it "
            "with 8"
        )
    return pixels


def read_picture(
    source: Path | bytes, name: str, size: tuple[int, int] | None = None, *, gray: bool = False
) -> Picture:
    """Decode one image.

    Args:
        source: the file, or its content.
        name: its name, for messages.
        size: (height, width) to which it is scaled; None keeps its size.
        gray: whether colors become gray.

    Returns:
        The Picture.

    Raises:
        InputError: for an unreadable image.
    """
    from PIL import Image

    image, turned, deep = _opened(source, name)
    scaling = "of which the upper 8 are read" if deep else None
    with image:
        if image.mode.startswith("I"):
            plain = Image.fromarray(np.asarray(image).astype(np.float32) / np.float32(DEEP_FACTOR))
            scaling = "which are scaled to the range 0 to 255 and keep their decimal places"
        else:
            plain = image.convert("L" if gray or _is_gray(image) else "RGB")
        if size is not None and (plain.height, plain.width) != size:
            plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return Picture(np.asarray(plain), turned, scaling)


def _opened(source: Path | bytes, name: str) -> tuple["Image", bool, bool]:
    """(the decoded image, upright and nowhere transparent, whether it was turned, whether its file
    has 16 bits a channel).
    """
    from PIL import Image, UnidentifiedImageError

    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
        image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
        image.load()
    except FileNotFoundError:
        raise InputError(
            f"{name}: no such file{'' if isinstance(source, bytes) else near_path(source)}"
        ) from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        why = "it is neither" if isinstance(error, UnidentifiedImageError) else error
        raise InputError(
            f"{name}: not a readable PNG or JPEG image ({why}); save it again, or remove it"
        ) from None
    deep = image.format == "PNG" and content[24] == 16  # the bit depth in its header
    if image.has_transparency_data and (
        image.mode.startswith("I") or np.asarray(image.convert("RGBA"))[..., 3].min() < 255
    ):
        raise InputError(f"{name}: is partly transparent; save it on a plain background")
    return *_upright(image), deep


def _upright(image: "Image") -> tuple["Image", bool]:
    """(the image as viewers show it, whether it was turned or mirrored for that).

    References:
        CIPA DC-008-2019, Exif 2.32, tag 0x0112.
    """
    from PIL import ImageOps

    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # whatever Pillow raises for damaged tags, which viewers pass over
        return image, False
    if orientation not in range(2, 9):
        return image, False
    return ImageOps.exif_transpose(image), True


def _is_gray(image: "Image") -> bool:
    if image.mode == "P":
        palette = np.array(image.getpalette() or [0, 0, 0]).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA")

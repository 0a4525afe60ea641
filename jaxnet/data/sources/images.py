"""Read pictures from files: a folder with one sub-folder for each class, or a single one."""

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Num

from jaxnet.data import checks
from jaxnet.data.dataset import Splits
from jaxnet.data.sources.formats import format_of
from jaxnet.data.sources.request import Reading
from jaxnet.data.splitting import complete
from jaxnet.errors import InputError, near_path

if TYPE_CHECKING:
    from PIL.Image import Image

FOLDER_PARTS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
}


def has_classes(folder: Path) -> bool:
    """Whether a folder has images in its sub-folders, or one level below them."""
    return any(
        format_of(path) == "image" for level in ("*/*", "*/*/*") for path in folder.glob(level)
    )


def splits_of_folder(folder: Path, reading: Reading) -> Splits:
    """Splits of a folder of images with one sub-folder for each class, or of train, test and
    validation folders with such sub-folders.

    Images are uint8, gray if all of them are, else with three colors. All have one size, or are
    scaled to reading.image_size. Hidden files are ignored.

    Args:
        folder: the folder.
        reading: what `load` was asked for.

    Returns:
        The Splits.

    Raises:
        InputError: for what cannot be read; it names the file.
    """
    reading.refuse(folder, "task", "label", "groups", "order", "drop_columns", "data_dir")
    below = _folders(folder)
    parts = {
        FOLDER_PARTS[path.name.lower()]: path for path in below if path.name.lower() in FOLDER_PARTS
    }
    if len(parts) != len(below) or "train" not in parts:
        parts = {"train": folder}
    names = {part: [path.name for path in _folders(path)] for part, path in parts.items()}
    classes = tuple(names["train"])
    if len(classes) < 2:
        have = (
            f"one sub-folder with images ({classes[0]!r})"
            if classes
            else "no sub-folder with images"
        )
        raise InputError(
            f"{parts['train']}: has {have}; it needs one a class, at least two, each with PNG or "
            "JPEG images of that class"
        )
    for part, found in names.items():
        if strange := sorted(set(found) - set(classes)):
            raise InputError(
                f"{parts[part]}: has a class {strange[0]!r} of which {parts['train']} has no "
                "example; give it some, or take the folder away"
            )
    files = {
        part: [(file, classes.index(c)) for c in names[part] for file in _images(path / c)]
        for part, path in parts.items()
    }
    arrays = _arrays([file for each in files.values() for file, _ in each], reading.image_size)
    data, first = {}, 0
    for part, each in files.items():
        labels = np.array([label for _, label in each])
        data[part] = checks.dataset(
            arrays[first : first + len(each)], labels, classes=classes, where=str(parts[part])
        )
        first += len(each)
    return complete(data, reading, name=folder.resolve().name, where=str(folder))


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
    with _picture(path, str(path)) as image:
        if (image.height, image.width) != shape[:2]:
            raise InputError(
                f"{path}: is {image.width}x{image.height} pixels, but the network was trained on "
                f"{shape[1]}x{shape[0]}; scale it first"
            )
        pixels = np.asarray(image.convert("RGB" if shape[2:] == (3,) else "L"))
    return (pixels.reshape(shape).astype(np.float32) * (pixel_max / 255))[None]


def _arrays(files: list[Path], size: tuple[int, int] | None) -> np.ndarray:
    return decode(files, [str(file) for file in files], size)


def open_image(picture: Path | bytes, name: str, size: tuple[int, int] | None) -> np.ndarray:
    """The pixels of one image.

    Args:
        picture: the file, or its content.
        name: its name, for messages.
        size: (height, width) to which it is scaled; None keeps its size.

    Returns:
        (height, width) uint8 for a gray image, else (height, width, 3).

    Raises:
        InputError: for an unreadable image.
    """
    from PIL import Image

    with _picture(picture, name) as image:
        gray = image.mode in ("1", "L", "LA") or (image.mode == "P" and _is_gray(image))
        plain = image.convert("L" if gray else "RGB")
        if size is not None and (plain.height, plain.width) != size:
            plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(plain)


def _picture(picture: Path | bytes, name: str) -> "Image":
    """The decoded image, with 8 bits for each channel and nowhere transparent."""
    from PIL import Image, UnidentifiedImageError

    try:
        content = picture if isinstance(picture, bytes) else picture.read_bytes()
        image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
        image.load()
    except FileNotFoundError:
        raise InputError(
            f"{name}: no such file{'' if isinstance(picture, bytes) else near_path(picture)}"
        ) from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        why = "it is neither" if isinstance(error, UnidentifiedImageError) else error
        raise InputError(
            f"{name}: not a readable PNG or JPEG image ({why}); save it again, or remove it"
        ) from None
    if image.mode.startswith(("I", "F")):
        raise InputError(f"{name}: has 16 bits a pixel; save it with 8")
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        raise InputError(f"{name}: is partly transparent; save it on a plain background")
    return image


def _is_gray(image: "Image") -> bool:
    palette = np.array(image.getpalette() or [0, 0, 0]).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _folders(folder: Path) -> list[Path]:
    """The sub-folders that are not empty, in order of name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and any(path.iterdir())
    )


def _images(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in ("Thumbs.db", "desktop.ini"):
            continue
        if format_of(path) != "image":
            raise InputError(
                f"{path}: is no PNG or JPEG image; a folder of images holds one sub-folder a "
                "class, and images in them"
            )
        yield path

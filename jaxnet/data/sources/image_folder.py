"""Read a folder of images with one sub-folder for each class."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxnet.data import checks
from jaxnet.data.dataset import Splits
from jaxnet.data.sources.formats import format_of
from jaxnet.data.sources.images import WHITE, Picture, read_picture, stacked
from jaxnet.data.sources.request import Reading
from jaxnet.data.splitting import complete
from jaxnet.errors import InputError

FOLDER_PARTS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}
PART_WORDS = "train or training, validation, valid, val or dev, and test or testing"
# what systems leave in folders, besides files and folders whose names begin with a dot
CLUTTER = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
NAMED = 3  # files and folders that a note names


def has_classes(folder: Path) -> bool:
    """Whether a folder has images in its sub-folders, or up to two levels below them."""
    levels = ("*/*", "*/*/*", "*/*/*/*")
    return any(format_of(path) == "image" for level in levels for path in folder.glob(level))


def splits_of_folder(folder: Path, reading: Reading) -> Splits:
    """Splits of a folder of images with one sub-folder for each class, or of train, test and
    validation folders with such sub-folders.

    Images are gray if all of them are, else they have three colors. They are uint8, or float32 from
    0 to 255 where gray images have 16 bits, and stand upright as their EXIF orientation says. All
    have one size, or are scaled to reading.image_size. Hidden files are ignored. Folders without
    images and images beside the folders of classes are left out, and a note names them.

    Args:
        folder: the folder.
        reading: what `load` was asked for.

    Returns:
        The Splits.

    Raises:
        InputError: for what cannot be read; it names the file.
    """
    unused = "task", "label", "groups", "order", "drop_columns", "data_dir", "table", "inputs"
    reading.refuse(folder, *unused)
    parts = _parts(folder)
    names = {part: [each.name for each in _filled(path)] for part, path in parts.items()}
    classes = tuple(names["train"])
    if len(classes) < 2:
        have = (
            f"one sub-folder with images ({classes[0]!r})"
            if classes
            else "no sub-folder with images"
        )
        raise InputError(
            f"{parts['train']}: has {have}; it needs one a class, at least two, each with PNG or "
            f"JPEG images of that class{_why_too_few(parts['train'])}"
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
    paths = [file for each in files.values() for file, _ in each]
    names_of_files, sizes = list(map(str, paths)), [reading.image_size] * len(paths)
    with ThreadPoolExecutor() as pool:  # Pillow decodes without the interpreter lock
        pictures = list(pool.map(read_picture, paths, names_of_files, sizes))
    arrays = stacked([picture.pixels for picture in pictures], names_of_files)
    data, first = {}, 0
    for part, each in files.items():
        labels = np.array([label for _, label in each])
        own = checks.dataset(
            arrays[first : first + len(each)], labels, classes=classes, where=str(parts[part])
        )
        schema = replace(own.schema, pixel_max=WHITE)  # also where no pixel is white
        data[part] = replace(own, schema=schema)
        first += len(each)
    notes = (*_notes_on_folders(folder, parts), *_notes_on_pictures(folder, paths, pictures))
    return complete(data, reading, name=folder.resolve().name, where=str(folder), notes=notes)


def _parts(folder: Path) -> dict[str, Path]:
    """The folders whose sub-folders are classes, by part; the folder itself is "train" where it has
    no parts.
    """
    held = _filled(folder)
    nested = [path for path in held if _filled(path)]
    if not nested:
        return {"train": folder}
    parts = {FOLDER_PARTS.get(path.name.lower()): path for path in held}
    if len(parts) == len(held) and None not in parts and "train" in parts:
        return {str(part): path for part, path in parts.items()}
    if len(held) == 1:
        why = f"holds only the folder {held[0].name!r}, with folders in it"
    else:
        why = (
            f"holds {_listed(path.name for path in held)}, and folders in "
            f"{nested[0].name!r}. A class has no folders in it; parts of a data set are called "
            f"{PART_WORDS}, one of each and nothing else"
        )
    meant = _deeper(nested)
    raise InputError(
        f"{folder}: {why}; "
        + ("rename or move the folders" if meant is None else f"did you mean {meant}?")
    )


def _deeper(nested: list[Path]) -> Path | None:
    """The first folder, among these and below them, that holds classes or parts; the training
    folder first.
    """
    for path in sorted(nested, key=lambda each: FOLDER_PARTS.get(each.name.lower()) != "train"):
        try:
            parts = _parts(path)
        except InputError:
            parts = {}
        if parts and len(_filled(parts["train"])) > 1:
            return path
        if (found := _deeper([each for each in _filled(path) if _filled(each)])) is not None:
            return found
    return None


def _why_too_few(folder: Path) -> str:
    """What may be the reason where a folder has fewer than two classes, to end a message with."""
    folders, files = _visible(folder)
    empty = _listed(path.name for path in folders if not _holds(path))
    up = any(format_of(path) == "image" for path in files)
    return (f". Without images: {empty}" if empty else "") + (
        f". It holds images itself; did you mean {folder.resolve().parent}?" if up else ""
    )


def _notes_on_folders(folder: Path, parts: dict[str, Path]) -> list[str]:
    """Notes on folders without images, and on images that belong to no class."""
    places = list(dict.fromkeys((folder, *parts.values())))
    empty = [path for place in places for path in _visible(place)[0] if not _holds(path)]
    beside = [file for place in places for file in _visible(place)[1] if format_of(file) == "image"]
    notes = []
    if empty:
        notes.append(f"left out, since they hold no images: {_below(folder, empty)}")
    if beside:
        notes.append(
            f"left out, since they are in no folder of a class: {len(beside):,} images, "
            f"{_below(folder, beside)}"
        )
    return notes


def _notes_on_pictures(folder: Path, files: list[Path], pictures: list[Picture]) -> list[str]:
    """Notes on images that are not read as they are stored."""
    notes = []
    turned = [file for file, each in zip(files, pictures, strict=True) if each.turned]
    if turned:
        notes.append(
            f"{len(turned):,} of {len(files):,} images are turned upright, as their EXIF "
            f"orientation says: {_below(folder, turned)}"
        )
    for scaling in dict.fromkeys(each.scaling for each in pictures):
        if scaling is not None:
            those = [
                file for file, each in zip(files, pictures, strict=True) if each.scaling == scaling
            ]
            notes.append(
                f"{len(those):,} of {len(files):,} images have 16 bits a channel, {scaling}: "
                f"{_below(folder, those)}"
            )
    return notes


def _below(folder: Path, paths: Sequence[Path]) -> str:
    return _listed(str(path.relative_to(folder)) for path in paths)


def _listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    each = list(names)
    more = f" and {len(each) - NAMED:,} more" * (len(each) > NAMED)
    return ", ".join(each[:NAMED]) + more


def _visible(folder: Path) -> tuple[list[Path], list[Path]]:
    """(the sub-folders, the files) in order of name, without what is hidden or left by a system."""
    folders, files = list[Path](), list[Path]()
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.name.lower() not in CLUTTER:
                (folders if entry.is_dir() else files).append(folder / entry.name)
    return sorted(folders), sorted(files)


def _holds(folder: Path) -> bool:
    """Whether there is a file anywhere below a folder."""
    folders, files = _visible(folder)
    return bool(files) or any(map(_holds, folders))


def _filled(folder: Path) -> list[Path]:
    """The sub-folders with files anywhere below them."""
    return [path for path in _visible(folder)[0] if _holds(path)]


def _images(folder: Path) -> list[Path]:
    """The images of a class. Raises InputError for any other file."""
    files = _visible(folder)[1]
    if other := next((file for file in files if format_of(file) != "image"), None):
        raise InputError(
            f"{other}: is no PNG or JPEG image; a folder of images holds one sub-folder "
            "for each class, and images in them"
        )
    return files

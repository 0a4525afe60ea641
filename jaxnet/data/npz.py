"""NumPy's .npz files: data sets with x and y, and the cached arrays of sources that are slow to decode."""

import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import InputError, near, near_path
from . import checks
from .dataset import Splits
from .reading import Reading
from .splitting import assemble, complete

# What reading a damaged, encrypted or foreign file has been seen to raise.
UNREADABLE = (OSError, EOFError, KeyError, MemoryError, NotImplementedError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)


def splits_of_npz(path: Path, reading: Reading) -> Splits:
    """Splits of an .npz file with x and y, and optionally x_test, y_test, x_validation, y_validation and classes."""
    reading.refuse(path, "label", "ignore", "image_size")
    return splits_of_arrays(read_npz(path), reading, name=path.name, where=str(path))


def splits_of_arrays(arrays: dict[str, np.ndarray], reading: Reading, *, name: str, where: str) -> Splits:
    """Splits of named arrays, as an .npz file holds them."""
    if "x" not in arrays:  # as Keras names them
        arrays = {key.removesuffix("_train"): array for key, array in arrays.items()}
    for part in ("", "_test", "_validation"):
        if (f"x{part}" in arrays) != (f"y{part}" in arrays):
            raise InputError(f"{where}: x{part} and y{part} must come together; the file holds {', '.join(sorted(arrays))}")
    if "x" not in arrays:
        raise InputError(f"{where}: needs arrays x and y{near('x', sorted(arrays), 'the file holds')}")
    by = {what: reading.column(what, arrays, where) for what in ("groups", "order") if getattr(reading, what) is not None}
    parts = [part for part in ("y", "y_test", "y_validation") if part in arrays]
    classes = tuple(map(str, arrays["classes"])) if "classes" in arrays else None
    notes = ()
    if classes is None:
        arrays, classes, notes = _labelled(arrays, parts, reading.task, where)
    train = checks.dataset(arrays["x"], arrays["y"], classes=classes, where=where)
    given = {
        part: checks.dataset(arrays[f"x_{part}"], arrays[f"y_{part}"], classes=train.classes, where=f"{where} ({part})")
        for part in ("test", "validation")
        if f"x_{part}" in arrays
    }
    return assemble(*complete({"train": train, **given}, reading, **by), name=name, where=where, notes=notes)


def _labelled(
    arrays: dict[str, np.ndarray], parts: list[str], wanted: str | None, where: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None, tuple[str, ...]]:
    """The arrays with labels as class numbers or values, the classes' names if they are text, and why so."""
    if any(arrays[part].ndim != 1 or arrays[part].dtype.kind not in "biufU" or not len(arrays[part]) for part in parts):
        return arrays, None, ()  # the door has the words for it
    labels = [arrays[part] for part in parts]
    if wanted is None and all(y.dtype.kind == "f" for y in labels):
        chosen, why = "regression", f"the labels are {labels[0].dtype}"
    else:
        chosen, why = checks.task(labels, wanted, where)
    classes = None
    if labels[0].dtype.kind == "U":
        # Numbered over all parts, so that a class has one number in each.
        names = np.unique(np.concatenate(labels))
        labels, classes = [np.searchsorted(names, y) for y in labels], tuple(map(str, names))
    else:
        labels = [y.astype(np.int64 if chosen == "classification" else np.float64) for y in labels]
    return arrays | dict(zip(parts, labels, strict=True)), classes, (f"task: {chosen}, since {why}",)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file. Pickled objects are refused, never loaded."""
    try:
        if not zipfile.is_zipfile(path):
            path.stat()  # raises where there is no such file
            raise InputError(f"{path}: not a readable .npz file (no zip archive); write it again with numpy.savez")
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            read = {key: arrays[key] for key in arrays.files}
        if odd := [key for key, array in read.items() if not isinstance(array, np.ndarray)]:
            raise InputError(f"{path}: {odd[0]} is no array; write the file again with numpy.savez")
        return read
    except FileNotFoundError:
        raise InputError(f"{path}: no such file{near_path(path)}") from None
    except InputError:
        raise
    except UNREADABLE as error:
        if "allow_pickle" in str(error):
            raise InputError(
                f"{path}: holds pickled objects, which could run code and are never loaded; save plain arrays of numbers or text"
            ) from None
        raise InputError(f"{path}: not a readable .npz file ({error}); write it again with numpy.savez") from None


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """The whole file or none: a kill or a full disk leaves what was there before. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(unfinished, "wb") as file:
            np.savez(file, **arrays)  # pyrefly: ignore[bad-argument-type]
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def map_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file that `write_npz` wrote, mapped into memory and not read. Raises one of UNREADABLE."""
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename} is compressed")
            # The local header: 30 bytes, then name and extra field, of lengths that may differ from the directory's.
            file.seek(member.header_offset + 26)
            file.seek(member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4))))
            shape, fortran, dtype = npy_header(file)
            if dtype.hasobject or fortran:
                raise ValueError(f"{member.filename} is no plain array")
            name = member.filename.removesuffix(".npy")
            arrays[name] = np.memmap(path, dtype, "r", file.tell(), shape) if np.prod(shape) else np.zeros(shape, dtype)
    return arrays


def npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether in Fortran order, dtype) of an .npy file, which then stands at its data. Raises ValueError."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)

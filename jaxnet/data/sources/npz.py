"""Read NumPy's .npz files: data sets with x and y, and cached arrays of sources that decode slowly.

Pickled objects are never loaded.
"""

import math
import os
import struct
import zipfile
import zlib
from dataclasses import replace
from io import BufferedIOBase
from pathlib import Path
from typing import IO

import numpy as np

from jaxnet.data import checks, memory
from jaxnet.data.dataset import Dataset, Splits
from jaxnet.data.sources.request import Reading
from jaxnet.data.splitting import complete, ranks
from jaxnet.errors import InputError, near, near_path

# Exceptions that reading a damaged, encrypted or foreign file has raised.
UNREADABLE = (
    OSError,
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
STREAM_INSTEAD = (
    "save x.npy and y.npy into a folder and train from there with --stream (jaxnet.stream), "
    "or give fewer rows"
)


def splits_of_npz(path: Path, reading: Reading) -> Splits:
    """Splits of an .npz file.

    Args:
        path: a file with x and y, and optionally x_test, y_test, x_validation, y_validation and
            classes.
        reading: what `load` was asked for.

    Returns:
        The Splits.

    Raises:
        InputError: for what cannot be read or used.
    """
    reading.refuse(path, "label", "drop_columns", "image_size")
    return splits_of_arrays(read_npz(path), reading, name=path.name, where=str(path))


def splits_of_arrays(
    arrays: dict[str, np.ndarray], reading: Reading, *, name: str, where: str
) -> Splits:
    """Splits of named arrays, as an .npz file holds them.

    Args:
        arrays: the arrays by name.
        reading: what `load` was asked for.
        name: name of the data set.
        where: the source, for messages.

    Returns:
        The Splits.

    Raises:
        InputError: for what cannot be used.
    """
    if "x" not in arrays:  # names that Keras uses
        arrays = {key.removesuffix("_train"): array for key, array in arrays.items()}
    for part in ("", "_test", "_validation"):
        if (f"x{part}" in arrays) != (f"y{part}" in arrays):
            raise InputError(
                f"{where}: x{part} and y{part} must come together; the file holds "
                f"{', '.join(sorted(arrays))}"
            )
    if "x" not in arrays:
        raise InputError(
            f"{where}: needs arrays x and y{near('x', sorted(arrays), 'the file holds')}"
        )
    order = None if reading.order is None else reading.column("order", arrays, where)
    parts = [part for part in ("y", "y_test", "y_validation") if part in arrays]
    classes = tuple(map(str, arrays["classes"])) if "classes" in arrays else None
    notes = ()
    if classes is None:
        arrays, classes, notes = _labeled(arrays, parts, reading.task, where)
    train = checks.dataset(arrays["x"], arrays["y"], classes=classes, where=where)
    given = {
        part: checks.dataset(
            arrays[f"x_{part}"],
            arrays[f"y_{part}"],
            classes=train.classes,
            where=f"{where} ({part})",
        )
        for part in ("test", "validation")
        if f"x_{part}" in arrays
    }
    return complete(
        _grouped({"train": train, **given}, arrays, reading, where),
        reading,
        name=name,
        where=where,
        notes=notes,
        order=order,
    )


def _grouped(
    parts: dict[str, Dataset], arrays: dict[str, np.ndarray], reading: Reading, where: str
) -> dict[str, Dataset]:
    """The parts with their groups. Those of a test or validation set of its own are in the array of
    the same name that ends in "_test" or "_validation"; without it, they are not known.
    """
    if reading.groups is None:
        return parts
    named = {
        part: arrays[name]
        for part in parts
        if part != "train" and (name := f"{reading.groups}_{part}") in arrays
    }
    named["train"] = reading.column("groups", arrays, where)
    for part, values in named.items():
        ranks(values, len(parts[part]), "groups")  # refuses what cannot be used
    _, together = np.unique(np.concatenate(list(named.values())), return_inverse=True)
    codes = np.split(together, np.cumsum([len(values) for values in named.values()])[:-1])
    return parts | {
        part: replace(parts[part], groups=own) for part, own in zip(named, codes, strict=True)
    }


def _labeled(
    arrays: dict[str, np.ndarray], parts: list[str], wanted: str | None, where: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None, tuple[str, ...]]:
    """The arrays with labels as class numbers or values, the names of the classes if they are text,
    and a note on the task.
    """
    if any(
        arrays[part].ndim != 1 or arrays[part].dtype.kind not in "biufU" or not len(arrays[part])
        for part in parts
    ):
        return arrays, None, ()  # `checks.dataset` refuses them
    labels = [arrays[part] for part in parts]
    chosen, why = checks.task(labels, wanted, where)
    classes = None
    if chosen == "regression":
        labels = [y.astype(np.float64) for y in labels]
    elif (
        labels[0].dtype.kind != "U"
        and checks.is_contiguous(own := np.unique(labels[0]))
        and own[0] == 0
    ):
        labels = [y.astype(np.int64) for y in labels]
    else:
        # Numbered over all parts together, so that a class has the same number in each.
        names = np.unique(np.concatenate(labels))
        classes = (
            tuple(map(str, names)) if names.dtype.kind == "U" else checks.numbers_as_names(names)
        )
        labels = [np.searchsorted(names, y) for y in labels]
    return (
        arrays | dict(zip(parts, labels, strict=True)),
        classes,
        (f"task: {chosen}, since {why}",),
    )


def read_npz(path: Path, *, free: int | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file.

    Args:
        path: the file.
        free: bytes that the arrays may take; by default as many as `memory.available` finds.

    Returns:
        The arrays by name.

    Raises:
        InputError: for pickled objects, for what does not fit into memory, and for a damaged file.
    """
    try:
        if not zipfile.is_zipfile(path):
            path.stat()  # raises where there is no such file
            raise InputError(
                f"{path}: not a readable .npz file (no zip archive); write it again with "
                "numpy.savez"
            )
        with zipfile.ZipFile(path) as archive:
            members = {
                name.removesuffix(".npy"): archive.getinfo(name) for name in archive.namelist()
            }
            _check_sizes(
                path,
                {name: _sizes(path, archive, name, member) for name, member in members.items()},
                memory.available() if free is None else free,
            )
            return {name: _unpacked(archive, member) for name, member in members.items()}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file{near_path(path)}") from None
    except InputError:
        raise
    except MemoryError:
        raise InputError(
            f"{path}: there is too little memory for its arrays; {STREAM_INSTEAD}"
        ) from None
    except UNREADABLE as error:
        raise InputError(
            f"{path}: not a readable .npz file ({error}); write it again with numpy.savez"
        ) from None


def _sizes(
    path: Path, archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo
) -> tuple[int, int]:
    """Bytes of an array according to its header and to the archive; only the header is unpacked."""
    with archive.open(member) as file:
        try:
            shape, _, dtype = npy_header(file)
        except ValueError as error:
            raise InputError(
                f"{path}: {name} is no array ({error}); write the file again with numpy.savez"
            ) from None
        if dtype.hasobject:
            raise InputError(
                f"{path}: {name} holds pickled objects, which could run code and are never "
                "loaded; save plain arrays of numbers or text"
            )
        return math.prod(shape) * dtype.itemsize, member.file_size - file.tell()


def _check_sizes(path: Path, sizes: dict[str, tuple[int, int]], free: int | None) -> None:
    """Raise InputError where arrays do not fit into the free memory, or differ in size from their
    headers.
    """
    needed = sum(promised for promised, _ in sizes.values())
    if free is not None and needed > free:
        name = max(sizes, key=lambda each: sizes[each])
        raise InputError(
            f"{path}: its arrays take {needed / 1e9:,.1f} GB of memory ({name} alone "
            f"{sizes[name][0] / 1e9:,.1f} GB), "
            f"but {free / 1e9:,.1f} GB are available; {STREAM_INSTEAD}"
        )
    for name, (promised, there) in sizes.items():
        if promised != there:
            raise InputError(
                f"{path}: the header of {name} promises {promised:,} bytes, but the file has "
                f"{there:,}; write it again with numpy.savez"
            )


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """An array, read a piece at a time; the archive verifies its checksum at the end."""
    with archive.open(member) as file:
        shape, fortran, dtype = npy_header(file)
        array = memory.empty(shape[::-1] if fortran else shape, dtype)
        left = array.reshape(-1).view(np.uint8).data if array.size else b""
        while left:
            if (count := file.readinto(left[: memory.BYTES_AT_ONCE])) == 0:  # pyrefly: ignore[missing-attribute]
                raise EOFError(f"{member.filename} ends {len(left):,} bytes early")
            left = left[count:]
        file.read(1)
    return array.T if fortran else array


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Replace the cache of a source at once: a kill or a full disk leaves what was there before.

    The arrays go to the disk one by one, since together they may be larger than the free memory.

    Args:
        path: the file; its folder is made.
        arrays: the arrays by name.

    Raises:
        OSError: where it cannot be written.
    """
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
    """Map the arrays of an .npz file that `write_npz` wrote into memory, without reading them.

    Args:
        path: the file.

    Returns:
        The arrays by name.

    Raises:
        Exception: one of UNREADABLE.
    """
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename} is compressed")
            # The local header: 30 bytes, then name and extra field, of lengths that may differ from
            # the directory's.
            file.seek(member.header_offset + 26)
            file.seek(member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4))))
            shape, fortran, dtype = npy_header(file)
            if dtype.hasobject or fortran:
                raise ValueError(f"{member.filename} is no plain array")
            name = member.filename.removesuffix(".npy")
            arrays[name] = (
                np.memmap(path, dtype, "r", file.tell(), shape)
                if np.prod(shape)
                else np.zeros(shape, dtype)
            )
    return arrays


def npy_header(file: IO[bytes] | BufferedIOBase) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an .npy file, which then stands at its data.

    Args:
        file: the open file.

    Returns:
        (shape, whether in Fortran order, type).

    Raises:
        ValueError: for what is not an .npy file.
    """
    version = np.lib.format.read_magic(file)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    return read(file)

"""Read NumPy's .npz files: data sets with x and y, and cached arrays of sources that decode slowly.

Pickled objects are never loaded.
"""

import math
import os
import struct
import zipfile
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import IO

import numpy as np

from jaxnet.data import memory
from jaxnet.data.dataset import Splits
from jaxnet.data.sources.arrays import splits_of_arrays
from jaxnet.data.sources.request import Reading
from jaxnet.errors import InputError, near_path

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
    reading.refuse(path, "label", "drop_columns", "image_size", "table")
    return splits_of_arrays(read_npz(path), reading, name=path.name, where=str(path))


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

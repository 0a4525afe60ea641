"""Read rows on disk a stretch at a time: from a pair of .npy files, from decoded Parquet, or from a
prepared data set.

    len(rows), rows.shape, rows.dtype      number of rows, and shape and type of one
    rows.read(first, x, y) -> {row: why}   read the rows from `first` on into two buffers; the
                                           result says which cannot be read, and why

No file is mapped into memory, since pages of a mapped file count as memory of the process. Many
threads may call `read`.
"""

import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from jaxnet.data.sources.npz import npy_header
from jaxnet.errors import InputError, near_path

ROW_DTYPES = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))


@runtime_checkable
class Rows(Protocol):
    """Examples on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """The type of x: uint8, float32 or float64."""
        ...

    @property
    def whole(self) -> bool:
        """Whether labels are whole numbers."""
        ...

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes, if the source knows them."""
        ...

    @property
    def label_shape(self) -> tuple[int, ...]:
        """() where each row has one label or value, (columns,) where it has several."""
        ...

    def __len__(self) -> int: ...

    def read(self, first: int, x: np.ndarray, y: np.ndarray) -> dict[int, str]:
        """Read rows into buffers.

        Args:
            first: number of the first row.
            x: (rows, *shape), filled.
            y: (rows, *label_shape) float64, filled.

        Returns:
            {row: why} for rows that cannot be read.
        """
        ...

    def labels(self, first: int, count: int) -> np.ndarray:
        """The labels of some rows.

        Args:
            first: number of the first row.
            count: number of rows.

        Returns:
            (count, *label_shape) float64.
        """
        ...

    def named(self, row: int, part: str) -> str:
        """File and row, as messages name them.

        Args:
            row: number of the row.
            part: "x" or "y".

        Returns:
            The name.
        """
        ...

    def sizes(self) -> dict[str, int]:
        """The size of each file in bytes, by name."""
        ...


class ArrayFiles:
    """Rows of the files x.npy and y.npy in a folder.

    Args:
        folder: a folder with x.npy, (rows, ...) uint8, float32 or float64 in C order, and y.npy,
            (rows,) whole numbers or floats, or (rows, columns) several of each row.
        whole: whether x.npy may hold integers of any type, which are tokens.

    Attributes:
        folder: the folder.
        shape: shape of one example.
        dtype: type of x.
        whole: whether labels are whole numbers.
        classes: None, since the files name no classes.

    Raises:
        InputError: where the files do not fit together.
    """

    def __init__(self, folder: Path, *, whole: bool = False) -> None:
        self.folder = folder
        self._x, self._y = _Array(folder / "x.npy"), _Array(folder / "y.npy")
        known = self._x.dtype in ROW_DTYPES or (whole and self._x.dtype.kind in "iu")
        if not known or len(self._x.shape) < 2:
            raise InputError(
                f"{self._x.path}: must be (rows, features) or (rows, height, width[, channels]) "
                "of uint8, float32 or float64, but is "
                f"{self._x.shape} of {self._x.dtype}; write x.astype(numpy.float32), or float64 "
                "for large numbers that differ little"
            )
        if self._y.dtype.kind not in "biuf" or len(self._y.shape) not in (1, 2):
            raise InputError(
                f"{self._y.path}: must hold one number per row, or several, but is "
                f"{self._y.shape} of {self._y.dtype}; write class numbers or values"
            )
        if self._x.shape[0] != self._y.shape[0]:
            raise InputError(
                f"{folder}: x.npy has {self._x.shape[0]} rows and y.npy has {self._y.shape[0]}; "
                "they must be the same"
            )
        if len(self) == 0 or 0 in self._x.shape:
            raise InputError(
                f"{self._x.path}: is empty: its shape is {self._x.shape}; give it rows"
            )
        self.classes: tuple[str, ...] | None = None
        self.label_shape = self._y.shape[1:]
        self.shape, self.dtype, self.whole = (
            self._x.shape[1:],
            self._x.dtype,
            self._y.dtype.kind != "f",
        )

    def __len__(self) -> int:
        return self._x.shape[0]

    def read(self, first: int, x: np.ndarray, y: np.ndarray) -> dict[int, str]:
        try:
            self._x.read(first, x)
            y[:] = self.labels(first, len(y))
        except OSError as error:
            return {
                row: f"{self.named(row, 'x')} cannot be read ({error})"
                for row in range(first, first + len(y))
            }
        return {}

    def labels(self, first: int, count: int) -> np.ndarray:
        raw = np.empty((count, *self.label_shape), self._y.dtype)
        self._y.read(first, raw)
        return raw.astype(np.float64)

    def named(self, row: int, part: str) -> str:
        return f"{self.folder / part}.npy: row {row}"

    def sizes(self) -> dict[str, int]:
        return {array.path.name: array.size for array in (self._x, self._y)}


class _Array:
    """An open .npy file whose size agrees with its header."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError:
            raise InputError(f"{path}: no such file{near_path(path)}") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error}); may you read it?") from None
        weakref.finalize(self, os.close, self._file)
        try:
            with open(path, "rb") as file:
                self.shape, fortran, self.dtype = npy_header(file)
                self._begin = file.tell()
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: not a readable .npy file ({error}); write it again with numpy.save"
            ) from None
        if fortran and len(self.shape) > 1:
            raise InputError(
                f"{path}: is in Fortran order, so that a row is scattered over the file; write "
                "numpy.ascontiguousarray(x)"
            )
        if self.dtype.hasobject:
            raise InputError(
                f"{path}: holds pickled objects, which are never loaded; save plain numbers"
            )
        self.size, promised = (
            os.fstat(self._file).st_size,
            self._begin + int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize,
        )
        if self.size != promised:
            raise InputError(
                f"{path}: its header promises {self.shape} of {self.dtype}, {promised} bytes, but "
                f"it has {self.size}; get it again"
            )
        self._row = int(np.prod(self.shape[1:], dtype=object)) * self.dtype.itemsize

    def read(self, first: int, into: np.ndarray) -> None:
        """Read rows from `first` on, as many as the buffer takes. Raises OSError."""
        buffer, at = into.reshape(-1).view(np.uint8).data, self._begin + first * self._row
        while buffer:
            if (count := os.preadv(self._file, [buffer], at)) == 0:
                raise OSError(f"the file ends at byte {at}")
            buffer, at = buffer[count:], at + count


@dataclass(frozen=True, eq=False)
class Renumbered:
    """Rows whose labels are replaced by their index among known labels, and by NaN if they are
    unknown.

    Attributes:
        rows: the rows with their own labels.
        numbers: (classes,) the known labels in ascending order.
        classes: names of the classes.
    """

    rows: Rows
    numbers: Float[np.ndarray, " classes"]
    classes: tuple[str, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    @property
    def dtype(self) -> np.dtype:
        return self.rows.dtype

    @property
    def whole(self) -> bool:
        return True

    @property
    def label_shape(self) -> tuple[int, ...]:
        return ()

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, first: int, x: np.ndarray, y: np.ndarray) -> dict[int, str]:
        bad = self.rows.read(first, x, y)
        y[:] = self._places(y)
        return bad

    def labels(self, first: int, count: int) -> np.ndarray:
        return self._places(self.rows.labels(first, count))

    def named(self, row: int, part: str) -> str:
        return self.rows.named(row, part)

    def sizes(self) -> dict[str, int]:
        return self.rows.sizes()

    def _places(self, labels: np.ndarray) -> np.ndarray:
        places = np.minimum(np.searchsorted(self.numbers, labels), len(self.numbers) - 1)
        return np.where(self.numbers[places] == labels, places, np.nan)

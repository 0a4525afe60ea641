"""Memory for large arrays, in pages that JAX on a CPU adopts without a copy.

Rows that nobody reads again can be given back before the array is deleted.
"""

import contextlib
import math
import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

SMALL = 1 << 16  # bytes of an array that needs no pages of its own
BYTES_AT_ONCE = 1 << 22  # bytes that are worked on at a time
BORDER = 1 << 21  # bytes of the largest page; only whole pages can be given back
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}


class Pages(mmap.mmap):
    """The memory of one array that `empty` made."""


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An uninitialized array in C order, aligned as JAX needs it.

    Args:
        shape: shape of the array.
        dtype: type of its numbers.

    Returns:
        The array.

    Raises:
        MemoryError: where there is no room.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < SMALL:
        return np.empty(shape, dtype)
    try:
        pages = Pages(-1, size, **PRIVATE)
    except OSError as error:
        raise MemoryError(f"{size} bytes: {error}") from None
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without large pages
            pages.madvise(mmap.MADV_HUGEPAGE)
    return np.ndarray(shape, dtype, buffer=pages)


def stretches(array: np.ndarray) -> Iterator[slice]:
    """Slices that cover all rows of an array, each of about BYTES_AT_ONCE bytes."""
    rows = max(1, BYTES_AT_ONCE // max(1, array[:1].nbytes))
    return (slice(begin, min(begin + rows, len(array))) for begin in range(0, len(array), rows))


def release(array: np.ndarray, rows: slice) -> None:
    """Free the memory of rows that nobody reads again. Arrays that `empty` did not make are left as
    they are.

    Args:
        array: the array, or a view of it.
        rows: the rows to free.
    """
    pages = array
    while isinstance(pages, np.ndarray):
        pages = pages.base
    if (
        not isinstance(pages, Pages)
        or not array.flags.c_contiguous
        or not hasattr(mmap, "MADV_DONTNEED")
    ):
        return
    first = array.ctypes.data - np.frombuffer(pages, np.uint8).ctypes.data
    begin, end = (
        (first + row * array.strides[0]) // BORDER * BORDER for row in (rows.start, rows.stop)
    )
    if end > begin:
        pages.madvise(mmap.MADV_DONTNEED, begin, end - begin)


def available(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The memory that this process can still take, within the limits of its container.

    Args:
        proc: the folder in which Linux reports memory.
        groups: the folder in which it reports control groups, of version 1 or 2.

    Returns:
        Bytes, including those of cached files; None where that cannot be found out.
    """
    try:
        about = dict(
            line.split(":")
            for line in (proc / "meminfo").read_text().splitlines()
            if line.count(":") == 1
        )
        free = sum(
            int(about[name].split()[0]) * 1024
            for name in ("MemAvailable", "SwapFree")
            if name in about
        )
        mine = [line.split(":", 2) for line in (proc / "self/cgroup").read_text().splitlines()]
    except (OSError, ValueError):
        return None
    for number, kinds, path in (each for each in mine if len(each) == 3):
        if "memory" in kinds.split(","):
            root, limit, used, cached = (
                groups / "memory",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_{}_file",
            )
        elif number == "0":
            root, limit, used, cached = groups, "memory.max", "memory.current", "{}_file"
        else:
            continue
        # Limits of parent groups apply too. Inside a container, its own group may be the root.
        own = root / path.lstrip("/")
        for folder in dict.fromkeys(
            (root, own, *(each for each in own.parents if each.is_relative_to(root)))
        ):
            with contextlib.suppress(OSError, ValueError):  # not there, or "max"
                most, now = (int((folder / name).read_text()) for name in (limit, used))
                stats = dict(
                    line.split() for line in (folder / "memory.stat").read_text().splitlines()
                )
                now -= sum(
                    int(stats.get(cached.format(kind), 0)) for kind in ("active", "inactive")
                )
                free = min(free, max(0, most - now))
    return free

"""Read MNIST from its four official files, in the IDX format.

References:
    LeCun, Cortes & Burges 1998, "The MNIST database of handwritten digits".
"""

import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from jaxnet.data import checks
from jaxnet.data.dataset import Splits
from jaxnet.data.sources.request import Reading
from jaxnet.data.splitting import assemble, hold_out
from jaxnet.errors import InputError

DIGITS = tuple("0123456789")
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def has_files(folder: Path) -> bool:
    """Whether any of the four files is in a folder."""
    return any((folder / f"{name}{end}").exists() for name in FILES for end in ("", ".gz"))


def splits_of_files(
    folder: Path, reading: Reading, meanwhile: Callable[[], object] | None = None
) -> Splits:
    """60,000 training and 10,000 test images of 28 x 28 pixels, from the four files, gzipped or
    not.

    Args:
        folder: the folder of the files.
        reading: what `load` was asked for.
        meanwhile: a function to call while threads unpack the files.

    Returns:
        The Splits.

    Raises:
        InputError: for missing and damaged files.
    """
    reading.refuse("mnist", "task", "label", "groups", "order")
    reading.refuse("mnist", "drop_columns", "image_size", "table", "inputs")
    paths = [_path(folder, name) for name in FILES]
    with ThreadPoolExecutor(len(paths)) as pool:
        arrays = pool.map(_read, paths, (3, 1, 3, 1))
        if meanwhile is not None:
            meanwhile()  # unpacking needs no interpreter lock
        x, y, x_test, y_test = arrays
    pool_set = checks.dataset(x, y, classes=DIGITS, where=f"{paths[0]} and {paths[1].name}")
    test_set = checks.dataset(
        x_test, y_test, classes=DIGITS, where=f"{paths[2]} and {paths[3].name}"
    )
    return assemble(
        *hold_out(pool_set, reading.validation, reading.seed),
        test_set,
        name="mnist",
        where=str(folder),
    )


def _path(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return path
    files = ", ".join(f"{file}.gz" for file in FILES)
    raise InputError(
        f"{folder / name}.gz is missing: put {files} (or unpacked, without .gz) into a folder and "
        "name it as --data-dir (data_dir=)"
    )


def _read(path: Path, dimensions: int) -> np.ndarray:
    """The array of one IDX file of unsigned bytes, gzipped or not; magic number and sizes are
    checked.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            # One call without the interpreter lock; the gzip module takes it for every 128 KiB.
            content = zlib.decompress(
                content, wbits=zlib.MAX_WBITS | 16, bufsize=max(1, 5 * len(content))
            )
    except (OSError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); get the file again") from None
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, 8, dimensions]):
        raise InputError(
            f"{path}: not an IDX file of {dimensions} dimensions: it begins with "
            f"{content[:4].hex() or 'nothing'} "
            f"instead of 0000080{dimensions}; get the file again"
        )
    shape = tuple(int.from_bytes(content[4 + 4 * i : 8 + 4 * i]) for i in range(dimensions))
    promised, found = int(np.prod(shape, dtype=object)), len(content) - header
    if promised != found:
        raise InputError(
            f"{path}: its header promises {shape}, {promised} bytes, but {found} follow; get the "
            "file again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)

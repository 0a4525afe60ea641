"""Where data come from: a name or a path to Splits."""

import difflib
import importlib
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np

from ..errors import InputError
from . import checks
from .dataset import Splits
from .splitting import assemble, hold_out, split

# What reading a damaged, encrypted or foreign file has been seen to raise.
UNREADABLE = (OSError, EOFError, KeyError, MemoryError, NotImplementedError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)
DIGITS = tuple("0123456789")
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def load(
    name_or_path: str | Path, *, data_dir: str | Path | None = None, validation: float = 0.1, test: float = 0.2, seed: int = 0
) -> Splits:
    """Splits of a named data set, or of a file.

    name_or_path: "digits" (1,797 8x8 images, in the package), "mnist" (its four IDX files in data_dir), or the
        path of an .npz file with x and y, and optionally x_test, y_test, x_validation, y_validation.
    validation: fraction of the training pool to hold out, 0 for none. test: likewise, where the source has no
        test set of its own. seed: of the split. Raises InputError for what cannot be found, read or used.
    """
    checks.fractions(validation, None, seed)
    name = str(name_or_path)
    if name in SOURCES:
        return SOURCES[name](data_dir=data_dir, validation=validation, test=test, seed=seed)
    path = Path(name_or_path)
    if path.suffix == ".npz":
        return _npz(path, validation=validation, test=test, seed=seed)
    near = difflib.get_close_matches(name, SOURCES, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InputError(f"unknown data set {name!r}.{hint} Known are {', '.join(SOURCES)}, and paths that end in .npz")


def _digits(*, data_dir: str | Path | None, validation: float, test: float, seed: int) -> Splits:
    """Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits: the 1,797 images of its test part."""
    with resources.as_file(resources.files("jaxnet.data") / "digits.npz") as path, np.load(path) as arrays:
        splits = split(arrays["x"], arrays["y"], validation=validation, test=test, seed=seed, classes=DIGITS, name="digits")
    return _with_white(splits, 16.0)


def _mnist(*, data_dir: str | Path | None, validation: float, test: float, seed: int) -> Splits:
    """LeCun, Cortes & Burges 1998: 60,000 training and 10,000 test images of 28x28 pixels."""
    paths = [_idx_path(data_dir, name) for name in IDX_FILES]
    with ThreadPoolExecutor(len(paths)) as pool:
        arrays = pool.map(_read_idx, paths, (3, 1, 3, 1))
        # Unpacking needs no interpreter lock, so what training will import anyway is imported meanwhile.
        for module in ("optax", "jaxnet.layers"):
            importlib.import_module(module)
        x, y, x_test, y_test = arrays
    pool_set = checks.dataset(x, y, classes=DIGITS, where=f"{paths[0]} and {paths[1].name}")
    test_set = checks.dataset(x_test, y_test, classes=DIGITS, where=f"{paths[2]} and {paths[3].name}")
    return assemble(*hold_out(pool_set, validation, seed), test_set, name="mnist", where=str(data_dir))


SOURCES = {"digits": _digits, "mnist": _mnist}


def _npz(path: Path, *, validation: float, test: float, seed: int) -> Splits:
    arrays = read_npz(path)
    if "x" not in arrays:  # as Keras names them
        arrays = {name.removesuffix("_train"): array for name, array in arrays.items()}
    for part in ("", "_test", "_validation"):
        if (f"x{part}" in arrays) != (f"y{part}" in arrays):
            raise InputError(f"{path}: x{part} and y{part} must come together; the file holds {', '.join(sorted(arrays))}")
    if "x" not in arrays:
        raise InputError(f"{path}: needs arrays x and y; the file holds {', '.join(sorted(arrays)) or 'none'}")
    # Text labels are numbered over all parts, so that a class has one number in each.
    labels = [arrays[part] for part in ("y", "y_test", "y_validation") if part in arrays]
    classes = None
    text = [y.dtype.kind == "U" and y.ndim == 1 for y in labels]
    if any(text) and not all(text):
        raise InputError(f"{path}: some labels are text and some are not; give all of them as text, or all as numbers")
    if all(text):
        names = np.unique(np.concatenate(labels))
        arrays |= {part: np.searchsorted(names, arrays[part]) for part in ("y", "y_test", "y_validation") if part in arrays}
        classes = tuple(map(str, names))
    train = checks.dataset(arrays["x"], arrays["y"], classes=classes, where=str(path))
    given = {
        part: checks.dataset(arrays[f"x_{part}"], arrays[f"y_{part}"], classes=train.classes, where=f"{path} ({part})")
        for part in ("test", "validation")
        if f"x_{part}" in arrays
    }
    if "test" not in given:
        checks.fractions(validation, test, seed)
        train, given["test"] = hold_out(train, test, seed)
        validation = validation / (1 - test)
    if "validation" not in given:
        train, given["validation"] = hold_out(train, validation, seed + 1)
    return assemble(train, given["validation"], given["test"], name=path.name, where=str(path))


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
        raise InputError(f"{path}: no such file") from None
    except InputError:
        raise
    except UNREADABLE as error:
        if "allow_pickle" in str(error):
            raise InputError(
                f"{path}: holds pickled objects, which could run code and are never loaded; save plain arrays of numbers or text"
            ) from None
        raise InputError(f"{path}: not a readable .npz file ({error}); write it again with numpy.savez") from None


def _idx_path(data_dir: str | Path | None, name: str) -> Path:
    files = ", ".join(f"{file}.gz" for file in IDX_FILES)
    cure = f"put {files} (or unpacked, without .gz) into a folder and name it as --data-dir (data_dir=)"
    if data_dir is None:
        raise InputError(f"mnist is read from its four files, and no folder was given: {cure}")
    for path in (Path(data_dir) / name, Path(data_dir) / f"{name}.gz"):
        if path.exists():
            return path
    raise InputError(f"{Path(data_dir) / name}.gz is missing: {cure}")


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The array of one IDX file of unsigned bytes, gzipped or not, with magic number and sizes checked."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            # One call that holds no interpreter lock: the gzip module would come back for it at every 128 KiB.
            content = zlib.decompress(content, wbits=zlib.MAX_WBITS | 16, bufsize=max(1, 5 * len(content)))
    except (OSError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); get the file again") from None
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, 8, dimensions]):
        raise InputError(
            f"{path}: not an IDX file of {dimensions} dimensions: it begins with {content[:4].hex() or 'nothing'} "
            f"instead of 0000080{dimensions}; get the file again"
        )
    shape = tuple(int.from_bytes(content[4 + 4 * i : 8 + 4 * i]) for i in range(dimensions))
    promised, found = int(np.prod(shape, dtype=object)), len(content) - header
    if promised != found:
        raise InputError(f"{path}: its header promises {shape}, {promised} bytes, but {found} follow; get the file again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _with_white(splits: Splits, white: float) -> Splits:
    parts = {name: replace(getattr(splits, name), white=white) for name in ("train", "validation", "test")}
    return replace(splits, **parts)

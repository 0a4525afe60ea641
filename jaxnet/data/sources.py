"""Where data come from: a name or a path to Splits."""

import difflib
import importlib
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np

from ..errors import InputError
from . import checks
from .dataset import Dataset, Splits
from .splitting import assemble, hold_out, split

DIGITS = tuple("0123456789")
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def load(
    name_or_path: str | Path,
    *,
    data_dir: str | Path | None = None,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
) -> Splits:
    """Splits of a named data set, or of a file.

    name_or_path: "digits" (1,797 8x8 images, in the package), "mnist" (its four IDX files in data_dir), or the
        path of an .npz file with x and y, and optionally x_test, y_test, x_validation, y_validation.
    validation: fraction of the training pool to hold out, 0 for none. test: likewise, where the source has no
        test set of its own. seed: of the split. Raises InputError for what cannot be found, read or used.
    """
    checks.fractions(validation, None)
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
    with resources.as_file(resources.files(__package__) / "digits.npz") as path, np.load(path) as arrays:
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
    return assemble(*hold_out(pool_set, validation, seed), test_set, name="mnist")


SOURCES = {"digits": _digits, "mnist": _mnist}


def _npz(path: Path, *, validation: float, test: float, seed: int) -> Splits:
    arrays = read_npz(path)
    if "x_train" in arrays and "x" not in arrays:
        arrays |= {"x": arrays["x_train"], "y": arrays.get("y_train")}
    for part in ("", "_test", "_validation"):
        if (f"x{part}" in arrays) != (f"y{part}" in arrays) or arrays.get(f"y{part}", 0) is None:
            raise InputError(f"{path}: x{part} and y{part} must come together; the file holds {', '.join(sorted(arrays))}")
    if "x" not in arrays:
        raise InputError(f"{path}: needs arrays x and y; the file holds {', '.join(sorted(arrays)) or 'none'}")
    text = [str(label) for part in ("y", "y_test", "y_validation") if arrays.get(part, np.zeros(0)).dtype.kind == "U" for label in arrays[part]]
    read = partial(_npz_part, arrays, path, tuple(sorted(set(text))) or None)
    pool = read("")
    if "x_test" in arrays:
        given = read("_test", pool.classes)
    else:
        checks.fractions(validation, test)
        pool, given = hold_out(pool, test, seed)
        validation = validation / (1 - test)
    if "x_validation" in arrays:
        train, held_out = pool, read("_validation", pool.classes)
    else:
        train, held_out = hold_out(pool, validation, seed + 1)
    return assemble(train, held_out, given, name=path.name)


def _npz_part(
    arrays: dict[str, np.ndarray], path: Path, names: tuple[str, ...] | None, part: str, classes: tuple[str, ...] | None = None
) -> Dataset:
    """One given part of the file; text labels are numbered over all its parts."""
    x, y = arrays[f"x{part}"], arrays[f"y{part}"]
    if names is not None and y.dtype.kind == "U":
        y, classes = np.searchsorted(np.asarray(names), y), names
    return checks.dataset(x, y, classes=classes, where=str(path))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file. Pickled objects are refused, never loaded."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise InputError(
                f"{path}: holds pickled objects, which could run code and are never loaded; save plain arrays of numbers or text"
            ) from None
        raise InputError(f"{path}: not a readable .npz file ({error})") from None
    except (OSError, EOFError, KeyError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a readable .npz file ({error}); write it again with numpy.savez") from None


def _idx_path(data_dir: str | Path | None, name: str) -> Path:
    cure = f"put {', '.join(f'{file}.gz' for file in IDX_FILES)} (or unpacked, without .gz) into a folder and name it as --data-dir (data_dir=)"
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

"""Runs and unfinished trainings on disk, with Orbax: written whole or not at all, checked when
read, and never a pickle.
"""

import functools
import gc
import glob
import itertools
import json
import logging
import re
import shutil
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxnet.core.failure import Failure
from jaxnet.core.recipe import (
    CUSTOM,
    NUMBERS,
    OPTIMIZERS,
    STRUCTURE,
    NotRestored,
    Recipe,
    describe_recipe,
    optimizer_name,
)
from jaxnet.core.run import Run
from jaxnet.core.signals import Signals
from jaxnet.core.training import Best, EpochMetrics
from jaxnet.data import Column, Schema, Standardization
from jaxnet.data.augmentation import AUGMENTATION_FIELDS, Augmentation
from jaxnet.data.precision import Origin
from jaxnet.data.schema import Dates
from jaxnet.engine import arguments
from jaxnet.engine.fingerprint import FORMER_FIELDS, differences
from jaxnet.errors import InputError, check_path, near_path
from jaxnet.models.builtin import current_name
from jaxnet.random import with_key_data, with_keys
from jaxnet.runtime.files import check_folder, writing
from jaxnet.runtime.processes import is_first, once
from jaxnet.typing import Rebuilt

FORMATS = (1, 2)  # read; the last one is written, and has checksums of its files
CHECKSUMS = "checksums.json"  # in the folder of a checkpoint: the CRC-32 of each of its files
WRITERS_STOP = 40  # times that a folder is removed, every .05 s, until no thread writes into it
UNFINISHED = ".unfinished"  # ends the name of a folder that is being written or removed
DAMAGED = ".damaged"  # of one that was found damaged, and is kept
KEPT = 2  # checkpoints of a training: should the last one be damaged, there is the one before
PIECE = 1 << 20  # bytes read at once
ORIGINS = (
    "origin",
    "target_origin",
)  # of a Standardization: kept as text, which loses no digit of float64
NUMBERED = re.compile(r"\d{8}")
LEFT_OVER = re.compile(
    r"(part-)?\d{8}(\.unfinished|\.orbax-checkpoint-tmp).*"
)  # what a kill cut short

logger = logging.getLogger("jaxnet")


class DamagedError(InputError):
    """A checkpoint is not what was written. path: its folder."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


def save(run: Run | Rebuilt, path: str | Path) -> None:
    """Write a Run as a folder, which must not exist yet. Its parameters must be arrays in dicts,
    lists and tuples.

    A Population is refused: fit_population(..., out=folder) keeps its members, and the same call
    reads them again.

    Of several processes all call it, and the first writes.
    """
    arguments.check(run=run)
    check_path("path", path)
    path = Path(path).absolute()
    once(functools.partial(check_folder, path, ending=UNFINISHED))
    if path.exists():
        raise InputError(f"{path} exists already; give another path, or remove it first")
    arrays = {f.name: getattr(run, f.name) for f in fields(Run) if not f.metadata.get("static")}
    arrays["recipe"] = {name: _plain(getattr(run.recipe, name)) for name in NUMBERS}
    about = {"model": run.model, **vars(run.schema), "shape": run.shape}
    about |= {"layers": run.layers} if run.layers else {}
    about |= {} if run.failure is None else {"failure": run.failure._asdict()}
    about["recipe"] = describe_recipe(run.recipe)
    about |= {
        name: None if (origin := getattr(run.standardization, name)) is None else asdict(origin)
        for name in ORIGINS
    }
    about["arrays"] = {name: _outline(_plain(tree), name) for name, tree in arrays.items()}
    write_part(path, {name: _plain(tree) for name, tree in arrays.items()}, about)


def restore(path: str | Path, *, optimizer: Any = None) -> Run:
    """The Run that `save` wrote. Raises InputError for anything else.

    optimizer: the one of the run's recipe where it is a function of one's own, of which files hold
        the name alone. Without it the run predicts, but its recipe trains nothing.
    """
    check_path("path", path)
    path = Path(path).absolute()
    cure = (
        "give a folder that jaxnet.save wrote, such as params/ of a run, or train and save it again"
    )
    try:
        about = read_about(path)
        wanted = {name: _abstract(outline) for name, outline in about["arrays"].items()}
        given = {FORMER_FIELDS.get(name, name): tree for name, tree in _read(path, wanted).items()}
        given["recipe"] = {
            FORMER_FIELDS.get(name, name): value for name, value in given["recipe"].items()
        }
        about = {FORMER_FIELDS.get(name, name): value for name, value in about.items()}
        structure = about["recipe"] | {"epochs": int(about["recipe"]["epochs"])}
        used = _optimizer(structure["optimizer"], optimizer, path)
        numbers = given["recipe"]
        if numbers.get("augmentation") is not None:
            numbers["augmentation"] = Augmentation(**numbers["augmentation"])
        return Run(
            params=given["params"],
            model_state=given["model_state"],
            best=None if given["best"] is None else Best(**given["best"]),
            standardization=Standardization(
                **given["standardization"],
                origin=_origin(about.get("origin")),
                target_origin=_origin(about.get("target_origin")),
            ),
            history=EpochMetrics(**given["history"] | {"signals": _signals(given["history"])}),
            epochs=given["epochs"],
            diverged_at=given["diverged_at"],
            recipe=Recipe(
                **{name: structure[name] for name in STRUCTURE} | {"optimizer": used}, **numbers
            ),
            model=current_name(str(about["model"])),
            shape=tuple(map(int, about["shape"])),
            schema=_schema(about),
            layers=_texts(about.get("layers", [])),
            failure=_failure(about.get("failure")),
        )
    except DamagedError as error:
        raise InputError(f"{error}; {cure}") from None
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: not a run that jaxnet saved ({type(error).__name__}: {error}); {cure}"
        ) from None


def save_progress(folder: Path, epoch: int, progress: PyTree, about: dict[str, Any]) -> None:
    """Write an unfinished training after this epoch; of older ones the last stays until there is
    another.
    """
    write_part(folder / f"{epoch:08d}", progress, about)
    if not is_first():
        return
    for old in sorted(
        (path for path in folder.iterdir() if NUMBERED.fullmatch(path.name)), reverse=True
    )[KEPT:]:
        remove(old)
    remove_left_over(folder)


def restore_progress(
    folder: Path, wanted: PyTree, about: dict[str, Any]
) -> tuple[PyTree | None, list[DamagedError]]:
    """(the newest intact unfinished training in the folder, what is wrong with newer ones); None
    where there are no checkpoints.

    wanted: its shapes. about: what the training was of. Raises InputError, naming the difference,
    where it was of something else, and where there are checkpoints but none is intact. Give the
    errors to `set_aside` once all processes have read.
    """
    damaged = list[DamagedError]()
    if not folder.is_dir():
        return None, damaged
    for path in sorted((p for p in folder.iterdir() if NUMBERED.fullmatch(p.name)), reverse=True):
        try:
            given = read_about(path)
            differences(given, about, where=folder)
            return _read(path, wanted), damaged
        except DamagedError as error:
            damaged.append(error)
    check_not_lost(folder, damaged)
    return None, damaged


def check_not_lost(folder: Path, damaged: Sequence[DamagedError]) -> None:
    """Raise InputError where all that a folder has of a training is damaged: to begin again is not
    for a program to decide.
    """
    before = sorted(str(path) for path in folder.glob("*") if DAMAGED in path.suffixes)
    if damaged or before:
        what = str(damaged[0]) if damaged else f"{before[-1]} is damaged"
        raise InputError(
            f"{what}, and no other checkpoint is intact; give another --out, or delete {folder} "
            "to begin again"
        )


def set_aside(damaged: Sequence[DamagedError], instead: str) -> None:
    """Warn of damaged checkpoints, and rename them, so that they are kept as they are. instead:
    what is used now.
    """
    for error in damaged:
        names = (
            error.path.with_name(error.path.name + DAMAGED + f".{i}" * (i > 1))
            for i in itertools.count(1)
        )
        kept = next(path for path in names if not path.exists())
        logger.warning("%s; %s. The damaged one is kept as %s", error, instead, kept.name)
        if is_first():
            error.path.rename(kept)


def discard_progress(folder: Path) -> None:
    """Remove the checkpoints of a training that is finished. Damaged ones stay."""
    if folder.is_dir() and is_first():
        remove_left_over(folder)
        for path in folder.iterdir():
            if NUMBERED.fullmatch(path.name):
                remove(path)
        if not any(folder.iterdir()):
            folder.rmdir()


def remove(path: Path) -> None:
    """Remove a checkpoint; a kill leaves none by its name that is not whole."""
    going = path.with_name(path.name + UNFINISHED)
    shutil.rmtree(going, ignore_errors=True)  # a kill may have left one
    with suppress(OSError):
        path.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def remove_left_over(folder: Path) -> None:
    """Remove what a kill left of checkpoints that were being written or removed."""
    for path in folder.glob("*"):
        if LEFT_OVER.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def write_part(path: Path, arrays: PyTree, about: dict[str, Any]) -> None:
    """Write arrays and what is to be said of them, whole or not at all, with checksums of all
    files.
    """
    from orbax.checkpoint import v1

    unfinished = path.with_name(path.name + UNFINISHED)
    # On the host: of several processes Orbax writes such arrays from the first.
    arrays = jax.tree.map(np.asarray, with_key_data(arrays))

    def make_room() -> None:
        with writing(path):
            for left in path.parent.glob(
                f"{glob.escape(unfinished.name)}*"
            ):  # by a kill; Orbax would say so
                shutil.rmtree(left)
            # Where Orbax itself finds a folder that it cannot make, its threads wait for ever.
            check_folder(
                path,
                sum(leaf.nbytes for leaf in jax.tree.leaves(arrays)),
                ending=f"{UNFINISHED}.orbax-checkpoint-tmp",
            )
            path.parent.mkdir(parents=True, exist_ok=True)

    def seal() -> None:
        with writing(path):
            write_checksums(unfinished, [file for file in unfinished.rglob("*") if file.is_file()])
            unfinished.rename(path)

    once(make_room)
    try:
        with writing(path), _quiet():
            v1.save(str(unfinished), arrays, custom_metadata={"jaxnet": FORMATS[-1], **about})
        once(seal)
    except InputError:
        for left in path.parent.glob(f"{glob.escape(unfinished.name)}*") if is_first() else ():
            _remove_from_writers(left)
        raise


def _remove_from_writers(folder: Path) -> None:
    """Remove a folder into which threads of Orbax may still write after it has failed."""
    for _ in range(WRITERS_STOP):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break
        time.sleep(0.05)


def read_arrays(path: Path, wanted: PyTree) -> PyTree:
    """The arrays of a checkpoint, on the host. wanted: their shapes. Raises DamagedError; call
    `read_about` first, which checks files.
    """
    return jax.tree.map(np.asarray, _read(path, wanted))


def _optimizer(name: str, given: Any, path: Path) -> Any:
    """The optimizer of a run that was saved: a built-in one, the one that is given, or what stands
    for it.
    """
    known = name in OPTIMIZERS
    if given is None:
        return name if known else NotRestored(name.removeprefix(CUSTOM))
    before = not (
        path / CHECKSUMS
    ).exists()  # older files do not say whether an optimizer is a built-in one
    if optimizer_name(given) not in (name, *[CUSTOM + name] * before):
        cure = "leave optimizer out" if known else f"give {name.removeprefix(CUSTOM)}"
        raise InputError(
            f"{path}: optimizer is {optimizer_name(given)}, but the run was trained with {name}; "
            f"{cure}"
        )
    return given


def read_about(path: Path) -> dict[str, Any]:
    """What was said of the arrays when they were saved. Raises DamagedError where a file of the
    checkpoint has changed.
    """
    if not path.exists():
        raise InputError(f"{path}: no such checkpoint{near_path(path)}")
    from orbax.checkpoint import v1

    sealed = (path / CHECKSUMS).exists()
    if sealed:
        check_files(
            path
        )  # so that Orbax, which prints what its readers raise, is given intact files only
    try:
        with _quiet():
            about: Any = v1.metadata(str(path)).custom_metadata
    except Exception as error:  # as in _read
        raise DamagedError(
            f"{path}: not a checkpoint ({type(error).__name__}: {error})", path
        ) from None
    written = about.pop("jaxnet", None) if isinstance(about, dict) else None
    if written not in FORMATS:
        raise DamagedError(f"{path}: not a checkpoint that this version of jaxnet wrote", path)
    if written > 1 and not sealed:
        raise DamagedError(f"{path} is damaged: {CHECKSUMS} is missing", path)
    return about


def _read(path: Path, wanted: PyTree) -> PyTree:
    from orbax.checkpoint import v1

    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    plain = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
        jax.eval_shape(with_key_data, wanted),
    )
    try:
        with _quiet():
            return with_keys(wanted, v1.load(str(path), plain))
    except (
        Exception
    ) as error:  # Orbax raises whatever its readers do; from outside it is one thing: unreadable
        raise DamagedError(
            f"{path}: its arrays cannot be read ({type(error).__name__}: {error})", path
        ) from None


def write_checksums(folder: Path, files: Sequence[Path]) -> None:
    """Write the CRC-32 of files in a folder, for `check_files`."""
    checksums = {str(file.relative_to(folder)): _file_checksum(file) for file in sorted(files)}
    (folder / CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")


def check_files(path: Path) -> None:
    """Raise DamagedError, naming the file, where one of a folder is not what was written."""
    try:
        files = dict(json.loads((path / CHECKSUMS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DamagedError(
            f"{path} is damaged: {CHECKSUMS} cannot be read ({error})", path
        ) from None
    for name, checksum in files.items():
        try:
            same = _file_checksum(path / name) == checksum
        except (OSError, ValueError) as error:
            raise DamagedError(
                f"{path} is damaged: {name} cannot be read ({error})", path
            ) from None
        if not same:
            raise DamagedError(f"{path} is damaged: {name} is not what was written there", path)


def _file_checksum(path: Path) -> int:
    total = 0
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            total = zlib.crc32(piece, total)
    return total


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Orbax logs and prints of files that it cannot read: what it raises says it
    once.
    """
    loggers, hook = [logging.getLogger(name) for name in ("absl", "asyncio")], sys.unraisablehook

    def unless_closed(unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            hook(unraisable)

    for each in loggers:
        each.addFilter(_nothing)
    sys.unraisablehook = unless_closed
    try:
        yield
    except Exception:
        gc.collect()  # tasks that failed beside say so when they are collected
        raise
    finally:
        sys.unraisablehook = hook
        for each in loggers:
            each.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False


def _signals(history: dict[str, Any]) -> Signals | None:
    """The signals in the history of a file; those of former versions have none."""
    given = history.get("signals")
    return None if given is None else Signals(**given)


def _failure(given: dict[str, Any] | None) -> Failure | None:
    """The failure in a file; those of former versions have none."""
    return None if given is None else Failure(**given | {"rows": tuple(map(int, given["rows"]))})


def _schema(about: dict[str, Any]) -> Schema:
    """The Schema that a file describes; those of former versions have no words for gaps."""
    missing = about.get("missing")
    classes, pixel_max, columns = about["classes"], about["pixel_max"], about["columns"]
    return Schema(
        None if classes is None else _texts(classes),
        None if pixel_max is None else float(pixel_max),
        None if columns is None else tuple(_column(*each) for each in columns),
        None if (label := about.get("label")) is None else _column(*label),
        None if (grouped_by := about.get("grouped_by")) is None else str(grouped_by),
        None if missing is None else _texts(missing),
        None if (fills := about.get("fills")) is None else tuple(map(float, fills)),
        None if (ids := about.get("vocabulary")) is None else int(ids),
        None if (pad := about.get("pad")) is None else int(pad),
        None if (own := about.get("targets")) is None else tuple(_column(*each) for each in own),
        bool(about.get("multi_label", False)),
    )


def _column(
    name: str, categories: list[str] | None, dates: list[Any] | None = None, *more: Any
) -> Column:
    """The Column that a file describes; those of former versions have fewer fields."""
    return Column(
        str(name),
        None if categories is None else _texts(categories),
        None if dates is None else Dates(str(dates[0]), _texts(dates[1]), str(dates[2])),
        *more,
    )


def _texts(values: list[Any]) -> tuple[str, ...]:
    return tuple(map(str, values))


def _origin(given: dict[str, Any] | None) -> Origin | None:
    return (
        None
        if given is None
        else Origin(*(tuple(map(float, given[name])) for name in ("offset", "unit")))
    )


def _plain(tree: Any) -> Any:
    """Our own named tuples as dicts, so that files say what is what."""
    if isinstance(tree, Best | EpochMetrics | Signals | Standardization):
        return {
            name: _plain(value) for name, value in tree._asdict().items() if name not in ORIGINS
        }
    if isinstance(tree, Augmentation):
        return {name: getattr(tree, name) for name in AUGMENTATION_FIELDS}
    return tree


def _outline(tree: Any, where: str) -> Any:
    """The containers of a tree as JSON, with shape and type in place of each array."""
    if tree is None:
        return None
    if isinstance(tree, dict) and all(isinstance(key, str) for key in tree):
        return {"dict": {key: _outline(value, f"{where}.{key}") for key, value in tree.items()}}
    if type(tree) in (list, tuple):
        return {
            type(tree).__name__: [_outline(value, f"{where}[{i}]") for i, value in enumerate(tree)]
        }
    if hasattr(tree, "shape") and hasattr(tree, "dtype"):
        return {"shape": list(tree.shape), "dtype": str(tree.dtype)}
    raise InputError(
        f"{where} is a {type(tree).__name__}, which cannot be saved; give arrays in dicts with "
        "text keys, lists and tuples"
    )


def _abstract(outline: Any) -> Any:
    """What `_outline` described, with a ShapeDtypeStruct for each array."""
    if outline is None:
        return None
    if "dict" in outline:
        return {key: _abstract(value) for key, value in outline["dict"].items()}
    if "list" in outline:
        return [_abstract(value) for value in outline["list"]]
    if "tuple" in outline:
        return tuple(_abstract(value) for value in outline["tuple"])
    return jax.ShapeDtypeStruct(tuple(map(int, outline["shape"])), jnp.dtype(outline["dtype"]))

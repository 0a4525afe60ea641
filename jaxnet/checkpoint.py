"""Runs and unfinished trainings on disk, with Orbax: written whole or not at all, and never a pickle."""

import json
import re
import reprlib
import shutil
import zlib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .data import Column, Standardisation
from .data.augmentation import NAMES, Augmentation
from .errors import InputError, near_path
from .keys import with_keys, words
from .processes import first, gather
from .recipe import NUMBERS, STRUCTURE, Recipe
from .run import Best, Row, Run

FORMAT = 1
SHORT = reprlib.Repr()  # thousands of members are named by the first few
SHORT.maxstring = SHORT.maxother = 200
NUMBERED = re.compile(r"\d{8}")
OURS = re.compile(r"\d{8}(\.orbax-checkpoint-tmp.*)?")


def save(run: Run, path: str | Path) -> None:
    """Write a Run as a folder, which must not exist yet. Its parameters must be arrays in dicts, lists and tuples.

    Of several processes all call it, and the first writes.
    """
    path = Path(path).absolute()
    if path.exists():
        raise InputError(f"{path} exists already; give another path, or remove it first")
    arrays = {f.name: getattr(run, f.name) for f in fields(Run) if not f.metadata.get("static")}
    arrays["recipe"] = {name: _plain(getattr(run.recipe, name)) for name in NUMBERS}
    about = {f.name: getattr(run, f.name) for f in fields(Run) if f.metadata.get("static")}
    about["recipe"] = describe_recipe(run.recipe)
    about["arrays"] = {name: _outline(_plain(tree), name) for name, tree in arrays.items()}
    write_part(path, {name: _plain(tree) for name, tree in arrays.items()}, about)


def restore(path: str | Path) -> Run:
    """The Run that `save` wrote. Raises InputError for anything else."""
    path = Path(path).absolute()
    about = _about(path)
    try:
        wanted = {name: _abstract(outline) for name, outline in about["arrays"].items()}
        given = _read(path, wanted)
        structure = about["recipe"] | {"epochs": int(about["recipe"]["epochs"])}
        numbers = given["recipe"]
        if numbers.get("augmentation") is not None:
            numbers["augmentation"] = Augmentation(**numbers["augmentation"])
        return Run(
            params=given["params"],
            model_state=given["model_state"],
            best=None if given["best"] is None else Best(**given["best"]),
            standardisation=Standardisation(**given["standardisation"]),
            history=Row(**given["history"]),
            epochs=given["epochs"],
            diverged_at=given["diverged_at"],
            recipe=Recipe(**{name: structure[name] for name in STRUCTURE}, **numbers),
            model=str(about["model"]),
            classes=None if about["classes"] is None else tuple(map(str, about["classes"])),
            white=None if about["white"] is None else float(about["white"]),
            shape=tuple(map(int, about["shape"])),
            columns=None if about["columns"] is None else tuple(_column(*column) for column in about["columns"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: not a run that jaxnet saved ({type(error).__name__}: {error}); give a folder that jaxnet.save wrote"
        ) from None


def save_progress(folder: Path, epoch: int, progress: PyTree, about: dict[str, Any]) -> None:
    """Write an unfinished training after this epoch; what was there before goes only when the new one stands."""
    path = folder / f"{epoch:08d}"
    if first() and path.exists():  # not readable, or it would have been continued
        shutil.rmtree(path)
    write_part(path, progress, about)
    for old in folder.iterdir() if first() else ():
        if OURS.fullmatch(old.name) and old != path:
            shutil.rmtree(old, ignore_errors=True)


def restore_progress(folder: Path, wanted: PyTree, about: dict[str, Any]) -> PyTree | None:
    """The newest unfinished training in the folder, of this shape; None where there is none that can be read.

    about: what the training was of. Raises InputError, naming the difference, where it was of something else.
    """
    if not folder.is_dir():
        return None
    for path in sorted((p for p in folder.iterdir() if NUMBERED.fullmatch(p.name)), reverse=True):
        try:
            given = _about(path)
        except InputError:
            continue
        differences(given, about, where=folder)
        try:
            return _read(path, wanted)
        except InputError:
            continue
    return None


def write_part(path: Path, arrays: PyTree, about: dict[str, Any]) -> None:
    """Write arrays and what is to be said of them."""
    from orbax.checkpoint import v1

    path.parent.mkdir(parents=True, exist_ok=True)
    # On the host: of several processes Orbax writes such arrays from the first.
    v1.save(str(path), jax.tree.map(np.asarray, words(arrays)), custom_metadata={"jaxnet": FORMAT, **about})


def read_part(path: Path, wanted: Callable[[dict[str, Any]], PyTree]) -> tuple[PyTree, dict[str, Any]] | None:
    """(arrays on the host, what was said of them); None where they cannot be read. wanted: their shapes, from what was said."""
    try:
        about = _about(path)
        return jax.tree.map(np.asarray, _read(path, wanted(about))), about
    except InputError:
        return None


def differences(given: dict[str, Any], wanted: dict[str, Any], *, where: Path) -> None:
    """Raise InputError naming how what is in a folder differs from what is wanted now, if it does."""
    given, wanted = (_flat(json.loads(json.dumps(about))) for about in (given, wanted))
    changed = [
        f"{name} was {SHORT.repr(given.get(name))} and is now {SHORT.repr(wanted.get(name))}"
        for name in {**given, **wanted}
        if given.get(name) != wanted.get(name)
    ]
    if changed:
        raise InputError(f"{where} holds a training of something else: {'; '.join(changed)}. Give the same again, or another folder")


def checksum(tree: PyTree) -> int:
    """CRC-32 of all arrays: tells other data apart, and is no protection from forgery."""
    total = 0
    for leaf in jax.tree.leaves(words(tree)):
        total = zlib.crc32(np.ascontiguousarray(leaf).view(np.uint8).data, total)
    return total


def check_same(found: PyTree, *, where: Path) -> None:
    """Raise InputError where processes have not read the same there."""
    if len(set(gather(np.array([checksum(found)])).tolist())) > 1:
        raise InputError(f"{where}: the processes find different things there; give a folder that all of them see")


def describe_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values; a custom optimizer by its name."""
    described = {name: getattr(recipe, name) for name in STRUCTURE}
    described = {name: int(value) if isinstance(value, np.integer) else value for name, value in described.items()}
    if not isinstance(recipe.optimizer, str):
        described["optimizer"] = getattr(recipe.optimizer, "__name__", type(recipe.optimizer).__name__)
    numbers = {name: _plain(getattr(recipe, name)) for name in NUMBERS}
    return described | jax.tree.map(_decimal, numbers)


def _decimal(number: Any) -> Any:
    """The shortest decimal that is this float32: 0.001, not 0.0010000000474974513."""
    return float(str(np.float32(number))) if np.ndim(number) == 0 else np.asarray(number).tolist()


def _read(path: Path, wanted: PyTree) -> PyTree:
    from orbax.checkpoint import v1

    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    plain = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), jax.eval_shape(words, wanted))
    try:
        return with_keys(wanted, v1.load(str(path), plain))
    except Exception as error:  # Orbax raises whatever its readers do; from outside it is one thing: unreadable
        raise InputError(f"{path}: its arrays cannot be read ({type(error).__name__}: {error}); train and save it again") from None


def _about(path: Path) -> dict[str, Any]:
    """What was said of the arrays when they were saved."""
    if not path.is_dir():
        raise InputError(f"{path}: no such checkpoint{near_path(path)}")
    from orbax.checkpoint import v1

    try:
        about = v1.metadata(str(path)).custom_metadata
    except Exception as error:  # as in _read
        raise InputError(
            f"{path}: not a checkpoint ({type(error).__name__}: {error}); give a folder that jaxnet.save wrote, such as params/ of a run"
        ) from None
    if not isinstance(about, dict) or about.pop("jaxnet", None) != FORMAT:
        raise InputError(f"{path}: not a checkpoint that this version of jaxnet wrote; train and save it again")
    return about


def _column(name: str, categories: list[str] | None) -> Column:
    return Column(str(name), None if categories is None else tuple(map(str, categories)))


def _plain(tree: Any) -> Any:
    """Our own named tuples as dicts, so that files say what is what."""
    if isinstance(tree, Best | Row | Standardisation):
        return {name: _plain(value) for name, value in tree._asdict().items()}
    if isinstance(tree, Augmentation):
        return {name: getattr(tree, name) for name in NAMES}
    return tree


def _outline(tree: Any, where: str) -> Any:
    """The containers of a tree as JSON, with shape and type in place of each array."""
    if tree is None:
        return None
    if isinstance(tree, dict) and all(isinstance(key, str) for key in tree):
        return {"dict": {key: _outline(value, f"{where}.{key}") for key, value in tree.items()}}
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [_outline(value, f"{where}[{i}]") for i, value in enumerate(tree)]}
    if hasattr(tree, "shape") and hasattr(tree, "dtype"):
        return {"shape": list(tree.shape), "dtype": str(tree.dtype)}
    raise InputError(f"{where} is a {type(tree).__name__}, which cannot be saved; give arrays in dicts with text keys, lists and tuples")


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


def _flat(tree: Any, name: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {k: v for key, value in tree.items() for k, v in _flat(value, f"{name}.{key}" if name else key).items()}
    return {name: tree}

"""What all members of a population predict, one wave of members at a time: in memory, or kept on
disk and mapped.
"""

import functools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import overload

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float, Num, PyTree

from jaxnet.core.objective import in_blocks, predictions
from jaxnet.core.run import Run, check_trained
from jaxnet.data import Dataset, Splits, Standardization
from jaxnet.data.resampling import Samples
from jaxnet.data.schema import Task
from jaxnet.engine import arguments, prediction
from jaxnet.engine.checkpoint import CHECKSUMS, DamagedError, check_files, write_checksums
from jaxnet.engine.prediction import Metrics
from jaxnet.errors import InputError, shown
from jaxnet.models.model import Model, with_outputs
from jaxnet.population.placement import VMEM
from jaxnet.population.result import Population, Predictions
from jaxnet.runtime.files import writing
from jaxnet.runtime.plan import Plan
from jaxnet.runtime.processes import barrier, gather, index_and_count, is_first, once
from jaxnet.runtime.sharding import COPIED, SPLIT, device_mesh, spread
from jaxnet.typing import ArrayLike, Frame

logger = logging.getLogger("jaxnet")


def predict(
    model: Model, run: Run | Population, x: ArrayLike | Frame
) -> Float[np.ndarray | Array, "..."]:
    """What a trained network, or each member of a population, predicts.

    One compiled program serves any number of examples.

    Args:
        model: the model that was trained.
        run: one network, or a population whose members have one architecture.
        x: (examples, ...) inputs as in the data set; they are standardized here. For one network x
            may be a tracer, inside jit or vmap. If float32 could not hold the training data as they
            came, x must be float64, and is refused inside jit. Or a data frame, such as one of
            pandas or Polars: its columns are found by the names that the network learned from.

    Returns:
        Log-probabilities (examples, classes), or values (examples,) in the units of y, which are
        float64 where float32 could not hold y. Of several values (examples, values); of several
        yes/no labels the log-probabilities of yes, (examples, labels). The predictions of a
        population have a leading axis of its members. They are NumPy arrays, except for a tracer.

    Raises:
        InputError: for a model that is not the one of the run (another name, or parameters of other
            shapes), for x that is no numbers, or not finite as float32, or of another shape.
    """
    if not isinstance(run, Population):
        return prediction.predict(model, run, x)
    arguments.check(model=model)
    x = prediction.check_inputs(run.run, x, model)
    exact = run.run.standardization.origin is not None
    inputs = np.asarray(x) if exact else prediction.on_host(x, run.run.schema)
    return np.concatenate([values for _, values in member_predictions([model], run, inputs)])


@overload
def evaluate(
    model: Model,
    run: Run,
    dataset: Dataset | Frame,
    *others: object,
    label: str | None = None,
    groups: str | None = None,
) -> Metrics: ...
@overload
def evaluate(
    model: Model,
    run: Population,
    dataset: Dataset | Frame,
    *others: object,
    label: str | None = None,
    groups: str | None = None,
) -> tuple[Metrics, ...]: ...
def evaluate(
    model: Model,
    run: Run | Population,
    dataset: Dataset | Frame,
    *others: object,
    label: str | None = None,
    groups: str | None = None,
) -> Metrics | tuple[Metrics, ...]:
    """How good a trained network is on these examples, with 95% confidence intervals that speak of
    this one network.

    Args:
        model: the model that was trained.
        run: one network, or a population whose members have one architecture.
        dataset: the examples, with the classes that the network was trained on; or a data frame
            with the columns that it learned from, and labels. Rows without a label are left out.
        others: nothing; what else is given, such as y beside x, is refused with what to give.
        label: the column of a data frame that holds the labels; by default the one that the network
            learned.
        groups: the column of a data frame whose equal values belong together, which are then the
            independent unit of the intervals; by default the one by which the data were grouped.

    Returns:
        The metrics; for a population, those of each member, in order. An example of classes whose
        outputs are not numbers counts as wrong, and `not_numbers` and the logger "jaxnet" say how
        many there are. Members that diverged have no error.

    Raises:
        InputError: for labels that do not fit, and for one network whose values are not finite.
    """
    if others:
        arguments.check(dataset=(dataset, *others))
    dataset = _labeled(run.run if isinstance(run, Population) else run, dataset, label, groups)
    if not isinstance(run, Population):
        return prediction.evaluate(model, run, dataset)
    arguments.check(model=model)
    y = prediction.check_labels(run.run, dataset)
    return tuple(
        prediction.judge(outputs, y, run[member].standardization, dataset.groups)
        for member, outputs in enumerate(np.asarray(predict(model, run, dataset.x)))
    )


def _labeled(run: Run, dataset: Dataset | Frame, label: str | None, groups: str | None) -> Dataset:
    """The data set, made of a data frame where one is given."""
    if not isinstance(dataset, Frame):
        for name, given in (("label", label), ("groups", groups)):
            if given is not None:
                raise InputError(
                    f"{name} is {shown(given)}, which names a column of a data frame, but dataset "
                    f"is {shown(dataset)}; leave it out"
                )
        return dataset
    arguments.check(run=run)
    from jaxnet.data.sources.frames import dataset_of_frame

    found, notes = dataset_of_frame(dataset, run.schema, label, groups)
    for note in notes:
        logger.warning("%s", note)
    return found


def member_predictions(
    models: Sequence[Model],
    population: Population,
    x: Num[np.ndarray, "examples ..."],
    plan: Plan | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Predict with all members, wave by wave.

    With several processes, each computes a share, and all yield everything.

    Args:
        models: one model for each of population.runs.
        population: the members.
        x: (examples, ...) inputs.
        plan: devices and members per device; chosen here by default.

    Yields:
        Numbers of members, and their log-probabilities (members, examples, classes) or values
        (members, examples), float32; values are float64 where float32 cannot hold y.
    """
    for model, run in zip(models, population.runs, strict=True):
        check_trained(model, run)
        if run.schema.tokens:
            prediction.known_ids(run, x, model)
    process, processes = index_and_count()
    for model, run, members in zip(models, population.runs, population.members, strict=True):
        share = -(-len(members) // processes)
        devices = jax.local_devices()[
            : min(share, jax.local_device_count() if plan is None else plan.devices)
        ]
        chunk = _chunk(run.params) if plan is None else plan.chunk
        here = len(devices) * min(chunk, -(-share // len(devices)))
        mesh = device_mesh(devices)
        params, model_state = run.chosen
        standardization = jax.tree.map(lambda leaf: leaf[0], run.standardization)
        shared = jax.device_put(
            (standardization.on_device, standardization.held(x)), NamedSharding(mesh, COPIED)
        )
        for begin in range(0, len(members), here * processes):
            places = np.minimum(begin + here * process + np.arange(here), len(members) - 1)
            networks = jax.tree.map(lambda leaf, p=places: leaf[p], (params, model_state))
            outputs = _predict_wave(
                shared,
                jax.device_put(networks, NamedSharding(mesh, SPLIT)),
                model=with_outputs(model, run.outputs),
                precision=run.recipe.precision,
                task=run.task,
                mesh=mesh,
            )
            real = slice(begin, min(begin + here * processes, len(members)))
            yield (
                members[real],
                np.asarray(
                    standardization.restored(gather(np.asarray(outputs))[: real.stop - begin])
                ),
            )


def keep_predictions(
    folder: Path,
    models: Sequence[Model],
    splits: Splits,
    population: Population,
    plan: Plan | None,
    *,
    seen: bool = False,
    unseen: bool = True,
) -> Predictions:
    """Predict with all members, and keep the predictions in a folder.

    Args:
        folder: the folder, which is created; predictions that are there already are used.
        models: one model for each of population.runs.
        splits: the data.
        population: the members.
        plan: devices and members per device; chosen here by default.
        seen: as in `fit_population`.
        unseen: as in `fit_population`.

    Returns:
        Predictions on the validation set, the test set, and the training examples that each member
        did not train on, or all of them, mapped from the folder.
    """
    samples, count = population.samples, len(population)
    own, outputs = splits.standardization, splits.schema.prediction_shape
    parts = {
        name: np.asarray(own.held(part.x))
        for name, part in _parts_to_predict(splits, samples, seen, unseen).items()
    }
    kind = _kind(splits)
    shapes = {name: (count, len(x), *outputs) for name, x in parts.items()}
    if not parts:
        return Predictions(None, np.empty((count, 0, *outputs), kind), None)
    if once(lambda: not _kept(folder, shapes, kind)):
        files = dict[str, np.memmap]()
        if is_first():
            files = {
                name: _new_file(folder / f"{name}.npy.tmp", shape, kind)
                for name, shape in shapes.items()
            }
        borders = np.cumsum([0, *(len(x) for x in parts.values())])
        runs = tuple(
            replace(run, standardization=run.standardization._replace(origin=None))
            for run in population.runs
        )
        for members, values in member_predictions(
            models, replace(population, runs=runs), np.concatenate(list(parts.values())), plan
        ):
            for (name, file), begin, end in zip(files.items(), borders, borders[1:], strict=False):
                for member, value in zip(members, values[:, begin:end], strict=True):
                    with np.errstate(over="ignore"):  # a log-probability below -65,504 is -inf
                        file[member] = value
                    if name == "unseen" and samples is not None:
                        file[member][samples.seen(int(member))] = np.nan
        with writing(folder):
            for name, file in files.items():
                file.flush()
                (folder / f"{name}.npy.tmp").replace(folder / f"{name}.npy")
            if is_first():
                write_checksums(folder, [folder / f"{name}.npy" for name in files])
        barrier("predictions")
    maps = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in parts}
    maps.setdefault("test", np.empty((count, 0, *outputs), kind))
    return Predictions(maps.get("validation"), maps["test"], maps.get("unseen"), maps.get("train"))


def predictions_of(
    models: Sequence[Model],
    splits: Splits,
    population: Population,
    plan: Plan | None = None,
    *,
    seen: bool = False,
    unseen: bool = True,
) -> Predictions:
    """Return the predictions that a population has kept, or compute the same ones in memory.

    Args:
        models: one model for each of population.runs.
        splits: the data.
        population: the members.
        plan: devices and members per device; chosen here by default.
        seen: as in `fit_population`.
        unseen: as in `fit_population`.
    """
    if population.predictions is not None:
        return population.predictions
    parts = _parts_to_predict(splits, population.samples, seen, unseen)
    outputs = splits.schema.prediction_shape
    found = dict[str, np.ndarray]()
    for name, part in parts.items():
        found[name] = np.empty((len(population), len(part), *outputs), _kind(splits))
        for members, values in member_predictions(models, population, np.asarray(part.x), plan):
            with np.errstate(over="ignore"):  # a log-probability below -65,504 becomes -inf
                found[name][members] = values
    if population.samples is not None and "unseen" in found:
        for member in range(len(population)):
            found["unseen"][member][population.samples.seen(member)] = np.nan
    found.setdefault("test", np.empty((len(population), 0, *outputs), _kind(splits)))
    return Predictions(
        found.get("validation"), found["test"], found.get("unseen"), found.get("train")
    )


@functools.partial(jax.jit, static_argnames=("model", "precision", "task", "mesh"))
def _predict_wave(
    shared: tuple[Standardization, Array],
    own: tuple[PyTree, PyTree],
    *,
    model: Model,
    precision: str,
    task: Task,
    mesh: Mesh,
) -> Array:
    def one(shared: tuple[Standardization, Array], own: tuple[PyTree, PyTree]) -> Array:
        (standardization, x), (params, model_state) = shared, own
        outputs = in_blocks(model, params, model_state, standardization, x, precision=precision)
        return predictions(task, standardization, outputs)

    return spread(one, mesh, shared, own)


def _chunk(params: PyTree) -> int:
    """Compute how many members predict at once on a device; a block of examples keeps it busy even
    with few.
    """
    leaves = jax.tree.leaves(params)
    if jax.default_backend() == "cpu":
        return 1 if any(leaf.ndim > 3 for leaf in leaves) else 8
    return max(1, VMEM * len(leaves[0]) // sum(leaf.nbytes for leaf in leaves))


def _parts_to_predict(
    splits: Splits, samples: Samples | None, seen: bool, unseen: bool
) -> dict[str, Dataset]:
    """Select the validation and the test set, and the training set where predictions on what
    members have seen are asked for, or on what some of them have not; as far as they have examples.
    """
    parts = {"validation": splits.validation, "test": splits.test}
    if seen or (unseen and samples is not None):
        parts["train" if seen else "unseen"] = splits.train
    return {name: part for name, part in parts.items() if len(part)}


def _kind(splits: Splits) -> np.dtype:
    """Choose the type in which predictions are kept."""
    if splits.task == "classification":
        return np.dtype(np.float16)
    return np.dtype(np.float32 if splits.standardization.target_origin is None else np.float64)


def _new_file(path: Path, shape: tuple[int, ...], kind: np.dtype) -> np.memmap:
    """Create an .npy file and map it.

    Its space on disk is allocated first: where the disk is full, a write to mapped memory would
    kill the process.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            mapped = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
            if hasattr(os, "posix_fallocate"):
                with open(path, "r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError:
            path.unlink(missing_ok=True)
            raise
    return mapped


def _kept(folder: Path, shapes: Mapping[str, tuple[int, ...]], kind: np.dtype) -> bool:
    """Whether a folder has predictions of these shapes, unchanged since they were written; warn of
    changed ones.
    """
    try:
        if (folder / CHECKSUMS).exists():
            check_files(folder)
        kept = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in shapes}
    except FileNotFoundError:
        return False
    except (DamagedError, OSError, ValueError) as error:
        logger.warning("%s; the members predict again", error)
        return False
    return all(
        kept[name].shape == shape and kept[name].dtype == kind for name, shape in shapes.items()
    )

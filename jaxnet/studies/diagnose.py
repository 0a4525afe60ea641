"""diagnose: train what a diagnosis needs, all of it as one population, and measure."""

import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from jaxtyping import Array, Bool, Key

from jaxnet.core.recipe import Recipe, resolved
from jaxnet.core.training import Problem
from jaxnet.data import Dataset, Splits, class_weights
from jaxnet.data.dataset import error_unit
from jaxnet.data.splitting import on_host, take
from jaxnet.diagnostics.diagnosis import (
    Diagnosis,
    Parts,
    cross_fitted_diagnosis,
    decomposed_partitions,
    diagnosis_of,
    joint,
    with_training,
)
from jaxnet.diagnostics.findings import Code, Finding, applicable
from jaxnet.diagnostics.ladder import check_limits, error_ladder
from jaxnet.diagnostics.predicted import Predicted
from jaxnet.diagnostics.steps import PoolSteps
from jaxnet.diagnostics.symptoms import Found, symptoms, what_differs
from jaxnet.engine import arguments
from jaxnet.engine.fingerprint import describe_pool
from jaxnet.engine.prediction import score
from jaxnet.errors import InputError, check_number, check_whole, renamed
from jaxnet.models.losses import Loss, check_loss
from jaxnet.models.model import Model
from jaxnet.population.placement import plan_for_members
from jaxnet.population.predictions import member_predictions
from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress
from jaxnet.progress import of_population, phase, showing
from jaxnet.random import AnyKey, as_key
from jaxnet.runtime.plan import Plan
from jaxnet.stats.cross_fitting import CrossFit, cross_fit, error_of_network
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.random_effects import MIN_ERROR_EXAMPLES, SIGNED, interval_of_few, table
from jaxnet.stats.scores import class_scores, value_scores
from jaxnet.stats.several import Scores, scores_of_labels, scores_of_several_values
from jaxnet.stats.unseen_losses import UnseenLosses
from jaxnet.studies.design import (
    FOLD,
    HALVES,
    MOST_KEYS,
    QUARTERS,
    SMALLER,
    WHOLE,
    Design,
    design_of,
)
from jaxnet.studies.probes import training_findings
from jaxnet.studies.reference_methods import METHODS, Reference, reference_losses
from jaxnet.studies.trained import (
    Trained,
    check_seconds,
    cost,
    fewer,
    train_networks,
    train_within,
    with_signals,
)

OTHERS, PROBES = 1, 1 << 30  # numbers of the keys of other methods, and of probes of the training
LABELS_CHECKED = 10_000  # training examples, for the finding of wrong labels

logger = logging.getLogger("jaxnet")


@renamed(watch="progress")
@showing(of_population)
def diagnose(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    members: int = 16,
    target_error: float | None = None,
    tolerance: float = 0.02,
    seconds: float | None = None,
    balance: bool = False,
    loss: Loss | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | Literal[False] | None = None,
) -> Diagnosis:
    """Measure why a recipe does not do better on a data set, with networks trained for it, and say
    what to try.

    Training and validation set are one pool, and the networks are cross-fitted: each trains on all
    folds of the pool but one, so that every example is judged by networks that did not train on it.
    One more network trains on the whole pool; it is the one to keep. Networks on quarters and
    halves of the pool show bias and variance and how they change as data grow, and for classes
    others on eighths and sixteenths show the learning curve. All take equally many steps. The
    logger "jaxnet" says what that costs before it starts.

    Fewer than 8 networks share one split, and so do those of ordered data. A validation set that
    stops the training, or is more than a quarter of the pool, stays out of the pool.

    Args:
        model: the network.
        splits: the data set.
        recipe: how each network is trained.
        key: a random key.
        members: number of networks that judge the recipe.
        target_error: the error that could be reached; for a regression a share of the variance of
            y.
        tolerance: the smallest difference of errors that matters, in the same unit.
        seconds: time to keep within on this machine, by training fewer networks.
        balance: whether every class counts the same in the loss of the training (`class_weights`),
            and in that of the other methods that show what can be reached.
        loss: as in `fit_population`.
        plan: as in `fit_population`.
        out: as in `fit_population`. With `seconds`, the number of networks that there is time for
            is kept there too, and a resumed call trains the same number.
        progress: as in `fit_population`.

    Returns:
        The diagnosis. Its `networks` begin with the one that trained on the whole pool; with
        `seconds` they are those of the first wave. Members that diverge are left out and counted.

    Raises:
        InputError: where nothing can be said: without members, and without examples that a network
            has not seen.
    """
    arguments.check(model=model, splits=splits, recipe=recipe)
    arguments.check_in_memory(splits)
    error_unit(splits.train)  # refuses values that are all equal
    key = as_key("key", key)
    check_loss(loss)
    arguments.check_surroundings(out, plan)
    check_whole("members", members, 0, most=MOST_KEYS - 1)
    if members < 1:
        raise InputError("members is 0; give at least 1 network")
    check_number("tolerance", tolerance)
    if target_error is not None:
        check_number("target_error", target_error)
    check_limits(target_error or 0.0, tolerance)
    check_seconds(seconds)
    recipe = resolved(recipe, len(splits.train))
    design = design_of(splits, recipe, members)
    _check_unseen(design)
    needs = design.needs(members)
    weights = np.asarray(class_weights(design.splits.train)) if balance else None
    problem = with_signals(Problem(model, design.splits, recipe, loss, weights))
    devices = jax.local_device_count() if plan is None else plan.devices
    logger.info("%s", cost(problem, design, needs, devices))
    train = functools.partial(train_networks, problem, key)
    if seconds is None:
        trained = Trained(
            (needs,), (train(design, needs=needs, plan=plan, out=out, progress=progress or None),)
        )
    else:
        chosen = plan or plan_for_members(problem, needs.total)[0]
        design, trained = train_within(
            functools.partial(train, plan=chosen),
            design,
            needs,
            chosen,
            seconds,
            progress or None,
            None if out is None else Path(out),
        )
        _check_unseen(design)
    phase("measuring errors and their intervals", "usually a few seconds")
    judged = Judged(model, design, trained, plan, key)
    build = _of_pool if design.cross_fitted else _of_one_split
    limits = Limits(target_error, tolerance)
    notes = [*design.notes, *_left_out(splits), *fewer(needs, trained, seconds)]
    found = with_training(build(judged, problem, limits, notes), _training(judged, problem, limits))
    findings = applicable(
        found.findings, recipe, model, splits, stopped_early=trained.stopped_early
    )
    return replace(found, findings=findings, networks=trained.populations[0])


def _left_out(splits: Splits) -> list[str]:
    """Say what a diagnosis leaves out where each example has several yes/no labels."""
    if not splits.schema.multi_label:
        return []
    return [
        "of several yes/no labels a diagnosis does not say whether labels are wrong, whether "
        "confidence is too high, how far more data would help, and what networks achieve together"
    ]


def _check_unseen(design: Design) -> None:
    if design.held_out is None and not design.cross_fitted:
        if len(design.splits.validation):
            raise InputError(
                "the validation set stops the training, so the error on it is too low, and there "
                "are no test examples; hold some out as a test set, or train at least 8 networks"
            )
        raise InputError(
            "there are neither validation nor test examples, and too few networks for folds; hold "
            "some examples out, or train at least 8 networks"
        )


@dataclass(frozen=True)
class Judged:
    """Networks of a diagnosis, and what they predict where it is needed.

    Attributes:
        model: the model.
        design: how the networks use the data.
        trained: the networks.
        plan: where they predict.
        key: the random key of the diagnosis.
    """

    model: Model
    design: Design
    trained: Trained
    plan: Plan | None
    key: Key[Array, ""]

    @property
    def splits(self) -> Splits:
        """The data of the networks."""
        return self.design.splits

    @property
    def regression(self) -> bool:
        """Whether the task is a regression."""
        return not self.splits.counted

    @property
    def of_classes(self) -> bool:
        """Whether each example has one class of several."""
        return self.splits.classes is not None

    @property
    def kind(self) -> int:
        """The kind of the networks that judge the recipe."""
        return FOLD if self.design.cross_fitted else WHOLE

    @functools.cached_property
    def on_train(self) -> np.ndarray:
        """(members, examples[, classes]) what the sound ones among them predict for the training
        set.
        """
        rows = np.flatnonzero((self.trained.kinds == self.kind) & self.sound)
        return self._predict(rows, self.splits.train)

    @functools.cached_property
    def variance(self) -> float | np.ndarray:
        """The variance of y, the unit of a regression's errors, (columns,) of several values; 1 for
        classes and labels.
        """
        return error_unit(self.splits.train)

    @functools.cached_property
    def sound(self) -> Bool[np.ndarray, " networks"]:
        """Which networks trained to the end and predict numbers.

        Parameters can be finite and too large to predict with.
        """
        outputs = self._of_held_out
        numbers = np.isfinite(outputs).any(tuple(range(1, outputs.ndim)))
        return ~self.trained.diverged & numbers

    @functools.cached_property
    def _of_held_out(self) -> np.ndarray:
        """(networks, examples[, classes]) what all networks, of every kind, predict for the
        held-out examples, as one compiled program; for some of the training set where there are
        none.
        """
        some = self.design.held_out
        some = take(on_host(self.splits.train), slice(0, 64)) if some is None else some
        return self._predict(np.arange(len(self.trained.kinds)), some)

    def outputs(self, kind: int, dataset: Dataset) -> np.ndarray:
        """Predict with the sound networks of a kind.

        Args:
            kind: the kind.
            dataset: the examples.

        Returns:
            (members, examples[, classes]); no members where there are no examples.
        """
        rows = np.flatnonzero((self.trained.kinds == kind) & self.sound)
        if dataset is self.design.held_out:
            return self._of_held_out[rows]
        if dataset is self.splits.train and kind == self.kind:
            return self.on_train
        return self._predict(rows if len(dataset) else rows[:0], dataset)

    def _predict(self, rows: np.ndarray, dataset: Dataset) -> np.ndarray:
        found, begin = [], 0
        for population in self.trained.populations:
            own = rows[(rows >= begin) & (rows < begin + len(population))] - begin
            begin += len(population)
            if len(own):
                waves = member_predictions(
                    [self.model], _only(population, own), np.asarray(dataset.x), self.plan
                )
                found += [each for _, each in waves]
        if found:
            return np.concatenate(found)
        return np.empty((0, len(dataset), *dataset.schema.prediction_shape), np.float32)

    def losses(self, outputs: np.ndarray, dataset: Dataset) -> np.ndarray:
        """Which predictions are wrong, or squared errors as a share of the variance of y."""
        return Predicted(outputs, np.asarray(dataset.y)).losses(self.variance)

    def labeled(self, dataset: Dataset | None) -> bool:
        """Whether a part has examples, and all of them labels."""
        if dataset is None or not len(dataset):
            return False
        return self.regression or int(np.min(np.asarray(dataset.y))) >= 0

    def seen(self, kind: int) -> Bool[np.ndarray, "members examples"]:
        """Which training examples each sound network of a kind was trained on."""
        rows = np.flatnonzero((self.trained.kinds == kind) & self.sound)
        places = self.trained.places()
        found = np.zeros((len(rows), len(self.splits.train)), bool)
        for each, row in zip(found, rows, strict=True):
            population, number = places[row]
            assert population.samples is not None
            each[:] = population.samples.seen(number)
        return found

    @property
    def networks(self) -> Population:
        """The networks that judge the recipe, also those that diverged."""
        found = [
            _only(population, np.flatnonzero(needs.kinds == self.kind))
            for needs, population in zip(self.trained.needs, self.trained.populations, strict=True)
            if needs.networks[self.kind]
        ]
        run = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(each.run for each in found))
        return Population((run,), (np.arange(sum(map(len, found))),))

    @functools.cached_property
    def partitions(self) -> dict[int, np.ndarray]:
        """By number of parts, predictions on the held-out examples by networks of the partitions
        without a diverged one.
        """
        found = {}
        for k in (QUARTERS, HALVES):
            sound = self.sound[self.trained.kinds == k]
            complete = np.repeat(sound.reshape(-1, k).all(1), k)
            if complete.any():
                found[k] = self.by_size[k][complete[sound]]
        return found

    @functools.cached_property
    def by_size(self) -> dict[int, np.ndarray]:
        """By kind, predictions on the held-out examples by networks on parts of the data."""
        where = self.design.held_out
        if where is None:
            return {}
        return {k: self.outputs(k, where) for k in (QUARTERS, HALVES, *SMALLER)}


@dataclass(frozen=True)
class Limits:
    """What a diagnosis is measured against.

    Attributes:
        target_error: the error that could be reached, or None.
        tolerance: the smallest step that matters.
    """

    target_error: float | None
    tolerance: float


def _of_pool(judged: Judged, problem: Problem, limits: Limits, notes: list[str]) -> Diagnosis:
    """Diagnose cross-fitted networks."""
    splits, train = judged.splits, judged.splits.train
    outputs, seen = judged.outputs(FOLD, train), judged.seen(FOLD)
    pool, _ = cross_fit(
        judged.losses(outputs, train),
        seen,
        train.groups,
        largest=None if judged.regression else 1.0,
    )
    pool = replace(pool, counted=not judged.regression)
    use = splits.target_sample if judged.labeled(splits.target_sample) else None
    if use is None and splits.test_source == "own" and judged.labeled(splits.test):
        use = splits.test
    of_test, of_use = judged.outputs(FOLD, splits.test), np.empty(0)
    if use is not None:
        of_use = of_test if use is splits.test else judged.outputs(FOLD, use)
    references = ()
    if limits.target_error is None:
        own = jax.random.fold_in(judged.key, OTHERS)
        # a wider network cannot lower a training error that is small enough already
        small = pool.rate("seen", 0.9).high <= limits.tolerance
        methods = ("neighbors", "trees") if small else METHODS
        references = reference_losses(
            problem, own, judged.design.fold_of, methods=methods, plan=judged.plan
        )
    steps = PoolSteps(
        pool,
        limits.target_error,
        {each.name: each.losses for each in references},
        elsewhere=None if use is None else judged.losses(of_use, use).astype(np.float64),
        elsewhere_groups=None if use is None else use.groups,
        test=_test_error(judged),
        test_examples=len(splits.test),
    )
    unseen = ~seen[0]
    reference = Predicted(outputs[:1, unseen], np.asarray(train.y)[unseen])
    confidence = _pool_confidence(pool, outputs, train) if judged.of_classes else None
    if (
        judged.labeled(splits.validation) and problem.recipe.patience is None
    ):  # and no part of the pool
        of_validation = judged.outputs(FOLD, splits.validation)
        reference = Predicted(of_validation, np.asarray(splits.validation.y))
        confidence = _split_confidence(reference) if judged.of_classes else None
    found = _found(
        judged,
        FOLD,
        reference=reference,
        of_test=of_test,
        trained_on=int(seen[0].sum()),
        confidence=confidence,
    )
    more = _symptoms(judged, limits, found)
    ensemble = None
    if judged.labeled(splits.test) and np.isfinite(of_test).all() and len(of_test) > 1:
        ensemble = joint(Predicted(of_test, np.asarray(splits.test.y)), judged.variance)
    decompositions, left_out = _decompositions(judged)
    diagnosis = cross_fitted_diagnosis(
        steps,
        limits.tolerance,
        left_out=int((~judged.sound[judged.trained.kinds == FOLD]).sum()),
        decompositions=decompositions,
        ensemble=ensemble,
        scores=_scores(judged, outputs, seen),
        more=more,
        notes=[
            *notes,
            *left_out,
            *_attainable(references, pool.rate("unseen").estimate),
            *_unanswered(judged, {"pool": (outputs, train)}),
        ],
    )
    unseen = UnseenLosses.of(pool, describe_pool(train))
    diagnosis = replace(diagnosis, diverged=found.diverged, unseen=unseen)
    return _with_difference(diagnosis, splits, found, "test" if use is splits.test else "use")


def _of_one_split(judged: Judged, problem: Problem, limits: Limits, notes: list[str]) -> Diagnosis:
    """Diagnose networks that were trained on the same training set."""
    splits = judged.splits
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    if splits.target_sample is not None:
        parts["use"] = splits.target_sample
    outputs = {name: judged.outputs(WHOLE, part) for name, part in parts.items() if len(part)}
    labeled = {name: part for name, part in parts.items() if judged.labeled(part)}
    errors = {name: judged.losses(outputs[name], part) for name, part in labeled.items()}
    if not len(outputs["train"]):
        errors = {name: np.full((1, len(part)), np.nan) for name, part in labeled.items()}
    reference = None
    confidence = None
    like_train = next(
        (
            name
            for name in ("validation", "test")
            if name in labeled
            and (name != "validation" or problem.recipe.patience is None)  # else it chose
            and (name != "test" or splits.test_source == "random")
        ),
        None,
    )
    if like_train is not None and len(outputs[like_train]):
        reference = Predicted(outputs[like_train], np.asarray(labeled[like_train].y))
        confidence = _split_confidence(reference) if judged.of_classes else None
    found = _found(
        judged,
        WHOLE,
        reference=reference,
        of_test=outputs.get("test", np.empty(0)),
        trained_on=len(splits.train),
        confidence=confidence,
    )
    held_out = "validation" if judged.design.held_out is splits.validation else "test"
    steps = error_ladder(
        errors,
        target_error=limits.target_error or 0.0,
        tolerance=limits.tolerance,
        test_source=splits.test_source,
        chosen=problem.recipe.patience is not None,
        groups={name: p.groups for name, p in labeled.items() if p.groups is not None},
        shares=not judged.regression,
    )
    diagnosis = diagnosis_of(
        steps,
        Predicted(outputs[held_out], np.asarray(parts[held_out].y)),
        {k: f for k, f in judged.partitions.items() if np.isfinite(f).any()},
        training=len(splits.train),
        variance=judged.variance,
        scores=score(outputs[held_out], parts[held_out], splits)
        if held_out in labeled and len(outputs[held_out])
        else None,
        more=_symptoms(judged, limits, found),
        notes=[
            *notes,
            *_unanswered(judged, {name: (outputs[name], part) for name, part in labeled.items()}),
        ],
    )
    return replace(
        _with_difference(diagnosis, splits, found, "use" if "use" in labeled else "test"),
        diverged=found.diverged,
    )


def _scores(judged: Judged, outputs: np.ndarray, seen: np.ndarray) -> Scores:
    """Compute scores besides the error on examples that cross-fitted networks have not seen."""
    train = judged.splits.train
    y = np.asarray(train.y)
    if train.targets is not None:
        named = {"seen": seen, "groups": train.groups}
        found = (
            scores_of_several_values(outputs, y, scale=np.sqrt(judged.variance), **named)
            if judged.regression
            else scores_of_labels(outputs, y, **named)
        )
        return replace(found, names=train.schema.target_names)
    if judged.regression:
        scale = math.sqrt(judged.variance)
        return value_scores(outputs, y, seen=seen, groups=train.groups, scale=scale)
    return class_scores(outputs, y, seen=seen, groups=train.groups)


def _attainable(references: Sequence[Reference], unseen: float) -> list[str]:
    """Say between which limits the smallest attainable error lies, as neighbors suggest; nothing
    where the networks or a method err less on unseen examples, since the neighbors are too far away
    to tell it.
    """
    said, reached = [], min([unseen, *(each.error for each in references)])
    for each in references:
        if each.attainable is None or each.attainable[0] > reached:
            continue
        low, high = (f"{min(limit, reached):.2%}" for limit in each.attainable)
        size = f"about {low}" if low == high else f"{low} to {high}"
        said.append(
            f"rough estimate of the smallest error that any method could reach, by {each.name}: "
            f"{size}. With few examples it may be too high, so no finding uses it"
        )
    return said


def _test_error(judged: Judged) -> Estimate | None:
    """Compute the error of the network that is kept on the test set."""
    test = judged.splits.test
    if not judged.labeled(test):
        return None
    outputs = judged.outputs(WHOLE, test)
    if not len(outputs):
        return Estimate(float("nan"), refused="the saved network diverged")
    return error_of_network(
        judged.losses(outputs, test)[0], test.groups, shares=not judged.regression
    )


def _decompositions(judged: Judged) -> tuple[list[Parts], list[str]]:
    """Decompose the error of the networks of partitions, and say what is left out."""
    where = judged.design.held_out
    if where is None or not judged.labeled(where):
        return [], []
    y = np.asarray(where.y)
    return decomposed_partitions(judged.partitions, y, judged.design.divided, judged.variance)


def _pool_confidence(
    pool: CrossFit, outputs: np.ndarray, train: Dataset
) -> tuple[Estimate, float, float]:
    """Compute by how much cross-fitted networks' confidence on unseen examples exceeds their
    accuracy, and both.
    """
    right = 1.0 - pool.losses
    confidence = np.exp(outputs.max(-1).astype(np.float64))
    tables = [
        replace(pool, losses=np.nan_to_num(each), within=SIGNED, counted=False)
        for each in (confidence - right, confidence, right)
    ]
    size = tables[0].rate("unseen")
    return size, float(tables[1].unseen.mean()), float(tables[2].unseen.mean())


def _split_confidence(reference: Predicted) -> tuple[Estimate, float, float]:
    """The same of networks on the same held-out examples."""
    confidence = np.exp(reference.predictions.max(-1).astype(np.float64))
    right = ~reference.wrong
    size = interval_of_few(table(confidence - right, SIGNED), examples=MIN_ERROR_EXAMPLES)
    return size, float(confidence.mean()), float(right.mean())


def _found(
    judged: Judged,
    kind: int,
    *,
    reference: Predicted | None,
    of_test: np.ndarray,
    trained_on: int,
    confidence: tuple[Estimate, float, float] | None,
) -> Found:
    """Collect what the findings besides the error steps are computed from."""
    splits, design = judged.splits, judged.design
    own = len(splits.train) - (design.pooled if design.cross_fitted else 0)
    rows = np.unique(np.linspace(0, own - 1, LABELS_CHECKED).astype(np.int64))
    quarters = judged.seen(QUARTERS)
    unseen, new, new_seen = _of_quarters(judged, rows, own, quarters)
    by_size = {}
    if design.held_out is not None and judged.labeled(design.held_out):
        by_size = {
            design.divided // k: judged.losses(each, design.held_out).mean(1)
            for k, each in judged.by_size.items()
            if len(each)
        }
        of_kind = (
            of_test if design.held_out is splits.test else judged.outputs(kind, design.held_out)
        )
        if len(of_kind):
            by_size[trained_on] = judged.losses(of_kind, design.held_out).mean(1)
    target = splits.target_sample
    elsewhere = {"test": of_test}
    if target is not None and len(target):
        elsewhere["use"] = judged.outputs(kind, target)
    if reference is not None:
        elsewhere = {name: f[: len(reference.predictions)] for name, f in elsewhere.items()}
    return Found(
        reference=reference,
        elsewhere=elsewhere,
        unlabeled_use="use" in elsewhere and not judged.labeled(target),
        confidence=confidence,
        by_size=dict(sorted(by_size.items())),
        judged=0 if design.held_out is None else len(design.held_out),
        rows=rows,
        unseen=unseen,
        seen=quarters[:, rows],
        new=new,
        new_seen=new_seen,
        diverged=int((~judged.sound).sum()),
    )


def _of_quarters(
    judged: Judged, rows: np.ndarray, own: int, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the networks trained on quarters predict for some training examples; their errors on the
    validation set, whether it is part of the pool or not; and which of its examples they were
    trained on.

    Args:
        judged: the networks.
        rows: the training examples.
        own: number of training examples before those of the validation set.
        seen: (members, examples) which training examples each was trained on.
    """
    splits, train = judged.splits, on_host(judged.splits.train)
    pooled = np.arange(own, len(train))
    outputs = judged.outputs(QUARTERS, take(train, np.concatenate([rows, pooled])))
    unseen, new = outputs[:, : len(rows)], outputs[:, len(rows) :]
    if len(pooled):
        return unseen, judged.losses(new, take(train, pooled)), seen[:, own:]
    new = judged.losses(judged.outputs(QUARTERS, splits.validation), splits.validation)
    return unseen, new, np.zeros(new.shape, bool)


def _symptoms(judged: Judged, limits: Limits, found: Found) -> list[Finding]:
    return symptoms(judged.splits, found, networks=judged.trained.total, tolerance=limits.tolerance)


def _with_difference(diagnosis: Diagnosis, splits: Splits, found: Found, part: str) -> Diagnosis:
    """Add to a mismatch what differs, as far as a network's outputs show it."""

    def explained(each: Finding) -> Finding:
        if each.code != Code.MISMATCH or not each.claimed:
            return each
        differs = what_differs(splits, found, part)
        return replace(each, evidence="; ".join(p for p in (each.evidence, differs) if p))

    return replace(diagnosis, findings=tuple(map(explained, diagnosis.findings)))


def _unanswered(judged: Judged, given: dict[str, tuple[np.ndarray, Dataset]]) -> list[str]:
    """Say how many predictions of classes are not numbers, by part."""
    if judged.regression:
        return []
    parts = {
        name: Predicted(outputs, np.asarray(part.y)) for name, (outputs, part) in given.items()
    }
    return [
        f"{name}: {part.unanswered_in_words}; they count as wrong"
        for name, part in parts.items()
        if part.unanswered.any()
    ]


def _training(judged: Judged, problem: Problem, limits: Limits) -> tuple[Finding, ...]:
    """Find what is wrong with the training of the networks that judge the recipe."""
    own = judged.sound[judged.trained.kinds == judged.kind]
    outputs = np.full((len(own), *judged.on_train.shape[1:]), np.nan, judged.on_train.dtype)
    outputs[own] = judged.on_train
    seen = np.ones((len(own), len(judged.splits.train)), bool)
    if judged.design.cross_fitted:
        seen[own] = judged.seen(FOLD)
    return training_findings(
        problem,
        judged.networks,
        key=jax.random.fold_in(judged.key, PROBES),
        tolerance=limits.tolerance,
        plan=judged.plan,
        outputs=outputs,
        seen=seen,
        attainable=limits.target_error or 0.0,
    )


def _only(population: Population, members: np.ndarray) -> Population:
    """Some members, of a population of one structure."""
    run = jax.tree.map(lambda leaf: np.asarray(leaf)[members], population.run)
    return Population((run,), (np.arange(len(members)),))

"""Bias and variance: how much of the error is shared by all training sets, and how much differs.

Each network gets a random sample of the training set that shares no example with the others; if
there are too few examples for that, the training set is divided at random several times. All take
equally many steps. Errors are measured on the test set: for classes by the 0-1 loss (Kohavi &
Wolpert 1996), and by cross-entropy and Brier score too; for values by the squared error as a share
of the variance of y.
"""

import itertools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxnet.core.recipe import Recipe
from jaxnet.core.run import Run
from jaxnet.data import Dataset, Splits, resampling
from jaxnet.data.dataset import error_unit
from jaxnet.data.splitting import on_host, take, units
from jaxnet.diagnostics import (
    Decomposition,
    Difference,
    Estimate,
    bias_variance_decomposition,
    paired_decomposition,
    repeated,
)
from jaxnet.diagnostics.findings import percent
from jaxnet.diagnostics.predicted import Predicted
from jaxnet.engine import arguments
from jaxnet.errors import InputError, check_known, check_whole
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model
from jaxnet.population.fit import fit_population
from jaxnet.population.predictions import predictions_of
from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress
from jaxnet.progress import of_population, showing
from jaxnet.random import AnyKey, as_key, number_of
from jaxnet.runtime.files import plain
from jaxnet.runtime.plan import Plan

Axis = Literal["width", "examples", "epochs", "weight-decay", "label-noise"]
# What each axis varies.
AXES = {
    "width": "width of the hidden layers",
    "examples": "training examples of each network",
    "epochs": "epochs",
    "weight-decay": "weight decay",
    "label-noise": "share of training labels drawn anew",
}
VALUES = {
    "width": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "epochs": (1, 3, 10, 30, 100),
    "weight-decay": (1e-4, 1e-3, 1e-2, 1e-1, 1.0),
    "label-noise": (0.0, 0.1, 0.2, 0.4),
}
SHARES = (32, 16, 8, 4)  # of the training set, the sizes by default
DECOMPOSITION_FIELDS = (
    "loss",
    "bias",
    "variance",
    "plug_in_bias",
    "plug_in_variance",
)  # of a decomposition

logger = logging.getLogger("jaxnet")


@dataclass(frozen=True)
class Measured:
    """Bias and variance of the networks at one value of the setting that is varied.

    Args:
      value: the value; None if nothing is varied.
      examples: training examples of each network.
      parts: of a partition of the training set; None where no two networks share an example.
      predictions: (members, examples[, classes]) on the test set, of the networks that did not
        diverge: log-probabilities, or values in standard deviations of y.
      decompositions: by loss; the first one is that which is reported.
      training: the error on what the networks learned from, in their last epoch.
    """

    value: float | None
    examples: int
    parts: int | None
    predictions: np.ndarray = field(repr=False)
    decompositions: tuple[Decomposition, ...]
    training: Estimate

    @property
    def decomposition(self) -> Decomposition:
        """That which is reported."""
        return self.decompositions[0]

    def summary(self) -> dict[str, Any]:
        """The measurements in the types that JSON has."""
        found = self.decomposition
        numbers = {
            each.kind: {part: getattr(each, part) for part in DECOMPOSITION_FIELDS}
            for each in self.decompositions
        }
        return plain(
            {
                "value": self.value,
                "examples": self.examples,
                "members": found.members,
                "design": found.design,
                "parts": self.parts,
                "training_error": self.training,
                **numbers,
            }
        )


@dataclass(frozen=True)
class Peak:
    """Where the variance is largest, and whether that is more than chance.

    Args:
      value: of what is varied, with the largest variance.
      variance_differences: how much larger it is there than at the "first" and the "last" value.
      bias_steps: the change of bias^2 from each value to the next.
      words: both in sentences.
    """

    value: float | None
    variance_differences: dict[str, Estimate]
    bias_steps: tuple[Estimate, ...]
    words: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """The measurements in the types that JSON has."""
        return plain(
            {
                "value": self.value,
                "variance_differences": self.variance_differences,
                "bias_steps": self.bias_steps,
            }
        )


@dataclass(frozen=True)
class BiasVariance:
    """Bias and variance of the error, for each value of what is varied.

    Args:
      vary: what is varied, a name of AXES; None where nothing is.
      measured: one for each value.
      peak: where the variance is largest; None for a single value, and where the networks of some
        values share training examples and those of others do not.
      unit: of the error, in words.
      verdict: in a sentence.
      model: of the first network that did not diverge, for the first value.
      run: that network.
      splits: the data, with the training set that this network learned from.
    """

    vary: str | None
    measured: tuple[Measured, ...]
    peak: Peak | None
    unit: str
    verdict: str
    model: Model
    run: Run = field(repr=False)
    splits: Splits = field(repr=False)

    def summary(self) -> dict[str, Any]:
        """The measurements in the types that JSON has."""
        values = {"vary": self.vary, "values": [each.summary() for each in self.measured]}
        return values if self.peak is None else values | {"peak": self.peak.summary()}


class _Trial(NamedTuple):
    """What to train for one value. examples: training examples of each network."""

    value: float | None
    model: Model
    recipe: Recipe
    splits: Splits
    examples: int


class _Drawn(NamedTuple):
    """The training sets of a trial. parts: of a partition; None where no two share an example."""

    samples: resampling.Samples
    parts: int | None

    @property
    def examples(self) -> int:
        """Of each training set; on average where they are of whole groups."""
        assert self.samples.count is not None
        return round(float(self.samples.count.mean()))

    @property
    def design(self) -> Literal["fresh", "partition"]:
        """What the training sets are to each other."""
        return "fresh" if self.parts is None else "partition"


@showing(of_population)
def measure_bias_variance(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    vary: Axis | str | None = None,
    values: Sequence[float] = (),
    members: int = 16,
    examples: int | None = None,
    model_of_width: Callable[[int], Model] | None = None,
    loss: Loss | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | Literal[False] | None = None,
) -> BiasVariance:
    """Trains networks on samples of the training set and decomposes their error into bias and
    variance.

    Args:
      model: the network.
      splits: the data; the test set judges.
      recipe: how each network is trained.
      key: of the samples and the networks, the same for every value.
      vary: what to vary.
      values: its values, by default some that fit the data.
      members: networks for each value, at least 2.
      examples: training examples of each network, by default a quarter of the training set; where
        examples belong to groups, as nearly as whole groups allow.
      model_of_width: the network of a width, to vary it.
      loss: of an example, as in `jaxnet.fit_population`.
      plan: where the networks are trained, as there.
      out: folder for checkpoints and predictions; each population has a numbered one in it.
      progress: as in `jaxnet.fit_population`.

    Returns:
      The decompositions, one for each value.

    Raises:
      InputError: for invalid arguments, and where nearly all networks of a value diverged.
    """
    arguments.check(model=model, splits=splits, recipe=recipe)
    error_unit(splits.train)  # refuses values that are all equal
    key = as_key("key", key)
    check_whole("members", members, most=1 << 20)
    if members < 2:
        raise InputError(f"members is {members}: variance needs at least 2; give more")
    if vary is not None:
        check_known("vary", vary, AXES)
    if vary == "width" and model_of_width is None:
        raise InputError("model_of_width is None; give a function from a width to a model")
    if not len(splits.test):
        raise InputError("the test set is empty; hold some examples out to judge the networks")
    n = len(splits.train)
    base = _Trial(None, model, recipe, splits, examples or n // 4)
    given = values or (
        tuple(n // share for share in SHARES)
        if vary == "examples"
        else VALUES.get(vary or "", (None,))
    )
    trials = [_varied(base, vary, value, number_of(key), model_of_width) for value in given]
    drawn = [_draw(key, members, trial.examples, splits.train) for trial in trials]
    # Trials on the same data are one population, whose programs compile side by side.
    shared = all(trial.splits is splits for trial in trials)
    groups = [range(len(trials))] if shared else [range(i, i + 1) for i in range(len(trials))]
    measured, runs = list[Measured](), list[Run]()
    for number, group in enumerate(groups):
        counts = [len(drawn[i].samples) for i in group]
        models = [
            trials[i].model for i, count in zip(group, counts, strict=True) for _ in range(count)
        ]
        population = fit_population(
            models,
            trials[group[0]].splits,
            [
                trials[i].recipe
                for i, count in zip(group, counts, strict=True)
                for _ in range(count)
            ],
            jnp.concatenate([jax.random.split(key, count) for count in counts]),
            resample=resampling.together([drawn[i].samples for i in group]),
            loss=loss,
            plan=plan,
            out=None if out is None else Path(out) / str(number),
            progress=_share(progress, number, len(groups)) if progress else None,
            unseen=False,
        )
        of_each_run = [models[int(members_of[0])] for members_of in population.members]
        of_splits = trials[group[0]].splits
        test = predictions_of(of_each_run, of_splits, population, plan, unseen=False).test
        errors = _training_errors(population, splits)
        for i, of_trial in zip(
            group, np.split(np.arange(len(population)), np.cumsum(counts)[:-1]), strict=True
        ):
            sound = _sound(population, of_trial, drawn[i].parts, trials[i].value)
            decompositions, predictions = _decompose(test[sound], splits, drawn[i])
            measured.append(
                Measured(
                    value=trials[i].value,
                    examples=drawn[i].examples,
                    parts=drawn[i].parts,
                    predictions=predictions,
                    decompositions=decompositions,
                    training=repeated(errors[sound]),
                )
            )
            runs.append(population[int(sound[0])])
    peak = None
    if vary is not None and len(measured) > 1 and measured[0].parts == measured[-1].parts:
        peak = _peak(measured, splits, vary)
    one = measured[0].decomposition
    return BiasVariance(
        vary=vary,
        measured=tuple(measured),
        peak=peak,
        unit="0-1 loss (share predicted wrongly)"
        if splits.counted
        else "squared error / variance of y",
        verdict=f"the error is {percent(one.loss)}: of this, bias is {percent(one.bias)} and "
        f"variance {percent(one.variance)}"
        if peak is None
        else peak.words[0],
        model=trials[0].model,
        run=runs[0],
        splits=_learned_from(trials[0].splits, drawn[0].samples.seen(0)),
    )


def _varied(
    trial: _Trial,
    vary: str | None,
    value: float | None,
    seed: int,
    model_of_width: Callable[[int], Model] | None,
) -> _Trial:
    """The trial with another value of what is varied."""
    trial = trial._replace(value=value)
    match vary:
        case "width":
            assert model_of_width is not None
            return trial._replace(model=model_of_width(_whole(value, vary)))
        case "examples":
            return trial._replace(examples=_whole(value, vary))
        case "epochs":
            return trial._replace(recipe=replace(trial.recipe, epochs=_whole(value, vary)))
        case "weight-decay":
            return trial._replace(recipe=replace(trial.recipe, weight_decay=value))
        case "label-noise":
            return trial._replace(splits=_with_noise(trial.splits, float(value or 0.0), seed))
    return trial


def _draw(key: Key[Array, ""], members: int, count: int, train: Dataset) -> _Drawn:
    """Training sets of `count` examples of the training set, or of whole groups that have nearly as
    many: disjoint ones where there are enough of them.
    """
    n, groups, most = len(train), train.groups, units(train)
    if not 1 <= count <= n // 2:
        raise InputError(
            f"{count} training examples per network of {n}; give at most half of them, so that "
            "networks can have different ones"
        )
    if most < 2:
        raise InputError(
            "all training examples are of one group, so networks cannot have different ones; give "
            "more groups"
        )
    if members * count <= n and members <= most:
        return _Drawn(resampling.disjoint(key, members, count, n, groups=groups), None)
    parts = min(n // count, most)
    repeats = math.ceil(members / parts)
    samples = resampling.partitions(key, parts, n, repeats=repeats, groups=groups)
    return _Drawn(samples, parts)


def _whole(value: float | None, name: str) -> int:
    """The value as a whole number."""
    if value is None or value != int(value) or value < 1:
        raise InputError(f"values hold {value}; {name} takes whole numbers of at least 1")
    return int(value)


def _with_noise(splits: Splits, share: float, seed: int) -> Splits:
    """The splits with that share of the training labels drawn anew, from all labels there are."""
    if not 0 <= share <= 1:
        raise InputError(f"values hold {share}: a share of labels is from 0 to 1; give such")
    rng, y = np.random.default_rng([seed, *b"labels"]), np.asarray(splits.train.y).copy()
    rows = rng.permutation(len(y))[: round(share * len(y))]
    y[rows] = y[rng.permutation(len(y))[: len(rows)]]
    return replace(splits, train=replace(splits.train, y=y))


def _share(
    progress: Callable[[Progress], None], number: int, populations: int
) -> Callable[[Progress], None]:
    """Progress of one of several populations of the same size as progress of them all."""

    def tell(now: Progress) -> None:
        progress(
            Progress(
                number * now.members + now.finished,
                populations * now.members,
                now.epoch,
                now.epochs,
                (number + now.share) / populations,
            )
        )

    return tell


def _sound(
    population: Population, members: np.ndarray, parts: int | None, value: float | None
) -> np.ndarray:
    """Those of some members that did not diverge; of a partition only where none of its members
    did.
    """
    sound = ~population.diverged[members]
    if parts is not None:
        sound = np.repeat(sound.reshape(-1, parts).all(1), parts)
    if not sound.all():
        lost = f"{int((~sound).sum())} of {len(members)} networks are left out at {value}"
        logger.warning("%s, since they, or others of their partition, diverged", lost)
    if sound.sum() < 2:
        raise InputError(
            f"at {value} nearly all networks diverged; lower the learning rate, or set clip"
        )
    return members[sound]


def _training_errors(population: Population, splits: Splits) -> np.ndarray:
    """(members,) errors on what each was trained on, as counted in its last epoch."""

    def last(run: Run) -> np.ndarray:
        accuracy = run.history.train_accuracy
        return np.asarray(
            run.history.train_loss
            if not splits.counted or accuracy is None
            else 1 - np.asarray(accuracy)
        )[:, -1]

    return population.each(last)


def _decompose(
    predictions: np.ndarray, splits: Splits, drawn: _Drawn
) -> tuple[tuple[Decomposition, ...], np.ndarray]:
    """(decompositions of the error on the test set, the predictions in its unit)."""
    predictions = predictions.astype(np.result_type(predictions, np.float32))
    y, losses = np.asarray(splits.test.y), ("zero_one_kohavi_wolpert", "cross_entropy", "brier")
    if splits.schema.multi_label:
        predictions, losses = Predicted(predictions, y).classes, losses[:1]
    elif splits.classes is None:
        predictions, y, losses = predictions / _scale(splits), y / _scale(splits), ("squared",)
    found = [
        bias_variance_decomposition(
            predictions, y, loss=loss, design=drawn.design, parts=drawn.parts
        )
        for loss in losses
    ]
    return tuple(found), predictions


def _scale(splits: Splits) -> float | np.ndarray:
    """The standard deviation of y in the training set, (columns,) of several values."""
    return np.sqrt(error_unit(splits.train))


def _learned_from(splits: Splits, seen: np.ndarray) -> Splits:
    """The splits with only those training examples."""
    return replace(splits, train=take(on_host(splits.train), np.flatnonzero(seen)))


def _peak(measured: Sequence[Measured], splits: Splits, vary: str) -> Peak:
    """Where variance is largest, and whether that is more than chance.

    Networks of the same number share samples and keys, so differences are paired.
    """
    top = int(np.argmax([each.decomposition.variance.estimate for each in measured]))
    y, loss = np.asarray(splits.test.y), measured[0].decomposition.kind
    if not splits.counted:
        y = y / _scale(splits)

    def more(a: Measured, b: Measured) -> Difference | None:
        """What a has more than b, where the same networks did not diverge in both."""
        if a is b or len(a.predictions) != len(b.predictions):
            return None
        design = a.decomposition.design
        return paired_decomposition(
            a.predictions, b.predictions, y, loss=loss, design=design, parts=a.parts
        )

    ends = {
        name: found.variance
        for name, each in (("first", measured[0]), ("last", measured[-1]))
        if (found := more(measured[top], each))
    }
    steps = [found.bias for a, b in itertools.pairwise(measured) if (found := more(b, a))]
    words = f"variance is largest at {vary} {measured[top].value:g}"
    words += "".join(
        f", and exceeds that at the {end} value by {percent(difference)}"
        for end, difference in ends.items()
    )
    rising = sum(step.low > 0 for step in steps)
    bias = "at no step does bias rise by more than chance"
    if rising:
        bias = f"bias rises at {rising} of {len(steps)} steps by more than chance"
    return Peak(measured[top].value, ends, tuple(steps), (words, bias))

"""Diagnosis: all measurements of a recipe and the verdict, as data and as text.

It takes predictions and errors; nothing here trains a network.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from jaxnet import arrays, display
from jaxnet.data.dataset import TestSource
from jaxnet.diagnostics import text
from jaxnet.diagnostics.findings import Code, Finding, no_better_than_guessing, with_guessing
from jaxnet.diagnostics.findings import diverged as diverged_finding
from jaxnet.diagnostics.ladder import Ladder, check_limits, cross_fitted_ladder, error_ladder
from jaxnet.diagnostics.predicted import (
    Pair,
    Predicted,
    class_count,
    encoded,
    sound_partitions,
    without_diverged,
)
from jaxnet.diagnostics.steps import PoolSteps
from jaxnet.errors import InputError
from jaxnet.population.result import Population
from jaxnet.runtime.files import plain
from jaxnet.stats.bias_variance import Decomposition, Design, bias_variance_decomposition
from jaxnet.stats.comparison import EnsembleGain, ensemble_gain
from jaxnet.stats.cross_fitting import CrossFit, cross_fit
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.several import Scores
from jaxnet.stats.unseen_losses import UnseenLosses
from jaxnet.typing import ArrayLike


@dataclass(frozen=True)
class Parts:
    """A decomposition without its arrays.

    Attributes:
        design: how the members' training sets are related.
        kind: the loss.
        training: number of examples in each member's training set; None where it is unknown.
        members: number of members.
        loss: mean loss.
        bias: bias.
        variance: variance.
    """

    design: Design
    kind: str
    training: int | None
    members: int
    loss: Estimate
    bias: Estimate
    variance: Estimate


@dataclass(frozen=True)
class Folds:
    """How cross-fitted networks share the pool of training and validation set.

    Attributes:
        folds: number of folds; each network leaves out one of them.
        networks: number of networks that are counted.
        left_out: number of networks that are not, since they diverged.
        groups: number of groups; None where every example is its own.
        coverage: in how many studies the intervals of the recipe hold the truth, in words.
        networks_unseen: unseen error of these very networks on new examples.
        networks_gap: generalization gap of these very networks.
    """

    folds: int
    networks: int
    left_out: int
    groups: int | None
    coverage: str
    networks_unseen: Estimate
    networks_gap: Estimate


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a recipe, measured, and what to try.

    All fields but `networks` and `unseen` are plain data; `json()` returns them as text.

    Attributes:
        verdict: a sentence that begins with what is wrong with the training, if anything is; else
            with the largest of high bias, high variance and mismatch, with mostly bias or mostly
            variance, or with good enough or inconclusive.
        findings: the findings: first those about the training, then the others, the largest first.
        errors: error of train, validation, test and use, as far as they exist: a share of wrong
            predictions, or for a regression a share of the variance of y. For cross-fitted
            networks, train is the error on examples that they have seen and validation that on
            examples of the same pool that they have not seen; test is the error of the network
            that is kept.
        decompositions: decompositions of the error on the test set, or else on the validation set.
        ensemble: what the members achieve together on the same examples, or None.
        regression: whether the task is a regression.
        members: number of members whose errors these are.
        diverged: number of networks, of all kinds, left out because they diverged.
        examples: number of examples of each part.
        target_error: the error that could be reached; None where other methods stand for it.
        tolerance: the smallest step that matters.
        notes: what to bear in mind.
        networks: the networks that `jaxnet.diagnose` trained, or None.
        design: "cross-fitted", where every example is judged by networks that did not train on it,
            or "one split".
        folds: how cross-fitted networks share the pool; None for one split.
        dominance: the generalization gap minus avoidable bias, or None.
        other_methods: by method, its unseen error; bias is measured against them where there is no
            target error.
        scores: scores besides the error on examples that the networks have not seen, and what the
            networks gain over always guessing; of predictions that are classes, without those that
            take probabilities.
        unseen: the losses of cross-fitted networks on the examples that each left out, by which
            two recipes are compared; None for one split, and from predictions.
    """

    verdict: str
    findings: tuple[Finding, ...]
    errors: dict[str, Estimate]
    decompositions: tuple[Parts, ...]
    ensemble: EnsembleGain | None
    regression: bool
    members: int
    diverged: int
    examples: dict[str, int]
    target_error: float | None
    tolerance: float
    notes: tuple[str, ...] = ()
    networks: Population | None = field(default=None, repr=False, compare=False)
    design: Literal["cross-fitted", "one split"] = "one split"
    folds: Folds | None = None
    dominance: Estimate | None = None
    other_methods: dict[str, Estimate] = field(default_factory=dict)
    scores: Scores | None = None
    unseen: UnseenLosses | None = field(default=None, repr=False, compare=False)

    __repr__ = display.text

    def summary(self) -> dict[str, Any]:
        """Return everything but the networks and their losses in types that JSON has; numbers that
        are not finite become None.
        """
        numbers = plain(replace(self, networks=None, unseen=None))
        del numbers["networks"], numbers["unseen"]
        return numbers

    def json(self) -> str:
        """Return the summary as JSON text."""
        return json.dumps(self.summary(), indent=1, allow_nan=False)

    def __str__(self) -> str:
        return "\n".join(text.lines(self))

    def _repr_html_(self) -> str:
        return display.html(self)

    @classmethod
    def from_predictions(
        cls,
        train: Pair,
        validation: Pair | None = None,
        test: Pair | None = None,
        use: Pair | None = None,
        *,
        partitions: Mapping[int, ArrayLike] | None = None,
        target_error: float | None = None,
        tolerance: float = 0.02,
        test_source: TestSource = "own",
        groups: Mapping[str, ArrayLike] | None = None,
    ) -> "Diagnosis":
        """Diagnose a recipe from what its networks predict, whatever library they come from.

        Each part is a pair (predictions, labels). Predictions are (members, examples) class numbers
        or names, (members, examples, classes) log-probabilities, or for a regression (members,
        examples) values, of members trained on the same examples. Of several values of each example
        they are (members, examples, values), with labels (examples, values); of several yes/no
        labels (members, examples, labels) 0 and 1, or log-probabilities of yes, with labels
        (examples, labels) of 0 and 1. Without the axis of members they
        are of one network. Predicted classes that are not numbers (NaN) count as wrong, and a
        network that predicts nothing else is left out as diverged; notes say both.

        Args:
            train: predictions and labels on the training set.
            validation: on held-out examples like those of the training set. Leave it out where it
                chose among networks or stopped their training: errors on it are then too low.
            test: on the test set.
            use: on examples from where the network will be used.
            partitions: by number of parts K, predictions on the test set of networks that were
                trained on K disjoint random parts of the training set, where the parts of one
                partition are consecutive; only these allow claims about bias and variance.
            target_error: the error that could be reached; by default bias is measured against 0.
                For a regression, a share of the variance of y.
            tolerance: the smallest step that matters, in the same unit; 0.02 by default.
            test_source: "random" where the test set is a random part of the same data as the
                others; it then shows no mismatch. By default it is from where the network is used.
            groups: by part ("train", "validation", "test", "use"), (examples,) the group of each
                example, such as its patient, which is then the independent unit of the intervals.

        Returns:
            The diagnosis.

        Raises:
            InputError: for arguments that do not fit together, and for values that are not finite.
        """
        given = {"train": train, "validation": validation, "test": test, "use": use}
        held_out = validation if test is None else test
        if held_out is None:
            raise InputError(
                "there are only predictions on the training set; give those on validation or test "
                "set too"
            )
        each, of_partitions = encoded(
            {name: part for name, part in given.items() if part is not None},
            partitions or {},
            held_out[1],
        )
        regression = each["train"].regression
        variance = _variance(each["train"])
        if not np.all(variance > 0):
            raise InputError(
                "all training labels are equal; there is nothing to learn; give values that differ"
            )
        each, lost, total = without_diverged(
            {name: part for name, part in each.items() if len(part.labels)}
        )
        for name, part in each.items():
            if regression:
                arrays.numbers(f"{name} predictions", part.predictions, part.axes)
        errors = {name: part.losses(variance) for name, part in each.items()}
        if lost == total:
            errors = {name: np.full((1, len(part.labels)), np.nan) for name, part in each.items()}
        notes = [
            f"{name}: {part.unanswered_in_words}; they count as wrong"
            for name, part in each.items()
            if part.unanswered.any()
        ]
        kept = {k: sound_partitions(part, k) for k, part in of_partitions.items()}
        for k, (_, gone) in kept.items():
            if gone:
                count = len(of_partitions[k].predictions) // k
                notes.append(
                    f"partitions into {k}: {gone} of {count} were left out, since a network of "
                    "each predicts nothing but NaN"
                )
        steps = error_ladder(
            errors,
            target_error=target_error or 0.0,
            tolerance=tolerance,
            test_source=test_source,
            groups=groups,
            shares=not regression,
        )
        where = "test" if "test" in each else "validation"
        found = diagnosis_of(
            steps,
            each[where],
            {k: part.predictions for k, (part, _) in kept.items() if len(part.predictions)},
            training=len(each["train"].labels),
            variance=variance,
            scores=None
            if lost == total
            else each[where].score(
                each["train"].labels,
                variance=variance,
                classes=class_count(each.values()),
                groups=(groups or {}).get(where),
            ),
            more=diverged_finding(lost, total),
            notes=notes,
        )
        return replace(found, diverged=lost)

    @classmethod
    def from_cross_validation(
        cls,
        predictions: ArrayLike,
        labels: ArrayLike,
        seen: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        test: Pair | None = None,
        other_methods: Mapping[str, ArrayLike] | None = None,
        target_error: float | None = None,
        tolerance: float = 0.02,
    ) -> "Diagnosis":
        """Diagnose a recipe from cross-fitted networks, whatever library they come from.

        Every network was trained on all folds of a pool of examples but one, at least two networks
        without each fold, and all of them predict the whole pool.

        Args:
            predictions: (networks, examples) class numbers or names, (networks, examples, classes)
                log-probabilities, or for a regression (networks, examples) values.
            labels: (examples,) labels of the pool.
            seen: (networks, examples) which examples each network was trained on.
            groups: (examples,) the group of each example, such as its patient; whole groups lie in
                one fold. By default every example is its own.
            test: predictions of the same networks, and labels, on examples from where the network
                will be used; the difference to the unseen error is reported as mismatch.
            other_methods: by name, predictions for the pool, (examples,) or (examples, classes), by
                other methods that were trained without the fold of each example. Without a target
                error, bias is measured against them; without both, against 0.
            target_error: the error that could be reached. For a regression, a share of the variance
                of y.
            tolerance: the smallest step that matters, in the same unit; 0.02 by default.

        Returns:
            The diagnosis.

        Raises:
            InputError: for arrays that do not fit together, and if there is only one network for
                each fold.
        """
        check_limits(target_error or 0.0, tolerance)
        others = {f"other_methods[{name!r}]": f for name, f in (other_methods or {}).items()}
        given: dict[str, Pair] = {"pool": (predictions, labels)}
        given |= {name: (f, labels) for name, f in others.items()}
        given |= {} if test is None else {"test": test}
        each, _ = encoded(given, {})
        pool, regression = each["pool"], each["pool"].regression
        if not pool.of_members:
            raise InputError(
                "predictions are of one network; give those of at least 2 networks for each fold"
            )
        variance = _variance(pool)
        if not np.all(variance > 0):
            raise InputError(
                "all labels are equal, so there is nothing to learn; give labels that differ"
            )

        def losses(part: Predicted) -> np.ndarray:
            return part.losses(variance)

        silent = np.all(pool.unanswered, axis=-1)
        found = losses(pool)
        if silent.any():
            found = np.where(silent[:, None], np.nan, found)
        table, left_out = cross_fit(found, seen, groups, largest=None if regression else 1.0)
        if not regression:  # also where networks were left out
            table = replace(table, counted=True)
        if (table.networks_of_folds < 2).all():
            raise InputError(
                "each fold was left out by a single network, so how much networks differ is "
                "unknown; train at least 2 networks for each fold, with other seeds and the same "
                "folds"
            )
        kept = np.setdiff1d(np.arange(len(pool.predictions)), left_out)
        steps = PoolSteps(
            table,
            target_error,
            {
                name: losses(each[key]).astype(np.float64)
                for name, key in zip(other_methods or {}, others, strict=True)
            },
            None if test is None else losses(each["test"].only(kept)).astype(np.float64),
        )
        notes = [
            f"{name}: {part.unanswered_in_words}; they count as wrong"
            for name, part in each.items()
            if not regression and part.unanswered.any() and name != "pool"
        ]
        found = cross_fitted_diagnosis(
            steps,
            tolerance,
            left_out=len(left_out),
            scores=pool.score(
                variance=variance, classes=class_count(each.values()), seen=seen, groups=groups
            ),
            more=diverged_finding(len(left_out), len(pool.predictions)),
            notes=notes,
        )
        return replace(found, diverged=len(left_out))


def _variance(part: Predicted) -> float | np.ndarray:
    """The variance of y, the unit of squared errors, (columns,) of several values; 1 for classes
    and labels.
    """
    if not part.regression:
        return 1.0
    return np.var(part.labels, 0) if part.several else float(np.var(part.labels))


def cross_fitted_diagnosis(
    steps: PoolSteps,
    tolerance: float,
    *,
    left_out: int = 0,
    decompositions: Sequence[Parts] = (),
    ensemble: EnsembleGain | None = None,
    scores: Scores | None = None,
    more: Sequence[Finding] = (),
    notes: Sequence[str] = (),
) -> Diagnosis:
    """Build the diagnosis of cross-fitted networks.

    Args:
        steps: the errors on the pool, and what bias is measured against.
        tolerance: the smallest step that matters.
        left_out: number of cross-fitted networks left out because they diverged.
        decompositions: bias and variance of networks trained on parts of the pool.
        ensemble: what the networks achieve together on the test set.
        scores: scores besides the error on unseen examples.
        more: further findings.
        notes: what to bear in mind.

    Returns:
        The diagnosis, without `networks`, and with no diverged ones.
    """
    found, pool = cross_fitted_ladder(steps, tolerance), steps.pool
    if steps.target_error is None and not steps.others:
        notes = [
            *notes,
            "bias is measured against an error of 0; give target_error if less is attainable",
        ]
    guessing, verdict = _guessing(found, scores, tolerance)
    return Diagnosis(
        verdict=verdict,
        findings=_by_size([*found.findings, *guessing, *more]),
        errors=found.errors,
        decompositions=tuple(decompositions),
        ensemble=ensemble,
        regression=not pool.counted,
        members=len(pool.losses),
        diverged=0,
        examples=found.examples,
        target_error=found.target_error,
        tolerance=tolerance,
        notes=tuple(notes),
        design="cross-fitted",
        folds=_folds(pool, left_out),
        dominance=found.dominance,
        other_methods={name: pool.error_of_other(losses) for name, losses in steps.others.items()},
        scores=scores,
    )


def _folds(pool: CrossFit, left_out: int) -> Folds:
    own = pool.of_these_networks()
    return Folds(
        folds=pool.folds,
        networks=len(pool.losses),
        left_out=left_out,
        groups=None if pool.group_of is None else pool.units,
        coverage=pool.coverage,
        networks_unseen=own.unseen,
        networks_gap=own.gap,
    )


def _by_size(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: -finding.size.estimate))


def diagnosis_of(
    found: Ladder,
    held_out: Predicted,
    partitions: Mapping[int, np.ndarray],
    *,
    training: int,
    variance: float | np.ndarray,
    scores: Scores | None = None,
    more: Sequence[Finding] = (),
    notes: Sequence[str] = (),
) -> Diagnosis:
    """Build the diagnosis of networks trained on one training set, from their error steps and from
    predictions on the examples where the error is decomposed.

    Args:
        found: the error steps and the verdict.
        held_out: predictions on the examples where the error is decomposed.
        partitions: by number of parts, predictions on the same examples of networks of partitions.
        training: number of examples in the training set.
        variance: variance of y, the unit of a regression's errors; 1 for classes.
        scores: scores besides the error on the examples where the error is decomposed.
        more: further findings.
        notes: what to bear in mind.

    Returns:
        The diagnosis, without `networks`, and with no diverged members.
    """
    members = len(held_out.predictions) if held_out.of_members else 1
    notes, regression = list(notes), held_out.regression
    decompositions, ensemble = list[Parts](), None
    if members > 1 and held_out.unanswered.any():
        notes.append(
            "bias, variance and the members' joint prediction are left out: "
            f"{held_out.unanswered_in_words}"
        )
    elif members > 1:
        decompositions.append(decomposed(held_out, training, variance, "seeds"))
        ensemble = joint(held_out, variance)
    of_partitions, left_out = decomposed_partitions(partitions, held_out.labels, training, variance)
    decompositions += of_partitions
    notes += left_out
    guessing, verdict = _guessing(found, scores, found.tolerance)
    return Diagnosis(
        verdict=verdict,
        findings=_by_size([*found.findings, *guessing, *more]),
        errors=found.errors,
        decompositions=tuple(decompositions),
        ensemble=ensemble,
        regression=regression,
        members=members,
        diverged=0,
        examples=found.examples,
        target_error=found.target_error,
        tolerance=found.tolerance,
        notes=tuple(notes),
        dominance=found.dominance,
        scores=scores,
    )


def _guessing(found: Ladder, scores: Scores | None, tolerance: float) -> tuple[list[Finding], str]:
    """The finding that networks are no better than always guessing, and the verdict with it."""
    guessing = [] if scores is None else no_better_than_guessing(scores, tolerance)
    claims = any(each.claimed for each in found.findings) or found.verdict.startswith("mostly")
    return guessing, with_guessing(found.verdict, guessing, claims=claims)


def with_training(found: Diagnosis, training: Sequence[Finding]) -> Diagnosis:
    """Put first what is wrong with the training.

    Networks that did not train say nothing about their width or the amount of data, so such a
    finding is the verdict, and replaces what it explains: errors no better than those of guessing.

    Args:
        found: the diagnosis.
        training: findings about the training, the first cause first.

    Returns:
        The diagnosis with these findings.
    """
    if not training:
        return found
    explained = (Code.NO_BETTER_THAN_GUESSING, *(each.code for each in training))
    rest = (each for each in found.findings if each.code not in explained)
    first = training[0]
    return replace(
        found, verdict=f"{first.code.words}: {first.evidence}", findings=(*training, *rest)
    )


def decomposed_partitions(
    partitions: Mapping[int, np.ndarray],
    labels: np.ndarray,
    divided: int,
    variance: float | np.ndarray,
) -> tuple[list[Parts], list[str]]:
    """Decompose the error of the networks of partitions, and say what is left out.

    Args:
        partitions: by number of parts, predictions of the networks of partitions.
        labels: (examples,) labels of the examples that they predict.
        divided: number of training examples that each partition divides.
        variance: variance of y, the unit of a regression's errors; 1 for classes.
    """
    found, notes = list[Parts](), list[str]()
    for k in sorted(partitions):
        part = Predicted(partitions[k], labels)
        if part.unanswered.any():
            notes.append(
                f"bias and variance of partitions into {k} are left out: {part.unanswered_in_words}"
            )
            continue
        found.append(decomposed(part, divided // k, variance, "partition", k))
    return found, notes


def decomposed(
    part: Predicted,
    training: int,
    variance: float | np.ndarray,
    design: Design,
    parts: int | None = None,
) -> Parts:
    """Decompose the error of predictions into bias and variance.

    Args:
        part: predictions of several networks, and labels.
        training: number of examples in each network's training set.
        variance: variance of y, the unit of a regression's errors; 1 for classes.
        design: how the networks' training sets are related.
        parts: of a partition, into how many parts the training set was divided.
    """
    regression, scale = part.regression, np.sqrt(variance)
    found: Decomposition = bias_variance_decomposition(
        part.predictions.astype(np.float64) / scale if regression else part.classes,
        part.labels / scale if regression else part.labels,
        loss="squared" if regression else "zero_one_kohavi_wolpert",
        design=design,
        parts=parts,
    )
    return Parts(
        found.design, found.kind, training, found.members, found.loss, found.bias, found.variance
    )


def joint(part: Predicted, variance: float | np.ndarray) -> EnsembleGain | None:
    """Compute what several networks achieve together.

    Args:
        part: predictions of several networks, and labels.
        variance: variance of y, the unit of a regression's errors; 1 for classes.

    Returns:
        The errors of the networks alone and together; None for several yes/no labels, whose votes
        have no interval.
    """
    if part.regression:
        scale = np.sqrt(variance)
        return ensemble_gain(
            part.predictions.astype(np.float64) / scale, part.labels / scale, loss="squared"
        )
    if part.several:
        return None
    return ensemble_gain(part.predictions, part.labels, loss="zero_one")

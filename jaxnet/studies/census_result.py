"""Census: what networks on halves of the examples show of each example."""

import csv
import functools
import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num, Shaped

from jaxnet import arrays, display
from jaxnet.core.run import Run
from jaxnet.data import Splits
from jaxnet.diagnostics.findings import Finding, percent
from jaxnet.errors import InputError
from jaxnet.population.result import Population
from jaxnet.runtime.files import plain
from jaxnet.stats.bias_variance import Decomposition
from jaxnet.stats.estimate import Estimate, wilson
from jaxnet.stats.halves import mean_where
from jaxnet.studies import census_sets
from jaxnet.studies.census_labels import LabelsOfHalves, in_first_half
from jaxnet.studies.census_verify import Trainer, check_pairs, checked_rows, measured_gain
from jaxnet.typing import ArrayLike, Frame

MEMORIZED = 0.25  # memorization above which an example counts as memorized (Feldman & Zhang 2020)


@dataclass(frozen=True)
class Census:
    """What networks on random halves of the examples show.

    The pool is the training set and, where it takes part, the validation set, whose examples come
    last. Errors of values are squared errors divided by the variance of y.

    Attributes:
        splits: the data, with the pool as their training set.
        training: the number of examples of the training set, which come first in the pool.
        share: the share of the pool that each network was trained on.
        examples: how many examples each network was trained on, on average.
        unseen: error of the networks on the examples that they were not trained on.
        seen: error on those that they were trained on.
        decomposition: bias and variance of the unseen error, for training sets of `examples`
            examples; None where examples are grouped.
        halves: (networks, pool) which examples each network was trained on.
        predictions: (networks, pool, classes) log-probabilities as float16, or (networks, pool)
            values; mapped from the disk where the census has a folder.
        wrong: (networks, pool) which predictions are wrong, of classes; squared errors of values.
        losses: (networks, pool) losses: -log p(label) in nats, or squared errors.
        diverged: number of networks that diverged, which are left out of all of this.
        labels: what the networks show of the labels; None for a regression.
        findings: on label noise, where the share of wrong labels could be estimated.
        notes: what was decided, and how far the numbers can be trusted.
        population: all networks; the last one was trained on the whole pool.
        trainer: how they were trained.
    """

    splits: Splits = field(repr=False, compare=False)
    training: int
    share: float
    examples: float
    unseen: Estimate
    seen: Estimate
    decomposition: Decomposition | None = field(repr=False)
    halves: Bool[np.ndarray, "networks pool"] = field(repr=False, compare=False)
    predictions: Num[np.ndarray, "networks pool *classes"] = field(repr=False, compare=False)
    wrong: Shaped[np.ndarray, "networks pool"] = field(repr=False, compare=False)
    losses: Float[np.ndarray, "networks pool"] = field(repr=False, compare=False)
    diverged: int
    labels: LabelsOfHalves | None = field(repr=False, compare=False)
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    population: Population = field(repr=False, compare=False)
    trainer: Trainer = field(repr=False, compare=False)

    __repr__ = display.text

    @property
    def members(self) -> int:
        """The number of networks on halves that did not diverge."""
        return len(self.halves)

    @property
    def regression(self) -> bool:
        """Whether errors are squared errors in variances of y."""
        return self.splits.classes is None

    @property
    def run(self) -> Run:
        """The network that was trained on the whole pool."""
        return self.population[-1]

    def _check_classes(self) -> None:
        if self.regression:
            raise InputError(
                "values of a regression are neither right nor wrong, so this is of classes alone; "
                "take the census of a data set of classes"
            )

    @property
    def _labels(self) -> LabelsOfHalves:
        self._check_classes()
        assert self.labels is not None
        return self.labels

    @property
    def wrong_label(self) -> Float[np.ndarray, " training"]:
        """The probability that the label of each training example is wrong."""
        return self._labels.noise.probability[: self.training]

    @property
    def suggested_label(self) -> Int[np.ndarray, " training"]:
        """The most probable class of each training example: its label where that is right."""
        return self._labels.noise.suggested[: self.training]

    @property
    def wrong_labels(self) -> Estimate:
        """The number of wrong labels in the training set, where most labels of each class are
        right.
        """
        return self._labels.number

    @property
    def mislabeled(self) -> Int[np.ndarray, " listed"]:
        """Rows of the training set whose label is wrong, the most certain first, of which at most
        5% are expected to be right. Counted is the lower one of the probabilities that two halves
        of the networks find.
        """
        found = self._labels.listed
        return found[found < self.training]

    @functools.cached_property
    def _memorization(self) -> Float[np.ndarray, " pool"]:
        unseen, seen = (mean_where(self.wrong, mask) for mask in (~self.halves, self.halves))
        return unseen - seen

    @property
    def memorization(self) -> Float[np.ndarray, " training"]:
        """How much more often networks are right on each training example if they were trained on
        it (Feldman & Zhang 2020, eq. 1).
        """
        self._check_classes()
        return self._memorization[: self.training]

    @property
    def memorization_reliability(self) -> float:
        """How well the memorization of all networks would agree with that of as many others: the
        correlation of two halves of the networks, stepped up (Spearman 1910; Brown 1910).
        """
        first = in_first_half(self.members)
        one, other = (
            mean_where(self.wrong[part], ~self.halves[part])
            - mean_where(self.wrong[part], self.halves[part])
            for part in (first, ~first)
        )
        r = float(np.corrcoef(one, other)[0, 1])
        return 2 * r / (1 + r)

    @functools.cached_property
    def _difficulty(self) -> Float[np.ndarray, " pool"]:
        return mean_where(self.losses, ~self.halves)

    @property
    def difficulty(self) -> Float[np.ndarray, " training"]:
        """The mean loss of each training example over the networks that were not trained on it."""
        return self._difficulty[: self.training]

    def verify(
        self, rows: ArrayLike, labels: ArrayLike | None = None, *, pairs: int = 32
    ) -> Estimate:
        """Measure what it gains to train without some rows, or with other labels there.

        Networks are trained in pairs with the same random key, with the rows as they are and
        without them. Each leaves out one of 8 folds of the pool, and judges the examples of that
        fold, except for the rows themselves.

        Args:
            rows: rows of the training set, such as `mislabeled`.
            labels: (rows,) class numbers that take the place of their labels, such as
                `suggested_label[rows]`; None drops the rows.
            pairs: number of pairs, a multiple of 8 of at least 16.

        Returns:
            The error on unseen examples that it saves, a share of wrong predictions, or of the
            variance of y. Rows that were chosen by results on the judging examples look better than
            they are.

        Raises:
            InputError: for rows, labels or pairs that cannot be meant.
        """
        chosen = checked_rows(rows, self.training)
        check_pairs(pairs)
        new = None
        if labels is not None:
            self._check_classes()
            classes = self.splits.classes
            assert classes is not None
            new = arrays.labels("labels", labels, len(chosen), len(classes))
        return measured_gain(self.trainer, self.splits, chosen, new, pairs)

    def predict(
        self,
        x: ArrayLike | Frame,
        *,
        coverage: float = census_sets.COVERAGE,
        by_class: bool = False,
        network: Run | None = None,
    ) -> census_sets.Found:
        """Predict sets of classes that hold the label with a given probability, or limits between
        which the value lies.

        They are those of the vote of the networks on halves, and calibrated on the pool: what each
        example is compared with are the networks that were not trained on it. Where examples are
        grouped, the probability is that of examples of new groups.

        Args:
            x: (examples, ...) inputs, or a data frame, as for `jaxnet.predict`.
            coverage: the probability, on average over new examples like those of the pool.
            by_class: whether it is the probability for the examples of each class.
            network: a network that was trained on the training set, whose sets are then calibrated
                on the validation set; None for the vote.

        Returns:
            (examples, classes) booleans, which classes each set holds, or (examples, 2) lower and
            upper limits of values. The logger "jaxnet" says how many sets are empty, and where too
            few examples are known.

        Raises:
            InputError: for arguments that cannot be meant, and for a network where the data have no
                validation set, or that was trained on it.

        References:
            Vovk 2015 (cross-conformal prediction); Kim, Xu & Barber 2020 (random samples); Lee,
            Barber & Willett 2023 (groups).
        """
        if network is not None:
            return census_sets.of_network(self, network, x, coverage, by_class=by_class)
        return census_sets.of_vote(self, x, coverage, by_class=by_class)

    @functools.cached_property
    def unseen_vote(self) -> Float[np.ndarray, " pool *classes"]:
        """The mean probabilities, or values, of the networks that were not trained on each example
        of the pool.
        """
        return census_sets.unseen_vote(self.predictions, self.halves)

    @functools.cached_property
    def prediction_sets(self) -> census_sets.SetsOfUnseen:
        """How large prediction sets of the vote are at 95% coverage, for examples of the pool whose
        networks have not seen them.
        """
        train = self.splits.train
        return census_sets.of_unseen(self.unseen_vote, np.asarray(train.y), train.groups)

    def rows(self) -> dict[str, np.ndarray]:
        """What is known of each example of the pool, as columns.

        Returns:
            `part` and `index`, the part of the data and the row in it; `networks`, how many were
            not trained on the example; `error` with `low` and `high`, the share of them that is
            wrong on it and the 95% interval for other networks, or their mean squared error;
            `seen_error`, that of the networks that were trained on it; `difficulty`. Of classes
            also `memorization` with its 95% interval (Newcombe 1998, method 10), `label`,
            `wrong_label` and `suggested_label`.
        """
        n, parts = len(self.splits.train), (~self.halves, self.halves)
        (error, low, high), (seen, seen_low, seen_high) = map(self._error, parts)
        found = {
            "part": np.where(np.arange(n) < self.training, "train", "validation"),
            "index": np.concatenate([np.arange(self.training), np.arange(n - self.training)]),
            "networks": parts[0].sum(0),
            "error": error,
            "low": low,
            "high": high,
            "seen_error": seen,
            "difficulty": self._difficulty,
        }
        if self.splits.classes is None:
            return found
        names, y = np.asarray(self.splits.classes), np.asarray(self.splits.train.y)
        gap = self._memorization
        return found | {
            "memorization": gap,
            "memorization_low": gap - np.hypot(error - low, seen_high - seen),
            "memorization_high": gap + np.hypot(high - error, seen - seen_low),
            "label": names[y],
            "wrong_label": self._labels.noise.probability,
            "suggested_label": names[self._labels.noise.suggested],
        }

    def _error(
        self, judged: Bool[np.ndarray, "networks pool"]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The error of some networks on each example, and the 95% limits for other networks."""
        error, count = mean_where(self.wrong, judged), judged.sum(0)
        if not self.regression:
            found = [
                wilson(round(rate * trials), int(trials))
                for rate, trials in zip(error, count, strict=True)
            ]
            return error, np.array([each.low for each in found]), np.array([e.high for e in found])
        from scipy.special import stdtrit

        squares = mean_where(self.wrong**2, judged) - error**2
        half = stdtrit(count - 1, 0.975) * np.sqrt(np.maximum(squares, 0) / (count - 1))
        return error, np.maximum(0.0, error - half), error + half

    def csv(self) -> str:
        """The rows as CSV, those of the largest difficulty first."""
        columns, text = self.rows(), io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        for row in np.argsort(-columns["difficulty"], kind="stable"):
            writer.writerow([_cell(column[row]) for column in columns.values()])
        return text.getvalue()

    @property
    def verdict(self) -> str:
        """The error outside the half, and its parts."""
        unit = " of the variance of y" * self.regression
        words = (
            f"networks trained on {self.examples:,.0f} examples have an error of "
            f"{percent(self.unseen)}{unit}, on examples that they have not seen"
        )
        if self.decomposition is None:
            return words
        bias, variance = self.decomposition.bias, self.decomposition.variance
        return (
            f"{words}: bias² (shared mistakes, and noise of the labels) {bias.estimate:.2%}, "
            f"variance {variance.estimate:.2%}"
        )

    def summary(self) -> dict[str, Any]:
        """Return the census without its rows, in the types that JSON has."""
        names = ("members", "diverged", "share", "examples", "training", "unseen", "seen")
        parts = ("loss", "bias", "variance")
        return plain(
            {
                "verdict": self.verdict,
                **{name: getattr(self, name) for name in names},
                "pool": len(self.splits.train),
                "regression": self.regression,
                "decomposition": None
                if self.decomposition is None
                else {name: getattr(self.decomposition, name) for name in parts},
                "notes": self.notes,
                "prediction_sets": {
                    **self.prediction_sets._asdict(),
                    "words": self.prediction_sets.words,
                },
                **(
                    {}
                    if self.regression
                    else {
                        "wrong_labels": self.wrong_labels,
                        "mislabeled": self._listed(),
                        "memorization_reliability": self.memorization_reliability,
                    }
                ),
            }
        )

    def json(self) -> str:
        """Return the summary as JSON text."""
        return json.dumps(self.summary(), indent=1, allow_nan=False)

    def __str__(self) -> str:
        unit = " / variance of y" * self.regression
        rows = [
            (f"error{unit} on examples that a network has not seen", percent(self.unseen)),
            (f"error{unit} on examples that it was trained on", percent(self.seen)),
        ]
        if self.decomposition is not None:
            rows += [
                ("bias² of the error on unseen examples", percent(self.decomposition.bias)),
                ("variance of that error", percent(self.decomposition.variance)),
            ]
        if not self.regression:
            rows += self._of_labels()
        width = max(len(name) for name, _ in rows)
        return "\n".join(
            [
                f"{self.members} networks, each trained on {self.examples:,.0f} of "
                f"{len(self.splits.train):,} examples",
                *(f"{name:{width}}  {value}" for name, value in rows),
                "",
                self.prediction_sets.words,
                "",
                *self.notes,
            ]
        )

    def _listed(self) -> list[dict[str, Any]]:
        """The labels that are listed as wrong, and what they should be."""
        y, names = np.asarray(self.splits.train.y), self.splits.classes
        assert names is not None
        return [
            {
                "index": row,
                "label": names[y[row]],
                "suggested": names[self.suggested_label[row]],
                "wrong_label": self.wrong_label[row],
            }
            for row in self.mislabeled
        ]

    def _of_labels(self) -> list[tuple[str, str]]:
        """Names and values of what is known of the labels."""
        number, listed = self.wrong_labels, len(self.mislabeled)
        limits = (
            f", 95% interval {number.low:.0f} to {number.high:.0f}"
            if number.refused is None
            else ", no interval"
        )
        reliable = f"reliability {self.memorization_reliability:.3f}"
        return [
            ("wrong labels in the training set", f"{number.estimate:.0f}{limits}"),
            ("labels that both halves of the networks show to be wrong", str(listed)),
            (
                "training examples that are memorized (by more than 25 points)",
                f"{int((self.memorization > MEMORIZED).sum())}, {reliable}",
            ),
        ]


def _cell(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float | np.floating) else value

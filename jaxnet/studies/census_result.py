"""Census: what networks on halves of the examples show of each example."""

import functools
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num, Shaped

from jaxnet import display
from jaxnet.core.run import Run
from jaxnet.data import Splits
from jaxnet.diagnostics.findings import Finding
from jaxnet.population.predictions import predict
from jaxnet.population.result import Population
from jaxnet.stats.bias_variance import Decomposition
from jaxnet.stats.data_values import DataValues
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.halves import mean_where
from jaxnet.stats.label_errors import combine_members
from jaxnet.stats.label_noise import LabelNoise, label_noise
from jaxnet.stats.memorization import memorization, memorization_reliability
from jaxnet.stats.slices import Slice
from jaxnet.studies import census_rows, census_sets, census_text
from jaxnet.studies.census_labels import LabelsOfHalves
from jaxnet.studies.census_membership import MembershipInference, membership_of
from jaxnet.studies.census_verify import Trainer, check_classes, checked_rows, verified
from jaxnet.studies.census_why import Part, Why, own_outputs, why
from jaxnet.studies.census_worth import (
    Worst,
    data_values,
    gain_of_labels,
    memorized_examples,
    worst,
)
from jaxnet.typing import ArrayLike, Frame


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
        findings: on label noise, where the share of wrong labels could be estimated, and on
            memorized and harmful examples, where there are some.
        notes: what was decided, and how far the numbers can be trusted.
        population: all networks; the last one was trained on the whole pool.
        trainer: how they were trained.
        slices: subsets of the pool on which the unseen error is higher than elsewhere, the most
            certain first, found on one half of the pool and confirmed on the other; the probability
            that even one of them has no higher error is at most 5%.
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
    slices: tuple[Slice, ...] = field(default=(), repr=False, compare=False)

    __repr__ = display.text

    @property
    def members(self) -> int:
        """The number of networks on halves that did not diverge."""
        return len(self.halves)

    @property
    def pair_of(self) -> Int[np.ndarray, " networks"]:
        """The pair of each network; the two of a pair have no example in common."""
        return np.flatnonzero(~self.population.diverged[:-1]) // 2

    @property
    def regression(self) -> bool:
        """Whether errors are squared errors in variances of y."""
        return self.splits.classes is None

    @property
    def run(self) -> Run:
        """The network that was trained on the whole pool."""
        return self.population[-1]

    @property
    def _labels(self) -> LabelsOfHalves:
        check_classes(self.splits.classes)
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
        5% are expected to be right. Each counts with the lower of the probabilities that the two
        halves of the networks find.
        """
        found = self._labels.listed
        return found[found < self.training]

    def labels_of(self, x: ArrayLike | Frame, y: ArrayLike) -> LabelNoise:
        """Compute for other labeled examples the probability that the label is wrong.

        Labels of each class are assumed to be wrong as often as those of the pool, and in the same
        way.

        Args:
            x: (examples, ...) inputs that the networks were not trained on, or a data frame, as for
                `jaxnet.predict`.
            y: (examples,) class numbers.

        Returns:
            `probability`, and `suggested`, the most probable class.

        Raises:
            InputError: for a regression, and for invalid inputs or labels.
        """
        labels = self._labels
        new = np.asarray(predict(self.trainer.model, self.population, x))[:-1]
        opinion, y = combine_members(new[~self.population.diverged[:-1]], y, None)
        return label_noise(opinion, y, labels.noise.fit)

    @functools.cached_property
    def memorization(self) -> Float[np.ndarray, " training"]:
        """How much more often networks are right on each training example if they were trained on
        it (Feldman & Zhang 2020, eq. 1).
        """
        check_classes(self.splits.classes)
        return memorization(self.wrong, self.halves)[: self.training]

    @functools.cached_property
    def memorization_reliability(self) -> float:
        """How well the memorization of all networks would agree with that of as many others: the
        correlation of two halves of the networks, stepped up (Spearman 1910; Brown 1910).
        """
        check_classes(self.splits.classes)
        return memorization_reliability(self.wrong, self.halves, self.pair_of)

    @functools.cached_property
    def difficulty(self) -> Float[np.ndarray, " training"]:
        """The mean loss of each training example over the networks that were not trained on it."""
        return mean_where(self.losses, ~self.halves)[: self.training]

    @functools.cached_property
    def data_values(self) -> DataValues:
        """The networks, by which examples of the pool are valued."""
        return data_values(self)

    @property
    def value(self) -> Float[np.ndarray, " training"]:
        """The unseen error without each training example minus that with it, to first order, for
        networks that are trained on a half: positive where the example helps.

        It is the expected value given all networks. Those of single examples are small beside what
        networks differ by, so they are shrunk towards the mean of examples whose labels are as
        probably wrong and that are as hard. `value_reliability` says what the networks themselves
        show of single examples; sums over many rows, as of `without`, are known better.
        """
        return self.data_values.values.value[: self.training]

    @functools.cached_property
    def value_reliability(self) -> float:
        """How well the mean error of the networks without each example minus that of those with it
        would agree with that of as many other networks: the correlation of two halves of the
        networks, stepped up (Spearman 1910; Brown 1910).
        """
        return self.data_values.reliability()

    @functools.cached_property
    def harmful(self) -> Int[np.ndarray, " listed"]:
        """Rows of the training set whose value is below 0, the most certain first: both halves of
        the networks show it, and a false discovery rate of 5% holds, by t tests over the networks
        (Benjamini & Yekutieli 2001).
        """
        return self.data_values.harmful(self.training)

    @functools.cached_property
    def memorized(self) -> Int[np.ndarray, " listed"]:
        """Rows of the training set whose memorization is above .25, the most certain first: both
        halves of the networks show it, and a false discovery rate of 5% holds, by score tests over
        the networks (Farrington & Manning 1990; Benjamini & Yekutieli 2001).
        """
        check_classes(self.splits.classes)
        return memorized_examples(self)[0]

    def why(self, i: int, part: Part = "test", *, k: int = 5) -> Why:
        """List the training examples that support and oppose a prediction.

        The effect of each example comes from a regression of the log-odds of the label, or of the
        negative squared error, on which examples each network was trained on. It is a ridge
        regression with a penalty chosen by cross-validation, shrunk towards what an example does by
        its own output. With fewer than some 500 networks the ranking is mostly noise but for large
        effects; `agreement` of the result says how well other networks would agree.

        Args:
            i: the row of the example in its part of the data.
            part: the part. Only this method reads predictions on the test set.
            k: how many examples to list.

        Returns:
            The examples, and how certain they are.

        Raises:
            InputError: for a row or part that is not there, or a k that is not a number of them.

        References:
            Ilyas et al. 2022 (datamodels); Park et al. 2023 (how well they predict).
        """
        return why(self, i, part, k)

    @functools.cached_property
    def own_outputs(self) -> Float[np.ndarray, "networks pool"]:
        """What each network outputs for each example of the pool: the log-odds of its label, or a
        value.
        """
        return own_outputs(self)

    def without(self, rows: ArrayLike) -> Estimate:
        """Predict what it gains to train without some rows.

        A linear model of the unseen error on which examples a network was trained on gives the
        effect of the rows on networks that are trained on a half; the rows themselves judge
        nothing. For networks that are trained on all n examples, the error is assumed to fall as
        n^-a with a between 0 and 1, and leaving out many rows to gain between once and twice what
        the gain per row of the first few would suggest. `verify` measures the gain.

        Args:
            rows: rows of the training set, such as `mislabeled`.

        Returns:
            The error on unseen examples that it saves, a share of wrong predictions, or of the
            variance of y. The interval is for other networks and examples, and allows for these
            assumptions.

        Raises:
            InputError: for invalid rows.

        References:
            Ilyas et al. 2022 (linear models of training sets).
        """
        return self.data_values.gain(checked_rows(rows, self.training))

    def with_labels(self, rows: ArrayLike, labels: ArrayLike) -> Estimate:
        """Predict what it gains to give some rows other labels.

        No network saw these labels. The prediction is that of dropping the rows, and of adding as
        many examples of the new classes that are worth what examples of these classes whose labels
        are right are worth on average. `verify` measures the gain.

        Args:
            rows: rows of the training set, such as `mislabeled`.
            labels: (rows,) class numbers that take the place of their labels, such as
                `suggested_label[rows]`.

        Returns:
            The error on unseen examples that it saves, as `without` does.

        Raises:
            InputError: for invalid rows or labels.
        """
        check_classes(self.splits.classes)
        return gain_of_labels(self, rows, labels)

    def worst(self, k: int) -> Worst:
        """Choose the k training examples that harm most, and predict what it gains to drop them.

        They are chosen with half of the networks and half of the judging examples, and the gain is
        predicted by the other half of both, so that it does not look better than it is.

        Args:
            k: the number of examples.

        Returns:
            The rows, those that harm most first, and the gain.

        Raises:
            InputError: where k is not a number of training examples, and for fewer than 32
                networks.
        """
        return worst(self, k)

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
            InputError: for invalid rows, labels or pairs.
        """
        return verified(self, rows, labels, pairs)

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

        The sets are those of the vote of the networks, calibrated on the pool, each example of
        which is judged by the networks that were not trained on it. Where examples are grouped, the
        probability is that of examples of new groups.

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
            InputError: for invalid arguments, and for a network if the data have no
                validation set, or that was trained on it.

        References:
            Vovk 2015 (cross-conformal prediction); Kim, Xu & Barber 2020 (random samples); Lee,
            Barber & Willett 2023 (groups).
        """
        if network is not None:
            return census_sets.of_network(self, network, x, coverage, by_class=by_class)
        return census_sets.of_vote(self, x, coverage, by_class=by_class)

    @functools.cached_property
    def _membership(self) -> MembershipInference:
        check_classes(self.splits.classes)
        return membership_of(self)

    def membership_inference(self) -> MembershipInference:
        """Compute what an attacker could tell of networks trained on halves: which examples they
        were trained on.

        Each network is attacked with what the others show of each example (likelihood ratios of
        normal distributions), beside an attack that looks at the loss alone.

        Returns:
            The MembershipInference, with a verdict in one sentence.

        Raises:
            InputError: for values of a regression.

        References:
            Carlini et al. 2022, algorithm 1; Yeom et al. 2018 (threshold on the loss).
        """
        return self._membership

    @property
    def exposure(self) -> Float[np.ndarray, " training"]:
        """For each training example, the share of the networks trained on it for which an attacker
        recognizes it, at 1% false positives.
        """
        return self._membership.exposure[: self.training]

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
            `seen_error`, that of the networks that were trained on it; `difficulty`; `value` with
            its 95% interval. Of classes also `memorization` with its 95% interval (Newcombe 1998,
            method 10), `exposure`, `label`, `wrong_label` and `suggested_label`.
        """
        return census_rows.columns(self)

    def csv(self) -> str:
        """The rows as CSV, those of the largest difficulty first."""
        return census_rows.csv_text(self)

    def labels_csv(self) -> str:
        """The labels that are listed as wrong as CSV, with an empty column for the corrected label,
        which `jaxnet train --corrections FILE` reads once it is filled in.
        """
        return census_rows.labels_csv(self)

    @property
    def verdict(self) -> str:
        """The error outside the half, and its parts."""
        return census_text.verdict(self)

    def summary(self) -> dict[str, Any]:
        """Return the census without its rows, in the types that JSON has."""
        return census_text.summary(self)

    def json(self) -> str:
        """Return the summary as JSON text."""
        return json.dumps(self.summary(), indent=1, allow_nan=False)

    def __str__(self) -> str:
        return census_text.text(self)

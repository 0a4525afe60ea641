"""Inner networks: what networks say of the folds that they were not trained on, for rules that
decide inside a training part; and what several networks predict together.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxnet.data import Dataset
from jaxnet.data.dataset import error_unit
from jaxnet.data.resampling import Samples, whole
from jaxnet.diagnostics.findings import Code, Finding, finding
from jaxnet.models.model import Model
from jaxnet.population.predictions import member_predictions
from jaxnet.population.result import Population
from jaxnet.random import generator
from jaxnet.runtime.plan import Plan
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.label_errors import far_values, likely_wrong
from jaxnet.studies.rules import (
    Judged,
    LeftOut,
    Lesson,
    Rule,
    columns_of,
    judged,
    left_out,
    lesson,
    permuted,
    squared_losses,
)

MOST_WRONG = 0.5  # share of contradicted labels above which networks are doubted, and not labels


@dataclass(frozen=True)
class Inner:
    """Inner networks, and what they have said so far.

    Attributes:
        model: their model.
        fold_of: (examples,) fold of each example.
        train: the examples.
        key: a random key, of permutations.
        plan: as in `fit_population`.
        said: by folds that a network left out, what it says of them. A network that diverged finds
            all classes equally probable, or predicts the mean of y.
    """

    model: Model
    fold_of: Int[np.ndarray, " examples"]
    train: Dataset
    key: Key[Array, ""]
    plan: Plan | None
    said: dict[LeftOut, Judged] = field(default_factory=dict)

    def missing(self, rules: Sequence[Rule | None], parts: Sequence[int | None]) -> list[LeftOut]:
        """The folds that inner networks leave out which these rules need and were not trained yet.

        Args:
            rules: the rule of each network, or None.
            parts: the fold that each network leaves out; None for the whole pool.
        """
        wanted = {part for part, rule in zip(parts, rules, strict=True) if rule is not None}
        return sorted({folds for part in wanted for folds in left_out(part)} - self.said.keys())

    def lessons(
        self, rules: Sequence[Rule | None], parts: Sequence[int | None]
    ) -> list[Lesson | None]:
        """What networks of these rules are trained on.

        Args:
            rules: as in `missing`.
            parts: as in `missing`.
        """
        return [
            None
            if rule is None
            else lesson(rule, judged(part, self.fold_of, self.said), self.train)
            for rule, part in zip(rules, parts, strict=True)
        ]

    def samples(self, sets: Sequence[LeftOut]) -> Samples:
        """What the networks train on that leave out these folds."""
        rows = {i: np.flatnonzero(~np.isin(self.fold_of, folds)) for i, folds in enumerate(sets)}
        return whole(len(sets), len(self.fold_of)).with_rows(rows)

    def take_in(self, networks: Population, sets: Sequence[LeftOut], *, columns: bool) -> None:
        """Keep what networks say of examples that they were not trained on.

        Args:
            networks: the networks.
            sets: the folds that each of them left out.
            columns: whether to measure how the loss changes where a column is permuted.
        """
        x, y = np.asarray(self.train.x), np.asarray(self.train.y)
        rows = [np.flatnonzero(np.isin(self.fold_of, folds)) for folds in sets]
        outputs, changes = self._predicted(networks, x, rows), None
        if columns:
            rng = generator(self.key, "resampling")
            losses = [squared_losses(each, y[own]) for each, own in zip(outputs, rows, strict=True)]
            every = list[list[np.ndarray]]()
            for inputs in columns_of(self.train):
                moved = self._predicted(networks, permuted(x, inputs, self.fold_of, rng), rows)
                every.append(
                    [
                        squared_losses(each, y[own]) - before
                        for each, own, before in zip(moved, rows, losses, strict=True)
                    ]
                )
            changes = [np.stack(each) for each in zip(*every, strict=True)]
        for i, folds in enumerate(sets):
            own = None if changes is None else changes[i]
            self.said[folds] = Judged(rows[i], outputs[i], own)

    def _predicted(
        self, networks: Population, x: np.ndarray, rows: Sequence[Int[np.ndarray, " some"]]
    ) -> list[np.ndarray]:
        """What each network predicts of its rows."""
        y = np.asarray(self.train.y)
        classes = self.train.classes is not None
        nothing = -math.log(self.train.outputs) if classes else float(y.mean())
        found = [np.empty(0)] * len(rows)
        for places, outputs in member_predictions([self.model], networks, x, self.plan):
            for place, each in zip(places, outputs, strict=True):
                own = each[rows[place]]
                found[place] = own if np.isfinite(own).all() else np.full_like(own, nothing)
        return found


def label_noise(
    model: Model, networks: Population, train: Dataset, tolerance: float, plan: Plan | None
) -> tuple[Finding, ...]:
    """Find whether many labels are likely wrong, of examples that networks were not trained on.

    Args:
        model: their model.
        networks: networks that were trained on a part of the examples each.
        train: the examples.
        tolerance: the share of wrong labels that matters.
        plan: as in `fit_population`.

    Returns:
        A finding that is not claimed, since a network alone may err where it is confident; none
        for values, where fewer labels are likely wrong, and where so many seem to be that the
        networks are to be doubted.
    """
    found = None if train.classes is None else _unseen(model, networks, train, plan)
    if found is None:
        return ()
    share = float(likely_wrong(np.exp(found[0]), found[1])[0].mean())
    if not tolerance < share <= MOST_WRONG:
        return ()
    words = f"{share:.1%} of the labels are likely wrong, by networks that were not trained on them"
    size = Estimate(share, refused="too few networks judge each label")
    return (finding(Code.LABEL_NOISE, size, False, words),)


def harmful_values(
    model: Model, networks: Population, train: Dataset, tolerance: float, plan: Plan | None
) -> tuple[Finding, ...]:
    """Find whether values that are far from predicted ones make up much of the error, of examples
    that networks were not trained on.

    Args:
        model: as in `label_noise`.
        networks: as in `label_noise`.
        train: as in `label_noise`.
        tolerance: the share of the variance of y that matters.
        plan: as in `fit_population`.

    Returns:
        A finding that is not claimed, since what is far may be right; none for classes or several
        values, and where these values make up less.
    """
    one = train.classes is None and np.ndim(train.y) == 1
    found = _unseen(model, networks, train, plan) if one else None
    if found is None:
        return ()
    far, losses = far_values(*found), squared_losses(*found) / error_unit(train)
    carried = float((losses * far).mean())
    if not carried > tolerance:
        return ()
    words = (
        f"{far.mean():.1%} of the values are far from what networks that were not trained on them "
        f"predict, and add {carried:.2%} of the variance of y to the error"
    )
    size = Estimate(carried, refused="too few networks judge each value")
    return (finding(Code.HARMFUL_EXAMPLES, size, False, words),)


def _unseen(
    model: Model, networks: Population, train: Dataset, plan: Plan | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """(outputs of networks for examples that they were not trained on, the labels of these); None
    where there are no such networks.
    """
    if networks.samples is None:
        return None
    y, found = np.asarray(train.y), list[tuple[np.ndarray, np.ndarray]]()
    for places, outputs in member_predictions([model], networks, np.asarray(train.x), plan):
        for place, each in zip(places.tolist(), outputs, strict=True):
            new = ~networks.samples.seen(place)
            if np.isfinite(each).all() and new.any():
                found.append((each[new], y[new]))
    if not found:
        return None
    outputs, labels = (np.concatenate(each) for each in zip(*found, strict=True))
    return outputs, labels


def voted(
    waves: Iterable[tuple[np.ndarray, np.ndarray]],
    votes: Sequence[int],
    diverged: Bool[np.ndarray, " networks"],
    classes: bool,
) -> Iterator[tuple[int, Float[np.ndarray, "examples ..."]]]:
    """Combine the predictions of networks that predict together: the mean of their probabilities,
    or of their values. Diverged networks do not vote.

    Args:
        waves: numbers of networks and their outputs, as `member_predictions` yields them.
        votes: of each vote the number of its networks, which follow each other.
        diverged: (networks,) which ones diverged.
        classes: whether outputs are log-probabilities.

    Yields:
        The number of a vote, and the log-probabilities (examples, classes), or values (examples,),
        that are predicted together; NaN where all networks diverged.
    """
    vote_of = np.repeat(np.arange(len(votes)), votes)
    left, count, sums = list(votes), [0] * len(votes), dict[int, np.ndarray]()
    for places, outputs in waves:
        for place, each in zip(places.tolist(), outputs, strict=True):
            vote = int(vote_of[place])
            left[vote] -= 1
            if not diverged[place]:
                count[vote] += 1
                before = sums.get(vote)
                both = np.logaddexp if classes else np.add
                sums[vote] = each if before is None else both(before, each)
            if not left[vote]:
                total = sums.pop(vote, np.full_like(each, np.nan))
                many = max(1, count[vote])
                yield vote, total - math.log(many) if classes else total / many

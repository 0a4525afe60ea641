"""Inner networks: what networks say of the folds that they were not trained on, for rules that
decide inside a training part; and what several networks predict together.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxnet.data import Dataset
from jaxnet.diagnostics.findings import Code, Finding, finding
from jaxnet.models.model import Model
from jaxnet.population.predictions import member_predictions
from jaxnet.population.result import Population
from jaxnet.random import generator
from jaxnet.runtime.plan import Plan
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.label_errors import likely_wrong
from jaxnet.studies.rules import Judged, LeftOut, columns_of, permuted, squared_losses

MOST_WRONG = 0.5  # share of contradicted labels above which networks are doubted, and not labels


def judgments(
    model: Model,
    networks: Population,
    left_out: Sequence[LeftOut],
    fold_of: Int[np.ndarray, " examples"],
    train: Dataset,
    key: Key[Array, ""],
    plan: Plan | None,
    *,
    columns: bool,
) -> dict[LeftOut, Judged]:
    """Predict what networks were not trained on.

    Args:
        model: their model.
        networks: the networks.
        left_out: the folds that each of them was not trained on.
        fold_of: (examples,) fold of each example.
        train: the examples.
        key: a random key, of permutations.
        plan: as in `fit_population`.
        columns: whether to measure how the loss changes where a column is permuted.

    Returns:
        By folds that a network left out, what it says of them. A network that diverged finds all
        classes equally probable, or predicts the mean of y.
    """
    x, y = np.asarray(train.x), np.asarray(train.y)
    rows = [np.flatnonzero(np.isin(fold_of, folds)) for folds in left_out]
    nothing = -math.log(train.outputs) if train.classes is not None else float(y.mean())

    def predicted(x: np.ndarray) -> list[np.ndarray]:
        found = [np.empty(0)] * len(rows)
        for places, outputs in member_predictions([model], networks, x, plan):
            for place, each in zip(places, outputs, strict=True):
                own = each[rows[place]]
                found[place] = own if np.isfinite(own).all() else np.full_like(own, nothing)
        return found

    outputs, changes = predicted(x), None
    if columns:
        rng = generator(key, "resampling")
        losses = [squared_losses(each, y[own]) for each, own in zip(outputs, rows, strict=True)]
        every = list[list[np.ndarray]]()
        for inputs in columns_of(train):
            moved = predicted(permuted(x, inputs, fold_of, rng))
            every.append(
                [
                    squared_losses(each, y[own]) - before
                    for each, own, before in zip(moved, rows, losses, strict=True)
                ]
            )
        changes = [np.stack(each) for each in zip(*every, strict=True)]
    return {
        folds: Judged(rows[i], outputs[i], None if changes is None else changes[i])
        for i, folds in enumerate(left_out)
    }


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
    if train.classes is None or networks.samples is None:
        return ()
    y, found = np.asarray(train.y), list[tuple[np.ndarray, np.ndarray]]()
    for places, outputs in member_predictions([model], networks, np.asarray(train.x), plan):
        for place, each in zip(places.tolist(), outputs, strict=True):
            new = ~networks.samples.seen(place)
            if np.isfinite(each).all() and new.any():
                found.append((np.exp(each[new]), y[new]))
    if not found:
        return ()
    probability, labels = (np.concatenate(each) for each in zip(*found, strict=True))
    share = float(likely_wrong(probability, labels)[0].mean())
    if not tolerance < share <= MOST_WRONG:
        return ()
    words = f"{share:.1%} of the labels are likely wrong, by networks that were not trained on them"
    size = Estimate(share, refused="too few networks judge each label")
    return (finding(Code.LABEL_NOISE, size, False, words),)


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

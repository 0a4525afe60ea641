"""Which columns almost equal the label? Each is judged alone, by a small tree."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxnet.data.dataset import Dataset
from jaxnet.data.schema import Column
from jaxnet.data.splitting import fold_numbers, take

ROWS = 1_000  # that are looked at; of more, so many are drawn
DEPTH = 3  # of a tree
CLASSES = 8  # that are told apart; the less frequent ones count as one
SHARE = 0.1  # of the error of the other columns
FEWEST = 5  # wrong predictions of the other columns; fewer may be chance
MOST = 3  # columns that are named; where more are alike, the label is easy


class Leak(NamedTuple):
    """A column that almost equals the label.

    Attributes:
        column: its name.
        error: share of rows that a tree on this column alone gets wrong; for a regression, its
            squared error in variances of y.
        other: the name of the best other column; None if guessing is better than all of them.
        other_error: the error of that one.
        rows: number of rows that were judged.
    """

    column: str
    error: float
    other: str | None
    other_error: float
    rows: int


def leaks(data: Dataset, rows: np.ndarray, *, seed: int = 0) -> tuple[Leak, ...]:
    """Find columns that almost equal the label: a tree on such a column alone errs in less than a
    tenth of what trees on each of the others do.

    Half of the rows are judged by trees of depth 3 that are fitted to the other half: one for the
    values of a regression and for two classes, else one for each class against the rest. A number
    is one input of a tree, with gaps below all numbers; categories are ordered by how often the
    class is among them; of a date, the best part counts. At most 1,000 rows are looked at. A table
    of one column has no others, so nothing is found in it.

    Args:
        data: examples with columns.
        rows: (rows,) numbers of those in the training and the validation set.
        seed: seed of the halves, and of the rows where there are more.

    Returns:
        A Leak for each such column.
    """
    columns = data.columns or ()
    if len(rows) > ROWS:
        rows = rows[np.unique(np.random.default_rng(seed).integers(0, len(rows), ROWS))]
    data = take(data, rows)
    targets, groups = _targets(data), data.groups
    if len(columns) < 2 or not targets.size or (groups is not None and np.ptp(groups) == 0):
        return ()
    features, owners = _features(np.asarray(data.x), columns)
    half = fold_numbers(data, 2, seed)
    wrong = np.zeros(len(features) + 1)
    for held_out in (half == 0, half == 1):
        each = [_outputs(features, owners, columns, target, held_out) for target in targets]
        wrong += _wrong(np.stack(each, -1), targets[:, held_out])
    errors = np.full(len(columns), np.inf)
    np.minimum.at(errors, owners, wrong[:-1])
    return _almost_equal(errors, float(wrong[-1]), data, targets)


def _targets(data: Dataset) -> np.ndarray:
    """(targets, rows) what trees predict: a value, or 1 for a class and 0 for the rest; the less
    frequent of many classes count as one. None where all labels are equal.
    """
    y = np.asarray(data.y)
    if data.classes is None:
        values = (y - y.mean(dtype=np.float64))[None]
        return values if values.any() else values[:0]
    counts = np.bincount(y)
    found = np.argsort(-counts, kind="stable")[: (counts > 0).sum()]
    if len(found) < 3:
        return (y == found[1:, None]).astype(np.float64)
    each = y == found[:CLASSES, None]
    rare = [~each.any(0)] * (len(found) > CLASSES)
    return np.stack([*each, *rare]).astype(np.float64)


def _outputs(
    features: np.ndarray,
    owners: np.ndarray,
    columns: Sequence[Column],
    target: np.ndarray,
    held_out: np.ndarray,
) -> np.ndarray:
    """(features + 1, held-out rows) what trees predict that are fitted to the other rows, and last
    the mean of these.
    """
    inputs = np.stack(
        [
            _by_target(each, target, ~held_out) if columns[owner].categories is not None else each
            for each, owner in zip(features, owners, strict=True)
        ]
    )
    trees = fit_trees(inputs[:, ~held_out], target[~held_out], DEPTH)
    each = zip(trees, inputs[:, held_out], strict=True)
    guess = np.full(held_out.sum(), target[~held_out].mean())
    return np.stack([*(tree.outputs(values) for tree, values in each), guess])


def _wrong(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The number of wrong predictions, or the sum of squared errors of a value.

    Args:
        outputs: (predictors, rows, targets).
        targets: (targets, rows).
    """
    if len(targets) > 1:
        return (outputs.argmax(-1) != targets.argmax(0)).sum(-1)
    if ((targets == 0) | (targets == 1)).all():
        return ((outputs[..., 0] > 0.5) != targets[0]).sum(-1)
    return np.square(outputs[..., 0] - targets[0]).sum(-1)


def _almost_equal(
    errors: np.ndarray, guessed: float, data: Dataset, targets: np.ndarray
) -> tuple[Leak, ...]:
    """The columns whose errors are less than a tenth of those of all others and of guessing."""
    columns, classes = data.columns or (), data.classes is not None
    unit = len(data) if classes else float(np.square(targets).sum())
    order = np.argsort(errors, kind="stable")
    # largest set first: where a leak is in the table twice, each hides the other
    for count in range(min(MOST, len(columns) - 1), 0, -1):
        best, following = errors[order[count - 1]], errors[order[count]]
        rest = min(following, guessed)
        if best < SHARE * rest and (rest >= FEWEST or not classes):
            other = columns[order[count]].name if following <= guessed else None
            return tuple(
                Leak(columns[each].name, errors[each] / unit, other, rest / unit, len(data))
                for each in order[:count]
            )
    return ()


def described(leak: Leak, *, regression: bool) -> str:
    """A sentence on a Leak.

    Args:
        leak: the Leak.
        regression: whether errors are squared errors.

    Returns:
        The sentence.
    """
    what = " of the variance" if regression else ""
    other = "guessing" if leak.other is None else f"one on {leak.other!r}, the best other column,"
    return (
        f"{leak.column!r} almost equals the label (possible leak): a small tree on it alone has an "
        f"error of {leak.error:.2%}{what}, {other} of {leak.other_error:.2%} ({leak.rows:,} rows); "
        f"if it is not known yet when predictions are made, leave it out with --drop-columns "
        f"{leak.column}"
    )


class Tree(NamedTuple):
    """A regression tree on one input.

    Attributes:
        thresholds: (leaves - 1,) where one leaf ends and the next begins, in ascending order; a
            value at a threshold belongs to the lower leaf.
        means: (leaves,) what is predicted in each leaf.
    """

    thresholds: np.ndarray
    means: np.ndarray

    def outputs(self, values: np.ndarray) -> np.ndarray:
        """The predictions.

        Args:
            values: (rows,) the input.

        Returns:
            (rows,) means of the leaves.
        """
        return self.means[np.searchsorted(self.thresholds, values)]


def fit_trees(inputs: np.ndarray, target: np.ndarray, depth: int) -> list[Tree]:
    """Fit a tree to each input alone, all of them at once.

    Every leaf whose targets differ is divided, up to a depth, where the squared error falls most.
    For a class, 1 or 0, this is the division by Gini impurity.

    Args:
        inputs: (inputs, rows) numbers.
        target: (rows,) what to predict.
        depth: how often a leaf is divided at most.

    Returns:
        A Tree for each input.

    References:
        Breiman, Friedman, Olshen & Stone 1984, Classification and Regression Trees, chapter 4.
    """
    count, rows = inputs.shape
    order = np.argsort(inputs, axis=1, kind="stable")
    values, ordered = np.take_along_axis(inputs, order, 1), target[order]
    sums, squares = (np.zeros((count, rows + 1)) for _ in range(2))
    np.cumsum(ordered, axis=1, out=sums[:, 1:])
    np.cumsum(np.square(ordered), axis=1, out=squares[:, 1:])
    each, places = np.arange(count), np.arange(rows)
    # a leaf can begin where the value is larger than the one before
    rises = np.zeros(values.shape, bool)
    rises[:, 1:] = values[:, 1:] > values[:, :-1]
    leaves = [(np.zeros(count, int), np.full(count, rows))]
    for _ in range(depth):
        divided = []
        for begin, end in leaves:
            first, last = sums[each, begin], sums[each, end]
            size = end - begin
            spread = squares[each, end] - squares[each, begin]
            spread -= np.square(last - first) / np.maximum(size, 1)
            possible = rises & (places > begin[:, None]) & (places < end[:, None])
            possible &= (spread > 1e-12 * squares[:, -1])[:, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                explained = np.square(sums[:, :-1] - first[:, None]) / (places - begin[:, None])
                explained += np.square(last[:, None] - sums[:, :-1]) / (end[:, None] - places)
            explained[~possible] = -np.inf
            cut = np.where(possible.any(1), explained.argmax(1), end)  # at the end: not divided
            divided += [(begin, cut), (cut, end)]
        leaves = divided
    begins = np.stack([begin for begin, _ in leaves])
    return [
        _tree(np.unique(begins[begins[:, number] < rows, number]), values[number], sums[number])
        for number in range(count)
    ]


def _tree(begins: np.ndarray, values: np.ndarray, sums: np.ndarray) -> Tree:
    """The Tree whose leaves begin at these places among the values in ascending order."""
    ends = np.append(begins[1:], len(values))
    thresholds = (values[begins[1:] - 1] + values[begins[1:]]) / 2
    return Tree(thresholds, (sums[ends] - sums[begins]) / (ends - begins))


def _features(x: np.ndarray, columns: Sequence[Column]) -> tuple[np.ndarray, np.ndarray]:
    """((features, rows) the numbers that trees look at, (features,) number of the column of each).

    Categories are numbered here, and `_by_target` puts them in order.
    """
    found, owners, first = [], [], 0
    for number, column in enumerate(columns):
        own = x[:, first : first + len(column.inputs)]
        first += len(column.inputs)
        if column.categories is not None:
            each = [own @ np.arange(1.0, own.shape[1] + 1)]
        else:
            parts = own.shape[1] - column.missing - column.other
            each = list(own[:, :parts].T)
            if column.missing:
                gaps = own[:, parts] > 0
                each = [np.where(gaps, part.min() - 1, part) for part in each]
        found += each
        owners += [number] * len(each)
    return np.stack(found), np.array(owners)


def _by_target(codes: np.ndarray, target: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Categories as numbers in the order of their mean target in the fitted rows."""
    codes = codes.astype(int)
    sums = np.bincount(codes[fitted], target[fitted], codes.max() + 1)
    counts = np.bincount(codes[fitted], minlength=len(sums))
    unknown = target[fitted].mean()
    return np.where(counts > 0, sums / np.maximum(counts, 1), unknown)[codes]

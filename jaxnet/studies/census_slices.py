"""The slices of a census: subsets of the pool on which networks that have not seen the examples are
wrong more often than elsewhere.
"""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Bool, Float

from jaxnet.core.objective import in_blocks
from jaxnet.data import Dataset
from jaxnet.data.schema import MISSING, OTHER, Column
from jaxnet.diagnostics.findings import Code, Finding, finding
from jaxnet.models.builtin import last_hidden
from jaxnet.stats.halves import mean_where
from jaxnet.stats.slices import Candidate, Slice, find_slices

if TYPE_CHECKING:
    from jaxnet.studies.census_result import Census

BINS, CLUSTERS, LEVEL = 4, 8, 0.05
LISTED = 20  # examples of a slice that a finding names


def slices_of(census: "Census") -> tuple[Slice, ...]:
    """Find the slices of a census.

    The examples that the first network was trained on choose, and the others confirm. So the
    clusters of its last layer are known for the second half from a network that saw no label of it.

    Args:
        census: the census.
    """
    train, first = census.splits.train, census.halves[0]
    losses = mean_where(census.wrong, ~census.halves)
    given = [
        *([] if train.schema.tokens else _of_columns(np.asarray(train.x), train.columns, first)),
        *_of_classes(train),
        *_of_clusters(census, first),
    ]
    if train.groups is None:
        return find_slices(losses, given, first, level=LEVEL)
    # rows of a group stand in one half, so groups themselves are chosen and confirmed by rows
    name = census.splits.grouped_by or "the group"
    own = [
        Candidate("group", f"{name} is number {code}", train.groups == code)
        for code in np.unique(train.groups)
    ]
    rows = np.random.default_rng(0).permutation(len(train)) % 2 == 0
    found = (
        *find_slices(losses, given, first, train.groups, LEVEL / 2),
        *find_slices(losses, own, rows, level=LEVEL / 2),
    )
    return tuple(sorted(found, key=lambda each: each.p))


def in_words(found: Slice, *, regression: bool) -> str:
    """Say where the error is higher.

    Args:
        found: the slice.
        regression: whether errors are squared errors in variances of y.
    """
    unit = " of the variance of y" * regression
    return (
        f"the error is {found.error:.2%}{unit} where {found.words} ({found.rows.sum():,} of "
        f"{len(found.rows):,} examples), and {found.elsewhere:.2%} elsewhere: a difference of "
        f"{100 * found.more.estimate:.2f} points (95% interval {100 * found.more.low:.2f} to "
        f"{100 * found.more.high:.2f}), on the half of the examples that did not choose the slice"
    )


def findings_on_slices(census: "Census", tolerance: float) -> tuple[Finding, ...]:
    """Build a finding of each slice, claimed where the difference is shown to exceed the tolerance.

    Args:
        census: the census.
        tolerance: the smallest difference that matters.
    """
    found = list[Finding]()
    for each in census.slices:
        rows = np.flatnonzero(each.rows[: census.training])
        hardest = rows[np.argsort(-census.difficulty[rows], kind="stable")][:LISTED]
        words = in_words(each, regression=census.regression)
        one = finding(Code.SLICE, each.more, bool(each.more.low > tolerance), words)
        found.append(
            Finding(one.code, one.size, one.claimed, words, one.remedies, tuple(map(int, hardest)))
        )
    return tuple(found)


def _of_columns(
    x: np.ndarray, columns: tuple[Column, ...] | None, first: Bool[np.ndarray, " pool"]
) -> Iterator[Candidate]:
    """Values of categories, gaps, and quarters of numbers."""
    if x.ndim != 2:
        return
    if columns is None:
        columns = tuple(Column(f"input {at}") for at in range(x.shape[1]))
    names = [(column, name) for column in columns for name in column.inputs]
    for values, (column, name) in zip(x.T, names, strict=True):
        special = name in (f"{column.name}=({word})" for word in (MISSING, OTHER))
        if special or (column.categories is not None):
            yield Candidate("column", name.replace("=", " is ", 1), values == 1)
            continue
        unit = f" {column.unit}" if column.unit else ""
        edges = np.unique(np.quantile(values[first], np.arange(1, BINS) / BINS))
        bins = np.searchsorted(edges, values, side="left")
        for at in range(len(edges) + 1):
            if at == 0:
                words = f"{name} is at most {edges[0]:.4g}{unit}"
            elif at == len(edges):
                words = f"{name} is above {edges[-1]:.4g}{unit}"
            else:
                words = f"{name} is above {edges[at - 1]:.4g} and at most {edges[at]:.4g}{unit}"
            yield Candidate("column", words, bins == at)


def _of_classes(train: Dataset) -> Iterator[Candidate]:
    for label, name in enumerate(train.classes or ()):
        yield Candidate("class", f"the label is {name}", np.asarray(train.y) == label)


def _of_clusters(census: "Census", first: Bool[np.ndarray, " pool"]) -> Iterator[Candidate]:
    """Clusters whose centers lie among the examples of the first half."""
    from scipy.cluster.vq import kmeans, vq

    points, of = _representation(census)
    points = (points - points[first].mean(0)) / max(1e-6, float(points[first].std()))
    different = np.unique(points[first], axis=0)
    if len(different) <= CLUSTERS:
        return
    start = np.random.default_rng(0).choice(different, CLUSTERS, replace=False)
    centers, _ = kmeans(points[first], start)
    nearest, distance = vq(points, centers)
    for cluster in range(len(centers)):
        rows = np.flatnonzero(nearest == cluster)
        typical = rows[np.argsort(distance[rows], kind="stable")][:3]
        words = f"{of} are in cluster {cluster}, around examples {', '.join(map(str, typical))}"
        yield Candidate("cluster", words, nearest == cluster)


def _representation(census: "Census") -> tuple[Float[np.ndarray, "pool features"], str]:
    """The last hidden layer of the first network, or its outputs."""
    sound = int(np.flatnonzero(~census.population.diverged[:-1])[0])
    run = census.population[sound]
    params, state = run.chosen
    cut = last_hidden(census.trainer.model, params)
    if cut is None:
        outputs = np.asarray(census.predictions[0], np.float64)
        outputs = outputs[:, None] if census.regression else np.exp(outputs)
        return outputs, "outputs of a network"
    (model, params), own = cut, run.standardization
    outputs = jax.jit(functools.partial(in_blocks, model, precision=run.recipe.precision))(
        params, state, own.on_device, own.held(census.splits.train.x)
    )
    return np.asarray(outputs, np.float64), "activations of the last layer"

"""What more data gain: the error with half of the training examples, and a forecast for twice as
many.
"""

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np

from jaxnet.data.resampling import Samples, first, together
from jaxnet.population.scheduler import Progress
from jaxnet.stats import curve_prior
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.extrapolation import predicted_together
from jaxnet.stats.gains import FOLDS, Gains
from jaxnet.studies.advice import MoreData
from jaxnet.studies.advice_round import Decided, groups_of
from jaxnet.studies.design import MIN_CURVE_EXAMPLES
from jaxnet.studies.networks import Networks

DATA = (1 << 20) + 3  # number of the key of the parts of the data
PARTS = (2, 4, 8, 16)  # a network is trained on the first half of a random order, on a quarter, ...


def measure_more_data(
    found: Decided, progress: Callable[[Progress], None] | None
) -> MoreData | None:
    """Train networks of the current recipe on parts of the examples that its fold networks have.

    Each leaves out a fold, has the random key of the network that is trained on all other folds,
    and takes as many steps. Half of the examples are measured on all folds; quarters and smaller
    parts, for the forecast, on 5 of them.

    Args:
        found: the first round of an advice.
        progress: as in `fit_population`.

    Returns:
        The gains; None for other measures than the error, where the recipe stops early, and where
        half of the examples are too few to train on.
    """
    networks = found.networks.only([])
    train, fold_of = networks.splits.train, networks.fold_of
    examples = len(train) - int(np.bincount(fold_of).max())
    if networks.measure.name != "error" or networks.target is not None:
        return None
    if networks.recipes[0].recipe.patience is not None or examples < 2 * MIN_CURVE_EXAMPLES:
        return None
    counted = train.counted and train.targets is None
    curve = counted and examples >= PARTS[-1] * MIN_CURVE_EXAMPLES
    folds, parts = np.arange(FOLDS), np.full(FOLDS, PARTS[0])
    if curve:
        some, smaller = np.arange(curve_prior.MIN_CURVE_MEMBERS), PARTS[1:]
        folds = np.r_[folds, np.tile(some, len(smaller))]
        parts = np.r_[parts, np.repeat(smaller, len(some))]
    samples = together(
        [
            _part(networks, fold, examples // part)
            for fold, part in zip(folds.tolist(), parts.tolist(), strict=True)
        ]
    )
    population = networks.on(folds, samples, "more-data", progress)
    losses = networks.losses(np.zeros(1, int), population)[0]
    whole = found.raced.losses[0, 0]
    pair = np.stack([losses[fold_of, np.arange(len(train))], whole])
    gain = Gains.of(pair[:, None], fold_of, groups_of(train), counted=counted).of_last(1)
    if not curve:
        return MoreData(examples, gain, None)
    judged = [fold_of == fold for fold in range(curve_prior.MIN_CURVE_MEMBERS)]
    errors = [
        [
            float(losses[np.flatnonzero((folds == fold) & (parts == part))[0], own].mean())
            for fold, own in enumerate(judged)
        ]
        for part in reversed(PARTS)
    ]
    errors.append([float(whole[own].mean()) for own in judged])
    sizes = [examples // part for part in (*reversed(PARTS), 1)]
    curves = curve_prior.measured(sizes, errors, int(np.sum(judged)))
    now, then = float(curves.error[0, -1]), predicted_together(curves, (2,))[0]
    return MoreData(
        examples, gain, Estimate(now - then.estimate, now - then.high, now - then.low, then.refused)
    )


def _part(networks: Networks, fold: int, count: int) -> Samples:
    """So many examples of all folds but one, in an order that is the same for all counts."""
    train, fold_of = networks.splits.train, networks.fold_of
    rows, out = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
    groups = None if train.groups is None else np.asarray(train.groups)[rows]
    key = jax.random.fold_in(jax.random.fold_in(networks.key, DATA), fold)
    drawn = first(key, [count], len(rows), groups=groups)
    assert drawn.orders is not None
    order = np.concatenate([rows[drawn.orders[0]], out]).astype(np.int32)
    return replace(drawn, orders=order[None])

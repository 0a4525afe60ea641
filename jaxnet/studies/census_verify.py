"""What dropping or correcting training examples gains, measured with networks trained for it."""

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxnet import arrays
from jaxnet.core.recipe import Recipe
from jaxnet.data import Splits, resampling
from jaxnet.data.dataset import error_unit
from jaxnet.engine import arguments
from jaxnet.engine.fingerprint import describe_pool
from jaxnet.errors import InputError, check_whole
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model, initial, input_shape, with_outputs
from jaxnet.population.fit import fit_population
from jaxnet.population.predictions import predictions_of
from jaxnet.runtime.plan import Plan
from jaxnet.stats.cross_fitting import group_codes
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.unseen_losses import UnseenLosses, recipe_difference
from jaxnet.typing import ArrayLike

if TYPE_CHECKING:
    from jaxnet.studies.census_result import Census

FOLDS = 8
VERIFY = (1 << 20) + 2  # number of the key
CHOSEN = "rows that were chosen by results on the judging examples look better than they are"


class Trainer(NamedTuple):
    """How the networks of a census are trained.

    Attributes:
        model: the network.
        recipe: its recipe.
        key: the random key of the census.
        loss: as in `fit_population`.
        plan: as in `fit_population`.
    """

    model: Model
    recipe: Recipe
    key: Key[Array, ""]
    loss: Loss | None
    plan: Plan | None


def has_state(model: Model, splits: Splits) -> bool:
    """Whether a model has model state, such as batch statistics, which examples of weight 0 change.

    Args:
        model: the model.
        splits: the data.
    """
    ready, shape = with_outputs(model, splits.train.outputs), input_shape(splits)
    state = jax.eval_shape(lambda key, x: initial(ready, key, x)[1], jax.random.key(0), shape)
    return bool(jax.tree.leaves(state))


def verified(census: "Census", rows: ArrayLike, labels: ArrayLike | None, pairs: int) -> Estimate:
    """Measure what a change of the training set gains, as `Census.verify` says.

    Raises:
        InputError: for invalid rows, labels or pairs.
    """
    chosen, new = checked_rows(rows, census.training), None
    check_pairs(pairs)
    if labels is not None:
        new = checked_labels(labels, len(chosen), census.splits.classes)
    return measured_gain(census.trainer, census.splits, chosen, new, pairs)


def measured_gain(
    trainer: Trainer,
    splits: Splits,
    rows: Int[np.ndarray, " rows"],
    labels: Int[np.ndarray, " rows"] | None,
    pairs: int,
) -> Estimate:
    """Train networks with and without some rows, or with other labels there, and compare them.

    Args:
        trainer: how they are trained.
        splits: the data, with the pool as their training set.
        rows: rows of the pool.
        labels: their other labels; None drops the rows.
        pairs: number of pairs of networks, a multiple of 8.

    Returns:
        The error of the networks with the rows as they are minus that of the others, on examples
        that neither has seen and that are not among the rows.
    """
    train = splits.train
    n, seeds = len(train), pairs // FOLDS
    fold_of = resampling.fold_of(train, FOLDS)
    left_out = np.repeat(np.arange(FOLDS), seeds)
    kept = np.ones(n, bool)
    kept[rows] = False
    masks = fold_of != left_out[:, None]
    changed = masks & kept if labels is None else masks
    samples, order = resampling.given(np.concatenate([masks, changed])), None
    if not has_state(trainer.model, splits):
        samples, order = samples.as_weights(), jax.random.fold_in(trainer.key, VERIFY)
    key = jax.random.fold_in(trainer.key, jnp.uint32(VERIFY))
    keys = jax.random.split(key, pairs)
    own = None
    if labels is not None:
        y = np.array(train.y)
        own = [y.copy()] * pairs
        y[rows] = labels
        own += [y] * pairs
    without_test = arguments.without_test(splits)
    population = fit_population(
        trainer.model,
        without_test,
        trainer.recipe,
        jnp.concatenate([keys, keys]),
        order_key=order,
        resample=samples,
        loss=trainer.loss,
        plan=trainer.plan,
        labels=own,
    )
    outputs = predictions_of([trainer.model], without_test, population, trainer.plan).unseen
    assert outputs is not None
    y = np.asarray(train.y)
    losses = np.empty((2 * pairs, n))
    for member, each in enumerate(outputs):
        losses[member] = (
            arrays.wrong(np.asarray(each, np.float32), y)
            if splits.classes is not None
            else (np.asarray(each, np.float64) - y) ** 2 / error_unit(train)
        )
    one, other = (_unseen(part, fold_of, kept, splits) for part in np.split(losses, 2))
    return replace(recipe_difference(one, other), caution=CHOSEN)


def checked_rows(rows: ArrayLike, training: int) -> Int[np.ndarray, " rows"]:
    """Check rows of the training set.

    Args:
        rows: their numbers.
        training: the number of training examples.

    Raises:
        InputError: for anything else, for rows that occur twice, and for all rows.
    """
    found = np.asarray(rows)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found):
        raise InputError(
            f"rows have shape {found.shape} and type {found.dtype}; give the numbers of some rows "
            "of the training set, such as census.mislabeled"
        )
    if found.min() < 0 or found.max() >= training:
        bad = int(found.min() if found.min() < 0 else found.max())
        raise InputError(f"rows hold {bad}; give numbers from 0 to {training - 1}")
    if len(np.unique(found)) < len(found):
        twice = np.bincount(found).argmax()
        raise InputError(f"rows hold {twice} more than once; give each row once")
    if len(found) == training:
        raise InputError(f"rows hold all {training} training examples; leave some of them out")
    return found.astype(np.int64)


def checked_labels(
    labels: ArrayLike, rows: int, classes: tuple[str, ...] | None
) -> Int[np.ndarray, " rows"]:
    """Check the labels that some rows are to be given.

    Args:
        labels: class numbers.
        rows: the number of rows.
        classes: names of the classes.

    Raises:
        InputError: for anything else, and for a regression.
    """
    return arrays.labels("labels", labels, rows, len(check_classes(classes)))


def check_classes(classes: tuple[str, ...] | None) -> tuple[str, ...]:
    """Refuse a regression; for classes, return their names."""
    if classes is None:
        raise InputError(
            "values of a regression are neither right nor wrong, so this is of classes alone; "
            "take the census of a data set of classes"
        )
    return classes


def check_pairs(pairs: int) -> None:
    """Refuse numbers of pairs that folds cannot share.

    Args:
        pairs: number of pairs.
    """
    check_whole("pairs", pairs, most=1 << 20)
    if pairs % FOLDS or pairs < 2 * FOLDS:
        raise InputError(
            f"pairs is {pairs}; give a multiple of {FOLDS} of at least {2 * FOLDS}, since "
            f"{FOLDS} folds share them"
        )


def _unseen(
    losses: Float[np.ndarray, "networks pool"],
    fold_of: Int[np.ndarray, " pool"],
    kept: Bool[np.ndarray, " pool"],
    splits: Splits,
) -> UnseenLosses:
    """The losses of the networks that left out the fold of an example, of those that are kept."""
    seeds, groups = len(losses) // FOLDS, splits.train.groups
    found = np.empty((seeds, len(fold_of)))
    for fold in range(FOLDS):
        found[:, fold_of == fold] = losses[fold * seeds : (fold + 1) * seeds, fold_of == fold]
    return UnseenLosses(
        found[:, kept],
        fold_of[kept],
        None if groups is None else group_codes(groups[kept], int(kept.sum())),
        splits.classes is not None,
        describe_pool(splits.train),
    )

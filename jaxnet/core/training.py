"""Training is a fold: one state, and one pure function `epoch: state -> (state, metrics)`.

    state = start(problem, key)                        parameters, optimizer state, keys, best
    state, metrics = epoch(problem, state, run_steps)  shuffle -> run_steps -> validate
    state, history = fit(problem, key, run_steps)      lax.scan over epoch: jit it, vmap it

`run_steps` takes one optimizer step per batch. It is an argument: the one below is plain JAX; those
of engine/parallel.py divide each batch, and the one of kernels/resident_steps.py keeps the
parameters on the chip. Who computes is chosen once, by the caller.

Nothing here knows of files, devices or populations, looks at the test set, raises for what happens
in training, or draws from a key that was not given. What is None is absent from the compiled
program.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Num, PyTree

from jaxnet import display
from jaxnet.core.objective import correct, forward, in_blocks, losses_of, make_targets, smooth
from jaxnet.core.optimizers import kernels, transformation
from jaxnet.core.recipe import Recipe
from jaxnet.data import Dataset, Splits
from jaxnet.data import augmentation as augmentations
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model, at_most_32_bits, initial
from jaxnet.random import INIT, NOISE, ORDER, counted, hashed
from jaxnet.typing import Rebuilt, double

NO_EXAMPLES = Dataset(np.zeros((0, 1), np.float32), np.zeros(0, np.float32))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """What is minimized, on which examples: all that a training is given but its keys.

    model: with its number of outputs fixed.
    splits: training and validation set, as a device holds them.
    recipe: every hyperparameter.
    loss: one number per example; by default cross-entropy of classes, and the squared error of
        values.
    weights: (examples,) factors of the training examples' losses.
    sample: (row numbers, padded to (examples,), and how many of them count): train on these only.
    streamed: how many examples an epoch has, where `splits.train` is only a chunk of them.
    """

    model: Model = field(metadata={"static": True})
    splits: Splits | Rebuilt
    recipe: Recipe | Rebuilt
    loss: Loss | None = field(default=None, metadata={"static": True})
    weights: Float[Array | np.ndarray, " examples"] | Rebuilt | None = None
    sample: tuple[Array | np.ndarray, Array | np.ndarray | np.integer | int] | Rebuilt | None = None
    streamed: int | None = field(default=None, metadata={"static": True})

    @property
    def examples(self) -> int:
        """How many training examples an epoch has."""
        return len(self.splits.train) if self.streamed is None else self.streamed

    @property
    def batch_size(self) -> int:
        """Examples of a batch: never more than there are."""
        return min(self.recipe.batch_size, self.examples)

    @property
    def steps(self) -> int:
        """Optimizer steps of an epoch."""
        return -(-self.examples // self.batch_size)


class Best(NamedTuple):
    """The parameters with the lowest validation loss so far, and the number of epochs after which
    they stood.
    """

    params: PyTree
    model_state: PyTree
    loss: Float[Array, "..."]
    epoch: Int[Array, "..."]

    __repr__ = display.text


class TrainState(NamedTuple):
    """All that one epoch hands to the next, and so what a checkpoint holds; of a population, with a
    leading member axis.

    key: of the noise. order_key: of the order of examples, and of augmentation. epoch: how many are
        done.
    diverged_at: the first step whose loss was not finite, or -1: failure is data.
    """

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    key: Key[Array, ""] | None
    order_key: Key[Array, ""] | None
    best: Best | None
    epoch: Int[Array, "..."]
    diverged_at: Int[Array, "..."]

    __repr__ = display.text


class EpochMetrics(NamedTuple):
    """What happened in one epoch; in a history, in each of them. None where it does not apply.

    Training loss and accuracy are means over the epoch, in training mode, while the parameters
    change.
    """

    train_loss: Float[Array, "..."]
    train_accuracy: Float[Array, "..."] | None = None
    validation_loss: Float[Array, "..."] | None = None
    validation_accuracy: Float[Array, "..."] | None = None

    __repr__ = display.text


class Batch(NamedTuple):
    """The examples of one step; with a leading axis, of many.

    step: its number in the run. rows: of the training set, in order of the batch.
    offset: the place of the first of these rows in the whole batch, where they are only a part of
        it.
    size: how many examples of the whole batch count; None says all. mask: which of these rows do;
    None says the first ones. Rows that do not count fill a batch that would be short. They have
    weight 0, and batch statistics see them.
    """

    step: Int[Array, "..."]
    rows: Int[Array, "... batch"]
    offset: Int[Array, "..."] | None = None
    size: Int[Array, "..."] | None = None
    mask: Bool[Array, "... batch"] | None = None


RunSteps = Callable[[Problem, TrainState, Batch], tuple[TrainState, Array]]  # as `run_steps`
Gradient = Callable[
    [Problem, Array | np.ndarray, TrainState, Batch], tuple[PyTree, Array, PyTree]
]  # as `mean_gradient`


def start(
    problem: Problem,
    key: Key[Array, ""],
    *,
    order_key: Key[Array, ""] | None = None,
    params: PyTree | None = None,
) -> TrainState:
    """The state before the first epoch.

    key: makes initialization and noise. order_key: makes the order of examples; by default the
        same. params: where to start from.
    """
    x = jnp.zeros((1, *problem.splits.train.x.shape[1:]), jnp.float32)
    fresh, model_state = initial(problem.model, counted(key, INIT), x)
    params = fresh if params is None else at_most_32_bits(jax.tree.map(jnp.asarray, params))
    best = None
    if len(problem.splits.validation):
        # Copies: a host loop donates the state, and no buffer can be given away twice.
        copied, copied_state = jax.tree.map(jnp.copy, (params, model_state))
        best = Best(copied, copied_state, jnp.float32(jnp.inf), jnp.int32(0))
    with double(False):
        opt_state = transformation(problem.recipe, 1).init(
            params
        )  # does not depend on the number of steps
    return TrainState(
        params, model_state, opt_state, *streams(key, order_key), best, jnp.int32(0), jnp.int32(-1)
    )


def streams(
    key: Key[Array, ""], order_key: Key[Array, ""] | None
) -> tuple[Key[Array, ""], Key[Array, ""]]:
    """(TrainState.key, TrainState.order_key) of a training with these keys."""
    return counted(key, NOISE), counted(key if order_key is None else order_key, ORDER)


def fit(
    problem: Problem,
    key: Key[Array, ""],
    run_steps: RunSteps,
    *,
    order_key: Key[Array, ""] | None = None,
    params: PyTree | None = None,
) -> tuple[TrainState, EpochMetrics]:
    """All epochs of a training: (the last state, the history). The other arguments are those of
    `start`.
    """

    def one(state: TrainState, _: None) -> tuple[TrainState, EpochMetrics]:
        return epoch(problem, state, run_steps)

    state = start(problem, key, order_key=order_key, params=params)
    return jax.lax.scan(one, state, length=problem.recipe.epochs)


def epoch(
    problem: Problem, state: TrainState, run_steps: RunSteps
) -> tuple[TrainState, EpochMetrics]:
    """One pass over the training set in a fresh order, then a look at the validation set: (state,
    what happened).

    A state that has ended, by divergence or early stopping, stays as it is, and its metrics are
    NaN.
    """
    batches = shuffle(problem, state)
    trained, sums = run_steps(problem, state, batches)
    trained, metrics = validate(
        problem, trained, training_metrics(problem, sums / problem.examples)
    )
    unchanged = (state, jax.tree.map(jnp.asarray, blank_metrics(problem.splits)))
    halted = ended(
        problem.recipe,
        state.diverged_at,
        state.epoch,
        0 if state.best is None else state.best.epoch,
    )
    # A choice between two results, and not of what to compute: that would give each member of a
    # vmap its own training set.
    return jax.lax.cond(
        halted, lambda old, new: old, lambda old, new: new, unchanged, (trained, metrics)
    )


def ended(recipe: Recipe, diverged_at: Any, epoch: Any, best_epoch: Any) -> Any:
    """Whether a training has diverged, or its validation loss has not fallen for `patience`
    epochs.
    """
    diverged = diverged_at >= 0
    return (
        diverged if recipe.patience is None else diverged | (epoch - best_epoch >= recipe.patience)
    )


def shuffle(problem: Problem, state: TrainState) -> Batch:
    """The batches of an epoch, with each example once; a last one that would be short is filled
    with the first rows.
    """
    assert state.order_key is not None
    examples, batch, steps = problem.examples, problem.batch_size, problem.steps
    rows = permutation(counted(state.order_key, state.epoch), examples, problem.sample)
    rows = jnp.concatenate([rows, rows[: steps * batch - examples]]).reshape(steps, batch)
    step = jnp.arange(steps, dtype=jnp.int32)
    size = None if steps * batch == examples else jnp.minimum(examples - step * batch, batch)
    return Batch(state.epoch * steps + step, rows, size=size)


def permutation(
    key: Key[Array, ""], examples: int, sample: tuple[Any, Any] | None = None
) -> Int[Array, " examples"]:
    """Row numbers 0 to examples - 1 in random order.

    sample: (indices, count), as in `Problem`. It is passed through examples / count times, each
    time in a fresh order, so that every sample takes equally many steps.
    """
    # Rounds of a sample: enough places for the last one to be whole, so that what is cut off is a
    # random part of it.
    places = jnp.arange(examples if sample is None else 2 * examples, dtype=jnp.int32)
    bits = jax.random.bits(key, places.shape, jnp.uint32)
    # The places break ties between equal bits; without them the compiler would, and not always in
    # the same way.
    if sample is None:
        return jax.lax.sort((bits, places), num_keys=2, is_stable=False)[1]
    indices, count = (jnp.asarray(each, jnp.int32) for each in sample)
    return indices[
        jax.lax.sort((places // count, bits, places), num_keys=3, is_stable=False)[2][:examples]
        % count
    ]


def run_steps(
    problem: Problem, state: TrainState, batches: Batch, gradient: Gradient | None = None
) -> tuple[TrainState, Array]:
    """One optimizer step per batch: (state, the sums of the loss and, with classes, of correct
    predictions, as they were seen).

    gradient: by default `mean_gradient`.
    """
    gradient = gradient or mean_gradient
    optimizer = transformation(problem.recipe, problem.recipe.epochs * problem.steps)
    # In rows, outside of the loop: inside, a TPU would transpose the whole training set at every
    # step.
    x = problem.splits.train.x.reshape(len(problem.splits.train), -1)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Array]:
        grads, sums, model_state = gradient(problem, x, state, batch)
        with double(False):
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        failed = (state.diverged_at < 0) & ~jnp.isfinite(sums[0])
        new = state._replace(
            params=jax.tree.map(jnp.add, state.params, updates),
            model_state=model_state,
            opt_state=opt_state,
            diverged_at=jnp.where(failed, batch.step, state.diverged_at),
        )
        return new, sums[1:]

    state, sums = jax.lax.scan(step, state, batches)
    return state, sums.sum(0)


def mean_gradient(
    problem: Problem,
    x: Num[Array | np.ndarray, "examples features"],
    state: TrainState,
    batch: Batch,
) -> tuple[PyTree, Float[Array, " sums"], PyTree]:
    """Gradient of a batch's mean loss, or the share in it of a part of the batch.

    x: the training inputs, one row per example.
    Returns (gradient, [mean loss, summed loss, correct predictions of classes], model state).
    """
    splits, recipe, count, whole = (
        problem.splits,
        problem.recipe,
        len(batch.rows),
        problem.batch_size,
    )
    offset = 0 if batch.offset is None else batch.offset
    slots = offset + jnp.arange(count, dtype=jnp.int32)
    mask = (
        None
        if batch.size is None
        else (slots < batch.size if batch.mask is None else batch.mask).astype(jnp.float32)
    )
    weight = _product(
        mask,
        None if problem.weights is None else jnp.asarray(problem.weights, jnp.float32)[batch.rows],
    )
    inputs, y = (
        splits.standardization.inputs(x[batch.rows].reshape(count, *splits.train.x.shape[1:])),
        splits.train.y[batch.rows],
    )
    targets = smooth(recipe, make_targets(splits, y))
    assert state.key is not None
    assert state.order_key is not None
    if recipe.augmentation is not None:
        of_step = augmentations.key_of_step(recipe.augmentation, state.order_key, batch.step, whole)
        keys = jax.vmap(lambda slot: counted(of_step, slot))(slots)
        inputs, targets = augmentations.augment(recipe.augmentation, keys, inputs, targets, weight)
    key = counted(
        hashed(state.key, batch.step), offset
    )  # masks of examples, however the batch is divided

    def objective(params: PyTree) -> tuple[Array, tuple[Array, Array, PyTree]]:
        outputs, model_state = forward(
            problem.model,
            params,
            state.model_state,
            inputs,
            precision=recipe.precision,
            key=key,
            dropout=recipe.dropout,
        )
        losses = losses_of(splits, problem.loss, outputs, targets)
        total = losses.sum() if weight is None else (losses * weight).sum()
        mean = total / (whole if batch.size is None else batch.size)
        if recipe.l1 is not None:
            sizes = jax.tree.map(
                lambda leaf, is_kernel: jnp.abs(leaf).sum() * is_kernel, params, kernels(params)
            )
            mean = mean + recipe.l1 / (whole // count) * jax.tree.reduce(jnp.add, sizes)
        return mean, (total, outputs, model_state)

    (mean, (total, outputs, model_state)), gradient = jax.value_and_grad(objective, has_aux=True)(
        state.params
    )
    sums = (
        [mean, total]
        if splits.classes is None
        else [mean, total, _count(correct(outputs, y), mask)]
    )
    return gradient, jnp.stack(sums), model_state


def validate(
    problem: Problem, state: TrainState, metrics: EpochMetrics
) -> tuple[TrainState, EpochMetrics]:
    """The state after an epoch, with the best so far by validation loss; the metrics gain what the
    validation set said.
    """
    state, splits = state._replace(epoch=state.epoch + 1), problem.splits
    if state.best is None:
        return state, metrics
    x, precision = splits.validation.x, problem.recipe.precision
    outputs = in_blocks(
        problem.model,
        state.params,
        state.model_state,
        splits.standardization,
        x,
        precision=precision,
    )
    targets = make_targets(splits, splits.validation.y)
    loss = losses_of(splits, problem.loss, outputs, targets).mean()
    accuracy = (
        None
        if splits.classes is None
        else _count(correct(outputs, splits.validation.y), None) / len(splits.validation)
    )
    better = loss < state.best.loss
    new = Best(state.params, state.model_state, loss, state.epoch)
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), new, state.best)
    return state._replace(best=best), metrics._replace(
        validation_loss=loss, validation_accuracy=accuracy
    )


def training_metrics(problem: Problem, means: Float[Array, " sums"]) -> EpochMetrics:
    """What an epoch's steps said of the training set. means: over its examples, of what `run_steps`
    sums.
    """
    return EpochMetrics(
        train_loss=means[0], train_accuracy=None if problem.splits.classes is None else means[1]
    )


def blank_metrics(splits: Splits, *shape: int) -> EpochMetrics:
    """NaN for what has not happened: of one epoch, or arrays of this shape."""
    classes, validation = splits.classes is not None, len(splits.validation) > 0
    given = (True, classes, validation, classes and validation)
    return EpochMetrics(*(np.full(shape, np.nan, np.float32) if there else None for there in given))  # pyrefly: ignore[bad-argument-type]


def _count(right: Bool[Array, " batch"], mask: Float[Array, " batch"] | None) -> Float[Array, ""]:
    return jnp.sum(right if mask is None else right * mask, dtype=jnp.float32)


def _product(a: Array | None, b: Array | None) -> Array | None:
    return b if a is None else a if b is None else a * b

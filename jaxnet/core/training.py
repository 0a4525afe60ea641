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

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Num, PyTree

from jaxnet import display
from jaxnet.core.objective import correct, forward, in_blocks, losses_of, make_targets, smooth
from jaxnet.core.optimizers import transformation, weight_matrix_mask
from jaxnet.core.recipe import Recipe
from jaxnet.core.signals import (
    Layers,
    Signals,
    blank_signals,
    layers_of,
    measure,
    taken,
    training_pass,
)
from jaxnet.data import Dataset, Splits
from jaxnet.data import augmentation as augmentations
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model, at_most_32_bits, initial, input_shape, with_outputs
from jaxnet.random import DROPOUT, INIT, ORDER, counted, hashed
from jaxnet.typing import Rebuilt, RowsAndCount, double

NO_EXAMPLES = Dataset(np.zeros((0, 1), np.float32), np.zeros(0, np.float32))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Problem:
    """What is minimized, and on which examples: everything a training is given except its keys.

    Attributes:
        model: the network, with its number of outputs fixed.
        splits: the training and validation set, as arrays on the device.
        recipe: every hyperparameter.
        loss: a function that returns one number per example; by default the cross-entropy for
            classes, the binary cross-entropy for yes/no labels and the squared error for values.
        weights: (examples,) factors of the losses of the training examples. The sum of the losses
            is divided by the number of examples, not by the sum of the weights.
        sample: (row numbers, padded to (examples,), and how many of them count); the network is
            trained on these rows only.
        streamed: the number of examples in an epoch, where `splits.train` is one chunk of them.
        left_out: how many training examples that are not in the sample are evaluated after each
            epoch, in place of a validation set: those that come first after its rows.
        signals: at how many steps of each epoch signals are taken; None takes none.
        labels: (examples,) classes of the training examples to learn, in place of those in
            `splits`.
        model_state: parts of the model state by name, in place of those that the model makes.
    """

    model: Model = field(metadata={"static": True})
    splits: Splits | Rebuilt
    recipe: Recipe | Rebuilt
    loss: Loss | None = field(default=None, metadata={"static": True})
    weights: Float[Array | np.ndarray, " examples"] | Rebuilt | None = None
    sample: RowsAndCount | Rebuilt | None = None
    streamed: int | None = field(default=None, metadata={"static": True})
    left_out: int = field(default=0, metadata={"static": True})
    signals: int | None = field(default=None, metadata={"static": True})
    labels: Int[Array | np.ndarray, " examples"] | Rebuilt | None = None
    model_state: dict[str, Any] | None = None

    @property
    def examples(self) -> int:
        """The number of training examples in an epoch."""
        return len(self.splits.train) if self.streamed is None else self.streamed

    @property
    def batch_size(self) -> int:
        """The number of examples in a batch, at most all of them."""
        return min(self.recipe.batch_size, self.examples)

    @property
    def steps(self) -> int:
        """The number of optimizer steps in an epoch."""
        return -(-self.examples // self.batch_size)

    @property
    def layers(self) -> Layers:
        """The layers of the network, for its signals."""
        return self.layers_with("threefry2x32")

    def layers_with(self, key_type: str) -> Layers:
        """The layers, as a training with this implementation of random keys computes them."""
        model, recipe = with_outputs(self.model, self.splits.train.outputs), self.recipe
        one = input_shape(self.splits)
        return layers_of(model, one, recipe.precision, recipe.dropout is not None, key_type)


class Best(NamedTuple):
    """The parameters with the lowest validation loss so far.

    Attributes:
        params, model_state: as in `TrainState`.
        loss: their validation loss.
        epoch: the number of epochs after which they were reached.
    """

    params: PyTree
    model_state: PyTree
    loss: Float[Array, "..."]
    epoch: Int[Array, "..."]

    __repr__ = display.text


class TrainState(NamedTuple):
    """Everything that one epoch passes to the next, which is also what a checkpoint stores.

    In a population, every leaf has a leading member axis.

    Attributes:
        params: what the optimizer changes.
        model_state: what training changes without a gradient, such as batch statistics.
        opt_state: the state of the optax optimizer.
        key: the random key of dropout.
        order_key: the random key of the order of examples and of augmentation.
        best: the best parameters so far, or None without a validation set.
        epoch: the number of epochs done.
        diverged_at: the first step whose loss was not finite, or -1. Failure is data here: it
            passes through jit and vmap. The epoch is finished, and the state then stays as it is.
        signals: room for the signals of an epoch while it runs; None between epochs.
    """

    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    key: Key[Array, ""] | None
    order_key: Key[Array, ""] | None
    best: Best | None
    epoch: Int[Array, "..."]
    diverged_at: Int[Array, "..."]
    signals: Signals | None = None

    __repr__ = display.text


class EpochMetrics(NamedTuple):
    """What was measured in one epoch or, as arrays, in every epoch of a history.

    A field is None where it does not apply.

    Attributes:
        train_loss: the sum over the epoch of the weighted losses, in training mode and at the
            parameters before each step, divided by the number of examples. Targets are those of
            training (smoothed, mixed), and L1 is left out.
        train_accuracy: the share of examples whose own label was predicted; those of weight 0 are
            left out, and other weights make no difference.
        validation_loss, validation_accuracy: means over the validation set after the epoch.
        signals: what was measured inside the epoch, where signals were asked for.
    """

    train_loss: Float[Array, "..."]
    train_accuracy: Float[Array, "..."] | None = None
    validation_loss: Float[Array, "..."] | None = None
    validation_accuracy: Float[Array, "..."] | None = None
    signals: Signals | None = None

    __repr__ = display.text


class Batch(NamedTuple):
    """The examples of one step or, with a leading axis, of several steps.

    The last batch of an epoch may be too short. It is filled with other training rows, which do
    not count: they have weight 0, though batch statistics include them.

    Attributes:
        step: the number of the step in the run.
        rows: (batch,) row numbers in the training set.
        offset: the position of the first row in the whole batch, where these rows are a part of it;
            None means 0.
        size: how many examples of the whole batch count; None means all.
        mask: (batch,) which of these rows count; None means the first `size` of the whole batch.
    """

    step: Int[Array, "..."]
    rows: Int[Array, "... batch"]
    offset: Int[Array, "..."] | None = None
    size: Int[Array, "..."] | None = None
    mask: Bool[Array, "... batch"] | None = None


RunSteps = Callable[[Problem, TrainState, Batch], tuple[TrainState, Array]]  # as `run_steps`
# As `mean_gradient`.
Gradient = Callable[
    [Problem, Array | np.ndarray, TrainState, Batch], tuple[PyTree, Array, Array, PyTree]
]


def start(
    problem: Problem,
    key: Key[Array, ""],
    *,
    order_key: Key[Array, ""] | None = None,
    params: PyTree | None = None,
) -> TrainState:
    """Returns the state before the first epoch.

    Args:
        problem: what is trained.
        key: the random key of initialization and dropout.
        order_key: the random key of the order of examples and of augmentation; by default `key`.
        params: initial parameters, in place of random ones.
    """
    shape = input_shape(problem.splits)
    x = jnp.zeros(shape.shape, shape.dtype)
    fresh, model_state = initial(problem.model, counted(key, INIT), x)
    if problem.model_state is not None:
        model_state = {**model_state, **jax.tree.map(jnp.asarray, problem.model_state)}
    params = fresh if params is None else at_most_32_bits(jax.tree.map(jnp.asarray, params))
    best, stops = None, problem.left_out and problem.recipe.patience is not None
    if len(problem.splits.validation) or stops:
        # Copies: a host loop donates the state, and no buffer can be given away twice.
        copied, copied_state = jax.tree.map(jnp.copy, (params, model_state))
        best = Best(copied, copied_state, jnp.float32(jnp.inf), jnp.int32(0))
    with double(False):  # the state does not depend on the number of steps
        opt_state = transformation(problem.recipe, 1).init(params)
    begin = *state_keys(key, order_key), best, jnp.int32(0), jnp.int32(-1)
    return TrainState(params, model_state, opt_state, *begin)


def state_keys(
    key: Key[Array, ""], order_key: Key[Array, ""] | None
) -> tuple[Key[Array, ""], Key[Array, ""]]:
    """Returns the two keys of a `TrainState`, (key, order_key), from those given to `start`."""
    return counted(key, DROPOUT), counted(key if order_key is None else order_key, ORDER)


def fit(
    problem: Problem,
    key: Key[Array, ""],
    run_steps: RunSteps,
    *,
    order_key: Key[Array, ""] | None = None,
    params: PyTree | None = None,
) -> tuple[TrainState, EpochMetrics]:
    """Runs all epochs of a training.

    Args:
        problem: what is trained.
        key: the random key of initialization and dropout.
        run_steps: the function that takes the optimizer steps.
        order_key: as in `start`.
        params: as in `start`.

    Returns:
        The last state, and the history: metrics with a leading axis of epochs.
    """

    def one(state: TrainState, _: None) -> tuple[TrainState, EpochMetrics]:
        return epoch(problem, state, run_steps)

    state = start(problem, key, order_key=order_key, params=params)
    return jax.lax.scan(one, state, length=problem.recipe.epochs)


def epoch(
    problem: Problem, state: TrainState, run_steps: RunSteps
) -> tuple[TrainState, EpochMetrics]:
    """Trains on every example once, in a new random order, and then evaluates the validation set.

    With a `sample`, only its rows are used, repeated to as many as there are examples. A step whose
    loss is not finite ends the training after this epoch, whose remaining steps are still taken.

    Args:
        problem: what is trained.
        state: the state after the previous epoch.
        run_steps: the function that takes the optimizer steps, such as `run_steps` below.

    Returns:
        The new state and the metrics of the epoch. A state that has diverged or stopped early is
        returned unchanged, with metrics of NaN.
    """
    batches = shuffle(problem, state)
    trained, sums = run_steps(problem, state._replace(signals=_no_signals(problem)), batches)
    metrics = training_metrics(problem, sums / _numbers_counted(problem, batches))
    metrics = metrics._replace(signals=trained.signals)
    trained, metrics = validate(problem, trained._replace(signals=None), metrics)
    unchanged = (state, jax.tree.map(jnp.asarray, blank_metrics(problem)))
    best_epoch = 0 if state.best is None else state.best.epoch
    halted = ended(problem.recipe, state.diverged_at, state.epoch, best_epoch)
    # A choice between two results, and not of what to compute: that would give each member of a
    # vmap its own training set.
    return jax.lax.cond(
        halted, lambda old, new: old, lambda old, new: new, unchanged, (trained, metrics)
    )


def _numbers_counted(problem: Problem, batches: Batch) -> int | Float[Array, " sums"]:
    """How many examples of an epoch each of the sums that `run_steps` returns counts."""
    if problem.weights is None or not problem.splits.counted:
        return problem.examples
    rows = batches.rows.reshape(-1)[: problem.examples]
    weights = jnp.asarray(problem.weights, jnp.float32)[rows]
    counted = jnp.sum(weights > 0, dtype=jnp.float32)
    return jnp.stack([jnp.float32(problem.examples), counted])


def ended(recipe: Recipe, diverged_at: Any, epoch: Any, best_epoch: Any) -> Any:
    """Whether a training has diverged, or its validation loss has not fallen for `patience`
    epochs.
    """
    diverged, patience = diverged_at >= 0, recipe.patience
    return diverged if patience is None else diverged | (epoch - best_epoch >= patience)


def shuffle(problem: Problem, state: TrainState) -> Batch:
    """Returns the batches of the next epoch, in which every example occurs once.

    A last batch that would be too short is filled with the first rows of the epoch.
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
    """Returns the row numbers 0 to examples - 1 in random order.

    Args:
        key: the random key of this order.
        examples: the number of row numbers to return.
        sample: (indices, count), as in `Problem`. The sample is repeated examples / count times,
            each time in a new order, so that samples of any size take the same number of steps.
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
    order = jax.lax.sort((places // count, bits, places), num_keys=3, is_stable=False)[2]
    return indices[order[:examples] % count]


def run_steps(
    problem: Problem, state: TrainState, batches: Batch, gradient: Gradient | None = None
) -> tuple[TrainState, Array]:
    """Takes one optimizer step per batch.

    Args:
        problem: what is trained.
        state: the state before the first step.
        batches: the batches, with a leading axis of steps.
        gradient: computes the gradient of a batch; by default `mean_gradient`.

    Returns:
        The new state, and the sums over all examples of the loss and, for classes, of correct
        predictions, each at the parameters before its step. Where the state has room for signals,
        they are filled in.
    """
    gradient = gradient or mean_gradient
    optimizer = transformation(problem.recipe, problem.recipe.epochs * problem.steps)
    # In rows, outside of the loop: inside, a TPU would transpose the whole training set at every
    # step.
    x = problem.splits.train.x.reshape(len(problem.splits.train), -1)

    def step(state: TrainState, batch_and_slot: Any) -> tuple[TrainState, Array]:
        batch, slot = batch_and_slot
        grads, loss, sums, model_state = gradient(problem, x, state, batch)
        with double(False):
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        failed = (state.diverged_at < 0) & ~jnp.isfinite(loss)
        new = state._replace(
            params=jax.tree.map(jnp.add, state.params, updates),
            model_state=model_state,
            opt_state=opt_state,
            diverged_at=jnp.where(failed, batch.step, state.diverged_at),
        )
        if slot is not None:
            # From the parameters before and after the step alone, with a gradient of its own: if
            # the step's own had a second reader, XLA would compute it in other loops, and with
            # other rounding.
            def put(room: Any) -> Any:
                grads, loss, *_ = gradient(problem, x, state, batch)
                one = _signals(problem, x, state, batch, loss, grads, new.params)
                return jax.tree.map(lambda room, value: room.at[slot].set(value), room, one)

            room = jax.lax.cond(slot >= 0, put, lambda room: room, state.signals)
            new = new._replace(signals=room)
        return new, sums

    slots = None if state.signals is None else _slots(problem)
    state, sums = jax.lax.scan(step, state, (batches, slots))
    return state, sums.sum(0)


def _no_signals(problem: Problem, *shape: int) -> Signals | None:
    """Room for the signals of an epoch; None where none are taken."""
    if problem.signals is None:
        return None
    return blank_signals(min(problem.signals, problem.steps), len(problem.layers.names), *shape)


def _slots(problem: Problem) -> Int[Array, " steps"]:
    """For each step of an epoch its place among those with signals; -1 for the others.

    It is of the place in the epoch, which members of a population share, and not of the number of
    the step, which may be each member's own: so that `cond` computes signals at these steps only.
    """
    assert problem.signals is not None
    slots = np.full(problem.steps, -1, np.int32)
    at = taken(problem.signals, problem.steps)
    slots[at] = np.arange(len(at))
    return jnp.asarray(slots)


def _signals(
    problem: Problem,
    x: Num[Array | np.ndarray, "examples features"],
    state: TrainState,
    batch: Batch,
    loss: Float[Array, ""],
    gradient: PyTree,
    after: PyTree,
) -> Signals:
    """The signals of a step that began at this state."""
    given, recipe = _examples(problem, x, state, batch), problem.recipe
    function = functools.partial(training_pass, problem.model, recipe.precision)
    args = state.params, state.model_state, given.inputs, given.key, recipe.dropout
    forward_pass = function, args
    layers = problem.layers_with(str(jax.random.key_impl(given.key)))
    return measure(layers, batch.step, loss, gradient, state.params, after, forward_pass)


def mean_gradient(
    problem: Problem,
    x: Num[Array | np.ndarray, "examples features"],
    state: TrainState,
    batch: Batch,
) -> tuple[PyTree, Float[Array, ""], Float[Array, " sums"], PyTree]:
    """Computes the gradient of the mean loss of a batch, or what a part of the batch adds to it.

    Args:
        problem: what is trained.
        x: the training inputs, one row per example.
        state: the state before the step.
        batch: the batch, or a part of it.

    Returns:
        The gradient; the mean loss that it is of, with L1; the sums over the examples of the loss
        without L1 and, for classes, of correct predictions; and the new model state.
    """
    splits, recipe = problem.splits, problem.recipe
    count, whole = len(batch.rows), problem.batch_size
    inputs, y, targets, weight, key = _examples(problem, x, state, batch)

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
                lambda leaf, counts: jnp.abs(leaf).sum() * counts,
                params,
                weight_matrix_mask(params),
            )
            mean = mean + recipe.l1 / (whole // count) * jax.tree.reduce(jnp.add, sizes)
        return mean, (total, outputs, model_state)

    differentiated = jax.value_and_grad(objective, has_aux=True)
    (mean, (total, outputs, model_state)), gradient = differentiated(state.params)
    sums = [total]
    if splits.counted:
        counted = None if weight is None else (weight > 0).astype("float32")
        sums.append(_count(correct(outputs, y), counted))
    return gradient, mean, jnp.stack(sums), model_state


class _Examples(NamedTuple):
    """The examples of a batch, as a step is given them.

    Attributes:
        inputs: standardized and augmented; tokens as they are.
        y: their labels.
        targets: what the outputs should be.
        weight: the factors of their losses, 0 for those that do not count; None means 1.
        key: the random key of their dropout.
    """

    inputs: Num[Array, "batch ..."]
    y: Num[Array | np.ndarray, "batch ..."]
    targets: Float[Array, "batch outputs"]
    weight: Float[Array, " batch"] | None
    key: Key[Array, ""]


def _examples(
    problem: Problem,
    x: Num[Array | np.ndarray, "examples features"],
    state: TrainState,
    batch: Batch,
) -> _Examples:
    """Takes the examples of a batch, or of a part of it, from the training inputs x."""
    splits, recipe = problem.splits, problem.recipe
    count, whole = len(batch.rows), problem.batch_size
    offset = 0 if batch.offset is None else batch.offset
    slots = offset + jnp.arange(count, dtype=jnp.int32)
    weight = None
    if batch.size is not None:
        weight = (slots < batch.size if batch.mask is None else batch.mask).astype("float32")
    if problem.weights is not None:
        own = jnp.asarray(problem.weights, jnp.float32)[batch.rows]
        weight = own if weight is None else weight * own
    rows = x[batch.rows].reshape(count, *splits.train.x.shape[1:])
    labels = splits.train.y if problem.labels is None else jnp.asarray(problem.labels)
    inputs, y = splits.standardization.inputs(rows), labels[batch.rows]
    targets = smooth(splits, recipe, make_targets(splits, y))
    assert state.key is not None
    assert state.order_key is not None
    if recipe.augmentation is not None:
        of_step = augmentations.key_of_step(recipe.augmentation, state.order_key, batch.step, whole)
        keys = jax.vmap(lambda slot: counted(of_step, slot))(slots)
        inputs, targets = augmentations.augment(recipe.augmentation, keys, inputs, targets, weight)
    # An example's dropout mask is the same however the batch is divided.
    key = counted(hashed(state.key, batch.step), offset)
    return _Examples(inputs, y, targets, weight, key)


def validate(
    problem: Problem, state: TrainState, metrics: EpochMetrics
) -> tuple[TrainState, EpochMetrics]:
    """Ends an epoch: evaluates the validation set, and keeps the best parameters so far.

    Returns:
        The state after the epoch, and the metrics with validation loss and accuracy.
    """
    state = state._replace(epoch=state.epoch + 1)
    if problem.left_out:
        metrics = _evaluate_left_out(problem, state, metrics)
    elif state.best is not None:
        metrics = _evaluate_validation(problem, state, metrics)
    if state.best is None:
        return state, metrics
    loss = metrics.validation_loss
    assert loss is not None
    better = loss < state.best.loss
    new = Best(state.params, state.model_state, loss, state.epoch)
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), new, state.best)
    return state._replace(best=best), metrics


def _evaluate_validation(
    problem: Problem, state: TrainState, metrics: EpochMetrics
) -> EpochMetrics:
    """Adds loss and accuracy on the validation set."""
    splits = problem.splits
    network = problem.model, state.params, state.model_state, splits.standardization
    outputs = in_blocks(*network, splits.validation.x, precision=problem.recipe.precision)
    y, accuracy = splits.validation.y, None
    loss = losses_of(splits, problem.loss, outputs, make_targets(splits, y)).mean()
    if splits.counted:
        accuracy = _count(correct(outputs, y), None) / len(y)
    return metrics._replace(validation_loss=loss, validation_accuracy=accuracy)


def _evaluate_left_out(problem: Problem, state: TrainState, metrics: EpochMetrics) -> EpochMetrics:
    """Adds loss and accuracy on training examples that are not in the sample; NaN if none are."""
    splits = problem.splits
    assert problem.sample is not None
    indices, count = (jnp.asarray(each, jnp.int32) for each in problem.sample)
    place = jnp.arange(problem.left_out, dtype=jnp.int32)
    rows, mask = indices[(count + place) % problem.examples], place < problem.examples - count
    network = problem.model, state.params, state.model_state, splits.standardization
    outputs = in_blocks(*network, splits.train.x[rows], precision=problem.recipe.precision)
    y, accuracy = splits.train.y[rows], None
    losses = losses_of(splits, problem.loss, outputs, make_targets(splits, y))
    loss = jnp.where(mask, losses, 0.0).sum() / mask.sum()
    if splits.counted:
        accuracy = _count(correct(outputs, y), mask.astype("float32")) / mask.sum()
    return metrics._replace(validation_loss=loss, validation_accuracy=accuracy)


def training_metrics(problem: Problem, means: Float[Array, " sums"]) -> EpochMetrics:
    """Returns the training metrics of an epoch, from the means of what `run_steps` sums."""
    return EpochMetrics(means[0], means[1] if problem.splits.counted else None)


def blank_metrics(problem: Problem, *shape: int) -> EpochMetrics:
    """Returns metrics of NaN for epochs that were not run: scalars, or arrays of this shape."""
    splits = problem.splits
    validation = len(splits.validation) > 0 or problem.left_out > 0
    counted = splits.counted
    given = (True, counted, validation, counted and validation)
    columns = (np.full(shape, np.nan, np.float32) if there else None for there in given)
    blank = EpochMetrics(*columns)  # pyrefly: ignore[bad-argument-type]
    return blank._replace(signals=_no_signals(problem, *shape))


def _count(
    right: Bool[Array, " batch"] | Float[Array, " batch"], mask: Float[Array, " batch"] | None
) -> Float[Array, ""]:
    return jnp.sum(right if mask is None else right * mask, dtype=jnp.float32)

"""Training is a fold: one state, and one pure `epoch: state -> state`.

    state = start(model, splits, recipe, key)             parameters, optimizer state, keys, best so far
    state, row = epoch(model, splits, recipe, state)      order -> steps -> look
    fit = lax.scan over epoch                             pure: jit it, vmap it
    train (loop.py) = a host loop over the same epoch     progress, checkpoints, Ctrl-C

Nothing here looks at the test set, raises for what happens in training, or draws from a key that
was not given.
"""

import functools
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Key, Num, PyTree

from jaxnet import arguments, display
from jaxnet.agreement import check_agreement
from jaxnet.data import Dataset, Splits, Standardisation
from jaxnet.data import augmentation as augmentations
from jaxnet.data.dataset import on_device
from jaxnet.errors import InputError, check_kind, shown
from jaxnet.identity import describe_training
from jaxnet.implementations import choose
from jaxnet.models.losses import Loss, check_loss
from jaxnet.models.model import Model, at_most_32_bits, initial, with_outputs
from jaxnet.objective import forward, hits, losses_of, make_targets, smooth
from jaxnet.random import INIT, NOISE, ORDER, AnyKey, as_key, counted, hashed
from jaxnet.recipe import Recipe, as_float32, check, kernels, transformation
from jaxnet.run import Best, Row, Run, over
from jaxnet.runtime.plan import Plan
from jaxnet.typing import double

ALL_AT_ONCE = Plan()
# examples evaluated at once: enough to fill a device; of 1,000, members with convolutions outgrow a
# GPU, and CPUs are slower
BLOCK = 250
MOST_STEPS = (1 << 31) - 1  # of a run, whose steps are counted as int32
MOST_EPOCHS = 1 << 27  # of a run, whose history then takes 2 GB
NO_TEST = Dataset(
    np.zeros((0, 1), np.float32), np.zeros(0, np.float32)
)  # what training sees of the test set


Pair = tuple[
    Array | np.ndarray, Array | np.ndarray | np.integer | int
]  # (indices, count) of a sample


class TrainState(NamedTuple):
    """All that one epoch hands to the next, and so what a checkpoint holds; of a population, with a
    leading member axis.

    key: of the noise. diverged_at: the first step whose loss was not finite, or -1: failure is
        data.
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


class Sample(NamedTuple):
    """A training sample of `count` examples: their row numbers, padded to one a training
    example.
    """

    indices: Int[Array | np.ndarray, "*members examples"]
    count: Int[Array | np.ndarray, "*members"]


class Place(NamedTuple):
    """Where in its epoch a part of the examples is trained on. first: of its steps, in the run. of:
    how many steps an epoch has.

    real: of each row of each step, whether it counts; None where all do.
    The examples, the rows, which are numbered on each device, and `real` are split over the devices
    of the plan.
    """

    first: Int[Array, ""]
    of: int
    real: Bool[Array, "steps batch"] | None = None


class Extras(NamedTuple):
    """What a training may be given beyond its model, data, recipe and key."""

    order_key: Key[Array, ""] | None
    weights: Float[Array, " examples"] | None
    sample: Sample | None


def fit(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    order_key: AnyKey | None = None,
    weights: Float[Array | np.ndarray, " examples"] | None = None,
    sample: Pair | None = None,
    loss: Loss | None = None,
    params: PyTree | None = None,
    plan: Plan = ALL_AT_ONCE,
) -> Run:
    """A network trained for all epochs as one compiled program; inside jit or vmap it is traced.

    key: makes initialisation and noise. order_key: makes the order of examples; the same as key if
        not given.
    weights: one a training example, with mean 1 to keep the scale of the loss.
    sample: (indices padded to the number of training examples, count): train on these only, in as
        many steps.
    loss: cross_entropy of classes and squared error of values if not given. params: where to start
        from.
    plan: where it runs; by default on one device, a batch at once. Of several processes that share
    batches all give the same. Raises InputError for arguments that cannot be meant, never for what
    happens in training: see `Run.status`.
    """
    arguments.check(model=model, splits=splits, recipe=recipe, plan=plan)
    key = as_key("key", key)
    check_loss(loss)
    seen, recipe, extras = admit(splits, recipe, key, order_key, weights, sample)
    if plan.processes > 1 and not any(
        isinstance(leaf, jax.core.Tracer)
        for leaf in jax.tree.leaves((splits, recipe, key, params, extras))
    ):
        check_agreement(
            lambda: {
                "call": "fit",
                **describe_training(
                    model, splits, recipe, key, **extras._asdict(), params=params, loss=loss
                ),
                "plan": asdict(plan),
            }
        )
    plan = choose(plan, model, seen, recipe, loss=loss, weighted=weights is not None)
    run = plan.fetch(
        _fit(
            with_outputs(model, splits.train.outputs),
            loss,
            plan,
            *plan.place((seen, recipe, key, params, extras)),
        )
    )
    own = splits.standardisation
    return replace(
        run,
        standardisation=run.standardisation._replace(
            origin=own.origin, target_origin=own.target_origin
        ),
    )


@functools.partial(jax.jit, static_argnames=("model", "loss", "plan"))
def _fit(
    model: Model,
    loss: Loss | None,
    plan: Plan,
    splits: Splits,
    recipe: Recipe,
    key: Array,
    params: PyTree | None,
    extras: Extras,
) -> Run:
    state = start(model, splits, recipe, key, order_key=extras.order_key, params=params)

    def one(state: TrainState, _: None) -> tuple[TrainState, Row]:
        return epoch(
            model,
            splits,
            recipe,
            state,
            weights=extras.weights,
            sample=extras.sample,
            loss=loss,
            plan=plan,
        )

    state, history = jax.lax.scan(one, state, length=recipe.epochs)
    return finish(model, splits, recipe, state, history)


def start(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    order_key: AnyKey | None = None,
    params: PyTree | None = None,
) -> TrainState:
    """The state before the first epoch."""
    arguments.check(model=model, splits=splits, recipe=recipe)
    key, order_key = (
        as_key("key", key),
        None if order_key is None else as_key("order_key", order_key),
    )
    check(recipe, has_validation=len(splits.validation) > 0)
    model, recipe = with_outputs(model, splits.train.outputs), at_most_32_bits(recipe)
    fresh, model_state = initial(
        model, counted(key, INIT), jnp.zeros((1, *splits.train.x.shape[1:]), jnp.float32)
    )
    if params is None:
        params = fresh
    elif isinstance(params, Run):
        raise InputError("params is a Run; give its parameters, run.params")
    elif (given := _shapes(params)) != (wanted := _shapes(fresh)):
        raise InputError(
            f"params do not belong to this model: given {given}, wanted {wanted}; give those of "
            "the same model, or none"
        )
    else:
        params = at_most_32_bits(jax.tree.map(jnp.asarray, params))
    best = None
    if len(splits.validation):
        # Copies: a host loop donates the state, and no buffer can be given away twice.
        copied, copied_state = jax.tree.map(jnp.copy, (params, model_state))
        best = Best(copied, copied_state, jnp.float32(jnp.inf), jnp.int32(0))
    with double(False):
        opt_state = transformation(recipe, 1).init(params)  # does not depend on the number of steps
    return TrainState(
        params, model_state, opt_state, *streams(key, order_key), best, jnp.int32(0), jnp.int32(-1)
    )


def streams(
    key: Key[Array, ""], order_key: Key[Array, ""] | None
) -> tuple[Key[Array, ""], Key[Array, ""]]:
    """(TrainState.key, TrainState.order_key) of a training with these keys."""
    return counted(key, NOISE), counted(key if order_key is None else order_key, ORDER)


def epoch(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    state: TrainState,
    *,
    weights: Float[Array | np.ndarray, " examples"] | None = None,
    sample: Pair | None = None,
    loss: Loss | None = None,
    plan: Plan = ALL_AT_ONCE,
) -> tuple[TrainState, Row]:
    """One pass over the training set in a fresh order, then a look at the validation set: (state,
    what happened).

    A state that has diverged or stopped early stays as it is, and its row is NaN. Jit it, as
    `train` does, before you loop over it.
    """
    arguments.check(model=model, splits=splits, recipe=recipe, plan=plan)
    check_kind(
        "state", state, TrainState, "a TrainState, as jaxnet.start and jaxnet.epoch return it"
    )
    check_loss(loss)
    model, splits = with_outputs(model, splits.train.outputs), on_device(splits)
    check(recipe, has_validation=state.best is not None)
    recipe = at_most_32_bits(recipe)

    assert state.order_key is not None
    rows = order(
        counted(state.order_key, state.epoch), len(splits.train), recipe.batch_size, sample
    )
    new, sums = steps(model, splits, recipe, state, rows, weights=weights, loss=loss, plan=plan)
    means = sums / len(splits.train)
    row = Row(train_loss=means[0], train_accuracy=None if splits.classes is None else means[1])
    new, row = look(model, splits, recipe, new, row, loss=loss)
    halted = over(
        recipe, state.diverged_at, state.epoch, 0 if state.best is None else state.best.epoch
    )
    rested = (state, jax.tree.map(jnp.asarray, blank_row(splits)))
    # A choice between two results, and not of what to compute: that would give each member of a
    # vmap its own training set.
    return jax.lax.cond(
        halted, lambda rested, trained: rested, lambda rested, trained: trained, rested, (new, row)
    )


def order(
    key: Key[Array, ""], examples: int, batch_size: int, sample: Pair | None
) -> Int[Array, "steps batch"]:
    """Row numbers of every step of one pass, each example once; a last batch that is short is
    filled with the first rows.

    Of a sample of n the pass runs through it examples / n times, each time in a fresh order, so
    that every sample takes equally many steps.
    """
    # Rounds of a sample: enough places for the last one to be whole, so that what is cut off is a
    # random part of it.
    places = jnp.arange(examples if sample is None else 2 * examples, dtype=jnp.int32)
    bits = jax.random.bits(key, places.shape, jnp.uint32)
    # The places break ties between equal bits; without them the compiler would, and not always in
    # the same way.
    if sample is None:
        rows = jax.lax.sort((bits, places), num_keys=2, is_stable=False)[1]
    else:
        indices, count = (jnp.asarray(each, jnp.int32) for each in sample)
        rows = indices[
            jax.lax.sort((places // count, bits, places), num_keys=3, is_stable=False)[2][:examples]
            % count
        ]
    batch = min(batch_size, examples)
    number = -(-examples // batch)
    return jnp.concatenate([rows, rows[: number * batch - examples]]).reshape(number, batch)


def steps(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    state: TrainState,
    rows: Int[Array, "steps batch"],
    *,
    weights: Float[Array | np.ndarray, " examples"] | None = None,
    loss: Loss | None = None,
    plan: Plan = ALL_AT_ONCE,
    place: Place | None = None,
) -> tuple[TrainState, Float[Array, " sums"]]:
    """One optimizer step a batch: (state, the summed loss and, of classes, how many were right,
    each when it was seen).

    place: in the epoch, where the training examples of the splits are only a part of its own.
    """
    if (
        choose(plan, model, splits, recipe, loss=loss, weighted=weights is not None).implementation
        == "resident"
    ):
        return _on_chip(model, splits, recipe, state, rows, weights, loss, plan, place)
    (count, batch), examples = rows.shape, len(splits.train)
    optimizer = transformation(recipe, recipe.epochs * (count if place is None else place.of))
    first = state.epoch * count if place is None else place.first
    real = None if place is None else place.real
    _check_plan(plan, batch, state.model_state)

    def on_each_device(
        splits: Splits,
        recipe: Recipe,
        state: TrainState,
        first: Array,
        rows: Int[Array, "steps share"],
        weights: Array | np.ndarray | None,
        real: Array | None,
    ) -> tuple[TrainState, Array]:
        # In rows, outside of the loop: inside, a TPU would turn the whole training set at every
        # step.
        x = splits.train.x.reshape(len(splits.train), -1)
        gradient = functools.partial(
            _gradient, model, splits, x, recipe, loss, weights, real, batch, plan
        )
        sizes = None if real is None else real.sum(1, dtype=jnp.int32)
        if sizes is not None:
            sizes = jax.lax.psum(sizes, "batch") if plan.parts > 1 else sizes
            sizes = jnp.maximum(sizes, 1)  # a batch in which nothing counts has gradient 0

        def step(state: TrainState, each: tuple[Array, Array]) -> tuple[TrainState, Array]:
            i, rows = each
            number = first + i
            if sizes is not None:
                size = sizes[i]
            else:
                size = (
                    batch
                    if place is not None or count * batch == examples
                    else jnp.minimum(examples - i * batch, batch)
                )
            grads, sums, model_state = gradient(state, i, rows, number, size)
            with double(False):
                updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            failed = (state.diverged_at < 0) & ~jnp.isfinite(sums[0])
            new = state._replace(
                params=jax.tree.map(jnp.add, state.params, updates),
                model_state=model_state,
                opt_state=opt_state,
                diverged_at=jnp.where(failed, number, state.diverged_at),
            )
            return new, sums[1:]

        state, sums = jax.lax.scan(step, state, (jnp.arange(count, dtype=jnp.int32), rows))
        return state, sums.sum(0)

    given = (splits, recipe, state, jnp.asarray(first, jnp.int32), rows, weights, real)
    if plan.parts == 1:
        return on_each_device(*given)
    whole, parts = PartitionSpec(), PartitionSpec(None, "batch")
    specs: Any = whole
    if place is not None:
        examples_of = jax.tree.map(lambda _: PartitionSpec("batch"), splits.train)
        specs = replace(jax.tree.map(lambda _: whole, splits), train=examples_of)
    spread = jax.shard_map(
        on_each_device,
        mesh=plan.mesh,
        in_specs=(specs, whole, whole, whole, parts, whole, parts),
        out_specs=whole,
        check_vma=False,
    )
    return spread(*given)


def _on_chip(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    state: TrainState,
    rows: Int[Array, "steps batch"],
    weights: Array | np.ndarray | None,
    loss: Loss | None,
    plan: Plan,
    place: Place | None,
) -> tuple[TrainState, Float[Array, " sums"]]:
    """The same by a kernel."""
    from jaxnet import on_chip

    own_key, order_key = state.key, state.order_key
    first, of = (state.epoch * len(rows), len(rows)) if place is None else (place.first, place.of)
    if place is not None and place.real is not None:
        raise NotImplementedError("examples that do not count")
    assert own_key is not None
    assert order_key is not None
    params, opt_state, sums, failed = on_chip.steps(
        model,
        splits,
        recipe,
        state.params,
        state.opt_state,
        state.model_state,
        own_key,
        order_key,
        first,
        of,
        rows,
        weights=weights,
        loss=loss,
        plan=plan,
    )
    diverged_at = jnp.where(state.diverged_at < 0, failed, state.diverged_at)
    return state._replace(params=params, opt_state=opt_state, diverged_at=diverged_at), sums


def _gradient(
    model: Model,
    splits: Splits,
    x: Num[Array | np.ndarray, "examples features"],
    recipe: Recipe,
    loss: Loss | None,
    weights: Array | np.ndarray | None,
    real: Bool[Array, "steps share"] | None,
    batch: int,
    plan: Plan,
    state: TrainState,
    i: Int[Array, ""],
    rows: Int[Array, " share"],
    number: Int[Array, ""],
    size: int | Num[Array, ""],
) -> tuple[PyTree, Float[Array, " sums"], PyTree]:
    """Of step `number`: the mean gradient of a batch, (mean loss, summed loss, hits of classes),
    and the model state.

    x: the training inputs, an example a row. real: which rows are; size: how many of the whole
    batch, the first ones where nothing is said of each. Those that fill the last batch have weight
    0, and batch statistics see them. i: of these steps.
    """
    train, share = splits.train, batch // plan.parts
    own_key, order_key = state.key, state.order_key
    assert own_key is not None
    assert order_key is not None
    shape = train.x.shape[1:]
    part, parts = plan.micro_batch or share, batch // (plan.micro_batch or share)

    def of_part(
        first: int | Array, rows: Array, counted_: Array | None
    ) -> tuple[PyTree, Array, PyTree]:
        """The share of these rows, which begin at place `first` of the batch."""
        places = first + jnp.arange(part, dtype=jnp.int32)
        real = (
            None
            if isinstance(size, int)
            else (places < size if counted_ is None else counted_).astype(jnp.float32)
        )
        weight = _product(
            real, None if weights is None else jnp.asarray(weights, jnp.float32)[rows]
        )
        inputs, y = splits.standardisation.inputs(x[rows].reshape(part, *shape)), train.y[rows]
        targets = smooth(recipe, make_targets(splits, y))
        if recipe.augmentation is not None:
            of_step = augmentations.key_of_step(recipe.augmentation, order_key, number, batch)
            keys = jax.vmap(functools.partial(counted, of_step))(places)
            inputs, targets = augmentations.augment(
                recipe.augmentation, keys, inputs, targets, weight
            )
        key = counted(
            hashed(own_key, number), first
        )  # masks of examples, however the batch is divided

        def objective(params: PyTree) -> tuple[Array, tuple[Array, Array, PyTree]]:
            outputs, model_state = forward(
                model,
                params,
                state.model_state,
                inputs,
                precision=recipe.precision,
                key=key,
                dropout=recipe.dropout,
            )
            losses = losses_of(splits, loss, outputs, targets)
            total = losses.sum() if weight is None else (losses * weight).sum()
            mean = total / size
            if recipe.l1 is not None:
                sizes = jax.tree.map(
                    lambda leaf, is_kernel: jnp.abs(leaf).sum() * is_kernel, params, kernels(params)
                )
                mean = mean + recipe.l1 / parts * jax.tree.reduce(jnp.add, sizes)
            return mean, (total, outputs, model_state)

        (mean, (total, outputs, model_state)), gradient = jax.value_and_grad(
            objective, has_aux=True
        )(state.params)
        sums = (
            [mean, total]
            if splits.classes is None
            else [mean, total, _count(hits(outputs, y), real)]
        )
        return gradient, jnp.stack(sums), model_state

    given = None if real is None else real[i]
    if not plan.splits_batches:
        return of_part(0, rows, given)
    begin = 0 if plan.parts == 1 else jax.lax.axis_index("batch") * share

    def add(total: PyTree, each: tuple[Array, Array, Array | None]) -> tuple[PyTree, None]:
        return jax.tree.map(jnp.add, total, of_part(*each)[:2]), None

    zeros = jax.tree.map(
        jnp.zeros_like, (state.params, jnp.zeros(2 if splits.classes is None else 3, jnp.float32))
    )
    firsts = begin + jnp.arange(share // part, dtype=jnp.int32) * part
    each = (firsts, rows.reshape(-1, part), None if given is None else given.reshape(-1, part))
    (gradient, sums), _ = jax.lax.scan(add, zeros, each)
    if plan.parts > 1:
        gradient, sums = _over_devices(plan, (gradient, sums))
    return gradient, sums, state.model_state


def _over_devices(plan: Plan, parts: PyTree) -> PyTree:
    """The sum over the devices that share a batch, as one message."""
    if plan.processes == 1 or plan.mesh.devices.flat[0].platform != "cpu":
        return jax.lax.psum(parts, "batch")  # XLA makes it one, or needs no message
    # Of XLA on CPUs each array is a message: a step of 64-128-64-10 over two processes took 3.8 ms,
    # and takes 1.7.
    flat, apart = ravel_pytree(parts)
    return apart(jax.lax.psum(flat, "batch"))


def look(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    state: TrainState,
    row: Row,
    *,
    loss: Loss | None = None,
) -> tuple[TrainState, Row]:
    """The state after an epoch, with the best so far by validation loss; the row gains what the
    validation set said.
    """
    state = state._replace(epoch=state.epoch + 1)
    if state.best is None:
        return state, row
    x, precision = splits.validation.x, recipe.precision
    outputs = in_blocks(
        model, state.params, state.model_state, splits.standardisation, x, precision=precision
    )
    targets = make_targets(splits, splits.validation.y)
    value = losses_of(splits, loss, outputs, targets).mean()
    accuracy = (
        None
        if splits.classes is None
        else _count(hits(outputs, splits.validation.y), None) / len(splits.validation)
    )
    better = value < state.best.loss
    new = Best(state.params, state.model_state, value, state.epoch)
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), new, state.best)
    return state._replace(best=best), row._replace(
        validation_loss=value, validation_accuracy=accuracy
    )


def finish(model: Model, splits: Splits, recipe: Recipe, state: TrainState, history: Row) -> Run:
    """The Run that a last state and its history amount to."""
    return Run(
        params=state.params,
        model_state=state.model_state,
        best=state.best,
        standardisation=splits.standardisation,
        history=history,
        epochs=state.epoch,
        diverged_at=state.diverged_at,
        recipe=recipe,
        model=model.name,
        classes=splits.classes,
        white=splits.train.white,
        shape=splits.train.x.shape[1:],
        columns=splits.columns,
    )


def blank_row(splits: Splits, *shape: int) -> Row:
    """A Row of NaN: what has not happened."""
    classes, validation = splits.classes is not None, len(splits.validation) > 0
    given = (True, classes, validation, classes and validation)
    return Row(*(np.full(shape, np.nan, np.float32) if there else None for there in given))  # pyrefly: ignore[bad-argument-type]


def in_blocks(
    model: Model,
    params: PyTree,
    model_state: PyTree,
    standardisation: Standardisation,
    x: Num[Array | np.ndarray, "examples ..."],
    *,
    precision: str,
) -> Float[Array, "examples outputs"]:
    """Outputs of the network in evaluation, BLOCK examples at a time."""

    def block(x: Array | np.ndarray) -> Array:
        return forward(model, params, model_state, standardisation.inputs(x), precision=precision)[
            0
        ]

    examples = len(x)
    if examples <= BLOCK:
        return block(x)
    rows = jnp.minimum(
        jnp.arange(-(-examples // BLOCK) * BLOCK, dtype=jnp.int32), examples - 1
    ).reshape(-1, BLOCK)
    outputs = jax.lax.map(lambda rows: block(x[rows]), rows)
    return outputs.reshape(-1, outputs.shape[-1])[:examples]


def admit(
    splits: Splits,
    recipe: Recipe,
    key: Array | np.ndarray,
    order_key: Array | np.ndarray | None,
    weights: Array | np.ndarray | None,
    sample: Pair | None,
) -> tuple[Splits, Recipe, Extras]:
    """The door of fit and train: arguments checked where they are concrete, and the splits without
    their test set, for a device.
    """
    shape = splits.train.x.shape[1:]  # of a Stream this raises
    check(recipe, has_validation=len(splits.validation) > 0)
    if recipe.augmentation is not None:
        augmentations.check(recipe.augmentation, shape)
    examples = len(splits.train)
    check_steps(recipe, -(-examples // recipe.batch_size))
    as_key("key", key)
    order_key = None if order_key is None else as_key("order_key", order_key)
    if weights is not None:
        weights = _numbers("weights", weights, jnp.float32)
        if weights.shape != (examples,):
            raise InputError(
                f"weights have shape {weights.shape}; give one a training example: ({examples},)"
            )
        if (
            not isinstance(weights, jax.core.Tracer)
            and (bad := np.flatnonzero(~(np.asarray(weights) >= 0) | np.isinf(weights))).size
        ):
            raise InputError(
                f"weight {weights[int(bad[0])]} of example {bad[0]} is not a finite number of at "
                "least 0; mend it"
            )
    chosen = None
    if sample is not None:
        if not isinstance(sample, tuple | list) or len(sample) != 2:
            raise InputError(
                f"sample is {shown(sample)}; give a pair (indices, count), as resample.alone(i) "
                "has it"
            )
        indices, count = chosen = Sample(
            *(_numbers(f"sample[{i}]", each, jnp.int32) for i, each in enumerate(sample))
        )
        if indices.shape != (examples,) or count.shape != ():
            raise InputError(
                f"sample is (indices, count) with shapes {indices.shape} and {count.shape}; "
                f"give the indices padded to ({examples},) and one count"
            )
        if not isinstance(count, jax.core.Tracer) and not 1 <= int(count) <= examples:
            raise InputError(
                f"the sample's count is {int(count)}; give a number from 1 to {examples}"
            )
        if (
            not isinstance(indices, jax.core.Tracer)
            and not np.isin(np.asarray(indices), np.arange(examples)).all()
        ):
            raise InputError(
                f"the sample's indices must be row numbers from 0 to {examples - 1}; give such"
            )
    return on_device(without_test(splits)), as_float32(recipe), Extras(order_key, weights, chosen)


def check_steps(recipe: Recipe, of_epoch: int) -> None:
    """Raise InputError for a run of more steps than can be counted. of_epoch: steps of an epoch."""
    if (count := recipe.epochs * of_epoch) > MOST_STEPS or recipe.epochs > MOST_EPOCHS:
        most = min(MOST_EPOCHS, MOST_STEPS // max(of_epoch, 1))
        raise InputError(
            f"epochs is {recipe.epochs}: with {of_epoch:,} steps each these are {count:,} steps, "
            f"but a run has at most {MOST_STEPS:,}, and "
            f"at most {MOST_EPOCHS:,} epochs; give at most {most:,} epochs, or a larger batch_size"
        )


def _numbers(name: str, values: Any, dtype: Any) -> Array:
    """An array of numbers as JAX has them. Raises InputError for anything else."""
    try:
        return jnp.asarray(values, dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{name} is {shown(values)}, which is no array of numbers ({error}); give one"
        ) from None


def without_test(splits: Splits) -> Splits:
    """What training sees."""
    return Splits(
        splits.train, splits.validation, NO_TEST, splits.standardisation, columns=splits.columns
    )


def _check_plan(plan: Plan, batch: int, model_state: PyTree) -> None:
    if plan.chunk != 1:
        raise InputError(
            f"the plan has chunk {plan.chunk}, of members of a population; one training has none"
        )
    if not plan.splits_batches:
        return
    if jax.tree.leaves(model_state):
        raise InputError(
            "a network with batch statistics needs each batch whole; give the plan one device and "
            "no micro_batch"
        )
    if plan.parts < 1 or batch % plan.parts:
        raise InputError(
            f"{plan.parts} devices do not divide a batch of {batch}; give a plan that does"
        )
    if plan.micro_batch is not None and (
        plan.micro_batch < 1 or batch // plan.parts % plan.micro_batch
    ):
        raise InputError(
            f"micro_batch {plan.micro_batch} does not divide the {batch // plan.parts} examples "
            "that a device gets of a batch; "
            "give one that does"
        )


def _count(hits: Array, real: Array | None) -> Float[Array, ""]:
    return jnp.sum(hits if real is None else hits * real, dtype=jnp.float32)


def _product(a: Array | None, b: Array | None) -> Array | None:
    return b if a is None else a if b is None else a * b


def _shapes(tree: PyTree) -> str:
    return str(jax.tree.map(lambda leaf: "x".join(map(str, jnp.shape(leaf))), tree))

"""The steps of an epoch as one program on the chip: `run_steps` for networks that
kernels/resident.py can train.

Model, loss and recipe are traced for one example. What differs from step to step, such as a
learning rate, is computed beforehand.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, Literal
from jax.interpreters import partial_eval
from jaxtyping import Array, Float, Int, PyTree

from jaxnet.core.objective import correct, forward, losses_of, make_targets, smooth
from jaxnet.core.optimizers import decays, step_numbers
from jaxnet.core.recipe import Recipe
from jaxnet.core.training import Batch, Problem, TrainState
from jaxnet.data import Splits, Standardization
from jaxnet.data import augmentation as augmentations
from jaxnet.data.augmentation import Augmentation
from jaxnet.data.dataset import standardized
from jaxnet.kernels import budget, resident
from jaxnet.kernels.batch_last import AS_GIVEN, ROW, TURNED, Kind, check_examples_apart, constant
from jaxnet.kernels.resident import State, Streams, Task
from jaxnet.kernels.updates import DIRECTIONS, MOMENTS
from jaxnet.random import counted, hashed
from jaxnet.typing import Number

WORDS = ("key 0", "key 1", "order 0", "order 1")
# Older compilers refused members that were vmapped inside a kernel, or aborted; side by side they
# were not tried there.
SIDE_BY_SIDE = jax.__version_info__ >= (0, 10)


class Program(NamedTuple):
    """An example's program, and what it takes: see resident.Task.

    Attributes:
        example: the jaxpr of one example.
        closed_over: which of its own constants it uses.
        constants: the constants that it uses.
        names: names of the scalars that it uses.
    """

    example: Jaxpr
    closed_over: tuple[bool, ...]
    constants: list[Any]
    names: tuple[str, ...]


def run_steps(
    problem: Problem, state: TrainState, batches: Batch, *, interpret: Any = True
) -> tuple[TrainState, Float[Array, " sums"]]:
    """Compute what `training.run_steps` computes, by a kernel.

    Args:
        problem: what is trained.
        state: the state before.
        batches: the batches of an epoch.
        interpret: how the kernel is interpreted where there is no TPU: True, or Pallas's
            InterpretParams.

    Returns:
        The state after, and the sums over examples of the loss and, for classes, of correct
        predictions.

    Raises:
        NotImplementedError: for what the kernel cannot train, with the reason.
    """
    splits, recipe, rows = problem.splits, problem.recipe, batches.rows
    (count, batch), examples = rows.shape, problem.examples
    _check(problem, state, batches)
    assert state.key is not None
    assert state.order_key is not None
    first, number = batches.step[0], batches.step
    alone, vectors = _constants(splits)
    words = _key_words(recipe, state.key, state.order_key, number, batch)
    scalars = step_numbers(recipe, recipe.epochs * problem.steps, number) | alone | words
    columns = {"y": splits.train.y[rows]}
    if problem.weights is not None:
        columns["weight"] = jnp.asarray(problem.weights, jnp.float32)[rows]
    program = trace(problem, state.params, list(columns), scalars)
    leaves, structure = jax.tree.flatten(state.params)
    moments, rebuild = _moments(state.opt_state, state.params)
    if len(moments) != MOMENTS[recipe.optimizer]:
        raise NotImplementedError(
            f"an optimizer state with {len(moments)} moments for {recipe.optimizer}"
        )
    streams = Streams(
        x=splits.train.x.reshape(examples, -1)[rows],
        columns=[*columns.values()],
        scalars=[_bits(scalars[name], count) for name in program.names],
        constants=[jnp.ravel(value) for value in (*program.constants, *vectors.values())],
    )
    task = functools.partial(
        Task,
        example=program.example,
        closed_over=program.closed_over,
        names=program.names,
        types=tuple(jnp.uint32 if name in WORDS else jnp.float32 for name in program.names),
        optimizer=recipe.optimizer,
        decayed=tuple(leaf.ndim > 1 for leaf in leaves),
        last=batch if batches.size is None else examples - (count - 1) * batch,
        weighted=problem.weights is not None,
    )
    # The kernel's Adam keeps moments without their factors (1 - b1) and (1 - b2).
    factors = (
        [1 - decay for decay in decays(recipe)] if recipe.optimizer in ("adam", "adamw") else [1.0]
    )
    scaled = [
        [leaf / factor for leaf in each] for each, factor in zip(moments, factors, strict=False)
    ]
    (new, scaled), sums = _train(task, program.example, interpret)(State(leaves, scaled), streams)
    moments = [
        [leaf * factor for leaf in each] for each, factor in zip(scaled, factors, strict=False)
    ]
    bad = sums[-1].min()
    failed = jnp.where(bad < count, first + bad.astype(jnp.int32), -1)
    diverged_at = jnp.where(state.diverged_at < 0, failed, state.diverged_at)
    new_state = state._replace(
        params=structure.unflatten(new), opt_state=rebuild(moments, count), diverged_at=diverged_at
    )
    return new_state, sums[:-1].sum(-1)


def trace(problem: Problem, params: PyTree, columns: list[str], scalars: dict[str, Any]) -> Program:
    """Trace the loss of one example, and whether its prediction is correct, as an example's
    program.

    Args:
        problem: what is trained.
        params: parameters, or their shapes.
        columns: names of the numbers of each example.
        scalars: numbers of a step, by name; words of keys are left out where they are not used.

    Returns:
        The program.

    Raises:
        NotImplementedError: for what the kernel cannot train.
    """
    model, splits, recipe, loss = problem.model, problem.splits, problem.recipe, problem.loss
    shape, names, (_, vectors) = splits.train.x.shape[1:], list(scalars), _constants(splits)

    def example(
        params: PyTree,
        x: Array,
        columns_: list[Array],
        place: Array,
        values: list[Array],
        constants: list[Array],
    ) -> tuple[Array, ...]:
        named, y = (
            dict(zip((*names, *vectors), (*values, *constants), strict=True)),
            columns_[0][None],
        )
        how = None if recipe.augmentation is None else Augmentation(noise=named.get("noise"))
        mine = dataclasses.replace(
            recipe,
            dropout=named.get("dropout"),
            label_smoothing=named.get("label_smoothing"),
            augmentation=how,
        )
        of_targets = Standardization(
            named["mean"], named["factor"], named.get("target_mean"), named.get("target_scale")
        )
        own = dataclasses.replace(splits, standardization=of_targets)
        inputs, targets = (
            standardized(x.reshape(1, *shape), named["mean"], named["factor"]),
            smooth(own, mine, make_targets(own, y)),
        )
        if how is not None:
            key = _counted_key(named["order 0"], named["order 1"], place)
            inputs, targets = augmentations.augment(how, key[None], inputs, targets)
        key = _counted_key(named["key 0"], named["key 1"], place)
        outputs, _ = forward(
            model, params, {}, inputs, precision=recipe.precision, key=key, dropout=mine.dropout
        )
        losses = losses_of(own, loss, outputs, targets)
        return (
            (losses[0],)
            if splits.classes is None
            else (losses[0], correct(outputs, y)[0].astype(jnp.float32))
        )

    def of(leaf: Any, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, leaf.dtype)

    _check_parameters(params)
    check_examples_apart(
        lambda params, x: forward(
            model,
            params,
            {},
            x,
            precision=recipe.precision,
            key=jax.random.key(0),
            dropout=recipe.dropout,
        )[0],
        params,
        shape,
    )
    values = [
        jax.ShapeDtypeStruct((), jnp.uint32 if name in WORDS else jnp.float32) for name in names
    ]
    given = [
        jax.ShapeDtypeStruct((), splits.train.y.dtype),
        *[jax.ShapeDtypeStruct((), jnp.float32)] * (len(columns) - 1),
    ]
    constants = [of(value, *value.shape) for value in vectors.values()]
    x, place = of(splits.train.x, math.prod(shape)), jax.ShapeDtypeStruct((), jnp.int32)
    closed = jax.make_jaxpr(example)(params, x, given, place, values, constants)
    # Words of keys and constants of the function are left out where they are not used.
    before = len(jax.tree.leaves(params)) + 1 + len(given) + 1
    keep = [
        not before <= place < before + len(names) or names[place - before] not in WORDS
        for place in range(len(closed.jaxpr.invars))
    ]
    program, used = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars), keep)
    read = {
        variable
        for equation in program.eqns
        for variable in equation.invars
        if not isinstance(variable, Literal)
    }
    closed_over = tuple(variable in read for variable in program.constvars)
    constants_ = [
        value for value, is_used in zip(closed.consts, closed_over, strict=True) if is_used
    ]
    for value in constants_:
        constant(value)
    return Program(
        program,
        closed_over,
        constants_,
        tuple(n for n, is_used in zip(names, used[before:], strict=False) if is_used),
    )


def _train(
    task: Callable[..., Task], example: Jaxpr, interpret_with: Any
) -> Callable[[State, Streams], tuple[State, Array]]:
    """Make the kernel for a single member, and under vmap for all members."""

    def many(state: State, streams: Streams, k: int) -> tuple[State, Array]:
        kinds = kinds_of(
            [leaf.shape[1:] for leaf in state.params], streams.x.shape[-1], packed=k > 1
        )

        def on(
            precision: Any, interpret: Any, state: State, streams: Streams
        ) -> tuple[State, Array]:
            return resident.train(
                task(kinds=kinds, precision=precision),
                state,
                streams,
                k=k,
                vmem=budget.KERNEL_BYTES,
                interpret=interpret,
            )

        compiled, interpreted = (
            functools.partial(on, jnp.bfloat16, False),
            functools.partial(on, jnp.float32, interpret_with),
        )
        return jax.lax.platform_dependent(state, streams, tpu=compiled, default=interpreted)

    @jax.custom_batching.custom_vmap
    def train(state: State, streams: Streams) -> tuple[State, Array]:
        state, streams = jax.tree.map(lambda leaf: leaf[None], (state, streams))
        _members_at_once(example, state, streams)
        return jax.tree.map(lambda leaf: leaf[0], many(state, streams, 1))

    @train.def_vmap
    def rule(members: int, batched: Any, state: State, streams: Streams) -> tuple[Any, Any]:
        def with_members(leaf: Array, is_batched: bool) -> Array:
            return leaf if is_batched else jnp.broadcast_to(leaf, (members, *leaf.shape))

        state = jax.tree.map(with_members, state, batched[0])
        streams = jax.tree.map(
            lambda leaf, is_batched: leaf if is_batched else leaf[None], streams, batched[1]
        )
        groups = math.ceil(members / _members_at_once(example, state, streams))
        out = many(state, streams, math.ceil(members / groups))
        return out, jax.tree.map(lambda _: True, out)

    return train


def _members_at_once(example: Jaxpr, state: State, streams: Streams) -> int:
    """Compute how many members fit on the chip at once."""
    members, (_, _, batch, features) = len(state.params[0]), streams.x.shape
    of_example = budget.value_bytes(example, len(state.params), len(streams.columns) + 2, batch)
    minibatch = [
        jax.ShapeDtypeStruct((batch, features), streams.x.dtype),
        *[jax.ShapeDtypeStruct((1, batch), jnp.float32)] * len(streams.columns),
    ]
    params, all_state = (
        [jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for leaf in jax.tree.leaves(tree)]
        for tree in (state.params, state)
    )
    fit = budget.members_at_once(all_state, params, minibatch, of_example, own=len(streams.x) > 1)
    if fit == 0:
        raise NotImplementedError(
            f"a network and batch that need more than the {budget.KERNEL_BYTES >> 20} MiB of "
            "vector memory"
        )
    return min(fit, members) if SIDE_BY_SIDE else 1


def kinds_of(shapes: list[tuple[int, ...]], features: int, *, packed: bool) -> tuple[Kind, ...]:
    """Choose how parameters are held.

    The first layer of several members together is x @ w, one product for all; elsewhere outputs
    come first.

    Args:
        shapes: shapes of the parameters of one member.
        features: number of inputs of an example.
        packed: whether the kernel computes several members together.
    """
    return tuple(
        ROW if len(s) < 2 else AS_GIVEN if packed and s[0] == features else TURNED for s in shapes
    )


def _check(problem: Problem, state: TrainState, batches: Batch) -> None:
    """Raise NotImplementedError for what the kernel cannot train."""
    recipe, key = problem.recipe, state.key
    assert key is not None
    if batches.mask is not None or batches.offset is not None or problem.streamed is not None:
        raise NotImplementedError("a part of the training set, or of a batch")
    if problem.splits.train.schema.tokens:
        raise NotImplementedError("inputs that are tokens")
    if problem.labels is not None:
        raise NotImplementedError("labels that differ from those of the data set")
    if problem.splits.targets is not None:
        raise NotImplementedError("several labels or values of each example")
    if not isinstance(recipe.optimizer, str) or recipe.optimizer not in DIRECTIONS:
        name = recipe.optimizer if isinstance(recipe.optimizer, str) else "of its own"
        raise NotImplementedError(f"optimizer {name}: the kernel has {', '.join(DIRECTIONS)}")
    if recipe.augmentation is not None:
        asked = [
            name
            for name in augmentations.AUGMENTATION_FIELDS
            if name != "noise" and getattr(recipe.augmentation, name) is not None
        ]
        if asked:
            raise NotImplementedError(f"augmentation {asked[0]}: the kernel has noise alone")
    if jax.tree.leaves(state.model_state):
        raise NotImplementedError("a network with batch statistics, or other state of its own")
    if "threefry" not in (implementation := str(jax.random.key_impl(key))):
        raise NotImplementedError(f"keys of {implementation}: the kernel has threefry's")


def _check_parameters(params: PyTree) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if leaf.ndim > 2:
            raise NotImplementedError(
                f"parameter {jax.tree_util.keystr(path)} of shape {leaf.shape}, such as a "
                "convolution's"
            )
        if leaf.dtype != jnp.float32:
            raise NotImplementedError(
                f"parameter {jax.tree_util.keystr(path)} of type {leaf.dtype}"
            )


def _constants(splits: Splits) -> tuple[dict[str, Array], dict[str, Array]]:
    """Collect the numbers and the vectors of the standardization by name.

    They are the mean and 1 / scale of inputs, and the mean and scale of values.
    """
    mean, scale, target_mean, target_scale = splits.standardization[:4]
    assert scale is not None  # `_check` refuses tokens
    named = {
        "mean": mean,
        "factor": 1 / scale,
        "target_mean": target_mean,
        "target_scale": target_scale,
    }
    given = {name: jnp.asarray(value) for name, value in named.items() if value is not None}
    return {name: v for name, v in given.items() if v.ndim == 0}, {
        name: v for name, v in given.items() if v.ndim
    }


def _counted_key(first: Array, second: Array, place: Array) -> Array:
    """Compute the key that is `place` after this one."""
    return counted(
        jax.random.wrap_key_data(jnp.concatenate([first[None], second[None]]), impl="threefry2x32"),
        place,
    )


def _key_words(
    recipe: Recipe, key: Array, order_key: Array, number: Int[Array, " steps"], batch: int
) -> dict[str, Array]:
    """Compute the words of the keys of each step, from which the keys of its examples are
    counted.
    """
    how = Augmentation() if recipe.augmentation is None else recipe.augmentation
    noise = jax.random.key_data(jax.vmap(functools.partial(hashed, key))(number))
    order = jax.random.key_data(
        jax.vmap(lambda number: augmentations.key_of_step(how, order_key, number, batch))(number)
    )
    return dict(zip(WORDS, (noise[:, 0], noise[:, 1], order[:, 0], order[:, 1]), strict=True))


def _bits(value: Number, count: int) -> Int[Array, " steps"]:
    value = jnp.asarray(value)
    value = value if value.dtype == jnp.uint32 else value.astype(jnp.float32)
    return jnp.broadcast_to(jax.lax.bitcast_convert_type(value, jnp.int32), (count,))


def _moments(
    opt_state: PyTree, params: PyTree
) -> tuple[list[list[Array]], Callable[[list[list[Array]], int], PyTree]]:
    """Collect the parts of an optimizer's state that have the parameters' shapes, and a function
    that puts new ones back.

    That function adds the number of steps to the state's counts.
    """
    structure, shapes = jax.tree.structure(params), [leaf.shape for leaf in jax.tree.leaves(params)]

    def like_params(node: Any) -> bool:
        return (
            jax.tree.structure(node) == structure
            and [jnp.shape(leaf) for leaf in jax.tree.leaves(node)] == shapes
        )

    nodes, outline = jax.tree.flatten(opt_state, is_leaf=like_params)

    def rebuild(moments: list[list[Array]], steps: int) -> PyTree:
        new = iter(moments)
        return outline.unflatten(
            [
                structure.unflatten(next(new)) if like_params(node) else node + steps
                for node in nodes
            ]
        )

    return [jax.tree.leaves(node) for node in nodes if like_params(node)], rebuild

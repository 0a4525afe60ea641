"""The steps of an epoch as one program on a TPU chip, whose state leaves the chip only at the end
of the epoch.

A training step of a small network is a dozen tiny operations. XLA starts each of them on its own,
and they exchange values through memory. Here all steps are one `pallas_call`: one function,
`kernel`, that runs once for every point of a grid:

    grid = (groups of members, steps), steps innermost

    HBM     state of group 0     state of group 1          x, labels: step 0 | step 1 | ...
               |        ^                                            |
          copied in   copied out                             a block a step, fetched while
          at step 0   at the last one                        the step before is computed
               v        |                                            v
    VMEM    state of k members  <-- loss, gradient, update --  x (batch, features),
                                                               labels (1, batch)
                                                               numbers of the step (SMEM):
                                                               learning rate, ...

- *Residency.* Parameters and moments live in scratch memory, which persists from one point of the
  grid to the next.
- *Blocks.* A `BlockSpec` tells which part of an array a point of the grid sees: its shape, and a
  function from the point to the part's place. Pallas fetches the next part in the background, and
  fetches nothing where the place stays the same.
- *Members.* A single network is a chain in which each operation waits for the one before. The k
  members of a group are computed side by side, so that there is always another member to compute.
- *Batch last.* The loss of one example is evaluated as batch_last.py says, and its gradient is
  taken through that evaluation.
- *Budget.* budget.py computes for which k there is room.

Nothing here knows data sets or recipes: `example` is any function of one example.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.extend.core import Jaxpr
from jaxtyping import Array, Float, Int, Num

from jaxnet.core.jaxpr import bind, interpret
from jaxnet.kernels.batch_last import (
    FIRST,
    LAST,
    ROW,
    SHARED,
    TURNED,
    Held,
    Kind,
    as_last,
    evaluate,
    sign,
)
from jaxnet.kernels.updates import clipped, update

T = TypeVar("T")
ZERO = np.int32(0)  # an index must have 32 bits, even where JAX is set to use 64


class Task(NamedTuple):
    """What is trained.

    Attributes:
        example: the jaxpr of (parameters..., x, columns..., place in the batch, scalars...,
            constants...) -> (loss, others...) of one example.
        closed_over: which of its own constants it uses; these come first among the constants.
        kinds: how each parameter is held.
        names: names of the scalars.
        types: types of the scalars.
        optimizer: a name in updates.py.
        decayed: for each parameter, whether it decays.
        last: number of examples that the last step really has.
        weighted: whether the last column holds weights of the losses.
        precision: type to which the operands of products are rounded.
    """

    example: Jaxpr
    closed_over: tuple[bool, ...]
    kinds: tuple[Kind, ...]
    names: tuple[str, ...]
    types: tuple[Any, ...]
    optimizer: str
    decayed: tuple[bool, ...]
    last: int
    weighted: bool
    precision: Any


class State(NamedTuple):
    """What training changes, in float32.

    Attributes:
        params: the parameters.
        moments: for each moment of the optimizer, as many arrays as parameters.
    """

    params: list[Float[Array, "members ..."]]
    moments: list[list[Float[Array, "members ..."]]]


class Streams(NamedTuple):
    """What the steps are given; an axis of members has size 1 where all members share the array.

    Attributes:
        x: inputs of each step.
        columns: further arrays with one number per example, such as labels.
        scalars: the bits of a float32 or uint32 per step, as Task.names and Task.types tell.
        constants: arrays that are the same at all steps.
    """

    x: Num[Array, "members steps batch features"]
    columns: list[Num[Array, "members steps batch"]]
    scalars: list[Int[Array, "_ steps"]]
    constants: list[Float[Array, "members size"]]


def train(
    task: Task, state: State, streams: Streams, *, k: int, vmem: int, interpret: Any = False
) -> tuple[State, Float[Array, "members sums batch"]]:
    """Run all steps of an epoch for all members.

    Args:
        task: what is trained.
        state: the state before, with a leading axis of members.
        streams: what the steps are given.
        k: members per group.
        vmem: bytes of vector memory that the kernel may use.
        interpret: how to interpret the kernel where there is no TPU; False compiles it.

    Returns:
        The state after all steps, and sums (members, sums, batch): for each place in a batch the
        sums over steps of the loss and of the other outputs, and last the first step whose loss was
        not finite, or the number of steps.
    """
    members, (_, steps, batch, features) = len(state.params[0]), streams.x.shape
    groups = math.ceil(members / k)
    held = State(
        [*map(_to_kernel, state.params, task.kinds)],
        [[*map(_to_kernel, each, task.kinds)] for each in state.moments],
    )
    leaves, structure = jax.tree.flatten(held)
    leaves = [_padded(leaf, groups * k) for leaf in leaves]

    def operand(array: Array, block: tuple[int, ...], *, stepped: bool = True) -> tuple[Array, Any]:
        """Pad an array of streams and describe the block that each point of the grid sees.

        The axis of members comes first. A group sees its k members, or the only one; a step sees
        its step.
        """
        inner = (len(block) - 1) * (ZERO,)
        if len(array) == 1:
            return array, pl.BlockSpec(
                (1, *block), lambda g, i: (ZERO, i if stepped else ZERO, *inner)
            )
        return _padded(array, groups * k), pl.BlockSpec(
            (k, *block), lambda g, i: (g, i if stepped else ZERO, *inner)
        )

    arrays, specs = zip(
        operand(streams.x, (1, batch, features)),
        *(operand(column[:, :, None], (1, 1, batch)) for column in streams.columns),
        *(
            operand(constant[:, None, None], (1, 1, constant.shape[1]), stepped=False)
            for constant in streams.constants
        ),
        strict=True,
    )
    anywhere, rows = pl.BlockSpec(memory_space=pl.ANY), len(task.example.outvars) + 1
    scalars, own = _scalars(streams.scalars, groups, k), [len(each) > 1 for each in streams.scalars]
    *leaves, sums = pl.pallas_call(
        functools.partial(
            _kernel,
            task,
            structure,
            k,
            steps,
            len(streams.columns),
            own,
            [len(array) > 1 for array in arrays],
        ),
        name="resident",
        grid=(groups, steps),
        in_specs=[
            *[anywhere] * len(leaves),
            pl.BlockSpec(
                (1, 1, *scalars.shape[2:]),
                lambda g, i: (g if any(own) else ZERO, i, ZERO, ZERO),
                memory_space=pltpu.SMEM,
            ),
            *specs,
        ],
        out_specs=[
            *[anywhere] * len(leaves),
            pl.BlockSpec((k, rows, batch), lambda g, i: (g, ZERO, ZERO)),
        ],
        out_shape=[*_shapes(leaves), jax.ShapeDtypeStruct((groups * k, rows, batch), jnp.float32)],
        scratch_shapes=[
            *(pltpu.VMEM((k, *leaf.shape[1:]), leaf.dtype) for leaf in leaves),
            pltpu.SemaphoreType.DMA((len(leaves),)),
        ],
        input_output_aliases={j: j for j in range(len(leaves))},
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=vmem),
        interpret=interpret,
    )(*leaves, scalars, *arrays)
    held = structure.unflatten([leaf[:members] for leaf in leaves])

    def released(leaves: list[Array]) -> list[Array]:
        return [
            _from_kernel(leaf, kind, old.shape)
            for leaf, kind, old in zip(leaves, task.kinds, state.params, strict=True)
        ]

    return State(released(held.params), [released(each) for each in held.moments]), sums[:members]


def _kernel(
    task: Task,
    structure: Any,
    k: int,
    steps: int,
    columns: int,
    differ: list[bool],
    own: list[bool],
    *refs: Any,
) -> None:
    """Compute one step of one group of k members: `pallas_call` runs this at each point of the
    grid.

    Args:
        task: what is trained.
        structure: tree structure of the state.
        k: members per group.
        steps: number of steps.
        columns: number of columns.
        differ: for each scalar, whether each member has its own.
        own: for each array of the streams, whether each member has its own.
        *refs: the state in HBM before, the scalars, the minibatch; the state in HBM after, the
            sums; the state in VMEM, and semaphores.
    """
    n = structure.num_leaves
    before, (scalars, *arrays), (*after, sums), (*here, semaphores) = _split(
        refs, n, 1 + len(own), n + 1, n + 1
    )
    group, step = pl.program_id(0), pl.program_id(1)

    def mine(ref: Any) -> Any:
        """Select the group's part.

        Where that is everything there is no slice, since older compilers slice only whole tiles.
        """
        return ref if ref.shape[0] == k else ref.at[pl.ds(group * k, k)]

    def move(sources: Sequence[Any], targets: Sequence[Any]) -> None:
        copies = [
            pltpu.make_async_copy(*each, semaphores.at[np.int32(j)])
            for j, each in enumerate(zip(sources, targets, strict=True))
        ]
        for copy in copies:
            copy.start()
        for copy in copies:
            copy.wait()

    @pl.when(step == 0)
    def _() -> None:
        move([*map(mine, before)], here)
        sums[...] = jnp.zeros_like(sums)
        sums[:, -1:] = jnp.full_like(sums[:, -1:], steps)

    batch = arrays[0].shape[-2]
    size = (
        batch
        if task.last == batch
        else jnp.where(step == steps - 1, np.int32(task.last), np.int32(batch))
    )
    of_whole = np.float32(1 / batch)
    share_of_one = (
        of_whole
        if task.last == batch
        else jnp.where(step == steps - 1, np.float32(1 / task.last), of_whole)
    )

    def gradient(
        params: list[Array], x: Array, blocks: list[Array], numbers: list[Array]
    ) -> tuple[list[Array], list[Array]]:
        """Compute one member's sums of this step, and the mean gradient of its batch."""
        place = jax.lax.broadcasted_iota(jnp.int32, (1, batch), 1)
        real = None if task.last == batch else (place < size).astype(jnp.float32)
        weight = _product(real, blocks[columns - 1] if task.weighted else None)

        def objective(params: list[Array]) -> tuple[Array, list[Array]]:
            args = [
                *map(Held, params, task.kinds),
                Held(x, FIRST),
                *(Held(column, LAST) for column in blocks[:columns]),
                Held(place, LAST),
            ]
            constants = iter([Held(constant, ROW) for constant in blocks[columns:]])
            unused = Held(jnp.zeros((1, 1), jnp.float32), SHARED)
            closed_over = [next(constants) if is_used else unused for is_used in task.closed_over]
            args += [*(Held(number, SHARED) for number in numbers), *constants]
            loss, *others = (
                as_last(out, batch)
                for out in evaluate(task.example, closed_over, args, task.precision)
            )
            return loss, others

        losses, pull, others = jax.vjp(objective, params, has_aux=True)
        share = jnp.full((1, batch), share_of_one)
        (grads,) = pull(share if weight is None else share * weight)
        if "l1" in task.names:
            factor = numbers[task.names.index("l1")]
            grads = [
                g + factor * sign(p) if kernel else g
                for g, p, kernel in zip(grads, params, task.decayed, strict=True)
            ]
        if weight is None:
            return [losses, *others], grads
        counted = (weight > 0).astype(jnp.float32)
        return [losses * weight, *(other * counted for other in others)], grads

    def next_of(
        leaves: list[Array], so_far: list[Array], blocks: list[Array], numbers: list[Array]
    ) -> tuple[list[Array], list[Array]]:
        """Compute one member's state and sums after this step."""
        state, (x, *blocks) = structure.unflatten(leaves), blocks
        rows, grads = gradient(state.params, x, blocks, numbers)
        named = dict(zip(task.names, numbers, strict=True))
        if "clip" in named:
            grads = clipped(grads, named["clip"])
        new = State([], [[] for _ in state.moments])
        for j, (param, grad) in enumerate(zip(state.params, grads, strict=True)):
            decayed = task.decayed[j] and "decay" in named
            own = [each[j] for each in state.moments]
            param, moments = update(task.optimizer, param, own, grad, named, decayed=decayed)
            new.params.append(param)
            for each, moment in zip(new.moments, moments, strict=True):
                each.append(moment)
        # The epoch needs the sums, and the first step whose loss was not finite.
        failed = jnp.where(jnp.isfinite(rows[0]), jnp.float32(steps), step.astype(jnp.float32))
        total = [sum_ + row for sum_, row in zip(so_far, rows, strict=False)]
        return jax.tree.leaves(new), [*total, jnp.minimum(so_far[-1], failed)]

    members = [
        (
            [ref[member] for ref in here],
            [sums[member, j : j + 1] for j in range(sums.shape[1])],
            [ref[member if each else 0, 0] for ref, each in zip(arrays, own, strict=True)],
            _scalars_of_step(task, scalars, member, differ),
        )
        for member in range(k)
    ]
    for member, (leaves, rows) in enumerate(_side_by_side(next_of, members)):
        for ref, leaf in zip(here, leaves, strict=True):
            ref[member] = leaf
        for j, row in enumerate(rows):
            sums[member, j : j + 1] = row

    @pl.when(step == steps - 1)
    def _() -> None:
        move(here, [*map(mine, after)])


def _side_by_side(function: Callable[..., T], members: Sequence[Any]) -> list[T]:
    """Evaluate a function of one member's arrays for several members, each operation for all of
    them before the next.

    The compiler keeps this order, and one member's operations wait for one another. `vmap` would
    have the same order, but its arrays have a third axis, for which the compiler assembles each
    register of bfloat16 from two halves.

    Args:
        function: a function of arrays.
        members: the arguments of each member, all of the same shapes and types.

    Returns:
        The outputs of each member.
    """
    program, shapes = jax.make_jaxpr(function, return_shape=True)(*members[0])

    def each(equation: Any, operands: list[tuple[Any, ...]]) -> list[tuple[Array, ...]]:
        outputs = [
            bind(equation.primitive, equation.params, *(operand[j] for operand in operands))
            for j in range(len(members))
        ]
        return [*zip(*outputs, strict=True)]

    def for_all(value: Any) -> tuple[Any, ...]:
        return (value,) * len(members)

    outputs = interpret(
        program.jaxpr,
        [*map(for_all, program.consts)],
        [*zip(*map(jax.tree.leaves, members), strict=True)],
        rules={},
        lift=for_all,
        otherwise=each,
    )
    return [
        jax.tree.unflatten(jax.tree.structure(shapes), own) for own in zip(*outputs, strict=True)
    ]


def _scalars_of_step(task: Task, scalars: Any, member: int, differ: list[bool]) -> list[Array]:
    """Read a member's scalars of this step, (1, 1) each: the vector unit has no others."""
    numbers, count = [], sum(differ)
    for kind, own in zip(task.types, differ, strict=True):
        j = sum(each == own for each in differ[: len(numbers)])
        place = len(differ) - count + member * count + j if own else j
        bits = jnp.full((1, 1), scalars[0, 0, 0, place])
        numbers.append(jax.lax.bitcast_convert_type(bits, kind))
    return numbers


def _scalars(
    scalars: list[Int[Array, "_ steps"]], groups: int, k: int
) -> Int[Array, "groups steps 1 all"]:
    """Arrange the scalars: shared ones first, then those of a group's members side by side, since
    scalar memory is read one by one.
    """
    shared = [each for each in scalars if len(each) == 1]
    own = [_padded(each, groups * k) for each in scalars if len(each) > 1]
    if not own:
        return jnp.stack(shared, -1)[:, :, None]
    mine = jnp.stack(own, -1)
    _, steps, count = mine.shape
    mine = mine.reshape(groups, k, steps, count).swapaxes(1, 2).reshape(groups, steps, k * count)
    for_all = [jnp.broadcast_to(each[..., None], (groups, steps, 1)) for each in shared]
    return jnp.concatenate([*for_all, mine], -1)[:, :, None]


def _to_kernel(leaf: Array, kind: Kind) -> Array:
    """Reshape a parameter of all members to the kernel's form, which always has two more axes."""
    return leaf.reshape(len(leaf), 1, -1) if kind is ROW else leaf.mT if kind is TURNED else leaf


def _from_kernel(leaf: Array, kind: Kind, shape: tuple[int, ...]) -> Array:
    return leaf.mT if kind is TURNED else leaf.reshape(shape)


def _padded(array: Array, members: int) -> Array:
    """Repeat the last member until there are `members`."""
    return (
        array
        if len(array) == members
        else jnp.concatenate([array, jnp.repeat(array[-1:], members - len(array), axis=0)])
    )


def _split(items: Sequence[Any], *sizes: int) -> list[list[Any]]:
    """Split a sequence into pieces of these sizes."""
    ends = np.cumsum(sizes)
    return [list(items[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def _product(a: Array | None, b: Array | None) -> Array | None:
    return b if a is None else a if b is None else a * b


def _shapes(arrays: Sequence[Array]) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays]

"""What a kernel needs of a chip's vector memory (VMEM), and so how many members it takes at once.

    bytes = k * (state + gradient + 2 * values) + inputs + 2 * (blocks of the minibatch)

Here k is the number of members. The values are everything that is computed from parameters for a
batch; each has a gradient, hence the first factor 2. The inputs are what is computed from the
minibatch alone, such as standardized inputs. Inputs and blocks count once, or once per member where
each member has its own minibatch. The next minibatch is fetched while this one is used, hence the
last factor 2. The last two axes of an array are padded to tiles of 8 x 128 words of 32 bits, 16 x
128 of 16 bits and 32 x 128 of 8 bits (JAX's guide to Pallas on TPUs).
"""

import math
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
from jax.extend.core import Jaxpr, Literal

LANES, SUBLANES = 128, 8
MAX_GROUP_MEMBERS = 16  # members per group: with more, the schedule gets no shorter
KERNEL_BYTES = 112 << 20  # bytes that a kernel may use, of 128 MiB
COMPILER_BYTES = 16 << 20  # part of KERNEL_BYTES that is left to the compiler
VMEM_BYTES = {
    "TPU v5 lite": 128 << 20,
    "TPU v5e": 128 << 20,
    "TPU v6 lite": 128 << 20,
    "TPU v6e": 128 << 20,
}  # vector memory of a core, by kind of device


def padded_bytes(shape: tuple[int, ...], dtype: Any) -> int:
    """Compute the bytes of an array in vector memory, with its padding.

    Args:
        shape: shape of the array.
        dtype: type of its numbers.
    """
    size = jnp.dtype(dtype).itemsize
    *outer, rows, columns = (1, 1, *shape)
    tile = SUBLANES * max(1, 4 // size)
    return (
        math.prod(outer) * math.ceil(rows / tile) * tile * math.ceil(columns / LANES) * LANES * size
    )


def value_bytes(example: Jaxpr, params: int, inputs: int, batch: int) -> tuple[int, int]:
    """Compute the bytes of what an example's program computes, for a batch held last.

    Args:
        example: the program of one example.
        params: how many of its arguments are parameters; these come first.
        inputs: how many of its arguments are an example's own; these follow.
        batch: number of examples in a batch.

    Returns:
        Bytes of what is computed from parameters, and of what is computed without them.
    """
    of_params, of_example = (
        set(example.invars[:params]),
        set(example.invars[params : params + inputs]),
    )
    sizes = [0, 0]
    for equation in example.eqns:
        read = {variable for variable in equation.invars if not isinstance(variable, Literal)}
        without = of_params.isdisjoint(read)
        alike = of_example.isdisjoint(read)
        for out in equation.outvars:
            shape: tuple[int, ...] = out.aval.shape  # pyrefly: ignore[missing-attribute]
            sizes[without] += padded_bytes(
                shape if alike else (math.prod(shape), batch), jnp.float32
            )
        of_params.update([] if without else equation.outvars)
        of_example.update([] if alike else equation.outvars)
    return sizes[0], sizes[1]


def members_at_once(
    state: Iterable[Any],
    params: Iterable[Any],
    minibatch: Iterable[Any],
    of_example: tuple[int, int],
    *,
    own: bool,
) -> int:
    """Compute how many members fit at once, at most MAX_GROUP_MEMBERS.

    Args:
        state: arrays of one member's state.
        params: arrays of one member's parameters.
        minibatch: blocks of one minibatch.
        of_example: the bytes that `value_bytes` returns.
        own: whether each member has its own minibatch.

    Returns:
        The number of members; 0 where not even one fits.
    """

    def size(arrays: Iterable[Any]) -> int:
        return sum(padded_bytes(array.shape, array.dtype) for array in arrays)

    each, inputs = (
        size(state) + size(params) + 2 * of_example[0],
        of_example[1] + 2 * size(minibatch),
    )
    room = KERNEL_BYTES - COMPILER_BYTES
    return max(
        0, min(MAX_GROUP_MEMBERS, room // (each + inputs) if own else (room - inputs) // each)
    )

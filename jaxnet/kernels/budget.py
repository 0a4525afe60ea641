"""What a kernel needs of a chip's vector memory (VMEM), and so how many members it takes at once.

    bytes = k * (state + gradient + 2 * values of the example) + 2 * (blocks of the minibatch)

The factors 2: each value has a gradient, and the next minibatch is fetched while this one is used. An array's last two axes are
padded to tiles of 8 x 128 words of 32 bits, 16 x 128 of 16 bits and 32 x 128 of 8 bits (JAX's guide to Pallas on TPUs).
"""

import math
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
from jax.extend.core import Jaxpr

LANES, SUBLANES = 128, 8
MOST = 16  # members a group: with more the schedule gets no shorter
LIMIT = 112 << 20  # bytes that a kernel may use, of 128 MiB
SPARE = 16 << 20  # of them, left to the compiler
VMEM = {"TPU v5 lite": 128 << 20, "TPU v5e": 128 << 20, "TPU v6 lite": 128 << 20, "TPU v6e": 128 << 20}  # bytes of a core


def padded_bytes(shape: tuple[int, ...], dtype: Any) -> int:
    """Bytes of an array in vector memory."""
    size = jnp.dtype(dtype).itemsize
    *outer, rows, columns = (1, 1, *shape)
    tile = SUBLANES * max(1, 4 // size)
    return math.prod(outer) * math.ceil(rows / tile) * tile * math.ceil(columns / LANES) * LANES * size


def values(example: Jaxpr, batch: int) -> int:
    """Bytes of all values that the example's program computes, for a batch that is held last."""
    total = 0
    for equation in example.eqns:
        total += sum(padded_bytes((math.prod(out.aval.shape), batch), jnp.float32) for out in equation.outvars)
    return total


def members_at_once(state: Iterable[Any], params: Iterable[Any], blocks: Iterable[Any], own: Iterable[Any], of_example: int, room: int) -> int:
    """How many members fit at once, at most MOST; 0 where not even one does.

    state, params: arrays of a member. blocks: of a minibatch that all share; own: of a minibatch that each has for itself.
    room: bytes of vector memory.
    """

    def size(arrays: Iterable[Any]) -> int:
        return sum(padded_bytes(array.shape, array.dtype) for array in arrays)

    each = size(state) + size(params) + 2 * of_example + 2 * size(own)
    return max(0, min(MOST, (room - SPARE - 2 * size(blocks)) // each))

"""Bytes of vector memory by hand, and how many members they leave room for."""

import itertools

import jax
import jax.numpy as jnp
import pytest

from jaxnet.kernels.budget import (
    COMPILER_BYTES,
    KERNEL_BYTES,
    MAX_GROUP_MEMBERS,
    VMEM_BYTES,
    members_at_once,
    padded_bytes,
    value_bytes,
)

ROOM = KERNEL_BYTES - COMPILER_BYTES
MIB = 1 << 20


def array(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


@pytest.mark.parametrize(
    ("shape", "dtype", "tiles", "tile"),
    [
        ((8, 128), "float32", 1, 4096),
        ((1, 1), "float32", 1, 4096),
        ((9, 128), "float32", 2, 4096),
        ((8, 129), "float32", 2, 4096),
        ((17, 300), "float32", 3 * 3, 4096),
        ((3, 8, 128), "float32", 3, 4096),
        ((2, 3, 1, 1), "float32", 6, 4096),
        ((128,), "float32", 1, 4096),
        ((129,), "int32", 2, 4096),
        ((), "float32", 1, 4096),
        ((16, 128), "bfloat16", 1, 4096),
        ((17, 128), "bfloat16", 2, 4096),
        ((1, 1), "float16", 1, 4096),
        ((32, 128), "uint8", 1, 4096),
        ((128, 784), "uint8", 4 * 7, 4096),
        ((33, 1), "int8", 2, 4096),
        ((8, 128), "float64", 1, 8192),
    ],
)
def test_arrays_are_padded_to_tiles(shape, dtype, tiles, tile):
    assert padded_bytes(shape, dtype) == tiles * tile


def program(w, b, x, shift):
    """For a batch of 128, tiles of each value: of an example's, (its size, 128); of what all have
    in common, its own shape.
    """
    centerd = x - shift  # (3, 128): one
    scaled = centerd * 2.0  # one
    doubled = w * 2.0  # (3, 20): one
    wide = scaled @ doubled  # (20, 128): three
    return jnp.sum(wide + b)  # three, and one for the sum


SHAPES = [array(3, 20), array(20), array(3), array(3)]


def test_values_of_a_program_by_hand():
    jaxpr = jax.make_jaxpr(program)(*SHAPES).jaxpr
    assert value_bytes(jaxpr, 2, 1, 128) == ((1 + 3 + 3 + 1) * 4096, 2 * 4096)
    # what all have in common does not grow
    assert value_bytes(jaxpr, 2, 1, 129) == ((1 + 6 + 6 + 2) * 4096, 4 * 4096)
    # Where all are parameters; and where none is, but all are of the example: then w is (60, 128),
    # eight tiles.
    assert value_bytes(jaxpr, 4, 0, 128) == (6 * 4096, 0)
    assert value_bytes(jaxpr, 0, 4, 128) == (0, (1 + 1 + 8 + 3 + 3 + 1) * 4096)


def test_values_of_a_function_inside_are_its_outputs():
    """Of jit and others with a program of their own the results alone are counted."""
    jaxpr = jax.make_jaxpr(lambda w, x: jax.jit(lambda w, x: jnp.exp(jnp.exp(x @ w)))(w, x))(
        array(3, 20), array(3)
    ).jaxpr
    assert len(jaxpr.eqns) == 1
    assert value_bytes(jaxpr, 1, 1, 128) == (3 * 4096, 0)


def fit(*, state=MIB, params=0, minibatch=0, each=0, inputs=0, own=False):
    """How many members, from bytes in whole tiles."""

    def arrays(size):
        return [array(size // 512, 128)] if size else []

    return members_at_once(
        arrays(state), arrays(params), arrays(minibatch), (each, inputs), own=own
    )


def test_members_by_hand():
    assert ROOM == 96 * MIB
    assert fit(state=8 * MIB) == 12
    assert fit(state=8 * MIB, params=4 * MIB) == 8
    assert fit(state=8 * MIB, params=4 * MIB, each=6 * MIB) == 4
    assert fit(state=8 * MIB, inputs=8 * MIB) == 11
    assert fit(state=8 * MIB, minibatch=8 * MIB) == 10
    # With minibatches of their own: 96 / (8 + 4 + 2 * 2).
    assert fit(state=8 * MIB, inputs=4 * MIB, minibatch=2 * MIB, own=True) == 6
    assert fit(state=8 * MIB, inputs=4 * MIB, minibatch=2 * MIB) == 11
    assert (
        members_at_once(
            [array(8, 128)] * 3,
            [array(8, 128)],
            [array(32, 128, dtype=jnp.uint8)],
            (0, 0),
            own=False,
        )
        == MAX_GROUP_MEMBERS
    )


@pytest.mark.parametrize("own", [False, True])
def test_at_most_most_and_none_where_nothing_fits(own):
    assert fit(state=4096, own=own) == MAX_GROUP_MEMBERS
    assert fit(state=ROOM, own=own) == 1
    assert fit(state=ROOM + 4096, own=own) == 0
    assert fit(state=4096, inputs=ROOM, own=own) == 0
    assert fit(state=4096, inputs=2 * ROOM, own=own) == 0  # and never fewer than none
    assert fit(state=4096, minibatch=ROOM, own=own) == 0
    assert fit(state=4096, each=ROOM, own=own) == 0


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("what", ["state", "params", "minibatch", "each", "inputs"])
def test_more_bytes_never_leave_room_for_more_members(what, own):
    sizes = [k * 4096 for k in range(0, 30_000, 250)]
    counts = [fit(**({"own": own} | {what: size or 4096})) for size in sizes]
    assert all(more >= less for more, less in itertools.pairwise(counts))
    assert all(0 <= count <= MAX_GROUP_MEMBERS for count in counts)
    assert counts[0] > counts[-1]


def test_members_that_are_counted_fit_and_one_more_does_not():
    for size in range(6 * MIB, 96 * MIB, 5 * MIB):
        for own in (False, True):
            count = fit(state=size, params=MIB, minibatch=MIB, each=MIB, inputs=MIB, own=own)

            def needed(count, size=size, own=own):
                of_minibatch = MIB + 2 * MIB
                return (
                    count * (size + MIB + 2 * MIB + own * of_minibatch) + (not own) * of_minibatch
                )

            assert needed(count) <= ROOM < needed(count + 1)


def test_the_limit_fits_every_chip_that_is_known():
    assert all(COMPILER_BYTES < KERNEL_BYTES < memory for memory in VMEM_BYTES.values())

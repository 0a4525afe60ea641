"""Random streams of one key, found by counting instead of jax.random.split and fold_in, each call
of which XLA compiles again. `hashed` is a cheap hash for dropout masks.

A counter-based generator such as threefry gives independent streams for any two keys that differ,
in sequence or not. Counting adds to the high word of the key, which is 0 in the key of any seed
below 2^32, so that neighboring seeds never meet.

References:
    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.
"""

import contextlib
from numbers import Integral
from typing import TYPE_CHECKING, Any, NewType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Key, PyTree, UInt32

from jaxnet.errors import InputError, shown

# A mask of dropout is drawn for every hidden unit at every step. Threefry takes some 80 operations
# a number for that, and cannot be drawn for one example of a batch alone. The hash below (Wellons
# 2018, "Prospecting for hash functions", lowbias32; its bias is 0.17) takes 9, and a number depends
# on nothing but the words of its example's key, its place in the example and its layer.
GOLDEN = np.uint32(0x9E3779B9)  # 2^32 over the golden ratio: its multiples are far apart

# Keys that jax.random.key or jax.random.PRNGKey makes.
AnyKey = Key[Array, ""] | UInt32[Array | np.ndarray, " words"]
AnyKeys = Key[Array, "..."] | UInt32[Array | np.ndarray, "... words"]
if not TYPE_CHECKING:  # so that help() shows only the name
    AnyKey, AnyKeys = NewType("AnyKey", AnyKey), NewType("AnyKeys", AnyKeys)

STREAM = 1 << 30  # the number of places of a stream
# The last words of the seeds of NumPy's generators, by what they draw. They keep generators apart
# from each other, and from `default_rng(seed)`, with which others may draw from the same examples:
# NumPy ignores zeros at the end of a seed, so that [0, 0] is 0.
LAST_WORDS = {
    "resampling": 0x5A3D, "corruption": 0xC0A7, "two_sample": 0x25A3, "calibration": 0x5EC1,
    "references": 0x3EF5,
}  # fmt: skip
# where each stream of a run's key begins
INIT, ORDER, DROPOUT, AUGMENT = (0, STREAM, 2 * STREAM, 3 * STREAM)


def counted(key: Key[Array, ""], count: int | Integer[Array, ""]) -> Key[Array, ""]:
    """The key that lies `count` places after this one.

    Args:
        key: one typed key.
        count: number of places, modulo 2^32; may be traced.

    Returns:
        A key with the same implementation.
    """
    words = jax.random.key_data(key)
    high = np.array([1] + [0] * (words.size - 1), np.uint32)
    return jax.random.wrap_key_data(
        words + high * jnp.asarray(count, jnp.uint32), impl=jax.random.key_impl(key)
    )


def numbered(
    key: Key[Array, ""], numbers: Integer[np.ndarray, " numbers"]
) -> Key[Array, " numbers"]:
    """Make the random keys with these numbers; each is the same whatever others there are.

    Args:
        key: the key that they are made from.
        numbers: numbers from 0 to below 2**32.
    """
    return jax.vmap(jax.random.fold_in, (None, 0))(key, numbers.astype(np.uint32))


def block(
    key: Key[Array, ""], number: int | Integer[Array, ""], size: int, *, room: int = STREAM
) -> Key[Array, ""]:
    """The key from which the places of a block are counted; no two blocks of a stream share a
    place.

    Args:
        key: the beginning of the stream.
        number: number of the block, from 0; may be traced.
        size: number of places of each block.
        room: number of places of the stream. When they are used up, the next block begins a new
            round at the first place, with another low word. The low word of the first round is the
            key's own.

    Returns:
        A key with the same implementation.
    """
    in_round, number = room // size, jnp.asarray(number, jnp.uint32)
    words = jax.random.key_data(key)
    low = np.array([0, 1] + [0] * (words.size - 2), np.uint32)
    # Mixed, so that it is far from the low words of neighboring seeds. mix(0) is 0.
    of_round = jax.random.wrap_key_data(
        words ^ low * mix(number // in_round), impl=jax.random.key_impl(key)
    )
    return counted(of_round, number % in_round * size)


def generator(key: AnyKey, purpose: str, *numbers: int) -> np.random.Generator:
    """NumPy's random generator of a key, for what is drawn once, on the host, and compiles nothing.

    Args:
        key: one key.
        purpose: what is drawn, a name in LAST_WORDS: the generators of one key for different
            purposes are independent.
        numbers: which of several generators of one key and purpose it is.

    Returns:
        A generator, the same for a typed key and for that of `jax.random.PRNGKey`.

    Raises:
        InputError: where key is none.
    """
    words = np.asarray(jax.random.key_data(as_key("key", key))).ravel().tolist()
    return np.random.default_rng([*numbers, *words, LAST_WORDS[purpose]])


def is_key(leaf: Any) -> bool:
    """Whether a leaf is an array of typed keys, or the shape of one."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def as_key(name: str, value: Any) -> Key[Array, ""]:
    """The one typed key that a user gives.

    Args:
        name: name of the argument.
        value: a typed key, or the words that jax.random.PRNGKey gives.

    Returns:
        A typed key without axes.

    Raises:
        InputError: for anything else, and for several keys.
    """
    key = as_keys(
        name, value, f"a key such as jax.random.key({value if isinstance(value, Integral) else 0})"
    )
    if key.shape != ():
        raise InputError(
            f"{name} holds {key.shape} keys; give one, and many to fit_population or through "
            "jax.vmap"
        )
    return key


def as_keys(name: str, value: Any, cure: str) -> Key[Array, "..."]:
    """The typed keys that a user gives.

    Args:
        name: name of the argument.
        value: typed keys, or the words that jax.random.PRNGKey gives.
        cure: what to give instead, for the message.

    Returns:
        Typed keys, of any shape.

    Raises:
        InputError: for anything else.
    """
    if isinstance(value, jax.Array) and is_key(value):
        return value
    if isinstance(value, jax.Array | np.ndarray) and value.dtype == np.uint32:
        with contextlib.suppress(TypeError, ValueError):  # a wrong number of words
            return jax.random.wrap_key_data(jnp.asarray(value))
    raise InputError(f"{name} is {shown(value)}; give {cure}")


def number_of(key: Key[Array, ""]) -> int:
    """A number below 2^64 for a key: the seed if `jax.random.key(seed)` made it, else a number that
    is as unique as the key.
    """
    high, low = (int(word) for word in np.asarray(jax.random.key_data(key)).ravel()[:2])
    return high << 32 | low


def with_key_data(tree: PyTree) -> PyTree:
    """The tree with each key replaced by its data: plain arrays of uint32, which can be placed and
    written.
    """
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree)


def with_keys(like: PyTree, plain: PyTree) -> PyTree:
    """Undo `with_key_data`: put the keys back in place of their data.

    Args:
        like: a tree with keys in the same places, or its shapes.
        plain: what `with_key_data` returned.

    Returns:
        The tree with keys.
    """
    return jax.tree.map(
        lambda leaf, given: (
            jax.random.wrap_key_data(given, impl=leaf.dtype._impl) if is_key(leaf) else given
        ),
        like,
        plain,
    )


def mix(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """Map each 32-bit word to another one, without collisions: Wellons' hash lowbias32."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def hashed(key: Key[Array, ""], count: int | Integer[Array, ""]) -> Key[Array, ""]:
    """The key that lies `count` places after this one, hashed, so that examples can be counted from
    it.

    Args:
        key: one typed key.
        count: number of places; may be traced.

    Returns:
        A key with the same implementation.
    """
    words = jax.random.key_data(key)
    first = mix(words[0] + jnp.asarray(count, jnp.uint32))
    second = mix(first ^ words[1])
    words = jnp.concatenate([jnp.stack([second, mix(first + second)]), words[2:]])
    return jax.random.wrap_key_data(words, impl=jax.random.key_impl(key))


def bits(
    words: UInt32[Array, "examples words"], size: int, layer: int = 0
) -> UInt32[Array, "examples size"]:
    """32 random bits for each of `size` places of each example.

    Args:
        words: (examples, words) words of the examples' keys.
        size: number of places of an example.
        layer: number of the layer; the bits of two layers are independent.

    Returns:
        (examples, size) words.
    """
    of_layer = np.uint32(layer * int(GOLDEN) % (1 << 32))
    example = mix(mix(words[:, :1]) ^ (words[:, 1:2] + of_layer))
    place = jax.lax.broadcasted_iota(jnp.uint32, (1, size), 1) * GOLDEN
    shape = (len(words), size)
    return mix(jnp.broadcast_to(example, shape) + jnp.broadcast_to(place, shape))


def example_keys(key: Key[Array, ""], count: int) -> UInt32[Array, "examples words"]:
    """The words of the keys of a batch: the key of example i lies i places after the given one.

    Args:
        key: key of the batch.
        count: number of examples.

    Returns:
        (examples, 2) words.
    """
    words = jax.random.key_data(key)[None]
    places = jax.lax.broadcasted_iota(jnp.uint32, (count, 1), 0)
    return jnp.concatenate(
        [
            jnp.broadcast_to(words[:, :1], (count, 1)) + places,
            jnp.broadcast_to(words[:, 1:2], (count, 1)),
        ],
        1,
    )


def normal(words: UInt32[Array, "examples words"], size: int) -> Float[Array, "examples size"]:
    """Standard normal numbers, from 23 random bits each.

    Args:
        words: (examples, words) words of the examples' keys.
        size: how many numbers each example gets.

    Returns:
        (examples, size) float32.
    """
    return normal_from_bits(bits(words, size))


def normal_from_bits(given: UInt32[Array, "..."]) -> Float[Array, "..."]:
    """Standard normal numbers as the quantiles of random bits, finite for any bits.

    Args:
        given: random bits, of which the upper 23 of each number are used.

    Returns:
        float32 of the same shape.
    """
    whole = (given >> np.uint32(9)).astype(jnp.int32).astype(jnp.float32)
    return np.float32(np.sqrt(2)) * jax.lax.erf_inv((whole + 0.5) * np.float32(2.0**-22) - 1)

"""Random bits by an integer hash of a key and a place, in operations that every compiler has, a kernel's too.

A mask of dropout is drawn for every hidden unit at every step. Threefry takes some 80 operations a number for that, and cannot
be drawn for one example of a batch alone. This hash (Wellons 2018, "Prospecting for hash functions", lowbias32; its bias is
0.17) takes 9, and a number depends on nothing but the words of its example's key, its place in the example and its layer.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Key, UInt32

GOLDEN = np.uint32(0x9E3779B9)  # 2^32 over the golden ratio: its multiples are far apart


def mix(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """Each 32-bit word as another one, without collisions."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def hashed(key: Key[Array, ""], count: int | Integer[Array, ""]) -> Key[Array, ""]:
    """The key that stands `count` places after this one, hashed, so that examples can be counted from it."""
    words = jax.random.key_data(key)
    first = mix(words[0] + jnp.asarray(count, jnp.uint32))
    second = mix(first ^ words[1])
    words = jnp.concatenate([jnp.stack([second, mix(first + second)]), words[2:]])
    return jax.random.wrap_key_data(words, impl=jax.random.key_impl(key))


def bits(words: UInt32[Array, "examples words"], size: int, layer: int = 0) -> UInt32[Array, "examples size"]:
    """32 random bits for each of `size` places of each example. words: of the examples' keys."""
    of_layer = np.uint32(layer * int(GOLDEN) % (1 << 32))
    example = mix(mix(words[:, :1]) ^ (words[:, 1:2] + of_layer))
    place = jax.lax.broadcasted_iota(jnp.uint32, (1, size), 1) * GOLDEN
    shape = (len(words), size)
    return mix(jnp.broadcast_to(example, shape) + jnp.broadcast_to(place, shape))


def examples(key: Key[Array, ""], count: int) -> UInt32[Array, "examples words"]:
    """Words of the keys of a batch: of each example, those that stand as many places after the key's as itself in the batch."""
    words = jax.random.key_data(key)[None]
    places = jax.lax.broadcasted_iota(jnp.uint32, (count, 1), 0)
    return jnp.concatenate([jnp.broadcast_to(words[:, :1], (count, 1)) + places, jnp.broadcast_to(words[:, 1:2], (count, 1))], 1)


def normal(words: UInt32[Array, "examples words"], size: int) -> Float[Array, "examples size"]:
    """Standard normal numbers, from 23 bits each."""
    whole = (bits(words, size) >> np.uint32(9)).astype(jnp.int32).astype(jnp.float32)
    return np.float32(np.sqrt(2)) * jax.lax.erf_inv((whole + 0.5) * np.float32(2.0**-22) - 1)

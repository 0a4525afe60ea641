"""Random streams from one key by counting, without hashing: each hash is a loop that XLA compiles anew.

A counter-based generator such as threefry gives independent streams for any two keys that differ, in sequence or not
(Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3). What is counted is the high word of the
key, which is 0 in the key of any seed below 2^32, so that neighbouring seeds never meet.
"""

import contextlib
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer, Key, PyTree, UInt32

from .bits import mix
from .errors import InputError, shown

AnyKey = Key[Array, ""] | UInt32[Array | np.ndarray, " words"]  # as jax.random.key makes it, or jax.random.PRNGKey
AnyKeys = Key[Array, "..."] | UInt32[Array | np.ndarray, "... words"]

STREAM = 1 << 30  # the number of places of a stream
INIT, ORDER, NOISE, AUGMENT = 0, STREAM, 2 * STREAM, 3 * STREAM  # where each stream of a run's key begins


def counted(key: Key[Array, ""], count: int | Integer[Array, ""]) -> Key[Array, ""]:
    """The key that stands `count` places after this one."""
    words = jax.random.key_data(key)
    high = np.array([1] + [0] * (words.size - 1), np.uint32)
    return jax.random.wrap_key_data(words + high * jnp.asarray(count, jnp.uint32), impl=jax.random.key_impl(key))


def block(key: Key[Array, ""], number: int | Integer[Array, ""], size: int, *, room: int = STREAM) -> Key[Array, ""]:
    """The key from which the `size` places of a block are counted, so that no two blocks of a stream share a place.

    key: where the stream begins. number: of the block, from 0. room: the number of places of the stream; when they are used up, the
    next block begins a new round at the first place, with another low word. The low word of the first round is the key's own.
    """
    in_round, number = room // size, jnp.asarray(number, jnp.uint32)
    words = jax.random.key_data(key)
    low = np.array([0, 1] + [0] * (words.size - 2), np.uint32)
    # Mixed, so that it is far from the low words of neighboring seeds. mix(0) is 0.
    of_round = jax.random.wrap_key_data(words ^ low * mix(number // in_round), impl=jax.random.key_impl(key))
    return counted(of_round, number % in_round * size)


def is_key(leaf: Any) -> bool:
    """Whether this is an array of typed keys, or the shape of one."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def as_key(name: str, value: Any) -> Key[Array, ""]:
    """One typed key of what a user gives as one. Raises InputError for anything else. name: of the argument."""
    key = as_keys(name, value, f"a key such as jax.random.key({value if isinstance(value, Integral) else 0})")
    if key.shape != ():
        raise InputError(f"{name} holds {key.shape} keys; give one, and many to fit_population or through jax.vmap")
    return key


def as_keys(name: str, value: Any, cure: str) -> Key[Array, "..."]:
    """Typed keys of typed ones, or of the words that jax.random.PRNGKey gives. Raises InputError for anything else. cure: what to give."""
    if isinstance(value, jax.Array) and is_key(value):
        return value
    if isinstance(value, jax.Array | np.ndarray) and value.dtype == np.uint32:
        with contextlib.suppress(TypeError, ValueError):  # so many words are no key
            return jax.random.wrap_key_data(jnp.asarray(value))
    raise InputError(f"{name} is {shown(value)}; give {cure}")


def number_of(key: Key[Array, ""]) -> int:
    """The seed of a key that `jax.random.key(seed)` made; of any other key, a number below 2^64 that is as much its own."""
    high, low = (int(word) for word in np.asarray(jax.random.key_data(key)).ravel()[:2])
    return high << 32 | low


def words(tree: PyTree) -> PyTree:
    """The tree with the words of its keys in their place: plain arrays, which can be placed and written."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree)


def with_keys(like: PyTree, plain: PyTree) -> PyTree:
    """What `words` made of a tree, undone. like: that tree, or its shapes."""
    return jax.tree.map(lambda leaf, given: jax.random.wrap_key_data(given, impl=leaf.dtype._impl) if is_key(leaf) else given, like, plain)

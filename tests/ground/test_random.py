"""Random bits by hashing are lowbias32 as Wellons published it, pass for uniform and independent,
and are an example's own.

Shares and correlations are held against 5 standard errors of truly random bits, of n numbers: with
fixed seeds.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxnet.models.layers import dropout
from jaxnet.random import (
    AUGMENT,
    DROPOUT,
    GOLDEN,
    INIT,
    ORDER,
    bits,
    counted,
    example_keys,
    hashed,
    mix,
    normal,
    normal_from_bits,
)

KEY = jax.random.key(7)
COUNTS = jnp.arange(1 << 18, dtype=jnp.int32)
draw = jax.jit(bits, static_argnums=(1, 2))


def lowbias32(x):
    """As published in C: x ^= x >> 16; x *= 0x7feb352d; x ^= x >> 15; x *= 0x846ca68b; x ^= x >>
    16.
    """
    x = np.array(x, np.uint32)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def words_of(keys):
    return np.asarray(jax.random.key_data(keys))


def alone(key, size, layer=0):
    """Bits of one example, from its key."""
    return bits(jax.random.key_data(key)[None], size, layer)[0]


def batch(count, key=KEY):
    return example_keys(key, count)


def shares(numbers):
    """The share of ones of each of the 32 bits."""
    ones = [(numbers >> np.uint32(bit)) & np.uint32(1) for bit in range(32)]
    return np.array([one.mean() for one in ones])


def check_uniform(numbers):
    """The mean, the variance, each bit, and a chi-square test of the upper and of the lower
    byte.
    """
    numbers = np.asarray(numbers).ravel()
    unit = numbers / 2.0**32
    assert abs(unit.mean() - 0.5) < 5 / math.sqrt(12 * unit.size)
    assert abs(unit.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / unit.size)
    assert np.abs(shares(numbers) - 0.5).max() < 5 * 0.5 / math.sqrt(unit.size)
    for byte in (numbers >> np.uint32(24), numbers & np.uint32(255)):
        assert stats.chisquare(np.bincount(byte, minlength=256)).pvalue > 1e-6


def check_independent(a, b):
    """As numbers, and bit by bit: of all that differ half are ones."""
    a, b = np.asarray(a).ravel(), np.asarray(b).ravel()
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / math.sqrt(a.size)
    assert np.abs(shares(a ^ b) - 0.5).max() < 5 * 0.5 / math.sqrt(a.size)


def test_mixing_is_lowbias32():
    x = np.random.default_rng(0).integers(0, 1 << 32, 100_000, dtype=np.uint32)
    x[:4] = 0, 1, 0xFFFFFFFF, 0x80000000
    assert np.array_equal(mix(jnp.asarray(x)), lowbias32(x))
    # By hand, with Python's own whole numbers.
    for number in x[:20].tolist():
        want = number
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
            want = ((want ^ (want >> shift)) * factor) % (1 << 32)
        assert int(mix(jnp.uint32(number))) == want


def test_mixing_has_no_collisions():
    numbers = np.asarray(jax.jit(mix)(jnp.arange(1 << 20, dtype=jnp.uint32)))
    assert len(np.unique(numbers)) == 1 << 20


def test_bits_are_the_formula_in_numpy():
    words, layer, size = words_of(jax.random.split(KEY, 50)), 3, 17
    places = np.arange(size, dtype=np.uint32)[None] * GOLDEN
    example = lowbias32(
        lowbias32(words[:, :1]) ^ (words[:, 1:2] + np.full((1, 1), layer, np.uint32) * GOLDEN)
    )
    want = lowbias32(example + places)
    for number in (bits(jnp.asarray(words), size, layer), draw(jnp.asarray(words), size, layer)):
        assert number.dtype == jnp.uint32
        assert np.array_equal(number, want)


def test_hashed_keys_do_not_collide():
    first = jax.jit(jax.vmap(hashed, (None, 0)))(KEY, COUNTS)
    words = words_of(first)
    assert len(np.unique(words, axis=0)) == len(words)
    # of one key each count has a first word of its own
    assert len(np.unique(words[:, 0])) == len(words)
    others = [
        words_of(jax.vmap(hashed, (None, 0))(jax.random.key(seed), COUNTS[:4096]))
        for seed in range(32)
    ]
    assert len(np.unique(np.concatenate(others), axis=0)) == 32 * 4096
    streams = [
        words_of(jax.vmap(hashed, (None, 0))(counted(KEY, begin), COUNTS[:4096]))
        for begin in (INIT, ORDER, ORDER + 4096, DROPOUT, AUGMENT)
    ]
    assert len(np.unique(np.concatenate(streams), axis=0)) == 5 * 4096


def test_hashing_follows_counting():
    """The first word and the count are added, so that a counted key has the keys that come
    after.
    """
    assert np.array_equal(words_of(hashed(counted(KEY, 3), 4)), words_of(hashed(KEY, 7)))


def test_hashed_keys_are_those_of_a_count_however_it_is_given():
    for count in (0, 5, 4_000_000_000):
        assert np.array_equal(
            words_of(hashed(KEY, count)),
            words_of(jax.jit(hashed)(KEY, jnp.asarray(count, jnp.uint32))),
        )
    assert not np.array_equal(words_of(hashed(KEY, 0)), words_of(KEY))


def test_examples_of_steps_do_not_meet():
    """Counted from hashed keys: those of 2,000 steps of 128 examples are all different."""
    keys = jax.vmap(hashed, (None, 0))(KEY, COUNTS[:2000])
    words = np.asarray(jax.vmap(lambda key: example_keys(key, 128))(keys)).reshape(-1, 2)
    assert len(np.unique(words, axis=0)) == 2000 * 128


def test_examples_are_counted_keys():
    words = batch(9)
    assert np.array_equal(words, [words_of(counted(KEY, i)) for i in range(9)])


@pytest.mark.parametrize("size", [1000, 64, 1])
def test_bits_are_uniform(size):
    check_uniform(draw(batch(1_000_000 // size), size))


def test_neighbors_are_independent():
    """Places beside one another, examples, layers, steps, seeds; and the first bits of neighboring
    examples.
    """
    numbers = np.asarray(draw(batch(1000), 1000))
    check_independent(numbers[:, 1:], numbers[:, :-1])
    check_independent(numbers[1:], numbers[:-1])
    check_independent(numbers[1:, 1:], numbers[:-1, :-1])
    check_independent(numbers, draw(batch(1000), 1000, 1))
    steps = [draw(batch(1000, hashed(KEY, count)), 1000) for count in (0, 1, 2)]
    check_independent(steps[0], steps[1])
    check_independent(steps[1], steps[2])
    check_independent(numbers, draw(batch(1000, jax.random.key(8)), 1000))
    check_uniform(numbers[:, 0])


def test_sums_over_examples_and_over_places_vary_as_they_should():
    """Which they would not if rows or columns had a pattern in common: chi-square of the sums of
    1,000 each.
    """
    unit = (np.asarray(draw(batch(1000), 1000)) / 2.0**32 - 0.5) * math.sqrt(12)
    for axis in (0, 1):
        square = (unit.sum(axis) ** 2 / 1000).sum()
        assert abs(square - 1000) < 5 * math.sqrt(2 * 1000)


def test_an_example_alone_has_the_bits_that_it_has_in_the_batch():
    whole = np.asarray(draw(batch(12), 31, 2))
    assert np.array_equal(whole, [alone(counted(KEY, i), 31, 2) for i in range(12)])
    parts = [bits(example_keys(counted(KEY, first), 4), 31, 2) for first in (0, 4, 8)]
    assert np.array_equal(whole, np.concatenate(parts))
    keys = jax.vmap(counted, (None, 0))(KEY, jnp.arange(12))
    assert np.array_equal(whole, jax.vmap(lambda key: alone(key, 31, 2))(keys))


def test_fewer_places_are_the_first_of_more():
    assert np.array_equal(draw(batch(5), 20)[:, :7], draw(batch(5), 7))


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg"])
def test_normal_numbers(implementation):
    key = jax.random.key(1, impl=implementation)
    keys = jax.vmap(counted, (None, 0))(key, jnp.arange(1000))
    numbers = np.asarray(normal(jax.random.key_data(keys), 100))
    assert numbers.dtype == np.float32
    flat, n = numbers.ravel().astype(float), numbers.size
    assert abs(flat.mean()) < 5 / math.sqrt(n)
    assert abs(flat.var() - 1) < 5 * math.sqrt(2 / n)
    assert abs(stats.kurtosis(flat)) < 5 * math.sqrt(24 / n)
    assert stats.kstest(flat, stats.norm.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(flat[1:], flat[:-1])[0, 1]) < 5 / math.sqrt(n)


def test_normal_numbers_are_the_quantiles_of_their_bits():
    words = batch(200)
    whole = (np.asarray(bits(words, 50)) >> 9).astype(float)
    want = stats.norm.ppf((whole + 0.5) / 2**23)
    np.testing.assert_allclose(normal(words, 50), want, rtol=1e-4, atol=1e-5)


def test_normal_numbers_are_finite_at_both_ends():
    """Whatever the bits: none may be infinite."""
    ends = jnp.asarray([0, 0x1FF, 0xFFFFFE00, 0xFFFFFFFF], jnp.uint32)
    numbers = np.asarray(normal_from_bits(ends))
    assert np.isfinite(numbers).all()
    np.testing.assert_allclose(
        numbers, np.array([-1, -1, 1, 1]) * stats.norm.ppf(1 - 2.0**-24), rtol=1e-2
    )


def test_keys_of_other_generators_are_hashed_and_counted_too():
    key = jax.random.key(1, impl="rbg")
    words = words_of(jax.vmap(hashed, (None, 0))(key, COUNTS[:1000]))
    assert words.shape == (1000, 4)
    assert len(np.unique(words, axis=0)) == 1000
    check_uniform(draw(example_keys(key, 1000), 100))
    assert np.array_equal(draw(example_keys(key, 3), 10)[2], alone(counted(key, 2), 10))


RATES = (0.0, 0.1, 0.5, 0.9)


@pytest.mark.parametrize("rate", RATES)
def test_dropout_keeps_the_share_asked_for_and_the_expectation(rate):
    x = jnp.ones((1000, 300))
    out = np.asarray(dropout(x, KEY, rate), float)
    error = math.sqrt(rate * (1 - rate) / x.size)
    # The rate is rounded down to a 65,536th.
    assert abs((out == 0).mean() - rate) <= 5 * error + 2.0**-16
    assert abs(out.mean() - 1) <= (5 * error + 2.0**-16) / (1 - rate) + 1e-6
    np.testing.assert_allclose(out[out > 0], 1 / (1 - rate), rtol=1e-6)
    of_examples = (out == 0).mean(1)
    assert abs(of_examples.var() * 300 - rate * (1 - rate)) <= 5 * rate * (1 - rate) * math.sqrt(
        2 / 1000
    )


@pytest.mark.parametrize("rate", RATES)
def test_dropout_of_a_traced_rate_is_that_of_a_number(rate):
    x = jax.random.normal(KEY, (64, 5, 7))
    want = dropout(x, KEY, rate)
    assert np.array_equal(want, jax.jit(dropout)(x, KEY, jnp.float32(rate)))
    assert np.array_equal(want, jax.vmap(dropout, (None, None, 0))(x, KEY, jnp.full(2, rate))[1])


def test_masks_of_layers_keys_and_examples_differ_and_a_seed_makes_them():
    x = jnp.ones((50, 400))
    masks = [
        np.asarray(dropout(x, key, 0.5, layer)) > 0
        for key in (KEY, hashed(KEY, 1))
        for layer in (0, 1, 2)
    ]
    masks += [masks[0][np.roll(np.arange(50), 1)]]
    for a, b in itertools.combinations(masks, 2):
        assert abs((a == b).mean() - 0.5) < 5 * 0.5 / math.sqrt(x.size)
    assert np.array_equal(masks[0], np.asarray(dropout(x, KEY, 0.5)) > 0)


def test_masks_of_parts_are_those_of_the_batch():
    x = jax.random.normal(KEY, (12, 3, 4))
    whole = dropout(x, KEY, 0.4, 1)
    parts = [dropout(x[first : first + 4], counted(KEY, first), 0.4, 1) for first in (0, 4, 8)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_more_dropout_drops_what_less_drops():
    x = jnp.ones((20, 50))
    dropped = [np.asarray(dropout(x, KEY, rate)) == 0 for rate in RATES]
    assert all((less <= more).all() for less, more in itertools.pairwise(dropped))

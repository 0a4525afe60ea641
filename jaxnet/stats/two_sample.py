"""Two-sample tests of plain arrays: the distance of two samples, its p-value, and which shift could
have been detected.

The tests compare outputs (bbsd) or inputs (mmd) by permutations. The classifier test, which trains
a network, is in jaxnet/diagnostics/two_sample.py.
"""

import math
import warnings
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Shaped, UInt8

from jaxnet import display
from jaxnet.random import generator
from jaxnet.stats.estimate import LEVEL, Estimate

RESAMPLES = 499  # permutations, and as many bootstrap samples
DETECTION_POWER = 0.8  # power with which a shift of size `detectable` is found
MIN_SAMPLE_SIZE = 4  # examples in each sample
EXAMPLES_SHOWN = 20  # examples that `Unlike` lists of each sample
WIDTH_EXAMPLES = 1000  # examples from which the width of the kernel is computed
KERNEL_ROWS = 512  # rows of the kernel that are computed at once
KERNEL_LIMIT = 20_000  # examples that mmd compares
CELLS = 200_000_000  # numbers that are drawn at once, a byte each
# Whole numbers beyond int32 are rounded, and distances that differ by so much count as equal.
ROUNDING = 1e-5


class Output(NamedTuple):
    """The output of a network that differs most between two samples.

    Attributes:
        index: number of the output.
        new: whether it is higher or lower than in the reference.
        at: value of the output at which the distributions differ most.
        distances: (outputs,) distance of each output.
    """

    index: int
    new: Literal["higher", "lower"]
    at: float
    distances: Float[np.ndarray, " outputs"]


class Unlike(NamedTuple):
    """Row numbers of the examples that look least like the other sample, the most telling first.

    Attributes:
        reference: (examples,) rows of the reference.
        new: (examples,) rows of the new sample.
    """

    reference: Int[np.ndarray, " examples"]
    new: Int[np.ndarray, " examples"]


@dataclass(frozen=True)
class TwoSample:
    """The result of a test of two samples.

    Attributes:
        method: name of the test: bbsd, mmd or classifier.
        statistic: the tested distance.
        p_value: probability of a distance at least as large where nothing differs.
        shifted: whether p_value < level.
        size: size of the shift in the unit of the method, with its 95% interval.
        detectable: the smallest shift that such samples show with a probability of 80%; infinite,
            or above 1, where they show none.
        what: what differs most: the output, or the examples.
        level: significance level of the test.
        counts: number of examples compared, of the reference and the new sample.
    """

    method: str
    statistic: float
    p_value: float
    shifted: bool
    size: Estimate
    detectable: float
    what: Output | Unlike
    level: float
    counts: tuple[int, int]
    _power: float = field(default=math.nan, repr=False, compare=False)

    __repr__ = display.text

    def __str__(self) -> str:
        verdict = "the two samples differ" if self.shifted else "no difference is shown"
        return (
            f"{verdict}: p = {self.p_value:.3g}, size {self.size}; with {self.counts[0]:,} and "
            f"{self.counts[1]:,} examples, a shift of size {self.detectable:.3g} or more is found "
            f"in {DETECTION_POWER:.0%} of cases"
        )

    @property
    def power(self) -> float:
        """Power at the observed size; deprecated, since it only restates the p-value.

        References:
            Hoenig & Heisey 2001, The abuse of power.
        """
        warnings.warn(
            "the power at the observed size only restates the p-value and is no longer reported; "
            "read detectable, the size that is found in 80% of cases",
            DeprecationWarning,
            stacklevel=2,
        )
        return self._power


def power(size: float, critical: float, error: float) -> float:
    """Compute the probability that an estimate exceeds the critical size.

    Args:
        size: the true size.
        critical: the critical size.
        error: standard error of the estimate.
    """
    return NormalDist().cdf((size - critical) / error) if error > 0 else float(size > critical)


def bbsd(a: np.ndarray, b: np.ndarray, key: Key[Array, ""], level: float) -> TwoSample:
    """Test whether any output differs in distribution (black-box shift detection).

    The statistic is the largest Kolmogorov-Smirnov distance of any output.

    Args:
        a: (examples,) or (examples, outputs) outputs on the reference.
        b: outputs on the new sample, likewise.
        key: JAX random key of permutations and bootstrap samples.
        level: significance level.

    Returns:
        The result of the test.
    """
    (n, m), rng = (len(a), len(b)), generator(key, "two_sample")
    pooled = np.concatenate([a, b]).reshape(n + m, -1)
    order = np.argsort(pooled, axis=0, kind="stable")
    values = np.take_along_axis(pooled, order, 0)
    last = np.ones(values.shape, bool)  # only the last of several equal values counts
    last[:-1] = values[1:] != values[:-1]
    # Distances times nm/g are whole numbers, so that equal distances compare equal.
    g = math.gcd(n, m)
    unit = g / (n * m)
    steps = np.repeat([m // g, -(n // g)], [n, m])
    gaps = [  # F_reference - F_new at each value
        np.cumsum(steps[rows])[ends] for rows, ends in zip(order.T, last.T, strict=True)
    ]
    distances = np.array([np.abs(gap).max() for gap in gaps])
    top = int(distances.argmax())
    null, band = _null_and_band((n, m), order, last, rng)
    size, reach = float(distances[top] * unit), float(np.quantile(band, LEVEL))
    rounded = 1.0 if null.dtype.kind == "i" else 1 - ROUNDING
    p = p_value(float(distances[top]) * rounded, null)
    critical = _critical_value(null, level) * unit
    place = int(np.abs(gaps[top]).argmax())
    at = float(values[last[:, top], top][place])
    below = [float((sample.reshape(len(sample), -1)[:, top] <= at).mean()) for sample in (a, b)]
    error = math.sqrt(below[0] * (1 - below[0]) / n + below[1] * (1 - below[1]) / m)
    # The place of another shift is not known. Shares vary most in the middle, so assume that.
    detectable = critical + NormalDist().inv_cdf(DETECTION_POWER) * math.sqrt(1 / n + 1 / m) / 2
    return TwoSample(
        method="bbsd",
        statistic=size,
        p_value=p,
        shifted=p < level,
        size=Estimate(size, max(0.0, size - reach), min(1.0, size + reach)),
        detectable=detectable,
        what=Output(top, "higher" if gaps[top][place] > 0 else "lower", at, distances * unit),
        level=level,
        counts=(n, m),
        _power=power(size, critical, error),
    )


def _null_and_band(
    counts: tuple[int, int],
    order: Int[np.ndarray, "examples outputs"],
    last: Bool[np.ndarray, "examples outputs"],
    rng: np.random.Generator,
) -> tuple[Shaped[np.ndarray, " draws"], Float[np.ndarray, " draws"]]:
    """Draw the largest distance of any output where examples are assigned to the samples at random,
    and by how much the differences of the distributions of bootstrap samples are off.

    Args:
        counts: the sizes n and m of the samples.
        order: the examples in the order of each output.
        last: whether a place in that order is the last of equal values.
        rng: random generator.

    Returns:
        The distances times nm/g, where g is the greatest common divisor, whole numbers as far as
        int32 holds them; and the largest amount of any output, as a difference of shares.
    """
    n, m = counts
    g, size = math.gcd(n, m), n + m
    kind = np.int32 if n * m // g < 2**31 else np.float32
    # an example of the reference adds m/g to a difference, and another one takes n/g from it
    both, less = np.full(size, size // g, kind), np.full(size, n // g, kind)
    share = np.repeat([1 / n, -1 / m], [n, m]).astype(np.float32)
    null, band = [], []
    for part in chunks(size, CELLS):
        draws = part.stop - part.start
        of_reference = (np.arange(size) < n).astype(np.uint8)
        assigned = rng.permuted(np.broadcast_to(of_reference, (draws, size)), axis=1)
        null.append(_largest_gaps(assigned, both, less, order, last))
        # how much more, or less, often than once each example is drawn
        drawn = np.concatenate([_times_drawn(count, draws, rng) for count in counts], 1)
        band.append(_largest_gaps(drawn, share, share, order, last))
    return np.concatenate(null), np.concatenate(band)


def _largest_gaps(
    drawn: UInt8[np.ndarray, "draws examples"],
    factor: Shaped[np.ndarray, " examples"],
    less: Shaped[np.ndarray, " examples"],
    order: Int[np.ndarray, "examples outputs"],
    last: Bool[np.ndarray, "examples outputs"],
) -> Shaped[np.ndarray, " draws"]:
    """Compute the largest absolute sum of drawn * factor - less over the first examples in the
    order of any output.
    """
    more = -len(order) % 2 ** max(4, len(order).bit_length() - 3)  # so few programs are compiled
    rows = np.pad(order, ((0, more), (0, 0))).astype(np.int32)
    ends = np.pad(last, ((0, more), (0, 0)))
    widths = (0, more)
    drawn = np.pad(np.ascontiguousarray(drawn.T), (widths, (0, 0)))
    return np.asarray(
        _scan(drawn, np.pad(factor, widths), np.pad(less, widths), rows, ends), factor.dtype
    )


@jax.jit
def _scan(
    drawn: UInt8[Array | np.ndarray, "examples draws"],
    factor: Shaped[Array | np.ndarray, " examples"],
    less: Shaped[Array | np.ndarray, " examples"],
    order: Int[Array | np.ndarray, "examples outputs"],
    last: Bool[Array | np.ndarray, "examples outputs"],
) -> Shaped[Array, " draws"]:
    drawn, factor, less = jnp.asarray(drawn), jnp.asarray(factor), jnp.asarray(less)
    places = jnp.asarray(order), jnp.asarray(last)

    def add(
        state: tuple[Array, Array, Array], place: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array, Array], None]:
        (sums, high, low), (rows, ends) = state, place
        steps = drawn[rows].astype(factor.dtype) * factor[rows, None] - less[rows, None]
        sums = sums + steps
        high = jnp.where(ends[:, None], jnp.maximum(high, sums), high)
        low = jnp.where(ends[:, None], jnp.minimum(low, sums), low)
        return (sums, high, low), None

    none = jnp.zeros((order.shape[1], drawn.shape[1]), factor.dtype)
    (_, high, low), _ = jax.lax.scan(add, (none, none, none), places)
    return jnp.maximum(high, -low).max(0)


def _times_drawn(
    size: int, draws: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "draws examples"]:
    """Draw how often each example is in a bootstrap sample.

    References:
        Efron 1979.
    """
    found = np.empty((draws, size), np.uint8)
    for each in found:
        each[:] = np.bincount(rng.integers(0, size, size, np.int32), minlength=size)
    return found


def chunks(examples: int, cells: int = 1_000_000) -> list[slice]:
    """Cut the draws into pieces of at most so many numbers, but of 16 draws at least."""
    step = max(16, min(RESAMPLES, cells // examples))
    return [slice(first, min(RESAMPLES, first + step)) for first in range(0, RESAMPLES, step)]


def p_value(observed: float, null: np.ndarray) -> float:
    """Compute the p-value of a statistic from its values under permutations.

    Args:
        observed: the statistic.
        null: (permutations,) its values under permutations.
    """
    return (1 + int((null >= observed).sum())) / (1 + len(null))


def _critical_value(null: np.ndarray, level: float) -> float:
    """Compute what the statistic has to exceed for a p-value below the level."""
    allowed = math.ceil(level * (1 + len(null))) - 2  # so many null values may exceed it
    return float(np.sort(null)[::-1][allowed]) if allowed >= 0 else math.inf


def mmd(
    a: np.ndarray, b: np.ndarray, key: Key[Array, ""], level: float, *, limit: int = KERNEL_LIMIT
) -> TwoSample:
    """Test whether inputs differ, by the maximum mean discrepancy with a Gaussian kernel.

    The kernel is as wide as the median distance. The statistic is the unbiased MMD^2.

    Args:
        a: (examples, ...) inputs of the reference.
        b: inputs of the new sample, likewise.
        key: JAX random key of permutations, bootstrap samples and the choice of examples.
        level: significance level.
        limit: number of examples that are compared; of more, a random part.

    Returns:
        The result of the test.

    References:
        Gretton et al. 2012, eq. 3, and corollary 16 (the variance of the statistic).
    """
    rng = generator(key, "two_sample")
    rows = [np.arange(len(a)), np.arange(len(b))]
    if len(a) + len(b) > limit:
        parts = [
            max(MIN_SAMPLE_SIZE, round(limit * len(sample) / (len(a) + len(b))))
            for sample in (a, b)
        ]
        rows = [
            np.sort(rng.permutation(len(sample))[:part])
            for sample, part in zip((a, b), parts, strict=True)
        ]
    n, m = len(rows[0]), len(rows[1])
    x = _standardized(np.concatenate([a[rows[0]], b[rows[1]]]))
    some = x if n + m <= WIDTH_EXAMPLES else x[rng.permutation(n + m)[:WIDTH_EXAMPLES]]
    squares = np.asarray(_squared_distances(some, some))[np.triu_indices(len(some), 1)]
    width = float(np.median(squares[squares > 0])) if (squares > 0).any() else 1.0
    of_b = (np.arange(n + m) >= n).astype(np.float32)
    signs = np.concatenate([np.full(n, 1 / n), np.full(m, -1 / m)]).astype(np.float32)
    permuted = rng.permuted(np.broadcast_to(of_b, (RESAMPLES, n + m)), axis=1)
    drawn = np.concatenate([_times_drawn(count, RESAMPLES, rng) for count in (n, m)], 1)
    drawn = (drawn - np.float32(1)) * signs
    vectors = np.concatenate([of_b[None], permuted, signs[None], drawn])
    pad = -(n + m) % KERNEL_ROWS
    forms, sums, witness = _kernel_sums(
        np.pad(x, ((0, pad), (0, 0))),
        np.pad(vectors, ((0, 0), (0, pad))),
        np.pad(np.ones(n + m, np.float32), (0, pad)),
        np.float32(width),
        jnp.int32(1 + RESAMPLES),
    )
    forms, sums, witness = (
        np.asarray(forms, np.float64),
        np.asarray(sums, np.float64),
        np.asarray(witness, np.float64)[: n + m],
    )
    total = sums[-1]
    within_b, between = forms[: 1 + RESAMPLES], sums[: 1 + RESAMPLES] - forms[: 1 + RESAMPLES]
    within_a = total - 2 * between - within_b
    values = within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * between / (n * m)
    statistic, null = float(values[0]), values[1:]
    # The kernel of an example with itself is 1. The constant that was subtracted from the other
    # values cancels where weights sum to 0.
    squared = np.concatenate([signs[None], drawn]).astype(np.float64) ** 2
    lengths = np.maximum(0.0, forms[1 + RESAMPLES :] + (1 - CENTER) * squared.sum(1))
    length, reach = math.sqrt(lengths[0]), float(np.quantile(np.sqrt(lengths[1:]), LEVEL))
    low, high = max(0.0, length - reach) ** 2, (length + reach) ** 2
    # values that differ only by rounding count as equal
    p, critical = (
        p_value(statistic - 1e-4 * float(null.std()), null),
        _critical_value(null, level),
    )
    # The variance has two parts: that of the null, and that of the witness function, which grows
    # with the size (Gretton et al. 2012, corollary 16).
    own = float(null.var())
    growing = 4 * (witness[:n].var() / n + witness[n:].var() / m) / max(lengths[0], 1e-12)
    z = NormalDist().inv_cdf(DETECTION_POWER)
    half = critical + z * z * growing / 2
    detectable = half + math.sqrt(max(0.0, half**2 - critical**2 + z * z * own))
    return TwoSample(
        method="mmd",
        statistic=statistic,
        p_value=p,
        shifted=p < level,
        size=Estimate(statistic, min(low, statistic), max(high, statistic)),
        detectable=detectable,
        what=Unlike(
            rows[0][np.argsort(-witness[:n], kind="stable")[:EXAMPLES_SHOWN]],
            rows[1][np.argsort(witness[n:], kind="stable")[:EXAMPLES_SHOWN]],
        ),
        level=level,
        counts=(n, m),
        _power=power(statistic, critical, math.sqrt(own + growing * max(0.0, statistic))),
    )


# The kernel's value at the median distance. It is subtracted from all values, which saves digits
# and changes no difference.
CENTER = math.exp(-0.5)


def _standardized(x: np.ndarray) -> Float[np.ndarray, "examples inputs"]:
    """Standardize the columns of a table; center images and divide them by one common deviation."""
    flat = x.reshape(len(x), -1).astype(np.float32)
    flat = flat - flat.mean(0, dtype=np.float64).astype(np.float32)
    spread = flat.std(0, dtype=np.float64) if x.ndim == 2 else flat.std(dtype=np.float64)
    return flat / np.where(spread > 0, spread, 1.0).astype(np.float32)


@jax.jit
def _squared_distances(
    x: Float[Array | np.ndarray, "a inputs"], y: Float[Array | np.ndarray, "b inputs"]
) -> Float[Array, "a b"]:
    x, y = jnp.asarray(x), jnp.asarray(y)
    products = jnp.einsum("ai,bi->ab", x, y, precision="highest")
    return jnp.maximum(0.0, (x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2 * products)


@jax.jit
def _kernel_sums(
    x: Float[Array | np.ndarray, "examples inputs"],
    vectors: Float[Array | np.ndarray, "vectors examples"],
    real: Float[Array | np.ndarray, " examples"],
    width: Float[Array | np.ndarray, ""] | np.floating,
    signs: Int[Array, ""],
) -> tuple[Float[Array, " vectors"], Float[Array, "..."], Float[Array, " examples"]]:
    """Compute v'Kv of each vector v, 1'Kv of each vector and of the vector 1, and Kv of vector
    number `signs`.

    K is the kernel minus its value at the median distance, and 0 between an example and itself. One
    block of rows of K is computed at a time.
    """
    x, vectors, real = jnp.asarray(x), jnp.asarray(vectors), jnp.asarray(real)
    places = jnp.arange(len(x), dtype=jnp.int32)

    def add(
        total: tuple[Array, Array, Array], first: Array
    ) -> tuple[tuple[Array, Array, Array], Array]:
        rows = jax.lax.dynamic_slice_in_dim(x, first, KERNEL_ROWS)
        apart = (first + jnp.arange(KERNEL_ROWS, dtype=jnp.int32))[:, None] != places[None]
        ours = jax.lax.dynamic_slice_in_dim(real, first, KERNEL_ROWS)
        kernel = (
            (jnp.exp(-_squared_distances(rows, x) / (2 * width)) - CENTER)
            * apart
            * real[None]
            * ours[:, None]
        )
        seen = kernel @ vectors.T  # (rows, vectors)
        mine = jax.lax.dynamic_slice_in_dim(vectors, first, KERNEL_ROWS, 1)
        forms, sums, everything = total
        return (
            forms + jnp.einsum("vr,rv->v", mine, seen),
            sums + seen.sum(0),
            everything + kernel.sum(),
        ), seen[:, signs]

    zeros, firsts = (
        jnp.zeros(len(vectors), jnp.float32),
        jnp.arange(0, len(x), KERNEL_ROWS, dtype=jnp.int32),
    )
    (forms, sums, everything), witness = jax.lax.scan(add, (zeros, zeros, jnp.float32(0)), firsts)
    return forms, jnp.concatenate([sums, everything[None]]), witness.reshape(-1)

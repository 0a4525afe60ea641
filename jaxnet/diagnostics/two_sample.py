"""Do two samples come from the same distribution? If not: how far apart, what differs, and what could have been found?

    bbsd         largest Kolmogorov-Smirnov distance of a network's outputs     permutations
    classifier   how well a network tells the two samples apart                 exact, on held-out examples
    mmd          distance of the means in the space of a Gaussian kernel        permutations

Every p-value holds at any sample size: where nothing differs, p < level at most as often as the level says.
"""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from numpy.typing import ArrayLike

from .. import admission
from ..data.precision import loses, moments, origin_of
from ..errors import InputError, check_known
from ..keys import AnyKey, as_key
from .intervals import LEVEL, Estimate, combination, exact

METHODS = ("bbsd", "classifier", "mmd")
STREAM = 0x25A3
DRAWS = 499  # permutations, and as many bootstraps
FOUND = 0.8  # the power that `detectable` has
FEWEST = 4  # examples a sample
UNLIKE = 20  # examples that are shown
NEIGHBOURS = 1000  # examples from which the width of the kernel is taken
ROWS = 512  # of the kernel, computed at once
KERNEL_LIMIT = 20_000  # examples of both samples that mmd compares; of more, a random part
STEPS, BATCH, HIDDEN = 300, 64, (64,)  # of the network that tells samples apart


class Output(NamedTuple):
    """The output that differs most. new: whether it is higher or lower than in the reference. at: where it differs most,
    as a value of the output. distances: (outputs,) of all of them.
    """

    index: int
    new: Literal["higher", "lower"]
    at: float
    distances: Float[np.ndarray, " outputs"]


class Unlike(NamedTuple):
    """Row numbers of the examples that look least like the other sample, most telling first."""

    reference: Int[np.ndarray, " examples"]
    new: Int[np.ndarray, " examples"]


@dataclass(frozen=True)
class TwoSample:
    """What a test of two samples found.

    statistic: what was tested. p_value: how often so much or more where nothing differs. shifted: p_value < level.
    size: of the shift, in the units of the method, with its 95% interval.
    power: with which probability samples of these sizes show a shift of the size seen.
    detectable: the smallest size that they show with a probability of 80%; infinite, or above 1, where they show none.
    counts: examples compared of reference and new.
    """

    method: str
    statistic: float
    p_value: float
    shifted: bool
    size: Estimate
    power: float
    detectable: float
    what: Output | Unlike
    level: float
    counts: tuple[int, int]

    def __str__(self) -> str:
        verdict = "the two samples differ" if self.shifted else "no difference is shown"
        return (
            f"{verdict}: p = {self.p_value:.3g}, size {self.size}, a power of {self.power:.0%}; "
            f"with {self.counts[0]:,} and {self.counts[1]:,} examples, sizes from {self.detectable:.3g} are found in {FOUND:.0%} of cases"
        )


def two_sample_test(
    reference: ArrayLike,
    new: ArrayLike,
    *,
    method: Literal["bbsd", "classifier", "mmd"] | str,
    key: AnyKey | None = None,
    level: float = 0.05,
) -> TwoSample:
    """Whether new examples come from the distribution of the reference.

    reference, new: (examples, ...) of the same kind. bbsd: outputs of a trained network, (examples,) or (examples, outputs);
    classifier, mmd: inputs, or anything else. key: of permutations, bootstraps and training; jax.random.key(0) if not given.

    bbsd (Lipton, Wang & Smola 2018; Rabanser, Guenther & Lipton 2019): statistic and size are the largest of the outputs'
    Kolmogorov-Smirnov distances. Its permutation distribution takes the place of Bonferroni's bound, which correlated
    outputs make too cautious. The interval is that of a bootstrapped band around the differences of all distributions.
    classifier (Lopez-Paz & Oquab 2016): the statistic is the share of held-out examples that a network puts into the right
    sample, a mean over samples; the size twice that less 1, a lower bound of the total variation. Tested by Fisher's exact
    test, with ties broken by the network's log-odds; the interval is of exact ones (MOVER). It speaks of this network:
    another may tell more.
    mmd (Gretton et al. 2012, eq. 3): statistic and size are the unbiased MMD^2 with a Gaussian kernel as wide as the median
    distance; inputs of one axis are put on one scale first. The interval is that of a bootstrapped ball around the difference
    of the means. Beyond 20,000 examples together, random parts of both are compared.
    power, detectable: the size is taken as normal, with the spread that the samples show; of a smaller or larger one, as a
    mixture of the two would have it.
    Raises InputError for samples that cannot be compared, and a level that no p-value is below: those of permutations are at
    least 1/500.
    """
    check_known("method", method, METHODS)
    a, b = _samples(reference, new, finite=method != "bbsd")
    least = 0.0 if method == "classifier" else 1 / (1 + DRAWS)  # p-values of permutations are not below that
    if not least < level < 1:
        raise InputError(f"level is {level!r}; give a probability between {least:g} and 1")
    key = jax.random.key(0) if key is None else as_key("key", key)
    test = {"bbsd": _bbsd, "classifier": _classifier, "mmd": _mmd}[method]
    return test(a, b, key, level)


def _samples(reference: ArrayLike, new: ArrayLike, *, finite: bool) -> tuple[np.ndarray, np.ndarray]:
    a, b = (
        admission.numbers(name, given, admission.EXAMPLES, infinite=not finite) for name, given in (("reference", reference), ("new", new))
    )
    for name, sample in (("reference", a), ("new", b)):
        if sample.ndim < 1 or len(sample) < FEWEST:
            raise InputError(f"{name} has shape {sample.shape}; give (examples, ...), at least {FEWEST} examples")
    if a.shape[1:] != b.shape[1:]:
        raise InputError(f"examples have shape {a.shape[1:]} in the reference and {b.shape[1:]} in the new sample; give the same kind")
    if 0 in a.shape:
        raise InputError(f"examples have shape {a.shape[1:]}, without any number; give some")
    return a, b


def _power(size: float, critical: float, error: float) -> float:
    """The probability to be above the critical size."""
    return NormalDist().cdf((size - critical) / error) if error > 0 else float(size > critical)


def _generator(key: Key[Array, ""]) -> np.random.Generator:
    """NumPy's; the last word keeps it apart from `default_rng(seed)`, with which others may have drawn the samples."""
    return np.random.default_rng([*(int(word) for word in np.asarray(jax.random.key_data(key)).ravel()), STREAM])


# Outputs of a network


def _bbsd(a: np.ndarray, b: np.ndarray, key: Key[Array, ""], level: float) -> TwoSample:
    (n, m), rng = (len(a), len(b)), _generator(key)
    pooled = np.concatenate([a, b]).reshape(n + m, -1)
    order = np.argsort(pooled, axis=0, kind="stable")
    values = np.take_along_axis(pooled, order, 0)
    last = np.ones(values.shape, bool)  # of equal values only the last one counts
    last[:-1] = values[1:] != values[:-1]
    columns = range(pooled.shape[1])
    ends = [np.flatnonzero(last[:, column]) for column in columns]

    def differences(weights: np.ndarray, column: int) -> np.ndarray:
        """F_reference - F_new at each value, for weights of examples (first axis): positive in one, negative in the other."""
        sums = np.cumsum(weights[order[:, column]], 0, weights.dtype)
        return sums if len(ends[column]) == n + m else sums[ends[column]]

    # Whole numbers, so that equal distances are equal: nm/g times the distance.
    g = math.gcd(n, m)
    steps = np.repeat([m // g, -(n // g)], [n, m]).astype(np.int64 if n * m // g > 2**31 - 1 else np.int32)
    unit = g / (n * m)
    gaps = [differences(steps, column) for column in columns]
    distances = np.array([np.abs(gap).max() for gap in gaps])
    null, band = np.zeros(DRAWS, np.int64), np.zeros(DRAWS)
    for part in _chunks(n + m):
        permuted = rng.permuted(np.broadcast_to(steps, (part.stop - part.start, n + m)), axis=1).T
        # How much more, or less, than once each example is drawn: what the differences of the distributions are off by.
        drawn = _drawn(n, m, part.stop - part.start, rng).T
        for column in columns:
            null[part] = np.maximum(null[part], np.abs(differences(permuted, column)).max(0))
            band[part] = np.maximum(band[part], np.abs(differences(drawn, column)).max(0))
    top = int(distances.argmax())
    size, reach = float(distances[top] * unit), float(np.quantile(band, LEVEL))
    p, critical = _p_value(float(distances[top]), null), _critical(null, level) * unit
    place = int(np.abs(gaps[top]).argmax())
    at = float(values[ends[top], top][place])
    below = [float((sample.reshape(len(sample), -1)[:, top] <= at).mean()) for sample in (a, b)]
    error = math.sqrt(below[0] * (1 - below[0]) / n + below[1] * (1 - below[1]) / m)
    # Of another shift the place is not known: in the middle shares spread most.
    detectable = critical + NormalDist().inv_cdf(FOUND) * math.sqrt(1 / n + 1 / m) / 2
    return TwoSample(
        method="bbsd",
        statistic=size,
        p_value=p,
        shifted=p < level,
        size=Estimate(size, max(0.0, size - reach), min(1.0, size + reach)),
        power=_power(size, critical, error),
        detectable=detectable,
        what=Output(top, "higher" if gaps[top][place] > 0 else "lower", at, distances * unit),
        level=level,
        counts=(n, m),
    )


def _chunks(examples: int) -> list[slice]:
    """Draws to hold at once: few enough for some MB."""
    step = max(16, min(DRAWS, 1_000_000 // examples))
    return [slice(first, min(DRAWS, first + step)) for first in range(0, DRAWS, step)]


def _drawn(n: int, m: int, count: int, rng: np.random.Generator) -> Float[np.ndarray, "draws examples"]:
    """Bootstraps of both samples less the samples, as weights: those of the new one are negative (Efron 1979)."""
    counts = [rng.multinomial(size, np.full(size, 1 / size), count) for size in (n, m)]
    return np.concatenate([(counts[0] - 1) / n, (1 - counts[1]) / m], 1).astype(np.float32)


def _p_value(observed: float, null: np.ndarray) -> float:
    return (1 + int((null >= observed).sum())) / (1 + len(null))


def _critical(null: np.ndarray, level: float) -> float:
    """What has to be exceeded for a p-value below the level."""
    allowed = math.ceil(level * (1 + len(null))) - 2  # as many of the null may reach it
    return float(np.sort(null)[::-1][allowed]) if allowed >= 0 else math.inf


# A network that tells the samples apart


def _classifier(a: np.ndarray, b: np.ndarray, key: Key[Array, ""], level: float) -> TwoSample:
    (n, m), rng = (len(a), len(b)), _generator(key)
    orders = [rng.permutation(n), rng.permutation(m)]
    halves = [(order[: len(order) // 2], order[len(order) // 2 :]) for order in orders]
    scores = _scores([a[halves[0][0]], b[halves[1][0]]], np.concatenate([a[halves[0][1]], b[halves[1][1]]]), key)
    held = len(halves[0][1]), len(halves[1][1])
    of_a, of_b = scores[: held[0]], scores[held[0] :]
    false, true = int((of_a > 0).sum()), int((of_b > 0).sum())
    p = _exact(of_a, of_b, rng)
    apart = combination([1.0, -1.0], [exact(true, held[1]), exact(false, held[0])])
    chance = (false + true) / sum(held)
    z = NormalDist().inv_cdf(1 - level)
    own = math.sqrt(chance * (1 - chance) * sum(1 / count for count in held))
    rates = true / held[1], false / held[0]
    error = math.sqrt(sum(rate * (1 - rate) / count for rate, count in zip(rates, reversed(held), strict=True)))
    scale = math.sqrt(sum(1 / count for count in held)) / 2  # spread of a difference of shares about a half
    least, sure = z * scale, NormalDist().inv_cdf(FOUND) * scale
    # size = least + sure sqrt(1 - size^2), solved for size
    detectable = (least + sure * math.sqrt(max(0.0, 1 + sure**2 - least**2))) / (1 + sure**2)
    size = replace(apart, low=max(-1.0, apart.low), high=min(1.0, apart.high))
    return TwoSample(
        method="classifier",
        statistic=(1 + apart.estimate) / 2,
        p_value=p,
        shifted=p < level,
        size=size,
        power=_power(apart.estimate, z * own, error),
        detectable=detectable if least < 1 else math.inf,
        what=Unlike(halves[0][1][np.argsort(of_a, kind="stable")[:UNLIKE]], halves[1][1][np.argsort(-of_b, kind="stable")[:UNLIKE]]),
        level=level,
        counts=(n, m),
    )


def _exact(of_a: np.ndarray, of_b: np.ndarray, rng: np.random.Generator) -> float:
    """How often random labels agree as well with what is called new, or better (Fisher 1935).

    Counts tie often, which makes the test too cautious; of equal ones, the one counts as better whose new examples have the
    larger log-odds together. Their share is found by permutations within what is called new and what is not.
    """
    from scipy.stats import hypergeom

    called, true = int((of_a > 0).sum() + (of_b > 0).sum()), int((of_b > 0).sum())
    table = len(of_a) + len(of_b), len(of_b), called
    pooled, total = np.concatenate([of_a, of_b]), np.zeros(DRAWS)
    for scores, chosen in ((pooled[pooled > 0], true), (pooled[pooled <= 0], len(of_b) - true)):
        for part in _chunks(len(pooled)):
            shuffled = rng.permuted(np.broadcast_to(scores, (part.stop - part.start, len(scores))), axis=1)
            total[part] += shuffled[:, :chosen].sum(1)
    rounding = 1e-9 * float(np.abs(pooled).sum())  # sums in another order are still equal
    better, equal = float(hypergeom.sf(true, *table)), float(hypergeom.pmf(true, *table))
    return min(1.0, better + equal * _p_value(float(of_b.sum()) - rounding, total))


def _scores(samples: list[np.ndarray], unseen: np.ndarray, key: Key[Array, ""]) -> Float[np.ndarray, " unseen"]:
    """How much likelier each unseen example is to a network to come from the second sample: log-odds."""
    # `evaluation` needs the diagnostics, so they cannot need it while they are imported.
    from ..data import Dataset, Splits, Standardisation, class_weights
    from ..data.checks import settled
    from ..evaluation import predict
    from ..models import mlp
    from ..recipe import Recipe
    from ..training import fit

    kinds = ("reference", "new")
    x = np.concatenate(samples).reshape(-1, *(samples[0].shape[1:] or (1,)))
    train = settled(Dataset(x, np.repeat(np.arange(2, dtype=np.int32), [len(sample) for sample in samples]), kinds))
    none = Dataset(train.x[:0], train.y[:0], kinds)
    splits = Splits(train, none, none, Standardisation.of(train))
    steps = -(-len(x) // BATCH)
    recipe = Recipe(
        epochs=max(3, -(-STEPS // steps)), batch_size=BATCH, learning_rate=3e-3, schedule="one_cycle", optimizer="adamw",
        weight_decay=1e-2, dropout=0.2,
    )  # fmt: skip
    model = mlp(HIDDEN)
    run = fit(model, splits, recipe, key, weights=np.asarray(class_weights(train)))
    outputs = np.asarray(predict(model, run, unseen.reshape(len(unseen), *x.shape[1:])), np.float64)
    return np.nan_to_num(outputs[:, 1] - outputs[:, 0])


# Means in the space of a kernel


def _mmd(a: np.ndarray, b: np.ndarray, key: Key[Array, ""], level: float) -> TwoSample:
    rng = _generator(key)
    rows = [np.arange(len(a)), np.arange(len(b))]
    if len(a) + len(b) > KERNEL_LIMIT:
        parts = [max(FEWEST, round(KERNEL_LIMIT * len(sample) / (len(a) + len(b)))) for sample in (a, b)]
        rows = [np.sort(rng.permutation(len(sample))[:part]) for sample, part in zip((a, b), parts, strict=True)]
    n, m = len(rows[0]), len(rows[1])
    x = _on_one_scale(np.concatenate([a[rows[0]], b[rows[1]]]))
    some = x if n + m <= NEIGHBOURS else x[rng.permutation(n + m)[:NEIGHBOURS]]
    squares = np.asarray(_squared_distances(some, some))[np.triu_indices(len(some), 1)]
    width = float(np.median(squares[squares > 0])) if (squares > 0).any() else 1.0
    of_b = (np.arange(n + m) >= n).astype(np.float32)
    signs = np.concatenate([np.full(n, 1 / n), np.full(m, -1 / m)]).astype(np.float32)
    permuted = rng.permuted(np.broadcast_to(of_b, (DRAWS, n + m)), axis=1)
    drawn = _drawn(n, m, DRAWS, rng)
    vectors = np.concatenate([of_b[None], permuted, signs[None], drawn])
    pad = -(n + m) % ROWS
    forms, sums, witness = _forms(
        np.pad(x, ((0, pad), (0, 0))), np.pad(vectors, ((0, 0), (0, pad))), np.pad(np.ones(n + m, np.float32), (0, pad)),
        np.float32(width), jnp.int32(1 + DRAWS),
    )  # fmt: skip
    forms, sums, witness = np.asarray(forms, np.float64), np.asarray(sums, np.float64), np.asarray(witness, np.float64)[: n + m]
    total = sums[-1]
    within_b, between = forms[: 1 + DRAWS], sums[: 1 + DRAWS] - forms[: 1 + DRAWS]
    within_a = total - 2 * between - within_b
    values = within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * between / (n * m)
    statistic, null = float(values[0]), values[1:]
    # The kernel of an example with itself is 1; the constant that was taken from the others cancels where weights sum to 0.
    squared = np.concatenate([signs[None], drawn]).astype(np.float64) ** 2
    lengths = np.maximum(0.0, forms[1 + DRAWS :] + (1 - CENTRE) * squared.sum(1))
    length, reach = math.sqrt(lengths[0]), float(np.quantile(np.sqrt(lengths[1:]), LEVEL))
    low, high = max(0.0, length - reach) ** 2, (length + reach) ** 2
    p, critical = _p_value(statistic - 1e-4 * float(null.std()), null), _critical(null, level)  # equal but for rounding is equal
    # Variance: of the null, and, in proportion to the size, of the witness (Gretton et al. 2012, corollary 16).
    own = float(null.var())
    growing = 4 * (witness[:n].var() / n + witness[n:].var() / m) / max(lengths[0], 1e-12)
    z = NormalDist().inv_cdf(FOUND)
    half = critical + z * z * growing / 2
    detectable = half + math.sqrt(max(0.0, half**2 - critical**2 + z * z * own))
    return TwoSample(
        method="mmd",
        statistic=statistic,
        p_value=p,
        shifted=p < level,
        size=Estimate(statistic, min(low, statistic), max(high, statistic)),
        power=_power(statistic, critical, math.sqrt(own + growing * max(0.0, statistic))),
        detectable=detectable,
        what=Unlike(rows[0][np.argsort(-witness[:n], kind="stable")[:UNLIKE]], rows[1][np.argsort(witness[n:], kind="stable")[:UNLIKE]]),
        level=level,
        counts=(n, m),
    )


CENTRE = math.exp(-0.5)  # of the kernel's values, at the median distance: taken from them, which saves digits and changes no difference


def _on_one_scale(x: np.ndarray) -> Float[np.ndarray, "examples inputs"]:
    """Columns of a table with mean 0 and standard deviation 1; images as they are, but around their mean."""
    origin = origin_of(moments(x)) if loses(x) else None
    flat = (x if origin is None else origin.nearest(x)).reshape(len(x), -1).astype(np.float32)
    flat = flat - flat.mean(0, dtype=np.float64).astype(np.float32)
    spread = flat.std(0, dtype=np.float64) if x.ndim == 2 else flat.std(dtype=np.float64)
    return flat / np.where(spread > 0, spread, 1.0).astype(np.float32)


@jax.jit
def _squared_distances(x: Float[Array | np.ndarray, "a inputs"], y: Float[Array | np.ndarray, "b inputs"]) -> Float[Array, "a b"]:
    x, y = jnp.asarray(x), jnp.asarray(y)
    products = jnp.einsum("ai,bi->ab", x, y, precision="highest")
    return jnp.maximum(0.0, (x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2 * products)


@jax.jit
def _forms(
    x: Float[Array | np.ndarray, "examples inputs"],
    vectors: Float[Array | np.ndarray, "vectors examples"],
    real: Float[Array | np.ndarray, " examples"],
    width: Float[Array | np.ndarray, ""] | np.floating,
    signs: Int[Array, ""],
) -> tuple[Float[Array, " vectors"], Float[Array, "..."], Float[Array, " examples"]]:
    """(v'Kv of each vector, 1'Kv of each and of the vector 1, Kv of vector number `signs`), a block of rows of K at a time.

    K is the kernel less its value at the median distance, 0 between an example and itself.
    """
    x, vectors, real = jnp.asarray(x), jnp.asarray(vectors), jnp.asarray(real)
    places = jnp.arange(len(x), dtype=jnp.int32)

    def add(total: tuple[Array, Array, Array], first: Array) -> tuple[tuple[Array, Array, Array], Array]:
        rows = jax.lax.dynamic_slice_in_dim(x, first, ROWS)
        apart = (first + jnp.arange(ROWS, dtype=jnp.int32))[:, None] != places[None]
        ours = jax.lax.dynamic_slice_in_dim(real, first, ROWS)
        kernel = (jnp.exp(-_squared_distances(rows, x) / (2 * width)) - CENTRE) * apart * real[None] * ours[:, None]
        seen = kernel @ vectors.T  # (rows, vectors)
        mine = jax.lax.dynamic_slice_in_dim(vectors, first, ROWS, 1)
        forms, sums, everything = total
        return (forms + jnp.einsum("vr,rv->v", mine, seen), sums + seen.sum(0), everything + kernel.sum()), seen[:, signs]

    zeros, firsts = jnp.zeros(len(vectors), jnp.float32), jnp.arange(0, len(x), ROWS, dtype=jnp.int32)
    (forms, sums, everything), witness = jax.lax.scan(add, (zeros, zeros, jnp.float32(0)), firsts)
    return forms, jnp.concatenate([sums, everything[None]]), witness.reshape(-1)

"""Do two samples come from the same distribution? If not: how far apart, what differs, and what
could have been found?

    bbsd         largest Kolmogorov-Smirnov distance of a network's outputs     permutations
    classifier   how well a network tells the two samples apart                 held-out examples
    mmd          distance of the means in the space of a Gaussian kernel        permutations

Every p-value holds at any sample size: where nothing differs, p < level at most as often as the
level says. Only the classifier test trains a network.
"""

import math
from dataclasses import replace
from statistics import NormalDist
from typing import Literal

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from jaxnet import arrays
from jaxnet.data.precision import loses_precision, moments, origin_of
from jaxnet.errors import InputError, check_known
from jaxnet.random import AnyKey, as_key, generator
from jaxnet.stats.estimate import combination, exact
from jaxnet.stats.two_sample import (
    DETECTION_POWER,
    EXAMPLES_SHOWN,
    MIN_SAMPLE_SIZE,
    RESAMPLES,
    TwoSample,
    Unlike,
    bbsd,
    chunks,
    mmd,
    p_value,
    power,
)
from jaxnet.typing import ArrayLike

METHODS = ("bbsd", "classifier", "mmd")
CLASSIFIER_STEPS, BATCH, HIDDEN = 300, 64, (64,)  # of the network that tells the samples apart


def two_sample_test(
    reference: ArrayLike,
    new: ArrayLike,
    *,
    method: Literal["bbsd", "classifier", "mmd"] | str,
    key: AnyKey | None = None,
    level: float = 0.05,
) -> TwoSample:
    """Test whether new examples come from the distribution of the reference.

    bbsd: statistic and size are the largest Kolmogorov-Smirnov distance of any output. Its
    permutation distribution replaces Bonferroni's bound, which is too cautious for correlated
    outputs. The interval is that of a bootstrapped band around the differences of all distribution
    functions.

    classifier: the statistic is the share of held-out examples that a network assigns to the right
    sample, averaged over both samples; the size is twice that minus 1, a lower bound of the total
    variation distance. It is tested by Fisher's exact test, with ties broken by the network's
    log-odds; the interval combines exact ones (MOVER). It holds for this network: another one may
    find more.

    mmd: statistic and size are the unbiased MMD^2 with a Gaussian kernel as wide as the median
    distance; the columns of a table are standardized first. The interval is that of a bootstrapped
    ball around the difference of the means. Beyond 20,000 examples in total, random parts of both
    samples are compared.

    For the detectable size, the size is taken as normal with the spread that the samples show; for
    a smaller or larger size, with the spread that a mixture of the two samples would have.

    Args:
        reference: (examples, ...) for bbsd the outputs of a trained network, (examples,) or
            (examples, outputs); for classifier and mmd inputs, or anything else.
        new: (examples, ...) the same kind of values of the new sample.
        method: bbsd, classifier or mmd.
        key: JAX random key of permutations, bootstrap samples and training; `jax.random.key(0)` by
            default.
        level: significance level; 0.05 by default.

    Returns:
        The result of the test.

    Raises:
        InputError: for samples that cannot be compared, and for a level that no p-value can be
            below: those of permutations are at least 1/500.

    References:
        bbsd: Lipton, Wang & Smola 2018; Rabanser, Guenther & Lipton 2019. classifier: Lopez-Paz &
        Oquab 2016. mmd: Gretton et al. 2012, eq. 3.
    """
    check_known("method", method, METHODS)
    a, b = _samples(reference, new, finite=method != "bbsd")
    # the smallest p-value that permutations can give
    least = 0.0 if method == "classifier" else 1 / (1 + RESAMPLES)
    if not least < level < 1:
        raise InputError(f"level is {level!r}; give a probability between {least:g} and 1")
    key = jax.random.key(0) if key is None else as_key("key", key)
    if method == "mmd" and loses_precision(both := np.concatenate([a, b])):
        both = origin_of(moments(both)).nearest(both)  # pyrefly: ignore[missing-attribute]
        a, b = both[: len(a)], both[len(a) :]
    test = {"bbsd": bbsd, "classifier": _classifier, "mmd": mmd}[method]
    return test(a, b, key, level)


def _samples(
    reference: ArrayLike, new: ArrayLike, *, finite: bool
) -> tuple[np.ndarray, np.ndarray]:
    a, b = (
        arrays.numbers(name, given, arrays.EXAMPLE_AXES, infinite=not finite)
        for name, given in (("reference", reference), ("new", new))
    )
    for name, sample in (("reference", a), ("new", b)):
        if sample.ndim < 1 or len(sample) < MIN_SAMPLE_SIZE:
            raise InputError(
                f"{name} has shape {sample.shape}; give (examples, ...), at least "
                f"{MIN_SAMPLE_SIZE} examples"
            )
    if a.shape[1:] != b.shape[1:]:
        raise InputError(
            f"examples have shape {a.shape[1:]} in the reference and {b.shape[1:]} in the new "
            "sample; give the same kind"
        )
    if 0 in a.shape:
        raise InputError(f"examples have shape {a.shape[1:]}, without any number; give some")
    return a, b


def _classifier(a: np.ndarray, b: np.ndarray, key: Key[Array, ""], level: float) -> TwoSample:
    (n, m), rng = (len(a), len(b)), generator(key, "two_sample")
    orders = [rng.permutation(n), rng.permutation(m)]
    halves = [(order[: len(order) // 2], order[len(order) // 2 :]) for order in orders]
    scores = _held_out_log_odds(
        [a[halves[0][0]], b[halves[1][0]]], np.concatenate([a[halves[0][1]], b[halves[1][1]]]), key
    )
    held = len(halves[0][1]), len(halves[1][1])
    of_a, of_b = scores[: held[0]], scores[held[0] :]
    false, true = int((of_a > 0).sum()), int((of_b > 0).sum())
    p = fisher_p_value(of_a, of_b, rng)
    apart = combination([1.0, -1.0], [exact(true, held[1]), exact(false, held[0])])
    chance = (false + true) / sum(held)
    z = NormalDist().inv_cdf(1 - level)
    own = math.sqrt(chance * (1 - chance) * sum(1 / count for count in held))
    rates = true / held[1], false / held[0]
    error = math.sqrt(
        sum(rate * (1 - rate) / count for rate, count in zip(rates, reversed(held), strict=True))
    )
    # standard error of a difference of two shares near 1/2
    scale = math.sqrt(sum(1 / count for count in held)) / 2
    least, sure = z * scale, NormalDist().inv_cdf(DETECTION_POWER) * scale
    # size = least + sure sqrt(1 - size^2), solved for size
    detectable = (least + sure * math.sqrt(max(0.0, 1 + sure**2 - least**2))) / (1 + sure**2)
    size = replace(apart, low=max(-1.0, apart.low), high=min(1.0, apart.high))
    return TwoSample(
        method="classifier",
        statistic=(1 + apart.estimate) / 2,
        p_value=p,
        shifted=p < level,
        size=size,
        detectable=detectable if least < 1 else math.inf,
        what=Unlike(
            halves[0][1][np.argsort(of_a, kind="stable")[:EXAMPLES_SHOWN]],
            halves[1][1][np.argsort(-of_b, kind="stable")[:EXAMPLES_SHOWN]],
        ),
        level=level,
        counts=(n, m),
        _power=power(apart.estimate, z * own, error),
    )


def fisher_p_value(of_a: np.ndarray, of_b: np.ndarray, rng: np.random.Generator) -> float:
    """Compute how often random labels agree with the predicted samples at least as well (Fisher's
    exact test).

    Counts tie often, which makes the test too cautious. Of equal counts, the one counts as better
    whose new examples have the larger sum of log-odds; the share of those is found by permutations
    within the examples that are predicted new and within the others.

    Args:
        of_a: (examples,) log-odds with which the classifier calls examples of the reference new.
        of_b: (examples,) the same of the new sample.
        rng: random generator of the permutations.

    Returns:
        The p-value.

    References:
        Fisher 1935.
    """
    from scipy.stats import hypergeom

    called, true = int((of_a > 0).sum() + (of_b > 0).sum()), int((of_b > 0).sum())
    table = len(of_a) + len(of_b), len(of_b), called
    pooled, total = np.concatenate([of_a, of_b]), np.zeros(RESAMPLES)
    for scores, chosen in ((pooled[pooled > 0], true), (pooled[pooled <= 0], len(of_b) - true)):
        for part in chunks(len(pooled)):
            shuffled = rng.permuted(
                np.broadcast_to(scores, (part.stop - part.start, len(scores))), axis=1
            )
            total[part] += shuffled[:, :chosen].sum(1)
    rounding = 1e-9 * float(np.abs(pooled).sum())  # sums that differ only in order count as equal
    better, equal = float(hypergeom.sf(true, *table)), float(hypergeom.pmf(true, *table))
    return min(1.0, better + equal * p_value(float(of_b.sum()) - rounding, total))


def _held_out_log_odds(
    samples: list[np.ndarray], unseen: np.ndarray, key: Key[Array, ""]
) -> Float[np.ndarray, " unseen"]:
    """Train a network to tell the samples apart; return its log-odds that each unseen example comes
    from the second one.
    """
    # The other tests need no network: training and the models are imported only here.
    from jaxnet.core.recipe import Recipe
    from jaxnet.data import Dataset, Splits, Standardization, class_weights
    from jaxnet.data.checks import in_storage_types
    from jaxnet.engine.fit import fit
    from jaxnet.engine.prediction import predict
    from jaxnet.models.builtin import mlp

    kinds = ("reference", "new")
    x = np.concatenate(samples).reshape(-1, *(samples[0].shape[1:] or (1,)))
    train = in_storage_types(
        Dataset(
            x, np.repeat(np.arange(2, dtype=np.int32), [len(sample) for sample in samples]), kinds
        )
    )
    none = Dataset(train.x[:0], train.y[:0], kinds)
    splits = Splits(train, none, none, Standardization.of(train))
    steps = -(-len(x) // BATCH)
    recipe = Recipe(
        epochs=max(3, -(-CLASSIFIER_STEPS // steps)),
        batch_size=BATCH,
        learning_rate=3e-3,
        schedule="one_cycle",
        optimizer="adamw",
        weight_decay=1e-2,
        dropout=0.2,
    )
    model = mlp(HIDDEN)
    run = fit(model, splits, recipe, key, weights=np.asarray(class_weights(train)))
    outputs = np.asarray(predict(model, run, unseen.reshape(len(unseen), *x.shape[1:])), np.float64)
    return np.nan_to_num(outputs[:, 1] - outputs[:, 0])

"""How often do the 95% intervals of jaxnet.diagnostics hold the truth?

    python -m experiments.benchmarks.coverage [--studies 1000] [--processes 2]

Studies drawn from known worlds. `crossed`: C classes, members of different quality, examples of
different difficulty, noise of both; the truth is the mean over endless members and examples, of a
vote (zero_one) over endless votes of as many members.
`pool`: ridge regression and the nearest class mean, trained on the parts of partitions of a pool
that each study draws anew; the truth is that of independent training sets of a part's size. `ok`:
the 99.9% binomial interval of the coverage meets what is promised: 93 to 97%, at least 90% with
skewed members, at least 93% where an estimator is conservative.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np

from jaxnet.diagnostics import (
    Estimate,
    bias_variance_decomposition,
    error_of,
    exact,
    paired_difference,
    sample_and_seed_variance,
)
from jaxnet.stats.bias_variance import Loss
from jaxnet.stats.random_effects import (
    MIN_ERROR_EXAMPLES,
    MIN_MEMBERS,
    MIN_PAIRED_MEMBERS,
    RATE,
    contrast,
    interval,
    table,
)

CLASSES = 4
SMALLER = 0.7  # times the margins, of the worse recipe of a pair
SIZES = ((16, 200), (32, 500), (64, 2000))
PARTS, REPEATS, POOL = 4, 4, 400


class World(NamedTuple):
    """margin: mean advantage of the right class; spread: over examples; member, noise: standard
    deviations; skewed: a few bad runs.
    """

    margin: float
    spread: float
    member: float
    noise: float
    skewed: bool = False


WORLDS = {
    "easy": World(3.0, 2.0, 0.3, 1.0),
    "skewed members": World(3.0, 2.0, 0.2, 1.0, skewed=True),
    "low error": World(7.0, 2.0, 0.3, 1.0),
}


def qualities(world: World, quantiles: np.ndarray) -> np.ndarray:
    """Of members, at these places of their distribution."""
    from scipy.special import ndtri

    if not world.skewed:
        return world.member * ndtri(quantiles)
    bad = quantiles < 0.15
    place = np.where(bad, quantiles / 0.15, (quantiles - 0.15) / 0.85)
    return world.member * ndtri(np.clip(place, 1e-9, 1 - 1e-9)) - 2.0 * bad


def log_probabilities(
    world: World, quality: np.ndarray, margin: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(members, examples, classes); the right class is 0."""
    z = world.noise * rng.standard_normal((len(quality), len(margin), CLASSES), dtype=np.float32)
    z[..., 0] += (quality[:, None] + margin).astype(np.float32)
    z -= z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def world_margins(world: World, quantiles: np.ndarray) -> np.ndarray:
    """Of examples, at these places of their distribution."""
    from scipy.special import ndtri

    return world.margin + world.spread * ndtri(quantiles)


def crossed(world: World, members: int, examples: int, rng: np.random.Generator) -> np.ndarray:
    """The log-probabilities of one study."""
    return log_probabilities(
        world,
        qualities(world, rng.random(members)),
        world_margins(world, rng.random(examples)),
        rng,
    )


def squared_values(world: World, log_p: np.ndarray) -> np.ndarray:
    """Values of a regression whose label is 0: what the other classes are given, times 3."""
    return 3 * (1 - np.exp(log_p[..., 0]))


LOSSES: tuple[Loss, ...] = (
    "squared",
    "brier",
    "zero_one_kohavi_wolpert",
    "cross_entropy",
    "zero_one",
)


def statistics(
    world: World, log_p: np.ndarray, losses: Sequence[Loss]
) -> Iterator[tuple[str, Estimate]]:
    """The estimates of a study, by name."""
    labels = np.zeros(log_p.shape[1], np.int64)
    for loss in losses:
        given = squared_values(world, log_p) if loss == "squared" else log_p
        found = bias_variance_decomposition(
            given, labels.astype(float) if loss == "squared" else labels, loss=loss
        )
        for name in ("loss", "bias", "variance", *(["net_variance"] if loss == "zero_one" else [])):
            if (loss, name) != ("zero_one", "loss"):
                yield f"{loss}: {name}", getattr(found, name)


def truths(world: World, members: int, many: int = 4000, votes: int = 200) -> dict[str, float]:
    """What the estimates are of. Examples on a fine grid, and members drawn in their thousands."""
    rng, grid = np.random.default_rng(9), 1000
    margins = world_margins(world, (np.arange(grid) + 0.5) / grid)
    log_p = log_probabilities(
        world, qualities(world, (rng.permutation(many) + 0.5) / many), margins, rng
    )
    truth = {name: value.estimate for name, value in statistics(world, log_p, LOSSES[:4])}
    again = log_probabilities(
        world, qualities(world, (rng.permutation(many) + 0.5) / many), SMALLER * margins, rng
    )
    truth["worse"] = float((again.argmax(-1) != 0).mean()) - truth["zero_one_kohavi_wolpert: loss"]
    drawn = []
    for _ in range(votes):
        draw = log_probabilities(world, qualities(world, rng.random(members)), margins, rng)
        vote = bias_variance_decomposition(draw, np.zeros(grid, np.int64), loss="zero_one")
        drawn.append(
            [
                vote.bias.estimate,
                vote.variance.estimate,
                vote.net_variance.estimate if vote.net_variance else 0.0,
            ]
        )
    return truth | dict(
        zip(
            ("zero_one: bias", "zero_one: variance", "zero_one: net_variance"),
            np.mean(drawn, 0),
            strict=True,
        )
    )


Key = tuple[str, str, int, int]  # world, statistic, members, examples
Counts = dict[Key, list[float]]  # intervals given, of them with the truth, studies, the truth


def note(counts: Counts, key: Key, found: Estimate, truth: float) -> None:
    """Count whether an interval holds the truth."""
    row = counts.setdefault(key, [0, 0, 0, truth])
    row[0] += found.refused is None
    row[1] += found.low <= truth <= found.high
    row[2] += 1


def worse(
    world: World, wrong: np.ndarray, margins: np.ndarray, rng: np.random.Generator
) -> Estimate:
    """What a recipe with smaller margins errs more often on the same examples."""
    other = log_probabilities(
        world, qualities(world, rng.random(len(wrong))), SMALLER * margins, rng
    )
    return paired_difference(other.argmax(-1) != 0, wrong)


def study_smallest(name: str, studies: int, seed: int, truth: dict[str, float]) -> Counts:
    """Studies of errors, and of their differences, of the fewest members and examples."""
    world, rng, counts = WORLDS[name], np.random.default_rng([seed, 5]), Counts()
    for _ in range(studies):
        wrong = crossed(world, MIN_MEMBERS, MIN_ERROR_EXAMPLES, rng).argmax(-1) != 0
        note(
            counts,
            (name, "error", MIN_MEMBERS, MIN_ERROR_EXAMPLES),
            error_of(wrong),
            truth["zero_one_kohavi_wolpert: loss"],
        )
        margins = world_margins(world, rng.random(MIN_ERROR_EXAMPLES))
        a = (
            log_probabilities(
                world, qualities(world, rng.random(MIN_PAIRED_MEMBERS)), margins, rng
            ).argmax(-1)
            != 0
        )
        note(
            counts,
            (name, "paired difference", MIN_PAIRED_MEMBERS, MIN_ERROR_EXAMPLES),
            worse(world, a, margins, rng),
            truth["worse"],
        )
    return counts


def study_samples(shared: float, samples: int, examples: int, studies: int, seed: int) -> Counts:
    """Studies of four seeds on each of some samples, with variances 0.25 and 0.64, and more that
    all examples share.
    """
    rng, counts = np.random.default_rng([seed, 6]), Counts()
    name = "samples x seeds" + (", skewed" if shared else "")
    truth = {
        "loss": 1.89 + 2 * shared**2,
        "bias": 1.0,
        "sample": 0.25 + shared**2,
        "seed": 0.64 + shared**2,
    }
    for _ in range(studies):
        sample = 0.5 * rng.standard_normal((samples, 1, examples)) + shared * rng.standard_normal(
            (samples, 1, 1)
        )
        seeds = 0.8 * rng.standard_normal((samples, 4, examples)) + shared * rng.standard_normal(
            (samples, 4, 1)
        )
        found = sample_and_seed_variance(
            rng.standard_normal(examples) + sample + seeds, np.zeros(examples), loss="squared"
        )
        for part, value in truth.items():
            note(counts, (name, f"squared: {part}", samples, examples), getattr(found, part), value)
    return counts


def study_crossed(
    name: str, members: int, examples: int, studies: int, seed: int, truth: dict[str, float]
) -> Counts:
    """Some studies of a world."""
    world, rng, counts = WORLDS[name], np.random.default_rng([seed, members]), Counts()
    for _ in range(studies):
        log_p = crossed(world, members, examples, rng)
        labels = np.zeros(examples, np.int64)
        for statistic, found in statistics(world, log_p, LOSSES):
            note(counts, (name, statistic, members, examples), found, truth[statistic])
        # Two recipes of the same members' luck on the same examples, and a gap between two sets of
        # examples.
        quality = qualities(world, rng.random(members))
        first, second = (world_margins(world, rng.random(examples)) for _ in range(2))
        a, c = (
            log_probabilities(world, quality, margin, rng).argmax(-1) != 0
            for margin in (first, second)
        )
        note(
            counts,
            (name, "paired difference", members, examples),
            worse(world, a, first, rng),
            truth["worse"],
        )
        gap = contrast({"a": table(a, RATE), "c": table(c, RATE)}, {"a": 1.0, "c": -1.0})
        note(counts, (name, "gap", members, examples), interval(gap), 0.0)
        seen = rng.random((members, examples)) < 0.632
        bagged = bias_variance_decomposition(
            log_p, labels, loss="brier", design="bootstrap", seen=seen
        )
        for part in ("loss", "bias", "variance"):
            note(
                counts,
                (name, f"out of bag, brier: {part}", members, examples),
                getattr(bagged, part),
                truth[f"brier: {part}"],
            )
    return counts


def ridge(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """(sets, new) values that ridge regressions of x, y, (sets, n, 5) and (sets, n), give."""
    a, b = (np.concatenate([z, z**2, np.ones_like(z[..., :1])], -1) for z in (x, new))
    w = np.linalg.solve(
        np.swapaxes(a, 1, 2) @ a + 10 * np.eye(a.shape[-1]), np.swapaxes(a, 1, 2) @ y[..., None]
    )
    return (b @ w)[..., 0]


def class_means(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """(sets, new) classes of the nearest class mean of x, y, (sets, n, 5) and (sets, n)."""
    member = (y[..., None] == np.arange(CLASSES)).astype(float)
    means = np.einsum("snc,snd->scd", member, x) / member.sum(1)[..., None].clip(1)
    return ((new[:, :, None] - means[:, None]) ** 2).sum(-1).argmin(-1)


def draw_values(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Examples of a regression."""
    x = rng.standard_normal((n, 5))
    return x, np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * rng.standard_normal(n)


def draw_classes(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Examples of classes."""
    y = rng.integers(0, CLASSES, n)
    return rng.standard_normal((n, 5)) + 0.7 * np.eye(CLASSES, 5)[y], y


POOLS: dict[
    str, tuple[Callable[..., np.ndarray], Callable[..., tuple[np.ndarray, np.ndarray]], str]
] = {
    "ridge regression": (ridge, draw_values, "squared"),
    "nearest class mean": (class_means, draw_classes, "zero_one_kohavi_wolpert"),
}


def pool_truths(name: str) -> dict[str, float]:
    """Of independent training sets of a part's size: means over ten test sets, of 200 trainings
    each.
    """
    learn, draw, loss = POOLS[name]
    rng, n, found = np.random.default_rng(8), POOL // PARTS, []
    for _ in range(10):
        new, labels = draw(2000, rng)
        predictions = np.concatenate([_learned(learn, draw, n, new, rng) for _ in range(10)])
        best = bias_variance_decomposition(predictions, labels, loss=loss)
        found.append([best.loss.estimate, best.bias.estimate, best.variance.estimate])
    return dict(zip(("loss", "bias", "variance"), np.mean(found, 0), strict=True))


def study_pool(
    name: str, examples: int, studies: int, seed: int, truth: dict[str, float]
) -> Counts:
    """Some studies of partitions of a pool, which each draws anew."""
    learn, draw, loss = POOLS[name]
    counts, n = Counts(), POOL // PARTS
    rng = np.random.default_rng([seed, 1])
    for _ in range(studies):
        x, y = draw(POOL, rng)
        orders = np.concatenate([rng.permutation(POOL).reshape(PARTS, n) for _ in range(REPEATS)])
        new, labels = draw(examples, rng)
        predictions = learn(x[orders], y[orders], np.broadcast_to(new, (len(orders), *new.shape)))
        found = bias_variance_decomposition(
            predictions, labels, loss=loss, design="partition", parts=PARTS
        )
        for part, value in truth.items():
            note(
                counts,
                (f"pool, {name}", f"{loss}: {part}", PARTS * REPEATS, examples),
                getattr(found, part),
                value,
            )
    return counts


def _learned(
    learn: Callable[..., np.ndarray],
    draw: Callable[..., tuple[np.ndarray, np.ndarray]],
    n: int,
    new: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    sets = [draw(n, rng) for _ in range(20)]
    x, y = (np.stack(part) for part in zip(*sets, strict=True))
    return learn(x, y, np.broadcast_to(new, (len(x), *new.shape)))


def promised(world: str, statistic: str) -> tuple[float, float]:
    """The coverage that is promised."""
    if "skewed" in world:
        return 0.90, 1.0
    if (
        statistic.startswith("zero_one:")
        or (world.startswith("pool") and statistic.endswith("variance"))
        or "low" in world
    ):
        return 0.93, 1.0
    return 0.93, 0.97


def run(job: tuple[Callable[..., Counts], tuple]) -> Counts:
    """One job."""
    return job[0](*job[1])


def main() -> int:
    """Print the table; the exit status is 1 where a promise is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.processes) as pool:
        return report(pool, options.studies)


def report(pool: ProcessPoolExecutor, studies: int) -> int:
    """Run the studies in a pool of processes, and print the table."""
    pieces = 10
    each = -(-studies // pieces)
    pairs = [(name, members) for name in WORLDS for members in (16, 32, 64)]
    truth = dict(
        zip(
            pairs,
            pool.map(
                truths, (WORLDS[name] for name, _ in pairs), (members for _, members in pairs)
            ),
            strict=True,
        )
    )
    jobs = [
        (study_crossed, (name, *size, each, s, truth[name, size[0]]))
        for name in WORLDS
        for size in SIZES
        for s in range(pieces)
    ]
    jobs += [
        (study_smallest, (name, each, s, truth[name, 16])) for name in WORLDS for s in range(pieces)
    ]
    jobs += [
        (study_samples, (shared, samples, n, each, s))
        for shared in (0.0, 0.3)
        for samples, n in ((8, 200), (16, 500), (32, 2000))
        for s in range(pieces)
    ]
    of_pool = dict(zip(POOLS, pool.map(pool_truths, POOLS), strict=True))
    jobs += [
        (study_pool, (name, examples, each, s, of_pool[name]))
        for name in POOLS
        for examples in (200, 500, 2000)
        for s in range(pieces)
    ]
    total = Counts()
    for counts in pool.map(run, jobs):
        for key, row in counts.items():
            old = total.setdefault(key, [0, 0, 0, row[3]])
            total[key] = [*(a + b for a, b in zip(old[:3], row[:3], strict=True)), row[3]]
    broken = 0
    print(
        f"{'world':26s}{'statistic':36s}{'M':>4s}{'n':>6s}{'truth':>9s}{'given':>7s}"
        f"{'covers':>8s}  ok"
    )
    for (world, statistic, members, examples), (given, held, count, truth) in total.items():
        if not given:
            continue
        low, high = promised(world, statistic)
        share = exact(int(held), int(given), 0.999)
        ok = share.high >= low and share.low <= high
        broken += not ok
        numbers = f"{members:4d}{examples:6d}{truth:9.4f}{given / count:7.2f}{held / given:8.3f}"
        print(f"{world:26s}{statistic:36s}{numbers}  {'yes' if ok else 'NO'}")
    print(f"{broken} promises broken")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())

"""How often is a regression said to have an error that still falls where it does not, and how often
does the interval hold the fall?

    OMP_NUM_THREADS=1 python -m experiments.benchmarks.trends [--studies 1000]

Members and examples with known falls: `normal`, `heavy` (t with 3 degrees of freedom), `skewed`
(squares), `unequal` (the smaller size varies twice as much). Learners that share one pool of n
examples, as in `learning_curve`: a member trains on the first half, the first 71% and all of an
order of its own, and 300 other examples judge it. `neighbor`, of labels that are pure noise: the
error of the nearest neighbor does not depend on n. `least squares`: y is linear in 20 inputs, with
noise, and the error falls; the truth is the mean over the pools of all studies. False alarms may
have 2.5%: the 99% binomial interval of their share must reach down to it.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jaxnet.diagnostics import exact
from jaxnet.stats.extrapolation import last_doubling, trend

JUDGED = 300  # examples that judge the learners


class Study(NamedTuple):
    """(members, examples) falls, and their expectation; None takes the mean over all studies."""

    falls: np.ndarray
    truth: float | None


def main() -> int:
    """Print a row for each world."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=1000)
    studies = parser.parse_args().studies
    print(
        "                                      said to fall  (99% interval)      covered  missed "
        "below, above"
    )
    for name, world in worlds().items():
        rng = np.random.default_rng([len(name), *name.encode()])
        each = [world(rng) for _ in range(studies)]
        report(name, each)
    return 0


def worlds() -> dict[str, Callable[[np.random.Generator], Study]]:
    """All worlds by name."""
    found: dict[str, Callable[[np.random.Generator], Study]] = {}
    for kind in ("normal", "heavy", "skewed", "unequal"):
        for members, examples in ((5, 100), (8, 100), (8, 1000), (16, 300)):
            found[f"{kind}, {members} members, {examples} examples"] = (
                lambda rng, k=kind, m=members, n=examples: crossed(rng, k, m, n)
            )
    for n in (60, 300):
        for members in (5, 8):
            found[f"neighbor, n = {n}, {members} members"] = lambda rng, n=n, m=members: pool(
                rng, n, m, neighbor
            )
            found[f"least squares, n = {n}, {members} members"] = lambda rng, n=n, m=members: pool(
                rng, n, m, least_squares
            )
    return found


def crossed(rng: np.random.Generator, kind: str, members: int, examples: int) -> Study:
    """Falls of 0 on average: of members, of examples, and of both."""

    def draw(*shape: int) -> np.ndarray:
        if kind == "heavy":
            return rng.standard_t(3, shape)
        normal = rng.standard_normal(shape)
        return normal**2 - 1 if kind == "skewed" else normal

    scales = (2.0, 1.0) if kind == "unequal" else (1.0, 1.0)
    sizes = [
        scale * (0.3 * draw(members, 1) + draw(1, examples) + draw(members, examples))
        for scale in scales
    ]
    return Study(sizes[0] - sizes[1], 0.0)


def pool(
    rng: np.random.Generator, n: int, members: int, learner: Callable[..., Iterator[np.ndarray]]
) -> Study:
    """Falls of a learner on growing parts of one pool."""
    sizes = np.array([n // 2, int(n / np.sqrt(2)), n])
    orders = [rng.permutation(n) for _ in range(members)]
    weights = last_doubling(sizes)
    squares = learner(rng, n, [[order[:size] for size in sizes] for order in orders])
    falls = np.stack([weights @ each for each in squares])
    return Study(falls, 0.0 if learner is neighbor else None)


def neighbor(
    rng: np.random.Generator, n: int, parts: list[list[np.ndarray]]
) -> Iterator[np.ndarray]:
    """(sizes, examples) squared errors of each member: the label of the nearest neighbor."""
    x, new = rng.random((n, 2)), rng.random((JUDGED, 2))
    y, truth = rng.standard_normal(n), rng.standard_normal(JUDGED)
    distance = ((new[:, None] - x[None]) ** 2).sum(-1)
    for member in parts:
        nearest = [rows[distance[:, rows].argmin(1)] for rows in member]
        yield np.stack([(y[rows] - truth) ** 2 for rows in nearest])


def least_squares(
    rng: np.random.Generator, n: int, parts: list[list[np.ndarray]]
) -> Iterator[np.ndarray]:
    """(sizes, examples) squared errors of each member: least squares of 20 inputs."""
    slopes = np.ones(20)
    x, new = rng.standard_normal((n, 20)), rng.standard_normal((JUDGED, 20))
    y, truth = (each @ slopes + 3 * rng.standard_normal(len(each)) for each in (x, new))
    for member in parts:
        found = [np.linalg.lstsq(x[rows], y[rows], rcond=None)[0] for rows in member]
        yield np.stack([(new @ each - truth) ** 2 for each in found])


def report(name: str, studies: list[Study]) -> None:
    """A row of the table."""
    sizes = np.array([1, 2])
    found = [trend(sizes, np.zeros((2, len(each.falls))), each.falls).fall for each in studies]
    answered = [i for i, each in enumerate(found) if each.refused is None]
    truths = [each.truth for each in studies]
    known = float(np.mean([each.estimate for each in found])) if truths[0] is None else truths[0]
    low = np.array([found[i].low for i in answered])
    high = np.array([found[i].high for i in answered])
    share = exact(int((low > 0).sum()), len(answered), 0.99)
    refused = 1 - len(answered) / len(found)
    print(
        f"{name:38s} {share.estimate:8.1%}  ({share.low:.1%} to {share.high:.1%})"
        f"{'' if known else (' ok' if share.low <= 0.025 else ' TOO MANY'):9s} "
        f"{np.mean((low <= known) & (known <= high)):8.1%}  {np.mean(low > known):.1%}, "
        f"{np.mean(high < known):.1%}"
        f"{f'  refused {refused:.1%}' if refused else ''}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())

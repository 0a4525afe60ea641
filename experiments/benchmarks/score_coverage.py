"""Do the intervals of scores cover, and is "no better than always guessing" claimed falsely?

    python -m experiments.benchmarks.score_coverage [--studies 400] [--part one]

one: one network that has seen none of the examples. Labels are positive with a known share, its
log-odds are normal, and examples of a group share a part of them; truths come from 400,000 groups.
fitted: 8 folds x 2 seeds of networks that are trained on the examples of each study: linear
discriminants, or linear regressions, on random features. Their own truth comes from 8,000 fresh
examples, that of the recipe is the mean of these truths over the studies.
claims: networks whose gain over always guessing is exactly the largest one that is still "no
better", or 0, or none at all. The claim is false in the first case only by a hair, which is the
worst case.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from jaxnet.diagnostics import Estimate
from jaxnet.stats.scores import SMALLEST_GAIN, ClassScores, ValueScores, class_scores, value_scores
from jaxnet.stats.several import Scores

MANY, FRESH, FOLDS, SEEDS, FEATURES = 400_000, 8000, 8, 2, 30
NAMES = {
    True: ("balanced accuracy", "recall", "log-loss", "AUC", "gain"),
    False: ("RMSE", "MAE", "R2", "gain"),
}


def log_probabilities(odds: np.ndarray) -> np.ndarray:
    """(..., 2) from log-odds."""
    return np.stack([-np.logaddexp(0, odds), -np.logaddexp(0, -odds)], -1)


def estimates(found: Scores) -> dict[str, Estimate]:
    """The scores by name."""
    if isinstance(found, ClassScores):
        each = (found.balanced_accuracy, found.recall[-1], found.log_loss, found.auc)
        return dict(zip(NAMES[True], (*each, found.guesses[0].gain), strict=True))
    assert isinstance(found, ValueScores)
    each = (found.rmse, found.mae, found.r2, found.guesses[0].gain)
    return dict(zip(NAMES[False], each, strict=True))


class Coverage:
    """How often intervals hold the truth, by name."""

    def __init__(self) -> None:
        self.found = defaultdict[str, list[Estimate]](list)
        self.truths = defaultdict[str, list[float]](list)

    def add(self, found: dict[str, Estimate], truths: dict[str, float]) -> None:
        """Note the scores of a study and their truths."""
        for name, each in found.items():
            self.found[name].append(each)
            self.truths[name].append(truths[name])

    def words(self) -> str:
        """Coverage, mean width and the number of refusals of each score."""
        cells = []
        for name, each in self.found.items():
            kept = [i for i, one in enumerate(each) if one.refused is None]
            inside = [each[i].low <= self.truths[name][i] <= each[i].high for i in kept]
            width = np.mean([each[i].high - each[i].low for i in kept]) if kept else np.nan
            rate = f"{100 * np.mean(inside):.1f}%" if kept else "none"
            lost = f" -{len(each) - len(kept)}" if len(kept) < len(each) else ""
            cells.append(f"{name} {rate}/{width:.3g}{lost}")
        return "  ".join(cells)


def drawn(
    rng: np.random.Generator, groups: int, size: int, share: float, apart: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """(log-odds, labels, groups) of examples in groups that share half of the variance of their
    noise and, half of the time, the label.
    """
    group_of = np.repeat(np.arange(groups), size)
    own = (rng.random(groups) < share)[group_of]
    y = np.where(rng.random(len(group_of)) < 0.5 * (size > 1), own, rng.random(len(own)) < share)
    shared = rng.standard_normal(groups)[group_of] if size > 1 else 0.0
    noise = rng.standard_normal(len(y))
    noise = (noise + shared) / np.sqrt(2) if size > 1 else noise
    odds = apart * (apart * (y - 0.5) + noise) + np.log(share / (1 - share))
    return odds, y.astype(int), group_of if size > 1 else None


def one_network(studies: int, say: Callable[[str], None]) -> None:
    """Coverage of the intervals of one network."""
    worlds = [
        (examples, size, share, apart)
        for examples, size in ((100, 1), (300, 1), (2000, 1), (300, 5), (2000, 20))
        for share in (0.5, 0.1)
        for apart in (1.0, 2.5)
    ]
    for number, (examples, size, share, apart) in enumerate(worlds):
        odds, y, _ = drawn(np.random.default_rng(number), MANY // size, size, share, apart)
        truth = {
            name: each.estimate
            for name, each in estimates(class_scores(log_probabilities(odds), y, guess=0)).items()
        }
        kept = Coverage()
        for study in range(studies):
            rng = np.random.default_rng([number, study])
            odds, y, groups = drawn(rng, examples // size, size, share, apart)
            found = class_scores(log_probabilities(odds), y, groups=groups, guess=0)
            kept.add(estimates(found), truth)
        say(
            f"one network, {examples} examples in groups of {size}, {share:.0%} positive, AUC "
            f"{truth['AUC']:.3f}: {kept.words()}"
        )


def trained(
    x: np.ndarray, y: np.ndarray, rng: np.random.Generator, *, classes: bool
) -> Callable[[np.ndarray], np.ndarray]:
    """Ridge regression, or linear discriminants, on random features; predicts values or
    log-odds.
    """
    weights = rng.standard_normal((x.shape[1], FEATURES))

    def features(x: np.ndarray) -> np.ndarray:
        return np.c_[np.tanh(x @ weights / np.sqrt(len(weights))), np.ones(len(x))]

    h = features(x)
    target = y - y.mean()
    beta = np.linalg.solve(h.T @ h + 3.0 * np.eye(h.shape[1]), h.T @ target)
    base, share = y.mean(), y.mean()
    if not classes:
        return lambda x: features(x) @ beta + base
    return lambda x: (
        np.clip(features(x) @ beta / max(share * (1 - share), 1e-6), -20, 20)
        + np.log(share / (1 - share))
    )


def pool(
    rng: np.random.Generator, groups: int, size: int, *, classes: bool, share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """(inputs, labels or values, groups), whose groups share a part of the inputs and the noise."""
    group_of = np.repeat(np.arange(groups), size)
    shared = (rng.standard_normal((groups, 9)))[group_of] if size > 1 else 0.0
    each = rng.standard_normal((len(group_of), 9)) + shared
    each /= np.sqrt(1 + (size > 1))
    x, noise = each[:, :8], each[:, 8]
    signal = x[:, 0] + 0.5 * x[:, 1] * x[:, 2]
    latent = signal + noise
    y = (latent > 1.44 * np.sqrt(2) * (share == 0.1)).astype(float) if classes else latent
    return x, y, group_of if size > 1 else None


def fitted(studies: int, say: Callable[[str], None]) -> None:
    """Coverage of the intervals of cross-fitted networks."""
    worlds = [
        (True, 150, 1, 0.5),
        (True, 300, 1, 0.1),
        (True, 1000, 1, 0.5),
        (True, 1000, 1, 0.1),
        (True, 1000, 10, 0.5),
        (False, 150, 1, 0.5),
        (False, 1000, 1, 0.5),
        (False, 1000, 10, 0.5),
    ]
    seeds = np.repeat(np.arange(FOLDS), SEEDS)
    for number, (classes, examples, size, share) in enumerate(worlds):
        own, recipe, known = Coverage(), Coverage(), list[dict[str, float]]()
        for study in range(studies):
            rng = np.random.default_rng([number, study])
            x, y, groups = pool(rng, examples // size, size, classes=classes, share=share)
            fold_of = np.empty(len(y), int)
            order = np.argsort(y[::size] + rng.random(len(y) // size) * (0.5 if classes else 9))
            fold_of = np.repeat(np.argsort(order) % FOLDS, size)
            seen = fold_of != seeds[:, None]
            members = [trained(x[rows], y[rows], rng, classes=classes) for rows in seen]
            fresh, truth, _ = pool(rng, FRESH // size, size, classes=classes, share=share)
            given = np.stack([member(x) for member in members])
            there = np.stack([member(fresh) for member in members])
            known.append(true_scores(there, truth, classes=classes))
            both = [
                class_scores(
                    log_probabilities(given), y.astype(int), seen=seen, groups=groups, pools=pools
                )
                if classes
                else value_scores(given, y, seen=seen, groups=groups, pools=pools, scale=1.0)
                for pools in (False, True)
            ]
            own.add(estimates(both[0]), known[-1])
            recipe.add(estimates(both[1]), dict.fromkeys(known[-1], 0.0))
        for name, truths in recipe.truths.items():
            truths[:] = [float(np.mean([each[name] for each in known]))] * len(truths)
        what = f"{share:.0%} positive" if classes else "values"
        say(f"cross-fitted, {examples} examples in groups of {size}, {what}")
        say(f"  these networks: {own.words()}")
        say(f"  the recipe:     {recipe.words()}")


def true_scores(there: np.ndarray, y: np.ndarray, *, classes: bool) -> dict[str, float]:
    """Scores of networks on fresh examples, averaged over the networks."""
    if classes:
        positive, right = y == 1, (there > 0) == (y == 1)
        recall = [float(right[:, rows].mean()) for rows in (~positive, positive)]
        ranks = there.argsort(1).argsort(1) + 1.0
        count = positive.sum()
        above = ranks[:, positive].sum(1) - count * (count + 1) / 2
        wrong = float(positive.mean()) if positive.mean() <= 0.5 else float((~positive).mean())
        return {
            "balanced accuracy": float(np.mean(recall)),
            "recall": recall[1],
            "log-loss": float(np.logaddexp(0, np.where(positive, -there, there)).mean()),
            "AUC": float(above.mean()) / (count * (len(y) - count)),
            "gain": wrong - float((~right).mean()),
        }
    errors = there - y
    squares = float((errors**2).mean())
    return {
        "RMSE": np.sqrt(squares),
        "MAE": float(np.abs(errors).mean()),
        "R2": 1 - squares / float(y.var()),
        "gain": float(y.var()) - squares,
    }


def claims(studies: int, say: Callable[[str], None]) -> None:
    """How often networks are called no better than always guessing."""
    tolerance = 0.02
    for examples in (150, 300, 1000, 10_000):
        for share in (0.5, 0.1):
            least = min(tolerance, SMALLEST_GAIN * share)
            for gain in (-0.05, 0.0, least, 2 * least + 0.01):
                if gain > share:
                    continue
                said = np.zeros(2)
                for study in range(studies):
                    rng = np.random.default_rng([examples, study])
                    said += [
                        guessing(rng, examples, share, gain, tolerance, fitted=each)
                        for each in (False, True)
                    ]
                say(
                    f"{examples} examples, guess errs {share:.0%}, true gain {gain:.2%} (limit "
                    f"{least:.2%}): claimed of one network {said[0] / studies:.1%}, of "
                    f"cross-fitted ones {said[1] / studies:.1%}"
                )


def guessing(
    rng: np.random.Generator,
    examples: int,
    share: float,
    gain: float,
    tolerance: float,
    *,
    fitted: bool,
) -> bool:
    """Whether networks with this gain over always guessing are called no better."""
    y = (rng.random(examples) < share).astype(int)
    count = FOLDS * SEEDS if fitted else 1
    # right on a share of the rare class, wrong on a smaller share of the other one
    hits, misses = 0.2 + max(0.0, gain) / share, 0.2 * share / (1 - share)
    misses += max(0.0, -gain) / (1 - share)
    own = rng.random(examples)
    draws = np.where(rng.random((count, examples)) < 0.7, own, rng.random((count, examples)))
    said = np.where(y == 1, draws < hits, draws < misses)
    odds = np.where(said, 1.0, -1.0)
    seen = np.arange(examples) % FOLDS != np.repeat(np.arange(FOLDS), SEEDS)[:, None]
    found = class_scores(
        log_probabilities(odds if fitted else odds[0]), y, seen=seen if fitted else None, guess=0
    )
    return found.guesses[0].no_better(tolerance)


def main(words: Sequence[str] | None = None) -> int:
    """Run the simulations."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--part", choices=("one", "fitted", "claims"), default=None)
    given = parser.parse_args(words)
    parts = {"one": one_network, "fitted": fitted, "claims": claims}
    for name, part in parts.items():
        if given.part in (None, name):
            part(given.studies, lambda text: print(text, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Do the intervals of calibration cover? Simulated networks of ten classes whose true probabilities
are known.

    python -m experiments.benchmarks.calibration_coverage [--studies 500] [--data-dir DIR]

Labels are drawn from softmax(logits); the network predicts softmax(logits / f), so that it is
overconfident for f < 1 and its likeliest temperature is 1 / f. With noise, 5% of the labels are
drawn anew, so that no temperature is right, and the truth is what a million examples say. Truths of
calibration errors are of the bins' definition, from the known probabilities of a million examples.
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxnet
from jaxnet.diagnostics import Estimate
from jaxnet.errors import InputError
from jaxnet.stats.calibration import calibration, scaled, temperature

CLASSES, BINS, MANY = 10, 15, 1_000_000
FACTORS = (0.5, 0.8, 1.0, 1.5)
SHARP = {"98% right": 60.0, "74% right": 4.0, "54% right": 2.0}  # standard deviation of the logits


def draw(
    n: int, sharp: float, noise: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(logits as log-probabilities, probabilities of the labels, labels)."""
    logits = scaled(sharp * rng.standard_normal((n, CLASSES)), 1.0)
    p = (1 - noise) * np.exp(logits) + noise / CLASSES
    return logits, p, np.minimum((rng.random((n, 1)) > p.cumsum(1)).sum(1), CLASSES - 1)


def truths(log_p: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """Squared calibration error by the bins' definition, and overconfidence, where the labels'
    probabilities are p.
    """
    confidence, top = np.exp(log_p.max(1)), log_p.argmax(1)
    difference = p[np.arange(len(p)), top] - confidence
    where = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    share, total = (
        np.bincount(where, minlength=BINS) / len(p),
        np.bincount(where, difference, BINS) / len(p),
    )
    squared = (total[share > 0] ** 2 / share[share > 0]).sum()
    return {"squared error": float(squared), "overconfidence": float(-difference.mean())}


def covered(found: list[Estimate], truth: float) -> str:
    """The share of the intervals that hold the truth, and of how many."""
    inside = [each.low <= truth <= each.high for each in found if each.refused is None]
    return f"{np.mean(inside):.3f} of {len(inside)}" if inside else "none given"


def coverage(studies: int, sizes: tuple[int, ...], say: Callable[[str], None]) -> None:
    """The tables of coverage."""
    columns = ("squared error", "overconfidence", "temperature")
    say(
        f"{'network':>9s}{'noise':>7s}{'factor':>8s}{'n':>8s}{'truth':>12s}"
        + "".join(f"{name:>18s}" for name in columns)
        + f"{'unbiased':>20s}"
    )
    for name, sharp in SHARP.items():
        for noise in (0.0, 0.05):
            logits, p, y = draw(MANY, sharp, noise, np.random.default_rng(0))
            for factor in FACTORS:
                log_p = scaled(logits, factor)
                truth = truths(log_p, p) | {
                    "temperature": 1 / factor if noise == 0 else float(temperature(log_p, y))
                }
                for n in sizes:
                    rng, found = (
                        np.random.default_rng([1, n]),
                        {column: list[Estimate]() for column in columns},
                    )
                    for _ in range(studies):
                        logits_, _, y_ = draw(n, sharp, noise, rng)
                        log_p_ = scaled(logits_, factor)
                        measured = calibration(log_p_, y_, bins=BINS)
                        found["squared error"].append(measured.squared_error)
                        found["overconfidence"].append(measured.overconfidence)
                        with suppress(InputError):  # where all predictions are right
                            found["temperature"].append(temperature(log_p_, y_))
                    values = np.array([each.estimate for each in found["squared error"]])
                    off, error = (
                        values.mean() - truth["squared error"],
                        values.std(ddof=1) / np.sqrt(studies),
                    )
                    cells = "".join(
                        f"{covered(found[column], truth[column]):>18s}" for column in columns
                    )
                    say(
                        f"{name:>9s}{noise:>7g}{factor:>8g}{n:>8,}{truth['squared error']:>12.5f}"
                        f"{cells}{off:>+12.5f} +-{error:.5f}"
                    )


def null(say: Callable[[str], None]) -> None:
    """The plug-in ECE of a calibrated network, and the null value printed beside it."""
    say(
        "\nplug-in ECE of a perfectly calibrated network, mean of 200 samples, and the null value "
        "of one of them"
    )
    for name, sharp in SHARP.items():
        for n in (200, 1000, 10_000):
            rng = np.random.default_rng(n)
            found = []
            for _ in range(200):
                log_p, _, y = draw(n, sharp, 0.0, rng)
                found.append(calibration(log_p, y, key=jax.random.key(0)))
            inside = np.mean([each.null.low <= each.ece <= each.null.high for each in found])
            one = found[0].null
            say(
                f"{name:>9s}{n:>8,}  {np.mean([each.ece for each in found]):.4f}   {one.mean:.4f} "
                f"({one.low:.4f} to {one.high:.4f}), "
                f"which holds {inside:.3f} of them"
            )


def scikit_learns(log_p: np.ndarray, y: np.ndarray) -> float:
    """The temperature that scikit-learn fits; ImportError where it is absent or older than 1.8."""
    from sklearn import __version__
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    if tuple(int(part) for part in __version__.split(".")[:2]) < (1, 8):
        raise ImportError("scikit-learn fits temperatures from 1.8 on")

    class Given(ClassifierMixin, BaseEstimator):
        """A classifier whose inputs are the logits that some network gave already."""

        def decision_function(self, x: np.ndarray) -> np.ndarray:
            return x

        def predict(self, x: np.ndarray) -> np.ndarray:
            return x.argmax(1)

        def fit(self, x: np.ndarray, y: np.ndarray) -> "Given":
            self.classes_ = np.arange(x.shape[1])
            return self

    frozen, method = FrozenEstimator(Given().fit(log_p, y)), "temperature"
    calibrated: Any = CalibratedClassifierCV(frozen, method=method)  # pyrefly: ignore[bad-argument-type]
    calibrated.fit(log_p.astype(np.float64), y)
    return float(1 / calibrated.calibrated_classifiers_[0].calibrators[0].beta_)


def against_scikit_learn(data_dir: Path | None, say: Callable[[str], None]) -> None:
    """Temperatures of trained networks, and scikit-learn's."""
    say(
        "\ntemperatures of trained networks on their test sets, and those of scikit-learn's "
        "CalibratedClassifierCV"
    )
    for name, epochs, batch_size in (
        ("digits", 20, 64),
        *(() if data_dir is None else (("mnist", 3, 256),)),
    ):
        splits = jaxnet.load(name, data_dir=data_dir if name == "mnist" else None, validation=0)
        recipe = jaxnet.Recipe(
            epochs=epochs, batch_size=batch_size, learning_rate=3e-3, schedule="constant"
        )
        for model in (jaxnet.linear(), jaxnet.mlp((32,)), jaxnet.mlp((128, 64))):
            many = jaxnet.fit_population(
                model, splits, recipe, jax.random.split(jax.random.key(0), 2)
            )
            y = np.asarray(splits.test.y)
            for log_p in np.asarray(jaxnet.predict(model, many, splits.test.x)):
                ours = temperature(log_p, y)
                try:
                    theirs = scikit_learns(log_p, y)
                except ImportError:
                    say(
                        "scikit-learn 1.8 or later is not installed, so that there is nothing to "
                        "compare with"
                    )
                    return
                say(
                    f"{name:>9s}  {model.name:<40s}  {ours!s:<28s}  {theirs:.6f}  off by "
                    f"{ours.estimate - theirs:+.1e}"
                )


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--sizes", type=int, nargs="*", default=(100, 200, 1000))
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="folder with the four files of mnist, to fit temperatures there too",
    )
    options = parser.parse_args()
    jaxnet.use_cpu_devices()
    null(lambda text: print(text, flush=True))
    against_scikit_learn(options.data_dir, lambda text: print(text, flush=True))
    coverage(options.studies, tuple(options.sizes), lambda text: print(text, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())

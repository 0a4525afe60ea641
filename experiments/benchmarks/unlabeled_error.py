"""Does the interval of an error that was estimated without labels hold the true error? Many shifts,
several networks.

    python -m experiments.benchmarks.unlabeled_error --data-dir FOLDER [--outputs FOLDER] [--python
    PYTHON_WITH_NANNYML]

Networks of the digits and of MNIST are asked for their error on corrupted images and on changed
class frequencies, in batches. The numbers in the estimate were chosen with the first five networks;
the others check them.
Truth: the error on all examples there are of the shift, up to 10,000. Beside it, on the same
confidences, NannyML's CBPE (accuracy, with the band of its sampling error) run by another Python,
where one is given that has it. Networks train for minutes; with --outputs, what they say is kept in
that folder, and networks that are there are not trained again.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import jaxnet
from jaxnet.data import Dataset, Splits, Standardization
from jaxnet.data.corruption import corrupt, knock_out, with_frequencies
from jaxnet.errors import InputError
from jaxnet.stats.unlabeled_error import UnlabeledError, estimate_error_without_labels

MEMBERS = 4
CHOSEN_WITH = 5  # networks that the estimate's numbers were chosen with
BATCHES = (200, 1000, 10_000)
STRENGTHS = {  # of images of 28 pixels
    "noise": (0.05, 0.1, 0.2, 0.4, 0.8),
    "blur": (0.5, 1.0, 1.5, 2.5),
    "shift": (0.5, 1.0, 2.0, 4.0),
    "rotation": (5.0, 10.0, 20.0, 40.0, 90.0),
    "contrast": (0.1, 0.3, 0.6, 0.9),
    "inversion": (0.05, 0.1, 0.2, 0.5, 1.0),
}
PIXELS = ("blur", "shift")  # whose strengths go with the size of the image
MILD = 0.15  # distance of the outputs

# Reads confidences, writes (estimated accuracy, lower, upper) a case.
CBPE = """
import sys, warnings

warnings.filterwarnings("ignore")
import logging

logging.disable(logging.CRITICAL)
import numpy as np, pandas as pd, nannyml as nml

given, rows = np.load(sys.argv[1]), []


def frame(p, y=None):
    table = pd.DataFrame({f"p{k}": p[:, k] for k in range(p.shape[1])})
    table["said"] = p.argmax(1)
    return table if y is None else table.assign(label=y)


fitted = {}
for i in range(int(given["cases"])):
    network = int(given[f"network{i}"])
    if network not in fitted:
        p, y = given[f"reference{network}"], given[f"labels{network}"]
        fitted[network] = nml.CBPE(
            y_pred_proba={k: f"p{k}" for k in range(p.shape[1])},
            y_pred="said",
            y_true="label",
            problem_type="classification_multiclass",
            metrics=["accuracy"],
            chunk_number=1,
        )
        fitted[network].fit(frame(p, y))
    found = (
        fitted[network]
        .estimate(frame(given[f"new{i}"]))
        .filter(period="analysis")
        .to_df()["accuracy"]
        .iloc[0]
    )
    rows.append(
        [found["value"], found["lower_confidence_boundary"], found["upper_confidence_boundary"]]
    )
np.save(sys.argv[2], np.array(rows, float))
"""


class Network(NamedTuple):
    """Members of one recipe, a reference with labels, and examples to shift."""

    name: str
    members: list
    model: jaxnet.Model
    reference: Dataset
    new: Dataset

    def says(self, x: np.ndarray) -> np.ndarray:
        """Log-probabilities (members, examples, classes)."""
        return np.stack(
            [np.asarray(jaxnet.predict(self.model, member, x)) for member in self.members]
        )

    def outputs(self) -> "Outputs":
        """What its members say of the reference and of every shift."""
        shifts = [(shift, self.says(x), y) for shift, x, y in shifted(self)]
        reference = self.says(np.asarray(self.reference.x))
        return Outputs(self.name, reference, np.asarray(self.reference.y), shifts)


class Outputs(NamedTuple):
    """Log-probabilities (members, examples, classes) on a reference and on shifted examples, and
    their labels.
    """

    name: str
    reference: np.ndarray
    labels: np.ndarray
    shifts: list[tuple[str, np.ndarray, np.ndarray]]

    def write(self, path: Path) -> None:
        """Keep them in a file."""
        arrays = {"reference": self.reference, "labels": self.labels}
        for i, (shift, outputs, y) in enumerate(self.shifts):
            arrays |= {f"shift{i}": np.array(shift), f"outputs{i}": outputs, f"labels{i}": y}
        np.savez(path, **arrays)  # pyrefly: ignore[bad-argument-type]

    @classmethod
    def read(cls, name: str, path: Path) -> "Outputs":
        """What `write` has kept."""
        with np.load(path) as kept:
            count = sum(key.startswith("shift") for key in kept)
            shifts = [
                (str(kept[f"shift{i}"]), kept[f"outputs{i}"], kept[f"labels{i}"])
                for i in range(count)
            ]
            return cls(name, kept["reference"], kept["labels"], shifts)


class Case(NamedTuple):
    """A batch of shifted examples. alone, together: what is estimated from one network, and from
    all members.
    """

    network: int
    shift: str
    batch: int
    truth: float
    alone: UnlabeledError
    together: UnlabeledError
    probabilities: np.ndarray


def train(
    name: str, splits: Splits, learned: int, reference: int, model: jaxnet.Model, epochs: int
) -> Network:
    """Members of a recipe on the first of a random order of all examples."""
    parts = [part for part in (splits.train, splits.validation, splits.test) if len(part)]
    x, y = (
        np.concatenate([np.asarray(getattr(part, which)) for part in parts]) for which in ("x", "y")
    )
    order = np.random.default_rng(0).permutation(len(y))

    def some(rows: np.ndarray) -> Dataset:
        return Dataset(x[rows], y[rows], schema=splits.schema)

    seen, held, rest = (
        some(order[:learned]),
        some(order[learned : learned + reference]),
        some(order[learned + reference :][:10_000]),
    )
    given = Splits(seen, some(order[:0]), held, Standardization.of(seen))
    recipe = jaxnet.Recipe(epochs=epochs, batch_size=64, learning_rate=3e-3, schedule="one_cycle")
    members = [jaxnet.fit(model, given, recipe, jax.random.key(seed)) for seed in range(MEMBERS)]
    return Network(name, members, model, held, rest)


def networks(folder: Path | None) -> dict[str, Callable[[], Network]]:
    """How to train those of the digits, and of MNIST where its files are."""
    digits = jaxnet.load("digits", validation=0)
    given: dict[str, tuple] = {"digits, mlp": (digits, 400, 600, jaxnet.mlp((64,)), 30)}
    try:
        mnist = jaxnet.load("mnist", data_dir=folder, validation=0)
    except InputError as error:
        print(f"MNIST is absent: {error}", file=sys.stderr)
    else:
        layers = jaxnet.mlp((256, 128), normalization="layer")
        wide = jaxnet.cnn((16, 32), (64,), kernel=5, activation="gelu")
        given |= {
            "MNIST, mlp": (mnist, 10_000, 5000, jaxnet.mlp((128, 64)), 10),
            "MNIST, linear": (mnist, 5000, 2000, jaxnet.linear(), 10),
            "MNIST, mlp of 1,000": (mnist, 1000, 1000, jaxnet.mlp((64,)), 30),
            "MNIST, cnn": (mnist, 2000, 5000, jaxnet.cnn((8, 16), (32,)), 10),
            "MNIST, mlp of 40,000": (mnist, 40_000, 5000, layers, 5),
            "digits, linear": (digits, 400, 600, jaxnet.linear(), 30),
            "MNIST, wide cnn": (mnist, 10_000, 3000, wide, 4),
        }
    return {name: partial(train, name, *each) for name, each in given.items()}


def outputs(name: str, trained: Callable[[], Network], folder: Path | None) -> Outputs:
    """What a network says, as it is kept in a folder, or else after training it."""
    if folder is None:
        return trained().outputs()
    path = folder / f"{name}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        trained().outputs().write(path)
    return Outputs.read(name, path)


def shifted(network: Network) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(shift, images, labels): nothing, every corruption at every strength, changed class
    frequencies.
    """
    x, y = np.asarray(network.new.x), np.asarray(network.new.y)
    yield "none", x, y
    for kind, strengths in STRENGTHS.items():
        for strength in strengths:
            true = strength * (x.shape[1] / 28 if kind in PIXELS else 1.0)
            yield (
                f"{kind} {true:.3g}",
                corrupt(x, kind, true, jax.random.key(1), pixel_max=network.new.pixel_max),
                y,
            )
    rows = knock_out(y, 0, 1.0, jax.random.key(2))
    yield "class 0 gone", x[rows], y[rows]
    for seed in range(4):
        rows = with_frequencies(
            y, np.random.default_rng(seed).dirichlet(np.ones(10)), len(y), jax.random.key(seed)
        )
        yield f"frequencies {seed + 1}", x[rows], y[rows]


def cases_of(number: int, network: Outputs) -> Iterator[Case]:
    """Of every shift, batches of every size."""
    reference, labels = network.reference, network.labels
    for seed, (shift, outputs, y) in enumerate(network.shifts):
        truth = float((outputs[0].argmax(1) != y).mean())
        for batch in sorted({min(batch, len(y)) for batch in BATCHES}):
            rows = np.random.default_rng([seed, batch]).permutation(len(y))[:batch]
            alone = estimate_error_without_labels(reference[0], labels, outputs[0, rows])
            together = estimate_error_without_labels(reference, labels, outputs[:, rows])
            yield Case(number, shift, batch, truth, alone, together, np.exp(outputs[0, rows]))


def beside(python: str | None, nets: list[Outputs], cases: list[Case]) -> np.ndarray | None:
    """(cases, 3): CBPE's estimated error, lower and upper limit; None without NannyML."""
    if (
        python is None
        or subprocess.run(
            [python, "-c", "import nannyml"], capture_output=True, check=False
        ).returncode
    ):
        print("NannyML is absent; give --python PATH of an environment with it", file=sys.stderr)
        return None
    arrays = {"cases": np.array(len(cases))}
    for i, network in enumerate(nets):
        arrays |= {f"reference{i}": np.exp(network.reference[0]), f"labels{i}": network.labels}
    for i, case in enumerate(cases):
        arrays |= {f"new{i}": case.probabilities, f"network{i}": np.array(case.network)}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/given.npz", **arrays)  # pyrefly: ignore[bad-argument-type]
        subprocess.run(
            [python, "-c", CBPE, f"{folder}/given.npz", f"{folder}/found.npy"], check=True
        )
        accuracy = np.load(f"{folder}/found.npy")
    return 1 - accuracy[:, [0, 2, 1]]


def cell(found: UnlabeledError) -> str:
    """An estimate with its interval, or that it is refused."""
    return (
        "refused"
        if found.error.refused
        else f"{found.error.estimate:.3f} ({found.error.low:.3f}-{found.error.high:.3f})"
    )


def summary(
    name: str,
    truths: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    refused: np.ndarray,
    mild: np.ndarray,
) -> str:
    """Coverage and width of those that were not refused."""
    inside, half = (low <= truths) & (truths <= high), (high - low) / 2
    rows = ~refused
    return (
        f"{name:22s} covers {inside[rows].mean():6.1%} of {rows.sum()} cases, "
        f"{(inside | refused).mean():6.1%} or refuses; refused "
        f"{refused.mean():5.1%}, of mild ones {refused[mild].mean():5.1%}; median half-width "
        f"{np.median(half[rows]):.4f}, "
        f"of mild ones {np.median(half[rows & mild]):.4f}"
    )


def main() -> int:
    """Print the table and what it amounts to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, help="folder with the four files of MNIST")
    parser.add_argument("--outputs", type=Path, help="folder to keep what networks say")
    parser.add_argument("--python", help="Python of an environment with nannyml")
    options = parser.parse_args()
    jaxnet.enable_cache()
    began = time.perf_counter()
    trained = networks(options.data_dir)
    nets = [outputs(name, each, options.outputs) for name, each in trained.items()]
    cases = [case for number, network in enumerate(nets) for case in cases_of(number, network)]
    rival = beside(options.python, nets, cases)
    print(
        f"{'network':21s}{'shift':17s}{'batch':>7s}{'moved':>7s}{'truth':>7s}{'one network':>24s}"
        f"{'all members':>24s}{'CBPE':>24s}"
    )
    for i, case in enumerate(cases):
        cbpe = "" if rival is None else f"{rival[i, 0]:.3f} ({rival[i, 1]:.3f}-{rival[i, 2]:.3f})"
        print(
            f"{nets[case.network].name:21s}{case.shift:17s}{case.batch:>7,}"
            f"{case.alone.distance:>7.2f}{case.truth:>7.3f}"
            f"{cell(case.alone):>24s}{cell(case.together):>24s}{cbpe:>24s}"
        )
    truths = np.array([case.truth for case in cases])
    mild = np.array([case.alone.distance <= MILD for case in cases])
    groups = {
        "all": np.ones(len(cases), bool),
        "networks the numbers were chosen with": np.array(
            [case.network < CHOSEN_WITH for case in cases]
        ),
        "other networks": np.array([case.network >= CHOSEN_WITH for case in cases]),
        "class frequencies": np.array(
            [case.shift.startswith(("frequencies", "class")) for case in cases]
        ),
    }
    groups |= {
        network.name: np.array([case.network == i for case in cases])
        for i, network in enumerate(nets)
    }
    for of, rows in groups.items():
        if not rows.any():
            continue
        print(f"\n{of}")
        for name, found in (
            ("one network", [c.alone for c in cases]),
            ("all members", [c.together for c in cases]),
        ):
            low, high = (
                np.nan_to_num(np.array([getattr(f.error, side) for f in found]))
                for side in ("low", "high")
            )
            refused = np.array([f.error.refused is not None for f in found])
            print(summary(name, truths[rows], low[rows], high[rows], refused[rows], mild[rows]))
        if rival is not None:
            print(
                summary(
                    "CBPE",
                    truths[rows],
                    rival[rows, 1],
                    rival[rows, 2],
                    np.zeros(rows.sum(), bool),
                    mild[rows],
                )
            )
    print(f"\n{time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

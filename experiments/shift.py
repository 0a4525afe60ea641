"""Is the world still as it was when the network learned? What would be noticed, after how many examples, and what it costs.

    python -m experiments.shift --dataset digits            trains, shifts the test set, and tests with batches of every size
    python -m experiments.shift --run DIR --new FILE.npz    is this batch still like the held-out data of that run? One line of
                                                            JSON; exit status 0: no change is shown, 3: shifted, 2: bad input

Held-out data are the test set, and the validation set where it did not choose the epoch. A run of this script keeps its
outputs on them in reference.npz; of any other run they are computed from the data set, which must be found again (--data-dir).
"""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import tyro

from experiments import BEGAN
from jaxnet import folder, processes
from jaxnet.data import Dataset, Splits
from jaxnet.data.corruption import corrupt, knock_out
from jaxnet.data.npz import read_npz, write_npz
from jaxnet.devices import enable_cache, use_platform
from jaxnet.diagnostics import Estimate, wilson
from jaxnet.diagnostics.two_sample import FEWEST, Output, TwoSample, Unlike, two_sample_test
from jaxnet.diagnostics.unlabelled import UnlabelledError, estimate_error_without_labels
from jaxnet.errors import InputError
from jaxnet.evaluation import predict
from jaxnet.finished import Finished, bring_back, data_of
from jaxnet.loop import train
from jaxnet.models import Model
from jaxnet.options import Options
from jaxnet.report import console
from jaxnet.run import Row, Run
from jaxnet.runner import Setup, main, new_examples, report

SHIFTED = 3  # exit status
REFERENCE = "reference.npz"  # in the folder of a run
SIZES = (10, 20, 50, 100, 200, 500, 1000)
STRENGTHS: dict[str, tuple[float, ...]] = {
    "noise": (0.1, 0.2, 0.4),
    "blur": (0.03, 0.06, 0.1),
    "shift": (0.03, 0.06, 0.12),
    "rotation": (5, 10, 30),
    "contrast": (0.1, 0.3, 0.6),
    "inversion": (0.6, 0.8, 1.0),
    "missing class": (0.5, 1.0),
}
OF_WIDTH = ("blur", "shift")  # whose strengths are shares of an image's width
SHOWN = 10  # images of each shift in the figure


@dataclass(frozen=True)
class ShiftOptions(Options):
    """Every option of a study of shifts."""

    repetitions: int = 20
    """batches of each size that are tested, for each shift"""
    level: float = 0.05
    """of the tests: how often a batch without a shift may raise an alarm"""


@dataclass(frozen=True)
class MonitorOptions:
    """Is this batch still like the data that a network was judged with? One line of JSON; exit status 0, 3 if shifted, 2 if bad."""

    run: Path
    """folder of a finished run"""
    new: Path
    """.npz file with an array x, or a table for a network that learned from one"""
    level: float = 0.01
    """how often a batch without a shift may raise an alarm"""
    data_dir: Path | None = None
    """folder of the data set, where the run kept no reference"""
    platform: Literal["cpu", "gpu", "tpu"] | None = None
    """where to run; by default the fastest that JAX finds"""


class Shifted(NamedTuple):
    """A test set that was changed. strength: in the units of `corrupt`, or the share that is missing."""

    kind: str
    strength: float
    data: Dataset

    @property
    def name(self) -> str:
        """Kind and strength."""
        return self.kind if self.kind == "none" else f"{self.kind} {self.strength:.3g}"


# The experiment


def work(setup: Setup) -> dict[str, Any]:
    """Train, then shift one half of the test set and compare it with the other."""
    options, splits = setup.options, setup.splits
    assert isinstance(options, ShiftOptions)
    if splits.classes is None or splits.test.white is None:
        raise InputError(f"{splits.name} holds no classes of images; corruptions are of images. --run and --new take any run")
    if options.repetitions < 1 or not 0 < options.level < 1:
        raise InputError(f"--repetitions {options.repetitions} --level {options.level}: give at least 1, and a level between 0 and 1")
    if len(splits.test) < 4 * SIZES[0]:
        raise InputError(f"the test set has {len(splits.test)} examples; at least {4 * SIZES[0]} are needed to compare its halves")
    first: list[int] = []
    with setup.clock.part("train"), console.progress(setup.recipe.epochs) as show:

        def watch(epochs: int, row: Row) -> None:
            first.append(epochs)
            show(epochs, row)

        run = train(setup.model, splits, setup.recipe, jax.random.key(options.seed), out=setup.out, watch=watch)
    held = held_out(splits, run)
    outputs = np.asarray(predict(setup.model, run, held.x))
    if processes.first():
        write_npz(setup.out / REFERENCE, {"log_probabilities": outputs, "labels": np.asarray(held.y)})
    order = np.random.default_rng([options.seed, *b"halves"]).permutation(len(splits.test))
    known = np.concatenate([order[: len(order) // 2], np.arange(len(splits.test), len(held))])
    reference, rest = _rows(held, known), _rows(splits.test, order[len(order) // 2 :])
    key = jax.random.key(options.seed)
    sizes = [size for size in SIZES if size <= min(len(reference), len(rest))]
    studied = [study(setup.model, run, reference, outputs[known], each, sizes, options, key) for each in shifts(rest, key)]
    draw(setup, reference, rest, studied, sizes, options, key)
    words = table(studied, sizes)
    harmful = [each for each in studied if each["error"].estimate - studied[0]["error"].estimate > options.tolerance]
    missed = [each["name"] for each in harmful if each["alarms"][-1] < 0.8]
    costly = f"{len(harmful)} shifts that cost more than {options.tolerance:.0%}"
    verdict = f"of {costly}, {len(harmful) - len(missed)} are found in 80% of batches of {sizes[-1]}" + "; missed: " * bool(missed)
    verdict += ", ".join(missed)
    more = {
        "verdict": verdict,
        "shift": {"level": options.level, "repetitions": options.repetitions, "sizes": sizes, "shifts": studied},
        "resumed": {"from_epoch": first[0]},
    }
    return report(setup, setup.model, run, more, "\n".join([*words, verdict]))


def held_out(splits: Splits, run: Run) -> Dataset:
    """What a network was neither trained on nor chosen with."""
    if run.recipe.patience is not None or not len(splits.validation):
        return splits.test
    both = splits.test, splits.validation
    x, y = (np.concatenate([np.asarray(getattr(part, name)) for part in both]) for name in ("x", "y"))
    return replace(splits.test, x=x, y=y)


def shifts(data: Dataset, key: jax.Array) -> list[Shifted]:
    """The data as they are, and with every shift at every strength."""
    x, y = np.asarray(data.x), np.asarray(data.y)
    changed = [Shifted("none", 0.0, data)]
    for kind, strengths in STRENGTHS.items():
        for strength in strengths:
            true = strength * x.shape[2] if kind in OF_WIDTH else strength
            if kind == "missing class":
                new = _rows(data, knock_out(y, int(np.bincount(y).argmax()), true, key))
            else:
                new = replace(data, x=corrupt(x, kind, true, key, white=data.white))
            changed.append(Shifted(kind, true, new))
    return changed


def study(
    model: Model, run: Run, reference: Dataset, known: np.ndarray, shifted: Shifted, sizes: list[int], options: ShiftOptions, key: jax.Array
) -> dict[str, Any]:
    """What result.json holds of a shift: alarms over the size of batches, size of the shift, and its cost."""
    new = np.asarray(predict(model, run, shifted.data.x))
    alarms = [float(np.mean([_alarm(known, new, size, i, options.level) for i in range(options.repetitions)])) for size in sizes]
    whole = two_sample_test(known, new, method="bbsd", key=key, level=options.level)
    wrong = new.argmax(1) != np.asarray(shifted.data.y)
    estimated = estimate_error_without_labels(known, np.asarray(reference.y), new)
    return {
        "name": shifted.name,
        "kind": shifted.kind,
        "strength": shifted.strength,
        "alarms": alarms,
        "test": _about(whole, run.classes),
        "error": wilson(int(wrong.sum()), len(wrong)),
        "estimated_error": estimated.error,
        "broken": estimated.broken,
    }


def draw(
    setup: Setup, reference: Dataset, rest: Dataset, studied: list[dict[str, Any]], sizes: list[int], options: ShiftOptions, key: jax.Array
) -> None:
    """The figures."""
    from jaxnet.report import figures

    found: dict[str, dict[str, list[float]]] = {}
    for each in studied:
        found.setdefault(each["kind"], {})[each["name"].removeprefix(each["kind"]).strip() or "as it was"] = each["alarms"]
    figures.power(found, sizes, setup.out / "figures/power.png", level=options.level)
    truths, estimates = ({each["name"]: each[which] for each in studied} for which in ("error", "estimated_error"))
    figures.estimated_errors(truths, estimates, setup.out / "figures/estimated_errors.png")
    rows = {"reference": np.asarray(reference.x)[:SHOWN]}
    strongest = {each.kind: each for each in shifts(rest, key) if each.kind != "none"}
    for kind, each in strongest.items():
        x = np.asarray(each.data.x)
        test = two_sample_test(reference.x, x, method="classifier", key=key, level=options.level)
        assert isinstance(test.what, Unlike)
        if kind == "missing class":  # only the reference has what differs
            rows["missing now"] = np.asarray(reference.x)[test.what.reference[:SHOWN]]
        else:
            rows[each.name] = x[test.what.new[:SHOWN]]
    assert rest.white is not None
    figures.unlike(rows, rest.white, setup.out / "figures/unlike.png")


def table(studied: list[dict[str, Any]], sizes: list[int]) -> list[str]:
    """The numbers, a line a shift."""
    head = (
        f"{'alarms in batches of':22s}" + "".join(f"{size:>7,}" for size in sizes) + f"{'size':>8s}{'error':>9s}  estimated without labels"
    )
    lines = [head]
    for each in studied:
        estimated: Estimate = each["estimated_error"]
        words = "refused" if estimated.refused else f"{estimated.estimate:.3f} ({estimated.low:.3f} to {estimated.high:.3f})"
        shares = "".join(f"{share:>7.0%}" for share in each["alarms"])
        lines.append(f"{each['name']:22s}{shares}{each['test']['size'].estimate:>8.3f}{each['error'].estimate:>9.3f}  {words}")
    return lines


def _alarm(known: np.ndarray, new: np.ndarray, size: int, number: int, level: float) -> bool:
    rng = np.random.default_rng([size, number])
    a, b = (outputs[rng.permutation(len(outputs))[:size]] for outputs in (known, new))
    return two_sample_test(a, b, method="bbsd", key=jax.random.key(number), level=level).shifted


def _rows(data: Dataset, rows: np.ndarray) -> Dataset:
    return replace(data, x=np.asarray(data.x)[rows], y=np.asarray(data.y)[rows])


# The monitor


def monitor(arguments: Sequence[str]) -> int:
    """Compares a file with the held-out data of a run; prints one line of JSON. Returns the exit status."""
    logging.getLogger("jaxnet").setLevel(logging.ERROR)
    console.open_to_all_names()
    options = tyro.cli(MonitorOptions, args=list(arguments), prog="python -m experiments.shift", description=MonitorOptions.__doc__)
    try:
        use_platform(options.platform)
        try:
            enable_cache()
        except InputError as error:
            print(f"compiled programs are not kept: {error}", file=sys.stderr)
        found = compare(options)
    except InputError as error:
        console.error(str(error))
        return 2
    print(json.dumps(folder.plain(found), allow_nan=False))
    return SHIFTED if found["verdict"] == "shifted" else 0


def compare(options: MonitorOptions) -> dict[str, Any]:
    """What the monitor says of a file."""
    finished = bring_back(options.run)
    model, run = finished.model, finished.run
    x = new_examples(options.new, run)
    if len(x) < FEWEST:
        raise InputError(f"{options.new}: has {len(x)} examples; at least {FEWEST} are needed")
    known, labels = reference_of(finished, options.data_dir)
    new = np.asarray(predict(model, run, x))
    test = two_sample_test(known, new, method="bbsd", level=options.level)
    estimated = None if run.classes is None else estimate_error_without_labels(known, labels, new)
    return {
        "file": options.new,
        "examples": len(x),
        "verdict": "shifted" if test.shifted else "same",
        **_about(test, run.classes),
        **_errors(estimated),
    }


def reference_of(finished: Finished, data_dir: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """(outputs on the run's held-out examples, their labels or values): as it kept them, or from its data set."""
    run, path = finished.run, finished.folder / REFERENCE
    outputs = 1 if run.classes is None else len(run.classes)
    if path.exists():
        kept = read_npz(path)
        if set(kept) != {"log_probabilities", "labels"} or kept["log_probabilities"].shape != (len(kept["labels"]), outputs):
            raise InputError(f"{path}: is not of this run; remove it to have it computed from the data set")
        return kept["log_probabilities"], kept["labels"]
    held = held_out(data_of(finished, data_dir), run)
    return np.asarray(predict(finished.model, run, held.x)), np.asarray(held.y)


def _about(test: TwoSample, classes: tuple[str, ...] | None) -> dict[str, Any]:
    assert isinstance(test.what, Output)
    output = "output" if classes is None else f"log-probability of {classes[test.what.index]}"
    return {
        "p_value": test.p_value,
        "level": test.level,
        "size": test.size,
        "power": test.power,
        "detectable": test.detectable,
        "what": f"{output} is {test.what.new}",
    }


def _errors(estimated: UnlabelledError | None) -> dict[str, Any]:
    if estimated is None:
        return {"reference_error": None, "estimated_error": None}
    return {"reference_error": estimated.reference, "estimated_error": estimated.error}


if __name__ == "__main__":
    given = sys.argv[1:]
    if any(word.split("=")[0] in ("--run", "--new") for word in given):
        sys.exit(monitor(given))
    sys.exit(main("shift", ShiftOptions(), __doc__, began=BEGAN, work=work))

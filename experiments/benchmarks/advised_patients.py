"""Does advice adopt what is known to be the best remedy?

    JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 python -m experiments.benchmarks.advised_patients known
        [--only TEXT]
    ... advised_patients advised [--seeds 20] [--part i/n] [--only TEXT]

`known` trains every change of changes.py on two pools of each patient, with four networks each, and
judges them by 10,000 fresh examples: a row of advised_patients_known.csv for each change. A patient
is well made if its best change gains at least 5 points and leads every change of another kind than
`right` by 3. Pools have seeds from 5,000 on, which no advice sees.

`advised` asks `jaxnet.advise`, a row of advised_patients.csv for each patient and seed. What it
adopts is trained on the same two pools as the changes, if it is none of them, so that it is
measured as they are: those rows are of kind "advised". More data cannot be adopted; where the
advice says first that they help most, they count as what it adopts. Rows that are there are not
made again.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxnet
from experiments.benchmarks import tasks
from experiments.benchmarks.changes import Change, changes, corrected, dropped, errors
from experiments.benchmarks.rows import append, read
from jaxnet import Advice, Recipe, Splits
from jaxnet.data import Dataset

KNOWN = Path(__file__).with_name("advised_patients_known.csv")
ADVISED = Path(__file__).with_suffix(".csv")
KNOWN_FIELDS = ("patient", "change", "kind", "error", "gain")
ADVISED_FIELDS = ("patient", "seed", "adopted", "kind", "gain", "low", "high", "seconds")
FRESH, POOLS, NETWORKS, FIRST = 10_000, 2, 4, 5000
GAIN, LEAD, NEAR = 5.0, 3.0, 1.0  # points: of the best, before other kinds, and of what is adopted
NOTHING, ADVISED_KIND, MORE_DATA = "nothing", "advised", "more data"
TIMES = 8  # as many training examples, where more data are known to be the best remedy
PLAIN = Recipe(epochs=20, batch_size=64, learning_rate=3e-3, schedule="constant")


class Patient(NamedTuple):
    """A task and a training whose best remedy is known.

    Attributes:
        right: kinds of changes of which the best is one; () where none helps.
        task: what is learned.
        classes: number of classes.
        widths: of the hidden layers.
        recipe: the recipe.
        sizes: of training and validation set.
        wrong: share of wrong labels among these.
        wrong_class: the class of which it is the share; by default all.
        used: the task where the network is used, if it is another one.
        activation: of the hidden layers.
        measure: what gains are measured in.
        seeds: number of advices.
    """

    right: tuple[str, ...]
    task: tasks.Draw
    classes: int
    widths: tuple[int, ...]
    recipe: Recipe = PLAIN
    sizes: tuple[int, int] = (800, 200)
    wrong: float = 0.0
    wrong_class: int | None = None
    used: tasks.Draw | None = None
    activation: str = "relu"
    measure: str = "error"
    seeds: int = 20


def _plain(rate: float, epochs: int, **more: Any) -> Recipe:
    return Recipe(epochs=epochs, batch_size=64, learning_rate=rate, schedule="constant", **more)


PATIENTS = {
    "two circles, a linear model": Patient(("larger",), tasks.circles, 2, (), _plain(1e-2, 20)),
    "a hundredth of the learning rate": Patient(
        ("rate",), tasks.clusters(5, 2, 10, 0.7), 5, (32,), _plain(3e-5, 10)
    ),
    "3 hidden units for 20 clusters": Patient(
        ("larger",), tasks.clusters(10, 2, 6, 0.35), 10, (3,), _plain(1e-2, 30)
    ),
    "two more layers of one unit": Patient(
        ("smaller",),
        tasks.clusters(10, 2, 10, 0.6),
        10,
        (32, 32, 1, 1),
        _plain(3e-3, 20),
        activation="tanh",
    ),
    "one in 17 is of the second class": Patient(
        ("class weights",),
        tasks.two_classes(10, 2.5, 0.06),
        2,
        (16,),
        _plain(3e-3, 10),
        measure="balanced_error",
    ),
    "used on figures that are moved": Patient(
        ("augmentation",), tasks.figures(5, 0.3), 5, (64,), used=tasks.figures(5, 0.3, 2)
    ),
    "300 examples of 10 classes in 200 columns, a linear model": Patient(
        (MORE_DATA,),
        tasks.clusters(10, 1, 200, 4.0),
        10,
        (),
        _plain(1e-2, 20),
        sizes=(240, 60),
        seeds=40,
    ),
    "half of a class has the label of another, 1,000 labels checked": Patient(
        ("labels",),
        tasks.two_classes(10, 4.0),
        2,
        (16,),
        wrong=0.5,
        wrong_class=0,
        used=tasks.two_classes(10, 4.0),
    ),
    "good already": Patient((), tasks.two_classes(10, 3.0), 2, (16,), _plain(3e-3, 10)),
    "labels that are guessed": Patient(
        (), tasks.guessed(tasks.two_classes(10, 3.0), 1.0), 2, (16,), _plain(3e-3, 10), seeds=40
    ),
}


def drawn(patient: Patient, seed: int) -> Splits:
    """The data of a seed."""
    return tasks.splits(
        patient.task,
        patient.classes,
        (*patient.sizes, 100),
        seed,
        wrong=patient.wrong,
        wrong_class=patient.wrong_class,
        used=patient.used,
        target=1000,
    )


def listed(patient: Patient) -> list[Change]:
    """Every change of a patient, the first one none."""
    balanced = patient.measure == "balanced_error"
    images = patient.task(np.random.default_rng(0), 1)[0].ndim > 2
    found = changes(
        patient.widths,
        patient.recipe,
        activation=patient.activation,
        images=images,
        balance=balanced,
    )
    if MORE_DATA in patient.right:

        def more(now: Change, splits: Splits, fresh: Dataset) -> tuple[Splits, Dataset]:
            sizes = TIMES * len(splits.train), len(splits.validation), len(splits.test)
            return tasks.splits(patient.task, patient.classes, sizes, FIRST - 1), fresh

        found.append(replace(found[0], name=MORE_DATA, kind=MORE_DATA, data=more))
    return found


def fresh_errors(patient: Patient, found: Sequence[Change]) -> np.ndarray:
    """(changes,) mean errors in percent on fresh examples."""
    x, y = (patient.used or patient.task)(np.random.default_rng(99), FRESH)
    fresh, balanced = tasks.dataset(x, y, patient.classes), patient.measure == "balanced_error"
    pools = [
        errors(found, drawn(patient, FIRST + i), fresh, i, NETWORKS, balanced=balanced).mean(1)
        for i in range(POOLS)
    ]
    return np.mean(pools, axis=0)


def know(names: Sequence[str], table: Path) -> int:
    """Train every change of the patients that are missing in the table, and judge the patients."""
    failed = 0
    for name in names:
        patient = PATIENTS[name]
        if name not in {row["patient"] for row in read(table)}:
            found = listed(patient)
            error = fresh_errors(patient, found)
            rows = [
                {
                    "patient": name,
                    "change": each.name,
                    "kind": each.kind,
                    "error": f"{size:.2f}",
                    "gain": f"{error[0] - size:.2f}",
                }
                for each, size in zip(found, error, strict=True)
            ]
            append(table, rows, KNOWN_FIELDS)
        rows = sorted(
            (r for r in read(table) if r["patient"] == name and r["kind"] != ADVISED_KIND),
            key=lambda r: -float(r["gain"]),
        )
        best, gain = rows[0], float(rows[0]["gain"])
        other = next(row for row in rows if row["kind"] not in (patient.right or (best["kind"],)))
        lead = gain - float(other["gain"])
        made = not patient.right or (
            best["kind"] in patient.right and gain >= GAIN and lead >= LEAD
        )
        failed += not made
        print(
            f"{name}: {best['change']} gains {gain:.1f} points, {lead:.1f} more than "
            f"{other['change']}{'' if made else '  NOT AS WANTED'}",
            flush=True,
        )
    return int(failed > 0)


def judge(name: str, change: Change, table: Path) -> None:
    """Train an adopted change on the pools of the others, unless the table has it."""
    rows = [row for row in read(table) if row["patient"] == name]
    if change.name in {row["change"] for row in rows}:
        return
    error = float(fresh_errors(PATIENTS[name], [change])[0])
    now = next((float(row["error"]) for row in rows if row["change"] == NOTHING), np.nan)
    row = {
        "patient": name,
        "change": change.name,
        "kind": ADVISED_KIND,
        "error": f"{error:.2f}",
        "gain": f"{now - error:.2f}",
    }
    append(table, [row], KNOWN_FIELDS)


def _change(found: Advice) -> Change:
    """An adopted candidate as a change that can be trained here."""
    adopted, data = found.rounds[-1].leader, None
    if adopted.kind == "labels":
        data = corrected if "correct" in adopted.name else dropped
    balance = adopted.kind == "class weights"
    return Change(adopted.name, adopted.kind, found.model, found.recipe, data, balance, found.votes)


def tell(names: Sequence[str], known: Path, table: Path) -> None:
    """Count for each patient how often what was adopted is as good as the best change."""
    for name in names:
        rows = [row for row in read(known) if row["patient"] == name]
        mine = [row for row in read(table) if row["patient"] == name]
        error = {row["change"]: float(row["error"]) for row in rows}
        if not mine or NOTHING not in error:
            continue
        best = min(error.values()) if PATIENTS[name].right else error[NOTHING]
        near = sum(error[row["adopted"]] <= best + NEAR for row in mine)
        kinds = dict(Counter(row["kind"] for row in mine))
        print(f"{name}: {near} of {len(mine)} within {NEAR:g} point of the best; adopted {kinds}")


def ask(names: Sequence[str], seeds: int, part: tuple[int, int], known: Path, table: Path) -> None:
    """Ask for the advices that are missing in the table."""
    done = {(row["patient"], int(row["seed"])) for row in read(table)}
    cases = [(n, s) for s in range(seeds) for n in names if s < PATIENTS[n].seeds]
    for name, seed in cases[part[0] - 1 :: part[1]]:
        if (name, seed) in done:
            continue
        patient, began = PATIENTS[name], time.perf_counter()
        model = listed(patient)[0].model
        given: dict[str, Any] = {} if patient.measure == "error" else {"measure": patient.measure}
        found = jaxnet.advise(
            model, drawn(patient, seed), patient.recipe, jax.random.key(seed), **given
        )
        best = found.rounds[-1].leader
        proposed = NOTHING, NOTHING
        if found.more_data_first:
            proposed = MORE_DATA, MORE_DATA
        elif found.adopted:
            proposed = best.name, best.kind
            judge(name, _change(found), known)
        row = {
            "patient": name,
            "seed": seed,
            **dict(zip(("adopted", "kind"), proposed, strict=True)),
            "gain": f"{100 * found.gain.estimate:.2f}",
            "low": f"{100 * found.gain.low:.2f}",
            "high": f"{100 * found.gain.high:.2f}",
            "seconds": f"{time.perf_counter() - began:.0f}",
        }
        append(table, [row], ADVISED_FIELDS)
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)


def main() -> int:
    """The exit status is 1 where a patient is not as wanted."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("which", choices=("known", "advised"))
    made.add_argument("--seeds", type=int, default=40, help="at most, of each patient")
    made.add_argument("--only", default="", help="patients whose name has this in it")
    made.add_argument("--part", default="1/1", help="which part of the advices, such as 2/3")
    made.add_argument("--table", type=Path, help="where rows are added")
    made.add_argument("--known", type=Path, default=KNOWN, help="the table of what is known")
    options = made.parse_args()
    jaxnet.enable_cache()
    names = [name for name in PATIENTS if options.only in name]
    if options.which == "known":
        return know(names, options.table or KNOWN)
    part, parts = map(int, options.part.split("/"))
    ask(names, options.seeds, (part, parts), options.known, options.table or ADVISED)
    tell(names, options.known, options.table or ADVISED)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What does each remedy of a finding gain where the cause of the finding is known?

    JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 python -m experiments.benchmarks.remedies
        [--networks 4] [--part i/n] [--only TEXT]

Problems are planted in small generated tasks, and nothing is diagnosed: networks are trained
without and with each remedy that jaxnet lists for the finding, and judged by 5,000 fresh examples.
A row is appended to remedies.csv for each problem and remedy; problems that are there are not tried
again. The last lines are what jaxnet/diagnostics/measured.py holds.

Findings about failed trainings are not among them, except for "not finished": probes find their
remedies.

`before` and `after`: mean error in percent; for overconfidence, by how much the mean confidence
exceeds the accuracy. `gain`: before minus after; for overconfidence, by how much the mean
confidence came closer to the accuracy, since too little confidence is no better than too much.
`helped`: the gain is at least half a point and two standard errors over networks. `counts`: the
problem is there, which is 5 points of what the finding is about.
"""

import functools
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import tasks
from experiments.benchmarks.changes import Change, Data, flags, probabilities
from experiments.benchmarks.rows import append, missing, parser, read
from jaxnet import Augmentation, Recipe, Splits, linear, mlp
from jaxnet.data import Dataset
from jaxnet.diagnostics.findings import HIDDEN_LAYERS, REMEDIES, Code, Remedy
from jaxnet.diagnostics.measured import key

TABLE = Path(__file__).with_suffix(".csv")
FIELDS = ("problem", "code", "remedy", "before", "after", "gain", "error", "helped", "counts")
FRESH, SIZE = 5_000, 5.0  # examples to judge with; points from which on a problem is there
ROWS, VALIDATION = 800, 200
GOOD = Recipe(epochs=20, batch_size=64, learning_rate=3e-3, schedule="constant")
LONG = replace(GOOD, epochs=60, learning_rate=1e-2)


class Problem(NamedTuple):
    """A task and a training with a known cause of its errors.

    Attributes:
        code: the finding that is right.
        task: what is learned.
        classes: number of classes.
        widths: of the hidden layers.
        recipe: the recipe.
        rows: training examples.
        wrong: share of wrong labels in training and validation set.
        used: the task where the network is used, if it is another one.
    """

    code: Code
    task: tasks.Draw
    classes: int
    widths: tuple[int, ...] = (32,)
    recipe: Recipe = GOOD
    rows: int = ROWS
    wrong: float = 0.0
    used: tasks.Draw | None = None


TABLES = {
    "5 classes": (tasks.clusters(5, 3, 10, 0.9), 5),
    "10 classes": (tasks.clusters(10, 2, 10, 0.6), 10),
    "2 classes of 8 clusters": (tasks.clusters(2, 8, 10, 0.6), 2),
    "a quarter guessed": (tasks.guessed(tasks.clusters(5, 2, 10, 0.5), 0.25), 5),
}
IMAGES = {"10 figures": (tasks.figures(10, 0.7), 10)}
DAMAGED = {
    "moved": lambda classes, noise: tasks.figures(classes, noise, 1),
    "noisy": lambda classes, noise: tasks.figures(classes, 3 * noise),
}
CAUSES: dict[str, tuple[Code, dict[str, Any]]] = {
    "linear": (Code.HIGH_BIAS, {"widths": ()}),
    "2 units": (Code.HIGH_BIAS, {"widths": (2,)}),
    "dropout .8": (Code.HIGH_BIAS, {"recipe": replace(GOOD, dropout=0.8)}),
    "weight decay 10": (Code.HIGH_BIAS, {"recipe": replace(GOOD, weight_decay=10.0)}),
    "100 rows": (Code.HIGH_VARIANCE, {"rows": 100, "recipe": LONG}),
    "200 rows, 128 units": (Code.HIGH_VARIANCE, {"rows": 200, "widths": (128,), "recipe": LONG}),
    "800 rows, long": (Code.HIGH_VARIANCE, {"widths": (128,), "recipe": LONG}),
    "a fifth of the labels wrong": (Code.LABEL_NOISE, {"wrong": 0.2, "recipe": LONG}),
    "200 rows, too sure": (Code.OVERCONFIDENT, {"rows": 200, "recipe": LONG}),
    "2 epochs": (Code.NOT_FINISHED, {"recipe": replace(GOOD, epochs=2)}),
    "a tenth of the rate": (Code.NOT_FINISHED, {"recipe": replace(GOOD, learning_rate=3e-4)}),
}
PROBLEMS = {
    f"{task}, {cause}": Problem(code, *drawn, **changed)
    for task, drawn in (TABLES | IMAGES).items()
    for cause, (code, changed) in CAUSES.items()
}
PROBLEMS |= {
    f"{classes} figures, {how}, noise {noise}": Problem(
        Code.MISMATCH, tasks.figures(classes, noise), classes, used=damage(classes, noise)
    )
    for how, damage in DAMAGED.items()
    for classes in (5, 10)
    for noise in (0.3, 0.5)
}


def tried(remedy: Remedy, now: Change, problem: Problem, splits: Splits) -> Change | None:
    """The training with a remedy; None where it changes nothing."""
    field, value = remedy.field, remedy.value
    if remedy.of == "Model":
        return _other_widths(remedy, now, problem.widths)
    if remedy.of == "Splits":
        return _other_data(remedy, now, problem, splits)
    if field == "augmentation":
        if np.ndim(splits.train.x) < 3:
            return None
        return replace(now, recipe=replace(now.recipe, augmentation=Augmentation(2, 10)))
    present, changed = getattr(now.recipe, field), dict[str, Any]()
    if remedy.how == "multiply" and isinstance(value, int | float):
        changed[field] = round(value * present) if field == "epochs" else value * present
    else:
        changed[field] = value
    if changed[field] == present or (field == "dropout" and not problem.widths):
        return None
    return replace(now, recipe=replace(now.recipe, **changed))


def _other_widths(remedy: Remedy, now: Change, widths: tuple[int, ...]) -> Change | None:
    if remedy.how == "set":
        return None if widths else replace(now, model=mlp())
    if not widths or not isinstance(remedy.value, int | float):
        return None
    factor = remedy.value
    return replace(now, model=mlp([round(factor * width) for width in widths]))


def _other_data(remedy: Remedy, now: Change, problem: Problem, splits: Splits) -> Change | None:
    """More data of the same task, data from where the network is used, or labels that a person
    corrects where networks contradict them.
    """
    if remedy.value == "labels checked":
        return replace(now, data=_checked(problem)) if problem.wrong else None
    if remedy.how != "add":
        return None
    draw = problem.task if remedy.value == "as many more" else problem.used
    if draw is None:
        return None

    def more(_: Change, given: Splits, fresh: Dataset) -> tuple[Splits, Dataset]:
        rng, train = np.random.default_rng([7, 7]), given.train
        x, y = draw(rng, problem.rows)
        y = tasks.mislabeled(y, problem.wrong, problem.classes, rng)
        both = tasks.dataset(
            np.concatenate([train.x, x]), np.concatenate([train.y, y]), problem.classes
        )
        return replace(given, train=both), fresh

    return replace(now, data=more)


def _checked(problem: Problem) -> Data:
    """A person looks at the labels that networks contradict, and corrects those that are wrong."""
    right = drawn(problem._replace(wrong=0.0)).train.y

    def data(now: Change, given: Splits, fresh: Dataset) -> tuple[Splits, Dataset]:
        flagged, _ = flags(now, given)
        y = np.where(flagged, right, given.train.y).astype(np.int32)
        return replace(given, train=replace(given.train, y=y)), fresh

    return data


def drawn(problem: Problem) -> Splits:
    """The data of a problem."""
    return tasks.splits(
        problem.task,
        problem.classes,
        (problem.rows, VALIDATION, 10),
        0,
        wrong=problem.wrong,
        used=problem.used,
        target=ROWS,
    )


def sizes(
    now: Change, splits: Splits, fresh: Dataset, networks: int, *, confidence: bool
) -> np.ndarray:
    """(networks,) errors of networks on fresh examples, in percent; or their overconfidence."""
    given, judged = (splits, fresh) if now.data is None else now.data(now, splits, fresh)
    outputs = probabilities([now] * networks, given, judged.x, np.arange(networks), 0)
    sound = np.isfinite(outputs).all(-1)
    right = (outputs.argmax(-1) == np.asarray(judged.y)) & sound
    if confidence:
        return 100 * (np.where(sound, outputs.max(-1), 1.0).mean(1) - right.mean(1))
    return 100 * (1 - right.mean(1))


@functools.cache
def best_error(task: tasks.Draw, classes: int, networks: int) -> float:
    """Error in percent of a good training on a task, from plenty of correct data."""
    good = replace(GOOD, learning_rate=1e-2, schedule="one_cycle")
    now = Change("good", "good", mlp((64,)), good)
    splits = tasks.splits(task, classes, (3200, VALIDATION, 10), 0)
    fresh = tasks.dataset(*task(np.random.default_rng(99), FRESH), classes)
    return float(sizes(now, splits, fresh, networks, confidence=False).mean())


def trials(name: str, networks: int) -> list[dict[str, str]]:
    """A row for each remedy of a problem."""
    problem = PROBLEMS[name]
    splits = drawn(problem)
    x, y = (problem.used or problem.task)(np.random.default_rng(99), FRESH)
    fresh = tasks.dataset(x, y, problem.classes)
    model = mlp(problem.widths) if problem.widths else linear()
    now, sure = Change("now", "now", model, problem.recipe), problem.code == Code.OVERCONFIDENT
    before = sizes(now, splits, fresh, networks, confidence=sure)
    excess = before.mean() - (0.0 if sure else best_error(problem.task, problem.classes, networks))
    rows = []
    own = () if problem.widths else (HIDDEN_LAYERS,)
    for remedy in (*REMEDIES.get(problem.code, ()), *own):
        change = tried(remedy, now, problem, splits)
        if change is None:
            continue
        after = sizes(change, splits, fresh, networks, confidence=sure)
        gain = before.mean() - (abs(after.mean()) if sure else after.mean())
        error = float(np.sqrt((before.var(ddof=1) + after.var(ddof=1)) / networks))
        rows.append(
            {
                "problem": name,
                "code": problem.code.value,
                "remedy": key(remedy),
                "before": f"{before.mean():.2f}",
                "after": f"{after.mean():.2f}",
                "gain": f"{gain:.2f}",
                "error": f"{error:.2f}",
                "helped": "yes" if gain >= max(0.5, 2 * error) else "no",
                "counts": "yes" if excess >= SIZE else "no",
            }
        )
    return rows


def summary(rows: Sequence[dict[str, str]]) -> dict[str, dict[str, tuple[int, int, float]]]:
    """By code and remedy: in how many problems it helped, of how many, and the median gain where
    it helped, in points.
    """
    found: dict[str, dict[str, tuple[int, int, float]]] = {}
    counted = [row for row in rows if row["counts"] == "yes"]
    for code, remedy in dict.fromkeys((row["code"], row["remedy"]) for row in counted):
        mine = [row for row in counted if (row["code"], row["remedy"]) == (code, remedy)]
        gains = [float(row["gain"]) for row in mine if row["helped"] == "yes"]
        median = round(float(np.median(gains)), 1) if gains else 0.0
        found.setdefault(code, {})[remedy] = (len(gains), len(mine), median)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Try what is missing in the table, and sum it up."""
    options = parser(__doc__, TABLE, networks=4).parse_args(arguments)
    for name in missing(options, PROBLEMS, "problem"):
        began = time.perf_counter()
        rows = trials(name, options.networks)
        append(options.table, rows, FIELDS)
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    for code, remedies in summary(read(options.table)).items():
        print(f'    "{code}": {{')
        for remedy, found in remedies.items():
            print(f'        "{remedy}": {found},')
        print("    },")
    return 0


if __name__ == "__main__":
    sys.exit(main())

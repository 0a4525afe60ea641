"""Write and print the results of an experiment: result.json, parameters, history, figures and
report.
"""

import csv
import importlib
import io
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from jaxnet.cli.options import Options
from jaxnet.cli.run_folder import SCHEMA_VERSION
from jaxnet.core.recipe import Recipe, describe_recipe
from jaxnet.core.run import Run
from jaxnet.core.training import EpochMetrics, Problem
from jaxnet.data import Column, Splits, Stream
from jaxnet.data.overlap import Overlap
from jaxnet.diagnostics import Estimate, Finding
from jaxnet.diagnostics.findings import (
    Code,
    applicable,
    finding,
    no_better_than_guessing,
    with_guessing,
)
from jaxnet.diagnostics.ladder import CHOSE, network_ladder
from jaxnet.engine.agreement import versions
from jaxnet.engine.checkpoint import discard_progress, save
from jaxnet.engine.prediction import (
    ClassMetrics,
    LabelMetrics,
    Metrics,
    ValueMetrics,
    compile_ahead,
    judge,
    predict,
    score,
)
from jaxnet.models.model import Model, describe
from jaxnet.population.scheduler import Progress
from jaxnet.progress import WRITING, of_population, phase
from jaxnet.report import console, tensorboard
from jaxnet.runtime import files, processes
from jaxnet.runtime.timing import Timer
from jaxnet.stats.calibration import Calibration, calibration
from jaxnet.stats.label_errors import HardExample, hard_examples

MEMBERS = "members"  # folder of a population within that of a run
TENSORBOARD = "tensorboard"  # folder of the logs
LOGGED = 5  # number of members whose logs are written
HARDEST = 50  # examples that result.json lists


class Setup(NamedTuple):
    """The data, model, recipe and folder of an experiment before its work begins.

    Attributes:
        experiment: name of the experiment.
        options: its options.
        splits: the data.
        model: the architecture.
        recipe: the recipe.
        layers: the table that `describe` returns.
        shared: examples that are in two parts.
        out: the folder of the run.
        timer: the seconds of each part of the run.
        stream: the training set, if it stays on disk; some of its rows stand for it in splits.
        command: the command line that does the same again in another folder.
    """

    experiment: str
    options: Options
    splits: Splits
    model: Model
    recipe: Recipe
    layers: list[tuple[str, str, int]]
    shared: tuple[Overlap, ...]
    out: Path
    timer: Timer
    stream: Stream | None = None
    command: str = ""


def report(
    setup: Setup,
    model: Model,
    run: Run,
    more: dict[str, Any],
    says: str | None = None,
    findings: Sequence[Finding] = (),
    members: Sequence[Run] = (),
    history: EpochMetrics | None = None,
    chosen: bool = False,
    unjudged: Sequence[Code] = (),
) -> dict[str, Any]:
    """Judge a network, print the result and write the folder.

    Args:
        setup: the experiment.
        model: the architecture.
        run: the network.
        more: what this experiment adds to result.json, or replaces there.
        says: text that is printed instead of the network's numbers.
        findings: findings besides those of the error ladder.
        members: networks of the same recipe, this one first, which the page shows side by side.
        history: metrics of each epoch to write and to draw; by default those of the network.
        chosen: whether the validation set chose the network, as the best of several. Then, and with
            patience, no interval is computed on it.
        unjudged: kinds of error that this experiment does not judge.

    Returns:
        What result.json holds.
    """
    phase("judging the network", "usually a few seconds")
    chosen = chosen or run.recipe.patience is not None
    splits, options = setup.splits, setup.options
    parts = {
        name: part for name in ("train", "validation", "test") if len(part := getattr(splits, name))
    }
    outputs = {name: np.asarray(predict(model, run, part.x)) for name, part in parts.items()}
    metrics = {
        name: judge(outputs[name], np.asarray(part.y), splits.standardization, part.groups)
        for name, part in parts.items()
    }
    ladder = network_ladder(
        metrics,
        target_error=options.target_error or 0.0,
        tolerance=options.tolerance,
        test_source=splits.test_source,
        chosen=chosen,
    )
    if chosen and "validation" in metrics:
        metrics["validation"] = without_intervals(
            metrics["validation"], f"{CHOSE}, so the error there is too low"
        )
    scores = {
        name: score(outputs[name], part, splits)
        for name, part in parts.items()
        if name == "test" or (name == "validation" and not chosen)
    }
    guessing = no_better_than_guessing(scores["test"], options.tolerance)
    ladder = replace(
        ladder,
        verdict=with_guessing(
            ladder.verdict, guessing, claims=any(each.claimed for each in ladder.findings)
        ),
        findings=(*ladder.findings, *guessing),
    )
    if run.diverged:
        found = finding(Code.DIVERGED, Estimate(1.0, refused="it is one network"), True, run.status)
        ladder = replace(
            ladder, verdict=run.status.replace(" ", ": ", 1), findings=(found, *ladder.findings)
        )
    early, judged = bool(run.stopped_early), [e for e in ladder.findings if e.code not in unjudged]
    ladder = replace(
        ladder, findings=applicable(judged, run.recipe, model, splits, stopped_early=early)
    )
    if says is None:
        console.say(run.status)
        console.result(metrics, splits.schema, ladder, scores)
        if options.target_error is None and any(
            each.claimed and each.code is Code.HIGH_BIAS for each in ladder.findings
        ):
            console.say(
                "bias is measured against an error of 0%, since no --target-error is given; "
                "jaxnet diagnose measures it against other methods"
            )
    else:
        console.say(*says.split("\n"))
    result = {
        "experiment": setup.experiment,
        "schema_version": SCHEMA_VERSION,
        "command": setup.command,
        "dataset": {
            "name": splits.name,
            "shape": run.shape,
            "classes": splits.classes,
            "task": splits.task,
            "targets": splits.schema.target_names or None,
            "examples": {k: len(v) for k, v in parts.items()},
            "test_source": splits.test_source,
            "ordered": splits.ordered,
            "grouped_by": splits.grouped_by,
            "groups": {
                k: len(np.unique(v.groups)) for k, v in parts.items() if v.groups is not None
            },
            "notes": splits.notes,
            "columns": None
            if splits.columns is None
            else [_column(column) for column in splits.columns],
            "overlaps": [overlap._asdict() for overlap in setup.shared],
        },
        "model": {"name": model.name, "parameters": describe(model, splits)[-1][2]},
        "recipe": describe_recipe(run.recipe),
        "seed": options.seed,
        "split_seed": options.split_seed,
        "versions": versions(),
        "device": f"{jax.local_devices()[0].device_kind} ({jax.default_backend()})",
        "status": run.status,
        "target_error": options.target_error,
        "tolerance": options.tolerance,
        **numbers(metrics),
        "calibration": believed(outputs["test"], splits),
        "verdict": ladder.verdict,
        **more,
        "findings": [
            each.summary()
            for each in applicable(
                more.get("findings", (*ladder.findings, *findings)),
                run.recipe,
                model,
                splits,
                stopped_early=early,
            )
        ],
        "scores": scores | more.get("scores", {}),
    }
    write(setup, result, model, members or (run,), outputs, metrics, history=history)
    return result


@contextmanager
def training_members(setup: Setup) -> Iterator[tuple[Callable[[Progress], None], dict[str, int]]]:
    """A context that shows the progress of a population on the console.

    Args:
        setup: the experiment.

    Yields:
        (a function of the population's progress, where it began, for `resumed` in result.json).
    """
    began: dict[str, int] = {}
    ahead = threading.Thread(target=warm_up, args=(setup,))
    ahead.start()
    with setup.timer.part("train"):

        def progress(now: Progress) -> None:
            began.setdefault("from_epoch", now.epoch)
            began.setdefault("members", now.finished)
            of_population(now)

        yield progress, began
    ahead.join()


def _column(column: Column) -> dict[str, Any]:
    """A column of the table: its name and categories, and what else differs from the defaults."""
    about: dict[str, Any] = {"name": column.name, "categories": column.categories}
    if column.dates is not None:
        about["dates"] = column.dates._asdict()
    usual = Column(column.name)._asdict()
    given = {name: value for name, value in column._asdict().items() if value != usual[name]}
    return given | about


def without_intervals(metrics: Metrics, reason: str) -> Metrics:
    """The measurements, with a reason in place of each interval."""
    sizes = {each.name: getattr(metrics, each.name) for each in fields(metrics)}
    refused: dict[str, Any] = {
        name: Estimate(size.estimate, refused=reason)
        for name, size in sizes.items()
        if isinstance(size, Estimate)
    }
    return replace(metrics, **refused)


def hardest(predictions: Float[np.ndarray, "members ..."], splits: Splits) -> list[dict[str, Any]]:
    """The test examples whose labels the members doubt most, for result.json.

    Args:
        predictions: (members, examples, classes) log-probabilities.
        splits: the data.

    Returns:
        The examples; none for a regression, and if all members diverged.
    """
    finite = (np.isfinite(member.astype(np.float32)).any() for member in predictions)
    if splits.classes is None or not any(finite):
        return []
    return listed(hard_examples(predictions, np.asarray(splits.test.y), most=HARDEST))


def listed(found: Sequence[HardExample]) -> list[dict[str, Any]]:
    """The first HARDEST examples, for result.json."""
    return [
        {
            "index": each.index,
            "label": each.label,
            "prediction": each.prediction,
            "confidence": round(each.confidence, 6),
        }
        for each in found[:HARDEST]
    ]


def believed(log_probabilities: np.ndarray, splits: Splits) -> Calibration | None:
    """The calibration of a network on the test set.

    Args:
        log_probabilities: (examples, classes).
        splits: the data.

    Returns:
        The Calibration; None for a regression, and if outputs are not finite.
    """
    if splits.classes is None or not np.isfinite(log_probabilities.max(1)).all():
        return None
    return calibration(log_probabilities, np.asarray(splits.test.y))


def numbers(metrics: dict[str, Metrics]) -> dict[str, Any]:
    """Measurements by name and part; accuracy is None for a regression."""
    test = metrics["test"]
    names = (
        ("accuracy", "error", "loss", "baseline")
        if isinstance(test, ClassMetrics | LabelMetrics)
        else ("error", "rmse", "median_absolute_error", "r2", "baseline")
    )
    tables: dict[str, Any] = {"accuracy": None} | {
        name: {part: getattr(m, name) for part, m in metrics.items()} for name in names
    }
    if isinstance(test, ClassMetrics):
        tables["test_classes"] = {
            name: getattr(test, name) for name in ("precision", "recall", "f1", "confusion")
        }
    if isinstance(test, LabelMetrics):
        tables["test_labels"] = {
            name: getattr(test, name) for name in ("precision", "recall", "f1", "auc")
        }
    if isinstance(test, ValueMetrics) and test.outputs:
        tables["test_outputs"] = [
            {name: getattr(each, name) for name in ("error", *names[1:4])} for each in test.outputs
        ]
    return tables


def write(
    setup: Setup,
    result: dict[str, Any],
    model: Model,
    runs: Sequence[Run],
    outputs: dict[str, Any],
    metrics: dict[str, Metrics],
    *,
    history: EpochMetrics | None = None,
) -> None:
    """Write the folder of a finished run, result.json last.

    Args:
        setup: the experiment, with its data and its folder.
        result: what result.json is to hold; the seconds are added.
        model: the architecture.
        runs: the networks. The first one is written, and the page shows all.
        outputs: predictions of each part, by name.
        metrics: metrics of each part, by name.
        history: metrics of each epoch to write and to draw; by default those of the first network.
    """
    from jaxnet.report.html import run as run_page

    phase(*WRITING)
    out, splits, run = setup.out, setup.splits, runs[0]
    figures = out / "figures"
    shown = run if history is None else replace(run, history=history)
    # left by a run that was stopped while it wrote
    if processes.is_first() and (out / "params").exists():
        shutil.rmtree(out / "params")
    processes.barrier("params")
    save(run, out / "params")
    if not processes.is_first():
        return
    files.write_text(out / "history.csv", history_csv(shown))
    run_page.draw(result, shown, splits, outputs, metrics, figures)
    files.write_text(
        out / "report.html",
        run_page.html(files.plain(result), model, runs, splits, outputs["test"], figures),
    )
    if setup.options.tensorboard:
        tensorboard.write(out / TENSORBOARD, run, metrics, sorted(figures.glob("*.png")))
        for number, member in enumerate(runs[1:LOGGED], 1):
            tensorboard.write(out / TENSORBOARD / f"member-{number}", member)
    result["seconds"] = setup.timer.seconds()
    files.write_json(out / "result.json", result)
    discard_progress(out / "state")


def history_csv(run: Run) -> str:
    """The metrics of each epoch that was trained, one line each, as CSV."""
    columns = {
        name: np.asarray(column)
        for name, column in run.history._asdict().items()
        if column is not None and name != "signals"
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *columns])
    writer.writerows(
        [i + 1, *(f"{column[i]:.7g}" for column in columns.values())]
        for i in range(int(run.epochs))
    )
    return text.getvalue()


def with_stream(splits: Splits, on_disk: Stream) -> Splits:
    """The splits with the training set on disk."""
    return replace(splits, train=on_disk)  # pyrefly: ignore[bad-argument-type]


def warm_up(setup: Setup) -> None:
    """Imports and compiles what is needed once the training has ended."""
    for module in ("orbax.checkpoint", "jaxnet.report.figures", "scipy.special"):
        importlib.import_module(module)
    compile_ahead(Problem(setup.model, setup.splits, setup.recipe))

"""Print what a person at a terminal sees of a run; nothing is computed here."""

import logging
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from jaxnet.data import Dataset, Splits
from jaxnet.data.schema import Schema
from jaxnet.diagnostics import Estimate, Ladder
from jaxnet.diagnostics.measured import not_tried
from jaxnet.diagnostics.text import interval_notes
from jaxnet.display import rounded, visible
from jaxnet.engine.prediction import ClassMetrics, LabelMetrics, Metrics
from jaxnet.report import tables
from jaxnet.report.tables import LUCK
from jaxnet.report.text import asked_of
from jaxnet.runtime.files import plain
from jaxnet.stats.scores import ClassScores, ValueScores
from jaxnet.stats.several import Scores
from jaxnet.studies.comparison import Comparison
from jaxnet.studies.sweep import Sweep

LIMITS = ("estimate", "low", "high")
CLASS_ROWS = 40  # rows of the table of classes
TRIAL_ROWS = 10  # rows of the table of trials
COLUMN_ROWS = 200  # rows of the table of columns
COLUMN_WIDTHS = (24, None, 12, 32)  # of the table of columns; None: the rest of the line


def escape_unencodable() -> None:
    """Make standard output and error escape what their encodings lack, instead of ending the
    program.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def say(*lines: str, stderr: bool = False) -> None:
    """Print lines, with nothing in them that is markup or controls the terminal."""
    _print("\n".join(map(cell, lines)), stderr=stderr, soft_wrap=True)


def _print(thing: RenderableType, *, stderr: bool = False, soft_wrap: bool = False) -> None:
    """Print text or a table. The stream writes it, so that a line of progress makes room."""
    console = Console(highlight=False, stderr=stderr)
    with console.capture() as text:
        console.print(thing, soft_wrap=soft_wrap)
    print(text.get(), end="", file=sys.stderr if stderr else sys.stdout, flush=True)


def cell(text: object) -> str:
    """A text that rich prints as it is: without markup, and without characters that control the
    terminal.
    """
    return escape(visible(text))


class LogPrinter(logging.Handler):
    """A logging handler that prints what the library logs, such as what a study costs, and
    warnings: to standard output, or to standard error where the former holds a result.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__()
        self.stderr = stderr

    def emit(self, record: logging.LogRecord) -> None:
        mark = "warning: " if record.levelno >= logging.WARNING else ""
        say(mark + record.getMessage(), stderr=self.stderr)


def listen(*, stderr: bool = False) -> None:
    """Print from now on what the library logs, as a LogPrinter does; only the last call counts."""
    logger = logging.getLogger("jaxnet")
    for handler in [each for each in logger.handlers if isinstance(each, LogPrinter)]:
        logger.removeHandler(handler)
    logger.addHandler(LogPrinter(stderr=stderr))
    logger.propagate = False  # some library may have given the root a handler too
    logger.setLevel(logging.INFO)


def data(splits: Splits) -> None:
    """Print the parts of a data set and what they hold."""
    train, validation, test = (f"{len(part):,}" for _, part in _parts(splits))
    shape = "x".join(map(str, splits.train.x.shape[1:]))
    classes = splits.classes
    task = "regression" if classes is None else f"classification into {len(classes):,} classes"
    if splits.targets is not None:
        task = asked_of(splits.schema)
    say(
        f"{splits.name}: {task}; inputs: {shape}; {train} training, {validation} validation and "
        f"{test} test examples"
    )
    for note in splits.notes:
        say(f"  {note}")


def columns(rows: Sequence[tuple[str, str, str, str]]) -> None:
    """Print a line for each column of a table.

    Args:
        rows: (name, what it becomes, number of gaps, first values).
    """
    table = Table("column", "becomes", "gaps", "first rows", box=None)
    for column, width in zip(table.columns, COLUMN_WIDTHS, strict=True):
        column.no_wrap, column.max_width = width is not None, width
    table.columns[2].justify = "right"
    for row in rows[:COLUMN_ROWS]:
        table.add_row(*map(cell, row))
    _print(table)
    if len(rows) > COLUMN_ROWS:
        say(f"... and {len(rows) - COLUMN_ROWS:,} more columns")


def labels(splits: Splits) -> None:
    """Print how many examples each class has, or the range of the values of a regression."""
    y = np.concatenate([np.asarray(part.y) for _, part in _parts(splits)])
    if splits.targets is not None:
        for name, column in zip(splits.schema.target_names, y.T, strict=True):
            if splits.schema.multi_label:
                say(f"label {name!r}: yes for {column.sum():,} ({column.mean():.2%})")
                continue
            low, middle, high = np.quantile(column, (0, 0.5, 1))
            say(f"values of {name!r}: from {low:.6g} to {high:.6g}, median {middle:.6g}")
        return
    if splits.classes is None:
        low, middle, high = np.quantile(y, (0, 0.5, 1))
        low, middle, high = (rounded(float(value), 6) for value in (low, middle, high))
        say(f"values to learn: from {low} to {high}, median {middle}")
        return
    counts = np.bincount(y, minlength=len(splits.classes))
    table = Table("class", "examples", "share", box=None)
    for i in np.argsort(-counts, kind="stable")[:CLASS_ROWS]:
        table.add_row(cell(splits.classes[i]), f"{counts[i]:,}", _share(counts[i] / len(y)))
    for column in table.columns[1:]:
        column.justify = "right"
    _print(table)
    if len(counts) > CLASS_ROWS:
        say(f"... and {len(counts) - CLASS_ROWS} more classes")


def layers(name: str, rows: Sequence[tuple[str, str, int]]) -> None:
    """Print the table that `describe` returns.

    Args:
        name: name of the model.
        rows: (layer, shapes, number of parameters).
    """
    say(name)
    table = Table("layer", "shapes", "parameters", box=None)
    table.columns[-1].justify = "right"
    for layer, shapes, count in rows:
        table.add_row(cell(layer), shapes, f"{count:,}")
    _print(table)


def sweep(found: Sweep, names: Sequence[str]) -> None:
    """Print the trials of a sweep with the lowest validation error, and its notes.

    Args:
        found: the sweep.
        names: names of the hyperparameters that were varied.
    """
    table, percent = found.table, found.run.classes is not None
    names = [*names, *(name for name in ("trained_epochs",) if name in table)]
    measures = ("error", "low", "high", "interval_for", "training_error", "diverged")
    shares = ("error", "low", "high", "training_error")
    shown = Table("trial", *names, *(name.replace("_", " ") for name in measures), box=None)
    order = np.lexsort((table["loss"], table["error"]))
    for row in order[:TRIAL_ROWS]:
        cells = (
            _share(v)
            if percent and name in shares
            else rounded(float(v))
            if isinstance(v, float | np.floating)
            else str(v)
            for name, v in ((name, table[name][row]) for name in (*names, *measures))
        )
        shown.add_row(f"{row}", *map(cell, cells))
    for column in shown.columns:
        column.justify = "right"
    _print(shown)
    if len(order) > TRIAL_ROWS:
        say(f"... and {len(order) - TRIAL_ROWS} more trials, in sweep.csv")
    for words in found.words:
        say(words)


def spreads(errors: Mapping[str, np.ndarray], deviations: Mapping[str, Estimate]) -> None:
    """Print the test errors of networks that differ only by chance, by source of chance, with their
    standard deviations.

    Args:
        errors: (networks,) test errors, by source.
        deviations: their standard deviation, by source.
    """
    table = Table(
        "", "mean test error", "standard deviation", "95% interval", "lowest", "highest", box=None
    )
    for kind, each in errors.items():
        spread = deviations[kind]
        table.add_row(
            kind,
            f"{each.mean():.2%}",
            f"{spread.estimate:.2%}",
            _interval(spread, "{:.2%}"),
            *(f"{value:.2%}" for value in (each.min(), each.max())),
        )
    for column in table.columns[1:]:
        column.justify = "right"
    _print(table)


def comparison(found: Comparison) -> None:
    """Print runs side by side, their differences, and which of their options differ."""
    table = Table(
        "run",
        "test error",
        "95% interval",
        "mean of members",
        "unseen error",
        "test examples",
        "data set",
        box=None,
    )
    for run in found.runs:
        together = unseen = ""
        if run.unseen_error is not None:
            estimate, interval = _cells(run.unseen_error, run.regression)
            unseen = estimate + f", {interval}" * bool(interval)
        if run.members_error is not None:
            estimate, interval = _cells(run.members_error, run.regression)
            together = f"{estimate} of {run.members}" + f", {interval}" * bool(interval)
        cells = (
            run.name,
            *_cells(run.error, run.regression),
            together,
            unseen,
            f"{run.test_examples:,}",
            run.dataset,
        )
        table.add_row(*map(cell, cells))
    _print(table)
    _print(_scores({run.name: run.scores for run in found.runs}))
    errors = [
        each
        for run in found.runs
        if run.regression
        for each in (run.error, run.members_error, run.unseen_error)
    ]
    say(*interval_notes(each for each in errors if each is not None), "")
    for pair in found.pairs:
        say(
            pair.words
            if pair.difference is not None
            else f"{pair.first} and {pair.second}: {pair.words}"
        )
        for each in pair.not_used:
            say(f"  not used: {each}")
    if any(pair.of in ("networks", "training set") for pair in found.pairs):
        say(LUCK)
    if not found.differs:
        say("nothing differs in their experiments, data, models, recipes, seeds and versions")
        return
    table = Table("what differs", *(cell(run.name) for run in found.runs), box=None)
    for name, values in found.differs.items():
        table.add_row(
            cell(name.replace("_", " ")),
            *("" if value is None else cell(value) for value in values),
        )
    say("")
    _print(table)


def result(
    metrics: dict[str, Metrics], schema: Schema, ladder: Ladder, scores: dict[str, Scores]
) -> None:
    """Print errors with intervals beside the trivial baseline, other scores, the table of classes,
    and the verdict.

    Args:
        metrics: metrics of each part, by name.
        schema: what labels mean.
        ladder: the error analysis.
        scores: scores besides the error of each held-out part, by name.
    """
    classes = schema.classes
    table = Table(
        "", "error", "95% interval", "accuracy", "always the most frequent class", box=None
    )
    if isinstance(metrics["test"], LabelMetrics):
        table = Table(
            "", "error", "95% interval", "accuracy", "always the more frequent answers", box=None
        )
    elif classes is None:
        table = Table(
            "",
            "error / variance",
            "95% interval",
            "RMSE",
            "R²",
            "always the training mean",
            box=None,
        )
    for name, m in metrics.items():
        if isinstance(m, ClassMetrics | LabelMetrics):
            table.add_row(
                name,
                f"{m.error.estimate:.2%}",
                _interval(m.error, "{:.2%}"),
                f"{m.accuracy.estimate:.2%}",
                f"{m.baseline:.2%}",
            )
        else:
            values = (rounded(m.rmse.estimate), f"{m.r2.estimate:.4f}", f"{m.baseline:.2%}")
            table.add_row(name, f"{m.error.estimate:.2%}", _interval(m.error, "{:.2%}"), *values)
    for column in table.columns[1:]:
        column.justify = "right"
    _print(table)
    _print(_scores(scores))
    if notes := interval_notes(_errors(metrics, scores)):
        say(*notes)
    test, recall = metrics["test"], scores["test"]
    if isinstance(test, ClassMetrics) and classes is not None:
        assert isinstance(recall, ClassScores)
        each = Table(
            "class",
            "precision",
            "recall",
            "95% interval",
            "F1",
            "examples",
            title="test set",
            title_justify="left",
            box=None,
        )
        for i, name in list(enumerate(classes))[:CLASS_ROWS]:
            each.add_row(
                cell(name),
                _share(test.precision[i]),
                _share(test.recall[i]),
                _interval(recall.recall[i], "{:.2%}"),
                _share(test.f1[i]),
                str(test.confusion[i].sum()),
            )
        for column in each.columns[1:]:
            column.justify = "right"
        _print(each)
        if len(classes) > CLASS_ROWS:
            say(f"... and {len(classes) - CLASS_ROWS} more classes, in result.json")
    if isinstance(test, LabelMetrics):
        each = Table("label", "precision", "recall", "F1", "AUC", "yes", title="test set", box=None)
        for i, name in enumerate(schema.target_names):
            shares = (_share(values[i]) for values in (test.precision, test.recall, test.f1))
            yes = int(test.labels[i].confusion[1].sum())
            each.add_row(cell(name), *shares, f"{test.auc[i]:.4f}", f"{yes:,}")
        _print(each)
    say("", ladder.verdict)
    claimed = [finding for finding in ladder.findings if finding.claimed]
    if claimed and claimed[0].remedies:
        say("try next: " + "; ".join(remedy.told for remedy in claimed[0].remedies))
        say(not_tried(remedy.cases for remedy in claimed[0].remedies))


def _errors(metrics: Mapping[str, Metrics], scores: Mapping[str, Scores]) -> list[Estimate]:
    """The errors, and the scores of a regression."""
    found = [m.error for m in metrics.values()]
    for each in scores.values():
        if isinstance(each, ValueScores):
            found += [each.rmse, each.mae, each.median_absolute_error, each.r2]
    return found


def _scores(found: Mapping[str, Scores]) -> Table:
    """Scores besides the error, a column for each held-out part or each run."""

    def shown(value: Mapping[str, Any], percent: bool) -> str:
        form = "{:.2%}".format if percent else rounded
        numbers = [math.nan if (v := value[name]) is None else v for name in LIMITS]
        size = form(numbers[0])
        return size if value["refused"] else "{} ({} to {})".format(size, *map(form, numbers[1:]))

    table = Table(
        "", *map(cell, found), title="other scores, 95% intervals", title_justify="left", box=None
    )
    for name, *cells in tables.scores(plain(found), shown):
        table.add_row(cell(name), *cells)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def error(text: str) -> None:
    """Print a message of failure to standard error."""
    print(f"error: {visible(text)}", file=sys.stderr)


def warning(text: str) -> None:
    """A message that stops nothing, on standard error."""
    print(f"warning: {visible(text)}", file=sys.stderr)


def _parts(splits: Splits) -> list[tuple[str, Dataset]]:
    return [("train", splits.train), ("validation", splits.validation), ("test", splits.test)]


def _cells(error: Estimate, regression: bool) -> tuple[str, str]:
    """(an error, its interval), as text."""
    form = rounded if regression else "{:.2%}".format
    return form(error.estimate), "" if error.refused else f"{form(error.low)} to {form(error.high)}"


def _share(value: float) -> str:
    """A share in percent; nothing where there is none."""
    return "" if math.isnan(value) else f"{value:.2%}"


def _interval(estimate: Estimate, form: str) -> str:
    return (
        "no interval"
        if estimate.refused
        else f"{form.format(estimate.low)} to {form.format(estimate.high)}"
    )

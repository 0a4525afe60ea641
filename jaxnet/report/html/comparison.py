"""The page of a comparison, with runs side by side. It reads result.json and the figures, and
computes nothing.
"""

from pathlib import Path
from typing import Any

from jaxnet.diagnostics.text import interval_notes
from jaxnet.report import tables
from jaxnet.report.html.document import chart, document, section, table, text
from jaxnet.report.html.page import number
from jaxnet.report.tables import LUCK

# What was compared, if not recipes.
SCOPES = ("recipes", "training set", "networks")  # the first in files of earlier versions
WRAPS = "numbers wraps"  # a table that breaks words on a phone, so that several runs fit


def page(result: dict[str, Any], figures: Path) -> str:
    """The HTML of a comparison.

    Args:
        result: what result.json holds, as plain values.
        figures: the folder of the figures.

    Returns:
        The text of report.html.
    """
    names = [run["name"] for run in result["runs"]]
    parts = [
        f'<section id="verdict"><p class="verdict">{text(result["verdict"])}</p></section>',
        section("Side by side", _runs(result["runs"])),
        section("Other scores", _scores(result["runs"])),
        section("Differences", _differences(result, figures)),
        section("What differs", _unlike(result["differs"], names)),
        section(
            "Training curves",
            chart(figures / "curves", "loss and accuracy over the epochs, one line per run"),
        ),
    ]
    return document(f"compare: {', '.join(names)}", "\n".join(parts))


def _runs(runs: list[dict[str, Any]]) -> str:
    """A column for each run."""

    def errors(name: str) -> list[str]:
        return [number(run.get(name), percent=not run["regression"]) for run in runs]

    together = [
        error and f"{error} of {run['members']}"
        for run, error in zip(runs, errors("members_error"), strict=True)
    ]
    rows = [
        ("test error", *errors("error")),
        ("mean test error of its networks", *together),
        ("error on unseen examples, of its cross-fitted networks", *errors("unseen_error")),
        ("test examples", *(f"{run['test_examples']:,}" for run in runs)),
        ("model", *(text(run["model"]) for run in runs)),
        ("parameters", *(f"{run['parameters']:,}" for run in runs)),
        ("how the training ended", *(text(run["status"]) for run in runs)),
    ]
    names = ("error", "members_error", "unseen_error")
    found = [run.get(name) for run in runs if run["regression"] for name in names]
    notes = "".join(
        f'<p class="note">{text(note)}</p>'
        for note in interval_notes(each for each in found if each is not None)
    )
    head = ["", *(text(run["name"]) for run in runs)]
    shown = [row for row in rows if any(row[1:])]
    return table(head, shown, caption="with 95% intervals for new examples", kind=WRAPS) + notes


def _scores(runs: list[dict[str, Any]]) -> str:
    rows = tables.scores(
        {run["name"]: run["scores"] for run in runs},
        lambda value, percent: number(value, percent=percent),
    )
    head = ["", *(text(run["name"]) for run in runs)]
    return table(
        head,
        ((text(name), *cells) for name, *cells in rows),
        caption="of each network on the test set, with 95% intervals",
        kind=WRAPS,
    )


def _differences(result: dict[str, Any], figures: Path) -> str:
    percent = {run["name"]: not run["regression"] for run in result["runs"]}
    compared = [pair for pair in result["pairs"] if pair["difference"] is not None]
    left = [pair for pair in result["pairs"] if pair["difference"] is None]
    found = "".join(
        f"<li>{text(pair['words'])}{_not_used(pair.get('not_used', []))}</li>" for pair in compared
    )
    without = "".join(
        f"<li>{text(pair['first'])} and {text(pair['second'])}: {text(pair['words'])}</li>"
        for pair in left
    )
    html = f"<ul>{found}{without}</ul>"
    if compared:
        columns = ["", "difference", "is it real?", "only one is wrong: first, second"]
        rows = [
            (
                f"{text(pair['first'])} less {text(pair['second'])}",
                number(pair["difference"], percent=percent[pair["first"]]),
                "yes" if pair["real"] else "not shown",
                ""
                if pair["only_first"] is None
                else f"{pair['only_first']:,}, {pair['only_second']:,}",
            )
            for pair in compared
        ]
        told = (
            "the error of the first less that of the second, with intervals that all together "
            "hold with 95%, and the number of test examples that only one of them gets wrong"
        )
        html += table(columns, rows, caption=told, kind=WRAPS)
        html += chart(
            figures / "differences", "differences with their intervals; dotted line: no difference"
        )
    if any(pair["of"] in SCOPES for pair in result["pairs"]):
        html += f'<p class="note">{text(LUCK)}</p>'
    return html


def _not_used(given: list[str]) -> str:
    items = "".join(f"<li>{text(each)}</li>" for each in given)
    return f"<br>Not used:<ul>{items}</ul>" if given else ""


def _unlike(differs: dict[str, list[Any]], names: list[str]) -> str:
    if not differs:
        return "<p>Nothing in experiment, data, model, recipe, seed and versions.</p>"
    rows = [
        (text(name.replace("_", " ")), *("" if value is None else text(value) for value in values))
        for name, values in differs.items()
    ]
    return table(["", *map(text, names)], rows, kind=WRAPS)

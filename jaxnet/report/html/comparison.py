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

SCOPES = {
    "recipe": "the recipe",
    "recipes": "several networks each on this training set",  # in files of earlier versions
    "training set": "several networks each on this training set",
    "networks": "one network each on this training set",
}


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
            "While they learned",
            chart(figures / "curves", "loss and accuracy over the epochs, one line per run"),
        ),
    ]
    return document(f"compare: {', '.join(names)}", "\n".join(parts))


def _runs(runs: list[dict[str, Any]]) -> str:
    several = any(run["members_error"] for run in runs)
    crossed = any(run.get("unseen_error") for run in runs)
    head = [
        "",
        "test error",
        *["mean of its members"] * several,
        *["error on unseen examples of the pool"] * crossed,
        "test examples",
        "model",
        "parameters",
        "how it ended",
    ]
    rows = []
    for run in runs:
        percent, together, unseen = not run["regression"], "", ""
        if run["members_error"] is not None:
            together = f"{number(run['members_error'], percent=percent)} of {run['members']}"
        if run.get("unseen_error") is not None:
            unseen = number(run["unseen_error"], percent=percent)
        rest = (
            f"{run['test_examples']:,}",
            text(run["model"]),
            f"{run['parameters']:,}",
            text(run["status"]),
        )
        rows.append(
            (
                text(run["name"]),
                number(run["error"], percent=percent),
                *[together] * several,
                *[unseen] * crossed,
                *rest,
            )
        )
    names = ("error", "members_error", "unseen_error")
    errors = [run.get(name) for run in runs if run["regression"] for name in names]
    notes = "".join(
        f'<p class="note">{text(note)}</p>'
        for note in interval_notes(each for each in errors if each is not None)
    )
    return table(head, rows, caption="with 95% intervals for new examples") + notes


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
        columns = [
            "",
            "difference",
            "is it real?",
            "of",
            "only the first is wrong on",
            "only the second is wrong on",
        ]
        rows = [
            (
                f"{text(pair['first'])} less {text(pair['second'])}",
                number(pair["difference"], percent=percent[pair["first"]]),
                "yes" if pair["real"] else "not shown",
                SCOPES[pair["of"]],
                *(
                    "" if pair[name] is None else f"{pair[name]:,}"
                    for name in ("only_first", "only_second")
                ),
            )
            for pair in compared
        ]
        told = (
            "the error of the first less that of the second, with intervals that all together "
            "hold with 95%"
        )
        html += table(columns, rows, caption=told)
        html += chart(
            figures / "differences", "differences with their intervals; dotted line: no difference"
        )
    if any(pair["of"] in SCOPES and pair["of"] != "recipe" for pair in result["pairs"]):
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
    return table(["", *map(text, names)], rows)

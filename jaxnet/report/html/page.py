"""The page of a run: findings, reasons and remedies, then all measurements. It reads result.json
and the figures, and computes nothing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxnet.diagnostics.findings import ERROR_STEPS, Code, first_to_fix
from jaxnet.diagnostics.measured import not_tried
from jaxnet.diagnostics.text import CROSS_FITTED_NAMES, PART_NAMES, SHARED, interval_notes
from jaxnet.display import rounded
from jaxnet.report import tables
from jaxnet.report.html import studies
from jaxnet.report.html.document import anchor, chart, document, section, table, text
from jaxnet.report.html.findings import by_promise, copies, findings_html, remedy_in_words
from jaxnet.stats.bias_variance import TERMS
from jaxnet.stats.scores import SCORES
from jaxnet.studies.measures import Unit, unit_of

MEASURES = {
    "error": "error",
    "accuracy": "accuracy",
    "loss": "loss, nats",
    "rmse": "RMSE",
    "r2": "R²",
    "baseline": "baseline error",
}
# What each figure of a network shows, in order.
FIGURES = {
    "diagnosis": (
        "errors of each part of the data, and how bias and variance change with the size "
        "of the training set"
    ),
    "ladder": "errors of each part of the data, with 95% intervals",
    "curves": "loss and accuracy in each epoch; training (running): averaged over the epoch while "
    "the network learns",
    "signals": "what each layer does at some steps of each epoch, one line per layer. Size of the "
    "gradient: its norm. Size of the outputs: their root mean square before the activation. Change "
    "per step: the norm of the change as a share of the norm of the parameters. Dead units: relu "
    "units that are 0 on the whole batch. Saturated outputs: those of a tanh or sigmoid that are "
    "so close to a bound that they hardly learn",
    "calibration": "accuracy plotted against confidence; a calibrated "
    "network lies on the dotted line",
    "values": "predicted and true values of the test set",
    "augmented": "training images, and what training may see of them",
}
# What each figure of a study shows.
STUDY_FIGURES = {
    "bias_variance": "error, squared bias and variance for each value, with 95% intervals",
    "census": "errors of networks that did and did not train on an example, for all examples",
    "doubtful": "training images whose labels are most doubtful: row, label, and the class that "
    "networks that did not train on the image find more probable, with its probability",
    "doubtful_test": "the same for images of the test set, on which no network was trained",
    "estimated_errors": "error of the network on each shifted test set: measured with labels, and "
    "estimated without them, with 95% intervals",
    "gains": "how much each change lowers the error on unseen examples, with 95% intervals",
    "learning_curve": "error over the number of training examples: measured, and predicted for "
    "more",
    "power": "share of batches in which a shift is noticed, over the size of the batch, one line "
    "for each strength; dotted line: the share of false alarms that is accepted",
    "spread": "each dot is the test error of one network; the line is their mean",
    "unlike": "images that the test tells most surely from the others",
    "validation_curve": "error of each trial over the values that were tried; bars: 95% intervals",
}
PLACED = (*FIGURES, "confusion", "wrong")
ERRORS = "Where the error comes from"  # heading of the error analysis
KEPT = "The saved network"  # heading of its errors, on the page of a study
# Experiments whose page is about a study and not about one network, with the heading of the study.
STUDIES = {
    "advise": "What was tried, and what it gains",
    "bias_variance": "Bias and variance",
    "census": "What each example is worth",
    "labels": "Doubtful labels",
    "learning_curve": "Learning curve",
    "seeds": "How much is luck",
    "shift": "Shifts, and what is noticed",
    "sweep": "The trials",
}
EXAMPLES = "examples.html"  # beside the page of a census
CONFUSION = "Confusion matrix"  # heading of the confusion matrix
MATRIX_CLASSES = 30  # with more classes, the confusion matrix is a picture
TRIAL_ROWS = 10  # trials of a sweep
LISTED = 20  # wrong labels of a census
FEW = 5  # rows that stand for a list
COLUMNS = {"estimate": "error", "low": "low", "high": "high"}  # of an Estimate, in a sweep's table
LONGEST_HEADING = 60  # letters of a verdict before its colon; longer ones are sentences
UPRIGHT = 4  # names with more letters are rotated above the matrix


def page(
    result: dict[str, Any],
    figures: Path,
    *,
    wrong: str = "",
    playground: str = "",
    read: dict[str, Any] | None = None,
) -> str:
    """The HTML of a result.

    Args:
        result: what result.json holds, as plain values.
        figures: the folder of the figures.
        wrong: HTML of the wrong predictions.
        playground: HTML of the playground.
        read: what the scripts of the playground read.

    Returns:
        The text of report.html.
    """

    def shown(name: str) -> str:
        return chart(figures / name, FIGURES[name]) if (figures / f"{name}.png").exists() else ""

    def of_first(body: str) -> str:
        many = result["members"] if "diagnosis" in result else 1
        first = (
            "the saved network, which was trained on all examples but the test set"
            if result.get("design") == "cross-fitted"
            else f"the first of the {many} networks"
        )
        return f'<p class="note">This is {first}.</p>{body}' if body and many > 1 else body

    def of_trainings(body: str) -> str:
        if result.get("design") != "cross-fitted":
            return of_first(body)
        whose = f"Means over the {result['members']} networks, each of which left out a fold"
        return f'<p class="note">{whose}: "validation" is that fold.</p>{body}' if body else body

    own = sorted(path.stem for path in figures.glob("*.png") if path.stem not in PLACED)
    study = STUDIES.get(result["experiment"])
    about_study = (
        "".join(chart(figures / name, STUDY_FIGURES[name]) for name in own)
        + _trials(result.get("sweep"), percent=not _regression(result))
        + _tried(result.get("advice"))
        + _examples(figures.parent)
        + _census(result.get("census"))
        + studies.of_study(result)
    )
    errors = shown("diagnosis") + shown("ladder") + _decompositions(result.get("diagnosis"))
    parts = {
        study or result["experiment"].replace("_", " "): about_study,
        "Findings": findings_html(result),
        ERRORS: errors if study is None else "",
        "Try a row" if _of_table(result) else "Draw, and watch it think": playground,
        KEPT: "" if study is None else _numbers(result) + errors,
        "Training curves": of_trainings(shown("curves") + shown("signals") + shown("augmented")),
        CONFUSION: of_first(_confusion(result, figures)),
        "Predicted vs. true": of_first(shown("values")),
        "Mistakes": of_first(wrong),
        "Calibration": of_first(_calibration(result.get("calibration")) + shown("calibration")),
        "Other scores": _scores(result),
        "How the data was read": _reading(result["dataset"].get("notes", ())),
        "Reproduce this run": _about(result),
    }
    parts = {name: body for name, body in parts.items() if body}
    links = "".join(f'<a href="#{anchor(name)}">{text(name)}</a>' for name in parts)
    body = "\n".join(
        [
            _top(result, numbers=study is None),
            f'<nav aria-label="parts of the page">{links}</nav>',
            *(section(*part) for part in parts.items()),
        ]
    )
    about = "" if study else f"{result['model']['name']} on "
    title = f"{result['experiment'].replace('_', ' ')}: {about}{result['dataset']['name']}"
    own_script = "row.js" if _of_table(result) else "playground.js"
    scripts = ("page.js", "network.js", own_script) if read else ("page.js",)
    return document(title, body, scripts=scripts, read={**(read or {}), **copies(result)})


def number(value: Any, *, percent: bool = False) -> str:
    """An Estimate as a dict, or a number, as HTML.

    Args:
        value: the Estimate, number or None.
        percent: whether to write it in percent.

    Returns:
        The HTML.
    """
    form = "{:.2%}".format if percent else rounded
    if not isinstance(value, dict):
        return "" if value is None else form(value)
    center = "" if value["estimate"] is None else form(value["estimate"])
    if value["low"] is None or value["high"] is None:
        return f'{center} <small title="{text(value["refused"] or "")}">no interval</small>'
    return f"{center} <small>{form(value['low'])} to {form(value['high'])}</small>"


def _of_table(result: Mapping[str, Any]) -> bool:
    """Whether the inputs come from the columns of a table."""
    return result["dataset"].get("columns") is not None


def _regression(result: Mapping[str, Any]) -> bool:
    about = result["dataset"]
    return about.get("task", "classification" if about["classes"] else "regression") == "regression"


def _top(result: dict[str, Any], *, numbers: bool) -> str:
    verdict = f'<p class="verdict">{_headed(result["verdict"])}</p>'
    tried = (
        _adopt(result["advice"])
        if "advice" in result
        else f"<p>{STUDY_NEXT[result['experiment']]}</p>"
        if result["experiment"] in STUDY_NEXT
        else _next(result["findings"], result["tolerance"])
    )
    beside = (
        '<div class="beside">'
        + (f"<div>{_numbers(result)}</div>" if numbers else "")
        + f"<div><h2>What to try next</h2>{tried}</div></div>"
    )
    return f'<section id="verdict">{verdict}{beside}</section>'


def _headed(verdict: str) -> str:
    """A verdict with its first words as a heading, unless they are a sentence."""
    name, _, why = verdict.partition(":")
    if len(name) > LONGEST_HEADING:
        return text(verdict)
    return f"<b>{text(name)}</b>{text(why.strip())}"


# What to do after a study whose findings are about the data, and have no remedies.
STUDY_NEXT = {
    "labels": "Look at the doubtful labels below. Where one is wrong, write the correct label into "
    "the column corrected of labels.csv. jaxnet train DATA --corrections labels.csv then trains "
    "with the corrected labels."
}


def _next(findings: Sequence[dict[str, Any]], tolerance: float) -> str:
    """The remedies of the finding to fix first; else those of the largest error step that could be
    above the tolerance.
    """
    code, words = (
        first_to_fix([Code(finding["code"]) for finding in findings if finding["claimed"]]),
        "To reduce {}",
    )
    if code is None:
        steps = [
            finding
            for finding in findings
            if Code(finding["code"]) in ERROR_STEPS and finding["size"]["estimate"] is not None
        ]
        unsettled = [
            finding
            for finding in steps
            if finding["size"]["estimate"]
            and (finding["size"]["high"] is None or finding["size"]["high"] > tolerance)
        ]
        code = Code(unsettled[0]["code"]) if unsettled else None
        if not steps:
            return (
                "<p>No kind of error was compared with the tolerance here, so there is no advice. "
                "jaxnet diagnose measures bias and variance.</p>"
            )
        words = (
            "No kind of error is shown to be above the tolerance. The largest one that could be is "
            "{}; to reduce it"
        )
    if code is None:
        return "<p>No kind of error is shown to be above the tolerance.</p>"
    remedies = next(finding["remedies"] for finding in findings if Code(finding["code"]) == code)
    if not remedies:
        return f"<p>{text(code.words)}: the recipe has every remedy already that is known here.</p>"
    first, less = by_promise(remedies)
    order = ", the most promising first" * (len(first) > 1)
    listed = "".join(f"<li>{text(remedy_in_words(remedy))}</li>" for remedy in first)
    untried = not_tried(each.get("cases") for each in remedies)
    return (
        f'<p>{text(words.format(code.words))}{order}:</p><ol class="next">{listed}</ol>'
        f'<p class="note">{text(" ".join(filter(None, [less, untried])))}</p>'
    )


def _numbers(result: dict[str, Any]) -> str:
    # For many networks the error is their mean, but the loss would be that of the first one.
    names = [
        name
        for name in MEASURES
        if result.get(name)
        and ("diagnosis" not in result or name in ("error", "accuracy", "baseline"))
    ]
    shares = ("error", "accuracy", "baseline")
    words = dict(MEASURES)
    if _regression(result):
        words["error"] = "error / variance of y"
    examples, parts = result["dataset"]["examples"], PART_NAMES
    if result.get("design") == "cross-fitted":
        examples, parts = result["diagnosis"]["examples"], CROSS_FITTED_NAMES
    rows = [
        (
            f"{parts[part]}, {examples.get(part, 0):,} examples",
            *(number(result[name].get(part), percent=name in shares) for name in names),
        )
        for part in result["error"]
    ]
    trivial = (
        "always the training mean"
        if _regression(result)
        else "the error of always guessing the most frequent class"
    )
    who = (
        f"{result['members']} networks"
        if "diagnosis" in result
        else f"one network, {result['status']}"
    )
    html = table(
        ["", *(words[name] for name in names)],
        rows,
        caption=f"{who}; with 95% intervals; baseline error: {trivial}",
    )
    return html + _notes(result["error"].values())


def _trials(sweep: Mapping[str, Any] | None, *, percent: bool) -> str:
    """The trials of a sweep with the lowest validation error, and its notes."""
    if sweep is None or "interval_for" not in sweep["trials"]:  # of before it was kept
        return ""
    trials, best = sweep["trials"], sweep["best"]
    names = list(trials)[: list(trials).index("error")]

    def rank(row: int) -> tuple[bool, float]:
        error = trials["error"][row]
        return row != best, math.inf if error is None else error

    order = sorted(range(len(trials["error"])), key=rank)
    rows = [
        (
            str(row),
            *(text(_value(trials[name][row])) for name in names),
            number(
                {name: trials[column][row] for name, column in COLUMNS.items()} | {"refused": ""},
                percent=percent,
            ),
            text(trials["interval_for"][row]),
        )
        for row in order[:TRIAL_ROWS]
    ]
    left = len(order) - len(rows)
    notes = [*sweep["words"], *([f"{left} more trials are in sweep.csv"] if left else [])]
    listed = "".join(f"<li>{text(words)}</li>" for words in notes)
    head = ["trial", *(text(name.replace("_", " ")) for name in names)]
    caption = "the chosen trial, then those with the lowest validation error; with 95% intervals"
    return (
        table([*head, "validation error", "interval for"], rows, caption=caption)
        + f"<ul>{listed}</ul>"
    )


def _adopt(advice: Mapping[str, Any]) -> str:
    """What follows from an advice."""
    best = text(advice["tried"][advice["best"]]["name"])
    if advice["adopted"]:
        adopted = [each["adopted"] for each in advice.get("rounds", ()) if each["adopted"]]
        more = (
            ""
            if len(advice.get("rounds", ())) > 1
            else (" Then run jaxnet advise again with this change: other changes may help further.")
        )
        return (
            f"<p>Use {text(', then '.join(adopted)) or best}; the network on this page was trained "
            f"with it.{more}</p>"
        )
    most = max(0.0, advice["gain"]["high"])
    return (
        f"<p>Keep the recipe. The best of {len(advice['tried'])} changes, {best}, gains at most "
        f"{_unit(advice).size(most)}.</p>"
    )


def _unit(advice: Mapping[str, Any]) -> Unit:
    """How sizes of an advice are said."""
    return unit_of(advice.get("measure", "error"), of_values=advice["regression"])


def _tried(advice: Mapping[str, Any] | None) -> str:
    """What was tried, what it gains and what it costs."""
    if advice is None:
        return ""
    rounds = advice.get("rounds") or [advice]  # older files have a single round
    tables = "".join(
        (f"<h3>Round {number}</h3>" if len(rounds) > 1 else "")
        + _round(each, [one for one in advice["tried"] if one.get("round", 1) == number], advice)
        for number, each in enumerate(rounds, 1)
    )
    more = advice.get("more_data")
    notes = [*([more["words"]] if more else ()), *advice["notes"]]
    listed = "".join(f"<li>{text(words)}</li>" for words in notes)
    return f"{tables}<ul>{listed}</ul>"


def _round(
    found: Mapping[str, Any], tried: Sequence[Mapping[str, Any]], advice: Mapping[str, Any]
) -> str:
    """What was found and tried in a round."""
    unit = _unit(advice)
    rows = [
        (
            text(each["name"]),
            "{} <small>{} to {}</small>".format(
                *(unit.number(each["gain"][name]) for name in COLUMNS)
            ),
            f"{each['cost']:.1f} x",
            text(each["verdict"]),
        )
        for each in sorted(tried, key=lambda each: -each["gain"]["estimate"])
    ]
    caption = (
        f"gain: reduction of the {unit.noun} on unseen examples, from "
        f"{unit.share(found['error']['estimate'])} of the current recipe; with "
        f"{100 * found.get('level', 0.95):.3g}% intervals; {advice['trainings']:,} networks in all"
    )
    head = ["change", f"gain, {unit.words}", "training time", "verdict"]
    wrong = "".join(
        f"<p><b>{text(Code(each['code']).words)}</b>: {text(each['evidence'])}.</p>"
        for each in found.get("findings", ())
    )
    return wrong + table(head, rows, caption=caption)


def _census(census: Mapping[str, Any] | None) -> str:
    """The errors on examples that networks have seen and have not seen, and the notes."""
    if census is None:
        return ""
    parts = census["decomposition"] or {}
    rows = [
        (words, number(given, percent=True))
        for words, given in (
            ("error on examples that a network has not seen", census["unseen"]),
            ("error on examples that it was trained on", census["seen"]),
            ("bias² of the error on unseen examples", parts.get("bias")),
            ("variance of that error", parts.get("variance")),
        )
        if given is not None
    ]
    unit = ", of the variance of y" * census["regression"]
    caption = (
        f"{census['members']} networks, each trained on {census['examples']:,.0f} of "
        f"{census['pool']:,} examples{unit}; with 95% intervals"
    )
    listed = "".join(f"<li>{text(words)}</li>" for words in census["notes"])
    each = "<p>examples.csv has a row for each example, the hardest first.</p>"
    sets, attack = census.get("prediction_sets"), census.get("membership_inference")
    return (
        table(["", "percent"], rows, caption=caption)
        + _mislabeled(census)
        + _worth(census)
        + ("" if sets is None else f"<p>{text(_sentence(sets['words']))}</p>")
        + ("" if attack is None else _membership(attack))
        + _slices(census.get("slices", []))
        + f"{each}<ul>{listed}</ul>"
    )


def _examples(folder: Path) -> str:
    """A link to the page of examples, where the folder has one."""
    if not (folder / EXAMPLES).exists():
        return ""
    return (
        f'<p><a href="{EXAMPLES}">{EXAMPLES}</a> shows the most important examples in detail: '
        "the training examples that speak for and against their labels, and what a change would "
        "gain.</p>"
    )


def _worth(census: Mapping[str, Any]) -> str:
    """Which examples are memorized or harmful, and what it gains to drop mislabeled ones."""
    words = list[str]()
    if (gain := census.get("without_mislabeled")) is not None:
        words.append(
            "Training without the labels that are listed as wrong is predicted to lower the error "
            f"on unseen examples by {number(gain, percent=True)}; labels.csv lists them, and "
            "jaxnet train --corrections reads it once its column corrected is filled in."
        )
    for name, what in (
        ("memorized", "memorized (by more than 25 points)"),
        ("harmful", "harmful (the error on unseen examples is lower without them)"),
    ):
        if name in census:
            words.append(
                f"Training examples that are shown to be {what}: {len(census[name])}"
                + f", such as rows {', '.join(map(str, census[name][:FEW]))}" * bool(census[name])
                + "."
            )
    return f"<p>{' '.join(words)}</p>" if words else ""


def _membership(attack: Mapping[str, Any]) -> str:
    """What an attacker could tell of the networks, and who is exposed most."""
    words = f"<p>{text(_sentence(attack['verdict']))}"
    if not attack["most_exposed"]:
        return f"{words}</p>"
    rows = ", ".join(
        f"{each['index']} ({each['exposure']:.1%} of the networks trained on it)"
        for each in attack["most_exposed"]
    )
    return f"{words} The most exposed rows of the training set: {rows}.</p>"


def _slices(slices: Sequence[Mapping[str, Any]]) -> str:
    """Where the error is higher than elsewhere."""
    if not slices:
        return ""
    rows = [
        (
            text(each["words"]),
            f"{each['examples']:,}",
            f"{each['error']:.2%}",
            f"{each['elsewhere']:.2%}",
            number(each["more"], percent=True),
        )
        for each in slices
    ]
    caption = (
        "slices with a higher error on unseen examples than elsewhere, found on one half of the "
        "examples and confirmed on the other, of which the errors are; with 95% intervals"
    )
    head = ["where", "examples", "error", "elsewhere", "higher by"]
    return table(head, rows, caption=caption)


def _sentence(words: str) -> str:
    """Words as a sentence of their own."""
    return f"{words[:1].upper()}{words[1:]}."


def _mislabeled(census: Mapping[str, Any]) -> str:
    """How many labels of the training set are wrong, and the most certain ones."""
    if "wrong_labels" not in census:
        return ""
    listed, size = census["mislabeled"], census["wrong_labels"]
    number = f"{size['estimate']:.0f}"
    if size["low"] is not None:
        number += f" (95% interval {size['low']:.0f} to {size['high']:.0f})"
    words = (
        f"<p>Wrong labels in the training set: {number}. Both halves of the networks show "
        f"{len(listed)} of them, of which at most 5% are expected to be right.</p>"
    )
    if not listed:
        return words
    rows = [
        (
            str(each["index"]),
            text(each["label"]),
            text(each["suggested"]),
            f"{each['wrong_label']:.1%}",
        )
        for each in listed[:LISTED]
    ]
    left = len(listed) - len(rows)
    caption = "the most certain ones" + f"; {left} more are in result.json" * (left > 0)
    head = ["row of the training set", "label", "suggested", "probability that it is wrong"]
    return words + table(head, rows, caption=caption)


def _value(value: Any) -> str:
    return rounded(value) if isinstance(value, float) else str(value)


def _scores(result: Mapping[str, Any]) -> str:
    """Scores besides the error; nothing for results of before they were kept."""
    found = {
        part: result["scores"][part]
        for part in ("validation", "test")
        if part in result.get("scores", {})
    }
    if not found:
        return ""
    rows = [
        (text(name), *cells)
        for name, *cells in tables.scores(
            found, lambda value, percent: number(value, percent=percent)
        )
    ]
    names, who = PART_NAMES, "one network"
    if result.get("design") == "cross-fitted":
        names = {
            "validation": "unseen examples, networks of the folds",
            "test": "test set, the saved network",
        }
        who = "these networks"
    elif "diagnosis" in result:
        who = f"{result['members']} networks"
        if "test" in found:
            names = {"validation": "validation set, the first network", "test": "test set"}
    head = ["", *(names[part] for part in found)]
    html = table(head, rows, caption=f"{who}, on examples not trained on; with 95% intervals")
    if not _regression(result):
        return html
    return html + _notes(part[name] for part in found.values() for name in SCORES if name in part)


def _notes(values: Iterable[dict[str, Any]]) -> str:
    """What the intervals of errors presuppose, and why some are missing."""
    return "".join(f'<p class="note">{text(note)}</p>' for note in interval_notes(values))


def _decompositions(diagnosis: dict[str, Any] | None) -> str:
    if not diagnosis or not diagnosis["decompositions"]:
        return ""
    percent = not diagnosis["regression"]
    rows: list[tuple[str, str]] = []
    for parts in diagnosis["decompositions"]:
        bias, variance = TERMS[parts["design"]]
        squared = "²" * (parts["design"] in ("fresh", "partition"))
        on = "" if parts["training"] is None else f"trained on {parts['training']:,} examples: "
        shares = (number(parts[name], percent=percent) for name in ("bias", "variance"))
        rows += zip((f"{on}{bias}{squared}", f"{on}{variance}"), shares, strict=True)
    html = table(
        ["", "part of the error"],
        rows,
        caption="bias-variance decomposition of the error on held-out examples; with 95% intervals",
    )
    if all(parts["design"] == "partition" for parts in diagnosis["decompositions"]):
        html += f'<p class="note">{text(SHARED.replace("^2", "²"))}.</p>'
    return html


def _of_each(result: dict[str, Any]) -> str:
    """The test set's metrics of each label or value."""
    names, caption = result["dataset"]["targets"], "test set, each of them alone"
    if found := result.get("test_labels"):
        rows = [
            (text(name), *(number(found[what][i], percent=what != "auc") for what in found))
            for i, name in enumerate(names)
        ]
        return table(["label", "precision", "recall", "F1", "AUC"], rows, caption=caption)
    rows = [
        (text(name), number(each["rmse"]), number(each["r2"]))
        for name, each in zip(names, result.get("test_outputs", ()), strict=False)
    ]
    return table(["value", "RMSE", "R²"], rows, caption=caption)


def _confusion(result: dict[str, Any], figures: Path) -> str:
    if result["dataset"].get("targets"):
        return _of_each(result)
    classes, found = result["dataset"]["classes"], result.get("test_classes")
    if classes is None or found is None:
        return ""
    counts = found["confusion"]
    if len(classes) > MATRIX_CLASSES:
        return chart(
            figures / "confusion", "how often each class of the test set was taken for which"
        )
    worst = max(
        [1, *(count for i, row in enumerate(counts) for j, count in enumerate(row) if i != j)]
    )

    def cell(i: int, j: int, count: int) -> str:
        total = sum(counts[i]) or 1
        share = count / total if i == j else count / worst
        kind = "right" if i == j else "wrong" if count else "none"
        words = text(f"{classes[i]} taken for {classes[j]}: {count} of {total}")
        either = f'data-count="{count}" data-share="{count / total:.0%}"'
        return (
            f'<td class="{kind}" style="--share: {share:.3f}" title="{words}" {either}>{count}</td>'
        )

    upright = " upright" * (max(map(len, classes)) > UPRIGHT)
    head = "".join(f'<th scope="col" title="{text(name)}">{text(name)}</th>' for name in classes)
    rows = "".join(
        '<tr><th scope="row" '
        f'title="{text(classes[i])}">{text(classes[i])}</th>'
        + "".join(cell(i, j, count) for j, count in enumerate(row))
        + f"<td>{number(found['precision'][i], percent=True)}</td>"
        + f"<td>{number(found['recall'][i], percent=True)}</td></tr>"
        for i, row in enumerate(counts)
    )
    caption = "test set; rows are true labels, columns are predictions"
    head += '<th scope="col">precision</th><th scope="col">recall</th>'
    return (
        f'<button type="button" data-toggles="{anchor(CONFUSION)}" aria-pressed="false">share of '
        "each label</button>"
        '<div class="wide" tabindex="0"><table '
        f'class="confusion{upright}"><caption>{caption}</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _calibration(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    null = found["null"]
    rows = [
        ("calibration error", number(found["ece"], percent=True)),
        (
            "expected by chance, even of a perfectly calibrated network",
            f"{null['mean']:.2%} <small>{null['low']:.2%} to {null['high']:.2%}</small>",
        ),
        ("confidence minus accuracy", number(found["overconfidence"], percent=True)),
        ("log-loss, nats", number(found["negative_log_likelihood"])),
        ("Brier score", number(found["brier"])),
    ]
    return table(["", ""], rows, caption=f"one network on {found['examples']:,} test examples")


def _reading(notes: Sequence[str]) -> str:
    """What was decided while the data were read."""
    listed = "".join(f"<li>{text(note)}</li>" for note in notes)
    return f"<ul>{listed}</ul>" if listed else ""


def _about(result: dict[str, Any]) -> str:
    recipe = {name: value for name, value in result["recipe"].items() if value is not None}
    dataset = {
        name: value
        for name, value in result["dataset"].items()
        if value not in (None, [], {}, False)
    }
    dataset.pop("columns", None)
    dataset.pop("notes", None)  # they have a part of their own
    groups = {
        **({"command": command} if (command := result.get("command")) else {}),
        "experiment": result["experiment"],
        "model": f"{result['model']['name']}, {result['model']['parameters']:,} parameters",
        "recipe": _listed(recipe),
        "data": _listed(dataset),
        "seeds": f"training {result['seed']}, split {result['split_seed']}",
        "device": result["device"],
        "versions": _listed(result["versions"]),
    }
    items = (f"<dt>{name}</dt><dd>{text(value)}</dd>" for name, value in groups.items())
    return f"<dl>{''.join(items)}</dl>"


def _listed(group: Mapping[str, Any]) -> str:
    def plain(value: Any) -> str:
        if isinstance(value, Mapping):
            return f"({_listed(value)})"
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)

    return ", ".join(f"{name.replace('_', ' ')} {plain(value)}" for name, value in group.items())

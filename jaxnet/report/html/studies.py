"""The tables of a study on its page: what was measured, and not what one network does."""

from collections.abc import Mapping
from typing import Any

from jaxnet.display import rounded
from jaxnet.report.html.document import table, text
from jaxnet.studies.label_errors import PARTS

LISTED = 20  # doubtful labels


def of_study(result: Mapping[str, Any]) -> str:
    """The tables of a study whose page has no other ones.

    Args:
        result: what result.json holds, as plain values.

    Returns:
        The HTML; empty for other experiments.
    """
    percent = result["dataset"]["classes"] is not None
    draw = {
        "bias_variance": _bias_variance,
        "labels": _labels,
        "learning_curve": _learning_curve,
        "seeds": _seeds,
        "shift": _shift,
    }.get(result["experiment"])
    return "" if draw is None else draw(result[result["experiment"]], percent)


def _size(value: Mapping[str, Any], percent: bool = True) -> str:
    """An estimate with its interval."""
    form = "{:.2%}".format if percent else rounded
    if value["estimate"] is None:
        return f"<small>{text(value['refused'] or 'not known')}</small>"
    if value["low"] is None:
        return form(value["estimate"])
    return f"{form(value['estimate'])} <small>{form(value['low'])} to {form(value['high'])}</small>"


def _learning_curve(found: Mapping[str, Any], percent: bool) -> str:
    rows = [
        (f"{size:,}", _size(error, percent))
        for size, error in zip(found["sizes"], found["measured"], strict=True)
    ]
    rows += [
        (f"{size:,}, predicted", _size(error, percent))
        for size, error in zip(found["at"], found["predicted"], strict=True)
    ]
    caption = "mean error of the networks, and what is predicted for more examples"
    return table(["training examples", "test error"], rows, caption=caption)


def _bias_variance(found: Mapping[str, Any], percent: bool) -> str:
    kinds = [
        (kind, parts)
        for kind, parts in found["values"][0].items()
        if isinstance(parts, dict) and {"bias", "variance"} <= parts.keys()
    ]
    if not kinds:
        return ""
    kind = kinds[0][0]
    rows = [
        (
            "all networks" if each["value"] is None else rounded(float(each["value"])),
            *(_size(each[kind][part], percent) for part in ("loss", "bias", "variance")),
        )
        for each in found["values"]
    ]
    varied = (found["vary"] or "").replace("-", " ")
    loss = kind.replace("_", "-")
    caption = f"decomposition of the test error, by the {loss} loss; with 95% intervals"
    return table([text(varied), "error", "bias²", "variance"], rows, caption=caption)


def _labels(found: Mapping[str, Any], _: bool) -> str:
    rows = [
        (
            str(each["index"]),
            PARTS[part],
            f"{each['confidence']:.1%}",
            f"{each['contradicted']:.1%}",
        )
        for part, listed in found["doubtful"].items()
        for each in listed[:LISTED]
    ]
    if not rows:
        return "<p>No label is doubtful.</p>"
    head = ["row", "part", "confidence in another class", "networks that contradict the label"]
    caption = (
        "the most doubtful labels; labels.csv lists all of them. Rows count from 0 in each part"
    )
    return table(head, rows, caption=caption)


def _seeds(found: Mapping[str, Any], _: bool) -> str:
    rows = [
        (
            text(kind),
            f"{sum(each['errors']) / len(each['errors']):.2%}",
            _size(each["deviation"]),
            f"{min(each['errors']):.2%} to {max(each['errors']):.2%}",
        )
        for kind, each in found["kinds"].items()
        if each["errors"] and None not in each["errors"]
    ]
    head = ["what differs", "mean test error", "standard deviation", "lowest to highest"]
    return (
        table(head, rows, caption="networks of the same recipe") + f"<p>{text(found['words'])}</p>"
    )


def _shift(found: Mapping[str, Any], _: bool) -> str:
    rows = [
        (text(each["name"]), _size(each["error"]), f"{each['alarms'][-1]:.0%}")
        for each in found["shifts"]
    ]
    head = ["shift", "error of the network", f"batches of {found['sizes'][-1]:,} with an alarm"]
    return table(head, rows, caption="the test set, changed; with 95% intervals")

"""A form with one control for each column of a table, and a network in the page that predicts the
row.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxnet.core.run import Run
from jaxnet.data import Column, Splits, Table
from jaxnet.display import visible
from jaxnet.errors import InputError
from jaxnet.models.model import Model
from jaxnet.report.html.document import text
from jaxnet.report.html.network import network
from jaxnet.report.html.playground import Playground

MOST_COLUMNS = 100
EXAMPLES = 12  # rows of the test set to begin with
OTHER_CATEGORY = "\ufffd"  # a text that is no category; a control stands for it by this value

HTML = """
<p>Change a value, and see what the network predicts. Values are converted exactly as in
training.</p>
<div class="tools"><label>start from test row
<select id="row-example">{examples}</select></label></div>
<div class="row">
<form id="row-form">{controls}</form>
<div><p class="answer" id="row-answer" role="status"></p>
<ul class="bars" id="row-probabilities"></ul></div>
</div>
"""


def row_form(model: Model, runs: Sequence[Run], splits: Splits) -> Playground:
    """The form for the columns of a table.

    Args:
        model: the architecture.
        runs: the trained networks; the first one that did not diverge predicts.
        splits: the data.

    Returns:
        The Playground: empty if the inputs come from no table, a sentence instead if the network
        does not fit into a page.
    """
    columns = splits.columns
    run = next((run for run in runs if not run.diverged), None)
    one_target = splits.targets is None
    if columns is None or run is None or not len(splits.test) or not one_target:
        return Playground("", {})
    if len(columns) > MOST_COLUMNS:
        why = f"the table has {len(columns)} columns, and a form holds {MOST_COLUMNS}"
        return Playground(f"<p>There is no form to try a row: {why}.</p>", {})
    try:
        found = network(model, [run], exact=True)
    except InputError as error:
        return Playground(f"<p>There is no form to try a row: {text(error)}.</p>", {})
    rows = np.linspace(0, len(splits.test) - 1, min(EXAMPLES, len(splits.test))).astype(int)
    x = np.asarray(splits.test.x)[rows]
    own = run.standardization
    origins = {
        name: None if each is None else {"offset": list(each.offset), "unit": list(each.unit)}
        for name, each in (("inputs", own.origin), ("values", own.target_origin))
    }
    label = run.schema.label
    read = {
        "network": found.data,
        "row": {
            "columns": [_described(column) for column in columns],
            "gaps": [*Table(missing=run.schema.missing).gaps, ""],
            "origins": origins,
            "classes": None if run.classes is None else list(map(visible, run.classes)),
            "unit": "" if label is None or label.unit is None else visible(label.unit),
            "label": "" if label is None else visible(label.name),
            "examples": [cells(columns, each) for each in x],
        },
    }
    options = "".join(f'<option value="{i}">{row}</option>' for i, row in enumerate(rows))
    controls = "".join(_control(number, column) for number, column in enumerate(columns))
    return Playground(HTML.format(examples=options, controls=controls), read)


def _described(column: Column) -> dict[str, Any]:
    """What the script needs to encode a column."""
    dates = column.dates
    return column._asdict() | {
        "dates": None if dates is None else {"first": dates.first, "parts": list(dates.parts)},
        "width": len(column.inputs),
    }


def _control(number: int, column: Column) -> str:
    """The control of a column."""
    unit = f" <small>{text(column.unit)}</small>" if column.unit else ""
    gap = " placeholder='no value'" * (column.fill is not None)
    if column.categories is not None:
        names = [(name, visible(name)) for name in column.categories]
        names.append((OTHER_CATEGORY, "other"))
        if column.fill is not None:
            names.append(("", "no value"))
        options = "".join(
            f'<option value="{text(value)}">{text(shown)}</option>' for value, shown in names
        )
        field = f'<select name="{number}">{options}</select>'
    elif column.dates is not None:
        kind = "datetime-local" if "hour" in column.dates.parts else "date"
        step = ' step="1"' * (kind == "datetime-local")
        field = f'<input type="{kind}"{step} name="{number}">'
    else:
        field = f'<input type="number" step="any" name="{number}"{gap}>'
    return f"<label>{text(column.name)}{unit} {field}</label>"


def cells(columns: Sequence[Column], x: np.ndarray) -> list[str]:
    """The cells of a row of a table, from the inputs that they became.

    Args:
        columns: the columns of the table.
        x: (features,) inputs; numbers get as many digits as their type holds.
    """
    found, place = [], 0
    for column in columns:
        inputs = dict(zip(column.inputs, x[place : place + len(column.inputs)], strict=True))
        place += len(column.inputs)
        if inputs.get(f"{column.name}=(missing)"):
            found.append("")
        elif column.categories is not None:
            own = list(inputs.values())[: len(column.categories)]
            known = column.categories[int(np.argmax(own))] if any(own) else None
            empty = "" if column.fill is not None and not column.other else OTHER_CATEGORY
            found.append(empty if known is None else known)
        elif column.dates is not None:
            seconds = np.timedelta64(round(float(inputs[f"{column.name}=days"]) * 86400), "s")
            moment = str(np.datetime64(column.dates.first, "s") + seconds)
            found.append(moment if "hour" in column.dates.parts else moment[:10])
        else:
            found.append(str(inputs[column.name]).removesuffix(".0"))
    return found

"""The findings of a result and the checks behind them, as HTML, as Markdown and as data."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxnet.diagnostics.findings import DATA_FINDINGS, TRAINING, Code, severity_of
from jaxnet.diagnostics.measured import told
from jaxnet.report.html.document import table, text

OF_CLASSES = (Code.STUCK_AT_MAJORITY, Code.OVERCONFIDENT, Code.LABEL_NOISE)
OF_SEVERAL = (*TRAINING, Code.OVERCONFIDENT, Code.LABEL_NOISE, Code.LEAKING_TEST_SET)
OF_CENSUS = (Code.MEMORIZED, Code.HARMFUL_EXAMPLES, Code.SLICE)
OF_DATA_SIZE = (Code.MORE_DATA_HELPS, Code.MORE_DATA_WILL_NOT_HELP, Code.ERROR_STILL_FALLS)
ONE_NETWORK = "jaxnet diagnose checks it, with several networks"
BUTTONS = "".join(
    f'<button type="button" data-copies="findings-{kind.lower()}">copy as {kind}</button>'
    for kind in ("Markdown", "JSON")
)


def findings_html(result: Mapping[str, Any]) -> str:
    """The findings that are claimed, each with its explanation, then a table of all checks.

    Args:
        result: what result.json holds, as plain values.

    Returns:
        The HTML; empty for a result without findings.
    """
    if not result["findings"]:
        return ""
    tolerance = result["tolerance"]
    listed = "".join(_finding(each, tolerance) for each in result["findings"])
    rows = [
        (f"{text(code.words)} <code>{code.value}</code>", text(state))
        for code, state in checks(result).items()
    ]
    all_checks = table(["check", "state"], rows, caption="every check of this run", kind="checks")
    return (
        f'{listed}<div class="tools">{BUTTONS}<span role="status" id="copied"></span></div>'
        f"<details><summary>all checks</summary>{all_checks}</details>"
    )


def _finding(found: Mapping[str, Any], tolerance: float) -> str:
    code = Code(found["code"])
    state = "found" if found["claimed"] else state_of(found, tolerance)
    more = ""
    if found["claimed"] and found["remedies"] and code not in DATA_FINDINGS:
        first, less = by_promise(found["remedies"])
        remedies = f"Try: {'; '.join(map(remedy_in_words, first))}."
        more = f'<p class="note">{text(" ".join(filter(None, [remedies, less])))}</p>'
    severity = severity_of(code, claimed=found["claimed"])
    return (
        f'<details class="finding {severity}"{" open" * found["claimed"]}><summary>'
        f"<b>{text(code.words)}</b> <code>{code.value}</code> "
        f"<span>{severity}, {text(state)}</span></summary>"
        f"<p>{text(found['evidence'])}</p>{more}</details>"
    )


def remedy_in_words(remedy: Mapping[str, Any]) -> str:
    """A remedy, as a dict, and how it did; older files do not have the numbers."""
    names = ("helped", "cases", "gain", "gain_of")
    return told(remedy["words"], *(remedy.get(name) for name in names))


def by_promise(remedies: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], str]:
    """Divide remedies into those to try and those that helped in no simulated problem.

    Args:
        remedies: the remedies of a finding, as dicts.

    Returns:
        Those to try, which are all of them where none helped; and a sentence that names the others,
        empty if there are none.
    """
    first = [each for each in remedies if each.get("helped") != 0] or list(remedies)
    others = ", ".join(
        each["words"].replace("regularize: ", "") for each in remedies if each not in first
    )
    return first, f"Did not help in simulated problems of this kind: {others}." if others else ""


def state_of(found: Mapping[str, Any], tolerance: float) -> str:
    """What a check found that claims nothing: "passed", "uncertain" or "not checked: why".

    Args:
        found: the finding, as a dict.
        tolerance: the smallest size that matters.

    Returns:
        The state.
    """
    size = found["size"]
    if size["estimate"] is None:
        return f"not checked: {size['refused'] or 'nothing was measured'}"
    if size["high"] is None:
        return f"not checked: {size['refused'] or 'it has no interval'}"
    return "passed" if size["high"] <= tolerance else "uncertain"


def checks(result: Mapping[str, Any]) -> dict[Code, str]:
    """The state of every check: "found", "passed", "uncertain", "not applicable: why" or "not
    checked: why".

    Args:
        result: what result.json holds, as plain values.

    Returns:
        The states, by code.
    """
    found = {Code(each["code"]): each for each in result["findings"]}
    states = {}
    for code in Code:
        if code in found:
            own = found[code]
            states[code] = "found" if own["claimed"] else state_of(own, result["tolerance"])
        else:
            states[code] = _unmentioned(code, result)
    return states


def _unmentioned(code: Code, result: Mapping[str, Any]) -> str:
    """The state of a check that the findings do not mention."""
    several = "diagnosis" in result
    if result["dataset"]["classes"] is None and code in OF_CLASSES:
        return "not applicable: it is about classes"
    if code is Code.EDGE_OF_SWEEP:
        return "passed" if "sweep" in result else "not applicable: nothing was swept"
    if code is Code.WORSE_RUN:
        return "not applicable: jaxnet compare compares runs"
    if code is Code.MISMATCH:
        return "not applicable: the test set is a random part of the same data"
    if code is Code.SHIFT:
        return "not checked: jaxnet shift compares new data with the held-out ones"
    if code is Code.DIVERGED or (several and code in OF_SEVERAL):
        return "passed"
    if code in OF_SEVERAL:
        return f"not checked: {ONE_NETWORK}"
    if code in OF_CENSUS:
        return "passed" if "census" in result else "not checked: jaxnet census measures it"
    if code in OF_DATA_SIZE:
        # one finding tells of all of them
        said = [each for each in result["findings"] if Code(each["code"]) in OF_DATA_SIZE]
        if said and code is not Code.ERROR_STILL_FALLS:
            return "passed" if said[0]["claimed"] else "uncertain"
        return "not checked: jaxnet learning-curve measures it"
    return "passed" if code is Code.NO_BETTER_THAN_GUESSING else f"not checked: {ONE_NETWORK}"


def copies(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the buttons copy, by the id of the element that holds it.

    Args:
        result: what result.json holds, as plain values.

    Returns:
        Text of Markdown and of JSON; nothing for a result without findings.
    """
    if not result["findings"]:
        return {}
    lines = [f"**{result['verdict']}**", ""]
    for each in result["findings"]:
        code = Code(each["code"])
        state = "found" if each["claimed"] else state_of(each, result["tolerance"])
        severity = severity_of(code, claimed=each["claimed"])
        lines.append(f"- `{code.value}` ({severity}, {state}): {each['evidence']}")
    data = {"verdict": result["verdict"], "findings": result["findings"]}
    return {"findings-markdown": "\n".join(lines), "findings-json": data}

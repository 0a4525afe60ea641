"""report.html: what result.json says and the figures show, in one file that opens from disk and asks no network."""

import base64
from html import escape
from pathlib import Path
from typing import Any

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }}
h1 {{ font-size: 1.4rem; }} h2 {{ font-size: 1.1rem; margin-top: 2rem; }}
.verdict {{ font-size: 1.15rem; padding: .8rem 1rem; border-left: .3rem solid #0072b2; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }} th, td {{ padding: .2rem .8rem .2rem 0; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
thead th, dt {{ font-weight: 600; }} dd {{ margin: 0 0 .4rem 0; overflow-wrap: anywhere; }}
img {{ max-width: 100%; height: auto; background: white; }}
</style>
<h1>{title}</h1>
<p class="verdict">{verdict}</p>
<h2>Numbers</h2>
<div class="wide">{numbers}</div>
<h2>Findings, by size</h2>
{findings}
{figures}
<h2>To repeat it</h2>
<dl>{about}</dl>
</html>
"""


def page(result: dict[str, Any], figures: list[Path]) -> str:
    """The HTML of a result, as plain values, and its pictures."""
    return PAGE.format(
        title=escape(f"{result['experiment']}: {result['model']['name']} on {result['dataset']['name']}"),
        verdict=escape(result["verdict"]),
        numbers=_numbers(result),
        findings="".join(_finding(finding) for finding in result["findings"]),
        figures="".join(f"<h2>{escape(path.stem)}</h2><img alt='{escape(path.stem)}' src='{_data(path)}'>" for path in figures),
        about="".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in _about(result)),
    )


def _numbers(result: dict[str, Any]) -> str:
    names = [name for name in ("error", "accuracy", "loss", "rmse", "r2", "baseline") if result.get(name)]
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join(
        f"<tr><td>{part}</td>{''.join(f'<td>{_number(result[name][part])}</td>' for name in names)}</tr>" for part in result["error"]
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _number(value: Any) -> str:
    """An Estimate as a dict, or a number."""
    if not isinstance(value, dict):
        return "" if value is None else f"{value:.4g}"
    centre = "" if value["estimate"] is None else f"{value['estimate']:.4g}"
    return centre if value["low"] is None else f"{centre} <small>({value['low']:.4g} to {value['high']:.4g})</small>"


def _finding(finding: dict[str, Any]) -> str:
    claim = "above the tolerance" if finding["claimed"] else "not shown to be above the tolerance"
    remedies = "; ".join(remedy["words"] for remedy in finding["remedies"]) if finding["claimed"] else ""
    more = f"<br>Try: {escape(remedies)}" if remedies else ""
    return f"<p><b>{escape(finding['code'])}</b>, {claim}. {escape(finding['evidence'])}.{more}</p>"


def _about(result: dict[str, Any]) -> list[tuple[str, str]]:
    recipe = {name: value for name, value in result["recipe"].items() if value is not None}
    groups = {"recipe": recipe, "data": result["dataset"], "versions": result["versions"]}
    plain = [
        ("status", result["status"]),
        ("seed", str(result["seed"])),
        ("split seed", str(result["split_seed"])),
        ("device", result["device"]),
    ]
    return plain + [(name, ", ".join(f"{k} {v}" for k, v in group.items())) for name, group in groups.items()]


def _data(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"

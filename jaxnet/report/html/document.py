"""An HTML page in one file: styles and scripts are inside, allowed by their hashes alone, and it
needs no network.

Everything that comes from data is escaped here: `text` for words, `data` for what scripts read.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from jaxnet.display import visible

# Colors of the figures, and the variables of the page that replace them to follow the theme.
THEME_COLORS = {
    "#ffffff": "var(--paper)",
    "#000000": "var(--ink)",
    "#222222": "var(--ink)",
    "#555555": "var(--ink)",
    "#b0b0b0": "var(--line)",
    "#cccccc": "var(--line)",
    "#0072b2": "var(--one)",
    "#d55e00": "var(--two)",
    "#009e73": "var(--three)",
}

# The share of its size to which a chart shrinks; on a smaller screen it is scrolled.
SMALLEST_CHART = 0.5
SIDES = ("width", "height")
STRIP = re.compile(r'(<rect[^>]*data-at="([^"]*)".*?</rect>)')

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><button type="button" id="theme" hidden>dark</button></header>
<main>
{body}
</main>
{data}
{scripts}
</body>
</html>
"""


def document(
    title: str,
    body: str,
    *,
    scripts: Sequence[str] = ("page.js",),
    read: dict[str, Any] | None = None,
) -> str:
    """The whole page.

    Args:
        title: title of the page.
        body: its HTML.
        scripts: files beside this one, in order.
        read: what scripts find as JSON, by the id of its element.

    Returns:
        The text of the HTML file.
    """
    sources = [_source(name) for name in scripts]
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
        for source in sources
    )
    return PAGE.format(
        policy=(
            "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
            f"style-src 'unsafe-inline'; script-src {hashes}"
        ),
        title=text(title),
        style=_source("page.css"),
        body=body,
        data="".join(
            f'<script type="application/json" id="{escape(name)}">{data(value)}</script>'
            for name, value in (read or {}).items()
        ),
        scripts="".join(f"<script>{source}</script>" for source in sources),
    )


def section(title: str, body: str) -> str:
    """A part of the page, under a heading."""
    return f'<section id="{anchor(title)}"><h2>{text(title)}</h2>\n{body}\n</section>'


def anchor(title: str) -> str:
    """The id of a section."""
    return re.sub(r"\W+", "-", title).strip("-").lower()


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "", kind: str = "numbers"
) -> str:
    """A table as HTML.

    Args:
        head: HTML of the column headings.
        rows: HTML of the cells; the first cell of a row is its heading.
        caption: text above the table.
        kind: class of the table in page.css.

    Returns:
        The HTML.
    """
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    first = "".join(f'<th scope="col">{cell}</th>' if cell else "<td></td>" for cell in head)
    body = "".join(
        "<tr><th "
        f'scope="row">{cells[0]}</th>{"".join(f"<td>{cell}</td>" for cell in cells[1:])}</tr>'
        for cells in rows
    )
    return (
        '<div class="wide" tabindex="0"><table '
        f'class="{kind}">{title}<thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def chart(path: Path, words: str) -> str:
    """A figure as HTML: the SVG file, whose values have tooltips and can be read as a table, or
    else the PNG file.

    Args:
        path: the file, without or with any suffix.
        words: what the figure shows.

    Returns:
        The HTML.
    """
    if not path.with_suffix(".svg").exists():
        image = png(path.with_suffix(".png").read_bytes())
        return (
            f'<figure><img alt="{text(words)}" '
            f'src="{image}"><figcaption>{text(words)}</figcaption></figure>'
        )
    drawn = path.with_suffix(".svg").read_text(encoding="utf-8")
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    # it would speak of the whole page; page.css has it
    drawn = re.sub(r"<style.*?</style>", "", drawn, count=1, flags=re.DOTALL)
    # in a page both are known
    drawn = re.sub(r' xmlns(:xlink)?="[^"]*"', "", drawn).replace("xlink:href", "href")
    drawn = re.sub("#[0-9a-f]{6}", lambda found: THEME_COLORS.get(found[0], found[0]), drawn)
    drawn = re.sub(r"font-family: [^;\"]*", "font-family: inherit", drawn)
    # Ids in two figures may be equal.
    drawn = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{path.stem}-", drawn)
    values = re.findall(r"<title>(.*?)</title>", drawn)
    listed = "".join(f"<li>{value}</li>" for value in values)
    told = (
        f'<details><summary>values</summary><ol class="values" tabindex="0">{listed}</ol></details>'
        if values
        else ""
    )
    return (
        f'<figure><div class="wide panels">{_columns(drawn, words, path.stem)}</div>'
        f"<figcaption>{text(words)}</figcaption>{told}</figure>"
    )


def _columns(drawn: str, words: str, name: str) -> str:
    """An SVG for each column of a figure, so that on a narrow screen they stand below each other.

    The first one holds what is drawn, and the others use it.
    """
    head, _, body = drawn.partition(">")
    shown, _, strips = body.rstrip().removesuffix("</svg>").partition('<g class="strips">')
    strips = [(float(at), strip) for strip, at in STRIP.findall(strips)]
    width, height = (float(re.findall(rf'{side}="([\d.]+)pt"', head)[0]) for side in SIDES)
    edges = re.findall(r'data-edges="([^"]*)"', head)
    places = [0.0, *map(float, edges[0].split() if edges else ()), width]
    columns = []
    for left, right in pairwise(places):
        own = "".join(strip for at, strip in strips if left <= at < right)
        inches = (right - left) / 72
        columns.append(
            f'<svg class="chart" role="img" tabindex="0" aria-label="{text(words)}" '
            f'viewBox="{left:g} 0 {right - left:g} {height:g}" style="flex: 0 1 {inches:.2f}in; '
            f'min-width: {SMALLEST_CHART * inches:.2f}in">{shown}<g class="strips">{own}</g></svg>'
        )
        shown = f'<use href="#{name}-figure_1"/>'
    return "".join(columns)


def text(words: Any) -> str:
    """Words with HTML escaped and no invisible characters."""
    return escape(visible(words))


def data(value: Any) -> str:
    """JSON that cannot end the script element in which it stands."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def png(image: bytes) -> str:
    """A PNG file as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def _source(name: str) -> str:
    return files("jaxnet.report.html").joinpath(name).read_text(encoding="utf-8")

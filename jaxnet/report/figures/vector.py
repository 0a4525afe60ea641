"""A figure as an interactive SVG: over each place on its horizontal axis lies a transparent strip
whose tooltip says what is drawn there.
"""

import io
from collections.abc import Iterator
from html import escape
from itertools import accumulate

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from jaxnet.display import rounded, visible

POINTS = 72  # points of an inch, which are the units of an SVG
MOST_STRIPS = 400  # strips in a panel


def svg(figure: Figure) -> str:
    """The text of an SVG file, in which labeled lines have tooltips. The same figure always gives
    the same text.
    """
    drawn = io.StringIO()
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "jaxnet", "font.family": "sans-serif"}
    ):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    strips = "".join(_strip(figure, axes, *each) for axes in figure.axes for each in _values(axes))
    several = len(figure.axes) > 1
    edges = " ".join(f"{edge:.2f}" for edge in _edges(figure)) if several else ""
    text = drawn.getvalue().replace("<svg", f'<svg data-edges="{edges}"', 1)
    return text.replace("</svg>", f'<g class="strips">{strips}</g>\n</svg>')


def spans(figure: Figure) -> list[tuple[float, float]]:
    """From where to where, in pixels, the axes and legends of a figure reach, with what stands left
    of and above the axes. The tight boxes of matplotlib look at all the rest too, which takes twice
    as long.
    """
    outside = [each.get_tightbbox() for each in (*figure.legends, *figure.texts)]
    found = [(box.x0, box.x1) for box in outside if box is not None]
    for axes in figure.axes:
        beside = axes.yaxis.get_tightbbox()
        boxes = [axes.bbox, *([axes.title.get_window_extent()] if axes.get_title() else ())]
        boxes += [] if beside is None else [beside]
        found.append((min(box.x0 for box in boxes), max(box.x1 for box in boxes)))
    return sorted(found)


def _edges(figure: Figure) -> list[float]:
    """Where one column of a figure ends and the next begins, from left to right."""
    found = spans(figure)
    reached = accumulate((right for _, right in found), max)
    pairs = zip(reached, (left for left, _ in found[1:]), strict=False)
    return [POINTS / figure.dpi * (before + after) / 2 for before, after in pairs if before < after]


def _values(axes: Axes) -> Iterator[tuple[float, float, float, str]]:
    """(place, from, to, words) for each place where a labeled line has a value; the first three are
    horizontal positions in pixels of the figure.
    """
    found: dict[float, list[str]] = {}
    for line in axes.lines:
        label = str(line.get_label())
        x, y = (np.asarray(line.get_data()[axis], float) for axis in (0, 1))
        guide = line.get_linestyle() == ":" and line.get_marker() in ("None", None, "")
        if label.startswith("_") or guide or not len(x):
            continue
        intervals = _intervals(axes, to_hex(line.get_color()))
        for place, value in zip(x, y, strict=True):
            interval = intervals.get(place)
            more = (
                "" if interval is None else f" ({rounded(interval[0])} to {rounded(interval[1])})"
            )
            if np.isfinite(value):
                found.setdefault(float(place), []).append(f"{label} {rounded(value)}{more}")
    places = sorted(found)[:: -(-len(found) // MOST_STRIPS) or 1]
    if not places:
        return
    # An axis without a label has names at its ticks, or shares it with a panel below.
    ticks = {
        float(tick): label.get_text()
        for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=False)
    }
    axis = next(
        (
            each.get_xlabel()
            for each in [axes, *axes.get_shared_x_axes().get_siblings(axes)]
            if each.get_xlabel()
        ),
        "",
    )
    shown = axes.transData.transform([(place, axes.get_ylim()[0]) for place in places])[:, 0]
    low, high = axes.transAxes.transform([(0, 0), (1, 1)])[:, 0]
    edges = np.concatenate([[low], (shown[1:] + shown[:-1]) / 2, [high]])
    for number, place in enumerate(places):
        name = ticks.get(place, "").replace("\n", " ")
        where = f"{axis} {place:,.6g}" if axis else name or f"{place:,.6g}"
        yield shown[number], edges[number], edges[number + 1], f"{where}: {'; '.join(found[place])}"


def _intervals(axes: Axes, color: str) -> dict[float, tuple[float, float]]:
    """The interval of each place: a vertical line of two points in the color of a series."""
    lines = [
        line.get_data()
        for line in axes.lines
        if to_hex(line.get_color()) == color and str(line.get_label()).startswith("_")
    ]
    pairs = [(np.asarray(x, float), np.asarray(y, float)) for x, y in lines]
    return {float(x[0]): (y[0], y[1]) for x, y in pairs if len(x) == 2 and x[0] == x[1]}


def _strip(figure: Figure, axes: Axes, place: float, low: float, high: float, words: str) -> str:
    scale, height = POINTS / figure.dpi, POINTS * figure.get_figheight()
    bottom, top = scale * axes.transAxes.transform([(0, 0), (1, 1)])[:, 1]
    x, width = scale * low, max(0.5, scale * (high - low))
    return (
        f'<rect x="{x:.2f}" y="{height - top:.2f}" width="{width:.2f}" '
        f'height="{top - bottom:.2f}" fill="none" pointer-events="all"'
        f' data-at="{scale * place:.2f}"><title>{escape(visible(words))}</title></rect>'
    )

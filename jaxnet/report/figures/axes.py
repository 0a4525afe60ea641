"""What the figures share: colors, axes, intervals, and how a figure is written to a file."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxnet.diagnostics import Estimate
from jaxnet.display import visible
from jaxnet.report.figures.vector import svg
from jaxnet.runtime.files import write_whole
from jaxnet.runtime.processes import first

# Of Okabe & Ito 2008: told apart with any color vision.
TRAIN, VALIDATION, INK = "#0072b2", "#d55e00", "#222222"
DPI = 110
MOST_TICKS = 12
MARKED_EPOCHS = 30  # epochs that are marked
MOST_DOTS = 500  # of an SVG, which holds more of them as pixels
DECADES = 30  # times that the largest value is the smallest, above which an axis is logarithmic


def epoch_marker(values: Any) -> str | None:
    """Of a curve over epochs: one for each where they are few, so that a single one can be seen."""
    return "o" if np.isfinite(values).sum() < MARKED_EPOCHS else None


def error_unit(regression: bool) -> tuple[float, str]:
    """(factor of errors, what they are then)."""
    return (
        (1.0, "squared error / variance of y")
        if regression
        else (100.0, "examples predicted wrongly, %")
    )


def literal(text: str) -> str:
    """Text in which a dollar is a dollar, not the beginning of a formula, and nothing is unseen."""
    return visible(text).replace("$", r"\$")


def draw_interval(axes: Axes, place: float, size: Estimate, color: str, scale: float) -> None:
    """The interval of an estimate, where it has one."""
    if size.refused is None:
        axes.plot(
            [place, place],
            [scale * size.low, scale * size.high],
            color=color,
            linewidth=2.5,
            alpha=0.5,
            solid_capstyle="butt",
        )


def label_axes(axes: Axes, x: str, y: str) -> None:
    """Labels the axes, with a light grid and no frame above and to the right."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def save(figure: Figure, path: Path, *, vector: bool = True) -> None:
    """As PNG, and beside it as SVG where it is not made of images."""
    if not first():
        return
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        # a class name may be in any script
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        # No time and no version in the file: the same run gives the same picture.
        figure.savefig(drawn, format=path.suffix[1:] or "png", dpi=DPI, metadata={"Software": None})
        write_whole(path, drawn.getvalue())
        if vector:
            write_whole(path.with_suffix(".svg"), svg(figure).encode("utf-8"))

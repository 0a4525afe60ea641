"""What the figures share: colors, axes, intervals, and how a figure is written to a file."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from jaxnet.diagnostics import Estimate
from jaxnet.display import visible
from jaxnet.report.figures.vector import POINTS, spans, svg
from jaxnet.runtime.files import write_whole
from jaxnet.runtime.processes import is_first

# Colors of Okabe & Ito 2008, which differ for any color vision.
TRAIN, VALIDATION, INK = "#0072b2", "#d55e00", "#222222"
DPI = 110
MOST_TICKS = 12
MARKED_EPOCHS = 30  # up to this number of epochs, each is marked
MOST_DOTS = 500  # dots of an SVG file; more are drawn as pixels
DECADES = 30  # ratio of the largest to the smallest value above which an axis is logarithmic
TILES = 8  # images in a row


def epoch_marker(values: Any) -> str | None:
    """The marker of a curve over epochs: a dot where there are few, so that a single one can be
    seen.
    """
    return "o" if np.isfinite(values).sum() < MARKED_EPOCHS else None


def error_unit(regression: bool) -> tuple[float, str]:
    """(factor of errors, label of their axis)."""
    return (
        (1.0, "squared error / variance of y")
        if regression
        else (100.0, "examples predicted wrongly, %")
    )


def literal(text: str) -> str:
    """Text in which a dollar sign begins no formula, and no character is invisible."""
    return visible(text).replace("$", r"\$")


def draw_interval(
    axes: Axes, place: float, size: Estimate, color: str, scale: float, beside: float = 0.0
) -> None:
    """Draw the interval of an estimate, if it has one.

    Args:
        axes: where to draw.
        place: position on the horizontal axis.
        size: the estimate.
        color: the color.
        scale: factor of the values.
        beside: how far to the right of its place, in points.
    """
    if size.refused is None:
        plot_beside(
            axes,
            [place, place],
            [scale * size.low, scale * size.high],
            beside,
            color=color,
            linewidth=2.5,
            alpha=0.5,
            solid_capstyle="butt",
        )


def plot_beside(
    axes: Axes, x: Sequence[float], y: Sequence[float], points: float, **style: Any
) -> None:
    """Plot a line so many points to the right of its place, with its data as they are.

    Args:
        axes: where to draw.
        x: positions on the horizontal axis.
        y: values.
        points: how far to the right.
        style: what `Axes.plot` takes.
    """
    right = ScaledTranslation(points / POINTS, 0, axes.figure.dpi_scale_trans)
    axes.plot(x, y, transform=axes.transData + right, **style)
    axes.update_datalim(list(zip(x, y, strict=True)))  # matplotlib does not for moved lines
    axes.autoscale_view()


def label_axes(axes: Axes, x: str, y: str) -> None:
    """Label the axes, with a light grid and no frame above and to the right.

    Args:
        axes: the axes.
        x: label of the horizontal axis.
        y: label of the vertical axis.
    """
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def draw_tiles(
    images: Sequence[np.ndarray],
    words: Sequence[str],
    size: tuple[int, int],
    pixel_max: float,
    title: str,
    *,
    head: float,
    gap: float,
) -> Figure:
    """Draw images in rows, with words above each.

    They are one picture: an axes for each image would take a second to draw.

    Args:
        images: (height, width), with a last axis of 1 for gray or of 3 for color.
        words: what stands above each image.
        size: (height, width) of an image, in pixels.
        pixel_max: the value of a white pixel.
        title: the title of the figure.
        head: the room above an image, in heights of an image.
        gap: the room beside an image, in widths of an image.

    Returns:
        The figure.
    """
    height, width = size
    head, gap = head * height, gap * width
    rows = max(1, -(-len(images) // TILES))
    inches = 0.95 / width
    figure = Figure(
        figsize=(TILES * (width + gap) * inches, rows * (height + head) * inches + 0.35)
    )
    axes = figure.add_axes((0, 0, 1, 1 - 0.35 / figure.get_figheight()))
    axes.set_axis_off()
    figure.suptitle(title, fontsize=10)
    for place, (image, above) in enumerate(zip(images, words, strict=True)):
        left, top = place % TILES * (width + gap), place // TILES * (height + head) + head
        color = image.ndim == 3 and image.shape[-1] == 3
        axes.imshow(
            image / pixel_max if color else image.reshape(height, width),
            cmap="gray_r",
            vmin=0,
            vmax=pixel_max,
            extent=(left, left + width, top + height, top),
            aspect="auto",
        )
        axes.text(left + width / 2, top - 0.05 * head, above, ha="center", va="bottom", fontsize=8)
    axes.set(xlim=(-gap / 2, TILES * (width + gap) - gap / 2), ylim=(rows * (height + head), 0))
    return figure


def save(figure: Figure, path: Path, *, vector: bool = True) -> None:
    """Write a figure as PNG, and beside it as SVG if it is not made of images.

    Args:
        figure: the figure.
        path: the PNG file.
        vector: whether to write the SVG file too.

    Raises:
        NotWrittenError: where it cannot be written.
    """
    if not is_first():
        return
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        # a class name may be in any script
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        if vector:
            _widen(figure)
        # No time and no version in the file: the same run gives the same picture.
        figure.savefig(drawn, format=path.suffix[1:] or "png", dpi=DPI, metadata={"Software": None})
        write_whole(path, drawn.getvalue())
        if vector:
            write_whole(path.with_suffix(".svg"), svg(figure).encode("utf-8"))


def _widen(figure: Figure) -> None:
    """Add room on the left of a figure where long labels of ticks would push others out of it."""
    width, more = figure.get_figwidth(), -min(spans(figure))[0] / figure.dpi  # inches
    if more <= 0:
        return
    figure.set_figwidth(width + more)
    for axes in figure.axes:
        left, bottom, across, up = axes.get_position().bounds
        across, left = across * width, left * width + more
        axes.set_position((left / (width + more), bottom, across / (width + more), up))

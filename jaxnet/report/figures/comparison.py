"""Figures that show runs side by side."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.figure import Figure

from jaxnet.core.training import EpochMetrics
from jaxnet.diagnostics import Estimate
from jaxnet.report.figures.axes import (
    INK,
    TRAIN,
    draw_interval,
    epoch_marker,
    label_axes,
    literal,
    save,
)
from jaxnet.studies.comparison import Comparison

# Colors of Okabe & Ito 2008.
RUN_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLES = ("-", "--", "-.")  # when all colors are used, the next style begins


def curves_of_runs(histories: Mapping[str, EpochMetrics], path: Path) -> None:
    """Draw the validation loss, and for classes the accuracy, over the epochs, one line for each
    run; the training loss if there is no validation set.

    Args:
        histories: metrics of each epoch, by name of the run.
        path: the file.
    """
    part = (
        "validation"
        if all(row.validation_loss is not None for row in histories.values())
        else "train"
    )
    words = {"validation": "validation", "train": "training"}[part]
    measures = [
        name
        for name in ("loss", "accuracy")
        if any(getattr(row, f"{part}_{name}") is not None for row in histories.values())
    ]
    figure = Figure(figsize=(5.0 * len(measures), 3.8))
    figure.subplots_adjust(
        0.62 / (5.0 * len(measures)), 0.14, 1 - 0.1 / (5.0 * len(measures)), 0.96, wspace=0.22
    )
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(measures))), measures, strict=True):
        scale, unit = (100.0, ", %") if name == "accuracy" else (1.0, "")
        looks = cycle([(color, style) for style in STYLES for color in RUN_COLORS])
        for (run, row), (color, style) in zip(histories.items(), looks, strict=False):
            if (values := getattr(row, f"{part}_{name}")) is not None:
                epochs = np.arange(1, len(np.asarray(values)) + 1)
                axes.plot(
                    epochs,
                    scale * np.asarray(values),
                    color=color,
                    linestyle=style,
                    marker=epoch_marker(values),
                    markersize=4,
                    label=_label(run),
                )
        label_axes(axes, "epoch", f"{words} {name}{unit}")
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.axes[0].legend(frameon=False, fontsize=8)
    save(figure, path)


def comparison_of_runs(
    found: Comparison, histories: Mapping[str, EpochMetrics], folder: Path
) -> None:
    """Draw the differences of runs, and their learning curves.

    Args:
        found: the comparison.
        histories: metrics of each epoch, by name of the run.
        folder: the folder of the files.
    """
    told = {
        f"{pair.first} less {pair.second}": pair.difference
        for pair in found.pairs
        if pair.difference is not None
    }
    if told:
        differences(told, folder / "differences.png", regression=found.runs[0].regression)
    curves_of_runs(histories, folder / "curves.png")


def differences(found: Mapping[str, Estimate], path: Path, *, regression: bool) -> None:
    """Draw the difference of each pair with its interval, and a line at no difference.

    Args:
        found: the difference of each pair, by its words.
        path: the file.
        regression: whether errors are squared errors.
    """
    scale, unit = (
        (1.0, "squared error / variance of y")
        if regression
        else (100.0, "percentage points of error")
    )
    figure = Figure(figsize=(max(4.0, 1.0 + 1.3 * len(found)), 3.6))
    width = figure.get_figwidth()
    axes = figure.subplots()
    figure.subplots_adjust(0.75 / width, 0.26, 1 - 0.1 / width, 0.96)
    for place, difference in enumerate(found.values()):
        draw_interval(axes, float(place), difference, TRAIN, scale)
        axes.plot(
            [place],
            [scale * difference.estimate],
            "o",
            color=TRAIN,
            markersize=5,
            label="difference",
        )
    axes.axhline(0, color=INK, linestyle=":", linewidth=1)
    axes.set_xticks(
        range(len(found)), ["\n".join(wrap(literal(pair), 16)) for pair in found], fontsize=8
    )
    axes.set_xlim(-0.5, len(found) - 0.5)
    label_axes(axes, "", unit)
    save(figure, path)


def _label(name: str) -> str:
    """A name as a legend shows it; one that begins with an underscore would be left out."""
    return literal(name if not name.startswith("_") else f"\u200b{name}")

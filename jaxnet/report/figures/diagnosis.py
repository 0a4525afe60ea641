"""Figures of a diagnosis: errors of the parts, bias and variance, learning curves, and the spread
over seeds.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from jaxnet.diagnostics import Decomposition, Diagnosis, Estimate
from jaxnet.diagnostics.text import PART_NAMES, SHORT_NAMES
from jaxnet.report.figures.axes import (
    INK,
    MOST_TICKS,
    TRAIN,
    VALIDATION,
    draw_interval,
    error_unit,
    label_axes,
    plot_beside,
    save,
)
from jaxnet.stats.curve_prior import MAX_SIZE_RATIO
from jaxnet.studies.bias_variance import AXES, BiasVariance
from jaxnet.studies.learning_curve import LearningCurve


def error_analysis(found: Diagnosis, path: Path) -> None:
    """Draw the errors from the training set to the deployment data, and bias and variance over the
    size of the training set.

    Args:
        found: the diagnosis.
        path: the file.
    """
    partitions = sorted(
        (parts for parts in found.decompositions if parts.design == "partition"),
        key=lambda parts: parts.training or 0,
    )
    count = 1 + bool(partitions)
    figure = Figure(figsize=(5.2 * count, 3.8))
    figure.subplots_adjust(0.8 / (5.2 * count), 0.15, 1 - 0.1 / (5.2 * count), 0.9, wspace=0.3)
    axes = np.atleast_1d(figure.subplots(1, count))
    percent, unit = error_unit(found.regression)
    limit = None if found.target_error is None else found.target_error + found.tolerance
    names = SHORT_NAMES if found.design == "cross-fitted" else PART_NAMES
    _ladder(axes[0], found.errors, limit, regression=found.regression, names=names)
    title = (
        "one network" if found.members == 1 else f"{found.members} networks, mean and 95% interval"
    )
    axes[0].set_title(title, fontsize=10)
    if partitions:
        n = [parts.training or 0 for parts in partitions]
        for name, words, color, marker in (
            ("bias", "bias² (shared mistakes)", TRAIN, "o"),
            ("variance", "variance", VALIDATION, "s"),
        ):
            sizes = [getattr(parts, name) for parts in partitions]
            beside = 1.5 if name == "bias" else -1.5  # points, so that no interval hides another
            plot_beside(
                axes[1],
                [float(each) for each in n],
                [percent * size.estimate for size in sizes],
                beside,
                color=color,
                marker=marker,
                markersize=5,
                label=words,
            )
            for where, size in zip(n, sizes, strict=True):
                draw_interval(axes[1], float(where), size, color, percent, beside)
        axes[1].set_xscale("log")
        axes[1].set_xticks(n, [f"{each:,}" for each in n])
        axes[1].xaxis.set_minor_formatter(NullFormatter())
        axes[1].tick_params(axis="x", which="minor", length=0)
        axes[1].set_xlim(min(n) / 1.3, max(n) * 1.3)
        axes[1].set_ylim(bottom=0)
        axes[1].set_title("networks trained on separate parts of the data", fontsize=10)
        axes[1].legend(frameon=False, fontsize=9)
        label_axes(axes[1], "training examples", unit)
    save(figure, path)


def ladder(errors: Mapping[str, Estimate], path: Path, *, limit: float, regression: bool) -> None:
    """Draw the errors of one network from the training set to the deployment data.

    Args:
        errors: the error of each part, by name.
        path: the file.
        limit: target error plus tolerance.
        regression: whether errors are squared errors.
    """
    figure = Figure(figsize=(5.2, 3.8))
    figure.subplots_adjust(0.8 / 5.2, 0.15, 1 - 0.1 / 5.2, 0.9)
    axes = figure.subplots()
    _ladder(axes, errors, limit, regression=regression)
    axes.set_title("one network", fontsize=10)
    save(figure, path)


def decomposition(
    places: Sequence[float],
    found: Sequence[Decomposition],
    path: Path,
    *,
    x: str,
    unit: str,
    log: bool = True,
    training: Sequence[Estimate] | None = None,
    names: tuple[str, str] = ("bias²", "variance"),
) -> None:
    """Draw error, bias and variance with 95% bands over a quantity.

    Args:
        places: values of the quantity.
        found: the decomposition at each of them.
        path: the file.
        x: label of the horizontal axis.
        unit: label of the vertical axis.
        log: whether the horizontal axis is logarithmic.
        training: errors on the training sets.
        names: labels of bias and variance.
    """
    figure = Figure(figsize=(6.4, 4.2))
    axes = figure.add_axes((0.13, 0.13, 0.84, 0.84))
    lines: list[tuple[str, Sequence[Estimate], str, str, str]] = [
        (
            "error = bias² + variance" if names[0] == "bias²" else "error",
            [each.loss for each in found],
            INK,
            "D",
            "--",
        ),
        (names[0], [each.bias for each in found], TRAIN, "o", "-"),
        (names[1], [each.variance for each in found], VALIDATION, "s", "-"),
    ]
    if training is not None:
        lines.append(("error on the training sets", training, "#009e73", "^", ":"))
    for words, sizes, color, marker, line in lines:
        axes.plot(
            places,
            [size.estimate for size in sizes],
            line,
            color=color,
            marker=marker,
            markersize=4,
            linewidth=1.4,
            label=words,
        )
        low, high = ([getattr(size, end) for size in sizes] for end in ("low", "high"))
        axes.fill_between(places, low, high, color=color, alpha=0.18, linewidth=0)
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    if len(places) <= MOST_TICKS:
        axes.set_xticks(places, [f"{place:,g}" for place in places])
        axes.tick_params(axis="x", which="minor", length=0)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    label_axes(axes, x, unit)
    save(figure, path)


def bias_variance(found: BiasVariance, path: Path) -> None:
    """Draw error, bias and variance over the quantity that was varied.

    Args:
        found: the study.
        path: the file.
    """
    places = [each.value or 0.0 for each in found.measured]
    decomposition(
        places,
        [each.decomposition for each in found.measured],
        path,
        x=AXES.get(found.vary or "", ""),
        unit=found.unit,
        log=min(places) > 0 and max(places) > 10 * min(places),
        training=[each.training for each in found.measured],
    )


def learning_curve(found: LearningCurve, path: Path, *, target: float = 0.0) -> None:
    """Draw errors over the number of training examples, and the predicted ones beyond the largest
    number, with a 95% band.

    Args:
        found: the learning curve.
        path: the file.
        target: the target error.
    """
    figure = Figure(figsize=(6.4, 4.2))
    axes = figure.add_axes((0.13, 0.13, 0.84, 0.84))
    percent, unit = error_unit(found.farther is not None)
    for place, size in zip(found.sizes, found.measured, strict=True):
        draw_interval(axes, float(place), size, VALIDATION, percent)
    dots: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.4}
    axes.plot(
        found.sizes,
        percent * np.nanmean(found.training, 1),
        color=TRAIN,
        label="training (running)",
        **dots,
    )
    axes.plot(
        found.sizes,
        [percent * each.estimate for each in found.measured],
        color=VALIDATION,
        label="held out",
        **dots,
    )
    places = np.geomspace(found.sizes[-1], MAX_SIZE_RATIO * found.sizes[-1], 33)
    reach = [
        (n, each)
        for n, each in zip(places, found.predict(list(places)), strict=True)
        if each.refused is None
    ]
    if reach:
        n, center, low, high = np.array(
            [(n, each.estimate, each.low, each.high) for n, each in reach]
        ).T
        axes.plot(
            n,
            percent * center,
            "--",
            color=VALIDATION,
            linewidth=1.4,
            label="predicted, with a 95% band",
        )
        axes.fill_between(
            n, percent * low, percent * high, color=VALIDATION, alpha=0.18, linewidth=0
        )
    if target > 0:
        axes.axhline(percent * target, color=INK, linestyle=":", linewidth=1)
        axes.text(found.sizes[0], percent * target, "target", ha="left", va="bottom", fontsize=8)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    label_axes(axes, "training examples", unit)
    save(figure, path)


def spread(errors: Mapping[str, np.ndarray], path: Path, *, regression: bool) -> None:
    """Draw the test errors of networks that differ only by chance, one row for each source of
    chance.

    Args:
        errors: (networks,) test errors, by source.
        path: the file.
        regression: whether errors are squared errors.
    """
    scale, unit = error_unit(regression)
    figure = Figure(figsize=(6.4, 0.8 + 0.7 * len(errors)))
    figure.subplots_adjust(0.33, 0.5 / (0.8 + 0.7 * len(errors)), 0.96, 0.97)
    axes = figure.subplots()
    for row, values in enumerate([scale * each for each in errors.values()][::-1]):
        heights = row + 0.25 * (np.argsort(np.argsort(values)) / max(1, len(values) - 1) - 0.5)
        axes.plot(values, heights, "o", color=TRAIN, markersize=4, alpha=0.6, markeredgewidth=0)
        axes.plot([values.mean()] * 2, [row - 0.3, row + 0.3], color=VALIDATION, linewidth=2)
    axes.set_yticks(range(len(errors)), list(errors)[::-1])
    axes.set_ylim(-0.5, len(errors) - 0.5)
    axes.locator_params(axis="x", nbins=6)
    label_axes(axes, f"test set: {unit}", "")
    save(figure, path)


def _ladder(
    axes: Axes,
    errors: Mapping[str, Estimate],
    limit: float | None,
    *,
    regression: bool,
    names: Mapping[str, str] = PART_NAMES,
) -> None:
    scale, unit = error_unit(regression)
    for place, error in enumerate(errors.values()):
        color = TRAIN if place == 0 else VALIDATION
        draw_interval(axes, float(place), error, color, scale)
        axes.plot([place], [scale * error.estimate], "o", color=color, markersize=5, label="error")
    if limit is not None:
        axes.axhline(scale * limit, color=INK, linestyle=":", linewidth=1)
        axes.text(-0.45, scale * limit, "target + tolerance", ha="left", va="bottom", fontsize=8)
    axes.set_xticks(range(len(errors)), [names[name] for name in errors])
    axes.set_xlim(-0.5, len(errors) - 0.5)
    axes.set_ylim(bottom=0)
    label_axes(axes, "", unit)

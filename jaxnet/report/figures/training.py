"""Figures of a training run and of a sweep, as PNG and SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from jaxnet.core.training import EpochMetrics
from jaxnet.report.figures.axes import (
    DECADES,
    INK,
    TRAIN,
    VALIDATION,
    epoch_marker,
    error_unit,
    label_axes,
    literal,
    save,
)


def curves(history: EpochMetrics, path: Path, *, best_epoch: int | None = None) -> None:
    """Draw the loss, and for classes the accuracy, over the epochs, on training and validation set.

    Args:
        history: metrics of each epoch.
        path: the file.
        best_epoch: the epoch with the lowest validation loss.
    """
    pairs = [("loss", 1.0, history.train_loss, history.validation_loss)]
    if history.train_accuracy is not None:
        accuracies = (history.train_accuracy, history.validation_accuracy)
        pairs.append(("accuracy, %", 100.0, *accuracies))
    figure = Figure(figsize=(5.0 * len(pairs), 3.6))
    figure.subplots_adjust(
        0.62 / (5.0 * len(pairs)), 0.14, 1 - 0.1 / (5.0 * len(pairs)), 0.96, wspace=0.22
    )
    for axes, (name, scale, train, validation) in zip(
        np.atleast_1d(figure.subplots(1, len(pairs))), pairs, strict=True
    ):
        epochs = np.arange(1, len(np.asarray(train)) + 1)
        marker = epoch_marker(train)
        parts = {"training (running)": (train, TRAIN), "validation": (validation, VALIDATION)}
        for label, (values, color) in parts.items():
            if values is not None:
                axes.plot(
                    epochs,
                    scale * np.asarray(values),
                    color=color,
                    marker=marker,
                    markersize=4,
                    label=label,
                )
        if best_epoch:
            axes.axvline(
                best_epoch, color=INK, linestyle=":", linewidth=1, label="lowest validation loss"
            )
        label_axes(axes, "epoch", name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, loc="best" if len(epochs) < 200 else "upper right")
    save(figure, path)


def validation_curve(
    table: Mapping[str, np.ndarray],
    names: Sequence[str],
    best: int,
    path: Path,
    *,
    regression: bool,
) -> None:
    """Draw the validation error with 95% intervals, and the training error, over each
    hyperparameter.

    A hyperparameter that alone varies is joined by a line; with several, each panel shows all
    trials.

    Args:
        table: columns of the sweep, by name.
        names: the hyperparameters.
        best: the chosen trial.
        path: the file.
        regression: whether errors are squared errors.
    """
    scale, unit = error_unit(regression)
    figure = Figure(figsize=(5.2 * len(names), 4.0))
    figure.subplots_adjust(
        0.7 / (5.2 * len(names)), 0.2, 1 - 0.1 / (5.2 * len(names)), 0.96, wspace=0.22
    )
    holds_for = str(table["interval_for"][best])
    chosen = f"chosen; interval for {holds_for}" if holds_for.startswith("best") else "chosen"
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        values = table[name]
        numbers = values.dtype.kind in "fiu"
        line = "-" if len(names) == 1 and numbers else ""
        kinds, places = (values, values) if numbers else np.unique(values, return_inverse=True)
        rows = np.argsort(places, kind="stable")
        x, (middle, low, high, training) = (
            places[rows],
            (scale * table[column][rows] for column in ("error", "low", "high", "training_error")),
        )
        dots: dict[str, Any] = {"linestyle": line, "marker": "o", "markersize": 3, "linewidth": 1}
        axes.plot(x, middle, color=VALIDATION, label="validation", **dots)
        for place, *interval in zip(x, low, high, strict=True):
            axes.plot([place, place], interval, color=VALIDATION, linewidth=1)
        axes.plot(x, training, color=TRAIN, label="training (running)", **dots)
        axes.axvline(places[best], color=INK, linestyle=":", linewidth=1, label=chosen)
        if not numbers:
            words = [
                "\n".join(wrap(literal(str(kind)), max(12, 50 // len(kinds)))) for kind in kinds
            ]
            axes.set_xticks(range(len(kinds)), words, fontsize=8)
            axes.set_xlim(-0.5, len(kinds) - 0.5)
        elif values.min() > 0 and values.max() / values.min() > DECADES:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        label_axes(axes, name.replace("_", " "), unit)
    figure.axes[0].legend(frameon=False)
    save(figure, path)

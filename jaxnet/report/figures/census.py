"""The figure of a census: how often networks are wrong on each example."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from jaxnet.report.figures.axes import TRAIN, VALIDATION, label_axes, save
from jaxnet.studies.census_result import Census


def errors_of_examples(found: Census, path: Path) -> None:
    """Draw how many examples have at least an error, for networks that were trained on them and for
    those that were not.

    Args:
        found: the census.
        path: the file.
    """
    rows = found.rows()
    figure = Figure(figsize=(7.2, 3.2))
    axes = figure.subplots()
    figure.subplots_adjust(0.12, 0.17, 0.98, 0.97)
    scale = 1.0 if found.regression else 100.0
    places = 100 * (np.arange(len(rows["error"])) + 0.5) / len(rows["error"])
    for name, color, words in (
        ("error", VALIDATION, "networks that have not seen the example"),
        ("seen_error", TRAIN, "networks that were trained on it"),
    ):
        axes.plot(places, scale * np.sort(rows[name])[::-1], color=color, label=words)
    axes.legend(frameon=False, fontsize=8)
    unit = (
        "mean squared error / variance of y"
        if found.regression
        else "networks that are wrong, percent"
    )
    label_axes(axes, "examples in order of their error, percent of all", unit)
    save(figure, path)

"""Figure of what a training shows inside its epochs, as PNG and SVG."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from jaxnet.core.signals import Signals
from jaxnet.report.figures.axes import label_axes, literal, save

ACROSS = 3  # panels in a row
MOST_NAMES = 12  # layers with a name in the legend


def signals(given: Signals, layers: Sequence[str], path: Path) -> None:
    """Draw each signal in a panel of its own, with one line per layer over the steps of the run.

    Args:
        given: the signals of each epoch.
        layers: the names of the layers.
        path: the file.
    """
    panels = {
        "size of the gradient": (given.gradient_norm, "log"),
        "change per step, %": (100 * given.update_ratio, "log"),
        "size of the outputs": (given.output_scale, "log"),
        "dead units, %": (100 * np.asarray(given.dead_units), "linear"),
        "saturated outputs, %": (100 * np.asarray(given.saturated_units), "linear"),
        "loss of the batch": (np.asarray(given.loss)[..., None], "linear"),
    }
    panels = {name: each for name, each in panels.items() if np.isfinite(each[0]).any()}
    rows, taken = -(-len(panels) // ACROSS), np.asarray(given.step).ravel()
    order = np.flatnonzero(taken >= 0)
    figure = Figure(figsize=(3.6 * ACROSS, 2.7 * rows + 0.5), layout="constrained")
    color = mpl.colormaps["viridis"](np.linspace(0.35, 0.85, len(layers)))
    for axes, (name, (values, scale)) in zip(
        figure.subplots(rows, ACROSS, squeeze=False).ravel(), panels.items(), strict=False
    ):
        lines = np.asarray(values, np.float64).reshape(len(taken), -1)[order]
        lines[~np.isfinite(lines) | ((lines <= 0) & (scale == "log"))] = np.nan
        for layer, line in enumerate(lines.T):
            if np.isfinite(line).any():
                own = {} if lines.shape[1] < len(layers) else {"color": color[layer]}
                axes.plot(taken[order], line, linewidth=1, label=literal(layers[layer]), **own)
        if scale == "log" and np.isfinite(lines).any():
            axes.set_yscale("log", subs=(2, 5))  # labels at more of them would overlap
        label_axes(axes, "training step", name)
    for axes in figure.axes[len(panels) :]:
        axes.set_axis_off()
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles[:MOST_NAMES],
        names[:MOST_NAMES],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=8,
    )
    save(figure, path)

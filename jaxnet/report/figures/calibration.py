"""The reliability diagram: accuracy over confidence."""

from pathlib import Path

from matplotlib.figure import Figure

from jaxnet.report.figures.axes import INK, TRAIN, VALIDATION, label_axes, save
from jaxnet.stats.calibration import Calibration

RIGHT = "predictions that are right, %"


def reliability(found: Calibration, path: Path, *, part: str) -> None:
    """Draw the accuracy with 95% intervals in each bin of the confidence, and the number of
    predictions in each bin below.

    Args:
        found: the calibration.
        path: the file.
        part: the part of the data, in words.
    """
    figure = Figure(figsize=(4.6, 5.4))
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    figure.subplots_adjust(0.15, 0.1, 0.96, 0.93, hspace=0.1)
    axes.plot([0, 100], [0, 100], color=INK, linewidth=1, linestyle=":", label="calibrated")
    for each in found.bins:
        low, high = 100 * each.accuracy.low, 100 * each.accuracy.high
        axes.plot(
            [100 * each.confidence] * 2,
            [low, high],
            color=VALIDATION,
            linewidth=2.5,
            alpha=0.5,
            solid_capstyle="butt",
        )
        axes.plot(
            [100 * each.confidence],
            [100 * each.accuracy.estimate],
            "o",
            color=VALIDATION,
            markersize=5,
            label=RIGHT,
        )
    axes.set(xlim=(0, 100), ylim=(0, 100))
    named = {
        str(line.get_label()): line
        for line in axes.lines
        if line.get_label() in ("calibrated", RIGHT)
    }
    axes.legend(
        list(named.values()),
        ["calibrated", f"{len(found.bins)} bins, 95% intervals"],
        frameon=False,
        loc="upper left",
        fontsize=9,
    )
    axes.set_title(
        f"{part}: calibration error {found.ece:.2%}, by chance {found.null.mean:.2%}", fontsize=10
    )
    label_axes(axes, "", RIGHT)
    counts.bar(
        [50 * (each.low + each.high) for each in found.bins], [each.count for each in found.bins],
        width=[90 * (each.high - each.low) for each in found.bins], color=TRAIN, alpha=0.6,
    )  # fmt: skip
    counts.set_yscale("log")
    counts.set_ylim(0.5, None)
    label_axes(counts, "confidence, %", "examples")
    save(figure, path)

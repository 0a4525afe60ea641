"""Figures of shifts: how soon they are detected, what they cost, and which examples differ."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Num
from matplotlib.figure import Figure

from jaxnet.diagnostics import Estimate
from jaxnet.report.figures.axes import INK, TRAIN, VALIDATION, label_axes, save
from jaxnet.studies.shift import ShiftStudy

SHADES = ("#a6cee3", "#56b4e9", "#0072b2", "#023858")  # from weak to strong


def power(
    found: Mapping[str, Mapping[str, Sequence[float]]],
    sizes: Sequence[int],
    path: Path,
    *,
    level: float,
) -> None:
    """Draw the share of batches that raise an alarm over their size: one panel for each kind of
    shift, one line for each strength, the weakest first.

    Args:
        found: shares for each size, by kind and strength.
        sizes: the sizes of batches.
        path: the file.
        level: the level of the test.
    """
    across = min(3, len(found))
    down = -(-len(found) // across)
    figure = Figure(figsize=(3.6 * across, 2.9 * down))
    figure.subplots_adjust(
        0.62 / (3.6 * across),
        0.5 / (2.9 * down),
        1 - 0.1 / (3.6 * across),
        1 - 0.3 / (2.9 * down),
        0.25,
        0.45,
    )
    panels = np.atleast_1d(figure.subplots(down, across)).ravel()
    for axes, (kind, lines) in zip(panels, found.items(), strict=False):
        for (strength, shares), color in zip(lines.items(), SHADES[-len(lines) :], strict=False):
            axes.plot(
                sizes,
                100 * np.asarray(shares),
                color=color,
                marker="o",
                markersize=3.5,
                linewidth=1.4,
                label=strength,
            )
        axes.axhline(100 * level, color=INK, linestyle=":", linewidth=1)
        axes.set_xscale("log")
        axes.set_ylim(-3, 103)
        axes.set_title(kind, fontsize=10)
        axes.legend(frameon=False, fontsize=8)
        label_axes(axes, "examples in a batch", "batches with an alarm, %")
    for axes in panels[len(found) :]:
        axes.set_axis_off()
    save(figure, path)


def estimated_errors(
    truths: Mapping[str, Estimate], estimates: Mapping[str, Estimate], path: Path
) -> None:
    """Draw the error on each shifted test set, measured with labels and estimated without, one row
    for each shift.

    Args:
        truths: the measured errors, by shift.
        estimates: the estimated errors, by shift.
        path: the file.
    """
    names = list(truths)[::-1]
    height = 0.9 + 0.24 * len(names)
    figure = Figure(figsize=(6.8, height))
    axes = figure.add_axes((0.24, 0.5 / height, 0.73, 1 - 0.85 / height))
    for row, name in enumerate(names):
        for found, color, beside, marker in (
            (truths[name], TRAIN, 0.14, "o"),
            (estimates[name], VALIDATION, -0.14, "s"),
        ):
            if found.refused is None:
                axes.plot(
                    [100 * found.low, 100 * found.high],
                    [row + beside] * 2,
                    color=color,
                    linewidth=1.4,
                )
                axes.plot([100 * found.estimate], [row + beside], marker, color=color, markersize=4)
            elif color == VALIDATION:
                axes.text(
                    100, row + beside, "refused", fontsize=7, color=color, ha="right", va="center"
                )
    axes.plot([], [], "o-", color=TRAIN, markersize=4, label="with labels")
    axes.plot([], [], "s-", color=VALIDATION, markersize=4, label="estimated without")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlim(0, 100)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.legend(frameon=False, ncols=2, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1))
    label_axes(axes, "examples predicted wrongly, %", "")
    save(figure, path)


def unlike(
    rows: Mapping[str, Num[np.ndarray, "examples ..."]],
    pixel_max: float,
    path: Path,
    *,
    most: int = 10,
) -> None:
    """Draw the images that look least like the other sample, one row for each sample.

    Args:
        rows: (examples, ...) images, by sample.
        pixel_max: the value of a white pixel.
        path: the file.
        most: number of images of a row at most.
    """
    height, width = next(iter(rows.values())).shape[1:3]
    inches, side, head = 0.7 / width, 1.7, 0.35
    gap = max(1, width // 8)
    figure = Figure(
        figsize=(side + most * (width + gap) * inches, head + len(rows) * (height + gap) * inches)
    )
    axes = figure.add_axes(
        (
            side / figure.get_figwidth(),
            0,
            1 - side / figure.get_figwidth(),
            1 - head / figure.get_figheight(),
        )
    )
    color = next(iter(rows.values())).shape[3:] == (3,)
    canvas = np.full(
        (len(rows) * (height + gap), most * (width + gap), 3 if color else 1), 1.0 if color else 0.0
    )
    for row, images in enumerate(rows.values()):
        top = row * (height + gap)
        for column, image in enumerate(images[:most]):
            left = column * (width + gap)
            canvas[top : top + height, left : left + width] = (
                image.reshape(height, width, -1) / pixel_max
            )
    axes.imshow(
        canvas if color else canvas[..., 0],
        cmap="gray_r",
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
    )
    for row, name in enumerate(rows):
        axes.text(
            -gap, row * (height + gap) + height / 2, name, fontsize=8, ha="right", va="center"
        )
    axes.set_axis_off()
    figure.suptitle("what a network tells most surely from the reference", fontsize=10)
    save(figure, path, vector=False)


def shifts(found: ShiftStudy, folder: Path) -> None:
    """Draw alarms, errors, and images that differ, for every shift of a study.

    Args:
        found: the study.
        folder: the folder of the files.
    """
    power(found.alarms, found.sizes, folder / "power.png", level=found.level)
    truths = {each.name: each.error for each in found.shifts}
    estimates = {each.name: each.estimated_error for each in found.shifts}
    estimated_errors(truths, estimates, folder / "estimated_errors.png")
    unlike(found.unlike, found.pixel_max, folder / "unlike.png")

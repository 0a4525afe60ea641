"""Figures of examples whose labels are doubtful."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Num
from matplotlib.figure import Figure

from jaxnet.data import Splits
from jaxnet.report.figures.axes import literal, save
from jaxnet.stats.label_errors import HardExample
from jaxnet.studies.label_errors import PARTS, LabelErrors

TILES = 8  # tiles in a row


def doubtful(
    x: Num[np.ndarray, "examples ..."],
    found: Sequence[HardExample],
    classes: tuple[str, ...],
    pixel_max: float,
    path: Path,
    *,
    part: str,
    most: int = 40,
) -> None:
    """Draw the first of these images: index, label, and the prediction of the networks with its
    probability.

    Args:
        x: (examples, ...) images.
        found: the doubtful examples.
        classes: names of the classes.
        pixel_max: the value of a white pixel.
        path: the file.
        part: the part of the data, in words.
        most: number of images at most.
    """
    shown = found[:most]
    height, width = x.shape[1:3]
    # One picture of all tiles, with room for three lines above each: an axes apiece would take a
    # second to draw.
    head, gap = 0.75 * height, 0.2 * width
    rows = max(1, -(-len(shown) // TILES))
    inches = 0.95 / width
    figure = Figure(
        figsize=(TILES * (width + gap) * inches, rows * (height + head) * inches + 0.35)
    )
    axes = figure.add_axes((0, 0, 1, 1 - 0.35 / figure.get_figheight()))
    axes.set_axis_off()
    figure.suptitle(
        f"{part}: the {len(shown)} most doubtful labels"
        if shown
        else f"{part}: no label is doubtful",
        fontsize=10,
    )
    for place, each in enumerate(shown):
        left, top = (place % TILES * (width + gap), place // TILES * (height + head) + head)
        image = x[each.index]
        image = (
            image / pixel_max
            if image.ndim == 3 and image.shape[-1] == 3
            else image.reshape(height, width)
        )
        axes.imshow(
            image,
            cmap="gray_r",
            vmin=0,
            vmax=pixel_max,
            extent=(left, left + width, top + height, top),
            aspect="auto",
        )
        words = (
            f"{each.index}\nlabel "
            f"{literal(classes[each.label])}\n{literal(classes[each.prediction])}? "
            f"{each.confidence:.0%}"
        )
        axes.text(left + width / 2, top - 0.05 * head, words, ha="center", va="bottom", fontsize=8)
    axes.set(xlim=(-gap / 2, TILES * (width + gap) - gap / 2), ylim=(rows * (height + head), 0))
    save(figure, path, vector=False)


def doubtful_labels(found: LabelErrors, splits: Splits, folder: Path) -> None:
    """Draw the images with the most doubtful labels, of the training and of the test set.

    Args:
        found: the label errors.
        splits: the data.
        folder: the folder of the files.
    """
    pixel_max = splits.train.pixel_max
    assert pixel_max is not None
    for part, name in (("train", "doubtful"), ("test", "doubtful_test")):
        x, path = np.asarray(getattr(splits, part).x), folder / f"{name}.png"
        doubtful(x, found.doubtful[part], found.classes, pixel_max, path, part=PARTS[part])

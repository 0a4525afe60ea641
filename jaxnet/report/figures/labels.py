"""Figures of examples whose labels are doubtful."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Num

from jaxnet.data import Splits
from jaxnet.report.figures.axes import draw_tiles, literal, save
from jaxnet.stats.label_errors import HardExample
from jaxnet.studies.label_errors import PARTS, LabelErrors


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
    title = (
        f"{part}: the {len(shown)} most doubtful labels"
        if shown
        else f"{part}: no label is doubtful"
    )
    words = [
        f"{each.index}\nlabel {literal(classes[each.label])}\n"
        f"{literal(classes[each.prediction])}? {each.confidence:.0%}"
        for each in shown
    ]
    images = [x[each.index] for each in shown]
    figure = draw_tiles(images, words, x.shape[1:3], pixel_max, title, head=0.75, gap=0.2)
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

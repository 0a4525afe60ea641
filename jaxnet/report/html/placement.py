"""Measure where figures lie in training images, so that a drawing can be placed in the same way."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Num

INKED = 0.35  # share of the darkest ink above which a pixel belongs to a figure
REGULAR = 0.12  # standard deviation over mean up to which sizes count as equal
MEASURED_IMAGES = 2000  # about so many images are measured


class Placement(NamedTuple):
    """The position and size of figures in images, in pixels.

    Attributes:
        height: of an image.
        width: of an image.
        background: the value of a pixel without ink.
        ink: the value of a pixel with ink.
        stroke: width of the lines.
        size: size of the figure's `side`; None if figures have any size, and drawings are used as
            they are.
        side: "height", or "longest" for the longest side.
        center: (y, x) of what `centered` says; 0.5 is the middle of the first pixel.
        centered: "box", or "mass" for the center of mass.
    """

    height: int
    width: int
    background: float
    ink: float
    stroke: float
    size: float | None
    side: Literal["height", "longest"]
    center: tuple[float, float]
    centered: Literal["box", "mass"]


def placement(x: Num[np.ndarray, "examples height width"], pixel_max: float) -> Placement:
    """Measure the Placement of figures.

    Args:
        x: (examples, height, width) gray images.
        pixel_max: the value of a white pixel; a black one is 0.

    Returns:
        The Placement.
    """
    some = np.asarray(x[:: max(1, len(x) // MEASURED_IMAGES)], np.float64)
    height, width = some.shape[1:]
    edge = np.concatenate([some[:, 0], some[:, -1], some[:, :, 0], some[:, :, -1]], axis=1)
    background = float(np.median(edge))
    ink = float(np.median(some.max((1, 2)) if background < pixel_max / 2 else some.min((1, 2))))
    drawn = np.clip((some - background) / ((ink - background) or 1.0), 0, 1)
    drawn = drawn[drawn.max((1, 2)) > INKED]
    if not len(drawn):
        return Placement(
            height, width, background, ink, 2.0, None, "longest", (height / 2, width / 2), "box"
        )
    boxes = np.array([_box(image > INKED) for image in drawn], float)  # top, bottom, left, right
    sizes = np.stack([boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]], axis=1)
    sides = {"longest": sizes.max(1), "height": sizes[:, 0]}
    side = min(sides, key=lambda name: sides[name].std() / sides[name].mean())
    regular = sides[side].std() / sides[side].mean() <= REGULAR
    mass = drawn.sum((1, 2))
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    centers = {
        "mass": np.stack(
            [(drawn.sum(2) * rows).sum(1) / mass, (drawn.sum(1) * columns).sum(1) / mass], axis=1
        ),
        "box": np.stack([boxes[:, :2].mean(1), boxes[:, 2:].mean(1)], axis=1),
    }
    centered = min(centers, key=lambda name: centers[name].std(0).sum())
    padded = np.pad(drawn, ((0, 0), (1, 1), (1, 1)))
    # A line has two edges, so the total variation is twice its length, and its ink its length times
    # its width.
    variation = np.hypot(np.diff(padded, axis=1)[:, :, 1:], np.diff(padded, axis=2)[:, 1:]).sum(
        (1, 2)
    )
    return Placement(
        height=height,
        width=width,
        background=background,
        ink=ink,
        stroke=float(np.median(2 * mass / variation)),
        size=float(np.median(sides[side])) if regular else None,
        side=side,  # pyrefly: ignore[bad-argument-type]
        center=(
            float(np.median(centers[centered][:, 0])),
            float(np.median(centers[centered][:, 1])),
        ),
        centered=centered,  # pyrefly: ignore[bad-argument-type]
    )


def _box(inked: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(inked.any(1)), np.flatnonzero(inked.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1

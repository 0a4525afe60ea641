"""Figures of single examples: confusions, mistakes, augmented images, and predicted values."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxnet import arrays
from jaxnet.data import Augmentation, Standardization
from jaxnet.data.augmentation import augment
from jaxnet.display import rounded
from jaxnet.report.figures.axes import INK, MOST_DOTS, TRAIN, draw_tiles, label_axes, literal, save

MOST_PANELS = 6  # values of an example that are drawn, each in a panel


def confusion(
    counts: Int[np.ndarray, "classes classes"], classes: tuple[str, ...], path: Path
) -> None:
    """Draw how often each class was predicted as which: labels in rows, predictions in columns.

    Args:
        counts: (classes, classes) counts; those on the diagonal are right.
        classes: names of the classes.
        path: the file.
    """
    n = len(classes)
    size = min(14.0, max(4.5, 0.45 * n + 1.5))
    figure = Figure(figsize=(size, size))
    edge = (0.45 + 0.09 * min(12, max(map(len, classes)))) / size
    axes = figure.add_axes((edge, edge, 0.97 - edge, 0.95 - edge))
    wrong = counts.astype(float)
    np.fill_diagonal(wrong, 0)
    axes.imshow(wrong, cmap="Oranges", vmin=0, vmax=max(1.0, wrong.max()) * 1.3)
    if n <= 30:
        for i, j in np.argwhere(counts > 0):
            axes.text(
                j,
                i,
                str(counts[i, j]),
                ha="center",
                va="center",
                fontsize=9,
                color="#555555" if i == j else INK,
            )
        names = [literal(name) for name in classes]
        axes.set_xticks(range(n), names, rotation=0 if max(map(len, classes)) < 3 else 90)
        axes.set_yticks(range(n), names)
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    axes.set_title("test set; color shows the errors", fontsize=10)
    save(figure, path, vector=False)


def wrong_images(
    x: Num[np.ndarray, "examples ..."],
    y: Int[np.ndarray, " examples"],
    log_probabilities: Float[np.ndarray, "examples classes"],
    classes: tuple[str, ...],
    pixel_max: float,
    path: Path,
    *,
    most: int = 40,
) -> None:
    """Draw the test images that are predicted wrongly, the most confident mistakes first, with
    label, prediction and its probability.

    Args:
        x: (examples, ...) images.
        y: (examples,) labels.
        log_probabilities: (examples, classes).
        classes: names of the classes.
        pixel_max: the value of a white pixel.
        path: the file.
        most: number of images at most.
    """
    predictions = arrays.chosen(log_probabilities)
    wrong = np.flatnonzero(arrays.wrong(predictions, y))
    confidence = np.exp(log_probabilities.max(1))
    told = wrong[predictions[wrong] != arrays.NO_CLASS]  # NaN has no confidence
    shown = told[np.argsort(-confidence[told], kind="stable")][:most]
    title = f"{len(wrong)} of {len(y)} test images are wrong"
    title += f"; the {most} most confident" if len(wrong) > most else ""
    words = [
        f"{literal(classes[y[i]])}, said {literal(classes[predictions[i]])}\n{confidence[i]:.0%}"
        for i in shown
    ]
    figure = draw_tiles(
        [x[i] for i in shown], words, x.shape[1:3], pixel_max, title, head=0.55, gap=0.15
    )
    save(figure, path, vector=False)


def augmented(
    x: Num[np.ndarray, "examples ..."],
    how: Augmentation,
    standardization: Standardization,
    pixel_max: float,
    path: Path,
    *,
    most: int = 5,
    versions: int = 7,
    seed: int = 0,
) -> None:
    """Draw the first training images, one row each: as they are, then as training may see them.
    With mixup the next row is mixed in.

    Args:
        x: (examples, ...) images.
        how: the augmentation.
        standardization: of the training set.
        pixel_max: the value of a white pixel.
        path: the file.
        most: number of images at most.
        versions: number of augmented versions of each.
        seed: seed of the augmentation.
    """
    x = x[:most]
    examples, height, width = x.shape[:3]
    # All are in one batch: one version of every example, then the next version of every example, so
    # that mixup takes the image of the next row.
    keys, tiled = (
        jax.random.split(jax.random.key(seed), versions * examples),
        np.tile(x, (versions, *[1] * (x.ndim - 1))),
    )
    changed, _ = jax.jit(augment)(
        how, keys, standardization.inputs(tiled), jnp.zeros((len(tiled), 1), jnp.float32)
    )
    back = np.asarray(changed) * np.asarray(standardization.scale) + np.asarray(
        standardization.mean
    )
    back = back if standardization.origin is None else standardization.origin.restored(back)
    tiles = np.concatenate([x, np.clip(back, 0, pixel_max)]).reshape(
        1 + versions, examples, height, width, -1
    )
    color, gap = tiles.shape[-1] == 3, max(1, width // 8)
    tiles = np.pad(
        tiles,
        ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)),
        constant_values=pixel_max if color else 0,
    )
    canvas = tiles.transpose(1, 2, 0, 3, 4).reshape(
        examples * (height + gap), (1 + versions) * (width + gap), -1
    )
    inches, head = 0.95 / width, 0.35
    figure = Figure(figsize=(canvas.shape[1] * inches, canvas.shape[0] * inches + head))
    axes = figure.add_axes((0, 0, 1, 1 - head / figure.get_figheight()))
    axes.imshow(
        canvas / pixel_max if color else canvas[..., 0],
        cmap="gray_r",
        vmin=0,
        vmax=pixel_max,
        aspect="auto",
        interpolation="nearest",
    )
    axes.axvline(width + gap / 2 - 0.5, color=INK, linewidth=1)
    axes.set_axis_off()
    figure.suptitle(
        "training images, and right of the line what training may see of them", fontsize=10
    )
    save(figure, path, vector=False)


def values(
    y: Float[np.ndarray, "examples ..."],
    predictions: Float[np.ndarray, "examples ..."],
    path: Path,
    names: Sequence[str] = (),
) -> None:
    """Draw predicted over true values of the test set; points on the line are right.

    Args:
        y: (examples,) true values; (examples, columns) of several, each in a panel of its own.
        predictions: predicted values, of the same shape.
        path: the file.
        names: the name of each of several values; those beyond MOST_PANELS are not drawn.
    """
    columns = (
        [(y, predictions, "")] if y.ndim == 1 else list(zip(y.T, predictions.T, names, strict=True))
    )
    columns = columns[:MOST_PANELS]
    figure = Figure(figsize=(4.5 * len(columns), 4.5), layout="constrained")
    panels = figure.subplots(1, len(columns), squeeze=False)[0]
    for axes, (true, said, name) in zip(panels, columns, strict=True):
        start = (float(true[0]), float(true[0]))
        axes.axline(start, slope=1, color=INK, linewidth=1, linestyle=":")
        axes.scatter(
            true, said, s=10, color=TRAIN, alpha=0.6, linewidths=0, rasterized=len(y) > MOST_DOTS
        )
        what = f"{name}: true value, test set" if name else "true value, test set"
        label_axes(axes, what, "prediction")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4))
            axis.set_major_formatter(lambda value, _: rounded(value))
    save(figure, path)

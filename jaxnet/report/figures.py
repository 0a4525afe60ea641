"""Pictures of a run, as PNG. Each function draws one figure; none of them computes anything that is reported."""

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from .. import admission
from ..data import Augmentation, Standardisation
from ..data.augmentation import augment
from ..diagnostics import Decomposition, Diagnosis, Estimate
from ..diagnostics.curves import FARTHEST
from ..disk import write_whole
from ..escaping import visible
from ..processes import first
from ..run import Row
from ..studies.learning_curve import LearningCurve
from .vector import svg

TRAIN, VALIDATION, INK = "#0072b2", "#d55e00", "#222222"  # of Okabe & Ito 2008: told apart with any colour vision
PARTS = {"train": "training set", "validation": "validation set", "test": "test set", "use": "where it is used"}
DPI = 110
MOST_TICKS = 12
FEW = 30  # epochs that are marked
MOST_DOTS = 500  # of an SVG, which holds more of them as pixels
DECADES = 30  # times that the largest value is the smallest, above which an axis is logarithmic


def curves(history: Row, path: Path, *, best_epoch: int | None = None) -> None:
    """Loss, and of classes accuracy, over the epochs, on training and validation set."""
    pairs = [("loss", history.train_loss, history.validation_loss)]
    if history.train_accuracy is not None:
        pairs.append(("accuracy", history.train_accuracy, history.validation_accuracy))
    figure = Figure(figsize=(5.0 * len(pairs), 3.6))
    figure.subplots_adjust(0.62 / (5.0 * len(pairs)), 0.14, 1 - 0.1 / (5.0 * len(pairs)), 0.96, wspace=0.22)
    for axes, (name, train, validation) in zip(np.atleast_1d(figure.subplots(1, len(pairs))), pairs, strict=True):
        epochs = np.arange(1, len(np.asarray(train)) + 1)
        marker = _marker(train)
        axes.plot(epochs, train, color=TRAIN, marker=marker, markersize=4, label="training, while it changes")
        if validation is not None:
            axes.plot(epochs, validation, color=VALIDATION, marker=marker, markersize=4, label="validation")
        if best_epoch:
            axes.axvline(best_epoch, color=INK, linestyle=":", linewidth=1, label="lowest validation loss")
        _plain(axes, "epoch", name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, loc="best" if len(epochs) < 200 else "upper right")
    _save(figure, path)


def validation_curve(table: Mapping[str, np.ndarray], names: Sequence[str], best: int, path: Path, *, error: str) -> None:
    """Validation error with 95% intervals, and training error, over each of these hyperparameters. error: in words.

    One that alone varies is joined by a line; of several, each panel shows all trials.
    """
    figure = Figure(figsize=(5.2 * len(names), 4.0))
    figure.subplots_adjust(0.7 / (5.2 * len(names)), 0.2, 1 - 0.1 / (5.2 * len(names)), 0.96, wspace=0.22)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        values = table[name]
        numbers = values.dtype.kind in "fiu"
        line = "-" if len(names) == 1 and numbers else ""
        kinds, places = (values, values) if numbers else np.unique(values, return_inverse=True)
        rows = np.argsort(places, kind="stable")
        x, middle = places[rows], table["error"][rows]
        bars = np.nan_to_num(np.abs(np.stack([middle - table["low"][rows], table["high"][rows] - middle])))
        dots: dict[str, Any] = {"linestyle": line, "marker": "o", "markersize": 3, "linewidth": 1}
        axes.errorbar(x, middle, bars, color=VALIDATION, label="validation", **dots)
        axes.plot(x, table["training_error"][rows], color=TRAIN, label="training, while it changes", **dots)
        axes.axvline(places[best], color=INK, linestyle=":", linewidth=1, label="chosen")
        if not numbers:
            words = ["\n".join(wrap(_literal(str(kind)), max(12, 50 // len(kinds)))) for kind in kinds]
            axes.set_xticks(range(len(kinds)), words, fontsize=8)
            axes.set_xlim(-0.5, len(kinds) - 0.5)
        elif values.min() > 0 and values.max() / values.min() > DECADES:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        _plain(axes, name.replace("_", " "), error)
    figure.axes[0].legend(frameon=False)
    _save(figure, path)


def diagnosis(found: Diagnosis, path: Path) -> None:
    """Errors from training set to where it is used, and how bias and variance change with the size of the training set."""
    partitions = sorted((parts for parts in found.decompositions if parts.design == "partition"), key=lambda parts: parts.training or 0)
    count = 1 + bool(partitions)
    figure = Figure(figsize=(5.2 * count, 3.8))
    figure.subplots_adjust(0.8 / (5.2 * count), 0.15, 1 - 0.1 / (5.2 * count), 0.9, wspace=0.3)
    axes = np.atleast_1d(figure.subplots(1, count))
    percent, unit = _unit(found.regression)
    _ladder(axes[0], found.errors, found.target_error + found.tolerance, regression=found.regression)
    title = "one network" if found.members == 1 else f"{found.members} networks, mean and 95% interval"
    axes[0].set_title(title, fontsize=10)
    if partitions:
        n = [parts.training or 0 for parts in partitions]
        for name, words, color, marker in (
            ("bias", "bias²: the mistakes they share", TRAIN, "o"),
            ("variance", "variance: mistakes of their own", VALIDATION, "s"),
        ):
            sizes, shift = [getattr(parts, name) for parts in partitions], 1.015 if name == "bias" else 1 / 1.015
            beside = [shift * each for each in n]  # so that no interval hides another
            axes[1].plot(beside, [percent * size.estimate for size in sizes], color=color, marker=marker, markersize=5, label=words)
            for where, size in zip(beside, sizes, strict=True):
                _bar(axes[1], where, size, color, percent)
        axes[1].set_xscale("log")
        axes[1].set_xticks(n, [f"{each:,}" for each in n])
        axes[1].xaxis.set_minor_formatter(NullFormatter())
        axes[1].tick_params(axis="x", which="minor", length=0)
        axes[1].set_xlim(min(n) / 1.3, max(n) * 1.3)
        axes[1].set_ylim(bottom=0)
        axes[1].set_title("trained on disjoint parts of the training set", fontsize=10)
        axes[1].legend(frameon=False, fontsize=9)
        _plain(axes[1], "training examples", unit)
    _save(figure, path)


def ladder(errors: Mapping[str, Estimate], path: Path, *, limit: float, regression: bool) -> None:
    """Errors of one network from training set to where it is used. limit: target error and tolerance."""
    figure = Figure(figsize=(5.2, 3.8))
    figure.subplots_adjust(0.8 / 5.2, 0.15, 1 - 0.1 / 5.2, 0.9)
    axes = figure.subplots()
    _ladder(axes, errors, limit, regression=regression)
    axes.set_title("one network", fontsize=10)
    _save(figure, path)


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
    """Error, bias and variance with 95% bands over a quantity. training: errors on the training sets."""
    figure = Figure(figsize=(6.4, 4.2))
    axes = figure.add_axes((0.13, 0.13, 0.84, 0.84))
    lines: list[tuple[str, Sequence[Estimate], str, str, str]] = [
        ("error = bias² + variance" if names[0] == "bias²" else "error", [each.loss for each in found], INK, "D", "--"),
        (names[0], [each.bias for each in found], TRAIN, "o", "-"),
        (names[1], [each.variance for each in found], VALIDATION, "s", "-"),
    ]
    if training is not None:
        lines.append(("error on the training sets", training, "#009e73", "^", ":"))
    for words, sizes, color, marker, line in lines:
        axes.plot(places, [size.estimate for size in sizes], line, color=color, marker=marker, markersize=4, linewidth=1.4, label=words)
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
    _plain(axes, x, unit)
    _save(figure, path)


def learning_curve(found: LearningCurve, path: Path, *, target: float = 0.0) -> None:
    """Errors over the number of training examples, and beyond the largest number what they will be, with a 95% band."""
    figure = Figure(figsize=(6.4, 4.2))
    axes = figure.add_axes((0.13, 0.13, 0.84, 0.84))
    percent, unit = _unit(found.farther is not None)
    for place, size in zip(found.sizes, found.measured, strict=True):
        _bar(axes, float(place), size, VALIDATION, percent)
    dots: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.4}
    axes.plot(found.sizes, percent * np.nanmean(found.training, 1), color=TRAIN, label="training, while it changes", **dots)
    axes.plot(found.sizes, [percent * each.estimate for each in found.measured], color=VALIDATION, label="held out", **dots)
    places = np.geomspace(found.sizes[-1], FARTHEST * found.sizes[-1], 33)
    reach = [(n, each) for n, each in zip(places, found.predict(list(places)), strict=True) if each.refused is None]
    if reach:
        n, centre, low, high = np.array([(n, each.estimate, each.low, each.high) for n, each in reach]).T
        axes.plot(n, percent * centre, "--", color=VALIDATION, linewidth=1.4, label="foreseen, with a 95% band")
        axes.fill_between(n, percent * low, percent * high, color=VALIDATION, alpha=0.18, linewidth=0)
    if target > 0:
        axes.axhline(percent * target, color=INK, linestyle=":", linewidth=1)
        axes.text(found.sizes[0], percent * target, "target", ha="left", va="bottom", fontsize=8)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    _plain(axes, "training examples", unit)
    _save(figure, path)


def spread(errors: Mapping[str, np.ndarray], path: Path) -> None:
    """Test errors of networks that differ in luck alone, a row a kind of luck."""
    figure = Figure(figsize=(6.4, 0.8 + 0.7 * len(errors)))
    figure.subplots_adjust(0.33, 0.5 / (0.8 + 0.7 * len(errors)), 0.96, 0.97)
    axes = figure.subplots()
    for row, values in enumerate(list(errors.values())[::-1]):
        heights = row + 0.25 * (np.argsort(np.argsort(values)) / max(1, len(values) - 1) - 0.5)
        axes.plot(values, heights, "o", color=TRAIN, markersize=4, alpha=0.6, markeredgewidth=0)
        axes.plot([values.mean()] * 2, [row - 0.3, row + 0.3], color=VALIDATION, linewidth=2)
    axes.set_yticks(range(len(errors)), list(errors)[::-1])
    axes.set_ylim(-0.5, len(errors) - 0.5)
    axes.locator_params(axis="x", nbins=6)
    _plain(axes, "test error", "")
    _save(figure, path)


def confusion(counts: Int[np.ndarray, "classes classes"], classes: tuple[str, ...], path: Path) -> None:
    """How often each class was taken for which: labels down, predictions across; the diagonal is right."""
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
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=9, color="#555555" if i == j else INK)
        names = [_literal(name) for name in classes]
        axes.set_xticks(range(n), names, rotation=0 if max(map(len, classes)) < 3 else 90)
        axes.set_yticks(range(n), names)
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    axes.set_title("test set; colour shows the errors", fontsize=10)
    _save(figure, path, vector=False)


def wrong_images(
    x: Num[np.ndarray, "examples ..."],
    y: Int[np.ndarray, " examples"],
    log_probabilities: Float[np.ndarray, "examples classes"],
    classes: tuple[str, ...],
    white: float,
    path: Path,
    *,
    most: int = 40,
) -> None:
    """The test images it got wrong, the most confident first: label, prediction and its probability."""
    predictions = admission.chosen(log_probabilities)
    wrong = np.flatnonzero(predictions != y)
    confidence = np.exp(log_probabilities.max(1))
    told = wrong[predictions[wrong] != admission.NO_CLASS]  # what is not a number has no confidence
    shown = told[np.argsort(-confidence[told], kind="stable")][:most]
    height, width = x.shape[1:3]
    # One picture of all tiles, with room for two lines above each: an axes apiece would take a second to draw.
    head, gap, columns = 0.55 * height, 0.15 * width, 8
    rows = max(1, -(-len(shown) // columns))
    inches = 0.95 / width
    figure = Figure(figsize=(columns * (width + gap) * inches, rows * (height + head) * inches + 0.35))
    axes = figure.add_axes((0, 0, 1, 1 - 0.35 / figure.get_figheight()))
    axes.set(xlim=(-gap / 2, columns * (width + gap) - gap / 2), ylim=(rows * (height + head), 0))
    axes.set_axis_off()
    figure.suptitle(
        f"{len(wrong)} of {len(y)} test images are wrong" + (f"; the {most} most confident" if len(wrong) > most else ""), fontsize=10
    )
    for place, i in enumerate(shown):
        left, top = place % columns * (width + gap), place // columns * (height + head) + head
        image = x[i] / white if x[i].ndim == 3 and x.shape[-1] == 3 else x[i].reshape(height, width)
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=white, extent=(left, left + width, top + height, top), aspect="auto")
        words = f"{_literal(classes[y[i]])}, said {_literal(classes[predictions[i]])}\n{confidence[i]:.0%}"
        axes.text(left + width / 2, top - 0.05 * head, words, ha="center", va="bottom", fontsize=8)
    axes.set(xlim=(-gap / 2, columns * (width + gap) - gap / 2), ylim=(rows * (height + head), 0))
    _save(figure, path, vector=False)


def augmented(
    x: Num[np.ndarray, "examples ..."],
    how: Augmentation,
    standardisation: Standardisation,
    white: float,
    path: Path,
    *,
    most: int = 5,
    versions: int = 7,
    seed: int = 0,
) -> None:
    """The first training images, a row each: as they are, then as training may see them. With mixup the next row is mixed in."""
    x = x[:most]
    examples, height, width = x.shape[:3]
    # All in one batch, a version of every example after the other, so that the next example is that of the next row.
    keys, tiled = jax.random.split(jax.random.key(seed), versions * examples), np.tile(x, (versions, *[1] * (x.ndim - 1)))
    changed, _ = jax.jit(augment)(how, keys, standardisation.inputs(tiled), jnp.zeros((len(tiled), 1), jnp.float32))
    back = np.asarray(changed) * np.asarray(standardisation.scale) + np.asarray(standardisation.mean)
    back = back if standardisation.origin is None else standardisation.origin.restored(back)
    tiles = np.concatenate([x, np.clip(back, 0, white)]).reshape(1 + versions, examples, height, width, -1)
    colour, gap = tiles.shape[-1] == 3, max(1, width // 8)
    tiles = np.pad(tiles, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=white if colour else 0)
    canvas = tiles.transpose(1, 2, 0, 3, 4).reshape(examples * (height + gap), (1 + versions) * (width + gap), -1)
    inches, head = 0.95 / width, 0.35
    figure = Figure(figsize=(canvas.shape[1] * inches, canvas.shape[0] * inches + head))
    axes = figure.add_axes((0, 0, 1, 1 - head / figure.get_figheight()))
    axes.imshow(canvas / white if colour else canvas[..., 0], cmap="gray_r", vmin=0, vmax=white, aspect="auto", interpolation="nearest")
    axes.axvline(width + gap / 2 - 0.5, color=INK, linewidth=1)
    axes.set_axis_off()
    figure.suptitle("training images, and right of the line what training may see of them", fontsize=10)
    _save(figure, path, vector=False)


def values(y: Float[np.ndarray, " examples"], predictions: Float[np.ndarray, " examples"], path: Path) -> None:
    """Predicted against true values of the test set; on the line they are right."""
    figure = Figure(figsize=(4.5, 4.5))
    axes = figure.add_axes((0.16, 0.12, 0.8, 0.84))
    axes.axline((float(y[0]), float(y[0])), slope=1, color=INK, linewidth=1, linestyle=":")
    axes.scatter(y, predictions, s=10, color=TRAIN, alpha=0.6, linewidths=0, rasterized=len(y) > MOST_DOTS)
    _plain(axes, "true value, test set", "prediction")
    _save(figure, path)


def _marker(values: Any) -> str | None:
    """Of a curve over epochs: one for each where they are few, so that a single one can be seen."""
    return "o" if np.isfinite(values).sum() < FEW else None


def _unit(regression: bool) -> tuple[float, str]:
    """(factor of errors, what they are then)."""
    return (1.0, "squared error / variance of y") if regression else (100.0, "examples predicted wrongly, %")


def _ladder(axes: Axes, errors: Mapping[str, Estimate], limit: float, *, regression: bool) -> None:
    scale, unit = _unit(regression)
    for place, error in enumerate(errors.values()):
        color = TRAIN if place == 0 else VALIDATION
        _bar(axes, float(place), error, color, scale)
        axes.plot([place], [scale * error.estimate], "o", color=color, markersize=5, label="error")
    axes.axhline(scale * limit, color=INK, linestyle=":", linewidth=1)
    axes.text(-0.45, scale * limit, "target + tolerance", ha="left", va="bottom", fontsize=8)
    axes.set_xticks(range(len(errors)), [PARTS[name] for name in errors])
    axes.set_xlim(-0.5, len(errors) - 0.5)
    axes.set_ylim(bottom=0)
    _plain(axes, "", unit)


def _literal(text: str) -> str:
    """Text in which a dollar is a dollar, not the beginning of a formula, and nothing is unseen."""
    return visible(text).replace("$", r"\$")


def _bar(axes: Axes, place: float, size: Estimate, color: str, scale: float) -> None:
    """The interval of an estimate, where it has one."""
    if size.refused is None:
        axes.plot([place, place], [scale * size.low, scale * size.high], color=color, linewidth=2.5, alpha=0.5, solid_capstyle="butt")


def _plain(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _save(figure: Figure, path: Path, *, vector: bool = True) -> None:
    """As PNG, and beside it as SVG where it is not made of images."""
    if not first():
        return
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a class name may be in any script
        # No time and no version in the file: the same run gives the same picture.
        figure.savefig(drawn, format=path.suffix[1:] or "png", dpi=DPI, metadata={"Software": None})
        write_whole(path, drawn.getvalue())
        if vector:
            write_whole(path.with_suffix(".svg"), svg(figure).encode("utf-8"))

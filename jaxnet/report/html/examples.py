"""The examples that a network predicts wrongly, and its probabilities, as HTML."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Num
from PIL import Image

from jaxnet import arrays
from jaxnet.data.schema import Schema
from jaxnet.display import rounded
from jaxnet.report.html.document import png, table, text
from jaxnet.stats.several import wrong_answers

MOST_WRONG = 40
LIKELY = 3  # most probable classes that are shown for each example
LARGEST_TILE = 64  # pixels of a side; larger images are made smaller


def wrong_classes(
    x: Num[np.ndarray, "examples ..."],
    y: Int[np.ndarray, " examples"],
    log_probabilities: Float[np.ndarray, "examples classes"],
    classes: Sequence[str],
    pixel_max: float | None,
) -> str:
    """The most confident mistakes as HTML: picture or row number, label, and the most probable
    classes.

    Args:
        x: (examples, ...) inputs.
        y: (examples,) labels.
        log_probabilities: (examples, classes).
        classes: names of the classes.
        pixel_max: the value of a white pixel; None if inputs are no images.

    Returns:
        The HTML.
    """
    probabilities = np.exp(log_probabilities.astype(np.float64))
    confidence = probabilities.max(1)
    numbers = ~np.isnan(confidence)
    wrong = np.flatnonzero(arrays.wrong(log_probabilities, y))
    thought = wrong[numbers[wrong]]
    shown = thought[np.argsort(-confidence[thought], kind="stable")][:MOST_WRONG]
    tiles = [_tile(int(i), x[i], classes, int(y[i]), probabilities[i], pixel_max) for i in shown]
    first = (
        f"; the {MOST_WRONG} most confident mistakes are shown"
        if len(wrong) > MOST_WRONG
        else ", the most confident mistakes first" * (len(wrong) > 1)
    )
    nothing = f" Of {len(wrong) - len(thought):,} the outputs are no numbers." * (
        len(thought) < len(wrong)
    )
    said = (
        f"<p>{len(wrong):,} of {len(y):,} test examples are predicted wrongly{first}.{nothing}</p>"
    )
    return f'{said}<ul class="tiles">{"".join(tiles)}</ul>' if tiles else said


def wrong_values(
    y: Float[np.ndarray, " examples"], predictions: Float[np.ndarray, " examples"]
) -> str:
    """The test examples with the largest errors of a regression, as HTML.

    Args:
        y: (examples,) true values.
        predictions: (examples,) predicted values.

    Returns:
        The HTML.
    """
    shown = np.argsort(-np.abs(predictions - y), kind="stable")[: MOST_WRONG // 2]
    rows = [
        (
            f"{i}",
            rounded(float(y[i]), 5),
            rounded(float(predictions[i]), 5),
            "+" * bool(predictions[i] >= y[i]) + rounded(float(predictions[i] - y[i])),
        )
        for i in shown
    ]
    return table(
        ["test example", "true value", "prediction", "difference"],
        rows,
        caption="largest errors first",
    )


def wrong_several(
    y: Num[np.ndarray, "examples columns"],
    predictions: Float[np.ndarray, "examples columns"],
    schema: Schema,
) -> str:
    """The test examples with the most wrong answers, or with the largest errors of several values,
    as HTML.

    Args:
        y: (examples, columns) true values, or 0 and 1.
        predictions: (examples, columns) predicted values, or log-probabilities of yes.
        schema: what the columns mean.

    Returns:
        The HTML.
    """
    if schema.multi_label:
        off = wrong_answers(predictions, y).mean(1)
        words = np.where(np.exp(predictions) > 0.5, "yes", "no"), np.where(y == 1, "yes", "no")
        said = [
            [f"{a} (true: {b})" for a, b in zip(*each, strict=True)]
            for each in zip(*words, strict=True)
        ]
    else:
        spread = np.maximum(y.std(0), np.finfo(np.float32).tiny)
        off = (np.abs(predictions - y) / spread).mean(1)
        said = [
            [
                f"{rounded(float(a), 5)} (true: {rounded(float(b), 5)})"
                for a, b in zip(*each, strict=True)
            ]
            for each in zip(predictions, y, strict=True)
        ]
    shown = np.argsort(-off, kind="stable")[: MOST_WRONG // 2]
    return table(
        ["test example", *map(text, schema.target_names)],
        [(f"{i}", *said[i]) for i in shown],
        caption="largest errors first",
    )


def picture(image: Num[np.ndarray, "..."], pixel_max: float) -> bytes:
    """An image as a PNG file: one channel is drawn as ink on paper, three channels as colors.

    Args:
        image: (height, width[, channels]).
        pixel_max: the value of a white pixel.

    Returns:
        The content of the file.
    """
    shares = np.clip(np.asarray(image, np.float64) / pixel_max, 0, 1)
    if shares.ndim == 3 and shares.shape[-1] == 3:
        pixels = np.round(255 * shares).astype(np.uint8)
    else:
        pixels = np.round(255 * (1 - shares.reshape(shares.shape[:2]))).astype(np.uint8)
    drawn, file = Image.fromarray(pixels), io.BytesIO()
    drawn.thumbnail((LARGEST_TILE, LARGEST_TILE))
    drawn.save(file, "png", optimize=True)
    return file.getvalue()


def _tile(
    number: int,
    x: np.ndarray,
    classes: Sequence[str],
    label: int,
    probabilities: np.ndarray,
    pixel_max: float | None,
) -> str:
    likely = np.argsort(-probabilities, kind="stable")[:LIKELY]
    listed = [*likely, *([label] if label not in likely else [])]
    bars = "".join(
        f'<li{" class=label" if each == label else ""} style="--share: {probabilities[each]:.3f}">'
        f"<span>{text(classes[each])}</span><span>{probabilities[each]:.0%}</span></li>"
        for each in listed
    )
    said = classes[int(likely[0])]
    words = f"test example {number}: label {classes[label]}, predicted {said}"
    image = (
        "" if pixel_max is None else f'<img alt="{text(words)}" src="{png(picture(x, pixel_max))}">'
    )
    head = f"{image}row {number}: label <b>{text(classes[label])}</b>"
    return f'<li>{head}<ul class="bars">{bars}</ul></li>'

"""Write the report of one run: its figures and its page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnet.core.run import Run
from jaxnet.data import Splits
from jaxnet.engine.prediction import ClassMetrics, Metrics, ValueMetrics
from jaxnet.models.model import Model
from jaxnet.report import figures
from jaxnet.report.html.examples import wrong_classes, wrong_several, wrong_values
from jaxnet.report.html.page import page
from jaxnet.report.html.playground import playground
from jaxnet.report.html.row import row_form


def draw(
    result: Mapping[str, Any],
    run: Run,
    splits: Splits,
    outputs: Mapping[str, np.ndarray],
    metrics: Mapping[str, Metrics],
    to: Path,
) -> None:
    """Draw the figures of a network, each as PNG and, if it has lines, as SVG.

    Args:
        result: what result.json holds.
        run: the network.
        splits: the data.
        outputs: (examples[, classes]) predictions of each part, by name.
        metrics: metrics of each part, by name.
        to: the folder of the figures.
    """
    figures.curves(
        run.history, to / "curves.png", best_epoch=None if run.best is None else int(run.best.epoch)
    )
    if run.history.signals is not None:
        figures.signals(run.history.signals, run.layers, to / "signals.png")
    if "diagnosis" not in result:
        errors, limit = (
            {name: each.error for name, each in metrics.items()},
            (result["target_error"] or 0.0) + result["tolerance"],
        )
        figures.ladder(errors, to / "ladder.png", limit=limit, regression=not splits.counted)
    if run.recipe.augmentation is not None and splits.train.pixel_max is not None:
        some = np.asarray(splits.train.x[:5])
        figures.augmented(
            some,
            run.recipe.augmentation,
            run.standardization,
            splits.train.pixel_max,
            to / "augmented.png",
        )
    test, x, y = metrics["test"], np.asarray(splits.test.x), np.asarray(splits.test.y)
    if isinstance(test, ValueMetrics):
        figures.values(y, outputs["test"], to / "values.png", splits.schema.target_names)
    if not isinstance(test, ClassMetrics) or splits.classes is None:
        return
    figures.confusion(test.confusion, splits.classes, to / "confusion.png")
    if result["calibration"] is not None:
        figures.reliability(result["calibration"], to / "calibration.png", part="test set")
    if splits.test.pixel_max is not None:
        figures.wrong_images(
            x, y, outputs["test"], splits.classes, splits.test.pixel_max, to / "wrong.png"
        )


def html(
    result: dict[str, Any],
    model: Model,
    runs: Sequence[Run],
    splits: Splits,
    outputs: np.ndarray,
    pictures: Path,
) -> str:
    """The page of a result, as HTML.

    Args:
        result: what result.json holds, as plain values.
        model: the architecture of the networks.
        runs: the networks of the playground.
        splits: the data they were trained and tested on.
        outputs: (examples[, classes]) of the first network on the test set.
        pictures: the folder of the figures.

    Returns:
        The text of report.html.
    """
    x, y = np.asarray(splits.test.x), np.asarray(splits.test.y)
    if splits.targets is not None:
        wrong = wrong_several(y, outputs, splits.schema)
    elif splits.classes is None:
        wrong = wrong_values(y, outputs)
    else:
        wrong = wrong_classes(x, y, outputs, splits.classes, splits.test.pixel_max)
    play = playground(model, runs, splits)
    play = play if play.html else row_form(model, runs, splits)
    return page(result, pictures, wrong=wrong, playground=play.html, read=play.read)

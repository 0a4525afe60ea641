"""Figures say errors and accuracies in percent, as everything that people read."""

import re

import numpy as np
from matplotlib.figure import Figure

from jaxnet.core.training import EpochMetrics
from jaxnet.report import figures
from jaxnet.report.figures.axes import draw_interval, plot_beside
from jaxnet.report.figures.calibration import RIGHT
from jaxnet.stats.calibration import calibration
from jaxnet.stats.estimate import Estimate


def drawn(path):
    """The words of a figure, and its tooltips."""
    svg = path.with_suffix(".svg").read_text()
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg), re.findall(r"<title>([^<]*)</title>", svg)


def test_a_sweep_is_drawn_in_percent(tmp_path):
    table = {
        "learning_rate": np.array([0.001, 0.01, 0.1]),
        "error": np.array([0.25, 0.125, 0.5]),
        "low": np.array([0.2, 0.1, 0.4]),
        "high": np.array([0.3, 0.2, 0.6]),
        "training_error": np.array([0.2, 0.0625, 0.45]),
        "interval_for": np.array(["one trial", "best of 3", "one trial"]),
    }
    path, names = tmp_path / "curve.png", ["learning_rate"]
    figures.validation_curve(table, names, 1, path, regression=False)
    words, told = drawn(path)
    assert "examples predicted wrongly, %" in words
    assert "training (running) 6.25" in told[1]
    assert "validation 12.5 (10 to 20)" in told[1]
    figures.validation_curve(table, names, 1, path, regression=True)
    words, told = drawn(path)
    assert "squared error / variance of y" in words
    assert "validation 0.125 (0.1 to 0.2)" in told[1]


def test_accuracy_over_the_epochs_is_drawn_in_percent(tmp_path):
    shares, losses = np.array([0.5, 0.75]), np.array([0.7, 0.4])
    history = EpochMetrics(losses, shares, losses, shares)
    figures.curves(history, tmp_path / "curves.png")
    words, told = drawn(tmp_path / "curves.png")
    assert {"loss", "accuracy, %"} <= {*words}
    assert "epoch 2: training (running) 75; validation 75" in told
    figures.curves_of_runs({"one": history}, tmp_path / "runs.png")
    words, told = drawn(tmp_path / "runs.png")
    assert "validation accuracy, %" in words
    assert "epoch 2: one 75" in told


def test_confidences_are_drawn_in_percent(tmp_path):
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], 400)
    labels = (rng.random(400)[:, None] > p.cumsum(1)).sum(1)
    found = calibration(np.log(p), labels)
    figures.reliability(found, tmp_path / "calibration.png", part="test set")
    words, _ = drawn(tmp_path / "calibration.png")
    assert {RIGHT, "confidence, %", "100"} <= {*words}
    assert f"test set: calibration error {found.ece:.2%}, by chance {found.null.mean:.2%}" in words
    assert f"calibration error                     {found.ece:.2%}; expected" in str(found)


def test_an_interval_beside_its_place_is_inside_the_axes():
    figure = Figure()
    axes = figure.add_subplot()
    plot_beside(axes, [1.0, 2.0], [30.0, 20.0], 3.0, label="error")
    draw_interval(axes, 2.0, Estimate(0.2, 0.1, 0.4), "red", 100.0, 3.0)
    low, high = axes.get_ylim()
    assert low < 10
    assert high > 40
    line, interval = axes.lines
    assert [*interval.get_xdata()] == [2.0, 2.0]  # the data say where it is
    figure.canvas.draw()
    drawn = line.get_transform().transform([2.0, 20.0]) - axes.transData.transform([2.0, 20.0])
    np.testing.assert_allclose(drawn, [3 * figure.dpi / 72, 0], atol=1e-6)

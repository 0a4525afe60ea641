"""Calibration against its definitions, scikit-learn, and simulations with known truths."""

import math

import jax
import numpy as np
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from jaxnet.errors import InputError
from jaxnet.report.figures import reliability
from jaxnet.stats.calibration import calibration, scaled, temperature


def drawn(n, sharp, rng, classes=5):
    """(calibrated log-probabilities, labels)."""
    log_p = scaled(sharp * rng.standard_normal((n, classes)), 1)
    return log_p, (rng.random((n, 1)) > np.exp(log_p).cumsum(1)[:, :-1]).sum(1)


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_values_are_the_definitions(bins):
    log_p, y = drawn(120, 2.0, np.random.default_rng(0))
    p, n = np.exp(log_p), len(y)
    ece = squared = within = power = mean = 0.0
    seen = []
    for b in range(bins):
        inside = [i for i in range(n) if b / bins < p[i].max() <= (b + 1) / bins]
        d = [float(p[i].argmax() == y[i]) - p[i].max() for i in inside]
        if not inside:
            continue
        seen.append(
            (
                len(inside),
                np.mean([p[i].max() for i in inside]),
                np.mean([p[i].argmax() == y[i] for i in inside]),
            )
        )
        ece += len(d) / n * abs(np.mean(d))
        if len(d) > 1:
            w, s2 = len(d) / n, np.var(d, ddof=1)
            u = np.mean([d[i] * d[j] for i in range(len(d)) for j in range(len(d)) if i != j])
            squared += w * u
            within += 4 * w**2 * max(u, 0) * s2 / len(d) + 2 * w**2 * s2**2 / (
                len(d) * (len(d) - 1)
            )
            power, mean = power + w * u**2, mean + w * u
    half = 1.959964 * math.sqrt(within + max(0.0, power - mean**2) / n)
    found = calibration(log_p, y, bins=bins)
    assert found.ece == pytest.approx(ece, abs=1e-12)
    size = found.squared_error
    assert (size.estimate, size.low, size.high) == pytest.approx(
        (squared, squared - half, squared + half), abs=1e-7
    )
    assert [(each.count, each.confidence, each.accuracy.estimate) for each in found.bins] == [
        pytest.approx(each) for each in seen
    ]
    rows = np.arange(n)
    assert found.negative_log_likelihood.estimate == pytest.approx(-log_p[rows, y].mean())
    assert found.brier.estimate == pytest.approx(((p - np.eye(5)[y]) ** 2).sum(1).mean())
    assert found.overconfidence.estimate == pytest.approx(
        p.max(1).mean() - (p.argmax(1) == y).mean()
    )
    assert "expected of a perfectly calibrated network" in str(found)


def test_a_confidence_on_a_border_belongs_to_the_bin_below_it():
    log_p = np.log(np.array([[0.75, 0.25], [0.76, 0.24], [0.5, 0.5]]))
    found = calibration(log_p, np.array([0, 0, 1]), bins=4)
    assert [(each.low, each.high, each.count) for each in found.bins] == [
        (0.25, 0.5, 1),
        (0.5, 0.75, 1),
        (0.75, 1.0, 1),
    ]


def test_the_null_value_is_that_of_labels_drawn_from_the_confidences():
    rng = np.random.default_rng(1)
    log_p, _ = drawn(300, 2.0, rng)
    draws = [(rng.random((300, 1)) > np.exp(log_p).cumsum(1)[:, :-1]).sum(1) for _ in range(200)]
    values = [calibration(log_p, y).ece for y in draws]
    found = calibration(log_p, draws[0]).null
    assert abs(found.mean - np.mean(values)) < 4 * np.std(values) / math.sqrt(200)
    assert np.quantile(values, [0.025, 0.975]) == pytest.approx([found.low, found.high], abs=0.006)
    assert found == calibration(log_p, draws[1], key=jax.random.key(0)).null
    assert found != calibration(log_p, draws[1], key=jax.random.key(1)).null


def test_an_overconfident_network_is_found_and_mended():
    log_p, y = drawn(2000, 2.0, np.random.default_rng(2))
    loud = scaled(log_p, 0.5)
    found = calibration(loud, y)
    assert found.ece > 2 * found.null.high
    assert found.overconfidence.low > 0.05
    assert found.squared_error.low > 0
    t = temperature(loud, y)
    assert t.low < 2.0 < t.high
    mended = calibration(scaled(loud, t), y)
    assert mended.null.low < mended.ece < mended.null.high
    assert mended.squared_error.low < 0 < mended.squared_error.high
    assert (scaled(loud, t).argmax(1) == loud.argmax(1)).all()
    assert np.exp(scaled(loud, t)).sum(1) == pytest.approx(np.ones(2000))


def test_intervals_cover():
    """200 studies of a network with factor 0.6; 180 of 200 would come from an interval of 95% in 1
    case in 500.
    """
    rng = np.random.default_rng(3)
    log_p, _ = drawn(200_000, 2.0, rng)
    loud, p = scaled(log_p, 0.6), np.exp(log_p)
    confidence, right = np.exp(loud.max(1)), p[np.arange(len(p)), loud.argmax(1)]
    where = np.minimum((confidence * 15).astype(int), 14)
    share, total = (
        np.bincount(where, minlength=15) / len(p),
        np.bincount(where, right - confidence, 15) / len(p),
    )
    truths = {
        "squared": (total[share > 0] ** 2 / share[share > 0]).sum(),
        "over": (confidence - right).mean(),
        "temperature": 1 / 0.6,
    }
    inside = dict.fromkeys(truths, 0)
    for _ in range(200):
        mine, y = drawn(200, 2.0, rng)
        mine = scaled(mine, 0.6)
        found = calibration(mine, y)
        sizes = {
            "squared": found.squared_error,
            "over": found.overconfidence,
            "temperature": temperature(mine, y),
        }
        for name, size in sizes.items():
            inside[name] += size.low <= truths[name] <= size.high
    assert min(inside.values()) > 180


@pytest.mark.skipif(
    tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 8),
    reason="no temperatures before 1.8",
)
def test_temperatures_are_scikit_learns():
    x, y = load_digits(return_X_y=True)
    found = []
    for strength in (1e-3, 1e-1, 10.0):
        model = LogisticRegression(C=strength, max_iter=2000).fit(x[:600] / 16, y[:600])
        logits = model.decision_function(x[600:] / 16)
        calibrated = CalibratedClassifierCV(FrozenEstimator(model), method="temperature").fit(
            x[600:] / 16, y[600:]
        )
        found.append(temperature(scaled(logits, 1.0), y[600:]).estimate)
        assert found[-1] == pytest.approx(
            1 / calibrated.calibrated_classifiers_[0].calibrators[0].beta_, rel=1e-6
        )
    assert found[0] < 0.5
    assert found[2] > 2 * found[0]


def test_log_probabilities_are_as_good_as_logits():
    rng = np.random.default_rng(4)
    logits = 3 * rng.standard_normal((300, 4))
    y = rng.integers(0, 4, 300)
    y[:200] = logits[:200].argmax(1)
    log_p = scaled(logits, 1.0)
    t = float(temperature(log_p, y))
    around = [
        np.mean(-scaled(logits, t * factor)[np.arange(300), y]) for factor in (0.99, 1.0, 1.01)
    ]
    assert around[1] < min(around[0], around[2])
    assert scaled(log_p, np.float32(2)) == pytest.approx(scaled(logits, 2), abs=1e-9)


def test_what_has_no_temperature_is_refused():
    log_p, y = drawn(400, 2.0, np.random.default_rng(5))
    with pytest.raises(InputError, match="all 400 predictions are right"):
        temperature(log_p, log_p.argmax(1))
    with pytest.raises(InputError, match="no likelier than by chance"):
        temperature(log_p, log_p.argmin(1))
    assert "50 examples are too few" in temperature(log_p[:50], y[:50]).refused
    assert math.isfinite(temperature(log_p[:50], y[:50]).estimate)
    nearly = log_p.argmax(1)
    nearly[:3] = y[:3] + (y[:3] == nearly[:3]) - 5 * (y[:3] + (y[:3] == nearly[:3]) > 4)
    assert "wrong predictions are too few" in temperature(log_p, nearly).refused
    found = calibration(log_p, nearly)
    assert "at least 5 of both kinds" in found.squared_error.refused
    assert found.overconfidence.refused is None
    assert "too few" in calibration(log_p[:50], y[:50]).squared_error.refused


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda log_p, y: (log_p[None], y), r"shape \(1, 40, 5\)"),
        (lambda log_p, y: (log_p, y[:-1]), r"labels have shape \(39,\) for 40"),
        (lambda log_p, y: (np.exp(log_p), y), "add up to"),
        (
            lambda log_p, y: (np.where(np.arange(40)[:, None] == 7, np.nan, log_p), y),
            "example 7 add up to nan",
        ),
        (lambda log_p, y: (log_p, y.astype(float)), "as integers"),
        (lambda log_p, y: (log_p, y + 4), "from 0 below 5"),
        (lambda log_p, y: (log_p[:0], y[:0]), r"shape \(0, 5\)"),
    ],
)
def test_bad_input_is_named(change, words):
    log_p, y = drawn(40, 1.0, np.random.default_rng(6))
    for function in (calibration, temperature):
        with pytest.raises(InputError, match=words):
            function(*change(log_p, y))


def test_bad_numbers_are_named():
    log_p, y = drawn(40, 1.0, np.random.default_rng(7))
    for t in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="temperature is"):
            scaled(log_p, t)
    with pytest.raises(InputError, match="bins is 0"):
        calibration(log_p, y, bins=0)
    with pytest.raises(InputError, match="key holds"):
        calibration(log_p, y, key=jax.random.split(jax.random.key(0), 2))


def test_one_class_and_certainty_have_a_calibration():
    certain = calibration(np.zeros((200, 1)), np.zeros(200, int))
    assert certain.ece == 0
    assert certain.null.mean == 0
    with np.errstate(divide="ignore"):
        log_p = np.log(np.tile([[1.0, 0.0]], (200, 1)))
    assert calibration(log_p, np.ones(200, int)).ece == pytest.approx(1)


def test_the_reliability_diagram_is_drawn(tmp_path):
    from PIL import Image

    reliability(
        calibration(*drawn(300, 2.0, np.random.default_rng(8))),
        tmp_path / "reliability.png",
        part="test set",
    )
    with Image.open(tmp_path / "reliability.png") as image:
        assert min(image.size) > 300

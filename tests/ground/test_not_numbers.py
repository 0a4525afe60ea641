"""What is not a number: masked values, NaN, infinity, complex numbers, text and dates, wherever
inputs and predictions come in.
"""

import logging
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import zero_one_loss

import jaxnet
from jaxnet.data.corruption import corrupt, knock_out
from jaxnet.diagnostics import (
    Diagnosis,
    bias_variance_decomposition,
    calibration,
    extrapolate,
    sample_and_seed_variance,
    seeds_needed,
)
from jaxnet.errors import InputError
from jaxnet.stats.estimate import Estimate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
Y = (X[:, 0] > 0).astype(int)
VALUES = X @ np.array([1.0, 2.0, 3.0])
MODEL = jaxnet.linear()


@pytest.fixture(scope="module")
def splits():
    return jaxnet.split(X, Y)


@pytest.fixture(scope="module")
def run(splits):
    return jaxnet.fit(MODEL, splits, jaxnet.Recipe(epochs=2), jax.random.key(0))


@pytest.fixture(scope="module")
def values(splits):
    """A run of a regression."""
    return jaxnet.fit(MODEL, jaxnet.split(X, VALUES), jaxnet.Recipe(epochs=2), jax.random.key(0))


@pytest.fixture(scope="module")
def diverged(splits):
    recipe = jaxnet.Recipe(
        epochs=2, learning_rate=1e30, optimizer="sgd", schedule="constant", batch_size=128
    )
    run = jaxnet.fit(jaxnet.mlp((8,)), splits, recipe, jax.random.key(0))
    assert run.diverged
    return run


def masked(array, *place):
    spoiled = np.ma.masked_array(array, np.zeros(np.shape(array), bool))
    spoiled[place] = np.ma.masked
    return spoiled


def spoiled(array, place, value):
    found = np.array(array, float)
    found[place] = value
    return found


# Inputs

MASKED = [
    (
        lambda: jaxnet.split(masked(X, 3, 2), Y),
        r"x has 1 masked value, the first in row 3, column 2 \(counted from 0\); leave those",
    ),
    (
        lambda: jaxnet.split(X, masked(Y, slice(7, 57))),
        "y has 50 masked values, the first in row 7",
    ),
    (
        lambda: jaxnet.split([masked(row, 1) for row in X], Y),
        "x has 200 masked values, the first in row 0, column 1",
    ),
    (
        lambda: jaxnet.split(X, Y, groups=masked(Y, 5)),
        "groups has 1 masked value, the first in row 5",
    ),
    (
        lambda: jaxnet.split(X, Y, order=masked(Y, 5)),
        "order has 1 masked value, the first in row 5",
    ),
    (lambda: next(jaxnet.folds(X, masked(Y, 9))), "y has 1 masked value, the first in row 9"),
    (
        lambda: jaxnet.JaxnetClassifier(epochs=1).fit(masked(X, 3, 2), Y),
        "X has 1 masked value, the first in row 3, column 2",
    ),
    (
        lambda: jaxnet.JaxnetClassifier(epochs=1).fit(X, masked(Y, 3)),
        "y has 1 masked value, the first in row 3",
    ),
    (
        lambda: jaxnet.JaxnetRegressor(epochs=1).fit(X, VALUES, masked(np.ones(200), 4)),
        "sample_weight has 1 masked value",
    ),
    (
        lambda: corrupt(masked(np.ones((2, 4, 4)), 1, 2, 3), "noise", 0.1, jax.random.key(0)),
        "x has 1 masked value, the first in row 1",
    ),
    (
        lambda: knock_out(masked(Y, 8), 1, 0.5, jax.random.key(0)),
        "y has 1 masked value, the first in row 8",
    ),
]


@pytest.mark.parametrize(("call", "words"), MASKED)
def test_masked_values_are_gaps(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_a_mask_of_nothing_is_none(run):
    nothing = np.ma.masked_array(X, np.zeros(X.shape, bool))
    plain, same = jaxnet.split(X, Y), jaxnet.split(nothing, np.ma.masked_array(Y))
    np.testing.assert_array_equal(np.asarray(plain.train.x), np.asarray(same.train.x))
    np.testing.assert_array_equal(
        jaxnet.predict(MODEL, run, nothing), jaxnet.predict(MODEL, run, X)
    )


NO_INPUTS = [
    (
        spoiled(X, (1, 0), np.nan),
        r"x has 1 value that is not finite, the first \(nan\) in row 1, column 0 "
        r"\(counted from 0\); leave out",
    ),
    (
        spoiled(X, (1, 0), -np.inf),
        r"x has 1 value that is not finite, the first \(-inf\) in row 1, column 0",
    ),
    (
        spoiled(X, (1, 0), 1e39),
        r"x has 1 value that is beyond 3.4e\+38.*\(1e\+39\) in row 1, column 0",
    ),
    (X + 1j, "x must hold numbers, but is of type complex128; encode"),
    (X.astype(str), "x must hold numbers, but is of type <U32; encode"),
    (X.astype(object), "x must hold numbers, but is of type object; encode"),
    (
        np.full(X.shape, np.datetime64("2024-01-01")),
        "x must hold numbers, but is of type datetime64",
    ),
    ([[1.0, 2.0, 3.0], [1.0, 2.0]], "x cannot be read as an array"),
    (masked(X, 2, 1), "x has 1 masked value, the first in row 2, column 1"),
]


@pytest.mark.parametrize(("x", "words"), NO_INPUTS)
def test_predict_refuses_what_is_no_input(run, values, x, words):
    population = jax.tree.map(lambda leaf: np.asarray(leaf)[None], run)
    for trained in (run, values, jaxnet.Population((population,), (np.arange(1),))):
        with pytest.raises(InputError, match=words):
            jaxnet.predict(MODEL, trained, x)


def test_predict_takes_every_kind_of_number(run):
    right = np.asarray(jaxnet.predict(MODEL, run, np.ones((2, 3), np.float32)))
    for kind in (np.float16, np.float64, np.int8, np.int64, bool, jnp.bfloat16):
        np.testing.assert_array_equal(jaxnet.predict(MODEL, run, np.ones((2, 3), kind)), right)
    np.testing.assert_allclose(
        jax.jit(lambda x: jaxnet.predict(MODEL, run, x))(np.ones((2, 3), np.float32)),
        right,
        atol=1e-6,
    )


def test_an_estimator_refuses_what_float32_cannot_hold():
    names = np.where(Y, "good", "bad")
    trained = jaxnet.JaxnetClassifier(epochs=1, random_state=0).fit(X, names)
    for method in (trained.predict, trained.predict_proba):
        with pytest.raises(ValueError, match=r"beyond 3.4e\+38.*row 1, column 0"):
            method(spoiled(X, (1, 0), 1e39))
        with pytest.raises(InputError, match="X has 1 masked value, the first in row 3"):
            method(masked(X, 3, 0))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_estimator_that_diverged_names_no_class():
    trained = jaxnet.JaxnetClassifier(
        (8,), epochs=2, learning_rate=1e30, optimizer="sgd", random_state=0
    ).fit(X, Y)
    with pytest.raises(
        InputError,
        match=r"no class for 200 of 200 examples, the first of them 0: .* diverged at step",
    ):
        trained.predict(X)
    assert np.isnan(trained.predict_proba(X)).all()


# Predictions


def with_nan(run):
    """The run with parameters that are NaN."""
    return replace(run, params=jax.tree.map(lambda leaf: leaf * np.nan, run.params))


def test_predictions_of_classes_that_are_nan_are_wrong(run, splits, caplog):
    with caplog.at_level(logging.WARNING, logger="jaxnet"):
        found = jaxnet.evaluate(MODEL, with_nan(run), splits.test)
    assert found.error.estimate == 1
    assert found.not_numbers == len(splits.test)
    assert "40 of 40 predictions are not numbers; they count as wrong" in caplog.text
    assert jaxnet.evaluate(MODEL, run, splits.test).not_numbers == 0


def test_values_that_are_nan_have_no_error(values):
    test = jaxnet.split(X, VALUES).test
    with pytest.raises(
        InputError,
        match=r"predicts nan for example 0, and no finite value for 40 of 40 examples.*diverged",
    ):
        jaxnet.evaluate(MODEL, with_nan(values), test)


def test_a_member_that_diverged_has_no_error_and_the_others_have_theirs(values):
    test = jaxnet.split(X, VALUES).test
    both = jax.tree.map(
        lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), values, with_nan(values)
    )
    sound, lost = jaxnet.evaluate(MODEL, jaxnet.Population((both,), (np.arange(2),)), test)
    assert sound.error.estimate == pytest.approx(
        jaxnet.evaluate(MODEL, values, test).error.estimate, rel=1e-5
    )
    assert np.isnan(lost.error.estimate)
    assert "40 of 40 losses are not numbers" in lost.error.refused


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"y": Y + 1},
            "y range from 1 to 2, the first wrong one 2 of example .*; give class numbers from 0 "
            "below 2",
        ),
        ({"y": Y[:-1]}, r"y have shape \(199,\) for 200 examples"),
        ({"y": np.eye(2)[Y]}, r"y have shape \(200, 2\).*argmax"),
        ({"y": Y * 1.0}, "y are float64; give class numbers as integers"),
    ],
)
def test_evaluate_refuses_labels_that_do_not_fit(run, change, words):
    with pytest.raises(InputError, match=words):
        jaxnet.evaluate(MODEL, run, jaxnet.Dataset(X, change["y"], run.classes))


def log_probabilities(rng, y, members, nan=0.0):
    logits = 2 * np.eye(3)[y] + rng.normal(size=(members, len(y), 3))
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    lost = rng.random(log_p.shape[:2]) < nan
    return np.where(lost[..., None], np.nan, log_p), lost


def test_a_diagnosis_counts_nan_as_wrong_and_says_how_many():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 300)
    y[:150] = 0  # which NaN was taken for
    train, _ = log_probabilities(rng, y, 16)
    test, lost = log_probabilities(rng, y, 16, 0.1)
    right = np.mean(
        [
            zero_one_loss(y, np.where(gone, 9, f.argmax(1)))
            for f, gone in zip(np.nan_to_num(test), lost, strict=True)
        ]
    )
    of_scores = Diagnosis.from_predictions((train, y), None, (test, y))
    classes = np.where(lost, np.nan, np.nan_to_num(test).argmax(2))
    of_classes = Diagnosis.from_predictions((train.argmax(2), y), None, (classes, y))
    of_one = Diagnosis.from_predictions((train[0], y), None, (test[0], y))
    for found in (of_scores, of_classes):
        assert found.errors["test"].estimate == pytest.approx(right)
        member, example = np.argwhere(lost)[0]
        words = (
            f"test: {lost.sum()} of 4800 predictions are not numbers, the first that of "
            f"member {member}, example {example}"
        )
        assert words in found.notes[0]
        assert "count as wrong" in found.notes[0]
        assert not found.decompositions
        assert found.ensemble is None
        assert "left out" in found.notes[1]
        assert found.diverged == 0
    assert of_one.errors["test"].estimate == pytest.approx(
        zero_one_loss(y, np.where(lost[0], 9, np.nan_to_num(test[0]).argmax(1)))
    )
    assert f"test: {lost[0].sum()} of 300 predictions" in of_one.notes[0]


def test_a_network_that_predicts_nothing_but_nan_is_left_out():
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, 300)
    f, _ = log_probabilities(rng, y, 17)
    sound = Diagnosis.from_predictions((f[1:], y), None, (f[1:], y))
    f[0] = np.nan
    classes = np.where(np.isnan(f).any(-1), np.nan, np.nan_to_num(f).argmax(2))
    for given in (f, classes):
        found = Diagnosis.from_predictions((given, y), None, (given, y))
        assert found.errors == sound.errors
        assert found.members == 16
        assert found.diverged == 1
        assert "1 of 17 networks diverged" in str(found)
    values = f[..., 0], y + 0.5
    found = Diagnosis.from_predictions(values, None, values)
    assert found.diverged == 1
    values = f[1:, :, 0], y + 0.5
    assert found.errors == Diagnosis.from_predictions(values, None, values).errors


def test_where_all_diverged_nothing_is_said_to_be_good():
    y = np.arange(300) % 3
    for nothing in (
        np.full((300, 3), np.nan),
        np.full((4, 300, 3), np.nan),
        np.full((4, 300), np.nan),
    ):
        found = Diagnosis.from_predictions((nothing, y), None, (nothing, y))
        assert found.verdict.startswith("inconclusive: an error is not a finite number")
        assert found.diverged == (1 if nothing.shape == (300, 3) else 4)


def test_partitions_with_a_diverged_network_are_left_out():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 300)
    f, _ = log_probabilities(rng, y, 16)
    parts = f[:8].copy()
    parts[5] = np.nan
    found = Diagnosis.from_predictions((f, y), None, (f, y), partitions={2: parts})
    sound = Diagnosis.from_predictions(
        (f, y), None, (f, y), partitions={2: parts[[0, 1, 2, 3, 6, 7]]}
    )
    assert found.decompositions == sound.decompositions
    assert "partitions into 2: 1 of 4 were left out" in " ".join(found.notes)


def test_values_that_are_nan_are_refused():
    f = RNG.normal(size=(16, 200))
    with pytest.raises(
        InputError,
        match=(
            r"test predictions has 1 value that is not finite, the first \(nan\) in member 3, "
            r"example 7"
        ),
    ):
        Diagnosis.from_predictions((f, VALUES), None, (spoiled(f, (3, 7), np.nan), VALUES))


# Class numbers


@pytest.mark.parametrize(
    "names", [[0, 1, 2], [-1, 0, 1], [3, 7, 10**9], [-(10**9), 5, 10**12], [1, 2, 3]]
)
def test_class_numbers_are_only_names(names):
    """The closed form: Kohavi & Wolpert's loss is the share of wrong predictions, whatever the
    classes are called.
    """
    rng = np.random.default_rng(4)
    y = rng.integers(0, 3, 300)
    f = np.where(rng.random((16, 300)) < 0.8, y, rng.integers(0, 3, (16, 300)))
    called, wrong = np.array(names), np.mean(f != y)
    for loss in ("zero_one", "zero_one_kohavi_wolpert"):
        assert bias_variance_decomposition(
            called[f], called[y], loss=loss
        ).loss.estimate == pytest.approx(wrong, abs=1e-12)
    found = sample_and_seed_variance(
        called[f].reshape(4, 4, 300), called[y], loss="zero_one_kohavi_wolpert"
    )
    assert found.loss.estimate == pytest.approx(wrong, abs=1e-12)
    p = (called[f][..., None] == called).mean(0)
    bias = 0.5 * ((p - (called[y][:, None] == called)) ** 2).sum(1) - 0.5 * (1 - (p**2).sum(1)) / 15
    assert bias_variance_decomposition(
        called[f], called[y], loss="zero_one_kohavi_wolpert"
    ).bias.estimate == pytest.approx(bias.mean())


# Others


def test_an_export_of_a_diverged_network_says_so(diverged, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="jaxnet"):
        jaxnet.export(diverged, tmp_path / "out")
    first = (tmp_path / "out/README.md").read_text().split("\n\n")[1]
    assert first.startswith(f"**This network {diverged.status}")
    assert "diverged at step" in first
    assert "do not use its outputs" in first
    assert "A trained network" not in (tmp_path / "out/README.md").read_text()
    assert "diverged at step" in caplog.text


def test_the_null_of_a_calibration_has_a_stream_of_its_own():
    """Confidences that `default_rng(0)` drew do not meet the same numbers again."""
    rng = np.random.default_rng(5)
    logits = 2 * rng.normal(size=(400, 3))
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    y = np.array([rng.choice(3, p=np.exp(row) / np.exp(row).sum()) for row in log_p])
    confidence = np.exp(log_p.max(1))
    where = np.ceil(confidence * 15).astype(int) - 1
    order = np.argsort(where, kind="stable")
    same = np.random.default_rng(0).random((1000, 400), np.float32) < confidence[order].astype(
        np.float32
    )
    off = same - confidence[order]
    ece = sum(np.abs(off[:, where[order] == b].sum(1)) for b in range(15)) / 400
    null = calibration(log_p, y).null
    assert null.mean == pytest.approx(ece.mean(), rel=0.05)
    assert abs(null.mean - ece.mean()) > 1e-6


def test_a_curve_is_not_extrapolated_to_fewer_examples():
    errors = 0.5 * np.array([1, 0.7, 0.5, 0.35, 0.25])[:, None] + 0.01 * RNG.random((5, 5))
    found = extrapolate([100, 200, 400, 800, 1600], errors, 50, 1000)
    assert "fewer than the smallest size, 100" in found.refused


def test_a_spread_that_is_no_number_needs_no_seeds():
    with pytest.raises(InputError, match="deviation is nan"):
        seeds_needed(Estimate(float("nan")), 0.1)

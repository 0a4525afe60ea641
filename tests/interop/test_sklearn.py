"""The scikit-learn estimators, by scikit-learn's own checks and with its own tools."""

import copy
import pickle
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pandas
import polars
import pytest
from conftest import gap
from flax import linen as nn

import jaxnet
from jaxnet.data import Dataset, Standardization

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from sklearn.linear_model import RidgeCV
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from jaxnet import JaxnetClassifier, JaxnetRegressor
from jaxnet.interop.sklearn import canonical_order


# Small networks compile in half the time; a smaller one needs a larger learning rate.
@parametrize_with_checks([JaxnetClassifier(hidden=(8,))])
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([JaxnetRegressor(hidden=(8,), learning_rate=0.02)])
def test_the_checks_of_scikit_learn_for_regressors(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def images():
    """All 1,797 digits, a row of 64 pixels each, and their labels."""
    splits = jaxnet.load("digits")
    parts = splits.train, splits.validation, splits.test
    x, y = (np.concatenate([np.asarray(getattr(part, name)) for part in parts]) for name in "xy")
    return x.reshape(len(x), -1), y


@pytest.fixture(scope="module")
def some_images(images):
    """600 of them."""
    rows = np.random.default_rng(0).permutation(1797)[:600]
    return images[0][rows], images[1][rows]


@pytest.fixture(scope="module")
def blobs():
    """(x, y, whole weights from 0 to 4) of 60 examples, in which x says much of y."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = rng.normal(size=(60, 4)) * [1, 10, 1, 1] + y[:, None] * [1.5, 0, 0, -1]
    return x.astype(np.float32), y, rng.integers(0, 5, 60)


def test_a_pipeline_reads_digits(images):
    scores = cross_val_score(
        make_pipeline(StandardScaler(), JaxnetClassifier(random_state=0)), *images, cv=3
    )
    assert scores.min() > 0.95


@pytest.mark.core
def test_a_search_over_numbers_compiles_once(some_images, compilations):
    x, y = some_images
    estimator = JaxnetClassifier(hidden=(32,), weight_decay=0.0, random_state=0)
    estimator.fit(x[:400], y[:400]).predict(x)
    first = len(compilations)
    rates = [1e-5, 3e-3, 1e-2]
    search = GridSearchCV(
        estimator, {"learning_rate": rates, "weight_decay": [0.0, 0.1]}, cv=3, refit=False
    ).fit(x, y)
    assert first > 0
    assert len(compilations) == first
    scores = {
        rate: search.cv_results_["mean_test_score"][
            search.cv_results_["param_learning_rate"] == rate
        ]
        for rate in rates
    }
    assert scores[1e-5].max() < 0.6
    assert scores[3e-3].min() > 0.85
    assert search.best_params_["learning_rate"] != 1e-5


def test_importance_is_of_what_matters():
    x, y = make_classification(
        500,
        6,
        n_informative=2,
        n_redundant=0,
        n_clusters_per_class=1,
        shuffle=False,
        random_state=1,
    )
    fitted = JaxnetClassifier(hidden=(16,), random_state=0).fit(x[::2], y[::2])
    importance = permutation_importance(fitted, x[1::2], y[1::2], random_state=0).importances_mean
    assert importance[:2].max() > 0.2
    assert np.abs(importance[2:]).max() < 0.05


def test_calibration_mends_what_is_too_sure():
    x, y = make_classification(900, 10, flip_y=0.3, random_state=0)
    sure = JaxnetClassifier(epochs=100, random_state=0)
    calibrated = CalibratedClassifierCV(sure, cv=3, method="sigmoid").fit(x[:600], y[:600])
    before, after = (
        log_loss(y[600:], each.predict_proba(x[600:]))
        for each in (sure.fit(x[:600], y[:600]), calibrated)
    )
    assert before > 1.0
    assert after < 0.65


@pytest.mark.core
@pytest.mark.parametrize("kind", [JaxnetClassifier, JaxnetRegressor])
def test_whole_weights_are_repeated_rows_exactly(blobs, kind):
    # In minibatches, and with batch statistics, which weights of the loss would not reach.
    x, y, weights = blobs
    estimator = kind(hidden=(8,), normalization="batch", batch_size=16, epochs=5, random_state=0)
    order = np.random.default_rng(1).permutation(60)
    weighted = clone(estimator).fit(x[order], y[order], sample_weight=weights[order])
    repeated = clone(estimator).fit(x.repeat(weights, 0), y.repeat(weights))
    assert gap(weighted.run_.params, repeated.run_.params) == 0
    assert gap(weighted.run_.standardization, repeated.run_.standardization) == 0
    assert gap(weighted.run_.params, clone(estimator).fit(x, y).run_.params) > 0.01


def test_other_weights_are_those_of_the_loss(blobs):
    # Where a batch is the whole training set, only their ratios matter.
    x, y, weights = blobs
    whole = {"batch_size": 1000, "epochs": 50, "optimizer": "momentum", "learning_rate": 0.05}
    estimator = JaxnetRegressor((8,), activation="tanh", **whole, random_state=0)
    repeated, weighted, all_equal = (
        clone(estimator).fit(x, y, sample_weight=given).run_.params
        for given in (weights, 0.3 * weights, np.full(60, 0.3))
    )
    assert gap(repeated, weighted) < 1e-5
    assert gap(repeated, all_equal) > 0.01


def test_weighted_statistics_are_numpys(blobs):
    x, y, weights = blobs
    images, values = x.reshape(-1, 2, 2), y.astype(np.float32)
    for inputs, axes in ((x, (0,)), (images, (0, 1, 2))):
        given = Standardization.of(Dataset(inputs, values), 0.3 * weights)
        mean = (
            inputs.repeat(weights, 0).mean(axes, dtype=np.float64),
            inputs.repeat(weights, 0).std(axes, dtype=np.float64),
        )
        assert gap(mean, (given.mean, given.scale)) < 1e-5
        assert float(given.target_mean) == pytest.approx(np.average(y, weights=weights))


@pytest.mark.core
def test_it_is_jaxnets_fit(some_images):
    x, y = some_images
    fitted = JaxnetClassifier((32,), epochs=3, dropout=0.1, random_state=7).fit(x, y)
    data = Dataset(x, y.astype(np.int32), tuple("0123456789"))
    order = canonical_order(data)
    train, nothing = (replace(data, x=data.x[rows], y=data.y[rows]) for rows in (order, order[:0]))
    splits = jaxnet.Splits(train, nothing, nothing, Standardization.of(train))
    recipe = jaxnet.Recipe(
        schedule="one_cycle", epochs=3, batch_size=64, learning_rate=3e-3, dropout=0.1
    )
    run = jaxnet.fit(jaxnet.mlp((32,)), splits, recipe, jax.random.key(7))
    assert gap(run.params, fitted.run_.params) == 0
    assert gap(run.history, fitted.history_) == 0
    assert np.array_equal(jaxnet.predict(jaxnet.mlp((32,)), run, x), fitted.predict_log_proba(x))
    assert jaxnet.evaluate(fitted.model_, fitted.run_, data).accuracy.estimate == pytest.approx(
        fitted.score(x, y), abs=1e-9
    )


def test_the_network_follows_from_the_set_of_examples(blobs):
    x, y, _ = blobs
    order = np.random.default_rng(2).permutation(60)
    estimator = JaxnetClassifier(
        (8,), epochs=5, batch_size=16, validation_fraction=0.2, random_state=0
    )
    one, two = (clone(estimator).fit(x[rows], y[rows]).run_ for rows in (slice(None), order))
    assert gap(one, two) == 0
    drawn = [
        clone(estimator).set_params(random_state=np.random.RandomState(3)).fit(x, y).run_.params
        for _ in range(2)
    ]
    assert gap(*drawn) == 0
    assert gap(drawn[0], one.params) > 0.01
    loose = [clone(estimator).set_params(random_state=None).fit(x, y).run_.params for _ in range(2)]
    assert gap(*loose) > 0.01


def test_patience_stops_and_keeps_the_best(some_images):
    x, y = some_images
    estimator = JaxnetClassifier(
        (32,), epochs=60, learning_rate=0.03, patience=3, validation_fraction=0.2, random_state=0
    ).fit(x, y)
    best = int(estimator.run_.best.epoch)
    assert estimator.n_iter_ == best + 3 < 60
    assert len(estimator.loss_curve_) == estimator.n_iter_
    assert np.isfinite(estimator.loss_curve_).all()
    assert np.nanargmin(estimator.history_.validation_loss) == best - 1
    with pytest.raises(jaxnet.InputError, match="patience is 3, but the validation set is empty"):
        estimator.set_params(validation_fraction=0.0).fit(x, y)


def test_copies_of_a_held_out_example_are_not_trained_on(blobs):
    x, y, _ = blobs
    run = (
        JaxnetClassifier((8,), epochs=2, validation_fraction=0.5, random_state=0)
        .fit(x, y, sample_weight=np.full(60, 3))
        .run_
    )
    apart = JaxnetClassifier((8,), epochs=2, validation_fraction=0.5, random_state=0).fit(x, y).run_
    # of the same 30 examples, three times each
    assert gap(run.standardization, apart.standardization) < 1e-6


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.tanh(nn.Dense(8)(x)))


@pytest.mark.core
def test_a_model_of_ones_own_survives_clones(blobs, compilations):
    x, y, _ = blobs
    estimator = JaxnetClassifier(model=jaxnet.Model.from_linen(Net()), epochs=300, random_state=0)
    first = clone(estimator).fit(x, y)
    assert first.score(x, y) > 0.7
    before = len(compilations)
    assert gap(clone(first).fit(x, y).run_.params, first.run_.params) == 0
    assert len(compilations) == before


@pytest.mark.core
def test_images_in_rows_and_a_pickle(some_images, compilations):
    x, y = (each[:300] for each in some_images)
    estimator = JaxnetClassifier(
        model=jaxnet.cnn((4,), (16,)), shape=(8, 8), epochs=15, learning_rate=0.01, random_state=0
    ).fit(x, y)
    assert estimator.run_.shape == (8, 8)
    assert estimator.score(x, y) > 0.9
    said = estimator.predict_proba(x)
    before = len(compilations)
    again = pickle.loads(pickle.dumps(estimator))
    assert np.array_equal(again.predict_proba(x), said)
    assert gap(clone(again).fit(x, y).run_, estimator.run_) == 0
    assert len(compilations) == before
    with pytest.raises(
        jaxnet.InputError, match=r"shape is \(8, 9\), of 72 numbers, but an example has 64"
    ):
        estimator.set_params(shape=(8, 9)).fit(x, y)


@pytest.mark.parametrize(
    "model",
    [
        jaxnet.mlp((8,), normalization="layer"),
        jaxnet.cnn(),
        jaxnet.linear(),
        jaxnet.cnn().for_outputs(3),
    ],
)
def test_built_in_models_are_the_same_after_a_pickle(model):
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert again == model
        assert hash(again) == hash(model)


def test_parameters_after_fit_are_of_the_next_one(blobs):
    x, y, _ = blobs
    estimator = JaxnetClassifier((8,), epochs=2, random_state=0).fit(x, y)
    said = estimator.predict_proba(x)
    assert np.array_equal(estimator.set_params(hidden=(4, 4), shape=(2, 2)).predict_proba(x), said)


def test_values_in_any_units():
    x, y = load_diabetes(return_X_y=True)
    network = JaxnetRegressor(
        hidden=(16,),
        epochs=100,
        batch_size=512,
        learning_rate=0.01,
        weight_decay=1.0,
        random_state=0,
    )
    score, linear = (cross_val_score(each, x, y, cv=3).mean() for each in (network, RidgeCV()))
    assert score > linear > 0.4
    small, large = (clone(network).fit(x, y * scale).predict(x) / scale for scale in (1.0, 2.0**20))
    assert small == pytest.approx(large, rel=1e-5)


def test_a_training_that_diverges_is_heard_of(blobs):
    x, y, _ = blobs
    with pytest.warns(ConvergenceWarning, match="diverged at step .* Lower the learning rate"):
        JaxnetRegressor(
            (8,), optimizer="sgd", schedule="constant", learning_rate=1e9, random_state=0
        ).fit(x, y)


def test_what_a_recipe_cannot_be_is_refused_when_it_is_used(blobs):
    x, y, _ = blobs
    for wrong, message in (
        ({"optimizer": "adan"}, "unknown optimizer 'adan'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1"),
        ({"validation_fraction": 1.5}, "validation is 1.5; give a fraction"),
    ):
        with pytest.raises(jaxnet.InputError, match=message):
            JaxnetClassifier((8,)).set_params(**wrong).fit(x, y)
    with pytest.raises(jaxnet.InputError, match="one class"):
        JaxnetClassifier((8,)).fit(x, np.zeros(60, int))


def test_diagnostics_take_what_cross_validation_gives(some_images):
    x, y = some_images
    estimator = JaxnetClassifier((32,), weight_decay=0.0, random_state=0)
    said = cross_val_predict(estimator, x, y, cv=3, method="predict_log_proba")
    scores = cross_validate(estimator, x, y, cv=3)["test_score"]
    assert jaxnet.diagnostics.wilson(
        int((said.argmax(1) != y).sum()), 600
    ).estimate == pytest.approx(1 - scores.mean())
    calibration = jaxnet.diagnostics.calibration(said, y)
    assert calibration.negative_log_likelihood.estimate == pytest.approx(
        log_loss(y, np.exp(said)), rel=1e-4
    )


def test_seeds_of_an_estimator_are_diagnosed(some_images):
    x, y = some_images
    estimator, rows = (
        JaxnetClassifier((32,), weight_decay=0.0, epochs=100, learning_rate=0.01),
        slice(0, 400),
    )
    members = [
        clone(estimator).set_params(random_state=seed).fit(x[rows], y[rows]) for seed in range(16)
    ]
    train, test = (
        (np.stack([each.predict(x[rows]) for each in members]), y[rows])
        for rows in (rows, slice(400, 600))
    )
    diagnosis = jaxnet.Diagnosis.from_predictions(train, None, test)
    assert (train[0] == train[1]).all()
    assert diagnosis.verdict.startswith("high variance")


def test_data_frames_are_refused_where_their_columns_are_others(blobs):
    x, y, _ = blobs
    frame = pandas.DataFrame(x[:, :2], columns=["age", "income"])
    estimator = JaxnetClassifier((4,), epochs=1, random_state=0).fit(frame, y)
    for other in (frame, polars.from_pandas(frame)):
        with pytest.raises(ValueError, match="must be in the same order"):
            estimator.predict(other[["income", "age"]])
    with pytest.raises(jaxnet.InputError, match=r"no numbers, 'plan'; jaxnet.load\(frame"):
        JaxnetClassifier((4,), epochs=1).fit(frame.assign(plan="basic"), y)


def test_scikit_learn_is_imported_only_when_asked_for():
    code = """
import sys, jaxnet
assert "sklearn" not in sys.modules
assert not hasattr(jaxnet, "JaxnetClasifier")
sys.modules["sklearn"] = None
try:
    jaxnet.JaxnetClassifier
except jaxnet.InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (
        "need the package scikit-learn, which is not installed: pip install scikit-learn"
        in done.stdout
    )

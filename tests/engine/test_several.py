"""Several values, or several yes/no labels, of each example: from data to metrics."""

import re
from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk
from sklearn.datasets import load_breast_cancer

import jaxnet
from jaxnet.data import Standardization
from jaxnet.data.checks import dataset
from jaxnet.data.resampling import all_but
from jaxnet.data.splitting import take
from jaxnet.engine.prediction import value_metrics
from jaxnet.errors import InputError
from jaxnet.models.losses import binary_cross_entropy, squared
from jaxnet.stats.cross_fitting import error_of_network
from jaxnet.stats.several import scores_of_labels, scores_of_several_values, yes_or_no
from jaxnet.stats.unseen_losses import UnseenLosses, recipe_difference

EXAMPLES, KEY = 240, jax.random.key(0)
MODEL, RECIPE = jaxnet.mlp((8,)), jaxnet.Recipe(epochs=4, batch_size=32, learning_rate=1e-2)


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(EXAMPLES, 4)).astype(np.float32)
    values = x @ rng.normal(size=(4, 2)) * [1, 100] + rng.normal(size=(EXAMPLES, 2)) * [0.5, 20]
    labels = (x @ rng.normal(size=(4, 3)) + rng.normal(size=(EXAMPLES, 3)) > [0, 0.5, 1]).astype(
        int
    )
    return x, values, labels


@pytest.fixture(scope="module")
def trained(arrays):
    x, values, labels = arrays
    found = {}
    for name, y, more in (("values", values, {}), ("labels", labels, {"task": "multi-label"})):
        splits = jaxnet.split(x, y, **more)
        run = jaxnet.fit(MODEL, splits, RECIPE, KEY)
        found[name] = splits, run, np.asarray(jaxnet.predict(MODEL, run, splits.test.x))
    return found


def test_metrics_of_values_are_those_of_scikit_learn(trained):
    splits, run, predicted = trained["values"]
    found, y = jaxnet.evaluate(MODEL, run, splits.test), np.asarray(splits.test.y)
    spread = np.asarray(splits.train.y, np.float64).std(0)
    rmse = sk.root_mean_squared_error(y, predicted, multioutput="raw_values")
    r2 = sk.r2_score(y, predicted, multioutput="raw_values")
    assert predicted.shape == y.shape == (48, 2)
    np.testing.assert_allclose([float(each.rmse) for each in found.outputs], rmse, rtol=1e-6)
    np.testing.assert_allclose([float(each.r2) for each in found.outputs], r2, atol=1e-6)
    assert float(found.r2) == pytest.approx(sk.r2_score(y, predicted), abs=1e-6)
    together = sk.mean_squared_error(y / spread, predicted / spread)
    assert float(found.error) == pytest.approx(together, rel=1e-6)
    assert float(found.rmse) ** 2 == pytest.approx(float(found.error), rel=1e-12)
    np.testing.assert_allclose(found.squares, np.mean([o.squares for o in found.outputs], 0))


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e9])
def test_errors_together_are_those_of_scikit_learn_on_any_scale(offset):
    """Also where float32 cannot hold the values, and for spreads that differ by 10^6."""
    rng, scale = np.random.default_rng(5), np.array([1e-3, 1.0, 1e3])
    y = offset * scale + rng.normal(size=(2000, 3)) * scale
    if offset < 1e6:
        y = y.astype(np.float32)
    predicted = (y + rng.normal(size=y.shape) * scale).astype(y.dtype)
    splits = jaxnet.split(rng.normal(size=(2000, 1)), y)
    units = splits.standardization
    spread = np.asarray(splits.train.y, np.float64).std(0)
    found = value_metrics(predicted, y, units)
    expected = sk.mean_squared_error(*(each.astype(np.float64) / spread for each in (y, predicted)))
    assert float(found.error) == pytest.approx(expected, rel=1e-6)
    scored = scores_of_several_values(predicted, y, scale=units.units[1])
    assert float(scored.rmse) == pytest.approx(expected**0.5, rel=1e-6)
    assert float(scored.r2) == pytest.approx(
        sk.r2_score(*map(np.float64, (y, predicted))), abs=1e-6
    )


def test_metrics_of_labels_are_those_of_scikit_learn(trained):
    splits, run, predicted = trained["labels"]
    found, y = jaxnet.evaluate(MODEL, run, splits.test), np.asarray(splits.test.y)
    p = np.exp(predicted.astype(np.float64))
    said = p > 0.5
    precision, recall, f1, _ = sk.precision_recall_fscore_support(y, said, zero_division=np.nan)
    assert float(found.error) == pytest.approx(sk.hamming_loss(y, said), abs=1e-12)
    for own, theirs in ((found.precision, precision), (found.recall, recall)):
        np.testing.assert_allclose(own, theirs, atol=1e-6)
    np.testing.assert_allclose(found.f1, f1, atol=1e-6)
    np.testing.assert_allclose(found.auc, sk.roc_auc_score(y, p, average=None), atol=1e-6)
    losses = [sk.log_loss(y[:, j], p[:, j]) for j in range(3)]
    assert float(found.loss) == pytest.approx(np.mean(losses), abs=1e-6)
    accuracy = run.history.validation_accuracy[-1]
    held = jaxnet.evaluate(MODEL, run, splits.validation)
    assert float(accuracy) == pytest.approx(float(held.accuracy), abs=1e-6)


def test_losses_are_means_over_columns():
    rng = np.random.default_rng(1)
    outputs, y = rng.normal(size=(5, 3)), rng.integers(0, 2, (5, 3))
    expected = [sk.log_loss(y[i], 1 / (1 + np.exp(-outputs[i])), labels=[0, 1]) for i in range(5)]
    outputs, y = outputs.astype(np.float32), y.astype(np.float32)
    outputs, y = jax.device_put((outputs, y))
    np.testing.assert_allclose(binary_cross_entropy(outputs, y), expected, rtol=1e-5)
    expected = sk.mean_squared_error(y.T, outputs.T, multioutput="raw_values")
    np.testing.assert_allclose(squared(outputs, y), expected, rtol=1e-5)


def test_no_probability_of_no_is_lost():
    """log(1 - p) follows from log p in float32, also where p rounds to 1."""
    logits = np.linspace(-60, 60, 41)
    log_p = -np.logaddexp(0, -logits)
    no, yes = np.moveaxis(yes_or_no(log_p.astype(np.float32)), -1, 0)
    np.testing.assert_allclose(no, -np.logaddexp(0, logits), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(yes, log_p, rtol=1e-5, atol=1e-7)


def test_scores_are_those_of_scikit_learn(trained):
    splits, _, predicted = trained["values"]
    y, spread = np.asarray(splits.test.y, np.float64), np.array([2.0, 150.0])
    found = scores_of_several_values(predicted, y, scale=spread)
    mae = sk.mean_absolute_error(y / spread, predicted / spread)
    assert float(found.mae) == pytest.approx(mae, rel=1e-6)
    assert float(found.r2) == pytest.approx(sk.r2_score(y, predicted), abs=1e-6)
    splits, _, predicted = trained["labels"]
    y = np.asarray(splits.test.y)
    labels = scores_of_labels(predicted, y)
    assert float(labels.auc) == pytest.approx(sk.roc_auc_score(y, predicted), abs=1e-6)
    balanced = [
        sk.balanced_accuracy_score(y[:, j], predicted[:, j] > np.log(0.5)) for j in range(3)
    ]
    own = [float(each.balanced_accuracy) for each in labels.labels]
    np.testing.assert_allclose(own, balanced, atol=1e-6)


def test_an_interval_of_shares_is_that_of_answers_grouped_by_example():
    rng = np.random.default_rng(2)
    wrong = rng.random((100, 3)) < 0.1
    grouped = error_of_network(wrong.reshape(-1), np.repeat(np.arange(100), 3))
    shares = error_of_network(wrong.mean(1), shares=True)
    assert (shares.low, shares.high) == pytest.approx((grouped.low, grouped.high), rel=1e-9)
    none = error_of_network(np.zeros(100), shares=True)
    assert none.low == 0
    assert 0.02 < none.high < 0.05


@pytest.mark.parametrize("name", ["values", "labels"])
def test_train_populations_and_restored_runs_predict_the_same(name, trained, tmp_path):
    splits, run, predicted = trained[name]
    loop = jaxnet.train(MODEL, splits, RECIPE, KEY)
    np.testing.assert_array_equal(jaxnet.predict(MODEL, loop, splits.test.x), predicted)
    jaxnet.save(run, tmp_path / "run")
    restored = jaxnet.restore(tmp_path / "run")
    assert restored.schema == run.schema
    np.testing.assert_array_equal(jaxnet.predict(MODEL, restored, splits.test.x), predicted)
    keys = jax.numpy.stack([KEY, jax.random.key(1)])
    members = jaxnet.fit_population(MODEL, splits, RECIPE, keys)
    many = jaxnet.predict(MODEL, members, splits.test.x)
    np.testing.assert_allclose(many[0], predicted, rtol=2e-4, atol=2e-5)


def test_tables_and_frames(arrays, tmp_path):
    x, values, labels = arrays
    frame = pd.DataFrame(x, columns=list("abcd"))
    frame[["u", "v"]], frame[["s", "t"]] = values, labels[:, :2]
    words = frame.assign(s=frame.s.map({1: "yes", 0: "no"}), t=frame.t == 1)
    words.to_csv(tmp_path / "words.csv", index=False)
    of_frame = jaxnet.load(frame, label=["u", "v"], drop_columns=("s", "t"))
    of_file = jaxnet.load(tmp_path / "words.csv", label=("u", "v"), drop_columns=("s", "t"))
    assert of_frame.task == "regression"
    assert of_frame.schema.target_names == ("u", "v")
    np.testing.assert_allclose(of_frame.train.y, of_file.train.y, rtol=1e-6)
    asked = {"label": ["s", "t"], "task": "multi-label", "drop_columns": ("u", "v")}
    of_words, of_numbers = jaxnet.load(tmp_path / "words.csv", **asked), jaxnet.load(frame, **asked)
    np.testing.assert_array_equal(of_words.test.y, of_numbers.test.y)
    run = jaxnet.fit(MODEL, of_numbers, RECIPE, KEY)
    whole = jaxnet.evaluate(MODEL, run, frame)
    said = np.exp(jaxnet.predict(MODEL, run, frame)) > 0.5
    assert float(whole.error) == pytest.approx(sk.hamming_loss(labels[:, :2], said))
    named = jaxnet.split(frame[list("abcd")], frame[["u", "v"]])
    assert named.schema.target_names == ("u", "v")
    with pytest.raises(InputError, match=r'holds only 0 and 1; .* give task="multi-label"'):
        jaxnet.load(frame, label=["s", "t"])
    with pytest.raises(InputError, match="'s' has 'maybe', which is neither yes nor no"):
        jaxnet.load(words.replace({"s": {"yes": "maybe"}}), **asked)


def test_streams_learn_the_same_task(arrays, tmp_path):
    x, values, labels = arrays
    np.save(tmp_path / "x.npy", x)
    for y, more in ((values, {}), (labels, {"task": "multi-label"})):
        np.save(tmp_path / "y.npy", y)
        splits = jaxnet.stream(tmp_path, **more)
        run = jaxnet.train(MODEL, splits, replace(RECIPE, epochs=20), KEY)
        assert splits.task == run.task
        assert splits.test.y.shape[1] == y.shape[1]
        found = jaxnet.evaluate(MODEL, run, splits.test)
        assert float(found.error) < found.baseline
    np.save(tmp_path / "y.npy", labels + 1)
    with pytest.raises(InputError, match=r"the label 'y\d' is 2 in row"):
        jaxnet.stream(tmp_path, task="multi-label")


def test_estimators(arrays):
    x, values, labels = arrays
    fast = {"epochs": 20, "random_state": 0}
    regressor = jaxnet.JaxnetRegressor(**fast).fit(x, values)
    assert regressor.score(x, values) == pytest.approx(sk.r2_score(values, regressor.predict(x)))
    assert regressor.score(x, values) > 0.5
    classifier = jaxnet.JaxnetClassifier(task="multi-label", **fast).fit(x, labels)
    assert classifier.predict_proba(x).shape == labels.shape
    assert sk.hamming_loss(labels, classifier.predict(x)) < 0.3
    with pytest.raises(ValueError, match="1d array"):
        jaxnet.JaxnetClassifier().fit(x, labels)


def test_what_cannot_be_meant_is_refused(arrays, trained):
    x, values, labels = arrays
    one_hot = np.eye(3, dtype=int)[labels.sum(1) % 3]
    constant = np.stack([values[:, 0], np.full(EXAMPLES, 0.1)], 1)  # whose variance rounds above 0
    for y, more, words in (
        (one_hot, {}, "for one-hot labels pass y.argmax(1)"),
        (one_hot.astype(float), {}, "for one-hot labels pass y.argmax(1)"),
        (labels, {}, 'give task="multi-label"'),
        (labels, {"task": "classification"}, 'give task="multi-label"'),
        (labels + 1, {"task": "multi-label"}, "give 1 for yes and 0 for no"),
        (labels[:, 0], {"task": "multi-label"}, "give y[:, None]"),
        (values[:, :1], {}, "give y.reshape(-1)"),
        (labels * [1, 1, 0], {"task": "multi-label"}, "'y2' is no for all"),
        (constant, {}, "all 168 training values of 'y1' are 0.1, so there is nothing to learn"),
        (values, {"classes": ("u",)}, "1 names were given for 2 columns"),
    ):
        with pytest.raises(InputError, match=re.escape(words)):
            jaxnet.split(x, y, **more)
    splits, run, _ = trained["labels"]
    with pytest.raises(InputError, match="have several: 'y0', 'y1', 'y2'"):
        jaxnet.census(MODEL, splits, RECIPE, KEY)
    with pytest.raises(
        InputError, match="measure is log_loss, but each example has several labels"
    ):
        jaxnet.advise(MODEL, splits, RECIPE, KEY, measure="log_loss")
    with pytest.raises(InputError, match="multi-label task"):
        jaxnet.class_weights(splits.train)
    plan = jaxnet.Plan(implementation="resident")
    with pytest.raises(Exception, match="several labels or values"):
        jaxnet.fit(MODEL, splits, RECIPE, KEY, plan=plan)
    with pytest.raises(InputError, match="but the network was trained on a multi-label task"):
        jaxnet.evaluate(MODEL, run, trained["values"][0].test)


def test_a_column_that_is_the_same_for_all_is_refused_wherever_it_comes_from(arrays, tmp_path):
    x, values, labels = arrays
    frame = pd.DataFrame(x, columns=list("abcd")).assign(u=values[:, 0], v=2.5)
    said = "training values of 'v' are 2.5, so there is nothing to learn; leave it out"
    with pytest.raises(InputError, match=said):
        jaxnet.load(frame, label=["u", "v"])
    with pytest.raises(InputError, match=said.replace("'v'", "'y1'")):
        jaxnet.JaxnetRegressor(epochs=1).fit(x, frame[["u", "v"]].to_numpy())
    np.save(tmp_path / "x.npy", x)
    for y, more, word in (
        (np.ascontiguousarray(frame[["u", "v"]]), {}, "all 240 training values of 'y1' are 2.5"),
        (labels * [1, 0, 1], {"task": "multi-label"}, "the label 'y1' is no for all 240"),
    ):
        np.save(tmp_path / "y.npy", y)
        with pytest.raises(InputError, match=word):
            jaxnet.stream(tmp_path, **more)
    single = jaxnet.split(x, np.full(EXAMPLES, 2.5))
    assert single.notes[0].startswith("all 168 training values are 2.5, so there is nothing")


def test_arrays_whose_labels_have_no_meaning_are_refused_with_the_cure(arrays, trained):
    x, values, labels = arrays
    splits, run, predicted = trained["labels"]
    plain = jaxnet.Dataset(x, labels)
    cure = r"of arrays x and y it is jaxnet\.Dataset\(x, y, schema=run\.schema\)"
    with pytest.raises(InputError, match=f"trained on a multi-label task of .*{cure}"):
        jaxnet.evaluate(MODEL, run, plain)
    meant = jaxnet.Dataset(splits.test.x, splits.test.y, schema=run.schema)
    found = float(jaxnet.evaluate(MODEL, run, meant).error)
    assert found == sk.hamming_loss(splits.test.y, predicted > np.log(0.5))
    for y, said in (
        (labels, r"shape \(240, 3\), but its schema has no names .* give jaxnet.split\(x, y\)"),
        (values, r"shape \(240, 2\), but its schema has no names"),
        (labels[:, 0], r"whole numbers \(int64\) without names of classes"),
    ):
        by_hand = jaxnet.Dataset(x, y)
        parts = jaxnet.Splits(by_hand, by_hand, by_hand, splits.standardization)
        with pytest.raises(InputError, match=said):
            jaxnet.fit(MODEL, parts, RECIPE, KEY)


@pytest.mark.slow
def test_one_network_learns_three_columns_as_well_as_three_networks():
    table = load_breast_cancer()
    chosen = [[*table.feature_names].index(f"mean {name}") for name in ("radius", "texture")]
    chosen += [[*table.feature_names].index("mean smoothness")]
    x, y = np.delete(table.data, chosen, 1).astype("f4"), table.data[:, chosen]
    folds = np.random.default_rng(0).permutation(len(x)) % 8
    recipe = jaxnet.Recipe(epochs=30, batch_size=32, learning_rate=1e-2)

    def unseen(y, width):
        splits = jaxnet.split(x, y)
        whole, nothing = dataset(x, y), take(dataset(x, y), slice(0, 0))
        scale = Standardization.of(whole)
        splits = replace(splits, train=whole, validation=nothing, standardization=scale)
        model, samples = jaxnet.mlp((width,)), all_but(folds, np.repeat(np.arange(8), 2))
        keys = jax.random.split(KEY, 16)
        networks = jaxnet.fit_population(model, splits, recipe, keys, resample=samples)
        outputs = np.asarray(jaxnet.predict(model, networks, x)).reshape(8, 2, *y.shape)
        errors = (outputs[folds, :, np.arange(len(x))] - y[:, None]) / y.std(0)
        return (errors.astype(float) ** 2).reshape(len(x), 2, -1).mean(-1).T

    together = UnseenLosses(unseen(y, 192), folds, None, False, "pool")
    each = np.mean([unseen(column, 64) for column in y.T], 0)
    found = recipe_difference(together, UnseenLosses(each, folds, None, False, "pool"))
    assert found.low <= 0
    assert found.estimate < 0.01  # of the variance of a column


def test_rare_labels_are_in_every_part():
    rng = np.random.default_rng(3)
    labels = (rng.random((400, 3)) < [0.5, 0.2, 0.02]).astype(int)
    labels[:4, 2] = 1
    splits = jaxnet.split(rng.normal(size=(400, 2)), labels, task="multi-label", test=0.25)
    rare = [int(np.asarray(part.y)[:, 2].sum()) for part in (splits.train, splits.test)]
    share = labels[:, 2].sum() / 400
    assert abs(rare[0] - share * 260) <= 2
    assert abs(rare[1] - share * 100) <= 2

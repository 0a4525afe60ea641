"""Census: halves, what networks see of them, and what they show of each example."""

import csv
import json
import tracemalloc
from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy import stats

import jaxnet
from jaxnet import InputError, Recipe
from jaxnet.cli import commands
from jaxnet.data.resampling import halves, together, whole
from jaxnet.data.splitting import pool, take
from jaxnet.report.html.gallery import gallery
from jaxnet.stats.datamodels import datamodels
from jaxnet.stats.halves import error_of_halves
from jaxnet.stats.membership import likelihood_ratios, logit_of_confidence
from jaxnet.studies.census import _drawn, census
from jaxnet.studies.census_found import _tables
from jaxnet.studies.census_labels import longest_list
from jaxnet.studies.census_memory import TABLES

MODEL, KEY = jaxnet.linear(), jax.random.key(0)
RECIPE = Recipe(epochs=3, batch_size=64, learning_rate=1e-2)
WORDS = (
    *("digits", "--model", "linear", "--epochs", "3", "--batch-size", "64"),
    *("--learning-rate", "1e-2", "--members", "16", "--no-cache"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of the command."""
    path = tmp_path_factory.mktemp("census") / "out"
    assert commands.run("census", [*WORDS, "--out", str(path)], began=0.0) == 0
    return path


@pytest.fixture(scope="module")
def found(digits):
    return census(MODEL, digits, RECIPE, KEY, members=16)


def test_halves_come_in_pairs_without_a_common_example_and_keep_groups_together():
    groups = np.repeat(np.arange(20), 5)
    for given in (None, groups):
        samples = halves(KEY, 6, 100, groups=given)
        seen = np.stack([samples.seen(i) for i in range(6)])
        np.testing.assert_array_equal(seen[::2], ~seen[1::2])
        assert (seen.sum(1) == 50).all()
        assert len({row.tobytes() for row in seen}) == 6
    assert (seen.reshape(6, 20, 5).all(2) | ~seen.reshape(6, 20, 5).any(2)).all()
    most = halves(KEY, 4, 101, share=0.7)
    assert [most.seen(i).sum() for i in range(4)] == [71, 71, 71, 71]
    weights = halves(KEY, 4, 101).as_weights()
    assert [weights.weights[i].mean() for i in range(4)] == pytest.approx([1, 1, 1, 1])
    assert sorted(set(weights.weights[0])) == pytest.approx([0, 101 / 50])


def test_a_left_out_row_changes_no_bit_of_the_parameters(digits):
    both = pool(digits)
    samples = halves(KEY, 2, len(both.train)).as_weights()
    left_out = ~samples.seen(0)
    x, y = np.array(both.train.x), np.array(both.train.y)
    x[left_out], y[left_out] = 255 - x[left_out][::-1], 0
    other = replace(both, train=replace(both.train, x=x, y=y))
    recipe = replace(RECIPE, dropout=0.2)
    runs = [
        jaxnet.fit_population(
            jaxnet.mlp((8,)), given, recipe, jax.random.split(KEY, 2), order_key=KEY,
            resample=samples,
        )
        for given in (both, other)
    ]  # fmt: skip
    for a, b in zip(jax.tree.leaves(runs[0].params), jax.tree.leaves(runs[1].params), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        assert (a[1] != b[1]).any()


def test_counted_accuracies_leave_out_examples_of_weight_0(digits):
    both, still = pool(digits), Recipe(epochs=1, batch_size=100, learning_rate=1e-12)
    weights = halves(KEY, 1, len(both.train)).as_weights().weights[0]
    run = jaxnet.fit(MODEL, both, still, KEY, weights=weights)
    own = jaxnet.evaluate(MODEL, run, take(both.train, np.flatnonzero(weights)))
    assert run.history.train_accuracy[0] == pytest.approx(own.accuracy.estimate, abs=1e-6)


def test_the_networks_are_those_of_fit_and_judge_what_they_have_not_seen(digits, found):
    both = pool(digits)
    y, n = np.asarray(both.train.y), len(both.train)
    samples = together([halves(KEY, 16, n), whole(1, n)]).as_weights()
    run = jaxnet.fit(
        MODEL, both, RECIPE, jax.random.fold_in(KEY, 3), weights=samples.weights[3],
        order_key=jax.random.fold_in(KEY, (1 << 20) + 1),
    )  # fmt: skip
    outputs = np.asarray(jaxnet.predict(MODEL, run, both.train.x))
    np.testing.assert_allclose(found.predictions[3], outputs, atol=1e-3, rtol=1e-3)
    np.testing.assert_array_equal(found.halves[3], samples.weights[3] > 0)
    wrong = found.predictions.argmax(2) != y
    by_hand = np.nanmean(np.where(found.halves, np.nan, wrong), axis=0)
    assert found.unseen.estimate == pytest.approx(by_hand.mean())
    assert found.unseen.estimate == pytest.approx(found.decomposition.loss.estimate)
    assert found.unseen.low < found.unseen.estimate < found.unseen.high
    assert found.seen.estimate == pytest.approx(wrong[found.halves].mean(), abs=1e-3)
    parts = found.decomposition
    assert parts.bias.estimate + parts.variance.estimate == pytest.approx(parts.loss.estimate)
    rows = found.rows()
    np.testing.assert_allclose(rows["error"], by_hand)
    assert (rows["networks"] == 8).all()
    labels = np.take_along_axis(np.asarray(found.predictions, float), y[None, :, None], 2)[..., 0]
    mean_loss = np.nanmean(np.where(found.halves, np.nan, -labels), axis=0)
    np.testing.assert_allclose(rows["difficulty"], mean_loss, rtol=1e-4)
    np.testing.assert_array_equal(found.difficulty, rows["difficulty"][: len(digits.train)])
    assert rows["part"][len(digits.train) :].tolist() == ["validation"] * len(digits.validation)
    one = int(np.argmax(rows["error"]))
    limits = stats.binomtest(round(8 * by_hand[one]), 8).proportion_ci(method="wilson")
    assert (rows["low"][one], rows["high"][one]) == pytest.approx((limits.low, limits.high))


def test_a_stopped_census_goes_on_to_the_same_bits(digits, found, tmp_path):
    def stop(now):
        if now.share > 0.3:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        census(MODEL, digits, RECIPE, KEY, members=16, out=tmp_path, progress=stop)
    again = census(MODEL, digits, RECIPE, KEY, members=16, out=tmp_path)
    assert isinstance(again.predictions.base, np.memmap) or isinstance(again.predictions, np.memmap)
    np.testing.assert_array_equal(again.predictions, found.predictions)
    assert again.json() == found.json()


def test_errors_of_halves_have_the_interval_of_the_examples_where_networks_do_not_differ():
    wrong = np.tile(np.arange(200) % 10 == 0, (16, 1))
    judged = np.arange(16)[:, None] % 2 == np.arange(200) % 2
    given = error_of_halves(wrong, judged)
    # the variance of a mean of 200 values, on the logit scale
    reach = stats.t.ppf(0.975, 199) * np.sqrt(0.1 * 0.9 / 199) / (0.1 * 0.9)
    odds = np.log(0.1 / 0.9)
    expected = 1 / (1 + np.exp(-np.array([odds - reach, odds + reach])))
    assert (given.low, given.high) == pytest.approx(expected, rel=0.02)
    none = error_of_halves(np.zeros((16, 200), bool), judged)
    assert none.high == pytest.approx(stats.beta.ppf(0.975, 1, 200), rel=1e-6)
    groups = np.arange(200) // 4
    alike = np.tile(np.arange(200) // 4 % 10 == 0, (16, 1))
    parts = np.arange(16)[:, None] % 2 == groups % 2
    wide, narrow = error_of_halves(alike, parts, groups), error_of_halves(alike, parts)
    assert wide.high - wide.low > 1.7 * (narrow.high - narrow.low)


def test_models_with_a_state_get_subsets_in_orders_of_their_own(digits):
    def init(key, x):
        return {"w": jax.random.normal(key, (64, 10))}, {"mean": np.zeros(64, np.float32)}

    stateful = jaxnet.Model(
        init, lambda params, state, x, **_: (x.reshape(-1, 64) @ params["w"], state), "own"
    )
    both = pool(digits)
    samples, order = _drawn(stateful, both, KEY, 16, 0.5)
    assert samples.weights is None
    assert order is None
    assert _drawn(MODEL, both, KEY, 16, 0.5)[0].weights is not None
    found = census(stateful, digits, RECIPE, KEY, members=16)
    assert any("a step takes 64 of them" in note for note in found.notes)
    run = jaxnet.fit(stateful, both, RECIPE, jax.random.fold_in(KEY, 1), **samples.alone(1))
    outputs = np.asarray(jaxnet.predict(stateful, run, both.train.x))
    np.testing.assert_allclose(found.predictions[1], outputs, atol=1e-2, rtol=1e-2)


def test_groups_stay_together_and_are_the_units_of_the_interval():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(60), 5)
    x = np.repeat(rng.normal(size=(60, 4)), 5, axis=0) + 0.1 * rng.normal(size=(300, 4))
    y = (np.repeat(rng.normal(size=60), 5) + x[:, 0] > 0).astype(int)
    splits = jaxnet.split(x.astype(np.float32), y, groups=groups, seed=0)
    found = census(MODEL, splits, Recipe(epochs=20, learning_rate=3e-2), KEY, members=16)
    own = np.asarray(found.splits.train.groups)
    for group in np.unique(own):
        assert np.unique(found.halves[:, own == group], axis=1).shape[1] == 1
    assert found.decomposition is None
    alone = error_of_halves(found.wrong, ~found.halves)
    assert found.unseen.estimate == pytest.approx(alone.estimate)
    assert found.unseen.high - found.unseen.low > 1.5 * (alone.high - alone.low)
    assert found.verify(np.arange(5), pairs=16).refused is None


def test_an_attacker_recognizes_some_training_examples(found, digits):
    attack = found.membership_inference()
    seen, y = found.halves, np.asarray(found.splits.train.y)
    p = np.exp(np.asarray(found.predictions, float))[:, np.arange(len(y)), y]
    confidence = np.log(p) - np.log1p(-p)
    others = np.arange(16) // 2 != 1
    sides = []
    for side in (seen, ~seen):  # network 2, with one variance for all examples
        own = [confidence[others & side[:, i], i] for i in range(len(y))]
        spread = np.sqrt(np.mean([each.var(ddof=1) for each in own]) + 1e-4)
        sides.append(stats.norm.logpdf(confidence[2], [each.mean() for each in own], spread))
    confidences = np.stack([logit_of_confidence(own, y) for own in found.predictions])
    ratios = likelihood_ratios(confidences, seen, np.arange(16) // 2)
    np.testing.assert_allclose(ratios[2], sides[0] - sides[1], atol=0.02, rtol=0.02)
    above = ratios > np.quantile(ratios[~seen], 0.99)
    assert attack.recognized[0].estimate == pytest.approx(above[seen].mean(), abs=1e-3)
    by_hand = [above[seen[:, i], i].mean() for i in range(len(digits.train))]
    np.testing.assert_allclose(found.exposure, by_hand, atol=0.13)  # one network at the edge
    assert np.mean(found.exposure == by_hand) > 0.99
    assert found.exposure[attack.most_exposed[0]] == found.exposure.max()
    low, high = attack.recognized[0].low, attack.recognized[0].high
    limits = f"(95% interval {low:.2%} to {high:.2%}) at 1% false positives"
    assert limits in attack.verdict
    assert attack.verdict in str(found)


def test_prediction_sets_compare_an_example_with_networks_that_have_not_seen_it(digits, found):
    """The rule of Vovk 2015, eq. 7, with the votes of the networks outside each half, by hand."""
    x, y, n = np.asarray(digits.test.x[:40]), np.asarray(found.splits.train.y), len(found.halves[0])
    known = np.exp(np.asarray(found.predictions, float))
    outputs = np.asarray(jaxnet.predict(MODEL, found.population, x))[:16]
    new = np.exp(outputs.astype(np.float16).astype(float))
    p = np.zeros((40, 10))
    for i in range(n):
        unseen = ~found.halves[:, i]
        p += new[unseen].mean(0) >= known[unseen, i, y[i]].mean()
    sets = found.predict(x, coverage=0.9)
    np.testing.assert_array_equal(sets, (p + 1) / (n + 1) > 0.1)
    unseen = np.stack([
        np.exp(np.asarray(found.predictions[~found.halves[:, i], i], float)).mean(0)
        for i in range(n)
    ])  # fmt: skip
    fits = np.sort(unseen[np.arange(n), y])
    sizes = (unseen >= fits[n - int(np.ceil((n + 1) * 0.95))]).sum(1)
    assert found.prediction_sets.size == pytest.approx(sizes.mean(), abs=1e-3)
    assert found.prediction_sets.empty == pytest.approx((sizes == 0).mean(), abs=1e-3)
    run = jaxnet.fit(MODEL, digits, RECIPE, KEY)
    own = jaxnet.predict(MODEL, run, x, coverage=0.9, splits=digits)
    np.testing.assert_array_equal(found.predict(x, coverage=0.9, network=run), own)
    with pytest.raises(InputError, match="trained on the validation set too"):
        found.predict(x, network=found.run)


def test_values_are_judged_by_squared_errors_in_variances_of_y():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    y = x @ np.array([1.0, 2.0, 0.0, 0.0]) + rng.normal(size=300)
    splits = jaxnet.split(x, y.astype(np.float32), seed=0)
    found = census(MODEL, splits, Recipe(epochs=30, learning_rate=1e-1), KEY, members=16)
    assert found.unseen.estimate == pytest.approx(1 / 6, rel=0.25)  # noise of 1 in a variance of 6
    assert found.decomposition.loss.estimate == pytest.approx(found.unseen.estimate, rel=1e-4)
    assert (found.rows()["low"] <= found.rows()["error"]).all()
    assert "error / variance of y on examples that a network has not seen" in str(found)
    low, high = found.predict(splits.test.x, coverage=0.9).T
    reach = stats.norm.ppf(0.95)  # of the noise
    assert np.mean(high - low) == pytest.approx(2 * reach, rel=0.15)
    assert found.prediction_sets.size == pytest.approx(2 * stats.norm.ppf(0.975), rel=0.15)
    assert found.without(np.arange(30)).estimate < 0.05
    assert found.why(0).effects.shape == (len(found.splits.train),)
    assert found.value.shape == (len(found.splits.train.y[: found.training]),)
    with pytest.raises(InputError, match="values of a regression are neither right nor wrong"):
        _ = found.wrong_label
    with pytest.raises(InputError, match="values of a regression are neither right nor wrong"):
        found.with_labels([0], [1])
    with pytest.raises(InputError, match="the census has 16 networks"):
        found.worst(3)


@pytest.fixture(scope="module")
def planted():
    """(a census, the true labels of its training set): three classes that networks tell apart, and
    every eighth label is changed into another class.
    """
    rng = np.random.default_rng(1)
    true = rng.integers(0, 3, 600)
    x = (4.0 * np.eye(3)[true] + rng.normal(size=(600, 3))).astype(np.float32)
    y = np.where(np.arange(600) % 8 == 0, (true + rng.integers(1, 3, 600)) % 3, true)
    splits = jaxnet.split(x, y, test=0.1, validation=0.1, seed=0)
    rows = {row.tobytes(): i for i, row in enumerate(x)}
    at = [rows[np.asarray(row).tobytes()] for row in splits.train.x]
    found = census(MODEL, splits, Recipe(epochs=10, learning_rate=3e-2), KEY, members=64)
    return found, true[at]


def test_the_labels_of_other_examples_are_judged_alike(planted):
    found, _ = planted
    rng = np.random.default_rng(2)
    true = rng.integers(0, 3, 400)
    x = (4.0 * np.eye(3)[true] + rng.normal(size=(400, 3))).astype(np.float32)
    wrong = np.arange(400) % 8 == 0
    y = np.where(wrong, (true + rng.integers(1, 3, 400)) % 3, true)
    judged = found.labels_of(x, y)
    assert judged.probability.sum() == pytest.approx(wrong.sum(), rel=0.2)
    assert wrong[np.argsort(-judged.probability)[: wrong.sum()]].mean() > 0.9
    assert (judged.suggested == true).mean() > 0.97
    # one example alone, as with the others
    alone = found.labels_of(x[:1], y[:1])
    assert alone.probability == pytest.approx(judged.probability[:1], abs=1e-6)
    with pytest.raises(InputError, match="labels"):
        found.labels_of(x, y[:-1])
    with pytest.raises(InputError, match="3"):
        found.labels_of(x[:1], [3])


def test_planted_wrong_labels_are_found_counted_and_listed(planted):
    found, true = planted
    wrong = true != np.asarray(found.splits.train.y)[: len(true)]
    assert found.wrong_labels.low < wrong.sum() < found.wrong_labels.high
    assert found.wrong_labels.estimate == pytest.approx(wrong.sum(), rel=0.15)
    assert found.wrong_labels.estimate == pytest.approx(found.wrong_label.sum())
    order = np.argsort(-found.wrong_label)
    assert wrong[order[: wrong.sum()]].mean() > 0.9
    assert (~wrong[found.mislabeled]).mean() < 0.1
    assert len(found.mislabeled) > 0.7 * wrong.sum()
    right = found.suggested_label[wrong] == true[wrong]
    assert right.mean() > 0.9
    noise = found.findings[0]
    assert noise.code.value == "label_noise"
    assert noise.claimed
    # what the networks show of a label is not what they say once they have seen it
    seen = (found.predictions.argmax(2) == np.asarray(found.splits.train.y))[:, : len(true)]
    by_hand = [
        seen[found.halves[:, i], i].mean() - seen[~found.halves[:, i], i].mean() for i in range(9)
    ]
    np.testing.assert_allclose(found.memorization[:9], by_hand, atol=1e-12)
    gain = found.summary()["without_mislabeled"]["estimate"]
    assert gain == pytest.approx(found.without(found.mislabeled).estimate)
    assert "error that training without them is predicted to save" in str(found)
    lines = list(csv.DictReader(found.labels_csv().splitlines()))
    assert [int(line["index"]) for line in lines] == found.mislabeled.tolist()
    assert {line["part"] for line in lines} == {"train"}
    assert [line["label"] for line in lines] == [
        str(y) for y in found.splits.train.y[found.mislabeled]
    ]
    rows = found.rows()
    assert (rows["memorization_low"] <= rows["memorization"]).all()
    assert found.memorization_reliability < 1


def test_a_gain_is_measured_by_networks_with_and_without_the_rows(planted):
    """The gain is that of networks that fit trains alone, on examples outside the rows."""
    found, true = planted
    y, n = np.array(found.splits.train.y), len(found.splits.train)
    wrong = np.flatnonzero(true != y[: len(true)])
    trainer = found.trainer
    fold_of = jaxnet.resampling.fold_of(found.splits.train, 8)
    key = jax.random.fold_in(KEY, (1 << 20) + 2)
    keys, kept = jax.random.split(key, 16), ~np.isin(np.arange(n), wrong)
    corrected = y.copy()
    corrected[wrong] = true[wrong]
    dropped = found.verify(wrong, pairs=16)
    relabeled = found.verify(wrong, true[wrong], pairs=16)
    assert dropped.low <= dropped.estimate <= dropped.high
    assert "look better than they are" in dropped.caution
    by_hand = {"as it is": [], "dropped": [], "corrected": []}
    for member in range(16):
        seen = fold_of != member // 2
        judged = ~seen & kept
        for name, mask, labels in (
            ("as it is", seen, y), ("dropped", seen & kept, y), ("corrected", seen, corrected),
        ):  # fmt: skip
            splits = replace(found.splits, train=replace(found.splits.train, y=labels))
            weights = np.where(mask, n / mask.sum(), 0).astype(np.float32)
            run = jaxnet.fit(
                MODEL, splits, trainer.recipe, keys[member], weights=weights, order_key=key
            )
            outputs = np.asarray(jaxnet.predict(MODEL, run, splits.train.x))
            by_hand[name].append((outputs.argmax(1) != y)[judged].mean())
    means = {name: np.mean(errors) for name, errors in by_hand.items()}
    gains = [means["as it is"] - means[name] for name in ("dropped", "corrected")]
    np.testing.assert_allclose([dropped.estimate, relabeled.estimate], gains, atol=1e-3)
    for rows, words in (([n], "rows hold"), ([3, 3], "rows hold 3 more than once"), ([], "shape")):
        with pytest.raises(InputError, match=words):
            found.verify(rows)
    with pytest.raises(InputError, match="pairs is 12; give a multiple of 8"):
        found.verify([0], pairs=12)


def test_gains_are_predicted_as_they_are_measured(planted):
    found, true = planted
    y = np.asarray(found.splits.train.y)[: len(true)]
    wrong = np.flatnonzero(true != y)
    random = np.random.default_rng(0).permutation(len(y))[: len(wrong)]
    dropped, relabeled = found.without(wrong), found.with_labels(wrong, true[wrong])
    for predicted, measured in (
        (dropped, found.verify(wrong, pairs=16)),
        (relabeled, found.verify(wrong, true[wrong], pairs=16)),
        (found.without(random), found.verify(random, pairs=16)),
    ):
        reach = np.hypot(predicted.high - predicted.low, measured.high - measured.low) / 2
        assert abs(predicted.estimate - measured.estimate) < reach
    assert dropped.estimate > max(0.0, found.without(random).estimate)
    assert "power between 0 and 1" in dropped.caution
    assert found.value[true != y].mean() < 0 < found.value[true == y].mean()
    rows = found.rows()
    assert (rows["value_low"] < rows["value"]).all()
    np.testing.assert_array_equal(rows["value"][: len(y)], found.value)
    worst = found.worst(20)
    assert (true != y)[worst.rows].mean() > 0.9
    assert worst.gain.low < found.without(worst.rows).estimate < worst.gain.high
    with pytest.raises(InputError, match="rows hold all 480 training examples"):
        found.without(np.arange(len(y)))
    with pytest.raises(InputError, match="k is 0"):
        found.worst(0)


def test_a_prediction_is_explained_by_the_networks_that_have_not_seen_it(planted):
    found = planted[0]
    given = found.why(3)
    outputs = np.asarray(jaxnet.predict(MODEL, found.population, found.splits.test.x[3:4]))[:-1, 0]
    label = int(found.splits.test.y[3])
    p = np.exp(outputs.astype(float))
    odds = np.log(p[:, label] / (p.sum(1) - p[:, label]))
    pool = np.asarray(jaxnet.predict(MODEL, found.population, found.splits.train.x), float)[:-1]
    y = np.asarray(found.splits.train.y)
    q = np.take_along_axis(np.exp(pool), y[None, :, None], 2)[..., 0]
    model = datamodels(found.halves, odds[:, None], np.arange(64) // 2, np.log(q / (1 - q)))
    np.testing.assert_allclose(given.effects, model.coefficients[:, 0], atol=2e-2)
    assert given.supporting.tolist() == np.argsort(-given.effects)[:5].tolist()
    assert given.opposing.tolist() == np.argsort(given.effects)[:5].tolist()
    assert given.prediction == found.splits.classes[np.bincount(outputs.argmax(1)).argmax()]
    assert given.networks == 64
    assert ("mostly noise" in str(given)) == (given.agreement < 0.5)
    own = found.why(7, part="train", k=2)
    assert own.networks == 32
    assert own.effects[7] == 0
    assert len(own.supporting) == 2
    assert found.why(0, part="validation").networks == 32
    with pytest.raises(InputError, match="i is 60; give a whole number from 0 to 59"):
        found.why(60)


def test_the_estimated_memory_holds_what_questions_take(planted):
    found = replace(planted[0])  # without what is kept of earlier questions
    tracemalloc.start()
    for ask in (lambda: found.value, found.membership_inference, lambda: found.why(7, "train")):
        ask()
    most = tracemalloc.get_traced_memory()[1] / (found.halves.size * 8)
    tracemalloc.stop()
    assert 0.8 * TABLES < most < 1.2 * TABLES


def test_classes_that_overlap_list_no_wrong_labels():
    """Hard examples pass for mislabeled ones, so nothing is listed, and the census says so."""
    rng = np.random.default_rng(0)
    centers, y = 1.6 * rng.standard_normal((5, 6)), rng.integers(0, 5, 1500)
    x = (centers[y] + rng.standard_normal((1500, 6))).astype(np.float32)
    splits = jaxnet.split(x, y, test=0.1, validation=0.0, seed=0)
    found = census(MODEL, splits, Recipe(epochs=5, learning_rate=3e-2), KEY, members=16)
    assert found.wrong_labels.refused is not None
    assert not len(found.mislabeled)
    assert any("no label is listed as wrong" in note for note in found.notes)


def test_the_longest_list_has_a_mean_of_at_most_5_percent():
    wrong = np.array([0.2, 1.0, 0.9, 0.99, 0.93, 0.5])
    assert longest_list(wrong).tolist() == [1, 3, 4, 2]
    assert longest_list(np.array([0.9, 0.1])).tolist() == []


def test_the_command_writes_the_same_census(folder, digits, found):
    result = json.loads((folder / "result.json").read_text())
    assert result["census"] == json.loads(found.json())
    assert result["verdict"] == found.verdict
    assert (folder / "examples.csv").read_text() == found.csv()
    page = (folder / "report.html").read_text()
    assert "error on examples that a network has not seen" in page
    assert "Wrong labels in the training set: " in page
    assert "Training examples that are shown to be harmful" in page
    assert "at 1% false positives, and" in page
    assert "Prediction sets that hold the label with 95% probability have " in page
    assert '<a href="examples.html">' in page
    assert (folder / "examples.html").read_text() == gallery(found)


def test_outputs_that_are_no_numbers_are_refused_and_overflow_of_float16_is_not():
    given = np.log(np.full((2, 3, 2), 0.5)).astype(np.float16)
    given[0, 1] = 0, -np.inf
    wrong, losses, _ = _tables(given, np.array([0, 1, 0]), 1.0)
    assert wrong.tolist() == [[False, True, False], [False, True, False]]
    assert np.isfinite(losses).all()
    given[1, 2] = np.nan
    with pytest.raises(InputError, match="no finite number for example 2 of the pool"):
        _tables(given, np.array([0, 1, 0]), 1.0)
    with pytest.raises(InputError, match="no finite number for example 0 of the pool"):
        _tables(np.array([[np.inf, 1.0]]), np.zeros(2), 1.0)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"members": 17}, "members is 17; give an even number of at least 16"),
        (
            {"members": 16, "share": 0.9},
            "is in 16 of the 16 halves, but at least 2 networks must be trained on",
        ),
        ({"share": 1.0}, "share is 1.0; give a share of the examples between 0 and 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(digits, kwargs, words):
    with pytest.raises(InputError, match=words):
        census(MODEL, digits, RECIPE, KEY, **kwargs)

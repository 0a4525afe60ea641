"""Candidates that read results, and networks that vote: members against networks trained alone,
what was planted, and that what is left out of a training part decides nothing in it.
"""

from dataclasses import replace

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet import Recipe
from jaxnet.core.recipe import resolved
from jaxnet.data.dataset import error_unit
from jaxnet.data.resampling import all_but, fold_of
from jaxnet.data.splitting import pool
from jaxnet.diagnostics.findings import Code
from jaxnet.stats.gains import FOLDS
from jaxnet.studies import rules
from jaxnet.studies.candidates import candidates, current
from jaxnet.studies.inner import harmful_values, label_noise, voted
from jaxnet.studies.networks import VOTE, Networks
from jaxnet.studies.rules import Judged, columns_of, handed_over, judged, left_out, lesson, permuted

KEY = jax.random.key(3)
MODEL = jaxnet.mlp((16,))
SHARE = 0.1


@pytest.fixture(scope="module")
def table():
    """320 rows of a pool: 3 inputs tell the class and 6 do not; every tenth label is wrong."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 9)).astype("f4")
    centers = np.array([[3.0, 0, 0], [0, 3, 0], [0, 0, 3], [-3, -3, -3]])
    y = rng.integers(0, 4, 400)
    x[:, :3] += centers[y]
    splits = pool(jaxnet.split(x, y, seed=0))
    given, n = np.asarray(splits.train.y).copy(), len(splits.train)
    wrong = rng.permutation(n)[: int(SHARE * n)]
    given[wrong] = (given[wrong] + rng.integers(1, 4, len(wrong))) % 4
    return replace(splits, train=replace(splits.train, y=given)), wrong


def networks_of(splits, **changes):
    """Networks of the current way to train and of one with these changes."""
    recipe = resolved(Recipe(epochs=12, learning_rate=0.02), len(splits.train))
    now = current(MODEL, recipe)
    folds = fold_of(splits.train, FOLDS)
    return Networks((now, replace(now, **changes)), splits, folds, KEY, None, None)


@pytest.fixture(scope="module")
def dropped(table):
    """Networks without labels that are likely wrong, and those of folds 0 and 1."""
    networks = networks_of(table[0], rule="drop")
    return networks, networks.trained(np.array([0, 1]), ((0, 0), (1, 0)), None)


def test_a_vote_is_the_mean_of_probabilities_or_values():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), (5, 4))
    waves = [(np.array([0, 1]), np.log(p[:2])), (np.array([2, 3, 4]), np.log(p[2:]))]
    found = dict(voted(waves, [1, 3, 1], np.array([False, False, True, False, True]), True))
    np.testing.assert_array_equal(found[0], np.log(p[0]))
    np.testing.assert_allclose(np.exp(found[1]), (p[1] + p[3]) / 2)
    assert np.isnan(found[2]).all()
    values = [(np.arange(4), np.arange(8.0).reshape(4, 2))]
    found = dict(voted(values, [2, 2], np.zeros(4, bool), False))
    assert {vote: each.tolist() for vote, each in found.items()} == {0: [1, 2], 1: [5, 6]}


def test_the_loss_of_an_ensemble_is_that_of_its_mean_probability(table):
    splits, _ = table
    networks = networks_of(splits, votes=3)
    cells = ((0, 0), (1, 0))
    population = networks.trained(np.array([0, 1]), cells, None)
    assert len(population) == 2 + 6
    found = networks.losses(np.array([0, 1]), population)
    x, y = np.asarray(splits.train.x), np.asarray(splits.train.y)
    samples = all_but(networks.fold_of, [0, 1])
    p = []
    for vote in range(3):
        key = jax.random.fold_in(KEY, 1 + VOTE * vote)
        run = jaxnet.fit(MODEL, splits, networks.recipes[0].recipe, key, **samples.alone(1))
        p.append(np.exp(np.asarray(jaxnet.predict(MODEL, run, x))))
    wrong = np.mean(p, 0).argmax(1) != y
    assert (found[1, 1] != wrong).mean() < 0.005
    assert (found[0, 1] != (p[0].argmax(1) != y)).mean() < 0.005
    assert networks.relative.tolist() == [3.0]
    whole = networks.whole(1)
    assert (len(whole.networks), whole.model, whole.lesson) == (3, MODEL, None)


def test_inner_networks_of_two_training_parts_are_shared():
    assert left_out(None) == tuple((fold,) for fold in range(8))
    assert left_out(2)[:3] == ((0, 2), (1, 2), (2, 3))
    assert len({folds for part in range(8) for folds in left_out(part)}) == 28
    folds = np.array([0, 1, 2, 3, 4, 5, 6, 7, 0])
    said = {}
    for part in range(8):
        for each in left_out(part):
            rows = np.flatnonzero(np.isin(folds, each))
            said[each] = Judged(rows, 10.0 * each[0] + each[1] + 0.0 * rows)
    found = judged(3, folds, said)
    assert sorted(found.rows.tolist()) == [0, 1, 2, 4, 5, 6, 7, 8]
    by_row = dict(zip(found.rows.tolist(), found.outputs.tolist(), strict=True))
    assert by_row[0] == by_row[8] == 3
    assert by_row[5] == 35


def test_planted_wrong_labels_are_left_out_or_corrected(table, dropped):
    splits, wrong = table
    networks, _ = dropped
    y = np.asarray(splits.train.y)
    said = judged(0, networks.fold_of, networks._inner.said)
    assert set(said.rows.tolist()) == set(np.flatnonzero(networks.fold_of != 0).tolist())
    kept = lesson("drop", said, splits.train).rows
    gone = np.setdiff1d(said.rows, kept)
    planted = np.intersect1d(wrong, said.rows)
    assert np.isin(gone, planted).mean() > 0.75
    assert np.isin(planted, gone).mean() > 0.75
    corrected = lesson("correct", said, splits.train)
    assert set(corrected.rows.tolist()) == set(said.rows.tolist())
    assert set(np.flatnonzero(corrected.labels != y).tolist()) == set(gone.tolist())


def test_a_network_without_likely_wrong_labels_is_trained_on_the_others(table, dropped):
    splits, _ = table
    networks, population = dropped
    said = judged(1, networks.fold_of, networks._inner.said)
    rows = lesson("drop", said, splits.train).rows
    rest = np.setdiff1d(np.arange(len(splits.train)), rows)
    sample = np.concatenate([rows, rest]).astype(np.int32), np.int32(len(rows))
    key = jax.random.fold_in(KEY, 1)
    alone = jaxnet.fit(MODEL, splits, networks.recipes[0].recipe, key, sample=sample)
    for one, other in zip(
        jax.tree.leaves(population[3].params), jax.tree.leaves(alone.params), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("rule", ["correct", "inputs"])
def test_labels_of_the_fold_that_measures_change_no_bit(table, dropped, rule):
    """With other labels in fold 0, all that decides about networks without fold 0 is the same."""
    splits, _ = table
    y = np.asarray(splits.train.y)
    fold = dropped[0].fold_of
    other = replace(splits, train=replace(splits.train, y=np.where(fold == 0, (y + 1) % 4, y)))
    model = jaxnet.without_inputs(MODEL, ()) if rule == "inputs" else MODEL
    found = []
    for data in (splits, other):
        networks = replace(networks_of(data, rule=rule, model=model), fold_of=fold)
        found.append(networks.trained(np.array([1]), ((0, 0), (1, 0)), None))
    first, second = (jax.tree.leaves(each[0].params) for each in found)
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)
    # those of fold 1 were trained on the other labels
    first, second = (jax.tree.leaves(each[1].params) for each in found)
    assert not all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))


def test_columns_that_tell_nothing_are_left_out(table):
    splits, _ = table
    networks = networks_of(splits, rule="inputs", model=jaxnet.without_inputs(MODEL, ()))
    population = networks.trained(np.array([1]), ((0, 0), (1, 0)), None)
    used = np.stack([population[i].model_state["inputs"] for i in range(2)])
    assert used[:, :3].all()
    assert used[:, 3:].mean() < 0.4
    found = networks.losses(np.array([1]), population)[0]
    current = networks.trained(np.array([0]), ((0, 0), (1, 0)), None)
    plain = networks.losses(np.array([0]), current)[0]
    own = [networks.fold_of == fold for fold in (0, 1)]
    errors = [[each[i, rows].mean() for i, rows in enumerate(own)] for each in (found, plain)]
    assert np.mean(errors[0]) < np.mean(errors[1])
    whole = networks.whole(1)
    unused = tuple(np.flatnonzero(whole.lesson.used == 0).tolist())
    assert whole.model == jaxnet.without_inputs(MODEL, unused)
    # the same model, trained by hand, does not use them either
    run = jaxnet.fit(whole.model, splits, networks.recipes[1].recipe, jax.random.key(0))
    np.testing.assert_array_equal(run.model_state["inputs"], whole.lesson.used)
    x = np.asarray(splits.test.x)
    changed = x.copy()
    changed[:, list(unused)] = 7.0
    np.testing.assert_array_equal(
        *(np.asarray(jaxnet.predict(whole.model, whole.networks[0], each)) for each in (x, changed))
    )


def test_values_of_a_column_are_permuted_together_within_folds():
    x = np.arange(48.0).reshape(16, 3)
    folds = np.repeat(np.arange(8), 2)
    found = permuted(x, [0, 2], folds, np.random.default_rng(0))
    assert (found[:, 1] == x[:, 1]).all()
    assert (found[:, 2] - found[:, 0] == 2).all()
    for fold in range(8):
        own = folds == fold
        assert sorted(found[own, 0]) == sorted(x[own, 0])
    assert (found != x).any()


def test_inputs_of_a_column_are_left_out_together(tmp_path):
    rows = ["a,kind,label"] + [f"{i % 7},{'xyz'[i % 3]},{'pq'[i % 2]}" for i in range(60)]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    splits = jaxnet.load(tmp_path / "table.csv", label="label")
    assert splits.train.x.shape[1] == 4
    assert columns_of(splits.train) == [[0], [1, 2, 3]]


def test_what_a_rule_hands_over(table):
    splits, _ = table
    n = len(splits.train)
    given, weights = handed_over(splits, rules.Lesson(np.arange(1, n)), balance=False)
    assert given is splits
    assert weights[0] == 0
    assert weights.mean() == pytest.approx(1)
    labels = np.asarray(splits.train.y).copy()
    labels[5] = (labels[5] + 1) % 4
    given, weights = handed_over(splits, rules.Lesson(np.arange(n), labels), balance=False)
    assert weights is None
    assert np.flatnonzero(np.asarray(given.train.y) != np.asarray(splits.train.y)).tolist() == [5]
    assert handed_over(splits, None, balance=False) == (splits, None)
    weights = handed_over(splits, rules.Lesson(np.arange(1, n)), balance=True)[1]
    assert weights[0] == 0
    sums = np.bincount(np.asarray(splits.train.y), weights)
    np.testing.assert_allclose(sums, n / 4, rtol=1e-5)


def test_rules_are_tried_where_they_may_help(table):
    splits, _ = table
    networks = networks_of(splits)
    looked = networks.trained(np.array([0]), ((0, 0), (1, 0)), None)
    (noise,) = label_noise(MODEL, looked, splits.train, 0.02, None)
    assert noise.code is Code.LABEL_NOISE
    assert not noise.claimed
    assert noise.size.estimate == pytest.approx(SHARE, abs=0.05)
    assert label_noise(MODEL, looked, splits.train, 0.2, None) == ()
    recipe = networks.recipes[0].recipe

    def tried(findings, recipe=recipe, data=splits):
        return {each.rule for each in candidates(MODEL, recipe, data, findings)} - {None}

    assert tried(()) == {"inputs"}
    assert tried((noise,)) == {"drop", "correct", "inputs"}
    assert tried((noise,), replace(recipe, patience=3)) == set()
    (ensemble,) = (each for each in candidates(MODEL, recipe, splits) if each.votes > 1)
    assert (ensemble.votes, ensemble.name) == (8, "an ensemble of 8 networks")
    assert error_unit(splits.train) == 1


def test_planted_far_values_are_left_out_of_what_networks_are_trained_on():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4)).astype("f4")
    y = x[:, 0] + 0.5 * x[:, 1] + 0.1 * rng.normal(size=500)
    splits = pool(jaxnet.split(x, y.astype("f4"), seed=0))
    given = np.asarray(splits.train.y).copy()
    planted = rng.permutation(len(given))[:30]
    given[planted] += rng.choice([-6, 6], 30)
    clean, splits = splits, replace(splits, train=replace(splits.train, y=given))
    networks = networks_of(splits, rule="drop")
    looked = networks.trained(np.array([0]), ((0, 0), (1, 0)), None)
    (found,) = harmful_values(MODEL, looked, splits.train, 0.02, None)
    assert found.code is Code.HARMFUL_EXAMPLES
    carried = 36 * 30 / len(given) / error_unit(splits.train)
    assert found.size.estimate == pytest.approx(carried, rel=0.5)
    assert label_noise(MODEL, looked, splits.train, 0.02, None) == ()
    recipe = networks.recipes[0].recipe
    tried = {
        len(given): {each.name for each in candidates(MODEL, recipe, splits, given)}
        for given in ((), (found,))
    }
    assert tried[1] - tried[0] == {"leaving out values that are far from predicted ones"}
    whole = networks.whole(1)
    gone = np.setdiff1d(np.arange(len(given)), whole.lesson.rows)
    assert np.isin(planted, gone).all()
    assert len(gone) < 40
    assert rules.told(whole.lesson, splits.train)[0].startswith(f"{len(gone)} of 400 values are")
    assert harmful_values(MODEL, looked, clean.train, 0.02, None) == ()
    with_classes = replace(clean.train, y=np.arange(400) % 2, classes=("a", "b"))
    assert harmful_values(MODEL, looked, with_classes, 0.02, None) == ()


def test_rules_on_values_leave_out_columns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6)).astype("f4")
    y = (x[:, 0] + x[:, 1] ** 2).astype("f4")
    splits = pool(jaxnet.split(x, y, seed=0))
    networks = networks_of(splits, rule="inputs", model=jaxnet.without_inputs(MODEL, ()))
    population = networks.trained(np.array([1]), ((0, 0),), None)
    used = population[0].model_state["inputs"]
    assert used[:2].all()
    assert used[2:].sum() <= 2


def adopt(monkeypatch, splits, **changes):
    """An advice whose only candidate has these changes, and is adopted."""

    def only(model, recipe, *_, **__):
        return (replace(current(model, recipe), name="a change", kind="columns", **changes),)

    monkeypatch.setattr("jaxnet.studies.advice_round.candidates", only)
    monkeypatch.setattr("jaxnet.studies.advice_round.to_adopt", lambda *_: 0)
    return jaxnet.advise(MODEL, splits, Recipe(epochs=3, learning_rate=0.01), KEY, seeds=1)


def test_an_ensemble_is_handed_over(table, monkeypatch):
    splits, _ = table
    found = adopt(monkeypatch, splits, votes=2)
    assert (found.votes, len(found.networks), len(found.fold_networks)) == (2, 2, 16)
    assert (found.model, found.weights) == (MODEL, None)
    assert found.splits is splits
    x = np.asarray(splits.test.x)
    p = np.exp(np.asarray(jaxnet.predict(MODEL, found.networks, x), float))
    together = np.exp(np.asarray(jaxnet.predict(*found.network, x), float))
    np.testing.assert_allclose(together, p.mean(0), atol=1e-6)
    wrong = (p.mean(0).argmax(1) != np.asarray(splits.test.y)).mean()
    assert found.test.estimate == pytest.approx(wrong)
    assert found.trainings == 8 + 16
    assert found.summary()["votes"] == 2


def test_a_model_without_columns_and_weights_are_handed_over(table, monkeypatch):
    splits, _ = table
    found = adopt(monkeypatch, splits, rule="inputs", model=jaxnet.without_inputs(MODEL, ()))
    unused = np.flatnonzero(found.run.model_state["inputs"] == 0).tolist()
    assert found.model == jaxnet.without_inputs(MODEL, unused)
    assert found.trainings == 8 + 8 + 28
    told = ", ".join(map(str, unused))
    assert f"{len(unused)} of 9 columns are not used: {told}" in found.notes
    for model, run in (found.network, found.vote):
        assert jaxnet.evaluate(model, run, splits.test).error.estimate < 0.5
    found = adopt(monkeypatch, splits, rule="drop")
    assert ((found.weights == 0) | np.isclose(found.weights, found.weights.max())).all()
    left_out = int((found.weights == 0).sum())
    n = len(splits.train)
    assert f"{left_out} of {n} labels are likely wrong; in .weights these examples have 0" in (
        found.notes
    )
    assert (found.model, found.votes) == (MODEL, 1)

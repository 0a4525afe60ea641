"""Candidates of advice: which there are, what each of them changes, and that their networks are
those that `fit` trains.
"""

from dataclasses import fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnet
from jaxnet import Recipe
from jaxnet.data.augmentation import Augmentation
from jaxnet.data.resampling import all_but, fold_of
from jaxnet.data.splitting import pool, take
from jaxnet.diagnostics import Estimate
from jaxnet.diagnostics.findings import Code, Finding, Remedy
from jaxnet.models.remade import restarted, with_logarithms
from jaxnet.studies.candidates import candidates, current
from jaxnet.studies.networks import Networks
from jaxnet.studies.one_program import with_equal_structure
from jaxnet.studies.rules import balanced_weights

RECIPE = Recipe(epochs=10, learning_rate=3e-3, schedule="one_cycle")
OF_MODEL = {"wider", "narrower", "deeper", "shallower", "normalization"}


def found(code, *remedies):
    return Finding(code, Estimate(0.5, 0.4, 0.6), True, "", remedies)


def by_kind(tried):
    kinds = dict.fromkeys(each.kind for each in tried)
    return {kind: [each for each in tried if each.kind == kind] for kind in kinds}


def own_model():
    """A model that is not built in."""
    model = jaxnet.mlp((8,)).for_outputs(10)
    return jaxnet.Model(model.init, model.apply, "own")


def test_the_digits_have_many_candidates_and_few_programs(digits):
    tried = candidates(jaxnet.mlp(), RECIPE, digits)
    assert len(tried) >= 12
    assert len({each.name for each in tried}) == len(tried)
    kinds = list(by_kind(tried))
    assert (kinds[0], kinds[-1]) == ("rate", "ensemble")
    assert tried[-2].name == "100 epochs (10 x)"
    programs = {
        (each.model, jax.tree.structure(recipe))
        for each, recipe in zip(tried, with_equal_structure(tried), strict=True)
    }
    # one each: rates with decay and smoothing; 3 lengths; dropout; augmentation; schedule; early
    # stopping; dropout with all that it needs; 5 models
    assert len(programs) == 1 + 3 + 5 + len(OF_MODEL)


def test_each_candidate_changes_one_thing_or_what_dropout_needs_besides(digits):
    names = {field.name for field in fields(Recipe)}
    now = current(jaxnet.mlp((16, 8)), RECIPE)
    tried = candidates(now.model, RECIPE, digits)
    assert [(each.model, each.recipe, each.votes) for each in tried if each.kind == "together"] == [
        (
            jaxnet.mlp((32, 16)),
            replace(RECIPE, dropout=rate, epochs=40, learning_rate=pytest.approx(0.009)),
            1,
        )
        for rate in (0.2, 0.5)
    ]
    for each in (each for each in tried if each.kind != "together"):
        changed = {name for name in names if getattr(each.recipe, name) != getattr(RECIPE, name)}
        assert len(changed) == (each.kind not in {*OF_MODEL, "ensemble"})
        assert (each.model != now.model) == (each.kind in OF_MODEL)
        assert (each.balance, each.standardized, each.loss) == (False, False, None)
        assert each.votes == (8 if each.kind == "ensemble" else 1)


def test_what_the_candidates_are(digits):
    tried = by_kind(candidates(jaxnet.mlp((16, 8)), RECIPE, digits))
    rates = [each.recipe.learning_rate for each in tried["rate"]]
    assert rates == pytest.approx([0.009, 0.001, 0.03, 0.0003])
    assert [each.recipe.epochs for each in tried["longer"]] == [20, 40, 100]
    models = {kind: tried[kind][0].model for kind in OF_MODEL}
    assert models == {
        "wider": jaxnet.mlp((32, 16)),
        "narrower": jaxnet.mlp((8, 4)),
        "deeper": jaxnet.mlp((16, 8, 8)),
        "shallower": jaxnet.mlp((16,)),
        "normalization": jaxnet.mlp((16, 8), normalization="layer"),
    }
    assert tried["augmentation"][0].recipe.augmentation == Augmentation(shift=1.0, rotate=10.0)
    # Loshchilov & Hutter 2019, appendix B.1: 0.05 sqrt(64 / (10 epochs of n examples)), which is
    # not multiplied by the learning rate there
    n = len(digits.train)
    decay = tried["decay"][0].recipe.weight_decay
    assert decay == pytest.approx(0.05 * np.sqrt(64 / (10 * n)) / 3e-3, rel=0.1)


@pytest.mark.parametrize(("rate", "usual"), [(1e-6, True), (1e-3, False), (0.3, True), (0.0, True)])
def test_the_usual_rate_is_tried_where_it_is_farther_than_the_others(rate, usual):
    tried = candidates(jaxnet.linear(), Recipe(learning_rate=rate, epochs=1))
    names = [each.name for each in tried if each.kind == "rate"]
    assert ("learning rate 0.003 (the usual one of adam)" in names) == usual
    assert len(names) == usual + 4 * (rate > 0)


def test_what_does_not_apply_is_no_candidate():
    linear = candidates(jaxnet.linear(), Recipe(epochs=1, schedule="constant"))
    kinds = set(by_kind(linear)) - {"rate", "longer", "schedule", "smoothing"}
    assert kinds == {"wider", "ensemble"}
    assert [each.name for each in linear if each.kind == "wider"] == ["hidden layers"]
    finished = Recipe(optimizer=optax.sgd(0.1), learning_rate=None, epochs=1, schedule="constant")
    assert set(by_kind(candidates(own_model(), finished))) == {"smoothing", "longer", "ensemble"}
    factory = Recipe(optimizer=optax.sgd, epochs=9, schedule="constant")
    kinds = set(by_kind(candidates(own_model(), factory)))
    assert kinds == {"rate", "smoothing", "longer", "schedule", "early stopping", "ensemble"}


def test_a_network_that_does_not_see_all_columns_is_changed_as_others_are():
    recipe = Recipe(epochs=1, schedule="constant")
    for network in (jaxnet.mlp((16, 8)), jaxnet.linear()):
        whole = candidates(network, recipe)
        some = candidates(jaxnet.without_inputs(network, (1,)), recipe)
        assert [each.name for each in some] == [each.name for each in whole]
        for one, other in zip(some, whole, strict=True):
            assert one.recipe == other.recipe
            assert one.model == jaxnet.without_inputs(other.model, (1,))


def test_values_in_columns_have_no_smoothing_and_no_augmentation():
    x = np.random.default_rng(0).normal(size=(200, 3)).astype("f4")
    splits = jaxnet.split(x, x[:, 0], seed=0)
    kinds = set(by_kind(candidates(jaxnet.mlp((4,)), RECIPE, splits)))
    assert not kinds & {"smoothing", "augmentation", "class weights", "shallower"}
    assert "together" in kinds


def test_what_is_there_is_taken_away_or_made_stronger(digits):
    now = replace(
        RECIPE,
        weight_decay=0.1,
        dropout=0.3,
        label_smoothing=0.1,
        patience=3,
        augmentation=Augmentation(noise=0.1),
    )
    model = jaxnet.mlp((1,), normalization="batch")
    tried = by_kind(candidates(model, now, digits, balance=True))
    names = [
        each.name
        for kind in ("class weights", "decay", "smoothing", "dropout", "early stopping")
        for each in tried[kind]
    ]
    assert names == [
        "no class weights",
        "weight decay 0.3",
        "no weight decay",
        "no label smoothing",
        "no dropout",
        "no early stopping",
    ]
    assert tried["decay"][1].recipe == replace(now, weight_decay=0.0)
    assert tried["early stopping"][0].recipe == replace(now, patience=None)
    assert not set(tried) & {"augmentation", "normalization", "narrower", "shallower"}


def test_class_weights_are_tried_where_classes_are_unequal(digits):
    y = np.asarray(digits.train.y)
    kept = np.flatnonzero((y > 0) | (np.arange(len(y)) % 2 == 0))
    rare = replace(digits, train=take(digits.train, kept))
    (tried,) = by_kind(candidates(jaxnet.linear(), RECIPE, rare))["class weights"]
    assert tried.balance
    assert "class weights" not in by_kind(candidates(jaxnet.linear(), RECIPE, digits))


UP = Remedy("Recipe", "learning_rate", "multiply", 3, "raise the learning rate")
DOWN = Remedy("Recipe", "learning_rate", "multiply", 0.3, "lower the learning rate")


@pytest.mark.parametrize(
    ("code", "remedies", "wanted"),
    [
        (Code.DID_NOT_BEGIN_TO_LEARN, (UP,), {0.1, 1.0, 10.0}),
        (Code.UNSTABLE, (DOWN,), {1e-5, 1e-6, 1e-7}),
        (Code.NOT_FINISHED, (UP,), set()),
        (Code.HIGH_BIAS, (UP,), set()),
    ],
)
def test_far_rates_are_tried_where_a_finding_about_the_training_blames_the_rate(
    code, remedies, wanted
):
    recipe = replace(RECIPE, learning_rate=1e-3)
    tried = candidates(jaxnet.linear(), recipe, findings=[found(code, *remedies)])
    rates = [each.recipe.learning_rate for each in tried if each.kind == "rate"]
    near = [3e-3, 1e-3 / 3, 1e-2, 1e-4]
    assert sorted(rates) == pytest.approx(sorted([*near, *wanted]))
    assert (rates[0] == 3e-3) == (tried[0].name.startswith("learning rate 0.003"))


def test_what_other_findings_ask_for(digits):
    def kinds(model, code, recipe=RECIPE, **more):
        more_of = by_kind(candidates(model, recipe, digits, [found(code)], **more))
        return {kind: each for kind, each in more_of.items() if kind in ASKED}

    asked = kinds(jaxnet.linear(), Code.INPUTS_NOT_SCALED)
    assert (set(asked), asked["inputs"][0].standardized) == ({"inputs"}, True)
    constant = replace(RECIPE, schedule="constant", clip=1.0)
    (clipped,) = kinds(jaxnet.linear(), Code.UNSTABLE, constant)["clipping"]
    assert clipped.recipe.clip == pytest.approx(0.1)
    warm = candidates(jaxnet.linear(), constant, digits, [found(Code.DIVERGED)])
    assert "schedule warmup_cosine" in [each.name for each in warm]
    assert set(kinds(own_model(), Code.DID_NOT_BEGIN_TO_LEARN)) == {"start"}
    assert set(kinds(jaxnet.mlp(), Code.DID_NOT_BEGIN_TO_LEARN)) == set()
    (loss,) = kinds(jaxnet.mlp(), Code.WRONG_LOSS, loss=jaxnet.cross_entropy)["loss"]
    assert loss.loss is None
    (model,) = kinds(own_model(), Code.WRONG_LOSS)["loss"]
    assert model.model == with_logarithms(own_model())


ASKED = {"inputs", "loss", "start", "clipping"}


def test_zeros_let_recipes_share_a_program_and_change_nothing(digits):
    model = jaxnet.linear()
    now, recipes = current(model, RECIPE), [RECIPE, replace(RECIPE, weight_decay=1.0)]
    recipes.append(replace(RECIPE, label_smoothing=0.1))
    shared = with_equal_structure([replace(now, recipe=each) for each in recipes])
    assert len({jax.tree.structure(each) for each in shared}) == 1
    assert shared[0] == replace(RECIPE, weight_decay=0.0, label_smoothing=0.0)
    runs = [
        jaxnet.fit(model, digits, replace(each, epochs=1), jax.random.key(0))
        for each in (shared[0], RECIPE)
    ]
    for a, b in zip(*(jax.tree.leaves(run.params) for run in runs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_another_start_has_the_variance_of_he_whatever_the_library():
    """He et al. 2015, eq. 10: 2 / inputs."""
    eqx = pytest.importorskip("equinox")
    first = jaxnet.Model.from_equinox(
        lambda key: eqx.nn.MLP(100, 10, 400, 1, key=key), name="outputs first"
    )
    for model, inputs in (
        (first, 100),
        (jaxnet.Model(*jaxnet.mlp((400,)).for_outputs(10)[:2], "outputs last"), 100),
    ):
        params, _ = restarted(model).init(jax.random.key(0), jnp.zeros((1, 100)))
        large = max(jax.tree.leaves(params), key=np.size)
        assert np.var(large) == pytest.approx(2 / inputs, rel=0.03)
        assert all(not leaf.any() for leaf in jax.tree.leaves(params) if leaf.ndim == 1)


def test_logarithms_of_probabilities_undo_a_softmax(digits):
    model, x = jaxnet.mlp((8,)).for_outputs(10), jnp.ones((2, 64))

    def apply(*args, **kwargs):
        outputs, state = model.apply(*args, **kwargs)
        return jax.nn.softmax(outputs), state

    twice = jaxnet.Model(model.init, apply, "softmax in the model")
    start = with_logarithms(twice).init(jax.random.key(0), x)
    outputs = {"key": None, "dropout": None}
    logits, _ = with_logarithms(twice).apply(*start, x, **outputs)
    np.testing.assert_allclose(jax.nn.softmax(logits), twice.apply(*start, x, **outputs)[0], 1e-5)


def test_class_weights_are_those_of_the_training_part():
    y = np.array([0, 0, 0, 1, 2, 0, 1, 1])
    seen = np.array([True] * 5 + [False, False, True])
    # 6 examples of 3 classes: 3, 2 and 1 of them
    wanted = np.array([6 / 9] * 3 + [1, 2, 0, 0, 1])
    assert balanced_weights(y, seen) == pytest.approx(wanted)
    without = seen & (y != 2)  # a class that is not in the part
    assert balanced_weights(y, without)[without].mean() == pytest.approx(1.0)


def test_networks_of_all_kinds_are_those_trained_alone(digits):
    """In one call: with class weights, stopped by a part of their examples, with standardized
    inputs, and as they are.
    """
    model, recipe = jaxnet.linear(), replace(RECIPE, epochs=8, learning_rate=0.03)
    pooled = pool(digits)
    mean, scale = jnp.float32(0), jnp.float32(1)
    raw = replace(pooled, standardization=pooled.standardization._replace(mean=mean, scale=scale))
    way, patient = current(model, recipe), replace(recipe, patience=2)
    ways = (
        way,
        replace(way, balance=True),
        replace(way, standardized=True),
        replace(way, recipe=patient),
    )
    folds, key, y = fold_of(pooled.train, 8), jax.random.key(0), np.asarray(pooled.train.y)
    networks = Networks(ways, raw, folds, key, None, None)
    together = networks.trained(np.arange(4), [(5, 0)], None)
    samples = all_but(folds, [5])
    one, two = samples.alone(0), all_but(folds, [5], 1).alone(0)
    stops = take(raw.train, np.flatnonzero(folds == 4)[: np.bincount(folds).min()])
    weights = balanced_weights(y, samples.seen(0))
    for number, (splits, how, more) in enumerate(
        [
            (raw, recipe, one),
            (raw, recipe, one | {"weights": weights}),
            (pooled, recipe, one),
            (replace(raw, validation=stops), patient, two),
        ]
    ):
        alone = jaxnet.fit(model, splits, how, jax.random.fold_in(key, 5), **more)
        mine = together[number]
        assert int(mine.epochs) == int(alone.epochs)
        for a, b in zip(*(jax.tree.leaves(run.chosen) for run in (mine, alone)), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)
    assert int(networks.whole(3).networks[0].epochs) <= 8

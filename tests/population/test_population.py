"""Populations: every member is the run alone, whatever else trains beside it, wherever, and however
often it was stopped.
"""

import functools
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import flax.linen as nn
import jax
import numpy as np
import pytest
from conftest import gap, shuffled

import jaxnet
from jaxnet import Plan, Recipe
from jaxnet.data import resampling
from jaxnet.data.splitting import take
from jaxnet.population.scheduler import Progress, Schedule

KEYS = jax.random.split(jax.random.key(0), 6)
MODEL = jaxnet.mlp((12,))
RECIPE = Recipe(epochs=3, batch_size=64, learning_rate=3e-3, schedule="constant")
ORDER = jax.random.key(9)
ALONE, TOGETHER = Plan(devices=2, chunk=1), Plan(devices=1, chunk=3)
# A call of the program, and a checkpoint, after every epoch.
EVERY_EPOCH = Schedule(call_seconds=0.0, checkpoint_share=1e9, checkpoint_growth=0.0)
KILLS = int(os.environ.get("JAXNET_KILLS", "4"))
LAST_BIT = 5e-7  # of a loss of 2 to 4; of the parameters 6e-8
# the largest difference of parameters of some tenths, after 60 steps of Adam, that is rounding
ROUNDING = 2e-5


@pytest.fixture(scope="module")
def small(digits):
    """A few of the digits, so that an epoch is seven steps."""
    parts = {
        name: take(getattr(digits, name), slice(n))
        for name, n in (("train", 400), ("validation", 100), ("test", 120))
    }
    return jaxnet.data.splitting.assemble(*parts.values(), name="small")


def _samples(kind, splits):
    key, members, n = jax.random.key(5), len(KEYS), len(splits.train)
    match kind:
        case "bootstrap":
            return resampling.bootstrap(key, members, n)
        case "weighted":
            return resampling.weighted(np.random.default_rng(0).uniform(0, 2, (members, n)))
        case "partitions":
            return resampling.partitions(key, 3, n, repeats=2)
        case "subsamples":
            return resampling.subsamples(key, members, 150, n)
        case "first":
            return resampling.first(key, [50, 133, n], n, repeats=2)
        case "folds":
            return resampling.folds(splits.train, members)
        case "folds with factors":
            factors = np.random.default_rng(0).uniform(0, 2, n)
            return resampling.folds(splits.train, members).reweighted(factors)
    return None


KINDS = [
    "all",
    "bootstrap",
    "weighted",
    "partitions",
    "subsamples",
    "first",
    "folds",
    "folds with factors",
]


@pytest.mark.parametrize(
    ("kind", "shared"),
    [
        *(
            pytest.param(
                kind,
                False,
                id=f"{kind}-own order",
                marks=[pytest.mark.core] * (kind in ("all", "bootstrap", "partitions")),
            )
            for kind in KINDS
        ),
        *(
            pytest.param(
                kind, True, id=f"{kind}-shared order", marks=[pytest.mark.slow] * (kind != "all")
            )
            for kind in KINDS
        ),
    ],
)
def test_every_member_is_the_run_alone(small, kind, shared):
    """One at a time on a device it is that to the last bit (bit for bit on jax 0.10.2, not on
    0.7.2), several at once to rounding.
    """
    samples, order_key = _samples(kind, small), ORDER if shared else None
    alone, together = (
        jaxnet.fit_population(
            MODEL, small, RECIPE, KEYS, resample=samples, order_key=order_key, plan=plan
        )
        for plan in (ALONE, TOGETHER)
    )
    assert len(alone) == len(together) == len(KEYS)
    for i in (0, 2, 5):
        given = {} if samples is None else samples.alone(i)
        run = jaxnet.fit(MODEL, small, RECIPE, KEYS[i], order_key=order_key, **given)
        assert (
            gap(
                (alone[i].params, alone[i].history, alone[i].best),
                (run.params, run.history, run.best),
            )
            < LAST_BIT
        )
        assert gap((together[i].params, together[i].history), (run.params, run.history)) < ROUNDING
        assert alone[i].status == run.status
        assert jax.tree.structure(alone[i]) == jax.tree.structure(run)
        assert alone[i].classes == run.classes


class Normalized(nn.Module):
    """No parameter that the normalization cancels, where no input is constant."""

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.Dense(12, use_bias=False)(x.reshape(len(x), -1))
        return nn.Dense(10)(nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)))


def _probabilities(model, splits, recipe):
    """Of three members, trained at once and each alone, with their training losses."""
    many = jaxnet.fit_population(model, splits, recipe, KEYS[:3], plan=TOGETHER)
    alone = [jaxnet.fit(model, splits, recipe, key) for key in KEYS[:3]]
    losses = many.run.history.train_loss, np.stack([run.history.train_loss for run in alone])
    x = np.asarray(splits.test.x)
    return (
        np.exp(jaxnet.predict(model, many, x)),
        np.exp([jaxnet.predict(model, run, x) for run in alone]),
        losses,
    )


def test_what_batch_normalization_cancels_has_no_gradient(small):
    """But for rounding: the cause of the tolerance of the next test."""
    model = jaxnet.mlp((12,), normalization="batch").for_outputs(10)
    state = jaxnet.start(model, small, RECIPE, KEYS[0])
    x, y = small.standardization.inputs(small.train.x), np.asarray(small.train.y)

    def loss(params):
        outputs, _ = model.apply(params, state.model_state, x, key=KEYS[1], dropout=None)
        return -jax.nn.log_softmax(outputs)[np.arange(len(y)), y].mean()

    gradient = jax.grad(loss)(state.params)["hidden_0"]
    constant = np.asarray(small.train.x).reshape(len(y), -1).std(0) == 0
    of_others = np.abs(gradient["kernel"][~constant]).max()
    assert constant.sum() >= 3
    assert np.abs(gradient["bias"]).max() < 1e-6 * of_others
    assert np.abs(gradient["kernel"][constant]).max() < 1e-6 * of_others


@pytest.mark.parametrize(
    ("optimizer", "hidden"),
    [
        pytest.param(
            optimizer,
            hidden,
            marks=[pytest.mark.slow]
            * ((optimizer, len(hidden)) not in (("adam", 1), ("momentum", 2))),
        )
        for optimizer in ("adam", "adamw", "muon", "momentum")
        for hidden in ((12,), (12, 12))
    ],
)
def test_members_with_batch_normalization_agree_to_ten_learning_rates(small, optimizer, hidden):
    recipe = replace(
        RECIPE, optimizer=optimizer, weight_decay=1e-3 if optimizer == "adamw" else None
    )
    together, alone, (losses, wanted) = _probabilities(
        jaxnet.mlp(hidden, normalization="batch"), small, recipe
    )
    assert np.abs(together - alone).max() < (
        2e-5 if optimizer == "momentum" else 10 * recipe.learning_rate
    )
    assert np.abs(losses - wanted).max() < ROUNDING


def test_members_without_canceled_parameters_agree_to_rounding():
    x = np.random.default_rng(0).normal(size=(400, 9))
    splits = jaxnet.split(x, np.random.default_rng(1).permutation(np.arange(400) % 10))
    together, alone, _ = _probabilities(jaxnet.Model.from_linen(Normalized()), splits, RECIPE)
    assert np.abs(together - alone).max() < ROUNDING


def test_other_members_chunks_and_devices_change_no_member(small):
    plans = [
        Plan(1, chunk=1),
        Plan(3, chunk=1),
        Plan(2, chunk=2),
        Plan(3, chunk=5),
        Plan(1, chunk=64),
    ]
    many = [jaxnet.fit_population(MODEL, small, RECIPE, KEYS, plan=plan) for plan in plans]
    few = jaxnet.fit_population(MODEL, small, RECIPE, KEYS[:2], plan=ALONE)
    assert gap(many[0].params, many[1].params) == 0
    assert gap(few.params, jax.tree.map(lambda leaf: leaf[:2], many[0].params)) == 0
    assert all(gap(many[0].params, other.params) < ROUNDING for other in many[2:])


@pytest.mark.parametrize("plan", [ALONE, TOGETHER], ids=["alone", "together"])
def test_every_number_of_a_recipe_may_differ(small, plan):
    rates, dropouts, decays = [1e-3, 3e-3, 1e-2], [0.0, 0.2, 0.5], [0.0, 1e-2, 0.1]
    common = {"optimizer": "adamw", "epochs": 3, "batch_size": 64, "schedule": "one_cycle"}
    recipes = [
        Recipe(learning_rate=rate, dropout=dropout, weight_decay=decay, **common)
        for rate, dropout, decay in zip(rates, dropouts, decays, strict=True)
    ]
    arrays = Recipe(
        learning_rate=np.array(rates),
        dropout=np.array(dropouts),
        weight_decay=np.array(decays),
        **common,
    )
    listed, dealt = (
        jaxnet.fit_population(MODEL, small, given, KEYS[:3], plan=plan)
        for given in (recipes, arrays)
    )
    assert gap(listed.params, dealt.params) == 0
    for i, recipe in enumerate(recipes):
        run = jaxnet.fit(MODEL, small, recipe, KEYS[i])
        assert gap(listed[i].params, run.params) < (2e-7 if plan is ALONE else ROUNDING)
        assert float(listed[i].recipe.learning_rate) == pytest.approx(rates[i])


def test_order_keys_of_members(small):
    orders = jax.random.split(ORDER, 2)
    many = jaxnet.fit_population(MODEL, small, RECIPE, KEYS[:2], order_key=orders, plan=ALONE)
    for i in range(2):
        assert (
            gap(
                many[i].params,
                jaxnet.fit(MODEL, small, RECIPE, KEYS[i], order_key=orders[i]).params,
            )
            == 0
        )


def test_structures_are_grouped(small, caplog):
    models = [
        jaxnet.mlp((8,)),
        jaxnet.mlp((12,)),
        jaxnet.mlp((8,)),
        jaxnet.linear(),
        jaxnet.mlp((8,)),
    ]
    recipes = [
        RECIPE,
        RECIPE,
        RECIPE,
        RECIPE,
        Recipe(epochs=2, batch_size=32, optimizer="sgd", schedule="constant", learning_rate=1e-3),
    ]
    with caplog.at_level(logging.DEBUG, "jaxnet"):
        many = jaxnet.fit_population(models, small, recipes, KEYS[:5])
    assert [list(members) for members in many.members] == [[0, 2], [1], [3], [4]]
    assert "4 structures: a program each" in caplog.text
    assert list(many.epochs) == [3, 3, 3, 3, 2]
    for i in range(5):
        assert (
            gap(many[i].params, jaxnet.fit(models[i], small, recipes[i], KEYS[i]).params) < ROUNDING
        )
    with pytest.raises(jaxnet.InputError, match="4 different structures; take each"):
        _ = many.params


@pytest.mark.core
def test_two_programs_a_structure_whatever_is_trained(small, compilations):
    """Numbers, sizes of samples, waves and calls compile nothing; counted over the whole
    process.
    """
    sizes = resampling.first(jax.random.key(1), [50, 90, 130, 170, 210, 400], 400)

    def go(model, resample, rate):
        jaxnet.fit_population(
            model,
            small,
            Recipe(epochs=4, learning_rate=rate, schedule="constant", batch_size=128),
            KEYS,
            resample=resample,
            plan=Plan(1, chunk=2),
        )

    go(jaxnet.mlp((5,)), sizes, 1e-3)
    compilations.clear()
    go(jaxnet.mlp((6,)), sizes, 1e-3)
    assert len(compilations) == 2
    go(jaxnet.mlp((6,)), resampling.first(jax.random.key(2), [20, 21, 22, 23, 24, 25], 400), 1e-2)
    assert len(compilations) == 2


@pytest.mark.parametrize("kind", ["partitions", "first", "subsamples", "folds", "bootstrap"])
def test_what_a_member_did_not_see_has_no_part_in_it(small, kind):
    """All other examples replaced by noise: not a bit of the network changes."""
    samples = _samples(kind, small)
    many = jaxnet.fit_population(MODEL, small, RECIPE, KEYS, resample=samples, plan=ALONE)
    for i in (0, 4):
        x = np.array(small.train.x)
        x[~samples.seen(i)] = 255 - x[~samples.seen(i)]
        # the standardization stays that of the pool
        spoiled = replace(small, train=replace(small.train, x=jax.device_put(x)))
        run = jaxnet.fit(MODEL, spoiled, RECIPE, KEYS[i], **samples.alone(i))
        same = gap(many[i].params, run.params)
        # weights of 0 times other numbers: rounding of sums
        assert same == 0 if kind != "bootstrap" else same < ROUNDING


def test_a_sample_takes_its_examples_equally_often_and_equal_steps(small):
    """Against a loop by hand over exactly those examples: 400 / 100 rounds, each a permutation of
    the member's own.
    """
    samples = resampling.partitions(jax.random.key(1), 4, 400)
    indices, count = samples.alone(1)["sample"]
    rows = jax.jit(shuffled, static_argnums=(1, 2))(jax.random.key(0), 400, 50, (indices, count))
    for four in np.asarray(rows).reshape(4, 100):
        assert sorted(four) == sorted(np.flatnonzero(samples.seen(1)))


@pytest.mark.core
def test_a_member_that_diverges_rests_and_disturbs_none(small, caplog):
    rates = np.array([3e-3, 1e30, 3e-3, 3e-3, 3e-3, 3e-3])
    recipe = Recipe(
        optimizer="sgd", epochs=4, batch_size=64, schedule="constant", learning_rate=1e-3
    )
    for plan in (ALONE, TOGETHER):
        with caplog.at_level(logging.WARNING, "jaxnet"):
            caplog.clear()
            wild, calm = (
                jaxnet.fit_population(
                    MODEL, small, jax.tree.map(lambda _, r=r: r, recipe), KEYS, plan=plan
                )
                for r in (rates, np.full(6, 3e-3))
            )
        assert list(wild.diverged) == [False, True, False, False, False, False]
        assert 0 < wild.diverged_at[1] < 7
        assert wild[1].status.startswith(f"diverged at step {wild.diverged_at[1]}")
        assert wild.epochs[1] == 1
        assert np.isnan(wild.run.history.train_loss[1, 1:]).all()
        assert all(gap(wild[i].params, calm[i].params) == 0 for i in (0, 2, 3, 4, 5))
        assert caplog.text.count("1 of 6 members diverged") == 1
        assert (
            wild[1].status
            == jaxnet.fit(
                MODEL,
                small,
                Recipe(
                    optimizer="sgd",
                    epochs=4,
                    batch_size=64,
                    learning_rate=1e30,
                    schedule="constant",
                ),
                KEYS[1],
            ).status
        )


def test_members_stop_early_each_at_its_own_epoch(small):
    recipe = Recipe(epochs=12, learning_rate=0.05, patience=2, schedule="constant", batch_size=128)
    runs = [jaxnet.fit(jaxnet.mlp((32,)), small, recipe, key) for key in KEYS]
    for plan in (ALONE, TOGETHER):
        many = jaxnet.fit_population(jaxnet.mlp((32,)), small, recipe, KEYS, plan=plan)
        assert len(set(many.epochs)) > 1
        assert [int(run.epochs) for run in runs] == list(many.epochs)
        for i, run in enumerate(runs):
            assert many[i].status == run.status
            assert gap(many[i].best.epoch, run.best.epoch) == 0
            assert np.array_equal(
                np.isnan(many[i].history.train_loss), np.isnan(run.history.train_loss)
            )


class BatchNormalized(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.Dense(8)(x.reshape(len(x), -1))
        return nn.Dense(10)(nn.relu(nn.BatchNorm(use_running_average=not train)(x)))


@pytest.mark.core
@pytest.mark.parametrize(
    ("model", "plan"),
    [
        (jaxnet.Model.from_linen(BatchNormalized()), TOGETHER),
        (jaxnet.cnn((3,), (8,)), Plan(2, chunk=1, micro_batch=16)),
        (jaxnet.cnn((3,), (8,)), None),
    ],
    ids=["batch statistics", "micro-batches", "a plan by rule"],
)
def test_other_networks(small, model, plan):
    # Adam makes whole steps of gradients that are only rounding
    recipe = replace(RECIPE, optimizer="momentum", learning_rate=0.02)
    many = jaxnet.fit_population(model, small, recipe, KEYS[:3], plan=plan)
    for i in range(3):
        run = jaxnet.fit(model, small, recipe, KEYS[i])
        assert gap((many[i].params, many[i].model_state), (run.params, run.model_state)) < 1e-4


@pytest.mark.core
def test_a_regression_without_validation(small, tmp_path):
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    splits = jaxnet.split(x, x.sum(1) * 1e6, validation=0.0, test=0.2)
    samples = resampling.bootstrap(jax.random.key(0), 4, len(splits.train))
    many = jaxnet.fit_population(
        jaxnet.linear(),
        splits,
        Recipe(epochs=30, learning_rate=0.05, schedule="constant", batch_size=128),
        KEYS[:4],
        resample=samples,
        out=tmp_path / "p",
    )
    assert many.predictions.validation is None
    assert many.predictions.test.dtype == np.float32
    assert np.allclose(
        many.predictions.test, jaxnet.predict(jaxnet.linear(), many, splits.test.x), atol=1.0
    )
    assert np.allclose(many.predictions.test.mean(0), splits.test.y, rtol=0.05, atol=2e5)
    for i in range(4):
        assert np.array_equal(np.isnan(many.predictions.unseen[i]), samples.seen(i))


def test_predictions_on_unseen_examples_are_kept_unless_they_are_not_wanted(small, tmp_path):
    samples = resampling.folds(small.train, 6)
    given = MODEL, small, RECIPE, KEYS
    many, fewer = (
        jaxnet.fit_population(*given, resample=samples, out=tmp_path / str(unseen), unseen=unseen)
        for unseen in (True, False)
    )
    assert many.predictions.unseen.shape == (6, len(small.train), 10)
    assert fewer.predictions.unseen is None
    assert not (tmp_path / "False/predictions/unseen.npy").exists()
    np.testing.assert_array_equal(fewer.predictions.test, many.predictions.test)


@pytest.mark.core
def test_predictions_of_all_members(small, tmp_path):
    samples = resampling.folds(small.train, 6)
    many = jaxnet.fit_population(MODEL, small, RECIPE, KEYS, resample=samples, out=tmp_path / "p")
    together = jaxnet.predict(MODEL, many, small.test.x)
    assert together.shape == (6, 120, 10)
    for i in (0, 5):
        assert np.abs(together[i] - jaxnet.predict(MODEL, many[i], small.test.x)).max() < 1e-5
    kept = many.predictions
    assert isinstance(kept.test, np.memmap)
    assert kept.test.dtype == np.float16
    # Float16 rounds to 2^-11 of a value; the value itself was computed in other blocks of examples
    # (1e-5, as above).
    for file, values in (
        (kept.test, together),
        (kept.validation, jaxnet.predict(MODEL, many, small.validation.x)),
    ):
        assert file.shape == values.shape
        assert (np.abs(file.astype(np.float64) - values) <= 2.0**-11 * np.abs(values) + 1e-5).all()
    # Every example is predicted by the one member that did not see it.
    there = ~np.isnan(kept.unseen[..., 0])
    assert (there.sum(0) == 1).all()
    for i in range(6):
        assert np.array_equal(there[i], ~samples.seen(i))
        expected = jaxnet.predict(MODEL, many[i], np.asarray(small.train.x)[there[i]])
        assert np.abs(kept.unseen[i][there[i]].astype(float) - expected).max() < 0.02


def test_predictions_without_a_test_set(small, tmp_path):
    alone = replace(small, test=replace(small.test, x=small.test.x[:0], y=small.test.y[:0]))
    kept = jaxnet.fit_population(MODEL, alone, RECIPE, KEYS[:2], out=tmp_path / "p").predictions
    assert kept.test.shape == (2, 0, 10)
    assert kept.validation.shape == (2, len(small.validation), 10)
    neither = replace(alone, validation=alone.test)
    kept = jaxnet.fit_population(MODEL, neither, RECIPE, KEYS[:2], out=tmp_path / "q").predictions
    assert (kept.validation, kept.test.shape, kept.unseen) == (None, (2, 0, 10), None)


def test_members_are_saved_together(small, tmp_path):
    many = jaxnet.fit_population(
        MODEL,
        small,
        Recipe(epochs=1, learning_rate=np.array([1e-3, 1e-2]), schedule="constant", batch_size=128),
        KEYS[:2],
    )
    jaxnet.save(many.run, tmp_path / "many")
    again = jaxnet.restore(tmp_path / "many")
    assert gap(again.params, many.params) == 0
    assert np.allclose(again.recipe.learning_rate, [1e-3, 1e-2])


class Stop(Exception):
    pass


def _stop_after(calls):
    left = [calls]

    def progress(now):
        left[0] -= 1
        if left[0] < 0:
            raise Stop

    return progress


@pytest.mark.parametrize("calls", [0, pytest.param(1, marks=pytest.mark.core), 4])
def test_a_population_continues_with_the_same_numbers_on_other_devices(small, tmp_path, calls):
    samples = resampling.partitions(jax.random.key(1), 3, 400, repeats=2)
    go = functools.partial(jaxnet.fit_population, MODEL, small, RECIPE, KEYS, resample=samples)
    whole = go(plan=ALONE)
    with pytest.raises(Stop):
        go(
            out=tmp_path / "p",
            plan=Plan(3, chunk=1),
            progress=_stop_after(calls + 1),
            schedule=EVERY_EPOCH,
        )
    before = (tmp_path / "p/log.txt").read_text()
    assert before.count("checkpoint") == calls + 1
    again = go(out=tmp_path / "p", plan=Plan(2, chunk=1), schedule=EVERY_EPOCH)
    assert (
        gap(
            (whole.params, whole.run.history, whole.epochs),
            (again.params, again.run.history, again.epochs),
        )
        == 0
    )
    # Nothing that a checkpoint had was trained again: 6 members, 3 epochs.
    trained = [
        line.split()
        for line in (tmp_path / "p/log.txt").read_text().splitlines()
        if line.startswith("group")
    ]
    epochs = [(member, int(words[5])) for words in trained for member in _members(words[3])]
    assert sorted(epochs) == [(member, epoch) for member in range(6) for epoch in (1, 2, 3)]
    seconds = time.perf_counter()
    finished = go(out=tmp_path / "p")
    assert gap(whole.params, finished.params) == 0
    assert time.perf_counter() - seconds < 60
    assert (tmp_path / "p/log.txt").read_text().count("group") == len(trained)


def _members(words):
    first, last = map(int, words.split("-"))
    return range(first, last + 1)


@pytest.fixture(scope="module")
def stopped(small, tmp_path_factory):
    """A population of two waves that was stopped in the last epoch of the second, with a checkpoint
    after each epoch.
    """
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(Stop):
        jaxnet.fit_population(
            MODEL,
            small,
            RECIPE,
            KEYS,
            plan=TOGETHER,
            out=folder,
            progress=_stop_after(5),
            schedule=EVERY_EPOCH,
        )
    return folder


def _damage(path):
    """The largest file of a checkpoint, with one bit flipped."""
    file = max(
        (file for file in path.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size
    )
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 3] ^= 4
    file.write_bytes(whole)


@pytest.mark.parametrize("which", ["newest", "oldest", "a wave"])
def test_of_a_damaged_part_the_members_go_on_from_the_one_before(
    which, small, stopped, tmp_path, caplog
):
    whole = jaxnet.fit_population(MODEL, small, RECIPE, KEYS, plan=TOGETHER)
    shutil.copytree(stopped, tmp_path / "p")
    state, done = tmp_path / "p/state", (tmp_path / "p/log.txt").read_text().count("\n")
    parts = sorted(state.glob("part-????????"))
    assert [path.name for path in parts] == [
        "part-00000001",
        "part-00000002",
        "part-00000003",
        "part-00000004",
    ]
    damaged, began = {"newest": (parts[3:], 1), "oldest": (parts[:1], 2), "a wave": (parts[2:], 0)}[
        which
    ]
    for path in damaged:
        _damage(path)
    again = jaxnet.fit_population(MODEL, small, RECIPE, KEYS, plan=TOGETHER, out=tmp_path / "p")
    assert gap((whole.params, whole.run.history), (again.params, again.run.history)) == 0
    lines = [
        line.split()
        for line in (tmp_path / "p/log.txt").read_text().splitlines()[done:]
        if line.startswith("group")
    ]
    assert {words[3] for words in lines} == {"3-5"}, (
        "members that were finished, and not damaged, were trained again"
    )
    assert int(lines[0][5]) > began
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == len(damaged)
    for path in damaged:
        assert any(
            str(path) in words
            and "go on from older checkpoints, and begin again where there is none" in words
            for words in warned
        )
        assert path.with_name(path.name + ".damaged").is_dir()


@pytest.mark.parametrize("how", ["flipped", "cut", "header"])
def test_predictions_that_changed_on_disk_are_computed_again(how, small, stopped, tmp_path, caplog):
    shutil.copytree(stopped, tmp_path / "p")
    go = functools.partial(
        jaxnet.fit_population, MODEL, small, RECIPE, KEYS, plan=TOGETHER, out=tmp_path / "p"
    )
    before = np.array(go().predictions.test)
    file = tmp_path / "p/predictions/test.npy"
    written = file.stat().st_mtime_ns
    go()
    assert (file.stat().st_mtime_ns, caplog.records) == (written, [])
    if how == "cut":
        os.truncate(file, 5000)
    else:
        whole = bytearray(file.read_bytes())
        whole[1 if how == "header" else 5000] ^= 1
        file.write_bytes(whole)
    assert np.array_equal(go().predictions.test, before)
    (warned,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert (
        f"{file.parent} is damaged: test.npy is not what was written there; the members predict "
        "again" in warned
    )


def test_a_population_of_which_no_part_is_intact_is_refused(small, stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "p")
    for path in (tmp_path / "p/state").iterdir():
        _damage(path)
    for _ in range(2):
        with pytest.raises(
            jaxnet.InputError, match="no other checkpoint is intact; give another --out, or delete"
        ) as refused:
            jaxnet.fit_population(MODEL, small, RECIPE, KEYS, plan=TOGETHER, out=tmp_path / "p")
        assert str(tmp_path / "p/state/part-00000004") in str(refused.value)
    assert not list((tmp_path / "p/state").glob("*.damaged"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"recipes": Recipe(epochs=3, batch_size=64, learning_rate=1e-2, schedule="constant")},
            "recipe.learning_rate was .*0.003.* and is now .*0.0[01]",
        ),
        ({"keys": KEYS[:5]}, "members was 6 and is now 5"),
        ({"keys": KEYS[::-1]}, "keys was"),
        ({"order_key": ORDER}, "order_key was None and is now"),
        (
            {"resample": resampling.bootstrap(ORDER, 6, 400)},
            "resample was None and is now 'bootstrap'",
        ),
        ({"model": jaxnet.mlp((13,))}, r"groups.0.model was .mlp\(hidden=\(.*hidden=\(13"),
    ],
)
def test_a_folder_of_something_else_is_refused(small, tmp_path_factory, change, message):
    folder = tmp_path_factory.getbasetemp() / "of-something-else"
    given = {"model": MODEL, "splits": small, "recipes": RECIPE, "keys": KEYS, "out": folder}
    if not folder.exists():
        jaxnet.fit_population(**given)
    with pytest.raises(jaxnet.InputError, match=message):
        jaxnet.fit_population(**{**given, **change})


@jax.custom_batching.custom_vmap
def two_at_most(words):
    """The same, which takes too much memory for more than two members at a time."""
    return words


@two_at_most.def_vmap
def of_members(members, batched, words):
    if members > 2:
        raise jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Out of memory while trying to allocate"
        )
    return words, batched[0]


def test_out_of_memory_halves_the_chunk(small, caplog):
    network = MODEL.for_outputs(10)

    def init(key, x):
        words = two_at_most(jax.random.key_data(key))
        return network.init(jax.random.wrap_key_data(words, impl=jax.random.key_impl(key)), x)

    whole = jaxnet.fit_population(MODEL, small, RECIPE, KEYS, plan=ALONE)
    large = network._replace(init=init)
    with caplog.at_level(logging.WARNING, "jaxnet"):
        many = jaxnet.fit_population(large, small, RECIPE, KEYS, plan=Plan(1, chunk=6))
    assert "out of memory with 6 members at a time on each device: going on with 3" in caplog.text
    assert "out of memory with 3 members at a time on each device: going on with 1" in caplog.text
    assert gap(whole.params, many.params) < ROUNDING


def test_progress_says_how_far_it_is(small):
    heard = []
    jaxnet.fit_population(MODEL, small, RECIPE, KEYS, plan=ALONE, progress=heard.append)
    shares = [now.share for now in heard]
    assert shares == sorted(shares)
    assert heard[-1] == Progress(6, 6, 3, 3, 1.0)
    assert heard[0] == Progress(0, 6, 0, 3, 0.0)
    assert heard[1].epoch == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys": jax.random.key(0)}, r"keys has shape \(\); give one key per member"),
        ({"keys": KEYS[:0]}, "keys are empty"),
        (
            {"keys": jax.random.split(jax.random.key(0, impl="rbg"), 3)},
            "draws otherwise in a population than alone",
        ),
        ({"recipes": [RECIPE]}, "1 recipes for 6 keys; give one for all, or one per member"),
        ({"model": [MODEL] * 5}, "5 models for 6 keys"),
        ({"recipes": Recipe(learning_rate=np.ones(5))}, r"a number of the recipe has shape \(5,\)"),
        (
            {"recipes": Recipe(learning_rate=np.array([1, 1, 1, 1, 1, -1.0]))},
            "learning_rate is -1.0",
        ),
        ({"recipes": [RECIPE] * 5 + [Recipe(dropout=2.0)]}, "dropout is 2.0"),
        ({"order_key": KEYS[:2]}, "order_key holds 2 keys for 6 members"),
        (
            {"resample": resampling.bootstrap(ORDER, 5, 400)},
            "resample is of 5 members and 400 examples; there are 6 keys",
        ),
        (
            {"resample": resampling.bootstrap(ORDER, 6, 300)},
            "resample is of 6 members and 300 examples",
        ),
        ({"plan": Plan(9)}, "the plan wants 9 devices, and JAX has 3"),
        ({"plan": Plan(chunk=0)}, "the plan has chunk 0"),
    ],
)
def test_bad_input_is_refused(small, change, message):
    with pytest.raises(jaxnet.InputError, match=message):
        jaxnet.fit_population(
            **{"model": MODEL, "splits": small, "recipes": RECIPE, "keys": KEYS, **change}
        )


def test_what_a_run_answers_a_population_answers_for_each_member(small, tmp_path):
    recipe = replace(RECIPE, learning_rate=np.float32([3e-3, 1e20, 1e-3]), epochs=3)
    many = jaxnet.fit_population(MODEL, small, recipe, KEYS[:3], order_key=ORDER)
    assert many.status == tuple(many[i].status for i in range(3))
    assert [status.split()[0] for status in many.status] == ["finished", "diverged", "finished"]
    found = jaxnet.evaluate(MODEL, many, small.test)
    for member, metrics in enumerate(found):
        alone = jaxnet.evaluate(MODEL, many[member], small.test)
        assert np.array_equal(metrics.wrong, alone.wrong)
        assert (metrics.error, metrics.accuracy) == (alone.error, alone.accuracy)
        for name, column in many[member].history._asdict().items():
            of_all = getattr(many.history, name)
            assert (of_all is None) == (column is None)
            assert column is None or np.array_equal(of_all[member], column, equal_nan=True)
    assert len(found) == len(many)
    assert many.history.train_loss.shape == (3, 3)

    for refused in (jaxnet.save, jaxnet.export):
        with pytest.raises(
            jaxnet.InputError, match=r"run holds 3 networks; give one of them: population\[i\]"
        ):
            refused(many, tmp_path / "all")
    assert not list(tmp_path.iterdir())
    with pytest.raises(jaxnet.InputError, match=r"the data set has classes .*give one with those"):
        jaxnet.evaluate(
            MODEL, many, jaxnet.split(np.eye(8, dtype=np.float32), np.arange(8) % 2, seed=0).train
        )
    for name in ("recipe", "best", "model", "classes", "chosen", "halved"):
        assert not hasattr(many, name)
        with pytest.raises(
            AttributeError,
            match=rf"a population has no {name}.*population\[i\].{name} .*population.run.{name}",
        ):
            getattr(many, name)
    with pytest.raises(AttributeError, match="'Population' object has no attribute 'color'"):
        _ = many.color


def test_of_values_and_of_several_structures(small):
    rng = np.random.default_rng(0)
    line = jaxnet.split(
        x := rng.normal(size=(90, 3)).astype(np.float32), x.sum(1), validation=0.0, seed=0
    )
    recipes = [
        jaxnet.Recipe(epochs=epochs, batch_size=32, schedule="constant", learning_rate=1e-3)
        for epochs in (1, 3, 1)
    ]
    many = jaxnet.fit_population(jaxnet.linear(), line, recipes, KEYS[:3])
    assert many.history.train_accuracy is None
    assert many.history.validation_loss is None
    for member, epochs in enumerate((1, 3, 1)):
        assert np.array_equal(
            many.history.train_loss[member, :epochs], many[member].history.train_loss
        )
        assert np.isnan(many.history.train_loss[member, epochs:]).all()
    assert many.status == (
        "finished after epoch 1",
        "finished after epoch 3",
        "finished after epoch 1",
    )
    with pytest.raises(
        jaxnet.InputError, match=r"2 different structures; take each from population.runs"
    ):
        jaxnet.evaluate(jaxnet.linear(), many, line.test)
    same = jaxnet.fit_population(jaxnet.linear(), line, recipes[0], KEYS[:2])
    found = jaxnet.evaluate(jaxnet.linear(), same, line.test)
    assert [each.rmse.estimate for each in found] == [
        jaxnet.evaluate(jaxnet.linear(), same[i], line.test).rmse.estimate for i in range(2)
    ]


def test_members_are_taken_by_number(small):
    many = jaxnet.fit_population(MODEL, small, RECIPE, KEYS[:2])
    assert gap(many[-1].params, many[1].params) == 0
    with pytest.raises(IndexError):
        many[2]
    assert len(list(many)) == 2


PROGRAM = """
import sys, jax, jaxnet
from jaxnet.data import resampling
from jaxnet.population.scheduler import Schedule

jaxnet.use_cpu_devices(int(sys.argv[2]))
if sys.argv[3]:
    jax.config.update("jax_compilation_cache_dir", sys.argv[3])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
splits = jaxnet.load("digits")
keys = jax.random.split(jax.random.key(0), 12)
samples = resampling.bootstrap(jax.random.key(1), 12, len(splits.train))
recipe = jaxnet.Recipe(epochs=60, batch_size=32, learning_rate=3e-3, patience=20)
plan = jaxnet.Plan(int(sys.argv[2]), chunk=1)
jaxnet.fit_population(
    jaxnet.mlp((16,)),
    splits,
    recipe,
    keys,
    resample=samples,
    plan=plan,
    out=sys.argv[1],
    schedule=Schedule(call_seconds=0.02),
)
"""


def _process(folder, devices):
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        PROGRAM,
        str(folder),
        str(devices),
        str(jax.config.jax_compilation_cache_dir or ""),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _trained(folder):
    """What all members predict: a digest of what they learned."""
    return [
        np.load(folder / f"predictions/{name}.npy") for name in ("validation", "test", "unseen")
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "p"
    _, errors = (process := _process(folder, 1)).communicate()
    assert process.returncode == 0, errors
    return folder


@pytest.mark.parametrize("kills", [1, pytest.param(KILLS, marks=pytest.mark.slow)])
def test_kills_at_random_moments_lose_nothing_whatever_the_devices(kills, undisturbed, tmp_path):
    """Kill -9 while it starts, trains, saves and predicts, on 1 to 3 devices in turn; then to the
    end.
    """
    folder, moments, killed = tmp_path / "p", np.random.default_rng(0), 0
    latest = 60 if kills > 1 else 20  # of some 42 lines in all: a lone kill must not come too late
    for kill in range(kills):
        process, log = _process(folder, 1 + kill % 3), folder / "log.txt"
        lines = log.read_text().count("group") if log.exists() else 0
        wanted = lines + int(moments.integers(0, latest))
        while (
            process.poll() is None
            and (log.read_text().count("group") if log.exists() else 0) < wanted
        ):
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.2))
        process.kill()
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors
        killed += process.returncode == -signal.SIGKILL
    process = _process(folder, 2)
    assert not process.communicate()[1]
    assert process.returncode == 0
    assert killed
    for a, b in zip(_trained(undisturbed), _trained(folder), strict=True):
        assert np.array_equal(a, b, equal_nan=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("hearing")
def test_a_signal_saves_and_the_population_continues(undisturbed, tmp_path, number):
    folder = tmp_path / "p"
    process, log = _process(folder, 2), folder / "log.txt"
    while process.poll() is None and (log.read_text().count("group") if log.exists() else 0) < 5:
        time.sleep(0.005)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode != 0
    assert f"Interrupted: stopped by {number.name} with " in errors
    assert log.read_text().splitlines()[-1] == "checkpoint"
    before = _trained_lines(log)
    process = _process(folder, 3)
    assert not process.communicate()[1]
    again = _trained_lines(log)[len(before) :]
    first = {
        member: int(line.split()[5])
        for line in reversed(again)
        for member in _members(line.split()[3])
    }
    last = {member: int(line.split()[5]) for line in before for member in _members(line.split()[3])}
    # no epoch twice
    assert all(first[member] > last[member] for member in first.keys() & last.keys())
    for a, b in zip(_trained(undisturbed), _trained(folder), strict=True):
        assert np.array_equal(a, b, equal_nan=True)


def _trained_lines(log):
    return [line for line in log.read_text().splitlines() if line.startswith("group")]

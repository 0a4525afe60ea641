"""Networks that vote as one network, and members with labels and inputs of their own."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet import InputError, Recipe
from jaxnet.data.resampling import all_but, fold_of
from jaxnet.models.combined import INPUTS, named, voting

MODEL, RECIPE = jaxnet.mlp((8,)), Recipe(epochs=2, learning_rate=0.01)


@pytest.fixture(scope="module")
def table():
    """300 rows of 5 inputs, 3 classes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)).astype("f4")
    y = np.digitize(x[:, 0] + 0.3 * rng.normal(size=300), [-0.5, 0.5])
    return jaxnet.split(x, y, seed=0)


@pytest.fixture(scope="module")
def networks(table):
    return jaxnet.fit_population(MODEL, table, RECIPE, jax.random.split(jax.random.key(1), 3))


def test_networks_that_vote_predict_the_mean_of_their_probabilities(table, networks):
    model, run = jaxnet.ensemble(MODEL, networks)
    x = np.asarray(table.test.x)
    wanted = np.exp(np.asarray(jaxnet.predict(MODEL, networks, x), float)).mean(0)
    found = np.exp(np.asarray(jaxnet.predict(model, run, x), float))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    right = (wanted.argmax(1) == np.asarray(table.test.y)).mean()
    assert jaxnet.evaluate(model, run, table.test).error.estimate == pytest.approx(1 - right)
    assert run.model == model.name == f"voting({MODEL.name}, networks=3)"
    assert named(model.name) == model
    layers = jaxnet.describe(model, table)
    assert layers[-1][2] == 3 * jaxnet.describe(MODEL, table)[-1][2]


def test_networks_that_vote_on_values_predict_the_mean(table):
    values = jaxnet.split(np.asarray(table.train.x), np.asarray(table.train.x)[:, 1] * 7 + 3)
    networks = jaxnet.fit_population(MODEL, values, RECIPE, jax.random.split(jax.random.key(1), 2))
    x = np.asarray(values.test.x)
    wanted = np.asarray(jaxnet.predict(MODEL, networks, x)).mean(0)
    found = np.asarray(jaxnet.predict(*jaxnet.ensemble(MODEL, networks), x))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("task", ["regression", "multi-label"])
def test_networks_vote_on_several_values_and_labels(table, task, tmp_path):
    x = np.asarray(table.train.x)
    y = x[:, :2] * [7, 700] + 3 if task == "regression" else (x[:, :3] > 0).astype(int)
    several = jaxnet.split(x, y, task=task)
    networks = jaxnet.fit_population(MODEL, several, RECIPE, jax.random.split(jax.random.key(1), 3))
    model, run = jaxnet.ensemble(MODEL, networks)
    x = np.asarray(several.test.x)
    alone = np.asarray(jaxnet.predict(MODEL, networks, x), float)
    wanted = alone.mean(0) if task == "regression" else np.log(np.exp(alone).mean(0))
    np.testing.assert_allclose(jaxnet.predict(model, run, x), wanted, rtol=1e-4, atol=1e-6)
    jaxnet.save(run, tmp_path / "run")
    again = jaxnet.restore(tmp_path / "run")
    assert named(again.model) == model
    np.testing.assert_allclose(jaxnet.predict(named(again.model), again, x), wanted, rtol=1e-4)


def test_a_vote_is_saved_and_exported_as_one_network(table, networks, tmp_path):
    model, run = jaxnet.ensemble(MODEL, networks)
    jaxnet.save(run, tmp_path / "run")
    again = jaxnet.restore(tmp_path / "run")
    x = np.asarray(table.test.x)
    wanted = np.asarray(jaxnet.predict(model, run, x))
    np.testing.assert_array_equal(np.asarray(jaxnet.predict(named(again.model), again, x)), wanted)
    jaxnet.export(run, tmp_path / "exported")
    program = jax.export.deserialize((tmp_path / "exported/model.stablehlo").read_bytes())
    np.testing.assert_allclose(np.asarray(program.call(x)), wanted, atol=1e-6)


def test_diverged_networks_do_not_vote(table):
    recipe = replace(RECIPE, learning_rate=np.array([0.01, 1e38, 0.01], np.float32))
    networks = jaxnet.fit_population(MODEL, table, recipe, jax.random.split(jax.random.key(1), 3))
    assert networks.diverged.tolist() == [False, True, False]
    model, run = jaxnet.ensemble(MODEL, networks)
    assert model == voting(MODEL, 2)
    assert not run.diverged
    x = np.asarray(table.test.x)
    wanted = np.exp(np.asarray(jaxnet.predict(MODEL, networks, x))[[0, 2]]).mean(0)
    np.testing.assert_allclose(np.exp(np.asarray(jaxnet.predict(model, run, x))), wanted, atol=1e-6)
    lost = jax.tree.map(lambda leaf: leaf[1:2], networks.run)
    with pytest.raises(InputError, match="all 1 networks diverged"):
        jaxnet.ensemble(MODEL, replace(networks, runs=(lost,), members=(np.arange(1),)))


def test_networks_that_vote_are_not_trained_as_one(table):
    with pytest.raises(InputError, match="trained each by itself"):
        jaxnet.fit(voting(MODEL, 2), table, RECIPE, jax.random.key(0))


def test_a_member_with_its_own_labels_is_trained_as_on_a_data_set_with_them(table):
    y = np.asarray(table.train.y)
    own = np.where(np.arange(len(y)) % 7 == 0, (y + 1) % 3, y)
    samples = all_but(fold_of(table.train, 2), [0, 1])
    keys = jax.random.split(jax.random.key(2), 2)
    found = jaxnet.fit_population(MODEL, table, RECIPE, keys, resample=samples, labels=[None, own])
    splits = replace(table, train=replace(table.train, y=own))
    for member, data in enumerate((table, splits)):
        alone = jaxnet.fit(MODEL, data, RECIPE, keys[member], **samples.alone(member))
        for one, other in zip(
            jax.tree.leaves(found[member].params), jax.tree.leaves(alone.params), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-6)
        other_data = jaxnet.fit(
            MODEL, (splits, table)[member], RECIPE, keys[member], **samples.alone(member)
        )
        assert not np.allclose(
            found[member].params["output"]["kernel"], other_data.params["output"]["kernel"]
        )


def test_members_that_do_not_use_some_inputs_share_a_program(table):
    model, used = jaxnet.without_inputs(MODEL, ()), np.ones((3, 5), np.float32)
    used[0, [1, 3]], used[1, 0] = 0, 0
    keys = jax.random.split(jax.random.key(2), 3)
    states = [{INPUTS: each} for each in used]
    found = jaxnet.fit_population(model, table, RECIPE, keys, model_states=states)
    assert len(found.runs) == 1
    x, rng = np.asarray(table.test.x), np.random.default_rng(0)
    for member, inputs in enumerate(((1, 3), (0,), ())):
        one = jaxnet.without_inputs(MODEL, inputs)
        alone = jaxnet.fit(one, table, RECIPE, keys[member])
        wanted = np.asarray(jaxnet.predict(one, alone, x))
        changed = x.copy()
        changed[:, list(inputs)] = rng.normal(size=(len(x), len(inputs)))
        # the run itself says which inputs it uses
        np.testing.assert_allclose(
            np.asarray(jaxnet.predict(model, found[member], changed)), wanted, atol=1e-5
        )
        assert named(one.name) == one
        assert not np.allclose(
            np.asarray(jaxnet.predict(one, alone, x[:, ::-1])), wanted, atol=1e-3
        )
    plain = jaxnet.fit(MODEL, table, RECIPE, keys[2])
    kernels = (each.params["output"]["kernel"] for each in (plain, found[2]))
    np.testing.assert_allclose(*map(np.asarray, kernels), atol=1e-6)


def test_a_network_without_inputs_is_saved_and_exported(table, tmp_path):
    model = jaxnet.without_inputs(MODEL, (0, 4))
    run = jaxnet.fit(model, table, RECIPE, jax.random.key(0))
    jaxnet.save(run, tmp_path / "run")
    again = jaxnet.restore(tmp_path / "run")
    x = np.asarray(table.test.x)
    wanted = np.asarray(jaxnet.predict(model, run, x))
    np.testing.assert_array_equal(np.asarray(jaxnet.predict(named(again.model), again, x)), wanted)
    jaxnet.export(run, tmp_path / "exported")
    program = jax.export.deserialize((tmp_path / "exported/model.stablehlo").read_bytes())
    np.testing.assert_allclose(np.asarray(program.call(x)), wanted, atol=1e-6)


def test_what_cannot_be_meant_is_refused(table):
    keys = jax.random.split(jax.random.key(0), 2)
    with pytest.raises(InputError, match=r"labels\[1\] have shape \(3,\)"):
        jaxnet.fit_population(MODEL, table, RECIPE, keys, labels=[None, np.zeros(3, int)])
    with pytest.raises(InputError, match="1 labels for 2 keys"):
        jaxnet.fit_population(MODEL, table, RECIPE, keys, labels=[None])
    model = jaxnet.without_inputs(MODEL, ())
    for states, match in (
        ([{INPUTS: np.ones(4, np.float32)}, None], r"model_states\[0\]\['inputs'\] has 4 numbers"),
        ([None, {"input": np.ones(5, np.float32)}], r"unknown part of model_states\[1\] 'input'"),
    ):
        with pytest.raises(InputError, match=match):
            jaxnet.fit_population(model, table, RECIPE, keys, model_states=states)
    with pytest.raises(InputError, match="inputs has 5, but there are 5 inputs"):
        jaxnet.fit(jaxnet.without_inputs(MODEL, (5,)), table, RECIPE, keys[0])
    with pytest.raises(InputError, match=r"inputs\[0\] is -1"):
        jaxnet.without_inputs(MODEL, (-1,))

"""Checkpoints: whole or not at all, structures kept, hostile and broken ones refused."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import gap

import jaxnet
from jaxnet.checkpoint import describe_recipe
from jaxnet.loop import train

pytestmark = pytest.mark.core

KEY, MODEL = jax.random.key(0), jaxnet.mlp((8,))


@pytest.fixture(scope="module")
def run(digits):
    return jaxnet.fit(MODEL, digits, jaxnet.Recipe(epochs=1), KEY)


def test_structures_of_dicts_lists_and_tuples_survive(digits, tmp_path):
    def init(key, x):
        return {"a": [jnp.zeros((64, 10)), (jnp.zeros(10), {})], "b": None}, {}

    def apply(params, model_state, x, *, key=None, dropout=None):
        kernel, (bias, _) = params["a"]
        return x.reshape(len(x), -1) @ kernel + bias[None], model_state

    model = jaxnet.Model(init, apply, "plain")
    run = jaxnet.fit(model, digits, jaxnet.Recipe(epochs=1), KEY)
    jaxnet.save(run, tmp_path / "run")
    again = jaxnet.restore(tmp_path / "run")
    assert jax.tree.structure(run.params) == jax.tree.structure(again.params)
    assert gap(run.params, again.params) == 0


def test_a_regression_without_validation_round_trips(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3)).astype(np.float32)
    splits = jaxnet.split(x, x[:, 0] * 5 + 100, validation=0.0)
    run = jaxnet.fit(jaxnet.linear(), splits, jaxnet.Recipe(epochs=1), KEY)
    jaxnet.save(run, str(tmp_path / "run"))
    again = jaxnet.restore(str(tmp_path / "run"))
    assert again.best is None
    assert again.classes is None
    assert np.array_equal(*(jaxnet.predict(jaxnet.linear(), r, x) for r in (run, again)))


def test_an_existing_path_is_not_overwritten(run, tmp_path):
    with pytest.raises(jaxnet.InputError, match="exists already; give another path"):
        jaxnet.save(run, tmp_path)


def test_parameters_of_unknown_containers_are_refused(run, tmp_path):
    from collections import OrderedDict
    from dataclasses import replace

    odd = replace(run, params={"a": {1: jnp.ones(2)}})
    with pytest.raises(jaxnet.InputError, match=r"params.a is a dict, which cannot be saved"):
        jaxnet.save(odd, tmp_path / "run")
    odd = replace(run, params=[slice(1)])
    with pytest.raises(jaxnet.InputError, match=r"params\[0\] is a slice"):
        jaxnet.save(odd, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    jaxnet.save(replace(run, params=OrderedDict(run.params)), tmp_path / "ordered")


def _break(name):
    def act(path):
        files = {p.name: p for p in path.rglob("*") if p.is_file()}
        if name == "empty folder":
            shutil.rmtree(path)
            path.mkdir()
        elif name == "array lost":
            shutil.rmtree(path / "state")
        elif name == "array cut":
            for file in (path / "state").rglob("*"):
                if file.is_file() and file.stat().st_size > 300:
                    file.write_bytes(file.read_bytes()[:100])
        else:
            meta = files["_CHECKPOINT_METADATA"]
            about = json.loads(meta.read_text())
            custom = about["custom_metadata"]
            {
                "other format": lambda: custom.update(jaxnet=99),
                "no arrays": lambda: custom.pop("arrays"),
                "other shape": lambda: custom["arrays"]["params"]["dict"]["output"]["dict"]["bias"].update(shape=[11]),
                "other optimizer field": lambda: custom["recipe"].pop("optimizer"),
                "no json": lambda: None,
            }[name]()
            meta.write_text("{" if name == "no json" else json.dumps(about))

    return act


@pytest.mark.parametrize(
    "name", ["empty folder", "array lost", "array cut", "other format", "no arrays", "other optimizer field", "no json"]
)
def test_broken_checkpoints_are_refused(run, tmp_path, name):
    jaxnet.save(run, tmp_path / "run")
    _break(name)(tmp_path / "run")
    with pytest.raises(jaxnet.InputError, match=str(tmp_path / "run")):
        jaxnet.restore(tmp_path / "run")


def test_nothing_at_the_path(tmp_path):
    with pytest.raises(jaxnet.InputError, match="no such checkpoint"):
        jaxnet.restore(tmp_path / "none")


def test_no_file_is_a_pickle(run, tmp_path):
    jaxnet.save(run, tmp_path / "run")
    assert not [p for p in (tmp_path / "run").rglob("*") if p.is_file() and p.read_bytes()[:1] == b"\x80"]


def test_another_training_in_the_folder_is_refused_by_its_difference(digits, tmp_path):
    few = jaxnet.Recipe(epochs=2)
    train(MODEL, digits, few, KEY, out=tmp_path)
    with pytest.raises(jaxnet.InputError, match=r"recipe.learning_rate was 0.001 and is now 0.002"):
        train(MODEL, digits, jaxnet.Recipe(epochs=2, learning_rate=2e-3), KEY, out=tmp_path)
    with pytest.raises(jaxnet.InputError, match=r"model was 'mlp\(hidden=\(8,\), activation=relu\)' and is now"):
        train(jaxnet.mlp((9,)), digits, few, KEY, out=tmp_path)
    with pytest.raises(jaxnet.InputError, match=r"data\.checksum was"):
        train(MODEL, jaxnet.load("digits", seed=1), few, KEY, out=tmp_path)
    with pytest.raises(jaxnet.InputError, match="key was"):
        train(MODEL, digits, few, jax.random.key(1), out=tmp_path)


def test_an_unreadable_newest_state_falls_back_to_the_one_before(digits, tmp_path):
    class Stop(Exception):
        pass

    def stop_at(epoch):
        def watch(done, row):
            if done == epoch:
                raise Stop

        return watch

    few = jaxnet.Recipe(epochs=4)
    with pytest.raises(Stop):
        train(MODEL, digits, few, KEY, out=tmp_path, watch=stop_at(2))
    (first,) = (tmp_path / "state").iterdir()
    assert first.name == "00000001"
    for number in (2, 3, 4):
        (tmp_path / f"state/{number:08d}").mkdir(exist_ok=True)
    (tmp_path / "state/mine").mkdir()
    began = []
    train(MODEL, digits, few, KEY, out=tmp_path, watch=lambda done, row: began.append(done))
    assert began[0] == int(first.name)
    assert {path.name for path in (tmp_path / "state").iterdir()} == {"mine", "00000004"}


def test_recipes_are_described_by_short_decimals():
    described = describe_recipe(jaxnet.Recipe(learning_rate=jnp.float32(1e-3), dropout=0.1))
    assert (described["learning_rate"], described["dropout"], described["clip"]) == (0.001, 0.1, None)

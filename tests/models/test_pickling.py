"""Models, recipes, runs and estimators as pickles: the same when they are loaded, or refused with
what to do instead.
"""

import copy
import functools
import importlib.util
import io
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import jaxnet

pytestmark = pytest.mark.core

KEY = jax.random.key(0)


class Linen(nn.Module):
    width: int = 8
    activation: object = nn.relu

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(self.width)(x))
        return nn.Dense(2)(nn.Dropout(0.2, deterministic=not train)(self.activation(x)))


class Nnx(nnx.Module):
    def __init__(self, width=8, *, rngs):
        self.first, self.second = nnx.Linear(3, width, rngs=rngs), nnx.Linear(width, 2, rngs=rngs)

    def __call__(self, x):
        return self.second(nnx.relu(self.first(x)))


def nnx_net(rngs):
    return Nnx(rngs=rngs)


def init(key, x):
    return {"w": jax.random.normal(key, (3, 2))}, {}


def apply(params, model_state, x, *, key=None, dropout=None):
    return x @ params["w"], model_state


MODELS = {
    "mlp": lambda: jaxnet.mlp((8,), normalization="batch"),
    "linear": jaxnet.linear,
    "linen": lambda: jaxnet.Model.from_linen(Linen()),
    "linen with other fields": lambda: jaxnet.Model.from_linen(Linen(4, jnp.tanh)),
    "linen in a row": lambda: jaxnet.Model.from_linen(
        nn.Sequential([nn.Dense(8), nn.silu, nn.LayerNorm(), nn.Dense(2)])
    ),
    "linen with an initializer": lambda: jaxnet.Model.from_linen(
        nn.Dense(2, bias_init=nn.initializers.zeros)
    ),
    "nnx": lambda: jaxnet.Model.from_nnx(nnx_net),
    "nnx class": lambda: jaxnet.Model.from_nnx(Nnx),
    "nnx partial": lambda: jaxnet.Model.from_nnx(functools.partial(Nnx, 4)),
    "functions": lambda: jaxnet.Model(init, apply, "of one's own"),
}


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int)


@pytest.mark.parametrize("name", MODELS)
def test_a_pickle_or_copy_of_a_model_is_an_equal_model(name):
    model = MODELS[name]()
    for other in (
        MODELS[name](),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        copy.copy(model),
    ):
        assert other == model
        assert hash(other) == hash(model)
        assert other.name == model.name


def test_models_that_differ_stay_different():
    nets = (
        [functools.partial(Nnx, width) for width in (4, 5)]
        + [functools.partial(Nnx, width=width) for width in (4, 5)]
        + [Nnx]
    )
    models = [jaxnet.Model.from_nnx(net) for net in nets] + [
        jaxnet.Model.from_linen(Linen(width)) for width in (4, 5)
    ]
    assert len(set(pickle.loads(pickle.dumps(models)))) == len(set(models)) == len(models)
    same = [
        jaxnet.Model.from_nnx(functools.partial(nnx.Linear, 3, 2, use_bias=bias))
        for bias in (1, True)
    ]
    assert same[0] != same[1]


def test_a_loaded_model_compiles_nothing_anew(data, compilations):
    splits = jaxnet.split(*data, seed=0)
    for name in ("linen", "nnx partial"):
        model = MODELS[name]()
        run = jaxnet.fit(model, splits, jaxnet.Recipe(epochs=1), KEY)
        wanted = jaxnet.predict(model, run, data[0])
        before = len(compilations)
        for other in (MODELS[name](), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            assert np.array_equal(
                jaxnet.predict(other, pickle.loads(pickle.dumps(run)), data[0]), wanted
            )
        assert len(compilations) == before


def test_another_process_predicts_the_same(data, tmp_path):
    splits = jaxnet.split(*data, seed=0)
    runs = {
        name: (MODELS[name](), jaxnet.fit(MODELS[name](), splits, jaxnet.Recipe(epochs=1), KEY))
        for name in ("linen", "nnx")
    }
    (tmp_path / "runs").write_bytes(
        pickle.dumps(
            (data[0], runs, {name: jaxnet.predict(*run, data[0]) for name, run in runs.items()})
        )
    )
    script = (
        "import pickle, sys, numpy as np, jaxnet\n"
        "x, runs, wanted = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print([np.abs(jaxnet.predict(*run, x) - wanted[name]).max() < 1e-6 for name, run in "
        "runs.items()])"
    )
    where = {"PYTHONPATH": ":".join(sys.path), "JAX_PLATFORMS": "cpu", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "runs"],
        capture_output=True,
        text=True,
        env=where,
        check=False,
    )
    assert done.stdout.strip() == "[np.True_, np.True_]", done.stderr


def test_runs_populations_splits_and_recipes(data):
    splits = jaxnet.split(*data, seed=0)
    recipe = jaxnet.Recipe(optimizer=optax.adam, epochs=2, augmentation=None, dropout=0.1)
    assert pickle.loads(pickle.dumps(recipe)) == copy.deepcopy(recipe) == recipe
    many = jaxnet.fit_population(jaxnet.mlp((4,)), splits, recipe, jax.random.split(KEY, 3))
    for value in (recipe, splits, many[0], many.run):
        other = pickle.loads(pickle.dumps(value))
        assert jax.tree.structure(other) == jax.tree.structure(value)
        jax.tree.map(np.testing.assert_array_equal, other, value)
    assert pickle.loads(pickle.dumps(many))[2].status == many[2].status


@pytest.mark.parametrize("kind", ["JaxnetClassifier", "JaxnetRegressor"])
@pytest.mark.parametrize("name", [None, "linen", "linen in a row", "nnx", "nnx partial"])
def test_a_fitted_estimator(data, kind, name):
    pytest.importorskip("sklearn")
    import joblib
    from sklearn.base import clone

    x, y = data
    if kind == "JaxnetRegressor":
        model = (
            None
            if name is None
            else {
                "linen": nn.Dense(1),
                "linen in a row": nn.Sequential([nn.Dense(4), nn.relu, nn.Dense(1)]),
            }.get(name)
        )
        model = jaxnet.Model.from_linen(model) if model is not None else None
        if name is not None and model is None:
            model = jaxnet.Model.from_nnx(functools.partial(nnx.Linear, 3, 1))
    else:
        model = None if name is None else MODELS[name]()
    fitted = getattr(jaxnet, kind)((8,), model=model, epochs=1, random_state=0).fit(x, y)
    file = io.BytesIO()
    joblib.dump(fitted, file)
    file.seek(0)
    for other in (pickle.loads(pickle.dumps(fitted)), joblib.load(file), copy.deepcopy(fitted)):
        assert np.array_equal(other.predict(x), fitted.predict(x))
        assert other.model_ == fitted.model_
    assert clone(fitted).model == model


def lambdas():
    class Local(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(x)

    return {
        "nnx": (lambda: jaxnet.Model.from_nnx(lambda rngs: Nnx(rngs=rngs)), "Nnx"),
        "partial of a lambda": (
            lambda: jaxnet.Model.from_nnx(
                functools.partial(lambda width, rngs: Nnx(width, rngs=rngs), 4)
            ),
            "Nnx",
        ),
        "linen": (lambda: jaxnet.Model.from_linen(Local()), "Local"),
        "linen with a lambda": (
            lambda: jaxnet.Model.from_linen(Linen(activation=lambda x: x)),
            "Linen",
        ),
        "functions": (lambda: jaxnet.Model(lambda key, x: ({}, {}), apply, "own"), "own"),
    }


@pytest.mark.parametrize("name", lambdas())
def test_what_has_no_name_is_refused_with_the_cure(name, data):
    make, named = lambdas()[name]
    model = make()
    refusal = rf"the model {named}.* cannot be pickled .*top of a module.*lambda"
    for value in (model, {"model": model}):
        with pytest.raises(jaxnet.InputError, match=refusal):
            pickle.dumps(value)
    assert copy.deepcopy(model) == model
    if importlib.util.find_spec("joblib"):
        import joblib

        with pytest.raises(jaxnet.InputError, match=refusal):
            joblib.dump(model, io.BytesIO())


@pytest.mark.parametrize("name", lambdas())
def test_cloudpickle_stores_what_has_no_name(name):
    # joblib sends estimators to its workers in this way
    cloudpickle = pytest.importorskip("cloudpickle")
    model = lambdas()[name][0]()
    assert pickle.loads(cloudpickle.dumps(model)).name == model.name


def test_an_optimizer_without_a_name_is_refused_with_the_cure(data):
    for optimizer in (lambda rate: optax.adam(rate), optax.adam(1e-3)):
        recipe = jaxnet.Recipe(optimizer=optimizer, learning_rate=None)
        with pytest.raises(
            jaxnet.InputError, match=r"the optimizer cannot be pickled .*top of a module"
        ):
            pickle.dumps(recipe)
        assert copy.deepcopy(recipe).optimizer == optimizer
        if importlib.util.find_spec("sklearn"):
            with pytest.raises(
                jaxnet.InputError, match=r"the optimizer cannot be pickled .*top of a module"
            ):
                pickle.dumps(jaxnet.JaxnetClassifier(optimizer=optimizer))

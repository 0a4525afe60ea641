"""Models: shapes, initialization, dropout, batch statistics, equality; and the convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import gap, shuffled
from flax import linen as nn
from flax import nnx

import jaxnet
from jaxnet.models.convolution import conv_general_dilated, max_pool
from jaxnet.models.layers import dropout

pytestmark = pytest.mark.core

KEY = jax.random.key(0)
MODELS = {
    "linear": jaxnet.linear,
    "mlp": lambda: jaxnet.mlp((16, 8)),
    "mlp layer gelu": lambda: jaxnet.mlp((16,), activation="gelu", normalization="layer"),
    "mlp batch tanh": lambda: jaxnet.mlp((16,), activation="tanh", normalization="batch"),
    "cnn": lambda: jaxnet.cnn((4,), (8,)),
    "cnn batch silu": lambda: jaxnet.cnn(
        (4, 6), (8,), kernel=2, activation="silu", normalization="batch"
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_model_learns_and_equal_builders_give_one_model(name, digits):
    model = MODELS[name]()
    assert model is MODELS[name]()
    assert model.for_outputs(10) == MODELS[name]().for_outputs(10)
    recipe = jaxnet.Recipe(
        epochs=15, batch_size=64, learning_rate=1e-2, dropout=0.05, schedule="constant"
    )
    run = jaxnet.fit(model, digits, recipe, KEY)
    assert jaxnet.evaluate(model, run, digits.test).accuracy.estimate > 0.85


@pytest.mark.parametrize("name", MODELS)
def test_initial_parameters_have_the_shapes_of_linen_and_the_variance_of_he(name):
    model = MODELS[name]().for_outputs(10)
    x = jnp.zeros((1, 8, 8))
    params, state = model.init(KEY, x)
    theirs = jax.eval_shape(lambda key: model.apply.module.init(key, x), KEY)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, theirs["params"])
    assert jax.tree.map(jnp.shape, state) == {
        k: jax.tree.map(jnp.shape, v) for k, v in theirs.items() if k != "params"
    }
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        where = jax.tree_util.keystr(path)
        if leaf.ndim > 1:
            wanted = (1 if "output" in where else 2) / np.prod(leaf.shape[:-1])
            assert abs(float(jnp.var(leaf)) / wanted - 1) < 6 / np.sqrt(leaf.size)
        else:
            assert (leaf == (1 if "scale" in where else 0)).all()
    outputs, _ = model.apply(params, state, x, key=None, dropout=None)
    assert outputs.shape == (1, 10)


def test_describe_counts_parameters(digits):
    rows = jaxnet.describe(jaxnet.mlp((128, 64)), digits)
    assert rows[0] == ("hidden_0", "128 + 64x128", 64 * 128 + 128)
    assert rows[-1] == ("total", "", 64 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: jaxnet.mlp((16, 0)),
            r"hidden is \(16, 0\); every width must be a whole number of at least 1",
        ),
        (lambda: jaxnet.mlp((16,), activation="rule"), "unknown activation 'rule'; known are relu"),
        (lambda: jaxnet.mlp((16,), normalization="group"), "unknown normalization 'group'"),
        (lambda: jaxnet.cnn(kernel=0), r"kernel is \(0,\)"),
        (lambda: jaxnet.mlp().init(KEY, jnp.zeros((1, 3))), "does not know its number of outputs"),
    ],
)
def test_bad_models_are_refused(make, message):
    with pytest.raises(jaxnet.InputError, match=message):
        make()


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_drops_the_share(rate):
    x = jnp.ones((400, 500))
    dropped = jax.jit(dropout)(x, KEY, jnp.float32(rate))
    n = x.size
    assert abs(float((dropped == 0).mean()) - rate) < 5 * np.sqrt(rate * (1 - rate) / n) + 1e-4
    assert abs(float(dropped.mean()) - 1) < 5 * np.sqrt(rate / (1 - rate) / n) + 1e-3
    kept = np.asarray(dropped[dropped != 0])
    np.testing.assert_allclose(kept, 1 / (1 - rate), rtol=1e-6)


def test_dropout_rate_zero_is_no_dropout(digits):
    off, zero = (
        jaxnet.fit(jaxnet.mlp((16,)), digits, jaxnet.Recipe(epochs=2, dropout=rate), KEY)
        for rate in (None, 0.0)
    )
    assert gap(off.params, zero.params) < 1e-6


def test_batch_statistics_are_those_of_flax_on_the_same_batches(digits):
    """Our loop on one hand; Flax's module stepped by hand on the other, same rows."""
    model, few = (
        jaxnet.mlp((16,), normalization="batch").for_outputs(10),
        jaxnet.Recipe(
            optimizer="sgd", learning_rate=0.0, epochs=1, batch_size=100, schedule="constant"
        ),
    )
    run = jaxnet.fit(model, digits, few, KEY)
    state = jaxnet.start(model, digits, few, KEY)
    rows = np.asarray(shuffled(state.order_key, len(digits.train), 100))
    x = digits.standardization.inputs(digits.train.x)
    variables = {"params": state.params, **state.model_state}
    for batch in rows:
        _, changed = model.apply.module.apply(variables, x[batch], key=KEY, mutable=["batch_stats"])
        variables |= changed
    assert gap(run.model_state, {"batch_stats": variables["batch_stats"]}) < 1e-5
    assert gap(run.model_state, state.model_state) > 0.1


CASES = [
    ("SAME", 3, 9),
    ("VALID", 3, 8),
    ("SAME", 2, 8),
    ("VALID", 5, 7),
    (((1, 2), (0, 1)), 3, 6),
    ("SAME", 4, 9),
    (((3, 3), (3, 3)), 3, 6),
]


@pytest.mark.parametrize(("padding", "size", "side"), CASES)
def test_convolution_and_its_gradients_are_those_of_lax(padding, size, side):
    ours = lambda x, k: conv_general_dilated(x, k, (1, 1), padding)  # noqa: E731

    def theirs(x, k):
        return jax.lax.conv_general_dilated(
            x, k, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    keys = jax.random.split(KEY, 3)
    x, k = (
        jax.random.normal(keys[0], (4, side, side + 1, 3)),
        jax.random.normal(keys[1], (size, size, 3, 5)),
    )
    a, b = jax.vjp(ours, x, k), jax.vjp(theirs, x, k)
    assert gap(a[0], b[0]) < 1e-4
    g = jax.random.normal(keys[2], a[0].shape)
    assert gap(a[1](g), b[1](g)) < 1e-3
    many = jnp.stack([k, 2 * k])
    assert (
        gap(jax.vmap(lambda k: jax.grad(lambda k: (ours(x, k) * g).sum())(k))(many)[1], b[1](g)[1])
        < 1e-3
    )


def test_strided_and_grouped_convolutions_fall_back_to_lax():
    x, k = jnp.ones((1, 6, 6, 4)), jnp.ones((3, 3, 2, 4))
    numbers = jax.lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
    grouped = conv_general_dilated(
        x, k, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=2
    )
    strided = conv_general_dilated(
        x, jnp.ones((3, 3, 4, 4)), (2, 2), "SAME", dimension_numbers=numbers
    )
    assert grouped.shape == (1, 6, 6, 4)
    assert strided.shape == (1, 3, 3, 4)


@pytest.mark.parametrize("side", [4, 7])
def test_max_pool_is_that_of_flax(side):
    x = jax.random.normal(KEY, (2, side, side, 3))
    assert gap(max_pool(x), nn.max_pool(x, (2, 2), strides=(2, 2))) == 0


class Named(nn.Module):
    width: int = 8
    activation: object = nn.relu

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(self.activation(nn.Dense(self.width)(x.reshape(len(x), -1))))


class NamedNnx(nnx.Module):
    def __init__(self, activation=nnx.relu, *, rngs):
        self.activation = activation
        self.hidden, self.out = nnx.Linear(64, 8, rngs=rngs), nnx.Linear(8, 10, rngs=rngs)

    def __call__(self, x):
        return self.out(self.activation(self.hidden(x.reshape(len(x), -1))))


def _custom(width, activation):
    net = jaxnet.Model.from_linen(Named(width, activation))
    return jaxnet.Model(net.init, net.apply)


# What was trained, another model, and what the message says of each.
OTHERS = {
    "activation": (
        lambda: jaxnet.mlp((8,)),
        lambda: jaxnet.mlp((8,), activation="tanh"),
        "hidden=(8,), activation=relu",
        "hidden=(8,), activation=tanh",
    ),
    "kind": (
        lambda: jaxnet.mlp((8,)),
        jaxnet.linear,
        "hidden=(8,), activation=relu",
        "mlp(hidden=())",
    ),
    "linen function": (
        lambda: jaxnet.Model.from_linen(Named()),
        lambda: jaxnet.Model.from_linen(Named(activation=nn.tanh)),
        "Named(width=8)",
        "Named(width=8, activation=tanh)",
    ),
    "linen list": (
        lambda: jaxnet.Model.from_linen(nn.Sequential([_flat, nn.Dense(8), nn.relu, nn.Dense(10)])),
        lambda: jaxnet.Model.from_linen(nn.Sequential([_flat, nn.Dense(8), nn.tanh, nn.Dense(10)])),
        "Dense(features=8), relu",
        "Dense(features=8), tanh",
    ),
    "nnx function": (
        lambda: jaxnet.Model.from_nnx(NamedNnx),
        lambda: jaxnet.Model.from_nnx(_nnx_tanh),
        "NamedNnx(activation=relu)",
        "NamedNnx(activation=tanh)",
    ),
    "own name": (
        lambda: _custom(8, nn.relu),
        lambda: _custom(8, nn.relu)._replace(name="other"),
        "custom",
        "other",
    ),
    "shape": (lambda: _custom(8, nn.relu), lambda: _custom(9, nn.relu), "(8, 10)", "(9, 10)"),
}


def _flat(x):
    return x.reshape(len(x), -1)


def _nnx_tanh(rngs):
    return NamedNnx(nnx.tanh, rngs=rngs)


QUICK = ("activation", "linen function", "nnx function", "own name")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in OTHERS]
)
def test_a_model_that_was_not_trained_is_refused_wherever_it_meets_the_run(name, digits, tmp_path):
    make, make_other, said, other_said = OTHERS[name]
    model, other, x = make(), make_other(), digits.test.x[:5]
    few = jaxnet.Recipe(epochs=1, batch_size=500)
    run = jaxnet.fit(model, digits, few, KEY)
    many = jaxnet.fit_population(model, digits, few, jax.random.split(KEY, 2))
    before = jaxnet.predict(model, run, x)
    meetings = {
        "predict": lambda: jaxnet.predict(other, run, x),
        "jit": lambda: jax.jit(lambda run, x: jaxnet.predict(other, run, x))(run, x),
        "vmap": lambda: jax.vmap(lambda run: jaxnet.predict(other, run, x))(many.run),
        "evaluate": lambda: jaxnet.evaluate(other, run, digits.test),
        "population": lambda: jaxnet.predict(other, many, x),
        "export": lambda: jaxnet.export(run, tmp_path / "exported", model=other),
    }
    for where, meet in meetings.items():
        with pytest.raises(jaxnet.InputError, match="give the model that was trained") as refused:
            meet()
        assert said in str(refused.value), where
        assert other_said in str(refused.value), where
    assert np.array_equal(jaxnet.predict(model, run, x), before)
    assert jax.vmap(lambda run: jaxnet.predict(model, run, x))(many.run).shape == (2, 5, 10)
    np.testing.assert_allclose(
        jaxnet.predict(make(), many, x)[1], jaxnet.predict(model, many[1], x), atol=1e-5
    )

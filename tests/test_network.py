"""Networks as a page computes them, in Chromium, against what predict says of them."""

import dataclasses
import functools
import itertools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxnet
from jaxnet.errors import InputError
from jaxnet.interop import program as programs
from jaxnet.models.model import initial, with_outputs
from jaxnet.report.html import network as network_module
from jaxnet.report.html.network import network

KEY = jax.random.key(0)
SCRIPT = Path(network_module.__file__).with_name("network.js").read_text()
IMAGES = 100


class Linen(nn.Module):
    """Pooling, dropout, batch and group normalization, and convolutions of many kinds."""

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.Conv(12, (3, 3), use_bias=False)(x[..., None])
        x = nn.gelu(nn.BatchNorm(use_running_average=not train)(x), approximate=False)
        x = x + nn.elu(nn.Conv(12, (3, 3), feature_group_count=12)(x))
        x = nn.GroupNorm(4)(nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME"))
        squeezed = nn.sigmoid(nn.Dense(12)(nn.relu(nn.Dense(4)(x.mean((1, 2))))))
        x = nn.Conv(16, (2, 2), kernel_dilation=(2, 1), feature_group_count=4, padding="VALID")(
            x * squeezed[:, None, None]
        )
        x = nn.avg_pool(
            nn.leaky_relu(x), (2, 2), strides=(1, 1), padding="SAME", count_include_pad=False
        )
        x = nn.Dropout(0.2, deterministic=not train)(x)
        x = nn.softplus(nn.ConvTranspose(8, (3, 3), strides=(2, 2))(x))
        return nn.Dense(10)(x.mean((1, 2)))


class Attention(nn.Module):
    """A vision transformer of patches of 2 x 2."""

    @nn.compact
    def __call__(self, x, *, train=False):
        x = x.reshape(len(x), 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(len(x), 16, 4)
        x = nn.Dense(16)(x) + self.param("place", nn.initializers.normal(), (1, 16, 16))
        first = jnp.broadcast_to(
            self.param("first", nn.initializers.normal(), (1, 1, 16)), (len(x), 1, 16)
        )
        x = jnp.concatenate([first, x], 1)
        x = x + nn.MultiHeadDotProductAttention(2, dropout_rate=0.1, deterministic=not train)(
            nn.LayerNorm()(x)
        )
        x = x + nn.Dense(16)(nn.gelu(nn.Dense(32)(nn.LayerNorm()(x))))
        return nn.Dense(10)(x[:, 0])


class OfRows(nn.Module):
    """A convolution along the rows."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.swish(nn.Conv(8, (3,), strides=(2,))(x)).reshape(len(x), -1))


class Averaged(nn.Module):
    """Convolutions alone; the last one has a picture a class."""

    @nn.compact
    def __call__(self, x):
        return nn.Conv(10, (2, 2))(nn.relu(nn.Conv(8, (3, 3), padding="VALID")(x[..., None]))).mean(
            (1, 2)
        )


class Nnx(nnx.Module):
    def __init__(self, *, rngs):
        self.first, self.second = (
            nnx.Conv(1, 8, (3, 3), rngs=rngs),
            nnx.Conv(8, 16, (3, 3), strides=2, rngs=rngs),
        )
        self.norm, self.dropout = nnx.BatchNorm(8, rngs=rngs), nnx.Dropout(0.3, rngs=rngs)
        self.out = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.avg_pool(nnx.relu(self.norm(self.first(x[..., None]))), (2, 2), strides=(2, 2))
        return self.out(self.dropout(jnp.tanh(self.second(x)).reshape(len(x), -1)))


@functools.cache
def equinox():
    """A constructor of an Equinox module, which has its channels first; made here, since the
    package is optional.
    """
    eqx = pytest.importorskip("equinox")

    class Equinox(eqx.Module):
        convolutions: list
        norm: eqx.nn.BatchNorm
        pool: eqx.nn.MaxPool2d
        dropout: eqx.nn.Dropout
        out: eqx.nn.Linear

        def __init__(self, key):
            keys = jax.random.split(key, 3)
            self.convolutions = [
                eqx.nn.Conv2d(1, 8, 3, padding=1, key=keys[0]),
                eqx.nn.Conv2d(8, 12, 3, key=keys[1]),
            ]
            self.norm, self.pool = (
                eqx.nn.BatchNorm(8, "batch", mode="batch"),
                eqx.nn.MaxPool2d(2, 2),
            )
            self.dropout, self.out = eqx.nn.Dropout(0.2), eqx.nn.Linear(48, 10, key=keys[2])

        def __call__(self, x, state, *, key):
            x, state = self.norm(self.convolutions[0](x[None]), state)
            x = jax.nn.relu(self.convolutions[1](self.pool(jax.nn.relu(x))))
            return self.out(self.dropout(x.ravel(), key=key)), state

    return Equinox


def hand_written(move):
    """A model of no module: some operation, and a product after it."""

    def init(key, x):
        size = math.prod(jax.eval_shape(move, x).shape[1:])
        return {"w": jax.random.normal(key, (size, 10)) / np.sqrt(size)}, {}

    def apply(params, state, x, *, key=None, dropout=None):
        return move(x).reshape(len(x), -1) @ params["w"], state

    return jaxnet.Model(init, apply, "by hand")


def moved(x):
    """Numbers taken from all kinds of places."""
    chosen = x[:, np.array([0, 5, 2, 7, 2])][..., ::-1]
    left, right = jnp.split(x, 2, axis=2)
    cut = jax.lax.pad(x, jnp.float32(0.5), [(0, 0, 0), (-1, 2, 1), (3, -4, 0)])
    part = jax.lax.dynamic_slice(x, (0, 2, 1), (len(x), 4, 4)) if len(x) else x
    ordered = [
        jnp.cumsum(jnp.ones(8))[None, :, None] * x,
        chosen,
        left * right,
        cut,
        part,
        x.transpose(0, 2, 1),
    ]
    return jnp.concatenate([value.reshape(len(x), -1) for value in ordered], 1)


def counted(x):
    """Operations on truth values and whole numbers."""
    bright = (x > 0.5) & ~(x > 2) | (x < -1)
    largest = jax.nn.one_hot(x.argmax(2), 8) + x.argmin(1)[..., None]
    steps = jnp.floor(x).astype(jnp.int32).astype(jnp.float32) + jnp.clip(x, -0.5, 0.7)
    return (
        jnp.where(bright, x, 0.3 * steps)
        + largest * x.all(2, keepdims=True)
        + (x > 0).any(1, keepdims=True)
        + x.prod(1, keepdims=True)
    )


MODELS = {
    "linear": jaxnet.linear,
    **{
        f"mlp {activation}": functools.partial(jaxnet.mlp, activation=activation)
        for activation in ("relu", "gelu", "silu", "tanh")
    },
    "mlp layer": lambda: jaxnet.mlp((32, 16), normalization="layer"),
    "cnn layer": lambda: jaxnet.cnn((8, 16), (64,), normalization="layer"),
    "cnn batch": lambda: jaxnet.cnn(
        (8, 16), (64,), kernel=(5, 3), stride=(2, 1), normalization="batch", activation="silu"
    ),
    "linen": lambda: jaxnet.Model.from_linen(Linen()),
    "attention": lambda: jaxnet.Model.from_linen(Attention()),
    "of rows": lambda: jaxnet.Model.from_linen(OfRows()),
    "averaged": lambda: jaxnet.Model.from_linen(Averaged()),
    "nnx": lambda: jaxnet.Model.from_nnx(Nnx),
    "equinox": lambda: jaxnet.Model.from_equinox(equinox()),
    "moved": lambda: hand_written(moved),
    "counted": lambda: hand_written(counted),
    "checkpoint": lambda: hand_written(jax.checkpoint(lambda x: jnp.sin(x) * x)),
}
LAYERS = {
    "linear": [("output 10", [10])],
    "mlp relu": [("dense 128", [128]), ("dense 64", [64]), ("output 10", [10])],
    "cnn layer": [
        ("convolution 8", [4, 4, 8]),
        ("convolution 16", [2, 2, 16]),
        ("dense 64", [64]),
        ("output 10", [10]),
    ],
    "linen": [
        *(
            ("convolution 12", [8, 8, 12]),
            ("convolution 12", [4, 4, 12]),
            ("dense 4", [4]),
            ("dense 12", [12]),
        ),
        *(("convolution 16", [2, 3, 16]), ("convolution 8", [4, 6, 8]), ("output 10", [10])),
    ],
    "averaged": [("convolution 8", [6, 6, 8]), ("output 10", [10])],
    "nnx": [("convolution 8", [4, 4, 8]), ("convolution 16", [2, 2, 16]), ("output 10", [10])],
    "equinox": [("convolution 8", [4, 4, 8]), ("convolution 12", [2, 2, 12]), ("output 10", [10])],
}


TRAINED = ("linear", "mlp relu", "cnn layer")


@functools.cache
def made(name):
    """(the model, a run of it): trained on the digits, or as if, with parameters and statistics
    that are drawn, which compiles faster.
    """
    model = MODELS[name]()
    digits = jaxnet.load("digits")
    if name in TRAINED:
        return model, jaxnet.fit(model, digits, jaxnet.Recipe(epochs=3, batch_size=64), KEY)
    params, state = jax.jit(functools.partial(initial, with_outputs(model, 10)))(
        KEY, jnp.zeros((1, 8, 8), jnp.float32)
    )
    random = np.random.default_rng(0)
    drawn = jax.tree.map(lambda leaf: leaf + np.float32(random.normal(0, 0.1, leaf.shape)), params)
    statistics = jax.tree.map(
        lambda leaf: (
            np.float32(random.uniform(0.5, 1.5, leaf.shape)) if leaf.dtype == np.float32 else leaf
        ),
        state,
    )
    return model, dataclasses.replace(
        made("linear")[1], params=drawn, model_state=statistics, model=model.name
    )


@pytest.fixture(scope="module")
def page(browser):
    """A page with the script, as one that forbids all else would have it."""
    page = browser.new_page()
    policy = (
        "<meta http-equiv='content-security-policy' content=\"default-src 'none'; script-src "
        "'unsafe-inline'\">"
    )
    page.set_content(f"{policy}<title>network</title><script>{SCRIPT}</script>")
    yield page
    page.close()


def in_page(page, data, images, *, member=0):
    """(probabilities, activations of each layer) of each image, from the page."""
    results = page.evaluate(
        """([data, images, member]) => {
            const network = makeNetwork(data);
            const results = images.map((image) => network.run(Float32Array.from(image), member));
            return results.map(({ probabilities, activations }) => [
    [...probabilities], activations.map((values) => [...values])
  ]);
        }""",
        [json.loads(json.dumps(data)), np.reshape(images, (len(images), -1)).tolist(), member],
    )
    return np.array([probabilities for probabilities, _ in results]), [
        activations for _, activations in results
    ]


def weights_in_page(page, data, layer, unit):
    found = page.evaluate(
        "([data, layer, unit]) => { const { shape, values } = makeNetwork(data).weights(layer, "
        "unit); return [shape, [...values]]; }",
        [json.loads(json.dumps(data)), layer, unit],
    )
    return np.reshape(found[1], found[0])


@pytest.mark.parametrize("name", MODELS)
def test_a_page_computes_what_predict_does(page, digits, name):
    model, run = made(name)
    images = digits.test.x[:IMAGES]
    found, activations = in_page(page, network(model, [run]).data, images)
    difference = np.abs(found - np.exp(jaxnet.predict(model, run, images))).max()
    print(f"{name}: {difference:.1e}")
    # of 1e-3 that is asked for; measured: 2e-5 with parameters in 16 bits, 2e-7 without
    assert difference < 1e-4
    assert np.array_equal(activations[0][-1], found[0].tolist())


@pytest.mark.core
@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_be_written_for_a_page(name):
    model, run = made(name)
    found = network(model, [run])
    text = json.dumps(found.data, allow_nan=False)
    assert json.loads(text)["classes"] == [str(digit) for digit in range(10)]
    assert found.members == 1
    layers = [(layer["name"], layer["shape"]) for layer in found.data["layers"]]
    assert layers == LAYERS.get(name, layers)
    assert layers[-1] == ("output 10", [10])


def test_layers_show_what_comes_after_pooling_and_activation(page, digits):
    model, run = made("equinox")
    images = digits.test.x[:3]
    _, activations = in_page(page, network(model, [run]).data, images)
    for image, (_, second, _) in zip(images, activations, strict=True):
        x = run.standardization.inputs(image[None])
        # The gradient of an output for the parameters of the last product is what comes into it.
        gradient = jax.grad(
            lambda params, x=x: model.apply(params, run.model_state, x, key=None, dropout=None)[0][
                0, 0
            ]
        )(run.params)
        want = np.reshape(gradient["out"]["weight"][0], (12, 2, 2))
        np.testing.assert_allclose(
            np.reshape(second, (2, 2, 12)), want.transpose(1, 2, 0), atol=1e-5
        )


def test_weights_are_the_parameters_of_a_unit(page):
    model, run = made("cnn layer")
    data = network(model, [run]).data
    conv, dense, out = (
        run.params["conv_1"]["kernel"],
        run.params["head"]["hidden_0"]["kernel"],
        run.params["head"]["output"]["kernel"],
    )
    np.testing.assert_allclose(
        weights_in_page(page, data, 0, 3), run.params["conv_0"]["kernel"][..., 0, 3], atol=1e-6
    )
    np.testing.assert_allclose(weights_in_page(page, data, 1, 5), conv[..., 5].sum(-1), atol=1e-5)
    np.testing.assert_allclose(
        weights_in_page(page, data, 2, 7), np.reshape(dense[:, 7], (2, 2, 16)).sum(-1), atol=1e-5
    )
    np.testing.assert_allclose(weights_in_page(page, data, 3, 1), out[:, 1], atol=1e-5)

    model, run = made("mlp relu")
    data = network(model, [run]).data
    np.testing.assert_allclose(
        weights_in_page(page, data, 0, 9),
        np.reshape(run.params["hidden_0"]["kernel"][:, 9], (8, 8)),
        atol=1e-4,
    )

    model, run = made("equinox")  # parameters are (outputs, inputs), inputs channels first
    rows = np.asarray(run.params["out"]["weight"])[4].reshape(12, 2, 2).sum(0)
    np.testing.assert_allclose(
        weights_in_page(page, network(model, [run]).data, 2, 4), rows, atol=1e-5
    )


def test_members_of_a_population(page, digits):
    model = jaxnet.mlp((16,), normalization="batch")
    many = jaxnet.fit_population(model, digits, jaxnet.Recipe(epochs=1), jax.random.split(KEY, 3))
    found = network(model, [many[member] for member in range(3)])
    assert found.members == 3
    images = digits.test.x[:20]
    want = np.exp(jaxnet.predict(model, many, images))
    assert np.abs(want[0] - want[1]).max() > 0.05
    for member in (2, 0, 1, 2):
        assert (
            np.abs(in_page(page, found.data, images, member=member)[0] - want[member]).max() < 1e-5
        )
    # One network in a page, asked of its members in turn.
    ways = page.evaluate(
        """([data, image]) => {
            const network = makeNetwork(data);
const run = (member) => [...network.run(Float32Array.from(image), member).probabilities];
            return [network.members, [2, 0, 2].map(run)];
        }""",
        [json.loads(json.dumps(found.data)), np.ravel(images[0]).tolist()],
    )
    assert ways[0] == 3
    np.testing.assert_allclose(ways[1], want[[2, 0, 2], 0], atol=1e-5)


@pytest.mark.core
def test_as_many_members_as_fit():
    model, run = made("mlp relu")
    runs = [
        dataclasses.replace(run, params=jax.tree.map(lambda leaf, by=by: leaf * by, run.params))
        for by in (1, 2, 3)
    ]
    one, all_ = (network(model, some) for some in (runs[:1], runs))
    text = len(json.dumps([one.data["constants"], one.data["members"]]))
    assert network(model, runs, most_bytes=2 * text).members == 2
    assert all_.members == 3
    # What is the same for all, such as the standardization, is there once.
    assert [len(arrays) for arrays in all_.data["members"]] == [6, 6, 6]
    assert text < 0.6 * sum(leaf.nbytes * 4 / 3 for leaf in jax.tree.leaves(run.params))
    with pytest.raises(InputError, match=r"take [\d,]+ bytes of text, of 30,000 at most"):
        network(model, runs, most_bytes=30_000)


@pytest.mark.core
@pytest.mark.parametrize(
    ("move", "words"),
    [
        (lambda x: jnp.sort(x, 1), "does not have operation 'sort'"),
        (lambda x: x.astype(jnp.float16).astype(jnp.float32), "of type float16"),
        (lambda x: (jnp.floor(x).astype(jnp.int32) // 3).astype(jnp.float32), "of whole numbers"),
        (lambda x: x[:, (x[0, 0, 0] > 0).astype(int)], "at places that are computed"),
        (lambda x: jax.lax.fori_loop(0, 3, lambda i, x: x * x, x), "operation '(scan|while)'"),
    ],
)
def test_what_a_page_cannot_compute_is_named(move, words):
    model, run = hand_written(move), made("linear")[1]
    params, _ = initial(model, KEY, jnp.zeros((1, 8, 8), jnp.float32))
    with pytest.raises(InputError, match=words):
        network(model, [dataclasses.replace(run, params=params, model=model.name)])


@pytest.mark.core
def test_runs_that_do_not_belong_into_one_page(digits):
    model, run = made("mlp relu")
    other = jaxnet.fit(jaxnet.mlp((8,)), digits, jaxnet.Recipe(epochs=1), KEY)
    with pytest.raises(InputError, match="differ in structure"):
        network(model, [run, other])
    values = jaxnet.split(
        np.asarray(digits.train.x[:200]), np.asarray(digits.train.y[:200], np.float32)
    )
    of_values = jaxnet.fit(jaxnet.mlp((8,)), values, jaxnet.Recipe(epochs=1), KEY)
    with pytest.raises(InputError, match="gives values"):
        network(jaxnet.mlp((8,)), [of_values])


def test_the_network_that_early_stopping_chose(page, digits):
    model = jaxnet.mlp((16,))
    run = jaxnet.fit(model, digits, jaxnet.Recipe(epochs=12, learning_rate=0.1, patience=2), KEY)
    assert not np.array_equal(run.params["output"]["bias"], run.chosen[0]["output"]["bias"])
    images = digits.test.x[:20]
    found, _ = in_page(page, network(model, [run]).data, images)
    assert np.abs(found - np.exp(jaxnet.predict(model, run, images))).max() < 1e-5


def test_bfloat16_is_as_near_as_two_compilations_of_it(page, digits):
    """Each rounds other results on its way: predict of one image alone and of a hundred differ by
    4e-3.
    """
    _, run = made("mlp relu")
    model, run = (
        jaxnet.mlp((128, 64)),
        dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, precision="bfloat16")),
    )
    images = digits.test.x[:IMAGES]
    found, _ = in_page(page, network(model, [run]).data, images)
    assert np.abs(found - np.exp(jaxnet.predict(model, run, images))).max() < 1e-2


def test_the_cnn_for_mnist_fits_and_is_fast(page):
    """The presets of experiments/mnist.py, of images that are noise."""
    x = np.random.default_rng(0).integers(0, 256, (64, 28, 28), np.uint8)
    splits = jaxnet.split(x, np.arange(64) % 10)
    for model, limit in ((jaxnet.mlp((256, 128)), 2), (jaxnet.cnn((32, 64), (128,)), 30)):
        run = jaxnet.fit(model, splits, jaxnet.Recipe(epochs=1, batch_size=16), KEY)
        data = network(model, [run]).data
        found, _ = in_page(page, data, x[:10])
        assert np.abs(found - np.exp(jaxnet.predict(model, run, x[:10]))).max() < 1e-4
        took = page.evaluate(
            """([data, image]) => {
                const network = makeNetwork(data), pixels = Float32Array.from(image), took = [];
                for (let i = 0; i < 30; i++) {
                    const began = performance.now();
                    network.run(pixels);
                    took.push(performance.now() - began);
                }
                return took;
            }""",
            [json.loads(json.dumps(data)), np.ravel(x[0]).tolist()],
        )
        print(f"{model.name}: {len(json.dumps(data)):,} bytes, {min(took):.2f} ms")
        assert min(took) < limit


OF_TWO = {
    "add",
    "atan2",
    "div",
    "eq",
    "ge",
    "gt",
    "le",
    "lt",
    "max",
    "min",
    "mul",
    "ne",
    "pow",
    "rem",
    "sub",
}
LOGICAL = {
    "and": jnp.logical_and,
    "or": jnp.logical_or,
    "xor": jnp.logical_xor,
    "not": jnp.logical_not,
}


def test_functions_are_those_of_jax(page):
    numbers = np.float32(
        [-100, -5.5, -3, -1, -0.5, -1e-3, 0, 1e-7, 1e-3, 0.3, 0.5, 1, 2, 3, 4.5, 9.25, 80]
    )
    others = np.float32([2, 3, -1, 0.5, 2, 1, 3, 1, -2, 1e-3, 0.5, 1, 3, -3, 0.1, 2, 0.25])
    cases = {
        name: (getattr(jax.lax, name), [numbers, others] if name in OF_TWO else [numbers])
        for name in programs.FUNCTIONS - set(LOGICAL)
    }
    cases |= {
        name: (function, [numbers > 0.4, others > 0.4][: 1 if name == "not" else 2])
        for name, function in LOGICAL.items()
    }
    cases["clamp"] = (jax.lax.clamp, [np.float32(-1), numbers, others + 50])
    cases["select_n"] = (jax.lax.select_n, [others > 1, numbers, others])
    cases["trunc"] = (lambda x: x.astype(jnp.int32), [numbers])
    cases["bfloat16"] = (lambda x: x.astype(jnp.bfloat16), [numbers])
    for name, (function, operands) in cases.items():
        constants = [
            [place + 1, network_module._text(np.asarray(operand, np.float32))]
            for place, operand in enumerate(operands)
        ]
        step = {
            "op": "map",
            "name": name,
            "of": [number for number, _ in constants],
            "to": 9,
            "size": len(numbers),
        }
        layer = {
            "name": "",
            "kind": "output",
            "shape": [1],
            "value": 9,
            "weights": None,
            "inputs": [],
            "order": None,
        }
        data = {
            "shape": [1],
            "constants": constants,
            "members": [[]],
            "steps": [step],
            "output": 0,
            "layers": [layer],
        }
        found = page.evaluate(
            "(data) => Array.from(makeNetwork(data).run(new Float32Array(1)).activations[0], "
            "String)",
            json.loads(json.dumps(data)),
        )
        found = np.float64([number.replace("Infinity", "inf") for number in found])
        want = np.float64(function(*map(jnp.asarray, operands)))
        np.testing.assert_allclose(found, want, rtol=2e-6, atol=2e-7, err_msg=name)


@pytest.mark.core
@settings(deadline=None)
@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=40)
    | st.builds(lambda a, b, n: list(range(a, a + b * n, b)), *[st.integers(1, 9)] * 3)
)
def test_places_can_be_read_back(places):
    assert read_back(programs.encode_places(np.array(places, int))) == places


@pytest.mark.core
def test_places_that_lie_evenly_are_short():
    table = np.arange(24).reshape(2, 3, 4)
    for even in (
        table,
        table.transpose(2, 0, 1),
        table[:, ::2, 1],
        np.broadcast_to(table, (5, 2, 3, 4)),
        table[..., ::-1],
    ):
        found = programs.encode_places(even)
        assert len(found["strides"]) <= 4
        assert read_back(found) == even.ravel().tolist()
    assert programs.encode_places(np.pad(table[0], 1, constant_values=99))["runs"][:6] == [
        99,
        0,
        7,
        0,
        1,
        4,
    ]


def read_back(where):
    if "runs" in where:
        runs = np.reshape(where["runs"], (-1, 3))
        return [int(begin + step * i) for begin, step, count in runs for i in range(count)]
    indices = itertools.product(*map(range, where["shape"]))
    return [
        where["offset"] + sum(i * stride for i, stride in zip(index, where["strides"], strict=True))
        for index in indices
    ]


@pytest.mark.core
def test_many_numbers_are_stored_in_half_the_bytes():
    array = np.random.default_rng(0).normal(0, 1, (100, 50)).astype(np.float32)
    array[:, 3], array[:, 4] = 0, 1e-6 * array[:, 4]
    text = network_module._text(array)
    levels, scales = (
        np.frombuffer(network_module.base64.b64decode(text[name]), dtype)
        for name, dtype in (("int16", "<i2"), ("scales", "<f4"))
    )
    error = np.abs(levels.reshape(100, 50) * scales - array)
    assert (error <= 0.51 * np.abs(array).max(0) / 32767).all()
    assert set(network_module._text(array[:80])) == {"float32"}
    array[5, 5] = np.nan
    assert set(network_module._text(array)) == {"float32"}

"""Modules of Linen, NNX and Equinox, and two plain functions: one network four times, carried as
their own loops carry it.
"""

import dataclasses
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import gap, shuffled
from flax import linen as nn
from flax import nnx

import jaxnet
from jaxnet.models.adapters import check_constructor
from jaxnet.random import INIT, counted, hashed
from jaxnet.typing import double

pytestmark = pytest.mark.core

KEY = jax.random.key(0)
List = getattr(nnx, "List", list)  # Flax before 0.12 takes a plain list


class Linen(nn.Module):
    width: int = 32
    rate: float = 0.2

    @nn.compact
    def __call__(self, x, *, train=False):
        # a bias that the norm takes away again is noise to Adam
        x = nn.Dense(self.width, use_bias=False)(x.reshape(len(x), -1))
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        x = nn.Dropout(self.rate, deterministic=not train)(x)
        self.sow("seen", "hidden", x)
        return nn.Dense(10)(x)


class Nnx(nnx.Module):
    def __init__(self, width=32, rate=0.2, *, rngs):
        self.layers = List(
            [nnx.Linear(64, width, use_bias=False, rngs=rngs), nnx.Linear(width, 10, rngs=rngs)]
        )
        self.norm = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(rate, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.layers[0](x.reshape(len(x), -1))))
        return self.layers[1](self.dropout(x))


def nnx_without_dropout(rngs):
    return Nnx(rate=0.0, rngs=rngs)


@functools.cache
def equinox(*, norm=True):
    """A constructor of an Equinox module; made here, since the package is optional."""
    eqx = pytest.importorskip("equinox")

    class Net(eqx.Module):
        layers: list
        norm: eqx.nn.BatchNorm
        dropout: eqx.nn.Dropout
        seen: jax.Array

        def __init__(self, key):
            keys = jax.random.split(key)
            self.layers = [
                eqx.nn.Linear(64, 32, use_bias=False, key=keys[0]),
                eqx.nn.Linear(32, 10, key=keys[1]),
            ]
            self.norm = eqx.nn.BatchNorm(32, "batch", momentum=0.9, mode="batch")
            self.dropout = eqx.nn.Dropout(0.2)
            self.seen = jnp.arange(3)

        def __call__(self, x, state, *, key):
            x, state = self.norm(self.layers[0](x.ravel()), state)
            return self.layers[1](self.dropout(jax.nn.relu(x), key=key)), state

    class Plain(eqx.Module):
        layers: eqx.nn.Sequential

        def __init__(self, *, key):
            keys, relu = jax.random.split(key), eqx.nn.Lambda(jax.nn.relu)
            hidden, out = eqx.nn.Linear(64, 32, key=keys[0]), eqx.nn.Linear(32, 10, key=keys[1])
            self.layers = eqx.nn.Sequential(
                [eqx.nn.Lambda(jnp.ravel), hidden, relu, eqx.nn.Dropout(0.2), out]
            )

        def __call__(self, x, key):
            return self.layers(x, key=key)

    return Net if norm else Plain


def plain_init(key, x):
    keys, size = jax.random.split(key), x[0].size
    return {
        "hidden": jax.random.normal(keys[0], (size, 32)) / np.sqrt(size),
        "scale": jnp.ones(32),
        "out": [jax.random.normal(keys[1], (32, 10)) / np.sqrt(32), jnp.zeros(10)],
    }, {"mean": jnp.zeros(32), "var": jnp.ones(32)}


def plain_apply(params, model_state, x, *, key=None, dropout=None):
    h, state = x.reshape(len(x), -1) @ params["hidden"], model_state
    if key is not None:
        now = {"mean": h.mean(0), "var": h.var(0)}
        state = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, model_state, now)
    used = state if key is None else now
    h = jax.nn.relu(
        params["scale"][None] * (h - used["mean"][None]) / jnp.sqrt(used["var"] + 1e-5)[None]
    )
    if key is not None:
        h = h * jax.random.bernoulli(key, 0.8, h.shape) / 0.8
    return h @ params["out"][0] + params["out"][1][None], state


MODELS = {
    "linen": lambda: jaxnet.Model.from_linen(Linen()),
    "nnx": lambda: jaxnet.Model.from_nnx(Nnx),
    "equinox": lambda: jaxnet.Model.from_equinox(equinox()),
    "plain": lambda: jaxnet.Model(plain_init, plain_apply, "mine"),
}
ADAPTED = ("linen", "nnx", "equinox")
WITHOUT_STATE = {
    "linen sequential": lambda: jaxnet.Model.from_linen(
        nn.Sequential([lambda x: x.reshape(len(x), -1), nn.Dense(16), nn.relu, nn.Dense(10)])
    ),
    "equinox without norm": lambda: jaxnet.Model.from_equinox(equinox(norm=False)),
}
RECIPE = jaxnet.Recipe(epochs=12, batch_size=64, learning_rate=1e-2, schedule="constant")
# To compare: Adam would make large what rounding leaves of the gradients of pixels that are always
# white.
FEW = jaxnet.Recipe(
    optimizer="momentum", learning_rate=0.05, epochs=2, batch_size=100, schedule="constant"
)


@pytest.fixture(scope="module")
def runs(digits):
    """One training of each model."""
    return functools.cache(
        lambda name: jaxnet.fit((MODELS | WITHOUT_STATE)[name](), digits, RECIPE, KEY)
    )


@pytest.mark.parametrize("name", MODELS | WITHOUT_STATE)
def test_each_learns_within_one_band_and_survives_a_checkpoint(name, digits, runs, tmp_path):
    model, run = (MODELS | WITHOUT_STATE)[name](), runs(name)
    assert 0.94 < jaxnet.evaluate(model, run, digits.test).accuracy.estimate < 0.99
    assert (run.model_state == {}) == (name in WITHOUT_STATE)
    jaxnet.save(run, tmp_path / "run")
    again = jaxnet.restore(tmp_path / "run")
    assert again.model == model.name
    assert gap((run.params, run.model_state), (again.params, again.model_state)) == 0
    assert np.array_equal(*(jaxnet.predict(model, each, digits.test.x) for each in (run, again)))
    total = jaxnet.describe(model, digits)[-1][2]
    assert total == sum(leaf.size for leaf in jax.tree.leaves(run.params))


@pytest.mark.parametrize("name", MODELS)
def test_a_resumed_run_is_the_undisturbed_one_bitwise(name, digits, runs, tmp_path):
    class Stop(Exception):
        pass

    def stop(done, row):
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        jaxnet.train(MODELS[name](), digits, RECIPE, KEY, out=tmp_path, progress=stop)
    began = []
    resumed = jaxnet.train(
        MODELS[name](),
        digits,
        RECIPE,
        KEY,
        out=tmp_path,
        progress=lambda done, row: began.append(done),
    )
    assert began[0] >= 1
    scan = runs(name)
    assert (
        gap(
            (scan.params, scan.model_state, scan.best),
            (resumed.params, resumed.model_state, resumed.best),
        )
        == 0
    )


@pytest.mark.parametrize(
    "name",
    [
        "linen",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("nnx", "equinox", "plain")),
    ],
)
def test_many_under_vmap_are_each_alone_and_equal_models_compile_once(name, digits, compilations):
    keys, few = jax.random.split(KEY, 2), FEW
    many = jax.vmap(lambda key: jaxnet.fit(MODELS[name](), digits, few, key))(keys)
    alone = [jaxnet.fit(MODELS[name](), digits, few, keys[0])]
    before = len(compilations)
    alone.append(jaxnet.fit(MODELS[name](), digits, few, keys[1]))
    assert len(compilations) - before <= 1  # of taking keys[1]
    for i, run in enumerate(alone):
        member = jax.tree.map(lambda leaf, i=i: leaf[i], many)
        assert gap((member.params, member.model_state), (run.params, run.model_state)) < 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_training_drops_and_uses_the_batch_and_evaluation_neither(name, digits, runs):
    model, run = MODELS[name](), runs(name)
    x = digits.standardization.inputs(digits.train.x[:64])
    apply = functools.partial(model.apply, run.params, run.model_state, dropout=None)
    evaluated, state = apply(x, key=None)
    assert gap(state, run.model_state) == 0
    one_by_one = jnp.concatenate([apply(x[i : i + 16], key=None)[0] for i in range(0, 64, 16)])
    assert gap(evaluated, one_by_one) < 1e-4
    trained, new = apply(x, key=KEY)
    again, _ = apply(x, key=KEY)
    other, same = apply(x, key=jax.random.key(1))
    assert gap(trained, again) == 0
    assert gap(trained, other) > 0.1
    assert gap(trained, evaluated) > 0.1
    assert gap(new, same) == 0
    assert gap(new, run.model_state) > 1e-3


def test_evaluation_is_that_of_the_module_itself(digits, runs):
    x = digits.standardization.inputs(digits.test.x)
    run = runs("linen")
    theirs = Linen().apply({"params": run.params, **run.model_state}, x, train=False)
    assert (
        gap(jax.nn.log_softmax(theirs), jaxnet.predict(MODELS["linen"](), run, digits.test.x))
        < 1e-4
    )
    run, module = runs("nnx"), Nnx(rngs=nnx.Rngs(0))
    module.eval()
    for i, layer in enumerate(module.layers):
        layer.kernel[...] = run.params["layers"][str(i)]["kernel"]
    module.layers[1].bias[...] = run.params["layers"]["1"]["bias"]
    module.norm.scale[...], module.norm.bias[...] = (
        run.params["norm"]["scale"],
        run.params["norm"]["bias"],
    )
    module.norm.mean[...], module.norm.var[...] = (
        run.model_state["norm"]["mean"],
        run.model_state["norm"]["var"],
    )
    assert (
        gap(jax.nn.log_softmax(module(x)), jaxnet.predict(MODELS["nnx"](), run, digits.test.x))
        < 1e-4
    )


def batches(digits, recipe, state):
    """(inputs, targets, how many are real, key) of each step of a run, as an independent loop would
    have them.
    """
    n, size = len(digits.train), recipe.batch_size
    x, y = np.asarray(digits.standardization.inputs(digits.train.x)), np.asarray(digits.train.y)
    number = 0
    for epoch in range(recipe.epochs):
        for i, rows in enumerate(np.asarray(shuffled(counted(state.order_key, epoch), n, size))):
            yield x[rows], y[rows], min(size, n - i * size), hashed(state.key, number)
            number += 1


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_a_linen_module_ends_where_flax_own_loop_ends(rate, digits):
    """Parameters and batch statistics, dropout included, of a loop over module.apply and optax."""
    recipe, module = dataclasses.replace(FEW, learning_rate=rate), Linen()
    variables = module.init(counted(KEY, INIT), jnp.zeros((1, 8, 8)))
    params, stats, tx = variables["params"], variables["batch_stats"], optax.sgd(rate, momentum=0.9)
    opt_state = tx.init(params)

    @jax.jit
    def step(params, stats, opt_state, x, y, real, key):
        def loss(params):
            logits, changed = module.apply(
                {"params": params, "batch_stats": stats},
                x,
                train=True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
            return (losses * (jnp.arange(len(x)) < real)).sum() / real, changed["batch_stats"]

        gradient, stats = jax.grad(loss, has_aux=True)(params)
        updates, opt_state = tx.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), stats, opt_state

    for batch in batches(digits, recipe, jaxnet.start(MODELS["linen"](), digits, recipe, KEY)):
        with double(False):  # Flax's dropout draws other masks in 64 bits
            params, stats, opt_state = step(params, stats, opt_state, *batch)
    run = jaxnet.fit(MODELS["linen"](), digits, recipe, KEY)
    assert gap(run.model_state, {"batch_stats": stats}) < 1e-5
    assert gap(run.params, params) < 1e-5
    assert gap(stats, variables["batch_stats"]) > 0.1


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_an_nnx_module_ends_where_flax_own_loop_ends(rate, digits):
    """As above, of a loop with nnx.Optimizer over the module itself; without dropout, whose keys
    are our own.
    """
    recipe = dataclasses.replace(FEW, learning_rate=rate)
    model, module = (
        jaxnet.Model.from_nnx(nnx_without_dropout),
        nnx_without_dropout(nnx.Rngs(counted(KEY, INIT))),
    )
    tx = nnx.Optimizer(module, optax.sgd(rate, momentum=0.9), wrt=nnx.Param)
    module.train()

    @nnx.jit
    def step(module, tx, x, y, real):
        def loss(module):
            losses = optax.softmax_cross_entropy_with_integer_labels(module(x), y)
            return (losses * (jnp.arange(len(x)) < real)).sum() / real

        tx.update(module, nnx.grad(loss)(module))

    for x, y, real, _ in batches(digits, recipe, jaxnet.start(model, digits, recipe, KEY)):
        step(module, tx, x, y, real)
    run = jaxnet.fit(model, digits, recipe, KEY)
    stats = {"norm": {"mean": module.norm.mean[...], "var": module.norm.var[...]}}
    assert gap(run.model_state, stats) < 1e-5
    assert gap(run.params["layers"]["0"]["kernel"], module.layers[0].kernel[...]) < 1e-5
    assert gap(run.params["norm"]["scale"], module.norm.scale[...]) < 1e-5
    assert gap(jnp.zeros(32), stats["norm"]["mean"]) > 0.1


def focal(outputs, targets):
    log_p = jax.nn.log_softmax(outputs)
    return -(targets * (1 - jnp.exp(log_p)) ** 2 * log_p).sum(-1)


def chain(learning_rate):
    return optax.chain(
        optax.clip(1.0), optax.scale_by_adam(), optax.scale_by_learning_rate(learning_rate)
    )


@pytest.mark.parametrize("name", ADAPTED)
def test_custom_loss_and_custom_chain_in_bfloat16(name, digits):
    recipe = jaxnet.Recipe(
        optimizer=chain,
        schedule="cosine",
        epochs=8,
        batch_size=64,
        learning_rate=1e-2,
        precision="bfloat16",
    )
    run = jaxnet.fit(MODELS[name](), digits, recipe, KEY, loss=focal)
    assert all(
        leaf.dtype != jnp.bfloat16 for leaf in jax.tree.leaves((run.params, run.model_state))
    )
    assert jaxnet.evaluate(MODELS[name](), run, digits.test).accuracy.estimate > 0.93


def test_equal_modules_are_one_model():
    a, b = jaxnet.Model.from_linen(Linen(width=8)), jaxnet.Model.from_linen(Linen(width=8))
    assert a is b
    assert a != jaxnet.Model.from_linen(Linen(width=9))
    assert a.name == "Linen(width=8, rate=0.2)"
    assert jaxnet.Model.from_linen(Linen(width=8), name="mine").name == "mine"
    lists = [jaxnet.Model.from_linen(nn.Sequential([nn.Dense(3), nn.relu])) for _ in range(2)]
    assert lists[0] is lists[1]
    assert lists[0].name == "Sequential(layers=[Dense(features=3), relu])"
    assert jaxnet.Model.from_nnx(Nnx) is jaxnet.Model.from_nnx(Nnx)
    assert jaxnet.Model.from_nnx(Nnx).name == "Nnx"
    assert jaxnet.Model.from_nnx(Nnx) != jaxnet.Model.from_nnx(nnx_without_dropout)
    assert hash(a) == hash(b)
    assert jaxnet.Model(plain_init, plain_apply, "mine") == MODELS["plain"]()
    assert jaxnet.Model(plain_init, plain_apply).name == "custom"


def test_fields_that_are_arrays_make_models_of_their_own():
    class Scaled(nn.Module):
        scale: object

        def __call__(self, x):
            return x * self.scale

    a, b = (jaxnet.Model.from_linen(Scaled(np.ones(2))) for _ in range(2))
    assert a != b


WORDS = [
    ("train", True),
    ("training", True),
    ("is_training", True),
    ("deterministic", False),
    ("eval", False),
    ("use_running_average", False),
]


@pytest.mark.parametrize(("word", "value"), WORDS)
@pytest.mark.parametrize("where", ["call", "field", "given"])
def test_every_word_for_training_is_understood(word, value, where):
    """The module gives 1 in training and 0 in evaluation."""
    word = f"my_{word}" if where == "given" else word
    if where == "field":
        module = type(
            "Net",
            (nn.Module,),
            {
                "__annotations__": {word: bool},
                "__call__": lambda self, x: x * 0 + (getattr(self, word) == value),
            },
        )(False)
    else:
        scope = {}
        exec(f"def call(self, x, {word}): return x * 0 + ({word} == {value})", scope)
        module = type("Net", (nn.Module,), {"__call__": scope["call"]})()
    model = jaxnet.Model.from_linen(module, flags={word: value} if where == "given" else None)
    x = jnp.ones((2, 1))
    assert model.init(KEY, x) == ({}, {})
    for key, wanted in ((KEY, 1.0), (None, 0.0)):
        assert (model.apply({}, {}, x, key=key, dropout=None)[0] == wanted).all()


def test_other_streams_and_collections_of_linen():
    class Noisy(nn.Module):
        @nn.compact
        def __call__(self, x, deterministic):
            count = self.variable("counts", "calls", lambda: jnp.int32(0))
            dense = nn.Dense(
                2, kernel_init=nn.with_partitioning(nn.initializers.ones, (None, "model"))
            )
            x = dense(x)
            if not deterministic:
                self.sow("intermediates", "x", x)
                if not self.is_initializing():
                    count.value += 1
                x = x + jax.random.normal(self.make_rng("noise"), x.shape)
            return x

    model, x = jaxnet.Model.from_linen(Noisy()), jnp.ones((4, 3))
    params, state = model.init(KEY, x)
    assert jax.tree.map(jnp.shape, (params, state)) == (
        {"Dense_0": {"kernel": (3, 2), "bias": (2,)}},
        {"counts": {"calls": ()}},
    )
    outputs, state = model.apply(params, state, x, key=KEY, dropout=None)
    assert gap(outputs, jnp.full((4, 2), 3.0)) > 0.1
    outputs, state = model.apply(params, state, x, key=None, dropout=None)
    assert gap(outputs, jnp.full((4, 2), 3.0)) < 1e-6
    assert int(state["counts"]["calls"]) == 1


def test_nnx_modules_that_are_told_by_their_call_and_have_many_layers():
    class Net(nnx.Module):
        def __init__(self, *, rngs):
            self.layers = List([nnx.Linear(2, 2, rngs=rngs) for _ in range(11)])
            self.dropout = nnx.Dropout(0.5)
            self.constant = np.arange(2.0, dtype=np.float32)

        def __call__(self, x, *, train, rngs):
            for layer in self.layers:
                x = layer(x)
            self.last = nnx.Intermediate(x)
            return self.dropout(x, deterministic=not train, rngs=rngs) + self.constant[None]

    model, x, module = jaxnet.Model.from_nnx(Net), jnp.ones((4, 2)), Net(rngs=nnx.Rngs(KEY))
    params, state = model.init(KEY, x)
    assert list(params["layers"]) == [str(i) for i in (0, 1, *range(2, 11))]
    assert jax.tree.map(jnp.shape, state) == {"constant": (2,)}
    outputs, same = model.apply(params, state, x, key=None, dropout=None)
    assert gap(outputs, module(x, train=False, rngs=None)) < 1e-6
    dropped, same = model.apply(params, state, x, key=KEY, dropout=None)
    assert gap(same, state) == 0
    assert gap(dropped, outputs) > 0


def test_each_dropout_of_an_nnx_module_draws_its_own():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.a, self.b = nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return jnp.concatenate([self.a(x), self.b(x)], -1)

    model, x = jaxnet.Model.from_nnx(Net), jnp.ones((1, 200))
    params, state = model.init(KEY, x)
    assert (params, state) == ({}, {})
    outputs, _ = model.apply(params, state, x, key=KEY, dropout=None)
    assert 40 < int((outputs[0, :200] == outputs[0, 200:]).sum()) < 160


@pytest.mark.parametrize("name", ADAPTED)
def test_a_recipe_with_dropout_is_refused(name, digits):
    message = (
        r"(Linen\(width=32, rate=0.2\)|Nnx|Net) brings its own dropout rates, which a "
        r"recipe cannot change; give dropout=None"
    )
    for verb in (jaxnet.fit, jaxnet.train):
        with pytest.raises(jaxnet.InputError, match=message):
            verb(MODELS[name](), digits, jaxnet.Recipe(epochs=1, dropout=0.1), KEY)


def test_a_module_of_other_outputs_is_refused():
    rng = np.random.default_rng(0)
    splits = jaxnet.split(rng.normal(size=(100, 64)).astype(np.float32), rng.integers(0, 3, 100))
    for name in ADAPTED:
        with pytest.raises(
            jaxnet.InputError,
            match=r"outputs of shape \(64, 10\), but this data set needs \(64, 3\)",
        ):
            jaxnet.fit(MODELS[name](), splits, jaxnet.Recipe(epochs=1), KEY)


class Bare(nnx.Module):
    def __init__(self, rngs):
        self.scale = jnp.ones(3)

    def __call__(self, x):
        return x * self.scale


class Masked(nn.Module):
    def __call__(self, x, mask):
        return x * mask


class Two(nn.Module):
    def __call__(self, x):
        return x, x


def odd(rngs):
    return 3


REFUSED = [
    (
        lambda: jaxnet.Model.from_linen(Linen),
        r"<class .*Linen'> is not a Linen module; give one, such as Net\(10\)",
    ),
    (
        lambda: jaxnet.Model.from_linen(Masked()),
        "Masked is called with mask beside its inputs, .* give mask a default",
    ),
    (
        lambda: jaxnet.Model.from_linen(Linen(), flags={"fast": True}),
        r"Linen has no keyword 'fast'",
    ),
    (
        lambda: (
            jaxnet.Model.from_linen(Two()).init(KEY, jnp.ones((1, 2)))
            and jaxnet.Model.from_linen(Two()).apply({}, {}, jnp.ones(1))
        ),
        "gives a tuple",
    ),
    (
        lambda: jaxnet.Model.from_nnx(Nnx(rngs=nnx.Rngs(0))),
        "a finished Nnx is not a constructor of an nnx.Module; give a function, such as lambda "
        "rngs",
    ),
    (
        lambda: check_constructor(7, nnx.Module, "nnx.Module", "f"),
        "7 is not a constructor of an nnx.Module; give a function, such as f",
    ),
    (
        lambda: jaxnet.Model.from_nnx(lambda n, rngs: Nnx(n, rngs=rngs)),
        r"<lambda> cannot be called with rngs alone \(.*missing 1 required.*'n'",
    ),
    (lambda: jaxnet.Model.from_nnx(odd), "odd gives a int; it must give an nnx.Module"),
    (
        lambda: jaxnet.Model.from_nnx(lambda rngs: nnx.Rngs(0)),
        "gives a Rngs; it must give an nnx.Module",
    ),
    (
        lambda: jaxnet.Model.from_equinox(equinox(norm=False)(key=KEY)),
        "a finished Plain is not a constructor of an eqx.Module",
    ),
    (lambda: jaxnet.Model.from_equinox(lambda n, key: None), "cannot be called with key alone"),
    (
        lambda: jaxnet.Model.from_equinox(lambda key: (equinox()(key), None)),
        "gives a tuple; it must give an eqx.Module",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_model_is_refused(make, message):
    pytest.importorskip("equinox")
    with pytest.raises(jaxnet.InputError, match=message):
        make()


@pytest.mark.skipif(List is list, reason="Flax before 0.12 carries bare arrays along")
def test_bare_arrays_of_nnx_are_refused():
    with pytest.raises(
        jaxnet.InputError,
        match=(
            r"Bare.scale is a bare array; make it an nnx.Variable, or a NumPy array if it is "
            r"constant"
        ),
    ):
        jaxnet.Model.from_nnx(Bare)


def test_a_missing_equinox_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "equinox", None)
    with pytest.raises(
        jaxnet.InputError,
        match="needs the package equinox, which is not installed: pip install equinox",
    ):
        jaxnet.Model.from_equinox(lambda key: None)

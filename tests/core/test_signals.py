"""Signals: what they measure, in networks of every library, and that training stays as it is."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import gap, problem_of, shuffled
from flax import linen as nn
from flax import nnx

import jaxnet
from jaxnet.core import training
from jaxnet.core.optimizers import transformation
from jaxnet.core.signals import READERS, layers_of, taken
from jaxnet.engine.arguments import without_signals_of_kernel
from jaxnet.typing import double

pytestmark = pytest.mark.core

KEY = jax.random.key(0)
FIELDS = ("gradient_norm", "update_norm", "parameter_norm", "output_scale")


def recipe(**given):
    return jaxnet.Recipe(
        **{
            "optimizer": "sgd",
            "epochs": 1,
            "batch_size": 100,
            "learning_rate": 0.01,
            "schedule": "constant",
        }
        | given
    )


@functools.cache
def few():
    splits = jaxnet.load("digits")
    x, y = np.asarray(splits.train.x[:500]), np.asarray(splits.train.y[:500])
    return jaxnet.split(x, y, validation=0.0, seed=0)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(16)(x.reshape(len(x), -1)))
        return nn.Dense(10)(jnp.tanh(nn.Dense(12)(x)))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.c, self.b, self.a = (nnx.Linear(*s, rngs=rngs) for s in ((64, 16), (16, 12), (12, 10)))

    def __call__(self, x):
        return self.a(jnp.tanh(self.b(nnx.relu(self.c(x.reshape(len(x), -1))))))


class Equinox(eqx.Module):
    layers: list

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        sizes = (64, 16), (16, 12), (12, 10)
        self.layers = [eqx.nn.Linear(*s, key=k) for s, k in zip(sizes, keys, strict=True)]

    def __call__(self, x):
        x = jnp.tanh(self.layers[1](jax.nn.relu(self.layers[0](x.ravel()))))
        return self.layers[2](x)


def plain_init(key, x):
    shapes = (64, 16), (16, 12), (12, 10)
    params = {}
    for i, shape in enumerate(shapes):
        params[f"b{i}"] = jnp.zeros(shape[1])
        params[f"w{i}"] = jax.random.normal(jax.random.fold_in(key, i), shape) * 0.3
    return params, {}


def plain_apply(params, state, x, *, key, dropout):
    x = x.reshape(len(x), -1)
    x = jnp.maximum(jnp.dot(x, params["w0"]) + params["b0"][None], 0)
    x = jnp.tanh(jnp.dot(x, params["w1"]) + params["b1"][None])
    return jnp.dot(x, params["w2"]) + params["b2"][None], state


MODELS = {
    "linen": jaxnet.Model.from_linen(Linen()),
    "nnx": jaxnet.Model.from_nnx(Nnx),
    "equinox": jaxnet.Model.from_equinox(Equinox),
    "plain": jaxnet.Model(plain_init, plain_apply, "plain"),
}
LAYERS = {
    "linen": ("Dense_0", "Dense_2", "Dense_1"),  # Linen makes the last one before the second
    "nnx": ("c", "b", "a"),
    "equinox": ("layers/0", "layers/1", "layers/2"),
    "plain": ("w0", "b0", "w1", "b1", "w2", "b2"),
}


def kernels_and_biases(params):
    """The arrays of the three layers, with kernels as (inputs, outputs)."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(params)]
    kernels = [
        next(k if k.shape == s else k.T for k in leaves if k.shape in (s, s[::-1]))
        for s in ((64, 16), (16, 12), (12, 10))
    ]
    biases = [next(b for b in leaves if b.shape == (n,)) for n in (16, 12, 10)]
    return kernels, biases


def example(*shape):
    return jax.ShapeDtypeStruct((1, *shape), np.float32)


@pytest.mark.parametrize("library", MODELS)
def test_layers_are_in_the_order_of_the_forward_pass(library):
    layers = layers_of(MODELS[library], example(8, 8), "float32", False, "threefry2x32")
    assert layers.names == LAYERS[library]
    relu, tanh = (1, 3) if library == "plain" else (0, 1)
    seen = {(reading.layer, reading.what) for reading in layers.readings}
    assert {(relu, "relu"), (tanh, "tanh"), (len(layers.names) - 1, "output")} < seen


@pytest.mark.parametrize("library", ["equinox", "plain"])
def test_signals_are_those_of_backpropagation_written_out(library):
    """Against NumPy in float64: a ReLU layer with 4 of 16 dead units, and a tanh layer."""
    model, splits = MODELS[library], few()
    begin = jaxnet.start(model, splits, recipe(), KEY)
    params = jax.tree.map(lambda b: b.at[:4].set(-1e3) if b.shape == (16,) else b * 3, begin.params)
    run = jaxnet.fit(model, splits, recipe(), KEY, params=params, signals=3)
    found = jax.tree.map(lambda column: np.asarray(column)[0, 0], run.history.signals)
    rows = shuffled(begin.order_key, len(splits.train), 100)[0]
    x = np.asarray(splits.standardization.inputs(splits.train.x[rows]), np.float64).reshape(100, 64)
    targets = np.eye(10)[np.asarray(splits.train.y)[rows]]
    (w0, w1, w2), (b0, b1, b2) = kernels_and_biases(params)
    z0 = x @ w0 + b0
    h0 = np.maximum(z0, 0)
    h1 = np.tanh(z1 := h0 @ w1 + b1)
    z2 = h1 @ w2 + b2
    log_p = z2 - z2.max(1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
    d2 = (np.exp(log_p) - targets) / 100
    d1 = d2 @ w2.T * (1 - h1**2)
    d0 = d1 @ w1.T * (z0 > 0)
    slopes = (x.T @ d0, d0.sum(0)), (h0.T @ d1, d1.sum(0)), (h1.T @ d2, d2.sum(0))
    arrays = (w0, b0), (w1, b1), (w2, b2)
    assert found.loss == pytest.approx(-(log_p * targets).sum(1).mean(), rel=1e-4)
    apart = library == "plain"  # where each array is a layer of its own
    size = lambda trees: [  # noqa: E731
        np.sqrt(sum((each**2).sum() for each in tree))
        for tree in ([(leaf,) for tree in trees for leaf in tree] if apart else trees)
    ]
    assert run.layers == LAYERS[library]
    np.testing.assert_allclose(found.gradient_norm, size(slopes), rtol=1e-3)
    np.testing.assert_allclose(found.parameter_norm, size(arrays), rtol=1e-5)
    np.testing.assert_allclose(found.update_norm, 0.01 * np.array(size(slopes)), rtol=2e-2)
    scales = [np.sqrt((z**2).mean()) for z in (z0, z1, z2)]
    np.testing.assert_allclose(found.output_scale[apart :: 1 + apart], scales, rtol=1e-3)
    relu, tanh = (1, 3) if apart else (0, 1)
    assert found.dead_units[relu] == pytest.approx(np.mean((z0 <= 0).all(0)))
    assert found.dead_units[relu] >= 4 / 16
    assert found.saturated_units[tanh] == pytest.approx(np.mean(np.abs(h1) > 0.95), abs=2e-3)
    assert np.isnan(np.delete(found.dead_units, relu)).all()
    assert np.isnan(np.delete(found.saturated_units, tanh)).all()


class Channels(eqx.Module):
    """Channels first, as Equinox has them."""

    conv: eqx.nn.Conv2d
    last: eqx.nn.Linear

    def __init__(self, key):
        self.conv = eqx.nn.Conv2d(1, 5, 3, key=key)
        self.last = eqx.nn.Linear(180, 10, key=key)

    def __call__(self, x):
        return self.last(jax.nn.relu(self.conv(x[None])).ravel())


@pytest.mark.parametrize(
    ("model", "shape", "axis"),
    [
        (jaxnet.cnn((5,), ()).for_outputs(10), (8, 8), 3),
        (jaxnet.Model.from_equinox(Channels), (8, 8), 1),
    ],
)
def test_a_channel_is_a_unit(model, shape, axis):
    layers = layers_of(model, example(*shape), "float32", False, "threefry2x32")
    assert len(layers.names) == 2
    relu = [each for each in layers.readings if each.what == "relu"]
    assert [(each.layer, each.unit_axis) for each in relu] == [(0, axis)]


def test_a_channel_is_dead_where_it_is_0_in_all_places():
    x = jnp.zeros((3, 2, 2, 4)).at[1, 0, 1, 2].set(1.0).at[0, 0, 0, 3].set(5.0)
    assert READERS["relu"][1](x, 3) == pytest.approx(2 / 4)


@pytest.mark.parametrize(
    ("model", "saturating"),
    [
        (jaxnet.mlp((8,), activation="gelu", normalization="layer"), False),
        (jaxnet.mlp((8,), activation="silu", normalization="batch"), False),
        (jaxnet.mlp((8,), activation="tanh", normalization="batch"), True),
    ],
)
def test_activations_without_bounds_do_not_saturate_and_norms_have_no_dead_units(model, saturating):
    model = model.for_outputs(10)
    layers = layers_of(model, example(64), "float32", True, "threefry2x32")
    assert layers.names == ("hidden_0", "block_0/norm", "output")
    seen = {(reading.layer, reading.what) for reading in layers.readings}
    assert seen == {(i, "output") for i in range(3)} | ({(1, "tanh")} if saturating else set())


def test_steps_are_spread_over_the_epoch():
    assert taken(4, 469).tolist() == [0, 117, 234, 351]
    assert taken(16, 5).tolist() == [0, 1, 2, 3, 4]


def test_they_change_no_bit():
    """Not even those of a bias whose gradient is rounding alone, which Adam makes full steps of."""
    model = jaxnet.mlp((16,), activation="tanh", normalization="batch")
    of = recipe(epochs=2, optimizer="adam", dropout=0.1)
    without = jaxnet.fit(model, few(), of, KEY)
    run = jaxnet.fit(model, few(), of, KEY, signals=3)
    assert gap(without.params, run.params) == 0
    assert gap(without.history, run.history._replace(signals=None)) == 0
    assert np.isfinite(np.asarray(run.history.signals.gradient_norm)).all()


def test_members_keep_their_bits_and_have_the_signals_of_the_run_alone(tmp_path):
    model, keys = jaxnet.mlp((16,)), jax.random.split(KEY, 2)
    of = recipe(optimizer="adam", epochs=2)
    without = jaxnet.fit_population(model, few(), of, keys)
    many = jaxnet.fit_population(model, few(), of, keys, signals=2)
    assert gap(without.params, many.params) == 0
    alone = jaxnet.train(model, few(), of, keys[1], signals=2, out=tmp_path / "out")
    one = many[1].history.signals
    for name in ("step", "loss", *FIELDS):
        np.testing.assert_allclose(getattr(one, name), getattr(alone.history.signals, name), 1e-3)
    assert many.history.signals.dead_units.shape == (2, 2, 2, 2)
    assert one.step.tolist() == [[0, 2], [4, 6]]
    jaxnet.save(alone, tmp_path / "run")
    again = jaxnet.restore(tmp_path / "run")
    assert again.layers == alone.layers == ("hidden_0", "output")
    for kept, had in zip(again.history.signals, alone.history.signals, strict=True):
        np.testing.assert_array_equal(kept, had)
    with pytest.raises(jaxnet.InputError, match="signals"):  # the training in out is of others
        jaxnet.train(model, few(), of, keys[1], out=tmp_path / "out")


def test_without_signals_the_program_is_the_plain_fold(monkeypatch):
    """Its text is that of a loop written here, which knows nothing of signals."""

    def plain(problem, state, batches):
        optimizer = transformation(problem.recipe, problem.recipe.epochs * problem.steps)
        x = problem.splits.train.x.reshape(len(problem.splits.train), -1)

        def step(state, batch):
            grads, loss, sums, model_state = training.mean_gradient(problem, x, state, batch)
            with double(False):
                updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            failed = (state.diverged_at < 0) & ~jnp.isfinite(loss)
            new = state._replace(
                params=jax.tree.map(jnp.add, state.params, updates),
                model_state=model_state,
                opt_state=opt_state,
                diverged_at=jnp.where(failed, batch.step, state.diverged_at),
            )
            return new, sums

        state, sums = jax.lax.scan(step, state, batches)
        return state, sums.sum(0)

    def text(run_steps, **given):
        problem = problem_of(jaxnet.mlp((16,)), few(), recipe(), **given)
        fold = jax.jit(lambda key: training.fit(problem, key, run_steps))
        return fold.lower(KEY).as_text()

    assert text(training.run_steps) == text(plain)
    assert text(training.run_steps, signals=3) != text(plain)


def test_members_compute_signals_at_these_steps_only():
    """Under vmap a choice of each member's own would compute both branches at every step."""
    model, splits = jaxnet.mlp((16,)), few()

    def text(signals):
        of = functools.partial(jaxnet.fit, model, splits, recipe(), signals=signals)
        return jax.jit(jax.vmap(of)).lower(jax.random.split(KEY, 2)).as_text()

    assert text(None).count("stablehlo.case") == 0
    assert text(2).count("stablehlo.case") == 1


def test_the_kernel_takes_none_and_says_so(caplog):
    problem = problem_of(jaxnet.mlp((8,)), few(), recipe(), signals=2)
    plan = jaxnet.Plan(implementation="resident")
    assert without_signals_of_kernel(plan, problem).signals is None
    assert [each.message.split(":")[0] for each in caplog.records] == ["signals are not measured"]
    assert without_signals_of_kernel(jaxnet.Plan(implementation="xla"), problem) is problem
    assert len(caplog.records) == 1


@pytest.mark.parametrize("signals", [0, -1])
def test_what_is_no_number_of_steps_is_refused(signals):
    with pytest.raises(jaxnet.InputError, match="signals is"):
        jaxnet.fit(jaxnet.mlp((8,)), few(), recipe(), KEY, signals=signals)

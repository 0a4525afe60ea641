"""The first number that is not finite, planted in a forward pass, a gradient and an update."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnet
from jaxnet.diagnostics import find_failure

pytestmark = pytest.mark.core

KEY = jax.random.key(0)


def some(examples=320):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(examples, 6)).astype(np.float32)
    return jaxnet.split(x, (x[:, 0] > 0).astype(int), validation=0.0, test=0.2, seed=0)


def recipe(**given):
    return jaxnet.Recipe(**{"epochs": 12, "batch_size": 16, "learning_rate": 1e-3} | given)


def init(key, x):
    sizes = [(x.shape[-1], 8), (8, 8), (8, 2)]
    params = {
        f"layer_{i}": {
            "w": jax.random.normal(jax.random.fold_in(key, i), size) * 0.4,
            "b": jnp.zeros(size[1]),
        }
        for i, size in enumerate(sizes, 1)
    }
    return params, {"step": jnp.int32(0)}


def planted(at, plant):
    """A network of three layers that counts its steps, with `plant` in layer 2 at one of them."""

    def apply(params, state, x, *, key, dropout):
        for i in (1, 2, 3):
            x = jnp.dot(x, params[f"layer_{i}"]["w"]) + params[f"layer_{i}"]["b"][None]
            if i == 2 and key is not None:
                x = plant(x, state["step"] == at)
            x = jax.nn.relu(x) if i < 3 else x
        return x, {"step": state["step"] + (key is not None)}

    return jaxnet.Model(init, apply, "planted")


def test_a_nan_planted_in_layer_2_at_step_137_is_named(tmp_path):
    model = planted(137, lambda x, here: x * jnp.where(here, jnp.nan, 1.0))
    run = jaxnet.train(model, some(), recipe(), KEY, signals=4)
    assert int(run.diverged_at) == 137
    found = run.failure
    assert found[:5] == (137, "forward pass", "mul", "layer_2", 2)
    assert len(found.rows) == 16  # all of the batch
    assert "mul in layer 2 (layer_2), in the forward pass of step 137" in run.status
    jaxnet.save(run, tmp_path / "run")
    assert jaxnet.restore(tmp_path / "run").failure == found


def test_rows_are_those_of_the_examples():
    """The logarithm of a negative unit, which only some examples have."""
    splits = some()
    model = planted(30, lambda x, here: jnp.where(here & (x[:, :1] < -0.5), jnp.log(x[:, :1]), x))
    run = jaxnet.fit(model, splits, recipe(), KEY)
    found = find_failure(model, splits, recipe(), KEY, run)
    assert found[:5] == (30, "forward pass", "log", "layer_2", 2)
    assert 0 < len(found.rows) < 16


def test_a_gradient_is_told_from_a_forward_pass():
    """The root of 0 is finite, and its slope is not, which the loss of the next step shows."""
    model = planted(25, lambda x, here: x + jnp.sqrt(jnp.where(here, x * 0, 1.0)))
    run = jaxnet.fit(model, some(), recipe(), KEY)
    assert int(run.diverged_at) == 26
    found = find_failure(model, some(), recipe(), KEY, run)
    assert (found.step, found.part, found.layer) == (25, "gradient", "layer_2")


def breaks_second_layer(learning_rate):
    """Descent that sets the parameters of the second layer to infinity in its 21st step."""

    def update(grads, count, params=None):
        new = jax.tree.map(lambda g: -0.01 * g, grads)
        new["layer_2"] = jax.tree.map(lambda g: jnp.where(count == 20, jnp.inf, g), new["layer_2"])
        return new, count + 1

    return optax.GradientTransformation(lambda params: jnp.int32(0), update)


def test_an_update_is_told_from_a_gradient():
    model, of = planted(-1, lambda x, here: x), recipe(optimizer=breaks_second_layer)
    run = jaxnet.fit(model, some(), of, KEY)
    found = find_failure(model, some(), of, KEY, run)
    assert (found.step, found.part, found.number) == (20, "update", 2)
    assert "breaks_second_layer" in found.operation


def test_nothing_is_found_in_a_training_that_is_finite():
    model = planted(-1, lambda x, here: x)
    of = recipe(epochs=1)
    run = jaxnet.fit(model, some(), of, KEY)
    assert find_failure(model, some(), of, KEY, run) is None

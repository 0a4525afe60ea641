"""Faults that are planted in a small training are named, and nothing is said of a healthy one."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnet
from jaxnet.core.training import Problem
from jaxnet.data.resampling import subsamples
from jaxnet.diagnostics.causes import Probes, of_probes
from jaxnet.diagnostics.training import Signs
from jaxnet.studies import probes
from jaxnet.studies.probes import spread, training_findings
from jaxnet.studies.trained import with_signals

RECIPE = jaxnet.Recipe(epochs=30, batch_size=32, learning_rate=0.01, schedule="constant")
EXAMPLES = 300
NET = jaxnet.mlp((16,))
THREE = NET.for_outputs(3)


def clouds(labels=None, scale=1.0):
    """Three clouds of points, far from each other."""
    rng = np.random.default_rng(0)
    y = np.arange(EXAMPLES) % 3
    x = 3 * np.eye(3, 6)[y] + rng.normal(size=(EXAMPLES, 6))
    train = jaxnet.Dataset(
        (scale * x).astype(np.float32),
        (y if labels is None else labels(y)).astype(np.int32),
        tuple("abc"),
    )
    none = replace(train, x=train.x[:0], y=train.y[:0])
    standardization = jaxnet.data.Standardization.of(train)
    if scale != 1:
        standardization = standardization._replace(mean=jnp.zeros(6), scale=jnp.ones(6))
    return jaxnet.Splits(train, none, none, standardization)


def one_class(y):
    return np.where(np.arange(len(y)) < 6, y, 0)


def permuted(y):
    return np.random.default_rng(1).permutation(y)


def zero(key, x):
    return jax.tree.map(jnp.zeros_like, THREE.init(key, x))


def dead(key, x):
    params, state = THREE.init(key, x)
    first = params["hidden_0"]
    return params | {"hidden_0": first | {"bias": first["bias"] - 100}}, state


def softmax(*args, **words):
    outputs, state = THREE.apply(*args, **words)
    return jax.nn.softmax(outputs), state


def deep(params, state, x, *, key=None, dropout=None):
    for kernel in params["kernels"]:
        x = jax.nn.sigmoid(x @ kernel)
    return x @ params["last"], state


def deep_init(key, x):
    keys = jax.random.split(key, 13)
    kernels = [jax.random.normal(each, (6, 6)) / 6**0.5 for each in keys[:12]]
    return {"kernels": kernels, "last": jax.random.normal(keys[12], (6, 3))}, {}


def softmax_twice(outputs, targets):
    return jaxnet.cross_entropy(jax.nn.softmax(outputs), targets)


@functools.cache
def found(model=NET, splits=None, recipe=RECIPE, loss=None):
    splits = clouds() if splits is None else splits()
    samples = subsamples(jax.random.key(1), 2, 225, EXAMPLES)
    keys = jax.random.split(jax.random.key(0), 2)
    networks = jaxnet.fit_population(
        model, splits, recipe, keys, resample=samples, signals=16, loss=loss
    )
    problem = Problem(model, splits, recipe, loss, signals=16)
    return training_findings(problem, networks, key=jax.random.key(2), tolerance=0.02)


FAULTS = {
    "rate too low": (
        {"recipe": replace(RECIPE, learning_rate=1e-5)},
        ("did_not_begin_to_learn", "learning_rate", "the learning rate is too low"),
    ),
    "rate too high": (
        {"recipe": replace(RECIPE, learning_rate=30.0)},
        ("unstable", "learning_rate", "the learning rate is too high"),
    ),
    "dead units": (
        {"model": jaxnet.Model(dead, THREE.apply, "dead")},
        ("did_not_begin_to_learn", "init", "100% of the units of hidden_0 are dead"),
    ),
    "first parameters 0": (
        {"model": jaxnet.Model(zero, THREE.apply, "zero")},
        ("did_not_begin_to_learn", "init", "first parameters of 2 of 2 layers are all 0"),
    ),
    "vanishing gradients": (
        {"model": jaxnet.Model(deep_init, deep, "deep")},
        ("did_not_begin_to_learn", "activation", "it vanishes on its way through the layers"),
    ),
    "not finished": (
        {"recipe": replace(RECIPE, epochs=1)},
        ("not_finished", "epochs", "in the last quarter of them the loss was still 7% lower"),
    ),
    "inputs not scaled": (
        {"splits": functools.partial(clouds, scale=1000.0)},
        ("inputs_not_scaled", "standardization", "it should be about 1"),
    ),
    "softmax in the model": (
        {"model": jaxnet.Model(THREE.init, softmax, "softmax")},
        ("wrong_loss", "outputs", "is still 50% of that of guessing"),
    ),
    "softmax in the loss": (
        {"loss": softmax_twice},
        ("wrong_loss", "outputs", "is still 50% of that of guessing"),
    ),
    "one class": (
        {"splits": functools.partial(clouds, one_class)},
        ("stuck_at_majority", "train", "of the predictions for unseen examples are one class"),
    ),
    "labels permuted": (
        {"splits": functools.partial(clouds, permuted)},
        ("labels_match_nothing", "train", "is no better than that of always guessing"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named_with_its_remedy_first(fault):
    given, (code, field, words) = FAULTS[fault]
    (finding,) = found(**given)
    assert (finding.code, finding.remedies[0].field) == (code, field)
    assert finding.claimed
    assert words in finding.evidence


def test_a_remedy_of_a_rate_brings_it_near_to_the_right_one():
    (low,), (high,) = (found(**FAULTS[name][0]) for name in ("rate too low", "rate too high"))
    assert 1e-3 <= 1e-5 * low.remedies[0].value <= 0.1
    assert 1e-3 <= 30 * high.remedies[0].value <= 0.3


def test_nothing_is_trained_for_a_healthy_training(monkeypatch):
    monkeypatch.delattr(probes, "fit_population")
    assert found.__wrapped__() == ()


RATES = np.array([0.01, 0.1, 1.0, 10.0])
SIGNS = Signs(
    0, 0.3, 0.35, 0.6, 20, 0.4, 0.4, 0.6, 1, 0, (), *[np.empty(0)] * 4, 1, 1, 0.8, 0.02, 600
)


def test_a_model_too_small_has_no_finding():
    """No rate fits 32 examples."""
    errors = np.array([0.6, 0.5, 0.3, 0.3])
    assert of_probes(SIGNS, Probes(0.01, RATES, errors, errors)) == []


def test_networks_that_diverge_are_given_a_rate_at_which_they_do_not():
    few, many = np.array([0.3, 0.0, np.nan, np.nan]), np.array([0.5, 0.1, np.nan, np.nan])
    (finding,) = of_probes(SIGNS._replace(lost=0.5), Probes(2.0, RATES, few, many))
    assert finding.code == "diverged"
    assert finding.remedies[0].value == 0.1
    assert "in 50% of the networks" in finding.evidence


def test_32_examples_that_another_rate_alone_fits():
    few, many = np.array([0.9, 0.05, 0.6, 0.9]), np.full(4, 0.3)
    (finding,) = of_probes(SIGNS, Probes(0.01, RATES, few, many))
    assert (finding.code, finding.remedies[0].value) == ("cannot_fit_32_examples", 0.1)


def test_probes_have_every_class_equally_often():
    train = clouds(one_class).train
    y = np.asarray(train.y)
    chosen = spread(train, 12)
    assert np.bincount(y[chosen]).tolist() == [8, 2, 2]  # there are no more of the others
    assert len(set(chosen.tolist())) == 12


@pytest.mark.parametrize(
    ("epochs", "batch_size", "signals"),
    # of 10 steps an epoch: an eighth of them, but 64 in all; of 300: an eighth, but at most 16
    [(30, 30, 3), (100, 30, 1), (2, 30, 16), (30, 1, 16)],
)
def test_few_steps_of_a_diagnosis_are_measured(epochs, batch_size, signals):
    recipe = jaxnet.Recipe(epochs=epochs, batch_size=batch_size)
    assert with_signals(Problem(NET, clouds(), recipe)).signals == signals


@pytest.mark.parametrize("signals", [1, 10])
def test_how_far_the_loss_still_falls_does_not_depend_on_which_steps_are_measured(signals):
    splits, keys = clouds(), jax.random.split(jax.random.key(0), 2)
    run = jaxnet.fit_population(NET, splits, RECIPE, keys, signals=signals)
    every = np.asarray(run.history.train_loss, np.float64)
    before, last = every[:, -14:-7].mean(1), every[:, -7:].mean(1)
    problem = Problem(NET, splits, RECIPE, signals=signals)
    found = probes.signs_of_training(problem, run)
    assert found.fell == pytest.approx(np.median((before - last) / last))

"""Recipes: what is refused, what is a leaf, and that schedules are those of optax."""

from itertools import combinations, product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from recipes import FEW, REGULARIZERS, ROWS, pairs

import jaxnet
from jaxnet.core.optimizers import transformation
from jaxnet.core.recipe import NUMBERS, OPTIMIZERS, SCHEDULES, STRUCTURE, as_float32, check

pytestmark = pytest.mark.core

Recipe = jaxnet.Recipe


def test_numbers_are_leaves_structure_is_static_and_none_is_absent():
    assert len(jax.tree.leaves(Recipe())) == 1
    assert len(jax.tree.leaves(Recipe(dropout=0.1, l1=0.0))) == 3
    assert set(NUMBERS) | set(STRUCTURE) == set(Recipe.__dataclass_fields__)
    assert jax.tree.structure(Recipe(learning_rate=1)) == jax.tree.structure(
        Recipe(learning_rate=2.0)
    )
    assert all(
        leaf.dtype == np.float32
        for leaf in jax.tree.leaves(as_float32(Recipe(learning_rate=1, dropout=jnp.float16(0.5))))
    )


def test_the_table_covers_every_pair():
    optimizers = (*OPTIMIZERS, "custom")
    wanted = {
        *product(optimizers, SCHEDULES),
        *product(optimizers, REGULARIZERS),
        *product(SCHEDULES, REGULARIZERS),
        *combinations(REGULARIZERS, 2),
    }
    covered = set().union(*map(pairs, ROWS))
    # A custom optimizer brings its own weight decay: see the refusals.
    assert {frozenset(pair) for pair in wanted} - covered == {frozenset(("custom", "weight_decay"))}


def test_the_few_rows_have_every_name():
    names = set().union(*({row[0], row[1], *row[2]} for row in FEW))
    assert names == {*OPTIMIZERS, "custom", *SCHEDULES, *REGULARIZERS}
    assert len(FEW) == len(OPTIMIZERS) + 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adma"}, "unknown optimizer 'adma'; did you mean 'adam'"),
        ({"optimizer": 3}, "optimizer is 3; give one of"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'"),
        ({"precision": "float16"}, "unknown precision 'float16'"),
        ({"epochs": 0}, "epochs is 0; give a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; give a finite number"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"learning_rate": None}, "learning_rate is None; give a number"),
        ({"dropout": 1.0}, "dropout is 1.0; give a finite number from 0 to below 1"),
        ({"clip": float("inf")}, "clip is inf"),
        ({"optimizer": "sgd", "momentum": 0.9}, "sgd has no momentum; give optimizer='momentum'"),
        ({"optimizer": "adamw"}, "adamw without weight_decay is adam; give weight_decay"),
        (
            {"optimizer": optax.adam(1e-3)},
            "a finished optax transformation brings its own learning_rate",
        ),
        (
            {"optimizer": optax.adam(1e-3), "learning_rate": None, "schedule": "cosine"},
            "brings its own schedule",
        ),
        (
            {"optimizer": optax.adam(1e-3), "learning_rate": None, "clip": 1.0},
            "brings its own clip",
        ),
        (
            {"optimizer": optax.adam, "weight_decay": 0.1},
            "weight_decay belongs inside a custom optimizer",
        ),
    ],
)
def test_bad_recipes_are_refused(changes, message):
    with pytest.raises(jaxnet.InputError, match=message):
        check(Recipe(**changes))


def test_patience_without_validation_is_refused(digits):
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    splits = jaxnet.split(x, np.arange(50) % 2, validation=0.0)
    with pytest.raises(jaxnet.InputError, match="patience is 2, but the validation set is empty"):
        jaxnet.fit(jaxnet.linear(), splits, Recipe(patience=2), jax.random.key(0))


def test_a_finished_transformation_trains(digits):
    run = jaxnet.fit(
        jaxnet.mlp((32,)),
        digits,
        Recipe(optimizer=optax.adam(5e-3), learning_rate=None),
        jax.random.key(0),
    )
    assert jaxnet.evaluate(jaxnet.mlp((32,)), run, digits.test).accuracy.estimate > 0.9


THEIRS = {
    "constant": lambda steps: lambda count: 0.5,
    "cosine": lambda steps: optax.cosine_decay_schedule(0.5, steps),
    "warmup_cosine": lambda steps: optax.warmup_cosine_decay_schedule(0.0, 0.5, steps // 10, steps),
    "one_cycle": lambda steps: optax.cosine_onecycle_schedule(steps, 0.5),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_are_those_of_optax(schedule):
    steps, params = 50, {"w": jnp.zeros((2, 2))}
    optimizer = transformation(
        as_float32(Recipe(optimizer="sgd", schedule=schedule, learning_rate=0.5)), steps
    )
    state, theirs = optimizer.init(params), THEIRS[schedule](steps)
    for count in range(steps):
        updates, state = optimizer.update({"w": jnp.ones((2, 2))}, state, params)
        np.testing.assert_allclose(updates["w"], -theirs(count), atol=1e-6)


ALIASES = {
    "sgd": (Recipe(optimizer="sgd", learning_rate=0.1, schedule="constant"), optax.sgd(0.1)),
    "momentum": (
        Recipe(optimizer="momentum", learning_rate=0.1, schedule="constant"),
        optax.sgd(0.1, momentum=0.9),
    ),
    "nesterov": (
        Recipe(optimizer="nesterov", learning_rate=0.1, momentum=0.8, schedule="constant"),
        optax.sgd(0.1, momentum=0.8, nesterov=True),
    ),
    "adam": (
        Recipe(optimizer="adam", learning_rate=0.1, momentum=0.7, schedule="constant"),
        optax.adam(0.1, b1=0.7),
    ),
    "adamw": (
        Recipe(optimizer="adamw", learning_rate=0.1, weight_decay=0.2, schedule="constant"),
        optax.adamw(0.1, weight_decay=0.2, mask=lambda params: {"w": True, "b": False}),
    ),
    "muon": (
        Recipe(optimizer="muon", learning_rate=0.1, schedule="constant"),
        optax.contrib.muon(0.1),
    ),
    "custom": (
        Recipe(optimizer=optax.rmsprop, learning_rate=0.1, schedule="constant"),
        optax.rmsprop(0.1),
    ),
    "clip": (
        Recipe(optimizer="sgd", learning_rate=0.1, clip=0.5, schedule="constant"),
        optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1)),
    ),
}


@pytest.mark.parametrize("name", ALIASES)
def test_optimizers_are_those_of_optax(name):
    recipe, theirs = ALIASES[name]
    ours = transformation(as_float32(recipe), 10)
    key = jax.random.key(0)
    params = {"w": jax.random.normal(key, (4, 3)), "b": jnp.ones(3)}
    states = [ours.init(params), theirs.init(params)]
    for i in range(4):
        gradient = jax.tree.map(
            lambda leaf, i=i: jax.random.normal(jax.random.key(i), leaf.shape), params
        )
        a, states[0] = ours.update(gradient, states[0], params)
        b, states[1] = theirs.update(gradient, states[1], params)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), a, b)

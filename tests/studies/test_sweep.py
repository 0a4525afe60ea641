"""Sweeps: every row is what `fit` gives, the validation set chooses, and what is said of it."""

import csv
from dataclasses import replace

import jax
import numpy as np
import pytest
from conftest import gap
from scipy import stats

import jaxnet
from jaxnet import Recipe, space
from jaxnet.data.splitting import take
from jaxnet.diagnostics import Estimate, deviation, repeated, seeds_needed, wilson
from jaxnet.stats import random_effects
from jaxnet.stats.random_effects import MIN_ERROR_EXAMPLES, RATE, interval_of_few
from jaxnet.studies.sweep import sweep

MODEL, RECIPE, KEY = (
    jaxnet.mlp((16,)),
    Recipe(epochs=4, batch_size=64, schedule="constant", learning_rate=1e-3),
    jax.random.key(0),
)


@pytest.fixture(scope="module")
def found(digits):
    return sweep(
        MODEL, digits, RECIPE, space.grid({"learning_rate": space.LogUniform(1e-5, 1.0)}, 6), KEY
    )


def test_every_row_is_the_run_alone(digits, found):
    key = jax.random.split(KEY, 1)[0]
    for row in (0, 3):
        run = jaxnet.fit(
            MODEL,
            digits,
            Recipe(
                epochs=4,
                batch_size=64,
                learning_rate=found.table["learning_rate"][row],
                schedule="constant",
            ),
            key,
        )
        metrics = jaxnet.evaluate(MODEL, run, digits.validation)
        assert found.table["error"][row] == pytest.approx(float(metrics.error), abs=1e-6)
        interval = wilson(int(metrics.wrong.sum()), len(digits.validation))
        assert found.table["low"][row] == pytest.approx(interval.low)
        if row != found.best:
            assert found.table["high"][row] == pytest.approx(interval.high)
        assert found.table["loss"][row] == pytest.approx(float(metrics.loss), rel=1e-4)


def test_the_validation_set_chooses_and_the_test_set_is_looked_at_once(digits, found):
    assert found.best == np.lexsort((found.table["loss"], found.table["error"]))[0]
    assert found.recipe.learning_rate == found.table["learning_rate"][found.best]
    assert gap(found.run.params, found.population[found.best].params) == 0
    assert float(found.test.error) == float(jaxnet.evaluate(MODEL, found.run, digits.test).error)
    assert "best of 6 it is too low on average" in found.words[0]
    most = np.bincount(digits.train.y).argmax()
    assert f"{np.mean(np.asarray(digits.validation.y) != most):.2%}" in found.words[2]
    assert not any("edge" in words for words in found.words)
    assert not any(name.startswith("test") for name in found.table)


def test_the_interval_of_the_best_trial_allows_for_the_choice(digits, found):
    table, best, n = found.table, found.best, len(digits.validation)
    kinds = ["one trial"] * 6
    kinds[best] = "best of 6"
    assert list(table["interval_for"]) == kinds
    alone = wilson(round(table["error"][best] * n), n)
    bonferroni = wilson(round(table["error"][best] * n), n, 1 - 0.05 / 6)
    assert alone.high < table["high"][best] <= bonferroni.high
    assert (
        f"the 95% interval of trial {best}, {table['low'][best]:.2%} to {table['high'][best]:.2%}, "
        "allows for the choice among 6 trials"
    ) in found.words[1]


def small(validation=0.3):
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    return jaxnet.split(x, (x[:, 0] > 0).astype(int), validation=validation)


def test_what_has_no_interval_is_said():
    """Patience chooses the epoch on the validation set too; and here there is no test set."""
    splits, trials = small(), [{"patience": patience} for patience in (None, 1)]
    splits = replace(splits, test=take(splits.test, slice(0, 0)))
    found = sweep(jaxnet.linear(), splits, Recipe(epochs=2), trials, KEY)
    assert found.table["interval_for"][1] == "none"
    assert found.table["interval_for"][0] in ("one trial", "best of 2")
    assert list(np.isnan(found.table["high"])) == [False, True]
    assert any("patience chose the epoch of each network" in words for words in found.words)
    assert "hold some out as a test set" in found.words[0]


def test_the_table_as_csv(found):
    rows = list(csv.DictReader(found.csv().splitlines()))
    assert [row["interval_for"] for row in rows] == list(found.table["interval_for"])
    assert len(rows) == 6
    assert float(rows[2]["error"]) == pytest.approx(found.table["error"][2])
    assert [int(row["trial"]) for row in rows] == list(range(6))


def test_the_edge_of_the_space_is_pointed_out(digits):
    low = sweep(
        MODEL, digits, RECIPE, space.grid({"learning_rate": space.LogUniform(1e-6, 1e-3)}, 5), KEY
    )
    assert low.best == 4
    assert any(
        words.startswith("the best learning_rate, 0.001, lies at the edge of what was tried")
        for words in low.words
    )


def test_seeds_structures_and_augmentation(digits):
    trials = space.grid(
        {"model": [MODEL, jaxnet.linear()], "noise": (0.1, 0.5), "batch_size": (32, 64)}
    )
    found = sweep(jaxnet.mlp((8,)), digits, Recipe(epochs=2), trials, KEY, seeds=3)
    assert len(found.population) == 24
    assert len(found.population.runs) == 4
    assert set(found.table["model"]) == {MODEL.name, jaxnet.linear().name}
    keys = jax.random.split(KEY, 3)
    recipe = Recipe(epochs=2, batch_size=64, augmentation=jaxnet.Augmentation(noise=0.5))
    row = trials.index({"model": trials[0]["model"], "noise": 0.5, "batch_size": 64})
    wrong = np.stack(
        [
            jaxnet.evaluate(MODEL, jaxnet.fit(MODEL, digits, recipe, key), digits.validation).wrong
            for key in keys
        ]
    )
    interval = interval_of_few(random_effects.table(wrong, RATE), examples=MIN_ERROR_EXAMPLES)
    assert found.table["error"][row] == pytest.approx(wrong.mean(), abs=1e-6)
    assert found.table["low"][row] == pytest.approx(interval.low, abs=1e-6)
    if row != found.best:
        assert found.table["high"][row] == pytest.approx(interval.high, abs=1e-6)
    assert sorted(found.table["interval_for"]) == ["best of 8"] + 7 * ["one trial"]


def test_a_regression():
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    splits = jaxnet.split(x, x.sum(1) * 100)
    found = sweep(
        jaxnet.linear(),
        splits,
        Recipe(epochs=20, schedule="constant", batch_size=128, learning_rate=1e-3),
        space.grid({"learning_rate": space.LogUniform(1e-4, 0.1)}, 4),
        KEY,
    )
    assert found.best == 3
    assert found.table["error"][3] < 0.05 < found.table["error"][0]
    squares = jaxnet.evaluate(jaxnet.linear(), found.population[0], splits.validation)
    assert found.table["error"][0] == pytest.approx(squares.error.estimate)
    assert found.table["low"][0] == pytest.approx(squares.error.low)


def test_trials_that_diverge_are_marked_and_not_chosen(digits):
    trials = [{"learning_rate": rate} for rate in (1e30, 3e-3, 1e30)]
    found = sweep(
        MODEL,
        digits,
        Recipe(epochs=2, optimizer="sgd", schedule="constant", batch_size=128, learning_rate=1e-3),
        trials,
        KEY,
    )
    assert list(found.table["diverged"]) == [1, 0, 1]
    assert list(np.isnan(found.table["error"])) == [True, False, True]
    assert found.best == 1
    assert "in 2 of 3 trials a network diverged" in found.words[-1]
    with pytest.raises(jaxnet.InputError, match="every network of every trial diverged"):
        sweep(
            MODEL,
            digits,
            Recipe(
                epochs=2, optimizer="sgd", schedule="constant", batch_size=128, learning_rate=1e-3
            ),
            trials[:1],
            KEY,
        )


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ([], "0 trials"),
        (
            [{"learning_rat": 1.0}],
            "unknown hyperparameter 'learning_rat'; did you mean 'learning_rate'?",
        ),
        ([{"dropout": 2.0}], "dropout is 2.0"),
    ],
)
def test_bad_trials_are_refused(digits, trials, message):
    with pytest.raises(jaxnet.InputError, match=message):
        sweep(MODEL, digits, RECIPE, trials, KEY)


def test_the_test_set_never_chooses():
    splits = small(validation=0.0)
    with pytest.raises(
        jaxnet.InputError, match="the validation set is empty, and the test set must not choose"
    ):
        sweep(MODEL, splits, RECIPE, [{"learning_rate": 1e-3}], KEY)


def test_student_and_chi_square_against_scipy():
    values = np.random.default_rng(0).normal(3, 2, 12)
    low, high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert (repeated(values).low, repeated(values).high) == pytest.approx((low, high))
    low, high = np.sqrt(11 * values.var(ddof=1) / stats.chi2.ppf([0.975, 0.025], 11))
    assert (deviation(values).low, deviation(values).high) == pytest.approx((low, high))
    assert "at least 2 are needed" in repeated(values[:1]).refused
    assert "at least 2 are needed" in deviation(values[:1]).refused


@pytest.mark.parametrize(("effect", "published"), [(0.2, 393), (0.5, 64), (0.8, 26), (1.0, 17)])
def test_seeds_needed_are_those_of_the_published_table(effect, published):
    """Cohen 1988, table 2.4.1: two-sided 5%, power 80%."""
    needed = seeds_needed(Estimate(1.0, 0.5, 2.0), effect)
    assert abs(float(needed) - published) <= (1 if effect < 0.5 else 0)
    assert needed.low < float(needed) < needed.high


def test_seeds_needed_at_the_ends():
    assert float(seeds_needed(Estimate(0.0, 0.0, 0.0), 0.1)) == 2
    assert float(seeds_needed(Estimate(1e-9, 1e-9, 1e-9), 1.0)) == 2
    assert np.isinf(float(seeds_needed(Estimate(1.0, 1.0, 1.0), 1e-5)))
    assert seeds_needed(deviation(np.ones(1)), 0.1).refused
    with pytest.raises(jaxnet.InputError, match="difference is 0"):
        seeds_needed(Estimate(1.0, 1.0, 1.0), 0.0)

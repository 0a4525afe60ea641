"""Prediction sets of networks and of populations, beside what one computes by hand."""

import logging

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet import InputError, Recipe
from jaxnet.data.resampling import folds
from jaxnet.data.splitting import pool

MODEL, RECIPE, KEY = jaxnet.linear(), Recipe(epochs=20, learning_rate=3e-2), jax.random.key(0)


@pytest.fixture(scope="module")
def table():
    """240 rows of 3 inputs, and 3 classes that overlap."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    x = (1.5 * np.eye(3)[y] + rng.normal(size=(240, 3))).astype(np.float32)
    return jaxnet.split(x, y, seed=0, validation=0.4, test=0.2)


def rounded(log_probabilities):
    return np.exp(np.asarray(log_probabilities, np.float16).astype(float))


def test_one_network_is_calibrated_on_the_validation_set(table):
    run = jaxnet.fit(MODEL, table, RECIPE, KEY)
    x, y = np.asarray(table.test.x), np.asarray(table.validation.y)
    p, new = (rounded(jaxnet.predict(MODEL, run, part)) for part in (table.validation.x, x))
    at = len(y) - int(np.ceil((len(y) + 1) * 0.9))
    expected = new >= np.sort(p[np.arange(len(y)), y])[at]
    found = jaxnet.predict(MODEL, run, x, coverage=0.9, splits=table)
    np.testing.assert_array_equal(found, expected)


def test_members_of_folds_are_calibrated_on_what_they_left_out(table):
    both = pool(table)
    samples = folds(both.train, 4)
    keys = jax.random.split(KEY, 4)
    many = jaxnet.fit_population(MODEL, both, RECIPE, keys, resample=samples)
    x, y, n = np.asarray(table.test.x), np.asarray(both.train.y), len(both.train)
    known = rounded(jaxnet.predict(MODEL, many, both.train.x))
    new = rounded(jaxnet.predict(MODEL, many, x))
    fold = np.argmax([~samples.seen(i) for i in range(4)], axis=0)
    fits = known[fold, np.arange(n), y]
    p = (1 + (fits[:, None, None] <= new[fold]).sum(0)) / (n + 1)
    found = jaxnet.predict(MODEL, many, x, coverage=0.95, splits=both)
    np.testing.assert_array_equal(found, p > 0.05)
    everything = jaxnet.fit_population(MODEL, table, RECIPE, keys[:2])
    vote = rounded(jaxnet.predict(MODEL, everything, x)).mean(0)
    found = jaxnet.predict(MODEL, everything, x, coverage=0.5, splits=table)
    right = np.asarray(table.validation.y)
    known = rounded(jaxnet.predict(MODEL, everything, table.validation.x)).mean(0)
    known = np.sort(known[np.arange(len(right)), right])
    at = len(right) - int(np.ceil((len(right) + 1) * 0.5))
    np.testing.assert_array_equal(found, vote >= known[at])


def test_empty_sets_are_said_and_what_cannot_be_meant_is_refused(table, caplog):
    run = jaxnet.fit(MODEL, table, RECIPE, KEY)
    x = np.asarray(table.test.x)
    with caplog.at_level(logging.WARNING, "jaxnet"):
        found = jaxnet.predict(MODEL, run, x, coverage=0.3, splits=table)
    empty = (~found.any(1)).sum()
    assert empty
    assert f"{empty} of {len(x)} prediction sets are empty" in caplog.text
    for given, words in (
        ({"coverage": 0.9}, "splits is missing"),
        ({"splits": table}, "coverage is missing"),
        ({"coverage": 1.0, "splits": table}, "coverage is 1.0; give a number between 0 and 1"),
        ({"coverage": 0.9, "splits": pool(table)}, "no validation set to calibrate with"),
    ):
        with pytest.raises(InputError, match=words):
            jaxnet.predict(MODEL, run, x, **given)
    values = jaxnet.split(x, x[:, 0], seed=0)
    other = jaxnet.fit(MODEL, values, RECIPE, KEY)
    with pytest.raises(InputError, match="values of a regression"):
        jaxnet.predict(MODEL, other, x, coverage=0.5, splits=values, by_class=True)

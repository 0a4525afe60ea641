"""Slices of a census: planted ones, and what the page and the findings say of them."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet.data import Column
from jaxnet.models.builtin import last_hidden
from jaxnet.report.html.page import _census
from jaxnet.studies.census import census
from jaxnet.studies.census_slices import _of_columns, _representation

COLORS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def found():
    """40 groups of 30 rows. A third of the labels of red rows are wrong, and most of one group."""
    rng = np.random.default_rng(0)
    groups, true = np.repeat(np.arange(40), 30), rng.integers(0, 3, 1200)
    color = rng.choice(3, 1200, p=[0.2, 0.4, 0.4])
    wrong = rng.random(1200) < np.where(groups == 5, 0.7, np.where(color == 0, 0.3, 0.02))
    y = np.where(wrong, (true + rng.integers(1, 3, 1200)) % 3, true)
    x = np.concatenate([8.0 * np.eye(3)[true] + rng.normal(size=(1200, 3)), np.eye(3)[color]], 1)
    splits = jaxnet.split(x.astype(np.float32), y, groups=groups, test=0.1, seed=0)
    columns = (*(Column(f"number {i}") for i in range(3)), Column("color", COLORS))
    splits = replace(splits, columns=columns, grouped_by="patient")
    recipe = jaxnet.Recipe(epochs=5, batch_size=64, learning_rate=3e-2)
    return census(jaxnet.mlp((4,)), splits, recipe, jax.random.key(0), members=16)


def test_planted_slices_are_named_with_the_errors_of_the_half_that_confirms_them(found):
    named = {each.words: each for each in found.slices}
    red = named["color is red"]
    assert any(each.kind == "group" for each in found.slices) == (5 in found.splits.train.groups)
    inside = red.rows & ~found.halves[0]
    np.testing.assert_array_equal(red.rows, np.asarray(found.splits.train.x)[:, 3] == 1)
    unseen = np.nanmean(np.where(found.halves, np.nan, found.wrong), axis=0)
    assert red.error == pytest.approx(unseen[inside].mean())
    assert red.elsewhere == pytest.approx(unseen[~red.rows & ~found.halves[0]].mean())
    assert red.more.low > 0
    (one,) = [
        each for each in found.findings if each.evidence.startswith(f"the error is {red.error:.2%}")
    ]
    assert one.code.value == "slice"
    assert one.claimed == (one.size.low > 0.02)
    assert red.rows[list(one.examples)].all()
    assert "where color is red (" in str(found)
    page = _census(found.summary())
    assert "color is red" in page
    assert "found on one half of the examples and confirmed on the other" in page


def test_clusters_are_those_of_the_last_hidden_layer(found):
    run = found.population[0]
    own, params = run.standardization, run.params
    x = (np.asarray(found.splits.train.x) - np.asarray(own.mean)) / np.asarray(own.scale)
    layer = params["hidden_0"]
    activations, words = _representation(found)
    assert words == "activations of the last layer"
    by_hand = np.maximum(x @ layer["kernel"] + layer["bias"], 0)
    np.testing.assert_allclose(activations, by_hand, atol=1e-4)
    assert last_hidden(jaxnet.linear(), params) is None


def test_columns_become_values_gaps_and_quarters():
    x = np.stack(
        [np.arange(100), np.arange(100) % 2, 1 - np.arange(100) % 2, np.arange(100) < 9], 1
    )
    columns = (Column("age", unit="years"), Column("sex", ("f", "m"), missing=True))
    given = {each.words: each.rows for each in _of_columns(x, columns, np.ones(100, bool))}
    assert list(given) == [
        "age is at most 24.75 years",
        "age is above 24.75 and at most 49.5 years",
        "age is above 49.5 and at most 74.25 years",
        "age is above 74.25 years",
        "sex is f",
        "sex is m",
        "sex is (missing)",
    ]
    assert given["age is above 74.25 years"].sum() == 25
    assert np.flatnonzero(given["sex is (missing)"]).tolist() == list(range(9))
    assert sum(rows for words, rows in given.items() if "age" in words).tolist() == [1] * 100

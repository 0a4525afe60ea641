"""Spaces and trials: scales, coverage, and what lies at an edge."""

import numpy as np
import pytest
from scipy import stats

import jaxnet
from jaxnet import space
from jaxnet.studies.space import Linear, LogUniform, at_edge, grid, quasi_random, random

SPACE = {
    "learning_rate": LogUniform(1e-4, 1.0),
    "dropout": Linear(0.0, 0.5),
    "batch_size": (32, 64),
}


def test_a_grid_has_every_combination():
    trials = grid(SPACE, 3)
    assert len(trials) == 3 * 3 * 2
    assert sorted({trial["learning_rate"] for trial in trials}) == pytest.approx([1e-4, 1e-2, 1.0])
    assert {trial["dropout"] for trial in trials} == {0.0, 0.25, 0.5}
    assert {trial["batch_size"] for trial in trials} == {32, 64}


@pytest.mark.parametrize("make", [random, quasi_random])
def test_trials_fill_the_space_evenly(make):
    trials = make(SPACE, 300, seed=1)
    assert len(trials) == 300
    logs = [np.log10(trial["learning_rate"]) for trial in trials]
    assert stats.kstest(logs, stats.uniform(-4, 4).cdf).pvalue > 1e-3
    assert (
        stats.kstest([trial["dropout"] for trial in trials], stats.uniform(0, 0.5).cdf).pvalue
        > 1e-3
    )
    assert 120 < sum(trial["batch_size"] == 32 for trial in trials) < 180
    assert make(SPACE, 300, seed=1) == trials != make(SPACE, 300, seed=2)


def test_quasi_random_leaves_smaller_holes_than_random():
    def holes(make):
        return max(
            np.diff(
                sorted(
                    trial["dropout"] for trial in make({"dropout": Linear(0.0, 1.0)}, 64, seed=3)
                ),
                prepend=0,
                append=1,
            )
        )

    assert holes(quasi_random) < 2.1 / 64 < holes(random)


def test_edges():
    values = list(np.linspace(0, 1, 8))
    assert [at_edge(values, i) for i in range(8)] == [True, *[False] * 6, True]
    many = list(range(100))
    assert [i for i in many if at_edge(many, i)] == [0, 1, 2, 3, 4, 95, 96, 97, 98, 99]
    assert not at_edge([1, 2], 0)
    assert not at_edge(["a", "b", "c"], 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid({}), "the space has no axis"),
        (
            lambda: grid({"learning_rate": LogUniform(0.0, 1.0)}),
            "ranges from 0.0 on a logarithmic scale; give a positive number",
        ),
        (
            lambda: grid({"dropout": Linear(1.0, 0.5)}),
            "dropout ranges from 1.0 to 0.5; give two finite numbers",
        ),
        (lambda: grid({"dropout": Linear(0.0, np.inf)}), "give two finite numbers"),
        (lambda: grid({"optimizer": "adam"}), "optimizer has the choices 'adam'"),
        (lambda: grid({"optimizer": ()}), "give a sequence with at least one"),
        (lambda: grid(SPACE, 1), "points is 1; give at least 2"),
        (lambda: random(SPACE, 0), "trials is 0"),
    ],
)
def test_bad_spaces_are_refused(make, message):
    with pytest.raises(jaxnet.InputError, match=message):
        make()


def test_the_old_name_of_a_logarithmic_range_answers():
    with pytest.warns(DeprecationWarning, match="Log is now called LogUniform"):
        assert space.Log is LogUniform
    with pytest.raises(AttributeError, match="has no attribute 'Lag'"):
        _ = space.Lag

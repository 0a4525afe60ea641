"""Studies that keep within a time: fewer networks where it is short, and as many at resume."""

import json
import logging

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet.errors import InputError
from jaxnet.studies.sweep import affordable

KEY = jax.random.key(0)
MODEL = jaxnet.mlp((8,))
RECIPE = jaxnet.Recipe(epochs=2, batch_size=64, learning_rate=1e-2)
TRIALS = [{"learning_rate": rate} for rate in (1e-3, 1e-2, 1e-1)]
MUCH, LITTLE = 1e6, 1e-9


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 4)).astype(np.float32), np.arange(200) % 2
    x[:, 0] += 2 * y
    return jaxnet.split(x, y, seed=0)


def test_with_much_time_a_study_is_the_one_without_a_limit(small):
    curve = jaxnet.learning_curve(MODEL, small, RECIPE, KEY, members=2, sizes=[40, 80])
    same = jaxnet.learning_curve(MODEL, small, RECIPE, KEY, members=2, sizes=[40, 80], seconds=MUCH)
    np.testing.assert_array_equal(curve.errors, same.errors)
    assert same.notes == ()
    swept, again = (
        jaxnet.sweep(MODEL, small, RECIPE, TRIALS, KEY, seeds=2, seconds=seconds)
        for seconds in (None, MUCH)
    )
    np.testing.assert_array_equal(swept.table["error"], again.table["error"])
    assert swept.words == again.words


def test_with_little_time_the_fewest_networks_are_trained_and_it_is_said(small, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "jaxnet"):
        curve = jaxnet.learning_curve(
            MODEL, small, RECIPE, KEY, members=2, sizes=[40, 80], seconds=LITTLE, out=tmp_path
        )
    words = "to keep within 1e-09 s, 1 of 2 networks were trained at each size"
    assert curve.notes == (words,)
    assert words in caplog.text
    assert curve.errors.shape == (2, 1)
    kept = json.loads((tmp_path / "timetable.json").read_text())
    assert kept["networks"] == 0
    with pytest.raises(InputError, match="seconds"):
        jaxnet.learning_curve(
            MODEL, small, RECIPE, KEY, members=2, sizes=[40, 80], seconds=5.0, out=tmp_path
        )
    swept = jaxnet.sweep(MODEL, small, RECIPE, TRIALS, KEY, seeds=2, seconds=LITTLE)
    assert len(swept.table["error"]) == 1
    assert "1 of 3 trials were trained with 1 of 2 seeds each" in swept.words[-1]
    census = jaxnet.census(MODEL, small, RECIPE, KEY, members=32, seconds=LITTLE)
    assert census.members == 16
    assert any("16 of 32 networks on halves were trained" in note for note in census.notes)


def test_a_study_that_goes_on_trains_what_was_decided(small, tmp_path):
    given = {"members": 3, "sizes": [40, 80], "seconds": MUCH, "out": tmp_path}
    jaxnet.learning_curve(MODEL, small, RECIPE, KEY, **given)
    file = tmp_path / "timetable.json"
    kept = json.loads(file.read_text())
    assert kept["networks"] == 6
    other = tmp_path / "other"
    other.mkdir()
    (other / "timetable.json").write_text(json.dumps({**kept, "networks": 5}))
    curve = jaxnet.learning_curve(MODEL, small, RECIPE, KEY, **{**given, "out": other})
    assert curve.errors.shape == (2, 2)


def test_fewer_seeds_come_before_fewer_trials_which_stay_spread():
    costs = np.ones(9)
    assert affordable(costs, 2, 18) == (list(range(9)), 2)
    assert affordable(costs, 2, 9) == (list(range(9)), 1)
    assert affordable(costs, 3, 5) == ([0, 2, 4, 6, 8], 1)
    assert affordable(costs, 1, 0) == ([0], 1)
    # the costs are those of the trials that stay
    assert affordable(np.array([1.0, 1.0, 10.0]), 1, 11) == ([0, 2], 1)


@pytest.mark.parametrize("verb", [jaxnet.learning_curve, jaxnet.census])
def test_a_time_that_is_none_is_refused(small, verb):
    with pytest.raises(InputError, match="seconds is -1"):
        verb(MODEL, small, RECIPE, KEY, seconds=-1.0)

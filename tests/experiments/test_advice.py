"""The simulation of advice: a small case, and what its row says."""

import numpy as np
import pytest

from experiments.benchmarks import advice, advice_rounds, advice_trained
from experiments.benchmarks.advice import Advised
from experiments.benchmarks.rows import read

NAME = "1000: 1 of 8 gains 5 points"


def test_a_case_is_advised_rightly():
    found = advice.simulate(NAME, 0, 8)
    assert found == advice.simulate(NAME, 0, 4) + advice.simulate(NAME, 4, 4)
    assert sum(each.low > 0 and each.truth == 5 for each in found) >= 7
    assert all(each.low <= each.point <= each.high for each in found)
    # at most (9 x 2 + 5 x 2 + 3 x 4 + 3 x 8) of 9 x 8 trainings
    assert max(each.trained for each in found) <= 64 / 72


def test_a_row_counts_misses_and_false_adoptions():
    advices = [
        Advised(truth=5.0, point=5.0, low=3.0, high=7.0, trained=0.5),
        Advised(truth=5.0, point=2.0, low=1.0, high=4.0, trained=0.5),
        Advised(truth=0.0, point=2.0, low=1.0, high=4.0, trained=0.5),
        Advised(truth=0.0, point=0.0, low=-1.0, high=4.0, trained=1.0),
    ]
    row = advice.summary(NAME, advices)
    shares = ("covered", "false", "adopted", "best")
    assert [float(row[name]) for name in shares] == [0.5, 0.25, 0.75, 0.5]
    assert float(row["bias"]) == pytest.approx(-0.25)
    assert float(row["bias_adopted"]) == pytest.approx(-0.33)
    assert (float(row["width"]), float(row["trained"])) == (3.5, 0.62)


def test_the_table_is_of_the_cases():
    rows = read(advice.TABLE)
    assert {row["case"] for row in rows} <= {*advice.CASES}
    assert np.all([int(row["advices"]) >= 1000 for row in rows])


def test_rounds_end_where_nothing_is_adopted_and_add_up_the_true_gains():
    name = "1000: 1 of 8 gains 5 points"
    found = advice_rounds.simulate(name, 0, 4)
    assert found == advice_rounds.simulate(name, 0, 2) + advice_rounds.simulate(name, 2, 2)
    for each in found:
        assert each.truth == pytest.approx(5.0)
        assert each.rounds > each.adopted >= 1
        assert each.low < each.point < each.high
    row = advice_rounds.summary(name, found)
    assert (row["adopted"], row["best"], row["kept"]) == ("1.000", "1.000", "yes")


def test_advices_of_trained_networks_are_summed_up():
    rows = [
        {"leader": "0", "low": "1", "high": "4", "point": "2", "truth": "3", "gains": "2 0"},
        {"leader": "1", "low": "-1", "high": "2", "point": "", "truth": "0", "gains": "4 6"},
        {"leader": "0", "low": "1", "high": "2", "point": "1", "truth": "-1", "gains": "0 0"},
    ]
    found = advice_trained.summary(rows)
    assert found["covered"].startswith("0.667 ")  # the second advice at its truth of 0
    assert found["pools"].startswith("1.000 ")  # both candidates gain 2 on average
    assert found["false"].startswith("0.333 ")
    assert (found["bias"], found["points"]) == ("0.50", "2")  # -1 and 2

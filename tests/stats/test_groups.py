"""Intervals of several networks where examples belong to groups, against simulation."""

import numpy as np
import pytest
from scipy.stats import norm

from jaxnet.stats.comparison import error_of, members_difference, paired_difference


def losses_of(groups: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(groups of examples, wrong predictions of recipe a, and of b): both err as often, and each on
    groups of its own.
    """
    group_of = np.repeat(np.arange(groups), 25)
    wrong = [
        rng.random((16, len(group_of))) < norm.cdf(rng.normal(size=groups) - 1)[group_of]
        for _ in range(2)
    ]
    return group_of, *wrong


def test_intervals_over_groups_hold_where_those_over_examples_do_not():
    rng, truth = np.random.default_rng(0), norm.cdf(-1 / np.sqrt(2))
    held, studies = np.zeros((3, 2)), 200
    for _ in range(studies):
        group_of, a, b = losses_of(20, rng)
        for column, groups in enumerate((None, group_of)):
            found = (
                error_of(a, groups=groups),
                paired_difference(a, b, groups=groups),
                members_difference(a, b[:12], groups=groups),
            )
            for row, (size, true) in enumerate(zip(found, (truth, 0, 0), strict=True)):
                held[row, column] += size.low <= true <= size.high
    assert (held[:, 0] < 0.7 * studies).all()
    assert (held[:, 1] > 0.9 * studies).all()


@pytest.mark.parametrize("of", ["error", "paired", "members"])
def test_few_groups_have_no_interval(of):
    group_of, a, b = losses_of(5, np.random.default_rng(0))
    found = {
        "error": lambda: error_of(a, groups=group_of),
        "paired": lambda: paired_difference(a, b, groups=group_of),
        "members": lambda: members_difference(a, b, groups=group_of),
    }[of]()
    assert found.refused == "5 groups are too few for an interval; at least 8 are needed"

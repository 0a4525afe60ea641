"""Which columns matter: by Student's test of SciPy, and for losses that change by chance alone."""

import numpy as np

from jaxnet.stats.importance import matters


def test_columns_matter_whose_mean_change_is_above_0():
    rng = np.random.default_rng(0)
    changes = rng.normal(size=(400, 900)) + np.repeat([0.0, 0.2], 200)[:, None]
    found = matters(changes)
    assert 0.02 < found[:200].mean() < 0.09  # 5% one-sided
    assert found[200:].all()


def test_they_are_those_of_a_test_of_scipy():
    from scipy.stats import ttest_1samp

    changes = np.random.default_rng(1).normal(0.02, 1, (300, 5000))
    p = ttest_1samp(changes, 0, axis=1, alternative="greater").pvalue
    sure = np.abs(p - 0.05) > 0.001  # the normal distribution, and Student's
    assert (matters(changes) == (p < 0.05))[sure].all()


def test_one_column_is_always_left():
    assert matters(np.array([[-1.0, -2.0, -3.0], [-1.0, -1.0, -1.5]])).tolist() == [False, True]

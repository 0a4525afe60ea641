"""Gains on examples from elsewhere: crossed variances, and the interval against known truth."""

import numpy as np
import pytest
from scipy import stats

from jaxnet.stats.gains import FOLDS
from jaxnet.stats.target_gains import race_on_target, target_gains

pytestmark = pytest.mark.core


def test_the_variance_is_that_over_examples_plus_that_over_networks():
    """Cameron, Gelbach & Miller 2011, eq. 2.3, without the small part that both contain."""
    rng = np.random.default_rng(0)
    examples, networks = rng.normal(size=500), 0.3 * rng.normal(size=16)
    losses = np.stack([examples + networks[:, None], np.zeros((16, 500))])
    half = np.arange(500) % 2 == 0
    found = target_gains(losses, half, None, {"counted": False})
    wanted = stats.sem(examples[half]) ** 2 + stats.sem(networks) ** 2
    assert found.means == pytest.approx(examples[half].mean() + networks.mean())
    assert found.errors**2 == pytest.approx(wanted)


def drawn(rng, gains, networks_differ=0.1, n=400):
    """Losses of recipes with these gains."""
    shared = rng.normal(size=n)

    def measure(recipes, cells):
        shape = len(recipes), len(cells)
        luck = networks_differ * rng.normal(size=shape)[..., None]
        own = shared + 2.0 + 0.5 * rng.normal(size=(*shape, n))
        return own - np.concatenate([[0.0], gains])[recipes][:, None, None] + luck

    return measure


def test_what_is_reported_holds_although_networks_that_were_lucky_are_chosen():
    """The luck of networks is most of the variance: without a correction, 1 in 8 is too high."""
    rng, covered, high = np.random.default_rng(1), 0, 0
    gains, half = np.zeros(8), np.arange(80) < 40
    for _ in range(100):
        measure = drawn(rng, gains, networks_differ=0.5, n=80)
        found = race_on_target(measure, 8, half, counted=False).choose()
        covered += found.gain.low <= 0 <= found.gain.high
        high += found.gain.low > 0
    assert covered >= 90
    assert high <= 7


def test_a_candidate_that_helps_is_chosen_and_the_race_trains_less():
    rng = np.random.default_rng(2)
    gains = np.array([0.0, 0.5, -0.5, -1.0])
    race = race_on_target(drawn(rng, gains), 4, np.arange(400) < 200, counted=False)
    found = race.choose()
    assert found.leader == 1
    assert found.gain.low < 0.5 < found.gain.high
    assert race.trained[0].all()
    assert race.trained.sum() < 5 * 2 * FOLDS
    error = race.error()
    assert error.low < error.estimate < error.high

"""Membership inference, beside formulas and worlds with a known truth."""

import numpy as np
import pytest
from scipy import stats

from jaxnet.stats.membership import (
    likelihood_ratios,
    logit_of_confidence,
    threshold,
    true_positives,
)

NETWORKS, EXAMPLES = 160, 400
PAIRS = np.arange(NETWORKS) // 2


@pytest.fixture(scope="module")
def world():
    """(confidences, halves): examples of different difficulty, and every network is surer of what
    it was trained on, by 2 standard deviations.
    """
    rng = np.random.default_rng(0)
    first = rng.random((NETWORKS // 2, EXAMPLES)) < 0.5
    seen = np.stack([first, ~first], 1).reshape(NETWORKS, EXAMPLES)
    noise = rng.normal(size=seen.shape) * rng.uniform(0.5, 2, EXAMPLES)
    shift = 2 * noise.std(0)
    return 5 * rng.normal(size=EXAMPLES) + noise + shift * seen, seen, noise


def test_the_logit_of_a_confidence_keeps_its_digits_near_certainty():
    logits = np.array([[0.0, -30.0, -31.0], [2.0, 1.0, 0.0]])
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    found = logit_of_confidence(log_p, np.array([0, 1]))
    expected = -np.log(np.exp([-30.0, 1.0]) + np.exp([-31.0, -1.0]))
    assert found[0] == pytest.approx(expected[0])
    assert found[1] == pytest.approx(1 - np.log(np.exp(2) + 1))
    for least in (-65504.0, -np.inf):
        log_p = np.array([[0.0, least], [least, 0.0]], np.float16)
        assert np.isfinite(logit_of_confidence(log_p, np.array([0, 0]))).all()


def test_a_ratio_is_that_of_two_normal_distributions_of_the_other_networks(world):
    confidence, seen, _ = world
    found = likelihood_ratios(confidence, seen, PAIRS)
    for network, example in ((0, 0), (7, 3)):
        others = PAIRS[network] != PAIRS
        sides = []
        for side in (seen, ~seen):
            own = confidence[others & side[:, example], example]
            scale = np.sqrt(own.var(ddof=1) + 1e-4)
            sides.append(stats.norm.logpdf(confidence[network, example], own.mean(), scale))
        assert found[network, example] == pytest.approx(sides[0] - sides[1])


def test_the_recognized_share_is_that_of_normal_distributions_two_deviations_apart(world):
    confidence, seen, _ = world
    ratios = likelihood_ratios(confidence, seen, PAIRS)
    rates = (0.01, 0.001)
    ((attack, loss), gain) = true_positives([ratios, confidence], seen, rates)
    known = 1 - stats.norm.cdf(stats.norm.ppf(1 - np.array(rates)) - 2)  # Neyman & Pearson 1933
    # estimated means and variances cost a little
    assert 0.8 * known[0] < attack[0].estimate < 1.05 * known[0]
    assert attack[0].low < attack[0].estimate < attack[0].high
    assert gain[0].low > 0
    assert gain[0].estimate == pytest.approx(attack[0].estimate - loss[0].estimate)
    edge = threshold(ratios, seen, 0.01)
    assert (ratios[~seen] > edge).mean() == pytest.approx(0.01, abs=1e-4)
    assert (ratios[seen] > edge).mean() == pytest.approx(attack[0].estimate, abs=2e-3)


def test_examples_that_no_network_saw_are_recognized_as_often_as_others(world):
    _, seen, noise = world
    ratios = likelihood_ratios(noise, seen, PAIRS)
    ((attack, guess), _) = true_positives([ratios, noise * 0], seen, (0.01, 0.001))
    for found, rate in zip(attack, (0.01, 0.001), strict=True):
        assert found.low < rate < found.high
    assert guess[0].estimate == pytest.approx(0.01)  # equal scores are divided at random
    few = true_positives([ratios[:4], noise[:4]], seen[:4], (0.001,))[0][0][0]
    assert "pairs of a network and an example" in few.refused
    # rows of a group stand together
    groups = np.arange(EXAMPLES) // 20
    copies = np.repeat(ratios[:, ::20], 20, axis=1)
    halves = np.repeat(seen[:, ::20], 20, axis=1)
    ((wide, _), _) = true_positives([copies, copies], halves, (0.05,), groups)
    ((narrow, _), _) = true_positives([copies, copies], halves, (0.05,))
    assert wide[0].high - wide[0].low > narrow[0].high - narrow[0].low

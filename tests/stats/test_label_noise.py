"""Probabilities of wrong labels against Bayes' rule with known parameters."""

import numpy as np
import pytest

from jaxnet.stats.estimate import Estimate
from jaxnet.stats.label_errors import Opinion
from jaxnet.stats.label_noise import label_noise, number_of_wrong_labels

RATE, N, CLASSES = np.array([0.05, 0.1, 0.3]), 20_000, 3
PATTERN = np.array([[0.0, 0.5, 0.5], [0.9, 0.0, 0.1], [0.2, 0.8, 0.0]])


@pytest.fixture(scope="module")
def drawn():
    """Labels drawn from the model; the networks say the square root of the true probabilities."""
    rng = np.random.default_rng(0)
    # most examples are easy, with margins that do not depend on the class
    margins = np.exp(rng.uniform(-1, 6, N))[:, None] * rng.dirichlet(np.ones(CLASSES), N)
    q = np.exp(margins - margins.max(1, keepdims=True))
    q /= q.sum(1, keepdims=True)
    true = (rng.random((N, 1)) > q.cumsum(1)).sum(1).clip(max=CLASSES - 1)
    moved = rng.random(N) < RATE[true]
    other = (rng.random((N, 1)) > PATTERN[true].cumsum(1)).sum(1).clip(max=CLASSES - 1)
    said = np.sqrt(q) / np.sqrt(q).sum(1, keepdims=True)
    opinion = Opinion(said, np.full(N, 8), np.zeros(N))
    return q, true, np.where(moved, other, true), opinion


def test_the_parameters_are_recovered_and_probabilities_are_those_of_bayes_rule(drawn):
    q, true, label, opinion = drawn
    found = label_noise(opinion, label)
    assert found.fit.sharpness == pytest.approx(2, rel=0.05)
    np.testing.assert_allclose(found.fit.rate, RATE, atol=0.015)
    np.testing.assert_allclose(found.fit.pattern, PATTERN, atol=0.06)
    rows = np.arange(N)
    joint = q * (RATE[:, None] * PATTERN)[:, label].T
    joint[rows, label] = q[rows, label] * (1 - RATE[label])
    bayes = joint / joint.sum(1, keepdims=True)
    np.testing.assert_allclose(found.probability, 1 - bayes[rows, label], atol=0.06)
    np.testing.assert_allclose(found.probability.mean(), (true != label).mean(), atol=0.005)
    for low in (0.2, 0.4, 0.6):
        some = (found.probability > low) & (found.probability < low + 0.2)
        assert (true != label)[some].mean() == pytest.approx(
            found.probability[some].mean(), abs=0.06
        )
    assert (found.suggested == bayes.argmax(1)).mean() > 0.99


def test_the_number_has_an_interval_that_holds_it(drawn):
    true, label, opinion = drawn[1][:4000], drawn[2][:4000], drawn[3]
    opinion = opinion._replace(
        probability=opinion.probability[:4000], members=opinion.members[:4000]
    )
    wrong = int((true != label)[:3000].sum())
    share = (true != label).mean()
    easy = Estimate(share, share - 0.001, share + 0.001)
    found = number_of_wrong_labels(opinion, label, slice(0, 3000), easy, (wrong + 5.0, wrong - 5.0))
    assert found.low <= wrong <= found.high
    assert found.high - found.low < 0.2 * wrong
    refused = number_of_wrong_labels(
        opinion, label, slice(0, 3000), Estimate(0.1, refused="too few"), (1.0, 1.0)
    )
    assert refused.refused == "too few"
    assert refused.estimate == pytest.approx(found.estimate)


def test_examples_that_all_members_have_seen_are_left_alone(drawn):
    _, _, label, opinion = drawn
    members = np.where(np.arange(N) < 10, 0, 8)
    found = label_noise(opinion._replace(members=members), label)
    assert (found.probability[:10] == 0).all()
    np.testing.assert_array_equal(found.suggested[:10], label[:10])

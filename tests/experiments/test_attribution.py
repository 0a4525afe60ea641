"""The rivals of a census, on networks whose gradients and Gauss-Newton matrix are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import attribution_methods as methods
from experiments.benchmarks.attribution import rank_correlation

CLASSES, FEATURES = 3, 2


def logits(params, x):
    return x @ params["w"] + params["b"][None]


def flat(tree):
    return np.concatenate([np.asarray(tree[name], np.float64).ravel() for name in ("b", "w")])


@pytest.fixture
def world():
    rng = np.random.default_rng(0)
    train, test = (
        (
            jnp.asarray(rng.normal(size=(n, FEATURES)), jnp.float32),
            jnp.asarray(rng.integers(0, CLASSES, n), jnp.int32),
        )
        for n in (12, 4)
    )
    params = {
        "b": jnp.asarray(rng.normal(size=CLASSES), jnp.float32),
        "w": jnp.asarray(rng.normal(size=(FEATURES, CLASSES)), jnp.float32),
    }
    subsets = jnp.asarray(rng.random((6, 12)) < 0.5, jnp.float32)
    return params, train, test, subsets


def closed_forms(params, examples):
    """Gradients of losses and of margins, and the Gauss-Newton matrix, by hand."""
    x, y = (np.asarray(each, np.float64) for each in examples)
    inputs = np.concatenate([np.ones((len(x), 1)), x], axis=1)
    scores = inputs @ np.vstack([params["b"], params["w"]])
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    own = np.eye(CLASSES)[y.astype(int)]
    off = p - own
    wrong = np.where(own > 0, 0, p)
    margin = own - wrong / wrong.sum(1, keepdims=True)
    of_losses, of_margins = (
        np.einsum("if,ic->ifc", inputs, each).reshape(len(x), -1) for each in (off, margin)
    )
    curvature = np.einsum(
        "if,ig,icd->fcgd", inputs, inputs, np.einsum("ic,cd->icd", p, np.eye(CLASSES))
        - np.einsum("ic,id->icd", p, p),
    ).reshape(of_losses.shape[1], -1) / len(x)  # fmt: skip
    return of_losses, of_margins, curvature, (p * own).sum(1)


def test_margins_are_log_odds_and_losses_cross_entropy(world):
    params, train, _, _ = world
    p = closed_forms(params, train)[3]
    np.testing.assert_allclose(methods.margins(logits, params, *train), np.log(p / (1 - p)), 1e-5)
    np.testing.assert_allclose(methods.losses(logits, params, *train), -np.log(p), 1e-5)


def test_tracin_is_the_sum_of_products_of_gradients(world):
    params, train, test, subsets = world
    later = jax.tree.map(lambda leaf: 2 * leaf, params)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), params, later)
    found = methods.tracin(logits, both, jnp.array([0.1, 0.3]), train, test, subsets)
    effects = sum(
        -rate * closed_forms(at, train)[0] @ closed_forms(at, test)[1].T
        for rate, at in ((0.1, params), (0.3, later))
    )
    np.testing.assert_allclose(found, subsets @ effects, rtol=1e-3, atol=1e-5)


def test_influence_is_a_newton_step(world):
    params, train, test, subsets = world
    found = methods.influence(logits, params, train, test, subsets, 0.01, steps=60)
    of_losses, _, curvature, _ = closed_forms(params, train)
    steps = np.linalg.solve(curvature + 0.01 * np.eye(len(curvature)), -of_losses.T)
    effects = steps.T @ closed_forms(params, test)[1].T
    centered = subsets - subsets.mean(0, keepdims=True)
    np.testing.assert_allclose(found, centered @ effects, rtol=0.02, atol=0.02)


def test_a_projection_to_as_many_numbers_keeps_inner_products(world):
    params, train, test, _ = world
    size = FEATURES * CLASSES + CLASSES
    one, other = (
        methods.projected(logits, params, part, jax.random.key(1), size=size, block=5)
        for part in (train, test)
    )
    wanted = closed_forms(params, train)[1] @ closed_forms(params, test)[1].T
    np.testing.assert_allclose(one @ other.T, wanted, rtol=1e-4, atol=1e-5)
    narrow = methods.projected(logits, params, train, jax.random.key(1), size=3)
    assert narrow.shape == (12, 3)


def test_trak_is_a_step_of_logistic_regression(world):
    rng = np.random.default_rng(1)
    train, test = rng.normal(size=(12, 3)), rng.normal(size=(4, 3))
    right, subsets = rng.random(12), world[3]
    effects = methods.trak_effects(*(jnp.asarray(e, jnp.float32) for e in (train, test)))
    np.testing.assert_allclose(effects, test @ np.linalg.pinv(train), rtol=1e-3, atol=1e-5)
    found = methods.trak(effects, jnp.asarray(right, jnp.float32), subsets)
    wanted = subsets @ (np.linalg.pinv(train).T @ test.T * (1 - right)[:, None])
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_ranks_alone_count():
    one = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    assert rank_correlation(one, np.exp(one)) == pytest.approx(1)
    assert rank_correlation(one, one[:, ::-1]) == pytest.approx(-1)

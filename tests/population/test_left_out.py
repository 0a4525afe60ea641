"""Examples that a member was not trained on judge it after each epoch."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet.data.resampling import all_but, fold_of, folds, together, whole
from jaxnet.data.splitting import pool, take
from jaxnet.errors import InputError

RECIPE = jaxnet.Recipe(epochs=3, batch_size=64, learning_rate=3e-3, schedule="constant")
MODEL = jaxnet.mlp((8,))


@pytest.fixture(scope="module")
def trained():
    """The digits as one pool; 4 members without a fold and one on all, with and without judges."""
    both = pool(jaxnet.load("digits"))
    samples = together([folds(both.train, 4), whole(1, len(both.train))])
    keys = jax.random.split(jax.random.key(0), 5)
    given = {"resample": samples}
    return (
        both,
        samples,
        jaxnet.fit_population(MODEL, both, RECIPE, keys, left_out=360, **given),
        jaxnet.fit_population(MODEL, both, RECIPE, keys, **given),
    )


def test_the_history_has_loss_and_accuracy_on_the_fold_that_was_left_out(trained):
    both, samples, judged, _ = trained
    for member in range(4):
        rest = take(both.train, np.flatnonzero(~samples.seen(member)))
        metrics = jaxnet.evaluate(MODEL, judged[member], rest)
        history = judged[member].history
        assert 1 - history.validation_accuracy[-1] == pytest.approx(
            metrics.error.estimate, abs=1e-6
        )
        assert history.validation_loss[-1] == pytest.approx(metrics.loss.estimate, rel=1e-5)
    assert np.isnan(judged[4].history.validation_loss).all()


def test_judging_changes_nothing_else(trained):
    _, _, judged, plain = trained
    for a, b in zip(jax.tree.leaves(judged.params), jax.tree.leaves(plain.params), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(judged.history.train_loss, plain.history.train_loss)
    assert plain.history.validation_loss is None


def test_left_out_examples_need_subsets_and_no_validation_set(digits):
    keys = jax.random.split(jax.random.key(0), 2)
    with pytest.raises(InputError, match="left_out is 10; it needs samples that are subsets"):
        jaxnet.fit_population(MODEL, digits, RECIPE, keys, left_out=10)


def test_patience_stops_by_the_examples_left_out(digits):
    """As with a validation set of these examples; the fold that measures has no part in it."""
    both, recipe = pool(digits), jaxnet.Recipe(epochs=30, learning_rate=0.03, patience=2)
    of = fold_of(both.train, 4)
    samples, size = all_but(of, [0, 2], before=1), int(np.bincount(of).min())
    keys = jax.random.split(jax.random.key(0), 2)
    found = jaxnet.fit_population(MODEL, both, recipe, keys, resample=samples, left_out=size)
    for member, (own, before) in enumerate([(0, 3), (2, 1)]):
        assert not samples.seen(member)[(of == own) | (of == before)].any()
        stops = take(both.train, np.flatnonzero(of == before)[:size])
        splits = replace(both, validation=stops)
        alone = jaxnet.fit(MODEL, splits, recipe, keys[member], **samples.alone(member))
        assert int(found[member].epochs) == int(alone.epochs) < 30
        assert int(found[member].best.epoch) == int(alone.best.epoch) == int(alone.epochs) - 2
        for a, b in zip(*map(jax.tree.leaves, (found[member].chosen, alone.chosen)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    everything = whole(2, len(both.train))
    with pytest.raises(InputError, match="leaves out"):
        jaxnet.fit_population(MODEL, both, recipe, keys, resample=everything, left_out=size)

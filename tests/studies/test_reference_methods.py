"""Other methods are judged on folds that they have not seen, and always on the same ones."""

import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

import jaxnet
from jaxnet import Recipe
from jaxnet.core.recipe import resolved
from jaxnet.core.training import Problem
from jaxnet.data.resampling import all_but, folds
from jaxnet.models.builtin import is_linear, widened
from jaxnet.studies.diagnose import _attainable
from jaxnet.studies.reference_methods import (
    Reference,
    kinds_of_forests,
    plan_network,
    plan_trees,
    reference_losses,
    training_seconds,
)

KEY = jax.random.key(3)
RECIPE = Recipe(epochs=8, batch_size=16, learning_rate=1e-2, schedule="constant")
FOLDS = 4


def product_table(examples=400, seed=0):
    """The label says whether two columns have the same sign; a third column says nothing."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (examples, 3)).astype(np.float32)
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int32)


def values_table(examples=400, seed=0):
    """Values that follow a bent curve of one column, with noise of standard deviation 0.5."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (examples, 2)).astype(np.float32)
    y = 3 * np.abs(x[:, 0]) + 0.5 * rng.normal(size=examples)
    return x, y.astype(np.float32) + 10


def pool(x, y, **more):
    """All but a few examples as training set."""
    return jaxnet.split(x, y, validation=0.0, test=0.05, **more)


def fold_numbers(splits, count=FOLDS):
    return np.arange(len(splits.train)) % count


def judged(model, splits, recipe, key, fold_of, *, weights=None, **more):
    """The losses of other methods on a training set."""
    recipe = resolved(recipe, len(splits.train))
    return reference_losses(Problem(model, splits, recipe, None, weights), key, fold_of, **more)


@pytest.fixture(scope="module")
def product():
    return pool(*product_table())


@pytest.fixture(scope="module")
def of_product(product):
    return judged(jaxnet.linear(), product, RECIPE, KEY, fold_numbers(product))


def test_each_method_learns_what_a_linear_model_cannot(product, of_product):
    x, y = np.asarray(product.train.x), np.asarray(product.train.y)
    straight = cross_val_predict(
        LogisticRegression(), x, y, groups=fold_numbers(product), cv=LeaveOneGroupOut()
    )
    assert np.mean(straight != y) > 0.4
    names = [each.name for each in of_product]
    assert names[0].startswith("nearest neighbors (k = ")
    assert names[1:] == [
        "extremely randomized trees",
        "a network with hidden layers, trained twice as long",
    ]
    for each in of_product:
        assert each.losses.shape == y.shape
        assert set(np.unique(each.losses)) <= {0.0, 1.0}
        assert each.judged == len(y)
        assert each.error == np.mean(each.losses) < 0.15
        assert each.seconds > 0
    assert [each.attainable is None for each in of_product] == [False, True, True]
    assert 0 < of_product[0].attainable[0] < of_product[0].attainable[1] < 0.15


def test_equal_calls_give_equal_losses(product, of_product):
    again = judged(jaxnet.linear(), product, RECIPE, KEY, fold_numbers(product))
    for one, other in zip(of_product, again, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.losses, other.losses)


def test_labels_of_a_fold_decide_nothing_about_its_predictions(product, of_product):
    """Two classes: if the labels of a fold are turned round and its predictions stay, what was
    right is wrong now. A method that had seen the fold, or was chosen on it, would predict other
    classes.
    """
    fold_of = fold_numbers(product)
    y = np.asarray(product.train.y)
    turned = replace(product.train, y=np.where(fold_of == 1, 1 - y, y))
    found = judged(jaxnet.linear(), replace(product, train=turned), RECIPE, KEY, fold_of)
    own = fold_of == 1
    for before, after in zip(of_product, found, strict=True):
        np.testing.assert_array_equal(after.losses[own], 1 - before.losses[own])
        assert not np.array_equal(after.losses[~own], before.losses[~own])


def test_twins_in_the_same_fold_are_no_neighbors():
    """Groups of ten nearly equal rows with the same random label lie in one fold each."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(60, 3)), 10, 0) + 1e-3 * rng.normal(size=(600, 3))
    y = np.repeat(rng.integers(0, 2, 60), 10)
    splits = pool(x.astype(np.float32), y.astype(np.int32), groups=np.repeat(np.arange(60), 10))
    centers = np.asarray(splits.train.x)[:, :1].round(2)
    fold_of = np.unique(centers, return_inverse=True)[1].ravel() % FOLDS
    found = judged(jaxnet.mlp((4,)), splits, RECIPE, KEY, fold_of, methods=["neighbors"])
    assert found[0].error > 0.3


def test_many_neighbors_are_chosen_where_labels_are_noise():
    """With 30% wrong labels, one neighbor errs in 42%, and many in little more than 30%."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1200, 2)).astype(np.float32)
    y = ((x[:, 0] > 0) ^ (rng.random(1200) < 0.3)).astype(np.int32)
    splits = pool(x, y)
    (noisy,) = judged(
        jaxnet.mlp((4,)), splits, RECIPE, KEY, fold_numbers(splits), methods=["neighbors"]
    )
    assert int(noisy.name.split("= ")[1].split(" ")[0].strip(")")) >= 17
    assert noisy.error < 0.36
    low, high = noisy.attainable
    assert low == pytest.approx(0.3, abs=0.05)
    assert high == pytest.approx(0.42, abs=0.04)


def test_weights_make_rare_classes_count():
    """A tenth of the labels are 1, mixed with twice as many zeros: unweighted methods always say
    0 there, and weighted ones say 1.
    """
    rng = np.random.default_rng(0)
    y = (rng.random(600) < 0.1).astype(np.int32)
    x = np.where((y == 1) | (rng.random(600) < 0.2), 4.0, -4.0).astype(np.float32)
    splits = pool(x[:, None], y)
    y, fold_of = np.asarray(splits.train.y), fold_numbers(splits)
    weights = np.asarray(jaxnet.class_weights(splits.train))

    def recalls(weights):
        found = judged(jaxnet.linear(), splits, RECIPE, KEY, fold_of, weights=weights, seconds=60.0)
        return {each.name[:9]: 1 - each.losses[y == 1].mean() for each in found}

    plain, balanced = recalls(None), recalls(weights)
    assert len(plain) == 3
    assert set(plain) == set(balanced)
    assert max(plain.values()) < 0.5
    assert min(balanced.values()) > 0.8
    assert recalls(np.ones(len(y))) == plain


def test_values_are_judged_in_variances_of_y():
    splits = pool(*values_table(600))
    found = judged(jaxnet.mlp((16,)), splits, RECIPE, KEY, fold_numbers(splits))
    assert len(found) == 3
    noise = 0.25 / float(np.var(np.asarray(splits.train.y)))
    for each in found:
        assert noise * 0.8 < each.error < 3 * noise
    assert found[0].attainable == pytest.approx((noise, noise), rel=0.25)


def test_neighbors_say_nothing_where_less_than_their_limit_is_reached():
    near = Reference("neighbors", np.full(4, 0.5), 0.0, (0.3567, 0.3567))
    trees = Reference("trees", np.full(4, 0.2), 0.0)
    (said,) = _attainable([near], 0.4)
    assert "could reach, by neighbors: about 35.67%. With few examples it may be too high" in said
    assert _attainable([near], 0.35) == _attainable([near, trees], 0.4) == []


def test_numbers_that_float32_cannot_hold_are_told_apart():
    """Dates in seconds that differ by fractions of one, and values beside a large number."""
    x, y = values_table(200)
    near, far = pool(x, y), pool(x.astype(np.float64) + 1e9, y.astype(np.float64) + 1e9)
    assert np.asarray(far.train.x).dtype == np.asarray(far.train.y).dtype == np.float64
    for one, other in zip(
        *(
            judged(
                jaxnet.mlp((4,)), splits, RECIPE, KEY, fold_numbers(splits), methods=["neighbors"]
            )
            for splits in (near, far)
        ),
        strict=True,
    ):
        np.testing.assert_allclose(other.losses, one.losses, rtol=1e-3, atol=1e-5)


def test_without_scikit_learn_there_are_no_trees(product, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    found = judged(
        jaxnet.linear(), product, RECIPE, KEY, fold_numbers(product), methods=["trees", "neighbors"]
    )
    assert [each.name.split(" (")[0] for each in found] == ["nearest neighbors"]


def test_with_a_lower_limit_less_is_judged_and_the_same_is_said_of_it(product):
    """Half a second is enough for two kinds of trees on two of four folds, and for no network; a
    second is enough for those kinds on all folds.
    """
    recipe, fold_of = Recipe(epochs=50_000, batch_size=16), fold_numbers(product)
    linear = jaxnet.linear()
    _, trees = judged(linear, product, recipe, KEY, fold_of, seconds=0.5)
    (more,) = judged(linear, product, recipe, KEY, fold_of, methods=["trees"], seconds=0.9)
    own = np.isfinite(trees.losses)
    np.testing.assert_array_equal(own, np.isin(fold_of, [0, 1]))
    assert more.judged == len(fold_of)
    np.testing.assert_array_equal(trees.losses[own], more.losses[own])


def test_neighbors_are_judged_on_some_examples_where_there_are_many():
    splits = pool(*product_table(1500))
    fold_of = fold_numbers(splits)
    few, all_ = (
        judged(
            jaxnet.linear(), splits, RECIPE, KEY, fold_of, methods=["neighbors"], seconds=seconds
        )[0]
        for seconds in (0.0, 4.0)
    )
    assert few.judged == 500
    assert np.bincount(fold_of[np.isfinite(few.losses)]).min() > 80
    assert few.error == pytest.approx(all_.error, abs=0.04)
    assert all_.judged == len(splits.train)


def test_trees_are_grown_on_fewer_examples_rather_than_judged_on_few_folds():
    x, y = values_table(300)
    rng = np.random.default_rng(1)
    splits = pool(np.concatenate([x, rng.normal(size=(300, 60)).astype(np.float32)], 1), y)
    (trees,) = judged(
        jaxnet.linear(), splits, RECIPE, KEY, fold_numbers(splits), methods=["trees"], seconds=1.8
    )
    assert trees.name == "extremely randomized trees (grown on 170 examples)"
    assert trees.judged == len(splits.train)
    assert trees.error < 0.6


def test_many_classes_of_few_examples_each():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(90), 2)
    x = (y[:, None] + 0.1 * rng.normal(size=(180, 1))).astype(np.float32)
    splits = pool(x, y.astype(np.int32))
    found = judged(
        jaxnet.mlp((4,)), splits, RECIPE, KEY, fold_numbers(splits), methods=["neighbors", "trees"]
    )
    assert all(each.error < 0.3 for each in found)


@pytest.mark.parametrize(
    ("examples", "features", "seconds", "planned"),
    [
        (1000, 9, 100.0, (4, 8, 1000)),  # all of it
        (1000, 9, 2.2, (4, 8, 1000)),
        (1000, 9, 2.0, (2, 8, 1000)),  # fewer kinds, so that all folds are judged
        (1000, 9, 0.7, (2, 5, 1000)),
        (100_000, 64, 30.0, (2, 4, 40_960)),  # and fewer examples
        (120, 1, 0.2, (2, 2, 120)),  # fewer examples would not save enough
        (120, 1, 0.1, (2, 1, 120)),  # too few folds
    ],
)
def test_plans_of_trees(examples, features, seconds, planned):
    kinds = kinds_of_forests(features, 10)
    some, folds, grown, cost = plan_trees(examples, kinds, 8, seconds)
    assert (len(some), folds, grown) == planned
    assert kinds[: len(some)] == some
    assert cost <= seconds


def test_trees_that_try_every_feature_find_the_two_that_count():
    """The label is that of a product of 2 of 10 columns, with 25% of the labels wrong: of 50 trees
    that try the square root of 10 features at a split too few do.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 10)).astype(np.float32)
    sign = x[:, 0] * x[:, 1] > 0
    y = np.where(rng.random(1500) < 0.25, ~sign, sign).astype(np.int32)
    splits = pool(x, y)
    train, y = np.asarray(splits.train.x), np.asarray(splits.train.y)
    fold_of = fold_numbers(splits)
    (trees,) = judged(
        jaxnet.linear(), splits, RECIPE, KEY, fold_of, methods=["trees"], seconds=20.0
    )
    plain = cross_val_predict(
        ExtraTreesClassifier(50, random_state=0), train, y, groups=fold_of, cv=LeaveOneGroupOut()
    )
    assert trees.judged == len(y)
    assert trees.error < np.mean(plain != y) - 0.02


@pytest.mark.parametrize(
    ("seconds", "planned"),
    [
        (64.0, (0, 8)),
        (63.0, (1, 8)),
        (31.0, (3, 8)),
        (15.0, (3, 7)),
        (5.0, (3, 2)),
        (3.0, (None, 0)),
    ],
)
def test_the_first_network_that_can_be_paid_for_enough_folds_is_trained(seconds, planned):
    assert plan_network([8.0, 4.0, 4.0, 2.0], 8, seconds) == planned


def test_a_network_that_is_too_large_for_all_folds_is_trained_for_four():
    assert plan_network([8.0, 5.0], 8, 34.0) == (0, 4)


def test_a_network_costs_as_many_operations_as_it_has():
    """A step takes six operations for each weight and example of the batch."""
    splits = pool(*product_table(200))
    seconds = [
        training_seconds(Problem(jaxnet.mlp((width,)), splits, Recipe(epochs=3, batch_size=19)))
        for width in (100, 200)
    ]
    weights, steps = (3 + 2) * np.array([100, 200]), 3 * 10
    operations = 6 * weights * 19 * steps
    np.testing.assert_allclose(seconds, operations * 2e-11, rtol=0.5)
    assert seconds[1] == pytest.approx(2 * seconds[0], rel=0.01)


def test_a_network_that_diverges_is_left_out(product):
    recipe = Recipe(
        optimizer="sgd", epochs=2, batch_size=64, learning_rate=1e30, schedule="constant"
    )
    with np.errstate(all="ignore"):
        found = judged(
            jaxnet.mlp((8,)), product, recipe, KEY, fold_numbers(product), methods=["network"]
        )
    assert found == ()


def test_models_that_are_not_built_in_have_no_wider_network(product):
    own = jaxnet.Model(*jaxnet.mlp((8,)).for_outputs(2)[:2], "own")
    found = judged(own, product, RECIPE, KEY, fold_numbers(product), methods=["network"])
    assert found == ()


def test_wider_models():
    assert widened(jaxnet.mlp((8, 4), activation="tanh"), 4) is jaxnet.mlp(
        (32, 16), activation="tanh"
    )
    assert widened(jaxnet.cnn((4,), (8,)), 2) is jaxnet.cnn((8,), (16,))
    assert widened(jaxnet.cnn((4,), ()), 2) is jaxnet.cnn((8,), ())
    assert widened(jaxnet.linear(), 4) is jaxnet.mlp()
    assert is_linear(jaxnet.linear())
    assert not is_linear(jaxnet.mlp((1,)))
    assert not is_linear(jaxnet.cnn((1,), ()))


def test_images_are_rows():
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 2, 300)[:, None, None] * np.ones((1, 6, 6)) * 200).astype(np.uint8)
    y = (x[:, 0, 0] > 0).astype(np.int32)
    splits = pool(x, y)
    found = judged(
        jaxnet.cnn((2,), (4,)),
        splits,
        RECIPE,
        KEY,
        fold_numbers(splits),
        methods=["neighbors", "trees"],
    )
    assert [each.error for each in found] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("fold_of", "message"),
    [
        (np.zeros(380, int), r"fold_of has folds \[0\]; number at least 3"),
        (np.arange(380) % 2, r"fold_of has folds \[0, 1\]"),
        (2 * (np.arange(380) % 4), r"fold_of has folds \[0, 2, 4, 6\]"),
        (np.zeros(3, int), r"fold_of has shape \(3,\)"),
        (np.zeros(380), "fold_of has shape .* and type float64"),
    ],
)
def test_what_are_no_folds_is_refused(product, fold_of, message):
    with pytest.raises(jaxnet.InputError, match=message):
        judged(jaxnet.linear(), product, RECIPE, KEY, fold_of)


def test_unknown_methods_and_limits_are_refused(product):
    fold_of = fold_numbers(product)
    with pytest.raises(jaxnet.InputError, match="unknown method 'tree'"):
        judged(jaxnet.linear(), product, RECIPE, KEY, fold_of, methods=["tree"])
    with pytest.raises(jaxnet.InputError, match="seconds is -1"):
        judged(jaxnet.linear(), product, RECIPE, KEY, fold_of, seconds=-1)


def test_members_leave_out_the_folds_that_are_named(digits):
    of_folds = folds(digits.train, 4, seed=1)
    fold_of = np.stack([of_folds.seen(member) for member in range(4)]).argmin(0)
    some = all_but(fold_of, [2, 0, 2])
    assert len(some) == 3
    for member, fold in enumerate([2, 0, 2]):
        np.testing.assert_array_equal(some.seen(member), fold_of != fold)

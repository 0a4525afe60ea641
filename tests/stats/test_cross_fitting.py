"""Errors of cross-fitted networks: a table without chance, exact relations, and refusals."""

import math

import numpy as np
import pytest

from jaxnet.diagnostics import cross_fitted_errors
from jaxnet.errors import InputError
from jaxnet.stats.cross_fitting import cross_fit

FOLDS, SEEDS, EXAMPLES = 4, 2, 40


def without_chance(size: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """(losses, seen, groups) of 8 networks, by arithmetic; groups of `size` examples."""
    i = np.arange(EXAMPLES)
    fold = (i // size) % FOLDS
    k = np.repeat(np.arange(FOLDS), SEEDS)[:, None]
    s = np.tile(np.arange(SEEDS), FOLDS)[:, None]
    seen = fold != k
    wrong = (7 * i + 3 * k * k + 5 * s) % 11 < np.where(seen, 2, 4)
    return wrong, seen, None if size == 1 else i // size


def study(seed: int = 0, examples: int = 400, error: float = 0.2, folds: int = 8, seeds: int = 2):
    """(losses, seen) of networks that err at random."""
    rng = np.random.default_rng(seed)
    fold = np.arange(examples) % folds
    seen = np.repeat(fold != np.arange(folds)[:, None], seeds, 0)
    return rng.random(seen.shape) < np.where(seen, error / 4, error), seen


@pytest.mark.parametrize(
    ("size", "name", "expected"),
    [
        (1, "unseen", (0.375, 0.00120192, 39.0, 0.0003125, 0.00517361, 0.00020833)),
        (1, "seen", (0.179167, 0.00033431, 34.2618, 0.00005208, 0.00077047, 0.00001736)),
        (1, "gap", (0.195833, 0.00166978, 39.0, 0.00015625, 0.00594409, 0.00029514)),
        (1, "dominance", (0.016667, 0.00280627, 39.0, 0.00010417, 0.00825551, 0.00041667)),
        (2, "unseen", (0.3625, 0.00081414, 19.0, 0.00484375, 0.0009375, 0.00015625)),
        (2, "seen", (0.183333, 0.00020468, 19.0, 0.00048611, 0.00059772, 0.0000463)),
        (2, "gap", (0.179167, 0.00132584, 19.0, 0.00751736, 0.00153522, 0.00034144)),
        (2, "dominance", (-0.004167, 0.00224689, 19.0, 0.01116319, 0.00332837, 0.00061921)),
    ],
)
def test_variances_without_chance(size, name, expected):
    """Expected numbers: another implementation of the same formulas, by somebody else."""
    losses, seen, groups = without_chance(size)
    weights = {
        "unseen": (1.0, 0.0),
        "seen": (0.0, 1.0),
        "gap": (1.0, -1.0),
        "dominance": (1.0, -2.0),
    }[name]
    given = cross_fit(losses, seen, groups)[0].contrast(*weights)
    found = (
        given.estimate,
        given.own,
        given.own_freedom,
        given.networks,
        given.both,
        given.between,
    )
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (
            1,
            {
                "unseen": (0.375, 0.300412, 0.456035),
                "gap": (0.195833, 0.113180, 0.278995),
                "dominance": (0.016667, -0.090484, 0.123817),
                "these": (0.375, 0.307886, 0.447289),
            },
        ),
        (
            2,
            {
                "unseen": (0.3625, 0.180895, 0.594171),
                "gap": (0.179167, -0.064667, 0.423000),
                "dominance": (-0.004167, -0.311845, 0.303512),
                "these": (0.3625, 0.196163, 0.569887),
            },
        ),
    ],
)
def test_intervals_without_chance(size, expected):
    losses, seen, groups = without_chance(size)
    found = cross_fitted_errors(losses, seen, groups)
    each = {name: getattr(found, name) for name in ("unseen", "gap", "dominance")}
    each["these"] = found.of_these_networks.unseen
    for name, numbers in expected.items():
        got = (each[name].estimate, each[name].low, each[name].high)
        np.testing.assert_allclose(got, numbers, atol=1e-6)


def test_the_gap_of_these_networks_is_their_unseen_error_minus_a_known_number():
    losses, seen = study()
    found = cross_fitted_errors(losses, seen)
    own = found.of_these_networks
    assert own.gap.low == pytest.approx(own.unseen.low - found.seen.estimate)
    assert own.gap.high == pytest.approx(own.unseen.high - found.seen.estimate)
    assert found.gap.estimate == pytest.approx(found.unseen.estimate - found.seen.estimate)


def test_neither_the_order_of_networks_nor_that_of_examples_matters():
    losses, seen = study()
    rng = np.random.default_rng(1)
    m, i = rng.permutation(len(losses)), rng.permutation(losses.shape[1])
    one, other = (
        cross_fitted_errors(losses, seen),
        cross_fitted_errors(losses[m][:, i], seen[m][:, i]),
    )
    for name in ("unseen", "seen", "gap", "dominance"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a.estimate, a.low, a.high) == pytest.approx((b.estimate, b.low, b.high), rel=1e-12)


def test_every_example_as_its_own_group_changes_nothing_but_the_skewness_rule():
    losses, seen = study()
    alone = cross_fit(losses, seen)[0].contrast(1.0, -1.0)
    grouped = cross_fit(losses, seen, np.arange(400)[::-1])[0].contrast(1.0, -1.0)
    assert grouped.own == pytest.approx(alone.own)
    assert grouped.both == pytest.approx(alone.both)
    assert grouped.variance()[0] == pytest.approx(alone.variance()[0])


def test_groups_of_equal_examples_count_once():
    """Each example ten times, in a group: the variance of the examples stays (nearly G/(G-1))."""
    losses, seen = study(examples=400)
    once = cross_fit(losses, seen)[0].contrast(1.0, -1.0)
    ten = cross_fit(
        np.repeat(losses, 10, 1), np.repeat(seen, 10, 1), np.repeat(np.arange(400), 10)
    )[0].contrast(1.0, -1.0)
    assert ten.own == pytest.approx(once.own)
    assert ten.networks == pytest.approx(once.networks)
    assert ten.both == pytest.approx(once.both)


def test_a_network_without_finite_losses_is_left_out_and_its_fold_goes_on_with_one():
    losses, seen = study()
    values = losses.astype(float)
    values[3] = np.nan
    found = cross_fitted_errors(values, seen, largest=1.0)
    assert found.left_out == (3,)
    assert found.networks == 15
    assert found.gap.refused is None
    kept = np.delete(np.arange(16), 3)
    same = cross_fitted_errors(values[kept], seen[kept], largest=1.0)
    assert same.gap == found.gap
    values[2] = np.inf
    with pytest.raises(InputError, match="all that left out some fold"):
        cross_fitted_errors(values, seen, largest=1.0)


def test_one_network_a_fold_says_nothing_of_how_networks_differ():
    losses, seen = study(seeds=1)
    found = cross_fitted_errors(losses, seen)
    assert "single network" in str(found.gap.refused)
    assert math.isnan(found.gap.low)
    assert math.isfinite(found.gap.estimate)


@pytest.mark.parametrize(
    ("examples", "folds", "words"), [(40, 3, "3 folds"), (7, 7, "7 examples"), (6, 6, "6 examples")]
)
def test_too_few_folds_or_examples_have_no_interval(examples, folds, words):
    losses, seen = study(examples=examples, folds=folds)
    assert words in str(cross_fitted_errors(losses, seen).unseen.refused)


def test_squared_errors_that_few_examples_carry_have_no_interval():
    _, seen = study()
    losses = np.full(seen.shape, 1e-6)
    losses[:, :3] = 5.0
    assert "3 of 400 examples carry" in str(cross_fitted_errors(losses, seen).unseen.refused)


def test_folds_that_differ_from_seed_to_seed_are_refused_with_the_cure():
    losses, seen = study()
    seen[1] = np.random.default_rng(2).permutation(seen[1])
    with pytest.raises(InputError, match="use the same folds for every seed"):
        cross_fitted_errors(losses, seen)


def test_groups_across_folds_are_refused_by_name():
    losses, seen = study()
    with pytest.raises(InputError, match="examples of group anna lie in several folds"):
        cross_fitted_errors(losses, seen, np.where(np.arange(400) < 2, "anna", np.arange(400)))


def test_bad_losses_are_named():
    losses, seen = study()
    values = losses.astype(float)
    values[2, 5] = -1
    with pytest.raises(InputError, match="the loss of network 2 on example 5 is -1"):
        cross_fitted_errors(values, seen)
    with pytest.raises(InputError, match="groups have shape"):
        cross_fitted_errors(losses, seen, np.arange(3))


def test_what_is_said_of_coverage():
    assert cross_fitted_errors(*study(examples=1000)).coverage == "95%"
    assert cross_fitted_errors(*study(examples=400)).coverage == "90 to 95%"
    losses, seen = study(examples=1600, error=0.05)
    groups = np.arange(1600) % 16  # two groups in each of 8 folds
    assert cross_fitted_errors(losses, seen, groups).coverage == "about 90%"


def test_two_recipes_on_the_same_folds():
    """What both share cancels: differences of losses have the variance of differences."""
    losses, seen = study()
    better = losses & (np.random.default_rng(5).random(losses.shape) < 0.5)
    table = cross_fit(losses, seen)[0]
    gain = type(table)(
        losses.astype(float) - better.astype(float),
        table.fold_of_network,
        table.fold_of,
        within=(-1.0, 1.0),
    ).difference()
    assert gain.estimate == pytest.approx(float((losses & ~better)[~seen].mean()))
    assert 0 < gain.low < gain.estimate < gain.high


def test_a_test_set_of_few_groups_has_no_interval():
    losses, seen = study()
    table = cross_fit(losses, seen)[0]
    there = np.random.default_rng(6).random((16, 100)) < 0.2
    assert table.mismatch(there.astype(float)).refused is None
    for found in (table.mismatch, table.error_elsewhere):
        refused = found(there.astype(float), np.arange(100) // 20).refused
        assert refused == "5 groups are too few for an interval; at least 8 are needed"

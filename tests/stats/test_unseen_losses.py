"""The difference of two recipes: against Student's paired interval, against a known spread of
networks, and what is refused.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from jaxnet.cli.saved_run import UNSEEN, read_unseen_losses, write_unseen_losses
from jaxnet.diagnostics import exact
from jaxnet.errors import InputError
from jaxnet.stats.comparison import members_difference, paired_difference
from jaxnet.stats.cross_fitting import cross_fit
from jaxnet.stats.unseen_losses import UnseenLosses, recipe_difference

pytestmark = pytest.mark.core
FOLDS = 8


def kept(losses, *, pool="pool", groups=None):
    """Losses (seeds, examples) on folds 0 to 7 in turn, as networks of those folds would have
    them.
    """
    fold_of = np.arange(losses.shape[1]) % FOLDS
    group_of = None if groups is None else np.asarray(groups)
    return UnseenLosses(losses.astype(float), fold_of, group_of, losses.dtype == bool, pool)


def test_networks_that_do_not_differ_leave_students_paired_interval():
    rng = np.random.default_rng(0)
    a, b = (np.repeat(rng.normal(5, 1, (1, 4000)), 2, 0) for _ in range(2))
    found = recipe_difference(kept(a), kept(b))
    theirs = stats.ttest_rel(a[0], b[0]).confidence_interval(0.95)
    assert found.estimate == pytest.approx(a.mean() - b.mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=0.01)


@pytest.mark.parametrize("seeds", [(2, 4), (5, 3)])
def test_networks_that_do_not_come_in_pairs_add_their_variances(seeds):
    """Each network loses the same on all examples of its fold, so the variance over networks is
    that of a mean over strata (Cochran 1977, eq. 5.8).
    """
    rng, n = np.random.default_rng(1), 8000
    luck = [rng.normal(5, 1, (s, FOLDS)) for s in seeds]
    a, b = (each[:, np.arange(n) % FOLDS] for each in luck)
    strata = [float(np.mean(each.var(0, ddof=1))) / len(each) / FOLDS for each in luck]
    degrees = [FOLDS * (s - 1) for s in seeds]
    freedom = sum(strata) ** 2 / sum(v**2 / d for v, d in zip(strata, degrees, strict=True))
    variance = sum(strata) + np.var(a.mean(0) - b.mean(0), ddof=1) / n
    found = recipe_difference(kept(a), kept(b))
    half = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    assert found.estimate == pytest.approx(a.mean() - b.mean())
    assert found.high - found.estimate == pytest.approx(half, rel=1e-3)


def test_a_network_that_is_lost_leaves_the_rest():
    rng = np.random.default_rng(2)
    a, b = rng.random((2, 2, 400)) < 0.2
    first = kept(a)
    lost = replace(first, losses=np.where((np.arange(400) % 8 == 3) & [[0], [1]], np.nan, a))
    found = recipe_difference(lost, kept(b))
    means = np.nanmean(lost.losses, 0) - b.mean(0)
    assert lost.networks == 15
    assert found.estimate == pytest.approx(means.mean())
    assert found.low < found.estimate < found.high


def test_the_losses_of_a_pool_are_those_on_the_examples_left_out():
    rng = np.random.default_rng(3)
    fold_of = np.arange(80) % FOLDS
    seen = np.repeat(np.arange(FOLDS)[:, None] != fold_of, 2, 0)
    losses = rng.random((16, 80)) < 0.3
    order = rng.permutation(16)
    fit = cross_fit(losses[order], seen[order])[0]
    found = UnseenLosses.of(fit, "pool")
    assert np.array_equal(found.losses.mean(0), fit.unseen)
    assert np.array_equal(found.fit.unseen, fit.unseen)
    assert found.fit.rate("unseen") == fit.rate("unseen")


def test_few_differences_leave_exact_limits():
    a = np.zeros((2, 400), bool)
    b = a.copy()
    b[:, :2] = True
    found, same = recipe_difference(kept(b), kept(a)), recipe_difference(kept(a), kept(a))
    assert found.high == pytest.approx(exact(2, 400).high)
    assert (same.low, same.high) == pytest.approx((-exact(0, 400).high, exact(0, 400).high))


def test_every_interval_holds_its_difference():
    rng = np.random.default_rng(4)
    for _ in range(100):
        rates, seeds = rng.choice([0.0, 0.01, 0.3, 1.0], 2), rng.integers(1, 4, 2)
        a, b = (rng.random((s, 104)) < rate for s, rate in zip(seeds, rates, strict=True))
        pairs = [recipe_difference(kept(a), kept(b))]
        a, b = (np.repeat(each, 8, 0) for each in (a, b))
        pairs += [members_difference(a, b), paired_difference(a[:8], b[:8])]
        for found in pairs:
            assert found.refused or found.low <= found.estimate <= found.high


def test_what_cannot_be_compared_is_said():
    rng = np.random.default_rng(5)
    losses = rng.random((2, 400)) < 0.2
    first = kept(losses)
    cases = {
        r"pools are not the same \(400 and 392\)": kept(losses[:, :392], pool="other"),
        "pools are not the same, or not in the same order": kept(losses, pool="other"),
        "8 and 4 folds": replace(first, fold_of=first.fold_of % 4),
        "folds are not the same": replace(first, fold_of=first.fold_of[::-1]),
    }
    for words, other in cases.items():
        with pytest.raises(InputError, match=words):
            recipe_difference(first, other)
    assert "single network" in recipe_difference(kept(losses[:1]), first).refused
    values = np.full((2, 400), 1.0)
    outlier = values.copy()
    outlier[:, 7] = 1e6
    assert "1 of 400 examples carry" in recipe_difference(kept(outlier), kept(values)).refused


def test_members_of_any_number_are_compared():
    """The spread of 12 and 30 members about recipes that are equal, and Welch's interval where
    nothing but members differs.
    """
    rng = np.random.default_rng(6)
    a, b = (5 + np.repeat(rng.normal(size=(m, 1)), 500, 1) for m in (12, 30))
    found = members_difference(a + np.arange(500), b + np.arange(500))
    theirs = stats.ttest_ind(a[:, 0], b[:, 0], equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=1e-6)
    with pytest.raises(InputError, match="give the same examples twice"):
        members_difference(a, b[:, :9])


@pytest.mark.parametrize("counted", [True, False])
def test_losses_are_kept_and_read_again(tmp_path, counted):
    rng = np.random.default_rng(7)
    losses = rng.random((2, 400)) < 0.2 if counted else rng.random((2, 400)).astype(np.float32)
    given = kept(losses, groups=np.arange(400) // 2)
    given.losses[1, given.fold_of == 2] = np.nan
    write_unseen_losses(tmp_path, given)
    found = read_unseen_losses(tmp_path)
    assert np.array_equal(found.losses, given.losses, equal_nan=True)
    assert np.array_equal(found.group_of, given.group_of)
    assert (found.counted, found.pool) == (counted, "pool")
    assert recipe_difference(found, given).estimate == 0
    file = tmp_path / UNSEEN
    assert file.stat().st_size < 5000
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(InputError, match="is damaged; remove it"):
        read_unseen_losses(tmp_path)
    file.unlink()
    assert read_unseen_losses(tmp_path) is None

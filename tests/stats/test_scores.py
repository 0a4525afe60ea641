"""Scores besides the error against scikit-learn and its jackknife, and what is said of guessing."""

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from jaxnet.errors import InputError
from jaxnet.stats.scores import class_scores, r_squared, scores_of_values, value_scores

FOLDS, SEEDS = 8, 2


def predicted(seed: int, examples: int, classes: int, apart: float = 1.0, digits: int = 1):
    """(log-probabilities, labels); scores are rounded, so that there are ties."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, examples)
    z = rng.standard_normal((examples, classes))
    z[np.arange(examples), y] += apart
    z = np.round(z, digits)
    return (of_odds(z[:, 1] - z[:, 0]) if classes == 2 else normalized(z)), y


def of_odds(odds: np.ndarray) -> np.ndarray:
    """(examples, 2) log-probabilities."""
    odds = np.round(odds, 6)  # so that equal ones stay equal
    return np.stack([-np.logaddexp(0, odds), -np.logaddexp(0, -odds)], -1)


def normalized(z: np.ndarray) -> np.ndarray:
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def cross_fitted(seed: int, examples: int, classes: int):
    """(log-probabilities, labels, seen, folds) of 16 networks that differ a little."""
    f, y = predicted(seed, examples, classes)
    fold = np.arange(examples) % FOLDS
    seen = fold != np.repeat(np.arange(FOLDS), SEEDS)[:, None]
    f = f + 0.3 * np.random.default_rng(seed).standard_normal((len(seen), *f.shape))
    return normalized(f), y, seen, fold


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_of_classes_are_scikit_learns(classes):
    f, y = predicted(0, 500, classes)
    ours, p = class_scores(f, y), np.exp(f)
    if classes == 2:
        area = sk.roc_auc_score(y, np.round(f[:, 1] - f[:, 0], 6))
        assert len(np.unique(f[:, 1])) < 100
    else:
        area = sk.roc_auc_score(y, p, multi_class="ovr")
    assert ours.auc.estimate == pytest.approx(area)
    assert ours.balanced_accuracy.estimate == pytest.approx(
        sk.balanced_accuracy_score(y, p.argmax(1))
    )
    assert [each.estimate for each in ours.recall] == pytest.approx(
        sk.recall_score(y, p.argmax(1), average=None)
    )
    assert ours.log_loss.estimate == pytest.approx(sk.log_loss(y, p))
    for each in (ours.auc, ours.balanced_accuracy, ours.log_loss, *ours.recall):
        assert each.low < each.estimate < each.high


def test_scores_of_values_are_scikit_learns():
    rng = np.random.default_rng(0)
    y = 5 + 3 * rng.standard_normal(300)
    f = y + rng.standard_normal(300)
    ours = value_scores(f, y)
    assert ours.rmse.estimate == pytest.approx(sk.root_mean_squared_error(y, f))
    assert ours.mae.estimate == pytest.approx(sk.mean_absolute_error(y, f))
    assert ours.median_absolute_error.estimate == pytest.approx(sk.median_absolute_error(y, f))
    assert ours.r2.estimate == pytest.approx(sk.r2_score(y, f))
    assert ours.guesses[0].rmse.estimate == pytest.approx(y.std())
    assert ours.guesses[0].gain.estimate == pytest.approx(sk.r2_score(y, f))
    one = r_squared((f - y) ** 2, y, 1.0)
    assert (one.low, one.high) == pytest.approx((ours.r2.low, ours.r2.high))


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_of_cross_fitted_networks_are_means_over_folds(classes):
    f, y, seen, fold = cross_fitted(1, 480, classes)
    ours = class_scores(f, y, seen=seen)
    unseen = [(np.flatnonzero(~row), f[i, ~row]) for i, row in enumerate(seen)]
    areas = [
        sk.roc_auc_score(y[rows], each[:, 1] - each[:, 0])
        if classes == 2
        else sk.roc_auc_score(y[rows], np.exp(each), multi_class="ovr")
        for rows, each in unseen
    ]
    assert ours.auc.estimate == pytest.approx(np.mean(areas))
    right = np.mean([f[2 * fold + s, np.arange(480)].argmax(1) == y for s in range(SEEDS)], 0)
    recall = [right[y == c].mean() for c in range(classes)]
    assert [each.estimate for each in ours.recall] == pytest.approx(recall)
    assert ours.balanced_accuracy.estimate == pytest.approx(np.mean(recall))
    losses = [sk.log_loss(y[rows], np.exp(each), labels=range(classes)) for rows, each in unseen]
    assert ours.log_loss.estimate == pytest.approx(np.mean(losses))


def jackknife(score, groups: np.ndarray) -> float:
    """The standard error of a score of rows, by leaving out one group at a time."""
    names = np.unique(groups)
    each = np.array([score(np.flatnonzero(groups != name)) for name in names])
    return math.sqrt((len(names) - 1) / len(names) * ((each - each.mean()) ** 2).sum())


def standard_error(found) -> float:
    """From limits that are symmetric on the logit scale; t is near 1.97."""
    slope = found.estimate * (1 - found.estimate)
    width = math.log(found.high / (1 - found.high)) - math.log(found.low / (1 - found.low))
    return slope * width / 2 / 1.97


@pytest.mark.parametrize("size", [1, 4])
def test_variances_are_those_of_the_jackknife(size):
    """Examples of a group share a label and a part of their scores."""
    examples, rng = 240 * size, np.random.default_rng(3)
    groups = np.repeat(np.arange(240), size)
    y = (rng.random(240) < 0.3)[groups]
    y = np.where(rng.random(examples) < 0.8, y, rng.random(examples) < 0.3).astype(int)
    odds = 1.2 * y - 1 + rng.standard_normal(examples) + rng.standard_normal(240)[groups]
    f = of_odds(odds)
    ours = class_scores(f, y, groups=groups)
    area = jackknife(lambda rows: sk.roc_auc_score(y[rows], odds[rows]), groups)
    assert standard_error(ours.auc) == pytest.approx(area, rel=0.03)
    recall = jackknife(lambda rows: sk.recall_score(y[rows], odds[rows] > 0), groups)
    assert standard_error(ours.recall[1]) == pytest.approx(recall, rel=0.03)
    both = jackknife(lambda rows: sk.balanced_accuracy_score(y[rows], odds[rows] > 0), groups)
    assert standard_error(ours.balanced_accuracy) > 0.97 * both
    values = odds + 3 * rng.standard_normal(240)[groups]
    share = value_scores(odds, values, groups=groups).r2
    spread = jackknife(lambda rows: sk.r2_score(values[rows], odds[rows]), groups)
    width = (1 - share.estimate) * math.log((1 - share.low) / (1 - share.high))
    assert width / 2 / 1.97 == pytest.approx(spread, rel=0.03)


def test_the_area_has_the_variance_of_delong():
    """The structural components, by comparing each pair."""
    odds, y = np.random.default_rng(0).standard_normal(1000), np.arange(1000) % 4 == 0
    odds = odds + y
    f = of_odds(odds)
    pairs = (odds[y][:, None] > odds[~y]).astype(float)
    variance = pairs.mean(1).var(ddof=1) / y.sum() + pairs.mean(0).var(ddof=1) / (~y).sum()
    assert standard_error(class_scores(f, y.astype(int)).auc) == pytest.approx(
        math.sqrt(variance), rel=5e-3
    )


def test_a_perfect_ranking_and_a_perfect_class_have_an_interval_that_is_no_point():
    y = np.arange(60) % 3 == 0
    odds = np.where(y, 3.0, -3.0) + np.linspace(0, 1, 60)
    f = of_odds(odds)
    ours = class_scores(f, y.astype(int))
    for each in (ours.auc, ours.balanced_accuracy, *ours.recall):
        assert each.high == each.estimate == 1
        assert 0.8 < each.low < 0.99


def test_scores_of_networks_on_the_same_examples_are_their_means():
    """Equal networks have the intervals of one, as far as no rule for one network is exact."""
    f, y = predicted(0, 300, 3)
    f = normalized(f + 0.3 * np.random.default_rng(0).standard_normal((5, *f.shape)))
    ours = class_scores(f, y)
    each = [class_scores(one, y) for one in f]
    for name in ("auc", "balanced_accuracy", "log_loss"):
        means = np.mean([getattr(one, name).estimate for one in each])
        assert getattr(ours, name).estimate == pytest.approx(means)
    alone = each[0].auc
    equal = class_scores(np.stack([f[0]] * 5), y).auc
    assert (equal.low, equal.high) == pytest.approx((alone.low, alone.high))
    f[2, 0] = np.nan
    assert class_scores(f, y).auc == class_scores(np.delete(f, 2, 0), y).auc
    values = value_scores(np.stack([y + 0.5, y - 1.5]), y.astype(float))
    assert values.mae.estimate == pytest.approx(1.0)
    assert values.rmse.estimate == pytest.approx(math.sqrt(1.25))


def test_a_network_that_predicts_nan_is_left_out():
    f, y, seen, _ = cross_fitted(1, 240, 3)
    f[5] = np.nan
    ours, without = (
        class_scores(f, y, seen=seen),
        class_scores(np.delete(f, 5, 0), y, seen=np.delete(seen, 5, 0)),
    )
    for name in ("auc", "balanced_accuracy", "log_loss"):
        assert getattr(ours, name) == getattr(without, name)


def test_one_network_that_predicts_nan_is_wrong_and_has_no_area():
    f, y = predicted(0, 100, 3)
    f[7] = np.nan
    ours = class_scores(f, y)
    assert math.isnan(ours.auc.estimate)
    assert "1 predictions are not numbers" in (ours.auc.refused or "")
    assert ours.log_loss.refused is not None
    assert ours.balanced_accuracy.refused is None


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_values_that_are_not_finite_have_no_scores(bad):
    y = np.arange(50.0)
    f = np.where(y == 3, bad, y)
    with pytest.raises(InputError, match="not finite"):
        value_scores(f, y)
    ours = scores_of_values(f, y, guess=20.0)
    for each in (ours.rmse, ours.mae, ours.median_absolute_error, ours.r2, ours.guesses[0].gain):
        assert "1 of 50 losses are not finite" in (each.refused or "")
    assert not ours.guesses[0].no_better(0.02)


def test_a_class_that_does_not_occur_has_no_recall_and_does_not_count():
    f, y = predicted(0, 200, 3)
    rows = y != 2
    ours = class_scores(f[rows], y[rows])
    assert math.isnan(ours.recall[2].estimate)
    assert ours.recall[2].refused == "no example is of this class"
    right = f[rows].argmax(1) == y[rows]
    recall = [right[y[rows] == c].mean() for c in range(2)]
    assert ours.balanced_accuracy.estimate == pytest.approx(np.mean(recall))


def test_always_guessing_is_of_the_examples_that_a_network_has_seen():
    """Class 1 is the most frequent one outside of fold 0, and class 0 outside of the others."""
    y = np.r_[np.ones(60, int), np.zeros(60, int), np.ones(5, int), np.zeros(5, int)]
    fold = np.r_[np.repeat([0, 1, 2, 3], 30), np.repeat(0, 10)]
    y = np.where(fold == 0, np.arange(130) % 13 != 0, np.arange(130) % 2).astype(int)
    seen = np.repeat(fold != np.arange(4)[:, None], 2, 0)
    f = np.full((8, 130, 2), math.log(0.5))
    guess = class_scores(f, y, seen=seen).guesses[0]
    outside = [np.bincount(y[fold != k]).argmax() for k in range(4)]
    wrong = np.array([y[i] != outside[fold[i]] for i in range(130)])
    assert guess.error.estimate == pytest.approx(wrong.mean())
    assert guess.gain.estimate == pytest.approx(wrong.mean() - (y != 0).mean())


def rates(f: float, s: float, share: float, examples: int = 4000):
    """(log-probabilities, labels): positive labels are found with a probability of f, and others
    are called positive with a probability of s.
    """
    rng = np.random.default_rng(0)
    y = (np.arange(examples) < share * examples).astype(int)
    odds = np.where(rng.random(examples) < np.where(y, f, s), 1.0, -1.0)
    return of_odds(odds), y


@pytest.mark.parametrize(
    ("found", "false", "share", "no_better"),
    [
        (0.0, 0.0, 0.3, True),  # always the most frequent class
        (0.3, 0.3, 0.3, True),  # labels at random, which is worse
        (0.8, 0.1, 0.3, False),
        (
            0.9,
            0.001,
            0.01,
            False,
        ),  # a rare class, which is found: the gain is below 2% all the same
    ],
)
def test_no_better_than_guessing_is_said_where_it_is_so(found, false, share, no_better):
    f, y = rates(found, false, share)
    guess = class_scores(f, y, guess=0).guesses[0]
    assert guess.error.estimate == pytest.approx(share)
    assert guess.no_better(0.02) is no_better


def test_few_examples_say_nothing_about_guessing():
    f, y = rates(0.0, 0.0, 0.3, examples=40)
    guess = class_scores(f, y, guess=0).guesses[0]
    assert guess.gain.estimate == 0
    assert guess.gain.low < 0 < guess.gain.high
    assert not guess.no_better(0.02)


def test_the_value_before_is_the_better_guess_of_a_walk():
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.standard_normal(600))
    y, previous = walk[1:], walk[:-1]
    ours = value_scores(previous + 0.1 * rng.standard_normal(599), y, previous=previous)
    mean, before = ours.guesses
    assert (mean.name, before.name) == ("the training mean", "the value before")
    assert not mean.no_better(0.02)
    assert before.no_better(0.02)
    assert before.rmse.estimate == pytest.approx(sk.root_mean_squared_error(y, previous))


def test_intervals_hold_the_truth():
    """In 100 studies, each of 200 examples, whose truths are known."""
    kept = {"auc": 0, "gain": 0}

    def normal(z: float) -> float:
        return 0.5 * math.erfc(-z / math.sqrt(2))

    truth = {"auc": normal(1 / math.sqrt(2)), "gain": normal(0.5) - 0.5}
    for study in range(100):
        rng = np.random.default_rng(study)
        y = (rng.random(200) < 0.5).astype(int)
        odds = y - 0.5 + rng.standard_normal(200)
        f = of_odds(odds)
        ours = class_scores(f, y, guess=0)
        kept["auc"] += ours.auc.low <= truth["auc"] <= ours.auc.high
        kept["gain"] += ours.guesses[0].gain.low <= truth["gain"] <= ours.guesses[0].gain.high
    for count in kept.values():
        assert count >= 88  # 95%, less three standard deviations


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"log_probabilities": np.zeros((1, 4, 3, 2))}, "shape \\(1, 4, 3, 2\\)"),
        ({"log_probabilities": np.zeros((4, 2)), "labels": [0, 1, 2, 0]}, "labels range from"),
        ({"log_probabilities": np.zeros((4, 2)), "groups": [0, 1]}, "groups have shape"),
        ({"log_probabilities": np.zeros((4, 2)), "guess": 2}, "guess range from"),
    ],
)
def test_what_cannot_be_scored_is_refused(given, match):
    with pytest.raises(InputError, match=match):
        class_scores(**{"labels": [0, 1, 0, 1], **given})

"""Errors and class frequencies without labels, against simulations whose truth is known, and
scikit-learn.
"""

from statistics import NormalDist

import numpy as np
import pytest

from jaxnet.errors import InputError
from jaxnet.stats.label_shift import label_shift
from jaxnet.stats.unlabeled_error import doubt, estimate_error_without_labels, logistic_regression


def network(seed, n, classes=5, sharp=1.0, too_sure=1.0, blur=0.0, frequencies=None, members=None):
    """(log-probabilities, labels) of a network that is `too_sure`, on examples that are harder the
    larger blur is.
    """
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, n, p=frequencies)
    logits = rng.standard_normal((n, classes)) * 1.2
    logits[np.arange(n), y] += 4.0 * sharp * rng.uniform(0.3, 1.5, n) * np.exp(-blur)
    if members is not None:
        logits = logits + 0.6 * rng.standard_normal((members, n, classes))
    logits = logits * too_sure
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True)), y


def test_the_fit_is_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    old, labels = network(0, 1500, too_sure=2.0)
    x, wrong = doubt(old[None].astype(np.float64)), old.argmax(1) != labels
    fit, covariance = logistic_regression(x, wrong)
    theirs = linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        x[:, None], wrong
    )
    assert fit == pytest.approx([theirs.intercept_[0], theirs.coef_[0, 0]], abs=1e-4)
    draws = []
    for seed in range(200):
        rows = np.random.default_rng(seed).integers(0, len(x), len(x))
        draws.append(logistic_regression(x[rows], wrong[rows])[0])
    assert covariance == pytest.approx(np.cov(np.array(draws).T), rel=0.35)


def test_doubt_is_the_log_odds_of_the_confidence():
    old, _ = network(0, 50)
    p = np.exp(old).max(1)
    assert doubt(old[None]) == pytest.approx(np.log((1 - p) / p), abs=1e-6)
    three, _ = network(0, 50, members=3)
    together = np.exp(three).mean(0)[np.arange(50), three[0].argmax(1)]
    assert doubt(three) == pytest.approx(np.log((1 - together) / together), abs=1e-6)
    assert doubt(np.log(np.array([[[1.0, 1e-300], [0.5, 0.5]]]))) == pytest.approx([-40.0, 0.0])


def test_the_slope_undoes_too_sure_confidences():
    fair, labels = network(0, 4000, classes=2)
    sure, _ = network(0, 4000, classes=2, too_sure=2.0)
    one, two = (estimate_error_without_labels(each, labels, each) for each in (fair, sure))
    assert two.slope == pytest.approx(one.slope / 2, rel=1e-6)
    assert (two.error.estimate, two.error.low) == pytest.approx((one.error.estimate, one.error.low))
    # a fit with an intercept keeps the mean
    assert one.error.estimate == pytest.approx((fair.argmax(1) != labels).mean(), abs=1e-9)


@pytest.mark.parametrize("too_sure", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("members", [None, 4])
def test_without_a_shift_intervals_cover_and_are_narrow(too_sure, members):
    new, labels = network(99, 40_000, too_sure=too_sure, members=members)
    truth = float(((new if members is None else new[0]).argmax(-1) != labels).mean())
    found = []
    for seed in range(20):
        old, y = network(seed, 600, too_sure=too_sure, members=members)
        rows = np.random.default_rng(seed).integers(0, 40_000, 500)
        found.append(estimate_error_without_labels(old, y, new[..., rows, :]))
    assert all(each.broken is None for each in found)
    assert np.mean([each.error.low <= truth <= each.error.high for each in found]) >= 0.95
    # 500 outputs do not exclude inputs that are 1.2 times as noisy
    assert np.median([each.error.high - each.error.low for each in found]) / 2 < 0.11
    assert np.mean([each.error.estimate for each in found]) == pytest.approx(truth, abs=0.012)


@pytest.mark.parametrize("blur", [0.1, 0.2, 0.3])
def test_where_examples_become_harder_the_estimate_follows_and_covers(blur):
    old, y = network(0, 2000)
    clean = estimate_error_without_labels(old, y, network(1, 2000)[0]).error
    new, labels = network(2, 5000, blur=blur)
    found = estimate_error_without_labels(old, y, new)
    truth = float((new.argmax(1) != labels).mean())
    assert found.error.estimate > clean.estimate
    assert found.error.low <= truth <= found.error.high
    assert found.error.high - found.error.low > clean.high - clean.low


def test_class_frequencies_alone_do_not_count_as_moved_outputs():
    old, y = network(0, 3000)
    new, labels = network(1, 3000, frequencies=[0.6, 0.2, 0.1, 0.1, 0.0])
    found = estimate_error_without_labels(old, y, new)
    assert found.distance < 0.1
    assert found.frequencies > 0.25
    assert found.error.low <= (new.argmax(1) != labels).mean() <= found.error.high


def test_what_cannot_be_trusted_is_refused():
    old, y = network(0, 1000)
    far = estimate_error_without_labels(old, y, network(1, 1000, blur=2.0)[0])
    assert far.distance > 0.35
    assert far.broken == far.error.refused
    assert "label 50 to 200 of them, drawn at random" in far.broken
    assert np.isnan(far.error.low)
    one_class = np.full((300, 5), -9.0)
    one_class[:, 3] = np.log1p(-4 * np.exp(-9.0))
    assert estimate_error_without_labels(old, y, one_class).broken is not None
    few = estimate_error_without_labels(old[:60], y[:60], old)
    assert "60 reference" in few.error.refused
    assert few.broken is None
    right = old.argmax(1)
    assert (
        "0 of 1000 reference examples are wrong"
        in estimate_error_without_labels(old, right, old).error.refused
    )
    backwards = np.where(np.exp(old).max(1) > 0.9, (right + 1) % 5, right)
    assert (
        "confident predictions are not more often right"
        in estimate_error_without_labels(old, backwards, old).broken
    )


def test_members_that_differ_too_much_are_seen():
    old, y = network(0, 1000)
    together = np.stack([old] * 3)
    assert estimate_error_without_labels(together, y, together).disagreement == 0.0
    noisy, labels = network(0, 1000, members=3)
    found = estimate_error_without_labels(noisy, labels, noisy)
    others = [(member.argmax(1) != noisy[0].argmax(1)).mean() for member in noisy[1:]]
    assert found.disagreement == pytest.approx(np.mean(others))
    assert found.broken is None
    # Another member, never sure, is of another opinion now: confidences hardly move, yet one of the
    # two is wrong on each.
    rng = np.random.default_rng(0)
    confident, right = rng.uniform(0.6, 0.99, 2000), rng.integers(0, 3, 2000)
    y = np.where(rng.random(2000) < confident, right, (right + 1) % 3)

    def members(preferred):
        first, second = np.repeat(((1 - confident) / 2)[:, None], 3, 1), np.full((2000, 3), 0.333)
        first[np.arange(2000), right], second[np.arange(2000), preferred] = confident, 0.334
        return np.log(np.stack([first, second]))

    known, new = members(right), members((right + 1) % 3)
    assert estimate_error_without_labels(known, y, known).broken is None
    found = estimate_error_without_labels(known, y, new)
    assert found.distance < 0.05
    assert "members differ on 100.0%" in found.broken


def table(rng, n, noise=1.0, frequencies=(0.5, 0.5)):
    """(log-probabilities, labels) of the best network of a table: two normal classes 2.4 apart."""
    y = rng.choice(2, n, p=frequencies)
    odds = 2.4 * (2.4 * (y - 0.5) + noise * rng.standard_normal(n))
    return np.stack([-np.logaddexp(0, odds), -np.logaddexp(0, -odds)], 1), y


@pytest.mark.parametrize(
    ("noise", "answered"), [(0.6, 0.0), (1.0, 1.0), (1.3, 1.0), (2.0, 0.0), (3.0, 0.0)]
)
def test_noisier_tables_are_covered_or_refused(noise, answered):
    truth = NormalDist().cdf(-1.2 / noise)
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        found.append(estimate_error_without_labels(*table(rng, 1000), table(rng, 1000, noise)[0]))
    kept = [each for each in found if each.broken is None]
    assert len(kept) >= answered * len(found)
    assert all(each.error.low <= truth <= each.error.high for each in kept)
    assert np.mean([each.noise for each in found]) == pytest.approx(noise, rel=0.08)
    noisy = np.mean([each.assumptions["noise"] for each in found])
    assert noisy == pytest.approx(truth, abs=0.02)
    if noise == 3.0:
        assert "says nothing about the error" in found[0].broken


def test_assumptions_that_differ_by_much_are_refused():
    rng = np.random.default_rng(0)
    old, y = table(rng, 2000)
    odds = np.array([3.0, -3.0])[rng.integers(0, 2, 2000)] + 4.5 * rng.standard_normal(2000)
    new = np.stack([-np.logaddexp(0, odds), -np.logaddexp(0, -odds)], 1)
    found = estimate_error_without_labels(old, y, new)
    assert found.distance < 0.35
    assert found.assumptions["noise"] > 2 * found.assumptions["equal confidence"]
    assert found.broken is None or "as if inputs had more noise" in found.broken


def test_class_frequencies_are_one_of_the_assumptions():
    """Errors of the second class are rare in the reference; the new examples are of it."""
    rng = np.random.default_rng(0)

    def lopsided(n, share):
        y = (rng.random(n) < share).astype(int)
        odds = 1.5 * (y - 0.3 + 0.8 * rng.standard_normal(n)) - 0.8
        return np.stack([-np.logaddexp(0, odds), -np.logaddexp(0, -odds)], 1), y

    old, y = lopsided(3000, 0.2)
    new, labels = lopsided(3000, 0.6)
    truth = float((new.argmax(1) != labels).mean())
    found = estimate_error_without_labels(old, y, new)
    assert abs(found.assumptions["equal confidence"] - truth) > 0.05
    assert found.assumptions["class frequencies"] == pytest.approx(truth, abs=0.03)
    assert found.broken is not None or found.error.low <= truth <= found.error.high


def test_examples_that_divide_the_networks_as_never_before_are_refused():
    rng = np.random.default_rng(0)
    old, y = network(0, 1000, members=4)
    new, _ = network(1, 1000, members=4)
    assert estimate_error_without_labels(old, y, new).broken is None
    rows = rng.random(1000) < 0.08  # each network is sure of another class
    sure = np.log(np.full((4, 5), 0.001) + 0.995 * np.eye(5)[:4])
    new[:, rows] = sure[:, None]
    found = estimate_error_without_labels(old, y, new)
    assert "the networks disagree more than on any reference example" in found.broken
    assert found.error.refused == found.broken


def test_outputs_with_few_values_are_not_taken_for_crowded():
    """As those of a shallow tree: each is as frequent among the new examples as before."""
    rng, leaves = np.random.default_rng(0), np.log([[0.9, 0.06, 0.04], [0.2, 0.7, 0.1]])
    old, new = (leaves[rng.integers(0, 2, n)] for n in (600, 900))
    y = np.array([rng.choice(3, p=p / p.sum()) for p in np.exp(old)])
    found = estimate_error_without_labels(old, y, new)
    assert found.broken is None
    assert found.error.low <= 0.2 <= found.error.high


def test_labels_of_a_few_examples_see_what_outputs_cannot():
    """Two classes trade places: outputs are as before, and 57% of predictions are wrong."""
    covered, unseen, widths = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        old, y = network(2 * seed, 400)
        new, labels = network(2 * seed + 1, 1000)
        labels = np.array([1, 0, 2, 3, 4])[labels]
        rows = rng.permutation(1000)[:100]
        found = estimate_error_without_labels(old, y, new, labeled=(rows, labels[rows]))
        assert found.labels == 100
        covered.append(found.error.low <= 0.4543 <= found.error.high)
        widths.append((found.error.high - found.error.low) / 2)
        if seed < 3:
            alone = estimate_error_without_labels(old, y, new).error
            unseen.append(alone.low <= 0.4543 <= alone.high)
            assert dict(found.half_widths)[100] == pytest.approx(widths[-1], rel=0.1)
    assert np.mean(covered) >= 0.9
    assert not any(unseen)
    assert np.mean(widths) < 0.1


def test_few_labels_are_counted_exactly_even_without_a_reference_to_calibrate_with():
    proportion = pytest.importorskip("scipy.stats").binomtest(2, 60).proportion_ci()
    old, y = network(0, 50)
    new, _ = network(1, 300)
    predicted = new[:60].argmax(1)
    labels = np.where(np.arange(60) < 2, (predicted + 1) % 5, predicted)
    found = estimate_error_without_labels(old, y, new, labeled=(np.arange(60), labels))
    assert (found.error.low, found.error.high) == pytest.approx((proportion.low, proportion.high))
    assert found.error.refused is None


def test_the_text_says_what_is_assumed_and_how_many_labels_would_tell():
    old, y = network(0, 1000)
    new, labels = network(1, 1000)
    words = str(estimate_error_without_labels(old, y, new))
    assert "a change of p(y|x)" in words
    assert "label 50 to 200 of them, drawn at random" in words
    refused = estimate_error_without_labels(old, y, network(1, 1000, blur=2.0)[0])
    # whatever the error: 1.96 * 0.5 / sqrt(labels)
    assert "50 labels: ±13.9, 100 labels: ±9.8, 200 labels: ±6.9" in str(refused)
    rows = np.arange(100)
    found = str(estimate_error_without_labels(old, y, new, labeled=(rows, labels[rows])))
    assert "from 100 labels" in found
    assert "p(y|x)" not in found


@pytest.mark.parametrize(
    ("labeled", "words"),
    [
        (([0], [0], [0]), "labeled has 3 parts; give two"),
        (([0, 9], [0, 0]), "rows of labeled range from 0 to 9"),
        (([0, 0], [0, 0]), "hold 0 more than once"),
        (([], []), "labeled has no rows"),
        (([0, 1], [0]), "y of labeled have shape"),
        (([0, 1], [0, 3]), "y of labeled range from 0 to 3"),
        (([0.5, 1], [0, 1]), "rows of labeled are float64"),
    ],
)
def test_bad_labels_are_named(labeled, words):
    p = np.full((9, 3), np.log(1 / 3))
    with pytest.raises(InputError, match=words):
        estimate_error_without_labels(p, np.zeros(9, int), p, labeled=labeled)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"new_log_probabilities": np.full((5, 4), np.log(1 / 4))}, "same members and classes"),
        (
            {"new_log_probabilities": np.ones((5, 3))},
            "new_log_probabilities: the probabilities of example 0 add up to 8.155",
        ),
        ({"new_log_probabilities": np.zeros(5)}, r"floats \(examples, classes\)"),
        (
            {"reference_log_probabilities": np.full((9, 3), np.nan)},
            "example 0 add up to nan; leave out",
        ),
        ({"reference_labels": np.zeros(8, int)}, "reference_labels have shape"),
        ({"reference_labels": np.full(9, 3)}, "from 3 to 3"),
        ({"level": 0.0}, "level is 0.0"),
    ],
)
def test_bad_input_is_named(change, words):
    given = {
        "reference_log_probabilities": np.full((9, 3), np.log(1 / 3)),
        "reference_labels": np.zeros(9, int),
    }
    given |= {"new_log_probabilities": np.full((9, 3), np.log(1 / 3))} | change
    with pytest.raises(InputError, match=words):
        estimate_error_without_labels(**given)


# Class frequencies


def counts(rng, n, accuracy, frequencies):
    """(predictions, labels) of a network of that accuracy whose errors fall anywhere."""
    y = rng.choice(len(frequencies), n, p=frequencies)
    return np.where(
        rng.random(n) < accuracy, y, (y + rng.integers(1, len(frequencies), n)) % len(frequencies)
    ), y


@pytest.mark.parametrize(
    ("classes", "accuracy", "n", "m"),
    [(3, 0.8, 300, 100), (10, 0.9, 1000, 200), (10, 0.7, 1000, 500)],
)
def test_frequencies_cover(classes, accuracy, n, m):
    rng, inside, absent = np.random.default_rng(0), [], []
    for _ in range(150):
        q = rng.dirichlet(np.ones(classes))
        q[0] = 0
        q /= q.sum()
        found = label_shift(
            *counts(rng, n, accuracy, np.full(classes, 1 / classes)), counts(rng, m, accuracy, q)[0]
        )
        if found.broken is None:
            covered = [
                each.low <= truth <= each.high
                for each, truth in zip(found.frequencies, q, strict=True)
            ]
            absent.append(covered[0])
            inside += covered[1:]
        assert sum(each.estimate for each in found.frequencies) == pytest.approx(1)
        assert all(each.estimate >= 0 for each in found.frequencies)
    assert 0.93 <= np.mean(inside) <= 0.985
    assert np.mean(absent) >= 0.94


def test_frequencies_are_the_solution_of_the_confusion_matrix():
    rng = np.random.default_rng(1)
    predictions, labels = counts(rng, 5000, 0.8, [0.5, 0.3, 0.2])
    new, _ = counts(rng, 4000, 0.8, [0.1, 0.2, 0.7])
    confusion = np.array(
        [[np.mean(predictions[labels == k] == i) for k in range(3)] for i in range(3)]
    )
    wanted = np.linalg.solve(confusion, np.bincount(new, minlength=3) / 4000)
    found = label_shift(np.eye(3)[predictions], labels, np.log(np.eye(3)[new] + 0.1))
    assert [each.estimate for each in found.frequencies] == pytest.approx(wanted)
    assert found.weights == pytest.approx(wanted / (np.bincount(labels) / 5000))
    assert found.condition == pytest.approx(np.linalg.cond(confusion))
    assert np.abs(wanted - [0.1, 0.2, 0.7]).max() < 0.04


def test_what_cannot_be_counted_is_refused():
    rng = np.random.default_rng(0)
    predictions, labels = counts(rng, 600, 0.9, [0.5, 0.5, 0.0])
    missing = label_shift(np.eye(3)[predictions], labels, np.eye(3)[predictions])
    assert "class 2 has 0 reference examples" in missing.refused
    assert missing.frequencies[0].refused == missing.refused
    assert np.isnan(missing.weights).all()
    predictions, labels = counts(rng, 600, 0.95, [0.4, 0.3, 0.3])
    alike = np.where(
        predictions == 2,
        rng.integers(1, 3, 600),
        np.where(predictions == 1, rng.integers(1, 3, 600), predictions),
    )
    assert "do not tell classes 1 and 2 apart" in label_shift(alike, labels, alike).refused
    assert (
        "20 new examples are too few" in label_shift(predictions, labels, predictions[:20]).refused
    )


def test_many_classes_ask_for_more_reference_examples():
    rng, even = np.random.default_rng(0), np.full(50, 1 / 50)
    labels = np.arange(5 * 50) % 50
    predictions = np.where(rng.random(250) < 0.9, labels, rng.integers(0, 50, 250))
    found = label_shift(predictions, labels, counts(rng, 1000, 0.9, even)[0])
    assert "250 reference examples are too few to know how often 50 classes" in found.refused
    needed = int(found.refused.split("at least ")[1].split(" are")[0].replace(",", ""))
    assert 250 < needed < 20 * 250
    enough = label_shift(*counts(rng, needed, 0.9, even), counts(rng, 1000, 0.9, even)[0])
    assert enough.refused is None


@pytest.mark.parametrize("kind", ["probabilities", "log-probabilities"])
def test_reweighted_outputs_must_look_like_the_new_ones(kind):
    rng = np.random.default_rng(0)

    def given(n, noise, share):
        outputs, y = table(rng, n, noise, (1 - share, share))
        return np.exp(outputs) if kind == "probabilities" else outputs, y

    alarms = 0
    for _ in range(40):
        found = label_shift(*given(1000, 1.0, 0.5), given(1000, 1.0, 0.8)[0])
        alarms += found.broken is not None
        if found.broken is None:
            assert found.frequencies[1].estimate == pytest.approx(0.8, abs=0.1)
    assert alarms <= 2
    found = label_shift(*given(1000, 1.0, 0.5), given(1000, 2.0, 0.5)[0])
    assert "after reweighting, output" in found.broken
    assert found.frequencies[0].refused == found.broken
    # class numbers alone hold nothing that could be tested
    old, y = given(1000, 1.0, 0.5)
    new = given(1000, 2.0, 0.5)[0]
    assert label_shift(old.argmax(1), y, new.argmax(1)).broken is None


def test_classes_that_look_different_are_seen():
    rng = np.random.default_rng(0)
    predictions, labels = counts(rng, 3000, 0.7, [0.4, 0.3, 0.3])
    # even of class 0 only 70% were predicted as it
    found = label_shift(predictions, labels, np.zeros(2000, int))
    assert "look different now" in found.broken
    assert all(each.refused for each in found.frequencies)
    assert label_shift(predictions, labels, predictions).broken is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reference_labels": np.zeros(5, int)}, "reference_labels have shape"),
        (
            {"reference_predictions": np.zeros(9)},
            "reference_predictions are float64; give class numbers",
        ),
        ({"new_predictions": np.array([-1, 0])}, "from -1 to"),
        (
            {"new_predictions": np.zeros((4, 2)), "reference_predictions": np.zeros((9, 3))},
            "of 2 and of 3 classes",
        ),
        (
            {"new_predictions": np.full((4, 2), np.nan)},
            r"new_predictions has 8 values .*\(nan\) in example 0",
        ),
        ({"level": 2.0}, "level is 2.0"),
    ],
)
def test_bad_frequencies_input_is_named(change, words):
    given = {
        "reference_predictions": np.arange(9) % 2,
        "reference_labels": np.arange(9) % 2,
        "new_predictions": np.arange(4) % 2,
    } | change
    with pytest.raises(InputError, match=words):
        label_shift(**given)

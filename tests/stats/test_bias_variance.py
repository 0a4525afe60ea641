"""Decompositions against mlxtend, closed forms and their own definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mlxtend.evaluate import bias_variance_decomp
from scipy import stats
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from jaxnet.diagnostics import (
    bias_variance_decomposition,
    paired_decomposition,
    sample_and_seed_variance,
)
from jaxnet.errors import InputError
from jaxnet.stats.moments import degrees_of_freedom

LOSSES = ("squared", "zero_one_kohavi_wolpert", "brier", "cross_entropy")


class Recorder(BaseEstimator):
    """An estimator that keeps what it predicted."""

    def __init__(self, estimator, kept):
        self.estimator, self.kept = estimator, kept

    def fit(self, x, y):
        """Fit a new one."""
        self.fitted = clone(self.estimator).fit(x, y)
        return self

    def predict(self, x):
        """Predict, and note it."""
        self.kept.append(self.fitted.predict(x))
        return self.kept[-1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(random_state=0),
        KNeighborsClassifier(3),
        MLPClassifier((8,), max_iter=5, random_state=0),
    ],
    ids=["tree", "k-NN", "MLP"],
)
@pytest.mark.parametrize("rounds", [7, 20])
def test_zero_one_is_mlxtends(estimator, rounds):
    x, y = load_digits(return_X_y=True)
    kept = []
    recorder = Recorder(estimator, kept)
    theirs = bias_variance_decomp(
        recorder,
        x[:150],
        y[:150],
        x[150:400],
        y[150:400],
        loss="0-1_loss",
        num_rounds=rounds,
        random_seed=1,
    )
    predictions = np.stack(kept)
    ours = bias_variance_decomposition(predictions, y[150:400], loss="zero_one", design="bootstrap")
    assert (ours.loss.estimate, ours.bias.estimate, ours.variance.estimate) == pytest.approx(
        theirs, abs=1e-12
    )
    # In integers: what the members got wrong is what the vote got wrong, and the votes for and
    # against it.
    wrong = round(ours.loss.estimate * rounds * 250)
    assert wrong == int((predictions != y[150:400]).sum())
    counted = [
        round(part.estimate * rounds * 250)
        for part in (ours.bias, ours.unbiased_variance, ours.biased_variance)
    ]
    assert counted[0] + counted[1] - counted[2] == wrong
    assert ours.net_variance.estimate == pytest.approx(
        ours.unbiased_variance.estimate - ours.biased_variance.estimate, abs=1e-15
    )


def given_by(logits, loss):
    """Predictions that the loss takes, from (members, examples, classes) numbers."""
    if loss == "squared":
        return logits[..., 0]
    if loss.startswith("zero_one"):
        return logits.argmax(-1)
    shifted = np.maximum(logits, -3e38) - logits.max(-1, keepdims=True)
    with np.errstate(divide="ignore", over="ignore"):
        return (shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))).astype(np.float32)


numbers = st.one_of(
    st.floats(-8, 8, width=32), st.sampled_from([0.0, -0.0, 1.0, -100.0, 100.0, 1000.0])
)
SHAPES = st.sampled_from([(2, 1, 1), (3, 1, 2), (4, 5, 3), (8, 6, 2), (5, 4, 1)])


@settings(deadline=None, max_examples=150)
@given(
    logits=SHAPES.flatmap(lambda shape: arrays(np.float32, shape, elements=numbers)),
    label=st.integers(0, 2),
    loss=st.sampled_from(LOSSES),
)
def test_the_plug_in_pair_adds_up_whatever_the_input(logits, label, loss):
    predictions = given_by(logits, loss)
    y = np.arange(logits.shape[1]) * (1 + label) % logits.shape[2]
    found = bias_variance_decomposition(
        predictions, y.astype(np.float32) if loss == "squared" else y, loss=loss
    )
    size = 1e-6 * max(1.0, abs(found.loss.estimate))
    assert (
        found.loss.estimate - found.plug_in_bias.estimate - found.plug_in_variance.estimate
        == pytest.approx(0, abs=size)
    )
    assert found.loss.estimate - found.bias.estimate - found.variance.estimate == pytest.approx(
        0, abs=4 * len(logits) * size
    )
    assert found.plug_in_variance.estimate >= -size
    assert found.plug_in_bias.estimate >= -size


def test_zero_probabilities_are_clipped_and_counted():
    with np.errstate(divide="ignore"):
        log_p = np.log(np.array([[[1.0, 0.0]], [[0.5, 0.5]], [[0.0, 1.0]]], np.float32))
    found = bias_variance_decomposition(log_p, np.array([0]), loss="cross_entropy")
    assert found.clipped == 2
    assert found.loss.estimate == pytest.approx((0 + math.log(2) + 87.3365) / 3, abs=1e-3)


def by_hand(log_p, y, loss):
    """(loss, plug-in bias, plug-in variance) from the definitions, an example at a time."""
    p, total = np.exp(log_p.astype(np.float64)), np.zeros(3)
    for i, label in enumerate(y):
        if loss == "cross_entropy":
            center = np.exp(np.log(p[:, i]).mean(0))
            center /= center.sum()
            total += [
                -np.log(p[:, i, label]).mean(),
                -np.log(center[label]),
                np.mean([np.sum(center * np.log(center / member)) for member in p[:, i]]),
            ]
        else:
            truth, values = np.eye(p.shape[2])[label], p[:, i]
            if loss == "zero_one_kohavi_wolpert":
                values = np.eye(p.shape[2])[values.argmax(-1)]
            center, half = values.mean(0), 0.5 if loss.startswith("zero") else 1.0
            total += half * np.array(
                [
                    ((values - truth) ** 2).sum(-1).mean(),
                    ((center - truth) ** 2).sum(),
                    ((values - center) ** 2).sum(-1).mean(),
                ]
            )
    return total / len(y)


@pytest.mark.parametrize("loss", ["cross_entropy", "brier", "zero_one_kohavi_wolpert"])
def test_plug_in_values_are_the_definitions(loss):
    rng = np.random.default_rng(0)
    log_p = given_by(rng.normal(size=(6, 40, 4)).astype(np.float32), "brier")
    y = rng.integers(0, 4, 40)
    found = bias_variance_decomposition(log_p, y, loss=loss)
    expected = by_hand(log_p, y, loss)
    assert [
        found.loss.estimate,
        found.plug_in_bias.estimate,
        found.plug_in_variance.estimate,
    ] == pytest.approx(list(expected), abs=1e-6)


@pytest.mark.parametrize("design", ["fixed k-NN", "ridge"])
def test_closed_forms_of_fixed_design(design):
    """Hastie, Tibshirani & Friedman, eq. 7.10 to 7.12: 10,000 members whose labels alone are drawn
    anew.
    """
    rng, members, sigma = np.random.default_rng(0), 10_000, 0.7
    x, new = np.sort(rng.uniform(-2, 2, 60)), np.linspace(-1.8, 1.8, 25)
    f = np.sin
    if design == "ridge":
        a, b = (np.stack([np.ones_like(z), z, z**2], 1) for z in (x, new))
        smoother = b @ np.linalg.solve(a.T @ a + 3.0 * np.eye(3), a.T)
    else:
        nearest = np.argsort(np.abs(new[:, None] - x), axis=1)[:, :5]
        smoother = np.zeros((25, 60))
        np.put_along_axis(smoother, nearest, 1 / 5, axis=1)
    predictions = (f(x) + sigma * rng.standard_normal((members, 60))) @ smoother.T
    found = bias_variance_decomposition(predictions, f(new), loss="squared")
    bias = (smoother @ f(x) - f(new)) ** 2
    variance = sigma**2 * (smoother**2).sum(1)
    # Standard errors from batches of members, which are independent.
    batches = [
        bias_variance_decomposition(part, f(new), loss="squared")
        for part in np.split(predictions, 50)
    ]
    for name, truth in (("bias", bias.mean()), ("variance", variance.mean())):
        error = np.std([getattr(batch, name).estimate for batch in batches], ddof=1) / math.sqrt(50)
        assert abs(getattr(found, name).estimate - truth) < 3 * error


def test_corrected_values_are_unbiased_and_plug_in_values_are_not():
    rng, members, replicates = np.random.default_rng(1), 4, 5000
    predictions = 1.0 + 2.0 * rng.standard_normal((members, replicates))
    found = bias_variance_decomposition(
        predictions, np.zeros(replicates), loss="squared"
    ).per_example
    for values, truth in ((found.bias, 1.0), (found.variance, 4.0)):
        assert abs(values.mean() - truth) < 3 * values.std(ddof=1) / math.sqrt(replicates)
    plug_in = (predictions.mean(0)) ** 2
    error = plug_in.std(ddof=1) / math.sqrt(replicates)
    assert abs(plug_in.mean() - 1.0 - 4.0 / members) < 3 * error  # off by variance / M
    assert abs(plug_in.mean() - 1.0) > 10 * error


def test_bernoulli_voters():
    """Kohavi & Wolpert's form for members that err with known probabilities."""
    rng, members, n = np.random.default_rng(2), 4, 20_000
    wrong = rng.uniform(0, 1, n)
    votes = (rng.random((members, n)) < wrong).astype(int)
    found = bias_variance_decomposition(
        votes, np.zeros(n, int), loss="zero_one_kohavi_wolpert"
    ).per_example
    for values, truth in ((found.bias, wrong**2), (found.variance, wrong * (1 - wrong))):
        differences = values - truth
        assert abs(differences.mean()) < 3 * differences.std(ddof=1) / math.sqrt(n)


def test_a_partition_is_decomposed_part_by_part():
    rng = np.random.default_rng(3)
    predictions, y = rng.integers(0, 3, (16, 300)), rng.integers(0, 3, 300)
    whole = bias_variance_decomposition(
        predictions, y, loss="zero_one_kohavi_wolpert", design="partition", parts=4
    )
    each = [
        bias_variance_decomposition(part, y, loss="zero_one_kohavi_wolpert")
        for part in np.split(predictions, 4)
    ]
    for name in ("loss", "bias", "variance", "plug_in_bias"):
        assert getattr(whole, name).estimate == pytest.approx(
            np.mean([getattr(part, name).estimate for part in each]), abs=1e-12
        )
    assert whole.bias.refused is None
    halves = bias_variance_decomposition(
        predictions, y, loss="zero_one_kohavi_wolpert", design="partition", parts=2
    )
    assert math.isfinite(halves.bias.estimate)
    assert "at least 3 parts" in halves.bias.refused


@pytest.mark.parametrize("loss", LOSSES)
def test_out_of_bag_uses_those_who_did_not_see(loss):
    """Every example alone, with the members that did not see it, is an ordinary decomposition."""
    rng = np.random.default_rng(4)
    predictions = given_by(rng.normal(size=(12, 30, 3)).astype(np.float32), loss)
    y = rng.integers(0, 3, 30)
    y = y.astype(np.float32) if loss == "squared" else y
    seen = rng.random((12, 30)) < 0.6
    seen[:, 0], seen[2:, 1] = False, True
    hidden = predictions.copy()
    if hidden.dtype.kind == "f":
        hidden[seen] = np.nan
    found = bias_variance_decomposition(hidden, y, loss=loss, design="bootstrap", seen=seen)
    kept = np.flatnonzero((~seen).sum(0) >= 3)
    assert found.dropped == 30 - len(kept) > 0
    for place, i in enumerate(kept):
        alone = bias_variance_decomposition(
            predictions[~seen[:, i], i : i + 1], y[i : i + 1], loss=loss
        )
        for name in ("loss", "bias", "variance"):
            assert getattr(found.per_example, name)[place] == pytest.approx(
                getattr(alone, name).estimate, abs=1e-9
            )


def test_words_are_those_the_design_allows():
    rng = np.random.default_rng(5)
    predictions, y = rng.normal(size=(16, 250)), rng.normal(size=250)
    text = {
        d: str(bias_variance_decomposition(predictions, y, loss="squared", design=d))
        for d in ("fresh", "bootstrap", "seeds")
    }
    assert "bias (squared)" in text["fresh"]
    assert "noise of the labels" in text["fresh"]
    assert "bias" not in text["bootstrap"].replace("bias contains", "")
    assert "variance" not in text["bootstrap"]
    assert "spread under resampling your data" in text["bootstrap"]
    assert "variance of the optimization on this training set" in text["seeds"]


def test_intervals_are_refused_with_what_they_need():
    rng = np.random.default_rng(6)
    few = bias_variance_decomposition(
        rng.normal(size=(8, 300)), rng.normal(size=300), loss="squared"
    )
    assert "8 members are too few" in few.bias.refused
    assert "at least 16" in few.bias.refused
    assert math.isnan(few.bias.low)
    assert math.isfinite(few.bias.estimate)
    short = bias_variance_decomposition(
        rng.normal(size=(16, 60)), rng.normal(size=60), loss="squared"
    )
    assert "60 examples are too few" in short.variance.refused
    one = bias_variance_decomposition(
        rng.normal(size=(1, 300)), rng.normal(size=300), loss="squared"
    )
    assert math.isnan(one.variance.estimate)
    assert one.plug_in_variance.estimate == 0
    votes = bias_variance_decomposition(
        rng.integers(0, 2, (8, 300)), rng.integers(0, 2, 300), loss="zero_one"
    )
    assert "at least 16" in votes.bias.refused


def test_differences_are_differences():
    rng = np.random.default_rng(7)
    y, shared = rng.normal(size=400), rng.normal(size=(16, 400))
    a, b = shared + 0.5, 0.5 * shared
    first, second = (bias_variance_decomposition(each, y, loss="squared") for each in (a, b))
    found = paired_decomposition(a, b, y, loss="squared")
    for name in ("loss", "bias", "variance"):
        difference = getattr(found, name)
        assert difference.estimate == pytest.approx(
            getattr(first, name).estimate - getattr(second, name).estimate, abs=1e-12
        )
        assert difference.low < difference.estimate < difference.high
    assert found.variance.low > 0
    nothing = paired_decomposition(a, a, y, loss="squared")
    assert "carry nearly all of it" in nothing.bias.refused


@pytest.mark.parametrize("same", [False, True])
def test_sample_and_seed_variance_are_unbiased(same):
    """Known components: sample 0.5, seed 0.3 (of it 0.2 shared by all samples where seeds are the
    same), bias 4.
    """
    rng, n, s, k = np.random.default_rng(8), 4000, 5, 3
    sample = math.sqrt(0.5) * rng.standard_normal((s, 1, n))
    own = math.sqrt(0.1 if same else 0.3) * rng.standard_normal((s, k, n))
    common = math.sqrt(0.2) * rng.standard_normal((1, k, n)) if same else 0.0
    found = sample_and_seed_variance(
        2.0 + sample + own + common, np.zeros(n), loss="squared", same_seeds=same
    )
    assert found.loss.estimate == pytest.approx(
        found.bias.estimate + found.sample.estimate + found.seed.estimate, abs=1e-9
    )
    for part, truth, error in (
        (found.sample, 0.5, 0.02),
        (found.seed, 0.3, 0.02),
        (found.bias, 4.0, 0.12),
    ):
        assert part.estimate == pytest.approx(truth, abs=error)
        assert "at least 8" in part.refused


@pytest.mark.parametrize("samples", [8, 16])
def test_few_samples_have_a_wider_interval(samples):
    """Below 16 samples the squared reaches over samples and over examples add up, each with its own
    quantile of Student's distribution (Graybill & Wang 1980).
    """
    rng, n = np.random.default_rng(9), 300
    f = 1 + rng.standard_normal((samples, 1, 1)) / 4 + rng.standard_normal((samples, 2, n)) / 2
    found = sample_and_seed_variance(f, np.zeros(n), loss="squared").loss
    losses = (f**2).mean(1)
    between = losses.mean(1).var(ddof=1) / samples
    own = losses.mean(0).var(ddof=1) / n
    freedom = degrees_of_freedom(losses.mean(0))
    reach = math.sqrt(
        stats.t.ppf(0.975, samples - 1) ** 2 * between + stats.t.ppf(0.975, freedom) ** 2 * own
    )
    ratio = math.exp(reach / found.estimate)
    few = (found.estimate / ratio, found.estimate * ratio)
    if samples == 8:
        assert (found.low, found.high) == pytest.approx(few)
    else:
        assert few[0] < found.low < found.high < few[1]


BAD = [
    ({"loss": "hinge"}, "unknown loss 'hinge'; known are"),
    ({"design": "bagging"}, "unknown design 'bagging'; known are"),
    ({"design": "partition"}, "a partition, and no other design, has a number of parts"),
    ({"parts": 3, "design": "partition"}, "parts is 3 for 4 members"),
    ({"predictions": np.zeros((4, 6), int)}, r"labels have shape \(5,\) for 6 examples"),
    ({"predictions": np.zeros((4, 5))}, "predictions are float64; give class numbers"),
    ({"labels": np.zeros(5)}, "labels are float64"),
    ({"loss": "brier"}, "brier takes log-probabilities"),
    ({"loss": "brier", "predictions": np.zeros((4, 5, 3))}, "member 0, example 0 add up to 3"),
    (
        {"loss": "brier", "predictions": np.full((4, 5, 2), -math.log(2)), "labels": np.full(5, 2)},
        "labels range from 2 to 2",
    ),
    (
        {"loss": "squared", "predictions": np.array([[0.0] * 5, [0, 0, math.nan, 0, 0]])},
        r"predictions has 1 value that is not finite, the first \(nan\) in member 1, example 2 "
        r"\(counted from 0\); "
        r"leave out",
    ),
    (
        {
            "loss": "squared",
            "predictions": np.zeros((2, 5)),
            "labels": np.array([0, math.inf, 0, 0, 0]),
        },
        r"labels has 1 value .*\(inf\) in example 1",
    ),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_input_is_named(changes, message):
    call = {
        "predictions": np.zeros((4, 5), int),
        "labels": np.zeros(5, int),
        "loss": "zero_one",
    } | changes
    with pytest.raises(InputError, match=message):
        bias_variance_decomposition(call.pop("predictions"), call.pop("labels"), **call)

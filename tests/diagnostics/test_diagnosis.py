"""The ladder of members, the diagnosis and its words; patients whose trouble is known; intervals
that cover.
"""

import json
import logging
import math
from dataclasses import replace

import jax
import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

import jaxnet
from experiments.benchmarks import coverage, patients
from jaxnet.data.splitting import take
from jaxnet.diagnostics import (
    Diagnosis,
    ensemble_gain,
    error_ladder,
    error_of,
    exact,
    mean,
    paired_difference,
    validation_curve,
    wilson,
)
from jaxnet.diagnostics.findings import Code
from jaxnet.diagnostics.steps import PoolSteps
from jaxnet.errors import InputError
from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress
from jaxnet.stats.cross_fitting import cross_fit
from jaxnet.stats.power import more_to_decide
from jaxnet.stats.random_effects import POSITIVE, RATE, contrast, interval, table
from jaxnet.stats.scores import class_scores, value_scores
from jaxnet.studies.design import design_of
from jaxnet.studies.trained import train_within


def members(rates, sizes, count=16, seed=0, spread=1.0):
    """Whether members err, by part, at these rates; difficult examples are so for most of them."""
    rng = np.random.default_rng(seed)
    errors = {}
    for name, rate, n in zip(("train", "validation", "test"), rates, sizes, strict=True):
        difficulty = rng.beta(spread * rate, spread * (1 - rate), n) if rate else np.zeros(n)
        errors[name] = rng.random((count, n)) < difficulty
    return errors


VERDICTS = [
    ((0.30, 0.31, 0.31), "high bias: "),
    ((0.0, 0.2, 0.2), "high variance: "),
    ((0.0, 0.002, 0.3), "mismatch: "),
    ((0.0, 0.003, 0.003), "good enough: "),
    ((0.0, 0.016, 0.02), "mostly variance: "),
]


@pytest.mark.parametrize(("rates", "verdict"), VERDICTS)
def test_the_verdict_on_a_recipe(rates, verdict):
    found = error_ladder(members(rates, (2000, 800, 800)))
    assert found.verdict.startswith(verdict), found.verdict
    assert set(found.errors) == {"train", "validation", "test"}
    assert [f.size.estimate for f in found.findings] == sorted(
        (f.size.estimate for f in found.findings), reverse=True
    )


def test_mostly_one_of_the_two():
    """The gap is surely larger than the bias, and maybe below the tolerance."""
    found = error_ladder(members((0.0, 0.018, 0.018), (2000, 400, 400)), test_source="random")
    assert found.verdict.startswith("mostly variance: the generalization gap is")
    assert "acceptable for any tolerance above" in found.verdict
    assert found.dominance.low > 0


def test_a_random_test_set_shows_no_mismatch():
    errors = members((0.0, 0.003, 0.3), (2000, 800, 800))
    found = error_ladder(errors, test_source="random")
    assert found.verdict.startswith("high variance: ")
    assert {each.code for each in found.findings} == {"high_bias", "high_variance"}
    both = np.concatenate([errors["validation"], errors["test"]], 1).mean()
    assert found.findings[0].size.estimate == pytest.approx(both - errors["train"].mean())


def test_what_would_decide_is_said():
    found = error_ladder(members((0.02, 0.03, 0.03), (1000, 200, 200)), test_source="random")
    assert found.verdict.startswith("inconclusive: ")
    assert "times as many examples to judge with" in found.verdict
    assert "would decide with 80% probability, if" in found.verdict


def test_what_is_undecided_takes_more_examples():
    """Two mistakes in 300 examples: limits are farther away than the variance says."""
    fold = np.arange(300) % 8
    seen = np.repeat(fold != np.arange(8)[:, None], 2, 0)
    wrong = np.where(seen, np.arange(300) < 2, np.arange(300) < 12)
    steps = PoolSteps(cross_fit(wrong, seen)[0], 0.0)
    assert steps.size(Code.HIGH_BIAS, 0.9).high > 0.02
    given = steps.pool.contrast(0.0, 1.0)
    by_variance = more_to_decide(given.estimate, 0.02, given.own, 0.0, given.estimate).examples
    assert 1.2 * by_variance < steps.more(Code.HIGH_BIAS, 0.02).examples < 3


@pytest.mark.parametrize("count", [1, 2, 4, 8, 15, 16])
@pytest.mark.parametrize("examples", [50, 400])
def test_more_networks_never_remove_a_verdict(count, examples):
    """At a gap of 40% one network is enough for a verdict, and so are more."""
    errors = members((0.0, 0.4, 0.4), (500, examples, examples), count=count)
    if count == 1:
        errors = {name: each[0] for name, each in errors.items()}
    assert error_ladder(errors, test_source="random").verdict.startswith("high variance: ")


def test_few_networks_have_wide_intervals():
    """The wider the fewer there are; with one sample of two the interval is all but empty."""
    widths = []
    for count in (2, 4, 8):
        size = error_ladder(members((0.0, 0.2, 0.2), (500, 300, 300), count=count)).findings[0].size
        widths.append(size.high - size.low)
    assert widths == sorted(widths, reverse=True)


def test_labeled_examples_from_the_place_of_use_decide_on_mismatch():
    errors = members((0.0, 0.003, 0.003), (2000, 800, 800))
    errors["use"] = members((0.0, 0.0, 0.3), (1, 1, 800), seed=1)["test"]
    assert error_ladder(errors).verdict.startswith("mismatch: ")


def test_one_member_is_one_network_and_wilson_speaks_for_it():
    wrong = np.arange(300) < 12
    found = error_ladder({"train": wrong, "test": wrong})
    assert found.errors["train"] == exact(12, 300)
    assert wilson(12, 300).low < found.errors["train"].estimate


@pytest.mark.parametrize(
    "parts",
    [
        {"train": np.zeros(5)},
        {"test": np.zeros(5)},
        {"train": np.zeros((3, 5)), "test": np.zeros((2, 5))},
    ],
)
def test_parts_that_do_not_fit_are_refused(parts):
    with pytest.raises(InputError, match="give"):
        error_ladder(parts)


def test_claims_are_rare_where_every_effect_is_at_the_tolerance():
    """At most 7% of studies claim anything (the benchmark has 1,000 studies, this has 200: 99.9%
    binomial limit).
    """
    rng = np.random.default_rng(5)
    claims = 0
    for _ in range(200):
        found = error_ladder(
            patients.at_tolerance(rng, 16, (1000, 300, 400)), tolerance=patients.TOLERANCE
        )
        claims += any(f.claimed for f in found.findings) or found.verdict.startswith("good")
    assert exact(claims, 200, 0.998).low < 0.07


# Two-way intervals


def test_interval_of_independent_cells_is_students():
    """Without anything that members or examples share, A, B and AB are one variance."""
    rng = np.random.default_rng(0)
    values = rng.normal(3, 1, (200, 300))
    found = interval(table(values, (-math.inf, math.inf)))
    half = (found.high - found.low) / 2
    assert half == pytest.approx(1.96 / math.sqrt(values.size), rel=0.25)


def test_variance_components_are_the_anova_estimates():
    """By hand: A + B - AB from the mean squares of a two-way table (Searle, Casella & McCulloch
    1992, section 4.4).
    """
    rng = np.random.default_rng(1)
    values = rng.normal(size=(6, 1)) + rng.normal(size=(1, 50)) + rng.normal(size=(6, 50))
    given = table(values)
    rows, columns, grand = values.mean(1, keepdims=True), values.mean(0), values.mean()
    interaction = ((values - rows - columns + grand) ** 2).sum() / (5 * 49 * 6 * 50)
    assert given.members_variance()[0] == pytest.approx(rows.var(ddof=1) / 6)
    assert given.parts[0].own == pytest.approx(columns.var(ddof=1) / 50)
    assert given.parts[0].both == pytest.approx(interaction)


def test_degrees_of_freedom_follow_the_kurtosis():
    """Of normal columns n - 1; of a rate p about 2 n p / (1 - p), from Var(s^2) of a binomial."""
    rng = np.random.default_rng(2)
    normal = table(np.tile(rng.normal(5, 1, 4000), (3, 1))).parts[0]
    assert normal.freedom == pytest.approx(4000, rel=0.1)
    rare = table(np.tile((np.arange(4000) < 40).astype(float), (3, 1)), RATE).parts[0]
    assert rare.freedom == pytest.approx(2 * 4000 * 0.01, rel=0.05)


def test_few_errors_have_an_exact_upper_limit():
    wrong = np.zeros((16, 400), bool)
    wrong[:, :2] = True
    found = error_of(wrong)
    assert (found.low, found.high) == pytest.approx((0, exact(2, 400).high), abs=1e-9)
    assert error_of(~wrong).high == 1
    assert error_of(~wrong).low == pytest.approx(1 - exact(2, 400).high)
    # A sum takes them over: the gap to a part without errors.
    parts = {"a": table(wrong, RATE), "b": table(np.zeros((16, 400), bool), RATE)}
    gap = interval(contrast(parts, {"a": 1.0, "b": -1.0}), examples=100)
    assert gap.high >= found.high - 1e-12
    assert gap.low <= -exact(0, 400).high + gap.estimate + 1e-3


def test_a_mean_that_few_examples_carry_is_refused():
    losses = np.full((16, 500), 1e-6)
    losses[:, 0] = 100.0
    assert "1 of 500 examples carry nearly all of it" in interval(table(losses, POSITIVE)).refused


@pytest.mark.parametrize("studies", [30, pytest.param(150, marks=pytest.mark.slow)])
@pytest.mark.parametrize("world", ["easy", "skewed members"])
def test_intervals_cover(world, studies):
    """A smaller version of experiments.benchmarks.coverage: studies of the smallest size."""
    truth = coverage.truths(coverage.WORLDS[world], 16, many=1000, votes=60)
    counts = coverage.study_crossed(world, 16, 200, studies, 0, truth) | coverage.study_smallest(
        world, studies, 0, truth
    )
    assert len(counts) > 12
    for (_, statistic, *_), (given, held, _, _) in counts.items():
        if not given:
            assert statistic.startswith("out of bag")  # too many examples were seen by nearly all
            continue
        low, high = coverage.promised(world, statistic)
        share = exact(int(held), int(given), 0.999)
        assert share.high >= low, statistic
        assert share.low <= high, statistic


def test_partitions_cover_a_new_pool():
    counts = coverage.study_pool(
        "ridge regression", 200, 300, 0, coverage.pool_truths("ridge regression")
    )
    for (_, statistic, *_), (given, held, _, _) in counts.items():
        assert exact(int(held), int(given), 0.999).high >= 0.93, statistic


# Comparisons


def test_a_paired_difference_is_that_of_the_means():
    rng = np.random.default_rng(3)
    a, b = rng.random((8, 500)) < 0.3, rng.random((8, 500)) < 0.2
    found = paired_difference(a, b)
    assert found.estimate == pytest.approx(a.mean() - b.mean())
    assert found.low > 0
    same = paired_difference(a, a)
    assert same.estimate == 0
    assert same.high == pytest.approx(exact(0, 500).high)
    with pytest.raises(InputError, match="same members"):
        paired_difference(a, b[:, :9])


def test_ensemble_gain_of_a_vote_by_hand():
    ids = np.array([[0, 1, 1], [0, 1, 0], [1, 1, 0]])
    found = ensemble_gain(ids, np.array([0, 0, 0]))
    assert found.member.estimate == pytest.approx(5 / 9)
    assert found.ensemble.estimate == pytest.approx(1 / 3)
    assert found.gain.estimate == pytest.approx(5 / 9 - 1 / 3)
    # the vote is for 1, the mean probability for 0
    p = np.log(np.array([[[0.9, 0.1]], [[0.4, 0.6]], [[0.4, 0.6]]]))
    assert ensemble_gain(p, np.array([0])).ensemble.estimate == 0
    brier = ensemble_gain(p, np.array([0]), loss="brier")
    assert brier.ensemble.estimate == pytest.approx(2 * (1 - np.exp(p[:, 0, 0]).mean()) ** 2)
    values = ensemble_gain(np.array([[1.0, 2.0], [3.0, 2.0]]), np.array([2.0, 2.0]), loss="squared")
    assert (values.member.estimate, values.ensemble.estimate, values.gain.estimate) == (0.5, 0, 0.5)


def test_ensemble_gain_is_what_variance_there_is():
    rng = np.random.default_rng(4)
    y = rng.normal(size=2000)
    found = ensemble_gain(y + rng.normal(size=(16, 2000)), y, loss="squared")
    assert found.gain.low < 1 - 1 / 16 < found.gain.high


def test_validation_curve_names_what_is_not_told_from_the_best():
    rng = np.random.default_rng(5)
    base = rng.random((16, 600)) < 0.2
    worse = base | (rng.random((16, 600)) < 0.2)
    other = rng.random((16, 600)) < 0.2
    found = validation_curve([base, base, base], [worse, base, other])
    assert {found.best, *found.tied} == {1, 2}
    assert found.validation[0].estimate == pytest.approx(worse.mean())


# Diagnosis


@pytest.fixture(scope="module")
def told(request):
    """A diagnosis of a small network on digits."""
    digits = jaxnet.load("digits")
    heard = []

    class Heard(logging.Handler):
        def emit(self, record):
            heard.append(record.getMessage())

    logger = logging.getLogger("jaxnet")
    handler, level = Heard(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    found = jaxnet.diagnose(
        jaxnet.mlp((16,)),
        digits,
        jaxnet.Recipe(epochs=8, batch_size=64, learning_rate=3e-3, schedule="constant"),
        jax.random.key(0),
    )
    logger.removeHandler(handler)
    logger.setLevel(level)
    return found, heard


def test_diagnose_measures_the_ladder_and_both_sizes(told):
    found, heard = told
    assert set(found.errors) == {"train", "validation", "test"}
    assert all(error.refused is None for error in found.errors.values())
    assert found.design == "cross-fitted"
    assert (found.folds.folds, found.folds.networks) == (8, 16)
    assert found.examples == {"train": 1438, "validation": 1438, "test": 359}
    assert [(parts.design, parts.training, parts.members) for parts in found.decompositions] == [
        ("partition", 719, 8), ("partition", 359, 16),
    ]  # fmt: skip
    halves, quarters = found.decompositions
    assert quarters.variance.estimate > halves.variance.estimate  # more data, less variance
    assert quarters.bias.refused is None
    assert found.ensemble.ensemble.estimate <= found.ensemble.member.estimate
    assert heard[0].startswith(
        "Training 51 networks, 184 steps each: 16 each leave out one of 8 folds of the 1,438 "
        "examples, 1 on all of them, and 34 on smaller parts, to estimate bias and variance and "
        "what more data would gain"
    )


def test_its_words_fit_a_screen_and_its_json_is_plain(told):
    found, _ = told
    lines = str(found).splitlines()
    assert len(lines) <= 46
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(found.verdict[:40])
    assert (
        "Try next: " in str(found)
        or "inconclusive" in found.verdict
        or "good enough" in found.verdict
    )
    again = json.loads(found.json())
    assert again["verdict"] == found.verdict
    assert again["errors"]["test"]["estimate"] == found.errors["test"].estimate
    assert all({"code", "size", "evidence", "remedies"} <= set(each) for each in again["findings"])
    assert {r["of"] for each in again["findings"] for r in each["remedies"]} <= {
        "Recipe",
        "Model",
        "Splits",
    }


def test_the_first_member_is_fit_alone(digits):
    """As is every other: member i of each kind does not change with how many there are."""
    from jaxnet.studies.design import MOST_KEYS

    recipe = jaxnet.Recipe(epochs=2, learning_rate=3e-3, schedule="constant", batch_size=128)
    population = jaxnet.diagnose(
        jaxnet.mlp((8,)), digits, recipe, jax.random.key(3), members=2
    ).networks
    more = jaxnet.diagnose(jaxnet.mlp((8,)), digits, recipe, jax.random.key(3), members=3).networks
    key = jax.random.fold_in(jax.random.key(3), MOST_KEYS + 1)
    alone = jaxnet.fit(jaxnet.mlp((8,)), digits, recipe, key)
    for one, two, three in zip(
        *(jax.tree.leaves(run.params) for run in (alone, population[1], more[1])), strict=True
    ):
        np.testing.assert_allclose(one, two, atol=2e-5)
        np.testing.assert_allclose(three, two, atol=2e-5)


@pytest.mark.parametrize("balance", [False, True])
def test_networks_of_folds_and_the_one_to_keep_are_fit_alone(digits, balance):
    """Each of them is `fit` on its examples of the pool, with a key of its own."""
    from jaxnet.data.resampling import folds
    from jaxnet.data.splitting import pool
    from jaxnet.studies.design import MOST_KEYS

    recipe = jaxnet.Recipe(epochs=2, learning_rate=3e-3, batch_size=64, schedule="constant")
    model, key = jaxnet.mlp((8,)), jax.random.key(3)
    population = jaxnet.diagnose(
        model, digits, recipe, key, members=8, target_error=0.0, balance=balance
    ).networks
    both = pool(digits)
    weights = {"weights": jaxnet.data.class_weights(both.train)} if balance else {}
    kept = jaxnet.fit(model, both, recipe, jax.random.fold_in(key, MOST_KEYS), **weights)
    given = folds(both.train, 4, seeds=2).alone(3) | weights
    third = jaxnet.fit(model, both, recipe, jax.random.fold_in(key, 3), **given)
    for member, alone in ((0, kept), (1 + 3, third)):
        pairs = zip(
            jax.tree.leaves(population[member].params), jax.tree.leaves(alone.params), strict=True
        )
        for one, two in pairs:
            np.testing.assert_allclose(one, two, atol=2e-5)


def test_noise_is_not_called_bias_where_no_other_method_does_better():
    """The diabetes data: no method is known to do much better than a linear model."""
    x, y = load_diabetes(return_X_y=True)
    splits = jaxnet.split(x.astype(np.float32), y.astype(np.float32), test=0.2, seed=0)
    recipe = jaxnet.Recipe(epochs=30, batch_size=32, learning_rate=1e-2, schedule="constant")
    found = jaxnet.diagnose(jaxnet.linear(), splits, recipe, jax.random.key(0), tolerance=0.1)
    assert "bias" not in found.verdict.split(":")[0]
    assert len(found.other_methods) == 3
    bias = next(each for each in found.findings if each.code == "high_bias")
    assert "no avoidable bias is shown" in bias.evidence
    assert found.errors["train"].low > 0.3


def test_a_regression_is_told_in_variances_of_y():
    x, y = load_diabetes(return_X_y=True)
    splits = jaxnet.split(
        x.astype(np.float32), y.astype(np.float32), validation=0.3, test=0.3, seed=0
    )
    recipe = jaxnet.Recipe(epochs=30, batch_size=32, learning_rate=1e-2, schedule="constant")
    found = jaxnet.diagnose(
        jaxnet.linear(), splits, recipe, jax.random.key(0), tolerance=0.1, target_error=0.0
    )
    # What least squares leaves of the variance on the examples that it has seen, by fold.
    x, y = np.asarray(splits.train.x), np.asarray(splits.train.y)
    fold = jaxnet.resampling.fold_of(splits.train, 8)
    left = np.mean(
        [
            np.mean((LinearRegression().fit(x[rows], y[rows]).predict(x[rows]) - y[rows]) ** 2)
            for rows in (fold != k for k in range(8))
        ]
    ) / np.var(y)
    assert found.regression
    assert found.errors["train"].estimate == pytest.approx(left, rel=0.05)
    assert found.verdict.startswith("high bias")


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_one_set_of_unseen_examples_is_enough(missing):
    splits = jaxnet.load("digits", validation=0.3)
    part = getattr(splits, missing)
    splits = replace(splits, **{missing: replace(part, x=part.x[:0], y=part.y[:0])})
    found = jaxnet.diagnose(
        jaxnet.mlp((8,)), splits, jaxnet.Recipe(epochs=2), jax.random.key(0), members=2
    )
    assert set(found.errors) == {"train", "validation", "test"} - {missing}
    assert {f.code for f in found.findings} & {"high_bias", "high_variance", "mismatch"} == {
        "high_bias",
        "high_variance",
    }
    assert found.decompositions[0].training == len(splits.train)


def test_mismatch_is_measured_where_the_network_is_used():
    splits = jaxnet.load("digits", validation=0.2)
    used = replace(splits.test, x=np.roll(np.asarray(splits.test.x), 3, axis=2))
    recipe = jaxnet.Recipe(epochs=8, batch_size=64, learning_rate=3e-3, schedule="constant")
    found = jaxnet.diagnose(
        jaxnet.mlp((16,)), replace(splits, target_sample=used), recipe, jax.random.key(0)
    )
    assert found.verdict.startswith("mismatch: ")
    assert found.errors["use"].low > found.errors["test"].high


def test_diverged_members_are_counted_and_left_out(digits):
    found = jaxnet.diagnose(
        jaxnet.mlp((8,)),
        digits,
        jaxnet.Recipe(
            optimizer="sgd", epochs=2, learning_rate=1e12, schedule="constant", batch_size=128
        ),
        jax.random.key(0),
        members=2,
    )
    assert found.members <= 1  # one whose units all died goes nowhere
    assert found.diverged > 12
    assert found.verdict.startswith("diverged: ")
    assert next(f for f in found.findings if f.code == "diverged").claimed
    assert "diverged" in str(found)


def test_networks_that_predict_nothing_but_nan_diverged_too():
    """One step that makes parameters too large to predict with, but leaves them and the loss before
    it finite.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    splits = jaxnet.split(x, (x[:, 0] > 0).astype(int), validation=0.2, test=0.2)
    recipe = jaxnet.Recipe(
        optimizer="sgd", epochs=1, batch_size=128, learning_rate=1e30, schedule="constant"
    )
    model = jaxnet.mlp((8, 8))
    assert not jaxnet.fit(model, splits, recipe, jax.random.key(0)).diverged
    found = jaxnet.diagnose(model, splits, recipe, jax.random.key(0), members=2)
    assert found.verdict.startswith("diverged: in 100% of the networks")
    assert found.members == 0
    assert found.diverged > 20  # of 26; one whose units all died goes nowhere


def test_a_leaking_test_set_is_found(digits):
    x, y = np.asarray(digits.train.x), np.asarray(digits.train.y)
    leaking = jaxnet.data.Dataset(
        np.concatenate([np.asarray(digits.test.x), x[:30]]),
        np.concatenate([np.asarray(digits.test.y), y[:30]]),
        digits.classes,
    )
    splits = jaxnet.Splits(digits.train, digits.validation, leaking, digits.standardization)
    found = jaxnet.diagnose(
        jaxnet.mlp((8,)), splits, jaxnet.Recipe(epochs=1), jax.random.key(0), members=2
    )
    leak = next(f for f in found.findings if f.code == "leaking_test_set")
    assert leak.claimed
    assert leak.size.estimate == pytest.approx(30 / len(leaking))


def test_seconds_are_kept_and_their_price_is_said(digits):
    recipe = jaxnet.Recipe(epochs=30, batch_size=16, learning_rate=1e-3, schedule="constant")
    one = jaxnet.Plan(devices=1, chunk=4)
    found = jaxnet.diagnose(
        jaxnet.mlp((64,)), digits, recipe, jax.random.key(0), seconds=0.5, plan=one
    )
    assert found.members == 1
    assert found.design == "one split"
    words = "to keep within 0.5 s, 1 of 51 networks was trained, and none of 16 on folds"
    note = next(each for each in found.notes if each.startswith("to keep within"))
    assert note.startswith(words)
    assert words[:40] in str(found)
    assert not found.verdict.startswith("mismatch")


def test_how_many_networks_there_is_time_for_is_kept(digits, tmp_path):
    design = design_of(digits, jaxnet.Recipe(epochs=1), 16)
    needs, folders = design.needs(16), list[str]()

    def train(design, *, needs, progress, out):
        for share in (0, 1) if progress else ():
            progress(Progress(share * needs.total, needs.total, share, 1, float(share)))
        folders.append("" if out is None else out.name)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        return Population((), ())  # nothing is asked of the networks here

    def trained(seconds, out):
        return train_within(train, design, needs, jaxnet.Plan(), seconds, None, out)[1].total

    assert trained(60.0, tmp_path / "much") == needs.total
    assert trained(1e-9, tmp_path / "little") == 1
    file = tmp_path / "little/timetable.json"
    kept = json.loads(file.read_text())
    assert kept["networks"] <= 0
    # a call that goes on follows what is there
    file.write_text(json.dumps({**kept, "networks": 16}))
    assert trained(1e-9, tmp_path / "little") == 1 + 16
    with pytest.raises(InputError, match=r"seconds was 1e-09 and is now 60\.0"):
        trained(60.0, tmp_path / "little")
    # networks that are read from a folder do not show how long training takes
    file.unlink()
    folders.clear()
    assert trained(60.0, tmp_path / "little") == needs.total
    assert folders == ["", "rest"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"members": 0}, "at least 1 network"), ({"seconds": -1.0}, "positive time")],
)
def test_bad_requests_are_refused(digits, options, message):
    with pytest.raises(InputError, match=message):
        jaxnet.diagnose(
            jaxnet.linear(), digits, jaxnet.Recipe(epochs=1), jax.random.key(0), **options
        )


PATIENTS = [
    "a linear model on two circles",
    "test images shifted by 2 pixels",
    "40 digits in all",
    "a hundredth of the learning rate",
]


@pytest.mark.parametrize("name", PATIENTS)
def test_known_patients(name):
    """The quick ones of experiments.benchmarks.patients, one seed each."""
    patient = patients.PATIENTS[name]
    found = jaxnet.diagnose(
        patient.model,
        patient.splits(0),
        patient.recipe,
        jax.random.key(0),
        tolerance=patient.tolerance,
    )
    assert patients.judged(found.verdict, patient.right) == "right", found.verdict


def test_wrong_labels_are_found_beside_the_verdict():
    name = "the same, a fifth of the training labels wrong"
    for which, noisy in ((name, True), ("512 hidden units, 200 digits", False)):
        patient = patients.PATIENTS[which]
        found = jaxnet.diagnose(patient.model, patient.splits(0), patient.recipe, jax.random.key(0))
        noise = next(f for f in found.findings if f.code == "label_noise")
        assert noise.claimed == noisy
        assert found.verdict.startswith(("high variance", "mostly variance", "inconclusive"))


# From predictions


def test_from_predictions_of_names_is_that_of_numbers():
    rng = np.random.default_rng(6)
    y = rng.integers(0, 3, 400)
    f = np.where(rng.random((16, 400)) < 0.3, rng.integers(0, 3, (16, 400)), y)
    names = np.array(["cat", "dog", "emu"])
    numbers = Diagnosis.from_predictions((f, y), (f[:, ::-1], y[::-1]), (f, y))
    words = Diagnosis.from_predictions(
        (names[f], names[y]), (names[f][:, ::-1], names[y][::-1]), (names[f], names[y])
    )
    assert numbers == words


def test_from_predictions_takes_partitions_and_probabilities():
    rng = np.random.default_rng(7)
    y = rng.integers(0, 3, 300)
    logits = rng.normal(size=(16, 300, 3)) + 2 * np.eye(3)[y]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    found = Diagnosis.from_predictions(
        (log_p, y), None, (log_p, y), partitions={4: log_p, 2: log_p[:8]}
    )
    assert [parts.training for parts in found.decompositions] == [300, 150, 75]
    assert found.errors["test"].estimate == pytest.approx((log_p.argmax(-1) != y).mean())
    assert "bias^2" in str(found)


def test_from_predictions_of_one_network_and_of_a_regression():
    rng = np.random.default_rng(8)
    y = rng.normal(size=500)
    f = y + 0.5 * rng.normal(size=500)
    one = Diagnosis.from_predictions((f, y), None, (f, y))
    assert one.members == 1
    assert one.errors["test"] == mean((f - y) ** 2 / y.var())
    many = Diagnosis.from_predictions(
        (np.stack([f] * 16), y), None, (np.stack([f] * 16), y), tolerance=0.5
    )
    assert many.verdict.startswith("good enough")


def test_predictions_of_any_library_get_scores_besides_the_error():
    """Of log-probabilities all of them, of classes those that take no probabilities."""
    rng = np.random.default_rng(10)
    y = rng.integers(0, 3, 300)
    logits = rng.normal(size=(8, 300, 3)) + 2 * np.eye(3)[y]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    rare = np.concatenate([y, np.full(400, 2)])  # of training, where class 2 is the most frequent
    train = (np.tile(rare, (8, 1)), rare)
    found = Diagnosis.from_predictions(
        (np.tile(np.log(np.eye(3)[rare] + 1e-9), (8, 1, 1)), rare), test=(log_p, y)
    )
    assert found.scores == class_scores(log_p, y, guess=2)
    classes = Diagnosis.from_predictions(train, test=(log_p.argmax(-1), y))
    assert classes.scores.balanced_accuracy == found.scores.balanced_accuracy
    assert classes.scores.recall == found.scores.recall
    assert classes.scores.guesses == found.scores.guesses
    assert "probabilities" in classes.scores.auc.refused
    assert "AUC" in str(found)
    assert "AUC" not in str(classes)
    assert "balanced accuracy" in str(classes)


def test_cross_fitted_predictions_of_any_library_get_scores_besides_the_error():
    rng = np.random.default_rng(11)
    fold = np.arange(240) % 8
    seen = np.stack([fold != k for k in range(8) for _ in range(2)])
    y = rng.normal(size=240)
    f = y + 0.5 * rng.normal(size=(16, 240))
    found = Diagnosis.from_cross_validation(f, y, seen)
    assert found.scores == value_scores(f, y, seen=seen)
    labels = (rng.random(240) < 0.3).astype(int)
    always = np.zeros((16, 240), int)
    found = Diagnosis.from_cross_validation(always, labels, seen)
    assert found.scores.recall[0].estimate == 1
    assert found.scores.balanced_accuracy.estimate == 0.5
    assert found.scores.guesses[0].gain.estimate == 0
    assert "no better than always guessing" in found.verdict


BAD = [
    (((np.zeros(5, int), np.zeros(5, int)),), "only predictions on the training set"),
    (
        (
            (np.zeros((2, 5), int), np.zeros(4, int)),
            None,
            (np.zeros((2, 5), int), np.zeros(5, int)),
        ),
        "train: predictions have shape",
    ),
    (
        ((np.zeros(5, int), np.zeros(5)), None, (np.zeros(5, int), np.zeros(5, int))),
        "one kind of them everywhere",
    ),
    (
        ((np.zeros((5, 2)), np.full(5, 7)), None, (np.zeros((5, 2)), np.zeros(5, int))),
        "labels range from 7 to 7.*example 0; give class numbers from 0 below 2",
    ),
    (
        ((np.zeros(5), np.zeros(5)), None, (np.zeros(5), np.zeros(5))),
        "all training labels are equal",
    ),
]


@pytest.mark.parametrize(("parts", "message"), BAD)
def test_predictions_that_do_not_fit_are_refused(parts, message):
    with pytest.raises(InputError, match=message):
        Diagnosis.from_predictions(*parts)


# Groups


def test_rows_of_a_group_count_once_in_every_step():
    """Each example ten times: intervals as of the examples alone; without groups far shorter."""
    errors = members((0.02, 0.1, 0.1), (400, 300, 300), spread=0.5)
    train, test = errors["train"], errors["test"]
    once = error_ladder({"train": train, "test": test}, test_source="random")
    ten = {"train": np.repeat(train, 10, 1), "test": np.repeat(test, 10, 1)}
    groups = {
        name: np.repeat(np.arange(each.shape[1]), 10)
        for name, each in (("train", train), ("test", test))
    }
    grouped = error_ladder(ten, test_source="random", groups=groups)
    alone = error_ladder(ten, test_source="random")

    def width(found):
        return found.findings[0].size.high - found.findings[0].size.low

    assert width(grouped) == pytest.approx(width(once), rel=0.1)
    assert width(alone) < 0.6 * width(once)
    one = error_ladder(
        {name: each[0] for name, each in ten.items()}, test_source="random", groups=groups
    )
    assert width(one) == pytest.approx(
        width(error_ladder({"train": train[0], "test": test[0]}, test_source="random")), rel=0.2
    )


def test_predictions_of_grouped_examples():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 300)
    f = np.where(rng.random((16, 300)) < 0.2, 1 - y, y)
    patients = {"train": np.arange(300) // 5, "test": np.arange(300) // 60}
    found = Diagnosis.from_predictions((f, y), test=(f, y), groups=patients)
    assert "5 examples are too few for an interval" in found.errors["test"].refused
    assert found.errors["train"].refused is None


def test_a_validation_set_that_chose_shows_no_gap():
    """With a random test set, the gap is then that of the test set alone."""
    errors = members((0.0, 0.0, 0.2), (500, 400, 400))
    both = error_ladder(errors, test_source="random").findings[0].size.estimate
    alone = error_ladder(errors, test_source="random", chosen=True).findings[0].size.estimate
    assert alone == pytest.approx(errors["test"].mean())
    assert both == pytest.approx(errors["test"].mean() / 2)


@pytest.mark.parametrize("count", [1, 16])
def test_a_validation_set_that_chose_is_not_judged(count):
    """Its error is far too low here, so that it alone would say good enough."""
    errors = {
        name: each[:count] if count > 1 else each[0]
        for name, each in members((0.0, 0.0, 0.2), (500, 400, 400)).items()
    }
    plain = error_ladder(errors, test_source="own")
    assert plain.findings[0].code == Code.MISMATCH
    chosen = error_ladder(errors, test_source="own", chosen=True)
    assert {each.code for each in chosen.findings} == {Code.HIGH_BIAS, Code.HIGH_VARIANCE}
    assert chosen.findings[0].size.estimate == pytest.approx(errors["test"].mean())
    assert chosen.verdict.startswith("high variance")
    assert "the test set measures the generalization gap, which includes mismatch" in chosen.verdict
    assert list(chosen.errors) == ["train", "validation", "test"]
    assert chosen.examples == {"train": 500, "validation": 400, "test": 400}
    assert "the error there is too low" in chosen.errors["validation"].refused
    random = error_ladder(errors, test_source="random", chosen=True)
    assert random.findings == chosen.findings
    assert "mismatch" not in random.verdict
    use = error_ladder(
        {"train": errors["train"], "validation": errors["validation"], "use": errors["test"]},
        chosen=True,
    )
    assert use.findings == chosen.findings
    assert "the deployment data measures the generalization gap" in use.verdict


def test_a_validation_set_that_stops_the_training_judges_nothing():
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    splits = jaxnet.split(x, (x[:, 0] > 0).astype(int), validation=0.15)
    splits = replace(splits, test=take(splits.test, slice(0, 0)))
    recipe = jaxnet.Recipe(epochs=2, patience=1)
    with pytest.raises(InputError, match="stops the training, so the error on it is too low"):
        jaxnet.diagnose(jaxnet.linear(), splits, recipe, jax.random.key(0), members=1)
    plain, stopped = (
        design_of(splits, each, 16) for each in (replace(recipe, patience=None), recipe)
    )
    assert plain.held_out is splits.validation
    assert stopped.held_out is None
    assert stopped.needs(16).quarters == 0 < plain.needs(16).quarters
    assert "no examples are left on which to decompose the error" in stopped.notes[-1]


@pytest.mark.parametrize("count", [1, 16])
def test_without_other_held_out_examples_than_those_that_chose_no_step_is_judged(count):
    errors = {
        name: each[:count] if count > 1 else each[0]
        for name, each in members((0.0, 0.0, 0.0), (500, 400, 400)).items()
        if name != "test"
    }
    assert error_ladder(errors).verdict.startswith("good enough")
    found = error_ladder(errors, chosen=True)
    assert found.verdict.startswith("inconclusive: the validation set was used to choose")
    assert found.verdict.endswith("Hold some examples out as a test set")
    assert found.findings == ()
    assert found.errors["train"] == error_ladder(errors).errors["train"]
    assert found.errors["validation"].refused is not None

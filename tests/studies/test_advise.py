"""Advice: candidates as data, gains against networks trained alone, what is handed over, and what a
race has time for.
"""

import json
import shutil
import time
from dataclasses import replace

import jax
import numpy as np
import pytest
from sklearn import metrics

import jaxnet
from jaxnet import InputError, Recipe
from jaxnet.cli import commands
from jaxnet.data.resampling import all_but, fold_of
from jaxnet.data.splitting import pool
from jaxnet.diagnostics import Estimate
from jaxnet.stats.gains import FOLDS
from jaxnet.studies.advice import MoreData
from jaxnet.studies.advice_round import to_adopt
from jaxnet.studies.advise import advise, on_time
from jaxnet.studies.candidates import Candidate, candidates
from jaxnet.studies.measures import unit_of
from jaxnet.studies.rules import balanced_weights
from jaxnet.studies.timetable import Timetable, Watch, spent, timetable
from jaxnet.studies.trained import SAFETY, Pace

RECIPE = Recipe(epochs=3, learning_rate=1e-6)
WORDS = (
    *("digits", "--model", "linear", "--epochs", "3", "--learning-rate", "1e-6"),
    *("--seeds", "1", "--no-cache"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of the command, for a learning rate that is far too low."""
    path = tmp_path_factory.mktemp("advise") / "out"
    assert commands.run("advise", [*WORDS, "--out", str(path)], began=0.0) == 0
    return path


@pytest.fixture(scope="module")
def found(digits, folder):
    """The same advice, from the networks in that folder."""
    return again(digits, folder / "members")


def again(digits, out, **kwargs):
    key = jax.random.key(0)
    recipe = replace(RECIPE, schedule="one_cycle")
    return advise(jaxnet.linear(), digits, recipe, key, seeds=1, out=out, **kwargs)


def test_a_gain_is_that_of_networks_trained_alone(digits, found):
    """The wider network of a race ran folds 0 and 1 at least."""
    pooled, (place,) = pool(digits), [i for i, t in enumerate(found.tried) if t.kind == "wider"]
    tried, folds = found.tried[place], fold_of(pooled.train, FOLDS)
    assert tried.folds == 2
    samples, gains = all_but(folds, [0, 1]), []
    x, y = np.asarray(pooled.train.x), np.asarray(pooled.train.y)
    for fold in (0, 1):
        wrong = []
        for model in (jaxnet.linear(), tried.model):
            key = jax.random.fold_in(jax.random.key(0), fold)
            run = jaxnet.fit(model, pooled, found.tried[place].recipe, key, **samples.alone(fold))
            own = folds == fold
            wrong.append(np.asarray(jaxnet.predict(model, run, x[own])).argmax(1) != y[own])
        gains.append(wrong[0].astype(float) - wrong[1])
    assert tried.gain.estimate == pytest.approx(np.concatenate(gains).mean(), abs=2 / len(x))


def test_a_rate_that_is_far_too_low_is_replaced(digits, found):
    assert found.adopted
    best = found.tried[found.best]
    assert best.verdict == "adopted"
    assert best.kind == "rate"
    assert found.recipe == best.recipe
    assert found.recipe.learning_rate == pytest.approx(0.01)
    assert (found.model, found.splits) == (jaxnet.linear(), digits)
    assert 0.2 < found.gain.low < found.gain.estimate < found.gain.high
    assert (
        "one change helps: learning rate 0.01 (10,000 x) lowers the error on unseen "
        f"examples by {100 * found.gain.estimate:.2f} points"
    ) in found.verdict
    # both of the same recipe, on other examples
    before = jaxnet.evaluate(
        jaxnet.linear(), jaxnet.fit(jaxnet.linear(), digits, RECIPE, jax.random.key(1)), digits.test
    )
    after = jaxnet.evaluate(found.model, found.run, digits.test)
    saved = float(before.error) - float(after.error)
    assert found.gain.low - 0.1 < saved < found.gain.high + 0.1


def test_a_race_trains_fewer_networks_than_all_changes_on_all_folds(found):
    cost = {each.kind: each.cost for each in found.tried}
    assert cost["rate"] == 1
    assert [each.cost for each in found.tried if each.kind == "longer"] == [2, 4, 10]
    assert found.trainings < (1 + len(found.tried)) * FOLDS
    dropped = [each for each in found.tried if each.folds < FOLDS]
    assert len(dropped) >= len(found.tried) / 2
    assert all(each.verdict == f"dropped after {each.folds} of 8 folds" for each in dropped)


def test_the_folder_says_what_was_tried(folder, found):
    result = json.loads((folder / "result.json").read_text())
    assert result["verdict"] == found.verdict
    assert result["advice"] == found.summary() == json.loads(found.json())
    assert result["recipe"]["learning_rate"] == 0.01
    page = (folder / "report.html").read_text()
    for each in found.tried:
        assert each.name in page
        assert each.name.split()[0] in str(found)  # names are wrapped
    assert f"{100 * found.gain.estimate:.2f} <small>" in page
    assert max(map(len, str(found).splitlines())) <= 80
    assert (folder / "figures/gains.svg").exists()


def test_a_race_goes_on_where_it_was_stopped(digits, folder, found, tmp_path):
    out = tmp_path / "members"
    shutil.copytree(folder / "members", out)
    shutil.rmtree(out / "folds-4")
    heard = []
    assert again(digits, out, progress=heard.append).summary() == found.summary()
    assert heard[0].finished == heard[0].members == 2
    # 8 networks of an ensemble, and one of each other change
    assert heard[1].finished == heard[1].members == 2 * (8 + len(found.tried) - 1)
    assert sorted(each.share for each in heard) == [each.share for each in heard]
    with pytest.raises(InputError, match="learning_rate"):
        advise(jaxnet.linear(), digits, found.recipe, jax.random.key(0), seeds=1, out=out)


def test_what_there_was_time_for_is_followed(digits, folder, found, tmp_path):
    out = tmp_path / "members"
    shutil.copytree(folder / "members", out)
    kept = {"candidates": list(range(len(found.tried))), "seeds": 1, "takes": 40.0}
    asked = {"seconds": 60.0, "seeds": 1}
    (out / "timetable.json").write_text(json.dumps({"asked": asked, **kept}))
    kept, whole = again(digits, out, seconds=60.0).summary(), found.summary()
    assert "to keep within 60 s, what more data would gain was not measured" in kept["notes"]
    for summary in (kept, whole):
        del summary["notes"], summary["more_data"]
    assert kept == whole
    with pytest.raises(InputError, match=r"seconds was 60\.0 and is now 50\.0"):
        again(digits, out, seconds=50.0)


def test_class_weights_are_those_of_the_training_part():
    y = np.array([0, 0, 0, 1, 2, 0, 1, 1])
    seen = np.array([True] * 5 + [False, False, True])
    # 6 examples of 3 classes: 3, 2 and 1 of them
    wanted = np.array([6 / 9] * 3 + [1, 2, 0, 0, 1])
    assert balanced_weights(y, seen) == pytest.approx(wanted)
    without = seen & (y != 2)  # a class that is not in the part
    assert balanced_weights(y, without)[without].mean() == pytest.approx(1.0)


def test_a_small_gain_is_adopted_only_if_it_costs_no_time():
    gains = [Estimate(0.01, 0.002, 0.02), Estimate(0.009, 0.001, 0.02), Estimate(0.03, -0.01, 0.07)]
    finalists = np.array([True, True, False])
    for costs, tolerance, wanted in (
        ((1.0, 1.0, 1.0), 0.02, 0),
        ((2.0, 2.0, 1.0), 0.01, 0),
        ((2.0, 1.0, 1.0), 0.02, 1),  # as sure, and free
        ((2.0, 2.0, 1.0), 0.02, None),
    ):
        assert to_adopt(gains, costs, 0, finalists, tolerance) == wanted
    unsure = [Estimate(0.03, -0.001, 0.05), *gains[2:], gains[2]]
    assert to_adopt(unsure, (1.0, 1.0, 1.0), 0, finalists, 0.02) is None


def test_what_is_said_where_nothing_helps_and_where_a_gain_is_small(found):
    (one,) = found.rounds
    size = Estimate(0.002, -0.006, 0.011)
    nothing = replace(
        found,
        gain=size,
        rounds=(replace(one, gain=size, adopted=False, detectable=0.018, findings=()),),
        more_data=None,
    ).verdict
    assert nothing.startswith(f"none of them helps: the best of {len(found.tried)} changes")
    assert nothing.endswith(
        "gains at most 1.1 points; a gain of 1.8 points would have been found in 80% of cases"
    )
    more = replace(
        found,
        gain=size,
        rounds=(replace(one, gain=size, adopted=False, detectable=0.018, findings=()),),
        more_data=MoreData(800, Estimate(0.031, 0.011, 0.052), None),
    )
    assert more.verdict.startswith(
        "more data help most: 800 training examples in place of 400 gain 3.1 points (95% interval "
        "1.1 to 5.2). None of them helps: the best of"
    )
    assert str(more).count("in place of 400") == 1
    unsure = replace(more, more_data=MoreData(800, Estimate(0.031, -0.011, 0.052), None))
    assert unsure.verdict == nothing
    assert "more data: 800 training examples in place of 400" in str(unsure)
    predicted = replace(
        more, more_data=MoreData(800, Estimate(0.031, 0.011, 0.052), Estimate(-0.01, -0.02, -0.001))
    )
    assert predicted.verdict == nothing
    tried = list(found.tried)
    tried[found.best] = replace(tried[found.best], cost=4.0)
    round_ = replace(one, tried=tuple(tried), adopted=False)
    small = replace(found, gain=Estimate(0.009, 0.003, 0.014), rounds=(round_,)).verdict
    assert "by 0.90 points (95% interval 0.30 to 1.40). That is below the tolerance of 2" in small
    assert small.endswith("takes 4.0 times as long, so it is not adopted")


def test_a_change_that_helps_and_trains_in_half_the_time_is_named(found):
    (one,) = found.rounds
    sizes = [
        Estimate(0.041, 0.019, 0.065),
        Estimate(0.042, 0.021, 0.064),
        Estimate(0.02, 0.01, 0.03),
    ]
    tried = [
        replace(found.tried[0], name=name, gain=gain, cost=cost, verdict=verdict)
        for name, gain, cost, verdict in (
            ("wider", sizes[0], 14.0, "adopted"),
            ("longer", sizes[1], 10.0, "helps"),  # not half of the time
            ("a higher rate", sizes[2], 1.0, "helps"),
            ("decay", sizes[1], 1.0, "not shown to help"),
        )
    ]
    round_ = replace(one, tried=tuple(tried), best=0, adopted=True)
    assert round_.shorter == tried[2]
    assert on_time(round_, unit_of("error", of_values=False)) == (
        "a higher rate helps too, by 2.00 points (95% interval 1.00 to 3.00), and trains 1.0 "
        "times as long as the current recipe, not 14.0 times"
    )
    assert replace(round_, tried=tuple(tried[:2])).shorter is None
    assert replace(round_, adopted=False).shorter is None


def test_values_in_groups_are_advised(monkeypatch):
    monkeypatch.setattr("jaxnet.studies.advice_round.candidates", only_rates)
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5)
    x = rng.normal(size=(300, 3)).astype("f4")
    y = (x[:, 0] + 0.1 * rng.normal(size=300)).astype("f4")
    splits = jaxnet.split(x, y, groups=groups, seed=0)
    recipe = Recipe(epochs=12, learning_rate=1e-5)
    found = advise(jaxnet.linear(), splits, recipe, jax.random.key(0), seeds=2, tolerance=0.05)
    assert found.adopted
    assert found.error.estimate > 0.8
    assert found.gain.low > 0.2
    assert "of the variance of y" in found.verdict
    assert any("groups, the gain is overestimated" in note for note in found.notes)


def only_rates(*given, **more):
    return tuple(each for each in candidates(*given, **more) if each.kind == "rate")


def test_gains_by_another_measure_are_of_the_networks_that_the_error_is_of(monkeypatch, digits):
    """Networks of a rate that is far too low know no more than their first parameters do."""
    monkeypatch.setattr("jaxnet.studies.advice_round.candidates", only_rates)
    recipe = replace(RECIPE, schedule="one_cycle", learning_rate=1e-5)
    given = {"seeds": 1, "measure": "log_loss"}
    found = advise(jaxnet.linear(), digits, recipe, jax.random.key(0), **given)
    assert found.error.estimate > 2
    assert found.adopted
    assert 0 < found.gain.low < found.gain.high < found.error.estimate
    assert "lowers the log loss on unseen examples by" in found.verdict
    assert "nats (95% interval" in found.verdict
    assert "gain, nats" in str(found)
    summary = found.summary()
    assert (summary["measure"], summary["unit"]["words"]) == ("log_loss", "nats")
    metrics = jaxnet.evaluate(jaxnet.linear(), found.run, digits.test)
    assert found.test.estimate == pytest.approx(float(metrics.loss.estimate), rel=1e-3)
    with pytest.raises(InputError, match="rmse, which needs values"):
        advise(jaxnet.linear(), digits, recipe, jax.random.key(0), measure="rmse")


def test_a_labeled_sample_of_where_networks_are_used_judges_in_place_of_the_pool(
    monkeypatch, digits
):
    """Labels there are shifted by one, so that what learns the pool does worse there."""
    monkeypatch.setattr("jaxnet.studies.advice_round.candidates", only_rates)
    recipe = replace(RECIPE, schedule="one_cycle", learning_rate=1e-3)
    other = replace(digits.test, y=(np.asarray(digits.test.y) + 1) % 10)
    splits = replace(digits, target_sample=other)
    found = advise(jaxnet.linear(), splits, recipe, jax.random.key(0), seeds=1)
    up = next(each for each in found.tried if each.name.startswith("learning rate 0.01 "))
    assert up.gain.estimate < 0
    assert found.error.estimate > 0.8
    assert any("179 of them chose, and 180 others report" in note for note in found.notes)
    unlabeled = replace(digits, target_sample=replace(digits.test, y=np.full(359, -1, np.int32)))
    better = advise(jaxnet.linear(), unlabeled, recipe, jax.random.key(0), seeds=1)
    assert better.adopted
    assert better.error.estimate < 0.8
    (told,) = [note for note in better.notes if "has no labels" in note]
    assert "were not tried: add training examples from where the model will be used" in told


@pytest.fixture
def one_rate(monkeypatch):
    """Advice that tries ten times the learning rate alone."""

    def faster(model, recipe, *_, **__):
        return [
            Candidate(
                "10 x", "rate", model, replace(recipe, learning_rate=10 * recipe.learning_rate)
            )
        ]

    monkeypatch.setattr("jaxnet.studies.advice_round.candidates", faster)


@pytest.fixture(scope="module")
def halves():
    """Two classes that a line parts, except for noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2)).astype("f4")
    return jaxnet.split(x, (x[:, 0] + 0.3 * rng.normal(size=400) > 0).astype(int), seed=0)


@pytest.mark.parametrize("task", ["regression", "multi-label"])
def test_several_values_and_labels_are_advised(one_rate, task):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 3)).astype("f4")
    noisy = x @ rng.normal(size=(3, 2)) + 0.3 * rng.normal(size=(240, 2))
    y = noisy * [1, 100] if task == "regression" else (noisy > [0, 1]).astype(int)
    splits = jaxnet.split(x, y, task=task, seed=0)
    recipe = Recipe(epochs=4, learning_rate=3e-3)
    found = advise(jaxnet.linear(), splits, recipe, jax.random.key(0), seeds=1)
    assert found.adopted
    pooled = pool(splits).train
    folds, y = fold_of(pooled, FOLDS), np.asarray(pooled.y)
    outputs = np.asarray(jaxnet.predict(found.model, found.fold_networks, pooled.x))
    unseen = outputs[folds, np.arange(len(y))]
    if task == "regression":
        left = metrics.mean_squared_error(y / y.std(0), unseen / y.std(0))
        unit = np.asarray(splits.train.y, float).std(0)
        test = np.asarray(jaxnet.predict(found.model, found.networks[0], splits.test.x)) / unit
        wanted = metrics.mean_squared_error(np.asarray(splits.test.y) / unit, test)
        assert float(found.test) == pytest.approx(wanted, rel=1e-4)
        assert "of the variance of y" in found.verdict
    else:
        left = metrics.hamming_loss(y, unseen > np.log(0.5))
        test = np.asarray(jaxnet.predict(found.model, found.networks[0], splits.test.x))
        wanted = metrics.hamming_loss(splits.test.y, test > np.log(0.5))
        assert float(found.test) == pytest.approx(wanted)
    assert found.error.estimate - found.gain.estimate == pytest.approx(left, abs=0.005)


def test_rounds_go_on_from_what_was_adopted(one_rate, halves, tmp_path):
    recipe = Recipe(epochs=4, learning_rate=1e-3, batch_size=16)
    key = jax.random.key(1)
    out = tmp_path / "out"

    def asked():
        return advise(jaxnet.linear(), halves, recipe, key, rounds=2, seeds=1, out=out)

    found = asked()
    first, last = found.rounds
    assert first.adopted
    assert first.level == last.level == 0.975
    assert found.recipe.learning_rate == pytest.approx(1e-1 if last.adopted else 1e-2)
    # new folds and keys: the adopted recipe's error is measured again
    assert found.adopted
    assert found.level == 0.95
    assert found.gain.low > 0.02
    assert f"The error on unseen examples falls by {100 * found.gain.estimate:.2f}" in found.verdict
    assert "round 2" in str(found)
    assert found.summary()["rounds"][0]["adopted"] == "10 x"
    assert [each["round"] for each in found.summary()["tried"]] == [1, 2]
    # the vote of the fold networks is the mean of their probabilities
    x = np.asarray(halves.test.x)
    members = jaxnet.predict(found.model, found.fold_networks, x)
    assert len(members) == FOLDS
    assert np.exp(jaxnet.predict(*found.vote, x)) == pytest.approx(
        np.exp(members).mean(0), abs=1e-5
    )
    kept = jaxnet.evaluate(found.model, found.run, halves.test).error
    assert found.test.estimate == pytest.approx(kept.estimate)
    shutil.rmtree(out / "round-2")
    assert asked().summary() == found.summary()


def test_what_is_kept_where_nothing_is_adopted(one_rate, halves):
    """The fold networks of the current recipe have its error, and half of their data is worth what
    networks on half of the data lack.
    """
    recipe = Recipe(epochs=2, learning_rate=0.3, batch_size=32)
    found = advise(jaxnet.linear(), halves, recipe, jax.random.key(1), rounds=2, seeds=1)
    (only,) = found.rounds
    assert not found.adopted
    assert any("rounds end here, since no change is adopted" in note for note in found.notes)
    pooled = pool(halves).train
    folds, x, y = fold_of(pooled, FOLDS), np.asarray(pooled.x), np.asarray(pooled.y)
    members = jaxnet.predict(found.model, found.fold_networks, x)
    wrong = members.argmax(-1)[folds, np.arange(len(y))] != y
    assert only.error.estimate == pytest.approx(wrong.mean())
    assert found.more_data.examples == len(y) - np.bincount(folds).max()
    assert abs(found.more_data.gain.estimate) < 0.1  # two inputs take few examples
    assert found.more_data.forecast is not None


def test_bad_arguments_are_refused_before_anything_is_trained(digits):
    key = jax.random.key(0)
    with pytest.raises(InputError, match="seeds is 0"):
        advise(jaxnet.linear(), digits, RECIPE, key, seeds=0)
    with pytest.raises(InputError, match=r"tolerance is 0\.0"):
        advise(jaxnet.linear(), digits, RECIPE, key, tolerance=0.0)
    with pytest.raises(InputError, match=r"seconds is -1\.0"):
        advise(jaxnet.linear(), digits, RECIPE, key, seconds=-1.0)
    with pytest.raises(InputError, match=r"random folds of the examples.*the data are ordered"):
        advise(jaxnet.linear(), replace(digits, ordered=True), RECIPE, key)


def test_less_time_is_fewer_seeds_and_then_fewer_changes(digits):
    """6 changes: at most 7 recipes on 2 folds, 4 on 2, and 3 on 4, for each further seed 3 on 8."""
    from jaxnet.core.training import Problem

    given = [RECIPE, *(each.recipe for each in candidates(jaxnet.linear(), RECIPE)[:5])]
    longer = replace(RECIPE, epochs=12)
    problems = [Problem(jaxnet.linear(), digits, each) for each in (*given, longer)]
    costs, pace = [1.0] * 6 + [4.0], Pace(0.0, 1.0)
    # the costliest change is taken to stay to the end
    one = 2 * (6 + 4) + 2 * (3 + 4) + 4 * (2 + 4) + 4
    two = one + 8 * (2 + 4)

    def chosen(seeds, seconds, pace=pace, **kwargs):
        return timetable(problems, costs, pace, seeds, seconds, **kwargs)[:3]

    kept = timetable(problems, costs, pace, 2, float(two))
    assert Timetable.read(json.loads(json.dumps(kept.summary()))) == kept
    assert chosen(2, float(two)) == (tuple(range(6)), 2, two)
    assert chosen(2, two - 1.0) == (tuple(range(6)), 1, one)
    assert chosen(2, one - 1.0) == (tuple(range(5)), 1, 2 * 6 + 2 * 4 + 4 * 3 + 1)
    compiles = Pace(10.0, 0.0)
    # two programs, and that of the network that is handed over
    assert chosen(1, 1000.0, compiles) == (tuple(range(6)), 1, 10 * (2 + 1))
    each_rung = chosen(1, 1000.0, compiles, shared=False)
    assert each_rung == (tuple(range(6)), 1, 10 * (2 + 2 + 2 + 1))
    # the other rates need no program of their own
    assert chosen(1, 1.0, compiles) == (tuple(range(5)), 1, 10 * (1 + 1))
    assert chosen(2, 1.0) == ((0,), 1, 8 * 2 + 1)


def test_changes_that_share_a_program_are_left_out_together(digits):
    from jaxnet.core.training import Problem

    rates = [RECIPE, replace(RECIPE, learning_rate=1.0), replace(RECIPE, learning_rate=2.0)]
    recipes = [*rates, *(replace(RECIPE, clip=clip) for clip in (1.0, 2.0, 3.0))]
    problems = [Problem(jaxnet.linear(), digits, each) for each in recipes]
    kept = timetable(problems, [1.0] * 6, Pace(10.0, 0.01), 1, 25.0)
    assert kept.candidates == (0, 1)
    assert kept.takes == pytest.approx(10.0 * 2 + 0.01 * (2 * 3 + 2 * 2 + 4 * 2 + 1))


def test_a_slower_machine_is_fewer_candidates_that_go_on(tmp_path):
    """Trainings of 1 s that take 2: there is time for half as many as planned."""
    file = tmp_path / "timetable.json"
    file.write_text(json.dumps({"asked": {}}))

    def watch(left, file=None):
        now = time.monotonic()
        costs = np.array([1.0, 1.0, 3.0, 1.0, 1.0])
        return Watch(now + left / SAFETY, now, costs, Pace(0.0, 1.0), 1, True, file)

    cells, further = [(2, 0), (3, 0)], [(k, 1) for k in range(8)]
    # 2 of the current recipe and 2 for each that goes on; then 4 of two recipes, and at most 3 for
    # the network that is handed over
    assert watch(2 + 2 + 6 + 2 + 2 + 8 + 3.5).room([3, 1, 0, 2], cells) == [3, 1, 0, 2]
    found = watch(2 + 2 + 6 + 2 + 8 + 3.5)
    assert found.room([3, 1, 0, 2], cells) == [3, 1, 0]
    assert found.left_out == [2]
    slow = watch(2 * (2 + 2 + 6 + 8 + 3.5), file)
    slow.took([1, 2, 3, 4], cells, 2 * (1 + 3 + 1 + 1) * 2.0)
    assert slow.slower == 2.0
    assert slow.room([3, 1, 0, 2], cells) == [3, 1]
    # the longest one does not fit, and a better one does
    assert watch(2 + 2 + 8 + 3.5).room([1, 3], cells) == [3]
    # one goes on in any case, but further seeds are trained only where there is time for them
    assert watch(-1.0).room([1, 3], cells) == [3]
    assert watch(-1.0).room([1, 3], further) == []
    again = watch(-1.0, file)
    assert again.room([3, 1, 0, 2], cells) == json.loads(file.read_text())["decisions"][0]


def test_the_time_of_calls_that_were_stopped_counts(tmp_path):
    assert spent(None) == spent(tmp_path) == 0.0
    for folder, seconds in (("round-2", 40.0), ("", 25.0)):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "timetable.json").write_text(json.dumps({"spent": seconds}))
    assert spent(tmp_path) == 40.0

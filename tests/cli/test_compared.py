"""Runs side by side: what is said of a difference, against McNemar's test and intervals made
another way.
"""

import functools
import html
import itertools
import json
import shutil
from statistics import NormalDist

import jax
import numpy as np
import pytest
from scipy import optimize, stats
from scripts import result, run_here

import jaxnet
from jaxnet.cli import commands
from jaxnet.cli.saved_run import UNSEEN, write_unseen_losses
from jaxnet.diagnostics import network_difference, paired_difference
from jaxnet.stats.comparison import members_difference
from jaxnet.stats.unseen_losses import UnseenLosses
from jaxnet.studies.comparison import Compared, compare_runs

FEW = ("--no-cache", "--hidden", "16")
NAMES = ("first", "second")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Networks of the digits: trained well, the same with another seed, hardly trained, and on
    another split.
    """
    folder = tmp_path_factory.mktemp("runs")
    run_here(*FEW, "--epochs", "12", "--out", folder / "good")
    run_here(*FEW, "--epochs", "12", "--seed", "1", "--out", folder / "other-seed")
    run_here(*FEW, "--epochs", "1", "--out", folder / "poor")
    run_here(*FEW, "--epochs", "2", "--split-seed", "1", "--out", folder / "other-split")
    return folder


def compared(*paths, out, status=0, **options):
    words = [
        word
        for name, value in options.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    words = [*map(str, paths), "--no-cache", "--out", str(out), *words]
    assert commands.run("compare", words, began=0.0) == status
    return json.loads((out / "result.json").read_text()) if status == 0 else None


def wrong(folder, splits):
    network = jaxnet.restore(folder / "params")
    return np.asarray(jaxnet.predict(jaxnet.mlp((16,)), network, splits.test.x)).argmax(
        1
    ) != np.asarray(splits.test.y)


def test_a_real_difference_is_found_and_is_that_of_mcnemar(runs, digits, tmp_path, capsys):
    found = compared(runs / "good", runs / "poor", out=tmp_path / "out")
    a, b = wrong(runs / "good", digits), wrong(runs / "poor", digits)
    (pair,) = found["pairs"]
    assert pair["real"]
    assert pair["difference"]["estimate"] == pytest.approx(a.mean() - b.mean())
    assert (pair["only_first"], pair["only_second"]) == (int((a & ~b).sum()), int((b & ~a).sum()))
    assert (
        stats.binomtest(pair["only_first"], pair["only_first"] + pair["only_second"]).pvalue < 0.05
    )
    assert found["verdict"].startswith("good is better than poor: its error is lower by ")
    assert found["runs"][0]["error"] == result(runs / "good")["error"]["test"]
    assert found["differs"] == {"epochs": [12, 1]}
    said = capsys.readouterr().out
    assert found["verdict"] in said
    for folder, run_ in zip(("good", "poor"), found["runs"], strict=True):
        assert run_["scores"] == result(runs / folder)["scores"]["test"]
    assert "error of always guessing" in said
    assert "To compare recipes, train each with --members 8 or more" in said
    (worse,) = found["findings"]
    assert worse["code"] == "worse_run"
    assert worse["size"]["estimate"] == -pair["difference"]["estimate"]


@pytest.mark.parametrize(("order", "status"), [(("good", "poor"), 4), (("poor", "good"), 0)])
def test_a_later_run_that_is_worse_decides_the_exit_status(runs, tmp_path, capsys, order, status):
    paths = [runs / name for name in order]
    compared(*paths, out=tmp_path / "out", status=status, fail_on="worse_run")
    said = capsys.readouterr().out
    assert ("exit status 4, since worse_run is claimed" in said) == (status == 4)


def test_the_same_run_twice_differs_in_nothing(runs, tmp_path, capsys):
    found = compared(runs / "good", runs / "good", out=tmp_path / "out")
    (pair,) = found["pairs"]
    assert pair["difference"]["estimate"] == 0
    assert not pair["real"]
    assert pair["words"].startswith(
        f"no difference: {runs / 'good'} (1) and {runs / 'good'} (2) predict the same for all 359 "
        "test examples"
    )
    assert found["differs"] == {}
    assert "nothing differs" in capsys.readouterr().out


def test_another_seed_is_no_difference_that_is_shown(runs, tmp_path):
    found = compared(runs / "good", runs / "other-seed", out=tmp_path / "out")
    assert found["verdict"].startswith("no difference is shown between good and other-seed: ")
    assert found["differs"] == {"seed": [0, 1]}


def test_intervals_of_several_comparisons_are_wider(runs, digits, tmp_path):
    """Bonferroni's: of three pairs each holds with 1 - 0.05 / 3; the one that cannot be compared is
    not counted.
    """
    found = compared(
        *(runs / name for name in ("good", "other-seed", "poor", "other-split")),
        out=tmp_path / "out",
    )
    assert found["level"] == pytest.approx(1 - 0.05 / 3)
    told = {(pair["first"], pair["second"]): pair for pair in found["pairs"]}
    assert len(told) == 6
    for first, second in itertools.combinations(("good", "other-seed", "poor"), 2):
        expected = network_difference(
            wrong(runs / first, digits), wrong(runs / second, digits), found["level"]
        )
        assert told[first, second]["difference"]["low"] == pytest.approx(expected.low)
    assert told["good", "other-split"]["difference"] is None
    assert (
        "their test sets are not the same examples (359 and 359); read and split the data alike"
        in told["good", "other-split"]["words"]
    )


@pytest.mark.slow
def test_members_of_one_training_set_say_nothing_of_another(runs, digits, tmp_path, capsys):
    for epochs in (3, 10):
        out = tmp_path / f"members-{epochs}"
        run_here(*FEW, "--epochs", epochs, "--members", "8", "--out", out, script="seeds")
    found = compared(tmp_path / "members-3", tmp_path / "members-10", out=tmp_path / "out")
    (pair,) = found["pairs"]
    y = np.asarray(digits.test.y)
    kept = [
        np.load(tmp_path / f"members-{n}/members/predictions/test.npy")[:8].argmax(2) != y
        for n in (3, 10)
    ]
    expected = paired_difference(*kept)
    assert pair["of"] == "training set"
    assert "on this training set" in pair["words"]
    assert (pair["difference"]["low"], pair["difference"]["high"]) == pytest.approx(
        (expected.low, expected.high)
    )
    assert pair["real"]
    assert [each["members"] for each in found["runs"]] == [8, 8]
    assert found["runs"][1]["members_error"]["estimate"] == pytest.approx(kept[1].mean())
    assert "To compare recipes" in capsys.readouterr().out
    alone = compared(tmp_path / "members-3", runs / "good", out=tmp_path / "alone")["pairs"][0]
    assert alone["of"] == "networks"
    assert "one network each on this training set" in alone["words"]
    assert alone["not_used"][0].startswith("8 networks of members-3, since ")
    assert alone["not_used"][1].startswith("16 networks of members-3, which were trained from ")


def cross_fitted(run, out, splits, *, error, networks=16, pool="pool"):
    """A copy of a run with the files of cross-fitted networks that err at random: predictions of
    the network that is kept, of those of the folds, and of 5 on parts of the pool.
    """
    shutil.copytree(run, out)
    rng, y = np.random.default_rng(networks), np.asarray(splits.test.y)
    named = (y + (rng.random((networks + 6, len(y))) < error)) % 10
    (out / "members/predictions").mkdir(parents=True)
    np.save(out / "members/predictions/test.npy", np.log(0.01 + np.eye(10, dtype="f2")[named]))
    losses = (rng.random((2, 320)) < error).astype(float)
    write_unseen_losses(out, UnseenLosses(losses, np.arange(320) % 8, None, True, pool))
    folds = {"networks": networks, "left_out": 0}
    (out / "result.json").write_text(json.dumps(result(out) | {"diagnosis": {"folds": folds}}))
    return out, (named != y)[1 : 1 + networks], losses


def test_recipes_are_compared_on_the_folds_that_they_share(runs, digits, tmp_path, capsys):
    first, _, a = cross_fitted(runs / "good", tmp_path / "first", digits, error=0.1)
    second, _, b = cross_fitted(runs / "poor", tmp_path / "second", digits, error=0.4, networks=24)
    found = compared(first, second, out=tmp_path / "out")
    (pair,) = found["pairs"]
    assert pair["of"] == "recipe"
    assert pair["difference"]["estimate"] == pytest.approx(a.mean() - b.mean())
    assert [run["unseen_error"]["estimate"] for run in found["runs"]] == [a.mean(), b.mean()]
    assert pair["words"].startswith("first is better than second: its error is lower by ")
    assert "this is of the recipe" in pair["words"]
    assert "90 to 95% of studies" in pair["words"]
    words = "trained on the whole pool, or on smaller parts than the fold networks"
    assert pair["not_used"] == [f"6 networks of {name}, which were {words}" for name in NAMES]
    said = capsys.readouterr().out
    assert f"not used: {pair['not_used'][0]}" in said
    assert "To compare recipes" not in said
    assert pair["not_used"][0] in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize("networks", [16, 24])
def test_all_networks_of_other_pools_are_compared_on_this_training_set(
    runs, digits, tmp_path, networks
):
    first, a, _ = cross_fitted(runs / "good", tmp_path / "first", digits, error=0.1)
    second, b, _ = cross_fitted(
        runs / "poor", tmp_path / "second", digits, error=0.2, networks=networks, pool="another"
    )
    found = compared(first, second, out=tmp_path / "out")
    (pair,) = found["pairs"]
    expected = (paired_difference if networks == 16 else members_difference)(a, b)
    assert [run["members"] for run in found["runs"]] == [16, networks]
    assert pair["of"] == "training set"
    assert "on this training set" in pair["words"]
    assert "the recipe" not in pair["words"]
    assert pair["difference"]["estimate"] == pytest.approx(a.mean() - b.mean())
    assert pair["difference"]["low"] == pytest.approx(expected.low)
    why = "its networks have not seen, since the examples of their pools are not the same"
    assert why in pair["not_used"][-1]


def test_one_network_and_a_run_of_before_are_compared_on_this_training_set(runs, digits, tmp_path):
    first, _, _ = cross_fitted(runs / "good", tmp_path / "first", digits, error=0.1)
    old, _, _ = cross_fitted(runs / "poor", tmp_path / "old", digits, error=0.1)
    (old / UNSEEN).unlink()
    found = compared(first, old, runs / "good", out=tmp_path / "out")
    members, alone, _ = found["pairs"]
    assert (members["of"], alone["of"]) == ("training set", "networks")
    assert members["not_used"][-1].endswith("have not seen, since old has no such losses")
    assert alone["not_used"][0].startswith("16 networks of first, since ")
    assert alone["not_used"][-1].endswith("have not seen, since good has no such losses")


def test_other_data_are_set_beside_without_a_difference(runs, tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "values.npz", x=rng.normal(size=(900, 3)), y=rng.normal(size=900))
    for seed in (0, 1):
        run_here(
            "--no-cache",
            "--dataset",
            tmp_path / "values.npz",
            "--epochs",
            "2",
            "--seed",
            seed,
            "--out",
            tmp_path / f"values-{seed}",
        )
    np.savez(tmp_path / "classes.npz", x=rng.normal(size=(900, 3)), y=rng.integers(0, 2, 900))
    run_here(
        "--no-cache",
        "--dataset",
        tmp_path / "classes.npz",
        "--epochs",
        "2",
        "--out",
        tmp_path / "classes",
    )
    found = compared(runs / "good", tmp_path / "classes", out=tmp_path / "out")
    assert found["pairs"][0]["difference"] is None
    assert found["verdict"] == "not compared: their test sets are of digits and of classes.npz"
    assert not (tmp_path / "out/figures/differences.png").exists()
    assert "not compared" in (tmp_path / "out/report.html").read_text()
    assert (
        commands.run(
            "compare",
            [
                str(runs / "good"),
                str(tmp_path / "values-0"),
                "--no-cache",
                "--out",
                str(tmp_path / "mixed"),
            ],
            began=0.0,
        )
        == 2
    )
    assert (
        "good predicts classes, and values-0 predicts values; compare runs of one kind"
        in capsys.readouterr().err
    )
    values = compared(tmp_path / "values-0", tmp_path / "values-1", out=tmp_path / "values")
    outputs = [result(tmp_path / f"values-{seed}")["error"]["test"]["estimate"] for seed in (0, 1)]
    assert values["pairs"][0]["difference"]["estimate"] == pytest.approx(outputs[0] - outputs[1])
    assert values["pairs"][0]["difference"]["low"] < values["pairs"][0]["difference"]["estimate"]


def test_names_of_folders_are_escaped_and_drawn_as_they_are(runs, tmp_path):
    evil = "_<img src=x onerror=alert(1)>$a"
    shutil.copytree(runs / "poor", tmp_path / evil)
    compared(runs / "good", tmp_path / evil, out=tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert evil not in page
    assert html.escape(evil) in page
    assert "<img src=x" not in page
    assert "default-src 'none'" in page


def test_folders_that_hold_no_finished_run_are_refused(runs, tmp_path, capsys):
    for paths, message in (
        ((runs / "good",), "1 run was given; give the folders of two or more"),
        ((), "0 runs were given"),
        ((runs / "good", runs / "goood"), f"no such folder; did you mean '{runs / 'good'}'?"),
        (
            (runs / "good", runs),
            "is not the folder of a run, since it has no run.json; the newest in it is ",
        ),
    ):
        compared(*paths, out=tmp_path / "out", status=2)
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    compared(runs / "good", runs / "poor", out=runs / "good", status=2)
    assert "holds a run already" in capsys.readouterr().err


# The interval of a difference


@pytest.mark.core
@pytest.mark.parametrize(
    ("more", "fewer", "n"), [(12, 3, 200), (40, 12, 359), (3, 25, 80), (9, 0, 50)]
)
def test_limits_are_differences_that_a_score_test_just_does_not_reject(more, fewer, n):
    """With the standard error under the limit from a likelihood that is maximized numerically
    (Tango 1998).
    """
    found = _difference(more, fewer, n)
    for limit in (found.low, found.high):

        def unlikely(rate, limit=limit):
            shares = np.array([rate + limit, rate, 1 - 2 * rate - limit])
            return -np.sum(
                np.array([more, fewer, n - more - fewer]) * np.log(np.clip(shares, 1e-300, None))
            )

        bounds = (max(0.0, -limit) + 1e-12, (1 - limit) / 2 - 1e-12)
        rate = optimize.minimize_scalar(
            unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}
        ).x
        error = np.sqrt((2 * rate + limit - limit**2) / n)
        assert abs(found.estimate - limit) / error == pytest.approx(
            NormalDist().inv_cdf(0.975), rel=1e-3
        )


@pytest.mark.core
def test_published_limits():
    """Bentur et al. 2009, as Fagerland, Lydersen & Laake 2014 have them: 1 and 7 of 21, -0.517 to
    -0.026; McNemar's exact p is 0.07.
    """
    found = _difference(1, 7, 21)
    assert found.low == pytest.approx(-0.517, abs=5e-4)
    assert found.high == 0.0
    assert _difference(1, 7, 21, 0.9).high < 0


@pytest.mark.core
def test_a_difference_is_claimed_where_the_exact_test_claims_it():
    for more, fewer in itertools.product(range(16), range(16)):
        found = _difference(more, fewer, 60)
        claimed = not found.low <= 0 <= found.high
        assert claimed == (more + fewer > 0 and stats.binomtest(more, more + fewer).pvalue < 0.05)
        assert found.low <= found.estimate <= found.high


@pytest.mark.core
def test_how_often_the_interval_holds_and_a_claim_is_false():
    rng = np.random.default_rng(0)
    for a, b in ((0.03, 0.03), (0.06, 0.02), (0.02, 0.0)):
        found = [
            _difference(int(more), int(fewer), 360)
            for more, fewer, _ in rng.multinomial(360, [a, b, 1 - a - b], size=1000)
        ]
        assert np.mean([each.low <= a - b <= each.high for each in found]) > 0.93
        if a == b:
            assert np.mean([not each.low <= 0 <= each.high for each in found]) < 0.05


@pytest.mark.core
def test_of_values_it_is_students():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 500))
    found, theirs = network_difference(a, b), stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=0.01)
    boot = stats.bootstrap((a - b,), np.mean, rng=2, n_resamples=5000).confidence_interval
    assert (found.low, found.high) == pytest.approx((boot.low, boot.high), abs=0.02)
    assert network_difference(a, a).refused == "the losses are equal on each of 500 examples"
    assert "at least 100 are needed" in network_difference(a[:50], b[:50]).refused
    with pytest.raises(jaxnet.InputError, match="give the same examples twice"):
        network_difference(a, b[:9])


@functools.cache
def _difference(more, fewer, n, level=0.95):
    a, b = np.zeros((2, n), bool)
    a[:more] = b[more : more + fewer] = True
    return network_difference(a, b, level)


def test_rows_of_a_group_are_one_unit_of_a_difference():
    """Groups of equal size: Student's interval of their means, with fewer degrees of freedom than
    scipy's since the means have long tails, where it is the wider one.
    """
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(30), 8)
    base = rng.normal(size=(2, 30))[:, groups]
    a, b = base + 0.3 * rng.normal(size=(2, 240)) > 1
    found = network_difference(a, b, groups=groups)
    means = (a.astype(float) - b).reshape(30, 8).mean(1)
    assert found.high - found.estimate == pytest.approx(found.estimate - found.low)
    reach = (found.high - found.estimate) / stats.sem(means)
    assert stats.t.ppf(0.975, 29) <= reach < stats.t.ppf(0.975, 15)
    assert found.estimate == network_difference(a, b).estimate
    each = network_difference(a, b, groups=np.arange(240))
    alone = network_difference(a, b)
    assert each.low <= alone.low <= alone.high <= each.high
    assert each.high - each.low < 0.8 * (found.high - found.low)
    few = network_difference(a, b, groups=groups % 7)
    assert few.refused == "7 groups are too few for an interval; at least 8 are needed"


def test_how_often_the_interval_of_groups_holds():
    held, alone = 0, 0
    groups = np.repeat(np.arange(40), 20)
    for study in range(200):
        rng = np.random.default_rng(study)
        base = rng.normal(size=(3, 40))[:, groups] + 0.75 * rng.normal(size=(3, 800))
        a, b = base[0] + base[1:] > 1.8  # equally often, in the long run
        found, other = network_difference(a, b, groups=groups), network_difference(a, b)
        held += found.low <= 0 <= found.high
        alone += other.low <= 0 <= other.high
    assert held > 0.91 * 200
    assert alone < 0.75 * 200


def test_runs_are_compared_by_the_groups_of_their_test_set():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5)
    x = (rng.normal(size=(60, 3))[groups] + 0.1 * rng.normal(size=(300, 3))).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=60)[groups] > 0).astype(np.int32)
    splits = jaxnet.split(x, y, groups=groups, test=0.4)
    model, recipe = jaxnet.linear(), jaxnet.Recipe(epochs=2)
    runs = [jaxnet.fit(model, splits, recipe, jax.random.key(seed)) for seed in range(2)]
    outputs = [np.asarray(jaxnet.predict(model, run, splits.test.x)) for run in runs]
    sides = [
        Compared(name, run, splits, each, None, {})
        for name, run, each in zip("ab", runs, outputs, strict=True)
    ]
    found = compare_runs(sides)
    for side, each in zip(found.runs, runs, strict=True):
        assert side.error == jaxnet.evaluate(model, each, splits.test).error
    wrong = [each.argmax(-1) != np.asarray(splits.test.y) for each in outputs]
    assert found.pairs[0].difference == network_difference(*wrong, groups=splits.test.groups)

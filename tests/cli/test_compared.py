"""Runs side by side: what is said of a difference, against McNemar's test and intervals made
another way.
"""

import html
import itertools
import json
import shutil
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from scipy import optimize, stats
from scripts import result, run, run_here

import jaxnet
from jaxnet.cli import commands
from jaxnet.cli.saved_run import (
    UNSEEN,
    read_data,
    read_run,
    read_unseen_losses,
    write_unseen_losses,
)
from jaxnet.diagnostics import network_difference, paired_difference

FEW = ("--no-cache", "--hidden", "16")


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
    assert "to compare recipes, train each with --members 8 or more" in said


def test_the_same_run_twice_differs_in_nothing(runs, tmp_path, capsys):
    found = compared(runs / "good", runs / "good", out=tmp_path / "out")
    (pair,) = found["pairs"]
    assert pair["difference"]["estimate"] == 0
    assert not pair["real"]
    assert pair["words"].startswith(
        f"no difference: {runs / 'good'} (1) and {runs / 'good'} (2) say the same of all 359 test "
        "examples"
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
        run(*FEW, "--epochs", epochs, "--members", "8", "--out", out, script="seeds")
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
    assert "to compare recipes" in capsys.readouterr().out
    alone = compared(tmp_path / "members-3", runs / "good", out=tmp_path / "alone")["pairs"][0]
    assert alone["of"] == "networks"
    assert "one network each on this training set" in alone["words"]
    assert alone["not_used"][0].startswith("8 networks of members-3, since ")


@pytest.fixture(scope="module")
def diagnosed(tmp_path_factory):
    """Two cross-fitted runs of a table, and one network; the second run has another seed."""
    folder, rng = tmp_path_factory.mktemp("diagnosed"), np.random.default_rng(0)
    y = rng.integers(0, 2, 700)
    np.savez(folder / "table.npz", x=rng.normal(size=(700, 3)) + y[:, None], y=y)
    options = ("--no-cache", "--dataset", folder / "table.npz", "--hidden", "4", "--epochs", "2")
    run_here(*options, "--out", folder / "one")
    for seed, name in enumerate(("first", "second")):
        networks = ("--members", "8", "--target-error", "0", "--seed", seed)
        run_here(*options, *networks, "--out", folder / name)
    return folder


def other_pool(folder, out):
    """A copy of a cross-fitted run that had other examples, as far as its file says."""
    shutil.copytree(folder, out)
    write_unseen_losses(out, replace(read_unseen_losses(out), pool="another"))
    return out


def members_wrong(folder, count):
    """Which test labels the networks of the folds, and those that follow, have wrong."""
    y = np.asarray(read_data(read_run(folder)).test.y)
    return np.load(folder / "members/predictions/test.npy")[1 : 1 + count].argmax(2) != y


def test_recipes_are_compared_on_the_folds_that_their_runs_share(diagnosed, tmp_path, capsys):
    found = compared(diagnosed / "first", diagnosed / "second", out=tmp_path / "out")
    (pair,) = found["pairs"]
    errors = [result(diagnosed / name)["error"]["validation"] for name in ("first", "second")]
    assert pair["of"] == "recipe"
    assert pair["difference"]["estimate"] == pytest.approx(
        errors[0]["estimate"] - errors[1]["estimate"]
    )
    assert [run["unseen_error"] for run in found["runs"]] == errors
    assert "this is of the recipe" in pair["words"]
    assert "90 to 95%" in pair["words"]
    assert len(pair["not_used"]) == 2
    assert "networks of second, which were trained on all of the pool, or on" in pair["not_used"][1]
    said = capsys.readouterr().out
    assert f"not used: {pair['not_used'][0]}" in said
    assert "to compare recipes" not in said
    assert pair["not_used"][0] in (tmp_path / "out/report.html").read_text()


def test_cross_fitted_runs_of_other_pools_are_compared_on_their_training_set(diagnosed, tmp_path):
    other = other_pool(diagnosed / "second", tmp_path / "other")
    (pair,) = compared(diagnosed / "first", other, out=tmp_path / "out")["pairs"]
    wrong = members_wrong(diagnosed / "first", 8), members_wrong(other, 8)
    assert pair["of"] == "training set"
    assert "on this training set" in pair["words"]
    assert "the recipe" not in pair["words"]
    assert pair["difference"]["low"] == pytest.approx(paired_difference(*wrong).low)
    why = "its networks have not seen, since the examples of their pools are not the same"
    assert why in pair["not_used"][-1]


def test_all_members_are_used_where_one_run_has_more(diagnosed, tmp_path):
    more = other_pool(diagnosed / "second", tmp_path / "more")
    about = result(more)
    about["diagnosis"]["folds"]["networks"] = 20
    (more / "result.json").write_text(json.dumps(about))
    found = compared(diagnosed / "first", more, out=tmp_path / "out")
    wrong = members_wrong(diagnosed / "first", 8), members_wrong(more, 20)
    difference = found["pairs"][0]["difference"]
    assert [run["members"] for run in found["runs"]] == [8, 20]
    assert difference["estimate"] == pytest.approx(wrong[0].mean() - wrong[1].mean())
    assert difference["low"] < difference["estimate"] < difference["high"]


def test_one_network_or_a_run_of_before_stand_for_themselves(diagnosed, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(diagnosed / "second", old)
    (old / UNSEEN).unlink()
    found = compared(diagnosed / "first", old, diagnosed / "one", out=tmp_path / "out")
    on_set, alone, _ = found["pairs"]
    assert (on_set["of"], alone["of"]) == ("training set", "networks")
    assert on_set["not_used"][-1].endswith("have not seen, since old kept none")
    assert alone["not_used"][0].startswith("8 networks of first, since ")
    assert alone["not_used"][-1].endswith("have not seen, since one kept none")


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
        "values-0 predicts values, and good classes; compare runs of one kind"
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
    assert network_difference(a, a).refused == "both lose the same on each of 500 examples"
    assert "at least 100 are needed" in network_difference(a[:50], b[:50]).refused
    with pytest.raises(jaxnet.InputError, match="give the same examples twice"):
        network_difference(a, b[:9])


def _difference(more, fewer, n, level=0.95):
    a, b = np.zeros((2, n), bool)
    a[:more] = b[more : more + fewer] = True
    return network_difference(a, b, level)

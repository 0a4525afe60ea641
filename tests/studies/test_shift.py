"""The study of shifts and the monitor, as a person or a cron job runs them."""

import json
import shutil

import jax
import numpy as np
import pytest
from scripts import result, run, run_here

import jaxnet
from jaxnet.data.corruption import corrupt
from jaxnet.report.html.page import STUDY_FIGURES


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shift") / "run"
    done = run(
        "--dataset",
        "digits",
        "--repetitions",
        4,
        "--epochs",
        8,
        "--out",
        folder,
        "--no-cache",
        script="shift",
    )
    return folder, done.stdout


@pytest.fixture(scope="module")
def batches(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("batches")
    x = np.concatenate([np.asarray(digits.test.x), np.asarray(digits.validation.x)])
    np.savez(folder / "clean.npz", x=x[::3])
    np.savez(
        folder / "noisy.npz", x=corrupt(x[::3], "noise", 0.5, jax.random.key(0), pixel_max=16.0)
    )
    y = np.concatenate([np.asarray(digits.test.y), np.asarray(digits.validation.y)])[::3]
    rows = np.random.default_rng(0).permutation(len(y))[:60]
    (folder / "labels.csv").write_text("row,label\n" + "".join(f"{row},{y[row]}\n" for row in rows))
    (folder / "unknown.csv").write_text("row,label\n0,1\n1,eleven\n")
    (folder / "far.csv").write_text(f"row,label\n0,1\n{len(y)},2\n")
    (folder / "other.csv").write_text("rows,label\n0,1\n1,2\n")
    np.savez(folder / "few.npz", x=x[:2])
    np.savez(folder / "wrong.npz", x=x[:50, :4])
    (folder / "malformed.npz").write_text("no archive")
    return folder


def test_the_study_says_what_is_found_and_what_it_costs(studied):
    folder, said = studied
    found = result(folder)["shift"]
    shifts = {each["name"]: each for each in found["shifts"]}
    assert found["sizes"] == [10, 20, 50, 100]
    none, strong = shifts["none"], shifts["inversion 1"]
    assert none["error"] != strong["error"]
    assert max(none["alarms"]) <= 0.5
    assert strong["alarms"][-1] == 1.0
    assert none["test"]["p_value"] > 0.01 > strong["test"]["p_value"]
    assert strong["error"]["estimate"] > 0.8
    assert "label 50 to 200 of them, drawn at random" in strong["broken"]
    mild = none["estimated_error"]
    assert mild["low"] <= none["error"]["estimate"] <= mild["high"]
    assert result(folder)["verdict"] in said
    head = "alarms in batches of       10     20     50    100\n"
    tables = said[said.index(head) : said.index(result(folder)["verdict"])]
    assert max(map(len, tables.splitlines())) <= 80
    assert {"power.png", "estimated_errors.png", "unlike.png"} <= {
        path.name for path in (folder / "figures").iterdir()
    }
    assert STUDY_FIGURES["unlike"] in (folder / "report.html").read_text()


def test_the_reference_is_what_the_network_says_of_held_out_examples(studied, digits):
    folder, _ = studied
    with np.load(folder / "reference.npz") as kept:
        outputs, labels = kept["log_probabilities"], kept["labels"]
    assert np.array_equal(
        labels, np.concatenate([np.asarray(digits.test.y), np.asarray(digits.validation.y)])
    )
    network = jaxnet.restore(folder / "params")
    assert outputs[: len(digits.test)] == pytest.approx(
        np.asarray(jaxnet.predict(jaxnet.mlp(), network, digits.test.x)), abs=1e-4
    )


@pytest.mark.parametrize(
    ("name", "status", "verdict"), [("clean", 0, "same"), ("noisy", 3, "shifted")]
)
def test_the_monitor_prints_one_line(studied, batches, name, status, verdict):
    done = run("--run", studied[0], "--new", batches / f"{name}.npz", script="shift", status=status)
    assert done.stdout.count("\n") == 1
    found = json.loads(done.stdout)
    assert (found["verdict"], found["p_value"] < found["level"]) == (verdict, verdict == "shifted")
    assert {"examples", "size", "detectable", "what", "reference_error", "estimated_error"} <= set(
        found
    )
    assert "power" not in found
    assert found["size"]["low"] <= found["size"]["estimate"] <= found["size"]["high"]
    assert (found["estimated_error"]["refused"] is None) == (verdict == "same")


def test_the_monitor_takes_a_few_labels(studied, batches):
    given = ("--run", studied[0], "--labels", batches / "labels.csv", "--new")
    done = run_here(*given, batches / "noisy.npz", script="shift", status=3)
    found = json.loads(done.stdout)
    assert found["labels"] == 60
    error = found["estimated_error"]
    assert error["refused"] is None
    assert error["low"] > found["reference_error"]  # noise makes digits harder
    assert [labels for labels, _ in found["half_widths"]] == [50, 100, 200, 400]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unknown", "the network knows no class 'eleven'"),
        ("far", "rows of labeled range from 0 to"),
        ("other", "needs a column row; did you mean 'rows'?"),
    ],
)
def test_the_monitor_refuses_bad_labels(studied, batches, name, words, refused):
    new = ("--run", studied[0], "--new", batches / "clean.npz")
    said = refused(*new, "--labels", batches / f"{name}.csv", script="shift")
    assert words in said.err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("malformed", "not a readable .npz file"),
        ("few", "has 2 examples; at least 4"),
        ("wrong", "was trained on (8, 8)"),
        ("absent", "no such file"),
    ],
)
def test_the_monitor_refuses_bad_files(studied, batches, name, words, refused):
    said = refused("--run", studied[0], "--new", batches / f"{name}.npz", script="shift")
    assert said.out == ""
    assert words in said.err


def test_without_a_reference_the_data_set_is_read(studied, batches, tmp_path, refused):
    copy = tmp_path / "run"
    shutil.copytree(studied[0], copy)
    (copy / "reference.npz").unlink()
    both = [
        run_here("--run", folder, "--new", batches / "clean.npz", script="shift").stdout
        for folder in (studied[0], copy)
    ]
    ours, theirs = (json.loads(line) for line in both)
    assert ours["p_value"] == pytest.approx(theirs["p_value"], abs=0.01)
    np.savez(copy / "reference.npz", x=np.zeros(3))
    new = ("--new", batches / "clean.npz")
    assert "is not of this run" in refused("--run", copy, *new, script="shift").err
    said = refused("--run", tmp_path, *new, script="shift").err
    assert "is not the folder of a run, since it has no run.json" in said


def test_what_holds_no_images_is_refused(tmp_path, refused):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "table.npz", x=rng.standard_normal((300, 4)), y=rng.integers(0, 2, 300))
    out = ("--out", tmp_path / "run")
    said = refused("--dataset", tmp_path / "table.npz", *out, script="shift").err
    assert "corruptions are of images" in said
    assert not (tmp_path / "run").exists()
    assert "level is 2.0" in refused("--level", "2", *out, script="shift").err

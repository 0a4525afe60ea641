"""Doubtful labels and their number: by hand, against cleanlab, in simulations, and the experiment
from end to end.
"""

import csv
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import CACHE
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

import jaxnet
from jaxnet.errors import InputError
from jaxnet.stats.calibration import scaled
from jaxnet.stats.label_errors import far_values, hard_examples, likely_wrong, wrong_labels

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONWARNINGS": "error",
    "PYTHONPATH": str(ROOT),
    "JAX_COMPILATION_CACHE_DIR": str(CACHE),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "COLUMNS": "150",
}


def logs(probabilities):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(probabilities, np.float32))


def test_far_values_are_more_than_three_and_a_half_robust_deviations_off():
    residuals = np.array(
        [1.0, 2.0, 3.0, 4.0, 5.0, 3.0 + 3.49 * 2 / 0.6745, 3.0 - 3.51 * 2 / 0.6745]
    )
    assert far_values(np.zeros(7), residuals).tolist() == [False] * 6 + [True]
    assert not far_values(np.ones(5), np.array([1.0, 1.0, 1.0, 1.0, 9.0])).any()


def test_doubt_is_the_margin_of_the_mean_probability():
    log_p = logs(
        [
            [[0.6, 0.4, 0.0], [0.1, 0.2, 0.7], [0.2, 0.3, 0.5], [0.9, 0.1, 0.0]],
            [[0.8, 0.2, 0.0], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1], [0.9, 0.1, 0.0]],
        ]
    )
    found = hard_examples(log_p, np.array([0, 0, 1, 1]))
    # log(.75/.1), log(.9/.1), log(.4/.3), log(.3/.7)
    assert [each.index for each in found] == [3, 1, 2, 0]
    assert [each.prediction for each in found] == [0, 2, 0, 0]
    assert [each.label for each in found] == [1, 0, 1, 0]
    assert [each.confidence for each in found] == pytest.approx([0.9, 0.75, 0.4, 0.7], abs=1e-6)
    assert [each.contradicted for each in found] == [1.0, 1.0, 1.0, 0.0]
    assert found[:2] == hard_examples(log_p, np.array([0, 0, 1, 1]), most=2)


def test_only_members_that_did_not_see_an_example_count():
    rng = np.random.default_rng(0)
    log_p = scaled(2 * rng.standard_normal((6, 50, 4)), 1).astype(np.float16)
    y, seen = rng.integers(0, 4, 50), rng.random((6, 50)) < 0.5
    seen[:, 7], seen[:, 8] = True, [True] * 5 + [False]
    hidden = np.where(seen[..., None], np.nan, log_p)
    found = hard_examples(hidden, y, seen=seen)
    assert found == hard_examples(log_p, y, seen=seen)
    assert sorted(each.index for each in found) == [i for i in range(50) if not seen[:, i].all()]
    eighth = next(each for each in found if each.index == 8)
    assert eighth.prediction == log_p[5, 8].argmax()
    assert eighth.confidence == pytest.approx(np.exp(log_p[5, 8].astype(float)).max(), abs=2e-3)
    diverged = np.concatenate([hidden, np.full((1, 50, 4), np.nan)])
    assert found == hard_examples(diverged, y, seen=np.concatenate([seen, np.zeros((1, 50), bool)]))


def members(y, classes, rng, *, count=4, sure=6.0, hard=0.1, noise=None):
    """Networks that are sure of most examples and guess some; of noise (classes, classes) they
    learned that they predict it.
    """
    logits = sure * np.eye(classes)[y] + rng.standard_normal((len(y), classes))
    logits[rng.random(len(y)) < hard] /= 8
    p = np.exp(scaled(logits + 0.5 * rng.standard_normal((count, len(y), classes)), 1))
    return np.log(p if noise is None else p @ noise)


def relabeled(y, classes, noise, rng):
    return (rng.random((len(y), 1)) > noise[y].cumsum(1)[:, :-1]).sum(1)


def uniform(rate, classes):
    return (1 - rate) * np.eye(classes) + rate / (classes - 1) * (1 - np.eye(classes))


def pairs(rate, classes):
    return (1 - rate) * np.eye(classes) + rate * np.roll(np.eye(classes), 1, axis=1)


@pytest.mark.parametrize(
    "noise", [uniform(0, 5), uniform(0.02, 5), uniform(0.1, 5), uniform(0.2, 5), pairs(0.1, 5)]
)
@pytest.mark.parametrize("learned", [False, True], ids=["not learned", "learned"])
def test_the_share_of_wrong_labels_is_covered(noise, learned):
    """Whatever the noise, and whether or not networks learned it as well. Networks err on a tenth,
    which is no wrong label.
    """
    rng = np.random.default_rng(1)
    covered, given, off = 0, 0, list[float]()
    for _ in range(30):
        y = rng.integers(0, 5, 600)
        labels = relabeled(y, 5, noise, rng)
        found = wrong_labels(members(y, 5, rng, noise=noise if learned else None), labels)
        if found.refused is None:
            given += 1
            off.append(found.estimate - np.mean(labels != y))
            covered += found.low <= np.mean(labels != y) <= found.high
    assert given >= 24
    assert covered >= given - 1
    assert abs(np.mean(off)) < max(0.004, 3 * np.std(off) / math.sqrt(given))


def test_the_share_is_counted_among_the_easy_half():
    rng = np.random.default_rng(2)
    y = np.repeat([0, 1], 200)
    # The second class is easier as a whole; ranks are within a class all the same.
    margin = np.concatenate([rng.permutation(200) + 1.0, rng.permutation(200) + 1000.0]) / 300
    log_p = np.tile(scaled(np.where(np.eye(2)[y] > 0, margin[:, None], 0.0), 1), (3, 1, 1))
    rank = np.concatenate(
        [np.argsort(np.argsort(margin[:200])), np.argsort(np.argsort(margin[200:]))]
    )
    labels = y.copy()
    wrong = np.flatnonzero(rank >= 100)[::10]
    labels[wrong] = 1 - y[wrong]
    labels[rank < 20] = 1 - y[rank < 20]  # hard ones do not count
    assert wrong_labels(log_p, labels).estimate == 20 / 200


def test_where_nothing_can_be_said_it_is_refused():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 5, 600)
    log_p = members(y, 5, rng)
    assert (
        "199 examples that 3 members have not seen are too few"
        in wrong_labels(log_p[:, :199], y[:199]).refused
    )
    assert "0 examples" in wrong_labels(log_p[:2], y).refused
    seen = np.zeros((4, 600), bool)
    seen[:2] = True
    assert "0 examples" in wrong_labels(log_p, y, seen=seen).refused
    # Classes that overlap: calibrated networks that are right as often as they say.
    truth = scaled(1.5 * rng.standard_normal((3000, 5)), 1)
    drawn = (rng.random((3000, 1)) > np.exp(truth).cumsum(1)[:, :-1]).sum(1)
    assert (
        "cannot be told from hard examples"
        in wrong_labels(np.tile(truth, (3, 1, 1)), drawn).refused
    )
    assert (
        "cannot be told from wrong networks" in wrong_labels(log_p, rng.integers(0, 5, 600)).refused
    )


def test_the_ranking_is_not_below_cleanlabs():
    rank = pytest.importorskip("cleanlab.rank")
    x, y = load_digits(return_X_y=True)
    x, y, rng = x[:1000] / 16, y[:1000], np.random.default_rng(4)
    given = np.where(rng.random(1000) < 0.05, (y + rng.integers(1, 10, 1000)) % 10, y)
    draws = rng.integers(0, 1000, (8, 1000))
    log_p = np.stack(
        [
            LogisticRegression(C=0.1, max_iter=500).fit(x[rows], given[rows]).predict_log_proba(x)
            for rows in draws
        ]
    )
    seen = np.stack([np.isin(np.arange(1000), rows) for rows in draws])
    kept = ~seen.all(0)
    log_p, seen, labels, wrong = log_p[:, kept], seen[:, kept], given[kept], (given != y)[kept]
    order = [each.index for each in hard_examples(log_p, labels, seen=seen)]
    doubt = np.empty(len(order))
    doubt[order] = -np.arange(len(order))
    p = np.einsum("mic,mi->ic", np.exp(log_p), ~seen)
    p /= p.sum(1, keepdims=True)
    theirs = max(
        average_precision_score(wrong, -rank.get_label_quality_scores(labels, p, method=method))
        for method in ("self_confidence", "normalized_margin")
    )
    ours = average_precision_score(wrong, doubt)
    assert ours > theirs - 0.01
    assert ours > 0.9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"log_p": lambda f: f[0]}, r"shape \(40, 5\)"),
        ({"log_p": lambda f: np.exp(f)}, "member 0, example 0 add up to"),
        (
            {"log_p": lambda f: np.where(np.arange(40)[:, None] == 3, np.nan, f)},
            "example 3 add up to nan",
        ),
        ({"log_p": lambda f: np.full_like(f, np.nan)}, "no member predicts anything finite"),
        ({"y": lambda y: y[:5]}, r"labels have shape \(5,\) for 40"),
        ({"y": lambda y: y * 1.0}, "as integers"),
        ({"y": lambda y: y - 1}, "from 0 below 5"),
        ({"seen": np.zeros((3, 40), bool)}, r"seen has shape \(3, 40\)"),
        ({"seen": np.zeros((4, 40))}, "type float64"),
        ({"seen": np.ones((4, 40), bool)}, "no member predicts anything finite"),
    ],
)
def test_bad_input_is_named(change, words):
    rng = np.random.default_rng(5)
    y = np.arange(40) % 5
    log_p = change.get("log_p", lambda f: f)(members(y, 5, rng).astype(np.float32))
    y = change.get("y", lambda y: y)(y)
    for function in (hard_examples, wrong_labels):
        with pytest.raises(InputError, match=words):
            function(log_p, y, seen=change.get("seen"))


def test_a_bad_number_is_named():
    with pytest.raises(InputError, match="most is 0"):
        hard_examples(members(np.arange(5), 5, np.random.default_rng(6)), np.arange(5), most=0)


def experiment(*arguments, status=0):
    command = [sys.executable, "-m", "experiments.labels", "--no-cache", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_the_experiment_lists_the_labels_that_were_flipped(tmp_path):
    digits, rng = jaxnet.load("digits", validation=0.0), np.random.default_rng(7)
    x, y = np.asarray(digits.train.x), np.asarray(digits.train.y)
    given = np.where(rng.random(len(y)) < 0.06, (y + rng.integers(1, 10, len(y))) % 10, y)
    np.savez(tmp_path / "noisy.npz", x=x, y=given)
    out = tmp_path / "run"
    done = experiment(
        "--dataset",
        tmp_path / "noisy.npz",
        "--members",
        12,
        "--hidden",
        32,
        "--epochs",
        10,
        "--out",
        out,
    )
    # The same split as the experiment's says which rows were flipped.
    again = jaxnet.load(str(tmp_path / "noisy.npz"))
    right = {image.tobytes(): int(label) for image, label in zip(x, y, strict=True)}
    flipped = np.array(
        [right[image.tobytes()] for image in np.asarray(again.train.x)]
    ) != np.asarray(again.train.y)
    rows = list(csv.DictReader(io.StringIO((out / "labels.csv").read_text())))
    train = [row for row in rows if row["part"] == "train"]
    hits = flipped[[int(row["index"]) for row in train[:30]]]
    assert hits.mean() > 0.85
    told = np.array([float(row["wrong_label"]) for row in train[:30]])
    assert (told[hits] > 0.5).all()
    assert all(row["corrected"] == "" and row["label"] != row["suggested"] for row in rows)
    assert {row["part"] for row in rows} <= {"train", "validation", "test"}
    found = json.loads((out / "result.json").read_text())
    share = found["labels"]["wrong"]["train"]
    assert share["refused"] is None
    assert share["low"] <= flipped.mean() <= share["high"]
    at_least = f"at least {share['low']:.2%} of the training labels are wrong ("
    assert found["verdict"].startswith(at_least)
    assert at_least in done.stdout
    assert [finding["code"] for finding in found["findings"]] == ["label_noise"]
    assert set(found["hard_examples"][0]) == {"index", "label", "prediction", "confidence"}
    assert found["calibration"]["squared_error"]["estimate"] is not None
    for name in ("doubtful", "doubtful_test", "calibration"):
        with Image.open(out / f"figures/{name}.png") as image:
            assert min(image.size) > 150


def test_a_table_has_no_picture_and_values_are_refused(tmp_path):
    rng = np.random.default_rng(8)
    x = rng.standard_normal((400, 3))
    lines = [f"{a:.4f},{b:.4f},{c:.4f},{'high' if a + b > 0 else 'low'}" for a, b, c in x]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,c,level", *lines]))
    experiment(
        "--dataset",
        tmp_path / "table.csv",
        "--members",
        12,
        "--hidden",
        8,
        "--epochs",
        3,
        "--out",
        tmp_path / "run",
    )
    rows = list(csv.DictReader(io.StringIO((tmp_path / "run/labels.csv").read_text())))
    assert rows
    assert {row["label"] for row in rows} <= {"high", "low"}
    assert not (tmp_path / "run/figures/doubtful.png").exists()
    assert (
        "a multiple of 4" in experiment("--members", 10, "--out", tmp_path / "ten", status=2).stderr
    )
    values = [f"{a:.4f},{b:.4f},{a + b:.4f}" for a, b, _ in x]
    (tmp_path / "values.csv").write_text("\n".join(["a,b,sum", *values]))
    assert (
        "labels that are values"
        in experiment(
            "--dataset", tmp_path / "values.csv", "--out", tmp_path / "no", status=2
        ).stderr
    )
    assert not (tmp_path / "no").exists()


def planted(seed, n=600, classes=4):
    """Probabilities of the true classes, and labels of which 15% are wrong."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, n)
    wrong = rng.random(n) < 0.15
    labels = np.where(wrong, (true + rng.integers(1, classes, n)) % classes, true)
    logits = rng.normal(size=(n, classes)) + 4.0 * (np.arange(classes) == true[:, None])
    p = np.exp(logits)
    return p / p.sum(1, keepdims=True), labels, true


def test_labels_that_are_likely_wrong_are_those_of_cleanlab():
    filters = pytest.importorskip("cleanlab.filter")
    for seed in range(3):
        p, labels, true = planted(seed)
        found, other = likely_wrong(p, labels)
        theirs = filters.find_label_issues(
            labels, p, filter_by="prune_by_class", min_examples_per_class=0, n_jobs=1
        )
        assert (found != theirs).sum() <= p.shape[1]  # they round to the nearest number of a class
        wrong = labels != true
        assert (found & wrong).sum() > 0.85 * found.sum()
        assert (found & wrong).sum() > 0.85 * wrong.sum()
        assert (other == true)[found & wrong].mean() > 0.95


def test_labels_likely_wrong_by_hand():
    """Mean probabilities of the labels are .7 and .6; the last example has a label 0, is confident
    of 1, and is one of 4 with label 0.
    """
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.4, 0.6], [0.4, 0.6]])
    labels = np.array([0, 0, 0, 0, 1, 1])
    found, other = likely_wrong(p, labels)
    assert found.tolist() == [False, False, False, True, False, False]
    assert other.tolist() == [1, 1, 1, 1, 0, 0]

"""The scripts as a person runs them: the folder of a run, resuming, stopping, killing, predicting,
and bad input.
"""

import csv
import html
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest
from conftest import gap
from PIL import Image
from scripts import ENVIRONMENT, FAST, ROOT, command, result, run, run_here

import jaxnet
from jaxnet.cli import commands, run_folder
from jaxnet.cli.saved_run import read_unseen_losses

KILLS = int(os.environ.get("JAXNET_KILLS", "3"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    done = run(*FAST, "--out", folder)
    return folder, done.stdout


def test_the_folder_of_a_run(finished):
    folder, said = finished
    found = result(folder)
    for name in (
        "experiment",
        "dataset",
        "model",
        "recipe",
        "seed",
        "versions",
        "device",
        "seconds",
        "accuracy",
        "error",
        "verdict",
        "findings",
    ):
        assert name in found
    for part in ("train", "validation", "test"):
        assert (
            found["accuracy"][part]["low"]
            <= found["accuracy"][part]["estimate"]
            <= found["accuracy"][part]["high"]
        )
        assert found["accuracy"][part]["estimate"] == pytest.approx(
            1 - found["error"][part]["estimate"]
        )
    assert set(found["seconds"]) >= {"import", "data", "compile", "train", "total"}
    assert str(folder) not in json.dumps(found)
    rows = list(csv.DictReader(io.StringIO((folder / "history.csv").read_text())))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for name in ("curves", "confusion", "wrong"):
        with Image.open(folder / f"figures/{name}.png") as image:
            assert min(image.size) > 200
    assert not (folder / "state").exists()
    for words in (
        "1,258 training",
        "always the most frequent class",
        "balanced accuracy",
        "error of always guessing",
        "precision",
        found["verdict"][:20],
        "hidden_0",
    ):
        assert words in said


def test_the_saved_network_is_the_one_that_was_judged(finished, digits):
    folder, _ = finished
    saved = jaxnet.restore(folder / "params")
    metrics = jaxnet.evaluate(jaxnet.mlp((128, 64)), saved, digits.test)
    assert metrics.accuracy.estimate == pytest.approx(
        result(folder)["accuracy"]["test"]["estimate"]
    )


def test_the_same_command_gives_the_same_result(finished, tmp_path):
    folder, _ = finished
    run(*FAST, "--out", tmp_path / "again")
    a, b = result(folder), result(tmp_path / "again")
    for each in (a, b):
        del each["seconds"], each["resumed"]
    assert a == b
    assert (folder / "history.csv").read_bytes() == (tmp_path / "again/history.csv").read_bytes()
    assert (folder / "report.html").read_bytes() == (tmp_path / "again/report.html").read_bytes()
    for name in ("curves", "confusion", "wrong"):
        assert (folder / f"figures/{name}.png").read_bytes() == (
            tmp_path / f"again/figures/{name}.png"
        ).read_bytes()


def test_a_finished_run_is_printed_and_not_run_again(finished):
    folder, _ = finished
    before = (folder / "result.json").stat().st_mtime_ns
    done = run_here(*FAST, "--out", folder, "--resume")
    assert "finished already: " + result(folder)["verdict"] in done.stdout.replace("\n", "")
    assert (folder / "result.json").stat().st_mtime_ns == before


def test_what_is_in_the_way_is_refused(finished, tmp_path, refused):
    folder, _ = finished
    said = refused(*FAST, "--out", folder).err
    assert "holds a run already; continue it with --resume" in said
    other = ("--no-cache", "--epochs", 4, "--learning-rate", 0.1)
    said = refused(*other, "--out", folder, "--resume").err
    assert "epochs was 3 and is now 4; learning_rate was 0.003 and is now 0.1" in said
    (tmp_path / "mine.txt").write_text("mine")
    assert "is not empty and not a run" in refused(*FAST, "--out", tmp_path).err
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(*FAST, "--out", tmp_path / "file/run").err


def test_resume_without_out_takes_the_newest_unfinished_run_or_starts_fresh(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_here(*FAST, "--resume")
    assert "nothing to resume: starting fresh" in done.stdout
    (first,) = (tmp_path / "runs").iterdir()
    (first / "result.json").unlink()
    done = run_here(*FAST, "--resume")
    assert f"continuing runs/{first.name}" in done.stdout
    assert (first / "result.json").exists()


def test_predict_on_pictures_and_arrays(finished, tmp_path, digits):
    folder, _ = finished
    x = np.asarray(digits.test.x[:5])
    np.savez(tmp_path / "five.npz", x=x)
    Image.fromarray((x[0] * (255 / 16)).round().astype(np.uint8)).save(tmp_path / "one.png")
    Image.fromarray((x[0] * (255 / 16)).round().astype(np.uint8)).convert("P").save(
        tmp_path / "palette.png"
    )
    done = run_here(
        "predict",
        "--run",
        folder,
        tmp_path / "five.npz",
        tmp_path / "one.png",
        tmp_path / "palette.png",
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    probabilities = np.array([[float(row[f"p({c})"]) for c in range(10)] for row in rows])
    expected = np.exp(jaxnet.predict(jaxnet.mlp((128, 64)), jaxnet.restore(folder / "params"), x))
    np.testing.assert_allclose(probabilities[:5], expected, atol=1e-6)
    np.testing.assert_allclose(probabilities[5:], expected[[0, 0]], atol=0.02)
    assert [row["prediction"] for row in rows[:5]] == [str(c) for c in expected.argmax(1)]


def test_the_page_of_a_finished_run_is_written_again(finished, tmp_path, capsys):
    folder, _ = finished
    words = [str(folder), "--platform", "cpu", "--out", str(tmp_path / "again")]
    assert commands.run("report", words, began=0.0) == 0
    assert f"written to {tmp_path / 'again/report.html'}" in capsys.readouterr().out.replace(
        "\n", ""
    )
    page = (folder / "report.html").read_text()
    assert (tmp_path / "again/report.html").read_text() == page
    assert commands.run("report", [str(tmp_path)], began=0.0) == 2
    assert "is not the folder of a run" in capsys.readouterr().err


def test_predictions_are_written_to_a_file_or_not_at_all(finished, digits, tmp_path, capsys):
    x, out = np.asarray(digits.test.x[:3]), tmp_path / "out/predictions.csv"
    np.savez(tmp_path / "new.npz", x=x)
    np.savez(tmp_path / "bad.npz", x=x[:, :2])
    new, bad = str(tmp_path / "new.npz"), str(tmp_path / "bad.npz")
    words = ["--run", str(finished[0]), "--platform", "cpu"]
    assert commands.run("predict", [*words, new], began=0.0) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 4
    assert commands.run("predict", [*words, "--out", str(out), new], began=0.0) == 0
    assert (out.read_text(), capsys.readouterr().out) == (said, "")
    assert commands.run("predict", [*words, new, bad], began=0.0) == 2
    assert capsys.readouterr().out == ""


def _picture(path, mode="L", size=(8, 8)):
    Image.new(mode, size).save(path)
    return path


BAD_FILES = {
    "missing": (lambda p: p / "a.png", "a.png: no such file"),
    "no image": (
        lambda p: (p / "a.png").write_bytes(b"no") and p / "a.png",
        "a.png: not a readable PNG or JPEG image (it is neither)",
    ),
    "size": (
        lambda p: _picture(p / "a.png", size=(9, 7)),
        "a.png: is 9x7 pixels, but the network was trained on 8x8",
    ),
    "transparent": (lambda p: _picture(p / "a.png", "RGBA"), "a.png: is partly transparent"),
    "other kind": (lambda p: p / "a.gif", "a.gif: no such file"),
    "other shape": (
        lambda p: np.savez(p / "a.npz", x=np.zeros((2, 3))) or p / "a.npz",
        "x has examples of shape (3,), but",
    ),
    "nan": (
        lambda p: np.savez(p / "a.npz", x=np.full((1, 8, 8), np.nan)) or p / "a.npz",
        "in row 0, column 0, 0",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_to_predict_are_refused(finished, tmp_path, case, refused):
    make, message = BAD_FILES[case]
    assert message in refused("predict", "--run", finished[0], make(tmp_path)).err


def test_predict_without_a_run(tmp_path, refused):
    said = refused("predict", "--run", tmp_path, "a.png").err
    assert "is not the folder of a run, since it has no run.json; give one" in said


def _write_npz(folder, **arrays):
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


X, Y = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32), np.arange(60) % 3
BAD_INPUT = {
    "name": (lambda p: ("--dataset", "digitz"), "there is no data set 'digitz' in the package"),
    "missing": (lambda p: ("--dataset", p / "none.npz"), "none.npz: no such file"),
    "nan": (
        lambda p: ("--dataset", _write_npz(p, x=X * np.nan, y=Y)),
        "data.npz: x has 180 values that are not finite",
    ),
    "one class": (
        lambda p: ("--dataset", _write_npz(p, x=X, y=Y * 0)),
        "data.npz: all 42 training examples are of one class ('0')",
    ),
    "class missing": (
        lambda p: ("--dataset", _write_npz(p, x=X, y=Y, classes=np.array(["a", "b", "c", "d"]))),
        "data.npz: class 'd' (label 3) has no example",
    ),
    "mnist": (lambda p: ("--dataset", "mnist"), "put its four files train-images-idx3-ubyte.gz"),
    "hidden": (lambda p: ("--hidden", 0), "hidden is (0,); every width"),
    "epochs": (lambda p: ("--epochs", 0), "epochs is 0"),
    "optimizer": (lambda p: ("--optimizer", "adma"), "adma"),
    "option": (lambda p: ("--epoch-s", 3), "epoch-s"),
    "rate": (lambda p: ("--learning-rate", -1), "learning_rate is -1.0"),
    "patience": (
        lambda p: ("--patience", 2, "--validation", 0),
        "patience is 2, but the validation set is empty",
    ),
    "cnn": (
        lambda p: ("--model", "cnn", "--dataset", _write_npz(p, x=X, y=Y)),
        "a cnn needs images",
    ),
    "tolerance": (lambda p: ("--tolerance", -1), "tolerance is -1.0"),
    "split seed": (lambda p: ("--split-seed", -1), "the seed of the split is -1"),
    "balance": (
        lambda p: ("--balance", "--dataset", _write_npz(p, x=X, y=X[:, 0])),
        "class weights need classes",
    ),
}
# Before JAX starts, so each in a process of its own.
BAD_PLATFORMS = {
    "bfloat16": (("--precision", "bfloat16", "--platform", "cpu"), "bfloat16 is for accelerators"),
    "platform": (("--platform", "tpu"), "no tpu can be used here"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_has_a_message_and_exit_status_2(tmp_path, case, refused):
    make, message = BAD_INPUT[case]
    said = refused(*FAST[:1], *make(tmp_path), "--out", tmp_path / "run").err
    assert message in said.replace("\n", " ")
    assert not (tmp_path / "run/result.json").exists()


@pytest.mark.parametrize("case", BAD_PLATFORMS)
def test_a_bad_platform_has_a_message_and_exit_status_2(tmp_path, case):
    options, message = BAD_PLATFORMS[case]
    assert message in run(*FAST[:1], *options, "--out", tmp_path / "run", status=2).stderr.replace(
        "\n", " "
    )
    assert not (tmp_path / "run/result.json").exists()


def test_help_shows_options_of_both_commands():
    assert "--learning-rate" in run("--help").stdout
    assert "--run" in run_here("predict", "--help").stdout
    assert "--data-dir" in run_here("--help", script="mnist").stdout


def test_a_regression_and_a_cnn_run_to_the_end(tmp_path):
    y = X @ np.float32([1, 2, 3]) + 10
    run_here(
        *FAST,
        "--dataset",
        _write_npz(tmp_path, x=X, y=y),
        "--model",
        "linear",
        "--out",
        tmp_path / "a",
    )
    found = result(tmp_path / "a")
    assert found["accuracy"] is None
    assert set(found["r2"]["test"]) >= {"estimate", "low", "high"}
    assert found["scores"]["test"]["r2"] == found["r2"]["test"]
    for name in ("rmse", "median_absolute_error"):
        assert found["scores"]["test"][name] == pytest.approx(found[name]["test"])
    page = (tmp_path / "a/report.html").read_text()
    assert "median absolute error" in page
    assert "unless rare, larger errors exist" in page
    assert (tmp_path / "a/figures/values.png").exists()
    np.savez(tmp_path / "new.npz", x=X[:2])
    rows = run_here("predict", "--run", tmp_path / "a", tmp_path / "new.npz").stdout.splitlines()
    assert rows[0] == "file,row,prediction"
    assert len(rows) == 3
    more = ("--normalization", "batch", "--dropout", "0.1", "--balance", "--patience", "1")
    run_here(
        *FAST, "--model", "cnn", "--channels", 4, "--hidden", 8, *more, "--out", tmp_path / "b"
    )
    found = result(tmp_path / "b")
    assert found["model"]["name"].startswith("cnn(")
    assert found["error"]["validation"]["low"] is None  # patience chose the epoch there
    assert found["error"]["test"]["low"] is not None


def test_odd_images_names_and_divergence_do_not_cost_the_result(tmp_path):
    rng = np.random.default_rng(0)
    names = np.array(["$50_$60", "$0-$50"])[np.arange(60) % 2]
    for i, x in enumerate(
        (
            rng.random((60, 4, 4, 2)),
            rng.random((60, 3, 4, 5, 2)),
            rng.random((60, 4, 4)) - 0.5,
            rng.random((60, 4, 4)),
        )
    ):
        run_here(*FAST, "--dataset", _write_npz(tmp_path, x=x, y=names), "--out", tmp_path / str(i))
        assert (tmp_path / f"{i}/figures/wrong.png").exists() == (i == 3)
    wild = ("--optimizer", "sgd", "--learning-rate", "1e6", "--schedule", "constant")
    run_here(
        *FAST, *wild, "--dataset", _write_npz(tmp_path, x=X, y=X[:, 0]), "--out", tmp_path / "wild"
    )
    found = result(tmp_path / "wild")
    assert found["status"].startswith("diverged at ")
    assert found["verdict"].startswith("diverged: at step ")
    assert found["rmse"]["test"]["estimate"] is None


def test_two_runs_that_start_at_once_do_not_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: "now")
    with ThreadPoolExecutor(8) as pool:
        folders = list(
            pool.map(lambda _: run_folder.begin("train", {}, None, resume=False)[0], range(8))
        )
    assert len(set(folders)) == 8


def test_digits_reaches_97_percent(tmp_path):
    run_here("--no-cache", "--out", tmp_path / "run", script="digits")
    assert result(tmp_path / "run")["accuracy"]["test"]["estimate"] >= 0.96


# so long that they are stopped before their end: a few seconds
EPOCHS = 300
LONG = (
    "--no-cache",
    "--epochs",
    str(EPOCHS),
    "--batch-size",
    "32",
    "--hidden",
    "64",
    "--dropout",
    "0.1",
)


def _wait_for(folder, words, process, seconds=60):
    """Until the log says so."""
    log = folder / "log.txt"
    for _ in range(int(seconds / 0.02)):
        if log.exists() and words in log.read_text():
            return
        assert process.poll() is None, "it ended before"
        time.sleep(0.02)
    raise AssertionError(f"the log never said {words!r}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long") / "run"
    run_here(*LONG, "--out", folder)
    return folder


def _same_parameters(a, b):
    return gap(jaxnet.restore(a / "params").params, jaxnet.restore(b / "params").params) == 0


@pytest.mark.usefixtures("hearing")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_run_continues_to_the_same_end(undisturbed, tmp_path, number):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command(*LONG, "--out", folder),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    _wait_for(folder, "epoch 20\n", process)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"stopped by {number.name} after epoch" in said
    done = run_here(*LONG, "--out", folder, "--resume")
    assert "continuing" in done.stdout
    assert result(folder)["resumed"]["from_epoch"] >= 20
    assert _same_parameters(folder, undisturbed)


@pytest.mark.usefixtures("hearing")
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used_or_the_run_refused(
    undisturbed, tmp_path
):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command(*LONG, "--out", folder),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    _wait_for(folder, "epoch 50\n", process)
    process.terminate()
    process.communicate(timeout=60)
    before, newest = sorted(folder.glob("state/????????"))
    cut = newest / "_CHECKPOINT_METADATA"
    os.truncate(cut, cut.stat().st_size - 1)
    lost = shutil.copytree(folder, tmp_path / "lost")
    shutil.rmtree(lost / "state" / before.name)
    refused = run_here(*LONG, "--out", lost, "--resume", status=2)
    assert f"{newest.name} is damaged: {cut.name} is not what was written there" in " ".join(
        refused.stderr.split()
    )
    assert (lost / "state" / newest.name).is_dir()
    done = run_here(*LONG, "--out", folder, "--resume")
    assert f"{newest.name} is damaged: {cut.name} is not what was written there" in " ".join(
        done.stdout.split()
    )
    assert not done.stderr
    assert result(folder)["resumed"]["from_epoch"] == int(before.name)
    assert [path.name for path in (folder / "state").iterdir()] == [f"{newest.name}.damaged"]
    assert _same_parameters(folder, undisturbed)


@pytest.mark.parametrize("kills", [1, pytest.param(KILLS, marks=pytest.mark.slow)])
def test_kills_at_random_moments_lose_nothing(kills, undisturbed, tmp_path):
    """Kill -9, again and again, while it starts, trains, saves and writes its report; then to the
    end.
    """
    folder, moments = tmp_path / "run", random.Random(0)
    log, killed = folder / "log.txt", 0
    for _ in range(kills):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(
            command(*LONG, "--out", folder, "--resume"), cwd=ROOT, env=ENVIRONMENT, **streams
        )
        if moments.random() < 0.2:
            time.sleep(moments.uniform(0.1, 2.0))
        else:
            # A tenth beyond the last epoch: that one is killed while it writes its report.
            wanted = (
                min(EPOCHS, _epochs(log) + moments.randint(1, EPOCHS // 4))
                if moments.random() < 0.9
                else EPOCHS
            )
            while process.poll() is None and _epochs(log) < wanted:
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.1 if wanted < EPOCHS else 1.0))
        process.kill()
        _, errors = process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert process.returncode in (0, -signal.SIGKILL), errors
        assert not errors
    run(*LONG, "--out", folder, "--resume")
    assert killed
    assert _same_parameters(folder, undisturbed)
    assert (folder / "history.csv").read_bytes() == (undisturbed / "history.csv").read_bytes()
    saved, again = 0, 0
    lines = [line.rsplit(" ", 1) for line in log.read_text().splitlines()]
    for word, number in lines:
        if word == "epoch":
            assert int(number) > saved, (
                f"epoch {number} was run again, though a checkpoint had {saved}"
            )
        elif word == "checkpoint":
            saved = int(number)
        else:
            again += int(number) > 0
    print(
        f"{killed} kills, {again} continued from a checkpoint, "
        f"{len([w for w, _ in lines if w == 'epoch'])} epochs run for {EPOCHS}"
    )


def _epochs(log):
    """The highest number of epochs that the log has."""
    numbers = (
        [int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith("epoch")]
        if log.exists()
        else []
    )
    return max(numbers, default=0)


def test_devices_are_set_before_jax_starts():
    code = "import jaxnet; jaxnet.use_cpu_devices(3); import jax; print(len(jax.devices()))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "3\n"
    )
    jax.devices()
    with pytest.raises(jaxnet.InputError, match="JAX has started already"):
        jaxnet.use_cpu_devices(5)


def test_the_cache_is_private_and_used(tmp_path):
    folder = tmp_path / "cache"
    code = (
        f"import jaxnet, jax; jaxnet.enable_cache({str(folder)!r}); jax.jit(lambda x: x * 3)(1.0)"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMPILATION")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.iterdir())


def test_a_cache_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(jaxnet.InputError, match="cannot hold compiled programs"):
        jaxnet.enable_cache(tmp_path / "file" / "cache")


def _table(folder, target, **changes):
    rng = np.random.default_rng(0)
    colors = np.array(["red", "green", "blue"])[np.arange(300) % 3]
    size = rng.normal(5, 2, 300).round(2)
    value = size * 2 + (colors == "red") * 3
    columns = {
        "size": [f'"{s}"'.replace(".", ",") for s in size],
        "color": colors,
        "target": target(value, colors),
    }
    lines = [
        ";".join(columns),
        *(";".join(map(str, row)) for row in zip(*columns.values(), strict=True)),
    ]
    (folder / "table.csv").write_text("\n".join(lines), "utf-8-sig")
    return folder / "table.csv"


def test_a_regression_from_a_european_table_to_predictions_of_new_rows(tmp_path):
    path = _table(tmp_path, lambda value, _: [f"{v:.3f}".replace(".", ",") for v in value])
    done = run_here("--no-cache", "--dataset", path, "--hidden", 32, "--out", tmp_path / "run")
    assert "task: regression, since the labels are numbers with decimal places" in done.stdout
    assert "read with ';' between columns and a decimal comma" in done.stdout
    found = result(tmp_path / "run")
    assert [(each["name"], each["categories"]) for each in found["dataset"]["columns"]] == [
        ("size", None),
        ("color", ["blue", "green", "red"]),
    ]
    assert found["r2"]["test"]["estimate"] > 0.9
    # a table without noise: the network errs by much at its edges, and hardly elsewhere
    for name in ("r2", "rmse"):
        assert "rare, larger errors" in found[name]["test"]["refused"]
    median = found["median_absolute_error"]["test"]
    assert (
        0 < median["low"] < median["estimate"] < median["high"] < found["rmse"]["test"]["estimate"]
    )
    assert found["error"]["test"]["estimate"] < found["baseline"]["test"]
    assert found["recipe"]["epochs"] == 38  # of four batches each
    (tmp_path / "new.csv").write_text("color,size,note\nred,5.0,a\nblue,2.5,b\n")
    rows = list(
        csv.DictReader(
            io.StringIO(run_here("predict", "--run", tmp_path / "run", tmp_path / "new.csv").stdout)
        )
    )
    assert abs(float(rows[0]["prediction"]) - 13) < 1
    assert abs(float(rows[1]["prediction"]) - 5) < 1
    (tmp_path / "new.csv").write_text("color,size\nred,5.0\npink,2.5\n")
    done = run_here(
        "predict", "--strict", "--run", tmp_path / "run", tmp_path / "new.csv", status=2
    )
    assert (
        "column 'color' has 'pink' in line 3, which the network has not seen; it knows 'blue', "
        "'green', 'red'" in done.stderr
    )


def test_classes_of_a_table_split_by_group_and_resumed(tmp_path):
    path = _table(tmp_path, lambda value, colors: np.where(value > 11, "much", "little"))
    options = (
        "--no-cache",
        "--dataset",
        path,
        "--epochs",
        3,
        "--groups",
        "color",
        "--out",
        tmp_path / "run",
    )
    done = run_here(*options)
    assert "task: classification, since the labels are text" in done.stdout
    about = result(tmp_path / "run")["dataset"]
    assert about["classes"] == ["little", "much"]
    assert (about["test_source"], about["ordered"], about["grouped_by"]) == (
        "random",
        False,
        "color",
    )
    assert about["groups"] == {"train": 1, "validation": 1, "test": 1}
    (tmp_path / "run/result.json").unlink()
    assert "continuing" in run_here(*options, "--resume").stdout


def test_examples_in_two_parts_are_said_and_counted(tmp_path):
    x = np.concatenate([X, X])
    done = run_here(
        *FAST,
        "--dataset",
        _write_npz(tmp_path, x=x, y=np.arange(120) % 3),
        "--out",
        tmp_path / "run",
    )
    assert "warning: " in done.stdout
    found = {
        (each["part"], each["other"]): each["exactly"]
        for each in result(tmp_path / "run")["dataset"]["overlaps"]
    }
    splits = jaxnet.load(tmp_path / "data.npz")
    train = {row.tobytes() for row in np.asarray(splits.train.x)}
    assert (
        found["test", "training"]
        == sum(row.tobytes() in train for row in np.asarray(splits.test.x))
        > 0
    )


def test_presets_and_a_folder_of_images(tmp_path, refused):
    rng = np.random.default_rng(0)
    for name, gray in (("dark", 60), ("light", 180)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(20):
            Image.fromarray(rng.normal(gray, 20, (9, 8)).clip(0, 255).astype(np.uint8)).save(
                tmp_path / "pictures" / name / f"{i}.jpg"
            )
    run_here(
        *FAST,
        "--dataset",
        tmp_path / "pictures",
        "--preset",
        "fast",
        "--image-size",
        28,
        28,
        "--validation",
        0.1,
        "--out",
        tmp_path / "run",
        script="mnist",
    )
    found = result(tmp_path / "run")
    assert found["model"]["name"].startswith("cnn(channels=(16, 32)")
    assert found["accuracy"]["test"]["estimate"] == 1
    Image.new("L", (28, 28), 180).save(tmp_path / "new.jpg")
    (row,) = csv.DictReader(
        io.StringIO(run_here("predict", "--run", tmp_path / "run", tmp_path / "new.jpg").stdout)
    )
    assert row["prediction"] == "light"
    said = refused("--preset", "fst", script="mnist").err
    assert "unknown preset 'fst'; did you mean 'fast'? Known are mlp, cnn" in said


SWEEP = (
    "--no-cache",
    "--epochs",
    "3",
    "--hidden",
    "16",
    "--space",
    "learning_rate=1e-4:1",
    "batch_size=32,64",
    "--trials",
    "6",
)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept") / "run"
    return folder, run_here(*SWEEP, "--out", folder, script="sweep").stdout


def test_a_sweep_has_a_table_a_picture_and_a_chosen_network(swept, digits):
    folder, said = swept
    found = result(folder)
    rows = list(csv.DictReader((folder / "sweep.csv").read_text().splitlines()))
    assert len(rows) == 12
    assert [float(row["error"]) for row in rows] == pytest.approx(
        found["sweep"]["trials"]["error"], rel=1e-5
    )
    best = found["sweep"]["best"]
    assert found["recipe"]["learning_rate"] == pytest.approx(
        float(rows[best]["learning_rate"]), rel=1e-5
    )
    assert found["recipe"]["batch_size"] == int(rows[best]["batch_size"])
    assert found["error"]["validation"]["estimate"] == pytest.approx(
        min(float(row["error"]) for row in rows)
    )
    with Image.open(folder / "figures/validation_curve.png") as picture:
        assert picture.size[0] > 600
    assert "is too low on average" in said
    kinds = ["best of 12" if row == best else "one trial" for row in range(12)]
    assert found["sweep"]["trials"]["interval_for"] == kinds
    assert [row["interval_for"] for row in rows] == kinds
    page = (folder / "report.html").read_text()
    for shown in (said, page):
        assert "best of 12" in shown
        assert "one trial" in shown
        assert "allows for the choice among 12 trials" in shown
    assert {"index", "label", "prediction", "confidence"} == set(found["hard_examples"][0])
    chosen = jaxnet.restore(folder / "params")
    error = jaxnet.evaluate(jaxnet.mlp((16,)), chosen, digits.test).error.estimate
    assert error == pytest.approx(found["error"]["test"]["estimate"])
    assert (
        "finished already" in run_here(*SWEEP, "--out", folder, "--resume", script="sweep").stdout
    )


def test_the_network_that_a_sweep_chose_is_not_judged_on_what_chose_it(swept):
    folder, said = swept
    found = result(folder)
    reason = "the validation set was used to choose the network or its epoch"
    assert found["error"]["validation"]["low"] is None
    assert found["error"]["validation"]["refused"].startswith(reason)
    assert set(found["scores"]) == {"test"}
    assert f"No interval: {reason}" in said
    assert f"No interval: {reason}" in (folder / "report.html").read_text()
    gap = next(each["size"] for each in found["findings"] if each["code"] == "high_variance")
    errors = {part: each["estimate"] for part, each in found["error"].items()}
    assert gap["estimate"] == pytest.approx(errors["test"] - errors["train"])


@pytest.mark.usefixtures("hearing")
def test_a_sweep_that_was_stopped_continues_to_the_same_end(swept, tmp_path):
    folder = tmp_path / "run"
    long = (*SWEEP[:2], "40", *SWEEP[3:])
    run_here(*long, "--out", tmp_path / "whole", script="sweep")
    process = subprocess.Popen(
        command(*long, "--out", folder, script="sweep"),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    log = folder / "members/log.txt"
    while process.poll() is None and not (log.exists() and "group" in log.read_text()):
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "stopped by SIGTERM with" in said
    assert f"--resume and --out {os.path.relpath(folder, ROOT)}" in said
    run_here(*long, "--out", folder, "--resume", script="sweep")
    a, b = (json.loads((each / "result.json").read_text()) for each in (tmp_path / "whole", folder))
    assert b.pop("resumed") != a.pop("resumed")
    a.pop("seconds"), b.pop("seconds")
    assert a == b


def test_the_spread_over_seeds(tmp_path):
    run_here(
        *FAST,
        "--hidden",
        "16",
        "--members",
        "5",
        "--difference",
        "0.01",
        "--out",
        tmp_path / "run",
        script="seeds",
    )
    found = result(tmp_path / "run")
    kinds = found["seeds"]["kinds"]
    assert [len(kind["errors"]) for kind in kinds.values()] == [5, 5, 5]
    assert all(
        kind["deviation"]["low"] < kind["deviation"]["estimate"] < kind["deviation"]["high"]
        for kind in kinds.values()
    )
    # The first member of each kind has the same keys: it is the same network.
    assert len({kind["errors"][0] for kind in kinds.values()}) == 1
    assert found["error"]["test"]["estimate"] == pytest.approx(kinds["all luck"]["errors"][0])
    assert found["seeds"]["needed"]["estimate"] >= 2
    assert (tmp_path / "run/figures/spread.png").exists()


def test_a_learning_curve(tmp_path, refused):
    options = (
        *FAST,
        "--hidden",
        "16",
        "--members",
        "5",
        "--sizes",
        "40",
        "80",
        "160",
        "320",
        "640",
        "1258",
        "--target-error",
        "0.01",
    )
    said = run_here(*options, "--out", tmp_path / "run", script="learning_curve").stdout
    found = result(tmp_path / "run")
    curve = found["learning_curve"]
    assert np.shape(curve["errors"]) == (6, 5)
    assert curve["at"] == [2516, 5032, 10064]
    assert curve["needed"]["horizon"] == 14215
    assert found["verdict"] in said.splitlines()
    # the network of the folder
    assert found["error"]["test"]["estimate"] == pytest.approx(curve["errors"][-1][0])
    assert [each["code"] for each in found["findings"]] in (
        ["more_data_helps"],
        ["more_data_will_not_help"],
    )
    assert (tmp_path / "run/figures/learning_curve.png").exists()
    too_large = (*FAST, "--sizes", "2000", "--out", tmp_path / "bad")
    assert "the largest size is 2,000" in refused(*too_large, script="learning_curve").err


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("learning_rate", "give name=low:high or name=value,value"),
        ("learning_rate=1:x", "'x' is not a number"),
        ("learning_rate=1:2:cubic", "the scale is 'cubic'; give log or linear"),
        ("epochs=3:9", "epochs is a whole number; give some values instead, epochs=3,9"),
        (
            "learning_rat=1e-3:1",
            "unknown hyperparameter 'learning_rat'; did you mean 'learning_rate'?",
        ),
        ("dropout=0:1.5", "dropout is 1.0; give a finite number from 0 to below 1"),
        ("learning_rate=0:1", "on a logarithmic scale; give a positive number"),
        ("optimizer=adam,adan", "unknown optimizer 'adan'"),
    ],
)
def test_bad_spaces_have_a_message(tmp_path, space, message, refused):
    options = ("--no-cache", "--space", space, "--trials", "4", "--out", tmp_path / "run")
    assert message in refused(*options, script="sweep").err
    assert not (tmp_path / "run").exists()


def test_asking_and_telling(tmp_path):
    pytest.importorskip("optuna", reason="optuna is not installed")
    done = run(
        "--rounds", "2", "--batch", "4", "--epochs", "2", "--hidden", "8", script="ask_and_tell"
    )
    assert "round 2/2: lowest validation loss" in done.stdout
    assert "chosen by validation loss among 8" in done.stdout


def test_members_are_diagnosed_and_resumed(tmp_path):
    options = (*FAST, "--hidden", "8", "--members", "3", "--out", tmp_path / "run")
    done = run(*options, script="digits")
    found = result(tmp_path / "run")
    for words in (
        "3 on all 1,258",
        "avoidable bias",
        "generalization gap (variance)",
        "3 networks are too few for folds",
        found["verdict"][:30],
    ):
        assert words in done.stdout
    assert found["members"] == 3
    assert found["verdict"] == found["diagnosis"]["verdict"]
    assert found["error"] == found["diagnosis"]["errors"]
    assert found["accuracy"]["test"]["estimate"] == pytest.approx(
        1 - found["error"]["test"]["estimate"]
    )
    assert [parts["design"] for parts in found["diagnosis"]["decompositions"]] == [
        "seeds",
        "partition",
        "partition",
    ]
    codes = {finding["code"] for finding in found["findings"]}
    assert codes & {"high_bias", "high_variance", "mismatch"} == {"high_bias", "high_variance"}
    assert (tmp_path / "run/figures/diagnosis.png").exists()
    assert all(
        words in html.unescape((tmp_path / "run/report.html").read_text())
        for words in found["verdict"].split(": ")
    )
    assert len(found["hard_examples"]) == 50
    assert "finished already" in run_here(*options, "--resume", script="digits").stdout
    again = tmp_path / "again"
    run_here(*FAST, "--hidden", "8", "--members", "3", "--out", again, script="digits")
    assert {k: v for k, v in result(again).items() if k != "seconds"} == {
        k: v for k, v in found.items() if k != "seconds"
    }


def test_members_are_cross_fitted_and_one_more_is_kept(tmp_path):
    """Training and validation set are one pool, on which the network in the folder was trained."""
    out = tmp_path / "run"
    done = run_here(*FAST, "--hidden", "8", "--members", "9", "--out", out, script="digits")
    found = result(out)
    assert found["design"] == "cross-fitted"
    assert found["members"] == 8
    assert found["dataset"]["test_source"] == "random"
    assert found["dataset"]["examples"] == {"train": 1438, "test": 359}
    assert found["diagnosis"]["examples"] == {"train": 1438, "validation": 1438, "test": 359}
    assert found["diagnosis"]["folds"]["folds"] == 4
    words = " ".join(done.stdout.split())
    assert "8 of 9 networks are trained: 4 folds times 2 seeds leave 1 over" in words
    assert "standardization uses the mean and scale of the 1,438 examples" in words
    assert "mismatch" not in words
    kept = jaxnet.restore(out / "params")
    judged = jaxnet.evaluate(jaxnet.mlp((8,)), kept, jaxnet.load("digits").test)
    assert found["error"]["test"]["estimate"] == pytest.approx(judged.error.estimate)
    assert found["error"]["validation"]["estimate"] > found["error"]["train"]["estimate"]
    assert set(found["scores"]) == {"validation", "test"}
    assert found["diagnosis"]["other_methods"]
    unseen = read_unseen_losses(out)
    assert (unseen.folds, unseen.networks, unseen.losses.shape) == (4, 8, (2, 1438))
    assert unseen.fit.rate("unseen").low == pytest.approx(found["error"]["validation"]["low"])
    with (out / "history.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    error = 1 - float(last["validation_accuracy"])  # of the networks of the folds
    assert error == pytest.approx(found["error"]["validation"]["estimate"], abs=2e-3)


def test_bias_and_variance_along_an_axis(tmp_path):
    options = (
        *FAST,
        "--vary",
        "width",
        "--values",
        "2",
        "16",
        "--hidden",
        "4",
        "--members",
        "4",
        "--examples",
        "300",
    )
    done = run_here(*options, "--out", tmp_path / "run", script="bias_variance")
    found = result(tmp_path / "run")["bias_variance"]
    assert [each["value"] for each in found["values"]] == [2, 16]
    # 4 x 300 of 1,258: no two share an example
    assert {each["design"] for each in found["values"]} == {"fresh"}
    for each in found["values"]:
        for loss in ("zero_one_kohavi_wolpert", "cross_entropy", "brier"):
            parts = {name: each[loss][name]["estimate"] for name in ("loss", "bias", "variance")}
            assert parts["bias"] + parts["variance"] == pytest.approx(parts["loss"])
    assert "variance is largest at width" in done.stdout
    assert (tmp_path / "run/figures/bias_variance.png").exists()


def test_bias_and_variance_of_a_recipe_with_wrong_labels(tmp_path):
    run_here(
        *FAST,
        "--vary",
        "label-noise",
        "--values",
        "0",
        "0.5",
        "--members",
        "8",
        "--hidden",
        "16",
        "--out",
        tmp_path / "run",
        script="bias_variance",
    )
    clean, noisy = result(tmp_path / "run")["bias_variance"]["values"]
    assert (clean["design"], clean["parts"], clean["members"]) == ("partition", 4, 8)
    assert (
        noisy["zero_one_kohavi_wolpert"]["loss"]["estimate"]
        > clean["zero_one_kohavi_wolpert"]["loss"]["estimate"]
    )
    assert noisy["training_error"]["estimate"] > clean["training_error"]["estimate"]


BAD_STUDIES = [
    (("--vary", "width", "--values", "0.5"), "width takes whole numbers"),
    (("--vary", "label-noise", "--values", "2"), "a share of labels is from 0 to 1"),
    (("--examples", "1000"), "give at most half of them"),
    (("--pool", "3"), "--pool 3 does not divide inputs of shape (8, 8)"),
    (("--members", "1"), "variance needs at least 2"),
]


@pytest.mark.parametrize(("options", "message"), BAD_STUDIES)
def test_a_study_that_cannot_be_is_refused(tmp_path, options, message, refused):
    out = ("--out", tmp_path / "run")
    assert message in refused(*FAST, *options, *out, script="bias_variance").err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("here", [True, False])
def test_the_package_says_what_there_is(here, tmp_path):
    environment = (
        ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
        if here
        else {k: v for k, v in ENVIRONMENT.items() if k != "PYTHONPATH"}
    )
    done = subprocess.run(
        [sys.executable, "-m", "jaxnet"],
        capture_output=True,
        text=True,
        cwd=ROOT if here else tmp_path,
        env=environment,
        check=True,
    )
    assert done.stderr == ""
    names = [path.stem for path in (ROOT / "jaxnet/cli/commands").glob("[!_]*.py")]
    assert all(f"  jaxnet {name.replace('_', '-')} " in done.stdout for name in names)
    assert "to start, a few seconds: jaxnet digits\n" in done.stdout
    if here:
        assert "  python -m experiments.ask_and_tell\n" in done.stdout

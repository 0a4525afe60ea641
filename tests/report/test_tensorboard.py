"""Logs for TensorBoard, read by TensorBoard itself."""

import importlib.util
import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from scripts import result, run_here

import jaxnet
from jaxnet.core.signals import blank_signals
from jaxnet.engine.loop import Pace
from jaxnet.report import figures, tensorboard

pytest.importorskip("tensorboardX", reason="tensorboardX, which writes the logs, is not installed")
event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="TensorBoard, which reads the logs, is not installed",
)
RECIPE = jaxnet.Recipe(
    epochs=6,
    batch_size=64,
    learning_rate=3e-3,
    augmentation=jaxnet.Augmentation(noise=0.1),
    schedule="constant",
)
MODEL = jaxnet.mlp((16,))


def read(folder):
    found = event_accumulator.EventAccumulator(
        str(folder), size_guidance={"scalars": 0, "images": 0}
    )
    found.Reload()
    return found


def curve(folder, name):
    events = read(folder).Scalars(name)
    return [event.step for event in events], [event.value for event in events]


@pytest.fixture(scope="module")
def trained(digits):
    return jaxnet.fit(MODEL, digits, RECIPE, jax.random.key(0))


def test_curves_hyperparameters_and_metrics_of_a_run(trained, digits, tmp_path):
    tensorboard.write(tmp_path, trained, {"test": jaxnet.evaluate(MODEL, trained, digits.test)})
    for part, name, column in (
        ("training", "loss", "train_loss"),
        ("validation", "accuracy", "validation_accuracy"),
    ):
        steps, values = curve(tmp_path / part, name)
        assert steps == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose(values, getattr(trained.history, column), rtol=1e-6)
    found = read(tmp_path / "result")
    assert found.Scalars("error/test")[0].value == pytest.approx(
        float(jaxnet.evaluate(MODEL, trained, digits.test).error)
    )
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["model"].string_value == MODEL.name
    assert settings["optimizer"].string_value == "adam"
    assert settings["learning_rate"].number_value == 3e-3
    assert settings["noise"].number_value == 0.1
    assert "dropout" not in settings


def test_a_run_written_twice_is_there_once(trained, tmp_path):
    for _ in range(2):
        tensorboard.write(tmp_path, trained)
    assert curve(tmp_path / "training", "loss")[0] == [1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "result").exists()


class Killed(Exception):
    """What ends the training below at once, as SIGKILL would."""


def test_epochs_are_there_as_they_end_and_once_after_a_kill(digits, tmp_path):
    """Epochs 2 to 4 were written, but no checkpoint is of them: after the kill they are trained
    and written again.
    """
    out, logs = tmp_path / "run", tmp_path / "logs"
    key, seen = jax.random.key(0), []

    def kill(done, row):
        log(done, row)
        if done == 4:
            raise Killed

    once = Pace(checkpoint_share=0.0)
    with pytest.raises(Killed), tensorboard.live(logs) as log:
        jaxnet.train(MODEL, digits, RECIPE, key, out=out, progress=kill, pace=once)
    assert curve(logs / "training", "loss")[0] == [1, 2, 3, 4]
    with tensorboard.live(logs) as log:
        run = jaxnet.train(
            MODEL,
            digits,
            RECIPE,
            key,
            out=out,
            progress=lambda done, row: (seen.append(done), log(done, row)),
        )
    assert seen == [1, 2, 3, 4, 5, 6]
    for part, name, column in (
        ("training", "accuracy", "train_accuracy"),
        ("validation", "loss", "validation_loss"),
    ):
        steps, values = curve(logs / part, name)
        assert steps == [1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose(values, getattr(run.history, column), rtol=1e-6)


def test_the_option_adds_logs_and_changes_nothing_else(tmp_path):
    options = ("--no-cache", "--epochs", "3", "--hidden", "8")
    run_here(*options, "--out", tmp_path / "without")
    run_here(*options, "--tensorboard", "--out", tmp_path / "with")
    a, b = (result(tmp_path / name) for name in ("without", "with"))
    a.pop("seconds"), b.pop("seconds")
    assert a == b
    assert json.loads((tmp_path / "with/run.json").read_text()) == json.loads(
        (tmp_path / "without/run.json").read_text()
    )
    assert not (tmp_path / "without/tensorboard").exists()
    logs = tmp_path / "with/tensorboard"
    steps, values = curve(logs / "validation", "accuracy")
    rows = (tmp_path / "with/history.csv").read_text().split()[1:]
    assert [f"{step},{value:.4f}" for step, value in zip(steps, values, strict=True)] == [
        f"{row.split(',')[0]},{float(row.split(',')[4]):.4f}" for row in rows
    ]
    found = read(logs / "result")
    assert found.Scalars("error/test")[0].value == pytest.approx(b["error"]["test"]["estimate"])
    assert "confusion" in found.Tags()["images"]


def test_members_have_logs_of_their_own(tmp_path):
    run_here(
        "--no-cache",
        "--epochs",
        "2",
        "--hidden",
        "8",
        "--members",
        "3",
        "--tensorboard",
        "--out",
        tmp_path / "run",
        script="digits",
    )
    logs = tmp_path / "run/tensorboard"
    curves = [
        curve(folder / "training", "loss")
        for folder in (logs, logs / "member-1", logs / "member-2")
    ]
    assert all(steps == [1, 2] for steps, _ in curves)
    assert len({values[0] for _, values in curves}) == 3


def test_signals_of_a_run_are_written_and_drawn(trained, tmp_path):
    """Two of three steps were taken, and the second layer has no ReLU."""
    blank = blank_signals(1, 2, 3)
    taken = blank._replace(
        step=np.array([[0], [20], [-1]]),
        loss=np.array([[2.5], [1.5], [np.nan]], np.float32),
        gradient_norm=np.array([[[1, 2]], [[3, 4]], [[np.nan, np.nan]]], np.float32),
        dead_units=np.array([[[0.25, np.nan]], [[0.5, np.nan]], [[np.nan, np.nan]]], np.float32),
    )
    run = replace(
        trained, history=trained.history._replace(signals=taken), layers=("hidden_0", "output")
    )
    tensorboard.write(tmp_path, run)
    assert curve(tmp_path / "signals", "gradient_norm/output") == ([0, 20], [2, 4])
    assert curve(tmp_path / "signals", "dead_units/hidden_0") == ([0, 20], [0.25, 0.5])
    assert curve(tmp_path / "signals", "batch_loss") == ([0, 20], [2.5, 1.5])
    names = read(tmp_path / "signals").Tags()["scalars"]
    assert sorted(names) == [
        "batch_loss",
        "dead_units/hidden_0",
        "gradient_norm/hidden_0",
        "gradient_norm/output",
    ]
    figures.signals(taken, run.layers, tmp_path / "signals.png")
    drawn = (tmp_path / "signals.svg").read_text()
    assert "size of the gradient" in drawn
    assert "dead units, %" in drawn
    assert "saturated outputs" not in drawn  # none of the layers has them


def test_without_the_package_the_message_says_what_to_install(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        jaxnet.InputError,
        match="need the package tensorboardX, which is not installed: pip install tensorboardX",
    ):
        tensorboard.write(tmp_path / "logs", trained)
    assert not (tmp_path / "logs").exists()

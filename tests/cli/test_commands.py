"""The installed command: what it runs, which words it takes, and the page of a finished run."""

import importlib
import os
import re
import tomllib
from pathlib import Path

import pytest

from jaxnet import InputError
from jaxnet.cli import commands, run_folder, runner
from jaxnet.cli.command import command_again
from jaxnet.cli.options import TrainOptions, read

ROOT = Path(__file__).parents[2]
NAMES = sorted(commands.questions())


def test_the_command_that_is_installed_runs_the_package():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["jaxnet"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert {"train", "diagnose", "predict", "report", "sweep", "learning-curve", "labels"} < {
        *NAMES
    }
    assert {"shift", "compare", "bias-variance"} < {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_command_shows_its_own_name_and_out(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        commands.run(name, ["--help"], began=0.0)
    assert not ended.value.code
    assert f"usage: jaxnet {name} " in capsys.readouterr().out


def test_scripts_run_the_command_of_their_name():
    for path in (ROOT / "experiments").glob("[!_]*.py"):
        told = re.search(r'run\("(\w+)", program="python -m experiments\.(\w+)"', path.read_text())
        assert path.stem == "ask_and_tell" or (told is not None and {*told.groups()} == {path.stem})


def test_the_first_word_may_be_the_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "predictions").write_text("")
    for words in ([], ["--label", "y"]):
        assert runner.with_dataset(words, "jaxnet train") == words
        for name in ("my.csv", "digits", "predictions"):
            assert runner.with_dataset([name, *words], "") == ["--dataset", name, *words]
    with pytest.raises(InputError, match="jaxnet train: unknown command 'predictt'; did you mean"):
        runner.with_dataset(["predictt"], "jaxnet train")


def test_a_result_says_how_to_compute_it_again():
    words = ["my rows.csv", "--label", "kind", "--out", "a", "--data_dir=d", "--no-cache", "--json"]
    words += ["--hidden", "8", "4", "--resume", "--fail-on", "shift", "--balance"]
    assert command_again("jaxnet diagnose", words) == (
        "jaxnet diagnose 'my rows.csv' --label kind --data_dir=d --hidden 8 4 --balance"
    )


def test_the_newest_finished_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"there is no finished run in .*runs; give the folder"):
        run_folder.newest_finished()
    for age, (name, file) in enumerate(
        [("new", "result.json"), ("old", "result.json"), ("unfinished", "run.json")]
    ):
        path = tmp_path / "runs" / name / file
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        os.utime(path, (1e9 - age, 1e9 - age))
    assert run_folder.newest_finished() == Path("runs/new")


def test_signals_of_a_training_set_on_disk_are_refused(tmp_path):
    options = TrainOptions(dataset=str(tmp_path), stream=True, signals=16)
    with pytest.raises(InputError, match="--signals needs all of it in memory"):
        read(options)

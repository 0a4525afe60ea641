"""What `pip install` of the built wheel gives: the commands, in an empty folder without a checkout.

The quick twin, of the same commands in this process, is test_commands.py.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from experiments.benchmarks.ordinary_tables import patients
from jaxnet.cli import commands

ROOT = Path(__file__).parents[2]
QUICK = ("--epochs", "2")


def done(*words, cwd, **environment):
    """Run a program to its end, and return what it said on standard output."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program = subprocess.run(
        [*map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=own | environment,
        check=False,
    )
    assert program.returncode == 0, program.stdout + program.stderr
    assert "Traceback" not in program.stdout + program.stderr
    return program.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A function that runs a program of a new environment, in an empty folder, with jaxnet from its
    wheel and all other packages from the environment of the tests.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source, empty, environment = (folder / name for name in ("source", "empty", "environment"))
    empty.mkdir()
    shutil.copytree(ROOT / "jaxnet", source / "jaxnet")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip"]
    done(*pip, "wheel", "-q", "--no-deps", "-w", folder, source, cwd=folder)
    venv.create(environment, symlinks=True)
    programs = environment / "bin"
    (wheel,) = folder.glob("jaxnet-*.whl")
    into = ["--python", programs / "python", "install", "-q", "--no-deps", wheel]
    done(*pip, *into, cwd=folder)
    (packages,) = environment.glob("lib/python*/site-packages")
    # one line of a .pth is one place to look in; the .pth files there, such as one that leads to a
    # checkout, are not read
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))

    def run(program, *words):
        return done(
            programs / program,
            *words,
            cwd=empty,
            COLUMNS="150",
            MPLBACKEND="Agg",
            PYTHONSAFEPATH="1",
        )

    where = run("python", "-c", "import jaxnet; print(jaxnet.__file__)")
    assert where.strip() == str(packages / "jaxnet/__init__.py")
    run("python", "-c", "import importlib.util as u; assert u.find_spec('experiments') is None")
    patients(0).write(empty / "file.csv")
    return run


@pytest.mark.slow
def test_look_train_diagnose_predict_and_report(installed):
    assert "8 columns -> 14 inputs" in installed("jaxnet", "look", "file.csv", "--label", "outcome")
    given = ("file.csv", "--label", "outcome", *QUICK)
    assert "groups: 'patient_id'" in installed("jaxnet", "train", *given, "--out", "a")
    said = installed("jaxnet", "diagnose", *given, "--out", "runs/b")
    assert "of 16 networks, 8 folds x 2 seeds" in said
    rows = installed("jaxnet", "predict", "--run", "a", "file.csv").splitlines()
    assert len(rows) == 301
    assert "written to runs/b/report.html" in installed("jaxnet", "report")
    again = installed("python", "-m", "jaxnet", "predict", "--run", "a", "file.csv")
    assert again.splitlines() == rows


@pytest.mark.slow
def test_every_command_is_there_and_a_study_runs(installed):
    said = installed("jaxnet")
    assert installed("python", "-m", "jaxnet") == said
    for name in commands.questions():
        assert f"\n  jaxnet {name} " in said
        assert f"usage: jaxnet {name} " in installed("jaxnet", name, "--help")
    given = ("--dataset", "file.csv", "--label", "outcome", *QUICK)
    assert "written to c" in installed("jaxnet", "labels", *given, "--members", "12", "--out", "c")

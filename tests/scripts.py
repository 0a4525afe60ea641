"""Runs of the scripts in experiments/, in processes of their own or in this one."""

import contextlib
import functools
import gc
import importlib.util
import io
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from unittest import mock

from conftest import CACHE

from jaxnet import cli

ROOT = Path(__file__).parents[1]
FAST = ("--no-cache", "--epochs", "3")
ENVIRONMENT = {
    **os.environ,
    "PYTHONWARNINGS": "error",
    "JAX_COMPILATION_CACHE_DIR": str(CACHE),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "COLUMNS": "150",
    "TFDS_DATA_DIR": "none",
}


def command(*arguments, script="train"):
    return [sys.executable, "-m", f"experiments.{script}", *map(str, arguments)]


def run(*arguments, script="train", cwd=ROOT, status=0):
    environment = ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command(*arguments, script=script),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    check_result(arguments, cwd)
    return done


def run_here(*arguments, script="train", status=0):
    """The same in this process, which has imported and compiled most of it already, for a third of
    the time: where a test asks for what is said and written, not for the process.
    """
    words, said, errors = [script, *map(str, arguments)], io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, COLUMNS="150", TFDS_DATA_DIR="none"),
        mock.patch.object(sys, "argv", words),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(errors),
    ):
        ended = 0
        try:
            runpy.run_path(str(ROOT / f"experiments/{script}.py"), run_name="__main__")
        except SystemExit as end:
            ended = end.code or 0
    gc.unfreeze()  # what a script that ends need not walk over
    done = subprocess.CompletedProcess(words, ended, said.getvalue(), errors.getvalue())
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    check_result(arguments, Path.cwd())
    return done


@functools.cache
def validator():
    """What validates the content of a result.json."""
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(cli.schema())
    return Draft202012Validator(cli.schema())


def check_result(arguments, cwd):
    """The result.json that a command wrote, whichever it was, must follow the schema."""
    words = [str(word) for word in arguments]
    if "--out" in words and importlib.util.find_spec("jsonschema"):  # an extra of development
        path = Path(cwd, words[words.index("--out") + 1], "result.json")
        if path.exists() and "schema_version" in (found := json.loads(path.read_text())):
            validator().validate(found)


def result(folder):
    return json.loads((folder / "result.json").read_text())

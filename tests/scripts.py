"""Runs of the scripts in experiments/, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import CACHE

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
    return done


def result(folder):
    return json.loads((folder / "result.json").read_text())

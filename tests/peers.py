"""Several processes that train together."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from conftest import CACHE

ENVIRONMENT = os.environ | {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(CACHE),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(work: str, count: int, *arguments: object) -> list[subprocess.Popen]:
    """So many processes with this code; each is given its number, their number, a port and the
    arguments.
    """
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, "-c", work, *map(str, (i, count, port, *arguments))],
            env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i in range(count)
    ]  # fmt: skip


def end(workers: list[subprocess.Popen]) -> None:
    for worker in workers:
        out, said = worker.communicate(timeout=120)
        assert worker.returncode == 0, out + said
        assert "WARNING" not in said
        assert "recoverable" not in said


def numbers(out: Path, process: str = "") -> dict[str, np.ndarray]:
    with np.load(out / f"result{process}.npz") as file:
        return dict(file)


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    """Up to the order of sums in float32."""
    for name in wanted.keys() - {"began"}:
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=2e-6)

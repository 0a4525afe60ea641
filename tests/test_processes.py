"""Several processes on this machine, by JAX's own runtime over loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxnet.errors import InputError
from jaxnet.processes import join

WORK = """
import sys, jax, numpy as np, jaxnet
from jaxnet import processes
process, count, port, out, pause = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], float(sys.argv[5])
jaxnet.use_cpu_devices(1)
if count > 1:
    assert processes.join(f"127.0.0.1:{port}", count, process)
import time
splits = jaxnet.load("digits")
recipe = jaxnet.Recipe(epochs=8, batch_size=64, learning_rate=3e-3, dropout=0.1)
began = []
def watch(done, row):
    began.append(done)
    if done:
        time.sleep(pause)
        print("epoch", done, flush=True)
plan = jaxnet.Plan(processes=count)
run = jaxnet.train(jaxnet.mlp((16,)), splits, recipe, jax.random.key(0), out=out + "/run", plan=plan, watch=watch)
jaxnet.save(run, out + "/saved")
if process == 0:
    np.savez(out + "/result.npz", *jax.tree.leaves(run.params), began=began[0], loss=np.asarray(run.history.train_loss))
found = processes.gather(np.full((process + 1, 2), process, np.int64) + 2**40)
assert found.tolist() == [[2**40 + p] * 2 for p in range(count) for _ in range(p + 1)], found
assert processes.once(lambda: {"of": process}) == {"of": 0}
assert processes.agreed(process == count - 1, False) == [True, False]
processes.leave()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def begin(count: int, out: Path, pause: float = 0.0) -> list[subprocess.Popen]:
    port, environment = str(free_port()), os.environ | {"JAX_PLATFORMS": "cpu"}
    out.mkdir(exist_ok=True)
    return [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(i), str(count), port, str(out), str(pause)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i in range(count)
    ]  # fmt: skip


def end(workers: list[subprocess.Popen]) -> None:
    for worker in workers:
        out, said = worker.communicate(timeout=120)
        assert worker.returncode == 0, out + said
        assert "WARNING" not in said
        assert "recoverable" not in said


def numbers(out: Path) -> dict[str, np.ndarray]:
    with np.load(out / "result.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict[str, np.ndarray]:
    out = tmp_path_factory.mktemp("alone")
    end(begin(1, out))
    return numbers(out)


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    """Up to the order of sums in float32."""
    for name in wanted.keys() - {"began"}:
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=2e-6)


@pytest.mark.parametrize("count", [2, 4])
def test_a_batch_split_over_processes_trains_the_same_network(count, alone, tmp_path):
    end(begin(count, tmp_path))
    assert_same(numbers(tmp_path), alone)
    assert (tmp_path / "saved").is_dir()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_others_name_a_lost_process_and_fewer_go_on(how, alone, tmp_path):
    workers = begin(2, tmp_path, pause=0.7)
    for line in workers[0].stdout:
        if line.startswith("epoch 3"):
            break
    workers[1].send_signal(how)
    began = time.monotonic()
    _, said = workers[0].communicate(timeout=60)
    took = time.monotonic() - began
    workers[1].kill()
    workers[1].communicate()
    assert workers[0].returncode == 1, said
    assert took < 60
    assert f"process 1 of 2 ({socket.gethostname()}, pid {workers[1].pid}) died, or cannot be reached" in said
    end(begin(1, tmp_path))
    assert numbers(tmp_path)["began"] >= 1
    assert_same(numbers(tmp_path), alone)


def test_a_process_that_fails_tells_the_others(tmp_path):
    workers, port = [], str(free_port())
    code = """
import sys, time, jaxnet
from jaxnet import processes
jaxnet.use_cpu_devices(1)
processes.join(f"127.0.0.1:{sys.argv[2]}", 2, int(sys.argv[1]))
if sys.argv[1] == "1":
    raise ValueError("no such column")
time.sleep(60)
"""
    for i in range(2):
        command = [sys.executable, "-c", code, str(i), port]
        workers.append(subprocess.Popen(command, env=os.environ | {"JAX_PLATFORMS": "cpu"}, stderr=subprocess.PIPE, text=True))
    said = [worker.communicate(timeout=50)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [1, 1], said
    assert "stopped: ValueError: no such column" in said[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"processes": 2}, "need --coordinator"),
        ({"coordinator": "127.0.0.1:1", "processes": 2}, "process None of 2"),
        ({"coordinator": "127.0.0.1:1", "processes": 2, "process_id": 2}, "process 2 of 2"),
    ],
)
def test_bad_addresses_are_refused(given, words):
    with pytest.raises(InputError, match=words):
        join(**given)


def test_no_others_are_looked_for_where_nothing_says_so(monkeypatch):
    for name in ("SLURM_STEP_NODELIST", "OMPI_COMM_WORLD_SIZE", "JAX_COORDINATOR_ADDRESS", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(name, raising=False)
    assert not join()
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "1")
    assert not join()


@pytest.mark.parametrize("cluster", ["slurm", "ompi"])
def test_the_environment_of_a_cluster_is_enough(cluster):
    """As JAX reads it: the variables of srun and of mpirun, on this machine."""
    job = free_port() - (65535 - 2**12 + 1)
    code = """
import os, sys, jax, jaxnet
from jaxnet import processes
jaxnet.use_cpu_devices(1)
assert processes.join()
print(jax.process_index(), jax.process_count())
processes.leave()
"""
    workers = []
    for i in range(2):
        if cluster == "slurm":
            more = {
                "SLURM_JOB_ID": str(job % 2**12),
                "SLURM_STEP_NODELIST": "localhost",
                "SLURM_NTASKS": "2",
                "SLURM_PROCID": str(i),
                "SLURM_LOCALID": str(i),
            }
        else:
            more = {
                "OMPI_MCA_orte_hnp_uri": f"{job % 2**12 * 2**12}.0;tcp://127.0.0.1:34911",
                "OMPI_COMM_WORLD_SIZE": "2",
                "OMPI_COMM_WORLD_RANK": str(i),
                "OMPI_COMM_WORLD_LOCAL_RANK": str(i),
            }
        workers.append(
            subprocess.Popen(
                [sys.executable, "-c", code],
                env=os.environ | {"JAX_PLATFORMS": "cpu"} | more,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for i, worker in enumerate(workers):
        out, said = worker.communicate(timeout=120)
        assert worker.returncode == 0, said
        assert f"{i} 2" in out

"""Several processes on this machine, by JAX's own runtime over loopback."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from peers import ENVIRONMENT, assert_same, end, free_port, numbers, start

from jaxnet import restore
from jaxnet.engine.agreement import check_agreement, disagreement
from jaxnet.errors import InputError
from jaxnet.population.checkpoint import Part
from jaxnet.population.scheduler import dealt as dealt_to
from jaxnet.runtime.processes import join

WORK = """
import sys, jax, numpy as np, jaxnet
from jaxnet.runtime import processes

process, count, port, out, pause = (
    int(sys.argv[1]),
    int(sys.argv[2]),
    sys.argv[3],
    sys.argv[4],
    float(sys.argv[5]),
)
jaxnet.use_cpu_devices(1)
if count > 1:
    assert processes.join(f"127.0.0.1:{port}", count, process, silence=10)
import time

splits = jaxnet.load("digits")
recipe = jaxnet.Recipe(epochs=8, batch_size=64, learning_rate=3e-3, dropout=0.1)
began = []


def progress(done, row):
    began.append(done)
    if done:
        time.sleep(pause)
        print("epoch", done, flush=True)


plan = jaxnet.Plan(processes=count)
run = jaxnet.train(
    jaxnet.mlp((16,)),
    splits,
    recipe,
    jax.random.key(0),
    out=out + "/run",
    plan=plan,
    progress=progress,
)
jaxnet.save(run, out + "/saved")
if process == 0:
    np.savez(
        out + "/result.npz",
        *jax.tree.leaves(run.params),
        began=began[0],
        loss=np.asarray(run.history.train_loss),
    )
found = processes.gather(np.full((process + 1, 2), process, np.int64) + 2**40)
assert found.tolist() == [[2**40 + p] * 2 for p in range(count) for _ in range(p + 1)], found
assert processes.once(lambda: {"of": process}) == {"of": 0}
assert processes.any_process(process == count - 1, False) == [True, False]
processes.leave()
"""

POPULATION = """
import sys, jax, numpy as np, jaxnet
from jaxnet.runtime import processes

process, count, port, out, pause = (
    int(sys.argv[1]),
    int(sys.argv[2]),
    sys.argv[3],
    sys.argv[4],
    float(sys.argv[5]),
)
jaxnet.use_cpu_devices(1 if count > 1 else None)
if count > 1:
    assert processes.join(f"127.0.0.1:{port}", count, process, silence=10)
import time
from jaxnet.population.scheduler import Schedule

splits = jaxnet.load("digits")
recipe = jaxnet.Recipe(
    epochs=8,
    batch_size=64,
    learning_rate=np.geomspace(1e-4, 1e-2, 9).astype(np.float32),
    dropout=0.1,
)
models = [jaxnet.mlp((16,))] * 6 + [jaxnet.mlp((8, 8))] * 2 + [jaxnet.linear()]


def progress(now):
    time.sleep(pause)
    if now.epoch:
        print("epoch", now.epoch, flush=True)


keys, halving = jax.random.split(jax.random.key(0), 9), jaxnet.Halving((2, 5), keep=1 / 2)
population = jaxnet.fit_population(
    models,
    splits,
    recipe,
    keys,
    halving=halving,
    out=out + "/run",
    progress=progress,
    schedule=Schedule(call_seconds=0.0),  # one epoch per call
)
leaves = [leaf for run in population.runs for leaf in jax.tree.leaves((run.params, run.best))]
np.savez(
    out + f"/result{'' if process == 0 else process}.npz",
    *leaves,
    epochs=population.epochs,
    test=population.predictions.test,
)
processes.leave()
"""

slow = pytest.mark.slow
# Before, the runtime that loses process 0 ends a process with its own words alone, and nothing can
# be said after.
RUNTIME_ABORTS = tuple(map(int, jax.__version__.split(".")[:2])) >= (0, 10)


def begin(count: int, out: Path, pause: float = 0.0, work: str = WORK) -> list[subprocess.Popen]:
    out.mkdir(exist_ok=True)
    return start(work, count, out, pause)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict[str, np.ndarray]:
    out = tmp_path_factory.mktemp("alone")
    end(begin(1, out))
    return numbers(out)


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=slow)])
def test_a_batch_split_over_processes_trains_the_same_network(count, alone, tmp_path):
    end(begin(count, tmp_path))
    assert_same(numbers(tmp_path), alone)
    assert (tmp_path / "saved").is_dir()


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=slow)])
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
    assert (
        f"process 1 of 2 ({socket.gethostname()}, pid {workers[1].pid}) died, or cannot be reached"
        in said
    )
    end(begin(1, tmp_path))
    assert numbers(tmp_path)["began"] >= 1
    assert_same(numbers(tmp_path), alone)


@pytest.fixture(scope="module")
def population_alone(tmp_path_factory) -> dict[str, np.ndarray]:
    out = tmp_path_factory.mktemp("population")
    end(begin(1, out, work=POPULATION))
    found = numbers(out)
    assert sorted(found["epochs"].tolist()) == [2, 2, 2, 2, 5, 5, 8, 8, 8]
    return found


def assert_same_population(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    """Up to rounding; predictions are kept as float16."""
    np.testing.assert_array_equal(found["epochs"], wanted["epochs"])
    np.testing.assert_allclose(
        found["test"].astype(float), wanted["test"].astype(float), rtol=2e-3, atol=1e-4
    )
    for name in wanted.keys() - {"epochs", "test"}:
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=2e-6)


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=slow)])
def test_members_over_processes_are_the_same_population(count, population_alone, tmp_path):
    """Of three structures, with rungs in between; of 4 processes some have no member after the
    first one.
    """
    end(begin(count, tmp_path, work=POPULATION))
    for process in ("", *map(str, range(1, count))):
        assert_same_population(numbers(tmp_path, process), population_alone)


@slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_population_that_lost_a_process_goes_on_with_one(lost, population_alone, tmp_path):
    workers = begin(2, tmp_path, pause=0.5, work=POPULATION)
    for line in workers[1 - lost].stdout:
        if line.startswith("epoch 3"):
            break
    workers[lost].kill()
    began = time.monotonic()
    _, said = workers[1 - lost].communicate(timeout=60)
    assert time.monotonic() - began < 60
    assert workers[1 - lost].returncode == 1, said
    if lost or RUNTIME_ABORTS:
        assert (
            f"process {lost} of 2 ({socket.gethostname()}, pid {workers[lost].pid}) died, or "
            "cannot be reached" in said
        )
    assert list((tmp_path / "run/state").glob("part-????????"))
    workers[lost].communicate()
    end(begin(1, tmp_path, work=POPULATION))
    assert_same_population(numbers(tmp_path), population_alone)


@pytest.fixture
def two_hosts(tmp_path):
    """Commands that run something on each of two hosts, and one that cuts the wire between them:
    network namespaces.
    """
    if (
        os.name != "posix"
        or os.geteuid() != 0
        or not all(map(shutil.which, ("ip", "unshare", "mount", "hostname")))
    ):
        pytest.skip("network namespaces need Linux's ip, and root")
    # of the namespaces, and of their ends of the wire
    names = [f"j{os.getpid()}{which}" for which in "ab"]
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.9.0.1 hosta\n10.9.0.2 hostb\n")

    def ip(*words: str) -> int:
        return subprocess.run(["ip", *words], capture_output=True, check=False).returncode

    try:
        if any(ip("netns", "add", name) for name in names) or ip(
            "link", "add", names[0], "type", "veth", "peer", "name", names[1]
        ):
            pytest.skip("network namespaces cannot be made here")
        for i, name in enumerate(names):
            ip("link", "set", name, "netns", name)
            ip("-n", name, "addr", "add", f"10.9.0.{i + 1}/24", "dev", name)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", name, "up")
        inside = 'mount --bind "$0" /etc/hosts; hostname "$1"; shift; exec "$@"'
        yield (
            [
                [
                    "ip",
                    "netns",
                    "exec",
                    n,
                    "unshare",
                    "-u",
                    "sh",
                    "-c",
                    inside,
                    str(hosts),
                    f"host{n[-1]}",
                ]
                for n in names
            ],
            ["ip", "-n", names[0], "link", "set", names[0], "down"],
        )
    finally:
        for name in names:
            ip("netns", "del", name)


@slow
def test_a_cut_wire_stops_both_ends_and_each_names_the_other(two_hosts, tmp_path):
    on, cut = two_hosts
    workers = [
        subprocess.Popen(
            [
                *on[i],
                sys.executable,
                "-c",
                WORK.replace("127.0.0.1", "10.9.0.1"),
                str(i),
                "2",
                "4567",
                str(tmp_path),
                "0.5",
            ],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    for line in workers[0].stdout:
        if line.startswith("epoch 2"):
            break
    subprocess.run(cut, check=True)
    began = time.monotonic()
    said = [worker.communicate(timeout=60)[1] for worker in workers]
    assert time.monotonic() - began < 60
    assert [worker.returncode for worker in workers] == [1, 1], said
    for i, host in enumerate("ab") if RUNTIME_ABORTS else [(1, "b")]:
        assert f"process {i} of 2 (host{host}, pid " in said[1 - i]
        assert "died, or cannot be reached" in said[1 - i]


def script(out: Path, *arguments: str, count: int) -> list[subprocess.Popen]:
    """The same command, by so many processes."""
    port, command = (
        free_port(),
        [sys.executable, "-m", "experiments.train", "--no-cache", *arguments, "--out", str(out)],
    )
    return [
        subprocess.Popen(
            [
                *command,
                *(
                    (
                        "--coordinator",
                        f"127.0.0.1:{port}",
                        "--processes",
                        str(count),
                        "--process-id",
                        str(i),
                    )
                    * (count > 1)
                ),
            ],
            env=ENVIRONMENT | {"PYTHONWARNINGS": "error"},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]


def test_a_script_by_two_processes_stopped_and_continued_by_one(tmp_path, hearing):
    """The first one writes and speaks; Ctrl-C of the other stops both, with everything saved."""
    options = ("--epochs", "400", "--hidden", "16")
    workers = script(tmp_path / "run", *options, count=2)
    log = tmp_path / "run/log.txt"
    while not log.exists() or "epoch 3\n" not in log.read_text():
        assert workers[0].poll() is None, workers[0].communicate()
        time.sleep(0.05)
    workers[1].send_signal(signal.SIGINT)
    (said, wrong), (nothing, _) = (worker.communicate(timeout=60) for worker in workers)
    assert {worker.returncode for worker in workers} <= {
        128 + signal.SIGINT,
        128 + signal.SIGTERM,
    }, said + wrong
    assert nothing == ""
    assert "each batch is split over 2 processes" in said
    assert "Gloo" not in said
    assert "continue with the same options, --resume" in said
    for out, more in ((tmp_path / "run", ["--resume"]), (tmp_path / "alone", [])):
        (worker,) = script(out, *options, *more, count=1)
        end([worker])
    assert json.loads((tmp_path / "run/result.json").read_text())["resumed"]["from_epoch"] >= 3
    pairs = zip(
        *(jax.tree.leaves(restore(tmp_path / name / "params").params) for name in ("run", "alone")),
        strict=True,
    )
    assert max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs) < 1e-3


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_members_are_dealt_once_and_evenly(processes):
    parts = [
        Part(0, np.array([4, 2]), 3, False, None, None),
        Part(0, np.arange(10, 33), 0, False, None, None),
    ]
    few = [Part(1, np.array([7]), 0, False, None, None)]
    dealt = [dealt_to({0: parts, 1: few}, i, processes) for i in range(processes)]
    counts = [sum(len(part.members) for part in each.get(0, [])) for each in dealt]
    assert max(counts) - min(counts) <= 1
    for number, of in ((0, parts), (1, few)):
        members = [m for each in dealt for part in each.get(number, []) for m in part.members]
        assert members == [m for part in of for m in part.members]


@pytest.mark.parametrize(
    ("ending", "status", "words"),
    [
        ('raise ValueError("no such column")', 1, "stopped: ValueError: no such column"),
        ('processes.leave("Ctrl-C", asked=True); sys.exit(130)', 130, "stopped: Ctrl-C"),
        pytest.param(
            "os.kill(os.getpid(), signal.SIGTERM)",
            -signal.SIGTERM,
            "died, or cannot be reached",
            marks=slow,
        ),
    ],
)
def test_a_process_that_ends_is_named(ending, status, words, tmp_path):
    """The other one, which waits where no signal is caught, says why, and ends."""
    code = f"""
import os, signal, sys, time, jaxnet
from jaxnet.runtime import processes
jaxnet.use_cpu_devices(1)
processes.join(f"127.0.0.1:{{sys.argv[3]}}", 2, int(sys.argv[1]))
processes.barrier("begin")
if sys.argv[1] == "1":
    {ending}
time.sleep(60)
"""
    workers = start(code, 2)
    said = [worker.communicate(timeout=50)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [1, status], said
    assert words in said[0]


def test_messages_are_cut_and_joined(tmp_path):
    """Of any length, and none."""
    code = """
import sys
import numpy as np, jaxnet
from jaxnet.runtime import processes
jaxnet.use_cpu_devices(1)
i = int(sys.argv[1])
processes.join(f"127.0.0.1:{sys.argv[3]}", 2, i)
given = [np.random.default_rng(p).bytes(n) for p, n in ((0, 12345), (1, 2000))]
assert processes.exchange(given[i], message_bytes=1000) == given
assert processes.exchange(b"", message_bytes=1000) == [b"", b""]
assert processes.exchange(given[0] if i else b"", message_bytes=1000) == [b"", given[0]]
processes.leave()
"""
    end(start(code, 2))


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
    for name in (
        "SLURM_STEP_NODELIST",
        "OMPI_COMM_WORLD_SIZE",
        "JAX_COORDINATOR_ADDRESS",
        "TPU_WORKER_HOSTNAMES",
    ):
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
from jaxnet.runtime import processes
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
                env=ENVIRONMENT | more,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for i, worker in enumerate(workers):
        out, said = worker.communicate(timeout=120)
        assert worker.returncode == 0, said
        assert f"{i} 2" in out


DISAGREE = """
import importlib.metadata, sys
from dataclasses import replace
import jax, numpy as np, jaxnet, optax
from jaxnet.runtime import processes

jaxnet.use_cpu_devices(1)
process = int(sys.argv[1])
processes.join(f"127.0.0.1:{sys.argv[3]}", 2, process)
processes.barrier("begin")
other_scale = jaxnet.data.Standardization(np.float32(0), np.float32(1))
rng = np.random.default_rng(0)
x, y = rng.normal(size=(96, 4)).astype(np.float32), np.arange(96, dtype=np.int32) % 2
splits = jaxnet.split(x, y, test=0.25, validation=0.25)


def changed(part, field, row):
    data = getattr(splits, part)
    values = np.array(getattr(data, field))
    values[row] = 1 - values[row]
    return replace(splits, **{part: replace(data, **{field: values})})


def named_alike(width):
    return jaxnet.models.model.with_outputs(jaxnet.mlp((width,)), 2)._replace(name="custom")


recipe, model, key = jaxnet.Recipe(epochs=2, batch_size=16), jaxnet.mlp((4,)), jax.random.key(0)
other = jax.random.key(1)
weights = np.ones(len(splits.train), np.float32)
seen = np.arange(len(splits.train))
params = jaxnet.start(model, splits, recipe, key).params


def train(
    model=model, splits=splits, recipe=recipe, key=key, plan=jaxnet.Plan(processes=2), **more
):
    return jaxnet.train(model, splits, recipe, key, plan=plan, **more)


def fit(recipe):
    return jaxnet.fit(model, splits, recipe, key, plan=jaxnet.Plan(processes=2))


def members(model=model, splits=splits, recipe=recipe, keys=jax.random.split(key, 4), **more):
    return jaxnet.fit_population(model, splits, recipe, keys, **more)


def with_version(call):
    version = importlib.metadata.version
    importlib.metadata.version = lambda name: (
        f"99.{process}" if name == "numpy" else version(name)
    )
    try:
        call()
    finally:
        importlib.metadata.version = version


def with_setting(call):
    with jax.default_matmul_precision("highest" if process else "default"):
        call()


p = process
cases = {
    "train learning_rate": lambda: train(recipe=replace(recipe, learning_rate=(0.003, 0.3)[p])),
    "train epochs": lambda: train(recipe=replace(recipe, epochs=(2, 3)[p])),
    "train optimizer": lambda: train(recipe=replace(recipe, optimizer=("adam", "sgd")[p])),
    "train augmentation.noise": lambda: train(
        recipe=replace(recipe, augmentation=jaxnet.Augmentation(noise=(0.1, 0.2)[p]))
    ),
    "train key": lambda: train(key=(key, other)[p]),
    "train order_key": lambda: train(order_key=(None, other)[p]),
    "train weights": lambda: train(weights=(weights, 2 * weights)[p]),
    "train sample": lambda: train(sample=((seen, 40), (seen, 30))[p]),
    "train params": lambda: train(params=(params, jax.tree.map(lambda leaf: leaf + 1, params))[p]),
    "train loss": lambda: train(loss=(None, jaxnet.cross_entropy)[p]),
    "train plan.micro_batch": lambda: train(
        plan=jaxnet.Plan(processes=2, micro_batch=(None, 4)[p])
    ),
    "train model": lambda: train((model, jaxnet.mlp((5,)))[p]),
    "train parameters": lambda: train(named_alike((4, 5)[p])),
    "train out": lambda: train(out=(sys.argv[4], None)[p]),
    "members out": lambda: members(out=sys.argv[4] + "ab"[p]),
    "train training set": lambda: train(splits=(splits, changed("train", "x", 40))[p]),
    "train validation set": lambda: train(splits=(splits, changed("validation", "x", 7))[p]),
    "train test set": lambda: train(splits=(splits, changed("test", "y", 3))[p]),
    "train mean and scale": lambda: train(
        splits=(splits, replace(splits, standardization=other_scale))[p]
    ),
    "train name": lambda: train(splits=(splits, replace(splits, name="other"))[p]),
    "train numpy": lambda: with_version(train),
    "train jax_default_matmul_precision": lambda: with_setting(train),
    "fit recipe.epochs": lambda: fit(replace(recipe, epochs=(2, 3)[p])),
    "call": lambda: (train, members)[p](),
    "members learning_rate": lambda: members(recipe=replace(recipe, learning_rate=(0.003, 0.3)[p])),
    "members": lambda: members(keys=jax.random.split(key, (4, 3)[p])),
    "members keys": lambda: members(keys=jax.random.split((key, other)[p], 4)),
    "members model": lambda: members([model, (jaxnet.linear(), model)[p], model, model]),
    "members epochs": lambda: members(recipe=[replace(recipe, epochs=(2, 3)[p])] + [recipe] * 3),
    "members samples": lambda: members(
        resample=jaxnet.resampling.bootstrap((key, other)[p], 4, len(splits.train))
    ),
    "members halving": lambda: members(halving=(None, jaxnet.Halving((1,), keep=1 / 2))[p]),
    "members plan.chunk": lambda: members(plan=(None, jaxnet.Plan(chunk=2))[p]),
    "members training set": lambda: members(splits=(splits, changed("train", "x", 0))[p]),
    "members numpy": lambda: with_version(members),
}
for name, call in cases.items():
    try:
        call()
    except jaxnet.InputError as error:
        print(name, "|", error, flush=True)
    else:
        print(name, "| trained", flush=True)
train()
members()
processes.leave()
"""


def test_processes_that_disagree_all_raise_and_name_the_field(tmp_path):
    """From Python: each argument, each part of the data, versions and settings. They go on together
    afterwards.
    """
    workers = start(DISAGREE, 2, tmp_path / "run")
    said = []
    for worker in workers:
        out, wrong = worker.communicate(timeout=120)
        assert worker.returncode == 0, out + wrong
        said.append([line.split(" | ") for line in out.splitlines()])
    assert said[0] == said[1]
    assert len(said[0]) == DISAGREE.count("lambda: ")
    for name, words in said[0]:
        field = name.removeprefix("train ").removeprefix("fit ")
        field = field if name in ("members",) else field.removeprefix("members ")
        assert field in words, (name, words)
        assert " on process 0 and " in words
        assert " on process 1" in words
        assert "Give every process the same" in words
    assert not (tmp_path / "run").exists()


# experiments.train, which says when it has joined and read its data, and comes to be compared with
# the others: when the versions are asked for. With a version: as if another optax were installed.
COMPARED = """
import importlib.metadata, runpy, sys, time
import optax  # which must not come to ask
other, module, *sys.argv[1:] = sys.argv[1:]
version = importlib.metadata.version
def timed(name):
    if name != "optax":
        return version(name)
    print("compared", time.monotonic(), file=sys.stderr)
    return other or version(name)
importlib.metadata.version = timed
sys.argv[0] = module
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def compared(
    out: Path, *each: list[str], versions: tuple[str, ...] = ("", ""), modules: tuple[str, ...] = ()
) -> list[tuple[int, str]]:
    """(exit status, standard error) of scripts with the arguments of each process, the last of
    which ended within 20 s of when the last one came to be compared.
    """
    port = free_port()
    workers = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                COMPARED,
                versions[i],
                (modules or ("experiments.train",) * 2)[i],
                "--no-cache",
                *arguments,
                "--out",
                str(out),
                "--coordinator",
                f"127.0.0.1:{port}",
                "--processes",
                str(len(each)),
                "--process-id",
                str(i),
            ],
            env=ENVIRONMENT,
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i, arguments in enumerate(each)
    ]
    said = [worker.communicate(timeout=120)[1] for worker in workers]
    ended = time.monotonic()
    times = [
        [float(line.split()[1]) for line in words.splitlines() if line.startswith("compared ")]
        for words in said
    ]
    assert all(times), said
    assert ended - max(each[-1] for each in times) < 20
    return [(worker.returncode, words) for worker, words in zip(workers, said, strict=True)]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Two data sets of one name, of which the second has one other pixel in its last row; and both
    as streams.
    """
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    x, y = rng.normal(size=(400, 5)).astype(np.float32), rng.integers(0, 3, 400)
    for name in "ab":
        (folder / name / "rows").mkdir(parents=True)
        np.savez(folder / name / "data.npz", x=x, y=y)
        np.save(folder / name / "rows/x.npy", x)
        np.save(folder / name / "rows/y.npy", y)
        x, y = x.copy(), y.copy()
        x[-1, 0] += 1
        y[7] = (y[7] + 1) % 3
    return {name: folder / name for name in "ab"}


@pytest.mark.parametrize(
    ("field", "values", "arguments"),
    [
        (
            "learning_rate",
            ("0.003", "0.3"),
            (["--learning-rate", "3e-3"], ["--learning-rate", "0.3"]),
        ),
        pytest.param("seed", ("0", "1"), ([], ["--seed", "1"]), marks=slow),
        pytest.param("epochs", ("30", "60"), (["--epochs", "30"], ["--epochs", "60"]), marks=slow),
        pytest.param("model", ("mlp", "linear"), ([], ["--model", "linear"]), marks=slow),
        pytest.param(
            "hidden", ("[16]", "[17]"), (["--hidden", "16"], ["--hidden", "17"]), marks=slow
        ),
        pytest.param("split_seed", ("0", "1"), ([], ["--split-seed", "1"]), marks=slow),
        pytest.param("members", ("8", "1"), (["--members", "8"], []), marks=slow),
        pytest.param(
            "dataset", ("digits", "data.npz"), ([], ["--dataset", "a/data.npz"]), marks=slow
        ),
        pytest.param("stream", ("true", "false"), (["--stream"], []), marks=slow),
        pytest.param("platform", ("cpu", "not given"), (["--platform", "cpu"], []), marks=slow),
    ],
)
def test_scripts_with_other_options_end_and_name_the_option(field, values, arguments, tmp_path):
    for status, said in compared(tmp_path / "run", *arguments):
        assert status == 2, said
        assert all(f"{value} on process {i}" in said for i, value in enumerate(values)), said
        assert f"{field} is " in said
        assert "Give every process the same" in said
        assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("data", "more", "field"),
    [
        ("data.npz", [], "data.training set is 280 x (5,) float32"),
        pytest.param(
            "data.npz", ["--members", "4"], "data.training set is 280 x (5,) float32", marks=slow
        ),
        pytest.param("rows", ["--stream"], "data.training set.labels is checksum", marks=slow),
    ],
)
def test_scripts_with_other_data_end_and_name_the_part(data, more, field, files, tmp_path):
    """The files have the same name in other folders, as they may have on other machines."""
    for status, said in compared(
        tmp_path / "run", *(["--dataset", str(files[name] / data), *more] for name in "ab")
    ):
        assert status == 2, said
        assert field in said
        assert "on process 0 and " in said
        assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


@slow
def test_scripts_with_other_versions_end_and_name_the_package(tmp_path):
    for status, said in compared(tmp_path / "run", [], [], versions=("", "99.0")):
        assert status == 2, said
        assert "version of optax is " in said
        assert " on process 0 and 99.0 on process 1" in said


@pytest.mark.parametrize("missing", [pytest.param(0, marks=slow), 1])
def test_a_script_that_cannot_read_its_data_is_named_to_the_one_that_waits(
    missing, files, tmp_path
):
    there, gone = files["a"] / "data.npz", files["a"] / "gone/data.npz"
    found = compared(
        tmp_path / "run", *(["--dataset", str(gone if i == missing else there)] for i in range(2))
    )
    assert [status for status, _ in found] == [2 if i == missing else 1 for i in range(2)], found
    assert all(f"{gone}: no such file" in said and "Traceback" not in said for _, said in found), (
        found
    )
    assert f"process {missing} of 2" in found[1 - missing][1]


@slow
def test_other_scripts_do_not_train_together(tmp_path):
    for status, said in compared(
        tmp_path / "run", [], [], modules=("experiments.train", "experiments.sweep")
    ):
        assert status == 2, said
        assert "experiment is train on process 0 and sweep on process 1" in said


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("listening", [True, False])
def test_a_port_in_use_is_refused_by_name(family, listening):
    with socket.socket(family) as taken:
        taken.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        if listening:
            taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            InputError, match=rf"cannot listen at port {port} .*give all processes another port"
        ):
            join(f"127.0.0.1:{port}", 2, 0)


def test_a_script_whose_port_is_in_use_ends_with_a_message():
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "experiments.train",
                "--coordinator",
                f"127.0.0.1:{port}",
                "--processes",
                "2",
                "--process-id",
                "0",
            ],
            env=ENVIRONMENT,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2, done.stderr
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_port_of_a_cluster_that_is_in_use_is_refused(monkeypatch):
    """As Slurm says where process 0 is to listen; steps of one job would choose the same port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        job = {
            "JOB_ID": "7",
            "STEP_NODELIST": "localhost",
            "NTASKS": "2",
            "PROCID": "0",
            "LOCALID": "0",
        }
        for name, value in job.items():
            monkeypatch.setenv(f"SLURM_{name}", value)
        monkeypatch.setenv("JAX_COORDINATOR_PORT", str(port))
        with pytest.raises(InputError, match=f"cannot listen at port {port}"):
            join()


@pytest.mark.parametrize(
    "address",
    ["localhost", "localhost:", ":4567", "localhost:http", "localhost:0", "localhost:65536"],
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InputError, match=rf"--coordinator {address} is no address; give HOST:PORT"):
        join(address, 2, 1)


def test_one_process_describes_nothing():
    def describe():
        raise AssertionError

    check_agreement(describe)


def test_a_message_names_who_has_what():
    given = [{"seed": "0", "epochs": "3"}] * 3 + [
        {"seed": "1", "epochs": "3"},
        {"epochs": "3"},
        {"seed": "0", "epochs": "3"},
    ]
    assert (
        "agree: seed is 0 on processes 0 to 2, 5 and 1 on process 3 and not given on process 4. "
        "Give" in disagreement(given)
    )
    assert disagreement(given[:3]) == ""
    many = [{f"option {i}": str(process) for i in range(30)} for process in range(2)]
    assert "; and 20 more. Give" in disagreement(many)
    assert "process 1: no such column" in disagreement([given[0], {"refused": "no such column"}])
    assert (
        disagreement([{"call": "train", "seed": "0"}, {"call": "fit_population"}]).count(" is ")
        == 1
    )

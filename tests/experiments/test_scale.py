"""The model of what a run needs, against JAX's own accounts and the library's own rules; and the
script itself.
"""

import math
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import problem_of
from scripts import ENVIRONMENT, ROOT

import jaxnet
from experiments.benchmarks import cost_model, scale
from experiments.benchmarks.cost_model import Job, Kind, need, of_network
from jaxnet.core.training import Problem, epoch, run_steps, start
from jaxnet.data import Standardization
from jaxnet.engine.parallel import run_steps_on
from jaxnet.population.placement import plan_for_members

CORE = Kind("core", "cpu", 1e11, 16e9, math.inf, 1e-4, 1e9, 1e-3)
V5E = cost_model.chips(0.2)[0][0]
H100 = cost_model.chips(0.2)[2][0]
SMALL = Job(1, 100_000, 50_000, 784, 200, 500, 10)


def shapes(examples, features=784, validation=0, dtype=np.uint8):
    def part(n):
        x, y = jax.ShapeDtypeStruct((n, features), dtype), jax.ShapeDtypeStruct((n,), np.int32)
        return jaxnet.Dataset(x, y, tuple("0123456789"), 255.0)

    return jaxnet.Splits(
        part(examples), part(validation), part(1), Standardization(np.float32(0), np.float32(1))
    )


def prepared(hidden, optimizer, batch, splits):
    recipe = jaxnet.Recipe(optimizer=optimizer, batch_size=batch, schedule="constant", epochs=10)
    problem = problem_of(jaxnet.mlp(hidden), splits, recipe)
    return problem, jax.eval_shape(start, problem, jax.random.key(0))


def job_of(hidden, optimizer, batch, examples, *, features=784, members=1, best=False, itemsize=1):
    parameters, activations = of_network(hidden, features)
    return Job(
        members, parameters, examples, features, activations, batch, 1, optimizer, itemsize, best
    )


def bytes_of(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("optimizer", cost_model.MOMENTS)
@pytest.mark.parametrize("validation", [0, 10])
def test_the_state_has_the_bytes_of_the_real_one(optimizer, validation):
    splits = shapes(100, validation=validation)
    *_, state = prepared((32, 16), optimizer, 10, splits)
    job = job_of((32, 16), optimizer, 10, 100, best=validation > 0)
    assert sum(leaf.size for leaf in jax.tree.leaves(state.params)) == job.parameters
    # and the keys' words, steps and losses
    numbers = bytes_of((state.epoch, state.diverged_at)) + 2 * 4
    assert 0 <= bytes_of(state) - cost_model.state_bytes(job) <= numbers + 32
    assert bytes_of(splits.train) == 100 * cost_model.example_bytes(job)


CASES = [
    ((128, 64), "adam", 512, 8192, 784, np.uint8),
    ((1000, 1000), "adam", 512, 8192, 784, np.uint8),
    ((1000, 1000), "sgd", 4096, 8192, 784, np.uint8),
    ((128, 64), "momentum", 128, 60_000, 784, np.uint8),
    ((128, 64), "momentum", 128, 200_000, 8, np.float32),
    ((1000,), "nesterov", 64, 1000, 784, np.float32),
]


@pytest.mark.parametrize(("hidden", "optimizer", "batch", "examples", "features", "dtype"), CASES)
def test_memory_is_what_the_compiled_epoch_takes(
    hidden, optimizer, batch, examples, features, dtype
):
    splits = shapes(examples, features, 10, dtype)
    found = scale.program_bytes(
        hidden,
        splits,
        jaxnet.Recipe(optimizer=optimizer, batch_size=batch, schedule="constant", epochs=10),
    )
    itemsize = np.dtype(dtype).itemsize
    job = job_of(
        hidden, optimizer, batch, examples, features=features, best=True, itemsize=itemsize
    )
    assert 0.95 < need(job, CORE, 1, 1e9).memory / found < 1.15


def test_memory_of_members_at_once_is_what_they_take_together():
    problem, state = prepared((256, 128), "adam", 128, shapes(4096))
    members = 8
    states = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((members, *leaf.shape), leaf.dtype), state
    )

    def together(problem, states):
        return jax.vmap(lambda state: epoch(problem, state, run_steps))(states)

    found = scale.compiled_bytes(
        jax.jit(together, donate_argnums=1).lower(problem, states).compile()
    )
    job = job_of((256, 128), "adam", 128, 4096)
    predicted = job.examples * cost_model.example_bytes(job) + members * cost_model.member_bytes(
        job, job.batch
    )
    assert 0.9 < predicted / found < 1.2


class Device:
    """As `plan_for_members` asks one."""

    def __init__(self, kind):
        self.platform, self.device_kind, self._memory = kind.platform, kind.name, kind.memory

    def memory_stats(self):
        return {"bytes_limit": self._memory}


@pytest.mark.parametrize("hidden", [(8,), (32, 16), (128, 64), (512, 512)])
@pytest.mark.parametrize("kind", [CORE, V5E])
def test_members_at_once_are_those_of_the_library(hidden, kind):
    splits = shapes(2000)
    recipe = jaxnet.Recipe(batch_size=64, optimizer="momentum", schedule="constant", epochs=10)
    plan, _ = plan_for_members(
        Problem(jaxnet.mlp(hidden), splits, recipe), 10_000, [Device(kind)], implementation="xla"
    )
    found = need(job_of(hidden, "momentum", 64, 2000, members=10_000), kind, 1, 1e9)
    assert found.together == plan.chunk


def test_members_at_once_on_a_gpu_fill_as_much_of_it():
    splits = shapes(2000)
    problem = Problem(
        jaxnet.mlp((128, 64)), splits, jaxnet.Recipe(batch_size=64, schedule="constant", epochs=10)
    )
    plan, _ = plan_for_members(problem, 10**6, [Device(H100)], implementation="xla")
    found = need(job_of((128, 64), "adam", 64, 2000, members=10**6), H100, 1, 1e9)
    assert 0.7 < found.together / plan.chunk < 1.4


def test_time_grows_with_what_there_is_to_do_and_shrinks_with_devices():
    many = SMALL._replace(members=1024)
    base = need(many, CORE, 1, 1e9).seconds
    for changed in (
        many._replace(members=2048),
        many._replace(epochs=20),
        many._replace(examples=100_000),
    ):
        assert need(changed, CORE, 1, 1e9).seconds == pytest.approx(2 * base)
    for devices in (2, 4, 512, 1024):
        assert need(many, CORE, devices, 1e9).seconds == pytest.approx(base / devices)
    assert need(many, CORE, 4096, 1e9).seconds == need(many, CORE, 1024, 1e9).seconds
    steps, operations = 10 * 100, 6 * 100_000 * 500
    assert need(SMALL, CORE, 1, 1e9).seconds == pytest.approx(
        steps * (CORE.overhead + operations / CORE.rate)
    )


def test_devices_that_share_batches_pay_for_the_exchange():
    """Each byte of the gradient (N-1)/N times out and back, and twice the depth of a tree in
    messages.
    """
    for devices, hops in ((2, 2), (4, 4), (8, 6), (256, 16)):
        wanted = 2 * 4 * 1e6 * (devices - 1) / devices / CORE.link + hops * CORE.hop
        assert cost_model.exchange_seconds(1_000_000, CORE, devices) == pytest.approx(wanted)
    assert cost_model.exchange_seconds(1_000_000, CORE, 1) == 0
    alone, shared = (
        cost_model.step_seconds(SMALL, CORE, 1, batch, n) for batch, n in ((500, 1), (250, 2))
    )
    compute = 6 * 100_000 * 500 / CORE.rate
    assert alone - shared == pytest.approx(
        compute / 2 - cost_model.exchange_seconds(100_000, CORE, 2)
    )


def test_what_does_not_fit_is_read_from_disk_by_one_network_and_refused_for_members():
    large = SMALL._replace(examples=10**9)
    assert need(large._replace(members=2), V5E, 256, 1e9) is None
    fast, slow = need(large, V5E, 4, 1e12), need(large, V5E, 4, 1e6)
    assert fast.streamed
    assert fast.memory < V5E.memory
    assert slow.seconds == pytest.approx(10 * 10**9 * 788 / 1e6)
    assert need(large, V5E, 16, 1e6).seconds == pytest.approx(slow.seconds / 2)  # of two hosts
    assert fast.seconds < slow.seconds
    assert not need(SMALL, V5E, 4, 1e9).streamed
    assert need(SMALL._replace(parameters=10**10), V5E, 1, 1e9) is None


def test_a_state_that_leaves_the_chip_is_bound_by_memory():
    wide = SMALL._replace(parameters=50_000_000, batch=8)
    # parameters, two moments and the gradient, read and written
    moved = 2 * 4 * wide.parameters * 4
    assert cost_model.step_seconds(wide, V5E, 1, 8, 1) == pytest.approx(
        V5E.overhead + moved / V5E.bandwidth
    )
    assert cost_model.step_seconds(SMALL, V5E, 1, 500, 1) == pytest.approx(
        V5E.overhead + 6 * 100_000 * 500 / V5E.rate
    )


def test_a_line_is_found_again_and_never_starts_below_zero():
    assert cost_model.line((1, 5), (3, 9)) == (3, 2)
    assert cost_model.line((1, 1), (2, 4)) == (0, 2)
    assert cost_model.line((1, 5), (2, 4)) == (0, 2)


def test_gradients_of_cpu_devices_are_one_message_a_step(digits):
    """As the model has it: XLA on CPUs makes one of each array that it is given."""
    plan = jaxnet.Plan(devices=2)
    problem, _ = prepared((16, 8), "adam", 64, digits)
    state = plan.place(start(problem, jax.random.key(0)))
    program = (
        jax.jit(lambda problem, state: epoch(problem, state, run_steps_on(plan)))
        .lower(plan.place(problem), state)
        .compile()
    )
    assert len(re.findall(r" all-reduce(?:-start)?\(", program.as_text())) == 1


def test_the_script_measures_checks_and_calculates():
    """With two processes on this machine."""
    sizes = [
        "--measured-examples",
        "512",
        "--measured-members",
        "4",
        "--measured-batch-size",
        "64",
        "--measured-hidden",
        "16",
        "8",
    ]
    command = [
        sys.executable,
        "-m",
        "experiments.benchmarks.scale",
        "--processes",
        "1",
        "2",
        *sizes,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    measured = [row for row in rows if row[:1] in (["1"], ["2"]) and "%" in " ".join(row)]
    assert [row[0] for row in measured] == ["1", "2"]
    assert measured[0][2:4] == ["1.00", "100%"]
    ratios = [float(row[-1]) for row in rows if row[:1] in (["an"], ["memory"])]
    assert len(ratios) >= 3
    assert min(ratios) > 0
    (memory,) = (float(row[-1]) for row in rows if row[:1] == ["memory"])
    assert 0.8 < memory < 1.4
    assert "calculated, not measured" in done.stdout
    assert [row[0] for row in rows if "v5p" in row] == ["1", "8,960"]

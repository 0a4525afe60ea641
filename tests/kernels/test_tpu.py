"""What the TPU compiler makes of the kernel and of a population, without a TPU: where state lives,
what goes from chip to chip.

Needs libtpu (`pip install -e '.[tpu]'`), which is large and so not among what development installs;
.ci/run installs it.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jaxnet.kernels import resident_steps
from jaxnet.kernels.probe import ENVIRONMENT

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("libtpu") is None,
        reason="libtpu, the compiler for TPUs, is not installed: pip install -e '.[tpu]'",
    ),
    pytest.mark.usefixtures("plain_xla"),
]

ASK = """
import json
import jaxnet
from jaxnet.core.training import Problem
from jaxnet.kernels.dispatch import choose

class Chip:
    platform, device_kind = "tpu", "TPU v5 lite"

model = jaxnet.mlp((16,)).for_outputs(10)
recipe = jaxnet.Recipe(schedule="constant", epochs=10)
problem = Problem(model, jaxnet.load("digits"), recipe)
plan = choose(jaxnet.Plan(), problem, device=Chip)
print(json.dumps({"chosen": plan.implementation}))
"""
PROGRAM = """
import json, re, sys
from concurrent.futures import ThreadPoolExecutor
import jax, numpy as np
from jax.experimental import topologies
import jaxnet
from jaxnet import Plan
from jaxnet.core.training import Problem
from jaxnet.population.job import make_jobs
from jaxnet.population.placement import plan_for_members
from jaxnet.population.program import compile_program
from jaxnet.data import Standardization

name, times, implementation = sys.argv[1], int(sys.argv[2]), sys.argv[3]
one_chip = (
    {"chips_per_host_bounds": (1, 1, 1)} if name.endswith("1x1") else {}
)  # libtpu before 0.0.52 needs it
devices = topologies.get_topology_desc(platform="tpu", topology_name=name, **one_chip).devices


def part(n):
    x = np.zeros((n, 28, 28), np.uint8)
    x[0] = 255
    return jaxnet.Dataset(
        jax.device_put(x),
        jax.device_put(np.arange(n, dtype=np.int32) % 10),
        tuple("0123456789"),
        255.0,
    )


splits = jaxnet.Splits(part(2048), part(256), part(16), Standardization.of(part(16)))
model = jaxnet.mlp((128, 64))
recipe = jaxnet.Recipe(schedule="constant", epochs=3, batch_size=128)
plan, why = plan_for_members(
    Problem(model, splits, recipe), 10_000, devices, implementation=implementation
)
plan = Plan(
    plan.devices,
    chunk=plan.chunk * times if implementation == "xla" else 24,
    implementation=implementation,
)
keys = jax.random.split(jax.random.key(0), plan.devices * plan.chunk)
(job,) = make_jobs(
    [Problem(model, splits, recipe)] * len(keys), keys, order_key=jax.random.key(1)
)
with ThreadPoolExecutor(2) as pool:
    text = compile_program(job, plan, tuple(devices), pool).advance.result().as_text()
loops = []
for carry in re.findall(r" = \\((.*)\\) while\\(", text):
    state = [
        leaf
        for leaf in re.findall(r"f32\\[[\\d,]*\\]\\{[^}]*\\}", carry)
        if leaf.startswith(f"f32[{plan.chunk},")
    ]
    loops.append([len(state), sum("S(1)" in leaf for leaf in state)])
moved = [
    word
    for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")
    if word in text
]
kernels = text.count('custom_call_target="tpu_custom_call"')
print(
    json.dumps(
        {
            "devices": plan.devices,
            "chunk": plan.chunk,
            "why": why,
            "loops": loops,
            "moved": moved,
            "kernels": kernels,
        }
    )
)
"""

PARTS = """
import collections, json, re
from dataclasses import replace
import jax, jax.numpy as jnp, numpy as np
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec
import jaxnet
from jaxnet import Plan
from jaxnet.data import Standardization
from jaxnet.core.training import Batch, Problem, epoch, start
from jaxnet.engine.arguments import check_arguments
from jaxnet.engine.parallel import run_steps_on
from jaxnet.runtime.sharding import device_mesh

# Of those in two halves, the first: the second ends in -done.
MOVES = (
    r" (all-reduce|all-gather|all-to-all|ragged-all-to-all|collective-[a-z]+|reduce-scatter"
    r"|send|recv)(-start)?\\("
)
chips = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices
# Of chips that JAX does not have.
Plan.mesh = property(lambda plan: device_mesh(chips, plan.total_devices))
plan = Plan(devices=4, implementation="xla")


def part(n):
    x = np.zeros((n, 28, 28), np.uint8)
    x[0] = 255
    return jaxnet.Dataset(x, np.arange(n, dtype=np.int32) % 10, tuple("0123456789"), 255.0)


def on_chips(tree, *axes):
    sharding = NamedSharding(plan.mesh, PartitionSpec(*axes))
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), leaf.dtype, sharding=sharding), tree
    )


def an_epoch(problem, state):
    return epoch(problem, state, run_steps_on(plan))



def a_part(problem, state, rows, first, real):
    size = jnp.maximum(real.sum(1, dtype=jnp.int32), 1)
    batches = Batch(first + jnp.arange(len(rows), dtype=jnp.int32), rows, size=size, mask=real)
    return run_steps_on(plan)(replace(problem, streamed=2000), state, batches)


splits = jaxnet.Splits(
    part(2000), part(256), part(16), Standardization.of(part(16))
)  # 15 batches, and 80 examples more
for name, model in {"mlp": jaxnet.mlp((128, 64)), "cnn": jaxnet.cnn((8,), (16,))}.items():
    recipe = jaxnet.Recipe(
        schedule="constant",
        epochs=3,
        batch_size=128,
        optimizer="adam",
        dropout=0.1,
        clip=1.0,
        patience=2,
    )
    problem, _ = check_arguments(Problem(model, splits, recipe))
    state = on_chips(jax.eval_shape(lambda: start(problem, jax.random.key(0))))
    given = on_chips(problem), state
    programs = {"an epoch": jax.jit(an_epoch, donate_argnames="state").lower(*given)}
    train = on_chips(problem.splits.train, "batch")
    own = replace(given[0], splits=replace(given[0].splits, train=train))
    rows, first, real = np.zeros((8, 128), np.int32), np.int32(0), np.zeros((8, 128), bool)
    rows, real = (on_chips(each, None, "batch") for each in (rows, real))
    programs["a part of one"] = jax.jit(a_part, donate_argnames="state").lower(
        own, *given[1:], rows, on_chips(first), real
    )
    for which, program in programs.items():
        text = program.compile().as_text()
        bodies, found, computation = (
            set(re.findall(r"body=%?([\\w.-]+)", text)),
            collections.Counter(),
            None,
        )
        for line in text.splitlines():
            if head := re.match(r"(?:ENTRY )?%?([\\w.-]+) .*-> .*{$", line):
                computation = head[1]
            for word, _ in re.findall(MOVES, line):
                found[word + " in a loop" * (computation in bodies)] += 1
        print(json.dumps([name, which, found]), flush=True)
"""

KERNELS = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
import jax, jax.export, jax.numpy as jnp, numpy as np
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
import jaxnet
from dataclasses import replace
from jaxnet import Augmentation, Recipe
from jaxnet.core.training import Problem
from jaxnet.kernels import dispatch, resident_steps
from jaxnet.models.model import with_outputs
from jaxnet.data import Standardization

name = sys.argv[1]
try:
    devices = topologies.get_topology_desc(platform="tpu", topology_name=name).devices
except Exception:  # before libtpu 0.0.52
    devices = topologies.get_topology_desc(
        platform="tpu", topology_name=name, chips_per_host_bounds=(1, 1, 1)
    ).devices
here = SingleDeviceSharding(devices[0])


def part(n, classes):
    shape, kind = ((n, 28, 28), jnp.uint8) if classes else ((n, 13), jnp.float32)
    x, y = (
        jax.ShapeDtypeStruct(shape, kind),
        jax.ShapeDtypeStruct((n,), jnp.int32 if classes else jnp.float32),
    )
    return jaxnet.Dataset(
        x, y, tuple("0123456789") if classes else None, 255.0 if classes else None
    )


images = jaxnet.Splits(
    part(6000, True), part(0, True), part(0, True), Standardization(np.float32(33), np.float32(78))
)
column = np.ones(13, np.float32)
table = jaxnet.Splits(
    part(1000, False),
    part(0, False),
    part(0, False),
    Standardization(column, column, np.float32(0), np.float32(1)),
)
everything = dict(weight_decay=0.01, l1=1e-5, dropout=0.3, label_smoothing=0.1, clip=1.0)
everything |= dict(schedule="one_cycle", augmentation=Augmentation(noise=0.1))
mlp, rates = jaxnet.mlp((128, 64)), np.ones(16, np.float32)
CASES = {
    **{
        o: (mlp, images, dict(optimizer=o), 0, True, False)
        for o in ("sgd", "momentum", "nesterov", "adam")
    },
    "adamw, all else": (mlp, images, dict(optimizer="adamw", **everything), 0, True, True),
    "batch 100": (mlp, images, dict(batch_size=100), 0, True, False),
    "batch 1024": (mlp, images, dict(batch_size=1024), 0, True, False),
    "bfloat16": (mlp, images, dict(precision="bfloat16"), 0, True, False),
    "linear": (jaxnet.linear(), images, {}, 0, True, False),
    "a table": (
        jaxnet.mlp((32,), activation="gelu", normalization="layer"),
        table,
        dict(batch_size=50),
        0,
        True,
        False,
    ),
    "silu, tanh": (jaxnet.mlp((64, 32), activation="silu"), images, {}, 0, True, False),
    "16 members, own rates": (
        mlp,
        images,
        dict(optimizer="momentum", learning_rate=rates),
        16,
        False,
        False,
    ),
    "16 members, weights": (mlp, images, dict(optimizer="adam", dropout=0.3), 16, False, True),
    "5 members, own minibatches": (
        mlp,
        images,
        dict(optimizer="adamw", **everything),
        5,
        True,
        False,
    ),
}


def compiled(which):
    model, splits, changes, members, own_order, weighted = CASES[which]
    weights = jax.ShapeDtypeStruct((len(splits.train),), jnp.float32) if weighted else None
    model = with_outputs(model, splits.train.outputs)
    recipe = Recipe(**{"schedule": "constant", "epochs": 2, "batch_size": 128, **changes})
    problem = Problem(model, splits, recipe, weights=weights)
    program = dispatch.exported(problem, members=members, own_order=own_order)
    args = [
        jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here) for leaf in program.in_avals
    ]
    made = jax.jit(program.call).lower(*args).compile()
    memory, text = made.memory_analysis(), made.as_text()
    given = sum(leaf.size * leaf.dtype.itemsize for leaf in program.in_avals)
    kernels, loops = (
        text.count(word) for word in ('custom_call_target="tpu_custom_call"', " while(")
    )
    own = members if own_order and members else 1
    return which, dict(
        own=own, temporary=memory.temp_size_in_bytes, given=given, kernels=kernels, loops=loops
    )


# Older compilers take no members inside a kernel, and compare no bfloat16 on a v5e.
taken = [
    case
    for case, of in CASES.items()
    if resident_steps.SIDE_BY_SIDE or not (of[3] or "precision" in of[2])
]
with ThreadPoolExecutor(2) as pool:
    for case, found in pool.map(compiled, taken):
        print(json.dumps([case, found]), flush=True)
"""

NOTEBOOK = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from pathlib import Path
import jax, numpy as np
from jax._src.interpreters import pxla
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
import jaxnet
from jaxnet import Plan
from jaxnet.core import training
from jaxnet.core.recipe import resolved
from jaxnet.core.training import Problem
from jaxnet.engine.arguments import check_arguments
from jaxnet.engine.parallel import run_steps_on
from jaxnet.population.job import make_jobs, one_per_member
from jaxnet.population.placement import plan_for_members
from jaxnet.population.program import compile_program
from jaxnet.data import Standardization
from jaxnet.models.model import with_outputs

try:
    chips = topologies.get_topology_desc(platform="tpu", topology_name="v5e:1x1").devices
except Exception:  # before libtpu 0.0.52
    chips = topologies.get_topology_desc(
        platform="tpu", topology_name="v5e:1x1", chips_per_host_bounds=(1, 1, 1)
    ).devices
here = SingleDeviceSharding(chips[0])


def part(n):
    return jaxnet.Dataset(
        np.zeros((n, 28, 28), np.uint8),
        np.arange(n, dtype=np.int32) % 10,
        tuple("0123456789"),
        255.0,
    )


# Colab's own libtpu lacks a function by which its jax compares layouts once a program is compiled,
# and that would crash.
if tuple(map(int, metadata.version("libtpu").split("."))) < (0, 0, 23):
    pxla.is_default_layout = lambda *_: True
images = jaxnet.Splits(
    part(54_000), part(6_000), part(10_000), Standardization(np.float32(33), np.float32(78))
)
said = dict(jax=jax, jaxnet=jaxnet, np=np, images=images)
cells = {
    cell["id"]: "".join(cell["source"])
    for cell in json.loads(Path(sys.argv[1]).read_text())["cells"]
}
exec(cells["diagnosis"].splitlines()[0], said)  # its model and its recipe
keys = jax.random.split(jax.random.key(1), 64)
rates = replace(said["recipe"], learning_rate=np.geomspace(1e-4, 1.0, len(keys)))
said |= dict(splits=jaxnet.load("digits"), keys=keys, rates=rates)
said |= dict(image_model=jaxnet.mlp((256, 128)), image_recipe=jaxnet.Recipe(batch_size=128))


def fit(implementation, model, splits, recipe):
    problem, _ = check_arguments(Problem(model, splits, recipe))
    given = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=here),
        (problem, jax.random.key(0)),
    )
    run_steps = run_steps_on(Plan(implementation=implementation))
    whole = jax.jit(lambda problem, key: training.fit(problem, key, run_steps))
    return whole.lower(*given).compile()


def many(implementation, model, splits, recipes, keys):
    recipes = resolved(recipes, len(splits.train))
    plan, _ = plan_for_members(
        Problem(model, splits, recipes), len(keys), chips, implementation=implementation
    )
    keys = keys[: plan.chunk]
    recipes = replace(recipes, learning_rate=recipes.learning_rate[: plan.chunk])
    problems = [
        Problem(model, splits, recipe) for recipe in one_per_member(recipes, len(keys))
    ]
    (job,) = make_jobs(problems, keys, order_key=jax.random.key(2))
    with ThreadPoolExecutor(2) as pool:
        return compile_program(
            job, replace(plan, implementation=implementation), chips, pool
        ).advance.result()


for implementation in sys.argv[2:]:
    for name, program in {
        "digits": lambda: fit(
            implementation, *(said[word] for word in ("model", "splits", "recipe"))
        ),
        "mnist": lambda: fit(
            implementation, *(said[word] for word in ("image_model", "images", "image_recipe"))
        ),
        "many": lambda: many(
            implementation, *(said[word] for word in ("model", "splits", "rates", "keys"))
        ),
    }.items():
        text = program().as_text()
        print(
            json.dumps(
                [
                    implementation,
                    name,
                    text.count('custom_call_target="tpu_custom_call"'),
                    text.count(" while("),
                ]
            ),
            flush=True,
        )
"""

# In a /tmp and a /dev of its own, a process that has the chip's lock and device starts another,
# which wants it too.
HOLDER = """
import fcntl, json, os, subprocess, sys

lock, chip = open("/tmp/libtpu_lockfile", "w"), open("/dev/accel0")
fcntl.lockf(lock, fcntl.LOCK_EX)
done = subprocess.run(
    [sys.executable, "-m", "experiments.digits", *sys.argv[1:]], capture_output=True, text=True
)
print(json.dumps({"holder": os.getpid(), "status": done.returncode, "errors": done.stderr}))
"""
ALONE = """
mount -t tmpfs none "$1" && mkdir "$1/tmp" "$1/dev" "$1/dev/shm" && touch "$1/dev/accel0" || exit 77
for d in null zero urandom; do touch "$1/dev/$d" &&
    mount --bind "/dev/$d" "$1/dev/$d" || exit 77; done
for d in /tmp/*/; do mkdir "$1$d" && mount --bind "$d" "$1$d" || [ ! -d "$d" ] || exit 77; done
mount --rbind "$1/dev" /dev && mount --rbind "$1/tmp" /tmp || exit 77
shift
exec "$@"
"""


def run(program: str, *arguments: str) -> list:
    """The lines of JSON that it printed."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **ENVIRONMENT}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line[:1] in "[{"]


def compiled(topology: str, times: int = 1, implementation: str = "xla") -> dict:
    return run(PROGRAM, topology, str(times), implementation)[-1]


@pytest.mark.parametrize("topology", ["v5e:1x1", "v6e:1x1"])
def test_the_compiler_takes_the_kernel_of_every_configuration(topology):
    """One kernel and no loop around it; and nothing in memory but what it is given and the
    minibatches it reads.
    """
    found = dict(run(KERNELS, topology))
    assert len(found) == (14 if resident_steps.SIDE_BY_SIDE else 10)
    for case, of in found.items():
        assert (of["kernels"], of["loops"]) == (1, 0), case
        assert of["temporary"] <= of["given"] + of["own"] * 6016 * 1024, case


def test_members_over_four_chips_by_the_kernel():
    found = compiled("v5e:2x2", implementation="resident")
    assert found["devices"] == 4
    assert found["kernels"] == 1
    assert found["moved"] == []


def test_the_rule_asks_the_compiler():
    """Which takes the kernel, and refuses what is no program."""
    from jaxnet.kernels import probe

    assert "struct.error" in (probe.ask_compiler(b"no program", "v5e:1x1") or "")
    assert run(ASK)[-1] == {"chosen": "resident"}


@pytest.mark.parametrize(("topology", "devices"), [("v5e:1x1", 1), ("v5e:2x2", 4)])
def test_the_state_of_a_chunk_stays_on_the_chip(topology, devices):
    """Six arrays each of parameters, first and second moments: in the loop over steps all are in
    VMEM, memory space 1.
    """
    found = compiled(topology)
    assert found["devices"] == devices
    assert found["chunk"] == 54  # 70 MiB, less the examples, of 1,312,636 bytes each
    assert [18, 18] in found["loops"]
    assert found["moved"] == []


def test_devices_that_share_batches_exchange_gradients_alone():
    """Once a step, all arrays in one message; of a part of an epoch also once how many rows of each
    batch are real.
    """
    programs = run(PARTS)
    assert len(programs) == 4
    for name, which, found in programs:
        wanted = {"all-reduce in a loop": 1} | (
            {"all-reduce": 1} if which == "a part of one" else {}
        )
        assert found == wanted, (name, which)


def test_twice_the_chunk_does_not_fit_the_chip():
    """So that the test above can fail."""
    assert [18, 18] not in compiled("v5e:1x1", times=2)["loops"]


def test_what_the_notebook_trains():
    """The model and the recipe of experiments/colab.ipynb for the digits, alone and as a population
    of 64, and a network for MNIST, on the one chip of a TPU runtime.
    """
    implementations = ("xla", "resident") if resident_steps.SIDE_BY_SIDE else ("xla",)
    found = run(NOTEBOOK, str(ROOT / "experiments/colab.ipynb"), *implementations)
    assert [(by, name) for by, name, _, _ in found] == [
        (by, name) for by in implementations for name in ("digits", "mnist", "many")
    ]
    for implementation, name, kernel, loops in found:
        assert (kernel > 0) == (implementation == "resident"), name
        assert loops > 0, name


@pytest.mark.parametrize("asked", [(), ("--platform", "tpu")])
def test_a_chip_that_another_process_holds(tmp_path, asked):
    """By what libtpu itself says then, for which JAX would train on the CPU, or stop with a
    traceback.
    """
    (tmp_path / "alone").mkdir()
    alone = ["unshare", "-rm", "bash", "-c", ALONE, "bash", str(tmp_path / "alone")]
    told = {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-1",
        "TPU_WORKER_HOSTNAMES": "localhost",
    }
    environment = {
        name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"
    } | told
    if (
        shutil.which("unshare") is None
        or subprocess.run([*alone, "true"], capture_output=True).returncode
    ):
        pytest.skip("this machine gives no process a /tmp and a /dev of its own")
    command = [*alone, sys.executable, "-c", HOLDER, *asked, "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["status"] == 2
    assert (
        f"the TPU is held by process {found['holder']}, and serves one process at a time"
        in found["errors"]
    )
    assert "--platform cpu" in found["errors"]

"""What the TPU compiler makes of a population, without a TPU: where its state lives, and what goes from chip to chip.

Needs libtpu (`pip install -e '.[tpu]'`), which is large and so not among what development installs; .ci/run installs it.
"""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu, the compiler for TPUs, is not installed: pip install -e '.[tpu]'"
)

PROGRAM = """
import json, re, sys
from concurrent.futures import ThreadPoolExecutor
import jax, numpy as np
from jax.experimental import topologies
import jaxnet
from jaxnet import Plan, population
from jaxnet.chunking import plan_for_members
from jaxnet.data import Standardisation

name, times = sys.argv[1], int(sys.argv[2])
one_chip = {"chips_per_host_bounds": (1, 1, 1)} if name.endswith("1x1") else {}  # libtpu before 0.0.52 needs it
devices = topologies.get_topology_desc(platform="tpu", topology_name=name, **one_chip).devices

def part(n):
    x = np.zeros((n, 28, 28), np.uint8)
    x[0] = 255
    return jaxnet.Dataset(jax.device_put(x), jax.device_put(np.arange(n, dtype=np.int32) % 10), tuple("0123456789"), 255.0)

splits = jaxnet.Splits(part(2048), part(256), part(16), Standardisation.of(part(16)))
model, recipe = jaxnet.mlp((128, 64)), jaxnet.Recipe(epochs=3, batch_size=128)
plan, why = plan_for_members(model, splits, recipe, 10_000, devices)
plan = Plan(plan.devices, chunk=plan.chunk * times)
keys = jax.random.split(jax.random.key(0), plan.devices * plan.chunk)
job = population._admit(model, splits, recipe, keys, jax.random.key(1), None, None)
with ThreadPoolExecutor(2) as pool:
    text = population._compile(job, 0, plan, tuple(devices), pool).advance.result().as_text()
loops = []
for carry in re.findall(r" = \\((.*)\\) while\\(", text):
    state = [leaf for leaf in re.findall(r"f32\\[[\\d,]*\\]\\{[^}]*\\}", carry) if leaf.startswith(f"f32[{plan.chunk},")]
    loops.append([len(state), sum("S(1)" in leaf for leaf in state)])
moved = [word for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter") if word in text]
print(json.dumps({"devices": plan.devices, "chunk": plan.chunk, "why": why, "loops": loops, "moved": moved}))
"""


def compiled(topology: str, times: int = 1) -> dict:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1"}
    environment |= {"TPU_ACCELERATOR_TYPE": "v5litepod-1", "TPU_WORKER_HOSTNAMES": "localhost"}
    done = subprocess.run([sys.executable, "-c", PROGRAM, topology, str(times)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("topology", "devices"), [("v5e:1x1", 1), ("v5e:2x2", 4)])
def test_the_state_of_a_chunk_stays_on_the_chip(topology, devices):
    """Six arrays each of parameters, first and second moments: in the loop over steps all are in VMEM, memory space 1."""
    found = compiled(topology)
    assert found["devices"] == devices
    assert found["chunk"] == 54  # 70 MiB, less the examples, of 1,312,636 bytes each
    assert [18, 18] in found["loops"]
    assert found["moved"] == []


def test_twice_the_chunk_does_not_fit_the_chip():
    """So that the test above can fail."""
    assert [18, 18] not in compiled("v5e:1x1", times=2)["loops"]

"""What XLA makes of training for NVIDIA GPUs, without a GPU: kernels a step, CUDA graphs, and what
the host has to do.

Needs XLA's compiler for them, which is large and so not among what development installs; see
experiments/benchmarks/gpu_programs.py.
"""

import functools
import json
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from experiments.benchmarks.gpu_programs import installed

pytestmark = [
    pytest.mark.skipif(
        not installed(),
        reason="XLA's compiler for NVIDIA GPUs is not installed: "
        f"pip install --no-deps jax-cuda13-plugin=={jax.__version__} "
        f"jax-cuda13-pjrt=={jax.__version__}, and ptxas",
    ),
    pytest.mark.usefixtures("plain_xla"),
]

PROGRAM = """
import json, sys, tempfile
import jax, jax.numpy as jnp, numpy as np
import jaxnet
from experiments.benchmarks.gpu_programs import dump_to, device, fit, members, mlp, read
from jaxnet import Recipe


def asking(outputs, targets):
    largest = jax.lax.stop_gradient(jnp.abs(outputs).max())
    return jaxnet.cross_entropy(outputs, targets) * jax.lax.while_loop(
        lambda scale: scale > 1, lambda scale: scale / 2, largest
    )


def spoken(outputs, targets):
    callback = jax.ffi.ffi_call(
        "xla_ffi_python_gpu_callback", jax.ShapeDtypeStruct(targets.shape, jnp.float32)
    )
    return jaxnet.cross_entropy(outputs, callback(targets, index=np.uint64(0)))


def recipe(**changes):
    return Recipe(**{"schedule": "constant", "epochs": 10, "batch_size": 128, **changes})


what = {
    "mlp": lambda chip: fit(mlp(), recipe(), chip),
    "mlp in bfloat16": lambda chip: fit(mlp(), recipe(precision="bfloat16"), chip),
    "cnn": lambda chip: fit(jaxnet.cnn(), recipe(), chip),
    "population": lambda chip: members(mlp(), recipe(), chip, 16),
    "muon": lambda chip: fit(mlp(), recipe(optimizer="muon"), chip),
    "half": lambda chip: fit(mlp(), recipe(batch_size=27_000), chip),
    "asking": lambda chip: fit(mlp(), recipe(), chip, asking),
    "spoken": lambda chip: fit(mlp(), recipe(), chip, spoken),
}
found = {}
with tempfile.TemporaryDirectory() as folder:
    dump_to(folder)
    chip = device(sys.argv[1])
    for name in sys.argv[2:]:
        reading = read(what[name](chip), folder, *[2] * (name == "half"))
        found[name] = {**vars(reading), "kernels": reading.kernels}
print(json.dumps(found))
"""
# A chip a worker, since what was compiled for it is kept there.
CHIPS = pytest.mark.parametrize(
    "chip",
    [pytest.param(chip, marks=pytest.mark.xdist_group(chip)) for chip in ("T4", "A100", "H100")],
)
TRAINING_SET = 54_000 * 28 * 28  # bytes


@functools.cache
def compiled(chip: str, *programs: str) -> dict:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, chip, *programs], capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def readings(chip: str) -> dict:
    return compiled(chip, "mlp", "mlp in bfloat16", "cnn", "population")


@CHIPS
def test_the_host_waits_for_nothing_within_an_epoch(chip):
    """The loop over steps is found by its known length. A population asks once an epoch whether it
    is the last of the call.
    """
    for name, reading in readings(chip).items():
        assert reading["host"] == [], name
        assert reading["waits"] == (name == "population"), name


@CHIPS
def test_a_step_is_few_kernels_in_one_graph(chip):
    """Measured with jax 0.10.2: 27 to 33, and 40 to 42 of a cnn, whose convolutions stay outside of
    graphs.
    """
    for name, reading in readings(chip).items():
        assert reading["launches"] == 1 or name == "cnn", name
        assert reading["kernels"] <= (48 if name == "cnn" else 36), name
        assert reading["convolutions"] == (5 if name == "cnn" else 0), name


@CHIPS
def test_the_training_set_is_not_copied_in_a_step(chip):
    """No array that a step writes comes near it."""
    for name, reading in readings(chip).items():
        assert reading["largest"] < TRAINING_SET / 2, name


@CHIPS
def test_products_are_of_the_type_that_the_chip_has_units_for(chip):
    """A T4 has no units for bfloat16, and computes it in float32; from A100 on float32 may be
    TF32.
    """
    found = readings(chip)
    assert {*found["mlp"]["products"]} <= ({"f32"} if chip == "T4" else {"f32", "tf32"})
    assert ("bf16" in found["mlp in bfloat16"]["products"]) == (chip != "T4")


def test_what_is_asserted_can_fail():
    """Of an optimizer with many products, batches of half the training set, and losses that loop
    until, and that call the host.
    """
    found = compiled("T4", "muon", "half", "asking", "spoken")
    assert found["muon"]["kernels"] > 36
    assert found["half"]["largest"] > TRAINING_SET / 2
    assert found["asking"]["waits"] > 0
    assert found["spoken"]["host"] == ["xla_ffi_python_gpu_callback"]
    assert found["spoken"]["launches"] > 1

"""Where JAX starts: a chip that another process holds gets a message, where JAX would take the CPU
without a word.
"""

import jax
import pytest

from jaxnet import InputError
from jaxnet.runtime.devices import use_platform

# What libtpu 0.0.21.1 says where another process has its lock and the device, or the lock alone
# (tests/kernels/test_tpu.py asks it), and what was reported of others: jax issue 13260, and
# vllm-project/tpu-inference 2257.
HELD = (
    "ABORTED: The TPU is already in use by process with pid 4242. Not attempting to load "
    "libtpu.so in this process."
)
OF_ANOTHER = (
    "ABORTED: The TPU is already in use by another process probably owned by another "
    'user. Run "$ sudo lsof -w /dev/accel0"'
)
BUSY = (
    "FAILED_PRECONDITION: TPU initialization failed: open(/dev/vfio/0): Device or resource "
    "busy; Couldn't open iommu group /dev/vfio/0"
)
LOCKED = (
    'ABORTED: Internal error when accessing libtpu multi-process lockfile. Run "$ sudo rm '
    '/tmp/libtpu_lockfile".'
)
NONE = "UNKNOWN: TPU initialization failed: No ba16c7433 device found."


class Cpu:
    platform = "cpu"


@pytest.fixture
def chip(monkeypatch):
    """Has JAX say this of its TPU backend: asked for by name, or in JAX_PLATFORMS (required)."""

    def says(message: str, *, required: bool = False) -> None:
        def devices(backend=None):
            if required:
                raise RuntimeError(
                    f"Unable to initialize backend 'tpu': {message} (set JAX_PLATFORMS='' to "
                    "automatically choose an available)"
                )
            if backend == "tpu":
                raise RuntimeError(
                    f"Backend 'tpu' failed to initialize: {message}. Available backends are ['cpu']"
                )
            return [Cpu]

        monkeypatch.setattr(jax, "devices", devices)
        monkeypatch.setattr(jax.config, "update", lambda name, value: None)

    return says


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("message", [HELD, OF_ANOTHER, BUSY, LOCKED])
def test_a_held_chip_is_said_to_be_held(chip, message, required):
    chip(message, required=required)
    with pytest.raises(
        InputError,
        match=r"the TPU is held by .*one process at a time.*restart its session.*--platform cpu",
    ) as caught:
        use_platform("tpu" if required else None)
    assert (
        ("process 4242" in str(caught.value))
        == ("kill 4242" in str(caught.value))
        == (message == HELD)
    )
    assert message[:40] in str(caught.value)


def test_where_there_is_no_chip_the_cpu_is_taken(chip):
    chip(NONE)
    use_platform()
    use_platform("cpu")
    with pytest.raises(InputError, match="JAX has started on cpu already"):
        use_platform("tpu")
    chip(NONE, required=True)
    with pytest.raises(InputError, match=r"no tpu can be used here .*install jax\[tpu\]"):
        use_platform("tpu")


def test_this_machine_without_one():
    use_platform()
    assert jax.devices()[0].platform == "cpu"

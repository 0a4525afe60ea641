"""Whether the TPU's compiler takes a program. A separate process asks, since some compilers abort
their process.

    python -m jaxnet.kernels.probe FILE TOPOLOGY

FILE is what `jax.export` wrote. The answer is cached in the user's cache folder, for this version
of jax and of libtpu.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import jax
import jax.export
import platformdirs

TOPOLOGIES = {
    "TPU v5 lite": "v5e:1x1",
    "TPU v5e": "v5e:1x1",
    "TPU v6 lite": "v6e:1x1",
    "TPU v6e": "v6e:1x1",
}  # by kind of device
PROBE_SECONDS = 600  # the compiler may take this long
# The compiler runs beside the process that holds the chip, and must not ask where it runs.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1", "TPU_WORKER_HOSTNAMES": "localhost",
}  # fmt: skip


def refusal(
    program: jax.export.Exported,
    kind: str,
    *,
    ask: Callable[[bytes, str], str | None] | None = None,
) -> str | None:
    """Ask why the compiler refuses a program.

    Args:
        program: the program, exported for TPUs.
        kind: kind of device, a key of TOPOLOGIES.
        ask: asks where the cache has no answer; `ask_compiler` by default.

    Returns:
        The reason, or None where the compiler takes the program.
    """
    topology = TOPOLOGIES[kind]
    # Remove the source locations, which do not matter to the compiler.
    text = re.sub(r"^#loc.*$|loc\(.*\)", "", program.mlir_module(), flags=re.MULTILINE)
    about = (
        hashlib.sha256(text.encode()).hexdigest(),
        topology,
        jax.__version__,
        _version("libtpu"),
    )
    memory = (
        Path(platformdirs.user_cache_dir("jaxnet"))
        / "kernels"
        / f"{hashlib.sha256(repr(about).encode()).hexdigest()}.json"
    )
    try:
        return json.loads(memory.read_text())["refusal"]
    except (OSError, ValueError, KeyError):
        try:
            answer = (ask or ask_compiler)(bytes(program.serialize()), topology)
        except subprocess.TimeoutExpired:  # of a busy machine; asked again next time
            return f"the compiler took more than {PROBE_SECONDS} seconds"
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=memory.parent, delete=False) as file:
            json.dump({"refusal": answer, "of": about}, file)
        os.replace(file.name, memory)
    except OSError:  # without a cache, the compiler is asked again next time
        pass
    return answer


def ask_compiler(program: bytes, topology: str) -> str | None:
    """Ask the compiler in a process of its own why it refuses a program.

    Args:
        program: what `jax.export` serialized.
        topology: name of the topology, a value of TOPOLOGIES.

    Returns:
        The reason, or None where the compiler takes the program.

    Raises:
        subprocess.TimeoutExpired: where it takes longer than PROBE_SECONDS.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program"
        path.write_bytes(program)
        command = [sys.executable, "-m", "jaxnet.kernels.probe", str(path), topology]
        done = subprocess.run(
            command,
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
        )
    if done.returncode < 0:
        return f"the compiler ended its process with {signal.Signals(-done.returncode).name}"
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"exit code {done.returncode}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _compile(path: str, topology: str) -> None:
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    exported = jax.export.deserialize(bytearray(Path(path).read_bytes()))
    try:
        devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    except Exception:  # before libtpu 0.0.52
        devices = topologies.get_topology_desc(
            platform="tpu", topology_name=topology, chips_per_host_bounds=(1, 1, 1)
        ).devices
    on_chip = SingleDeviceSharding(devices[0])
    leaves = [
        jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=on_chip) for leaf in exported.in_avals
    ]
    jax.jit(exported.call).lower(*exported.in_tree.unflatten(leaves)[0]).compile()


if __name__ == "__main__":
    _compile(*sys.argv[1:])

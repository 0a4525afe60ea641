"""What does XLA make of jaxnet's programs for an NVIDIA GPU: kernels a step, CUDA graphs, waits for
the host, memory?

    pip install --no-deps "jax-cuda13-plugin==VERSION" "jax-cuda13-pjrt==VERSION"
    python -m experiments.benchmarks.gpu_programs --chips T4 A100 H100

Compiled for the description of a chip, never run; VERSION is that of the installed jax, and cuda12
serves too: no GPU is needed, and no time is measured. Without a device XLA cannot tune, so that a
product may be another kernel on a real one, with scratch memory of its own, and the sort that
shuffles is XLA's and not CUB's. What is fused, copied, recorded into graphs or sent to the host is
as it would be with a CUDA 12.3 or later. XLA needs ptxas, of the CUDA toolkit or of the package
nvidia-cuda-nvcc. Flags of XLA are taken from XLA_FLAGS, such as
--xla_gpu_enable_command_buffer=+while, which records the loop over steps too.
"""

import importlib.util
import itertools
import math
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import tyro
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
from rich.console import Console
from rich.table import Table

import jaxnet
from jaxnet import Plan, Recipe
from jaxnet.core.training import Problem, start
from jaxnet.data import Standardization
from jaxnet.engine import fit as engine_fit
from jaxnet.engine import in_memory
from jaxnet.engine.arguments import check_arguments
from jaxnet.population.job import make_jobs
from jaxnet.population.program import compile_program

TRAIN, VALIDATION, BATCH, MEMBERS = 54_000, 6_000, 128, 64
CUDA = "12.9.0"  # of the driver; before 12.3 XLA records no calls of libraries into graphs
# operations, memory and custom calls of the host
HOST = r" (infeed|outfeed|send|recv)\(|(S\(5\))|(\w*callback\w*)\""
# operations that do nothing
NOTHING = ("parameter", "get-tuple-element", "bitcast", "tuple", "constant")
COLUMNS = (
    "program",
    "chip",
    "precision",
    "kernels",
    "fusions",
    "gemms",
    "convolutions",
    "others",
    "launches",
    "waits",
    "products",
    "to the host",
    "largest",
    "arguments",
    "temporary",
)


class Chip(NamedTuple):
    """A GPU as XLA's cost model sees it, from NVIDIA's data sheets: bytes, bytes a second and
    GHz.
    """

    capability: tuple[int, int]
    multiprocessors: int
    lanes: int
    threads: int
    shared: int
    shared_most: int
    cache: int
    memory: int
    bandwidth: float
    clock: float


CHIPS = {
    "T4": Chip((7, 5), 40, 64, 1024, 65536, 65536, 4 << 20, 16 << 30, 320e9, 1.59),
    "A100": Chip((8, 0), 108, 64, 2048, 167936, 166912, 40 << 20, 40 << 30, 1555e9, 1.41),
    "H100": Chip((9, 0), 132, 128, 2048, 233472, 232448, 50 << 20, 80 << 30, 3352e9, 1.98),
}


@dataclass(frozen=True)
class Options:
    """What to compile."""

    chips: tuple[Literal["T4", "A100", "H100"], ...] = ("T4", "A100", "H100")
    """of which chips"""
    precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    """of the network's products"""


@dataclass(frozen=True)
class Reading:
    """What a compiled program does in a step of training, and what all of it needs.

    launches: what the host starts in a step, kernels or graphs of them. products: types that matrix
        products and convolutions take.
    largest: bytes of the largest array that a step writes.
    waits: loops of unknown length and branches in all of the program, for which the host asks the
        device.
    host: operations that send something to the host. arguments, temporary: bytes.
    """

    fusions: int
    gemms: int
    convolutions: int
    others: int
    launches: int
    products: list[str]
    largest: int
    waits: int
    host: list[str]
    arguments: int
    temporary: int

    @property
    def kernels(self) -> int:
        """Kernels a step, where a call of a library is one."""
        return self.fusions + self.gemms + self.convolutions + self.others


def installed() -> bool:
    """Whether a compiler for NVIDIA GPUs is there."""
    return importlib.util.find_spec("jax_plugins") is not None and any(
        importlib.util.find_spec(f"jax_plugins.xla_cuda{version}") for version in (12, 13)
    )


def device(name: str) -> Any:
    """A GPU that is not there, for programs to be compiled for."""
    chip = CHIPS[name]
    versions = " ".join(
        f'{which}: "{CUDA}"'
        for which in (
            "driver_version",
            "kernel_mode_driver_version",
            "runtime_version",
            "compile_time_toolkit_version",
        )
    )
    description = f"""gpu_device_info {{
        threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
        shared_memory_per_core: {chip.shared} shared_memory_per_block_optin: {chip.shared_most}
        threads_per_core_limit: {chip.threads} core_count: {chip.multiprocessors}
        fpus_per_core: {chip.lanes}
        block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
        memory_bandwidth: {chip.bandwidth:.0f} l2_cache_size: {chip.cache}
        clock_rate_ghz: {chip.clock} device_memory_size: {chip.memory}
        cuda_compute_capability {{ major: {chip.capability[0]} minor: {chip.capability[1]} }}
        registers_per_core_limit: 65536 registers_per_block_limit: 65536 {versions} }}
        platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 8 }}
        device_description_str: "{name}" """
    return topologies.get_topology_desc(
        platform="cuda", topology_name=name, target_config=description, topology="1x1x1"
    ).devices[0]


def images() -> jaxnet.Splits:
    """Zeros in the shapes of MNIST."""

    def part(examples: int) -> jaxnet.Dataset:
        return jaxnet.Dataset(
            np.zeros((examples, 28, 28), np.uint8),
            np.zeros(examples, np.int32),
            tuple("0123456789"),
            255.0,
        )

    return jaxnet.Splits(part(TRAIN), part(VALIDATION), part(16), Standardization.of(part(16)))


def placed(tree: Any, device: Any) -> Any:
    """Shapes and types of arrays on a device."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=SingleDeviceSharding(device)
        ),
        tree,
    )


def fit(model: jaxnet.Model, recipe: Recipe, device: Any, loss: Any = None) -> Any:
    """`jaxnet.fit`, compiled."""
    problem, _ = check_arguments(Problem(model, images(), recipe, loss))
    given = placed((problem, jax.random.key(0), None, None), device)
    return engine_fit._fit.lower(Plan(), *given).compile()


def epoch(model: jaxnet.Model, recipe: Recipe, device: Any) -> Any:
    """The epoch that `jaxnet.train` loops over, compiled."""
    problem, _ = check_arguments(Problem(model, images(), recipe))
    state = jax.eval_shape(start, problem, jax.random.key(0))
    return in_memory._epoch.lower(Plan(), *placed((problem, state), device)).compile()


def members(model: jaxnet.Model, recipe: Recipe, device: Any, count: int = MEMBERS) -> Any:
    """A call of `jaxnet.fit_population` for so many members at once, compiled."""
    keys = jax.random.split(jax.random.key(0), count)
    (job,) = make_jobs([Problem(model, images(), recipe)] * count, keys)
    with ThreadPoolExecutor(2) as pool:
        return compile_program(job, Plan(chunk=count), (device,), pool).advance.result()


def mlp() -> jaxnet.Model:
    """784-128-64-10."""
    return jaxnet.mlp((128, 64))


PROGRAMS: dict[str, tuple[Callable[..., Any], Callable[[], jaxnet.Model]]] = {
    "fit mlp": (fit, mlp),
    "epoch of train, mlp": (epoch, mlp),
    f"population of {MEMBERS} mlp": (members, mlp),
    "fit cnn": (fit, jaxnet.cnn),
}


def dump_to(folder: str) -> None:
    """Have XLA write what it makes of programs; call it before JAX starts."""
    flags = (
        f"--xla_dump_to={folder} --xla_dump_hlo_as_text "
        "--xla_dump_hlo_module_re=jit_(_fit|_epoch|advance)"
    )
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
    jax.config.update("jax_platforms", "cpu")


def read(compiled: Any, folder: str, steps: int = -(-TRAIN // BATCH)) -> Reading:
    """Read the program last compiled, and delete what XLA wrote of it. steps: of an epoch, by which
    their loop is known.
    """
    text, memory = compiled.as_text(), compiled.memory_analysis()
    sequence = max(
        Path(folder).glob("*.thunk_sequence*.txt")
    ).read_text()  # after passes, if they changed anything
    assembly = "".join(path.read_text() for path in Path(folder).glob("*.ptx"))
    for path in filter(Path.is_file, Path(folder).iterdir()):
        path.unlink()
    [name] = re.findall(rf' while\(.*body=%([\w.-]+).*"known_trip_count":{{"n":"{steps}"', text)
    body = re.search(rf"^%{re.escape(name)} .*?^}}", text, re.MULTILINE | re.DOTALL)
    assert body is not None
    operations = re.findall(
        r"^ +(?:ROOT )?%([\w.-]+) = (.*?) ([a-z-]+)\((.*)$", body[0], re.MULTILINE
    )
    types = {name: type_ for name, type_, _, _ in operations}
    kinds, largest = Counter[str](), 0
    # units that XLA's own kernels use, where it writes them
    products = set(re.findall(r"mma[\w.]*?\.(bf16|tf32|f16)\.", assembly))
    for _, type_, operation, rest in operations:
        if operation in NOTHING:
            continue
        library = re.search(r'custom_call_target="__cu(blas|dnn)', rest)
        kind = "gemm" if 'gemm_fusion"' in rest else library[1] if library else operation
        kinds[kind] += 1
        if kind in ("gemm", "blas", "dnn"):
            products.add(types[re.findall(r"%([\w.-]+)", rest)[0]].split("[")[0])
        largest = max(
            largest, *(_bytes(*array) for array in re.findall(r"([a-z]+)(\d*)\[([\d,]*)\]", type_))
        )
    launches, branches = _launches(sequence)
    return Reading(
        fusions=kinds.pop("fusion", 0),
        gemms=kinds.pop("gemm", 0) + kinds.pop("blas", 0),
        convolutions=kinds.pop("dnn", 0),
        others=kinds.total(),
        launches=launches,
        products=sorted(products),
        largest=largest,
        waits=branches
        + sum("known_trip_count" not in line for line in text.splitlines() if " while(" in line),
        host=sorted({"".join(words) for words in re.findall(HOST, text)}),
        arguments=memory.argument_size_in_bytes,
        temporary=memory.temp_size_in_bytes,
    )


def _launches(sequence: str) -> tuple[int, int]:
    """(what the host starts in a step, branches of the whole program that it takes). sequence:
    indented as it is nested.

    The loop over steps is the innermost one with most to do. In what is recorded into a graph the
    host has no part.
    """
    lines = [
        (len(space), word)
        for space, word in re.findall(r"^( *)(?:\d+: (?=k))?(k\w+|body:)", sequence, re.MULTILINE)
    ]
    bodies, branches = list[tuple[int, int]](), 0
    for i, (depth, word) in enumerate(lines):
        recorded, above = False, depth
        for outer, holder in reversed(lines[:i]):
            if outer < above:
                recorded, above = recorded or holder == "kCommandBuffer", outer
        branches += word == "kConditional" and not recorded
        if word == "body:":
            inside = list(
                itertools.takewhile(lambda line, depth=depth: line[0] > depth, lines[i + 1 :])
            )
            if all(kind != "kWhile" for _, kind in inside):
                first = inside[0][0]
                bodies.append(
                    (len(inside), 0 if recorded else sum(depth == first for depth, _ in inside))
                )
    return max(bodies)[1], branches


def _bytes(kind: str, bits: str, shape: str) -> int:
    return math.prod(int(size) for size in shape.split(",") if size) * int(bits or 8) // 8


def main() -> None:
    """Compile, read and print."""
    options = tyro.cli(Options, description=__doc__)
    if not installed():
        raise SystemExit(
            "no compiler for NVIDIA GPUs is installed; see --help for how to install it"
        )
    table = Table(*COLUMNS, box=None)
    for column in table.columns[3:]:
        column.justify = "right"
    with tempfile.TemporaryDirectory() as folder:
        dump_to(folder)
        for name in options.chips:
            chip = device(name)
            for what, (program, model) in PROGRAMS.items():
                for precision in options.precisions:
                    r = read(
                        program(
                            model(),
                            Recipe(
                                epochs=3,
                                batch_size=BATCH,
                                precision=precision,
                                schedule="constant",
                                learning_rate=1e-3,
                            ),
                            chip,
                        ),
                        folder,
                    )
                    kernels = (
                        r.kernels,
                        r.fusions,
                        r.gemms,
                        r.convolutions,
                        r.others,
                        r.launches,
                        r.waits,
                    )
                    sizes = (
                        f"{size / 2**20:.1f}" for size in (r.largest, r.arguments, r.temporary)
                    )
                    host = " ".join(r.host) or "none"
                    table.add_row(
                        what,
                        name,
                        precision,
                        *map(str, kernels),
                        " ".join(r.products),
                        host,
                        *sizes,
                    )
    Console(highlight=False, width=200).print(table)
    print(
        "Kernels to launches are of a step, waits and what goes to the host of the whole program; "
        "sizes are in MiB."
    )


if __name__ == "__main__":
    main()

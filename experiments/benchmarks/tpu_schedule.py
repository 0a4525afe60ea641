"""How many cycles does a step of training take on a TPU, by the schedule of its compiler: as one
kernel, and as XLA's scan?

    pip install -e '.[tpu]'
    python -m experiments.benchmarks.tpu_schedule --optimizers adam --batches 128 512 --members 1 64
    --json schedule.json
    python -m experiments.benchmarks.tpu_schedule --features

Networks 784-128-64-10 on bytes in MNIST's shape, compiled for a TPU that is not there. Nothing
runs: no figure is a measurement. Waiting for memory (DMA) is in none of them.

*resident*: the kernel's scheduled bundles, one a cycle, from the label of the loop over its grid to
the branch back to it, empty ones included, without the blocks that copy a group's state in and out,
which a branch skips at all other steps; times the groups into which the members are divided. Exact
for straight-line code; a loop inside would make it a lower bound, and then it says so.

*xla*: the sum of the compiler's own estimates (estimated_cycles, with what it takes to start an
operation) over the operations in the body of the loop over steps, loops and calls within counted
once. Gathers of rows and operations on scalars have no estimate and count as none. Bundles would
say less: the code of a fusion is a loop, run an unknown number of times.

*bound*: what the matrix units need for the products alone, of a and b, (rows, inner) and (inner,
columns), where a unit keeps a tile of b and takes a row of a at each cycle:

    sum over products of ceil16(rows) * ceil(inner / side) * ceil(columns / side) / (units * rows a
    cycle)

with the examples of a batch as columns (batch last): outputs = w h, (out, in) and (in, batch); the
gradient of inputs = w^T g, (in, out) and (out, batch), not of the first layer; the gradient of w =
g h^T, (out, batch) and (batch, in). Rows come by 16, a register of bfloat16. v5e has 4 units of
side 128 that take a row a cycle, v6e 2 of side 256 that take two: its schedules have products of 16
rows 8 cycles apart, and its peak of 918 TFLOP/s asks for as much. Another layout can need less. The
kernel's first layer of several members is h w, for whose gradient 784 rows do in place of 7 tiles
of 128: 508 cycles a member in place of 536 at a batch of 128 on v5e; on v6e two members share a
tile there.
"""

import importlib.util
import itertools
import json
import math
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

import jaxnet
from jaxnet import Plan, Recipe
from jaxnet.core import training
from jaxnet.core.recipe import as_float32
from jaxnet.data import Standardization
from jaxnet.data.augmentation import Augmentation
from jaxnet.engine.parallel import run_steps_on
from jaxnet.kernels.probe import ENVIRONMENT
from jaxnet.models.model import with_outputs

EXAMPLES, WIDTHS = 60_000, (784, 128, 64, 10)
DELAY = 4  # bundles that still run after a branch
BUNDLE = re.compile(r"^ *(?:0x)?([0-9a-f]+) +((?:[A-Z]{2} ?)*) *: *[> ]*\{(.*)", re.MULTILINE)
# matrix units, side of their tiles, rows that each takes a cycle
UNITS = {"v5e": (4, 128, 1), "v6e": (2, 256, 2)}
FULL = 128, 59_904  # a batch, and as many examples as are whole batches
NOISE = {"augmentation": Augmentation(noise=0.1)}
FEATURES: dict[
    str, tuple[dict[str, Any], int, bool]
] = {  # changes of the recipe, examples, whether they have weights
    "plain": ({}, FULL[1], False),
    "label smoothing": ({"label_smoothing": 0.1}, FULL[1], False),
    "weight decay": ({"weight_decay": 1e-2}, FULL[1], False),
    "clip": ({"clip": 1.0}, FULL[1], False),
    "l1": ({"l1": 1e-5}, FULL[1], False),
    "dropout in both hidden layers": ({"dropout": 0.5}, FULL[1], False),
    "noise on the inputs": (NOISE, FULL[1], False),
    "weights of examples": ({}, FULL[1], True),
    "a last batch that is not full": ({}, EXAMPLES, False),
    "a schedule": ({"schedule": "cosine"}, FULL[1], False),
}
COLUMNS = (
    "optimizer",
    "batch",
    "members",
    "implementation",
    "cycles_per_step",
    "bound_cycles_per_step",
    "method",
)


@dataclass(frozen=True)
class Options:
    """What to compile."""

    topology: str = "v5e:1x1"
    """the TPU: v5e:1x1 or v6e:1x1"""
    optimizers: tuple[Literal["sgd", "momentum", "nesterov", "adam", "adamw"], ...] = (
        "sgd",
        "momentum",
        "adam",
    )
    """of which optimizers"""
    batches: tuple[int, ...] = (128, 512)
    """batch sizes"""
    members: tuple[int, ...] = (1, 64)
    """how many networks at once"""
    implementations: tuple[Literal["resident", "xla"], ...] = ("resident", "xla")
    """the kernel, XLA's scan, or both"""
    own: tuple[Literal["minibatches", "learning-rates"], ...] = ()
    """what each member has for itself; by default all share both"""
    features: bool = False
    """instead of all that: what each feature of a recipe adds to a step of the kernel; one network,
    batch 128, sgd and adam
    """
    json: Path | None = None
    """a file for the rows"""
    keep: Path | None = None
    """a folder for what was counted: the kernel's bundles and XLA's program"""


class Case(NamedTuple):
    """What is trained, and how. own: see Options. examples: of the training set. weighted: whether
    they have weights.
    """

    recipe: Recipe
    members: int = 1
    implementation: str = "resident"
    own: tuple[str, ...] = ()
    examples: int = EXAMPLES
    weighted: bool = False

    @property
    def name(self) -> str:
        """For files."""
        words = (
            self.implementation,
            self.recipe.optimizer,
            f"batch{self.recipe.batch_size}",
            f"members{self.members}",
            *self.own,
        )
        return "-".join(words)


class Reading(NamedTuple):
    """Cycles a step of all members together, how they were counted, and what they were counted
    in.
    """

    cycles: int
    method: str
    text: str


def steps_of(case: Case, device: Any) -> tuple[Any, tuple[Any, ...]]:
    """(The steps of an epoch as a function to be compiled, the shapes of its arguments on the
    device).
    """

    def part(examples: int) -> jaxnet.Dataset:
        return jaxnet.Dataset(
            np.zeros((examples, 28, 28), np.uint8),
            np.zeros(examples, np.int32),
            tuple("0123456789"),
            255.0,
        )

    splits = jaxnet.Splits(
        part(case.examples), part(0), training.NO_EXAMPLES, Standardization.of(part(16))
    )
    recipe, batch = as_float32(case.recipe), case.recipe.batch_size
    model = with_outputs(jaxnet.mlp(WIDTHS[1:-1]), WIDTHS[-1])
    rows: Any = jax.ShapeDtypeStruct((-(-case.examples // batch), batch), jnp.int32)
    weights = jax.ShapeDtypeStruct((case.examples,), jnp.float32) if case.weighted else None

    order_key, recipe_axis = (
        (0 if "minibatches" in case.own else None),
        (0 if "learning-rates" in case.own else None),
    )

    def begin(key: Any) -> training.TrainState:
        problem = training.Problem(model, splits, recipe)
        return training.start(
            problem, key, order_key=jax.random.key(1) if order_key is None else key
        )

    def run(splits: Any, recipe: Any, weights: Any, state: Any, rows: Any) -> Any:
        problem = training.Problem(model, splits, recipe, weights=weights)
        batches = training.shuffle(problem, state)._replace(rows=rows)
        return run_steps_on(Plan(implementation=case.implementation))(problem, state, batches)

    key = jax.random.key(0)
    state = jax.eval_shape(begin, key)
    if case.members > 1:
        # As in a population: the number of the epoch is one for all.
        axes: Any = training.TrainState(0, 0, 0, 0, order_key, 0, None, 0)  # pyrefly: ignore[bad-argument-type]
        run = jax.vmap(run, (None, recipe_axis, None, axes, order_key))
        state = jax.eval_shape(jax.vmap(begin, out_axes=axes), jax.random.split(key, case.members))
        recipe, rows = (
            tree
            if axis is None
            else jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct((case.members, *leaf.shape), leaf.dtype), tree
            )
            for tree, axis in ((recipe, recipe_axis), (rows, order_key))
        )
    place = SingleDeviceSharding(device)
    args = (splits, recipe, weights, state, rows)
    return run, jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), args
    )


def read(case: Case, device: Any, dump: Path) -> Reading:
    """Compile and count."""
    run, args = steps_of(case, device)
    traced = jax.jit(run).trace(*args)
    compiled = traced.lower().compile()
    written = sorted(dump.glob("*-resident*-packed-bundles-post-ra.txt"))
    bundles = [
        path.read_text(errors="ignore") for path in written if "schedule-analysis" not in path.name
    ]
    for path in dump.iterdir():
        path.unlink()
    if case.implementation == "xla":
        text = compiled.as_text()
        assert text is not None
        operations = estimated(text)
        longest, cycles = max(operations, key=lambda each: each[1])
        total = sum(cycles for _, cycles in operations)
        return Reading(
            total,
            f"XLA's estimates of {len(operations)} operations, the longest {cycles:,}: {longest}",
            text,
        )
    grid = re.search(r"grid=\((\d+), \d+\)", str(traced.jaxpr))
    assert grid is not None
    [kernel] = bundles
    cycles, exact = scheduled(kernel)
    groups = int(grid[1])
    times = f" x {groups} groups of {math.ceil(case.members / groups)}" if groups > 1 else ""
    return Reading(
        cycles * groups, f"{'' if exact else 'at least '}{cycles:,} bundles{times}", kernel
    )


def scheduled(text: str) -> tuple[int, bool]:
    """(Bundles of a step of the kernel, whether that is all: no loop is inside). text: its bundles
    as the compiler prints them.
    """
    bundles = [(int(address, 16), label, rest) for address, label, rest in BUNDLE.findall(text)]
    assert [address for address, _, _ in bundles] == [*range(len(bundles))]
    branches = [
        (address, int(target))
        for address, _, rest in bundles
        for target in re.findall(r"sbr\.rel .*?target bundleno = (\d+)", rest)
    ]
    begin = next(address for address, label, _ in bundles if "LB" in label)
    end = (
        next(address for address, target in branches if target == begin and address > begin)
        + DELAY
        + 1
    )
    skipped = set[int]()
    for address, target in branches:
        region = range(address + DELAY + 1, target)
        what = "".join(bundles[i][2] for i in region)
        # What a step computes multiplies, and what fetches its minibatch is marked as Pallas' own.
        copies = (
            ("dma" in what or "vst" in what)
            and "vmatmul" not in what
            and "pipeline-emitter" not in what
        )
        if begin <= address < end and copies:
            skipped.update(region)
    counted = [bundle for bundle in bundles[begin:end] if bundle[0] not in skipped]
    assert any("vmatmul" in rest for _, _, rest in counted)
    inside = {address for address, target in branches if begin < target <= address} - skipped
    return len(counted), inside.isdisjoint(range(begin, end))


def estimated(text: str) -> list[tuple[str, int]]:
    """(Name and type, estimated cycles) of each operation in the body of the loop over steps. text:
    a compiled program.
    """
    computations = dict(
        re.findall(r"^(?:ENTRY )?%([\w.-]+) [^\n]*\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    )
    [entry] = re.findall(r"^ENTRY %([\w.-]+)", text, re.MULTILINE)

    def operations(name: str) -> list[tuple[str, int]]:
        found = []
        for line in computations[name].splitlines():
            cycles = re.search(
                r'^ +(?:ROOT )?%([\w.-]+) = \(?(\w+\[[\d,]*\]).*"estimated_cycles":"(\d+)"', line
            )
            found += [(f"{cycles[1]} {cycles[2]}", int(cycles[3]))] if cycles else []
            if re.search(r" (while|call|conditional)\(", line):
                for inner in re.findall(
                    r"(?:body|to_apply|true_computation|false_computation)=%([\w.-]+)", line
                ):
                    found += operations(inner)
        return found

    loops = re.findall(r" while\(.*body=%([\w.-]+)", computations[entry])
    return max(
        (operations(loop) for loop in loops), key=lambda found: sum(cycles for _, cycles in found)
    )


def bound(topology: str, batch: int, members: int) -> float:
    """Cycles that the matrix units need for a step's products: see above."""
    units, side, rate = UNITS[topology.split(":")[0]]

    def product(rows: int, inner: int, columns: int) -> int:
        return math.ceil(rows / 16) * 16 * math.ceil(inner / side) * math.ceil(columns / side)

    rows = 0
    for layer, (width, outputs) in enumerate(itertools.pairwise(WIDTHS)):
        rows += product(outputs, width, batch) + product(outputs, batch, width)
        rows += product(width, outputs, batch) if layer else 0
    return members * rows / (units * rate)


def print_cycles(options: Options, device: Any, dump: Path) -> None:
    """Compile all cases, and print a row of each as it comes."""
    print(
        "optimizer batch members implementation  cycles a step  an example      bound  x bound  x "
        "kernel  counted",
        flush=True,
    )
    found = []
    for optimizer, batch, members in itertools.product(
        options.optimizers, options.batches, options.members
    ):
        recipe, least = (
            Recipe(
                optimizer=optimizer,
                batch_size=batch,
                epochs=1,
                schedule="constant",
                learning_rate=1e-3,
            ),
            bound(options.topology, batch, members),
        )
        kernel = math.nan
        for implementation in options.implementations:
            case = Case(
                recipe,
                members,
                implementation,
                options.own if members > 1 else (),
                EXAMPLES // batch * batch,
            )
            cycles, method, text = read(case, device, dump)
            kernel = cycles if implementation == "resident" else kernel
            print(
                f"{optimizer:9} {batch:5} {members:7} {implementation:14} {cycles:14,} "
                f"{cycles / batch / members:11.2f} {least:10,.0f}"
                f" {cycles / least:8.2f} {cycles / kernel:9.2f}  {method}",
                flush=True,
            )
            values = (optimizer, batch, members, implementation, cycles, least, method)
            found.append(dict(zip(COLUMNS, values, strict=True)))
            if options.json is not None:
                options.json.write_text(json.dumps(found, indent=1) + "\n")
            keep(options, case.name, text)


def print_features(options: Options, device: Any, dump: Path) -> None:
    """Compile the kernel without and with each feature, and print what that adds."""
    print(
        f"{'cycles a step':30}"
        + "".join(f"{optimizer:>10} {'added':>7}" for optimizer in ("sgd", "adam")),
        flush=True,
    )
    plain: dict[str, int] = {}
    for name, (changes, examples, weighted) in FEATURES.items():
        print(f"{name:30}", end="", flush=True)
        for optimizer in ("sgd", "adam"):
            plain_recipe: dict[str, Any] = {
                "schedule": "constant",
                "learning_rate": 1e-3,
                "epochs": 1,
            }
            recipe = Recipe(optimizer=optimizer, batch_size=FULL[0], **(plain_recipe | changes))
            cycles, _, text = read(Case(recipe, examples=examples, weighted=weighted), device, dump)
            keep(options, f"{optimizer} {name}".replace(" ", "-"), text)
            print(
                f"{cycles:10,} {cycles - plain.setdefault(optimizer, cycles):7,}",
                end="",
                flush=True,
            )
        print(flush=True)


def keep(options: Options, name: str, text: str) -> None:
    """What was counted, where it is wanted."""
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        (options.keep / f"{name}.txt").write_text(text)


def main() -> None:
    """Compile, count and print."""
    options = tyro.cli(Options, description=__doc__)
    if importlib.util.find_spec("libtpu") is None:
        raise SystemExit("libtpu, the compiler for TPUs, is not installed: pip install -e '.[tpu]'")
    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_platforms", "cpu")
        os.environ.update(
            ENVIRONMENT
            | {"LIBTPU_INIT_ARGS": f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true"}
        )
        # libtpu before 0.0.52 needs it
        one_chip = {"chips_per_host_bounds": (1, 1, 1)} if options.topology.endswith("1x1") else {}
        device = topologies.get_topology_desc(
            platform="tpu", topology_name=options.topology, **one_chip
        ).devices[0]
        (print_features if options.features else print_cycles)(options, device, Path(folder))


if __name__ == "__main__":
    main()

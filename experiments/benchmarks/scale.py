"""How does throughput grow with processes, and what would a run of a given size need, up to a pod?

    python -m experiments.benchmarks.scale
    python -m experiments.benchmarks.scale --members 1 --hidden 4096 4096 --examples 100000000
    --batch-size 8960

First this machine: 1, 2 and 4 processes, a CPU device on a core each, train one network with its
batches split over them, and a population dealt to them; where other programs want the cores too,
each exchange of gradients waits for its turn. Of the same run come the rate, the overhead of a step
and the speed between processes by which the model predicts, and beside its predictions stand
measured runs that it was not fitted to. Last, what a run of the given size would need, by the model
and what the makers publish of their chips: that is a calculation, on paper, and no measurement.
"""

import json
import math
import os
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import jax
import numpy as np
import tyro
from jax.sharding import PartitionSpec
from rich.console import Console
from rich.table import Table

import jaxnet
from experiments.benchmarks.cost_model import (
    CLASSES,
    FEATURES,
    Job,
    Kind,
    chips,
    line,
    need,
    of_network,
)
from jaxnet import Plan, Recipe
from jaxnet.core.training import Problem, epoch, run_steps, start
from jaxnet.data import Standardization
from jaxnet.data.streaming.chunks import SHARDS
from jaxnet.engine.arguments import check_arguments
from jaxnet.population.placement import LEAST
from jaxnet.runtime import processes
from jaxnet.runtime.processes import cores

EXCHANGED = (1_000, 1_000_000)  # numbers in the vectors that show what a message and a byte cost
EPOCHS = 8  # measured, of which the first two are left out
LIMIT = 600  # seconds for a set of processes


@dataclass(frozen=True)
class Options:
    """What to measure here, and the run to calculate."""

    processes: tuple[int, ...] = (1, 2, 4)
    """numbers of processes to measure"""
    measured_hidden: tuple[int, ...] = (128, 64)
    """hidden layers of the networks measured here"""
    measured_members: int = 16
    """of the population measured here"""
    measured_examples: int = 16_384
    """of 784 bytes each, in what is measured here"""
    measured_batch_size: int = 512
    """examples a step, of what is measured here"""
    optimizer: Literal["sgd", "momentum", "nesterov", "adam"] = "adam"
    """of what is measured and of what is calculated"""
    hidden: tuple[int, ...] = (128, 64)
    """of the calculated run"""
    members: int = 10_000
    """of the calculated run; batches of 1 are split over the devices, else members are dealt to
    them
    """
    examples: int = 1_000_000
    """of the calculated run, of 784 bytes each"""
    batch_size: int = 512
    """of the calculated run"""
    epochs: int = 30
    """of the calculated run"""
    utilization: float = 0.2
    """share of the published peak: XLA's own estimate for v5e, 205,300 cycles a step of 64 networks
    784-128-64-10 with batches of 128
    """
    disk: float = 1e9
    """bytes a second that a host reads: an assumption, a third of what local flash disks reach"""


def main() -> None:
    """Measure, predict what was measured, and calculate."""
    options = tyro.cli(Options, description=__doc__)
    console = Console(width=160, highlight=False)
    found = {count: start_processes(options, count) for count in sorted({1, *options.processes})}
    console.print(growth(options, found))
    here = this_machine(options, found)
    console.print(
        f"of these runs: {here.rate / 1e9:.1f} GFLOP/s and {here.overhead * 1e6:.0f} microseconds "
        "a step on a core"
        + (
            f"; {here.link / 1e9:.2f} GB/s and {here.hop * 1e6:.0f} microseconds a message "
            "between processes"
            if here.hop
            else ""
        )
    )
    console.print(check(options, found, here))
    console.print(on_paper(options, here))


def start_processes(options: Options, count: int) -> dict[str, Any]:
    """What so many processes measured, each on a core of its own as far as there are any."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own, environment = json.dumps(asdict(options)), os.environ | {"JAX_PLATFORMS": "cpu"}
    program = (
        "import json, sys\nfrom experiments.benchmarks import "
        "scale\nscale.work(*map(json.loads, sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, own]
    places = [json.dumps({"process": i, "count": count, "port": port}) for i in range(count)]
    running = [
        subprocess.Popen(
            [*command, place],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in places
    ]
    try:
        said = [each.communicate(timeout=LIMIT) for each in running]
    finally:
        for each in running:
            each.kill()
    for each, (_, errors) in zip(running, said, strict=True):
        if each.returncode:
            raise SystemExit(f"one of {count} processes failed:\n{errors[-3000:]}")
    return json.loads(said[0][0].splitlines()[-1])


def work(given: dict[str, Any], place: dict[str, int]) -> None:
    """A process's part of what so many of them measure; the first prints it. given: Options as JSON
    has them.
    """
    options = Options(**given | {"measured_hidden": tuple(given["measured_hidden"])})
    process, count, port = place["process"], place["count"], place["port"]
    if hasattr(os, "sched_setaffinity"):  # else one process would multiply matrices on all cores
        own = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {own[process % len(own)]})
    jaxnet.use_cpu_devices(1)
    if count > 1:
        processes.join(f"127.0.0.1:{port}", count, process)
    recipe = Recipe(
        optimizer=options.optimizer,
        batch_size=options.measured_batch_size,
        schedule="constant",
        epochs=EPOCHS,
        learning_rate=1e-3,
    )
    splits, plan = images(options.measured_examples), Plan(processes=count)
    found: dict[str, Any] = {
        "training": epoch_seconds(options.measured_hidden, splits, recipe, plan),
        "population": population_seconds(options, splits, recipe),
    }
    if count > 1:
        found["exchange"] = [message_seconds(size, plan) for size in EXCHANGED]
    else:
        found["small"] = epoch_seconds(small(options), splits, recipe, plan)
        hidden, other = unseen(options)
        found["unseen"] = epoch_seconds(hidden, splits, other, plan)
        found["bytes"] = program_bytes(hidden, splits, other)
    processes.leave()
    if process == 0:
        print(json.dumps(found))


def small(options: Options) -> tuple[int, ...]:
    """The network whose steps are mostly overhead."""
    return tuple(max(1, width // 8) for width in options.measured_hidden)


def unseen(options: Options) -> tuple[tuple[int, ...], Recipe]:
    """A run that no number of the model comes from."""
    return tuple(2 * width for width in options.measured_hidden), Recipe(
        optimizer="momentum",
        batch_size=options.measured_batch_size // 2,
        schedule="constant",
        epochs=EPOCHS,
        learning_rate=1e-3,
    )


def images(examples: int) -> jaxnet.Splits:
    """Noise with labels, to train on and to time."""
    rng = np.random.default_rng(0)

    def part(n: int) -> jaxnet.Dataset:
        x, y = rng.integers(0, 256, (n, FEATURES), np.uint8), rng.integers(0, CLASSES, n, np.int32)
        return jaxnet.Dataset(
            jax.device_put(x), jax.device_put(y), tuple(map(str, range(CLASSES))), 255.0
        )

    train = part(examples)
    return jaxnet.Splits(train, part(0), part(1), Standardization.of(train))


def epoch_seconds(
    hidden: tuple[int, ...], splits: jaxnet.Splits, recipe: Recipe, plan: Plan
) -> float:
    """The median epoch of one training, without the first two."""
    clock: list[float] = []
    recipe = replace(recipe, epochs=EPOCHS + 2)
    jaxnet.train(
        jaxnet.mlp(hidden),
        splits,
        recipe,
        jax.random.key(0),
        plan=plan,
        progress=lambda done, row: clock.append(time.perf_counter()),
    )
    return statistics.median(np.diff(clock)[2:])


def population_seconds(options: Options, splits: jaxnet.Splits, recipe: Recipe) -> float:
    """Of an epoch of the population, all members together: the second call, since the first
    compiles.
    """
    model, keys = (
        jaxnet.mlp(options.measured_hidden),
        jax.random.split(jax.random.key(0), options.measured_members),
    )
    for name in ("compiled", "measured"):
        processes.barrier(name)
        began = time.perf_counter()
        jaxnet.fit_population(model, splits, recipe, keys, order_key=jax.random.key(1))
        took = time.perf_counter() - began
    return took / EPOCHS


def message_seconds(size: int, plan: Plan, times: int = 50) -> float:
    """Of an all-reduce of so many numbers in float32."""

    def summed(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(
            0, times, lambda _, x: jax.lax.psum(x, "batch") / plan.total_devices, x
        )

    spread = jax.jit(
        jax.shard_map(
            summed,
            mesh=plan.mesh,
            in_specs=PartitionSpec(),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
    )
    x = plan.place(np.ones(size, np.float32))
    took = []
    for _ in range(4):
        began = time.perf_counter()
        jax.block_until_ready(spread(x))
        took.append((time.perf_counter() - began) / times)
    return statistics.median(took[1:])


def program_bytes(hidden: tuple[int, ...], splits: jaxnet.Splits, recipe: Recipe) -> int:
    """Of the compiled epoch of one training, by XLA's own account."""
    problem, _ = check_arguments(Problem(jaxnet.mlp(hidden), splits, recipe))
    state = jax.eval_shape(lambda: start(problem, jax.random.key(0)))
    program = jax.jit(lambda problem, state: epoch(problem, state, run_steps), donate_argnums=1)
    return compiled_bytes(program.lower(problem, state).compile())


def compiled_bytes(program: Any) -> int:
    """Of what a compiled program is given, gives and works on; what it gives in the place of what
    it was given counts once.
    """
    found = program.memory_analysis()
    return (
        found.argument_size_in_bytes
        + found.output_size_in_bytes
        - found.alias_size_in_bytes
        + found.temp_size_in_bytes
    )


def measured_job(
    options: Options, hidden: tuple[int, ...], members: int = 1, recipe: Recipe | None = None
) -> Job:
    """An epoch of what is measured here."""
    parameters, activations = of_network(hidden)
    batch, optimizer = (
        (options.measured_batch_size, options.optimizer)
        if recipe is None
        else (recipe.batch_size, str(recipe.optimizer))
    )
    return Job(
        members,
        parameters,
        options.measured_examples,
        FEATURES,
        activations,
        batch,
        1,
        optimizer,
        best=False,
    )


def this_machine(options: Options, found: dict[int, dict[str, Any]]) -> Kind:
    """A core, and messages between two processes, by what was measured with two networks and with
    two sizes of message.
    """
    steps = math.ceil(options.measured_examples / options.measured_batch_size)
    points = [
        (6.0 * of_network(hidden)[0] * options.measured_batch_size, found[1][name] / steps)
        for hidden, name in ((small(options), "small"), (options.measured_hidden, "training"))
    ]
    overhead, each = line(points[0], points[1])
    memory = (
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / cores()
        if hasattr(os, "sysconf")
        else LEAST
    )
    hop, link = 0.0, math.inf
    if 2 in found:
        fewer, more = (
            (2 * 4 * size / 2, seconds)
            for size, seconds in zip(EXCHANGED, found[2]["exchange"], strict=True)
        )
        offset, byte = line(fewer, more)
        hop, link = offset / 2, 1 / byte
    return Kind("a core of this machine", "cpu", 1 / each, memory, math.inf, overhead, link, hop)


def growth(options: Options, found: dict[int, dict[str, Any]]) -> Table:
    """Throughput beside processes and cores: the examples of all members, each of them trained on
    in a second.
    """
    load = (
        f" (load of the last minute {os.getloadavg()[0]:.1f}, these processes included)"
        if hasattr(os, "getloadavg")
        else ""
    )
    title = (
        f"measured on {cores()} cores of this machine{load}, processes over loopback; in "
        "steady state"
    )
    names = (
        "processes",
        "one training, examples/s",
        "speed-up",
        "efficiency",
        "population, examples/s",
        "speed-up",
        "efficiency",
        "",
    )
    table = Table(*names, title=title, box=None)
    for count, each in found.items():
        row = []
        for what, members in (("training", 1), ("population", options.measured_members)):
            speed_up = found[1][what] / each[what]
            row += [
                f"{members * options.measured_examples / each[what]:,.0f}",
                f"{speed_up:.2f}",
                f"{speed_up / count:.0%}",
            ]
        table.add_row(
            str(count),
            *row,
            "more processes than cores: they take turns" if count > cores() else "",
        )
    return to_the_right(table)


def check(options: Options, found: dict[int, dict[str, Any]], here: Kind) -> Table:
    """Predictions beside measured runs that the model was not fitted to."""
    table = Table(
        "not fitted to",
        "predicted",
        "measured",
        "predicted / measured",
        title="the model against this machine",
        box=None,
    )

    def add(name: str, predicted: float, measured: float, unit: str) -> None:
        table.add_row(
            name, f"{predicted:.3g} {unit}", f"{measured:.3g} {unit}", f"{predicted / measured:.2f}"
        )

    hidden, recipe = unseen(options)
    wanted = need(job := measured_job(options, hidden, recipe=recipe), here, 1, options.disk)
    assert wanted is not None
    name = f"{'-'.join(map(str, (FEATURES, *hidden, CLASSES)))}, batch {job.batch}, {job.optimizer}"
    add(f"an epoch of {name}", wanted.seconds, found[1]["unseen"], "s")
    add(f"memory of {name}", wanted.memory / 1e6, found[1]["bytes"] / 1e6, "MB")
    for count in (count for count in found if count <= cores()):
        for what, members in (("training", 1), ("population", options.measured_members)):
            if (what, count) == ("training", 1):
                continue  # the model is fitted to it
            wanted = need(
                measured_job(options, options.measured_hidden, members), here, count, options.disk
            )
            if wanted is not None:
                add(
                    f"an epoch of the {what}, {count} process{'es' * (count > 1)}",
                    wanted.seconds,
                    found[count][what],
                    "s",
                )
    return to_the_right(table)


def on_paper(options: Options, here: Kind) -> Table:
    """What the run asked for would need."""
    parameters, activations = of_network(options.hidden)
    job = Job(
        options.members,
        parameters,
        options.examples,
        FEATURES,
        activations,
        options.batch_size,
        options.epochs,
        options.optimizer,
    )
    networks = f"{job.members:,} network{'s' * (job.members > 1)} of {parameters:,} parameters"
    title = (
        f"calculated, not measured: {networks}, {job.examples:,} examples of {FEATURES} bytes, "
        f"{job.epochs} epochs, "
        f"batches of {job.batch}, {job.optimizer};"
        f"\nchips at {options.utilization:.0%} of the published peak, disks at "
        f"{options.disk / 1e9:g} GB/s a host, "
        "without starting and compiling"
    )
    table = Table(
        "devices", "kind", "at once on each", "memory of each", "time", "", title=title, box=None
    )
    for kind, counts in [(here, (1, cores())), *chips(options.utilization)]:
        for devices in sorted(set(counts)):
            if job.members == 1 and job.batch % devices:
                table.add_row(
                    f"{devices:,}",
                    kind.name,
                    "",
                    "",
                    "",
                    f"cannot share batches of {job.batch}: give a multiple of {devices:,}",
                )
                continue
            if (wanted := need(job, kind, devices, options.disk)) is None:
                table.add_row(
                    f"{devices:,}",
                    kind.name,
                    "",
                    "",
                    "",
                    "does not fit: train fewer examples, or one network from disk",
                )
                continue
            notes = ["examples from disk"] * wanted.streamed
            notes += [f"jaxnet splits those over {SHARDS} devices at most"] * (
                wanted.streamed and devices > SHARDS
            )
            notes += ["fewer members than devices: some rest"] * (1 < job.members < devices)
            notes += ["one job can have 6,144 of them"] * (
                kind.name == "TPU v5p" and devices > 6144
            )
            row = (
                f"{wanted.together:,}",
                f"{wanted.memory / 1e9:.3g} GB",
                duration(wanted.seconds),
            )
            table.add_row(f"{devices:,}", kind.name, *row, "; ".join(notes))
    return to_the_right(table)


def duration(seconds: float) -> str:
    """In the unit that a person would take."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.2g} s"


def to_the_right(table: Table) -> Table:
    """With numbers to the right."""
    for column in table.columns[:-1]:
        column.justify = "right"
    return table


if __name__ == "__main__":
    main()

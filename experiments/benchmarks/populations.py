"""What does training many networks as one program save, and what limits it?

    python -m experiments.benchmarks.populations others
        against scikit-learn, PyTorch and a loop
    python -m experiments.benchmarks.populations plans --network mnist
        every devices x chunk against the rule's choice
    python -m experiments.benchmarks.populations growth
        time and memory from 1 to 1,000 members
    python -m experiments.benchmarks.populations structures
        64 structures against a process each
    python -m experiments.benchmarks.populations sweep
        256 learning rates against 16 of scikit-learn

All in one run, on data in memory; a member is a whole training. GFLOP/s counts 6 operations a
weight and example, and stands beside the rate of the same matrix products alone. Needs
scikit-learn, joblib and PyTorch, where it compares with them.
"""

import gc
import logging
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import jaxnet
from jaxnet import Plan, Recipe
from jaxnet.core.training import Problem
from jaxnet.data import resampling
from jaxnet.data.splitting import take
from jaxnet.population.placement import plan_for_members

from .population_rivals import BATCH, EPOCHS, HIDDEN, RATE, scikit_learn, torch_loop, torch_stacked


@dataclass(frozen=True)
class Options:
    """What to measure."""

    what: tyro.conf.Positional[Literal["others", "plans", "growth", "structures", "sweep"]]
    """one of the questions above"""
    network: Literal["mnist", "cnn", "digits"] = "mnist"
    """of plans: 784-128-64-10 or a small CNN on MNIST, or 64-64-32-10 on digits"""
    members: int = 128
    """of others and plans"""
    data_dir: Path = Path("../shared/data/mnist")
    """folder with the four files of MNIST"""
    rounds: int = 3
    """readings of each, in turn"""


def main() -> None:
    """Measure and print."""
    options = tyro.cli(Options, description=__doc__)
    jaxnet.use_cpu_devices()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("jaxnet").setLevel(logging.INFO)
    warnings.filterwarnings("ignore", category=UserWarning)
    {"others": others, "plans": plans, "growth": growth, "structures": structures, "sweep": sweep}[
        options.what
    ](options)


def others(options: Options) -> None:
    """Bootstrap members on digits: seconds a member, with and without compilation."""
    splits, recipe = (
        jaxnet.load("digits", validation=0.0),
        Recipe(epochs=EPOCHS, batch_size=BATCH, learning_rate=RATE, schedule="constant"),
    )
    x, y = (
        np.asarray(splits.train.x, np.float32).reshape(len(splits.train), -1) / 16,
        np.asarray(splits.train.y),
    )
    samples = resampling.bootstrap(jax.random.key(1), options.members, len(splits.train))
    counts = np.stack([samples.alone(i)["weights"] for i in range(options.members)]).astype(
        np.int32
    )
    keys = jax.random.split(jax.random.key(0), options.members)

    def population(members: int = options.members, hidden: tuple[int, ...] = HIDDEN) -> None:
        own = resampling.weighted(counts[np.arange(members) % options.members])
        own_keys = jax.random.split(jax.random.key(0), members)
        jaxnet.fit_population(
            jaxnet.mlp(hidden), splits, recipe, own_keys, resample=own, order_key=jax.random.key(2)
        )

    def loop(members: int) -> None:
        for i in range(members):
            jax.block_until_ready(
                jaxnet.fit(jaxnet.mlp(HIDDEN), splits, recipe, keys[i], **samples.alone(i)).params
            )

    cold = seconds(population)  # the first call compiles
    # and so does this one, for it is another structure
    cold_thousand = seconds(lambda: population(1000, (64, 33)))
    loop(1)
    readings: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for name, few, run in (
            ("jaxnet, population", options.members, population),
            ("jaxnet, loop over fit", 8, lambda: loop(8)),
            (
                "scikit-learn, joblib on all cores",
                options.members,
                lambda: scikit_learn(x, y, counts),
            ),
            ("PyTorch, loop", 2, lambda: torch_loop(x, y, counts[:2])),
            ("PyTorch, torch.func", 16, lambda: torch_stacked(x, y, counts[:16])),
        ):
            readings.setdefault(name, []).append(seconds(run) / few)
            gc.collect()
    sklearn = statistics.median(readings["scikit-learn, joblib on all cores"])
    table = Table("", "ms a member", "fastest", "slowest", "scikit-learn's / its", box=None)
    rows = dict(readings)
    rows[f"jaxnet, {options.members} members with compilation, once"] = [cold / options.members]
    rows["jaxnet, 1,000 members with compilation, once"] = [cold_thousand / 1000]
    for name, values in rows.items():
        middle = statistics.median(values)
        table.add_row(
            name,
            *(f"{v * 1e3:.1f}" for v in (middle, min(values), max(values))),
            f"{sklearn / middle:.2f}",
        )
    show(table)
    ours = statistics.median(readings["jaxnet, population"])
    operations = 6 * weights((64, *HIDDEN, 10)) * len(x) * EPOCHS
    alone = products((64, *HIDDEN, 10), BATCH)
    print(
        f"{operations / ours / 1e9:.0f} GFLOP/s in training; {alone:.0f} in the same matrix "
        "products alone, on all devices"
    )


def plans(options: Options) -> None:
    """Throughput of every devices x chunk, of the rule's choice, and of a loop over the compiled
    single fit.
    """
    logging.getLogger("jaxnet").setLevel(logging.WARNING)
    if options.network == "digits":
        splits, model, batch = jaxnet.load("digits"), jaxnet.mlp(HIDDEN), BATCH
    else:
        splits, batch = jaxnet.load("mnist", data_dir=options.data_dir), 128
        sizes = (
            {"train": 6000, "validation": 500, "test": 100}
            if options.network == "mnist"
            else {"train": 1280, "validation": 128, "test": 100}
        )
        splits = jaxnet.data.splitting.assemble(
            *(take(getattr(splits, name), slice(n)) for name, n in sizes.items()),
            name="part of mnist",
        )
        model = jaxnet.mlp((128, 64)) if options.network == "mnist" else jaxnet.cnn((8, 16), (32,))
    recipe, members = (
        Recipe(
            epochs=1 if options.network == "cnn" else 2,
            batch_size=batch,
            schedule="constant",
            learning_rate=1e-3,
        ),
        options.members,
    )
    keys = jax.random.split(jax.random.key(0), members)
    rule, why = plan_for_members(Problem(model, splits, recipe), members)
    devices = sorted({1, len(jax.devices())})
    chunks = [2**i for i in range(int(math.log2(min(64, members))) + 1)]
    if options.network == "cnn":
        chunks = chunks[:3]  # beyond, it only gets worse
    choices = {
        plan
        for d in devices
        for c in chunks
        for plan in (Plan(d, chunk=c), Plan(d, rule.micro_batch, chunk=c))
    } | {rule}
    jobs: dict[Any, Callable[[], Any]] = {
        plan: partial(jaxnet.fit_population, model, splits, recipe, keys, plan=plan)
        for plan in choices
    }

    def loop(plan: Plan) -> None:
        for key in keys[:8]:
            jax.block_until_ready(jaxnet.fit(model, splits, recipe, key, plan=plan).params)

    singles = {"loop over fit": Plan()} | (
        {}
        if rule.micro_batch is None
        else {"loop over fit, micro-batches": Plan(1, rule.micro_batch)}
    )
    jobs |= {name: partial(loop, plan) for name, plan in singles.items()}
    compiling = {job: seconds(run) for job, run in jobs.items()}
    readings: dict[Any, list[float]] = {job: [] for job in jobs}
    for _ in range(options.rounds):
        for job, run in jobs.items():
            readings[job].append(seconds(run) / (8 if isinstance(job, str) else members))
    best = min(
        statistics.median(values) for job, values in readings.items() if isinstance(job, Plan)
    )
    single = statistics.median(readings["loop over fit"])
    table = Table(
        "",
        "ms a member",
        "fastest",
        "slowest",
        "the best's / its",
        "loop's / its",
        "first call, s",
        box=None,
    )
    for job, values in sorted(readings.items(), key=lambda item: statistics.median(item[1])):
        name = (
            job
            if isinstance(job, str)
            else f"{job.devices} x {job.chunk}"
            + f", micro-batches of {job.micro_batch}" * bool(job.micro_batch)
        )
        name += "  <- the rule" * (job == rule)
        middle = statistics.median(values)
        times = (f"{v * 1e3:.1f}" for v in (middle, min(values), max(values)))
        table.add_row(
            name, *times, f"{best / middle:.2f}", f"{single / middle:.2f}", f"{compiling[job]:.1f}"
        )
    show(table)
    print(f"{members} members; the rule: {why}")


def growth(options: Options) -> None:
    """Seconds a member, memory and compilations from 1 to 1,000 members."""
    splits, recipe = (
        jaxnet.load("digits"),
        Recipe(epochs=EPOCHS, batch_size=BATCH, learning_rate=RATE, schedule="constant"),
    )
    heard = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration_secs, **_: (
            heard.append(event) if "backend_compile" in event else None
        )
    )
    table = Table(
        "members",
        "first call, s",
        "s",
        "ms a member",
        "programs",
        "peak memory, MiB",
        "of it the result, MiB",
        box=None,
    )
    for members in (1, 4, 16, 64, 256, 1000):
        keys = jax.random.split(jax.random.key(0), members)
        run = partial(
            jaxnet.fit_population,
            jaxnet.mlp(HIDDEN),
            splits,
            recipe,
            keys,
            order_key=jax.random.key(2),
        )
        jax.block_until_ready(keys)
        heard.clear()
        first = seconds(run)
        programs = len(heard)
        times = [seconds(run) for _ in range(options.rounds)]
        result = run()
        size = (
            sum(
                leaf.nbytes
                for leaf in jax.tree.leaves((result.params, result.run.best, result.run.history))
            )
            / 2**20
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        middle = statistics.median(times)
        table.add_row(
            f"{members:,}",
            f"{first:.2f}",
            f"{middle:.3f}",
            f"{middle / members * 1e3:.2f}",
            str(programs),
            f"{peak:.0f}",
            f"{size:.1f}",
        )
        del result
    show(table)


ALONE = """
import sys, jax, jaxnet

hidden = tuple(map(int, sys.argv[1].split(",")))
splits = jaxnet.load("digits")
jax.block_until_ready(
    jaxnet.fit(
        jaxnet.mlp(hidden),
        splits,
        jaxnet.Recipe(epochs=30, batch_size=64, schedule="constant", learning_rate=1e-3),
        jax.random.key(0),
    ).params
)
"""


def structures(options: Options) -> None:
    """64 different widths: as one population, and in a process each, as many at a time as there are
    cores.
    """
    widths = [(16 + 4 * (i % 8), 16 + 4 * (i // 8)) for i in range(64)]
    splits, recipe = (
        jaxnet.load("digits"),
        Recipe(epochs=EPOCHS, batch_size=BATCH, schedule="constant", learning_rate=1e-3),
    )
    keys = jax.random.split(jax.random.key(0), len(widths))
    logging.getLogger("jaxnet").setLevel(logging.WARNING)
    together = seconds(
        lambda: jaxnet.fit_population([jaxnet.mlp(w) for w in widths], splits, recipe, keys)
    )
    start, waiting, running = time.perf_counter(), list(widths), list[subprocess.Popen[bytes]]()
    while waiting or running:
        running = [process for process in running if process.poll() is None]
        if waiting and len(running) < (os.cpu_count() or 1):
            running.append(
                subprocess.Popen([sys.executable, "-c", ALONE, ",".join(map(str, waiting.pop()))])
            )
        time.sleep(0.005)
    apart = time.perf_counter() - start
    print(
        f"64 structures: {together:.1f} s as one population, {apart:.1f} s in a process each, "
        f"ratio {apart / together:.2f}"
    )


def sweep(options: Options) -> None:
    """256 learning rates by the command, and 16 by scikit-learn's validation_curve: fresh
    processes, empty cache, picture and all.
    """
    examples, python = str(len(jaxnet.load("digits").train)), [sys.executable, "-W", "ignore", "-m"]
    command = [
        *python,
        "experiments.sweep",
        "--trials",
        "256",
        "--hidden",
        *map(str, HIDDEN),
        "--epochs",
        str(EPOCHS),
        "--no-cache",
    ]
    readings: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as out:
            run = partial(
                subprocess.run, [*command, "--out", f"{out}/run"], check=True, capture_output=True
            )
            readings.setdefault("jaxnet, 256 learning rates", []).append(seconds(run))
        for folds, words in ((5, "its 5 folds"), (1, "one split")):
            run = partial(
                subprocess.run,
                [*python, "experiments.benchmarks.population_rivals", examples, "16", str(folds)],
                check=True,
            )
            readings.setdefault(f"scikit-learn, 16 learning rates, {words}", []).append(
                seconds(run)
            )
    table = Table("", "seconds", "fastest", "slowest", box=None)
    for name, values in readings.items():
        table.add_row(
            name, *(f"{v:.1f}" for v in (statistics.median(values), min(values), max(values)))
        )
    show(table)


def products(widths: tuple[int, ...], batch: int) -> float:
    """GFLOP/s of the matrix products of a step alone, forward and both backward ones, on each
    device at once.
    """
    from jaxnet.runtime.sharding import device_mesh, spread

    mesh, members, repeats = device_mesh(jax.devices()), 16 * len(jax.devices()), 200
    ws = [jnp.ones((members, a, b)) * 0.01 for a, b in pairwise(widths)]
    xs = [jnp.ones((members, batch, a)) for a in widths]

    def one(_: None, own: Any) -> Any:
        def body(_: Any, carry: Any) -> Any:
            ws, xs = carry
            new_ws = [x.T @ y for x, y in pairwise(xs)]
            forward = [x @ w for x, w in zip(xs, ws, strict=False)]
            backward = [y @ w.T for y, w in zip(xs[1:], ws, strict=True)]
            return new_ws, [
                backward[0],
                *(f + b for f, b in zip(forward, backward[1:], strict=False)),
                forward[-1],
            ]

        return jax.lax.fori_loop(0, repeats, body, own)

    run = jax.jit(lambda own: spread(one, mesh, None, own))
    jax.block_until_ready(run((ws, xs)))
    best = min(seconds(lambda: jax.block_until_ready(run((ws, xs)))) for _ in range(3))
    return 6 * weights(widths) * batch * members * repeats / best / 1e9


def weights(widths: tuple[int, ...]) -> int:
    """Of the kernels."""
    return sum(a * b for a, b in pairwise(widths))


def seconds(run: Callable[[], Any]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def show(table: Table) -> None:
    """With numbers to the right."""
    for column in table.columns[1:]:
        column.justify = "right"
    Console(width=160).print(table)


if __name__ == "__main__":
    main()

"""How fast, and in how little memory, does a network train on more data than fit: `train` over
`jaxnet.stream`?

    python -m experiments.benchmarks.streaming --folder FOLDER

Writes 8 GB of 28x28 images as x.npy and y.npy (labels by a random linear teacher), and trains
784-128-64-10, Adam, batch 128, on them for one epoch. Beside it, with the same network, batch and
plan: training in memory on the first rows, before and after. The rate from disk should be at least
80% of the one in memory, and peak memory below 2 GB. Each training is a process of its own; the
files are dropped from the system's cache of files before one begins. Rates are of epochs, without
what is compiled before the first; the CPU time of an example says what it costs where something
else runs beside it. Two more things are
checked: on a prefix, that the steps are those of the same order in memory; and that a training
killed in the middle of its epoch and continued ends with the same parameters, having trained on
every row once.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import jaxnet
from jaxnet import Recipe
from jaxnet.core import training
from jaxnet.data import Dataset, Stream
from jaxnet.data.splitting import assemble
from jaxnet.data.streaming.chunks import Chunk, chunks, layout
from jaxnet.engine import streamed
from jaxnet.engine.arguments import check_arguments

PIXELS, CLASSES, PIECE = 784, 10, 100_000
SEED = 0
RATE, MEMORY = 0.8, 2e9  # the least share of the rate in memory, and the most bytes


@dataclass(frozen=True)
class Options:
    """What to measure."""

    folder: Path | None = None
    """where to write the data; by default a temporary folder"""
    gigabytes: float = 8.0
    """of the data"""
    in_memory: int = 1_000_000
    """rows of it that are trained on in memory"""
    prefix: int = 400_000
    """rows of it on which the steps are compared"""
    hidden: tuple[int, ...] = (128, 64)
    """widths of the hidden layers"""
    batch_size: int = 128
    """examples a step"""
    devices: int = 1
    """CPU devices that each batch is split over"""
    keep: bool = False
    """whether the data stay there"""
    only: Literal["memory", "disk", "killed", "equal"] | None = None
    """train this one alone, on data that are there, and print what was found as JSON"""


def main() -> None:
    """Write, train each way, print, delete."""
    options = tyro.cli(Options, description=__doc__)
    if options.only is not None:
        assert options.folder is not None
        jaxnet.use_cpu_devices(options.devices)
        work = {"memory": in_memory, "disk": from_disk, "killed": from_disk, "equal": equal}[
            options.only
        ]
        print(json.dumps(work(options, options.folder)))
        return
    with ExitStack() as until_the_end:
        folder = options.folder
        if folder is None:
            folder = Path(until_the_end.enter_context(tempfile.TemporaryDirectory()))
        began = time.perf_counter()
        rows = int(options.gigabytes * 1e9 / PIXELS)
        written = write(folder, rows)
        if not options.keep:
            until_the_end.callback(lambda: [path.unlink() for path in written])
        print(
            f"{rows:,} rows, {sum(path.stat().st_size for path in written) / 1e9:.2f} GB, written "
            f"in {time.perf_counter() - began:.0f} s"
        )
        compare(replace(options, folder=folder), folder, rows)


def write(folder: Path, rows: int) -> list[Path]:
    """x.npy and y.npy, a piece at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "x.npy", folder / "y.npy"]
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(PIXELS, CLASSES)).astype(np.float32)
    with open(paths[0], "wb") as x_file, open(paths[1], "wb") as y_file:
        for file, shape in ((x_file, (rows, PIXELS)), (y_file, (rows,))):
            np.lib.format.write_array_header_1_0(
                file, {"shape": shape, "fortran_order": False, "descr": "|u1"}
            )
        for first in range(0, rows, PIECE):
            x = rng.integers(0, 256, (min(PIECE, rows - first), PIXELS), dtype=np.uint8)
            (((x.astype(np.float32) - 127.5) @ teacher).argmax(1).astype(np.uint8)).tofile(y_file)
            x.tofile(x_file)
    return paths


def compare(options: Options, folder: Path, rows: int) -> None:
    """The table, and whether the targets are met."""
    before, disk, after = (alone(options, only) for only in ("memory", "disk", "memory"))
    table = Table(
        "", "rows", "examples/s", "CPU µs an example", "peak memory, GB", "training loss", box=None
    )
    for name, found in (
        ("in memory, before", before),
        ("from disk", disk),
        ("in memory, after", after),
    ):
        numbers = (
            f"{found['cpu'] * 1e6:.2f}",
            f"{found['memory'] / 1e9:.2f}",
            f"{found['loss']:.4f}",
        )
        table.add_row(name, f"{found['rows']:,}", f"{found['rate']:,.0f}", *numbers)
    for column in table.columns[1:]:
        column.justify = "right"
    Console(width=120, highlight=False).print(table)
    share = disk["rate"] / ((before["rate"] + after["rate"]) / 2)
    print(
        f"rate from disk / in memory: {share:.2f} (target {RATE:.2f}: "
        f"{'met' if share >= RATE else 'missed'})"
    )
    met = "met" if disk["memory"] < MEMORY else "missed"
    print(
        f"peak memory from disk: {disk['memory'] / 1e9:.2f} GB (target {MEMORY / 1e9:.0f}: {met})"
    )
    found = alone(options, "equal")
    print(
        f"{found['rows']:,} rows, from disk and by the same order in memory: parameters differ by "
        f"at most {found['gap']:.1e}"
    )
    killed(options, folder, rows)


def alone(options: Options, only: str) -> dict[str, Any]:
    """What a process of its own found."""
    done = subprocess.run(command(options, only), check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def command(options: Options, only: str) -> list[str]:
    """Drops the data from the system's cache of files, so that they come from the disk, and gives
    the command of the process.
    """
    assert options.folder is not None
    for path in options.folder.glob("*.npy"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    numbers = [
        f"--{name}={getattr(options, name.replace('-', '_'))}"
        for name in ("in-memory", "prefix", "batch-size", "devices")
    ]
    hidden = ["--hidden", *map(str, options.hidden)]
    return [
        sys.executable,
        "-m",
        "experiments.benchmarks.streaming",
        "--only",
        only,
        "--folder",
        str(options.folder),
        *numbers,
        *hidden,
    ]


def timed(
    options: Options, splits: jaxnet.Splits, epochs: int, out: Path | None = None
) -> tuple[jaxnet.Run, dict[str, Any]]:
    """The trained network, and how fast that went."""
    times: list[tuple[float, float]] = []

    def progress(done: int, row: training.EpochMetrics) -> None:
        times.append((time.perf_counter(), time.process_time()))

    run = jaxnet.train(
        jaxnet.mlp(options.hidden),
        splits,
        Recipe(
            epochs=epochs, batch_size=options.batch_size, schedule="constant", learning_rate=1e-3
        ),
        jax.random.key(SEED),
        out=out,
        plan=jaxnet.Plan(devices=options.devices),
        progress=progress,
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds, cpu = (np.array(times[-1]) - np.array(times[0])) / (epochs * len(splits.train))
    about = {"rows": len(splits.train), "rate": float(1 / seconds), "cpu": float(cpu)}
    return run, about | {"memory": memory, "loss": float(run.history.train_loss[0])}


def in_memory(options: Options, folder: Path) -> dict[str, Any]:
    """Three epochs over the first rows."""
    x, y = (np.load(folder / f"{name}.npy", mmap_mode="r")[: options.in_memory] for name in "xy")
    train, test = (dataset(x[part], y[part]) for part in (slice(1000, None), slice(1000)))
    return timed(options, assemble(train, dataset(x[:0], y[:0]), test, name="first rows"), 3)[1]


def dataset(x: np.ndarray, y: np.ndarray) -> Dataset:
    """In memory, as `load` has it."""
    return Dataset(
        jax.device_put(np.array(x)),
        jax.device_put(y.astype(np.int32)),
        tuple(map(str, range(CLASSES))),
    )


def from_disk(options: Options, folder: Path) -> dict[str, Any]:
    """One epoch; its parameters, and the rows of each part it trained on, are left in the folder
    "disk" or "killed".
    """
    out = folder / str(options.only)
    (out / "rows").mkdir(parents=True, exist_ok=True)

    def recorded(*args: Any, **kwargs: Any) -> Generator[Chunk, None, None]:
        for chunk in chunks(*args, **kwargs):
            np.save(
                out / f"rows/{chunk.number:06d}.npy",
                chunk.rows if chunk.real is None else chunk.rows[chunk.real],
            )
            yield chunk

    if options.only == "killed":
        streamed.chunks = recorded
    splits = jaxnet.stream(folder, validation=0, test=10_000)
    run, found = timed(options, splits, 1, out if options.only == "killed" else None)
    np.savez(out / "params.npz", *jax.tree.leaves(run.params))
    return found


def killed(options: Options, folder: Path, rows: int) -> None:
    """Kills a training by SIGKILL in the middle of its epoch, continues it, and compares with the
    one that was not.
    """
    out = folder / "killed"
    try:
        worker = subprocess.Popen(command(options, "killed"), stdout=subprocess.DEVNULL)
        stream: Any = jaxnet.stream(folder, validation=0, test=10_000).train
        log, middle = out / "log.txt", layout(stream, options.batch_size).chunks // 2
        while not log.exists() or f"part {middle} of" not in log.read_text():
            assert worker.poll() is None
            time.sleep(0.05)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        alone(options, "killed")
        begun = [line for line in log.read_text().splitlines() if line.startswith("begin")]
        counts = np.bincount(
            np.concatenate([np.load(path) for path in sorted((out / "rows").iterdir())]),
            minlength=rows,
        )
        with np.load(folder / "disk/params.npz") as whole, np.load(out / "params.npz") as again:
            gap = max(float(np.abs(whole[name] - again[name]).max()) for name in whole)
        once, never, twice = (
            (counts == n).sum() if n < 2 else (counts > 1).sum() for n in (1, 0, 2)
        )
        print(
            f"killed in part {middle}, continued ({begun[-1]}): parameters differ by {gap:.1e} "
            "from those of a training that was not"
        )
        print(
            f"of {rows:,} rows {once:,} were trained on once, {twice:,} more often, and "
            f"{never:,}, all held out for the test, never"
        )
    finally:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(folder / "disk", ignore_errors=True)


def equal(options: Options, folder: Path) -> dict[str, Any]:
    """One epoch over a prefix from disk, and the same steps over it in memory."""
    part = folder / "prefix"
    part.mkdir()
    try:
        for name in "xy":
            np.save(
                part / f"{name}.npy",
                np.load(folder / f"{name}.npy", mmap_mode="r")[: options.prefix],
            )
        splits = jaxnet.stream(part, validation=0, test=10_000)
        run, _ = timed(options, splits, 1)
        stream: Stream = splits.train  # pyrefly: ignore[bad-assignment]
        whole = dataset(np.load(part / "x.npy"), np.load(part / "y.npy"))
    finally:
        shutil.rmtree(part)
    recipe = Recipe(
        epochs=1, batch_size=options.batch_size, schedule="constant", learning_rate=1e-3
    )
    rows, real = order(stream, options.batch_size)
    problem, _ = check_arguments(
        training.Problem(jaxnet.mlp(options.hidden), replace(splits, train=whole), recipe)
    )
    problem = replace(problem, streamed=len(stream))

    @jax.jit
    def train() -> training.TrainState:
        state = training.start(problem, jax.random.key(SEED))
        size = jnp.maximum(real.sum(1, dtype=jnp.int32), 1)
        batches = training.Batch(jnp.arange(len(rows), dtype=jnp.int32), rows, size=size, mask=real)
        return training.run_steps(problem, state, batches)[0]

    pairs = zip(jax.tree.leaves(run.params), jax.tree.leaves(train().params), strict=True)
    return {
        "rows": len(stream),
        "gap": max(float(jnp.abs(ours - theirs).max()) for ours, theirs in pairs),
    }


def order(stream: Stream, batch_size: int) -> tuple[jax.Array, jax.Array]:
    """(rows, whether they count), each (steps, batch): what the first epoch takes, in order."""
    cut, key = layout(stream, batch_size), training.state_keys(jax.random.key(SEED), None)[1]
    shards, rows, real = np.arange(cut.shards)[None, :, None], [], []
    for chunk in chunks(stream, batch_size=batch_size, seed=streamed.seed(key), epoch=0):
        each = len(chunk.y) // cut.shards
        taken = np.asarray(streamed.rows_of_chunk(key, cut, chunk.number, each))
        rows.append(chunk.rows[(shards * each + taken).reshape(len(taken), -1)])
        real.append(
            streamed.counting(
                cut, taken, np.ones(len(chunk.y), bool) if chunk.real is None else chunk.real, each
            )
        )
    return jnp.asarray(np.concatenate(rows), jnp.int32), jnp.asarray(np.concatenate(real))


if __name__ == "__main__":
    main()

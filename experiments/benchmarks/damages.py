"""Does a training go on from its newest intact checkpoint, whatever happens to its files and
whenever it is killed?

    python -m experiments.benchmarks.damages [--part damages|kills] [--only
    training|population|stream]

A training, a population and a training on data from disk, each of a second or two. Damages: some of
the checkpoints of one that was stopped are damaged (a byte flipped, a file cut, emptied or deleted,
at random), and it is called again. Kills: it is killed with SIGKILL at a random moment, most of
them in the middle of training, called again, and so on to its end. Each time it must go on from the
newest intact checkpoint, with a warning where that is not the newest one, or refuse by name; and
those that come to the end must have the parameters of one that nothing happened to, to the bit.
"""

import contextlib
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import jaxnet
from jaxnet.engine.loop import Pace
from jaxnet.population.scheduler import Schedule

Kind = Literal["training", "population", "stream"]
KINDS: tuple[Kind, ...] = ("training", "population", "stream")
DAMAGES: dict[str, Callable[[Path, random.Random], object]] = {
    "flipped": lambda file, draw: file.write_bytes(_flipped(file.read_bytes(), draw)),
    "cut": lambda file, draw: os.truncate(file, draw.randrange(file.stat().st_size)),
    "emptied": lambda file, _: os.truncate(file, 0),
    "deleted": lambda file, _: file.unlink(),
}
CHECKPOINT = re.compile(r"(part-)?\d{8}")
KEY, MODEL = jax.random.key(0), jaxnet.mlp((8,))
EPOCHS = {"training": 40, "population": 20, "stream": 12}


class Stop(Exception):
    """Training was stopped while it told its progress."""


@dataclass(frozen=True)
class Options:
    """What to do."""

    part: Literal["damages", "kills"] | None = None
    """only this"""
    only: Kind | None = None
    """of these alone"""
    damages: int = 20
    """of each kind"""
    kills: int = 20
    """of each kind; two thirds of them in the middle of training"""
    seed: int = 0
    """of what happens"""
    child: Path | None = None
    """train in this folder and write params.npz: what is killed"""


def main() -> None:
    """Damage, kill, print."""
    options = tyro.cli(Options, description=__doc__)
    if options.child is not None:
        assert options.only is not None
        train(options.only, options.child.parent / "data", options.child)
        return
    columns = ("times", "in training", "went on", "warned", "refused", "restarted", "other")
    table = Table("what", "kind", *columns, "parameters", box=None)
    with tempfile.TemporaryDirectory() as scratch:
        for kind in KINDS if options.only is None else (options.only,):
            folder = Path(scratch) / kind
            write_data(folder / "data")
            wanted = train(kind, folder / "data", folder / "undisturbed")
            for part, study in {"damages": damages, "kills": kills}.items():
                if options.part in (None, part):
                    found, same = study(options, kind, folder, wanted)
                    table.add_row(part, kind, *(str(found[name]) for name in columns), same)
    Console(width=140).print(table)


def write_data(folder: Path) -> None:
    """2,000 random examples of 16 numbers and 3 classes, as the files of a stream."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(2000, 16)).astype(np.float32)
    folder.mkdir(parents=True)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", (x[:, 0] > 0).astype(np.int32) + (x[:, 1] > 0))


def train(
    kind: Kind, data: Path, out: Path, progress: Callable[..., None] | None = None
) -> list[np.ndarray]:
    """The parameters, also in out/params.npz."""
    recipe = jaxnet.Recipe(
        epochs=EPOCHS[kind], batch_size=64, learning_rate=1e-2, patience=50, schedule="constant"
    )
    every = Pace(checkpoint_share=1e9)  # a checkpoint after every epoch
    how: Any = {"out": out, "progress": progress}
    if kind == "stream":
        run = jaxnet.train(MODEL, jaxnet.stream(data), recipe, KEY, **how, pace=every)
    else:
        splits = jaxnet.split(np.load(data / "x.npy"), np.load(data / "y.npy"))
        if kind == "training":
            run = jaxnet.train(MODEL, splits, recipe, KEY, **how, pace=every)
        else:
            plan = jaxnet.Plan(chunk=3)
            run = jaxnet.fit_population(
                MODEL,
                splits,
                recipe,
                jax.random.split(KEY, 6),
                out=out,
                progress=progress,
                plan=plan,
                schedule=Schedule(0.0, checkpoint_share=1e9, checkpoint_growth=0.0),
            ).run
    leaves = [
        np.asarray(leaf)
        for leaf in jax.tree.leaves((run.params, run.best, run.history, run.epochs))
    ]
    np.savez(out / "unfinished.npz", *leaves)
    (out / "unfinished.npz").replace(out / "params.npz")
    return leaves


def damages(
    options: Options, kind: Kind, folder: Path, wanted: list[np.ndarray]
) -> tuple[Counter[str], str]:
    """(how many went how, how many of those that went on have the wanted parameters)."""
    draw, found, equal = random.Random(f"{options.seed} damages {kind}"), Counter[str](), 0
    for number in range(options.damages):
        out, how = folder / f"damaged-{number}", list(DAMAGES)[number % len(DAMAGES)]
        calls, last = [0], draw.randint(3, EPOCHS[kind] - 2)

        def stop(*_: object, calls: list[int] = calls, last: int = last) -> None:
            calls[0] += 1
            if calls[0] > last:
                raise Stop

        with contextlib.suppress(Stop):
            train(kind, folder / "data", out, stop)
        checkpoints = sorted(
            path for path in (out / "state").iterdir() if CHECKPOINT.fullmatch(path.name)
        )
        damaged = checkpoints if draw.random() < 0.25 else checkpoints[-1:]  # the newest, or all
        for path in damaged:
            files = sorted(
                file for file in path.rglob("*") if file.is_file() and file.stat().st_size
            )
            DAMAGES[how](draw.choice(files), draw)
        began, warned = list[int](), list[str]()
        heard = logging.Handler()
        heard.emit = lambda record, warned=warned: warned.append(record.getMessage())
        heard.setLevel(logging.WARNING)
        logging.getLogger("jaxnet").addHandler(heard)
        found["times"] += 1
        try:
            given = train(
                kind, folder / "data", out, lambda *now, began=began: began.append(_epochs(*now))
            )
        except jaxnet.InputError as error:
            found["refused" if any(str(path) in str(error) for path in damaged) else "other"] += 1
        else:
            found["went on"] += 1
            found["restarted"] += began[0] == 0
            found["warned"] += all(any(str(path) in words for words in warned) for path in damaged)
            equal += _same(given, wanted)
        finally:
            logging.getLogger("jaxnet").removeHandler(heard)
        print(
            f"{kind} {number}: {how} in {len(damaged)} of {len(checkpoints)}; began at "
            f"{began[:1]}, {warned}",
            file=sys.stderr,
            flush=True,
        )
        shutil.rmtree(out)
    return found, f"{equal} of {found['went on']} equal"


def kills(
    options: Options, kind: Kind, folder: Path, wanted: list[np.ndarray]
) -> tuple[Counter[str], str]:
    """(how many were killed where, and how many epochs were trained again though a checkpoint had
    them; how many are equal).
    """
    draw, found, equal, number = random.Random(f"{options.seed} kills {kind}"), Counter[str](), 0, 0
    command = [sys.executable, "-m", "experiments.benchmarks.damages", "--only", kind, "--child"]
    while found["times"] < options.kills:
        out, number = folder / f"killed-{number}", number + 1
        log = out / "log.txt"
        for _ in range(5):
            process = subprocess.Popen(
                [*command, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            before, in_training, more = len(_lines(log)), draw.random() < 0.75, draw.randint(1, 12)
            while in_training and process.poll() is None and len(_lines(log)) < before + more:
                time.sleep(0.001)
            time.sleep(draw.uniform(0, 0.05) if in_training else draw.uniform(0.2, 6.0))
            process.kill()
            _, errors = process.communicate()
            if process.returncode == -9:
                found["times"] += 1
                found["in training"] += (
                    len(_lines(log)) > before and not (out / "params.npz").exists()
                )
            found["other"] += bool(errors) or process.returncode not in (0, -9)
            print(
                f"{kind} {number}: exit {process.returncode}, lines {before} to "
                f"{len(_lines(log))} {errors}",
                file=sys.stderr,
                flush=True,
            )
        if subprocess.run([*command, str(out)], check=False).returncode:
            found["other"] += 1
            continue
        with np.load(out / "params.npz") as arrays:
            equal += _same([arrays[name] for name in arrays.files], wanted)
        found["restarted"] += _again(_lines(log))
    found["went on"] = found["times"] - found["other"]
    return found, f"{equal} of {number} equal"


def _again(lines: list[str]) -> int:
    """How many epochs were trained again, though a checkpoint had them."""
    reached, saved, again = dict[str, int](), dict[str, int](), 0
    for line in lines:
        if line.startswith("checkpoint"):
            saved |= reached
        elif (found := re.fullmatch(r"(.*)epoch (\d+)", line)) is not None:
            who, epoch = found[1], int(found[2])
            again += epoch <= saved.get(who, 0)
            reached[who] = epoch
    return again


def _epochs(now: object, *_: object) -> int:
    """How many epochs are done, as `progress` is told; of a population how far all of its members
    are, as a percentage.
    """
    return now if isinstance(now, int) else round(100 * getattr(now, "share", 0.0))


def _same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(*pair, equal_nan=True) for pair in zip(a, b, strict=True)
    )


def _flipped(content: bytes, draw: random.Random) -> bytes:
    whole = bytearray(content)
    whole[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
    return bytes(whole)


def _lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


if __name__ == "__main__":
    main()

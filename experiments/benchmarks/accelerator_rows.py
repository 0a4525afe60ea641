"""What `accelerator` measures: each row is a function of the data and the sizes that yields the
fields of its lines. Only JAX and jaxnet are imported.
"""

import itertools
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jaxlib
import numpy as np

import jaxnet
from jaxnet.data.splitting import take
from jaxnet.kernels import verify
from jaxnet.runtime.plan import plan_for_images

ROUNDS = 3  # of each measurement after the first, which compiles


class Sizes(NamedTuple):
    """How much is measured.

    Attributes:
        epochs: of a timed training of the MLP.
        seeds: trainings of the convolutional network.
        members: numbers of networks that train together.
        alone: networks that train one after the other, for comparison.
        halves: numbers of networks on random halves of the training set.
    """

    epochs: int = 5
    seeds: int = 10
    members: tuple[int, ...] = (64, 1024)
    alone: int = 5
    halves: tuple[int, ...] = (500, 2000)


FULL = Sizes()
SMALL = Sizes(epochs=1, seeds=1, members=(8,), alone=1, halves=(16,))
SMALL_EXAMPLES = 2000

MLP = jaxnet.mlp((128, 64))
ADAM = jaxnet.Recipe(
    optimizer="adam", learning_rate=1e-3, schedule="constant", batch_size=128, epochs=1
)
# The network and the recipe of the preset `fast` of the command `jaxnet mnist`.
CNN = jaxnet.cnn((16, 32), (64,), kernel=(5, 3), stride=(2, 1), padding="VALID")
FAST = jaxnet.Recipe(
    schedule="one_cycle", learning_rate=1e-2, momentum=0.7, b2=0.9, batch_size=256, epochs=2
)


def machine() -> dict[str, Any]:
    """The device, and the versions of what computes."""
    devices = jax.devices()
    return {
        "device": devices[0].device_kind,
        "devices": len(devices),
        "platform": devices[0].platform,
        "runtime": devices[0].client.platform_version.splitlines()[0],
        "memory": (devices[0].memory_stats() or {}).get("bytes_limit"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "jaxnet": _commit(),
    }


def _commit() -> str | None:
    """The commit of the source; None where git does not know it."""
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    return told.stdout.strip() or None


def data(folder: Path, *, small: bool) -> jaxnet.Splits:
    """MNIST, or its first images."""
    splits = jaxnet.load("mnist", data_dir=folder, validation=0)
    if not small:
        return splits
    train, test = (take(part, slice(0, SMALL_EXAMPLES)) for part in (splits.train, splits.test))
    return replace(splits, train=train, test=test)


def timed(train: Callable[[int], Any], rounds: int = ROUNDS) -> tuple[float, list[float], Any]:
    """Seconds of a first training, which compiles, and of others, and what the last one gave.

    Args:
        train: trains with the random key of this number.
        rounds: number of trainings after the first.
    """
    seconds, found = [], None
    for number in range(1 + rounds):
        began = time.perf_counter()
        found = jax.block_until_ready(train(number))
        seconds.append(time.perf_counter() - began)
    return seconds[0], seconds[1:], found


def accuracy(model: jaxnet.Model, run: jaxnet.Run, splits: jaxnet.Splits) -> float:
    """The share of test examples that are recognized."""
    outputs = jaxnet.predict(model, run, splits.test.x)
    return float((outputs.argmax(1) == np.asarray(splits.test.y)).mean())


def mnist_epoch(splits: jaxnet.Splits, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """An epoch of the MLP, in float32 and in bfloat16."""
    for precision in ("float32", "bfloat16"):
        recipe = replace(ADAM, epochs=sizes.epochs, precision=precision)
        first, others, run = timed(
            lambda number, recipe=recipe: jaxnet.fit(MLP, splits, recipe, jax.random.key(number))
        )
        yield {
            "precision": precision,
            "milliseconds": 1e3 * min(others) / sizes.epochs,
            "compiling": first - min(others),
            "epochs": sizes.epochs,
            "accuracy": accuracy(MLP, run, splits),
        }


def mnist_99(splits: jaxnet.Splits, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Trainings of a small convolutional network to about 99%."""
    plan, reached = plan_for_images(FAST.batch_size), list[float]()

    def train(number: int) -> jaxnet.Run:
        return jaxnet.fit(CNN, splits, FAST, jax.random.key(number), plan=plan)

    first, others, _ = timed(train, sizes.seeds)
    for number in range(sizes.seeds):
        reached.append(accuracy(CNN, train(number), splits))
    yield {
        "seconds": statistics.median(others),
        "compiling": first - statistics.median(others),
        "seeds": sizes.seeds,
        "accuracy": statistics.mean(reached),
        "accuracies": [round(each, 4) for each in sorted(reached)],
    }


def members(splits: jaxnet.Splits, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """An epoch of many networks as one program, beside networks one after the other."""
    _, others, _ = timed(
        lambda number: jaxnet.fit(MLP, splits, ADAM, jax.random.key(number)), sizes.alone
    )
    alone = statistics.median(others)
    for count, shared in itertools.product(sizes.members, (True, False)):
        order = jax.random.key(1) if shared else None
        first, others, _ = timed(
            lambda number, count=count, order=order: (
                jaxnet.fit_population(
                    MLP,
                    splits,
                    ADAM,
                    jax.random.split(jax.random.key(number), count),
                    order_key=order,
                ).run.params
            ),
            1,
        )
        yield {
            "members": count,
            "one_order_of_examples": shared,
            "seconds": others[0],
            "with_compilation": first,
            "one_alone": alone,
            "times_as_fast": alone * count / others[0],
            "times_as_fast_with_compilation": alone * count / first,
        }


def random_halves(splits: jaxnet.Splits, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """An epoch of many networks, each on a random half of the training set."""
    examples = len(splits.train)
    for count in sizes.halves:
        samples = jaxnet.resampling.subsamples(jax.random.key(2), count, examples // 2, examples)
        began = time.perf_counter()
        found = jaxnet.fit_population(
            MLP, splits, ADAM, jax.random.split(jax.random.key(3), count), resample=samples
        )
        jax.block_until_ready(found.run.params)
        yield {"members": count, "with_compilation": time.perf_counter() - began}


def kernel(splits: jaxnet.Splits, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """On a TPU, an epoch by jaxnet's kernel beside XLA's own program."""
    if jax.devices()[0].platform != "tpu":
        yield {"skipped": "the kernel is for TPUs; elsewhere it would be interpreted"}
        return
    for optimizer, batch, count in itertools.product(
        ("adam", "sgd", "momentum"), (128, 512), (0, 64)
    ):
        recipe = replace(ADAM, optimizer=optimizer, batch_size=batch)
        found = verify(MLP, splits, recipe, members=count)
        by_kernel, by_xla = found.seconds
        yield {
            "optimizer": optimizer,
            "batch_size": batch,
            "members": max(1, count),
            "milliseconds": 1e3 * by_kernel,
            "milliseconds_of_xla": 1e3 * by_xla,
            "largest_difference": found.difference,
        }


# by name, the most valuable first
ROWS: dict[str, Callable[[jaxnet.Splits, Sizes], Iterator[dict[str, Any]]]] = {
    "mnist_epoch": mnist_epoch,
    "mnist_99": mnist_99,
    "members": members,
    "random_halves": random_halves,
    "kernel": kernel,
}

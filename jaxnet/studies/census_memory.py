"""How much memory a census takes at its peak, before anything is trained."""

import math
from pathlib import Path

import jax
from jaxtyping import Array, Key, PyTree

from jaxnet.core.training import Problem
from jaxnet.data.resampling import Samples
from jaxnet.population.job import make_jobs
from jaxnet.population.placement import place_members
from jaxnet.runtime.plan import Plan

COMPILER = 180 << 20  # bytes that XLA takes to compile the programs of a small network
TABLES = 6  # float64 numbers per network and example while examples are valued and attacked
STATUS = Path("/proc/self/statm")


def peak_memory(
    problem: Problem, samples: Samples, keys: Key[Array, " members"], plan: Plan | None
) -> tuple[int, int]:
    """Estimate the memory of this process at its peak, from the shapes of what it holds: while the
    networks train, and while every question about the examples is answered.

    Args:
        problem: what the networks minimize.
        samples: what each network trains on.
        keys: one key per network.
        plan: as in `fit_population`.

    Returns:
        (bytes at the peak, bytes of the predictions of all networks among them).
    """
    members, splits = len(samples), problem.splits
    job = make_jobs([problem] * members, keys, samples=samples)[0]
    plan, devices = place_members(job, members, plan)
    wave = plan.chunk * len(devices)
    (state, history), n = job.shapes(1, finished=False), len(splits.train)
    kept = job.shapes(1, finished=True)
    network = _bytes(kept[0]) + _bytes(kept[1])
    training = _bytes(state) + _bytes(state.params) + _bytes(history)
    outputs = splits.train.outputs
    predictions = members * n * outputs * (2 if splits.classes is not None else 4)
    held = _bytes((splits.train.x, splits.train.y))
    tables = members * n * (1 + 4 + 1)  # what is wrong, losses, halves
    drawn = sum(each.nbytes for each in samples.arrays if each is not None)
    at_work = max(
        wave * training * 3 + len(devices) * held,
        wave * (n * outputs * 4 * 3) + len(devices) * held,
        members * n * 8 * TABLES,
    )
    # twice: once in the parts in which they were trained, once joined
    total = _now() + COMPILER + held + drawn + 2 * members * network + at_work
    return total + predictions + tables, predictions


def in_words(peak: int, predictions: int, *, mapped: bool) -> str:
    """Say how much memory a census takes.

    Args:
        peak: bytes at the peak.
        predictions: bytes of the predictions among them.
        mapped: whether the predictions are mapped from the disk.
    """
    words = f"memory at the peak: about {peak / (1 << 20):,.0f} MiB"
    if not mapped:
        return words
    size = predictions / (1 << 20)
    return f"{words}, of which {size:,.0f} MiB are predictions that are kept on the disk too"


def _bytes(tree: PyTree) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _now() -> int:
    """The memory that this process has now; that of JAX alone where it cannot be found out."""
    try:
        pages = int(STATUS.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 300 << 20
    return pages * 4096

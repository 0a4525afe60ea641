"""Epochs of a training set on disk, one chunk at a time. in_memory.py has those of a training set
in memory.

    chunk, from disk -> the shards of each device -> shuffle -> run_steps -> sums
    after the last one: validate

Two programs are compiled: one for a whole chunk, and one for the last.

Which rows of a chunk meet in a batch is a function of order key, epoch, chunk and shard, so that no
number depends on how many devices or processes share the shards, but to rounding.
"""

import functools
import logging
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Key

from jaxnet.core.training import (
    NO_EXAMPLES,
    Batch,
    EpochMetrics,
    Problem,
    TrainState,
    training_metrics,
    validate,
)
from jaxnet.data import Dataset, Splits, Stream
from jaxnet.data.streaming.chunks import Chunk, Layout, chunks, layout
from jaxnet.engine.arguments import check_steps
from jaxnet.engine.parallel import run_steps_on
from jaxnet.errors import InputError
from jaxnet.kernels.dispatch import choose
from jaxnet.random import block, counted
from jaxnet.runtime.plan import Plan
from jaxnet.runtime.processes import any_process, gather, is_first

FEW = 5  # rows that cannot be used are named; the others are counted

logger = logging.getLogger("jaxnet")


class ChunkSums(NamedTuple):
    """The sums over the chunks of an epoch that are done.

    Attributes:
        chunks: the number of chunks done.
        sums: the sums over their examples, as `run_steps` gives them.
        skipped: the number of their rows that could not be used.
    """

    chunks: Int[Array | np.ndarray, ""]
    sums: Float[Array | np.ndarray, " sums"]
    skipped: Int[Array | np.ndarray, ""]


# (the state after one more chunk, how far its epoch is, the metrics of the epoch where that was its
# last chunk)
AfterChunk = tuple[TrainState, ChunkSums | None, EpochMetrics | None]


@dataclass(frozen=True)
class OnDisk:
    """The epochs of a training set on disk, one chunk at a time.

    Attributes:
        plan: where they run.
        problem: what is trained, with an empty training set.
        stream: the training set.
        order_key: the random key of the order of examples.
        cut: the sizes into which an epoch is cut.
        message_seconds: seconds between two messages of how far an epoch is.
    """

    plan: Plan
    problem: Problem
    stream: Stream
    order_key: Key[Array, ""]
    cut: Layout
    message_seconds: float

    @property
    def chunks(self) -> int:
        """The number of chunks in an epoch."""
        return self.cut.chunks

    @property
    def within(self) -> ChunkSums:
        """How far an epoch is at its beginning."""
        none, sums = (np.zeros((), np.int32), np.zeros(2 if self.stream.counted else 1, np.float32))
        return jax.device_put(ChunkSums(none, sums, none))

    def compile(self, state: Any) -> None:
        """Compiles the program of a whole chunk, or of the only one, for a state of this shape."""
        each = self.cut.last if self.cut.chunks == 1 else self.cut.chunk
        shape, spread = (
            (each * self.cut.shards,),
            {} if self.plan.total_devices == 1 else {"sharding": self._sharding},
        )
        x = jax.ShapeDtypeStruct((*shape, *self.stream.shape), self.stream.dtype, **spread)
        labels = self.stream.rows.label_shape
        y = jax.ShapeDtypeStruct((*shape, *labels), self.stream.label_dtype, **spread)
        real = jax.ShapeDtypeStruct(shape, bool, **spread) if self._counts(0) else None
        _train_chunk.lower(
            self.plan, self.cut, self._with(x, y), state, self.plan.place(self.within), real
        ).compile()

    def run(
        self, state: TrainState, within: ChunkSums, log: Callable[[str], None]
    ) -> Generator[AfterChunk, None, None]:
        """Trains without an end, and yields after each chunk.

        Args:
            state: the state before the next chunk. Each state is donated to the next chunk, and
                cannot be used after that.
            within: the sums over the chunks of the epoch that are done.
            log: writes a line to the log.

        Yields:
            The state, the sums, and the metrics of the epoch where that was its last chunk.

        Raises:
            InputError: on all processes, where one of them meets a row that cannot be used; the
                last state then stands.
        """
        number, begin, spoken = int(state.epoch), int(within.chunks), time.monotonic()
        while True:
            bad: list[int] = []
            with closing(self._read(number, begin)) as read:
                for chunk, problem, real in read:
                    said = f"epoch {number + 1} part {chunk.number + 1} of {self.cut.chunks}"
                    log(f"{said}: {_named(chunk.bad)} cannot be used" if chunk.bad else said)
                    if is_first() and time.monotonic() - spoken > self.message_seconds:
                        logger.info("%s", said)
                        spoken = time.monotonic()
                    bad += chunk.bad[:FEW]
                    # One chunk in training and one that waits for it; without this all of an epoch
                    # would be waiting, in memory.
                    jax.block_until_ready(within)
                    state, within = _train_chunk(self.plan, self.cut, problem, state, within, real)
                    if chunk.number < self.cut.chunks - 1:
                        yield state, within, None
            if self.stream.corrupt == "skip":
                self._count(number, int(within.skipped), bad, log)
            state, within, metrics = _end_epoch(self.problem, state, within)
            number, begin = number + 1, 0
            yield state, within, metrics

    def _read(
        self, epoch: int, begin: int
    ) -> Generator[tuple[Chunk, Problem, Array | None], None, None]:
        """Each chunk as it was read, and in the splits on the devices, with which rows count."""
        how: Any = {"batch_size": self.problem.recipe.batch_size, "seed": seed(self.order_key)}
        if self.plan.processes > 1:
            how["shard"] = jax.process_index(), self.plan.processes
        with closing(chunks(self.stream, **how, epoch=epoch, first=begin)) as read:
            placed = map(self._placed, read)
            while True:
                given, wrong = None, None
                try:
                    given = next(placed, None)
                except InputError as error:
                    wrong = error
                if any(any_process(wrong is not None)):
                    raise wrong or InputError(
                        "another process cannot read its part of the training set; fix what it says"
                    )
                if given is None:
                    return
                yield given

    def _placed(self, chunk: Chunk) -> tuple[Chunk, Problem, Array | None]:
        def put(leaf: np.ndarray) -> Array:
            return (
                jax.device_put(leaf)
                if self.plan.total_devices == 1
                else jax.make_array_from_process_local_data(self._sharding, leaf)
            )

        real = None
        if self._counts(chunk.number):
            real = put(np.ones(len(chunk.y), bool) if chunk.real is None else chunk.real)
        return chunk, self._with(put(chunk.x), put(chunk.y)), real

    def _counts(self, number: int) -> bool:
        """Whether a chunk may have rows that do not count: a fixed rule, for the same program on
        all processes.
        """
        return self.stream.corrupt == "skip" or number == self.cut.chunks - 1

    def _with(self, x: Any, y: Any) -> Problem:
        """The problem with a chunk as its training set, and without a validation set."""
        train = Dataset(x, y, schema=self.stream.schema)
        splits = Splits(train, NO_EXAMPLES, NO_EXAMPLES, self.problem.splits.standardization)
        return replace(self.problem, splits=splits)

    @property
    def _sharding(self) -> NamedSharding:
        return NamedSharding(self.plan.mesh, PartitionSpec("batch"))

    def _count(self, number: int, skipped: int, bad: list[int], log: Callable[[str], None]) -> None:
        """Says how many rows of an epoch were left out, and names some."""
        some = sorted(
            set(gather(np.array(bad[:FEW], np.int64)).tolist())
        )  # empty where all came before the training was continued
        if skipped:
            said = (
                f"epoch {number + 1}: {skipped:,} of {len(self.stream):,} training rows could "
                "not be used and were left out"
            )
            said += f", such as {_named(some[:FEW])}" if some else ""
            log(said)
            if is_first():
                logger.warning("%s", said)


def on_disk(
    plan: Plan, problem: Problem, stream: Stream, order_key: Array, message_seconds: float
) -> OnDisk:
    """Cuts the epochs of a training set on disk into chunks.

    Args:
        plan: where they are to run.
        problem: what is trained, with an empty training set.
        stream: the training set.
        order_key: the random key of the order of examples.
        message_seconds: as in OnDisk.

    Returns:
        The epochs.

    Raises:
        InputError: for a plan that cannot train on a training set on disk.
    """
    cut = layout(stream, problem.recipe.batch_size)
    check_steps(problem.recipe, cut.epoch_steps)
    if plan.implementation == "resident":
        raise InputError(
            "implementation 'resident' needs the training set in memory, and this one stays on "
            "disk; give 'auto' or 'xla'"
        )
    plan = replace(plan, implementation="xla") if plan.implementation == "auto" else plan
    plan = choose(plan, problem)
    if plan.total_devices < 1 or cut.shards % plan.total_devices:
        raise InputError(
            f"{plan.total_devices} devices cannot share the {cut.shards} parts in which a batch of "
            f"{cut.shards * cut.shard_rows} is read from disk; "
            f"give a plan of a power of two of them, {cut.shards} at most, or a batch size that a "
            "larger power of two divides"
        )
    problem = plan.place(replace(problem, streamed=len(stream)))
    return OnDisk(plan, problem, stream, order_key, cut, message_seconds)


def seed(order_key: Key[Array, ""]) -> int:
    """Returns the seed of the order in which blocks are read: the words of the key."""
    return int.from_bytes(np.asarray(jax.random.key_data(order_key)).tobytes(), "big")


def rows_of_chunk(
    order_key: Key[Array, ""], cut: Layout, number: int | Int[Array, ""], each: int
) -> Int[Array, "steps shards rows"]:
    """Draws the order of a chunk, in which every row comes once.

    A last batch that is short is filled with the first rows.

    Args:
        order_key: the random key of the order of examples.
        cut: the sizes into which an epoch is cut.
        number: the number of the chunk in the run.
        each: the number of rows of the chunk in each shard.

    Returns:
        (steps, shards, rows) which of the chunk's rows of its shard a step takes.
    """
    places = jnp.arange(each, dtype=jnp.int32)
    count = -(-each // cut.shard_rows)

    of_chunk = block(order_key, number, cut.shards)

    def of_shard(shard: Array) -> Array:
        bits = jax.random.bits(counted(of_chunk, shard), places.shape, jnp.uint32)
        return jax.lax.sort((bits, places), num_keys=2, is_stable=False)[
            1
        ]  # without ties, which programs may break differently

    rows = jax.lax.map(of_shard, jnp.arange(cut.shards, dtype=jnp.int32))[
        :, np.arange(count * cut.shard_rows) % each
    ]
    return rows.reshape(cut.shards, count, cut.shard_rows).swapaxes(0, 1)


def counting(
    cut: Layout, rows: Int[Array | np.ndarray, "steps shards rows"], real: Any, each: int
) -> Any:
    """Tells which of the rows that the steps of a chunk take count.

    Args:
        cut: the sizes into which an epoch is cut.
        rows: (steps, shards, rows) as `rows_of_chunk` gives them.
        real: which of the chunk's rows count.
        each: the number of rows of the chunk in each shard.

    Returns:
        (steps, batch) whether a row counts.
    """
    filled = (np.arange(len(rows) * cut.shard_rows) >= each).reshape(-1, 1, cut.shard_rows)
    return (real[np.arange(cut.shards)[None, :, None] * each + rows] & ~filled).reshape(
        len(rows), -1
    )


@functools.partial(jax.jit, static_argnames=("plan", "cut"), donate_argnames=("state", "within"))
def _train_chunk(
    plan: Plan,
    cut: Layout,
    problem: Problem,
    state: TrainState,
    within: ChunkSums,
    real: Bool[Array, " rows"] | None,
) -> tuple[TrainState, ChunkSums]:
    """One optimizer step per batch of a chunk, which is the training set of this problem. real:
    which of its rows count.
    """
    assert state.order_key is not None
    each, own = (
        len(problem.splits.train) // cut.shards,
        cut.shards // plan.total_devices,
    )  # rows of a shard, and shards of a device
    rows = rows_of_chunk(state.order_key, cut, state.epoch * cut.chunks + within.chunks, each)
    mask, size, skipped = None, None, within.skipped
    if real is not None:
        mask = counting(cut, rows, real, each)
        size = jnp.maximum(
            mask.sum(1, dtype=jnp.int32), 1
        )  # a batch in which nothing counts has gradient 0
        last = problem.examples - (cut.chunks - 1) * cut.shards * cut.chunk
        skipped = (
            skipped
            + jnp.where(within.chunks == cut.chunks - 1, last, cut.shards * cut.chunk)
            - mask.sum(dtype=jnp.int32)
        )
    first = state.epoch * cut.epoch_steps + within.chunks * cut.steps
    shard = np.arange(cut.shards, dtype=np.int32)[None, :, None]
    local = (rows + shard % own * each).reshape(len(rows), -1)  # rows are numbered on each device
    batches = Batch(first + jnp.arange(len(rows), dtype=jnp.int32), local, size=size, mask=mask)
    state, sums = run_steps_on(plan)(problem, state, batches)
    return state, ChunkSums(within.chunks + 1, within.sums + sums, skipped)


@functools.partial(jax.jit, donate_argnames=("state", "within"))
def _end_epoch(
    problem: Problem, state: TrainState, within: ChunkSums
) -> tuple[TrainState, ChunkSums, EpochMetrics]:
    """Validates after the last chunk of an epoch."""
    metrics = training_metrics(
        problem, jnp.asarray(within.sums) / (problem.examples - within.skipped)
    )
    state, metrics = validate(problem, state, metrics)
    return state, jax.tree.map(jnp.zeros_like, within), metrics


def _named(rows: Any) -> str:
    """Some rows in words."""
    more = f" and {len(rows) - FEW:,} more" if len(rows) > FEW else ""
    return f"row{'s' * (len(rows) > 1)} {', '.join(map(str, rows[:FEW]))}{more}"

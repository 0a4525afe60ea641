"""Read a training set on disk in chunks, in an order that depends on the seed and the epoch
only.
"""

import contextlib
import functools
import logging
import math
from collections.abc import Generator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Num

from jaxnet.data.streaming.stream import Stream, fill
from jaxnet.errors import InputError

SHARDS = 16  # number of shards at most
BATCHES = 4  # batches of a chunk at least
ALIGNMENT = 64  # bytes


class Chunk(NamedTuple):
    """Training rows: the same number from every shard, shard after shard.

    Attributes:
        number: number in the epoch, from 0.
        x: (rows, ...) uint8 or float32.
        y: (rows,) int32 classes or float32 values.
        real: (rows,) False where a row only fills a place, or cannot be used; None if all are real.
        rows: (rows,) their numbers in the source.
        bad: numbers of the rows that cannot be used.
    """

    number: int
    x: Num[np.ndarray, "rows ..."]
    y: Num[np.ndarray, " rows"]
    real: Bool[np.ndarray, " rows"] | None
    rows: Int[np.ndarray, " rows"]
    bad: tuple[int, ...]


class Layout(NamedTuple):
    """The sizes into which an epoch is cut, the same for every shard and every process.

    Attributes:
        shards: number of shards.
        shard_rows: rows of a batch from one shard.
        block: rows of a block.
        chunk: rows of one shard in a chunk.
        chunks: number of chunks in an epoch.
        last: rows of one shard in the last chunk.
        steps: steps of a whole chunk.
        epoch_steps: steps of an epoch.
    """

    shards: int
    shard_rows: int
    block: int
    chunk: int
    chunks: int
    last: int
    steps: int
    epoch_steps: int


def layout(stream: Stream, batch_size: int) -> Layout:
    """Cut an epoch into chunks of at least four batches. As in memory, a batch is never larger than
    the training set.

    Args:
        stream: the training set.
        batch_size: number of examples of a batch.

    Returns:
        The Layout.

    Raises:
        InputError: for a batch size below 1.
    """
    n = len(stream)
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; give a whole number of at least 1")
    batch = min(batch_size, n)
    shards = min(SHARDS, batch & -batch)  # the largest power of two that divides it
    shard_rows = batch // shards
    row = math.prod(stream.shape) * stream.dtype.itemsize
    block = shard_rows * max(1, round(stream.sizes.block_bytes / (shard_rows * row)))
    in_chunk = stream.sizes.chunk_bytes // (shards * block * row)
    chunk = block * max(in_chunk, -(-BATCHES * shard_rows // block))
    longest = -(-n // shards)
    chunks = -(-longest // chunk)
    last = longest - (chunks - 1) * chunk
    return Layout(
        shards,
        shard_rows,
        block,
        chunk,
        chunks,
        last,
        chunk // shard_rows,
        -(-longest // shard_rows),
    )


def chunks(
    stream: Stream,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    first: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> Generator[Chunk, None, None]:
    """The chunks of an epoch, which two threads read ahead until the iterator is closed.

    Args:
        stream: the training set.
        batch_size: number of examples of a batch.
        seed: seed of the order, at least 0.
        epoch: number of the epoch, from 0.
        first: number of the chunk to begin with.
        shard: (process, processes): which shards are read. The processes must divide the layout's
            shards.

    Returns:
        A generator of Chunks.

    Raises:
        InputError: for arguments out of range, and at a bad row if stream.corrupt is "stop".
    """
    cut = layout(stream, batch_size)
    process, processes = shard
    if not 0 <= process < processes or cut.shards % processes:
        raise InputError(
            f"shard is {shard}; give (process, processes) with processes that divide the "
            f"{cut.shards} shards of a batch"
        )
    if not 0 <= first <= cut.chunks:
        raise InputError(
            f"first is {first}; give a number from 0 to {cut.chunks}, the chunks of an epoch"
        )
    if seed < 0 or epoch < 0:
        raise InputError(f"seed is {seed} and epoch {epoch}; give whole numbers of at least 0")
    own = cut.shards // processes
    return _read_ahead(stream, cut, range(process * own, (process + 1) * own), seed, epoch, first)


def _read_ahead(
    stream: Stream, cut: Layout, shards: range, seed: int, epoch: int, first: int
) -> Generator[Chunk, None, None]:
    logging.getLogger("absl").addFilter(_not_about_profiling)
    import grain

    # number of whole blocks that every shard has; remaining rows come last
    full = len(stream) // cut.shards // cut.block
    orders = [np.random.default_rng((seed, epoch, number)).permutation(full) for number in shards]
    read = functools.partial(_chunk, stream, cut, shards, orders, full)
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)
    with contextlib.closing(
        iter(grain.MapDataset.range(first, cut.chunks).map(read).to_iter_dataset(options))
    ) as iterator:
        yield from iterator


def _not_about_profiling(record: logging.LogRecord) -> bool:
    """A filter for Grain's warning that worker processes, of which there are none here, are not
    profiled.
    """
    return "worker profiling requires" not in str(record.msg)


def _chunk(
    stream: Stream, cut: Layout, shards: range, orders: list[np.ndarray], full: int, number: int
) -> Chunk:
    """The chunk of this number; its rows are read into fresh buffers, which the consumer may
    keep.
    """
    each = cut.last if number == cut.chunks - 1 else cut.chunk
    places = len(shards) * each
    x = _aligned((places, *stream.shape), stream.dtype)
    y = np.empty((places, *stream.rows.label_shape), stream.label_dtype)
    rows, real, bad = np.empty(places, np.int64), np.ones(places, bool), []
    per_chunk, last, place = cut.chunk // cut.block, number == cut.chunks - 1, 0
    longest = -(-len(stream) // cut.shards)
    for shard, order in zip(shards, orders, strict=True):
        begin, end = (len(stream) * (shard + i) // cut.shards for i in (0, 1))
        starts = [
            begin + int(order[i]) * cut.block
            for i in range(number * per_chunk, min((number + 1) * per_chunk, full))
        ]
        stretches = [np.arange(start, start + cut.block) for start in starts]
        if last:
            stretches.append(np.arange(begin + full * cut.block, end))
        for positions in stretches:
            at = slice(place, place := place + len(positions))
            rows[at] = stream.at(positions)
            bad += fill(stream, rows[at], x[at], y[at], real[at])
        if last and end - begin < longest:  # a shard with one row fewer repeats its last one
            at = slice(place, place := place + 1)
            rows[at] = stream.at(np.array([end - 1]))
            fill(stream, rows[at], x[at], y[at], real[at])
            real[at] = False
    return Chunk(number, x, y, None if real.all() else real, rows, tuple(bad))


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An empty array aligned as XLA needs it, so that a CPU trains on this memory without a
    copy.
    """
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + size].view(dtype).reshape(shape)

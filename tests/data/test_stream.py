"""Data larger than memory: every training row once an epoch, whatever the sizes and processes; and
each bad row by name.
"""

import contextlib
import itertools
import os
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa
import pytest
from prepared import write_prepared
from pyarrow import parquet

import jaxnet
from jaxnet.data.dataset import Standardization
from jaxnet.data.streaming.chunks import chunks, layout
from jaxnet.data.streaming.parquet import rows_of_parquet
from jaxnet.data.streaming.rows import ArrayFiles
from jaxnet.data.streaming.stream import ReadSizes, Stream, count_that_fits, stream

RNG = np.random.default_rng(0)
# Chunks of a few blocks, and blocks of one to a few parts of a batch, so that small data have many.
SMALL = ReadSizes(block_bytes=24, chunk_bytes=700)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _arrays(
    folder: Path, n: int, shape=(3,), dtype=np.uint8, classes: int | None = 4
) -> tuple[np.ndarray, np.ndarray]:
    """x.npy and y.npy, written; every row is different."""
    folder.mkdir(exist_ok=True)
    x = RNG.integers(0, 256, (n, *shape)).astype(dtype)
    y = np.arange(n) % classes if classes else RNG.normal(size=n)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return x, y


def _stream(folder: Path, held_out=(), **kwargs) -> Stream:
    return Stream(
        ArrayFiles(folder), np.array(held_out, np.int64), **({"classes": tuple("abcd")} | kwargs)
    )


def _rows(chunks_) -> np.ndarray:
    """The rows that count, in order."""
    return np.concatenate(
        [chunk.rows if chunk.real is None else chunk.rows[chunk.real] for chunk in chunks_]
    )


SIZES = [
    (1, 1),
    (5, 8),
    (64, 8),
    (96, 8),
    (97, 8),
    (100, 7),
    (103, 12),
    (111, 4),
    (112, 16),
    (127, 16),
    (128, 16),
    (129, 6),
    (200, 128),
]


@pytest.mark.parametrize(("n", "batch"), SIZES)
@pytest.mark.parametrize("held", [0, 9])
def test_every_training_row_once_an_epoch(tmp_path, n, batch, held):
    x, y = _arrays(tmp_path, n + held)
    held_out = np.sort(RNG.choice(n + held, held, replace=False))
    data = _stream(tmp_path, held_out, sizes=SMALL)
    cut = layout(data, batch)
    got = list(chunks(data, batch_size=batch, seed=3, epoch=0))
    assert np.array_equal(np.sort(_rows(got)), np.setdiff1d(np.arange(n + held), held_out))
    assert [chunk.number for chunk in got] == list(range(cut.chunks))
    assert [len(chunk.y) for chunk in got] == [cut.shards * cut.chunk] * (cut.chunks - 1) + [
        cut.shards * cut.last
    ]
    for chunk in got:
        assert np.array_equal(chunk.x, x[chunk.rows])
        assert np.array_equal(chunk.y, y[chunk.rows])
        assert (chunk.x.dtype, chunk.y.dtype, chunk.bad) == (np.uint8, np.int32, ())
    assert cut.shards * cut.shard_rows == min(batch, n)
    assert (cut.chunk % cut.block, cut.block % cut.shard_rows, cut.steps * cut.shard_rows) == (
        0,
        0,
        cut.chunk,
    )
    assert (cut.chunks - 1) * cut.steps + -(-cut.last // cut.shard_rows) == cut.epoch_steps
    assert (
        (cut.epoch_steps - 1) * cut.shards * cut.shard_rows
        < n
        <= cut.epoch_steps * cut.shards * cut.shard_rows
    )


def test_a_place_that_is_filled_is_the_only_one_that_does_not_count(tmp_path):
    _arrays(tmp_path, 33)
    (*whole, last) = chunks(_stream(tmp_path, sizes=SMALL), batch_size=16, seed=0, epoch=0)
    assert all(chunk.real is None for chunk in whole)
    assert (~last.real).sum() == 15  # shards of two rows and one of three
    assert set(last.rows[~last.real]) <= set(range(33))


@pytest.mark.parametrize("n", [403, 514, 1002])
def test_processes_read_parts_of_one_order(tmp_path, n):
    _arrays(tmp_path, n)
    data = _stream(tmp_path, [4, 5, 77], sizes=SMALL)

    def epoch_of(process: int, processes: int):
        return list(chunks(data, batch_size=8, seed=1, epoch=2, shard=(process, processes)))

    alone = epoch_of(0, 1)
    assert len(alone) > 2
    for processes in (2, 4, 8):
        parts = [epoch_of(process, processes) for process in range(processes)]
        for chunk, *own in zip(alone, *parts, strict=True):
            for name in ("x", "y", "rows"):
                assert np.array_equal(
                    getattr(chunk, name), np.concatenate([getattr(part, name) for part in own])
                )
            real = np.concatenate(
                [np.ones(len(part.y), bool) if part.real is None else part.real for part in own]
            )
            assert np.array_equal(
                real, np.ones(len(real), bool) if chunk.real is None else chunk.real
            )
    # A shard is a range of positions, so what a process reads is one stretch of the file.
    half = [_rows(epoch_of(process, 2)) for process in (0, 1)]
    assert half[0].max() < half[1].min()


def test_the_order_is_a_function_of_seed_and_epoch_and_goes_on_from_any_chunk(tmp_path):
    _arrays(tmp_path, 300)
    data, how = _stream(tmp_path, [7], sizes=SMALL), {"batch_size": 8}
    orders = {
        (seed, epoch): _rows(chunks(data, seed=seed, epoch=epoch, **how))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    for a, b in itertools.combinations(orders.values(), 2):
        assert not np.array_equal(a, b)
        assert np.array_equal(np.sort(a), np.sort(b))
    whole = list(chunks(data, seed=0, epoch=1, **how))
    assert np.array_equal(_rows(whole), orders[0, 1])
    for first in range(len(whole) + 1):
        rest = list(chunks(data, seed=0, epoch=1, first=first, **how))
        assert [chunk.number for chunk in rest] == list(range(first, len(whole)))
        assert all(np.array_equal(a.x, b.x) for a, b in zip(rest, whole[first:], strict=True))


def test_blocks_are_shuffled_evenly(tmp_path):
    """Over many epochs each block is as often in the first chunk as any other."""
    _arrays(tmp_path, 400)
    data = _stream(tmp_path, sizes=ReadSizes(block_bytes=24, chunk_bytes=96))
    cut = layout(data, 2)
    assert (cut.shards, cut.chunk // cut.block) == (2, 2)
    blocks = len(data) // 2 // cut.block
    epochs = 100
    seen = np.zeros(blocks)
    for epoch in range(epochs):
        first = next(chunks(data, batch_size=2, seed=0, epoch=epoch))
        np.add.at(seen, np.unique(first.rows[first.rows < 200] // cut.block), 1)
    expected = epochs * 2 / blocks
    assert seen.sum() == epochs * 2
    assert (
        (seen - expected) ** 2 / expected
    ).sum() < 1.7 * blocks  # chi-squared; its mean is the number of blocks


def test_what_does_not_fit_is_refused(tmp_path):
    _arrays(tmp_path, 50)
    data = _stream(tmp_path)
    for wrong, words in [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"shard": (0, 3)}, r"shard is \(0, 3\); .* divide the 8 shards"),
        ({"shard": (2, 2)}, r"shard is \(2, 2\)"),
        ({"first": 2}, "first is 2; give a number from 0 to 1"),
        ({"epoch": -1}, "epoch -1"),
    ]:
        with pytest.raises(jaxnet.InputError, match=words):
            chunks(data, **({"batch_size": 8, "seed": 0, "epoch": 0} | wrong))


def _threads() -> list[str]:
    return [
        thread.name for thread in threading.enumerate() if thread.name.startswith("grain-prefetch")
    ]


def test_no_thread_outlives_its_iterator(tmp_path):
    _arrays(tmp_path, 2000)
    data = _stream(tmp_path, sizes=SMALL)

    def begun():
        iterator = chunks(data, batch_size=8, seed=0, epoch=0)
        next(iterator)
        assert _threads()
        return iterator

    begun().close()
    iterator = begun()
    del iterator
    for wrong in (KeyboardInterrupt, ValueError):
        with pytest.raises(wrong), contextlib.closing(begun()):
            raise wrong
    np.save(tmp_path / "y.npy", np.full(2000, 9))
    with pytest.raises(jaxnet.InputError):
        list(chunks(_stream(tmp_path, sizes=SMALL), batch_size=8, seed=0, epoch=0))
    end = time.monotonic() + 5
    while _threads() and time.monotonic() < end:
        time.sleep(0.01)
    assert not _threads()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(5,), (4, 3), (4, 3, 3)])
def test_splits_hold_every_row_once(tmp_path, dtype, shape):
    x, y = _arrays(tmp_path, 500, shape, dtype)
    splits = stream(tmp_path, validation=0.1, test=60, seed=5)
    assert isinstance(splits.train, Stream)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (390, 50, 60)
    assert (splits.classes, splits.train.outputs, splits.train.shape) == (
        ("0", "1", "2", "3"),
        4,
        shape,
    )
    got = list(chunks(splits.train, batch_size=32, seed=0, epoch=0))
    trained = np.sort(_rows(got))
    held = np.setdiff1d(np.arange(500), trained)
    both = [
        np.concatenate(
            [np.asarray(getattr(part, name)) for part in (splits.validation, splits.test)]
        )
        for name in ("x", "y")
    ]
    assert _bag(*both) == _bag(x[held], y[held])
    assert splits.validation.x.dtype == splits.train.dtype == dtype
    images = len(shape) > 1
    assert (
        splits.train.pixel_max
        == splits.test.pixel_max
        == (None if not images else 255.0 if dtype == np.uint8 else float(x[trained].max()))
    )
    # All training rows are few enough to be the sample.
    exact = Standardization.of(
        jaxnet.data.Dataset(x[trained], y[trained].astype(np.int32), splits.classes)
    )
    for ours, theirs in zip(
        jax.tree.leaves(splits.standardization), jax.tree.leaves(exact), strict=True
    ):
        assert np.array_equal(ours, theirs)
    assert "standardization uses the mean and scale of 390 random training rows" in splits.notes
    again, other = stream(tmp_path, seed=5, test=60), stream(tmp_path, seed=6, test=60)
    assert np.array_equal(again.test.x, splits.test.x)
    assert not np.array_equal(other.test.x, splits.test.x)


def _bag(x, y):
    return sorted((np.asarray(a).tobytes(), float(b)) for a, b in zip(x, y, strict=True))


def test_parts_of_a_fraction_are_capped_and_the_statistics_are_of_a_sample(tmp_path):
    x, _ = _arrays(tmp_path, 110_000, dtype=np.float32)
    splits = stream(tmp_path, test=30)
    assert len(splits.validation) == 10_000  # for 11,000
    assert (len(splits.train), len(splits.test)) == (110_000 - 10_000 - 30, 30)
    assert "standardization uses the mean and scale of 65,536 random training rows" in splits.notes
    error = x.std(0) / np.sqrt(65_536)
    assert np.all(np.abs(np.asarray(splits.standardization.mean) - x.mean(0)) < 4 * error)
    assert not np.array_equal(splits.standardization.mean, x.mean(0))


@pytest.mark.parametrize(("megabytes", "count"), [(1, 256), (100, 2), (300, 1), (1e-3, 10_000)])
def test_parts_of_a_fraction_of_large_rows_take_256_megabytes(tmp_path, megabytes, count):
    shape = 3, int(megabytes * 2**20) // 4
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, shape)  # which takes no room
    np.save(tmp_path / "y.npy", np.zeros(3))
    assert count_that_fits(ArrayFiles(tmp_path)) == count


def test_labels_say_what_the_task_is(tmp_path):
    _, y = _arrays(tmp_path, 200, classes=None)
    splits = stream(tmp_path, validation=0)
    assert splits.classes is None
    assert len(splits.validation) == 0
    (chunk,) = chunks(splits.train, batch_size=8, seed=0, epoch=0)
    assert np.array_equal(chunk.y, y.astype(np.float32)[chunk.rows])
    assert np.isclose(
        splits.standardization.target_mean,
        y[chunk.rows[chunk.real]].mean() if chunk.real is not None else y[chunk.rows].mean(),
    )
    with pytest.raises(
        jaxnet.InputError, match=r"y.npy: row 0 has label .* but no row has label 0"
    ):
        stream(tmp_path, task="classification")
    np.save(tmp_path / "y.npy", np.arange(200) % 30 + 1900)  # too many to be classes
    with pytest.raises(
        jaxnet.InputError, match=r'row 0 has label 1900, but no row has label 0.*task="regression"'
    ):
        stream(tmp_path)
    assert stream(tmp_path, task="regression").classes is None
    np.save(tmp_path / "y.npy", np.zeros(200, int))
    with pytest.raises(jaxnet.InputError, match="one class"):
        stream(tmp_path)


def _epoch(splits, **kwargs):
    return list(chunks(splits.train, **({"batch_size": 8, "seed": 0, "epoch": 0} | kwargs)))


def _trained(splits) -> set[int]:
    return set(_rows(_epoch(splits)).tolist())


@pytest.mark.parametrize("part", ["x", "y"])
def test_a_truncated_file_is_refused(tmp_path, part):
    _arrays(tmp_path, 100, dtype=np.float32)
    file = tmp_path / f"{part}.npy"
    file.write_bytes(file.read_bytes()[:-5])
    size, promised = file.stat().st_size, file.stat().st_size + 5
    with pytest.raises(
        jaxnet.InputError,
        match=rf"{part}.npy: its header promises \(100,.*, {promised} bytes, but it has {size}",
    ):
        stream(tmp_path)


@pytest.mark.parametrize("name", ["x", "y"])
def test_a_file_that_shrinks_while_it_is_read(tmp_path, name):
    """What a failing disk looks like, too: the rows beyond cannot be read."""
    _arrays(tmp_path, 100, dtype=np.float32)
    for corrupt in ("stop", "skip"):
        data = _stream(tmp_path, corrupt=corrupt)
        file = tmp_path / f"{name}.npy"
        whole = file.read_bytes()
        file.write_bytes(whole[: 128 + len(whole[128:]) * 90 // 100])
        try:
            if corrupt == "stop":
                with pytest.raises(
                    jaxnet.InputError,
                    match=r"x.npy: row \d+ cannot be read \(the file ends at byte \d+\)",
                ):
                    list(chunks(data, batch_size=8, seed=0, epoch=0))
            else:
                (chunk,) = chunks(data, batch_size=8, seed=0, epoch=0)
                assert set(range(90, 100)) <= set(chunk.bad)
        finally:
            file.write_bytes(whole)


def test_files_that_do_not_fit_are_refused(tmp_path):
    x, y = _arrays(tmp_path, 40)
    for name, array, words in [
        (
            "x",
            x.astype(np.int64),
            r"x.npy: must be .* uint8, float32 or float64, but is \(40, 3\) of int64; write "
            r"x.astype",
        ),
        ("x", x[:, 0], r"x.npy: must be \(rows, features\)"),
        ("x", np.asfortranarray(x), "x.npy: is in Fortran order"),
        ("x", x[:39], "x.npy has 39 rows and y.npy has 40"),
        ("x", x[:, :0], "x.npy: is empty"),
        ("y", y[:, None], r"y must hold one label or value per example, but has shape \(40, 1\)"),
        ("y", y.astype(str), "y.npy: must hold one number per row"),
    ]:
        kept = (tmp_path / f"{name}.npy").read_bytes()
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(jaxnet.InputError, match=words):
            stream(tmp_path)
        (tmp_path / f"{name}.npy").write_bytes(kept)
    np.save(tmp_path / "y.npy", np.array([None] * 40), allow_pickle=True)
    with pytest.raises(jaxnet.InputError, match="pickled objects"):
        stream(tmp_path)
    (tmp_path / "y.npy").write_bytes(b"no header")
    with pytest.raises(jaxnet.InputError, match=r"y.npy: not a readable .npy file"):
        stream(tmp_path)
    (tmp_path / "y.npy").unlink()
    with pytest.raises(jaxnet.InputError, match=r"y.npy: no such file"):
        stream(tmp_path)
    for wrong, words in [
        ({"corrupt": "ignore"}, "corrupt is 'ignore'"),
        ({"seed": -1}, "seed of the split is -1"),
        ({"task": "ranking"}, "unknown task 'ranking'"),
        ({"label": "y"}, "label .* has no use for it"),
        ({"data_dir": "/"}, "data_dir .* has no use for it"),
        ({"test": 0}, "test is 0"),
        ({"test": 1.0}, "test is 1.0"),
        ({"validation": -1}, "validation is -1"),
        ({"validation": 20, "test": 20}, "40 rows held out of 40"),
    ]:
        np.save(tmp_path / "y.npy", y)
        with pytest.raises(jaxnet.InputError, match=words):
            stream(tmp_path, **wrong)
    with pytest.raises(jaxnet.InputError, match=r"nothing: is no folder with x.npy and y.npy"):
        stream(tmp_path / "nothing")


def _held(splits, x) -> set[int]:
    """Which rows are in memory."""
    rows = {row.tobytes(): i for i, row in enumerate(x)}
    return {
        rows[np.asarray(row).tobytes()]
        for part in (splits.validation, splits.test)
        for row in part.x
    }


def test_numbers_that_are_not_finite_stop_or_are_skipped_wherever_they_are(tmp_path):
    """Here in every tenth row, so that the validation set, the test set and the sample meet some
    too.
    """
    x, _ = _arrays(tmp_path, 300, (4, 3), np.float32)
    x += RNG.random(x.shape, np.float32)  # no two rows alike
    bad = np.arange(0, 300, 10)
    x[bad, 2, 1] = np.resize([np.nan, np.inf, -np.inf], len(bad))
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(
        jaxnet.InputError,
        match=r'x.npy: row \d*0 holds (nan|-?inf) in column 2, 1; .* with corrupt="skip"',
    ):
        stream(tmp_path)
    splits = stream(tmp_path, corrupt="skip")
    (chunk,) = _epoch(splits)
    held = _held(splits, x)
    assert held | set(_rows([chunk]).tolist()) == set(range(300)) - set(bad.tolist())
    assert len(splits.test) + len(splits.validation) == len(held) < 90
    place = np.isin(chunk.rows, chunk.bad)
    assert set(chunk.bad) == set(chunk.rows[place].tolist()) <= set(bad.tolist())
    assert not chunk.x[place].any()
    assert not chunk.y[place].any()
    assert not chunk.real[place].any()
    assert np.isfinite(splits.standardization.mean)


def test_large_finite_numbers_are_not_mistaken_for_bad_ones(tmp_path):
    x, _ = _arrays(tmp_path, 100, dtype=np.float32)
    np.save(tmp_path / "x.npy", x + np.float32(3e38))
    (chunk,) = chunks(_stream(tmp_path), batch_size=10, seed=0, epoch=0)
    assert chunk.real is None


def test_a_bad_training_row_is_raised_to_the_consumer_by_name(tmp_path):
    x, _ = _arrays(tmp_path, 5000, (100,), np.float32)
    how = {"batch_size": 8, "seed": 0, "epoch": 0}
    sizes = ReadSizes(block_bytes=24, chunk_bytes=100_000)
    clean = list(chunks(_stream(tmp_path, sizes=sizes), **how))
    row = int(clean[3].rows[100])
    x[row, 17] = np.nan
    np.save(tmp_path / "x.npy", x)
    got = []
    with pytest.raises(jaxnet.InputError, match=rf"x.npy: row {row} holds nan in column 17"):
        got.extend(chunks(_stream(tmp_path, sizes=sizes), **how))
    assert len(clean) > 4
    assert len(got) == 3


def test_labels_out_of_range_stop_or_are_skipped(tmp_path):
    _, y = _arrays(tmp_path, 1000)
    y[[17, 400]] = -3, 99
    np.save(tmp_path / "y.npy", y)
    with pytest.raises(
        jaxnet.InputError,
        match=(
            r"y.npy: row 17 has label -3, but classes are numbered 0 to 3 without a gap \(2 "
            r"such rows\)"
        ),
    ):
        stream(tmp_path)
    splits = stream(tmp_path, corrupt="skip")
    assert any("2 rows have other labels" in note for note in splits.notes)
    assert not {17, 400} & _trained(splits)
    y[::20] = 99 + np.arange(50)  # one in twenty is no mistake
    np.save(tmp_path / "y.npy", y)
    with pytest.raises(jaxnet.InputError, match="51 such rows"):
        stream(tmp_path, corrupt="skip")
    y = RNG.normal(size=1000)
    y[[3, 500]] = np.nan, 1e300
    np.save(tmp_path / "y.npy", y)
    with pytest.raises(
        jaxnet.InputError,
        match=r"y.npy: row (3|500) has label (nan|1e\+300), which is no finite number",
    ):
        _epoch(stream(tmp_path))
    assert not {3, 500} & _trained(stream(tmp_path, corrupt="skip"))


def test_a_class_without_training_rows_is_refused(tmp_path):
    _, y = _arrays(tmp_path, 60)
    y[:] = 0
    y[30] = 1
    np.save(tmp_path / "y.npy", y)
    outcomes = []
    for seed in range(6):
        try:
            outcomes.append(len(stream(tmp_path, test=30, seed=seed).train))
        except jaxnet.InputError as error:
            outcomes.append(str(error).split(": ", 1)[1])
    assert set(outcomes) == {
        24,
        "all examples of class 1 were held out; give more of them, or another seed",
    }


def _tables(n: int, width: int = 3):
    """The two layouts of one table, with its arrays. Labels are whole numbers."""
    x = RNG.integers(0, 256, (n, width)).astype(np.uint8)
    x[:, 0], x[:, 1] = np.arange(n) % 256, np.arange(n) // 256
    y = np.arange(n) % 4
    flat = pa.array(x.ravel())
    return (
        x,
        y,
        {
            "columns": pa.table(
                {**{f"f{i}": x[:, i].astype(np.int16) for i in range(width)}, "y": y}
            ),
            "fixed": pa.table({"x": pa.FixedSizeListArray.from_arrays(flat, width), "y": y}),
            "lists": pa.table(
                {
                    "x": pa.ListArray.from_arrays(
                        np.arange(0, n * width + 1, width, np.int32), flat
                    ),
                    "y": y,
                }
            ),
            "floats": pa.table(
                {"x": pa.FixedSizeListArray.from_arrays(flat.cast(pa.float64()), width), "y": y}
            ),
        },
    )


LAYOUTS = ["columns", "fixed", "lists", "floats"]


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("files", [1, 3])
def test_parquet_is_decoded_once(tmp_path, kind, files):
    x, y, tables = _tables(700)
    table = tables[kind]
    (folder := tmp_path / "data").mkdir()
    for i, rows in enumerate(np.array_split(np.arange(700), files)):
        parquet.write_table(
            table.slice(rows[0], len(rows)), folder / f"part-{i}.parquet", row_group_size=100
        )
    path = folder if files > 1 else folder / "part-0.parquet"
    rows_of_parquet(path, None, "stop", decoded_bytes=500)  # a few rows at a time
    (cache,) = (tmp_path / "cache/jaxnet/data").iterdir()
    written = (cache / "x.npy").stat()
    splits = stream(path)
    (chunk,) = _epoch(splits)
    assert chunk.x.dtype == (np.uint8 if kind in ("fixed", "lists") else np.float32)
    assert np.array_equal(chunk.x, x[chunk.rows])
    assert np.array_equal(chunk.y, y[chunk.rows])
    trained = _trained(splits)
    assert trained | _held(splits, x.astype(chunk.x.dtype)) == set(range(700))
    assert list((tmp_path / "cache/jaxnet/data").iterdir()) == [cache]
    assert os.path.samestat((cache / "x.npy").stat(), written)
    assert (cache / "x.npy").stat().st_mtime_ns == written.st_mtime_ns
    assert f"decoded into {cache}" in splits.notes
    (cache / "x.npy").write_bytes((cache / "x.npy").read_bytes()[:-1])  # damaged: it is made anew
    assert np.array_equal(_epoch(stream(path))[0].x, chunk.x)
    parquet.write_table(table.slice(0, 200), folder / "part-0.parquet")
    assert len(stream(path).train) < len(trained)


def test_the_label_of_parquet(tmp_path):
    x, y, tables = _tables(400)
    path = tmp_path / "a.parquet"
    texts = np.array(["ant", "bee", "cat", "dog"])[y]
    for column in (pa.array(texts), pa.array(texts).dictionary_encode()):
        parquet.write_table(tables["columns"].set_column(3, "y", column), path, row_group_size=64)
        splits = stream(path)
        assert splits.classes == ("ant", "bee", "cat", "dog")
        (chunk,) = _epoch(splits)
        assert np.array_equal(chunk.y, y[chunk.rows])
    parquet.write_table(tables["columns"], path)
    splits = stream(path, label="f2", task="regression")
    (chunk,) = _epoch(splits)
    assert splits.train.shape == (3,)
    assert np.array_equal(chunk.y, x[chunk.rows, 2])
    assert np.array_equal(chunk.x[:, 2], y[chunk.rows])


def test_parquet_that_cannot_be_used_is_refused(tmp_path):
    _, y, tables = _tables(50)
    path = tmp_path / "a.parquet"
    table = tables["columns"]
    for columns, words in [
        (
            table.append_column("z", pa.array(["a"] * 50)).select(["f0", "z", "y"]),
            "column 'z' is of type string; encode",
        ),
        (
            table.append_column("z", pa.array(["a"] * 50).dictionary_encode()).select(["z", "y"]),
            "column 'z' is of type dictionary",
        ),
        (
            pa.table({"x": tables["lists"]["x"], "w": y, "y": y}),
            r"column of lists among others \(x, w\)",
        ),
        (pa.table({"y": y}), "no column beside the label 'y'"),
        (pa.table({"x": y, "y": tables["lists"]["x"]}), "the label 'y' is of type list"),
        (table.slice(0, 0), "a.parquet: has no rows"),
    ]:
        parquet.write_table(columns, path)
        with pytest.raises(jaxnet.InputError, match=words):
            stream(path)
    parquet.write_table(table, path)
    with pytest.raises(jaxnet.InputError, match="no column 'z'; its columns are f0, f1, f2, y"):
        stream(path, label="z")
    parquet.write_table(table.select(["f0", "y"]), tmp_path / "b.parquet")
    with pytest.raises(
        jaxnet.InputError,
        match=r"b.parquet: its columns are not those of a.parquet; they differ in .*f1: int16",
    ):
        stream(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(jaxnet.InputError, match=r"a.parquet: not a readable Parquet file"):
        stream(path)
    with pytest.raises(jaxnet.InputError, match=r"c.parquet: no such file"):
        stream(tmp_path / "c.parquet")
    assert not list(tmp_path.glob("cache/jaxnet/data/*"))


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("checksums", [False, True])
def test_a_damaged_page_stops_or_its_row_group_is_skipped(tmp_path, kind, checksums):
    x, _, tables = _tables(700)
    (folder := tmp_path / "data").mkdir()
    # which has a checksum of its own
    how = (
        {"compression": "none", "write_page_checksum": True}
        if checksums
        else {"compression": "gzip"}
    )
    for i in range(2):
        table = tables[kind].slice(350 * i, 350)
        parquet.write_table(
            table, folder / f"{i}.parquet", row_group_size=100, use_dictionary=False, **how
        )
    file = folder / "1.parquet"
    column = parquet.read_metadata(file).row_group(2).column(0)
    content = bytearray(file.read_bytes())
    middle = column.data_page_offset + column.total_compressed_size // 2
    content[middle : middle + 8] = bytes(255 - byte for byte in content[middle : middle + 8])
    file.write_bytes(content)
    for _ in range(2):
        with pytest.raises(
            jaxnet.InputError, match=r'1.parquet: row group 2 cannot be decoded \(.*corrupt="skip"'
        ):
            stream(folder)
        splits = stream(folder, corrupt="skip")
        lost = set(range(550, 650))
        trained = _trained(splits)
        assert trained | _held(splits, x.astype(splits.train.dtype)) == set(range(700)) - lost
        (chunk,) = _epoch(splits)
        assert lost - set(splits.train.held_out.tolist()) == set(chunk.bad)


def test_gaps_and_ragged_lists_in_parquet(tmp_path):
    n = 200
    numbers = [[i % 256, i // 256, 3] for i in range(n)]
    y = [float(i) for i in range(n)]
    for kind in (pa.uint8(), pa.float32()):
        lists = [list(each) for each in numbers]
        lists[3], lists[77][1], lists[150] = None, None, [1, 2]
        values = list(y)
        values[9] = None
        path = tmp_path / f"{kind}.parquet"
        parquet.write_table(
            pa.table({"x": pa.array(lists, pa.list_(kind)), "y": values}), path, row_group_size=60
        )
        with pytest.raises(
            jaxnet.InputError, match=r"parquet: row (3|150) has (0|2) numbers, not 3; fix"
        ):
            stream(path)
        splits = stream(path, corrupt="skip")
        good = set(range(n)) - {3, 9, 77, 150}
        (chunk,) = _epoch(splits)
        assert set(_rows([chunk]).tolist()) == good - set(splits.train.held_out.tolist())
        real = chunk.real
        assert np.array_equal(chunk.x[real], np.array([numbers[row] for row in chunk.rows[real]]))
    table = pa.table({"a": pa.array([None, *y[1:]]), "b": pa.array([True] * n), "y": y})
    parquet.write_table(table, tmp_path / "t.parquet")
    assert _trained(stream(tmp_path / "t.parquet", corrupt="skip")).isdisjoint({0})


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    parquet.write_table(_tables(100)[2]["fixed"], tmp_path / "a.parquet")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(
        jaxnet.InputError, match=r"a.parquet: takes 0.0 GB when decoded, but .* has room for 0.0 GB"
    ):
        stream(tmp_path / "a.parquet")
    assert not list((tmp_path / "cache/jaxnet/data").iterdir())


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3)])
def test_records_are_decoded_when_they_are_read(tmp_path, shape):
    arrays = write_prepared(tmp_path / "tfds", parts=(("train", 90), ("test", 12)), shape=shape)
    splits = stream("pets", data_dir=tmp_path / "tfds")
    assert splits.classes == ("cat", "dog", "owl")
    assert _bag(splits.test.x, splits.test.y) == _bag(*arrays["test"])
    (chunk,) = _epoch(splits)
    assert len(splits.train) == 81
    assert np.array_equal(chunk.x, np.stack(arrays["train"][0])[chunk.rows])
    assert np.array_equal(chunk.y, arrays["train"][1][chunk.rows])
    assert _trained(splits) | set(splits.train.held_out.tolist()) == set(range(90))
    assert splits.train.pixel_max == 255.0
    assert stream("pets", data_dir=tmp_path / "tfds", image_size=(3, 2)).train.shape == (
        3,
        2,
        *shape[2:],
    )
    for wrong, words in [({"task": "regression"}, "task"), ({"label": "image"}, "label")]:
        with pytest.raises(jaxnet.InputError, match=f"{words} .* has no use for it"):
            stream("pets", data_dir=tmp_path / "tfds", **wrong)
    with pytest.raises(jaxnet.InputError, match="no data set 'pest'"):
        stream("pest", data_dir=tmp_path / "tfds")


def test_a_record_that_cannot_be_decoded_stops_or_is_skipped(tmp_path):
    write_prepared(tmp_path, parts=(("train", 60), ("test", 5)), broken=True)
    with pytest.raises(
        jaxnet.InputError,
        match=r"1.0.0: record 7 of train cannot be decoded \(its image: not a readable PNG or JPEG",
    ):
        _epoch(stream("pets", data_dir=tmp_path, validation=0))
    splits = stream("pets", data_dir=tmp_path, validation=0, corrupt="skip")
    assert _trained(splits) == set(range(60)) - {7}
    assert _epoch(splits)[0].bad == (7,)


def test_damaged_bytes_of_a_record(tmp_path):
    write_prepared(tmp_path, parts=(("train", 60), ("test", 5)))
    (file,) = tmp_path.glob("pets/1.0.0/*train*")
    content = bytearray(file.read_bytes())
    middle = len(content) // 20  # among the records; what follows is an index
    content[middle : middle + 20] = bytes(255 - byte for byte in content[middle : middle + 20])
    file.write_bytes(content)
    with pytest.raises(jaxnet.InputError, match=r"1.0.0: record \d+ of train cannot be decoded"):
        _epoch(stream("pets", data_dir=tmp_path, validation=0))
    splits = stream("pets", data_dir=tmp_path, validation=0, corrupt="skip")
    (chunk,) = _epoch(splits)
    assert len(chunk.bad) == 1
    assert _trained(splits) == set(range(60)) - set(chunk.bad)
    file.write_bytes(content[: len(content) // 2])
    for corrupt in ("stop", "skip"):  # not one record can be read
        with pytest.raises(
            jaxnet.InputError,
            match=r"1.0.0: (record \d+ of train cannot be decoded|cannot be read)",
        ):
            stream("pets", data_dir=tmp_path, validation=0, corrupt=corrupt)

"""Training over data on disk: the steps of the same order in memory, each row once an epoch,
whatever stops it in between.
"""

import contextlib
import itertools
import json
import logging
import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import gap, problem_of
from peers import assert_same, end, numbers, start
from scripts import run as run_script

import jaxnet
from jaxnet.core import training
from jaxnet.data import Dataset, Splits, Stream
from jaxnet.data.streaming.chunks import chunks, layout
from jaxnet.data.streaming.stream import ReadSizes
from jaxnet.engine import streamed
from jaxnet.engine.loop import Pace, train

KEY, MODEL = jax.random.key(0), jaxnet.mlp((16,))
FEATURES = 5
RECIPE = jaxnet.Recipe(epochs=2, batch_size=16, learning_rate=1e-2, schedule="constant")
ROUNDING = 2e-6  # of float32, where sums are in another order


SIZES = ReadSizes(block_bytes=2 * FEATURES * 4, chunk_bytes=100 * FEATURES * 4)
EVERY_PART = Pace(checkpoint_share=1e9, message_seconds=-1.0)  # a checkpoint and a message


def stream(folder: Path, **how) -> Splits:
    """With blocks of a few rows and chunks of a few blocks, so that small data have many."""
    splits = jaxnet.stream(folder, **how)
    return replace(splits, train=replace(splits.train, sizes=SIZES))


def _write(folder: Path, n: int, classes: int | None = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    folder.mkdir(exist_ok=True)
    x = rng.normal(size=(n, FEATURES)).astype(np.float32)
    y = (
        x[:, 0] * 3 + x[:, 1] ** 2 + 100
        if classes is None
        else np.digitize(x[:, 0] + x[:, 1] / 2, [-0.5, 0.5])
    )
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return x, y


def _rows(
    splits: Splits, recipe: jaxnet.Recipe, epoch: int, key=KEY
) -> tuple[np.ndarray, np.ndarray]:
    """(rows of the source, whether they count), each (steps, batch): what an epoch takes, in
    order.
    """
    train: Stream = splits.train
    cut, order_key = layout(train, recipe.batch_size), training.state_keys(key, None)[1]
    shards = np.arange(cut.shards)[None, :, None]
    rows, real = [], []
    for chunk in chunks(
        train, batch_size=recipe.batch_size, seed=streamed.seed(order_key), epoch=epoch
    ):
        each = len(chunk.y) // cut.shards
        order = np.asarray(
            streamed.rows_of_chunk(order_key, cut, epoch * cut.chunks + chunk.number, each)
        )
        places = (shards * each + order).reshape(len(order), -1)
        again = np.arange(len(order) * cut.shard_rows).reshape(-1, 1, cut.shard_rows) >= each
        given = np.ones(len(chunk.y), bool) if chunk.real is None else chunk.real
        rows.append(chunk.rows[places])
        real.append(given[places] & ~np.broadcast_to(again, order.shape).reshape(len(order), -1))
    return np.concatenate(rows), np.concatenate(real)


def _in_memory(
    splits: Splits, x: np.ndarray, y: np.ndarray, recipe: jaxnet.Recipe
) -> tuple[training.TrainState, training.EpochMetrics]:
    """The same steps over arrays: state and history."""
    data = Dataset(jnp.asarray(x), jnp.asarray(y.astype(splits.train.label_dtype)), splits.classes)
    problem = replace(
        problem_of(MODEL, replace(splits, train=data), recipe), streamed=len(splits.train)
    )  # of these rows
    state, history = training.start(problem, KEY), []

    def one(state, rows, real, epoch):
        number = epoch * len(rows) + jnp.arange(len(rows), dtype=jnp.int32)
        size = jnp.maximum(real.sum(1, dtype=jnp.int32), 1)
        state, sums = training.run_steps(
            problem, state, training.Batch(number, rows, size=size, mask=real)
        )
        means = sums / real.sum()
        metrics = training.EpochMetrics(means[0], None if splits.classes is None else means[1])
        return training.validate(problem, state, metrics)

    for epoch in range(recipe.epochs):
        rows, real = _rows(splits, recipe, epoch)
        state, row = jax.jit(one)(
            state, jnp.asarray(rows, jnp.int32), jnp.asarray(real), jnp.int32(epoch)
        )
        history.append(row)
    return state, jax.tree.map(lambda *leaves: np.stack(leaves), *history)


CASES = [
    (600, 16, 3, 0.1),
    (613, 12, 3, 0.0),
    (613, 16, None, 0.1),
    (400, 7, 3, 0.1),
    (50, 64, 3, 0.2),
    (352, 32, 3, 0),
]


@pytest.mark.parametrize(("n", "batch", "classes", "validation"), CASES)
def test_it_is_the_training_in_memory_on_the_same_order(tmp_path, n, batch, classes, validation):
    x, y = _write(tmp_path, n, classes)
    splits = stream(tmp_path, validation=validation)
    recipe = replace(RECIPE, batch_size=batch, schedule="one_cycle", dropout=0.1, weight_decay=1e-3)
    run = train(MODEL, splits, recipe, KEY)
    state, history = _in_memory(splits, x, y, recipe)
    assert gap(run.params, _start(splits, recipe).params) > 0.01
    assert gap(run.params, state.params) < ROUNDING
    assert gap(run.best, state.best) < ROUNDING if validation else run.best is None
    for ours, theirs in zip(jax.tree.leaves(run.history), jax.tree.leaves(history), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert run.status == "finished after epoch 2"
    rows, real = _rows(splits, recipe, 1)
    assert np.array_equal(np.sort(rows[real]), np.setdiff1d(np.arange(n), splits.train.held_out))
    assert not np.array_equal(rows, _rows(splits, recipe, 0)[0])


def _start(splits: Splits, recipe: jaxnet.Recipe) -> training.TrainState:
    return training.start(problem_of(MODEL, replace(splits, train=splits.train.empty), recipe), KEY)


@pytest.mark.parametrize("classes", [3, None])
def test_it_is_plain_optax_on_the_same_order(tmp_path, classes):
    x, y = _write(tmp_path, 500, classes)
    splits = stream(tmp_path, validation=0)
    run = train(MODEL, splits, RECIPE, KEY)
    state = _start(splits, RECIPE)
    params, optimizer = state.params, optax.adam(1e-2)
    opt_state = optimizer.init(params)
    mean, scale, *of_targets = (
        np.asarray(leaf) for leaf in jax.tree.leaves(splits.standardization)
    )
    inputs = jnp.asarray((x - mean[None]) / scale[None])
    targets = (
        jax.nn.one_hot(y, 3)
        if classes
        else jnp.asarray((y - of_targets[0]) / of_targets[1], jnp.float32)
    )

    @jax.jit
    def step(params, opt_state, rows, real):
        def mean_loss(params):
            hidden = jax.nn.relu(
                inputs[rows] @ params["hidden_0"]["kernel"] + params["hidden_0"]["bias"][None]
            )
            outputs = hidden @ params["output"]["kernel"] + params["output"]["bias"][None]
            losses = (
                optax.softmax_cross_entropy(outputs, targets[rows])
                if classes
                else (outputs[:, 0] - targets[rows]) ** 2
            )
            return (losses * real).sum() / real.sum()

        updates, opt_state = optimizer.update(jax.grad(mean_loss)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    for epoch in range(2):
        for rows, real in zip(*_rows(splits, RECIPE, epoch), strict=True):
            params, opt_state = step(params, opt_state, rows, real)
    # Adam divides small gradients by their size, rounding and all
    assert gap(run.params, params) < 20 * ROUNDING


@pytest.mark.parametrize(
    "how", [{}, {"dropout": 0.2, "augmentation": jaxnet.Augmentation(noise=0.1)}]
)
def test_the_order_does_not_depend_on_the_devices(tmp_path, how):
    _write(tmp_path, 613)
    splits, recipe = stream(tmp_path), replace(RECIPE, **how)
    alone = train(MODEL, splits, recipe, KEY)
    both = train(MODEL, splits, recipe, KEY, plan=jaxnet.Plan(devices=2))
    assert gap(alone.params, both.params) < ROUNDING
    np.testing.assert_allclose(alone.history.train_loss, both.history.train_loss, rtol=1e-5)
    in_parts = train(MODEL, splits, recipe, KEY, plan=jaxnet.Plan(devices=2, micro_batch=4))
    assert gap(alone.params, in_parts.params) < ROUNDING


def test_two_programs_are_compiled_and_few_chunks_wait(tmp_path, compilations):
    """As many programs for eight chunks as for two: one for whole chunks, and one for the last."""
    compiled = {}
    for rows, count in ((240, 2), (1013, 8)):
        _write(tmp_path, rows)
        splits, before = stream(tmp_path), len(compilations)
        cut = layout(splits.train, 16)
        assert cut.chunks == count
        shape, live = (cut.shards * cut.chunk, FEATURES), []
        with heard_parts(
            lambda *_, shape=shape, live=live: live.append(
                sum(array.shape == shape for array in jax.live_arrays())
            )
        ):
            train(MODEL, splits, RECIPE, KEY, pace=EVERY_PART)
        compiled[count] = len(compilations) - before
        assert max(live) <= 2
    assert compiled[8] <= compiled[2]
    before = len(compilations)
    train(MODEL, splits, replace(RECIPE, learning_rate=1e-3), jax.random.key(1))
    assert len(compilations) == before


def test_a_long_epoch_says_how_far_it_is(tmp_path, caplog):
    _write(tmp_path, 613)
    splits = stream(tmp_path)
    with caplog.at_level(logging.INFO, "jaxnet"):
        train(MODEL, splits, RECIPE, KEY)
        assert not caplog.records
        train(MODEL, splits, RECIPE, KEY, pace=EVERY_PART)
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"epoch {epoch} part {part} of 5" for epoch in (1, 2) for part in range(1, 6)]


class Killed(BaseException):
    """Nothing in the library catches it."""


@contextlib.contextmanager
def heard_parts(tell: Callable[[int, int], None]):
    """Calls `tell` with the numbers of each epoch and part right before it is trained."""

    class Listener(logging.Handler):
        def emit(self, record):
            if found := re.match(r"epoch (\d+) part (\d+) of", record.getMessage()):
                tell(int(found[1]) - 1, int(found[2]) - 1)

    logger, listener = logging.getLogger("jaxnet"), Listener()
    logger.setLevel(logging.INFO)
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)


@contextlib.contextmanager
def trained_rows(splits: Splits, *, stop: int | None = None, how: str = ""):
    """Records the rows of each part that is trained on, by (epoch, part); at the `stop`th a signal
    comes, or the end.
    """
    seen: dict[tuple[int, int], np.ndarray] = {}
    count, order_key = itertools.count(1), training.state_keys(KEY, None)[1]

    def tell(epoch: int, part: int) -> None:
        number = next(count)
        if number == stop and how == "killed":
            raise Killed
        if number == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        where = {"seed": streamed.seed(order_key), "epoch": epoch, "first": part}
        with contextlib.closing(chunks(splits.train, batch_size=16, **where)) as read:
            chunk = next(read)
        seen[epoch, part] = chunk.rows if chunk.real is None else chunk.rows[chunk.real]

    with heard_parts(tell):
        yield seen


@pytest.mark.parametrize("how", ["SIGTERM", "killed"])
@pytest.mark.parametrize("stop", [1, 4, 6, 9])
def test_stopped_and_continued_within_an_epoch_is_the_same_to_the_bit(tmp_path, how, stop):
    _write(tmp_path, 613)
    splits, recipe = stream(tmp_path), replace(RECIPE, dropout=0.1, schedule="cosine")
    assert layout(splits.train, 16).chunks == 5
    wanted = train(MODEL, splits, recipe, KEY)
    with (
        trained_rows(splits, stop=stop, how=how) as before,
        pytest.raises(Killed if how == "killed" else KeyboardInterrupt) as stopped,
    ):
        train(MODEL, splits, recipe, KEY, out=tmp_path / "run", pace=EVERY_PART)
    epoch, part = divmod(stop - (how == "killed"), 5)
    if how == "SIGTERM":
        assert (
            f"after part {part} of epoch {epoch + 1}" if part else f"after epoch {epoch}"
        ) in str(stopped.value)
    began = []
    with trained_rows(splits) as after:
        run = train(
            MODEL,
            stream(tmp_path),
            recipe,
            KEY,
            out=tmp_path / "run",
            pace=EVERY_PART,
            progress=lambda done, row: began.append(done),
        )
    assert began[0] == epoch
    assert gap(run.params, wanted.params) == 0
    assert gap(run.history, wanted.history) == 0
    assert gap(run.best, wanted.best) == 0
    assert not before.keys() & after.keys()  # no part twice
    every = before | after
    assert set(every) == set(itertools.product(range(2), range(5)))
    for epoch in range(2):
        rows = np.concatenate([every[epoch, part] for part in range(5)])
        assert np.array_equal(np.sort(rows), np.setdiff1d(np.arange(613), splits.train.held_out))
    log = (tmp_path / "run/log.txt").read_text()
    assert "epoch 2 part 4 of 5" in log


def test_a_finished_training_is_not_trained_again(tmp_path):
    _write(tmp_path, 300)
    splits = stream(tmp_path)
    run = train(MODEL, splits, RECIPE, KEY, out=tmp_path / "run")
    with trained_rows(splits) as seen:
        again = train(MODEL, splits, RECIPE, KEY, out=tmp_path / "run", pace=EVERY_PART)
    assert not seen
    assert gap(run.params, again.params) == 0


def test_another_data_set_does_not_continue_a_training(tmp_path):
    x, y = _write(tmp_path, 300)
    train(MODEL, stream(tmp_path), RECIPE, KEY, out=tmp_path / "run")

    def one_label_changed(row):
        changed = y.copy()
        changed[row] = (y[row] + 1) % (int(y.max()) + 1)
        np.save(tmp_path / "y.npy", changed)
        return stream(tmp_path)

    for change, words in [
        (
            lambda: stream(tmp_path, seed=1),
            "data.training set.held out was 'checksum [0-9a-f]{8}' and is now",
        ),
        (lambda: stream(tmp_path, test=0.3), "data.training set.examples was 210 and is now 180"),
        *(
            (lambda row=row: one_label_changed(row), "data.training set.labels was")
            for row in range(0, 300, 50)
        ),
        (
            lambda: np.save(tmp_path / "x.npy", x + 1) or stream(tmp_path),
            "data.training set.100 random rows was",
        ),
    ]:
        with pytest.raises(jaxnet.InputError, match=words):
            train(MODEL, change(), RECIPE, KEY, out=tmp_path / "run")


BAD = [3, 40, 41, 250, 299]


def _spoil(folder: Path, x: np.ndarray, rows) -> None:
    wrong = x.copy()
    wrong[rows, 2] = np.nan
    np.save(folder / "x.npy", wrong)


@pytest.mark.parametrize("batch", [16, 7])
def test_rows_that_cannot_be_used_are_skipped_counted_and_named(tmp_path, caplog, batch):
    x, y = _write(tmp_path, 400)
    held = set(stream(tmp_path).train.held_out.tolist())
    bad = [row for row in BAD if row not in held]
    _spoil(tmp_path, x, bad)
    splits, recipe = (
        stream(tmp_path, corrupt="skip"),
        replace(RECIPE, batch_size=batch, dropout=0.1),
    )
    with caplog.at_level(logging.WARNING, "jaxnet"):
        run = train(MODEL, splits, recipe, KEY, out=tmp_path / "run")
    state, history = _in_memory(splits, np.where(np.isnan(x), 0, x), y, recipe)
    assert gap(run.params, state.params) < ROUNDING
    np.testing.assert_allclose(run.history.train_loss, history.train_loss, rtol=1e-5)
    np.testing.assert_allclose(run.history.train_accuracy, history.train_accuracy, rtol=1e-5)
    _, real = _rows(splits, recipe, 0)
    assert real.sum() == len(splits.train) - len(bad)
    names = ", ".join(map(str, bad))
    said = (
        f"{len(bad)} of 280 training rows could not be used and were left out, such as rows {names}"
    )
    assert [record.getMessage() for record in caplog.records] == [
        f"epoch {epoch}: {said}" for epoch in (1, 2)
    ]
    log = (tmp_path / "run/log.txt").read_text()
    assert f"epoch 2: {said}" in log
    assert log.count("cannot be used") >= 2


def test_a_chunk_of_nothing_but_bad_rows_changes_nothing(tmp_path):
    x, _ = _write(tmp_path, 700)
    held = stream(tmp_path, validation=0).train.held_out
    first = np.setdiff1d(np.arange(700), held)[:-20]
    _spoil(tmp_path, x, first)
    splits = stream(tmp_path, corrupt="skip", validation=0)
    run = train(MODEL, splits, replace(RECIPE, batch_size=7, epochs=1), KEY)  # of one shard
    assert int(run.diverged_at) == -1
    assert np.isfinite(run.history.train_loss).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.params))


def test_a_bad_row_stops_with_the_state_saved_and_may_then_be_skipped(tmp_path):
    x, _ = _write(tmp_path, 613)
    splits = stream(tmp_path)
    per_chunk = layout(splits.train, 16).steps
    bad = int(_rows(splits, RECIPE, 0)[0][3 * per_chunk, 0])  # in the fourth chunk
    _overwrite(tmp_path, np.where(np.arange(len(x))[:, None] == bad, np.nan, x).astype(np.float32))
    with pytest.raises(
        jaxnet.InputError, match=rf"x.npy: row {bad} holds nan in column 0; fix the file, or leave"
    ):
        train(MODEL, splits, RECIPE, KEY, out=tmp_path / "run")
    assert "checkpoint 3" in (tmp_path / "run/log.txt").read_text()
    skipping = replace(splits, train=replace(splits.train, corrupt="skip"))
    with trained_rows(skipping) as after:
        run = train(MODEL, skipping, RECIPE, KEY, out=tmp_path / "run", pace=EVERY_PART)
    assert min(after) == (0, 3)
    assert bad not in after[0, 3]
    wanted = train(MODEL, skipping, RECIPE, KEY)
    assert gap(run.params, wanted.params) < ROUNDING


def test_a_mended_file_goes_on_as_if_nothing_had_been(tmp_path):
    x, _ = _write(tmp_path, 613)
    splits = stream(tmp_path)
    wanted = train(MODEL, splits, RECIPE, KEY)
    last = int(_rows(splits, RECIPE, 0)[0][-1, 0])
    _overwrite(tmp_path, np.where(np.arange(len(x))[:, None] == last, np.nan, x).astype(np.float32))
    with pytest.raises(jaxnet.InputError, match=rf"row {last} holds nan"):
        train(MODEL, splits, RECIPE, KEY, out=tmp_path / "run")
    _overwrite(tmp_path, x)
    run = train(MODEL, splits, RECIPE, KEY, out=tmp_path / "run")
    assert gap(run.params, wanted.params) == 0


def _overwrite(folder: Path, x: np.ndarray) -> None:
    """In the file itself, which is open."""
    with open(folder / "x.npy", "r+b") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        file.write(x.tobytes())


def test_it_stops_early_as_in_memory(tmp_path):
    x, y = _write(tmp_path, 500)
    y = np.random.default_rng(0).integers(0, 3, 500)  # nothing to learn
    np.save(tmp_path / "y.npy", y)
    splits, recipe = (stream(tmp_path), replace(RECIPE, epochs=20, patience=2, learning_rate=3e-2))
    run = train(MODEL, splits, recipe, KEY, out=tmp_path / "run")
    assert "stopped early" in run.status
    done = int(run.epochs)
    assert done - int(run.best.epoch) == 2
    assert np.isnan(run.history.train_loss[done:]).all()
    state, _ = _in_memory(splits, x, y, replace(recipe, epochs=done, patience=None))
    assert gap(run.params, state.params) < 10 * ROUNDING
    assert gap(run.best.params, state.best.params) < 10 * ROUNDING


def test_it_diverges_as_in_memory(tmp_path):
    x, y = _write(tmp_path, 500, None)
    splits, recipe = (
        stream(tmp_path),
        replace(RECIPE, epochs=5, optimizer="sgd", learning_rate=50.0),
    )
    run = train(MODEL, splits, recipe, KEY)
    state, _ = _in_memory(splits, x, y, replace(recipe, epochs=1))
    assert int(run.diverged_at) == int(state.diverged_at) > 0
    assert (int(run.epochs), run.status.split(":")[0]) == (
        1,
        f"diverged at step {int(state.diverged_at)}",
    )


def test_a_run_is_saved_judged_and_restored_like_any(tmp_path):
    _write(tmp_path, 900)
    splits = stream(tmp_path, validation=0)
    run = train(MODEL, splits, replace(RECIPE, epochs=15), KEY)
    jaxnet.save(run, tmp_path / "saved")
    again = jaxnet.restore(tmp_path / "saved")
    assert jaxnet.evaluate(MODEL, again, splits.test).accuracy.estimate > 0.85
    assert (run.shape, run.classes) == ((FEATURES,), ("0", "1", "2"))


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (
            lambda s: train(MODEL, s, RECIPE, KEY, weights=np.ones(len(s.train), np.float32)),
            "weights and sample need .* leave them out",
        ),
        (lambda s: train(MODEL, s, RECIPE, KEY, sample=(np.arange(5), 5)), "weights and sample"),
        (
            lambda s: train(MODEL, s, RECIPE, KEY, plan=jaxnet.Plan(implementation="resident")),
            "'resident' needs .* give 'auto' or 'xla'",
        ),
        (
            lambda s: train(MODEL, s, RECIPE, KEY, plan=jaxnet.Plan(devices=3)),
            "3 devices cannot share the 16 parts",
        ),
        (lambda s: train(MODEL, s, RECIPE, KEY, plan=jaxnet.Plan(devices=0)), "0 devices"),
        (
            lambda s: train(
                MODEL, s, replace(RECIPE, batch_size=9), KEY, plan=jaxnet.Plan(devices=2)
            ),
            "2 devices cannot share the 1 parts",
        ),
        (lambda s: train(MODEL, s, replace(RECIPE, batch_size=0), KEY), "batch_size"),
        (
            lambda s: train(MODEL, s, replace(RECIPE, epochs=10**9), KEY),
            "epochs is 1000000000: .* larger batch_size",
        ),
        (lambda s: jaxnet.fit(MODEL, s, RECIPE, KEY), "stays on disk: jaxnet.train trains on it"),
        (
            lambda s: jaxnet.fit_population(MODEL, s, RECIPE, jax.random.split(KEY, 2)),
            "stays on disk",
        ),
        (lambda s: jaxnet.diagnose(MODEL, s, RECIPE, KEY), "stays on disk"),
        (lambda s: jaxnet.learning_curve(MODEL, s, RECIPE, KEY), "stays on disk"),
        (lambda s: jaxnet.sweep(MODEL, s, RECIPE, [{"learning_rate": 0.1}], KEY), "stays on disk"),
        (lambda s: jaxnet.data.overlaps(s), "stays on disk"),
        (lambda s: jaxnet.start(MODEL, s, RECIPE, KEY), "stays on disk"),
    ],
)
def test_what_needs_memory_is_refused(tmp_path, act, words):
    _write(tmp_path, 300)
    with pytest.raises(jaxnet.InputError, match=words):
        act(stream(tmp_path))


WORK = """
import logging, re, sys, time
from dataclasses import replace

import jax
import numpy as np

import jaxnet
from jaxnet.core import training
from jaxnet.data.streaming.chunks import chunks
from jaxnet.data.streaming.stream import ReadSizes
from jaxnet.engine import streamed
from jaxnet.engine.loop import Pace
from jaxnet.runtime import processes

process, count, port, folder, out, pause = (
    int(sys.argv[1]),
    int(sys.argv[2]),
    sys.argv[3],
    sys.argv[4],
    sys.argv[5],
    float(sys.argv[6]),
)
jaxnet.use_cpu_devices(2)
if count > 1:
    assert processes.join(f"127.0.0.1:{port}", count, process, silence=10)


class Heard(logging.Handler):  # of each part before it is trained
    parts = []

    def emit(self, record):
        if found := re.match("epoch ([0-9]+) part ([0-9]+) of", record.getMessage()):
            self.parts.append((int(found[1]) - 1, int(found[2]) - 1))
            print("part", *self.parts[-1], flush=True)
            time.sleep(pause)


logger = logging.getLogger("jaxnet")
logger.setLevel("INFO")
logger.propagate = False
logger.addHandler(Heard())
splits = jaxnet.stream(folder, corrupt="skip")
splits = replace(splits, train=replace(splits.train, sizes=ReadSizes(40, 2000)))
recipe = jaxnet.Recipe(epochs=3, batch_size=16, learning_rate=1e-2, dropout=0.1)
plan = jaxnet.Plan(processes=count, devices=2 if count > 1 else 1)
began = []
run = jaxnet.train(
    jaxnet.mlp((16,)),
    splits,
    recipe,
    jax.random.key(0),
    out=out,
    plan=plan,
    pace=Pace(checkpoint_share=1e9, message_seconds=-1.0),
    progress=lambda done, row: began.append(done),
)
if process == 0:
    seed = streamed.seed(training.state_keys(jax.random.key(0), None)[1])
    rows = []
    for epoch, part in Heard.parts:
        chunk = next(chunks(splits.train, batch_size=16, seed=seed, epoch=epoch, first=part))
        used = chunk.rows if chunk.real is None else chunk.rows[chunk.real]
        rows.extend((epoch, row) for row in used)
    np.savez(
        out + "/result.npz",
        *jax.tree.leaves(run.params),
        began=began[0],
        rows=rows,
        loss=np.asarray(run.history.train_loss),
    )
processes.leave()
"""


def _work(count: int, folder: Path, out: Path, pause: float = 0.0) -> list[subprocess.Popen]:
    return start(WORK, count, folder, out, pause)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """(folder with some bad rows, the good rows of its training set, what one process makes of
    it).
    """
    place = tmp_path_factory.mktemp("shards")
    x, _ = _write(place / "data", 613)
    held = set(stream(place / "data").train.held_out.tolist())
    bad = [row for row in (3, 40, 300, 600) if row not in held]
    _spoil(place / "data", x, bad)
    end(_work(1, place / "data", place / "alone"))
    said = (
        f"epoch 3: {len(bad)} of {613 - len(held)} training rows could not be used and were "
        "left out, such as rows "
    )
    said += ", ".join(map(str, bad))
    assert said in (place / "alone/log.txt").read_text()
    return place / "data", sorted(set(range(613)) - held - set(bad)), numbers(place / "alone"), said


def test_two_processes_share_the_shards(spoilt, tmp_path):
    folder, every, alone, said = spoilt
    end(_work(2, folder, tmp_path / "two"))
    two = numbers(tmp_path / "two")
    for found in (alone, two):
        assert sorted(map(tuple, found["rows"].tolist())) == [
            (epoch, row) for epoch in range(3) for row in every
        ]
    assert_same(*({k: v for k, v in found.items() if k != "rows"} for found in (two, alone)))
    assert said in (tmp_path / "two/log.txt").read_text()


@pytest.mark.slow
def test_one_process_goes_on_where_one_of_two_was_killed(spoilt, tmp_path):
    folder, every, alone, _ = spoilt
    workers = _work(2, folder, tmp_path / "killed", pause=0.3)
    for line in workers[0].stdout:
        if line.startswith("part 1 3"):
            break
    workers[1].kill()
    _, said = workers[0].communicate(timeout=90)
    workers[1].communicate()
    assert workers[0].returncode == 1, said
    end(_work(1, folder, tmp_path / "killed"))
    again = numbers(tmp_path / "killed")
    assert again["began"] == 1
    assert 2 * len(every) > len(again.pop("rows")) > len(every)  # not from the begin of the epoch
    assert_same(again, {k: v for k, v in alone.items() if k != "rows"})


def _command(*arguments, status: int = 0) -> subprocess.CompletedProcess:
    return run_script(
        "--stream",
        "--no-cache",
        "--epochs",
        "2",
        "--batch-size",
        "16",
        "--hidden",
        "16",
        *arguments,
        status=status,
    )


def test_the_script_trains_from_disk(tmp_path):
    x, y = _write(tmp_path / "data", 900)
    done = _command("--dataset", tmp_path / "data", "--out", tmp_path / "run")
    assert "630 training rows of 900 stay on disk" in done.stdout
    assert (
        "630 random training rows stand for all 630 where the training set is judged or drawn"
        in done.stdout
    )
    found = json.loads((tmp_path / "run/result.json").read_text())
    assert found["dataset"]["name"] == "data"
    assert found["dataset"]["examples"] == {"train": 630, "validation": 90, "test": 180}
    assert found["recipe"]["epochs"] == 2
    splits = jaxnet.stream(tmp_path / "data")
    saved = jaxnet.restore(tmp_path / "run/params")
    recipe = jaxnet.Recipe(
        epochs=2, batch_size=16, learning_rate=3e-3, optimizer="adam", schedule="one_cycle"
    )
    wanted = train(MODEL, splits, recipe, KEY)
    assert gap(saved.params, wanted.params) < ROUNDING
    rows = np.concatenate(
        [chunk.rows for chunk in chunks(splits.train, batch_size=16, seed=0, epoch=0)]
    )
    right = (
        np.asarray(jaxnet.predict(MODEL, saved, x[np.unique(rows)])).argmax(1) == y[np.unique(rows)]
    )
    assert found["accuracy"]["train"]["estimate"] == pytest.approx(right.mean())
    assert not (tmp_path / "run/state").exists()


def test_the_script_names_what_it_leaves_out(tmp_path):
    x, _ = _write(tmp_path / "data", 900)
    bad = int(jaxnet.stream(tmp_path / "data").train.at(np.array([17]))[0])
    _spoil(tmp_path / "data", x, [bad])
    arguments = ("--dataset", tmp_path / "data", "--out", tmp_path / "run")
    assert f"row {bad} holds nan in column 2; fix the file" in _command(*arguments, status=2).stderr
    done = _command(*arguments, "--corrupt", "skip")
    assert (
        "warning: epoch 2: 1 of 630 training rows could not be used and were left out, such as "
        f"row {bad}" in done.stdout
    )
    found = json.loads((tmp_path / "run/result.json").read_text())
    assert found["dataset"]["examples"]["train"] == 629


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--members", 3), "--members needs all of it in memory"),
        (("--balance",), "--balance needs"),
        (("--groups", "a"), "--groups needs"),
        (("--dataset", "digits"), "digits"),
    ],
)
def test_the_script_refuses_what_needs_memory(tmp_path, arguments, words, refused):
    _write(tmp_path / "data", 300)
    options = ("--stream", "--no-cache", "--dataset", tmp_path / "data", *arguments)
    assert words in refused(*options, "--out", tmp_path / "run").err
    assert not (tmp_path / "run").exists()

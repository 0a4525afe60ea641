"""Train on data larger than memory: rows stay on disk, and are read in chunks of blocks whose order
depends on the seed and the epoch only.

    positions   the training rows, numbered from 0, without the held-out rows
    shards      V equal ranges of positions; a batch takes equally many rows from each, so each of
                P processes reads only V/P shards
    blocks      consecutive positions of a shard, read at once; each epoch permutes the blocks of
                each shard
    chunk       the next few blocks of every shard; the trainer shuffles its rows

A position in the data is (epoch, chunk): nothing else is needed to continue from there.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from jaxtyping import Int

from jaxnet import display
from jaxnet.data import checks, targets, tokens
from jaxnet.data.dataset import Dataset, Splits, Standardization, nothing_to_learn
from jaxnet.data.precision import Origin
from jaxnet.data.schema import HasSchema, Schema, takes_parts_of_schema
from jaxnet.data.sources import tfds as prepared
from jaxnet.data.sources.request import Reading
from jaxnet.data.splitting import notes_on, placed
from jaxnet.data.streaming.records import Records, records
from jaxnet.data.streaming.rows import ArrayFiles, Renumbered, Rows
from jaxnet.errors import InputError, check_known, check_number, check_path, check_whole, renamed

# limits of a validation or test set whose size is given as a fraction
HELD_ROWS, HELD_BYTES = (10_000, 1 << 28)
SAMPLE, SAMPLE_NUMBERS = 1 << 16, 1 << 25  # rows for mean and scale, and numbers in them, at most
LABELS_AT_ONCE = 1 << 20  # labels read at a time
MOST_CLASSES = 100_000
MOST_STRANGE = 0.01  # share of all labels; more unknown ones are not mistakes
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ReadSizes:
    """How much of a training set on disk is read at a time.

    Attributes:
        block_bytes: about how many bytes are read at once; the default is enough for sequential
            reading.
        chunk_bytes: about how many bytes a chunk has, over all shards.
    """

    block_bytes: int = 1 << 18
    chunk_bytes: int = 1 << 26


@renamed(white="pixel_max")
@takes_parts_of_schema
@dataclass(frozen=True, eq=False)
class Stream(HasSchema):
    """A training set that stays on disk, in place of a Dataset in memory.

    Attributes:
        rows: all rows of the source.
        held_out: (rows,) int64 in ascending order, the rows that are not for training.
        schema: as in Dataset.
        corrupt: "stop" raises InputError at a row that cannot be used; "skip" leaves it out.
        origin: as in Standardization: what is subtracted from float64 rows before chunks of them
            become float32.
        target_origin: the same for y.
        sizes: how much is read at a time. The order of the rows depends on it.
    """

    rows: Rows
    held_out: Int[np.ndarray, " rows"]
    schema: Schema = Schema()
    corrupt: Literal["stop", "skip"] | str = "stop"
    origin: Origin | None = None
    target_origin: Origin | None = None
    sizes: ReadSizes = ReadSizes()

    __repr__ = display.text

    def __len__(self) -> int:
        return len(self.rows) - len(self.held_out)

    @property
    def x(self) -> NoReturn:
        """Not available: raises InputError, since whoever asks for it needs a Dataset."""
        raise InputError(
            f"the training set, {len(self):,} examples, stays on disk: jaxnet.train trains on it, "
            "without weights or a sample; for "
            "anything else give splits in memory, as jaxnet.load and jaxnet.split make them"
        )

    y = x

    @property
    def empty(self) -> Dataset:
        """A Dataset without rows, which tells a network their shape and classes."""
        x_kind, y_kind = self.kinds
        x, y = np.zeros((0, *self.shape), x_kind), np.zeros((0, *self.rows.label_shape), y_kind)
        return Dataset(x, y, schema=self.schema)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.rows.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of x in a chunk: uint8 or float32, or int32 for tokens."""
        if self.schema.tokens:
            return self.schema.input_dtype
        return np.dtype(np.uint8 if self.rows.dtype == np.uint8 else np.float32)

    @property
    def label_dtype(self) -> np.dtype:
        """The type of y in a chunk: int32 for classes and labels or float32 for values."""
        return np.dtype(np.int32 if self.counted else np.float32)

    @property
    def kinds(self) -> tuple[np.dtype, np.dtype]:
        """The types of x and y in memory: as in a chunk, or float64 where that type cannot hold
        them.
        """
        wide = np.dtype(np.float64)
        return (
            self.dtype if self.origin is None else wide,
            self.label_dtype if self.target_origin is None else wide,
        )

    def at(self, positions: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Row numbers in the source of positions among the training rows.

        Args:
            positions: (n,) positions, which do not count held-out rows.

        Returns:
            (n,) row numbers.
        """
        return positions + np.searchsorted(self._before, positions, side="right")

    @functools.cached_property
    def _before(self) -> np.ndarray:
        """The number of training rows before each held-out row."""
        return self.held_out - np.arange(len(self.held_out))


@renamed(ignore="drop_columns")
def stream(
    path: str | Path,
    *,
    validation: float | int = 0.1,
    test: float | int = 0.2,
    label: str | None = None,
    corrupt: Literal["stop", "skip"] | str = "stop",
    seed: int = 0,
    task: Literal["classification", "regression", "multi-label"] | str | None = None,
    data_dir: str | Path | None = None,
    image_size: tuple[int, int] | None = None,
    inputs: tokens.Inputs | str = "numbers",
    pad: int | None = None,
) -> Splits:
    """Splits whose training set stays on disk, as a Stream; validation and test set are random rows
    in memory.

    Standardization uses the mean and scale of at most 65,536 random training rows.

    Args:
        path: a folder with x.npy and y.npy; a Parquet file or a folder of such files, which are
            decoded once into .npy files in the user's cache; or the name of an image classification
            data set that TensorFlow Datasets prepared, in data_dir.
        validation: a count, or a fraction of all rows; for a fraction at most 10,000 rows and 256
            MB are taken. If the source has a validation set of its own, that count of it is taken,
            or for a fraction all of it up to the same limits. May be 0.
        test: likewise, above 0.
        label: column of a Parquet file; by default its last.
        corrupt: "stop" raises at a row that cannot be used; "skip" leaves it out.
        seed: seed of the split.
        task: "classification" or "regression"; by default few whole numbers are classes, also as
            floats, and other floats are a regression. Where y.npy has several columns, floats are
            several values of each row, and 0 and 1 with "multi-label" several yes/no labels.
        data_dir: folder of TensorFlow Datasets.
        image_size: (height, width) to which images of TensorFlow Datasets are scaled.
        inputs: as in `split`; for tokens all rows are read once, to find the largest id.
        pad: the id with which sequences of tokens are filled up on disk; `predict` fills up new
            ones alike.

    Returns:
        The Splits.

    Raises:
        InputError: for what cannot be used.
    """
    if corrupt not in ("stop", "skip"):
        raise InputError(f"corrupt is {corrupt!r}; give 'stop' or 'skip'")
    check_path("path", path)
    check_whole("the seed of the split", seed, 0)
    check_number("validation", validation)
    check_number("test", test)
    reading = Reading.of(
        data_dir=data_dir,
        seed=seed,
        task=task,
        label=label,
        image_size=image_size,
        inputs=inputs,
        pad=pad,
    )
    rows, own, notes = _source(path, reading, corrupt)
    if rows.label_shape or task == targets.MULTI_LABEL:
        schema, counts, why = _several(rows, task)
    else:
        rows, names, counts, why = _classes(rows, task, corrupt)
        schema = Schema(names)
    classes = schema.classes
    rng = np.random.default_rng(seed)
    wanted = {
        part: _count(part, size, rows, own.get(part))
        for part, size in (("validation", validation), ("test", test))
    }
    inside = {part: count for part, count in wanted.items() if part not in own}
    if sum(inside.values()) >= len(rows):
        raise InputError(
            f"{path}: {sum(inside.values())} rows held out of {len(rows)} leave nothing to train "
            "on; ask for fewer"
        )
    drawn = rng.choice(len(rows), sum(inside.values()), replace=False)
    ids = 0 if inputs == "tokens" else None  # how many there are is not known yet
    asked = replace(schema, vocabulary=ids, pad=pad)
    train = Stream(rows, np.sort(drawn), schema=asked, corrupt=corrupt)
    some = _random_rows(train, rng, min(SAMPLE, max(1, SAMPLE_NUMBERS // math.prod(train.shape))))
    some = checks.in_storage_types(some)
    if some.targets is not None and nothing_to_learn(some) is not None:
        whole = np.concatenate([labels for _, labels in label_pieces(rows)])
        if (said := nothing_to_learn(replace(some, y=whole))) is not None:
            raise InputError(f"{path}: {said}")
    statistics = Standardization.of(some)
    if inputs == "tokens":
        schema = replace(asked, vocabulary=_count_ids(train))
    else:
        schema = replace(schema, pixel_max=checks.pixel_max_of(np.asarray(some.x)))
    train = replace(
        train, schema=schema, origin=statistics.origin, target_origin=statistics.target_origin
    )
    held: dict[str, Dataset] = {}
    for part, count in wanted.items():
        if part in own:
            numbers = rng.choice(len(own[part]), count, replace=False)
        else:
            numbers, drawn = drawn[:count], drawn[count:]
        held[part] = checks.cast(
            _in_memory(replace(train, rows=own.get(part, rows)), numbers), *train.kinds
        )
    if classes is not None and counts is not None:
        counts = counts - sum(np.bincount(held[part].y, minlength=len(counts)) for part in inside)
        if (missing := np.flatnonzero(counts <= 0)).size:
            raise InputError(
                f"{path}: all examples of class {classes[missing[0]]} were held out; give more of "
                "them, or another seed"
            )
    notes += [
        why,
        f"{len(train)} training rows of {len(rows)} stay on disk",
        *(
            f"{part}: {len(held[part])} random rows" + (" of its own" if part in own else "")
            for part in wanted
            if wanted[part]
        ),
        f"inputs: tokens, with ids up to {train.vocabulary - 1:,}"
        if train.vocabulary is not None
        else f"standardization uses the mean and scale of {len(some):,} random training rows",
        *notes_on(some),
    ]
    about: Any = {
        "name": Path(path).resolve().name if len(Path(path).parts) > 1 else str(path),
        "notes": tuple(notes),
        "test_source": "own" if "test" in own else "random",
    }
    return Splits(train, placed(held["validation"]), placed(held["test"]), statistics, **about)  # pyrefly: ignore[bad-argument-type]


def _count_ids(train: Stream) -> int:
    """One more than the largest id in the training rows."""
    at_once, largest = max(1, SAMPLE_NUMBERS // math.prod(train.shape)), 0
    for first in range(0, len(train), at_once):
        rows = train.at(np.arange(first, min(first + at_once, len(train))))
        x = np.empty((len(rows), *train.shape), train.dtype)
        fill(train, rows, x, np.empty(len(rows), train.label_dtype), np.ones(len(rows), bool))
        largest = max(largest, int(x.max()))
    return largest + 1


def random_rows(stream: Stream, rng: np.random.Generator, size: int | None = None) -> Dataset:
    """Random training rows in memory.

    Args:
        stream: the training set; its `corrupt` says what happens to rows that cannot be used.
        rng: the random generator.
        size: number of rows, or all if there are fewer; by default at most as many as in a
            validation set.

    Returns:
        The Dataset.
    """
    return checks.cast(
        _random_rows(stream, rng, count_that_fits(stream.rows) if size is None else size),
        *stream.kinds,
    )


def _random_rows(stream: Stream, rng: np.random.Generator, size: int) -> Dataset:
    """`size` random training rows, or all, as the source holds them."""
    return _in_memory(
        stream, stream.at(rng.choice(len(stream), min(len(stream), size), replace=False))
    )


def _source(
    path: str | Path, reading: Reading, corrupt: str
) -> tuple[Rows, dict[str, Rows], list[str]]:
    """(rows for training, other parts that the source has, notes on what was decided)."""
    folder = Path(path)
    if any((folder / name).exists() for name in ("x.npy", "y.npy")):
        reading.refuse(path, "label", "data_dir", "image_size")
        return ArrayFiles(folder, whole=reading.inputs == "tokens"), {}, []
    if folder.suffix == ".parquet" or (folder.is_dir() and any(folder.glob("*.parquet"))):
        reading.refuse(path, "data_dir", "image_size")
        from jaxnet.data.streaming import parquet

        exact = reading.inputs == "tokens"
        if isinstance(reading.label, tuple):
            raise InputError(
                f"label is {reading.label!r}, but a stream reads one label column of Parquet; save "
                "x.npy and y.npy, with a column of y for each label, or read the table with "
                "jaxnet.load"
            )
        rows = parquet.rows_of_parquet(folder, reading.label, corrupt, exact=exact)
        labels = [
            f"left out: {name!r}, the row labels of pandas" for name in parquet.left_out(folder)
        ]
        return rows, {}, [f"decoded into {rows.folder}", *labels]
    if folder.is_dir() or len(folder.parts) > 1:
        raise InputError(
            f"{path}: is no folder with x.npy and y.npy, nor Parquet; of TensorFlow Datasets give "
            "the name, and data_dir"
        )
    reading.refuse(path, "label", "task", "inputs")
    root = reading.data_dir or prepared.default_folder()
    if (found := prepared.find(root, str(path))) is None:
        raise InputError(prepared.missing(str(path), reading.data_dir, root))
    parts: dict[str, Rows] = {**records(str(path), found, reading.image_size)}
    return parts.pop("train"), parts, [f"read from {found}"]


def _count(part: str, size: float | int, rows: Rows, own: Rows | None) -> int:
    """The number of rows of a part: a count, or a fraction limited by `count_that_fits`. A part
    that the source has is taken whole up to that limit.
    """
    there = len(rows if own is None else own)
    if size < 0 or (size == 0 and part == "test") or (isinstance(size, float) and not size < 1):
        raise InputError(f"{part} is {size}; give a count of rows or a fraction below 1")
    if not isinstance(size, float):
        return min(size, there)
    return min(round(size * there) if own is None else there, count_that_fits(rows))


def count_that_fits(rows: Rows) -> int:
    """The number of rows that a validation or test set may hold in memory if its size is given as a
    fraction: at most 10,000 rows and 256 MB, and at least one row.
    """
    return min(HELD_ROWS, max(1, HELD_BYTES // (math.prod(rows.shape) * rows.dtype.itemsize)))


def _in_memory(stream: Stream, numbers: np.ndarray) -> Dataset:
    """The rows of these numbers that can be used, as the source holds them. Raises InputError if
    none of them can be.
    """
    rows = np.sort(numbers)
    x, real = np.empty((len(rows), *stream.shape), stream.rows.dtype), np.ones(len(rows), bool)
    kind = np.int32 if stream.counted else np.float64
    y = np.empty((len(rows), *stream.rows.label_shape), kind)
    if fill(stream, rows, x, y, real):
        if not real.any():
            fill(replace(stream, corrupt="stop"), rows, x, y, real)  # raises the reason
        x, y = x[real], y[real]
    return Dataset(x, y, schema=stream.schema)


def _several(rows: Rows, task: str | None) -> tuple[Schema, None, str]:
    """(what several labels or values of each row mean, no counts, a note)."""
    if task is not None:
        check_known("task", task, checks.TASKS)
    if not rows.label_shape:
        raise InputError(
            f"{rows.named(0, 'y')}: holds one label for each row, but several yes/no labels were "
            "asked for; write y.npy with a column for each label"
        )
    _, first = next(label_pieces(rows))
    sound = first[np.isfinite(first).all(1)]
    sound = sound.astype(np.int64) if rows.whole and len(sound) else sound
    at = f"{rows.named(0, 'y')}: "
    schema = targets.several(sound, task=task, names=None, at=at, cure=checks.GAPS_CURE)[1]
    why = "that was asked for" if task else "y has several columns of floats"
    return schema, None, f"task: {schema.task}, since {why}"


def _classes(
    rows: Rows, task: str | None, corrupt: str
) -> tuple[Rows, tuple[str, ...] | None, np.ndarray | None, str]:
    """(rows with classes numbered from 0, names of the classes, rows of each class, a note).

    Few whole numbers are classes, and so are those that count from 0 or 1 without a gap. Where
    almost all labels count from 0, a few others are treated as broken rows. The names and counts
    are None for a regression, and the counts also if the source knows the classes without reading
    labels.
    """
    if task is not None:
        check_known("task", task, checks.TASKS)
    if rows.classes is not None and task == "regression":
        raise InputError(
            f"{rows.named(0, 'y')}: the labels are names of classes; a regression needs numbers; "
            "leave the task out"
        )
    if task == "regression":
        return rows, None, None, "task: regression, since that was asked for"
    names = rows.classes
    if isinstance(rows, Records):
        return rows, names, None, "task: classification, since the source says so"
    open_ = not rows.whole and task is None
    counts, others = _count_labels(
        rows, MOST_CLASSES if names is None else len(names), until_values=open_
    )
    tally = dict(sorted((dict(enumerate(counts.tolist())) | others).items()))
    values = np.array([value for value, count in tally.items() if count], np.float64)
    if open_ and (
        not len(values) or checks.task_of_numbers(values, sum(tally.values()))[0] == "regression"
    ):
        return rows, None, None, "task: regression, since the labels are floats"
    if names is None:
        number = len(counts) if counts.all() else int(counts.argmin())
        strange = sum(tally.values()) - counts[:number].sum()
        few = 0 < len(values) <= checks.MAX_INTEGER_CLASSES or checks.is_contiguous(values)
        if (
            few
            and checks.whole(values).all()
            and (number < 2 or not rows.whole or strange > MOST_STRANGE * len(rows))
        ):
            rows, names = Renumbered(rows, values), checks.numbers_as_names(values)
            counts = np.array([tally[value] for value in values])
        else:
            names, counts = checks.numbers_as_names(np.arange(number)), counts[:number]
    number = len(names)
    strange = 0
    if counts.sum() < len(rows):
        example = ""
        for first, labels in label_pieces(rows):
            odd = np.flatnonzero(np.isfinite(labels) & ~_is_class_number(labels, number))
            if odd.size and not strange:
                example = f"{rows.named(first + int(odd[0]), 'y')} has label {labels[odd[0]]:g}"
            strange += odd.size
        if strange and (corrupt == "stop" or number < 2 or strange > MOST_STRANGE * len(rows)):
            numbered = (
                f"classes are numbered 0 to {number - 1} without a gap"
                if number
                else "no row has label 0, where classes begin"
            )
            raise InputError(
                f"{example}, but {numbered} ({strange} such rows); renumber the labels, take them "
                "as values with "
                'task="regression", or leave a few such rows out with corrupt="skip"'
            )
    if number < 2:
        raise InputError(
            f"{rows.named(0, 'y')}: all labels are of one class; there is nothing to tell apart. "
            "Give at least two classes"
        )
    if task:
        why = "that was asked for"
    elif rows.classes is not None:
        why = "the labels are texts"
    else:
        why = (
            f"the labels are {number} different whole numbers"
            if isinstance(rows, Renumbered)
            else "the labels are whole numbers"
        )
    return (
        rows,
        names,
        counts,
        f"task: classification, since {why}"
        + (f"; {strange} rows have other labels" if strange else ""),
    )


def _count_labels(
    rows: Rows, most: int, *, until_values: bool
) -> tuple[np.ndarray, dict[float, int]]:
    """Count the rows with each label from 0 to most - 1, and those with each other number, for at
    most MAX_INTEGER_CLASSES + 1 other numbers.

    until_values: whether to stop once the labels are seen to be values.
    """
    counts, others = np.zeros(most, np.int64), dict[float, int]()
    for _, labels in label_pieces(rows):
        known = _is_class_number(labels, most)
        counts += np.bincount(labels[known].astype(np.int64), minlength=most)
        for value, count in zip(
            *(
                a.tolist()
                for a in np.unique(labels[~known & np.isfinite(labels)], return_counts=True)
            ),
            strict=True,
        ):
            if value in others or len(others) <= checks.MAX_INTEGER_CLASSES:
                others[value] = others.get(value, 0) + count
        if until_values and (
            len(others) > checks.MAX_INTEGER_CLASSES
            or not checks.whole(np.array(list(others))).all()
        ):
            break
    return counts, others


def _is_class_number(labels: np.ndarray, classes: int) -> np.ndarray:
    """A mask of the labels that are class numbers below `classes`."""
    return (labels >= 0) & (labels < classes) & (labels == np.floor(labels))


def label_pieces(rows: Rows) -> Iterator[tuple[int, np.ndarray]]:
    """The labels of all rows, a piece at a time.

    Args:
        rows: the rows.

    Yields:
        (number of the first row, labels).

    Raises:
        InputError: where they cannot be read.
    """
    for first in range(0, len(rows), LABELS_AT_ONCE):
        try:
            yield first, rows.labels(first, min(LABELS_AT_ONCE, len(rows) - first))
        except OSError as error:
            raise InputError(
                f"{rows.named(first, 'y')} and those after it cannot be read ({error}); get the "
                "file again"
            ) from None


def fill(
    stream: Stream, rows: np.ndarray, x: np.ndarray, y: np.ndarray, real: np.ndarray
) -> list[int]:
    """Fill buffers with rows, and clear those that cannot be used.

    Buffers of float64 get what the source holds; others get what a device holds, with the stream's
    offset subtracted.

    Args:
        stream: the training set.
        rows: (n,) row numbers in ascending order.
        x: (n, ...), filled.
        y: (n,), filled.
        real: (n,) booleans; set to False for rows that cannot be used.

    Returns:
        Numbers of the rows that cannot be used.

    Raises:
        InputError: at the first such row if stream.corrupt is "stop"; it names file and row.
    """
    if len(rows) == 0:
        return []
    labels = np.empty((len(rows), *stream.rows.label_shape), np.float64)
    raw = x if x.dtype == stream.rows.dtype else np.empty(x.shape, stream.rows.dtype)
    found: dict[int, str] = {}
    for begin, end in itertools.pairwise(
        [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    ):
        found |= stream.rows.read(int(rows[begin]), raw[begin:end], labels[begin:end])
    if raw is not x and stream.schema.tokens:
        strange = tokens.no_ids(raw)
        found |= {
            int(rows[place]): f"{stream.rows.named(int(rows[place]), 'x')} holds "
            f"{raw[place][strange[place]][0]}, which is no whole number from 0"
            for place in np.flatnonzero(strange.reshape(len(raw), -1).any(1)).tolist()
        }
        x[:] = np.where(strange, 0, raw)
    elif raw is not x:
        with np.errstate(over="ignore", invalid="ignore"):
            x[:] = raw if stream.origin is None else stream.origin.nearest(raw)
    values = (
        labels
        if stream.target_origin is None or y.dtype == np.float64
        else stream.target_origin.nearest(labels)
    )
    # unreadable rows hold no numbers either
    found = _unusable(stream, rows, raw, labels, x, values) | found
    if found and stream.corrupt == "stop":
        raise InputError(
            f'{found[min(found)]}; fix the file, or leave such rows out with corrupt="skip"'
        )
    places = np.searchsorted(rows, list(found))
    x[places], values[places], real[places] = 0, 0, False
    y[:] = values
    return sorted(found)


def _listed(label: np.ndarray | np.floating) -> str:
    """One label or several as text."""
    return ", ".join(f"{value:g}" for value in np.ravel(label))


def _unusable(
    stream: Stream,
    rows: np.ndarray,
    raw: np.ndarray,
    labels: np.ndarray,
    x: np.ndarray,
    values: np.ndarray,
) -> dict[int, str]:
    """The rows with inputs that are not finite or labels that are invalid, and why. raw, labels: as
    read; x, values: as they are kept.
    """
    found = {}
    if stream.schema.multi_label:
        wrong, what = ~np.isin(labels, (0, 1)).all(-1), "but labels are 0 for no and 1 for yes"
    elif stream.classes is None:
        wrong, what = ~(np.abs(values) <= LARGEST), "which is no finite number"
        wrong = wrong if wrong.ndim == 1 else wrong.any(-1)
    else:
        wrong = ~_is_class_number(labels, len(stream.classes))
        what = f"but classes are numbered 0 to {len(stream.classes) - 1}"
    for place in np.flatnonzero(wrong).tolist():
        found[int(rows[place])] = (
            f"{stream.rows.named(int(rows[place]), 'y')} has label {_listed(labels[place])}, {what}"
        )
    if x.dtype.kind == "f":
        with np.errstate(all="ignore"):
            # The sum is cheaper than checking each number; it may overflow for finite numbers too.
            sound = np.isfinite(x.sum()) if x.dtype == np.float32 else np.abs(x).max() <= LARGEST
        if not sound:
            good = np.abs(x) <= LARGEST
            for place in np.flatnonzero(~good.reshape(len(x), -1).all(1)).tolist():
                at = np.argwhere(~good[place])[0].tolist()
                value, column = raw[place][tuple(at)], ", ".join(map(str, at))
                found[int(rows[place])] = (
                    f"{stream.rows.named(int(rows[place]), 'x')} holds {value} in column {column}"
                )
    return found

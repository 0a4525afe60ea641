"""Split arrays in memory: the result depends on the seed alone, and no example is in two parts.

A split is stratified by class, by group or in order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from jaxnet import arrays
from jaxnet.data import checks, filling, memory, targets, tokens
from jaxnet.data.dataset import Dataset, Splits, Standardization, TestSource, nothing_to_learn
from jaxnet.data.filling import Fill, filled, with_zeros
from jaxnet.data.precision import unresolved
from jaxnet.data.schema import Column
from jaxnet.data.sources.request import Reading
from jaxnet.data.tokens import Inputs
from jaxnet.errors import InputError, check_known, check_text, check_whole
from jaxnet.typing import ArrayLike, Frame

Rows = Int[np.ndarray, " rows"]
NEAR = 1e-3  # of a scale, by which standardizations differ where they are equal but for rounding


def split(
    x: ArrayLike | Frame,
    y: ArrayLike | Frame,
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    task: str | None = None,
    groups: ArrayLike | None = None,
    order: ArrayLike | None = None,
    classes: tuple[str, ...] | None = None,
    name: str = "arrays",
    fill: Fill | str | None = None,
    inputs: Inputs | str = "numbers",
    pad: int | None = None,
) -> Splits:
    """Split examples in memory into a training, a validation and a test set.

    x and y become float32, or stay float64 where float32 cannot tell the values of a column apart;
    uint8 stays as it is, and tokens become int32. Without groups or order, classes are spread
    evenly, each with at least one example in the training set.

    Args:
        x: (examples, ...) inputs; or a data frame of numbers, whose names of columns are kept.
        y: (examples,) labels: integers or text are classes, floats a regression. Integers are
            classes if they count from 0 or 1 or have at most 20 distinct values; the classes have
            these numbers as names. (examples, columns) floats, or a data frame of them, are several
            values of each example. For several yes/no labels give 0 and 1 with
            task="multi-label".
        validation: fraction of all examples in the validation set; may be 0.
        test: fraction of all examples in the test set.
        seed: seed of the split.
        task: "classification", "regression" or "multi-label", where y could be either.
        groups: (examples,) the person or thing that each example belongs to. No group is in two
            parts, so the fractions are met as nearly as whole groups allow. Each part keeps their
            numbers, in `.groups`.
        order: (examples,) such as times. The last examples are the test set, those before them the
            validation set; equal ones are in the same part.
        classes: names of the integer labels 0, 1, ...; where y has several columns, their names.
        name: name of the data set.
        fill: what stands in for NaN in x of (examples, features): the "median" or "mean" of each
            feature in training and validation set. A network that learns from the Splits fills NaN
            in new inputs alike. By default NaN is refused.
        inputs: "numbers", which are standardized; or "tokens", whole numbers from 0 such as those
            of words or items, which stay integers, for a model with an embedding.
        pad: the id that fills up sequences of tokens to the length of the longest, where x is a
            list of sequences. `predict` fills up alike, and the model must leave this id out.

    Returns:
        The Splits.

    Raises:
        InputError: for what cannot be used.
    """
    checks.fractions(validation, test, seed)
    checks.class_names(classes)
    check_text("name", name, "a name")
    x, names = _values(x)
    y, classes = _target_values(y, classes)
    known = _checked(x, names, y, classes, task, fill=fill, inputs=inputs, pad=pad)
    data = grouped(known, groups)
    test_rows, validation_rows, train_rows = partition(data, (test, validation), seed, order=order)
    notes = _label_notes(y, classes, task, data)
    pool = np.concatenate([validation_rows, train_rows])
    data, notes = filled(data, x, pool, fill), (*notes, *_notes_on_inputs(x, data, len(pool), fill))
    data = checks.in_storage_types(data, train_rows)
    parts = (take(data, rows) for rows in (train_rows, validation_rows, test_rows))
    return replace(
        assemble(*parts, name=name, notes=notes),
        test_source="random" if order is None else "ordered",
        ordered=order is not None,
        grouped_by=None if groups is None else "group",
        consecutive=_consecutive(order, len(data)),
    )


def _values(x: ArrayLike | Frame) -> tuple[ArrayLike, Sequence[str] | None]:
    """(inputs, the names of their columns where they are a data frame)."""
    if not isinstance(x, Frame):
        return x, None
    from jaxnet.data.tables.frames import numbers_of_frame

    return numbers_of_frame("x", x)


def _target_values(
    y: ArrayLike | Frame, classes: tuple[str, ...] | None
) -> tuple[ArrayLike, tuple[str, ...] | None]:
    """(labels or values, the names of their columns where they are a data frame with several)."""
    table: Any = y
    if not isinstance(y, Frame) or np.ndim(table) != 2:  # one column of a frame is an array
        return table, classes
    from jaxnet.data.tables.frames import numbers_of_frame

    values, names = numbers_of_frame("y", y)
    return values, names if classes is None else classes


def _label_notes(
    y: ArrayLike, classes: tuple[str, ...] | None, task: str | None, data: Dataset
) -> tuple[str, ...]:
    """Notes on how labels were understood, where nobody said what they are."""
    if classes is not None or task is not None:
        return ()
    return checks.label_notes(np.asarray(y), data.classes)


def _checked(
    x: ArrayLike,
    names: Sequence[str] | None,
    y: ArrayLike,
    classes: tuple[str, ...] | None,
    task: str | None,
    *,
    fill: Fill | str | None,
    inputs: Inputs | str,
    pad: int | None,
) -> Dataset:
    """A checked Dataset, with 0 in place of NaN that is filled later, and with the names of columns
    where there are any.
    """
    if task is not None:
        check_known("task", task, checks.TASKS)
    if not tokens.check(inputs, pad):
        x = with_zeros(x, fill)
    elif fill is not None:
        raise InputError("fill is for numbers, but inputs are tokens; leave fill out")
    data = checks.dataset(x, y, classes=classes, task=task, kind=inputs, pad=pad)
    if names is None:
        return data
    return replace(data, schema=replace(data.schema, columns=tuple(map(Column, names))))


def _notes_on_inputs(
    x: ArrayLike, data: Dataset, learned_from: int, fill: Fill | str | None
) -> tuple[str, ...]:
    if data.schema.tokens:
        return tokens.notes_on(x, np.asarray(data.x), data.pad)
    return filling.notes_on(x, learned_from, fill)


def folds(
    x: ArrayLike | Frame,
    y: ArrayLike | Frame,
    *,
    count: int = 5,
    validation: float = 0.1,
    seed: int = 0,
    task: str | None = None,
    groups: ArrayLike | None = None,
    classes: tuple[str, ...] | None = None,
    name: str = "arrays",
    fill: Fill | str | None = None,
    inputs: Inputs | str = "numbers",
    pad: int | None = None,
) -> Iterator[Splits]:
    """Splits for cross-validation, one after the other: each example is in exactly one test set.

    Args:
        x: as in `split`.
        y: as in `split`.
        count: number of folds.
        validation: fraction of each fold's other examples in the validation set.
        seed: as in `split`.
        task: as in `split`.
        groups: as in `split`.
        classes: as in `split`.
        name: as in `split`.
        fill: as in `split`; it is learned anew from training and validation set of each fold.
        inputs: as in `split`.
        pad: as in `split`.

    Returns:
        An iterator over the Splits.

    Raises:
        InputError: for what cannot be used.
    """
    checks.fractions(validation, None, seed)
    checks.class_names(classes)
    check_text("name", name, "a name")
    check_whole("count", count, 0)
    given, names = _values(x)
    y, classes = _target_values(y, classes)
    known = _checked(given, names, y, classes, task, fill=fill, inputs=inputs, pad=pad)
    data = grouped(known, groups)
    fold_of = fold_numbers(data, count, seed)
    notes = _label_notes(y, classes, task, data)

    def each() -> Iterator[Splits]:
        for number in range(count):
            rows, rest = np.flatnonzero(fold_of == number), np.flatnonzero(fold_of != number)
            held_out, training = partition(take(data, rest), (validation,), seed + number)
            kept = checks.in_storage_types(filled(data, given, rest, fill), rest[training])
            chosen = (take(kept, part) for part in (rest[training], rest[held_out], rows))
            title = f"{name}, fold {number + 1} of {count}"
            more = _notes_on_inputs(given, data, len(rest), fill)
            yield replace(
                assemble(*chosen, name=title, notes=(*notes, *more)),
                test_source="random",
                grouped_by=None if groups is None else "group",
            )

    return each()


def fold_numbers(data: Dataset, count: int, seed: int) -> Rows:
    """Assign each example to a fold.

    Without groups, two folds differ by at most one example, in total and in each class. No group is
    in two folds; then they have nearly equal numbers of examples, and of each class, as far as
    whole groups allow.

    Args:
        data: the examples.
        count: number of folds.
        seed: seed of the assignment, which depends on it, the labels and the groups alone.

    Returns:
        (examples,) numbers of the folds, from 0.

    Raises:
        InputError: where count is not between 2 and the number of examples, or of groups.
    """
    groups = None if data.groups is None else ranks(data.groups, len(data), "groups")
    units = len(data) if groups is None else int(groups.max()) + 1
    if not 2 <= count <= units:
        raise InputError(
            f"count is {count}; give from 2 folds to one "
            f"a{' group' if groups is not None else 'n example'}: {units}"
        )
    rng, kinds = np.random.default_rng(seed), targets.strata(data)
    if groups is None:
        # Examples are dealt to the folds in turn, class by class, so that two folds differ by at
        # most one example, in total and in each class.
        line = rng.permutation(len(data))
        line = line if kinds is None else line[np.argsort(kinds[line], kind="stable")]
        fold_of = np.empty(len(data), int)
        fold_of[line] = np.arange(len(data)) % count
        return fold_of
    kinds = np.zeros(len(data), int) if kinds is None else kinds
    of_group = np.zeros((units, kinds.max() + 1), int)
    np.add.at(of_group, (groups, kinds), 1)
    sizes, kind = of_group.sum(1), of_group.argmax(1)
    fold_of, filled = np.empty(units, int), np.zeros((count, of_group.shape[1]), int)
    # Large groups first, in random order where their sizes differ by less than a factor of 2, so
    # that another seed gives other folds. Each goes to the fold with the fewest examples of its
    # most frequent class, among those that have no more examples than the emptiest would with it.
    for group in sorted(rng.permutation(units), key=lambda group: -int(sizes[group]).bit_length()):
        full = filled.sum(1)
        open_ = np.flatnonzero(full < full.min() + sizes[group])
        fold = open_[np.lexsort((full[open_], filled[open_, kind[group]]))[0]]
        fold_of[group], filled[fold] = fold, filled[fold] + of_group[group]
    return fold_of[groups]


def hold_out(
    data: Dataset, fraction: float, seed: int, *, order: ArrayLike | None = None
) -> tuple[Dataset, Dataset]:
    """Divide data into the rest and a held-out part. The given data may not be used again.

    Args:
        data: the whole.
        fraction: fraction to hold out; 0 holds out nothing.
        seed: seed of the split.
        order: as in `split`.

    Returns:
        (the rest, the part).
    """
    if fraction == 0:
        return data, take(data, slice(0, 0))
    part, rest = partition(data, (fraction,), seed, order=order)
    return divide(data, rest, part)  # pyrefly: ignore[bad-return]


def complete(
    parts: dict[str, Dataset],
    reading: Reading,
    *,
    name: str,
    where: str = "",
    notes: tuple[str, ...] = (),
    order: ArrayLike | None = None,
    rows: Sequence[np.ndarray] = (),
) -> Splits:
    """Make Splits of the parts that a source has; missing ones are held out from "train".

    The given parts may not be used again.

    Args:
        parts: Datasets by name: "train", and optionally "validation" and "test".
        reading: the fractions and the seed.
        name: as in `assemble`.
        where: as in `assemble`.
        notes: as in `assemble`.
        order: as in `split`.
        rows: what `partition` gives for test and validation set, where it was needed before.

    Returns:
        The Splits.

    Raises:
        InputError: as in `partition` and `assemble`.
    """
    train, validation, test = (parts.get(name) for name in ("train", "validation", "test"))
    assert train is not None
    consecutive = len(parts) == 1 and _consecutive(order, len(train))
    source: TestSource = "own" if test is not None else "random" if order is None else "ordered"
    if test is None:
        checks.fractions(
            0.0 if validation is not None else reading.validation, reading.test, reading.seed
        )
    if test is None and validation is None:
        test_rows, validation_rows, rest = rows or partition(
            train, (reading.test, reading.validation), reading.seed, order=order
        )
        train, validation, test = divide(train, rest, validation_rows, test_rows)
    if test is None:
        train, test = hold_out(train, reading.test, reading.seed, order=order)
    if validation is None:
        train, validation = hold_out(train, reading.validation, reading.seed, order=order)
    return replace(
        assemble(train, validation, test, name=name, where=where, notes=notes),
        test_source=source,
        ordered=order is not None,
        grouped_by=reading.groups,
        consecutive=consecutive,
    )


def partition(
    data: Dataset, fractions: tuple[float, ...], seed: int, *, order: ArrayLike | None = None
) -> list[Rows]:
    """Row numbers of one part for each fraction, and of the rest, each in ascending order; no group
    of the data is in two parts.

    Args:
        data: the examples.
        fractions: fraction of each part; the rest has no fraction of its own.
        seed: seed of the split.
        order: as in `split`.

    Returns:
        One array more than there are fractions.

    Raises:
        InputError: where a part would be empty, and for groups and order together.
    """
    n, rng, kinds = len(data), np.random.default_rng(seed), targets.strata(data)
    if data.groups is not None and order is not None:
        raise InputError(
            "groups and order were given; a split can go by one of them: leave the other out"
        )
    if data.groups is not None:
        parts = _by_group(ranks(data.groups, n, "groups"), fractions, rng, kinds)
    elif order is not None:
        parts = _in_order(ranks(order, n, "order"), fractions)
    else:
        sizes = [round(fraction * n) for fraction in fractions]
        parts = np.split(_stratified_order(n, kinds, rng), np.cumsum(sizes))
    wanted = [fraction > 0 for fraction in fractions] + [True]
    if any(want and len(part) == 0 for part, want in zip(parts, wanted, strict=True)):
        raise InputError(
            f"{n} examples in parts of {', '.join(f'{f:g}' for f in fractions)} leave an empty "
            "part; give more examples or other fractions"
        )
    return [np.sort(part) for part in parts]


def assemble(
    train: Dataset,
    validation: Dataset,
    test: Dataset,
    *,
    name: str,
    where: str = "",
    notes: tuple[str, ...] = (),
) -> Splits:
    """Make Splits from given parts, on the device, with the training set's standardization.

    What float32 cannot hold stays on the host; the notes say what float64 cannot hold.

    Args:
        train: the training set.
        validation: the validation set.
        test: the test set.
        name: name of the data set.
        where: the file, for messages.
        notes: what was decided while the data were read.

    Returns:
        The Splits.

    Raises:
        InputError: where the parts do not belong together.
    """
    train = checks.in_storage_types(train)
    validation, test = (checks.in_types_of(part, train) for part in (validation, test))
    checks.parts(train, validation, test, where=where)
    train, validation, test = tokens.of_training(train, validation, test)
    notes = (*notes, *notes_on(train))
    statistics = Standardization.of(train)
    return Splits(
        placed(train), placed(validation), placed(test), statistics, name=name, notes=notes
    )


def pool(splits: Splits) -> Splits:
    """Put training and validation set together as one training set, with its own standardization.

    A standardization that is not that of the training set is the user's own, and stays.

    Args:
        splits: the data, with the training set in memory.

    Returns:
        The Splits, with an empty validation set and the same test set; the same splits where the
        validation set is empty.

    Raises:
        InputError: where the training set stays on disk.
    """
    if not isinstance(splits.train, Dataset):
        raise InputError(
            f"the training set, {len(splits.train):,} examples, stays on disk, so no others can be "
            "put to it; give splits in memory, as jaxnet.load and jaxnet.split make them"
        )
    if not len(splits.validation):
        return splits
    (both,) = tokens.of_training(in_one(splits.train, splits.validation))
    standardization = splits.standardization
    note = "standardization uses the given mean and scale, which are not those of the training set"
    if _alike(standardization, Standardization.of(splits.train)):
        standardization = Standardization.of(both)
        note = (
            f"standardization uses the mean and scale of the {len(both):,} examples of training "
            "and validation set together, and none of the test set"
        )
    notes = () if both.schema.tokens and both.classes is not None else (note,)
    return replace(
        splits,
        train=placed(both),
        validation=placed(take(both, slice(0, 0))),
        standardization=standardization,
        notes=(*splits.notes, *notes),
    )


def _alike(one: Standardization, other: Standardization) -> bool:
    """Whether two standardizations are equal but for rounding."""
    if (one.origin, one.target_origin) != (other.origin, other.target_origin):
        return False
    pairs: list[tuple[tuple[Any, Any], tuple[Any, Any]]]
    pairs = []
    if other.scale is not None:
        pairs.append(((one.mean, one.scale), (other.mean, other.scale)))
    if other.target_scale is not None:
        pairs.append(((one.target_mean, one.target_scale), (other.target_mean, other.target_scale)))
    return all(
        mean is not None
        and scale is not None
        and np.shape(mean) == np.shape(own_mean)
        and bool(np.all(np.abs(mean - own_mean) <= NEAR * np.abs(own_scale)))
        and np.allclose(scale, own_scale, rtol=NEAR)
        for (mean, scale), (own_mean, own_scale) in pairs
    )


def in_one(*parts: Dataset) -> Dataset:
    """The examples of several parts of a data set one after the other, on the host.

    Args:
        *parts: the parts. Where only some of them have groups, each example of the others is a
            group of its own.

    Returns:
        The Dataset.
    """
    x, y = (
        np.concatenate([np.asarray(getattr(part, name)) for part in parts]) for name in ("x", "y")
    )
    known = [part.groups for part in parts if part.groups is not None]
    if not known:
        return replace(parts[0], x=x, y=y, groups=None)
    free = 1 + np.concatenate([*known, [-1]]).max() + np.arange(len(y))  # numbers of no group
    numbers, begin = [], 0
    for part in parts:
        own = free[begin : begin + len(part)] if part.groups is None else part.groups
        numbers, begin = [*numbers, own], begin + len(part)
    return replace(parts[0], x=x, y=y, groups=np.concatenate(numbers))


def grouped(data: Dataset, groups: ArrayLike | None) -> Dataset:
    """The data with numbers of their groups.

    Args:
        data: the examples.
        groups: (examples,) the person or thing that each belongs to; None leaves the data as they
            are.

    Returns:
        The Dataset.

    Raises:
        InputError: where groups are not one value per example.
    """
    return data if groups is None else replace(data, groups=ranks(groups, len(data), "groups"))


def placed(data: Dataset) -> Dataset:
    """The data on the device, except for float64 arrays."""
    # jnp.asarray would compile a program for every shape.
    x, y = (
        values if values.dtype == np.float64 else jax.device_put(values)
        for values in (data.x, data.y)
    )
    return replace(data, x=x, y=y)


def notes_on(train: Dataset) -> tuple[str, ...]:
    """Notes on columns that count as constant, since float64 cannot tell their values apart, and on
    values to learn that are all the same.

    Args:
        train: the training set; columns without names are numbered.

    Returns:
        One note for each.
    """
    names = (
        None
        if train.columns is None
        else [column.name for column in train.columns for _ in column.inputs]
    )
    found = [
        f"column {number if names is None else repr(names[number])}"
        for number in unresolved(np.asarray(train.x))
    ]
    found += _unresolved_targets(train)
    said = nothing_to_learn(train) if train.classes is None and train.targets is None else None
    return (() if said is None else (said,)) + tuple(
        f"{name} counts as constant: float64 cannot tell values apart that differ by less than "
        "1e-14 of their size; if they should, "
        "subtract an offset where they come from"
        for name in found
    )


def _unresolved_targets(train: Dataset) -> list[str]:
    """The values to learn that float64 cannot tell apart, as notes name them."""
    if train.counted:
        return []
    columns = unresolved(np.asarray(train.y))
    return [repr(train.schema.target_names[j]) if train.targets else "y" for j in columns]


def take(data: Dataset, rows: Rows | slice) -> Dataset:
    """Select examples.

    Args:
        data: the examples.
        rows: (rows,) row numbers, or a slice.

    Returns:
        The selected ones.
    """
    return replace(data, x=data.x[rows], y=data.y[rows], groups=_groups_of(data, rows))


def _groups_of(data: Dataset, rows: Rows | slice) -> Rows | None:
    return None if data.groups is None else data.groups[rows]


def on_host(data: Dataset) -> Dataset:
    """The data as NumPy arrays, of which `take` selects rows without compiling a program."""
    return replace(data, x=np.asarray(data.x), y=np.asarray(data.y))


def divide(data: Dataset, *parts: Int[np.ndarray, " _"]) -> tuple[Dataset, ...]:
    """Copy the examples of each part, in the types in which they are kept. The whole may not be
    used again.

    The memory of the whole is given back while the parts fill, so both together take no more than
    one of them.

    Args:
        data: the whole.
        *parts: (rows,) row numbers in ascending order. The first part is the training set, whose
            values decide what is kept as float32.

    Returns:
        The parts.
    """
    x_kind, y_kind = checks.storage_types(data, parts[0])
    made = [memory.empty((len(rows), *data.x.shape[1:]), x_kind) for rows in parts]
    whole = np.asarray(data.x)
    for stretch in memory.stretches(whole):
        for x, rows in zip(made, parts, strict=True):
            places = slice(*np.searchsorted(rows, (stretch.start, stretch.stop)))
            x[places] = whole[rows[places]]
        memory.release(whole, stretch)
    return tuple(
        replace(data, x=x, y=data.y[rows].astype(y_kind), groups=_groups_of(data, rows))
        for x, rows in zip(made, parts, strict=True)
    )


def _stratified_order(n: int, kinds: np.ndarray | None, rng: np.random.Generator) -> Rows:
    """All rows in an order in which every consecutive stretch has nearly the same share of each
    class.

    Every example gets a place in (0, 1): its rank within its class, divided by the size of the
    class. The first example of each class goes to the end of the line, where the training set is.
    """
    place = rng.permutation(n) / n
    if kinds is not None:
        by_class = np.lexsort((place, kinds))
        counts = np.bincount(kinds)
        counts = counts[counts > 0]
        rank = np.concatenate([np.arange(count) for count in counts])
        size = np.repeat(counts, counts)
        place = np.empty(n)
        place[by_class] = np.where(rank == 0, 2.0, (rank - rng.random(n)) / size)
    return np.argsort(place, kind="stable")


def _by_group(
    codes: np.ndarray,
    fractions: tuple[float, ...],
    rng: np.random.Generator,
    labels: np.ndarray | None,
) -> list[Rows]:
    """Whole groups in random order; a part takes groups as long as each brings it nearer to its
    size. A class that the last part, the training set, would lack keeps one of its groups there.

    Args:
        codes: (examples,) numbers of the groups.
        fractions: fraction of each part but the last.
        rng: the source of the random order.
        labels: (examples,) class numbers; None for a regression.
    """
    sizes, parts = np.bincount(codes), 1 + sum(fraction > 0 for fraction in fractions)
    if len(sizes) < parts:
        raise InputError(
            f"all {len(codes)} examples are of {len(sizes)} group{'s' * (len(sizes) > 1)}; "
            f"{parts} parts by group need at least {parts}; "
            "group otherwise, or ask for fewer parts"
        )
    line, kept = rng.permutation(len(sizes)).tolist(), list[int]()
    while True:
        free = [group for group in line if group not in kept]
        taken = _taken(free, sizes, fractions, spare=not kept)
        rest = np.isin(codes, [group for chosen in taken for group in chosen], invert=True)
        lost = np.zeros(0) if labels is None else np.setdiff1d(labels, labels[rest])
        if labels is None or not lost.size or len(free) <= parts - 1:
            return [
                *(np.flatnonzero(np.isin(codes, chosen)) for chosen in taken),
                rest.nonzero()[0],
            ]
        kept.append(max(np.unique(codes[labels == lost[0]]).tolist(), key=line.index))


def _taken(
    line: list[int], sizes: np.ndarray, fractions: tuple[float, ...], *, spare: bool
) -> list[list[int]]:
    """The groups that each part takes from a line of them. spare: whether one must be left over."""
    left, taken = list(line), []
    for number, fraction in enumerate(fractions):
        wanted, chosen, filled = fraction * sizes.sum(), [], 0
        # number of later parts, each of which needs a group
        still = sum(f > 0 for f in fractions[number + 1 :]) + spare
        for group in list(left):
            if (
                len(left) > still
                and fraction > 0
                and (not chosen or filled + sizes[group] / 2 <= wanted)
            ):
                chosen.append(group)
                left.remove(group)
                filled += sizes[group]
            if filled >= wanted:
                break
        taken.append(chosen)
    return taken


def _consecutive(order: ArrayLike | None, examples: int) -> bool:
    """Whether examples stand in this order already, each with a place of its own."""
    return order is not None and bool((np.diff(ranks(order, examples, "order")) > 0).all())


def _in_order(codes: np.ndarray, fractions: tuple[float, ...]) -> list[Rows]:
    """The last examples are the first part, those before them the second, and so on; equal ones
    stay together.
    """
    line = np.argsort(codes, kind="stable")[::-1]
    # places where a cut separates no equal values
    borders = np.flatnonzero(np.diff(codes[line]) != 0) + 1
    if len(borders) < sum(fraction > 0 for fraction in fractions):
        raise InputError(
            f"order has {len(borders) + 1} different values in {len(codes)} examples, too few for "
            "parts in order; "
            "order by something finer, or ask for fewer parts"
        )
    cuts, place = [], 0
    for fraction in fractions:
        if fraction > 0:
            free = borders[borders > place]
            aim = place + fraction * len(codes)
            place = int(free[np.abs(free - aim).argmin()]) if len(free) else len(codes)
        cuts.append(place)
    return np.split(line, cuts)


def units(data: Dataset) -> int:
    """The number of groups of the data; of examples where each stands for itself."""
    return len(data) if data.groups is None else len(np.unique(data.groups))


def ranks(values: ArrayLike, examples: int, what: str) -> Rows:
    """The rank of each value among the distinct values.

    Args:
        values: (examples,) numbers, text or times.
        examples: the number of examples.
        what: what the values are, for messages.

    Returns:
        (examples,) integers from 0.

    Raises:
        InputError: for another shape or type, and for missing values.
    """
    values = arrays.with_plain_text(arrays.array(what, values, ("row",)))
    if values.shape != (examples,):
        raise InputError(
            f"{what} has shape {values.shape}; give one value for each example: ({examples},)"
        )
    if values.dtype.kind == "O":
        raise InputError(
            f"{what} must hold numbers, text or times, but is of type object; give an array of "
            "one of these"
        )
    if (
        missing := np.flatnonzero(values != values)
    ).size:  # NaN and NaT are not equal to themselves
        raise InputError(
            f"{what} has no value in row {missing[0]}; fill the gap, or remove the row"
        )
    return np.unique(values, return_inverse=True)[1]

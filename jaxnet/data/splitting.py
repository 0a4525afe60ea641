"""Split arrays in memory: the result depends on the seed alone, and no example is in two parts.

A split is stratified by class, by group or in order.
"""

from collections.abc import Iterator
from dataclasses import replace

import jax
import numpy as np
from jaxtyping import Int

from jaxnet import arrays
from jaxnet.data import checks, memory
from jaxnet.data.dataset import Column, Dataset, Splits, Standardization
from jaxnet.data.precision import unresolved
from jaxnet.data.sources.request import Reading
from jaxnet.errors import InputError, check_text, check_whole
from jaxnet.typing import ArrayLike

Rows = Int[np.ndarray, " rows"]


def split(
    x: ArrayLike,
    y: ArrayLike,
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    groups: ArrayLike | None = None,
    order: ArrayLike | None = None,
    classes: tuple[str, ...] | None = None,
    name: str = "arrays",
) -> Splits:
    """Split examples in memory into a training, a validation and a test set.

    x and y become float32, or stay float64 where float32 cannot tell the values of a column apart;
    uint8 stays as it is. Without groups or order, classes are spread evenly, each with at least one
    example in the training set.

    Args:
        x: (examples, ...) inputs.
        y: (examples,) labels: integers or text are classes, floats a regression. Integers are
            classes if they count from 0 or 1 or have at most 20 distinct values; the classes have
            these numbers as names.
        validation: fraction of all examples in the validation set; may be 0.
        test: fraction of all examples in the test set.
        seed: seed of the split.
        groups: (examples,) the person or thing that each example belongs to. No group is in two
            parts, so the fractions are met as nearly as whole groups allow.
        order: (examples,) such as times. The last examples are the test set, those before them the
            validation set; equal ones are in the same part.
        classes: names of the integer labels 0, 1, ...
        name: name of the data set.

    Returns:
        The Splits.

    Raises:
        InputError: for what cannot be used.
    """
    checks.fractions(validation, test, seed)
    checks.class_names(classes)
    check_text("name", name, "a name")
    data = checks.dataset(x, y, classes=classes)
    test_rows, validation_rows, train_rows = partition(
        data, (test, validation), seed, groups=groups, order=order
    )
    notes = () if classes is not None else checks.label_notes(np.asarray(y), data.classes)
    data = checks.in_storage_types(data, train_rows)
    return assemble(
        *(take(data, rows) for rows in (train_rows, validation_rows, test_rows)),
        name=name,
        notes=notes,
    )


def folds(
    x: ArrayLike,
    y: ArrayLike,
    *,
    count: int = 5,
    validation: float = 0.1,
    seed: int = 0,
    groups: ArrayLike | None = None,
    classes: tuple[str, ...] | None = None,
    name: str = "arrays",
) -> Iterator[Splits]:
    """Splits for cross-validation, one after the other: each example is in exactly one test set.

    Args:
        x: as in `split`.
        y: as in `split`.
        count: number of folds.
        validation: fraction of each fold's other examples in the validation set.
        seed: as in `split`.
        groups: as in `split`.
        classes: as in `split`.
        name: as in `split`.

    Returns:
        An iterator over the Splits.

    Raises:
        InputError: for what cannot be used.
    """
    checks.fractions(validation, None, seed)
    checks.class_names(classes)
    check_text("name", name, "a name")
    check_whole("count", count, 0)
    data = checks.dataset(x, y, classes=classes)
    codes = None if groups is None else _ranks(groups, len(data), "groups")
    units = len(data) if codes is None else int(codes.max()) + 1
    if not 2 <= count <= units:
        raise InputError(
            f"count is {count}; give from 2 folds to one "
            f"a{' group' if groups is not None else 'n example'}: {units}"
        )
    fold_of = fold_numbers(data, count, seed, codes)
    notes = () if classes is not None else checks.label_notes(np.asarray(y), data.classes)

    def each() -> Iterator[Splits]:
        for number in range(count):
            rows, rest = np.flatnonzero(fold_of == number), np.flatnonzero(fold_of != number)
            own = None if codes is None else codes[rest]
            held_out, training = partition(
                take(data, rest), (validation,), seed + number, groups=own
            )
            kept = checks.in_storage_types(data, rest[training])
            chosen = (take(kept, part) for part in (rest[training], rest[held_out], rows))
            yield assemble(*chosen, name=f"{name}, fold {number + 1} of {count}", notes=notes)

    return each()


def fold_numbers(
    data: Dataset, count: int, seed: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """Assign each example to a fold.

    Args:
        data: the examples.
        count: number of folds.
        seed: seed of the assignment.
        groups: (examples,) group numbers from 0; no group is in two folds.

    Returns:
        (examples,) numbers of the folds, from 0.
    """
    rng = np.random.default_rng(seed)
    if groups is None:
        # Examples are dealt to the folds in turn, class by class, so that two folds differ by at
        # most one example, in total and in each class.
        line = rng.permutation(len(data))
        line = (
            line
            if data.classes is None
            else line[np.argsort(np.asarray(data.y)[line], kind="stable")]
        )
        fold_of = np.empty(len(data), int)
        fold_of[line] = np.arange(len(data)) % count
        return fold_of
    sizes = np.bincount(groups)
    fold_of, filled = np.empty(len(sizes), int), np.zeros(count, int)
    # The largest first, each to the fold with the fewest examples so far.
    for group in sorted(rng.permutation(len(sizes)), key=lambda group: -sizes[group]):
        fold_of[group] = filled.argmin()
        filled[filled.argmin()] += sizes[group]
    return fold_of[groups]


def hold_out(
    data: Dataset,
    fraction: float,
    seed: int,
    *,
    groups: ArrayLike | None = None,
    order: ArrayLike | None = None,
) -> tuple[Dataset, Dataset]:
    """Divide data into the rest and a held-out part. The given data may not be used again.

    Args:
        data: the whole.
        fraction: fraction to hold out; 0 holds out nothing.
        seed: seed of the split.
        groups: as in `split`.
        order: as in `split`.

    Returns:
        (the rest, the part).
    """
    if fraction == 0:
        return data, take(data, slice(0, 0))
    part, rest = partition(data, (fraction,), seed, groups=groups, order=order)
    return divide(data, rest, part)  # pyrefly: ignore[bad-return]


def complete(
    parts: dict[str, Dataset],
    reading: Reading,
    *,
    groups: ArrayLike | None = None,
    order: ArrayLike | None = None,
) -> tuple[Dataset, Dataset, Dataset]:
    """Complete the parts that a source has; missing ones are held out from "train".

    The given parts may not be used again.

    Args:
        parts: Datasets by name: "train", and optionally "validation" and "test".
        reading: the fractions and the seed.
        groups: as in `split`.
        order: as in `split`.

    Returns:
        (train, validation, test).
    """
    train, validation, test = (parts.get(name) for name in ("train", "validation", "test"))
    assert train is not None
    by = {"groups": groups, "order": order}
    if test is None:
        checks.fractions(
            0.0 if validation is not None else reading.validation, reading.test, reading.seed
        )
    if test is None and validation is None:
        test_rows, validation_rows, rest = partition(
            train, (reading.test, reading.validation), reading.seed, **by
        )
        return divide(train, rest, validation_rows, test_rows)  # pyrefly: ignore[bad-return]
    if test is None:
        train, test = hold_out(train, reading.test, reading.seed, **by)
    if validation is None:
        train, validation = hold_out(train, reading.validation, reading.seed, **by)
    return train, validation, test


def partition(
    data: Dataset,
    fractions: tuple[float, ...],
    seed: int,
    *,
    groups: ArrayLike | None = None,
    order: ArrayLike | None = None,
) -> list[Rows]:
    """Row numbers of one part for each fraction, and of the rest, each in ascending order.

    Args:
        data: the examples.
        fractions: fraction of each part; the rest has no fraction of its own.
        seed: seed of the split.
        groups: as in `split`.
        order: as in `split`.

    Returns:
        One array more than there are fractions.

    Raises:
        InputError: where a part would be empty, and for groups and order together.
    """
    n, rng = len(data), np.random.default_rng(seed)
    if groups is not None and order is not None:
        raise InputError(
            "groups and order were given; a split can go by one of them: leave the other out"
        )
    if groups is not None:
        parts = _by_group(_ranks(groups, n, "groups"), fractions, rng)
    elif order is not None:
        parts = _in_order(_ranks(order, n, "order"), fractions)
    else:
        sizes = [round(fraction * n) for fraction in fractions]
        parts = np.split(
            _stratified_order(np.asarray(data.y), data.classes is not None, rng), np.cumsum(sizes)
        )
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
    columns: tuple[Column, ...] | None = None,
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
        columns: the columns that the inputs were made of.
        notes: what was decided while the data were read.

    Returns:
        The Splits.

    Raises:
        InputError: where the parts do not belong together.
    """
    train = checks.in_storage_types(train)
    validation, test = (checks.in_types_of(part, train) for part in (validation, test))
    checks.parts(train, validation, test, where=where)
    notes = (*notes, *notes_on(train, columns))
    statistics = Standardization.of(train)
    return Splits(
        placed(train),
        placed(validation),
        placed(test),
        statistics,
        name=name,
        columns=columns,
        notes=notes,
    )


def placed(data: Dataset) -> Dataset:
    """The data on the device, except for float64 arrays."""
    # jnp.asarray would compile a program for every shape.
    x, y = (
        values if values.dtype == np.float64 else jax.device_put(values)
        for values in (data.x, data.y)
    )
    return replace(data, x=x, y=y)


def notes_on(train: Dataset, columns: tuple[Column, ...] | None) -> tuple[str, ...]:
    """Notes on columns that count as constant, since float64 cannot tell their values apart.

    Args:
        train: the training set.
        columns: its columns, for their names; None numbers them.

    Returns:
        One note for each such column.
    """
    names = (
        None
        if columns is None
        else [column.name for column in columns for _ in column.categories or (None,)]
    )
    found = [
        f"column {number if names is None else repr(names[number])}"
        for number in unresolved(np.asarray(train.x))
    ]
    found += ["y"] * (train.classes is None and bool(unresolved(np.asarray(train.y))))
    return tuple(
        f"{name} counts as constant: float64 cannot tell values apart that differ by less than "
        "1e-14 of their size; if they should, "
        "subtract an offset where they come from"
        for name in found
    )


def take(data: Dataset, rows: Rows | slice) -> Dataset:
    """Select examples.

    Args:
        data: the examples.
        rows: (rows,) row numbers, or a slice.

    Returns:
        The selected ones.
    """
    return replace(data, x=data.x[rows], y=data.y[rows])


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
        replace(data, x=x, y=data.y[rows].astype(y_kind))
        for x, rows in zip(made, parts, strict=True)
    )


def _stratified_order(y: np.ndarray, stratified: bool, rng: np.random.Generator) -> Rows:
    """All rows in an order in which every consecutive stretch has nearly the same share of each
    class.

    Every example gets a place in (0, 1): its rank within its class, divided by the size of the
    class. The first example of each class goes to the end of the line, where the training set is.
    """
    n = len(y)
    place = rng.permutation(n) / n
    if stratified:
        by_class = np.lexsort((place, y))
        counts = np.bincount(y)
        counts = counts[counts > 0]
        rank = np.concatenate([np.arange(count) for count in counts])
        size = np.repeat(counts, counts)
        place = np.empty(n)
        place[by_class] = np.where(rank == 0, 2.0, (rank - rng.random(n)) / size)
    return np.argsort(place, kind="stable")


def _by_group(
    codes: np.ndarray, fractions: tuple[float, ...], rng: np.random.Generator
) -> list[Rows]:
    """Whole groups in random order; a part takes groups as long as each brings it nearer to its
    size.
    """
    sizes, parts = np.bincount(codes), 1 + sum(fraction > 0 for fraction in fractions)
    if len(sizes) < parts:
        raise InputError(
            f"all {len(codes)} examples are of {len(sizes)} group{'s' * (len(sizes) > 1)}; "
            f"{parts} parts by group need at least {parts}; "
            "group otherwise, or ask for fewer parts"
        )
    left, taken = list(rng.permutation(len(sizes))), []
    for number, fraction in enumerate(fractions):
        wanted, chosen, filled = fraction * len(codes), [], 0
        # number of later parts, each of which needs a group
        still = sum(f > 0 for f in fractions[number + 1 :]) + 1
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
    return [np.flatnonzero(np.isin(codes, chosen)) for chosen in [*taken, left]]


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


def _ranks(values: ArrayLike, examples: int, what: str) -> np.ndarray:
    """The rank of each value among the distinct values."""
    values = arrays.array(what, values, ("row",))
    if values.shape != (examples,):
        raise InputError(
            f"{what} has shape {values.shape}; give one value an example: ({examples},)"
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

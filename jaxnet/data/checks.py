"""Check data from outside once, on the host, before anything is computed with them.

Whatever cannot be used raises InputError, which names the value, its place and the fix. Nothing
here changes values, except for their type and the numbers of classes.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from jaxnet import arrays
from jaxnet.data import memory, targets, tokens
from jaxnet.data.dataset import Dataset, nothing_to_learn
from jaxnet.data.precision import loses_precision
from jaxnet.errors import LISTED, InputError, check_known, check_number, check_whole, shown
from jaxnet.typing import ArrayLike

GAPS_CURE = "remove those rows or fill the gaps"
TASKS = ("classification", "regression", targets.MULTI_LABEL)
MAX_INTEGER_CLASSES = 20  # whole numbers with up to this many different values are classes


def dataset(
    x: ArrayLike,
    y: ArrayLike,
    *,
    classes: tuple[str, ...] | None = None,
    task: str | None = None,
    where: str = "",
    kind: tokens.Inputs | str = "numbers",
    pad: int | None = None,
) -> Dataset:
    """A checked Dataset of NumPy arrays, whose types `in_storage_types` chooses later.

    Args:
        x: (examples, features) or (examples, height, width[, channels]) numbers.
        y: (examples,) integer or text labels are classes, floats are values; (examples, columns)
            floats are several values, and 0 and 1 several labels where the task says so.
        classes: names of the integer labels 0, 1, ...; by default the labels name themselves. Where
            y has several columns, the names of these.
        task: the task that was asked for, or None.
        where: the file, named in every message.
        kind: what inputs are: "numbers", or "tokens" for whole numbers that stay integers.
        pad: the id with which sequences of tokens are filled up.

    Returns:
        The Dataset.

    Raises:
        InputError: for what cannot be used.
    """
    at = f"{where}: " if where else ""
    if tokens.check(kind, pad):
        x = tokens.ids(f"{at}x", x, pad)
        found = dataset(x, y, classes=classes, task=task, where=where)
        return tokens.as_tokens(found, pad)
    xs = arrays.array(f"{at}x", x)
    ys = arrays.with_plain_text(arrays.array(f"{at}y", y, ("row",)))
    images = inputs(xs, at)
    if len(xs) != len(np.atleast_1d(ys)):
        raise InputError(
            f"{at}x has {len(xs)} examples and y has {len(np.atleast_1d(ys))}; they must be the "
            "same"
        )
    pixel_max = pixel_max_of(images)
    if ys.ndim != 1 or task == targets.MULTI_LABEL:
        several, meaning = targets.several(ys, task=task, names=classes, at=at, cure=GAPS_CURE)
        return Dataset(images, several, schema=replace(meaning, pixel_max=pixel_max))
    if task is not None:
        ys = as_task(ys, task, f"{at}y")
    if ys.dtype.kind == "f":
        if classes is not None:
            raise InputError(
                f"{at}class labels must be integers, but y is {ys.dtype}; give y.astype(int)"
            )
        values = arrays.within_float32(f"{at}y", ys, cure=GAPS_CURE)
        return Dataset(images, values, None, pixel_max)  # pyrefly: ignore[bad-argument-type]
    labels, names = _labels(ys, classes, at)
    return Dataset(images, labels, names, pixel_max)  # pyrefly: ignore[bad-argument-type]


def pixel_max_of(x: np.ndarray) -> float | None:
    """The value of a white pixel.

    Args:
        x: inputs of any shape.

    Returns:
        255 for uint8 and the largest value otherwise, if x holds gray or color images; else None.
    """
    if not (x.ndim == 3 or (x.ndim == 4 and x.shape[-1] in (1, 3))):
        return None
    if x.dtype == np.uint8:
        return 255.0
    return float(np.float32(x.max())) if x.min() >= 0 and x.max() > 0 else None


def in_storage_types(data: Dataset, rows: np.ndarray | None = None) -> Dataset:
    """Convert data to the types in which they are kept.

    That is float32, or float64 for x or y where float32 would lose a column. uint8 stays as it is,
    and so do tokens, which are int32.

    Args:
        data: the Dataset.
        rows: (rows,) numbers of the examples that a network learns from, which decide; None takes
            all.

    Returns:
        The Dataset in these types.
    """
    return cast(data, *storage_types(data, rows))


def storage_types(data: Dataset, rows: np.ndarray | None = None) -> tuple[np.dtype, np.dtype]:
    """The types of x and y that `in_storage_types` chooses.

    Args:
        data: the Dataset.
        rows: (rows,) numbers of the examples that decide; None takes all.

    Returns:
        (type of x, type of y).
    """
    x_kind, y_kind = data.x.dtype, data.y.dtype
    if data.schema.tokens:
        x_kind = data.schema.input_dtype
    elif x_kind != np.uint8:
        x_kind = np.dtype(np.float64 if loses_precision(data.x, rows) else np.float32)
    if not data.counted:
        y_kind = np.dtype(np.float64 if loses_precision(data.y, rows) else np.float32)
    return x_kind, y_kind


def in_types_of(data: Dataset, train: Dataset) -> Dataset:
    """Convert a part to the types of the training set.

    What was rounded to float32 or to bytes before stays as it is, and `parts` refuses it.

    Args:
        data: the part.
        train: the training set, after `in_storage_types`.

    Returns:
        The part in these types.
    """

    def kind(values: Any, wanted: np.dtype) -> np.dtype:
        rounded = wanted == np.float64 and values.dtype in (np.float32, np.float16)
        return values.dtype if rounded or np.uint8 in (values.dtype, wanted) else wanted

    return cast(data, kind(data.x, train.x.dtype), kind(data.y, train.y.dtype))


def cast(data: Dataset, x_kind: np.dtype, y_kind: np.dtype) -> Dataset:
    """Convert data to given types.

    Args:
        data: the Dataset.
        x_kind: type of x.
        y_kind: type of y.

    Returns:
        The Dataset in these types.
    """
    return replace(data, x=_cast(data.x, x_kind), y=_cast(data.y, y_kind))


def _cast(values: Any, kind: np.dtype) -> Any:
    """The values in this type; the same array if they have it, also on a device."""
    if values.dtype == kind:
        return values
    values = np.asarray(values)
    made = memory.empty(values.shape, kind)
    for rows in memory.stretches(values):
        made[rows] = values[rows]
    return made


def parts(train: Dataset, validation: Dataset, test: Dataset, *, where: str = "") -> None:
    """Check that the parts of a data set belong together.

    Args:
        train: the training set; it must hold every class.
        validation: the validation set; only this one may be empty.
        test: the test set.
        where: the file, named in every message.

    Raises:
        InputError: where a part is empty, or shapes, types or classes differ.
    """
    at = f"{where}: " if where else ""
    for part, name in ((train, "training"), (test, "test")):
        if len(part) == 0:
            raise InputError(f"{at}the {name} set is empty; give it examples")
    for part, name in ((validation, "validation"), (test, "test")):
        if part.x.shape[1:] != train.x.shape[1:]:
            raise InputError(
                f"{at}a {name} example has shape {part.x.shape[1:]}, a training example "
                f"{train.x.shape[1:]}; give both the same"
            )
        if part.x.dtype != train.x.dtype:
            raise InputError(
                f"{at}{name} x is {part.x.dtype}, training x is {train.x.dtype}; give both the "
                "same type"
            )
        if part.y.dtype != train.y.dtype:
            raise InputError(
                f"{at}{name} y is {part.y.dtype}, training y is {train.y.dtype}; give both the "
                "same type"
            )
        if part.classes != train.classes:
            raise InputError(
                f"{at}the {name} set has classes {part.classes}, the training set "
                f"{train.classes}; give both the same"
            )
    for part, name in ((validation, "validation"), (test, "test")):
        if part.schema.target_names != train.schema.target_names:
            raise InputError(
                f"{at}the {name} set has the labels or values {part.schema.target_names}, the "
                f"training set {train.schema.target_names}; give both the same"
            )
    if train.targets is not None and (said := nothing_to_learn(train)) is not None:
        raise InputError(f"{at}{said}")
    if train.classes is None:
        return
    counts = np.bincount(np.asarray(train.y), minlength=len(train.classes))
    if len(train.classes) == 1:
        raise InputError(
            f"{at}all {counts[0]} training examples are of one class ({train.classes[0]!r}); "
            "there is nothing to tell apart. "
            "Give at least two classes"
        )
    if not counts.all():
        missing = int(np.flatnonzero(counts == 0)[0])
        raise InputError(
            f"{at}class {train.classes[missing]!r} (label {missing}) has no example in the "
            "training set. "
            f"Labels must be 0 to {len(train.classes) - 1} without a gap: give examples of it, or "
            "renumber the labels"
        )


def fractions(validation: float, test: float | None, seed: int) -> None:
    """Check the fractions and the seed of a split.

    Args:
        validation: fraction of the validation set, at least 0.
        test: fraction of the test set, above 0; None if there is none to hold out.
        seed: seed of the split, at least 0.

    Raises:
        InputError: for anything else, and where nothing is left to train on.
    """
    check_whole("the seed of the split", seed, 0)
    if not 0 <= check_number("validation", validation) < 1:
        raise InputError(
            f"validation is {validation}; give a fraction from 0 to below "
            f"1{_of_count('validation', validation)}"
        )
    if test is not None and not 0 < check_number("test", test) < 1:
        why = _of_count("test", test) or ": without a test set nothing can be judged"
        raise InputError(f"test is {test}; give a fraction between 0 and 1{why}")
    if validation + (test or 0) >= 1:
        raise InputError(
            f"validation {validation} and test {test} leave nothing to train on; their sum must "
            "be below 1"
        )


def _of_count(name: str, value: float) -> str:
    """The end of a message for a number of examples where a fraction was needed."""
    if not value >= 1:
        return ""
    share = f", for {value:g}% {name}={value / 100:g}" if value < 100 else ""
    return f": for {value:g} examples {name}={value:g}/len(x){share}"


def class_names(classes: Any) -> None:
    """Check the names of classes; None is allowed.

    Args:
        classes: what a user gave.

    Raises:
        InputError: for anything but distinct names.
    """
    if classes is None:
        return
    if not isinstance(classes, tuple | list | np.ndarray) or np.ndim(classes) != 1:
        raise InputError(
            f"classes is {shown(classes)}; give a name for each class, such as ('no', 'yes')"
        )
    names = list(map(str, classes))
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            f"classes has {twice[0]!r} more than once; give each class a name of its own"
        )


def task(labels: list[np.ndarray], wanted: str | None, where: str) -> tuple[str, str]:
    """Decide whether labels are classes or values.

    Text is classes, and numbers with decimal places are values. Whole numbers are classes if they
    are few, or if they count 0, 1, ... or 1, 2, ... without a gap and each has 10 examples on
    average; otherwise they are values.

    Args:
        labels: (examples,) labels of each part.
        wanted: the task that the user asked for, or None.
        where: the source, for messages.

    Returns:
        ("classification" or "regression", the reason in words).

    Raises:
        InputError: where the labels do not fit the task.
    """
    if wanted is not None:
        check_known("task", wanted, TASKS)
    text = [y.dtype.kind == "U" for y in labels]
    if any(text) and not all(text):
        raise InputError(
            f"{where}: some labels are text and some are not; give all of them as text, or all as "
            "numbers"
        )
    if all(text):
        if wanted == "regression":
            raise InputError(
                f"{where}: the labels are text, such as {str(labels[0].flat[0])!r}; a regression "
                "needs numbers; leave the task out"
            )
        return "classification", "the labels are text"
    values = np.unique(np.concatenate([y.ravel() for y in labels]))
    odd = values[~whole(values)]
    if len(odd) and wanted == "classification":
        raise InputError(
            f"{where}: labels such as {odd[0]} are no classes; give whole numbers or text"
        )
    if wanted is not None and not len(odd):
        return wanted, "that was asked for"
    return task_of_numbers(values, sum(map(len, labels)))


def as_task(y: np.ndarray, wanted: str, where: str) -> np.ndarray:
    """Labels in a type that means the task that was asked for: floats are values, others classes.

    Args:
        y: (examples,) labels.
        wanted: "classification" or "regression".
        where: what holds them, for messages.

    Returns:
        (examples,) labels.

    Raises:
        InputError: as `task` does.
    """
    if y.dtype.kind not in "biufU" or not len(y):
        return y  # refused by what reads them
    chosen, _ = task([y], wanted, where)
    if chosen == "regression":
        return y if y.dtype.kind == "f" else y.astype(np.float64)
    return y.astype(np.int64) if y.dtype.kind == "f" else y


def task_of_numbers(values: np.ndarray, examples: int) -> tuple[str, str]:
    """Decide the `task` of labels that are numbers.

    Args:
        values: (values,) the distinct labels in ascending order.
        examples: number of labels.

    Returns:
        ("classification" or "regression", the reason in words).
    """
    if not whole(values).all():
        return "regression", "the labels are numbers with decimal places"
    count = len(values)
    if count <= MAX_INTEGER_CLASSES:
        return (
            "classification",
            f"the labels are {count} different whole numbers; --task regression takes them as "
            "values",
        )
    if is_contiguous(values) and examples >= 10 * count:
        return (
            "classification",
            f"the labels count {values[0]:g} to {values[-1]:g}; --task regression takes them as "
            "values",
        )
    return (
        "regression",
        f"the labels are {count} different whole numbers; --task classification takes them as "
        "classes",
    )


def whole(values: np.ndarray) -> np.ndarray:
    """A mask of the whole numbers; infinity and NaN are not whole."""
    return (
        np.ones(len(values), bool)
        if values.dtype.kind in "biu"
        else np.isfinite(values) & (values == np.round(values))
    )


def is_contiguous(values: np.ndarray) -> bool:
    """Whether whole numbers, distinct and in ascending order, count from 0 or 1 without a gap."""
    return (
        len(values) > 0
        and values[0] in (0, 1)
        and int(values[-1]) - int(values[0]) == len(values) - 1
    )


def numbers_as_names(values: np.ndarray) -> tuple[str, ...]:
    """Names of classes whose labels are these whole numbers."""
    return tuple(str(int(value)) for value in values)


def label_notes(y: np.ndarray, classes: tuple[str, ...] | None) -> tuple[str, ...]:
    """Notes for the user on how numeric labels were understood.

    Args:
        y: (examples,) the labels.
        classes: the classes that `dataset` made of them; None for a regression.

    Returns:
        At most one note.
    """
    if (
        classes is None
        and y.ndim == 1
        and whole(y).all()
        and task_of_numbers(np.unique(y), len(y))[0] == "classification"
    ):
        return (
            f"task: regression, since y is {y.dtype}, although its values are few whole numbers; "
            "if they are classes, give y.astype(int)",
        )
    if (
        classes is not None
        and y.dtype.kind in "iu"
        and classes != numbers_as_names(np.arange(len(classes)))
    ):
        names = ", ".join(classes[:LISTED]) + ", ..." * (len(classes) > LISTED)
        return (
            f"task: classification, with the labels {names} as the classes 0 to {len(classes) - 1}",
        )
    return ()


def inputs(x: np.ndarray, at: str) -> np.ndarray:
    """Check the inputs of any examples, and return them unchanged.

    Args:
        x: (examples, features) or (examples, height, width[, channels]).
        at: the beginning of every message.

    Returns:
        The same array.

    Raises:
        InputError: for other shapes and types, and for values that are not finite in float32.
    """
    if x.dtype.kind not in "biuf":
        raise InputError(
            f"{at}x must hold numbers, but is of type {x.dtype}; encode text and categories as "
            "numbers"
        )
    if x.ndim < 2:
        raise InputError(
            f"{at}x must be (examples, features) or (examples, height, width[, channels]), but "
            f"has shape {x.shape}"
        )
    if x.size == 0:
        raise InputError(
            f"{at}x is empty: its shape is {x.shape}; give it examples, each with at least one "
            "number"
        )
    return arrays.within_float32(f"{at}x", x, cure=GAPS_CURE)


def _labels(
    y: np.ndarray, classes: tuple[str, ...] | None, at: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class indices and class names from whole numbers or text.

    Args:
        y: (examples,) labels.
        classes: names of the labels 0 to K - 1, or None.
        at: the beginning of every message.
    """
    if y.dtype.kind == "U" and classes is not None:
        raise InputError(
            f"{at}y is text, which names its own classes; leave classes out, or give integers"
        )
    if y.dtype.kind == "U":
        names, labels = np.unique(y, return_inverse=True)
        return labels.astype(np.int32), tuple(map(str, names))
    if y.dtype.kind not in "biu":
        raise InputError(
            f"{at}y must hold integers, text or floats, but is of type {y.dtype}; give "
            "y.astype(int), or (str) or (float)"
        )
    if classes is None:
        return _of_numbers(y, at)
    classes = tuple(map(str, classes))
    labels, count = y.astype(np.int64), len(classes)
    wrong = np.flatnonzero((labels < 0) | (labels >= count))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"{at}label {labels[row]} in row {row} is out of range: {count} classes are numbered "
            f"0 to {count - 1}; "
            "fix it, or remove the row"
        )
    return labels.astype(np.int32), classes


def _of_numbers(y: np.ndarray, at: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class indices and names from whole numbers that are few or count from 0 or 1; the names are
    the numbers.
    """
    values, labels = np.unique(y, return_inverse=True)
    if not is_contiguous(values) and len(values) > MAX_INTEGER_CLASSES:
        raise InputError(
            f"{at}y holds {len(values)} different whole numbers from {values[0]} to {values[-1]}, "
            "too many to be classes where they do not "
            "count from 0 or 1 without a gap; give y.astype(float) if they are values, or "
            "numpy.unique(y, return_inverse=True)[1] if they "
            "are classes"
        )
    return labels.astype(np.int32), numbers_as_names(values)

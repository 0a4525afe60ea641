"""Check arrays from outside: predictions, labels, losses and inputs become plain NumPy arrays.

A function that cannot use an array raises InputError, which names the value and its place. Nothing
here computes a statistic or knows a model. What an argument means decides which function checks it:

    array               anything without gaps, of whatever type
    numbers             real numbers, all of them finite unless infinity means something
    class_numbers       integers that name classes; `renumbered` counts the distinct ones from 0
    labels              one class number for each example, within the known classes if any are known
    log_probabilities   natural logarithms of probabilities that sum to 1 over the last axis; -inf
                        is a probability of 0
    scores              probabilities, logits or log-probabilities, of which only the order counts
    predictions         the predictions and labels that a loss takes
    losses              one number for each example, or whether it is predicted wrongly
    booleans            such as which member has seen which example

Everywhere `what` is the name of the argument in messages, and `axes` names the axes of a place, as
in "member 1, example 2".
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Num, Shaped

from jaxnet.errors import InputError
from jaxnet.typing import ArrayLike

ROW_AXES = ("row", "column")
EXAMPLE_AXES = ("example",)
MEMBER_AXES = ("member", "example")
SUM = 0.02  # how far sums of probabilities may be from 1; float16 rounds less than that
MAX_PLAIN_CLASSES = 1000  # classes whose numbers are taken as they are
NO_CLASS = -1  # the class of a prediction that is not a number
FLOAT32_MAX = np.finfo(np.float32).max
PIECE_NUMBERS = 1 << 20  # numbers that are counted at a time
CURE = "leave out those examples, or the members that diverged, or fill the gaps"


def array(what: str, given: ArrayLike, axes: Sequence[str] = ROW_AXES) -> Shaped[np.ndarray, "..."]:
    """The argument as a NumPy array.

    Args:
        what: name of the argument, for messages.
        given: anything that NumPy reads as an array; bfloat16 becomes float32.
        axes: names of the axes, for messages.

    Returns:
        The array, of any shape and type.

    Raises:
        InputError: for masked values, which are gaps, and for rows of different lengths.
    """
    no_gaps(what, given, axes)
    try:
        found = np.asarray(given)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{what} cannot be read as an array ({error}); give rows of equal length, all of them "
            "numbers"
        ) from None
    return found.astype(np.float32) if found.dtype.name == "bfloat16" else found


def with_plain_text(found: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Text in NumPy's own type, where it comes as objects, as a column of pandas does.

    Args:
        found: an array.

    Returns:
        An array of text where all objects are text; else the same array.
    """
    is_text = found.dtype == object and all(isinstance(each, str) for each in found.flat)
    return found.astype(str) if is_text and found.size else found


def no_gaps(what: str, given: object, axes: Sequence[str] = ROW_AXES) -> None:
    """Refuse masked values, whatever else an argument holds.

    Args:
        what: name of the argument, for messages.
        given: the argument, of any type.
        axes: names of the axes, for messages.

    Raises:
        InputError: where values are masked; it names the first one.
    """
    mask = _mask(given)
    if mask is not None and (count := int(mask.sum())):
        raise InputError(
            f"{what} has {count} masked value{'s' * (count > 1)}, the first in "
            f"{counted_spot(np.argwhere(mask)[0], axes)}; "
            "leave those examples out, or fill the gaps"
        )


def numbers(
    what: str, given: ArrayLike, axes: Sequence[str] = ROW_AXES, *, infinite: bool = False
) -> Num[np.ndarray, "..."]:
    """Real numbers in their own type; booleans become 0 and 1 in float32.

    Args:
        what: name of the argument, for messages.
        given: the numbers, of any shape.
        axes: names of the axes, for messages.
        infinite: whether infinity is allowed. NaN never is.

    Returns:
        The numbers.

    Raises:
        InputError: for other types, and for values that are not finite.
    """
    found = array(what, given, axes)
    _check_real(what, found)
    _refuse(
        what,
        found,
        _not_numbers(found, infinite=infinite),
        axes,
        "not numbers" if infinite else "not finite",
    )
    return found.astype(np.float32) if found.dtype == bool else found


def within_float32(
    what: str, given: ArrayLike, axes: Sequence[str] = ROW_AXES, *, cure: str = CURE
) -> Num[np.ndarray, "..."]:
    """Numbers that stay finite as float32; their own type is kept, but booleans become float32.

    Args:
        what: name of the argument, for messages.
        given: the numbers, of any shape.
        axes: names of the axes, for messages.
        cure: how to fix the numbers, for messages.

    Returns:
        The numbers.

    Raises:
        InputError: for other types, and for values that are not finite or beyond the largest
            float32. They are counted a piece at a time, since the numbers may nearly fill memory.
    """
    found = array(what, given, axes)
    _check_real(what, found)
    if found.dtype.kind == "f" and found.size:
        with np.errstate(invalid="ignore"):
            low, high = found.min(), found.max()
        if not (low >= -FLOAT32_MAX and high <= FLOAT32_MAX):  # also where they are NaN
            count, place = _count_beyond_float32(found)
            why = f"beyond {FLOAT32_MAX:.1e}, the largest float32"
            why = why if np.isfinite(found[place]) else "not finite"
            raise InputError(f"{_found(what, found, count, place, axes, why)}; {cure}")
    return found.astype(np.float32) if found.dtype == bool else found


def class_numbers(
    what: str, given: ArrayLike, axes: Sequence[str] = EXAMPLE_AXES
) -> Int[np.ndarray, "..."]:
    """Integers of any value that name classes; booleans become 0 and 1.

    Args:
        what: name of the argument, for messages.
        given: the integers, of any shape.
        axes: names of the axes, for messages.

    Returns:
        The integers, in a type that can be negative where they were booleans or uint64.

    Raises:
        InputError: for other types.
    """
    found = array(what, given, axes)
    if found.dtype.kind == "f":
        _refuse(what, found, _not_numbers(found), axes, "not finite")
    if found.dtype.kind not in "biu":
        raise InputError(
            f"{what} are {found.dtype}; give class numbers as integers, such as the codes of "
            "np.unique(..., return_inverse=True)"
        )
    return found.astype(np.int64) if found.dtype.kind == "b" or found.dtype == np.uint64 else found


def labels(
    what: str, given: ArrayLike, examples: int, classes: int | None = None
) -> Int[np.ndarray, " examples"]:
    """One class number for each example.

    Args:
        what: name of the argument, for messages.
        given: (examples,) integers.
        examples: how many examples there are.
        classes: how many classes there are; None if that is not known.

    Returns:
        (examples,) class numbers.

    Raises:
        InputError: for another shape or type, and for numbers outside of 0 to classes - 1.
    """
    found = array(what, given, EXAMPLE_AXES)
    if found.shape != (examples,):
        one_hot = found.ndim == 2 and found.shape[1] > 1 and len(found) == examples
        cure = "; for one-hot labels pass y.argmax(1)" if one_hot else "; give one for each example"
        raise InputError(
            f"{what} have shape {found.shape} for {examples} examples: {(examples,)} is "
            f"needed{cure}"
        )
    found = class_numbers(what, found)
    if classes is not None and found.size and (found.min() < 0 or found.max() >= classes):
        row = int(np.flatnonzero((found < 0) | (found >= classes))[0])
        raise InputError(
            f"{what} range from {found.min()} to {found.max()}, the first wrong one {found[row]} "
            f"of example {row}; "
            f"give class numbers from 0 below {classes}"
        )
    return found


def log_probabilities(
    what: str,
    given: ArrayLike,
    axes: Sequence[str] = EXAMPLE_AXES,
    *,
    seen: Bool[np.ndarray, "members examples"] | None = None,
) -> Float[np.ndarray, "... classes"]:
    """Natural logarithms of probabilities over classes.

    Args:
        what: name of the argument, for messages.
        given: (..., classes) floats.
        axes: names of all axes but the last one.
        seen: (members, examples) predictions that are not checked; they may hold anything. None
            checks all.

    Returns:
        The log-probabilities.

    Raises:
        InputError: for another shape or type, and where probabilities do not sum to 1.
    """
    found = array(what, given, (*axes, "class"))
    if found.dtype.kind != "f" or found.ndim != len(axes) + 1 or 0 in found.shape:
        wanted = ", ".join(f"{axis}s" for axis in axes)
        raise InputError(
            f"{what} have shape {found.shape} and type {found.dtype}; give log-probabilities, "
            f"floats ({wanted}, classes)"
        )
    for place in np.ndindex(
        found.shape[: found.ndim - 2]
    ):  # a member at a time, since all together may not fit in memory
        check_sums(what, found[place], axes, place, None if seen is None else seen[place])
    return found


def check_sums(
    what: str,
    log_p: Float[np.ndarray, "examples classes"],
    axes: Sequence[str] = EXAMPLE_AXES,
    place: tuple[int, ...] = (),
    left_out: Bool[np.ndarray, " examples"] | None = None,
) -> None:
    """Refuse examples whose probabilities do not sum to 1, within SUM.

    Args:
        what: name of the argument, for messages.
        log_p: (examples, classes) log-probabilities.
        axes: names of all axes but the last one, for messages.
        place: indices of this table along the axes before the examples.
        left_out: (examples,) those that are not checked. None checks all.

    Raises:
        InputError: where a sum is not 1; it names the first example.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.exp(log_p.astype(np.float32)).sum(1)
    wrong = ~(np.abs(total - 1) <= SUM)
    if left_out is not None:
        wrong &= ~left_out
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        cure = "give log-probabilities, as log_softmax makes them"
        if np.isnan(log_p[row]).any():
            cure = "leave out that example, or the members that diverged"
        raise InputError(
            f"{what}: the probabilities of {spot((*place, row), axes)} add up to "
            f"{total[row]:.4g}; {cure}"
        )


def scores(
    what: str, given: ArrayLike, axes: Sequence[str] = EXAMPLE_AXES
) -> Float[np.ndarray, "... classes"]:
    """Scores of classes, whose largest one marks the predicted class.

    Args:
        what: name of the argument, for messages.
        given: (..., classes) floats; -inf marks a class that is impossible.
        axes: names of all axes but the last one.

    Returns:
        The scores.

    Raises:
        InputError: for NaN, for inf, and where no class is possible.
    """
    found = array(what, given, axes)
    if found.dtype.kind != "f" or found.ndim < 1 or 0 in found.shape:
        raise InputError(
            f"{what} have shape {found.shape} and type {found.dtype}; give floats, (..., classes)"
        )
    bad = np.isnan(found) | (found == np.inf)
    bad[~np.isfinite(found).any(-1)] = True  # not even one class is possible
    _refuse(what, found, bad, axes, "no score of a class")
    return found


def predictions(
    given: ArrayLike,
    labels_: ArrayLike,
    *,
    loss: str,
    axes: Sequence[str] = MEMBER_AXES,
    seen: Bool[np.ndarray, "members examples"] | None = None,
) -> tuple[Num[np.ndarray, "..."], Num[np.ndarray, "examples ..."]]:
    """Predictions and labels as a loss takes them.

    Args:
        given: values for "squared", log-probabilities for "cross_entropy" and "brier", and either
            class numbers or log-probabilities for the zero-one losses; the examples are the last
            one of the axes, and classes come after them.
        labels_: (examples,) values or class numbers; (examples, columns) where each example has
            several values, or several labels of 0 and 1, for "squared" and
            "zero_one_kohavi_wolpert". Predictions then have these columns, too.
        loss: name of the loss.
        axes: names of the axes.
        seen: (members, examples) predictions that are not checked; they may hold anything. None
            checks all.

    Returns:
        (predictions, labels). Class numbers are `renumbered`.

    Raises:
        InputError: for shapes, types and values that do not fit the loss.
    """
    f = array("predictions", given, axes)
    if loss in ("squared", "zero_one_kohavi_wolpert") and _axes(labels_) == 2:
        return _several(f, array("labels", labels_), axes, loss, seen)
    of_values, either = loss == "squared", loss.startswith("zero_one")
    wanted = len(axes) + (f.ndim > len(axes) if either else not of_values)
    if f.ndim != wanted or 0 in f.shape:
        form = (
            "values"
            if of_values
            else "class numbers or log-probabilities"
            if either
            else "log-probabilities"
        )
        shape = ", ".join(f"{axis}s" for axis in axes) + (
            "[, classes]" if either else ", classes" if not of_values else ""
        )
        raise InputError(
            f"predictions have shape {f.shape}; {loss} takes {form}, ({shape}), and none of these "
            "may be 0"
        )
    examples = f.shape[len(axes) - 1]
    if of_values:
        f = numbers(
            "predictions",
            f if seen is None or f.dtype.kind != "f" else np.where(seen, f.dtype.type(0), f),
            axes,
        )
        y = numbers("labels", labels_, EXAMPLE_AXES)
        if y.shape != (examples,):
            raise InputError(
                f"labels have shape {y.shape} for {examples} examples; give one value for each: "
                f"{(examples,)}"
            )
        return f, y
    if wanted == len(axes):
        f, y = class_numbers("predictions", f, axes), labels("labels", labels_, examples)
        (f, y), _ = renumbered(f, y)
        return f, y
    f = log_probabilities("predictions", f, axes, seen=seen)
    if seen is not None:
        f = np.where(seen[..., None], f.dtype.type(-np.log(f.shape[-1])), f)
    return f, labels("labels", labels_, examples, f.shape[-1])


def _axes(given: ArrayLike) -> int:
    """The number of axes; 1 for lists of different lengths, which are refused with the labels."""
    try:
        return np.ndim(given)
    except ValueError:
        return 1


def _several(
    f: np.ndarray,
    y: np.ndarray,
    axes: Sequence[str],
    loss: str,
    seen: Bool[np.ndarray, "members examples"] | None,
) -> tuple[Num[np.ndarray, "..."], Num[np.ndarray, "examples columns"]]:
    """`predictions` of several values or several yes/no labels of each example."""
    wanted, columns = len(axes) + 1, y.shape[1]
    if f.ndim != wanted or f.shape[-2:] != y.shape or 0 in f.shape:
        raise InputError(
            f"predictions have shape {f.shape} for labels {y.shape}; give "
            f"({', '.join(f'{axis}s' for axis in axes)}, {columns})"
        )
    if seen is not None:
        f = np.where(seen[..., None], f.dtype.type(0), f)
    f, y = numbers("predictions", f, (*axes, "column")), numbers("labels", y)
    if loss != "squared" and not (np.isin(f, (0, 1)).all() and np.isin(y, (0, 1)).all()):
        raise InputError(f"{loss} of several labels takes 0 and 1; give answers, not values")
    return f, y


def losses(
    what: str, given: ArrayLike, axes: Sequence[str] = MEMBER_AXES
) -> Shaped[np.ndarray, "..."]:
    """Losses, or whether predictions are wrong, for each member and example.

    Values that are not finite are allowed: whoever takes their mean reports that there is none.

    Args:
        what: name of the argument, for messages.
        given: numbers or booleans with these axes.
        axes: names of the axes.

    Returns:
        The losses.

    Raises:
        InputError: for another number of axes, another type, or an empty array.
    """
    found = array(what, given, axes)
    if found.dtype.kind not in "biuf" or found.ndim != len(axes) or not found.size:
        wanted = ", ".join(f"{axis}s" for axis in axes)
        raise InputError(
            f"{what} have shape {found.shape} and type {found.dtype}; give numbers or booleans: "
            f"({wanted}), not empty"
        )
    return found


def booleans(what: str, given: ArrayLike, shape: tuple[int, ...]) -> Bool[np.ndarray, "..."]:
    """An array of booleans of a given shape.

    Args:
        what: name of the argument, for messages.
        given: the booleans.
        shape: the shape that is needed.

    Returns:
        The booleans.

    Raises:
        InputError: for another shape or type.
    """
    found = array(what, given, MEMBER_AXES)
    if found.shape != shape or found.dtype != bool:
        raise InputError(
            f"{what} has shape {found.shape} and type {found.dtype}; give booleans for each "
            f"member and example: {shape}"
        )
    return found


def renumbered(*arrays: Int[np.ndarray, "..."]) -> tuple[list[Int[np.ndarray, "..."]], int]:
    """Renumber the classes of arrays from 0, in ascending order.

    Numbers from 0 to below MAX_PLAIN_CLASSES stay as they are. For any others, memory grows with
    how many distinct numbers there are and not with the largest one.

    Args:
        *arrays: class numbers, of any shapes.

    Returns:
        (the renumbered arrays, the number of classes).
    """
    low, high = min(int(each.min()) for each in arrays), max(int(each.max()) for each in arrays)
    if low >= 0 and high < MAX_PLAIN_CLASSES:
        return list(arrays), high + 1
    names = np.unique(
        np.concatenate(
            [np.unique(part) for each in arrays for part in each.reshape(-1, each.shape[-1])]
        )
    )
    return [np.searchsorted(names, each) for each in arrays], len(names)


def chosen(log_p: Float[np.ndarray, "... classes"]) -> Int[np.ndarray, "..."]:
    """The most probable class of each example.

    Args:
        log_p: (..., classes) log-probabilities.

    Returns:
        (...) class numbers; NO_CLASS, which is no label, where a log-probability is NaN.
    """
    return np.where(np.isnan(log_p).any(-1), NO_CLASS, log_p.argmax(-1))


def wrong(
    predictions: Num[np.ndarray, "..."], labels: Int[np.ndarray, "..."]
) -> Bool[np.ndarray, "..."]:
    """Whether each prediction is wrong, as is one that is not a number.

    Args:
        predictions: class numbers (..., examples), or log-probabilities (..., examples, classes).
        labels: class numbers (examples,).

    Returns:
        (..., examples).
    """
    return (chosen(predictions) if predictions.dtype.kind == "f" else predictions) != labels


def spot(place: Sequence[int] | np.ndarray, axes: Sequence[str] = ROW_AXES) -> str:
    """A place in words, such as "member 1, example 2".

    Args:
        place: indices along the axes.
        axes: names of the axes; further indices are listed after the last one.

    Returns:
        The words.
    """
    named = [f"{axis} {index}" for axis, index in zip(axes, place, strict=False)]
    return ", ".join([*named, *(str(index) for index in place[len(axes) :])]) or "its only place"


def counted_spot(place: Sequence[int] | np.ndarray, axes: Sequence[str] = ROW_AXES) -> str:
    """A place in words that say how it is counted, such as "row 1, column 2 (counted from 0)".

    Args:
        place: as in `spot`.
        axes: as in `spot`.

    Returns:
        The words.
    """
    return spot(place, axes) + " (counted from 0)" * bool(len(place))


def _check_real(what: str, found: np.ndarray) -> None:
    if found.dtype.kind not in "biuf":
        raise InputError(
            f"{what} must hold numbers, but is of type {found.dtype}; encode text, dates and "
            "categories as numbers"
        )


def _count_beyond_float32(values: np.ndarray) -> tuple[int, tuple[int, ...]]:
    """(how many values are not finite as float32, the place of the first one)."""
    count, first = 0, None
    rows = max(1, PIECE_NUMBERS * len(values) // values.size) if values.ndim else 1
    for begin in range(0, len(values) if values.ndim else 1, rows):
        piece = values[begin : begin + rows] if values.ndim else values
        bad = ~(np.abs(piece) <= FLOAT32_MAX)
        count += int(np.count_nonzero(bad))
        if first is None and bad.any():
            place = np.argwhere(bad)[0].tolist()
            first = (begin + place[0], *place[1:]) if place else ()
    return count, first or ()


def _refuse(
    what: str,
    values: np.ndarray,
    bad: Bool[np.ndarray, "..."] | None,
    axes: Sequence[str],
    why: str,
) -> None:
    if bad is not None and bad.any():
        place = tuple(np.argwhere(bad)[0].tolist())
        found = _found(what, values, int(bad.sum()), place, axes, why)
        raise InputError(f"{found}; {CURE}")


def _found(
    what: str, values: np.ndarray, count: int, place: tuple[int, ...], axes: Sequence[str], why: str
) -> str:
    many = f"{count} values that are" if count > 1 else "1 value that is"
    return f"{what} has {many} {why}, the first ({values[place]}) in {counted_spot(place, axes)}"


def _not_numbers(values: np.ndarray, *, infinite: bool = False) -> Bool[np.ndarray, "..."] | None:
    """A mask of the values that are NaN or not finite; None if there are none. The extremes are
    checked first, which takes no memory.
    """
    if values.dtype.kind != "f" or not values.size:
        return None
    with np.errstate(invalid="ignore"):
        extremes = np.array([values.min(), values.max()])  # NaN, if there is one
    good = ~np.isnan(extremes) if infinite else np.isfinite(extremes)
    return None if good.all() else np.isnan(values) if infinite else ~np.isfinite(values)


def _mask(given: object) -> Bool[np.ndarray, "..."] | None:
    """The mask of a masked array or of nested sequences of them; None without a mask."""
    if isinstance(given, np.ma.MaskedArray):
        return np.ma.getmaskarray(given)
    if not isinstance(given, list | tuple):
        return None
    masks = [_mask(each) for each in given]
    if all(mask is None for mask in masks):
        return None
    try:
        return np.stack(
            [
                np.zeros(np.shape(each), bool) if mask is None else mask
                for each, mask in zip(given, masks, strict=True)
            ]
        )
    except ValueError:  # `array` refuses the different lengths
        return None

"""Tokens: inputs that are whole numbers from 0, such as the numbers of words or of items. They stay
integers, and nothing standardizes them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from jaxnet import arrays
from jaxnet.data.dataset import Dataset, Splits
from jaxnet.errors import InputError, check_known, check_whole
from jaxnet.typing import Frame

Inputs = Literal["numbers", "tokens"]
INPUTS = ("numbers", "tokens")
LARGEST_ID = 2**31 - 1


def check(inputs: object, pad: object = None) -> bool:
    """Check what inputs are said to be.

    Args:
        inputs: "numbers" or "tokens".
        pad: the id that fills up sequences, or None.

    Returns:
        Whether they are tokens.

    Raises:
        InputError: for another word, and for a pad that is no id.
    """
    check_known("kind of inputs", inputs, INPUTS)
    if pad is None:
        return inputs == "tokens"
    check_whole("pad", pad, 0, most=LARGEST_ID)
    if inputs != "tokens":
        raise InputError(
            f"pad is {pad}, but inputs are numbers; give inputs='tokens' (--inputs tokens), or "
            "leave pad out"
        )
    return True


def ids(
    what: str, x: Any, pad: int | None = None, length: int | None = None
) -> Int[np.ndarray, "examples ..."]:
    """Tokens as int32, checked.

    Args:
        what: name of the argument, for messages.
        x: (examples, ...) whole numbers from 0, also as floats; where there is a pad, sequences of
            different lengths, too.
        pad: the id with which sequences are filled up; None where all have one length.
        length: the length to which they are filled up; by default that of the longest.

    Returns:
        (examples, ...) int32.

    Raises:
        InputError: for what is no whole number from 0, and for sequences that are empty, too long
            or, without a pad, of different lengths.
    """
    if pad is not None and (not _is_array(x) or (length is not None and np.ndim(x) == 2)):
        x = padded(what, x, pad, length)
    elif not _is_array(x) and _is_ragged(x):
        raise InputError(
            f"{what} has sequences of different lengths; give pad=0 to fill up the shorter ones "
            "with the id 0, which then stands for nothing else"
        )
    found = arrays.array(what, x)
    _check(what, found)
    return found.astype(np.int32, copy=False)


def padded(what: str, sequences: Iterable[Any], pad: int, length: int | None = None) -> np.ndarray:
    """Sequences of one length, with the id `pad` at the end of those that are shorter.

    Args:
        what: name of the argument, for messages.
        sequences: the ids of each example.
        pad: the id.
        length: the length; by default that of the longest sequence.

    Returns:
        (examples, length) numbers.

    Raises:
        InputError: for what is no sequence, and for empty and too long ones.
    """
    rows = [np.asarray(each) for each in sequences]
    for number, row in enumerate(rows):
        if row.ndim != 1 or row.dtype.kind not in "biuf":
            raise InputError(
                f"{what}[{number}] has shape {row.shape} and type {row.dtype}; give a sequence of "
                "whole numbers for each example"
            )
        if not row.size:
            raise InputError(f"{what}[{number}] is empty; leave that example out")
    sizes = np.array([len(row) for row in rows], int)
    longest = int(sizes.max(initial=0)) if length is None else length
    if (over := np.flatnonzero(sizes > longest)).size:
        raise InputError(
            f"{what}[{over[0]}] has {sizes[over[0]]} tokens, but the network was trained on "
            f"sequences of at most {longest}; cut it, or train on longer ones"
        )
    kind = np.result_type(np.int32, *{row.dtype for row in rows})
    found = np.full((len(rows), longest), pad, kind)
    found[np.arange(longest) < sizes[:, None]] = np.concatenate(rows) if rows else ()
    return found


def as_tokens(data: Dataset, pad: int | None) -> Dataset:
    """The data with a schema that says that their inputs are tokens.

    Args:
        data: examples whose inputs are what `ids` returns.
        pad: the id with which sequences were filled up, if they were.

    Returns:
        The Dataset.
    """
    schema = replace(data.schema, pixel_max=None, pad=pad, vocabulary=size_of(np.asarray(data.x)))
    return replace(data, schema=schema)


def size_of(x: np.ndarray) -> int:
    """One more than the largest id."""
    return int(x.max(initial=0)) + 1


def of_training(train: Dataset, *parts: Dataset) -> tuple[Dataset, ...]:
    """Parts of a data set whose schemas say which ids the training set has; unchanged where inputs
    are numbers.

    Args:
        train: the training set.
        *parts: the other parts.

    Returns:
        (the training set, the other parts).
    """
    if train.vocabulary is None:
        return (train, *parts)
    size = size_of(np.asarray(train.x))
    return tuple(
        replace(part, schema=replace(part.schema, vocabulary=size, pad=train.pad))
        for part in (train, *parts)
    )


def vocabulary_of(splits: Splits) -> int | None:
    """How many ids, from 0, the parts of a data set hold together; None where inputs are numbers.

    Args:
        splits: the data.
    """
    if splits.train.vocabulary is None:
        return None
    held_out = (size_of(np.asarray(part.x)) for part in (splits.validation, splits.test))
    return max(splits.train.vocabulary, *held_out)


def notes_on(x: Any, found: np.ndarray, pad: int | None) -> tuple[str, ...]:
    """What was done with tokens.

    Args:
        x: the inputs as they were given.
        found: (examples, ...) what `ids` made of them.
        pad: the id with which sequences were filled up, if they were.

    Returns:
        One note, and another where the id of the filling has a second meaning.
    """
    said = (f"inputs: tokens, with ids up to {int(found.max(initial=0)):,}",)
    if pad is None or _is_array(x):
        return said
    sizes = [len(each) for each in x]
    own = sum(pad in each for each in x)
    if min(sizes) < max(sizes):
        said += (
            f"sequences of {min(sizes):,} to {max(sizes):,} tokens are filled up with the id {pad}",
        )
    if own:
        said += (
            f"{own:,} sequences hold the id {pad} themselves, which also fills them up: a network "
            "cannot tell the two apart; give a pad that is no token",
        )
    return said


def check_known_ids(x: np.ndarray, limit: int, where: str, cure: str) -> None:
    """Refuse ids that a network does not know.

    Args:
        x: (examples, ...) ids.
        limit: how many ids it knows.
        where: what the ids are and how many of them there are, for the message.
        cure: what to do about it.

    Raises:
        InputError: it names the first such id and its place.
    """
    if not x.size or int(x.max()) < limit:
        return
    place = np.argwhere(x >= limit)[0]
    raise InputError(f"{where} {int(x[tuple(place)])} in {arrays.counted_spot(place)}, but {cure}")


def refused_rows(x: np.ndarray, limit: int) -> dict[int, str]:
    """Why rows hold no ids that a network knows, by their number from 0.

    Args:
        x: (rows, ...) numbers.
        limit: how many ids it knows.
    """
    with np.errstate(invalid="ignore"):
        bad = no_ids(x) | (x >= limit)
    first: dict[int, str] = {}
    for place in map(tuple, np.argwhere(bad).tolist()):
        spot = arrays.counted_spot(place)
        first.setdefault(
            place[0], f"{x[place]:g} in {spot} is no id that the network knows: 0 to {limit - 1:,}"
        )
    return first


def _is_array(x: object) -> bool:
    """Whether inputs are numbers of one shape, and no list of sequences."""
    if isinstance(x, Frame):
        return True
    if isinstance(x, list | tuple):
        return False
    kind = getattr(getattr(x, "dtype", None), "kind", "")
    return kind != "O" or len(getattr(x, "shape", ())) != 1


def _is_ragged(x: Sequence[Any] | Any) -> bool:
    return len({np.shape(each)[:1] for each in x}) > 1


def no_ids(values: np.ndarray) -> np.ndarray:
    """A mask of the numbers that are no whole numbers from 0 to LARGEST_ID."""
    with np.errstate(invalid="ignore"):
        return ~((values >= 0) & (values <= LARGEST_ID) & (values == np.floor(values)))


def _check(what: str, found: np.ndarray) -> None:
    """Raise InputError for what is no whole number from 0 to LARGEST_ID."""
    if found.dtype.kind not in "biuf":
        raise InputError(
            f"{what} is of type {found.dtype}, but tokens are whole numbers; give each word or "
            "item a number, such as numpy.unique(x, return_inverse=True)[1]"
        )
    if found.dtype.kind in "iu" and found.size and 0 <= found.min() <= found.max() <= LARGEST_ID:
        return
    if (bad := no_ids(found)).any():
        place = tuple(np.argwhere(bad)[0].tolist())
        raise InputError(
            f"{what} has {found[place]} in {arrays.counted_spot(place)}, but tokens are whole "
            f"numbers from 0 to {LARGEST_ID:,}; number them anew, or leave inputs='tokens' out"
        )

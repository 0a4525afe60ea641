"""Which columns are identifiers, and which of them tells what rows belong together."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxnet.data.tables import dates, numbers
from jaxnet.data.tables.cells import functions

if TYPE_CHECKING:
    import pyarrow as pa

MOST_CATEGORIES = 100  # of a column that become inputs without being asked for
FEW_VALUES = 20  # so many different values never look like an identifier by their number alone
ROWS_A_VALUE = 10  # an identifier has fewer
ROWS_A_CATEGORY = 5  # fewer are no category of their own
MOST_GAPS = 0.05  # share of rows without a value where a column is taken for groups
LARGEST_GROUP = 0.5  # share of the rows; a larger one, such as "unknown", is not one thing

BETWEEN = r"[\W_]*"
THINGS = (
    "patient|subject|participant|respondent|proband|person|customer|client|user|student|pupil|"
    "employee|donor|speaker|animal|household"
)
# index, row_id, Unnamed: 0
NAME_OF_ROWS = re.compile(
    rf"idx|index|level_\d+|row{BETWEEN}(?:id|idx|index|names?|no|nr|num|number)|unnamed: ?\d+",
    re.IGNORECASE,
)
# old_index: only where its numbers ascend
NAME_OF_PLACES = re.compile(r".*[\W_](?:idx|index)", re.IGNORECASE)
# customer_id, "row id", uid, customerID
NAME_OF_THINGS = re.compile(r"(?:.*[\W_])?(?i:id|ids|uid|uuid|guid)|.*[a-z]I[dD]")
# patient_id, id_patient: even if its values are few
ID_OF_A_THING = re.compile(
    rf"(?:{THINGS}){BETWEEN}(?:id|ids|uid|uuid|guid)|id{BETWEEN}(?:{THINGS})", re.IGNORECASE
)
# patient, "Patient No.", id_order: only if its values are many, since a student may be a yes or no
NAME_OF_MANY = re.compile(
    rf"(?:{THINGS})(?:{BETWEEN}(?:no|nr|num|number|code|key|idx|index))?{BETWEEN}|id[\W_].+",
    re.IGNORECASE,
)
NAME_OF_POSTAL_CODES = re.compile(
    rf"(?:.*[\W_])?(?:zip|plz|postleitzahl|postal|postcode|(?:zip|post|postal){BETWEEN}code)s?",
    re.IGNORECASE,
)
# P0042, patient-17
FORM = re.compile(r"([^\W\d_]+[-_ #./]?)\d+")
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
# W07, "Week 7": places in time, in an order, or a version
NOT_THINGS = re.compile(
    r"(?:[hdwmqytv]|hour|day|wk|kw|week|month|quarter|qtr|year|time|period|level|lvl|grade|size|"
    rf"step|stage|version|ver|top|page|floor){BETWEEN}",
    re.IGNORECASE,
)
DIGITS = re.compile(r"[-+]?\d+")


class Identifier(NamedTuple):
    """A column that tells rows apart, or the things that rows belong to.

    Attributes:
        why: the reason in words.
        values: the number of its different values.
        rows: the number of rows that have one.
        largest: the number of rows with the most frequent value.
        of_things: whether name or form say that its values stand for things, such as patients;
            counts alone do not say it.
    """

    why: str
    values: int
    rows: int
    largest: int
    of_things: bool


def identifier(name: str, values: "pa.ChunkedArray", decimal: str) -> Identifier | None:
    """Whether a column is an identifier.

    Text is one where it has more than 20 values and fewer than 10 rows a value; numbers are only
    where they number the rows, or where the name of the column says so too.

    Args:
        name: name of the column.
        values: its cells.
        decimal: the decimal sign of the table.

    Returns:
        The Identifier; None where the column may become inputs.
    """
    import pyarrow as pa

    name = name.strip()
    text, whole = pa.types.is_string(values.type), pa.types.is_integer(values.type)
    by_name = any(p.fullmatch(name) for p in (NAME_OF_ROWS, NAME_OF_THINGS, ID_OF_A_THING))
    of_many = bool(NAME_OF_MANY.fullmatch(name))
    if (by_name or of_many) and pa.types.is_floating(values.type):
        whole = _are_whole(values)  # as pandas writes whole numbers beside gaps
    rows = len(values) - values.null_count
    if not (text or whole) or not rows:
        return None
    if whole and not by_name and not of_many:
        if _number_the_rows(values) or (NAME_OF_PLACES.fullmatch(name) and _ascend(values)):
            return Identifier(_why(rows, len(values)), rows, rows, 1, of_things=False)
        return None
    count = len(values.unique()) - (values.null_count > 0)
    by_name = by_name or (of_many and count > FEW_VALUES)
    few = count <= FEW_VALUES and rows >= ROWS_A_VALUE * count
    if few and not (ID_OF_A_THING.fullmatch(name) and count > 1):
        return None
    if by_name:
        of_things = NAME_OF_ROWS.fullmatch(name) is None
        largest = int(_counts(values).max()) if of_things else 0
        return Identifier(_why(count, len(values)), count, rows, largest, of_things)
    return _by_counts(name, values, decimal, count) if text else None


def _by_counts(name: str, values: "pa.ChunkedArray", decimal: str, count: int) -> Identifier | None:
    """Whether text is an identifier, or has too many categories, by the number of its values."""
    rows = len(values) - values.null_count
    many = count > FEW_VALUES and rows < ROWS_A_VALUE * count
    if not many and count <= MOST_CATEGORIES:
        return None
    texts = values.unique().drop_null().to_pylist()
    if is_measured(texts, decimal):
        return None
    if NAME_OF_POSTAL_CODES.fullmatch(name):  # a place, and no one thing
        many, count = False, int((_counts(values) >= ROWS_A_CATEGORY).sum())
        if count <= MOST_CATEGORIES:
            return None
    if not many:
        why = (
            f"it has {count:,} categories, more than {MOST_CATEGORIES}; --types "
            f"{name}=category takes them all"
        )
        return Identifier(why, count, rows, 0, of_things=False)
    of_things = have_form(texts)
    largest = int(_counts(values).max()) if of_things else 0
    return Identifier(_why(count, len(values)), count, rows, largest, of_things)


def have_form(texts: list[str]) -> bool:
    """Whether texts have the form of identifiers: the same letters and a number, such as P0042 and
    patient-17, or UUIDs. Weeks, levels and the like have not.

    Args:
        texts: the different texts of one column.

    Returns:
        Whether all of them have it.
    """
    if all(map(UUID.fullmatch, texts)):
        return True
    found = [FORM.fullmatch(text) for text in texts]
    letters = {match[1].lower() for match in found if match}
    return all(found) and len(letters) == 1 and not NOT_THINGS.fullmatch(letters.pop())


def grouping(
    identifiers: Mapping[str, Identifier],
    rows: int,
    parts: int,
    refused: Callable[[str], str | None],
) -> tuple[str | None, tuple[str, ...]]:
    """Choose the identifier whose rows are kept together.

    Args:
        identifiers: those of a table, by name.
        rows: number of rows of the table.
        parts: number of parts that the rows are divided into.
        refused: why rows cannot be kept together by a column; None where they can.

    Returns:
        (the name of the one with most values, of those that repeat and that can be divided; None
        where there is none, notes on why).
    """
    repeat = {
        name: each for name, each in identifiers.items() if each.of_things and each.largest > 1
    }
    notes = []
    for name in sorted(repeat, key=lambda name: -repeat[name].values):
        each = repeat[name]
        if (why := _why_not(each, rows, parts) or refused(name)) is None:
            others = [other for other in repeat if other != name]
            more = f"; {', '.join(map(repr, others))} would be another choice" if others else ""
            return name, (
                *notes,
                f"groups: {name!r} has {each.values:,} different values in {each.rows:,} rows, and "
                "all rows with the same value are put in the same part (--groups none splits row "
                f"by row){more}",
            )
        notes.append(
            f"{name!r} repeats, but the rows are not grouped by it, since {why}: rows with the "
            "same value may be in the training set and in the test set, so the errors may be too "
            "low for new ones"
        )
    return None, tuple(notes)


def _why_not(each: Identifier, rows: int, parts: int) -> str | None:
    """Why rows cannot be kept together by an identifier; None where they can."""
    gaps = rows - each.rows
    if each.values < parts:
        return f"{each.values} different values are too few for {parts} parts"
    if gaps > MOST_GAPS * rows:
        return f"{gaps:,} of {rows:,} rows have none"
    if each.largest > LARGEST_GROUP * each.rows:
        return f"{each.largest:,} of {each.rows:,} rows have the same value"
    return None


def _why(count: int, rows: int) -> str:
    return f"looks like an identifier: {count:,} values in {rows:,} rows"


def _counts(values: "pa.ChunkedArray") -> np.ndarray:
    """The number of rows with each value."""
    return values.drop_null().combine_chunks().value_counts().field("counts").to_numpy()


def _are_whole(values: "pa.ChunkedArray") -> bool:
    compute = functions()
    whole = compute.equal(values, compute.round(values))
    return bool(compute.all(whole).as_py())  # without gaps; None where there is nothing else


def _ascend(values: "pa.ChunkedArray") -> bool:
    """Whether each number is larger than the one before."""
    return not values.null_count and bool((np.diff(values.to_numpy()) > 0).all())


def _number_the_rows(values: "pa.ChunkedArray") -> bool:
    """Whether whole numbers are 0, 1, 2, ... or 1, 2, 3, ..., each once."""
    compute = functions()
    ends = compute.min_max(values).as_py()
    spread = ends["max"] - ends["min"] + 1
    return (
        ends["min"] in (0, 1)
        and spread == len(values)
        and compute.count_distinct(values).as_py() == len(values)
    )


def is_measured(texts: list[str], decimal: str) -> bool:
    """Whether texts are numbers or dates, as far as they can be read, or most of them are."""
    if are_codes(texts):
        return False
    if numbers.numbers_of(texts, decimal) or numbers.are_numbers(texts).mean() >= 0.5:
        return True
    try:
        return dates.dates_of(texts, None) is not None
    except dates.UncertainOrder:
        return True


def are_codes(texts: Iterable[str]) -> bool:
    """Whether texts are codes of digits.

    Args:
        texts: different texts of one column. Plain whole numbers are no text, so digits are one
            only with zeros in front, or beyond 2^53.

    Returns:
        Whether all of them are digits.
    """
    return all(map(DIGITS.fullmatch, texts))

"""From text to dates, and from dates to numbers.

`jaxnet.export` copies this file into the folder of a network, so it needs NumPy alone.
"""

import datetime
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxnet.data.schema import Dates

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
TIME = r"(?:[T ,]\s*(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?\s*([AaPp][Mm])?Z?)?"
YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})(?:\2(\d{{1,2}}))?{TIME}")
YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}|\d{{2}}){TIME}")
MONTH_YEAR = re.compile(r"(\d{1,2})[-/.](\d{4})()()()()")
NAMED = re.compile(rf"(\d{{1,2}})[- .]+([A-Za-z]{{3}})[a-z]*\.?[-, ]+(\d{{4}}|\d{{2}}){TIME}")
NAMED_FIRST = re.compile(rf"([A-Za-z]{{3}})[a-z]*\.?(?: (\d{{1,2}}),)?[- ]+(\d{{4}}){TIME}")
SAMPLE = 200  # texts that are looked at before all are
Moment = tuple[str, str, str, tuple[str | None, ...]]  # year, month, day, time of day


class UncertainOrder(ValueError):
    """Whether day or month comes first cannot be told from the dates."""


def dates_of(texts: Sequence[str], order: str | None) -> tuple[np.ndarray, str] | None:
    """The dates in texts that all are written alike.

    Whether day or month comes first is settled by all of them together; with dots between, the day
    comes first.

    Args:
        texts: different texts of one column.
        order: "dmy", "mdy" or "ymd" where it is known.

    Returns:
        ((texts,) datetime64[s], the order); None where a text is no date.

    Raises:
        UncertainOrder: where day and month could be either.
    """
    if not texts:
        return None
    readers: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Moment]], ...] = (
        (YEAR_FIRST, lambda m: (m[1], m[3], m[4] or "1", m.groups()[4:])),
        (MONTH_YEAR, lambda m: (m[2], m[1], "1", m.groups()[2:])),
        (NAMED, lambda m: (m[3], _month(m[2]), m[1], m.groups()[3:])),
        (NAMED_FIRST, lambda m: (m[3], _month(m[1]), m[2] or "1", m.groups()[3:])),
    )
    for pattern, parts in readers:
        if (found := _all_match(pattern, texts)) is not None:
            return _dates(list(map(parts, found)), order or "ymd")
    if (found := _all_match(YEAR_LAST, texts)) is None:
        return None
    chosen = order or _order(found)
    if chosen is None:
        return None
    place = {letter: chosen.index(letter) for letter in "dmy"}
    numbers = [(match[1], match[3], match[4]) for match in found]
    return _dates(
        [
            (each[place["y"]], each[place["m"]], each[place["d"]], match.groups()[4:])
            for each, match in zip(numbers, found, strict=True)
        ],
        chosen,
    )


def moments_in(order: str, texts: Sequence[str]) -> np.ndarray | None:
    """The dates in texts of a column whose order is known; some may be in another form than others.

    Args:
        order: "dmy", "mdy" or "ymd".
        texts: different texts of the column.

    Returns:
        (texts,) datetime64[s]; None where a text is no date.
    """
    found = dates_of(texts, order)
    if found is not None:
        return found[0]
    alone = [dates_of([text], order) for text in texts]
    read = [each[0] for each in alone if each is not None]
    return np.concatenate(read) if texts and len(read) == len(texts) else None


def _all_match(pattern: re.Pattern[str], texts: Sequence[str]) -> list[re.Match[str]] | None:
    found = [match for text in texts[:SAMPLE] if (match := pattern.fullmatch(text))]
    if len(found) < len(texts[:SAMPLE]):
        return None
    found = [match for text in texts if (match := pattern.fullmatch(text))]
    return found if len(found) == len(texts) else None


def _order(found: list[re.Match[str]]) -> str | None:
    """The order that all dates together allow."""
    first, second = (max(int(match[place]) for match in found) for place in (1, 3))
    if first > 12 and second > 12:
        return None
    if first > 12 or (second <= 12 and all(match[2] == "." for match in found)):
        return "dmy"
    if second > 12:
        return "mdy"
    raise UncertainOrder(found[0][0])


def _month(name: str) -> str:
    return str(MONTHS.index(name.lower()) + 1 if name.lower() in MONTHS else 0)


def _dates(parts: list[Moment], order: str) -> tuple[np.ndarray, str] | None:
    """The dates of (year, month, day, time of day); None where one does not exist."""
    try:
        return np.array([_moment(*each) for each in parts], "datetime64[s]"), order
    except ValueError:
        return None


def _moment(year: str, month: str, day: str, time: tuple[str | None, ...]) -> datetime.datetime:
    hour, minute, second, half = (each or "" for each in time)
    hours = int(hour or 0)
    if half:
        hours = hours % 12 + 12 * (half.lower() == "pm")
    full = int(year) if len(year) > 2 else int(year) + (1900 if int(year) >= 69 else 2000)  # POSIX
    return datetime.datetime(full, int(month), int(day), hours, int(minute or 0), int(second or 0))


def parts_of(moments: np.ndarray) -> dict[str, np.ndarray]:
    """The numbers that say when something was.

    Args:
        moments: (rows,) datetime64[s].

    Returns:
        (rows,) float64 by name: "year", "month" from 1, "weekday" from 0 for Monday, and "hour".
    """
    days = moments.astype("datetime64[D]")
    months = moments.astype("datetime64[M]").astype(np.int64)
    return {
        "year": (months // 12 + 1970).astype(np.float64),
        "month": (months % 12 + 1).astype(np.float64),
        "weekday": ((days.astype(np.int64) + 3) % 7).astype(np.float64),
        "hour": ((moments - days).astype(np.int64) // 3600).astype(np.float64),
    }


def learned(moments: np.ndarray, order: str) -> "Dates":
    """What becomes of a column of dates.

    Args:
        moments: (rows,) datetime64[s] of the rows that a network learns from.
        order: the order in which they are written.

    Returns:
        The Dates: days are counted from the first, and of year, month, weekday and hour those are
        taken that vary, but no weekday where all dates are the same day of a month, as months
        are.
    """
    from jaxnet.data.schema import Dates

    days = moments.astype("datetime64[D]")
    of_month = days - moments.astype("datetime64[M]").astype("datetime64[D]")
    vary = [
        name
        for name, values in parts_of(moments).items()
        if np.ptp(values) and (name != "weekday" or np.ptp(of_month))
    ]
    return Dates(str(moments.min()), (*vary, "days"), order)


def days_of(moments: np.ndarray, dates: "Dates") -> np.ndarray:
    """The days since the first date.

    Args:
        moments: (rows,) datetime64[s].
        dates: what was learned of the column.

    Returns:
        (rows,) float64.
    """
    return (moments - np.datetime64(dates.first, "s")).astype(np.float64) / 86400


def inputs_of(moments: np.ndarray, dates: "Dates") -> np.ndarray:
    """The inputs that dates become.

    Args:
        moments: (rows,) datetime64[s].
        dates: what was learned of the column.

    Returns:
        (rows, parts) float64.
    """
    parts = parts_of(moments) | {"days": days_of(moments, dates)}
    return np.column_stack([parts[name] for name in dates.parts])

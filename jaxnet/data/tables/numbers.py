"""From text to numbers: units, signs of currencies, decimal commas and thousands separators.

`jaxnet.export` copies this file into the folder of a network, so it needs NumPy alone.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CURRENCY = r"US\$|[$€£¥₹]|EUR|USD|GBP|CHF"
VALUE = re.compile(
    rf"([-+\u2212]?)\s*({CURRENCY})?\s*([-+\u2212]?)"
    r"(\d[\d.,'\u2019 \u00a0\u202f]*\d|\d[.,]?|[.,]\d+)([eEdD][-+]?\d+)?"
    r"\s*([%‰€$£¥₹°\"'\u2032\u2033µ]?[^\W\d_]?[^\W_]*(?:/[^\W_]+)?[²³%°]?)"
)
TIME_OF_DAY = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?")
SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2019": "'"})
GROUPS = ("", ",", ".", " ", "'")
SAMPLE = 200  # texts that are looked at before all are
BOOLEANS = {"true": 1.0, "false": 0.0}


class Form(NamedTuple):
    """How the numbers of a column are written.

    Attributes:
        decimal: the decimal sign.
        group: the sign between thousands, or "".
        unit: the unit or the sign of a currency, or "".
    """

    decimal: str
    group: str
    unit: str


class Numbers(NamedTuple):
    """The numbers that texts hold, and how they are written.

    Attributes:
        values: (texts,) float64.
        form: the Form that all of them have.
    """

    values: np.ndarray
    form: Form


def numbers_of(texts: Sequence[str], decimal: str) -> Numbers | None:
    """The numbers in texts that all are written alike.

    Args:
        texts: different texts of one column.
        decimal: the decimal sign of the table, for what could be read in two ways.

    Returns:
        The Numbers; None where a text is no number, or is written otherwise than the rest.
    """
    if not texts:
        return None
    if all(text.lower() in BOOLEANS for text in texts):
        return Numbers(np.array([BOOLEANS[text.lower()] for text in texts]), Form(".", "", ""))
    for some in (texts[:SAMPLE], texts):
        parts = [VALUE.fullmatch(text) for text in some]
        if not all(parts):
            return None
    found = [part.groups("") for part in parts if part]
    units = {before + after for _, before, _, _, _, after in found}
    if len(units) > 1 or any(before and after for _, before, _, _, _, after in found):
        return None
    bodies = [body.translate(SPACES) for _, _, _, body, _, _ in found]
    form = _form(bodies, units.pop(), decimal)
    if form is None:
        return None
    values = [
        float(
            ("-" if (first + second) in ("-", "\u2212") else "")
            + body.replace(form.group or " ", "").replace(form.decimal, ".")
            + power.lower().replace("d", "e")
        )
        for (first, _, second, _, power, _), body in zip(found, bodies, strict=True)
    ]
    return Numbers(np.array(values), form)


def values_in(unit: str | None, texts: Sequence[str], decimal: str) -> np.ndarray | None:
    """The numbers in texts of a column whose unit is known.

    Args:
        unit: the unit, with which the numbers may be written or without; None where there is none.
            With "h", also times of day such as 13:30, in hours.
        texts: different texts of the column.
        decimal: the decimal sign of the table.

    Returns:
        (texts,) float64; None where a text is no number, has another unit, or is written otherwise
        than the rest.
    """
    plain = [text.replace(unit, "").strip() if unit else text for text in texts]
    found = numbers_of(plain, decimal)
    if found is not None and not found.form.unit:
        return found.values
    times = [TIME_OF_DAY.fullmatch(text) for text in texts]
    if unit != "h" or not all(times):
        return None
    parts = np.array([[float(part or 0) for part in each.groups()] for each in times if each])
    return parts.reshape(-1, 3) @ (1, 1 / 60, 1 / 3600)


def are_numbers(texts: Sequence[str]) -> np.ndarray:
    """Which texts are numbers in some form, without a unit.

    Args:
        texts: the texts.

    Returns:
        (texts,) booleans.
    """

    def is_number(text: str) -> bool:
        part = VALUE.fullmatch(text)
        unit = part is None or part[2] or part[6]
        return not unit and _form([part[4].translate(SPACES)], "", ".") is not None  # pyrefly: ignore[unsupported-operation]

    return np.array([is_number(text) for text in texts], bool)


def _form(bodies: list[str], unit: str, decimal: str) -> Form | None:
    """The first form that all numbers have; those with the decimal sign of the table come first."""
    for sign in (decimal, "," if decimal == "." else "."):
        for group in GROUPS:
            if group != sign and all(map(_pattern(sign, group).fullmatch, bodies)):
                return Form(sign, group, unit)
    return None


def _pattern(decimal: str, group: str) -> re.Pattern[str]:
    """The pattern of numbers with these signs."""
    whole = rf"(?:\d{{1,3}}(?:{re.escape(group)}\d{{3}})+|\d+)" if group else r"\d+"
    return re.compile(rf"{whole}(?:{re.escape(decimal)}\d*)?|{re.escape(decimal)}\d+")

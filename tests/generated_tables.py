"""Tables as people have them, made at random: columns of all kinds, headers and dialects."""

import csv
import datetime
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas

PLAIN = ["red", "green", "blue", "north", "south", "Basic", "Premium", "yes", "no", "A", "B", "C"]
ACCENTS = [
    "Zürich",
    "São Paulo",
    "Málaga",
    "Köln",
    "français",
    "Übergröße",
    "niño",
    "Ærø",
    "Ångström",
]
SCRIPTS = ["東京", "Москва", "Ελλάδα", "北京", "서울", "Łódź", "İzmir"]
SENTENCES = [
    "good, but late",
    'she said "no"',
    "first line\nsecond line",
    "a; b; c",
    "tab\there",
    "it's fine",
    "pipe | pipe",
    "50% off!",
    "plain words",
    'one "quoted", one not',
]
ODD_TEXTS = [
    "#1",
    " spaces around ",
    "a\\b",
    "{'a': 1}",
    "[1, 2]",
    "name@example.org",
    "+49 30 1234",
    "—",
    "O’Neill",
    "x" * 300,
    "=A1+B1",
    "10-12",
    "<5",
    "1/2",
    "don't know",
    "line\r\nbreak",
]
NUMERALS = ["0x1F", "1.2.3", "1 234", "1,234,567", "12e", "--", "1_000", "5-", "+", "."]
UNITS = ["{} kg", "{}%", "${}", "{} €", "{} m2", "{} km/h", "{}°C", "{}cm"]
NAMES = ["age", "income", "plan", "city", "weight", "score", "price", "visits", "region", "status"]
ODD_NAMES = [
    "body mass (kg/m2)",
    "size, cm",
    'the "best" one',
    "a;b",
    "Größe",
    "température",
    "x 1",
    "PassengerId",
    "is_ok?",
    "line\nbreak",
    "2nd",
    " padded ",
    "100%",
    "#rank",
    "x" * 80,
]


FIRST = datetime.datetime(2019, 1, 1)


@dataclass(frozen=True)
class Generated:
    """A table that was written.

    Attributes:
        path: the file.
        told: what pandas is told to read it.
        meant: the numbers or moments that the texts of a column mean, without gaps, by its place.
    """

    path: Path
    told: dict
    meant: dict[int, list]


@dataclass(frozen=True)
class Draw:
    """How cells are drawn.

    Attributes:
        rng: where they are drawn from.
        rows: their number.
        decimal: decimal sign of numbers in texts.
        words: words in letters beyond ASCII that the encoding has.
    """

    rng: np.random.Generator
    rows: int
    decimal: str
    words: list[str]

    def one(self, values: list, weights: list[float] | None = None) -> object:
        """One of several values."""
        p = None if weights is None else np.array(weights) / sum(weights)
        return values[self.rng.choice(len(values), p=p)]

    def whole(self, low: int, high: int) -> list[int]:
        """Whole numbers."""
        return self.rng.integers(low, high, self.rows).tolist()

    def texts(self, values: list[str]) -> list[str]:
        """Some of the values."""
        return self.rng.choice(values, self.rows).tolist()

    def few(self, words: list[str]) -> list[str]:
        """Two to six of the words, often."""
        return self.texts(self.rng.permutation(words)[: self.rng.integers(2, 7)].tolist())

    def moments(self, form: str) -> list[str]:
        """Moments in some form."""
        each = [FIRST + datetime.timedelta(minutes=m) for m in self.whole(0, 2_000_000)]
        return [moment.strftime(form) for moment in each]

    def numbers(self) -> list[float]:
        """Numbers of any size, most of them rounded."""
        values = self.rng.normal(0, 10 ** self.rng.uniform(-2, 5), self.rows)
        digits = int(self.rng.integers(1, 7))
        return (values.round(digits) if self.rng.random() < 0.7 else values).tolist()

    def written(self, number: object) -> str:
        """A number with the decimal sign."""
        return str(number).replace(".", self.decimal)


# how often, and the cells
KINDS: dict[str, tuple[float, Callable[[Draw], list]]] = {
    "number": (6, Draw.numbers),
    "exponent": (1, lambda d: (10 ** d.rng.uniform(-12, 12, d.rows)).tolist()),
    "whole": (4, lambda d: d.whole(*d.one([(0, 2), (-50, 50), (0, 10**9), (1, 6)]))),
    "year": (1, lambda d: d.whole(1950, 2025)),
    "beyond": (0.5, lambda d: d.whole(2**53 + 1, 2**62)),
    "code": (0.7, lambda d: [f"{each:05d}" for each in d.whole(0, 99_999)]),
    "word": (4, lambda d: d.few(PLAIN)),
    "accent": (2, lambda d: d.few(d.words)),
    "sentence": (1.5, lambda d: d.texts(SENTENCES)),
    "odd": (0.7, lambda d: d.texts(ODD_TEXTS)),
    "numeral": (0.2, lambda d: d.texts([*NUMERALS, "1", "2"])),
    "mixed": (0.5, lambda d: d.texts([*map(str, range(40)), "unknown"])),
    "boolean": (1.5, lambda d: (d.rng.random(d.rows) < 0.4).tolist()),
    "date": (1, lambda d: d.moments("%Y-%m-%d")),
    "moment": (0.7, lambda d: d.moments("%Y-%m-%d %H:%M:%S")),
    "zone": (0.2, lambda d: d.moments("%Y-%m-%dT%H:%M:%S+02:00")),
    "month": (0.3, lambda d: d.moments("%Y-%m")),
    "time": (0.4, lambda d: d.moments("%H:%M")),
    "signed": (0.4, lambda d: [f"{each:+d}" for each in d.whole(-50, 50)]),
    "padded": (0.4, lambda d: [d.written(f"{each:8.2f}") for each in d.numbers()]),
    "empty": (0.3, lambda d: [None] * d.rows),
    "same": (0.3, lambda d: [d.one(["x", "0", "1"])] * d.rows),
}


def _with_unit(draw: Draw) -> tuple[list[str], list]:
    """(numbers with a unit, the numbers)."""
    form = str(draw.one(UNITS))
    values = draw.rng.normal(50, 10, draw.rows).round(int(draw.rng.integers(0, 3))).tolist()
    return [form.format(draw.written(each)) for each in values], values


def _dates(draw: Draw) -> tuple[list[str], list]:
    """(dates that do not begin with the year, the moments)."""
    form = str(draw.one(["%d.%m.%Y", "%m/%d/%Y", "%d-%b-%y"]))
    moments = [FIRST + datetime.timedelta(days) for days in draw.whole(0, 1200)]
    return [each.strftime(form) for each in moments], moments


# how often, and (the cells, what they mean)
MEANT: dict[str, tuple[float, Callable[[Draw], tuple[list[str], list]]]] = {
    "unit": (1, _with_unit),
    "day or month first": (0.7, _dates),
}


def write(seed: int, folder: Path) -> Generated:
    """Write a random table.

    Args:
        seed: tables of one seed are equal.
        folder: where it is written, as SEED.csv.

    Returns:
        The table and what pandas is told of it.
    """
    rng = np.random.default_rng(seed)
    separator = str(rng.choice([",", ";", "\t", "|"], p=[0.45, 0.3, 0.2, 0.05]))
    decimal = "," if separator != "," and rng.random() < 0.6 else "."
    encoding = str(rng.choice(["utf-8", "utf-8-sig", "cp1252", "utf-16"], p=[0.5, 0.2, 0.25, 0.05]))
    words = ACCENTS if encoding == "cp1252" else ACCENTS + SCRIPTS
    sizes = [rng.integers(3, 15), rng.integers(15, 200), rng.integers(10_000, 30_000)]
    draw = Draw(rng, int(rng.choice(sizes, p=[0.2, 0.797, 0.003])), decimal, words)
    width = int(rng.choice([1, rng.integers(2, 11), rng.integers(11, 120)], p=[0.02, 0.93, 0.05]))
    frame, meant = _frame(draw, width if draw.rows < 1000 else min(width, 9))
    names = _names(frame.shape[1], rng)
    index = names is not None and rng.random() < 0.1
    frame.columns = names or range(frame.shape[1])
    above = "" if rng.random() < 0.9 else "# exported on 2024-05-01\n# by a program\n"
    path = folder / f"{seed}.csv"
    with open(path, "w", encoding=encoding, newline="") as file:
        file.write(above)
        frame.to_csv(
            file,
            sep=separator,
            decimal=decimal,
            index=index,
            header=names is not None,
            na_rep=str(
                draw.one(["", "NA", "NaN", "?", "NULL", "n/a", "None"], [9, 4, 2, 1, 1, 1, 1])
            ),
            quoting=draw.one(
                [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC], [7, 1.5, 1.5]
            ),
            lineterminator=draw.one(["\n", "\r\n"], [6, 4]),
        )
    told = {
        "sep": separator,
        "decimal": decimal,
        "encoding": encoding,
        "header": None if names is None else 0,
        "skiprows": above.count("\n"),
    }
    return Generated(path, told, meant)


def _frame(draw: Draw, width: int) -> tuple[pandas.DataFrame, dict[int, list]]:
    """(cells with gaps in some columns, what they mean, without gaps, by the place of a column)."""
    kinds = KINDS | MEANT
    columns, meant = {}, {}
    for place in range(width):
        kind = draw.one([*kinds], [weight for weight, _ in kinds.values()])
        if kind in MEANT:
            columns[place], meant[place] = MEANT[kind][1](draw)
        else:
            columns[place] = KINDS[kind][1](draw)
    frame = pandas.DataFrame(columns)
    for place in range(width):
        if draw.rng.random() < 0.25:
            share = draw.rng.uniform(0.01, 0.3)
            frame[place] = frame[place].mask(draw.rng.random(draw.rows) < share)
    full = frame.notna()
    return frame, {i: list(itertools.compress(each, full[i])) for i, each in meant.items()}


def _names(width: int, rng: np.random.Generator) -> list | None:
    """The names of columns; None for a table without a header."""
    kind = rng.choice(
        ["words", "odd", "numbers", "years", "waves", "mixed", "capitals", "none"],
        p=[0.45, 0.2, 0.07, 0.04, 0.04, 0.06, 0.07, 0.07],
    )
    if kind == "none":
        return None
    if kind == "numbers":
        return list(range(width))
    if kind == "years":
        return list(range(1990, 1990 + width))
    if kind == "waves":
        return [400 + 2.5 * i for i in range(width)]
    if kind == "mixed":
        return ["country", *range(1960, 1959 + width)]
    if width > len(NAMES):
        return [f"{rng.choice(NAMES)} {i}" for i in range(width)]
    pools = {"words": NAMES, "odd": ODD_NAMES, "capitals": [f"X{i}" for i in range(1, 11)]}
    return rng.permutation(pools[str(kind)])[:width].tolist()

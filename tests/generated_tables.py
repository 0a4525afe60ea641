"""Tables as people have them, made at random: columns of all kinds, headers and dialects."""

import csv
import datetime
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
    western = encoding == "cp1252"
    rows = int(rng.choice([rng.integers(3, 15), rng.integers(15, 200)], p=[0.2, 0.8]))
    width = int(rng.choice([1, rng.integers(2, 11), rng.integers(11, 120)], p=[0.02, 0.93, 0.05]))
    kinds = tuple(
        map(
            str, rng.choice(list(KINDS), width, p=np.array([*KINDS.values()]) / sum(KINDS.values()))
        )
    )
    columns, meant = [], {}
    for place, kind in enumerate(kinds):
        if kind == "unit":
            form, digits = str(rng.choice(UNITS)), int(rng.integers(0, 3))
            meant[place] = rng.normal(50, 10, rows).round(digits).tolist()
            columns.append([form.format(str(each).replace(".", decimal)) for each in meant[place]])
        elif kind == "day first":
            form = str(rng.choice(["%d.%m.%Y", "%m/%d/%Y", "%d-%b-%y"]))
            days = rng.integers(0, 1200, rows).tolist()
            meant[place] = [
                datetime.datetime(2019, 1, 1) + datetime.timedelta(each) for each in days
            ]
            columns.append([each.strftime(form) for each in meant[place]])
        else:
            columns.append(_column(kind, rows, rng, decimal, western))
    gap = str(
        rng.choice(
            ["", "NA", "NaN", "?", "NULL", "n/a", "None"], p=[0.5, 0.2, 0.1, 0.05, 0.05, 0.05, 0.05]
        )
    )
    frame = pandas.DataFrame(dict(enumerate(columns)))
    for place in range(width):
        if rng.random() < 0.25:
            frame[place] = frame[place].mask(rng.random(rows) < rng.uniform(0.01, 0.3))
    full = frame.notna()
    meant = {i: [each for each, is_full in zip(meant[i], full[i]) if is_full] for i in meant}
    names = _names(width, rng)
    index = names is not None and rng.random() < 0.1
    frame.columns = names or range(width)
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
            na_rep=gap,
            quoting=int(
                rng.choice(
                    [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC], p=[0.7, 0.15, 0.15]
                )
            ),
            lineterminator=str(rng.choice(["\n", "\r\n"], p=[0.6, 0.4])),
        )
    told = {
        "sep": separator,
        "decimal": decimal,
        "encoding": encoding,
        "header": None if names is None else 0,
        "skiprows": above.count("\n"),
    }
    return Generated(path, told, meant)


KINDS = {
    "number": 6,
    "whole": 4,
    "exponent": 1,
    "year": 1,
    "beyond": 0.5,
    "code": 0.7,
    "word": 4,
    "accent": 2,
    "sentence": 1.5,
    "unit": 1,
    "boolean": 1.5,
    "date": 1,
    "moment": 0.7,
    "day first": 0.7,
    "time": 0.4,
    "zone": 0.2,
    "month": 0.3,
    "signed": 0.4,
    "padded": 0.4,
    "empty": 0.3,
    "same": 0.3,
    "numeral": 0.2,
    "mixed": 0.5,
    "odd": 0.7,
}


def _column(kind: str, rows: int, rng: np.random.Generator, decimal: str, western: bool) -> list:
    """The cells of a column."""
    scale, digits = 10 ** rng.uniform(-2, 5), int(rng.integers(1, 7))
    first = datetime.datetime(2019, 1, 1)
    moments = [
        first + datetime.timedelta(minutes=int(each)) for each in rng.integers(0, 2_000_000, rows)
    ]
    if kind == "number":
        values = rng.normal(0, scale, rows)
        return list(values.round(digits) if rng.random() < 0.7 else values)
    if kind == "exponent":
        return list(10 ** rng.uniform(-12, 12, rows))
    if kind == "whole":
        return list(rng.integers(*rng.choice([[0, 2], [-50, 50], [0, 10**9], [1, 6]]), rows))
    if kind == "year":
        return list(rng.integers(1950, 2025, rows))
    if kind == "beyond":
        return list(rng.integers(2**53 + 1, 2**62, rows))
    if kind == "code":
        return [f"{each:05d}" for each in rng.integers(0, 99_999, rows)]
    if kind == "boolean":
        return list(rng.random(rows) < 0.4)
    if kind == "date":
        return [f"{each:%Y-%m-%d}" for each in moments]
    if kind == "moment":
        return [f"{each:%Y-%m-%d %H:%M:%S}" for each in moments]
    if kind == "time":
        return [f"{each:%H:%M}" for each in moments]
    if kind == "zone":
        return [f"{each:%Y-%m-%dT%H:%M:%S}+02:00" for each in moments]
    if kind == "month":
        return [f"{each:%Y-%m}" for each in moments]
    if kind == "signed":
        return [f"{each:+d}" for each in rng.integers(-50, 50, rows)]
    if kind == "padded":
        return [f"{each:>8.2f}".replace(".", decimal) for each in rng.normal(0, 100, rows)]
    if kind == "empty":
        return [None] * rows
    if kind == "same":
        return [rng.choice(["x", "0", "1"])] * rows
    if kind == "numeral":
        return list(map(str, rng.choice([*NUMERALS, "1", "2"], rows)))
    if kind == "mixed":
        return [
            str(each) if rng.random() < 0.9 else "unknown" for each in rng.integers(0, 99, rows)
        ]
    if kind in ("sentence", "odd"):
        return list(map(str, rng.choice(SENTENCES if kind == "sentence" else ODD_TEXTS, rows)))
    words = PLAIN if kind == "word" else ACCENTS if western else ACCENTS + SCRIPTS
    some = rng.choice(words, int(rng.integers(2, 7)), replace=False)
    return list(map(str, rng.choice(some, rows)))


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
    pool = {"words": NAMES, "odd": ODD_NAMES, "capitals": [f"X{i}" for i in range(1, 11)]}[
        str(kind)
    ]
    return list(map(str, rng.permutation(pool)[:width]))

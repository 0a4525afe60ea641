"""Tables of public packages, and generated ones, are read as pandas' C reader reads them."""

import re
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import generated_tables
import numpy as np
import pandas
import pyarrow as pa
import pytest

from jaxnet.data.sources.csv import read_table
from jaxnet.data.tables import dates, numbers
from jaxnet.data.tables.cells import Cells
from jaxnet.errors import InputError

# Where jaxnet reads something else than pandas on purpose: the column by our rule, and the reason.
RULES = {
    "index": "a column without a name is the row labels of pandas, and is left out with a note",
    "gaps": "the words for gaps are jaxnet's, which pandas is told: it lacks '?'",
    "codes": "whole numbers with zeros in front are codes, and stay text as they are spelled",
    "large": "whole numbers beyond 2^53 are no float64, and stay text as they are spelled",
    "booleans": "True and False stay text, since they are two classes, or 1 and 0 later on",
    "dates": "dates and times in ISO 8601 are moments, those with a zone in UTC; pandas has text",
    "whole": "whole numbers with gaps are whole numbers, for which pandas has float64",
    "plus": "whole numbers with a plus sign are float64 of the same value",
    "empty": "a column of nothing but gaps has no type",
    "spaces": "spaces around text and around names are left out",
}
GAPS = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?", "#N/A"]
WHOLE, CODE = re.compile(r"[-+]?\d+"), re.compile(r"[-+]?0\d+")
TRUTH = re.compile("true|false", re.IGNORECASE)
ISO = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?([+-]\d\d:?\d\d|Z)?")
TIME = re.compile(r"\d\d:\d\d(:\d\d)?")


def _differences(path: Path, told: dict, cells: Cells) -> list[str]:
    """The columns that are read otherwise than pandas reads them, beyond RULES.

    told: the true separator, decimal sign, encoding and header, for pandas. cells: as they are
    read.
    """
    told = {"engine": "c", "na_values": GAPS, "keep_default_na": False, "header": 0} | told
    typed = pandas.read_csv(path, low_memory=False, **told)
    spelled = pandas.read_csv(path, dtype=str, **told)
    if told["header"] is None:
        typed.columns = spelled.columns = [f"f{i}" for i in typed]
    names = {name: str(name).strip() for name in typed if not str(name).startswith("Unnamed: ")}
    if [*cells] != [*names.values()]:
        return [f"columns {[*cells]} instead of {[*names.values()]}"]
    found = {
        name: _difference(cells[ours], typed[name], spelled[name].str.strip())
        for name, ours in names.items()
    }
    return [f"{name}: {why}" for name, why in found.items() if why]


def _difference(ours: pa.ChunkedArray, typed: pandas.Series, spelled: pandas.Series) -> str | None:
    """How a column differs from the one of pandas; None if it does not."""
    full = spelled.dropna()
    if len(ours) != len(typed):
        return f"{len(ours)} rows instead of {len(typed)}"
    if (np.asarray(ours.is_null()) != spelled.isna()).any():
        return f"{ours.null_count} gaps instead of {spelled.isna().sum()}, or others"
    if full.empty:
        return None
    kind, truth = _expected(typed.dropna(), full)
    values = ours.drop_null()
    if pa.types.is_date(values.type) and kind == "timestamp[s]":
        values = values.cast(kind)
    if str(values.type).split(", tz")[0].rstrip("]") != kind.rstrip("]"):
        return f"{values.type} instead of {kind}: {full.tolist()[:3]}"
    if kind == "timestamp[s]":
        values = values.cast(pa.timestamp("s"))
    different = (i for i, each in enumerate(values.to_pylist()) if each != truth[i])
    place = next(different, None)
    return None if place is None else f"{values[place]} instead of {truth[place]!r}"


def _expected(typed: pandas.Series, spelled: pandas.Series) -> tuple[str, list]:
    """(the type of a column, its values) by pandas and by RULES. spelled: as in the file."""
    texts = spelled.tolist()
    if all(map(WHOLE.fullmatch, texts)):
        code = any(map(CODE.fullmatch, texts))
        if code or max(map(abs, map(int, texts))) > 2**53:
            return "string", texts
        return "double" if any(each[0] == "+" for each in texts) else "int64", typed.tolist()
    if all(map(TRUTH.fullmatch, texts)):
        return "string", texts
    if pandas.api.types.is_numeric_dtype(typed):
        return "double", typed.tolist()
    if all(map(TIME.fullmatch, texts)):
        return "time32[s]", pandas.to_datetime(spelled, format="mixed").dt.time.tolist()
    if all(map(ISO.fullmatch, texts)):
        moments = pandas.to_datetime(spelled, format="ISO8601", utc=True)
        return "timestamp[s]", moments.dt.tz_localize(None).tolist()
    return "string", texts


def _of_sklearn(name: str) -> pandas.DataFrame:
    import sklearn.datasets

    return getattr(sklearn.datasets, f"load_{name}")(as_frame=True).frame


def _of_statsmodels(name: str) -> pandas.DataFrame:
    file = {"danish_data": "data"}.get(name, name)
    path = files("statsmodels") / "datasets" / name / f"{file}.csv"
    # one has tabs, one semicolons, one a byte order mark
    return pandas.read_csv(path, sep=None, engine="python", encoding="utf-8-sig")


def _of_mlxtend(name: str) -> pandas.DataFrame:
    import mlxtend.data

    x, y = getattr(mlxtend.data, f"{name}_data")()
    return pandas.DataFrame(x).assign(target=y)


# Packages under the BSD license; their data are in the public domain, or may be used freely.
TABLES: dict[str, tuple[Callable[[str], pandas.DataFrame], tuple[str, ...]]] = {
    "sklearn": (_of_sklearn, ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")),
    "statsmodels": (
        _of_statsmodels,
        (
            *("anes96", "co2", "danish_data", "elnino", "engel", "fertility"),
            *("grunfeld", "longley", "macrodata", "modechoice", "randhie", "statecrime"),
        ),
    ),
    "mlxtend": (_of_mlxtend, ("autompg", "three_blobs")),
}
DIALECTS: dict[str, dict] = {
    "comma": {"sep": ",", "encoding": "utf-8"},
    "european": {"sep": ";", "decimal": ",", "encoding": "utf-8-sig"},
    "tab": {"sep": "\t", "encoding": "utf-8"},
    "cp1252": {"sep": ",", "encoding": "cp1252"},
    "with index": {"sep": ",", "encoding": "utf-8"},
}


@pytest.mark.parametrize(
    ("package", "name"), [(each, name) for each, (_, names) in TABLES.items() for name in names]
)
def test_a_public_table_is_read_as_pandas_reads_it(tmp_path, package, name):
    frame = TABLES[package][0](name)
    for dialect, told in DIALECTS.items():
        written = frame
        if dialect == "cp1252":  # the tables are in ASCII
            text = frame.select_dtypes("str").apply(lambda each: each.str.replace("e", "é", n=1))
            written = frame.assign(**{str(key): text[key] for key in text}).rename(
                columns=lambda each: str(each).replace("e", "é", 1)
            )
        path = tmp_path / f"{dialect}.csv"
        written.to_csv(path, index=dialect == "with index", **told)
        assert not _differences(path, told, read_table(path)[0]), dialect


def _outcome(seed: int, folder: Path) -> str:
    """What becomes of a generated table: "right", "refused" by name, "header", where a wrong guess
    about the header is said with what overrules it, or how it differs.
    """
    table = generated_tables.write(seed, folder)
    try:
        cells, notes = read_table(table.path)
    except InputError as error:
        return "refused" if str(table.path) in str(error) else f"{seed}: {error}"
    differ = _differences(table.path, table.told, cells)
    if differ:
        said = any("--header" in note or "--no-header" in note for note in notes)
        return "header" if said and "columns" in differ[0] else f"{seed}: {differ[0]}"
    columns = [*cells.values()]
    for place, truth in table.meant.items():
        texts = columns[place].drop_null().to_pylist()
        if not texts:
            continue
        if isinstance(truth[0], float):
            found = numbers.numbers_of(texts, cells.decimal)
            values = None if found is None else found.values.tolist()
        else:
            try:
                values = dates.dates_of(texts, None)
            except dates.UncertainOrder:
                continue
            values = None if values is None else values[0].tolist()
        if values != truth:
            return f"{seed}: {texts[:3]} mean {truth[:3]}, and not {values and values[:3]}"
    return "right"


# The many are in parts, which workers share.
FEW, MANY = range(60), [range(start, start + 500) for start in range(0, 2000, 500)]


@pytest.mark.parametrize(
    "seeds", [FEW, *(pytest.param(each, marks=pytest.mark.slow) for each in MANY)], ids=str
)
def test_generated_tables_are_read_as_pandas_reads_them(tmp_path, seeds):
    outcomes = Counter(_outcome(seed, tmp_path) for seed in seeds)
    assert outcomes["right"] >= 0.9 * len(seeds), outcomes
    assert outcomes["header"] <= 0.01 * len(seeds), outcomes
    assert outcomes.keys() <= {"right", "refused", "header"}, outcomes

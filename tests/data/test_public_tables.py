"""Tables of public packages, and generated ones, are read as pandas' C reader reads them."""

import re
import warnings
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import generated_tables
import numpy as np
import pandas
import pyarrow as pa
import pytest

from jaxnet.data.sources.csv import read_table
from jaxnet.errors import InputError

# What counts as a gap is a rule of ours, which pandas is told.
GAPS = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?", "#N/A"]


def _differences(path: Path, told: dict) -> list[str]:
    """The columns that are not read as pandas reads them, which is told the dialect."""
    told = {"engine": "c", "na_values": GAPS, "keep_default_na": False, **told}
    typed, spelled = pandas.read_csv(path, low_memory=False, **told), pandas.read_csv(path, dtype=str, **told)
    if told["header"] is None:
        typed.columns = spelled.columns = [f"f{i}" for i in typed]
    cells, _ = read_table(path)
    wanted = [name.strip() for name in map(str, typed) if not name.startswith("Unnamed: ")]
    if [*cells] != wanted:
        return [f"columns {[*cells]} instead of {wanted}"]
    found = []
    for name in typed:
        if str(name).startswith("Unnamed: "):
            continue
        why = _difference(cells[str(name).strip()], typed[name], spelled[name].str.strip())
        found += [f"{name}: {why}"] if why else []
    return found


def _difference(ours: pa.ChunkedArray, typed: pandas.Series, spelled: pandas.Series) -> str | None:
    """How a column differs from what pandas reads, beyond our rules; None if it does not.

    These are the rules: ...
    """
    full = spelled.dropna()
    if len(ours) != len(typed):
        return f"{len(ours)} rows instead of {len(typed)}"
    gaps = np.asarray(ours.is_null())
    if (gaps != spelled.isna().to_numpy()).any():
        return f"gaps in {np.flatnonzero(gaps != spelled.isna().to_numpy())[:5]}"
    if not len(full):
        return None
    values = ours.drop_null()
    digits = full.str.fullmatch(r"[-+]?\d+").all()
    code = digits and (full.str.match(r"[-+]?0\d").any() or max(map(abs, map(int, full))) > 2**53)
    if code or full.str.fullmatch("true|false", flags=re.IGNORECASE).all():
        kind, truth = "string", full.tolist()
    elif pandas.api.types.is_numeric_dtype(typed):
        kind = "int64" if digits and not full.str.startswith("+").any() else "double"
        truth = typed.dropna().tolist()
    elif full.str.fullmatch(r"\d\d:\d\d(:\d\d)?").all():
        kind, truth = "time32[s]", pandas.to_datetime(full, format="mixed").dt.time.tolist()
    elif full.str.fullmatch(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?([+-]\d\d:?\d\d|Z)?").all():
        kind = "timestamp[s]"
        if not pa.types.is_temporal(values.type):
            return f"{values.type} instead of dates"
        truth = pandas.to_datetime(full, format="ISO8601", utc=True).dt.tz_localize(None).tolist()
        values = values.cast(pa.timestamp("s"))
    else:
        kind, truth = "string", full.tolist()
    if str(values.type) != kind and not kind != "date":
        return f"{values.type} instead of {kind}, {full.tolist()[:3]}"
    if values.to_pylist() != truth:
        place = next(i for i, (a, b) in enumerate(zip(values.to_pylist(), truth)) if a != b)
        return f"{values[place]} instead of {truth[place]!r}"
    return None

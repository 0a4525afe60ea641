"""What text and cells mean: encodings, headers, numbers in many forms, dates, identifiers."""

import gzip

import numpy as np
import pandas
import pytest

import jaxnet
from jaxnet.data.schema import Schema
from jaxnet.data.sources.csv import encode, read_table
from jaxnet.data.sources.examples import read_examples
from jaxnet.data.tables import dates, numbers
from jaxnet.data.tables.dialect import dialect_of

RNG = np.random.default_rng(0)
ROWS = 60
NOISE = RNG.normal(size=ROWS).round(3)


def table(path, header, row, *, sep=",", encoding="utf-8"):
    """A table with a column of noise and a label of two classes behind the cells of each row."""
    lines = [] if header is None else [sep.join([*header, "noise", "kind"])]
    noise = [str(each).replace(".", ",") if sep == ";" else str(each) for each in NOISE]
    lines += [sep.join([*row(i), noise[i], "ab"[i % 2]]) for i in range(ROWS)]
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-8-sig", "utf-16", "gbk"])
def test_an_encoding_is_seen_wherever_its_first_letter_stands(tmp_path, encoding):
    words = ("尺寸", "颜色") if encoding == "gbk" else ("größe", "café")
    path = table(
        tmp_path / "t.csv",
        ["word"],
        lambda i: [words[i % 2] if i >= 40 else "plain" * 3_000],
        encoding=encoding,
    )
    splits = jaxnet.load(path)
    assert set(splits.columns[0].categories) == {*words, "plain" * 3_000}


@pytest.mark.parametrize("encoding", ["cp850", "mac_roman", "shift_jis", "cp1250", "big5"])
def test_an_uncertain_encoding_is_refused_and_can_be_named(tmp_path, encoding):
    words = ("大きさ", "緑の") if encoding == "shift_jis" else ("größe", "weiß")
    words = {"cp1250": ("żółty", "biały"), "big5": ("尺寸", "顏色")}.get(encoding, words)
    path = table(tmp_path / "t.csv", ["word"], lambda i: [words[i % 2]], encoding=encoding)
    with pytest.raises(jaxnet.InputError, match="not in UTF-8, and its encoding is uncertain"):
        jaxnet.load(path)
    splits = jaxnet.load(path, table=jaxnet.Table(encoding=encoding))
    assert splits.columns[0].categories == tuple(sorted(words))


HEADERS = {
    "count": (["0", "1"], lambda i: [f"{i / 7:.3f}", f"{i / 9:.2f}"], True),
    "years": (["2019", "2020"], lambda i: [str(i % 9), str(i % 7)], True),
    "wavelengths": (["400.5", "401"], lambda i: [f"{i / 99:.3f}", f"{i / 98:.3f}"], True),
    "words": (["x", "y"], lambda i: ["xyz"[i % 3], "xyz"[i // 2 % 3]], True),
    "none": (None, lambda i: [f"{i / 7:.3f}", str(i % 5)], False),
    "none, text": (None, lambda i: ["uvw"[i % 3], "xyz"[i // 2 % 3]], False),
    "none, decimal commas": (None, lambda i: [f"{i % 4},50", f"{i % 3},25"], False),
}


@pytest.mark.parametrize("case", HEADERS)
def test_names_of_columns_are_told_from_a_first_example(tmp_path, case):
    header, row, named = HEADERS[case]
    path = table(tmp_path / "t.csv", header, row, sep=";" if "commas" in case else ",")
    for given in (None, named):
        cells, _ = read_table(path, jaxnet.Table(header=given))
        assert list(cells)[:2] == (header or ["f0", "f1"])
        assert len(cells["kind" if named else "f3"]) == ROWS


FIRST_LINES = {
    "row labels of pandas": (
        ",400.0,402.5\n0,-3.4,-99\n1,0.6,76\n2,-1.6,42\n",
        ("", "400.0", "402.5"),
    ),
    "behind a comment": (
        '# cm\n#rank,"size, cm","line\nbreak"\n1,2,3\n4,5,6\n',
        ("#rank", "size, cm", "line\nbreak"),
    ),
    "numbers above text": ("400.0,402.5\nred,-1\nblue,900\nred,3\n", ("400.0", "402.5")),
    "numbers in steps": (
        "1.5,2,2.5,3\n-9,-8,90,-7\n80,70,-80,60\n5,4,3,8\n",
        ("1.5", "2", "2.5", "3"),
    ),
    "none, dates": ("2024-01-05,south\n2024-02-06,west\n2024-03-07,north\n", ("f0", "f1")),
    "none, one column": ("green\nred\ngreen\nblue\n", ("f0",)),
    "none, no steps": ("1.5,2,2.5,4\n-9,-8,90,-7\n80,70,-80,60\n", ("f0", "f1", "f2", "f3")),
}


@pytest.mark.parametrize("case", FIRST_LINES)
def test_names_of_columns_are_told_by_the_lines_below(case):
    text, names = FIRST_LINES[case]
    assert dialect_of(text, True, jaxnet.Table()).names == names


def test_whole_numbers_beyond_float64_stay_text_as_they_are_spelled(tmp_path):
    codes = {
        "plain": lambda i: f"{2**53 + 1 + i}",
        "spaces": lambda i: f" {2**53 + 1 + i}",
        "long": lambda i: f"{10**24 + i}",
        "gaps": lambda i: "" if i < 20 else f"{2**53 + 1 + i}",
    }
    path = table(tmp_path / "t.csv", [*codes], lambda i: [code(i) for code in codes.values()])
    cells, _ = read_table(path)
    for name, code in codes.items():
        expected = [code(i).strip() or None for i in range(ROWS)]
        assert cells[name].to_pylist() == expected
    path = table(tmp_path / "t.csv", ["large"], lambda i: [f" {i}e17"])
    assert read_table(path)[0]["large"].to_pylist() == [i * 1e17 for i in range(ROWS)]


def test_what_stands_around_a_table_is_no_row_of_it(tmp_path):
    text = table(tmp_path / "t.csv", ["a"], lambda i: [str(i % 7)]).read_text()
    plain, _ = read_table(tmp_path / "t.csv")
    for name, changed in {
        "comment.csv": "# made in 2024\n# cm\n" + text,
        "separator.csv": "sep=;\n" + text.replace(",", ";"),
        "spaces.txt": text.replace(",", "   "),
        "joined.csv": text + text.splitlines()[0] + "\n",
    }.items():
        (tmp_path / name).write_text(changed)
        assert dict(read_table(tmp_path / name)[0]) == dict(plain), name
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert dict(read_table(tmp_path / "t.csv.gz")[0]) == dict(plain)
    frame = pandas.read_csv(tmp_path / "t.csv").sample(frac=1, random_state=0)
    frame.to_parquet(tmp_path / "t.parquet")
    splits = jaxnet.load(tmp_path / "t.parquet")
    assert [column.name for column in splits.columns] == ["a", "noise"]


FORMS = {
    "percent": (["12%", "5.5%"], ".", "%", [12, 5.5]),
    "dollars": (["$3.50", "-$3.50", "$-4", "$2,450"], ".", "$", [3.5, -3.5, -4, 2450]),
    "unit": (["4 kg", "35 kg"], ".", "kg", [4, 35]),
    "square": (["35 m2", "1,250 m2"], ".", "m2", [35, 1250]),
    "thousands, space": (["1 234,5", "12"], ".", "", [1234.5, 12]),
    "thousands, point": (["1.250", "3.000"], ",", "", [1250, 3000]),
    "decimal comma": (["150,5", "7"], ".", "", [150.5, 7]),
    "Fortran": (["1.5D+01", "2D-1"], ".", "", [15, 0.2]),
}


@pytest.mark.parametrize("case", FORMS)
def test_numbers_in_one_form_are_numbers(case):
    texts, decimal, unit, values = FORMS[case]
    found = numbers.numbers_of(texts, decimal)
    assert found.form.unit == unit
    np.testing.assert_array_equal(found.values, values)


@pytest.mark.parametrize(
    "texts", [["4 kg", "5 lb"], ["1.5", "2,5"], ["4 kg", "heavy"], ["2020-01", "3"], ["1st", "2nd"]]
)
def test_numbers_in_several_forms_are_none(texts):
    assert numbers.numbers_of(texts, ".") is None


MOMENTS = pandas.date_range("2019-11-28 07:00", periods=40, freq="31h")
WRITTEN = {
    "%d.%m.%Y": "dmy",
    "%m/%d/%Y": "mdy",
    "%d-%m-%y": "dmy",
    "%Y/%m/%d %H:%M": "ymd",
    "%d %b %Y": "ymd",
    "%B %d, %Y": "ymd",
    "%m/%d/%Y %I:%M %p": "mdy",
}


@pytest.mark.parametrize("written", WRITTEN)
def test_dates_are_those_of_pandas(written):
    texts = list(MOMENTS.strftime(written))
    found, order = dates.dates_of(texts, None)
    assert order == WRITTEN[written]
    expected = pandas.to_datetime(texts, format=written)
    np.testing.assert_array_equal(found, expected.to_numpy().astype("datetime64[s]"))
    parts = dates.parts_of(found)
    names = {"year": "year", "month": "month", "weekday": "day_of_week", "hour": "hour"}
    for name, theirs in names.items():
        np.testing.assert_array_equal(parts[name], getattr(expected, theirs))


def test_a_date_becomes_numbers_which_the_test_rows_do_not_decide(tmp_path):
    days = [f"{i % 28 + 1:02d}.03.2021" for i in range(ROWS)]
    plain = jaxnet.load(table(tmp_path / "t.csv", ["when"], lambda i: [days[i]]), order="noise")
    (column,) = plain.columns
    assert column.dates.first.startswith("2021-03-01")
    assert column.dates.parts == ("weekday", "days")
    days[int(NOISE.argmax())] = "05.01.1950"  # in the test set, which are the last in order
    planted = jaxnet.load(table(tmp_path / "u.csv", ["when"], lambda i: [days[i]]), order="noise")
    assert planted.columns == plain.columns
    assert float(planted.test.x[:, 1].min()) < -25_000


def test_months_have_no_weekday():
    moments, order = dates.dates_of(["Nov 2023", "Jun 2018", "Sep 2019"], None)
    assert dates.learned(moments, order).parts == ("year", "month", "days")


def test_new_rows_are_read_by_the_rules_of_the_run(tmp_path):
    path = table(
        tmp_path / "t.csv",
        ["when", "price", "code", "smoker"],
        lambda i: [f"{i % 28 + 1:02d}/{i % 12 + 1:02d}/2021", f"${i}.50", f"0{i % 3}", "TF"[i % 2]],
    )
    splits = jaxnet.load(path)
    when, price, code, _, _ = splits.columns
    assert (when.dates.order, price.unit, code.categories) == ("dmy", "$", ("00", "01", "02"))
    (tmp_path / "new.csv").write_text(
        "smoker,code,when,noise,price\nT,02,03/04/2021,0,$4.50\nF,01,05/06/2021,1,7\n"
    )
    schema = Schema(splits.classes, columns=splits.columns)
    x = read_examples(tmp_path / "new.csv", splits.train.x.shape[1:], schema).x
    place = {name: i for i, name in enumerate(n for c in splits.columns for n in c.inputs)}
    assert x[:, place["when=month"]].tolist() == [4, 6]
    assert x[:, place["price"]].tolist() == [4.5, 7]
    assert x[:, place["code=02"]].tolist() == [1, 0]
    (tmp_path / "new.csv").write_text("smoker,code,when,noise,price\nT,02,03/04/2021,0,4 kg\n")
    with pytest.raises(jaxnet.InputError, match=r"'price' should hold numbers in \$, .* line 2"):
        encode(splits.columns, read_table(tmp_path / "new.csv")[0], tmp_path / "new.csv")


def test_identifiers_are_left_out_and_numbers_that_repeat_are_not(tmp_path):
    path = table(
        tmp_path / "t.csv",
        ["row", "customer_id", "name", "year", "price", "stars"],
        lambda i: [str(i + 1), str(9000 + 7 * i), f"n{i}", str(1960 + i), str(i * 50), str(i % 5)],
    )
    splits = jaxnet.load(path)
    assert [column.name for column in splits.columns] == ["year", "price", "stars", "noise"]
    (note,) = [note for note in splits.notes if "left out" in note]
    assert note == (
        "7 columns -> 4 inputs: 'year', 'price', 'stars', 'noise' (numbers); left out: 'row' "
        "(looks like an identifier: 60 values in 60 rows), 'customer_id' (looks like an "
        "identifier: 60 values in 60 rows), 'name' (looks like an identifier: 60 values in 60 rows)"
    )
    types = {"row": "number", "name": "category", "stars": "category", "price": "drop"}
    splits = jaxnet.load(path, table=jaxnet.Table(types=types))
    sizes = {column.name: len(column.inputs) for column in splits.columns}
    assert sizes == {"row": 1, "name": 1, "year": 1, "stars": 5, "noise": 1}
    (name,) = [column for column in splits.columns if column.name == "name"]
    assert name.inputs == ("name=(other)",)  # no name has 5 rows


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"encoding": "utf-99"}, "unknown encoding 'utf-99'"),
        ({"separator": ";;"}, "separator is ';;'"),
        ({"decimal": "'"}, "unknown decimal sign"),
        ({"types": {"a": "float"}}, "unknown type of column 'a' 'float'"),
        ({"types": {"b": "number"}}, "has no column 'b'"),
        ({"dates": "dym"}, "unknown order of dates 'dym'"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path, given, message):
    path = table(tmp_path / "t.csv", ["a"], lambda i: [str(i % 7)])
    with pytest.raises(jaxnet.InputError, match=message):
        jaxnet.load(path, table=jaxnet.Table(**given))

"""Identifiers: which columns are left out, and which one keeps rows together."""

import re

import numpy as np
import pandas
import pytest

import jaxnet

RNG = np.random.default_rng(0)
ROWS = 300
PATIENT = RNG.integers(0, 92, ROWS)


def written(tmp_path, columns, label=None):
    """A table with these columns, one of noise, and a label of two classes."""
    label = np.where(RNG.random(ROWS) < 0.5, "ill", "well") if label is None else label
    frame = pandas.DataFrame(columns | {"noise": RNG.normal(size=ROWS).round(3), "label": label})
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def noted(splits, word):
    return [note for note in splits.notes if word in note]


# What repeats and is no identifier: a number, a category, or a place in time.
PLAIN = {
    "age": RNG.integers(18, 90, ROWS),
    "year": RNG.integers(1950, 2024, ROWS),
    "price": RNG.integers(1, 400, ROWS) * 50,
    "income": RNG.integers(200, 900, ROWS) * 100,
    "stars": RNG.integers(1, 6, ROWS),
    "number": RNG.integers(0, 40, ROWS),
    "Number of visits": RNG.integers(0, 60, ROWS),
    "no": RNG.integers(0, 60, ROWS),
    "postal_code": RNG.choice(RNG.integers(10_000, 99_999, 80), ROWS),
    "zip": RNG.choice([f"0{code}" for code in range(2100, 2180)], ROWS),
    "PLZ": RNG.choice([f"D-{code}" for code in range(80_331, 80_400)], ROWS),
    "heat_index": RNG.integers(60, 110, ROWS),
    "Body Mass Index": RNG.integers(16, 45, ROWS),
    "bid": RNG.integers(1, 500, ROWS),
    "paid": RNG.integers(1, 500, ROWS),
    "persons": RNG.integers(1, 30, ROWS),
    "household": RNG.integers(1, 8, ROWS),
    "student": RNG.choice(["Yes", "No"], ROWS),
    "client": RNG.integers(0, 2, ROWS),
    "weight": RNG.choice([f"{weight} kg" for weight in range(40, 120)], ROWS),
    "visit": RNG.choice([f"{day:02d}.03.2021" for day in range(1, 29)], ROWS),
    "hour": RNG.integers(0, 24, ROWS),
    "plan_id": RNG.integers(1, 4, ROWS),
    "rooms": RNG.integers(1, 9, ROWS),
    "humidity": RNG.integers(20, 100, ROWS),
    "score": RNG.integers(0, 100, ROWS) / 2,
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_repeats_without_being_an_identifier_becomes_inputs(tmp_path, name):
    splits = jaxnet.load(written(tmp_path, {name: PLAIN[name]}))
    assert [column.name for column in splits.columns] == [name, "noise"]
    assert splits.grouped_by is None
    assert splits.train.groups is None


# What repeats and stands for things, by its name or its form.
THINGS = {
    "patient_id": PATIENT + 1000,
    "Patient ID": np.char.add("x", PATIENT.astype(str)),
    "patientId": PATIENT,
    "id": PATIENT,
    "uid": PATIENT + 7,
    "subject": PATIENT,
    "Customer No.": PATIENT + 10_000,
    "id_cliente": PATIENT,
    "customer_id": np.where(np.arange(ROWS) % 100 == 0, np.nan, PATIENT),  # written as 17.0
    "subject_id": PATIENT % 12,
    "who": np.char.add("P", np.char.zfill(PATIENT.astype(str), 4)),
    "case": np.char.add("patient-", PATIENT.astype(str)),
    "key": [f"{each:08x}-0000-4000-8000-000000000000" for each in PATIENT],
}


@pytest.mark.parametrize("name", THINGS)
def test_rows_of_one_thing_are_in_one_part(tmp_path, name):
    path = written(tmp_path, {name: THINGS[name]})
    splits = jaxnet.load(path)
    values = len(set(pandas.Series(THINGS[name]).dropna()))
    assert splits.grouped_by == name
    assert [column.name for column in splits.columns] == ["noise"]
    (note,) = noted(splits, "groups: ")
    assert f"{name!r} has {values} different values in" in note
    parts = [set(getattr(splits, part).groups) for part in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == values
    # The same as if it had been asked for.
    asked = jaxnet.load(path, groups=name)
    assert np.array_equal(asked.train.x, splits.train.x)
    assert asked.columns == splits.columns
    plain = jaxnet.load(path, groups="none")
    assert plain.grouped_by is None
    assert plain.train.groups is None
    assert [each.inputs for each in plain.columns] == [each.inputs for each in splits.columns]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("city", np.char.add("city ", np.char.multiply("x", PATIENT))),
        ("week", [f"W{week:02d}" for week in PATIENT % 52]),
        ("outward", [f"{'NESW'[code % 4]}{code}" for code in PATIENT]),
        ("Unnamed: 0", PATIENT),  # as two joined tables have it
        ("index", PATIENT),
        ("row_id", PATIENT),
    ],
)
def test_by_its_counts_alone_an_identifier_is_left_out_and_keeps_nothing_together(
    tmp_path, name, values
):
    splits = jaxnet.load(written(tmp_path, {name: values}))
    assert [column.name for column in splits.columns] == ["noise"]
    assert splits.grouped_by is None
    assert f"{name!r} (looks like an identifier" in noted(splits, "left out")[0]


def test_of_several_the_one_with_most_values_and_never_against_an_order_or_a_type(tmp_path):
    both = {"hospital_id": PATIENT % 40 + 100, "patient_id": PATIENT, "day": np.arange(ROWS) + 9}
    path = written(tmp_path, both)
    splits = jaxnet.load(path)
    assert splits.grouped_by == "patient_id"
    assert "'hospital_id' would be another choice" in noted(splits, "groups: ")[0]
    assert "'hospital_id' (looks like an identifier" in noted(splits, "left out")[0]
    assert jaxnet.load(path, groups="hospital_id").grouped_by == "hospital_id"
    ordered = jaxnet.load(path, order="day")
    assert ordered.grouped_by is None
    assert ordered.test_source == "ordered"
    typed = jaxnet.load(path, table=jaxnet.Table(types={"patient_id": "number"}))
    assert typed.grouped_by == "hospital_id"
    assert typed.columns[0].name == "patient_id"
    dropped = jaxnet.load(path, drop_columns=list(both))
    assert dropped.grouped_by is None
    assert len(noted(dropped, "is left out as asked for, and its values repeat: --groups")) == 2
    assert not noted(jaxnet.load(path, drop_columns=list(both), groups="none"), "--groups")


def test_a_column_named_none_can_be_an_input_but_no_group_by_that_name(tmp_path):
    path = written(tmp_path, {"none": PATIENT, "patient_id": PATIENT})
    splits = jaxnet.load(path)
    assert [column.name for column in splits.columns] == ["none", "noise"]
    with pytest.raises(jaxnet.InputError, match=r"has a column 'none'.*rename the column"):
        jaxnet.load(path, groups="none")
    assert jaxnet.load(path, groups="none", drop_columns="none").grouped_by is None


IMPOSSIBLE = {
    "two": (np.arange(ROWS) % 2, None, "2 different values are too few for 3 parts"),
    "guests": (np.where(np.arange(ROWS) % 3, 0, PATIENT), None, "rows have the same value"),
    "gaps": (np.where(np.arange(ROWS) % 8, PATIENT, np.nan), None, "38 of 300 rows have none"),
    "classes": (
        np.arange(ROWS) % 3,
        np.array(["a", "b", "c"])[np.arange(ROWS) % 3],
        "no row with the label '.' would be left to learn from",
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_where_a_split_by_an_identifier_is_impossible_it_is_by_row_and_said(tmp_path, case):
    values, label, why = IMPOSSIBLE[case]
    splits = jaxnet.load(written(tmp_path, {"patient_id": values}, label))
    assert splits.grouped_by is None
    assert [column.name for column in splits.columns] == ["noise"]
    (note,) = noted(splits, "'patient_id' repeats")
    assert "errors may be too low for new ones" in note
    assert re.search(why, note)


@pytest.mark.parametrize("seed", range(8))
def test_a_class_of_one_group_only_stays_in_the_training_set(tmp_path, seed):
    label = np.where(PATIENT[0] == PATIENT, "rare", np.where(PATIENT % 2, "ill", "well"))
    splits = jaxnet.load(written(tmp_path, {"patient_id": PATIENT}, label), seed=seed)
    assert splits.grouped_by == "patient_id"
    rare = splits.classes.index("rare")
    assert (np.asarray(splits.train.y) == rare).sum() == (PATIENT[0] == PATIENT).sum() > 1
    (note,) = noted(splits, "nothing is measured on them")
    assert "label 'rare'" in note


def test_rows_without_a_label_a_group_or_a_place_in_the_order_are_left_out_and_counted(tmp_path):
    label = np.where(RNG.random(ROWS) < 0.5, "ill", "well").astype(object)
    label[:7] = None
    patient = PATIENT.astype(object)
    patient[5:15] = None
    day = np.arange(ROWS).astype(object)
    day[-3:] = None
    path = written(tmp_path, {"patient_id": patient, "day": day}, label)
    splits = jaxnet.load(path, drop_columns="day")
    assert splits.grouped_by == "patient_id"
    assert sum(map(len, (splits.train, splits.validation, splits.test))) == ROWS - 15
    assert noted(splits, "left out: ")[:2] == [
        "left out: 7 of 300 rows, 7 without a label ('label')",
        "left out: 8 of 293 rows, 8 without a group ('patient_id')",
    ]
    splits = jaxnet.load(path, order="day")
    assert (
        "left out: 10 of 300 rows, 7 without a label ('label') and 3 without an order ('day')"
        in (splits.notes)
    )
    label[:16] = None
    path = written(tmp_path, {}, label)
    with pytest.raises(jaxnet.InputError, match=r"no label \('label'\) in 16 of 300 rows, more"):
        jaxnet.load(path)
    label[15] = "well"
    assert len(jaxnet.load(written(tmp_path, {}, label)).train) == 200


def test_a_line_in_a_message_is_that_of_the_file_where_rows_are_left_out(tmp_path):
    label = np.where(np.arange(ROWS) % 2, "ill", "well").astype(object)
    label[:4] = None
    size = np.arange(ROWS).astype(float)
    size[10] = np.inf
    path = written(tmp_path, {"size": size}, label)
    with pytest.raises(jaxnet.InputError, match="holds inf in line 12"):
        jaxnet.load(path)


def test_dates_of_text_are_an_order_by_what_they_mean(tmp_path):
    days = pandas.Timestamp("2019-06-10") + pandas.to_timedelta(RNG.permutation(ROWS), unit="D")
    since = (days - days.min()).days + 0.5
    path = written(tmp_path, {"day": days.strftime("%d.%m.%Y"), "n": since})
    splits = jaxnet.load(path, order="day")
    assert splits.train.x[:, 0].max() < splits.validation.x[:, 0].min()
    assert splits.validation.x[:, 0].max() < splits.test.x[:, 0].min()
    path = written(tmp_path, {"day": [f"{1 + i % 9}/{1 + i % 11}/2021" for i in range(ROWS)]})
    with pytest.raises(jaxnet.InputError, match=r"'day' has dates .* This works: .* --dates dmy"):
        jaxnet.load(path, order="day")

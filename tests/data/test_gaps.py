"""Gaps and rare categories of tables: what stands in for them is learned from rows that train."""

import jax
import numpy as np
import pandas
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

import jaxnet
from jaxnet.data.sources.csv import encode, read_table
from jaxnet.data.sources.examples import read_examples

RNG = np.random.default_rng(0)
ROWS = 200
PARTS = ("train", "validation", "test")
DAYS = pandas.date_range("2020-01-05", periods=ROWS, freq="53h").strftime("%Y-%m-%d %H:%M")
FRAME = pandas.DataFrame(
    {
        "row": RNG.permutation(ROWS),
        "age": RNG.integers(20, 70, ROWS).astype(float),
        "income": RNG.lognormal(8, 1, ROWS).round(2),
        "weight": [f"{each:.1f} kg" for each in RNG.normal(70, 9, ROWS)],
        "member": RNG.random(ROWS) < 0.3,
        "at": [f"{h:02d}:{m:02d}" for h, m in RNG.integers(0, (24, 60), (ROWS, 2))],
        "when": DAYS,
        "plan": RNG.choice(
            ["free", "basic", "pro", "gold", "old"], ROWS, p=[0.5, 0.3, 0.1, 0.07, 0.03]
        ),
        "kind": np.tile(["a", "b"], ROWS // 2),
    }
)
GAPPY = FRAME.copy()
for _name in ("age", "weight", "member", "at", "when", "plan"):
    GAPPY[_name] = GAPPY[_name].astype(object).mask(RNG.random(ROWS) < 0.1)
TYPES = {"row": "number"}  # it numbers the rows


def load(frame, path, **known):
    frame.to_csv(path, index=False)
    return jaxnet.load(path, label="kind", table=jaxnet.Table(types=TYPES, **known))


def inputs(splits):
    """The inputs of all rows in the order of the file, and the rows that train or validate."""
    names = [name for column in splits.columns for name in column.inputs]
    row = names.index("row")
    parts = {part: np.asarray(getattr(splits, part).x) for part in PARTS}
    place = {number: i for i, number in enumerate(FRAME["row"])}
    rows = {part: [place[int(number)] for number in x[:, row]] for part, x in parts.items()}
    x = np.concatenate(list(parts.values()))[np.argsort(np.concatenate(list(rows.values())))]
    return pandas.DataFrame(x, columns=names), np.sort(rows["train"] + rows["validation"])


@pytest.mark.parametrize("fill", ["median", "mean"])
def test_numbers_are_those_of_scikit_learns_imputer(tmp_path, fill):
    x, pool = inputs(load(GAPPY, tmp_path / "a.csv", fill=fill))
    names = ["age", "income", "weight", "member", "at"]
    hours = GAPPY["at"].map(lambda each: int(each[:2]) + int(each[3:]) / 60, na_action="ignore")
    weight = GAPPY["weight"].map(lambda each: float(each.split()[0]), na_action="ignore")
    numbers = GAPPY.assign(weight=weight, at=hours)[names].astype(float).to_numpy()
    imputer = SimpleImputer(strategy=fill, add_indicator=True).fit(numbers[pool])
    theirs = imputer.transform(numbers).astype(np.float32)
    gaps = [f"{name}=(missing)" for name in names if name != "income"]
    np.testing.assert_array_equal(x[[*names, *gaps]].to_numpy(), theirs)
    assert "income=(missing)" not in x


def test_categories_are_those_of_scikit_learns_encoder(tmp_path):
    x, pool = inputs(load(GAPPY, tmp_path / "a.csv"))
    words = GAPPY["plan"].fillna("~").to_numpy()[:, None]
    encoder = OneHotEncoder(min_frequency=5, handle_unknown="infrequent_if_exist")
    theirs = encoder.fit(words[pool]).transform(words).toarray()
    assert [*encoder.infrequent_categories_[0]] == ["old"]
    names = ["basic", "free", "gold", "pro", "(missing)", "(other)"]
    np.testing.assert_array_equal(x[[f"plan={name}" for name in names]].to_numpy(), theirs)


@pytest.mark.parametrize("fill", ["median", "mean"])
def test_dates_are_filled_with_a_moment_of_pandas(tmp_path, fill):
    x, pool = inputs(load(GAPPY, tmp_path / "a.csv", fill=fill))
    when = pandas.to_datetime(GAPPY["when"])
    moment = getattr(when[pool], fill)().round("s")
    filled = when.fillna(moment)
    for part, theirs in {
        "month": filled.dt.month,
        "weekday": filled.dt.day_of_week,
        "hour": filled.dt.hour,
        "days": (filled - when[pool].min()) / pandas.Timedelta(days=1),
        "(missing)": when.isna(),
    }.items():
        np.testing.assert_array_equal(x[f"when={part}"], theirs.to_numpy(np.float32), part)


def test_a_table_without_gaps_has_no_further_inputs(tmp_path):
    splits = load(FRAME, tmp_path / "a.csv")
    x, _ = inputs(splits)
    assert not any("missing" in name for name in x)
    np.testing.assert_array_equal(x["income"], FRAME["income"].to_numpy(np.float32))
    assert load(FRAME, tmp_path / "a.csv", fill="refuse").columns != splits.columns
    assert not any("no value" in note for note in splits.notes)


def test_test_rows_have_no_part_in_what_is_learned(tmp_path):
    frame = GAPPY.drop(columns="row").assign(turn=np.arange(ROWS))
    frame.to_csv(tmp_path / "a.csv", index=False)
    plain = jaxnet.load(tmp_path / "a.csv", label="kind", order="turn")
    last = frame.index >= ROWS - len(plain.test)
    planted = frame.astype(object)
    planted.loc[last, ["age", "income"]] = 1e9
    planted.loc[last, "weight"] = "1000000 kg"
    planted.loc[last, "member"] = True
    planted.loc[last, "at"] = "23:59"
    planted.loc[last, "when"] = "1931-07-01 23:59"
    planted.loc[last, "plan"] = "new"
    planted.loc[last & (frame["turn"] % 2 == 0), "income"] = None
    planted.to_csv(tmp_path / "b.csv", index=False)
    other = jaxnet.load(tmp_path / "b.csv", label="kind", order="turn")
    assert other.columns == plain.columns
    for part in PARTS[:2]:
        assert np.array_equal(getattr(plain, part).x, getattr(other, part).x)
    assert not np.array_equal(plain.test.x, other.test.x)


def test_a_column_without_a_value_in_rows_that_train_is_left_out(tmp_path):
    frame = FRAME.drop(columns="row").assign(turn=np.arange(ROWS))
    frame["note"] = np.where(frame["turn"] >= ROWS - 5, "late", None)
    frame["score"] = np.where(frame["turn"] >= ROWS - 5, 4.0, np.nan)
    frame.to_csv(tmp_path / "a.csv", index=False)
    splits = jaxnet.load(tmp_path / "a.csv", label="kind", order="turn")
    assert not {"note", "score"} & {column.name for column in splits.columns}
    why = "it has no values in the rows to learn from"
    assert f"'note' ({why}), 'score' ({why})" in " ".join(splits.notes)


def test_what_is_filled_is_said_with_counts(tmp_path):
    splits = load(GAPPY, tmp_path / "a.csv")
    _, pool = inputs(splits)
    gaps = {name: int(GAPPY[name].isna().sum()) for name in GAPPY}
    age = GAPPY["age"][pool].median()
    assert (
        f"'age': {gaps['age']} of 200 rows have no value: filled with {age:g}, and an extra "
        "input marks these rows" in splits.notes
    )
    assert (
        f"'plan': {gaps['plan']} of 200 rows have no value: the input 'plan=(missing)' is 1 there"
        in splits.notes
    )
    old = int((GAPPY["plan"] == "old").sum())
    assert (
        f"'plan': {old} of 200 rows have a category with fewer than 5 training and "
        "validation rows, 'old': the input 'plan=(other)' is 1 there" in splits.notes
    )
    assert (
        "gaps in numbers and dates are filled with the median of the 160 training and validation "
        "rows" in splits.notes
    )


def test_new_rows_are_filled_by_what_was_learned(tmp_path):
    splits = load(
        GAPPY.drop(columns="plan").assign(color=np.tile(["u", "v"], ROWS // 2)), tmp_path / "a.csv"
    )
    new = FRAME.drop(columns="plan").iloc[:3].astype(object).assign(color=["u", "w", None])
    new.loc[[0, 1], ["age", "income", "when"]] = None
    new.to_csv(tmp_path / "new.csv", index=False)
    found = encode(splits.columns, read_table(tmp_path / "new.csv")[0], tmp_path, strict=False)
    x = pandas.DataFrame(found.x, columns=[name for c in splits.columns for name in c.inputs])
    fills = {column.name: column.fill for column in splits.columns}
    assert x["age"].tolist() == [fills["age"], fills["age"], FRAME["age"][2]]
    assert x["age=(missing)"].tolist() == [1, 1, 0]
    assert x["income"].tolist() == [fills["income"], fills["income"], FRAME["income"][2]]
    assert x["when=days"].tolist()[:2] == [fills["when"]] * 2
    assert x[["color=u", "color=v"]].to_numpy().tolist() == [[1, 0], [0, 0], [0, 0]]
    assert not found.refused
    assert found.notes[-2:] == (
        "'color': 1 of 3 rows has no value: all inputs of the column are 0 there",
        "'color': 1 of 3 rows has a category without training and validation rows, 'w': "
        "all inputs of the column are 0 there",
    )
    with pytest.raises(jaxnet.InputError, match=r"'color' has 'w' in line 3, which the network"):
        encode(splits.columns, read_table(tmp_path / "new.csv")[0], tmp_path)


def test_rows_that_cannot_be_used_do_not_lose_the_others(tmp_path):
    splits = load(GAPPY, tmp_path / "a.csv")
    columns, _ = read_table(tmp_path / "a.csv")
    good = encode(splits.columns, columns, tmp_path, strict=False).x[:6]
    new = GAPPY.iloc[:6].astype(object)
    new.loc[0, ["age", "at"]] = "old", "noon"
    new.loc[1, "weight"] = "9 lb"
    new.loc[2, "when"] = "yesterday"
    new.loc[3, "income"] = np.inf
    new.to_csv(tmp_path / "new.csv", index=False)
    found = encode(splits.columns, read_table(tmp_path / "new.csv")[0], tmp_path, strict=False)
    assert [*found.refused] == [0, 1, 2, 3]
    assert np.isnan(found.x[:4]).all()
    np.testing.assert_array_equal(found.x[4:], good[4:])
    assert "'old' in line 2" in found.refused[0]
    assert "'noon' in line 2" in found.refused[0]
    assert "numbers in kg, but has '9 lb' in line 3" in found.refused[1]
    with pytest.raises(jaxnet.InputError, match="'old' in line 2"):
        encode(splits.columns, read_table(tmp_path / "new.csv")[0], tmp_path)


def test_gaps_can_be_refused(tmp_path):
    splits = load(FRAME, tmp_path / "full.csv", fill="refuse")
    with pytest.raises(jaxnet.InputError, match=r"missing values, in column 'age' .* of 200"):
        load(GAPPY, tmp_path / "a.csv", fill="refuse")
    columns, _ = read_table(tmp_path / "a.csv")
    refused = encode(splits.columns, columns, tmp_path, strict=False).refused
    gaps = GAPPY.drop(columns="row").isna().any(axis=1)
    assert [*refused] == np.flatnonzero(gaps).tolist()
    with pytest.raises(jaxnet.InputError, match="unknown fill 'zero'"):
        load(FRAME, tmp_path / "full.csv", fill="zero")


def test_the_columns_of_a_network_are_those_of_another_table_too(tmp_path):
    splits = load(GAPPY, tmp_path / "a.csv")
    again = load(FRAME[::-1].assign(more=1.0), tmp_path / "b.csv", columns=splits.columns)
    assert again.columns == splits.columns
    assert "left out: 'more' (the network does not know it)" in " ".join(again.notes)
    x, _ = inputs(again)
    assert not x[[name for name in x if "(missing)" in name]].to_numpy().any()
    # as runs of before have them: every category is an input, and gaps are refused
    before = tuple(
        column._replace(categories=("basic", "free", "gold", "old", "pro"), other=False)
        if column.name == "plan"
        else column
        for column in load(FRAME, tmp_path / "b.csv", fill="refuse").columns
    )
    x, _ = inputs(load(FRAME, tmp_path / "b.csv", columns=before))
    np.testing.assert_array_equal(x["plan=old"], FRAME["plan"] == "old")
    with pytest.raises(jaxnet.InputError, match=r"' has no value in line .*: write a value"):
        load(GAPPY, tmp_path / "b.csv", columns=before)


def test_the_words_that_mean_a_gap_can_be_given(tmp_path):
    frame = FRAME.drop(columns=["row", "plan", "at", "kind"]).assign(
        grade=np.tile(["None", "good", "-", ""], ROWS // 4),
        kind=np.tile(["None", "Mild"], ROWS // 2),
    )
    frame["age"] = frame["age"].astype(object).mask(RNG.random(ROWS) < 0.1, "-")
    path = tmp_path / "a.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(jaxnet.InputError, match=r"no label .* in 100 of 200 rows.* --missing"):
        jaxnet.load(path, label="kind", drop_columns="age")
    splits = jaxnet.load(path, label="kind", table=jaxnet.Table(missing=("-",)))
    assert splits.classes == ("Mild", "None")
    columns = {column.name: column for column in splits.columns}
    assert columns["age"].missing
    assert columns["grade"].inputs == ("grade=None", "grade=good", "grade=(missing)")
    gaps = frame["grade"].isin(["", "-"])
    assert f"'grade': {gaps.sum()} of 200 rows have no value" in " ".join(splits.notes)
    # new rows are read with the same words, also by a network that was saved
    run = jaxnet.fit(jaxnet.linear(), splits, jaxnet.Recipe(epochs=1), jax.random.key(0))
    jaxnet.save(run, tmp_path / "run")
    frame.iloc[:4].to_csv(tmp_path / "new.csv", index=False)
    schema = jaxnet.restore(tmp_path / "run").schema
    assert schema == splits.schema
    found = read_examples(tmp_path / "new.csv", splits.train.x.shape[1:], schema)
    names = [name for column in splits.columns for name in column.inputs]
    grades = found.x[:, [names.index(each) for each in columns["grade"].inputs]]
    assert grades.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]
    frame.astype(str).to_parquet(tmp_path / "a.parquet")
    again = jaxnet.load(tmp_path / "a.parquet", label="kind", table=jaxnet.Table(missing=("-",)))
    assert again.schema == splits.schema


X = RNG.normal(size=(120, 4))
Y = (X[:, 0] + RNG.normal(0, 0.5, 120) > 0).astype(int)
HOLES = np.where(RNG.random(X.shape) < [0.1, 0.2, 0.1, 0], np.nan, X)
RECIPE = jaxnet.Recipe(epochs=2)


@pytest.mark.parametrize("fill", ["median", "mean"])
def test_arrays_are_filled_as_by_scikit_learns_imputer(fill):
    order = RNG.permutation(120)
    late = np.argsort(order)[-24:]  # the test set
    pool = np.setdiff1d(np.arange(120), late)
    planted = HOLES.copy()
    planted[late[::2]] *= 1e6
    imputer = SimpleImputer(strategy=fill).fit(HOLES[pool])
    for x in (HOLES, planted):
        splits = jaxnet.split(x, Y, order=order, fill=fill)
        np.testing.assert_allclose(splits.schema.fills, imputer.statistics_, rtol=1e-14)
        theirs = imputer.transform(x).astype(np.float32)
        ours = np.concatenate([np.asarray(getattr(splits, part).x) for part in PARTS])
        np.testing.assert_array_equal(np.sort(ours, axis=0), np.sort(theirs, axis=0))
    gaps = np.isnan(HOLES)
    assert splits.notes[-1] == (
        f"x is NaN in {gaps.any(1).sum()} of 120 rows and 3 of 4 features: filled with the {fill} "
        "of each feature in the 96 training and validation rows"
    )
    for each in jaxnet.folds(HOLES, Y, count=4, fill=fill):
        mine = np.concatenate([each.train.x, each.validation.x])
        known = np.isin(HOLES.astype(np.float32)[:, 3], mine[:, 3])
        own = SimpleImputer(strategy=fill).fit(HOLES[known])
        np.testing.assert_allclose(each.schema.fills, own.statistics_, rtol=1e-14)
        assert np.isfinite(each.test.x).all()


def test_a_network_fills_new_arrays_as_it_learned(tmp_path, caplog):
    splits = jaxnet.split(HOLES, Y, fill="median")
    run = jaxnet.fit(jaxnet.linear(), splits, RECIPE, jax.random.key(0))
    jaxnet.save(run, tmp_path / "run")
    run = jaxnet.restore(tmp_path / "run")
    whole = np.where(np.isnan(HOLES), splits.schema.fills, HOLES)
    expected = jaxnet.predict(jaxnet.linear(), run, whole)
    assert not caplog.records
    found = jaxnet.predict(jaxnet.linear(), run, HOLES)
    assert f"x is NaN in {np.isnan(HOLES).any(1).sum()} of 120 rows" in caplog.text
    np.testing.assert_array_equal(found, expected)
    traced = jax.jit(lambda x: jaxnet.predict(jaxnet.linear(), run, x))(HOLES.astype(np.float32))
    np.testing.assert_allclose(traced, expected, rtol=1e-5)


def test_an_estimator_fills_what_it_gets():
    weights = RNG.integers(0, 4, 120)
    plain = {"hidden": (), "epochs": 1, "random_state": 0}
    for given in (None, weights):
        repeated = HOLES if given is None else np.repeat(HOLES, given, axis=0)
        imputer = SimpleImputer(strategy="median").fit(repeated)
        whole = imputer.transform(HOLES)
        theirs = jaxnet.JaxnetClassifier(**plain).fit(whole, Y, given).predict_proba(whole)
        ours = jaxnet.JaxnetClassifier(**plain, fill="median").fit(HOLES, Y, given)
        np.testing.assert_array_equal(ours.predict_proba(HOLES), theirs)
    with pytest.raises(ValueError, match="NaN"):
        jaxnet.JaxnetRegressor().fit(HOLES, Y)


def test_gaps_in_arrays_are_refused_where_nothing_can_stand_in():
    with pytest.raises(jaxnet.InputError, match="not finite"):
        jaxnet.split(HOLES, Y)
    with pytest.raises(jaxnet.InputError, match="unknown fill 'zero'"):
        jaxnet.split(HOLES, Y, fill="zero")
    with pytest.raises(jaxnet.InputError, match=r"no value in column 1 of all 108 rows"):
        jaxnet.split(np.where([[0, 1, 0, 0]], np.nan, HOLES), Y, fill="mean", test=0.1)
    with pytest.raises(jaxnet.InputError, match=r"x has shape \(120, 2, 2\)"):
        jaxnet.split(HOLES.reshape(120, 2, 2), Y, fill="mean")
    with pytest.raises(jaxnet.InputError, match="not finite"):
        jaxnet.split(np.where(HOLES > 2, np.inf, HOLES), Y, fill="mean")

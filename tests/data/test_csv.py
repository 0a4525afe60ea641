"""Tables as people have them: dialects, encodings, gaps, and what a network makes of new rows."""

import csv

import jax
import numpy as np
import pandas
import pytest
from sklearn import datasets
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

import jaxnet
from jaxnet.cli.options import Options, build_model, build_recipe
from jaxnet.data.sources.csv import encode, read_table

RNG = np.random.default_rng(0)
ROWS = 80
FRAME = pandas.DataFrame(
    {
        "size": RNG.normal(10, 3, ROWS).round(3),
        "count": RNG.integers(0, 50, ROWS),
        "color": RNG.choice(["red", "green; dark", 'blue, "light"'], ROWS),
        "kind": np.tile(["a", "b"], ROWS // 2),
    }
)
DIALECTS = {
    "comma": {},
    "semicolon": {"sep": ";"},
    "tab": {"sep": "\t"},
    "pipe": {"sep": "|"},
    "european": {"sep": ";", "decimal": ",", "encoding": "utf-8-sig", "quoting": csv.QUOTE_ALL},
    "windows": {"lineterminator": "\r\n", "quoting": csv.QUOTE_NONNUMERIC},
    "tab, decimal comma": {"sep": "\t", "decimal": ","},
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_same_splits(tmp_path, dialect):
    FRAME.to_csv(tmp_path / "plain.csv", index=False)
    FRAME.to_csv(tmp_path / "other.csv", index=False, **DIALECTS[dialect])
    plain, other = (jaxnet.load(tmp_path / name) for name in ("plain.csv", "other.csv"))
    assert other.columns == plain.columns
    assert [column.name for column in plain.columns] == ["size", "count", "color"]
    assert plain.columns[2].categories == ('blue, "light"', "green; dark", "red")
    assert plain.classes == ("a", "b")
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(plain, part).x, getattr(other, part).x)
        assert np.array_equal(getattr(plain, part).y, getattr(other, part).y)


def test_values_are_those_of_pandas(tmp_path):
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    splits = jaxnet.load(
        tmp_path / "a.csv", validation=0.0, order="count", drop_columns=("color",), label="kind"
    )
    rows = FRAME.sort_values("count", kind="stable")
    ours = np.sort(np.concatenate([splits.train.x, splits.test.x]).ravel())
    np.testing.assert_array_equal(ours, np.sort(rows["size"].to_numpy(np.float32)))
    columns, _ = read_table(tmp_path / "a.csv")
    full = jaxnet.load(tmp_path / "a.csv")
    x = encode(full.columns, columns, tmp_path / "a.csv").x
    dummies = pandas.get_dummies(FRAME["color"]).to_numpy(float)
    np.testing.assert_array_equal(x, np.column_stack([FRAME["size"], FRAME["count"], dummies]))


def test_label_named_or_last_and_columns_left_out(tmp_path):
    FRAME.to_csv(tmp_path / "a.csv")  # with pandas' row numbers, which have no name
    splits = jaxnet.load(tmp_path / "a.csv", label="color", drop_columns=("count",))
    assert splits.classes == ('blue, "light"', "green; dark", "red")
    assert [column.name for column in splits.columns] == ["size", "kind"]
    assert "left out: the column without a name" in splits.notes


def test_a_table_without_header_and_one_in_an_old_encoding(tmp_path):
    (tmp_path / "a.csv").write_text("".join(f"{i},{i * 0.5},k{i % 2}\n" for i in range(30)))
    splits = jaxnet.load(tmp_path / "a.csv")
    assert [column.name for column in splits.columns] == ["f1"]  # f0 numbers the rows
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 30
    (tmp_path / "b.csv").write_bytes(
        ("größe;farbe\n" + "".join(f"{i};{('grün', 'weiß')[i % 2]}\n" for i in range(30))).encode(
            "cp1252"
        )
    )
    splits = jaxnet.load(tmp_path / "b.csv")
    assert splits.classes == ("grün", "weiß")
    assert "read as cp1252, since it is not UTF-8: 'größe'" in splits.notes


TASKS = [
    (np.arange(60) % 3, None, ("0", "1", "2"), "3 different whole numbers"),
    (np.arange(60) % 3 + 4.0, None, ("4", "5", "6"), "3 different whole numbers"),
    (np.arange(60) % 3, "regression", None, "asked for"),
    (np.arange(60) * 7, None, None, "60 different whole numbers"),
    (np.arange(60) * 7 % 30, None, None, "30 different whole numbers"),
    (np.arange(300) % 25 + 1, None, tuple(map(str, range(1, 26))), "count 1 to 25"),
    (np.arange(60) / 7, None, None, "decimal places"),
    (np.arange(60) % 2 == 0, None, ("False", "True"), "labels are text"),
    (np.arange(60) % 2 == 0, "regression", None, "asked for"),
    (np.array(["no", "yes"])[np.arange(60) % 2], None, ("no", "yes"), "labels are text"),
]


@pytest.mark.parametrize("case", TASKS)
def test_the_task_is_seen_from_the_labels_and_said_why(tmp_path, case):
    y, task, classes, why = case
    pandas.DataFrame({"x": RNG.normal(size=len(y)), "y": y}).to_csv(tmp_path / "a.csv", index=False)
    splits = jaxnet.load(tmp_path / "a.csv", task=task)
    if classes is not None and len(classes) > 20:
        assert set(splits.classes) == set(classes)
    else:
        assert splits.classes == classes
    (note,) = [note for note in splits.notes if note.startswith("task: ")]
    assert note.startswith("task: regression" if classes is None else "task: classification")
    assert why in note


def _lines(*lines):
    return lambda path: path.write_text("\n".join(lines))


GOOD = [f"{i}.5,{('u', 'v')[i % 2]},{i % 2}" for i in range(30)]
BAD = {
    "missing file": (lambda path: None, {}, "bad.csv: no such file"),
    "empty": (_lines(""), {}, "bad.csv: is empty"),
    "only a header": (_lines("a,b,c"), {}, "bad.csv: has no rows below its header"),
    "missing column": (
        _lines("a,b,c", *GOOD),
        {"label": "d"},
        "bad.csv: has no column 'd'; its columns are a, b, c",
    ),
    "ignored column": (_lines("a,b,c", *GOOD), {"drop_columns": ("d",)}, "has no column 'd'"),
    "label ignored": (
        _lines("a,b,c", *GOOD),
        {"label": "c", "drop_columns": ("c",)},
        "the label column 'c' is used otherwise",
    ),
    "no inputs": (
        _lines("a,b,c", *GOOD),
        {"drop_columns": ("a", "b")},
        "has no column beside the label 'c'",
    ),
    "twice": (_lines("a,a,c", *GOOD), {}, "more than one column named 'a'"),
    "gaps": (
        _lines("a,b,c", *GOOD[:20], "NA,u,1", ",v,0", "3,?,1"),
        {"table": jaxnet.Table(fill="refuse")},
        "missing values, in column 'a' 2 of 23, 'b' 1 of 23; fill them",
    ),
    "mixed": (
        _lines("a,b,c", *GOOD, "about 4,u,1", "5.5,v,0"),
        {},
        "column 'a' mixes numbers and text: 1 value .* 'about 4' in line 32; .* --types a=category",
    ),
    "ragged": (
        _lines("a,b,c", *GOOD, "1,2"),
        {},
        "is not a table that can be read: .*Expected 3 columns, got 2",
    ),
    "utf-16": (
        lambda path: path.write_bytes("a,b\n1,2\n".encode("utf-16-le")),
        {},
        "is no text in UTF-8 .* --encoding",
    ),
    "one class": (
        _lines("a,b,c", *[line[:-1] + "1" for line in GOOD]),
        {},
        "all 21 training examples are of one class",
    ),
    "one group": (
        _lines("a,b,c", *[f"{i}.5,u,{i % 2}" for i in range(30)]),
        {"groups": "b"},
        "all 30 examples are of 1 group",
    ),
    "no group column": (_lines("a,b,c", *GOOD), {"groups": "g"}, "has no column 'g'"),
    "one time": (
        _lines("a,b,c", *[f"{i}.5,3,{i % 2}" for i in range(30)]),
        {"order": "b"},
        "order has 1 different values",
    ),
    "dates": (
        _lines("t,c", *[f"0{i % 9 + 1}/05/2024,{i % 2}" for i in range(30)]),
        {},
        "column 't' has dates such as '01/05/2024', .* --dates dmy, mdy or ymd",
    ),
    "two columns": (
        _lines("a,b,c", *GOOD, "about 4,7,1", "5.5,8,0", *["1,9,0"] * 30),
        {},
        "2 problems: .1. .*'about 4'.*; .2. .*'u'.* This works: jaxnet train .* "
        "--types b=category --missing .* 'about 4'",
    ),
    "infinity": (_lines("a,b,c", *GOOD, "inf,u,1"), {}, "column 'a' holds inf in line 32"),
    "task": (_lines("a,b,c", *GOOD), {"task": "ranking"}, "unknown task 'ranking'"),
    "text values": (
        _lines("a,c", *[f"{i}.5,{'uv'[i % 2]}" for i in range(30)]),
        {"task": "regression"},
        "the labels are text, such as 'u'",
    ),
    "decimal classes": (
        _lines("a,c", *[f"{i},{i}.5" for i in range(30)]),
        {"task": "classification"},
        "labels such as 0.5 are no classes",
    ),
    "image size": (
        _lines("a,b,c", *GOOD),
        {"image_size": (4, 4)},
        "image_size .* has no use for it",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused_with_place_and_cure(tmp_path, case):
    make, options, message = BAD[case]
    make(tmp_path / "bad.csv")
    with pytest.raises(jaxnet.InputError, match=message):
        jaxnet.load(tmp_path / "bad.csv", **options)


def test_new_rows_go_through_the_stored_encoding(tmp_path):
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    splits = jaxnet.load(tmp_path / "a.csv")
    shuffled = FRAME[["kind", "color", "size", "count"]].iloc[:10]
    shuffled.to_csv(tmp_path / "new.csv", index=False, sep=";", decimal=",")
    old = encode(splits.columns, read_table(tmp_path / "a.csv")[0], tmp_path / "a.csv").x[:10]
    new = encode(splits.columns, read_table(tmp_path / "new.csv")[0], tmp_path / "new.csv").x
    assert np.array_equal(old, new)
    shuffled.assign(color="pink").to_csv(tmp_path / "pink.csv", index=False)
    with pytest.raises(
        jaxnet.InputError,
        match=(
            r"column 'color' has 'pink' in line 2, which the network has not seen; it knows "
            r"'blue"
        ),
    ):
        encode(splits.columns, read_table(tmp_path / "pink.csv")[0], tmp_path / "pink.csv")
    shuffled.drop(columns="size").to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(
        jaxnet.InputError,
        match=(
            r"has no column 'size', from which the network learned; its columns are kind, "
            r"color, count"
        ),
    ):
        encode(splits.columns, read_table(tmp_path / "less.csv")[0], tmp_path / "less.csv")


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_known_tables_arrive_as_scikit_learn_has_them(tmp_path, name):
    table = getattr(datasets, f"load_{name}")(as_frame=True)
    table.frame.to_csv(
        tmp_path / "a.csv",
        index=False,
        sep=";",
        decimal=",",
        encoding="utf-8-sig",
        quoting=csv.QUOTE_ALL,
    )
    splits = jaxnet.load(tmp_path / "a.csv")
    x = np.concatenate([part.x for part in (splits.train, splits.validation, splits.test)])
    assert (splits.classes is None) == (name == "diabetes")
    np.testing.assert_allclose(
        np.sort(x, axis=0), np.sort(table.data.to_numpy(np.float32), axis=0), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("iris", 5),
        ("diabetes", 1),
        *(
            pytest.param(name, 5, marks=pytest.mark.slow)
            for name in ("wine", "breast_cancer", "diabetes")
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_default_options_score_like_scikit_learns_network(tmp_path, name, seeds):
    """The same architecture on the same splits: accuracy, or R^2, no lower than 0.05 less on the
    mean of the seeds.
    """
    getattr(datasets, f"load_{name}")(as_frame=True).frame.to_csv(
        tmp_path / "a.csv", index=False, sep=";", decimal=","
    )
    ours, theirs = [], []
    for seed in range(seeds):
        splits = jaxnet.load(tmp_path / "a.csv", seed=seed)
        options = Options()
        run = jaxnet.fit(build_model(options), splits, build_recipe(options), jax.random.key(seed))
        metrics = jaxnet.evaluate(build_model(options), run, splits.test)
        ours.append((metrics.r2 if splits.classes is None else metrics.accuracy).estimate)
        scaler = StandardScaler().fit(splits.train.x)
        kind = MLPRegressor if splits.classes is None else MLPClassifier
        network = kind(hidden_layer_sizes=options.hidden, random_state=seed).fit(
            scaler.transform(splits.train.x), splits.train.y
        )
        theirs.append(network.score(scaler.transform(splits.test.x), splits.test.y))
    assert np.mean(ours) > np.mean(theirs) - 0.05, (ours, theirs)

"""All problems of a table come in one message, which ends with a command line that works."""

import re
import shlex

import numpy as np
import pandas
import pytest
import tyro

import jaxnet
from jaxnet.cli.options import TrainOptions, current_words, read
from jaxnet.cli.runner import with_dataset
from jaxnet.data.tables.table import MISSING

RNG = np.random.default_rng(0)
ROWS = 200
PLAIN = {"size": RNG.normal(size=ROWS).round(2), "height": RNG.normal(size=ROWS).round(2)}


def refused(path, **options):
    with pytest.raises(jaxnet.InputError) as caught:
        jaxnet.load(path, **options)
    return str(caught.value)


def read_as_said(message):
    """What the command line at the end of a message reads."""
    words = shlex.split(message.split("jaxnet train ")[1])
    given = with_dataset(current_words(words, pytest.fail), "jaxnet train")
    return read(tyro.cli(TrainOptions, args=given))[0]


def written(tmp_path, columns, label):
    pandas.DataFrame(PLAIN | columns | {"kind": label}).to_csv(tmp_path / "t 1.csv", index=False)
    return tmp_path / "t 1.csv"


def labels(**rows):
    """Two classes, and other words in some rows."""
    found = np.where(RNG.random(ROWS) < 0.5, "a", "b").astype(object)
    for word, chosen in rows.items():
        found[chosen] = word
    return found


def numbers_with(word, row=30):
    found = RNG.integers(1, 9, ROWS).astype(object)
    found[row] = word
    return found


DAYS = [f"{month:02d}/{day:02d}/2021" for month, day in RNG.integers(1, 12, (ROWS, 2))]
KINDS = {
    "a word in numbers": (
        {"n": np.append(RNG.normal(size=ROWS - 1).astype(str), "lost")},
        labels(),
        "'n' mixes .* 'lost' in line 201",
        "n",
    ),
    "text in numbers": ({"n": numbers_with("about 4")}, labels(), "n' mixes .*line 32", "n"),
    "infinity": ({"n": numbers_with("inf")}, labels(), "'n' holds inf in line 32", None),
    "a rare class": ({}, labels(rare=[5, 9]), r"1? class.* fewer than 3 rows: 'rare' \(2\)", None),
    "no labels": (
        {},
        np.where(np.arange(ROWS) % 8, labels(), None),
        r"no label \('kind'\) in 25 of 200 rows, more than 5%",
        None,
    ),
    "dates": ({"when": DAYS}, labels(), "'when' has dates such as .* day or month", "when"),
    "text in labels": (
        {},
        RNG.normal(size=ROWS).round(2).astype(str).astype(object),
        "'kind' mixes numbers and text: 1 value .*'lost' in line 5",
        None,
    ),
    "infinity in labels": ({}, RNG.normal(size=ROWS).round(2), "'kind' holds -inf in line 5", None),
}
KINDS["text in labels"][1][3] = "lost"
KINDS["infinity in labels"][1][3] = -np.inf


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_problem_is_refused_with_a_command_line_that_works(tmp_path, kind):
    columns, label, why, kept = KINDS[kind]
    message = refused(written(tmp_path, columns, label), label="kind")
    assert re.search(why, message), message
    assert "(1)" not in message
    splits = read_as_said(message)
    assert {*PLAIN} <= {column.name for column in splits.columns}
    assert kept is None or kept in {column.name for column in splits.columns}


def test_columns_of_one_name_are_refused_and_left_out_together(tmp_path):
    lines = [f"{i},{i % 7},{i / 7:.2f},{'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "t.csv").write_text("again,again,x,kind\n" + "\n".join(lines) + "\n")
    message = refused(tmp_path / "t.csv")
    assert "has more than one column named 'again'; rename all but one" in message
    assert [column.name for column in read_as_said(message).columns] == ["x"]
    assert message.endswith("--label kind --drop-columns again")
    (tmp_path / "u.csv").write_text("kind,x,y,kind\n" + "\n".join(lines) + "\n")
    assert "This works" not in refused(tmp_path / "u.csv", label="kind")  # which of them?


def every_kind(tmp_path):
    label = labels(rare=[5, 9])
    label[::8] = None
    frame = pandas.DataFrame(
        {
            "when": DAYS,
            "few": numbers_with("about 4"),
            "many": RNG.normal(size=ROWS).astype(str),
            "far": numbers_with("inf"),
            "again": RNG.integers(0, 3, ROWS),
            "other": RNG.integers(0, 3, ROWS),
            **PLAIN,
            "kind": label,
        }
    )
    frame.loc[7, "many"] = "none given"
    names = ["again" if name == "other" else name for name in frame.columns]
    frame.to_csv(tmp_path / "t.csv", index=False, header=names, sep=";")
    return tmp_path / "t.csv"


def test_all_problems_come_in_one_message_with_one_command_line(tmp_path):
    path = every_kind(tmp_path)
    message = refused(path, label="kind", table=jaxnet.Table(separator=";"), seed=3)
    assert "7 problems: (1) " in message
    assert "; (7) " in message
    assert "(8)" not in message
    assert message.count("This works: ") == 1
    words = shlex.join([*MISSING, "none given"])
    assert message.endswith(
        f"This works: jaxnet train {shlex.quote(str(path))} --split-seed 3 --label kind "
        "--drop-columns again far --separator ';' --types few=category --dates dmy "
        f"--missing {words} --drop-labels '' rare"
    )
    splits = read_as_said(message)
    names = [column.name for column in splits.columns]
    assert names == ["when", "few", "many", "size", "height"]
    assert "'many': 1 of " in " ".join(splits.notes)
    assert splits.classes == ("a", "b")
    parts = (splits.train, splits.validation, splits.test)
    assert sum(map(len, parts)) == (pandas.read_csv(path, sep=";")["kind"].isin(["a", "b"])).sum()
    assert "left out: 2 of 200 rows, with the label 'rare' ('kind'), as asked for" in splits.notes


def test_a_data_frame_is_told_the_call(tmp_path):
    frame = pandas.read_csv(every_kind(tmp_path), sep=";")
    message = refused(frame, label="kind")
    assert "in row 30 (the first is row 0)" in message
    call = message.split("This works: ")[1]
    assert call.startswith("jaxnet.load(frame, label='kind', drop_columns=('far',), table=")
    splits = eval(call, {"jaxnet": jaxnet, "frame": frame})
    assert "when" in [column.name for column in splits.columns]


def test_labels_to_leave_out_must_be_there(tmp_path):
    path = written(tmp_path, {}, labels())
    with pytest.raises(jaxnet.InputError, match=r"no label 'c' in column 'kind' to leave out"):
        jaxnet.load(path, table=jaxnet.Table(drop_labels=("c",)))
    with pytest.raises(jaxnet.InputError, match="drop_labels is 'c'; give labels as text"):
        jaxnet.load(path, table=jaxnet.Table(drop_labels="c"))
    numbers = written(tmp_path, {}, np.append(np.arange(ROWS - 1) % 3, 7))
    assert "--task regression" in refused(numbers)
    assert jaxnet.load(numbers, table=jaxnet.Table(drop_labels=("7",))).classes == ("0", "1", "2")
    assert jaxnet.load(numbers, task="regression").classes is None
    numbers = written(tmp_path, {}, np.append(np.arange(19), np.zeros(ROWS - 19, int)))
    message = refused(numbers)
    assert message.endswith("--task regression --label kind")
    assert read_as_said(message).classes is None


def test_the_order_of_dates_that_is_proposed_is_that_of_the_other_dates(tmp_path):
    plain = [f"{1 + i % 12:02d}/{1 + i % 28:02d}/2021" for i in range(ROWS)]
    message = refused(written(tmp_path, {"when": DAYS, "seen": plain}, labels()))
    assert message.endswith("--dates mdy")
    assert all(column.categories is None for column in read_as_said(message).columns)

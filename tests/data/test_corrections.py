"""Labels that a person has corrected in a table."""

from dataclasses import replace

import numpy as np
import pytest

import jaxnet
from jaxnet import InputError
from jaxnet.data.corrections import with_corrections

SPLITS = jaxnet.split(
    np.arange(40.0).reshape(20, 2), np.array(["cat", "dog"] * 10), validation=0.2, test=0.2, seed=0
)
HEAD = "index,part,label,suggested,confidence,contradicted_by,wrong_label,corrected\n"


def label(part, i):
    return SPLITS.classes[getattr(SPLITS, part).y[i]]


def line(part, i, new, old=None):
    return f"{i},{part},{old or label(part, i)},,,,,{new}\n"


def other(part, i):
    return {"cat": "dog", "dog": "cat"}[label(part, i)]


def test_labels_are_changed_where_a_correction_stands(tmp_path):
    path = tmp_path / "labels.csv"
    rows = line("train", 2, other("train", 2)) + line("train", 3, "") + line("test", 0, "cat")
    path.write_text("\ufeff" + HEAD + rows)
    found = with_corrections(SPLITS, path)
    expected = np.array(SPLITS.train.y)
    expected[2] = 1 - expected[2]
    np.testing.assert_array_equal(found.train.y, expected)
    assert found.classes[found.test.y[0]] == "cat"
    np.testing.assert_array_equal(found.validation.y, SPLITS.validation.y)
    count = 1 + (label("test", 0) != "cat")
    assert found.notes[-1] == f"{count} label{'s' * (count > 1)} corrected by labels.csv"
    path.write_text((HEAD + rows).replace(",", ";"))  # as a spreadsheet may save it
    np.testing.assert_array_equal(with_corrections(SPLITS, path).train.y, expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("index,part,label\n1,train,cat\n", "has no column 'corrected'"),
        (HEAD + line("train", 0, ""), "no label is corrected"),
        (HEAD + line("train", 99, "cat", "cat"), "line 2: index is '99'"),
        (HEAD + line("test", 1, "cat").replace("test", "tests"), "did you mean 'test'"),
        (HEAD + line("train", 0, "cats"), "corrected is 'cats'; did you mean 'cat'"),
        (HEAD + line("train", 0, "cat", other("train", 0)), "has the label"),
        (HEAD + 2 * line("train", 0, "cat"), "line 3: row 0 of the part train stands there twice"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(tmp_path, text, words):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        with_corrections(SPLITS, path)


def test_a_file_that_is_not_there_and_values_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        with_corrections(SPLITS, tmp_path / "none.csv")
    values = jaxnet.split(np.zeros((20, 2)), np.arange(20.0), validation=0.2, test=0.2, seed=0)
    with pytest.raises(InputError, match="values of a regression"):
        with_corrections(replace(values), tmp_path / "none.csv")

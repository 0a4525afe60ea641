"""Tokens stay integers from the array, table or file to the batch."""

import jax
import numpy as np
import pandas as pd
import pytest

import jaxnet
from jaxnet import InputError
from jaxnet.data import tokens
from jaxnet.data.splitting import pool
from jaxnet.data.streaming.stream import random_rows
from tests.token_networks import sequences


@pytest.fixture(scope="module")
def few():
    return sequences(200)


def whole(splits):
    """All examples of the three parts, in no order."""
    parts = splits.train, splits.validation, splits.test
    return sorted(map(tuple, np.concatenate([np.asarray(part.x) for part in parts]).tolist()))


def test_tokens_are_split_as_integers_without_mean_and_scale(few):
    x, y = few
    splits = jaxnet.split(x.astype(float), y, inputs="tokens")
    assert splits.train.x.dtype == np.int32
    assert splits.train.vocabulary == 9
    assert splits.pad is None
    assert whole(splits) == sorted(map(tuple, x.tolist()))
    assert jax.tree.leaves(splits.standardization) == []
    batch = splits.standardization.inputs(splits.train.x[:3])
    assert batch.dtype == np.int32
    np.testing.assert_array_equal(batch, splits.train.x[:3])
    assert "inputs: tokens, with ids up to 8" in splits.notes


def test_values_of_a_regression_keep_their_scale(few):
    x, _ = few
    y = np.random.default_rng(0).normal(3, 2, len(x))
    own = jaxnet.split(x, y, inputs="tokens").standardization
    numbers = jaxnet.split(x, y).standardization
    assert own.mean is None
    assert own.scale is None
    assert own.units == numbers.units


def test_the_training_set_says_which_ids_are_known(few):
    x, y = few
    x = x.copy()
    x[17, 3] = 30
    splits = jaxnet.split(x, y, inputs="tokens")
    parts = {name: getattr(splits, name).x for name in ("train", "validation", "test")}
    (where,) = [name for name, x in parts.items() if 30 in np.asarray(x).ravel()]
    assert splits.train.vocabulary == (31 if where == "train" else 9)
    assert pool(splits).notes == splits.notes
    assert pool(splits).train.vocabulary == (9 if where == "test" else 31)
    for fold in jaxnet.folds(x, y, inputs="tokens", count=3):
        assert fold.test.vocabulary == int(np.max(fold.train.x)) + 1


def test_sequences_of_different_lengths_are_filled_up_at_their_end():
    given = [[3, 1], [2], [4, 4, 1, 5], [1, 2]] * 10
    splits = jaxnet.split(given, [0, 1] * 20, inputs="tokens", pad=0)
    assert splits.train.pad == 0
    expected = [(3, 1, 0, 0), (2, 0, 0, 0), (4, 4, 1, 5), (1, 2, 0, 0)] * 10
    assert whole(splits) == sorted(expected)
    assert "sequences of 1 to 4 tokens are filled up with the id 0" in splits.notes
    again = tokens.ids("x", [[7], [1, 2]], 0, 4)
    np.testing.assert_array_equal(again, [[7, 0, 0, 0], [1, 2, 0, 0]])
    np.testing.assert_array_equal(tokens.ids("x", np.array([[7, 8]]), 0, 4), [[7, 8, 0, 0]])
    frames = np.empty(2, object)
    frames[:] = [[1], [2, 3]]
    np.testing.assert_array_equal(tokens.ids("x", frames, 9), [[1, 9], [2, 3]])


def test_an_id_that_also_fills_up_is_said():
    splits = jaxnet.split([[0, 1], [2]] * 10, [0, 1] * 10, inputs="tokens", pad=0)
    assert any(note.startswith("10 sequences hold the id 0 themselves") for note in splits.notes)


@pytest.mark.parametrize(
    ("x", "words", "said"),
    [
        ([[0, 1.5]], {}, r"x has 1\.5 in row 0, column 1"),
        ([[0, -1]], {}, "x has -1 in row 0, column 1"),
        ([[0, np.nan]], {}, "x has nan in row 0, column 1"),
        ([[0, 2**31]], {}, "from 0 to 2,147,483,647"),
        ([["a", "b"]], {}, "give each word or item a number"),
        ([[1, 2], [3]], {}, "different lengths; give pad=0"),
        ([[1, 2], []], {"pad": 0}, r"x\[1\] is empty"),
        ([[1, 2], 3], {"pad": 0}, r"x\[1\] has shape \(\)"),
        ([[1, 2]], {"pad": -1}, "pad is -1"),
        ([[1, 2]], {"fill": "mean"}, "fill is for numbers"),
        ([[1, 2]], {"pad": 0, "inputs": "numbers"}, "pad is 0, but inputs are numbers"),
        ([[1, 2]], {"inputs": "token"}, "unknown kind of inputs 'token'"),
    ],
)
def test_what_is_no_token_is_refused(x, words, said):
    with pytest.raises(InputError, match=said):
        jaxnet.split(x * 10, [0, 1] * 5 * len(x), **({"inputs": "tokens"} | words))


def test_arrays_and_tables_on_disk(few, tmp_path):
    x, y = few
    np.savez(tmp_path / "x.npz", x=x, y=y)
    lines = [",".join(map(str, row)) for row in np.column_stack([x, y]).tolist()]
    names = ",".join([*(f"t{place}" for place in range(x.shape[1])), "same"])
    (tmp_path / "x.csv").write_text("\n".join([names, *lines]), encoding="utf-8")
    for name in ("x.npz", "x.csv"):
        splits = jaxnet.load(tmp_path / name, inputs="tokens")
        assert splits.train.x.dtype == np.int32, name
        assert splits.standardization.mean is None
        assert whole(splits) == sorted(map(tuple, x.tolist()))
    (tmp_path / "text.csv").write_text("a,same\n" + "u,0\nv,1\nw,0\n" * 20, encoding="utf-8")
    with pytest.raises(InputError, match="tokens are one whole number in each column"):
        jaxnet.load(tmp_path / "text.csv", inputs="tokens")
    with pytest.raises(InputError, match="digits has no use"):
        jaxnet.load("digits", inputs="tokens")


def test_empty_cells_of_a_table_are_the_ends_of_sequences(few):
    x, y = few
    ends = 4 + np.arange(len(x)) % 13
    table = pd.DataFrame(np.where(np.arange(x.shape[1]) < ends[:, None], x, np.nan))
    table = table.rename(columns=str).assign(same=y)
    with pytest.raises(InputError, match=r"empty cells among its tokens.* inputs='tokens', pad=0"):
        jaxnet.load(table, inputs="tokens")
    splits = jaxnet.load(table, inputs="tokens", pad=0)
    assert splits.train.pad == 0
    assert whole(splits) == sorted(
        map(tuple, np.where(np.arange(x.shape[1]) < ends[:, None], x, 0).tolist())
    )
    assert not any("no value" in note for note in splits.notes)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float32])
def test_a_stream_reads_integers(few, tmp_path, kind):
    x, y = few
    np.save(tmp_path / "x.npy", x.astype(kind))
    np.save(tmp_path / "y.npy", y)
    splits = jaxnet.stream(tmp_path, inputs="tokens", pad=0)
    assert splits.train.dtype == np.int32
    assert (splits.train.vocabulary, splits.train.schema.pad, splits.test.pad) == (9, 0, 0)
    assert splits.train.empty.x.dtype == splits.test.x.dtype == np.int32
    some = random_rows(splits.train, np.random.default_rng(0), 1000)
    parts = (some, splits.validation, splits.test)
    found = np.concatenate([np.asarray(part.x) for part in parts])
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, x.tolist()))


def test_a_stream_names_the_row_without_ids(few, tmp_path):
    x, y = few
    x = x.astype(np.float32)
    x[7, 2] = 0.5
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    with pytest.raises(InputError, match=r"row 7 holds 0\.5, which is no whole number"):
        jaxnet.stream(tmp_path, inputs="tokens")
    splits = jaxnet.stream(tmp_path, inputs="tokens", corrupt="skip")
    assert splits.train.vocabulary == 9


def test_equal_sequences_in_two_parts_are_found():
    x = np.array([[1, 2], [3, 4], [5, 6], [7, 0]] * 5)
    splits = jaxnet.split(x, [0, 1, 0, 1] * 5, inputs="tokens")
    assert all(each.exactly == each.standardized > 0 for each in jaxnet.data.overlaps(splits))

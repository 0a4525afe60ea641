"""One Schema says what inputs and labels mean, in data sets, streams and trained networks."""

import copy
import inspect
import pickle
import warnings
from dataclasses import fields, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnet
from jaxnet.core.run import Run
from jaxnet.data import Column, Dataset, Schema, Splits, Stream
from jaxnet.data.streaming.rows import ArrayFiles

OLD_RUN = Path(__file__).parents[1] / "cli/old_run"
X, Y = np.zeros((4, 2), np.float32), np.arange(4, dtype=np.int32) % 2
NAMES, OTHERS = ("no", "yes"), ("off", "on")
COLUMNS = (Column("size"), Column("color", ("blue", "red")))
SCHEMA = Schema(NAMES, 16.0, COLUMNS)


@pytest.fixture(autouse=True)
def no_warning():
    """The parts of a schema are no former names."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(scope="module")
def table() -> Splits:
    return jaxnet.load(OLD_RUN / "flowers.csv", drop_columns="note")


@pytest.fixture(scope="module")
def run(table) -> Run:
    return jaxnet.fit(jaxnet.linear(), table, jaxnet.Recipe(epochs=1), jax.random.key(0))


def parts(noun) -> tuple:
    return noun.classes, noun.pixel_max, noun.columns


@pytest.mark.parametrize(
    "made",
    [
        lambda: Dataset(X, Y, NAMES, 16.0, None, COLUMNS),
        lambda: Dataset(X, Y, NAMES, pixel_max=16.0, columns=COLUMNS),
        lambda: Dataset(y=Y, x=X, columns=COLUMNS, pixel_max=16.0, classes=NAMES),
        lambda: Dataset(X, Y, schema=SCHEMA),
        lambda: Dataset(X, Y, NAMES, schema=replace(SCHEMA, classes=OTHERS)),
        lambda: replace(Dataset(X, Y, NAMES), pixel_max=16.0, columns=COLUMNS),
        lambda: replace(Dataset(X, Y), schema=SCHEMA),
    ],
)
def test_a_dataset_is_made_of_a_schema_or_of_its_parts(made):
    data = made()
    assert data.schema == SCHEMA
    assert parts(data) == (NAMES, 16.0, COLUMNS)
    assert (data.x is X, data.y is Y, data.outputs) == (True, True, 2)


def test_a_part_can_be_taken_away():
    data = replace(Dataset(X, Y, schema=SCHEMA), classes=None)
    assert parts(data) == (None, 16.0, COLUMNS)
    assert (data.outputs, data.schema.prediction_shape) == (1, ())
    assert SCHEMA.prediction_shape == (2,)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Dataset(X), "'y'"),
        (lambda: Dataset(X, Y, NAMES, classes=NAMES), "classes"),
        (lambda: Dataset(X, Y, NAMES, None, None, None, 3), "too many"),
        (lambda: Dataset(X, Y, clases=NAMES), "clases"),
        (lambda: Dataset(X, Y, NAMES, clases=NAMES), "clases"),
    ],
)
def test_wrong_arguments_are_refused_as_by_any_class(wrong, message):
    with pytest.raises(TypeError, match=message):
        wrong()


def test_the_signature_says_what_can_be_given():
    names = [*inspect.signature(Dataset).parameters]
    by_place = ["x", "y", "classes", "pixel_max", "groups", "columns"]
    named = ["label", "grouped_by", "missing", "fills", "vocabulary", "pad", "targets"]
    named += ["multi_label", "schema"]
    assert names == [*by_place, *named]
    assert [field.name for field in fields(Dataset)] == ["x", "y", "schema", "groups"]


def test_a_stream_takes_the_parts_where_they_stood(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    rows, none = ArrayFiles(tmp_path), np.zeros(0, np.int64)
    by_parts = Stream(rows, none, NAMES, 16.0, "skip")
    assert (by_parts.schema, by_parts.corrupt) == (Schema(NAMES, 16.0), "skip")
    assert by_parts.empty.schema is by_parts.schema
    assert replace(by_parts, pixel_max=None).schema == Schema(NAMES)


def test_splits_put_columns_into_their_parts(digits):
    given = (digits.train, digits.validation, digits.test, digits.standardization)
    splits = Splits(*given, columns=COLUMNS)
    assert splits.columns == splits.train.columns == splits.test.columns == COLUMNS
    assert splits.classes == digits.classes
    assert replace(digits, columns=COLUMNS).schema == splits.schema
    assert replace(splits, name="other").schema == splits.schema
    assert digits.columns is None


def test_columns_of_a_table_stay_where_the_training_set_is_made_of_arrays(table):
    assert [column.name for column in table.columns] == ["length", "width", "color"]
    rows = slice(0, 20)
    by_hand = Dataset(table.train.x[rows], table.train.y[rows], table.classes)
    splits = replace(table, train=by_hand)
    assert (by_hand.columns, splits.columns) == (None, table.columns)
    run = jaxnet.fit(jaxnet.linear(), splits, jaxnet.Recipe(epochs=1), jax.random.key(0))
    assert run.columns == table.columns


def test_a_run_means_what_its_data_do(table, run):
    assert run.schema == table.schema == table.train.schema
    assert run.shape == table.train.x.shape[1:]
    assert parts(run) == parts(table.test)
    renamed = replace(run, classes=OTHERS)
    assert renamed.schema == replace(run.schema, classes=OTHERS)
    values = {field.name: getattr(run, field.name) for field in fields(Run)}
    schema = values.pop("schema")
    assert Run(**values, **vars(schema)).schema == schema


def test_a_saved_run_is_read_with_its_schema(table, run, tmp_path):
    # runs did not always know the column of their labels
    columns = tuple(column._replace(fill=None) for column in table.columns)  # gaps were refused
    former = replace(table.schema, columns=columns, label=None)
    assert jaxnet.restore(OLD_RUN / "params").schema == former
    jaxnet.save(run, tmp_path / "run")
    assert jaxnet.restore(tmp_path / "run").schema == run.schema


def test_copies_keep_the_schema(run):
    for each in (copy.deepcopy(run), pickle.loads(pickle.dumps(run)), jax.tree.map(np.array, run)):
        assert each.schema == run.schema


def test_equal_schemas_share_a_compiled_program():
    compiled = []

    @jax.jit
    def count(data):
        compiled.append(data.schema)
        return jnp.sum(data.y)

    for _ in range(2):
        count(Dataset(X, Y, tuple(NAMES), 16.0, columns=tuple(Column(*each) for each in COLUMNS)))
    assert compiled == [SCHEMA]
    count(Dataset(X, Y, OTHERS, 16.0, columns=COLUMNS))
    assert len(compiled) == 2
    one, other = (jax.tree.structure(Dataset(X, Y, NAMES)) for _ in range(2))
    assert (one, hash(one)) == (other, hash(other))


def test_a_tree_of_a_dataset_may_hold_anything_in_place_of_arrays():
    data = Dataset(X, Y, schema=SCHEMA)
    axes = jax.tree.map(lambda _: 0, data)
    assert (axes.x, axes.y, axes.schema) == (0, 0, SCHEMA)
    stacked = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), data)
    assert jax.vmap(lambda each: jnp.sum(each.y), in_axes=(axes,))(stacked).tolist() == [2, 2]

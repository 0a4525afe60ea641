"""Checkpoints: whole or not at all, structures kept, hostile and broken ones refused."""

import functools
import json
import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import gap

import jaxnet
from jaxnet.core.recipe import describe_recipe
from jaxnet.data.streaming.stream import ReadSizes
from jaxnet.engine.loop import Pace, train

pytestmark = pytest.mark.core

KEY, MODEL = jax.random.key(0), jaxnet.mlp((8,))


@pytest.fixture(scope="module")
def run(digits):
    return jaxnet.fit(MODEL, digits, jaxnet.Recipe(epochs=1), KEY)


def test_structures_of_dicts_lists_and_tuples_survive(digits, tmp_path):
    def init(key, x):
        return {"a": [jnp.zeros((64, 10)), (jnp.zeros(10), {})], "b": None}, {}

    def apply(params, model_state, x, *, key=None, dropout=None):
        kernel, (bias, _) = params["a"]
        return x.reshape(len(x), -1) @ kernel + bias[None], model_state

    model = jaxnet.Model(init, apply, "plain")
    run = jaxnet.fit(model, digits, jaxnet.Recipe(epochs=1), KEY)
    jaxnet.save(run, tmp_path / "run")
    again = jaxnet.restore(tmp_path / "run")
    assert jax.tree.structure(run.params) == jax.tree.structure(again.params)
    assert gap(run.params, again.params) == 0


def test_a_regression_without_validation_round_trips(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3)).astype(np.float32)
    splits = jaxnet.split(x, x[:, 0] * 5 + 100, validation=0.0)
    run = jaxnet.fit(jaxnet.linear(), splits, jaxnet.Recipe(epochs=1), KEY)
    jaxnet.save(run, str(tmp_path / "run"))
    again = jaxnet.restore(str(tmp_path / "run"))
    assert again.best is None
    assert again.classes is None
    assert np.array_equal(*(jaxnet.predict(jaxnet.linear(), r, x) for r in (run, again)))


def test_an_existing_path_is_not_overwritten(run, tmp_path):
    with pytest.raises(jaxnet.InputError, match="exists already; give another path"):
        jaxnet.save(run, tmp_path)


def test_parameters_of_unknown_containers_are_refused(run, tmp_path):
    from collections import OrderedDict

    odd = replace(run, params={"a": {1: jnp.ones(2)}})
    with pytest.raises(jaxnet.InputError, match=r"params.a is a dict, which cannot be saved"):
        jaxnet.save(odd, tmp_path / "run")
    odd = replace(run, params=[slice(1)])
    with pytest.raises(jaxnet.InputError, match=r"params\[0\] is a slice"):
        jaxnet.save(odd, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    jaxnet.save(replace(run, params=OrderedDict(run.params)), tmp_path / "ordered")


def _break(name):
    def act(path):
        files = {p.name: p for p in path.rglob("*") if p.is_file()}
        if name == "empty folder":
            shutil.rmtree(path)
            path.mkdir()
        elif name == "array lost":
            shutil.rmtree(path / "state")
        elif name == "array cut":
            for file in (path / "state").rglob("*"):
                if file.is_file() and file.stat().st_size > 300:
                    file.write_bytes(file.read_bytes()[:100])
        else:
            meta = files["_CHECKPOINT_METADATA"]
            about = json.loads(meta.read_text())
            custom = about["custom_metadata"]
            {
                "other format": lambda: custom.update(jaxnet=99),
                "no arrays": lambda: custom.pop("arrays"),
                "other shape": lambda: custom["arrays"]["params"]["dict"]["output"]["dict"][
                    "bias"
                ].update(shape=[11]),
                "other optimizer field": lambda: custom["recipe"].pop("optimizer"),
                "no json": lambda: None,
            }[name]()
            meta.write_text("{" if name == "no json" else json.dumps(about))

    return act


@pytest.mark.parametrize(
    "name",
    [
        "empty folder",
        "array lost",
        "array cut",
        "other format",
        "no arrays",
        "other optimizer field",
        "no json",
    ],
)
def test_broken_checkpoints_are_refused(run, tmp_path, name):
    jaxnet.save(run, tmp_path / "run")
    _break(name)(tmp_path / "run")
    with pytest.raises(jaxnet.InputError, match=str(tmp_path / "run")):
        jaxnet.restore(tmp_path / "run")


def test_nothing_at_the_path(tmp_path):
    with pytest.raises(jaxnet.InputError, match="no such checkpoint"):
        jaxnet.restore(tmp_path / "none")


def test_no_file_is_a_pickle(run, tmp_path):
    jaxnet.save(run, tmp_path / "run")
    assert not [
        p for p in (tmp_path / "run").rglob("*") if p.is_file() and p.read_bytes()[:1] == b"\x80"
    ]


def test_another_training_in_the_folder_is_refused_by_its_difference(digits, tmp_path):
    few = jaxnet.Recipe(epochs=2, schedule="constant", batch_size=128, learning_rate=1e-3)
    train(MODEL, digits, few, KEY, out=tmp_path)
    with pytest.raises(jaxnet.InputError, match=r"recipe.learning_rate was 0.001 and is now 0.002"):
        train(
            MODEL,
            digits,
            jaxnet.Recipe(epochs=2, learning_rate=2e-3, schedule="constant", batch_size=128),
            KEY,
            out=tmp_path,
        )
    with pytest.raises(
        jaxnet.InputError, match=r"model was 'mlp\(hidden=\(8,\), activation=relu\)' and is now"
    ):
        train(jaxnet.mlp((9,)), digits, few, KEY, out=tmp_path)
    with pytest.raises(jaxnet.InputError, match=r"data\.training set was '1258 x \(8, 8\) uint8"):
        train(MODEL, jaxnet.load("digits", seed=1), few, KEY, out=tmp_path)
    for part in ("train", "validation", "test"):
        data = getattr(digits, part)
        x = np.array(data.x)
        x[-1, 0, 0] += 1
        changed = replace(digits, **{part: replace(data, x=x)})
        with pytest.raises(jaxnet.InputError, match=f"data.{part}[a-z]* set was"):
            train(MODEL, changed, few, KEY, out=tmp_path)
    with pytest.raises(jaxnet.InputError, match="key was"):
        train(MODEL, digits, few, jax.random.key(1), out=tmp_path)


def changed(data, part):
    """A data set of which one number of x, or one label, is another."""
    values = np.asarray(getattr(data, part)).copy()
    values.flat[7] = values.flat[7] + 1 if part == "x" else (values.flat[7] + 1) % 10
    return replace(data, **{part: values})


@pytest.mark.parametrize("what", ["x", "y"])
@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_training_is_not_continued_on_data_of_which_one_number_changed(
    part, what, digits, stopped, tmp_path
):
    shutil.copytree(stopped, tmp_path / "run")
    other = replace(digits, **{part: changed(getattr(digits, part), what)})
    before = [(file, file.read_bytes()) for file in files_of(tmp_path / "run/state")]
    with pytest.raises(
        jaxnet.InputError, match=f"{'training' if part == 'train' else part} set was .* and is now"
    ):
        train(MODEL, other, FOUR, KEY, out=tmp_path / "run")
    assert [(file, file.read_bytes()) for file in files_of(tmp_path / "run/state")] == before


def test_a_target_sample_that_was_not_there_is_a_difference(digits, stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "run")
    with pytest.raises(jaxnet.InputError, match="target sample was None and is now"):
        train(MODEL, replace(digits, target_sample=digits.test), FOUR, KEY, out=tmp_path / "run")


class Stop(Exception):
    pass


FOUR = jaxnet.Recipe(epochs=4)
EVERY = Pace(checkpoint_share=1e9)  # a checkpoint after each epoch


@pytest.fixture(scope="module")
def stopped(digits, tmp_path_factory):
    """A training that was stopped after 3 of 4 epochs, with a checkpoint after each."""
    folder = tmp_path_factory.mktemp("stopped")

    def progress(done, row):
        if done == 4:
            raise Stop

    with pytest.raises(Stop):
        train(MODEL, digits, FOUR, KEY, out=folder, progress=progress, pace=EVERY)
    return folder


@pytest.fixture(scope="module")
def undisturbed(digits):
    return train(MODEL, digits, FOUR, KEY)


def files_of(path):
    return sorted(file for file in path.rglob("*") if file.is_file())


def flipped(file, bit=0):
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1 << bit
    file.write_bytes(whole)


# What may happen to a checkpoint: (of its files, those that it may happen to; how).
DAMAGES = {
    "byte of the arrays": lambda path: flipped(
        max(files_of(path / "state"), key=lambda file: file.stat().st_size)
    ),
    "byte of what is said": lambda path: flipped(path / "_CHECKPOINT_METADATA"),
    "byte of a checksum": lambda path: flipped(path / "checksums.json"),
    "file cut": lambda path: [
        file.write_bytes(file.read_bytes()[:-1]) for file in files_of(path / "state")
    ],
    "file emptied": lambda path: (path / "state/_METADATA").write_bytes(b""),
    "file deleted": lambda path: max(
        files_of(path / "state"), key=lambda file: file.stat().st_size
    ).unlink(),
    "checksums deleted": lambda path: (path / "checksums.json").unlink(),
    "all deleted": lambda path: [shutil.rmtree(path), path.mkdir()],
    "a file in its place": lambda path: [shutil.rmtree(path), path.write_bytes(b"")],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_where_the_newest_checkpoint_is_damaged_training_goes_on_from_the_one_before(
    name, digits, stopped, undisturbed, tmp_path, caplog, capfd
):
    shutil.copytree(stopped, tmp_path / "run")
    state = tmp_path / "run/state"
    assert sorted(path.name for path in state.iterdir()) == ["00000002", "00000003"]
    DAMAGES[name](state / "00000003")
    found, began = files_of(state / "00000003"), list[int]()
    found = [(file.relative_to(state / "00000003"), file.read_bytes()) for file in found]
    run = train(
        MODEL,
        digits,
        FOUR,
        KEY,
        out=tmp_path / "run",
        progress=lambda done, row: began.append(done),
    )
    assert began[0] == 2
    assert gap(run.params, undisturbed.params) == 0
    warnings = [
        record
        for record in caplog.records
        if record.name == "jaxnet" and record.levelname == "WARNING"
    ]
    assert len(warnings) == 1
    for words in (str(state / "00000003"), "after epoch 2", "00000003.damaged"):
        assert words in warnings[0].getMessage()
    kept = state / "00000003.damaged"
    assert [(file.relative_to(kept), file.read_bytes()) for file in files_of(kept)] == found
    assert sorted(path.name for path in state.iterdir()) == [
        "00000003",
        "00000003.damaged",
        "00000004",
    ]
    assert capfd.readouterr() == ("", "")


def test_a_training_on_data_from_disk_goes_on_from_the_checkpoint_before_within_an_epoch_too(
    tmp_path, caplog
):
    draw = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data/x.npy", draw.normal(size=(3000, 4)).astype(np.float32))
    np.save(tmp_path / "data/y.npy", draw.integers(0, 3, 3000))
    splits = jaxnet.stream(tmp_path / "data")
    some_chunks = ReadSizes(block_bytes=1 << 8, chunk_bytes=1 << 8)
    splits = replace(splits, train=replace(splits.train, sizes=some_chunks))
    few, epochs = replace(FOUR, epochs=2, batch_size=64), list[int]()

    def stop(done, row):
        epochs.append(done)
        if done == 2:
            raise Stop

    whole = train(MODEL, splits, few, KEY)
    with pytest.raises(Stop):
        train(MODEL, splits, few, KEY, out=tmp_path / "run", progress=stop, pace=EVERY)
    before, newest = sorted((tmp_path / "run/state").iterdir())
    assert int(before.name) == int(newest.name) - 1 > 2, "no checkpoint within an epoch"
    DAMAGES["byte of the arrays"](newest)
    again = train(MODEL, splits, few, KEY, out=tmp_path / "run", pace=EVERY)
    assert gap((again.params, again.history), (whole.params, whole.history)) == 0
    assert [
        record.levelname for record in caplog.records if str(newest) in record.getMessage()
    ] == ["WARNING"]


@pytest.mark.parametrize("name", ["byte of the arrays", "all deleted"])
def test_where_no_checkpoint_is_intact_training_is_refused_again_and_again(
    name, digits, stopped, tmp_path
):
    shutil.copytree(stopped, tmp_path / "run")
    state = tmp_path / "run/state"
    for path in state.iterdir():
        DAMAGES[name](path)
    before = [(file, file.read_bytes()) for file in files_of(state)]
    for _ in range(2):
        with pytest.raises(
            jaxnet.InputError, match="no other checkpoint is intact; give another --out, or delete"
        ) as refused:
            train(MODEL, digits, FOUR, KEY, out=tmp_path / "run")
        assert str(state / "00000003") in str(refused.value)
        assert [(file, file.read_bytes()) for file in files_of(state)] == before
    shutil.rmtree(state)
    began = []
    train(
        MODEL,
        digits,
        FOUR,
        KEY,
        out=tmp_path / "run",
        progress=lambda done, row: began.append(done),
    )
    assert began[0] == 0


def test_after_a_damage_the_last_intact_one_lost_is_no_fresh_start(digits, stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "run")
    (tmp_path / "run/state/00000003").rename(tmp_path / "run/state/00000003.damaged")
    shutil.rmtree(tmp_path / "run/state/00000002")
    with pytest.raises(
        jaxnet.InputError, match=r"00000003\.damaged is damaged, and no other checkpoint is intact"
    ):
        train(MODEL, digits, FOUR, KEY, out=tmp_path / "run")


def test_what_a_kill_left_of_a_save_or_a_removal_is_no_damage(
    digits, stopped, undisturbed, tmp_path, caplog
):
    shutil.copytree(stopped, tmp_path / "run")
    state = tmp_path / "run/state"
    for name in (
        "00000004.unfinished",
        "00000004.unfinished.orbax-checkpoint-tmp-7",
        "00000001.unfinished",
        "00000009.orbax-checkpoint-tmp",
    ):
        (state / name).mkdir()
    (state / "mine").mkdir()
    began = []
    run = train(
        MODEL,
        digits,
        FOUR,
        KEY,
        out=tmp_path / "run",
        progress=lambda done, row: began.append(done),
    )
    assert began[0] == 3
    assert gap(run.params, undisturbed.params) == 0
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert {path.name for path in state.iterdir()} == {"mine", "00000003", "00000004"}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_run_is_refused_by_name_and_without_tracebacks(name, run, tmp_path, capfd):
    jaxnet.save(run, tmp_path / "run")
    DAMAGES[name](tmp_path / "run")
    with pytest.raises(jaxnet.InputError, match="train and save it again") as refused:
        jaxnet.restore(tmp_path / "run")
    assert str(tmp_path / "run") in str(refused.value)
    assert capfd.readouterr() == ("", "")


def before_checksums(path):
    """A checkpoint as it was written before there were checksums."""
    (path / "checksums.json").unlink()
    meta = path / "_CHECKPOINT_METADATA"
    about = json.loads(meta.read_text())
    about["custom_metadata"]["jaxnet"] = 1
    about["custom_metadata"]["recipe"]["optimizer"] = about["custom_metadata"]["recipe"][
        "optimizer"
    ].removeprefix("custom ")
    meta.write_text(json.dumps(about))


def test_a_run_from_before_checksums_is_read(run, tmp_path):
    jaxnet.save(run, tmp_path / "run")
    before_checksums(tmp_path / "run")
    again = jaxnet.restore(tmp_path / "run")
    assert gap(run.params, again.params) == 0
    assert again.recipe.optimizer == "adam"


def own(learning_rate):
    return optax.sgd(learning_rate)


own.__name__ = "adam"  # as a built-in one
OPTIMIZERS = {
    "adam": own,
    "lion": optax.lion,
    "sgd(momentum=0.9)": functools.partial(optax.sgd, momentum=0.9),
}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_custom_optimizer_is_asked_for_before_a_restored_recipe_trains(
    name, old, digits, tmp_path
):
    few = jaxnet.Recipe(epochs=1, batch_size=500, optimizer=OPTIMIZERS[name])
    run = jaxnet.fit(MODEL, digits, few, KEY)
    jaxnet.save(run, tmp_path / "run")
    if old:
        before_checksums(tmp_path / "run")
    again = jaxnet.restore(tmp_path / "run")
    assert np.array_equal(*(jaxnet.predict(MODEL, each, digits.test.x) for each in (run, again)))
    assert (
        jaxnet.evaluate(MODEL, again, digits.test).error
        == jaxnet.evaluate(MODEL, run, digits.test).error
    )
    if (old, name) != (
        True,
        "adam",
    ):  # of which an old file does not say that it was none of the built-in ones
        trainings = {
            "fit": lambda: jaxnet.fit(MODEL, digits, again.recipe, KEY),
            "train": lambda: train(MODEL, digits, again.recipe, KEY),
            "population": lambda: jaxnet.fit_population(
                MODEL, digits, again.recipe, jax.random.split(KEY, 2)
            ),
        }
        for begin in trainings.values():
            with pytest.raises(jaxnet.InputError, match=r"optimizer=") as refused:
                begin()
            assert name in str(refused.value)
        jaxnet.save(again, tmp_path / "again")
        assert jaxnet.restore(tmp_path / "again").recipe == again.recipe
    whole = jaxnet.restore(tmp_path / "run", optimizer=OPTIMIZERS[name])
    assert gap(jaxnet.fit(MODEL, digits, whole.recipe, KEY).params, run.params) == 0
    with pytest.raises(
        jaxnet.InputError, match="optimizer is custom rmsprop, but the run was trained with"
    ):
        jaxnet.restore(tmp_path / "run", optimizer=optax.rmsprop)


def test_a_built_in_optimizer_and_a_function_of_its_name_are_two(run, digits, tmp_path):
    jaxnet.save(run, tmp_path / "run")
    with pytest.raises(
        jaxnet.InputError,
        match="optimizer is custom adam, but the run was trained with adam; leave optimizer out",
    ):
        jaxnet.restore(tmp_path / "run", optimizer=own)
    few = jaxnet.Recipe(epochs=1, batch_size=500)
    train(MODEL, digits, few, KEY, out=tmp_path / "trained")
    with pytest.raises(
        jaxnet.InputError, match=r"recipe\.optimizer was 'adam' and is now 'custom adam'"
    ):
        train(MODEL, digits, replace(few, optimizer=own), KEY, out=tmp_path / "trained")


def test_recipes_are_described_by_short_decimals():
    described = describe_recipe(jaxnet.Recipe(learning_rate=jnp.float32(1e-3), dropout=0.1))
    assert (described["learning_rate"], described["dropout"], described["clip"]) == (
        0.001,
        0.1,
        None,
    )

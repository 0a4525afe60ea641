"""A finished run comes back from its folder as what it was."""

import json

import jax
import numpy as np
import pytest
from scripts import FAST, run_here

import jaxnet
from jaxnet.cli.saved_run import read_data, read_run
from jaxnet.models.builtin import named


@pytest.mark.core
@pytest.mark.parametrize(
    "model",
    [
        jaxnet.linear(),
        jaxnet.mlp(()),
        jaxnet.mlp((7, 5), activation="tanh", normalization="batch"),
        jaxnet.cnn((4, 8), (3,), kernel=(3, 5), stride=2, padding="VALID", normalization="layer"),
    ],
    ids=lambda model: model.name,
)
def test_a_built_in_model_is_found_again_by_its_name(model):
    assert named(model.name) is model


@pytest.mark.core
@pytest.mark.parametrize(
    "name",
    [
        "custom",
        "Net(3)",
        "mlp(hidden=(3,))",
        "mlp(hidden=(3,), activation=rule)",
        'mlp(__import__("os"))',
        "mlp(",
    ],
)
def test_other_names_are_no_built_in_models(name):
    with pytest.raises(jaxnet.InputError, match="is the name of no built-in model"):
        named(name)


def test_the_network_that_a_sweep_chose_comes_back_though_its_options_name_another(
    tmp_path, digits
):
    space = ("--space", "hidden=4,32", "--trials", "2", "--hidden", "8")
    run_here(*FAST, *space, "--out", tmp_path / "swept", script="sweep")
    swept = read_run(tmp_path / "swept")
    assert swept.model == jaxnet.mlp((32,))
    assert swept.about["hidden"] == [8]
    assert float(jaxnet.evaluate(swept.model, swept.run, digits.test).accuracy) > 0.5


def test_data_that_moved_are_found_by_the_name_of_their_file(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 4)).astype(np.float32), rng.integers(0, 2, 90)
    np.savez(tmp_path / "here.npz", x=x, y=y)
    options = ("--dataset", tmp_path / "here.npz", "--test", "0.3", "--split-seed", "4")
    run_here(*FAST, *options, "--out", tmp_path / "run")
    finished = read_run(tmp_path / "run")
    before = read_data(finished)
    np.testing.assert_array_equal(before.test.x, jaxnet.split(x, y, test=0.3, seed=4).test.x)
    (tmp_path / "there").mkdir()
    (tmp_path / "here.npz").rename(tmp_path / "there/here.npz")
    np.testing.assert_array_equal(read_data(finished, tmp_path / "there").test.x, before.test.x)
    with pytest.raises(
        jaxnet.InputError, match=r"run: its data set is not there: .*here.npz: no such file"
    ):
        read_data(finished)
    np.savez(tmp_path / "here.npz", x=x[:, :3], y=y)
    with pytest.raises(
        jaxnet.InputError, match=r"here.npz holds other examples than the network learned from"
    ):
        read_data(finished)


def test_a_run_keeps_what_its_rows_were_grouped_by(tmp_path):
    rng = np.random.default_rng(0)
    rows = (f"{i % 30},{rng.normal():.3f},{'ab'[rng.integers(2)]}" for i in range(120))
    (tmp_path / "t.csv").write_text("patient_id,size,kind\n" + "\n".join(rows) + "\n")
    options = ("--dataset", tmp_path / "t.csv")
    run_here(*FAST, *options, "--out", tmp_path / "run")
    note = "groups: 'patient_id' has 30 different values in 120 rows"
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["dataset"]["grouped_by"] == "patient_id"
    assert any(each.startswith(note) for each in result["dataset"]["notes"])
    assert note.split("'")[2] in (tmp_path / "run/report.html").read_text()
    finished = read_run(tmp_path / "run")
    assert read_data(finished).grouped_by == "patient_id"
    # A run of before identifiers were taken for groups was split row by row.
    del result["dataset"]["grouped_by"]
    (tmp_path / "run/result.json").write_text(json.dumps(result))
    assert read_data(finished).grouped_by is None
    run_here(*FAST, *options, "--groups", "None", "--out", tmp_path / "plain")
    assert read_run(tmp_path / "plain").about["groups"] == "none"
    assert read_data(read_run(tmp_path / "plain")).grouped_by is None


def test_a_run_of_a_model_of_ones_own_says_so(tmp_path, digits):
    model = jaxnet.mlp((4,)).for_outputs(10)._replace(name="mine")
    (tmp_path / "run.json").write_text('{"experiment": "mine"}')
    jaxnet.save(
        jaxnet.fit(model, digits, jaxnet.Recipe(epochs=1), jax.random.key(0)), tmp_path / "params"
    )
    with pytest.raises(jaxnet.InputError, match="'mine' is the name of no built-in model"):
        read_run(tmp_path)

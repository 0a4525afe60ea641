"""Former names still answer with a DeprecationWarning, and files that hold them are still read."""

import csv
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnet
from jaxnet import Plan, Recipe, cli
from jaxnet.cli.options import TrainOptions, current_words
from jaxnet.cli.saved_run import read_data, read_run
from jaxnet.data import Dataset, Splits, Standardization, corrupt
from jaxnet.data.overlap import Overlap
from jaxnet.diagnostics.findings import REMEDIES, Code, first_to_fix
from jaxnet.engine.fingerprint import current, differences
from jaxnet.errors import former, renamed
from jaxnet.report.html.page import page as html_of

# A run of `experiments.train` at commit 78f1180, without its page, figures and log, the table that
# it learned from, and what its `predict` wrote for new.csv.
OLD_RUN = Path(__file__).parent / "old_run"
KEY = jax.random.key(0)


@renamed(old="new")
def function(*, new):
    return new


def warned(name):
    return pytest.warns(DeprecationWarning, match=rf"^{name} is now called ")


def test_a_keyword_answers_to_its_former_name():
    with warned("old"):
        assert function(old=3) == 3
    assert function(new=3) == 3


def test_a_plan_answers_to_the_former_name_of_its_devices():
    with warned("parts"):
        assert Plan(devices=2, processes=3).parts == 6


def test_the_line_of_a_script_that_uses_a_former_name_is_shown(tmp_path):
    lines = (
        "import jaxnet",
        "jaxnet.Recipe(second_momentum=0.9)",
        "jaxnet.mlp(normalisation=None)",
    )
    (tmp_path / "script.py").write_text("\n".join(lines))
    said = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True
    ).stderr
    assert "script.py:2: DeprecationWarning: second_momentum is now called b2" in said
    assert "script.py:3: DeprecationWarning: normalisation is now called normalization" in said


def test_a_module_answers_to_a_former_name():
    answer = former("math", tau_of_old="tau")
    with warned("tau_of_old"):
        assert answer("tau_of_old") == 6.283185307179586
    with pytest.raises(AttributeError, match="module 'math' has no attribute 'pie'"):
        answer("pie")


def test_a_field_of_a_recipe_answers_to_its_former_name():
    with warned("second_momentum"):
        recipe = Recipe(optimizer="adam", second_momentum=0.9)
    assert recipe == Recipe(optimizer="adam", b2=0.9)
    with warned("second_momentum"):
        assert recipe.second_momentum == 0.9
    with warned("second_momentum"):  # which gives both names
        assert replace(recipe, second_momentum=0.8).b2 == 0.8
    assert jax.tree.map(lambda leaf: leaf, recipe) == recipe


def test_fields_of_data_answer_to_their_former_names():
    x, y = np.zeros((2, 3), np.float32), np.zeros(2, np.float32)
    with warned("white"):
        data = Dataset(x, y, white=16.0)
    with warned("white"):
        assert data.white == data.pixel_max == 16.0
    scale = Standardization(jnp.zeros(()), jnp.ones(()))
    with warned("standardisation"):
        splits = Splits(data, data, data, standardisation=scale)
    with warned("standardisation"):
        assert splits.standardisation is splits.standardization is scale
    with warned("standardised"):
        assert Overlap("test", "training", 1, 2).standardised == 2
    run = jaxnet.restore(OLD_RUN / "params")
    with warned("white"):
        assert run.white is None
    with warned("standardisation"):
        assert run.standardisation is run.standardization


def test_former_names_of_classes_and_functions_answer():
    with warned("Standardisation"):
        assert jaxnet.data.Standardisation is Standardization
    with warned("UnlabelledError"):
        assert jaxnet.diagnostics.UnlabelledError is jaxnet.diagnostics.UnlabeledError
    with warned("Log"):
        assert jaxnet.space.Log is jaxnet.space.LogUniform
    for old, new in {
        "first": "is_first",
        "own": "index_and_count",
        "agreed": "any_process",
        "meet": "barrier",
    }.items():
        with warned(old):
            assert getattr(jaxnet.processes, old) is getattr(jaxnet.processes, new)


def test_models_images_and_tables_take_former_keywords():
    with warned("normalisation"):
        assert jaxnet.mlp((4,), normalisation="layer") is jaxnet.mlp((4,), normalization="layer")
    with warned("normalisation"):
        assert jaxnet.cnn((4,), normalisation="batch") is jaxnet.cnn((4,), normalization="batch")
    x = np.full((1, 3, 3), 4.0, np.float32)
    with warned("white"):
        darker = corrupt(x, "inversion", 1.0, KEY, white=16.0)
    assert np.array_equal(darker, np.full((1, 3, 3), 12.0))
    with warned("ignore"):
        splits = jaxnet.load(OLD_RUN / "flowers.csv", ignore="note")
    assert [column.name for column in splits.columns] == ["length", "width", "color"]


def test_what_trains_takes_watch(digits):
    model, recipe, told = jaxnet.linear(), Recipe(epochs=1), []
    small = replace(digits, train=Dataset(digits.train.x[:64], digits.train.y[:64], digits.classes))
    with warned("watch"):
        jaxnet.train(model, small, recipe, KEY, watch=lambda done, row: told.append(done))
    assert told[-1] == 1
    with warned("watch"):
        jaxnet.fit_population(
            model, small, recipe, jax.random.split(KEY, 2), watch=lambda now: told.append(now.share)
        )
    assert told[-1] == 1.0
    trials = [{"second_momentum": 0.9}, {"second_momentum": 0.99}]
    with pytest.warns(DeprecationWarning, match="is now called") as names:
        found = jaxnet.sweep(
            model, small, replace(recipe, optimizer="adam"), trials, KEY, watch=told.append
        )
    assert {str(each.message).split()[0] for each in names} == {"watch", "second_momentum"}
    assert found.table["b2"].tolist() == [0.9, 0.99]
    assert told[-1].share == 1.0


@pytest.mark.parametrize("verb", [jaxnet.diagnose, jaxnet.learning_curve])
def test_studies_take_watch(digits, verb):
    with warned("watch"), pytest.raises(jaxnet.InputError, match="members is 0"):
        verb(jaxnet.linear(), digits, Recipe(epochs=1), KEY, members=0, watch=print)


def test_estimators_take_former_parameters():
    sklearn = pytest.importorskip("sklearn.base", reason="scikit-learn is not installed")
    with pytest.warns(DeprecationWarning, match="is now called") as names:
        network = jaxnet.JaxnetClassifier(normalisation="layer", second_momentum=0.9)
    assert {str(each.message).split()[0] for each in names} == {"normalisation", "second_momentum"}
    given = sklearn.clone(network).get_params()
    assert (given["normalization"], given["b2"]) == ("layer", 0.9)
    assert not {"normalisation", "second_momentum"} & set(given)
    with warned("second_momentum"):
        network.set_params(second_momentum=0.8)
    with warned("second_momentum"):
        assert network.second_momentum == network.b2 == 0.8


def test_options_are_read_by_their_former_names(capsys):
    told = []
    words = ["--ignore", "note", "--second_momentum=0.9", "--normalisation", "layer"]
    words += ["--space", "second_momentum=0.9:0.99", "ignore", "--label=ignore"]
    assert current_words(words, told.append) == [
        "--drop-columns", "note", "--b2=0.9", "--normalization", "layer",
        "--space", "b2=0.9:0.99", "ignore", "--label=ignore",
    ]  # fmt: skip
    assert told == [
        "--ignore is now called --drop-columns",
        "--second_momentum is now called --b2",
        "--normalisation is now called --normalization",
        "second_momentum is now called b2",
    ]
    options = ["--second-momentum", "0.9", "--dataset", "nowhere.csv"]
    assert cli.main("train", TrainOptions(), "", began=time.perf_counter(), arguments=options) == 2
    said = capsys.readouterr().err
    assert "warning: --second-momentum is now called --b2" in said
    assert "nowhere.csv" in said


def test_a_saved_run_of_before_is_restored_and_predicts_the_same():
    run = jaxnet.restore(OLD_RUN / "params")
    assert run.model == "mlp(hidden=(3,), activation=relu, normalization=layer)"
    assert float(run.recipe.b2) == np.float32(0.99)
    assert float(run.recipe.weight_decay) == np.float32(0.01)
    assert int(run.epochs) == 2
    x = np.array([[5.1, 3.2, 0, 1], [6.4, 1.9, 1, 0]], np.float32)
    expected = [[-0.74598813, -0.6429588], [-0.57604164, -0.82580817]]  # what 78f1180 printed
    found = jaxnet.predict(jaxnet.mlp((3,), normalization="layer"), run, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_saved_recipe_of_before_keeps_what_were_the_defaults(tmp_path):
    shutil.copytree(OLD_RUN / "params", tmp_path / "params")
    path = tmp_path / "params/_CHECKPOINT_METADATA"
    about = json.loads(path.read_text())
    about["custom_metadata"]["recipe"] |= {"schedule": "constant", "batch_size": 128, "epochs": 10}
    path.chmod(0o644)
    path.write_text(json.dumps(about))
    recipe = jaxnet.restore(tmp_path / "params").recipe
    assert (recipe.schedule, recipe.batch_size, recipe.epochs) == ("constant", 128, 10)


def test_the_folder_of_a_run_of_before_is_read(capsys):
    words = ["predict", "--run", str(OLD_RUN), str(OLD_RUN / "new.csv")]
    assert cli.main("train", TrainOptions(), "", began=time.perf_counter(), arguments=words) == 0
    found = list(csv.reader(capsys.readouterr().out.splitlines()))
    expected = list(csv.reader((OLD_RUN / "predicted.csv").read_text().splitlines()))
    assert [row[1:3] for row in found] == [row[1:3] for row in expected]
    np.testing.assert_allclose(
        [[float(p) for p in row[3:]] for row in found[1:]],
        [[float(p) for p in row[3:]] for row in expected[1:]],
        atol=2e-6,
    )
    finished = read_run(OLD_RUN)
    splits = read_data(finished, OLD_RUN)
    assert splits.columns == finished.run.columns
    wanted = json.loads((OLD_RUN / "result.json").read_text())["accuracy"]["test"]
    test = jaxnet.evaluate(finished.model, finished.run, splits.test).accuracy
    assert test.estimate == pytest.approx(wanted["estimate"])


def test_descriptions_of_before_are_those_of_today(tmp_path):
    before = {
        "model": "mlp(hidden=(3,), activation=relu, normalisation=layer)",
        "ignore": ["note"],
        "data": {"white": 16.0, "classes": ["white", "ignore"]},
        "space": ["second_momentum=0.9:0.99"],
    }
    now = {
        "model": "mlp(hidden=(3,), activation=relu, normalization=layer)",
        "drop_columns": ["note"],
        "data": {"pixel_max": 16.0, "classes": ["white", "ignore"]},
        "space": ["b2=0.9:0.99"],
    }
    assert current(before) == now == current(now)
    differences(before, now, where=tmp_path)
    with pytest.raises(jaxnet.InputError, match=r"pixel_max was 16\.0 and is now 255\.0"):
        differences(before, now | {"data": now["data"] | {"pixel_max": 255.0}}, where=tmp_path)


@pytest.mark.parametrize(
    ("before", "code"),
    [
        ("optimisation not finished", Code.NOT_FINISHED),
        ("optimization not finished", Code.NOT_FINISHED),
        ("optimization_not_finished", Code.NOT_FINISHED),
        ("chosen at the edge of the sweep", Code.EDGE_OF_SWEEP),
        ("high bias", Code.HIGH_BIAS),
        ("more data will not help", Code.MORE_DATA_WILL_NOT_HELP),
        ("more data helps too little", Code.MORE_DATA_WILL_NOT_HELP),
        ("mismatch", Code.MISMATCH),
    ],
)
def test_codes_of_findings_are_read_by_their_former_words(before, code):
    assert Code(before) is code
    assert json.loads(json.dumps(code)) == code.name.lower()
    assert Code(code.name.lower()) is code
    with pytest.raises(ValueError, match="'high tea' is not a valid Code"):
        Code("high tea")


def test_the_page_of_a_result_of_before_names_its_findings():
    found = json.loads((OLD_RUN / "result.json").read_text())
    codes = [Code(each["code"]) for each in found["findings"]]
    assert codes == [Code.HIGH_BIAS, Code.HIGH_VARIANCE, Code.MISMATCH]
    assert first_to_fix(codes) == "high_bias"
    page = html_of(found, OLD_RUN)
    words = " ".join(remedy.words for remedy in REMEDIES[Code.HIGH_BIAS])
    assert "<b>high bias</b>" in page
    assert "<summary><b>high variance</b>" in page
    assert all(word in page for word in words.split())

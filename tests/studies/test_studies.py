"""Studies as functions, without folders: their networks are those of fit, whatever is kept."""

import ast
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet import Recipe, cli
from jaxnet.diagnostics import Estimate, seeds_needed
from jaxnet.random import number_of
from jaxnet.studies import (
    compare_runs,
    find_label_errors,
    measure_bias_variance,
    seeds,
    spread_over_seeds,
)

MODEL, KEY = jaxnet.mlp((8,)), jax.random.key(7)
RECIPE = Recipe(epochs=2, batch_size=64, learning_rate=1e-2, schedule="constant")


def error(run, splits):
    return jaxnet.evaluate(MODEL, run, splits.test).error.estimate


def test_seeds_differ_in_what_their_kind_says(digits):
    found = spread_over_seeds(MODEL, digits, RECIPE, KEY, members=3, difference=0.1)
    keys = jax.random.split(KEY, 3)
    runs = {
        seeds.ALL: jaxnet.fit(MODEL, digits, RECIPE, keys[1], order_key=keys[1]),
        seeds.INITIALIZATION: jaxnet.fit(MODEL, digits, RECIPE, keys[1], order_key=keys[0]),
        seeds.ORDER_ALONE: jaxnet.fit(MODEL, digits, RECIPE, keys[0], order_key=keys[1]),
    }
    assert len(found.networks) == 9
    for kind, run in runs.items():
        slack = 1.5 / len(digits.test)  # rounding may turn an example
        assert found.errors[kind][1] == pytest.approx(error(run, digits), abs=slack)
        assert found.mean[kind].estimate == pytest.approx(np.mean(found.errors[kind]))
        assert found.deviation[kind].estimate == pytest.approx(np.std(found.errors[kind], ddof=1))
    assert (
        found.summary()["kinds"][seeds.ORDER_ALONE]["errors"]
        == found.errors[seeds.ORDER_ALONE].tolist()
    )
    # 26 is Cohen's number for an effect of 0.8 deviations (1988, table 2.4.1)
    needed = seeds_needed(Estimate(1.0, 0.8, 1.3), 0.8)
    assert "train each with 43 seeds. That is the upper limit: the estimate is 26 (17 to 43)" in (
        replace(found, needed=needed).words
    )
    endless = seeds_needed(Estimate(1.0, 0.5, 1e9), 0.1)
    assert "with more than 1,000,000 seeds" in replace(found, needed=endless).words
    refused = replace(found, needed=Estimate(float("nan"), refused="1 value cannot show a spread"))
    assert refused.words == "the number of seeds cannot be said: 1 value cannot show a spread"


def test_label_errors_are_the_same_with_a_folder_and_without(digits, tmp_path):
    alone = find_label_errors(MODEL, digits, RECIPE, KEY, members=12, most=5)
    kept = find_label_errors(MODEL, digits, RECIPE, KEY, members=12, most=5, out=tmp_path / "out")
    assert alone.summary() == kept.summary()
    assert alone.csv() == kept.csv()
    assert {part: len(rows) for part, rows in alone.doubtful.items()} == {
        "train": 5, "validation": 5, "test": 5,
    }  # fmt: skip
    whole = jaxnet.fit(MODEL, digits, RECIPE, jax.random.split(KEY, 13)[0])
    for one, other in zip(
        jax.tree.leaves(whole.params), jax.tree.leaves(alone.networks[0].params), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_labels_of_a_regression_are_refused():
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    splits = jaxnet.split(x, x[:, 0], seed=0)
    with pytest.raises(jaxnet.InputError, match="give a data set of classes"):
        find_label_errors(MODEL, splits, RECIPE, KEY)


@pytest.fixture(scope="module")
def patients():
    """40 patients with 3 to 9 rows each, and 3 classes."""
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(np.arange(40), rng.integers(3, 10, 40)))
    x = rng.normal(size=(len(groups), 3)) + groups[:, None] % 3
    return jaxnet.split(x, groups % 3, groups=groups, seed=0)


def in_whole_groups(seen, groups):
    """Whether each of these masks takes all or nothing of every group."""
    return all(len(set(mask[groups == group])) == 1 for mask in seen for group in set(groups))


def test_whatever_a_study_draws_are_whole_groups(patients):
    groups = patients.train.groups
    few = Recipe(epochs=1, batch_size=64, learning_rate=1e-2)
    curve = jaxnet.learning_curve(MODEL, patients, few, KEY, members=3)
    diagnosis = jaxnet.diagnose(MODEL, patients, few, KEY, members=4)
    labels = find_label_errors(MODEL, patients, few, KEY, members=12)
    for networks in (curve.networks, diagnosis.networks, labels.networks):
        seen = [networks.samples.seen(i) for i in range(len(networks))]
        assert in_whole_groups(seen, groups)
        assert min(mask.sum() for mask in seen) < len(groups)
    # The sizes of the curve are those that its networks have on average, each larger than the last.
    sizes = np.array([curve.networks.samples.seen(i).sum() for i in range(len(curve.networks))])
    assert np.allclose(curve.sizes, sizes.reshape(3, -1).mean(0), atol=0.5)
    assert (np.diff(curve.sizes) > 0).all()
    assert curve.sizes[-1] == len(groups)
    found = measure_bias_variance(MODEL, patients, few, KEY, members=4)
    of_first = found.splits.train.groups
    assert len(of_first) == sum((groups == group).sum() for group in set(of_first))
    assert abs(len(of_first) - len(groups) / 4) <= 9


def test_one_group_has_no_training_sets_that_differ(patients):
    train = replace(patients.train, groups=np.zeros(len(patients.train), int))
    with pytest.raises(jaxnet.InputError, match="all training examples are of one group"):
        measure_bias_variance(MODEL, replace(patients, train=train), RECIPE, KEY, members=4)


def test_bias_and_variance_tell_what_all_populations_have_done(digits):
    told = []
    found = measure_bias_variance(
        MODEL, digits, RECIPE, KEY, vary="label-noise", values=(0.0, 0.5), members=4,
        progress=told.append,
    )  # fmt: skip
    assert [each.value for each in found.measured] == [0.0, 0.5]
    assert {each.members for each in told} == {8}
    assert [each.share for each in told] == sorted(each.share for each in told)
    assert (told[-1].share, told[-1].finished) == (1.0, 8)
    clean, noisy = found.measured
    assert noisy.training.estimate > clean.training.estimate
    for each in found.measured:
        y = np.asarray(digits.test.y)
        wrong = (each.predictions.argmax(2) != y).mean()
        assert each.decomposition.loss.estimate == pytest.approx(wrong)
    assert len(found.splits.train) == clean.examples == len(digits.train) // 4


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"members": 1}, "variance needs at least 2"),
        ({"vary": "depth"}, "unknown vary 'depth'"),
        ({"vary": "width"}, "give a function from a width to a model"),
        ({"vary": "epochs", "values": (0.5,)}, "epochs takes whole numbers of at least 1"),
    ],
)
def test_bad_arguments_of_bias_and_variance(digits, more, words):
    with pytest.raises(jaxnet.InputError, match=words):
        measure_bias_variance(MODEL, digits, RECIPE, KEY, **more)


def test_a_single_run_is_not_compared():
    with pytest.raises(jaxnet.InputError, match="give two or more"):
        compare_runs([])


@pytest.mark.core
@pytest.mark.parametrize("seed", [0, 7, 2**31 - 1])
def test_the_number_of_a_key_is_its_seed(seed):
    assert number_of(jax.random.key(seed)) == seed


@pytest.mark.core
def test_the_numbers_of_other_keys_differ():
    keys = jax.random.split(jax.random.key(0), 100)
    assert len({number_of(key) for key in keys}) == 100


@pytest.mark.core
def test_studies_print_nothing_and_import_no_room_to_their_right():
    for path in (Path(jaxnet.__file__).parent / "studies").glob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) != "print"
            named = (
                [alias.name for alias in getattr(node, "names", [])]
                if isinstance(node, ast.Import)
                else []
            )
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.startswith(("jaxnet.report", "jaxnet.cli")) for name in named)


SCRIPTS = sorted((Path(jaxnet.__file__).parent.parent / "experiments").glob("[!_]*.py"))
FACES = {"jaxnet", *(f"jaxnet.{room}" for room in ("cli", "diagnostics", "report", "studies"))}


@pytest.mark.core
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_short_and_takes_public_names_only(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 60
    nodes = [each for each in ast.walk(ast.parse(text)) if isinstance(each, ast.ImportFrom)]
    assert {each.module for each in nodes if "jaxnet" in (each.module or "")} <= FACES


@pytest.mark.core
def test_every_name_that_scripts_take_from_the_command_line_is_there():
    told = ast.parse(Path(cli.__file__).read_text())
    (block,) = [each for each in told.body if isinstance(each, ast.If)]
    names = {alias.name for each in block.body for alias in getattr(each, "names", [])}
    assert names <= set(dir(cli))
    for name in names:
        assert getattr(cli, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'mian'"):
        _ = cli.mian


@pytest.mark.parametrize("study", [jaxnet.diagnose, jaxnet.learning_curve, measure_bias_variance])
def test_values_that_are_all_equal_are_refused_before_anything_is_trained(study):
    x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    splits = jaxnet.split(x, np.full(60, 2.5, np.float32))
    with pytest.raises(jaxnet.InputError, match="all 42 training values are 2"):
        study(MODEL, splits, RECIPE, KEY)

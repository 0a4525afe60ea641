"""One set of defaults for Recipe(), the command line and scikit-learn, and what training chooses
where a recipe leaves epochs or schedule open.
"""

from dataclasses import fields, replace

import jax
import numpy as np
import optax
import pytest
from conftest import gap

import jaxnet
from jaxnet import Recipe
from jaxnet.cli.options import Options, build_recipe
from jaxnet.core.recipe import SCHEDULES, check, resolved

KEY, MODEL = jax.random.key(0), jaxnet.mlp((8,))
FINISHED = Recipe(optimizer=optax.sgd(0.1), learning_rate=None)


@pytest.fixture(scope="module")
def few(digits):
    """90 training examples, which take 2 steps an epoch with batches of 64."""
    x, y = np.asarray(digits.train.x)[:110], np.asarray(digits.train.y)[:110]
    return jaxnet.split(x, y, validation=10 / 110, test=10 / 110)


def test_all_front_doors_have_the_same_defaults():
    pytest.importorskip("sklearn")
    estimator = jaxnet.JaxnetClassifier()
    assert Recipe(**{each.name: getattr(estimator, each.name) for each in fields(Recipe)}) == (
        Recipe()
    )
    for examples in (90, 1258, 60_000):
        assert resolved(build_recipe(Options()), examples) == resolved(Recipe(), examples)


@pytest.mark.parametrize(
    ("examples", "batch_size", "epochs"),
    # 10 epochs, or those that make nearest to 150 steps
    [(1, 64, 150), (64, 64, 150), (90, 64, 75), (309, 64, 30), (1258, 64, 10), (60_000, 64, 10),
     (309, 1000, 150), (309, 1, 10)],
)  # fmt: skip
def test_small_training_sets_are_passed_over_more_often(examples, batch_size, epochs):
    assert resolved(Recipe(batch_size=batch_size), examples).epochs == epochs
    assert resolved(Recipe(batch_size=batch_size, epochs=3), examples).epochs == 3


def test_the_schedule_is_one_cycle_and_that_of_a_finished_optimizer_its_own():
    assert resolved(Recipe(), 90).schedule == "one_cycle"
    assert resolved(Recipe(optimizer=optax.adam), 90).schedule == "one_cycle"
    assert resolved(Recipe(schedule="cosine"), 90).schedule == "cosine"
    assert resolved(FINISHED, 90).schedule == "constant"
    given = replace(Recipe(), optimizer=FINISHED.optimizer, learning_rate=None)
    check(given)
    assert resolved(given, 90) == resolved(FINISHED, 90)
    for schedule in SCHEDULES:
        if schedule == "constant":
            check(replace(FINISHED, schedule=schedule))
            continue
        with pytest.raises(jaxnet.InputError, match="brings its own schedule; leave schedule out"):
            check(replace(FINISHED, schedule=schedule))


def test_every_verb_resolves_alike_and_the_run_holds_what_was_chosen(few, tmp_path):
    """Bit for bit the training of the recipe that is written out."""
    written = Recipe(
        optimizer="adam", schedule="one_cycle", epochs=75, batch_size=64, learning_rate=3e-3
    )
    wanted = jaxnet.fit(MODEL, few, written, KEY)
    state = jaxnet.start(MODEL, few, Recipe(), KEY)
    states = [jaxnet.epoch(MODEL, few, recipe, state)[0] for recipe in (Recipe(), written)]
    assert gap(states[0].params, states[1].params) == 0
    for run in (
        jaxnet.fit(MODEL, few, Recipe(), KEY),
        jaxnet.train(MODEL, few, Recipe(), KEY, out=tmp_path / "run"),
    ):
        assert gap(run.params, wanted.params) == 0
        assert run.recipe == wanted.recipe
        assert (run.recipe.schedule, run.recipe.epochs, int(run.epochs)) == ("one_cycle", 75, 75)
    jaxnet.save(wanted, tmp_path / "saved")
    assert jaxnet.restore(tmp_path / "saved").recipe == wanted.recipe


def test_an_optimizer_of_optax_does_what_optax_does(few):
    run = jaxnet.fit(MODEL, few, FINISHED, KEY)
    alike = Recipe(optimizer="sgd", schedule="constant", epochs=75, learning_rate=0.1)
    assert gap(run.params, jaxnet.fit(MODEL, few, alike, KEY).params) < 1e-6
    assert run.recipe.epochs == 75


def test_members_resolve_each_by_its_own_batch_size(few):
    recipes = [Recipe(), Recipe(batch_size=20), Recipe(epochs=2), Recipe()]
    many = jaxnet.fit_population(MODEL, few, recipes, jax.random.split(KEY, 4))
    assert many.epochs.tolist() == [75, 30, 2, 75]
    assert [run.recipe.schedule for run in many.runs] == ["one_cycle"] * 3
    with pytest.raises(jaxnet.InputError, match="a recipe has 2 epochs"):
        jaxnet.fit_population(
            MODEL, few, recipes, jax.random.split(KEY, 4), halving=jaxnet.Halving((2,))
        )


def test_trials_of_a_sweep_have_the_epochs_of_its_recipe(few):
    trials = [{"batch_size": 64}, {"batch_size": 20}, {"epochs": 2}]
    found = jaxnet.sweep(MODEL, few, Recipe(), trials, KEY)
    assert found.population.epochs.tolist() == [75, 75, 2]
    assert found.recipe == replace(found.recipe, schedule="one_cycle")


def test_sizes_of_a_learning_curve_take_the_steps_of_the_whole_training_set(few):
    curve = jaxnet.learning_curve(MODEL, few, Recipe(), KEY, sizes=[30, 90], members=2)
    assert curve.networks.epochs.tolist() == [75] * 4


def test_a_training_set_on_disk_counts_its_rows(few, tmp_path):
    np.save(tmp_path / "x.npy", np.asarray(few.train.x, np.float32))
    np.save(tmp_path / "y.npy", np.asarray(few.train.y))
    splits = jaxnet.stream(tmp_path, validation=0, test=10)
    run = jaxnet.train(MODEL, splits, Recipe(), KEY)
    assert len(splits.train) == 80
    assert (run.recipe.epochs, int(run.epochs)) == (75, 75)

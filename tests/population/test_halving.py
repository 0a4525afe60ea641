"""Halving: who goes on is the run alone, who stops its beginning, and the choice that of full
histories, however often stopped.
"""

import functools
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import jax
import numpy as np
import pytest
from conftest import gap

import jaxnet
from jaxnet import Plan, Recipe, space
from jaxnet.data.splitting import take
from jaxnet.engine import checkpoint
from jaxnet.population.halving import Halving, Standings, survivors
from jaxnet.population.scheduler import Progress, Schedule
from jaxnet.studies.sweep import sweep

MODEL, MEMBERS = jaxnet.mlp((12,)), 9
KEYS = jax.random.split(jax.random.key(0), MEMBERS)
RATES = np.geomspace(3e-4, 0.3, MEMBERS)
RECIPE = Recipe(epochs=7, batch_size=64, schedule="one_cycle", learning_rate=1e-3)
RECIPES = [replace(RECIPE, learning_rate=rate) for rate in RATES]
HALVING = Halving((2, 4))  # 9, then 3, then 1
ALONE, TOGETHER = Plan(devices=1, chunk=1), Plan(devices=2, chunk=2)
# A call of the program, and a checkpoint, after every epoch.
EVERY_EPOCH = Schedule(call_seconds=0.0, checkpoint_share=1e9, checkpoint_growth=0.0)
KILLS = int(os.environ.get("JAXNET_KILLS", "2"))
ROUNDING = 1e-5


@pytest.fixture(scope="module")
def small(digits):
    """A few of the digits, so that an epoch is seven steps."""
    parts = {
        name: take(getattr(digits, name), slice(n))
        for name, n in (("train", 400), ("validation", 100), ("test", 60))
    }
    return jaxnet.data.splitting.assemble(*parts.values(), name="small")


@pytest.fixture(scope="module")
def alone(small):
    """Each member by `fit`, to its end."""
    return [
        jaxnet.fit(MODEL, small, recipe, key) for recipe, key in zip(RECIPES, KEYS, strict=True)
    ]


@pytest.fixture(scope="module")
def whole(small):
    return jaxnet.fit_population(MODEL, small, RECIPES, KEYS, halving=HALVING, plan=ALONE)


def expected_epochs(runs, rungs, kept, epochs):
    """By hand, from full histories: sorted by (error, loss, number) after each rung."""
    trained, going = np.full(len(runs), epochs), list(range(len(runs)))
    for rung, count in zip(rungs, kept, strict=True):

        def measure(i, rung=rung):
            accuracy, loss = (
                runs[i].history.validation_accuracy,
                float(runs[i].history.validation_loss[rung - 1]),
            )
            return (
                (np.inf, np.inf, i)
                if np.isnan(loss)
                else (0 if accuracy is None else 1 - float(accuracy[rung - 1]), loss, i)
            )

        going.sort(key=measure)
        trained[going[count:]], going = rung, going[:count]
    return list(trained)


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(ALONE, id="alone"),
        pytest.param(TOGETHER, id="together"),
        pytest.param(None, id="by rule", marks=pytest.mark.core),
    ],
)
def test_survivors_are_the_run_alone_and_losers_its_beginning(small, alone, plan):
    many = jaxnet.fit_population(MODEL, small, RECIPES, KEYS, halving=HALVING, plan=plan)
    assert list(many.epochs) == expected_epochs(alone, HALVING.rungs, (3, 1), 7)
    assert sorted(many.epochs) == [2] * 6 + [4] * 2 + [7]
    for i, run in enumerate(alone):
        done = int(many.epochs[i])
        for rows, full in zip(*map(jax.tree.leaves, (many[i].history, run.history)), strict=True):
            assert np.abs(rows[:done] - full[:done]).max() < ROUNDING
            assert np.isnan(rows[done:]).all()
        if done == 7:
            assert gap((many[i].params, many[i].best), (run.params, run.best)) < ROUNDING
            assert many[i].status == "finished after epoch 7"
        else:
            assert (
                many[i].status
                == f"stopped after epoch {done} of 7: others had a lower validation error"
            )
            state = jaxnet.start(MODEL, small, RECIPES[i], KEYS[i])
            for _ in range(done):
                state, _ = jax.jit(jaxnet.epoch, static_argnums=0)(MODEL, small, RECIPES[i], state)
            assert gap((many[i].params, many[i].best), (state.params, state.best)) < ROUNDING
    assert list(many.run.halved) == [done < 7 for done in many.epochs]
    assert not many.diverged.any()


def test_members_of_all_structures_are_ranked_together(small):
    """The wider network learns faster: none of the narrow ones is left, though there are as
    many.
    """
    models, keys = [jaxnet.mlp((2,)), jaxnet.mlp((24,))] * 3, KEYS[:6]
    recipe = Recipe(epochs=4, batch_size=64, learning_rate=0.01, schedule="constant")
    recipes = [recipe if i != 3 else replace(recipe, epochs=6) for i in range(6)]
    runs = [
        jaxnet.fit(model, small, recipe, key)
        for model, recipe, key in zip(models, recipes, keys, strict=True)
    ]
    heard = []
    many = jaxnet.fit_population(
        models, small, recipes, keys, halving=Halving((1,), keep=1 / 2), progress=heard.append
    )
    assert list(many.epochs) == [1, 4, 1, 6, 1, 4]
    assert [epochs == 1 for epochs in expected_epochs(runs, (1,), (3,), 6)] == [True, False] * 3
    assert len(many.runs) == 3
    for i in (1, 3, 5):
        assert gap(many[i].params, runs[i].params) < ROUNDING
    assert [now.share for now in heard] == sorted(now.share for now in heard)
    assert heard[-1].share == 1
    assert heard[-1].finished == 6


@pytest.mark.core
def test_who_diverged_is_last_and_equal_ones_go_on_by_number(small):
    """Nine of the same network but for one that explodes: all are equal, and the first go on."""
    recipe = Recipe(
        optimizer="sgd", epochs=4, batch_size=64, schedule="constant", learning_rate=1e-3
    )
    recipes = [replace(recipe, learning_rate=1e30 if i in (0, 2) else 0.01) for i in range(6)]
    many = jaxnet.fit_population(
        MODEL,
        small,
        recipes,
        KEYS[np.zeros(6, int)],
        halving=Halving((1, 2), keep=0.5),
        plan=TOGETHER,
    )
    assert list(many.epochs) == [1, 4, 1, 4, 2, 1]
    assert list(many.diverged) == [True, False, True, False, False, False]
    assert many[0].status.startswith("diverged at step")
    assert list(many.run.halved) == [False, False, False, False, True, True]
    lost = jaxnet.fit_population(
        MODEL,
        small,
        replace(recipe, learning_rate=np.full(4, 1e30)),
        KEYS[:4],
        halving=Halving((1, 3)),
        plan=ALONE,
    )
    assert list(lost.epochs) == [1] * 4
    assert lost.diverged.all()


def test_a_regression_is_ranked_by_its_loss():
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    splits = jaxnet.split(x, x.sum(1) * 100)
    recipes = [
        Recipe(epochs=4, learning_rate=rate, schedule="constant", batch_size=128) for rate in RATES
    ]
    runs = [jaxnet.fit(jaxnet.linear(), splits, recipe, KEYS[0]) for recipe in recipes]
    many = jaxnet.fit_population(
        jaxnet.linear(), splits, recipes, KEYS[np.zeros(MEMBERS, int)], halving=Halving((1, 2))
    )
    assert list(many.epochs) == expected_epochs(runs, (1, 2), (3, 1), 4)
    assert many[0].status == "stopped after epoch 1 of 4: others had a lower validation loss"


@pytest.mark.parametrize("plan", [ALONE, TOGETHER], ids=["alone", "together"])
def test_early_stopping_goes_on_working(small, plan):
    """A member stands for its best epoch so far, and one that came to its own end is not trained,
    whether it is among the best or not.
    """
    recipes = [
        replace(RECIPE, schedule="constant", patience=1, learning_rate=rate, epochs=12)
        for rate in np.geomspace(0.01, 0.3, MEMBERS)
    ]
    runs = [
        jaxnet.fit(MODEL, small, recipe, key) for recipe, key in zip(recipes, KEYS, strict=True)
    ]
    halving, trained, going = (
        Halving((3, 6), keep=0.5),
        np.array([int(run.epochs) for run in runs]),
        list(range(MEMBERS)),
    )
    own_ends = trained.copy()
    for rung, count in ((3, 5), (6, 3)):

        def measure(i, rung=rung):
            losses = np.asarray(runs[i].history.validation_loss)[:rung]
            best = int(np.nanargmin(losses))
            return 1 - float(runs[i].history.validation_accuracy[best]), losses[best], i

        going.sort(key=measure)
        trained[going[count:]], going = np.minimum(trained[going[count:]], rung), going[:count]
    many = jaxnet.fit_population(MODEL, small, recipes, KEYS, halving=halving, plan=plan)
    assert list(many.epochs) == list(trained)
    assert 2 <= (trained == own_ends).sum() < MEMBERS
    for i in map(int, np.flatnonzero(trained == own_ends)):
        assert many[i].status == runs[i].status
        assert gap(many[i].params, runs[i].params) < ROUNDING
    assert list(many.run.halved) == list(trained < own_ends)


@pytest.mark.core
def test_two_programs_whatever_the_rungs(small, compilations):
    recipe = Recipe(epochs=8, learning_rate=RATES, schedule="constant", batch_size=128)
    go = functools.partial(
        jaxnet.fit_population, splits=small, recipes=recipe, keys=KEYS, plan=TOGETHER
    )
    go(jaxnet.mlp((5,)), halving=HALVING)
    compilations.clear()
    go(jaxnet.mlp((6,)), halving=HALVING)
    assert len(compilations) == 2


def test_a_smaller_program_is_compiled_where_that_pays(small, caplog):
    with caplog.at_level(logging.DEBUG, "jaxnet"):
        many = jaxnet.fit_population(
            MODEL,
            small,
            RECIPES,
            KEYS,
            halving=HALVING,
            plan=Plan(1, chunk=4),
            schedule=Schedule(while_compiling=0.0),
        )
    assert [line.split(": ")[1].split(" in")[0] for line in caplog.messages if "wave" in line] == [
        "9 members",
        "1 members",
    ]
    assert caplog.messages.count("after epoch 2, 3 of 9 members go on") == 1
    assert sorted(many.epochs) == [2] * 6 + [4] * 2 + [7]


def test_progress_counts_the_epochs_that_are_trained(small):
    heard = []
    many = jaxnet.fit_population(
        MODEL, small, RECIPES, KEYS, halving=HALVING, plan=ALONE, progress=heard.append
    )
    shares = [now.share for now in heard]
    assert shares == sorted(shares)
    total = 9 * 2 + 3 * 2 + 1 * 3
    assert total == many.epochs.sum()
    assert {round(share * total, 6) for share in shares} >= {0, 2, 16, 18, 20, 24, 27}
    assert {now.finished for now in heard} == {0, 6, 8, 9}
    assert heard[-1] == Progress(9, 9, 7, 7, 1.0)


def trained(log):
    """(member, epoch) of everything that was trained, by a run's log."""
    return [
        (member, int(words[5]))
        for words in map(str.split, log.read_text().splitlines())
        if words[0] == "group"
        for first, last in (stretch.split("-") for stretch in words[3].split(","))
        for member in range(int(first), int(last) + 1)
    ]


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    "calls",
    [
        0,
        pytest.param(9, marks=pytest.mark.core),
        28,
        *(pytest.param(calls, marks=pytest.mark.slow) for calls in (3, 18, 19, 22, 25, 26)),
    ],
)
def test_a_population_continues_with_the_same_numbers(small, whole, tmp_path, calls):
    """Stopped while it begins, within a stage, right at a rung and after it; every epoch of every
    member is trained once.
    """
    left = [calls]

    def progress(now):
        left[0] -= 1
        if left[0] == -1:
            raise Stop

    go = functools.partial(
        jaxnet.fit_population,
        MODEL,
        small,
        RECIPES,
        KEYS,
        halving=HALVING,
        out=tmp_path / "p",
        schedule=EVERY_EPOCH,
    )
    with pytest.raises(Stop):
        go(plan=ALONE, progress=progress)
    again = go(plan=Plan(3, chunk=1))
    assert (
        gap(
            (whole.params, whole.run.best, whole.epochs),
            (again.params, again.run.best, again.epochs),
        )
        == 0
    )
    assert all(
        np.array_equal(a, b, equal_nan=True)
        for a, b in zip(*map(jax.tree.leaves, (whole.run.history, again.run.history)), strict=True)
    )
    log = tmp_path / "p/log.txt"
    assert sorted(trained(log)) == [
        (i, epoch) for i in range(MEMBERS) for epoch in range(1, whole.epochs[i] + 1)
    ]
    finished = go()
    assert gap(whole.params, finished.params) == 0
    assert len(trained(log)) == whole.epochs.sum()


def test_what_was_decided_stays_where_a_checkpoint_is_damaged(small, whole, tmp_path):
    go = functools.partial(
        jaxnet.fit_population,
        MODEL,
        small,
        RECIPES,
        KEYS,
        halving=HALVING,
        out=tmp_path / "p",
        plan=ALONE,
        schedule=EVERY_EPOCH,
    )
    go()
    parts = sorted((tmp_path / "p/state").glob("part-????????"), reverse=True)
    held = np.bincount(
        [member for part in parts for member in checkpoint.read_about(part)["members"]]
    )
    assert held.min() >= 2  # should one be damaged, there is the one before
    assert len(parts) < int(parts[0].name[-8:])  # older ones are removed
    for part in parts[:6]:
        for file in [path for path in part.rglob("*") if path.is_file()]:
            file.write_bytes(b"damaged")
        again = go()
        assert gap((whole.params, whole.epochs), (again.params, again.epochs)) == 0


@pytest.mark.parametrize(
    "other", [None, Halving((2, 5)), Halving((2, 4), keep=0.5), Halving((2, 4), together=3)]
)
def test_a_folder_of_another_halving_is_refused(small, tmp_path_factory, other):
    folder = tmp_path_factory.getbasetemp() / "of-a-halving"
    go = functools.partial(jaxnet.fit_population, MODEL, small, RECIPES, KEYS, out=folder)
    if not folder.exists():
        go(halving=HALVING)
    with pytest.raises(jaxnet.InputError, match="holds a training of something else: halving"):
        go(halving=other)


@pytest.mark.parametrize(
    ("halving", "message"),
    [
        (Halving(()), r"rungs of halving are \(\); give at least one"),
        (Halving((2, 2)), r"rungs of halving are \(2, 2\)"),
        (Halving((0, 2)), r"rungs of halving are \(0, 2\)"),
        (
            Halving((2, 7)),
            "the last rung of halving is 7, and a recipe has 7 epochs; give rungs below it, or "
            "more epochs",
        ),
        (Halving((2,), keep=1.0), "keeps a share of 1.0; give a number between 0 and 1"),
        (Halving((2,), keep=0.0), "keeps a share of 0.0"),
        (Halving((2,), together=2), "takes 2 members together, of 9"),
    ],
)
def test_bad_halvings_are_refused(small, halving, message):
    with pytest.raises(jaxnet.InputError, match=message):
        jaxnet.fit_population(MODEL, small, RECIPES, KEYS, halving=halving)


def test_halving_needs_a_validation_set():
    x = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    splits = jaxnet.split(x, (x[:, 0] > 0).astype(int), validation=0.0)
    with pytest.raises(
        jaxnet.InputError, match="ranks members on the validation set, which is empty"
    ):
        jaxnet.fit_population(MODEL, splits, RECIPE, KEYS, halving=HALVING)


@pytest.mark.parametrize(
    ("epochs", "factor", "first", "rungs"),
    [
        (16, 4, 1, (1, 4)),
        (17, 4, 1, (1, 4, 16)),
        (2, 2, 1, (1,)),
        (81, 3, 1, (1, 3, 9, 27)),
        (100, 3, 5, (5, 15, 45)),
    ],
)
def test_geometric_rungs(epochs, factor, first, rungs):
    assert Halving.geometric(epochs, factor=factor, first=first) == Halving(rungs, keep=1 / factor)


@pytest.mark.parametrize(
    "given",
    [
        {"epochs": 1},
        {"epochs": 9, "factor": 1},
        {"epochs": 9, "first": 9},
        {"epochs": 9, "first": 0},
    ],
)
def test_no_geometric_rungs(given):
    with pytest.raises(
        jaxnet.InputError,
        match=r"give at least 2, and a rung below|first is 0; give a whole number of at least 1",
    ):
        Halving.geometric(**given)


def test_trials_are_ranked_by_the_mean_of_their_members():
    """Against a sort in plain Python, over random tables with ties, members that diverged, and
    trials that stopped before.
    """
    rng = np.random.default_rng(0)
    for _ in range(100):
        trials, together = int(rng.integers(1, 12)), int(rng.integers(1, 4))
        measure = np.stack(
            [rng.integers(0, 4, trials * together), rng.integers(0, 3, trials * together)], 1
        ).astype(float)
        measure[rng.random(len(measure)) < 0.1] = np.inf
        running = rng.random(trials) < 0.7
        running[0] = True
        keep = float(rng.uniform(0.1, 0.9))
        count = max(1, round(keep * running.sum() + 1e-12))
        means = [tuple(measure[i * together : (i + 1) * together].mean(0)) for i in range(trials)]
        best = sorted((i for i in range(trials) if running[i]), key=lambda i: (*means[i], i))[
            :count
        ]
        found = Standings(measure, np.zeros(len(measure), int), np.zeros(len(measure), bool))
        goes_on = survivors(Halving((1,), keep, together), found, np.repeat(running, together))
        assert sorted(best) == list(np.flatnonzero(goes_on[::together]))
        assert (goes_on.reshape(trials, together) == goes_on[::together, None]).all()
        # Decided before, half of the members of a trial are trained again and now seem the best: it
        # is as it was.
        settled = np.repeat(np.where(np.isin(np.arange(trials), best), -1, 1), together) * (
            np.arange(len(measure)) % together == 0
        )
        found = Standings(-measure, settled, found.over)
        assert np.array_equal(
            goes_on, survivors(Halving((1,), keep, together), found, np.repeat(running, together))
        )


@pytest.mark.core
def test_a_sweep_stops_all_seeds_of_a_trial_together(small):
    trials = [{"learning_rate": rate} for rate in (1e-5, 3e-2, 1e-2, 1e-5)]
    full = sweep(MODEL, small, RECIPE, trials, jax.random.key(1), seeds=2)
    found = sweep(
        MODEL,
        small,
        RECIPE,
        trials,
        jax.random.key(1),
        seeds=2,
        halving=Halving((1, 3), keep=1 / 2),
    )
    assert list(found.table["trained_epochs"]) == [1, 7, 3, 1] or list(
        found.table["trained_epochs"]
    ) == [1, 3, 7, 1]
    assert list(found.population.epochs) == list(np.repeat(found.table["trained_epochs"], 2))
    history = full.population.run.history
    errors = 1 - np.asarray(history.validation_accuracy, float).reshape(4, 2, 7).mean(1)
    assert list(np.argsort(errors[:, 0])[:2]) in ([1, 2], [2, 1])
    assert found.best == min(
        (1, 2),
        key=lambda i: (
            errors[i, 2],
            np.asarray(history.validation_loss).reshape(4, 2, 7).mean(1)[i, 2],
        ),
    )
    assert found.table["error"][found.best] == pytest.approx(
        full.table["error"][found.best], abs=1e-6
    )
    assert found.table["error"][0] == pytest.approx(errors[0, 0], abs=1e-6)
    assert (
        "of 4 has the lowest validation error of the 1 that were trained to their end"
        in found.words[0]
    )
    assert found.words[-1] == (
        "halving stopped 3 of 4 trials (2 after epoch 1, 1 after epoch 3): 24 epochs of networks "
        "were trained, "
        "43% of the 56 of the full sweep"
    )
    assert "trained_epochs" in found.csv().splitlines()[0]
    assert "trained_epochs" not in full.table


def test_the_best_of_a_sweep_was_trained_to_its_end(small):
    """Also where a trial that was stopped had a lower error than those that went on have at their
    end.
    """
    space_ = space.grid({"learning_rate": space.LogUniform(3e-3, 3e-1)}, 6)
    found = sweep(
        MODEL,
        small,
        replace(RECIPE, schedule="constant"),
        space_,
        jax.random.key(1),
        halving=Halving((6,), keep=0.3),
    )
    whole_ = found.table["trained_epochs"] == 7
    assert whole_.sum() == 2
    assert whole_[found.best]
    assert found.table["error"][found.best] == found.table["error"][whole_].min()
    with pytest.raises(jaxnet.InputError, match="every network of every trial diverged"):
        sweep(
            MODEL,
            small,
            Recipe(
                optimizer="sgd", schedule="constant", epochs=10, batch_size=128, learning_rate=1e-3
            ),
            [{"learning_rate": 1e30}] * 3,
            jax.random.key(0),
            halving=Halving((1,)),
        )


PROGRAM = """
import sys, jax, jaxnet, numpy as np
from jaxnet.population.halving import Halving
from jaxnet.population.scheduler import Schedule

if sys.argv[2]:
    jax.config.update("jax_compilation_cache_dir", sys.argv[2])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
splits = jaxnet.load("digits")
keys, rates = jax.random.split(jax.random.key(0), 24), np.geomspace(1e-4, 0.1, 24)
recipe = jaxnet.Recipe(epochs=60, batch_size=32, learning_rate=rates)
halving = Halving((5, 15, 30), keep=1 / 2)
jaxnet.fit_population(
    jaxnet.mlp((16,)),
    splits,
    recipe,
    keys,
    halving=halving,
    plan=jaxnet.Plan(chunk=1),
    out=sys.argv[1],
    schedule=Schedule(call_seconds=0.02),
)
"""


def _process(folder):
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        PROGRAM,
        str(folder),
        str(jax.config.jax_compilation_cache_dir or ""),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kills", [1, pytest.param(KILLS, marks=pytest.mark.slow)])
def test_kills_at_random_moments_lose_nothing(kills, tmp_path):
    """Kill -9 while it trains, ranks and saves; then to the end: the same choices, and the same
    networks.
    """
    (process := _process(tmp_path / "undisturbed")).communicate()
    assert process.returncode == 0
    folder, moments, killed = tmp_path / "p", np.random.default_rng(0), 0
    log = folder / "log.txt"
    for _ in range(kills):
        process = _process(folder)
        wanted = (log.read_text().count("group") if log.exists() else 0) + int(
            moments.integers(5, 60)
        )
        while (
            process.poll() is None
            and (log.read_text().count("group") if log.exists() else 0) < wanted
        ):
            time.sleep(0.005)
        process.kill()
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors
        killed += process.returncode == -signal.SIGKILL
    _, errors = (process := _process(folder)).communicate()
    assert process.returncode == 0, errors
    assert killed == kills
    for name in ("validation", "test"):
        a, b = (
            np.load(each / f"predictions/{name}.npy") for each in (tmp_path / "undisturbed", folder)
        )
        assert np.array_equal(a, b, equal_nan=True)

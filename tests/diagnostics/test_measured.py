"""Remedies are ordered by what they gained in simulated problems, and say so."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxnet
from experiments.benchmarks import remedies, rows
from jaxnet import Recipe
from jaxnet.diagnostics import measured
from jaxnet.diagnostics.findings import (
    DROPOUT,
    HIDDEN_LAYERS,
    MORE_DATA,
    REMEDIES,
    SMALLER,
    TRAIN_LONGER,
    Code,
    applicable,
    finding,
)
from jaxnet.stats.estimate import Estimate

TABLE = {
    "high_variance": {
        "train add as many more": (4, 8, 2.0),
        "dropout set 0.2": (6, 8, 1.0),
        "hidden multiply 0.5": (4, 8, 3.0),
        "patience set 5": (0, 8, 0.0),
    },
    "not_finished": {"epochs multiply 2": (1, 8, 1.0), "learning_rate multiply 3": (8, 8, 9.0)},
}


def left(code, recipe=None, **given):
    """The remedies of a finding that apply."""
    found = finding(code, Estimate(0.1), True, "")
    return applicable([found], recipe or Recipe(), **given)[0].remedies


def test_the_table_is_that_of_the_study():
    assert remedies.summary(rows.read(remedies.TABLE)) == measured.TABLE


def test_the_table_names_codes_and_remedies_that_there_are():
    for code, found in measured.TABLE.items():
        known = {measured.key(each) for each in (*REMEDIES[Code(code)], HIDDEN_LAYERS)}
        assert set(found) <= known
        assert all(0 <= helped <= cases for helped, cases, _ in found.values())


def test_a_summary_counts_what_helped_among_problems_that_are_there():
    """The numbers are counted by hand."""
    gains = (("a", "2.00", "yes", "yes"), ("b", "0.10", "no", "yes"), ("c", "4.00", "yes", "yes"))
    table = [
        {"problem": name, "code": "x", "remedy": "r", "gain": gain, "helped": yes, "counts": there}
        for name, gain, yes, there in (*gains, ("d", "9.00", "yes", "no"))
    ]
    assert remedies.summary(table) == {"x": {"r": (2, 3, 3.0)}}


def test_remedies_that_helped_more_often_come_first(monkeypatch):
    monkeypatch.setattr(measured, "TABLE", TABLE)
    found = left(Code.HIGH_VARIANCE, Recipe(weight_decay=1.0))
    assert found[:3] == (DROPOUT, SMALLER, MORE_DATA)  # 6 of 8, then 4 of 8 by their median gains
    assert [each.field for each in found[3:]] == ["patience", "augmentation"]  # none, not measured
    assert (found[0].helped, found[0].cases, found[0].gain) == (6, 8, 0.01)
    assert found[0].told == (
        "regularize: dropout (helped in 6 of 8 simulated problems, median: error 1.0 points lower)"
    )
    assert found[3].told == "stop early (did not help in any of 8 simulated problems)"
    assert found[4].told == found[4].words
    assert measured.promising(found) == (*found[:3], *found[4:])
    assert measured.promising(found[3:4]) == found[3:4]


def test_what_a_remedy_lowers_is_named_with_its_gain():
    found = left(Code.OVERCONFIDENT)[0]
    assert found.gain_of == "overconfidence"
    assert found.told.endswith(
        "(helped in the one simulated problem: confidence 8.5 points closer to accuracy)"
    )
    assert "Simulated problems are" in measured.not_tried([found.cases])
    assert measured.not_tried([None]) == measured.NOT_TRIED


def test_confidence_that_falls_below_the_accuracy_is_no_gain(monkeypatch):
    """From 4 points above the accuracy to 13 below it is a loss of 9."""
    told = iter([4.0, -13.0])  # without the remedy, and with it
    monkeypatch.setattr(remedies, "sizes", lambda *_, **__: np.full(4, next(told)))
    monkeypatch.setattr(
        remedies, "tried", lambda remedy, now, *_: now if remedy.field == "patience" else None
    )
    row = remedies.trials("5 classes, 200 rows, too sure", 4)[0]
    assert (row["gain"], row["helped"]) == ("-9.00", "no")


def test_the_first_remedy_of_a_finding_about_the_training_removes_its_cause(monkeypatch):
    monkeypatch.setattr(measured, "TABLE", TABLE)
    found = left(Code.NOT_FINISHED)
    assert [each.field for each in found] == ["epochs", "learning_rate"]
    assert [each.helped for each in found] == [1, 8]


def test_more_epochs_are_no_remedy_where_early_stopping_ended_the_training():
    recipe = Recipe(patience=3)
    assert TRAIN_LONGER in left(Code.HIGH_BIAS, recipe)
    assert TRAIN_LONGER not in left(Code.HIGH_BIAS, recipe, stopped_early=True)


def test_weight_decay_is_no_remedy_where_the_optimizer_is_an_own_one():
    fields = [each.field for each in left(Code.HIGH_VARIANCE, Recipe(optimizer=optax.adam))]
    assert "weight_decay" not in fields
    assert "dropout" in fields


def test_a_run_knows_whether_it_stopped_early():
    rng = np.random.default_rng(0)
    splits = jaxnet.split(rng.standard_normal((80, 3)).astype("f4"), rng.integers(0, 2, 80), seed=0)
    recipe = Recipe(epochs=40, patience=1, learning_rate=0.1)
    run = jaxnet.fit(jaxnet.linear(), splits, recipe, jax.random.key(0))
    assert run.status.startswith("stopped early")
    assert run.stopped_early
    assert not dataclasses.replace(run, epochs=jnp.asarray(40)).stopped_early

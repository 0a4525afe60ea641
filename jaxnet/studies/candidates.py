"""Candidates of advice: changes of a recipe or a model, as data that a population can train.

Each kind of change is a function of a model and a recipe that returns its candidates, or none where
it does not apply.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from jaxnet import display
from jaxnet.core.recipe import Recipe, is_finished
from jaxnet.data import Splits
from jaxnet.diagnostics.findings import Finding
from jaxnet.models.builtin import deepened, is_linear, widened
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model

Kind = Literal["current", "rate", "longer", "wider", "deeper", "weights", "inputs", "loss"]

# In order of what is given up last where time is short.
RATE_FACTORS = (3.0, 1 / 3, 10.0, 0.1)
EPOCH_FACTORS = (2, 4)
WIDTH_FACTOR = 2
# Learning rates that suit most networks of moderate size.
USUAL_RATES = {
    "sgd": 0.1,
    "momentum": 0.03,
    "nesterov": 0.03,
    "adam": 3e-3,
    "adamw": 3e-3,
    "muon": 0.02,
}


@dataclass(frozen=True)
class Candidate:
    """A way to train that could take the place of the current one, or the current one itself.

    Attributes:
        name: what is changed, in words.
        kind: the kind of change.
        model: the model.
        recipe: the recipe.
        balance: whether every class counts the same in the loss of the training; the weights of
            the classes are made from the examples that a network is trained on.
        standardized: whether inputs are standardized anew, by mean and scale of the pool.
        loss: the loss of the training; by default that of the kind of labels.
        rule: what is decided again inside each training part; None for nothing.
        votes: number of networks that predict together.
    """

    name: str
    kind: Kind
    model: Model
    recipe: Recipe
    balance: bool = False
    standardized: bool = False
    loss: Loss | None = None
    rule: Any | None = None
    votes: int = 1

    __repr__ = display.text


def candidates(
    model: Model,
    recipe: Recipe,
    splits: Splits | None = None,
    findings: Sequence[Finding] = (),
    *,
    balance: bool = False,
    loss: Loss | None = None,
) -> tuple[Candidate, ...]:
    """List what could be changed about a way to train.

    Args:
        model: the model.
        recipe: the recipe, with a number of epochs.
        splits: the data, if they are known.
        findings: what a diagnosis, or the networks of the recipe, have shown to be wrong.
        balance: whether every class counts the same in the loss of the training.
        loss: the loss of the training; by default that of the kind of labels.
    """
    now = current(model, recipe, balance=balance, loss=loss)
    kinds = (_rates, _longer, _wider, _deeper)
    return tuple(candidate for kind in kinds for candidate in kind(now))


def current(
    model: Model, recipe: Recipe, *, balance: bool = False, loss: Loss | None = None
) -> Candidate:
    """Describe the way to train that others are compared with."""
    return Candidate("the current recipe", "current", model, recipe, balance, loss=loss)


def _rates(now: Candidate) -> list[Candidate]:
    """Learning rates above and below, and the usual one of the optimizer where that is farther
    away.
    """
    recipe = now.recipe
    if is_finished(recipe.optimizer) or recipe.learning_rate is None:
        return []
    rate = float(np.asarray(recipe.learning_rate))
    tried = {factor * rate: f"{factor:.2g} x" for factor in RATE_FACTORS if rate > 0}
    usual = USUAL_RATES.get(recipe.optimizer) if isinstance(recipe.optimizer, str) else None
    if usual is not None and not min(tried, default=1.0) <= usual <= max(tried, default=0.0):
        tried = {usual: f"the usual one of {recipe.optimizer}", **tried}
    return [
        _with_recipe(now, f"learning rate {each:.2g} ({words})", "rate", learning_rate=each)
        for each, words in tried.items()
    ]


def _longer(now: Candidate) -> list[Candidate]:
    epochs = now.recipe.epochs
    return [
        _with_recipe(
            now, f"{factor * epochs} epochs ({factor} x)", "longer", epochs=factor * epochs
        )
        for factor in EPOCH_FACTORS
    ]


def _wider(now: Candidate) -> list[Candidate]:
    wider = widened(now.model, WIDTH_FACTOR)
    if wider is None:
        return []
    words = "hidden layers" if is_linear(now.model) else f"hidden layers {WIDTH_FACTOR} x as wide"
    return [replace(now, name=words, kind="wider", model=wider)]


def _deeper(now: Candidate) -> list[Candidate]:
    deeper = deepened(now.model)
    if deeper is None:
        return []
    return [replace(now, name="one more hidden layer", kind="deeper", model=deeper)]


def _with_recipe(now: Candidate, name: str, kind: Kind, **changes: Any) -> Candidate:
    return replace(now, name=name, kind=kind, recipe=replace(now.recipe, **changes))

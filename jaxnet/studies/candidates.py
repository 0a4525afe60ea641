"""Candidates of advice: changes of a recipe or a model, as data that a population can train.

Each kind of change is a function of a model and a recipe that returns its candidates, or none where
it does not apply.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from jaxnet import display
from jaxnet.core.recipe import Recipe, is_finished
from jaxnet.models.builtin import deepened, is_linear, widened
from jaxnet.models.model import Model

Kind = Literal["rate", "longer", "wider", "deeper"]

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
    """A recipe and a model that could take the place of the current ones.

    Attributes:
        name: what is changed, in words.
        kind: the kind of change.
        model: the model.
        recipe: the recipe.
    """

    name: str
    kind: Kind
    model: Model
    recipe: Recipe

    __repr__ = display.text


def candidates(model: Model, recipe: Recipe) -> tuple[Candidate, ...]:
    """List what could be changed about a model and a recipe.

    Args:
        model: the model.
        recipe: the recipe, with a number of epochs.
    """
    kinds = (_rates, _longer, _wider, _deeper)
    return tuple(candidate for kind in kinds for candidate in kind(model, recipe))


def _rates(model: Model, recipe: Recipe) -> list[Candidate]:
    """Learning rates above and below, and the usual one of the optimizer where that is farther
    away.
    """
    if is_finished(recipe.optimizer) or recipe.learning_rate is None:
        return []
    rate = float(np.asarray(recipe.learning_rate))
    tried = {factor * rate: f"{factor:.2g} x" for factor in RATE_FACTORS if rate > 0}
    usual = USUAL_RATES.get(recipe.optimizer) if isinstance(recipe.optimizer, str) else None
    if usual is not None and not min(tried, default=1.0) <= usual <= max(tried, default=0.0):
        tried = {usual: f"the usual one of {recipe.optimizer}", **tried}
    return [
        Candidate(
            f"learning rate {each:.2g} ({words})",
            "rate",
            model,
            replace(recipe, learning_rate=each),
        )
        for each, words in tried.items()
    ]


def _longer(model: Model, recipe: Recipe) -> list[Candidate]:
    return [
        Candidate(
            f"{factor * recipe.epochs} epochs ({factor} x)",
            "longer",
            model,
            replace(recipe, epochs=factor * recipe.epochs),
        )
        for factor in EPOCH_FACTORS
    ]


def _wider(model: Model, recipe: Recipe) -> list[Candidate]:
    wider = widened(model, WIDTH_FACTOR)
    if wider is None:
        return []
    words = "hidden layers" if is_linear(model) else f"hidden layers {WIDTH_FACTOR} x as wide"
    return [Candidate(words, "wider", wider, recipe)]


def _deeper(model: Model, recipe: Recipe) -> list[Candidate]:
    deeper = deepened(model)
    return [] if deeper is None else [Candidate("one more hidden layer", "deeper", deeper, recipe)]

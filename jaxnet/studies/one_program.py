"""Which recipes one compiled program trains: those that differ in numbers alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax

from jaxnet.core.recipe import Recipe
from jaxnet.core.training import Problem
from jaxnet.studies.candidates import Candidate

FREE = ("weight_decay", "label_smoothing")  # numbers of a recipe of which 0 is the same as none


def with_equal_structure(recipes: Sequence[Candidate]) -> list[Recipe]:
    """Make recipes that differ in numbers alone what one compiled program can train: 0 stands for a
    number that other recipes have, where 0 changes nothing and takes no time.

    Args:
        recipes: the ways to train.
    """
    alike = dict[Any, set[str]]()
    every = [(_program(each), each.recipe) for each in recipes]
    for program, recipe in every:
        fields = {name for name in FREE if getattr(recipe, name) is not None}
        alike.setdefault(program, set()).update(fields)

    def filled(program: Any, recipe: Recipe) -> Recipe:
        missing: dict[str, Any] = {
            name: 0.0 for name in alike[program] if getattr(recipe, name) is None
        }
        return replace(recipe, **missing)

    return [filled(*each) for each in every]


def _program(way: Candidate) -> Any:
    """What recipes that one program trains have in common, besides the numbers in FREE."""
    none: dict[str, Any] = dict.fromkeys(FREE)
    structure = jax.tree.structure(replace(way.recipe, **none))
    return way.model, way.standardized, way.loss, structure


def programs(problems: Sequence[Problem], kept: Sequence[int]) -> int:
    """The number of compiled programs of the current recipe and those that are kept."""
    return len({program_of(problems[number]) for number in (0, *kept)})


def program_of(problem: Problem) -> Any:
    """What problems that one compiled program trains have in common."""
    splits = id(problem.splits)
    return problem.model, splits, problem.loss, jax.tree.structure(problem.recipe)

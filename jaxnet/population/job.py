"""Jobs: the members of a population, grouped by architecture, as one program can train them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, NewType

import jax
import numpy as np
from jaxtyping import Array, Int, Key, UInt32

from jaxnet.core.recipe import Recipe, as_float32, resolved
from jaxnet.core.training import EpochMetrics, Problem, TrainState, blank_metrics, start
from jaxnet.data import Splits
from jaxnet.data.dataset import on_device
from jaxnet.data.resampling import Samples
from jaxnet.engine import arguments
from jaxnet.errors import InputError
from jaxnet.models.model import Model, with_outputs
from jaxnet.random import AnyKeys, as_keys

# What the members of a wave differ in, with a leading axis of them, and what all members share:
# (the problem without its splits, the words of the keys, those of the order keys) and
# (the splits, the words of the order key that is one for all). Order keys may be None.
Own = tuple[Problem, UInt32[Array | np.ndarray, "*wave words"], Any]
Shared = tuple[Splits, Any]

# One for all members of a population, or one per member.
Models = Model | Sequence[Model]
Recipes = Recipe | Sequence[Recipe]
if not TYPE_CHECKING:  # so that help() shows only the names
    Models = NewType("Models", Models)
    Recipes = NewType("Recipes", Recipes)

KEYS_CURE = "one key per member, such as jax.random.split(jax.random.key(0), 8)"


class Job(NamedTuple):
    """Members that one program can train: they differ in keys, samples and numbers of the recipe.

    Attributes:
        number: the place of the job among those of its population.
        problem: what the members minimize, with the model as it was given. The numbers of its
            recipe have a leading axis of the job's members, or none where all share them; its
            labels and model state have one, where members have their own. The splits hold no test
            set, and weights and samples are in `samples`.
        members: (members of the job,) their numbers in the population, in ascending order.
        keys: (members of the population, words) the words of each member's key.
        order_keys: (members of the population, words) of the keys that make the order of examples;
            (words,) where all share one; None where each member's key makes it.
        key_type: the implementation of the random keys.
        samples: what each member of the population trains on; None where all train on everything.
    """

    number: int
    problem: Problem
    members: Int[np.ndarray, " job"]
    keys: UInt32[np.ndarray, "members words"]
    order_keys: UInt32[np.ndarray, "... words"] | None
    key_type: str
    samples: Samples | None

    @property
    def epochs(self) -> int:
        """The epochs of the recipe."""
        return self.problem.recipe.epochs

    @property
    def _model(self) -> Model:
        return with_outputs(self.problem.model, self.problem.splits.train.outputs)

    @property
    def shared(self) -> Shared:
        """What all members share, on the host."""
        one = self.order_keys is not None and self.order_keys.ndim == 1
        return self.problem.splits, self.order_keys if one else None

    def own(self, members: Int[np.ndarray, " wave"]) -> Own:
        """What these members of the job differ in, on the host."""
        places = np.searchsorted(self.members, members)
        weights, sample = None, None
        if self.samples is not None:
            alone = [self.samples.alone(int(member)) for member in members]
            if "weights" in alone[0]:
                weights = np.stack([each["weights"] for each in alone])
            if "sample" in alone[0]:
                indices, counts = zip(*(each["sample"] for each in alone), strict=True)
                sample = np.stack(indices), np.array(counts, np.int32)
        several = self.order_keys is not None and self.order_keys.ndim == 2
        order_keys = self.order_keys[members] if several else None  # pyrefly: ignore[unsupported-operation]
        recipe = jax.tree.map(lambda leaf: leaf[places] if leaf.ndim else leaf, self.problem.recipe)
        labels, model_state = jax.tree.map(
            lambda leaf: leaf[places], (self.problem.labels, self.problem.model_state)
        )
        problem = replace(
            self.problem,
            model=self._model,
            splits=None,  # pyrefly: ignore[bad-argument-type]  # which all members share
            recipe=recipe,
            weights=weights,
            sample=sample,
            labels=labels,
            model_state=model_state,
        )
        return problem, self.keys[members], order_keys

    def shapes(self, members: int, *, finished: bool) -> tuple[TrainState, EpochMetrics]:
        """Shapes and types of the (state, history) of so many members, as a checkpoint keeps them:
        without keys and, where they are finished, without the optimizer's state.
        """
        key = jax.random.wrap_key_data(self.keys[0], impl=self.key_type)
        one = replace(first_of(self.problem), model=self._model)
        state = jax.eval_shape(start, one, key)
        state = state._replace(key=None, order_key=None)
        if finished:
            state = state._replace(opt_state=None)
        state = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((members, *leaf.shape), leaf.dtype), state
        )
        return state, blank_metrics(self.problem, members, self.epochs)


def make_jobs(
    problems: Sequence[Problem],
    keys: Key[Array, " members"],
    *,
    order_key: Key[Array, "..."] | None = None,
    samples: Samples | None = None,
) -> tuple[Job, ...]:
    """Group the members of a population by architecture.

    Args:
        problems: what each member minimizes, as users state it. All have the same splits and loss;
            labels and model states may be each member's own.
        keys: one key per member.
        order_key: what makes the order of examples; one for all, or one per member.
        samples: what each member trains on.

    Returns:
        One job per architecture, in order of their first members.

    Raises:
        InputError: for invalid arguments.
    """
    first, members = problems[0], len(keys)
    examples = len(first.splits.train)
    if samples is not None and (len(samples) != members or samples.examples != examples):
        raise InputError(
            f"resample is of {len(samples)} members and {samples.examples} examples; there are "
            f"{members} keys and {examples} training examples"
        )
    seen = on_device(arguments.without_test(first.splits))
    for problem in {id(problem.recipe): problem for problem in problems}.values():
        arguments.check_arguments(replace(problem, model=first.model, splits=seen))
    recipes = [as_float32(resolved(problem.recipe, examples)) for problem in problems]
    alike = dict[Any, list[int]]()
    for member, (problem, recipe) in enumerate(zip(problems, recipes, strict=True)):
        kinds = jax.tree.structure((recipe, problem.labels, problem.model_state))
        alike.setdefault((problem.model, kinds), []).append(member)
    one_recipe = all(problem.recipe is first.recipe for problem in problems)
    jobs, words = list[Job](), jax.random.key_data
    for number, places in enumerate(alike.values()):
        own = [recipes[place] for place in places]
        alone = one_recipe and len(own) == 1
        recipe = own[0] if alone else _stacked(own)
        of_members = [(problems[place].labels, problems[place].model_state) for place in places]
        labels, model_state = _stacked(of_members)
        jobs.append(
            Job(
                number=number,
                problem=replace(
                    first,
                    model=problems[places[0]].model,
                    splits=seen,
                    recipe=recipe,
                    labels=labels,
                    model_state=model_state,
                ),
                members=np.array(places),
                keys=np.asarray(words(keys)),
                order_keys=None if order_key is None else np.asarray(words(order_key)),
                key_type=str(jax.random.key_impl(keys)),
                samples=samples,
            )
        )
    return tuple(jobs)


def first_of(problem: Problem) -> Problem:
    """The problem of the first member of a job.

    Args:
        problem: that of the job, whose numbers may have a leading axis of members.
    """
    recipe = jax.tree.map(lambda leaf: leaf[0] if np.ndim(leaf) else leaf, problem.recipe)
    labels, model_state = jax.tree.map(lambda leaf: leaf[0], (problem.labels, problem.model_state))
    return replace(problem, recipe=recipe, labels=labels, model_state=model_state)


def _stacked(trees: Sequence[Any]) -> Any:
    """Stack the leaves of equal trees."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def check_keys(keys: AnyKeys, order_key: AnyKeys | None) -> tuple[Array, Array | None]:
    """The keys of a population as JAX has them.

    Args:
        keys: one key per member.
        order_key: one for all members, or one per member.

    Returns:
        (keys, order_key).

    Raises:
        InputError: for what is no such keys, and for keys that draw otherwise under vmap.
    """
    keys = as_keys("keys", keys, KEYS_CURE)
    order_key = None if order_key is None else as_keys("order_key", order_key, KEYS_CURE)
    for name, value, dimensions in (("keys", keys, (1,)), ("order_key", order_key, (0, 1))):
        if value is not None and value.ndim not in dimensions:
            raise InputError(f"{name} has shape {value.shape}; give {KEYS_CURE}")
    if (members := len(keys)) == 0:
        raise InputError("keys are empty; give one per member")
    implementation = str(jax.random.key_impl(keys))
    if "rbg" in implementation:
        raise InputError(
            f"keys are of {implementation}, which draws otherwise in a population than alone; "
            "give threefry keys"
        )
    if order_key is not None and order_key.shape not in ((), (members,)):
        raise InputError(
            f"order_key holds {len(order_key)} keys for {members} members; give one for all, or "
            "one per member"
        )
    return keys, order_key


def one_per_member(recipe: Recipe, members: int) -> list[Recipe]:
    """The recipes of the members, of which the numbers of one recipe hold one for all, or one each.

    Args:
        recipe: the recipe; its numbers are (), or (members,) arrays.
        members: how many members there are.

    Returns:
        One recipe per member.

    Raises:
        InputError: for arrays of another shape.
    """
    leaves = jax.tree.leaves(recipe)
    for leaf in leaves:
        if np.shape(leaf) not in ((), (members,)):
            raise InputError(
                f"a number of the recipe has shape {np.shape(leaf)}; give one for all, or one per "
                f"member: ({members},)"
            )
    if not any(np.ndim(leaf) for leaf in leaves):
        return [recipe] * members
    return [
        jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i] if np.ndim(leaf) else leaf, recipe)
        for i in range(members)
    ]

"""Run: what training leaves behind."""

import functools
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Int, PyTree

from jaxnet import display
from jaxnet.core.failure import Failure
from jaxnet.core.recipe import Recipe
from jaxnet.core.training import Best, EpochMetrics, Problem, TrainState, ended
from jaxnet.data import Standardization
from jaxnet.data.schema import HasSchema, Schema, takes_parts_of_schema
from jaxnet.errors import InputError, renamed
from jaxnet.models.model import Model, initial
from jaxnet.typing import Rebuilt

# How a message says where one network is in a run that holds many.
ONE_OF_MANY = (
    "population[i] of a population, jax.tree.map(lambda leaf: leaf[i], run) of what jax.vmap gave"
)


@jax.tree_util.register_dataclass
@renamed(white="pixel_max", standardisation="standardization")
@takes_parts_of_schema
@dataclass(frozen=True)
class Run(HasSchema):
    """A trained network and its history; in a population every leaf has a leading member axis.

    params, model_state: after the last epoch. best: those of lowest validation loss, None without
        validation.
    history: EpochMetrics of arrays, one entry per epoch, NaN after an early stop. epochs: how many
        were trained.
    diverged_at: the first step whose loss was not finite, or -1.
    model: its name.
    shape: of one input.
    schema: what inputs and outputs mean; the Run has its classes, pixel_max and columns, too.
    layers: the names of the layers, in the order of `history.signals`; () where there are none.
    failure: the first number that was not finite, where `train` was asked for signals and looked
        for it.
    """

    params: PyTree
    model_state: PyTree
    best: Best | None
    standardization: Standardization
    history: EpochMetrics
    epochs: Int[Array, "..."] | Rebuilt
    diverged_at: Int[Array, "..."] | Rebuilt
    recipe: Recipe
    model: str = field(metadata={"static": True})
    shape: tuple[int, ...] = field(metadata={"static": True})
    schema: Schema = field(default=Schema(), metadata={"static": True})
    layers: tuple[str, ...] = field(default=(), metadata={"static": True})
    failure: Failure | None = field(default=None, metadata={"static": True})

    __repr__ = display.text

    @property
    def chosen(self) -> tuple[PyTree, PyTree]:
        """(params, model_state) to predict with: the best where early stopping was asked for, else
        the final ones.

        Choosing by validation in every run would bias the validation error.
        """
        if self.recipe.patience is not None and self.best is not None:
            return self.best.params, self.best.model_state
        return self.params, self.model_state

    @property
    def halved(self) -> Bool[np.ndarray, "..."]:
        """Whether it was stopped by halving: epochs were left, and it had come to no end of its
        own.
        """
        best_epoch = 0 if self.best is None else np.asarray(self.best.epoch)
        by_itself = ended(
            self.recipe, np.asarray(self.diverged_at), np.asarray(self.epochs), best_epoch
        )
        return np.asarray((np.asarray(self.epochs) < self.recipe.epochs) & ~by_itself)

    @property
    def stopped_early(self) -> Bool[np.ndarray, "..."]:
        """Whether early stopping ended it before its last epoch."""
        left = np.asarray(self.epochs) < self.recipe.epochs
        return np.asarray(left & ~self.halved & ~self.diverged)

    @property
    def diverged(self) -> Bool[np.ndarray, "..."]:
        """Whether its loss, or in the very last step its parameters, were no longer finite."""
        at = np.asarray(self.diverged_at)
        finite = np.all(
            [
                np.isfinite(leaf).reshape(*at.shape, -1).all(-1)
                for leaf in jax.tree.leaves(self.params)
            ],
            axis=0,
        )
        return np.asarray((at >= 0) | ~finite)

    @property
    def status(self) -> str:
        """In words: finished, stopped early or by halving, or diverged, and when."""
        if np.ndim(self.epochs):
            raise InputError(
                f"run holds {len(self.epochs)} networks; take one of them: {ONE_OF_MANY}"
            )
        cure = "Lower the learning rate, or set clip"
        if self.failure is not None:
            cure = f"{self.failure}. {cure}"
        if (step := int(self.diverged_at)) >= 0:
            return f"diverged at step {step}: the loss was no longer finite. {cure}"
        if self.diverged:
            return f"diverged at the last step: the parameters are no longer finite. {cure}"
        done, what = int(self.epochs), "error" if self.counted else "loss"
        if self.halved:
            return (
                f"stopped after epoch {done} of {self.recipe.epochs}: others had a lower "
                f"validation {what}"
            )
        if done < self.recipe.epochs:
            return (
                f"stopped early after epoch {done}: no lower validation loss for "
                f"{self.recipe.patience} epochs"
            )
        return f"finished after epoch {done}"

    def _repr_html_(self) -> str:
        return display.html(self)


def not_one(run: Any) -> InputError:
    """The error for a run, or a population, that holds many networks where one is wanted."""
    return InputError(f"run holds {len(run.epochs)} networks; give one of them: {ONE_OF_MANY}")


def check_trained(model: Model, run: Run) -> None:
    """Raise InputError where a run is of another model, as far as names and the shapes of
    parameters tell.
    """
    cure = "give the model that was trained"
    if model.name != run.model:
        own = (
            ""
            if model.for_outputs is not None
            else "; where it is the same under another name, make it with name= as in the run"
        )
        raise InputError(f"model is {model.name}, but the run is of {run.model}; {cure}{own}")
    if model.for_outputs is not None:
        return  # the name of a built-in model says all
    own = _parameters_of(model, run.shape, run.schema.input_dtype)
    given, wanted = (_shapes_by_path(tree) for tree in (run.chosen[0], own))
    ends = {
        path: shape[max(0, len(shape) - len(wanted.get(path, ()))) :]
        for path, shape in given.items()
    }  # members come before
    if ends != wanted:
        path = next(path for path in {**ends, **wanted} if ends.get(path) != wanted.get(path))
        raise InputError(
            f"the model {model.name} is not the one of the run, though it has its name: "
            f"params{path} is {wanted.get(path, 'not there')} "
            f"in the model and {ends.get(path, 'not there')} in the run; {cure}"
        )


@functools.cache
def _parameters_of(model: Model, shape: tuple[int, ...], dtype: np.dtype) -> PyTree:
    """Shapes and types of a model's parameters, for examples of this shape and type."""
    return jax.eval_shape(
        functools.partial(initial, model),
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, *shape), dtype),
    )[0]


def _shapes_by_path(tree: PyTree) -> dict[str, tuple[int, ...]]:
    return {
        jax.tree_util.keystr(path): np.shape(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def finish(problem: Problem, state: TrainState, history: EpochMetrics) -> Run:
    """The Run that a last state and its history amount to."""
    splits = problem.splits
    return Run(
        params=state.params,
        model_state=state.model_state,
        best=state.best,
        standardization=splits.standardization,
        history=history,
        epochs=state.epoch,
        diverged_at=state.diverged_at,
        recipe=problem.recipe,
        model=problem.model.name,
        shape=splits.train.x.shape[1:],
        schema=splits.schema,
        layers=() if history.signals is None else problem.layers.names,
    )

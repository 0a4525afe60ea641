"""Where a training first met a number that is not finite: the operations of a step, one by one."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxnet import display
from jaxnet.core.optimizers import transformation
from jaxnet.core.recipe import optimizer_name
from jaxnet.core.signals import Layers
from jaxnet.core.training import Batch, Problem, TrainState, mean_gradient
from jaxnet.typing import double

FEW = 5  # rows that are named


class Failure(NamedTuple):
    """The first number of a training that was not finite.

    Attributes:
        step: the number of the step in the run.
        part: "forward pass", which includes the loss; "gradient" or "update".
        operation: what computed it: the name of a JAX operation, or of the optimizer; "inputs" or
            "model state" where it was given.
        layer: the name of the layer whose parameters had entered last; None before all of them.
        number: the place of the layer in the forward pass, from 1; 0 without a layer.
        rows: the training examples of the batch in which it is, where the operation has one result
            per example; else ().
    """

    step: int
    part: str
    operation: str
    layer: str | None
    number: int
    rows: tuple[int, ...]

    __repr__ = display.text

    def __str__(self) -> str:
        where = f"in layer {self.number} ({self.layer})" if self.layer else "before the first layer"
        of = ""
        if self.rows:
            some = ", ".join(map(str, self.rows[:FEW])) + ", ..." * (len(self.rows) > FEW)
            of = f", for {len(self.rows)} training examples ({some})"
        return (
            f"The first number that is not finite comes from {self.operation} {where}, in the "
            f"{self.part} of step {self.step}{of}"
        )


class _Value(NamedTuple):
    """A value of the program of a step.

    Attributes:
        array: what it is.
        layer: the layer whose parameters entered it last, -1 before all of them.
        operation: what computed it, or what it is.
        varies: whether it has to do with the examples.
        operands: what it was computed from; () for what was given.
    """

    array: Any
    layer: int
    operation: str
    varies: bool = False
    operands: tuple[Any, ...] = ()


def examine(problem: Problem, state: TrainState, batch: Batch) -> Failure | None:
    """Find the first number that is not finite in a step.

    Args:
        problem: what is trained.
        state: the state before the step.
        batch: the batch of the step, on concrete arrays.

    Returns:
        The failure; None where everything is finite when each operation is computed by itself.
    """
    from jaxnet.core.jaxpr import interpret  # which takes a while to import

    x = problem.splits.train.x.reshape(len(problem.splits.train), -1)
    layers, rows, step = problem.layers, np.asarray(batch.rows), int(batch.step)

    def compute(params: PyTree, model_state: PyTree, x: Array) -> tuple[Any, Any]:
        now = state._replace(params=params, model_state=model_state)
        gradient, loss, _, _ = mean_gradient(problem, x, now, batch)
        return loss, gradient

    given = state.params, state.model_state, x
    program = jax.make_jaxpr(compute)(*given)
    rank = {leaf: i for i, leaves in enumerate(layers.leaves) for leaf in leaves}
    count, held = (len(jax.tree.leaves(tree)) for tree in given[:2])
    values = [
        _Value(
            leaf,
            rank.get(i, -1),
            "parameters" if i < count else "model state" if i < count + held else "inputs",
            i == count + held,
        )
        for i, leaf in enumerate(jax.tree.leaves(given))
    ]
    constants = [*map(_lifted, program.consts)]
    loss, *gradient = interpret(
        program.jaxpr, constants, values, rules={}, lift=_lifted, otherwise=_computed
    )
    if not _finite(loss.array):
        return _failure(step, "forward pass", _origin(loss), layers, rows)
    for number in reversed(range(len(layers.names))):  # what is not finite spreads to the front
        for leaf in layers.leaves[number]:
            if not _finite(gradient[leaf].array):
                found = _origin(gradient[leaf])._replace(layer=number)
                return _failure(step, "gradient", found, layers, rows)
    grads = jax.tree.unflatten(jax.tree.structure(state.params), [each.array for each in gradient])
    with double(False):
        optimizer = transformation(problem.recipe, problem.recipe.epochs * problem.steps)
        updates, _ = jax.jit(optimizer.update)(grads, state.opt_state, state.params)
    after = jax.tree.leaves(jax.tree.map(jnp.add, state.params, updates))
    for number, leaves in enumerate(layers.leaves):
        if not all(_finite(after[leaf]) for leaf in leaves):
            name = optimizer_name(problem.recipe.optimizer)
            return _failure(step, "update", _Value(None, number, name), layers, rows)
    return None


def _failure(step: int, part: str, origin: _Value, layers: Layers, rows: np.ndarray) -> Failure:
    found: tuple[int, ...] = ()
    array = np.asarray(0 if origin.array is None else origin.array, np.float32)
    array = array[rows] if origin.operation == "inputs" else array
    if len(rows) in array.shape:
        finite = np.isfinite(np.moveaxis(array, array.shape.index(len(rows)), 0))
        found = tuple(np.unique(rows[~finite.reshape(len(rows), -1).all(1)]).tolist())
    name = layers.names[origin.layer] if origin.layer >= 0 else None
    return Failure(step, part, origin.operation, name, origin.layer + 1, found)


def _computed(equation: Any, operands: Sequence[_Value]) -> list[_Value]:
    from jaxnet.core.jaxpr import bind  # which takes a while to import

    arrays = bind(equation.primitive, equation.params, *(each.array for each in operands))
    layer = max((each.layer for each in operands), default=-1)
    varies = any(each.varies for each in operands)
    name, used = equation.primitive.name, tuple(operands)
    return [_Value(array, layer, name, varies, used) for array in arrays]


def _lifted(array: Any) -> _Value:
    return _Value(array, -1, "a constant")


def _origin(value: _Value) -> _Value:
    """The first value that is not finite among those that made this one so.

    A factor that has to do with neither examples nor parameters is named by what it is used in.
    """
    while bad := [
        each
        for each in value.operands
        if not _finite(each.array) and (each.varies or each.layer >= 0)
    ]:
        value = bad[0]
    return value


def _finite(array: Any) -> bool:
    numbers = jnp.issubdtype(getattr(array, "dtype", np.int32), jnp.inexact)
    return not numbers or bool(np.isfinite(np.asarray(array, np.float32)).all())

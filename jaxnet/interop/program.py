"""Trace which steps a network takes for one example: a program on flat arrays, for NumPy and for
the page of a report.

`predict` is traced, and the operations of its jaxpr become steps of five kinds, which
interop/forward.py and network.js in the page can compute:

    map       a function, number by number; an operand of one number goes with any other
    take      numbers of the concatenated operands, from the given places
    reduce    groups of numbers, each to one: the same group, begun at each of the given places
    dot       (batch, m, k) x (batch, k, n)
    convolve  (height, width, inputs) with (height, width, inputs of a group, outputs)

Reshapes need no step. A number that comes from an image keeps its position in it, so that layers
can be drawn. Nothing is computed here that depends on an example.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn
from jaxtyping import PyTree

from jaxnet.core.jaxpr import bind, interpret
from jaxnet.core.run import Run
from jaxnet.engine.prediction import predict
from jaxnet.models.model import Model

FUNCTIONS = {
    "abs", "add", "and", "atan2", "cbrt", "ceil", "clamp", "cos", "cosh", "div", "eq", "erf",
    "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "is_finite", "le", "log", "log1p",
    "logistic", "lt", "max", "min", "mul", "ne", "neg", "not", "or", "pow", "rem", "rsqrt",
    "select_n", "sign", "sin", "sinh", "sqrt", "square", "sub", "tan", "tanh", "xor",
}  # fmt: skip
SAME = (
    "reshape", "squeeze", "copy", "copy_p", "stop_gradient", "optimization_barrier", "name",
    "sharding_constraint",
)  # fmt: skip
NOT_OF_INTEGERS = {"div", "not", "and", "or", "xor", "rem", "pow"}
BORDERS = {"max": -math.inf, "min": math.inf, "sum": 0.0}  # values of a window outside of the array


# The traced network.


@dataclass(eq=False)
class Value:
    """A value of the traced network: a constant, an array of the network, or the result of an
    operation.

    Attributes:
        shape: its shape.
        dtype: its type.
        constant: the constant, once it is known.
        leaf: index of the array of the network.
        made_by: the operation whose result it is.
        fixed: whether it depends on constants only.
    """

    shape: tuple[int, ...]
    dtype: Any
    constant: Any = None
    leaf: int | None = None
    made_by: "Operation | None" = field(default=None, repr=False)
    fixed: bool = False


class Operation(NamedTuple):
    """An operation of the traced network.

    Attributes:
        primitive: the JAX primitive.
        params: its parameters.
        inputs: its operands.
        outputs: its results.
    """

    primitive: Any
    params: dict[str, Any]
    inputs: list[Value]
    outputs: list[Value]

    @property
    def name(self) -> str:
        return self.primitive.name


def network_arrays(run: Run) -> dict[str, PyTree]:
    """The arrays that `predict` reads.

    Args:
        run: the trained network.

    Returns:
        Parameters, model state and standardization, by name.
    """
    params, model_state = run.chosen
    return {"params": params, "model_state": model_state, "standardization": run.standardization}


def operations_of(model: Model, run: Run) -> tuple[list[Operation], Value, Value]:
    """Trace `predict` for one example.

    Args:
        model: the network that was trained.
        run: its parameters, and the shape of an example.

    Returns:
        (the operations on which the output depends, the example, the output).
    """
    leaves, structure = jax.tree.flatten(network_arrays(run))

    def one(leaves: list[Any], x: Any) -> Any:
        own = dataclasses.replace(run, **structure.unflatten(leaves), best=None)
        return predict(model, own, x[None])[0]

    shapes = [jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype) for leaf in leaves]
    kind = run.schema.input_dtype
    closed = jax.make_jaxpr(one)(shapes, jax.ShapeDtypeStruct(run.shape, kind))
    x, operations = Value(run.shape, kind), list[Operation]()
    arrays = [Value(leaf.shape, leaf.dtype, leaf=place) for place, leaf in enumerate(shapes)]
    record = functools.partial(_record, operations)

    def choose(equation: JaxprEqn, inputs: list[Value]) -> list[Value]:
        """The branch that a constant selects. A choice that depends on the example is recorded, and
        has no rule.
        """
        which, *rest = inputs
        return (
            walk(equation.params["branches"][int(constant(which))], rest)
            if which.fixed
            else record(equation, inputs)
        )

    def walk(program: ClosedJaxpr, args: list[Value]) -> list[Value]:
        constants = [*map(_lift, program.consts)]
        return interpret(
            program.jaxpr, constants, args, rules={"cond": choose}, lift=_lift, otherwise=record
        )

    (output,) = walk(closed, [*arrays, x])
    return _needed(operations, output), x, output


def _lift(array: Any) -> Value:
    return Value(np.shape(array), array.dtype, constant=array, fixed=True)


def _record(operations: list[Operation], equation: JaxprEqn, inputs: list[Value]) -> list[Value]:
    """Append an operation to the list, and return its outputs."""
    fixed, avals = (
        all(value.fixed for value in inputs),
        [variable.aval for variable in equation.outvars],
    )
    outputs = [Value(aval.shape, aval.dtype, fixed=fixed) for aval in avals]  # pyrefly: ignore[missing-attribute]
    operations.append(Operation(equation.primitive, equation.params, inputs, outputs))
    for value in outputs:
        value.made_by = operations[-1]
    return outputs


def _needed(operations: Sequence[Operation], output: Value) -> list[Operation]:
    """The operations on which an output depends, in their order."""
    needed, kept = {output}, []
    for operation in reversed(operations):
        if needed.intersection(operation.outputs):
            needed.update(operation.inputs)
            kept.append(operation)
    return kept[::-1]


def constant(value: Value) -> Any:
    """The array of a value that depends on constants only."""
    if value.constant is None and value.made_by is not None:
        operation = value.made_by
        outputs = bind(operation.primitive, operation.params, *map(constant, operation.inputs))
        for each, output in zip(operation.outputs, outputs, strict=True):
            each.constant = output
    return value.constant


# The program.


class Operand(NamedTuple):
    """A value of the program.

    Attributes:
        number: its number.
        shape: its shape.
        live: whether it depends on the example.
        layer: index of the layer that it comes from, with its numbers kept apart; -1 for none.
        places: (size, 3) row, column and channel of each number in an image, NaN for padding; None
            if it is no image.
    """

    number: int
    shape: tuple[int, ...]
    live: bool = False
    layer: int = -1
    places: np.ndarray | None = None

    @property
    def size(self) -> int:
        """The number of its numbers."""
        return math.prod(self.shape)


class ImageLayout(NamedTuple):
    """The layout of a value that is an image.

    Attributes:
        shape: (rows, columns, channels).
        order: the places of its numbers in this order.
    """

    shape: tuple[int, int, int]
    order: np.ndarray


@dataclass
class Layer:
    """A product with parameters.

    Attributes:
        kind: "dense", "convolution", or "output" for an output that is no product.
        units: number of outputs.
        weights: the parameters, (..., units); None for an output.
        inputs: layout of the image that a dense layer takes, if it takes one.
        shown: what its outputs become before the next product.
    """

    kind: str
    units: int
    weights: Operand | None
    inputs: ImageLayout | None
    shown: Operand


@dataclass
class Program:
    """The steps of a network; the example is value 0.

    Attributes:
        follow_places: whether to follow where in the image each number comes from, so that layers
            can be drawn.
        steps: the steps so far.
        arrays: the constants and arrays of the network that the steps need, with their numbers.
        layers: the layers so far.
        known: the operands that values of the traced network became.
        count: number of values so far.
    """

    follow_places: bool = True
    steps: list[dict[str, Any]] = field(default_factory=list)
    arrays: list[tuple[Value, int]] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    known: dict[Value, Operand] = field(default_factory=dict)
    count: int = 1

    def read(self, value: Value) -> Operand:
        """A value of the traced network, as it was computed or as the network holds it."""
        if value not in self.known:
            source = value.made_by
            if (
                source is not None and source.name == "broadcast_in_dim"
            ):  # repeated numbers are not stored
                (self.known[value],) = _move(self, source, [self.read(source.inputs[0])])
            else:
                self.known[value] = Operand(self.new(), value.shape)
                self.arrays.append((value, self.known[value].number))
        return self.known[value]

    def literal(self, value: float) -> Operand:
        """A constant number."""
        return self.read(Value((), jnp.float32, constant=np.float32(value), fixed=True))

    def new(self) -> int:
        """The number of a new value."""
        self.count += 1
        return self.count - 1

    def step(
        self, op: str, operands: Sequence[Operand], shape: Sequence[int], **static: Any
    ) -> Operand:
        """Add a step.

        Args:
            op: kind of the step.
            operands: its operands.
            shape: shape of its output.
            **static: what the step needs besides its operands.

        Returns:
            Its output.
        """
        made = Operand(self.new(), tuple(shape), any(operand.live for operand in operands))
        self.steps.append(
            {
                "op": op,
                "of": [operand.number for operand in operands],
                "to": made.number,
                "size": made.size,
                **static,
            }
        )
        return made

    def map(self, name: str, operands: Sequence[Operand], shape: tuple[int, ...]) -> Operand:
        """Apply a function number by number. The result belongs to the last one of the layers that
        it comes from.

        Args:
            name: name of the function.
            operands: its operands.
            shape: shape of the result.

        Returns:
            The result.
        """
        size = math.prod(shape)

        def spread(operand: Operand) -> Operand:
            alike = operand.size in (1, size)
            return (
                operand
                if alike
                else self.take([operand], lambda table: np.broadcast_to(table, shape))
            )

        same = [*map(spread, operands)]
        made = self.step("map", same, shape, name=name)
        of_layers = [operand for operand in operands if operand.size == size and operand.live]
        if of_layers:
            last = max(of_layers, key=lambda operand: (operand.layer, operand.places is not None))
            made = self.show(made._replace(layer=last.layer, places=last.places))
        return made

    def take(self, operands: Sequence[Operand], move: Callable[..., np.ndarray]) -> Operand:
        """Rearrange the numbers of operands.

        Args:
            operands: the operands.
            move: a function that gets the places of their numbers, and returns the places to take.

        Returns:
            The result.
        """
        ends = np.cumsum([0, *(operand.size for operand in operands)])
        each = zip(ends, ends[1:], operands, strict=False)
        table = move(
            *(np.arange(begin, end).reshape(operand.shape) for begin, end, operand in each)
        )
        first, flat = operands[0], table.ravel()
        if len(operands) == 1 and np.array_equal(flat, np.arange(first.size)):
            return first._replace(shape=table.shape)
        if flat.size and not 0 <= flat.min() <= flat.max() < ends[-1]:
            raise NotImplementedError("places outside of an array")
        made = self.step("take", operands, table.shape, where=encode_places(table))
        inside = flat[flat < first.size]
        if first.places is None or len(np.unique(inside)) < len(inside):
            return made
        places = np.full((made.size, 3), np.nan)
        places[flat < first.size] = first.places[inside]
        other = any(operand.live for operand in operands[1:]) or _channels(places) != _channels(
            first.places
        )
        return made._replace(layer=-1 if other else first.layer, places=places)

    def reduce(self, name: str, operand: Operand, begin: np.ndarray, group: np.ndarray) -> Operand:
        """Reduce groups of numbers to one number each. The place of a pooled number is the mean of
        the places that it comes from.

        Args:
            name: name of the reduction.
            operand: the operand.
            begin: the places where groups begin.
            group: the places of a group, relative to its beginning.

        Returns:
            The result.
        """
        made = self.step(
            "reduce",
            [operand],
            begin.shape,
            name=name,
            begin=encode_places(begin),
            group=encode_places(group),
        )
        if operand.places is None:
            return made
        of_each = operand.places[begin.reshape(-1, 1) + group.ravel()]
        channels = of_each[..., 2]
        if (
            np.isnan(channels).all(1).any()
            or (np.nanmin(channels, 1) < np.nanmax(channels, 1)).any()
        ):
            return made  # a group with several channels, or with none
        places = np.round(np.nanmean(of_each, 1), 4)
        made = made._replace(places=places)
        same = image_layout(made) is not None and _channels(places) == _channels(operand.places)
        return self.show(made._replace(layer=operand.layer)) if same else made

    def show(self, operand: Operand) -> Operand:
        """Record an operand as what to show of its layer, unless it has padding, and return it."""
        if operand.layer >= 0 and (operand.places is None or not np.isnan(operand.places).any()):
            self.layers[operand.layer].shown = operand
        return operand


def trace(model: Model, run: Run, *, follow_places: bool = True) -> tuple[Program, Operand]:
    """Trace which steps `predict` takes for one example, whatever its numbers are.

    Args:
        model: the network that was trained.
        run: its parameters, and the shape of an example.
        follow_places: whether to follow where in the image each number comes from, so that layers
            can be drawn.

    Returns:
        (the program, the value that it predicts).

    Raises:
        NotImplementedError: with the name of an operation that is none of the five.
    """
    operations, x, output = operations_of(model, run)
    program, places = Program(follow_places), None
    if follow_places and len(run.shape) in (2, 3):
        places = np.indices((*run.shape, 1)[:3]).reshape(3, -1).T.astype(float)
    program.known[x] = Operand(0, x.shape, live=True, places=places)
    for operation in operations:
        if not all(value.fixed for value in operation.outputs):
            program.known.update(zip(operation.outputs, _apply(program, operation), strict=True))
    return program, program.read(output)


def _apply(program: Program, operation: Operation) -> list[Operand]:
    """The outputs of an operation, by its rule."""
    for value in (*operation.inputs, *operation.outputs):
        if value.dtype not in (jnp.float32, jnp.bfloat16, jnp.bool_) and not jnp.issubdtype(
            value.dtype, jnp.integer
        ):
            raise NotImplementedError(f"operation {operation.name!r} of type {value.dtype}")
    rule = RULES.get(operation.name)
    if rule is None:
        raise NotImplementedError(f"operation {operation.name!r}")
    inputs = operation.inputs[:1] if rule is _move_at else operation.inputs
    return rule(program, operation, [program.read(value) for value in inputs])


def encode_places(table: np.ndarray) -> dict[str, int | list[int]]:
    """Describe places in a flat array with few numbers, as forward.py and network.js read them.

    Args:
        table: the places.

    Returns:
        An offset and strides if they are evenly spaced, else runs: begin, step, count, begin, step,
        count...
    """
    flat = table.ravel()
    axes = [axis for axis, size in enumerate(table.shape) if size > 1]
    first = int(flat[0]) if flat.size else 0
    strides = [
        int(table[tuple(int(i == axis) for i in range(table.ndim))]) - first for axis in axes
    ]
    shape = [table.shape[axis] for axis in axes]
    even = first + sum(
        index * stride for index, stride in zip(np.indices(shape), strides, strict=True)
    )
    if np.array_equal(np.ravel(even), flat):
        return {"offset": first, "shape": shape, "strides": strides}
    steps, runs, begin = np.diff(flat), list[int](), 0
    # places where the step changes
    breaks = np.append(np.flatnonzero(np.diff(steps)) + 1, len(steps))
    while begin < len(flat):
        end = (
            int(breaks[np.searchsorted(breaks, begin, side="right")])
            if begin < len(steps)
            else begin
        )
        runs += [int(flat[begin]), int(steps[begin]) if end > begin else 0, end - begin + 1]
        begin = end + 1
    return {"runs": runs}


def image_layout(operand: Operand) -> ImageLayout | None:
    """The layout of a value as an image; None if it is none, or has only one pixel."""
    if operand.places is None or np.isnan(operand.places).any():
        return None
    marks, at = zip(
        *(np.unique(column, return_inverse=True) for column in operand.places.T), strict=True
    )
    rows, columns, channels = map(len, marks)
    if rows * columns * channels != operand.size or rows * columns == 1:
        return None
    return ImageLayout(
        (rows, columns, channels), np.argsort(np.ravel_multi_index(at, (rows, columns, channels)))
    )


def _channels(places: np.ndarray) -> int:
    """The number of channels of these places, without padding."""
    return len(np.unique(places[~np.isnan(places[:, 2]), 2]))


# Rules: which steps an operation takes.

Rule = Callable[[Program, Operation, list[Operand]], list[Operand]]


def _function(program: Program, operation: Operation, operands: list[Operand]) -> list[Operand]:
    out = operation.outputs[0]
    if operation.name in NOT_OF_INTEGERS and jnp.issubdtype(out.dtype, jnp.integer):
        raise NotImplementedError(f"operation {operation.name!r} of whole numbers")
    if operation.name == "select_n" and len(operands) != 3:
        raise NotImplementedError("a choice between more than two")
    return [program.map(operation.name, operands, out.shape)]


def _add_any(program: Program, operation: Operation, operands: list[Operand]) -> list[Operand]:
    return [program.map("add", operands, operation.outputs[0].shape)]


def _integer_pow(program: Program, operation: Operation, operands: list[Operand]) -> list[Operand]:
    return [
        program.map(
            "pow", [operands[0], program.literal(float(operation.params["y"]))], operands[0].shape
        )
    ]


def _convert(program: Program, operation: Operation, operands: list[Operand]) -> list[Operand]:
    before, after = operation.inputs[0].dtype, operation.outputs[0].dtype
    if after == jnp.bool_ and before != jnp.bool_:
        return [program.map("ne", [operands[0], program.literal(0.0)], operands[0].shape)]
    if (
        after == jnp.bfloat16
    ):  # the results of operations are not rounded, as little as XLA rounds them all
        return [program.map("bfloat16", operands, operands[0].shape)]
    if jnp.issubdtype(after, jnp.integer) and jnp.issubdtype(before, jnp.floating):
        return [program.map("trunc", operands, operands[0].shape)]
    return operands


def _same(program: Program, operation: Operation, operands: list[Operand]) -> list[Operand]:
    if operation.params.get("dimensions") is not None and operation.name == "reshape":
        raise NotImplementedError("a reshape of axes in another order")
    return [
        operand._replace(shape=value.shape)
        for operand, value in zip(operands, operation.outputs, strict=True)
    ]


def _move(program: Program, operation: Operation, operands: list[Operand]) -> list[Operand]:
    """Operations that rearrange numbers."""
    move = MOVES[operation.name]
    return [
        program.take(operands, lambda *t, i=i: move(operation.params, *t)[i])
        for i in range(len(operation.outputs))
    ]


def _move_at(program: Program, operation: Operation, operands: list[Operand]) -> list[Operand]:
    """Operations that take numbers of their first operand from places that the other operands
    give.
    """
    if not all(value.fixed for value in operation.inputs[1:]):
        return [_rows_of_table(program, operation)]
    places = [constant(value) for value in operation.inputs[1:]]

    def move(table: np.ndarray) -> np.ndarray:
        return np.asarray(
            bind(operation.primitive, operation.params, jnp.asarray(table, jnp.int32), *places)[0]
        )

    return [program.take(operands, move)]


def _rows_of_table(program: Program, operation: Operation) -> Operand:
    """The rows of a table of parameters at places that depend on the example, such as the vectors
    of tokens: a product with a matrix of 0 and 1.
    """
    table, places = (program.read(value) for value in operation.inputs[:2])
    numbers: Any = operation.params.get("dimension_numbers")
    shape, first = operation.outputs[0].shape, len(places.shape) - 1
    whole_rows = (
        operation.name == "gather"
        and not table.live
        and tuple(numbers.collapsed_slice_dims) == tuple(numbers.start_index_map) == (0,)
        and tuple(numbers.offset_dims) == tuple(range(first, len(shape)))
        and tuple(operation.params["slice_sizes"]) == (1, *table.shape[1:])
    )
    if not whole_rows:
        raise NotImplementedError(f"operation {operation.name!r} at places that are computed")
    rows, count, width = table.shape[0], places.size, math.prod(table.shape[1:])
    numbered = Value((rows,), np.dtype(np.float32), constant=np.arange(rows), fixed=True)
    both = (
        program.take([each], lambda t, s=s: np.broadcast_to(t.reshape(s), (count, rows)))
        for each, s in ((places, (-1, 1)), (program.read(numbered), (1, -1)))
    )
    chosen = program.map("eq", [*both], (count, rows))
    sizes = {"batch": 1, "m": count, "k": rows, "n": width}
    return program.step("dot", [chosen, table], (1, count, width), **sizes)._replace(shape=shape)


def _broadcast(params: dict[str, Any], x: np.ndarray) -> list[np.ndarray]:
    shape, own = params["shape"], dict(zip(params["broadcast_dimensions"], x.shape, strict=True))
    return [np.broadcast_to(x.reshape([own.get(axis, 1) for axis in range(len(shape))]), shape)]


def _slice(params: dict[str, Any], x: np.ndarray) -> list[np.ndarray]:
    strides = params["strides"] or (1,) * x.ndim
    return [x[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]]


def _pad(params: dict[str, Any], x: np.ndarray, value: np.ndarray) -> list[np.ndarray]:
    """An array with numbers put before, after and between its own; negative amounts cut it."""
    for axis, (low, high, gap) in enumerate(params["padding_config"]):
        shape = list(x.shape)
        shape[axis] = max(0, (shape[axis] - 1) * (gap + 1) + 1) + max(low, 0) + max(high, 0)
        wide = np.full(shape, value, x.dtype)
        np.moveaxis(wide, axis, 0)[max(low, 0) : shape[axis] - max(high, 0) : gap + 1] = (
            np.moveaxis(x, axis, 0)
        )
        x = np.moveaxis(
            np.moveaxis(wide, axis, 0)[max(-low, 0) : shape[axis] - max(-high, 0)], 0, axis
        )
    return [x]


def _split(params: dict[str, Any], x: np.ndarray) -> list[np.ndarray]:
    return np.split(x, np.cumsum(params["sizes"])[:-1], params["axis"])


MOVES: dict[str, Callable[..., Sequence[np.ndarray]]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda params, *x: [np.concatenate(x, params["dimension"])],
    "pad": _pad,
    "rev": lambda params, x: [np.flip(x, params["dimensions"])],
    "slice": _slice,
    "split": _split,
    "transpose": lambda params, x: [x.transpose(params["permutation"])],
}


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _grid(shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """(*shape,) sums of indices times strides."""
    return np.asarray(
        sum(index * stride for index, stride in zip(np.indices(shape), strides, strict=True)), int
    ).reshape(shape)


def _reduce(program: Program, operation: Operation, operands: list[Operand]) -> list[Operand]:
    operand, axes = operands[0], operation.params["axes"]
    kept, strides = (
        [axis for axis in range(len(operand.shape)) if axis not in axes],
        _strides(operand.shape),
    )
    begin, group = (
        _grid([operand.shape[axis] for axis in some], [strides[axis] for axis in some])
        for some in (kept, axes)
    )
    name = {"reduce_and": "min", "reduce_or": "max"}.get(
        operation.name, operation.name.removeprefix("reduce_")
    )
    return [program.reduce(name, operand, begin, group)]


def _window(program: Program, operation: Operation, operands: list[Operand]) -> list[Operand]:
    params, name = operation.params, operation.name.removeprefix("reduce_window_")
    operand = _padded(
        program, operands[0], BORDERS[name], params["padding"], params["base_dilation"]
    )
    strides = _strides(operand.shape)

    def apart(word: str) -> list[int]:
        return [stride * by for stride, by in zip(strides, params[word], strict=True)]

    begin = _grid(operation.outputs[0].shape, apart("window_strides"))
    group = _grid(params["window_dimensions"], apart("window_dilation"))
    return [program.reduce(name, operand, begin, group)]


def _padded(
    program: Program,
    operand: Operand,
    value: float,
    padding: Sequence[tuple[Any, Any]],
    dilation: Sequence[Any],
) -> Operand:
    config = {
        "padding_config": [
            (int(low), int(high), int(by) - 1)
            for (low, high), by in zip(padding, dilation, strict=True)
        ]
    }
    if not any(itertools.chain(*config["padding_config"])):
        return operand
    return program.take([operand, program.literal(value)], lambda *tables: _pad(config, *tables)[0])


def _dot(program: Program, operation: Operation, operands: list[Operand]) -> list[Operand]:
    """A product of matrices, with the operand that depends on the example on the left; with
    parameters it is a dense layer.
    """
    contracted, batch = operation.params["dimension_numbers"]
    one, two = (1, 0) if operands[1].live and not operands[0].live else (0, 1)
    x, w = operands[one], operands[two]

    def free(which: int) -> list[int]:
        """The axes of an operand that the product keeps."""
        return [
            axis
            for axis in range(len(operands[which].shape))
            if axis not in (*contracted[which], *batch[which])
        ]

    of_batch, rows = [x.shape[axis] for axis in batch[one]], [x.shape[axis] for axis in free(one)]
    columns = [w.shape[axis] for axis in free(two)]
    b, m, n, k = (
        *map(math.prod, (of_batch, rows, columns)),
        math.prod(x.shape[axis] for axis in contracted[one]),
    )
    x = program.take([x], lambda table: table.transpose(*batch[one], *free(one), *contracted[one]))
    w = program.take([w], lambda table: table.transpose(*batch[two], *contracted[two], *free(two)))
    made = program.step("dot", [x, w], (b, m, n), batch=b, m=m, k=k, n=n)
    if x.live and not w.live and b == 1:
        made = made._replace(layer=len(program.layers))
        program.layers.append(
            Layer("dense", n, w._replace(shape=(k, n)), image_layout(x) if m == 1 else None, made)
        )
    made = made._replace(shape=(*of_batch, *rows, *columns))
    if one:
        begin, end = len(of_batch), len(of_batch) + len(rows)
        axes = [*range(begin), *range(end, len(made.shape)), *range(begin, end)]
        made = program.take([made], lambda table: table.transpose(axes))
    return [made]


def _convolve(program: Program, operation: Operation, operands: list[Operand]) -> list[Operand]:
    """A convolution in one or two dimensions with a kernel of parameters; in one dimension, the
    image has one row.
    """
    params, (x, w) = operation.params, operands
    of_x, of_w, of_out = params["dimension_numbers"]
    space = len(of_x) - 2
    if space > 2:
        raise NotImplementedError(f"convolution in {space} dimensions")
    if x.shape[of_x[0]] != 1 or w.live or params["batch_group_count"] != 1:
        raise NotImplementedError(
            "convolution of several examples, or with a kernel that is computed"
        )
    x = program.take([x], lambda table: table.transpose(of_x[0], *of_x[2:], of_x[1])[0])
    w = program.take([w], lambda table: table.transpose(*of_w[2:], *of_w[1::-1]))
    x = _padded(program, x, 0.0, [*params["padding"], (0, 0)], [*params["lhs_dilation"], 1])
    strides, dilation = (
        tuple(map(int, params[word])) for word in ("window_strides", "rhs_dilation")
    )
    if space == 1:
        x, w = x._replace(shape=(1, *x.shape)), w._replace(shape=(1, *w.shape))
        strides, dilation = (1, *strides), (1, *dilation)
    space_out = [
        (a - (b - 1) * d - 1) // s + 1
        for a, b, s, d in zip(x.shape, w.shape, strides, dilation, strict=False)
    ]
    units = w.shape[-1]
    made = program.step(
        "convolve",
        [x, w],
        (*space_out, units),
        height=space_out[0],
        width=space_out[1],
        columns=x.shape[1],
        inputs=x.shape[2],
        kernel=w.shape,
        strides=strides,
        dilation=dilation,
        groups=params["feature_group_count"],
    )
    if x.live:
        places = (
            np.indices(made.shape).reshape(3, -1).T.astype(float) if program.follow_places else None
        )
        made = made._replace(layer=len(program.layers), places=places)
        program.layers.append(Layer("convolution", units, w, None, made))
    made = made._replace(shape=(1, *space_out[2 - space :], units))
    order = np.argsort([of_out[0], *of_out[2:], of_out[1]])
    return [program.take([made], lambda table: table.transpose(order))]


RULES: dict[str, Rule] = {
    **dict.fromkeys(FUNCTIONS, _function),
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(MOVES, _move),
    **dict.fromkeys(("gather", "dynamic_slice"), _move_at),
    **dict.fromkeys(
        [f"reduce_{name}" for name in ("max", "min", "sum", "prod", "and", "or")]
        + ["argmax", "argmin"],
        _reduce,
    ),
    **dict.fromkeys([f"reduce_window_{name}" for name in BORDERS], _window),
    "add_any": _add_any,
    "conv_general_dilated": _convolve,
    "convert_element_type": _convert,
    "dot_general": _dot,
    "integer_pow": _integer_pow,
}

"""What a network does with one example, as steps on flat arrays of numbers, which forward.py and report/html/network.js take.

`predict` is traced, the calls within are opened, and what remains becomes five operations:

    map       a function, number by number; an operand of one number goes with any other
    take      numbers of the operands, laid one after the other, from the places given
    reduce    groups of numbers, each to one: the same group, begun at each of the places given
    dot       (batch, m, k) x (batch, k, n)
    convolve  (height, width, inputs) with (height, width, inputs of a group, outputs)

Reshapes are no steps. A number that comes from a picture keeps its place in it, so that layers can be drawn.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import PyTree

from .evaluation import predict
from .models import Model
from .run import Run

CALLS = {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "checkpoint", "remat"}
FUNCTIONS = {
    *("abs", "cbrt", "ceil", "cos", "cosh", "erf", "erfc", "exp", "exp2", "expm1", "floor", "is_finite", "log", "log1p", "logistic", "neg"),
    *("not", "rsqrt", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "add", "and", "atan2", "div", "eq", "ge", "gt", "le", "lt"),
    *("max", "min", "mul", "ne", "or", "pow", "rem", "sub", "xor", "clamp", "select_n"),
}
SAME = ("reshape", "squeeze", "copy", "copy_p", "stop_gradient", "optimization_barrier", "name", "sharding_constraint")
NOT_OF_INTEGERS = {"div", "not", "and", "or", "xor", "rem", "pow"}
BORDERS = {"max": -math.inf, "min": math.inf, "sum": 0.0}  # what windows find outside of an array


@dataclass(eq=False)
class Value:
    """A value of the traced program: a constant, a leaf of the network, or made by an operation. fixed: of constants alone."""

    shape: tuple[int, ...]
    dtype: Any
    constant: Any = None
    leaf: int | None = None
    made_by: "Operation | None" = field(default=None, repr=False)
    fixed: bool = False


class Operation(NamedTuple):
    """An operation of the traced program."""

    primitive: Any
    params: dict[str, Any]
    inputs: list[Value]
    outputs: list[Value]

    @property
    def name(self) -> str:
        return self.primitive.name


class Held(NamedTuple):
    """A value of the program, by its number.

    live: whether it depends on the image. layer: the product that it comes from with its numbers kept apart, or -1.
    places: (size, 3) row, column and channel of each number in the picture that they are, NaN of what was added; or None.
    """

    number: int
    shape: tuple[int, ...]
    live: bool = False
    layer: int = -1
    places: np.ndarray | None = None

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


class Picture(NamedTuple):
    """Rows, columns and channels of a value, and where in it the numbers of the picture are, channels last."""

    shape: tuple[int, int, int]
    order: np.ndarray


@dataclass
class Layer:
    """A product with parameters.

    kind: dense, convolution, or output for what no product is. weights: its parameters, (..., units); None of an output.
    inputs: the picture that comes into a dense one, if it is one. shown: what it becomes, before the next product.
    """

    kind: str
    units: int
    weights: Held | None
    inputs: Picture | None
    shown: Held


@dataclass
class Program:
    """The steps so far. arrays: the constants and leaves that they need, with their numbers. The image is number 0.

    drawn: whether layers are to be drawn, for which it is followed where in the picture each number comes from.
    """

    drawn: bool = True
    steps: list[dict[str, Any]] = field(default_factory=list)
    arrays: list[tuple[Value, int]] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    held: dict[Value, Held] = field(default_factory=dict)
    count: int = 1

    def read(self, value: Value) -> Held:
        """A value, as it was computed, or as the network has it."""
        if value not in self.held:
            source = value.made_by
            if source is not None and source.name == "broadcast_in_dim":  # many equal numbers are not stored
                (self.held[value],) = _move(self, source, [self.read(source.inputs[0])])
            else:
                self.held[value] = Held(self.new(), value.shape)
                self.arrays.append((value, self.held[value].number))
        return self.held[value]

    def literal(self, value: float) -> Held:
        """A constant."""
        return self.read(Value((), jnp.float32, constant=np.float32(value), fixed=True))

    def new(self) -> int:
        """The number of one more value."""
        self.count += 1
        return self.count - 1

    def step(self, op: str, operands: Sequence[Held], shape: Sequence[int], **static: Any) -> Held:
        """One more step."""
        made = Held(self.new(), tuple(shape), any(held.live for held in operands))
        self.steps.append({"op": op, "of": [held.number for held in operands], "to": made.number, "size": made.size, **static})
        return made

    def map(self, name: str, operands: Sequence[Held], shape: tuple[int, ...]) -> Held:
        """A function, number by number. What it makes belongs to the last of the layers that it comes from."""
        size = math.prod(shape)
        same = [held if held.size in (1, size) else self.take([held], lambda table: np.broadcast_to(table, shape)) for held in operands]
        made = self.step("map", same, shape, name=name)
        of_layers = [held for held in operands if held.size == size and held.live]
        if of_layers:
            last = max(of_layers, key=lambda held: (held.layer, held.places is not None))
            made = self.show(made._replace(layer=last.layer, places=last.places))
        return made

    def take(self, operands: Sequence[Held], move: Callable[..., np.ndarray]) -> Held:
        """What `move` makes of the operands; it is given the places of their numbers."""
        ends = np.cumsum([0, *(held.size for held in operands)])
        table = move(*(np.arange(begin, end).reshape(held.shape) for begin, end, held in zip(ends, ends[1:], operands, strict=False)))
        first, flat = operands[0], table.ravel()
        if len(operands) == 1 and np.array_equal(flat, np.arange(first.size)):
            return first._replace(shape=table.shape)
        if flat.size and not 0 <= flat.min() <= flat.max() < ends[-1]:
            raise NotImplementedError("places outside of an array")
        made = self.step("take", operands, table.shape, where=where(table))
        inside = flat[flat < first.size]
        if first.places is None or len(np.unique(inside)) < len(inside):
            return made
        places = np.full((made.size, 3), np.nan)
        places[flat < first.size] = first.places[inside]
        added = any(held.live for held in operands[1:])
        return made._replace(layer=-1 if added or _channels(places) != _channels(first.places) else first.layer, places=places)

    def reduce(self, name: str, held: Held, begin: np.ndarray, group: np.ndarray) -> Held:
        """Groups of numbers, each to one. The places of pooled numbers are the means of those they come from."""
        made = self.step("reduce", [held], begin.shape, name=name, begin=where(begin), group=where(group))
        if held.places is None:
            return made
        of_each = held.places[begin.reshape(-1, 1) + group.ravel()]
        if np.isnan(of_each[..., 2]).all(1).any() or (np.nanmin(of_each[..., 2], 1) < np.nanmax(of_each[..., 2], 1)).any():
            return made  # of several channels, or of none
        places = np.round(np.nanmean(of_each, 1), 4)
        made = made._replace(places=places)
        same = picture(made) is not None and _channels(places) == _channels(held.places)
        return self.show(made._replace(layer=held.layer)) if same else made

    def show(self, held: Held) -> Held:
        """The same, noted as what its layer becomes, unless something was added around it."""
        if held.layer >= 0 and (held.places is None or not np.isnan(held.places).any()):
            self.layers[held.layer].shown = held
        return held


def program(model: Model, run: Run, *, drawn: bool = True) -> tuple[Program, Held]:
    """(the steps of predict for one example of any values, what it predicts). drawn: whether layers are to be drawn.

    Raises NotImplementedError with the name of an operation that is none of the five.
    """
    operations, image, output = operations_of(model, run)
    made = Program(drawn)
    grid = np.indices((*run.shape, 1)[:3]).reshape(3, -1).T.astype(float) if drawn and len(run.shape) in (2, 3) else None
    made.held[image] = Held(0, image.shape, live=True, places=grid)
    for operation in operations:
        if all(value.fixed for value in operation.outputs):
            continue
        for value in (*operation.inputs, *operation.outputs):
            if value.dtype not in (jnp.float32, jnp.bfloat16, jnp.bool_) and not jnp.issubdtype(value.dtype, jnp.integer):
                raise NotImplementedError(f"operation {operation.name!r} of type {value.dtype}")
        rule = RULES.get(operation.name, _function if operation.name in FUNCTIONS else None)
        if rule is None:
            raise NotImplementedError(f"operation {operation.name!r}")
        read = operation.inputs[:1] if rule is _move_at else operation.inputs
        made.held.update(zip(operation.outputs, rule(made, operation, [made.read(each) for each in read]), strict=True))
    return made, made.read(output)


def network_of(run: Run) -> dict[str, PyTree]:
    """What predict reads of a run."""
    params, model_state = run.chosen
    return {"params": params, "model_state": model_state, "standardisation": run.standardisation}


def operations_of(model: Model, run: Run) -> tuple[list[Operation], Value, Value]:
    """(the operations of predict for one example, the image, the output)."""
    leaves, structure = jax.tree.flatten(network_of(run))

    def one(leaves: list[Any], image: Any) -> Any:
        own = dataclasses.replace(run, **structure.unflatten(leaves), best=None)
        return predict(model, own, image[None])[0]

    shapes = [jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype) for leaf in leaves]
    closed = jax.make_jaxpr(one)(shapes, jax.ShapeDtypeStruct(run.shape, jnp.float32))
    image, operations = Value(run.shape, jnp.float32), list[Operation]()
    values = [Value(leaf.shape, leaf.dtype, leaf=place) for place, leaf in enumerate(shapes)]
    (output,) = _open(closed, [*values, image], operations)
    needed, kept = {output}, []
    for operation in reversed(operations):
        if needed.intersection(operation.outputs):
            needed.update(operation.inputs)
            kept.append(operation)
    return kept[::-1], image, output


def constant(value: Value) -> Any:
    """A value that depends on constants alone, computed."""
    if value.constant is None and value.made_by is not None:
        outputs = _bind(value.made_by, *map(constant, value.made_by.inputs))
        for each, output in zip(value.made_by.outputs, outputs, strict=True):
            each.constant = output
    return value.constant


def where(table: np.ndarray) -> dict[str, int | list[int]]:
    """Places as an offset and strides where they lie evenly, else as runs: begin, step, count, begin, step, count..."""
    flat = table.ravel()
    axes = [axis for axis, size in enumerate(table.shape) if size > 1]
    first = int(flat[0]) if flat.size else 0
    strides = [int(table[tuple(int(i == axis) for i in range(table.ndim))]) - first for axis in axes]
    shape = [table.shape[axis] for axis in axes]
    even = first + sum(index * stride for index, stride in zip(np.indices(shape), strides, strict=True))
    if np.array_equal(np.ravel(even), flat):
        return {"offset": first, "shape": shape, "strides": strides}
    steps, runs, begin = np.diff(flat), list[int](), 0
    breaks = np.append(np.flatnonzero(np.diff(steps)) + 1, len(steps))  # steps from which on they are others
    while begin < len(flat):
        end = int(breaks[np.searchsorted(breaks, begin, side="right")]) if begin < len(steps) else begin
        runs += [int(flat[begin]), int(steps[begin]) if end > begin else 0, end - begin + 1]
        begin = end + 1
    return {"runs": runs}


def picture(held: Held) -> Picture | None:
    """The picture that a value is. None where it is none, or but one point."""
    if held.places is None or np.isnan(held.places).any():
        return None
    marks, at = zip(*(np.unique(column, return_inverse=True) for column in held.places.T), strict=True)
    rows, columns, channels = map(len, marks)
    if rows * columns * channels != held.size or rows * columns == 1:
        return None
    return Picture((rows, columns, channels), np.argsort(np.ravel_multi_index(at, (rows, columns, channels))))


def _channels(places: np.ndarray) -> int:
    """How many channels there are."""
    return len(np.unique(places[~np.isnan(places[:, 2]), 2]))


def _open(closed: ClosedJaxpr | Jaxpr, args: Sequence[Value], operations: list[Operation]) -> list[Value]:
    """The outputs of a function; its operations, and those of functions that it calls, are added to the list."""
    jaxpr, constants = (closed.jaxpr, closed.consts) if isinstance(closed, ClosedJaxpr) else (closed, [])

    def given(array: Any) -> Value:
        return Value(np.shape(array), array.dtype, constant=array, fixed=True)

    known: dict[Any, Value] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*map(given, constants), *args], strict=True))

    def read(variable: Any) -> Value:
        if isinstance(variable, Literal):
            return given(np.asarray(variable.val, variable.aval.dtype))  # pyrefly: ignore[missing-attribute]
        return known[variable]

    for equation in jaxpr.eqns:
        name, params, inputs = equation.primitive.name, equation.params, [read(variable) for variable in equation.invars]
        if name in CALLS:
            inner = next(params[word] for word in ("jaxpr", "call_jaxpr", "fun_jaxpr") if word in params)
            outputs = _open(inner, inputs, operations)
        elif name == "cond" and inputs[0].fixed:
            outputs = _open(params["branches"][int(constant(inputs[0]))], inputs[1:], operations)
        else:
            fixed = all(value.fixed for value in inputs)
            shapes: list[Any] = [variable.aval for variable in equation.outvars]
            outputs = [Value(shape.shape, shape.dtype, fixed=fixed) for shape in shapes]
            operations.append(Operation(equation.primitive, params, inputs, outputs))
            for value in outputs:
                value.made_by = operations[-1]
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _bind(operation: Operation, *values: Any) -> list[Any]:
    """The operation itself, on other arrays."""
    bound = operation.primitive.get_bind_params(operation.params)
    functions, params = bound if isinstance(bound, tuple) else ((), bound)  # jax 0.7 returns a pair
    outputs = operation.primitive.bind(*functions, *values, **params)
    return outputs if operation.primitive.multiple_results else [outputs]


# Rules: what an operation makes of its operands.

Rule = Callable[[Program, Operation, list[Held]], list[Held]]


def _function(program: Program, operation: Operation, operands: list[Held]) -> list[Held]:
    out = operation.outputs[0]
    if operation.name in NOT_OF_INTEGERS and jnp.issubdtype(out.dtype, jnp.integer):
        raise NotImplementedError(f"operation {operation.name!r} of whole numbers")
    if operation.name == "select_n" and len(operands) != 3:
        raise NotImplementedError("a choice between more than two")
    return [program.map(operation.name, operands, out.shape)]


def _add_any(program: Program, operation: Operation, operands: list[Held]) -> list[Held]:
    return [program.map("add", operands, operation.outputs[0].shape)]


def _integer_pow(program: Program, operation: Operation, operands: list[Held]) -> list[Held]:
    return [program.map("pow", [operands[0], program.literal(float(operation.params["y"]))], operands[0].shape)]


def _convert(program: Program, operation: Operation, operands: list[Held]) -> list[Held]:
    before, after = operation.inputs[0].dtype, operation.outputs[0].dtype
    if after == jnp.bool_ and before != jnp.bool_:
        return [program.map("ne", [operands[0], program.literal(0.0)], operands[0].shape)]
    if after == jnp.bfloat16:  # the results of operations are not rounded, as little as XLA rounds them all
        return [program.map("bfloat16", operands, operands[0].shape)]
    if jnp.issubdtype(after, jnp.integer) and jnp.issubdtype(before, jnp.floating):
        return [program.map("trunc", operands, operands[0].shape)]
    return operands


def _same(program: Program, operation: Operation, operands: list[Held]) -> list[Held]:
    if operation.params.get("dimensions") is not None and operation.name == "reshape":
        raise NotImplementedError("a reshape of axes in another order")
    return [held._replace(shape=value.shape) for held, value in zip(operands, operation.outputs, strict=True)]


def _move(program: Program, operation: Operation, operands: list[Held]) -> list[Held]:
    """Operations that move numbers."""
    move = MOVES[operation.name]
    return [program.take(operands, lambda *t, i=i: move(operation.params, *t)[i]) for i in range(len(operation.outputs))]


def _move_at(program: Program, operation: Operation, operands: list[Held]) -> list[Held]:
    """Operations that take numbers of their first operand from places that the others give."""
    if not all(value.fixed for value in operation.inputs[1:]):
        raise NotImplementedError(f"operation {operation.name!r} at places that are computed")
    places = [constant(value) for value in operation.inputs[1:]]
    return [program.take(operands, lambda table: np.asarray(_bind(operation, jnp.asarray(table, jnp.int32), *places)[0]))]


def _broadcast(params: dict[str, Any], x: np.ndarray) -> list[np.ndarray]:
    shape, own = params["shape"], dict(zip(params["broadcast_dimensions"], x.shape, strict=True))
    return [np.broadcast_to(x.reshape([own.get(axis, 1) for axis in range(len(shape))]), shape)]


def _slice(params: dict[str, Any], x: np.ndarray) -> list[np.ndarray]:
    strides = params["strides"] or (1,) * x.ndim
    return [x[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]]


def _pad(params: dict[str, Any], x: np.ndarray, value: np.ndarray) -> list[np.ndarray]:
    """Numbers put before, after and between, where negative, cut."""
    for axis, (low, high, gap) in enumerate(params["padding_config"]):
        shape = list(x.shape)
        shape[axis] = max(0, (shape[axis] - 1) * (gap + 1) + 1) + max(low, 0) + max(high, 0)
        wide = np.full(shape, value, x.dtype)
        np.moveaxis(wide, axis, 0)[max(low, 0) : shape[axis] - max(high, 0) : gap + 1] = np.moveaxis(x, axis, 0)
        x = np.moveaxis(np.moveaxis(wide, axis, 0)[max(-low, 0) : shape[axis] - max(-high, 0)], 0, axis)
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


def _product(sizes: Sequence[int]) -> int:
    return int(math.prod(sizes))


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _grid(shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """(*shape,) sums of indices times strides."""
    return np.asarray(sum(index * stride for index, stride in zip(np.indices(shape), strides, strict=True)), int).reshape(shape)


def _reduce(program: Program, operation: Operation, operands: list[Held]) -> list[Held]:
    held, axes = operands[0], operation.params["axes"]
    kept, strides = [axis for axis in range(len(held.shape)) if axis not in axes], _strides(held.shape)
    begin, group = (_grid([held.shape[axis] for axis in some], [strides[axis] for axis in some]) for some in (kept, axes))
    name = {"reduce_and": "min", "reduce_or": "max"}.get(operation.name, operation.name.removeprefix("reduce_"))
    return [program.reduce(name, held, begin, group)]


def _window(program: Program, operation: Operation, operands: list[Held]) -> list[Held]:
    params, name = operation.params, operation.name.removeprefix("reduce_window_")
    held = _padded(program, operands[0], BORDERS[name], params["padding"], params["base_dilation"])
    strides = _strides(held.shape)
    apart = [[stride * by for stride, by in zip(strides, params[word], strict=True)] for word in ("window_strides", "window_dilation")]
    begin, group = _grid(operation.outputs[0].shape, apart[0]), _grid(params["window_dimensions"], apart[1])
    return [program.reduce(name, held, begin, group)]


def _padded(program: Program, held: Held, value: float, padding: Sequence[tuple[Any, Any]], dilation: Sequence[Any]) -> Held:
    config = {"padding_config": [(int(low), int(high), int(by) - 1) for (low, high), by in zip(padding, dilation, strict=True)]}
    if not any(itertools.chain(*config["padding_config"])):
        return held
    return program.take([held, program.literal(value)], lambda *tables: _pad(config, *tables)[0])


def _dot(program: Program, operation: Operation, operands: list[Held]) -> list[Held]:
    contracted, batch = operation.params["dimension_numbers"]
    one, two = (1, 0) if operands[1].live and not operands[0].live else (0, 1)  # parameters come second
    x, w = operands[one], operands[two]
    free = [
        [axis for axis in range(len(held.shape)) if axis not in (*c, *b)] for held, c, b in zip(operands, contracted, batch, strict=True)
    ]
    of_batch, rows = [x.shape[axis] for axis in batch[one]], [x.shape[axis] for axis in free[one]]
    columns = [w.shape[axis] for axis in free[two]]
    b, m, n, k = *map(_product, (of_batch, rows, columns)), _product([x.shape[axis] for axis in contracted[one]])
    x = program.take([x], lambda table: table.transpose(*batch[one], *free[one], *contracted[one]))
    w = program.take([w], lambda table: table.transpose(*batch[two], *contracted[two], *free[two]))
    made = program.step("dot", [x, w], (b, m, n), batch=b, m=m, k=k, n=n)
    if x.live and not w.live and b == 1:
        made = made._replace(layer=len(program.layers))
        program.layers.append(Layer("dense", n, w._replace(shape=(k, n)), picture(x) if m == 1 else None, made))
    made = made._replace(shape=(*of_batch, *rows, *columns))
    if one:
        begin, end = len(of_batch), len(of_batch) + len(rows)
        axes = [*range(begin), *range(end, len(made.shape)), *range(begin, end)]
        made = program.take([made], lambda table: table.transpose(axes))
    return [made]


def _convolve(program: Program, operation: Operation, operands: list[Held]) -> list[Held]:
    params, (x, w) = operation.params, operands
    of_x, of_w, of_out = params["dimension_numbers"]
    space = len(of_x) - 2
    if space > 2:
        raise NotImplementedError(f"convolution in {space} dimensions")
    if x.shape[of_x[0]] != 1 or w.live or params["batch_group_count"] != 1:
        raise NotImplementedError("convolution of several examples, or with a kernel that is computed")
    x = program.take([x], lambda table: table.transpose(of_x[0], *of_x[2:], of_x[1])[0])
    w = program.take([w], lambda table: table.transpose(*of_w[2:], *of_w[1::-1]))
    x = _padded(program, x, 0.0, [*params["padding"], (0, 0)], [*params["lhs_dilation"], 1])
    strides, dilation = (tuple(map(int, params[word])) for word in ("window_strides", "rhs_dilation"))
    if space == 1:
        x, w, strides, dilation = x._replace(shape=(1, *x.shape)), w._replace(shape=(1, *w.shape)), (1, *strides), (1, *dilation)
    space_out = [(a - (b - 1) * d - 1) // s + 1 for a, b, s, d in zip(x.shape, w.shape, strides, dilation, strict=False)]
    units = w.shape[-1]
    made = program.step(
        "convolve", [x, w], (*space_out, units), height=space_out[0], width=space_out[1], columns=x.shape[1], inputs=x.shape[2],
        kernel=w.shape, strides=strides, dilation=dilation, groups=params["feature_group_count"],
    )  # fmt: skip
    if x.live:
        places = np.indices(made.shape).reshape(3, -1).T.astype(float) if program.drawn else None
        made = made._replace(layer=len(program.layers), places=places)
        program.layers.append(Layer("convolution", units, w, None, made))
    made = made._replace(shape=(1, *space_out[2 - space :], units))
    order = np.argsort([of_out[0], *of_out[2:], of_out[1]])
    return [program.take([made], lambda table: table.transpose(order))]


RULES: dict[str, Rule] = {
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(MOVES, _move),
    **dict.fromkeys(("gather", "dynamic_slice"), _move_at),
    **dict.fromkeys([f"reduce_{name}" for name in ("max", "min", "sum", "prod", "and", "or")] + ["argmax", "argmin"], _reduce),
    **dict.fromkeys([f"reduce_window_{name}" for name in BORDERS], _window),
    "add_any": _add_any,
    "conv_general_dilated": _convolve,
    "convert_element_type": _convert,
    "dot_general": _dot,
    "integer_pow": _integer_pow,
}

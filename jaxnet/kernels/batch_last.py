"""Evaluate a function of one example on a batch that is held in the last dimension.

A TPU's vector registers hold 8 x 128 numbers. Ten class scores of 128 examples fill 16 of them as
(batch, 10), most of it padding, and 2 as (10, batch). A product with a (outputs, inputs) matrix
costs the matrix unit one row per output instead of one row per example. So the user's function is
traced for one example, and each of its operations is done for all examples by a rule below. A value
of the example has its axes in a row, whatever its shape, so that reshapes cost nothing:

    SHARED              (size, 1)       the same for all examples
    LAST                (size, batch)   computed from an example
    FIRST               (batch, size)   an example's inputs, as they lie in memory, and what an
                                        AS_GIVEN matrix makes of them
    ROW                 (1, size)       a vector of parameters
    AS_GIVEN, TURNED    a matrix of parameters as the function has it, and its transpose

A value of size 1 stands for any number of equal values, until something needs all of them.
"""

import enum
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, Literal
from jaxtyping import Array, Float, PyTree

from jaxnet.core.jaxpr import Rule, bind, called, equations, interpret, refuse


class Kind(enum.Enum):
    """How a value is held; the module's docstring lists the ways."""

    SHARED = enum.auto()
    LAST = enum.auto()
    FIRST = enum.auto()
    ROW = enum.auto()
    AS_GIVEN = enum.auto()
    TURNED = enum.auto()


SHARED, LAST, FIRST, ROW, AS_GIVEN, TURNED = Kind
MATRICES = {AS_GIVEN, TURNED}
OTHER = {AS_GIVEN: TURNED, TURNED: AS_GIVEN}
MARK, OTHER_MARK = 8209, 8219  # numbers of examples: primes, so that no other axis has that size


class Held(NamedTuple):
    """A value and how it is held.

    Attributes:
        value: the array.
        kind: how it is held.
    """

    value: Array
    kind: Kind


def evaluate(
    program: Jaxpr, constants: Sequence[Held], args: Sequence[Held], dtype: Any
) -> list[Held]:
    """Evaluate a function that was traced for one example on every example of a batch.

    The result is differentiable in reverse mode.

    Args:
        program: the function, as `jax.make_jaxpr` traces it.
        constants: its constants.
        args: its arguments.
        dtype: type to which the operands of products are rounded, also those of gradients; sums are
            float32.

    Returns:
        The outputs.

    Raises:
        NotImplementedError: for an operation that has no rule, with its name.
    """
    return interpret(program, constants, args, rules=rules(dtype), lift=constant)


def check_examples_apart(
    function: Callable[..., Any], params: PyTree, shape: tuple[int, ...]
) -> None:
    """Check that a function of a batch treats its examples separately, so that it can be traced for
    one.

    Every operation must keep the axis of examples, and no number may depend on how many there are.

    Args:
        function: a function of (params, batch).
        params: arrays, or their shapes.
        shape: shape of an example, which is float32.

    Raises:
        NotImplementedError: where the function mixes examples.
    """
    one, other = (_literals(function, params, (count, *shape)) for count in (MARK, OTHER_MARK))
    if any(
        not np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(one, other, strict=True)
    ):
        raise NotImplementedError("a number that depends on how many examples a batch has")


def _literals(
    function: Callable[..., Any], params: PyTree, shape: tuple[int, ...]
) -> list[np.ndarray]:
    """Collect the numbers written into a function of a batch of this shape, and check all of its
    operations.
    """
    program, count = (
        jax.make_jaxpr(function)(params, jax.ShapeDtypeStruct(shape, jnp.float32)),
        shape[0],
    )
    numbers = list[np.ndarray]()
    for equation in equations(program.jaxpr):
        numbers += [
            np.asarray(variable.val)
            for variable in equation.invars
            if isinstance(variable, Literal)
        ]
        before, after = (_shapes(variables) for variables in (equation.invars, equation.outvars))
        if any(count in shape for shape in before) and any(
            shape.count(count) != 1 for shape in after
        ):
            raise NotImplementedError(
                f"operation {equation.primitive.name!r} across the examples of a batch"
            )
    return numbers


def sign(x: Array) -> Array:
    """Compute 1, 0 or -1.

    JAX's own function asks on which chip it runs, which a compiler elsewhere cannot answer.
    """
    return (x > 0).astype(x.dtype) - (x < 0).astype(x.dtype)


def _shapes(variables: Sequence[Any]) -> list[tuple[int, ...]]:
    return [variable.aval.shape for variable in variables]


def _size(variable: Any) -> int:
    return math.prod(variable.aval.shape)


def _oriented(held: Held, kind: Kind) -> Array:
    """Orient a value as LAST, FIRST, SHARED (a column) or ROW, as far as broadcasting needs it."""
    value = held.value
    columns, rows = {SHARED, LAST}, {ROW, FIRST}
    turned = value.size > 1 and (
        (held.kind in columns and kind in rows) or (held.kind in rows and kind in columns)
    )
    return value.T if turned else value


def _expanded(held: Held, size: int) -> Held:
    """Expand a value of equal numbers to its full size."""
    axis = 1 if held.kind in (FIRST, ROW) else 0
    shape = list(held.value.shape)
    shape[axis] = size
    return (
        held
        if held.value.shape[axis] == size
        else Held(jnp.broadcast_to(held.value, shape), held.kind)
    )


def _elementwise(equation: Any, args: list[Held]) -> list[Held]:
    """Apply an elementwise operation; scalars are broadcast to what they meet."""
    kinds = {held.kind for held in args}
    if matrices := kinds & MATRICES:
        kind = next(iter(matrices))
        if len(matrices) > 1 or any(
            held.kind not in MATRICES and held.value.size > 1 for held in args
        ):
            raise NotImplementedError(
                f"operation {equation.primitive.name!r} of a matrix of parameters and values of "
                "an example"
            )
    elif LAST in kinds:
        kind = LAST
    elif FIRST in kinds:
        kind = FIRST
    else:
        kind = (
            SHARED
            if any(held.kind is SHARED and held.value.size > 1 for held in args) or ROW not in kinds
            else ROW
        )
    batch = next((held.value.shape[1] for held in args if held.kind is LAST), 0)

    def value_of(held: Held) -> Array:
        if kind in MATRICES:
            return held.value
        if batch and held.kind is ROW and jnp.issubdtype(held.value.dtype, jnp.floating):
            return _for_each(held.value, batch)
        return _oriented(held, kind)

    values = [*map(value_of, args)]
    shape = jnp.broadcast_shapes(*(value.shape for value in values))
    return [
        Held(out, kind)
        for out in bind(
            equation.primitive,
            equation.params,
            *(jnp.broadcast_to(value, shape) for value in values),
        )
    ]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _for_each(row: Float[Array, "1 size"], batch: int) -> Float[Array, "size batch"]:
    """Repeat a vector of parameters for each example.

    It is repeated before it is transposed: a single column would be copied to all lanes afterwards,
    and that takes the same unit again. Its gradient is a single row.
    """
    return jnp.broadcast_to(row, (batch, row.size)).T


def _forward_for_each(row: Array, batch: int) -> tuple[Array, None]:
    return _for_each(row, batch), None


def _backward_for_each(batch: int, saved: None, g: Array) -> tuple[Array]:
    return (g.sum(1, keepdims=True).T,)


_for_each.defvjp(_forward_for_each, _backward_for_each)


def _reshape(equation: Any, args: list[Held]) -> list[Held]:
    """Change the shape of a value, which costs nothing; a value of equal numbers may also change
    its size.
    """
    (held, *_), before, after = args, _size(equation.invars[0]), _size(equation.outvars[0])
    if held.kind in MATRICES:
        if equation.invars[0].aval.shape != equation.outvars[0].aval.shape:
            raise NotImplementedError(
                f"operation {equation.primitive.name!r} of a matrix of parameters"
            )
    elif before not in (1, after):
        raise NotImplementedError(
            f"operation {equation.primitive.name!r} from {before} to {after} numbers"
        )
    return [held]


def _pass_key(equation: Any, args: list[Held]) -> list[Held]:
    """Pass a key on: it is represented by its words."""
    return args


def _transpose(equation: Any, args: list[Held]) -> list[Held]:
    """Transpose a matrix of parameters, or a value whose permuted axes all but one have size 1."""
    (held,), shape, order = args, equation.invars[0].aval.shape, equation.params["permutation"]
    if held.kind in MATRICES:
        return [Held(held.value, OTHER[held.kind] if order == (1, 0) else held.kind)]
    if [axis for axis in order if shape[axis] > 1] != [
        axis for axis, size in enumerate(shape) if size > 1
    ]:
        raise NotImplementedError("operation 'transpose' of a value with several axes")
    return args


def _axis(equation: Any, shape: tuple[int, ...]) -> int | None:
    """Find the only axis that is longer than 1, or None."""
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    if len(axes) > 1:
        raise NotImplementedError(
            f"operation {equation.primitive.name!r} along one of several axes"
        )
    return axes[0] if axes else None


def _iota(equation: Any, args: list[Held]) -> list[Held]:
    shape, params = equation.outvars[0].aval.shape, equation.params
    if _axis(equation, shape) != params["dimension"]:
        return [Held(jnp.zeros((1, 1), params["dtype"]), SHARED)]
    return [Held(jax.lax.broadcasted_iota(params["dtype"], (math.prod(shape), 1), 0), SHARED)]


def _slice(equation: Any, args: list[Held]) -> list[Held]:
    (held,), params, shape = args, equation.params, equation.invars[0].aval.shape
    axis = _axis(equation, shape)
    if held.kind in MATRICES:
        raise NotImplementedError("operation 'slice' of a matrix of parameters")
    if axis is None:
        return args
    if params["strides"] is not None and params["strides"][axis] != 1:
        raise NotImplementedError("operation 'slice' with strides")
    kind = LAST if held.kind is FIRST else SHARED if held.kind is ROW else held.kind
    column = _oriented(_expanded(held, shape[axis]), kind)
    return [Held(column[params["start_indices"][axis] : params["limit_indices"][axis]], kind)]


def _concatenate(equation: Any, args: list[Held]) -> list[Held]:
    if _axis(equation, equation.outvars[0].aval.shape) != equation.params["dimension"]:
        raise NotImplementedError("operation 'concatenate' along one of several axes")
    if any(held.kind in MATRICES for held in args):
        raise NotImplementedError("operation 'concatenate' of a matrix of parameters")
    kind = LAST if any(held.kind in (LAST, FIRST) for held in args) else SHARED
    parts = [
        _oriented(_expanded(held, _size(variable)), kind)
        for held, variable in zip(args, equation.invars, strict=True)
    ]
    batch = max(part.shape[1] for part in parts)
    return [
        Held(jnp.concatenate([jnp.broadcast_to(part, (len(part), batch)) for part in parts]), kind)
    ]


def _column(equation: Any, held: Held, axes: Sequence[Any]) -> Held | None:
    """Prepare a value that is reduced over all of its axes, as LAST or SHARED.

    Returns:
        The value; None where the reduced axes have only one number.
    """
    shape = equation.invars[0].aval.shape
    if held.kind in MATRICES:
        raise NotImplementedError(
            f"operation {equation.primitive.name!r} of a matrix of parameters"
        )
    if math.prod(shape[axis] for axis in axes) == 1:
        return None
    if math.prod(shape[axis] for axis in axes) != math.prod(shape):
        raise NotImplementedError(
            f"operation {equation.primitive.name!r} over some of several axes"
        )
    kind = LAST if held.kind in (LAST, FIRST) else SHARED
    return Held(_oriented(_expanded(held, math.prod(shape)), kind), kind)


def _reduce(reduce: Callable[..., Array]) -> Rule[Held]:
    def rule(equation: Any, args: list[Held]) -> list[Held]:
        column = _column(equation, args[0], equation.params["axes"])
        if column is None:
            return args
        return [
            Held(
                reduce(column.value, axis=0, keepdims=True).astype(column.value.dtype), column.kind
            )
        ]

    return rule


def _argmax(equation: Any, args: list[Held]) -> list[Held]:
    """Find the first place of the largest number."""
    column, of_type = (
        _column(equation, args[0], equation.params["axes"]),
        equation.params["index_dtype"],
    )
    if column is None:
        return [Held(jnp.zeros((1, 1), of_type), SHARED)]
    places = jax.lax.broadcasted_iota(of_type, column.value.shape, 0)
    largest = column.value == jnp.broadcast_to(
        column.value.max(0, keepdims=True), column.value.shape
    )
    return [Held(jnp.where(largest, places, len(places)).min(0, keepdims=True), column.kind)]


def _dot(equation: Any, args: list[Held], *, dtype: Any) -> list[Held]:
    """Multiply a vector of the example and a matrix of parameters, on either side."""
    ((left, right), batched), precision = (
        equation.params["dimension_numbers"],
        equation.params["precision"],
    )
    sides = [*zip(args, equation.invars, (left, right), strict=True)]
    (vector, variable, along), (matrix, _, into) = (
        sides if args[1].kind in MATRICES else sides[::-1]
    )
    small = jax.lax.Precision.DEFAULT
    if precision not in (None, (small, small)):
        raise NotImplementedError(f"a product of precision {precision}")
    if matrix.kind not in MATRICES or vector.kind in MATRICES or any(batched) or len(along) != 1:
        raise NotImplementedError(
            "operation 'dot_general' other than of one example's vector and a matrix of parameters"
        )
    if variable.aval.shape[along[0]] != _size(variable):
        raise NotImplementedError("operation 'dot_general' of a value with several axes")
    inputs = into[0] if matrix.kind is AS_GIVEN else 1 - into[0]
    vector = _expanded(
        Held(_oriented(vector, LAST), LAST) if vector.kind not in (LAST, FIRST) else vector,
        _size(variable),
    )
    if inputs == 0 and vector.kind is LAST:
        vector = Held(vector.value.T, FIRST)
    out = _layer(vector, matrix.value, inputs, dtype)
    return [Held(out.value.astype(equation.outvars[0].aval.dtype), out.kind)]


def _contract(a: Array, b: Array, along_a: int, along_b: int) -> Array:
    return jax.lax.dot_general(
        a, b, (((along_a,), (along_b,)), ((), ())), preferred_element_type=jnp.float32
    )


def _layer(vector: Held, matrix: Array, inputs: int, dtype: Any) -> Held:
    """Compute the product and its gradients without transposing any large operand or result.

    Args:
        vector: the vectors of a batch, LAST or FIRST.
        matrix: (inputs, outputs) or (outputs, inputs).
        inputs: axis of the inputs in `matrix`: 0 gives a result that is FIRST, 1 one that is LAST.
        dtype: type to which the operands are rounded.
    """
    first = vector.kind is FIRST

    def forward(h: Array, w: Array) -> tuple[Array, tuple[Array, Array]]:
        h, w = h.astype(dtype), w.astype(dtype)
        return _contract(h, w, 1, 0) if inputs == 0 else _contract(w, h, 1, int(first)), (h, w)

    def backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
        (h, w), g = saved, g.astype(dtype)
        if inputs == 0:
            return _contract(g, w, 1, 1).astype(of_h), _contract(h, g, 0, 0).astype(of_w)
        to_h = _contract(g, w, 0, 0) if first else _contract(w, g, 0, 0)
        return to_h.astype(of_h), _contract(g, h, 1, int(not first)).astype(of_w)

    of_h, of_w = vector.value.dtype, matrix.dtype
    layer = jax.custom_vjp(lambda h, w: forward(h, w)[0])
    layer.defvjp(forward, backward)
    return Held(layer(vector.value, matrix), FIRST if inputs == 0 else LAST)


def _custom_jvp(equation: Any, args: list[Held], *, dtype: Any) -> list[Held]:
    """Evaluate a function with a custom derivative, such as relu; the derivative too is traced for
    one example.
    """
    avals: list[Any] = [variable.aval for variable in equation.invars]
    if len(equation.outvars) > 1 or any(
        not jnp.issubdtype(aval.dtype, jnp.floating) for aval in avals
    ):
        raise NotImplementedError(
            "operation 'custom_jvp_call' with several results, or of whole numbers"
        )
    if any(held.kind is LAST for held in args):  # whose tangents `_for_each` could not transpose
        args = [Held(_oriented(held, LAST), SHARED) if held.kind is ROW else held for held in args]
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    alone = functools.partial(bind, equation.primitive, equation.params)
    tangent = jax.make_jaxpr(lambda p, t: jax.jvp(lambda *p: alone(*p)[0], p, t))(shapes, shapes)
    inner, held = called(equation)
    kinds, kind = [each.kind for each in args], list[Kind]()

    def call(*values: Array) -> Array:
        (out,) = evaluate(inner, [*map(constant, held)], [*map(Held, values, kinds)], dtype)
        kind[:] = [out.kind]
        return out.value

    def with_tangent(primals: Sequence[Array], tangents: Sequence[Array]) -> tuple[Array, Array]:
        both = [*map(Held, (*primals, *tangents), kinds * 2)]
        out, change = evaluate(tangent.jaxpr, [*map(constant, tangent.consts)], both, dtype)
        kind[:] = [out.kind]
        return out.value, jnp.broadcast_to(_oriented(change, out.kind), out.value.shape)

    function = jax.custom_jvp(call)
    function.defjvp(with_tangent)
    return [Held(function(*(each.value for each in args)), kind[0])]


def _convert(equation: Any, args: list[Held]) -> list[Held]:
    """Convert to another type; bytes become floats by way of int32, the only way that older
    compilers know.
    """
    (held,) = args
    if held.value.dtype == jnp.uint8:
        held = Held(held.value.astype(jnp.int32), held.kind)
    return _elementwise(equation, [held])


def _rewritten(function: Callable[[Array], Array]) -> Rule[Held]:
    """Make a rule that computes an operation unknown to the compiler by other operations."""
    return lambda equation, args: [Held(function(args[0].value), args[0].kind)]


def as_last(held: Held, batch: int) -> Float[Array, "1 batch"]:
    """Broadcast one number per example to the batch, whether or not it depends on the example.

    Args:
        held: one number per example, or one number for all.
        batch: number of examples.

    Returns:
        (1, batch) float32.
    """
    return jnp.broadcast_to(_oriented(held, LAST), (1, batch)).astype(jnp.float32)


def constant(value: Any) -> Held:
    """Hold a constant of the function, which must be a number or a vector."""
    if jnp.ndim(value) > 1:
        raise NotImplementedError(f"a constant of shape {jnp.shape(value)}")
    if jnp.ndim(value) == 0:
        return Held(jnp.full((1, 1), value, value.dtype), SHARED)
    return Held(jnp.reshape(jnp.asarray(value), (-1, 1)), SHARED)


ELEMENTWISE = (
    "abs",
    "add",
    "add_any",
    "and",
    "bitcast_convert_type",
    "ceil",
    "clamp",
    "cos",
    "div",
    "eq",
    "erf",
    "erf_inv",
    "exp",
    "exp2",
    "floor",
    "ge",
    "gt",
    "integer_pow",
    "is_finite",
    "le",
    "log",
    "log1p",
    "logistic",
    "lt",
    "max",
    "min",
    "mul",
    "ne",
    "neg",
    "not",
    "or",
    "pow",
    "rem",
    "round",
    "rsqrt",
    "select_n",
    "shift_left",
    "shift_right_arithmetic",
    "shift_right_logical",
    "sin",
    "sqrt",
    "square",
    "sub",
    "tan",
    "tanh",
    "xor",
)
BATCH_LAST_RULES: dict[str, Rule[Held]] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(
        ("broadcast_in_dim", "expand_dims", "reshape", "squeeze", "copy", "copy_p"), _reshape
    ),
    **dict.fromkeys(("random_wrap", "random_unwrap"), _pass_key),
    **dict.fromkeys(
        ("custom_vjp_call", "custom_vjp_call_jaxpr"), refuse
    ),  # evaluated here, it would lose its gradient
    "argmax": _argmax,
    "concatenate": _concatenate,
    "convert_element_type": _convert,
    "erfc": _rewritten(lambda x: 1 - jax.lax.erf(x)),
    "expm1": _rewritten(lambda x: jnp.tanh(x / 2) * (jnp.exp(x) + 1)),
    "iota": _iota,
    "reduce_max": _reduce(jnp.max),
    "reduce_min": _reduce(jnp.min),
    "reduce_sum": _reduce(jnp.sum),
    "sign": _rewritten(sign),
    "slice": _slice,
    "stop_gradient": _rewritten(jax.lax.stop_gradient),
    "transpose": _transpose,
}


def rules(dtype: Any) -> dict[str, Rule[Held]]:
    """Return all rules by the name of the operation; operands of products are rounded to
    `dtype`.
    """
    with_products = {"custom_jvp_call": _custom_jvp, "dot_general": _dot}
    return BATCH_LAST_RULES | {
        name: functools.partial(rule, dtype=dtype) for name, rule in with_products.items()
    }

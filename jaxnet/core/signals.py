"""Signals: what a training shows inside an epoch, layer by layer.

A layer is found by its parameters. The forward pass is read as a program (jaxpr.py), so that models
of every library are read alike: it says in which order layers follow each other, and which of its
operations are the outputs of a layer, a relu, a sigmoid or a tanh.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from jaxnet import display
from jaxnet.core.objective import forward
from jaxnet.models.model import Model, initial

# A unit counts as saturated on an example where tanh is beyond this, or sigmoid as far out: its
# slope is then less than a tenth of the largest.
SATURATED = 0.95
# What a tanh passes through and is still a tanh, but for a shift and a factor.
AFFINE = ("add", "sub", "mul", "div", "neg", "convert_element_type")
# Examples of a batch that is only traced. Few layers are as wide, so that results of examples are
# told from batch statistics.
PROBE = 101


class Signals(NamedTuple):
    """What was measured at some steps of an epoch, before the step unless said otherwise.

    In a history every field has a leading axis of epochs, and in a population one of members before
    it. The first of the steps is the first of the epoch. Layers are in the order of the forward
    pass, as `Run.layers` names them.

    Attributes:
        step: (steps,) the numbers of the steps in the run; -1 where there is none.
        loss: (steps,) the mean loss of the batch.
        gradient_norm: (steps, layers) the norm of the gradient of the layer's parameters, before
            clipping.
        update_norm: (steps, layers) the norm of the change that the step made.
        parameter_norm: (steps, layers) the norm of the layer's parameters.
        output_scale: (steps, layers) the root mean square of what the layer computes with its
            parameters, before its activation.
        dead_units: (steps, layers) the share of units whose relu is 0 on every example of the
            batch; NaN for a layer without relu.
        saturated_units: (steps, layers) the share of the outputs of a tanh beyond -0.95 and 0.95,
            or of a sigmoid as close to its bounds (0.025 and 0.975); NaN for a layer without them.
    """

    step: Int[Array, "... steps"]
    loss: Float[Array, "... steps"]
    gradient_norm: Float[Array, "... steps layers"]
    update_norm: Float[Array, "... steps layers"]
    parameter_norm: Float[Array, "... steps layers"]
    output_scale: Float[Array, "... steps layers"]
    dead_units: Float[Array, "... steps layers"]
    saturated_units: Float[Array, "... steps layers"]

    __repr__ = display.text

    @property
    def update_ratio(self) -> np.ndarray:
        """(steps, layers) the norm of a step's change as a share of the norm of the parameters; NaN
        where both are 0.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.update_norm) / np.asarray(self.parameter_norm)


class Reading(NamedTuple):
    """An operation of the forward pass that shows a signal of a layer.

    Attributes:
        operation: its number in the forward pass.
        layer: the number of the layer.
        what: what it is, a name in READERS.
        unit_axis: the axis of units in its output.
    """

    operation: int
    layer: int
    what: str
    unit_axis: int


class Layers(NamedTuple):
    """The layers of a network, in the order of its forward pass.

    Attributes:
        names: their names.
        leaves: for each layer, the numbers of its arrays among the leaves of the parameters.
        readings: which operations show signals.
    """

    names: tuple[str, ...]
    leaves: tuple[tuple[int, ...], ...]
    readings: tuple[Reading, ...]


def taken(signals: int, steps: int) -> np.ndarray:
    """The steps of an epoch at which signals are taken.

    Args:
        signals: how many.
        steps: the number of steps in the epoch.

    Returns:
        (min(signals, steps),) numbers of steps: the first one, and others evenly after it.
    """
    count = min(signals, steps)
    return np.arange(count) * steps // count


def blank_signals(signals: int, layers: int, *shape: int) -> Signals:
    """Signals of NaN, for so many steps and layers; shape: the axes before."""
    none = np.full((*shape, signals), -1, np.int32)
    one = np.full((*shape, signals), np.nan, np.float32)
    each = np.full((*shape, signals, layers), np.nan, np.float32)
    return Signals(none, one, *[each] * (len(Signals._fields) - 2))  # pyrefly: ignore[bad-argument-type]


def measure(
    layers: Layers,
    step: Int[Array, ""],
    loss: Float[Array, ""],
    gradient: PyTree,
    before: PyTree,
    after: PyTree,
    forward_pass: tuple[Callable[..., Any], tuple[Any, ...]],
) -> Signals:
    """The signals of one step.

    Args:
        layers: the layers of the network.
        step: its number in the run.
        loss: the mean loss of its batch.
        gradient: its gradient.
        before: the parameters before it.
        after: the parameters after it.
        forward_pass: the function that computes the outputs of its batch, and its arguments.

    Returns:
        The signals, without an axis of steps.
    """
    from jaxnet.core.jaxpr import bind, interpret  # which takes a while to import

    change = jax.tree.map(lambda new, old: new - old, after, before)
    norms = [_norms(layers, tree) for tree in (gradient, change, before)]
    function, args = forward_pass
    program, operands = jax.make_jaxpr(function)(*args), jax.tree.leaves(args)
    wanted = {reading.operation for reading in layers.readings}
    outputs = dict[int, Array]()
    number = iter(range(1 << 31))

    def note(equation: Any, operands: list[Any]) -> list[Any]:
        made, place = bind(equation.primitive, equation.params, *operands), next(number)
        if place in wanted:
            outputs[place] = made[0]
        return made

    interpret(program.jaxpr, program.consts, operands, rules={}, lift=lambda x: x, otherwise=note)
    units = {name: [jnp.float32(jnp.nan)] * len(layers.names) for name in OF_UNITS}
    for reading in layers.readings:
        signal, read = READERS[reading.what]
        units[signal][reading.layer] = read(
            outputs[reading.operation].astype(jnp.float32), reading.unit_axis
        )
    return Signals(step, loss, *norms, *(jnp.stack(units[name]) for name in OF_UNITS))


@functools.cache
def layers_of(
    model: Model, one: jax.ShapeDtypeStruct, precision: str, dropout: bool, key_type: str
) -> Layers:
    """The layers of a network, read off its forward pass in training.

    Arrays of parameters that share a place in the tree are one layer, such as kernel and bias;
    where two of them are kernels, each array is a layer of its own.

    Args:
        model: the network, with its number of outputs fixed.
        one: shape and type of a batch of one input.
        precision: as in the recipe.
        dropout: whether the recipe has dropout.
        key_type: the implementation of the random keys, which draw by different operations.

    Returns:
        The layers.
    """
    x = jax.ShapeDtypeStruct((PROBE, *one.shape[1:]), one.dtype)
    params, model_state = jax.eval_shape(
        functools.partial(initial, model), jax.random.key(0, impl=key_type), one
    )
    names, leaves = _grouped(params)
    source = {leaf: group for group, members in enumerate(leaves) for leaf in members}
    function = functools.partial(training_pass, model, precision)
    rate = jax.ShapeDtypeStruct((), jnp.float32) if dropout else None
    args = params, model_state, x, jax.random.key(0, impl=key_type), rate
    program = jax.make_jaxpr(function)(*args)
    state, count = len(jax.tree.leaves(model_state)), len(jax.tree.leaves(params))
    values = [_Value(source=source[i]) for i in range(count)]
    values += [_Value()] * state + [_Value(varies=True)]
    values += [_Value()] * (len(program.jaxpr.invars) - len(values))
    reader = _Reader()
    reader.follow(program.jaxpr, [_Value()] * len(program.consts), values)
    order = reader.order + [i for i in range(len(leaves)) if i not in reader.order]
    return Layers(
        tuple(names[i] for i in order), tuple(leaves[i] for i in order), tuple(reader.readings())
    )


def training_pass(
    model: Model,
    precision: str,
    params: PyTree,
    model_state: PyTree,
    x: Array,
    key: Array,
    dropout: Array | None,
) -> Array:
    """The outputs of the network in training, as a function of all that enters them."""
    return forward(model, params, model_state, x, precision=precision, key=key, dropout=dropout)[0]


def _grouped(params: PyTree) -> tuple[list[str], list[tuple[int, ...]]]:
    """The names of the layers, in the order of the tree, and the numbers of their leaves."""
    named = jax.tree_util.tree_leaves_with_path(params)
    text = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
    together: dict[str, list[int]] = {}
    for i, (path, _) in enumerate(named):
        together.setdefault(text(path[:-1]), []).append(i)
    groups: dict[str, tuple[int, ...]] = {}
    for name, members in together.items():
        if name and sum(_is_kernel(named[i][1].shape) for i in members) < 2:
            groups[name] = tuple(members)
        else:
            groups |= {text(named[i][0]) or "parameters": (i,) for i in members}
    return list(groups), list(groups.values())


def _is_kernel(shape: tuple[int, ...]) -> bool:
    """Whether an array multiplies inputs. Equinox has biases of the shape (channels, 1, 1)."""
    return len(shape) == 2 or sum(size > 1 for size in shape) > 1


def _norms(layers: Layers, tree: PyTree) -> Float[Array, " layers"]:
    squares = [jnp.sum(jnp.square(leaf.astype(jnp.float32))) for leaf in jax.tree.leaves(tree)]
    each = [functools.reduce(jnp.add, [squares[i] for i in leaves]) for leaves in layers.leaves]
    return jnp.sqrt(jnp.stack(each))


def _scale(x: Array, _: int) -> Array:
    return jnp.sqrt(jnp.mean(jnp.square(x)))


def _dead(x: Array, unit_axis: int) -> Array:
    others = tuple(axis for axis in range(x.ndim) if axis != unit_axis)
    return jnp.mean((jnp.max(x, axis=others) == 0).astype(jnp.float32))


def _saturated(x: Array, _: int) -> Array:
    return jnp.mean((jnp.abs(x) > SATURATED).astype(jnp.float32))


def _saturated_sigmoid(x: Array, unit_axis: int) -> Array:
    return _saturated(2 * x - 1, unit_axis)


OF_UNITS = ("output_scale", "dead_units", "saturated_units")  # the last fields of Signals
READERS: dict[str, tuple[str, Callable[[Array, int], Array]]] = {
    "output": ("output_scale", _scale),
    "relu": ("dead_units", _dead),
    "tanh": ("saturated_units", _saturated),
    "logistic": ("saturated_units", _saturated_sigmoid),
}


class _Value(NamedTuple):
    """What is known of a value in the forward pass.

    Attributes:
        source: for what is computed from parameters alone, the number of their layer in the order
            of the tree; -1 for anything else.
        varies: whether it has to do with the examples.
        layer: the layer whose parameters entered it last, in the order of the forward pass; -1
            before the first.
        unit_axis: the axis of units, -1 where there is none.
        gate: the reading that it is, but for a shift and a factor: that of a tanh or a sigmoid.
        zero: whether it is the constant 0.
    """

    source: int = -1
    varies: bool = False
    layer: int = -1
    unit_axis: int = -1
    gate: Reading | None = None
    zero: bool = False


class _Reader:
    """Follows a forward pass that is only traced, and notes its layers and what shows signals."""

    def __init__(self) -> None:
        self.order = list[int]()
        self._found = dict[tuple[int, str], Reading]()
        self._number = 0

    def readings(self) -> list[Reading]:
        """The last operation of each kind in each layer."""
        return sorted(self._found.values())

    def follow(
        self, jaxpr: Any, constants: Sequence[_Value], args: Sequence[_Value]
    ) -> list[_Value]:
        """Follows a program."""
        from jaxnet.core.jaxpr import interpret  # which takes a while to import

        return interpret(jaxpr, constants, args, rules={}, lift=_lifted, otherwise=self._operation)

    def _operation(self, equation: Any, operands: list[_Value]) -> list[_Value]:
        number, name = self._number, equation.primitive.name
        self._number += 1
        varying = [each for each in operands if each.varies]
        sources = [each.source for each in operands if each.source >= 0]
        if not varying:
            zero = name in ("broadcast_in_dim", "convert_element_type") and operands[0].zero
            return [_Value(max(sources, default=-1), zero=zero)] * len(equation.outvars)
        self.order += [each for each in dict.fromkeys(sources) if each not in self.order]
        own = [self.order.index(each) for each in sources]
        layer = max([each.layer for each in varying] + own)
        axis, made = _unit_axis(equation, operands), _kind(equation.outvars[0])
        gate = None
        if name == "mul" and len(varying) > 1:
            # In silu, gelu and gates a sigmoid or tanh is a factor, and bounds nothing.
            for each in varying:
                if each.gate is not None:
                    self._found.pop((each.gate.layer, each.gate.what), None)
        elif name in AFFINE and len(varying) == 1:
            gate = varying[0].gate
        if layer >= 0 and PROBE in made.shape and jnp.issubdtype(made.dtype, jnp.floating):
            if layer in own:
                self._note(number, layer, "output", axis)
            if axis >= 0 and made.shape[axis] > 1:
                if name == "max" and any(each.zero for each in operands):
                    self._note(number, layer, "relu", axis)
                elif name in ("tanh", "logistic"):
                    gate = self._note(number, layer, name, axis)
        return [_Value(-1, True, layer, axis, gate)] * len(equation.outvars)

    def _note(self, number: int, layer: int, what: str, axis: int) -> Reading:
        self._found[layer, what] = Reading(number, layer, what, axis)
        return self._found[layer, what]


def _kind(variable: Any) -> Any:
    """The shape and type of a value of a program."""
    return variable.aval


def _lifted(array: Any) -> _Value:
    return _Value(zero=isinstance(array, np.ndarray) and not array.any())


def _unit_axis(equation: Any, operands: list[_Value]) -> int:
    """The axis of units in the output of an operation; -1 where there is none."""
    name, params = equation.primitive.name, equation.params
    shape = _kind(equation.outvars[0]).shape
    if name == "conv_general_dilated":
        return params["dimension_numbers"].out_spec[1]
    if name == "dot_general" and any(each.source >= 0 for each in operands):
        together = len(params["dimension_numbers"][1][0])
        return together if operands[0].source >= 0 else len(shape) - 1
    place = max(
        (i for i, each in enumerate(operands) if each.varies),
        key=lambda i: (operands[i].unit_axis >= 0, operands[i].layer),
    )
    axis, before = operands[place].unit_axis, _kind(equation.invars[place]).shape
    if axis < 0:
        return -1
    if name == "transpose":
        return params["permutation"].index(axis)
    if "axes" in params and len(shape) < len(before):
        gone = params["axes"]
        return -1 if axis in gone else axis - sum(each < axis for each in gone)
    if len(shape) == len(before) and shape[axis] == before[axis]:
        return axis
    alike = [i for i, size in enumerate(shape) if size == before[axis]]
    return alike[-1] if alike else len(shape) - 1

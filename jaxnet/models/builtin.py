"""The built-in models: mlp, cnn and linear.

They are Linen modules whose parameters are initialized from one flat draw of numbers.
"""

import ast
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from jaxnet.errors import InputError, check_known, check_whole, renamed, shown
from jaxnet.models.model import Model
from jaxnet.typing import Number


@renamed(normalisation="normalization")
def mlp(
    hidden: Sequence[int] = (128, 64),
    *more: object,
    activation: str = "relu",
    normalization: str | None = None,
    vocabulary: int | None = None,
) -> Model:
    """Build a multilayer perceptron.

    Args:
        hidden: widths of the hidden layers; (128, 64) by default.
        *more: no further positional argument is allowed.
        activation: relu, gelu, silu or tanh.
        normalization: "layer", "batch" or None.
        vocabulary: where inputs are tokens, how many ids it knows, from 0: each becomes a learned
            vector of 16 numbers before the first layer.

    Returns:
        The model; its number of outputs follows from the data.

    Raises:
        InputError: for widths, activations and normalizations that do not exist, and for a
            vocabulary that is no whole number of at least 1.
    """
    if more:
        raise InputError(
            f"hidden is {shown(hidden)}, with {len(more)} more behind it; give one sequence of "
            "widths, such as mlp((128, 64))"
        )
    widths = _widths("hidden", hidden)
    _check_choices(activation, normalization)
    if vocabulary is not None:
        check_whole("vocabulary", vocabulary, 1)
    return _without_outputs(
        "MLP",
        hidden=widths,
        activation=activation,
        normalization=normalization,
        vocabulary=vocabulary,
    )


@renamed(normalisation="normalization")
def cnn(
    channels: Sequence[int] = (32, 64),
    hidden: Sequence[int] = (128,),
    *,
    kernel: int | Sequence[int] = 3,
    stride: int | Sequence[int] = 1,
    padding: str = "SAME",
    activation: str = "relu",
    normalization: str | None = None,
) -> Model:
    """Build a convolutional network for images: convolutions that each halve the image, then an
    MLP.

    Args:
        channels: channels of each convolution; (32, 64) by default.
        hidden: widths of the hidden layers of the MLP; (128,) by default.
        kernel: side of the kernel in pixels, one for all convolutions or one for each; 3 by
            default.
        stride: 1 or 2, one for all convolutions or one for each. Stride 1, the default, is followed
            by 2x2 max pooling; stride 2 halves the image by itself.
        padding: SAME or VALID.
        activation: relu, gelu, silu or tanh.
        normalization: "layer", "batch" or None.

    Returns:
        The model; its number of outputs follows from the data.

    Raises:
        InputError: for arguments that do not exist or do not fit together.
    """
    _check_choices(activation, normalization)
    check_known("padding", padding, ("SAME", "VALID"))
    widths = _widths("channels", channels)
    each = {
        name: _one_each(name, value, len(widths))
        for name, value in (("kernel", kernel), ("stride", stride))
    }
    if (wrong := set(each["stride"]) - {1, 2}) and widths:
        raise InputError(f"stride is {max(wrong)}; give 1, which is followed by max pooling, or 2")
    shape = {"channels": widths, "hidden": _widths("hidden", hidden), **each, "padding": padding}
    return _without_outputs("CNN", **shape, activation=activation, normalization=normalization)


def linear() -> Model:
    """Build a linear model: logistic regression for classes, least squares for values."""
    return _without_outputs("MLP", hidden=())


def is_linear(model: Model) -> bool:
    """Whether a model is a built-in one without hidden layers."""
    given = model.for_outputs
    return isinstance(given, _ForOutputs) and not any(_hidden_layers(given).values())


def last_hidden(model: Model, params: PyTree) -> tuple[Model, PyTree] | None:
    """Cut a trained built-in model off before its output layer.

    Args:
        model: the model.
        params: its parameters.

    Returns:
        (a model whose outputs are the activations of the last hidden layer, its parameters); None
        for a model that has no hidden layer before its outputs, or that is not built in.
    """
    given = model.for_outputs
    if not isinstance(given, _ForOutputs) or not _hidden_layers(given).get("hidden"):
        return None
    above = params["head"] if given.kind == "CNN" else params
    width = above["output"]["kernel"].shape[0]
    output = {"kernel": np.eye(width, dtype=np.float32), "bias": np.zeros(width, np.float32)}
    cut = {**above, "output": output}
    return given(width), {**params, "head": cut} if given.kind == "CNN" else cut


def widened(model: Model, factor: int) -> Model | None:
    """Multiply the widths of all hidden layers of a built-in model.

    Args:
        model: the model.
        factor: a whole number, by which channels and hidden units are multiplied.

    Returns:
        The wider model. A linear model has no hidden layers to widen, so it becomes `mlp()`. None
        for a model that is not built in.
    """
    given = model.for_outputs
    if not isinstance(given, _ForOutputs):
        return None
    if is_linear(model):
        return mlp(vocabulary=model.vocabulary)
    wider = {
        name: tuple(factor * width for width in widths)
        for name, widths in _hidden_layers(given).items()
    }
    return _without_outputs(given.kind, **dict(given.structure) | wider)


def narrowed(model: Model) -> Model | None:
    """Halve the widths of all hidden layers of a built-in model, rounded up.

    Args:
        model: the model.

    Returns:
        The narrower model. None for a model without hidden layers of 2 units, or one that is not
        built in.
    """
    given = model.for_outputs
    if not isinstance(given, _ForOutputs) or is_linear(model):
        return None
    narrower = {
        name: tuple((width + 1) // 2 for width in widths)
        for name, widths in _hidden_layers(given).items()
    }
    found = _without_outputs(given.kind, **dict(given.structure) | narrower)
    return None if found == model else found


def deepened(model: Model) -> Model | None:
    """Add a hidden layer, as wide as the last one, to a built-in model.

    Args:
        model: the model.

    Returns:
        The deeper model. None for a model without hidden layers, or one that is not built in.
    """
    given = model.for_outputs
    if not isinstance(given, _ForOutputs):
        return None
    hidden = _hidden_layers(given).get("hidden")
    if not hidden:
        return None
    deeper = {"hidden": (*hidden, hidden[-1])}
    return _without_outputs(given.kind, **dict(given.structure) | deeper)


def shortened(model: Model) -> Model | None:
    """Leave out the later half of the hidden layers of a built-in model, rounded down.

    Args:
        model: the model. Convolutions stay.

    Returns:
        The model with fewer layers. None for one with fewer than 2 hidden layers, or one that is
        not built in.
    """
    given = model.for_outputs
    if not isinstance(given, _ForOutputs):
        return None
    hidden = _hidden_layers(given).get("hidden", ())
    if len(hidden) < 2:
        return None
    shorter = {"hidden": hidden[: (len(hidden) + 1) // 2]}
    return _without_outputs(given.kind, **dict(given.structure) | shorter)


def normalized(model: Model) -> Model | None:
    """Give a built-in model normalization before its activations: of batches where it has
    convolutions, else of layers.

    Args:
        model: the model.

    Returns:
        The model. None for one that has normalization or no hidden layers, or is not built in.

    References:
        Ioffe & Szegedy 2015 (batches); Ba, Kiros & Hinton 2016 (layers).
    """
    given = model.for_outputs
    if not isinstance(given, _ForOutputs) or is_linear(model):
        return None
    structure = dict(given.structure)
    if structure.get("normalization") is not None:
        return None
    how = "batch" if structure.get("channels") else "layer"
    return _without_outputs(given.kind, **structure | {"normalization": how})


def current_name(name: str) -> str:
    """The name of a model from a file, where it is written with a former word in it."""
    if name.startswith(("mlp(", "cnn(")):
        return name.replace("normalisation=", "normalization=")  # former name
    return name


def named(name: str) -> Model:
    """Build the built-in model of this name.

    Args:
        name: the name of a model, such as "mlp(hidden=(64,), activation=relu)".

    Returns:
        The model.

    Raises:
        InputError: where no built-in model has this name.
    """
    name = current_name(name)
    if name == linear().name:
        return linear()
    try:
        call: Any = ast.parse(name, mode="eval").body
        words: dict[Any, Any] = {
            each.arg: each.value.id
            if isinstance(each.value, ast.Name)
            else ast.literal_eval(each.value)
            for each in call.keywords
        }
        model = {"mlp": mlp, "cnn": cnn}[call.func.id](**words)
    except (AttributeError, KeyError, SyntaxError, TypeError, ValueError):
        model = None
    if model is None or model.name != name:
        raise InputError(
            f"{name!r} is the name of no built-in model; make your own again, and give it to "
            "predict or evaluate"
        )
    return model


@functools.cache
def _without_outputs(kind: str, **structure: Any) -> Model:
    """Build a model whose number of outputs is still open; equal structure gives the very same
    model.
    """
    words = ", ".join(f"{name}={value}" for name, value in structure.items() if value is not None)
    name = f"{kind.lower()}({words})"

    unfinished = _Unfinished(name)
    complete = _ForOutputs(kind, name, tuple(structure.items()))
    return Model(unfinished, unfinished, name, complete, structure.get("vocabulary"))


@functools.cache
def _with_outputs(
    kind: str, name: str, structure: tuple[tuple[str, Any], ...], outputs: int
) -> Model:
    from jaxnet.models import layers

    module = getattr(layers, kind)(outputs=outputs, **dict(structure))
    vocabulary = dict(structure).get("vocabulary")
    return Model(_FlatInit(module), _LinenApply(module), name, vocabulary=vocabulary)


@dataclass(frozen=True)
class _ForOutputs:
    """The function that completes a built-in model with its number of outputs.

    Attributes:
        kind: the Linen module, MLP or CNN.
        name: name of the model.
        structure: keyword arguments of the module.
    """

    kind: str
    name: str
    structure: tuple[tuple[str, Any], ...]

    def __call__(self, outputs: int) -> Model:
        return _with_outputs(self.kind, self.name, self.structure, outputs)


def _hidden_layers(given: _ForOutputs) -> dict[str, tuple[int, ...]]:
    """The widths of convolutions and of hidden layers."""
    return {name: value for name, value in given.structure if name in ("channels", "hidden")}


@dataclass(frozen=True)
class _Unfinished:
    """The functions of a built-in model without a number of outputs: they raise InputError.

    Attributes:
        name: name of the model.
    """

    name: str

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise InputError(
            f"{self.name} does not know its number of outputs yet; use model.for_outputs(n)"
        )


@dataclass(frozen=True)
class _FlatInit:
    """The init function: He-uniform kernels, LeCun-uniform ones in the output layer, vectors of ids
    with unit variance, zero biases, unit scales.

    One uniform draw is sliced into all kernels: one draw per parameter, as in Linen's own init,
    takes ten times as long to compile.

    Attributes:
        module: the Linen module.

    References:
        He et al. 2015, eq. 10.
    """

    module: Any

    def __call__(self, key: Array, x: Array, /) -> tuple[PyTree, PyTree]:
        shapes = jax.eval_shape(
            functools.partial(self.module.init, dropout=None),
            key,
            jax.ShapeDtypeStruct(x.shape, x.dtype),
        )
        params, state = (
            shapes["params"],
            {name: value for name, value in shapes.items() if name != "params"},
        )
        paths = jax.tree_util.tree_leaves_with_path(params)
        size = sum(leaf.size for _, leaf in paths if leaf.ndim > 1)
        draw = jax.random.uniform(key, (size,), jnp.float32, minval=-1.0, maxval=1.0)
        leaves, start = [], 0
        for path, leaf in paths:
            if leaf.ndim > 1:
                name = jax.tree_util.keystr(path)
                gain = 1.0 if "output" in name or "embedding" in name else 2.0
                inputs = 1 if "embedding" in name else math.prod(leaf.shape[:-1])
                bound = math.sqrt(3 * gain / inputs)
                leaves.append(draw[start : start + leaf.size].reshape(leaf.shape) * bound)
                start += leaf.size
            else:
                leaves.append(_constant(path, leaf))
        return jax.tree.unflatten(
            jax.tree.structure(params), leaves
        ), jax.tree_util.tree_map_with_path(_constant, state)


def _constant(path: Any, leaf: jax.ShapeDtypeStruct) -> Array:
    """Fill scales and variances with ones, biases and means with zeros."""
    ones = any(word in jax.tree_util.keystr(path[-1:]) for word in ("scale", "var"))
    return jnp.full(leaf.shape, 1.0 if ones else 0.0, leaf.dtype)


@dataclass(frozen=True)
class _LinenApply:
    """The apply function: Linen's apply, with the model state as a value.

    Attributes:
        module: the Linen module.
    """

    module: Any

    def __call__(
        self,
        params: PyTree,
        model_state: PyTree,
        x: Array,
        /,
        *,
        key: Array | None = None,
        dropout: Number | None = None,
    ) -> tuple[Float[Array, "batch outputs"], PyTree]:
        variables = {"params": params, **model_state}
        if key is None or not model_state:
            return self.module.apply(variables, x, key=key, dropout=dropout), model_state
        return self.module.apply(variables, x, key=key, dropout=dropout, mutable=list(model_state))


def _widths(name: str, widths: Sequence[int]) -> tuple[int, ...]:
    if (
        not isinstance(widths, Sequence | np.ndarray)
        or isinstance(widths, str)
        or (isinstance(widths, np.ndarray) and widths.ndim == 0)
    ):
        example = f"({widths},)" if str(widths).isdecimal() else "(128, 64)"
        raise InputError(f"{name} is {shown(widths)}; give one width per layer, such as {example}")
    whole = (
        isinstance(width, float | int | np.number)
        and not isinstance(width, bool)
        and float(width).is_integer()
        for width in widths
    )
    if not all(whole) or any(width < 1 for width in widths):
        raise InputError(
            f"{name} is {shown(tuple(widths))}; every width must be a whole number of at least 1"
        )
    return tuple(int(width) for width in widths)


def _one_each(name: str, value: int | Sequence[int], count: int) -> tuple[int, ...]:
    """Check a width and return one for each convolution."""
    widths = _widths(name, (value,) if isinstance(value, float | int | np.number) else value)
    if len(widths) not in (1, count):
        raise InputError(f"{name} is {widths} for {count} convolutions; give one, or one for each")
    return widths * count if len(widths) == 1 else widths


def _check_choices(activation: str, normalization: str | None) -> None:
    check_known("activation", activation, ("relu", "gelu", "silu", "tanh"))
    check_known("normalization", normalization, ("layer", "batch", None))

"""A Model is two pure functions; the built-in ones are Linen modules, initialised from one flat draw of numbers."""

import ast
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .data import Splits
from .errors import InputError, check_kind, check_known, shown
from .pickling import check_pickle
from .run import Run
from .typing import Number
from .width import double

NARROWER = {"float64": jnp.float32, "int64": jnp.int32, "uint64": jnp.uint32, "complex128": jnp.complex64}


@runtime_checkable
class Init(Protocol):
    """Makes (params, model_state) from a key and inputs of the shape and type to come; reads only their shape."""

    def __call__(self, key: Array, x: Array, /) -> tuple[PyTree, PyTree]: ...


@runtime_checkable
class Apply(Protocol):
    """(outputs, model_state) of a batch of inputs. Without a key it is evaluation, with one it is training.

    x: (batch, ...) float32, standardised. outputs: (batch, classes) logits or (batch, 1) values.
    dropout: the recipe's rate, or None.
    """

    def __call__(
        self, params: PyTree, model_state: PyTree, x: Array, /, *, key: Array | None, dropout: Number | None
    ) -> tuple[Array, PyTree]: ...


class Model(NamedTuple):
    """A network as two pure functions. Equal models are one model to the compiler.

    model_state is what training changes without a gradient, such as batch statistics; {} for most.
    name: what reports and files call it. for_outputs: the model with a last layer of that many outputs, where
    that is still open; None where it is not. Files know a model by its name: two of your own that differ in nothing that a name
    tells, and in no shape of a parameter, are taken for the same; give them names.
    """

    init: Init
    apply: Apply
    name: str = "custom"
    for_outputs: Callable[[int], "Model"] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        check_pickle(
            f"the model {self.name}",
            tuple(self),
            "define its functions and classes at the top of a module, and give those in place of a lambda or a local function",
        )
        return Model, tuple(self)

    def __copy__(self) -> "Model":
        return self  # its functions are values

    def __deepcopy__(self, memo: dict[int, Any], /) -> "Model":
        return self

    @staticmethod
    def from_linen(module: Any, *, flags: Mapping[str, bool] | None = None, name: str | None = None) -> "Model":
        """The Model of a Flax Linen module. Equal modules give the very same model.

        module: called as module(inputs). It hears whether this is training through the keywords of its call or the fields
        that it has of train, training, is_training, deterministic, eval and use_running_average.
        flags: further such words, with their values in training.
        """
        from .adapters import from_linen

        return from_linen(module, flags, name)

    @staticmethod
    def from_nnx(constructor: Callable[..., Any], *, name: str | None = None) -> "Model":
        """The Model of a Flax NNX module. The same constructor gives the very same model.

        constructor: rngs -> nnx.Module, such as lambda rngs: Net(10, rngs=rngs). It hears whether this is training through
        its train and eval methods, and through the keywords of its call as in from_linen.
        """
        from .adapters import from_nnx

        return from_nnx(constructor, name)

    @staticmethod
    def from_equinox(constructor: Callable[..., Any], *, name: str | None = None) -> "Model":
        """The Model of an Equinox module. The same constructor gives the very same model.

        constructor: key -> eqx.Module, of one example, called as module(x) or module(x, key=key); a module with eqx.nn.State
        as module(x, state) to give (outputs, state). The axis of examples is called "batch". In evaluation it is in
        inference mode, in training as it was made.
        """
        from .adapters import from_equinox

        return from_equinox(constructor, name)


def mlp(hidden: Sequence[int] = (128, 64), *more: object, activation: str = "relu", normalisation: str | None = None) -> Model:
    """A multilayer perceptron with hidden layers of these widths.

    activation: relu, gelu, silu or tanh. normalisation: "layer", "batch" or None.
    """
    if more:
        raise InputError(f"hidden is {shown(hidden)}, with {len(more)} more behind it; give one sequence of widths, such as mlp((128, 64))")
    widths = _widths("hidden", hidden)
    _check_choices(activation, normalisation)
    return _open("MLP", hidden=widths, activation=activation, normalisation=normalisation)


def cnn(
    channels: Sequence[int] = (32, 64),
    hidden: Sequence[int] = (128,),
    *,
    kernel: int | Sequence[int] = 3,
    stride: int | Sequence[int] = 1,
    padding: str = "SAME",
    activation: str = "relu",
    normalisation: str | None = None,
) -> Model:
    """A convolutional network for images: convolutions that each halve the image, then an MLP.

    kernel, stride: one for all convolutions, or one for each. Stride 1 is followed by 2x2 max pooling, stride 2 halves
    by itself. padding: SAME or VALID.
    """
    _check_choices(activation, normalisation)
    check_known("padding", padding, ("SAME", "VALID"))
    widths = _widths("channels", channels)
    each = {name: _one_each(name, value, len(widths)) for name, value in (("kernel", kernel), ("stride", stride))}
    if (wrong := set(each["stride"]) - {1, 2}) and widths:
        raise InputError(f"stride is {max(wrong)}; give 1, which is followed by max pooling, or 2")
    shape = {"channels": widths, "hidden": _widths("hidden", hidden), **each, "padding": padding}
    return _open("CNN", **shape, activation=activation, normalisation=normalisation)


def linear() -> Model:
    """A linear model: logistic regression on classes, least squares on values."""
    return _open("MLP", hidden=())


def named(name: str) -> Model:
    """The built-in model of this name, such as "mlp(hidden=(64,), activation=relu)". Raises InputError where none has it."""
    if name == linear().name:
        return linear()
    try:
        call: Any = ast.parse(name, mode="eval").body
        words: dict[Any, Any] = {
            each.arg: each.value.id if isinstance(each.value, ast.Name) else ast.literal_eval(each.value) for each in call.keywords
        }
        model = {"mlp": mlp, "cnn": cnn}[call.func.id](**words)
    except (AttributeError, KeyError, SyntaxError, TypeError, ValueError):
        model = None
    if model is None or model.name != name:
        raise InputError(f"{name!r} is the name of no built-in model; make your own again, and give it to predict or evaluate")
    return model


def describe(model: Model, splits: Splits) -> list[tuple[str, str, int]]:
    """(layer, shapes of its parameters, how many), a row a layer and a last one with the total. Computes nothing."""
    check_kind("model", model, Model, "a Model, such as jaxnet.mlp((128, 64))")
    check_kind("splits", splits, Splits, "Splits, as jaxnet.split and jaxnet.load make them")
    of_model = functools.partial(initial, with_outputs(model, splits.train.outputs))
    params, _ = jax.eval_shape(of_model, jax.random.key(0), input_shape(splits))
    layers: dict[str, list[jax.ShapeDtypeStruct]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        layers.setdefault(jax.tree_util.keystr(path[:-1], simple=True, separator="/") or "parameters", []).append(leaf)
    rows = [
        (layer, " + ".join("x".join(map(str, leaf.shape)) or "1" for leaf in leaves), sum(math.prod(leaf.shape) for leaf in leaves))
        for layer, leaves in layers.items()
    ]
    return [*rows, ("total", "", sum(count for _, _, count in rows))]


def initial(model: Model, key: Array, x: Array) -> tuple[PyTree, PyTree]:
    """`model.init`, with numbers of at most 32 bits: those that it makes without `jax_enable_x64`."""
    with double(False):
        return at_most_32_bits(jax.tree.map(jnp.asarray, model.init(key, x)))


def at_most_32_bits(tree: PyTree) -> PyTree:
    """The tree with its JAX arrays of 64-bit numbers as 32-bit numbers."""

    def narrow(leaf: Any) -> Any:
        return leaf.astype(NARROWER[leaf.dtype.name]) if isinstance(leaf, jax.Array) and leaf.dtype.name in NARROWER else leaf

    return jax.tree.map(narrow, tree)


def with_outputs(model: Model, outputs: int) -> Model:
    """The model with its number of outputs fixed."""
    return model if model.for_outputs is None else model.for_outputs(outputs)


def check_trained(model: Model, run: Run) -> None:
    """Raise InputError where a run is of another model, as far as names and the shapes of parameters tell."""
    cure = "give the model that was trained"
    if model.name != run.model:
        own = "" if model.for_outputs is not None else "; where it is the same under another name, make it with name= as in the run"
        raise InputError(f"model is {model.name}, but the run is of {run.model}; {cure}{own}")
    if model.for_outputs is not None:
        return  # the name of a built-in model says all
    given, wanted = (_shapes_by_path(tree) for tree in (run.chosen[0], _parameters_of(model, run.shape)))
    ends = {path: shape[max(0, len(shape) - len(wanted.get(path, ()))) :] for path, shape in given.items()}  # members come before
    if ends != wanted:
        path = next(path for path in {**ends, **wanted} if ends.get(path) != wanted.get(path))
        raise InputError(
            f"the model {model.name} is not the one of the run, though it has its name: params{path} is {wanted.get(path, 'not there')} "
            f"in the model and {ends.get(path, 'not there')} in the run; {cure}"
        )


def input_shape(splits: Splits) -> jax.ShapeDtypeStruct:
    """Shape and type of a batch of one standardised input."""
    return jax.ShapeDtypeStruct((1, *splits.train.x.shape[1:]), jnp.float32)


@functools.cache
def _parameters_of(model: Model, shape: tuple[int, ...]) -> PyTree:
    """Shapes and types of a model's parameters, for examples of this shape."""
    return jax.eval_shape(functools.partial(initial, model), jax.random.key(0), jax.ShapeDtypeStruct((1, *shape), jnp.float32))[0]


def _shapes_by_path(tree: PyTree) -> dict[str, tuple[int, ...]]:
    return {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


@functools.cache
def _open(kind: str, **structure: Any) -> Model:
    """A built-in model that waits for its number of outputs. Cached: equal structure gives the very same model."""
    words = ", ".join(f"{name}={value}" for name, value in structure.items() if value is not None)
    name = f"{kind.lower()}({words})"

    unfinished = _Unfinished(name)
    return Model(unfinished, unfinished, name, _ForOutputs(kind, name, tuple(structure.items())))


@functools.cache
def _finished(kind: str, name: str, structure: tuple[tuple[str, Any], ...], outputs: int) -> Model:
    from . import layers

    module = getattr(layers, kind)(outputs=outputs, **dict(structure))
    return Model(_FlatInit(module), _LinenApply(module), name)


# Of built-in models all functions are values, so that a copy or a pickle of a model is the same model.


@dataclass(frozen=True)
class _ForOutputs:
    """What finishes a built-in model."""

    kind: str
    name: str
    structure: tuple[tuple[str, Any], ...]

    def __call__(self, outputs: int) -> Model:
        return _finished(self.kind, self.name, self.structure, outputs)


@dataclass(frozen=True)
class _Unfinished:
    """What a built-in model does before."""

    name: str

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise InputError(f"{self.name} does not know its number of outputs yet; use model.for_outputs(n)")


@dataclass(frozen=True)
class _FlatInit:
    """He-uniform kernels (He et al. 2015, eq. 10), LeCun-uniform for the output layer, zero biases, unit scales.

    One uniform draw is sliced into all kernels: a draw a parameter, as Linen's own init does it, takes ten times
    as long to compile.
    """

    module: Any

    def __call__(self, key: Array, x: Array, /) -> tuple[PyTree, PyTree]:
        shapes = jax.eval_shape(functools.partial(self.module.init, dropout=None), key, jax.ShapeDtypeStruct(x.shape, x.dtype))
        params, state = shapes["params"], {name: value for name, value in shapes.items() if name != "params"}
        paths = jax.tree_util.tree_leaves_with_path(params)
        size = sum(leaf.size for _, leaf in paths if leaf.ndim > 1)
        draw = jax.random.uniform(key, (size,), jnp.float32, minval=-1.0, maxval=1.0)
        leaves, start = [], 0
        for path, leaf in paths:
            if leaf.ndim > 1:
                gain = 1.0 if "output" in jax.tree_util.keystr(path) else 2.0
                bound = math.sqrt(3 * gain / math.prod(leaf.shape[:-1]))
                leaves.append(draw[start : start + leaf.size].reshape(leaf.shape) * bound)
                start += leaf.size
            else:
                leaves.append(_constant(path, leaf))
        return jax.tree.unflatten(jax.tree.structure(params), leaves), jax.tree_util.tree_map_with_path(_constant, state)


def _constant(path: Any, leaf: jax.ShapeDtypeStruct) -> Array:
    """Ones for scales and variances, zeros for biases and means."""
    ones = any(word in jax.tree_util.keystr(path[-1:]) for word in ("scale", "var"))
    return jnp.full(leaf.shape, 1.0 if ones else 0.0, leaf.dtype)


@dataclass(frozen=True)
class _LinenApply:
    """Linen's apply with the model state as a value."""

    module: Any

    def __call__(
        self, params: PyTree, model_state: PyTree, x: Array, /, *, key: Array | None = None, dropout: Number | None = None
    ) -> tuple[Float[Array, "batch outputs"], PyTree]:
        variables = {"params": params, **model_state}
        if key is None or not model_state:
            return self.module.apply(variables, x, key=key, dropout=dropout), model_state
        return self.module.apply(variables, x, key=key, dropout=dropout, mutable=list(model_state))


def _widths(name: str, widths: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(widths, Sequence | np.ndarray) or isinstance(widths, str) or (isinstance(widths, np.ndarray) and widths.ndim == 0):
        example = f"({widths},)" if str(widths).isdecimal() else "(128, 64)"
        raise InputError(f"{name} is {shown(widths)}; give a width a layer, such as {example}")
    whole = (isinstance(width, float | int | np.number) and not isinstance(width, bool) and float(width).is_integer() for width in widths)
    if not all(whole) or any(width < 1 for width in widths):
        raise InputError(f"{name} is {shown(tuple(widths))}; every width must be a whole number of at least 1")
    return tuple(int(width) for width in widths)


def _one_each(name: str, value: int | Sequence[int], count: int) -> tuple[int, ...]:
    """One for all, or one for each."""
    widths = _widths(name, (value,) if isinstance(value, float | int | np.number) else value)
    if len(widths) not in (1, count):
        raise InputError(f"{name} is {widths} for {count} convolutions; give one, or one for each")
    return widths * count if len(widths) == 1 else widths


def _check_choices(activation: str, normalisation: str | None) -> None:
    check_known("activation", activation, ("relu", "gelu", "silu", "tanh"))
    check_known("normalisation", normalisation, ("layer", "batch", None))

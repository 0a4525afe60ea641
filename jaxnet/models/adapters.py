"""Adapters: modules of Linen, NNX and Equinox as Models.

They are cached, so that equal modules are one model to the compiler. Such a model brings its own
number of outputs and its own dropout rates.
"""

import functools
import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxnet.errors import InputError, near
from jaxnet.models.pickling import packed, unpacked
from jaxnet.random import is_key
from jaxnet.typing import Number

# The words that tell modules whether this is training, with their values in training.
TRAINING = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "eval": False,
    "use_running_average": False,
}

Flags = tuple[tuple[str, bool], ...]
Functions = tuple[Callable[..., Any], Callable[..., Any], str]  # init, apply and name of a Model


def from_linen(module: Any, flags: Mapping[str, bool] | None, name: str | None) -> Functions:
    """Make the functions and the name of `Model.from_linen`."""
    from flax import linen as nn

    if not isinstance(module, nn.Module):
        raise InputError(
            f"{module!r} is not a Linen module; give one, such as Net(10), or an NNX module's "
            "constructor to Model.from_nnx"
        )
    called = _training_keywords(module, flags)
    named = {field.name for field in fields(module)}
    kept = tuple(
        flag
        for flag in (TRAINING | dict(flags or {})).items()
        if flag[0] in named - {flag for flag, _ in called}
    )
    if unknown := set(flags or {}) - {flag for flag, _ in called + kept}:
        word, there = min(unknown), sorted({*_parameters(module), *named})
        raise InputError(
            f"{_class(module)} has no keyword {word!r}"
            f"{near(word, there, 'in __call__ and among its fields are')}"
        )
    return _linen(_Compared(module), called, kept, _linen_name(module) if name is None else name)


def from_nnx(constructor: Callable[..., Any], name: str | None) -> Functions:
    """Make the functions and the name of `Model.from_nnx`."""
    from flax import nnx

    check_constructor(constructor, nnx.Module, "nnx.Module", "lambda rngs: Net(10, rngs=rngs)")
    return _nnx(_Constructor(constructor), name)


def from_equinox(constructor: Callable[..., Any], name: str | None) -> Functions:
    """Make the functions and the name of `Model.from_equinox`."""
    try:
        import equinox as eqx
    except ImportError:
        raise InputError(
            "Model.from_equinox needs the package equinox, which is not installed: pip install "
            "equinox"
        ) from None
    check_constructor(constructor, eqx.Module, "eqx.Module", "lambda key: Net(10, key=key)")
    return _equinox(_Constructor(constructor), name)


def is_equinox(model: Any) -> bool:
    """Whether a Model was made from an Equinox module, whose arrays have outputs first."""
    return isinstance(model.apply, _EquinoxApply)


@dataclass(frozen=True)
class _Compared:
    """A Linen module as the key of a cache, even where its fields cannot be hashed, such as the
    list of nn.Sequential.
    """

    module: Any

    def __hash__(self) -> int:
        return hash(type(self.module))

    def __eq__(self, other: object) -> bool:
        try:
            return isinstance(other, _Compared) and bool(self.module == other.module)
        except ValueError:  # fields that are arrays
            return False

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (_Compared, packed(self.module))


@dataclass(frozen=True)
class _Constructor:
    """A constructor as the key of a cache: partials of the same function with the same arguments
    are equal.
    """

    call: Callable[..., Any]

    def __hash__(self) -> int:
        return hash(self.call.func if isinstance(self.call, functools.partial) else self.call)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Constructor) and (
            self.call is other.call or _equal(self.call, other.call)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (_Constructor, packed(self.call))


def _unpacked(kind: type, value: Any) -> Any:
    return kind(unpacked(value))


def _equal(one: Any, other: Any) -> bool:
    """Whether two values have equal types and values, and so have those within partials, tuples,
    lists and dicts.
    """
    if type(one) is not type(other):
        return False
    if isinstance(one, functools.partial):
        return all(
            _equal(getattr(one, part), getattr(other, part))
            for part in ("func", "args", "keywords")
        )
    if isinstance(one, dict):
        return list(one) == list(other) and _equal(list(one.values()), list(other.values()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    try:
        return bool(one == other)
    except (TypeError, ValueError):  # arrays
        return False


# The functions of these models are values too, so that a pickle of a model is an equal model.


@functools.cache
def _linen(compared: _Compared, called: Flags, kept: Flags, name: str) -> Functions:
    made = compared, called, kept, name
    return _LinenInit(*made), _LinenApply(*made), name


@dataclass(frozen=True)
class _Linen:
    """A Linen module, and how it learns whether this is training.

    Attributes:
        compared: the module.
        called: keywords of its call that say so, with their values in training.
        kept: fields of it that say so, with their values in training.
        name: name of the model.
    """

    compared: _Compared
    called: Flags
    kept: Flags
    name: str

    def bound(self, *, training: bool) -> tuple[Any, dict[str, bool]]:
        """Return the module with its fields, and the keywords of its call, for training or for
        evaluation.
        """
        module = self.compared.module
        return module.clone(
            **_training_words(self.kept, training=training)
        ) if self.kept else module, _training_words(self.called, training=training)


class _LinenInit(_Linen):
    def __call__(self, key: Array, x: Array, /) -> tuple[PyTree, PyTree]:
        from flax import linen as nn

        # Initialize as in training, since parts that exist only in training need parameters too.
        net, words = self.bound(training=True)
        variables = nn.unbox(net.init(key, x, **words))
        state = {
            collection: tree for collection, tree in variables.items() if collection != "params"
        }
        if state:
            # Sown values grow with each call: they are results, not state.
            _, after = jax.eval_shape(
                lambda: net.apply(variables, x, rngs=_rngs(key), mutable=list(state), **words)
            )
            state = {
                each: tree
                for each, tree in state.items()
                if jax.tree.structure(after.get(each)) == jax.tree.structure(tree)
            }
        return variables.get("params", {}), state


class _LinenApply(_Linen):
    def __call__(
        self,
        params: PyTree,
        model_state: PyTree,
        x: Array,
        /,
        *,
        key: Array | None = None,
        dropout: Number | None = None,
    ) -> tuple[Array, PyTree]:
        _check_dropout(self.name, dropout)
        net, words = self.bound(training=key is not None)
        variables = {"params": params, **model_state}
        if key is None:
            return _one_array(self.name, net.apply(variables, x, **words)), model_state
        outputs, changed = net.apply(
            variables, x, rngs=_rngs(key), mutable=list(model_state), **words
        )
        return _one_array(self.name, outputs), {**model_state, **changed}


def _rngs(key: Array) -> dict[str, Array]:
    """Make the random streams of a Linen module: dropout gets the key itself, all others draw from
    "params", as in Flax.
    """
    return {"dropout": key, "params": jax.random.fold_in(key, 1)}


@functools.cache
def _nnx(constructor: _Constructor, name: str | None) -> Functions:
    outline = _nnx_parts(constructor).outline
    own = {
        attribute: value
        for attribute, value in vars(outline).items()
        if not attribute.startswith("_")
    }
    name = _name_with_values(_class(outline), own) if name is None else name
    return _NnxInit(constructor, name), _NnxApply(constructor, name), name


class _NnxParts(NamedTuple):
    """What an NNX constructor makes, without its numbers.

    Attributes:
        graph: the module's graph.
        shapes: dicts of its parameters, its random streams and its other arrays, as shapes.
        outline: the module with those shapes.
        called: keywords of its call that say whether this is training.
        takes_rngs: whether its call takes random streams.
    """

    graph: Any
    shapes: list[PyTree]
    outline: Any
    called: Flags
    takes_rngs: bool


@functools.cache
def _nnx_parts(constructor: _Constructor) -> _NnxParts:
    from flax import nnx

    graph, *shapes = jax.eval_shape(lambda: _split_nnx(_construct_nnx(constructor, nnx.Rngs(0))))
    outline = nnx.merge(graph, *shapes)
    # From 0.12 on, Flax takes a traced array for a constant, and would keep the tracer.
    for path, node in nnx.iter_graph(outline):
        for attribute, value in getattr(node, "__dict__", {}).items():
            if isinstance(value, jax.core.Tracer):
                where = ".".join(map(str, (_class(outline), *path, attribute)))
                raise InputError(
                    f"{where} is a bare array; make it an nnx.Variable, or a NumPy array if it is "
                    "constant"
                )
    return _NnxParts(
        graph,
        shapes,
        outline,
        _training_keywords(outline, also=("rngs",)),
        "rngs" in _parameters(outline),
    )


def _construct_nnx(constructor: _Constructor, rngs: Any) -> Any:
    from flax import nnx

    return _construct(constructor.call, "rngs", nnx.Module, "nnx.Module", rngs)


def _split_nnx(module: Any) -> list[PyTree]:
    """Split a module into its graph and dicts of its parameters, its random streams and all other
    arrays.
    """
    from flax import nnx

    graph, *states = nnx.split(module, nnx.Param, nnx.RngState, ...)
    return [graph, *map(nnx.to_pure_dict, states)]


@dataclass(frozen=True)
class _Nnx:
    constructor: _Constructor
    name: str


class _NnxInit(_Nnx):
    def __call__(self, key: Array, x: Array, /) -> tuple[PyTree, PyTree]:
        from flax import nnx

        _, params, _, state = _split_nnx(_construct_nnx(self.constructor, nnx.Rngs(key)))
        return _nest(params), _nest(state)


class _NnxApply(_Nnx):
    def __call__(
        self,
        params: PyTree,
        model_state: PyTree,
        x: Array,
        /,
        *,
        key: Array | None = None,
        dropout: Number | None = None,
    ) -> tuple[Array, PyTree]:
        from flax import nnx

        _check_dropout(self.name, dropout)
        graph, shapes, _, called, takes_rngs = _nnx_parts(self.constructor)
        training = key is not None
        # Evaluation draws nothing, but the graph has places for keys.
        key = jax.random.key(0) if key is None else key
        module = nnx.merge(
            graph, _fill(shapes[0], params), _streams(shapes[1], key), _fill(shapes[2], model_state)
        )
        module.train() if training else module.eval()
        outputs = _one_array(
            self.name,
            module(
                x,
                **_training_words(called, training=training),
                **({"rngs": nnx.Rngs(key)} if takes_rngs else {}),
            ),
        )
        if not training:
            return outputs, model_state
        # Keep only what was there before the call: sown values are results, not state.
        return outputs, _nest(_fill(shapes[2], _nest(_split_nnx(module)[3])))


def _streams(shapes: PyTree, key: Array) -> PyTree:
    """Start each random stream of an NNX module anew, with a key of its own."""

    def fresh(i: int, leaf: jax.ShapeDtypeStruct) -> Array:
        if not is_key(leaf):
            return jnp.zeros(leaf.shape, leaf.dtype)
        own = jax.random.fold_in(key, i)
        return jax.random.split(own, leaf.shape) if leaf.shape else own

    leaves, structure = jax.tree.flatten(shapes)
    return jax.tree.unflatten(structure, [fresh(i, leaf) for i, leaf in enumerate(leaves)])


@functools.cache
def _equinox(constructor: _Constructor, name: str | None) -> Functions:
    rest = _equinox_parts(constructor).rest
    name = (
        _name_with_values(
            _class(rest), {field.name: getattr(rest, field.name) for field in fields(rest)}
        )
        if name is None
        else name
    )
    return _EquinoxInit(constructor, name), _EquinoxApply(constructor, name), name


class _EquinoxParts(NamedTuple):
    """What an Equinox constructor makes, without its numbers.

    Attributes:
        shapes: shapes of the parameters.
        state_shapes: shapes of all state.
        rest: everything that is not an array.
        stateful: whether the module has eqx.nn.State.
        takes_key: whether its call takes a key.
    """

    shapes: PyTree
    state_shapes: dict[str, PyTree]
    rest: Any
    stateful: bool
    takes_key: bool


@functools.cache
def _equinox_parts(constructor: _Constructor) -> _EquinoxParts:
    import equinox as eqx

    shapes, state_shapes, rest = _split_equinox(
        eqx.filter_eval_shape(_make_equinox(constructor), jax.random.key(0))
    )
    return _EquinoxParts(
        shapes,
        state_shapes,
        rest,
        len(jax.tree.leaves(state_shapes["state"])) > 0,
        "key" in _parameters(rest),
    )


def _make_equinox(constructor: _Constructor) -> Callable[[Array], tuple[Any, Any]]:
    import equinox as eqx

    return eqx.nn.make_with_state(
        functools.partial(_construct, constructor.call, "key", eqx.Module, "eqx.Module")
    )


def _split_equinox(module_and_state: tuple[Any, Any]) -> tuple[PyTree, dict[str, PyTree], Any]:
    """Split into parameters; integers, keys and eqx.nn.State; and everything that is not an
    array.
    """
    import equinox as eqx

    module, state = module_and_state
    params, rest = eqx.partition(
        module, lambda leaf: eqx.is_inexact_array(leaf) or _is_shape(leaf, jnp.inexact)
    )
    arrays, rest = eqx.partition(rest, lambda leaf: eqx.is_array(leaf) or _is_shape(leaf))
    return params, {"arrays": arrays, "state": state}, rest


@dataclass(frozen=True)
class _Equinox:
    constructor: _Constructor
    name: str


class _EquinoxInit(_Equinox):
    def __call__(self, key: Array, x: Array, /) -> tuple[PyTree, PyTree]:
        params, state, _ = _split_equinox(_make_equinox(self.constructor)(key))
        return _nest(params), _nest(state)


class _EquinoxApply(_Equinox):
    def __call__(
        self,
        params: PyTree,
        model_state: PyTree,
        x: Array,
        /,
        *,
        key: Array | None = None,
        dropout: Number | None = None,
    ) -> tuple[Array, PyTree]:
        import equinox as eqx

        _check_dropout(self.name, dropout)
        shapes, state_shapes, rest, stateful, takes_key = _equinox_parts(self.constructor)
        state = _fill(state_shapes, model_state)
        module = eqx.combine(_fill(shapes, params), state["arrays"], rest)
        module = eqx.nn.inference_mode(module) if key is None else module
        keys = jax.random.split(key, len(x)) if takes_key and key is not None else None

        def one(x: Array, key: Array | None) -> tuple[Any, Any]:
            word = {"key": key} if takes_key else {}
            return (
                module(x, state["state"], **word)
                if stateful
                else (module(x, **word), state["state"])
            )

        batched = jax.vmap(one, (0, None if keys is None else 0), (0, None), axis_name="batch")
        outputs, new = batched(x, keys)
        return _one_array(self.name, outputs), model_state if key is None else _nest(
            {"arrays": state["arrays"], "state": new}
        )


def _is_shape(leaf: Any, kind: Any = jnp.generic) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct) and jnp.issubdtype(leaf.dtype, kind)


def _parameters(module: Any) -> Mapping[str, inspect.Parameter]:
    if not callable(module):
        raise InputError(
            f"{_class(module)} has no __call__; write one: a model is called with its inputs"
        )
    return inspect.signature(module.__call__).parameters


def _training_keywords(
    module: Any, given: Mapping[str, bool] | None = None, *, also: tuple[str, ...] = ()
) -> Flags:
    """Find the keywords of a module's call that say whether this is training, with their values in
    training.
    """
    parameters = _parameters(module)
    open_ended = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    flags = {word: value for word, value in TRAINING.items() if word in parameters} | {
        word: value for word, value in (given or {}).items() if word in parameters or open_ended
    }
    required = [
        each.name
        for each in parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if needed := [word for word in required[1:] if word not in (*flags, *also)]:
        raise InputError(
            f"{_class(module)} is called with {', '.join(needed)} beside its inputs, but a model "
            "has its inputs alone: give "
            f"{needed[0]} a default. Known words for training are {', '.join(TRAINING)}"
        )
    return tuple(flags.items())


def _training_words(flags: Flags, *, training: bool) -> dict[str, bool]:
    return {word: value == training for word, value in flags}


def check_constructor(constructor: Any, kind: type, kind_name: str, example: str) -> None:
    """Check that something constructs modules, and is none itself.

    Args:
        constructor: what was given.
        kind: the class of the modules.
        kind_name: its name for messages.
        example: a constructor for messages.

    Raises:
        InputError: for a finished module, and for what cannot be called.
    """
    if isinstance(constructor, kind) or not callable(constructor):
        what = (
            f"a finished {type(constructor).__name__}"
            if isinstance(constructor, kind)
            else repr(constructor)
        )
        raise InputError(
            f"{what} is not a constructor of an {kind_name}; give a function, such as {example}"
        )


def _construct(
    constructor: Callable[..., Any], word: str, kind: type, kind_name: str, value: Any
) -> Any:
    """Call a constructor with nothing but keys, by keyword where it has that keyword, and check the
    result.
    """
    parameters = inspect.signature(constructor).parameters.values()
    by_word = any(
        parameter.name == word or parameter.kind is parameter.VAR_KEYWORD
        for parameter in parameters
    )
    title = getattr(constructor, "__name__", repr(constructor))
    try:
        module = constructor(**{word: value}) if by_word else constructor(value)
    except TypeError as error:
        raise InputError(
            f"{title} cannot be called with {word} alone ({error}); give a function that needs "
            "nothing else, "
            f"such as lambda {word}: Net(10, {word}={word})"
        ) from error
    if not isinstance(module, kind):
        raise InputError(f"{title} gives a {type(module).__name__}; it must give an {kind_name}")
    return module


def _nest(tree: PyTree) -> dict[str, Any]:
    """Store the arrays of any tree in nested dicts with text keys, which a checkpoint can hold."""
    nested: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        *above, last = _names(path)
        functools.reduce(lambda at, name: at.setdefault(name, {}), above, nested)[last] = leaf
    return nested


def _fill(shapes: PyTree, nested: PyTree) -> PyTree:
    """Restore the tree of these shapes that `_nest` took apart."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: functools.reduce(operator.getitem, _names(path), nested), shapes
    )


def _names(path: Any) -> list[str]:
    return [jax.tree_util.keystr((step,), simple=True) for step in path]


def _check_dropout(name: str, dropout: Number | None) -> None:
    if dropout is not None:
        raise InputError(
            f"{name} brings its own dropout rates, which a recipe cannot change; give "
            "dropout=None and set them in the module"
        )


def _one_array(name: str, outputs: Any) -> Array:
    if not isinstance(outputs, jax.Array):
        raise InputError(
            f"{name} gives a {type(outputs).__name__}; a model gives one array, (batch, outputs)"
        )
    return outputs


def _class(module: Any) -> str:
    return type(module).__name__


def _linen_name(module: Any, *, nested: bool = False) -> str:
    """Name a Linen module by its class and those of its fields that can be named.

    No address is part of the name, so that it stays the same in other processes. Plain values are
    always part of it, those of a nested module only where they are not the default; all other
    values only where they are not the default.
    """
    own = {
        field.name: getattr(module, field.name)
        for field in fields(module)
        if field.name not in ("name", "parent")
    }
    usual = {field.name: field.default for field in fields(module)}
    told = {
        name: value
        for name, value in own.items()
        if not _same(value, usual[name]) or (_is_plain(value) and not nested)
    }
    return f"{_class(module)}({_named_values(told)})"


def _same(value: Any, default: Any) -> bool:
    return value is default or (
        _is_plain(value) and type(value) is type(default) and value == default
    )


def _name_with_values(kind: str, own: Mapping[str, Any]) -> str:
    """Name an NNX or Equinox module by its class and those of its own values that can be named."""
    words = _named_values(own)
    return f"{kind}({words})" if words else kind


def _named_values(own: Mapping[str, Any]) -> str:
    """List the values that can be named: plain values and functions, also in lists."""
    named = {name: text for name, value in own.items() if (text := _named(value)) is not None}
    return ", ".join(f"{name}={text}" for name, text in named.items())


def _named(value: Any) -> str | None:
    """Name a value, with the same words in every process; None for a value that cannot be named."""
    from flax import linen as nn

    if _is_plain(value):
        return str(value)
    if (
        isinstance(value, list | tuple) or _class(value) == "List"
    ):  # nnx.List is a list in all but its class
        texts = [_named(each) for each in value]
        return (
            f"[{', '.join(text or _class(each) for text, each in zip(texts, value, strict=True))}]"
            if any(texts)
            else None
        )
    if isinstance(value, nn.Module):
        return _linen_name(value, nested=True)
    return getattr(value, "__name__", None)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) or (
        isinstance(value, tuple | list) and all(map(_is_plain, value))
    )

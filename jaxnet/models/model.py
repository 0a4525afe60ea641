"""A Model is two pure functions; the built-in ones are Linen modules, initialised from one flat
draw of numbers.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxnet import display
from jaxnet.data import Splits
from jaxnet.errors import check_kind
from jaxnet.models.pickling import check_pickle
from jaxnet.typing import Number, double

NARROWER = {
    "float64": jnp.float32,
    "int64": jnp.int32,
    "uint64": jnp.uint32,
    "complex128": jnp.complex64,
}


@runtime_checkable
class Init(Protocol):
    """Makes (params, model_state) from a key and inputs of the shape and type to come; reads only
    their shape.
    """

    def __call__(self, key: Array, x: Array, /) -> tuple[PyTree, PyTree]: ...


@runtime_checkable
class Apply(Protocol):
    """(outputs, model_state) of a batch of inputs. Without a key it is evaluation, with one it is
    training.

    x: (batch, ...) float32, standardised. outputs: (batch, classes) logits or (batch, 1) values.
    dropout: the recipe's rate, or None.
    """

    def __call__(
        self,
        params: PyTree,
        model_state: PyTree,
        x: Array,
        /,
        *,
        key: Array | None,
        dropout: Number | None,
    ) -> tuple[Array, PyTree]: ...


class Model(NamedTuple):
    """A network as two pure functions. Equal models are one model to the compiler.

    model_state is what training changes without a gradient, such as batch statistics; {} for most.
    name: what reports and files call it. for_outputs: the model with a last layer of that many
    outputs, where that is still open; None where it is not. Files know a model by its name: two of
    your own that differ in nothing that a name tells, and in no shape of a parameter, are taken for
    the same; give them names.
    """

    init: Init
    apply: Apply
    name: str = "custom"
    for_outputs: Callable[[int], "Model"] | None = None

    __repr__ = display.text

    def __reduce__(self) -> tuple[Any, ...]:
        check_pickle(
            f"the model {self.name}",
            tuple(self),
            "define its functions and classes at the top of a module, and give those in place of "
            "a lambda or a local function",
        )
        return Model, tuple(self)

    def __copy__(self) -> "Model":
        return self  # its functions are values

    def __deepcopy__(self, memo: dict[int, Any], /) -> "Model":
        return self

    @staticmethod
    def from_linen(
        module: Any, *, flags: Mapping[str, bool] | None = None, name: str | None = None
    ) -> "Model":
        """The Model of a Flax Linen module. Equal modules give the very same model.

        module: called as module(inputs). It hears whether this is training through the keywords of
        its call or the fields that it has of train, training, is_training, deterministic, eval and
        use_running_average.
        flags: further such words, with their values in training.
        """
        from jaxnet.models.adapters import from_linen

        return _the_same(*from_linen(module, flags, name))

    @staticmethod
    def from_nnx(constructor: Callable[..., Any], *, name: str | None = None) -> "Model":
        """The Model of a Flax NNX module. The same constructor gives the very same model.

        constructor: rngs -> nnx.Module, such as lambda rngs: Net(10, rngs=rngs). It hears whether
        this is training through its train and eval methods, and through the keywords of its call as
        in from_linen.
        """
        from jaxnet.models.adapters import from_nnx

        return _the_same(*from_nnx(constructor, name))

    @staticmethod
    def from_equinox(constructor: Callable[..., Any], *, name: str | None = None) -> "Model":
        """The Model of an Equinox module. The same constructor gives the very same model.

        constructor: key -> eqx.Module, of one example, called as module(x) or module(x, key=key); a
        module with eqx.nn.State as module(x, state) to give (outputs, state). The axis of examples
        is called "batch". In evaluation it is in inference mode, in training as it was made.
        """
        from jaxnet.models.adapters import from_equinox

        return _the_same(*from_equinox(constructor, name))


@functools.cache
def _the_same(init: Init, apply: Apply, name: str) -> Model:
    """The Model of these functions, the same object for equal ones."""
    return Model(init, apply, name)


def describe(model: Model, splits: Splits) -> list[tuple[str, str, int]]:
    """(layer, shapes of its parameters, how many), a row a layer and a last one with the total.
    Computes nothing.
    """
    check_kind("model", model, Model, "a Model, such as jaxnet.mlp((128, 64))")
    check_kind("splits", splits, Splits, "Splits, as jaxnet.split and jaxnet.load make them")
    of_model = functools.partial(initial, with_outputs(model, splits.train.outputs))
    params, _ = jax.eval_shape(of_model, jax.random.key(0), input_shape(splits))
    layers: dict[str, list[jax.ShapeDtypeStruct]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        layers.setdefault(
            jax.tree_util.keystr(path[:-1], simple=True, separator="/") or "parameters", []
        ).append(leaf)
    rows = [
        (
            layer,
            " + ".join("x".join(map(str, leaf.shape)) or "1" for leaf in leaves),
            sum(math.prod(leaf.shape) for leaf in leaves),
        )
        for layer, leaves in layers.items()
    ]
    return [*rows, ("total", "", sum(count for _, _, count in rows))]


def initial(model: Model, key: Array, x: Array) -> tuple[PyTree, PyTree]:
    """`model.init`, with numbers of at most 32 bits: those that it makes without
    `jax_enable_x64`.
    """
    with double(False):
        return at_most_32_bits(jax.tree.map(jnp.asarray, model.init(key, x)))


def at_most_32_bits(tree: PyTree) -> PyTree:
    """The tree with its JAX arrays of 64-bit numbers as 32-bit numbers."""

    def narrow(leaf: Any) -> Any:
        return (
            leaf.astype(NARROWER[leaf.dtype.name])
            if isinstance(leaf, jax.Array) and leaf.dtype.name in NARROWER
            else leaf
        )

    return jax.tree.map(narrow, tree)


def with_outputs(model: Model, outputs: int) -> Model:
    """The model with its number of outputs fixed."""
    return model if model.for_outputs is None else model.for_outputs(outputs)


def input_shape(splits: Splits) -> jax.ShapeDtypeStruct:
    """Shape and type of a batch of one standardised input."""
    return jax.ShapeDtypeStruct((1, *splits.train.x.shape[1:]), jnp.float32)

"""A Model is two pure functions, init and apply, made from plain functions or from a module of
another library.
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
from jaxnet.errors import check_kind, check_whole
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
    """A function (key, x) -> (params, model_state) that creates the parameters.

    It reads only the shape and type of `x`, which are those of the inputs to come.
    """

    def __call__(self, key: Array, x: Array, /) -> tuple[PyTree, PyTree]: ...


@runtime_checkable
class Apply(Protocol):
    """A function (params, model_state, x) -> (outputs, model_state) for a batch of inputs.

    Without a key it evaluates; with a key it computes what training needs. `x` is (batch, ...)
    float32, standardized, or int32 where inputs are tokens. The outputs are (batch, classes) logits
    or (batch, 1) values. `dropout` is the recipe's rate, or None.
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

    Files know a model by its name. Two of your own models whose names and parameter shapes are
    equal are taken for the same model, so give them different names.

    Attributes:
        init: creates parameters and model state.
        apply: computes outputs. The model state is what training changes without a gradient, such
            as batch statistics; {} for most models.
        name: what reports and files call the model.
        for_outputs: builds the model with a last layer of that many outputs, where the number is
            still open; None where it is not.
        vocabulary: how many ids it knows, from 0, where its inputs are tokens. None where they are
            numbers, or where it knows those of the training set.
    """

    init: Init
    apply: Apply
    name: str = "custom"
    for_outputs: Callable[[int], "Model"] | None = None
    vocabulary: int | None = None

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
        module: Any,
        *,
        flags: Mapping[str, bool] | None = None,
        name: str | None = None,
        vocabulary: int | None = None,
    ) -> "Model":
        """Make the Model of a Flax Linen module. Equal modules give the very same model.

        Args:
            module: the module, called as module(inputs). It learns whether this is training through
                those of the words train, training, is_training, deterministic, eval and
                use_running_average that are keywords of its call or fields of it.
            flags: further such words, with their values in training.
            name: name of the model; by default made from the module's class and fields.
            vocabulary: how many ids its embedding has, where inputs are tokens: ids from 0 to
                vocabulary - 1 are valid. By default those up to the largest of the training set.

        Returns:
            The model.

        Raises:
            InputError: for an object that is not a Linen module, and for flags that it does not
                have.
        """
        from jaxnet.models.adapters import from_linen

        return _cached_model(*from_linen(module, flags, name), _checked_vocabulary(vocabulary))

    @staticmethod
    def from_nnx(
        constructor: Callable[..., Any], *, name: str | None = None, vocabulary: int | None = None
    ) -> "Model":
        """Make the Model of a Flax NNX module. The same constructor gives the very same model.

        Args:
            constructor: a function rngs -> nnx.Module, such as lambda rngs: Net(10, rngs=rngs). The
                module learns whether this is training through its train and eval methods, and
                through the keywords of its call as in `from_linen`.
            name: name of the model; by default made from the module's class and values.
            vocabulary: as in `from_linen`.

        Returns:
            The model.

        Raises:
            InputError: for an object that is not a constructor of an NNX module.
        """
        from jaxnet.models.adapters import from_nnx

        return _cached_model(*from_nnx(constructor, name), _checked_vocabulary(vocabulary))

    @staticmethod
    def from_equinox(
        constructor: Callable[..., Any], *, name: str | None = None, vocabulary: int | None = None
    ) -> "Model":
        """Make the Model of an Equinox module. The same constructor gives the very same model.

        Args:
            constructor: a function key -> eqx.Module. The module is for one example and is called
                as module(x) or module(x, key=key); a module with eqx.nn.State is called as
                module(x, state) and returns (outputs, state). The axis of examples has the name
                "batch". In evaluation the module is in inference mode, in training as it was made.
            name: name of the model; by default made from the module's class and fields.
            vocabulary: as in `from_linen`.

        Returns:
            The model.

        Raises:
            InputError: for an object that is not a constructor of an Equinox module, and where
                equinox is not installed.
        """
        from jaxnet.models.adapters import from_equinox

        return _cached_model(*from_equinox(constructor, name), _checked_vocabulary(vocabulary))


@functools.cache
def _cached_model(init: Init, apply: Apply, name: str, vocabulary: int | None) -> Model:
    """Make the Model of these functions, the same object for equal functions."""
    return Model(init, apply, name, vocabulary=vocabulary)


def _checked_vocabulary(vocabulary: object) -> Any:
    if vocabulary is not None:
        check_whole("vocabulary", vocabulary, 1)
    return vocabulary


def describe(model: Model, splits: Splits) -> list[tuple[str, str, int]]:
    """List the layers of a model, without computing anything.

    Args:
        model: the model.
        splits: data whose inputs and outputs give the shapes.

    Returns:
        For each layer its name, the shapes of its parameters and their number, and a last row with
        the total.

    Raises:
        InputError: for arguments that are not a Model and Splits.
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
    """Compute `model.init` with numbers of at most 32 bits, as it makes them without
    `jax_enable_x64`.

    Args:
        model: a model whose number of outputs is fixed.
        key: JAX random key.
        x: inputs, of which only shape and type matter.

    Returns:
        The parameters and the model state.
    """
    with double(False):
        return at_most_32_bits(jax.tree.map(jnp.asarray, model.init(key, x)))


def at_most_32_bits(tree: PyTree) -> PyTree:
    """Convert the JAX arrays of 64-bit numbers in a tree to 32-bit numbers."""

    def narrow(leaf: Any) -> Any:
        return (
            leaf.astype(NARROWER[leaf.dtype.name])
            if isinstance(leaf, jax.Array) and leaf.dtype.name in NARROWER
            else leaf
        )

    return jax.tree.map(narrow, tree)


def with_outputs(model: Model, outputs: int) -> Model:
    """Fix the number of outputs of a model, where it is still open.

    Args:
        model: the model.
        outputs: number of classes, or 1 for values.
    """
    return model if model.for_outputs is None else model.for_outputs(outputs)


def input_shape(splits: Splits) -> jax.ShapeDtypeStruct:
    """Compute shape and type of a batch of one input, as a network gets it."""
    train = splits.train
    return jax.ShapeDtypeStruct((1, *train.x.shape[1:]), train.schema.input_dtype)

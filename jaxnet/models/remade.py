"""Models of a user's own with another start, or with the logarithms of their outputs."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxnet.models.adapters import is_equinox
from jaxnet.models.model import Apply, Init, Model
from jaxnet.typing import Number

SMALLEST = 1e-7  # a probability of 0 counts as this one


def restarted(model: Model) -> Model:
    """Replace the start of a model: He-uniform arrays, zero biases, unit scales.

    Args:
        model: a model whose number of outputs is fixed.

    Returns:
        The model, with another name.

    References:
        He et al. 2015, eq. 10.
    """
    init = _HeInit(model.init, is_equinox(model))
    return model._replace(init=init, name=f"{model.name}, He start")


def with_logarithms(model: Model) -> Model:
    """Take the logarithms of the outputs of a model that computes probabilities, so that the
    softmax of a loss gives these probabilities back.

    Args:
        model: a model whose number of outputs is fixed.

    Returns:
        The model, with another name.
    """
    name = f"{model.name}, logarithms of its outputs"
    return model._replace(apply=_LogApply(model.apply), name=name)


@dataclass(frozen=True)
class _HeInit:
    """The init function of a model with another start.

    Attributes:
        init: its own init function, of which shapes and model state are taken.
        outputs_first: whether the first axis of an array is that of a layer's outputs, as in
            Equinox, and not the last one.
    """

    init: Init
    outputs_first: bool

    def __call__(self, key: Array, x: Array, /) -> tuple[PyTree, PyTree]:
        params, model_state = self.init(key, x)
        paths, structure = jax.tree_util.tree_flatten_with_path(params)
        keys = jax.random.split(key, max(1, len(paths)))
        leaves = [self._leaf(*each) for each in zip(keys, *zip(*paths, strict=True), strict=True)]
        return jax.tree.unflatten(structure, leaves), model_state

    def _leaf(self, key: Array, path: Any, leaf: Array) -> Array:
        if leaf.ndim < 2:
            words = ("scale", "weight")  # of normalization, the latter in Equinox
            ones = any(word in jax.tree_util.keystr(path[-1:]) for word in words)
            return jnp.full(leaf.shape, float(ones), leaf.dtype)
        inputs = math.prod(leaf.shape[1:] if self.outputs_first else leaf.shape[:-1])
        bound = math.sqrt(6 / inputs)
        return jax.random.uniform(key, leaf.shape, leaf.dtype, -bound, bound)


@dataclass(frozen=True)
class _LogApply:
    """The apply function of a model with the logarithms of its outputs.

    Attributes:
        apply: its own apply function.
    """

    apply: Apply

    def __call__(
        self,
        params: PyTree,
        model_state: PyTree,
        x: Array,
        /,
        *,
        key: Array | None,
        dropout: Number | None,
    ) -> tuple[Float[Array, "batch outputs"], PyTree]:
        outputs, new_state = self.apply(params, model_state, x, key=key, dropout=dropout)
        return jnp.log(jnp.maximum(outputs, SMALLEST)), new_state

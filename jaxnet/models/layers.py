"""The built-in networks as Flax Linen modules.

This module is imported only when a model is built, since Flax takes a while to import.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxnet.errors import InputError
from jaxnet.models.convolution import conv_general_dilated, max_pool
from jaxnet.random import bits, example_keys
from jaxnet.typing import Number

EMBEDDING = 16  # numbers that stand for an id
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}


def dropout(
    x: Float[Array, "batch ..."], key: Array, rate: Number, layer: int = 0
) -> Float[Array, "batch ..."]:
    """Set a share `rate` of the values to 0 and scale the others up.

    Args:
        x: (batch, ...) values.
        key: JAX random key.
        rate: share of values set to 0; it may be a tracer, and is rounded down to steps of 1/65536.
        layer: number of the layer; layers of a network that share a key draw different masks.

    Returns:
        (batch, ...) values.

    References:
        Srivastava et al. 2014, section 10.
    """
    drawn = jax.lax.bitcast_convert_type(
        bits(example_keys(key, len(x)), math.prod(x.shape[1:]), layer), jnp.int32
    )
    # Compare signed numbers, so that a kernel need not convert them.
    least = (jnp.floor(jnp.asarray(rate, jnp.float32) * 65536).astype(jnp.int32) - 32768) * 65536
    keep = drawn.reshape(x.shape) >= jnp.broadcast_to(least, x.shape)
    return jnp.where(
        keep, x * jnp.broadcast_to(1 / (1 - jnp.asarray(rate, x.dtype)), x.shape), jnp.zeros_like(x)
    )


class Block(nn.Module):
    """What follows a layer's product: normalization, activation, and dropout in training.

    Attributes:
        activation: a name in ACTIVATIONS.
        normalization: "layer", "batch" or None.
    """

    activation: str
    normalization: str | None

    @nn.compact
    def __call__(self, x: Array, key: Array | None, rate: Number | None, layer: int = 0) -> Array:
        if self.normalization == "layer":
            x = nn.LayerNorm(name="norm")(x)
        elif self.normalization == "batch":
            x = nn.BatchNorm(use_running_average=key is None, momentum=0.9, name="norm")(x)
        x = ACTIVATIONS[self.activation](x)
        return x if key is None or rate is None else dropout(x, key, rate, layer)


class MLP(nn.Module):
    """Dense layers of the given widths and a last one of `outputs`; inputs are flattened.

    Attributes:
        hidden: widths of the hidden layers.
        outputs: number of outputs.
        activation: a name in ACTIVATIONS.
        normalization: "layer", "batch" or None.
        vocabulary: number of ids, each of which becomes a learned vector of EMBEDDING numbers; None
            where inputs are numbers.
    """

    hidden: tuple[int, ...]
    outputs: int
    activation: str = "relu"
    normalization: str | None = None
    vocabulary: int | None = None

    @nn.compact
    def __call__(
        self, x: Array, *, key: Array | None = None, dropout: Number | None = None
    ) -> Array:
        if self.vocabulary is not None:
            x = nn.Embed(self.vocabulary, EMBEDDING, name="embedding")(x)
        x = x.reshape(len(x), -1)
        for i, width in enumerate(self.hidden):
            x = nn.Dense(width, name=f"hidden_{i}")(x)
            x = Block(self.activation, self.normalization, name=f"block_{i}")(x, key, dropout, i)
        return nn.Dense(self.outputs, name="output")(x)


class CNN(nn.Module):
    """Convolutions that each halve the image, by stride 2 or by 2x2 max pooling, then an MLP.

    Images are (batch, height, width[, channels]).

    Attributes:
        channels: channels of each convolution.
        hidden: widths of the hidden layers of the MLP.
        outputs: number of outputs.
        kernel: side of the kernel of each convolution, in pixels.
        stride: stride of each convolution, 1 or 2.
        padding: SAME or VALID.
        activation: a name in ACTIVATIONS.
        normalization: "layer", "batch" or None.
    """

    channels: tuple[int, ...]
    hidden: tuple[int, ...]
    outputs: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str = "SAME"
    activation: str = "relu"
    normalization: str | None = None

    @nn.compact
    def __call__(
        self, x: Array, *, key: Array | None = None, dropout: Number | None = None
    ) -> Array:
        given = x.shape[1:]
        x = x[..., None] if x.ndim == 3 else x
        for i, (width, kernel, stride) in enumerate(
            zip(self.channels, self.kernel, self.stride, strict=True)
        ):
            if x.ndim != 4 or min(x.shape[1:3]) < (kernel if self.padding == "VALID" else 1) + (
                stride == 1
            ):
                raise InputError(
                    "a cnn needs images of (height, width[, channels]), large enough to be "
                    f"halved by {len(self.channels)} convolutions, "
                    f"but an example has shape {given}; give an mlp, or fewer channels"
                )
            size = {
                "kernel_size": (kernel, kernel),
                "strides": (stride, stride),
                "padding": self.padding,
            }
            x = nn.Conv(width, **size, name=f"conv_{i}", conv_general_dilated=conv_general_dilated)(
                x
            )
            # Pooling before the activation is a quarter of the work, and gives the same values for
            # a monotone activation.
            x = max_pool(x) if stride == 1 else x
            x = Block(self.activation, self.normalization, name=f"conv_block_{i}")(x, key, None)
        head = MLP(self.hidden, self.outputs, self.activation, self.normalization, name="head")
        return head(x, key=key, dropout=dropout)

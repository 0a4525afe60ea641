"""Small models of every kind, and runs of them."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import jaxnet
from jaxnet.models.model import initial, with_outputs

KEY = jax.random.key(0)


class Linen(nn.Module):
    """Pooling, dropout, batch and group normalization, and convolutions of many kinds."""

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.Conv(12, (3, 3), use_bias=False)(x[..., None])
        x = nn.gelu(nn.BatchNorm(use_running_average=not train)(x), approximate=False)
        x = x + nn.elu(nn.Conv(12, (3, 3), feature_group_count=12)(x))
        x = nn.GroupNorm(4)(nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME"))
        squeezed = nn.sigmoid(nn.Dense(12)(nn.relu(nn.Dense(4)(x.mean((1, 2))))))
        x = nn.Conv(16, (2, 2), kernel_dilation=(2, 1), feature_group_count=4, padding="VALID")(
            x * squeezed[:, None, None]
        )
        x = nn.avg_pool(
            nn.leaky_relu(x), (2, 2), strides=(1, 1), padding="SAME", count_include_pad=False
        )
        x = nn.Dropout(0.2, deterministic=not train)(x)
        x = nn.softplus(nn.ConvTranspose(8, (3, 3), strides=(2, 2))(x))
        return nn.Dense(10)(x.mean((1, 2)))


class Attention(nn.Module):
    """A vision transformer of patches of 2 x 2."""

    @nn.compact
    def __call__(self, x, *, train=False):
        x = x.reshape(len(x), 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(len(x), 16, 4)
        x = nn.Dense(16)(x) + self.param("place", nn.initializers.normal(), (1, 16, 16))
        first = jnp.broadcast_to(
            self.param("first", nn.initializers.normal(), (1, 1, 16)), (len(x), 1, 16)
        )
        x = jnp.concatenate([first, x], 1)
        x = x + nn.MultiHeadDotProductAttention(2, dropout_rate=0.1, deterministic=not train)(
            nn.LayerNorm()(x)
        )
        x = x + nn.Dense(16)(nn.gelu(nn.Dense(32)(nn.LayerNorm()(x))))
        return nn.Dense(10)(x[:, 0])


class OfRows(nn.Module):
    """A convolution along the rows."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.swish(nn.Conv(8, (3,), strides=(2,))(x)).reshape(len(x), -1))


class Averaged(nn.Module):
    """Convolutions alone; the last one has a picture a class."""

    @nn.compact
    def __call__(self, x):
        return nn.Conv(10, (2, 2))(nn.relu(nn.Conv(8, (3, 3), padding="VALID")(x[..., None]))).mean(
            (1, 2)
        )


class Nnx(nnx.Module):
    def __init__(self, *, rngs):
        self.first, self.second = (
            nnx.Conv(1, 8, (3, 3), rngs=rngs),
            nnx.Conv(8, 16, (3, 3), strides=2, rngs=rngs),
        )
        self.norm, self.dropout = nnx.BatchNorm(8, rngs=rngs), nnx.Dropout(0.3, rngs=rngs)
        self.out = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.avg_pool(nnx.relu(self.norm(self.first(x[..., None]))), (2, 2), strides=(2, 2))
        return self.out(self.dropout(jnp.tanh(self.second(x)).reshape(len(x), -1)))


@functools.cache
def equinox():
    """A constructor of an Equinox module, which has its channels first; made here, since the
    package is optional.
    """
    eqx = pytest.importorskip("equinox")

    class Equinox(eqx.Module):
        convolutions: list
        norm: eqx.nn.BatchNorm
        pool: eqx.nn.MaxPool2d
        dropout: eqx.nn.Dropout
        out: eqx.nn.Linear

        def __init__(self, key):
            keys = jax.random.split(key, 3)
            self.convolutions = [
                eqx.nn.Conv2d(1, 8, 3, padding=1, key=keys[0]),
                eqx.nn.Conv2d(8, 12, 3, key=keys[1]),
            ]
            self.norm, self.pool = (
                eqx.nn.BatchNorm(8, "batch", mode="batch"),
                eqx.nn.MaxPool2d(2, 2),
            )
            self.dropout, self.out = eqx.nn.Dropout(0.2), eqx.nn.Linear(48, 10, key=keys[2])

        def __call__(self, x, state, *, key):
            x, state = self.norm(self.convolutions[0](x[None]), state)
            x = jax.nn.relu(self.convolutions[1](self.pool(jax.nn.relu(x))))
            return self.out(self.dropout(x.ravel(), key=key)), state

    return Equinox


def hand_written(move):
    """A model of no module: some operation, and a product after it."""

    def init(key, x):
        size = math.prod(jax.eval_shape(move, x).shape[1:])
        return {"w": jax.random.normal(key, (size, 10)) / np.sqrt(size)}, {}

    def apply(params, state, x, *, key=None, dropout=None):
        return move(x).reshape(len(x), -1) @ params["w"], state

    return jaxnet.Model(init, apply, "by hand")


def moved(x):
    """Numbers taken from all kinds of places."""
    chosen = x[:, np.array([0, 5, 2, 7, 2])][..., ::-1]
    left, right = jnp.split(x, 2, axis=2)
    cut = jax.lax.pad(x, jnp.float32(0.5), [(0, 0, 0), (-1, 2, 1), (3, -4, 0)])
    part = jax.lax.dynamic_slice(x, (0, 2, 1), (len(x), 4, 4)) if len(x) else x
    ordered = [
        jnp.cumsum(jnp.ones(8))[None, :, None] * x,
        chosen,
        left * right,
        cut,
        part,
        x.transpose(0, 2, 1),
    ]
    return jnp.concatenate([value.reshape(len(x), -1) for value in ordered], 1)


def counted(x):
    """Operations on truth values and whole numbers."""
    bright = (x > 0.5) & ~(x > 2) | (x < -1)
    largest = jax.nn.one_hot(x.argmax(2), 8) + x.argmin(1)[..., None]
    steps = jnp.floor(x).astype(jnp.int32).astype(jnp.float32) + jnp.clip(x, -0.5, 0.7)
    return (
        jnp.where(bright, x, 0.3 * steps)
        + largest * x.all(2, keepdims=True)
        + (x > 0).any(1, keepdims=True)
        + x.prod(1, keepdims=True)
    )


MODELS = {
    "linear": jaxnet.linear,
    **{
        f"mlp {activation}": functools.partial(jaxnet.mlp, activation=activation)
        for activation in ("relu", "gelu", "silu", "tanh")
    },
    "mlp layer": lambda: jaxnet.mlp((32, 16), normalization="layer"),
    "cnn layer": lambda: jaxnet.cnn((8, 16), (64,), normalization="layer"),
    "cnn batch": lambda: jaxnet.cnn(
        (8, 16), (64,), kernel=(5, 3), stride=(2, 1), normalization="batch", activation="silu"
    ),
    "linen": lambda: jaxnet.Model.from_linen(Linen()),
    "attention": lambda: jaxnet.Model.from_linen(Attention()),
    "of rows": lambda: jaxnet.Model.from_linen(OfRows()),
    "averaged": lambda: jaxnet.Model.from_linen(Averaged()),
    "nnx": lambda: jaxnet.Model.from_nnx(Nnx),
    "equinox": lambda: jaxnet.Model.from_equinox(equinox()),
    "moved": lambda: hand_written(moved),
    "counted": lambda: hand_written(counted),
    "checkpoint": lambda: hand_written(jax.checkpoint(lambda x: jnp.sin(x) * x)),
}
TRAINED = ("linear", "mlp relu", "cnn layer")


@functools.cache
def made(name):
    """(the model, a run of it): trained on the digits, or as if, with parameters and statistics
    that are drawn, which compiles faster.
    """
    model = MODELS[name]()
    digits = jaxnet.load("digits")
    if name in TRAINED:
        return model, jaxnet.fit(
            model,
            digits,
            jaxnet.Recipe(epochs=3, batch_size=64, schedule="constant", learning_rate=1e-3),
            KEY,
        )
    params, state = jax.jit(functools.partial(initial, with_outputs(model, 10)))(
        KEY, jnp.zeros((1, 8, 8), jnp.float32)
    )
    random = np.random.default_rng(0)
    drawn = jax.tree.map(lambda leaf: leaf + np.float32(random.normal(0, 0.1, leaf.shape)), params)
    statistics = jax.tree.map(
        lambda leaf: (
            np.float32(random.uniform(0.5, 1.5, leaf.shape)) if leaf.dtype == np.float32 else leaf
        ),
        state,
    )
    return model, dataclasses.replace(
        made("linear")[1], params=drawn, model_state=statistics, model=model.name
    )

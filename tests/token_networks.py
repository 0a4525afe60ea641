"""Networks with an embedding and attention, of Linen and of NNX, and sequences for them."""

import functools

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx

import jaxnet

LENGTH, IDS, WIDTH = 16, 8, 8
RECIPE = jaxnet.Recipe(optimizer="adam", epochs=10, batch_size=64, learning_rate=1e-2)


def sequences(examples=4000, *, length=LENGTH, first=0, seed=0):
    """(sequences of ids from `first` to `first` + 7, whether their first and last id agree)."""
    rng = np.random.default_rng(seed)
    x = rng.integers(first, first + IDS, (examples, length))
    same = rng.random(examples) < 0.5
    x[same, -1] = x[same, 0]
    return x, (x[:, 0] == x[:, -1]).astype(int)


def attended(h, places, query, key):
    """What two queries read from a sequence."""
    shares = nn.softmax(key(h + places) @ query.T, axis=1)
    return jnp.einsum("blq,blw->bqw", shares, h).reshape(len(h), -1)


class Ends(nn.Module):
    """A network that reads two places of a sequence."""

    ids: int = IDS

    @nn.compact
    def __call__(self, x):
        normal = nn.initializers.normal(1.0)
        h = nn.Embed(self.ids, WIDTH, embedding_init=normal)(x)
        places = self.param("places", normal, (x.shape[1], WIDTH))
        query = self.param("query", normal, (2, WIDTH))
        read = attended(h, places[None], query, nn.Dense(WIDTH))
        return nn.Dense(2)(nn.relu(nn.Dense(64)(read)))


class NnxEnds(nnx.Module):
    """The same of NNX."""

    def __init__(self, *, rngs):
        normal = nnx.initializers.normal(1.0)
        self.embed = nnx.Embed(IDS, WIDTH, embedding_init=normal, rngs=rngs)
        self.places = nnx.Param(normal(rngs.params(), (LENGTH, WIDTH)))
        self.query = nnx.Param(normal(rngs.params(), (2, WIDTH)))
        self.key = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.hidden = nnx.Linear(2 * WIDTH, 64, rngs=rngs)
        self.out = nnx.Linear(64, 2, rngs=rngs)

    def __call__(self, x):
        read = attended(self.embed(x), self.places[...][None], self.query[...], self.key)
        return self.out(nnx.relu(self.hidden(read)))


@functools.cache
def linen(vocabulary=None):
    return jaxnet.Model.from_linen(Ends(), vocabulary=vocabulary)


@functools.cache
def of_nnx(vocabulary=None):
    return jaxnet.Model.from_nnx(NnxEnds, vocabulary=vocabulary)

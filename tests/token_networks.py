"""Networks with an embedding and attention, of Linen, NNX and Equinox, and sequences for them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx

import jaxnet

LENGTH, WIDTH, QUERIES = 16, 8, 8
IDS = 9  # 0 fills up sequences, and 1 to 8 are tokens
RECIPE = jaxnet.Recipe(optimizer="adam", epochs=6, batch_size=64, learning_rate=2e-2)


def sequences(examples=4000, seed=0):
    """(sequences of 16 tokens out of 8, whether their first and their last token agree)."""
    rng = np.random.default_rng(seed)
    x = rng.integers(1, IDS, (examples, LENGTH))
    same = rng.random(examples) < 0.5
    x[same, -1] = x[same, 0]
    return x, (x[:, 0] == x[:, -1]).astype(int)


def attended(x, h, keys, query):
    """What the queries read from a sequence; the id 0, which fills it up, is left out."""
    scores = jnp.where(x[..., None] == 0, -1e9, (keys @ query.T)[None])
    return jnp.einsum("blq,blw->bqw", nn.softmax(scores, axis=1), h).reshape(len(h), -1)


class Ends(nn.Module):
    """A network that reads two places of a sequence."""

    @nn.compact
    def __call__(self, x):
        normal = nn.initializers.normal(1.0)
        h = nn.Embed(IDS, WIDTH, embedding_init=normal)(x)
        places = self.param("places", normal, (x.shape[1], WIDTH))
        query = self.param("query", normal, (QUERIES, WIDTH))
        read = attended(x, h, nn.Dense(WIDTH, use_bias=False)(places), query)
        return nn.Dense(2)(nn.relu(nn.Dense(64)(read)))


class NnxEnds(nnx.Module):
    """The same of NNX."""

    def __init__(self, *, rngs):
        normal = nnx.initializers.normal(1.0)
        self.embed = nnx.Embed(IDS, WIDTH, embedding_init=normal, rngs=rngs)
        self.places = nnx.Param(normal(rngs.params(), (LENGTH, WIDTH)))
        self.query = nnx.Param(normal(rngs.params(), (QUERIES, WIDTH)))
        self.key = nnx.Linear(WIDTH, WIDTH, use_bias=False, rngs=rngs)
        self.hidden = nnx.Linear(QUERIES * WIDTH, 64, rngs=rngs)
        self.out = nnx.Linear(64, 2, rngs=rngs)

    def __call__(self, x):
        read = attended(x, self.embed(x), self.key(self.places[...]), self.query[...])
        return self.out(nnx.relu(self.hidden(read)))


def equinox_ends(key):
    """The same of Equinox, for one sequence."""
    import equinox as eqx

    class EquinoxEnds(eqx.Module):
        embed: jax.Array
        places: jax.Array
        query: jax.Array
        key: jax.Array
        hidden: eqx.nn.Linear
        out: eqx.nn.Linear

        def __call__(self, x):
            vectors, keys = self.embed[x][None], self.places @ self.key
            read = attended(x[None], vectors, keys, self.query)[0]
            return self.out(jax.nn.relu(self.hidden(read)))

    keys = jax.random.split(key, 6)
    shapes = (IDS, WIDTH), (LENGTH, WIDTH), (QUERIES, WIDTH), (WIDTH, WIDTH)
    embed, places, query, mix = (
        jax.random.normal(each, shape) for each, shape in zip(keys[:4], shapes, strict=True)
    )
    hidden = eqx.nn.Linear(QUERIES * WIDTH, 64, key=keys[4])
    out = eqx.nn.Linear(64, 2, key=keys[5])
    return EquinoxEnds(embed, places, query, mix / WIDTH**0.5, hidden, out)


@functools.cache
def linen(vocabulary=None):
    return jaxnet.Model.from_linen(Ends(), vocabulary=vocabulary)


@functools.cache
def of_nnx(vocabulary=None):
    return jaxnet.Model.from_nnx(NnxEnds, vocabulary=vocabulary)


@functools.cache
def of_equinox(vocabulary=None):
    return jaxnet.Model.from_equinox(equinox_ends, name="equinox_ends", vocabulary=vocabulary)

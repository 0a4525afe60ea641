"""784-128-64-10 on MNIST as JAX, Flax and optax are usually written: Linen init, a jitted scan over
the steps of an epoch.
"""

import gzip
import os
import sys
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

folder, mode = sys.argv[1:]
if mode == "warm":
    jax.config.update("jax_compilation_cache_dir", os.environ["CACHE"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def read(name, offset):
    with gzip.open(f"{folder}/{name}.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


def images(name):
    return jnp.asarray(
        (read(name, 16).reshape(-1, 784) / np.float32(255) - np.float32(0.1307))
        / np.float32(0.3081)
    )


class MLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(128)(x))
        x = nn.relu(nn.Dense(64)(x))
        return nn.Dense(10)(x)


x, y = images("train-images-idx3-ubyte"), jnp.asarray(read("train-labels-idx1-ubyte", 8), jnp.int32)
x_test, y_test = (
    images("t10k-images-idx3-ubyte"),
    jnp.asarray(read("t10k-labels-idx1-ubyte", 8), jnp.int32),
)
model, optimizer, batch = MLP(), optax.adam(1e-3), 128
steps = len(x) // batch


@jax.jit
def epoch(params, opt_state, key, x, y):
    order = jax.random.permutation(key, len(x))[: steps * batch].reshape(steps, batch)

    def step(carry, rows):
        params, opt_state = carry

        def loss(params):
            return optax.softmax_cross_entropy_with_integer_labels(
                model.apply(params, x[rows]), y[rows]
            ).mean()

        value, gradient = jax.value_and_grad(loss)(params)
        updates, opt_state = optimizer.update(gradient, opt_state)
        return (optax.apply_updates(params, updates), opt_state), value

    return jax.lax.scan(step, (params, opt_state), order)


key = jax.random.key(0)
params = model.init(key, x[:1])
opt_state = optimizer.init(params)
for i in range(3):
    (params, opt_state), losses = epoch(params, opt_state, jax.random.fold_in(key, i), x, y)
print("accuracy", float((model.apply(params, x_test).argmax(-1) == y_test).mean()))
if mode == "steady":
    for i in range(3):
        start = time.perf_counter()
        (params, opt_state), losses = jax.block_until_ready(
            epoch(params, opt_state, jax.random.fold_in(key, i), x, y)
        )
        print("epoch", time.perf_counter() - start)

"""784-128-64-10 on MNIST as a user of jaxnet writes it."""

import sys
import time

import jax

import jaxnet

folder, mode = sys.argv[1:]
if mode == "warm":
    jaxnet.enable_cache()
splits = jaxnet.load("mnist", data_dir=folder, validation=0)
model = jaxnet.mlp((128, 64))
recipe = jaxnet.Recipe(
    optimizer="adam", epochs=3, batch_size=128, learning_rate=1e-3, schedule="constant"
)
run = jaxnet.fit(model, splits, recipe, jax.random.key(0))
print("accuracy", jaxnet.evaluate(model, run, splits.test).accuracy.estimate)
if mode == "steady":
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(jaxnet.fit(model, splits, recipe, jax.random.key(0)).params)
        print("epoch", (time.perf_counter() - start) / recipe.epochs)

"""784-128-64-10 on MNIST in Keras 3 on JAX."""

import gzip
import os
import sys
import time

os.environ["KERAS_BACKEND"] = "jax"
import jax
import keras
import numpy as np

folder, mode = sys.argv[1:]
if mode == "warm":
    jax.config.update("jax_compilation_cache_dir", os.environ["CACHE"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def read(name, offset):
    with gzip.open(f"{folder}/{name}.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


def images(name):
    return (read(name, 16).reshape(-1, 784) / np.float32(255) - np.float32(0.1307)) / np.float32(
        0.3081
    )


x, y = images("train-images-idx3-ubyte"), read("train-labels-idx1-ubyte", 8).astype(np.int32)
x_test, y_test = (
    images("t10k-images-idx3-ubyte"),
    read("t10k-labels-idx1-ubyte", 8).astype(np.int32),
)
keras.utils.set_random_seed(0)
layers = [keras.layers.Dense(128, "relu"), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
model = keras.Sequential([keras.Input((784,)), *layers])
model.compile(
    keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
)
model.fit(x, y, batch_size=128, epochs=3, verbose=0)
print("accuracy", (model.predict(x_test, batch_size=1000, verbose=0).argmax(1) == y_test).mean())
if mode == "steady":
    for _ in range(3):
        start = time.perf_counter()
        model.fit(x, y, batch_size=128, epochs=1, verbose=0)
        print("epoch", time.perf_counter() - start)

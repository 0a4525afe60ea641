"""784-128-64-10 on MNIST in scikit-learn."""

import gzip
import sys
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

folder, mode = sys.argv[1:]


def read(name, offset):
    with gzip.open(f"{folder}/{name}.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


def images(name):
    return (read(name, 16).reshape(-1, 784) / np.float32(255) - np.float32(0.1307)) / np.float32(
        0.3081
    )


x, y = images("train-images-idx3-ubyte"), read("train-labels-idx1-ubyte", 8)
x_test, y_test = images("t10k-images-idx3-ubyte"), read("t10k-labels-idx1-ubyte", 8)
warnings.simplefilter("ignore", ConvergenceWarning)
model = MLPClassifier(
    (128, 64),
    solver="adam",
    alpha=0.0,
    batch_size=128,
    learning_rate_init=1e-3,
    max_iter=3,
    random_state=0,
)
model.fit(x, y)
print("accuracy", model.score(x_test, y_test))
if mode == "steady":
    for _ in range(3):
        start = time.perf_counter()
        model.partial_fit(x, y)
        print("epoch", time.perf_counter() - start)

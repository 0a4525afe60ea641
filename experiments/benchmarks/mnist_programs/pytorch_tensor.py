"""784-128-64-10 on MNIST in PyTorch, with a loop that indexes one tensor: the fast way without a
DataLoader.
"""

import gzip
import sys
import time

import numpy as np
import torch
from torch import nn

folder, mode = sys.argv[1:]


def read(name, offset):
    with gzip.open(f"{folder}/{name}.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


def images(name):
    return torch.from_numpy(
        (read(name, 16).reshape(-1, 784) / np.float32(255) - np.float32(0.1307))
        / np.float32(0.3081)
    )


x, y = (
    images("train-images-idx3-ubyte"),
    torch.from_numpy(read("train-labels-idx1-ubyte", 8).astype(np.int64)),
)
x_test, y_test = (
    images("t10k-images-idx3-ubyte"),
    torch.from_numpy(read("t10k-labels-idx1-ubyte", 8).astype(np.int64)),
)
torch.manual_seed(0)
model = nn.Sequential(
    nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
)
optimizer, loss_of = torch.optim.Adam(model.parameters(), lr=1e-3), nn.CrossEntropyLoss()


def epoch():
    for rows in torch.randperm(len(x)).split(128):
        loss = loss_of(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


for _ in range(3):
    epoch()
with torch.no_grad():
    print("accuracy", (model(x_test).argmax(1) == y_test).float().mean().item())
if mode == "steady":
    for _ in range(3):
        start = time.perf_counter()
        epoch()
        print("epoch", time.perf_counter() - start)

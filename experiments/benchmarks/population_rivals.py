"""The trainings of populations.py as users of other libraries write them: bootstrap members of
64-64-32-10 on digits.
"""

import os
import sys
import warnings
from typing import Any

import numpy as np

HIDDEN, BATCH, EPOCHS, RATE = (64, 32), 64, 30, 1e-3


def scikit_learn(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> None:
    """A bootstrap member each, all cores."""
    from joblib import Parallel, delayed

    with Parallel(n_jobs=os.cpu_count()) as pool:
        pool(
            delayed(one_scikit_learn)(x, y, np.repeat(np.arange(len(x)), row), i)
            for i, row in enumerate(counts)
        )


def one_scikit_learn(x: np.ndarray, y: np.ndarray, rows: np.ndarray, seed: int) -> float:
    """One training of the same network."""
    from sklearn.neural_network import MLPClassifier

    warnings.filterwarnings("ignore")
    network = MLPClassifier(
        HIDDEN,
        batch_size=BATCH,
        learning_rate_init=RATE,
        alpha=0,
        max_iter=EPOCHS,
        tol=0,
        n_iter_no_change=10**6,
        random_state=seed,
    )
    return float(network.fit(x[rows], y[rows]).loss_)


def validation_curve(x: np.ndarray, y: np.ndarray, rates: int, folds: int) -> None:
    """Of learning rates, all cores, with a picture."""
    from matplotlib.figure import Figure
    from sklearn.model_selection import ShuffleSplit, validation_curve
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    network = MLPClassifier(
        HIDDEN, batch_size=BATCH, alpha=0, max_iter=EPOCHS, tol=0, n_iter_no_change=10**6
    )
    tried, cv = (
        np.geomspace(1e-4, 1, rates),
        folds if folds > 1 else ShuffleSplit(1, test_size=0.1, random_state=0),
    )
    _, scores = validation_curve(
        network,
        x,
        y,
        param_name="learning_rate_init",
        param_range=tried,
        cv=cv,
        n_jobs=os.cpu_count(),
    )
    figure = Figure()
    figure.subplots().errorbar(tried, scores.mean(1), scores.std(1))
    figure.savefig(os.devnull, format="png")


def torch_loop(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> None:
    """As it is usually written: one network after the other."""
    import torch
    from torch import nn

    inputs, labels = torch.from_numpy(x), torch.from_numpy(y).long()
    for row in counts:
        rows = torch.from_numpy(np.repeat(np.arange(len(x)), row))
        network = nn.Sequential(
            nn.Linear(64, HIDDEN[0]),
            nn.ReLU(),
            nn.Linear(*HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN[1], 10),
        )
        optimizer = torch.optim.Adam(network.parameters(), RATE)
        for _ in range(EPOCHS):
            for batch in rows[torch.randperm(len(rows))].split(BATCH):
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(inputs[batch]), labels[batch]).backward()
                optimizer.step()


def torch_stacked(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> None:
    """All members' parameters in one stack, vmap of grad, shared minibatches and example weights,
    Adam on the stack.
    """
    import torch
    from torch import nn
    from torch.func import functional_call, grad, stack_module_state, vmap

    inputs, labels, members = torch.from_numpy(x), torch.from_numpy(y).long(), len(counts)

    def network() -> nn.Module:
        return nn.Sequential(
            nn.Linear(64, HIDDEN[0]),
            nn.ReLU(),
            nn.Linear(*HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN[1], 10),
        )

    params, buffers = stack_module_state([network() for _ in range(members)])
    base, weights_ = network(), torch.from_numpy(counts.astype(np.float32))

    def loss(params: Any, buffers: Any, weight: Any, x: Any, y: Any) -> Any:
        losses = nn.functional.cross_entropy(
            functional_call(base, (params, buffers), (x,)), y, reduction="none"
        )
        return (losses * weight).mean()

    gradient = vmap(grad(loss), in_dims=(0, 0, 0, None, None))
    leaves = [leaf.requires_grad_() for leaf in params.values()]
    optimizer = torch.optim.Adam(leaves, RATE)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(inputs)).split(BATCH):
            grads = gradient(
                {k: v.detach() for k, v in params.items()},
                buffers,
                weights_[:, batch],
                inputs[batch],
                labels[batch],
            )
            for name, leaf in params.items():
                leaf.grad = grads[name]
            optimizer.step()


if __name__ == "__main__":
    from sklearn.datasets import load_digits

    digits, labels = load_digits(return_X_y=True)
    chosen = np.random.default_rng(0).permutation(len(digits))[: int(sys.argv[1])]
    validation_curve(
        digits[chosen].astype(np.float32) / 16, labels[chosen], int(sys.argv[2]), int(sys.argv[3])
    )

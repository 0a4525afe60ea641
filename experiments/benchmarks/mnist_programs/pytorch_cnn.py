"""The preset `fast` of `jaxnet mnist` in PyTorch: the same network, initialization and
recipe.
"""

import os
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import jaxnet
from jaxnet.cli.options import Options


def training(
    splits: jaxnet.Splits, preset: Options, *, channels_last: bool
) -> Callable[[int], tuple[float, float]]:
    """A function of the seed that trains, with the data in memory, and returns (seconds, test
    accuracy).
    """
    torch.set_num_threads(os.cpu_count() or 1)
    images, labels, test_images, test_labels = (
        torch.from_numpy(np.array(a))
        for a in (splits.train.x, splits.train.y, splits.test.x, splits.test.y)
    )
    images, test_images = images[:, None], test_images[:, None]
    labels, test_labels = labels.long(), test_labels.long()
    mean, scale = float(splits.standardization.mean), float(splits.standardization.scale)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    (first, second), (wide,), size, batches = (
        preset.channels,
        preset.hidden,
        preset.batch_size,
        -(-len(labels) // preset.batch_size),
    )

    def run(seed: int) -> tuple[float, float]:
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, first, preset.kernel[0], stride=preset.stride[0]), nn.ReLU(),
            nn.Conv2d(first, second, preset.kernel[1]), nn.MaxPool2d(2), nn.ReLU(),
            nn.Flatten(), nn.LazyLinear(wide), nn.ReLU(), nn.Linear(wide, 10),
        )  # fmt: skip
        model(torch.zeros(1, 1, 28, 28))
        for module in model:
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_uniform_(
                    module.weight, nonlinearity="linear" if module is model[-1] else "relu"
                )
                nn.init.zeros_(module.bias)
        model = model.to(memory_format=layout)
        began = time.perf_counter()
        optimizer = torch.optim.Adam(
            model.parameters(), lr=preset.learning_rate, betas=(preset.momentum, preset.b2)
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            preset.learning_rate,
            total_steps=preset.epochs * batches + 1,
            cycle_momentum=False,
        )
        for _ in range(preset.epochs):
            order = torch.randperm(len(labels))
            for rows in order.split(size):
                x = ((images[rows].float() - mean) / scale).contiguous(memory_format=layout)
                loss = functional.cross_entropy(model(x), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        seconds = time.perf_counter() - began
        with torch.no_grad():
            x = ((test_images.float() - mean) / scale).contiguous(memory_format=layout)
            return seconds, float((model(x).argmax(1) == test_labels).float().mean())

    return run

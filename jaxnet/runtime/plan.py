"""The plan of a training: over which devices and processes it runs, and how much of it at once."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from jaxnet import display
from jaxnet.errors import InputError
from jaxnet.random import with_keys, words
from jaxnet.runtime.sharding import COPIED, device_mesh

CACHE_FULL = (
    16  # images whose way through a small convolutional network fits the cache of a CPU core
)


@dataclass(frozen=True)
class Plan:
    """Where a training runs, never what it computes: the same steps to rounding.

    Only what modules of your own draw and mixup's partners depend on it.

    devices: over how many of this process each batch of one training is split, or the members of a
        population.
    chunk: how many members of a population each device trains at once.
    micro_batch: how many examples' gradient is computed at once.
    processes: over how many processes each batch of one training is split: all, or one.
    A batch is divided only of a network without batch statistics, and without remainder.
    implementation: xla; resident, the kernel that trains on a TPU chip, interpreted elsewhere; or
    auto, the kernel on a TPU that its compiler takes.
    """

    devices: int = 1
    micro_batch: int | None = None
    chunk: int = 1
    implementation: str = "auto"
    processes: int = 1

    __repr__ = display.text

    @property
    def parts(self) -> int:
        """Into how many parts each batch of one training is divided, a device each."""
        return self.devices * self.processes

    @property
    def splits_batches(self) -> bool:
        """Whether a batch is not computed as one."""
        return self.parts != 1 or self.micro_batch is not None

    @property
    def mesh(self) -> Mesh:
        """The devices of one training, for parts of its batches."""
        if self.processes not in (1, jax.process_count()):
            raise InputError(
                f"the plan wants {self.processes} processes, and there are {jax.process_count()}: "
                "give 1, or all"
            )
        if (found := jax.local_device_count()) < self.devices:
            raise InputError(
                f"the plan wants {self.devices} devices, and JAX has {found}; on a CPU call "
                "use_cpu_devices first"
            )
        own = [jax.process_index()] if self.processes == 1 else range(self.processes)
        return device_mesh(
            [device for process in own for device in jax.local_devices(process)[: self.devices]],
            self.parts,
        )

    @property
    def sharding(self) -> NamedSharding:
        """A copy on each device."""
        return NamedSharding(self.mesh, COPIED)

    def place(self, tree: Any) -> Any:
        """Arrays where the plan wants them: a copy on each of its devices."""
        if self.parts <= 1:  # of none, training says why
            return tree
        sharding = self.sharding
        if self.processes == 1:
            return jax.tree.map(lambda leaf: jax.device_put(leaf, sharding), tree)

        def put(leaf: Any) -> jax.Array:
            host = np.asarray(leaf)
            return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

        return with_keys(tree, jax.tree.map(put, words(tree)))

    def fetch(self, tree: Any) -> Any:
        """What `place` spread, on this process's first device."""
        if self.parts == 1:
            return tree
        here = jax.local_devices()[0]
        if self.processes == 1:
            return jax.tree.map(lambda leaf: jax.device_put(leaf, here), tree)
        return with_keys(
            tree,
            jax.tree.map(lambda leaf: jax.device_put(leaf.addressable_data(0), here), words(tree)),
        )


def plan_for_images(batch_size: int) -> Plan:
    """On a CPU, batches of images are split over its devices and computed a cache-full at a time;
    elsewhere they are not.

    A convolution's gradient is bound by memory there, so that parts which fit a core's cache are
    faster.
    """
    if jax.default_backend() != "cpu":
        return Plan()
    devices = max(d for d in range(1, jax.local_device_count() + 1) if batch_size % d == 0)
    micro_batch = max(m for m in range(1, CACHE_FULL + 1) if (batch_size // devices) % m == 0)
    return Plan(devices, micro_batch if micro_batch >= CACHE_FULL // 4 else None)

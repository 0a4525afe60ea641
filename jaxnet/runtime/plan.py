"""The plan of a training: on which devices and processes it runs, and how much of it at once.

Every plan computes the same steps, except for rounding.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from jaxnet import display
from jaxnet.errors import InputError, renamed
from jaxnet.random import with_key_data, with_keys
from jaxnet.runtime.sharding import COPIED, device_mesh

CACHE_FULL = (
    16  # images whose activations in a small convolutional network fit the cache of a CPU core
)


@renamed(parts="total_devices")
@dataclass(frozen=True)
class Plan:
    """The devices and processes of a training: every plan computes the same steps, except for
    rounding.

    Only two things depend on it: what modules of your own draw, and the partners in mixup.

    Attributes:
        devices: number of this process's devices over which each batch of one training is split, or
            over which the members of a population are spread.
        micro_batch: number of examples whose gradient is computed at once; None computes a batch at
            once.
        chunk: number of members of a population that each device trains at once.
        implementation: "xla"; "resident", the kernel that trains on a TPU chip, and is interpreted
            elsewhere; or "auto", which takes the kernel on a TPU whose compiler accepts it.
        processes: number of processes over which each batch of one training is split: all, or one.
            A batch is split only if the network has no batch statistics and the batch divides
            without remainder.
    """

    devices: int = 1
    micro_batch: int | None = None
    chunk: int = 1
    implementation: str = "auto"
    processes: int = 1

    __repr__ = display.text

    @property
    def total_devices(self) -> int:
        """The number of devices of all processes that share each batch of one training."""
        return self.devices * self.processes

    @property
    def splits_batches(self) -> bool:
        """Whether a batch is computed in several pieces."""
        return self.total_devices != 1 or self.micro_batch is not None

    @property
    def mesh(self) -> Mesh:
        """The mesh of the devices that share the batches of one training."""
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
            self.total_devices,
        )

    @property
    def sharding(self) -> NamedSharding:
        """The sharding that keeps a copy on each device of the plan."""
        return NamedSharding(self.mesh, COPIED)

    def place(self, tree: Any) -> Any:
        """Put arrays where the plan needs them: a copy on each of its devices.

        Args:
            tree: a pytree of arrays and keys.

        Returns:
            The tree, placed.
        """
        if self.total_devices <= 1:  # training refuses a plan without devices
            return tree
        sharding = self.sharding
        if self.processes == 1:
            return jax.tree.map(lambda leaf: jax.device_put(leaf, sharding), tree)

        def put(leaf: Any) -> jax.Array:
            host = np.asarray(leaf)
            return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

        return with_keys(tree, jax.tree.map(put, with_key_data(tree)))

    def fetch(self, tree: Any) -> Any:
        """Undo `place`: put arrays on the first device of this process.

        Args:
            tree: a placed pytree of arrays and keys.

        Returns:
            The tree on one device.
        """
        if self.total_devices == 1:
            return tree
        here = jax.local_devices()[0]
        if self.processes == 1:
            return jax.tree.map(lambda leaf: jax.device_put(leaf, here), tree)
        return with_keys(
            tree,
            jax.tree.map(
                lambda leaf: jax.device_put(leaf.addressable_data(0), here), with_key_data(tree)
            ),
        )


def plan_for_images(batch_size: int) -> Plan:
    """The fastest plan for batches of images.

    A convolution's gradient is bound by memory on a CPU, so parts that fit the cache of a core are
    faster. There, batches are split over the devices and computed in pieces of up to CACHE_FULL
    images; elsewhere they are not split.

    Args:
        batch_size: number of examples of a batch.

    Returns:
        The plan.
    """
    if jax.default_backend() != "cpu":
        return Plan()
    devices = max(d for d in range(1, jax.local_device_count() + 1) if batch_size % d == 0)
    micro_batch = max(m for m in range(1, CACHE_FULL + 1) if (batch_size // devices) % m == 0)
    return Plan(devices, micro_batch if micro_batch >= CACHE_FULL // 4 else None)

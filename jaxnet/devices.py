"""Where programs run, and where compiled ones are kept."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import platformdirs
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from .errors import InputError

CACHE_FULL = 16  # images whose way through a small convolutional network fits the cache of a CPU core

PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}


@dataclass(frozen=True)
class Plan:
    """Where a training runs, never what it computes: the same steps to rounding.

    Only what modules of your own draw and mixup's partners depend on it.

    devices: over how many of them each batch of one training is split, or the members of a population.
    chunk: how many members of a population each device trains at once.
    micro_batch: how many examples' gradient is computed at once.
    A batch is divided only of a network without batch statistics, and without remainder.
    implementation: xla; resident, the kernel that trains on a TPU chip, interpreted elsewhere; or auto, the kernel on a TPU that
    its compiler takes.
    """

    devices: int = 1
    micro_batch: int | None = None
    chunk: int = 1
    implementation: str = "auto"

    @property
    def splits_batches(self) -> bool:
        """Whether a batch is not computed as one."""
        return self.devices != 1 or self.micro_batch is not None

    @property
    def mesh(self) -> Mesh:
        """The devices, along one axis."""
        if (found := len(jax.devices())) < self.devices:
            raise InputError(f"the plan wants {self.devices} devices, and JAX has {found}; on a CPU call use_cpu_devices first")
        return jax.make_mesh((self.devices,), ("batch",), axis_types=(AxisType.Auto,), devices=jax.devices()[: self.devices])

    def place(self, tree: Any) -> Any:
        """Arrays where the plan wants them: a copy on each of its devices."""
        return jax.tree.map(lambda leaf: jax.device_put(leaf, self.sharding), tree) if self.devices > 1 else tree

    @property
    def sharding(self) -> NamedSharding:
        """A copy on each device."""
        return NamedSharding(self.mesh, PartitionSpec())


def plan_for_images(batch_size: int) -> Plan:
    """On a CPU, batches of images are split over its devices and computed a cache-full at a time; elsewhere they are not.

    A convolution's gradient is bound by memory there, so that parts which fit a core's cache are faster.
    """
    if jax.default_backend() != "cpu":
        return Plan()
    devices = max(d for d in range(1, jax.local_device_count() + 1) if batch_size % d == 0)
    micro_batch = max(m for m in range(1, CACHE_FULL + 1) if (batch_size // devices) % m == 0)
    return Plan(devices, micro_batch if micro_batch >= CACHE_FULL // 4 else None)


def enable_cache(folder: str | Path | None = None) -> Path:
    """Keep compiled programs on disk, so that the next process need not compile them again; call it before training.

    folder: by default jaxnet's own in the user's cache folder. It is private, since compiled programs are code
    that the next process will run. Returns the folder. Raises InputError where it cannot be private or written.
    """
    folder = Path(platformdirs.user_cache_dir("jaxnet")) / "compiled" if folder is None else Path(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
        others = hasattr(os, "getuid") and (about.st_uid != os.getuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        if others:
            raise InputError(f"{folder} can be written by others, whose programs would be run; give a folder that only you can write")
    except OSError as error:
        raise InputError(f"{folder}: cannot hold compiled programs ({error}); give a folder that can be written") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: cannot hold compiled programs (not writable); give a folder that can be written")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # The defaults keep only what took a second or more, which leaves out most of what is compiled here.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def use_platform(platform: str) -> None:
    """Run on cpu, gpu or tpu. Raises InputError where there is none, or JAX has started on another already."""
    if platform not in PLATFORMS:
        raise InputError(f"unknown platform {platform!r}; known are {', '.join(PLATFORMS)}")
    jax.config.update("jax_platforms", PLATFORMS[platform])
    try:
        found = jax.devices()[0].platform
    except RuntimeError as error:
        extra = {"gpu": "jax[cuda12]", "tpu": "jax[tpu]"}.get(platform, "jax")
        raise InputError(
            f"no {platform} can be used here ({error}); install {extra} where there is one, or give another platform"
        ) from None
    if found != platform:
        raise InputError(f"JAX has started on {found} already; choose the platform first")


def use_cpu_devices(count: int | None = None) -> None:
    """Split the CPU into devices, one a core by default, so that members train side by side; call it before JAX starts."""
    try:
        jax.config.update("jax_num_cpu_devices", count or os.cpu_count() or 1)
    except RuntimeError:
        raise InputError("JAX has started already with its CPU devices; call use_cpu_devices before the first array is made") from None

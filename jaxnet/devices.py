"""Where programs run, and where compiled ones are kept."""

import os
import re
import stat
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import platformdirs
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from .disk import NotWrittenError, check_folder
from .errors import InputError, check_known, check_path, check_whole
from .keys import with_keys, words
from .processes import cores

SPLIT, COPIED = PartitionSpec("member"), PartitionSpec()  # of arrays with a leading axis of members, and of what all share

CACHE_FULL = 16  # images whose way through a small convolutional network fits the cache of a CPU core

# What libtpu says of a chip that another process has.
HELD = re.compile(r"The TPU is already in use by(?: process with pid (\d+))?|/dev/\S+: Device or resource busy|multi-process lockfile")
PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}


@dataclass(frozen=True)
class Plan:
    """Where a training runs, never what it computes: the same steps to rounding.

    Only what modules of your own draw and mixup's partners depend on it.

    devices: over how many of this process each batch of one training is split, or the members of a population.
    chunk: how many members of a population each device trains at once.
    micro_batch: how many examples' gradient is computed at once.
    processes: over how many processes each batch of one training is split: all, or one.
    A batch is divided only of a network without batch statistics, and without remainder.
    implementation: xla; resident, the kernel that trains on a TPU chip, interpreted elsewhere; or auto, the kernel on a TPU that
    its compiler takes.
    """

    devices: int = 1
    micro_batch: int | None = None
    chunk: int = 1
    implementation: str = "auto"
    processes: int = 1

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
            raise InputError(f"the plan wants {self.processes} processes, and there are {jax.process_count()}: give 1, or all")
        if (found := jax.local_device_count()) < self.devices:
            raise InputError(f"the plan wants {self.devices} devices, and JAX has {found}; on a CPU call use_cpu_devices first")
        own = [jax.process_index()] if self.processes == 1 else range(self.processes)
        return device_mesh([device for process in own for device in jax.local_devices(process)[: self.devices]], self.parts)

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
        return with_keys(tree, jax.tree.map(lambda leaf: jax.device_put(leaf.addressable_data(0), here), words(tree)))


def device_mesh(devices: Sequence[Any], each: int = 1) -> Mesh:
    """Devices in rows: along `member` the members of a population, along `batch` the `each` devices that share a member's batches."""
    return Mesh(np.array(devices).reshape(-1, each), ("member", "batch"), axis_types=(AxisType.Auto, AxisType.Auto))


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
    if folder is not None:
        check_path("folder", folder)
    folder = Path(platformdirs.user_cache_dir("jaxnet")) / "compiled" if folder is None else Path(folder)
    try:
        check_folder(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
        others = hasattr(os, "getuid") and (about.st_uid != os.getuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        if others:
            raise InputError(f"{folder} can be written by others, whose programs would be run; give a folder that only you can write")
    except (OSError, NotWrittenError) as error:
        raise InputError(f"{folder}: cannot hold compiled programs ({error}); give a folder that can be written") from None
    # What fails in reading or writing one of them costs a compilation, and is no reason for a warning at each program.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # The defaults keep only what took a second or more, which leaves out most of what is compiled here.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def use_platform(platform: str | None = None) -> None:
    """Start JAX on cpu, gpu or tpu, or where it chooses to.

    Raises InputError where there is none, where another process holds the TPU, or where JAX has started on another already.
    """
    if platform is not None:
        check_known("platform", platform, PLATFORMS)
        jax.config.update("jax_platforms", PLATFORMS[platform])
    try:
        found = jax.devices()[0].platform
    except RuntimeError as error:
        _refuse_held_chip(error)
        extra = {"gpu": "jax[cuda12]", "tpu": "jax[tpu]"}.get(platform or "", "jax")
        raise InputError(
            f"no {platform or 'device'} can be used here ({error}); install {extra} where there is one, or give another platform"
        ) from None
    if platform is None and found == "cpu":
        try:
            jax.devices("tpu")  # where JAX takes the CPU since it could not get the TPU, it says so only when asked
        except RuntimeError as error:
            _refuse_held_chip(error)
    elif platform not in (None, found):
        raise InputError(f"JAX has started on {found} already; choose the platform first")


def _refuse_held_chip(error: RuntimeError) -> None:
    """Raises InputError where this is what libtpu says of a chip that another process has."""
    found = HELD.search(str(error))
    if found is not None:
        holder, kill = (f"process {found[1]}", f" (kill {found[1]})") if found[1] else ("another process", "")
        raise InputError(
            f"the TPU is held by {holder}, and serves one process at a time ({error}). End that one{kill}; if it is a notebook, "
            "restart its session, or train in the notebook itself. Or give --platform cpu"
        ) from None


def use_cpu_devices(count: int | None = None) -> None:
    """Split the CPU into devices, one a core by default, so that members train side by side; call it before JAX starts."""
    if count is not None:
        check_whole("count", count)
    try:
        jax.config.update("jax_num_cpu_devices", count or cores())
    except RuntimeError:
        raise InputError("JAX has started already with its CPU devices; call use_cpu_devices before the first array is made") from None

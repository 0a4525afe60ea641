"""Choose the platform and devices on which programs run, and where compiled programs are kept.

JAX must not have started yet when these functions change a platform or the number of devices.
"""

import os
import re
import stat
import warnings
from pathlib import Path

import jax
import platformdirs

from jaxnet.errors import InputError, check_known, check_path, check_whole
from jaxnet.runtime.files import NotWrittenError, check_folder
from jaxnet.runtime.processes import cores

# Messages of libtpu for a chip that another process holds.
HELD = re.compile(
    r"The TPU is already in use by(?: process with pid (\d+))?|/dev/\S+: Device or resource "
    r"busy|multi-process lockfile"
)
PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}


def enable_cache(folder: str | Path | None = None) -> Path:
    """Keep compiled programs on disk, so that the next process need not compile them again.

    Call it before training.

    Args:
        folder: where to keep them; by default jaxnet's folder in the user's cache. Nobody else may
            be able to write it, since compiled programs are code that the next process runs.

    Returns:
        The folder.

    Raises:
        InputError: where the folder is not private or cannot be written.
    """
    if folder is not None:
        check_path("folder", folder)
    folder = (
        Path(platformdirs.user_cache_dir("jaxnet")) / "compiled" if folder is None else Path(folder)
    )
    try:
        check_folder(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
        others = hasattr(os, "getuid") and (
            about.st_uid != os.getuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        )
        if others:
            raise InputError(
                f"{folder} can be written by others, whose programs would be run; give a folder "
                "that only you can write"
            )
    except (OSError, NotWrittenError) as error:
        raise InputError(
            f"{folder}: cannot hold compiled programs ({error}); give a folder that can be written"
        ) from None
    # A program that cannot be read or written costs a compilation; that needs no warning.
    warnings.filterwarnings(
        "ignore", message="Error (reading|writing) persistent compilation cache entry"
    )
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # By default only programs that took a second or more are kept; most programs here take less.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def use_platform(platform: str | None = None) -> None:
    """Start JAX on a platform.

    Args:
        platform: "cpu", "gpu" or "tpu"; None lets JAX choose.

    Raises:
        InputError: where there is no such device, where another process holds the TPU, or where JAX
            has already started on another platform.
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
            f"no {platform or 'device'} can be used here ({error}); install {extra} where there "
            "is one, or give another platform"
        ) from None
    if platform is None and found == "cpu":
        try:
            # when JAX falls back to the CPU, only a request for the TPU says why
            jax.devices("tpu")
        except RuntimeError as error:
            _refuse_held_chip(error)
    elif platform not in (None, found):
        raise InputError(f"JAX has started on {found} already; choose the platform first")


def _refuse_held_chip(error: RuntimeError) -> None:
    """Raise InputError if libtpu's error says that another process holds the chip."""
    found = HELD.search(str(error))
    if found is not None:
        holder, kill = (
            (f"process {found[1]}", f" (kill {found[1]})") if found[1] else ("another process", "")
        )
        raise InputError(
            f"the TPU is held by {holder}, and serves one process at a time ({error}). End that "
            f"one{kill}; if it is a notebook, "
            "restart its session, or train in the notebook itself. Or give --platform cpu"
        ) from None


def use_cpu_devices(count: int | None = None) -> None:
    """Split the CPU into several devices, so that members of a population train side by side.

    Call it before JAX starts.

    Args:
        count: number of devices; by default one for each core that this process may use.

    Raises:
        InputError: where JAX has already started.
    """
    if count is not None:
        check_whole("count", count)
    count = count or cores()
    if jax.config.jax_num_cpu_devices == count:  # pyrefly: ignore[missing-attribute]
        return  # whether JAX has started or not
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:
        raise InputError(
            "JAX has started already with its CPU devices; call use_cpu_devices before the first "
            "array is made"
        ) from None

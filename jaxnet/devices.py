"""Where programs run, and where compiled ones are kept."""

import os
import stat
from pathlib import Path

import jax
import platformdirs

from .errors import InputError

PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}


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

"""How wide JAX's numbers are where other code makes them, such as optax, or a model or loss of your own."""

from contextlib import AbstractContextManager

import jax


def double(enabled: bool) -> AbstractContextManager[object]:
    """A context in which numbers without a type of their own have 64 bits, or 32, whatever `jax_enable_x64` says outside."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(enabled)
    from jax.experimental import enable_x64  # pyrefly: ignore[missing-module-attribute]  # until jax 0.8

    return enable_x64(enabled)

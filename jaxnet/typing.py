"""Types that more than one module needs, and the width of JAX's numbers. Nothing else belongs
here.
"""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Never, NewType, Protocol, runtime_checkable

import jax
import numpy as np
import numpy.typing
from jaxtyping import Array

# The type of a field of a pytree besides arrays: JAX rebuilds the object with any value in place
# of an array, so types cannot be checked at run time. Nobody else passes such values, so a type
# checker can ignore them.
Rebuilt = Never if TYPE_CHECKING else Any

Number = float | int | Array | np.ndarray | Rebuilt

# Unions that public functions take, under a name, so that help() shows the name alone.
ArrayLike = numpy.typing.ArrayLike
# Row numbers of a training sample, padded to the number of examples, and how many of them count.
RowsAndCount = tuple[Array | np.ndarray, Array | np.ndarray | np.integer | int]
if not TYPE_CHECKING:
    ArrayLike = NewType("ArrayLike", ArrayLike)
    RowsAndCount = NewType("RowsAndCount", RowsAndCount)


@runtime_checkable
class Frame(Protocol):
    """A data frame: an object that offers its columns by the Arrow PyCapsule protocol, such as one
    of pandas, Polars, PyArrow or DuckDB.
    """

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The columns as a capsule."""
        ...


def double(enabled: bool) -> AbstractContextManager[object]:
    """A context that sets the width of numbers whose type is not given.

    Args:
        enabled: True for 64 bits, False for 32, whatever `jax_enable_x64` says outside.

    Returns:
        The context manager.
    """
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(enabled)
    from jax.experimental import enable_x64  # pyrefly: ignore[missing-module-attribute]  # until jax 0.8

    return enable_x64(enabled)

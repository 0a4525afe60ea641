"""Types that more than one module needs."""

from typing import TYPE_CHECKING, Any, Never, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array

if TYPE_CHECKING:
    Shaped = Never  # no one passes it, so a type checker need not think of it
else:

    @runtime_checkable
    class Shaped(Protocol):
        """What stands in an array's place while JAX only asks for its shape, as `jit(f).lower` does."""

        shape: Any
        dtype: Any


Number = float | int | Array | np.ndarray | Shaped

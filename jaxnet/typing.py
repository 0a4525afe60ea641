"""Types that more than one module needs."""

from typing import TYPE_CHECKING, Any, Never

import numpy as np
from jaxtyping import Array

# A field of a pytree: JAX rebuilds the object with whatever it likes in an array's place, so nothing can be checked
# at run time; nobody else passes such things, so a type checker need not think of them.
Rebuilt = Never if TYPE_CHECKING else Any

Number = float | int | Array | np.ndarray | Rebuilt

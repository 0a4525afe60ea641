"""What an optimizer does to parameters, written for the vector unit: the same numbers as optax's, in fewer operations.

Everything here is number by number, so that a leading axis of members costs nothing. What would need a scalar power or a
schedule (bias corrections, learning rates) comes as a number a step, computed by XLA before the kernel starts.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Array, Float

EPSILON = 1e-8  # of Adam, as optax has it
SMALLEST = 1.2e-38  # a float32 below it counts as 0 on a TPU

Leaf = Float[Array, "*members rows columns"]
Numbers = Mapping[str, Array]
Update = Callable[[Leaf, Sequence[Leaf], Numbers, bool], tuple[Leaf, tuple[Leaf, ...]]]


def clipped(gradient: Sequence[Leaf], largest: Array) -> list[Leaf]:
    """A gradient of at most this global norm (Pascanu et al. 2013, alg. 1)."""
    norm = jnp.sqrt(sum(jnp.sum(leaf * leaf, axis=(-2, -1), keepdims=True) for leaf in gradient))  # pyrefly: ignore[bad-argument-type]
    factor = jnp.where(norm < largest, 1.0, largest / norm)
    return [leaf * factor for leaf in gradient]


def descend(step: Callable[..., tuple[Leaf, tuple[Leaf, ...]]]) -> Callable[..., tuple[Leaf, tuple[Leaf, ...]]]:
    """(parameters, moments) after a step along a direction, with decoupled decay where it is asked for."""

    def update(param: Leaf, moments: Sequence[Leaf], gradient: Leaf, numbers: Numbers, decayed: bool) -> tuple[Leaf, tuple[Leaf, ...]]:
        direction, moments = step(gradient, *moments, numbers=numbers)
        if decayed:
            direction = direction + numbers["weight_decay"] * param
        return param - numbers["rate"] * direction, moments

    return update


def _sgd(gradient: Leaf, *, numbers: Numbers) -> tuple[Leaf, tuple[Leaf, ...]]:
    return gradient, ()


def _momentum(gradient: Leaf, trace: Leaf, *, numbers: Numbers) -> tuple[Leaf, tuple[Leaf, ...]]:
    """Heavy ball (Polyak 1964)."""
    trace = gradient + numbers["momentum"] * trace
    return trace, (trace,)


def _nesterov(gradient: Leaf, trace: Leaf, *, numbers: Numbers) -> tuple[Leaf, tuple[Leaf, ...]]:
    """Sutskever et al. 2013, eq. 3 and 4, in optax's form."""
    trace = gradient + numbers["momentum"] * trace
    return gradient + numbers["momentum"] * trace, (trace,)


def _adam(gradient: Leaf, mean: Leaf, square: Leaf, *, numbers: Numbers) -> tuple[Leaf, tuple[Leaf, ...]]:
    """Kingma & Ba 2015, alg. 1. correction, second_correction: 1 / (1 - b^t).

    A root and a division are 20 operations a register here. The root comes from the reciprocal one, and the division from
    the approximate one, which two steps of Newton's method bring to float32's last digit.
    """
    mean = mean + (1 - numbers["momentum"]) * (gradient - mean)
    square = square + (1 - numbers["second_momentum"]) * (gradient * gradient - square)
    unbiased = jnp.maximum(square * numbers["second_correction"], SMALLEST)
    below = unbiased * jax.lax.rsqrt(unbiased) + EPSILON
    inverse = pl.reciprocal(below, approx=True)
    inverse = inverse * (2 - below * inverse)
    inverse = inverse * (2 - below * inverse)
    return mean * numbers["correction"] * inverse, (mean, square)


UPDATES = {
    "sgd": descend(_sgd),
    "momentum": descend(_momentum),
    "nesterov": descend(_nesterov),
    "adam": descend(_adam),
    "adamw": descend(_adam),
}
MOMENTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2}

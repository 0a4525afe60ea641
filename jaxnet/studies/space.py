"""Spaces of hyperparameters, and the trials to make in them: a grid, random points, or quasi-random
ones.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxnet.errors import InputError, check_number, check_whole, former, shown


@dataclass(frozen=True)
class Linear:
    """A range of numbers, every part as likely as another of the same width."""

    low: float
    high: float

    def at(self, place: float) -> float:
        """The number at a place from 0 to 1."""
        return float(self.low + place * (self.high - self.low))


@dataclass(frozen=True)
class LogUniform:
    """A range of positive numbers, every factor as likely as another."""

    low: float
    high: float

    def at(self, place: float) -> float:
        """The number at a place from 0 to 1."""
        return float(
            math.exp(math.log(self.low) + place * (math.log(self.high) - math.log(self.low)))
        )


Axis = Linear | LogUniform | Sequence[Any]  # a sequence holds the values to choose from
Space = Mapping[str, Axis]
Trial = dict[str, Any]


__getattr__ = former(__name__, Log="LogUniform")


def grid(space: Space, points: int = 8) -> list[Trial]:
    """Every combination of `points` evenly spaced values of each range, and of all choices."""
    _check(space)
    check_whole("points", points)
    if points < 2 and any(isinstance(axis, Linear | LogUniform) for axis in space.values()):
        raise InputError(f"points is {points}; give at least 2, the ends of the range")
    values = [
        [axis.at(place) for place in np.linspace(0, 1, points)]
        if isinstance(axis, Linear | LogUniform)
        else list(axis)
        for axis in space.values()
    ]
    return [dict(zip(space, each, strict=True)) for each in itertools.product(*values)]


def random(space: Space, trials: int, *, seed: int = 0) -> list[Trial]:
    """Independent points (Bergstra & Bengio 2012)."""
    _check(space, trials, seed)
    return _trials(space, np.random.default_rng(seed).random((trials, len(space))))


def quasi_random(space: Space, trials: int, *, seed: int = 0) -> list[Trial]:
    """The first points of a scrambled Sobol sequence (Sobol 1967; Owen 1998), which leave no large
    hole in any axis.
    """
    from scipy.stats import qmc

    _check(space, trials, seed)
    return _trials(
        space, qmc.Sobol(len(space), rng=seed).random_base2(math.ceil(math.log2(trials)))[:trials]
    )


def at_edge(values: Sequence[Any], chosen: int) -> bool:
    """Whether the chosen one of these numbers is among the outermost: less than a twentieth of
    those tried lie beyond it.
    """
    if len(tried := set(values)) < 3 or not all(
        isinstance(value, int | float | np.number) for value in tried
    ):
        return False
    beyond = min(
        sum(value < values[chosen] for value in tried),
        sum(value > values[chosen] for value in tried),
    )
    return bool(beyond < len(tried) / 20)


def _trials(space: Space, places: np.ndarray) -> list[Trial]:
    return [
        {name: _value(axis, place) for (name, axis), place in zip(space.items(), row, strict=True)}
        for row in places
    ]


def _value(axis: Axis, place: float) -> Any:
    return (
        axis.at(place)
        if isinstance(axis, Linear | LogUniform)
        else axis[min(int(place * len(axis)), len(axis) - 1)]
    )


def _check(space: Space, trials: int = 1, seed: int = 0) -> None:
    if not isinstance(space, Mapping):
        raise InputError(
            f"space is {shown(space)}; give ranges and choices by name, such as "
            f"{{'learning_rate': LogUniform(1e-4, 1.0)}}"
        )
    if not space:
        raise InputError(
            "the space has no axis; give a range or choices of at least one hyperparameter"
        )
    check_whole("trials", trials)
    check_whole("seed", seed, 0)
    for name, axis in space.items():
        if isinstance(axis, Linear | LogUniform):
            check_number(f"low of {name}", axis.low)
            check_number(f"high of {name}", axis.high)
            if not (math.isfinite(axis.low) and math.isfinite(axis.high) and axis.low < axis.high):
                raise InputError(
                    f"{name} ranges from {axis.low} to {axis.high}; give two finite numbers, the "
                    "lower one first"
                )
            if isinstance(axis, LogUniform) and axis.low <= 0:
                raise InputError(
                    f"{name} ranges from {axis.low} on a logarithmic scale; give a positive "
                    "number, or a linear scale"
                )
        elif not isinstance(axis, list | tuple | range | np.ndarray) or not len(axis):
            raise InputError(
                f"{name} has the choices {shown(axis)}; give a sequence with at least one"
            )

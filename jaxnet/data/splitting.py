"""Arrays in memory to Splits: deterministic in the seed, stratified by class, nothing used twice."""

import jax
import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError
from . import checks
from .dataset import Dataset, Splits, Standardisation


def split(
    x: ArrayLike,
    y: ArrayLike,
    *,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    classes: tuple[str, ...] | None = None,
    name: str = "arrays",
) -> Splits:
    """Splits of examples in memory: integer or text labels are classes, floats a regression.

    x: (examples, ...); y: (examples,). validation, test: fractions of all examples; validation may be 0.
    classes: names for the integer labels 0, 1, ...
    Classes are spread evenly, each with at least one example in training. Raises InputError for what cannot be used.
    """
    checks.fractions(validation, test, seed)
    data = checks.dataset(x, y, classes=classes)
    parts = _parts(np.asarray(data.y), data.classes is not None, (test, validation), seed)
    test_rows, validation_rows, train_rows = parts
    return assemble(*(take(data, rows) for rows in (train_rows, validation_rows, test_rows)), name=name)


def hold_out(data: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """(the rest, a stratified part of it)."""
    if fraction == 0:
        return data, take(data, slice(0, 0))
    part, rest = _parts(np.asarray(data.y), data.classes is not None, (fraction,), seed)
    return take(data, rest), take(data, part)


def assemble(train: Dataset, validation: Dataset, test: Dataset, *, name: str, where: str = "") -> Splits:
    """Splits of given parts, on the device, with the training set's standardisation. where: the file, named in messages."""
    checks.parts(train, validation, test, where=where)
    standardisation = Standardisation.of(train)
    # device_put and not jnp.asarray, which compiles a program for every shape.
    placed = (Dataset(jax.device_put(d.x), jax.device_put(d.y), d.classes, d.white) for d in (train, validation, test))
    return Splits(*placed, standardisation=standardisation, name=name)


def take(data: Dataset, rows: np.ndarray | slice) -> Dataset:
    """Some of the examples."""
    return Dataset(data.x[rows], data.y[rows], data.classes, data.white)


def _parts(y: np.ndarray, stratified: bool, fractions: tuple[float, ...], seed: int) -> list[np.ndarray]:
    """Row numbers of one part a fraction, and of the rest, each in ascending order.

    Every example gets a place in (0, 1): its rank within its class, over the class's size. Cutting this line
    gives parts of exact size with nearly the same shares of each class. The first of each class stands at the end
    of the line, where the training set is.
    """
    rng, n = np.random.default_rng(seed), len(y)
    place = rng.permutation(n) / n
    if stratified:
        by_class = np.lexsort((place, y))
        counts = np.bincount(y)
        counts = counts[counts > 0]
        rank = np.concatenate([np.arange(count) for count in counts])
        size = np.repeat(counts, counts)
        place = np.empty(n)
        place[by_class] = np.where(rank == 0, 2.0, (rank - rng.random(n)) / size)
    line = np.argsort(place, kind="stable")
    sizes = [round(fraction * n) for fraction in fractions]
    if sum(sizes) >= n or 0 in [size for size, fraction in zip(sizes, fractions, strict=True) if fraction > 0]:
        raise InputError(
            f"{n} examples in parts of {', '.join(f'{f:g}' for f in fractions)} leave an empty part; give more examples or other fractions"
        )
    return [np.sort(part) for part in np.split(line, np.cumsum(sizes))]

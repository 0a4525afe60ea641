"""Examples that occur in more than one part of Splits: such a test is worthless."""

from typing import NamedTuple

import numpy as np

from .dataset import Dataset, Splits

DIGITS = 4  # of a standardised value that count; the fifth may be rounding of another file format


class Overlap(NamedTuple):
    """How many examples of `part` occur in `other` too: exactly, and also those equal only after standardisation."""

    part: str
    other: str
    exactly: int
    standardised: int

    def __str__(self) -> str:
        more = f" (and {self.standardised - self.exactly} more nearly so)" if self.standardised > self.exactly else ""
        return f"{self.exactly} examples of the {self.part} set occur in the {self.other} set as well{more}"


def overlaps(splits: Splits) -> tuple[Overlap, ...]:
    """The overlaps that there are: of validation with training set, and of the test set with both. Labels do not count.

    After standardisation two examples are equal whose values all agree to 1e-4 standard deviations, on one of two grids.
    """
    parts = {"training": splits.train, "validation": splits.validation, "test": splits.test}
    exact = {name: _rows(np.asarray(part.x)) for name, part in parts.items()}
    # Bytes have no fifth digit.
    offsets = () if splits.train.x.dtype == np.uint8 else (0.0, 0.5)
    grids = [{name: _rows(_rounded(splits, part, offset)) for name, part in parts.items()} for offset in offsets]
    found = []
    for part, other in (("validation", "training"), ("test", "training"), ("test", "validation")):
        same = _shared(exact[part], exact[other])
        near = np.logical_or.reduce([same] + [_shared(grid[part], grid[other]) for grid in grids])
        found.append(Overlap(part, other, int(same.sum()), int(near.sum())))
    return tuple(overlap for overlap in found if overlap.standardised)


def _rounded(splits: Splits, part: Dataset, offset: float) -> np.ndarray:
    """Standardised values in whole units of the last digit that counts."""
    mean, scale = (np.asarray(a, np.float64) for a in (splits.standardisation.mean, splits.standardisation.scale))
    return np.floor((np.asarray(part.x) - mean) / scale * 10**DIGITS + offset).astype(np.int64)


def _rows(x: np.ndarray) -> list[bytes]:
    """Each example's own bytes, so that two are equal only where the examples are."""
    x = np.ascontiguousarray(x + 0.0 if x.dtype.kind == "f" else x)  # -0.0 is 0.0
    return [row.tobytes() for row in x]


def _shared(part: list[bytes], other: list[bytes]) -> np.ndarray:
    """(examples of the part,) whether each is in the other too."""
    known = set(other)
    return np.array([row in known for row in part], bool)

"""Examples that occur in more than one part of Splits: such a test is worthless."""

import math
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
    exact = {name: _keys(np.asarray(part.x)) for name, part in parts.items()}
    # Bytes have no fifth digit.
    offsets = () if splits.train.x.dtype == np.uint8 else (0.0, 0.5)
    grids = [{name: _keys(_rounded(splits, part, offset)) for name, part in parts.items()} for offset in offsets]
    found = []
    for part, other in (("validation", "training"), ("test", "training"), ("test", "validation")):
        same = np.isin(exact[part], exact[other])
        near = np.logical_or.reduce([same] + [np.isin(grid[part], grid[other]) for grid in grids])
        found.append(Overlap(part, other, int(same.sum()), int(near.sum())))
    return tuple(overlap for overlap in found if overlap.standardised)


def _rounded(splits: Splits, part: Dataset, offset: float) -> np.ndarray:
    """Standardised values in whole units of the last digit that counts."""
    mean, scale = (np.asarray(a, np.float64) for a in (splits.standardisation.mean, splits.standardisation.scale))
    return np.floor((np.asarray(part.x) - mean) / scale * 10**DIGITS + offset).astype(np.int64)


def _keys(x: np.ndarray) -> np.ndarray:
    """128 bits for each row, as a complex number's worth of bytes: sums of its words times fixed random odd numbers.

    Two different rows get the same key with a chance of about 2^-126 (Carter & Wegman 1979), so keys stand for rows.
    """
    rows = np.ascontiguousarray(x + 0.0 if x.dtype.kind == "f" else x).reshape(len(x), math.prod(x.shape[1:])).view(np.uint8)  # -0.0 is 0.0
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 8))) if rows.shape[1] % 8 else rows
    words = np.ascontiguousarray(padded).view(np.uint64)
    factors = np.random.default_rng(0).integers(1, 2**63, (words.shape[1], 2), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    keys = np.ascontiguousarray(words @ factors)
    return keys.view("V16").ravel()

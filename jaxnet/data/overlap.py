"""Examples that occur in more than one part of Splits: such a test is worthless."""

from typing import NamedTuple

import numpy as np

from jaxnet.data.dataset import Dataset, Splits

NEAR = 1e-4  # standard deviations: what is closer may be the rounding of another file format


class Overlap(NamedTuple):
    """How many examples of `part` occur in `other` too: exactly, and also those equal only after
    standardisation.
    """

    part: str
    other: str
    exactly: int
    standardised: int

    def __str__(self) -> str:
        more = (
            f" (and {self.standardised - self.exactly} more nearly so)"
            if self.standardised > self.exactly
            else ""
        )
        return (
            f"{self.exactly} examples of the {self.part} set occur in the {self.other} set as "
            f"well{more}"
        )


def overlaps(splits: Splits) -> tuple[Overlap, ...]:
    """The overlaps that there are: of validation with training set, and of the test set with both.
    Labels do not count.

    After standardisation two examples are equal whose values all agree to 1e-4 standard deviations.
    """
    parts = {"training": splits.train, "validation": splits.validation, "test": splits.test}
    exact = {name: _rows(np.asarray(part.x)) for name, part in parts.items()}
    found = []
    for part, other in (("validation", "training"), ("test", "training"), ("test", "validation")):
        same = _shared(exact[part], exact[other])
        near = same
        if splits.train.x.dtype != np.uint8 and len(same):  # bytes are not rounded
            near = same | _close(
                _standardised(splits, parts[part]), _standardised(splits, parts[other])
            )
        found.append(Overlap(part, other, int(same.sum()), int(near.sum())))
    return tuple(overlap for overlap in found if overlap.standardised)


def _standardised(splits: Splits, part: Dataset) -> np.ndarray:
    """(examples, values) in float64, where rounding is far below what counts as near."""
    own = splits.standardisation
    mean, scale = (np.asarray(a, np.float64) for a in (own.mean, own.scale))
    x = np.asarray(part.x, np.float64)
    return (((x if own.origin is None else own.origin.exact(x)) - mean) / scale).reshape(
        len(part), -1
    )


def _close(part: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(examples of the part,) whether another is within NEAR in every value."""
    from scipy.spatial import KDTree

    if not len(other):
        return np.zeros(len(part), bool)
    tree = KDTree(other, balanced_tree=False, compact_nodes=False)
    return np.isfinite(tree.query(part, p=np.inf, distance_upper_bound=NEAR)[0])


def _rows(x: np.ndarray) -> list[bytes]:
    """Each example's own bytes, so that two are equal only where the examples are."""
    x = np.ascontiguousarray(x + 0.0 if x.dtype.kind == "f" else x)  # -0.0 is 0.0
    return [row.tobytes() for row in x]


def _shared(part: list[bytes], other: list[bytes]) -> np.ndarray:
    """(examples of the part,) whether each is in the other too."""
    known = set(other)
    return np.array([row in known for row in part], bool)

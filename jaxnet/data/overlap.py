"""Find examples that occur in more than one part of Splits; a test on such examples is
worthless.
"""

from typing import NamedTuple

import numpy as np

from jaxnet.data.dataset import Dataset, Splits
from jaxnet.errors import renamed

NEAR = 1e-4  # standard deviations: what is closer may be the rounding of another file format


@renamed(standardised="standardized")
class Overlap(NamedTuple):
    """The examples of one part that occur in another part too.

    Attributes:
        part: name of the part.
        other: name of the other part.
        exactly: number of examples that are equal.
        standardized: number of examples that are equal after standardization, including those that
            are equal before.
    """

    part: str
    other: str
    exactly: int
    standardized: int

    def __str__(self) -> str:
        more = (
            f" (and {self.standardized - self.exactly} more nearly so)"
            if self.standardized > self.exactly
            else ""
        )
        return (
            f"{self.exactly} examples of the {self.part} set occur in the {self.other} set as "
            f"well{more}"
        )


def overlaps(splits: Splits) -> tuple[Overlap, ...]:
    """Find the overlaps of the validation set with the training set, and of the test set with both.

    Two examples are equal after standardization if all values agree to NEAR standard deviations.
    Labels do not count.

    Args:
        splits: the data.

    Returns:
        The overlaps that have any examples.
    """
    parts = {"training": splits.train, "validation": splits.validation, "test": splits.test}
    exact = {name: _rows(np.asarray(part.x)) for name, part in parts.items()}
    found = []
    for part, other in (("validation", "training"), ("test", "training"), ("test", "validation")):
        same = _shared(exact[part], exact[other])
        near = same
        # bytes and tokens are not
        rounded = splits.train.x.dtype != np.uint8 and not splits.train.schema.tokens
        if rounded and len(same) and len(parts[other]):
            near = same | _close(
                _standardized(splits, parts[part]), _standardized(splits, parts[other])
            )
        found.append(Overlap(part, other, int(same.sum()), int(near.sum())))
    return tuple(overlap for overlap in found if overlap.standardized)


def _standardized(splits: Splits, part: Dataset) -> np.ndarray:
    """(examples, values) in float64, whose rounding is far below NEAR."""
    own = splits.standardization
    mean, scale = (np.asarray(a, np.float64) for a in (own.mean, own.scale))
    x = np.asarray(part.x, np.float64)
    return (((x if own.origin is None else own.origin.exact(x)) - mean) / scale).reshape(
        len(part), -1
    )


def _close(part: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(examples of the part,) whether another example is within NEAR in every value."""
    from scipy.spatial import KDTree

    tree = KDTree(other, balanced_tree=False, compact_nodes=False)
    return np.isfinite(tree.query(part, p=np.inf, distance_upper_bound=NEAR)[0])


def _rows(x: np.ndarray) -> list[bytes]:
    """The bytes of each example; they are equal exactly where the examples are."""
    x = np.ascontiguousarray(x + 0.0 if x.dtype.kind == "f" else x)  # -0.0 is 0.0
    return [row.tobytes() for row in x]


def _shared(part: list[bytes], other: list[bytes]) -> np.ndarray:
    """(examples of the part,) whether each one is in the other part too."""
    known = set(other)
    return np.array([row in known for row in part], bool)

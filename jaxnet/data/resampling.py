"""What each member of a population trains on: bootstrap counts, or a subset of the examples.

The sample of member i depends on the key and on i alone, so more members change none of the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxnet import display
from jaxnet.data import Dataset
from jaxnet.data.splitting import fold_numbers
from jaxnet.errors import InputError, check_kind, check_whole
from jaxnet.random import AnyKey, generator
from jaxnet.typing import ArrayLike


@dataclass(frozen=True)
class Samples:
    """The training samples of some members; `samples.alone(i)` is that of one member, as `fit`
    takes it.

    They are weights, or subsets: member i then has `count[i]` consecutive row numbers of
    `orders[order[i]]`, from place `first[i]` on, around the end.

    Attributes:
        kind: what they are, in words.
        weights: (members, examples) how much each example counts; None for subsets.
        orders: (orders, examples) row numbers.
        order: (members,) index into orders.
        first: (members,) first place in the order.
        count: (members,) number of examples.
    """

    kind: str
    weights: np.ndarray | None = None
    orders: np.ndarray | None = None
    order: np.ndarray | None = None
    first: np.ndarray | None = None
    count: np.ndarray | None = None

    __repr__ = display.text

    def __len__(self) -> int:
        given = self.count if self.weights is None else self.weights
        return 0 if given is None else len(given)

    @property
    def examples(self) -> int:
        """The number of examples that the samples are drawn from."""
        given = self.orders if self.weights is None else self.weights
        return 0 if given is None else given.shape[1]

    @property
    def arrays(self) -> tuple[np.ndarray | None, ...]:
        """All fields but the words."""
        return self.weights, self.orders, self.order, self.first, self.count

    def alone(self, member: int) -> dict[str, Any]:
        """The keywords that make `fit` train on the sample of one member.

        Args:
            member: number of the member.

        Returns:
            {"weights": (examples,) float32}, or {"sample": (row numbers, count)}.
        """
        if self.weights is not None:
            return {"weights": self.weights[member].astype(np.float32)}
        assert self.orders is not None
        assert self.order is not None
        assert self.first is not None
        assert self.count is not None
        return {
            "sample": (
                np.roll(self.orders[self.order[member]], -self.first[member]),
                self.count[member],
            )
        }

    def seen(self, member: int) -> np.ndarray:
        """A mask of the examples that a member trains on.

        Args:
            member: number of the member.

        Returns:
            (examples,) booleans.
        """
        alone = self.alone(member)
        if self.weights is not None:
            return alone["weights"] > 0
        indices, count = alone["sample"]
        return np.isin(np.arange(self.examples), indices[:count])


def bootstrap(key: AnyKey, members: int, examples: int) -> Samples:
    """Bootstrap samples: as many examples as there are, drawn with replacement, as counts.

    The counts weigh the losses, so members can share minibatches. The expected minibatch is that of
    drawn indices; its noise is not.

    Args:
        key: one key.
        members: number of members.
        examples: number of examples.

    Returns:
        The Samples.

    References:
        Efron 1979, "Bootstrap methods: another look at the jackknife".
    """
    _positive(members=members, examples=examples)
    draws = (
        generator(key, "resampling", i).integers(0, examples, examples) for i in range(members)
    )
    return Samples(
        "bootstrap",
        weights=np.stack(
            [np.bincount(draw, minlength=examples).astype(np.uint16) for draw in draws]
        ),
    )


def weighted(weights: ArrayLike) -> Samples:
    """Samples with weights of your own.

    Args:
        weights: (members, examples) finite numbers of at least 0; a mean of 1 keeps the scale of
            the loss.

    Returns:
        The Samples.

    Raises:
        InputError: for anything else.
    """
    try:
        weights = np.asarray(weights)
    except ValueError:
        raise InputError(
            "weights have rows of different lengths; give numbers, (members, examples)"
        ) from None
    if weights.ndim != 2 or weights.dtype.kind not in "fiub":
        raise InputError(
            f"weights have shape {weights.shape} and type {weights.dtype}; give numbers, "
            "(members, examples)"
        )
    if (bad := np.argwhere(~(weights >= 0) | np.isinf(weights))).size:
        member, example = (int(i) for i in bad[0])
        raise InputError(
            f"weight {weights[member, example]} of member {member}, example {example}, is not a "
            "finite number of at least 0; mend it"
        )
    return Samples(
        "weights", weights=weights if weights.dtype.kind == "u" else weights.astype(np.float32)
    )


def partitions(key: AnyKey, parts: int, examples: int, *, repeats: int = 1) -> Samples:
    """Disjoint random parts of nearly equal size that together hold every example, one for each
    member.

    Args:
        key: one key.
        parts: number of parts.
        examples: number of examples.
        repeats: number of independent partitions.

    Returns:
        The Samples of parts * repeats members.

    Raises:
        InputError: where there are more parts than examples.
    """
    _positive(parts=parts, examples=examples, repeats=repeats)
    if parts > examples:
        raise InputError(f"{examples} examples cannot make {parts} parts; give fewer parts")
    borders = np.linspace(0, examples, parts + 1).astype(np.int64)
    return Samples(
        f"{parts} disjoint parts",
        orders=np.stack([_permutation(key, i, examples) for i in range(repeats)]),
        order=np.repeat(np.arange(repeats), parts),
        first=np.tile(borders[:-1], repeats),
        count=np.tile(np.diff(borders), repeats).astype(np.int32),
    )


def disjoint(key: AnyKey, members: int, count: int, examples: int) -> Samples:
    """Random subsets that share no example: each is as good as new data.

    Args:
        key: one key.
        members: number of members.
        count: number of examples of each member.
        examples: number of examples.

    Returns:
        The Samples.

    Raises:
        InputError: where there are too few examples.
    """
    _positive(members=members, count=count, examples=examples)
    if members * count > examples:
        raise InputError(
            f"{examples} examples are not enough for {members} disjoint samples of {count}; give "
            "fewer members, or smaller samples"
        )
    return Samples(
        f"{count} examples no other has",
        orders=_permutation(key, 0, examples)[None],
        order=np.zeros(members, np.int64),
        first=np.arange(members) * count,
        count=np.full(members, count, np.int32),
    )


def whole(members: int, examples: int) -> Samples:
    """All examples for every member; `together` places them beside members that have fewer.

    Args:
        members: number of members.
        examples: number of examples.

    Returns:
        The Samples.
    """
    _positive(members=members, examples=examples)
    return Samples(
        "all examples",
        orders=np.arange(examples, dtype=np.int32)[None],
        order=np.zeros(members, np.int64),
        first=np.zeros(members, np.int64),
        count=np.full(members, examples, np.int32),
    )


def together(samples: Sequence[Samples]) -> Samples:
    """Concatenate the members of several Samples.

    Args:
        samples: subsets of the same examples.

    Returns:
        The Samples of all members, in order.

    Raises:
        InputError: for weights, and for subsets of different examples.
    """
    check_kind("samples", samples, list | tuple, "a list of Samples")
    for each in samples:
        check_kind("samples", each, Samples, "a list of Samples")
    if not samples or any(
        each.weights is not None or each.examples != samples[0].examples for each in samples
    ):
        raise InputError(
            "only subsets of the same examples can stand together; of weights give one array to "
            "weighted()"
        )
    offsets = np.cumsum([0, *(len(each.orders) for each in samples if each.orders is not None)])

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(each, name) for each in samples])

    return Samples(
        "; ".join(each.kind for each in samples),
        orders=joined("orders"),
        order=np.concatenate(
            [
                each.order + offset
                for each, offset in zip(samples, offsets, strict=False)
                if each.order is not None
            ]
        ),
        first=joined("first"),
        count=joined("count"),
    )


def subsamples(key: AnyKey, members: int, count: int, examples: int) -> Samples:
    """Random subsets drawn without replacement, independently for each member.

    Args:
        key: one key.
        members: number of members.
        count: number of examples of each member.
        examples: number of examples.

    Returns:
        The Samples.

    Raises:
        InputError: where count is larger than the number of examples.
    """
    _positive(members=members, count=count, examples=examples)
    if count > examples:
        raise InputError(
            f"{count} of {examples} examples cannot be drawn without replacement; give a smaller "
            "count"
        )
    return Samples(
        f"{count} examples without replacement",
        orders=np.stack([_permutation(key, i, examples) for i in range(members)]),
        order=np.arange(members),
        first=np.zeros(members, np.int64),
        count=np.full(members, count, np.int32),
    )


def first(key: AnyKey, counts: Sequence[int], examples: int, *, repeats: int = 1) -> Samples:
    """Growing subsets for a learning curve: the first n examples of a random order, for each n.

    Args:
        key: one key.
        counts: the sizes n.
        examples: number of examples.
        repeats: number of random orders.

    Returns:
        The Samples of len(counts) * repeats members.

    Raises:
        InputError: where there is no count, or one is larger than the number of examples.
    """
    check_kind(
        "counts", counts, list | tuple | np.ndarray, "whole numbers of examples, such as [100, 200]"
    )
    _positive(
        examples=examples, repeats=repeats, **{f"counts[{i}]": n for i, n in enumerate(counts)}
    )
    if not len(counts) or max(counts) > examples:
        raise InputError(
            f"counts are {list(counts)}; give at least one, and none above the {examples} examples"
        )
    members = len(counts) * repeats
    return Samples(
        "first n of a random order",
        orders=np.stack([_permutation(key, i, examples) for i in range(repeats)]),
        order=np.repeat(np.arange(repeats), len(counts)),
        first=np.zeros(members, np.int64),
        count=np.tile(np.asarray(counts, np.int32), repeats),
    )


def folds(data: Dataset, count: int, *, seed: int = 0) -> Samples:
    """Cross-validation: each member trains on all folds but one, so every example is new to one
    member.

    Classes are spread evenly over the folds.

    Args:
        data: the examples.
        count: number of folds, and of members.
        seed: seed of the folds.

    Returns:
        The Samples.

    Raises:
        InputError: where count is not between 2 and the number of examples.
    """
    check_kind("data", data, Dataset, "a Dataset, such as splits.train")
    check_whole("count", count, 0)
    check_whole("seed", seed, 0)
    if not 2 <= count <= len(data):
        raise InputError(f"count is {count}; give from 2 folds to one an example: {len(data)}")
    fold_of = fold_numbers(data, count, seed)
    sizes = np.bincount(fold_of, minlength=count)
    return Samples(
        f"all but one of {count} folds",
        orders=np.argsort(fold_of, kind="stable").astype(np.int32)[None],
        order=np.zeros(count, np.int64),
        first=np.cumsum(sizes) % len(data),
        count=(len(data) - sizes).astype(np.int32),
    )


def _permutation(key: AnyKey, number: int, examples: int) -> np.ndarray:
    return generator(key, "resampling", number).permutation(examples).astype(np.int32)


def _positive(**numbers: int) -> None:
    for name, number in numbers.items():
        check_whole(name, number)

"""What each member of a population trains on: bootstrap counts, or a subset of the examples.

The sample of member i depends on the key and on i alone, so more members change none of the others.

Where examples belong to groups, every sample consists of whole groups: a random order of examples
is then a random order of groups, and is cut where a group ends, at the end nearest to the wanted
size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from jaxnet import arrays, display
from jaxnet.data import Dataset
from jaxnet.data.splitting import fold_numbers, ranks
from jaxnet.errors import InputError, check_kind, check_number, check_whole
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
        factors: factors of the losses, such as those of `class_weights`: (examples,) the same for
            all members, or (members, examples); None for 1.
    """

    kind: str
    weights: np.ndarray | None = None
    orders: np.ndarray | None = None
    order: np.ndarray | None = None
    first: np.ndarray | None = None
    count: np.ndarray | None = None
    factors: np.ndarray | None = None

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
        found = self.weights, self.orders, self.order, self.first, self.count
        return found if self.factors is None else (*found, self.factors)

    def reweighted(self, factors: ArrayLike) -> "Samples":
        """The same samples with factors of the losses, such as those of `class_weights`.

        Args:
            factors: (examples,) finite numbers of at least 0, the same for all members, or
                (members, examples); a mean of 1 keeps the scale of the loss.

        Returns:
            The Samples.

        Raises:
            InputError: for anything else.
        """
        axes = arrays.MEMBER_AXES if np.ndim(factors) == 2 else arrays.EXAMPLE_AXES
        found = arrays.numbers("factors", factors, axes).astype(np.float32)
        shapes = ((self.examples,), (len(self), self.examples))
        if found.shape not in shapes or (found < 0).any():
            raise InputError(
                f"factors have shape {found.shape} for {self.examples} examples; give one number "
                "of at least 0 for each"
            )
        return replace(self, factors=found if self.factors is None else self.factors * found)

    def among(self, examples: int) -> "Samples":
        """The same subsets of more examples, of which no member has the further ones.

        Args:
            examples: number of examples; those that the samples were drawn from come first.

        Returns:
            The Samples.
        """
        if self.examples == examples:
            return self
        assert self.orders is not None
        assert self.first is not None
        assert self.count is not None
        # what goes around the end would meet the further examples
        assert int((self.first + self.count).max()) <= self.examples
        more = np.arange(self.examples, examples, dtype=self.orders.dtype)
        more = np.broadcast_to(more, (len(self.orders), len(more)))
        return replace(self, orders=np.concatenate([self.orders, more], axis=1))

    def as_weights(self) -> "Samples":
        """The same subsets as weights: n / count for the count examples of a member of n, and 0 for
        the others, so that the mean loss is over its own examples.

        Members can then share minibatches, of which each of them uses its own part.
        """
        assert self.orders is not None
        assert self.order is not None
        assert self.first is not None
        assert self.count is not None
        n = self.examples
        weights = np.zeros((len(self), n), np.float32)
        for member, count in enumerate(self.count):
            own = (self.first[member] + np.arange(count)) % n
            weights[member, self.orders[self.order[member], own]] = n / count
        return Samples(f"{self.kind}, as weights", weights=weights, factors=self.factors)

    def only(self, members: Int[np.ndarray, " some"]) -> "Samples":
        """Select the samples of some members.

        Args:
            members: their numbers.
        """

        def own(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[members]

        each = {name: own(getattr(self, name)) for name in ("weights", "order", "first", "count")}
        several = self.factors is not None and self.factors.ndim == 2
        return replace(self, **each, factors=own(self.factors) if several else self.factors)

    def with_rows(self, rows: Mapping[int, Int[np.ndarray, " some"]]) -> "Samples":
        """The same subsets, except for some members, which train on these rows.

        Args:
            rows: by number of the member, at least one row number, each at most once.

        Returns:
            The Samples.
        """
        if not rows:
            return self
        assert self.orders is not None
        assert self.order is not None
        assert self.first is not None
        assert self.count is not None
        every, members = np.arange(self.examples, dtype=self.orders.dtype), list(rows)
        own = [np.concatenate([each, np.setdiff1d(every, each)]) for each in rows.values()]
        order, first, count = self.order.copy(), self.first.copy(), self.count.copy()
        order[members] = len(self.orders) + np.arange(len(own))
        first[members] = 0
        count[members] = [len(each) for each in rows.values()]
        orders = np.concatenate([self.orders, np.stack(own).astype(every.dtype)])
        return replace(self, orders=orders, order=order, first=first, count=count)

    def alone(self, member: int) -> dict[str, Any]:
        """The keywords that make `fit` train on the sample of one member.

        Args:
            member: number of the member.

        Returns:
            {"weights": (examples,) float32}, or {"sample": (row numbers, count)}, or both where a
            subset has factors.
        """
        given = self.factors
        factors = given[member] if given is not None and given.ndim == 2 else given
        if self.weights is not None:
            weights = self.weights[member].astype(np.float32)
            return {"weights": weights if factors is None else weights * factors}
        assert self.orders is not None
        assert self.order is not None
        assert self.first is not None
        assert self.count is not None
        sample = np.roll(self.orders[self.order[member]], -self.first[member]), self.count[member]
        return {"sample": sample} | ({} if factors is None else {"weights": factors})

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


def bootstrap(
    key: AnyKey, members: int, examples: int, *, groups: ArrayLike | None = None
) -> Samples:
    """Bootstrap samples: as many examples as there are, drawn with replacement, as counts.

    With groups, as many groups as there are are drawn with replacement, and each of their examples
    counts as often as its group was drawn; so the number of examples differs among members, and is
    right on average.

    The counts weigh the losses, so members can share minibatches. The expected minibatch is that of
    drawn indices; its noise is not.

    Args:
        key: one key.
        members: number of members.
        examples: number of examples.
        groups: (examples,) the group of each example, such as `splits.train.groups`; None where
            each stands for itself.

    Returns:
        The Samples.

    Raises:
        InputError: where groups are not one value per example.

    References:
        Efron 1979, "Bootstrap methods: another look at the jackknife".
    """
    _positive(members=members, examples=examples)
    codes = None if groups is None else ranks(groups, examples, "groups")
    units = examples if codes is None else int(codes.max()) + 1
    draws = (generator(key, "resampling", i).integers(0, units, units) for i in range(members))
    counts = np.stack([np.bincount(draw, minlength=units).astype(np.uint16) for draw in draws])
    return Samples(
        f"bootstrap{_of_groups(groups)}", weights=counts if codes is None else counts[:, codes]
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
            "finite number of at least 0; fix it"
        )
    return Samples(
        "weights", weights=weights if weights.dtype.kind == "u" else weights.astype(np.float32)
    )


def partitions(
    key: AnyKey, parts: int, examples: int, *, repeats: int = 1, groups: ArrayLike | None = None
) -> Samples:
    """Disjoint random parts of nearly equal size that together hold every example, one for each
    member.

    With groups, no group is in two parts, and parts are as nearly equal as whole groups in a random
    order allow.

    Args:
        key: one key.
        parts: number of parts.
        examples: number of examples.
        repeats: number of independent partitions.
        groups: (examples,) the group of each example, such as `splits.train.groups`; None where
            each stands for itself.

    Returns:
        The Samples of parts * repeats members.

    Raises:
        InputError: where there are more parts than examples, or than groups.
    """
    _positive(parts=parts, examples=examples, repeats=repeats)
    if parts > examples:
        raise InputError(f"{examples} examples cannot make {parts} parts; give fewer parts")
    borders = np.linspace(0, examples, parts + 1).astype(np.int64)
    return _between(key, f"{parts} disjoint parts", borders, examples, groups, repeats)


def disjoint(
    key: AnyKey, members: int, count: int, examples: int, *, groups: ArrayLike | None = None
) -> Samples:
    """Random subsets that share no example, nor a group: each is as good as new data.

    Args:
        key: one key.
        members: number of members.
        count: number of examples of each member; with groups, as nearly as whole groups in a random
            order allow.
        examples: number of examples.
        groups: (examples,) the group of each example, such as `splits.train.groups`; None where
            each stands for itself.

    Returns:
        The Samples.

    Raises:
        InputError: where there are too few examples, or groups.
    """
    _positive(members=members, count=count, examples=examples)
    if members * count > examples:
        raise InputError(
            f"{examples} examples are not enough for {members} disjoint samples of {count}; give "
            "fewer members, or smaller samples"
        )
    borders = np.arange(members + 1) * count
    return _between(key, f"{count} examples no other has", borders, examples, groups, 1)


def halves(
    key: AnyKey, members: int, examples: int, *, share: float = 0.5, groups: ArrayLike | None = None
) -> Samples:
    """Random halves in pairs: members 2i and 2i + 1 have no example in common, and together all.

    With another share, the two of a pair are the first and the last examples of one random order.

    Args:
        key: one key.
        members: number of members.
        examples: number of examples.
        share: of the examples that each member has, above 0 and below 1; with groups, as nearly as
            whole groups in a random order allow.
        groups: (examples,) the group of each example, such as `splits.train.groups`; None where
            each stands for itself.

    Returns:
        The Samples.

    Raises:
        InputError: where there are fewer than 2 examples, or groups.
    """
    _positive(members=members, examples=examples)
    if not 0 < check_number("share", share) < 1:
        raise InputError(f"share is {share}; give a share of the examples between 0 and 1")

    def stretches(ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count, begin = (
            cut(ends, np.array([place, examples]))[0]
            for place in (share * examples, (1 - share) * examples)
        )
        return np.array([0, begin]), np.array([count, examples - begin])

    found = _of_orders(
        key, f"{share:.0%} of the examples", stretches, examples, groups, -(-members // 2)
    )
    return found.only(np.arange(members))


def given(seen: Bool[np.ndarray, "members examples"]) -> Samples:
    """Samples of examples that are chosen already.

    Args:
        seen: (members, examples) which examples each member has, at least one.

    Returns:
        The Samples.
    """
    return Samples(
        "chosen examples",
        orders=np.argsort(~seen, axis=1, kind="stable").astype(np.int32),
        order=np.arange(len(seen)),
        first=np.zeros(len(seen), np.int64),
        count=seen.sum(1).astype(np.int32),
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
        each.weights is not None or each.factors is not None or each.examples != samples[0].examples
        for each in samples
    ):
        raise InputError(
            "only subsets of the same examples can stand together; of weights give one array to "
            "weighted(), and factors to reweighted() of the whole"
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


def subsamples(
    key: AnyKey, members: int, count: int, examples: int, *, groups: ArrayLike | None = None
) -> Samples:
    """Random subsets drawn without replacement, independently for each member.

    Args:
        key: one key.
        members: number of members.
        count: number of examples of each member; with groups, as nearly as whole groups in a random
            order allow.
        examples: number of examples.
        groups: (examples,) the group of each example, such as `splits.train.groups`; None where
            each stands for itself.

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
    kind = f"{count} examples without replacement"
    return _up_to(key, kind, [count], examples, groups, members)


def first(
    key: AnyKey,
    counts: Sequence[int],
    examples: int,
    *,
    repeats: int = 1,
    groups: ArrayLike | None = None,
) -> Samples:
    """Growing subsets for a learning curve: the first n examples of a random order, for each n.

    Args:
        key: one key.
        counts: the sizes n; with groups, each as nearly as whole groups in a random order allow, so
            that two of them may be the same.
        examples: number of examples.
        repeats: number of random orders.
        groups: (examples,) the group of each example, such as `splits.train.groups`; None where
            each stands for itself.

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
    return _up_to(key, "first n of a random order", counts, examples, groups, repeats)


def folds(data: Dataset, count: int, *, seed: int = 0, seeds: int = 1) -> Samples:
    """Cross-validation: each member trains on all folds but one, so every example is new to one
    member, or to one for each seed.

    Args:
        data: the examples.
        count: number of folds K.
        seed: seed of the folds, as in `fold_of`.
        seeds: number S of members that leave out the same fold.

    Returns:
        The Samples of K * S members. Member k * S + s is the one with seed s among those that leave
        out fold k.

    Raises:
        InputError: where count is not between 2 and the number of examples, or of groups.
    """
    check_whole("seeds", seeds)
    return all_but(fold_of(data, count, seed=seed), np.repeat(np.arange(count), seeds))


def all_but(
    fold_of: Int[np.ndarray, " examples"],
    left_out: Sequence[int] | Int[np.ndarray, " members"],
    before: int | Int[np.ndarray, " members"] = 0,
) -> Samples:
    """Each member trains on all folds but one, or but one and those before it.

    Args:
        fold_of: (examples,) fold of each example, from 0.
        left_out: (members,) the fold that each member does not train on.
        before: how many folds before that one a member does not train on either; the last fold is
            before the first one. They come first after its sample, so that `left_out` of
            `fit_population` evaluates them.

    Returns:
        The Samples.
    """
    sizes, own = np.bincount(fold_of), np.asarray(left_out, np.int64)
    without = np.broadcast_to(np.asarray(before), own.shape)
    missing = [
        sizes[np.arange(fold - more, fold + 1)].sum()
        for fold, more in zip(own, without, strict=True)
    ]
    return Samples(
        f"all but one of {len(sizes)} folds",
        orders=np.argsort(fold_of, kind="stable").astype(np.int32)[None],
        order=np.zeros(len(own), np.int64),
        first=np.cumsum(sizes)[own] % len(fold_of),
        count=(len(fold_of) - np.array(missing)).astype(np.int32),
    )


def fold_of(data: Dataset, count: int, *, seed: int = 0) -> Int[np.ndarray, " examples"]:
    """The fold of each example: classes are spread evenly over the folds, and no group is in two.

    They depend on the labels and groups of the examples, on their order, and on count and seed
    alone, so that two runs on the same data have the same folds.

    Args:
        data: the examples.
        count: number of folds.
        seed: seed of the folds.

    Returns:
        (examples,) numbers of the folds, from 0.

    Raises:
        InputError: where count is not between 2 and the number of examples, or of groups.
    """
    check_kind("data", data, Dataset, "a Dataset, such as splits.train")
    check_whole("count", count, 0)
    check_whole("seed", seed, 0)
    return fold_numbers(data, count, seed)


def shuffled(
    rng: np.random.Generator, examples: int, groups: ArrayLike | None = None
) -> tuple[Int[np.ndarray, " examples"], Int[np.ndarray, " groups"]]:
    """A random order of examples in which those of a group stay together.

    Args:
        rng: the random generator.
        examples: number of examples.
        groups: (examples,) the group of each example; None where each stands for itself.

    Returns:
        (row numbers; the places where a group ends, in ascending order).

    Raises:
        InputError: where groups are not one value per example.
    """
    if groups is None:
        return rng.permutation(examples), np.arange(1, examples + 1)
    codes = ranks(groups, examples, "groups")
    sizes = np.bincount(codes)
    line = rng.permutation(len(sizes))
    place = np.empty(len(sizes), np.int64)
    place[line] = np.arange(len(sizes))
    return np.argsort(place[codes], kind="stable"), np.cumsum(sizes[line])


def cut(
    ends: Int[np.ndarray, " groups"], places: Sequence[int] | np.ndarray
) -> Int[np.ndarray, " parts"]:
    """Where to cut an order of examples into parts of at least one group: at the ends of groups
    that are nearest to the wanted places.

    Args:
        ends: (groups,) places where a group ends, in ascending order.
        places: (parts,) where each part should end, in ascending order.

    Returns:
        (parts,) places in strictly ascending order.

    Raises:
        InputError: where there are fewer groups than parts.
    """
    if len(places) > len(ends):
        raise InputError(f"{len(ends)} groups cannot make {len(places)} parts; give fewer parts")
    chosen, before = _nearest(ends, places), -1
    for i, index in enumerate(chosen):
        before = chosen[i] = np.clip(index, before + 1, len(ends) - len(places) + i)
    return ends[chosen]


def _nearest(ends: np.ndarray, places: Sequence[int] | np.ndarray) -> np.ndarray:
    """The index of the end nearest to each place, the earlier one of two."""
    return np.searchsorted((ends[:-1] + ends[1:]) / 2, places)


def _between(
    key: AnyKey,
    kind: str,
    borders: np.ndarray,
    examples: int,
    groups: ArrayLike | None,
    repeats: int,
) -> Samples:
    """Samples of what lies between each two of these borders of a random order, for each repeat."""

    def stretches(ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = np.concatenate([[0], cut(ends, borders[1:])])
        return own[:-1], np.diff(own)

    return _of_orders(key, kind, stretches, examples, groups, repeats)


def _up_to(
    key: AnyKey,
    kind: str,
    counts: Sequence[int],
    examples: int,
    groups: ArrayLike | None,
    repeats: int,
) -> Samples:
    """Samples of the first n of a random order for each count n, for each repeat."""

    def stretches(ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(len(counts), np.int64), ends[_nearest(ends, counts)]

    return _of_orders(key, kind, stretches, examples, groups, repeats)


def _of_orders(
    key: AnyKey,
    kind: str,
    stretches: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    examples: int,
    groups: ArrayLike | None,
    repeats: int,
) -> Samples:
    """Samples that are stretches of random orders: of the ends of its groups, each order has these
    first places and counts.
    """

    def one(repeat: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        order, ends = shuffled(generator(key, "resampling", repeat), examples, groups)
        return order.astype(np.int32), *stretches(ends)

    orders, first, count = zip(*map(one, range(repeats)), strict=True)
    return Samples(
        kind + _of_groups(groups),
        orders=np.stack(orders),
        order=np.repeat(np.arange(repeats), [len(each) for each in first]),
        first=np.concatenate(first),
        count=np.concatenate(count).astype(np.int32),
    )


def _of_groups(groups: ArrayLike | None) -> str:
    return "" if groups is None else ", in whole groups"


def _positive(**numbers: int) -> None:
    for name, number in numbers.items():
        check_whole(name, number)

"""Which networks a diagnosis trains, and on which examples each of them learns and is judged."""

import functools
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from jaxnet.core.recipe import Recipe
from jaxnet.data import Dataset, Splits
from jaxnet.data.resampling import Samples, disjoint, fold_of, folds, partitions, together, whole
from jaxnet.data.splitting import pool, units
from jaxnet.stats import curve_prior
from jaxnet.stats.cross_fitting import MIN_GROUPS

WHOLE, FOLD = 1, 0  # kinds of networks; the others are numbers of parts
QUARTERS, HALVES = 4, 2  # parts of the training set that the networks of a decomposition share out
MIN_CURVE_EXAMPLES = 16  # of the smallest part on which networks are trained
SMALLER = (8, 16)  # with these parts too there are sizes enough for a learning curve
# partitions: fewer have no interval, more say little more, since what is left is the luck of the
# pool
MIN_REPEATS, MAX_REPEATS = (4, 8)
MOST_KEYS = 1 << 20  # networks of a kind
MANY, SOME = (16, 8), (8, 4)  # networks from which on there are so many folds
LARGEST_VALIDATION = 0.25  # share of the pool above which the validation set is kept out of it


@dataclass(frozen=True)
class Needs:
    """How many networks of each kind are trained.

    Attributes:
        wholes: networks on all training examples.
        folds: networks on all folds but one, `seeds` for each fold.
        quarters: partitions into quarters.
        halves: partitions into halves.
        smaller: networks on each of the smaller parts.
        first: number of the first network on all training examples.
    """

    wholes: int
    folds: int = 0
    quarters: int = 0
    halves: int = 0
    smaller: int = 0
    first: int = 0

    @property
    def networks(self) -> dict[int, int]:
        """The number of networks by kind, in the order in which they stand."""
        return {
            WHOLE: self.wholes,
            FOLD: self.folds,
            QUARTERS: QUARTERS * self.quarters,
            HALVES: HALVES * self.halves,
            **dict.fromkeys(SMALLER, self.smaller),
        }

    @property
    def total(self) -> int:
        """The number of networks."""
        return sum(self.networks.values())

    @property
    def kinds(self) -> Int[np.ndarray, " networks"]:
        """The kind of each network."""
        return np.repeat(list(self.networks), list(self.networks.values()))


@dataclass(frozen=True)
class Design:
    """How the networks of a diagnosis use the data.

    Attributes:
        splits: the data of all networks. With cross-fitting, the training set is the pool.
        folds: number of folds; 0 for one split.
        seeds: number of networks that leave out the same fold.
        divided: the first so many training examples are divided among the networks of partitions
            and smaller parts.
        held_out: examples on which those networks are judged; None where there are none.
        pooled: number of examples of the validation set in the pool; they come last.
        notes: what was decided, and why.
    """

    splits: Splits
    folds: int
    seeds: int
    divided: int
    held_out: Dataset | None
    pooled: int = 0
    notes: tuple[str, ...] = ()

    @property
    def cross_fitted(self) -> bool:
        """Whether every example is judged by networks that did not train on it."""
        return self.folds > 0

    @functools.cached_property
    def fold_of(self) -> Int[np.ndarray, " examples"]:
        """The fold of each training example; it depends on the pool and the number of folds."""
        return fold_of(self.splits.train, self.folds)

    @property
    def largest_fold(self) -> int:
        """The number of examples of the largest fold; 0 without folds."""
        return int(np.bincount(self.fold_of).max()) if self.cross_fitted else 0

    def needs(self, members: int) -> Needs:
        """Count the networks that this design trains.

        Args:
            members: number of networks that judge the recipe.
        """
        n = self.divided
        repeats = (
            min(MAX_REPEATS, max(MIN_REPEATS, members // QUARTERS))
            if n >= 2 * QUARTERS and self.held_out is not None and self._units >= 2 * QUARTERS
            else 0
        )
        enough = n >= SMALLER[-1] * MIN_CURVE_EXAMPLES and self._units >= SMALLER[-1]
        curve = repeats and enough and self.splits.classes is not None
        return Needs(
            wholes=1 if self.cross_fitted else members,
            folds=self.folds * self.seeds,
            quarters=repeats,
            halves=repeats,
            smaller=curve_prior.MIN_CURVE_MEMBERS if curve else 0,
        )

    @property
    def _groups(self) -> np.ndarray | None:
        groups = self.splits.train.groups
        return None if groups is None else groups[: self.divided]

    @property
    def _units(self) -> int:
        return self.divided if self._groups is None else len(np.unique(self._groups))

    def samples(self, needs: Needs, key: Key[Array, ""]) -> Samples:
        """Draw what each network trains on.

        Args:
            needs: the networks.
            key: a random key.
        """
        n, divided = len(self.splits.train), self.divided
        drawn = [whole(needs.wholes, n)] if needs.wholes else []
        if needs.folds:
            drawn.append(folds(self.splits.train, self.folds, seeds=needs.folds // self.folds))
        for parts, repeats in ((QUARTERS, needs.quarters), (HALVES, needs.halves)):
            if repeats:
                own = jax.random.fold_in(key, 100 + parts)
                drawn.append(partitions(own, parts, divided, repeats=repeats, groups=self._groups))
        if needs.smaller:
            drawn += [
                disjoint(
                    jax.random.fold_in(key, 100 + parts),
                    needs.smaller,
                    divided // parts,
                    divided,
                    groups=self._groups,
                )
                for parts in SMALLER
            ]
        return together([each.among(n) for each in drawn])


def design_of(splits: Splits, recipe: Recipe, members: int) -> Design:
    """Choose how the networks of a diagnosis use the data.

    From 8 networks on, training and validation set are one pool and the networks are cross-fitted,
    except for ordered data, whose folds would let networks learn from the future. A validation set
    that stops the training, or is more than a quarter of the pool, stays out of the pool.

    Args:
        splits: the data.
        recipe: the recipe.
        members: number of networks that judge the recipe.
    """
    if (reason := _one_split(splits, members)) is not None:
        notes = (reason,) if reason else ()
        return Design(splits, 0, 0, len(splits.train), _held_out(splits, recipe), notes=notes)
    (pooled, notes), own = pool_of(splits, recipe), len(splits.train)
    count = MANY[1] if members >= MANY[0] else SOME[1]
    seeds = members // count
    if rest := members - count * seeds:
        notes.append(
            f"{count * seeds} of {members} networks are trained: {count} folds times {seeds} seeds "
            f"leave {rest} over"
        )
    held_out = _held_out(splits, recipe)
    if held_out is None and len(splits.validation):
        notes.append(
            "without a test set, no examples are left on which to decompose the error into bias "
            "and variance"
        )
    return Design(
        pooled,
        count,
        seeds,
        len(pooled.train) if len(splits.test) else own,
        held_out,
        len(pooled.train) - own,
        tuple(notes),
    )


def pool_of(splits: Splits, recipe: Recipe, parts: str = "folds") -> tuple[Splits, list[str]]:
    """Put training and validation set together, unless the validation set stops the training or is
    more than a quarter of them.

    Args:
        splits: the data.
        recipe: the recipe.
        parts: what the pool is divided into, in words.

    Returns:
        (the data with the pool as their training set, what was decided and why).
    """
    if recipe.patience is not None:
        reason = "the validation set stops the training"
    elif len(splits.validation) > LARGEST_VALIDATION * (len(splits.train) + len(splits.validation)):
        reason = f"the validation set is more than {LARGEST_VALIDATION:.0%} of the examples"
    else:
        pooled = pool(splits)
        return pooled, list(pooled.notes[len(splits.notes) :])
    return splits, [f"{reason}, so it is no part of the {parts}"]


def _held_out(splits: Splits, recipe: Recipe) -> Dataset | None:
    """Choose the test set, or else the validation set, unless it stops the training."""
    if len(splits.test):
        return splits.test
    return splits.validation if len(splits.validation) and recipe.patience is None else None


def _one_split(splits: Splits, members: int) -> str | None:
    """Say why networks are not cross-fitted; None where they are."""
    if splits.ordered:
        return (
            "the data are ordered, so the networks are judged on later examples than those they "
            "learned from, and not on random folds"
        )
    if members < SOME[0]:
        if members == 1:
            return ""
        return (
            f"{members} networks are too few for folds, so they share one split; with 8 or more "
            "networks every example is judged, and intervals are shorter"
        )
    count, number = MANY[1] if members >= MANY[0] else SOME[1], units(splits.train)
    if number < max(MIN_GROUPS, count):
        what = "examples" if splits.train.groups is None else "groups"
        return f"{number} {what} are too few for {count} folds, so the networks share one split"
    return None

"""One round of advice: look at the current recipe, try changes of it, and choose."""

import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnet.data import Dataset
from jaxnet.data.dataset import error_unit
from jaxnet.diagnostics.findings import Finding
from jaxnet.engine.fingerprint import describe_pool
from jaxnet.population.scheduler import Progress
from jaxnet.stats.cross_fitting import group_codes
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.gains import FOLDS, RUNGS, Cell, Choice, Raced, cells_of_rungs, race
from jaxnet.stats.unseen_losses import UnseenLosses
from jaxnet.studies.advice import ADOPTED, HELPS, UNSURE, Tried
from jaxnet.studies.candidates import Candidate, candidates
from jaxnet.studies.networks import Networks
from jaxnet.studies.probes import training_findings
from jaxnet.studies.timetable import Timetable

PROBES = (1 << 20) + 1  # number of the key of networks that show the cause of a finding

logger = logging.getLogger("jaxnet")


@dataclass(frozen=True)
class Round:
    """What a round has measured and chosen.

    Attributes:
        networks: those of the current recipe and of all that were tried.
        raced: their losses.
        choice: the finalist with the largest measured gain.
        findings: what is wrong with the training of the current recipe.
        gains: gain of each candidate.
        adopted: number of the candidate to adopt; None where there is none.
        notes: what there was no time for.
    """

    networks: Networks
    raced: Raced
    choice: Choice
    findings: tuple[Finding, ...]
    gains: tuple[Estimate, ...]
    adopted: int | None
    notes: tuple[str, ...]

    @property
    def best(self) -> int:
        """Number of the adopted candidate; else of the one with the largest measured gain."""
        return self.choice.leader if self.adopted is None else self.adopted

    @property
    def used(self) -> int:
        """Number of the recipe to use, of which 0 is the current one."""
        return 0 if self.adopted is None else 1 + self.adopted

    @property
    def seeds(self) -> int:
        """Networks of each finalist for each fold."""
        return self.raced.losses.shape[1]

    @functools.cached_property
    def error(self) -> Estimate:
        """Error of the current recipe on unseen examples."""
        found, train = self.raced.gains, self.networks.splits.train
        unseen = UnseenLosses(
            self.raced.losses[0], found.fold_of, found.group_of, found.counted, describe_pool(train)
        )
        return unseen.fit.rate("unseen")

    @property
    def trainings(self) -> int:
        """The number of networks of the race."""
        one_of_fold = np.unique(self.raced.gains.fold_of, return_index=True)[1]
        return int(np.isfinite(self.raced.losses[:, :, one_of_fold]).sum())

    @functools.cached_property
    def tried(self) -> tuple[Tried, ...]:
        """What became of each candidate."""
        values, fold_of = self.raced.gains.values, self.raced.gains.fold_of
        folds = [len(np.unique(fold_of[np.isfinite(each)])) for each in values]
        costs = self.networks.relative

        def verdict(number: int) -> str:
            if not self.raced.finalists[number]:
                return f"dropped after {folds[number]} of {FOLDS} folds"
            if number == self.adopted:
                return ADOPTED
            return HELPS if self.gains[number].low > 0 else UNSURE

        return tuple(
            Tried(
                each.name,
                each.kind,
                each.recipe,
                each.model,
                self.gains[number],
                float(costs[number]),
                folds[number],
                verdict(number),
            )
            for number, each in enumerate(self.networks.recipes[1:])
        )


def one_round(
    networks: Networks,
    *,
    tolerance: float,
    seeds: int,
    seconds: float | None,
    progress: Callable[[Progress], None] | None,
) -> Round:
    """Train networks of the current recipe, look for what is wrong with their training, and race
    the changes that are worth trying.

    Args:
        networks: those of the current recipe.
        tolerance: the smallest gain that is worth a longer training.
        seeds: networks of each finalist for each fold.
        seconds: as in `advise`.
        progress: as in `fit_population`.
    """
    began = time.monotonic()
    steps = _steps(progress, 1 + len(RUNGS))
    first = cells_of_rungs(seeds)[0]
    looked, pace = networks.look(first, next(steps))
    own = networks.problems[0]
    key = jax.random.fold_in(networks.key, PROBES)
    findings = training_findings(own, looked, key=key, tolerance=tolerance, plan=networks.plan)
    now = networks.recipes[0]
    found = candidates(
        now.model, now.recipe, networks.splits, findings, balance=now.balance, loss=now.loss
    )
    networks, notes = networks.beside(found), list[str]()
    if seconds is not None:
        kept = networks.within(seconds, seeds, pace, began)
        notes = left_out(found, kept, seeds, seconds)
        networks, seeds = networks.only(kept.candidates), kept.seeds
    unit = error_unit(networks.splits.train)

    def measure(
        recipes: Int[np.ndarray, " recipes"], cells: Sequence[Cell]
    ) -> Float[np.ndarray, "recipes cells examples"]:
        step = next(steps)
        if cells != first:
            return networks.losses(recipes, networks.trained(recipes, cells, step), unit)
        others = recipes[1:]
        return np.concatenate(
            [
                networks.losses(recipes[:1], looked, unit),
                networks.losses(others, networks.trained(others, cells, step), unit),
            ]
        )

    raced = race(
        measure,
        len(networks.recipes) - 1,
        networks.fold_of,
        groups_of(networks.splits.train),
        seeds=seeds,
        counted=networks.splits.classes is not None,
    )
    choice = raced.gains.choose(raced.finalists)
    gains = list(raced.gains.each(choice.quantile))
    gains[choice.leader] = choice.gain
    adopted = to_adopt(gains, networks.relative, choice.leader, raced.finalists, tolerance)
    return Round(networks, raced, choice, findings, tuple(gains), adopted, tuple(notes))


def groups_of(pool: Dataset) -> Int[np.ndarray, " examples"] | None:
    """Number the groups of the examples; None where every example is its own."""
    return None if pool.groups is None else group_codes(pool.groups, len(pool))


def to_adopt(
    gains: Sequence[Estimate],
    costs: Sequence[float] | Float[np.ndarray, " candidates"],
    leader: int,
    finalists: Bool[np.ndarray, " candidates"],
    tolerance: float,
) -> int | None:
    """Choose the candidate to adopt.

    It is the leader if its gain is shown to be above 0 and is worth its training. Else it is the
    finalist with the largest gain of which this holds, since the lower limits of all candidates
    hold at once.

    Args:
        gains: gain of each candidate.
        costs: how many times as long as one of the current recipe a training of each takes.
        leader: number of the finalist with the largest measured gain.
        finalists: (candidates,) which candidates ran all folds.
        tolerance: the smallest gain that is worth a longer training.

    Returns:
        Its number; None where there is none.
    """
    others = sorted(np.flatnonzero(finalists).tolist(), key=lambda number: -gains[number].estimate)

    def worthwhile(number: int) -> bool:
        gain = gains[number]
        return gain.low > 0 and (gain.estimate >= tolerance or costs[number] <= 1)

    return next(filter(worthwhile, (leader, *others)), None)


def left_out(found: Sequence[Candidate], kept: Timetable, seeds: int, seconds: float) -> list[str]:
    """Say what there is no time for, and tell the logger what there is time for.

    Args:
        found: all candidates.
        kept: what there is time for.
        seeds: networks of each finalist for each fold that were asked for.
        seconds: the time.
    """
    logger.info(
        "Within %g s, %d of %d changes are tried, with %d network%s per fold for the best; this "
        "takes at most about %.0f s more",
        seconds,
        len(kept.candidates),
        len(found),
        kept.seeds,
        "s" * (kept.seeds > 1),
        kept.takes,
    )
    notes, without = list[str](), f"to keep within {seconds:g} s, "
    if kept.seeds < seeds:
        notes.append(f"{without}{kept.seeds} network per fold was trained, and not {seeds}")
    missing = [each.name for number, each in enumerate(found) if number not in kept.candidates]
    if missing:
        notes.append(f"{without}these changes were not tried: {', '.join(missing)}")
    return notes


def _steps(
    progress: Callable[[Progress], None] | None, count: int
) -> Iterator[Callable[[Progress], None] | None]:
    """Tell the progress of each of several populations as that of a part of the whole."""

    def part(number: int) -> Callable[[Progress], None] | None:
        if progress is None:
            return None
        return lambda now: progress(now._replace(share=(number + now.share) / count))

    return map(part, range(count))

"""advise: train changes of a recipe on the same folds, and report what each of them gains."""

import itertools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxnet.core.recipe import Recipe, resolved
from jaxnet.data import Splits
from jaxnet.data.dataset import error_unit
from jaxnet.diagnostics.ladder import check_limits
from jaxnet.engine import arguments
from jaxnet.engine.fingerprint import describe_pool
from jaxnet.errors import InputError, check_number, check_whole
from jaxnet.models.losses import Loss, check_loss
from jaxnet.models.model import Model
from jaxnet.population.scheduler import Progress
from jaxnet.random import AnyKey, as_key
from jaxnet.runtime.plan import Plan
from jaxnet.stats.cross_fitting import group_codes
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.gains import FOLDS, RUNGS, Cell, Raced, race
from jaxnet.stats.unseen_losses import UnseenLosses
from jaxnet.studies.advice import ADOPTED, HELPS, UNSURE, Advice, Tried
from jaxnet.studies.candidates import Candidate, candidates, current
from jaxnet.studies.design import MANY, design_of
from jaxnet.studies.networks import Networks
from jaxnet.studies.timetable import Timetable

LAST = 1 << 20  # number of the key of the network that is handed over
FEW_GROUPS = 100

logger = logging.getLogger("jaxnet")


def advise(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    tolerance: float = 0.02,
    seeds: int = 2,
    seconds: float | None = None,
    balance: bool = False,
    loss: Loss | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Advice:
    """Try changes of a recipe and a model, and report what each of them gains on examples that its
    networks have not seen.

    Training and validation set are one pool, divided into 8 folds. The networks of all candidates
    leave out the same folds and have the same random keys, so gains are paired by example. The
    candidates race: all of them run 2 folds, the better half runs 4, and the better half of these
    runs 8 folds with all seeds. The candidate with the largest gain is adopted if the lower limit
    of its gain, which allows for the choice among all candidates, is above 0, unless the gain is
    below the tolerance and its training takes longer; then another finalist may be adopted. The
    test set takes no part in any choice.

    A validation set that stops the training, or is more than a quarter of the pool, stays out of
    the pool.

    Args:
        model: the network.
        splits: the data set.
        recipe: how it is trained now.
        key: a random key.
        tolerance: the smallest gain that is worth a longer training, on the scale of the error; of
            a regression a share of the variance of y.
        seeds: networks of each finalist for each fold.
        seconds: time to keep within on this machine, by training fewer seeds and then trying fewer
            changes, at least one. Networks that are trained first show how long it takes; the
            logger "jaxnet" says what there is time for, and a call that goes on in `out` does the
            same.
        balance: whether every class counts the same in the loss of the training, as in `diagnose`.
        loss: as in `fit_population`.
        plan: as in `fit_population`.
        out: a folder for checkpoints; the same call with it goes on where it was stopped.
        progress: as in `fit_population`.

    Returns:
        The recipe and the model to use, and what every candidate gains. Gains are of errors: the
        share of wrong predictions, or squared errors divided by the variance of y. A network that
        diverges counts as wrong on all examples, or as always predicting the mean of y.

    Raises:
        InputError: for invalid arguments, and for data that cannot be divided into folds.

    References:
        Maron & Moore 1994 (racing); Dunnett 1955 (the limit after a choice); Andrews, Kitagawa &
        McCloskey 2024 (the point after a choice).
    """
    arguments.check(model=model, splits=splits, recipe=recipe)
    arguments.check_in_memory(splits)
    variance = error_unit(splits.train)  # refuses values that are all equal
    key = as_key("key", key)
    check_loss(loss)
    arguments.check_surroundings(out, progress, plan)
    check_whole("seeds", seeds)
    check_number("tolerance", tolerance)
    check_limits(0.0, tolerance)
    if seconds is not None and not check_number("seconds", seconds) > 0:
        raise InputError(f"seconds is {seconds}; give a positive time, or leave it out")
    recipe = resolved(recipe, len(splits.train))
    design = design_of(splits, recipe, MANY[0])
    if not design.cross_fitted:
        raise InputError(
            "advise compares recipes on random folds of the examples, and there are none: "
            f"{design.notes[0]}; give other data, or compare two runs with jaxnet compare"
        )
    found = candidates(model, recipe, design.splits, balance=balance, loss=loss)
    networks = Networks(
        (current(model, recipe, balance=balance, loss=loss), *found),
        design.splits,
        design.fold_of,
        key,
        plan,
        None if out is None else Path(out),
    )
    notes = list(design.notes)
    if seconds is not None:
        kept = networks.within(seconds, seeds)
        notes += _left_out(found, kept, seeds, seconds)
        found, seeds = tuple(found[number] for number in kept.candidates), kept.seeds
        networks = networks.only(kept.candidates)
    train = design.splits.train
    group_of = None if train.groups is None else group_codes(train.groups, len(train))
    groups = None if group_of is None else int(group_of.max()) + 1
    rungs = itertools.count()

    def measure(
        recipes: Int[np.ndarray, " recipes"], cells: Sequence[Cell]
    ) -> Float[np.ndarray, "recipes cells examples"]:
        return networks.losses(recipes, cells, variance, _part(progress, next(rungs)))

    counted = splits.classes is not None
    raced = race(measure, len(found), design.fold_of, group_of, seeds=seeds, counted=counted)
    choice = raced.gains.choose(raced.finalists)
    relative = networks.costs[1:] / networks.costs[0]
    gains = list(raced.gains.each(choice.quantile))
    gains[choice.leader] = choice.gain
    adopted = to_adopt(gains, relative, choice.leader, raced.finalists, tolerance)
    best, used = (choice.leader, 0) if adopted is None else (adopted, 1 + adopted)
    unseen = UnseenLosses(raced.losses[0], design.fold_of, group_of, counted, describe_pool(train))
    return Advice(
        recipe=networks.recipes[used].recipe,
        model=networks.recipes[used].model,
        splits=splits,
        gain=gains[best],
        adopted=adopted is not None,
        best=best,
        tried=_tried(found, raced, gains, relative, adopted),
        error=unseen.fit.rate("unseen"),
        detectable=choice.detectable,
        tolerance=tolerance,
        trainings=_trainings(raced),
        regression=not counted,
        notes=(*notes, *_notes(gains[best], choice.detectable, seeds, groups)),
        run=networks.whole(used),
    )


def _left_out(found: Sequence[Candidate], kept: Timetable, seeds: int, seconds: float) -> list[str]:
    """Say what there is no time for, and tell the logger what there is time for."""
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


def _part(
    progress: Callable[[Progress], None] | None, rung: int
) -> Callable[[Progress], None] | None:
    """Tell the progress of a population as that of a part of the race."""
    if progress is None:
        return None
    return lambda now: progress(now._replace(share=(rung + now.share) / len(RUNGS)))


def _trainings(raced: Raced) -> int:
    """The number of networks of a race."""
    one_of_fold = np.unique(raced.gains.fold_of, return_index=True)[1]
    return int(np.isfinite(raced.losses[:, :, one_of_fold]).sum())


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


def _tried(
    found: Sequence[Candidate],
    raced: Raced,
    gains: Sequence[Estimate],
    costs: Float[np.ndarray, " candidates"],
    adopted: int | None,
) -> tuple[Tried, ...]:
    """What became of each candidate."""
    folds = [
        len(np.unique(raced.gains.fold_of[np.isfinite(values)])) for values in raced.gains.values
    ]

    def verdict(number: int) -> str:
        if not raced.finalists[number]:
            return f"dropped after {folds[number]} of {FOLDS} folds"
        if number == adopted:
            return ADOPTED
        return HELPS if gains[number].low > 0 else UNSURE

    return tuple(
        Tried(
            each.name,
            each.kind,
            each.recipe,
            each.model,
            gains[number],
            float(costs[number]),
            folds[number],
            verdict(number),
        )
        for number, each in enumerate(found)
    )


def _notes(gain: Estimate, detectable: float, seeds: int, groups: int | None) -> list[str]:
    """How far the numbers can be trusted, by the simulations of experiments/benchmarks/advice.py.

    Args:
        gain: that of the best candidate.
        detectable: the gain that is found in 80% of cases.
        seeds: networks of each finalist for each fold.
        groups: number of groups of examples, or None.
    """
    notes = [
        "gains are of the recipe's networks on average: one network that is trained again may gain "
        "more or less"
    ]
    if gain.low > 0 and gain.estimate < detectable:
        notes.append(
            "small adopted gains are flattered: a gain below "
            f"{100 * detectable:.1f} points is adopted mostly where it was measured too large"
        )
    if seeds == 1:
        notes.append(
            "with one network per fold, the gain is measured too large where networks differ much: "
            "by 0.6 points on average in simulations"
        )
    if groups is not None and groups < FEW_GROUPS:
        notes.append(
            f"with {groups} groups, the gain is measured too large where a recipe errs on whole "
            "groups: by 0.5 points on average in simulations"
        )
    return notes

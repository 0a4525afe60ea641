"""advise: train changes of a recipe on the same folds, and report what each of them gains."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int

from jaxnet.core.recipe import Recipe, resolved
from jaxnet.data import Splits
from jaxnet.data.dataset import error_unit
from jaxnet.diagnostics.ladder import check_limits
from jaxnet.engine import arguments
from jaxnet.errors import InputError, check_number, check_whole
from jaxnet.models.losses import Loss, check_loss
from jaxnet.models.model import Model
from jaxnet.population.scheduler import Progress
from jaxnet.random import AnyKey, as_key
from jaxnet.runtime.plan import Plan
from jaxnet.stats.estimate import Estimate
from jaxnet.studies.advice import Advice
from jaxnet.studies.advice_round import groups_of, one_round
from jaxnet.studies.candidates import current
from jaxnet.studies.design import MANY, design_of
from jaxnet.studies.networks import Networks

FEW_GROUPS = 100


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
    error_unit(splits.train)  # refuses values that are all equal
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
    networks = Networks(
        (current(model, recipe, balance=balance, loss=loss),),
        design.splits,
        design.fold_of,
        key,
        plan,
        None if out is None else Path(out),
    )
    found = one_round(
        networks, tolerance=tolerance, seeds=seeds, seconds=seconds, progress=progress
    )
    gain, detectable, used = found.gains[found.best], found.choice.detectable, found.used
    return Advice(
        recipe=found.networks.recipes[used].recipe,
        model=found.networks.recipes[used].model,
        splits=splits,
        gain=gain,
        adopted=found.adopted is not None,
        best=found.best,
        tried=found.tried,
        findings=found.findings,
        error=found.error,
        detectable=detectable,
        tolerance=tolerance,
        trainings=found.trainings,
        regression=splits.classes is None,
        notes=(
            *design.notes,
            *found.notes,
            *_notes(gain, detectable, found.seeds, groups_of(design.splits.train)),
        ),
        run=found.networks.whole(used),
    )


def _notes(
    gain: Estimate, detectable: float, seeds: int, group_of: Int[np.ndarray, " examples"] | None
) -> list[str]:
    """How far the numbers can be trusted, by the simulations of experiments/benchmarks/advice.py.

    Args:
        gain: that of the best candidate.
        detectable: the gain that is found in 80% of cases.
        seeds: networks of each finalist for each fold.
        group_of: (examples,) group of each example, or None.
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
    if group_of is not None and (groups := int(group_of.max()) + 1) < FEW_GROUPS:
        notes.append(
            f"with {groups} groups, the gain is measured too large where a recipe errs on whole "
            "groups: by 0.5 points on average in simulations"
        )
    return notes

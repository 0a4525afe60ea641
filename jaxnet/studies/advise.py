"""advise: train changes of a recipe on the same folds, and report what each of them gains."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int

from jaxnet.core.recipe import Recipe, resolved
from jaxnet.core.run import Run
from jaxnet.data import Splits
from jaxnet.data.dataset import error_unit
from jaxnet.diagnostics.findings import REMEDIES, Code
from jaxnet.diagnostics.ladder import check_limits
from jaxnet.diagnostics.predicted import Predicted
from jaxnet.engine import arguments
from jaxnet.engine.prediction import predict
from jaxnet.errors import InputError, check_number, check_whole
from jaxnet.models.losses import Loss, check_loss
from jaxnet.models.model import Model
from jaxnet.population.ensemble import as_one, named_as
from jaxnet.population.scheduler import Progress
from jaxnet.progress import of_population, showing
from jaxnet.random import AnyKey, as_key
from jaxnet.runtime.plan import Plan
from jaxnet.stats.cross_fitting import error_of_network
from jaxnet.stats.estimate import Estimate
from jaxnet.studies.advice import Advice, Round
from jaxnet.studies.advice_round import Decided, groups_of
from jaxnet.studies.candidates import current
from jaxnet.studies.design import MANY, design_of
from jaxnet.studies.measures import FEWEST, Unit, is_labeled, measure_of, target_of
from jaxnet.studies.more_data import measure_more_data
from jaxnet.studies.networks import Networks, standardized_anew
from jaxnet.studies.rounds import MOST_ROUNDS, Course, run_rounds
from jaxnet.studies.rules import handed_over, told
from jaxnet.studies.trained import check_seconds

FEW_GROUPS = 100
NO_DATA = "what more data would gain was not measured"


@showing(of_population)
def advise(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    tolerance: float = 0.02,
    seeds: int = 2,
    rounds: int = 1,
    measure: str = "error",
    seconds: float | None = None,
    balance: bool = False,
    loss: Loss | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | Literal[False] | None = None,
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
    the pool. A candidate with early stopping is stopped by another fold of the pool than the one
    that measures it.

    Where `splits.target_sample` has labels, all networks are judged on it, and not on the folds
    that they leave out: one half of it, at random and by groups where there are groups, chooses,
    and the other half reports what is gained where the networks will be used.

    Args:
        model: the network.
        splits: the data set.
        recipe: how it is trained now.
        key: a random key.
        tolerance: the smallest gain that is worth a longer training, on the scale of the measure;
            of a regression a share of the variance of y, and for "rmse" of its standard deviation.
        seeds: networks of each finalist for each fold.
        rounds: how often a change may be adopted and others tried from there, at most 5. The rounds
            end earlier where no change is adopted, and where the error is below the tolerance. Each
            has folds and random keys of its own, and intervals that allow for all of them.
        measure: in which score gains are measured: "error" (wrong predictions; squared errors
            divided by the variance of y), "balanced_error" (every class counts the same),
            "log_loss" (minus the logarithm of the probability of the label, where a lower one than
            1e-6 counts as that),
            or "rmse" (root mean squared error of values, in the units of y). Several values or
            labels of each example have the error alone: its mean over values, and the share of
            wrong answers.
        seconds: time to keep within on this machine, by training fewer seeds and then trying fewer
            changes, at least one. Networks that are trained first show how long it takes; the
            logger "jaxnet" says what there is time for, and a call that goes on in `out` does the
            same. Where the machine becomes slower, only the best changes go on, and the notes say
            which had to leave.
        balance: whether every class counts the same in the loss of the training, as in `diagnose`.
        loss: as in `fit_population`.
        plan: as in `fit_population`.
        out: a folder for checkpoints; the same call with it goes on where it was stopped.
        progress: as in `fit_population`.

    Returns:
        The recipe and the model to use, and what every candidate gains by the measure. A network
        that diverges counts as wrong on all examples, as giving all classes the same probability,
        or as always predicting the mean of y.

    Raises:
        InputError: for invalid arguments, and for data that cannot be divided into folds.

    References:
        Maron & Moore 1994 (racing); Dunnett 1955 (the limit after a choice); Efron &
        Tibshirani 1993 (the point after a choice; the delta method, for differences of root mean
        squared errors).
    """
    arguments.check(model=model, splits=splits, recipe=recipe)
    arguments.check_in_memory(splits)
    error_unit(splits.train)  # refuses values that are all equal
    key = as_key("key", key)
    check_loss(loss)
    arguments.check_surroundings(out, plan)
    check_whole("seeds", seeds)
    check_whole("rounds", rounds, most=MOST_ROUNDS)
    check_number("tolerance", tolerance)
    check_limits(0.0, tolerance)
    check_seconds(seconds)
    recipe, target = resolved(recipe, len(splits.train)), target_of(splits, key)
    judged = splits.train if target is None else target.data
    measure_of(measure, judged, splits.train)  # refuses a measure of other labels
    design = design_of(splits, recipe, MANY[0])
    if not design.cross_fitted:
        raise InputError(
            "advise compares recipes on random folds of the examples, and there are none: "
            f"{design.notes[0]}; give other data, or compare two runs with jaxnet compare"
        )
    pool = design.splits.train
    networks = Networks(
        (current(model, recipe, balance=balance, loss=loss),),
        design.splits,
        design.fold_of,
        key,
        plan,
        None if out is None else Path(out),
        measure=measure_of(measure, pool if target is None else target.data, pool),
        target=target,
    )
    tolerance = networks.measure.tolerance(tolerance)
    course = run_rounds(
        networks,
        rounds,
        tolerance=tolerance,
        seeds=seeds,
        seconds=seconds,
        progress=progress or None,
    )
    last = course.rounds[-1]
    now, whole = last.networks.recipes[last.used], last.networks.whole(last.used)
    given, weights = handed_over(splits, whole.lesson, balance=now.balance)
    model, run = as_one(whole.model, whole.networks)
    reported = tuple(map(_round, course.rounds))
    return Advice(
        recipe=now.recipe,
        model=whole.model,
        splits=standardized_anew(given) if now.standardized else given,
        weights=weights,
        votes=now.votes,
        gain=course.gain,
        rounds=reported,
        tolerance=tolerance,
        trainings=course.trainings,
        regression=not splits.counted,
        measure=measure,
        notes=(
            *design.notes,
            *_notes_on_measure(networks),
            *(on_time(each, networks.measure.unit) for each in reported if each.shorter),
            *_notes(course, groups_of(pool)),
            *told(whole.lesson, pool),
            *([] if seconds is None else [f"to keep within {seconds:g} s, {NO_DATA}"]),
        ),
        test=test_error(model, run, splits, measure),
        more_data=None if seconds is not None else measure_more_data(course.rounds[0], None),
        networks=whole.networks,
        fold_networks=named_as(whole.model, course.fold_networks),
    )


def _round(found: Decided) -> Round:
    """What a round reports."""
    return Round(
        found.tried,
        found.best,
        found.adopted is not None,
        found.gains[found.best],
        found.error(),
        found.choice.detectable,
        found.findings,
        found.level,
    )


def test_error(model: Model, run: Run, splits: Splits, measure: str) -> Estimate | None:
    """Compute the error of a network on the test set; None where there are no labeled examples.

    Args:
        model: the model.
        run: the network.
        splits: the data.
        measure: as in `advise`.
    """
    test = splits.test
    if not is_labeled(test):
        return None
    if bool(run.diverged):
        return Estimate(float("nan"), refused="the saved network diverged")
    outputs = np.asarray(predict(model, run, np.asarray(test.x)))
    predicted = Predicted(outputs[None], np.asarray(test.y))
    judge = measure_of(measure, test, splits.train)
    losses = predicted.wrong if judge.zero_or_one else judge.losses(predicted)
    found = error_of_network(
        losses[0], test.groups, heavy_tails=judge.of_values, shares=judge.of_labels
    )
    return judge.mean(found)


def _notes_on_measure(networks: Networks) -> list[str]:
    """What gains are gains of, where that is not the error on the pool."""
    name, target, notes = networks.measure.name, networks.target, list[str]()
    sample = networks.splits.target_sample
    if name == "log_loss":
        notes.append("in the log loss, a probability of the label below 1e-6 counts as 1e-6")
    if name == "rmse":
        notes.append(
            "gains are differences of root mean squared errors, each over all networks of a "
            "recipe; the tolerance is in standard deviations of y"
        )
    if target is not None:
        chosen = int(target.chooses.sum())
        notes.append(
            "gains are measured on examples from where the networks will be used: "
            f"{chosen} of them chose, and {len(target.chooses) - chosen} others report"
        )
    elif sample is not None and len(sample):
        why = "has no labels" if not is_labeled(sample) else f"has {len(sample)} examples"
        cure = "labels" if not is_labeled(sample) else f"at least {FEWEST} examples, or groups"
        untried = "; ".join(each.words for each in REMEDIES[Code.MISMATCH])
        notes.append(
            f"the sample from where the networks will be used {why}, so what a change gains there "
            f"is not measured, and remedies for a difference from there were not tried: {untried}. "
            f"Give it {cure}"
        )
    return notes


def on_time(found: Round, unit: Unit) -> str:
    """Say what else helps in a round and takes less time to train.

    Args:
        found: the round, which adopted a change that takes longer.
        unit: how gains are said.
    """
    other, most = found.shorter, found.leader.cost
    assert other is not None
    return (
        f"{other.name} helps too, by {unit.difference(other.gain, found.level)}, and trains "
        f"{other.cost:.1f} times as long as the current recipe, not {most:.1f} times"
    )


def _notes(course: Course, group_of: Int[np.ndarray, " examples"] | None) -> list[str]:
    """How far the numbers can be trusted, by the simulations of experiments/benchmarks/advice.py.

    Args:
        course: the rounds.
        group_of: (examples,) group of each example, or None.
    """
    gain, last = course.gain, course.rounds[-1]
    unit, in_points = last.networks.measure.unit, last.networks.measure.zero_or_one
    detectable, seeds = course.rounds[0].choice.detectable, last.seeds
    notes = [
        *(words for each in course.rounds for words in each.notes),
        *([f"the rounds end here, since {course.why}"] if course.why else ()),
        "the gain is an average over networks: one network that is trained again may gain more or "
        "less",
    ]
    if gain.low > 0 and gain.estimate < detectable:
        notes.append(
            f"expect somewhat less than {unit.size(gain.estimate)}: small adopted gains are "
            f"overestimated, since a gain below {unit.size(detectable)} is adopted mostly when it "
            "was measured too large"
        )
    if seeds == 1:
        notes.append(
            "with one network per fold, the gain is overestimated if networks differ much"
            + ": by 0.6 points on average in simulations" * in_points
        )
    if group_of is not None and (groups := int(group_of.max()) + 1) < FEW_GROUPS:
        notes.append(
            f"with {groups} groups, the gain is overestimated if a recipe errs on whole groups"
            + ": by 0.5 points on average in simulations" * in_points
        )
    return notes

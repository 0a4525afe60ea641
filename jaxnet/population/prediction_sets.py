"""Prediction sets and limits of trained networks, calibrated on examples that they were not trained
on.
"""

import logging

import numpy as np
from jaxtyping import Array, Bool, Float, Num, Shaped

from jaxnet.core.run import Run
from jaxnet.data import Dataset, Splits
from jaxnet.engine import arguments, prediction
from jaxnet.errors import InputError, shown
from jaxnet.models.model import Model
from jaxnet.population import predictions
from jaxnet.population.predictions import predictions_of
from jaxnet.population.result import Population
from jaxnet.stats import conformal
from jaxnet.stats.conformal import Calibration
from jaxnet.typing import ArrayLike, Frame

logger = logging.getLogger("jaxnet")

Found = Bool[np.ndarray, "examples classes"] | Float[np.ndarray, "examples 2"]


def predict(
    model: Model,
    run: Run | Population,
    x: ArrayLike | Frame,
    *,
    coverage: float | None = None,
    splits: Splits | None = None,
    by_class: bool = False,
) -> Shaped[np.ndarray | Array, "..."]:
    """What a trained network, or each member of a population, predicts; with a coverage, the sets
    of classes that hold the label with that probability, or limits of values.

    One compiled program serves any number of examples. The sets are those of the vote of a
    population. They are calibrated on the training examples that members left out, where members
    have samples, else on the validation set; a network that was chosen on the validation set, by
    early stopping, looks slightly better there than it is. Where examples are grouped, the coverage
    is that of examples of new groups.

    Args:
        model: the model that was trained.
        run: one network, or a population whose members have one architecture.
        x: (examples, ...) inputs as in the data set; they are standardized here. For one network x
            may be a tracer, inside jit or vmap. If float32 could not hold the training data as they
            came, x must be float64, and is refused inside jit. Or a data frame, such as one of
            pandas or Polars: its columns are found by the names that the network learned from.
        coverage: the probability, such as 0.95, with which a set holds the label, on average over
            new examples like those of the data set; None for predictions.
        splits: the data that the networks were trained with, which a coverage takes.
        by_class: whether the coverage is that of the examples of each class, rather than of all.

    Returns:
        Log-probabilities (examples, classes), or values (examples,) in the units of y, which are
        float64 where float32 could not hold y. The predictions of a population have a leading axis
        of its members. They are NumPy arrays, except for a tracer. With a coverage: (examples,
        classes) booleans, which classes each set holds, where the logger "jaxnet" says how many
        sets are empty; or (examples, 2) lower and upper limits of values.

    Raises:
        InputError: for a model that is not the one of the run (another name, or parameters of other
            shapes), for x that is no numbers, or not finite as float32, or of another shape; and
            for a coverage without examples to calibrate with.

    References:
        Vovk 2015 (cross-conformal prediction); Barber, Candès, Ramdas & Tibshirani 2021 (limits);
        Lee, Barber & Willett 2023 (groups).
    """
    if coverage is not None:
        if splits is None:
            raise InputError(
                f"coverage is {shown(coverage)}, but splits is missing; give the data that the "
                "networks were trained with: predict(..., coverage=0.95, splits=splits)"
            )
        return with_coverage(model, run, x, coverage, splits, by_class=by_class)
    if splits is not None or by_class:
        raise InputError(
            "coverage is missing, which splits and by_class are for; give coverage=0.95"
        )
    return predictions.predict(model, run, x)


def with_coverage(
    model: Model,
    run: Run | Population,
    x: ArrayLike | Frame,
    coverage: float,
    splits: Splits,
    *,
    by_class: bool = False,
) -> Found:
    """Compute prediction sets or limits of one network, or of the vote of a population.

    They are calibrated on the training examples that members left out, where members have samples,
    else on the validation set.

    Args:
        model: the model that was trained.
        run: one network, or a population whose members have one architecture.
        x: (examples, ...) inputs, as for `predict`.
        coverage: the probability with which a set holds the label.
        splits: the data that the networks were trained with.
        by_class: as in `prediction_sets` of jaxnet/stats/conformal.py.

    Returns:
        (examples, classes) which classes each set holds, or (examples, 2) limits of values.

    Raises:
        InputError: for invalid arguments, and where there are no examples to calibrate with.
    """
    arguments.check(model=model, splits=splits)
    many = isinstance(run, Population)
    sound = _sound(run) if many else np.zeros(1, int)
    if many and run.samples is not None:
        arguments.check_in_memory(splits)
        y = prediction.check_labels(run.run, splits.train)
        if len(y) != run.samples.examples:
            raise InputError(
                f"splits has {len(y)} training examples, but the population was trained on "
                f"samples of {run.samples.examples}; give the splits that it was trained with"
            )
        kept = predictions_of([model], arguments.without_test(splits), run, seen=True)
        known = kept.unseen if kept.train is None else kept.train
        assert known is not None
        judged = ~np.stack([run.samples.seen(int(member)) for member in sound])
        calibration = _calibration(known[sound], judged, splits.train)
    else:
        if not len(splits.validation):
            raise InputError(
                "the data have no validation set to calibrate with; split them with one, or train "
                "a population whose members leave examples out, such as "
                "fit_population(..., resample=jaxnet.resampling.folds(...))"
            )
        prediction.check_labels(run.run if many else run, splits.validation)
        known = _of_members(predictions.predict(model, run, splits.validation.x), many)[sound]
        judged = np.ones(known.shape[:2], bool)
        calibration = _calibration(known, judged, splits.validation)
    new = _of_members(predictions.predict(model, run, x), many)[sound]
    return calibrated(calibration, new, coverage, splits, by_class=by_class)


def calibrated(
    calibration: Calibration,
    new: Num[np.ndarray, "networks examples *classes"],
    coverage: float,
    splits: Splits,
    *,
    by_class: bool = False,
) -> Found:
    """Compute prediction sets or limits, and say through the logger "jaxnet" which sets are empty
    and where too few examples are known.

    Args:
        calibration: what the networks predict for examples that they were not trained on.
        new: log-probabilities or values that the networks predict for new examples.
        coverage: the probability with which a set holds the label.
        splits: the data.
        by_class: whether it is the probability for the examples of each class.

    Returns:
        (examples, classes) which classes each set holds, or (examples, 2) limits of values.

    Raises:
        InputError: for a coverage that is none, and for values by class.
    """
    conformal.check_coverage(coverage)
    if splits.targets is not None:
        raise InputError(
            "prediction sets and limits are for one label or value of each example, and these have "
            f"several: {', '.join(splits.schema.target_names)}; train a network for one of them"
        )
    if splits.classes is None:
        if by_class:
            raise InputError("by_class is True, but these are values of a regression; leave it out")
        found = conformal.prediction_limits(calibration, new, coverage)
        said = conformal.remarks_on_limits(calibration, coverage)
    else:
        found = conformal.prediction_sets(
            calibration, probabilities(new), coverage, by_class=by_class
        )
        names = splits.classes if by_class else ()
        said = conformal.remarks(found, calibration, coverage, names)
    for words in said:
        logger.warning("%s", words)
    return found


def probabilities(log_probabilities: Num[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Compute probabilities of log-probabilities that are rounded as those that are kept, so that
    known and new examples are compared alike.

    Args:
        log_probabilities: of any shape.
    """
    with np.errstate(over="ignore"):  # below -65,504 is -inf
        kept = np.asarray(log_probabilities, np.float16)
    return np.exp(kept.astype(np.float32))


def _calibration(
    known: Num[np.ndarray, "networks examples *classes"],
    judged: Bool[np.ndarray, "networks examples"],
    examples: Dataset,
) -> Calibration:
    """What networks predict for the examples that at least one of them was not trained on."""
    usable = np.asarray(judged.any(0))
    if not usable.any():
        raise InputError(
            "every member was trained on all examples, so none is left to calibrate with; leave "
            "resample out, and calibrate on a validation set"
        )
    if lost := int((~usable).sum()):
        logger.warning(
            "%d of %d examples were left out by no network, and calibrate nothing",
            lost,
            len(usable),
        )
    y, rows = np.asarray(examples.y), np.arange(len(usable))
    values = np.empty(judged.shape)
    for member, own in enumerate(known):
        labels = own if examples.classes is None else probabilities(own[rows, y])
        values[member] = np.where(judged[member], labels, 0)
    groups = None if examples.groups is None else examples.groups[usable]
    return Calibration(values[:, usable], judged[:, usable], y[usable], groups)


def _of_members(found: np.ndarray | ArrayLike, many: bool) -> np.ndarray:
    """Predictions with a leading axis of members."""
    return np.asarray(found) if many else np.asarray(found)[None]


def _sound(population: Population) -> np.ndarray:
    """The numbers of the members that did not diverge."""
    sound = np.flatnonzero(~population.diverged)
    if not len(sound):
        raise InputError(
            f"all {len(population)} networks diverged, so they predict nothing; lower the learning "
            "rate, or set clip"
        )
    if lost := len(population) - len(sound):
        logger.warning("%d of %d networks diverged and are left out", lost, len(population))
    return sound

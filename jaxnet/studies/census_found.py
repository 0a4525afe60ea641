"""What the networks of a census show, computed from their predictions."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Num

from jaxnet import arrays
from jaxnet.data import Splits
from jaxnet.data.dataset import error_unit
from jaxnet.errors import InputError
from jaxnet.population.result import Population
from jaxnet.stats.bias_variance import MIN_LOG_PROBABILITY, bias_variance_decomposition
from jaxnet.stats.halves import error_of_halves
from jaxnet.studies.census_labels import labels_of_halves
from jaxnet.studies.census_result import Census
from jaxnet.studies.census_slices import findings_on_slices, slices_of
from jaxnet.studies.census_verify import Trainer
from jaxnet.studies.census_worth import findings_on_examples
from jaxnet.studies.label_errors import verdict_on_labels

MIN_SOUND = 16  # networks that must not have diverged


def found_by(
    population: Population,
    predictions: Num[np.ndarray, "networks pool *classes"],
    splits: Splits,
    training: int,
    trainer: Trainer,
    *,
    share: float,
    tolerance: float,
    notes: tuple[str, ...],
) -> Census:
    """Compute what the networks of a census show.

    Args:
        population: the networks; the last one was trained on the whole pool.
        predictions: of all networks on the pool.
        splits: the data, with the pool as their training set.
        training: the number of examples of the training set.
        trainer: how the networks were trained.
        share: of the pool that each network was trained on.
        tolerance: the smallest share of wrong labels that matters.
        notes: what was decided.

    Returns:
        The Census.

    Raises:
        InputError: where too many networks diverged.
    """
    members, train = len(population) - 1, splits.train
    assert population.samples is not None
    sound = np.flatnonzero(~population.diverged[:members])
    lost = members - len(sound)
    if len(sound) < MIN_SOUND:
        raise InputError(
            f"{lost} of {members} networks diverged, and at least {MIN_SOUND} that did not are "
            "needed; lower the learning rate, set clip, or give more members"
        )
    halves = np.stack([population.samples.seen(int(member)) for member in sound])
    kept = predictions[:members] if not lost else predictions[sound]
    wrong, losses, classes = _tables(kept, np.asarray(train.y), error_unit(train))
    if lost:
        notes = (*notes, f"{lost} of {members} networks diverged and are left out")
    decomposition = None
    if train.groups is None:
        regression = splits.classes is None
        decomposition = bias_variance_decomposition(
            np.asarray(kept, np.float64) / error_unit(train) ** 0.5 if regression else classes,
            np.asarray(train.y) / error_unit(train) ** 0.5 if regression else np.asarray(train.y),
            loss="squared" if regression else "zero_one_kohavi_wolpert",
            design="fresh",
            seen=halves,
        )
    else:
        notes = (
            *notes,
            "examples are grouped, so the error is not decomposed into bias and variance",
        )
    labels, noise = None, ()
    if splits.classes is not None:
        labels = labels_of_halves(kept, np.asarray(train.y), halves, sound // 2, slice(0, training))
        if labels.doubt is not None:
            notes = (*notes, labels.doubt)
        noise = verdict_on_labels(labels.easy_share, len(train), tolerance)[1]
    found = Census(
        splits=splits,
        training=training,
        share=share,
        examples=float(halves.sum(1).mean()),
        unseen=error_of_halves(wrong, ~halves, train.groups),
        seen=error_of_halves(wrong, halves, train.groups),
        decomposition=decomposition,
        halves=halves,
        predictions=kept,
        wrong=wrong,
        losses=losses,
        diverged=lost,
        labels=labels,
        findings=noise,
        notes=notes,
        population=population,
        trainer=trainer,
    )
    found = replace(found, slices=slices_of(found))
    more = (*findings_on_examples(found, tolerance), *findings_on_slices(found, tolerance))
    return replace(found, findings=(*noise, *more))


def _tables(
    predictions: Num[np.ndarray, "networks pool *classes"], y: Num[np.ndarray, " pool"], unit: float
) -> tuple[np.ndarray, Float[np.ndarray, "networks pool"], np.ndarray]:
    """Read the predictions one network at a time: (which are wrong, or squared errors; losses; the
    predicted classes).
    """
    shape, of_classes = predictions.shape[:2], predictions.ndim == 3
    losses = np.empty(shape, np.float32)
    if not of_classes:
        for member, each in enumerate(predictions):
            losses[member] = (np.asarray(each, np.float64) - y) ** 2 / unit
            _check_numbers(np.isfinite(losses[member]))
        return losses, losses, losses
    classes, rows = np.empty(shape, np.int16), np.arange(len(y))
    for member, each in enumerate(predictions):
        own = np.asarray(each, np.float32)
        _check_numbers(np.asarray(~np.isnan(own).any(1)))
        classes[member] = arrays.chosen(own)
        losses[member] = -np.maximum(own[rows, y], MIN_LOG_PROBABILITY)
    return arrays.wrong(classes, y), losses, classes


def _check_numbers(found: Bool[np.ndarray, " pool"]) -> None:
    """Refuse an example for which a network that did not diverge outputs no number."""
    if not found.all():
        row = int(np.flatnonzero(~found)[0])
        raise InputError(
            f"a network outputs no finite number for example {row} of the pool, though its "
            "training did not diverge; check whether inputs of this example are far from all "
            "others, and correct them or leave it out"
        )

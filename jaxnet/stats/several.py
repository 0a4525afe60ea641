"""Scores of several yes/no labels, or of several values, of each example: of each one alone, and of
all together.

Whatever is told of all together is a mean over them for each example, so that examples, and groups
of them, stay the independent units of every interval.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from jaxnet import display
from jaxnet.stats.cross_fitting import POOL_LUCK
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.stats.random_effects import POSITIVE, RATE
from jaxnet.stats.scores import (
    ClassScores,
    Guess,
    Judge,
    ValueScores,
    folds_of,
    loss_table,
    mean_outside,
    root_of,
    scores_of_classes,
    scores_of_values,
)
from jaxnet.typing import ArrayLike

SMALLEST = float(np.finfo(np.float32).tiny)  # a probability, whose logarithm is finite


@dataclass(frozen=True)
class LabelScores:
    """Scores of several yes/no labels.

    Attributes:
        log_loss: mean of -log(probability of the right answer) over examples and labels, in nats.
        auc: mean over labels of the area under the ROC curve.
        guesses: always the more frequent training answer of each label.
        labels: the scores of each label alone, of the classes no and yes.
        names: the name of each label.
    """

    log_loss: Estimate
    auc: Estimate
    guesses: tuple[Guess, ...]
    labels: tuple[ClassScores, ...]
    names: tuple[str, ...] = ()

    __repr__ = display.text


Scores = ClassScores | LabelScores | ValueScores


def yes_or_no(
    log_probabilities: Float[np.ndarray, "... labels"],
) -> Float[np.ndarray, "... labels 2"]:
    """Log-probabilities of no and yes.

    Args:
        log_probabilities: (..., labels) of yes.

    Returns:
        (..., labels, 2).
    """
    yes = np.minimum(log_probabilities.astype(np.float64), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([np.log(np.maximum(-np.expm1(yes), SMALLEST)), yes], -1)


def wrong_answers(
    log_probabilities: Float[np.ndarray, "... examples labels"],
    y: Int[np.ndarray, "examples labels"],
) -> Bool[np.ndarray, "... examples labels"]:
    """Which answers are wrong: yes where its probability is above one half. What is not a number is
    wrong.

    Args:
        log_probabilities: (..., examples, labels) of yes.
        y: (examples, labels) 1 for yes, 0 for no.
    """
    with np.errstate(invalid="ignore"):
        said = log_probabilities > math.log(0.5)
    return (said != (y == 1)) | np.isnan(log_probabilities)


def scores_of_labels(
    log_probabilities: Float[np.ndarray, "... examples labels"],
    y: Int[np.ndarray, "examples labels"],
    *,
    seen: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    guess: Bool[np.ndarray, " labels"] | None = None,
    pools: bool = False,
    level: float = LEVEL,
) -> LabelScores:
    """Compute scores of several yes/no labels with their intervals.

    Args:
        log_probabilities: ([networks,] examples, labels) of yes.
        y: (examples, labels) 1 for yes, 0 for no.
        seen: as in `class_scores`.
        groups: as there.
        guess: (labels,) the answer that is always guessed; by default the more frequent one among
            the examples that the networks of a fold have seen, and without `seen` of these.
        pools: as there.
        level: confidence level of the intervals.

    Returns:
        The scores.
    """
    f = log_probabilities.reshape(-1, *y.shape)
    wrong = wrong_answers(f, y).astype(np.float64)
    lost = np.isnan(f).any((1, 2))
    if not lost.all():
        wrong[lost] = math.nan
    both = yes_or_no(f)
    labels = tuple(
        scores_of_classes(
            wrong[..., j],
            y[:, j],
            2,
            both[:, :, j],
            seen=seen,
            groups=groups,
            guess=None if guess is None else int(guess[j]),
            pools=pools,
            level=level,
        )
        for j in range(y.shape[1])
    )
    table, left_out = loss_table(wrong.mean(-1), seen, groups, largest=1.0)
    judge = Judge(replace(table, within=RATE), POOL_LUCK if pools else 1.0, level)
    f, both = np.delete(f, left_out, 0), np.delete(both, left_out, 0)
    losses = -np.take_along_axis(both, y[None, ..., None], -1)[..., 0]
    auc = Estimate(math.nan, refused=f"{int(np.isnan(f).any(2).sum())} predictions are not numbers")
    if not np.isnan(f).any():
        auc = judge.mean_auc([(f[..., j], y[:, j] == 1) for j in range(y.shape[1])]).complement()
    if guess is None:
        shares = np.stack([mean_outside(y, fold, table.folds) for fold in folds_of(table)])
        guess = shares[table.fold_of] > 0.5
    guessed = (guess != (y == 1)).mean(-1)
    return LabelScores(
        log_loss=judge.mean_of(losses.mean(-1), heavy_tails=False),
        auc=auc,
        guesses=(
            judge.against("the more frequent training answer of each label", guessed, 1, RATE),
        ),
        labels=labels,
    )


def scores_of_several_values(
    f: Float[np.ndarray, "..."],
    y: Num[np.ndarray, "examples outputs"],
    *,
    seen: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    guess: Float[np.ndarray, " outputs"] | None = None,
    previous: Float[np.ndarray, "examples outputs"] | None = None,
    scale: Float[np.ndarray, " outputs"] | None = None,
    pools: bool = False,
    level: float = LEVEL,
) -> ValueScores:
    """Compute scores of several values of each example with their intervals.

    Args:
        f: ([networks,] examples, outputs) predictions.
        y: (examples, outputs) the values.
        seen: as in `value_scores`.
        groups: as there.
        guess: (outputs,) what is always guessed.
        previous: (examples, outputs) in ordered data, the values before each example.
        scale: (outputs,) standard deviations of the training values; by default of these.
        pools: as there.
        level: confidence level of the intervals.

    Returns:
        The scores of all together, in units of the scales, which hold those of each output.
    """
    f, y = f.reshape(-1, *y.shape).astype(np.float64), y.astype(np.float64)
    unit = np.where((spread := y.std(0)) > 0, spread, 1.0) if scale is None else scale
    named = {"seen": seen, "groups": groups, "pools": pools, "level": level}
    each = tuple(
        scores_of_values(
            f[..., j],
            y[:, j],
            guess=None if guess is None else float(guess[j]),
            previous=None if previous is None else previous[:, j],
            scale=float(unit[j]),
            **named,  # pyrefly: ignore[bad-argument-type]
        )
        for j in range(y.shape[1])
    )
    off = np.abs(f - y) / unit
    table, left_out = loss_table((off**2).mean(-1), seen, groups)
    off = np.delete(off, left_out, 0)
    judge = Judge(table, POOL_LUCK if pools else 1.0, level)
    if guess is None:
        means = np.stack([mean_outside(y, fold, table.folds) for fold in folds_of(table)])
        guess = means[table.fold_of]
    tries = {"the training mean": guess}
    if previous is not None:
        tries["the value before"] = previous
    guesses = [
        judge.against(name, (((tried - y) / unit) ** 2).mean(-1), len(tries), POSITIVE)
        for name, tried in tries.items()
    ]
    squares = off**2
    whole = (y - y.mean(0)) ** 2 / unit**2
    return ValueScores(
        rmse=root_of(judge.mean_of(squares.mean(-1)), 1.0),
        mae=judge.mean_of(off.mean(-1)),
        median_absolute_error=judge.median_of(off.mean(-1)),
        r2=judge.mean_share_of(np.moveaxis(squares, -1, 0), whole.T).complement(),
        guesses=tuple(replace(one, rmse=root_of(one.error, 1.0)) for one in guesses),
        outputs=each,
    )


def mean_r_squared(
    squares: Float[np.ndarray, "examples outputs"],
    values: Float[np.ndarray, "examples outputs"],
    scale: Float[np.ndarray, " outputs"],
    groups: ArrayLike | None = None,
) -> Estimate:
    """Compute the mean over outputs of R^2 of one network with its interval.

    Args:
        squares: (examples, outputs) squared errors over scale^2.
        values: (examples, outputs) the values.
        scale: (outputs,) what the errors were divided by.
        groups: (examples,) the group of each example, or None.
    """
    y = np.asarray(values, np.float64)
    if not len(y):
        return Estimate(math.nan, refused="no examples; at least 1 is needed")
    table, _ = loss_table(squares.mean(1)[None], None, groups)
    judge = Judge(table, 1.0, LEVEL)
    whole = (y - y.mean(0)) ** 2 / scale**2
    return judge.mean_share_of(squares.T[:, None], whole.T).complement()

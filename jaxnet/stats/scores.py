"""Scores besides the error: balanced accuracy, recall, log-loss and AUC of classes; RMSE, mean and
median absolute error and R^2 of values; and what a network gains over always guessing.

Each score is of one or several networks on examples that none has seen, or of cross-fitted networks
on the examples of their pool that they have not seen. A score that is no mean over examples is
written as one: with the influence psi of each loss on it (linearization), the values (score + psi)
have the score as their mean, and the variance of that mean is the variance of the score to first
order. So groups, networks of one fold and folds count as they do for an error (cross_fitting.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from jaxnet import arrays, display
from jaxnet.errors import InputError
from jaxnet.stats.comparison import network_difference
from jaxnet.stats.cross_fitting import (
    MIN_GROUPS,
    POOL_LUCK,
    Contrast,
    CrossFit,
    cross_fit,
    group_codes,
    limits,
)
from jaxnet.stats.estimate import LEVEL, Estimate, mean, wilson
from jaxnet.stats.random_effects import (
    MIN_RATE_EXAMPLES,
    POSITIVE,
    RATE,
    SIGNED,
    exact_limits,
    t_quantile,
)
from jaxnet.typing import ArrayLike

MAX_AUC_CLASSES = 100  # ranking the examples once for each class takes too long beyond
# A network that lowers the error of always guessing by less than this share is no better.
SMALLEST_GAIN = 0.1
MISS = 0.05  # how often a network that is better may be called no better

# The name of each score in words, and whether it is a percentage.
SCORES = {
    "balanced_accuracy": ("balanced accuracy", True),
    "auc": ("AUC", False),
    "log_loss": ("log-loss, nats", False),
    "rmse": ("RMSE", False),
    "mae": ("mean absolute error", False),
    "median_absolute_error": ("median absolute error", False),
    "r2": ("R²", False),
}

Block = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]


@dataclass(frozen=True)
class Guess:
    """Always the same guess, and what a network gains over it on the same examples.

    Attributes:
        name: the guess in words, such as "the most frequent training class".
        error: error of the guess: the share of wrong ones, or the mean squared error over the
            variance of the values.
        gain: error of the guess minus error of the network, paired by example.
        at_most: upper limit of the gain, which a larger one exceeds with a probability of 5%.
        rmse: root mean squared error of the guess, in the units of the values; None for classes.
    """

    name: str
    error: Estimate
    gain: Estimate
    at_most: float
    rmse: Estimate | None = None

    __repr__ = display.text

    def no_better(self, tolerance: float) -> bool:
        """Whether the network is shown to be no better than the guess.

        It is where its gain is below the tolerance and below a tenth of the guess's error, with 95%
        certainty, and is not shown to be above 0. The tenth is for rare classes: where 1% of the
        labels are positive, the whole gain of a perfect network is 1%.

        Args:
            tolerance: the smallest difference that matters, on the scale of the error.
        """
        least = min(tolerance, SMALLEST_GAIN * self.error.estimate)
        return self.at_most <= least and not self.gain.low > 0


@dataclass(frozen=True)
class ClassScores:
    """Scores of predicted classes.

    Attributes:
        balanced_accuracy: mean of the recalls of the classes that occur.
        recall: share of the examples of each class that are predicted as it; NaN for a class that
            does not occur.
        log_loss: mean of -log(probability of the label), in nats.
        auc: area under the ROC curve: how often an example of a class gets a higher probability of
            it than an example of another class. For more than two classes it is the mean over
            classes against the rest. For cross-fitted networks it is computed within each fold,
            since probabilities of different networks do not compare, and averaged.
        guesses: always the most frequent training class.
    """

    balanced_accuracy: Estimate
    recall: tuple[Estimate, ...]
    log_loss: Estimate
    auc: Estimate
    guesses: tuple[Guess, ...]

    __repr__ = display.text


@dataclass(frozen=True)
class ValueScores:
    """Scores of predicted values.

    Attributes:
        rmse: root mean squared error, in the units of the values.
        mae: mean absolute error, in the units of the values.
        median_absolute_error: half of the errors of all networks are smaller; in the units of the
            values. Rare, large errors do not change it.
        r2: 1 - mean squared error / variance of these values.
        guesses: always the training mean; in ordered data also the value before.
        outputs: where each example has several values, the scores of each alone. The others are
            then of all together: errors are in units of the spread of each value in training, and
            R^2 is the mean.
        names: the name of each of these values.
    """

    rmse: Estimate
    mae: Estimate
    median_absolute_error: Estimate
    r2: Estimate
    guesses: tuple[Guess, ...]
    outputs: tuple["ValueScores", ...] = ()
    names: tuple[str, ...] = ()

    __repr__ = display.text


def class_scores(
    log_probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    seen: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    guess: int | None = None,
    pools: bool = False,
    level: float = LEVEL,
) -> ClassScores:
    """Compute scores of predicted classes with their intervals.

    Args:
        log_probabilities: (examples, classes) of one network, or (networks, examples, classes) of
            several; any scores will do for all but the log-loss.
        labels: (examples,) class numbers.
        seen: (networks, examples) which examples each cross-fitted network was trained on; None
            where no network has seen any. Intervals of several networks are then for new ones too.
        groups: (examples,) the group of each example, such as its patient.
        guess: the class that is always guessed; by default the most frequent one among the examples
            that the networks of a fold have seen, and without `seen` among these examples.
        pools: for cross-fitted networks, whether the intervals are for other pools of examples too,
            that is for the recipe; else for these networks. What a pool's share of a rare class
            does to all networks alike is invisible in one pool: recall and balanced accuracy of the
            recipe were held in 86 to 89% of simulated pools with 10% positive examples, everything
            else in 94 to 100% (experiments/benchmarks/score_coverage.py).
        level: confidence level of the intervals.

    Returns:
        The scores.

    Raises:
        InputError: for arrays that do not fit together, and examples left out that are not folds.

    References:
        DeLong, DeLong & Clarke-Pearson 1988 (AUC); Woodruff 1971 (the mean of recalls, which are
        ratios of means).
    """
    f = arrays.array("log_probabilities", log_probabilities, arrays.MEMBER_AXES)
    dimensions = (2, 3) if seen is None else (3,)
    if f.dtype.kind != "f" or f.ndim not in dimensions or 0 in f.shape:
        wanted = f"({'[networks, ]' if seen is None else 'networks, '}examples, classes)"
        raise InputError(
            f"log_probabilities have shape {f.shape} and type {f.dtype}; give floats, {wanted}"
        )
    f = f.reshape(-1, *f.shape[-2:])
    y = arrays.labels("labels", labels, f.shape[1], f.shape[2])
    wrong = arrays.wrong(f, y).astype(np.float64)
    lost = np.isnan(f).any((1, 2))
    if not lost.all():  # a network that predicts NaN is left out
        wrong[lost] = math.nan
    if guess is not None:
        guess = int(arrays.labels("guess", [guess], 1, f.shape[2])[0])
    return scores_of_classes(
        wrong, y, f.shape[2], f, seen=seen, groups=groups, guess=guess, pools=pools, level=level
    )


def scores_of_classes(
    wrong: Float[np.ndarray, "networks examples"],
    y: Int[np.ndarray, " examples"],
    classes: int,
    f: Float[np.ndarray, "networks examples classes"] | None = None,
    *,
    seen: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    guess: int | None = None,
    pools: bool = False,
    level: float = LEVEL,
) -> ClassScores:
    """Compute the same from which predictions are wrong; NaN everywhere in a row stands for a
    network that is left out. Without log-probabilities `f`, log-loss and AUC are refused.
    """
    table, left_out = loss_table(wrong, seen, groups, largest=1.0)
    judge = Judge(replace(table, within=RATE), POOL_LUCK if pools else 1.0, level)
    counts = np.bincount(y, minlength=classes)
    if guess is None:
        outside = counts - np.stack([_counts(y, fold, classes) for fold in folds_of(table)])
        guessed = (counts[None] if table.folds == 1 else outside).argmax(1)[table.fold_of]
    else:
        guessed = np.full(len(y), guess)
    log_loss = auc = Estimate(math.nan, refused="it takes probabilities of the classes")
    if f is not None:
        f = np.delete(f, left_out, 0)
        losses = -np.take_along_axis(f, y[None, :, None], 2)[..., 0].astype(np.float64)
        log_loss = judge.mean_of(losses, heavy_tails=False)
        auc = judge.auc(f, y, counts).complement()
    return ClassScores(
        balanced_accuracy=judge.balanced(y, counts).complement(),
        recall=tuple(
            judge.of_class(y == c, int(count)).complement() for c, count in enumerate(counts)
        ),
        log_loss=log_loss,
        auc=auc,
        guesses=(judge.against("the most frequent training class", guessed != y, 1, RATE),),
    )


def value_scores(
    predictions: ArrayLike,
    values: ArrayLike,
    *,
    seen: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    guess: float | None = None,
    previous: ArrayLike | None = None,
    scale: float | None = None,
    pools: bool = False,
    level: float = LEVEL,
) -> ValueScores:
    """Compute scores of predicted values with their intervals.

    Args:
        predictions: (examples,) of one network, or (networks, examples) of several.
        values: (examples,) the values.
        seen: as in `class_scores`.
        groups: as there.
        guess: the value that is always guessed; by default the mean of the examples that the
            networks of a fold have seen, and without `seen` of these examples.
        previous: (examples,) in ordered data, the value that was known before each example, which
            is a second guess.
        scale: standard deviation of the training values; errors of guesses are divided by its
            square. By default that of these values.
        pools: as in `class_scores`.
        level: confidence level of the intervals.

    Returns:
        The scores.

    Raises:
        InputError: for arrays that do not fit together, and examples left out that are not folds.

    References:
        Woodruff 1971 (R^2, a ratio of means); Woodruff 1952 (the median of several networks, and of
        groups).
    """
    f = arrays.array("predictions", predictions, arrays.MEMBER_AXES)
    if seen is None:
        f = arrays.numbers("predictions", f, arrays.MEMBER_AXES[-max(1, f.ndim) :])
    dimensions = (1, 2) if seen is None else (2,)
    if f.dtype.kind not in "fiu" or f.ndim not in dimensions or 0 in f.shape:
        wanted = f"({'[networks, ]' if seen is None else 'networks, '}examples)"
        raise InputError(
            f"predictions have shape {f.shape} and type {f.dtype}; give numbers, {wanted}"
        )
    y = _values("values", values, f.shape[-1])
    before = None if previous is None else _values("previous", previous, len(y))
    return scores_of_values(
        f,
        y,
        seen=seen,
        groups=groups,
        guess=guess,
        previous=before,
        scale=scale,
        pools=pools,
        level=level,
    )


def scores_of_values(
    f: Float[np.ndarray, "..."],
    y: Float[np.ndarray, " examples"],
    *,
    seen: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    guess: float | None = None,
    previous: Float[np.ndarray, " examples"] | None = None,
    scale: float | None = None,
    pools: bool = False,
    level: float = LEVEL,
) -> ValueScores:
    """Compute the same from predictions that may be anything, as those of a network that diverged:
    its scores are refused.
    """
    f, y = f.reshape(-1, len(y)).astype(np.float64), y.astype(np.float64)
    spread = float(y.var())
    unit = scale if scale is not None else math.sqrt(spread) or 1.0
    squares = ((f - y) / unit) ** 2
    table, left_out = loss_table(squares, seen, groups)
    f, squares = np.delete(f, left_out, 0), np.delete(squares, left_out, 0)
    judge = Judge(table, POOL_LUCK if pools else 1.0, level)
    if guess is None:
        means = np.array([mean_outside(y, fold, table.folds) for fold in folds_of(table)])
        guessed = means[table.fold_of]
    else:
        guessed = np.full(len(y), float(guess))
    tries = {"the training mean": guessed}
    if previous is not None:
        tries["the value before"] = previous
    guesses = [
        judge.against(name, ((each - y) / unit) ** 2, len(tries), POSITIVE)
        for name, each in tries.items()
    ]
    return ValueScores(
        rmse=root_of(judge.mean_of(squares), unit),
        mae=judge.mean_of(np.abs(f - y)),
        median_absolute_error=judge.median_of(np.abs(f - y)),
        r2=judge.share_of(squares, (y - y.mean()) ** 2 / unit**2).complement(),
        guesses=tuple(replace(each, rmse=root_of(each.error, unit)) for each in guesses),
    )


def r_squared(
    squares: Float[np.ndarray, " examples"],
    values: ArrayLike,
    scale: float,
    groups: ArrayLike | None = None,
) -> Estimate:
    """Compute R^2 of one network with its interval.

    Args:
        squares: (examples,) squared errors over scale^2.
        values: (examples,) the values.
        scale: what the errors were divided by.
        groups: (examples,) the group of each example, or None.
    """
    y = np.asarray(values, np.float64)
    if not len(y):
        return Estimate(math.nan, refused="no examples; at least 1 is needed")
    table, _ = loss_table(np.asarray(squares, np.float64)[None], None, groups)
    judge = Judge(table, 1.0, LEVEL)
    return judge.share_of(table.losses, (y - y.mean()) ** 2 / scale**2).complement()


def area_under_curve(
    scores: Float[np.ndarray, " examples"], positive: Bool[np.ndarray, " examples"]
) -> float:
    """Compute how often a positive example has a higher score than another; ties count half.

    Args:
        scores: (examples,) the larger, the more likely is the class.
        positive: (examples,) which examples are of the class.

    Returns:
        The area under the ROC curve; NaN where all examples or none are positive, and where a score
        is not a number.
    """
    if positive.all() or not positive.any() or np.isnan(scores).any():
        return math.nan
    return float(_share_below(np.sort(scores[~positive]), scores[positive]).mean())


def median_error(
    errors: Float[np.ndarray, "*networks examples"],
    groups: ArrayLike | None = None,
    *,
    seen: ArrayLike | None = None,
) -> Estimate:
    """Compute the median absolute error of networks on examples that they have not seen.

    Args:
        errors: (examples,) absolute errors of one network, or (networks, examples) of several.
        groups: (examples,) the group of each example, or None.
        seen: (networks, examples) which examples each cross-fitted network was trained on, or None.
    """
    errors = np.asarray(errors, np.float64).reshape(-1, np.shape(errors)[-1])
    if not errors.size:
        return Estimate(math.nan, refused="no examples; at least 1 is needed")
    table, _ = loss_table(errors, seen, groups)
    return Judge(table, 1.0, LEVEL).median_of(table.losses)


@dataclass(frozen=True)
class Judge:
    """What judges scores: the losses of networks, who has seen what, and which examples belong
    together.

    Attributes:
        table: the losses; whether predictions are wrong for classes, squared errors for values.
        factor: what variances are multiplied by; 1 for these networks.
        level: confidence level of the intervals.
    """

    table: CrossFit
    factor: float
    level: float

    @property
    def simple(self) -> bool:
        """Whether one network is judged on independent examples."""
        table = self.table
        return table.folds == 1 and table.group_of is None and len(table.losses) == 1

    def interval(
        self,
        given: Contrast,
        within: tuple[float, float],
        most: float = math.inf,
        *,
        heavy_tails: bool = True,
    ) -> Estimate:
        """Compute the interval of a mean; arguments are those of `limits`."""
        table = replace(self.table, within=within, heavy_tails=heavy_tails)
        if reason := table.refusal(given):
            return Estimate(given.estimate, refused=reason)
        if len(given.values) < MIN_GROUPS:
            return Estimate(
                given.estimate,
                refused=f"{len(given.values)} examples are too few for an interval; at least "
                f"{MIN_GROUPS} are needed",
            )
        factor = self.factor if self.table.folds > 1 else 1.0
        low, high = limits(
            given,
            *given.variance_of_pools(factor),
            within,
            self.level,
            most=most,
            heavy_tails=heavy_tails,
        )
        return Estimate(
            given.estimate,
            min(low, given.estimate),
            max(high, given.estimate),
            caution=table.caution(given),
        )

    def unseen(self, values: Float[np.ndarray, "networks examples"]) -> Contrast:
        """The mean of values of each network on the examples that it has not seen."""
        return replace(self.table, losses=values).contrast(1.0, 0.0)

    def mean_of(
        self, losses: Float[np.ndarray, "networks examples"], *, heavy_tails: bool = True
    ) -> Estimate:
        """Compute the mean of losses without an upper bound."""
        if refused := _not_finite(losses):
            return refused
        if self.simple:
            return mean(losses[0], self.level, heavy_tails=heavy_tails)
        return self.interval(self.unseen(losses), POSITIVE, heavy_tails=heavy_tails)

    def median_of(self, errors: Float[np.ndarray, "networks examples"]) -> Estimate:
        """Compute the median of errors of networks on examples that they have not seen.

        The limits are values of the errors between whose ranks the share below the median lies: for
        one network and independent examples by the binomial distribution, else as the interval of
        the share of errors up to the median says.
        """
        if refused := _not_finite(errors):
            return refused
        table, n = self.table, errors.shape[1]
        used = table.fold_of_network[:, None] == table.fold_of
        weights = (used / used.sum(0))[used]
        values = errors[used]
        order = np.argsort(values, kind="stable")
        values, shares = values[order], np.cumsum(weights[order]) / n
        at = [int(np.searchsorted(shares, share)) for share in (0.5 - 1e-9, 0.5 + 1e-9)]
        center = float(values[np.minimum(at, len(values) - 1)].mean())
        if self.simple:
            return _median_by_ranks(values, center, self.level)
        share = self.interval(self.unseen((errors <= center).astype(np.float64)), RATE)
        if share.refused:
            return replace(share, estimate=center)
        reach = max(share.high - share.estimate, share.estimate - share.low)
        low = np.searchsorted(shares, 0.5 - reach)
        high = min(int(np.searchsorted(shares, 0.5 + reach)), len(values) - 1)
        return Estimate(center, min(center, float(values[low])), max(center, float(values[high])))

    def of_class(self, rows: Bool[np.ndarray, " examples"], count: int) -> Estimate:
        """Compute how often examples of a class are predicted wrongly."""
        if not count:
            return Estimate(math.nan, refused="no example is of this class")
        if self.simple:
            return wilson(int(self.table.losses[0][rows].sum()), count, self.level)
        return self.interval(self.rows(rows), RATE, float(count))

    def rows(self, rows: Bool[np.ndarray, " examples"]) -> Contrast:
        """The mean of the losses on some of the examples."""
        return self.table.contrast(1.0, 0.0, more=np.where(rows, 0.0, math.nan))

    def balanced(
        self, y: Int[np.ndarray, " examples"], counts: Int[np.ndarray, " classes"]
    ) -> Estimate:
        """Compute the mean over classes of their errors.

        A class without a mistake, or with nothing else, shows no variance. It counts with that of
        one more mistake, and one more right prediction, in its units (Laplace's estimate).
        """
        present, n = np.flatnonzero(counts), len(y)
        weights = n / (len(present) * counts[y].astype(np.float64))
        unseen = np.bincount(y, self.table.unseen, len(counts)) / np.maximum(counts, 1)
        center = float(unseen[present].mean())
        given = self.unseen(center + weights * (self.table.losses - unseen[y]))
        more = 0.0
        for c in present[(unseen[present] == 0) | (unseen[present] == 1)]:
            units = len(self.rows(y == c).values)
            rate = 1 / (units + 2)
            more += rate * (1 - rate) / units / len(present) ** 2
        if 0 < center < 1:
            given = replace(given, own=given.own + more, between=given.between + more)
        return self.interval(given, RATE, float(len(present) * counts[present].min()))

    def share_of(
        self, losses: Float[np.ndarray, "networks examples"], whole: Float[np.ndarray, " examples"]
    ) -> Estimate:
        """Compute the ratio of the mean of losses to the mean of `whole` on the same examples."""
        if not whole.any():
            return Estimate(math.nan, refused="all values are equal; R^2 needs values that differ")
        if refused := _not_finite(losses):
            return refused
        unseen, losses_mean = self.unseen(losses), self.mean_of(losses)
        ratio = unseen.estimate / float(whole.mean())
        if losses_mean.refused is not None:
            return Estimate(ratio, refused=losses_mean.refused)
        found = self.interval(
            self.unseen(ratio + (losses - ratio * whole) / float(whole.mean())), POSITIVE
        )
        return replace(found, caution=losses_mean.caution)

    def mean_share_of(
        self,
        losses: Float[np.ndarray, "outputs networks examples"],
        whole: Float[np.ndarray, "outputs examples"],
    ) -> Estimate:
        """Compute the mean over outputs of `share_of`."""
        if not whole.any(1).all():
            return Estimate(
                math.nan, refused="all values of an output are equal; R^2 needs values that differ"
            )
        if refused := _not_finite(losses):
            return refused
        ratios = [
            self.unseen(mine).estimate / float(all_.mean())
            for mine, all_ in zip(losses, whole, strict=True)
        ]
        together = self.mean_of(losses.mean(0))
        if together.refused is not None:
            return Estimate(float(np.mean(ratios)), refused=together.refused)
        values = [
            ratio + (mine - ratio * all_) / float(all_.mean())
            for ratio, mine, all_ in zip(ratios, losses, whole, strict=True)
        ]
        found = self.interval(self.unseen(np.mean(values, 0)), POSITIVE)
        return replace(found, caution=together.caution)

    def auc(
        self,
        f: Float[np.ndarray, "networks examples classes"],
        y: Int[np.ndarray, " examples"],
        counts: Int[np.ndarray, " classes"],
    ) -> Estimate:
        """Compute 1 - AUC: how often an example of another class gets the higher score."""
        if lost := int(np.isnan(f).any(2).sum()):
            return Estimate(math.nan, refused=f"{lost} predictions are not numbers")
        if len(counts) > MAX_AUC_CLASSES:
            return Estimate(
                math.nan, refused=f"it is not computed for more than {MAX_AUC_CLASSES} classes"
            )
        present = [c for c in ((1,) if len(counts) == 2 else range(len(counts))) if counts[c]]
        return self.mean_auc([(_scores_of(f, c), y == c) for c in present])

    def mean_auc(
        self,
        questions: Sequence[
            tuple[Float[np.ndarray, "networks examples"], Bool[np.ndarray, " examples"]]
        ],
    ) -> Estimate:
        """Compute the mean of 1 - AUC over questions, each of scores and of what is positive."""
        table = self.table
        blocks = [
            (np.flatnonzero(table.fold_of_network == k), fold)
            for k, fold in enumerate(folds_of(table))
        ]
        found = [_ranked_wrongly(scores, positive, blocks) for scores, positive in questions]
        found = [each for each in found if each is not None]
        if not found:
            return Estimate(math.nan, refused="it takes examples of two classes in one fold")
        fewest = min(least for _, least in found)
        values = np.mean([values for values, _ in found], 0)
        given = self.unseen(values)
        if fewest < MIN_GROUPS:
            return Estimate(
                given.estimate,
                refused=f"{fewest} examples of a class are too few for an interval; at least "
                f"{MIN_GROUPS} are needed",
            )
        return self.interval(given, RATE, 2.0 * len(found) * fewest)

    def against(
        self,
        name: str,
        guessed: Bool[np.ndarray, " examples"] | Float[np.ndarray, " examples"],
        guesses: int,
        within: tuple[float, float],
    ) -> Guess:
        """Compare the networks with a guess, from its losses. `guesses`: how many are compared."""
        losses = np.asarray(guessed, np.float64)
        one = replace(
            self.table,
            losses=losses[None],
            fold_of_network=np.zeros(1, np.int64),
            fold_of=np.zeros(len(losses), np.int64),
        )
        most = float(len(losses)) if within == RATE else math.inf
        error = replace(self, table=one).interval(one.contrast(1.0, 0.0), within, most)
        return Guess(
            name,
            error,
            self.difference(losses, within, self.level),
            self.difference(losses, within, 1 - 2 * MISS / guesses).high,
        )

    def difference(
        self, guessed: Float[np.ndarray, " examples"], within: tuple[float, float], level: float
    ) -> Estimate:
        """Compute the loss of a guess minus that of the networks."""
        if self.simple and within == RATE and all_or_nothing(guessed, self.table.losses):
            return network_difference(guessed == 1, self.table.losses[0] == 1, level)
        if refused := _not_finite(self.table.losses):
            return refused
        table = replace(self.table, losses=guessed - self.table.losses, within=SIGNED)
        given = table.contrast(1.0, 0.0)
        if reason := table.refusal(given, signed=True):
            return Estimate(given.estimate, refused=reason)
        variance, freedom = given.variance_of_pools(self.factor if table.folds > 1 else 1.0)
        reach = t_quantile(freedom, level) * math.sqrt(variance)
        found = Estimate(given.estimate, given.estimate - reach, given.estimate + reach)
        shares = np.abs(table.unseen)
        if within == RATE and shares.sum() < MIN_RATE_EXAMPLES:
            reach = exact_limits(float(shares.mean()), table.units, RATE, level)[1]
            return replace(found, low=min(found.low, -reach), high=max(found.high, reach))
        return found


def _ranked_wrongly(
    scores: Float[np.ndarray, "networks examples"],
    positive: Bool[np.ndarray, " examples"],
    blocks: Sequence[Block],
) -> tuple[np.ndarray, int] | None:
    """Compute values whose mean over the unseen examples is the mean over folds of 1 - AUC.

    Args:
        scores: (networks, examples) scores; the larger, the more likely is the class.
        positive: (examples,) which examples are of the class.
        blocks: the networks that left out each fold, and its examples.

    Returns:
        (networks, examples) values, and how many examples the rarer side has in all folds that have
        both; None where no fold has both.

    References:
        DeLong, DeLong & Clarke-Pearson 1988, eq. 4 to 6 (structural components); their influences
        are multiplied by sqrt(m / (m - 1)), so that sums of their squares have no bias.
    """
    used = [block for block in blocks if 0 < positive[block[1]].sum() < len(block[1])]
    if not used:
        return None
    found, least = np.zeros(scores.shape), 0
    parts = []
    for networks, rows in used:
        of_class = positive[rows]
        m, rest = int(of_class.sum()), int((~of_class).sum())
        least += min(m, rest)
        for network in networks:
            each = scores[network, rows].astype(np.float64)
            mine, others = np.sort(each[of_class]), np.sort(each[~of_class])
            above = 1 - _share_below(others, each[of_class])
            below = _share_below(mine, each[~of_class])
            error = float(above.mean())
            moves = np.empty(len(rows))
            moves[of_class] = len(rows) / m * _unbiased(m) * (above - error)
            moves[~of_class] = len(rows) / rest * _unbiased(rest) * (below - error)
            found[network, rows] = error + moves
            parts.append((len(rows) / len(networks), error))
    weights, errors = np.array(parts).T
    center = float(np.average(errors, weights=weights))
    share = scores.shape[1] / sum(len(rows) for _, rows in used)
    for networks, rows in used:
        cells = np.ix_(networks, rows)
        found[cells] = (found[cells] - center) * share
    return center + found, least


def _median_by_ranks(
    ordered: Float[np.ndarray, " examples"], center: float, level: float
) -> Estimate:
    """Compute the exact interval of the median of independent values.

    Args:
        ordered: (examples,) the values in ascending order.
        center: their median.
        level: confidence level of the interval.

    References:
        Thompson 1936 (limits of a median from two order statistics).
    """
    from scipy.special import bdtr

    n = len(ordered)
    # probabilities that at most 0, 1, ... values lie below the median
    below = bdtr(np.arange(n // 2), n, 0.5)
    rank = int(np.searchsorted(below, (1 - level) / 2, "right"))
    if not rank:
        fewest = math.ceil(1 - math.log2(1 - level))
        return Estimate(
            center,
            refused=f"{n} examples are too few for an interval of a median; at least {fewest} are "
            "needed",
        )
    return Estimate(center, float(ordered[rank - 1]), float(ordered[n - rank]))


def _not_finite(losses: np.ndarray) -> Estimate | None:
    """A refused Estimate where losses are not finite numbers."""
    lost = losses[~np.isfinite(losses)]
    if not lost.size:
        return None
    size = math.nan if np.isnan(lost).any() else math.inf
    return Estimate(size, refused=f"{lost.size} of {losses.size} losses are not finite numbers")


def _share_below(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Compute the share of ordered numbers below each value; equal ones count half."""
    places = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return places / (2 * len(ordered))


def all_or_nothing(*losses: np.ndarray) -> bool:
    """Whether all losses are 0 or 1."""
    return all(bool(((each == 0) | (each == 1)).all()) for each in losses)


def _unbiased(count: int) -> float:
    return math.sqrt(count / (count - 1)) if count > 1 else 1.0


def _scores_of(f: Float[np.ndarray, "networks examples classes"], c: int) -> np.ndarray:
    """Compute scores of a class: log-odds of two classes, which stay distinct where a probability
    rounds to 1.
    """
    if f.shape[2] != 2:
        return f[..., c]
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(f[..., c].astype(np.float64) - f[..., 1 - c], nan=0.0)


def loss_table(
    losses: Float[np.ndarray, "networks examples"],
    seen: ArrayLike | None,
    groups: ArrayLike | None,
    *,
    largest: float | None = None,
) -> tuple[CrossFit, list[int]]:
    """The table of losses, and the numbers of the networks left out of it."""
    if seen is not None:
        table, left_out = cross_fit(losses, seen, groups, largest=largest)
        return table, list(left_out)
    n, lost = losses.shape[1], ~np.isfinite(losses).all(1)
    if lost.all():
        lost = np.zeros(len(losses), bool)  # their scores are refused
    group_of = None if groups is None else group_codes(groups, n)
    kept = losses[~lost]
    zeros = np.zeros(len(kept), np.int64), np.zeros(n, np.int64)
    return CrossFit(kept, *zeros, group_of), np.flatnonzero(lost).tolist()


def folds_of(table: CrossFit) -> list[np.ndarray]:
    """The examples of each fold."""
    return [np.flatnonzero(table.fold_of == k) for k in range(table.folds)]


def _counts(y: np.ndarray, rows: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(y[rows], minlength=classes)


def mean_outside(
    y: Num[np.ndarray, "examples ..."], rows: Int[np.ndarray, " rows"], folds: int
) -> Float[np.ndarray, "..."]:
    """The mean of the values outside of a fold; of all, if it is the only one."""
    return np.asarray((y if folds == 1 else np.delete(y, rows, 0)).mean(0))


def _values(what: str, given: ArrayLike, examples: int) -> np.ndarray:
    found = arrays.numbers(what, given, arrays.EXAMPLE_AXES).astype(np.float64)
    if found.shape != (examples,):
        raise InputError(
            f"{what} have shape {found.shape} for {examples} examples; give one for each"
        )
    return found


def root_of(given: Estimate, unit: float) -> Estimate:
    """The root of a mean square, in units of the values."""
    root, low, high = (unit * math.sqrt(v) for v in (given.estimate, given.low, given.high))
    return replace(given, estimate=root, low=low, high=high)

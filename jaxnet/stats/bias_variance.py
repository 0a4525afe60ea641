"""Bias and variance of the predictions that many trainings make on the same examples.

Everything is measured against labels, so what is called bias contains the noise of the labels.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from jaxnet import arrays, display
from jaxnet.errors import InputError, check_known
from jaxnet.stats.estimate import LEVEL, Estimate
from jaxnet.stats.random_effects import (
    DIFFERENCE,
    MIN_PAIRED_MEMBERS,
    POSITIVE,
    RATE,
    SIGNED,
    Block,
    block,
    interval,
    two_way,
)
from jaxnet.stats.voting import Vote, vote, vote_estimates
from jaxnet.typing import ArrayLike

Loss = Literal["squared", "zero_one", "zero_one_kohavi_wolpert", "cross_entropy", "brier"]
Design = Literal["fresh", "partition", "bootstrap", "seeds"]
LOSSES = ("squared", "zero_one", "zero_one_kohavi_wolpert", "cross_entropy", "brier")
BLOCK_CELLS = 1 << 18  # numbers in a block of examples; larger blocks do not fit a core's cache
# Lower log-probabilities are raised to this one.
MIN_LOG_PROBABILITY = float(np.log(np.finfo(np.float32).tiny))
MIN_UNSEEN = 3  # members that must not have seen an example, for the example to count
WITHIN = {
    "squared": POSITIVE,
    "zero_one": RATE,
    "zero_one_kohavi_wolpert": RATE,
    "cross_entropy": POSITIVE,
    "brier": (0.0, 2.0),
}
TERMS = {
    "fresh": ("bias", "variance"),
    "partition": ("bias", "variance"),
    "bootstrap": (
        "error of the bagged prediction on your data",
        "spread under resampling your data",
    ),
    "seeds": (
        "error of the averaged prediction",
        "variance of the optimization on this training set",
    ),
}
PARTS_VOTE = "members that are parts of one pool have no interval of a vote; give independent ones"
PLUG_IN = "it describes these members and no others"


class Examples(NamedTuple):
    """Loss, bias and variance on each example, whose means a Decomposition reports.

    Bias and variance are corrected for the finite number of members, as the means are.

    Attributes:
        loss: (examples,) mean loss of the members.
        bias: (examples,) bias.
        variance: (examples,) variance.
    """

    loss: Float[np.ndarray, " examples"]
    bias: Float[np.ndarray, " examples"]
    variance: Float[np.ndarray, " examples"]


@dataclass(frozen=True)
class Decomposition:
    """The mean loss of the members and its parts.

    bias + variance = loss; for the loss zero_one, bias + net_variance = loss. For squared losses,
    bias means bias^2.

    Attributes:
        kind: the loss.
        design: how the members' training sets are related.
        loss: mean loss of the members.
        bias: bias, corrected so that it holds for any number of members; for zero_one the bias of a
            vote of as many members as these.
        variance: variance, likewise.
        plug_in_bias: bias of these members as they are, without correction.
        plug_in_variance: variance of these members as they are.
        net_variance: for zero_one: unbiased_variance - biased_variance; else None.
        unbiased_variance: for zero_one: votes against the main prediction where that is right.
        biased_variance: for zero_one: right votes where the main prediction is wrong.
        per_example: the values on each example, before averaging.
        members: number of members.
        examples: number of examples.
        parts: number of disjoint parts of one pool, for the design partition.
        clipped: how many log-probabilities were raised to -87.3.
        dropped: how many examples were dropped because fewer than 3 members had not seen them.
    """

    kind: Loss
    design: Design
    loss: Estimate
    bias: Estimate
    variance: Estimate
    plug_in_bias: Estimate
    plug_in_variance: Estimate
    net_variance: Estimate | None
    unbiased_variance: Estimate | None
    biased_variance: Estimate | None
    per_example: Examples
    members: int
    examples: int
    parts: int | None = None
    clipped: int = 0
    dropped: int = 0

    __repr__ = display.text

    def __str__(self) -> str:
        squared = (
            " (squared)"
            if self.kind in ("squared", "brier", "zero_one_kohavi_wolpert")
            and self.design in ("fresh", "partition")
            else ""
        )
        bias, variance = TERMS[self.design]
        rows = [
            (f"mean loss of {self.members} members", self.loss),
            (f"{bias}{squared}", self.bias),
            (variance, self.variance),
        ]
        if self.net_variance is not None:
            rows.append((f"net {variance}", self.net_variance))
        width = max(len(name) for name, _ in rows)
        head = f"{self.kind.replace('_', ' ')}, {self.examples:,} examples"
        if self.design in ("fresh", "partition"):
            head += "; bias contains the noise of the labels"
        return "\n".join([head, *(f"{name:<{width}}  {value}" for name, value in rows)])


def bias_variance_decomposition(
    predictions: ArrayLike,
    labels: ArrayLike,
    *,
    loss: Loss | str,
    design: Design | str = "fresh",
    parts: int | None = None,
    seen: ArrayLike | None = None,
    level: float = LEVEL,
) -> Decomposition:
    """Decompose the mean loss of the members into bias and variance, with intervals for new members
    and new examples.

    Args:
        predictions: (members, examples) class numbers (for zero_one and zero_one_kohavi_wolpert) or
            values (for squared), or (members, examples, classes) log-probabilities, which the
            zero-one losses take too. Any integers may number the classes. Of several values, and of
            answers of 0 and 1 to several yes/no questions (squared and zero_one_kohavi_wolpert),
            (members, examples, columns); the loss is then the mean over them.
        labels: (examples,) class numbers or values, or (examples, columns).
        loss: squared, in squared units of y (Geman, Bienenstock & Doursat 1992, eq. 3.4); brier,
            the same summed over classes (Yang et al. 2020); zero_one_kohavi_wolpert (Kohavi &
            Wolpert 1996, eq. 3); zero_one, of a vote with ties to the smallest class (Domingos
            2000, theorem 2); cross_entropy, in nats (Heskes 1998, eq. 7; jackknifed).
        design: how the members' training sets are related, which decides what may be claimed:
            fresh, independent training sets; partition, `parts` disjoint parts of one pool, where
            the parts of one partition are consecutive members; bootstrap, resamples of one training
            set; seeds, one and the same training set.
        parts: number of parts of a partition; only for that design.
        seen: (members, examples) booleans: cells to leave out because the member trained on the
            example (out of bag). Examples that fewer than 3 members have not seen are dropped and
            counted.
        level: confidence level of the intervals.

    Returns:
        The mean loss, its bias and its variance.

    Raises:
        InputError: for predictions, labels, seen or parts that do not fit the loss or each other.

    References:
        Geman, Bienenstock & Doursat 1992, eq. 3.4; Yang et al. 2020; Kohavi & Wolpert 1996, eq. 3;
        Domingos 2000, theorem 2; Heskes 1998, eq. 7.
    """
    f, y, known = _checked(predictions, labels, loss, design, parts, seen)
    dropped = 0
    if known is not None:
        kept = (~known).sum(0) >= MIN_UNSEEN
        dropped = int((~kept).sum())
        if not kept.any():
            raise InputError(f"no example is unseen by {MIN_UNSEEN} members; give more members")
        f, y, known = f[:, kept], y[kept], known[:, kept]
    members, n = f.shape[:2]
    classes = _classes(f, y)
    pieces, votes, clipped = list[dict[str, Piece]](), list[Vote](), 0
    for of in _blocks(members, n, classes):
        f_, y_, seen_ = f[:, of], y[of], None if known is None else known[:, of]
        if loss == "zero_one":
            votes.append(vote(f_, y_, classes, seen_))
            pieces.append(
                {"loss": Piece(block(arrays.wrong(f_, y_).astype(np.float64), seen=seen_))}
            )
            continue
        values, raised = _values(f_, y_, loss, classes, seen_, parts)
        clipped += raised
        pieces.append(
            {
                name: Piece(block(each.pseudo, each.corrected, seen_), each.plug_in)
                for name, each in values.items()
            }
        )
    tables = {
        name: two_way(
            [each[name].block for each in pieces],
            WITHIN[loss],
            partition=parts,
            heavy_tails=loss == "squared" and name != "variance",
            small=loss == "brier" and name == "variance",
        )
        for name in pieces[0]
    }
    found = {name: interval(each, level) for name, each in tables.items()}
    columns = {
        name: np.concatenate([each[name].block.columns for each in pieces]) for name in pieces[0]
    }
    if loss == "zero_one":
        more, per_example = vote_estimates(
            votes, members, level, None if parts is None else PARTS_VOTE
        )
        found |= more
        columns |= per_example
        plug_in = {
            name: Estimate(found[name].estimate, refused=PLUG_IN) for name in ("bias", "variance")
        }
    else:
        plug_in = {
            name: Estimate(
                float(np.mean(np.concatenate([each[name].plug_in for each in pieces]))),
                refused=PLUG_IN,
            )
            for name in ("bias", "variance")
        }
    return Decomposition(
        kind=cast(Loss, loss),
        design=cast(Design, design),
        loss=found["loss"],
        bias=found["bias"],
        variance=found["variance"],
        plug_in_bias=plug_in["bias"],
        plug_in_variance=plug_in["variance"],
        net_variance=found.get("net_variance"),
        unbiased_variance=found.get("unbiased_variance"),
        biased_variance=found.get("biased_variance"),
        per_example=Examples(columns["loss"], columns["bias"], columns["variance"]),
        members=members,
        examples=n,
        parts=parts,
        clipped=clipped,
        dropped=dropped,
    )


@dataclass(frozen=True)
class Difference:
    """The difference of two decompositions on the same examples: the first minus the second.

    Attributes:
        loss: difference of the mean losses.
        bias: difference of the biases.
        variance: difference of the variances.
    """

    loss: Estimate
    bias: Estimate
    variance: Estimate

    __repr__ = display.text


def paired_decomposition(
    a: ArrayLike,
    b: ArrayLike,
    labels: ArrayLike,
    *,
    loss: Loss | str,
    design: Design | str = "fresh",
    parts: int | None = None,
    level: float = LEVEL,
) -> Difference:
    """Compute how much more loss, bias and variance recipe a has than recipe b.

    Member i of both recipes may share its training sample and its random seed.

    Args:
        a: predictions of the first recipe, as in `bias_variance_decomposition`.
        b: predictions of the second recipe, of the same shape.
        labels: (examples,) class numbers or values.
        loss: as in `bias_variance_decomposition`, except zero_one, whose votes have no differences
            with intervals.
        design: as in `bias_variance_decomposition`.
        parts: as in `bias_variance_decomposition`.
        level: confidence level of the intervals.

    Returns:
        The differences, a minus b.

    Raises:
        InputError: for the loss zero_one, for shapes that differ, and as
            `bias_variance_decomposition`.
    """
    if loss == "zero_one":
        raise InputError("differences of zero_one have no intervals; take zero_one_kohavi_wolpert")
    (f, y, _), (g, other, _) = (
        _checked(each, labels, loss, design, parts, None) for each in (a, b)
    )
    if f.shape != g.shape:
        raise InputError(
            f"predictions have shapes {f.shape} and {g.shape}; give the same members and examples "
            "twice"
        )
    classes = max(_classes(f, y), _classes(g, other))
    blocks: dict[str, list[Block]] = {"loss": [], "bias": [], "variance": []}
    for of in _blocks(len(f), len(y), classes):
        first, second = (
            _values(each[:, of], own[of], loss, classes, None, parts)[0]
            for each, own in ((f, y), (g, other))
        )
        for name, gathered in blocks.items():
            gathered.append(
                block(
                    first[name].pseudo - second[name].pseudo,
                    first[name].corrected - second[name].corrected,
                )
            )
    within = DIFFERENCE if WITHIN[loss] == RATE else SIGNED
    return Difference(
        **{
            name: interval(
                two_way(gathered, within, partition=parts), level, members=MIN_PAIRED_MEMBERS
            )
            for name, gathered in blocks.items()
        }
    )


class Piece(NamedTuple):
    """A statistic of a block of examples.

    Attributes:
        block: its sums over members and examples.
        plug_in: (examples,) the statistic of these members as they are.
    """

    block: Block
    plug_in: Float[np.ndarray, " examples"] = np.zeros(0)


class Values(NamedTuple):
    """A statistic g of each example.

    Attributes:
        corrected: (examples,) g, corrected for the finite number of members.
        plug_in: (examples,) g of these members as they are.
        pseudo: (members, examples) the pseudo-values M g - (M-1) g(-m).
    """

    corrected: Float[np.ndarray, " examples"]
    plug_in: Float[np.ndarray, " examples"]
    pseudo: Float[np.ndarray, "members examples"]


def _classes(f: np.ndarray, y: np.ndarray) -> int:
    """Count the numbers with which a member describes an example, once class numbers are
    one-hot.
    """
    return (
        f.shape[2] if f.ndim == 3 else int(max(f.max(), y.max())) + 1 if f.dtype.kind in "iu" else 1
    )


def _blocks(members: int, examples: int, classes: int) -> list[slice]:
    """Cut the examples into blocks of about BLOCK_CELLS numbers."""
    width = max(1, BLOCK_CELLS // (members * classes))
    return [slice(start, min(start + width, examples)) for start in range(0, examples, width)]


def _values(
    f: Num[np.ndarray, "members examples *classes"],
    y: Num[np.ndarray, "examples ..."],
    loss: Loss | str,
    classes: int,
    seen: Bool[np.ndarray, "members examples"] | None,
    parts: int | None,
) -> tuple[dict[str, Values], int]:
    """Compute the statistics of a block of examples, and how many log-probabilities were raised.

    With `parts`, the statistics are those of each partition by itself, averaged over partitions.
    """
    raised = 0
    of = _quadratic
    if y.ndim == 2:  # the mean over columns; of 0 and 1 a squared difference is one answer's error
        f, y = (each.astype(np.float64) / math.sqrt(y.shape[1]) for each in (f, y))
        loss = "several"
    match loss:
        case "cross_entropy":
            (f, raised), of = normalized(f), _cross_entropy
        case "brier":
            log_p, raised = normalized(f)
            f, y = np.exp(log_p), one_hot(y, classes)
        case "zero_one_kohavi_wolpert":
            f, y = (np.sqrt(0.5) * one_hot(each, classes) for each in (f, y))
        case "squared":
            f, y = f[..., None].astype(np.float64), y[:, None].astype(np.float64)
    if parts is None:
        return of(f, y, None if seen is None else ~seen), raised
    found = [of(f[first : first + parts], y, None) for first in range(0, len(f), parts)]
    return {
        name: Values(
            np.mean([each[name].corrected for each in found], axis=0),
            np.mean([each[name].plug_in for each in found], axis=0),
            np.concatenate([each[name].pseudo for each in found]),
        )
        for name in found[0]
    }, raised


def _quadratic(
    f: Float[np.ndarray, "members examples classes"],
    y: Float[np.ndarray, "examples classes"],
    unseen: Bool[np.ndarray, "members examples"] | None,
) -> dict[str, Values]:
    """Decompose |f - y|^2 into bias |mean f - y|^2 - S^2 / M and variance S^2 = sum |f - mean f|^2
    / (M - 1).
    """
    count = _unseen_count(f, unseen)
    mean = f.mean(0) if unseen is None else np.einsum("mic,mi->ic", f, unseen) / count[:, None]
    deviation, error = f - mean, mean - y
    if unseen is not None:
        deviation = deviation * unseen[..., None]
    squares = np.einsum("mic,mic->mi", deviation, deviation)
    along = np.einsum("mic,ic->mi", deviation, error)
    loss, total, off = ((f - y) ** 2).sum(-1), squares.sum(0), (error**2).sum(-1)
    mean_loss = loss.mean(0) if unseen is None else (loss * unseen).sum(0) / count
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # with 1 or 2 members these values do not exist
        variance = total / (count - 1)
        bias = off - variance / count
        variance_without = (total - count / (count - 1) * squares) / (count - 2)
        bias_without = (
            off
            - 2 * along / (count - 1)
            + squares / (count - 1) ** 2
            - variance_without / (count - 1)
        )
    return {
        "loss": Values(mean_loss, mean_loss, loss),
        "bias": Values(bias, off, _pseudo(count, bias, bias_without)),
        "variance": Values(variance, total / count, _pseudo(count, variance, variance_without)),
    }


def _cross_entropy(
    log_p: Float[np.ndarray, "members examples classes"],
    y: Int[np.ndarray, " examples"],
    unseen: Bool[np.ndarray, "members examples"] | None,
) -> dict[str, Values]:
    """Decompose -log p(y) into bias and variance.

    The bias is -log of the normalized geometric mean of the members' probabilities at y. The
    variance is the mean KL(that mean || p) = -log of its norm.
    """
    rows = np.arange(len(y))
    count = _unseen_count(log_p, unseen)
    loss = -log_p[:, rows, y]
    total = log_p.sum(0) if unseen is None else np.einsum("mic,mi->ic", log_p, unseen)
    mean = total / count[:, None]
    norm = _log_sum_exp(mean)
    bias, variance = norm - mean[rows, y], -norm
    mean_loss = loss.mean(0) if unseen is None else (loss * unseen).sum(0) / count
    if np.min(count) < 2:
        nothing = np.full(len(y), np.nan)
        blank = np.full(loss.shape, np.nan)
        return {"loss": Values(mean_loss, mean_loss, loss)} | {
            name: Values(nothing, plug_in, blank)
            for name, plug_in in (("bias", bias), ("variance", variance))
        }
    without = (total - log_p) / (count - 1)[:, None]
    norm_without = _log_sum_exp(without)
    values = {"loss": Values(mean_loss, mean_loss, loss)}
    for name, plug_in, left in (
        ("bias", bias, norm_without - without[:, rows, y]),
        ("variance", variance, -norm_without),
    ):
        pseudo = _pseudo(count, plug_in, left)
        corrected = pseudo.mean(0) if unseen is None else (pseudo * unseen).sum(0) / count
        values[name] = Values(corrected, plug_in, pseudo)
    return values


def _unseen_count(
    f: Float[np.ndarray, "members examples classes"],
    unseen: Bool[np.ndarray, "members examples"] | None,
) -> Float[np.ndarray, " examples"]:
    """Count the members that predict each example without having seen it."""
    return (
        np.full(f.shape[1], float(len(f))) if unseen is None else unseen.sum(0).astype(np.float64)
    )


def _pseudo(
    count: Float[np.ndarray, " examples"],
    all_: Float[np.ndarray, " examples"],
    without: Float[np.ndarray, "members examples"],
) -> Float[np.ndarray, "members examples"]:
    """Compute the pseudo-values M g - (M-1) g(-m)."""
    if np.min(count) < 3:  # with fewer than 3 members, leaving one out leaves nothing to vary
        return np.broadcast_to(all_, without.shape)
    return count * all_ - (count - 1) * without


def _log_sum_exp(x: Float[np.ndarray, "*any classes"]) -> Float[np.ndarray, "*any"]:
    most = x.max(-1)
    return most + np.log(np.exp(x - most[..., None]).sum(-1))


def normalized(
    log_p: Num[np.ndarray, "members examples classes"],
) -> tuple[Float[np.ndarray, "members examples classes"], int]:
    """Normalize log-probabilities in float64 so that each example's probabilities add up to 1.

    Returns:
        The log-probabilities, none below MIN_LOG_PROBABILITY before normalization, and how many
        were raised to it.
    """
    low = log_p < MIN_LOG_PROBABILITY
    raised = int(np.count_nonzero(low))
    log_p = (
        np.maximum(log_p, MIN_LOG_PROBABILITY, dtype=np.float64)
        if raised
        else log_p.astype(np.float64)
    )
    return log_p - _log_sum_exp(log_p)[..., None], raised


def one_hot(classes: Int[np.ndarray, "*any"], count: int) -> Float[np.ndarray, "*any classes"]:
    """Encode class numbers as (..., classes) zeros and ones in float64.

    Args:
        classes: (...) class numbers from 0 to count - 1.
        count: number of classes.
    """
    return (classes[..., None] == np.arange(count)).astype(np.float64)


def _checked(
    predictions: ArrayLike,
    labels: ArrayLike,
    loss: str,
    design: str,
    parts: int | None,
    seen: ArrayLike | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Check predictions, labels and seen, and convert predictions to what the loss needs."""
    check_known("loss", loss, LOSSES)
    check_known("design", design, TERMS)
    if seen is not None:
        seen = arrays.booleans(
            "seen", seen, arrays.array("predictions", predictions, arrays.MEMBER_AXES).shape[:2]
        )
    f, y = arrays.predictions(predictions, labels, loss=loss, seen=seen)
    if (design == "partition") != (parts is not None):
        raise InputError(
            f"design is {design!r} and parts is {parts}; a partition, and no other design, has a "
            "number of parts"
        )
    if parts is not None and (parts < 2 or len(f) % parts or seen is not None):
        raise InputError(
            f"parts is {parts} for {len(f)} members{' and seen is given' * (seen is not None)}; "
            "give whole partitions, without seen"
        )
    return (
        f.argmax(2) if f.ndim == 3 and y.ndim == 1 and loss.startswith("zero_one") else f,
        y,
        seen,
    )

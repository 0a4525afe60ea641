"""Findings and remedies: what was measured and what to try, as sentences for people and as data for
programs.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxnet import display
from jaxnet.diagnostics import measured
from jaxnet.runtime.files import plain
from jaxnet.stats.estimate import Estimate
from jaxnet.stats.several import Scores

if TYPE_CHECKING:
    from jaxnet.core.recipe import Recipe
    from jaxnet.data import Splits
    from jaxnet.models.model import Model


# Words and codes in older files, and the words of today.
FORMER_WORDS = {
    "optimisation not finished": "not finished",
    "optimization not finished": "not finished",
    "optimization_not_finished": "not finished",
    "more data will not help": "more data helps too little",
}


class Code(StrEnum):
    """What a finding is about: the value stands in files and programs.

    Attributes:
        words: the code in words, for people.
    """

    words: str

    WRONG_LOSS = "wrong_loss", "wrong loss for the outputs"
    INPUTS_NOT_SCALED = "inputs_not_scaled", "inputs not scaled"
    DIVERGED = "diverged", "diverged"
    UNSTABLE = "unstable", "unstable"
    DID_NOT_BEGIN_TO_LEARN = "did_not_begin_to_learn", "did not begin to learn"
    STUCK_AT_MAJORITY = "stuck_at_majority", "stuck at the majority"
    CANNOT_FIT_32_EXAMPLES = "cannot_fit_32_examples", "cannot fit 32 examples"
    LABELS_MATCH_NOTHING = "labels_match_nothing", "labels match nothing"
    NOT_FINISHED = "not_finished", "not finished"
    LEAKING_TEST_SET = "leaking_test_set", "leaking test set"
    HIGH_BIAS = "high_bias", "high bias"
    HIGH_VARIANCE = "high_variance", "high variance"
    MISMATCH = "mismatch", "mismatch"
    NO_BETTER_THAN_GUESSING = "no_better_than_guessing", "no better than always guessing"
    MORE_DATA_HELPS = "more_data_helps", "more data helps"
    MORE_DATA_WILL_NOT_HELP = "more_data_will_not_help", "more data helps too little"
    ERROR_STILL_FALLS = "error_still_falls", "error still falls with more data"
    OVERCONFIDENT = "overconfident", "overconfident"
    LABEL_NOISE = "label_noise", "label noise"
    MEMORIZED = "memorized", "memorized examples"
    HARMFUL_EXAMPLES = "harmful_examples", "harmful examples"
    SLICE = "slice", "slice"
    SHIFT = "shift", "shift"
    EDGE_OF_SWEEP = "edge_of_sweep", "chosen at the edge of the sweep"
    WORSE_RUN = "worse_run", "a later run is worse"

    def __new__(cls, value: str, words: str) -> "Code":
        code = str.__new__(cls, value)
        code._value_, code.words = value, words
        return code

    @classmethod
    def _missing_(cls, value: object) -> "Code | None":
        """Read a former code, or the words that stood for it in an older result.json."""
        words = FORMER_WORDS.get(str(value), str(value))
        return next((code for code in cls if code.words == words), None)


# "problem": an error above the tolerance, or a training that failed; "data": a leak, wrong or
# harmful examples or a shift; "note": everything else, and what is not claimed.
Severity = Literal["problem", "data", "note"]


@dataclass(frozen=True)
class Remedy:
    """Something to try: a change of one field of a Recipe, a Model or Splits.

    Attributes:
        of: which object has the field.
        field: name of the field.
        how: multiply the field by `value`, set it to `value`, or add examples as `value` says.
        value: the number or text for `how`; None, with set, leaves the field out.
        words: the remedy in words.
        helped: in how many problems with a known cause, of those of this kind, it helped; None
            where that was not measured. Nothing of this was tried on the data at hand.
        cases: the number of these problems.
        gain: by how much it lowered `gain_of` where it helped, in the median, as a fraction.
        gain_of: "error", or "overconfidence": mean confidence minus accuracy, without its sign.
    """

    of: Literal["Recipe", "Model", "Splits"]
    field: str
    how: Literal["multiply", "set", "add"]
    value: float | int | str | None
    words: str
    helped: int | None = dataclasses.field(default=None, compare=False)
    cases: int | None = dataclasses.field(default=None, compare=False)
    gain: float | None = dataclasses.field(default=None, compare=False)
    gain_of: str | None = dataclasses.field(default=None, compare=False)

    @property
    def told(self) -> str:
        """The remedy in words, and how it did in simulated problems."""
        return measured.told(self.words, self.helped, self.cases, self.gain, self.gain_of)


@dataclass(frozen=True)
class Finding:
    """One measured statement.

    Attributes:
        code: what the finding is about.
        size: size of the effect on the scale of the error, with its interval.
        claimed: whether the size is shown to exceed the tolerance.
        evidence: a sentence with the measured numbers.
        remedies: what to try, in order.
        examples: row numbers of the training examples concerned, the most telling first.
    """

    code: Code
    size: Estimate
    claimed: bool
    evidence: str
    remedies: tuple[Remedy, ...]
    examples: tuple[int, ...] = ()

    __repr__ = display.text

    @property
    def severity(self) -> Severity:
        """How grave the finding is."""
        return severity_of(self.code, claimed=self.claimed)

    def summary(self) -> dict[str, Any]:
        """The finding in the types that JSON has, with the words of its code and its severity."""
        return plain(self) | {"words": self.code.words, "severity": self.severity}


TRAIN_LONGER = Remedy("Recipe", "epochs", "multiply", 2, "train for longer")
FASTER = Remedy(
    "Recipe", "learning_rate", "multiply", 3, "try a higher learning rate, or another optimizer"
)
SLOWER = Remedy("Recipe", "learning_rate", "multiply", 0.3, "lower the learning rate")
WIDER = Remedy("Model", "hidden", "multiply", 2, "make the network wider, or deeper")
SMALLER = Remedy("Model", "hidden", "multiply", 0.5, "make the network smaller")
DROPOUT = Remedy("Recipe", "dropout", "set", 0.2, "regularize: dropout")
AUGMENTATION = Remedy(
    "Recipe",
    "augmentation",
    "set",
    "shift=2, rotate=10",
    "augment: change training examples slightly in every epoch",
)
HIDDEN_LAYERS = Remedy("Model", "hidden", "set", "128 64", "add hidden layers")
MORE_DATA = Remedy("Splits", "train", "add", "as many more", "get more training examples")

# What a training shows to be wrong with itself. Networks that did not train say nothing about their
# width or the amount of data, so these come before bias and variance.
TRAINING = (
    Code.WRONG_LOSS,
    Code.INPUTS_NOT_SCALED,
    Code.DIVERGED,
    Code.UNSTABLE,
    Code.DID_NOT_BEGIN_TO_LEARN,
    Code.STUCK_AT_MAJORITY,
    Code.CANNOT_FIT_32_EXAMPLES,
    Code.LABELS_MATCH_NOTHING,
    Code.NOT_FINISHED,
)
# Fix these first, since they change everything else; the error steps come next. Findings about the
# amount of data are never fixed first: they name a price, not a fault.
URGENT = (*TRAINING[:-1], Code.LEAKING_TEST_SET, Code.NOT_FINISHED)
ERROR_STEPS = (Code.HIGH_BIAS, Code.HIGH_VARIANCE, Code.MISMATCH)
DATA_FINDINGS = (Code.MORE_DATA_HELPS, Code.MORE_DATA_WILL_NOT_HELP, Code.ERROR_STILL_FALLS)

ABOUT_DATA = (Code.LEAKING_TEST_SET, Code.LABEL_NOISE, Code.HARMFUL_EXAMPLES, Code.SHIFT)


def severity_of(code: Code, *, claimed: bool) -> Severity:
    """How grave a finding is.

    Args:
        code: what it is about.
        claimed: whether it is shown.
    """
    if not claimed or code in (*DATA_FINDINGS, Code.EDGE_OF_SWEEP, Code.MEMORIZED):
        return "note"
    return "data" if code in ABOUT_DATA else "problem"


# The classic remedies, in the order of Ng, Machine Learning Yearning (2018), chapters 25 to 27 and
# 41 to 43.
REMEDIES: dict[Code, tuple[Remedy, ...]] = {
    Code.HIGH_BIAS: (
        WIDER,
        TRAIN_LONGER,
        FASTER,
        Remedy("Recipe", "dropout", "set", None, "regularize less: no dropout"),
        Remedy("Recipe", "weight_decay", "set", None, "regularize less: no weight decay"),
    ),
    Code.HIGH_VARIANCE: (
        MORE_DATA,
        Remedy("Recipe", "weight_decay", "set", 1e-2, "regularize: weight decay"),
        DROPOUT,
        AUGMENTATION,
        Remedy("Recipe", "patience", "set", 5, "stop early"),
        SMALLER,
    ),
    Code.MISMATCH: (
        Remedy(
            "Splits",
            "train",
            "add",
            "like those where it is used",
            "add training examples from where the model will be used",
        ),
        Remedy(
            "Splits",
            "validation",
            "set",
            "like those where it is used",
            "validate on data from where the model will be used",
        ),
        Remedy(
            "Recipe",
            "augmentation",
            "set",
            "like the difference",
            "augment the training data to match the deployment data",
        ),
    ),
    Code.NO_BETTER_THAN_GUESSING: (
        Remedy(
            "Splits",
            "train",
            "set",
            "labels checked",
            "check that each label stands with its own inputs, and that the inputs can tell the "
            "labels apart",
        ),
        FASTER,
        SLOWER,
        TRAIN_LONGER,
    ),
    Code.MORE_DATA_HELPS: (MORE_DATA,),
    Code.ERROR_STILL_FALLS: (MORE_DATA,),
    Code.OVERCONFIDENT: (
        Remedy("Recipe", "label_smoothing", "set", 0.1, "smooth the labels"),
        Remedy("Recipe", "patience", "set", 5, "stop early"),
        Remedy("Recipe", "weight_decay", "set", 1e-2, "regularize: weight decay"),
    ),
    Code.LABEL_NOISE: (
        Remedy(
            "Splits",
            "train",
            "set",
            "labels checked",
            "check the training labels that all networks contradict",
        ),
        Remedy("Recipe", "label_smoothing", "set", 0.1, "smooth the labels"),
        Remedy("Recipe", "patience", "set", 5, "stop early, before the wrong labels are learned"),
    ),
    Code.MEMORIZED: (
        Remedy(
            "Splits",
            "train",
            "set",
            "labels checked",
            "check the labels of the examples that are memorized",
        ),
        MORE_DATA,
        Remedy("Recipe", "weight_decay", "set", 1e-2, "regularize: weight decay"),
        Remedy("Recipe", "patience", "set", 5, "stop early, before single examples are learned"),
    ),
    Code.HARMFUL_EXAMPLES: (
        Remedy(
            "Splits", "train", "set", "labels checked", "check the labels of the harmful examples"
        ),
        Remedy(
            "Splits",
            "train",
            "set",
            "without the harmful examples",
            "train without the harmful examples; census.verify measures what that gains",
        ),
    ),
    Code.SLICE: (
        Remedy(
            "Splits",
            "train",
            "add",
            "like those of the slice",
            "get more training examples like those of the slice",
        ),
        Remedy(
            "Splits",
            "train",
            "set",
            "labels and inputs checked",
            "check the labels and the inputs of these examples",
        ),
    ),
    Code.LEAKING_TEST_SET: (
        Remedy(
            "Splits",
            "test",
            "set",
            "without those in the training set",
            "leave out the test examples that are in the training set",
        ),
        Remedy(
            "Splits",
            "groups",
            "set",
            "one a source",
            "split so that all examples of a source are in one part",
        ),
    ),
    Code.NOT_FINISHED: (TRAIN_LONGER, FASTER),
    Code.DIVERGED: (SLOWER, Remedy("Recipe", "clip", "set", 1.0, "clip the gradient")),
}


# Fields that belong inside an optimizer of the user's own.
INSIDE_OPTIMIZER = ("weight_decay", "momentum", "b2")
# Fields of which a smaller value is the stronger remedy.
STRONGER_WHEN_SMALLER = ("clip", "patience")

# More data do not help a network that cannot learn the data it has.
REMEDIES[Code.MORE_DATA_WILL_NOT_HELP] = REMEDIES[Code.HIGH_BIAS]
REMEDIES[Code.SHIFT] = REMEDIES[Code.MISMATCH]


def finding(code: Code, size: Estimate, claimed: bool, evidence: str) -> Finding:
    """Build a finding with the remedies of its code.

    Args:
        code: what the finding is about, a key of REMEDIES.
        size: size of the effect, on the scale of the error.
        claimed: whether the size is shown to exceed the tolerance.
        evidence: a sentence with the measured numbers.
    """
    return Finding(code, size, claimed, evidence, REMEDIES[code])


def applicable(
    found: Sequence[Finding],
    recipe: "Recipe",
    model: "Model | None" = None,
    splits: "Splits | None" = None,
    *,
    stopped_early: bool = False,
) -> tuple[Finding, ...]:
    """Leave out the remedies that would change nothing, such as no dropout if there is none yet,
    and sort the others by what they gained in problems with a known cause.

    The remedies of a finding about the training keep their order: the first one removes its cause.

    Args:
        found: findings with all remedies of their codes.
        recipe: the recipe of the networks.
        model: their model, if it is known.
        splits: their data, if they are known.
        stopped_early: whether early stopping ended all trainings, so that more epochs change
            nothing.

    Returns:
        The findings, each with the remedies that change the recipe, the model or the data, and with
        how these did in problems with a known cause. A linear model is given hidden layers instead
        of wider ones.
    """
    from jaxnet.models.builtin import is_linear

    linear = model is not None and is_linear(model)
    tokens = splits is not None and splits.train.schema.tokens
    images = splits is None or (np.ndim(splits.train.x) > 2 and not tokens)

    def changes(remedy: Remedy) -> bool:
        if linear and (remedy == SMALLER or remedy.field == "dropout"):
            return False
        if not images and remedy == AUGMENTATION:
            return False
        if stopped_early and remedy == TRAIN_LONGER:
            return False
        return remedy.of != "Recipe" or _changes_recipe(remedy, recipe)

    def of(finding: Finding) -> Finding:
        kept = filter(changes, finding.remedies)
        own = [HIDDEN_LAYERS if linear and each == WIDER else each for each in kept]
        found = measured.with_gains(finding.code, own)
        if finding.code not in TRAINING:
            found = measured.by_gain(found)
        return replace(finding, remedies=found)

    return tuple(map(of, found))


def _changes_recipe(remedy: Remedy, recipe: "Recipe") -> bool:
    if not hasattr(recipe, remedy.field):  # a hyperparameter of a sweep that is no field of it
        return True
    if remedy.field in INSIDE_OPTIMIZER and not isinstance(recipe.optimizer, str):
        return False
    now = getattr(recipe, remedy.field)
    if remedy.how == "multiply":  # epochs are chosen where they are left open
        return now is not None or remedy.field == "epochs"
    if remedy.value is None:
        return now is not None and bool(np.any(np.asarray(now) != 0))
    if isinstance(remedy.value, str):
        return now is None or remedy != AUGMENTATION
    stronger = np.less if remedy.field in STRONGER_WHEN_SMALLER else np.greater
    return now is None or bool(np.any(stronger(remedy.value, np.asarray(now))))


def diverged(lost: int, total: int) -> list[Finding]:
    """Build the finding that networks diverged; the list is empty where none did.

    Args:
        lost: number of networks that diverged.
        total: number of networks.
    """
    if not lost:
        return []
    share = lost / total
    words = (
        f"{lost} of {total} networks diverged: their loss was no longer a finite number. The "
        "rest is measured without them"
    )
    return [finding(Code.DIVERGED, Estimate(share, share, share), True, words)]


def no_better_than_guessing(scores: Scores, tolerance: float) -> list[Finding]:
    """Build the finding that networks are no better than always guessing; the list is empty where
    that is not shown.

    Args:
        scores: scores on unseen examples.
        tolerance: the smallest difference that matters, on the scale of the error.
    """
    guess = next((each for each in scores.guesses if each.no_better(tolerance)), None)
    if guess is None:
        return []
    words = (
        f"always guessing {guess.name} has an error of {guess.error.estimate:.2%} on the same "
        f"unseen examples; the error is lower than that by {percent(guess.gain)}"
    )
    return [finding(Code.NO_BETTER_THAN_GUESSING, guess.gain, True, words)]


def with_guessing(verdict: str, found: Sequence[Finding], *, claims: bool) -> str:
    """Add to a verdict that networks are no better than always guessing, if that was found.

    Args:
        verdict: the verdict, "name: reason".
        found: what `no_better_than_guessing` returned.
        claims: whether the verdict claims a kind of error, such as high bias.

    Returns:
        The verdict with the finding after the kinds that it claims; else the finding comes first.
    """
    if not found:
        return verdict
    words, (name, _, why) = found[0].code.words, verdict.partition(":")
    if claims:
        return f"{name}, {words}:{why}"
    return f"{words}: {found[0].evidence}; {verdict}"


def first_to_fix(codes: Sequence[Code]) -> Code | None:
    """Choose which of the claimed findings to fix first.

    Args:
        codes: codes of the claimed findings, in order of size.

    Returns:
        The code whose remedies come first, or None where nothing is to be fixed.
    """

    def rank(code: Code) -> int:
        return URGENT.index(code) if code in URGENT else len(URGENT) + (code not in ERROR_STEPS)

    return min((code for code in codes if code not in DATA_FINDINGS), key=rank, default=None)


def edge_of_sweep(name: str, best: float) -> Finding:
    """Build the finding that the best value of a hyperparameter lies at the edge of the values
    tried.

    Args:
        name: the hyperparameter, a field of Recipe.
        best: its best value, which becomes the size of the finding.
    """
    remedy = Remedy(
        "Recipe",
        name,
        "multiply",
        10,
        f"widen the space of {name.replace('_', ' ')} beyond {best:.4g}",
    )
    size = Estimate(best, refused="a value that was chosen has no interval")
    return Finding(
        Code.EDGE_OF_SWEEP,
        size,
        True,
        f"the best {name.replace('_', ' ')}, {best:.4g}, lies at the edge of what was tried",
        (remedy,),
    )


def wrong_labels_in_words(share: Estimate, examples: int) -> str:
    """Say that at least a share of the training labels is wrong.

    Args:
        share: the share of wrong labels among easy examples, with its interval.
        examples: number of training examples.
    """
    found = "no wrong training labels are shown"
    if share.low > 0:
        found = (
            f"at least {share.low:.2%} of the training labels are wrong "
            f"({math.ceil(share.low * examples):,} of {examples:,})"
        )
    return (
        f"{found}: among easy examples {percent(share)} are wrong, and hard ones are usually "
        "mislabeled more often"
    )


def points(size: float) -> str:
    """Format a difference of errors in percentage points."""
    number = f"{100 * size:.4g}"
    return f"{number} point" if number == "1" else f"{number} points"


def percent(size: Estimate) -> str:
    """Format an error as a percentage with its interval."""
    if size.refused is not None:
        return f"{size.estimate:.2%}, no interval"
    return f"{size.estimate:.2%}, 95% interval {size.low:.2%} to {size.high:.2%}"

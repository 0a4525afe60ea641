"""Candidates of advice: changes of a recipe or a model, as data that a population can train.

Each kind of change is a function of a model and a recipe that returns its candidates, or none where
it does not apply.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from jaxnet import display
from jaxnet.core.recipe import Recipe, is_finished
from jaxnet.data import Splits
from jaxnet.data.augmentation import Augmentation
from jaxnet.diagnostics.findings import TRAINING, Code, Finding
from jaxnet.models.builtin import deepened, is_linear, narrowed, normalized, shortened, widened
from jaxnet.models.combined import network_of, with_network, without_inputs
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model
from jaxnet.models.remade import restarted, with_logarithms
from jaxnet.studies.rules import MOST_COLUMNS, Rule, columns_of

Kind = Literal[
    "current",
    "rate",
    "longer",
    "class weights",
    "wider",
    "decay",
    "smoothing",
    "dropout",
    "together",
    "schedule",
    "augmentation",
    "normalization",
    "narrower",
    "deeper",
    "shallower",
    "early stopping",
    "clipping",
    "start",
    "inputs",
    "loss",
    "ensemble",
    "labels",
    "columns",
]

RATE_FACTORS = (3.0, 1 / 3, 10.0, 0.1)
FAR = (100.0, 1000.0, 10000.0)  # where a finding blames the learning rate, in its direction
EPOCH_FACTORS, LONGEST = (2, 4), 10
WIDTH_FACTOR = 2
ENSEMBLE = 8
FEW_COLUMNS = 3  # that leave a choice
SMOOTHING = 0.1  # Szegedy et al. 2016
DROPOUTS = (0.2, 0.5)
PATIENCE = 5
DECAY, LARGEST_DECAY = 0.05, 10.0
CLIP = 1.0
UNEQUAL = 1.5  # ratio of the sizes of two classes from which on class weights are tried
ROTATION, LARGER_ROTATION, NOISE, SCALE = 10.0, 30.0, 0.3, 0.2
SHIFT = 14  # a shift by a pixel for so many pixels of an image's side, as 2 for MNIST's 28
# What else is tried, by the present schedule.
SCHEDULES = {
    "constant": ("one_cycle", "cosine"),
    "cosine": ("one_cycle",),
    "warmup_cosine": ("one_cycle",),
    "one_cycle": ("cosine",),
}
# Learning rates that suit most networks of moderate size.
USUAL_RATES = {
    "sgd": 0.1,
    "momentum": 0.03,
    "nesterov": 0.03,
    "adam": 3e-3,
    "adamw": 3e-3,
    "muon": 0.02,
}


@dataclass(frozen=True)
class Candidate:
    """A way to train that could take the place of the current one, or the current one itself.

    Attributes:
        name: what is changed, in words.
        kind: the kind of change.
        model: the model.
        recipe: the recipe.
        balance: whether every class counts the same in the loss of the training; the weights of
            the classes are made from the examples that a network is trained on.
        standardized: whether inputs are standardized anew, by mean and scale of the pool.
        loss: the loss of the training; by default that of the kind of labels.
        rule: what is decided again inside each training part; None for nothing.
        votes: number of networks that predict together.
    """

    name: str
    kind: Kind
    model: Model
    recipe: Recipe
    balance: bool = False
    standardized: bool = False
    loss: Loss | None = None
    rule: Rule | None = None
    votes: int = 1

    __repr__ = display.text


def candidates(
    model: Model,
    recipe: Recipe,
    splits: Splits | None = None,
    findings: Sequence[Finding] = (),
    *,
    balance: bool = False,
    loss: Loss | None = None,
) -> tuple[Candidate, ...]:
    """List what could be changed about a way to train.

    Args:
        model: the model.
        recipe: the recipe, with a number of epochs.
        splits: the data, if they are known.
        findings: what a diagnosis, or the networks of the recipe, have shown to be wrong.
        balance: whether every class counts the same in the loss of the training.
        loss: the loss of the training; by default that of the kind of labels.
    """
    now = Now(current(model, recipe, balance=balance, loss=loss), splits, tuple(findings))
    found = [candidate for kind in KINDS for candidate in kind(now)]
    return tuple({each.name: each for each in found}.values())


def current(
    model: Model, recipe: Recipe, *, balance: bool = False, loss: Loss | None = None
) -> Candidate:
    """Describe the way to train that others are compared with."""
    return Candidate("the current recipe", "current", model, recipe, balance, loss=loss)


@dataclass(frozen=True)
class Now:
    """What is to be changed.

    Attributes:
        way: the current way to train.
        splits: the data, if they are known.
        findings: what was shown to be wrong.
    """

    way: Candidate
    splits: Splits | None
    findings: tuple[Finding, ...]

    @property
    def model(self) -> Model:
        """The current model."""
        return self.way.model

    @property
    def recipe(self) -> Recipe:
        """The current recipe."""
        return self.way.recipe

    @property
    def own_optimizer(self) -> bool:
        """Whether the optimizer is none of the built-in ones."""
        return not isinstance(self.recipe.optimizer, str)

    @property
    def classes(self) -> bool:
        """Whether labels are classes, or may be."""
        return self.splits is None or self.splits.classes is not None

    @property
    def tokens(self) -> bool:
        """Whether inputs are tokens, which cannot be changed like numbers."""
        return self.splits is not None and self.splits.train.schema.tokens

    @property
    def image_side(self) -> int:
        """The smaller side of images in pixels; 0 where inputs are none, or not known."""
        shape = () if self.splits is None else self.splits.train.x.shape[1:]
        return min(shape[:2]) if len(shape) > 1 else 0

    def says(self, *codes: Code) -> bool:
        """Whether there is a finding with one of these codes."""
        return any(each.code in codes for each in self.findings)

    def with_recipe(self, name: str, kind: Kind, **changes: Any) -> Candidate:
        """The current way with changes of its recipe."""
        return replace(self.way, name=name, kind=kind, recipe=replace(self.recipe, **changes))

    def with_model(
        self, name: str, kind: Kind, change: Callable[[Model], Model | None]
    ) -> list[Candidate]:
        """The current way with a changed network, if there is one."""
        model = with_network(self.model, change)
        return [] if model is None else [replace(self.way, name=name, kind=kind, model=model)]


def _value(number: Any) -> float:
    """A number of a recipe; 0 where it is None."""
    return 0.0 if number is None else float(np.asarray(number))


def _inputs(now: Now) -> list[Candidate]:
    """Standardized inputs, where a finding says that they are not."""
    if not now.says(Code.INPUTS_NOT_SCALED):
        return []
    return [replace(now.way, name="standardized inputs", kind="inputs", standardized=True)]


def _loss(now: Now) -> list[Candidate]:
    """The loss that fits the outputs, where a finding says that the present one does not."""
    found = list[Candidate]()
    if not now.says(Code.WRONG_LOSS):
        return found
    if now.way.loss is not None:
        of_classes = now.splits is None or now.splits.counted
        words = "cross-entropy as the loss" if of_classes else "squared error as the loss"
        found.append(replace(now.way, name=words, kind="loss", loss=None))
    if now.classes and now.model.for_outputs is None:
        found += now.with_model(
            "logarithms of the outputs, which are probabilities", "loss", with_logarithms
        )
    return found


def _start(now: Now) -> list[Candidate]:
    """Another start of a model that is not built in, where it did not begin to learn."""
    if now.model.for_outputs is not None or not now.says(Code.DID_NOT_BEGIN_TO_LEARN):
        return []
    return now.with_model("He-uniform first parameters", "start", restarted)


def _clipping(now: Now) -> list[Candidate]:
    """Clipped gradients and a warmup, where the training was unstable or diverged."""
    recipe, found = now.recipe, list[Candidate]()
    if not now.says(Code.UNSTABLE, Code.DIVERGED) or is_finished(recipe.optimizer):
        return found
    clip = CLIP if recipe.clip is None else _value(recipe.clip) / 10
    if clip > 0:
        found.append(now.with_recipe(f"gradients clipped at {clip:.2g}", "clipping", clip=clip))
    if recipe.schedule in ("constant", "cosine"):
        found.append(
            now.with_recipe("schedule warmup_cosine", "schedule", schedule="warmup_cosine")
        )
    return found


def _rates(now: Now) -> list[Candidate]:
    """Learning rates above and below, those far away in the direction that findings name, and the
    usual one of the optimizer where it is not between them, or where findings name a direction.
    """
    recipe, tried = now.recipe, dict[float, str]()
    if is_finished(recipe.optimizer) or recipe.learning_rate is None:
        return []
    rate, (up, down) = _value(recipe.learning_rate), _blamed(now.findings)
    if rate > 0:
        factors = [*RATE_FACTORS, *(FAR if up else ()), *(1 / far for far in FAR if down)]
        tried = {factor * rate: f"{_short(factor)} x" for factor in factors}
    near = [factor * rate for factor in RATE_FACTORS]
    usual = USUAL_RATES.get(recipe.optimizer) if not now.own_optimizer else None
    if usual is not None and (up or down or not min(near) <= usual <= max(near) or rate == 0):
        words = f"the usual one of {recipe.optimizer}"
        others = {each: said for each, said in tried.items() if not np.isclose(each, usual)}
        tried = others if np.isclose(rate, usual) else {usual: words, **others}
    return [
        now.with_recipe(f"learning rate {each:.2g} ({words})", "rate", learning_rate=each)
        for each, words in tried.items()
    ]


def _short(factor: float) -> str:
    return f"{factor:,.0f}" if factor >= 1 else f"{factor:.2g}"


def _blamed(findings: Sequence[Finding]) -> tuple[bool, bool]:
    """Whether findings about the training call the learning rate too low, or too high."""
    remedies = [
        remedy
        for each in findings
        if each.code in TRAINING and each.code != Code.NOT_FINISHED
        for remedy in each.remedies
        if remedy.field == "learning_rate" and remedy.how == "multiply"
    ]
    factors = [float(remedy.value) for remedy in remedies if isinstance(remedy.value, int | float)]
    return any(factor > 1 for factor in factors), any(factor < 1 for factor in factors)


def _longer(now: Now, factors: Sequence[int] = EPOCH_FACTORS) -> list[Candidate]:
    lengths = {factor: factor * now.recipe.epochs for factor in factors}
    return [
        now.with_recipe(f"{epochs} epochs ({factor} x)", "longer", epochs=epochs)
        for factor, epochs in lengths.items()
    ]


def _longest(now: Now) -> list[Candidate]:
    return _longer(now, (LONGEST,))


def _class_weights(now: Now) -> list[Candidate]:
    """The weights of classes, where they are unequal; without them where they are there."""
    if now.way.balance:
        return [replace(now.way, name="no class weights", kind="class weights", balance=False)]
    if now.splits is None or now.splits.classes is None:
        return []
    counts = np.unique(np.asarray(now.splits.train.y), return_counts=True)[1]
    if counts.max() < UNEQUAL * counts.min():
        return []
    words = "class weights, so that rare classes count as much as others"
    return [replace(now.way, name=words, kind="class weights", balance=True)]


def _decay(now: Now) -> list[Candidate]:
    """More weight decay, and none.

    References:
        Loshchilov & Hutter 2019, appendix B.1 (the first value, for the number of steps).
    """
    recipe, now_decay = now.recipe, _value(now.recipe.weight_decay)
    if now.own_optimizer:
        return []
    if now_decay > 0:
        return [
            now.with_recipe(
                f"weight decay {3 * now_decay:.2g}", "decay", weight_decay=3 * now_decay
            ),
            now.with_recipe("no weight decay", "decay", weight_decay=0.0),
        ]
    rate = _value(recipe.learning_rate)
    if now.splits is None or not rate > 0:
        return []
    passes = recipe.epochs * len(now.splits.train)
    wanted = DECAY * np.sqrt(min(1.0, recipe.batch_size / passes)) / rate
    decay = float(f"{min(wanted, LARGEST_DECAY):.2g}")
    return [now.with_recipe(f"weight decay {decay:g}", "decay", weight_decay=decay)]


def _smoothing(now: Now) -> list[Candidate]:
    if not now.classes:
        return []
    if _value(now.recipe.label_smoothing) > 0:
        return [now.with_recipe("no label smoothing", "smoothing", label_smoothing=0.0)]
    words = f"label smoothing {SMOOTHING:g}"
    return [now.with_recipe(words, "smoothing", label_smoothing=SMOOTHING)]


def _dropout(now: Now) -> list[Candidate]:
    """Dropout; none where it is there. Models of other libraries bring their own."""
    if _value(now.recipe.dropout) > 0:
        return [now.with_recipe("no dropout", "dropout", dropout=0.0)]
    if now.model.for_outputs is None or is_linear(network_of(now.model)):
        return []
    return [now.with_recipe(f"dropout {rate:g}", "dropout", dropout=rate) for rate in DROPOUTS]


def _together(now: Now) -> list[Candidate]:
    """Dropout in a network that is wider, and trained longer and at a higher learning rate: changes
    of which each alone may gain nothing.

    References:
        Srivastava et al. 2014, appendix A (what a network with dropout needs besides).
    """
    recipe, down = now.recipe, _blamed(now.findings)[1]
    if is_finished(recipe.optimizer) or down or not _value(recipe.learning_rate) > 0:
        return []
    if is_linear(network_of(now.model)):
        return []
    rate, epochs = RATE_FACTORS[0] * _value(recipe.learning_rate), EPOCH_FACTORS[-1] * recipe.epochs
    others = (
        f"hidden layers {WIDTH_FACTOR} x as wide, {epochs} epochs ({EPOCH_FACTORS[-1]} x) and "
        f"learning rate {rate:.2g} ({_short(RATE_FACTORS[0])} x)"
    )
    return [
        replace(
            wider,
            name=f"{each.name}, {others}",
            kind="together",
            recipe=replace(each.recipe, epochs=epochs, learning_rate=rate),
        )
        for each in _dropout(now)
        if _value(each.recipe.dropout) > 0
        for wider in _wider(replace(now, way=each))
    ]


def _schedule(now: Now) -> list[Candidate]:
    if is_finished(now.recipe.optimizer):
        return []
    return [
        now.with_recipe(f"schedule {name}", "schedule", schedule=name)
        for name in SCHEDULES.get(now.recipe.schedule, ())
    ]


def _augmentation(now: Now) -> list[Candidate]:
    """Changed training images, where there are none yet; more kinds of changes where networks are
    used on other examples than they are trained on.
    """
    if now.recipe.augmentation is not None or now.splits is None or now.tokens:
        return []
    side, elsewhere = now.image_side, now.splits.target_sample is not None
    found, shift = dict[str, Augmentation](), max(1, round(side / SHIFT))
    if side:
        found[f"images shifted by up to {shift} and rotated by up to {ROTATION:g} degrees"] = (
            Augmentation(shift=float(shift), rotate=ROTATION)
        )
    if elsewhere:
        found[f"inputs with noise of {NOISE:g} standard deviations"] = Augmentation(noise=NOISE)
    if side and elsewhere:
        found[f"images rotated by up to {LARGER_ROTATION:g} degrees"] = Augmentation(
            rotate=LARGER_ROTATION
        )
        found[f"images shifted by up to {2 * shift}"] = Augmentation(shift=2.0 * shift)
        found[f"images scaled by up to {SCALE:.0%}"] = Augmentation(scale=SCALE)
    return [
        now.with_recipe(words, "augmentation", augmentation=how) for words, how in found.items()
    ]


def _wider(now: Now) -> list[Candidate]:
    linear = is_linear(network_of(now.model))
    words = "hidden layers" if linear else f"hidden layers {WIDTH_FACTOR} x as wide"
    return now.with_model(words, "wider", partial(widened, factor=WIDTH_FACTOR))


def _narrower(now: Now) -> list[Candidate]:
    return now.with_model("hidden layers half as wide", "narrower", narrowed)


def _deeper(now: Now) -> list[Candidate]:
    return now.with_model("one more hidden layer", "deeper", deepened)


def _shallower(now: Now) -> list[Candidate]:
    return now.with_model("half as many hidden layers", "shallower", shortened)


def _normalization(now: Now) -> list[Candidate]:
    how = "batch" if network_of(now.model).name.startswith("cnn") else "layer"
    return now.with_model(f"{how} normalization", "normalization", normalized)


def _early_stopping(now: Now) -> list[Candidate]:
    """A part of the training examples stops the training; never the examples that measure."""
    if now.recipe.patience is not None:
        return [now.with_recipe("no early stopping", "early stopping", patience=None)]
    if now.recipe.epochs <= PATIENCE:
        return []
    words = f"early stopping after {PATIENCE} epochs without a lower loss"
    return [now.with_recipe(words, "early stopping", patience=PATIENCE)]


def _labels(now: Now) -> list[Candidate]:
    """What to do with labels that are likely wrong, where networks contradict many, or with values
    that are far from predicted ones.
    """
    rules = dict[str, Rule]()
    if now.classes and now.says(Code.LABEL_NOISE):
        rules["leaving out labels that are likely wrong"] = "drop"
        rules["correcting labels that are likely wrong"] = "correct"
    elif not now.classes and now.says(Code.HARMFUL_EXAMPLES):
        rules["leaving out values that are far from predicted ones"] = "drop"
    if not _may_decide(now):
        return []
    return [replace(now.way, name=words, kind="labels", rule=rule) for words, rule in rules.items()]


def _columns(now: Now) -> list[Candidate]:
    """Only the columns that matter, of inputs that are a table."""
    if now.splits is None or now.splits.train.x.ndim != 2 or not _may_decide(now):
        return []
    if now.splits.targets is not None:
        return []  # permuted columns are judged by one label or value
    if now.tokens:  # an id in place of a column that is left out would be another token
        return []
    if not FEW_COLUMNS <= len(columns_of(now.splits.train)) <= MOST_COLUMNS:
        return []
    words, model = "leaving out columns that do not matter", without_inputs(now.model, ())
    return [replace(now.way, name=words, kind="columns", model=model, rule="inputs")]


def _may_decide(now: Now) -> bool:
    """Whether a rule may decide what networks are trained on: none does yet, and no training
    examples stop the training.
    """
    return now.way.rule is None and now.recipe.patience is None


def _ensemble(now: Now) -> list[Candidate]:
    if now.way.votes > 1:
        return []
    words = f"an ensemble of {ENSEMBLE} networks"
    return [replace(now.way, name=words, kind="ensemble", votes=ENSEMBLE)]


# In order of what is given up last where time is short: what findings ask for, what shares the
# compiled program of the current recipe, and then what takes longest to compile and to train.
KINDS: tuple[Callable[[Now], list[Candidate]], ...] = (
    _inputs,
    _loss,
    _rates,
    _start,
    _clipping,
    _class_weights,
    _decay,
    _smoothing,
    _longer,
    _wider,
    _dropout,
    _augmentation,
    _normalization,
    _schedule,
    _narrower,
    _early_stopping,
    _deeper,
    _shallower,
    _together,
    _longest,
    _labels,
    _columns,
    _ensemble,
)

"""Recipe: every hyperparameter of a run. optimizers.py makes the optax transformation of it."""

import functools
import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Never, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet import display
from jaxnet.data import augmentation
from jaxnet.data.augmentation import Augmentation
from jaxnet.errors import InputError, check_known, check_whole, renamed, shown, with_known_words
from jaxnet.models.pickling import check_pickle
from jaxnet.typing import Number

FORMER_NUMBERS = {"second_momentum": "b2"}  # fields by former names
OptimizerName = Literal["sgd", "momentum", "nesterov", "adam", "adamw", "muon"]
ScheduleName = Literal["constant", "cosine", "warmup_cosine", "one_cycle"]
Precision = Literal["float32", "bfloat16"]
OPTIMIZERS, SCHEDULES, PRECISIONS = map(get_args, (OptimizerName, ScheduleName, Precision))
# Except for a finished transformation, which has its own.
DEFAULT_SCHEDULE: ScheduleName = "one_cycle"
# None in a field that `resolved` fills in. Whatever reads the field does so afterwards, so a type
# checker can ignore it.
Open = Never
if not TYPE_CHECKING:
    Open = None
CUSTOM = "custom "  # stands before the name of an optimizer that is none of the built-in ones


def _static(default: Any) -> Any:
    return field(default=default, metadata={"static": True})


@jax.tree_util.register_dataclass
@renamed(**FORMER_NUMBERS)
@with_known_words(
    lr="learning_rate",
    wd="weight_decay",
    l2="weight_decay",
    batch="batch_size",
    b1="momentum",
    early_stopping="patience",
    grad_clip="clip",
    max_norm="clip",
    dtype="precision",
)
@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a training.

    Numbers are leaves of the pytree: they may be tracers or carry a member axis, and changing them
    never recompiles. The other fields are static. What is None is absent from the compiled program,
    so it costs nothing to compile or to run; where epochs or schedule is None, training chooses it,
    and the recipe of the Run holds what was chosen. The command line and the scikit-learn
    estimators have the same defaults.

    Attributes:
        optimizer: "sgd", "momentum", "nesterov", "adam", "adamw" or "muon"; a function
            `learning_rate -> optax.GradientTransformation`; or a finished optax transformation,
            with learning_rate=None, since its own cannot be traced.
        schedule: the learning rate over the whole run: "constant", "cosine", "warmup_cosine" or
            "one_cycle"; by default "one_cycle", or the one built into a finished optax
            transformation.
        epochs: the number of passes over the training set; by default 10, or more if 10 are fewer
            than about 150 steps.
        batch_size: the number of examples per step.
        patience: stop after this many epochs without a lower validation loss, and predict with the
            best parameters.
        precision: "float32", or "bfloat16" for the network's products while parameters stay
            float32. JAX computes float32 products in TF32 on GPUs from A100 on and in bfloat16 on
            TPUs; jax.config.update("jax_default_matmul_precision", "highest") makes them exact.
        learning_rate: the largest learning rate.
        momentum: momentum of momentum and nesterov (by default 0.9), b1 of adam and adamw (0.9),
            beta of muon (0.95).
        b2: b2 of adam and adamw (by default 0.999); a lower one forgets sooner, for short runs.
        weight_decay: decoupled weight decay of weight matrices, not of biases and normalization
            layers.
        l1: factor of the sum of absolute weights, of the same arrays, in the loss.
        dropout: fraction of hidden units set to 0 in training.
        label_smoothing: fraction of a target that is spread over all classes.
        clip: largest global norm of the gradient.
        augmentation: how training examples are changed each time they are used.

    References:
        Loshchilov & Hutter (2019), Decoupled weight decay regularization, algorithm 2.
        Szegedy et al. (2016), Rethinking the Inception architecture, section 7, for label
        smoothing.
    """

    optimizer: Any = _static("adam")
    schedule: str | Open = _static(None)
    epochs: int | Open = _static(None)
    batch_size: int = _static(64)
    patience: int | None = _static(None)
    precision: str = _static("float32")
    learning_rate: Number | None = 3e-3
    momentum: Number | None = None
    b2: Number | None = None
    weight_decay: Number | None = None
    l1: Number | None = None
    dropout: Number | None = None
    label_smoothing: Number | None = None
    clip: Number | None = None
    augmentation: Augmentation | None = None

    __repr__ = display.text

    def __reduce__(self) -> tuple[Any, ...]:
        check_optimizer_pickles(self.optimizer)
        return Recipe, tuple(getattr(self, each.name) for each in fields(self))


def check_optimizer_pickles(optimizer: Any) -> None:
    """Raises InputError where pickle, which is at work, cannot hold an optimizer."""
    check_pickle(
        "the optimizer",
        optimizer,
        "give a function that is defined at the top of a module and makes it from the learning "
        "rate",
    )


@dataclass(frozen=True)
class NotRestored:
    """Placeholder for a custom optimizer in a recipe that was read from a file, which holds only
    the name of its function.
    """

    name: str


def optimizer_name(optimizer: Any) -> str:
    """What files call an optimizer: "adam" the built-in one, "custom adam" a function of that
    name.
    """
    if isinstance(optimizer, str):
        return optimizer
    if isinstance(optimizer, NotRestored):
        return CUSTOM + optimizer.name
    if isinstance(optimizer, functools.partial):
        words = [_word(value) for value in optimizer.args] + [
            f"{name}={_word(value)}" for name, value in optimizer.keywords.items()
        ]
        return f"{optimizer_name(optimizer.func)}({', '.join(words)})"
    return CUSTOM + getattr(optimizer, "__name__", type(optimizer).__name__)


STEPS, PASSES = 150, 10  # at least, of a training whose number of epochs is not given
STRUCTURE = tuple(f.name for f in fields(Recipe) if f.metadata.get("static"))
NUMBERS = tuple(f.name for f in fields(Recipe) if not f.metadata.get("static"))


def resolved(recipe: Recipe, examples: int) -> Recipe:
    """Choose what a recipe leaves open.

    Args:
        recipe: the recipe.
        examples: the number of training examples; small training sets get more epochs.

    Returns:
        The recipe with a number of epochs and a schedule.

    Raises:
        InputError: where the batch size is no whole number.
    """
    recipe = with_epochs(recipe, examples)
    if recipe.schedule is not None:
        return recipe
    own = is_finished(recipe.optimizer)
    return replace(recipe, schedule="constant" if own else DEFAULT_SCHEDULE)


def with_epochs(recipe: Recipe, examples: int) -> Recipe:
    """The recipe with a number of epochs, as in `resolved`."""
    if recipe.epochs is not None:
        return recipe
    check_whole("batch_size", recipe.batch_size)
    steps = max(1, -(-examples // recipe.batch_size))
    return replace(recipe, epochs=max(PASSES, round(STEPS / steps)))


def is_finished(optimizer: Any) -> bool:
    """Whether an optimizer is an optax transformation, and not the name of one or what makes
    one.
    """
    return not isinstance(optimizer, str) and hasattr(optimizer, "update")


def as_float32(recipe: Recipe) -> Recipe:
    """The recipe with its numbers as float32 arrays, so that 1, 1.0 and np.float64(1) are one
    program.
    """
    return jax.tree.map(
        lambda number: (jnp if isinstance(number, jax.core.Tracer) else np).asarray(
            number, np.float32
        ),
        recipe,
    )


def check(recipe: Recipe, *, has_validation: bool = True) -> None:
    """Raise InputError for an invalid recipe. Numbers that are tracers are left
    alone.
    """
    finished = is_finished(recipe.optimizer)
    if isinstance(recipe.optimizer, NotRestored):
        name = recipe.optimizer.name
        raise InputError(
            f"the optimizer of this recipe is the function {name}, which files do not hold; give "
            f"it to restore(path, optimizer={name}), "
            "or give another recipe"
        )
    if isinstance(recipe.optimizer, str):
        check_known("optimizer", recipe.optimizer, OPTIMIZERS)
    elif not finished and not callable(recipe.optimizer):
        raise InputError(
            f"optimizer is {shown(recipe.optimizer)}; give one of {', '.join(OPTIMIZERS)}, or a "
            "factory of optax transformations"
        )
    if recipe.schedule is not None:
        check_known("schedule", recipe.schedule, SCHEDULES)
    check_known("precision", recipe.precision, PRECISIONS)
    for name in ("epochs", "batch_size", "patience"):
        value = getattr(recipe, name)
        if value is not None and (
            not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1
        ):
            raise InputError(f"{name} is {shown(value)}; give a whole number of at least 1")
    if recipe.patience is not None and not has_validation:
        raise InputError(
            f"patience is {recipe.patience}, but the validation set is empty; hold some examples "
            "out, or leave patience out"
        )
    for name, low, high in (
        ("learning_rate", 0.0, math.inf),
        ("momentum", 0.0, 1.0),
        ("b2", 0.0, 1.0),
        ("weight_decay", 0.0, math.inf),
        ("l1", 0.0, math.inf),
        ("dropout", 0.0, 1.0),
        ("label_smoothing", 0.0, 1.0),
        ("clip", 0.0, math.inf),
    ):
        _range(name, getattr(recipe, name), low, high)
    if recipe.augmentation is not None:
        augmentation.check(recipe.augmentation)
    if finished:
        for name in ("learning_rate", "momentum", "b2", "weight_decay", "clip"):
            if getattr(recipe, name) is not None:
                raise InputError(
                    f"a finished optax transformation brings its own {name}, which cannot be "
                    "changed from outside; "
                    f"give {name}=None, or a factory learning_rate -> transformation as optimizer"
                )
        if recipe.schedule not in (None, "constant"):
            raise InputError(
                "a finished optax transformation brings its own schedule; leave schedule out, or "
                "give a factory as optimizer"
            )
        return
    if recipe.learning_rate is None:
        raise InputError("learning_rate is None; give a number")
    if not isinstance(recipe.optimizer, str):
        for name in ("momentum", "b2", "weight_decay"):
            if getattr(recipe, name) is not None:
                raise InputError(
                    f"{name} belongs inside a custom optimizer; give {name}=None and set it in "
                    "the factory"
                )
    elif recipe.optimizer == "sgd" and recipe.momentum is not None:
        raise InputError(
            "sgd has no momentum; give optimizer='momentum' or 'nesterov', or momentum=None"
        )
    elif recipe.optimizer not in ("adam", "adamw") and recipe.b2 is not None:
        raise InputError(
            f"{recipe.optimizer} has no b2; give optimizer='adam' or 'adamw', or b2=None"
        )
    elif recipe.optimizer == "adamw" and recipe.weight_decay is None:
        raise InputError(
            "adamw without weight_decay is adam; give weight_decay (0.01 is usual), or "
            "optimizer='adam'"
        )


def _word(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value)


def _range(name: str, value: Any, low: float, high: float) -> None:
    """One number, and low <= value < high as float32, where the value is known."""
    number = augmentation.one_number(name, value)
    if number is None:
        return
    with np.errstate(over="ignore"):
        narrow = float(number.astype(np.float32))
    if not low <= narrow < high:
        bound = f"from {low:g} to below {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        raise InputError(f"{name} is {narrow}; give a finite number {bound}")


def describe_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values; the optimizer by its name, as `optimizer_name` has it."""
    described = {name: getattr(recipe, name) for name in STRUCTURE}
    described = {
        name: int(value) if isinstance(value, np.integer) else value
        for name, value in described.items()
    }
    described["optimizer"] = optimizer_name(recipe.optimizer)
    numbers = {name: getattr(recipe, name) for name in NUMBERS}
    if recipe.augmentation is not None:
        numbers["augmentation"] = {
            name: getattr(recipe.augmentation, name) for name in augmentation.AUGMENTATION_FIELDS
        }
    return described | jax.tree.map(_decimal, numbers)


def _decimal(number: Any) -> Any:
    """The shortest decimal that is this float32: 0.001, not 0.0010000000474974513."""
    return float(str(np.float32(number))) if np.ndim(number) == 0 else np.asarray(number).tolist()

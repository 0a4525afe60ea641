"""The optax transformation that a recipe stands for, and its numbers step by step."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from jaxnet.core.recipe import Recipe, is_finished
from jaxnet.typing import Number, double

if TYPE_CHECKING:
    import optax

EPSILON = 1e-8  # of Adam, as optax has it
WARMUP = 0.1  # share of the steps in which warmup_cosine rises


def transformation(recipe: Recipe, steps: int) -> "optax.GradientTransformation":
    """Makes the optax transformation of a recipe.

    Args:
        recipe: the hyperparameters.
        steps: the number of steps of the whole run, for the schedule.

    Returns:
        For a built-in optimizer a chain of clipping, its direction, weight decay and the learning
        rate; for a factory a chain of clipping and what it makes; a finished transformation as it
        is.
    """
    import optax

    if is_finished(recipe.optimizer):
        return recipe.optimizer
    unit, peak = _unit_schedule(recipe.schedule, steps), recipe.learning_rate
    rate: Any = peak if unit is None or peak is None else lambda count: peak * unit(count)
    weight_decay: Any = recipe.weight_decay
    clip = [] if recipe.clip is None else [optax.clip_by_global_norm(recipe.clip)]
    if not isinstance(recipe.optimizer, str):
        return optax.chain(*clip, recipe.optimizer(rate))
    decay = (
        []
        if weight_decay is None
        else [optax.add_decayed_weights(weight_decay, mask=weight_matrix_mask)]
    )
    return optax.chain(*clip, *_direction(recipe), *decay, optax.scale_by_learning_rate(rate))


def step_numbers(recipe: Recipe, steps: int, number: Int[Array, " some"]) -> dict[str, Number]:
    """Computes the hyperparameters of some steps of a run in advance, for a kernel that cannot
    evaluate schedules and powers.

    Args:
        recipe: the hyperparameters, with the name of a built-in optimizer.
        steps: the number of steps of the whole run, for the schedule.
        number: (some,) the numbers of the steps.

    Returns:
        By name, one number for all steps or (some,) one per step. `step` is what the direction is
        multiplied with, the learning rate; `decay` is that times the weight decay. For Adam, whose
        kernel keeps m / (1 - b1) and v / (1 - b2), `step` also has these factors and the bias
        corrections, and so has `epsilon`.

    References:
        Kingma & Ba (2015), Adam, algorithm 1.
    """
    unit = _unit_schedule(recipe.schedule, steps)
    assert recipe.learning_rate is not None
    with double(False):
        rate: Any = (
            recipe.learning_rate if unit is None else recipe.learning_rate * jax.vmap(unit)(number)
        )
    numbers: dict[str, Number] = {"step": rate}
    first, second = decays(recipe)
    if recipe.optimizer != "sgd":
        numbers["momentum"] = first
    if recipe.optimizer in ("adam", "adamw"):
        mean, square = (((1 - b) / (1 - b ** (number + 1))) for b in (first, second))
        root = jnp.sqrt(square)
        numbers |= {"b2": second, "step": rate * mean / root, "epsilon": EPSILON / root}
    if recipe.weight_decay is not None:
        numbers["decay"] = rate * recipe.weight_decay
    for name in ("l1", "dropout", "label_smoothing", "clip"):
        if (value := getattr(recipe, name)) is not None:
            numbers[name] = value
    if recipe.augmentation is not None and recipe.augmentation.noise is not None:
        numbers["noise"] = recipe.augmentation.noise
    return numbers


def decays(recipe: Recipe) -> tuple[Array, Array]:
    """Returns momentum (b1 of adam and adamw) and b2, as given or by default 0.9 and 0.999."""
    first, second = (
        0.9 if recipe.momentum is None else recipe.momentum,
        0.999 if recipe.b2 is None else recipe.b2,
    )
    return jnp.asarray(first, jnp.float32), jnp.asarray(second, jnp.float32)


def weight_matrix_mask(params: PyTree) -> PyTree:
    """Returns True for each array that multiplies inputs, dense or convolutional, and False for
    biases and the scales of normalization layers.
    """
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _direction(recipe: Recipe) -> list["optax.GradientTransformation"]:
    """Makes the transformations from a gradient to a direction, before decay and learning rate."""
    import optax

    momentum = {} if recipe.momentum is None else {"value": recipe.momentum}
    match recipe.optimizer:
        case "sgd":
            return []
        case "momentum" | "nesterov":
            return [
                optax.trace(momentum.get("value", 0.9), nesterov=recipe.optimizer == "nesterov")
            ]
        case "muon":
            # A learning rate of -1 leaves the direction as it is: rate, schedule and decay follow
            # in the chain.
            from optax import contrib

            return [contrib.muon(-1.0, beta=momentum.get("value", 0.95))]
        case "adam" | "adamw":
            second: Any = 0.999 if recipe.b2 is None else recipe.b2
            return [optax.scale_by_adam(b1=momentum.get("value", 0.9), b2=second)]
    raise AssertionError(f"unknown optimizer {recipe.optimizer!r}: `check` was not called")


def _unit_schedule(name: str | None, steps: int) -> Callable[[Any], Any] | None:
    """Makes the schedule with peak 1, since those of optax refuse a peak that is a tracer."""
    import optax

    match name:
        case "cosine":
            return optax.cosine_decay_schedule(1.0, steps)
        case "warmup_cosine":
            return optax.warmup_cosine_decay_schedule(
                0.0, 1.0, max(1, round(WARMUP * steps)), max(2, steps)
            )
        case "one_cycle":
            return optax.cosine_onecycle_schedule(max(2, steps), 1.0)
        case "constant":
            return None
    raise AssertionError(f"unknown schedule {name!r}: `resolved` was not called")

"""The arguments that the verbs share: what is of another kind is refused, and the message says what
to give instead.

Only kinds are looked at, which takes a microsecond; values are checked where they are used.
"""

import functools
import logging
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxnet.core.recipe import Recipe, as_float32, resolved
from jaxnet.core.recipe import check as check_recipe
from jaxnet.core.run import Run, not_one
from jaxnet.core.training import NO_EXAMPLES, Problem
from jaxnet.data import Dataset, Splits, Stream, tokens
from jaxnet.data import augmentation as augmentations
from jaxnet.data.dataset import on_device
from jaxnet.errors import InputError, check_kind, check_path, check_whole, shown
from jaxnet.models import builtin
from jaxnet.models.losses import check_loss
from jaxnet.models.model import Model, initial, input_shape, with_outputs
from jaxnet.random import as_key
from jaxnet.runtime.plan import Plan
from jaxnet.typing import Frame

logger = logging.getLogger("jaxnet")

MOST_STEPS = (1 << 31) - 1  # of a run, whose steps are counted as int32
MOST_EPOCHS = 1 << 27  # of a run, whose history then takes 2 GB
ARGUMENT_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "model": (Model, "a Model, such as jaxnet.mlp((128, 64))"),
    "splits": (Splits, "Splits, as jaxnet.split makes them of arrays and jaxnet.load of files"),
    "recipe": (Recipe, "a Recipe, such as jaxnet.Recipe(epochs=5)"),
    "run": (Run, "a Run, as jaxnet.fit and jaxnet.train return it"),
    "dataset": (Dataset, "a Dataset, such as splits.test"),
    "plan": (Plan, "a Plan, such as jaxnet.Plan(), or leave it out"),
}
# What a class that a library defines, or that inherits from one, is the base of.
LIBRARIES = {
    "flax.linen": "a Linen module; give jaxnet.Model.from_linen({0}(...))",
    "flax.nnx": "an NNX module; give jaxnet.Model.from_nnx(lambda rngs: {0}(..., rngs=rngs))",
    "equinox": "an Equinox module; give jaxnet.Model.from_equinox(lambda key: {0}(..., key=key))",
    "torch": (
        "of PyTorch, and JAX cannot train it; give jaxnet.mlp or jaxnet.cnn, or write it in Flax"
    ),
    "keras": (
        "of Keras, and jaxnet cannot train it; give jaxnet.mlp or jaxnet.cnn, or write it in Flax"
    ),
    "sklearn": "of scikit-learn, and jaxnet cannot train it; give jaxnet.mlp or jaxnet.linear",
}


def check(**given: Any) -> None:
    """Raises InputError for the first of these arguments that is of another kind than its name
    says.
    """
    for name, value in given.items():
        kind, cure = ARGUMENT_KINDS[name]
        if not isinstance(value, kind):
            if name == "run" and np.ndim(getattr(value, "epochs", 0)):  # a Population
                raise not_one(value)
            raise InputError(f"{name} is {shown(value)}{_meant(name, value) or f'; give {cure}'}")
    if "plan" in given:
        _check_plan(given["plan"])


def check_in_memory(splits: Splits) -> None:
    """Refuse a training set that stays on disk."""
    if not isinstance(splits.train, Dataset):
        _ = splits.train.x  # which raises InputError, and says what a Stream is for


def check_one_label(splits: Splits, study: str) -> None:
    """Refuse several labels or values of each example where a study is for one.

    Args:
        splits: the data.
        study: the name of the study, for the message.
    """
    if splits.targets is not None:
        names = ", ".join(map(repr, splits.schema.target_names))
        raise InputError(
            f"{study} is for examples with one label or value, and these have several: {names}; "
            "give data with one of them, or use jaxnet.diagnose, which takes several"
        )


def check_surroundings(out: object, plan: object = None) -> None:
    """Raises InputError for what is no path or no plan; each may be None."""
    if plan is not None:
        check(plan=plan)
    if out is not None:
        check_path("out", out)


def check_arguments(
    problem: Problem, order_key: Array | np.ndarray | None = None
) -> tuple[Problem, Array | None]:
    """A problem as a user states it, checked where it is concrete and made ready for a device:
    without its test set.

    Returns (the problem, the order key). Raises InputError for invalid arguments.
    """
    splits, recipe, weights, chosen = problem.splits, problem.recipe, problem.weights, None
    check_loss(problem.loss)
    shape = splits.train.x.shape[1:]  # of a Stream this raises
    check_meaning(splits)
    check_tokens(problem.model, splits, recipe)
    check_recipe(recipe, has_validation=len(splits.validation) > 0 or problem.left_out > 0)
    if recipe.augmentation is not None:
        augmentations.check(recipe.augmentation, shape)
    examples = len(splits.train)
    recipe = resolved(recipe, examples)
    check_steps(recipe, -(-examples // recipe.batch_size))
    order_key = None if order_key is None else as_key("order_key", order_key)
    if weights is not None:
        weights = _numbers("weights", weights, jnp.float32)
        if weights.shape != (examples,):
            raise InputError(
                f"weights have shape {weights.shape}; give one for each training example: "
                f"({examples},)"
            )
        if (
            not isinstance(weights, jax.core.Tracer)
            and (bad := np.flatnonzero(~(np.asarray(weights) >= 0) | np.isinf(weights))).size
        ):
            raise InputError(
                f"weight {weights[int(bad[0])]} of example {bad[0]} is not a finite number of at "
                "least 0; fix it"
            )
    if problem.sample is not None:
        chosen = _check_sample(problem.sample, examples)
    seen, model = on_device(without_test(splits)), with_outputs(problem.model, splits.train.outputs)
    ready = replace(
        problem, model=model, splits=seen, recipe=as_float32(recipe), weights=weights, sample=chosen
    )
    return ready, order_key


def check_meaning(splits: Splits) -> None:
    """Refuse a training set whose labels have no meaning in its schema: several columns without
    names, and whole numbers that would be learned as values.

    Args:
        splits: the data.
    """
    y, schema = splits.train.y, splits.schema
    if np.ndim(y) > 1 and schema.targets is None:
        raise InputError(
            f"y of the training set has shape {np.shape(y)}, but its schema has no names of "
            "several values or labels; give jaxnet.split(x, y), for yes/no labels with "
            'task="multi-label", or jaxnet.Dataset(x, y, schema=...) with the schema of such a '
            "split"
        )
    if schema.task == "regression" and y.dtype.kind in "biu":
        raise InputError(
            f"y of the training set holds whole numbers ({y.dtype}) without names of classes, and "
            "would be learned as values; give jaxnet.split(x, y), jaxnet.Dataset(x, y, classes), "
            "or for values y.astype('float32')"
        )


def check_tokens(model: Model, splits: Splits, recipe: Recipe) -> None:
    """Raises InputError where inputs are tokens and a model or a recipe is for numbers, or the
    other way round, and for tokens that the model does not know.
    """
    train, limit = splits.train, model.vocabulary
    if train.vocabulary is None:
        if limit is not None:
            raise InputError(
                f"{model.name} says vocabulary={limit:,}, so it takes tokens, but inputs are "
                "numbers; give inputs='tokens' to jaxnet.split, load or stream"
            )
        return
    if model.for_outputs is not None and limit is None:
        raise InputError(
            f"{model.name} takes numbers, but inputs are tokens; give a model with an embedding, "
            f"such as jaxnet.mlp(vocabulary={train.vocabulary}) or Model.from_linen(Net(), "
            f"vocabulary={train.vocabulary}), or leave inputs='tokens' out"
        )
    if recipe.augmentation is not None:
        raise InputError(
            "augmentation changes numbers, but inputs are tokens; leave augmentation out"
        )
    if limit is not None and train.vocabulary > limit:
        raise InputError(
            f"the training set has ids up to {train.vocabulary - 1:,}, but {model.name} says "
            f"vocabulary={limit:,}: up to {limit - 1:,}; give a larger embedding"
        )
    x = splits.validation.x
    if not isinstance(x, jax.core.Tracer):
        said = f"{model.name} knows" if limit is not None else "the training set has"
        known = train.vocabulary if limit is None else limit
        cure = f"{said} ids up to {known - 1:,}; "
        cure += (
            "give vocabulary= to Model.from_linen or the like, if the model knows more"
            if limit is None
            else "give a larger embedding"
        )
        tokens.check_known_ids(np.asarray(x), known, "the validation set has the id", cure)


def _check_sample(sample: Any, examples: int) -> tuple[Array, Array]:
    """A sample as arrays. Raises InputError for anything else."""
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        raise InputError(
            f"sample is {shown(sample)}; give a pair (indices, count), as resample.alone(i) has it"
        )
    indices, count = (_numbers(f"sample[{i}]", each, jnp.int32) for i, each in enumerate(sample))
    if indices.shape != (examples,) or count.shape != ():
        raise InputError(
            f"sample is (indices, count) with shapes {indices.shape} and {count.shape}; "
            f"give the indices padded to ({examples},) and one count"
        )
    if not isinstance(count, jax.core.Tracer) and not 1 <= int(count) <= examples:
        raise InputError(f"the sample's count is {int(count)}; give a number from 1 to {examples}")
    if (
        not isinstance(indices, jax.core.Tracer)
        and not np.isin(np.asarray(indices), np.arange(examples)).all()
    ):
        raise InputError(
            f"the sample's indices must be row numbers from 0 to {examples - 1}; give such"
        )
    return indices, count


def check_params(problem: Problem, params: PyTree | None) -> PyTree | None:
    """Parameters to start from. Raises InputError for those of another model."""
    if params is None:
        return None
    if isinstance(params, Run):
        raise InputError("params is a Run; give its parameters, run.params")
    fresh, _ = jax.eval_shape(
        functools.partial(initial, problem.model), jax.random.key(0), input_shape(problem.splits)
    )
    if (given := _shapes(params)) != (wanted := _shapes(fresh)):
        raise InputError(
            f"params do not belong to this model: given {given}, wanted {wanted}; give those of "
            "the same model, or none"
        )
    return params


def check_signals(signals: object) -> None:
    """Raises InputError for what is no number of steps at which signals are taken."""
    if signals is not None:
        check_whole("signals", signals, 1)


def without_signals_of_kernel(plan: Plan, problem: Problem) -> Problem:
    """The problem without signals where the plan's kernel computes the steps, which takes none; the
    logger "jaxnet" says so.
    """
    if problem.signals is None or plan.implementation != "resident":
        return problem
    logger.warning(
        "signals are not measured: the TPU kernel trains %s. To measure them, give "
        "Plan(implementation='xla')",
        problem.model.name,
    )
    return replace(problem, signals=None)


def check_steps(recipe: Recipe, of_epoch: int) -> None:
    """Raise InputError for a run of more steps than can be counted. of_epoch: steps of an epoch."""
    if (count := recipe.epochs * of_epoch) > MOST_STEPS or recipe.epochs > MOST_EPOCHS:
        most = min(MOST_EPOCHS, MOST_STEPS // max(of_epoch, 1))
        raise InputError(
            f"epochs is {recipe.epochs}: with {of_epoch:,} steps each these are {count:,} steps, "
            f"but a run has at most {MOST_STEPS:,}, and "
            f"at most {MOST_EPOCHS:,} epochs; give at most {most:,} epochs, or a larger batch_size"
        )


def without_test(splits: Splits) -> Splits:
    """What training sees."""
    return Splits(splits.train, splits.validation, NO_EXAMPLES, splits.standardization)


def _check_plan(plan: Plan) -> None:
    for name in ("devices", "chunk", "processes", "micro_batch"):
        if name != "micro_batch" or plan.micro_batch is not None:
            check_whole(f"{name} of the plan", getattr(plan, name), 0)
    check_kind("implementation of the plan", plan.implementation, str, "auto, xla or resident")


def _meant(name: str, value: Any) -> str | None:
    """How the message ends where it shows what was meant; None where it does not."""
    if name == "model":
        return _model(value)
    if isinstance(value, type) and issubclass(value, ARGUMENT_KINDS[name][0]):
        return f" itself; give one of it, such as {ARGUMENT_KINDS[name][1].split('such as ')[-1]}"
    if name == "splits" and isinstance(value, Dataset | Stream):
        return (
            ", one part of a data set; give the Splits that it is of, or make some with "
            "jaxnet.split(dataset.x, dataset.y)"
        )
    if name == "splits" and isinstance(value, tuple | list) and len(value) == 2:
        return "; give jaxnet.split(x, y), which makes training, validation and test set of them"
    if name == "splits" and isinstance(value, Frame):
        return "; give jaxnet.load(frame, label=...), which makes training, validation and test set"
    if name == "splits" and isinstance(value, str):
        return f"; give jaxnet.load({value!r})"
    if name == "recipe" and isinstance(value, dict):
        return "; give jaxnet.Recipe(**recipe)"
    if name == "dataset" and isinstance(value, Splits):
        return ", which has three parts; give one of them, such as splits.test"
    if name == "dataset":
        return (
            "; give a Dataset, such as splits.test; of arrays x and y it is jaxnet.Dataset(x, "
            "y, schema=run.schema), with classes from 0"
        )
    return None


def _model(value: Any) -> str | None:
    """The same of what is given for a model."""
    if isinstance(value, int):
        return f"; give jaxnet.mlp(({value},))"
    if isinstance(value, tuple | list) and value and all(isinstance(width, int) for width in value):
        return f"; give jaxnet.mlp({tuple(value)})"
    if (
        getattr(value, "__module__", None) == builtin.__name__
        and callable(value)
        and hasattr(value, "__name__")
    ):
        return f"; call it: jaxnet.{value.__name__}()"
    cls = value if isinstance(value, type) else type(value)
    for base in cls.__mro__:
        for library, what in LIBRARIES.items():
            if f"{base.__module__}.".startswith(f"{library}."):
                return f", which is {what.format(cls.__name__)}"
    return None


def _numbers(name: str, values: Any, dtype: Any) -> Array:
    """An array of numbers as JAX has them. Raises InputError for anything else."""
    try:
        return jnp.asarray(values, dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{name} is {shown(values)}, which is no array of numbers ({error}); give one"
        ) from None


def _shapes(tree: PyTree) -> str:
    return str(jax.tree.map(lambda leaf: "x".join(map(str, jnp.shape(leaf))), tree))

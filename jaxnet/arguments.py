"""The arguments that the verbs share: what is of another kind is refused, and the message says what
to give instead.

Only kinds are looked at, which takes a microsecond; values are checked where they are used.
"""

from typing import Any

from jaxnet.data import Dataset, Splits, Stream
from jaxnet.errors import InputError, check_kind, check_path, check_whole, shown
from jaxnet.models.model import Model
from jaxnet.recipe import Recipe
from jaxnet.run import Population, Run
from jaxnet.runtime.plan import Plan

KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "model": (Model, "a Model, such as jaxnet.mlp((128, 64))"),
    "splits": (Splits, "Splits, as jaxnet.split makes them of arrays and jaxnet.load of files"),
    "recipe": (Recipe, "a Recipe, such as jaxnet.Recipe(epochs=5)"),
    "run": ((Run, Population), "a Run, as jaxnet.fit and jaxnet.train return it"),
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
        kind, cure = KINDS[name]
        if not isinstance(value, kind):
            raise InputError(f"{name} is {shown(value)}{_meant(name, value) or f'; give {cure}'}")
    if "plan" in given:
        _check_plan(given["plan"])


def check_surroundings(out: object, watch: object, plan: object = None) -> None:
    """Raises InputError for what is no path, no function or no plan; each may be None."""
    if plan is not None:
        check(plan=plan)
    if out is not None:
        check_path("out", out)
    if watch is not None and not callable(watch):
        raise InputError(f"watch is {shown(watch)}; give a function, or leave it out")


def _check_plan(plan: Plan) -> None:
    for name in ("devices", "chunk", "processes", "micro_batch"):
        if name != "micro_batch" or plan.micro_batch is not None:
            check_whole(f"{name} of the plan", getattr(plan, name), 0)
    check_kind("implementation of the plan", plan.implementation, str, "auto, xla or resident")


def _meant(name: str, value: Any) -> str | None:
    """How the message ends where it shows what was meant; None where it does not."""
    if name == "model":
        return _model(value)
    if isinstance(value, type) and issubclass(value, KINDS[name][0]):
        return f" itself; give one of it, such as {KINDS[name][1].split('such as ')[-1]}"
    if name == "splits" and isinstance(value, Dataset | Stream):
        return (
            ", one part of a data set; give the Splits that it is of, or make some with "
            "jaxnet.split(dataset.x, dataset.y)"
        )
    if name == "splits" and isinstance(value, tuple | list) and len(value) == 2:
        return "; give jaxnet.split(x, y), which makes training, validation and test set of them"
    if name == "splits" and isinstance(value, str):
        return f"; give jaxnet.load({value!r})"
    if name == "recipe" and isinstance(value, dict):
        return "; give jaxnet.Recipe(**recipe)"
    if name == "dataset" and isinstance(value, Splits):
        return ", which has three parts; give one of them, such as splits.test"
    if name == "dataset":
        return (
            "; give a Dataset, such as splits.test; of arrays x and y it is jaxnet.Dataset(x, "
            "y, run.classes), with classes from 0"
        )
    return None


def _model(value: Any) -> str | None:
    """The same of what is given for a model."""
    if isinstance(value, int):
        return f"; give jaxnet.mlp(({value},))"
    if isinstance(value, tuple | list) and value and all(isinstance(width, int) for width in value):
        return f"; give jaxnet.mlp({tuple(value)})"
    if (
        getattr(value, "__module__", None) == Model.__module__
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

"""Load a data set, and import what every training needs while its files are unpacked."""

import functools
import importlib
from collections.abc import Callable
from typing import ParamSpec

from jaxnet.data import Splits
from jaxnet.data.sources.load import load as read
from jaxnet.errors import renamed

Given = ParamSpec("Given")
SLOW_IMPORTS = ("optax", "jaxnet.models.layers")  # layers imports Flax


def _importing(read: Callable[Given, Splits]) -> Callable[Given, Splits]:
    """The same function, which by default imports SLOW_IMPORTS meanwhile."""

    @functools.wraps(read, ("__name__", "__qualname__", "__doc__", "__annotations__"))
    def load(*args: Given.args, **options: Given.kwargs) -> Splits:
        options.setdefault("meanwhile", import_for_training)
        return read(*args, **options)

    return load


def import_for_training() -> None:
    """Import the modules that every training needs and that take long to import."""
    for module in SLOW_IMPORTS:
        importlib.import_module(module)


# Former names are answered here too, so that the warning points at the caller.
load = renamed(ignore="drop_columns")(_importing(read))

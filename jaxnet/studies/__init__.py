"""Studies: networks trained to answer a question about a model, a data set and a recipe.

A study is a function of (model, splits, recipe, key) and options by keyword. It returns a frozen
dataclass and prints nothing. Two take something else: `sweep` also takes trials, before the key,
and `compare_runs` takes runs that are trained already. `diagnose`, `learning_curve` and `sweep` are
in `jaxnet`.

A name is imported when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxnet.studies.bias_variance import measure_bias_variance as measure_bias_variance
    from jaxnet.studies.comparison import compare_runs as compare_runs
    from jaxnet.studies.label_errors import find_label_errors as find_label_errors
    from jaxnet.studies.seeds import spread_over_seeds as spread_over_seeds
    from jaxnet.studies.shift import study_shift as study_shift

_STUDY_MODULES = {
    "compare_runs": "comparison",
    "find_label_errors": "label_errors",
    "measure_bias_variance": "bias_variance",
    "spread_over_seeds": "seeds",
    "study_shift": "shift",
}


def __getattr__(name: str) -> object:
    """A study, from the module that defines it."""
    if name not in _STUDY_MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_STUDY_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_STUDY_MODULES})

"""Studies: networks trained to answer a question about a model, a data set and a recipe.

A study is a function of (model, splits, recipe, key) and options by keyword. It returns a frozen
dataclass and prints nothing. Two take something else: `sweep` also takes trials, before the key,
and `compare_runs` takes runs that are trained already. `advise`, `diagnose`, `learning_curve`
and `sweep` are in `jaxnet`.

A name is imported when it is first asked for.
"""

from typing import TYPE_CHECKING

from jaxnet.runtime.lazy import attach as _attach

if TYPE_CHECKING:
    from jaxnet.studies.bias_variance import measure_bias_variance as measure_bias_variance
    from jaxnet.studies.comparison import compare_runs as compare_runs
    from jaxnet.studies.label_errors import find_label_errors as find_label_errors
    from jaxnet.studies.seeds import spread_over_seeds as spread_over_seeds
    from jaxnet.studies.shift import study_shift as study_shift

_NAMES = {
    "jaxnet.studies.bias_variance": ("measure_bias_variance",),
    "jaxnet.studies.comparison": ("compare_runs",),
    "jaxnet.studies.label_errors": ("find_label_errors",),
    "jaxnet.studies.seeds": ("spread_over_seeds",),
    "jaxnet.studies.shift": ("study_shift",),
}
__getattr__, __dir__ = _attach(__name__, _NAMES)

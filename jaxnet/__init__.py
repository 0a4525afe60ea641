"""jaxnet: why does my network not generalize, and what should I change?"""

import importlib
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxnet.core.recipe import Recipe as Recipe
    from jaxnet.core.run import Run as Run
    from jaxnet.data import Augmentation as Augmentation
    from jaxnet.data import Dataset as Dataset
    from jaxnet.data import Splits as Splits
    from jaxnet.data import class_weights as class_weights
    from jaxnet.data import folds as folds
    from jaxnet.data import prepare as prepare
    from jaxnet.data import resampling as resampling
    from jaxnet.data import split as split
    from jaxnet.data import stream as stream
    from jaxnet.diagnostics.diagnosis import Diagnosis as Diagnosis
    from jaxnet.engine.checkpoint import restore as restore
    from jaxnet.engine.checkpoint import save as save
    from jaxnet.engine.fit import epoch as epoch
    from jaxnet.engine.fit import fit as fit
    from jaxnet.engine.fit import start as start
    from jaxnet.engine.loading import load as load
    from jaxnet.engine.loop import train as train
    from jaxnet.errors import InputError as InputError
    from jaxnet.interop.export import export as export
    from jaxnet.interop.sklearn import JaxnetClassifier as JaxnetClassifier
    from jaxnet.interop.sklearn import JaxnetRegressor as JaxnetRegressor
    from jaxnet.models.builtin import cnn as cnn
    from jaxnet.models.builtin import linear as linear
    from jaxnet.models.builtin import mlp as mlp
    from jaxnet.models.losses import cross_entropy as cross_entropy
    from jaxnet.models.losses import squared as squared
    from jaxnet.models.model import Model as Model
    from jaxnet.models.model import describe as describe
    from jaxnet.population.fit import fit_population as fit_population
    from jaxnet.population.halving import Halving as Halving
    from jaxnet.population.predictions import evaluate as evaluate
    from jaxnet.population.predictions import predict as predict
    from jaxnet.population.result import Population as Population
    from jaxnet.runtime import processes as processes
    from jaxnet.runtime.devices import enable_cache as enable_cache
    from jaxnet.runtime.devices import use_cpu_devices as use_cpu_devices
    from jaxnet.runtime.plan import Plan as Plan
    from jaxnet.studies import space as space
    from jaxnet.studies.diagnose import diagnose as diagnose
    from jaxnet.studies.learning_curve import LearningCurve as LearningCurve
    from jaxnet.studies.learning_curve import learning_curve as learning_curve
    from jaxnet.studies.sweep import Sweep as Sweep
    from jaxnet.studies.sweep import sweep as sweep

_NAMES = {
    "core.recipe": ("Recipe",),
    "core.run": ("Run",),
    "data": (
        "Augmentation",
        "Dataset",
        "Splits",
        "class_weights",
        "folds",
        "prepare",
        "split",
        "stream",
    ),
    "diagnostics.diagnosis": ("Diagnosis",),
    "engine.checkpoint": ("restore", "save"),
    "engine.fit": ("epoch", "fit", "start"),
    "engine.loading": ("load",),
    "engine.loop": ("train",),
    "errors": ("InputError",),
    "interop.export": ("export",),
    "interop.sklearn": ("JaxnetClassifier", "JaxnetRegressor"),
    "models.builtin": ("cnn", "linear", "mlp"),
    "models.losses": ("cross_entropy", "squared"),
    "models.model": ("Model", "describe"),
    "population.fit": ("fit_population",),
    "population.halving": ("Halving",),
    "population.predictions": ("evaluate", "predict"),
    "population.result": ("Population",),
    "runtime.devices": ("enable_cache", "use_cpu_devices"),
    "runtime.plan": ("Plan",),
    "studies.diagnose": ("diagnose",),
    "studies.learning_curve": ("LearningCurve", "learning_curve"),
    "studies.sweep": ("Sweep", "sweep"),
}
_MODULES = {
    "processes": "runtime.processes",
    "resampling": "data.resampling",
    "space": "studies.space",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    """A public name, whose module is imported when it is first asked for: a training does not wait
    for what it does not use.
    """
    if name in _MODULE_OF:
        value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    elif name in _MODULES or (
        not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}")
    ):
        value = importlib.import_module(f".{_MODULES.get(name, name)}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF, *_MODULES, "data", "diagnostics"})


# scikit-learn need not be there
__all__ = [*_MODULES, *(name for name in _MODULE_OF if not name.startswith("Jaxnet"))]

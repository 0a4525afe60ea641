"""jaxnet: why does my network not generalise, and what should I change?"""

import importlib
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import resampling as resampling
    from .checkpoint import restore as restore
    from .checkpoint import save as save
    from .data import Augmentation as Augmentation
    from .data import Dataset as Dataset
    from .data import Splits as Splits
    from .data import class_weights as class_weights
    from .data import folds as folds
    from .data import load as load
    from .data import prepare as prepare
    from .data import split as split
    from .data import stream as stream
    from .devices import Plan as Plan
    from .devices import enable_cache as enable_cache
    from .devices import use_cpu_devices as use_cpu_devices
    from .diagnostics.diagnosis import Diagnosis as Diagnosis
    from .errors import InputError as InputError
    from .evaluation import evaluate as evaluate
    from .evaluation import predict as predict
    from .halving import Halving as Halving
    from .interop.export import export as export
    from .interop.sklearn import JaxnetClassifier as JaxnetClassifier
    from .interop.sklearn import JaxnetRegressor as JaxnetRegressor
    from .loop import train as train
    from .losses import cross_entropy as cross_entropy
    from .losses import squared as squared
    from .models import Model as Model
    from .models import cnn as cnn
    from .models import describe as describe
    from .models import linear as linear
    from .models import mlp as mlp
    from .population import fit_population as fit_population
    from .recipe import Recipe as Recipe
    from .run import Population as Population
    from .run import Run as Run
    from .studies import space as space
    from .studies.diagnose import diagnose as diagnose
    from .studies.learning_curve import LearningCurve as LearningCurve
    from .studies.learning_curve import learning_curve as learning_curve
    from .studies.sweep import Sweep as Sweep
    from .studies.sweep import sweep as sweep
    from .training import epoch as epoch
    from .training import fit as fit
    from .training import start as start

_NAMES = {
    "checkpoint": ("restore", "save"),
    "data": ("Augmentation", "Dataset", "Splits", "class_weights", "folds", "load", "prepare", "split", "stream"),
    "devices": ("Plan", "enable_cache", "use_cpu_devices"),
    "diagnostics.diagnosis": ("Diagnosis",),
    "errors": ("InputError",),
    "evaluation": ("evaluate", "predict"),
    "halving": ("Halving",),
    "interop.export": ("export",),
    "interop.sklearn": ("JaxnetClassifier", "JaxnetRegressor"),
    "loop": ("train",),
    "losses": ("cross_entropy", "squared"),
    "models": ("Model", "cnn", "describe", "linear", "mlp"),
    "population": ("fit_population",),
    "recipe": ("Recipe",),
    "run": ("Population", "Run"),
    "studies.diagnose": ("diagnose",),
    "studies.learning_curve": ("LearningCurve", "learning_curve"),
    "studies.sweep": ("Sweep", "sweep"),
    "training": ("epoch", "fit", "start"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}
_MODULES = {"space": "studies.space"}  # public modules that stand in a package


def __getattr__(name: str) -> object:
    """A public name, whose module is imported when it is first asked for: a training does not wait for what it does not use."""
    if name in _MODULE_OF:
        value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    elif name in _MODULES:
        value = importlib.import_module(f".{_MODULES[name]}", __name__)
    elif not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}"):
        return importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF, *_MODULES, "data", "diagnostics", "resampling", "studies"})


__all__ = [name for name, module in _MODULE_OF.items() if module != "interop.sklearn"]  # scikit-learn need not be there

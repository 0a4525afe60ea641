"""jaxnet: why does my network not generalize, and what should I change?"""

from typing import TYPE_CHECKING

from jaxnet.runtime.lazy import attach as _attach

if TYPE_CHECKING:
    from jaxnet.core.recipe import Recipe as Recipe
    from jaxnet.core.run import Run as Run
    from jaxnet.data import Augmentation as Augmentation
    from jaxnet.data import Dataset as Dataset
    from jaxnet.data import Splits as Splits
    from jaxnet.data import Table as Table
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
    from jaxnet.models.combined import without_inputs as without_inputs
    from jaxnet.models.losses import cross_entropy as cross_entropy
    from jaxnet.models.losses import squared as squared
    from jaxnet.models.model import Model as Model
    from jaxnet.models.model import describe as describe
    from jaxnet.population.ensemble import ensemble as ensemble
    from jaxnet.population.fit import fit_population as fit_population
    from jaxnet.population.halving import Halving as Halving
    from jaxnet.population.prediction_sets import predict as predict
    from jaxnet.population.predictions import evaluate as evaluate
    from jaxnet.population.result import Population as Population
    from jaxnet.runtime import processes as processes
    from jaxnet.runtime.devices import enable_cache as enable_cache
    from jaxnet.runtime.devices import use_cpu_devices as use_cpu_devices
    from jaxnet.runtime.plan import Plan as Plan
    from jaxnet.studies import space as space
    from jaxnet.studies.advice import Advice as Advice
    from jaxnet.studies.advise import advise as advise
    from jaxnet.studies.census import census as census
    from jaxnet.studies.census_result import Census as Census
    from jaxnet.studies.diagnose import diagnose as diagnose
    from jaxnet.studies.learning_curve import LearningCurve as LearningCurve
    from jaxnet.studies.learning_curve import learning_curve as learning_curve
    from jaxnet.studies.sweep import Sweep as Sweep
    from jaxnet.studies.sweep import sweep as sweep

_NAMES = {
    "jaxnet.core.recipe": ("Recipe",),
    "jaxnet.core.run": ("Run",),
    "jaxnet.data": (
        "Augmentation",
        "Dataset",
        "Splits",
        "Table",
        "class_weights",
        "folds",
        "prepare",
        "resampling",
        "split",
        "stream",
    ),
    "jaxnet.diagnostics.diagnosis": ("Diagnosis",),
    "jaxnet.engine.checkpoint": ("restore", "save"),
    "jaxnet.engine.fit": ("epoch", "fit", "start"),
    "jaxnet.engine.loading": ("load",),
    "jaxnet.engine.loop": ("train",),
    "jaxnet.errors": ("InputError",),
    "jaxnet.interop.export": ("export",),
    "jaxnet.interop.sklearn": ("JaxnetClassifier", "JaxnetRegressor"),
    "jaxnet.models.builtin": ("cnn", "linear", "mlp"),
    "jaxnet.models.combined": ("without_inputs",),
    "jaxnet.models.losses": ("cross_entropy", "squared"),
    "jaxnet.models.model": ("Model", "describe"),
    "jaxnet.population.ensemble": ("ensemble",),
    "jaxnet.population.fit": ("fit_population",),
    "jaxnet.population.halving": ("Halving",),
    "jaxnet.population.prediction_sets": ("predict",),
    "jaxnet.population.predictions": ("evaluate",),
    "jaxnet.population.result": ("Population",),
    "jaxnet.runtime": ("processes",),
    "jaxnet.runtime.devices": ("enable_cache", "use_cpu_devices"),
    "jaxnet.runtime.plan": ("Plan",),
    "jaxnet.studies": ("space",),
    "jaxnet.studies.advice": ("Advice",),
    "jaxnet.studies.advise": ("advise",),
    "jaxnet.studies.census": ("census",),
    "jaxnet.studies.census_result": ("Census",),
    "jaxnet.studies.diagnose": ("diagnose",),
    "jaxnet.studies.learning_curve": ("LearningCurve", "learning_curve"),
    "jaxnet.studies.sweep": ("Sweep", "sweep"),
}
__getattr__, __dir__ = _attach(__name__, _NAMES, ("data", "diagnostics"))

# scikit-learn need not be there
__all__ = [name for names in _NAMES.values() for name in names if not name.startswith("Jaxnet")]

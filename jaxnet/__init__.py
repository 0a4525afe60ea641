"""jaxnet: why does my network not generalise, and what should I change?"""

from typing import TYPE_CHECKING

from . import resampling as resampling
from . import space as space
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
from .diagnostics.diagnose import diagnose as diagnose
from .diagnostics.diagnosis import Diagnosis as Diagnosis
from .diagnostics.learning_curve import LearningCurve as LearningCurve
from .diagnostics.learning_curve import learning_curve as learning_curve
from .errors import InputError as InputError
from .evaluation import evaluate as evaluate
from .evaluation import predict as predict
from .exporting import export as export
from .halving import Halving as Halving
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
from .sweeping import Sweep as Sweep
from .sweeping import sweep as sweep
from .training import epoch as epoch
from .training import fit as fit
from .training import start as start

if TYPE_CHECKING:
    from .estimators import JaxnetClassifier as JaxnetClassifier
    from .estimators import JaxnetRegressor as JaxnetRegressor
else:

    def __getattr__(name: str) -> object:
        """The estimators, imported when they are asked for: scikit-learn need not be there."""
        if name not in ("JaxnetClassifier", "JaxnetRegressor"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import estimators

        return getattr(estimators, name)

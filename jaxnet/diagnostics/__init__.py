"""Diagnostics: how good a network is, why it is not better, and how certain that is.

Most functions here take plain arrays of predictions, from any library, and train nothing, except
for the classifier of the two-sample test. `loss_course` and `find_failure` take what training
returned. `jaxnet.diagnose` and `jaxnet.learning_curve` train.
"""

from jaxnet.diagnostics.diagnosis import Diagnosis as Diagnosis
from jaxnet.diagnostics.findings import Finding as Finding
from jaxnet.diagnostics.findings import Remedy as Remedy
from jaxnet.diagnostics.ladder import Ladder as Ladder
from jaxnet.diagnostics.ladder import error_ladder as error_ladder
from jaxnet.diagnostics.training import LossCourse as LossCourse
from jaxnet.diagnostics.training import loss_course as loss_course
from jaxnet.diagnostics.two_sample import two_sample_test as two_sample_test
from jaxnet.engine.failure import find_failure as find_failure
from jaxnet.errors import former as _former
from jaxnet.stats.bias_variance import Decomposition as Decomposition
from jaxnet.stats.bias_variance import Difference as Difference
from jaxnet.stats.bias_variance import bias_variance_decomposition as bias_variance_decomposition
from jaxnet.stats.bias_variance import paired_decomposition as paired_decomposition
from jaxnet.stats.calibration import Calibration as Calibration
from jaxnet.stats.calibration import calibration as calibration
from jaxnet.stats.calibration import scaled as scaled
from jaxnet.stats.calibration import temperature as temperature
from jaxnet.stats.comparison import EnsembleGain as EnsembleGain
from jaxnet.stats.comparison import ValidationCurve as ValidationCurve
from jaxnet.stats.comparison import ensemble_gain as ensemble_gain
from jaxnet.stats.comparison import error_of as error_of
from jaxnet.stats.comparison import network_difference as network_difference
from jaxnet.stats.comparison import paired_difference as paired_difference
from jaxnet.stats.comparison import validation_curve as validation_curve
from jaxnet.stats.cross_fitting import CrossFittedErrors as CrossFittedErrors
from jaxnet.stats.cross_fitting import cross_fitted_errors as cross_fitted_errors
from jaxnet.stats.estimate import Estimate as Estimate
from jaxnet.stats.estimate import combination as combination
from jaxnet.stats.estimate import deviation as deviation
from jaxnet.stats.estimate import exact as exact
from jaxnet.stats.estimate import mean as mean
from jaxnet.stats.estimate import repeated as repeated
from jaxnet.stats.estimate import wilson as wilson
from jaxnet.stats.extrapolation import Needed as Needed
from jaxnet.stats.extrapolation import examples_needed as examples_needed
from jaxnet.stats.extrapolation import extrapolate as extrapolate
from jaxnet.stats.label_errors import HardExample as HardExample
from jaxnet.stats.label_errors import hard_examples as hard_examples
from jaxnet.stats.label_errors import wrong_labels as wrong_labels
from jaxnet.stats.label_shift import LabelShift as LabelShift
from jaxnet.stats.label_shift import label_shift as label_shift
from jaxnet.stats.power import seeds_needed as seeds_needed
from jaxnet.stats.scores import ClassScores as ClassScores
from jaxnet.stats.scores import ValueScores as ValueScores
from jaxnet.stats.scores import class_scores as class_scores
from jaxnet.stats.scores import value_scores as value_scores
from jaxnet.stats.two_sample import TwoSample as TwoSample
from jaxnet.stats.unlabeled_error import UnlabeledError as UnlabeledError
from jaxnet.stats.unlabeled_error import (
    estimate_error_without_labels as estimate_error_without_labels,
)
from jaxnet.stats.variance_components import SampleAndSeed as SampleAndSeed
from jaxnet.stats.variance_components import sample_and_seed_variance as sample_and_seed_variance

__getattr__ = _former(__name__, UnlabelledError="UnlabeledError")

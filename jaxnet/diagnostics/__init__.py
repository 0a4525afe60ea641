"""Diagnostics: how good is a network, why is it not better, and how sure is that.

Everything here takes plain arrays of predictions, of whatever library; `jaxnet.diagnose` and
`jaxnet.learning_curve` train.
"""

from .calibration import Calibration as Calibration
from .calibration import calibration as calibration
from .calibration import scaled as scaled
from .calibration import temperature as temperature
from .comparison import EnsembleGain as EnsembleGain
from .comparison import ValidationCurve as ValidationCurve
from .comparison import ensemble_gain as ensemble_gain
from .comparison import error_of as error_of
from .comparison import network_difference as network_difference
from .comparison import paired_difference as paired_difference
from .comparison import validation_curve as validation_curve
from .decomposition import Decomposition as Decomposition
from .decomposition import Difference as Difference
from .decomposition import bias_variance_decomposition as bias_variance_decomposition
from .decomposition import paired_decomposition as paired_decomposition
from .diagnosis import Diagnosis as Diagnosis
from .extrapolation import Needed as Needed
from .extrapolation import examples_needed as examples_needed
from .extrapolation import extrapolate as extrapolate
from .findings import Finding as Finding
from .findings import Remedy as Remedy
from .intervals import Estimate as Estimate
from .intervals import combination as combination
from .intervals import deviation as deviation
from .intervals import exact as exact
from .intervals import mean as mean
from .intervals import repeated as repeated
from .intervals import wilson as wilson
from .label_shift import LabelShift as LabelShift
from .label_shift import label_shift as label_shift
from .labels import HardExample as HardExample
from .labels import hard_examples as hard_examples
from .labels import wrong_labels as wrong_labels
from .ladder import Ladder as Ladder
from .ladder import error_ladder as error_ladder
from .power import seeds_needed as seeds_needed
from .sources import SampleAndSeed as SampleAndSeed
from .sources import sample_and_seed_variance as sample_and_seed_variance
from .two_sample import TwoSample as TwoSample
from .two_sample import two_sample_test as two_sample_test
from .unlabelled import UnlabelledError as UnlabelledError
from .unlabelled import estimate_error_without_labels as estimate_error_without_labels

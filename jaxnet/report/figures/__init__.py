"""Figures of results, each written as PNG and, if it has lines, as SVG; none computes anything that
is reported.
"""

from jaxnet.report.figures.advice import gains as gains
from jaxnet.report.figures.calibration import reliability as reliability
from jaxnet.report.figures.census import errors_of_examples as errors_of_examples
from jaxnet.report.figures.comparison import comparison_of_runs as comparison_of_runs
from jaxnet.report.figures.comparison import curves_of_runs as curves_of_runs
from jaxnet.report.figures.comparison import differences as differences
from jaxnet.report.figures.diagnosis import bias_variance as bias_variance
from jaxnet.report.figures.diagnosis import decomposition as decomposition
from jaxnet.report.figures.diagnosis import error_analysis as error_analysis
from jaxnet.report.figures.diagnosis import ladder as ladder
from jaxnet.report.figures.diagnosis import learning_curve as learning_curve
from jaxnet.report.figures.diagnosis import spread as spread
from jaxnet.report.figures.examples import augmented as augmented
from jaxnet.report.figures.examples import confusion as confusion
from jaxnet.report.figures.examples import values as values
from jaxnet.report.figures.examples import wrong_images as wrong_images
from jaxnet.report.figures.labels import doubtful as doubtful
from jaxnet.report.figures.labels import doubtful_labels as doubtful_labels
from jaxnet.report.figures.shift import estimated_errors as estimated_errors
from jaxnet.report.figures.shift import power as power
from jaxnet.report.figures.shift import shifts as shifts
from jaxnet.report.figures.shift import unlike as unlike
from jaxnet.report.figures.signals import signals as signals
from jaxnet.report.figures.training import curves as curves
from jaxnet.report.figures.training import validation_curve as validation_curve

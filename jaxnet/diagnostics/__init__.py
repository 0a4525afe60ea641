"""Diagnostics: how good is a network, why is it not better, and how sure is that."""

from .comparison import error_of as error_of
from .comparison import paired_difference as paired_difference
from .decomposition import Decomposition as Decomposition
from .decomposition import bias_variance_decomposition as bias_variance_decomposition
from .intervals import Estimate as Estimate
from .intervals import combination as combination
from .intervals import deviation as deviation
from .intervals import exact as exact
from .intervals import mean as mean
from .intervals import repeated as repeated
from .intervals import wilson as wilson
from .ladder import Finding as Finding
from .ladder import Ladder as Ladder
from .ladder import Remedy as Remedy
from .ladder import error_ladder as error_ladder
from .power import seeds_needed as seeds_needed

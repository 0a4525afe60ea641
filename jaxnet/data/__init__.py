"""Data: a Dataset, its Splits, and the sources they come from."""

from .augmentation import Augmentation as Augmentation
from .corruption import corrupt as corrupt
from .corruption import knock_out as knock_out
from .corruption import with_frequencies as with_frequencies
from .dataset import Column as Column
from .dataset import Dataset as Dataset
from .dataset import Splits as Splits
from .dataset import Standardisation as Standardisation
from .dataset import class_weights as class_weights
from .overlap import overlaps as overlaps
from .prepared import prepare as prepare
from .sources import load as load
from .splitting import folds as folds
from .splitting import split as split
from .streaming import Stream as Stream
from .streaming import stream as stream

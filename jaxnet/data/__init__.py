"""Datasets and their Splits, from arrays, files or streams; nothing here knows a model."""

from jaxnet.data.augmentation import Augmentation as Augmentation
from jaxnet.data.corruption import corrupt as corrupt
from jaxnet.data.corruption import knock_out as knock_out
from jaxnet.data.corruption import with_frequencies as with_frequencies
from jaxnet.data.dataset import Dataset as Dataset
from jaxnet.data.dataset import Splits as Splits
from jaxnet.data.dataset import Standardization as Standardization
from jaxnet.data.dataset import class_weights as class_weights
from jaxnet.data.overlap import overlaps as overlaps
from jaxnet.data.schema import Column as Column
from jaxnet.data.schema import Schema as Schema
from jaxnet.data.sources.load import load as load
from jaxnet.data.sources.tfds import prepare as prepare
from jaxnet.data.splitting import folds as folds
from jaxnet.data.splitting import split as split
from jaxnet.data.streaming.stream import Stream as Stream
from jaxnet.data.streaming.stream import stream as stream
from jaxnet.data.tables.table import Table as Table
from jaxnet.errors import former

__getattr__ = former(__name__, Standardisation="Standardization")

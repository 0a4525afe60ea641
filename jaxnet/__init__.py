"""jaxnet: why does my network not generalise, and what should I change?"""

from .checkpoint import restore as restore
from .checkpoint import save as save
from .data import Dataset as Dataset
from .data import Splits as Splits
from .data import class_weights as class_weights
from .data import load as load
from .data import split as split
from .devices import enable_cache as enable_cache
from .devices import use_cpu_devices as use_cpu_devices
from .errors import InputError as InputError
from .evaluation import evaluate as evaluate
from .evaluation import predict as predict
from .loop import train as train
from .losses import cross_entropy as cross_entropy
from .losses import squared as squared
from .models import Model as Model
from .models import cnn as cnn
from .models import describe as describe
from .models import linear as linear
from .models import mlp as mlp
from .recipe import Recipe as Recipe
from .run import Run as Run
from .training import epoch as epoch
from .training import fit as fit
from .training import start as start

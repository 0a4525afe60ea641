"""The command `jaxnet train`, from a checkout: python -m experiments.train"""

import sys

from experiments import BEGAN
from jaxnet.cli import run

if __name__ == "__main__":
    sys.exit(run("train", program="python -m experiments.train", began=BEGAN))

"""The command `jaxnet mnist`, from a checkout: python -m experiments.mnist"""

import sys

from experiments import BEGAN
from jaxnet.cli import run

if __name__ == "__main__":
    sys.exit(run("mnist", program="python -m experiments.mnist", began=BEGAN))

"""The command `jaxnet learning-curve`, from a checkout: python -m experiments.learning_curve"""

import sys

from experiments import BEGAN
from jaxnet.cli import run

if __name__ == "__main__":
    sys.exit(run("learning_curve", program="python -m experiments.learning_curve", began=BEGAN))

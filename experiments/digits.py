"""The command `jaxnet digits`, from a checkout: python -m experiments.digits"""

import sys

from experiments import BEGAN
from jaxnet.cli import run

if __name__ == "__main__":
    sys.exit(run("digits", program="python -m experiments.digits", began=BEGAN))

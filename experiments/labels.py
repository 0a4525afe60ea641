"""The command `jaxnet labels`, from a checkout: python -m experiments.labels"""

import sys

from experiments import BEGAN
from jaxnet.cli import run

if __name__ == "__main__":
    sys.exit(run("labels", program="python -m experiments.labels", began=BEGAN))

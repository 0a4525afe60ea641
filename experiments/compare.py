"""The command `jaxnet compare`, from a checkout: python -m experiments.compare"""

import sys

from experiments import BEGAN
from jaxnet.cli import run

if __name__ == "__main__":
    sys.exit(run("compare", program="python -m experiments.compare", began=BEGAN))

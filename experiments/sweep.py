"""The command `jaxnet sweep`, from a checkout: python -m experiments.sweep"""

import sys

from experiments import BEGAN
from jaxnet.cli import run

if __name__ == "__main__":
    sys.exit(run("sweep", program="python -m experiments.sweep", began=BEGAN))

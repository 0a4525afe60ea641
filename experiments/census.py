"""The command `jaxnet census`, from a checkout: python -m experiments.census"""

import sys

from experiments import BEGAN
from jaxnet.cli import run

if __name__ == "__main__":
    sys.exit(run("census", program="python -m experiments.census", began=BEGAN))

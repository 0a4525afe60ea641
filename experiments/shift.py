"""The command `jaxnet shift`, from a checkout: python -m experiments.shift"""

import sys

from experiments import BEGAN
from jaxnet.cli import run

if __name__ == "__main__":
    sys.exit(run("shift", program="python -m experiments.shift", began=BEGAN))

"""The command `jaxnet seeds`, from a checkout: python -m experiments.seeds"""

import sys

from experiments import BEGAN
from jaxnet.cli import run

if __name__ == "__main__":
    sys.exit(run("seeds", program="python -m experiments.seeds", began=BEGAN))

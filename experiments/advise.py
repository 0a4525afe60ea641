"""The command `jaxnet advise`, from a checkout: python -m experiments.advise"""

import sys

from experiments import BEGAN
from jaxnet.cli import run

if __name__ == "__main__":
    sys.exit(run("advise", program="python -m experiments.advise", began=BEGAN))

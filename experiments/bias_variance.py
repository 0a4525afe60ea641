"""The command `jaxnet bias-variance`, from a checkout: python -m experiments.bias_variance"""

import sys

from experiments import BEGAN
from jaxnet.cli import run

if __name__ == "__main__":
    sys.exit(run("bias_variance", program="python -m experiments.bias_variance", began=BEGAN))

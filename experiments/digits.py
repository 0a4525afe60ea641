"""How well does a small network read handwritten digits, after a few seconds of training?

python -m experiments.digits
"""

import sys

from experiments import BEGAN
from jaxnet.runner import Options, main

DIGITS = Options(dataset="digits", hidden=(256, 128), dropout=0.2)

if __name__ == "__main__":
    sys.exit(main("digits", DIGITS, __doc__, began=BEGAN))

"""How well does a small network read handwritten digits, after a few seconds of training?

python -m experiments.digits

Test accuracy 0.9772, standard deviation 0.0045 over seeds 0 to 9; 4.5 s each with an empty
compilation cache, everything included, on 2 cores of an AMD EPYC (AVX2), jax 0.10.2.
"""

import sys

from experiments import BEGAN
from jaxnet.cli import TrainOptions, main

DIGITS = TrainOptions(dataset="digits", hidden=(256, 128), epochs=30, dropout=0.2)

if __name__ == "__main__":
    sys.exit(main("digits", DIGITS, __doc__, began=BEGAN))

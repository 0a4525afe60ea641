"""How well does a multilayer perceptron read the digits of MNIST, in five epochs?

python -m experiments.mnist --data-dir FOLDER     with the four official files in FOLDER
"""

import sys

from experiments import BEGAN
from jaxnet.runner import Options, main

MNIST = Options(dataset="mnist", hidden=(256, 128), epochs=5, batch_size=128)

if __name__ == "__main__":
    sys.exit(main("mnist", MNIST, __doc__, began=BEGAN))

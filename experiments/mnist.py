"""How well does a multilayer perceptron read the digits of MNIST, in five epochs?

python -m experiments.mnist --data-dir FOLDER     with the four official files in FOLDER

Test accuracy 0.9829, standard deviation 0.0005 over seeds 0 to 9; 7.2 s each with an empty compilation cache, everything
included, on 2 cores of an AMD EPYC (AVX2), jax 0.10.2. Widths and recipe were chosen on the validation set.
"""

import sys

from experiments import BEGAN
from jaxnet.runner import Options, main

MNIST = Options(dataset="mnist", hidden=(256, 128), epochs=5, batch_size=128)

if __name__ == "__main__":
    sys.exit(main("mnist", MNIST, __doc__, began=BEGAN))

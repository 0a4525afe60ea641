"""How well does a network learn this data set, and what would improve it?

    python -m experiments.train --dataset digits
    python -m experiments.train --dataset FILE.npz --hidden 256 128 --epochs 20
    python -m experiments.train --stream --dataset FOLDER   more than fits in memory: x.npy and
                                                            y.npy, or Parquet
    python -m experiments.train predict --run DIR FILE...

Trains one network, judges it on examples it has not seen, and writes a folder with everything that
is reported. `digits` and `mnist` are this script with other defaults.
"""

import sys

from experiments import BEGAN
from jaxnet.cli import TrainOptions, main

if __name__ == "__main__":
    sys.exit(main("train", TrainOptions(), __doc__, began=BEGAN))

"""How well does a network learn this data set, and what would improve it?

    jaxnet train digits
    jaxnet train FILE.csv --label COLUMN
    jaxnet train FILE.npz --hidden 256 128 --epochs 20
    jaxnet train --stream --dataset FOLDER   more than fits in memory: x.npy and y.npy, or Parquet

Trains one network, judges it on examples it has not seen, and writes a folder with everything that
is reported. `digits` and `mnist` are this command with other defaults.
"""

from collections.abc import Sequence

from jaxnet.cli import runner
from jaxnet.cli.options import TrainOptions


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    return runner.main(
        "train", TrainOptions(), __doc__, began=began, arguments=arguments, program=program
    )

"""What is wrong with this model, and what would lower its error?

    jaxnet diagnose FILE.csv --label COLUMN
    jaxnet diagnose FOLDER --model cnn --members 32

Trains 16 networks. Each one leaves out a part of the examples and is judged on that part. Reports
how much of the error is bias, variance and mismatch, with 95% confidence intervals, and what to try
next. This is `jaxnet train` with `--members 16`.
"""

from collections.abc import Sequence

from jaxnet.cli import runner
from jaxnet.cli.options import TrainOptions

DIAGNOSE = TrainOptions(members=16)


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    return runner.main(
        "diagnose", DIAGNOSE, __doc__, began=began, arguments=arguments, program=program
    )

"""How do I get a data set of TensorFlow Datasets?

    jaxnet prepare cifar10

Downloads and converts it once, with TensorFlow; from then on it is read without TensorFlow.
"""

import sys
from collections.abc import Sequence

from jaxnet.cli import runner


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    del began
    return runner.further("prepare", sys.argv[1:] if arguments is None else arguments, program)

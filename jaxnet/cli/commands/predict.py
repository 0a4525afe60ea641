"""What does a trained network predict for new examples?

    jaxnet predict --run DIR new.csv digit.png

Writes a line for each row or image: the class with the probabilities of all classes, or the value.
"""

import sys
from collections.abc import Sequence

from jaxnet.cli import runner


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    del began
    return runner.further("predict", sys.argv[1:] if arguments is None else arguments, program)

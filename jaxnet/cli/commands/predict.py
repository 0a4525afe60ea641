"""What does a trained network say about new examples?

jaxnet predict --run DIR new.csv digit.png
"""

import sys
from collections.abc import Sequence

from jaxnet.cli import runner


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    del began
    return runner.further("predict", sys.argv[1:] if arguments is None else arguments, program)

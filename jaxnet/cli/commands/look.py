"""How does jaxnet read this file, and what would it learn?

    jaxnet look FILE.csv --label COLUMN
    jaxnet look FOLDER

Shows how the file is read, what each column becomes, the label and the task, and a command that
trains with them. It trains nothing.
"""

import sys
from collections.abc import Sequence

from jaxnet.cli import runner


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    del began
    return runner.further("look", sys.argv[1:] if arguments is None else arguments, program)

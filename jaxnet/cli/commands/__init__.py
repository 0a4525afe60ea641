"""The commands of `jaxnet`, each a module with a function `main`; `python -m experiments.NAME` runs
the same from a checkout.
"""

import ast
import gc
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxnet import progress

NO_LINES = ("look", "predict", "prepare")  # commands whose output is for programs, or short


def questions() -> dict[str, str]:
    """The question that each command answers, by name: what its module begins with."""
    docs = {
        path.stem.replace("_", "-"): ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(Path(__file__).parent.glob("[!_]*.py"))
    }
    return {name: f"{' '.join(doc.split('?')[0].split())}?" for name, doc in docs.items() if doc}


def run(
    command: str,
    arguments: Sequence[str] | None = None,
    *,
    began: float,
    program: str | None = None,
) -> int:
    """Run a command.

    Args:
        command: its name, such as "learning-curve".
        arguments: the words that follow it; by default those of this process.
        began: a reading of time.perf_counter when the process started.
        program: what the user typed to start it, for messages; by default "jaxnet COMMAND".

    Returns:
        The exit status.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    # importing takes a second or more, so the display comes first
    with progress.command(None if command in NO_LINES else lines_of(words)):
        module = importlib.import_module(f"{__name__}.{command.replace('-', '_')}")
        try:
            return module.main(words, program=program or f"jaxnet {command}", began=began)
        finally:
            gc.freeze()  # the exit need not walk over what is left


def lines_of(words: Sequence[str]) -> Any:
    """Where lines about the progress go: beside a result on standard output to standard error; None
    where there are none.

    Args:
        words: the words of the command line.
    """
    given = {word.split("=")[0] for word in words}
    quiet = (words[:1] and words[0] in NO_LINES) or given & {"-h", "--help", "--new"}
    if quiet or not _is_first(words):
        return None
    return sys.stderr if "--json" in given else sys.stdout


def _is_first(words: Sequence[str]) -> bool:
    """Whether the words start the first process, or the only one, which alone says anything."""
    joined = " ".join(words).replace("=", " ").split()
    return "--process-id" not in joined[:-1] or joined[joined.index("--process-id") + 1] == "0"

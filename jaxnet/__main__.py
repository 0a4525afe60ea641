"""The command `jaxnet`, which is python -m jaxnet, too: one word for each question."""

import ast
import importlib.util
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from textwrap import wrap

# Read before anything heavy is imported, so that a run can say how long that took.
BEGAN = time.perf_counter()

from jaxnet.cli.commands import questions, run  # noqa: E402
from jaxnet.display import ACROSS  # noqa: E402
from jaxnet.errors import near  # noqa: E402

START = "jaxnet digits"
EXAMPLES = ("ask_and_tell",)  # scripts of a checkout that are no command
INDENT = 25  # column where the question of a command begins


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the first word names, or prints a line for each of them.

    Args:
        arguments: words of the command line; by default those of this process.

    Returns:
        The exit status; 2 for bad input.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    known = questions()
    if words and words[0] not in ("-h", "--help", "--version"):
        command = words[0].removeprefix("experiments.").replace("_", "-")
        if command in known:
            return run(command, words[1:], began=BEGAN)
        print(
            f"error: unknown command {words[0]!r}{near(command, known, 'there are')}",
            file=sys.stderr,
        )
        return 2
    print(
        f"jaxnet {version('jaxnet')}: why does my network not generalize, and what should I change?"
    )
    if words[:1] == ["--version"]:
        return 0
    print()
    for name, question in known.items():
        _print_item(f"  jaxnet {name}", question)
    for name, words in _examples().items():
        print(f"\n  python -m experiments.{name}")
        _print_item("", words)
    print(f"\nto start, a few seconds: {START}\noptions of a command: jaxnet COMMAND --help")
    print("in Python: import jaxnet; help(jaxnet.fit)")
    return 0


def _print_item(name: str, words: str) -> None:
    """Print a name and, beside it, what it is for."""
    first, *others = wrap(words, ACROSS - INDENT)
    print(f"{name:{INDENT}}{first}", *(" " * INDENT + line for line in others), sep="\n")


def _examples() -> dict[str, str]:
    """What each script of a checkout does that is no command, where there is a checkout."""
    found = importlib.util.find_spec("experiments")
    if found is None or found.origin is None:
        return {}
    paths = [Path(found.origin).with_name(f"{name}.py") for name in EXAMPLES]
    docs = {
        path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        for path in paths
        if path.exists()
    }
    return {name: " ".join(doc.split("\n\n")[0].split()) for name, doc in docs.items() if doc}


if __name__ == "__main__":
    sys.exit(main())

"""What there is, and the one command to start: python -m jaxnet."""

import ast
import importlib.util
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from jaxnet.errors import near

START = "python -m experiments.digits"


def main(arguments: Sequence[str]) -> int:
    """Prints a line for each script that can be run from here, with the question that it answers.
    Returns the exit status.
    """
    found = importlib.util.find_spec("experiments")
    scripts = {} if found is None or found.origin is None else _questions(Path(found.origin).parent)
    if arguments and arguments[0] not in ("-h", "--help"):
        word = arguments[0].removeprefix("experiments.")
        cure = (
            f"; it is run by python -m experiments.{word}"
            if word in scripts
            else near(word, scripts, "there are")
        )
        print(f"error: python -m jaxnet takes no {arguments[0]!r}{cure}", file=sys.stderr)
        return 2
    print(
        f"jaxnet {version('jaxnet')}: why does my network not generalize, and what should I "
        "change?\n"
    )
    if not scripts:
        print("in Python: import jaxnet; help(jaxnet.fit)")
        print(
            "the scripts are in the folder experiments/ of a checkout: run this there, to see them"
        )
        return 0
    for name, question in scripts.items():
        print(f"  python -m experiments.{name:16}{question}")
    print(f"\nto start, a few seconds: {START}\nthe options of each: --help")
    return 0


def _questions(folder: Path) -> dict[str, str]:
    """The first line of each script's docstring, by the script's name."""
    docs = {
        path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(folder.glob("[!_]*.py"))
    }
    return {name: doc.splitlines()[0] for name, doc in docs.items() if doc}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

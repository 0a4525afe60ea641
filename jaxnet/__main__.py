"""What there is, and the one command to start: python -m jaxnet."""

import ast
import importlib.util
from importlib.metadata import version
from pathlib import Path

START = "python -m experiments.digits"


def main() -> None:
    """Prints a line for each script that can be run from here, with the question that it answers."""
    print(f"jaxnet {version('jaxnet')}: why does my network not generalise, and what should I change?\n")
    found = importlib.util.find_spec("experiments")
    if found is None or found.origin is None or not (scripts := _questions(Path(found.origin).parent)):
        print("in Python: import jaxnet; help(jaxnet.fit)")
        print("the scripts are in the folder experiments/ of a checkout: run this there, to see them")
        return
    for name, question in scripts.items():
        print(f"  python -m experiments.{name:16}{question}")
    print(f"\nto start, a few seconds: {START}\nthe options of each: --help")


def _questions(folder: Path) -> dict[str, str]:
    """The first line of each script's docstring, by the script's name."""
    docs = {path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("[!_]*.py"))}
    return {name: doc.splitlines()[0] for name, doc in docs.items() if doc}


if __name__ == "__main__":
    main()

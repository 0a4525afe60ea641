"""One short script a question; each shows its options with --help."""

import sys
import time
from pathlib import Path

# Read before anything heavy is imported, so that a run can say how long that took.
BEGAN = time.perf_counter()
MOVED = {"scale": "benchmarks.scale"}  # scripts that had another name


def _refuse_unknown(words: list[str]) -> None:
    """Ends `python -m experiments.digitz` with the name that was meant, where Python would say that
    there is no such module.
    """
    name = words[words.index("-m") + 1].removeprefix("experiments.")
    known = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    if name.isidentifier() and name not in (*known, "experiments", "benchmarks"):
        from jaxnet.cli.commands import questions
        from jaxnet.errors import near

        cure = f"; it is now experiments.{MOVED[name]}" if name in MOVED else near(name, known)
        cure = f"; it is run by jaxnet {name}" if name in questions() else cure
        print(f"error: unknown experiment {name!r}{cure}", file=sys.stderr)
        sys.exit(2)


if (
    sys.argv[:1] == ["-m"] and "-m" in sys.orig_argv[:-1]
):  # while Python looks for the module to run
    _refuse_unknown(sys.orig_argv)

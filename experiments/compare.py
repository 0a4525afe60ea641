"""Is one run really better than another? Runs side by side, with the difference of each pair on the
same test examples.

    python -m experiments.compare runs/a runs/b runs/c

Brings the networks back from the folders of finished runs, and their data; runs that had a
--data-dir need it here too. A difference of two networks holds for them alone: the same recipe with
another seed is another network. Where both runs have --members 8 or more, it is of the recipes.
Intervals are as wide as it takes for all of them together to hold with 95% (Bonferroni). Runs whose
test sets are not the same examples stand beside each other without a difference.
"""

import sys
from collections.abc import Sequence

from jaxnet import InputError
from jaxnet.cli import run_folder
from jaxnet.cli.command import keep_programs, run_command
from jaxnet.cli.compared import compared
from jaxnet.cli.options import CompareOptions
from jaxnet.report import console
from jaxnet.runtime import files
from jaxnet.runtime.devices import use_platform
from jaxnet.studies import comparison


def work(options: CompareOptions) -> None:
    """Bring back the runs, compare them, and write."""
    if len(options.runs) < 2:
        given = "0 runs were" if not options.runs else "1 run was"
        raise InputError(f"{given} given; give the folders of two or more")
    use_platform(options.platform)
    if options.cache:
        keep_programs()
    files.check_folder(options.out or run_folder.RUNS)
    runs = compared(options.runs, options.data_dir)
    found = comparison.compare(runs)
    about = {"runs": [run.name for run in runs]}
    out, _ = run_folder.begin("compare", about, options.out, resume=False)
    console.comparison(found)
    with files.writing(out), files.then("then compare again with another --out"):
        from jaxnet.report import figures
        from jaxnet.report.html.comparison import page

        histories = {run.name: run.run.history for run in runs}
        figures.comparison_of_runs(found, histories, out / "figures")
        files.write_text(out / "report.html", page(found.summary(), out / "figures"))
        files.write_json(out / "result.json", {"experiment": "compare", **found.summary()})
    console.say(f"written to {out}")


def main(arguments: Sequence[str]) -> int:
    """Compares runs from the command line. Returns the exit status, 2 for bad input."""
    return run_command("compare", CompareOptions, __doc__, work, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

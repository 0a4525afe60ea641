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

from jaxnet import InputError, cli
from jaxnet.report import console
from jaxnet.studies import compare_runs


def work(options: cli.CompareOptions) -> None:
    """Bring back the runs, compare them, and write."""
    if len(options.runs) < 2:
        given = "0 runs were" if not options.runs else "1 run was"
        raise InputError(f"{given} given; give the folders of two or more")
    cli.use_platform(options.platform)
    if options.cache:
        cli.keep_programs()
    cli.check_folder(options.out or cli.RUNS)
    runs = cli.read_runs(options.runs, options.data_dir)
    found = compare_runs(runs)
    about = {"runs": [run.name for run in runs]}
    out, _ = cli.begin("compare", about, options.out, resume=False)
    console.comparison(found)
    with cli.writing(out), cli.then("then compare again with another --out"):
        cli.write_comparison(found, {run.name: run.run.history for run in runs}, out)
    console.say(f"written to {out}")


def main(arguments: Sequence[str]) -> int:
    """Compares runs from the command line. Returns the exit status, 2 for bad input."""
    return cli.run_command("compare", cli.CompareOptions, __doc__, work, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

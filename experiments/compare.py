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

import tyro

from jaxnet import InputError, enable_cache
from jaxnet.cli import run_folder
from jaxnet.cli.compared import compared
from jaxnet.cli.options import CompareOptions
from jaxnet.report import console
from jaxnet.runtime import files
from jaxnet.runtime.devices import use_platform
from jaxnet.studies import comparison


def main(arguments: Sequence[str]) -> int:
    """Compares runs from the command line. Returns the exit status, 2 for bad input."""
    console.open_to_all_names()
    options = tyro.cli(
        CompareOptions,
        args=list(arguments),
        prog="python -m experiments.compare",
        description=__doc__,
    )
    try:
        if len(options.runs) < 2:
            raise InputError(
                f"{len(options.runs)} run{'s were' * (not options.runs) or ' was'} given; give "
                "the folders of two or more"
            )
        use_platform(options.platform)
        if options.cache:
            try:
                enable_cache()
            except InputError as error:
                console.say(f"compiled programs are not kept: {error}")
        files.check_folder(options.out or run_folder.RUNS)
        runs = compared(options.runs, options.data_dir)
        found = comparison.compare(runs)
        out, _ = run_folder.begin(
            "compare", {"runs": [run.name for run in runs]}, options.out, resume=False
        )
        console.comparison(found)
        with files.writing(out), files.then("then compare again with another --out"):
            from jaxnet.report import figures
            from jaxnet.report.html.comparison import page

            told = {
                f"{pair.first} less {pair.second}": pair.difference
                for pair in found.pairs
                if pair.difference is not None
            }
            if told:
                figures.differences(
                    told, out / "figures/differences.png", regression=found.runs[0].regression
                )
            figures.curves_of_runs(
                {run.name: run.run.history for run in runs}, out / "figures/curves.png"
            )
            files.write_text(out / "report.html", page(found.summary(), out / "figures"))
            files.write_json(out / "result.json", {"experiment": "compare", **found.summary()})
        console.say(f"written to {out}")
    except InputError as error:
        console.error(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Is one run really better than another? Runs side by side, with the difference of each pair on the
same examples.

    jaxnet compare runs/a runs/b runs/c

Reads the networks from the folders of finished runs, and their data; runs that had a --data-dir
need it here too. Two runs with --members 8 or more on the same data have the same folds
(cross-fitting), so their recipes are compared: the difference holds for other training sets and
seeds too. Other runs are compared on the test set: the difference holds only for these networks and
this training set. Networks and losses that are not used are listed with the reason. With a
probability of 95% all intervals hold at once (Bonferroni). Runs that share neither folds nor a test
set are listed without a difference.
"""

from collections.abc import Sequence
from typing import Any

from jaxnet.cli.command import keep_programs, open_page, run_command
from jaxnet.cli.compared import read_runs, write_comparison
from jaxnet.cli.options import CompareOptions
from jaxnet.cli.run_folder import RUNS, begin
from jaxnet.errors import InputError
from jaxnet.progress import phase
from jaxnet.report import console
from jaxnet.runtime.devices import use_platform
from jaxnet.runtime.files import check_folder, then, writing
from jaxnet.studies.comparison import compare_runs


def work(options: CompareOptions) -> dict[str, Any]:
    """Bring back the runs, compare them, and write."""
    if len(options.runs) < 2:
        given = "0 runs were" if not options.runs else "1 run was"
        raise InputError(f"{given} given; give the folders of two or more")
    use_platform(options.platform)
    if options.cache:
        keep_programs()
    check_folder(options.out or RUNS)
    runs = read_runs(options.runs, options.data_dir)
    phase("comparing the runs", "usually a few seconds")
    found = compare_runs(runs)
    about = {"runs": [run.name for run in runs]}
    out, _ = begin("compare", about, options.out, resume=False)
    console.comparison(found)
    with writing(out), then("then compare again with another --out"):
        result = write_comparison(found, {run.name: run.run.history for run in runs}, out)
    console.say(f"written to {out}")
    if options.open:
        open_page(out)
    return result


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    del began
    return run_command("compare", CompareOptions, __doc__, work, arguments, program)

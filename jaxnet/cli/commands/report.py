"""How do I write the report of a finished run again?

    jaxnet report                   for the newest run in runs/
    jaxnet report runs/ONE --open   and opens it in the browser

Writes report.html from result.json, the figures and the network, as they are in the folder of the
run. The data set must be where it was, or in --data-dir: the page shows some of its examples.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnet.cli.command import keep_programs, open_page, run_command
from jaxnet.cli.options import ReportOptions
from jaxnet.cli.run_folder import newest_finished, result
from jaxnet.cli.saved_run import read_data, read_run
from jaxnet.engine.prediction import predict
from jaxnet.errors import InputError, near_path
from jaxnet.progress import WRITING, phase
from jaxnet.report import console
from jaxnet.runtime.devices import use_platform
from jaxnet.runtime.files import check_folder, write_text, writing


def work(options: ReportOptions) -> None:
    """Find the run, make its page, and write it."""
    use_platform(options.platform)
    keep_programs()
    folder = options.run or newest_finished()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder{near_path(folder)}")
    found = result(folder)
    if found is None:
        read_run(folder)  # says what the folder is instead
        raise InputError(f"{folder}: has no result.json; give the folder of a finished run")
    out = options.out or folder
    check_folder(out)
    text = (
        _comparison(found, folder)
        if found["experiment"] == "compare"
        else _run(options, folder, found)
    )
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "report.html", text)
    console.say(f"written to {out / 'report.html'}")
    if options.open:
        open_page(out)


def _comparison(found: dict[str, Any], folder: Path) -> str:
    from jaxnet.report.html.comparison import page

    return page(found, folder / "figures")


def _run(options: ReportOptions, folder: Path, found: dict[str, Any]) -> str:
    from jaxnet.report.html.run import html

    phase("reading the run and its data", "usually a few seconds")
    finished = read_run(folder)
    splits = read_data(finished, options.data_dir)
    outputs = np.asarray(predict(finished.model, finished.run, splits.test.x))
    if found.get("members", 1) > 1:
        console.say("the page shows the saved network, and numbers of all networks")
    phase(*WRITING)
    return html(found, finished.model, (finished.run,), splits, outputs, folder / "figures")


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    del began
    return run_command("report", ReportOptions, __doc__, work, arguments, program)

"""Find or begin the folder of a run, and write it so that a kill at any moment leaves it whole.

run.json says what the run is, from its first moment. result.json is written last, so a folder that
has it is finished. Among several processes, only the first writes.
"""

import itertools
import json
import time
from importlib import resources
from pathlib import Path
from typing import Any

from jaxnet.engine.fingerprint import differences
from jaxnet.errors import InputError
from jaxnet.runtime.files import check_folder, plain, read_json, write_json, writing
from jaxnet.runtime.processes import is_first, once

RUNS = Path("runs")
SCHEMA_VERSION = 1  # of result.schema.json


def begin(
    experiment: str, settings: dict[str, Any], out: Path | None, *, resume: bool
) -> tuple[Path, str]:
    """Find the folder of a run, or begin it.

    Args:
        experiment: name of the experiment.
        settings: the options of the run, as plain values.
        out: the folder; by default a new one, or with `resume` the newest unfinished one.
        resume: whether to continue a run.

    Returns:
        (the folder, a sentence on what was found there).

    Raises:
        InputError: where the folder holds something else, or anything at all without `resume`.
    """

    def find() -> list[str]:
        with writing(out or RUNS):
            return [str(each) for each in _begin(experiment, settings, out, resume)]

    begun, found = once(find)
    return Path(begun), found


def _begin(
    experiment: str, settings: dict[str, Any], out: Path | None, resume: bool
) -> tuple[Path, str]:
    about = {"experiment": experiment, **plain(settings)}
    found = "nothing to resume: starting fresh" if resume else ""
    if out is None and resume:
        out = _newest_unfinished(experiment)
    if out is None:
        out = _unused(RUNS / f"{experiment}-{time.strftime('%Y%m%d-%H%M%S')}")
    if (out / "run.json").exists():
        if not resume:
            raise InputError(
                f"{out} holds a run already; continue it with --resume, or give another --out"
            )
        differences(read_json(out / "run.json"), about, where=out)
        if result(out) is None:
            check_folder(out)
        return out, f"continuing {out}"
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    if any(path.suffix != ".tmp" for path in out.iterdir()):
        raise InputError(f"{out} is not empty and not a run; give another --out")
    write_json(out / "run.json", about)
    return out, found


def abandon(out: Path) -> None:
    """Remove the folder of a run that was refused before it did anything."""
    if is_first() and [path.name for path in out.iterdir()] == ["run.json"]:
        (out / "run.json").unlink()
        out.rmdir()


def result(out: Path) -> dict[str, Any] | None:
    """The result.json of a finished run; None if it is not finished."""
    return read_json(out / "result.json") if (out / "result.json").exists() else None


def schema() -> dict[str, Any]:
    """The JSON Schema of every result.json."""
    return json.loads(resources.files("jaxnet.cli").joinpath("result.schema.json").read_text())


def newest_finished() -> Path:
    """The folder of the run in runs/ that finished last.

    Raises:
        InputError: where none has finished.
    """
    finished = list(RUNS.glob("*/result.json"))
    if not finished:
        raise InputError(f"there is no finished run in {RUNS.resolve()}; give the folder of one")
    return max(finished, key=lambda path: path.stat().st_mtime).parent


def _newest_unfinished(experiment: str) -> Path | None:
    runs = [
        path.parent for path in RUNS.glob(f"{experiment}-*/run.json") if result(path.parent) is None
    ]
    return max(runs, key=lambda path: (path / "run.json").stat().st_mtime, default=None)


def _unused(path: Path) -> Path:
    """A new folder of this name, or of this name and a number, so that two runs that start at once
    do not share one.
    """
    for number in itertools.count(1):
        named = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            named.mkdir(parents=True)
        except FileExistsError:
            continue
        return named
    raise AssertionError("unreachable: the numbers do not end")

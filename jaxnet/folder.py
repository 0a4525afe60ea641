"""The folder of a run: found or begun, and written so that a kill at any moment leaves it whole.

run.json says what the run is, from its first moment; result.json comes last, so where it is the run is finished.
Of several processes the first writes.
"""

import itertools
import json
import math
import time
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import differences
from .disk import check_folder, write_whole, writing
from .errors import InputError
from .processes import first, once

RUNS = Path("runs")


def begin(experiment: str, settings: dict[str, Any], out: Path | None, *, resume: bool) -> tuple[Path, str]:
    """(the folder, and a sentence on what was found there). settings: what the run is of, as plain values.

    Raises InputError where the folder holds something else, or anything at all and `resume` was not asked for.
    """

    def find() -> list[str]:
        with writing(out or RUNS):
            return [str(each) for each in _begin(experiment, settings, out, resume)]

    begun, found = once(find)
    return Path(begun), found


def _begin(experiment: str, settings: dict[str, Any], out: Path | None, resume: bool) -> tuple[Path, str]:
    about = {"experiment": experiment, **plain(settings)}
    found = "nothing to resume: starting fresh" if resume else ""
    if out is None and resume:
        out = _newest_unfinished(experiment)
    if out is None:
        out = _unused(RUNS / f"{experiment}-{time.strftime('%Y%m%d-%H%M%S')}")
    if (out / "run.json").exists():
        if not resume:
            raise InputError(f"{out} holds a run already; continue it with --resume, or give another --out")
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
    """Leave nothing of a run that was refused before it did anything."""
    if first() and [path.name for path in out.iterdir()] == ["run.json"]:
        (out / "run.json").unlink()
        out.rmdir()


def result(out: Path) -> dict[str, Any] | None:
    """What a finished run found; None where it is not finished."""
    return read_json(out / "result.json") if (out / "result.json").exists() else None


def write_text(path: Path, text: str) -> None:
    """The whole text or, after a kill, what was there before. Lone surrogates, which UTF-8 does not have, are escaped."""
    if first():
        write_whole(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Plain JSON of anything that `plain` knows."""
    write_text(path, json.dumps(plain(value), indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file that this module wrote."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); is it in the folder of a run?") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: holds no JSON object; is it in the folder of a run?")
    return value


def plain(value: Any) -> Any:
    """Dataclasses, named tuples, arrays and paths as what JSON has; NaN and infinity as null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _newest_unfinished(experiment: str) -> Path | None:
    runs = [path.parent for path in RUNS.glob(f"{experiment}-*/run.json") if result(path.parent) is None]
    return max(runs, key=lambda path: (path / "run.json").stat().st_mtime, default=None)


def _unused(path: Path) -> Path:
    """A new folder of this name, or of this name and a number: two runs that start at once do not share one."""
    for number in itertools.count(1):
        named = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            named.mkdir(parents=True)
        except FileExistsError:
            continue
        return named
    raise AssertionError("unreachable: the numbers do not end")

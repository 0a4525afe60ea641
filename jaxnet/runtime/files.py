"""Writing to disk: whole files or none, a look before long work whether it can be done, and one
message where it cannot.
"""

import errno
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxnet.errors import InputError
from jaxnet.runtime.processes import first

PROBE = 1 << 16  # bytes that are written to see whether a disk is full
CURES = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room: the quota of that disk is used up",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EACCES: "give a folder that you may write, or get the right to write this one",
    errno.EPERM: "give a folder that you may write, or get the right to write this one",
    errno.EROFS: "give a folder on a disk that can be written",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOTDIR: "give a folder; a part of this path is a file",
    errno.EEXIST: "give a folder; a file has this name",
    errno.EISDIR: "give a name that no folder has",
    errno.ENOENT: "give a folder that nobody removes meanwhile",
    errno.EIO: "give a folder on another disk: this one fails",
}
SAID_BY_ORBAX = re.compile(r"os_error_code='(\d+)'")


class NotWrittenError(InputError):
    """Something cannot be written. problem: what and why, and the cure. then: how to go on after
    that.
    """

    def __init__(self, problem: str, then: str = "") -> None:
        super().__init__(f"{problem}; {then}" if then else problem)
        self.problem = problem


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises NotWrittenError, with the place and the cure, in place of an error of the operating
    system in writing to `path`.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if (number := _number(error)) is None:
            raise
        place = (
            error.filename
            if isinstance(error, OSError) and isinstance(error.filename, str)
            else path
        )
        raise NotWrittenError(_problem(place, number)) from None


@contextmanager
def then(words: str) -> Iterator[None]:
    """What cannot be written ends with these words on how to go on, in place of those that were
    there.
    """
    try:
        yield
    except NotWrittenError as error:
        raise NotWrittenError(error.problem, words) from None


def check_folder(path: Path, size: int = 0, *, ending: str = "") -> None:
    """Raises NotWrittenError where a folder cannot be made or written, or has no room for a file of
    so many bytes. Leaves nothing there.

    ending: what its name ends with in addition, while it is written.
    """
    try:
        os.fspath(path).encode("utf-8")
        whole = nearest = path.absolute().with_name(path.name + ending)
        while not _is_there(nearest):
            nearest = nearest.parent
        if not nearest.is_dir():
            raise OSError(
                number := errno.EEXIST if nearest == whole else errno.ENOTDIR, os.strerror(number)
            )
        with tempfile.TemporaryFile(dir=nearest, buffering=0) as file:
            left = memoryview(bytes(PROBE))
            while left:
                left = left[file.write(left) :]
            file.truncate(max(size, PROBE))
        if shutil.disk_usage(nearest).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except UnicodeEncodeError:
        raise NotWrittenError(
            f"{path} cannot be written: its name is not valid UTF-8; give another name"
        ) from None
    except OSError as error:
        raise NotWrittenError(_problem(path, error.errno or errno.EIO)) from None


def write_whole(path: Path, content: bytes) -> None:
    """The whole content, or what was there before. Raises NotWrittenError."""
    unfinished = path.with_name(path.name + ".tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(unfinished, "wb", buffering=0) as file:
                left = memoryview(content)
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            with suppress(OSError):
                unfinished.unlink()


def _is_there(path: Path) -> bool:
    """Whether there is something of this name. Raises OSError where there cannot be."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _number(error: BaseException | None) -> int | None:
    """The number of the operating system's error behind an exception; None where there is none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        if found := SAID_BY_ORBAX.search(str(error)):
            return int(found[1])
        error = error.__cause__ or error.__context__
    return None


def _problem(path: str | Path, number: int) -> str:
    return (
        f"{path} cannot be written ({os.strerror(number)}); "
        f"{CURES.get(number, 'give another folder')}"
    )


def write_text(path: Path, text: str) -> None:
    """The whole text or, after a kill, what was there before. Lone surrogates, which UTF-8 does not
    have, are escaped.
    """
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
        raise InputError(
            f"{path}: cannot be read ({error}); is it in the folder of a run?"
        ) from None
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

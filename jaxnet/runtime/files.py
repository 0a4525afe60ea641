"""Write files whole or not at all, check early whether that is possible, and say why it is not.

Errors of the operating system become NotWrittenError here; no other module may phrase them.
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
from jaxnet.runtime.processes import is_first

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
    """Something that cannot be written.

    Attributes:
        problem: what cannot be written, why, and the fix.
    """

    def __init__(self, problem: str, then: str = "") -> None:
        """Make the message.

        Args:
            problem: what cannot be written, why, and the fix.
            then: how to continue afterwards; nothing if empty.
        """
        super().__init__(f"{problem}; {then}" if then else problem)
        self.problem = problem


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A context that turns errors of the operating system into NotWrittenError.

    Args:
        path: what is being written, for the message.

    Yields:
        Nothing.

    Raises:
        NotWrittenError: with the place and the fix.
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
    """A context that replaces the end of a NotWrittenError.

    Args:
        words: how to continue after the problem is fixed.

    Yields:
        Nothing.

    Raises:
        NotWrittenError: with these words, in place of those that it had.
    """
    try:
        yield
    except NotWrittenError as error:
        raise NotWrittenError(error.problem, words) from None


def check_folder(path: Path, size: int = 0, *, ending: str = "") -> None:
    """Check that a folder can be made and written, and leave nothing there.

    Args:
        path: the folder.
        size: bytes of a file that must have room there.
        ending: suffix of the folder's name while it is written.

    Raises:
        NotWrittenError: where that is not possible.
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
    """Replace a file by this content at once: after a failure it holds what was there before.

    Args:
        path: the file; its folder is made.
        content: all bytes of the file.

    Raises:
        NotWrittenError: where it cannot be written.
    """
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
    """Whether a path exists. Raises OSError where no such path is possible."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _number(error: BaseException | None) -> int | None:
    """The errno of the operating system's error behind an exception; None if there is none."""
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
    """Replace a file by this text at once, from process 0 only.

    Args:
        path: the file.
        text: its text. Lone surrogates, which UTF-8 cannot hold, are escaped.

    Raises:
        NotWrittenError: where it cannot be written.
    """
    if is_first():
        write_whole(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write a value as plain JSON, from process 0 only.

    Args:
        path: the file.
        value: anything that `plain` converts.

    Raises:
        NotWrittenError: where it cannot be written.
    """
    write_text(path, json.dumps(plain(value), indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file that `write_json` wrote.

    Args:
        path: the file.

    Returns:
        The object.

    Raises:
        InputError: where it cannot be read or holds something else.
    """
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
    """A value in the types of JSON: dataclasses and named tuples as objects, arrays as lists, paths
    as text, and NaN and infinity as null.
    """
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

"""Long work that can be stopped at any moment: signals that ask for it, and a log that a kill
cannot cut.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from jaxnet.display import visible
from jaxnet.runtime.files import writing


class Interrupted(KeyboardInterrupt):
    """Work was asked to stop by Ctrl-C or SIGTERM and has saved its state: the same call continues
    it.
    """

    def __init__(self, number: int, where: str, folder: Path) -> None:
        super().__init__(
            f"stopped by {signal.Signals(number).name} {where}; what was trained is saved in "
            f"{folder}"
        )
        self.number, self.folder = number, folder


@contextmanager
def signals(*, catch: bool) -> Iterator[list[int]]:
    """The signals that asked to stop; only the main thread can catch them. A second one stops at
    once.
    """
    caught: list[int] = []
    if not catch:
        yield caught
        return
    with _handled(caught.append):
        yield caught


@contextmanager
def stopped_at_once(folder: Path) -> Iterator[None]:
    """Raises Interrupted where Ctrl-C or SIGTERM comes while no `signals` within catches them.
    folder: what was saved is there.
    """

    def stop(number: int) -> None:
        raise Interrupted(number, "before all files were written", folder)

    with _handled(stop):
        yield


@contextmanager
def _handled(handle: Callable[[int], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call this in the main thread, unless they were ignored; a second one stops
    at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}

    def first(number: int, _: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.default_int_handler)
        handle(number)

    for number in before:
        signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def log_to(folder: Path | None) -> Iterator[Callable[[str], None]]:
    """Appends lines to folder/log.txt, each on disk before the next thing happens."""
    if folder is None:
        yield lambda _: None
        return
    path = folder / "log.txt"
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed below, and not under `writing`, which is for the log alone

    def log(line: str) -> None:
        with writing(path):
            file.write(f"{visible(line)}\n".encode())

    with file:
        yield log

"""Long work that can be stopped at any moment: signals that ask for it, and a log that a kill cannot cut."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from .escaping import visible


class Interrupted(KeyboardInterrupt):
    """Work was asked to stop by Ctrl-C or SIGTERM and has saved its state: the same call continues it."""

    def __init__(self, number: int, where: str, folder: Path) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} {where}, saved in {folder}")
        self.number, self.folder = number, folder


@contextmanager
def signals(*, catch: bool) -> Iterator[list[int]]:
    """The signals that asked to stop; only the main thread can catch them. A second one stops at once."""
    caught: list[int] = []
    if not catch or threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}

    def handle(number: int, _: FrameType | None) -> None:
        caught.append(number)
        for each in before:
            signal.signal(each, signal.default_int_handler)

    for number in before:
        signal.signal(number, handle)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def log_to(folder: Path | None) -> Iterator[Callable[[str], None]]:
    """Appends lines to folder/log.txt, each on disk before the next thing happens."""
    if folder is None:
        yield lambda _: None
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "a", buffering=1, encoding="utf-8") as file:
        yield lambda line: print(visible(line), file=file)

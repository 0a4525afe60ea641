"""Handle signals that ask long work to stop, and keep a log that a kill cannot cut."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from jaxnet.display import visible
from jaxnet.runtime.files import writing


class Interrupted(KeyboardInterrupt):
    """Work that Ctrl-C or SIGTERM stopped after it saved its state; the same call continues it.

    Attributes:
        number: number of the signal.
        folder: where the state is saved.
    """

    def __init__(self, number: int, where: str, folder: Path) -> None:
        """Make the message.

        Args:
            number: number of the signal.
            where: how far the work was.
            folder: where the state is saved.
        """
        super().__init__(
            f"stopped by {signal.Signals(number).name} {where}; what was trained is saved in "
            f"{folder}"
        )
        self.number, self.folder = number, folder


@contextmanager
def caught_signals(*, catch: bool) -> Iterator[list[int]]:
    """A context that collects the signals which ask to stop; a second one stops at once.

    Args:
        catch: whether to catch them. Only the main thread can.

    Yields:
        The list of signal numbers, which grows when one arrives.
    """
    caught: list[int] = []
    if not catch:
        yield caught
        return
    with _handled(caught.append):
        yield caught


@contextmanager
def stopped_at_once(folder: Path) -> Iterator[None]:
    """A context that raises Interrupted at Ctrl-C or SIGTERM, unless `caught_signals` inside of it
    catches them.

    Args:
        folder: where the saved state is.

    Yields:
        Nothing.

    Raises:
        Interrupted: at the first signal.
    """

    def stop(number: int) -> None:
        raise Interrupted(number, "before all files were written", folder)

    with _handled(stop):
        yield


@contextmanager
def _handled(handle: Callable[[int], None]) -> Iterator[None]:
    """A context in which Ctrl-C and SIGTERM call `handle` in the main thread; a second signal stops
    at once. Signals that were ignored stay ignored.
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
    """A context that appends lines to folder/log.txt; each is on disk before the next thing
    happens.

    Args:
        folder: where the log is; None logs nothing.

    Yields:
        A function that writes one line.

    Raises:
        NotWrittenError: where a line cannot be written.
    """
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

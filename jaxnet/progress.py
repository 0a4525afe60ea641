"""Say what is going on while somebody waits: one line that changes in a terminal or a notebook, and
a line now and then in the output of a command that goes into a file.

Work names its phases with `phase` and says how far it is with `report`. Both do nothing unless
somebody is there to read: a command, or a call from a terminal or a notebook, opens the display.
"""

import contextvars
import functools
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from html import escape
from typing import Any, TypeVar

from jaxnet.display import visible
from jaxnet.errors import InputError, shown

C = TypeVar("C", bound=Callable[..., Any])
Item = TypeVar("Item")

TICK = 0.5  # seconds between two states of the line
FIRST_AFTER = 1.0  # seconds after which a phase is worth a line in a file
PACED_AFTER = 4.0  # seconds to wait there for the pace of a phase that may learn it
LINE_EVERY = 30.0  # seconds between two lines in a file
SECONDS_UP_TO = 100  # longer times are given in minutes
COMPILING = ("compiling", "usually 2 to 30 s")
WRITING = ("drawing figures and writing the page", "usually a few seconds")

Write = Callable[[str], None]


class _Phase:
    """What is being done: its name, when it began, and how much of it is done."""

    def __init__(self, words: str, usual: str = "", total: int | None = None) -> None:
        self.words, self.usual, self.total = words, usual, total
        self.began = time.monotonic()
        self.share, self.detail = 0.0, ""
        self.first: tuple[float, float] | None = None  # a time, and the share that was done then

    def left(self, now: float) -> float | None:
        """The seconds that are left, at the pace since the first report; None if it is unknown."""
        if self.first is None or not self.first[1] < self.share < 1:
            return None
        return max(0.0, (now - self.first[0]) / (self.share - self.first[1]) * (1 - self.share))

    def told(self, now: float) -> str:
        """The phase in words, with the time it takes."""
        left = self.left(now)
        parts = [
            self.detail,
            f"{self.share:.0%}" if 0 < self.share < 1 else "",
            elapsed(now - self.began) + " so far" * (left is None),
            self.usual if left is None else f"about {duration(left)} left",
        ]
        return f"{self.words}: {', '.join(part for part in parts if part)}"


class Display:
    """Shows the phase that work is in."""

    def __init__(self) -> None:
        self.current = _Phase("starting", "usually a few seconds")
        self.lock = threading.RLock()
        self._over = threading.Event()
        # a notebook knows the cell of a thread by its context
        here = contextvars.copy_context()
        self._thread = threading.Thread(target=here.run, args=(self._tick,), daemon=True)

    def begin(self) -> None:
        """Start to show."""
        self.show()
        self._thread.start()

    def end(self) -> None:
        """Stop to show, and leave nothing behind."""
        self._over.set()
        self._thread.join()

    def show(self) -> None:
        """Show the phase as it is now."""
        raise NotImplementedError

    def _tick(self) -> None:
        while not self._over.wait(TICK):
            with suppress(OSError, ValueError):  # whoever read it is gone
                self.show()


class Line(Display):
    """A line at the end of a terminal, below what is printed meanwhile.

    Args:
        console: what draws on the terminal.
    """

    def __init__(self, console: Any) -> None:
        from rich.live import Live

        super().__init__()
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=_is_terminal(sys.stdout),
            redirect_stderr=_is_terminal(sys.stderr),
        )

    def begin(self) -> None:
        self._live.start()
        self._live.console.show_cursor()  # a kill would leave it hidden
        super().begin()

    def end(self) -> None:
        super().end()
        with suppress(OSError, ValueError):  # whoever read it is gone
            self._live.stop()

    def show(self) -> None:
        from rich.text import Text

        text, encoding = self.current.told(time.monotonic()), self._live.console.encoding
        text = visible(text).encode(encoding, "backslashreplace").decode(encoding)
        self._live.update(Text(text, no_wrap=True, overflow="crop"), refresh=True)


class Notebook(Display):
    """A line below a cell of a notebook."""

    def __init__(self) -> None:
        super().__init__()
        self._handle: Any = None

    def show(self) -> None:
        self._set(f"<small>{escape(self.current.told(time.monotonic()))}</small>")

    def end(self) -> None:
        super().end()
        self._set("")

    def _set(self, text: str) -> None:
        from IPython.display import HTML, display  # pyrefly: ignore[missing-import]

        with self.lock:
            if self._handle is None:
                self._handle = display(HTML(text), display_id=True)
            elif self._handle is not None:
                self._handle.update(HTML(text))


class Lines(Display):
    """Lines in a file: one at the start of each phase, and then one every 30 seconds.

    A phase that takes less than a second has none.
    """

    def __init__(self, write: Write) -> None:
        super().__init__()
        self._write, self._said, self._next = write, "", 0.0

    def show(self) -> None:
        with self.lock:
            now, phase = time.monotonic(), self.current
            age = now - phase.began
            if phase.words != self._said:
                # a phase that reports how far it is has a time to tell, once its pace is known
                paced = phase.usual or phase.left(now) is not None or age >= PACED_AFTER
                if age < FIRST_AFTER or not paced:
                    return
                self._said = phase.words
            elif now < self._next:
                return
            self._next = now + LINE_EVERY
            self._write(phase.told(now))


_display: Display | None = None  # the one that is open
# whether a call that reports its progress is running around this one
_inside: contextvars.ContextVar[bool] = contextvars.ContextVar("inside", default=False)


def phase(words: str, usual: str = "", total: int | None = None) -> None:
    """Say what is done from now on.

    Args:
        words: what is done, such as "compiling".
        usual: roughly how long it takes, such as "usually a few seconds"; empty where `report` will
            show it.
        total: how many parts it has, which `report` may count.
    """
    display = _display
    if display is not None and display.current.words != words:
        with display.lock:
            display.current = _Phase(words, usual, total)
        if isinstance(display, Line | Notebook):
            display.show()


def report(
    *, share: float | None = None, done: int | None = None, detail: str | None = None
) -> None:
    """Say how much of a phase is done.

    Args:
        share: the share of the work that is done, from 0 to 1.
        done: instead of it, how many of the `total` parts are done.
        detail: more to show, such as "3 of 16 networks".
    """
    if _display is None:
        return
    now = _display.current
    if done is not None and now.total:
        share = done / now.total
    if share is not None:
        # the first report tells what an earlier call had done, or was slowed by compiling
        if now.first is None:
            now.first = (time.monotonic(), share)
        now.share = share
    if detail is not None:
        now.detail = detail


def counted(items: Iterable[Item], words: str, usual: str = "") -> Iterator[Item]:
    """Give items one after the other, and say how many are done.

    Args:
        items: the items.
        words: what is done with them, as `phase` takes it.
        usual: as there.

    Yields:
        The items.
    """
    listed = list(items)
    # work inside a call that reports its progress, or was told not to, opens no display
    with _opened(None if _inside.get() else interactive()):
        phase(words, usual, len(listed))
        for number, item in enumerate(listed):
            report(done=number, detail=f"{number + 1} of {len(listed)}")
            yield item


def of_population(now: Any) -> None:
    """Report how far a population is; `now` is its Progress."""
    report(
        share=now.share,
        detail=f"{now.finished:,} of {now.members:,} networks, epoch {now.epoch} of {now.epochs}",
    )


def of_epochs(done: int, row: Any) -> None:
    """Report how far one network is: epochs done, and the metrics of the last one."""
    if not done:
        return
    losses = (("loss", row.train_loss), ("validation loss", row.validation_loss))
    shares = (("accuracy", row.train_accuracy), ("validation accuracy", row.validation_accuracy))
    told = [f"{name} {float(value):.4f}" for name, value in losses if value is not None]
    told += [f"{name} {float(value):.2%}" for name, value in shares if value is not None]
    report(done=done, detail=", ".join([f"epoch {done}", *told]))


def showing(tell: Callable[..., None]) -> Callable[[C], C]:
    """Let a function show its progress where somebody is there to read it.

    The keyword `progress` of the function may then be None, so that a terminal or a notebook shows
    one line and nothing else does; False, so that nothing is shown; or a function. The decorated
    function gets a function, or None.

    Args:
        tell: what reports to the line, in place of a function of the user.

    Returns:
        A decorator.
    """

    def decorated(function: C) -> C:
        @functools.wraps(function)
        def wrapper(*values: Any, progress: Any = None, **named: Any) -> Any:
            if progress is not None and progress is not False and not callable(progress):
                raise InputError(
                    f"progress is {shown(progress)}; give a function, False for no display, or "
                    "leave it out"
                )
            automatic = progress is None and not _inside.get()
            with _running(interactive() if automatic else None):
                given = progress or (tell if automatic and _display is not None else None)
                return function(*values, progress=given, **named)

        return wrapper  # pyrefly: ignore[bad-return]

    return decorated


@contextmanager
def command(lines: Any) -> Iterator[None]:
    """A context that shows the phases of a command.

    Args:
        lines: where lines go if neither standard error nor standard output is a terminal; None for
            none.
    """

    def write(text: str) -> None:
        assert lines is not None
        print(visible(text), file=lines, flush=True)

    display = interactive() or (None if lines is None else Lines(write))
    with _opened(display):
        yield


def interactive() -> Display | None:
    """A display for the person at a terminal or a notebook; None where there is none."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if any(each.__name__ == "ZMQInteractiveShell" for each in type(shell).__mro__):
        return Notebook()
    for stream in filter(_is_terminal, (sys.stderr, sys.stdout)):
        from rich.console import Console

        # what is printed above the line stays as it is
        console = Console(file=stream, soft_wrap=True, markup=False, emoji=False, highlight=False)
        if console.is_interactive:
            return Line(console)
    return None


def _is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal."""
    with suppress(AttributeError, ValueError):  # there is none, or it is closed
        return stream.isatty()
    return False


@contextmanager
def _running(display: Display | None) -> Iterator[None]:
    """A context of a call that reports its progress, so that calls inside it do not."""
    before = _inside.set(True)
    try:
        with _opened(display):
            yield
    finally:
        _inside.reset(before)


@contextmanager
def _opened(display: Display | None) -> Iterator[None]:
    """A context in which a display is open, unless there is one already."""
    global _display
    if display is None or _display is not None:
        yield
        return
    _display = display
    try:
        display.begin()
        yield
    finally:
        _display = None
        display.end()


def elapsed(seconds: float) -> str:
    """A time to the second, such as "42 s", "2:05 min" or "1:02:05 h"."""
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min" if minutes else f"{rest} s"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"


def duration(seconds: float) -> str:
    """A time in words, such as "42 s", "3 min" or "2 h 5 min"."""
    if seconds < SECONDS_UP_TO:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"

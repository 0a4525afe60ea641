"""The line that says what is going on: for whom it is there, and what it says when."""

import io
import os
import re
import sys
import time
from contextlib import contextmanager, redirect_stderr

import pytest

from jaxnet import progress
from jaxnet.errors import InputError

ESCAPES = re.compile("\x1b\\[[0-9;?]*[a-zA-Z]")


class Clock:
    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@contextmanager
def terminal():
    """A pseudo-terminal in place of standard error, and what arrives at its other end."""
    here, there = os.openpty()

    def arrived() -> str:
        # the kernel hands bytes on when it likes, so a mark tells that all before it have come
        os.write(there, b"\0")
        said = b""
        while not said.endswith(b"\0"):
            said += os.read(here, 1 << 16)
        return said[:-1].decode()

    with open(there, "w", encoding="utf-8") as stream, redirect_stderr(stream):
        yield arrived
    os.close(here)


def test_times_are_told_to_the_second_and_roughly():
    assert [progress.elapsed(t) for t in (0.9, 59.9, 60.0, 3600.0, 3725.0)] == [
        "0 s", "59 s", "1:00 min", "1:00:00 h", "1:02:05 h"
    ]  # fmt: skip
    assert [progress.duration(t) for t in (42.4, 99.0, 180.0, 7500.0)] == [
        "42 s", "99 s", "3 min", "2 h 5 min"
    ]  # fmt: skip


def test_a_file_gets_a_line_for_each_phase_and_one_every_30_seconds(clock, monkeypatch):
    lines = []
    display = progress.Lines(lines.append)
    monkeypatch.setattr(progress, "_display", display)

    def after(seconds):
        clock.now += seconds
        display.show()

    after(0.5)
    assert not lines  # it may be over at once
    after(0.6)
    assert lines == ["starting: 1 s so far, usually a few seconds"]
    progress.phase("training")
    progress.report(share=0.1, detail="1 of 10 networks")
    after(0.9)
    progress.report(share=0.2, detail="2 of 10 networks")
    after(1.1)
    # a tenth took 2 seconds, and eight tenths are left
    assert lines[1:] == ["training: 2 of 10 networks, 20%, 2 s, about 16 s left"]
    after(29)
    assert len(lines) == 2
    progress.report(share=0.9, detail="9 of 10 networks")
    after(1)
    assert lines[2:] == ["training: 9 of 10 networks, 90%, 32 s, about 4 s left"]
    progress.phase("training")  # which goes on
    after(1)
    progress.phase("writing", "usually a few seconds")
    progress.phase("over", "usually a few seconds")  # within a second
    after(2)
    assert [line.split(":")[0] for line in lines] == ["starting", "training", "training", "over"]


def test_a_terminal_has_one_line_below_what_is_printed(monkeypatch):
    monkeypatch.setattr(progress, "TICK", 0.02)
    monkeypatch.setenv("COLUMNS", "40")
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    error = "an error that is wider than the terminal, and [whole]"
    with terminal() as arrived:
        stream = sys.stderr
        with progress.command(None):
            progress.phase("compiling é\n", "usually 2 to 30 s")
            time.sleep(0.1)
            print("a table")
            assert out.getvalue() == "a table\n"
            print(error, file=sys.stderr)
        said = arrived()
        assert sys.stderr is stream
    assert sys.stdout is out
    assert progress._display is None
    shown = [ESCAPES.sub("", line) for line in re.split("[\r\n]+", said)]
    assert {"starting: 0 s so far, usually a few seconds"[:40], error} <= {*shown}
    assert "compiling é\\n: 0 s so far, usually 2 to 30 s"[:40] in shown
    assert said.endswith("\r\x1b[1A\x1b[2K")  # nothing is left
    assert said.count("\x1b[?25h") == 2  # the cursor is never hidden for long


@pytest.mark.parametrize("kind", ["dumb", "unknown"])
def test_a_terminal_that_cannot_change_a_line_has_lines(kind, monkeypatch, capsys):
    monkeypatch.setenv("TERM", kind)
    with terminal():
        assert progress.interactive() is None


def test_who_is_shown_what():
    told = []

    @progress.showing(told.append)
    def inner(*, progress=None):
        return progress

    @progress.showing(told.append)
    def outer(*, progress=None):
        return progress, inner()

    with terminal():
        assert outer() == (told.append, None)  # a terminal: of the outermost call
        assert outer(progress=False) == (None, None)
        assert outer(progress=print) == (print, None)
    for wrong in (True, 3):
        with pytest.raises(InputError, match="give a function, False for no display"):
            outer(progress=wrong)


def test_nothing_is_shown_to_nobody(capsys):
    @progress.showing(print)
    def call(*, progress=None):
        return progress

    assert call() is None
    assert list(progress.counted(range(3), "counting")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")

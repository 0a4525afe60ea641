"""The script that times how long commands are silent."""

import sys

from experiments.benchmarks import first_line
from jaxnet.cli.commands import questions

PROGRAM = """
import sys, time
time.sleep(0.4)
print("\\x1b[2K", end="", flush=True)
time.sleep(0.3)
print("one", flush=True)
time.sleep(1.2)
print(sys.stdout.isatty())
sys.exit(3)
"""


def test_the_first_line_and_the_longest_silence_are_measured(tmp_path):
    found = first_line.timed([sys.executable, "-c", PROGRAM], tmp_path)
    assert found.first >= 0.7
    assert 1.1 <= found.silence <= found.total - found.first
    assert "one" in found.before
    assert found.status == 3


def test_every_command_is_timed():
    timed = {line.split()[0] for line in first_line.WORK}
    assert questions().keys() - timed == {"mnist", "prepare"}

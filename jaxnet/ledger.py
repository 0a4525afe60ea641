"""What of a population is trained: finished parts in memory, and with a folder all of it on disk.

A part is some members of one group after the same number of epochs. On disk each is a checkpoint of its own, written
whole or not at all; a part that goes on is removed once newer ones hold its members.
"""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from .checkpoint import read_part, write_part
from .run import Row
from .training import TrainState

SHARE = 0.1  # of the time may go into checkpoints
GROWTH = 0.02  # and of the time so far may lie between two of them, so that their number grows with its logarithm


class Part(NamedTuple):
    """Members of a group after `epoch` epochs, on the host. state: without keys, and of the finished without optimizer state."""

    group: int
    members: Int[np.ndarray, " part"]
    epoch: int
    finished: bool
    state: TrainState | None
    history: Row | None

    def take(self, places: np.ndarray | slice) -> "Part":
        """Some of its members."""
        state, history = jax.tree.map(lambda leaf: leaf[places], (self.state, self.history))
        return self._replace(members=self.members[places], state=state, history=history)


def joined(parts: list[Part]) -> Part:
    """Parts of one group and epoch as one, in order of members."""
    members = np.concatenate([part.members for part in parts])
    trees = [(part.state, part.history) for part in parts]
    state, history = jax.tree.map(lambda *leaves: np.concatenate(leaves), *trees) if len(parts) > 1 else trees[0]
    return parts[0]._replace(members=members, state=state, history=history).take(np.argsort(members))


class Ledger:
    """Keeps finished parts, and writes them with the parts that go on when it is time. Threads may share one."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.finished = folder, list[Part]()
        self.unsaved = list[Part]()
        self._on_disk: list[tuple[Path, Part]] = []
        self._lock, self._began, self._last, self._cost, self._next = threading.Lock(), time.monotonic(), time.monotonic(), 0.0, 0

    def restore(self, shape: Callable[[int, int, bool], tuple[TrainState, Row]]) -> list[Part]:
        """The parts on disk that go on. shape: of (state, history) of a group, a number of members, finished or not."""
        if self.folder is None or not self.folder.is_dir():
            return []
        for path in self.folder.glob("part-*.orbax-checkpoint-tmp*"):  # cut short by a kill
            shutil.rmtree(path, ignore_errors=True)
        known, going_on = set[tuple[int, int]](), list[Part]()
        for path in sorted(self.folder.glob("part-????????"), reverse=True):
            self._next = max(self._next, int(path.name[-8:]) + 1)
            given = read_part(path, lambda about: shape(about["group"], len(about["members"]), about["finished"]))
            if given is None:  # damaged: its members are in an older part, or begin again
                continue
            (state, history), about = given
            part = Part(about["group"], np.asarray(about["members"], int), about["epoch"], about["finished"], state, history)
            self._on_disk.append((path, part._replace(state=None, history=None)))
            new = np.array([(part.group, int(member)) not in known for member in part.members], bool)
            known |= {(part.group, int(member)) for member in part.members}
            if new.any():
                (self.finished if part.finished else going_on).append(part.take(new))
        self._on_disk.reverse()
        return going_on

    def count(self) -> int:
        """How many members are finished."""
        return sum(len(part.members) for part in self.finished)

    def finish(self, part: Part) -> None:
        """Takes members that are trained to their end."""
        with self._lock:
            self.finished.append(part)
            self.unsaved.append(part)

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        now = time.monotonic()
        return self.folder is not None and now - self._last >= max(self._cost / SHARE, GROWTH * (now - self._began))

    def save(self, going_on: Part | None) -> None:
        """Writes what finished since the last time, and a part that goes on."""
        if self.folder is None:
            return
        with self._lock:
            began = time.monotonic()
            for group in sorted({part.group for part in self.unsaved}):
                self._write(joined([part for part in self.unsaved if part.group == group]))
            self.unsaved.clear()
            if going_on is not None:
                self._write(going_on)
            self._last = time.monotonic()
            self._cost = self._last - began

    def _write(self, part: Part) -> None:
        assert self.folder is not None
        path = self.folder / f"part-{self._next:08d}"
        about = {"group": part.group, "members": [int(m) for m in part.members], "epoch": part.epoch, "finished": part.finished}
        write_part(path, (part.state, part.history), about)
        self._next += 1
        self._on_disk.append((path, part._replace(state=None, history=None)))
        newer = set[tuple[int, int]]()
        for old, held in reversed(list(self._on_disk)):
            members = {(held.group, int(member)) for member in held.members}
            if members <= newer:
                shutil.rmtree(old, ignore_errors=True)
                self._on_disk.remove((old, held))
            newer |= members

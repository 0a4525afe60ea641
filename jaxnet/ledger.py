"""What of a population is trained: the newest part of each member in memory, and with a folder all of it on disk.

A part is some members of one group after the same number of epochs. On disk each is a checkpoint of its own, written
whole or not at all; a part is removed once newer ones hold all its members.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Int

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

    def end(self) -> "Part":
        """Its members as they are, to be trained no further."""
        assert self.state is not None
        return self._replace(finished=True, state=self.state._replace(opt_state=None))


class Written(NamedTuple):
    """A checkpoint that has a member."""

    path: Path
    epoch: int
    finished: bool


def joined(parts: list[Part]) -> Part:
    """Parts of one group and epoch as one, in order of members."""
    members = np.concatenate([part.members for part in parts])
    trees = [(part.state, part.history) for part in parts]
    state, history = jax.tree.map(lambda *leaves: np.concatenate(leaves), *trees) if len(parts) > 1 else trees[0]
    return parts[0]._replace(members=members, state=state, history=history).take(np.argsort(members))


class Ledger:
    """Keeps the newest part of each member that does not train, and writes it when it is time. Threads may share one."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._held, self._written = dict[int, Part](), dict[int, Written]()
        self._lock, self._began, self._last, self._cost, self._next = threading.Lock(), time.monotonic(), time.monotonic(), 0.0, 0

    def restore(self, shape: Callable[[int, int, bool], tuple[TrainState, Row]]) -> None:
        """Takes what is on disk. shape: of (state, history) of a group, a number of members, finished or not."""
        if self.folder is None or not self.folder.is_dir():
            return
        for path in self.folder.glob("part-*.orbax-checkpoint-tmp*"):  # cut short by a kill
            shutil.rmtree(path, ignore_errors=True)
        for path in sorted(self.folder.glob("part-????????"), reverse=True):
            self._next = max(self._next, int(path.name[-8:]) + 1)
            given = read_part(path, lambda about: shape(about["group"], len(about["members"]), about["finished"]))
            if given is None:  # damaged: its members are in an older part, or begin again
                continue
            (state, history), about = given
            part = Part(about["group"], np.asarray(about["members"], int), about["epoch"], about["finished"], state, history)
            new = [int(member) for member in part.members if int(member) not in self._held]
            self._held |= dict.fromkeys(new, part)
            self._written |= dict.fromkeys(new, Written(path, part.epoch, part.finished))
            if not new:  # newer ones hold its members: a kill came before it was removed
                shutil.rmtree(path, ignore_errors=True)

    def parts(self, *, finished: bool) -> list[Part]:
        """What is held of the finished, or of those that go on, each member once."""
        distinct = {id(part): part for part in list(self._held.values()) if part.finished == finished}.values()
        newest = [(part, np.array([self._held[int(member)] is part for member in part.members])) for part in distinct]
        return [part if new.all() else part.take(new) for part, new in newest]

    def epochs(self) -> dict[int, tuple[int, bool]]:
        """How many epochs each member that is held has, and whether it is finished."""
        return {member: (part.epoch, part.finished) for member, part in self._held.items()}

    def count(self) -> int:
        """How many members are finished."""
        return sum(part.finished for part in list(self._held.values()))

    def keep(self, part: Part) -> None:
        """Takes members that are trained to their end, or rest until others have come as far."""
        with self._lock:
            self._held |= dict.fromkeys(map(int, part.members), part)

    def settle(self, goes_on: Bool[np.ndarray, " members"]) -> None:
        """Ends those of the resting that do not go on, and joins the others, so that they fill waves."""
        resting = self.parts(finished=False)
        for part in resting:
            if not (stays := goes_on[part.members]).all():
                self.keep(part.take(~stays).end())
        for part in _joined(self.parts(finished=False), lambda part: (part.group, part.epoch)):
            self.keep(part)

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        now = time.monotonic()
        return self.folder is not None and now - self._last >= max(self._cost / SHARE, GROWTH * (now - self._began))

    def save(self, going_on: Part | None) -> None:
        """Writes what is new since the last time, and a part that goes on.

        Those that rest come first: whoever was stopped at a rung, the members that were ranked with it are on disk.
        """
        if self.folder is None:
            return
        with self._lock:
            began = time.monotonic()
            for part in _joined(self._unsaved(finished=False), lambda part: (part.group, part.epoch)):
                self._write(part)
            for part in _joined(self._unsaved(finished=True), lambda part: (part.group,)):
                self._write(part)
            if going_on is not None:
                self._write(going_on)
            self._last = time.monotonic()
            self._cost = self._last - began

    def _unsaved(self, *, finished: bool) -> list[Part]:
        """What is held, and not on disk."""

        def saved(member: int, part: Part) -> bool:
            there = self._written.get(member)
            return there is not None and (there.finished or (not part.finished and there.epoch >= part.epoch))

        new = [(part, np.array([not saved(int(member), part) for member in part.members])) for part in self.parts(finished=finished)]
        return [part if each.all() else part.take(each) for part, each in new if each.any()]

    def _write(self, part: Part) -> None:
        assert self.folder is not None
        path = self.folder / f"part-{self._next:08d}"
        members = [int(member) for member in part.members]
        about = {"group": part.group, "members": members, "epoch": part.epoch, "finished": part.finished}
        write_part(path, (part.state, part.history), about)
        self._next += 1
        older = {self._written[member].path for member in members if member in self._written}
        self._written |= dict.fromkeys(members, Written(path, part.epoch, part.finished))
        for old in older - {there.path for there in self._written.values()}:
            shutil.rmtree(old, ignore_errors=True)


def _joined(parts: Iterable[Part], by: Callable[[Part], tuple[int, ...]]) -> list[Part]:
    """One part for each value of `by`."""
    alike = dict[tuple[int, ...], list[Part]]()
    for part in parts:
        alike.setdefault(by(part), []).append(part)
    return [joined(alike[key]) for key in sorted(alike)]

"""The checkpoint of a population: the newest part of each member in memory, and with a folder all
parts on disk.

A part is some members of one group after the same number of epochs. On disk each part is a
checkpoint of its own, written whole or not at all; it is removed once two newer ones hold each of
its members. With several processes, each trains its share, and what they keep is exchanged before
it is written, so that between two exchanges the checkpoints of all processes are the same.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Int

from jaxnet.core.training import EpochMetrics, TrainState
from jaxnet.engine import checkpoint
from jaxnet.engine.checkpoint import DamagedError
from jaxnet.engine.fingerprint import check_same
from jaxnet.population.job import Job
from jaxnet.runtime.processes import exchange, is_first, several


class Part(NamedTuple):
    """Members of a group after `epoch` epochs, on the host.

    Attributes:
        group: number of the group.
        members: (part,) numbers of the members.
        epoch: number of epochs trained.
        finished: whether the members are trained no further.
        state: their state, without keys; of finished members without optimizer state.
        history: their metrics of each epoch.
    """

    group: int
    members: Int[np.ndarray, " part"]
    epoch: int
    finished: bool
    state: TrainState | None
    history: EpochMetrics | None

    def take(self, places: np.ndarray | slice) -> "Part":
        """Select some of the members."""
        state, history = jax.tree.map(lambda leaf: leaf[places], (self.state, self.history))
        return self._replace(members=self.members[places], state=state, history=history)

    def end(self) -> "Part":
        """Mark the members as finished."""
        assert self.state is not None
        return self._replace(finished=True, state=self.state._replace(opt_state=None))


class Saved(NamedTuple):
    """A part on disk that holds a member.

    Attributes:
        path: folder of the part.
        epoch: number of epochs after which it was written.
        finished: whether its members are trained no further.
    """

    path: Path
    epoch: int
    finished: bool


def joined(parts: list[Part]) -> Part:
    """Join parts of one group and epoch to one, in order of members."""
    members = np.concatenate([part.members for part in parts])
    trees = [(part.state, part.history) for part in parts]
    state, history = (
        jax.tree.map(lambda *leaves: np.concatenate(leaves), *trees) if len(parts) > 1 else trees[0]
    )
    return (
        parts[0]._replace(members=members, state=state, history=history).take(np.argsort(members))
    )


class PopulationCheckpoint:
    """Keeps the newest part of each member that does not train, and writes it when it is time.
    Threads may share one.
    """

    def __init__(
        self, folder: Path | None, jobs: Sequence[Job], *, share: float = 0.1, growth: float = 0.02
    ) -> None:
        """Nothing is read or written yet.

        Args:
            folder: where parts are kept on disk; None keeps them in memory only.
            jobs: the members of the population.
            share: the share of the time that may go into checkpoints.
            growth: the share of the time so far that lies between two checkpoints, so that their
                number grows with the logarithm of the time.
        """
        self.folder, self._jobs, self._most_share, self._growth = folder, jobs, share, growth
        self._fresh = list[Part]()
        self._held, self._written = (
            dict[int, Part](),
            dict[int, list[Saved]](),
        )  # the newest first
        self._lock, self._began, self._last, self._cost, self._next = (
            threading.RLock(),
            time.monotonic(),
            time.monotonic(),
            0.0,
            0,
        )

    def restore(self) -> None:
        """Read what is on disk.

        Members of a damaged part are taken from an older one or begin again, and a warning says so.

        Raises:
            InputError: where no part is intact, or processes find different parts.
        """
        if self.folder is None:
            return
        damaged, of_no_use = list[DamagedError](), list[Path]()
        for path in sorted(self.folder.glob("part-????????"), reverse=True):
            self._next = max(self._next, int(path.name[-8:]) + 1)
            try:
                about = checkpoint.read_about(path)
                group, members, epoch, finished = (
                    about[name] for name in ("group", "members", "epoch", "finished")
                )
                if new := [member for member in members if member not in self._held]:
                    state, history = checkpoint.read_arrays(
                        path, self._jobs[group].shapes(len(members), finished=finished)
                    )
                    self._held |= dict.fromkeys(
                        new, Part(group, np.asarray(members, int), epoch, finished, state, history)
                    )
            except DamagedError as error:
                damaged.append(error)
                continue
            wanting = [
                member for member in members if len(self._written.get(member, [])) < checkpoint.KEPT
            ]
            for member in wanting:
                self._written.setdefault(member, []).append(Saved(path, epoch, finished))
            if not wanting:  # a kill came before it was removed
                of_no_use.append(path)
        if not self._held:
            checkpoint.check_not_lost(self.folder, damaged)
        found = np.array(
            [(member, part.epoch, part.finished) for member, part in sorted(self._held.items())]
        )
        check_same((found, self._next), where=self.folder)
        checkpoint.set_aside(
            damaged, "its members go on from older checkpoints, and begin again where there is none"
        )
        if is_first():
            checkpoint.remove_left_over(self.folder)
            for path in of_no_use:
                checkpoint.remove(path)

    def parts(self, *, finished: bool) -> list[Part]:
        """List the parts of the finished members, or of those that go on, each member once."""
        distinct = {
            id(part): part for part in list(self._held.values()) if part.finished == finished
        }.values()
        newest = [
            (part, np.array([self._held[int(member)] is part for member in part.members]))
            for part in distinct
        ]
        parts = [part if new.all() else part.take(new) for part, new in newest]
        return sorted(parts, key=lambda part: (part.group, part.epoch, part.members[0]))

    def epochs(self) -> dict[int, tuple[int, bool]]:
        """Return how many epochs each member has, and whether it is finished."""
        return {member: (part.epoch, part.finished) for member, part in self._held.items()}

    def count(self) -> int:
        """Count the finished members."""
        return sum(part.finished for part in list(self._held.values()))

    def keep(self, part: Part) -> None:
        """Keep members that are trained to their end, or that wait until others have come as
        far.
        """
        with self._lock:
            self._take(part)
            self._fresh.append(part)

    def share(self, *going_on: Part, asked: bool = False) -> tuple[list[Part], bool]:
        """Exchange what processes have kept since the last time.

        Args:
            *going_on: parts of this process that go on.
            asked: whether this process was asked to stop.

        Returns:
            The parts that go on, and whether a process was asked to stop, of all processes.
        """
        with self._lock:
            if not several():
                self._fresh.clear()
                return list(going_on), asked
            given = exchange(_packed(self._fresh, going_on, asked))
            going, any_asked = list[Part](), False
            for fresh, going_on_there, asked_there in (
                _unpacked(each, self._jobs) for each in given
            ):
                for part in fresh:
                    self._take(part)
                going += going_on_there
                any_asked |= asked_there
            self._fresh.clear()
            return going, any_asked

    def settle(self, goes_on: Bool[np.ndarray, " members"]) -> None:
        """End those of the waiting members that do not go on, and join the others, so that they
        fill waves.
        """
        resting = self.parts(finished=False)
        for part in resting:
            if not (stays := goes_on[part.members]).all():
                self._take(part.take(~stays).end())
        for part in _joined(self.parts(finished=False), lambda part: (part.group, part.epoch)):
            self._take(part)

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        now = time.monotonic()
        return self.folder is not None and now - self._last >= max(
            self._cost / self._most_share, self._growth * (now - self._began)
        )

    def save(self, *going_on: Part, asked: bool = False) -> bool:
        """Write what is new since the last time, and the parts that go on.

        Waiting members come first: if training is stopped at a rung, all members that were ranked
        with the stopped one are on disk.

        Args:
            *going_on: parts of this process that go on.
            asked: whether this process was asked to stop.

        Returns:
            Whether a process was asked to stop.
        """
        with (
            self._lock
        ):  # from the exchange to the last write, so that what is written is the same on all
            began = time.monotonic()
            going, any_asked = self.share(*going_on, asked=asked)
            if self.folder is None:
                return any_asked
            for part in _joined(
                self._unsaved(finished=False), lambda part: (part.group, part.epoch)
            ):
                self._write(part)
            for part in _joined(self._unsaved(finished=True), lambda part: (part.group,)):
                self._write(part)
            for part in going:
                self._write(part)
            self._last = time.monotonic()
            self._cost = self._last - began
            return any_asked

    def _take(self, part: Part) -> None:
        self._held |= dict.fromkeys(map(int, part.members), part)

    def _unsaved(self, *, finished: bool) -> list[Part]:
        """List what is kept and not on disk."""

        def saved(member: int, part: Part) -> bool:
            there = next(iter(self._written.get(member, [])), None)
            return there is not None and (
                there.finished or (not part.finished and there.epoch >= part.epoch)
            )

        new = [
            (part, np.array([not saved(int(member), part) for member in part.members]))
            for part in self.parts(finished=finished)
        ]
        return [part if each.all() else part.take(each) for part, each in new if each.any()]

    def _write(self, part: Part) -> None:
        assert self.folder is not None
        path = self.folder / f"part-{self._next:08d}"
        members = [int(member) for member in part.members]
        about = {
            "group": part.group,
            "members": members,
            "epoch": part.epoch,
            "finished": part.finished,
        }
        checkpoint.write_part(path, (part.state, part.history), about)
        self._next += 1
        before = {there.path for member in members for there in self._written.get(member, [])}
        for member in members:
            self._written[member] = [
                Saved(path, part.epoch, part.finished),
                *self._written.get(member, []),
            ][: checkpoint.KEPT]
        for old in (
            before - {there.path for each in self._written.values() for there in each}
            if is_first()
            else ()
        ):
            checkpoint.remove(old)


def _joined(parts: Iterable[Part], by: Callable[[Part], tuple[int, ...]]) -> list[Part]:
    """Join the parts that have the same value of `by`."""
    alike = dict[tuple[int, ...], list[Part]]()
    for part in parts:
        alike.setdefault(by(part), []).append(part)
    return [joined(alike[key]) for key in sorted(alike)]


def _packed(fresh: Iterable[Part], going_on: Iterable[Part], asked: bool) -> bytes:
    """Pack what a process tells the others into bytes: a line of JSON, then the arrays of each
    part.
    """
    parts = [(part, False) for part in fresh] + [(part, True) for part in going_on]
    about = [
        [part.group, part.members.tolist(), part.epoch, part.finished, goes_on]
        for part, goes_on in parts
    ]
    arrays = [
        np.asarray(leaf).tobytes()
        for part, _ in parts
        for leaf in jax.tree.leaves((part.state, part.history))
    ]
    return b"".join([json.dumps([asked, about]).encode(), b"\n", *arrays])


def _unpacked(given: bytes, jobs: Sequence[Job]) -> tuple[list[Part], list[Part], bool]:
    """What `_packed` was given."""
    line, _, _ = given.partition(b"\n")
    place, kept = len(line) + 1, tuple[list[Part], list[Part]](([], []))
    asked, about = json.loads(line)
    for group, members, epoch, finished, goes_on in about:
        leaves, structure = jax.tree.flatten(jobs[group].shapes(len(members), finished=finished))
        arrays = list[np.ndarray]()
        for leaf in leaves:
            size = leaf.size * leaf.dtype.itemsize
            arrays.append(
                np.frombuffer(given[place : place + size], leaf.dtype).reshape(leaf.shape)
            )
            place += size
        state, history = jax.tree.unflatten(structure, arrays)
        kept[goes_on].append(Part(group, np.array(members, int), epoch, finished, state, history))
    return *kept, asked

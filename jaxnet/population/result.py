"""Population: what the training of many networks leaves behind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Int, PyTree

from jaxnet import display
from jaxnet.core.run import Run
from jaxnet.core.training import EpochMetrics
from jaxnet.data.resampling import Samples
from jaxnet.errors import InputError
from jaxnet.typing import ArrayLike


@dataclass(frozen=True)
class Population:
    """Trained members, as NumPy arrays on the host; `population[i]` is the Run of member i, and
    `len(population)` the number of members.

    Attributes:
        runs: one run per architecture, each of its leaves with a leading axis of its members.
        members: for each run, the numbers of its members.
        samples: what each member trained on; None where all trained on everything.
        predictions: the predictions of all members, where they were kept.
    """

    runs: tuple[Run, ...]
    members: tuple[np.ndarray, ...]
    samples: Samples | None = None
    predictions: "Predictions | None" = None

    __repr__ = display.text

    def __len__(self) -> int:
        return sum(len(members) for members in self.members)

    def __getitem__(self, member: int) -> Run:
        if not -len(self) <= member < len(self):
            raise IndexError(f"member {member} of {len(self)}")
        for run, members in zip(self.runs, self.members, strict=True):
            if (place := np.flatnonzero(members == member % len(self))).size:
                return jax.tree.map(lambda leaf: np.asarray(leaf[place[0]]), run)
        raise AssertionError("a member of no structure")

    @property
    def run(self) -> Run:
        """The members as one Run, each leaf with a leading axis of members.

        Raises:
            InputError: where the members have several architectures.
        """
        if len(self.runs) > 1:
            raise InputError(
                f"the members have {len(self.runs)} different structures; take each from "
                "population.runs"
            )
        return self.runs[0]

    @property
    def params(self) -> PyTree:
        """`run.params`."""
        return self.run.params

    @property
    def epochs(self) -> Int[np.ndarray, " members"]:
        """How many epochs each member was trained."""
        return self.each(lambda run: run.epochs)

    @property
    def diverged_at(self) -> Int[np.ndarray, " members"]:
        """The first step of each member whose loss was not finite, or -1."""
        return self.each(lambda run: run.diverged_at)

    @property
    def diverged(self) -> Bool[np.ndarray, " members"]:
        """Which members diverged, also those that did so in the very last step."""
        return self.each(lambda run: run.diverged)

    @property
    def status(self) -> tuple[str, ...]:
        """The status of each member, in words, as in `Run.status`."""
        return tuple(self[member].status for member in range(len(self)))

    @property
    def history(self) -> EpochMetrics:
        """The history of a Run, with arrays (members, epochs), NaN after a member's last epoch.

        It has signals where all members have the same layers; otherwise take those of each run.
        """
        most = max(run.recipe.epochs for run in self.runs)

        def padded(column: ArrayLike) -> np.ndarray:
            more = most - np.shape(column)[1]
            widths = [(0, 0), (0, more), *[(0, 0)] * (np.ndim(column) - 2)]
            blank = np.nan if np.issubdtype(np.asarray(column).dtype, np.floating) else -1
            return np.pad(column, widths, constant_values=blank)

        def joined(*columns: ArrayLike) -> np.ndarray:
            order = np.argsort(np.concatenate(self.members))
            return np.concatenate([*map(padded, columns)])[order]

        histories = [run.history for run in self.runs]
        shapes = {(run.layers, _steps_of_signals(run.history)) for run in self.runs}
        if len(shapes) > 1:
            histories = [history._replace(signals=None) for history in histories]
        return jax.tree.map(joined, *histories)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("_") and (
                name in Run.__dataclass_fields__ or hasattr(Run, name)
            ):
                raise AttributeError(
                    f"a population has no {name}: give population[i].{name} for a member, or "
                    f"population.run.{name} for all"
                )
            raise AttributeError(f"'Population' object has no attribute {name!r}")

    def _repr_html_(self) -> str:
        return display.html(self)

    def each(self, of: Callable[[Run], ArrayLike]) -> np.ndarray:
        """Compute a value for every member.

        Args:
            of: function of a run with a leading axis of members, which returns (members, ...).

        Returns:
            (members, ...) the values in order of members.
        """
        parts = [np.asarray(of(run)) for run in self.runs]
        return np.concatenate(parts)[np.argsort(np.concatenate(self.members))]


def _steps_of_signals(history: EpochMetrics) -> int:
    return 0 if history.signals is None else np.shape(history.signals.loss)[-1]


class Predictions(NamedTuple):
    """What all members predict, mapped from disk.

    Each array holds log-probabilities (members, examples, classes) as float16, or values (members,
    examples) as float32, which are float64 where float32 cannot hold y.

    Attributes:
        validation: on the validation set; None where there is none.
        test: on the test set.
        unseen: on the training set, NaN where the member trained on the example; None where all
            members trained on everything, and where `train` is there.
        train: on the training set, of members that trained on an example too; None unless it was
            asked for.
    """

    validation: np.ndarray | None
    test: np.ndarray
    unseen: np.ndarray | None
    train: np.ndarray | None = None

    __repr__ = display.text

"""Epochs of a training set in memory, each of them one call of one compiled program."""

import functools
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import jax

from jaxnet.core.training import EpochMetrics, Problem, TrainState, epoch
from jaxnet.engine.arguments import without_signals_of_kernel
from jaxnet.engine.parallel import run_steps_on
from jaxnet.kernels.dispatch import choose
from jaxnet.runtime.plan import Plan


@dataclass(frozen=True)
class InMemory:
    """The epochs that the host loop trains by; streamed.OnDisk has the same methods.

    Attributes:
        plan: where they run, with its implementation chosen.
        problem: what is trained, where the plan wants it.
    """

    plan: Plan
    problem: Problem

    chunks = 1  # an epoch is one chunk
    within = None  # how far an epoch is, between its chunks

    def compile(self, state: Any) -> None:
        """Compiles the program for a state of this shape."""
        _epoch.lower(self.plan, self.problem, state).compile()

    def run(
        self, state: TrainState, within: None, log: Callable[[str], None]
    ) -> Generator[tuple[TrainState, None, EpochMetrics | None], None, None]:
        """Trains without an end, and yields the state and the metrics after each epoch.

        Each state is donated to the next epoch, and cannot be used after that.
        """
        while True:
            state, metrics = _epoch(self.plan, self.problem, state)
            yield state, None, metrics


def in_memory(plan: Plan, problem: Problem) -> InMemory:
    """Chooses the implementation for a problem, and places its data where the plan wants them."""
    plan = choose(plan, problem)
    problem = without_signals_of_kernel(plan, problem)
    return InMemory(plan, plan.place(problem))


@functools.partial(jax.jit, static_argnames="plan", donate_argnames="state")
def _epoch(plan: Plan, problem: Problem, state: TrainState) -> tuple[TrainState, EpochMetrics]:
    return epoch(problem, state, run_steps_on(plan))

"""Measure how many seconds each part of a run takes, with compilation counted separately."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import jax

COMPILE_EVENTS = (
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


class Timer:
    """Seconds spent in each part of a run.

    JAX itself reports the time of compilation, which is kept separately. Compilation in other
    threads is not counted, since nobody waits for it.

    Attributes:
        began: a reading of time.perf_counter when the process started.
        compiling: seconds of compilation so far.
        parts: seconds of each part, by name.
    """

    def __init__(self, began: float) -> None:
        self.began, self.compiling = began, 0.0
        self.parts = {"import": time.perf_counter() - began, "data": 0.0, "train": 0.0}
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A context whose duration, without compilation, is added to a part.

        Args:
            name: name of the part.

        Yields:
            Nothing.
        """
        start, compiling = time.perf_counter(), self.compiling
        yield
        self.parts[name] += time.perf_counter() - start - (self.compiling - compiling)

    def seconds(self) -> dict[str, float]:
        """Seconds of each part, of all compilation, and in total so far."""
        return {
            k: round(v, 3)
            for k, v in {
                **self.parts,
                "compile": self.compiling,
                "total": time.perf_counter() - self.began,
            }.items()
        }

    def _heard(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event in COMPILE_EVENTS and threading.current_thread() is threading.main_thread():
            self.compiling += duration_secs

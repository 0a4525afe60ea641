"""Where the seconds of a run went."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import jax

COMPILING = (
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


class Clock:
    """Seconds since `began`, a reading of time.perf_counter, by part. Compilation is told by JAX
    itself and kept apart; what other threads compile meanwhile is not waited for, and not counted.
    """

    def __init__(self, began: float) -> None:
        self.began, self.compiling = began, 0.0
        self.parts = {"import": time.perf_counter() - began, "data": 0.0, "train": 0.0}
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts what happens inside, compilation left out, to that part."""
        start, compiling = time.perf_counter(), self.compiling
        yield
        self.parts[name] += time.perf_counter() - start - (self.compiling - compiling)

    def seconds(self) -> dict[str, float]:
        """By part, all compilation, and the total so far."""
        return {
            k: round(v, 3)
            for k, v in {
                **self.parts,
                "compile": self.compiling,
                "total": time.perf_counter() - self.began,
            }.items()
        }

    def _heard(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event in COMPILING and threading.current_thread() is threading.main_thread():
            self.compiling += duration_secs

"""Write logs for TensorBoard with tensorboardX, without TensorFlow; `tensorboard --logdir runs`
shows them side by side.

folder/training and folder/validation hold loss and accuracy over epochs, which TensorBoard draws
into the same charts. folder/signals holds those of a run that was trained with signals, over
optimizer steps. folder/result holds hyperparameters with the final metrics, and figures.
"""

import importlib.util
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jaxnet.core.recipe import describe_recipe
from jaxnet.core.run import Run
from jaxnet.core.signals import Signals
from jaxnet.core.training import EpochMetrics
from jaxnet.engine.prediction import ClassMetrics, LabelMetrics, Metrics
from jaxnet.errors import InputError
from jaxnet.runtime.files import NotWrittenError, writing

CURVES = {
    "training": {"loss": "train_loss", "accuracy": "train_accuracy"},
    "validation": {"loss": "validation_loss", "accuracy": "validation_accuracy"},
}


def require() -> None:
    """Raise InputError, which says what to install, if tensorboardX is missing."""
    if importlib.util.find_spec("tensorboardX") is None:
        raise InputError(
            "logs for TensorBoard need the package tensorboardX, which is not installed: pip "
            "install tensorboardX"
        )


@contextmanager
def live(folder: str | Path) -> Iterator[Callable[[int, EpochMetrics], None]]:
    """A context that writes each epoch when it ends.

    If a training continues, what it wrote after its last checkpoint is marked as void, so that no
    step is there twice.

    Args:
        folder: the folder of the logs.

    Yields:
        The `progress` for `jaxnet.train`.
    """
    with ExitStack() as open_ones:
        writers: dict[str, Events] = {}

        def progress(done: int, row: EpochMetrics) -> None:
            parts = {part: values for part in CURVES if (values := _values(row, part))}
            for part, values in parts.items():
                if (
                    part not in writers
                ):  # the first call comes before the first epoch, with the number of epochs done
                    writers[part] = open_ones.enter_context(Events(Path(folder) / part, done + 1))
                    continue
                _add(writers[part], values, done)

        yield progress


def write(
    folder: str | Path,
    run: Run,
    metrics: Mapping[str, Metrics] | None = None,
    figures: Sequence[str | Path] = (),
) -> None:
    """Write the logs of a finished run, in place of those that were written while it trained.

    Args:
        folder: the folder of the logs.
        run: the run.
        metrics: metrics by the name of the part, such as {"test": jaxnet.evaluate(...)}.
        figures: PNG files.

    Raises:
        InputError: where tensorboardX is missing.
    """
    require()
    for part in CURVES:
        if columns := _values(run.history, part):
            with _fresh(Path(folder) / part) as writer:
                for epoch in range(int(run.epochs)):
                    _add(
                        writer, {name: column[epoch] for name, column in columns.items()}, epoch + 1
                    )
    if run.history.signals is not None:
        with _fresh(Path(folder) / "signals") as writer:
            for step, values in _signals(run.history.signals, run.layers):
                _add(writer, values, step)
    found = {
        f"{name}/{part}": value
        for part, each in (metrics or {}).items()
        for name, value in _numbers(each).items()
    }
    if found or figures:
        from tensorboardX.summary import hparams, image

        with _fresh(Path(folder) / "result") as writer:
            for summary in hparams(_settings(run), found):
                writer.add(summary, 0)
            _add(writer, found, int(run.epochs))
            for path in map(Path, figures):
                writer.add(image(path.stem, _pixels(path), dataformats="HWC"), int(run.epochs))


class Events:
    """A file of events, written immediately; tensorboardX's own writer uses a thread, whose errors
    are lost.

    What was there from step `first` on is void.

    Args:
        folder: the folder of the file.
        first: the first step that is void.

    Raises:
        NotWrittenError: where it cannot be written.
    """

    def __init__(self, folder: Path, first: int) -> None:
        require()
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyrefly: ignore[missing-module-attribute]

        self._event = Event
        # With nanoseconds, logs that begin in the same second get different files.
        self._path = (
            folder
            / f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{time.time_ns()}"
        )
        with writing(self._path):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "wb", buffering=0)  # noqa: SIM115 - closed by whoever uses this as a context
        try:
            self._write(file_version="brain.Event:2", step=first)
            self._write(session_log=SessionLog(status=SessionLog.START), step=first)
        except NotWrittenError:
            self._file.close()
            raise

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, summary: Any, step: int) -> None:
        """Write a summary, as tensorboardX.summary makes them.

        Args:
            summary: the summary.
            step: its step.
        """
        self._write(summary=summary, step=step)

    def _write(self, **content: Any) -> None:
        from tensorboardX.record_writer import masked_crc32c

        data = self._event(wall_time=time.time(), **content).SerializeToString()
        length = struct.pack("<Q", len(data))
        left = memoryview(
            length
            + struct.pack("<I", masked_crc32c(length))
            + data
            + struct.pack("<I", masked_crc32c(data))
        )
        with writing(self._path):
            while left:
                left = left[self._file.write(left) :]


def _fresh(folder: Path) -> Events:
    with writing(folder):
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
    return Events(folder, 0)


def _add(events: Events, values: Mapping[str, Any], step: int) -> None:
    from tensorboardX.summary import scalar

    for name, value in values.items():
        events.add(scalar(name, float(value)), step)


def _values(row: EpochMetrics, part: str) -> dict[str, Any]:
    return {
        name: np.asarray(value)
        for name, column in CURVES[part].items()
        if (value := getattr(row, column)) is not None
    }


def _signals(
    signals: Signals, layers: Sequence[str]
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """The number of each step with signals, and each signal of each layer by name."""
    columns = {
        f"{name}/{layer}": np.asarray(column)[..., i].ravel()
        for name, column in signals._asdict().items()
        if name not in ("step", "loss")
        for i, layer in enumerate(layers)
    }
    columns = {name: column for name, column in columns.items() if not np.isnan(column).all()}
    columns["batch_loss"] = np.asarray(signals.loss).ravel()
    for row, step in enumerate(np.asarray(signals.step).ravel()):
        if step >= 0:
            yield int(step), {name: column[row] for name, column in columns.items()}


def _numbers(metrics: Metrics) -> dict[str, float]:
    names = (
        ("error", "loss")
        if isinstance(metrics, ClassMetrics | LabelMetrics)
        else ("error", "rmse", "median_absolute_error", "r2")
    )
    return {name: float(getattr(metrics, name)) for name in names}


def _settings(run: Run) -> dict[str, Any]:
    recipe = describe_recipe(run.recipe)
    strengths = recipe.pop("augmentation") or {}
    return {"model": run.model, **recipe, **strengths}


def _pixels(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))

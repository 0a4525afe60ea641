"""Logs for TensorBoard, written by tensorboardX without TensorFlow: `tensorboard --logdir runs` shows them beside each other.

folder/training, folder/validation: loss and accuracy over epochs, which TensorBoard draws into the same charts.
folder/result: hyperparameters with the final metrics, and figures.
"""

import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checkpoint import describe_recipe
from ..errors import InputError
from ..evaluation import ClassMetrics, Metrics
from ..run import Row, Run

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

CURVES = {
    "training": {"loss": "train_loss", "accuracy": "train_accuracy"},
    "validation": {"loss": "validation_loss", "accuracy": "validation_accuracy"},
}
FLUSHED = 10  # seconds until what happened can be seen


def require() -> None:
    """Raises InputError, which says what to install, where the writer is missing."""
    if importlib.util.find_spec("tensorboardX") is None:
        raise InputError("logs for TensorBoard need the package tensorboardX, which is not installed: pip install tensorboardX")


@contextmanager
def live(folder: str | Path) -> Iterator[Callable[[int, Row], None]]:
    """Gives the `watch` for `jaxnet.train` that writes each epoch when it ends.

    What a training that is continued had written after its last checkpoint is marked as void, so that no step is there twice.
    """
    with ExitStack() as open_ones:
        writers: dict[str, SummaryWriter] = {}

        def watch(done: int, row: Row) -> None:
            parts = {part: values for part in CURVES if (values := _values(row, part))}
            for part, values in parts.items():
                if part not in writers:  # called once before the first epoch, with the last one done
                    writers[part] = open_ones.enter_context(_writer(Path(folder) / part, done + 1))
                    continue
                _add(writers[part], values, done)

        yield watch


def write(folder: str | Path, run: Run, metrics: Mapping[str, Metrics] | None = None, figures: Sequence[str | Path] = ()) -> None:
    """Everything of a finished run, in place of what was written there while it trained.

    metrics: by the name of the part, such as {"test": jaxnet.evaluate(...)}. figures: PNG files.
    Raises InputError where tensorboardX is missing.
    """
    require()
    for part in CURVES:
        if columns := _values(run.history, part):
            with _fresh(Path(folder) / part) as writer:
                for epoch in range(int(run.epochs)):
                    _add(writer, {name: column[epoch] for name, column in columns.items()}, epoch + 1)
    found = {f"{name}/{part}": value for part, each in (metrics or {}).items() for name, value in _numbers(each).items()}
    if found or figures:
        from tensorboardX.summary import hparams

        with _fresh(Path(folder) / "result") as writer:
            assert writer.file_writer is not None
            for summary in hparams(_settings(run), found):
                writer.file_writer.add_summary(summary)
            _add(writer, found, int(run.epochs))
            for path in map(Path, figures):
                writer.add_image(path.stem, _pixels(path), int(run.epochs), dataformats="HWC")


def _writer(folder: Path, first: int) -> "SummaryWriter":
    """A writer of steps from the first one on; what was there of them before is void."""
    require()
    from tensorboardX import SummaryWriter

    # Its own names say the second, so that one that begins in the same second would overwrite the other.
    return SummaryWriter(str(folder), purge_step=first, flush_secs=FLUSHED, filename_suffix=f".{time.time_ns()}")


def _fresh(folder: Path) -> "SummaryWriter":
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    return _writer(folder, 0)


def _add(writer: "SummaryWriter", values: Mapping[str, Any], step: int) -> None:
    for name, value in values.items():
        writer.add_scalar(name, float(value), step)


def _values(row: Row, part: str) -> dict[str, Any]:
    return {name: np.asarray(value) for name, column in CURVES[part].items() if (value := getattr(row, column)) is not None}


def _numbers(metrics: Metrics) -> dict[str, float]:
    names = ("error", "loss") if isinstance(metrics, ClassMetrics) else ("error", "rmse", "r2")
    return {name: float(getattr(metrics, name)) for name in names}


def _settings(run: Run) -> dict[str, Any]:
    recipe = describe_recipe(run.recipe)
    strengths = recipe.pop("augmentation") or {}
    return {"model": run.model, **recipe, **strengths}


def _pixels(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))

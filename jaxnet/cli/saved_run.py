"""Read a finished run from its folder: its options, its network, and the data that it was trained
on.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from jaxnet.cli.options import TrainOptions, read
from jaxnet.core.run import Run
from jaxnet.data import Splits
from jaxnet.engine.checkpoint import restore
from jaxnet.engine.fingerprint import current
from jaxnet.errors import InputError, near_path
from jaxnet.models.builtin import named
from jaxnet.models.model import Model
from jaxnet.runtime import files

PARAMS = "params"  # folder of the network within that of a run


class SavedRun(NamedTuple):
    """A finished run, read from its folder.

    Attributes:
        folder: the folder.
        about: its run.json: the experiment and its options.
        model: the architecture.
        run: the trained network.
    """

    folder: Path
    about: dict[str, Any]
    model: Model
    run: Run


def read_run(path: Path) -> SavedRun:
    """Read a finished run.

    Args:
        path: its folder.

    Returns:
        The run.

    Raises:
        InputError: for any other folder; it says what to give instead.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder{near_path(path)}")
    if not (path / "run.json").exists():
        runs = sorted(
            (each.parent for each in path.glob("*/run.json")), key=lambda each: each.stat().st_mtime
        )
        cure = (
            f"the newest in it is {runs[-1]}"
            if runs
            else "give one that an experiment wrote, such as runs/digits-..."
        )
        raise InputError(f"{path}: is not the folder of a run, since it has no run.json; {cure}")
    about = current(files.read_json(path / "run.json"))
    if not (path / PARAMS).is_dir():
        raise InputError(
            f"{path}: is the folder of a run that is not finished; continue it with --resume "
            f"--out {path}"
        )
    run = restore(path / PARAMS)
    return SavedRun(path, about, named(run.model), run)


def read_data(finished: SavedRun, data_dir: Path | None = None) -> Splits:
    """Read the data set of a run, and split it as the run did.

    Args:
        finished: the run.
        data_dir: folder of the data set, as the run had it, or where its files are now.

    Returns:
        The Splits.

    Raises:
        InputError: where the data set is missing or differs.
    """
    known = {field.name for field in fields(TrainOptions)} - {"data_dir"}
    about = finished.about.items()
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in about
        if name in known
    }
    path = Path(given["dataset"])
    if path.exists():
        data_dir = None
    elif data_dir is not None and (
        path.suffix or len(path.parts) > 1
    ):  # a file or folder, not the name of a data set
        given["dataset"], data_dir = str(data_dir / path.name), None
    try:
        splits = read(TrainOptions(**given, data_dir=data_dir))[0]
    except InputError as error:
        raise InputError(f"{finished.folder}: its data set is not there: {error}") from None
    if splits.classes != finished.run.classes or splits.test.x.shape[1:] != finished.run.shape:
        raise InputError(
            f"{finished.folder}: {finished.about.get('dataset')} holds other examples than the "
            "network learned from; give the same data set"
        )
    return splits

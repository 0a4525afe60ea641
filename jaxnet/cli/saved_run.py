"""Read a finished run from its folder: its options, its network, the data that it was trained on,
and the losses of its cross-fitted networks.
"""

import io
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnet.cli.options import TrainOptions, read
from jaxnet.core.run import Run
from jaxnet.data import Splits
from jaxnet.data.schema import Schema
from jaxnet.data.sources.request import NO_GROUPS
from jaxnet.engine.checkpoint import restore
from jaxnet.engine.fingerprint import current
from jaxnet.errors import InputError, near_path
from jaxnet.models.combined import named
from jaxnet.models.model import Model
from jaxnet.runtime import files, processes
from jaxnet.stats.unseen_losses import UnseenLosses

PARAMS = "params"  # folder of the network within that of a run
UNSEEN = "unseen_losses.npz"  # what a comparison of recipes needs of cross-fitted networks
NONE = 255  # stands for the loss of a network that is not there, where losses are 0 or 1


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

    @property
    def schema(self) -> Schema:
        """What its examples mean; where they are tokens, with all ids that its network knows."""
        schema, known = self.run.schema, self.model.vocabulary
        return schema if known is None else replace(schema, vocabulary=known)


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
        splits = read(TrainOptions(**given, data_dir=data_dir), finished.run.columns)[0]
        grouped_by = _grouped_by(finished.folder, splits)
        if grouped_by != splits.grouped_by and given.get("groups") is None:
            given["groups"] = grouped_by or NO_GROUPS
            splits = read(TrainOptions(**given, data_dir=data_dir), finished.run.columns)[0]
    except InputError as error:
        raise InputError(f"{finished.folder}: its data set is not there: {error}") from None
    own, learned = splits.schema, finished.run.schema
    asked = (own.classes, own.target_names), (learned.classes, learned.target_names)
    if asked[0] != asked[1] or splits.test.x.shape[1:] != finished.run.shape:
        raise InputError(
            f"{finished.folder}: {finished.about.get('dataset')} holds other examples than the "
            "network learned from; give the same data set"
        )
    return splits


def _grouped_by(folder: Path, splits: Splits) -> str | None:
    """What the examples of a run were grouped by: runs of before identifiers were taken for groups
    have none; without a result, what they are grouped by now.
    """
    path = folder / "result.json"
    if not path.exists():
        return splits.grouped_by
    return files.read_json(path)["dataset"].get("grouped_by")


def write_unseen_losses(folder: Path, unseen: UnseenLosses) -> None:
    """Keep the losses of cross-fitted networks in the folder of their run, from process 0 only.

    Args:
        folder: the folder.
        unseen: the losses. Those that are 0 or 1 take one byte each, the others four.
    """
    if not processes.is_first():
        return
    losses = unseen.losses
    shares = unseen.counted and not np.isin(losses[~np.isnan(losses)], (0, 1)).all()
    kept = {
        "losses": np.where(np.isnan(losses), NONE, losses).astype(np.uint8)
        if unseen.counted and not shares
        else losses.astype(np.float32),
        "fold_of": unseen.fold_of.astype(np.uint8),
        "pool": np.array(unseen.pool),
    }
    if shares:
        kept["counted"] = np.array(True)
    if unseen.group_of is not None:
        kept["group_of"] = unseen.group_of
    content = io.BytesIO()
    np.savez_compressed(content, **kept)
    files.write_whole(folder / UNSEEN, content.getvalue())


def read_unseen_losses(folder: Path) -> UnseenLosses | None:
    """Read the losses that `write_unseen_losses` kept in the folder of a run.

    Args:
        folder: the folder.

    Returns:
        The losses; None where none were kept.

    Raises:
        InputError: for a file that is damaged.
    """
    path = folder / UNSEEN
    if not path.exists():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes())) as kept:
            losses, bytes_ = kept["losses"], kept["losses"].dtype == np.uint8
            return UnseenLosses(
                np.where(losses == NONE, np.nan, losses) if bytes_ else losses.astype(np.float64),
                kept["fold_of"].astype(np.int64),
                kept.get("group_of"),
                bytes_ or "counted" in kept,
                str(kept["pool"]),
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise InputError(
            f"{path}: is damaged; remove it to compare the networks of this run on the test set"
        ) from None

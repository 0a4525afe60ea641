"""Read finished runs from their folders, to compare them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnet.cli import run_folder
from jaxnet.cli.options import READING
from jaxnet.cli.outputs import MEMBERS
from jaxnet.cli.saved_run import SavedRun, read_data, read_run, read_unseen_losses
from jaxnet.core.recipe import describe_recipe
from jaxnet.core.training import EpochMetrics
from jaxnet.data import Splits
from jaxnet.engine.prediction import predict
from jaxnet.errors import InputError
from jaxnet.progress import WRITING, phase
from jaxnet.runtime.files import plain, write_json, write_text
from jaxnet.studies.comparison import Compared, Comparison

# Options that define the training data.
READ = tuple(name for name in READING if name != "data_dir")
DATA_OPTIONS = ("dataset", *READ, "split_seed", "balance", "stream")


def read_runs(paths: Sequence[Path], data_dir: Path | None = None) -> list[Compared]:
    """The runs in these folders with their predictions; data that several runs share are read once.

    Args:
        paths: the folders.
        data_dir: folder of the data sets, as the runs had it, or where their files are now.

    Returns:
        One Compared for each folder.

    Raises:
        InputError: where a folder holds no finished run, or its data are missing.
    """
    finished = [read_run(path) for path in paths]
    read: dict[str, Splits] = {}
    runs = []
    for name, each in zip(_names(paths), finished, strict=True):
        phase(f"reading {name} and its data", "usually a few seconds")
        data = repr([each.about.get(option) for option in DATA_OPTIONS])
        if data not in read:
            read[data] = read_data(each, data_dir)
        outputs = np.asarray(predict(each.model, each.run, read[data].test.x))
        members, left_out = _members(name, each, outputs.shape)
        facts = _facts(each, len(read[data].train), 1 if members is None else len(members))
        runs.append(
            Compared(
                name,
                each.run,
                read[data],
                outputs,
                members,
                facts,
                read_unseen_losses(each.folder),
                left_out,
            )
        )
    return runs


def write_comparison(
    found: Comparison, histories: Mapping[str, EpochMetrics], out: Path
) -> dict[str, Any]:
    """Write figures, report.html and result.json, in this order.

    Args:
        found: the comparison.
        histories: metrics of each epoch, by name of the run.
        out: the folder.

    Returns:
        What result.json holds.
    """
    from jaxnet.report import figures
    from jaxnet.report.html.comparison import page

    phase(*WRITING)
    figures.comparison_of_runs(found, histories, out / "figures")
    result = {
        "experiment": "compare",
        "schema_version": run_folder.SCHEMA_VERSION,
        **found.summary(),
    }
    write_text(out / "report.html", page(found.summary(), out / "figures"))
    write_json(out / "result.json", result)
    return result


def _names(paths: Sequence[Path]) -> list[str]:
    """A name for each folder: its own name, or the whole path if several have the same name;
    repeated folders are numbered.
    """
    own = [path.resolve().name for path in paths]
    names = own if len(set(own)) == len(own) else [str(path) for path in paths]
    return [
        f"{name} ({names[: i + 1].count(name)})" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]


def _members(
    name: str, finished: SavedRun, shape: tuple[int, ...]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Predictions on the test set, as the run kept them, of the networks that judge its recipe;
    None if there is only one. Also the other networks of the run, in words, with why they do not.
    """
    path, result = (
        finished.folder / MEMBERS / "predictions/test.npy",
        run_folder.result(finished.folder) or {},
    )
    if not path.exists():
        return None, ()
    first, count, others = 0, 0, "trained on parts of the training set"
    folds = result.get("diagnosis", {}).get("folds")
    if folds is not None:
        # the first network is the one to keep, and those of the folds follow
        first, count = 1, folds["networks"] + folds["left_out"]
        others = "trained on the whole pool, or on smaller parts than the fold networks"
    elif "diagnosis" in result:
        count = finished.about["members"]
    elif "seeds" in result:
        count = finished.about["members"]
        others = "trained from the same parameters, or in the same order of examples"
    elif "sweep" in result:
        count = finished.about["seeds"]
        first = result["sweep"]["best"] * count
        others = "trained with other values than the best"
    kept = np.load(path, mmap_mode="r")
    if kept.shape[1:] != shape or len(kept) < first + count:
        raise InputError(
            f"{path}: is not of this run's test set; remove the folder {path.parent.parent} to "
            "compare its network alone"
        )
    if count <= 1:
        return None, ()
    found = kept[first : first + count].astype(np.result_type(kept, np.float32))
    sound = np.isfinite(found).any(tuple(range(1, found.ndim)))
    left_out = []
    if rest := len(kept) - count:
        left_out.append(f"{_networks(rest)} of {name}, which {_were(rest)} {others}")
    if lost := int((~sound).sum()):
        left_out.append(f"{_networks(lost)} of {name}, which diverged")
    return (found[sound] if sound.sum() > 1 else None), tuple(left_out)


def _networks(count: int) -> str:
    return "1 network" if count == 1 else f"{count} networks"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _facts(finished: SavedRun, training: int, members: int) -> dict[str, Any]:
    """Facts about a run, by name: experiment, data, model, recipe, seed, versions and device."""
    result, options = run_folder.result(finished.folder) or {}, finished.about
    recipe = describe_recipe(finished.run.recipe)
    strengths = recipe.pop("augmentation") or {}
    versions = {
        f"version of {name}": version for name, version in result.get("versions", {}).items()
    }
    facts = {"experiment": options["experiment"]} | {
        name: options.get(name) for name in DATA_OPTIONS
    }
    facts |= {"training examples": training, "model": finished.run.model} | recipe | strengths
    facts |= (
        {"seed": options.get("seed"), "members": members}
        | versions
        | {"device": result.get("device")}
    )
    return plain(facts)

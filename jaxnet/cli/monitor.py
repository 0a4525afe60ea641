"""Compare a file with the held-out data of a run, for a cron job or a shell loop."""

import io
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnet.cli.options import MonitorOptions, current_words, table_of
from jaxnet.cli.parsing import parse
from jaxnet.cli.predict import LISTED
from jaxnet.cli.saved_run import SavedRun, read_data, read_run
from jaxnet.data.sources.csv import read_table
from jaxnet.data.sources.examples import read_examples
from jaxnet.data.sources.npz import read_npz
from jaxnet.engine.prediction import predict
from jaxnet.errors import InputError, near
from jaxnet.report import console
from jaxnet.runtime.devices import enable_cache, use_platform
from jaxnet.runtime.files import plain, write_whole
from jaxnet.runtime.processes import is_first
from jaxnet.stats.two_sample import MIN_SAMPLE_SIZE
from jaxnet.studies import shift

SHIFTED = 3  # exit status
REFERENCE_FILE = "reference.npz"  # in the folder of a run


def compare_file(arguments: Sequence[str], program: str = "python -m experiments.shift") -> int:
    """Print one line of JSON on a file and a run.

    Args:
        arguments: words of the command line.
        program: what the user typed to start it, for messages.

    Returns:
        The exit status: 0, 3 if the data have shifted, 2 for bad input.
    """
    logging.getLogger("jaxnet").setLevel(logging.ERROR)
    console.escape_unencodable()
    words = MonitorOptions.__doc__
    # the result is JSON anyway
    given = [word for word in current_words(arguments, console.warning) if word != "--json"]
    options = parse(MonitorOptions, given, program=program, description=words)
    try:
        use_platform(options.platform)
        try:
            enable_cache()
        except InputError as error:
            print(f"compiled programs are not kept: {error}", file=sys.stderr)
        found = _compare(options)
    except InputError as error:
        console.error(str(error))
        return 2
    print(json.dumps(found, allow_nan=False))
    return SHIFTED if found["verdict"] == "shifted" else 0


def write_reference(folder: Path, reference: shift.Reference) -> None:
    """Keep what a network predicts for held-out examples in the folder of its run.

    Args:
        folder: the folder.
        reference: the predictions and labels.

    Raises:
        NotWrittenError: where it cannot be written.
    """
    if is_first():
        content = io.BytesIO()
        np.savez(content, log_probabilities=reference.outputs, labels=reference.labels)
        write_whole(folder / REFERENCE_FILE, content.getvalue())


def read_reference(finished: SavedRun, data_dir: Path | None) -> shift.Reference:
    """The predictions of a run's network for held-out examples: as the run kept them, or computed
    from its data set.

    Args:
        finished: the run.
        data_dir: folder of its data set, if the run kept nothing.

    Returns:
        The predictions and labels.

    Raises:
        InputError: where neither is there.
    """
    run, path = finished.run, finished.folder / REFERENCE_FILE
    if path.exists():
        kept = read_npz(path)
        names, outputs = {"log_probabilities", "labels"}, run.outputs
        if set(kept) != names or kept["log_probabilities"].shape != (len(kept["labels"]), outputs):
            raise InputError(
                f"{path}: is not of this run; remove it to have it computed from the data set"
            )
        return shift.Reference(kept["log_probabilities"], kept["labels"])
    held = shift.held_out(read_data(finished, data_dir), run)
    return shift.Reference(np.asarray(predict(finished.model, run, held.x)), np.asarray(held.y))


def _compare(options: MonitorOptions) -> dict[str, Any]:
    finished = read_run(options.run)
    run, new = finished.run, options.new
    examples = read_examples(
        new, run.shape, finished.schema, table_of(options), strict=options.strict
    )
    x, refused = examples.x[examples.usable], np.array([*examples.refused], int)
    if len(x) < MIN_SAMPLE_SIZE:
        usable = " that can be used" * bool(len(refused))
        raise InputError(
            f"{new}: has {len(x)} examples{usable}; at least {MIN_SAMPLE_SIZE} are needed"
        )
    labeled = None
    if options.labels is not None:
        rows, numbers = _labeled(options.labels, run.classes)
        usable = ~np.isin(rows, refused)
        # their numbers among the examples that can be used
        labeled = (rows - np.searchsorted(refused, rows))[usable], numbers[usable]
    reference = read_reference(finished, options.data_dir)
    found = shift.monitor(finished.model, run, x, reference, level=options.level, labeled=labeled)
    left_out = [f"left out: {why}" for why in examples.refused.values()]
    notes = [*examples.notes, *left_out[:LISTED]]
    about = {"file": new, "left_out": len(left_out), "notes": notes}
    return plain(about) | found.summary()


def _labeled(path: Path, classes: tuple[str, ...] | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows and class numbers from a table."""
    if classes is None:
        raise InputError(f"{path}: the network predicts no classes; leave --labels out")
    columns, _ = read_table(path)
    for name in ("row", "label"):
        if name not in columns:
            raise InputError(
                f"{path}: needs a column {name}{near(name, sorted(columns), 'it has')}"
            )
    rows = columns["row"].to_numpy()
    if rows.dtype.kind not in "iu":
        raise InputError(f"{path}: column row holds {rows.dtype}; give whole numbers from 0")
    numbers = {name: number for number, name in enumerate(classes)}
    names = [str(each) for each in columns["label"].to_pylist()]
    unknown = next((name for name in names if name not in numbers), None)
    if unknown is not None:
        raise InputError(
            f"{path}: the network knows no class {unknown!r}{near(unknown, classes, 'it has')}"
        )
    return rows, np.array([numbers[name] for name in names])

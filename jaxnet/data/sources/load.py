"""Load Splits from a name or a path: this module only chooses which source reads it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from jaxnet.data import checks
from jaxnet.data.dataset import Splits
from jaxnet.data.sources import idx, image_folder, npz
from jaxnet.data.sources import tfds as prepared
from jaxnet.data.sources.formats import FORMATS, format_of, refuse_known
from jaxnet.data.sources.request import Reading
from jaxnet.data.splitting import split
from jaxnet.data.tables.table import Table
from jaxnet.data.tokens import Inputs
from jaxnet.errors import InputError, check_number, near_path, renamed, shown
from jaxnet.typing import Frame


@renamed(ignore="drop_columns")
def load(
    name_or_path: str | Path | Frame,
    *,
    data_dir: str | Path | None = None,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    task: str | None = None,
    label: str | Sequence[str] | None = None,
    groups: str | None = None,
    order: str | None = None,
    drop_columns: str | Sequence[str] = (),
    image_size: tuple[int, int] | None = None,
    table: Table | None = None,
    inputs: Inputs | str = "numbers",
    pad: int | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> Splits:
    """Load a named data set, a file, a data frame, or a folder of images.

    Args:
        name_or_path: "digits" (1,797 8x8 images, in the package); "mnist" or another image
            classification data set that TensorFlow Datasets knows, prepared (see `prepare`), or for
            mnist its four IDX files in data_dir; the path of a table
            (.csv, .tsv, .txt, also compressed as .csv.gz, .parquet or .xlsx), of arrays
            (.npz with x and y, and optionally x_test, y_test, x_validation, y_validation), or of a
            folder with PNG or JPEG images, one sub-folder for each class; or a data frame, such as
            one of pandas, Polars, PyArrow or DuckDB.
        data_dir: folder of TensorFlow Datasets, or with the four files of mnist.
        validation: fraction of the training pool to hold out; 0 for none.
        test: fraction to hold out, where the source has no test set of its own.
        seed: seed of the split.
        task: "classification" or "regression", where the labels could be either; "multi-label" for
            several independent yes/no labels, of label columns or of an array y (rows, labels).
        label: column of a table to learn; by default the last. Several names are several values,
            or with the task "multi-label" several yes/no labels, in cells of 0 and 1, true and
            false, or yes and no.
        groups: column or array to split by, as in `split`. By default, and without an order, the
            column of a table that looks like an identifier and has values in more than one row, if
            there is one; "none" for no groups. The groups of x_test and x_validation are in arrays
            of the same name that ends in _test or _validation, if there are any.
        order: column or array to split by, as in `split`.
        drop_columns: columns of a table to leave out.
        image_size: (height, width) to which images in a folder are scaled.
        table: what is known of a table, such as its separator; the rest is inferred from the file.
        inputs: as in `split`; "tokens" for tables and arrays of whole numbers that stay integers.
        pad: the id that fills up sequences of tokens: in a table it stands in for empty cells; the
            arrays of an .npz file have it already.
        meanwhile: a function to call while threads unpack the files of mnist; `jaxnet.load` imports
            by default what training needs.

    Returns:
        The Splits.

    Raises:
        InputError: for what cannot be found, read or used.
    """
    if not isinstance(name_or_path, Frame):
        _check_source(name_or_path)
    checks.fractions(validation, None, seed)
    check_number("test", test)
    reading = Reading.of(
        data_dir=data_dir,
        validation=validation,
        test=test,
        seed=seed,
        task=task,
        label=label,
        groups=groups,
        order=order,
        drop_columns=drop_columns,
        image_size=image_size,
        table=table,
        inputs=inputs,
        pad=pad,
    )
    if isinstance(name_or_path, Frame):
        return _tables().splits_of_frame(name_or_path, reading)
    folder = reading.data_dir
    name, path = str(name_or_path), Path(name_or_path)
    if name == "digits":
        return _digits(reading)
    match format_of(path):
        case "table":
            return _tables().splits_of_table(path, reading)
        case "arrays":
            return npz.splits_of_npz(path, reading)
    if path.is_dir() and (len(path.parts) > 1 or image_folder.has_classes(path)):
        return image_folder.splits_of_folder(path, reading)
    refuse_known(path)
    if path.suffix or len(path.parts) > 1:
        raise InputError(
            f"{path}: no such folder, nor a file that ends in "
            f"{', '.join(ending for ending, held in FORMATS.items() if held != 'image')}"
            f"{near_path(path)}"
        )
    if name == "mnist" and folder is not None and idx.has_files(folder):
        return idx.splits_of_files(folder, reading, meanwhile)
    return prepared.splits_of_prepared(name, reading, ("digits", "mnist"))


def _tables() -> Any:
    """What reads tables; its modules are imported where a table is read."""
    from jaxnet.data.sources import csv

    return csv


def _check_source(given: Any) -> None:
    """Refuse what is no name, no path and no data frame."""
    if isinstance(given, str | os.PathLike) and str(given).strip() and Path(given) != Path():
        return
    made = ""
    if hasattr(given, "collect"):
        made = "; of a lazy frame give frame.collect()"
    elif not isinstance(given, str) and given is not None:
        made = "; of arrays jaxnet.split(x, y) makes Splits"
    raise InputError(
        f"name_or_path is {shown(given)}; give the name of a data set, such as "
        f'"digits", a path or a data frame{made}'
    )


def _digits(reading: Reading) -> Splits:
    """The 1,797 images of the test part of "Optical Recognition of Handwritten Digits" (Alpaydin &
    Kaynak 1998).
    """
    reading.refuse("digits", "task", "label", "groups", "order")
    reading.refuse("digits", "drop_columns", "image_size", "table", "inputs")
    fractions = {"validation": reading.validation, "test": reading.test, "seed": reading.seed}
    with (
        resources.as_file(resources.files("jaxnet.data") / "digits.npz") as path,
        np.load(path) as arrays,
    ):
        splits = split(arrays["x"], arrays["y"], **fractions, classes=idx.DIGITS, name="digits")
    schema = replace(splits.schema, pixel_max=16.0)
    parts = {
        name: replace(getattr(splits, name), schema=schema)
        for name in ("train", "validation", "test")
    }
    return replace(splits, **parts)

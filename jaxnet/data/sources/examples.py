"""Read new examples for a trained network from a file."""

from pathlib import Path

import numpy as np
from jaxtyping import Num

from jaxnet.data import checks
from jaxnet.data.schema import Schema
from jaxnet.data.sources.csv import encode, read_table
from jaxnet.data.sources.formats import format_of, refuse_known
from jaxnet.data.sources.images import read_image
from jaxnet.data.sources.npz import read_npz
from jaxnet.data.tables.table import Table
from jaxnet.errors import InputError, near


def read_examples(
    path: Path, shape: tuple[int, ...], schema: Schema, table: Table | None = None
) -> Num[np.ndarray, "examples ..."]:
    """New examples from a file, encoded like those that a network was trained on: a table, the
    array x of an .npz file, or one PNG or JPEG image.

    Args:
        path: the file.
        shape: shape of the examples that the network was trained on.
        schema: what their numbers mean; a table needs its columns, and an image its white pixel.
        table: what is known of a table beforehand.

    Returns:
        (examples, *shape).

    Raises:
        InputError: for what does not fit.
    """
    match format_of(path):
        case "table" if schema.columns is not None:
            texts = {each.name for each in schema.columns if each.categories is not None}
            cells, _ = read_table(path, table, texts)
            return checks.inputs(encode(schema.columns, cells, path).x, f"{path}: ")
        case "arrays":
            return _read_arrays(path, shape)
        case "image":
            return read_image(path, shape, schema.pixel_max)
    refuse_known(path)
    raise InputError(
        f"{path}: give PNG or JPEG images, .npz files, or .csv files for a network that learned "
        "from a table"
    )


def _read_arrays(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The array x of an .npz file."""
    arrays = read_npz(path)
    if "x" not in arrays:
        raise InputError(f"{path}: needs an array x{near('x', sorted(arrays), 'the file holds')}")
    x = checks.inputs(arrays["x"], f"{path}: ")
    if x.shape[1:] != shape:
        raise InputError(
            f"{path}: x has examples of shape {x.shape[1:]}, but the network was trained on "
            f"{shape}; give examples like those"
        )
    return x

"""Splits of named arrays: what a source makes of x and y once it has read them."""

from dataclasses import replace

import numpy as np

from jaxnet.data import checks
from jaxnet.data.dataset import Dataset, Splits
from jaxnet.data.sources.request import Reading
from jaxnet.data.splitting import complete, ranks
from jaxnet.data.targets import MULTI_LABEL
from jaxnet.errors import InputError, near


def splits_of_arrays(
    arrays: dict[str, np.ndarray], reading: Reading, *, name: str, where: str
) -> Splits:
    """Check named arrays and split them.

    Args:
        arrays: the arrays by name: x and y, and optionally x_test, y_test, x_validation,
            y_validation and classes.
        reading: what `load` was asked for.
        name: name of the data set.
        where: the source, for messages.

    Returns:
        The Splits.

    Raises:
        InputError: for what cannot be used.
    """
    if "x" not in arrays:  # names that Keras uses
        arrays = {key.removesuffix("_train"): array for key, array in arrays.items()}
    for part in ("", "_test", "_validation"):
        if (f"x{part}" in arrays) != (f"y{part}" in arrays):
            raise InputError(
                f"{where}: x{part} and y{part} must come together; the file holds "
                f"{', '.join(sorted(arrays))}"
            )
    if "x" not in arrays:
        raise InputError(
            f"{where}: needs arrays x and y{near('x', sorted(arrays), 'the file holds')}"
        )
    order = None if reading.order is None else reading.column("order", arrays, where)
    parts = [part for part in ("y", "y_test", "y_validation") if part in arrays]
    classes = tuple(map(str, arrays["classes"])) if "classes" in arrays else None
    notes = ()
    several = any(arrays[part].ndim == 2 for part in parts) or reading.task == MULTI_LABEL
    if classes is None and not several:
        arrays, classes, notes = _labeled(arrays, parts, reading.task, where)
    kind, task = reading.inputs, reading.task if several else None
    train = checks.dataset(
        arrays["x"],
        arrays["y"],
        classes=classes,
        task=task,
        where=where,
        kind=kind,
        pad=reading.pad,
    )
    given = {
        part: checks.dataset(
            arrays[f"x_{part}"],
            arrays[f"y_{part}"],
            classes=train.schema.target_names if several else train.classes,
            task=train.task if several else None,
            where=f"{where} ({part})",
            kind=kind,
            pad=reading.pad,
        )
        for part in ("test", "validation")
        if f"x_{part}" in arrays
    }
    return complete(
        _grouped({"train": train, **given}, arrays, reading, where),
        reading,
        name=name,
        where=where,
        notes=notes,
        order=order,
    )


def _grouped(
    parts: dict[str, Dataset], arrays: dict[str, np.ndarray], reading: Reading, where: str
) -> dict[str, Dataset]:
    """The parts with their groups. Those of a test or validation set of its own are in the array of
    the same name that ends in "_test" or "_validation"; without it, they are not known.
    """
    reading.refuse_none(arrays, where)
    if reading.groups is None:
        return parts
    named = {
        part: arrays[name]
        for part in parts
        if part != "train" and (name := f"{reading.groups}_{part}") in arrays
    }
    named["train"] = reading.column("groups", arrays, where)
    for part, values in named.items():
        ranks(values, len(parts[part]), "groups")  # refuses what cannot be used
    _, together = np.unique(np.concatenate(list(named.values())), return_inverse=True)
    codes = np.split(together, np.cumsum([len(values) for values in named.values()])[:-1])
    return parts | {
        part: replace(parts[part], groups=own) for part, own in zip(named, codes, strict=True)
    }


def _labeled(
    arrays: dict[str, np.ndarray], parts: list[str], wanted: str | None, where: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None, tuple[str, ...]]:
    """The arrays with labels as class numbers or values, the names of the classes if they are text,
    and a note on the task.
    """
    if any(
        arrays[part].ndim != 1 or arrays[part].dtype.kind not in "biufU" or not len(arrays[part])
        for part in parts
    ):
        return arrays, None, ()  # `checks.dataset` refuses them
    labels = [arrays[part] for part in parts]
    chosen, why = checks.task(labels, wanted, where)
    classes = None
    if chosen == "regression":
        labels = [y.astype(np.float64) for y in labels]
    elif (
        labels[0].dtype.kind != "U"
        and checks.is_contiguous(own := np.unique(labels[0]))
        and own[0] == 0
    ):
        labels = [y.astype(np.int64) for y in labels]
    else:
        # Numbered over all parts together, so that a class has the same number in each.
        names = np.unique(np.concatenate(labels))
        classes = (
            tuple(map(str, names)) if names.dtype.kind == "U" else checks.numbers_as_names(names)
        )
        labels = [np.searchsorted(names, y) for y in labels]
    return (
        arrays | dict(zip(parts, labels, strict=True)),
        classes,
        (f"task: {chosen}, since {why}",),
    )

"""What several processes must agree on before they train together: options, versions and data.

Each describes as plain values what it is about to do. The first compares, and where they differ all
raise the same InputError.
"""

import itertools
import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jaxnet.engine.fingerprint import flat
from jaxnet.errors import InputError
from jaxnet.runtime.files import plain
from jaxnet.runtime.processes import concluded, index_and_count, several

PACKAGES = ("jaxnet", "jax", "jaxlib", "flax", "optax", "numpy")
# Settings of JAX, which a script or the environment may change, and which change the numbers.
SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_numpy_dtype_promotion",
)
KINDS = ("experiment", "call")  # where processes differ in these, the rest is not to be compared
NAMED = 10  # fields that a message names; of more it says how many
LONG = 100  # characters of a value that are shown


def check_agreement(describe: Callable[[], dict[str, Any]]) -> None:
    """Raises InputError on every process unless all describe the same; where there is one process,
    nothing is described.

    describe: plain values by name, or arrays, named tuples and dataclasses of them. Versions and
    settings are added. A process that raises InputError meanwhile is named to the others.
    """
    if not several():
        return
    wrong = None
    try:
        about = {**describe(), "processes": index_and_count()[1], **settings()}
        about |= {f"version of {name}": version for name, version in versions().items()}
        given = {name: _text(value) for name, value in flat(plain(about)).items()}
    except InputError as error:
        wrong, given = error, {"refused": str(error)}
    error = concluded(
        json.dumps(given), lambda all_: disagreement([json.loads(each) for each in all_])
    )
    if wrong is not None:
        raise wrong
    if error:
        raise InputError(f"{error}")  # which ends with what to do


def versions() -> dict[str, str]:
    """What of Python and its packages decides results, by name."""
    import importlib.metadata
    import platform

    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def settings() -> dict[str, Any]:
    """The SETTINGS of JAX."""
    return {name: getattr(jax.config, name, None) for name in SETTINGS}


def outline(tree: PyTree) -> str:
    """Shapes and types of the arrays in a tree, or of arrays to come, in one value."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    words = "; ".join(
        f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}" for path, leaf in leaves
    )
    numbers = sum(leaf.size for _, leaf in leaves)
    return (
        f"{numbers:,} numbers in {len(leaves)} arrays (checksum of their shapes "
        f"{zlib.crc32(words.encode()):08x})"
    )


def disagreement(given: Sequence[dict[str, str]]) -> str:
    """In what the processes differ, in words; empty where they agree. given: of each process,
    values by name.
    """
    if refused := [
        f"process {number}: {each['refused']}"
        for number, each in enumerate(given)
        if "refused" in each
    ]:
        return "; ".join(refused)
    kinds = [name for name in KINDS if len({each.get(name) for each in given}) > 1]
    names = kinds or dict.fromkeys(name for each in given for name in each)
    found = [_difference(name, [each.get(name, "not given") for each in given]) for name in names]
    found = [each for each in found if each]
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    cure = "Give every process the same options, data and versions"
    return f"the processes do not agree: {'; '.join(found[:NAMED])}{more}. {cure}" if found else ""


def _difference(name: str, values: Sequence[str]) -> str:
    """Who has which value, in words; empty where all have the same."""
    who = {
        value: [number for number, each in enumerate(values) if each == value]
        for value in dict.fromkeys(values)
    }
    said = [
        f"{value} on process{'es' * (len(numbers) > 1)} {_numbers(numbers)}"
        for value, numbers in who.items()
    ]
    return f"{name} is {' and '.join(said)}" if len(who) > 1 else ""


def _numbers(numbers: Sequence[int]) -> str:
    """Numbers of processes, in ascending order, those that follow each other as a range."""
    borders = [0, *(np.flatnonzero(np.diff(numbers) > 1) + 1).tolist(), len(numbers)]
    runs = [numbers[begin:end] for begin, end in itertools.pairwise(borders)]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def _text(value: Any) -> str:
    """A value as a message shows it; of a long one the begin, with a checksum of all."""
    words = "not given" if value is None else value if isinstance(value, str) else json.dumps(value)
    return (
        words
        if len(words) <= LONG
        else f"{words[:LONG]}... (checksum {zlib.crc32(words.encode()):08x})"
    )

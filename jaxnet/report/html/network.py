"""Trained networks as plain data, from which makeNetwork in network.js makes a function of an
image.
"""

import base64
import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnet.core.run import Run
from jaxnet.display import visible
from jaxnet.errors import InputError
from jaxnet.interop import program as programs
from jaxnet.interop.program import Layer, Operand, Program
from jaxnet.models.model import Model

MANY = 4096  # numbers beyond which an array is stored in 16 bits
LEVELS = 32767  # the largest 16-bit level


class Network(NamedTuple):
    """The input of makeNetwork.

    Attributes:
        data: plain values.
        members: number of the runs that it holds.
    """

    data: dict[str, Any]
    members: int


def network(
    model: Model, runs: Sequence[Run], *, most_bytes: int = 2_000_000, exact: bool = False
) -> Network:
    """The networks of runs of one architecture: as many as fit, from the first on.

    Args:
        model: the architecture.
        runs: the trained networks.
        most_bytes: bytes of text that their numbers may take.
        exact: whether all numbers are kept as float32; else large arrays take 16 bits a number.

    Returns:
        The Network.

    Raises:
        InputError: where not even one fits, where the runs differ in architecture, and for
            what a page cannot compute.
    """
    run, many = runs[0], math.inf if exact else MANY
    leaves, structures = zip(
        *(jax.tree.flatten(programs.network_arrays(run)) for run in runs), strict=True
    )
    shapes = [[np.shape(leaf) for leaf in each] for each in leaves]
    if any(other != (structures[0], shapes[0]) for other in zip(structures, shapes, strict=True)):
        raise InputError("the runs differ in structure; give those of one")
    try:
        program, output = programs.trace(model, run)
    except NotImplementedError as reason:
        raise InputError(f"a page cannot compute {run.model}: it does not have {reason}") from None
    layers = _layers(program, output)

    fixed = [
        (number, programs.constant(value)) for value, number in program.arrays if value.leaf is None
    ]
    own = [(number, value.leaf) for value, number in program.arrays if value.leaf is not None]
    same = [
        (number, leaf)
        for number, leaf in own
        if all(np.array_equal(each[leaf], leaves[0][leaf]) for each in leaves)
    ]
    shared = [*fixed, *((number, leaves[0][leaf]) for number, leaf in same)]
    constants, members = _texts(shared, many), list[Any]()
    size = len(json.dumps(constants))
    for each in leaves:
        texts = _texts(
            [(number, each[leaf]) for number, leaf in own if (number, leaf) not in same], many
        )
        size += len(json.dumps(texts))
        if size > most_bytes:
            break
        members.append(texts)
    if not members:
        raise InputError(
            f"the parameters of {run.model} take {size:,} bytes of text, of {most_bytes:,} at "
            "most in a page"
        )
    data = {
        "shape": list(run.shape),
        "classes": list(map(visible, run.classes or ())),
        "constants": constants,
        "members": members,
        "steps": program.steps,
        "output": output.number,
        "layers": layers,
    }
    return Network(data, len(members))


def _layers(program: Program, output: Operand) -> list[dict[str, Any]]:
    """A description of each product with parameters, in order, for drawing it; the last one is the
    output.
    """
    layers = program.layers
    if layers and layers[-1].units == output.size:
        layers[-1].shown = output  # also for a convolution whose image is averaged
    else:
        layers = [*layers, Layer("output", output.size, None, None, output)]
    described = []
    for layer in layers:
        shown, drawn = layer.shown, programs.image_layout(layer.shown)
        if drawn is not None:
            shown = program.take([shown], lambda table, drawn=drawn: table.ravel()[drawn.order])
        weights, inputs, rows = layer.weights, layer.inputs, shown.size // layer.units
        described.append(
            {
                "name": f"{'output' if layer is layers[-1] else layer.kind} {layer.units}",
                "kind": layer.kind,
                "value": shown.number,
                "shape": list(drawn.shape) if drawn else [rows, layer.units][rows == 1 :],
                "weights": None if weights is None else weights.number,
                "inputs": []
                if weights is None
                else list(inputs.shape if inputs else weights.shape[:-1]),
                "order": None if inputs is None else programs.encode_places(inputs.order),
            }
        )
    return described


def _texts(
    arrays: Sequence[tuple[int, Any]], many: float | int
) -> list[tuple[int, dict[str, str]]]:
    return [(number, encoded(np.asarray(array, np.float32), many)) for number, array in arrays]


def encoded(array: np.ndarray, many: float | int = MANY) -> dict[str, str]:
    """Encode numbers for the page as float32, or large arrays as int16 with a scale for each place
    of the last axis; little-endian, in base64.

    Args:
        array: the numbers, of any shape.
        many: how many numbers make an array large.

    Returns:
        {"float32": numbers}, or {"int16": levels, "scales": scales}, of which the products are the
        numbers.
    """
    if array.size <= many or array.ndim < 2 or not np.isfinite(array).all():
        return {"float32": _base64(array, "<f4")}
    scales = np.abs(array).max(tuple(range(array.ndim - 1))).astype(np.float32) / LEVELS
    levels = np.round(
        array / np.where(scales > 0, scales, 1).reshape((1,) * (array.ndim - 1) + scales.shape)
    )
    return {"int16": _base64(levels, "<i2"), "scales": _base64(scales, "<f4")}


def _base64(array: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.asarray(array, dtype).tobytes()).decode()

"""Compute with NumPy alone what an exported network predicts.

`jaxnet.export` copies this file into the folder of a network, beside forward.json, which lists the
steps from an example to the outputs, and params.safetensors, which holds the parameters. In that
folder:

    import runpy

    forward = runpy.run_path("forward.py")["forward"]
    outputs = forward(x)

Five operations on flat arrays are enough: map, take, reduce, dot and convolve.
"""

import functools
import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

EXAMPLES_AT_ONCE = 64  # examples that are computed together


def forward(x: ArrayLike, folder: str | Path = Path(__file__).parent) -> np.ndarray:
    """Predict examples; everything is computed in float64.

    Args:
        x: (examples, ...) as they were in the training data.
        folder: the folder of the network.

    Returns:
        (examples, ...) float32, or float64 for values with an offset that float32 would lose.

    Raises:
        ValueError: for examples of another shape, and for tokens that the network does not know.
    """
    shape, steps, values, output, output_shape, origins, ids = load(Path(folder))
    x = np.asarray(x)
    if x.shape[1:] != shape or x.ndim == 0:
        raise ValueError(
            f"x has shape {x.shape}; give examples of shape {shape}, so "
            f"({', '.join(('examples', *map(str, shape)))})"
        )
    if "origin" in origins:
        offset, unit = origins["origin"]
        x = (x.astype(np.float64) - offset) / unit
    if ids is not None and not ((x >= 0) & (x < ids) & (x == np.floor(x))).all():
        raise ValueError(f"x has other tokens than whole numbers from 0 to {ids - 1}")
    x = x.astype(np.float32 if ids is None else np.float64)
    found = [np.zeros((0, *output_shape), np.float32)]
    with np.errstate(all="ignore"):
        for begin in range(0, len(x), EXAMPLES_AT_ONCE):
            block = x[begin : begin + EXAMPLES_AT_ONCE].astype(np.float64)
            made = compute(steps, {**values, 0: block.reshape(len(block), -1)})
            found.append(made[output].reshape(len(block), *output_shape).astype(np.float32))
    outputs = np.concatenate(found)
    if "target_origin" in origins:
        offset, unit = origins["target_origin"]
        outputs = outputs.astype(np.float64) * unit + offset
    return outputs


@functools.cache
def load(folder):
    """Read a network, and compute whatever does not depend on the example.

    Args:
        folder: the folder of the network.

    Returns:
        (shape of an example, steps, arrays by number, number of the output, its shape, offsets and
        units of inputs and outputs, how many tokens it knows or None where inputs are numbers).
    """
    program = json.loads((folder / "forward.json").read_text(encoding="utf-8"))
    parameters = read_safetensors(folder / "params.safetensors")
    values = {number: np.array(numbers, np.float64) for number, numbers in program["constants"]}
    values |= {
        number: parameters[name].astype(np.float64).ravel()
        for number, name in program["parameters"]
    }
    live = {0}
    for step in program["steps"]:
        live |= {step["to"]} if live & set(step["of"]) else set()
    with np.errstate(all="ignore"):
        values = compute([step for step in program["steps"] if step["to"] not in live], values)
    steps = [step for step in program["steps"] if step["to"] in live]
    names = [name for name in ("origin", "target_origin") if f"{name}/offset" in parameters]
    origins = {name: (parameters[f"{name}/offset"], parameters[f"{name}/unit"]) for name in names}
    return (
        tuple(program["shape"]),
        steps,
        values,
        program["output"],
        tuple(program["output_shape"]),
        origins,
        program.get("vocabulary"),
    )


def read_safetensors(path):
    """Read the arrays of a safetensors file.

    Args:
        path: the file.

    Returns:
        The arrays by name; bfloat16 as float32.
    """
    content = Path(path).read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    kinds = {"BOOL": "?", "F16": "<f2", "F32": "<f4", "F64": "<f8"}
    kinds |= {
        f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)
    }
    arrays = {}
    for name, about in json.loads(content[8:begin]).items():
        if name != "__metadata__":
            data = content[begin + about["data_offsets"][0] : begin + about["data_offsets"][1]]
            if about["dtype"] == "BF16":
                array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
            else:
                array = np.frombuffer(data, kinds[about["dtype"]])
            arrays[name] = array.reshape(about["shape"])
    return arrays


def compute(steps, values):
    """Run steps. A value is (numbers,), or (examples, numbers) if it depends on the examples.

    Args:
        steps: the steps, in order.
        values: the values by number.

    Returns:
        The values together with the results of the steps.
    """
    values = dict(values)
    for step in steps:
        values[step["to"]] = OPERATIONS[step["op"]](
            step, *(values[number] for number in step["of"])
        )
    return values


def apply_map(step, *operands):
    """Apply a function number by number."""
    made = np.asarray(MAPS[step["name"]](*operands), np.float64)
    return np.broadcast_to(made, (*made.shape[:-1], step["size"]))


def take(step, *operands):
    """Concatenate the operands, and take the numbers at the given places."""
    lead = np.broadcast_shapes(*(operand.shape[:-1] for operand in operands))
    table = operands[0]
    if len(operands) > 1:
        table = np.concatenate(
            [np.broadcast_to(operand, (*lead, operand.shape[-1])) for operand in operands], -1
        )
    return table[..., places(step, "where")]


def reduce(step, operand):
    """Reduce groups of numbers to one number each: the same group, begun at each of the given
    places.
    """
    groups = operand[..., places(step, "begin")[:, None] + places(step, "group")]
    return np.asarray(REDUCTIONS[step["name"]](groups), np.float64)


def dot(step, x, w):
    """The matrix products (batch, m, k) x (batch, k, n)."""
    batch, m, k, n = (step[word] for word in ("batch", "m", "k", "n"))
    if batch == 1 and w.ndim == 1:
        return (x.reshape(-1, k) @ w.reshape(k, n)).reshape(*x.shape[:-1], m * n)
    made = x.reshape(*x.shape[:-1], batch, m, k) @ w.reshape(*w.shape[:-1], batch, k, n)
    return made.reshape(*made.shape[:-3], batch * m * n)


def convolve(step, x, w):
    """Convolve (height, width, inputs) with (height, width, inputs of a group, outputs)."""
    height, width, (rows, columns, each, units) = step["height"], step["width"], step["kernel"]
    (down, right), (below, beside), groups = step["strides"], step["dilation"], step["groups"]
    x, w, share = (
        x.reshape(*x.shape[:-1], -1, step["columns"], step["inputs"]),
        w.reshape(rows, columns, each, units),
        units // groups,
    )
    made = np.zeros((*x.shape[:-3], height, width, units))
    for row in range(rows):
        for column in range(columns):
            top, left = row * below, column * beside
            seen = x[
                ...,
                top : top + (height - 1) * down + 1 : down,
                left : left + (width - 1) * right + 1 : right,
                :,
            ]
            for group in range(groups):
                out = slice(group * share, (group + 1) * share)
                made[..., out] += (
                    seen[..., group * each : (group + 1) * each] @ w[row, column, :, out]
                )
    return made.reshape(*made.shape[:-3], height * width * units)


def places(step, word):
    """The places that a step names, as an offset and strides or as runs of begin, step and count;
    they are kept in the step.
    """
    if not isinstance(step[word], np.ndarray):
        step[word] = _places(**step[word])
    return step[word]


def _places(offset=0, shape=(), strides=(), runs=None):
    if runs is not None:
        groups = [
            begin + by * np.arange(count)
            for begin, by, count in zip(runs[::3], runs[1::3], runs[2::3], strict=True)
        ]
        return np.concatenate([np.zeros(0, int), *groups])
    even = offset + sum(
        index * stride for index, stride in zip(np.indices(shape), strides, strict=True)
    )
    return np.broadcast_to(even, shape).ravel()


def bfloat16(a):
    """The nearest bfloat16; between two equally near ones, the even one."""
    bits = np.asarray(a, np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(a), np.nan, rounded)


OPERATIONS = {"map": apply_map, "take": take, "reduce": reduce, "dot": dot, "convolve": convolve}
REDUCTIONS = {
    "sum": lambda groups: groups.sum(-1),
    "prod": lambda groups: groups.prod(-1),
    "max": lambda groups: groups.max(-1, initial=-np.inf),
    "min": lambda groups: groups.min(-1, initial=np.inf),
    "argmax": lambda groups: groups.argmax(-1),
    "argmin": lambda groups: groups.argmin(-1),
}
MAPS = {
    **{
        name: getattr(np, name)
        for name in (
            "abs",
            "cbrt",
            "ceil",
            "cos",
            "cosh",
            "exp",
            "exp2",
            "expm1",
            "floor",
            "log",
            "log1p",
        )
    },
    **{
        name: getattr(np, name)
        for name in ("sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc")
    },
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "rem": np.fmod,
    "pow": np.power,
    "atan2": np.arctan2,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.minimum,
    "or": np.maximum,
    "xor": np.not_equal,
    "neg": np.negative,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "bfloat16": bfloat16,
    "clamp": lambda low, a, high: np.minimum(np.maximum(a, low), high),
    "erf": np.vectorize(math.erf, [float]),
    "erfc": np.vectorize(math.erfc, [float]),
    "is_finite": np.isfinite,
    "logistic": lambda a: 1 / (1 + np.exp(-a)),
    "not": lambda a: 1 - a,
    "rsqrt": lambda a: 1 / np.sqrt(a),
    "select_n": lambda which, no, yes: np.where(which != 0, yes, no),
}

"""Write a trained network as files that load and run without jaxnet."""

import contextlib
import importlib.metadata
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PyTree

from jaxnet.core.run import Run, check_trained, not_one
from jaxnet.data.schema import Column, Schema
from jaxnet.data.tables import dates, numbers
from jaxnet.data.tables.table import Table
from jaxnet.display import ESCAPED
from jaxnet.engine import arguments
from jaxnet.engine.prediction import predict
from jaxnet.errors import InputError, check_path
from jaxnet.interop import forward, predict_table, program
from jaxnet.models.combined import named
from jaxnet.models.model import Model
from jaxnet.random import is_key, with_key_data
from jaxnet.runtime.files import check_folder, writing
from jaxnet.runtime.processes import once
from jaxnet.typing import Rebuilt

EXPORT_PLATFORMS = ("cpu", "cuda", "tpu")
READ_BY_012 = (0, 8, 2)  # the first jax whose exports jax 0.12 reads as they are
EXPIRED = (
    "JAX_EXPORT_DESERIALIZE_EXPIRED_VERSIONS"  # 1 in the environment makes JAX read an older export
)
# Types that safetensors stores and returns to NumPy.
STORED = ("bool", "bfloat16", "float16", "float32", "float64")
STORED += tuple(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))

# The files of a network that learned from a table. One named numbers.py would hide the module of
# Python that has this name.
OF_TABLES = {
    "predict_table.py": predict_table,
    "table_numbers.py": numbers,
    "table_dates.py": dates,
}

# jax2onnx asks for versions of Flax and Orbax that it does not need.
INSTALL_ONNX = "pip install onnx-ir, then pip install --no-deps jax2onnx"

logger = logging.getLogger("jaxnet")


def export(
    run: Run | Rebuilt, path: str | Path, *, model: Model | None = None, onnx: bool = False
) -> None:
    """Write a trained network as a folder that can be used without jaxnet, whole or not at all.

    The folder holds `model.stablehlo`, a program with the parameters in it, which
    `jax.export.deserialize` reads; `params.safetensors`, the parameters, model state and
    standardization by their paths; `forward.py` with `forward.json`, which compute the same with
    NumPy alone, if they have all operations of the network (the logger "jaxnet" says which is
    missing); and `README.md`, which says how to load them and what inputs and outputs are. Of a
    network that learned from a table, it also holds `columns.json`, which says how columns become
    inputs, and `predict_table.py`, which predicts the rows of a CSV file with NumPy alone.

    The program takes inputs as the data set has them, float32 (batch, *run.shape), for any batch;
    for tokens int32, with sequences filled up. It returns what `predict` does: log-probabilities
    (batch, classes), or values (batch,). Where float32 cannot hold inputs or values as they are,
    README.md says what to subtract from x first, or to add to values afterwards; the offsets are in
    `params.safetensors`. It is compiled for CPUs, CUDA GPUs and TPUs; if one of them cannot run it,
    the logger says why. JAX reads it for half a year of later releases, and afterwards with an
    option that README.md names; JAX 0.12 refuses what a JAX before 0.8.2 wrote, which the logger
    says.

    All processes call it, and the first one writes. A network that diverged is written too;
    README.md and the logger say so.

    Args:
        run: the trained network.
        path: a folder that does not exist yet, or is empty.
        model: the model that was trained, unless it is one of the built-in ones.
        onnx: whether to write `model.onnx` too, for which the package jax2onnx is needed.

    Raises:
        InputError: where run holds several networks, or the network cannot be written.

    References:
        jax.dev, "Exporting and serializing staged-out computations", docs/export.
    """
    arguments.check(run=run, **({} if model is None else {"model": model}))
    check_path("path", path)
    if np.ndim(run.epochs):
        raise not_one(run)
    if model is None:
        try:
            model = named(run.model)
        except InputError:
            raise InputError(
                f"{run.model} is none of the built-in models; give the one that was trained as "
                "model="
            ) from None
    check_trained(model, run)
    if run.diverged:
        logger.warning("%s: the exported network %s", path, run.status)
    once(lambda: _write(Path(path).absolute(), lambda: _files(run, model, onnx)))


def _files(run: Run, model: Model, onnx: bool) -> dict[str, bytes]:
    """The files of the folder, by name."""
    # The arrays may be on any devices; they go to one.
    here = jax.tree.map(lambda leaf: leaf if is_key(leaf) else jnp.asarray(np.asarray(leaf)), run)
    here = replace(here, standardization=here.standardization.on_device)

    def one(x: Num[Array, "..."]) -> Float[Array, "..."]:
        """`predict` for one example, to be vmapped: many models need the number of examples as an
        integer.
        """
        return predict(model, here, x[None])[0]

    about = {
        "model": run.model,
        "classes": json.dumps(run.classes),
        "shape": json.dumps(run.shape),
        "written_by": ", ".join(
            f"{package} {importlib.metadata.version(package)}" for package in ("jaxnet", "jax")
        ),
    }
    lowered, platforms = _stablehlo(one, run)
    files = {
        "model.stablehlo": lowered,
        "params.safetensors": to_safetensors(run, about),
        **_numpy(model, here),
    }
    if run.columns is not None:
        files["columns.json"] = _columns(run.columns, run.schema)
        if "forward.py" in files:
            files |= {name: Path(each.__file__).read_bytes() for name, each in OF_TABLES.items()}
    if jax.__version_info__ < READ_BY_012:
        logger.warning(
            "model.stablehlo is written by jax %s, and jax 0.12 refuses it: %s",
            jax.__version__,
            _advice_for_old_jax(files),
        )
    if onnx:
        files["model.onnx"] = _onnx(one, run, about)
    return files | {
        "README.md": _readme(run, about, platforms, files).encode(errors="backslashreplace")
    }


def _columns(columns: Sequence[Column], schema: Schema) -> bytes:
    """columns.json: how the columns of a table become inputs."""
    each = [
        column._asdict()
        | {"dates": column.dates and column.dates._asdict(), "inputs": column.inputs}
        for column in columns
    ]
    gaps = Table(missing=schema.missing).gaps
    about = {"columns": each, "classes": schema.classes, "gaps": gaps}
    if schema.targets is not None:
        about |= {"targets": schema.target_names, "multi_label": schema.multi_label}
    return json.dumps(about, indent=1).encode()


def _stablehlo(one: Callable[[Array], Array], run: Run) -> tuple[bytes, tuple[str, ...]]:
    """(the serialized program, the platforms that it runs on)."""
    from jax import export

    batch = export.symbolic_shape("batch")
    inputs = jax.ShapeDtypeStruct((*batch, *run.shape), run.schema.input_dtype)
    whole = jax.jit(jax.vmap(one))

    def lowered(platforms: tuple[str, ...]) -> bytes:
        return bytes(export.export(whole, platforms=platforms)(inputs).serialize())

    try:
        return lowered(EXPORT_PLATFORMS), EXPORT_PLATFORMS
    except InputError:
        raise
    except (
        Exception
    ) as error:  # an operation of the user's model may be missing on a platform, and raise anything
        serialized, able = b"", ()
        for platform in EXPORT_PLATFORMS:
            try:
                serialized, able = lowered((*able, platform)), (*able, platform)
            except Exception as reason:
                logger.warning(
                    "the exported network does not run on %s: %s: %s",
                    platform,
                    type(reason).__name__,
                    reason,
                )
        if not able:
            raise InputError(
                f"{run.model} cannot be exported ({type(error).__name__}: {error})"
            ) from error
        return serialized, able


def to_safetensors(run: Run, about: dict[str, str]) -> bytes:
    """Serialize the arrays of a trained network by their paths.

    Args:
        run: the trained network.
        about: words that the file has in its header.

    Returns:
        The bytes of a safetensors file.

    Raises:
        InputError: for a type that safetensors cannot hold, and where two arrays have one path.
    """
    from safetensors.numpy import save

    tensors = _by_path(program.network_arrays(run))
    for name, origin in (
        ("origin", run.standardization.origin),
        ("target_origin", run.standardization.target_origin),
    ):
        if origin is not None:
            tensors |= {
                f"{name}/offset": np.array(origin.offset),
                f"{name}/unit": np.array(origin.unit),
            }
    for name, tensor in tensors.items():
        if tensor.dtype.name not in STORED:
            raise InputError(
                f"{name} is {tensor.dtype}, which safetensors cannot hold; known are "
                f"{', '.join(STORED)}"
            )
    return save(tensors, about)


def _numpy(model: Model, run: Run) -> dict[str, bytes]:
    """forward.py and the steps that it reads; nothing if it lacks an operation of the network."""
    try:
        made, output = program.trace(model, run, follow_places=False)
    except NotImplementedError as reason:
        logger.warning(
            "the exported network comes without forward.py, its program for NumPy, which does not "
            "have %s",
            reason,
        )
        return {}
    paths = [
        _path(path) for path, _ in jax.tree_util.tree_leaves_with_path(program.network_arrays(run))
    ]
    fixed = [
        (number, program.constant(value)) for value, number in made.arrays if value.leaf is None
    ]
    described = {
        "shape": run.shape,
        "vocabulary": run.vocabulary if model.vocabulary is None else model.vocabulary,
        "steps": made.steps,
        "constants": [
            (number, np.asarray(array, np.float64).ravel().tolist()) for number, array in fixed
        ],
        "parameters": [
            (number, paths[value.leaf]) for value, number in made.arrays if value.leaf is not None
        ],
        "output": output.number,
        "output_shape": output.shape,
    }
    return {
        "forward.py": Path(forward.__file__).read_bytes(),
        "forward.json": json.dumps(described).encode(),
    }


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _by_path(tree: PyTree) -> dict[str, np.ndarray]:
    """The arrays of a tree by their paths, such as "params/hidden_0/kernel"; keys as their
    words.
    """
    leaves = jax.tree_util.tree_leaves_with_path(with_key_data(tree))
    # Row-major: safetensors writes memory as it is.
    tensors = {_path(path): np.asarray(leaf, order="C") for path, leaf in leaves}
    if len(tensors) < len(leaves):
        raise InputError(
            "two arrays of the network have the same path; leave out the slashes in names of "
            "parameters"
        )
    return tensors


def _onnx(one: Callable[[Array], Array], run: Run, about: dict[str, str]) -> bytes:
    from jax import export
    from jax.extend.core import jaxpr_as_fun

    with _only_errors("jax2onnx", "onnx_ir"):  # they report unused operations and unspecified types
        try:
            import onnx  # pyrefly: ignore[missing-import]
            from jax2onnx import to_onnx  # pyrefly: ignore[missing-import]
        except ImportError as error:
            raise InputError(
                f"onnx=True needs the package jax2onnx ({error}): {INSTALL_ONNX}"
            ) from None
        try:
            # Traced to JAX's own operations: what jax2onnx substitutes for Flax modules cannot be
            # vmapped, and its handling of jit breaks with each new JAX.
            with jax.disable_jit():
                alone = jaxpr_as_fun(
                    jax.make_jaxpr(one)(jax.ShapeDtypeStruct(run.shape, run.schema.input_dtype))
                )
            batch = export.symbolic_shape("batch")
            made = to_onnx(
                jax.vmap(lambda x: alone(x)[0]),
                [jax.ShapeDtypeStruct((*batch, *run.shape), run.schema.input_dtype)],
                model_name="network",
                input_names=["x"],
                output_names=["outputs"],
            )
            onnx.helper.set_model_props(made, about)
            onnx.checker.check_model(made, full_check=True)
        except Exception as error:  # an operation or a version of JAX that it does not support
            versions = " with ".join(
                f"{package} {importlib.metadata.version(package)}"
                for package in ("jax2onnx", "jax")
            )
            raise InputError(
                f"{versions} cannot convert {run.model} ({error}); export without onnx=True"
            ) from error
    return made.SerializeToString()


@contextlib.contextmanager
def _only_errors(*names: str) -> Iterator[None]:
    """Silence these loggers below the level of errors."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


def _readme(
    run: Run, about: dict[str, str], platforms: tuple[str, ...], files: Mapping[str, bytes]
) -> str:
    """README.md of the folder, for someone who has nothing else."""
    jax_here = importlib.metadata.version("jax")
    before, after = _offsets(run)
    parts = [
        f"# {run.model}",
        f"{_condition(run)} Written by {about['written_by']}.",
        f"- x: {run.schema.input_dtype} {_inputs(run)}",
        f"- outputs: float32 {_outputs(run)}",
        f"`model.stablehlo` is the whole network. It runs on {', '.join(platforms)} and needs "
        f"`pip install jax=={jax_here} flatbuffers`; JAX reads such a file for half a year of "
        "later releases, and not with earlier ones. "
        f"A JAX that says it is too old reads it with the environment variable `{EXPIRED}=1`, "
        "without a promise: check some outputs.",
        _block(
            "python",
            f"from pathlib import Path\nfrom jax import export\n{before}\n"
            f'outputs = export.deserialize(Path("model.stablehlo").read_bytes()).call(x){after}',
        ),
        "`params.safetensors` are its parameters by name"
        + (
            ". "
            if run.schema.tokens
            else ", and with what inputs are standardized: (x - mean) / scale. "
        )
        + "It needs `pip install safetensors`:",
        _block(
            "python",
            "from safetensors.numpy import load_file\n\nparameters = "
            'load_file("params.safetensors")',
        ),
    ]
    if "forward.py" in files:
        call = (
            'import runpy\n\nforward = runpy.run_path("forward.py")["forward"]\noutputs = '
            "forward(x)"
        )
        words = (
            "`forward.py` computes the whole network with NumPy alone, of any version, from "
            "`params.safetensors` and `forward.json`"
        )
        words += (
            ":"
            if not before
            else (
                "; offsets are its own work: x is as in the training data, float64, and so are "
                "outputs:"
            )
        )
        parts += [words, _block("python", call)]
    if "predict_table.py" in files:
        parts += [
            "`predict_table.py` predicts the rows of a CSV file with NumPy alone. How its columns "
            "become inputs is in `columns.json`:",
            _block("", "python predict_table.py new.csv > predictions.csv"),
        ]
    if "model.onnx" in files:
        call = (
            f"import onnxruntime\n{before}\n(outputs,) = "
            f'onnxruntime.InferenceSession("model.onnx").run(None, {{"x": x}}){after}'
        )
        parts += [
            "`model.onnx` is the whole network for ONNX runtimes, such as `pip install "
            "onnxruntime`:",
            _block("python", call),
        ]
    return "\n\n".join(parts) + "\n"


def _inputs(run: Run) -> str:
    """The shape and meaning of the inputs."""
    values = "as they were in the training data, not standardized"
    if run.vocabulary is not None:
        values = f"ids from 0; the largest in the training data was {run.vocabulary - 1}"
    if run.pad is not None:
        values += f"; shorter sequences end with the id {run.pad}"
    if run.pixel_max is not None:
        values = f"pixels from 0 to {run.pixel_max:g}, {values}"
    if (origin := run.standardization.origin) is not None:
        values = (
            "with an offset subtracted from them first, in float64, as float32 cannot hold "
            f"{origin.description('x')}; not standardized"
        )
    if run.columns is not None:
        names = [name for column in run.columns for name in column.inputs]
        values += f", in this order; `columns.json` says how they are made\n\n{_json(names)}"
    return f"({', '.join(map(str, ('batch', *run.shape)))}), {values}"


def _outputs(run: Run) -> str:
    """The shape and meaning of the outputs."""
    if run.classes is not None:
        return (
            f"(batch, {len(run.classes)}): log-probabilities of these "
            f"classes\n\n{_json(run.classes)}"
        )
    if run.targets is not None:
        names, shape = run.schema.target_names, f"(batch, {run.outputs})"
        if run.schema.multi_label:
            return f"{shape}: log-probabilities of yes for these labels\n\n{_json(names)}"
        return f"{shape}: these values, in the units of the training data\n\n{_json(names)}"
    if (origin := run.standardization.target_origin) is not None:
        held = origin.description("y")
        return (
            "(batch,): values to which an offset is added afterwards, in float64, as float32 "
            f"cannot hold {held}"
        )
    return "(batch,): values, in the units of the training data"


def _offsets(run: Run) -> tuple[str, str]:
    """(Python lines before a call, Python lines after it): the first subtract the offset of the
    inputs, the others add that of the values.
    """
    before, after = "", ""
    if run.standardization.origin is not None or run.standardization.target_origin is not None:
        before = (
            "import numpy as np\nfrom safetensors.numpy import load_file\n\noffsets = "
            'load_file("params.safetensors")\n'
        )
    if run.standardization.origin is not None:
        before += (
            'x = ((np.asarray(x, "float64") - offsets["origin/offset"]) / '
            'offsets["origin/unit"]).astype("float32")\n'
        )
    if run.standardization.target_origin is not None:
        after = (
            '\noutputs = np.asarray(outputs, "float64") * offsets["target_origin/unit"] + '
            'offsets["target_origin/offset"]'
        )
    return before, after


def _advice_for_old_jax(files: Mapping[str, bytes]) -> str:
    """Advice on reading a program that an old JAX wrote."""
    other = "use forward.py, or " if "forward.py" in files else ""
    return (
        f"{other}set {EXPIRED}=1 in the environment where it is read, or export again with a "
        "newer jax"
    )


def _condition(run: Run) -> str:
    """Whether the network is trained or diverged."""
    if not run.diverged:
        return "A trained network."
    finite = all(
        np.isfinite(leaf).all()
        for leaf in jax.tree.leaves(run.chosen)
        if np.issubdtype(leaf.dtype, np.inexact)
    )
    left = (
        "Its parameters are those of its best epoch."
        if finite
        else "Its parameters are not all finite, so do not use its outputs."
    )
    return f"**This network {run.status}.** {left}"


def _json(value: Any) -> str:
    return _block(
        "json",
        ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False)),
    )


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _write(path: Path, files: Callable[[], dict[str, bytes]]) -> None:
    """Write a folder with these files. It is written beside its place and then moved, so a kill
    leaves no half of it.
    """
    with writing(path):
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise InputError(
                f"{path} exists already and is no empty folder; give another path, or remove it "
                "first"
            )
    check_folder(path)
    contents = files()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.") as scratch:
            made = Path(scratch) / path.name
            made.mkdir()
            for name, content in contents.items():
                with open(made / name, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            if path.is_dir():
                path.rmdir()
            made.rename(path)

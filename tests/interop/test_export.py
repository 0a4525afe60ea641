"""Exported networks: the same predictions in a process without jaxnet, parameters to the bit, whole
folders or none.
"""

import csv
import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import unflatten_dict
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from safetensors import safe_open
from safetensors.numpy import load_file

import jaxnet
from jaxnet.interop import forward
from jaxnet.interop.export import STORED, to_safetensors
from jaxnet.interop.program import FUNCTIONS
from jaxnet.models.model import with_outputs
from jaxnet.typing import double
from tests.token_networks import IDS, linen, of_nnx, sequences

pytestmark = pytest.mark.core

KEY, BATCHES = jax.random.key(0), (1, 7, 1000)
RECIPE = jaxnet.Recipe(
    optimizer="adam", epochs=3, batch_size=64, learning_rate=3e-3, schedule="constant"
)


class Net(nn.Module):
    """Of one's own, with batch statistics, and asking how many examples there are."""

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.Conv(8, (3, 3), feature_group_count=1)(x[..., None])
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(16)(x.reshape(len(x), -1)))
        return nn.Dense(10)(nn.Dropout(0.2, deterministic=not train)(nn.relu(x)))


OWN = jaxnet.Model.from_linen(Net())
MODELS = {
    "linear": jaxnet.linear(),
    "mlp": jaxnet.mlp((32, 16)),
    "mlp layer gelu": jaxnet.mlp((16,), activation="gelu", normalization="layer"),
    "mlp batch tanh": jaxnet.mlp((16,), activation="tanh", normalization="batch"),
    "cnn": jaxnet.cnn((4,), (8,)),
    "cnn batch silu": jaxnet.cnn((4, 6), (8,), kernel=2, activation="silu", normalization="batch"),
    "cnn layer": jaxnet.cnn((4,), (8,), kernel=5, normalization="layer"),
    "cnn valid stride": jaxnet.cnn((4,), (8,), stride=2, padding="VALID"),
    "own": OWN,
    "bfloat16": jaxnet.mlp((16,)),
    "regression": jaxnet.mlp((16,)),
}

FORWARD = ("forward.py", "forward.json")

# What the README of the folder says, done where there is no jaxnet, for each folder named on the
# command line.
STRANGER = """
import json, os, re, sys

sys.modules["jaxnet"] = None
import numpy as np

for folder in sys.argv[1:]:
    os.chdir(folder)
    blocks = re.findall(
        r"```python\\n(.*?)```", open("README.md", encoding="utf-8").read(), re.DOTALL
    )
    for file in sorted(name for name in os.listdir("..") if name.startswith("x")):
        names = {"x": np.load("../" + file)}
        for block in blocks:
            if "onnx" not in block and "forward" not in block:
                exec(block, names)
        np.save("../outputs-" + file, names["outputs"])
try:
    import jaxnet
except ImportError:
    print("done without jaxnet")
"""


def a_line(examples):
    """A table, and values that are far from standardized."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(examples, 3)) * [1, 100, 1e-3] + [5, 0, 0]).astype(np.float32)
    return x, (x[:, 0] * 50 + x[:, 1] + rng.normal(size=examples) + 1000).astype(np.float32)


@pytest.fixture(scope="module")
def runs(digits):
    line = jaxnet.split(*a_line(1500), seed=0)
    recipes = {"bfloat16": replace(RECIPE, precision="bfloat16")}
    return {
        name: jaxnet.fit(
            model, line if "regression" in name else digits, recipes.get(name, RECIPE), KEY
        )
        for name, model in MODELS.items()
    }


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    """The folder with the export of each run, in NAME/export."""
    folder = tmp_path_factory.mktemp("exported")
    for name, run in runs.items():
        jaxnet.export(run, folder / name / "export", model=OWN if name == "own" else None)
    return folder


def some_inputs(run, digits, examples):
    return (
        a_line(examples)[0]
        if run.classes is None
        else np.concatenate([digits.test.x, digits.train.x])[:examples]
    )


def stranger(*folders):
    """Runs STRANGER, isolated from this checkout."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-I", "-c", STRANGER, *map(str, folders)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folders[0].parent,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.stdout.strip() == "done without jaxnet", done.stderr


def test_the_same_predictions_in_a_process_without_jaxnet(runs, digits, exported):
    for name, run in runs.items():
        folder = exported / name / "export"
        assert {file.name for file in folder.iterdir()} == {
            "README.md",
            "model.stablehlo",
            "params.safetensors",
            *FORWARD,
        }
        for examples in BATCHES:
            np.save(
                folder.parent / f"x{examples}.npy",
                some_inputs(run, digits, examples).astype(np.float32),
            )
    stranger(*(exported / name / "export" for name in runs))
    for name, run in runs.items():
        for examples in BATCHES:
            theirs = np.load(exported / name / f"outputs-x{examples}.npy")
            ours = jaxnet.predict(MODELS[name], run, some_inputs(run, digits, examples))
            assert theirs.shape == ours.shape
            assert theirs.dtype == np.float32
            if run.classes is None:
                assert np.abs(theirs / ours - 1).max() < 1e-6
            elif (
                name == "bfloat16"
                # rounds in each program at other places: no farther apart than both may be from
                # float32
            ):
                exact = jaxnet.predict(
                    MODELS[name], replace(run, recipe=RECIPE), some_inputs(run, digits, examples)
                )
                assert (
                    np.abs(np.exp(theirs) - np.exp(ours)).max()
                    <= 2 * np.abs(np.exp(exact) - np.exp(ours)).max()
                )
            else:
                assert np.abs(np.exp(theirs) - np.exp(ours)).max() < 1e-6
                # some units in the last place of a logarithm below -8
                assert np.abs(theirs - ours).max() < 5e-6


# What the README says of forward.py, in a process that has nothing but NumPy.
NUMPY_ALONE = """
import os, re, sys

for package in ("jax", "jaxlib", "jaxnet", "flax", "safetensors", "ml_dtypes", "scipy"):
    sys.modules[package] = None
import numpy as np

for folder in sys.argv[1:]:
    os.chdir(folder)
    (block,) = (
        b
        for b in re.findall(
            r"```python\\n(.*?)```", open("README.md", encoding="utf-8").read(), re.DOTALL
        )
        if "forward" in b
    )
    names = {"x": np.load("../given.npy")}
    exec(block, names)
    np.save("../outputs.npy", names["outputs"])
    assert names["forward"](names["x"][:0]).shape == (0, *names["outputs"].shape[1:])
    try:
        names["forward"](names["x"][0])
    except ValueError as error:
        assert "give examples of shape" in str(error)
print(
    "done with",
    sorted(
        {name.split(".")[0] for name in sys.modules}
        & {"numpy", "jax", "jaxnet", "safetensors", "scipy"}
        - {name for name in sys.modules if sys.modules[name] is None}
    ),
)
"""


def log_probabilities(model, run, x):
    """What a network predicts when it computes in float64, as forward.py does."""
    with double(True):
        params, state, mean, scale = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64),
            (*run.chosen, run.standardization.mean, run.standardization.scale),
        )
        standardized = (jnp.asarray(x, jnp.float64) - mean) / scale
        outputs, _ = with_outputs(model, run.outputs).apply(params, state, standardized)
        return np.asarray(jax.nn.log_softmax(outputs))


def test_numpy_alone_gives_the_same_predictions(runs, digits, exported):
    inputs = {name: some_inputs(run, digits, 300) for name, run in runs.items()}
    for name, x in inputs.items():
        np.save(exported / name / "given.npy", x)
    command = [
        sys.executable,
        "-I",
        "-c",
        NUMPY_ALONE,
        *(str(exported / name / "export") for name in runs),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.strip() == "done with ['numpy']", done.stderr
    for name, run in runs.items():
        theirs = np.load(exported / name / "outputs.npy")
        ours = jaxnet.predict(MODELS[name], run, inputs[name])
        assert theirs.shape == ours.shape
        assert theirs.dtype == np.float32
        if run.classes is None:
            assert np.abs(theirs / ours - 1).max() < 1e-6
        elif name == "bfloat16":
            exact = jaxnet.predict(MODELS[name], replace(run, recipe=RECIPE), inputs[name])
            assert (
                np.abs(np.exp(theirs) - np.exp(ours)).max()
                <= 2 * np.abs(np.exp(exact) - np.exp(ours)).max()
            )
        else:
            exact = log_probabilities(MODELS[name], run, inputs[name])
            assert np.abs(np.exp(theirs.astype(np.float64)) - np.exp(exact)).max() < 1e-7


@pytest.mark.parametrize(
    "name", ["linen", "attention", "of rows", "averaged", "nnx", "moved", "counted", "checkpoint"]
)
def test_numpy_knows_the_operations_of_networks_of_all_kinds(name, digits, tmp_path):
    from networks import made

    model, run = made(name)
    jaxnet.export(run, tmp_path / "run", model=model)
    theirs, ours = (
        forward.forward(digits.test.x[:100], tmp_path / "run"),
        jaxnet.predict(model, run, digits.test.x[:100]),
    )
    assert np.abs(np.exp(theirs) - np.exp(ours)).max() < 5e-6


def test_numpy_knows_every_function():
    numbers, others = (
        np.array([-2.5, -1.0, -0.0, 0.3, 1.0, 2.0, 40.0]),
        np.array([0.5, -1.0, 2.0, 0.3, -3.0, 2.0, 1.5]),
    )
    for name in FUNCTIONS | {"trunc", "bfloat16"}:
        mine = forward.MAPS[name]
        if name in ("and", "or", "xor", "not"):
            bits = [np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])][
                : 1 if name == "not" else 2
            ]
            given, wanted = mine(*bits), getattr(np, f"logical_{name}")(*bits)
        elif name in ("clamp", "select_n"):
            three = {
                "clamp": (np.float64(-1), numbers, np.float64(1)),
                "select_n": (others > 0, numbers, others),
            }[name]
            given, wanted = (
                mine(*(np.asarray(each, float) for each in three)),
                getattr(jax.lax, name)(*map(np.asarray, three)),
            )
        else:
            function = {"trunc": np.trunc, "bfloat16": lambda a: np.asarray(a, jnp.bfloat16)}.get(
                name
            ) or getattr(jax.lax, name)
            try:
                operands = [numbers]
                wanted = function(*(np.float32(each) for each in operands))
            except TypeError:
                operands = [numbers, others]
                wanted = function(*(np.float32(each) for each in operands))
            with np.errstate(all="ignore"):
                given = mine(*operands)
        np.testing.assert_allclose(
            np.asarray(given, np.float32),
            np.asarray(wanted, np.float32),
            rtol=2e-6,
            atol=1e-7,
            err_msg=name,
        )


def test_numpy_reads_every_dtype_that_is_stored(runs, tmp_path):
    params = {dtype: np.arange(6).reshape(2, 3).astype(dtype) for dtype in STORED}
    (tmp_path / "params.safetensors").write_bytes(
        to_safetensors(replace(runs["linear"], params=params), {"model": "x"})
    )
    given = forward.read_safetensors(tmp_path / "params.safetensors")
    for dtype, wanted in params.items():
        assert np.array_equal(given[f"params/{dtype}"], wanted.astype(np.float32))
        assert given[f"params/{dtype}"].dtype == (np.float32 if dtype == "bfloat16" else dtype)


def test_two_exports_do_not_mix(runs, digits, exported):
    for name in ("linear", "mlp", "linear"):
        theirs = runpy.run_path(str(exported / name / "export/forward.py"))["forward"](
            digits.test.x
        )
        assert (
            np.abs(
                np.exp(theirs) - np.exp(jaxnet.predict(MODELS[name], runs[name], digits.test.x))
            ).max()
            < 1e-6
        )


@pytest.mark.parametrize(
    ("version", "warned"),
    [((0, 7, 2), True), ((0, 8, 1), True), ((0, 8, 2), False), ((0, 10, 2), False)],
)
def test_a_program_that_a_current_jax_refuses_is_named(
    runs, tmp_path, caplog, monkeypatch, version, warned
):
    # jax 0.12.0 refuses what 0.7.2 and 0.8.1 write, and reads what 0.8.2 and 0.10.2 write.
    monkeypatch.setattr(jax, "__version_info__", version)
    jaxnet.export(runs["linear"], tmp_path / "run")
    said = [record.getMessage() for record in caplog.records if "refuses" in record.getMessage()]
    assert len(said) == warned
    assert all(
        "JAX_EXPORT_DESERIALIZE_EXPIRED_VERSIONS=1" in line and "forward.py" in line
        for line in said
    )
    assert "JAX_EXPORT_DESERIALIZE_EXPIRED_VERSIONS=1" in (tmp_path / "run/README.md").read_text()


def test_the_program_is_for_all_platforms_and_any_batch(runs, tmp_path):
    jaxnet.export(runs["cnn"], tmp_path / "cnn")
    exported = jax.export.deserialize((tmp_path / "cnn/model.stablehlo").read_bytes())
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert str(exported.in_avals) == "(ShapedArray(float32[batch,8,8]),)"
    assert str(exported.out_avals) == "(ShapedArray(float32[batch,10]),)"


def test_parameters_are_those_that_predict_to_the_bit(runs, digits, tmp_path):
    run = replace(runs["own"], recipe=replace(RECIPE, patience=2))  # so that the best predict
    run = replace(
        run, best=run.best._replace(params=jax.tree.map(lambda leaf: 1.1 * leaf, run.params))
    )
    jaxnet.export(run, tmp_path / "own", model=OWN)
    given = unflatten_dict(load_file(tmp_path / "own/params.safetensors"), sep="/")
    assert set(given) == {"params", "model_state", "standardization"}
    for tree, name in ((run.best.params, "params"), (run.best.model_state, "model_state")):
        assert jax.tree.structure(tree) == jax.tree.structure(given[name])
        jax.tree.map(np.testing.assert_array_equal, tree, given[name])
    # Flax alone, with what is in the file, is the network.
    x = (digits.test.x.astype(np.float32) - given["standardization"]["mean"]) / given[
        "standardization"
    ]["scale"]
    outputs = Net().apply({"params": given["params"], **given["model_state"]}, x, train=False)
    assert (
        np.abs(jax.nn.softmax(outputs) - np.exp(jaxnet.predict(OWN, run, digits.test.x))).max()
        < 1e-6
    )
    with safe_open(tmp_path / "own/params.safetensors", "numpy") as file:
        about = file.metadata()
    assert about["model"] == "Net()"
    assert (json.loads(about["classes"]), json.loads(about["shape"])) == (
        [str(i) for i in range(10)],
        [8, 8],
    )


def stored(run, folder):
    (folder / "params.safetensors").write_bytes(to_safetensors(run, {}))
    return load_file(folder / "params.safetensors")


@pytest.mark.parametrize("dtype", STORED)
def test_every_dtype_and_layout_is_kept(runs, tmp_path, dtype):
    bits = np.random.default_rng(0).integers(
        0, 2 if dtype == "bool" else 256, 640 * np.dtype(dtype).itemsize, np.uint8
    )
    values = bits.view(dtype).reshape(64, 10)  # NaN and infinity among them
    params = {
        "rows": values,
        "columns": np.asfortranarray(values),
        "every second": values[::2, ::3],
        "one": values[0, 0],
        "none": values[:0],
    }
    tensors = stored(replace(runs["linear"], params=params), tmp_path)
    for name, wanted in params.items():
        given = tensors[f"params/{name}"]
        assert (given.dtype, given.shape) == (wanted.dtype, wanted.shape)
        assert given.tobytes() == wanted.tobytes()


def test_keys_are_kept_as_their_words(runs, tmp_path):
    tensors = stored(replace(runs["linear"], model_state={"rng": [KEY]}), tmp_path)
    assert np.array_equal(tensors["model_state/rng/0"], jax.random.key_data(KEY))


def test_what_safetensors_cannot_hold_is_refused(runs):
    odd = replace(runs["linear"], params={"a": [jnp.zeros(2, jnp.int4)]})
    with pytest.raises(
        jaxnet.InputError,
        match="params/a/0 is int4, which safetensors cannot hold; known are bool, bfloat16",
    ):
        to_safetensors(odd, {})
    same = replace(runs["linear"], params={"a/b": jnp.zeros(2), "a": {"b": jnp.zeros(2)}})
    with pytest.raises(
        jaxnet.InputError,
        match="two arrays of the network have the same path; leave out the slashes",
    ):
        to_safetensors(same, {})


def test_a_member_of_a_population_is_a_run(digits, tmp_path):
    recipe = jaxnet.Recipe(epochs=1, batch_size=64)
    many = jaxnet.fit_population(jaxnet.linear(), digits, recipe, jax.random.split(KEY, 3))
    jaxnet.export(many[2], tmp_path / "third")
    exported = jax.export.deserialize((tmp_path / "third/model.stablehlo").read_bytes())
    wanted = np.exp(jaxnet.predict(jaxnet.linear(), many[2], digits.test.x))
    assert np.abs(np.exp(exported.call(digits.test.x.astype(np.float32))) - wanted).max() < 1e-6
    with pytest.raises(
        jaxnet.InputError, match=r"run holds 3 networks; give one of them: population\[i\]"
    ):
        jaxnet.export(many.run, tmp_path / "all")
    assert [path.name for path in tmp_path.iterdir()] == ["third"]


def test_another_model_or_none_that_is_known_is_refused(runs, tmp_path):
    with pytest.raises(
        jaxnet.InputError,
        match=r"Net\(\) is none of the built-in models; give the one that was trained as model=",
    ):
        jaxnet.export(runs["own"], tmp_path / "own")
    with pytest.raises(
        jaxnet.InputError,
        match=(
            r"model is mlp\(hidden=\(5,\), activation=relu\), but the run is of "
            r"mlp\(hidden=\(32, 16"
        ),
    ):
        jaxnet.export(runs["mlp"], tmp_path / "mlp", model=jaxnet.mlp((5,)))
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_overwritten(runs, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    (tmp_path / "file").touch()
    for name in ("full", "file"):
        with pytest.raises(
            jaxnet.InputError,
            match=f"{name} exists already and is no empty folder; give another path",
        ):
            jaxnet.export(runs["linear"], tmp_path / name)
    with pytest.raises(jaxnet.InputError, match=r"file/below cannot be written .*; give a folder"):
        jaxnet.export(runs["linear"], tmp_path / "file/below")
    (tmp_path / "empty").mkdir()
    jaxnet.export(runs["linear"], str(tmp_path / "empty"))
    assert (tmp_path / "empty").stat().st_mode == (tmp_path / "full").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full"]


def test_a_disk_that_is_full_leaves_nothing(runs, tmp_path, monkeypatch):
    left = iter([None, None])

    def fsync(file):
        if next(left, OSError) is OSError:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(
        jaxnet.InputError, match=r"run cannot be written .*No space left.*; make room on that disk"
    ):
        jaxnet.export(runs["linear"], tmp_path / "run")
    assert not list(tmp_path.iterdir())


def plain(apply, runs):
    """A model of plain functions, and a Run of it that was never trained."""
    model = jaxnet.Model(lambda key, x: ({"kernel": jnp.zeros((64, 10))}, {}), apply, "plain")
    return model, replace(
        runs["linear"], params={"kernel": runs["linear"].params["output"]["kernel"]}, model="plain"
    )


def test_a_platform_that_cannot_run_it_is_left_out_and_named(runs, digits, tmp_path, caplog):
    only = Primitive("only")
    only.def_abstract_eval(lambda x: x)
    mlir.register_lowering(
        only, mlir.lower_fun(jnp.negative, multiple_results=False), platform="cpu"
    )
    batching.primitive_batchers[only] = lambda inputs, axes: (only.bind(*inputs), *axes)

    def apply(params, model_state, x, *, key=None, dropout=None):
        return only.bind(x.reshape(len(x), -1) @ params["kernel"]), model_state

    model, run = plain(apply, runs)
    jaxnet.export(run, tmp_path / "run", model=model)
    exported = jax.export.deserialize((tmp_path / "run/model.stablehlo").read_bytes())
    assert exported.platforms == ("cpu",)
    x = digits.test.x[:7]
    assert (
        np.abs(
            np.exp(exported.call(x.astype(np.float32))) - np.exp(jaxnet.predict(model, run, x))
        ).max()
        < 1e-6
    )
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in said if "does not run" in line] == [
        f"the exported network does not run on {p}" for p in ("cuda", "tpu")
    ]
    # Nor is it one of the operations that the program for NumPy knows.
    assert any("without forward.py" in line and "'only'" in line for line in said)
    assert {file.name for file in (tmp_path / "run").iterdir()} == {
        "README.md",
        "model.stablehlo",
        "params.safetensors",
    }
    assert "forward.py" not in (tmp_path / "run/README.md").read_text()
    assert "runs on cpu and needs" in (tmp_path / "run/README.md").read_text()


def test_what_needs_this_process_is_refused(runs, tmp_path):
    def apply(params, model_state, x, *, key=None, dropout=None):
        outputs = x.reshape(len(x), -1) @ params["kernel"]
        return jax.pure_callback(
            np.sin,
            jax.ShapeDtypeStruct(outputs.shape, outputs.dtype),
            outputs,
            vmap_method="expand_dims",
        ), model_state

    model, run = plain(apply, runs)
    with pytest.raises(jaxnet.InputError, match=r"plain cannot be exported .*callback"):
        jaxnet.export(run, tmp_path / "run", model=model)
    assert not list(tmp_path.iterdir())


def test_names_of_classes_and_columns_cannot_break_the_readme(tmp_path):
    rng = np.random.default_rng(0)
    table = tmp_path / "table.csv"
    words = ["```", "Äpfel\n\n# Title", "<script>"]
    rows = [[rng.normal(), rng.choice(words), rng.choice(words)] for _ in range(200)]
    with open(table, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["size", "```kind", "label"], *rows])
    splits = jaxnet.load(table, label="label")
    jaxnet.export(
        jaxnet.fit(jaxnet.linear(), splits, jaxnet.Recipe(epochs=1), KEY), tmp_path / "run"
    )
    text = (tmp_path / "run/README.md").read_text(encoding="utf-8")
    columns, classes = (
        json.loads(block)
        for block in re.findall(r"^```json\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    )
    assert columns == ["size", *(f"```kind={word}" for word in sorted(words))]
    assert classes == list(splits.classes)
    assert [line for line in text.splitlines() if line.startswith("#")] == ["# mlp(hidden=())"]


def test_onnx_without_its_package_is_refused(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(
        jaxnet.InputError,
        match=(
            r"onnx=True needs the package jax2onnx .*: pip install onnx-ir, then pip install "
            r"--no-deps jax2onnx"
        ),
    ):
        jaxnet.export(runs["linear"], tmp_path / "run", onnx=True)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def converter():
    """Skips where what converts or runs it is not installed."""
    for package in ("jax2onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@pytest.mark.filterwarnings("default")  # of the converter itself
@pytest.mark.parametrize("name", [name for name in MODELS if name != "bfloat16"])
def test_onnx_gives_the_same_predictions(runs, digits, tmp_path, converter, name):
    import onnxruntime

    run = runs[name]
    jaxnet.export(run, tmp_path / "run", model=MODELS[name], onnx=True)
    assert "onnxruntime.InferenceSession" in (tmp_path / "run/README.md").read_text()
    session = onnxruntime.InferenceSession(tmp_path / "run/model.onnx")
    assert session.get_modelmeta().custom_metadata_map["model"] == run.model
    for examples in BATCHES:
        x = some_inputs(run, digits, examples)
        (theirs,) = session.run(None, {"x": x.astype(np.float32)})
        ours = jaxnet.predict(MODELS[name], run, x)
        assert theirs.shape == ours.shape
        near = (
            np.abs(theirs / ours - 1)
            if run.classes is None
            else np.abs(np.exp(theirs) - np.exp(ours))
        )
        assert near.max() < 1e-5  # another library's rounding


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("make", [linen, of_nnx], ids=["linen", "nnx"])
def test_onnx_takes_tokens(make, tmp_path, converter):
    import onnxruntime

    x, y = sequences(300)
    model, splits = make(IDS), jaxnet.split(x, y, inputs="tokens")
    run = jaxnet.fit(model, splits, replace(RECIPE, epochs=1), KEY)
    jaxnet.export(run, tmp_path / "run", model=model, onnx=True)
    session = onnxruntime.InferenceSession(tmp_path / "run/model.onnx")
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape) == ("x", "tensor(int32)", ["batch", 16])
    for examples in (1, 7, 300):
        (theirs,) = session.run(None, {"x": x[:examples].astype(np.int32)})
        ours = jaxnet.predict(model, run, x[:examples])
        np.testing.assert_allclose(np.exp(theirs), np.exp(ours), atol=1e-5)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("task", ["regression", "multi-label"])
def test_onnx_gives_several_values_and_labels(task, tmp_path, converter):
    import onnxruntime

    x, y = a_line(300)
    y = np.stack([y, -3 * y], 1)
    splits = jaxnet.split(x, (y > y.mean(0)).astype(int) if "label" in task else y, task=task)
    run = jaxnet.fit(jaxnet.mlp((4,)), splits, RECIPE, KEY)
    jaxnet.export(run, tmp_path / "run", onnx=True)
    session = onnxruntime.InferenceSession(tmp_path / "run/model.onnx")
    (theirs,) = session.run(None, {"x": x})
    np.testing.assert_allclose(theirs, jaxnet.predict(jaxnet.mlp((4,)), run, x), rtol=1e-5)


@pytest.mark.filterwarnings("default")
def test_what_onnx_does_not_have_is_refused(runs, tmp_path, converter):
    with pytest.raises(
        jaxnet.InputError,
        match=r"jax2onnx .* cannot convert mlp\(.*bfloat16.*; export without onnx=True",
    ):
        jaxnet.export(runs["bfloat16"], tmp_path / "run", onnx=True)
    assert not list(tmp_path.iterdir())


def test_numpy_alone_takes_offsets_as_they_came(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    y = x @ [1.0, -2.0]
    far, values = x * [20, 1] + [1.6e9, 1e12], 1e9 + y
    for name, targets in (("classes", (y > 0).astype(int)), ("values", values)):
        splits = jaxnet.split(far, targets, seed=0)
        run = jaxnet.fit(jaxnet.mlp((8,)), splits, jaxnet.Recipe(epochs=5, batch_size=32), KEY)
        jaxnet.export(run, tmp_path / name)
        theirs, ours = (
            forward.forward(far, tmp_path / name),
            jaxnet.predict(jaxnet.mlp((8,)), run, far),
        )
        assert theirs.dtype == ours.dtype
        assert np.abs(theirs - ours).max() < 2e-6 * max(1, np.abs(ours - ours.mean()).max())
        assert np.std(theirs, axis=0).min() > 0.1
        block = next(
            b
            for b in re.findall(
                r"```python\n(.*?)```", (tmp_path / name / "README.md").read_text(), re.DOTALL
            )
            if "forward" in b
        )
        assert "safetensors" not in block

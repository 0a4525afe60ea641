"""The measurement of accelerators, on the CPU at hand: what it prints, needs and keeps to."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks import accelerator_rows
from jaxnet.cli.commands.mnist import FAST
from jaxnet.cli.options import build_model, build_recipe

ROOT = Path(__file__).parents[2]
# What jaxnet depends on and a bare machine with JAX need not have for this program.
SPARED = {
    *("grain", "matplotlib", "openpyxl", "orbax", "pandas", "PIL", "pyarrow", "safetensors"),
    *("sklearn", "tensorflow_datasets", "tyro"),
}
IMPORTED = """
import sys
before = {name.partition(".")[0] for name in sys.modules}
from experiments.benchmarks.accelerator import main
main(sys.argv[1:])
found = {name.partition(".")[0] for name in sys.modules} - before - set(sys.stdlib_module_names)
print(*sorted(found))
"""


def write_mnist(folder: Path) -> None:
    """Files like those of MNIST, of a few random images."""
    for part in ("train", "t10k"):
        images, labels = np.random.default_rng(0).integers(0, 256, (300, 28, 28)), np.arange(300)
        for name, values, kind in (("images-idx3", images, 3), ("labels-idx1", labels % 10, 1)):
            sizes = b"".join(size.to_bytes(4) for size in values.shape)
            content = bytes([0, 0, 8, kind]) + sizes + values.astype(np.uint8).tobytes()
            (folder / f"{part}-{name}-ubyte").write_bytes(content)


def run(*arguments: str, code: str | None = None) -> list[str]:
    program = ["-c", code] if code else ["-m", "experiments.benchmarks.accelerator"]
    done = subprocess.run(
        [sys.executable, *program, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_prints_a_line_for_each_measurement_and_imports_little(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    *lines, imported = run(
        "--data-dir", str(tmp_path), "--small", "--only", "mnist_epoch", "kernel", code=IMPORTED
    )
    rows = [json.loads(line) for line in lines]
    assert [row["row"] for row in rows] == ["machine", "mnist_epoch", "mnist_epoch", "kernel"]
    assert rows[0]["platform"] == "cpu"
    assert all(row["milliseconds"] > 0 and 0 <= row["accuracy"] <= 1 for row in rows[1:3])
    assert {"jaxnet", "flax"} <= set(imported.split())
    assert not SPARED & set(imported.split())


def test_stops_by_itself_and_says_where(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    last = json.loads(run("--data-dir", str(tmp_path), "--seconds", "0.2")[-1])
    assert last == {"row": "stopped", "seconds": 0.2, "unfinished": "import"}


def test_trains_the_network_and_recipe_of_the_preset() -> None:
    assert build_model(FAST) == accelerator_rows.CNN
    assert build_recipe(FAST) == accelerator_rows.FAST


def test_refuses_a_folder_without_wheels(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        run("--data-dir", str(tmp_path), "--wheels", str(tmp_path))
    assert "holds no .whl files" in error.value.stderr

"""Do two versions of jaxnet train the same networks?

    git worktree add OTHER COMMIT
    python -m experiments.benchmarks.two_versions OTHER [--few]

Every recipe of tests/recipes.py of this checkout, or with --few one of each optimizer, trains a
network on the digits in each version, and those of two optimizers also on one value for each
example. Parameters, history and predictions are compared, and how many programs were compiled for
`fit` and `evaluate`, the second time with another learning rate. Ends with 1 where anything
differs.
"""

import argparse
import os
import runpy
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
VALUES = ("adam", "muon")  # optimizers of the recipes that learn values, too


def trained(path: Path, few: bool) -> None:
    """Write what the jaxnet of this process trains into an .npz file."""
    import jax

    import jaxnet

    table = runpy.run_path(str(ROOT / "tests/recipes.py"))
    compiled: list[str] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    digits, rng = jaxnet.load("digits"), np.random.default_rng(0)
    x = rng.normal(size=(500, 6)).astype(np.float32)
    values = jaxnet.split(x, x @ np.arange(6.0) + rng.normal(size=500))
    found: dict[str, Any] = {}

    def keep(name: str, splits: jaxnet.Splits, recipe: jaxnet.Recipe) -> None:
        model, key, before = jaxnet.mlp((32,)), jax.random.key(0), len(compiled)
        for rate in (1.0, 0.5):
            changed = replace(recipe, learning_rate=rate * np.float64(recipe.learning_rate))
            run = jaxnet.fit(model, splits, changed, key)
            error = jaxnet.evaluate(model, run, splits.test).error
            outputs = jaxnet.predict(model, run, splits.test.x)
            parts = {"params": run.params, "history": run.history, "outputs": outputs}
            parts["error"] = np.array([float(error), error.low, error.high])
            for part, tree in parts.items():
                for number, leaf in enumerate(jax.tree.leaves(tree)):
                    found[f"{name}/{rate}/{part}/{number}"] = np.asarray(leaf)
        found[f"{name}/compiled"] = np.array(len(compiled) - before)
        print(f"{name}: {len(compiled) - before} programs", file=sys.stderr, flush=True)

    for row, name in zip(table["ROWS"], table["NAMES"], strict=True):
        if few and row not in table["FEW"]:
            continue
        keep(name, digits, table["recipe"](row))
        if row[0] in VALUES and "label_smoothing" not in row[2]:
            keep(f"values {name}", values, table["recipe"](row))
    np.savez(path, **found)


def run(checkout: Path, path: Path, few: bool) -> dict[str, np.ndarray]:
    """What a version trains."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, __file__, "--write", path, *["--few"] * few]
    subprocess.run(command, env=environment, check=True)
    with np.load(path) as file:
        return dict(file)


def main() -> int:
    """Compare the version of another checkout with this one's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", nargs="?", type=Path, help="folder of the other version")
    parser.add_argument("--few", action="store_true", help="one recipe of each optimizer")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write is not None:
        trained(options.write, options.few)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        here, there = (
            run(each.absolute(), Path(folder) / f"{number}.npz", options.few)
            for number, each in enumerate((ROOT, options.other))
        )
    if here.keys() != there.keys():
        raise SystemExit(f"only one version has {sorted(here.keys() ^ there.keys())}")
    gaps = {
        name: float(np.nanmax(np.abs(here[name] - there[name]), initial=0.0))
        for name in here
        if here[name].dtype.kind in "fiu"
    }
    counts = [name for name in here if name.endswith("/compiled")]
    lost = [
        n for n in here if not np.array_equal(np.isnan(here[n] * 1.0), np.isnan(there[n] * 1.0))
    ]
    for name in sorted(gaps, key=gaps.__getitem__, reverse=True)[:5]:
        print(f"{gaps[name]:.3g}  {name}")
    programs = sum(int(here[name]) for name in counts)
    more = sum(int(here[name] != there[name]) for name in counts)
    print(
        f"{len(counts)} recipes, {len(gaps)} arrays: largest difference {max(gaps.values())}; "
        f"{programs} programs compiled here, {more} recipes with another number there"
    )
    return int(max(gaps.values()) > 0 or more > 0 or bool(lost))


if __name__ == "__main__":
    sys.exit(main())

"""Memory that loading takes: as much as the arrays and little more, and a refusal with a cure where
there is too little.
"""

import io
import json
import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet.data import checks, memory
from jaxnet.data.sources.npz import read_npz

ROOT = Path(__file__).parents[2]
PEAK = """
import json, sys, tempfile, threading, time
import numpy as np
import jaxnet

# What the first call imports does not count.
with tempfile.TemporaryDirectory() as folder:
    np.savez(folder + "/small.npz", x=np.eye(100, 4), y=np.arange(100) % 2)
    jaxnet.load(folder + "/small.npz")


def held():
    return next(
        int(line.split()[1]) * 1024
        for line in open("/proc/self/status")
        if line.startswith("RssAnon")
    )


before, peak, done = held(), [0], threading.Event()


def progress():
    while not done.wait(0.001):
        peak[0] = max(peak[0], held())


watching = threading.Thread(target=progress)
watching.start()
splits = jaxnet.load(sys.argv[1])
done.set()
watching.join()
print(json.dumps([max(peak[0], held()) - before, len(splits.train)]))
"""
KINDS = {
    "columns": (lambda rng, n: rng.standard_normal((n, 400), np.float32), np.savez, 1.5),
    "columns that stay float64": (
        lambda rng, n: 1.6e9 + rng.standard_normal((n, 200)),
        np.savez,
        1.5,
    ),
    "compressed columns": (
        lambda rng, n: rng.integers(0, 9, (n, 400)).astype(np.float32),
        np.savez_compressed,
        1.5,
    ),
    "images": (lambda rng, n: rng.integers(0, 256, (n, 40, 40), np.uint8), np.savez, 1.2),
    "bytes in columns": (lambda rng, n: rng.integers(0, 256, (n, 1600), np.uint8), np.savez, 1.2),
    "compressed images": (
        lambda rng, n: rng.integers(0, 4, (n, 40, 40), np.uint8),
        np.savez_compressed,
        1.2,
    ),
}


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(),
    reason="Linux says how much memory of a process is no file",
)
@pytest.mark.parametrize("kind", KINDS)
def test_loading_takes_little_more_than_the_arrays(tmp_path, kind):
    make, write, most = KINDS[kind]
    rng, n = np.random.default_rng(0), 50_000
    arrays = {"x": make(rng, n), "y": rng.integers(0, 10, n)}
    write(tmp_path / "data.npz", **arrays)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PEAK, str(tmp_path / "data.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    taken, examples = json.loads(done.stdout)
    assert examples == round(0.7 * n)
    size = sum(array.nbytes for array in arrays.values())
    assert size < taken < most * size


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["float32", ">f4", "float64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_examples_are_those_of_the_same_arrays_in_memory(tmp_path, write, dtype, order):
    rng = np.random.default_rng(0)
    x, y = (
        np.asarray((rng.random((9000, 50)) * 200).astype(dtype), order=order),
        rng.integers(0, 3, 9000),
    )
    write(tmp_path / "data.npz", x=x, y=y)
    loaded, given = jaxnet.load(tmp_path / "data.npz", seed=3), jaxnet.split(x, y, seed=3)
    for part in ("train", "validation", "test"):
        for one, other in zip(
            jax.tree.leaves(getattr(loaded, part)),
            jax.tree.leaves(getattr(given, part)),
            strict=True,
        ):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    for one, other in zip(loaded.standardization[:2], given.standardization[:2], strict=True):
        np.testing.assert_array_equal(one, other)
    kept = x.astype(np.uint8 if dtype == "uint8" else np.float32)
    rows = np.concatenate(
        [np.asarray(getattr(loaded, part).x) for part in ("train", "validation", "test")]
    )
    np.testing.assert_array_equal(np.sort(rows, axis=None), np.sort(kept, axis=None))


def test_what_a_user_gave_is_neither_changed_nor_shared():
    x, y = np.random.default_rng(0).random((50_000, 30), np.float32), np.arange(50_000) % 2
    before = x.copy()
    splits = jaxnet.split(x, y)
    np.testing.assert_array_equal(x, before)
    seen = np.array(splits.train.x)
    x[:] = 0
    np.testing.assert_array_equal(splits.train.x, seen)


def test_values_that_are_not_finite_are_counted_over_all_stretches():
    x = np.zeros((200_000, 20))
    x[[3, 150_000, 199_999], [4, 0, 7]] = np.nan, np.inf, 1e39
    for kept in (x, x.astype(">f8"), np.asfortranarray(x)):
        with pytest.raises(
            jaxnet.InputError,
            match=r"x has 3 values that are not finite, the first \(nan\) in row 3, column 4",
        ):
            checks.inputs(kept, "")


def promising(path, shape, content=b"\0" * 1000, **how):
    """An .npz file whose x has a header for this shape, and this content."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"shape": shape, "fortran_order": False, "descr": "<f4"}
    )
    with zipfile.ZipFile(path, "w", **how) as archive:
        archive.writestr("x.npy", header.getvalue() + content)
        archive.writestr("y.npy", _npy(np.zeros(10, int)))
    return path


def _npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_more_than_the_memory_is_refused_before_it_is_unpacked(tmp_path, how):
    path = promising(tmp_path / "bomb.npz", (10**9, 250), compression=how)
    with pytest.raises(
        jaxnet.InputError,
        match=(
            r"bomb.npz: .*\(x alone 1,000.0 GB\).* are available; save x.npy and y.npy "
            r".*--stream"
        ),
    ):
        jaxnet.load(path)


def test_a_file_that_unpacks_to_more_than_the_memory_is_refused(tmp_path):
    np.savez_compressed(
        tmp_path / "large.npz", x=np.zeros((50_000, 100), np.float32), y=np.arange(50_000) % 2
    )
    assert (tmp_path / "large.npz").stat().st_size < 400_000
    with pytest.raises(jaxnet.InputError, match=r"large.npz: its arrays take 0.0 GB of memory"):
        read_npz(tmp_path / "large.npz", free=19_000_000)
    assert len(read_npz(tmp_path / "large.npz", free=21_000_000)["x"]) == 50_000
    assert len(jaxnet.load(tmp_path / "large.npz").train) == 35_000


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("shape", [(10, 1000), (10, 3)])
def test_headers_that_promise_another_size_are_refused(tmp_path, shape, how):
    path = promising(tmp_path / "data.npz", shape, compression=how)
    with pytest.raises(
        jaxnet.InputError,
        match=r"header of x promises [\d,]+ bytes, but the file has 1,000; write it again",
    ):
        jaxnet.load(path)


def test_a_byte_that_changed_is_noticed(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.zeros((50_000, 30), np.float32), y=np.arange(50_000) % 2)
    with open(tmp_path / "data.npz", "r+b") as file:
        file.seek(3_000_000)
        file.write(b"\1")
    with pytest.raises(jaxnet.InputError, match=r"not a readable .npz file \(Bad CRC-32"):
        jaxnet.load(tmp_path / "data.npz")


@pytest.mark.skipif(sys.platform != "linux", reason="which limits a process as asked here")
def test_too_little_memory_names_the_cure(tmp_path):
    rows = 1_000_000
    np.savez(tmp_path / "data.npz", x=np.zeros((rows, 30), np.float32), y=np.arange(rows) % 2)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 80_000_000, limits[1]))  # x takes 120 MB
    try:
        with pytest.raises(
            jaxnet.InputError,
            match=r"data.npz: .*little memory.*; save x.npy and y.npy into a folder .*--stream",
        ):
            jaxnet.load(tmp_path / "data.npz")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def machine(folder, groups):
    """Linux as these files tell of it, with 8 GB free."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/meminfo").write_text(
        "MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\nSwapFree: 0 kB\nHugePages_Total: 0\n"
    )
    (folder / "proc/self/cgroup").write_text(groups)
    return {"proc": folder / "proc", "groups": folder / "groups"}


def group(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(text)


def test_limits_of_containers_count(tmp_path):
    free = machine(tmp_path / "free", "0::/\n")
    assert memory.available(**free) == 8_192_000_000
    two = machine(tmp_path / "two", "0::/box/inner\n")
    group(two["groups"] / "box/inner", max="max\n", current="5000\n", stat="")
    assert memory.available(**two) == 8_192_000_000
    group(
        two["groups"] / "box",
        max="2000000000\n",
        current="700000000\n",
        stat="inactive_file 100000000\nactive_file 50000000\n",
    )
    assert memory.available(**two) == 1_450_000_000
    inside = machine(tmp_path / "inside", "0::/\n")
    group(inside["groups"], max="1000000000\n", current="1200000000\n", stat="inactive_file 0\n")
    assert memory.available(**inside) == 0
    one = machine(tmp_path / "one", "3:cpu:/a\n4:cpuset,memory:/docker/1\n0::/\n")
    stat = "total_inactive_file 1000\ntotal_active_file 0\ninactive_file 5\n"
    group(
        one["groups"] / "memory",
        limit_in_bytes="3000000000",
        usage_in_bytes="1000000000",
        stat=stat,
    )
    assert memory.available(**one) == 2_000_001_000
    assert memory.available(proc=tmp_path / "none") is None

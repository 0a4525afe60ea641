"""Disks that are full, folders that may not be written, and signals while files are written: a
message, and nothing lost.
"""

import builtins
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import CACHE, gap

import jaxnet
from jaxnet.cli import runner
from jaxnet.display import visible
from jaxnet.engine import checkpoint
from jaxnet.runtime import files

ROOT = Path(__file__).parents[2]
ODD = os.fsdecode(b"odd\xff")


def start(*arguments):
    """The exit status of an experiment, in this process."""
    given = ["--no-cache", "--epochs", "2", "--hidden", "8", *map(str, arguments)]
    return runner.main(
        "train", runner.TrainOptions(), "", began=time.perf_counter(), arguments=given
    )


@pytest.fixture
def failing(monkeypatch):
    """Makes writing to paths that hold a fragment fail, as the operating system does."""

    def fail(fragment, number):
        class Full(io.FileIO):
            def write(self, _):
                raise OSError(number, os.strerror(number))

        def open_(file, mode="r", buffering=-1, *rest, **more):
            if (
                isinstance(file, int)
                or fragment not in os.fsdecode(os.fspath(file))
                or not set(mode) & set("wax+")
            ):
                return opened(file, mode, buffering, *rest, **more)
            if number != errno.ENOSPC:
                raise OSError(number, os.strerror(number), str(file))
            raw = Full(file, mode.replace("b", "").replace("t", ""))
            return (
                raw
                if buffering == 0
                else io.BufferedWriter(raw)
                if "b" in mode
                else io.TextIOWrapper(io.BufferedWriter(raw))
            )

        opened = builtins.open
        for module in (builtins, io):
            monkeypatch.setattr(module, "open", open_)

    yield fail
    monkeypatch.undo()


def unwritable(tmp_path):
    """Folders that cannot be written, by the cure that is named."""
    (tmp_path / "file").write_text("mine")
    return {
        "give a shorter name": tmp_path / ("n" * 300),
        "not valid UTF-8; give another name": tmp_path / ODD,
        "give a folder; a file has this name": tmp_path / "file",
        "give a folder; a part of this path is a file": tmp_path / "file/within/it",
    }


def test_folders_that_cannot_be_written_are_refused_by_every_verb_before_work(
    tmp_path, digits, capsys
):
    model, recipe, key = jaxnet.mlp((4,)), jaxnet.Recipe(epochs=1), jax.random.key(0)
    run = jaxnet.fit(model, digits, recipe, key)

    def progress(*_):
        raise AssertionError("training began")

    verbs = {
        "train": lambda path: jaxnet.train(model, digits, recipe, key, out=path, progress=progress),
        "fit_population": lambda path: jaxnet.fit_population(
            model, digits, recipe, key[None], out=path, progress=progress
        ),
        "save": lambda path: jaxnet.save(run, path),
        "export": lambda path: jaxnet.export(run, path),
    }
    for cure, path in unwritable(tmp_path).items():
        before = sorted(os.listdir(tmp_path))
        for name, verb in verbs.items():
            with pytest.raises(jaxnet.InputError) as error:
                verb(path)
            assert cure in str(error.value) or (
                name in ("save", "export") and "exists already" in str(error.value)
            ), name
            assert visible(path) in str(error.value)
        assert start("--out", path) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert cure in said
        assert "resume" not in said
        assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "name",
    [
        "log.txt",
        "checksums.json",
        "history.csv",
        "curves.png",
        "curves.svg",
        "report.html",
        "result.json",
    ],
)
def test_a_disk_that_is_full_at_any_file_keeps_what_was_trained(
    tmp_path, capsys, failing, monkeypatch, name
):
    failing(f"/{name}", errno.ENOSPC)
    assert start("--out", tmp_path / "run") == 2
    said = capsys.readouterr().err
    place = "00000001" if name == "checksums.json" else name
    assert (
        f"{place} cannot be written ({os.strerror(errno.ENOSPC)}); make room on that disk" in said
    )
    assert "continue with the same options, --resume and --out" in said
    assert not (tmp_path / "run/result.json").exists()
    assert not list((tmp_path / "run").rglob("*.tmp"))
    monkeypatch.undo()
    assert start("--out", tmp_path / "run", "--resume") == 0
    resumed = json.loads((tmp_path / "run/result.json").read_text())["resumed"]["from_epoch"]
    assert resumed == (0 if name in ("log.txt", "checksums.json") else 2)
    assert not (tmp_path / "run/state").exists()


def test_figures_that_may_not_be_written(tmp_path, capsys, failing):
    failing("/figures/", errno.EACCES)
    assert start("--out", tmp_path / "run") == 2
    assert "give a folder that you may write" in capsys.readouterr().err


def test_logs_for_tensorboard_that_cannot_be_written(tmp_path, capsys, failing, monkeypatch):
    pytest.importorskip(
        "tensorboardX", reason="tensorboardX, which writes the logs, is not installed"
    )
    failing("tfevents", errno.ENOSPC)
    assert start("--tensorboard", "--out", tmp_path / "run") == 2
    assert "make room on that disk; then continue" in capsys.readouterr().err
    monkeypatch.undo()
    assert start("--tensorboard", "--out", tmp_path / "run", "--resume") == 0


def test_predictions_that_cannot_be_written_leave_all_members(
    tmp_path, digits, failing, monkeypatch
):
    model, recipe, keys = (
        jaxnet.mlp((4,)),
        jaxnet.Recipe(epochs=2),
        jax.random.split(jax.random.key(0), 2),
    )
    failing("/predictions/", errno.EDQUOT)
    with pytest.raises(
        jaxnet.InputError,
        match=r"quota .*; then make the same call with the same out: all members are saved",
    ):
        jaxnet.fit_population(model, digits, recipe, keys, out=tmp_path)
    assert not list(tmp_path.rglob("*.npy*"))
    monkeypatch.undo()
    heard = []
    population = jaxnet.fit_population(
        model, digits, recipe, keys, out=tmp_path, progress=heard.append
    )
    assert heard[0].finished == 2
    assert population.predictions.test.shape == (2, len(digits.test), 10)


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(jaxnet.InputError, match="cannot be written"):
        jaxnet.enable_cache(tmp_path / "file")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_: str(tmp_path / "file"))
    given = ["--epochs", "1", "--hidden", "8", "--out", str(tmp_path / "run")]
    assert (
        runner.main("train", runner.TrainOptions(), "", began=time.perf_counter(), arguments=given)
        == 0
    )
    assert "compiled programs are not kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGTERM, "params"),
        (signal.SIGINT, "history.csv"),
        (signal.SIGTERM, "curves.png"),
        (signal.SIGINT, "report.html"),
        (signal.SIGTERM, "result.json"),
    ],
)
def test_signals_while_the_report_is_written(tmp_path, capsys, monkeypatch, hearing, number, name):
    """A signal that comes when one of the files is opened."""
    opened = builtins.open

    def stopped(file, mode="r", *rest, **more):
        writes = not isinstance(file, int) and set(mode) & set("wax+")
        if writes and f"/{name}" in os.fsdecode(os.fspath(file)):
            os.kill(os.getpid(), number)
        return opened(file, mode, *rest, **more)

    for module in (builtins, io):
        monkeypatch.setattr(module, "open", stopped)
    before = signal.getsignal(number)
    assert start("--out", tmp_path / "run") == 128 + number
    assert signal.getsignal(number) == before
    said = capsys.readouterr().out
    assert (
        f"stopped by {number.name} before all files were written; what was trained is saved in "
        f"{tmp_path}" in said
    )
    assert "continue with the same options, --resume and --out" in said
    monkeypatch.undo()
    assert start("--out", tmp_path / "run", "--resume") == 0
    assert json.loads((tmp_path / "run/result.json").read_text())["resumed"]["from_epoch"] == 2


def test_files_are_whole_or_as_they_were(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    files.write_whole(path, b"before")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(jaxnet.InputError, match=r"result.json cannot be written .*make room"):
        files.write_text(path, "after")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["result.json"]


def test_room_is_looked_for_before_work(tmp_path):
    files.check_folder(tmp_path / "a/b", 1000)
    with pytest.raises(jaxnet.InputError, match=r"b cannot be written"):
        files.check_folder(tmp_path / "a/b", 1 << 60)
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a file that is always full")
def test_standard_output_that_is_full(tmp_path):
    command = [
        sys.executable,
        "-m",
        "experiments.train",
        "--no-cache",
        "--epochs",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            timeout=100,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: standard output: No space left on device; ")
    assert done.stderr.count("\n") == 1


LIMITED = """
import io, resource, sys, tempfile
from pathlib import Path
import jax, numpy as np, jaxnet

jaxnet.use_cpu_devices()
out, small, large = Path(sys.argv[1]), jaxnet.mlp((8,)), jaxnet.mlp((300, 100))
digits = jaxnet.load("digits")
run = jaxnet.fit(large, digits, jaxnet.Recipe(epochs=1), jax.random.key(0))
done = []


def limit(*_):
    done.append(0)
    if len(done) == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))


def refused(verb):
    try:
        verb()
    except jaxnet.InputError as error:
        assert "raise the limit on the size of files" in str(error), error
        print(error)
    else:
        raise AssertionError("it was written")


refused(
    lambda: jaxnet.train(
        small, digits, jaxnet.Recipe(epochs=6), jax.random.key(0), out=out / "train", progress=limit
    )
)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
refused(
    lambda: jaxnet.train(
        large, digits, jaxnet.Recipe(epochs=6), jax.random.key(0), out=out / "large"
    )
)
refused(
    lambda: jaxnet.fit_population(
        large,
        digits,
        jaxnet.Recipe(epochs=1),
        jax.random.split(jax.random.key(0), 2),
        out=out / "members",
    )
)
refused(lambda: jaxnet.save(run, out / "saved"))
refused(lambda: jaxnet.export(run, out / "exported"))
# what it cannot foresee, such as a disk that others fill
tempfile.TemporaryFile = lambda **_: io.BytesIO()
refused(lambda: jaxnet.save(run, out / "saved"))
left = sorted(
    str(path.relative_to(out))
    for path in out.rglob("*")
    if path.name.startswith(("0", "part")) or "tmp" in path.name
)
print("left", [each for each in left if "/" not in each.split("state/")[-1]])
"""


@pytest.mark.skipif(os.name != "posix", reason="limits on the size of files are of POSIX")
def test_files_that_may_not_grow_end_in_a_message_and_no_thread_complains(tmp_path, digits):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(CACHE),
        "JAX_ENABLE_COMPILATION_CACHE": "false",
    }
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout.count("cannot be written") == 6
    assert "train again with the same arguments and the same out" in done.stdout
    assert not (tmp_path / "saved").exists()
    assert not (tmp_path / "exported").exists()
    assert done.stdout.splitlines()[-1] == "left ['train/state/00000001']"
    model, recipe, seen = jaxnet.mlp((8,)), jaxnet.Recipe(epochs=6), []
    run = jaxnet.train(
        model,
        digits,
        recipe,
        jax.random.key(0),
        out=tmp_path / "train",
        progress=lambda epochs, _: seen.append(epochs),
    )
    assert seen[0] == 1
    assert gap(run.params, jaxnet.fit(model, digits, recipe, jax.random.key(0)).params) == 0.0
    assert np.isfinite(run.history.train_loss).all()


def test_a_folder_is_removed_although_threads_write_into_it_for_a_while(tmp_path, monkeypatch):
    folder, remove, calls = tmp_path / "left", shutil.rmtree, []
    folder.mkdir()

    def remove_and_find_a_new_file(path, **options):
        remove(path, **options)
        calls.append(path)
        if len(calls) < 3:
            folder.mkdir()

    monkeypatch.setattr(shutil, "rmtree", remove_and_find_a_new_file)
    checkpoint._remove_from_writers(folder)
    assert not folder.exists()
    assert len(calls) == 3

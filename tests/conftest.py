"""Strictness for all tests, and what they share.

Most of a test's time is spent on tracing and compiling, then on starting processes. So that tests
stay cheap, those of a module share what is trained (a fixture of the module), with tiny networks,
few epochs and the same shapes, since each shape is another program. A test calls `run_here` of
scripts.py, or a command's `run`, unless it is about the process itself. Cases that take the same
path through the code are one case, or are marked slow with a quick twin. `--durations=15` names
what takes longest.
"""

import gc
import itertools
import logging
import os
import runpy
import shutil
import signal
import sys
import threading
from pathlib import Path

import jaxlib.version

# Without these, optimizing programs that run once or twice takes nine tenths of a cold run. Under
# XLA_FLAGS= (set, and empty) the tests run what users run; .ci/run does that with a part of them.
QUICK = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if jaxlib.version.__version_info__ < (0, 11):  # later ones do not know it
    QUICK.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(QUICK))

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

CACHE = Path(os.environ.get("JAXNET_TEST_CACHE", Path(__file__).parent.parent / ".pytest-compiled"))
os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 3)  # for populations; all else runs on the first
# Workers compile the same programs: the first one does it for all.
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
# Libraries and traced programs are millions of objects that stay: walking over them as often as by
# default is a tenth of the time.
gc.set_threshold(50_000, 20, 20)

MNIST = Path(__file__).parent.parent.parent / "shared/data/mnist"


MAPPED = Path("/proc/self/maps")
# of the 65,530 mappings of memory that Linux allows a process; each compiled program takes some
MOST_MAPPED = 25_000
LOOK = itertools.cycle([*[False] * 9, True])


@pytest.fixture(autouse=True)
def few_programs():
    """Programs that earlier tests compiled are let go before there are too many of them: beyond the
    limit XLA crashes.
    """
    if next(LOOK) and MAPPED.exists() and MAPPED.read_bytes().count(b"\n") > MOST_MAPPED:
        jax.clear_caches()
        gc.collect()
        # compiles what makes keys, which is there from the first import on, and which tests do not
        # count
        jax.random.key(0)


@pytest.fixture(scope="module")
def plain_xla():
    """The processes that a test starts compile as those of users do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", "")
        yield


LOGGER = logging.getLogger("jaxnet")
LOGGER_AT_START = (LOGGER.level, LOGGER.propagate, LOGGER.handlers[:])


def reset_logger():
    level, LOGGER.propagate, LOGGER.handlers[:] = LOGGER_AT_START
    LOGGER.setLevel(level)


@pytest.fixture(autouse=True)
def quiet_logger():
    """A script that runs in this process, in a test or in a fixture that several tests share, sets
    up the logger "jaxnet" for a person; each test begins and ends with the logger as it was at the
    start of the session.
    """
    reset_logger()
    yield
    reset_logger()


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The folder of the four official files, where this machine has it."""
    if not MNIST.is_dir():
        pytest.skip("the MNIST files are not on this machine")
    return MNIST


@pytest.fixture(scope="session")
def digits():
    import jaxnet

    return jaxnet.load("digits")


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium of this machine, as Playwright's Browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"there is none of {', '.join(names)} on this machine")
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=path, args=["--no-sandbox"])


@pytest.fixture
def compilations():
    """A list that grows by one at every compilation by XLA in this process, whether from disk or
    not.
    """
    for thread in threading.enumerate():
        if thread.name.startswith(
            "ThreadPoolExecutor"
        ):  # of a population that was stopped, which may still compile
            thread.join(timeout=5)
    heard: list[str] = []
    alive = [True]

    def listen(event: str, duration_secs: float, **_: object) -> None:
        if alive and event == "/jax/core/compile/backend_compile_duration":
            heard.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield heard
    alive.clear()


@pytest.fixture
def refused(monkeypatch, capsys):
    """Run a script in this process, where it ends with status 2 before it trains: (out, err)."""
    root = Path(__file__).parent.parent

    def refuse(*arguments, script="train"):
        monkeypatch.chdir(root)
        monkeypatch.setenv("COLUMNS", "150")
        monkeypatch.setenv("TFDS_DATA_DIR", "none")
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(root / f"experiments/{script}.py"), run_name="__main__")
        gc.unfreeze()  # what a script that ends need not walk over
        said = capsys.readouterr()
        assert ended.value.code == 2, said
        assert "Traceback" not in said.out + said.err
        return said

    return refuse


@pytest.fixture
def hearing():
    """A shell makes what it starts in the background deaf to SIGINT, and with it all that is
    started from there.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def gap(a, b) -> float:
    """The largest absolute difference between two trees of arrays."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(
        float(np.max(np.abs(np.asarray(x, np.float64) - np.asarray(y, np.float64))))
        for x, y in pairs
    )


def problem_of(model, splits, recipe, **given):
    """The Problem that `fit` makes of these. given: its loss, weights and sample."""
    from jaxnet.core.training import Problem
    from jaxnet.engine.arguments import check_arguments

    return check_arguments(Problem(model, splits, recipe, **given))[0]


def shuffled(key, examples, batch_size, sample=None):
    """Row numbers (steps, batch) of the first epoch of a training with this order key."""
    import jaxnet
    from jaxnet.core.training import NO_EXAMPLES, Problem, TrainState, shuffle
    from jaxnet.data import Dataset, Splits, Standardization

    train = Dataset(np.zeros((examples, 1), np.float32), np.zeros(examples, np.float32))
    splits = Splits(
        train,
        NO_EXAMPLES,
        NO_EXAMPLES,
        Standardization(np.float32(0), np.float32(1), np.float32(0), np.float32(1)),
    )
    state = TrainState(None, None, None, None, key, None, jax.numpy.int32(0), jax.numpy.int32(-1))
    return shuffle(
        Problem(jaxnet.linear(), splits, jaxnet.Recipe(batch_size=batch_size), sample=sample), state
    ).rows

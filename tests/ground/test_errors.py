"""What a message suggests to someone who mistyped a name, and that every message says what to
do.
"""

import ast
import logging
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet import __main__ as overview
from jaxnet.cli.options import SweepOptions, TrainOptions, build_space
from jaxnet.cli.runner import main
from jaxnet.cli.saved_run import read_run
from jaxnet.diagnostics import bias_variance_decomposition, two_sample_test
from jaxnet.errors import InputError, check_known, near, near_path

ROOT = Path(__file__).parents[2]
PREDICTIONS, LABELS = np.zeros((16, 200), int), np.zeros(200, int)


def test_the_nearest_name_comes_first_and_then_all_there_are():
    assert near("adma", ["sgd", "adam"]) == "; did you mean 'adam'? Known are sgd, adam"
    assert (
        near("Label", ["id", "label"], "its columns are")
        == "; did you mean 'label'? Its columns are id, label"
    )
    assert near("fog", ["noise", "blur"]) == "; known are noise, blur"
    assert near("a", []) == "; known are none"
    assert near("zzz", [f"f{i}" for i in range(50)]).endswith(", f28, f29 and 20 more")
    with pytest.raises(
        InputError, match=r"unknown color 'gren'; did you mean 'green'\? Known are red, green"
    ):
        check_known("color", "gren", ["red", "green"])


def test_a_missing_path_suggests_its_neighbor_or_says_which_folder_is_not_there(tmp_path):
    (tmp_path / "runs/digits-1").mkdir(parents=True)
    assert (
        near_path(tmp_path / "runs/digit-1")
        == f"; did you mean {str(tmp_path / 'runs/digits-1')!r}?"
    )
    assert (
        near_path(tmp_path / "run/digits-1")
        == f"; did you mean {str(tmp_path / 'runs/digits-1')!r}?"
    )
    assert near_path(tmp_path / "elsewhere/x") == f"; there is no folder {tmp_path / 'elsewhere'}"
    assert near_path(tmp_path / "elsewhere") == ""


@pytest.fixture
def files(tmp_path):
    """A table, arrays and two folders, one of which is that of a run that did not finish."""
    (tmp_path / "iris.csv").write_text("length,width,kind\n" + "1,2,a\n3,4,b\n" * 20)
    np.savez(tmp_path / "arrays.npz", X=np.ones((5, 2)), y=np.arange(5) % 2)
    (tmp_path / "runs/train-1").mkdir(parents=True)
    (tmp_path / "runs/train-1/run.json").write_text("{}")
    (tmp_path / "cifar10/1.0.0").mkdir(parents=True)
    return tmp_path


MISTYPED = {
    "optimizer": (
        lambda p: jaxnet.fit(*_job(optimizer="adma")),
        "unknown optimizer 'adma'; did you mean 'adam'",
    ),
    "schedule": (
        lambda p: jaxnet.fit(*_job(schedule="cosin")),
        "unknown schedule 'cosin'; did you mean 'cosine'",
    ),
    "activation": (
        lambda p: jaxnet.mlp((8,), activation="reul"),
        "unknown activation 'reul'; did you mean 'relu'",
    ),
    "padding": (
        lambda p: jaxnet.cnn(padding="same"),
        "unknown padding 'same'; did you mean 'SAME'",
    ),
    "hyperparameter": (
        lambda p: jaxnet.sweep(*_job()[:3], [{"learning-rate": 1.0}], jax.random.key(0)),
        "unknown hyperparameter 'learning-rate'; did you mean 'learning_rate'",
    ),
    "space": (
        lambda p: build_space(SweepOptions(space=("hiden=64,128",))),
        "unknown hyperparameter 'hiden'; did you mean 'hidden'",
    ),
    "augmentation": (
        lambda p: build_space(SweepOptions(space=("rotation=0:9",))),
        "unknown hyperparameter 'rotation'; did you mean 'rotate'",
    ),
    "loss": (
        lambda p: bias_variance_decomposition(PREDICTIONS, LABELS, loss="zero-one", design="seeds"),
        "unknown loss 'zero-one'; did you mean 'zero_one'",
    ),
    "design": (
        lambda p: bias_variance_decomposition(
            PREDICTIONS, LABELS, loss="zero_one", design="partitions"
        ),
        "unknown design 'partitions'; did you mean 'partition'",
    ),
    "method": (
        lambda p: two_sample_test(np.ones((9, 2)), np.ones((9, 2)), method="bsdd"),
        "unknown method 'bsdd'; did you mean 'bbsd'",
    ),
    "plan": (
        lambda p: jaxnet.fit(*_job(), plan=jaxnet.Plan(implementation="residant")),
        "did you mean 'resident'",
    ),
    "data set": (
        lambda p: jaxnet.load("digts"),
        "there is no data set 'digts' .* Did you mean 'digits'",
    ),
    "prepared": (
        lambda p: jaxnet.load("cifar", data_dir=p),
        "there is no data set 'cifar' .* Did you mean 'cifar10'",
    ),
    "file": (lambda p: jaxnet.load(p / "irsi.csv"), "no such file; did you mean '.*iris.csv'"),
    "suffix": (
        lambda p: jaxnet.load(p / "iris.cvs"),
        "no such folder, nor a file .* did you mean '.*iris.csv'",
    ),
    "folder": (
        lambda p: jaxnet.load(p / "tables/iris.csv"),
        "no such file; there is no folder .*tables",
    ),
    "label": (
        lambda p: jaxnet.load(p / "iris.csv", label="kinds"),
        "has no column 'kinds'; did you mean 'kind'. Its columns are length,",
    ),
    "groups": (
        lambda p: jaxnet.load(p / "iris.csv", groups="Width"),
        "has no column 'Width'; did you mean 'width'",
    ),
    "drop_columns": (
        lambda p: jaxnet.load(p / "iris.csv", drop_columns=("lenght",)),
        "has no column 'lenght'; did you mean 'length'",
    ),
    "array": (
        lambda p: jaxnet.load(p / "arrays.npz"),
        "x and y must come together; the file holds X, y",
    ),
    "task": (
        lambda p: jaxnet.load(p / "iris.csv", task="classificaton"),
        "unknown task 'classificaton'; did you mean 'classification'",
    ),
    "run": (lambda p: read_run(p / "runs/trian-1"), "no such folder; did you mean '.*train-1'"),
    "no run": (
        lambda p: read_run(p / "runs"),
        "is not the folder of a run, since it has no run.json; the newest in it is .*train-1",
    ),
    "unfinished": (
        lambda p: read_run(p / "runs/train-1"),
        "is the folder of a run that is not finished; continue it with --resume",
    ),
    "checkpoint": (
        lambda p: jaxnet.restore(p / "runs/train"),
        "no such checkpoint; did you mean '.*train-1'",
    ),
}


def _job(**settings):
    splits = jaxnet.split(np.eye(40, 3, dtype=np.float32), np.arange(40) % 2)
    return jaxnet.mlp((4,)), splits, jaxnet.Recipe(epochs=1, **settings), jax.random.key(0)


@pytest.mark.parametrize("case", MISTYPED)
def test_what_is_mistyped_is_met_with_the_nearest(files, case, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(files / "none"))
    act, message = MISTYPED[case]
    with pytest.raises(InputError, match=message):
        act(files)


COMMANDS = {
    "command": (
        ("predit", "--run", "x"),
        "unknown command 'predit'; did you mean 'predict'? Known are look, predict, prepare; "
        "options begin with --",
    ),
    "preset": (
        ("--preset", "fats"),
        "unknown preset 'fats'; did you mean 'fast'? Known are mlp, fast",
    ),
    "option": (("--learning-rat", "1"), "--learning-rate"),
    "underscore": (("--optimiser", "adam"), "--optimizer"),
    "choice": (("--model", "mpl"), "Expected one of ('mlp', 'cnn', 'linear')"),
    "predict": (("predict", "--run", "nowhere", "a.png"), "nowhere: no such folder"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_what_is_mistyped_at_the_command_line(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words, message = COMMANDS[case]
    try:
        status = main(
            "train", {"mlp": TrainOptions(), "fast": TrainOptions()}, "", began=0.0, arguments=words
        )
    except SystemExit as ended:  # tyro's
        status = ended.code
    assert status == 2
    assert message in re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_what_the_library_logs_is_printed_once_after_two_scripts_in_one_process(capsys):
    for _ in range(2):
        assert main("train", TrainOptions(), "", began=0.0, arguments=["predit"]) == 2
    logging.getLogger("jaxnet").warning("the disk is nearly full")
    assert capsys.readouterr().out == "warning: the disk is nearly full\n"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digitz", "did you mean 'digits'? Known are "),
        ("scale", "it is now experiments.benchmarks.scale\n"),
    ],
)
def test_names_of_scripts(name, words):
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{name}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: unknown experiment {name!r}; {words}")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("swep", "; did you mean 'sweep'? There are "),
        ("learning_curv", "; did you mean 'learning-curve'? There are "),
        ("--all", "; there are "),
    ],
)
def test_words_after_the_package(word, message, capsys):
    assert overview.main([word]) == 2
    assert f"error: unknown command {word!r}{message}" in capsys.readouterr().err
    assert overview.main(["--help"]) == 0


# How a message says what to do, or leaves it to words that another function makes.
CURE = re.compile(
    r"; |\b(give|leave|put|install|take|need|must "
    r"be)\b|near(_path)?\(|missing\(|told\[|\{(cure|error|said)\}|^said$|refused\[|why\[0\]|\.why\}",
    re.IGNORECASE,
)


def test_every_message_says_what_to_do():
    bare = []
    for path in sorted(
        set((ROOT / "jaxnet").rglob("*.py")) - {ROOT / "jaxnet/report/html/network.py"}
    ):  # whose messages stand in a page
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "") == "InputError"
                and not CURE.search(ast.unparse(node.args[0]))
            ):
                bare.append(f"{path.name}:{node.lineno}: {ast.unparse(node.args[0])}")
    assert not bare

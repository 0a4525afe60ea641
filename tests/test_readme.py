"""What README, guides and docstrings show is run as it stands, and what they name is there."""

import ast
import contextlib
import gc
import importlib
import importlib.util
import inspect
import io
import os
import re
import runpy
import subprocess
import sys
from functools import cache, reduce
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from sybil import Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser

from jaxnet import cli

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
GUIDES = ROOT / "experiments/guides"
DOCUMENTS = [README, *sorted(GUIDES.glob("*.md")), ROOT / "experiments/benchmarks/README.md"]
MODULES = [
    path for package in ("jaxnet", "experiments") for path in sorted((ROOT / package).rglob("*.py"))
]
SCRIPTS = sorted((ROOT / "experiments").glob("[!_]*.py"))
QUESTIONS = sorted((ROOT / "jaxnet/cli/commands").glob("[!_]*.py"))
LEFT_OUT = "torch"  # the examples that need it are a test of their own, where it is installed


def named(paths):
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


def examples(document):
    """(what runs without PyTorch, what needs it)."""
    found = list(document.examples())
    torch = [example for example in found if f"import {LEFT_OUT}\n" in str(example.parsed)]
    return [example for example in found if example not in torch], torch


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the Python blocks of a document in an empty folder; gives their names and what they
    printed.
    """
    monkeypatch.chdir(tmp_path)

    def evaluate(path, *, torch=False):
        document = Sybil([PythonCodeBlockParser()]).parse(path)
        ordinary, needing = examples(document)
        for example in [*ordinary, *(needing if torch else [])]:
            example.evaluate()
        return document.namespace, capsys.readouterr().out

    return evaluate


def calls(code):
    """(what is called, the call) for every call of something of jaxnet in these statements, in
    order.
    """
    known = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            known |= {
                name.name: importlib.import_module(name.name)
                for name in node.names
                if name.name == "jaxnet"
            }
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "jaxnet":
            module = importlib.import_module(node.module)
            known |= {name.asname or name.name: getattr(module, name.name) for name in node.names}
    for node in ast.walk(ast.parse(code)):
        path = ast.unparse(node.func).split(".") if isinstance(node, ast.Call) else [""]
        if path[0] in known and all(map(str.isidentifier, path)):
            yield reduce(getattr, path[1:], known[path[0]]), node


@pytest.mark.parametrize("path", named(DOCUMENTS))
def test_calls_that_are_shown_can_be_made(path):
    """Each name is there and takes these arguments."""
    blocks = [example.parsed for example in Sybil([PythonCodeBlockParser()]).parse(path).examples()]
    for called, node in calls("\n".join(map(str, blocks))):
        given = [None for argument in node.args if not isinstance(argument, ast.Starred)]
        named_ = {keyword.arg: None for keyword in node.keywords if keyword.arg}
        whole = len(given) == len(node.args) and len(named_) == len(node.keywords)
        signature = inspect.signature(called)
        (signature.bind if whole else signature.bind_partial)(*given, **named_)


def test_the_code_in_the_readme_runs(run):
    names, out = run(README)
    lines = (line.strip() for line in README.read_text(encoding="utf-8").splitlines())
    shown = next(line for line in lines if line.startswith("high variance: "))
    assert shown in " ".join(out.split())
    assert names["run"].status == "finished after epoch 5"
    assert re.search(r"^0\.9\d+ \(0\.\d+ to 0\.\d+\)$", out, re.MULTILINE)
    assert len(names["sweep"](names["rates"]).history.validation_accuracy) == 3


def test_the_guide_with_a_csv_comes_to_what_it_says(run):
    guide = GUIDES / "csv.md"
    names, out = run(guide)
    said = " ".join(guide.read_text(encoding="utf-8").split())
    note = next(line for line in out.splitlines() if line.startswith("'malic_acid': 1 of 178"))
    assert note in said
    assert "read with ';' between columns and a decimal comma" in out
    assert names["diagnosis"].verdict.startswith(("mostly variance: ", "inconclusive: "))
    assert names["more_data"].code == "more_data_will_not_help" or not names["more_data"].claimed
    assert names["needed"].at_least > 1000
    assert names["needed"].probabilities[-1][1] < 0.1
    reached = float(np.mean(names["classes"] != np.asarray(names["larger"].test.y)))
    assert names["predicted"].low < reached < names["predicted"].high
    assert f"with 800 it is {reached:.4f}" in out


def test_what_people_bring_learns(run):
    names, out = run(GUIDES / "your_own.md")
    accuracies = [
        float(line.split()[0])
        for line in out.splitlines()
        if re.match(r"0\.\d+ \(0\.\d+ to 0\.\d+\)$", line)
    ]
    assert len(accuracies) == 7  # Linen, NNX, Equinox, by hand, loss, optimizer, parts by hand
    assert min(accuracies) > 0.8
    assert "('setosa', 'versicolor', 'virginica')" in out
    assert names["run"].classes is None  # the last one is a regression
    assert "high variance" in out
    assert "300 examples: squared bias 0.0" in out


@pytest.mark.slow
def test_predictions_of_pytorch_are_diagnosed(run):
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    _, out = run(GUIDES / "your_own.md", torch=True)
    assert out.count("of 16 networks, trained with different random seeds") == 2


def test_a_flax_model_comes_to_a_verdict(run):
    names, out = run(GUIDES / "flax.md")
    known = re.findall(r"`([a-z ]+)`", (GUIDES / "flax.md").read_text(encoding="utf-8"))
    assert names["diagnosis"].verdict.split(":")[0] in known
    assert "finished after epoch 10 0.9" in out
    assert names["better"] is names["advice"].recipe


@pytest.mark.parametrize(
    "path",
    named(
        path
        for path in DOCUMENTS
        if path not in (README, *(GUIDES / f"{name}.md" for name in ("csv", "your_own", "flax")))
        and "```python" in path.read_text(encoding="utf-8")
    ),
)
def test_the_code_in_other_documents_runs(run, path):
    run(path)


def test_the_code_in_docstrings_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parsers = Sybil(
        [DocTestParser(), PythonCodeBlockParser()], document_types={".py": PythonDocStringDocument}
    )
    for path in MODULES:
        for example in parsers.parse(path).examples():
            example.evaluate()


def test_the_two_commands_to_start_with():
    commands = re.findall(r"^```sh\n(.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert [command.split(" && ")[-1] for command in commands] == [
        "python -m experiments.digits",
        "python -m pytest -q -n auto",
    ]


def test_the_first_example_has_six_lines():
    code = README.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    lines = [line for line in code.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(lines) == 6
    assert "from_cross_validation" in lines[-1]


@pytest.mark.parametrize("path", named([README, GUIDES / "your_own.md"]))
def test_diagnosing_scikit_learn_takes_few_lines(path):
    code = next(
        block
        for block in path.read_text(encoding="utf-8").split("```")
        if "from_predictions" in block or "from_cross_validation" in block
    )
    assert "from sklearn" in code
    assert len([line for line in code.splitlines()[1:] if line.strip()]) <= 15


def options_in(text):
    return set(re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", text))


def commands():
    """The options that each script is shown with, in documents and in the scripts' own words, as
    python -m experiments.NAME or as jaxnet NAME.

    A command ends with its line, its code span or the line that goes on with options.
    """
    found: dict[str, set[str]] = {}
    known = "|".join(path.stem.replace("_", "-") for path in QUESTIONS)
    for path in [*DOCUMENTS, *SCRIPTS, *QUESTIONS]:
        text = path.read_text(encoding="utf-8")
        for shown in re.finditer(
            rf"(?:python -m experiments\.([a-z_.]*[a-z_])|jaxnet ({known}))(?=[ \n`])"
            r"( [^`\n]*)?((?:\n {6,}-[^`\n]*)*)",
            text,
        ):
            name = shown[1] or shown[2].replace("-", "_")
            found.setdefault(name, set()).update(options_in(f"{shown[3]} {shown[4]}"))
    return found


COMMANDS = commands()


@cache
def help_of(script, *words):
    """What --help of a script prints, with those of its further commands. Benchmarks choose the
    settings of JAX, each in a process of its own.
    """
    arguments = [*words, "--help"]
    if script.startswith("benchmarks."):
        command = [sys.executable, "-m", f"experiments.{script}", *arguments]
        environment = os.environ | {"COLUMNS": "200"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-500:]
        return done.stdout
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    with (
        mock.patch.dict(os.environ, COLUMNS="200"),
        mock.patch.object(sys, "argv", [script, *arguments]),
        contextlib.redirect_stdout(out),
        pytest.raises(SystemExit) as ended,
    ):
        _start(script, arguments)
    gc.unfreeze()  # what a script that ends need not walk over
    assert not ended.value.code
    return out.buffer.getvalue().decode()


def _start(script, arguments):
    """Start a script, or a command that is no script."""
    if (path := ROOT / f"experiments/{script}.py") in SCRIPTS:
        runpy.run_path(str(path), run_name="__main__")
    else:
        cli.run(script, arguments, began=0.0)


def options_of(script):
    further = ("predict", "prepare") if script == "train" else ()
    text = help_of(script) + "".join(help_of(script, word) for word in further)
    return set(re.findall(r"--[a-z][a-z0-9-]*", text))


@pytest.mark.parametrize("script", sorted(COMMANDS))
def test_commands_that_are_shown_can_be_given(script):
    packages = ("experiments", "jaxnet.cli.commands")
    assert any(importlib.util.find_spec(f"{package}.{script}") for package in packages)
    assert COMMANDS[script] <= options_of(script)


def test_options_that_are_shown_alone_belong_to_some_script():
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    shown = options_in(" ".join(re.findall(r"`(--[^`]*)`", text)))
    assert "--groups" in shown
    assert shown <= set().union(
        *map(options_of, ("train", "mnist", "sweep", "advise", "benchmarks.tpu_schedule"))
    )


@pytest.mark.parametrize("path", named(DOCUMENTS))
def test_links_lead_somewhere(path):
    targets = re.findall(
        r"\]\(([^)\s]+)\)",
        re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.S | re.M),
    )
    missing = [
        target
        for target in targets
        if "://" not in target and not (path.parent / target.split("#")[0]).exists()
    ]
    assert not missing


@pytest.mark.parametrize("path", named(DOCUMENTS))
def test_benchmarks_and_modules_that_are_named_exist(path):
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"(?:\.\.\. |experiments\.)benchmarks\.([a-z_]+)", text):
        assert importlib.util.find_spec(f"experiments.benchmarks.{name}") is not None, name
    for name in re.findall(r"`((?:jaxnet|tests|experiments)/[\w/.]+\.\w+)`", text):
        assert (ROOT / name).exists(), name

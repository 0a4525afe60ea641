"""experiments/colab.ipynb, executed from top to bottom by an IPython kernel of this environment,
without a checkout's jaxnet in the way.

In .ci/run also with what Colab ships, where the set-up has jaxnet to install.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

nbformat = pytest.importorskip(
    "nbformat", reason="nbformat is not installed, which reads notebooks"
)
nbclient = pytest.importorskip(
    "nbclient", reason="nbclient is not installed, which executes notebooks"
)
pytest.importorskip("ipykernel", reason="ipykernel is not installed, in which notebooks run")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "experiments/colab.ipynb"
LIMIT = 240  # seconds
# What must be seen: HTML with a picture inside, a page, a table, or words.
DISPLAYS = {
    "diagnosis": "data:image/png;base64,", "page": 'srcdoc="&lt;!doctype html&gt;',
    "digits": 'srcdoc="&lt;!doctype html&gt;', "examples": "<table",
}  # fmt: skip
WORDS = {
    "table-data": "Splits of loans.csv", "advice": "tried", "census": "128 networks",
}  # fmt: skip
VERSIONS = (
    "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in "
    "m.distributions()}))"
)


def versions() -> dict[str, str]:
    """What is installed, as a new process finds it."""
    return json.loads(
        subprocess.run(
            [sys.executable, "-c", VERSIONS], capture_output=True, text=True, check=True, cwd="/"
        ).stdout
    )


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook with its outputs, from a copy of the checkout, and what was installed before and
    after.
    """
    place = tmp_path_factory.mktemp("content")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "runs")
    shutil.copytree(ROOT, place / "copy", ignore=ignored)
    environment = {
        **os.environ, "XDG_CACHE_HOME": str(place / "cache"), "IPYTHONDIR": str(place / "ipython")
    }  # fmt: skip
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    before, began = versions(), time.monotonic()
    where = {"metadata": {"path": str(place / "copy/experiments")}}
    nbclient.NotebookClient(
        notebook, timeout=LIMIT, kernel_name="python3", resources=where
    ).execute(env=environment)
    took = time.monotonic() - began
    assert took < LIMIT, f"{took:.0f} s"
    return {cell["id"]: cell for cell in notebook.cells}, before, versions()


def test_every_cell_runs_without_a_warning(executed):
    """An error in a cell would have been raised; what is warned of goes to standard error."""
    cells, _, _ = executed
    code = [cell for cell in cells.values() if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        said = "".join(
            output["text"] for output in cell["outputs"] if output["output_type"] == "stream"
        )
        assert not any(output.get("name") == "stderr" for output in cell["outputs"]), said
        assert "Warning" not in said
        assert "warning: " not in said


def test_displays_and_words_are_there(executed):
    cells, _, _ = executed
    for name, part in DISPLAYS.items():
        shown = [
            "".join(output["data"]["text/html"])
            for output in cells[name]["outputs"]
            if "text/html" in output.get("data", ())
        ]
        # the line of the progress is there too, and empty in the end
        assert sum(part in html for html in shown) == 1, name
    for name, words in WORDS.items():
        said = "".join(
            output.get("text", "") + output.get("data", {}).get("text/plain", "")
            for output in cells[name]["outputs"]
        )
        assert words in said, name


def test_without_a_copy_a_sentence_says_what_to_enter(tmp_path, monkeypatch):
    cells = {cell["id"]: cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells}
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match="enter the address of its repository") as stopped:
        exec(cells["set-up"]["source"], {"__name__": "__main__"})
    assert stopped.value._render_traceback_() == [str(stopped.value)]


def test_the_set_up_changes_no_package(executed):
    """Of those that were there; which are added, the cell says."""
    cells, before, after = executed
    assert {name: after.get(name) for name in before} == before
    said = cells["set-up"]["outputs"][0]["text"]
    assert all(f"{name} {after[name]}" in said for name in after.keys() - before.keys())
    assert "jaxnet" in after


def test_it_is_committed_without_outputs():
    """So that a change of it can be read."""
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None

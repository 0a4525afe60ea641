"""The names of the package: what a type checker is told, what is there at run time, and what
importing costs.
"""

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import jaxnet
import jaxnet.cli
import jaxnet.studies

pytestmark = pytest.mark.core


def told_to_type_checkers(package: ModuleType) -> set[str]:
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text())
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {
        alias.asname or alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("package", [jaxnet, jaxnet.cli, jaxnet.studies])
def test_every_name_that_type_checkers_know_is_there(package: ModuleType) -> None:
    told = told_to_type_checkers(package)
    for name in told - {"JaxnetClassifier", "JaxnetRegressor"}:
        assert getattr(package, name) is not None
    assert told <= set(dir(package))


def test_a_star_import_gives_what_type_checkers_know() -> None:
    sklearn = {"JaxnetClassifier", "JaxnetRegressor"}
    assert set(jaxnet.__all__) == told_to_type_checkers(jaxnet) - sklearn


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="fitt"):
        jaxnet.fitt  # noqa: B018  # pyrefly: ignore[missing-attribute]


def test_a_training_imports_neither_diagnostics_nor_scikit_learn() -> None:
    program = (
        "import sys, jaxnet; jaxnet.fit, jaxnet.load, jaxnet.mlp, jaxnet.evaluate; "
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "jaxnet.core.training" in done.stdout.split()
    assert not {"jaxnet.studies.diagnose", "jaxnet.studies.sweep", "sklearn", "matplotlib"} & set(
        done.stdout.split()
    )

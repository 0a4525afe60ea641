"""What the README shows is run as it stands."""

from pathlib import Path

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

README = Path(__file__).parent.parent / "README.md"


def test_the_code_in_the_readme_runs(capsys):
    document = Sybil([PythonCodeBlockParser()]).parse(README)
    examples = list(document.examples())
    assert examples
    for example in examples:
        example.evaluate()
    out = capsys.readouterr().out
    assert "finished after epoch 10" in out
    assert out.count("of 16 networks that differ in luck alone") == 2
    assert float(document.namespace["runs"].history.validation_accuracy[:, -1].min()) > 0.9


def test_the_example_is_short():
    code = README.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15


def test_diagnosing_scikit_learn_takes_ten_lines():
    code = next(block for block in README.read_text(encoding="utf-8").split("```") if "from_predictions" in block)
    assert len([line for line in code.splitlines()[1:] if line.strip()]) <= 10

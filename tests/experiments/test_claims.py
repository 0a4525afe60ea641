"""The simulations of what a diagnosis claims: what counts as false, and a small case."""

import csv

import pytest

from experiments.benchmarks import claims
from experiments.benchmarks.claims import Case
from jaxnet.diagnostics.findings import Code
from jaxnet.diagnostics.ladder import Claims

BIAS, VARIANCE, MISMATCH = Code.HIGH_BIAS, Code.HIGH_VARIANCE, Code.MISMATCH


@pytest.mark.parametrize(
    ("case", "claimed", "false"),
    [
        (Case(300, 0.02, 0.08), Claims((VARIANCE,), VARIANCE, False), False),
        (Case(300, 0.02, 0.08), Claims((VARIANCE, BIAS), VARIANCE, False), True),
        (Case(300, 0.02, 0.08), Claims((VARIANCE,), BIAS, False), True),
        (Case(300, 0.08, 0.08), Claims((VARIANCE, BIAS), None, False), False),
        (Case(300, 0.08, 0.08), Claims((VARIANCE, BIAS), BIAS, False), True),
        (Case(300, 0.02, 0.02), Claims((), None, False), False),
        (Case(300, 0.02, 0.01), Claims((), None, True), True),
        (Case(300, 0.003, 0.003), Claims((), None, True), False),
        (Case(300, 0.003, 0.003, 0.08), Claims((MISMATCH,), None, False), False),
        (Case(300, 0.003, 0.003, 0.02), Claims((MISMATCH,), None, False), True),
    ],
)
def test_which_claims_are_false(case, claimed, false):
    assert claims.false(case, claimed) is false


def test_a_small_case_is_claimed_rightly_and_not_simulated_again(tmp_path, capsys):
    path = tmp_path / "table.csv"
    options = ["--studies", "4", "--processes", "1", "--table", str(path)]
    assert claims.main([*options, "--only", "1000: bias 0.5%, gap 4%, mismatch 0%"]) == 0
    with path.open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert float(line["mostly variance"]) == 1
    assert float(line["high bias"]) == float(line["mismatch"]) == float(line["false"]) == 0
    capsys.readouterr()
    assert claims.main([*options, "--only", "1000: bias 0.5%, gap 4%, mismatch 0%"]) == 0
    assert capsys.readouterr().err == ""

"""What a page says of the findings of a run and of the checks behind them."""

import pytest

from jaxnet.diagnostics.findings import Code
from jaxnet.report.html.findings import by_promise, checks

REMEDIES = [
    {"words": "more examples", "helped": 5},
    {"words": "regularize: dropout", "helped": 0},
    {"words": "augment", "helped": None},
    {"words": "stop early", "helped": 0},
]


def test_what_helped_in_no_simulated_problem_is_not_among_what_to_try():
    first, others = by_promise(REMEDIES)
    assert [each["words"] for each in first] == ["more examples", "augment"]
    assert others == "Did not help in simulated problems of this kind: dropout, stop early."
    assert by_promise(REMEDIES[1::2]) == (REMEDIES[1::2], "")  # better than nothing to try


@pytest.mark.parametrize(
    ("claimed", "state"), [(True, "passed"), (False, "uncertain")], ids=["claimed", "open"]
)
def test_one_finding_about_more_data_is_the_answer_to_both_checks(claimed, state):
    size = {"estimate": 0.01, "low": -0.05, "high": 0.05, "refused": None}
    found = {"code": "more_data_helps", "claimed": claimed, "size": size}
    result = {"findings": [found], "tolerance": 0.02, "dataset": {"classes": ["a", "b"]}}
    states = checks(result)
    assert states[Code.MORE_DATA_HELPS] == ("found" if claimed else "uncertain")
    assert states[Code.MORE_DATA_WILL_NOT_HELP] == state
    assert states[Code.ERROR_STILL_FALLS].startswith("not checked")
    assert checks(result | {"findings": []})[Code.MORE_DATA_HELPS].startswith("not checked")

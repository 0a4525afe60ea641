"""What a program reads of a command: the result on standard output, and the exit status."""

import json
import time

import pytest
from scripts import validator

from jaxnet import cli
from jaxnet.diagnostics.findings import Code


def run(*words):
    return cli.run("train", [*map(str, words)], began=time.perf_counter())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("programs") / "run"


@pytest.fixture(scope="module")
def found(folder, request):
    """A network that hardly trained, and what the command printed."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    capture.suspend_global_capture()
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        words = ("--epochs", 1, "--learning-rate", 1e-6, "--hidden", 8, "--no-cache")
        status = run(*words, "--json", "--fail-on", "mismatch", "--out", folder)
    capture.resume_global_capture()
    return status, out.getvalue(), err.getvalue()


def test_json_is_alone_on_standard_output(found, folder):
    status, out, err = found
    assert status == 0
    assert json.loads(out) == json.loads((folder / "result.json").read_text())
    assert "written to" in err


def test_the_result_follows_the_schema(found):
    result = json.loads(found[1])
    validator().validate(result)
    validator().validate(result | {"more": 1})
    for each in result["findings"]:
        assert each["words"] == Code(each["code"]).words
        assert (each["severity"] == "note") or each["claimed"]
    unknown = [each | {"code": "high varience"} for each in result["findings"]]
    half = {name: value for name, value in result.items() if name != "error"}
    estimate = {"error": {"test": {"estimate": 0.1}}}
    for wrong in (half, result | {"findings": unknown}, result | estimate):
        assert not validator().is_valid(wrong)
    of_advice = result | {"experiment": "advise"}
    assert "'advice' is a required property" in str(list(validator().iter_errors(of_advice)))


def test_a_claimed_finding_decides_the_exit_status(found, folder, capsys):
    claimed = [each["code"] for each in json.loads(found[1])["findings"] if each["claimed"]]
    assert "high_bias" in claimed
    again = ("--epochs", 1, "--learning-rate", 1e-6, "--hidden", 8, "--out", folder, "--resume")
    again = (*again, "--no-cache")
    assert run(*again, "--fail-on", "mismatch", "--fail-on", "high_bias") == 4
    assert "exit status 4, since high_bias is claimed" in capsys.readouterr().out
    assert run(*again, "--fail-on", "high_varience") == 2
    assert "did you mean 'high_variance'?" in capsys.readouterr().err


def test_the_codes_are_kept():
    """Programs compare them, so none may go away; a new one is added here."""
    assert {code.value for code in Code} == {
        "wrong_loss", "inputs_not_scaled", "diverged", "unstable", "did_not_begin_to_learn",
        "stuck_at_majority", "cannot_fit_32_examples", "labels_match_nothing", "not_finished",
        "leaking_test_set", "high_bias", "high_variance", "mismatch", "no_better_than_guessing",
        "more_data_helps", "more_data_will_not_help", "error_still_falls", "overconfident",
        "label_noise", "memorized", "harmful_examples", "slice", "shift", "edge_of_sweep",
        "worse_run",
    }  # fmt: skip
    finding = cli.schema()["$defs"]["finding"]["properties"]
    assert set(finding["code"]["enum"]) == {code.value for code in Code}
    for code in Code:
        assert code.value.isidentifier()
        assert code.value == code.value.lower()
        assert code.words
        assert "_" not in code.words

"""What --help shows: every option once, in groups, in lines that fit a terminal."""

import dataclasses
import re

import pytest

from jaxnet.cli import options
from jaxnet.cli.commands import diagnose
from jaxnet.cli.parsing import ACROSS, GROUPS, help_text, parse

CLASSES = [
    each
    for each in vars(options).values()
    if dataclasses.is_dataclass(each) and each.__name__.endswith("Options")
]


@pytest.mark.parametrize("given", CLASSES, ids=lambda given: given.__name__)
def test_every_option_is_shown_once_and_explained(given):
    text = help_text(given, "jaxnet it", "What does it do?\n\n    jaxnet it --now\n\nIt works.")
    assert text.startswith("usage: jaxnet it ")
    assert "What does it do?\n\n    jaxnet it --now\n\nIt works." in text
    assert max(map(len, text.splitlines())) <= ACROSS
    names = [field.name.replace("_", "-") for field in dataclasses.fields(given)]
    shown = re.findall(r"^  (?:--([a-z0-9-]+)|([A-Z-]+))(?=[ ,\n])", text, re.MULTILINE)
    assert sorted(option or place.lower() for option, place in shown) == sorted(names)
    body = text.split("It works.")[1]
    for name in names:
        told = re.search(rf"^  (--{name}|{name.upper()})\b(.*\n(?: {{26}}.*\n)*)", body, re.M)
        assert told is not None
        assert len(re.findall(r"[a-z]{2,}", told[2].replace("--no-", ""))) > 1, name


def test_the_groups_have_options_that_exist():
    known = {field.name for each in CLASSES for field in dataclasses.fields(each)}
    assert {name for names in GROUPS.values() for name in names.split()} <= known


def test_help_ends_with_status_0_and_keeps_the_lines_of_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        diagnose.main(["digits", "--help"], program="jaxnet diagnose", began=0.0)
    assert not ended.value.code
    out = capsys.readouterr().out
    assert "\n    jaxnet diagnose FILE.csv --label COLUMN\n    jaxnet diagnose FOLDER " in out
    assert "\ntraining:\n  --optimizer {sgd,momentum," in out
    assert re.search(r"(?s)--members NUMBER .{,300}?\(default: 16\)", out)


def test_options_are_read_as_before():
    given = parse(
        options.TrainOptions, ["--epochs", "3", "--no-cache"], program="jaxnet train",
        default=options.TrainOptions(members=16),
    )  # fmt: skip
    assert (given.epochs, given.cache, given.members) == (3, False, 16)

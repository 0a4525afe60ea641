"""Tables of tokens on the command line: shorter sequences, and ids that are not known."""

import csv
import io
import json
from dataclasses import replace

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet.cli import commands
from jaxnet.cli.options import TrainOptions, build_model, build_recipe, read
from jaxnet.data.tokens import vocabulary_of
from tests.token_networks import LENGTH, sequences

NAMES = [f"t{place}" for place in range(LENGTH)]


def write(path, rows):
    """A table of sequences whose ends are empty cells, each with a label."""
    filled = [[*row, *[""] * (LENGTH - len(row)), label] for row, label in rows]
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([[*NAMES, "same"], *filled])
    return path


@pytest.fixture(scope="module")
def shorter():
    """Sequences of 4 to 16 tokens with their labels."""
    x, y = sequences(200)
    return [(row[: 4 + number % 13].tolist(), y[number]) for number, row in enumerate(x)]


def run(name, *words):
    return commands.run(name, [*map(str, words)], began=0.0)


def test_a_command_line_that_reads_shorter_sequences_is_named(shorter, tmp_path, capsys):
    path = write(tmp_path / "x.csv", shorter)
    assert run("look", "--dataset", path, "--inputs", "tokens") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "empty cells among its tokens, in 12 of 16 columns, the first of them 't4'" in said
    assert "This works: jaxnet train" in said
    assert said.endswith("--inputs tokens --pad 0")
    assert run("look", "--dataset", path, "--inputs", "tokens", "--pad", 0) == 0
    assert "'t0', 't1'" in capsys.readouterr().out


def trained(folder, path):
    """The folder of a run that is finished, without figures and a page."""
    options = TrainOptions(str(path), inputs="tokens", pad=0, hidden=(4,), epochs=1)
    splits, _ = read(options)
    model = build_model(replace(options, vocabulary=vocabulary_of(splits)))
    assert model.name == "mlp(hidden=(4,), activation=relu, vocabulary=9)"
    run = jaxnet.fit(model, splits, build_recipe(options), jax.random.key(0))
    jaxnet.save(run, folder / "params")
    (folder / "run.json").write_text('{"experiment": "train", "dataset": "made"}')


@pytest.mark.slow  # the test below trains without figures and a page
def test_a_run_keeps_how_many_ids_its_network_knows(shorter, tmp_path):
    path, out = write(tmp_path / "x.csv", shorter), tmp_path / "run"
    words = ("--inputs", "tokens", "--pad", 0, "--hidden", 4, "--epochs", 1)
    assert run("train", "--dataset", path, *words, "--platform", "cpu", "--out", out) == 0
    about = json.loads((out / "run.json").read_text())
    assert (about["inputs"], about["pad"], about["vocabulary"]) == ("tokens", 0, 9)


def test_tables_and_arrays_of_shorter_sequences_are_predicted(shorter, tmp_path, capsys):
    out = tmp_path / "run"
    out.mkdir()
    trained(out, write(tmp_path / "x.csv", shorter))
    capsys.readouterr()
    strange = [([1, 2, 40], 0), ([1, 0.5], 0), ([8], 0)]
    write(tmp_path / "new.csv", shorter[:3] + strange)
    filled = np.zeros((4, 10), int)
    for number, (row, _) in enumerate([*shorter[:3], strange[2]]):
        filled[number, : len(row)] = row
    np.savez(tmp_path / "new.npz", x=filled)
    files = tmp_path / "new.csv", tmp_path / "new.npz"
    assert run("predict", *files, "--run", out, "--platform", "cpu") == 0
    found = capsys.readouterr()
    rows = [*csv.DictReader(io.StringIO(found.out))]
    of_table, of_array = [row["p(1)"] for row in rows[:6]], [row["p(1)"] for row in rows[6:]]
    assert of_table[3:5] == ["", ""]
    np.testing.assert_allclose(
        np.float64(of_array), np.float64([*of_table[:3], of_table[5]]), atol=2e-6
    )
    said = " ".join(found.err.split())
    assert "40 in row 3, column 2 (counted from 0) is no id that the network knows: 0 to 8" in said
    assert "0.5 in row 4, column 1 (counted from 0)" in said
    assert "no value" not in said  # the ends of sequences are no gaps


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--inputs", "tokens", "--model", "cnn"), "--model cnn takes numbers, but --inputs is"),
        (("--vocabulary", 9), "--vocabulary is 9, but inputs are numbers; give --inputs tokens"),
        (("--pad", 0), "pad is 0, but inputs are numbers; give inputs='tokens' (--inputs tokens)"),
    ],
)
def test_options_of_tokens_are_refused_elsewhere(words, said, shorter, tmp_path, capsys):
    path = write(tmp_path / "x.csv", [row for row in shorter if len(row[0]) == LENGTH])
    assert run("train", "--dataset", path, *words, "--platform", "cpu") == 2
    assert said in " ".join(capsys.readouterr().err.split())

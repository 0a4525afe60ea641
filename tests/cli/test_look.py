"""The command `look`: what `load` makes of a data set, without a training."""

import random
import re
import shlex

import numpy as np
import pytest
import tyro
from PIL import Image

import jaxnet
from jaxnet.cli import commands, runner
from jaxnet.cli.options import TrainOptions, current_words, read

ROWS = 60


def _customers(folder, separator=","):
    draw = random.Random(0)
    rows = [
        ("customer_id", "age", "plan", "signup", "fee", "churned"),
        *(
            (
                f"C{i:05d}",
                20 + i % 37,
                draw.choice(["basic", "pro"]),
                f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}",
                f"{draw.randint(2, 9)} kg",
                "yes" if i % 4 == 0 else "no",
            )
            for i in range(ROWS)
        ),
    ]
    path = folder / "my customers.csv"
    path.write_text("".join(separator.join(map(str, row)) + "\n" for row in rows))
    return path


@pytest.fixture
def look(capsys, monkeypatch):
    """Run the command: (what it prints, the words of the command line that it ends with)."""
    monkeypatch.setenv("COLUMNS", "150")

    def run(*words):
        assert commands.run("look", [*map(str, words)], began=0.0) == 0
        said = capsys.readouterr()
        assert said.err == ""
        start = "nothing was trained; this trains: jaxnet train "
        assert said.out.splitlines()[-1].startswith(start)
        return said.out, shlex.split(said.out.splitlines()[-1].removeprefix(start))

    return run


def _options(words):
    """What `train` understands of the words."""
    words = runner.with_dataset(current_words(words, print), "jaxnet train")
    return tyro.cli(TrainOptions, args=words)


def test_a_table(look, tmp_path, monkeypatch):
    path = _customers(tmp_path)
    monkeypatch.chdir(tmp_path)
    said, words = look(path)
    for note in jaxnet.load(path).notes:
        assert note in said
    columns = {line.split()[0]: line for line in said.splitlines() if line.startswith(" ")}
    for name, becomes in {
        "customer_id": "left out",
        "age": "number",
        "plan": "2 categories: basic, pro",
        "signup": "date: month, weekday, days",
        "fee": "number in kg",
        "churned": "label",
    }.items():
        assert re.match(rf" {name} +{becomes} ", columns[name])
    assert "20, 21, 22" in columns["age"]
    assert "2024-01-01, 2024-02-02" in columns["signup"]
    assert re.search(r" no +45 +75\.00%", said)
    assert words == [str(path), "--label", "churned"]
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_the_command_line_reads_the_same(look, tmp_path):
    path = _customers(tmp_path, "\t").rename(tmp_path / "no names.txt")
    asked = ("--separator", "tab", "--no-header", "--types", "f0=drop", "f1=category")
    asked += ("--drop-columns", "f3", "f2", "--label", "f4", "--split-seed", "3", "--test", "0.3")
    with pytest.raises(jaxnet.InputError):
        jaxnet.load(path, label="f4")  # not without them
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    said, words = look(path, *asked)
    mine, theirs = read(_options([str(path), *asked]))[0], read(_options(words))[0]
    assert mine.notes == theirs.notes
    assert mine.columns == theirs.columns
    np.testing.assert_array_equal(mine.test.x, theirs.test.x)
    assert "18 test examples" in said


def test_a_regression_an_npz_file_and_a_folder_of_images(look, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=x, y=np.linspace(2, 7, 40))
    said, words = look(tmp_path / "a.npz", "--validation", "0.2")
    assert "values to learn: from 2 to 7, median 4.5" in said
    assert words == [str(tmp_path / "a.npz"), "--validation", "0.2"]
    for name, count in (("cat", 12), ("dog", 6)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (4, 4), i).save(tmp_path / "pets" / name / f"{i}.png")
    said, words = look("--dataset", tmp_path / "pets")
    assert "classification into 2 classes; inputs: 4x4" in said
    assert re.search(r" cat +12 +66\.67%", said)
    assert words == [str(tmp_path / "pets")]


def test_a_problem_has_the_message_of_train(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.csv"
    path.write_text("a,a,y\n" + "1,2,p\n3,4,q\n" * 20)
    said = []
    for command in ("look", "train"):
        words = [str(path), "--label", "why"]
        assert commands.run(command, words, began=0.0) == 2
        said.append(capsys.readouterr().err)
    assert said[0] == said[1]
    assert said[0].startswith(f"error: {path}: ")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_what_it_says_goes_to_a_file(look, capsys, tmp_path):
    path = _customers(tmp_path)
    said, _ = look(path)
    assert commands.run("look", [str(path), "--out", str(tmp_path / "out/a.txt")], began=0.0) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "out/a.txt").read_text() == said

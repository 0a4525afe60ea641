"""Names that would steer a terminal or cannot be encoded: shown escaped wherever text leaves the
program, and never in the way.
"""

import codecs
import csv
import io
import json
import logging
import os
import pickle
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import jaxnet
from jaxnet.display import visible
from jaxnet.engine.checkpoint import DamagedError
from jaxnet.report import console, figures
from jaxnet.report.html import document
from jaxnet.runtime import files
from jaxnet.runtime.interrupts import log_to

STEERING = (
    "\x00\x07\x08\x0c\r\n\t\x1b\x7f\x85\x9b\u061c\u200e\u200f"
    "\u2028\u2029\u202a\u202e\u2066\u2069\ufeff"
)
NASTY = {
    "red\x1b[31m": r"red\x1b[31m",
    "two\nlines\r": r"two\nlines\r",
    "bell\x07\x00": r"bell\x07\x00",
    "over\u202ewrite\u2069": r"over\u202ewrite\u2069",
    "half\udc80\ud83d": r"half\udc80\ud83d",
}
PLAIN = ("", "Äpfel, 梨 and 👍🏽", "می‌خواهم", "a\\nb", "[bold]<b>$x$", "e\u0301")


def unseen(text):
    return sorted(
        {
            character
            for character in text
            if character in STEERING or "\ud800" <= character <= "\udfff"
        }
        - {"\n"}
    )


def test_what_steers_or_cannot_be_encoded_is_escaped():
    for name, shown in NASTY.items():
        assert visible(name) == shown
        assert visible(shown) == shown
    for character in STEERING:
        assert codecs.decode(visible(character), "unicode_escape") == character
        assert visible(character).isprintable()
    for name in PLAIN:
        assert visible(name) == name


def test_messages():
    for name, shown in NASTY.items():
        for error in (
            jaxnet.InputError(f"column {name} is empty"),
            DamagedError(f"column {name} is empty", Path("x")),
        ):
            assert str(error) == f"column {shown} is empty"
        assert str(pickle.loads(pickle.dumps(jaxnet.InputError(name)))) == shown
    with pytest.raises(jaxnet.InputError) as refusal:
        jaxnet.load("no\x1b[2J\nsuch\udc80.csv")
    assert r"no\x1b[2J\nsuch\udc80.csv" in str(refusal.value)


def test_logs(tmp_path, caplog, capsys):
    logger, spoken = logging.getLogger("jaxnet"), console.LogPrinter()
    for name, shown in NASTY.items():
        logger.warning("model %s has %d layers", name, 2)
        assert caplog.records[-1].getMessage() == f"model {shown} has 2 layers"
        logger.warning(f"100% of {name}")
        spoken.emit(caplog.records[-1])
        assert capsys.readouterr().out == f"warning: 100% of {shown}\n"
        with log_to(tmp_path) as log:
            log(f"group {name}")
        assert (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()[
            -1
        ] == f"group {shown}"


def test_the_console(capsys):
    for name, shown in {**NASTY, **{name: name for name in PLAIN}}.items():
        console.say(name)
        console.say("", f"[red]{name}[/red]")
        console.error(name)
        said = capsys.readouterr()
        assert said.out == f"{shown}\n\n[red]{shown}[/red]\n"
        assert said.err == f"error: {shown}\n"
    console.layers("[b]net\x1b", [("dense\x1b[31m[b]", "3x2", 6), ("total", "", 6)])
    assert r"dense\x1b[31m[b]" in capsys.readouterr().out


def test_files(tmp_path):
    names = [*NASTY, *PLAIN]
    files.write_json(tmp_path / "result.json", {"classes": names, **dict.fromkeys(NASTY, 1)})
    # data are kept as they are
    assert files.read_json(tmp_path / "result.json") == {
        "classes": names,
        **dict.fromkeys(NASTY, 1),
    }
    files.write_text(tmp_path / "labels.csv", "".join(names))
    assert (tmp_path / "labels.csv").read_text(encoding="utf-8")


def test_the_page():
    for name, shown in NASTY.items():
        page = document.document(
            name,
            document.section(
                name, document.table([document.text(name)], [[document.text(name)]], caption=name)
            ),
        )
        assert page.encode("utf-8")
        assert not unseen(page)
        assert page.count(shown) == 6  # title twice, and heading, caption, head and cell


def test_figures(tmp_path):
    classes = tuple(NASTY)
    figures.confusion(np.eye(len(classes), dtype=int), classes, tmp_path / "confusion.png")
    x = np.zeros((6, 4, 4), np.uint8)
    figures.wrong_images(
        x, np.arange(6) % 5, np.log(np.full((6, 5), 0.2)), classes, 255.0, tmp_path / "wrong.png"
    )
    for path in tmp_path.glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    assert {path.name for path in tmp_path.glob("*.png")} == {"confusion.png", "wrong.png"}


def test_runs_and_exports_keep_the_names(tmp_path):
    rng = np.random.default_rng(0)
    splits = jaxnet.split(
        rng.normal(size=(60, 2)).astype(np.float32), np.arange(60) % 5, seed=0, classes=tuple(NASTY)
    )
    run = jaxnet.fit(jaxnet.linear(), splits, jaxnet.Recipe(epochs=1), jax.random.key(0))
    jaxnet.save(run, tmp_path / "run")
    assert jaxnet.restore(tmp_path / "run").classes == tuple(NASTY)
    jaxnet.export(run, tmp_path / "export")
    readme = (tmp_path / "export/README.md").read_text(encoding="utf-8")
    assert not unseen(readme)
    assert json.loads(readme.split("```json\n")[1].split("\n```")[0]) == list(NASTY)
    assert run._repr_html_().encode("utf-8")


def named_in_bytes(path, name):
    """A path whose last part need not be UTF-8; skips where the disk refuses that."""
    made = path / os.fsdecode(name)
    try:
        made.mkdir()
        made.rmdir()
    except OSError:
        pytest.skip("this disk wants names in UTF-8")
    return made


def test_a_nasty_table_on_an_ascii_terminal(tmp_path):
    table = named_in_bytes(tmp_path, b"caf\xe9\x1b[31m.csv")
    rng = np.random.default_rng(0)
    words = ["red\x1b[31m", "c1\x85 and bell\x07", "over\u202ewrite"]
    sizes = rng.normal(size=200)
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["size\x1b[2J", "kind\u2028new", "label\u202e"])
        writer.writerows(
            [size, rng.choice(words), words[int(np.digitize(size, [-0.5, 0.5]))]] for size in sizes
        )
    environment = {
        **os.environ,
        "PYTHONIOENCODING": "ascii",
        "LANG": "C",
        "LC_ALL": "C",
        "JAX_PLATFORMS": "cpu",
    }
    options = ["--dataset", table, "--epochs", "1", "--hidden", "4", "--out", tmp_path / "run"]
    command = [sys.executable, "-m", "experiments.train", *options]
    done = subprocess.run(command, capture_output=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    said = done.stdout.decode("ascii")
    assert r"caf\udce9\x1b[31m.csv: classification into 3 classes; inputs: 4;" in said
    assert r"c1\x85 and bell\x07" in said
    assert not unseen(said)
    result = json.loads((tmp_path / "run/result.json").read_text(encoding="ascii"))
    assert result["dataset"]["classes"] == sorted(words)
    assert result["dataset"]["name"] == table.name
    for name in ("report.html", "history.csv", "log.txt", "run.json"):
        assert not unseen((tmp_path / "run" / name).read_text(encoding="utf-8"))


def test_classes_that_are_not_utf_8(tmp_path, monkeypatch):
    from jaxnet.cli import runner
    from jaxnet.cli.options import TrainOptions

    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    names = [named_in_bytes(images, name) for name in (b"caf\xe9", b"th\xe9\x1b[31m")]
    for number, name in enumerate(names):
        name.mkdir()
        for i in range(30):
            picture = io.BytesIO()
            Image.fromarray((rng.integers(0, 128, (6, 6)) + 120 * number).astype(np.uint8)).save(
                picture, "PNG"
            )
            (name / f"{i}.png").write_bytes(picture.getvalue())
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    options = [
        "--dataset",
        str(images),
        "--epochs",
        "1",
        "--hidden",
        "4",
        "--no-cache",
        "--out",
        str(tmp_path / "run"),
    ]
    status = runner.main("train", TrainOptions(), "", began=time.perf_counter(), arguments=options)
    terminal.seek(0)
    assert status == 0
    assert r"th\udce9\x1b[31m" in terminal.read()
    assert jaxnet.cli.run_folder.read_json(tmp_path / "run/result.json")["dataset"]["classes"] == [
        name.name for name in names
    ]
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert r"caf\udce9" in page
    assert not unseen(page)

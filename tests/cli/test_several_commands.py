"""Tables with several values or several labels on the command line."""

import csv
import io
import json
import logging

import numpy as np
import pandas as pd
import pytest
from scripts import check_result
from sklearn import metrics as sk

import jaxnet
from jaxnet.cli import commands

WORDS = ("--members", 8, "--hidden", 4, "--epochs", 3, "--platform", "cpu")


@pytest.fixture(scope="module")
def table():
    """Four columns, two values of very different spread and three labels in three spellings."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    values = x @ rng.normal(size=(4, 2)) * [1, 100] + rng.normal(size=(200, 2))
    labels = x @ rng.normal(size=(4, 3)) + rng.normal(size=(200, 3)) > [0, 0.3, 0.6]
    frame = pd.DataFrame(x, columns=list("abcd")).assign(width=values[:, 0], height=values[:, 1])
    return frame.assign(
        warm=np.where(labels[:, 0], "yes", "no"), windy=labels[:, 1].astype(int), wet=labels[:, 2]
    )


def run(name, *words):
    return commands.run(name, [*map(str, words)], began=0.0)


@pytest.mark.parametrize(
    ("columns", "more"),
    [(("width", "height"), ()), (("warm", "windy", "wet"), ("--task", "multi-label"))],
    ids=["values", "labels"],
)
def test_a_table_of_several_columns_is_diagnosed_and_predicted(
    columns, more, table, tmp_path, capsys, caplog
):
    caplog.set_level(logging.WARNING, "jaxnet")
    path, out = tmp_path / "rooms.csv", tmp_path / "run"
    table[[*"abcd", *columns]].to_csv(path, index=False)
    asked = ("diagnose", path, "--label", *columns, *more, *WORDS, "--out", out)
    assert run(*asked) == 0
    check_result(asked, tmp_path)
    said = " ".join(capsys.readouterr().out.split())
    found = json.loads((out / "result.json").read_text())
    page = (out / "report.html").read_text()
    assert found["dataset"]["targets"] == [*columns]
    assert found["verdict"] in said
    assert found["verdict"].split(":")[0] in page
    for column in columns:
        score = "AUC" if more else "R²"
        assert f"{score} of {column} " in said
        assert f"{score} of {column}" in page

    new = table.head(20)[[*"abcd"]]
    new.to_csv(tmp_path / "new.csv", index=False)
    assert run("predict", tmp_path / "new.csv", "--run", out, "--platform", "cpu") == 0
    rows = [*csv.DictReader(io.StringIO(capsys.readouterr().out))]
    network = jaxnet.restore(out / "params")
    expected = np.asarray(jaxnet.predict(jaxnet.mlp((4,)), network, new))
    said = np.array([[float(row[column]) for column in columns] for row in rows])
    if not more:
        np.testing.assert_allclose(said, expected, rtol=1e-5)
    else:
        np.testing.assert_array_equal(said, expected > np.log(0.5))
        p = np.array([[float(row[f"p({column})"]) for column in columns] for row in rows])
        np.testing.assert_allclose(p, np.exp(expected), atol=1e-6)

    splits = jaxnet.load(path, label=columns, task="multi-label" if more else None)
    y, outputs = splits.test.y, jaxnet.predict(jaxnet.mlp((4,)), network, splits.test.x)
    if more:
        theirs = sk.hamming_loss(y, outputs > np.log(0.5))
    else:
        both = splits.train.y, splits.validation.y  # the kept network trained on the whole pool
        spread = np.concatenate(both).astype(np.float64).std(0)
        theirs = sk.mean_squared_error(np.float64(y) / spread, np.float64(outputs) / spread)
    assert found["error"]["test"]["estimate"] == pytest.approx(theirs, rel=1e-6)

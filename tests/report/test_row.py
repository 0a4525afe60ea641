"""The form for a row of a table, in a real browser, against `predict` on the same cells."""

import csv

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet.data.sources.examples import read_examples
from jaxnet.report.html.document import document
from jaxnet.report.html.row import row_form

ROWS = 100
KINDS = {"classes": "kind", "values": "price"}
PREDICT = """rows => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const network = makeNetwork(read("network")), row = read("row");
  return rows.map((cells) => {
    const { x, refused } = encodeRow(row, cells);
    return refused.length ? refused : predictRow(network, row, x);
  });
}"""


def table(rng, rows):
    """Rows with gaps in numbers, dates and categories, and a category that is rare."""
    size = rng.normal(100, 20, rows)
    color = rng.choice(["red", "green", "blue, dark"], rows)
    start = np.datetime64("2019-03-01T00:00:00")
    when = start + rng.integers(0, 900 * 24, rows).astype("timedelta64[h]")
    value = size + 10.0 * (color == "red") + when.astype(int) % 86400 / 3600
    gap = rng.random((3, rows)) < 0.1
    return [
        {
            "size": "" if gap[0, i] else f"{size[i]:.3f}",
            "color": "" if gap[1, i] else str(color[i]),
            "when": "" if gap[2, i] else str(when[i]),
            "kind": "high" if value[i] > 115 else "low",
            "price": f"{value[i]:.4f}",
            "large": f"{1e9 + value[i]:.4f}",
        }
        for i in range(rows)
    ]


def write(path, rows, names):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("name", KINDS)
def test_the_form_agrees_with_predict(name, browser, tmp_path):
    rng, label = np.random.default_rng(0), KINDS[name]
    inputs = ["size", "color", "when"]
    splits = jaxnet.load(write(tmp_path / "a.csv", table(rng, 300), [*inputs, label]), label=label)
    model = jaxnet.mlp((16,))
    run = jaxnet.fit(model, splits, jaxnet.Recipe(epochs=2), jax.random.key(0))
    rows = table(rng, ROWS)
    rows[0] |= {"color": "violet"}
    rows[1] |= {"size": "", "color": "", "when": ""}
    new = read_examples(
        write(tmp_path / "b.csv", rows, inputs), run.shape, run.schema, strict=False
    )
    assert len(new.usable) == ROWS
    wanted = np.asarray(jaxnet.predict(model, run, new.x)).reshape(ROWS, -1)
    form = row_form(model, [run], splits)
    scripts = ("page.js", "network.js", "row.js")
    path = tmp_path / "page.html"
    path.write_text(document("row", form.html, scripts=scripts, read=form.read))
    tab, heard = browser.new_page(), []
    tab.on("pageerror", lambda error: heard.append(str(error)))
    tab.goto(path.as_uri())
    found = np.array(tab.evaluate(PREDICT, [[row[each] for each in inputs] for row in rows]))
    spread = 1.0 if splits.classes is not None else np.std(splits.train.y)
    if splits.classes is not None:
        found, wanted = np.exp(found), np.exp(wanted)
    assert np.abs(found - wanted).max() <= 1e-5 * spread
    # the controls begin with a row of the test set
    first = jaxnet.predict(model, run, splits.test.x[:1])
    said = tab.inner_text("#row-answer")
    if splits.classes is None:
        assert float(said.split("=")[1]) == pytest.approx(float(first[0]), rel=1e-4)
    else:
        assert said.split(",")[0] == splits.classes[int(np.argmax(first[0]))]
    assert not heard
    tab.close()

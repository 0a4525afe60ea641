"""The page of examples of a census: what it shows is what the census says, and is escaped."""

import csv
import re
from html import unescape

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet.report.html.gallery import COLUMNS, MOST, NEIGHBORS, gallery
from jaxnet.studies.census import census

HOSTILE = "<script>alert('a')</script>"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A table of two kinds that networks tell apart, with every tenth label wrong, and names that
    would be markup.
    """
    rng = np.random.default_rng(0)
    kind, size = rng.integers(0, 2, 300), rng.normal(size=(300, COLUMNS))
    path = tmp_path_factory.mktemp("gallery") / "a.csv"
    with path.open("w", newline="") as opened:
        writer = csv.writer(opened)
        others = [f"x{i}" for i in range(COLUMNS - 1)]
        writer.writerow([HOSTILE, "<b>color</b>", *others, "label", "price"])
        for i in range(300):
            right = kind[i] if i % 10 else 1 - kind[i]
            first = f"{size[i, 0] + 6 * kind[i]:.2f}"
            color = ("<i>red", "blue & green")[int(rng.integers(2))]
            others = [f"{each:.1f}" for each in size[i, 1:]]
            label = (f"no{HOSTILE}", "yes")[right]
            writer.writerow([first, color, *others, label, f"{3 * kind[i] + size[i, 0]:.3f}"])
    return path


def found_in(file, label, dropped):
    splits = jaxnet.load(file, label=label, drop_columns=[dropped], seed=0)
    recipe = jaxnet.Recipe(epochs=10, learning_rate=3e-2)
    return census(jaxnet.linear(), splits, recipe, jax.random.key(0), members=32)


@pytest.fixture(scope="module")
def of_classes(file):
    found = found_in(file, "label", "price")
    return found, gallery(found)


def part_of(page, title):
    return re.findall(rf'<section id="{title}">(.*?)</section>', page, re.DOTALL)[0]


def test_an_example_opens_with_its_row_neighbors_and_predicted_gains(of_classes):
    found, page = of_classes
    part = part_of(page, "mislabeled")
    assert f"{len(found.mislabeled)} of 210 training examples are shown to be mislabeled" in part
    assert len(found.mislabeled) > MOST
    assert f"The first {MOST} are shown." in part
    opened = re.findall("<details>.*?</details>", part, re.DOTALL)
    assert len(opened) == MOST
    assert page.count("<details>") <= 6 * MOST
    for row, one in zip(found.mislabeled, opened, strict=False):
        said = unescape(re.sub("<[^>]*>", " ", one))
        y, suggested = int(found.splits.train.y[row]), int(found.suggested_label[row])
        assert f"row {row}: label  {found.splits.classes[y]}" in said
        assert f"suggested: {found.splits.classes[suggested]}" in said
        for gain in (found.without([row]), found.with_labels([row], [suggested])):
            low, high = (f"{100 * each:z.3f}" for each in (gain.low, gain.high))
            assert f"{100 * gain.estimate:z.3f} <small>{low} to {high}</small>" in one
        why = found.why(int(row), "train", k=NEIGHBORS)
        for kind, rows in (("supports", why.supporting), ("opposes", why.opposing)):
            for other in rows:
                assert f"{kind} {why.effects[other]:+.3f}" in one
        first = f"{found.splits.train.x[row, 0]:.2f}".rstrip("0").rstrip(".")
        assert f"<td>{first}</td>" in one
        assert "; 1 more columns are not shown" in one


def test_names_of_the_user_are_escaped(of_classes):
    _, page = of_classes
    for name in (HOSTILE, "<b>color</b>", "<i>red", "blue & green"):
        assert name not in page
    assert "&lt;script&gt;alert(&#x27;a&#x27;)&lt;/script&gt;" in page
    assert "&lt;i&gt;red" in page


def test_values_have_the_lists_that_apply(file):
    found = found_in(file, "price", "label")
    page = gallery(found)
    names = re.findall('<section id="(.*?)">', page)
    assert names == [
        *("verdict", "harmful", "most-valuable", "hardest", "largest-errors-on-the-test-set")
    ]
    hardest = int(np.argmax(found.difficulty))
    first = re.findall("<summary>.*?</summary>", part_of(page, "hardest"))[0]
    assert f"row {hardest}: y <b>" in first
    assert "nan" not in page

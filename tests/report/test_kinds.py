"""The page of each kind of run, as somebody sees it: accessible, and with no text that is cut or
lies on other text.
"""

import csv
import itertools
import json

import numpy as np
import pytest
from scripts import run_here

DESKTOP, PHONE = {"width": 1300, "height": 900}, {"width": 390, "height": 844}
# Text that a box or the edge of a figure cuts, and ticks that overlap. A figure stands in columns:
# each shows a part of the first.
CUT = """() => {
  const cut = [];
  const told = (each) => `${each.tagName} ${each.textContent.trim().slice(0, 60)}`;
  for (const each of document.querySelectorAll("main *, header *")) {
    const clips = getComputedStyle(each).overflowX !== "visible" && !each.closest("svg");
    if (clips && each.scrollWidth > each.clientWidth + 1) cut.push(told(each));
  }
  const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.4 * Math.min(a.height, b.height);
  for (const panels of document.querySelectorAll(".panels")) {
    const views = [...panels.querySelectorAll("svg.chart")].map((each) => each.viewBox.baseVal);
    const first = panels.querySelector("svg.chart");
    const { left, top } = first.getBoundingClientRect();
    const scale = first.getScreenCTM().a;
    for (const words of first.querySelectorAll("text")) {
      const box = words.getBoundingClientRect(); // with room above and below the letters
      const from = (box.left - left) / scale, to = (box.right - left) / scale;
      const above = (box.top - top) / scale, below = (box.bottom - top) / scale;
      const whole = views.some((view) => from > view.x - 2 && to < view.x + view.width + 2
        && above > -8 && below < view.height + 8);
      if (box.width && !whole) cut.push(told(words));
    }
    for (const axis of first.querySelectorAll("[id*='matplotlib.axis_']")) {
      const ticks = [...axis.querySelectorAll("text")].map((each) => each.getBoundingClientRect());
      ticks.forEach((a, i) => ticks.slice(i + 1).forEach((b) => {
        if (overlap(a, b)) cut.push(`overlap in ${told(axis)}`);
      }));
    }
  }
  return cut;
}"""
SMALL = ("--epochs", 2, "--hidden", 8)
KINDS = {
    "classes": ("train", "classes.csv", "--members", 8, *SMALL),
    "values": ("train", "values.csv", *SMALL),
    "sweep": ("sweep", "--trials", 4, "--space", "learning_rate=1e-3:1", "dropout=0:0.5", *SMALL),
    "learning curve": ("learning_curve", "classes.csv", "--members", 4, *SMALL),
    "labels": ("labels", "--members", 12, *SMALL),
    "census": ("census", "--members", 16, *SMALL),
    "seeds": ("seeds", "--members", 3, *SMALL),
    "bias and variance": ("bias_variance", "classes.csv", "--members", 4, *SMALL),
    "advise": ("advise", "classes.csv", "--seconds", 5, *SMALL),
    "shift": ("shift", "--repetitions", 1, *SMALL),
    "compare": ("compare", "the_first_of_three", "second", "third"),
}


def write_tables(folder):
    """Two tables: long names of classes, and values in the hundreds of thousands."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 3))
    job = rng.choice(["teacher", "nurse", "self-employed, other"], 240)
    value = x @ [1.0, -1.0, 0.5] + (job == "nurse") + 0.5 * rng.normal(size=240)
    names = np.array(["in full", "late", "never repaid at all"])
    labels = names[np.searchsorted([-0.5, 0.7], value)]
    for name, y in (("classes", labels), ("values", np.round(3e5 + 1e5 * value))):
        with open(folder / f"{name}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["age", "income", "the_amount_in_euros_at_the_start", "job", "y"])
            writer.writerows([*row, j, each] for row, j, each in zip(x, job, y, strict=True))


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.slow] if kind in ("advise", "shift") else [])
        for kind in KINDS
    ],
)
def test_a_page_is_accessible_and_nothing_on_it_is_cut(kind, tmp_path, browser, monkeypatch):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-core is not installed"
    ).Axe()
    monkeypatch.chdir(tmp_path)
    write_tables(tmp_path)
    script, *options = KINDS[kind]
    for seed, name in enumerate(options if kind == "compare" else ()):
        run_here("classes.csv", "--seed", seed, *SMALL, "--no-cache", "--out", name)
    run_here(*options, "--no-cache", "--out", tmp_path / "run", script=script)
    if kind == "advise":  # one network and no target error: remedies could undo what helped
        judged = json.loads((tmp_path / "run/result.json").read_text())["findings"]
        assert "high_bias" not in {each["code"] for each in judged}
    pages = sorted((tmp_path / "run").glob("*.html"))
    assert [page.stem for page in pages] == ["examples"] * (kind == "census") + ["report"]
    for page, (size, scheme) in itertools.product(pages, ((DESKTOP, "light"), (PHONE, "dark"))):
        context = browser.new_context(viewport=size, color_scheme=scheme, offline=True)
        tab = context.new_page()
        tab.goto(page.as_uri())
        tab.evaluate(
            "document.querySelectorAll('details').forEach((each) => { each.open = true; })"
        )
        found = axe.run(tab).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
        assert tab.evaluate(CUT) == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]
        context.close()

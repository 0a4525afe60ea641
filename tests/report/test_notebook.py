"""What a notebook shows: HTML of what is known already, for every way in which trainings can end,
with nothing computed by JAX.
"""

import base64
import io
import pickle
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import jax
import numpy as np
import pytest
from PIL import Image

import jaxnet
from jaxnet import Diagnosis, Halving, Population, Recipe
from jaxnet.diagnostics import Estimate

RECIPE = Recipe(epochs=4, batch_size=64, learning_rate=3e-3, schedule="constant")
VOID = ("img", "br", "meta")
# In a process in which JAX has not started, nor may start.
SHOW = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    shown = [each._repr_html_() for each in pickle.load(file)]
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized()
print(sum(map(len, shown)))
"""


class Page(HTMLParser):
    """Checks that elements are closed in turn, and gathers tables, text and pictures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.rows, self.text, self.pictures, self.tags = (
            list[str](),
            list[list[str]](),
            "",
            list[Image.Image](),
            set[str](),
        )
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.add(tag)
        if tag == "img":
            assert given["alt"]
            self.pictures.append(
                Image.open(
                    io.BytesIO(
                        base64.b64decode(given["src"].removeprefix("data:image/png;base64,"))
                    )
                )
            )
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        if self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def keys():
    return jax.random.split(jax.random.key(0), 10)


@pytest.fixture(scope="module")
def many(digits, keys):
    """Ten networks with learning rates of their own, of which the last two diverge."""
    rates = np.array([*np.geomspace(1e-4, 0.1, 8), 1e30, 1e30])
    recipe = Recipe(
        optimizer="sgd", epochs=4, batch_size=64, learning_rate=rates, schedule="constant"
    )
    return jaxnet.fit_population(jaxnet.mlp((16,)), digits, recipe, keys, order_key=keys[0])


@pytest.fixture(scope="module")
def diagnosis():
    """Of wrong predictions at known rates, by 16 networks and by four partitions of two sizes."""
    generator = np.random.default_rng(0)

    def part(examples, wrong, members=16):
        y = generator.integers(0, 10, examples)
        return np.where(generator.random((members, examples)) < wrong, (y + 1) % 10, y), y

    train, validation, test = part(400, 0.02), part(400, 0.2), part(500, 0.2)
    pieces = {
        k: np.where(generator.random((4 * k, 500)) < wrong, (test[1] + 2) % 10, test[1])
        for k, wrong in ((2, 0.25), (4, 0.3))
    }
    return Diagnosis.from_predictions(train, validation, test, partitions=pieces)


def test_a_diagnosis_shows_what_it_prints(diagnosis):
    page = Page(diagnosis._repr_html_())
    assert diagnosis.verdict in page.text
    assert diagnosis.verdict.startswith("high variance")
    assert page.rows[0] == ["", "examples", "error", "95% interval"]
    for row, (name, error) in zip(page.rows[1:4], diagnosis.errors.items(), strict=True):
        assert row[0].startswith(
            {"train": "training", "validation": "validation", "test": "test"}[name]
        )
        assert row[1:] == [
            str(diagnosis.examples[name]),
            f"{error.estimate:.2%}",
            f"{error.low:.2%} to {error.high:.2%}",
        ]
    for finding in diagnosis.findings:
        assert finding.code.words in page.text
        assert finding.evidence in page.text
    claimed = next(finding for finding in diagnosis.findings if finding.claimed)
    assert "Try next: " + "; ".join(remedy.told for remedy in claimed.remedies) in page.text
    apart = {row[0]: row[1] for row in page.rows[5:]}
    for each in diagnosis.decompositions:
        if each.design == "partition":
            assert (
                apart[f"trained on {each.training} examples: bias (squared)"]
                == f"{each.bias.estimate:.2%}"
            )
            assert (
                apart[f"trained on {each.training} examples: variance"]
                == f"{each.variance.estimate:.2%}"
            )
    assert apart["all 16 networks voting"] == f"{diagnosis.ensemble.ensemble.estimate:.2%}"
    assert len(page.pictures) == 1
    assert page.pictures[0].size[0] > 2 * page.pictures[0].size[1]  # two panels
    assert len(diagnosis._repr_html_()) < 300_000


def test_what_comes_from_outside_is_escaped(diagnosis, many):
    evil = "<script>alert(1)</script> & \"$x_1$\" 'y'"
    found = replace(
        diagnosis,
        verdict=evil,
        notes=(evil,),
        findings=(replace(diagnosis.findings[0], evidence=evil),),
    )
    run = replace(many.runs[0], model=evil)
    for shown in (found, replace(many, runs=(run,)), replace(many, runs=(run,))[0]):
        page = Page(shown._repr_html_())
        assert "script" not in page.tags
        assert evil in page.text


def test_a_diagnosis_of_one_network_and_of_values():
    generator = np.random.default_rng(1)
    y = generator.normal(size=200)
    one = Diagnosis.from_predictions((y + 0.1, y), test=(y + generator.normal(size=200), y))
    page = Page(one._repr_html_())
    assert "one network; its numbers are for this network only" in page.text
    assert "share of the variance of y" in page.text
    assert "bias-variance decomposition" not in page.text
    assert len(page.pictures) == 1


def test_a_diagnosis_without_numbers(diagnosis):
    """As where all networks diverged: no estimate, no interval, nothing claimed."""
    none = Estimate(float("nan"), refused="no network is left")
    parts = tuple(replace(each, bias=none, variance=none) for each in diagnosis.decompositions)
    found = replace(
        diagnosis,
        errors=dict.fromkeys(diagnosis.errors, none),
        decompositions=parts,
        findings=(),
        ensemble=None,
        diverged=12,
    )
    page = Page(found._repr_html_())
    assert page.rows[1] == ["training set", "400", "–", "no interval"]
    assert "12 networks diverged and were left out" in page.text


def test_a_population_shows_who_ended_how(many):
    page = Page(many._repr_html_())
    assert "10 networks: 8 finished, 2 diverged" in page.text
    assert "10 x mlp" in page.text
    assert "learning rate 0.0001 to 1e+30" in page.text
    head, *rows = page.rows
    assert head == [
        "member",
        "learning rate",
        "epochs",
        "train loss",
        "train accuracy",
        "validation loss",
        "validation accuracy",
        "",
    ]
    assert [row[0] for row in rows[:6]] == ["0", "1", "2", "3", "4", "5"]
    history = many.run.history
    for member, row in enumerate(rows[:6]):
        assert row[5] == f"{history.validation_loss[member, -1]:.4g}"
        assert row[-1] == "finished"
    assert [row[0] for row in rows[6:]] == [
        "lowest",
        "lower quartile",
        "median",
        "upper quartile",
        "highest",
    ]
    assert rows[8][6] == f"{np.median(history.validation_accuracy[:8, -1]):.4g}"
    assert rows[-1][1] == "0.1"  # of those that did not diverge
    assert len(page.pictures) == 1


def test_members_that_all_diverged(many):
    page = Page(
        Population(
            (jax.tree.map(lambda leaf: np.asarray(leaf)[8:], many.runs[0]),), (np.arange(2),)
        )._repr_html_()
    )
    assert "2 networks: 2 diverged" in page.text
    assert [row[0] for row in page.rows] == ["member", "0", "1"]


def test_one_member_and_no_validation_set(keys):
    x = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    splits = jaxnet.split(x, x[:, 0], validation=0.0, test=0.2)
    page = Page(
        jaxnet.fit_population(
            jaxnet.linear(), splits, replace(RECIPE, epochs=1), keys[:1]
        )._repr_html_()
    )
    assert "1 network: 1 finished" in page.text
    assert page.rows[0] == ["member", "epochs", "train loss", ""]
    assert len(page.rows) == 2


def test_structures_that_differ_and_members_that_stopped(digits, keys):
    models = [jaxnet.mlp((8,)), jaxnet.mlp((16,))] * 4
    recipes = [
        replace(RECIPE, epochs=4 + 2 * (i % 2), dropout=0.1 if i % 2 else None) for i in range(8)
    ]
    many = jaxnet.fit_population(models, digits, recipes, keys[:8], halving=Halving((2,), keep=0.5))
    page = Page(many._repr_html_())
    assert "8 networks: 4 finished, 4 stopped by halving" in page.text
    assert page.text.count("4 x mlp") == 2
    assert page.rows[0][:4] == ["member", "structure", "dropout", "epochs"]
    assert [row[1] for row in page.rows[1:7]] == ["1", "2"] * 3
    assert [row[2] for row in page.rows[1:3]] == ["–", "0.1"]
    stopped = np.flatnonzero(many.each(lambda run: run.halved))
    assert {i for i, row in enumerate(page.rows[1:7]) if row[-1] == "stopped by halving"} == set(
        stopped[stopped < 6]
    )


def test_a_run_shows_its_status_and_curves(digits, many, keys):
    run = jaxnet.fit(
        jaxnet.mlp((16,)),
        digits,
        replace(RECIPE, augmentation=jaxnet.Augmentation(noise=0.1)),
        keys[0],
    )
    page = Page(run._repr_html_())
    assert run.status in page.text
    assert "noise 0.1" in page.text
    assert page.rows[-1] == ["validation accuracy", f"{run.history.validation_accuracy[-1]:.4g}"]
    assert len(page.pictures) == 1
    lost = Page(many[9]._repr_html_())
    assert "diverged at step" in lost.text
    assert len(lost.pictures) == 1


def test_a_run_with_a_leading_member_axis_is_a_population(digits, keys):
    model = jaxnet.mlp((16,))
    runs = jax.vmap(lambda key: jaxnet.fit(model, digits, RECIPE, key))(keys[:3])
    assert "3 networks: 3 finished" in Page(runs._repr_html_()).text


def test_displays_compute_nothing(diagnosis, many, tmp_path, compilations):
    shown = [diagnosis, many, many[0], many[9]]
    before = len(compilations)
    with jax.transfer_guard("disallow"):
        for each in shown:
            each._repr_html_()
    assert len(compilations) == before
    (tmp_path / "shown").write_bytes(pickle.dumps(shown))
    done = subprocess.run(
        [sys.executable, "-c", SHOW, str(tmp_path / "shown")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]

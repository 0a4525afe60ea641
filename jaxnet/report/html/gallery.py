"""The page of examples of a census: those that stand out, and for each of them what the networks
show, the training examples that support and oppose its label, and what a change would gain.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int

from jaxnet import arrays
from jaxnet.data import Dataset
from jaxnet.display import rounded
from jaxnet.errors import InputError
from jaxnet.population.predictions import predict
from jaxnet.report.html.document import anchor, document, png, section, table, text
from jaxnet.report.html.examples import picture
from jaxnet.report.html.row import OTHER_CATEGORY, cells
from jaxnet.stats.estimate import Estimate

if TYPE_CHECKING:
    from jaxnet.studies.census_result import Census
    from jaxnet.studies.census_why import Part, Why

MOST = 6  # examples of a list
NEIGHBORS = 4  # training examples that support a label, and as many that oppose it
COLUMNS = 12  # of a table
DECIMALS = 3  # of percentage points: what a single example changes is small


class Listed(NamedTuple):
    """Examples that stand out in one way.

    Attributes:
        title: what they are, as the heading of a section.
        words: how they were chosen, as a sentence.
        part: the part of the data that they are from.
        rows: their rows there, the first ones of which are shown.
        mark: what each row is known for, in a few words.
    """

    title: str
    words: str
    part: "Part"
    rows: Int[np.ndarray, " listed"]
    mark: Callable[[int], str]


class Example(NamedTuple):
    """How an example looks on the page.

    Attributes:
        image: an img element; empty where inputs are no images.
        cells: its row of a table as text, for the columns that are shown.
    """

    image: str
    cells: list[str]


Neighbor = tuple[str, int, Example]  # whether it supports or opposes, its row, and how it looks


def gallery(census: "Census") -> str:
    """The page of examples of a census, as the text of an HTML file.

    Args:
        census: the census.
    """
    page = _Page(census)
    parts = {each.title: page.of_list(each) for each in _lists(census)}
    links = "".join(f'<a href="#{anchor(name)}">{text(name)}</a>' for name in parts)
    top = (
        '<section id="verdict"><p class="verdict">Examples that stand out, by '
        f"{census.members:,} networks on halves of {len(census.splits.train):,} examples</p>"
        f"<p>Open an example: what the networks show of it, the {NEIGHBORS} training examples that "
        f"support its label most and the {NEIGHBORS} that oppose it most, and what a change of the "
        f"training set is predicted to gain. Each list shows at most {MOST} examples; "
        '<a href="examples.csv">examples.csv</a> has all, and '
        '<a href="report.html">report.html</a> the whole census.</p></section>'
    )
    body = [
        top,
        f'<nav aria-label="lists">{links}</nav>',
        *(section(*one) for one in parts.items()),
    ]
    return document(f"census: examples of {census.splits.name}", "\n".join(body))


def _lists(census: "Census") -> Iterator[Listed]:
    """The lists of a census; those that are empty too, which say so."""
    rows, training = census.rows(), census.training

    def in_points(row: int) -> str:
        return f"value {_points(rows['value'][row])} points"

    if census.labels is not None:
        yield _mislabeled(census)
    gain = census.without(census.harmful) if len(census.harmful) else None
    yield Listed(
        "Harmful",
        f"{_count(len(census.harmful), training)} shown to be harmful: the error on unseen "
        f"examples is higher with them.{_together(gain)}",
        "train",
        census.harmful,
        in_points,
    )
    if census.labels is not None:
        attack = census.membership_inference()
        yield Listed(
            "Memorized",
            f"{_count(len(census.memorized), training)} shown to be memorized: networks are right "
            "on them more often by more than 25 points if they were trained on them.",
            "train",
            census.memorized,
            lambda row: f"memorized {rows['memorization'][row]:.1%}",
        )
        yield Listed(
            "Most exposed",
            "An attacker recognizes these as training examples most often: the share of the "
            "networks trained on them, at 1% false positives.",
            "train",
            attack.most_exposed,
            lambda row: f"recognized {rows['exposure'][row]:.1%}",
        )
    yield Listed(
        "Most valuable",
        "Training examples with the largest estimates of the unseen error without them minus with "
        f"them. As many other networks would agree with a correlation of "
        f"{census.value_reliability:z.2f}.",
        "train",
        np.argsort(-census.value, kind="stable")[:MOST],
        in_points,
    )
    if census.labels is None:
        yield Listed(
            "Hardest",
            "Training examples with the largest mean squared error of the networks that have not "
            "seen them.",
            "train",
            np.argsort(-census.difficulty, kind="stable")[:MOST],
            lambda row: f"error {rounded(100 * rows['error'][row])}% of the variance of y",
        )
    if len(census.splits.test) and not census.run.diverged:
        yield _of_test(census)


def _mislabeled(census: "Census") -> Listed:
    names, rows = census.splits.classes, census.mislabeled
    assert names is not None
    doubt = census.labels.doubt if census.labels is not None else None
    gain = census.without(rows) if len(rows) else None
    words = (
        f"{_count(len(rows), census.training)} shown to be mislabeled by both halves of the "
        f"networks, of which at most 5% are expected to be right.{_together(gain)}"
        + (f" {doubt[:1].upper()}{doubt[1:]}." if doubt else "")
    )

    def mark(row: int) -> str:
        suggested = names[census.suggested_label[row]]
        return f"wrong with probability {census.wrong_label[row]:.1%}, suggested: {suggested}"

    return Listed("Mislabeled", words, "train", rows, mark)


def _of_test(census: "Census") -> Listed:
    """The mistakes of the network that was trained on the whole pool, on the test set."""
    test, names = census.splits.test, census.splits.classes
    outputs, y = predict(census.trainer.model, census.run, test.x), np.asarray(test.y)
    outputs = np.asarray(outputs, np.float64)
    if names is None:
        rows = np.argsort(-np.abs(outputs - y), kind="stable")[:MOST]
        words = "Test examples with the largest errors of the saved network."
        return Listed(
            "Largest errors on the test set",
            words,
            "test",
            rows,
            lambda row: f"predicted {rounded(float(outputs[row]), 5)}",
        )
    confidence = np.exp(outputs.max(1))
    wrong = np.flatnonzero(arrays.wrong(outputs, y))
    rows = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return Listed(
        "Mistakes on the test set",
        f"{len(rows):,} of {len(y):,} test examples are predicted wrongly by the network of this "
        "folder, the most confident mistakes first.",
        "test",
        rows,
        lambda row: f"predicted {names[int(outputs[row].argmax())]} ({confidence[row]:.0%})",
    )


class _Page:
    """What all examples of the page share."""

    def __init__(self, census: "Census") -> None:
        self.census = census
        self.rows = census.rows()
        self.opened = dict[tuple[str, int], str]()
        self.columns = _columns(census.splits.train)
        self.label = "y" if census.regression else "label"

    def of_list(self, given: Listed) -> str:
        """A list as HTML."""
        shown = list(map(int, given.rows[:MOST]))
        words = text(given.words)
        if len(given.rows) > len(shown):
            words += f" The first {len(shown)} are shown."
        items = "".join(f"<li>{self.of_example(given, row)}</li>" for row in shown)
        return f"<p>{words}</p>" + (f'<ul class="gallery">{items}</ul>' if items else "")

    def of_example(self, given: Listed, row: int) -> str:
        """An example that can be opened."""
        part = self.census.splits.train if given.part == "train" else self.census.splits.test
        name = f"{'test row' if given.part == 'test' else 'row'} {row}"
        label = _label(part, row)
        looks = self.looks(part, row, f"{name}: {label}")
        known = (given.part, row)
        if known not in self.opened:  # an example may be in several lists
            self.opened[known] = self.inside(*known, looks)
        return (
            f"<details><summary>{looks.image}<span>{text(name)}: {self.label} <b>{text(label)}</b>"
            f"<br>{text(given.mark(row))}</span></summary>{self.opened[known]}</details>"
        )

    def looks(self, part: Dataset, row: int, words: str) -> Example:
        """How an example looks."""
        image, x = "", np.asarray(part.x[row])
        if part.pixel_max is not None:
            image = f'<img alt="{text(words)}" src="{png(picture(x, part.pixel_max))}">'
        if not self.columns:
            return Example(image, [])
        if part.columns is not None:
            found = cells(part.columns, x)[:COLUMNS]
            return Example(image, ["other" if one == OTHER_CATEGORY else one for one in found])
        return Example(image, [rounded(float(each), 5) for each in x[:COLUMNS]])

    def inside(self, part: "Part", row: int, looks: Example) -> str:
        """What is known of an example."""
        census = self.census
        why = census.why(row, part, k=NEIGHBORS)
        neighbors = [
            (kind, int(each), self.looks(census.splits.train, int(each), f"row {each}"))
            for kind, listed in (("supports", why.supporting), ("opposes", why.opposing))
            for each in listed
        ]
        facts = "" if part == "test" else self.numbers(row)
        opposing = [int(each) for each in why.opposing if each < census.training]
        gains = self.gains(row) if part == "train" else _gains(_without(census, opposing))
        on = "log-odds of the label"
        if census.regression:
            on = "negative squared error, in variances of y"
        said = (
            f"{'The mean' if census.regression else 'Most'} of {why.networks:,} networks that were "
            f"not trained on it predict{'s' * census.regression} {why.prediction}. Below are the "
            f"training examples that support and oppose its {self.label} most, with their effects "
            f"on the {on}. As many other networks would agree with a correlation of "
            f"{why.agreement:z.2f}" + ", so this ranking is mostly noise" * why.mostly_noise + "."
        )
        drawn = self.as_rows(looks, neighbors, why) if self.columns else _as_tiles(neighbors, why)
        return f'<div class="beside">{facts}{gains}</div><p>{text(said)}</p>{drawn}'

    def numbers(self, row: int) -> str:
        """What the networks show of a training example."""
        found, census = self.rows, self.census
        unit = "error, % of the variance of y" if census.regression else "wrong, % of the networks"
        limits = (found["low"][row], found["high"][row])
        listed = [
            (f"{unit}, that have not seen it", _percent(found["error"][row], *limits)),
            (f"{unit}, that were trained on it", _percent(found["seen_error"][row])),
            (
                "value, points",
                _points(found["value"][row], found["value_low"][row], found["value_high"][row]),
            ),
        ]
        if census.labels is not None:
            memorization = (found[f"memorization{end}"][row] for end in ("", "_low", "_high"))
            listed += [
                ("memorization", _percent(*memorization)),
                ("recognized by an attacker", _percent(found["exposure"][row])),
                ("label wrong with probability", _percent(found["wrong_label"][row])),
                ("suggested label", text(found["suggested_label"][row])),
            ]
        return table(["", ""], listed, caption="what the networks show; with 95% intervals")

    def gains(self, row: int) -> str:
        """What it is predicted to gain to leave a training example out, or to give it the label
        that is suggested.
        """
        census = self.census
        listed = [("without this example", _estimate(census.without([row])))]
        if census.labels is not None:
            suggested = int(census.suggested_label[row])
            if suggested != np.asarray(census.splits.train.y)[row]:
                name = _label(census.splits.train, row, suggested)
                try:
                    gain = _estimate(census.with_labels([row], [suggested]))
                except InputError as error:  # no other example has that label
                    gain = f"<small>{text(error)}</small>"
                listed.append((f"with the label {text(name)}", gain))
        return _gains(listed)

    def as_rows(self, looks: Example, neighbors: list[Neighbor], why: "Why") -> str:
        """An example and its neighbors as rows of a table."""
        rows = [("this example", str(why.row), text(why.label), *map(text, looks.cells))]
        rows += [
            (
                f"{kind} {why.effects[row]:+.3f}",
                str(row),
                text(_named(why.labels[row])),
                *map(text, each.cells),
            )
            for kind, row, each in neighbors
        ]
        left = _number_of_columns(self.census.splits.train) - len(self.columns)
        caption = "the example and its neighbors" + f"; {left} more columns are not shown" * (
            left > 0
        )
        return table(["", "row", self.label, *map(text, self.columns)], rows, caption=caption)


def _as_tiles(neighbors: list[Neighbor], why: "Why") -> str:
    """The neighbors of an example, side by side."""
    tiles = "".join(
        f"<li>{each.image}<b>{kind}</b> {why.effects[row]:+.3f}<br>row {row}"
        f"<br>label {text(_named(why.labels[row]))}</li>"
        for kind, row, each in neighbors
    )
    return f'<ul class="tiles neighbors">{tiles}</ul>'


def _gains(listed: list[tuple[str, str]]) -> str:
    caption = "predicted gain: unseen error that it saves, points; with 95% intervals"
    return table(["what if it is trained", "gain"], listed, caption=caption) if listed else ""


def _without(census: "Census", rows: list[int]) -> list[tuple[str, str]]:
    """What it gains to train without the examples that oppose a label."""
    if not rows:
        return []
    words = f"without the opposing rows {', '.join(map(str, rows))}"
    return [(words, _estimate(census.without(rows)))]


def _columns(train: Dataset) -> list[str]:
    """Names of the columns that are shown; none where inputs are no rows of a table."""
    if train.x.ndim != 2 or train.pixel_max is not None or train.schema.tokens:
        return []
    if train.columns is not None:
        return [column.name for column in train.columns[:COLUMNS]]
    return [f"input {at}" for at in range(min(COLUMNS, train.x.shape[1]))]


def _number_of_columns(train: Dataset) -> int:
    return train.x.shape[1] if train.columns is None else len(train.columns)


def _label(part: Dataset, row: int, label: int | None = None) -> str:
    """A label in words."""
    own = np.asarray(part.y)[row] if label is None else label
    return _named(own if part.classes is None else part.classes[int(own)])


def _named(label: object) -> str:
    return label if isinstance(label, str) else rounded(float(np.asarray(label)), 5)


def _count(listed: int, training: int) -> str:
    return f"{listed:,} of {training:,} training examples {'is' if listed == 1 else 'are'}"


def _together(gain: Estimate | None) -> str:
    if gain is None:
        return ""
    interval = gain.refused or f"95% interval {_points(gain.low)} to {_points(gain.high)}"
    return (
        " To train without all of them is predicted to lower the error on unseen examples by "
        f"{_points(gain.estimate)} points ({interval})."
    )


def _estimate(gain: Estimate) -> str:
    if gain.refused:
        return f"{_points(gain.estimate)} <small>{text(gain.refused)}</small>"
    return _points(gain.estimate, gain.low, gain.high)


def _points(size: float, low: float | None = None, high: float | None = None) -> str:
    """A difference of errors in percentage points, with its interval."""
    said = f"{100 * size:z.{DECIMALS}f}"
    if low is None or high is None:
        return said
    return f"{said} <small>{_points(low)} to {_points(high)}</small>"


def _percent(share: float, low: float | None = None, high: float | None = None) -> str:
    """A share, with its interval."""
    if low is None or high is None:
        return f"{share:.2%}"
    return f"{share:.2%} <small>{low:.2%} to {high:.2%}</small>"

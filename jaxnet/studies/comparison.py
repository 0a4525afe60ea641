"""Comparison: whether trained networks, or the recipes they come from, differ on the same
examples.

Networks that were trained on one training set say nothing of other training sets. Cross-fitted
networks see different ones, so only they say something of the recipe.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import numpy as np

from jaxnet import display
from jaxnet.core.run import Run
from jaxnet.data import Splits, Standardization
from jaxnet.diagnostics import Estimate, error_of, network_difference, paired_difference
from jaxnet.diagnostics.findings import Code, Finding
from jaxnet.engine.prediction import Metrics, ValueMetrics, judge, score
from jaxnet.errors import InputError
from jaxnet.runtime.files import plain
from jaxnet.stats.comparison import members_difference
from jaxnet.stats.estimate import LEVEL
from jaxnet.stats.random_effects import MIN_PAIRED_MEMBERS
from jaxnet.stats.several import Scores
from jaxnet.stats.unseen_losses import UnseenLosses, not_the_same, recipe_difference

Scope = Literal["recipe", "training set", "networks"]

# What a difference holds for.
PREDICTED = {"classification": "classes", "regression": "values", "multi-label": "labels"}
MEANING: dict[Scope, str] = {
    "recipe": "this is of the recipe and holds for other training sets and seeds too",
    "training set": "this is of networks with other seeds on this training set, and may be "
    "different on another",
    "networks": "this is of one network each on this training set, and may be different with "
    "another seed or training set",
}


@dataclass(frozen=True)
class Compared:
    """A trained network and what it predicts on its test set.

    Args:
      name: name of the run, which is unique.
      run: the network.
      splits: the data; the test set judges.
      outputs: (examples, classes) log-probabilities, or (examples,) values on the test set.
      members: (members, ...) the same of the networks that judge its recipe, as far as they are
          known.
      facts: what is known of it by name, as plain values: experiment, data, recipe, versions,
          device.
      unseen: losses of cross-fitted networks on the examples that each left out, or None.
      left_out: its networks that are not among `members`, in words, with the reason.
    """

    name: str
    run: Run
    splits: Splits
    outputs: np.ndarray
    members: np.ndarray | None
    facts: dict[str, Any]
    unseen: UnseenLosses | None = None
    left_out: tuple[str, ...] = ()

    @property
    def labels(self) -> np.ndarray:
        """Of the test set."""
        return np.asarray(self.splits.test.y)


@dataclass(frozen=True)
class Side:
    """The numbers of one run in a comparison.

    Args:
      name: of the run.
      experiment: that made it.
      dataset: its name.
      regression: whether the network predicts values.
      model: its name.
      parameters: how many.
      status: how the training ended.
      test_examples: how many.
      error: of the network on the test set.
      members: networks of its recipe whose predictions are known.
      members_error: their mean error on the test set; None of one network.
      unseen_error: error of cross-fitted networks on the examples of the pool that they have not
          seen; None of others.
      scores: scores besides the error of the network on the test set.
    """

    name: str
    experiment: str
    dataset: str
    regression: bool
    model: str
    parameters: int
    status: str
    test_examples: int
    error: Estimate
    members: int
    members_error: Estimate | None
    unseen_error: Estimate | None
    scores: Scores


@dataclass(frozen=True)
class Pair:
    """Two runs and whether they differ.

    Args:
      first: name of a run.
      second: name of the other.
      words: whether the difference is real, in a sentence.
      of: what the difference is of. "recipe": cross-fitted networks on the same folds, so it
          holds for other training sets and seeds. "training set": several networks each, on this
          training set. "networks": one network each, on this training set.
      difference: the error of the first less that of the second; None where they cannot be
          compared.
      not_used: what is known of the two and not used for the difference, with the reason.
      only_first: test examples that only the first network has wrong.
      only_second: test examples that only the second network has wrong.
    """

    first: str
    second: str
    words: str
    of: Scope | None = None
    difference: Estimate | None = None
    not_used: tuple[str, ...] = ()
    only_first: int | None = None
    only_second: int | None = None

    @property
    def real(self) -> bool:
        """Whether the interval leaves 0 out."""
        size = self.difference
        return size is not None and size.refused is None and not size.low <= 0 <= size.high

    @property
    def findings(self) -> tuple[Finding, ...]:
        """That the second is worse, if it is shown."""
        size = self.difference
        if size is None or not self.real or size.high >= 0:
            return ()
        more = Estimate(-size.estimate, -size.high, -size.low, caution=size.caution)
        return (Finding(Code.WORSE_RUN, more, True, self.words, ()),)


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Args:
      runs: the numbers of each.
      pairs: every two of them.
      differs: what is not the same in all runs, a value for each, by name.
      level: of each interval, so that all of them together hold with 95% (Bonferroni).
      verdict: which differences are real, in a sentence.
    """

    runs: tuple[Side, ...]
    pairs: tuple[Pair, ...]
    differs: dict[str, list[Any]]
    level: float
    verdict: str

    def summary(self) -> dict[str, Any]:
        """The comparison in the types that JSON has."""
        pairs = [plain(pair) | {"real": pair.real} for pair in self.pairs]
        return plain(
            {
                "verdict": self.verdict,
                "runs": self.runs,
                "differs": self.differs,
                "pairs": pairs,
                "level": self.level,
                "findings": [each.summary() for pair in self.pairs for each in pair.findings],
            }
        )


def compare_runs(runs: Sequence[Compared]) -> Comparison:
    """Compares each two runs on the examples that they share: recipes on the examples of their
    pool where both were cross-fitted on the same folds, else networks on the test set.

    Args:
      runs: at least two, all of classes or all of values.

    Returns:
      The differences; all intervals together hold with 95%.

    Raises:
      InputError: for a single run, and for runs of classes and of values together.
    """
    if len(runs) < 2:
        raise InputError(f"{len(runs)} runs were given; give two or more")
    kinds = {run.splits.task: run.name for run in runs}
    if len(kinds) > 1:
        said = ", and ".join(f"{name} predicts {PREDICTED[task]}" for task, name in kinds.items())
        raise InputError(f"{said}; compare runs of one kind")
    couples = list(itertools.combinations(runs, 2))
    comparable = sum(_scope(a, b) is not None for a, b in couples)
    level = 1 - (1 - LEVEL) / max(1, comparable)
    pairs = tuple(_differ(a, b, level) for a, b in couples)
    return Comparison(
        runs=tuple(_side(run) for run in runs),
        pairs=pairs,
        differs=_differs(runs),
        level=level,
        verdict=_overall(pairs, comparable),
    )


def _why_not(a: Compared, b: Compared) -> str | None:
    """Why two runs cannot be compared; None where they can."""
    one, other = a.splits.test, b.splits.test
    if a.splits.name != b.splits.name:
        return f"their test sets are of {a.splits.name} and of {b.splits.name}"
    if one.classes != other.classes or one.schema.target_names != other.schema.target_names:
        return "they learned other classes"
    arrays = [
        (np.asarray(getattr(one, name)), np.asarray(getattr(other, name))) for name in ("x", "y")
    ]
    if not all(np.array_equal(mine, theirs) for mine, theirs in arrays):
        return (
            f"their test sets are not the same examples ({len(one):,} and {len(other):,}); "
            "read and split the data alike"
        )
    return None


def _scope(a: Compared, b: Compared) -> Scope | None:
    """What the difference of two runs is of; None where they cannot be compared."""
    if not _why_not_of_the_recipe(a, b):
        return "recipe"
    if _why_not(a, b):
        return None
    members = [0 if each.members is None else len(each.members) for each in (a, b)]
    return "training set" if min(members) >= MIN_PAIRED_MEMBERS else "networks"


def _why_not_of_the_recipe(a: Compared, b: Compared) -> str | None:
    """Why losses on unseen examples do not compare two recipes; None where they do."""
    if a.unseen is None or b.unseen is None:
        missing = [each.name for each in (a, b) if each.unseen is None]
        return f"{' and '.join(missing)} {'has' if len(missing) == 1 else 'have'} no such losses"
    if a.splits.classes != b.splits.classes:
        return "they learned other classes"
    return not_the_same(a.unseen, b.unseen)


def _differ(a: Compared, b: Compared, level: float) -> Pair:
    """The difference of two runs, and whether it is real."""
    of = _scope(a, b)
    if of is None:
        return Pair(a.name, b.name, f"not compared: {_why_not(a, b)}")
    scale = a.run.standardization  # of a regression: one unit for both
    alone: tuple[int | None, int | None] = (None, None)
    examples = len(a.labels)
    if of == "recipe":
        assert a.unseen is not None
        assert b.unseen is not None
        both, examples = (a.unseen.losses, b.unseen.losses), len(a.unseen.fold_of)
        difference = recipe_difference(a.unseen, b.unseen, level)
    elif of == "training set":
        assert a.members is not None
        assert b.members is not None
        both = a.members, b.members
        mine, theirs = _members_losses(both[0], a, scale), _members_losses(both[1], b, scale)
        paired = len(mine) == len(theirs)
        differ = paired_difference if paired else members_difference
        difference = differ(mine, theirs, level, a.splits.test.groups)
    else:
        both = a.outputs, b.outputs
        wrong, other = (_losses(judge(each.outputs, each.labels, scale)) for each in (a, b))
        difference = network_difference(wrong, other, level, a.splits.test.groups)
        if wrong.dtype == bool:
            alone = (int((wrong & ~other).sum()), int((other & ~wrong).sum()))
    pair = Pair(a.name, b.name, "", of, difference, _not_used(a, b, of), *alone)
    words = _verdict(
        pair,
        same=np.array_equal(*both, equal_nan=True),
        examples=examples,
        percent=a.splits.counted,
    )
    return replace(pair, words=f"{words}; {MEANING[of]}{_coverage(a, b, of)}")


def _coverage(a: Compared, b: Compared, of: Scope) -> str:
    """In how many studies the interval of recipes holds the truth, where that is not 95%."""
    if of != "recipe":
        return ""
    told = {each.unseen.fit.coverage for each in (a, b) if each.unseen is not None} - {"95%"}
    if not told:
        return ""
    return f"; with so few examples, such intervals hold the true value in {max(told)} of studies"


def _not_used(a: Compared, b: Compared, of: Scope) -> tuple[str, ...]:
    """What is known of two runs and not used for their difference, with the reason."""
    found = [*a.left_out, *b.left_out]
    if of == "recipe":
        return tuple(found)
    if of == "networks":
        found = [
            f"{len(each.members)} networks of {each.name}, since not both runs have at least "
            f"{MIN_PAIRED_MEMBERS} networks"
            for each in (a, b)
            if each.members is not None
        ] + found
    why = _why_not_of_the_recipe(a, b)
    found += [
        f"the losses of {each.name} on examples that its networks have not seen, since {why}"
        for each in (a, b)
        if each.unseen is not None
    ]
    return tuple(found)


def _verdict(pair: Pair, *, same: bool, examples: int, percent: bool) -> str:
    """Whether a difference is real, in a sentence. same: whether the predictions are."""
    assert pair.difference is not None
    difference = pair.difference
    if same:
        told = "have the same losses on" if pair.of == "recipe" else "predict the same for"
        where = "examples of their pool" if pair.of == "recipe" else "test examples"
        return f"no difference: {pair.first} and {pair.second} {told} all {examples:,} {where}"
    if difference.refused:
        return (
            f"it cannot be told whether {pair.first} and {pair.second} differ: {difference.refused}"
        )
    if not pair.real:
        return (
            f"no difference is shown between {pair.first} and {pair.second}: "
            f"{_size(difference, percent)}"
        )
    better, worse = (pair.first, pair.second) if difference.high < 0 else (pair.second, pair.first)
    low, high = sorted((abs(difference.low), abs(difference.high)))
    lower = Estimate(abs(difference.estimate), low, high)
    return f"{better} is better than {worse}: its error is lower by {_size(lower, percent)}"


def _overall(pairs: Sequence[Pair], comparable: int) -> str:
    """Which differences are real."""
    if real := [pair.words for pair in pairs if pair.real]:
        return ". ".join(real)
    if len(pairs) == 1:
        return pairs[0].words
    if comparable:
        return "no difference is shown between these runs"
    return "nothing to compare: no two runs have the same test examples"


def _size(difference: Estimate, percent: bool) -> str:
    """In percentage points, or of a regression in variances of y."""
    if percent:
        numbers = (100 * value for value in (difference.estimate, difference.low, difference.high))
        return "{:.2f} percentage points ({:.2f} to {:.2f})".format(*numbers)
    low, high = display.rounded(difference.low), display.rounded(difference.high)
    return f"{display.rounded(difference.estimate)} ({low} to {high})"


def _losses(metrics: Metrics) -> np.ndarray:
    """(examples,) whether each is wrong, or its squared error."""
    return metrics.squares if isinstance(metrics, ValueMetrics) else metrics.wrong


def _members_losses(outputs: np.ndarray, run: Compared, scale: Standardization) -> np.ndarray:
    """(members, examples) of these."""
    return np.stack([_losses(judge(member, run.labels, scale)) for member in outputs])


def _side(compared: Compared) -> Side:
    run, members = compared.run, compared.members
    scale = run.standardization
    return Side(
        name=compared.name,
        experiment=compared.facts.get("experiment", ""),
        dataset=compared.splits.name,
        regression=not compared.splits.counted,
        model=run.model,
        parameters=sum(np.size(leaf) for leaf in jax.tree.leaves(run.params)),
        status=run.status,
        test_examples=len(compared.labels),
        error=judge(compared.outputs, compared.labels, scale, compared.splits.test.groups).error,
        members=1 if members is None else len(members),
        members_error=None
        if members is None
        else error_of(
            _members_losses(members, compared, scale),
            heavy_tails=not compared.splits.counted,
            groups=compared.splits.test.groups,
        ),
        unseen_error=None if compared.unseen is None else compared.unseen.fit.rate("unseen"),
        scores=score(compared.outputs, compared.splits.test, compared.splits),
    )


def _differs(runs: Sequence[Compared]) -> dict[str, list[Any]]:
    """The facts that are not the same in all runs, by name."""
    names = dict.fromkeys(itertools.chain(*(run.facts for run in runs)))
    values = {name: [run.facts.get(name) for run in runs] for name in names}
    return {name: each for name, each in values.items() if any(value != each[0] for value in each)}

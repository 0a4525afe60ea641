"""Label errors: which labels of a data set are wrong, and how many, by networks that did not see
them.
"""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from jaxnet.core.recipe import Recipe
from jaxnet.data import Dataset, Splits, resampling
from jaxnet.diagnostics import Estimate, Finding, HardExample, hard_examples, wrong_labels
from jaxnet.diagnostics.findings import Code, applicable, finding, wrong_labels_in_words
from jaxnet.engine import arguments
from jaxnet.errors import InputError, check_number, check_whole
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model
from jaxnet.population.fit import fit_population
from jaxnet.population.predictions import predictions_of
from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress
from jaxnet.progress import of_population, showing
from jaxnet.random import AnyKey, as_key, number_of
from jaxnet.runtime.files import plain
from jaxnet.runtime.plan import Plan
from jaxnet.stats.calibration import Calibration, calibration, temperature
from jaxnet.stats.label_errors import MIN_UNSEEN_MEMBERS as OPINIONS
from jaxnet.stats.label_errors import combine_members
from jaxnet.stats.label_noise import label_noise

FOLDS = 4
COLUMNS = (
    *("index", "part", "label", "suggested", "confidence", "contradicted_by"),
    *("wrong_label", "corrected"),
)
PARTS = {"train": "training set", "validation": "validation set", "test": "test set"}


@dataclass(frozen=True)
class LabelErrors:
    """What networks that did not train on an example say of its label.

    Args:
      wrong: by part of the data, the estimated share of wrong labels.
      doubtful: by part, the labels that the networks contradict, the most doubtful first.
      wrong_label: by part, the probability of each label to be wrong, as in a census.
      hardest: examples of the test set, the most doubtful label first.
      calibration: of the network that trained on the whole training set, on the test set.
      temperature: of that network, from the validation set; None where there is none.
      no_temperature: why there is none.
      verdict: how many training labels are wrong at least, in a sentence.
      findings: on label noise, where the share of wrong training labels could be estimated.
      classes: names of the classes.
      networks: the first one trained on the whole training set, the others on three folds of four.
    """

    wrong: dict[str, Estimate]
    doubtful: dict[str, tuple[HardExample, ...]]
    wrong_label: dict[str, np.ndarray] = field(repr=False, compare=False)
    hardest: tuple[HardExample, ...]
    calibration: Calibration
    temperature: Estimate | None
    no_temperature: str
    verdict: str
    findings: tuple[Finding, ...]
    classes: tuple[str, ...]
    networks: Population = field(repr=False, compare=False)

    def csv(self) -> str:
        """A row for each doubtful label, with an empty column for the corrected one."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for part, rows in self.doubtful.items():
            for each in rows:
                names = self.classes[each.label], self.classes[each.prediction]
                found = each.confidence, each.contradicted, self.wrong_label[part][each.index]
                numbers = [f"{number:.4f}" for number in found]
                writer.writerow([each.index, part, *names, *numbers, ""])
        return text.getvalue()

    def summary(self) -> dict[str, Any]:
        """The shares of wrong labels and the doubtful ones, in the types that JSON has."""
        return plain({"wrong": self.wrong, "doubtful": self.doubtful})


@showing(of_population)
def find_label_errors(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    members: int = 16,
    tolerance: float = 0.02,
    most: int = 100,
    loss: Loss | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | Literal[False] | None = None,
) -> LabelErrors:
    """Finds doubtful labels with networks that did not train on them, and estimates how many are
    wrong.

    Args:
      model: the network.
      splits: a data set of classes.
      recipe: how each network is trained.
      key: of folds and networks.
      members: networks on three folds of four, a multiple of 4 and at least 12, so that each
        training example is new to a quarter of them. One more is trained on the whole training set.
      tolerance: the smallest share of wrong training labels that matters.
      most: doubtful labels to list of each part of the data.
      loss: of an example, as in `jaxnet.fit_population`.
      plan: where the networks are trained, as there.
      out: folder for checkpoints and predictions, as there.
      progress: as in `jaxnet.fit_population`.

    Returns:
      The doubtful labels and the shares of wrong ones, by part of the data.

    Raises:
      InputError: for a regression, and for invalid arguments.
    """
    arguments.check(model=model, splits=splits, recipe=recipe)
    key = as_key("key", key)
    check_number("tolerance", tolerance)
    check_whole("most", most)
    check_whole("members", members, most=1 << 20)
    arguments.check_one_label(splits, "find_label_errors")
    if splits.classes is None:
        raise InputError(
            "labels that are values of a regression cannot be told right from wrong this way; "
            "give a data set of classes"
        )
    if members % FOLDS or members < FOLDS * OPINIONS:
        raise InputError(
            f"members is {members}; give a multiple of {FOLDS} of at least {FOLDS * OPINIONS}, "
            f"so that {OPINIONS} networks have not seen each example"
        )
    if not len(splits.test):
        raise InputError("the test set is empty; hold some examples out to judge the networks")
    samples = _folds(splits.train, members, number_of(key))
    keys = jax.random.split(key, len(samples))
    networks = fit_population(
        model,
        splits,
        recipe,
        keys,
        resample=samples,
        loss=loss,
        plan=plan,
        out=out,
        progress=progress or None,
    )
    said = predictions_of([model], splits, networks, plan)
    seen = np.stack([samples.seen(member) for member in range(len(samples))])
    given = {
        "train": (said.unseen, seen),
        "validation": (said.validation, None),
        "test": (said.test, None),
    }
    found, wrong = dict[str, tuple[HardExample, ...]](), dict[str, Estimate]()
    wrong_label = dict[str, np.ndarray]()
    for part, (log_p, known) in given.items():
        if log_p is not None:
            y = np.asarray(getattr(splits, part).y)
            found[part] = hard_examples(log_p, y, seen=known)
            wrong[part] = wrong_labels(log_p, y, seen=known)
            wrong_label[part] = label_noise(*combine_members(log_p, y, known)).probability
    t, why = _temperature(said.validation, splits.validation)
    share = wrong["train"]
    verdict, noise = verdict_on_labels(share, len(splits.train), tolerance)
    return LabelErrors(
        wrong=wrong,
        doubtful={
            part: tuple(each for each in all_ if each.prediction != each.label)[:most]
            for part, all_ in found.items()
        },
        wrong_label=wrong_label,
        hardest=found["test"],
        calibration=calibration(np.asarray(said.test[0]), np.asarray(splits.test.y)),
        temperature=t,
        no_temperature=why,
        verdict=verdict,
        findings=applicable(noise, recipe, model, splits),
        classes=splits.classes,
        networks=networks,
    )


def verdict_on_labels(
    share: Estimate, examples: int, tolerance: float
) -> tuple[str, tuple[Finding, ...]]:
    """Say how many labels are wrong at least.

    Args:
        share: the share of wrong labels among easy examples, of `wrong_labels`.
        examples: the number of training examples.
        tolerance: the smallest share that matters.

    Returns:
        (the verdict; the finding of label noise, where there is an interval).
    """
    if share.refused is not None:
        return f"how many training labels are wrong cannot be said: {share.refused}", ()
    words = wrong_labels_in_words(share, examples)
    return words, (finding(Code.LABEL_NOISE, share, share.low > tolerance, words),)


def _folds(train: Dataset, members: int, seed: int) -> resampling.Samples:
    """The whole training set once, then all but one of four folds, the folds anew for every four
    members.
    """
    seeds = np.random.SeedSequence(seed).generate_state(members // FOLDS)
    folds = [resampling.folds(train, FOLDS, seed=int(each)) for each in seeds]
    return resampling.together([resampling.whole(1, len(train)), *folds])


def _temperature(
    log_probabilities: np.ndarray | None, validation: Dataset
) -> tuple[Estimate | None, str]:
    """(the temperature of the first network, or None; why there is none)."""
    if log_probabilities is None:
        return None, "no validation set"
    try:
        return temperature(np.asarray(log_probabilities[0]), np.asarray(validation.y)), ""
    except InputError as error:
        return None, str(error)

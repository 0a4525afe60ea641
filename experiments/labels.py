"""Which labels of a data set are wrong, and how many? And can the network's confidences be believed?

    python -m experiments.labels                        or --dataset mnist, a table, a folder of images
    python -m experiments.labels --members 32 --most 200

Networks are trained on three of four folds, so that each training example is new to a quarter of them; one more on all examples,
which is the network of the folder. Writes labels.csv, the most doubtful labels first with an empty column for the corrected one,
and of images figures/doubtful.png. Rows are numbered within their part of the split.
"""

import csv
import io
import sys
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments import BEGAN
from jaxnet import fit_population, resampling
from jaxnet.data import Dataset
from jaxnet.diagnostics import Estimate
from jaxnet.diagnostics.calibration import calibration, temperature
from jaxnet.diagnostics.findings import finding, percent
from jaxnet.diagnostics.labels import MEMBERS as OPINIONS
from jaxnet.diagnostics.labels import HardExample, hard_examples, wrong_labels
from jaxnet.errors import InputError
from jaxnet.folder import write_text
from jaxnet.options import Options
from jaxnet.resampling import Samples
from jaxnet.runner import HARDEST, MEMBERS, Setup, main, report, training_members

FOLDS = 4
PARTS = {"train": "training set", "validation": "validation set", "test": "test set"}


@dataclass(frozen=True)
class LabelsOptions(Options):
    """Every option of a search for wrong labels."""

    members: int = 16
    """networks, a multiple of 4: each training example is new to a quarter of them"""
    most: int = 100
    """doubtful labels to list of each part of the data set"""


def work(setup: Setup) -> dict[str, Any]:
    """Train on folds, doubt the labels of all parts, and write."""
    options, splits = setup.options, setup.splits
    assert isinstance(options, LabelsOptions)
    _check(options, splits.classes)
    assert splits.classes is not None
    samples = design(splits.train, options.members, options.seed)
    keys = jax.random.split(jax.random.key(options.seed), len(samples))
    with training_members(setup) as (watch, began):
        population = fit_population(setup.model, splits, setup.recipe, keys, resample=samples, out=setup.out / MEMBERS, watch=watch)
    said = population.predictions
    assert said is not None
    assert said.unseen is not None
    seen = np.stack([samples.seen(member) for member in range(len(samples))])
    given = {"train": (said.unseen, seen), "validation": (said.validation, None), "test": (said.test, None)}
    found, wrong = dict[str, tuple[HardExample, ...]](), dict[str, Estimate]()
    for part, (log_p, known) in given.items():
        if log_p is not None:
            y = np.asarray(getattr(splits, part).y)
            found[part] = hard_examples(log_p, y, seen=known)
            wrong[part] = wrong_labels(log_p, y, seen=known)
    doubted = {part: [each for each in all_ if each.prediction != each.label][: options.most] for part, all_ in found.items()}
    write_text(setup.out / "labels.csv", labels_csv(doubted, splits.classes))
    y = {part: np.asarray(getattr(splits, part).y) for part in found}
    trusted = calibration(np.asarray(said.test[0]), y["test"])
    t, why = (None, "no validation set") if said.validation is None else fitted(np.asarray(said.validation[0]), y["validation"])
    draw(setup, doubted)
    share = wrong["train"]
    verdict = sentence(share, len(splits.train))
    words = [verdict, *(f"{PARTS[part]}: {len(rows)} doubtful labels listed in labels.csv" for part, rows in doubted.items())]
    words += ["", str(trusted), f"temperature for them  {why if t is None else t}"]
    more = {
        "verdict": verdict,
        "members": options.members,
        "labels": {"wrong": wrong, "doubtful": {part: [vars(each) for each in rows] for part, rows in doubted.items()}},
        "calibration": trusted,
        "temperature": t,
        "hard_examples": [
            {"index": each.index, "label": each.label, "prediction": each.prediction, "confidence": round(each.confidence, 6)}
            for each in found["test"][:HARDEST]
        ],
        "resumed": began,
    }
    noise = () if share.refused is not None else (finding("label noise", share, share.low > options.tolerance, verdict),)
    return report(setup, setup.model, population[0], more | {"findings": noise}, "\n".join(words))


def design(train: Dataset, members: int, seed: int) -> Samples:
    """One network on all examples, then these members on all but one of four folds, the folds anew for every four."""
    seeds = np.random.SeedSequence(seed).generate_state(members // FOLDS)
    return resampling.together([resampling.whole(1, len(train)), *(resampling.folds(train, FOLDS, seed=int(each)) for each in seeds)])


def fitted(log_probabilities: np.ndarray, labels: np.ndarray) -> tuple[Estimate | None, str]:
    """(the temperature, or None; why)."""
    try:
        return temperature(log_probabilities, labels), ""
    except InputError as error:
        return None, str(error)


def sentence(share: Estimate, examples: int) -> str:
    """What is known of the training labels."""
    if share.refused is not None:
        return f"how many training labels are wrong cannot be said: {share.refused}"
    count = f"{share.estimate * examples:,.0f} of {examples:,}, {share.low * examples:,.0f} to {share.high * examples:,.0f}"
    return f"wrong among the training labels: {percent(share)} ({count}), if hard examples are mislabelled as often as easy ones"


def labels_csv(doubted: dict[str, list[HardExample]], classes: tuple[str, ...]) -> str:
    """A line a doubtful label, to be corrected by hand."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "part", "label", "suggested", "confidence", "contradicted_by", "corrected"])
    for part, rows in doubted.items():
        for each in rows:
            names = classes[each.label], classes[each.prediction]
            writer.writerow([each.index, part, *names, f"{each.confidence:.4f}", f"{each.contradicted:.4f}", ""])
    return text.getvalue()


def draw(setup: Setup, doubted: dict[str, list[HardExample]]) -> None:
    """The doubtful images."""
    from jaxnet.report.figures import doubtful

    figures, splits = setup.out / "figures", setup.splits
    if splits.train.white is None or splits.classes is None:
        return
    for part, name in (("train", "doubtful"), ("test", "doubtful_test")):
        x = np.asarray(getattr(splits, part).x)
        doubtful(x, doubted[part], splits.classes, splits.train.white, figures / f"{name}.png", part=PARTS[part])


def _check(options: LabelsOptions, classes: tuple[str, ...] | None) -> None:
    if classes is None:
        raise InputError("labels that are values of a regression cannot be told right from wrong this way; give a data set of classes")
    if options.balance:
        raise InputError("examples of doubtful labels are not weighed; leave --balance out")
    if options.members % FOLDS or options.members < FOLDS * OPINIONS:
        raise InputError(
            f"--members is {options.members}; give a multiple of {FOLDS} of at least {FOLDS * OPINIONS}, so that "
            f"{OPINIONS} networks have not seen each example"
        )
    if options.most < 1:
        raise InputError(f"--most is {options.most}; give at least 1")


if __name__ == "__main__":
    sys.exit(main("labels", LabelsOptions(), __doc__, began=BEGAN, work=work))

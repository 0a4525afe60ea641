"""Which labels are probably wrong (a quick check with 16 networks)?

    jaxnet labels FILE.csv --label COLUMN
    jaxnet labels digits --members 32 --most 200

The training set is divided into four folds. Each network is trained on three of them, so every
training label is judged by the quarter of the networks that did not train on it. Reports how many
training labels are wrong at least, and whether the networks are as often right as they are
confident (calibration). Writes labels.csv, the most doubtful labels first, with the probability
that each is wrong and an empty column for the corrected label, and for images figures/doubtful.png.
Rows are numbered from 0 within the training, validation or test set. The folder also holds one more
network, which is trained on the whole training set.

`jaxnet census` trains 512 networks, and also reports what each example is worth, which ones are
memorized, and where the error is higher than elsewhere.
"""

from collections.abc import Sequence
from typing import Any

import jax

from jaxnet.cli import runner
from jaxnet.cli.options import LabelsOptions
from jaxnet.cli.outputs import MEMBERS, Setup, listed, report, training_members
from jaxnet.errors import InputError
from jaxnet.report import tables
from jaxnet.runtime.files import write_text
from jaxnet.studies.label_errors import find_label_errors


def work(setup: Setup) -> dict[str, Any]:
    """Train on folds, list the doubtful labels of all parts, and write."""
    options = setup.options
    assert isinstance(options, LabelsOptions)
    if options.balance:
        raise InputError("examples of doubtful labels are not weighed; leave --balance out")
    with training_members(setup) as (progress, began):
        found = find_label_errors(
            setup.model, setup.splits, setup.recipe, jax.random.key(options.seed),
            members=options.members, tolerance=options.tolerance, most=options.most,
            out=setup.out / MEMBERS, progress=progress,
        )  # fmt: skip
    write_text(setup.out / "labels.csv", found.csv())
    if setup.splits.train.pixel_max is not None:
        from jaxnet.report import figures

        figures.doubtful_labels(found, setup.splits, setup.out / "figures")
    more = {
        "verdict": found.verdict, "members": options.members, "labels": found.summary(),
        "calibration": found.calibration, "temperature": found.temperature,
        "hard_examples": listed(found.hardest), "resumed": began, "findings": found.findings,
    }  # fmt: skip
    words = "\n".join(tables.label_errors(found))
    return report(setup, setup.model, found.networks[0], more, words)


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    return runner.main(
        "labels",
        LabelsOptions(),
        __doc__,
        began=began,
        work=work,
        arguments=arguments,
        program=program,
    )

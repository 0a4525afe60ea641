"""Which labels of a data set are wrong, and how many? And can the network's confidences be
believed?

    jaxnet labels                 or --dataset mnist, a table, a folder of images
    jaxnet labels --members 32 --most 200

Networks are trained on three of four folds, so that each training example is new to a quarter of
them; one more on all examples, which is the network of the folder. Writes labels.csv, the most
doubtful labels first, with the probability that each is wrong and an empty column for the corrected
one, and of images figures/doubtful.png. Rows are numbered within their part of the split.
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

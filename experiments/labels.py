"""Which labels of a data set are wrong, and how many? And can the network's confidences be
believed?

    python -m experiments.labels                 or --dataset mnist, a table, a folder of images
    python -m experiments.labels --members 32 --most 200

Networks are trained on three of four folds, so that each training example is new to a quarter of
them; one more on all examples, which is the network of the folder. Writes labels.csv, the most
doubtful labels first with an empty column for the corrected one, and of images
figures/doubtful.png. Rows are numbered within their part of the split.
"""

import sys
from typing import Any

import jax

from experiments import BEGAN
from jaxnet import InputError, cli
from jaxnet.report import tables
from jaxnet.studies import find_label_errors


def work(setup: cli.Setup) -> dict[str, Any]:
    """Train on folds, list the doubtful labels of all parts, and write."""
    options = setup.options
    assert isinstance(options, cli.LabelsOptions)
    if options.balance:
        raise InputError("examples of doubtful labels are not weighed; leave --balance out")
    with cli.training_members(setup) as (progress, began):
        found = find_label_errors(
            setup.model, setup.splits, setup.recipe, jax.random.key(options.seed),
            members=options.members, tolerance=options.tolerance, most=options.most,
            out=setup.out / cli.MEMBERS, progress=progress,
        )  # fmt: skip
    cli.write_text(setup.out / "labels.csv", found.csv())
    if setup.splits.train.pixel_max is not None:
        from jaxnet.report import figures

        figures.doubtful_labels(found, setup.splits, setup.out / "figures")
    more = {
        "verdict": found.verdict, "members": options.members, "labels": found.summary(),
        "calibration": found.calibration, "temperature": found.temperature,
        "hard_examples": cli.listed(found.hardest), "resumed": began, "findings": found.findings,
    }  # fmt: skip
    words = "\n".join(tables.label_errors(found))
    return cli.report(setup, setup.model, found.networks[0], more, words)


if __name__ == "__main__":
    sys.exit(cli.main("labels", cli.LabelsOptions(), __doc__, began=BEGAN, work=work))

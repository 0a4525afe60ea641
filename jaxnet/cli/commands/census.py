"""What is each training example worth, and which labels are wrong (512 networks)?

    jaxnet census FILE.csv --label COLUMN
    jaxnet census digits --members 128        fewer networks: faster, and less certain

Trains 512 networks, each on a random half of the examples, so that every example is new to about
half of them. Writes examples.csv, the hardest examples first: how many networks are wrong on an
example, of those that have not seen it and of those that were trained on it; its value, the unseen
error without it minus with it; for classes also the probability that its label is wrong, the
suggested label, how far the networks memorized it, and how often an attacker would recognize it as
a training example. Writes examples.html, a page that shows the most important examples in detail:
their pictures or rows, the training examples that speak for and against their labels, and the
predicted gain from leaving them out or giving them other labels. Says where the error is higher
than elsewhere, how many classes must be named to be 95% sure, and how well an attacker could tell
which examples were trained on. Writes labels.csv, the labels that both halves of the networks show
to be wrong, with an empty column for the corrected label; once it is filled in, jaxnet train
--corrections reads it. Rows are numbered from 0 within the training, validation or test set. One
more network is trained on the whole training and validation set, and saved; the test set is used
once, for its error. With --resume, or the same --out, an interrupted census continues.

`jaxnet labels` is a quicker check of the labels alone, with 16 networks.
"""

from collections.abc import Sequence
from typing import Any

import jax

from jaxnet.cli import runner
from jaxnet.cli.options import CensusOptions
from jaxnet.cli.outputs import MEMBERS, Setup, report, training_members
from jaxnet.errors import InputError
from jaxnet.runtime.files import write_text
from jaxnet.studies.census import census


def work(setup: Setup) -> dict[str, Any]:
    """Train the networks on halves, and write what they show."""
    options = setup.options
    assert isinstance(options, CensusOptions)
    if options.balance:
        raise InputError("the examples of a census are not weighed; leave --balance out")
    with training_members(setup) as (progress, began):
        found = census(
            setup.model, setup.splits, setup.recipe, jax.random.key(options.seed),
            members=options.members, share=options.share, seconds=options.seconds,
            tolerance=options.tolerance, out=setup.out / MEMBERS, progress=progress,
        )  # fmt: skip
    write_text(setup.out / "examples.csv", found.csv())
    if not found.regression:
        write_text(setup.out / "labels.csv", found.labels_csv())
    from jaxnet.report import figures
    from jaxnet.report.html.gallery import gallery

    write_text(setup.out / "examples.html", gallery(found))
    figures.errors_of_examples(found, setup.out / "figures/census.png")
    more = {"verdict": found.verdict, "census": found.summary(), "resumed": began}
    pooled = setup._replace(splits=found.splits)
    return report(pooled, setup.model, found.run, more, str(found), found.findings)


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    return runner.main(
        "census",
        CensusOptions(),
        __doc__,
        began=began,
        work=work,
        arguments=arguments,
        program=program,
    )

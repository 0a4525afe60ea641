"""How much of the error is bias, how much is variance, and what makes each larger or smaller?

    jaxnet bias-variance                of a recipe, on quarters of the training set
    jaxnet bias-variance --vary width --values 1 4 16 64 256
    jaxnet bias-variance --vary label-noise     or examples, epochs, weight-decay

Each network gets a random sample of the training set that shares no example with the others; if
there are too few examples for that, the training set is divided at random several times. All take
equally many steps. Errors are measured on the test set: for classes by the 0-1 loss (Kohavi &
Wolpert 1996), and in result.json by cross-entropy and Brier score too; for values by the squared
error as a share of the variance of y.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax

from jaxnet.cli import runner
from jaxnet.cli.options import BiasVarianceOptions, build_model, prepared
from jaxnet.cli.outputs import MEMBERS, Setup, hardest, report, training_members
from jaxnet.models.model import Model
from jaxnet.report import tables
from jaxnet.studies.bias_variance import measure_bias_variance


def work(setup: Setup) -> dict[str, Any]:
    """Train the networks of all values, decompose their errors, and write."""
    options = setup.options
    assert isinstance(options, BiasVarianceOptions)
    setup = setup._replace(splits=prepared(setup.splits, options))

    def model_of_width(width: int) -> Model:
        return build_model(replace(options, hidden=(width,) * len(options.hidden)))

    with training_members(setup) as (progress, began):
        found = measure_bias_variance(
            setup.model, setup.splits, setup.recipe, jax.random.key(options.seed),
            vary=options.vary, values=options.values, members=options.members,
            examples=options.examples, model_of_width=model_of_width, out=setup.out / MEMBERS,
            progress=progress,
        )  # fmt: skip
    if options.vary is not None and len(found.measured) > 1:
        from jaxnet.report import figures

        figures.bias_variance(found, setup.out / "figures/bias_variance.png")
    more = {
        "verdict": found.verdict, "findings": (), "members": options.members,
        "bias_variance": found.summary(),
        "hard_examples": hardest(found.measured[-1].predictions, setup.splits),
        "resumed": {"from_epoch": 0} | began,
    }  # fmt: skip
    setup, words = setup._replace(splits=found.splits), "\n".join(tables.bias_variance(found))
    return report(setup, found.model, found.run, more, words)


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    return runner.main(
        "bias_variance",
        BiasVarianceOptions(),
        __doc__,
        began=began,
        work=work,
        arguments=arguments,
        program=program,
    )

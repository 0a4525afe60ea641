"""How much of the error is bias, how much is variance, and what moves them?

    python -m experiments.bias_variance                of a recipe, on quarters of the training set
    python -m experiments.bias_variance --vary width --values 1 4 16 64 256
    python -m experiments.bias_variance --vary label-noise     or examples, epochs, weight-decay

Networks are trained on random samples of the training set that no two share while these last, else
on the parts of random partitions; all take equally many steps. Judged on the test set: of classes
by the 0-1 loss (Kohavi & Wolpert 1996), and in result.json by cross-entropy and Brier score too; of
values by squared error in variances of y.
"""

import sys
from dataclasses import replace
from typing import Any

import jax

from experiments import BEGAN
from jaxnet import Model, cli
from jaxnet.report import tables
from jaxnet.studies import measure_bias_variance


def work(setup: cli.Setup) -> dict[str, Any]:
    """Train the networks of all values, decompose their errors, and write."""
    options = setup.options
    assert isinstance(options, cli.BiasVarianceOptions)
    setup = setup._replace(splits=cli.prepared(setup.splits, options))

    def model_of_width(width: int) -> Model:
        return cli.build_model(replace(options, hidden=(width,) * len(options.hidden)))

    with cli.training_members(setup) as (progress, began):
        found = measure_bias_variance(
            setup.model, setup.splits, setup.recipe, jax.random.key(options.seed),
            vary=options.vary, values=options.values, members=options.members,
            examples=options.examples, model_of_width=model_of_width, out=setup.out / cli.MEMBERS,
            progress=progress,
        )  # fmt: skip
    if options.vary is not None and len(found.measured) > 1:
        from jaxnet.report import figures

        figures.bias_variance(found, setup.out / "figures/bias_variance.png")
    more = {
        "verdict": found.verdict, "findings": (), "members": options.members,
        "bias_variance": found.summary(),
        "hard_examples": cli.hardest(found.measured[-1].predictions, setup.splits),
        "resumed": {"from_epoch": 0} | began,
    }  # fmt: skip
    setup, words = setup._replace(splits=found.splits), "\n".join(tables.bias_variance(found))
    return cli.report(setup, found.model, found.run, more, words)


if __name__ == "__main__":
    sys.exit(cli.main("bias_variance", cli.BiasVarianceOptions(), __doc__, began=BEGAN, work=work))

"""How much of the error is bias, how much is variance, and what moves them?

    python -m experiments.bias_variance   of a recipe, on quarters of the training set
    python -m experiments.bias_variance --vary width --values 1 4 16 64 256
    python -m experiments.bias_variance --vary label-noise   or examples, epochs, weight-decay

Networks are trained on random samples of the training set that no two share while these last, else
on the parts of random partitions; all take equally many steps. Judged on the test set: of classes
by the 0-1 loss (Kohavi & Wolpert 1996), and in result.json by cross-entropy and Brier score too; of
values by squared error in variances of y.
"""

import sys
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from experiments import BEGAN
from jaxnet.cli.options import BiasVarianceOptions, build_model, prepared
from jaxnet.cli.outputs import MEMBERS, Setup, hardest, report, training_members
from jaxnet.cli.runner import main
from jaxnet.report import tables
from jaxnet.studies import bias_variance


def work(setup: Setup) -> dict[str, Any]:
    """Train the networks of all values, decompose their errors, and write."""
    options = setup.options
    assert isinstance(options, BiasVarianceOptions)
    splits = prepared(setup.splits, options)
    with training_members(setup._replace(splits=splits)) as (watch, began):
        found = bias_variance.measure(
            setup.model,
            splits,
            setup.recipe,
            jax.random.key(options.seed),
            vary=options.vary,
            values=options.values,
            members=options.members,
            examples=options.examples,
            out=setup.out / MEMBERS,
            watch=watch,
            model_of_width=lambda width: build_model(
                replace(options, hidden=(width,) * len(options.hidden))
            ),
        )
    if options.vary is not None and len(found.measured) > 1:
        from jaxnet.report import figures

        places = [each.value or 0.0 for each in found.measured]
        figures.decomposition(
            places,
            [each.decomposition for each in found.measured],
            setup.out / "figures/bias_variance.png",
            x=bias_variance.AXES[options.vary],
            unit=found.unit,
            log=min(places) > 0 and max(places) > 10 * min(places),
            training=[each.training for each in found.measured],
        )
    hard = (
        []
        if splits.classes is None
        else hardest(found.measured[-1].predictions, np.asarray(splits.test.y))
    )
    more = {
        "verdict": found.verdict,
        "findings": (),
        "members": options.members,
        "bias_variance": found.summary(),
        "hard_examples": hard,
        "resumed": {"from_epoch": 0} | began,
    }
    words = [*tables.bias_variance(found), *(() if found.peak is None else found.peak.words)]
    return report(
        setup._replace(splits=found.splits), found.model, found.run, more, "\n".join(words)
    )


if __name__ == "__main__":
    sys.exit(main("bias_variance", BiasVarianceOptions(), __doc__, began=BEGAN, work=work))

"""Which hyperparameters suit this data set?

    python -m experiments.sweep                         256 learning rates: --trials 256
    python -m experiments.sweep --space learning_rate=1e-4:1 dropout=0:0.5 hidden=64,128x64
    python -m experiments.sweep --method quasi-random --seeds 3
    python -m experiments.sweep --trials 256 --halving 4     the best quarter goes on after epochs
                                                             1, 4, 16, ...

Trains a network for every trial, all in one program a structure; the validation set chooses, and
the test set is looked at once, by the chosen network. Writes sweep.csv,
figures/validation_curve.png and what `train` writes, for the chosen one.
"""

import sys
from typing import Any

import jax

from experiments import BEGAN
from jaxnet import cli, sweep
from jaxnet.report import console


def work(setup: cli.Setup) -> dict[str, Any]:
    """Train all trials, choose, and write."""
    options, splits = setup.options, setup.splits
    assert isinstance(options, cli.SweepOptions)
    names, trials = cli.build_trials(options)
    halving = cli.build_halving(options, trials, setup.recipe)
    with cli.training_members(setup) as (progress, began):
        found = sweep(
            setup.model, splits, setup.recipe, trials, jax.random.key(options.seed),
            seeds=options.seeds, halving=halving, out=setup.out / cli.MEMBERS, progress=progress,
        )  # fmt: skip
    from jaxnet.report import figures

    cli.write_text(setup.out / "sweep.csv", found.csv())
    error = "error" if splits.classes is not None else "error / variance"
    path = setup.out / "figures/validation_curve.png"
    figures.validation_curve(found.table, names, found.best, path, error=error)
    console.sweep(found, names)
    assert found.population.predictions is not None
    more = {
        "sweep": {"trials": found.table, "best": found.best, "words": found.words},
        "hard_examples": cli.hardest(found.population.predictions.test, splits), "resumed": began,
    }  # fmt: skip
    return cli.report(setup, found.model, found.run, more, findings=found.findings)


if __name__ == "__main__":
    sys.exit(cli.main("sweep", cli.SweepOptions(), __doc__, began=BEGAN, work=work))

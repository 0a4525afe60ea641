"""Which hyperparameters suit this data set?

    jaxnet sweep                         32 learning rates; --trials 256 for more
    jaxnet sweep --space learning_rate=1e-4:1 dropout=0:0.5 hidden=64,128x64
    jaxnet sweep --method quasi-random --seeds 3
    jaxnet sweep --trials 256 --halving 4     the best quarter goes on after epochs 1, 4, 16, ...

Trains a network for every trial, one program per architecture. The validation set chooses, so the
error analysis of the chosen network is measured on the test set, and the interval of the best trial
allows for the choice. Writes sweep.csv, figures/validation_curve.png, and what `train` writes for
the chosen network.
"""

from collections.abc import Sequence
from typing import Any

import jax

from jaxnet.cli import runner
from jaxnet.cli.options import SweepOptions, build_halving, build_trials
from jaxnet.cli.outputs import MEMBERS, Setup, hardest, report, training_members
from jaxnet.report import console
from jaxnet.runtime.files import write_text
from jaxnet.studies.sweep import sweep


def work(setup: Setup) -> dict[str, Any]:
    """Train all trials, choose, and write."""
    options, splits = setup.options, setup.splits
    assert isinstance(options, SweepOptions)
    names, trials = build_trials(options)
    halving = build_halving(options, trials, setup.recipe)
    with training_members(setup) as (progress, began):
        found = sweep(
            setup.model, splits, setup.recipe, trials, jax.random.key(options.seed),
            seeds=options.seeds, seconds=options.seconds, halving=halving,
            out=setup.out / MEMBERS, progress=progress,
        )  # fmt: skip
    from jaxnet.report import figures

    write_text(setup.out / "sweep.csv", found.csv())
    path = setup.out / "figures/validation_curve.png"
    figures.validation_curve(found.table, names, found.best, path, regression=not splits.counted)
    console.sweep(found, names)
    assert found.population.predictions is not None
    more = {
        "sweep": {"trials": found.table, "best": found.best, "words": found.words},
        "hard_examples": hardest(found.population.predictions.test, splits), "resumed": began,
    }  # fmt: skip
    return report(setup, found.model, found.run, more, findings=found.findings, chosen=True)


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    return runner.main(
        "sweep",
        SweepOptions(),
        __doc__,
        began=began,
        work=work,
        arguments=arguments,
        program=program,
    )

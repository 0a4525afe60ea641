"""Which hyperparameters suit this data set?

    python -m experiments.sweep                                             256 learning rates: --trials 256
    python -m experiments.sweep --space learning_rate=1e-4:1 dropout=0:0.5 hidden=64,128x64 --method
    quasi-random --seeds 3
    python -m experiments.sweep --trials 256 --halving 4                    the best quarter goes on after epochs 1, 4, 16, ...

Trains a network for every trial, all in one program a structure; the validation set chooses, and
the test set is looked at once, by the chosen network. Writes sweep.csv,
figures/validation_curve.png and what `train` writes, for the chosen one.
"""

import sys
from typing import Any

import jax
import numpy as np

from experiments import BEGAN
from jaxnet import space
from jaxnet.cli.options import SweepOptions, build_space
from jaxnet.cli.outputs import MEMBERS, Setup, hardest, report, training_members
from jaxnet.cli.runner import main
from jaxnet.diagnostics.findings import edge_of_sweep
from jaxnet.population.halving import Halving
from jaxnet.report import console
from jaxnet.runtime import files
from jaxnet.studies.space import at_edge
from jaxnet.studies.sweep import sweep


def work(setup: Setup) -> dict[str, Any]:
    """Train all trials, choose, and write."""
    options = setup.options
    assert isinstance(options, SweepOptions)
    axes = build_space(options)
    match options.method:
        case "grid":
            trials = space.grid(axes, options.trials)
        case "random":
            trials = space.random(axes, options.trials, seed=options.seed)
        case "quasi-random":
            trials = space.quasi_random(axes, options.trials, seed=options.seed)
    halving = None
    if options.halving is not None:
        halving = Halving.geometric(
            min(trial.get("epochs", setup.recipe.epochs) for trial in trials),
            factor=options.halving,
        )
    with training_members(setup) as (watch, began):
        found = sweep(
            setup.model, setup.splits, setup.recipe, trials, jax.random.key(options.seed),
            seeds=options.seeds, halving=halving, out=setup.out / MEMBERS, watch=watch,
        )  # fmt: skip
    from jaxnet.report import figures

    files.write_text(setup.out / "sweep.csv", found.csv())
    error = "error" if setup.splits.classes is not None else "error / variance"
    figures.validation_curve(
        found.table, list(axes), found.best, setup.out / "figures/validation_curve.png", error=error
    )
    console.trials(
        found.table, [*axes, *(["trained_epochs"] if halving is not None else [])], found.best
    )
    for words in found.words:
        console.say(words)
    predictions, classes = found.population.predictions, setup.splits.classes
    assert predictions is not None
    more = {
        "sweep": {"trials": found.table, "best": found.best, "words": found.words},
        "hard_examples": []
        if classes is None
        else hardest(predictions.test, np.asarray(setup.splits.test.y)),
        "resumed": began,
    }
    edges = [name for name in axes if at_edge(found.table[name].tolist(), found.best)]
    findings = [edge_of_sweep(name, float(found.table[name][found.best])) for name in edges]
    return report(setup, found.model, found.run, more, findings=findings)


if __name__ == "__main__":
    sys.exit(main("sweep", SweepOptions(), __doc__, began=BEGAN, work=work))

"""What should I change, and how much does each change gain?

    jaxnet advise FILE.csv --label COLUMN
    jaxnet advise FOLDER --model cnn --epochs 10

Trains changes of the recipe of the options beside it, all on the same folds of the examples: other
learning rates and schedules, longer trainings, other sizes, normalization, weight decay, dropout,
dropout in a wider network that is trained longer and at a higher rate, label smoothing,
augmentation of images, early stopping, class weights and an ensemble of 8 networks, as far as they
apply. Columns of a table that do not matter are left out, and so are
labels that are likely wrong, where there are many, and values that are far from predicted ones. The
command reports what each change gains on examples that its networks have not seen, with 95%
intervals that allow for the choice of the best. Changes that fall behind are dropped early. The
network that is saved has the best recipe; the test set is used once, for its error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax

from jaxnet.cli import runner
from jaxnet.cli.options import Options
from jaxnet.cli.outputs import MEMBERS, Setup, report, training_members
from jaxnet.studies.advise import advise
from jaxnet.studies.design import MANY, design_of


@dataclass(frozen=True)
class AdviseOptions(Options):
    """Every option of advice."""

    seeds: int = 2
    """networks per fold of each change that stays to the end"""
    rounds: int = 1
    """how often a change may be adopted and others tried from there, at most 5"""
    measure: Literal["error", "balanced_error", "log_loss", "rmse"] = "error"
    """the score whose gain is measured; balanced_error: every class counts the same; rmse: for
    values, in their units
    """
    seconds: float | None = None
    """time limit in seconds, kept by training fewer seeds and trying fewer changes"""


def work(setup: Setup) -> dict[str, Any]:
    """Try the changes, and write the network of the best recipe."""
    options = setup.options
    assert isinstance(options, AdviseOptions)
    with training_members(setup) as (progress, began):
        found = advise(
            setup.model, setup.splits, setup.recipe, jax.random.key(options.seed),
            tolerance=options.tolerance, seeds=options.seeds,
            rounds=options.rounds, measure=options.measure, seconds=options.seconds,
            balance=options.balance, out=setup.out / MEMBERS, progress=progress,
        )  # fmt: skip
    from jaxnet.report import figures

    figures.gains(found, setup.out / "figures/gains.png")
    more = {"verdict": found.verdict, "advice": found.summary(), "resumed": began}
    pool = design_of(setup.splits, setup.recipe, MANY[0]).splits
    return report(setup._replace(splits=pool), *found.network, more, str(found))


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    return runner.main(
        "advise",
        AdviseOptions(),
        __doc__,
        began=began,
        work=work,
        arguments=arguments,
        program=program,
    )

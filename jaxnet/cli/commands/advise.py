"""What should I change, and how much does each change gain?

    jaxnet advise FILE.csv --label COLUMN
    jaxnet advise FOLDER --model cnn --epochs 10

Trains the network that the options describe and changed versions of it, all on the same folds of
the examples: other learning rates and schedules, longer training, other sizes, normalization,
weight decay, dropout, dropout in a wider network that is trained longer and at a higher learning
rate, label smoothing, augmentation of images, early stopping, class weights and an ensemble of 8
networks, as far as they apply. It also tries leaving out columns of a table that do not matter,
leaving out or correcting labels that are likely wrong, and leaving out values that are far from
predicted ones. The command reports what each change gains on examples that its networks were not
trained on, with 95% intervals that are corrected for picking the best. Changes that fall behind are
dropped early. The saved network has the best recipe; the test set is used once, for its error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax

from jaxnet.cli import runner
from jaxnet.cli.options import Options
from jaxnet.cli.outputs import MEMBERS, Setup, report, training_members
from jaxnet.diagnostics.findings import Code
from jaxnet.studies.advise import advise
from jaxnet.studies.design import MANY, design_of


@dataclass(frozen=True)
class AdviseOptions(Options):
    """Every option of advice."""

    seeds: int = 2
    """networks per fold for changes that are not dropped early"""
    rounds: int = 1
    """rounds of adopting the best change and trying further changes on top of it, at most 5"""
    measure: Literal["error", "balanced_error", "log_loss", "rmse"] = "error"
    """the score whose gain is measured; balanced_error: every class counts the same; rmse: for
    values, in their units
    """
    seconds: float | None = None
    """time limit in seconds; fewer networks are trained and fewer changes tried to meet it"""


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
    # one network and no target: its remedies could undo what was measured to help
    unjudged = (Code.HIGH_BIAS,) if options.target_error is None else ()
    return report(setup._replace(splits=pool), *found.network, more, str(found), unjudged=unjudged)


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

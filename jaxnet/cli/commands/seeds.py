"""How much of a result is luck, and how many seeds does a claimed difference need?

    jaxnet seeds --members 30 --difference 0.005

Trains the same network with many random seeds, three times: with everything random, with only the
initialization random, and with only the order of the examples random. Reports how much the test
error varies, and how many seeds are needed to tell a difference of --difference from chance.
"""

from collections.abc import Sequence
from typing import Any

import jax

from jaxnet.cli import runner
from jaxnet.cli.options import SeedsOptions
from jaxnet.cli.outputs import MEMBERS, Setup, hardest, report, training_members
from jaxnet.report import console
from jaxnet.studies.seeds import spread_over_seeds


def work(setup: Setup) -> dict[str, Any]:
    """Train all networks as one population, and compare their test errors."""
    options, splits = setup.options, setup.splits
    assert isinstance(options, SeedsOptions)
    with training_members(setup) as (progress, began):
        found = spread_over_seeds(
            setup.model,
            splits,
            setup.recipe,
            jax.random.key(options.seed),
            members=options.members,
            difference=options.difference,
            out=setup.out / MEMBERS,
            progress=progress,
        )
    console.spreads(found.errors, found.deviation)
    console.say(found.words)
    from jaxnet.report import figures

    path = setup.out / "figures/spread.png"
    figures.spread(found.errors, path, regression=not splits.counted)
    assert found.networks.predictions is not None
    test = found.networks.predictions.test[: options.members]
    more = {
        "members": options.members,
        "seeds": found.summary(),
        "hard_examples": hardest(test, splits),
        "resumed": began,
    }
    return report(setup, setup.model, found.networks[0], more)


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    return runner.main(
        "seeds",
        SeedsOptions(),
        __doc__,
        began=began,
        work=work,
        arguments=arguments,
        program=program,
    )

"""How much of a result is luck, and how many seeds does a claimed difference need?

    python -m experiments.seeds --members 30 --difference 0.005

Trains the same network with many seeds: all luck, that of the initialisation alone, that of the order of examples alone.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import BEGAN
from jaxnet import fit_population, predict
from jaxnet.diagnostics import deviation, repeated, seeds_needed
from jaxnet.evaluation import judge
from jaxnet.options import SeedsOptions
from jaxnet.report import console
from jaxnet.runner import MEMBERS, Setup, hardest, main, report, training_members

KINDS = ("all luck", "initialisation alone", "order of examples alone")


def work(setup: Setup) -> dict[str, Any]:
    """Train all members as one population, and compare their test errors."""
    options, splits = setup.options, setup.splits
    assert isinstance(options, SeedsOptions)
    keys = jax.random.split(jax.random.key(options.seed), options.members)
    same = jnp.broadcast_to(keys[0], keys.shape)
    with training_members(setup) as (watch, began):
        population = fit_population(
            setup.model, splits, setup.recipe, jnp.concatenate([keys, keys, same]),
            order_key=jnp.concatenate([keys, same, keys]), out=setup.out / MEMBERS, watch=watch,
        )  # fmt: skip
    assert population.predictions is not None
    y = np.asarray(splits.test.y)
    metrics = [judge(member, y, splits.standardisation) for member in np.asarray(predict(setup.model, population, splits.test.x))]
    errors = np.array([m.error.estimate for m in metrics]).reshape(len(KINDS), -1)
    by_kind = dict(zip(KINDS, errors, strict=True))
    study = {kind: {"errors": values, "mean": repeated(values), "deviation": deviation(values)} for kind, values in by_kind.items()}
    needed = seeds_needed(study[KINDS[0]]["deviation"], options.difference)
    console.spreads(study)
    words = (
        f"to tell a difference of {options.difference:g} between two recipes from luck (t test at 5%, power 80%), train each with "
        f"{needed.estimate:.0f} seeds ({needed.low:.0f} to {needed.high:.0f}); this says nothing of other test examples"
    )
    console.say(words)
    from jaxnet.report import figures

    figures.spread(by_kind, setup.out / "figures/spread.png")
    more = {
        "members": options.members,
        "seeds": {"kinds": study, "difference": options.difference, "needed": needed, "words": words},
        "hard_examples": [] if splits.classes is None else hardest(population.predictions.test[: options.members], y),
        "resumed": began,
    }
    return report(setup, setup.model, population[0], more)


if __name__ == "__main__":
    sys.exit(main("seeds", SeedsOptions(), __doc__, began=BEGAN, work=work))

"""Seeds: how much test errors differ between networks that differ in random numbers alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxnet.core.recipe import Recipe
from jaxnet.data import Splits
from jaxnet.diagnostics import Estimate, deviation, repeated, seeds_needed
from jaxnet.diagnostics.findings import points
from jaxnet.engine import arguments
from jaxnet.engine.prediction import judge
from jaxnet.errors import InputError, check_number, check_whole
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model
from jaxnet.population.fit import fit_population
from jaxnet.population.predictions import predict
from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress
from jaxnet.progress import of_population, showing
from jaxnet.random import AnyKey, as_key
from jaxnet.runtime.files import plain
from jaxnet.runtime.plan import Plan
from jaxnet.stats.power import MAX_TRAININGS

# Which random numbers differ between the networks of a kind.
ALL, INITIALIZATION, ORDER_ALONE = "all luck", "initialization alone", "order of examples alone"
RANDOMNESS = (ALL, INITIALIZATION, ORDER_ALONE)


@dataclass(frozen=True)
class Spread:
    """Test errors of networks of one recipe that differ in random numbers alone.

    Args:
      errors: by kind of random numbers, the test error of each of its networks: a share of wrong
        predictions, or of a regression a squared error in variances of y.
      mean: of these errors, by kind.
      deviation: the standard deviation of these errors, by kind.
      difference: a difference of test errors between two recipes.
      needed: how many networks of each recipe it takes to tell that difference from chance.
      networks: of all kinds, in the order of `errors`.
    """

    errors: dict[str, Float[np.ndarray, " members"]]
    mean: dict[str, Estimate]
    deviation: dict[str, Estimate]
    difference: float
    needed: Estimate
    networks: Population = field(repr=False, compare=False)

    @property
    def words(self) -> str:
        """How many seeds the difference needs."""
        if self.needed.refused is not None:
            return f"the number of seeds cannot be said: {self.needed.refused}"
        low, estimate, high = (
            f"{n:,.0f}" if math.isfinite(n) else f"more than {MAX_TRAININGS:,}"
            for n in (self.needed.low, self.needed.estimate, self.needed.high)
        )
        return (
            f"to tell a difference of {points(self.difference)} between two recipes from chance (t "
            f"test at 5%, power 80%), train each with {high} seeds. That is the upper limit: the "
            f"estimate is {estimate} ({low} to {high}), but networks may differ more than those "
            "that were measured. This holds for these test examples"
        )

    def summary(self) -> dict[str, Any]:
        """The measurements in the types that JSON has."""
        kinds = {
            kind: {"errors": errors, "mean": self.mean[kind], "deviation": self.deviation[kind]}
            for kind, errors in self.errors.items()
        }
        return plain(
            {
                "kinds": kinds,
                "difference": self.difference,
                "needed": self.needed,
                "words": self.words,
            }
        )


@showing(of_population)
def spread_over_seeds(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    members: int = 30,
    difference: float = 0.005,
    loss: Loss | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | Literal[False] | None = None,
) -> Spread:
    """Trains networks with different seeds and measures how much their test errors differ.

    Args:
      model: the network.
      splits: the data; the test set judges.
      recipe: how each network is trained.
      key: random key, from which those of the networks are split.
      members: networks of each of three kinds: all random numbers differ, those of the
        initialization alone, or those of the order of the examples alone.
      difference: a difference of test errors that is to be told from chance.
      loss: of an example, as in `jaxnet.fit_population`.
      plan: where the networks are trained, as there.
      out: folder for checkpoints and predictions, as there.
      progress: as in `jaxnet.fit_population`.

    Returns:
      The test errors by kind, their spread, and the seeds that the difference needs.

    Raises:
      InputError: for invalid arguments, and where the test set is empty.
    """
    arguments.check(model=model, splits=splits, recipe=recipe)
    key = as_key("key", key)
    check_whole("members", members, most=1 << 20)
    check_number("difference", difference)
    if not len(splits.test):
        raise InputError("the test set is empty; hold some examples out to judge the networks")
    keys = jax.random.split(key, members)
    same = jnp.broadcast_to(keys[0], keys.shape)
    networks = fit_population(
        model,
        splits,
        recipe,
        jnp.concatenate([keys, keys, same]),
        order_key=jnp.concatenate([keys, same, keys]),
        loss=loss,
        plan=plan,
        out=out,
        progress=progress or None,
    )
    y = np.asarray(splits.test.y)
    outputs = np.asarray(predict(model, networks, splits.test.x))
    each = [judge(member, y, splits.standardization).error.estimate for member in outputs]
    errors = dict(zip(RANDOMNESS, np.array(each).reshape(len(RANDOMNESS), -1), strict=True))
    deviations = {kind: deviation(values) for kind, values in errors.items()}
    return Spread(
        errors,
        {kind: repeated(values) for kind, values in errors.items()},
        deviations,
        difference,
        seeds_needed(deviations[ALL], difference),
        networks,
    )

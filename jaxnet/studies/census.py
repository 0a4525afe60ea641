"""census: networks trained on random halves of the examples, which show what each example is worth.

Every example is in about half of the halves, so that as many networks have seen it as have not.
"""

import functools
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxnet.core.recipe import Recipe, resolved
from jaxnet.core.training import Problem
from jaxnet.data import Splits, resampling
from jaxnet.data.dataset import error_unit
from jaxnet.data.resampling import Samples
from jaxnet.data.splitting import units
from jaxnet.diagnostics.findings import applicable
from jaxnet.engine import arguments
from jaxnet.errors import InputError, check_number, check_whole
from jaxnet.models.losses import Loss, check_loss
from jaxnet.models.model import Model
from jaxnet.population.fit import fit_population
from jaxnet.population.predictions import predictions_of
from jaxnet.population.result import Population
from jaxnet.population.scheduler import Progress
from jaxnet.progress import of_population, showing
from jaxnet.random import AnyKey, as_key, numbered
from jaxnet.runtime.plan import Plan
from jaxnet.studies.census_found import found_by
from jaxnet.studies.census_memory import in_words, peak_memory
from jaxnet.studies.census_result import Census
from jaxnet.studies.census_verify import Trainer, has_state
from jaxnet.studies.design import pool_of
from jaxnet.studies.trained import check_seconds, networks_within

MIN_NETWORKS = 16  # networks, so that 8 have not seen an example
MOST = 1 << 20  # networks
WHOLE, ORDER = (
    MOST,
    MOST + 1,
)  # numbers of the keys of the network on all examples, and of the order

logger = logging.getLogger("jaxnet")


@showing(of_population)
def census(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    members: int = 512,
    share: float = 0.5,
    seconds: float | None = None,
    tolerance: float = 0.02,
    loss: Loss | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    progress: Callable[[Progress], None] | Literal[False] | None = None,
) -> Census:
    """Train networks on random halves of the examples, and compare on each example those that saw
    it with those that did not.

    Training and validation set are one pool, and the halves come in pairs that have no example in
    common; examples of a group stay together. A half is given to the training as weights, 0 for the
    examples outside of it, so that all networks share one order of examples: a batch of B examples
    then holds about B/2 of a network, and an epoch goes through its half once. Models with model
    state, such as batch statistics, would see examples of weight 0: they are given subsets, each in
    an order of its own, and an epoch goes through a half twice. One more network trains on the
    whole pool. The test set takes no part.

    A validation set that stops the training, or is more than a quarter of the pool, stays out of
    the pool. The logger "jaxnet" says beforehand how much memory the networks take.

    Args:
        model: the network.
        splits: the data set.
        recipe: how each network is trained.
        key: a random key.
        members: number of networks on halves, an even number of at least 16.
        share: of the examples that each network is trained on.
        seconds: time to keep within on this machine, by training fewer networks, at least 16. A few
            that are trained first show how long they take, and a call that goes on in `out` trains
            as many.
        tolerance: the smallest share of wrong labels that matters.
        loss: as in `fit_population`.
        plan: as in `fit_population`.
        out: a folder for checkpoints and predictions; the same call with it goes on where it was
            stopped. The predictions are mapped from it, so that they need not fit into memory.
        progress: as in `fit_population`.

    Returns:
        The Census.

    Raises:
        InputError: for invalid arguments, for ordered data, and where most networks diverge.

    References:
        Feldman & Zhang 2020 (networks on random subsets, and what they memorize).
    """
    arguments.check(model=model, splits=splits, recipe=recipe)
    arguments.check_in_memory(splits)
    arguments.check_one_label(splits, "census")
    error_unit(splits.train)  # refuses values that are all equal
    key = as_key("key", key)
    check_loss(loss)
    arguments.check_surroundings(out, plan)
    check_whole("members", members, most=MOST)
    if members < MIN_NETWORKS or members % 2:
        raise InputError(
            f"members is {members}; give an even number of at least {MIN_NETWORKS}, since the "
            "halves come in pairs"
        )
    if not 0 < check_number("share", share) < 1:
        raise InputError(f"share is {share}; give a share of the examples between 0 and 1")
    if splits.ordered:
        raise InputError(
            "the data are ordered, and networks on random halves would learn from examples that "
            "come after those they are judged on; give data without an order"
        )
    check_number("tolerance", tolerance)
    check_seconds(seconds)
    recipe = resolved(recipe, len(splits.train))
    pooled, notes = pool_of(splits, recipe, "halves")
    pool = pooled.train
    if (number := units(pool)) < 2 * MIN_NETWORKS:
        what = "examples" if pool.groups is None else "groups"
        raise InputError(
            f"{number} {what} are too few for a census; give at least {2 * MIN_NETWORKS}"
        )
    seen = arguments.without_test(pooled)
    problem = Problem(model, seen, recipe, loss)
    fitted = functools.partial(fit_population, model, seen, recipe, loss=loss, plan=plan)
    if seconds is not None:
        samples, order_key = _drawn(model, pooled, key, members, share)

        def train(networks: int, listen: Callable[[Progress], None]) -> Population:
            some = np.arange(networks)
            return fitted(
                numbered(key, some),
                order_key=order_key,
                resample=samples.only(some),
                progress=listen,
            )

        folder, wanted = None if out is None else Path(out), members
        most = networks_within(train, problem, wanted, seconds, plan=plan, out=folder)
        members = max(MIN_NETWORKS, most - most % 2)
        if members < wanted:
            notes.append(
                f"to keep within {seconds:g} s, {members} of {wanted} networks on halves were "
                "trained: what differs with the half is known less precisely"
            )
    samples, order_key = _drawn(model, pooled, key, members, share)
    _check_halves(samples, members, share)
    notes.append(_step_in_words(recipe, len(pool), share, subsets=order_key is None))
    keys = numbered(key, np.append(np.arange(members), WHOLE))
    bytes_ = peak_memory(problem, samples, keys, plan)
    logger.info("%s", in_words(*bytes_, mapped=out is not None))
    population = fitted(
        keys, order_key=order_key, resample=samples, out=out, progress=progress or None, seen=True
    )
    predictions = predictions_of([model], seen, population, plan, seen=True).train
    assert predictions is not None
    found = found_by(
        population,
        predictions,
        pooled,
        len(splits.train),
        Trainer(model, recipe, key, loss, plan),
        share=share,
        tolerance=tolerance,
        notes=tuple(notes),
    )
    return replace(found, findings=applicable(found.findings, recipe, model, splits))


def _drawn(
    model: Model, splits: Splits, key: Key[Array, ""], members: int, share: float
) -> tuple[Samples, Key[Array, ""] | None]:
    """What each network trains on, the last one on everything, and the key of the order that all
    share; None where each has its own.
    """
    n = len(splits.train)
    halves = resampling.halves(key, members, n, share=share, groups=splits.train.groups)
    samples = resampling.together([halves, resampling.whole(1, n)])
    if has_state(model, splits):
        return samples, None
    return samples.as_weights(), jax.random.fold_in(key, jnp.uint32(ORDER))


def _check_halves(samples: Samples, members: int, share: float) -> None:
    """Refuse halves that hold, or leave out, an example almost always."""
    count = np.sum([samples.seen(member) for member in range(members)], axis=0)
    few = np.minimum(count, members - count)
    if few.min() < 2:
        row = int(few.argmin())
        raise InputError(
            f"with members {members} and share {share:g}, example {row} of the pool is in "
            f"{count[row]} of the {members} halves, but at least 2 networks must be trained on "
            "each example and 2 not; give more members, or a share nearer to 0.5"
        )


def _step_in_words(recipe: Recipe, examples: int, share: float, *, subsets: bool) -> str:
    """What a step of a network takes."""
    batch = min(recipe.batch_size, examples)
    if subsets:
        return (
            "the model has a state that examples of weight 0 would change, such as batch "
            f"statistics, so each network is given its {share:.0%} of the examples as a subset: a "
            f"step takes {batch} of them, and an epoch goes through them {1 / share:.3g} times"
        )
    return (
        f"all networks share one order of the examples, of which each uses its {share:.0%}: a step "
        f"takes about {share * batch:.0f} examples, {share:.0%} of a batch of {batch}, and an "
        "epoch "
        "goes through them once"
    )

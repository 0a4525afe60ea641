"""What a training shows to be wrong with itself: read off networks that were trained anyway, and
where they are suspicious, off small probes.
"""

import functools
import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from jaxnet.core.objective import forward, losses_of
from jaxnet.core.training import Problem
from jaxnet.data import Dataset, Standardization
from jaxnet.data.splitting import on_host, take
from jaxnet.diagnostics.causes import FEW, Probes, healthy, of_first_step, of_probes, plain_findings
from jaxnet.diagnostics.findings import Finding
from jaxnet.diagnostics.training import Signs, signs_of
from jaxnet.models.model import with_outputs
from jaxnet.population.fit import fit_population
from jaxnet.population.predictions import member_predictions
from jaxnet.population.result import Population
from jaxnet.runtime.plan import Plan

FACTORS = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)  # of the learning rate, for probes
FEW_STEPS, MANY, MANY_STEPS = 300, 1000, 300  # steps and examples of probes
SCALED = 10_000  # examples of which the scale of inputs is measured
TOLD = 64  # examples by whose outputs probabilities are told
SHARPNESS = (1.0, 10.0, 100.0, 1000.0)  # of outputs that are as right as they can be

logger = logging.getLogger("jaxnet")


def training_findings(
    problem: Problem,
    population: Population,
    *,
    key: Key[Array, ""],
    tolerance: float,
    plan: Plan | None = None,
    outputs: np.ndarray | None = None,
    seen: Bool[np.ndarray, "members examples"] | None = None,
    attainable: float = 0.0,
) -> tuple[Finding, ...]:
    """Find what is wrong with a training.

    Where the networks learned their training examples and predict others better than guesses do,
    nothing is trained. Otherwise small networks are, at learning rates from a thousandth to ten
    thousand times that of the recipe, to find the cause.

    Args:
        problem: what the networks were trained on.
        population: the networks, trained with signals.
        key: a random key.
        tolerance: the smallest difference that matters, on the scale of the error.
        plan: as in `fit_population`.
        outputs: (members, examples[, classes]) what the networks predict for the training set; by
            default it is computed.
        seen: (members, examples) which training examples each network was trained on; by default
            those of the population's samples.
        attainable: the smallest error that is known to be attainable.

    Returns:
        The findings, one for each cause; none where the training is healthy.
    """
    signs = signs_of_training(problem, population, plan=plan, outputs=outputs, seen=seen)
    found = plain_findings(signs)
    if found or healthy(signs, tolerance, attainable):
        return tuple(found)
    found = of_first_step(signs) or of_probes(signs, probes(problem, key=key))
    return tuple(found)


def signs_of_training(
    problem: Problem,
    population: Population,
    *,
    plan: Plan | None = None,
    outputs: np.ndarray | None = None,
    seen: Bool[np.ndarray, "members examples"] | None = None,
) -> Signs:
    """Summarize what trained networks show; the arguments are those of `training_findings`."""
    train = on_host(problem.splits.train)
    if outputs is None:
        x = np.asarray(train.x)
        waves = member_predictions([problem.model], population, x, plan)
        outputs = np.concatenate([each for _, each in waves])
    if seen is None:
        members, samples = range(len(population)), population.samples
        seen = np.ones(outputs.shape[:2], bool)
        if samples is not None:
            seen = np.stack([samples.seen(member) for member in members])
    return signs_of(
        population.history,
        population.runs[0].layers,
        population.diverged,
        outputs,
        np.asarray(train.y),
        seen,
        scale=_scale(problem),
        bounded=_bounded(problem, population),
        steps=problem.recipe.epochs * problem.steps,
    )


def _scale(problem: Problem) -> float:
    """The largest root mean square of an input that networks get; of images, that of all pixels; 1
    for tokens, which have no scale.
    """
    train, standardization = problem.splits.train, problem.splits.standardization
    if train.schema.tokens:
        return 1.0
    rows = np.unique(np.linspace(0, len(train) - 1, SCALED).astype(np.int64))
    held = standardization.held(np.asarray(train.x)[rows])
    inputs = jax.jit(Standardization.inputs)(standardization.on_device, held)
    squares = np.square(np.asarray(inputs, np.float64)).mean(0)
    return float(np.sqrt(squares.mean() if squares.ndim > 1 else squares.max()))


def _bounded(problem: Problem, population: Population) -> float:
    """The loss of outputs that are as right as the network can give them, as a share of that of
    outputs that are all alike; 0 for a regression and for several labels.

    Outputs that are probabilities cannot be larger than 1.
    """
    splits = problem.splits
    if splits.classes is None:
        return 0.0
    outputs = _outputs(problem, population)
    outputs = outputs[np.isfinite(outputs).all(-1)]
    shares = len(outputs) > 0 and outputs.min() >= 0
    unbounded = not shares or not np.allclose(outputs.sum(-1), 1, atol=1e-3)
    right = np.eye(splits.train.outputs, dtype=np.float32)
    same = np.zeros_like(right) if unbounded else np.full_like(right, 1 / len(right))
    sharp = [np.float32(each) * right for each in (SHARPNESS if unbounded else SHARPNESS[:1])]
    of_each = jax.jit(
        jax.vmap(functools.partial(losses_of, splits, problem.loss), in_axes=(0, None))
    )
    alike, *rest = np.asarray(of_each(np.stack([same, *sharp]), right)).mean(1).tolist()
    best = min(rest)
    return best / alike if np.isfinite(alike) and alike > 0 and np.isfinite(best) else 0.0


def _outputs(problem: Problem, population: Population) -> Float[np.ndarray, "examples outputs"]:
    """What the first network that did not diverge hands to the loss, for some examples."""
    splits = problem.splits
    run = population[int(np.argmin(population.diverged))]
    model = with_outputs(problem.model, splits.train.outputs)

    @jax.jit
    def outputs(own: Standardization, network: tuple[PyTree, PyTree], x: Array) -> Array:
        return forward(model, *network, own.inputs(x), precision=problem.recipe.precision)[0]

    own, x = splits.standardization, np.asarray(splits.train.x)[:TOLD]
    return np.asarray(outputs(own.on_device, run.chosen, own.held(x)))


def probes(problem: Problem, *, key: Key[Array, ""]) -> Probes:
    """Train the same network on 32 examples and on a part of the training set, at learning rates
    far below and above its own.

    It is not regularized there: no dropout, augmentation, smoothing of labels or early stop.

    Args:
        problem: what is trained.
        key: a random key.
    """
    rate = problem.recipe.learning_rate
    factors = np.array([1.0] if rate is None else FACTORS)
    few = _errors(problem, FEW, FEW_STEPS, factors, key)
    steps = min(MANY_STEPS, problem.recipe.epochs * problem.steps)
    many = _errors(problem, MANY, steps, factors, key)
    return Probes(np.nan if rate is None else float(np.asarray(rate)), factors, few, many)


def _errors(
    problem: Problem,
    examples: int,
    steps: int,
    factors: Float[np.ndarray, " rates"],
    key: Key[Array, ""],
) -> Float[np.ndarray, " rates"]:
    """The training errors of networks on a few examples, in their last epoch."""
    train, recipe = on_host(problem.splits.train), problem.recipe
    some = take(train, spread(train, examples))
    none = take(some, slice(0, 0))
    batches = -(-len(some) // min(recipe.batch_size, len(some)))
    recipe = replace(
        recipe,
        epochs=max(1, steps // batches),
        patience=None,
        augmentation=None,
        dropout=None,
        label_smoothing=None,
    )
    if recipe.learning_rate is not None:
        rates = np.asarray(recipe.learning_rate, np.float32) * factors.astype(np.float32)
        recipe = replace(recipe, learning_rate=rates)
    splits = replace(problem.splits, train=some, validation=none, test=none, target_sample=None)
    with _silent():  # that networks diverge at rates far too high is what they are trained for
        found = fit_population(
            problem.model, splits, recipe, jnp.stack([key] * len(factors)), loss=problem.loss
        )
    history = found.history
    if history.train_accuracy is not None:
        errors = 1 - np.asarray(history.train_accuracy)[:, -1]
    else:
        losses = np.asarray(history.train_loss, np.float64)
        errors = np.minimum(1, losses[:, -1] / _guessing(problem, some, losses))
    return np.where(found.diverged, np.nan, errors)


def _guessing(problem: Problem, some: Dataset, losses: np.ndarray) -> float:
    """The loss of guessing the mean; with a loss of one's own, that at the beginning."""
    if problem.loss is not None:
        return float(np.nanmedian(losses[:, 0]))
    targets = np.asarray(problem.splits.standardization.targets(np.asarray(some.y)))
    return float(np.mean(np.var(targets, 0)))


def spread(train: Dataset, count: int) -> Int[np.ndarray, " rows"]:
    """Choose rows of a few examples, of every class equally many as far as there are so many.

    Args:
        train: the examples.
        count: how many rows.
    """
    rows = np.random.default_rng(0).permutation(len(train))
    if train.classes is not None:
        y = np.asarray(train.y)[rows]
        turn = np.zeros(len(rows), np.int64)
        for each in np.unique(y):
            turn[y == each] = np.arange((y == each).sum())
        rows = rows[np.argsort(turn, kind="stable")]
    return np.sort(rows[:count])


@contextmanager
def _silent() -> Generator[None, None, None]:
    """Nothing is logged."""

    def drop(_: logging.LogRecord) -> bool:
        return False

    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)

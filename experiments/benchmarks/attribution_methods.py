"""What TracIn, influence functions and TRAK predict for networks that are trained on subsets.

A method gives each training example an effect on the margin (the log-odds of the label) of each
test example. The prediction for a subset is the sum of the effects of its examples, so that the
first two methods need one vector of parameters per subset, and never the effects themselves:
up to a number that is the same for all subsets, as it is for a rank correlation.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PyTree

Logits = Callable[[PyTree, Array], Array]  # (params, x) -> (examples, classes)
Subsets = Float[Array, "subsets examples"]
Predicted = Float[Array, "subsets tests"]


def margins(
    logits: Logits, params: PyTree, x: Float[Array, "examples ..."], y: Int[Array, " examples"]
) -> Float[Array, " examples"]:
    """The log-odds of the label of each example."""
    found = logits(params, x)
    own = jnp.take_along_axis(found, y[:, None], 1)[:, 0]
    others = jnp.where(jax.nn.one_hot(y, found.shape[1], dtype=bool), -jnp.inf, found)
    return own - jax.nn.logsumexp(others, axis=1)


def losses(logits: Logits, params: PyTree, x: Any, y: Any) -> Float[Array, " examples"]:
    """The cross-entropy of each example, which is a function of its margin alone."""
    return jax.nn.softplus(-margins(logits, params, x, y))


def _descents(logits: Logits, params: PyTree, x: Any, y: Any, subsets: Subsets) -> PyTree:
    """The sum over each subset of the negative gradients of the losses, with a leading axis."""

    def total(at: PyTree, weights: Array) -> Array:
        return weights @ losses(logits, at, x, y)

    return jax.lax.map(lambda some: jax.grad(lambda p: -total(p, some))(params), subsets)


def _along(logits: Logits, params: PyTree, x: Any, y: Any, directions: PyTree) -> Predicted:
    """The derivative of the margin of each example along each direction."""

    def of(direction: PyTree) -> Array:
        return jax.jvp(lambda p: margins(logits, p, x, y), (params,), (direction,))[1]

    return jax.lax.map(of, directions)


@functools.partial(jax.jit, static_argnums=0)
def tracin(
    logits: Logits,
    checkpoints: PyTree,
    rates: Float[Array, " checkpoints"],
    train: tuple[Array, Array],
    test: tuple[Array, Array],
    subsets: Subsets,
) -> Predicted:
    """Predict margins by what gradient steps on the examples would change at some checkpoints.

    Args:
        logits: the network.
        checkpoints: its parameters during training, with a leading axis.
        rates: the learning rate at each checkpoint.
        train: inputs and labels of the training examples.
        test: inputs and labels of the test examples.
        subsets: (subsets, examples) 1 for the examples of each subset, else 0.

    Returns:
        (subsets, tests) predictions.

    References:
        Pruthi et al. 2020 (TracInCP), with the margin of a test example in place of its loss.
    """

    def at(params: PyTree, rate: Array) -> Array:
        return rate * _along(logits, params, *test, _descents(logits, params, *train, subsets))

    return jax.lax.map(lambda one: at(*one), (checkpoints, rates)).sum(0)


@functools.partial(jax.jit, static_argnums=0, static_argnames="steps")
def influence(
    logits: Logits,
    params: PyTree,
    train: tuple[Array, Array],
    test: tuple[Array, Array],
    subsets: Subsets,
    damping: Float[Array, ""] | float,
    *,
    steps: int,
) -> Predicted:
    """Predict margins by influence functions: by a Newton step, with the damped Gauss-Newton matrix
    of the mean loss in place of the Hessian, which need not be positive definite.

    Args:
        logits: the network.
        params: its parameters after training.
        train: inputs and labels of the training examples.
        test: inputs and labels of the test examples.
        subsets: (subsets, examples) 1 for the examples of each subset, else 0.
        damping: what is added to the diagonal of the matrix.
        steps: number of steps of the conjugate gradients.

    Returns:
        (subsets, tests) predictions.

    References:
        Koh & Liang 2017, eq. 2 and section 3; Martens 2010 (Gauss-Newton matrix).
    """
    x, y = train

    def product(direction: PyTree) -> PyTree:
        def of(p: PyTree) -> Array:
            return logits(p, x)

        found, moved = jax.jvp(of, (params,), (direction,))
        share = jax.nn.softmax(found)
        curved = share * (moved - (share * moved).sum(1, keepdims=True)) / len(y)
        (back,) = jax.vjp(of, params)[1](curved)
        return jax.tree.map(lambda b, d: b + damping * d, back, direction)

    # The mean over the subsets is left out first, since it says nothing about their order.
    centered = subsets - subsets.mean(0, keepdims=True)
    descents = _descents(logits, params, *train, centered)
    return _along(logits, params, *test, jax.lax.map(lambda b: solved(product, b, steps), descents))


def solved(product: Callable[[PyTree], PyTree], right: PyTree, steps: int) -> PyTree:
    """Solve `product(x) == right` by so many steps of conjugate gradients.

    Args:
        product: multiplies with a symmetric matrix whose eigenvalues are above 0.
        right: the right side.
        steps: number of steps.

    References:
        Hestenes & Stiefel 1952.
    """

    def dot(one: PyTree, other: PyTree) -> Array:
        return jax.tree.reduce(jnp.add, jax.tree.map(jnp.vdot, one, other))

    def plus(one: PyTree, factor: Array, other: PyTree) -> PyTree:
        return jax.tree.map(lambda a, b: a + factor * b, one, other)

    def ratio(one: Array, other: Array) -> Array:
        return jnp.where(other > 0, one / jnp.where(other > 0, other, 1.0), 0.0)

    def step(_: int, state: tuple[PyTree, PyTree, PyTree, Array]) -> Any:
        x, residual, direction, power = state
        moved = product(direction)
        rate = ratio(power, dot(direction, moved))
        x, residual = plus(x, rate, direction), plus(residual, -rate, moved)
        left = dot(residual, residual)
        return x, residual, plus(residual, ratio(left, power), direction), left

    begin = jax.tree.map(jnp.zeros_like, right), right, right, dot(right, right)
    return jax.lax.fori_loop(0, steps, step, begin)[0]


@functools.partial(jax.jit, static_argnums=0, static_argnames=("size", "block"))
def projected(
    logits: Logits,
    params: PyTree,
    examples: tuple[Array, Array],
    key: Key[Array, ""],
    *,
    size: int,
    block: int = 256,
) -> Float[Array, "examples size"]:
    """Compute the gradient of each example's margin, projected: every number is the sum of as many
    of its entries, with random signs, and each entry is in one of them.

    Args:
        logits: the network.
        params: its parameters.
        examples: inputs and labels.
        key: a random key.
        size: how many numbers to project to.
        block: how many gradients are held at once.

    References:
        Weinberger et al. 2009 (feature hashing, which keeps inner products on average).
    """
    flat, as_params = ravel_pytree(params)
    order_key, sign_key = jax.random.split(key)
    count = -(-flat.size // size)
    order = jax.random.permutation(order_key, count * size)
    signs = jax.random.rademacher(sign_key, (flat.size,), flat.dtype)

    def of(example: tuple[Array, Array]) -> Array:
        x, y = example

        def margin(entries: Array) -> Array:
            return margins(logits, as_params(entries), x[None], y[None])[0]

        gradient = jnp.pad(signs * jax.grad(margin)(flat), (0, count * size - flat.size))
        return gradient[order].reshape(count, size).sum(0)

    return jax.lax.map(of, examples, batch_size=block)


@jax.jit
def trak_effects(
    train: Float[Array, "examples size"], test: Float[Array, "tests size"]
) -> Float[Array, "tests examples"]:
    """Compute what TRAK finds with one network, before the probabilities of labels come in: the
    effects of a linear regression on projected gradients.

    Args:
        train: projected gradients of the margins of the training examples, more than they have
            numbers each.
        test: those of the test examples.
    """
    return test @ jnp.linalg.solve(train.T @ train, train.T)


def trak(
    effects: Float[Array, "tests examples"], right: Float[Array, " examples"], subsets: Subsets
) -> Predicted:
    """Predict margins by one step of logistic regression on projected gradients.

    Args:
        effects: the mean of `trak_effects` over networks.
        right: the probability of each training example's label, the mean over networks.
        subsets: (subsets, examples) 1 for the examples of each subset, else 0.

    Returns:
        (subsets, tests) predictions.

    References:
        Park et al. 2023, section 3, without the last step, which sets small effects to 0.
    """
    return subsets @ (effects * (1 - right)[None]).T

"""The kernel's updates are optax's, for gradients from 1e-12 to 1e3 and zeros among them.

Every change is optax's to 1e-6; Adam's, to 1e-6 of what it would be if its gradients did not cancel
one another. With Adam's usual decays optax takes 1 - 0.999 in float64 but 0.999^t in float32, and
is 1e-5 from the truth in the first steps, the kernel 4e-6.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental import pallas as pl

from jaxnet import Recipe
from jaxnet.core.optimizers import EPSILON, decays, step_numbers, transformation
from jaxnet.core.recipe import SCHEDULES, as_float32
from jaxnet.kernels.updates import (
    DIRECTIONS,
    MOMENTS,
    SMALLEST_NORMAL,
    clipped,
    ratio,
    refined,
    update,
)

# With fused multiply-add in both; the other tests are compiled without.
ROUNDED_ONCE = {"xla_backend_optimization_level": 3}
STEPS, ROWS, COLUMNS = 200, 4, 128
NEVER = np.s_[0, :16]  # parameters whose gradient is always 0
RNG = np.random.default_rng(0)


def gradients(*shape):
    """Of each parameter another size, a tenth of them zero; in the last row of another size at each
    step.
    """
    size = 10.0 ** RNG.uniform(-12, 3, shape)
    grads = size * RNG.normal(size=(STEPS, *shape))
    grads[:, -1] = 10.0 ** RNG.uniform(-12, 3, (STEPS, shape[-1])) * RNG.normal(
        size=(STEPS, shape[-1])
    )
    grads[RNG.random(grads.shape) < 0.1] = 0
    grads[:, *NEVER] = 0
    return grads.astype(np.float32)


GRADIENTS, PARAM = gradients(ROWS, COLUMNS), RNG.normal(size=(ROWS, COLUMNS)).astype(np.float32)
SAID = {"momentum": 0.9, "b2": 0.999}  # the usual ones, as a user would give them
RECIPES = {
    "sgd": Recipe(optimizer="sgd", learning_rate=0.1, schedule="constant"),
    "momentum": Recipe(optimizer="momentum", learning_rate=0.1, schedule="constant"),
    "nesterov": Recipe(optimizer="nesterov", learning_rate=0.1, momentum=0.8, schedule="cosine"),
    "adam": Recipe(optimizer="adam", schedule="constant", learning_rate=1e-3, **SAID),
    "adamw": Recipe(
        optimizer="adamw", learning_rate=1e-3, weight_decay=0.1, schedule="warmup_cosine", **SAID
    ),
    "adam of short memory": Recipe(
        optimizer="adam", learning_rate=1e-2, momentum=0.0, b2=0.9, schedule="one_cycle"
    ),
}


def numbers_of(recipe):
    """A row a step of each number."""
    numbers = step_numbers(as_float32(recipe), STEPS, jnp.arange(STEPS, dtype=jnp.int32))
    return {
        name: jnp.broadcast_to(jnp.asarray(value, jnp.float32), (STEPS,))
        for name, value in numbers.items()
    }


def factors(recipe):
    """What the kernel's moments lack: see on_chip.py."""
    return (
        [1 - decay for decay in decays(recipe)] if recipe.optimizer in ("adam", "adamw") else [1.0]
    )


def begin(recipe, param):
    return jnp.asarray(param), tuple(
        jnp.zeros_like(param) for _ in range(MOMENTS[recipe.optimizer])
    )


def _scan(step):
    return jax.jit(lambda *args: jax.lax.scan(step, *args), compiler_options=ROUNDED_ONCE)


def ours(recipe, grads, state, numbers):
    """((param, moments) after the steps, parameters after each, changes of each but for decay)."""

    def step(state, each):
        (param, moments), (grad, now) = state, each
        now = {
            name: number[..., None, None] if number.ndim else number[None, None]
            for name, number in now.items()
        }
        new = update(recipe.optimizer, param, moments, grad, now, decayed="decay" in now)
        change, _ = update(
            recipe.optimizer, jnp.zeros_like(param), moments, grad, now, decayed=False
        )
        return new, (new[0], change)

    state, (params, changes) = _scan(step)(state, (jnp.asarray(grads), numbers))
    return state, np.asarray(params), np.asarray(changes)


def theirs(recipe, grads, param):
    """(optax's state after the steps, parameters after each, changes of each)."""
    optimizer, param = transformation(as_float32(recipe), STEPS), jnp.asarray(param)

    def step(state, grad):
        change, opt_state = optimizer.update(grad, state[1], state[0])
        return (optax.apply_updates(state[0], change), opt_state), (
            optax.apply_updates(state[0], change),
            change,
        )

    (_, state), (params, changes) = _scan(step)((param, optimizer.init(param)), jnp.asarray(grads))
    return state, np.asarray(params), np.asarray(changes)


def in_float64(recipe):
    """Adam's changes by Kingma & Ba 2015, alg. 1, and what they would be if all gradients had one
    sign.
    """
    first, second = (float(decay) for decay in decays(as_float32(recipe)))
    mean = square = size = np.zeros((ROWS, COLUMNS))
    changes, sizes = [], []
    for count, grad in enumerate(GRADIENTS.astype(float), 1):
        mean, size = (
            first * old + (1 - first) * new for old, new in ((mean, grad), (size, np.abs(grad)))
        )
        square = second * square + (1 - second) * grad**2
        scale = (
            float(np.float32(recipe.learning_rate))
            / (1 - first**count)
            / (np.sqrt(square / (1 - second**count)) + EPSILON)
        )
        changes.append(-mean * scale)
        sizes.append(size * scale)
    return np.array(changes), np.array(sizes)


def worst(changes, want, sizes):
    """The largest error, relative to a size; where that is 0 there may be none."""
    error = np.abs(changes - want)
    assert (error[sizes == 0] == 0).all()
    return (error[sizes > 0] / sizes[sizes > 0]).max()


def both(recipe):
    """(The kernel's, optax's) parameters and changes of all steps."""
    return ours(recipe, GRADIENTS, begin(recipe, PARAM), numbers_of(recipe))[1:], theirs(
        recipe, GRADIENTS, PARAM
    )[1:]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov"])
def test_every_change_is_that_of_optax(optimizer):
    (_, changes), (_, want) = both(
        Recipe(optimizer=optimizer, learning_rate=0.1, schedule="constant")
    )
    np.testing.assert_allclose(changes, want, rtol=1e-6)


@pytest.mark.parametrize(("first", "second"), [(0.9, 0.999), (0.9, 0.99), (0.0, 0.9)])
def test_every_change_of_adam_is_that_of_optax(first, second):
    recipe = Recipe(
        optimizer="adam", learning_rate=1e-3, momentum=first, b2=second, schedule="constant"
    )
    (_, changes), (_, want) = both(recipe)
    assert worst(changes, want, in_float64(recipe)[1]) < 1e-6


def test_changes_of_the_usual_adam_are_nearer_to_the_truth_than_those_of_optax():
    recipe = Recipe(optimizer="adam", learning_rate=1e-3, schedule="constant")
    (_, changes), (_, of_optax), (want, sizes) = *both(recipe), in_float64(recipe)
    assert worst(changes, want, sizes) < 4e-6
    assert worst(changes, want, sizes) < worst(of_optax, want, sizes) < 2e-5


@pytest.mark.parametrize("name", RECIPES)
def test_parameters_stay_with_those_of_optax(name):
    """Over 200 steps, decay and schedule included: to 1e-5 of the longest step, and 1e-6 of the
    largest that they have been.
    """
    (params, _), (want, _) = both(RECIPES[name])
    steps = np.abs(np.diff(want, axis=0, prepend=PARAM[None])).max(0)
    allowed = 1e-5 * steps + 1e-6 * np.abs(want).max(0)
    assert (np.abs(params - want) <= allowed).all()
    assert np.abs(params - PARAM).max() > 0.01


@pytest.mark.parametrize("name", RECIPES)
def test_a_gradient_that_is_always_zero_moves_nothing_but_by_decay(name):
    recipe = RECIPES[name]
    (param, moments), params, changes = ours(
        recipe, GRADIENTS, begin(recipe, PARAM), numbers_of(recipe)
    )
    assert all(np.isfinite(leaf).all() for leaf in (param, *moments, params))
    assert (changes[:, *NEVER] == 0).all()
    if recipe.weight_decay is None:
        assert (params[:, *NEVER] == PARAM[NEVER]).all()
    else:
        shrunk = np.prod(1 - np.asarray(numbers_of(recipe)["decay"], float))
        np.testing.assert_allclose(param[NEVER], PARAM[NEVER] * shrunk, rtol=1e-5)


def test_decay_only_where_it_is_asked_for():
    now = {"step": jnp.full((1, 1), 0.1), "decay": jnp.full((1, 1), 0.01)}
    param, zero = jnp.asarray(PARAM), jnp.zeros_like(PARAM)
    np.testing.assert_allclose(
        update("sgd", param, (), zero, now, decayed=True)[0], 0.99 * PARAM, rtol=1e-6
    )
    assert np.array_equal(update("sgd", param, (), zero, now, decayed=False)[0], PARAM)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_are_in_the_numbers(schedule):
    recipe = Recipe(optimizer="adamw", learning_rate=0.02, weight_decay=0.3, schedule=schedule)
    _, _, rates = theirs(
        Recipe(optimizer="sgd", learning_rate=0.02, schedule=schedule),
        np.ones((STEPS, 1, 1), np.float32),
        PARAM[:1, :1],
    )
    np.testing.assert_allclose(
        numbers_of(recipe)["decay"], -0.3 * rates.ravel(), rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize("name", RECIPES)
def test_the_state_goes_to_the_kernel_and_back(name):
    """Half of the steps are optax's, the others the kernel's: its moments are optax's then, without
    their factors.
    """
    recipe, half = RECIPES[name], STEPS // 2
    state, params, _ = theirs(recipe, GRADIENTS[:half], PARAM)
    moments = [
        leaf / f for leaf, f in zip(moments_of(recipe, state), factors(recipe), strict=False)
    ]
    rest = {key: value[half:] for key, value in numbers_of(recipe).items()}
    (param, moments), _, _ = ours(
        recipe, GRADIENTS[half:], (jnp.asarray(params[-1]), tuple(moments)), rest
    )
    want_state, want, _ = theirs(recipe, GRADIENTS, PARAM)
    steps = np.abs(np.diff(want, axis=0, prepend=PARAM[None])).max(0)
    assert (np.abs(param - want[-1]) <= 1e-5 * steps + 1e-6 * np.abs(want).max(0)).all()
    for leaf, factor, optax_leaf, power in zip(
        moments, factors(recipe), moments_of(recipe, want_state), (1, 2), strict=False
    ):
        error = np.abs(leaf * factor - optax_leaf) / np.maximum(
            np.abs(GRADIENTS).max(0) ** power, SMALLEST_NORMAL
        )
        assert error.max() < 2e-6


def moments_of(recipe, state):
    """The arrays of an optax state that are like the parameters."""
    found = [leaf for leaf in jax.tree.leaves(state) if leaf.shape == (ROWS, COLUMNS)]
    assert len(found) == MOMENTS[recipe.optimizer]
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_members_are_each_alone(name):
    """A leading axis of three, with numbers of their own."""
    recipe, scale = RECIPES[name], jnp.asarray([1.0, 0.5, 2.0])
    few, numbers = GRADIENTS[:20], {key: value[:20] for key, value in numbers_of(recipe).items()}
    own = {
        key: value[:, None] * (scale[None] if key in ("step", "decay") else jnp.ones((1, 3)))
        for key, value in numbers.items()
    }
    grads = np.stack([few, -few, 0.1 * few], 1)
    _, together, _ = ours(recipe, grads, begin(recipe, np.stack([PARAM, 2 * PARAM, -PARAM])), own)
    for j, sign in enumerate((1, 2, -1)):
        _, alone, _ = ours(
            recipe,
            grads[:, j],
            begin(recipe, sign * PARAM),
            {key: value[:, j] for key, value in own.items()},
        )
        np.testing.assert_allclose(together[:, j], alone, rtol=1e-6, atol=1e-7)


def test_tables_name_the_same_optimizers():
    assert set(DIRECTIONS) == set(MOMENTS)
    for name, count in MOMENTS.items():
        numbers = {key: jnp.full((1, 1), 0.5) for key in ("step", "momentum", "b2", "epsilon")}
        param = jnp.ones((2, 3))
        new, moments = jax.jit(functools.partial(update, name, decayed=False))(
            param, (param,) * count, param, numbers
        )
        assert new.shape == (2, 3)
        assert len(moments) == count


LEAVES = [np.array([[3.0, -4.0]], np.float32), np.array([[12.0], [0.0]], np.float32)]  # of norm 13


@pytest.mark.parametrize(
    ("scale", "largest"),
    [(1, 1.0), (1, 12.9), (1, 13.1), (1, 1e6), (1e-6, 1e-7), (1e6, 1.0), (0, 1.0), (1, 0.0)],
)
def test_clipping_is_that_of_optax(scale, largest):
    grads = [jnp.asarray(leaf * np.float32(scale)) for leaf in LEAVES]
    clip = optax.clip_by_global_norm(largest)
    want, _ = clip.update(grads, clip.init(grads))
    for got in (
        clipped(grads, jnp.full((1, 1), largest)),
        jax.jit(clipped)(grads, jnp.full((1, 1), largest)),
    ):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    norm = float(np.sqrt(sum((np.asarray(leaf, float) ** 2).sum() for leaf in got)))
    assert norm == pytest.approx(min(13 * scale, largest), rel=1e-6)


def test_clipping_of_members_is_each_alone():
    largest = jnp.asarray([1.0, 20.0, 5.0])
    many = [jnp.stack([leaf, 2 * leaf, 0 * leaf]) for leaf in LEAVES]
    together = clipped(many, largest[:, None, None])
    for j in range(3):
        alone = clipped([leaf[j] for leaf in many], largest[j][None, None])
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[j], b, rtol=1e-6)


def test_division_in_and_outside_of_a_kernel():
    """From the smallest number that a root may be to the largest."""
    b = jnp.asarray(
        np.geomspace(np.sqrt(SMALLEST_NORMAL), 1e19, 1024, dtype=np.float32).reshape(8, 128)
    )
    a = jnp.asarray(RNG.normal(size=b.shape), jnp.float32)

    def kernel(a, b, out):
        out[...] = ratio(a[...], b[...])

    inside = pl.pallas_call(
        kernel, out_shape=jax.ShapeDtypeStruct(b.shape, b.dtype), interpret=True
    )(a, b)
    for got in (jax.jit(ratio)(a, b), inside):
        np.testing.assert_allclose(got, np.asarray(a, float) / b, rtol=1e-6)


@pytest.mark.parametrize("error", [0.0, 2.0**-12, -(2.0**-12)])
def test_a_step_of_newton_squares_the_error_of_a_reciprocal(error):
    """For a reciprocal right to 12 bits, as a chip has it, what is left is less than rounding."""
    b = np.geomspace(np.sqrt(SMALLEST_NORMAL), 1e19, 1024, dtype=np.float32)
    a = RNG.normal(size=b.shape).astype(np.float32)
    about = ((1 + error) / b.astype(float)).astype(np.float32)
    got = refined(*map(jnp.asarray, (a, b, about)))
    np.testing.assert_allclose(got, a.astype(float) / b, rtol=4e-7)

"""Augmentation is what SciPy and scikit-image make of the same numbers, drawn as its docstring
says, the same on any plan.
"""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CACHE, gap
from PIL import Image
from scipy import ndimage, stats

import jaxnet
from jaxnet.data import augmentation
from jaxnet.data.augmentation import Augmentation, affine, cut_out, mix_up, resample, smooth
from jaxnet.engine.loop import train
from jaxnet.random import AUGMENT, DROPOUT, INIT, ORDER, counted
from jaxnet.report import figures

KEY = jax.random.key(0)
ALL = Augmentation(shift=1.5, rotate=15, scale=0.2, elastic=0.7, noise=0.1, cutout=3, mixup=0.4)
SHAPES = [(3, 11, 16), (3, 16, 11), (3, 8, 8, 3), (2, 7, 12, 3), (2, 1, 9)]
augment = jax.jit(augmentation.augment)


def draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


def one_hot(n, classes=4):
    return jnp.asarray(np.eye(classes, dtype=np.float32)[np.arange(n) % classes])


def changed(images, how, seed=0):
    """Images alone, changed."""
    return np.asarray(
        augment(how, keys(len(images), seed), jnp.asarray(images), one_hot(len(images)))[0]
    )


def each(images, transform):
    """transform(picture, i) of every channel of every image i."""
    channels = images.reshape(*images.shape[:3], -1)
    return np.stack(
        [
            np.stack(
                [
                    transform(channels[i, ..., c].astype(float), i)
                    for c in range(channels.shape[-1])
                ],
                -1,
            )
            for i in range(len(images))
        ]
    ).reshape(images.shape)


def moved(images, shift=None, degrees=None, scale=None):
    n, height, width = images.shape[:3]
    shift, degrees, scale = (
        np.zeros((n, 2)) if shift is None else shift,
        degrees or [0.0] * n,
        scale or [1.0] * n,
    )
    at = jax.jit(affine, static_argnums=(0, 1))(
        height, width, *(jnp.asarray(a, jnp.float32) for a in (shift, degrees, scale))
    )
    return np.asarray(resample(jnp.asarray(images), at))


@pytest.mark.parametrize("shape", SHAPES)
def test_resampling_is_map_coordinates(shape):
    images, (n, height, width) = draw(*shape), shape[:3]
    at = (
        np.random.default_rng(1)
        .uniform(-4, max(height, width) + 4, (n, 2, height, width))
        .astype(np.float32)
    )
    want = each(
        images,
        lambda image, i: ndimage.map_coordinates(
            image, at[i].astype(float), order=1, mode="nearest"
        ),
    )
    np.testing.assert_allclose(resample(jnp.asarray(images), jnp.asarray(at)), want, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_affine_transforms_are_those_of_scipy(shape):
    images, middle = draw(*shape), (np.array(shape[1:3]) - 1) / 2
    n = shape[0]
    shift, degrees, scale = (
        [(1.5, -2.25), (-0.3, 4.0), (0.0, -20.0)][:n],
        [30.0, -100.0, 7.0][:n],
        [1.3, 0.6, 0.9][:n],
    )
    want = each(images, lambda image, i: ndimage.shift(image, shift[i], order=1, mode="nearest"))
    np.testing.assert_allclose(moved(images, shift=shift), want, atol=1e-4)
    want = each(
        images,
        lambda image, i: ndimage.rotate(image, degrees[i], reshape=False, order=1, mode="nearest"),
    )
    np.testing.assert_allclose(moved(images, degrees=degrees), want, atol=1e-4)

    def transform(image, matrix, shift):
        return ndimage.affine_transform(
            image, matrix, middle - matrix @ (middle + shift), order=1, mode="nearest"
        )

    want = each(images, lambda image, i: transform(image, np.eye(2) / scale[i], np.zeros(2)))
    np.testing.assert_allclose(moved(images, scale=scale), want, atol=1e-4)

    def at_once(image, i):
        cosine, sine = np.cos(np.deg2rad(degrees[i])), np.sin(np.deg2rad(degrees[i]))
        return transform(
            image, np.array([[cosine, sine], [-sine, cosine]]) / scale[i], np.array(shift[i])
        )

    np.testing.assert_allclose(
        moved(images, shift=shift, degrees=degrees, scale=scale), each(images, at_once), atol=1e-4
    )


def test_affine_transforms_are_those_of_scikit_image():
    transform = pytest.importorskip("skimage.transform")
    images = draw(3, 12, 9)
    degrees, scale, middle = [20.0, -65.0, 130.0], [1.2, 0.7, 1.0], np.array([4.0, 5.5])
    want = each(images, lambda image, i: transform.rotate(image, degrees[i], order=1, mode="edge"))
    np.testing.assert_allclose(moved(images, degrees=degrees), want, atol=1e-4)

    def resized(image, i):
        there = transform.SimilarityTransform(scale=scale[i], translation=middle * (1 - scale[i]))
        return transform.warp(image, there.inverse, order=1, mode="edge", clip=False)

    np.testing.assert_allclose(moved(images, scale=scale), each(images, resized), atol=1e-4)


@pytest.mark.parametrize(("height", "width", "sigma"), [(28, 28, 4), (28, 20, 4), (10, 21, 3)])
def test_elastic_field_is_impulses_seen_through_a_gaussian(height, width, sigma):
    rows, columns = (-(-(size - 1) // sigma) + 5 for size in (height, width))
    lattice, margin = draw(rows, columns), 12 * sigma
    plane = np.zeros((2 * margin + (rows - 1) * sigma + 1, 2 * margin + (columns - 1) * sigma + 1))
    plane[margin : -margin or None : sigma, margin : -margin or None : sigma] = lattice
    seen = (
        ndimage.gaussian_filter(plane, sigma, mode="constant", truncate=10)
        * 2
        * np.pi
        * sigma**2
        / np.sqrt(np.pi)
    )
    first = margin + 2 * sigma
    field = smooth(jnp.asarray(lattice), height, width, float(sigma))
    np.testing.assert_allclose(
        field, seen[first : first + height, first : first + width], atol=1e-4
    )


@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (32, 20), (5, 40), (1, 3)])
def test_elastic_field_has_variance_one_everywhere(height, width):
    sigma = max(height, width) / augmentation.SMOOTHNESS
    rows, columns = (int(np.ceil((size - 1) / sigma)) + 5 for size in (height, width))
    impulses = np.eye(rows * columns, dtype=np.float32).reshape(-1, rows, columns)
    variance = (np.asarray(smooth(jnp.asarray(impulses), height, width, sigma)) ** 2).sum(0)
    np.testing.assert_allclose(variance, 1, atol=1e-3)


def own_coordinates(n, height, width):
    """Images whose pixels are their row and column, and a third channel, which is 1."""
    rows, columns = np.indices((height, width))
    return np.broadcast_to(
        np.stack([rows, columns, np.ones_like(rows)], -1).astype(np.float32), (n, height, width, 3)
    )


def test_displacements_have_the_standard_deviation_asked_for():
    images = own_coordinates(3000, 14, 18)
    off = (changed(images, Augmentation(elastic=0.5)) - images)[:, 3:-3, 3:-3]
    np.testing.assert_allclose(off[..., :2].std(0), 0.5, rtol=0.06)
    assert abs(off[..., :2].std() / 0.5 - 1) < 0.01
    assert abs(off[..., :2].mean()) < 0.01
    # neither axis follows the other
    assert abs(np.corrcoef(off[..., 0].ravel(), off[..., 1].ravel())[0, 1]) < 0.02
    assert np.corrcoef(off[:, 3, 3, 0], off[:, 4, 3, 0])[0, 1] > 0.9  # neighbors do


def test_shift_rotation_and_scale_are_uniform_within_their_strengths():
    n, height, width = 4000, 25, 21
    seen = changed(own_coordinates(n, height, width), Augmentation(shift=2, rotate=12, scale=0.2))
    row, column = height // 2, width // 2
    down, across = (
        seen[:, row + 1, column] - seen[:, row, column],
        seen[:, row, column + 1] - seen[:, row, column],
    )
    scale = 1 / np.hypot(down[:, 0], down[:, 1])
    degrees = np.rad2deg(np.arctan2(across[:, 0], across[:, 1]))
    np.testing.assert_allclose(np.rad2deg(np.arctan2(-down[:, 1], down[:, 0])), degrees, atol=1e-2)
    # The middle is read from where it was before the shift.
    turn = np.stack([down[:, :2], across[:, :2]], -1)
    shift = np.linalg.solve(turn, (np.array([row, column]) - seen[:, row, column, :2])[..., None])[
        ..., 0
    ]
    numbers = {
        "down": shift[:, 0] / 2,
        "across": shift[:, 1] / 2,
        "degrees": degrees / 12,
        "scale": np.log(scale) / np.log(1.2),
    }
    for name, values in numbers.items():
        assert np.abs(values).max() < 1 + 1e-3, name
        assert stats.kstest(values, stats.uniform(-1, 2).cdf).pvalue > 1e-3, name
    assert np.abs(np.corrcoef(list(numbers.values())) - np.eye(4)).max() < 5 / np.sqrt(n)


@pytest.mark.parametrize("side", [0, 1, 2, 3, 4, 50])
@pytest.mark.parametrize("shape", [(4, 7, 9), (4, 9, 7, 3)])
def test_cutout_is_a_loop_over_pixels(shape, side):
    images, centers = draw(*shape), np.array([[0, 0], [3, 5], [6, 6], [2, 1]])
    want = images.copy()
    for i, (row, column) in enumerate(centers):
        for r in range(row - side // 2, row - side // 2 + side):
            for c in range(column - side // 2, column - side // 2 + side):
                if 0 <= r < shape[1] and 0 <= c < shape[2]:
                    want[i, r, c] = 0
    assert np.array_equal(
        cut_out(jnp.asarray(images), jnp.asarray(centers, jnp.float32), side), want
    )


def test_every_pixel_is_as_often_the_middle_of_a_cutout():
    holes = changed(np.ones((6000, 5, 8), np.float32), Augmentation(cutout=1)) == 0
    assert (holes.sum((1, 2)) == 1).all()
    assert stats.chisquare(holes.sum(0).ravel()).pvalue > 1e-3


@pytest.mark.parametrize("shape", [(5, 3), (5, 4, 6), (5, 4, 6, 3)])
def test_mixup_is_a_loop_over_pairs(shape):
    values, share = draw(*shape), np.float32([1, 0.5, 0.9, 0.6, 0.7])
    want = [share[i] * values[i] + (1 - share[i]) * values[(i + 1) % 5] for i in range(5)]
    np.testing.assert_allclose(mix_up(jnp.asarray(values), jnp.asarray(share)), want, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5, 1.0, 8.0])
def test_mixup_takes_shares_from_a_beta_distribution(alpha):
    own = np.tile(np.float32([[1], [0]]), (1500, 1))
    inputs, targets = augment(
        Augmentation(mixup=alpha), keys(3000), jnp.asarray(own), jnp.asarray(np.c_[own, 1 - own])
    )
    assert np.array_equal(inputs[:, 0], targets[:, 0])
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    share = np.where(own == 1, inputs, 1 - inputs)[:, 0].astype(float)
    assert share.min() >= 0.5
    # Kolmogorov's test by hand, below what float32 rounds to 1: for alpha 0.1 that is a share of
    # 0.17.
    beta, at = stats.beta(alpha, alpha), np.linspace(0.5, 0.9999, 200)
    assert np.abs(
        (share[:, None] <= at).mean(0) - (beta.cdf(at) - beta.cdf(1 - at))
    ).max() < 1.95 / np.sqrt(len(share))


@pytest.mark.parametrize("shape", [(4000, 3), (400, 5, 6), (200, 5, 6, 3)])
def test_noise_is_normal_with_the_standard_deviation_asked_for(shape):
    inputs = draw(*shape)
    noise = (changed(inputs, Augmentation(noise=0.3)) - inputs).astype(float)
    assert stats.kstest(noise.ravel(), stats.norm(0, 0.3).cdf).pvalue > 1e-3
    flat = noise.reshape(len(noise), -1)
    assert np.abs(np.corrcoef(flat.T) - np.eye(flat.shape[1])).max() < 5.5 / np.sqrt(len(flat))


EVERYTHING = dict.fromkeys(augmentation.AUGMENTATION_FIELDS, 0)
ZEROS = (
    [({name: 0.0}, SHAPES[1]) for name in augmentation.AUGMENTATION_FIELDS]
    + [(EVERYTHING, shape) for shape in SHAPES]
    + [({}, SHAPES[0])]
)


@pytest.mark.parametrize(("strengths", "shape"), ZEROS)
def test_strength_zero_changes_nothing(strengths, shape):
    images, n = draw(*shape), shape[0]
    inputs, targets = augment(Augmentation(**strengths), keys(n), jnp.asarray(images), one_hot(n))
    assert np.array_equal(inputs, images)
    assert np.array_equal(targets, one_hot(n))


@pytest.mark.parametrize("name", augmentation.AUGMENTATION_FIELDS)
def test_every_strength_changes_every_example_in_its_own_way(name):
    how, images = Augmentation(**{name: getattr(ALL, name)}), np.tile(draw(1, 12, 10), (6, 1, 1))
    images[:, 0, 0] = np.arange(6)  # a neighbor to be mixed with
    once, again, other = changed(images, how), changed(images, how), changed(images, how, seed=1)
    assert np.array_equal(once, again)
    assert all(np.abs(a - b).max() > 0 for a, b in zip(once, other, strict=True))
    off = (once - images).reshape(6, -1)
    assert all(np.abs(off[i] - off[j]).max() > 0 for i in range(6) for j in range(i))


def test_what_happens_to_an_example_depends_on_its_key_alone():
    images, how = (
        draw(8, 12, 10),
        Augmentation(
            **{
                name: getattr(ALL, name)
                for name in augmentation.AUGMENTATION_FIELDS
                if name != "mixup"
            }
        ),
    )
    whole = augment(how, keys(8), jnp.asarray(images), one_hot(8))[0]
    parts = [
        augment(how, keys(8)[i : i + 2], jnp.asarray(images[i : i + 2]), one_hot(2))[0]
        for i in range(0, 8, 2)
    ]
    np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-5)


def test_channels_go_the_same_way():
    gray = draw(5, 9, 12)
    how = Augmentation(shift=1.5, rotate=15, scale=0.2, elastic=0.7, cutout=3, mixup=0.4)
    color = changed(np.stack([gray, 2 * gray, gray], -1), how)
    for channel, factor in enumerate((1, 2, 1)):
        np.testing.assert_allclose(color[..., channel], factor * changed(gray, how), atol=1e-4)


def test_streams_of_augmentation_do_not_meet_the_others():
    begins = (INIT, ORDER, DROPOUT, AUGMENT, AUGMENT + augmentation.ELASTIC)
    words = {
        tuple(
            np.asarray(jax.random.key_data(counted(jax.random.key(seed), begin + count))).tolist()
        )
        for seed in range(10)
        for begin in begins
        for count in range(10)
    }
    assert len(words) == 10 * len(begins) * 10


@pytest.mark.parametrize("elastic", [None, 1.0])
def test_long_streams_meet_no_key_of_a_later_example(elastic):
    """Around the places where the streams of one round end, for the keys of examples and those of
    their displacements.
    """
    how, batch, order_key = Augmentation(shift=1.0, elastic=elastic), 128, counted(KEY, ORDER)
    seen = []
    for end in (1 << 28, 1 << 29, 1 << 30, 1 << 31):
        for number in (end // batch - 1, end // batch, end // batch + 1):
            first = augmentation.key_of_step(how, order_key, number, batch)
            for begin in (0,) if elastic is None else (0, augmentation.ELASTIC):
                seen += [
                    tuple(np.asarray(jax.random.key_data(counted(first, begin + place))).tolist())
                    for place in (0, 127)
                ]
    seen += [
        tuple(np.asarray(jax.random.key_data(counted(KEY, begin))).tolist())
        for begin in (INIT, ORDER, DROPOUT)
    ]
    assert len(set(seen)) == len(seen)
    below = augmentation.key_of_step(how, order_key, 1000, batch)
    assert np.array_equal(
        jax.random.key_data(below), jax.random.key_data(counted(KEY, AUGMENT + 1000 * batch))
    )


def noisy(x, noise, plan):
    """What a network is given in two epochs of training on these images and noise, in an order of
    its own: one row for each example and epoch.
    """
    seen, linear = [], jaxnet.linear().for_outputs(2)

    def apply(params, model_state, x, *, key=None, dropout=None):
        if key is not None:  # in training
            jax.debug.callback(lambda x: seen.append(np.asarray(x).reshape(len(x), -1)), x)
        return linear.apply(params, model_state, x, key=key, dropout=dropout)

    splits = jaxnet.split(x, np.arange(len(x)) % 2, validation=0.0, test=0.2)
    few = jaxnet.Recipe(epochs=2, batch_size=128, augmentation=Augmentation(noise=noise))
    model = jaxnet.Model(linear.init, apply)
    jax.block_until_ready(jaxnet.fit(model, splits, few, KEY, plan=plan))
    jax.effects_barrier()
    rows = np.concatenate(seen)
    assert len(rows) == 2 * 10 * 128
    return rows[np.lexsort(rows.T)]


def test_every_example_of_every_epoch_has_a_key_of_its_own():
    """Of images that are all the same it makes different ones; and of images that differ more than
    the noise it makes the same ones, whether the batch is split or not.
    """
    alike = noisy(np.zeros((1600, 3, 3), np.float32), 1.0, jaxnet.Plan())
    assert len(np.unique(alike, axis=0)) == len(alike)
    images = np.broadcast_to(np.arange(1600, dtype=np.float32)[:, None, None], (1600, 3, 3))
    whole, split = (
        noisy(images, 1e-4, plan) for plan in (jaxnet.Plan(), jaxnet.Plan(micro_batch=32))
    )
    assert np.array_equal(whole, split)
    assert len(np.unique(whole, axis=0)) == len(whole)


def test_every_epoch_sees_new_images_and_a_seed_makes_them(digits):

    def losses(shift, seed):
        still = jaxnet.Recipe(
            optimizer="sgd",
            learning_rate=0.0,
            epochs=2,
            augmentation=Augmentation(shift=shift),
            schedule="constant",
            batch_size=128,
        )
        return np.asarray(
            jaxnet.fit(
                jaxnet.mlp((8,)), digits, still, KEY, order_key=jax.random.key(seed)
            ).history.train_loss
        )

    plain, once = losses(0, 0), losses(1, 0)
    assert abs(plain[0] - plain[1]) < 1e-5
    assert abs(once[0] - once[1]) > 1e-4
    assert np.array_equal(once, losses(1, 0))
    assert np.abs(once - losses(1, 1)).min() > 1e-5


def test_tables_take_noise_and_mixup():
    x = draw(300, 6)
    for y in ((x[:, 0] > 0).astype(int), x[:, 0]):
        splits = jaxnet.split(x, y)
        recipe = jaxnet.Recipe(
            epochs=20,
            batch_size=32,
            learning_rate=1e-2,
            augmentation=Augmentation(noise=0.1, mixup=0.2),
            schedule="constant",
        )
        losses = np.asarray(
            jaxnet.fit(jaxnet.mlp((8,)), splits, recipe, KEY).history.validation_loss
        )
        assert losses[-1] < 0.5 * losses[0]


def few_digits(digits, n):
    train = jaxnet.Dataset(
        digits.train.x[:n], digits.train.y[:n], digits.classes, digits.train.pixel_max
    )
    return jaxnet.Splits(train, digits.validation, digits.test, digits.standardization)


def test_nothing_is_mixed_with_an_example_of_weight_zero(digits):
    """Since it may be held out: training is the same, whatever it is."""
    splits, held_out = few_digits(digits, 100), np.arange(100) % 3 == 0
    x = jnp.where(held_out[:, None, None], np.uint8(99), splits.train.x)
    poisoned = jaxnet.Splits(
        jaxnet.Dataset(x, splits.train.y, splits.classes),
        splits.validation,
        splits.test,
        splits.standardization,
    )
    recipe = jaxnet.Recipe(epochs=2, batch_size=32, augmentation=Augmentation(mixup=0.4))
    weights = jnp.asarray(~held_out, jnp.float32)
    clean, dirty = (
        jaxnet.fit(jaxnet.mlp((8,)), s, recipe, KEY, weights=weights).params
        for s in (splits, poisoned)
    )
    assert gap(clean, dirty) == 0
    assert (
        gap(
            clean, jaxnet.fit(jaxnet.mlp((8,)), poisoned, recipe, KEY, weights=jnp.ones(100)).params
        )
        > 1e-2
    )


@pytest.mark.parametrize("name", augmentation.OF_IMAGES)
def test_tables_refuse_what_changes_images(name):
    how, x = Augmentation(**{name: 1.0}), draw(300, 6)
    message = rf"{name} change images, but an example has shape \(6,\); leave them out"
    with pytest.raises(jaxnet.InputError, match=message):
        augmentation.augment(how, keys(300), jnp.asarray(x), one_hot(300))
    splits = jaxnet.split(x, (x[:, 0] > 0).astype(int))
    with pytest.raises(jaxnet.InputError, match=message):
        jaxnet.fit(jaxnet.mlp((8,)), splits, jaxnet.Recipe(augmentation=how), KEY)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "is -1; give a finite number of at least 0, or None"),
        (float("nan"), "is nan; give a finite number"),
        (np.inf, "is inf; give a finite number"),
        (1e300, r"is 1e\+300; give a finite number"),
        ("2", "is '2'; give a finite number"),
        (True, "is True; give a finite number"),
        (np.ones(3), r"has shape \(3,\); give one number, and many through jax.vmap"),
    ],
)
def test_strengths_that_cannot_be_meant_are_refused(digits, value, message):
    for name in ("shift", "mixup"):
        with pytest.raises(jaxnet.InputError, match=f"{name} {message}"):
            jaxnet.fit(
                jaxnet.mlp((8,)),
                digits,
                jaxnet.Recipe(augmentation=Augmentation(**{name: value})),
                KEY,
            )


def test_strengths_under_vmap_are_each_alone_and_none_compiles_anew(digits, compilations):
    splits = few_digits(digits, 200)

    def fit(strength):
        how = Augmentation(
            shift=strength,
            rotate=20 * strength,
            elastic=strength,
            noise=0.2 * strength,
            cutout=4 * strength,
        )
        return jaxnet.fit(
            jaxnet.mlp((16,)), splits, jaxnet.Recipe(epochs=2, batch_size=64, augmentation=how), KEY
        ).params

    many = jax.vmap(fit)(jnp.array([0.0, 0.5, 1.0]))
    before = len(compilations)
    alone = [fit(strength) for strength in (0, 0.5, np.float64(1))]
    assert len(compilations) == before + 1
    for i in range(3):
        assert gap(jax.tree.map(lambda leaf, i=i: leaf[i], many), alone[i]) < 1e-4
    assert min(gap(alone[0], alone[1]), gap(alone[1], alone[2])) > 1e-2


def test_host_loop_resumed_run_and_restored_run_agree_bitwise(digits, tmp_path):
    model, how = jaxnet.mlp((16,)), Augmentation(shift=1, rotate=10, noise=0.1, mixup=0.2)
    few = jaxnet.Recipe(epochs=4, batch_size=64, augmentation=how)
    scan, loop = jaxnet.fit(model, digits, few, KEY), train(model, digits, few, KEY)

    class Stop(Exception):
        pass

    def stop(done, row):
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        train(model, digits, few, KEY, out=tmp_path, progress=stop)
    began = []
    resumed = train(
        model, digits, few, KEY, out=tmp_path, progress=lambda done, row: began.append(done)
    )
    assert began[0] >= 1
    jaxnet.save(resumed, tmp_path / "run")
    restored = jaxnet.restore(tmp_path / "run")
    for run in (loop, resumed, restored):
        assert (
            gap(
                (scan.params, scan.best, scan.history, scan.recipe),
                (run.params, run.best, run.history, run.recipe),
            )
            == 0
        )
    assert restored.recipe.augmentation == Augmentation(
        *map(np.float32, (1, 10)), noise=np.float32(0.1), mixup=np.float32(0.2)
    )
    other = jaxnet.Recipe(
        epochs=4, batch_size=64, augmentation=Augmentation(**{**vars(how), "shift": 0.5})
    )
    with pytest.raises(
        jaxnet.InputError, match=r"recipe.augmentation.shift was 1.0 and is now 0.5"
    ):
        train(model, digits, other, KEY, out=tmp_path)


PLANS = """
import json, sys
from pathlib import Path
import jax, jaxnet
import numpy as np
from jaxnet import Augmentation, Plan, Recipe
from jaxnet.engine.loop import train

sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
from conftest import gap

jaxnet.use_cpu_devices(2)  # conftest makes three
from test_augmentation import few_digits

digits, key, found = jaxnet.load("digits"), jax.random.key(0), {}
model, how, sizes = {
    "mlp": (jaxnet.mlp((8,)), Augmentation(noise=0.1, cutout=2), (250,)),
    "cnn": (
        jaxnet.cnn((4,), (8,)),
        Augmentation(shift=1, rotate=10, scale=0.1, elastic=0.5, cutout=2),
        (256, 250),
    ),
}[sys.argv[3]]
few = Recipe(optimizer="sgd", learning_rate=0.1, epochs=2, batch_size=64, l1=1e-3, augmentation=how)
what = lambda run: (run.params, run.best, run.history)
for n in sizes:
    splits = few_digits(digits, n)
    weights = jax.numpy.asarray(np.random.default_rng(0).uniform(0, 2, n).astype(np.float32))
    fit = lambda plan: jaxnet.fit(model, splits, few, key, weights=weights, plan=plan)
    whole, halves = fit(Plan()), fit(Plan(devices=2))
    found[f"{n}: devices=2"] = gap(what(whole), what(halves))
    for plan in (Plan(2, 16), Plan(micro_batch=8)):
        found[f"{n}: {plan}"] = gap(what(whole), what(fit(plan)))
found["moved"] = gap(whole.params, jaxnet.start(model, splits, few, key).params)


class Stop(Exception):
    pass


def stop(done, row):
    if done == 2:
        raise Stop


here = {"weights": weights, "plan": Plan(devices=2)}
found["train"] = gap(what(train(model, splits, few, key, **here)), what(halves))
try:
    train(model, splits, few, key, out=sys.argv[2], progress=stop, **here)
except Stop:
    pass
began = []
resumed = train(
    model, splits, few, key, out=sys.argv[2], progress=lambda done, row: began.append(done), **here
)
found["resumed"], found["began"] = gap(what(resumed), what(halves)), began[0]
jaxnet.save(resumed, Path(sys.argv[2]) / "run")
for name, params in (
    ("warm", halves.params),
    ("restored", jaxnet.restore(Path(sys.argv[2]) / "run").params),
):
    started = [
        jaxnet.fit(model, splits, few, key, params=params, plan=plan) for plan in (Plan(), Plan(2))
    ]
    found[name] = gap(*map(what, started))
    found[name + " train"] = gap(
        what(train(model, splits, few, key, params=params, plan=Plan(2))), what(started[1])
    )


def many(plan):
    few = Recipe(epochs=1, batch_size=64)
    return jax.vmap(
        lambda key: jaxnet.fit(jaxnet.mlp((4,)), splits, few, key, weights=weights, plan=plan)
    )(jax.random.split(key, 2))


found["vmap"] = gap(what(many(Plan())), what(many(Plan(2, 16))))

refused = {}
for name, network, plan, batch in (
    ("batch statistics", jaxnet.cnn((4,), (8,), normalization="batch"), Plan(2), 64),
    ("batch statistics, parts", jaxnet.cnn((4,), (8,), normalization="batch"), Plan(1, 8), 64),
    ("odd", model, Plan(2), 33),
    ("odd parts", model, Plan(2, 5), 64),
    ("no parts", model, Plan(1, 0), 64),
    ("too many", model, Plan(4), 64),
    ("none", model, Plan(0), 64),
):
    for verb in (jaxnet.fit, train) if name in ("odd", "too many", "none") else (jaxnet.fit,):
        try:
            verb(network, splits, Recipe(batch_size=batch), key, plan=plan)
        except jaxnet.InputError as error:
            refused.setdefault(name, []).append(str(error))
print(json.dumps([found, refused]))
"""


@pytest.mark.parametrize("model", ["mlp", pytest.param("cnn", marks=pytest.mark.slow)])
def test_a_plan_changes_nothing_but_where(model, tmp_path):
    """In a process of its own, in which the CPU is two devices."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
        "PYTHONWARNINGS": "error",
        "JAX_COMPILATION_CACHE_DIR": str(CACHE),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    command = [sys.executable, "-c", PLANS, os.path.dirname(__file__), str(tmp_path), model]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found, refused = json.loads(done.stdout)
    assert found.pop("moved") > 0.05
    assert found.pop("began") == 1
    assert max(found.values()) < 1e-4, found
    assert max(found[name] for name in ("train", "resumed")) == 0, found
    statistics = (
        "a network with batch statistics needs each batch whole; give the plan one "
        "device and no micro_batch"
    )
    assert refused == {
        "batch statistics": [statistics],
        "batch statistics, parts": [statistics],
        "odd": ["2 devices do not divide a batch of 33; give a plan that does"] * 2,
        "odd parts": [
            "micro_batch 5 does not divide the 32 examples that a device gets of a batch; give "
            "one that does"
        ],
        "no parts": [
            "micro_batch 0 does not divide the 64 examples that a device gets of a batch; give "
            "one that does"
        ],
        "too many": ["the plan wants 4 devices, and JAX has 2; on a CPU call use_cpu_devices first"]
        * 2,
        "none": ["0 devices do not divide a batch of 64; give a plan that does"] * 2,
    }


@pytest.mark.parametrize("color", [False, True])
def test_the_picture_of_augmented_images(digits, tmp_path, color):
    x = np.asarray(digits.train.x)[:8, :, 1:7]
    x = np.stack([x, x // 2, x * 0], -1) if color else x
    how = Augmentation(shift=1, rotate=15, elastic=0.5, mixup=0.4)
    for name in ("once", "again"):
        figures.augmented(x, how, digits.standardization, 16.0, tmp_path / f"figures/{name}.png")
    with Image.open(tmp_path / "figures/once.png") as image:
        assert image.format == "PNG"
        width, height = image.size
        pixels = np.asarray(image.convert("RGB")).astype(float)
    assert 500 < width < 1200
    assert 400 < height < 1200
    assert pixels.min() < 100
    assert (np.ptp(pixels, axis=-1).max() > 100) == color
    assert (tmp_path / "figures/once.png").read_bytes() == (
        tmp_path / "figures/again.png"
    ).read_bytes()

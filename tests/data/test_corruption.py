"""Corruptions: against closed forms, SciPy, and what they must leave alone."""

import jax
import numpy as np
import pytest
from scipy import ndimage

from jaxnet.data.corruption import (
    CORRUPTIONS,
    SHARE_CORRUPTIONS,
    corrupt,
    knock_out,
    with_frequencies,
)
from jaxnet.errors import InputError

KEY = jax.random.key(0)


def images(dtype=np.uint8, shape=(6, 12, 10)):
    x = np.random.default_rng(0).uniform(0, 255, shape)
    return (
        ndimage.gaussian_filter(x, (0, 1, 1, *[0] * (len(shape) - 3))) if dtype != np.uint8 else x
    ).astype(dtype)


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize(
    ("dtype", "shape"),
    [(np.uint8, (6, 12, 10)), (np.float32, (6, 12, 10, 3)), (np.uint8, (2, 8, 8, 1))],
)
def test_nothing_changes_at_0_and_type_range_and_key_are_kept(kind, dtype, shape):
    x = images(dtype, shape)
    pixel_max = 255.0
    assert corrupt(x, kind, 0.0, KEY, pixel_max=pixel_max) == pytest.approx(
        x.astype(float), abs=1e-3
    )
    strong = corrupt(x, kind, 1.0, KEY, pixel_max=pixel_max)
    assert (strong.dtype, strong.shape) == (x.dtype, x.shape)
    assert strong.min() >= 0
    assert strong.max() <= 255
    assert not np.array_equal(strong, x)
    assert np.array_equal(strong, corrupt(x, kind, 1.0, KEY, pixel_max=pixel_max))
    if kind in ("noise", "shift", "rotation"):
        assert not np.array_equal(
            strong, corrupt(x, kind, 1.0, jax.random.key(1), pixel_max=pixel_max)
        )


def test_blur_is_scipys():
    x = images(np.float32, (3, 20, 17))
    wanted = ndimage.gaussian_filter(
        x.astype(float), (0, 1.5, 1.5), mode="nearest", radius=(0, 5, 5)
    )
    assert corrupt(x, "blur", 1.5, KEY, pixel_max=255.0) == pytest.approx(wanted, abs=1e-2)


def test_rotation_is_scipys_to_either_side():
    x = images(np.float32, (12, 15, 15))
    turned = corrupt(x, "rotation", 30, KEY, pixel_max=255.0)
    both = [
        [
            ndimage.rotate(image, side * 30, order=1, mode="nearest", reshape=False)
            for image in x.astype(float)
        ]
        for side in (1, -1)
    ]
    gaps = np.abs(np.array(both) - turned).max((2, 3))
    assert (gaps.min(0) < 0.1).all()
    assert set(gaps.argmin(0)) == {0, 1}


def test_shift_moves_so_many_pixels():
    x = np.zeros((40, 21, 21), np.float32)
    x[:, 10, 10] = 1.0
    moved = corrupt(x, "shift", 4.0, KEY)
    weights = moved / moved.sum((1, 2), keepdims=True)
    rows, columns = ((weights * place).sum((1, 2)) - 10 for place in np.indices((21, 21)))
    assert np.hypot(rows, columns) == pytest.approx(np.full(40, 4.0), abs=1e-3)
    assert rows.min() < 0 < rows.max()


def test_contrast_inversion_and_noise_are_their_formulas():
    x = images()
    assert np.array_equal(corrupt(x, "inversion", 1.0, KEY), 255 - x)
    assert np.array_equal(corrupt(x, "inversion", 0.5, KEY), np.full_like(x, np.rint(127.5)))
    assert corrupt(x, "contrast", 0.4, KEY).astype(float) == pytest.approx(
        np.rint(127.5 + 0.6 * (x - 127.5)), abs=1
    )
    gray = np.full((50, 30, 30), 8.0, np.float32)
    noise = corrupt(gray, "noise", 0.1, KEY, pixel_max=16.0) - gray
    assert noise.std() == pytest.approx(1.6, rel=0.02)
    assert noise.mean() == pytest.approx(0.0, abs=0.03)


def test_knock_out_takes_a_share_of_one_class():
    y = np.repeat(np.arange(4), 25)
    kept = knock_out(y, 2, 0.6, KEY)
    assert list(np.bincount(y[kept])) == [25, 25, 10, 25]
    assert (np.diff(kept) > 0).all()
    assert len(knock_out(y, 2, 0.0, KEY)) == 100
    assert 2 not in y[knock_out(y, 2, 1.0, KEY)]


def test_frequencies_are_those_asked_for():
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(3), (10, 50, 40)))
    rows = with_frequencies(y, [2, 0, 6], 8000, KEY)
    shares = np.bincount(y[rows], minlength=3) / 8000
    assert shares == pytest.approx([0.25, 0, 0.75], abs=0.02)
    assert np.array_equal(rows, with_frequencies(y, np.array([2, 0, 6]), 8000, KEY))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: corrupt(np.zeros((5, 3)), "noise", 0.1, KEY), "give images"),
        (lambda: corrupt(np.ones((5, 3, 3)), "fog", 0.1, KEY), "unknown kind 'fog'"),
        (lambda: corrupt(np.ones((5, 3, 3)), "noise", -1.0, KEY), "strength is -1.0"),
        (lambda: corrupt(np.ones((5, 3, 3)), "noise", float("nan"), KEY), "strength is nan"),
        *(
            (lambda kind=kind: corrupt(np.ones((5, 3, 3)), kind, 1.5, KEY), "a share from 0 to 1")
            for kind in SHARE_CORRUPTIONS
        ),
        (lambda: corrupt(np.zeros((5, 3, 3)), "noise", 0.1, KEY), "pixel_max is 0.0"),
        (lambda: knock_out(np.array([0, 1]), 7, 0.5, KEY), "no example has label 7"),
        (lambda: knock_out(np.array([0, 1]), 1, 1.5, KEY), "share is 1.5"),
        (lambda: knock_out(np.array([0.0, 1.0]), 1, 0.5, KEY), "give class numbers"),
        (lambda: with_frequencies(np.array([0, 1]), [1, 1, 1], 5, KEY), "class 2"),
        (lambda: with_frequencies(np.array([0, 1]), [0, 0], 5, KEY), "frequencies"),
        (lambda: with_frequencies(np.array([0, 1]), [1, 1], 0, KEY), "count is 0"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(InputError, match=words):
        call()

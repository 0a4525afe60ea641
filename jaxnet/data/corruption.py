"""Change a data set in known ways: tests of a shift should find them, and estimates of the error
should remain true.

`corrupt` changes images and keeps their labels true; `knock_out` and `with_frequencies` select
examples by class.
"""

import functools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from jaxnet import arrays
from jaxnet.data.augmentation import affine, resample
from jaxnet.errors import InputError, check_known, renamed
from jaxnet.random import AnyKey, as_key, generator
from jaxnet.typing import ArrayLike

CORRUPTIONS = ("noise", "blur", "shift", "rotation", "contrast", "inversion")
SHARE_CORRUPTIONS = ("contrast", "inversion")  # strengths of these are at most 1


@renamed(white="pixel_max")
def corrupt(
    x: ArrayLike,
    kind: Literal["noise", "blur", "shift", "rotation", "contrast", "inversion"] | str,
    strength: float | int | np.number,
    key: AnyKey,
    *,
    pixel_max: float | int | None = None,
) -> Num[np.ndarray, "examples ..."]:
    """Change images by one kind of corruption.

    Args:
        x: (examples, height, width[, channels]) numbers from 0 to `pixel_max`.
        kind: the kind of corruption.
        strength: 0 changes nothing. For "noise" the standard deviation as a share of pixel_max; for
            "blur" the standard deviation of a Gaussian in pixels; for "shift" pixels, each image in
            a random direction; for "rotation" degrees, to either side; for "contrast" the share of
            the contrast around pixel_max / 2 that is lost; for "inversion" the share of the way to
            the negative pixel_max - x, which up to 0.5 is a loss of contrast.
        key: one key.
        pixel_max: the value of a white pixel; by default 255 for uint8, and the largest value
            otherwise.

    Returns:
        Images of the same shape, type and range.

    Raises:
        InputError: for anything but images, for an unknown kind, and for a strength out of range.
    """
    images = arrays.numbers("x", x)
    if images.ndim not in (3, 4) or 0 in images.shape or images.dtype.kind not in "uif":
        raise InputError(
            f"x has shape {images.shape} and type {images.dtype}; give images (examples, height, "
            "width[, channels])"
        )
    check_known("kind", kind, CORRUPTIONS)
    most = 1.0 if kind in SHARE_CORRUPTIONS else float(np.finfo(np.float32).max)
    if not 0 <= strength <= most:
        raise InputError(
            f"strength is {strength!r}; {kind} takes "
            + ("a share from 0 to 1" if kind in SHARE_CORRUPTIONS else "a number of at least 0")
        )
    if pixel_max is None:
        pixel_max = 255.0 if images.dtype == np.uint8 else float(images.max())
    if not 0 < pixel_max < np.inf:
        raise InputError(f"pixel_max is {pixel_max!r}; give the value of a white pixel, above 0")
    radius = int(np.ceil(3 * strength)) if kind == "blur" else 0
    changed = np.asarray(
        _corrupt(
            images,
            np.float32(strength),
            np.float32(pixel_max),
            as_key("key", key),
            kind=kind,
            radius=radius,
        )
    )
    return (np.rint(changed) if images.dtype.kind in "ui" else changed).astype(images.dtype)


def knock_out(
    y: ArrayLike, label: int, share: float | int, key: AnyKey
) -> Int[np.ndarray, " kept"]:
    """Leave out a random share of the examples of one class.

    Args:
        y: (examples,) class numbers.
        label: the class.
        share: share of its examples to leave out, from 0 to 1.
        key: one key.

    Returns:
        (kept,) row numbers in ascending order.

    Raises:
        InputError: for a share out of range, and where no example has the label.

    References:
        Rabanser et al. 2019, "Failing loudly", section 4.1.
    """
    labels = _labels(y)
    if not 0 <= share <= 1:
        raise InputError(f"share is {share!r}; give one from 0 to 1")
    if not (of := np.flatnonzero(labels == label)).size:
        raise InputError(
            f"no example has label {label!r}; the labels are "
            f"{', '.join(map(str, np.unique(labels)))}"
        )
    gone = generator(key, "corruption").permutation(of)[: round(share * len(of))]
    return np.delete(np.arange(len(labels)), gone)


def with_frequencies(
    y: ArrayLike, frequencies: Sequence[float] | ArrayLike, count: int, key: AnyKey
) -> Int[np.ndarray, " count"]:
    """Draw examples with replacement, so that the classes have given frequencies.

    Args:
        y: (examples,) class numbers.
        frequencies: (classes,) of classes 0, 1, ..., at least 0; only their ratios count.
        count: number of examples to draw.
        key: one key.

    Returns:
        (count,) row numbers.

    Raises:
        InputError: where a class with a frequency above 0 has no example.
    """
    labels, wanted = _labels(y), np.asarray(frequencies, np.float64)
    if wanted.ndim != 1 or not np.isfinite(wanted).all() or (wanted < 0).any() or wanted.sum() == 0:
        raise InputError(
            f"frequencies are {frequencies!r}; give one a class, at least 0, and not all of them 0"
        )
    if count < 1:
        raise InputError(f"count is {count!r}; give at least 1")
    rng, rows = generator(key, "corruption"), []
    for label, number in enumerate(rng.multinomial(count, wanted / wanted.sum())):
        if wanted[label] and not (of := np.flatnonzero(labels == label)).size:
            raise InputError(
                f"class {label} is to have frequency {wanted[label]:g}, but no example has it; "
                "give it 0"
            )
        if number:
            rows.append(rng.choice(of, number))
    return rng.permutation(np.concatenate(rows))


@functools.partial(jax.jit, static_argnames=("kind", "radius"))
def _corrupt(
    x: Num[Array | np.ndarray, "examples ..."],
    strength: Float[Array | np.ndarray, ""] | np.floating,
    pixel_max: Float[Array | np.ndarray, ""] | np.floating,
    key: Array,
    *,
    kind: str,
    radius: int,
) -> Float[Array, "examples ..."]:
    images = jnp.asarray(x, jnp.float32)
    n, height, width = images.shape[:3]
    still, size = jnp.zeros((n, 2), jnp.float32), jnp.ones(n, jnp.float32)
    match kind:
        case "noise":
            changed = images + strength * pixel_max * jax.random.normal(
                key, images.shape, jnp.float32
            )
        case "blur":
            away = jnp.arange(-radius, radius + 1, dtype=jnp.int32)
            weights = jnp.exp(-(away**2) / (2 * jnp.maximum(strength, 1e-6) ** 2))
            changed = images
            for axis in (1, 2):
                changed = _smoothed(changed, weights / weights.sum(), axis)
        case "shift":
            angle = jax.random.uniform(key, (n,), jnp.float32, maxval=2 * jnp.pi)
            way = jnp.asarray(strength * jnp.stack([jnp.sin(angle), jnp.cos(angle)], -1))
            changed = resample(images, affine(height, width, way, jnp.zeros(n, jnp.float32), size))
        case "rotation":
            # jax.random.rademacher draws float64 if jax_enable_x64 is set
            side = jax.random.bernoulli(key, jnp.float32(0.5), (n,)).astype(jnp.float32)
            degrees = jnp.asarray(strength * (2 * side - 1))
            changed = resample(images, affine(height, width, still, degrees, size))
        case "contrast":
            changed = images + strength * (pixel_max / 2 - images)
        case _:
            changed = images + strength * (pixel_max - 2 * images)
    return jnp.clip(changed, 0, pixel_max)


def _smoothed(images: Array, weights: Array, axis: int) -> Array:
    """A weighted sum of neighbors along one axis. Beyond its border an image continues with the
    values at its border.
    """
    radius, size = len(weights) // 2, images.shape[axis]
    places, away = (
        jnp.arange(size, dtype=jnp.int32),
        jnp.arange(-radius, radius + 1, dtype=jnp.int32),
    )
    near = jnp.clip(places[:, None] + away[None], 0, size - 1)
    kernel = (
        jnp.zeros((size, size), jnp.float32)
        .at[places[:, None], near]
        .add(jnp.broadcast_to(weights[None], near.shape))
    )
    return jnp.moveaxis(jnp.tensordot(kernel, images, (1, axis), precision="highest"), 0, axis)


def _labels(y: ArrayLike) -> np.ndarray:
    labels = arrays.array("y", y, ("row",))
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise InputError(
            f"y has shape {labels.shape} and type {labels.dtype}; give class numbers (examples,)"
        )
    return labels

"""Augmentation: training examples are changed each time they are seen, inside the compiled step.

    coordinates -> one bilinear reading of the image      shift, rotate, scale, elastic
                -> noise -> cutout -> mixup

Every example has its own key, so the result does not depend on how a batch is split, except for
mixup.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Key, UInt8

from jaxnet import display
from jaxnet.errors import InputError, check_kind, shown, with_known_words
from jaxnet.random import AUGMENT, ORDER, STREAM, block, counted, normal
from jaxnet.typing import Number

# elastic displacements are correlated over 1/7 of the image: 4 pixels of 28, as in Simard et al.
# 2003
SMOOTHNESS = 7
ELASTIC = 1 << 28  # where the long stream of an example begins, counted from its key
LARGEST = float(np.finfo(np.float32).max)


@jax.tree_util.register_dataclass
@with_known_words(translate="shift", zoom="scale", jitter="noise")
@dataclass(frozen=True)
class Augmentation:
    """Strengths of the changes. None removes a change from the program; 0 leaves the examples
    unchanged.

    Each is a number that may be traced. Shift, rotation and scale are drawn uniformly, scale in its
    logarithm.

    Attributes:
        shift: largest shift along each axis, pixels.
        rotate: largest angle, degrees.
        scale: largest change of size; 0.1 makes an image up to 1.1 times larger or smaller.
        elastic: standard deviation of a smooth displacement, pixels.
        noise: standard deviation of normal noise, in standard deviations of the inputs; also for
            tables.
        cutout: side of a square that is set to the mean, pixels.
        mixup: alpha; inputs and targets are mixed with those of the next example, with a share from
            Beta(alpha, alpha); also for tables. If a plan splits the batch, the next example is in
            the same part.

    References:
        elastic: Simard, Steinkraus & Platt 2003, section 2.
        cutout: DeVries & Taylor 2017.
        mixup: Zhang et al. 2018, eq. 1.
    """

    shift: Number | None = None
    rotate: Number | None = None
    scale: Number | None = None
    elastic: Number | None = None
    noise: Number | None = None
    cutout: Number | None = None
    mixup: Number | None = None

    __repr__ = display.text


AUGMENTATION_FIELDS = tuple(f.name for f in fields(Augmentation))
OF_COORDINATES = ("shift", "rotate", "scale", "elastic")
OF_IMAGES = (*OF_COORDINATES, "cutout")


def augment(
    how: Augmentation,
    keys: Key[Array, " batch"],
    inputs: Float[Array, "batch ..."],
    targets: Float[Array, "batch outputs"],
    weights: Float[Array, " batch"] | None = None,
) -> tuple[Float[Array, "batch ..."], Float[Array, "batch outputs"]]:
    """Change the examples of a batch. Beyond its border an image continues with the values at its
    border.

    Args:
        how: the strengths.
        keys: (batch,) one key for each example.
        inputs: (batch, ...) standardized; images are (batch, height, width[, channels]).
        targets: (batch, outputs).
        weights: (batch,) an example of weight 0 may be held out, so it is mixed into no other.

    Returns:
        (inputs, targets), changed.

    Raises:
        InputError: where a change needs images and the inputs are none.
    """
    check(how, inputs.shape[1:])
    drawn = any(getattr(how, name) is not None for name in AUGMENTATION_FIELDS if name != "noise")
    how = jax.tree.map(lambda strength: jnp.asarray(strength, jnp.float32), how)
    none = jnp.zeros((len(keys), 8), jnp.float32)
    draw = (
        jax.vmap(lambda key: jax.random.uniform(key, (8,), jnp.float32, minval=-1.0))(keys)
        if drawn
        else none
    )
    if any(getattr(how, name) is not None for name in OF_COORDINATES):
        inputs = resample(inputs, _coordinates(how, keys, draw, *inputs.shape[1:3]))
    if how.noise is not None:
        noise = normal(jax.random.key_data(keys), math.prod(inputs.shape[1:]))
        inputs = inputs + noise.reshape(inputs.shape) * jnp.broadcast_to(how.noise, inputs.shape)
    if how.cutout is not None:
        centers = jnp.floor((draw[:, 4:6] + 1) / 2 * np.array([inputs.shape[1:3]], np.float32))
        inputs = cut_out(inputs, centers, how.cutout)
    if how.mixup is not None:
        share = larger_share(how.mixup, draw[:, 6:])
        share = share if weights is None else jnp.where(jnp.roll(weights, -1) > 0, share, 1.0)
        inputs, targets = mix_up(inputs, share), mix_up(targets, share)
    return inputs, targets


def key_of_step(
    how: Augmentation, order_key: Key[Array, ""], number: int | Integer[Array, ""], batch: int
) -> Key[Array, ""]:
    """The key from which the keys of a step's examples are counted.

    Args:
        how: the strengths.
        order_key: as in TrainState.
        number: number of the step in the run; may be traced.
        batch: number of examples of a step.

    Returns:
        One key.
    """
    # Elastic displacements draw their many numbers from the places after ELASTIC.
    return block(
        counted(order_key, AUGMENT - ORDER),
        number,
        batch,
        room=STREAM if how.elastic is None else ELASTIC,
    )


def resample(
    images: Float[Array, "batch height width ..."], at: Float[Array, "batch 2 h w"]
) -> Float[Array, "batch h w ..."]:
    """Read images at positions between pixels, by bilinear interpolation.

    Beyond its border an image continues with the values at its border.

    Args:
        images: (batch, height, width[, channels]).
        at: (batch, 2, h, w) rows and columns, in pixels.

    Returns:
        (batch, h, w[, channels]).
    """

    def corner(at: Array, size: int) -> tuple[Array, Array, int]:
        """The pixel before, the distance beyond it, and the step to the pixel after it."""
        at = jnp.clip(at, 0, size - 1)
        before = jnp.minimum(at.astype(jnp.int32), max(size - 2, 0))
        return before, at - before, min(size - 1, 1)

    def one(image: Array, at: Array) -> Array:
        (top, down, below), (left, across, right) = (
            corner(at[axis], image.shape[axis]) for axis in (0, 1)
        )
        down, across = (a.reshape(*a.shape, *[1] * (image.ndim - 2)) for a in (down, across))

        def read(row: Array, column: Array) -> Array:
            return image.at[row, column].get(mode="promise_in_bounds", wrap_negative_indices=False)

        upper = read(top, left) * (1 - across) + read(top, left + right) * across
        lower = read(top + below, left) * (1 - across) + read(top + below, left + right) * across
        return upper * (1 - down) + lower * down

    return jax.vmap(one)(images, at)


def affine(
    height: int,
    width: int,
    shift: Float[Array, "batch 2"],
    degrees: Float[Array, " batch"],
    scale: Float[Array, " batch"],
) -> Float[Array, "batch 2 h w"]:
    """The positions at which to read images so that they appear scaled and rotated about their
    center, then shifted.

    Args:
        height: of the images, pixels.
        width: of the images, pixels.
        shift: (batch, 2) pixels down and to the right.
        degrees: (batch,) positive angles turn the first axis (down) toward the second (right), as
            in `scipy.ndimage.rotate`.
        scale: (batch,) 2 makes an image twice as large.

    Returns:
        (batch, 2, height, width) rows and columns, in pixels.
    """
    angle = jnp.deg2rad(degrees)
    cosine, sine = jnp.cos(angle) / scale, jnp.sin(angle) / scale
    turn = jnp.stack([cosine, sine, -sine, cosine], -1).reshape(-1, 2, 2)
    middle = np.array([[(height - 1) / 2, (width - 1) / 2]], np.float32)
    origin = middle - jnp.einsum("bij,bj->bi", turn, middle + shift, precision="highest")
    # As one product, since XLA would compute the numbers of each example anew for every pixel.
    pixels = np.stack([*np.indices((height, width)), np.ones((height, width))]).astype(np.float32)
    return jnp.einsum(
        "bij,jhw->bihw",
        jnp.concatenate([turn, origin[:, :, None]], -1),
        pixels,
        precision="highest",
    )


def smooth(
    lattice: Float[Array, "... rows columns"], height: int, width: int, sigma: float
) -> Float[Array, "... h w"]:
    """A smooth random field: impulses on a lattice, smoothed by a Gaussian.

    Impulses of variance 1 give a field of variance 1, to 1e-3, since the squared Gaussians sum to
    pi.

    Args:
        lattice: (..., rows, columns) impulses, `sigma` pixels apart. The lattice begins two points
            above and left of the first pixel.
        height: of the field, pixels.
        width: of the field, pixels.
        sigma: standard deviation of the Gaussian, pixels.

    Returns:
        (..., height, width).
    """
    down, across = (
        _gaussian(size, points, sigma)
        for size, points in ((height, lattice.shape[-2]), (width, lattice.shape[-1]))
    )
    return jnp.einsum("hr,...rc,wc->...hw", down, lattice, across, precision="highest") / math.sqrt(
        math.pi
    )


def cut_out(
    images: Float[Array, "batch height width ..."], centers: Float[Array, "batch 2"], side: Number
) -> Float[Array, "batch height width ..."]:
    """Set a square around each center to 0, the mean of standardized inputs.

    Args:
        images: (batch, height, width[, channels]).
        centers: (batch, 2) row and column of each center.
        side: side of the square, pixels.

    Returns:
        The changed images.
    """
    height, width = images.shape[1:3]
    first = centers - jnp.floor(jnp.asarray(side, jnp.float32) / 2)
    row, column = (
        jnp.arange(height, dtype=jnp.float32)[None],
        jnp.arange(width, dtype=jnp.float32)[None],
    )
    rows = (row >= first[:, :1]) & (row < first[:, :1] + side)
    columns = (column >= first[:, 1:]) & (column < first[:, 1:] + side)
    inside = rows[:, :, None] & columns[:, None, :]
    return jnp.where(inside.reshape(*inside.shape, *[1] * (images.ndim - 3)), 0.0, images)


def larger_share(alpha: Number, draw: Float[Array, "batch 2"]) -> Float[Array, " batch"]:
    """The larger one of s and 1 - s, for s from Beta(alpha, alpha); 1 if alpha is 0.

    An example's own label then has the larger share; Beta(alpha, alpha) is symmetric, so pairs are
    mixed as in mixup. s is computed from Student's t with 2 alpha degrees of freedom, without
    rejections.

    Args:
        alpha: parameter of the Beta distribution.
        draw: (batch, 2) numbers uniform from -1 to 1.

    Returns:
        (batch,) shares from 0.5 to 1.

    References:
        Bailey 1994; Devroye 1996, section 3.
    """
    square = jnp.expm1(-jnp.log((draw[:, 0] + 1) / 2) / alpha) * jnp.cos(jnp.pi * draw[:, 1]) ** 2
    return 0.5 + 0.5 / jnp.sqrt(1 + 1 / square)


def mix_up(
    values: Float[Array, "batch ..."], share: Float[Array, " batch"]
) -> Float[Array, "batch ..."]:
    """Mix each example with the next one, and the last with the first.

    Args:
        values: (batch, ...).
        share: (batch,) the share of each example itself.

    Returns:
        (batch, ...) mixed values.
    """
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return share * values + (1 - share) * jnp.roll(values, -1, axis=0)


def check(how: Augmentation, shape: tuple[int, ...] | None = None) -> None:
    """Check the strengths of an augmentation.

    Args:
        how: what a user gave.
        shape: shape of an example; None does not check for images.

    Raises:
        InputError: for strengths out of range, and where a change needs images and the examples are
            none.
    """
    check_kind(
        "augmentation",
        how,
        Augmentation,
        "a jaxnet.Augmentation, such as Augmentation(shift=2), or None",
    )
    for name in AUGMENTATION_FIELDS:
        number = one_number(name, getattr(how, name))
        if number is not None and not 0 <= number <= LARGEST:
            raise InputError(f"{name} is {number}; give a finite number of at least 0, or None")
    wanted = [name for name in OF_IMAGES if getattr(how, name) is not None]
    if wanted and shape is not None and len(shape) not in (2, 3):
        raise InputError(
            f"{' and '.join(wanted)} change images, but an example has shape {shape}; leave them "
            "out"
        )


def one_number(name: str, value: Any) -> np.ndarray | None:
    """A real number as an array.

    Args:
        name: name of the argument.
        value: what a user gave.

    Returns:
        The number; None if the value is None or traced.

    Raises:
        InputError: for anything but one number.
    """
    is_array = isinstance(value, jax.Array | np.ndarray)
    if is_array and value.ndim:
        raise InputError(
            f"{name} has shape {value.shape}; give one number, and many through jax.vmap"
        )
    if value is None or isinstance(value, jax.core.Tracer):
        return None
    if not is_array and (isinstance(value, bool) or not isinstance(value, float | int | np.number)):
        raise InputError(f"{name} is {shown(value)}; give a finite number")
    number = value if is_array else np.asarray(value)
    if not (
        jnp.issubdtype(number.dtype, jnp.integer) or jnp.issubdtype(number.dtype, jnp.floating)
    ):
        raise InputError(f"{name} is {shown(value)}; give a finite number")
    return np.asarray(number)


def _coordinates(
    how: Augmentation,
    keys: Key[Array, " batch"],
    draw: Float[Array, "batch 8"],
    height: int,
    width: int,
) -> Float[Array, "batch 2 h w"]:
    """The positions at which to read the images. draw: uniform numbers from -1 to 1."""
    none = jnp.zeros(len(draw), jnp.float32)
    shift = jnp.zeros((len(draw), 2), jnp.float32) if how.shift is None else draw[:, :2] * how.shift
    degrees = none if how.rotate is None else draw[:, 2] * how.rotate
    scale = none + 1 if how.scale is None else jnp.exp(draw[:, 3] * jnp.log1p(how.scale))
    at = affine(height, width, shift, degrees, scale)
    if how.elastic is None:
        return at
    sigma = max(height, width) / SMOOTHNESS
    points = [math.ceil((size - 1) / sigma) + 5 for size in (height, width)]
    # 8 bits for each number are enough here, and need a quarter of the work.
    bits = jax.vmap(lambda key: _bytes(counted(key, ELASTIC), 2 * math.prod(points)))(keys)
    impulses = (bits.astype(jnp.float32) - 127.5) / math.sqrt((256**2 - 1) / 12)
    return at + smooth(impulses.reshape(-1, 2, *points), height, width, sigma) * how.elastic


def _gaussian(size: int, points: int, sigma: float) -> Float[np.ndarray, "size points"]:
    """exp(-d^2 / 2) for the distance d of each pixel to each point of the lattice along one axis,
    in units of sigma.
    """
    distance = np.arange(size)[:, None] / sigma - (np.arange(points)[None] - 2)
    return np.exp(-(distance**2) / 2).astype(np.float32)


def _bytes(key: Key[Array, ""], count: int) -> UInt8[Array, " count"]:
    """Uniform bytes; `jax.random.bits` would throw away three quarters of each word."""
    return jax.lax.bitcast_convert_type(
        jax.random.bits(key, (-(-count // 4),), jnp.uint32), jnp.uint8
    ).reshape(-1)[:count]

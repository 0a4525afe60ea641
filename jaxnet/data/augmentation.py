"""Augmentation: training examples changed anew each time they are seen, inside the compiled step.

    noise -> coordinates -> one bilinear reading of the image      shift, rotate, scale, elastic
          -> noise, cutout -> mixup

Every example has a key of its own, so that what happens to it does not depend on how a batch is split.
"""

import math
from dataclasses import dataclass, field, fields

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from ..errors import InputError
from ..typing import Number

SMOOTHNESS = 7  # an elastic displacement varies over this share of the image: 4 pixels of 28, as in Simard et al. 2003


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Augmentation:
    """Strengths, each a number that may be traced; None means absent from the program, 0 means no change.

    shift: largest shift along each axis, pixels. rotate: largest angle, degrees. scale: largest change of size; 0.1
    makes it up to 1.1 times larger or smaller. All three are drawn uniformly (scale in its logarithm).
    elastic: standard deviation of a smooth displacement, pixels (Simard, Steinkraus & Platt 2003, section 2).
    noise: standard deviation of normal noise, in standard deviations of the inputs; also for tables.
    cutout: side of a square that is set to the mean, pixels (DeVries & Taylor 2017).
    mixup: alpha; inputs and targets are mixed with those of the next example, with a share from Beta(alpha, alpha)
    (Zhang et al. 2018, eq. 1); also for tables.
    """

    shift: Number | None = None
    rotate: Number | None = None
    scale: Number | None = None
    elastic: Number | None = None
    noise: Number | None = None
    cutout: Number | None = None
    mixup: Number | None = None


NAMES = tuple(f.name for f in fields(Augmentation))
OF_IMAGES = ("shift", "rotate", "scale", "elastic", "cutout")


def augment(
    how: Augmentation, keys: Key[Array, " batch"], inputs: Float[Array, "batch ..."], targets: Float[Array, "batch outputs"]
) -> tuple[Float[Array, "batch ..."], Float[Array, "batch outputs"]]:
    """(inputs, targets) changed as asked. inputs: standardised; images as (batch, height, width[, channels]).

    keys: one an example. Beyond its border an image goes on as at its border. Raises InputError where images are
    needed and the inputs are none.
    """
    wanted = [name for name in OF_IMAGES if getattr(how, name) is not None]
    if wanted and inputs.ndim not in (3, 4):
        raise InputError(f"{' and '.join(wanted)} change images, but an example has shape {inputs.shape[1:]}; leave them out")
    draw = jax.vmap(lambda key: jax.random.uniform(key, (7,), minval=-1.0))(keys)
    if any(getattr(how, name) is not None for name in ("shift", "rotate", "scale", "elastic")):
        inputs = resample(inputs, *_coordinates(how, keys, draw, *inputs.shape[1:3]))
    if how.noise is not None:
        normal = jax.vmap(lambda key: jax.random.normal(_stream(key, 1), inputs.shape[1:]))(keys)
        inputs = inputs + normal * how.noise
    if how.cutout is not None:
        height, width = inputs.shape[1:3]
        centres = jnp.floor((draw[:, 4:6] + 1) / 2 * np.array([[height, width]], np.float32))
        inputs = cut_out(inputs, centres, how.cutout)
    if how.mixup is not None:
        alpha = jnp.maximum(how.mixup, 1e-3)
        share = jax.vmap(lambda key: jax.random.beta(_stream(key, 2), alpha, alpha))(keys)
        # The larger share is the example's own: by symmetry of the Beta the same mixtures, with theirs for its own.
        share = jnp.where(jnp.asarray(how.mixup) > 0, jnp.maximum(share, 1 - share), 1.0)
        inputs, targets = mix_up(inputs, share), mix_up(targets, share)
    return inputs, targets


def resample(
    images: Float[Array, "batch height width ..."], rows: Float[Array, "batch h w"], columns: Float[Array, "batch h w"]
) -> Float[Array, "batch h w ..."]:
    """Images read at real-valued coordinates, in pixels: bilinear, and beyond the border as at the border."""
    batch, height, width, *channels = images.shape
    flat = images.reshape(batch * height * width, *channels)

    def corner(at: Array, size: int) -> tuple[Array, Array, int]:
        """Whole part, fraction, and the step to the next pixel."""
        at = jnp.clip(at, 0, size - 1)
        whole = jnp.minimum(at.astype(jnp.int32), max(size - 2, 0))
        return whole, at - whole, min(size - 1, 1)

    (top, down, below), (left, across, right) = corner(rows, height), corner(columns, width)
    place = jnp.arange(batch)[:, None, None] * (height * width) + top * width + left
    down, across = (a.reshape(*a.shape, *[1] * len(channels)) for a in (down, across))

    def read(offset: int) -> Array:
        return flat.at[place + offset].get(mode="promise_in_bounds")

    upper = read(0) * (1 - across) + read(right) * across
    lower = read(below * width) * (1 - across) + read(below * width + right) * across
    return upper * (1 - down) + lower * down


def affine(
    height: int, width: int, shift: Float[Array, "batch 2"], degrees: Float[Array, " batch"], scale: Float[Array, " batch"]
) -> tuple[Float[Array, "batch h w"], Float[Array, "batch h w"]]:
    """(rows, columns) to read images at, so that they come out scaled, then turned about their centre, then shifted."""
    angle = jnp.deg2rad(degrees)
    cosine, sine = ((f(angle) / scale)[:, None, None] for f in (jnp.cos, jnp.sin))
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    row = jnp.arange(height, dtype=jnp.float32)[None, :, None] - middle_row - shift[:, 0, None, None]
    column = jnp.arange(width, dtype=jnp.float32)[None, None, :] - middle_column - shift[:, 1, None, None]
    return cosine * row + sine * column + middle_row, cosine * column - sine * row + middle_column


def smooth(lattice: Float[Array, "... rows columns"], height: int, width: int, sigma: float) -> Float[Array, "... h w"]:
    """A smooth field: impulses on a lattice `sigma` pixels apart, seen through a Gaussian of that standard deviation.

    The lattice begins two points above and left of the first pixel. Impulses of variance 1 give a field of variance 1,
    to 1e-3: the sum of the squared Gaussians is pi.
    """
    down, across = (_gaussian(size, points, sigma) for size, points in ((height, lattice.shape[-2]), (width, lattice.shape[-1])))
    return jnp.einsum("hr,...rc,wc->...hw", down, lattice, across) / math.sqrt(math.pi)


def cut_out(
    images: Float[Array, "batch height width ..."], centres: Float[Array, "batch 2"], side: Number
) -> Float[Array, "batch height width ..."]:
    """Images with a square around each centre set to 0, the mean of standardised inputs."""
    height, width = images.shape[1:3]
    first = centres - jnp.floor(jnp.asarray(side) / 2)
    row, column = jnp.arange(height, dtype=jnp.float32)[None], jnp.arange(width, dtype=jnp.float32)[None]
    rows = (row >= first[:, :1]) & (row < first[:, :1] + side)
    columns = (column >= first[:, 1:]) & (column < first[:, 1:] + side)
    inside = rows[:, :, None] & columns[:, None, :]
    return jnp.where(inside.reshape(*inside.shape, *[1] * (images.ndim - 3)), 0.0, images)


def mix_up(values: Float[Array, "batch ..."], share: Float[Array, " batch"]) -> Float[Array, "batch ..."]:
    """Each example's share of itself, and for the rest the next one; the last is mixed with the first."""
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return share * values + (1 - share) * jnp.roll(values, -1, axis=0)


def check(how: Augmentation, shape: tuple[int, ...] | None = None) -> None:
    """Raise InputError for strengths that cannot be meant, or that need images where an example has another shape."""
    for name in NAMES:
        value = getattr(how, name)
        if value is None or isinstance(value, jax.core.Tracer):
            continue
        if np.ndim(value) or not np.isfinite(np.float32(value)) or value < 0:
            raise InputError(f"{name} is {value}; give a finite number of at least 0, or None")
    wanted = [name for name in OF_IMAGES if getattr(how, name) is not None]
    if wanted and shape is not None and len(shape) not in (2, 3):
        raise InputError(f"{' and '.join(wanted)} change images, but an example has shape {shape}; leave them out")


def _coordinates(how: Augmentation, keys: Array, draw: Array, height: int, width: int) -> tuple[Array, Array]:
    none = jnp.zeros(len(draw))
    shift = jnp.zeros((len(draw), 2)) if how.shift is None else draw[:, :2] * how.shift
    degrees = none if how.rotate is None else draw[:, 2] * how.rotate
    scale = none + 1 if how.scale is None else jnp.exp(draw[:, 3] * jnp.log1p(how.scale))
    rows, columns = affine(height, width, shift, degrees, scale)
    if how.elastic is None:
        return rows, columns
    sigma = max(height, width) / SMOOTHNESS
    points = [math.ceil((size - 1) / sigma) + 5 for size in (height, width)]
    # 8 bits a number are enough here, and a quarter of the work.
    bits = jax.vmap(lambda key: jax.random.bits(_stream(key, 3), (2, *points), jnp.uint8))(keys)
    impulses = (bits.astype(jnp.float32) - 127.5) / math.sqrt((256**2 - 1) / 12)
    field_ = smooth(impulses, height, width, sigma) * how.elastic
    return rows + field_[:, 0], columns + field_[:, 1]


def _gaussian(size: int, points: int, sigma: float) -> Float[np.ndarray, "size points"]:
    """exp(-d^2 / 2) of each pixel's distance d to each point of the lattice along one axis, in units of sigma."""
    distance = np.arange(size)[:, None] / sigma - (np.arange(points)[None] - 2)
    return np.exp(-(distance**2) / 2).astype(np.float32)


def _stream(key: Key[Array, ""], number: int) -> Key[Array, ""]:
    return jax.random.fold_in(key, number)

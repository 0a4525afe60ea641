"""Convolution whose gradients stay on XLA:CPU's fast path inside `lax.scan`, and max pooling with a
cheap gradient.

Both compute what JAX's own operations compute, up to rounding.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# XLA:CPU brings convolutions to its fast layout only in the entry computation
# (github.com/jax-ml/jax/issues/12868), so a gradient convolution inside a loop runs 2 to 70 times
# slower. Writing both gradients as convolutions that already have that layout keeps them fast
# everywhere. The fast path takes one group at a time. So a depthwise convolution is faster as a sum
# of shifted products, and other groups of few inputs are faster without it.
# experiments/benchmarks/convolution.py measures this.

# Layouts of image, kernel and result by the rank of the images.
LAYOUTS = {3: ("NWC", "WIO", "NWC"), 4: ("NHWC", "HWIO", "NHWC"), 5: ("NDHWC", "DHWIO", "NDHWC")}
GROUP = 4  # groups with at least so many inputs are faster on the fast path


class Window(NamedTuple):
    """How a kernel is placed over an image, with one value for each spatial dimension.

    Attributes:
        strides: steps between windows.
        padding: values before and after the image.
        lhs_dilation: steps between the values of the image.
        rhs_dilation: steps between the values of the kernel.
    """

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    lhs_dilation: tuple[int, ...]
    rhs_dilation: tuple[int, ...]


def conv_general_dilated(
    x: Float[Array, "batch *space inputs"],
    kernel: Float[Array, "*size group_inputs outputs"],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    **options: Any,
) -> Float[Array, "..."]:
    """Compute `jax.lax.conv_general_dilated` for `flax.linen.Conv`, with gradients that are fast on
    a CPU.

    The result is equal up to rounding, but differentiable in reverse mode only. What is not
    measured to gain goes to jax.lax unchanged: platforms other than CPUs, dtypes other than
    float32, layouts other than channels last, volumes, groups of 2 or 3 inputs or of one input with
    several outputs, and a precision or any other option.

    Args:
        x: (batch, *space, inputs) images.
        kernel: (*size, inputs per group, outputs).
        window_strides: steps between windows, one per spatial dimension.
        padding: SAME, VALID, or the values before and after each spatial dimension.
        lhs_dilation: steps between the values of the image; 1 by default.
        rhs_dilation: steps between the values of the kernel; 1 by default.
        dimension_numbers: layout; channels last by default.
        feature_group_count: number of groups of inputs.
        **options: further arguments of `jax.lax.conv_general_dilated`.

    Returns:
        (batch, *space, outputs).
    """
    layout = LAYOUTS[x.ndim]
    dimension_numbers = layout if dimension_numbers is None else dimension_numbers
    depthwise = 1 < feature_group_count == x.shape[-1] == kernel.shape[-1]
    gains = (
        jax.default_backend() == "cpu"
        and x.ndim < 5
        and x.dtype == kernel.dtype == jnp.float32
        and all(value in (None, 1) for value in options.values())
        and _dimension_numbers(x, kernel, dimension_numbers)
        == _dimension_numbers(x, kernel, layout)
        and (depthwise or feature_group_count == 1 or kernel.shape[-2] >= GROUP)
    )
    if not gains:
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            **options,
        )
    size, ones = kernel.shape[:-2], (1,) * (x.ndim - 2)
    lhs_dilation, rhs_dilation = tuple(lhs_dilation or ones), tuple(rhs_dilation or ones)
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(
            x.shape[1:-1], [*map(_dilated, size, rhs_dilation)], window_strides, padding
        )
    window = Window(
        tuple(window_strides),
        tuple((int(low), int(high)) for low, high in padding),
        lhs_dilation,
        rhs_dilation,
    )
    return (
        _depthwise(x, kernel, window)
        if depthwise
        else _conv(x, kernel, window, feature_group_count)
    )


def _dimension_numbers(x: Array, kernel: Array, layout: Any) -> jax.lax.ConvDimensionNumbers:
    return jax.lax.conv_dimension_numbers(x.shape, kernel.shape, layout)


def _dilated(size: int, by: int) -> int:
    """Compute the extent of `size` values that lie `by` apart."""
    return (size - 1) * by + 1


def _canonical(x: Array, kernel: Array, window: Window, groups: int) -> Array:
    # With a padding such as (-2, 1), which cuts at the beginning and adds at the end, the fast path
    # gives wrong numbers (jaxlib 0.10.2). So cut first what the padding cuts.
    padding, by = window.padding, window.lhs_dilation
    cut = [
        (max(0, -(low // n)), max(0, -(high // n)))
        for (low, high), n in zip(padding, by, strict=True)
    ]
    rest = tuple(
        (low + a * n, high + b * n) for (low, high), (a, b), n in zip(padding, cut, by, strict=True)
    )
    x = x[:, *(slice(a, size - b) for (a, b), size in zip(cut, x.shape[1:-1], strict=True))]
    window = window._replace(padding=rest)
    return jax.lax.conv_general_dilated(
        x, kernel, *window, dimension_numbers=LAYOUTS[x.ndim], feature_group_count=groups
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: Array, kernel: Array, window: Window, groups: int) -> Array:
    return _canonical(x, kernel, window, groups)


def _forward(
    x: Array, kernel: Array, window: Window, groups: int
) -> tuple[Array, tuple[Array, Array]]:
    return _canonical(x, kernel, window, groups), (x, kernel)


def _backward(
    window: Window, groups: int, saved: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    """Compute the two gradients as convolutions in which strides and dilations change places.

    References:
        Dumoulin & Visin 2016, section 4.
    """
    x, kernel = saved
    strides, padding, lhs_dilation, rhs_dilation = window
    batch, *space, inputs = x.shape
    *size, each, outputs = kernel.shape
    last, axes = len(size), range(len(size))
    # Extents of image, kernel and gradient, each with its gaps, and the padding before the image.
    extents = [
        map(_dilated, space, lhs_dilation),
        map(_dilated, size, rhs_dilation),
        map(_dilated, g.shape[1:-1], strides),
    ]
    spans = [*zip(*extents, (low for low, _ in padding), strict=True)]

    # Inputs and outputs of each group change places: (*size, each, outputs) -> (*size, outputs /
    # groups, inputs).
    flipped = jnp.flip(kernel, axes).reshape(*size, each, groups, outputs // groups)
    flipped = flipped.transpose(*axes, last + 2, last + 1, last).reshape(
        *size, outputs // groups, inputs
    )
    border = tuple((b - 1 - low, a + low - c) for a, b, c, low in spans)
    dx = _canonical(g, flipped, Window(lhs_dilation, border, strides, rhs_dilation), groups)

    # Examples take the place of features: (batch, *space, inputs) -> (inputs / groups, *space,
    # groups * batch).
    images = x.reshape(batch, *space, groups, each)
    images = images.transpose(last + 2, *(1 + i for i in axes), last + 1, 0).reshape(
        each, *space, groups * batch
    )
    border = tuple((low, b - 1 + c - a - low) for a, b, c, low in spans)
    taps = jnp.moveaxis(g, 0, -2)
    dk = _canonical(images, taps, Window(rhs_dilation, border, lhs_dilation, strides), groups)
    return dx, jnp.moveaxis(dk, 0, -2)


_conv.defvjp(_forward, _backward)


def _depthwise(x: Array, kernel: Array, window: Window) -> Array:
    """Convolve each feature with a kernel of its own: sum over the kernel's positions the shifted
    images times its value there.
    """
    zero = jnp.zeros((), x.dtype)
    gaps = [
        (low, high, by - 1)
        for (low, high), by in zip(window.padding, window.lhs_dilation, strict=True)
    ]
    x = jax.lax.pad(x, zero, [(0, 0, 0), *gaps, (0, 0, 0)])
    size = kernel.shape[:-2]
    extents = map(_dilated, size, window.rhs_dilation)
    places = [
        (a - b) // by + 1 for a, b, by in zip(x.shape[1:-1], extents, window.strides, strict=True)
    ]
    total = jnp.zeros((len(x), *places, x.shape[-1]), x.dtype)
    for tap in itertools.product(*map(range, size)):
        start = [i * by for i, by in zip(tap, window.rhs_dilation, strict=True)]
        stop = [i + _dilated(n, by) for i, n, by in zip(start, places, window.strides, strict=True)]
        shifted = jax.lax.slice(
            x, (0, *start, 0), (len(x), *stop, x.shape[-1]), (1, *window.strides, 1)
        )
        total += shifted * kernel[tap].reshape(*(1,) * len(size), 1, -1)
    return total


@jax.custom_vjp
def max_pool(
    x: Float[Array, "batch height width features"],
) -> Float[Array, "batch rows columns features"]:
    """Compute the largest value of each 2x2 window.

    An odd last row or column is dropped. Equal largest values share the gradient. On a CPU the
    gradient costs about a twentieth of that of `reduce_window`, and a third of what JAX derives
    from the reshape.

    Args:
        x: (batch, height, width, features).

    Returns:
        (batch, height // 2, width // 2, features).
    """
    batch, height, width, features = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(batch, height // 2, 2, width // 2, 2, features).max((2, 4))


def _corners(x: Array) -> list[Array]:
    height, width = (size // 2 * 2 for size in x.shape[1:3])
    return [x[:, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]


def _pool(x: Array) -> tuple[Array, tuple[Array, Array]]:
    # The values are the same as with a reshape, which is faster alone but slower with a gradient.
    y = functools.reduce(jnp.maximum, _corners(x))
    return y, (x, y)


def _unpool(saved: tuple[Array, Array], g: Array) -> tuple[Array]:
    """Compute the gradient: it goes to the largest value of each window."""
    x, y = saved
    share = g / sum((corner == y).astype(g.dtype) for corner in _corners(x))
    rows, columns = y.shape[1:3]

    def everywhere(a: Array) -> Array:
        wide = jnp.broadcast_to(a[:, :, None, :, None], (len(a), rows, 2, columns, 2, a.shape[-1]))
        return jnp.pad(
            wide.reshape(len(a), 2 * rows, 2 * columns, -1),
            ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)),
        )

    return (jnp.where(x == everywhere(y), everywhere(share), jnp.zeros_like(x)),)


max_pool.defvjp(_pool, _unpool)

"""Convolution whose gradients stay on XLA:CPU's fast path inside `lax.scan`, and the cheap max pooling.

XLA:CPU brings convolutions to its fast layout only in the entry computation (github.com/jax-ml/jax/issues/12868),
so a gradient convolution inside a loop runs about 8 times slower. Writing both gradients as convolutions that
are born in that layout keeps them fast everywhere, and changes nothing elsewhere. With a stride it is not so: there
the product of all patches with the kernel is, whose gradients are products again.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LAYOUT = ("NHWC", "HWIO", "NHWC")
Padding = tuple[tuple[int, int], tuple[int, int]]


def conv_general_dilated(
    x: Float[Array, "batch height width features"],
    kernel: Float[Array, "kh kw inputs outputs"],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Any = None,
    rhs_dilation: Any = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    **options: Any,
) -> Float[Array, "batch rows columns outputs"]:
    """`jax.lax.conv_general_dilated` for `flax.linen.Conv`; a plain convolution gets the fast gradients.

    That is stride 1 everywhere, and on CPU other strides too, as one product with all patches.
    """
    strided = {*window_strides} != {1}
    plain = (
        x.ndim == 4
        and {*(lhs_dilation or ()), *(rhs_dilation or ())} <= {1}
        and not (strided and jax.default_backend() != "cpu")
        and feature_group_count == 1
        and options.get("precision") is None
    )
    if not plain:
        return jax.lax.conv_general_dilated(
            x, kernel, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, feature_group_count, **options
        )
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], window_strides, padding)
    (top, bottom), (left, right) = padding
    if strided:
        return _patches(jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0))), kernel.shape[:2], window_strides) @ kernel.reshape(
            -1, kernel.shape[-1]
        )
    return _conv(x, kernel, ((int(top), int(bottom)), (int(left), int(right))))


def max_pool(x: Float[Array, "batch height width features"]) -> Float[Array, "batch rows columns features"]:
    """Largest value of each 2x2 window, an odd last row or column dropped.

    As a reshape: on CPU its gradient costs a seventh of that of `reduce_window`.
    """
    batch, height, width, features = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(batch, height // 2, 2, width // 2, 2, features).max((2, 4))


def _patches(x: Array, size: Sequence[int], strides: Sequence[int]) -> Array:
    """All patches that a kernel sees, (batch, rows, columns, kh * kw * features)."""
    rows, columns = ((have - want) // stride + 1 for have, want, stride in zip(x.shape[1:3], size, strides, strict=True))
    down, across = strides
    shifted = [
        x[:, i : i + down * (rows - 1) + 1 : down, j : j + across * (columns - 1) + 1 : across]
        for i in range(size[0])
        for j in range(size[1])
    ]
    return jnp.concatenate(shifted, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: Array, kernel: Array, padding: Padding) -> Array:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=LAYOUT)


def _forward(x: Array, kernel: Array, padding: Padding) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x, kernel, padding), (x, kernel)


def _backward(padding: Padding, saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    """The two gradients as convolutions (Dumoulin & Visin 2016, section 4)."""
    x, kernel = saved
    border = [(size - 1 - low, size - 1 - high) for size, (low, high) in zip(kernel.shape[:2], padding, strict=True)]
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    dx = jax.lax.conv_general_dilated(g, flipped, (1, 1), border, dimension_numbers=LAYOUT)
    as_inputs, as_kernel = x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3)
    dk = jax.lax.conv_general_dilated(as_inputs, as_kernel, (1, 1), padding, dimension_numbers=LAYOUT)
    return dx, dk.transpose(1, 2, 0, 3)


_conv.defvjp(_forward, _backward)

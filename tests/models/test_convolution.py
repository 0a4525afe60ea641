"""Convolution and max pooling: the values and gradients of jax.lax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxnet.models.convolution import conv_general_dilated, max_pool

KEY = jax.random.key(0)
LAYOUTS = {3: ("NWC", "WIO", "NWC"), 4: ("NHWC", "HWIO", "NHWC"), 5: ("NDHWC", "DHWIO", "NDHWC")}

# image, kernel, strides, padding, and what else
CASES = [
    ((9, 10), (3, 3), (1, 1), "SAME", {}),
    ((8, 7), (2, 4), (1, 1), "SAME", {}),
    ((8, 7), (5, 5), (1, 1), "VALID", {}),
    ((8, 7), (1, 1), (1, 1), "VALID", {}),
    (
        (6, 6),
        (3, 3),
        (1, 1),
        ((4, 3), (5, 3)),
        {},
    ),  # wider than the kernel: the gradient's padding is negative
    ((9, 9), (3, 3), (1, 1), ((-1, 0), (1, -2)), {}),
    ((9, 10), (3, 3), (2, 2), "SAME", {}),
    ((10, 11), (3, 3), (2, 2), "VALID", {}),  # a column that no window reaches
    ((10, 11), (4, 2), (2, 3), "SAME", {}),
    ((9, 10), (1, 1), (2, 2), "SAME", {}),
    ((9, 10), (2, 2), (3, 3), "VALID", {}),  # pixels that no window reaches
    ((9, 10), (3, 3), (1, 1), "SAME", {"rhs_dilation": (2, 2)}),
    ((9, 10), (2, 3), (2, 1), "VALID", {"rhs_dilation": (2, 3)}),
    ((5, 6), (3, 3), (1, 1), ((2, 2), (1, 2)), {"lhs_dilation": (2, 3)}),
    ((5, 6), (3, 2), (2, 1), ((2, 2), (1, 2)), {"lhs_dilation": (3, 2), "rhs_dilation": (2, 1)}),
    ((8, 7), (3, 3), (1, 1), "SAME", {"feature_group_count": 4}),
    ((9, 8), (3, 2), (2, 2), "VALID", {"feature_group_count": 2, "rhs_dilation": (2, 2)}),
    ((8, 7), (3, 3), (1, 1), "SAME", {"feature_group_count": 8}),
    (
        (8, 7),
        (3, 2),
        (2, 2),
        ((3, 1), (-1, 2)),
        {"feature_group_count": 8, "rhs_dilation": (1, 2), "lhs_dilation": (2, 1)},
    ),
    ((8, 7), (3, 3), (1, 1), "SAME", {"feature_group_count": 8, "outputs": 16}),
    ((11,), (4,), (2,), "SAME", {}),
    ((11,), (3,), (1,), "SAME", {"feature_group_count": 8}),
    ((5, 6, 4), (3, 2, 3), (2, 1, 1), "SAME", {"rhs_dilation": (1, 2, 1)}),
]


def normal(*shape):
    """Standard normal values, from numpy: nothing to compile."""
    return jnp.asarray(np.random.default_rng(sum(shape)).normal(size=shape), jnp.float32)


def near(a, b):
    """Equal to the rounding of float32, relative to the largest value."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    return a.shape == b.shape and np.abs(a - b).max(initial=0) <= 2e-6 * np.abs(b).max(initial=0)


def case(image, size, strides, padding, options):
    options = {**options}
    groups, outputs = options.get("feature_group_count", 1), options.pop("outputs", 8)
    x, kernel = normal(4, *image, 8), normal(*size, 8 // groups, outputs)

    def ours(x, kernel):
        return conv_general_dilated(x, kernel, strides, padding, **options)

    def theirs(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, strides, padding, dimension_numbers=LAYOUTS[x.ndim], **options
        )

    return x, kernel, normal(*jax.eval_shape(theirs, x, kernel).shape), ours, theirs


def with_gradients(convolve):
    def run(x, kernel, g):
        value, back = jax.vjp(convolve, x, kernel)
        return value, *back(g)

    return run


@pytest.mark.parametrize(("image", "size", "strides", "padding", "options"), CASES)
def test_convolution_and_its_gradients_are_those_of_lax(image, size, strides, padding, options):
    x, kernel, g, ours, theirs = case(image, size, strides, padding, options)
    both = jax.jit(lambda *arrays: (with_gradients(ours)(*arrays), with_gradients(theirs)(*arrays)))
    assert all(map(near, *both(x, kernel, g)))


@pytest.mark.parametrize("options", [{}, {"lhs_dilation": (1, 2)}, {"feature_group_count": 2}])
def test_padding_that_cuts_before_and_adds_behind_is_right(options):
    """Where that of jax.lax, compiled for a CPU, is not: there the image is cut by hand."""
    x, kernel, g, ours, _ = case((6, 9), (3, 3), (1, 1), ((-1, 1), (-2, 2)), options)

    def theirs(x, kernel):
        cut = x[:, 1:, 2 // options.get("lhs_dilation", (1, 1))[1] :]
        return jax.lax.conv_general_dilated(
            cut, kernel, (1, 1), ((0, 1), (0, 2)), dimension_numbers=LAYOUTS[4], **options
        )

    assert all(
        map(
            near,
            jax.jit(with_gradients(ours))(x, kernel, g),
            jax.jit(with_gradients(theirs))(x, kernel, g),
        )
    )


MANY = [
    ((5, 4), (3, 2), (2, 1), "SAME", {"rhs_dilation": (1, 2)}),
    ((5, 4), (3, 2), (1, 2), "SAME", {"feature_group_count": 2}),
    ((5, 4), (3, 2), (2, 1), "SAME", {"feature_group_count": 8}),
]


@pytest.mark.parametrize(("image", "size", "strides", "padding", "options"), MANY)
def test_convolution_is_that_of_lax_for_many_in_a_scan(image, size, strides, padding, options):
    x, kernel, g, ours, theirs = case(image, size, strides, padding, options)
    xs, kernels, gs = (jnp.stack([a, 2 * a, -a]) for a in (x, kernel, g))

    def in_scan(convolve):
        return jax.jit(
            lambda *arrays: jax.lax.scan(
                lambda _, each: (None, with_gradients(convolve)(*each)), None, arrays
            )[1]
        )

    expected = in_scan(theirs)(xs, kernels, gs)
    for many in (in_scan(ours), jax.jit(jax.vmap(with_gradients(ours)))):
        assert all(map(near, many(xs, kernels, gs), expected))
    one_kernel_each = [
        jax.jit(jax.vmap(with_gradients(convolve), (None, 0, None)))(x, kernels, g)
        for convolve in (ours, theirs)
    ]
    assert all(map(near, *one_kernel_each))


def test_second_derivatives_are_those_of_lax():
    x, kernel, g, ours, theirs = case(*MANY[0])

    def curvature(convolve):
        return jax.grad(
            lambda k: (jax.grad(lambda k: ((convolve(x, k) * g) ** 2).sum())(k) ** 2).sum()
        )(kernel)

    assert near(curvature(ours), curvature(theirs))


@pytest.mark.parametrize(
    "options",
    [
        {"precision": jax.lax.Precision.HIGHEST},
        {"dimension_numbers": ("NCHW", "OIHW", "NCHW")},
        {"preferred_element_type": jnp.float32},
        {"dtype": jnp.bfloat16},
    ],
)
def test_what_is_not_plain_goes_to_lax(options):
    """The traced program is that of jax.lax, and is another one without these options."""
    options = {**options}
    x, kernel = (jnp.ones(shape, options.get("dtype")) for shape in ((2, 5, 5, 5), (5, 5, 5, 5)))
    options.pop("dtype", None)

    def program(convolve, x, kernel, **options):
        how = {"dimension_numbers": LAYOUTS[4], **options}
        return str(jax.make_jaxpr(lambda x, w: convolve(x, w, (2, 2), "SAME", **how))(x, kernel))

    theirs = jax.lax.conv_general_dilated
    assert program(conv_general_dilated, x, kernel, **options) == program(
        theirs, x, kernel, **options
    )
    plain = x.astype(jnp.float32), kernel.astype(jnp.float32)
    assert program(conv_general_dilated, *plain) != program(theirs, *plain)


def test_a_flax_layer_takes_it():
    x = normal(2, 9, 9, 4)
    options = {"strides": 2, "kernel_dilation": 2, "feature_group_count": 2, "padding": "CIRCULAR"}
    ours, theirs = (
        nn.Conv(6, (3, 3), **options, **given)
        for given in ({"conv_general_dilated": conv_general_dilated}, {})
    )
    variables = theirs.init(KEY, x)
    assert near(ours.apply(variables, x), theirs.apply(variables, x))


def by_reshape(x):
    """2x2 max pooling whose gradient jax derives."""
    batch, height, width, features = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(batch, height // 2, 2, width // 2, 2, features).max((2, 4))


@pytest.mark.parametrize("image", [(4, 4), (7, 7), (6, 9)])
@pytest.mark.parametrize("ties", [False, True])
def test_max_pool_is_that_of_flax_and_equal_values_share_its_gradient(image, ties):
    x = jnp.round(normal(3, *image, 2)) if ties else normal(3, *image, 2)
    g = normal(*by_reshape(x).shape)
    pools = max_pool, by_reshape, lambda x: nn.max_pool(x, (2, 2), strides=(2, 2))
    (y, dx), (_, shared), (flax, first) = jax.jit(
        lambda x, g: [(lambda y, back: (y, back(g)[0]))(*jax.vjp(pool, x)) for pool in pools]
    )(x, g)
    assert (max_pool(x) == flax).all()
    assert (y == flax).all()
    assert near(dx, shared)
    assert bool((dx == first).all()) != ties


def test_max_pool_is_the_same_for_many_in_a_scan():
    xs, gs = normal(3, 2, 5, 6, 2), normal(3, 2, 2, 3, 2)
    gradient = lambda pool: lambda x, g: jax.vjp(pool, x)[1](g)[0]  # noqa: E731
    expected = jax.jit(jax.vmap(gradient(by_reshape)))(xs, gs)
    assert (jax.jit(jax.vmap(gradient(max_pool)))(xs, gs) == expected).all()
    assert (
        jax.lax.scan(lambda _, each: (None, gradient(max_pool)(*each)), None, (xs, gs))[1]
        == expected
    ).all()

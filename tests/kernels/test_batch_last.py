"""A function of one example on a batch held last is `jax.vmap` of it, values and gradients; what
has no rule is refused by name.

Compared in float32: where numbers are sums of at most 64 products, 1e-5 of the number and 1e-6
beside it.
"""

import functools
import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.extend.core import primitives
from jax.interpreters import partial_eval

import jaxnet
from jaxnet.core.jaxpr import CALLS, equations, refuse
from jaxnet.kernels.batch_last import (  # fmt: skip
    AS_GIVEN,
    FIRST,
    LAST,
    ROW,
    SHARED,
    TURNED,
    Held,
    as_last,
    check_examples_apart,
    constant,
    evaluate,
    rules,
)
from jaxnet.models.layers import dropout

# to compile: each program runs once
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
CLOSE = {"rtol": 1e-5, "atol": 1e-6}
BATCH, FEATURES, WIDTH, MEMBERS = 6, 5, 4, 3
RNG = np.random.default_rng(0)


def draw(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


X, Y, S = draw(BATCH, FEATURES), jnp.asarray([0, 3, 1, 1, 2, 0], jnp.int32), jnp.float32(0.7)
# w: as Flax has it, t: as Equinox has it
P = {"w": draw(FEATURES, WIDTH), "b": draw(WIDTH), "t": draw(WIDTH, FEATURES)}


def program_of(function, params, x, y=Y, s=S):
    """The jaxpr of one example, without what is not used."""
    program = jax.make_jaxpr(function)(params, x[0], y[0], s)
    jaxpr, _ = partial_eval.dce_jaxpr(
        program.jaxpr, [True] * len(program.out_avals), instantiate=True
    )
    return program.replace(jaxpr=jaxpr)


def names(jaxpr):
    """Of all operations, those of inner functions too."""
    return {equation.primitive.name for equation in equations(jaxpr)}


def rows(out, shape, batch):
    """A held value as (batch, ...)."""
    value = out.value if out.kind in (FIRST, ROW) else out.value.T
    return jnp.broadcast_to(value, (batch, math.prod(shape))).reshape(batch, *shape)


def held_last(program, params, matrices, x, y=Y, s=S):
    """Every example's output, by `evaluate`. matrices: how parameters of two axes are held."""
    leaves = [
        Held(leaf.reshape(1, -1), ROW)
        if leaf.ndim < 2
        else Held(leaf.T if matrices is TURNED else leaf, matrices)
        for leaf in jax.tree.leaves(params)
    ]
    args = [*leaves, Held(x, FIRST), Held(y[None], LAST), Held(jnp.reshape(s, (1, 1)), SHARED)]
    (out,) = evaluate(program.jaxpr, [*map(constant, program.consts)], args, jnp.float32)
    return rows(out, program.out_avals[0].shape, len(x))


def compare(function, params=P, x=X, y=Y, *, members=False, tolerance=CLOSE):
    """Values and gradients with respect to parameters, both ways of holding matrices, against vmap
    over the examples.
    """
    program = program_of(
        function, jax.tree.map(lambda leaf: leaf[0], params) if members else params, x, y
    )
    differentiable = jnp.issubdtype(program.out_avals[0].dtype, jnp.floating)
    weight = draw(len(x), *program.out_avals[0].shape)

    def both(of_batch):
        def value_and_gradient(params):
            out, pull = jax.vjp(of_batch, params)
            return out, pull(weight)[0] if differentiable else None

        return jax.vmap(value_and_gradient) if members else value_and_gradient

    @functools.partial(jax.jit, compiler_options=QUICK)
    def all_ways(params):
        want = both(lambda params: jax.vmap(function, (None, 0, 0, None))(params, x, y, S))(params)
        return want, [
            both(lambda params, kind=kind: held_last(program, params, kind, x, y))(params)
            for kind in (AS_GIVEN, TURNED)
        ]

    want, got = all_ways(params)
    for each in got:
        for a, b in zip(*map(jax.tree.leaves, (each, want)), strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            # sums round by their largest part, whatever is left of them
            size = max(1.0, float(np.abs(b).max(initial=0)))
            np.testing.assert_allclose(a, b, rtol=tolerance["rtol"], atol=tolerance["atol"] * size)
    return program


def layer(p, x):
    return x @ p["w"] + p["b"]


def of(operation):
    """An operation on what a layer makes of the example."""
    return lambda p, x, y, s: operation(layer(p, x))


def positive(operation):
    return of(lambda h: operation(jnp.square(h) + 0.1))


def two(operation):
    """An operation on two values of the example, of which one is positive."""
    return lambda p, x, y, s: operation(layer(p, x), jnp.exp(p["t"] @ x))


def whole(operation):
    """An operation on whole numbers that depend on the example."""
    return lambda p, x, y, s: operation(
        jnp.arange(1, 5, dtype=jnp.uint32) * (y + 2).astype(jnp.uint32), jnp.full(4, 3, jnp.uint32)
    )


def words_of_key(p, x, y, s):
    words = jnp.concatenate([y[None], y[None] + 1]).astype(jnp.uint32)
    return jax.random.key_data(jax.random.wrap_key_data(words, impl="threefry2x32"))


# For each rule a function of one example in whose program it is.
RULED = {
    "abs": of(jnp.abs),
    "add": two(lax.add),
    "add_any": of(jax.grad(lambda h: jnp.sum(jnp.sin(h) * h))),
    "and": of(lambda h: (h > 0) & (h < 1)),
    "argmax": of(jnp.argmax),
    "bitcast_convert_type": of(lambda h: lax.bitcast_convert_type(h, jnp.int32) // 65536),
    "broadcast_in_dim": lambda p, x, y, s: jnp.broadcast_to(s, (WIDTH,)) * layer(p, x),
    "ceil": of(jnp.ceil),
    "checkpoint": of(jax.checkpoint(lambda h: jnp.sin(h) * np.arange(4, dtype=np.float32))),
    "clamp": of(lambda h: lax.clamp(-0.5, h, 0.5)),
    "concatenate": lambda p, x, y, s: jnp.concatenate(
        [layer(p, x), x, p["b"], jnp.ones(2), s[None]]
    ),
    "convert_element_type": of(lambda h: (h * 3).astype(jnp.int32)),
    "copy": of(jnp.copy),
    "cos": of(jnp.cos),
    "custom_jvp_call": of(jax.nn.relu),
    "div": two(lax.div),
    "dot_general": of(lambda h: h),
    "eq": of(lambda h: h == h.max()[None]),
    "erf": of(lax.erf),
    "erf_inv": of(lambda h: lax.erf_inv(0.9 * jnp.tanh(h))),
    "erfc": of(lax.erfc),
    "exp": of(jnp.exp),
    "exp2": of(jnp.exp2),
    "expm1": of(jnp.expm1),
    "floor": of(jnp.floor),
    "ge": of(lambda h: h >= 0),
    "gt": of(lambda h: h > 0),
    "integer_pow": of(lambda h: h**3),
    "iota": lambda p, x, y, s: jnp.arange(WIDTH) * layer(p, x),
    "is_finite": of(lambda h: jnp.isfinite(1 / jnp.maximum(h, 0))),
    "jit": of(jax.jit(lambda h: h * np.arange(4, dtype=np.float32))),
    "le": of(lambda h: h <= 0),
    "log": positive(jnp.log),
    "log1p": positive(jnp.log1p),
    "logistic": of(jax.nn.sigmoid),
    "lt": of(lambda h: h < 0),
    "max": two(lax.max),
    "min": two(lax.min),
    "mul": two(lax.mul),
    "ne": lambda p, x, y, s: jnp.arange(WIDTH) != jnp.broadcast_to(y, (WIDTH,)),
    "neg": of(jnp.negative),
    "not": of(lambda h: ~(h > 0)),
    "or": of(lambda h: (h > 1) | (h < -1)),
    "pow": lambda p, x, y, s: lax.pow(jnp.exp(layer(p, x)), jnp.broadcast_to(s, (WIDTH,))),
    "random_unwrap": words_of_key,
    "random_wrap": words_of_key,
    "reduce_max": of(jnp.max),
    "reduce_min": of(jnp.min),
    "reduce_sum": of(jnp.sum),
    "rem": two(lax.rem),
    "reshape": of(lambda h: h.reshape(2, 1, 2)),
    "round": of(jnp.round),
    "rsqrt": positive(lax.rsqrt),
    "select_n": of(lambda h: lax.select(h > 0, h, 2 * h)),
    "shift_left": whole(lax.shift_left),
    "shift_right_arithmetic": whole(lax.shift_right_arithmetic),
    "shift_right_logical": whole(lax.shift_right_logical),
    "sign": of(jnp.sign),
    "sin": of(jnp.sin),
    "slice": of(lambda h: h[1:3]),
    "sqrt": positive(jnp.sqrt),
    "square": of(lax.square),
    "squeeze": of(lambda h: lax.squeeze(h[2:3], (0,))),
    "stop_gradient": of(lambda h: lax.stop_gradient(h) * h),
    "sub": two(lax.sub),
    "tan": of(lambda h: jnp.tan(jnp.tanh(h))),
    "tanh": of(jnp.tanh),
    "transpose": of(lambda h: h[None].T),
    "xor": of(lambda h: (h > 0) ^ (h < 1)),
}
# What one version of JAX calls so and another does not: the same rule.
ALSO = {"copy_p": "copy", "expand_dims": "broadcast_in_dim"}
OPENED = {
    "closed_call": "jit",
    "core_call": "jit",
    "eval_jaxpr": "jit",
    "pjit": "jit",
    "remat": "checkpoint",
    "remat2": "checkpoint",
}


def test_every_rule_is_tested():
    table = rules(jnp.float32)
    refused = {name for name, rule in table.items() if rule is refuse}
    assert refused == {"custom_vjp_call", "custom_vjp_call_jaxpr"}
    assert set(RULED) | set(ALSO) | set(OPENED) == (set(table) | CALLS) - refused
    assert all(table[name] is table[same] for name, same in ALSO.items())


@pytest.mark.parametrize("name", RULED)
def test_each_operation(name):
    program = compare(RULED[name])
    assert names(program.jaxpr) & (
        {name} | {also for also, same in (ALSO | OPENED).items() if same == name}
    )


def test_closed_calls():
    """Which no public function makes: the program of a jit with that name."""
    program = program_of(RULED["jit"], P, X)
    equations = [
        equation.replace(
            primitive=primitives.closed_call_p, params={"call_jaxpr": equation.params["jaxpr"]}
        )
        if equation.primitive.name in ("jit", "pjit")
        else equation
        for equation in program.jaxpr.eqns
    ]
    changed = program.replace(jaxpr=program.jaxpr.replace(eqns=equations))
    assert primitives.closed_call_p.name in names(changed.jaxpr)  # which is another one in JAX 0.12
    np.testing.assert_allclose(
        held_last(changed, P, TURNED, X),
        jax.vmap(RULED["jit"], (None, 0, 0, None))(P, X, Y, S),
        **CLOSE,
    )


ACTIVATIONS = (
    "relu",
    "gelu",
    "silu",
    "softplus",
    "elu",
    "tanh",
    "swish",
    "leaky_relu",
    "selu",
    "sigmoid",
    "hard_swish",
    "mish",
    "celu",
)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    compare(of(getattr(jax.nn, name)))


def cross_entropy(outputs, y, s):
    targets = (1 - s) * jax.nn.one_hot(y, WIDTH) + s / WIDTH
    return -(targets * jax.nn.log_softmax(outputs)).sum()


def flax_like(p, x):
    return (x[None] @ p["w"] + p["b"][None])[0]


def layer_norm(h):
    h = h - h.mean(-1, keepdims=True)
    return h * lax.rsqrt((h * h).mean(-1, keepdims=True) + 1e-6)


TABLE = np.linspace(-1, 1, WIDTH, dtype=np.float32)
FUNCTIONS = {
    "as Flax multiplies": lambda p, x, y, s: flax_like(p, x),
    "as Equinox multiplies": lambda p, x, y, s: p["t"] @ x + p["b"],
    "times a transpose": lambda p, x, y, s: x @ p["t"].T + p["b"],
    "a transpose times": lambda p, x, y, s: p["w"].T @ x[:, None],
    "layers of both": lambda p, x, y, s: p["t"] @ jnp.tanh(p["t"].T @ jnp.tanh(x @ p["w"])),
    "the same layer twice": lambda p, x, y, s: jnp.tanh(layer(p, jnp.tanh(p["t"].T @ layer(p, x)))),
    "sigmoid of a vector of parameters": lambda p, x, y, s: jax.nn.sigmoid(p["b"]) * layer(p, x),
    "a layer of a vector of parameters": lambda p, x, y, s: p["t"].T @ p["b"] + x,
    "a layer of a shared vector": lambda p, x, y, s: jnp.full(FEATURES, s) @ p["w"] + p["b"],
    "a layer of what all examples have": lambda p, x, y, s: jnp.ones(FEATURES) @ p["w"] * x[0],
    "a decayed matrix": lambda p, x, y, s: x @ (s * p["w"] * 0.5 + 1) + p["b"],
    "a masked matrix": lambda p, x, y, s: x @ jnp.where(p["w"] > 0, p["w"], 0.1 * p["w"]),
    "cross entropy": lambda p, x, y, s: cross_entropy(flax_like(p, x), y, s),
    "entropy of softmax": lambda p, x, y, s: jax.nn.softmax(layer(p, x)) @ p["t"] - x,
    "whether right": lambda p, x, y, s: (layer(p, x).argmax(-1) == y).astype(jnp.float32),
    "layer norm": lambda p, x, y, s: layer_norm(layer(p, x)) * p["b"],
    "layer norm with an axis of 1": lambda p, x, y, s: (
        layer_norm(flax_like(p, x)[None]) * p["b"][None]
    )[0],
    "standardized inputs": lambda p, x, y, s: layer(p, (x - 0.3) * s),
    "slices": lambda p, x, y, s: (
        jnp.concatenate([x[3:], x[:3]]) @ p["w"] + jnp.concatenate([p["b"][2:], p["b"][:2]])
    ),
    "slice of an equal number": lambda p, x, y, s: jnp.broadcast_to(s, (9,))[2:6] * layer(p, x),
    "a value of two axes": lambda p, x, y, s: (
        layer(p, x).reshape(2, 2) * layer(p, x).reshape(2, 2)
    ).sum(),
    "constants closed over": lambda p, x, y, s: layer(p, x) * TABLE + TABLE,
    "a number of its own": lambda p, x, y, s: layer(p, x) * y,
    "counts and bits": lambda p, x, y, s: (layer(p, x) > 0).sum(),
    "no example": lambda p, x, y, s: jnp.sum(p["b"] ** 2),
    "an output that is all the same": lambda p, x, y, s: jnp.zeros(3),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_an_example(name):
    compare(FUNCTIONS[name])


@pytest.mark.parametrize(
    "name",
    [
        "as Flax multiplies",
        "as Equinox multiplies",
        "the same layer twice",
        "cross entropy",
        "layer norm",
        "slices",
    ],
)
def test_members_are_those_of_a_double_vmap(name):
    compare(FUNCTIONS[name], jax.tree.map(lambda leaf: draw(MEMBERS, *leaf.shape), P), members=True)


@pytest.mark.parametrize("sizes", [*itertools.product((1, 6), (1, 5), (1, 4))], ids=str)
def test_sizes_of_one(sizes):
    """Batches, features and outputs of one."""
    batch, features, width = sizes
    params = {"w": draw(features, width), "b": draw(width), "t": draw(width, features)}

    def squared(p, x, y, s):
        return ((jnp.tanh(p["t"].T @ jnp.tanh(x @ p["w"] + p["b"])) @ p["w"] - y) ** 2).sum()

    compare(squared, params, draw(batch, features), Y[:batch])


def test_bytes():
    x = jnp.asarray(RNG.integers(0, 256, (BATCH, FEATURES)), jnp.uint8)
    compare(lambda p, x, y, s: layer(p, (x.astype(jnp.float32) - 128) * s / 255), x=x)
    compare(lambda p, x, y, s: x.sum(dtype=jnp.uint8), x=x)  # of bytes again


def test_argmax_of_ties_is_the_first():
    tied = jnp.asarray([[1, 3, 3, 0, 3], [2, 2, 2, 2, 2], [0, 0, 0, 0, 1]], jnp.float32)
    compare(lambda p, x, y, s: jnp.argmax(x), x=tied, y=Y[:3])
    assert held_last(
        program_of(lambda p, x, y, s: jnp.argmax(x), P, tied), P, TURNED, tied, Y[:3]
    ).tolist() == [1, 0, 4]


def test_a_largest_number_that_is_tied_has_the_gradient_of_jax():
    compare(lambda p, x, y, s: jnp.max(jnp.concatenate([p["b"], p["b"]]) * y))


def test_functions_with_derivatives_of_their_own_at_their_edges():
    """Relu at 0 has derivative 0, which that of max has not."""
    zero = jax.tree.map(jnp.zeros_like, P)
    compare(of(jax.nn.relu), zero)
    compare(of(lambda h: jnp.logaddexp(h, 2 * h)), zero)


@jax.custom_jvp
def shifted(h, b):
    return h + b


shifted.defjvp(lambda p, t: (shifted(*p), t[0] + t[1]))


def test_a_vector_of_parameters_in_a_function_with_a_derivative_of_its_own():
    compare(lambda p, x, y, s: shifted(x @ p["w"], p["b"]))


def test_operands_of_products_are_rounded_and_sums_are_not():
    program, big = (
        program_of(of(lambda h: h), P, X),
        lambda a: a.astype(jnp.bfloat16).astype(jnp.float32),
    )
    args = [
        Held(P["b"][None], ROW),
        Held(P["t"], AS_GIVEN),
        Held(P["w"], AS_GIVEN),
        Held(X, FIRST),
        Held(Y[None], LAST),
        Held(S[None, None], SHARED),
    ]
    (out,) = evaluate(program.jaxpr, [], args, jnp.bfloat16)
    np.testing.assert_allclose(
        rows(out, (WIDTH,), BATCH), big(X) @ big(P["w"]) + P["b"][None], **CLOSE
    )
    assert np.abs(rows(out, (WIDTH,), BATCH) - (X @ P["w"] + P["b"][None])).max() > 1e-4


def test_a_number_an_example():
    for held in (
        Held(X[:, :1], FIRST),
        Held(X[:, :1].T, LAST),
        Held(jnp.ones((1, 1), jnp.int32), SHARED),
    ):
        out = as_last(held, BATCH)
        assert (out.shape, out.dtype) == ((1, BATCH), jnp.float32)
        np.testing.assert_array_equal(out[0], jnp.broadcast_to(held.value.ravel(), (BATCH,)))


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm()(nn.Dense(7)(x.reshape(len(x), -1)))
        return nn.Dense(3, use_bias=False)(nn.gelu(x))


class Nnx(nnx.Module):
    def __init__(self, *, rngs):
        self.hidden, self.norm, self.out = (
            nnx.Linear(6, 7, rngs=rngs),
            nnx.LayerNorm(7, rngs=rngs),
            nnx.Linear(7, 3, rngs=rngs),
        )

    def __call__(self, x):
        return self.out(nnx.silu(self.norm(self.hidden(x.reshape(len(x), -1)))))


def equinox():
    eqx = pytest.importorskip("equinox")

    def build(key):
        keys, act = jax.random.split(key), eqx.nn.Lambda
        layers = [
            act(jnp.ravel),
            eqx.nn.Linear(6, 7, key=keys[0]),
            eqx.nn.LayerNorm(7),
            act(jax.nn.relu),
            eqx.nn.Linear(7, 3, key=keys[1]),
        ]
        return eqx.nn.Sequential(layers)

    return jaxnet.Model.from_equinox(build)


MODELS = {
    "linear": lambda: jaxnet.linear().for_outputs(3),
    "mlp": lambda: jaxnet.mlp((7, 5)).for_outputs(3),
    "mlp of one output": lambda: jaxnet.mlp((7,), activation="gelu").for_outputs(1),
    "mlp with layer norm": lambda: jaxnet.mlp(
        (7, 5), normalization="layer", activation="silu"
    ).for_outputs(3),
    "linen": lambda: jaxnet.Model.from_linen(Linen()),
    "nnx": lambda: jaxnet.Model.from_nnx(Nnx),
    "equinox": equinox,
}


@pytest.mark.parametrize("members", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_models(name, members):
    """Of images, 2 x 3; a layer norm's gradient is a difference of numbers some ten times as large,
    and so its error.
    """
    model, images = MODELS[name](), jax.ShapeDtypeStruct((1, 2, 3), jnp.float32)
    shapes, _ = jax.eval_shape(model.init, jax.random.key(0), images)
    params = jax.tree.map(lambda leaf: draw(*[MEMBERS] * members, *leaf.shape), shapes)

    def outputs(params, x, y, s):
        return model.apply(params, {}, x.reshape(1, 2, 3), key=None, dropout=None)[0][0] * s

    compare(
        outputs, params, draw(BATCH, 6), members=members, tolerance={"rtol": 1e-5, "atol": 1e-5}
    )
    check_examples_apart(
        lambda params, x: model.apply(params, {}, x, key=None, dropout=None)[0], shapes, (2, 3)
    )


def test_dropout_is_that_of_the_batch():
    """Each example's key stands its place after the batch's; here the place is what else is the
    label.
    """
    key, place = jax.random.key(3), jnp.arange(BATCH, dtype=jnp.int32)
    first, second = jax.random.key_data(key)

    def one(p, x, place, rate):
        words = jnp.concatenate([(first + place.astype(jnp.uint32))[None], second[None]])
        return dropout(
            layer(p, x)[None], jax.random.wrap_key_data(words, impl="threefry2x32"), rate, 1
        )[0]

    program = compare(one, y=place)
    many = held_last(program, P, TURNED, X, place)
    np.testing.assert_allclose(many, dropout(X @ P["w"] + P["b"][None], key, S, 1), **CLOSE)
    assert 0 < (np.asarray(many) == 0).mean() < 1


@jax.custom_vjp
def own_gradient(h):
    return h


own_gradient.defvjp(lambda h: (h, None), lambda _, g: (2 * g,))


@jax.custom_jvp
def two_results(h):
    return h, 2 * h


two_results.defjvp(lambda p, t: (two_results(*p), two_results(*t)))


@jax.custom_jvp
def of_a_count(h, count):
    return h * count


of_a_count.defjvp(lambda p, t: (of_a_count(*p), t[0] * p[1]))

MATRIX = np.ones((2, 3), np.float32)
REFUSED = {
    "sort": (of(jnp.sort), "'sort'"),
    "cumsum": (of(jnp.cumsum), "'cumsum'"),
    "convolution": (
        lambda p, x, y, s: lax.conv(x.reshape(1, 1, 5), x[:3].reshape(1, 1, 3), (1,), "VALID"),
        "'conv_general_dilated'",
    ),
    "gather": (lambda p, x, y, s: jnp.take_along_axis(layer(p, x), y[None], 0), "'gather'"),
    "product of two values": (lambda p, x, y, s: x @ x, "'dot_general' other than"),
    "product of two matrices": (
        lambda p, x, y, s: x @ (p["w"] @ p["t"]),
        "'dot_general' other than",
    ),
    "product of a value of two axes": (
        lambda p, x, y, s: jnp.concatenate([x, x]).reshape(2, 5) @ p["w"],
        "'dot_general' of a value with several axes",
    ),
    "a gradient of its own": (of(own_gradient), "'custom_vjp_call"),
    "derivatives of two results": (
        of(lambda h: jnp.add(*two_results(h))),
        "'custom_jvp_call' with",
    ),
    "derivatives of whole numbers": (
        lambda p, x, y, s: of_a_count(layer(p, x)[0], y),
        "'custom_jvp_call' with",
    ),
    "matrix times values": (
        lambda p, x, y, s: layer(p, x)[None] @ p["t"] * p["w"].T,
        "'mul' of a matrix of parameters",
    ),
    "matrix plus its transpose": (
        lambda p, x, y, s: x @ (p["w"] + p["t"].T),
        "'add' of a matrix of parameters",
    ),
    "largest precision": (
        lambda p, x, y, s: jnp.dot(x, p["w"], precision="highest"),
        "precision .*HIGHEST",
    ),
    "another algorithm": (
        lambda p, x, y, s: jnp.dot(x, p["w"], precision=lax.DotAlgorithmPreset.BF16_BF16_F32),
        "precision .*BF16",
    ),
    "strides": (
        lambda p, x, y, s: lax.slice(layer(p, x), (0,), (4,), (2,)),
        "'slice' with strides",
    ),
    "slice of a matrix": (lambda p, x, y, s: p["w"][:2], "'slice'"),
    "slice of several axes": (
        of(lambda h: h.reshape(2, 2)[:1]),
        "'slice' along one of several axes",
    ),
    "transpose of several axes": (
        of(lambda h: h.reshape(2, 2).T),
        "'transpose' of a value with several axes",
    ),
    "reshape of a matrix": (lambda p, x, y, s: p["w"].reshape(-1)[:4], "'reshape' of a matrix"),
    "sum of a matrix": (lambda p, x, y, s: p["w"].sum(), "'reduce_sum'"),
    "some of several axes": (
        of(lambda h: h.reshape(2, 2).sum(0)),
        "'reduce_sum' over some of several axes",
    ),
    "repeated numbers": (
        of(lambda h: jnp.broadcast_to(h[None], (2, 4))),
        "'broadcast_in_dim' from 4 to 8 numbers",
    ),
    "concatenated rows": (
        of(lambda h: jnp.concatenate([h[None], h[None]])),
        "'concatenate' along one of several axes",
    ),
    "counts along several axes": (
        lambda p, x, y, s: lax.broadcasted_iota(jnp.int32, (2, 3), 1),
        "'iota' along one of several axes",
    ),
    "constants of two axes": (lambda p, x, y, s: x[:2] @ MATRIX, r"a constant of shape \(2, 3\)"),
    "a loop": (lambda p, x, y, s: lax.fori_loop(0, 3, lambda i, h: h + x, x), "'(scan|while)'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_refused_by_name(name):
    function, message = REFUSED[name]
    program = program_of(function, P, X)
    for matrices in (AS_GIVEN, TURNED):
        with pytest.raises(NotImplementedError, match=message):
            held_last(program, P, matrices, X)


MIXED = {
    "mean of the batch": lambda p, x: x - x.mean(0, keepdims=True),
    "products of examples": lambda p, x: x @ x.T,
    "roll": lambda p, x: jnp.roll(x, 1, axis=0),
    "softmax over the batch": lambda p, x: jax.nn.softmax(x, axis=0),
    "the first example": lambda p, x: x - x[:1],
    "inside of jit": lambda p, x: jax.jit(lambda x: x / x.max(axis=0, keepdims=True))(x),
    "covariance": lambda p, x: x @ (x.T @ x),
    "inside of checkpoint": lambda p, x: jax.checkpoint(lambda x: x / x.max(axis=0, keepdims=True))(
        x
    ),
    "inside of a scan": lambda p, x: lax.scan(
        lambda h, _: (h - h.sum(0, keepdims=True), None), x, length=2
    )[0],
    "batch norm": lambda p, x: nn.BatchNorm(
        use_running_average=False, use_scale=False, use_bias=False
    ).apply({"params": {}}, x, mutable=["batch_stats"])[0],
}
APART = {
    "a layer": lambda p, x: jax.nn.relu(x @ p["w"] + p["b"][None]),
    "a layer of columns": lambda p, x: (p["t"] @ x.T + p["b"][:, None]).T,
    "layer norm": lambda p, x: nn.LayerNorm().apply(
        {"params": {"scale": jnp.ones(FEATURES), "bias": jnp.zeros(FEATURES)}}, x
    ),
    "reshape": lambda p, x: x.reshape(len(x), 1, FEATURES),
    "softmax": lambda p, x: jax.nn.softmax(x),
    "under vmap": lambda p, x: jax.vmap(lambda x: p["t"] @ x)(x),
    "dropout": lambda p, x: dropout(x, jax.random.key(0), 0.5),
    "zeros beside": lambda p, x: jnp.concatenate([x, jnp.zeros((len(x), 2))], 1),
}


@pytest.mark.parametrize("name", MIXED)
def test_what_mixes_examples_is_refused(name):
    with pytest.raises(NotImplementedError, match=r"operation '.*' across the examples of a batch"):
        check_examples_apart(MIXED[name], P, (FEATURES,))


def test_the_number_of_examples_is_no_constant():
    with pytest.raises(NotImplementedError, match="depends on how many examples"):
        check_examples_apart(lambda p, x: x / len(x), P, (FEATURES,))


@pytest.mark.parametrize("name", APART)
def test_what_keeps_examples_apart_is_not_refused(name):
    check_examples_apart(APART[name], P, (FEATURES,))


def test_images_may_be_flattened():
    images = (28, 28, 3)
    check_examples_apart(lambda _, x: x.reshape(len(x), -1), (), images)
    check_examples_apart(lambda _, x: x.reshape(len(x), 28, -1).swapaxes(1, 2), (), images)
    with pytest.raises(NotImplementedError, match="operation 'reshape' across the examples"):
        check_examples_apart(lambda _, x: x.reshape(-1, 28), (), images)

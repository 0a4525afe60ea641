"""With jax_enable_x64 everything trains in float32, to the bits of without it, and the setting
stays as it is.
"""

import contextlib
import os
import subprocess
import sys

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from conftest import gap, problem_of
from flax import nnx
from recipes import ROWS, recipe

import jaxnet
from jaxnet import Augmentation, Model, Plan, Recipe
from jaxnet.data import resampling
from jaxnet.data.corruption import corrupt
from jaxnet.data.splitting import take
from jaxnet.kernels.dispatch import exported

pytestmark = pytest.mark.core

# Once `double(False)` is left, jax 0.7 reads the Python numbers of what was traced in it as 64
# bits, where it maps or lowers the program: a ValueError of its own, and never a wrong number.
needs_jax_08 = pytest.mark.skipif(
    jax.__version_info__ < (0, 8), reason="jax 0.7 cannot map or lower this in 64-bit mode"
)

KEY, MODEL = jax.random.key(3), jaxnet.mlp((8,))
FEW = Recipe(epochs=2, batch_size=32)


@contextlib.contextmanager
def wide(enabled: bool = True):
    """The setting as a user makes it: for the whole process, threads included."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", enabled)
    try:
        yield
        assert jax.config.jax_enable_x64 is enabled
    finally:
        jax.config.update("jax_enable_x64", before)


def in_both(call):
    """What `call` gives without the setting and with it, on the host."""
    given = []
    for enabled in (False, True):
        with wide(enabled):
            given.append(jax.tree.map(np.asarray, call()))
    return given


def assert_same_bits(call):
    """The same types and the same bits, of which none is of a 64-bit number."""
    narrow, same = in_both(call)
    assert jax.tree.structure(narrow) == jax.tree.structure(same)
    assert [leaf.dtype for leaf in jax.tree.leaves(narrow)] == [
        leaf.dtype for leaf in jax.tree.leaves(same)
    ]
    assert not {str(leaf.dtype) for leaf in jax.tree.leaves(same)} & {"float64", "int64"}
    for a, b in zip(jax.tree.leaves(narrow), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def small(digits):
    parts = {
        name: take(getattr(digits, name), slice(n))
        for name, n in (("train", 130), ("validation", 40), ("test", 50))
    }
    return jaxnet.data.splitting.assemble(*parts.values(), name="small")


@pytest.fixture(scope="module")
def values():
    x = np.random.default_rng(0).normal(size=(200, 4))
    return jaxnet.split(x, x[:, 0] - 2 * x[:, 1])


@pytest.mark.parametrize(
    "row", [ROWS[4 * i + i % 4] for i in range(7)], ids=lambda row: f"{row[0]}-{row[1]}"
)
def test_every_optimizer(row, small):
    assert_same_bits(
        lambda: (
            run := jaxnet.fit(MODEL, small, recipe(row, epochs=2), KEY),
            jaxnet.predict(MODEL, run, small.test.x),
        )
    )


WHOLE = Augmentation(
    shift=1.0, rotate=10.0, scale=0.1, elastic=0.5, noise=0.1, cutout=2.0, mixup=0.2
)
NUMBERS = np.float64(0.1)  # a strength that JAX would take for one of 64 bits
CASES = {
    "cnn, batch norm, augmentation": lambda s: jaxnet.fit(
        jaxnet.cnn((4,), (8,), normalization="batch"),
        s,
        Recipe(epochs=1, batch_size=32, augmentation=WHOLE),
        KEY,
    ),
    "gelu, layer norm, bfloat16": lambda s: jaxnet.fit(
        jaxnet.mlp((8,), activation="gelu", normalization="layer"),
        s,
        Recipe(epochs=2, precision="bfloat16"),
        KEY,
    ),
    "weights": lambda s: jaxnet.fit(
        MODEL, s, FEW, KEY, weights=np.linspace(0.5, 1.5, len(s.train))
    ),
    "sample": lambda s: jaxnet.fit(MODEL, s, FEW, KEY, sample=(np.arange(len(s.train)), 70)),
    "strengths of float64": lambda s: jaxnet.fit(
        MODEL,
        s,
        Recipe(
            epochs=1,
            dropout=NUMBERS,
            label_smoothing=NUMBERS,
            augmentation=Augmentation(noise=NUMBERS),
        ),
        KEY,
    ),
    "two devices": lambda s: jaxnet.fit(MODEL, s, FEW, KEY, plan=Plan(2)),
    "micro batch": lambda s: jaxnet.fit(
        MODEL, s, Recipe(epochs=1, batch_size=32, l1=1e-3), KEY, plan=Plan(micro_batch=8)
    ),
    "kernel": lambda s: jaxnet.fit(
        MODEL,
        s,
        Recipe(
            epochs=1,
            batch_size=48,
            dropout=0.1,
            schedule="cosine",
            augmentation=Augmentation(noise=0.1),
        ),
        KEY,
        plan=Plan(implementation="resident"),
    ),
    "train": lambda s: jaxnet.train(MODEL, s, Recipe(epochs=2, patience=1), KEY),
    "parameters of float64": lambda s: jaxnet.fit(
        MODEL,
        s,
        FEW,
        KEY,
        params=jax.tree.map(
            lambda leaf: np.asarray(leaf, np.float64), jaxnet.fit(MODEL, s, FEW, KEY).params
        ),
    ),
    "population": lambda s: (
        jaxnet.fit_population(
            MODEL,
            s,
            Recipe(
                epochs=2,
                learning_rate=np.array([1e-3, 1e-2, 0.1]),
                schedule="constant",
                batch_size=128,
            ),
            jax.random.split(KEY, 3),
            resample=resampling.subsamples(KEY, 3, 60, len(s.train)),
        ).run
    ),
    "halving": lambda s: (
        jaxnet.fit_population(
            MODEL,
            s,
            Recipe(epochs=4),
            jax.random.split(KEY, 4),
            halving=jaxnet.Halving.geometric(4, factor=2),
        ).run
    ),
    "the pure verbs under jit": lambda s: jax.jit(
        lambda recipe: jaxnet.epoch(MODEL, s, recipe, jaxnet.start(MODEL, s, recipe, KEY))[
            0
        ]._replace(key=None, order_key=None)
    )(Recipe(learning_rate=1e-2, momentum=0.8, clip=0.5, dropout=0.1, schedule="cosine")),
    "under vmap": lambda s: jax.vmap(
        lambda rate: (
            jaxnet.fit(
                MODEL,
                s,
                Recipe(epochs=1, learning_rate=rate, schedule="constant", batch_size=128),
                KEY,
            ).params
        )
    )(np.array([1e-3, 1e-2])),
}


@needs_jax_08
def test_the_kernel_for_a_tpu_has_no_number_of_64_bits(small):
    """The kernel is lowered for a TPU here, whose compiler has no 64-bit numbers."""
    full = Recipe(
        epochs=2,
        batch_size=32,
        optimizer="adamw",
        weight_decay=0.1,
        dropout=0.1,
        clip=1.0,
        schedule="cosine",
    )
    with wide():
        for members in (0, 2):
            problem = problem_of(MODEL, small, full, weights=np.ones(len(small.train), np.float32))
            program = exported(problem, members=members, own_order=True)
            assert "f64" not in program.mlir_module()
            assert {str(result.dtype) for result in program.out_avals} == {"float32", "int32"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[needs_jax_08] * (name in ("halving", "under vmap")))
        for name in CASES
    ],
)
def test_every_way_to_train(name, small):
    assert_same_bits(lambda: CASES[name](small))


def test_values(values):
    def call():
        run = jaxnet.fit(MODEL, values, FEW, KEY, weights=np.ones(len(values.train)))
        return run, jaxnet.predict(MODEL, run, np.asarray(values.test.x, np.float64))

    assert_same_bits(call)


def test_data_made_under_the_setting(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    y = (x[:, 0] > 0).astype(int)

    def call():
        splits = jaxnet.split(x, y)
        return splits, jaxnet.fit(MODEL, splits, FEW, KEY)

    assert_same_bits(call)
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    np.save(tmp_path / "y.npy", y)

    def on_disk():
        splits = jaxnet.stream(tmp_path, validation=40, test=40)
        return splits.standardization, jaxnet.train(MODEL, splits, FEW, KEY)

    assert_same_bits(on_disk)


def test_corruptions_and_two_sample_tests(digits):
    x = np.asarray(digits.test.x[:60], np.float32)
    for kind, strength in {
        "noise": 0.3,
        "blur": 1.5,
        "shift": 2,
        "rotation": 20,
        "contrast": 0.5,
    }.items():
        assert_same_bits(
            lambda kind=kind, strength=strength: corrupt(x, kind, strength, KEY, pixel_max=16.0)
        )
    found = in_both(
        lambda: jaxnet.diagnostics.two_sample_test(x[:30], x[30:], method="mmd", key=KEY).statistic
    )
    assert found[0] == found[1]


class Dropped(nn.Module):
    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.relu(
            nn.BatchNorm(use_running_average=not train)(
                nn.Dense(8, use_bias=False)(x.reshape(len(x), -1))
            )
        )
        return nn.Dense(10)(nn.Dropout(0.2, deterministic=not train)(x))


def plain(kind):
    """A network of two plain functions, whose initializer draws without a type, or with NumPy."""

    def init(key, x):
        size = int(np.prod(x.shape[1:]))
        w = (
            jax.random.normal(key, (size, 10))
            if kind == "jax"
            else np.random.default_rng(0).normal(size=(size, 10))
        )
        return {"w": w * 0.1}, {}

    return Model(
        init,
        lambda params, state, x, *, key=None, dropout=None: (
            x.reshape(len(x), -1) @ params["w"],
            state,
        ),
        f"plain {kind}",
    )


def equinox():
    eqx = pytest.importorskip("equinox")

    class Net(eqx.Module):
        layer: eqx.nn.Linear
        norm: eqx.nn.BatchNorm

        def __init__(self, *, key):
            self.layer, self.norm = (
                eqx.nn.Linear(64, 10, key=key),
                eqx.nn.BatchNorm(10, "batch", mode="batch"),
            )

        def __call__(self, x, state):
            return self.norm(self.layer(x.reshape(-1)), state)

    return Model.from_equinox(Net)


OWN = {
    "linen": lambda: Model.from_linen(Dropped()),
    "nnx": lambda: Model.from_nnx(
        lambda rngs: nnx.Sequential(lambda x: x.reshape(len(x), -1), nnx.Linear(64, 10, rngs=rngs))
    ),
    "equinox": equinox,
    "plain, jax": lambda: plain("jax"),
    "plain, numpy": lambda: plain("numpy"),
}


@pytest.mark.parametrize("name", OWN)
def test_networks_of_others_have_parameters_of_float32(name, small):
    model = OWN[name]()
    assert_same_bits(lambda: jaxnet.fit(model, small, FEW, KEY))


def test_losses_and_optimizers_of_your_own(small):
    weights = np.linspace(0.5, 1.5, 10)  # float64

    def loss(outputs, targets):
        return -(targets * weights[None] * jax.nn.log_softmax(outputs)).sum(-1)

    def own(rate):
        return optax.chain(
            optax.scale(np.float64(1.0)), optax.scale_by_rms(), optax.scale_by_learning_rate(rate)
        )

    def call():
        run = jaxnet.fit(
            MODEL, small, Recipe(epochs=2, optimizer=own, schedule="cosine"), KEY, loss=loss
        )
        return run.params, run.history

    assert_same_bits(call)


@pytest.mark.parametrize("saved_wide", [False, True], ids=["saved without", "saved with"])
def test_a_checkpoint_is_continued_under_the_other_setting(small, tmp_path, saved_wide):
    def stop(done, _):
        if done == 1:
            raise KeyboardInterrupt

    whole = jaxnet.train(MODEL, small, FEW, KEY)
    with wide(saved_wide), pytest.raises(KeyboardInterrupt):
        jaxnet.train(MODEL, small, FEW, KEY, out=tmp_path / "run", progress=stop)
    with wide(not saved_wide):
        run = jaxnet.train(MODEL, small, FEW, KEY, out=tmp_path / "run")
        assert gap(run.params, whole.params) == 0
        jaxnet.save(run, tmp_path / "saved")
    with wide(saved_wide):
        restored = jaxnet.restore(tmp_path / "saved")
        assert gap(restored.params, whole.params) == 0
        again = jaxnet.predict(MODEL, restored, small.test.x)
    np.testing.assert_array_equal(again, jaxnet.predict(MODEL, whole, small.test.x))


@pytest.mark.parametrize("enabled", ["0", "1"])
def test_importing_leaves_the_setting_as_it_is(enabled):
    program = (
        "import jax, jaxnet; print(jax.config.jax_enable_x64); "
        "jaxnet.mlp((4,)).for_outputs(2); print(jax.config.jax_enable_x64)"
    )
    environment = {**os.environ, "JAX_ENABLE_X64": enabled}
    said = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert said.split() == [str(enabled == "1")] * 2

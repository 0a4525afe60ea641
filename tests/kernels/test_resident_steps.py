"""The kernel that trains on a TPU chip, interpreted, against XLA's program of the same steps; and
who is trained by which.
"""

import dataclasses
import functools
import logging

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import gap, problem_of
from flax import linen as nn
from flax import nnx
from jax.experimental.pallas import tpu as pltpu

import jaxnet
from jaxnet import Augmentation, InputError, Model, Plan, Recipe, errors
from jaxnet.core.training import Batch, EpochMetrics, start
from jaxnet.engine.parallel import run_steps_on
from jaxnet.kernels import probe, resident_steps, verify
from jaxnet.kernels.budget import MAX_GROUP_MEMBERS
from jaxnet.kernels.dispatch import choose

KERNEL, XLA = Plan(implementation="resident"), Plan(implementation="xla")
KEY = jax.random.key(1)

# What may be set, beside the defaults: each for at least 50 steps.
RECIPES = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.05},
    "momentum": {"optimizer": "momentum", "learning_rate": 0.02},
    "nesterov": {"optimizer": "nesterov", "learning_rate": 0.02, "momentum": 0.8},
    "adam": {},
    "adam, its decays": {"momentum": 0.7, "b2": 0.9},
    "adamw, one cycle": {"optimizer": "adamw", "weight_decay": 0.05, "schedule": "one_cycle"},
    "cosine": {"schedule": "cosine"},
    "warmup_cosine": {"schedule": "warmup_cosine"},
    "weight decay, clip": {
        "optimizer": "momentum",
        "learning_rate": 0.02,
        "weight_decay": 0.01,
        "clip": 0.5,
    },
    "l1": {"l1": 1e-3},
    "dropout": {"dropout": 0.3},
    "label smoothing": {"label_smoothing": 0.1},
    "noise": {"augmentation": Augmentation(noise=0.5)},
    "patience": {"patience": 1, "learning_rate": 0.03},
}
# Of these the others are made up, and are left to .ci/run.
ALWAYS = ("sgd", "adam", "adamw, one cycle", "weight decay, clip", "dropout", "noise", "patience")
# Float32 sums in another order, each step built on the last one: 50 steps of a parameter that moves
# by some 0.1.
TOLERANCE = 2e-5
# Where rounding moves a unit across the corner of relu, Adam makes much of it: of so many trainings
# one would be such a case.
SMOOTH = jaxnet.mlp((24, 12), activation="tanh")


def recipe(**changes) -> Recipe:
    plain = {"schedule": "constant", "epochs": 4, "batch_size": 48, "learning_rate": 1e-3}
    return Recipe(**{**plain, **changes})


@pytest.fixture(scope="module")
def images():
    """Small images as bytes, whose number no batch size here divides: the last batch is not
    full.
    """
    draw = np.random.default_rng(0)
    x = draw.integers(0, 255, (1000, 6, 6)).astype(np.uint8)
    return jaxnet.split(
        x, ((x.reshape(1000, -1) - 127.0) @ draw.normal(size=(36, 5))).argmax(1), seed=0
    )


@pytest.fixture(scope="module")
def values():
    """A regression of a table."""
    draw = np.random.default_rng(1)
    x = draw.normal(size=(400, 7)) * np.arange(1, 8)
    return jaxnet.split(x, x @ draw.normal(size=7) + 0.1 * draw.normal(size=400), seed=0)


def both(model, splits, recipe, **options):
    return (jaxnet.fit(model, splits, recipe, KEY, plan=plan, **options) for plan in (KERNEL, XLA))


def same(kernel, xla, tolerance=TOLERANCE) -> None:
    assert int(np.min(xla.epochs)) * -(-700 // 48) >= 50 or kernel.recipe.patience is not None
    assert gap(kernel.params, xla.params) < tolerance
    assert kernel.history.signals is xla.history.signals is None
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        # One example in 700 may lie on a border that rounding moves it across.
        allowed = 1.5 / 700 if "accuracy" in name else tolerance
        ours, theirs = (getattr(run.history, name) for run in (kernel, xla))
        np.testing.assert_allclose(ours, theirs, atol=allowed)
    assert gap(kernel.best.params, xla.best.params) < tolerance
    np.testing.assert_array_equal(kernel.epochs, xla.epochs)
    np.testing.assert_array_equal(kernel.diverged_at, xla.diverged_at)


def _marks(name):
    core, always = name in ("sgd", "adam", "dropout"), name in ALWAYS
    return [pytest.mark.core] * core + [pytest.mark.slow] * (not always)


@pytest.mark.parametrize("name", [pytest.param(name, marks=_marks(name)) for name in RECIPES])
def test_a_network_alone(images, name):
    kernel, xla = both(jaxnet.mlp((24, 12)), images, recipe(**RECIPES[name]))
    same(kernel, xla)
    start = jaxnet.start(jaxnet.mlp((24, 12)), images, recipe(), KEY)
    assert gap(xla.params, start.params) > 1e-2  # there was something to get wrong


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        pytest.param(
            name,
            shared,
            marks=[pytest.mark.slow]
            * ((name, shared) not in (("dropout", True), ("weight decay, clip", False))),
        )
        for name in ("momentum", "adamw, one cycle", "dropout", "noise", "weight decay, clip")
        for shared in (True, False)
    ],
)
def test_members_with_their_own_numbers(images, name, shared):
    """Each is the run alone, by XLA, whether they share minibatches or not; 5 of them in groups of
    3 and 2.
    """
    rates = np.linspace(0.001, 0.01, 5, dtype=np.float32)
    given, keys = recipe(**{**RECIPES[name], "learning_rate": rates}), jax.random.split(KEY, 5)
    order_key = jax.random.key(9) if shared else None

    def member(key, recipe):
        return jaxnet.fit(SMOOTH, images, recipe, key, order_key=order_key, plan=KERNEL)

    axes = jax.tree.map(lambda leaf: 0 if np.ndim(leaf) else None, given)
    many = jax.jit(jax.vmap(member, (0, axes)))(keys, given)
    for i in (0, 4):
        own = jax.tree.map(lambda leaf, i=i: leaf[i] if np.ndim(leaf) else leaf, given)
        alone = jaxnet.fit(SMOOTH, images, own, keys[i], order_key=order_key, plan=XLA)
        same(jax.tree.map(lambda leaf, i=i: leaf[i], many), alone)


def test_groups_that_do_not_divide_the_members(images):
    """One member more than a group holds: two groups of half as many, with one place left."""
    keys = jax.random.split(KEY, MAX_GROUP_MEMBERS + 1)
    small = dataclasses.replace(images, train=jax.tree.map(lambda leaf: leaf[:100], images.train))
    few = recipe(epochs=1, batch_size=30)

    def run(plan):
        def one(key):
            return jaxnet.fit(jaxnet.mlp((8,)), small, few, key, plan=plan).params

        return jax.jit(jax.vmap(one))(keys)

    assert gap(run(KERNEL), run(XLA)) < TOLERANCE


def test_a_population_by_the_kernel(images):
    """Bootstrap weights, own rates, waves: fit_population by the kernel and by XLA."""
    keys, given = (
        jax.random.split(KEY, 5),
        recipe(learning_rate=np.linspace(0.001, 0.01, 5, dtype=np.float32)),
    )
    samples = jaxnet.resampling.bootstrap(jax.random.key(2), 5, len(images.train))
    by = [
        jaxnet.fit_population(
            jaxnet.mlp((24, 12)),
            images,
            given,
            keys,
            order_key=KEY,
            resample=samples,
            plan=Plan(1, chunk=3, implementation=implementation),
        )
        for implementation in ("resident", "xla")
    ]
    assert gap(by[0].params, by[1].params) < TOLERANCE


def test_weights_and_samples(images):
    examples = len(images.train)
    weights = np.random.default_rng(2).integers(0, 3, examples).astype(np.float32)
    same(*both(jaxnet.mlp((24, 12)), images, recipe(), weights=weights))
    sample = (np.arange(examples), np.int32(examples // 3))
    same(*both(jaxnet.mlp((24, 12)), images, recipe(), sample=sample))


def test_a_table_of_values_and_a_loss_of_ones_own(values):
    def huber(outputs, targets):
        return optax.huber_loss(outputs, targets).sum(-1)

    for loss in (None, huber):
        kernel, xla = both(
            jaxnet.mlp((16,), activation="gelu", normalization="layer"),
            values,
            recipe(epochs=8, batch_size=40),
            loss=loss,
        )
        assert gap(kernel.params, xla.params) < TOLERANCE
        assert gap(kernel.history, xla.history) < TOLERANCE


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.silu(nn.Dense(16)(x.reshape(len(x), -1)))
        return nn.Dense(5)(nn.elu(nn.LayerNorm()(x)))


class Nnx(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.inner, self.outer = nnx.Linear(36, 16, rngs=rngs), nnx.Linear(16, 5, rngs=rngs)

    def __call__(self, x):
        return self.outer(nnx.tanh(self.inner(x.reshape(len(x), -1))))


class Equinox(eqx.Module):
    layers: list

    def __init__(self, key):
        one, two = jax.random.split(key)
        self.layers = [eqx.nn.Linear(36, 16, key=one), eqx.nn.Linear(16, 5, key=two)]

    def __call__(self, x):
        return self.layers[1](jax.nn.leaky_relu(self.layers[0](x.ravel())))


@pytest.mark.parametrize(
    "model",
    [
        Model.from_linen(Linen()),
        Model.from_nnx(lambda rngs: Nnx(rngs)),
        Model.from_equinox(lambda key: Equinox(key)),
    ],
)
def test_modules_of_other_libraries(images, model):
    same(*both(model, images, recipe()))


def test_bfloat16(images):
    """Another rounding of the same products: XLA on a CPU sums in bfloat16 what the kernel sums in
    float32.
    """
    kernel, xla = both(jaxnet.mlp((24, 12)), images, recipe(precision="bfloat16"))
    assert gap(kernel.params, xla.params) < 0.02
    assert abs(kernel.history.train_loss[-1] - xla.history.train_loss[-1]) < 0.01


def test_divergence_is_marked_with_its_step(images):
    def exploding(outputs, targets):
        return 1e30 * (outputs**2).sum(-1) ** 4

    kernel, xla = both(
        jaxnet.mlp((8,)), images, recipe(optimizer="sgd", learning_rate=1e3), loss=exploding
    )
    assert int(xla.diverged_at) >= 0
    assert int(kernel.diverged_at) == int(xla.diverged_at)


def test_the_same_bits_every_time(images):
    given = recipe(dropout=0.3, augmentation=Augmentation(noise=0.1))
    first, second = (
        jaxnet.fit(jaxnet.mlp((24, 12)), images, given, KEY, plan=KERNEL) for _ in range(2)
    )
    assert gap(first.params, second.params) == 0


@pytest.mark.parametrize("members", [0, 2])
def test_no_race_and_no_memory_that_was_not_written(images, members):
    """As a TPU would do it: copies that take their time, and memory that is full of NaN until it is
    written.
    """
    params = pltpu.InterpretParams(
        uninitialized_memory="nan", detect_races=True, dma_execution_mode="on_wait"
    )
    small = dataclasses.replace(images, train=jax.tree.map(lambda leaf: leaf[:100], images.train))
    problem = problem_of(
        jaxnet.mlp((8,)), small, recipe(epochs=1, batch_size=25, dropout=0.2, clip=0.5)
    )

    def run(run_steps):
        def one(key):
            state = start(problem, key, order_key=KEY)
            batches = Batch(jnp.arange(4), jnp.arange(100).reshape(4, 25))
            return run_steps(problem, state, batches)[0].params

        return (
            jax.jit(jax.vmap(one))(jax.random.split(KEY, members)) if members else jax.jit(one)(KEY)
        )

    kernel = functools.partial(resident_steps.run_steps, interpret=params)
    assert gap(run(kernel), run(run_steps_on(XLA))) < TOLERANCE
    from jax._src.pallas.mosaic.interpret import interpret_pallas_call

    assert not interpret_pallas_call.races.races_found


@pytest.mark.parametrize("epoch", [10_737_417, 10_737_418], ids=["below", "beyond"])
def test_both_count_on_alike_where_a_stream_has_been_used_up(images, epoch):
    """Steps 42,949,668 to 42,949,675 of batches of 25: the first four end the first 2^30 examples,
    the others begin the next.
    """
    small = dataclasses.replace(images, train=jax.tree.map(lambda leaf: leaf[:100], images.train))
    noise = Augmentation(noise=0.5)
    # whose state counts no steps
    given = recipe(
        optimizer="sgd", learning_rate=0.05, batch_size=25, augmentation=noise, dropout=0.2
    )
    problem = problem_of(jaxnet.mlp((8,)), small, given)
    state = start(problem, KEY)._replace(epoch=jnp.int32(epoch))
    batches = Batch(
        jnp.int32(4 * epoch) + jnp.arange(4, dtype=jnp.int32),
        jnp.arange(100, dtype=jnp.int32).reshape(4, 25),
    )
    kernel, xla = (
        jax.jit(run_steps_on(plan))(problem, state, batches)[0].params for plan in (KERNEL, XLA)
    )
    assert gap(kernel, xla) < TOLERANCE
    assert gap(kernel, state.params) > 1e-3


def asking(ask):
    """The rule's question to a compiler that answers so."""
    return functools.partial(probe.refusal, ask=ask)


class Chip:
    """A TPU as far as the rule asks."""

    platform, device_kind = "tpu", "TPU v5 lite"


UNSUPPORTED = {
    "optimizer muon": {"recipe": {"optimizer": "muon"}},
    "optimizer of its own": {"recipe": {"optimizer": optax.adagrad}},
    "augmentation shift": {"recipe": {"augmentation": Augmentation(shift=1.0)}},
    "augmentation mixup": {"recipe": {"augmentation": Augmentation(mixup=0.2)}},
    "batch statistics": {"model": jaxnet.mlp((8,), normalization="batch")},
    "such as a convolution's": {"model": jaxnet.cnn((4,), (8,))},
    "a plan that divides batches": {"plan": {"micro_batch": 16}},
    "operation 'sort'": {
        "loss": lambda outputs, targets: (jnp.sort(outputs, -1) - targets).sum(-1) ** 2
    },
    "operation 'gather'": {
        "loss": lambda outputs, targets: (
            -jnp.take_along_axis(outputs, targets.argmax(-1)[:, None], 1)[:, 0]
        )
    },
    "more than the 112 MiB": {"model": jaxnet.mlp((6000, 6000))},
}


@pytest.mark.parametrize("reason", UNSUPPORTED)
def test_what_the_kernel_cannot_train(images, reason, caplog):
    """Asked for, it fails and says why; left to the rule, it is trained by XLA, which says why."""
    case = {
        "recipe": {},
        "model": jaxnet.mlp((8,)),
        "plan": {},
        "loss": None,
        **UNSUPPORTED[reason],
    }
    given = recipe(**{"epochs": 1, **case["recipe"]})
    with pytest.raises(NotImplementedError, match=reason):
        jax.eval_shape(
            lambda key: jaxnet.fit(
                case["model"],
                images,
                given,
                key,
                loss=case["loss"],
                plan=Plan(**case["plan"], implementation="resident"),
            ),
            KEY,
        )
    with caplog.at_level(logging.INFO, "jaxnet"):
        plan = choose(
            Plan(**case["plan"]),
            problem_of(case["model"], images, given, loss=case["loss"]),
            device=Chip,
        )
    assert plan == Plan(**case["plan"], implementation="xla")
    assert reason in caplog.text
    if "6000" not in case["model"].name:
        run = jaxnet.fit(case["model"], images, given, KEY, loss=case["loss"], plan=plan)
        assert np.isfinite(run.history.train_loss).all()


def test_keys_the_kernel_cannot_draw_from(images):
    with pytest.raises(NotImplementedError, match="keys of rbg"):
        jaxnet.fit(
            jaxnet.mlp((8,)), images, recipe(epochs=1), jax.random.key(0, impl="rbg"), plan=KERNEL
        )


def test_examples_that_are_mixed(images):
    def init(key, x):
        return {"w": jax.random.normal(key, (36, 5)) * 0.1}, {}

    def apply(params, model_state, x, *, key=None, dropout=None):
        x = x.reshape(len(x), -1)
        return (x - x.mean(0, keepdims=True)) @ params["w"], model_state

    with pytest.raises(NotImplementedError, match="across the examples"):
        jaxnet.fit(Model(init, apply), images, recipe(epochs=1), KEY, plan=KERNEL)


def test_a_compiler_that_refuses_ends_in_a_trained_network(images, monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(errors, "ALREADY_SAID", set())
    refusal = asking(lambda program, topology: "Unsupported version: expected <= 7 but got 8")
    problem = problem_of(jaxnet.mlp((8,)), images, recipe(epochs=1))
    plan = choose(Plan(), problem, device=Chip, refusal=refusal)
    assert plan == XLA
    run = jaxnet.fit(jaxnet.mlp((8,)), images, recipe(epochs=1), KEY, plan=plan)
    assert "refuses the kernel: Unsupported version: expected <= 7 but got 8" in caplog.text
    assert (
        gap(
            run.params, jaxnet.fit(jaxnet.mlp((8,)), images, recipe(epochs=1), KEY, plan=XLA).params
        )
        == 0
    )


def test_the_answer_is_remembered(images, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    given = Plan(), problem_of(jaxnet.mlp((8,)), images, recipe())
    how = {"device": Chip, "refusal": asking(lambda program, topology: asked.append(topology))}
    for _ in range(2):
        assert choose(*given, **how) == KERNEL
    assert choose(*given, **how, members=3, own_order=False) == KERNEL
    assert asked == ["v5e:1x1"] * 2


def test_a_compiler_that_aborts_is_an_answer(monkeypatch):
    monkeypatch.setattr(probe.sys, "executable", "/bin/false")
    assert probe.ask_compiler(b"", "v5e:1x1") == "exit code 1"
    monkeypatch.setattr(
        probe.subprocess, "run", lambda *_, **__: probe.subprocess.CompletedProcess([], -6, "", "")
    )
    assert probe.ask_compiler(b"", "v5e:1x1") == "the compiler ended its process with SIGABRT"


def test_other_devices(images, caplog, monkeypatch):
    monkeypatch.setattr(errors, "ALREADY_SAID", set())

    class Gpu:
        platform, device_kind = "gpu", "NVIDIA H100"

    class T4:
        platform, device_kind, compute_capability = "gpu", "Tesla T4", "7.5"

    class OtherTpu:
        platform, device_kind = "tpu", "TPU v4"

    assert choose(Plan(), problem_of(jaxnet.mlp(), images, recipe()), device=Gpu) == XLA
    assert choose(Plan(), problem_of(jaxnet.mlp(), images, recipe()), device=OtherTpu) == XLA
    assert choose(Plan(), problem_of(jaxnet.mlp(), images, recipe())) == XLA
    assert (
        choose(Plan(), problem_of(jaxnet.mlp(), images, recipe(precision="bfloat16")), device=Gpu)
        == XLA
    )
    assert not caplog.text
    for _ in range(2):
        assert (
            choose(
                Plan(), problem_of(jaxnet.mlp(), images, recipe(precision="bfloat16")), device=T4
            )
            == XLA
        )
    assert caplog.text.count("a Tesla T4 has no units for bfloat16") == 1
    with pytest.raises(InputError, match="a kernel for TPUs, and this is a gpu"):
        choose(KERNEL, problem_of(jaxnet.mlp(), images, recipe()), device=Gpu)
    with pytest.raises(
        InputError, match="unknown implementation 'pallas'; known are auto, xla, resident"
    ):
        choose(Plan(implementation="pallas"), problem_of(jaxnet.mlp(), images, recipe()))


@pytest.mark.parametrize("members", [0, 3])
def test_verify(images, members):
    found = verify(jaxnet.mlp((8,)), images, recipe(), members=members)
    assert found.interpreted
    assert found.difference < TOLERANCE < found.moved
    assert found.losses[0] == pytest.approx(found.losses[1], rel=1e-5)
    assert min(found.seconds) > 0
    assert "parameters differ by at most" in str(found)


@pytest.mark.slow
def test_digits_of_mnist_by_the_kernel(mnist_folder):
    """98% of the test set, all features of an ordinary recipe on, and the same bits twice."""
    splits = jaxnet.load("mnist", data_dir=mnist_folder, validation=0.0)
    given = Recipe(
        optimizer="adamw",
        epochs=6,
        batch_size=128,
        learning_rate=3e-3,
        schedule="one_cycle",
        weight_decay=0.01,
        dropout=0.1,
    )

    def progress(epoch: int, row: EpochMetrics) -> None:
        print(epoch, row.train_loss, row.train_accuracy)

    first, second = (
        jaxnet.train(jaxnet.mlp((128, 64)), splits, given, KEY, plan=KERNEL, progress=progress)
        for _ in range(2)
    )
    assert jaxnet.evaluate(jaxnet.mlp((128, 64)), first, splits.test).accuracy.estimate >= 0.98
    assert gap(first.params, second.params) == 0
    print(jaxnet.evaluate(jaxnet.mlp((128, 64)), first, splits.test))


def test_an_augmentation_of_nothing(images):
    same(*both(jaxnet.mlp((8,)), images, recipe(augmentation=Augmentation())))

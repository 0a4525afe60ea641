"""Wrong arguments of the public verbs: each is refused by name with the cure, and what can only be
meant one way works.

A user has no type checks at run time, and the tests do: so one process without them makes all the
wrong calls.
"""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnet
from jaxnet.data import corruption, resampling
from jaxnet.diagnostics import two_sample_test

SETUP = """
import json, tempfile, warnings
from pathlib import Path
import equinox as eqx, jax, numpy as np, optax, polars, pyarrow
from flax import linen as nn, nnx
from sklearn.neural_network import MLPClassifier
import jaxnet
from jaxnet import resampling, space
from jaxnet.data import corruption
from jaxnet.diagnostics import calibration, two_sample_test

warnings.simplefilter("error")


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(x)


class XNet(nnx.Module):
    def __init__(self, rngs):
        self.layer = nnx.Linear(3, 2, rngs=rngs)


class ENet(eqx.Module):
    weight: jax.Array


class Unhashable:
    __hash__ = None

    def __call__(self, outputs, targets):
        return outputs.sum(1)


rng = np.random.default_rng(0)
x, y = rng.normal(size=(60, 3)), np.arange(60) % 2
splits, model, recipe, key = (
    jaxnet.split(x, y),
    jaxnet.mlp((4,)),
    jaxnet.Recipe(epochs=1),
    jax.random.key(0),
)
values = jaxnet.split(x, x[:, 0])
run = jaxnet.fit(model, splits, recipe, key)
state = jaxnet.start(model, splits, recipe, key)
keys = jax.random.split(key, 2)
of_integers = optax.softmax_cross_entropy_with_integer_labels
trials = space.grid({"learning_rate": [0.1, 0.2]})
here = Path(tempfile.mkdtemp())
frame = pyarrow.table({"a": [1, 2]})


def fit(**changes):
    return jaxnet.fit(
        **({"model": model, "splits": splits, "recipe": recipe, "key": key} | changes)
    )


def made(**settings):
    return fit(recipe=jaxnet.Recipe(**({"epochs": 1} | settings)))


def many(**changes):
    return jaxnet.fit_population(
        **({"model": model, "splits": splits, "recipes": recipe, "keys": keys} | changes)
    )
"""

# What is called, and words of the message.
CALLS = {
    # Models that are none yet.
    "fit(model=Net())": "model is a Net from_linen(Net(",
    "fit(model=Net)": "model is the class Net from_linen",
    "fit(model=XNet(nnx.Rngs(0)))": "model is a XNet from_nnx(lambda rngs: XNet(",
    "fit(model=XNet)": "model the class XNet from_nnx",
    "fit(model=ENet(jax.numpy.ones(3)))": "model from_equinox(lambda key: ENet(",
    "fit(model=MLPClassifier())": "model scikit-learn jaxnet.mlp",
    "fit(model=jaxnet.mlp)": "model is the function mlp call it jaxnet.mlp()",
    "fit(model=128)": "model is 128 jaxnet.mlp((128,))",
    "fit(model=(128, 64))": "model is (128, 64) jaxnet.mlp((128, 64))",
    "fit(model='mlp')": "model is 'mlp' jaxnet.mlp",
    "many(model=Net())": "model is a Net from_linen",
    "many(model=[model, Net()])": "model is a Net from_linen",
    "jaxnet.describe(Net(), splits)": "model Net",
    # Arrays, parts and names in place of Splits.
    "jaxnet.fit(model, (x, y), recipe, key)": "splits jaxnet.split(x, y)",
    "fit(splits=x)": "splits is an array of shape (60, 3) jaxnet.split",
    "fit(splits=splits.train)": "splits is a Dataset Splits",
    "fit(splits='digits')": "splits is 'digits' jaxnet.load('digits')",
    "fit(splits=frame)": "splits is a Table jaxnet.load(frame, label=",
    "fit(splits=None)": "splits is None jaxnet.split",
    "jaxnet.diagnose(model, (x, y), recipe, key)": "splits jaxnet.split(x, y)",
    # Arrays in place of a Dataset.
    "jaxnet.evaluate(model, run, (x, y))": "dataset Dataset splits.test",
    "jaxnet.evaluate(model, run, x, y)": "dataset Dataset splits.test",
    "jaxnet.evaluate(model, run, x)": "dataset is an array of shape (60, 3) Dataset splits.test",
    "jaxnet.evaluate(model, run, splits)": "dataset is a Splits splits.test",
    "jaxnet.predict(model, run, splits.test)": "x is a Dataset splits.test.x",
    "jaxnet.predict(model, run, splits)": "x is a Splits splits.test.x",
    "jaxnet.class_weights(splits)": "dataset is a Splits splits.train",
    # Swapped.
    "jaxnet.fit(model, recipe, splits, key)": "splits is a Recipe",
    "jaxnet.fit(splits, model, recipe, key)": "model is a Splits",
    "jaxnet.fit(model, splits, key, recipe)": "recipe Recipe(",
    "jaxnet.start(model, recipe, splits, key)": "splits is a Recipe",
    "jaxnet.epoch(model, recipe, splits, state)": "splits is a Recipe",
    "jaxnet.epoch(model, splits, recipe, key)": "state jaxnet.start",
    "jaxnet.epoch(model, splits, recipe, run)": "state is a Run jaxnet.start",
    "jaxnet.train(model, splits, key, recipe)": "recipe Recipe(",
    "jaxnet.fit_population(model, recipe, splits, keys)": "splits is a Recipe",
    "jaxnet.fit_population(model, splits, keys, recipe)": "recipe Recipe(",
    "jaxnet.fit_population(model, splits, recipe, splits)": "keys is a Splits jax.random.split",
    "jaxnet.predict(run, model, x)": "model is a Run",
    "jaxnet.predict(model, x, run)": "run is an array",
    "jaxnet.evaluate(run, model, splits.test)": "model is a Run",
    "jaxnet.evaluate(model, splits.test, run)": "run is a Dataset",
    "jaxnet.diagnose(model, recipe, splits, key)": "splits is a Recipe",
    "jaxnet.learning_curve(splits, model, recipe, key)": "model is a Splits",
    "jaxnet.sweep(model, recipe, splits, trials, key)": "splits is a Recipe",
    "jaxnet.sweep(model, splits, recipe, key, trials)": "key jax.random.key",
    "jaxnet.save(here / 'run', run)": "run jaxnet.fit",
    "jaxnet.save(model, here / 'run')": "run is a Model jaxnet.fit",
    "jaxnet.restore(run)": "path is a Run",
    "jaxnet.export(here / 'run', run)": "run jaxnet.fit",
    "jaxnet.export(run, here / 'e', model=Net())": "model is a Net from_linen",
    # Keys.
    "fit(key=None)": "key is None jax.random.key(0)",
    "fit(key=7)": "key is 7 jax.random.key(7)",
    "fit(key=np.int64(7))": "key jax.random.key(7)",
    "fit(key='0')": "key is '0' jax.random.key(0)",
    "fit(key=keys)": "key holds (2,) keys fit_population",
    "fit(key=np.arange(3, dtype=np.uint32))": "key is an array of shape (3,) jax.random.key(0)",
    "fit(order_key=3)": "order_key is 3 jax.random.key(3)",
    "jaxnet.start(model, splits, recipe, 0)": "key is 0 jax.random.key(0)",
    "jaxnet.train(model, splits, recipe, 0)": "key is 0 jax.random.key(0)",
    "jaxnet.diagnose(model, splits, recipe, 0)": "key is 0 jax.random.key(0)",
    "jaxnet.learning_curve(model, splits, recipe, None)": "key is None jax.random.key(0)",
    "jaxnet.sweep(model, splits, recipe, trials, 0)": "key is 0 jax.random.key(0)",
    "many(keys=8)": "keys is 8 jax.random.split",
    "many(keys=key)": "keys has shape () jax.random.split",
    "many(keys=[0, 1])": "keys is [0, 1] jax.random.split",
    "many(order_key=0)": "order_key is 0",
    "resampling.bootstrap(0, 2, 10)": "key is 0 jax.random.key(0)",
    "two_sample_test(x[:30], x[30:], method='mmd', key=0)": "key is 0 jax.random.key(0)",
    "calibration(jaxnet.predict(model, run, x), y, key=0)": "key is 0 jax.random.key(0)",
    "corruption.knock_out(y, 1, 0.5, 0)": "key is 0 jax.random.key(0)",
    # Recipes.
    "jaxnet.Recipe(lr=1)": "Recipe 'lr' 'learning_rate'",
    "jaxnet.Recipe(epoch=5)": "Recipe 'epoch' 'epochs'",
    "jaxnet.Recipe(batchsize=5)": "Recipe 'batchsize' 'batch_size'",
    "jaxnet.Recipe(wd=0.1)": "Recipe 'wd' 'weight_decay'",
    "jaxnet.Recipe(nonsense=0.1)": "Recipe 'nonsense' known are optimizer learning_rate",
    "jaxnet.Augmentation(rotation=3)": "Augmentation 'rotation' 'rotate'",
    "fit(recipe=jaxnet.Recipe)": "recipe is the class Recipe jaxnet.Recipe(",
    "fit(recipe={'epochs': 3})": "recipe is {'epochs': 3} jaxnet.Recipe(**recipe)",
    "fit(recipe=None)": "recipe is None jaxnet.Recipe(",
    "made(augmentation=0.1)": "augmentation is 0.1 Augmentation(",
    "made(learning_rate=[0.1, 0.2])": "learning_rate is [0.1, 0.2] a finite number",
    "made(learning_rate=optax.constant_schedule(0.1))": "learning_rate is the function number",
    "made(learning_rate=key)": "learning_rate number",
    "made(epochs=10**10)": "epochs is 10000000000 at most 134,217,728 epochs",
    "made(epochs=10**9)": "epochs is 1000000000 at most 134,217,728 epochs",
    "made(epochs=10**7 - 1, batch_size=1, optimizer=3)": "optimizer is 3 sgd",
    "jaxnet.train(model, jaxnet.split(rng.normal(size=(600, 1)), np.arange(600) % 2), "
    "jaxnet.Recipe(epochs=9_000_000, batch_size=1), key)": (
        "epochs is 9000000 420 steps at most 5,113,056 epochs"
    ),
    "many(recipes=jaxnet.Recipe(epochs=10**10))": "epochs is 10000000000 at most",
    "made(epochs=2.0)": "epochs is 2.0 whole number",
    "made(batch_size=64.0)": "batch_size is 64.0 whole number",
    "made(optimizer=splits)": "optimizer is a Splits sgd",
    "made(schedule=optax.constant_schedule(0.1))": "schedule the function known are constant",
    # Losses.
    "fit(loss=of_integers)": (
        "loss targets probabilities of the classes optax.softmax_cross_entropy leave loss out"
    ),
    "jaxnet.train(model, splits, recipe, key, loss=of_integers)": (
        "loss targets probabilities leave loss out"
    ),
    "many(loss=of_integers)": "loss targets probabilities leave loss out",
    "fit(loss=lambda outputs, targets: jaxnet.cross_entropy(outputs, targets).mean())": (
        "loss shape () one number per example mean"
    ),
    "fit(splits=values, loss=optax.squared_error)": "loss shape (42, 1) one number per example sum",
    "fit(loss=lambda outputs, targets: outputs.argmax(1))": "loss type int32 gradient",
    "fit(loss=lambda outputs, targets: None)": "loss NoneType one number per example",
    "fit(loss=lambda outputs: outputs)": "loss TypeError outputs and targets",
    "fit(loss='cross_entropy')": "loss is 'cross_entropy' function jaxnet.cross_entropy",
    "fit(loss=Unhashable)": "loss is the class Unhashable function",
    "fit(loss=Unhashable())": "loss is an Unhashable hashed",
    "jaxnet.epoch(model, splits, recipe, state, loss=3)": "loss is 3 function",
    # The rest of a training.
    "fit(plan=4)": "plan is 4 jaxnet.Plan(",
    "fit(plan=None)": "plan is None jaxnet.Plan(",
    "jaxnet.train(model, splits, recipe, key, pace=4)": "pace is 4 a Pace",
    "fit(plan=jaxnet.Plan(devices='all'))": "devices of the plan is 'all' whole number",
    "fit(weights='balanced')": "weights is 'balanced' numbers",
    "fit(sample=3)": "sample is 3 (indices, count)",
    "fit(params=run)": "params is a Run run.params",
    "jaxnet.train(model, splits, recipe, key, out=5)": "out is 5 path",
    "jaxnet.train(model, splits, recipe, key, out='')": "out is '' path",
    "jaxnet.train(model, splits, recipe, key, progress=True)": "progress is True function",
    "many(halving=4)": "halving is 4 jaxnet.Halving(",
    "many(halving=jaxnet.Halving(2))": "rungs of halving is 2 (1, 4)",
    "many(resample=5)": "resample is 5 jaxnet.resampling",
    "jaxnet.diagnose(model, splits, recipe, key, members=2.5)": "members is 2.5 whole number",
    "jaxnet.diagnose(model, splits, recipe, key, tolerance='2%')": "tolerance is '2%' number",
    "jaxnet.diagnose(model, splits, recipe, key, seconds='60')": "seconds is '60' number",
    "jaxnet.learning_curve(model, splits, recipe, key, sizes=100)": "sizes are 100 whole numbers",
    "jaxnet.learning_curve(model, splits, recipe, key, sizes=[10.5])": (
        "sizes are [10.5] whole numbers"
    ),
    "jaxnet.sweep(model, splits, recipe, {'learning_rate': [0.1]}, key)": (
        "trials is {'learning_rate': [0.1]} jaxnet.space.grid"
    ),
    "jaxnet.sweep(model, splits, recipe, trials, key, seeds=1.5)": "seeds is 1.5 whole number",
    "space.grid({'learning_rate': 0.1})": "learning_rate has the choices 0.1 sequence",
    "space.random(trials, 3)": "space is ranges and choices by name",
    "space.random({'learning_rate': [0.1]}, 3, seed=1.5)": "seed is 1.5 whole number",
    # Data.
    "jaxnet.split(x, y, seed=1.5)": "seed is 1.5 whole number",
    "jaxnet.split(x, y, seed=None)": "seed is None whole number",
    "jaxnet.split(x, y, test=1)": "test is 1 fraction test=1/len(x) test=0.01",
    "jaxnet.split(x, y, test=200)": "test is 200 fraction test=200/len(x)",
    "jaxnet.split(x, y, test='0.2')": "test is '0.2' number",
    "jaxnet.split(x, y, validation=True)": "validation is True number",
    "jaxnet.split(x, y, validation=None)": "validation is None number",
    "jaxnet.split(x, y, validation=20)": (
        "validation is 20 fraction validation=20/len(x) validation=0.2"
    ),
    "jaxnet.split(x, y, classes='ab')": "classes is 'ab' ('no', 'yes')",
    "jaxnet.split(x, y, classes=2)": "classes is 2 ('no', 'yes')",
    "jaxnet.split(x, y, classes=('a', 'a'))": "classes 'a' more than once",
    "jaxnet.split(x, y, name=3)": "name is 3 give a name",
    "jaxnet.folds(x, y, seed=1.5)": "seed is 1.5 whole number",
    "jaxnet.folds(x, y, count=2.5)": "count is 2.5 whole number",
    "jaxnet.folds(x, y, classes='ab')": "classes is 'ab' ('no', 'yes')",
    "jaxnet.load('')": "name_or_path is '' name of a data set path",
    "jaxnet.load(None)": "name_or_path is None name of a data set path",
    "jaxnet.load('.')": "name_or_path is '.' path",
    "jaxnet.load(x)": "name_or_path is an array of shape (60, 3) jaxnet.split(x, y)",
    "jaxnet.load(polars.LazyFrame(frame))": "of a lazy frame give frame.collect()",
    "jaxnet.load((x, y))": "name_or_path jaxnet.split(x, y)",
    "jaxnet.load('digits', seed=1.5)": "seed is 1.5 whole number",
    "jaxnet.load('digits', test=200)": "test is 200 fraction",
    "jaxnet.load('a.csv', label=0)": "label is 0 name of a column",
    "jaxnet.load('a.csv', groups=y)": "groups is an array of shape (60,) name of a column",
    "jaxnet.load('a.csv', drop_columns=3)": "drop_columns is 3 ('age', 'name')",
    "jaxnet.load('a.csv', drop_columns=[3])": "drop_columns is 3 ('age', 'name')",
    "jaxnet.load('faces', image_size=64)": "image_size is 64 (height, width)",
    "jaxnet.load('digits', data_dir=5)": "data_dir is 5 path",
    "jaxnet.stream('')": "path is '' path",
    "jaxnet.stream(None)": "path is None path",
    "jaxnet.stream('somewhere', seed=1.5)": "seed is 1.5 whole number",
    "jaxnet.stream('somewhere', validation='0.1')": "validation is '0.1' number",
    "jaxnet.prepare(None)": "name is None",
    # Networks.
    "jaxnet.mlp(128)": "hidden is 128 (128,)",
    "jaxnet.mlp(128, 64)": "hidden is 128 mlp((128, 64))",
    "jaxnet.mlp('128')": "hidden is '128' (128,)",
    "jaxnet.mlp('wide')": "hidden is 'wide' (128, 64)",
    "jaxnet.mlp(None)": "hidden is None (128, 64)",
    "jaxnet.mlp((128.5,))": "hidden is (128.5,) whole number",
    "jaxnet.mlp((True,))": "hidden is (True,) whole number",
    "jaxnet.mlp(((128, 64),))": "hidden is ((128, 64),) whole number",
    "jaxnet.mlp((float('nan'),))": "hidden nan whole number",
    "jaxnet.mlp((8,), activation=jax.nn.relu)": "activation the function relu known are relu",
    "jaxnet.cnn(32)": "channels is 32 (32,)",
    "jaxnet.cnn(kernel='3')": "kernel is '3'",
    "jaxnet.JaxnetClassifier(hidden=128).fit(x, y)": "hidden is 128 (128,)",
    "jaxnet.JaxnetClassifier(model=Net()).fit(x, y)": "model is a Net from_linen",
    "jaxnet.JaxnetClassifier(batch_size='64').fit(x, y)": "batch_size is '64' whole number",
    "jaxnet.JaxnetClassifier(shape=3).fit(x, y)": "shape is 3",
    "jaxnet.JaxnetClassifier(validation_fraction='0.1').fit(x, y)": "validation is '0.1' number",
    "jaxnet.use_cpu_devices('all')": "count is 'all' whole number",
    "jaxnet.enable_cache(5)": "folder is 5 path",
}

RUN = """
outcomes = {}
for call in json.loads(input()):
    try:
        outcomes[call] = ("returned", repr(eval(call))[:200])
    except Exception as error:
        outcomes[call] = (type(error).__name__, str(error))
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def outcomes():
    """What a user meets at each call: (type of the error, its message)."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SETUP) + RUN],
        input=json.dumps(list(CALLS)),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_argument_is_named_with_its_cure(outcomes, call):
    kind, message = outcomes[call]
    assert kind == "InputError", f"{kind}: {message}"
    missing = [word for word in CALLS[call].split() if word not in message]
    assert not missing, message
    assert len(message) < 600


X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
MODEL, RECIPE, KEY = jaxnet.mlp((4,)), jaxnet.Recipe(epochs=2), jax.random.key(5)


@pytest.fixture(scope="module")
def splits():
    return jaxnet.split(X, np.arange(60) % 2)


@pytest.fixture(scope="module")
def run(splits):
    return jaxnet.fit(MODEL, splits, RECIPE, KEY)


def same(a, b):
    return all(
        np.array_equal(x, y)
        for x, y in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True)
    )


@pytest.mark.parametrize(
    "raw", [jax.random.PRNGKey(5), np.asarray(jax.random.PRNGKey(5))], ids=["jax", "numpy"]
)
def test_a_raw_key_is_the_typed_key_of_its_seed(splits, run, raw):
    assert same(jaxnet.fit(MODEL, splits, RECIPE, raw), run)
    assert same(jaxnet.train(MODEL, splits, RECIPE, raw), run)
    assert same(jaxnet.fit(MODEL, splits, RECIPE, KEY, order_key=raw), run)
    assert same(jaxnet.start(MODEL, splits, RECIPE, raw), jaxnet.start(MODEL, splits, RECIPE, KEY))


def test_raw_keys_inside_jit_and_vmap(splits):
    def alone(key):
        return jaxnet.fit(MODEL, splits, RECIPE, key)

    raw, typed = (
        jax.vmap(jax.random.PRNGKey)(jnp.arange(3)),
        jax.vmap(jax.random.key)(jnp.arange(3)),
    )
    assert same(jax.jit(alone)(raw[0]), jax.jit(alone)(typed[0]))
    assert same(jax.vmap(alone)(raw), jax.vmap(alone)(typed))


def test_raw_keys_of_a_population(splits):
    raw, typed = jax.random.split(jax.random.PRNGKey(5), 3), jax.random.split(KEY, 3)
    many = jaxnet.fit_population(MODEL, splits, RECIPE, typed, order_key=KEY)
    assert same(
        jaxnet.fit_population(MODEL, splits, RECIPE, raw, order_key=jax.random.PRNGKey(5)), many
    )
    assert same(jaxnet.fit_population(MODEL, splits, RECIPE, np.asarray(raw), order_key=KEY), many)


def test_raw_keys_of_samples_and_of_a_sweep(splits):
    raw = jax.random.PRNGKey(5)
    assert np.array_equal(
        resampling.bootstrap(raw, 2, 9).weights, resampling.bootstrap(KEY, 2, 9).weights
    )
    trials = [{"learning_rate": 0.1}, {"learning_rate": 0.2}]
    assert same(
        jaxnet.sweep(MODEL, splits, RECIPE, trials, raw).run,
        jaxnet.sweep(MODEL, splits, RECIPE, trials, KEY).run,
    )


def test_one_name_is_a_list_of_one_name(tmp_path):
    lines = "\n".join(f"{i},{i * 7 % 5},{i % 2}" for i in range(40))
    (tmp_path / "a.csv").write_text(f"age,size,kind\n{lines}\n")
    for drop_columns in ("age", ["age"], ("age",)):
        columns = jaxnet.load(tmp_path / "a.csv", drop_columns=drop_columns).columns
        assert columns is not None
        assert [column.name for column in columns] == ["size"]


def test_a_recipe_is_rebuilt_by_jax_with_anything():
    recipe = jaxnet.Recipe(weight_decay=0.1)
    assert jax.tree.map(lambda leaf: None, recipe).learning_rate is None
    assert jax.tree.structure(jax.tree.map(lambda leaf: object(), recipe)) == jax.tree.structure(
        recipe
    )
    assert jax.jit(lambda given: given)(recipe).optimizer == "adam"


def test_raw_keys_of_samples_that_are_compared_and_changed():
    raw, images, labels = jax.random.PRNGKey(5), np.ones((6, 4, 4), np.float32), np.arange(60) % 3
    found = [
        two_sample_test(X[:30, :2], X[30:, :2], method="mmd", key=key).p_value for key in (raw, KEY)
    ]
    assert found[0] == found[1]
    changed = [corruption.corrupt(images, "noise", 0.1, key) for key in (raw, KEY)]
    assert np.array_equal(*changed)
    assert np.array_equal(*(corruption.knock_out(labels, 1, 0.5, key) for key in (raw, KEY)))

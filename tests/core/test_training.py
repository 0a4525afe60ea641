"""The fold: scan, host loop, resumed run and population member are one training."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import gap, problem_of, shuffled
from recipes import CASES, recipe

import jaxnet
from jaxnet.core.training import Batch, Problem, start
from jaxnet.engine.arguments import MOST_STEPS, check_arguments
from jaxnet.engine.loop import train
from jaxnet.engine.parallel import run_steps_on
from jaxnet.random import AUGMENT, DROPOUT, INIT, ORDER, STREAM, block, counted, with_key_data

pytestmark = pytest.mark.core

MODEL = jaxnet.mlp((32,))
KEY = jax.random.key(0)


@pytest.mark.parametrize("row", CASES)
def test_recipe_learns_and_second_call_compiles_nothing(row, digits, compilations):
    run = jaxnet.fit(MODEL, digits, recipe(row), KEY)
    assert jaxnet.evaluate(MODEL, run, digits.test).accuracy.estimate > 0.85
    assert int(run.diverged_at) == -1
    before = len(compilations)
    changed = recipe(row, learning_rate=float(recipe(row).learning_rate) / 2)
    again = jaxnet.fit(MODEL, digits, changed, jax.random.key(1))
    jaxnet.evaluate(MODEL, again, digits.test)
    assert len(compilations) == before
    assert gap(run.params, again.params) > 1e-3


@pytest.mark.parametrize("row", CASES)
def test_recipe_under_vmap_is_each_alone(row, digits):
    few = recipe(row, epochs=2)
    keys = jax.random.split(KEY, 2)
    many = jax.vmap(lambda key: jaxnet.fit(MODEL, digits, few, key))(keys)
    for i, key in enumerate(keys):
        alone = jaxnet.fit(MODEL, digits, few, key)
        # Newton-Schulz iterations of muon amplify rounding.
        assert gap(jax.tree.map(lambda leaf, i=i: leaf[i], many.params), alone.params) < (
            2e-2 if row[0] == "muon" else 2e-4
        )


@pytest.mark.parametrize("row", CASES)
def test_recipe_round_trips_through_a_checkpoint(row, digits, tmp_path):
    run = jaxnet.fit(MODEL, digits, recipe(row, epochs=2), KEY)
    jaxnet.save(run, tmp_path / "run")
    again = jaxnet.restore(tmp_path / "run")
    for name in (
        "params",
        "model_state",
        "best",
        "standardization",
        "history",
        "epochs",
        "diverged_at",
    ):
        assert jax.tree.leaves(getattr(run, name)) or not jax.tree.leaves(getattr(again, name))
        if jax.tree.leaves(getattr(run, name)):
            assert gap(getattr(run, name), getattr(again, name)) == 0
    assert np.array_equal(
        jaxnet.predict(MODEL, run, digits.test.x), jaxnet.predict(MODEL, again, digits.test.x)
    )
    assert (again.recipe.schedule, again.recipe.epochs, again.model, again.classes) == (
        row[1],
        2,
        run.model,
        run.classes,
    )


def test_four_keys_and_learning_rates_under_vmap_are_four_single_calls(digits):
    keys, rates = jax.random.split(KEY, 4), jnp.array([1e-3, 3e-3, 1e-2, 3e-2])

    def one(key, rate):
        return jaxnet.fit(
            MODEL,
            digits,
            jaxnet.Recipe(epochs=3, learning_rate=rate, schedule="constant", batch_size=128),
            key,
        )

    many = jax.vmap(one)(keys, rates)
    for i in range(4):
        assert (
            gap(jax.tree.map(lambda leaf, i=i: leaf[i], many.params), one(keys[i], rates[i]).params)
            < 1e-5
        )


def test_vmap_over_example_weights(digits):
    n, few = len(digits.train), jaxnet.Recipe(epochs=2)
    weights = jnp.asarray(
        np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=2).astype(np.float32)
    )
    many = jax.vmap(lambda w: jaxnet.fit(MODEL, digits, few, KEY, weights=w))(weights)
    for i in range(2):
        alone = jaxnet.fit(MODEL, digits, few, KEY, weights=weights[i])
        assert gap(jax.tree.map(lambda leaf, i=i: leaf[i], many.params), alone.params) < 1e-5


@pytest.mark.parametrize("patience", [None, 2])
def test_scan_host_loop_and_resumed_run_agree_bitwise(digits, tmp_path, patience):
    few = jaxnet.Recipe(
        epochs=6,
        dropout=0.2,
        patience=patience,
        learning_rate=3e-2,
        batch_size=32,
        schedule="constant",
    )
    scan = jaxnet.fit(MODEL, digits, few, KEY)
    loop = train(MODEL, digits, few, KEY)

    class Stop(Exception):
        pass

    def stop(done, row):
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        train(MODEL, digits, few, KEY, out=tmp_path, progress=stop)
    began = []
    resumed = train(
        MODEL, digits, few, KEY, out=tmp_path, progress=lambda done, row: began.append(done)
    )
    assert began[0] >= 1
    for run in (loop, resumed):
        assert gap(scan.params, run.params) == 0
        assert gap(scan.best, run.best) == 0
        assert np.array_equal(
            scan.history.validation_loss, run.history.validation_loss, equal_nan=True
        )
        assert run.status == scan.status


def test_whole_run_is_counted_in_compilations(compilations):
    x = np.random.default_rng(0).normal(size=(300, 7)).astype(np.float32)
    splits = jaxnet.split(x, (x[:, 0] > 0).astype(int))
    key, model = jax.random.key(3), jaxnet.mlp((11,))
    few = jaxnet.Recipe(epochs=2, schedule="constant", batch_size=128, learning_rate=1e-3)
    before = len(compilations)
    run = jaxnet.fit(model, splits, few, key)
    assert len(compilations) - before == 1
    jaxnet.evaluate(model, run, splits.test)
    jaxnet.evaluate(model, run, splits.train)
    assert len(compilations) - before == 2
    train(model, splits, few, key)
    assert len(compilations) - before == 4  # start and epoch
    train(
        jaxnet.mlp((11,)),
        splits,
        jaxnet.Recipe(epochs=2, learning_rate=0.5, schedule="constant", batch_size=128),
        key,
    )
    jaxnet.evaluate(
        jaxnet.mlp((11,)),
        jaxnet.fit(
            jaxnet.mlp((11,)),
            splits,
            jaxnet.Recipe(epochs=2, learning_rate=1, schedule="constant", batch_size=128),
            key,
        ),
        splits.test,
    )
    assert len(compilations) - before == 4


def test_adam_steps_are_those_of_optax_on_the_same_batches(digits):
    """An independent loop, a Python step at a time, on the rows that `shuffle` gives."""
    few, n = (
        jaxnet.Recipe(epochs=2, batch_size=100, learning_rate=1e-2, schedule="constant"),
        len(digits.train),
    )
    state = jaxnet.start(MODEL, digits, few, KEY)
    params, opt = state.params, optax.adam(1e-2)
    opt_state = opt.init(params)
    x = (
        np.asarray(digits.train.x, np.float32).reshape(n, -1) - digits.standardization.mean
    ) / digits.standardization.scale
    y = np.asarray(digits.train.y)

    def loss(params, rows):
        h = jax.nn.relu(x[rows] @ params["hidden_0"]["kernel"] + params["hidden_0"]["bias"][None])
        logits = h @ params["output"]["kernel"] + params["output"]["bias"][None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y[rows]).mean()

    for _ in range(2):
        rows = np.asarray(
            shuffled(state.order_key, n, 100)
            if _ == 0
            else shuffled(counted(state.order_key, 1), n, 100)
        )
        for i, batch in enumerate(rows):
            real = batch[: n - i * 100] if i == len(rows) - 1 else batch
            updates, opt_state = opt.update(jax.grad(loss)(params, real), opt_state, params)
            params = optax.apply_updates(params, updates)
    assert gap(jaxnet.fit(MODEL, digits, few, KEY).params, params) < 2e-5


def test_order_takes_every_example_once_and_the_fill_has_no_weight(digits):
    rows = np.asarray(shuffled(KEY, 1000, 128)).ravel()
    assert sorted(rows[:1000]) == list(range(1000))
    assert np.array_equal(rows[1000:], rows[:24])
    assert not np.array_equal(
        rows[:1000], np.asarray(shuffled(jax.random.key(1), 1000, 128)).ravel()[:1000]
    )


def test_ties_of_an_order_are_broken_by_place():
    """NumPy's sort by bits and then by place is the order, alone and under vmap, in epochs with
    ties and without.
    """
    n, keys = 54_000, jax.random.split(KEY, 24)
    bits = np.stack([np.asarray(jax.random.bits(key, (n,), jnp.uint32)) for key in keys])
    wanted = np.argsort(bits, axis=1, kind="stable")
    ties = n - np.array([len(np.unique(row)) for row in bits])
    assert (ties > 0).sum() >= 4
    assert (ties == 0).sum() >= 4
    assert np.array_equal(jax.jit(jax.vmap(lambda key: shuffled(key, n, n)[0]))(keys), wanted)
    alone = jax.jit(lambda key: shuffled(key, n, n)[0])
    assert all(np.array_equal(alone(key), row) for key, row in zip(keys, wanted, strict=True))


@pytest.mark.parametrize("count", [40, 7, 100])
def test_ties_of_an_order_of_a_sample_are_broken_by_place(monkeypatch, count):
    n = 100
    few = np.random.default_rng(0).integers(0, 5, 2 * n).astype(np.uint32)  # bits with many ties
    monkeypatch.setattr(jax.random, "bits", lambda key, shape, dtype: jnp.asarray(few))
    places = np.arange(2 * n)
    wanted = np.lexsort((places, few, places // count))[:n] % count
    assert np.array_equal(
        shuffled(KEY, n, n, (jnp.arange(n, dtype=jnp.int32), jnp.int32(count)))[0], wanted
    )


def test_order_of_a_sample_is_fresh_in_each_round_and_the_whole_is_the_ordinary_shuffle():
    n, sub = 60, 20
    indices = jnp.asarray(np.r_[np.arange(0, 40, 2), np.zeros(40)].astype(np.int32))
    rows = np.asarray(shuffled(KEY, n, n, (indices, jnp.int32(sub)))).ravel()
    rounds = rows.reshape(3, sub)
    assert all(sorted(r) == list(range(0, 40, 2)) for r in rounds)
    assert not np.array_equal(rounds[0], rounds[1])
    everything = (jnp.arange(n, dtype=jnp.int32), jnp.int32(n))
    assert np.array_equal(shuffled(KEY, n, 8, everything), shuffled(KEY, n, 8))


def test_a_sample_that_does_not_divide_is_visited_evenly():
    n, count, epochs = 100, 75, 400
    sample = (jnp.arange(n, dtype=jnp.int32), jnp.int32(count))
    draw = jax.jit(jax.vmap(lambda key: shuffled(key, n, n, sample).ravel()))
    visits = (
        np.bincount(np.asarray(draw(jax.random.split(KEY, epochs))).ravel(), minlength=n) / epochs
    )
    assert (visits[count:] == 0).all()
    # Once for sure, and a third of the time once more.
    assert np.abs(visits[:count] - n / count).max() < 5 * np.sqrt(2 / 9 / epochs)


def test_unknown_names_are_refused_by_the_pure_verbs_too(digits):
    for verb in (jaxnet.start, jaxnet.fit):
        with pytest.raises(jaxnet.InputError, match="unknown optimizer 'adan'"):
            verb(MODEL, digits, jaxnet.Recipe(optimizer="adan"), KEY)
    with pytest.raises(jaxnet.InputError, match=r"learning_rate has shape \(3,\); give one number"):
        jaxnet.fit(MODEL, digits, jaxnet.Recipe(learning_rate=jnp.ones(3)), KEY)


def test_predictions_of_many_members_under_vmap(digits):
    keys = jax.random.split(KEY, 2)
    runs = jax.vmap(lambda key: jaxnet.fit(MODEL, digits, jaxnet.Recipe(epochs=1), key))(keys)
    many = jax.vmap(lambda run: jaxnet.predict(MODEL, run, digits.test.x))(runs)
    one = jaxnet.predict(MODEL, jax.tree.map(lambda leaf: leaf[1], runs), digits.test.x)
    np.testing.assert_allclose(many[1], one, atol=1e-5)
    with pytest.raises(
        jaxnet.InputError, match=r"run holds 2 networks; take one of them: .*leaf\[i\]"
    ):
        _ = runs.status
    with pytest.raises(
        jaxnet.InputError, match=r"run holds 2 networks; give one of them: .*leaf\[i\]"
    ):
        jaxnet.evaluate(MODEL, runs, digits.test)


def test_a_sample_is_the_training_on_these_rows(digits):
    """Weights that are zero outside a half, and a sample of that half, both never look at the other
    half.
    """
    n = len(digits.train)
    half = np.arange(n) < n // 2
    sample = (jnp.arange(n, dtype=jnp.int32), jnp.int32(n // 2))
    x = jnp.asarray(digits.train.x).at[n // 2 :].set(99)
    poisoned = jaxnet.Splits(
        jaxnet.Dataset(x, digits.train.y, digits.classes),
        digits.validation,
        digits.test,
        digits.standardization,
    )
    few = jaxnet.Recipe(epochs=2)
    for kwargs in ({"sample": sample}, {"weights": jnp.asarray(half, jnp.float32)}):
        clean, dirty = (jaxnet.fit(MODEL, s, few, KEY, **kwargs).params for s in (digits, poisoned))
        assert gap(clean, dirty) == 0


def test_integer_weights_are_repeated_rows():
    """Full-batch gradient descent with weights 0, 1, 2 is that on rows left out, taken once and
    twice.
    """
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)).astype(np.float32), rng.integers(0, 2, 200)
    splits = jaxnet.split(x, y)
    n = len(splits.train)
    counts = rng.multinomial(n, np.full(n, 1 / n)).astype(np.int32)
    repeated = np.repeat(np.arange(n), counts)
    assert len(repeated) == n
    taken = jaxnet.Dataset(splits.train.x[repeated], splits.train.y[repeated], splits.classes)
    other = jaxnet.Splits(taken, splits.validation, splits.test, splits.standardization)
    slow = jaxnet.Recipe(
        optimizer="sgd", learning_rate=0.1, epochs=5, batch_size=n, schedule="constant"
    )
    a = jaxnet.fit(jaxnet.linear(), splits, slow, KEY, weights=jnp.asarray(counts, jnp.float32))
    b = jaxnet.fit(jaxnet.linear(), other, slow, KEY)
    assert gap(a.params, b.params) < 1e-5


def test_linear_regression_reaches_the_least_squares_solution():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, size=(400, 4)).astype(np.float32)
    y = (x @ [1.0, -2.0, 0.5, 3.0] + 7 + rng.normal(0, 0.1, 400)).astype(np.float32)
    splits = jaxnet.split(x, y, validation=0.0)
    run = jaxnet.fit(
        jaxnet.linear(),
        splits,
        jaxnet.Recipe(
            optimizer="sgd", learning_rate=0.3, epochs=200, batch_size=1000, schedule="constant"
        ),
        KEY,
    )
    a = np.c_[np.asarray(splits.train.x), np.ones(len(splits.train))]
    solution = np.linalg.lstsq(a, np.asarray(splits.train.y), rcond=None)[0]
    exact = np.c_[np.asarray(splits.test.x), np.ones(len(splits.test))] @ solution
    np.testing.assert_allclose(
        jaxnet.predict(jaxnet.linear(), run, splits.test.x), exact, atol=2e-3
    )


def test_l1_and_weight_decay_leave_biases_alone(digits):
    base = {
        "optimizer": "sgd",
        "schedule": "constant",
        "learning_rate": 0.1,
        "epochs": 1,
        "batch_size": 5000,
    }
    plain = jaxnet.fit(MODEL, digits, jaxnet.Recipe(**base), KEY).params
    start = jaxnet.start(MODEL, digits, jaxnet.Recipe(**base), KEY).params
    decayed = jaxnet.fit(MODEL, digits, jaxnet.Recipe(**base, weight_decay=0.5), KEY).params
    lasso = jaxnet.fit(MODEL, digits, jaxnet.Recipe(**base, l1=0.5), KEY).params
    for layer in ("hidden_0", "output"):
        kernel = start[layer]["kernel"]
        np.testing.assert_allclose(
            decayed[layer]["kernel"], plain[layer]["kernel"] - 0.05 * kernel, atol=1e-6
        )
        np.testing.assert_allclose(
            lasso[layer]["kernel"], plain[layer]["kernel"] - 0.05 * np.sign(kernel), atol=1e-6
        )
        for other in (decayed, lasso):
            np.testing.assert_allclose(other[layer]["bias"], plain[layer]["bias"], atol=1e-7)


def test_clip_bounds_the_step(digits):
    base = {
        "optimizer": "sgd",
        "schedule": "constant",
        "learning_rate": 1.0,
        "epochs": 1,
        "batch_size": 5000,
    }
    start = jaxnet.start(MODEL, digits, jaxnet.Recipe(**base), KEY).params
    clipped = jaxnet.fit(MODEL, digits, jaxnet.Recipe(**base, clip=1e-3), KEY).params
    step = optax.tree.norm(jax.tree.map(jnp.subtract, start, clipped))
    np.testing.assert_allclose(step, 1e-3, rtol=1e-3)


def test_warm_start_continues_from_the_given_parameters(digits):
    first = jaxnet.fit(MODEL, digits, jaxnet.Recipe(epochs=3), KEY)
    still = jaxnet.fit(
        MODEL,
        digits,
        jaxnet.Recipe(
            optimizer="sgd", epochs=1, learning_rate=0.0, schedule="constant", batch_size=128
        ),
        KEY,
        params=first.params,
    )
    assert gap(first.params, still.params) == 0
    with pytest.raises(jaxnet.InputError, match="params do not belong to this model"):
        jaxnet.fit(jaxnet.mlp((8,)), digits, jaxnet.Recipe(epochs=1), KEY, params=first.params)


def test_divergence_is_data_and_words(digits):
    run = jaxnet.fit(
        MODEL,
        digits,
        jaxnet.Recipe(
            optimizer="sgd", learning_rate=1e30, epochs=2, batch_size=64, schedule="constant"
        ),
        KEY,
    )
    assert 0 < int(run.diverged_at) < 5
    assert run.status.startswith(f"diverged at step {int(run.diverged_at)}")
    metrics = jaxnet.evaluate(MODEL, run, digits.test)
    assert metrics.accuracy.estimate == 0
    many = jax.vmap(
        lambda rate: jaxnet.fit(
            MODEL,
            digits,
            jaxnet.Recipe(
                optimizer="sgd", learning_rate=rate, epochs=2, schedule="constant", batch_size=128
            ),
            KEY,
        )
    )(jnp.array([0.1, 1e30]))
    assert int(many.diverged_at[0]) == -1
    assert int(many.diverged_at[1]) >= 0


def test_early_stopping_keeps_the_best_and_freezes_under_vmap(digits):
    noisy = jaxnet.Recipe(
        learning_rate=0.05, epochs=15, patience=2, batch_size=32, schedule="constant"
    )
    run = jaxnet.fit(MODEL, digits, noisy, KEY)
    done, losses = int(run.epochs), np.asarray(run.history.validation_loss)
    assert done < 15
    assert run.status.startswith(f"stopped early after epoch {done}")
    assert np.isnan(losses[done:]).all()
    assert int(run.best.epoch) == 1 + np.nanargmin(losses) == done - 2
    value = jaxnet.evaluate(MODEL, run, digits.validation).loss.estimate
    np.testing.assert_allclose(value, np.nanmin(losses), rtol=1e-4)
    many = jax.vmap(lambda key: jaxnet.fit(MODEL, digits, noisy, key))(
        jnp.stack([KEY, jax.random.key(5)])
    )
    # At this learning rate rounding grows from epoch to epoch, so that only the first ones are
    # those of the run alone.
    rows = np.asarray(many.history.validation_loss)
    np.testing.assert_allclose(rows[0, :2], losses[:2], rtol=1e-2)
    for row, epochs, best in zip(
        rows, np.asarray(many.epochs), np.asarray(many.best.epoch), strict=True
    ):
        assert best == 1 + np.nanargmin(row) == (epochs - 2 if epochs < 15 else best)
        assert np.isnan(row[epochs:]).all()
        assert np.isfinite(row[:epochs]).all()


def test_best_is_kept_but_not_used_without_patience(digits):
    run = jaxnet.fit(
        MODEL,
        digits,
        jaxnet.Recipe(learning_rate=0.05, epochs=8, schedule="constant", batch_size=128),
        KEY,
    )
    assert gap(run.chosen[0], run.params) == 0
    assert run.best is not None


def test_the_test_set_is_never_looked_at(digits):
    broken = jaxnet.Dataset(np.asarray(digits.test.x) * 0 + 7, digits.test.y, digits.classes)
    other = jaxnet.Splits(digits.train, digits.validation, broken, digits.standardization)
    few = jaxnet.Recipe(epochs=2)
    assert gap(jaxnet.fit(MODEL, digits, few, KEY), jaxnet.fit(MODEL, other, few, KEY)) == 0


def test_bfloat16_is_close_to_float32(digits):
    wide, narrow = (
        jaxnet.fit(
            MODEL,
            digits,
            jaxnet.Recipe(
                epochs=5, precision=p, schedule="constant", batch_size=128, learning_rate=1e-3
            ),
            KEY,
        )
        for p in ("float32", "bfloat16")
    )
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(narrow.params))
    a, b = (jaxnet.evaluate(MODEL, run, digits.test).accuracy.estimate for run in (wide, narrow))
    assert abs(a - b) < 0.03
    assert gap(wide.params, narrow.params) > 0


def test_custom_loss_and_plain_functions(digits):
    def init(key, x):
        return (jax.random.normal(key, (x[0].size, 10)) * 0.01, [jnp.zeros(10)]), {}

    def apply(params, model_state, x, *, key=None, dropout=None):
        kernel, (bias,) = params
        return x.reshape(len(x), -1) @ kernel + bias[None], model_state

    def focal(outputs, targets):
        log_p = jax.nn.log_softmax(outputs)
        return -(targets * (1 - jnp.exp(log_p)) ** 2 * log_p).sum(-1)

    model = jaxnet.Model(init, apply)
    run = jaxnet.fit(
        model,
        digits,
        jaxnet.Recipe(epochs=15, learning_rate=1e-2, schedule="constant", batch_size=128),
        KEY,
        loss=focal,
    )
    assert jaxnet.evaluate(model, run, digits.test).accuracy.estimate > 0.9


BAD_CALLS = [
    ({"weights": jnp.ones(3)}, r"weights have shape \(3,\); give one for each training example"),
    ({"weights": "nan"}, "weight nan of example 5 is not a finite number"),
    ({"sample": (jnp.arange(3), jnp.int32(2))}, "give the indices padded to"),
    ({"sample": "count"}, "the sample's count is 0"),
    ({"loss": lambda outputs, targets: (outputs - targets) ** 2}, "the loss gives shape"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_CALLS)
def test_bad_arguments_are_refused(digits, changes, message):
    n = len(digits.train)
    if isinstance(changes.get("weights"), str):
        changes = {"weights": jnp.ones(n).at[5].set(jnp.nan)}
    if isinstance(changes.get("sample", ("", ""))[0], str):
        changes = {"sample": (jnp.arange(n), jnp.int32(0))} if "sample" in changes else changes
    with pytest.raises(jaxnet.InputError, match=message):
        jaxnet.fit(MODEL, digits, jaxnet.Recipe(epochs=1), KEY, **changes)


def test_bad_keys_are_refused(digits):
    with pytest.raises(jaxnet.InputError, match=r"give a key such as jax.random.key\(0\)"):
        jaxnet.fit(MODEL, digits, jaxnet.Recipe(), jnp.zeros(3, jnp.uint32))
    with pytest.raises(jaxnet.InputError, match=r"order_key holds \(2,\) keys"):
        check_arguments(Problem(MODEL, digits, jaxnet.Recipe()), jax.random.split(KEY, 2))


def test_a_model_of_other_outputs_is_refused(digits):
    with pytest.raises(
        jaxnet.InputError, match=r"outputs of shape \(64, 7\), but this data set needs \(64, 10\)"
    ):
        jaxnet.fit(jaxnet.mlp((4,)).for_outputs(7), digits, jaxnet.Recipe(epochs=1), KEY)


def test_random_streams_do_not_meet(digits):
    """Neighboring seeds, epochs, steps and the three streams of a run all have keys of their
    own.
    """
    keys = {
        tuple(
            np.asarray(jax.random.key_data(counted(jax.random.key(seed), stream + count))).tolist()
        )
        for seed in range(20)
        for stream in (INIT, ORDER, DROPOUT)
        for count in range(20)
    }
    assert len(keys) == 20 * 3 * 20
    a, b = (
        np.asarray(jax.random.uniform(counted(jax.random.key(0), count), (20_000,)))
        for count in (7, 8)
    )
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(20_000)


def test_no_block_of_a_stream_meets_another_beyond_2_to_the_30():
    """Below, the places are counted as one number; there the next one would be where the
    initialization key is.
    """
    key, size = counted(jax.random.key(0), AUGMENT), 100
    first = STREAM // size  # the first block that does not fit
    assert np.array_equal(
        with_key_data(block(key, first - 1, size)), with_key_data(counted(key, (first - 1) * size))
    )
    assert np.array_equal(
        with_key_data(counted(key, STREAM)), with_key_data(counted(jax.random.key(0), INIT))
    )
    numbers = [
        0,
        1,
        first - 1,
        first,
        first + 1,
        2 * first - 1,
        2 * first,
        3 * first,
        4 * first,
        MOST_STEPS - 1,
    ]
    seen = [
        tuple(
            with_key_data(
                counted(block(counted(jax.random.key(seed), stream), number, size), place)
            ).tolist()
        )
        for seed in range(3)
        for stream in (INIT, ORDER, DROPOUT, AUGMENT)
        for number in numbers
        for place in (0, 1, size - 1)
    ]
    assert len(set(seen)) == len(seen) == 3 * 4 * len(numbers) * 3
    assert np.array_equal(
        jax.vmap(lambda n: with_key_data(block(key, n, size)))(jnp.array(numbers, jnp.int32))[3],
        with_key_data(block(key, first, size)),
    )


def test_runs_of_more_steps_than_can_be_counted_are_refused(digits):
    of_epoch = -(-len(digits.train) // 64)
    most = MOST_STEPS // of_epoch
    check_arguments(Problem(MODEL, digits, jaxnet.Recipe(epochs=most, batch_size=64)))
    too_many = jaxnet.Recipe(epochs=most + 1, batch_size=64)
    for verb in (
        jaxnet.fit,
        jaxnet.train,
        lambda m, s, r, key: jaxnet.fit_population(m, s, r, key[None]),
    ):
        with pytest.raises(
            jaxnet.InputError,
            match=f"epochs is {most + 1}.*at most {most:,} epochs, or a larger batch_size",
        ):
            verb(MODEL, digits, too_many, KEY)


def test_the_order_key_alone_makes_the_order(digits):
    few = jaxnet.Recipe(epochs=1, batch_size=64)
    default, same, other = (
        jaxnet.fit(MODEL, digits, few, KEY, order_key=k).params
        for k in (None, KEY, jax.random.key(9))
    )
    assert gap(default, same) == 0
    assert gap(default, other) > 1e-4
    full = jaxnet.Recipe(epochs=1, batch_size=5000)
    a, b = (
        jaxnet.fit(MODEL, digits, full, KEY, order_key=k).params for k in (None, jax.random.key(9))
    )
    assert gap(a, b) < 1e-5


@pytest.mark.parametrize("devices", [1, 2])
def test_an_epoch_in_parts_is_the_epoch(digits, devices):
    """Of 10 batches and 40 rows more: the first six, then the rest, whose rows stand on each device
    apart.
    """
    rows, batch, of = np.random.default_rng(0).permutation(680).astype(np.int32), 64, 11
    recipe = jaxnet.Recipe(
        epochs=3, batch_size=batch, learning_rate=1e-2, dropout=0.2, schedule="cosine"
    )
    train_ = replace(digits.train, x=digits.train.x[:680], y=digits.train.y[:680])
    problem = problem_of(MODEL, replace(digits, train=train_), recipe)
    state = start(problem, jax.random.key(0))._replace(epoch=jnp.int32(1))
    filled = np.concatenate([rows, rows[: of * batch - 680]]).reshape(of, batch)
    run_steps = run_steps_on(jaxnet.Plan(devices, implementation="xla"))
    number = of + np.arange(of, dtype=np.int32)

    def whole(problem, state):
        size = np.minimum(680 - np.arange(of, dtype=np.int32) * batch, batch)
        return run_steps(problem, state, Batch(number, filled, size=size))

    def part(problem, state, begin, end):
        # Each device has the rows of its share of every batch, one batch after the other.
        shares = filled[begin:end].reshape(end - begin, devices, -1)
        stored = shares.swapaxes(0, 1).reshape(-1)
        train = problem.splits.train
        train = replace(train, x=train.x[stored], y=train.y[stored])
        own = replace(problem, splits=replace(problem.splits, train=train), streamed=680)
        numbers = np.tile(
            np.arange(shares[:, 0].size, dtype=np.int32).reshape(end - begin, 1, -1),
            (1, devices, 1),
        )
        real = (
            None
            if end < of
            else jnp.asarray(np.arange(begin * batch, end * batch).reshape(-1, batch) < 680)
        )
        size = None if real is None else real.sum(1, dtype=jnp.int32)
        return run_steps(
            own, state, Batch(number[begin:end], numbers.reshape(-1, batch), size=size, mask=real)
        )

    (wanted, sums), (half, first) = (
        jax.jit(whole)(problem, state),
        jax.jit(lambda *given: part(*given, 0, 6))(problem, state),
    )
    found, second = jax.jit(lambda *given: part(*given, 6, of))(problem, half)
    assert gap(found.params, state.params) > 0.01
    assert gap(found.params, wanted.params) < 2e-6
    np.testing.assert_allclose(first + second, sums, rtol=1e-5)

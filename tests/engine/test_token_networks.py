"""Networks with an embedding are trained, judged, kept and asked like any other."""

import dataclasses
import re
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jaxnet
from jaxnet import InputError
from jaxnet.interop.sklearn import JaxnetClassifier
from jaxnet.models.builtin import named, widened
from tests.token_networks import IDS, LENGTH, RECIPE, linen, of_equinox, of_nnx, sequences

KEY = jax.random.key(0)
GOOD = 0.95  # of the accuracy on unseen sequences


@pytest.fixture(scope="module")
def splits():
    return jaxnet.split(*sequences(), inputs="tokens")


@pytest.fixture(scope="module", params=[linen, of_nnx], ids=["linen", "nnx"])
def trained(request, splits):
    model = request.param(IDS)
    return model, jaxnet.fit(model, splits, RECIPE, KEY)


def accuracy(model, run, dataset):
    return jaxnet.evaluate(model, run, dataset).accuracy.estimate


def test_it_learns_and_is_the_same_after_saving_and_exporting(trained, splits, tmp_path):
    model, run = trained
    assert accuracy(model, run, splits.test) >= GOOD
    x = np.asarray(splits.test.x)
    said = np.asarray(jaxnet.predict(model, run, x))
    jaxnet.save(run, tmp_path / "run")
    again = jaxnet.restore(tmp_path / "run")
    assert (again.vocabulary, again.pad) == (IDS, None)
    np.testing.assert_array_equal(jaxnet.predict(model, again, x), said)
    jaxnet.export(run, tmp_path / "out", model=model)
    program = export.deserialize((tmp_path / "out/model.stablehlo").read_bytes())
    np.testing.assert_allclose(program.call(x), said, atol=1e-4)
    assert "- x: int32 (batch, 16), ids from 0" in (tmp_path / "out/README.md").read_text()
    by_numpy = runpy.run_path(str(tmp_path / "out/forward.py"))["forward"]
    np.testing.assert_allclose(by_numpy(x[:100]), said[:100], atol=1e-4)
    with pytest.raises(ValueError, match="other tokens than whole numbers from 0 to 8"):
        by_numpy(np.full((1, LENGTH), IDS))


@pytest.mark.slow  # the tests around it ask one way or two of each library
@pytest.mark.parametrize("make", [linen, of_nnx, of_equinox], ids=["linen", "nnx", "equinox"])
def test_every_way_to_train_learns_the_same(make, splits, tmp_path):
    if make is of_equinox:
        pytest.importorskip("equinox")
    model, x = make(IDS), np.asarray(splits.test.x)
    run = jaxnet.fit(model, splits, RECIPE, KEY)
    said = np.asarray(jaxnet.predict(model, run, x))
    assert accuracy(model, run, splits.test) >= GOOD
    of_loop = jaxnet.train(model, splits, RECIPE, KEY)
    np.testing.assert_allclose(jaxnet.predict(model, of_loop, x), said, atol=1e-3)
    members = jaxnet.fit_population(model, splits, RECIPE, jax.random.split(KEY, 3))
    answers = np.asarray(jaxnet.predict(model, members, x)).argmax(-1)
    assert ((answers == np.asarray(splits.test.y)).mean(1) >= GOOD).all()
    found = jaxnet.diagnose(model, splits, RECIPE, KEY, members=16)  # 8 train on too few
    # on average: one network in 16 may not have begun to learn
    assert found.errors["validation"].estimate <= 1 - GOOD
    given_x, given_y = sequences()
    np.save(tmp_path / "x.npy", given_x)
    np.save(tmp_path / "y.npy", given_y)
    streamed = jaxnet.stream(tmp_path, inputs="tokens")
    run_of_stream = jaxnet.train(model, streamed, RECIPE, KEY)
    assert accuracy(model, run_of_stream, streamed.test) >= GOOD
    words = {name: getattr(RECIPE, name) for name in ("optimizer", "epochs", "batch_size")}
    made = JaxnetClassifier(
        model=model, inputs="tokens", learning_rate=2e-2, random_state=0, **words
    ).fit(given_x[:3000], given_y[:3000])
    assert made.score(given_x[3000:], given_y[3000:]) >= GOOD
    jaxnet.save(run, tmp_path / "run")
    again = jaxnet.restore(tmp_path / "run")
    np.testing.assert_array_equal(jaxnet.predict(model, again, x), said)
    jaxnet.export(run, tmp_path / "out", model=model)
    program = export.deserialize((tmp_path / "out/model.stablehlo").read_bytes())
    np.testing.assert_allclose(program.call(x), said, atol=1e-4)
    by_numpy = runpy.run_path(str(tmp_path / "out/forward.py"))["forward"]
    np.testing.assert_allclose(by_numpy(x), said, atol=1e-4)


def test_a_network_of_equinox_takes_tokens():
    pytest.importorskip("equinox")
    splits = jaxnet.split(*sequences(200), inputs="tokens")
    model = of_equinox(IDS)
    run = jaxnet.fit(model, splits, dataclasses.replace(RECIPE, epochs=1), KEY)
    assert np.isfinite(jaxnet.predict(model, run, splits.test.x)).all()
    with pytest.raises(InputError, match="x has the id 9"):
        jaxnet.predict(model, run, np.full((1, LENGTH), IDS))


def test_members_are_the_networks_that_are_trained_alone(splits):
    recipe, keys = dataclasses.replace(RECIPE, epochs=1), jax.random.split(KEY, 2)
    model = linen(IDS)
    members = jaxnet.fit_population(model, splits, recipe, keys)
    alone = jaxnet.fit(model, splits, recipe, keys[1])
    for one, other in zip(
        jax.tree.leaves(members[1].params), jax.tree.leaves(alone.params), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-4)
    outputs = jaxnet.predict(model, members, splits.test.x[:50])
    np.testing.assert_allclose(
        outputs[1], jaxnet.predict(model, alone, splits.test.x[:50]), atol=1e-3
    )


def test_a_stream_trains(tmp_path):
    x, y = sequences()
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    splits = jaxnet.stream(tmp_path, inputs="tokens")
    run = jaxnet.train(linen(IDS), splits, RECIPE, KEY)
    assert accuracy(linen(IDS), run, splits.test) >= GOOD


def test_the_estimator_trains():
    x, y = sequences()
    about = dataclasses.asdict(RECIPE)
    words = {name: about[name] for name in ("optimizer", "epochs", "batch_size", "learning_rate")}
    made = JaxnetClassifier(model=linen(IDS), inputs="tokens", random_state=0, **words)
    assert made.fit(x[:3000], y[:3000]).score(x[3000:], y[3000:]) >= GOOD
    with pytest.raises(InputError, match=r"mlp.* takes numbers, but inputs are tokens"):
        JaxnetClassifier(inputs="tokens").fit(x[:100], y[:100])


def test_the_estimator_fills_up_sequences():
    x, y = sequences(100)
    given = [row[: 4 + number % 13].tolist() for number, row in enumerate(x)]
    filled = np.array([row + [0] * (LENGTH - len(row)) for row in given])
    words = {"model": jaxnet.mlp((4,), vocabulary=IDS), "epochs": 1, "random_state": 0}
    made = JaxnetClassifier(inputs="tokens", pad=0, **words).fit(given, y)
    same = JaxnetClassifier(inputs="tokens", **words).fit(filled, y)
    np.testing.assert_array_equal(made.predict_proba(given[:2]), same.predict_proba(filled[:2]))
    assert made.run_.pad == 0
    with pytest.raises(InputError, match="sequences of at most 16"):
        made.predict([[1] * 17])


def test_an_mlp_learns_a_vector_for_each_id(splits, tmp_path):
    model = jaxnet.mlp((16,), vocabulary=IDS)
    run = jaxnet.fit(model, splits, dataclasses.replace(RECIPE, epochs=1), KEY)
    assert run.params["embedding"]["embedding"].shape == (IDS, 16)
    start, _ = model.for_outputs(2).init(KEY, jnp.zeros((1, LENGTH), int))
    assert np.std(start["embedding"]["embedding"]) == pytest.approx(1, abs=0.15)
    x = np.asarray(splits.test.x[:100])
    said = np.asarray(jaxnet.predict(model, run, x))
    assert named(run.model) is model
    jaxnet.export(run, tmp_path / "out", model=model)
    by_numpy = runpy.run_path(str(tmp_path / "out/forward.py"))["forward"]
    np.testing.assert_allclose(by_numpy(x), said, atol=1e-4)
    wider = widened(jaxnet.mlp((), vocabulary=IDS), 2)
    assert wider is not None
    assert wider.vocabulary == IDS
    with pytest.raises(InputError, match="vocabulary is 0"):
        jaxnet.mlp(vocabulary=0)


def test_ids_that_a_network_does_not_know_are_refused(trained, splits):
    model, run = trained
    strange = np.full((2, LENGTH), 1)
    strange[1, 3] = IDS
    said = re.escape("x has the id 9 in row 1, column 3 (counted from 0), but ")
    with pytest.raises(InputError, match=f"{said}{re.escape(model.name)} says vocabulary=9"):
        jaxnet.predict(model, run, strange)
    with pytest.raises(InputError, match=f"{said}the largest id in the training set was 8"):
        jaxnet.predict(model._replace(vocabulary=None), run, strange)
    with pytest.raises(InputError, match=r"x has 0\.5 in row 0"):
        jaxnet.predict(model, run, np.full((1, LENGTH), 0.5))
    few = jaxnet.predict(model, run, np.ones((1, LENGTH)))  # whole numbers, also as floats
    assert np.isfinite(few).all()


def test_models_and_recipes_for_numbers_are_refused(splits):
    x, y = sequences(100)
    numbers = jaxnet.split(x, y)
    noise = dataclasses.replace(RECIPE, augmentation=jaxnet.Augmentation(noise=0.1))
    for model, data, recipe, said in (
        (jaxnet.mlp(), splits, RECIPE, "mlp.* takes numbers, but inputs are tokens"),
        (linen(IDS), numbers, RECIPE, "says vocabulary=9, so it takes tokens"),
        (linen(5), splits, RECIPE, "the training set has ids up to 8, but .* vocabulary=5"),
        (linen(), splits, noise, "augmentation changes numbers"),
    ):
        with pytest.raises(InputError, match=said):
            jaxnet.fit(model, data, recipe, KEY)
    with pytest.raises(InputError, match="vocabulary is 0"):
        jaxnet.Model.from_linen(linen().init.compared.module, vocabulary=0)
    rare = dataclasses.replace(splits.validation, x=splits.validation.x.at[0, 0].set(IDS))
    with pytest.raises(InputError, match="the validation set has the id 9 in row 0, column 0"):
        jaxnet.fit(linen(), dataclasses.replace(splits, validation=rare), RECIPE, KEY)


def test_shorter_sequences_are_filled_up_as_in_training():
    x, y = sequences(300)
    given = [row[: 4 + number % 13] for number, row in enumerate(x)]
    splits = jaxnet.split(given, y, inputs="tokens", pad=0)
    run = jaxnet.fit(linen(IDS), splits, dataclasses.replace(RECIPE, epochs=1), KEY)
    filled = np.zeros((2, LENGTH), int)
    filled[0, :3], filled[1, :1] = (1, 2, 3), 4
    np.testing.assert_array_equal(
        jaxnet.predict(linen(IDS), run, [[1, 2, 3], [4]]), jaxnet.predict(linen(IDS), run, filled)
    )
    with pytest.raises(InputError, match="sequences of at most 16"):
        jaxnet.predict(linen(IDS), run, [[1] * 17])
    assert run.pad == 0

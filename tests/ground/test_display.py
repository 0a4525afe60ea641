"""Short displays: every public noun fits a screen, holds no arrays, compiles nothing and never
fails.
"""

import inspect
from dataclasses import fields, is_dataclass, replace

import jax
import numpy as np
import pytest

import jaxnet
from jaxnet import Recipe, diagnostics, display

LINES, COLUMNS = 15, 80
PUBLIC = {
    **{name: getattr(jaxnet, name) for name in jaxnet.__all__},
    **{
        f"diagnostics.{name}": each
        for name, each in vars(diagnostics).items()
        if callable(each) and not name.startswith("_")
    },
}
VERBS = {name: each for name, each in PUBLIC.items() if inspect.isfunction(each)}
# A few numbers and words each.
PLAIN = (jaxnet.Halving, diagnostics.HardExample, diagnostics.Needed, diagnostics.Remedy)
NOUNS = {
    each.__name__: each
    for each in PUBLIC.values()
    if isinstance(each, type) and each not in (jaxnet.InputError, *PLAIN)
}
ODD = {
    "None": None,
    "object": object(),
    "array": np.zeros((40, 30)),
    "text": "a long sentence " * 100,
    "tuple": tuple(range(100_000)),
    "mapping": {f"name {i}": np.zeros(9) for i in range(99)},
}


def fits(text: str) -> bool:
    lines = text.splitlines()
    return (
        0 < len(lines) <= LINES
        and max(map(len, lines)) <= COLUMNS
        and "Array(" not in text
        and "array(" not in text
    )


def filled(noun: type, value: object) -> object:
    """A noun each of whose fields holds this value, made as tree operations make it: without
    looking at the value.
    """
    if not is_dataclass(noun):
        return tuple.__new__(noun, [value] * len(noun._fields))
    made = object.__new__(noun)
    for field in fields(noun):
        object.__setattr__(made, field.name, value)
    return made


@pytest.fixture(scope="module")
def results(digits):
    """Real ones, by what they are of."""
    rng, key = np.random.default_rng(0), jax.random.key(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    classes = jaxnet.split(x, (x[:, 0] > 0).astype(np.int32))
    values = jaxnet.split(x, x[:, 0] + x[:, 1])
    model, recipe = (
        jaxnet.mlp((4,)),
        Recipe(epochs=2, batch_size=32, learning_rate=0.01, schedule="constant"),
    )
    grid = jaxnet.space.grid(
        {"learning_rate": [1e-3, 1e-2], "epochs": [1, 2], "weight_decay": [0.0, 0.1]}
    )
    run, run_of_values = (
        jaxnet.fit(model, classes, recipe, key),
        jaxnet.fit(model, values, recipe, key),
    )
    return {
        "classes": run,
        "values": run_of_values,
        "vmap": jax.vmap(lambda key: jaxnet.fit(model, classes, recipe, key))(
            jax.random.split(key, 3)
        ),
        "state": jaxnet.start(model, classes, recipe, key),
        "population": jaxnet.fit_population(
            model,
            classes,
            [replace(recipe, learning_rate=rate) for rate in (0.01, 0.02, 1e30)],
            jax.random.split(key, 3),
        ),
        "sweep": jaxnet.sweep(model, classes, recipe, grid, key),
        "diagnosis": jaxnet.diagnose(model, classes, recipe, key, members=2),
        "curve": jaxnet.learning_curve(model, classes, recipe, key, members=2),
        "metrics": jaxnet.evaluate(model, run, classes.test),
        "metrics of values": jaxnet.evaluate(model, run_of_values, values.test),
        "images": digits,
        "table": values,
        "part": digits.train,
        "model": model,
        "recipe": replace(
            recipe,
            augmentation=jaxnet.Augmentation(shift=1.0),
            clip=1.0,
            dropout=0.1,
            label_smoothing=0.1,
            patience=3,
        ),
        "numbers": jax.tree.map(np.float32, recipe),
        "history": run.history,
        "best": run.best,
        "standardization": digits.standardization,
        "plan": jaxnet.Plan(),
        "halving": jaxnet.Halving.geometric(100),
        "augmentation": jaxnet.Augmentation(rotate=10.0),
    }


def test_displays_fit_a_screen_and_compile_nothing(results, compilations):
    before = len(compilations)
    for name, noun in results.items():
        assert fits(repr(noun)), (name, repr(noun))
    assert len(compilations) == before


@pytest.mark.parametrize("name", NOUNS)
def test_any_noun_fits_a_screen_whatever_it_holds(name, compilations):
    noun = NOUNS[name]
    before = len(compilations)
    for value in ODD.values():
        assert fits(repr(filled(noun, value))), repr(filled(noun, value))
    shown = []
    jax.eval_shape(
        jax.vmap(lambda value: (shown.append(repr(filled(noun, value))), value)[1]),
        np.zeros((3, 4)),
    )
    assert fits(shown[0]), shown[0]
    assert len(compilations) == before


def test_displays_inside_traced_functions(results):
    shown = []
    trees = [
        results[name]
        for name in ("classes", "values", "vmap", "state", "images", "recipe", "history", "best")
    ]
    jax.eval_shape(lambda trees: (shown.extend(map(repr, trees)), trees)[1], trees)
    jax.eval_shape(jax.vmap(lambda run: (shown.append(repr(run)), run)[1]), results["vmap"])
    assert len(shown) == len(trees) + 1
    assert all(map(fits, shown)), shown
    for tree in trees:
        assert fits(repr(jax.tree.map(lambda _: None, tree)))
        assert fits(repr(jax.tree.map(lambda _: object(), tree)))


def test_a_run_says_what_it_is_and_how_it_ended(results):
    run = results["classes"]
    shown, history = repr(run), run.history
    assert shown.startswith("Run of mlp(hidden=(4,), activation=relu)\n")
    assert run.status in shown
    assert "\\n" not in shown
    assert repr(run.recipe) in " ".join(shown.split())
    assert repr(run.recipe) == (
        "Recipe(schedule='constant', epochs=2, batch_size=32, learning_rate=0.01)"
    )
    assert (
        f"validation              loss {history.validation_loss[-1]:.4f}, error "
        f"{1 - history.validation_accuracy[-1]:.2%}" in shown
    )
    assert f"{sum(leaf.size for leaf in jax.tree.leaves(run.params)):,}" in shown
    assert "error" not in repr(results["values"])
    assert "a regression" in repr(results["values"])


def test_a_population_counts_how_its_members_ended(results):
    shown = repr(results["population"])
    assert shown.startswith("Population of 3 networks: 2 finished, 1 diverged\n")
    assert "learning rate 0.01 to 1e+30" in shown
    assert repr(results["vmap"]).startswith("Run of 3 networks: 3 finished\n")


def test_a_sweep_shows_the_chosen_trial_first(results):
    found = results["sweep"]
    lines = repr(found).splitlines()
    assert lines[0] == "Sweep of 8 trials over learning_rate, epochs, weight_decay"
    first = next(line for line in lines if line.startswith("  trial"))
    assert f"trial {found.best} " in first
    assert f"error {found.table['error'][found.best]:.2%}" in first
    assert "3 more trials" in repr(found)


def test_splits_show_their_sizes(digits):
    lines = dict(line.split(maxsplit=1) for line in repr(digits).splitlines()[1:])
    assert lines == {
        "data": "8 x 8 inputs, 10 classes",
        "train": "1,258 examples",
        "validation": "180 examples",
        "test": "359 examples",
    }
    assert repr(digits.test) == "Dataset(359 examples: uint8[359, 8, 8], 10 classes)"


def test_a_recipe_shows_what_differs_from_the_defaults():
    for recipe in (
        Recipe(),
        Recipe(optimizer="sgd", epochs=3),
        Recipe(learning_rate=3e-4, clip=1.0, patience=2, precision="bfloat16"),
    ):
        assert eval(repr(recipe), {"Recipe": Recipe}) == recipe
    assert repr(Recipe()) == "Recipe()"
    assert (
        repr(jax.tree.map(np.float32, Recipe(learning_rate=0.03))) == "Recipe(learning_rate=0.03)"
    )
    assert repr(jax.tree.map(np.float32, Recipe())) == "Recipe()"
    assert repr(Recipe(learning_rate=None)) == "Recipe(learning_rate=None)"
    assert (
        repr(Recipe(learning_rate=np.array([0.1, 0.3, 0.2])))
        == "Recipe(learning_rate=<3 from 0.1 to 0.3>)"
    )
    assert (
        repr(Recipe(augmentation=jaxnet.Augmentation(shift=2.0)))
        == "Recipe(augmentation=Augmentation(shift=2.0))"
    )


def test_names_that_steer_a_terminal_are_escaped_in_displays(digits):
    nasty = "red\x1b[31m\u202e"
    for noun in (
        replace(digits, name=nasty),
        replace(digits, notes=(nasty,)),
        jaxnet.mlp((4,))._replace(name=nasty),
    ):
        assert r"red\x1b[31m\u202e" in repr(noun)
        assert "\x1b" not in repr(noun)


def test_the_tables_name_functions_that_are_there():
    for table in (display.NOTEBOOK, display.TEXT):
        for noun, function in table.items():
            module, _, name = function.partition(":")
            assert callable(getattr(__import__(module, fromlist=[name]), name)), noun


@pytest.mark.parametrize("name", VERBS)
def test_signatures_can_be_read(name):
    signature = str(inspect.signature(VERBS[name]))
    assert len(signature) <= 950  # of 18 arguments
    assert "numpy._typing" not in signature


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (38_471.2, "38,470"),
        (-1_234_567.0, "-1,235,000"),
        (9_999.9, "10,000"),
        (9_999.4, "9,999"),
        (1_234.56, "1,235"),
        (398_248.0, "398,200"),
        (3.14159, "3.142"),
        (0.000012, "1.2e-05"),
        (0.0, "0"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_rounded_numbers_have_four_digits(value, expected):
    assert display.rounded(value) == expected
    assert display.rounded(246_813.0, 5) == "246,810"
    assert display.rounded(1_234.56, 5) == "1,234.6"


def test_words_of_an_aligned_table_are_wrapped_and_its_numbers_are_not():
    name = "a learning rate of 0.01 [bold], and twice as many epochs"
    text = display.aligned(
        ("tried", "gain", ""), [(name, "1.25", "dropped, " * 12), ("b", "-0.5", "")], words=(0, 2)
    )
    head, first, *_, last = text.splitlines()
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert head.split() == ["tried", "gain"]
    assert "[bold]" in text
    assert last.split() == ["b", "-0.5"]
    ends = (head.index("gain"), first.index("1.25"), last.index("-0.5"))
    assert len({*ends}) == 1  # the numbers stand right

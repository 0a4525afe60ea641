"""What can be changed about a training, by explicit recipes, and what each change gains on fresh
examples: nothing here is chosen by jaxnet's own advice.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

import jaxnet
from jaxnet import Augmentation, Model, Recipe, Splits
from jaxnet.data import Dataset, Standardization

FOLDS = 8
VOTES = 8  # networks of an ensemble
# Makes other training data, and the examples to judge with in the same columns.
Data = Callable[["Change", Splits, Dataset], tuple[Splits, Dataset]]


@dataclass(frozen=True)
class Change:
    """A model, a recipe and what becomes of the data.

    Attributes:
        name: what is changed.
        kind: changes of one kind stand for each other.
        model: the model.
        recipe: the recipe.
        data: how other training data are made; None for the given ones.
        balance: whether every class counts the same.
        votes: networks that predict together.
    """

    name: str
    kind: str
    model: Model
    recipe: Recipe
    data: Data | None = None
    balance: bool = False
    votes: int = 1


def changes(
    widths: tuple[int, ...],
    recipe: Recipe,
    *,
    activation: str = "relu",
    images: bool = False,
    balance: bool = False,
) -> list[Change]:
    """The current training of a multilayer perceptron, and then everything that can be changed.

    Args:
        widths: of the hidden layers; () for a linear model.
        recipe: the recipe.
        activation: of the hidden layers.
        images: whether inputs are images.
        balance: whether class weights are among the changes.
    """
    make = functools.partial(mlp, activation=activation)
    now = Change("nothing", "nothing", make(widths), recipe)
    found = [now, *_of_recipe(now), *_of_model(now, widths, make), *_of_data(now)]
    if images:
        moved = Augmentation(shift=2, rotate=10)
        found.append(_with(now, "shift 2, rotate 10", "augmentation", augmentation=moved))
    else:
        found.append(replace(now, name="columns left out", kind="columns", data=fewer_columns))
    if balance:
        found.append(replace(now, name="class weights", kind="class weights", balance=True))
    return [*found, replace(now, name=f"{VOTES} networks", kind="ensemble", votes=VOTES)]


def mlp(
    widths: tuple[int, ...], normalization: str | None = None, activation: str = "relu"
) -> Model:
    """A multilayer perceptron; without hidden layers, a linear model."""
    if not widths:
        return jaxnet.linear()
    return jaxnet.mlp(widths, activation=activation, normalization=normalization)


def _of_recipe(now: Change) -> list[Change]:
    rate, epochs = float(np.asarray(now.recipe.learning_rate)), now.recipe.epochs
    factors = (1000, 100, 10, 3, 1 / 3, 1 / 10, 1 / 100)
    found = [
        _with(now, f"rate x {each:.3g}", "rate", learning_rate=each * rate)
        for each in factors
        if each * rate <= 1
    ]
    found += [_with(now, f"epochs x {each}", "longer", epochs=each * epochs) for each in (2, 4, 10)]
    regularized = {
        "weight decay .01": {"weight_decay": 0.01},
        "weight decay 1": {"weight_decay": 1.0},
        "label smoothing .1": {"label_smoothing": 0.1},
        "early stopping": {"patience": 5},
        "noise .3": {"augmentation": Augmentation(noise=0.3)},
        "mixup .2": {"augmentation": Augmentation(mixup=0.2)},
    }
    if len(getattr(now.model.for_outputs, "structure", ((0, ()),))[0][1]):
        regularized |= {"dropout .2": {"dropout": 0.2}, "dropout .5": {"dropout": 0.5}}
    found += [_with(now, name, "regularize", **each) for name, each in regularized.items()]
    if now.recipe.dropout or now.recipe.weight_decay:
        found.append(_with(now, "no regularization", "less", dropout=None, weight_decay=None))
    schedules = {"constant", "one_cycle"} - {now.recipe.schedule}
    found += [_with(now, f"{each} rate", "schedule", schedule=each) for each in schedules]
    return [*found, _with(now, "clipped gradient", "clip", clip=1.0)]


def _of_model(now: Change, widths: tuple[int, ...], make: Callable[..., Model]) -> list[Change]:
    if not widths:
        return [replace(now, name="hidden layers", kind="larger", model=mlp((128, 64)))]
    models = {
        "2 x as wide": ("larger", tuple(2 * each for each in widths)),
        "1 layer more": ("larger", (*widths, widths[-1])),
        "half as wide": ("smaller", tuple(-(-each // 2) for each in widths)),
        "half of the layers": ("smaller", widths[: len(widths) // 2]),
    }
    found = [
        replace(now, name=name, kind=kind, model=make(each))
        for name, (kind, each) in models.items()
    ]
    found += [
        replace(now, name=f"{each} normalization", kind="normalization", model=make(widths, each))
        for each in ("layer", "batch")
    ]
    return found


def _of_data(now: Change) -> list[Change]:
    return [
        replace(now, name="flagged labels dropped", kind="labels", data=dropped),
        replace(now, name="flagged labels corrected", kind="labels", data=corrected),
    ]


def _with(now: Change, name: str, kind: str, **changed: Any) -> Change:
    return replace(now, name=name, kind=kind, recipe=replace(now.recipe, **changed))


def errors(
    found: Sequence[Change],
    splits: Splits,
    fresh: Dataset,
    seed: int,
    networks: int,
    *,
    balanced: bool = False,
) -> np.ndarray:
    """Train some networks of each change, and measure their errors on fresh examples.

    Args:
        found: the changes.
        splits: the data.
        fresh: the examples to judge with.
        seed: of the networks' random keys.
        networks: of each change, or ensembles of one.
        balanced: whether every class counts the same in the error.

    Returns:
        (changes, networks) errors, in percent; a network that diverged has 100.
    """
    plain = [i for i, each in enumerate(found) if each.data is None and not each.balance]
    result = np.empty((len(found), networks))
    if plain:
        counts = [networks * found[i].votes for i in plain]
        outputs = probabilities(
            [found[i] for i, count in zip(plain, counts, strict=True) for _ in range(count)],
            splits,
            fresh.x,
            np.concatenate([np.arange(count) for count in counts]),
            seed,
        )
        for i, each in zip(plain, np.split(outputs, np.cumsum(counts)[:-1]), strict=True):
            votes = each.reshape(networks, found[i].votes, *each.shape[1:]).mean(1)
            result[i] = _error(votes, fresh, balanced)
    for i in set(range(len(found))) - set(plain):
        each = found[i]
        given, judged = (splits, fresh) if each.data is None else each.data(each, splits, fresh)
        outputs = probabilities([each] * networks, given, judged.x, np.arange(networks), seed)
        result[i] = _error(outputs, judged, balanced)
    return result


def probabilities(
    members: Sequence[Change],
    splits: Splits,
    x: Array | np.ndarray,
    numbers: np.ndarray,
    seed: int,
    samples: jaxnet.resampling.Samples | None = None,
) -> np.ndarray:
    """(members, examples, classes) probabilities that networks predict."""
    from jaxnet.population.predictions import member_predictions

    keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(numbers)
    if members[0].balance:
        weights = np.asarray(jaxnet.class_weights(splits.train))
        samples = jaxnet.resampling.whole(len(members), len(weights)).reweighted(weights)
    population = jaxnet.fit_population(
        [each.model for each in members],
        splits,
        [each.recipe for each in members],
        keys,
        resample=samples,
    )
    models = [members[each[0]].model for each in population.members]
    result = np.empty((len(members), len(x), splits.schema.outputs), np.float32)
    for places, outputs in member_predictions(models, population, np.asarray(x)):
        result[places] = np.exp(outputs)
    return result


def _error(outputs: np.ndarray, fresh: Dataset, balanced: bool) -> np.ndarray:
    """Errors in percent of probabilities (networks, examples, classes)."""
    y = np.asarray(fresh.y)
    wrong = (outputs.argmax(-1) != y) | ~np.isfinite(outputs).all(-1)
    if not balanced:
        return 100 * wrong.mean(1)
    return 100 * np.mean([wrong[:, y == each].mean(1) for each in np.unique(y)], axis=0)


def _unseen(now: Change, splits: Splits, x: Array | np.ndarray) -> np.ndarray:
    """(folds, examples, classes) what networks predict that left out one fold each."""
    fold_of = jaxnet.resampling.fold_of(splits.train, FOLDS)
    samples = jaxnet.resampling.all_but(fold_of, range(FOLDS))
    return probabilities([now] * FOLDS, splits, x, np.arange(FOLDS), 1, samples)


def flags(now: Change, splits: Splits) -> tuple[np.ndarray, np.ndarray]:
    """Which labels confident networks contradict that did not see them, and the labels that they
    predict (Northcutt, Jiang & Chuang 2021, confident learning, section 3.1).
    """
    outputs = _unseen(now, splits, splits.train.x)
    fold_of, y = jaxnet.resampling.fold_of(splits.train, FOLDS), np.asarray(splits.train.y)
    own = outputs[fold_of, np.arange(len(y))]
    limits = np.array([own[y == each, each].mean() for each in range(own.shape[1])])
    predicted = np.where(own >= limits, own, 0).argmax(1)
    confident = (own >= limits).any(1)
    return confident & (predicted != y), predicted


def dropped(now: Change, splits: Splits, fresh: Dataset) -> tuple[Splits, Dataset]:
    flagged, _ = flags(now, splits)
    train = splits.train
    kept = replace(train, x=np.asarray(train.x)[~flagged], y=np.asarray(train.y)[~flagged])
    return replace(splits, train=kept), fresh


def corrected(now: Change, splits: Splits, fresh: Dataset) -> tuple[Splits, Dataset]:
    flagged, predicted = flags(now, splits)
    y = np.where(flagged, predicted, np.asarray(splits.train.y)).astype(np.int32)
    return replace(splits, train=replace(splits.train, y=y)), fresh


def fewer_columns(now: Change, splits: Splits, fresh: Dataset) -> tuple[Splits, Dataset]:
    """Leave out columns that networks which did not see the examples predict as well without
    (permutation importance, Breiman 2001), by less than a standard error of their error.
    """
    train, rng = splits.train, np.random.default_rng(0)
    x, y = np.asarray(train.x), np.asarray(train.y)
    tables = [x]
    for column in range(x.shape[1]):
        changed = x.copy()
        changed[:, column] = rng.permutation(changed[:, column])
        tables.append(changed)
    outputs = _unseen(now, splits, np.concatenate(tables))
    fold_of = np.tile(jaxnet.resampling.fold_of(train, FOLDS), len(tables))
    own = outputs[fold_of, np.arange(len(fold_of))]
    wrong = own.argmax(-1).reshape(-1, len(x)) != y
    worse = wrong[1:].astype(float) - wrong[0]
    needed = worse.mean(1) > worse.std(1) / np.sqrt(len(x))
    if not needed.any() or needed.all():
        return splits, fresh

    def narrow(part: Dataset) -> Dataset:
        return replace(part, x=np.asarray(part.x)[:, needed])

    parts = narrow(train), narrow(splits.validation), narrow(splits.test)
    return Splits(*parts, standardization=Standardization.of(parts[0])), narrow(fresh)

"""How much of the error is bias, how much is variance, and what moves them?

    python -m experiments.bias_variance                                          of a recipe, on quarters of the training set
    python -m experiments.bias_variance --vary width --values 1 4 16 64 256
    python -m experiments.bias_variance --vary label-noise                       or examples, epochs, weight-decay

Networks are trained on random samples of the training set that no two share while these last, else on the parts of random
partitions; all take equally many steps. Judged on the test set: of classes by the 0-1 loss (Kohavi & Wolpert 1996), and in
result.json by cross-entropy and Brier score too; of values by squared error in variances of y.
"""

import itertools
import math
import sys
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from experiments import BEGAN
from jaxnet import fit_population, resampling
from jaxnet.data import Dataset, Splits, Standardisation
from jaxnet.diagnostics import Decomposition, Difference, Estimate, bias_variance_decomposition, paired_decomposition, repeated
from jaxnet.errors import InputError
from jaxnet.models import Model
from jaxnet.options import BiasVarianceOptions, build_model
from jaxnet.recipe import Recipe
from jaxnet.report import console
from jaxnet.resampling import Samples
from jaxnet.run import Run
from jaxnet.runner import MEMBERS, Setup, hardest, main, report, training_members

AXES = {
    "width": "width of the hidden layers",
    "examples": "training examples of each network",
    "epochs": "epochs",
    "weight-decay": "weight decay",
    "label-noise": "share of training labels drawn anew",
}
VALUES = {
    "width": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "epochs": (1, 3, 10, 30, 100),
    "weight-decay": (1e-4, 1e-3, 1e-2, 1e-1, 1.0),
    "label-noise": (0.0, 0.1, 0.2, 0.4),
}
SHARES = (32, 16, 8, 4)  # of the training set, the sizes by default


class Trial(NamedTuple):
    """The networks of one value. parts: of a partition; None where no two share an example."""

    value: float | None
    model: Model
    recipe: Recipe
    splits: Splits
    samples: Samples
    parts: int | None


class Measured(NamedTuple):
    """Predictions on the test set, and what they say. training: errors of the networks on what they learned from."""

    value: float | None
    examples: int
    predictions: np.ndarray
    parts: int | None
    found: Decomposition
    training: Estimate
    run: Run


def work(setup: Setup) -> dict[str, Any]:
    """Train the networks of all values, take their errors apart, and write."""
    options = setup.options
    assert isinstance(options, BiasVarianceOptions)
    splits = prepared(setup.splits, options)
    setup = setup._replace(splits=splits)
    key = jax.random.key(options.seed)
    trials = build_trials(setup, options, key)
    measured, began = list[Measured](), dict[str, int]()
    # Trials on the same data are one population, whose structures compile side by side.
    groups = [trials] if all(trial.splits is splits for trial in trials) else [[trial] for trial in trials]
    for number, group in enumerate(groups):
        found, resumed = train_and_measure(setup, group, key, number)
        measured += found
        began = {name: began.get(name, 0) + count for name, count in resumed.items()}
    name = options.vary
    began.setdefault("from_epoch", 0)
    words = table(measured, name)
    one = measured[0].found
    more: dict[str, Any] = {
        "verdict": f"of an error of {one.loss}, bias² is {one.bias} and variance {one.variance}",
        "findings": (),
        "members": options.members,
        "bias_variance": {"vary": name, "values": [summary(each, splits) for each in measured]},
        "hard_examples": [] if splits.classes is None else hardest(measured[-1].predictions, np.asarray(splits.test.y)),
        "resumed": began,
    }
    if name is not None and len(measured) > 1:
        from jaxnet.report import figures

        places = [each.value if each.value is not None else 0.0 for each in measured]
        figures.decomposition(
            places, [each.found for each in measured], setup.out / "figures/bias_variance.png", x=AXES[name], unit=unit(splits),
            log=min(places) > 0 and max(places) > 10 * min(places), training=[each.training for each in measured],
        )  # fmt: skip
        if measured[0].parts == measured[-1].parts:
            sentences, more["bias_variance"]["peak"] = peak(measured, splits, name)
            words += sentences
            more["verdict"] = sentences[0]
    first, rows = measured[0], trained_on(trials[0])
    seen = replace(
        trials[0].splits,
        train=Dataset(np.asarray(splits.train.x)[rows], np.asarray(trials[0].splits.train.y)[rows], splits.classes, splits.train.white),
    )
    return report(setup._replace(splits=seen), trials[0].model, first.run, more, "\n".join(words))


def prepared(splits: Splits, options: BiasVarianceOptions) -> Splits:
    """The splits with images pooled, and class numbers as values, where that was asked for."""
    if options.pool == 1 and not options.as_values:
        return splits
    parts = dict[str, Dataset]()
    for name in ("train", "validation", "test"):
        part: Dataset = getattr(splits, name)
        x, y = np.asarray(part.x), np.asarray(part.y)
        if options.pool > 1:
            if part.white is None or x.shape[1] % options.pool or x.shape[2] % options.pool:
                raise InputError(
                    f"--pool {options.pool} does not divide inputs of shape {x.shape[1:]}; give a divisor of an image's height and width"
                )
            height, width = x.shape[1] // options.pool, x.shape[2] // options.pool
            x = x.reshape(len(x), height, options.pool, width, options.pool, *x.shape[3:]).mean(
                (2, 4), dtype=np.result_type(x.dtype, np.float32)
            )
        classes = None if options.as_values else part.classes
        parts[name] = Dataset(x, y.astype(np.float32) if options.as_values else y, classes, part.white)
    return replace(
        splits, standardisation=Standardisation.of(parts["train"]), train=parts["train"], validation=parts["validation"], test=parts["test"]
    )


def build_trials(setup: Setup, options: BiasVarianceOptions, key: Key[Array, ""]) -> list[Trial]:
    """What to train for each value."""
    n, name = len(setup.splits.train), options.vary
    if options.members < 2:
        raise InputError(f"--members {options.members}: variance needs at least 2; give more")
    given = options.values or (VALUES.get(name or "", (None,)) if name != "examples" else tuple(n // share for share in SHARES))
    trials = []
    for value in given:
        model, recipe, splits, count = setup.model, setup.recipe, setup.splits, options.examples or n // 4
        match name:
            case "width":
                model = build_model(replace(options, hidden=(whole(value, name),) * len(options.hidden)))
            case "examples":
                count = whole(value, name)
            case "epochs":
                recipe = replace(recipe, epochs=whole(value, name))
            case "weight-decay":
                recipe = replace(recipe, weight_decay=value)
            case "label-noise":
                splits = with_noise(splits, float(value or 0.0), options.seed)
        samples, parts = draw(key, options.members, count, n)
        trials.append(Trial(value, model, recipe, splits, samples, parts))
    return trials


def draw(key: Key[Array, ""], members: int, count: int, n: int) -> tuple[Samples, int | None]:
    """(training samples, the number of parts of a partition): disjoint ones where there are enough examples."""
    if not 1 <= count <= n // 2:
        raise InputError(f"{count} training examples a network of {n}; give at most half of them, so that networks can have different ones")
    if members * count <= n:
        return resampling.disjoint(key, members, count, n), None
    parts = n // count
    return resampling.partitions(key, parts, n, repeats=math.ceil(members / parts)), parts


def whole(value: float | None, name: str) -> int:
    """The value as a whole number."""
    if value is None or value != int(value) or value < 1:
        raise InputError(f"--values {value}: {name} takes whole numbers of at least 1")
    return int(value)


def with_noise(splits: Splits, share: float, seed: int) -> Splits:
    """The splits with that share of the training labels drawn anew, from all labels there are."""
    if not 0 <= share <= 1:
        raise InputError(f"--values {share}: a share of labels is from 0 to 1; give such")
    rng, y = np.random.default_rng([seed, *b"labels"]), np.asarray(splits.train.y).copy()
    rows = rng.permutation(len(y))[: round(share * len(y))]
    y[rows] = y[rng.permutation(len(y))[: len(rows)]]
    return replace(splits, train=replace(splits.train, y=y))


def trained_on(trial: Trial) -> np.ndarray:
    """Row numbers of the first network's sample."""
    return np.flatnonzero(trial.samples.seen(0))


def train_and_measure(setup: Setup, trials: list[Trial], key: Key[Array, ""], number: int) -> tuple[list[Measured], dict[str, int]]:
    """(what all networks of some trials on the same data give, as one population; where that began)."""
    counts = [len(trial.samples) for trial in trials]
    keys = jnp.concatenate([jax.random.split(key, count) for count in counts])
    with training_members(setup) as (watch, began):
        population = fit_population(
            [trial.model for trial, count in zip(trials, counts, strict=True) for _ in range(count)],
            trials[0].splits,
            [trial.recipe for trial, count in zip(trials, counts, strict=True) for _ in range(count)],
            keys, resample=resampling.together([trial.samples for trial in trials]), out=setup.out / MEMBERS / str(number), watch=watch,
        )  # fmt: skip
    assert population.predictions is not None
    y, splits = np.asarray(setup.splits.test.y), setup.splits
    variance = float(np.var(np.asarray(splits.train.y), dtype=np.float64))
    losses = population.each(
        lambda run: np.asarray(run.history.train_loss if splits.classes is None else 1 - np.asarray(run.history.train_accuracy))[:, -1]
    )
    measured, first = [], 0
    for trial, count in zip(trials, counts, strict=True):
        members = np.arange(first, first + count)
        first += count
        sound = ~population.diverged[members]
        if trial.parts is not None:
            sound = np.repeat(sound.reshape(-1, trial.parts).all(1), trial.parts)
        if not sound.all():
            left = f"{int((~sound).sum())} of {count} networks are left out at {trial.value}"
            console.say(f"beware: {left}, since they, or others of their partition, diverged")
        if sound.sum() < 2:
            raise InputError(f"at {trial.value} nearly all networks diverged; lower the learning rate, or set clip")
        predictions = population.predictions.test[members[sound]]
        predictions = predictions.astype(np.result_type(predictions, np.float32))
        if splits.classes is None:
            predictions, y_ = predictions / math.sqrt(variance), y / math.sqrt(variance)
            found = bias_variance_decomposition(predictions, y_, loss="squared", design=design(trial.parts), parts=trial.parts)
        else:
            found = bias_variance_decomposition(
                predictions, y, loss="zero_one_kohavi_wolpert", design=design(trial.parts), parts=trial.parts
            )
        assert trial.samples.count is not None
        run = population[int(members[sound][0])]
        measured.append(
            Measured(trial.value, int(trial.samples.count[0]), predictions, trial.parts, found, repeated(losses[members[sound]]), run)
        )
    return measured, began


def design(parts: int | None) -> Literal["fresh", "partition"]:
    """What the training samples are to each other."""
    return "fresh" if parts is None else "partition"


def unit(splits: Splits) -> str:
    """Of the loss, in words."""
    return "0-1 loss (share predicted wrongly)" if splits.classes is not None else "squared error / variance of y"


def table(measured: list[Measured], name: str | None) -> list[str]:
    """The numbers, a line a value."""
    head = f"{name or '':>14}{'examples':>10}{'members':>9}{'error':>26}{'bias²':>26}{'variance':>26}"
    lines = [head]
    for each in measured:
        sizes = (
            f"{size.estimate:.4f}{f' ({size.low:.4f}-{size.high:.4f})' if size.refused is None else '':>18}"
            for size in (each.found.loss, each.found.bias, each.found.variance)
        )
        value = "" if each.value is None else f"{each.value:g}"
        lines.append(f"{value:>14}{each.examples:>10,}{each.found.members:>9}" + "".join(f"{size:>26}" for size in sizes))
    refused = {size.refused for each in measured for size in (each.found.bias, each.found.variance) if size.refused}
    return lines + [f"no interval: {reason}" for reason in sorted(refused)]


def summary(each: Measured, splits: Splits) -> dict[str, Any]:
    """What result.json holds of a value."""
    found = {each.found.kind: each.found}
    if splits.classes is not None:
        y = np.asarray(splits.test.y)
        for loss in ("cross_entropy", "brier"):
            found[loss] = bias_variance_decomposition(each.predictions, y, loss=loss, design=design(each.parts), parts=each.parts)
    numbers = {
        loss: {
            "loss": d.loss,
            "bias": d.bias,
            "variance": d.variance,
            "plug_in_bias": d.plug_in_bias,
            "plug_in_variance": d.plug_in_variance,
        }
        for loss, d in found.items()
    }
    return {
        "value": each.value, "examples": each.examples, "members": each.found.members, "design": each.found.design, "parts": each.parts,
        "training_error": each.training, **numbers,
    }  # fmt: skip


def peak(measured: list[Measured], splits: Splits, name: str) -> tuple[list[str], dict[str, Any]]:
    """Whether the variance rises and falls: (sentences, where it is largest and by how much it exceeds both ends).

    Networks of the same number share samples and luck, so differences are paired.
    """
    top = int(np.argmax([each.found.variance.estimate for each in measured]))
    y, loss = np.asarray(splits.test.y), "zero_one_kohavi_wolpert"
    if splits.classes is None:
        y, loss = y / math.sqrt(float(np.var(np.asarray(splits.train.y), dtype=np.float64))), "squared"

    def more(a: Measured, b: Measured) -> Difference | None:
        """What a has more than b, where the same networks are sound of both."""
        if a is b or len(a.predictions) != len(b.predictions):
            return None
        return paired_decomposition(a.predictions, b.predictions, y, loss=loss, design=design(a.parts), parts=a.parts)

    ends = {name: found.variance for name, each in (("first", measured[0]), ("last", measured[-1])) if (found := more(measured[top], each))}
    steps = [found.bias for a, b in itertools.pairwise(measured) if (found := more(b, a))]
    words = f"variance is largest at {name} {measured[top].value:g}"
    words += "".join(f", more than at the {end} value by {difference}" for end, difference in ends.items())
    rising = sum(step.low > 0 for step in steps)
    bias = (
        f"bias² rises at {rising} of {len(steps)} steps by more than chance" if rising else "at no step does bias² rise by more than chance"
    )
    return [words, bias], {"value": measured[top].value, "variance_differences": ends, "bias_steps": steps}


if __name__ == "__main__":
    sys.exit(main("bias_variance", BiasVarianceOptions(), __doc__, began=BEGAN, work=work))

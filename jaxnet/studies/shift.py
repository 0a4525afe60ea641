"""Shift: how well a change of the inputs is noticed by a network's outputs, and what it costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from jaxnet import arrays
from jaxnet.core.recipe import Recipe
from jaxnet.core.run import Run
from jaxnet.core.training import EpochMetrics
from jaxnet.data import Dataset, Splits
from jaxnet.data.corruption import corrupt, knock_out
from jaxnet.data.resampling import cut, shuffled
from jaxnet.data.schema import Schema
from jaxnet.data.splitting import in_one, on_host, take
from jaxnet.diagnostics import Estimate, estimate_error_without_labels, two_sample_test, wilson
from jaxnet.engine import arguments
from jaxnet.engine.loop import train
from jaxnet.engine.prediction import predict
from jaxnet.errors import InputError, check_number, check_whole
from jaxnet.models.losses import Loss
from jaxnet.models.model import Model
from jaxnet.progress import counted, of_epochs, phase, showing
from jaxnet.random import AnyKey, as_key, number_of
from jaxnet.runtime.files import plain
from jaxnet.runtime.plan import Plan
from jaxnet.stats.two_sample import Output, TwoSample, Unlike

SIZES = (10, 20, 50, 100, 200, 500, 1000)  # of batches
# What each kind of shift is tried at: shares of an image's width, degrees, or shares.
STRENGTHS: dict[str, tuple[float, ...]] = {
    "noise": (0.1, 0.2, 0.4),
    "blur": (0.03, 0.06, 0.1),
    "shift": (0.03, 0.06, 0.12),
    "rotation": (5, 10, 30),
    "contrast": (0.1, 0.3, 0.6),
    "inversion": (0.6, 0.8, 1.0),
    "missing class": (0.5, 1.0),
}
OF_WIDTH = ("blur", "shift")  # whose strengths are shares of an image's width
SHOWN = 10  # images of each shift that are unlike the reference
OFTEN = 0.8  # a share of batches in which a shift counts as found


class Reference(NamedTuple):
    """What a network says of examples that it neither trained on nor was chosen with.

    Args:
      outputs: (examples, classes) log-probabilities, or (examples,) values.
      labels: (examples,) class numbers, or values.
    """

    outputs: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class OutputTest:
    """A two-sample test of a network's outputs on reference and new examples.

    Args:
      p_value: probability of a difference this large or larger if nothing has changed.
      level: below which the p-value counts as a shift.
      size: the largest Kolmogorov-Smirnov distance of an output.
      detectable: the smallest size that samples this large show with a probability of 80%.
      what: the output that differs most, in words.
    """

    p_value: float
    level: float
    size: Estimate
    detectable: float
    what: str

    @classmethod
    def of(cls, test: TwoSample, schema: Schema) -> "OutputTest":
        """The result of `two_sample_test` by "bbsd", with the names of outputs."""
        assert isinstance(test.what, Output)
        names = schema.classes or (None if schema.targets is None else schema.target_names)
        output = "output" if names is None else names[test.what.index]
        if schema.classes is not None or schema.multi_label:
            output = f"log-probability of {output}"
        what = f"{output} is {test.what.new}"
        return cls(test.p_value, test.level, test.size, test.detectable, what)


@dataclass(frozen=True)
class ShiftFound:
    """What is noticed of one shift, and what it costs.

    Args:
      name: kind and strength.
      kind: of the shift, or "none".
      strength: in the units of `jaxnet.data.corruption.corrupt`, or the share of a class that is
          missing.
      alarms: the share of batches in which a test finds it, by the size of the batches.
      test: of all examples.
      error: of the network on the shifted examples.
      estimated_error: the same, estimated without labels.
      broken: why that estimate cannot be made, or None.
    """

    name: str
    kind: str
    strength: float
    alarms: tuple[float, ...]
    test: OutputTest
    error: Estimate
    estimated_error: Estimate
    broken: str | None


@dataclass(frozen=True)
class ShiftStudy:
    """How well shifts of a test set are noticed, and what they cost.

    Args:
      level: of the tests.
      repetitions: batches of each size that were tested, for each shift.
      sizes: of the batches.
      shifts: the examples as they are, then every shift at every strength.
      verdict: how many of the costly shifts are found, in a sentence.
      run: the network.
      reference: what it says of all held-out examples.
      unlike: by shift, the images that differ most surely from the reference.
      pixel_max: the value of a white pixel.
    """

    level: float
    repetitions: int
    sizes: tuple[int, ...]
    shifts: tuple[ShiftFound, ...]
    verdict: str
    run: Run = field(repr=False)
    reference: Reference = field(repr=False)
    unlike: dict[str, np.ndarray] = field(repr=False)
    pixel_max: float

    @property
    def alarms(self) -> dict[str, dict[str, tuple[float, ...]]]:
        """The shares of batches with an alarm, by kind and by strength."""
        found = dict[str, dict[str, tuple[float, ...]]]()
        for each in self.shifts:
            strength = each.name.removeprefix(each.kind).strip() or "as it was"
            found.setdefault(each.kind, {})[strength] = each.alarms
        return found

    def summary(self) -> dict[str, Any]:
        """The measurements in the types that JSON has."""
        return plain(
            {
                "level": self.level,
                "repetitions": self.repetitions,
                "sizes": self.sizes,
                "shifts": self.shifts,
            }
        )


@dataclass(frozen=True)
class Monitored:
    """Whether new examples are like those that a network was judged with.

    Args:
      examples: how many new ones.
      verdict: "shifted" or "same".
      test: of the network's outputs.
      reference_error: of the network on the reference; None of a regression.
      estimated_error: on the new examples, from confidence and `labels`; None of a regression.
      labels: how many new examples had labels.
      half_widths: (labels, half-width) pairs: how wide an interval from that many labels is; None
          of a regression.
    """

    examples: int
    verdict: Literal["shifted", "same"]
    test: OutputTest
    reference_error: float | None
    estimated_error: Estimate | None
    labels: int
    half_widths: tuple[tuple[int, float], ...] | None

    def summary(self) -> dict[str, Any]:
        """The measurements in the types that JSON has."""
        found = plain(self)
        test = found.pop("test")
        errors = {name: found.pop(name) for name in ("reference_error", "estimated_error")}
        return found | test | errors


class _Shifted(NamedTuple):
    """Examples that were changed. strength: as in ShiftFound."""

    kind: str
    strength: float
    data: Dataset

    @property
    def name(self) -> str:
        """Kind and strength."""
        return self.kind if self.kind == "none" else f"{self.kind} {self.strength:.3g}"


@showing(of_epochs)
def study_shift(
    model: Model,
    splits: Splits,
    recipe: Recipe,
    key: AnyKey,
    *,
    tolerance: float = 0.02,
    repetitions: int = 20,
    level: float = 0.05,
    loss: Loss | None = None,
    plan: Plan | None = None,
    out: str | Path | None = None,
    progress: Callable[[int, EpochMetrics], None] | Literal[False] | None = None,
) -> ShiftStudy:
    """Trains a network, shifts one half of the test set, and compares it with the other.

    Args:
      model: the network.
      splits: a data set of images and classes.
      recipe: how the network is trained.
      key: of the training, the shifts and the tests.
      tolerance: the smallest increase of the error that matters.
      repetitions: batches of each size that are tested, for each shift.
      level: of the tests: how often a batch without a shift may raise an alarm.
      loss: of an example, as in `jaxnet.train`.
      plan: where the network is trained, as there.
      out: folder for checkpoints, as there.
      progress: as in `jaxnet.train`.

    Returns:
      What is noticed of each shift, at which size of batches, and what it costs.

    Raises:
      InputError: for data that are no images of classes, for a small test set, and for invalid
        arguments.
    """
    arguments.check(model=model, splits=splits, recipe=recipe)
    key = as_key("key", key)
    check_number("tolerance", tolerance)
    check_whole("repetitions", repetitions)
    if not 0 < check_number("level", level) < 1:
        raise InputError(f"level is {level}; give a number between 0 and 1")
    pixel_max = splits.test.pixel_max
    if splits.classes is None or pixel_max is None:
        raise InputError(
            f"{splits.name} holds no classes of images, and the corruptions are of images; to ask "
            "whether new data differ, give a finished run and them: jaxnet shift --run DIR --new "
            "FILE"
        )
    if len(splits.test) < 4 * SIZES[0]:
        raise InputError(
            f"the test set has {len(splits.test)} examples; at least {4 * SIZES[0]} are needed to "
            "compare its halves"
        )
    run = train(
        model,
        splits,
        recipe,
        key,
        out=out,
        loss=loss,
        progress=progress or None,
        plan=plan or Plan(),
    )
    held = held_out(splits, run)
    outputs = np.asarray(predict(model, run, held.x))
    rng = np.random.default_rng([number_of(key), *b"halves"])
    order, ends = shuffled(rng, len(splits.test), splits.test.groups)
    half, _ = cut(ends, [len(order) // 2, len(order)])
    known = np.concatenate([order[:half], np.arange(len(splits.test), len(held))])
    rest = _rows(splits.test, order[half:])
    reference = Reference(outputs[known], np.asarray(held.y)[known])
    sizes = tuple(size for size in SIZES if size <= min(len(known), len(rest)))
    shifted = _shifts(rest, pixel_max, key)
    found = tuple(
        _find(model, run, reference, each, sizes, repetitions, level, key)
        for each in counted(shifted, "testing shifted data")
    )
    phase("finding what differs", "usually a few seconds")
    return ShiftStudy(
        level=level,
        repetitions=repetitions,
        sizes=sizes,
        shifts=found,
        verdict=_verdict(found, sizes[-1], tolerance),
        run=run,
        reference=Reference(outputs, np.asarray(held.y)),
        unlike=_unlike(np.asarray(_rows(held, known).x), shifted, level, key),
        pixel_max=pixel_max,
    )


def held_out(splits: Splits, run: Run) -> Dataset:
    """The examples that a network was neither trained on nor chosen with."""
    if run.recipe.patience is not None or not len(splits.validation):
        return splits.test
    return in_one(splits.test, splits.validation)


def monitor(
    model: Model,
    run: Run,
    x: np.ndarray,
    reference: Reference,
    *,
    level: float = 0.01,
    labeled: tuple[np.ndarray, np.ndarray] | None = None,
) -> Monitored:
    """Compares new examples with those that a network was judged with, by its outputs.

    Args:
      model: the network.
      run: its training.
      x: (examples, ...) new inputs.
      reference: what the network says of held-out examples.
      level: how often examples without a shift may be called shifted.
      labeled: (rows, y): rows of `x` that were drawn at random, and their class numbers, where some
          are known.

    Returns:
      The test and, of classes, the error to expect.

    Raises:
      InputError: for `labeled` that does not fit, or of a network that predicts no classes.
    """
    if run.classes is None and labeled is not None:
        raise InputError(
            "labeled has class numbers, but the network predicts no classes; leave it out"
        )
    new = np.asarray(predict(model, run, x))
    test = two_sample_test(reference.outputs, new, method="bbsd", level=level)
    estimated = (
        None
        if run.classes is None
        else estimate_error_without_labels(*reference, new, labeled=labeled)
    )
    return Monitored(
        examples=len(x),
        verdict="shifted" if test.shifted else "same",
        test=OutputTest.of(test, run.schema),
        reference_error=None if estimated is None else estimated.reference,
        estimated_error=None if estimated is None else estimated.error,
        labels=0 if estimated is None else estimated.labels,
        half_widths=None if estimated is None else estimated.half_widths,
    )


def _shifts(data: Dataset, pixel_max: float, key: Key[Array, ""]) -> list[_Shifted]:
    """The data as they are, and with every shift at every strength."""
    x, y = np.asarray(data.x), np.asarray(data.y)
    changed = [_Shifted("none", 0.0, data)]
    for kind, strengths in STRENGTHS.items():
        for strength in strengths:
            true = strength * x.shape[2] if kind in OF_WIDTH else strength
            if kind == "missing class":
                new = _rows(data, knock_out(y, int(np.bincount(y).argmax()), true, key))
            else:
                new = replace(data, x=corrupt(x, kind, true, key, pixel_max=pixel_max))
            changed.append(_Shifted(kind, true, new))
    return changed


def _find(
    model: Model,
    run: Run,
    reference: Reference,
    shifted: _Shifted,
    sizes: Sequence[int],
    repetitions: int,
    level: float,
    key: Key[Array, ""],
) -> ShiftFound:
    """What is noticed of one shift, and what it costs."""
    new = np.asarray(predict(model, run, shifted.data.x))

    def share(size: int) -> float:
        """Of batches with an alarm."""
        return float(
            np.mean([_alarm(reference.outputs, new, size, i, level) for i in range(repetitions)])
        )

    wrong = arrays.wrong(new, np.asarray(shifted.data.y))
    estimated = estimate_error_without_labels(*reference, new)
    return ShiftFound(
        name=shifted.name,
        kind=shifted.kind,
        strength=float(shifted.strength),
        alarms=tuple(share(size) for size in sizes),
        test=OutputTest.of(
            two_sample_test(reference.outputs, new, method="bbsd", key=key, level=level), run.schema
        ),
        error=wilson(int(wrong.sum()), len(wrong)),
        estimated_error=estimated.error,
        broken=estimated.broken,
    )


def _alarm(known: np.ndarray, new: np.ndarray, size: int, number: int, level: float) -> bool:
    rng = np.random.default_rng([size, number])
    a, b = (outputs[rng.permutation(len(outputs))[:size]] for outputs in (known, new))
    return two_sample_test(a, b, method="bbsd", key=jax.random.key(number), level=level).shifted


def _verdict(found: Sequence[ShiftFound], size: int, tolerance: float) -> str:
    """How many of the costly shifts are found in most batches of the largest size."""
    costly = [each for each in found if each.error.estimate - found[0].error.estimate > tolerance]
    missed = [each.name for each in costly if each.alarms[-1] < OFTEN]
    words = (
        f"of {len(costly)} shifts that cost more than {tolerance:.0%}, "
        f"{len(costly) - len(missed)} are found in {OFTEN:.0%} of batches of {size}"
    )
    return words + "; missed: " * bool(missed) + ", ".join(missed)


def _unlike(
    reference: np.ndarray, shifted: Sequence[_Shifted], level: float, key: Key[Array, ""]
) -> dict[str, np.ndarray]:
    """Images of the reference, and of each kind's strongest shift those that differ most surely
    from it.
    """
    rows = {"reference": reference[:SHOWN]}
    strongest = {each.kind: each for each in shifted if each.kind != "none"}
    for kind, each in strongest.items():
        x = np.asarray(each.data.x)
        test = two_sample_test(reference, x, method="classifier", key=key, level=level)
        assert isinstance(test.what, Unlike)
        if kind == "missing class":  # only the reference has what differs
            rows["missing now"] = reference[test.what.reference[:SHOWN]]
        else:
            rows[each.name] = x[test.what.new[:SHOWN]]
    return rows


def _rows(data: Dataset, rows: np.ndarray) -> Dataset:
    return take(on_host(data), rows)

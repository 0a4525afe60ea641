"""The short text of each noun, which `repr` and `print` show.

Nothing is compiled and no array is printed. Leaves may be tracers, None, or whatever else a tree
operation has put in their place; what cannot be known about them is left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import numpy as np

from jaxnet.core.recipe import STRUCTURE, Recipe, optimizer_name, resolved
from jaxnet.display import ACROSS, DOWN, number, one_line, rounded, shortened, table
from jaxnet.typing import ArrayLike

if TYPE_CHECKING:
    from jaxnet.core.run import Run
    from jaxnet.core.training import TrainState
    from jaxnet.data import Dataset, Splits, Stream
    from jaxnet.data.schema import Schema
    from jaxnet.diagnostics import Diagnosis, Estimate
    from jaxnet.models.model import Model
    from jaxnet.population.result import Population
    from jaxnet.studies.learning_curve import LearningCurve
    from jaxnet.studies.sweep import Sweep

T = TypeVar("T")
TRIAL_LINES = 5  # rows of a sweep
SIZE_LINES = 8  # rows of a learning curve
NOTE_LINES = 4  # notes of splits
ARCHITECTURES = 4  # architectures of a population
HISTORIES = ("training", "validation")


def of_run(run: "Run") -> str:
    """The model, recipe, status, and last losses and errors of a run; for many networks, those of a
    population.
    """
    if np.ndim(run.epochs):
        return _of_members([run], len(run.epochs), None)
    last = _or_none(lambda: int(run.epochs) - 1)
    ended = {part: _or_none(lambda part=part: _ended(run, part, last)) for part in HISTORIES}
    rows = [
        ("status", _or_none(lambda: run.status) or "values are not known"),
        ("data", _data(run.shape, run.schema)),
        ("recipe", " ".join(of_settings(run.recipe).split())),
        *ended.items(),
        ("lowest validation loss", _lowest(run.best)),
        ("parameters", _count(run.params)),
    ]
    return table(f"Run of {run.model}", rows)


def of_population(many: "Population") -> str:
    """The number of networks of each architecture, their status, and quantiles of their errors."""
    return _of_members(many.runs, len(many), many)


def of_sweep(found: "Sweep") -> str:
    """The chosen trial and its errors, and the trials that come next."""
    columns = list(found.table)
    names = columns[: columns.index("error")]
    order = np.lexsort((found.table["loss"], found.table["error"]))
    shown = [found.best, *(int(row) for row in order if row != found.best)][:TRIAL_LINES]
    percent = found.run.counted
    rows = [(f"trial {row}", _trial(found.table, names, row, percent)) for row in shown]
    left = len(order) - len(shown)
    return table(
        f"Sweep of {len(order)} trials over {', '.join(names)}",
        [
            (
                "chosen",
                f"trial {found.best}, the lowest validation error of trials trained to their end",
            ),
            ("test error", _or_none(lambda: _interval(found.test.error, not found.run.counted))),
            *rows,
            ("...", f"and {left} more trials in .table" if left else None),
            *(("note", note) for note in found.words),
        ],
    )


def of_splits(splits: "Splits") -> str:
    """The sizes of the parts of a data set, and what was decided while it was read."""
    parts = ("train", "validation", "test", "target_sample")
    sizes = [(part, _or_none(lambda part=part: _size(getattr(splits, part)))) for part in parts]
    about = _or_none(lambda: _data(_shape_of(splits.train), splits.schema))
    columns = (
        None if splits.columns is None else one_line([column.name for column in splits.columns])
    )
    notes = [("note", note) for note in splits.notes[:NOTE_LINES]]
    left = len(splits.notes) - NOTE_LINES
    more = f"and {left} more in .notes" if left > 0 else None
    return table(
        f"Splits of {splits.name}",
        [("data", about), *sizes, ("columns", columns), *notes, ("...", more)],
    )


def of_dataset(part: "Dataset") -> str:
    """The number and shape of examples, in one line."""
    about = _or_none(lambda: f"{len(part):,} examples: {one_line(part.x)}, {asked_of(part.schema)}")
    return shortened(f"Dataset({about or asked_of(part.schema)})")


def of_stream(part: "Stream") -> str:
    """The number and shape of examples on disk, in one line."""
    about = _or_none(lambda: f"{len(part):,} examples on disk: {_shape(part.rows.shape)}, ")
    return shortened(f"Stream({about or ''}{asked_of(part.schema)})")


def of_diagnosis(found: "Diagnosis") -> str:
    """The verdict, the errors behind it, and what was found; `print` shows the whole."""
    who = "one network" if found.members == 1 else f"{found.members} networks"
    verdict = wrap(found.verdict, ACROSS - 16)
    claimed = ", ".join(finding.code.words for finding in found.findings if finding.claimed)
    errors = [
        (f"{part} error", _interval(error, found.regression))
        for part, error in found.errors.items()
    ]
    return table(
        f"Diagnosis of {who}",
        [
            *(("" if row else "verdict", line) for row, line in enumerate(verdict[:4])),
            *errors,
            ("found", claimed or "nothing that exceeds the tolerance for certain"),
            ("more", "print(...) shows all of it"),
        ],
    )


def of_learning_curve(found: "LearningCurve") -> str:
    """The held-out error at each size of the training set."""
    regression = found.farther is not None
    shown = np.unique(np.linspace(0, len(found.sizes) - 1, SIZE_LINES).astype(int))
    rows = [
        (f"{int(found.sizes[i]):,} examples", _interval(found.measured[i], regression))
        for i in shown
    ]
    members = found.errors.shape[1]
    about = (
        f"held-out error on {found.test_examples:,} examples, {members} networks at each of "
        f"{len(found.sizes)} sizes"
    )
    return table(
        f"LearningCurve: {about}",
        [
            *rows,
            ("diverged", found.diverged or None),
            ("beyond", found.refused or "see .predict and .needed"),
        ],
    )


def of_model(model: "Model") -> str:
    """The name of a model."""
    still = ", number of outputs still open" if model.for_outputs is not None else ""
    return shortened(f"Model({one_line(model.name)}{still})")


def of_state(state: "TrainState") -> str:
    """The progress of a training, and its lowest loss so far."""
    diverged = _or_none(
        lambda: f"at step {step}" if (step := int(state.diverged_at)) >= 0 else None
    )
    rows = [
        ("epochs done", state.epoch),
        ("lowest validation loss", _lowest(state.best)),
        ("diverged", diverged),
    ]
    return table("TrainState", [*rows, ("parameters", _count(state.params))])


def of_settings(noun: Any) -> str:
    """Settings such as a Recipe, with the fields that differ from their defaults."""
    told = []
    for field in fields(noun):
        value = getattr(noun, field.name)
        default = None if field.default is MISSING else field.default
        if not (value is default or _equal(value, default)):
            told.append(f"{field.name}={_setting(field.name, value)}")
    whole = f"{type(noun).__name__}({', '.join(told)})"
    return "\n".join(
        wrap(whole, ACROSS, subsequent_indent="    ", max_lines=DOWN, placeholder=" ...")
    )


def numbers_of(recipe: Any) -> Iterator[tuple[str, np.ndarray]]:
    """(name, value) of each number in a recipe and in its augmentation."""
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if is_dataclass(value):
            yield from numbers_of(value)
        elif (
            value is not None
            and not field.metadata.get("static")
            and np.asarray(value).dtype.kind in "fiub"
        ):
            yield field.name, np.asarray(value)


def architecture(run: "Run", members: int) -> str:
    """The model, the number of networks, and the recipe of a run, whose numbers may be ranges."""
    told = [run.model if members == 1 else f"{members} x {run.model}"]
    default = resolved(Recipe(optimizer=run.recipe.optimizer), 1)
    for name in STRUCTURE:
        value = getattr(run.recipe, name)
        if name in ("optimizer", "epochs", "batch_size") or value != getattr(default, name):
            told.append(
                f"{name.replace('_', ' ')} "
                f"{optimizer_name(value) if name == 'optimizer' else value}"
            )
    for name, value in numbers_of(run.recipe):
        low, high = np.min(value), np.max(value)
        told.append(
            f"{name.replace('_', ' ')} {short(low)}" + (f" to {short(high)}" if high > low else "")
        )
    return ", ".join(told)


def endings(run: "Run") -> np.ndarray:
    """(members,) the status of each member of a run, in a word or two."""
    early = np.asarray(run.epochs) < run.recipe.epochs
    return np.select(
        [run.diverged, run.halved, early],
        ["diverged", "stopped by halving", "stopped early"],
        "finished",
    )


def last_epoch(history: ArrayLike | None, epochs: ArrayLike) -> np.ndarray:
    """The value of a measure in the last epoch of each member.

    Args:
        history: (members, epochs), or None.
        epochs: (members,) number of epochs that each was trained.

    Returns:
        (members,); NaN where there is none.
    """
    epochs = np.asarray(epochs)
    if history is None or not np.shape(history)[1]:
        return np.full(len(epochs), np.nan)
    return np.asarray(history)[np.arange(len(epochs)), np.maximum(epochs, 1) - 1]


def short(value: Any) -> str:
    """A number with four digits."""
    return rounded(float(value)) if np.isfinite(value) else "–"


def counted(endings: np.ndarray) -> str:
    """The number of members with each status, the most frequent first."""
    kinds, counts = np.unique(endings, return_counts=True)
    return ", ".join(f"{counts[i]} {kinds[i]}" for i in np.argsort(-counts, kind="stable"))


def _of_members(runs: Sequence["Run"], count: int, many: "Population | None") -> str:
    ended = _or_none(lambda: counted(np.concatenate([endings(run) for run in runs])))
    rows: list[tuple[str, object]] = [
        ("trained", _or_none(lambda run=run: architecture(run, len(run.epochs))) or run.model)
        for run in runs
    ]
    more = (
        f"and {len(rows) - ARCHITECTURES} more architectures" if len(rows) > ARCHITECTURES else None
    )
    each = _or_none(lambda: sum(leaf.size // len(leaf) for leaf in jax.tree.leaves(runs[0].params)))
    return table(
        f"{'Run' if many is None else 'Population'} of {count} network{'s' * (count != 1)}: "
        f"{ended or 'values are not known'}",
        [
            *rows[:ARCHITECTURES],
            ("...", more),
            ("data", _data(runs[0].shape, runs[0].schema)),
            *((part, _or_none(lambda part=part: _spread(runs, part))) for part in HISTORIES),
            ("parameters", each and f"{each:,} per network"),
            ("trained on", None if many is None or many.samples is None else many.samples.kind),
            ("predictions", None if many is None or many.predictions is None else "kept"),
        ],
    )


def _spread(runs: Sequence["Run"], part: str) -> str | None:
    """Median and range over the members of the last loss of a part, or of its error for classes."""
    prefix = "train" if part == "training" else part
    measure = "loss" if runs[0].classes is None else "accuracy"
    columns = [getattr(run.history, f"{prefix}_{measure}") for run in runs]
    if any(column is None for column in columns):
        return None
    values = np.concatenate(
        [last_epoch(column, run.epochs) for column, run in zip(columns, runs, strict=True)]
    )
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    shown = [values] if measure == "loss" else [100 * (1 - values)]
    low, middle, high = (float(of(shown[0])) for of in (np.min, np.median, np.max))
    form = rounded if measure == "loss" else "{:.2f}%".format
    name = "loss" if measure == "loss" else "error"
    return f"{name} {form(middle)} (median; from {form(low)} to {form(high)})"


def _ended(run: "Run", part: str, last: int | None) -> str | None:
    """Loss of a part in the last epoch, and its error for classes."""
    prefix = "train" if part == "training" else part
    loss, accuracy = (getattr(run.history, f"{prefix}_{name}") for name in ("loss", "accuracy"))
    if loss is None or last is None or last < 0:
        return None
    error = "" if accuracy is None else f", error {1 - float(np.asarray(accuracy)[last]):.2%}"
    return f"loss {float(np.asarray(loss)[last]):.4f}{error}"


def _lowest(best: Any) -> str | None:
    """The lowest validation loss, and its epoch."""
    return _or_none(lambda: f"{float(best.loss):.4f} after epoch {int(best.epoch)}")


def _trial(columns: Mapping[str, np.ndarray], names: Sequence[str], row: int, percent: bool) -> str:
    settings = ", ".join(f"{name} {one_line(columns[name][row])}" for name in names)
    error = ("{:.2%}".format if percent else rounded)(float(columns["error"][row]))
    return f"error {error} ({settings})"


def _size(part: Any) -> str | None:
    return None if part is None else f"{len(part):,} examples" + " on disk" * hasattr(part, "rows")


def _shape_of(part: Any) -> tuple[int, ...]:
    """The shape of one example, in memory or on disk."""
    return part.rows.shape if hasattr(part, "rows") else part.x.shape[1:]


def _data(shape: Sequence[int], schema: "Schema") -> str:
    return f"{_shape(shape)}, {asked_of(schema)}"


def _shape(shape: Sequence[int]) -> str:
    return f"{' x '.join(map(str, shape)) or 'single'} inputs"


def _classes(classes: Sequence[str] | None) -> str:
    return "a regression" if classes is None else f"{len(classes):,} classes"


def asked_of(schema: "Schema") -> str:
    """What is learned, and how many classes, labels or values there are."""
    if schema.targets is None:
        return _classes(schema.classes)
    what = "yes/no labels" if schema.multi_label else "values"
    names = one_line(list(schema.target_names))
    return f"{len(schema.targets):,} {what} ({names})"


def _interval(size: "Estimate", regression: bool) -> str:
    form = "{:.4f}".format if regression else "{:.2%}".format
    if size.refused is not None:
        return f"{form(size.estimate)} (no interval)"
    caution = f", {size.caution}" if size.caution else ""
    return f"{form(size.estimate)} ({form(size.low)} to {form(size.high)}{caution})"


def _setting(name: str, value: Any) -> str:
    """A value of a field as code; the range of an array."""
    if name == "optimizer":
        return repr(value) if isinstance(value, str) else optimizer_name(value)
    if value is None or isinstance(value, str | bool) or is_dataclass(value):
        return repr(value)
    if np.shape(value) == ():
        found = number(value)
        return (
            one_line(value)
            if found is None
            else str(np.float32(found) if hasattr(value, "dtype") else found)
        )
    found = _or_none(lambda: np.asarray(value))
    if found is None or found.dtype.kind not in "fiu" or not found.size:
        return one_line(value)
    return f"<{found.size} from {short(found.min())} to {short(found.max())}>"


def _equal(value: Any, default: Any) -> bool:
    """Whether a value is its default; a float32 value is compared with the default as float32."""
    mine, other = number(value), number(default)
    if mine is None or other is None:
        return isinstance(value, str) and value == default
    return mine in (other, float(np.float32(other))) or (mine != mine and other != other)


def _count(tree: Any) -> int | None:
    """The number of numbers in a tree of arrays; None if its leaves have no size."""
    return sum(getattr(leaf, "size", 0) for leaf in jax.tree.leaves(tree)) or None


def _or_none(find: Callable[[], T]) -> T | None:
    """The result of `find`; None where it fails, since a display never does."""
    try:
        return find()
    except Exception:
        return None

"""What an input and a label mean: the Schema that data sets and trained networks hold."""

import functools
import inspect
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from jaxnet import display

C = TypeVar("C")
Task = Literal["classification", "regression", "multi-label"]
WHITES = (1.0, 255.0, 65_535.0)  # what a white pixel usually is
MISSING, OTHER = "missing", "other"  # inputs of a Column beside its values, in their order


class Dates(NamedTuple):
    """What becomes of a column of dates.

    Attributes:
        first: the date from which days are counted, in the form of ISO 8601.
        parts: the inputs, in their order: of "year", "month", "weekday", "hour" and "days".
        order: the order in which dates are written: "dmy", "mdy" or "ymd".
    """

    first: str
    parts: tuple[str, ...]
    order: str


class Column(NamedTuple):
    """A column of a table: a number, or categories, each of which becomes one input that is 1 or 0,
    or dates, which become several numbers.

    Attributes:
        name: name of the column.
        categories: the categories; None for numbers and dates.
        dates: what becomes of dates; None for other columns.
        unit: the unit of numbers, such as "%" or "kg"; None where there is none.
        fill: what stands in for a gap: a number; for dates, days since the first; for categories 0,
            none of them. None where gaps are refused.
        missing: whether one more input is 1 where there is a gap, else 0.
        other: whether one more input is 1 for text that is none of the categories, else 0.
    """

    name: str
    categories: tuple[str, ...] | None = None
    dates: Dates | None = None
    unit: str | None = None
    fill: float | None = None
    missing: bool = False
    other: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """The name of each input that the column becomes."""
        parts = self.dates.parts if self.dates is not None else self.categories
        own = (self.name,) if parts is None else tuple(f"{self.name}={part}" for part in parts)
        more = [word for word in (MISSING, OTHER) if getattr(self, word)]
        return own + tuple(f"{self.name}=({word})" for word in more)


@dataclass(frozen=True)
class Schema:
    """What an input and a label mean, beyond the numbers in their arrays.

    The shape of an input is no part of it: the arrays of a data set have it, and a copy beside them
    could contradict them. Mean and scale are no part of it either: they are a Standardization.

    Attributes:
        classes: the name of each class; None for a regression and for several yes/no labels.
        pixel_max: the value of a white pixel if inputs are images, to read and draw pictures; else
            None.
        columns: the columns that the inputs were made of, if they come from a table; else None.
        label: the column of the labels, with the unit of its numbers, if they come from a table.
        grouped_by: the column by which the rows of a table were grouped; None without groups.
        missing: the words that mean a gap in a table; None for those of `jaxnet.Table`.
        fills: what stands in for NaN in each feature of an array; None where NaN is refused.
        vocabulary: 1 more than the largest id in the training set, where inputs are tokens; None
            where they are numbers.
        pad: the id with which shorter sequences of tokens are filled up; None where none are.
        targets: the columns of y where it is (examples, columns), several values or several yes/no
            labels of each example; None where each example has one label or value.
        multi_label: whether the columns of y are yes/no labels; else they are values.
    """

    classes: tuple[str, ...] | None = None
    pixel_max: float | None = None
    columns: tuple[Column, ...] | None = None
    label: Column | None = None
    grouped_by: str | None = None
    missing: tuple[str, ...] | None = None
    fills: tuple[float, ...] | None = None
    vocabulary: int | None = None
    pad: int | None = None
    targets: tuple[Column, ...] | None = None
    multi_label: bool = False

    __repr__ = display.text

    @property
    def task(self) -> Task:
        """What a network is asked for: one class of several, one or more values, or the answers to
        several yes/no questions.
        """
        if self.multi_label:
            return "multi-label"
        return "regression" if self.classes is None else "classification"

    @property
    def task_in_words(self) -> str:
        """The task as messages name it, with an article."""
        words = {"regression": "a regression", "multi-label": "a multi-label task"}
        return words.get(self.task, "a classification")

    @property
    def counted(self) -> bool:
        """Whether predictions are right or wrong, so that errors are shares; false for values."""
        return self.task != "regression"

    @property
    def outputs(self) -> int:
        """The number of outputs of a network: one for each class, label or value."""
        return self.prediction_shape[0] if self.prediction_shape else 1

    @property
    def prediction_shape(self) -> tuple[int, ...]:
        """The shape of what a network predicts for one example: (classes,) or (targets,), or () for
        a single value.
        """
        if self.targets is not None:
            return (len(self.targets),)
        return () if self.classes is None else (len(self.classes),)

    @property
    def tokens(self) -> bool:
        """Whether inputs are tokens, which are integers and are not standardized."""
        return self.vocabulary is not None

    @property
    def input_dtype(self) -> np.dtype:
        """The type in which a network gets its inputs."""
        return np.dtype(np.int32 if self.tokens else np.float32)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The name of each column of y; () where each example has one label or value."""
        return () if self.targets is None else tuple(column.name for column in self.targets)

    def other_scale(self, largest: float) -> str | None:
        """What to say where new images are on another scale than those that a network learned from.

        They are if their largest pixel is more than twice pixel_max, or if it is at most 1 where
        pixel_max is more than 10. Images that are all black are on any scale.

        Args:
            largest: the largest pixel of the new images.

        Returns:
            Both scales and what to multiply by; None if nothing is wrong.
        """
        white = self.pixel_max
        if white is None or not (largest > 2 * white or 0 < largest <= 1 < white / 10):
            return None
        own = next((each for each in WHITES if largest <= each), largest)
        return (
            f"x has pixels up to {largest:g}, but a white pixel was {white:g} where the network "
            f"learned; give x * ({white:g} / {own:g}) if {own:g} is white in x"
        )


class HasSchema:
    """A class whose instances hold a `schema`; they answer for what it says."""

    @property
    def schema(self) -> Schema:
        """What an input and a label mean."""
        raise NotImplementedError

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The name of each class; None for a regression and for several yes/no labels."""
        return self.schema.classes

    @property
    def pixel_max(self) -> float | None:
        """The value of a white pixel if inputs are images; else None."""
        return self.schema.pixel_max

    @property
    def columns(self) -> tuple[Column, ...] | None:
        """The columns that the inputs were made of, if they come from a table; else None."""
        return self.schema.columns

    @property
    def vocabulary(self) -> int | None:
        """1 more than the largest id in the training set, where inputs are tokens; else None."""
        return self.schema.vocabulary

    @property
    def pad(self) -> int | None:
        """The id with which shorter sequences of tokens are filled up; None where none are."""
        return self.schema.pad

    @property
    def targets(self) -> tuple[Column, ...] | None:
        """The columns of y where each example has several labels or values; else None."""
        return self.schema.targets

    @property
    def task(self) -> Task:
        """What a network is asked for: "classification", "regression" or "multi-label"."""
        return self.schema.task

    @property
    def counted(self) -> bool:
        """Whether predictions are right or wrong, so that errors are shares; false for values."""
        return self.schema.counted

    @property
    def outputs(self) -> int:
        """The number of outputs of a network: one for each class, label or value."""
        return self.schema.outputs


def takes_parts_of_schema(cls: type[C]) -> type[C]:
    """Let a dataclass with a field `schema` be made from the parts of one, too.

    Instances are made with `schema=`, or with its fields: `classes` and `pixel_max` stand where the
    schema stands among the fields, `columns` comes last, and the others are given by name. Where
    both are given, as `dataclasses.replace` gives them, the parts replace those of the schema.

    Args:
        cls: the dataclass, whose schema has a default.

    Returns:
        The same class.
    """
    init: Any = cls.__init__
    own = inspect.signature(init)
    arguments = [*own.parameters.values()]
    before = [*own.parameters].index("schema")
    schema = arguments[before].replace(kind=inspect.Parameter.KEYWORD_ONLY)
    part = {
        each.name: schema.replace(
            name=each.name, kind=arguments[0].kind, default=None, annotation=each.type
        )
        for each in fields(Schema)
    }
    arguments[before : before + 1] = part["classes"], part["pixel_max"]
    named = [
        each.replace(kind=schema.kind)
        for name, each in part.items()
        if name not in ("classes", "pixel_max", "columns")
    ]
    signature = own.replace(parameters=[*arguments, part["columns"], *named, schema])

    @functools.wraps(init)
    def __init__(self: Any, *values: Any, **named: Any) -> None:
        # the usual case must be cheap, since JAX makes an instance whenever it rebuilds a pytree
        if len(values) < before and part.keys().isdisjoint(named):
            return init(self, *values, **named)
        given = signature.bind_partial(self, *values, **named).arguments
        parts = {name: given.pop(name) for name in part if name in given}
        given["schema"] = replace(given.get("schema", Schema()), **parts)
        return init(**given)

    __init__.__signature__ = signature  # pyrefly: ignore[missing-attribute]
    cls.__init__ = __init__
    return cls

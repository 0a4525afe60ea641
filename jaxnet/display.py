"""How names and nouns are displayed: escaped text, short tables, and which module draws which noun.

The classes come first in the order of packages and their drawings last. So a class knows its
drawing by name only, and the module is imported at the first display. Nothing here computes
anything about a noun.
"""

import importlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from textwrap import wrap
from typing import Any

# Control characters, line separators, marks that reverse the direction of text, lone surrogates.
ESCAPED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)

# For each class, the function that draws it as HTML in a notebook, and as short text.
NOTEBOOK = {
    "Diagnosis": "jaxnet.report.notebook:of_diagnosis",
    "Population": "jaxnet.report.notebook:of_population",
    "Run": "jaxnet.report.notebook:of_run",
}
TEXT = {
    "Augmentation": "jaxnet.report.text:of_settings",
    "Dataset": "jaxnet.report.text:of_dataset",
    "Diagnosis": "jaxnet.report.text:of_diagnosis",
    "Estimate": "jaxnet.report.text:of_settings",
    "LearningCurve": "jaxnet.report.text:of_learning_curve",
    "Model": "jaxnet.report.text:of_model",
    "Plan": "jaxnet.report.text:of_settings",
    "Population": "jaxnet.report.text:of_population",
    "Recipe": "jaxnet.report.text:of_settings",
    "Run": "jaxnet.report.text:of_run",
    "Schema": "jaxnet.report.text:of_settings",
    "Splits": "jaxnet.report.text:of_splits",
    "Stream": "jaxnet.report.text:of_stream",
    "Sweep": "jaxnet.report.text:of_sweep",
    "TrainState": "jaxnet.report.text:of_state",
}

ACROSS, DOWN = 80, 15  # columns of a text, and lines of a short one
MOST_LINES = 3  # lines of one value at most
SHOWN_ITEMS = 6  # items of a sequence that a short text names


def html(noun: object) -> str:
    """The HTML that a notebook shows for a noun."""
    draw = _drawing(noun, NOTEBOOK)
    assert draw is not None, f"{type(noun).__name__} has no HTML"
    return draw(noun)


def text(noun: object) -> str:
    """The text that `repr` and `print` show: it fits a screen, holds no arrays and compiles
    nothing.

    Args:
        noun: an object whose leaves may be tracers, or whatever else a tree operation has put
            there.

    Returns:
        The text; "ClassName(...)" where nothing can be known.
    """
    try:
        draw = _drawing(noun, TEXT)
        return table(type(noun).__name__, _fields(noun)) if draw is None else draw(noun)
    except Exception:  # a noun whose leaves are not what its class says
        return f"{type(noun).__name__}(...)"


def table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """A title, and below it each row with its name and its value in a few words.

    Args:
        title: what is shown.
        rows: (name, value) pairs. A row whose value is None is left out.

    Returns:
        At most DOWN lines of at most ACROSS columns.
    """
    told = [(visible(name), one_line(value)) for name, value in rows if value is not None]
    width = max((len(name) for name, _ in told), default=0)
    lines = [shortened(visible(title))]
    for name, value in told:
        parts = wrap(
            value, max(ACROSS // 2, ACROSS - width - 4), max_lines=MOST_LINES, placeholder=" ..."
        )
        lines += [
            shortened(f"  {name if i == 0 else '':{width}}  {part}")
            for i, part in enumerate(parts or [""])
        ]
    return "\n".join(lines if len(lines) <= DOWN else [*lines[: DOWN - 1], "  ..."])


def aligned(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: Sequence[int]) -> str:
    """A table as text, in which columns of words are wrapped so that it is ACROSS wide at most.

    Args:
        head: headings of the columns.
        rows: the cells.
        words: numbers of the columns of words; the others stand right.

    Returns:
        The lines.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(head):
        of_words = number in words
        justify = "left" if of_words else "right"
        drawn.add_column(visible(name), justify=justify, no_wrap=not of_words)
    for row in rows:
        drawn.add_row(*(Text(visible(cell)) for cell in row))
    console = Console(width=ACROSS, color_system=None)
    with console.capture() as shown:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in shown.get().splitlines())


def one_line(value: Any) -> str:
    """A value in one line: numbers and text as they are, an array by type and shape."""
    if isinstance(value, str):
        return visible(value)
    if value is None:
        return "None"
    if (found := number(value)) is not None:
        return (
            rounded(found, 6)
            if isinstance(found, float)
            else str(found)
            if isinstance(found, bool)
            else f"{found:,}"
        )
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, Mapping):
        return _listed(
            [f"{name}: {one_line(each)}" for name, each in list(value.items())[:SHOWN_ITEMS]],
            len(value),
        )
    if isinstance(value, Sequence) and not hasattr(value, "_fields"):
        return _listed([one_line(each) for each in value[:SHOWN_ITEMS]], len(value))
    if isinstance(value, type) or callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return visible(str(value).partition("\n")[0])


def number(value: Any) -> float | int | bool | None:
    """A Python number, or the number that an array without axes holds; None if it cannot be
    known.
    """
    if isinstance(value, int | float):
        return value
    if getattr(value, "shape", None) != ():
        return None
    try:
        found = value.item()
    except Exception:  # a tracer, a deleted array, or one that other processes hold
        return None
    return found if isinstance(found, int | float) else None


def rounded(value: float, digits: int = 4) -> str:
    """A number with so many significant digits; thousands have commas.

    Args:
        value: the number.
        digits: how many digits.

    Returns:
        Such as "38,470", "3.142", "1.2e-05" or "nan".
    """
    short = f"{value:.{digits}g}"
    found = float(short)
    if not 1e3 <= abs(found) < 1e15:
        return short
    return f"{found:,.0f}" if found.is_integer() else f"{found:,}"


def shortened(line: str) -> str:
    """A line of at most ACROSS columns, with an ellipsis where something was cut."""
    return line if len(line) <= ACROSS else f"{line[: ACROSS - 3]}..."


def visible(text: object) -> str:
    """The text with invisible characters escaped as Python writes them, so that a name stays one
    line.
    """
    return ESCAPED.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def show_record(record: logging.LogRecord) -> bool:
    """A filter for a logger that makes its messages visible."""
    record.msg, record.args = visible(record.getMessage()), None
    return True


logging.getLogger("jaxnet").addFilter(show_record)


def _drawing(noun: object, drawings: Mapping[str, str]) -> Callable[[Any], str] | None:
    """The drawing that a table names for the class of a noun or for one of its bases, or None."""
    known = [drawings[each.__name__] for each in type(noun).__mro__ if each.__name__ in drawings]
    if not known:
        return None
    module, _, function = known[0].partition(":")
    return getattr(importlib.import_module(module), function)


def _fields(noun: Any) -> list[tuple[str, object]]:
    """(name, value) of each field that a dataclass shows, or of each of a named tuple."""
    names = (
        [each.name for each in fields(noun) if each.repr] if is_dataclass(noun) else noun._fields
    )
    return [(name, getattr(noun, name, None)) for name in names]


def _listed(items: Sequence[str], count: int) -> str:
    """The first items of a sequence, and how many there are where these are not all."""
    more = f", ... ({count:,} in all)" if count > len(items) else ""
    return ", ".join(items) + more if items else "none"

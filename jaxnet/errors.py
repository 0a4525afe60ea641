"""The exception that jaxnet raises for input it cannot use, the suggestions in its message, and the
warnings for a name that has changed and for what a machine lacks.

The checks here look at one plain value each; arrays are checked in `jaxnet.arrays`.
"""

import functools
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar

from jaxnet.display import visible

T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., Any])
LISTED = 30  # names that a message lists at most
LONG = 100  # letters of a value that a message shows at most
ALREADY_SAID: set[str] = set()  # the warnings about the machine that this process has logged

logger = logging.getLogger("jaxnet")


class InputError(ValueError):
    """Input that cannot be used; the message names the value, its place and the fix in one line."""

    def __init__(self, message: object) -> None:
        super().__init__(visible(message))


def renamed(**names: str) -> Callable[[C], C]:
    """Let a function or a class still answer to former names.

    A function takes a keyword by its former name too. So does a class when an instance is made,
    also by `dataclasses.replace`, and its instances have an attribute of that name. Each use warns.

    Args:
        **names: today's names by former ones.

    Returns:
        A decorator, which stands above that of a dataclass.
    """

    def decorated(target: C) -> C:
        if not isinstance(target, type):
            return _renamed_keywords(target, names)
        cls: Any = target
        if not issubclass(cls, tuple):
            cls.__init__ = _renamed_keywords(cls.__init__, names)
        for old, new in names.items():
            setattr(cls, old, _renamed_attribute(old, new))
        return target

    return decorated


def current_names(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Warn of former names, and replace them by today's.

    Args:
        given: values by name. Where both names of one thing are given, as `dataclasses.replace`
            gives them, the value under the former name counts, since it is the one that was asked
            for.
        names: today's names by former ones.

    Returns:
        The values by today's names.
    """
    former_ones = [name for name in given if name in names]
    for name in former_ones:
        _warn_renamed(name, names[name], 4)
    return {name: value for name, value in given.items() if name not in names} | {
        names[name]: given[name] for name in former_ones
    }


def former(module: str, **names: str) -> Callable[[str], Any]:
    """Make the `__getattr__` of a module that still answers to former names.

    Args:
        module: its `__name__`.
        **names: today's names by former ones.

    Returns:
        A function of a name, which warns and returns what the module has by today's name.

    Raises:
        AttributeError: the function raises it for every other name.
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn_renamed(name, names[name], 3)
        return getattr(sys.modules[module], names[name])

    return __getattr__


def _renamed_keywords(function: Any, names: Mapping[str, str]) -> Any:
    @functools.wraps(function)
    def wrapper(*values: Any, **named: Any) -> Any:
        # the usual case must be cheap, since JAX makes an instance whenever it rebuilds a pytree
        if not names.keys().isdisjoint(named):
            named = current_names(named, names)
        return function(*values, **named)

    return wrapper


def _renamed_attribute(old: str, new: str) -> property:
    def get(self: Any) -> Any:
        _warn_renamed(old, new, 3)
        return getattr(self, new)

    return property(get, doc=f"The former name of `{new}`.")


def _warn_renamed(old: str, new: str, level: int) -> None:
    warnings.warn(f"{old} is now called {new}", DeprecationWarning, stacklevel=level)


def warn_of_machine(words: str) -> None:
    """Log a warning about the machine or its software, unless this process has logged it before.

    What is said of a machine stays true of it, so a second time it would only be noise. Warnings
    about data, arguments or networks are logged each time.

    Args:
        words: the warning.
    """
    if words not in ALREADY_SAID:
        ALREADY_SAID.add(words)
        logger.warning("%s", words)


def check_known(what: str, word: object, known: Iterable[object]) -> None:
    """Refuse a word that is not among the known ones.

    Args:
        what: what the word names, for the message.
        word: what was given.
        known: the words that are allowed.

    Raises:
        InputError: it suggests the nearest known word.
    """
    known = tuple(known)
    if not any(word is each or (isinstance(word, str) and word == each) for each in known):
        raise InputError(
            f"unknown {what} {shown(word)}{near(word if isinstance(word, str) else '', known)}"
        )


def with_known_words(**synonyms: str) -> Callable[[type[T]], type[T]]:
    """Make a dataclass raise InputError for a keyword that is not a field of it.

    Args:
        **synonyms: fields by the names that other libraries give them, which the message suggests.

    Returns:
        A decorator for the class.
    """

    def decorated(cls: type[T]) -> type[T]:
        init: Any = cls.__init__

        @functools.wraps(init)
        def __init__(self: Any, *values: Any, **named: Any) -> None:
            try:
                init(self, *values, **named)
            except (
                TypeError
            ):  # checked only after an error, since JAX calls this whenever it rebuilds a pytree
                known = inspect.signature(cls).parameters
                for word in named:
                    if word not in known:
                        cure = (
                            f"; did you mean {synonyms[word]!r}?"
                            if word in synonyms
                            else near(word, known)
                        )
                        raise InputError(f"{cls.__name__} has no {word!r}{cure}") from None
                raise

        cls.__init__ = __init__
        return cls

    return decorated


def check_kind(name: str, value: object, kind: type | UnionType, cure: str) -> None:
    """Refuse a value of another type.

    Args:
        name: name of the argument.
        value: what was given.
        kind: the type or types that are allowed.
        cure: what to give instead, for the message.

    Raises:
        InputError: for another type.
    """
    if not isinstance(value, kind):
        raise InputError(f"{name} is {shown(value)}; give {cure}")


def check_whole(name: str, value: object, least: int = 1, *, most: int | None = None) -> None:
    """Refuse anything but a whole number within bounds.

    Args:
        name: name of the argument.
        value: what was given.
        least: the smallest number that is allowed.
        most: the largest number that is allowed; None for no limit.

    Raises:
        InputError: for anything else.
    """
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if number is None or number < least or (most is not None and number > most):
        bound = f"of at least {least}" if most is None else f"from {least} to {most:,}"
        raise InputError(f"{name} is {shown(value)}; give a whole number {bound}")


def check_number(name: str, value: Any) -> Any:
    """Return a value that is one real number.

    Args:
        name: name of the argument.
        value: what was given.

    Returns:
        The value.

    Raises:
        InputError: for anything else.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise InputError(f"{name} is {shown(value)}; give a number")
    return value


def check_text(name: str, value: object, cure: str) -> None:
    """Refuse anything but text that is not empty.

    Args:
        name: name of the argument.
        value: what was given.
        cure: what to give instead, for the message.

    Raises:
        InputError: for anything else.
    """
    if not isinstance(value, str) or not value:
        raise InputError(f"{name} is {shown(value)}; give {cure}")


def check_path(name: str, value: object) -> None:
    """Refuse anything but a path, with InputError."""
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise InputError(f"{name} is {shown(value)}; give a path, as text or pathlib.Path")


def shown(value: Any) -> str:
    """A value as a message shows it: plain values as they are, others by their type or shape."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if hasattr(value, "shape") and hasattr(value, "dtype") and getattr(value, "ndim", 0):
        return f"an array of shape {tuple(value.shape)} and type {value.dtype}"
    kind = type(value)
    if kind.__module__ in ("builtins", "pathlib", "numpy") and not hasattr(value, "__qualname__"):
        text = repr(value)
        return text if len(text) <= LONG else f"{text[:LONG]}..."
    if hasattr(value, "__qualname__"):
        return f"the function {value.__qualname__}"
    return f"a{'n' * (kind.__name__[0] in 'AEIOU')} {kind.__name__}"


def near(word: object, known: Iterable[object], words: str = "known are") -> str:
    """The end of a message about an unknown word, which suggests the nearest known one.

    Args:
        word: the unknown word.
        known: the known words; at most LISTED of them are listed.
        words: what introduces the list.

    Returns:
        Such as "; did you mean 'adam'? Known are sgd, adam", or "; known are sgd, adam".
    """
    names = [str(name) for name in known]
    listed = (
        f"{words} {', '.join(names[:LISTED]) or 'none'}"
        + f" and {len(names) - LISTED} more" * (len(names) > LISTED)
    )
    found = nearest(str(word), names)
    return (
        f"; {listed}"
        if found is None
        else f"; did you mean {found!r}? {listed[0].upper()}{listed[1:]}"
    )


def near_path(path: Path) -> str:
    """The end of a message about a path that does not exist.

    Args:
        path: the missing path.

    Returns:
        Such as "; did you mean 'runs/a'?", or which parent folder is missing, or nothing.
    """
    try:
        missing = next(each for each in (*reversed(path.parents), path) if not each.exists())
        found = nearest(missing.name, [each.name for each in missing.parent.iterdir()])
    except (OSError, StopIteration):
        return ""
    if found is not None:
        return f"; did you mean {str(missing.with_name(found) / path.relative_to(missing))!r}?"
    return "" if missing == path else f"; there is no folder {missing}"


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name that is most similar to a word, ignoring case; None where none is similar."""
    import difflib

    folded = {name.casefold(): name for name in names if name != word}
    found = difflib.get_close_matches(word.casefold(), folded, n=1)
    return folded[found[0]] if found else None

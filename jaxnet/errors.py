"""What jaxnet raises when something from outside cannot be used, and what the message suggests instead."""

from collections.abc import Iterable
from pathlib import Path

from .escaping import visible

LISTED = 30  # names that a message lists at most


class InputError(ValueError):
    """Bad input, refused at the door: the message names the value, the place and the cure, in one line."""

    def __init__(self, message: object) -> None:
        super().__init__(visible(message))


def check_known(what: str, word: object, known: Iterable[object]) -> None:
    """Raises InputError, which suggests the nearest, where a word is none of the known ones."""
    known = tuple(known)
    if word not in known:
        raise InputError(f"unknown {what} {word!r}{near(word, known)}")


def near(word: object, known: Iterable[object], words: str = "known are") -> str:
    """How a message ends after an unknown word: "; did you mean 'adam'? Known are sgd, adam", or "; known are sgd, adam"."""
    names = [str(name) for name in known]
    listed = f"{words} {', '.join(names[:LISTED]) or 'none'}" + f" and {len(names) - LISTED} more" * (len(names) > LISTED)
    found = nearest(str(word), names)
    return f"; {listed}" if found is None else f"; did you mean {found!r}? {listed[0].upper()}{listed[1:]}"


def near_path(path: Path) -> str:
    """How a message ends after a path that does not exist: "; did you mean 'runs/a'?", or what of it is missing, or nothing."""
    try:
        missing = next(each for each in (*reversed(path.parents), path) if not each.exists())
        found = nearest(missing.name, [each.name for each in missing.parent.iterdir()])
    except (OSError, StopIteration):
        return ""
    if found is not None:
        return f"; did you mean {str(missing.with_name(found) / path.relative_to(missing))!r}?"
    return "" if missing == path else f"; there is no folder {missing}"


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name that is most like a word, whatever its case; None where none is like it."""
    import difflib

    folded = {name.casefold(): name for name in names if name != word}
    found = difflib.get_close_matches(word.casefold(), folded, n=1)
    return folded[found[0]] if found else None

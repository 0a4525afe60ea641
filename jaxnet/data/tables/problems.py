"""What makes a table unusable, and options with which it can be used all the same."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxnet.errors import InputError


class Problem(NamedTuple):
    """One reason why a table cannot be used.

    Attributes:
        why: the column, the place and what to do, in words.
        cure: options of `load`, or fields of its Table, that avoid it; None where only the file
            can be changed.
    """

    why: str
    cure: Mapping[str, Any] | None


class Refused(InputError):
    """A column that cannot be used; it holds the Problem."""

    def __init__(self, why: str, **cure: Any) -> None:
        super().__init__(why)
        self.problem = Problem(why, cure or None)


class Unusable(InputError):
    """A table that cannot be used; it holds all problems that were found, and the label, or None
    where it is not known yet.
    """

    def __init__(self, where: object, problems: Sequence[Problem], label: str | None) -> None:
        each = [problem.why for problem in problems]
        if len(each) > 1:
            numbered = "; ".join(f"({number + 1}) {why}" for number, why in enumerate(each))
            each = [f"{len(problems)} problems: {numbered}"]
        super().__init__(f"{where}: {each[0]}")
        self.problems, self.label = tuple(problems), label

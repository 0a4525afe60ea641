"""What each remedy gained in problems with a known cause, measured once by
experiments/benchmarks/remedies.py; a test compares this table with the study's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxnet.diagnostics.findings import Remedy

# By code of the finding and key of the remedy: in how many simulated problems it helped, of how
# many, and by how many points of EFFECTS in the median where it helped.
TABLE: dict[str, dict[str, tuple[int, int, float]]] = {
    "high_bias": {
        "epochs multiply 2": (9, 14, 4.5),
        "learning_rate multiply 3": (9, 14, 4.9),
        "hidden set 128 64": (3, 3, 20.9),
        "hidden multiply 2": (11, 11, 6.6),
        "dropout set None": (3, 3, 10.1),
        "weight_decay set None": (4, 4, 20.4),
    },
    "high_variance": {
        "train add as many more": (5, 5, 3.7),
        "weight_decay set 0.01": (0, 5, 0.0),
        "dropout set 0.2": (0, 5, 0.0),
        "patience set 5": (0, 5, 0.0),
        "hidden multiply 0.5": (0, 5, 0.0),
    },
    "overconfident": {
        "label_smoothing set 0.1": (1, 1, 8.3),
        "patience set 5": (1, 1, 8.5),
        "weight_decay set 0.01": (0, 1, 0.0),
    },
    "not_finished": {"epochs multiply 2": (6, 6, 15.7), "learning_rate multiply 3": (6, 6, 21.7)},
    "label_noise": {
        "train set labels checked": (3, 3, 6.3),
        "label_smoothing set 0.1": (1, 3, 2.4),
        "patience set 5": (3, 3, 5.6),
    },
}
# Findings whose remedies were measured as those of another one.
ALIKE = {
    "more_data_will_not_help": "high_bias",
    "more_data_helps": "high_variance",
    "shift": "mismatch",
}
# What a remedy lowers is the error, but for these findings; and what that does, in words.
MEASURES = {"overconfident": "overconfidence"}
EFFECTS = {
    "error": "error {:.1f} points lower",
    "overconfidence": "confidence {:.1f} points closer to accuracy",
}
# What stands beside remedies: they are words until somebody trains them.
NOT_TRIED = (
    "Not tried on your data: jaxnet advise trains changes of the network and its training and "
    "reports what each one gains; jaxnet learning-curve measures what more examples gain."
)
SIMULATED = (
    "Simulated problems are small data sets and training runs, each with one deliberate fault, "
    "used to measure how much each remedy helps."
)


def key(remedy: "Remedy") -> str:
    """The name of a remedy in the table, which stays where its words change."""
    return f"{remedy.field} {remedy.how} {remedy.value}"


def with_gains(code: str, remedies: Sequence["Remedy"]) -> tuple["Remedy", ...]:
    """Add to remedies what they gained in simulated problems.

    Args:
        code: the code of the finding.
        remedies: the remedies.

    Returns:
        The remedies, with what was measured of each.
    """
    found = TABLE.get(ALIKE.get(code, code), {})

    def measured(remedy: "Remedy") -> "Remedy":
        if key(remedy) not in found:
            return remedy
        helped, cases, gain = found[key(remedy)]
        of = MEASURES.get(code, "error")
        return replace(remedy, helped=helped, cases=cases, gain=gain / 100, gain_of=of)

    return tuple(map(measured, remedies))


def by_gain(remedies: Sequence["Remedy"]) -> tuple["Remedy", ...]:
    """Sort remedies by the share of simulated problems in which they helped, then by the median
    gain; those that were not measured keep their order and come last.
    """

    def rank(remedy: "Remedy") -> tuple[float, float]:
        if remedy.cases is None or remedy.helped is None or remedy.gain is None:
            return 1.0, 0.0
        return -remedy.helped / remedy.cases, -remedy.gain

    return tuple(sorted(remedies, key=rank))


def promising(remedies: Sequence["Remedy"]) -> tuple["Remedy", ...]:
    """The remedies that helped in some problem with a known cause, or were not measured there; all
    of them where none helped.
    """
    return tuple(each for each in remedies if each.helped != 0) or tuple(remedies)


def not_tried(cases: Iterable[int | None]) -> str:
    """Say that remedies were not tried on the data at hand, and where their numbers are from.

    Args:
        cases: of each remedy, in how many simulated problems it was measured; None for none.
    """
    return f"{NOT_TRIED} {SIMULATED}" if any(cases) else NOT_TRIED


def told(
    words: str,
    helped: int | None,
    cases: int | None,
    gain: float | None,
    gain_of: str | None = None,
) -> str:
    """Say what a remedy is, and how it did in simulated problems.

    Args:
        words: the remedy in words.
        helped: in how many of these problems it helped; None where that was not measured.
        cases: their number.
        gain: the median gain where it helped, as a fraction.
        gain_of: what it lowered, a key of EFFECTS; by default the error.
    """
    if helped is None or cases is None:
        return words
    if not helped or gain is None:
        one = cases == 1
        of = "the one simulated problem" if one else f"any of {cases} simulated problems"
        return f"{words} (did not help in {of})"
    effect = EFFECTS[gain_of or "error"].format(100 * gain)
    if cases == 1:
        return f"{words} (helped in the one simulated problem: {effect})"
    return f"{words} (helped in {helped} of {cases} simulated problems, median: {effect})"

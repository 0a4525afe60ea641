"""Has the data drifted since the network was trained? Which shifts would be noticed, with how many
examples, and by how much do they raise the error?

    jaxnet shift --dataset digits           trains, shifts the test set, and tests with batches
                                            of every size
    jaxnet shift --run DIR --new FILE.npz   is this batch still like the held-out data of that run?
                                            One line of JSON; exit status 0: no change is shown,
                                            3: shifted, 2: bad input; --labels FILE.csv gives labels
                                            of 50 to 200 of its rows, for an error that holds
                                            whatever has changed

Held-out data are the test set, and the validation set where it did not choose the epoch. A run of
this command keeps its outputs on them in reference.npz; for any other run they are computed from
the data set, which must be found again (--data-dir).
"""

import sys
from collections.abc import Sequence
from typing import Any

import jax

from jaxnet.cli import runner
from jaxnet.cli.monitor import compare_file, write_reference
from jaxnet.cli.options import ShiftOptions
from jaxnet.cli.outputs import Setup, report
from jaxnet.report import tables
from jaxnet.studies.shift import study_shift


def work(setup: Setup) -> dict[str, Any]:
    """Train, then shift one half of the test set and compare it with the other."""
    options = setup.options
    assert isinstance(options, ShiftOptions)
    with runner.training(setup) as (progress, began):
        found = study_shift(
            setup.model, setup.splits, setup.recipe, jax.random.key(options.seed),
            tolerance=options.tolerance, repetitions=options.repetitions, level=options.level,
            out=setup.out, progress=progress,
        )  # fmt: skip
    write_reference(setup.out, found.reference)
    from jaxnet.report import figures

    figures.shifts(found, setup.out / "figures")
    more = {"verdict": found.verdict, "shift": found.summary(), "resumed": began}
    return report(setup, setup.model, found.run, more, "\n".join(tables.shift(found)))


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    words = sys.argv[1:] if arguments is None else arguments
    if any(word.split("=")[0] in ("--run", "--new") for word in words):
        return compare_file(words, program)
    return runner.main(
        "shift",
        ShiftOptions(),
        __doc__,
        began=began,
        work=work,
        arguments=arguments,
        program=program,
    )

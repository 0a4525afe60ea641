"""Would more data help? How the error falls as the training set grows, and a forecast.

    jaxnet learning-curve
    jaxnet learning-curve --dataset mnist --epochs 2 --at 480000 --target-error 0.02

Trains networks on growing random parts of the training set, all for the same number of steps.
Predicts the error with more examples, with intervals that allow for the unknown shape of the curve,
and how many examples it takes to reach --target-error.
"""

from collections.abc import Sequence
from typing import Any

import jax

from jaxnet.cli import runner
from jaxnet.cli.options import LearningCurveOptions
from jaxnet.cli.outputs import MEMBERS, Setup, hardest, report, training_members
from jaxnet.report import tables
from jaxnet.studies.learning_curve import learning_curve


def work(setup: Setup) -> dict[str, Any]:
    """Train all networks as one population, extrapolate, and write."""
    options, splits = setup.options, setup.splits
    assert isinstance(options, LearningCurveOptions)
    with training_members(setup) as (progress, began):
        curve = learning_curve(
            setup.model, splits, setup.recipe, jax.random.key(options.seed),
            sizes=options.sizes or None, members=options.members, seconds=options.seconds,
            out=setup.out / MEMBERS, progress=progress,
        )  # fmt: skip
    at = options.at or curve.farther_sizes
    reach, findings = curve.predict(at), curve.findings(options.tolerance)
    needed = curve.needed(options.target_error) if options.target_error else None
    words = [finding.evidence for finding in findings] if needed is None else [str(needed)]
    from jaxnet.report import figures

    path = setup.out / "figures/learning_curve.png"
    figures.learning_curve(curve, path, target=options.target_error or 0.0)
    now = f"the error is {curve.measured[-1]} with {curve.sizes[-1]:,} examples"
    more: dict[str, Any] = {
        "verdict": words[0] if words else now,
        "findings": findings,
        "members": curve.errors.shape[1],
        "learning_curve": curve.summary() | {"at": at, "predicted": reach, "needed": needed},
        "resumed": began,
    }
    if splits.classes is not None:
        assert curve.networks.predictions is not None
        largest = curve.networks.predictions.test[len(curve.sizes) - 1 :: len(curve.sizes)]
        more["hard_examples"] = hardest(largest, splits)
    lines = [*tables.learning_curve(curve, at, reach), *words, *curve.notes]
    return report(setup, setup.model, curve.networks[len(curve.sizes) - 1], more, "\n".join(lines))


def main(arguments: Sequence[str] | None, *, program: str, began: float) -> int:
    """Runs the command. See `jaxnet.cli.commands.run`."""
    return runner.main(
        "learning_curve",
        LearningCurveOptions(),
        __doc__,
        began=began,
        work=work,
        arguments=arguments,
        program=program,
    )

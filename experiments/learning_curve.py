"""Would more data help? How the error falls as the training set grows, and where it is going.

    python -m experiments.learning_curve
    python -m experiments.learning_curve --dataset mnist --epochs 2 --at 480000 --target-error 0.02

Trains networks on growing random parts of the training set, all equally many steps, as one
population. Says what the error will be with more examples, with intervals that carry the doubt
about the curve's form, and how many it takes to reach --target-error.
"""

import sys
from typing import Any

import jax
import numpy as np

from experiments import BEGAN
from jaxnet.cli.options import LearningCurveOptions
from jaxnet.cli.outputs import MEMBERS, Setup, hardest, report, training_members
from jaxnet.cli.runner import main
from jaxnet.diagnostics import Estimate
from jaxnet.diagnostics.symptoms import FACTORS, more_data
from jaxnet.studies.learning_curve import LearningCurve, learning_curve


def work(setup: Setup) -> dict[str, Any]:
    """Train all networks as one population, extrapolate, and write."""
    options, splits = setup.options, setup.splits
    assert isinstance(options, LearningCurveOptions)
    with training_members(setup) as (watch, began):
        curve = learning_curve(
            setup.model,
            splits,
            setup.recipe,
            jax.random.key(options.seed),
            sizes=options.sizes or None,
            members=options.members,
            out=setup.out / MEMBERS,
            watch=watch,
        )
    at = options.at or tuple(int(factor * curve.sizes[-1]) for factor in reversed(FACTORS))
    reach = curve.predict(at)
    needed = curve.needed(options.target_error) if options.target_error > 0 else None
    findings = (
        ()
        if curve.farther is not None or curve.diverged
        else (more_data(curve.curve, curve.measured[-1], options.tolerance),)
    )
    words = [finding.evidence for finding in findings] if needed is None else [str(needed)]
    from jaxnet.report import figures

    figures.learning_curve(
        curve, setup.out / "figures/learning_curve.png", target=options.target_error
    )
    more: dict[str, Any] = {
        "verdict": words[0]
        if words
        else f"the error is {curve.measured[-1]} with {curve.sizes[-1]:,} examples",
        "findings": findings,
        "members": options.members,
        "learning_curve": {
            "sizes": curve.sizes,
            "errors": curve.errors,
            "training_errors": curve.training,
            "measured": curve.measured,
            "diverged": curve.diverged,
            "at": at,
            "predicted": reach,
            "needed": needed,
        },
        "resumed": began,
    }
    if splits.classes is not None:
        assert curve.networks.predictions is not None
        largest = curve.networks.predictions.test[len(curve.sizes) - 1 :: len(curve.sizes)]
        more["hard_examples"] = hardest(largest, np.asarray(splits.test.y))
    lines = table(curve, at, reach) + words
    return report(setup, setup.model, curve.networks[len(curve.sizes) - 1], more, "\n".join(lines))


def table(curve: LearningCurve, at: tuple[int, ...], reach: tuple[Estimate, ...]) -> list[str]:
    """The numbers, a line a size."""
    lines = [f"{'examples':>12}{'error':>28}{'while training':>18}"]
    for n, size, training in zip(curve.sizes, curve.measured, curve.training, strict=True):
        lines.append(f"{n:>12,}{size!s:>28}{np.nanmean(training):>18.4f}")
    if curve.diverged:
        lines.append(
            f"beware: {curve.diverged} of {curve.errors.size} networks diverged and are left out"
        )
    for n, size in zip(at, reach, strict=True):
        lines.append(
            f"{n:>12,}{size!s:>28}{'foreseen':>18}"
            if size.refused is None
            else f"{n:>12,}  cannot be foreseen: {size.refused}"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main("learning_curve", LearningCurveOptions(), __doc__, began=BEGAN, work=work))

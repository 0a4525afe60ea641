"""The figure of an advice: what each change gains."""

from pathlib import Path

from matplotlib.figure import Figure

from jaxnet.report.figures.axes import INK, TRAIN, VALIDATION, label_axes, literal, save
from jaxnet.studies.advice import Advice

LOSSES = 2  # the axis goes so many times as far to losses as to gains


def gains(found: Advice, path: Path) -> None:
    """Draw the gain of each change with its interval, the largest at the top, and a line at no
    gain.

    Losses far larger than the gains would leave no room for these: an arrow at the border stands
    for them.

    Args:
        found: the advice.
        path: the file.
    """
    rows = [
        (f"{number}: {each.name}" if len(found.rounds) > 1 else each.name, each, one.leader)
        for number, one in enumerate(found.rounds, 1)
        for each in one.tried
    ]
    rows = sorted(rows, key=lambda row: row[1].gain.estimate)
    figure = Figure(figsize=(7.2, 1.0 + 0.32 * len(rows)))
    axes = figure.subplots()
    figure.subplots_adjust(0.42, 0.55 / figure.get_figheight(), 0.98, 0.97)
    unit, factor = found.unit, found.unit.factor
    largest = max(factor * each.gain.high for _, each, _ in rows)
    border = max(min(factor * each.gain.low for _, each, _ in rows), -LOSSES * largest)
    for place, (_, each, leader) in enumerate(rows):
        size, color = each.gain, VALIDATION if each is leader else TRAIN
        limits = [max(border, factor * size.low), max(border, factor * size.high)]
        axes.plot(limits, [place, place], color=color, linewidth=2.5, alpha=0.5)
        point = max(border, factor * size.estimate)
        mark = "o" if factor * size.estimate >= border else "<"
        axes.plot([point], [place], mark, color=color, markersize=5, clip_on=False)
    axes.set_xlim(border, None)
    axes.axvline(0, color=INK, linestyle=":", linewidth=1)
    axes.set_yticks(range(len(rows)), [literal(name) for name, _, _ in rows], fontsize=8)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    label_axes(axes, f"reduction of the {unit.noun} on unseen examples, {unit.words}", "")
    save(figure, path)

"""HTML that a notebook shows for a Diagnosis, a Population or a Run. JAX computes nothing for it.

Colors are those of the notebook, light or dark, and pictures are embedded.
"""

import io
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

from jaxnet.core.run import Run
from jaxnet.diagnostics import Diagnosis, Estimate
from jaxnet.diagnostics.measured import not_tried
from jaxnet.diagnostics.text import interval_notes, networks, part_names
from jaxnet.population.result import Population
from jaxnet.report import figures
from jaxnet.report.figures.axes import DECADES, DPI, TRAIN, VALIDATION
from jaxnet.report.html.document import png, text
from jaxnet.report.text import architecture, counted, endings, last_epoch, numbers_of, short
from jaxnet.stats.bias_variance import TERMS

MOST_MEMBERS = 6  # members that a table shows
MOST_CURVES = 200  # members whose curves are drawn
QUANTILES = {
    "lowest": 0.0,
    "lower quartile": 0.25,
    "median": 0.5,
    "upper quartile": 0.75,
    "highest": 1.0,
}

FRAME = """<div class="jaxnet">
<style>
.jaxnet {{ color: inherit; max-width: 60rem; line-height: 1.4; }}
.jaxnet .verdict {{ font-size: 1.1em; padding-left: .7em; border-left: .25em solid #0072b2; }}
.jaxnet .wide {{ overflow-x: auto; }}
.jaxnet table {{ border-collapse: collapse; margin: .5em 0; color: inherit; }}
.jaxnet caption {{ caption-side: top; text-align: left; color: inherit; }}
.jaxnet th, .jaxnet td {{ padding: .15em .8em .15em 0; text-align: right;
  border-bottom: 1px solid rgba(128, 128, 128, .35); }}
.jaxnet th:first-child, .jaxnet td:first-child {{ text-align: left; }}
.jaxnet img {{ max-width: 100%; height: auto; }}
</style>
{parts}
</div>"""


def of_diagnosis(found: Diagnosis) -> str:
    """HTML of a diagnosis: verdict, errors, findings and remedies, decomposition and figure."""
    unit = "share of the variance of y" if found.regression else "share of wrong predictions"
    who, names = networks(found), part_names(found)
    lost = f"; {found.diverged} networks diverged and were left out" if found.diverged else ""
    errors = [
        [names[name], f"{found.examples[name]:,}", *_interval(error)]
        for name, error in found.errors.items()
    ]
    errors += [
        [f"{name}, unseen examples", "", *_interval(error)]
        for name, error in found.other_methods.items()
    ]
    notes = interval_notes(found.errors.values()) if found.regression else []
    claimed = [finding for finding in found.findings if finding.claimed]
    others = [finding for finding in found.findings if not finding.claimed]
    parts = [
        f'<p class="verdict">{text(found.verdict)}</p>',
        _table(["", "examples", "error", "95% interval"], errors, f"error ({unit}) of {who}{lost}"),
        *(f"<p><small>{text(note)}</small></p>" for note in notes),
    ]
    for finding in claimed:
        remedies = "; ".join(remedy.told for remedy in finding.remedies)
        untried = not_tried(remedy.cases for remedy in finding.remedies)
        more = f"<br>Try next: {text(remedies)}. {untried}" if remedies else ""
        parts.append(f"<p><b>{text(finding.code.words)}</b>: {text(finding.evidence)}{more}</p>")
    if others:
        items = "".join(
            f"<li><b>{text(finding.code.words)}</b>: {text(finding.evidence)}</li>"
            for finding in others
        )
        parts.append(
            "<details><summary>looked for, and not claimed: "
            f"{len(others)}</summary><ul>{items}</ul></details>"
        )
    taken_apart = []
    for each in found.decompositions:
        on = "" if each.training is None else f"trained on {each.training:,} examples: "
        bias, variance = TERMS[each.design]
        squared = " (squared)" * (each.design in ("fresh", "partition"))
        taken_apart += [
            [f"{on}{bias}{squared}", *_interval(each.bias)],
            [f"{on}{variance}", *_interval(each.variance)],
        ]
    if found.ensemble is not None:
        taken_apart.append(
            [f"all {found.ensemble.members} networks voting", *_interval(found.ensemble.ensemble)]
        )
    if taken_apart:
        parts.append(
            _table(["", "error", "95% interval"], taken_apart, "bias-variance decomposition")
        )
    with tempfile.TemporaryDirectory() as folder:
        figures.error_analysis(found, Path(folder) / "diagnosis.png")
        parts.append(
            _picture(
                Path(folder) / "diagnosis.png",
                "errors, and how bias and variance change with the training set",
            )
        )
    parts += [f"<p><small>{text(note)}</small></p>" for note in found.notes]
    return FRAME.format(parts="\n".join(parts))


def of_population(many: Population) -> str:
    """HTML of a population: its networks, how they ended, a table of the first ones and of
    quantiles, and learning curves.
    """
    columns, status, diverged = _columns(many), many.each(endings), many.diverged
    head = f"{len(many)} network{'s' * (len(many) != 1)}: {counted(status)}"
    structures = "".join(
        f"<li>{text(architecture(run, len(members)))}</li>"
        for run, members in zip(many.runs, many.members, strict=True)
    )
    rows = [
        [str(i), *(short(column[i]) for column in columns.values()), status[i]]
        for i in range(min(MOST_MEMBERS, len(many)))
    ]
    sound = ~diverged
    if sound.sum() > 1:
        for name, share in QUANTILES.items():
            finite = [
                column[sound & np.isfinite(column) & (title != "structure")]
                for title, column in columns.items()
            ]
            rows.append(
                [
                    name,
                    *(short(np.quantile(each, share)) if each.size else "" for each in finite),
                    "",
                ]
            )
    parts = [
        f'<p class="verdict">{text(head)}</p>',
        f"<ul>{structures}</ul>",
        _table(
            ["member", *columns, ""],
            rows,
            "at the end of training"
            + "; quantiles of those that did not diverge" * bool(sound.sum() > 1),
        ),
        _picture(_curves(many), "losses of the members over the epochs"),
    ]
    return FRAME.format(parts="\n".join(parts))


def of_run(run: Run) -> str:
    """HTML of a run: how it ended, what was trained, and learning curves; for a run with a member
    axis, that of a population.
    """
    run = jax.tree.map(np.asarray, run)
    if np.ndim(run.epochs):
        return of_population(Population((run,), (np.arange(len(run.epochs)),)))
    done = int(run.epochs)
    history = jax.tree.map(lambda column: column[:done], run.history)
    ended = [
        [name.replace("_", " "), short(column[-1])]
        for name, column in history._asdict().items()
        if column is not None and name != "signals" and done
    ]
    with tempfile.TemporaryDirectory() as folder:
        best = None if run.best is None else int(run.best.epoch)
        figures.curves(history, Path(folder) / "curves.png", best_epoch=best)
        picture = _picture(Path(folder) / "curves.png", "loss and accuracy over the epochs")
    parts = [
        f'<p class="verdict">{text(run.status)}</p>',
        f"<p>{text(architecture(run, 1))}</p>",
        _table(["at the end of training", ""], ended),
        picture,
    ]
    return FRAME.format(parts="\n".join(parts))


def _columns(many: Population) -> dict[str, np.ndarray]:
    """(members,) columns: numbers of the recipe in which members differ, and final results."""
    columns = (
        {"structure": many.each(lambda run: np.full(len(run.epochs), _place(many, run)))}
        if len(many.runs) > 1
        else {}
    )
    for name in dict.fromkeys(name for run in many.runs for name, _ in numbers_of(run.recipe)):
        column = many.each(
            lambda run, name=name: np.broadcast_to(
                dict(numbers_of(run.recipe)).get(name, np.nan), np.shape(run.epochs)
            )
        )
        if len(np.unique(column)) > 1:
            columns[name.replace("_", " ")] = column
    columns["epochs"] = many.epochs
    for name in many.runs[0].history._fields:
        if name != "signals" and any(getattr(run.history, name) is not None for run in many.runs):
            columns[name.replace("_", " ")] = many.each(
                lambda run, name=name: last_epoch(getattr(run.history, name), run.epochs)
            )
    return columns


def _place(many: Population, run: Run) -> int:
    return next(place for place, each in enumerate(many.runs, 1) if each is run)


def _curves(many: Population) -> bytes:
    """A picture of the validation losses of up to MOST_CURVES members, or of training losses
    without validation.
    """
    figure = Figure(figsize=(5.2, 3.0), layout="constrained")
    axes = figure.subplots()
    validation = all(run.history.validation_loss is not None for run in many.runs)
    curves = [
        np.asarray(
            run.history.validation_loss if validation else run.history.train_loss, np.float64
        )
        for run in many.runs
    ]
    shown = np.unique(np.linspace(0, len(many) - 1, MOST_CURVES).astype(int))
    color, drawn = VALIDATION if validation else TRAIN, []
    for curve, members in zip(curves, many.members, strict=True):
        for line in curve[np.isin(members, shown)]:
            drawn.append(np.where(np.isfinite(line), line, np.nan))
            marker = "o" if len(line) == 1 else ""
            axes.plot(
                np.arange(1, len(line) + 1),
                drawn[-1],
                color=color,
                linewidth=0.8,
                marker=marker,
                alpha=min(1.0, max(0.15, 8 / len(shown))),
            )
    finite = np.concatenate([line[np.isfinite(line)] for line in drawn])
    if finite.size and 0 < finite.min() < finite.max() / DECADES:
        axes.set_yscale("log")
    axes.locator_params(axis="x", integer=True)
    axes.set_title(
        f"{len(shown)} of {len(many)} members" if len(shown) < len(many) else "all members",
        fontsize=10,
    )
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation loss" if validation else "training loss (running)")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def _interval(size: Estimate) -> tuple[str, str]:
    return (
        _percent(size.estimate),
        "no interval"
        if size.refused is not None
        else f"{_percent(size.low)} to {_percent(size.high)}",
    )


def _percent(value: float) -> str:
    return f"{value:.2%}" if np.isfinite(value) else "–"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    top = "".join(f"<th>{text(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        "<div "
        f'class="wide"><table>{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _picture(image: bytes | Path, words: str) -> str:
    """An embedded picture; nothing if another process writes its file."""
    if isinstance(image, Path):
        if not image.exists():
            return ""
        image = image.read_bytes()
    return f'<img alt="{text(words)}" src="{png(image)}">'

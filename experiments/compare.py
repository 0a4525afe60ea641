"""Is one run really better than another? Runs side by side, with the difference of each pair on the
same test examples.

    python -m experiments.compare runs/a runs/b runs/c

Brings the networks back from the folders of finished runs, and their data; runs that had a
--data-dir need it here too. A difference of two networks holds for them alone: the same recipe with
another seed is another network. Where both runs have --members 8 or more, it is of the recipes.
Intervals are as wide as it takes for all of them together to hold with 95% (Bonferroni). Runs whose
test sets are not the same examples stand beside each other without a difference.
"""

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from jaxnet.checkpoint import describe_recipe
from jaxnet.cli import run_folder
from jaxnet.cli.options import READING
from jaxnet.cli.outputs import MEMBERS
from jaxnet.cli.saved_run import Finished, bring_back, data_of
from jaxnet.data import Splits, Standardisation
from jaxnet.diagnostics import Estimate, error_of, network_difference, paired_difference
from jaxnet.errors import InputError
from jaxnet.evaluation import ClassMetrics, Metrics, judge, predict
from jaxnet.report import console
from jaxnet.runtime import files
from jaxnet.runtime.devices import enable_cache, use_platform
from jaxnet.stats.estimate import LEVEL
from jaxnet.stats.random_effects import PAIRS

DATA = (
    "dataset",
    *(name for name in READING if name != "data_dir"),
    "split_seed",
    "balance",
    "stream",
)  # options that say what it learned from
LUCK = (
    "A difference of networks may be luck of their training; to compare recipes, train each "
    f"with --members {PAIRS} or more."
)


@dataclass(frozen=True)
class CompareOptions:
    """Every option of a comparison."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """folders of finished runs"""
    data_dir: Path | None = None
    """folder of the data sets, as the runs had it, or where their files are now"""
    platform: Literal["cpu", "gpu", "tpu"] | None = None
    """where to run; by default the fastest that JAX finds"""
    cache: bool = True
    """keep compiled programs in the user's cache folder, so that the next comparison starts
    sooner
    """
    out: Path | None = None
    """folder to write; by default runs/compare-<time>"""


class Compared(NamedTuple):
    """A run and what it says of its test set: outputs of its network, and those of its members
    where it kept some of one recipe.
    """

    name: str
    finished: Finished
    splits: Splits
    outputs: np.ndarray
    members: np.ndarray | None

    @property
    def labels(self) -> np.ndarray:
        """Of the test set."""
        return np.asarray(self.splits.test.y)


class Pair(NamedTuple):
    """Two runs. difference: the error of the first less that of the second, None where they cannot
    be compared.

    of: "recipes", where both have members, or else "networks". only_first, only_second: test
        examples that one network alone has wrong.
    words: whether the difference is real.
    """

    first: str
    second: str
    words: str
    of: Literal["networks", "recipes"] | None = None
    difference: Estimate | None = None
    only_first: int | None = None
    only_second: int | None = None

    @property
    def real(self) -> bool:
        """Whether the interval leaves 0 out."""
        return (
            self.difference is not None
            and self.difference.refused is None
            and not self.difference.low <= 0 <= self.difference.high
        )


def main(arguments: Sequence[str]) -> int:
    """Compares runs from the command line. Returns the exit status, 2 for bad input."""
    console.open_to_all_names()
    options = tyro.cli(
        CompareOptions,
        args=list(arguments),
        prog="python -m experiments.compare",
        description=__doc__,
    )
    try:
        if len(options.runs) < 2:
            raise InputError(
                f"{len(options.runs)} run{'s were' * (not options.runs) or ' was'} given; give "
                "the folders of two or more"
            )
        use_platform(options.platform)
        if options.cache:
            try:
                enable_cache()
            except InputError as error:
                console.say(f"compiled programs are not kept: {error}")
        files.check_folder(options.out or run_folder.RUNS)
        runs = bring_all(options.runs, options.data_dir)
        pairs = compare(runs)
        result = about(runs, pairs)
        out, _ = run_folder.begin(
            "compare", {"runs": [run.name for run in runs]}, options.out, resume=False
        )
        show(result, pairs)
        with files.writing(out), files.then("then compare again with another --out"):
            write(out, result, runs, pairs)
        console.say(f"written to {out}")
    except InputError as error:
        console.error(str(error))
        return 2
    return 0


def bring_all(paths: Sequence[Path], data_dir: Path | None) -> list[Compared]:
    """The runs with their predictions; data that several have in common are read once."""
    finished = [bring_back(path) for path in paths]
    read: dict[str, Splits] = {}
    runs = []
    for name, each in zip(names_apart(paths), finished, strict=True):
        data = repr([each.about.get(option) for option in DATA])
        if data not in read:
            read[data] = data_of(each, data_dir)
        outputs = np.asarray(predict(each.model, each.run, read[data].test.x))
        runs.append(Compared(name, each, read[data], outputs, members_of(each, outputs.shape)))
    kinds = {run.splits.classes is None: run.name for run in runs}
    if len(kinds) > 1:
        raise InputError(
            f"{kinds[True]} predicts values, and {kinds[False]} classes; compare runs of one kind"
        )
    return runs


def names_apart(paths: Sequence[Path]) -> list[str]:
    """A name for each folder: its own, or the whole path where that is no name for one alone; with
    a number for the same again.
    """
    own = [path.resolve().name for path in paths]
    names = own if len(set(own)) == len(own) else [str(path) for path in paths]
    return [
        f"{name} ({names[: i + 1].count(name)})" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]


def members_of(finished: Finished, shape: tuple[int, ...]) -> np.ndarray | None:
    """What the run kept of the predictions of networks of this recipe, on all training examples;
    None where it has one network.
    """
    path, result = (
        finished.folder / MEMBERS / "predictions/test.npy",
        run_folder.result(finished.folder) or {},
    )
    if not path.exists():
        return None
    first, count = 0, 0
    if "diagnosis" in result or "seeds" in result:
        count = finished.about["members"]
    elif "sweep" in result:
        count = finished.about["seeds"]
        first = result["sweep"]["best"] * count
    kept = np.load(path, mmap_mode="r")
    if kept.shape[1:] != shape or len(kept) < first + count:
        raise InputError(
            f"{path}: is not of this run's test set; remove the folder {path.parent.parent} to "
            "compare its network alone"
        )
    return (
        kept[first : first + count].astype(np.result_type(kept, np.float32)) if count > 1 else None
    )


def compare(runs: Sequence[Compared]) -> list[Pair]:
    """Each pair of runs; all intervals together hold with 95%."""
    couples = list(itertools.combinations(runs, 2))
    comparable = sum(why_not(a, b) is None for a, b in couples)
    return [differ(a, b, 1 - (1 - LEVEL) / max(1, comparable)) for a, b in couples]


def why_not(a: Compared, b: Compared) -> str | None:
    """Why two runs cannot be compared; None where they can."""
    one, other = a.splits.test, b.splits.test
    if a.splits.name != b.splits.name:
        return f"their test sets are of {a.splits.name} and of {b.splits.name}"
    if one.classes != other.classes:
        return "they learned other classes"
    if not all(
        np.array_equal(np.asarray(getattr(one, name)), np.asarray(getattr(other, name)))
        for name in ("x", "y")
    ):
        return (
            f"their test sets are not the same examples ({len(one):,} and {len(other):,}); "
            "read and split the data alike"
        )
    return None


def differ(a: Compared, b: Compared, level: float) -> Pair:
    """The difference of two runs, and whether it is real."""
    if why := why_not(a, b):
        return Pair(a.name, b.name, f"not compared: {why}")
    scale = a.finished.run.standardisation  # of a regression: one unit for both
    wrong, other = (losses(judge(each.outputs, each.labels, scale)) for each in (a, b))
    outputs, difference, of = (
        (a.outputs, b.outputs),
        network_difference(wrong, other, level),
        "networks",
    )
    if (
        a.members is not None
        and b.members is not None
        and (count := min(len(a.members), len(b.members))) >= PAIRS
    ):
        outputs, of = (a.members[:count], b.members[:count]), "recipes"
        difference = paired_difference(
            members_losses(outputs[0], a, scale), members_losses(outputs[1], b, scale), level
        )
    alone = (
        (int((wrong & ~other).sum()), int((other & ~wrong).sum()))
        if wrong.dtype == bool and of == "networks"
        else (None, None)
    )
    pair = Pair(a.name, b.name, "", of, difference, *alone)
    return pair._replace(
        words=verdict(
            pair,
            same=np.array_equal(*outputs, equal_nan=True),
            examples=len(a.labels),
            percent=scale.target_mean is None,
        )
    )


def verdict(pair: Pair, *, same: bool, examples: int, percent: bool) -> str:
    """Whether a difference is real, in a sentence. same: whether the predictions are."""
    assert pair.difference is not None
    difference = pair.difference
    if same:
        return (
            f"no difference: {pair.first} and {pair.second} say the same of all {examples:,} "
            "test examples"
        )
    if difference.refused:
        return (
            f"it cannot be told whether {pair.first} and {pair.second} differ: {difference.refused}"
        )
    if not pair.real:
        return (
            f"no difference is shown between {pair.first} and {pair.second}: "
            f"{size(difference, percent)}"
        )
    better, worse = (pair.first, pair.second) if difference.high < 0 else (pair.second, pair.first)
    low, high = sorted((abs(difference.low), abs(difference.high)))
    lower = Estimate(abs(difference.estimate), low, high)
    scope = ", for new trainings too" if pair.of == "recipes" else ""
    return f"{better} is better than {worse}: its error is lower by {size(lower, percent)}{scope}"


def size(difference: Estimate, percent: bool) -> str:
    """In percentage points, or of a regression in variances of y."""
    if percent:
        return (
            f"{100 * difference.estimate:.2f} percentage points ({100 * difference.low:.2f} to "
            f"{100 * difference.high:.2f})"
        )
    return f"{difference.estimate:.4g} ({difference.low:.4g} to {difference.high:.4g})"


def losses(metrics: Metrics) -> np.ndarray:
    """(examples,) whether it is wrong, or its squared error."""
    return metrics.wrong if isinstance(metrics, ClassMetrics) else metrics.squares


def members_losses(outputs: np.ndarray, run: Compared, scale: Standardisation) -> np.ndarray:
    """(members, examples) of these."""
    return np.stack([losses(judge(member, run.labels, scale)) for member in outputs])


def about(runs: Sequence[Compared], pairs: Sequence[Pair]) -> dict[str, Any]:
    """What result.json holds."""
    real = [pair.words for pair in pairs if pair.real]
    compared = [pair for pair in pairs if pair.difference is not None]
    none = (
        "no difference is shown between these runs"
        if compared
        else "nothing to compare: no two runs have the same test examples"
    )
    return {
        "experiment": "compare",
        "verdict": "; ".join(real) or (pairs[0].words if len(pairs) == 1 else none),
        "runs": [of_run(run) for run in runs],
        "differs": differs(runs),
        "pairs": [pair._asdict() | {"real": pair.real} for pair in pairs],
        "level": 1 - (1 - LEVEL) / max(1, len(compared)),
    }


def of_run(run: Compared) -> dict[str, Any]:
    """The numbers of a run."""
    trained = run.finished.run
    metrics = judge(run.outputs, run.labels, trained.standardisation)
    together = (
        None
        if run.members is None
        else error_of(members_losses(run.members, run, trained.standardisation))
    )
    return {
        "name": run.name,
        "experiment": run.finished.about["experiment"],
        "dataset": run.splits.name,
        "regression": run.splits.classes is None,
        "model": trained.model,
        "parameters": sum(np.size(leaf) for leaf in jax.tree.leaves(trained.params)),
        "status": trained.status,
        "test_examples": len(run.labels),
        "error": metrics.error,
        "members": 1 if run.members is None else len(run.members),
        "members_error": together,
    }


def differs(runs: Sequence[Compared]) -> dict[str, list[Any]]:
    """What is not the same in all runs, by name: of experiment, data, model, recipe, seed, versions
    and device.
    """
    told = []
    for run in runs:
        result, options = run_folder.result(run.finished.folder) or {}, run.finished.about
        recipe = describe_recipe(run.finished.run.recipe)
        strengths = recipe.pop("augmentation") or {}
        versions = {
            f"version of {name}": version for name, version in result.get("versions", {}).items()
        }
        told.append(
            {"experiment": options["experiment"]}
            | {name: options.get(name) for name in DATA}
            | {"training examples": len(run.splits.train), "model": run.finished.run.model}
            | recipe | strengths
            | {"seed": options.get("seed"), "members": 1 if run.members is None else len(run.members)}
            | versions | {"device": result.get("device")}
        )  # fmt: skip
    names = dict.fromkeys(itertools.chain(*told))
    rows = {name: [files.plain(each.get(name)) for each in told] for name in names}
    return {
        name: values for name, values in rows.items() if any(value != values[0] for value in values)
    }


def show(result: dict[str, Any], pairs: Sequence[Pair]) -> None:
    """On the console."""
    table = Table(
        "run",
        "test error",
        "95% interval",
        "mean of members",
        "test examples",
        "data set",
        box=None,
    )
    for run in result["runs"]:
        percent = not run["regression"]
        cells = (
            run["name"],
            *split(run["error"], percent),
            members_words(run, percent),
            f"{run['test_examples']:,}",
            run["dataset"],
        )
        table.add_row(*map(console.cell, cells))
    terminal = Console(highlight=False)
    terminal.print(table)
    console.say("")
    for pair in pairs:
        console.say(
            pair.words
            if pair.difference is not None
            else f"{pair.first} and {pair.second}: {pair.words}"
        )
    if any(pair.of == "networks" for pair in pairs):
        console.say(LUCK)
    if result["differs"]:
        table = Table(
            "what differs", *(console.cell(run["name"]) for run in result["runs"]), box=None
        )
        for name, values in result["differs"].items():
            table.add_row(
                console.cell(name.replace("_", " ")),
                *("" if value is None else console.cell(value) for value in values),
            )
        console.say("")
        terminal.print(table)
    else:
        console.say(
            "nothing differs in their experiments, data, models, recipes, seeds and versions"
        )


def split(error: Estimate, percent: bool) -> tuple[str, str]:
    """An estimate and its interval, as cells."""
    form = "{:.2%}" if percent else "{:.4g}"
    return form.format(
        error.estimate
    ), "" if error.refused else f"{form.format(error.low)} to {form.format(error.high)}"


def members_words(run: dict[str, Any], percent: bool) -> str:
    """The mean error of its members, as a cell."""
    if run["members_error"] is None:
        return ""
    estimate, interval = split(run["members_error"], percent)
    return f"{estimate} of {run['members']}" + f", {interval}" * bool(interval)


def write(
    out: Path, result: dict[str, Any], runs: Sequence[Compared], pairs: Sequence[Pair]
) -> None:
    """The folder: figures, page, and result.json last."""
    from jaxnet.report import figures

    told = {
        f"{pair.first} less {pair.second}": pair.difference
        for pair in pairs
        if pair.difference is not None
    }
    if told:
        figures.differences(
            told, out / "figures/differences.png", regression=result["runs"][0]["regression"]
        )
    figures.curves_of_runs(
        {run.name: run.finished.run.history for run in runs}, out / "figures/curves.png"
    )
    files.write_text(out / "report.html", page(files.plain(result), pairs, out / "figures"))
    files.write_json(out / "result.json", result)


def page(result: dict[str, Any], pairs: Sequence[Pair], figures: Path) -> str:
    """The HTML of a comparison."""
    from jaxnet.report.html.document import chart, document, section, table, text
    from jaxnet.report.html.page import number

    percent = {run["name"]: not run["regression"] for run in result["runs"]}
    several = any(run["members_error"] for run in result["runs"])
    head = [
        "",
        "test error",
        *["mean of its members"] * several,
        "test examples",
        "model",
        "parameters",
        "how it ended",
    ]
    rows = []
    for run in result["runs"]:
        together = (
            ""
            if run["members_error"] is None
            else f"{number(run['members_error'], percent=percent[run['name']])} of {run['members']}"
        )
        rest = (
            f"{run['test_examples']:,}",
            text(run["model"]),
            f"{run['parameters']:,}",
            text(run["status"]),
        )
        rows.append(
            (
                text(run["name"]),
                number(run["error"], percent=percent[run["name"]]),
                *[together] * several,
                *rest,
            )
        )
    found = "".join(f"<li>{text(pair.words)}</li>" for pair in pairs if pair.difference is not None)
    without = "".join(
        f"<li>{text(pair.first)} and {text(pair.second)}: {text(pair.words)}</li>"
        for pair in pairs
        if pair.difference is None
    )
    couples = [
        (
            f"{text(pair.first)} less {text(pair.second)}",
            number(files.plain(pair.difference), percent=percent[pair.first]),
            "yes" if pair.real else "not shown",
            text(pair.of),
            "" if pair.only_first is None else f"{pair.only_first:,}",
            "" if pair.only_second is None else f"{pair.only_second:,}",
        )
        for pair in pairs
        if pair.difference is not None
    ]
    told = (
        "the error of the first less that of the second, with intervals that all together hold "
        "with 95%"
    )
    differences = f"<ul>{found}{without}</ul>"
    if couples:
        columns = [
            "",
            "difference",
            "is it real?",
            "of",
            "only the first is wrong on",
            "only the second is wrong on",
        ]
        differences += table(columns, couples, caption=told) + chart(
            figures / "differences", "differences with their intervals; the line is none"
        )
    if any(pair.of == "networks" for pair in pairs):
        differences += f'<p class="note">{text(LUCK)}</p>'
    unlike = [
        (text(name.replace("_", " ")), *("" if value is None else text(value) for value in values))
        for name, values in result["differs"].items()
    ]
    names = [text(run["name"]) for run in result["runs"]]
    parts = [
        f'<section id="verdict"><p class="verdict">{text(result["verdict"])}</p></section>',
        section(
            "Side by side", table(head, rows, caption="with 95% intervals for new test examples")
        ),
        section("Differences", differences),
        section(
            "What differs",
            table(["", *names], unlike)
            if unlike
            else "<p>Nothing in experiment, data, model, recipe, seed and versions.</p>",
        ),
        section(
            "While they learned",
            chart(figures / "curves", "loss and accuracy over the epochs, a line a run"),
        ),
    ]
    return document(
        f"compare: {', '.join(run['name'] for run in result['runs'])}", "\n".join(parts)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The experiment runner: options to a trained, judged and reported network, in one folder.

    options -> set_up: data, model, recipe, folder -> train_one, or another work -> report: judge, write

Every script in experiments/ calls `main`. The same options give the same result.json, `seconds` and `resumed` aside.
"""

import argparse
import csv
import gc
import importlib
import io
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro
from jaxtyping import Float, Int

from . import disk, folder, processes
from .admission import NO_CLASS, chosen
from .agreement import check_agreement, versions
from .checkpoint import describe_recipe, discard_progress, save
from .clock import Clock
from .data import Splits, Stream, checks, class_weights, overlaps, prepare
from .data.images import read_examples
from .data.overlap import Overlap
from .data.streaming import layout
from .data.table import SUFFIXES, encode, read_table
from .devices import Plan, enable_cache, plan_for_images, use_cpu_devices, use_platform
from .diagnostics import Estimate, Finding
from .diagnostics.calibration import Calibration, calibration
from .diagnostics.findings import finding
from .diagnostics.labels import HardExample, hard_examples
from .display import visible
from .errors import InputError, check_known, near
from .evaluation import ClassMetrics, Metrics, compile_ahead, judge, network_ladder, predict
from .finished import bring_back
from .identity import describe_data
from .loop import train
from .models import Model, describe
from .options import (
    PLACES,
    Options,
    PredictOptions,
    PrepareOptions,
    TrainOptions,
    build_model,
    build_recipe,
    read,
    shared_options,
    with_epochs,
)
from .population import Standing
from .recipe import Recipe, check
from .report import console, tensorboard
from .run import Row, Run
from .stopping import Interrupted, stopped_at_once
from .studies.diagnose import diagnose

MEMBERS = "members"  # folder of a population within that of a run
TENSORBOARD = "tensorboard"  # of logs
LOGGED = 5  # members of which there are logs
HARDEST = 50  # examples that result.json lists


class Setup(NamedTuple):
    """What an experiment begins with. layers: as `describe` gives them. shared: examples in two parts.

    stream: the training set, where it stays on disk; some of its rows stand for it in splits.
    """

    experiment: str
    options: Options
    splits: Splits
    model: Model
    recipe: Recipe
    layers: list[tuple[str, str, int]]
    shared: tuple[Overlap, ...]
    out: Path
    clock: Clock
    stream: Stream | None = None


def main(
    experiment: str,
    defaults: Options | Mapping[str, Options],
    description: str,
    *,
    began: float,
    work: Callable[[Setup], dict[str, Any]] | None = None,
    arguments: Sequence[str] | None = None,
) -> int:
    """One experiment from the command line. Returns the exit status: 2 for bad input, 128 + signal when stopped.

    defaults: of the options, or several of them by name, for --preset to choose from; the first one stands without it.
    work: what is done once the data are there, by default `train_one`; it returns what result.json is to hold.
    """
    clock = Clock(began)
    console.open_to_all_names()
    # What is imported by now stays to the end: no collection, nor the exit, need walk over it again (0.3 s).
    gc.freeze()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    name = f"python -m experiments.{experiment}"
    logging.getLogger("jaxnet").addHandler(console.Spoken())
    logging.getLogger("jaxnet").propagate = False  # some library may have given the root a handler too
    logging.getLogger("jaxnet").setLevel(logging.INFO)
    try:
        # tyro would let a default subcommand swallow options, so the first word decides.
        if arguments[:1] == ["predict"]:
            predict_files(tyro.cli(PredictOptions, args=arguments[1:], prog=f"{name} predict"))
        elif arguments[:1] == ["prepare"]:
            prepare_data(tyro.cli(PrepareOptions, args=arguments[1:], prog=f"{name} prepare"))
        elif arguments and not arguments[0].startswith("-"):
            raise InputError(f"{name}: unknown command {arguments[0]!r}{near(arguments[0], ('predict', 'prepare'))}; options begin with --")
        else:
            if isinstance(defaults, Mapping):
                defaults, arguments = _preset(defaults, arguments)
            options = tyro.cli(type(defaults), args=arguments, default=defaults, prog=name, description=description)
            with processes.joined(options.coordinator, options.processes, options.process_id):
                setup = set_up(experiment, options, clock)
                if setup is not None:
                    go_on = f"continue with the same options, --resume and --out {os.path.relpath(setup.out)}"
                    try:
                        with disk.writing(setup.out), stopped_at_once(setup.out):
                            (work or train_one)(setup)
                    except InputError as error:
                        folder.abandon(setup.out)
                        if isinstance(error, disk.NotWrittenError) and setup.out.exists():
                            raise disk.NotWrittenError(error.problem, f"then {go_on}: what was saved is kept") from None
                        raise
                    except Interrupted as stop:
                        console.say(f"{stop}; {go_on}")
                        raise
                    console.say(f"written to {setup.out}")
    except InputError as error:
        console.error(str(error))
        return 2
    except Interrupted as stop:
        return 128 + stop.number
    except KeyboardInterrupt:
        console.error("stopped")
        return 128 + signal.SIGINT
    except OSError as error:
        console.error(f"{error.filename or 'standard output'}: {error.strerror or error}; make room, or give another place")
        return 2
    finally:
        gc.freeze()
        try:
            sys.stdout.flush()
        except OSError:  # Python would try again at the end, and say so
            with suppress(OSError):
                sys.stdout.close()
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - to the end of the script
    return 0


def set_up(experiment: str, options: Options, clock: Clock) -> Setup | None:
    """Options to data, model, recipe and folder, with a word on each; None where the run is finished already."""
    check_agreement(
        lambda: {"experiment": experiment, **shared_options(options)}
    )  # before JAX starts, for which all need the same platform
    if options.tensorboard:
        tensorboard.require()
    _prepare(options)
    if not options.resume:  # else the folder is known later, and may be of a finished run, to which nothing is written
        processes.once(lambda: disk.check_folder(options.out or folder.RUNS))
    model = build_model(options)
    if options.epochs is not None:
        check(build_recipe(options))  # what cannot be meant is said before the data are read
    with clock.part("data"):
        splits, on_disk = read(options)
    # Here, since all that follows depends on the data: a process might refuse its own before `train` compares them.
    check_agreement(lambda: {"data": describe_data(splits if on_disk is None else _with(splits, on_disk))})
    options = with_epochs(options, len(splits.train if on_disk is None else on_disk))
    recipe = build_recipe(options)
    check(recipe, has_validation=len(splits.validation) > 0)
    layers = describe(model, splits)
    settings = {name: value for name, value in asdict(options).items() if name not in PLACES}
    out, found = folder.begin(experiment, settings, options.out, resume=options.resume)
    if found:
        console.say(found)
    if finished := processes.once(lambda: folder.result(out)):
        console.say(f"finished already: {finished['verdict']}")
        return None
    console.data(splits)
    shared = overlaps(splits)
    for overlap in shared:
        console.say(f"beware: {overlap}, so what is measured on it is not of unseen examples")
    console.layers(model.name, layers)
    return Setup(experiment, options, splits, model, recipe, layers, shared, out, clock, on_disk)


def train_one(setup: Setup) -> dict[str, Any]:
    """Train, judge and write one network, or those of --members; returns what result.json holds."""
    if isinstance(setup.options, TrainOptions) and setup.options.members > 1:
        return train_members(setup, setup.options)
    options, splits, model, recipe = setup.options, setup.splits, setup.model, setup.recipe
    plan, given = Plan(), splits
    if setup.stream is not None:
        given = _with(splits, setup.stream)
    batch, count = min(options.batch_size, len(given.train)), processes.own()[1]
    divided = batch if setup.stream is None else layout(setup.stream, options.batch_size).shards  # what devices and processes divide
    together = count if options.normalisation != "batch" and divided % count == 0 else 1
    if options.model == "cnn" and options.normalisation != "batch":
        plan = plan_for_images(batch // together)
        plan = plan if divided // together % plan.devices == 0 else Plan()
    if plan.splits_batches:
        console.say(
            f"each batch is split over {plan.devices} CPU devices, {plan.micro_batch or 'all'} examples at a time, to fit their caches"
        )
    plan = replace(plan, processes=together)
    if together > 1:
        console.say(f"each batch is split over {count} processes")
    elif count > 1:
        why = "it needs each whole" if divided % count == 0 else f"{count} do not divide {divided}"
        console.say(f"beware: batches of {batch} are not split over processes, since {why}: each computes the same")

    # Compiling needs no interpreter, so what comes later is imported, and compiled in its turn, meanwhile. Not by a daemon: one
    # that compiles while the interpreter ends, after Ctrl-C, aborts the process.
    ahead = threading.Thread(target=_prepare_what_follows, args=(model, splits, recipe))
    ahead.start()
    weights = class_weights(splits.train) if options.balance else None
    logs = tensorboard.live(setup.out / TENSORBOARD) if options.tensorboard and processes.first() else nullcontext()
    with training(setup) as (show, began), logs as log:

        def watch(epochs: int, row: Row) -> None:
            show(epochs, row)
            if log is not None:
                log(epochs, row)

        run = train(model, given, recipe, jax.random.key(options.seed), out=setup.out, weights=weights, watch=watch, plan=plan)
    ahead.join()
    return report(setup, model, run, {"resumed": began})


def train_members(setup: Setup, options: TrainOptions) -> dict[str, Any]:
    """Diagnose the recipe, and write it with its first network."""
    splits = setup.splits
    if options.balance:
        raise InputError("with --members examples are not weighed; leave --balance out")
    with training_members(setup) as (watch, began):
        diagnosis = diagnose(
            setup.model, splits, setup.recipe, jax.random.key(options.seed), members=options.members,
            target_error=options.target_error, tolerance=options.tolerance, out=setup.out / MEMBERS, watch=watch,
        )  # fmt: skip
    population = diagnosis.networks
    assert population is not None
    assert population.predictions is not None
    from .report import figures

    figures.error_analysis(diagnosis, setup.out / "figures/diagnosis.png")
    test = population.predictions.test[: options.members]
    errors = diagnosis.errors
    more = {
        "members": options.members,
        "accuracy": None if diagnosis.regression else {part: error.complement() for part, error in errors.items()},
        "error": errors,
        "verdict": diagnosis.verdict,
        "findings": diagnosis.findings,
        "diagnosis": diagnosis.summary(),
        "hard_examples": [] if splits.classes is None else hardest(test, np.asarray(splits.test.y)),
        "resumed": began,
    }
    sound = np.flatnonzero(~population.diverged[: options.members])
    members = [population[int(i)] for i in sound] or [population[0]]
    return report(setup, setup.model, members[0], more, str(diagnosis), members=members)


def report(
    setup: Setup,
    model: Model,
    run: Run,
    more: dict[str, Any],
    says: str | None = None,
    findings: Sequence[Finding] = (),
    members: Sequence[Run] = (),
) -> dict[str, Any]:
    """Judge a network, say what was found and write the folder; returns what result.json holds.

    more: what this experiment adds to it, or puts in place of the network's. says: what is printed instead of its numbers.
    findings: besides those of the error ladder. members: networks of the same recipe, this one first, to set beside each other.
    """
    splits, options = setup.splits, setup.options
    parts = {name: part for name in ("train", "validation", "test") if len(part := getattr(splits, name))}
    outputs = {name: np.asarray(predict(model, run, part.x)) for name, part in parts.items()}
    metrics = {name: judge(outputs[name], np.asarray(part.y), splits.standardisation) for name, part in parts.items()}
    ladder = network_ladder(metrics, target_error=options.target_error, tolerance=options.tolerance)
    if run.diverged:
        found = finding("diverged", Estimate(1.0, refused="it is one network"), True, run.status)
        ladder = replace(ladder, verdict=run.status.replace(" ", ": ", 1), findings=(found, *ladder.findings))
    if says is None:
        console.say(run.status)
        console.result(metrics, splits.classes, ladder)
    else:
        console.say(*says.split("\n"))
    result = {
        "experiment": setup.experiment,
        "dataset": {
            "name": splits.name,
            "shape": run.shape,
            "classes": splits.classes,
            "examples": {k: len(v) for k, v in parts.items()},
            "notes": splits.notes,
            "columns": None if splits.columns is None else [column._asdict() for column in splits.columns],
            "overlaps": [overlap._asdict() for overlap in setup.shared],
        },
        "model": {"name": model.name, "parameters": describe(model, splits)[-1][2]},
        "recipe": describe_recipe(run.recipe),
        "seed": options.seed,
        "split_seed": options.split_seed,
        "versions": versions(),
        "device": f"{jax.local_devices()[0].device_kind} ({jax.default_backend()})",
        "status": run.status,
        "target_error": options.target_error,
        "tolerance": options.tolerance,
        **numbers(metrics),
        "calibration": believed(outputs["test"], splits),
        "verdict": ladder.verdict,
        "findings": (*ladder.findings, *findings),
        **more,
    }
    write(setup.out, result, model, members or (run,), splits, outputs, metrics, setup.clock, logs=options.tensorboard)
    return result


@contextmanager
def training(setup: Setup) -> Iterator[tuple[Callable[[int, Row], None], dict[str, int]]]:
    """Progress of a network on the console, and where it began: (watch, what `resumed` is to say)."""
    began: dict[str, int] = {}
    with setup.clock.part("train"), console.progress(setup.recipe.epochs) as show:

        def watch(epochs: int, row: Row) -> None:
            began.setdefault("from_epoch", epochs)
            show(epochs, row)

        yield watch, began


@contextmanager
def training_members(setup: Setup) -> Iterator[tuple[Callable[[Standing], None], dict[str, int]]]:
    """Progress of a population on the console, and where it began: (watch, what `resumed` is to say)."""
    began: dict[str, int] = {}
    ahead = threading.Thread(target=_prepare_what_follows, args=(setup.model, setup.splits, setup.recipe))
    ahead.start()
    with setup.clock.part("train"), console.members() as show:

        def watch(standing: Standing) -> None:
            began.setdefault("from_epoch", standing.epoch)
            began.setdefault("members", standing.finished)
            show(standing)

        yield watch, began
    ahead.join()


def hardest(log_probabilities: Float[np.ndarray, "members examples classes"], y: Int[np.ndarray, " examples"]) -> list[dict[str, Any]]:
    """What result.json holds of the examples whose label the members doubt most; nothing where all of them diverged."""
    if not any(np.isfinite(member.astype(np.float32)).any() for member in log_probabilities):
        return []
    return listed(hard_examples(log_probabilities, y, most=HARDEST))


def listed(found: Sequence[HardExample]) -> list[dict[str, Any]]:
    """What result.json holds of the first of these examples."""
    return [
        {"index": each.index, "label": each.label, "prediction": each.prediction, "confidence": round(each.confidence, 6)}
        for each in found[:HARDEST]
    ]


def believed(log_probabilities: np.ndarray, splits: Splits) -> Calibration | None:
    """Whether the confidences on the test set can be believed; None of a regression, and where outputs are no numbers."""
    if splits.classes is None or not np.isfinite(log_probabilities.max(1)).all():
        return None
    return calibration(log_probabilities, np.asarray(splits.test.y))


def numbers(metrics: dict[str, Metrics]) -> dict[str, Any]:
    """What was measured, by name and part; accuracy is null for a regression."""
    test = metrics["test"]
    names = ("accuracy", "error", "loss", "baseline") if isinstance(test, ClassMetrics) else ("error", "rmse", "r2", "baseline")
    tables: dict[str, Any] = {"accuracy": None} | {name: {part: getattr(m, name) for part, m in metrics.items()} for name in names}
    if isinstance(test, ClassMetrics):
        tables["test_classes"] = {name: getattr(test, name) for name in ("precision", "recall", "f1", "confusion")}
    return tables


def write(
    out: Path,
    result: dict[str, Any],
    model: Model,
    runs: Sequence[Run],
    splits: Splits,
    outputs: dict[str, Any],
    metrics: dict[str, Metrics],
    clock: Clock,
    *,
    logs: bool = False,
) -> None:
    """The folder of a finished run, result.json last. runs: the first is written, all are in the page. logs: for TensorBoard too."""
    from .report.html import run as run_page

    run, figures = runs[0], out / "figures"
    if processes.first() and (out / "params").exists():  # of a run that was stopped while it wrote
        shutil.rmtree(out / "params")
    processes.meet("params")
    save(run, out / "params")
    if not processes.first():
        return
    folder.write_text(out / "history.csv", history_csv(run))
    run_page.draw(result, run, splits, outputs, metrics, figures)
    folder.write_text(out / "report.html", run_page.html(folder.plain(result), model, runs, splits, outputs["test"], figures))
    if logs:
        tensorboard.write(out / TENSORBOARD, run, metrics, sorted(figures.glob("*.png")))
        for number, member in enumerate(runs[1:LOGGED], 1):
            tensorboard.write(out / TENSORBOARD / f"member-{number}", member)
    result["seconds"] = clock.seconds()
    folder.write_json(out / "result.json", result)
    discard_progress(out / "state")


def history_csv(run: Run) -> str:
    """A line an epoch that was trained."""
    columns = {name: np.asarray(column) for name, column in run.history._asdict().items() if column is not None}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", *columns])
    writer.writerows([i + 1, *(f"{column[i]:.7g}" for column in columns.values())] for i in range(int(run.epochs)))
    return text.getvalue()


def predict_files(options: PredictOptions) -> None:
    """Writes predictions for the examples in files to standard output, as CSV."""
    use_platform(options.platform)
    _, _, model, run = bring_back(options.run)
    if run.diverged:
        print(f"the network {run.status}; a prediction that is not a number is left empty", file=sys.stderr)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    show = visible if sys.stdout.isatty() else str  # as they are for a program, that may look for them
    writer.writerow(["file", "row", "prediction", *(f"p({show(name)})" for name in run.classes or ())])
    for path in options.files:
        outputs = np.asarray(predict(model, run, new_examples(path, run)))
        for row, output in enumerate(outputs):
            if run.classes is None:
                writer.writerow([show(path), row, f"{output:.{np.finfo(outputs.dtype).precision + 1}g}"])
            else:
                number = int(chosen(output))
                name = "" if number == NO_CLASS else run.classes[number]
                writer.writerow([show(path), row, show(name), *(f"{p:.6f}" for p in np.exp(output))])


def new_examples(path: Path, run: Run) -> np.ndarray:
    """The examples in a file, encoded as those that the network learned from."""
    if run.columns is not None and path.suffix.lower() in SUFFIXES:
        return checks.inputs(encode(run.columns, read_table(path)[0], path), f"{path}: ")
    return read_examples(path, run.shape, run.white)


def prepare_data(options: PrepareOptions) -> None:
    """Prepares a data set, and says where it is."""
    folder_ = prepare(options.name, data_dir=options.data_dir, originals=options.originals)
    console.say(
        f"prepared in {folder_}; use it with --dataset {options.name}"
        + (f" --data-dir {options.data_dir}" * (options.data_dir is not None))
    )


def _preset(presets: Mapping[str, Options], arguments: list[str]) -> tuple[Options, list[str]]:
    """The defaults that --preset asks for, and the arguments that remain."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", default=next(iter(presets)))
    given, rest = parser.parse_known_args(arguments)
    check_known("preset", given.preset, presets)
    return presets[given.preset], rest


def _prepare(options: Options) -> None:
    """Platform and cache, before JAX starts."""
    try:
        use_cpu_devices()  # one a core, so that the parts of a batch can run side by side
    except InputError as error:
        console.say(f"the CPU stays one device: {error}")
    use_platform(options.platform)
    if options.precision == "bfloat16" and jax.default_backend() == "cpu":
        raise InputError("bfloat16 is for accelerators: on the CPU it is slower than float32; give --precision float32")
    if options.cache:
        try:
            enable_cache()
        except InputError as error:
            console.say(f"compiled programs are not kept: {error}")
    processes.meet("begin")


def _with(splits: Splits, on_disk: Stream) -> Splits:
    """The splits with their training set on disk."""
    return replace(splits, train=on_disk)  # pyrefly: ignore[bad-argument-type]


def _prepare_what_follows(model: Model, splits: Splits, recipe: Recipe) -> None:
    for module in ("orbax.checkpoint", "jaxnet.report.figures", "scipy.special"):
        importlib.import_module(module)
    compile_ahead(model, splits, recipe)

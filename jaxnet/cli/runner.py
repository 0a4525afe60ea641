"""Run an experiment: from options to a trained, judged and reported network, in one folder.

    options -> set_up: data, model, recipe, folder -> train_one, or another work -> report: judge,
    write

The commands that train call `main`. The same options give the same result.json,
except for `seconds` and `resumed`.
"""

import argparse
import gc
import importlib
import os
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

from jaxnet.cli import run_folder
from jaxnet.cli.command import (
    check_codes,
    command_again,
    keep_programs,
    open_page,
    result_alone,
    status_of,
)
from jaxnet.cli.look import look
from jaxnet.cli.options import (
    PLACE_OPTIONS,
    DataOptions,
    LookOptions,
    Options,
    PredictOptions,
    PrepareOptions,
    TrainOptions,
    build_model,
    build_recipe,
    current_words,
    read,
    shared_options,
)
from jaxnet.cli.outputs import (
    MEMBERS,
    TENSORBOARD,
    Setup,
    hardest,
    report,
    training_members,
    warm_up,
    with_stream,
)
from jaxnet.cli.parsing import parse
from jaxnet.cli.predict import predict_files, prepare_data
from jaxnet.cli.saved_run import write_unseen_losses
from jaxnet.core.recipe import check, resolved
from jaxnet.core.training import EpochMetrics
from jaxnet.data import class_weights, overlaps
from jaxnet.data.streaming.chunks import layout
from jaxnet.data.tokens import vocabulary_of
from jaxnet.engine.agreement import check_agreement
from jaxnet.engine.fingerprint import describe_data
from jaxnet.engine.loop import train
from jaxnet.errors import InputError, check_known, near, nearest
from jaxnet.models.model import describe
from jaxnet.progress import of_epochs, phase
from jaxnet.report import console, tensorboard
from jaxnet.runtime import files, processes
from jaxnet.runtime.devices import use_cpu_devices, use_platform
from jaxnet.runtime.interrupts import Interrupted, stopped_at_once
from jaxnet.runtime.plan import Plan, plan_for_images
from jaxnet.runtime.timing import Timer
from jaxnet.studies.design import design_of
from jaxnet.studies.diagnose import diagnose

# commands besides the experiment, with their options
FURTHER: dict[str, tuple[type, Callable[[Any], None]]] = {
    "look": (LookOptions, look),
    "predict": (PredictOptions, predict_files),
    "prepare": (PrepareOptions, prepare_data),
}


def main(
    experiment: str,
    defaults: Options | Mapping[str, Options],
    description: str,
    *,
    began: float,
    work: Callable[[Setup], dict[str, Any]] | None = None,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
) -> int:
    """Run one experiment from the command line.

    Args:
        experiment: name of the experiment.
        defaults: the options, or several of them by name, from which --preset chooses; without it
            the first ones are used.
        description: description of the experiment, for --help.
        began: a reading of time.perf_counter when the process started.
        work: what is done once the data are there; by default `train_one`. It returns what
            result.json is to hold.
        arguments: words of the command line; by default those of this process. The first may be
            the data set, without --dataset before it.
        program: what the user typed to start it, for messages; by default
            "python -m experiments.NAME".

    Returns:
        The exit status: 2 for bad input, 4 if a finding of --fail-on is claimed, 128 + signal if
        stopped.
    """
    timer = Timer(began)
    console.escape_unencodable()
    # Modules imported by now stay to the end, so neither garbage collection nor the exit needs to
    # walk over them again (0.3 s).
    gc.freeze()
    words = sys.argv[1:] if arguments is None else list(arguments)
    program = program or f"python -m experiments.{experiment}"
    # tyro would let a default subcommand swallow options, so the first word decides.
    if words and words[0] in FURTHER:
        return further(words[0], words[1:], f"{program} {words[0]}")
    words = current_words(words, console.warning)

    def run() -> int:
        given, options = with_dataset(words, program), defaults
        if isinstance(options, Mapping):
            options, given = _preset(options, given)
        options = parse(
            type(options), given, program=program, description=description, default=options
        )
        check_codes(options.fail_on)
        with processes.joined(options.coordinator, options.processes, options.process_id):
            begun = set_up(experiment, options, timer)
            if isinstance(begun, Setup):
                again = begun._replace(command=command_again(program, words))
                found = _fill_folder(work or train_one, again)
            else:
                found = begun
            if processes.is_first():
                show(found.result)
                if options.open:
                    open_page(found.folder)
        return status_of(found.result, options.fail_on)

    with result_alone("--json" in words) as show:
        console.listen()
        return exit_status(run)


def further(command: str, words: Sequence[str], program: str) -> int:
    """Run `look`, `predict` or `prepare`, which begin no run.

    Args:
        command: which of them.
        words: the words that follow it on the command line.
        program: what the user typed to start it, for messages.

    Returns:
        The exit status, as `main` returns it.
    """
    options, do = FURTHER[command]
    console.escape_unencodable()
    console.listen(stderr=command == "predict")  # its standard output is the predictions
    words = current_words(words, console.warning)

    def run() -> None:
        given = with_dataset(words, program) if issubclass(options, DataOptions) else words
        about = importlib.import_module(f"jaxnet.cli.commands.{command}").__doc__
        do(parse(options, given, program=program, description=about))

    return exit_status(run)


def with_dataset(words: list[str], program: str) -> list[str]:
    """The words of a command line with --dataset before a data set that comes first.

    Args:
        words: the words.
        program: what the user typed to start it, for messages.

    Returns:
        The words.

    Raises:
        InputError: where the first word resembles another command, and no file has its name.
    """
    if not words or words[0].startswith("-"):
        return words
    if nearest(words[0], FURTHER) is not None and not os.path.exists(words[0]):
        raise InputError(
            f"{program}: unknown command {words[0]!r}{near(words[0], FURTHER)}; options begin "
            "with --"
        )
    return ["--dataset", *words]


def exit_status(do: Callable[[], int | None]) -> int:
    """Do the work of a command, and print what stops it.

    Args:
        do: the work; it may return an exit status.

    Returns:
        The exit status: 2 for bad input, 128 + signal if stopped, else that of the work, or 0.
    """
    status = 0
    try:
        status = do() or 0
    except InputError as error:
        console.error(str(error))
        return 2
    except Interrupted as stop:
        return 128 + stop.number
    except KeyboardInterrupt:
        console.error("stopped")
        return 128 + signal.SIGINT
    except OSError as error:
        console.error(
            f"{error.filename or 'standard output'}: {error.strerror or error}; make room, or "
            "give another place"
        )
        return 2
    finally:
        try:
            sys.stdout.flush()
        except OSError:  # Python would try again at exit, and print the error
            with suppress(OSError):
                sys.stdout.close()
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - to the end of the script
    return status


class Finished(NamedTuple):
    """A finished run.

    Attributes:
        folder: its folder.
        result: the content of its result.json.
    """

    folder: Path
    result: dict[str, Any]


def _fill_folder(work: Callable[[Setup], dict[str, Any]], setup: Setup) -> Finished:
    """Do the work of an experiment in its folder, and say how to go on where something stops it."""
    go_on = f"continue with the same options, --resume and --out {os.path.relpath(setup.out)}"
    try:
        with files.writing(setup.out), stopped_at_once(setup.out):
            result = work(setup)
    except InputError as error:
        run_folder.abandon(setup.out)
        if isinstance(error, files.NotWrittenError) and setup.out.exists():
            raise files.NotWrittenError(
                error.problem, f"then {go_on}: what was saved is kept"
            ) from None
        raise
    except Interrupted as stop:
        console.say(f"{stop}; {go_on}")
        raise
    console.say(f"written to {setup.out}")
    return Finished(setup.out, result)


def set_up(experiment: str, options: Options, timer: Timer) -> Setup | Finished:
    """Turn options into data, model, recipe and folder, and print a line on each.

    Args:
        experiment: name of the script.
        options: the options.
        timer: the seconds of each part of the run.

    Returns:
        The Setup; or the run, if it is finished already.

    Raises:
        InputError: for options that cannot be used.
    """
    # before JAX starts, which needs the same platform on all processes
    check_agreement(lambda: {"experiment": experiment, **shared_options(options)})
    if options.tensorboard:
        tensorboard.require()
    _start_jax(options)
    if not options.resume:  # with --resume the folder is known later; a finished run is not written
        processes.once(lambda: files.check_folder(options.out or run_folder.RUNS))
    build_model(options)
    recipe = build_recipe(options)
    check(recipe)  # invalid options are refused before the data are read
    phase(f"reading {options.dataset}", "usually a few seconds")
    with timer.part("data"):
        splits, on_disk = read(options)
    # Here, since all that follows depends on the data: a process might refuse its own before
    # `train` compares them.
    check_agreement(
        lambda: {"data": describe_data(splits if on_disk is None else with_stream(splits, on_disk))}
    )
    recipe = resolved(recipe, len(splits.train if on_disk is None else on_disk))
    options = replace(
        options, epochs=recipe.epochs, vocabulary=options.vocabulary or vocabulary_of(splits)
    )
    model = build_model(options)
    check(recipe, has_validation=len(splits.validation) > 0)
    layers = describe(model, splits)
    settings = {name: value for name, value in asdict(options).items() if name not in PLACE_OPTIONS}
    out, found = run_folder.begin(experiment, settings, options.out, resume=options.resume)
    if found:
        console.say(found)
    if finished := processes.once(lambda: run_folder.result(out)):
        console.say(f"finished already: {finished['verdict']}")
        return Finished(out, finished)
    console.data(splits)
    shared = overlaps(splits)
    for overlap in shared:
        console.say(f"warning: {overlap}, so what is measured on it is not of unseen examples")
    console.layers(model.name, layers)
    return Setup(experiment, options, splits, model, recipe, layers, shared, out, timer, on_disk)


def train_one(setup: Setup) -> dict[str, Any]:
    """Train, judge and write one network, or those of --members.

    Args:
        setup: the experiment.

    Returns:
        What result.json holds.
    """
    if isinstance(setup.options, TrainOptions) and setup.options.members > 1:
        return train_members(setup, setup.options)
    options, splits, model, recipe = setup.options, setup.splits, setup.model, setup.recipe
    plan, given = Plan(), splits
    if setup.stream is not None:
        given = with_stream(splits, setup.stream)
    batch, count = min(options.batch_size, len(given.train)), processes.index_and_count()[1]
    # what is divided over devices and processes
    divided = batch if setup.stream is None else layout(setup.stream, options.batch_size).shards
    together = count if options.normalization != "batch" and divided % count == 0 else 1
    if options.model == "cnn" and options.normalization != "batch":
        plan = plan_for_images(batch // together)
        plan = plan if divided // together % plan.devices == 0 else Plan()
    if plan.splits_batches:
        console.say(
            f"each batch is split over {plan.devices} CPU devices, {plan.micro_batch or 'all'} "
            "examples at a time, to fit their caches"
        )
    plan = replace(plan, processes=together)
    if together > 1:
        console.say(f"each batch is split over {count} processes")
    elif count > 1:
        why = "it needs each whole" if divided % count == 0 else f"{count} do not divide {divided}"
        console.say(
            f"warning: batches of {batch} are not split over processes, since {why}: each computes "
            "the same"
        )

    # Compiling needs no interpreter lock, so a thread imports and compiles what comes later. It is
    # no daemon, which would abort the process if it compiles while the interpreter ends (Ctrl-C).
    ahead = threading.Thread(target=warm_up, args=(setup,))
    ahead.start()
    weights = class_weights(splits.train) if options.balance else None
    logs = (
        tensorboard.live(setup.out / TENSORBOARD)
        if options.tensorboard and processes.is_first()
        else nullcontext()
    )
    with training(setup) as (show, began), logs as log:

        def progress(epochs: int, row: EpochMetrics) -> None:
            show(epochs, row)
            if log is not None:
                log(epochs, row)

        run = train(
            model,
            given,
            recipe,
            jax.random.key(options.seed),
            out=setup.out,
            weights=weights,
            progress=progress,
            plan=plan,
            signals=options.signals if isinstance(options, TrainOptions) else None,
        )
    ahead.join()
    return report(setup, model, run, {"resumed": began})


def train_members(setup: Setup, options: TrainOptions) -> dict[str, Any]:
    """Diagnose the recipe, and write it with its first network.

    Args:
        setup: the experiment.
        options: its options.

    Returns:
        What result.json holds.
    """
    splits = setup.splits
    with training_members(setup) as (progress, began):
        diagnosis = diagnose(
            setup.model,
            splits,
            setup.recipe,
            jax.random.key(options.seed),
            members=options.members,
            seconds=options.seconds,
            target_error=options.target_error,
            tolerance=options.tolerance,
            balance=options.balance,
            out=setup.out / MEMBERS,
            progress=progress,
        )
    if diagnosis.unseen is not None:
        write_unseen_losses(setup.out, diagnosis.unseen)
    population = diagnosis.networks
    assert population is not None
    assert population.predictions is not None
    from jaxnet.report import figures

    figures.error_analysis(diagnosis, setup.out / "figures/diagnosis.png")
    # With cross-fitting, the first network is the one to keep, and those of the folds follow.
    judges, folds = slice(0, options.members), diagnosis.folds
    if folds is not None:
        judges = slice(1, 1 + folds.networks + folds.left_out)
        setup = setup._replace(splits=design_of(splits, setup.recipe, options.members).splits)
    test = population.predictions.test[judges]
    errors = diagnosis.errors
    more = {
        "members": diagnosis.members,
        "design": diagnosis.design,
        "accuracy": None
        if diagnosis.regression
        else {part: error.complement() for part, error in errors.items()},
        "error": errors,
        "verdict": diagnosis.verdict,
        "findings": diagnosis.findings,
        "diagnosis": diagnosis.summary(),
        "scores": {}
        if diagnosis.scores is None
        else {"test" if folds is None and len(splits.test) else "validation": diagnosis.scores},
        "hard_examples": hardest(test, splits),
        "resumed": began,
    }
    sound = np.flatnonzero(~population.diverged[: judges.stop])
    members = [population[int(i)] for i in sound] or [population[0]]
    history = None
    if folds is not None:
        rows = sound[sound > 0]
        history = jax.tree.map(lambda each: each[rows].mean(0), population.history)
    return report(
        setup, setup.model, members[0], more, str(diagnosis), members=members, history=history
    )


@contextmanager
def training(setup: Setup) -> Iterator[tuple[Callable[[int, EpochMetrics], None], dict[str, int]]]:
    """A context that shows the progress of a network on the console.

    Args:
        setup: the experiment.

    Yields:
        (a function of epochs and metrics, where it began, for `resumed` in result.json).
    """
    began: dict[str, int] = {}
    with setup.timer.part("train"):

        def progress(epochs: int, row: EpochMetrics) -> None:
            began.setdefault("from_epoch", epochs)
            of_epochs(epochs, row)

        yield progress, began


def _preset(presets: Mapping[str, Options], arguments: list[str]) -> tuple[Options, list[str]]:
    """(the defaults that --preset chooses, the remaining arguments)."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", default=next(iter(presets)))
    given, rest = parser.parse_known_args(arguments)
    check_known("preset", given.preset, presets)
    return presets[given.preset], rest


def _start_jax(options: Options) -> None:
    """Choose platform and cache, before JAX starts."""
    try:
        use_cpu_devices()  # one for each core, so that the parts of a batch run side by side
    except InputError as error:
        console.say(f"the CPU stays one device: {error}")
    use_platform(options.platform)
    if options.precision == "bfloat16" and jax.default_backend() == "cpu":
        raise InputError(
            "bfloat16 is for accelerators: on the CPU it is slower than float32; give --precision "
            "float32"
        )
    if options.cache:
        keep_programs()
    processes.barrier("begin")

"""The commands `predict` and `prepare` of an experiment."""

import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np

from jaxnet.arrays import NO_CLASS, chosen
from jaxnet.cli.options import PredictOptions, PrepareOptions, table_of
from jaxnet.cli.saved_run import read_run
from jaxnet.data import prepare
from jaxnet.data.schema import Schema
from jaxnet.data.sources.examples import Examples, read_examples
from jaxnet.display import visible
from jaxnet.engine.prediction import predict
from jaxnet.errors import InputError
from jaxnet.report import console
from jaxnet.runtime.devices import use_platform
from jaxnet.runtime.files import write_text, writing

LISTED = 20  # rows that cannot be used, one by one


def predict_files(options: PredictOptions) -> None:
    """Write predictions for the examples in files as CSV, to standard output or to a file, once all
    files were read.
    """
    if not options.files:
        raise InputError("no file is given; name one or more after predict")
    use_platform(options.platform)
    finished = read_run(options.run)
    model, run = finished.model, finished.run
    if run.diverged:
        print(
            f"the network {run.status}; a prediction that is not a number is left empty",
            file=sys.stderr,
        )
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    # a program gets the names unchanged, since it may compare them
    show = visible if options.out is None and sys.stdout.isatty() else str
    header = ["file", "row", *map(show, _columns(run.schema))]
    writer.writerow(header)
    nothing = ("",) * (len(header) - 2)
    table = table_of(options)
    for path in options.files:
        examples = read_examples(path, run.shape, finished.schema, table, strict=options.strict)
        _tell(path, examples)
        outputs = np.asarray(predict(model, run, examples.x[examples.usable]))
        predicted = dict(zip(examples.usable.tolist(), outputs, strict=True))
        for row in range(len(examples.x)):
            said = _cells(predicted[row], run.schema) if row in predicted else nothing
            writer.writerow([show(path), row, *map(show, said)])
    if options.out is None:
        sys.stdout.write(lines.getvalue())
    else:
        with writing(options.out):
            write_text(options.out, lines.getvalue())


def _columns(schema: Schema) -> tuple[str, ...]:
    """The names of what is predicted for one example."""
    if schema.multi_label:
        return (*schema.target_names, *(f"p({name})" for name in schema.target_names))
    if schema.targets is not None:
        return schema.target_names
    return ("prediction", *(f"p({name})" for name in schema.classes or ()))


def _cells(output: Any, schema: Schema) -> tuple[str, ...]:
    """What is predicted for one example: a value or several, a class and the probability of each,
    or 1 or 0 for each label and the probability of 1.
    """
    classes = schema.classes
    if schema.multi_label:
        p = np.exp(output)
        answers = ("" if np.isnan(each) else str(int(each > 0.5)) for each in p)
        return (*answers, *(f"{each:.6f}" for each in p))
    if classes is None:
        digits = np.finfo(output.dtype).precision + 1
        return tuple(f"{value:.{digits}g}" for value in np.ravel(output))
    number = int(chosen(output))
    name = "" if number == NO_CLASS else classes[number]
    return name, *(f"{p:.6f}" for p in np.exp(output))


def _tell(path: Path, examples: Examples) -> None:
    """Say on standard error what was filled, left out or unknown in a file, and list its rows that
    cannot be used.
    """
    for note in examples.notes:
        console.say(f"{path}: {note}", stderr=True)
    if refused := [*examples.refused.values()]:
        rows = f"{len(refused):,} of {len(examples.x):,} rows"
        console.warning(f"{path}: {rows} cannot be used, and nothing is predicted for them")
        for why in refused[:LISTED]:
            console.say(f"  {why}", stderr=True)
        if len(refused) > LISTED:
            console.say(f"  and {len(refused) - LISTED:,} more", stderr=True)


def prepare_data(options: PrepareOptions) -> None:
    """Prepare a data set, and print where it is."""
    folder_ = prepare(options.name, data_dir=options.data_dir, originals=options.originals)
    console.say(
        f"prepared in {folder_}; use it with --dataset {options.name}"
        + (f" --data-dir {options.data_dir}" * (options.data_dir is not None))
    )

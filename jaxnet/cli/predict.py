"""The commands `predict` and `prepare` of an experiment."""

import csv
import io
import sys

import numpy as np

from jaxnet.arrays import NO_CLASS, chosen
from jaxnet.cli.options import PredictOptions, PrepareOptions, table_of
from jaxnet.cli.saved_run import read_run
from jaxnet.data import prepare
from jaxnet.data.sources.examples import read_examples
from jaxnet.display import visible
from jaxnet.engine.prediction import predict
from jaxnet.report import console
from jaxnet.runtime.devices import use_platform
from jaxnet.runtime.files import write_text, writing


def predict_files(options: PredictOptions) -> None:
    """Write predictions for the examples in files as CSV, to standard output or to a file, once all
    files were read.
    """
    use_platform(options.platform)
    _, _, model, run = read_run(options.run)
    if run.diverged:
        print(
            f"the network {run.status}; a prediction that is not a number is left empty",
            file=sys.stderr,
        )
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    # a program gets the names unchanged, since it may compare them
    show = visible if options.out is None and sys.stdout.isatty() else str
    writer.writerow(
        ["file", "row", "prediction", *(f"p({show(name)})" for name in run.classes or ())]
    )
    table = table_of(options)
    for path in options.files:
        outputs = np.asarray(predict(model, run, read_examples(path, run.shape, run.schema, table)))
        for row, output in enumerate(outputs):
            if run.classes is None:
                writer.writerow(
                    [show(path), row, f"{output:.{np.finfo(outputs.dtype).precision + 1}g}"]
                )
            else:
                number = int(chosen(output))
                name = "" if number == NO_CLASS else run.classes[number]
                writer.writerow(
                    [show(path), row, show(name), *(f"{p:.6f}" for p in np.exp(output))]
                )
    if options.out is None:
        sys.stdout.write(lines.getvalue())
    else:
        with writing(options.out):
            write_text(options.out, lines.getvalue())


def prepare_data(options: PrepareOptions) -> None:
    """Prepare a data set, and print where it is."""
    folder_ = prepare(options.name, data_dir=options.data_dir, originals=options.originals)
    console.say(
        f"prepared in {folder_}; use it with --dataset {options.name}"
        + (f" --data-dir {options.data_dir}" * (options.data_dir is not None))
    )

"""The options of a run, and the model and recipe that they describe."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from jaxnet.core.recipe import DEFAULT_SCHEDULE, OptimizerName, Precision, Recipe, ScheduleName
from jaxnet.data import (
    Augmentation,
    Column,
    Dataset,
    Splits,
    Standardization,
    Stream,
    augmentation,
    stream,
)
from jaxnet.data.corrections import with_corrections
from jaxnet.data.sources.request import NO_GROUPS
from jaxnet.data.streaming.stream import random_rows
from jaxnet.data.tables.table import DateOrder, Fill, Table, checked
from jaxnet.engine.loading import load
from jaxnet.errors import InputError, near
from jaxnet.models.builtin import cnn, linear, mlp
from jaxnet.models.model import Model
from jaxnet.population.halving import Halving
from jaxnet.studies.space import Axis, Linear, LogUniform, Trial, grid, quasi_random, random

# options by former names
FORMER_OPTIONS = {
    "ignore": "drop-columns",
    "normalisation": "normalization",
    "second-momentum": "b2",
}
# keywords of `load`
READING = (
    "data_dir",
    "validation",
    "test",
    "task",
    "label",
    "groups",
    "order",
    "drop_columns",
    "image_size",
    "inputs",
    "pad",
)
HEADER_WORDS = (["True"], ["False"], ["None"])
# fields of a Table
TABLE = (
    "encoding",
    "separator",
    "decimal",
    "header",
    "types",
    "dates",
    "sheet",
    "drop_labels",
    "missing",
    "fill",
)
# options that need the training set in memory
IN_MEMORY = (
    *("groups", "order", "drop_columns", "balance", "members", "corrections", "signals"),
    *TABLE,
)
WHOLE_NUMBERS = ("epochs", "batch_size", "patience")
# hyperparameters whose ranges are logarithmic by default
LOGARITHMIC = ("learning_rate", "weight_decay", "l1", "clip")
# Options that say where a run happens and not what it computes. A run that stopped at an unusable
# row may continue without it, so --corrupt is one of them.
PLACE_OPTIONS = (
    "out",
    "resume",
    "platform",
    "data_dir",
    "cache",
    "coordinator",
    "processes",
    "process_id",
    "corrupt",
    "tensorboard",
    "open",
    "json",
    "fail_on",
)
# Options that may differ between processes: where each finds data and keeps programs, how it
# reaches process 0, and what process 0 alone decides or writes. --platform is not among them:
# devices of one kind cannot share a training with those of another.
OWN = (
    "data_dir",
    "cache",
    "coordinator",
    "process_id",
    "out",
    "resume",
    "tensorboard",
    "open",
    "json",
    "fail_on",
)


@dataclass(frozen=True)
class DataOptions:
    """Which data are read, and how."""

    dataset: str = "digits"
    """digits; mnist or another data set of TensorFlow Datasets; a table (.csv, .tsv, .txt, .csv.gz,
    .parquet, .xlsx), arrays (.npz), or a folder of images. The word --dataset may be left out if it
    comes first
    """
    data_dir: Path | None = None
    """folder of TensorFlow Datasets, or with the four files of mnist"""
    validation: float = 0.1
    """fraction to hold out for validation; 0 for none"""
    test: float = 0.2
    """fraction to hold out for the test, where the data set has no test set of its own"""
    task: Literal["classification", "regression", "multi-label"] | None = None
    """what the labels are; by default inferred from them, and the reason is printed"""
    label: str | tuple[str, ...] | None = None
    """column of a table to predict; by default the last. Several names predict several values, or
    with --task multi-label several yes/no labels
    """
    groups: str | None = None
    """column of a table, or array of an .npz file; rows with the same value stay in one part; by
    default a column that looks like an identifier and repeats, if there is one; none for no groups
    """
    order: str | None = None
    """column or array, such as a time, to sort by; the last examples are then the test set"""
    drop_columns: tuple[str, ...] = ()
    """columns of a table to leave out"""
    drop_labels: tuple[str, ...] = ()
    """labels of a table whose rows are left out; "" stands for rows without a label"""
    encoding: str | None = None
    """encoding of a table, such as utf-8, cp1252, shift_jis or mac_roman; this, --separator,
    --decimal, --header, --types and --dates are by default inferred from the file
    """
    separator: str | None = None
    """the character between the columns of a table; tab, or space for any number of spaces"""
    decimal: Literal[".", ","] | None = None
    """decimal sign of the numbers of a table: . or ,"""
    header: bool | None = None
    """whether the first line of a table has the names of its columns"""
    types: tuple[str, ...] = ()
    """what columns of a table are: COLUMN=number, =category, =date, or =drop"""
    dates: DateOrder | None = None
    """how dates of a table are written: day, month, year (dmy), or mdy or ymd"""
    sheet: str | None = None
    """name of the sheet of a spreadsheet; by default the first"""
    missing: tuple[str, ...] | None = None
    """the words that mean a gap in a table, instead of NA, N/A, n/a, NaN, nan, NULL, null, None, ?
    and #N/A; an empty cell always is one
    """
    fill: Fill = "median"
    """fill gaps in numbers and dates of a table with the median or mean of training and validation
    rows; refuse: stop with an error if there are gaps
    """
    image_size: tuple[int, int] | None = None
    """height and width to which images in files are scaled"""
    inputs: Literal["numbers", "tokens"] = "numbers"
    """numbers are standardized; tokens are whole numbers from 0 that stand for words or items"""
    pad: int | None = None
    """with --inputs tokens: the id that fills up shorter sequences and empty cells of a table
    """
    split_seed: int = 0
    """random seed of the split into training, validation and test set"""


@dataclass(frozen=True)
class Options(DataOptions):
    """Every option of a run."""

    model: Literal["mlp", "cnn", "linear"] = "mlp"
    """network; cnn is for images"""
    hidden: tuple[int, ...] = (128, 64)
    """widths of the hidden layers"""
    channels: tuple[int, ...] = (32, 64)
    """widths of the convolutions of a cnn"""
    kernel: tuple[int, ...] = (3,)
    """sizes of a cnn's convolutions: one for all, or one for each"""
    stride: tuple[int, ...] = (1,)
    """strides of the convolutions: 1 is followed by 2x2 max pooling, 2 halves the image"""
    padding: Literal["SAME", "VALID"] = "SAME"
    """padding of the convolutions"""
    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """activation function of the hidden layers"""
    normalization: Literal["layer", "batch"] | None = None
    """normalization of the hidden layers"""
    vocabulary: int | None = None
    """with --inputs tokens: number of ids that an mlp knows; by default those of the data"""
    optimizer: OptimizerName = Recipe.optimizer
    """optimizer"""
    schedule: ScheduleName = DEFAULT_SCHEDULE
    """how the learning rate changes over the run"""
    epochs: int | None = Recipe.epochs
    """passes over the training set; by default 10, or more if 10 are fewer than 150 steps"""
    batch_size: int = Recipe.batch_size
    """examples in each step"""
    learning_rate: float = Recipe.learning_rate  # pyrefly: ignore[bad-assignment]
    """largest learning rate"""
    momentum: float | None = None
    """momentum; by default the optimizer's usual one"""
    b2: float | None = None
    """b2 of adam and adamw; by default 0.999"""
    weight_decay: float | None = None
    """decoupled weight decay of the weights, not of the biases"""
    l1: float | None = None
    """L1 penalty: factor of the absolute values of the weights in the loss"""
    dropout: float | None = None
    """share of hidden units dropped in training"""
    label_smoothing: float | None = None
    """share of each target spread over all classes"""
    clip: float | None = None
    """clip the gradient to this norm"""
    shift: float | None = None
    """largest shift of images, pixels"""
    rotate: float | None = None
    """largest angle by which images are turned, degrees"""
    scale: float | None = None
    """largest change of size; 0.1 is up to 1.1 times larger or smaller"""
    elastic: float | None = None
    """elastic distortion: standard deviation of the displacement, pixels"""
    noise: float | None = None
    """standard deviation of noise, as a share of that of the input; also for tables"""
    cutout: float | None = None
    """side of a random square of the image that is set to the mean, pixels"""
    mixup: float | None = None
    """mix pairs of examples: alpha of the Beta distribution of their shares; also for tables"""
    patience: int | None = None
    """stop early after this many epochs without a lower validation loss"""
    balance: bool = False
    """weight examples so that every class counts the same"""
    precision: Precision = Recipe.precision  # pyrefly: ignore[bad-assignment]
    """precision of the network's matrix products; bfloat16 is for accelerators"""
    target_error: float | None = None
    """the error that is possible (such as human level) or required; by default unknown"""
    tolerance: float = 0.02
    """the smallest difference of errors that you care about; 0.02 is 2 percentage points"""
    seed: int = 0
    """random seed of training: initialization, order, noise"""
    platform: Literal["cpu", "gpu", "tpu"] | None = None
    """where to run; by default the fastest that JAX finds"""
    cache: bool = True
    """keep compiled programs in the user's cache folder, so that the next run starts sooner"""
    out: Path | None = None
    """folder to write; by default runs/NAME-<time>"""
    resume: bool = False
    """continue the run in --out, or else the newest unfinished one"""
    tensorboard: bool = False
    """write logs for TensorBoard into the folder too, epoch by epoch"""
    open: bool = False
    """open the page in the browser"""
    json: bool = False
    """print result.json on standard output, and everything else on standard error"""
    fail_on: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """end with exit status 4 if this problem is found, such as high_variance; may be repeated"""
    coordinator: str | None = None
    """where several processes run the same command: host:port of the first, or auto as on a TPU
    pod; Slurm and Open MPI need none
    """
    processes: int | None = None
    """with --coordinator: number of processes"""
    process_id: int | None = None
    """with --coordinator: number of this process, from 0"""


@dataclass(frozen=True)
class TrainOptions(Options):
    """Every option of a training."""

    members: int = 1
    """number of networks to train for a diagnosis (1: no diagnosis; 8 or more are cross-fitted; 16
    is the usual number)
    """
    seconds: float | None = None
    """time limit in seconds for a diagnosis; fewer networks are trained to meet it"""
    corrections: str | None = None
    """labels.csv, as the commands labels and census write it, with your corrections in its column
    corrected
    """
    signals: int | None = None
    """at how many steps of each epoch to measure, for each layer, the size of gradients and of
    updates and the share of dead units, such as 16; with --members it is always 16
    """
    stream: bool = False
    """leave the training set on disk: a folder with x.npy and y.npy, Parquet, or a data set of
    TensorFlow Datasets
    """
    corrupt: Literal["stop", "skip"] = "stop"
    """what to do at rows on disk that cannot be used: stop, and continue with --resume, or leave
    them out
    """


@dataclass(frozen=True)
class SweepOptions(Options):
    """Every option of a sweep."""

    space: tuple[str, ...] = ("learning_rate=1e-4:1",)
    """what to vary: name=low:high, name=low:high:linear or :log, or name=value,value;
    hidden=64,128x64 too
    """
    method: Literal["grid", "random", "quasi-random"] = "grid"
    """how to fill the space"""
    trials: int = 32
    """number of trials; for a grid, points per range"""
    seeds: int = 1
    """networks to train for each trial"""
    seconds: float | None = None
    """time limit in seconds; fewer seeds and then fewer trials are trained to meet it"""
    halving: int | None = None
    """train all trials a little, keep the best 1 in this many, and so on"""


@dataclass(frozen=True)
class SeedsOptions(Options):
    """Every option of a study of seeds."""

    members: int = 30
    """networks of each kind"""
    difference: float = 0.005
    """a difference of test errors that somebody claims"""


@dataclass(frozen=True)
class BiasVarianceOptions(Options):
    """Every option of a study of bias and variance."""

    vary: Literal["width", "examples", "epochs", "weight-decay", "label-noise"] | None = None
    """what to vary: width of the hidden layers, training examples per network, ..., share of
    training labels drawn anew
    """
    values: tuple[float, ...] = ()
    """its values; by default some that fit the data set"""
    members: int = 16
    """networks for each value"""
    examples: int | None = None
    """training examples of each network; by default a quarter of the training set"""
    as_values: bool = False
    """learn class numbers as values of a regression, by squared error"""
    pool: int = 1
    """side of the squares of pixels that images are averaged over first"""


@dataclass(frozen=True)
class LearningCurveOptions(Options):
    """Every option of a learning curve."""

    sizes: tuple[int, ...] = ()
    """training examples; by default from all there are down to a 64th, in steps of 1.4"""
    members: int = 8
    """networks at each size"""
    seconds: float | None = None
    """time limit in seconds; fewer networks are trained to meet it"""
    at: tuple[int, ...] = ()
    """sizes to predict the error for; by default two, four and eight times the largest one"""


@dataclass(frozen=True)
class CensusOptions(Options):
    """Every option of a census."""

    members: int = 512
    """networks, an even number: each example is new to about half of them"""
    share: float = 0.5
    """share of the examples that each network is trained on"""
    seconds: float | None = None
    """time limit in seconds; fewer networks are trained to meet it"""


@dataclass(frozen=True)
class LabelsOptions(Options):
    """Every option of a search for wrong labels."""

    members: int = 16
    """networks, a multiple of 4: a quarter of them is not trained on a given training example"""
    most: int = 100
    """how many doubtful labels to list for each part of the data set"""


@dataclass(frozen=True)
class ShiftOptions(Options):
    """Every option of a study of shifts."""

    repetitions: int = 20
    """batches of each size that are tested, for each shift"""
    level: float = 0.05
    """level of the tests: how often a batch without a shift may raise an alarm"""


@dataclass(frozen=True)
class AskedOptions:
    """A finished run, and how tables of new examples are read."""

    run: Path
    """folder of a finished run"""
    encoding: str | None = None
    """encoding of a table, such as utf-8, cp1252, shift_jis or mac_roman; this, --separator,
    --decimal and --header are by default inferred from the file
    """
    separator: str | None = None
    """the character between the columns of a table; tab, or space for any number of spaces"""
    decimal: Literal[".", ","] | None = None
    """decimal sign of the numbers of a table: . or ,"""
    header: bool | None = None
    """whether the first line of a table has the names of its columns"""
    dates: DateOrder | None = None
    """how dates of a table are written: day, month, year (dmy), or mdy or ymd; by default as in the
    table that the network learned from
    """
    sheet: str | None = None
    """name of the sheet of a spreadsheet; by default the first"""
    missing: tuple[str, ...] | None = None
    """the words that mean a gap; by default as in training"""
    strict: bool = False
    """refuse a file in which a row cannot be used or a category is unknown; by default such rows
    are listed, and unknown categories are counted
    """
    platform: Literal["cpu", "gpu", "tpu"] | None = None
    """where to run; by default the fastest that JAX finds"""


@dataclass(frozen=True, kw_only=True)
class MonitorOptions(AskedOptions):
    """Is this batch still like the data that a network was judged with? One line of JSON; exit
    status 0, 3 if shifted, 2 if bad.
    """

    new: Path
    """.npz file with an array x, or a table for a network that learned from one"""
    labels: Path | None = None
    """.csv file with columns row (from 0) and label, of 50 to 200 rows of --new that were drawn at
    random; with them the error is known whatever has changed
    """
    level: float = 0.01
    """how often a batch without a shift may raise an alarm"""
    data_dir: Path | None = None
    """folder of the data set, where the run kept no reference"""


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
    open: bool = False
    """open the page in the browser"""
    json: bool = False
    """print result.json on standard output, and everything else on standard error"""
    fail_on: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """end with exit status 4 if this finding is claimed: worse_run, where a later run is shown to
    be worse than an earlier one
    """


@dataclass(frozen=True)
class ReportOptions:
    """Every option of writing the page of a run again."""

    run: tyro.conf.Positional[Path | None] = None
    """folder of a finished run; by default the newest in runs/"""
    open: bool = False
    """open the page in the browser"""
    data_dir: Path | None = None
    """folder of the data set, as the run had it, or where its files are now"""
    platform: Literal["cpu", "gpu", "tpu"] | None = None
    """where to run; by default the fastest that JAX finds"""
    out: Path | None = None
    """folder to write report.html in; by default that of the run"""


@dataclass(frozen=True)
class AskOptions:
    """Every option of a search in which Optuna chooses the trials."""

    dataset: str = "digits"
    """what to learn from, as `jaxnet train` takes it"""
    data_dir: Path | None = None
    """folder of TensorFlow Datasets, or with the four files of mnist"""
    hidden: tuple[int, ...] = (64, 32)
    """widths of the hidden layers"""
    epochs: int = 10
    """passes over the training set"""
    rounds: int = 8
    """number of batches"""
    batch: int = 16
    """number of trials that Optuna proposes at once, and that train together"""
    seed: int = 0
    """random seed of training and search"""
    coordinator: str | None = None
    """where several processes run this: host:port of the first, or auto; each trains a share of
    every batch
    """
    processes: int | None = None
    """with --coordinator: number of processes"""
    process_id: int | None = None
    """with --coordinator: number of this process, from 0"""


@dataclass(frozen=True)
class PrepareOptions:
    """Prepare a data set of TensorFlow Datasets, once, so that it can be read from now on without
    TensorFlow.
    """

    name: tyro.conf.Positional[str]
    """as TensorFlow Datasets calls it"""
    data_dir: Path | None = None
    """where to keep it; by default where TensorFlow Datasets does"""
    originals: Path | None = None
    """folder with its original files, if they are not to be downloaded"""


@dataclass(frozen=True)
class LookOptions(DataOptions):
    """What would be learned from a data set: how its file is read, what each column becomes, the
    label and the task. Nothing is trained.
    """

    out: Path | None = None
    """file to write; by default standard output"""


@dataclass(frozen=True, kw_only=True)
class PredictOptions(AskedOptions):
    """Classes with probabilities, or values, for new examples, as CSV with a line for each example,
    numbered from 0 in each file. The columns of a table are found by their names, in any order. The
    line of a row that cannot be used is empty, and standard error says why.
    """

    files: tyro.conf.Positional[tuple[Path, ...]]
    """PNG or JPEG images, .npz files with an array x, or tables"""
    out: Path | None = None
    """file to write; by default standard output"""


def table_of(options: Any) -> Table:
    """What the options say of a table.

    Args:
        options: a dataclass with some of the fields of a Table.

    Returns:
        The Table.

    Raises:
        InputError: for a type that is not written as COLUMN=TYPE.
    """
    given = {name: getattr(options, name) for name in TABLE if hasattr(options, name)}
    words = {"tab": "\t", "\\t": "\t", "space": " "}
    given["separator"] = words.get(given["separator"], given["separator"])
    types: dict[str, Any] = {}
    for each in given.pop("types", ()):
        name, equals, kind = each.rpartition("=")
        if not equals:
            raise InputError(f"--types {each!r}: give COLUMN=TYPE, such as age=number")
        types[name] = kind
    return checked(Table(**given, types=types))


def current_words(words: Sequence[str], tell: Callable[[str], None]) -> list[str]:
    """Replace former names of options, and of axes of a space, by today's, give --header and
    --no-header their values, and read --groups None as none.

    Args:
        words: of the command line.
        tell: called with a sentence for each former name.

    Returns:
        The words.
    """
    current = [_current_word(word, tell) for word in words]
    # a flag that may also be left to be inferred has three values
    for place in reversed(range(len(current))):
        if current[place] == "--no-header":
            current[place : place + 1] = ["--header", "False"]
        elif current[place : place + 2] == ["--groups", "None"]:  # which would mean the default
            current[place + 1] = NO_GROUPS
        elif current[place] == "--header" and current[place + 1 : place + 2] not in HEADER_WORDS:
            current[place : place + 1] = ["--header", "True"]
    return current


def _current_word(word: str, tell: Callable[[str], None]) -> str:
    name, equals, value = word.partition("=")
    dashes = "--" if name.startswith("--") else ""
    new = FORMER_OPTIONS.get(name.removeprefix("--").replace("_", "-"))
    if new is None or not (dashes or equals):
        return word
    tell(f"{name} is now called {dashes}{new}")
    return f"{dashes}{new}{equals}{value}"


def build_model(options: Options) -> Model:
    """The network that the options describe. Raises InputError for a network of numbers where
    inputs are tokens, and for invalid widths.
    """
    if options.model != "mlp" and options.inputs == "tokens":
        raise InputError(
            f"--model {options.model} takes numbers, but --inputs is tokens; leave one of them out"
        )
    if options.vocabulary is not None and options.inputs != "tokens":
        raise InputError(
            f"--vocabulary is {options.vocabulary}, but inputs are numbers; give --inputs tokens"
        )
    match options.model:
        case "linear":
            return linear()
        case "cnn":
            shape = {"kernel": options.kernel, "stride": options.stride, "padding": options.padding}
            return cnn(
                options.channels,
                options.hidden,
                **shape,
                activation=options.activation,
                normalization=options.normalization,
            )
        case "mlp":
            return mlp(
                options.hidden,
                activation=options.activation,
                normalization=options.normalization,
                vocabulary=options.vocabulary,
            )


def shared_options(options: Any) -> dict[str, Any]:
    """The options that all processes of a run must have in common; only the last name of the path
    to the data.

    Args:
        options: a dataclass of options.

    Returns:
        The options by name.
    """
    shared = {name: value for name, value in asdict(options).items() if name not in OWN}
    return shared | {"dataset": Path(options.dataset).absolute().name}


def build_recipe(options: Options) -> Recipe:
    """The recipe that the options describe."""
    strengths = {name: getattr(options, name) for name in augmentation.AUGMENTATION_FIELDS}
    how = (
        Augmentation(**strengths)
        if any(strength is not None for strength in strengths.values())
        else None
    )
    return Recipe(
        **{f.name: getattr(options, f.name) for f in fields(Recipe) if f.name != "augmentation"},
        augmentation=how,
    )


def read(
    options: DataOptions, columns: tuple[Column, ...] | None = None
) -> tuple[Splits, Stream | None]:
    """Read the data that the options name.

    Args:
        options: the options.
        columns: those of a trained network, of which the inputs are made; None to learn them.

    Returns:
        (the data in memory, the training set if it stays on disk). In the second case random rows
        of it stand for it in memory.

    Raises:
        InputError: for what cannot be read, and for options that need a training set in memory.
    """
    reading = {name: getattr(options, name) for name in READING}
    if not (isinstance(options, TrainOptions) and options.stream):
        table = replace(table_of(options), columns=columns)
        splits = load(options.dataset, **reading, table=table, seed=options.split_seed)
        if isinstance(options, TrainOptions) and options.corrections is not None:
            splits = with_corrections(splits, Path(options.corrections))
        return splits, None
    if asked := [
        name for name in IN_MEMORY if getattr(options, name) != getattr(TrainOptions(), name)
    ]:
        raise InputError(
            f"--stream leaves the training set on disk, and --{asked[0]} needs all of it in "
            "memory; leave one of them out"
        )
    reading = {name: value for name, value in reading.items() if name not in IN_MEMORY}
    splits = stream(options.dataset, **reading, corrupt=options.corrupt, seed=options.split_seed)
    whole: Any = splits.train
    some = random_rows(whole, np.random.default_rng(options.split_seed))
    note = (
        f"{len(some):,} random training rows stand for all {len(whole):,} where the training "
        "set is judged or drawn"
    )
    return replace(splits, train=some, notes=(*splits.notes, note)), whole


def prepared(splits: Splits, options: BiasVarianceOptions) -> Splits:
    """The splits with images pooled, and class numbers as values, if the options say so.

    Args:
        splits: the data.
        options: the options.

    Returns:
        The changed splits.

    Raises:
        InputError: where pooling does not divide the images.
    """
    if options.pool == 1 and not options.as_values:
        return splits
    train, validation, test = (
        _prepared(part, options) for part in (splits.train, splits.validation, splits.test)
    )
    return replace(
        splits,
        standardization=Standardization.of(train),
        train=train,
        validation=validation,
        test=test,
    )


def _prepared(part: Dataset, options: BiasVarianceOptions) -> Dataset:
    x, y, side = np.asarray(part.x), np.asarray(part.y), options.pool
    if side > 1:
        if part.pixel_max is None or x.shape[1] % side or x.shape[2] % side:
            raise InputError(
                f"--pool {side} does not divide inputs of shape {x.shape[1:]}; give a divisor of "
                "an image's height and width"
            )
        x = x.reshape(len(x), x.shape[1] // side, side, x.shape[2] // side, side, *x.shape[3:])
        x = x.mean((2, 4), dtype=np.result_type(x.dtype, np.float32))
    if options.as_values:
        values = replace(part.schema, classes=None)
        return replace(part, x=x, y=y.astype(np.float32), schema=values)
    return replace(part, x=x, y=y)


def build_trials(options: SweepOptions) -> tuple[list[str], list[Trial]]:
    """The trials of a sweep.

    Args:
        options: the options.

    Returns:
        (names of what --space varies, the trials).

    Raises:
        InputError: for a space that is invalid.
    """
    axes = build_space(options)
    match options.method:
        case "grid":
            return list(axes), grid(axes, options.trials)
        case "random":
            return list(axes), random(axes, options.trials, seed=options.seed)
        case "quasi-random":
            return list(axes), quasi_random(axes, options.trials, seed=options.seed)


def build_halving(options: SweepOptions, trials: Sequence[Trial], recipe: Recipe) -> Halving | None:
    """The Halving that --halving asks for, or None.

    Args:
        options: the options.
        trials: the trials of the sweep.
        recipe: the recipe that they change.

    Returns:
        After which epochs the worst trials are stopped.
    """
    if options.halving is None:
        return None
    epochs = min(trial.get("epochs", recipe.epochs) for trial in trials)
    return Halving.geometric(epochs, factor=options.halving)


def build_space(options: SweepOptions) -> dict[str, Axis]:
    """The search space that --space describes. Raises InputError if it is invalid."""
    return dict(_axis(text, options) for text in options.space)


def _axis(text: str, options: Options) -> tuple[str, Axis]:
    name, _, given = text.partition("=")
    name = name.strip().replace("-", "_")
    if not given:
        raise InputError(f"--space {text!r}: give name=low:high or name=value,value")
    if name == "hidden":
        return "model", [
            build_model(
                replace(
                    options, hidden=tuple(_number(width, text, int) for width in each.split("x"))
                )
            )
            for each in given.split(",")
        ]
    known = {f.name: f for f in fields(Recipe) if f.name != "augmentation"}
    if name not in (names := (*known, *augmentation.AUGMENTATION_FIELDS)):
        raise InputError(
            f"--space {text!r}: unknown hyperparameter {name!r}{near(name, ('hidden', *names))}"
        )
    if ":" not in given:
        kind = (
            float
            if name not in known or not known[name].metadata.get("static")
            else int
            if name in WHOLE_NUMBERS
            else str
        )
        return name, [
            each if kind is str else _number(each, text, kind) for each in given.split(",")
        ]
    low, high, *scale = given.split(":")
    if scale not in ([], ["log"], ["linear"]):
        raise InputError(f"--space {text!r}: the scale is {':'.join(scale)!r}; give log or linear")
    if name in WHOLE_NUMBERS:
        raise InputError(
            f"--space {text!r}: {name} is a whole number; give some values instead, "
            f"{name}={low},{high}"
        )
    log = scale == ["log"] or (not scale and name in LOGARITHMIC)
    return name, (LogUniform if log else Linear)(
        _number(low, text, float), _number(high, text, float)
    )


def _number(given: str, text: str, kind: type) -> Any:
    try:
        return kind(given)
    except ValueError:
        raise InputError(
            f"--space {text!r}: {given!r} is not a{' whole' * (kind is int)} number; give one"
        ) from None

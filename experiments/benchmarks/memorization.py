"""Which of MNIST's training images are memorized, and how well do so many networks tell?

    python -m experiments.benchmarks.memorization --data-dir FOLDER [--networks 200] [--folder OUT]

Networks 784-512-256-10 are trained for 10 epochs, each on a random 70% of the 60,000 training
images, as `jaxnet.census(..., share=0.7)` trains them. Memorization of an image is how much more
often networks are right on it if they were trained on it (Feldman & Zhang 2020, eq. 1, who trained
2,000 networks). A row of the table has the share of images whose memorization is above .25, with
the limits that the networks leave, and the reliability: how well the values would agree with those
of as many other networks. What is trained is kept in the folder in blocks of 4 networks, and a
call with more networks goes on from there; `--networks 0` prints the table alone.
"""

import math
import sys
import time
from pathlib import Path

import jax
import numpy as np

import jaxnet
from experiments.benchmarks.cost_model import FEATURES, Job, Kind, chips, need, of_network
from experiments.benchmarks.rows import append, parser, read
from jaxnet.engine.arguments import without_test
from jaxnet.population.predictions import predictions_of
from jaxnet.random import numbered
from jaxnet.stats.memorization import memorization, memorization_reliability, memorized
from jaxnet.studies.census import ORDER

TABLE = Path(__file__).with_name("memorization.csv")
FIELDS = (
    *("networks", "images", "above", "above_low", "above_high", "reliability", "mean"),
    *("unseen", "seen", "core_seconds"),
)
BLOCK, SHARE, IMAGES, PUBLISHED = 4, 0.7, 60_000, 2000
HIDDEN, RECIPE = (512, 256), jaxnet.Recipe(epochs=10, batch_size=256)


def train_block(splits: jaxnet.Splits, block: int, file: Path) -> None:
    """Train the networks of a block, and keep which images each has seen and is wrong on."""
    key, n = jax.random.key(0), len(splits.train)
    members = np.arange(block * BLOCK, (block + 1) * BLOCK)
    samples = jaxnet.resampling.halves(key, int(members[-1]) + 1, n, share=SHARE).only(members)
    model, seen = jaxnet.mlp(HIDDEN), without_test(splits)
    began = time.process_time()
    population = jaxnet.fit_population(
        model, seen, RECIPE, numbered(key, members), resample=samples.as_weights(),
        order_key=jax.random.fold_in(key, ORDER),
    )  # fmt: skip
    outputs = predictions_of([model], seen, population, seen=True).train
    assert outputs is not None
    seconds = time.process_time() - began
    wrong = np.stack([each.argmax(1) != np.asarray(splits.train.y) for each in outputs])
    halves = np.stack([samples.seen(i) for i in range(BLOCK)])
    part = file.with_suffix(".part.npz")
    np.savez_compressed(part, wrong=wrong, halves=halves, seconds=seconds)
    part.replace(file)
    print(
        f"networks {members[0]} to {members[-1]}: {seconds:.0f} s, error "
        f"{wrong[~halves].mean():.2%} on unseen images and {wrong[halves].mean():.2%} on seen ones",
        flush=True,
    )


def found_by(files: list[Path]) -> dict[str, object]:
    """The row of the networks in these files."""
    blocks = [np.load(file) for file in files]
    wrong, halves = (
        np.concatenate([each[name] for each in blocks]) for name in ("wrong", "halves")
    )
    pair_of = np.arange(len(wrong)) // 2
    share = memorized(wrong, halves, pair_of)[1]
    numbers = (
        *(share.estimate, share.low, share.high),
        memorization_reliability(wrong, halves, pair_of),
        np.nanmean(memorization(wrong, halves)),  # not of images that all networks have seen
        *(wrong[of].mean() for of in (~halves, halves)),
    )
    row = (*wrong.shape, *(f"{number:.5f}" for number in numbers))
    seconds = f"{sum(float(each['seconds']) for each in blocks):.0f}"
    return dict(zip(FIELDS, (*row, seconds), strict=True))


def stepped(reliability: float, times: float) -> float:
    """The reliability of a mean of so many times as many networks (Spearman 1910; Brown 1910)."""
    return times * reliability / (1 + (times - 1) * reliability)


def seconds_on(kind: Kind) -> float:
    """What the published number of networks would take on one device, calculated."""
    parameters, activations = of_network(HIDDEN)
    epochs, batch = RECIPE.epochs, RECIPE.batch_size
    job = Job(
        PUBLISHED, parameters, IMAGES, FEATURES, activations, batch, epochs, "adam", best=False
    )
    found = need(job, kind, devices=1, disk=math.inf)
    assert found is not None
    return found.seconds


def main() -> int:
    """Train what is missing, and print the table."""
    made = parser(__doc__, TABLE, networks=200)
    made.add_argument("--data-dir", default="", help="the folder with the files of MNIST")
    made.add_argument("--folder", type=Path, default=Path("memorization"), help="for the networks")
    options = made.parse_args()
    if options.networks % BLOCK:
        made.error(f"--networks is {options.networks}; give a multiple of {BLOCK}")
    if options.networks:
        jaxnet.use_cpu_devices()
        jaxnet.enable_cache()
        options.folder.mkdir(parents=True, exist_ok=True)
        splits = jaxnet.load("mnist", data_dir=options.data_dir, validation=0)
        blocks = range(options.networks // BLOCK)
        files = [options.folder / f"{block}.npz" for block in blocks]
        for block, file in enumerate(files):
            if not file.exists():
                train_block(splits, block, file)
        if str(options.networks) not in {row["networks"] for row in read(options.table)}:
            append(options.table, [found_by(files)], FIELDS)
    for row in read(options.table):
        above, low, high, reliability, _, unseen, seen, seconds = (
            float(row[f]) for f in FIELDS[2:]
        )
        networks, v5e = int(row["networks"]), chips(utilization=0.2)[0][0]
        print(
            f"{networks} networks, {row['images']} images: {above:.2%} ({low:.2%} to {high:.2%}) "
            f"memorized above .25; reliability {reliability:.3f}; error {unseen:.2%} on unseen "
            f"images, {seen:.2%} on seen ones; {seconds:,.0f} s that cores worked. {PUBLISHED:,} "
            f"networks, calculated: reliability {stepped(reliability, PUBLISHED / networks):.3f}; "
            f"on 2 cores {seconds / networks * PUBLISHED / 2 / 3600:.1f} h, on one {v5e.name} "
            f"{seconds_on(v5e):.0f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

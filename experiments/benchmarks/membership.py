"""Does a census' attack recognize more training examples than a threshold on the loss?

    python -m experiments.benchmarks.membership [--seeds 3] [--only digits]

A row has the shares of training examples that are recognized at 1% and .1% false positives, by
likelihood ratios and by a threshold on the loss, the limits of their difference, and, for test
examples that no network saw, half of which are called training examples at random, the limits of
the share that is recognized, which should hold the false positives. MNIST is 5,000 of its
training examples, where --data-dir names the folder of its files.
"""

import sys
import time
from pathlib import Path

import jax
import numpy as np

import jaxnet
from experiments.benchmarks.rows import append, missing, parser, read
from jaxnet.data.resampling import halves
from jaxnet.stats.membership import likelihood_ratios, logit_of_confidence, true_positives
from jaxnet.studies.census_membership import RATES

TABLE = Path(__file__).with_name("membership.csv")
NUMBERS = tuple(
    f"{name}_{rate:g}"
    for rate in RATES
    for name in ("attack", "loss", "gain_low", "gain_high", "unseen", "unseen_low", "unseen_high")
)
FIELDS = ("case", "data", "seed", "members", *NUMBERS, "seconds")


def problem(name: str, folder: str) -> tuple[jaxnet.Splits, jaxnet.Model, jaxnet.Recipe, int]:
    """The data, a model, a recipe and the number of networks."""
    if name == "digits":
        return jaxnet.load("digits"), jaxnet.mlp((64,)), jaxnet.Recipe(epochs=30), 512
    whole = jaxnet.load("mnist", data_dir=folder, validation=0)
    x, y = (np.asarray(part)[:6000] for part in (whole.train.x, whole.train.y))
    splits = jaxnet.split(x, y, test=1 / 6, validation=0.0, seed=0)
    return splits, jaxnet.mlp((32,)), jaxnet.Recipe(epochs=15), 128


def measure(data: str, seed: int, folder: str) -> dict[str, object]:
    """One row of the table."""
    splits, model, recipe, members = problem(data, folder)
    began = time.perf_counter()
    census = jaxnet.census(model, splits, recipe, jax.random.key(seed), members=members)
    found = census.membership_inference()
    print(found, flush=True)
    y, own = np.asarray(splits.test.y), ~census.population.diverged[:-1]
    outputs = np.asarray(jaxnet.predict(model, census.population, splits.test.x))[:-1][own]
    confidence = np.stack(
        [logit_of_confidence(np.asarray(each, np.float16), y) for each in outputs]
    )
    drawn = halves(jax.random.key(seed + 1000), members, len(y))
    seen = np.stack([drawn.seen(i) for i in range(members)])[own]
    ratios = likelihood_ratios(confidence, seen, np.flatnonzero(own) // 2)
    (unseen, _), _ = true_positives([ratios, confidence], seen, RATES)
    numbers = list[float]()
    for at in range(len(RATES)):
        numbers += [found.recognized[at].estimate, found.loss_threshold[at].estimate]
        numbers += [found.gain[at].low, found.gain[at].high]
        numbers += [unseen[at].estimate, unseen[at].low, unseen[at].high]
    values = (f"{data}, {seed}", data, seed, members, *(f"{each:.5f}" for each in numbers))
    return dict(zip(FIELDS, (*values, f"{time.perf_counter() - began:.0f}"), strict=True))


def main() -> int:
    """Measure what is missing, and print the table."""
    made = parser(__doc__, TABLE, seeds=3)
    made.add_argument("--data-dir", default="", help="the folder with the files of MNIST")
    options = made.parse_args()
    jaxnet.enable_cache()
    names = ("digits", "mnist") if options.data_dir else ("digits",)
    cases = {f"{name}, {seed}": (name, seed) for name in names for seed in range(options.seeds)}
    for case in missing(options, cases, "case"):
        append(options.table, [measure(*cases[case], options.data_dir)], FIELDS)
    for row in read(options.table):
        print(row["case"], *(f"{name} {float(row[name]):.2%}" for name in NUMBERS), sep="  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())

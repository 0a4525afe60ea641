"""Does a census find a slice where the error is higher, and none where there is none?

    python -m experiments.benchmarks.slices [--planted 20] [--none 40]

2,000 examples of three classes far apart, with a column of ten values: where it has
one of them, 20% of the labels are changed, elsewhere 5%; or 5% everywhere. A row says which slices
the census names, and how many findings are claimed.
"""

import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

import jaxnet
from experiments.benchmarks.rows import append, missing, parser, read

TABLE = Path(__file__).with_name("slices.csv")
FIELDS = ("case", "planted", "seed", "found", "slices", "claimed", "words", "error", "elsewhere")
VALUES, MEMBERS, EXAMPLES = "abcdefghij", 32, 2000


def measure(planted: bool, seed: int) -> dict[str, object]:
    """One row of the table."""
    rng = np.random.default_rng([planted, seed])
    true, value = rng.integers(0, 3, EXAMPLES), rng.integers(0, 10, EXAMPLES)
    wrong = rng.random(EXAMPLES) < np.where(planted & (value == 0), 0.2, 0.05)
    y = np.where(wrong, (true + rng.integers(1, 3, EXAMPLES)) % 3, true)
    x = 10.0 * np.eye(3)[true] + rng.normal(size=(EXAMPLES, 3))
    x = np.concatenate([x, rng.normal(size=(EXAMPLES, 3)), np.eye(10)[value]], 1)
    columns = [jaxnet.data.Column(f"number {i}") for i in range(6)]
    columns.append(jaxnet.data.Column("color", tuple(VALUES)))
    splits = jaxnet.split(x.astype(np.float32), y, validation=0.0, test=0.02, seed=seed)
    own = tuple(columns)
    splits = replace(splits, columns=own)  # pyrefly: ignore[unexpected-keyword]
    recipe = jaxnet.Recipe(epochs=5, batch_size=128, learning_rate=3e-2)
    census = jaxnet.census(jaxnet.mlp((8,)), splits, recipe, jax.random.key(seed), members=MEMBERS)
    claimed = [each for each in census.findings if each.code == "slice" and each.claimed]
    first = census.slices[0] if census.slices else None
    return {
        "case": f"{'planted' if planted else 'none'}, {seed}",
        "planted": int(planted),
        "seed": seed,
        "found": int(any(each.words == "color is a" for each in census.slices)),
        "slices": len(census.slices),
        "claimed": len(claimed),
        "words": "; ".join(each.words for each in census.slices),
        "error": f"{first.error:.4f}" if first else "",
        "elsewhere": f"{first.elsewhere:.4f}" if first else "",
    }


def main() -> int:
    """Measure what is missing, and print the counts."""
    made = parser(__doc__, TABLE, planted=20, none=40)
    options = made.parse_args()
    jaxnet.enable_cache()
    cases = {f"planted, {seed}": (True, seed) for seed in range(options.planted)}
    cases |= {f"none, {seed}": (False, seed) for seed in range(options.none)}
    for case in missing(options, cases, "case"):
        append(options.table, [measure(*cases[case])], FIELDS)
    rows = read(options.table)
    for planted, words in (("1", "a planted slice"), ("0", "no slice")):
        own = [row for row in rows if row["planted"] == planted]
        print(
            f"{words}: {len(own)} censuses; found in {sum(int(row['found']) for row in own)}, any "
            f"slice named in {sum(row['slices'] != '0' for row in own)}, claimed (above the "
            f"tolerance of 2%) in {sum(row['claimed'] != '0' for row in own)}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

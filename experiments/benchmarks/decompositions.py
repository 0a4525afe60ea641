"""How long does a diagnosis take, beside mlxtend's decomposition of scikit-learn's network?

    python -m experiments.benchmarks.decompositions diagnose [--rounds 64]
        whole time, compilation included
    python -m experiments.benchmarks.decompositions alone
        decompositions of 64 members x 10,000 examples

The same data (digits), network size and epochs. Of mlxtend, `rounds` bootstraps, one after the
other; of jaxnet `members=rounds`, which trains as many networks on all examples, and partitions
into quarters and halves beside them.
"""

import argparse
import resource
import sys
import time
import warnings

import jax
import numpy as np

import jaxnet
from jaxnet.diagnostics import bias_variance_decomposition
from jaxnet.stats.bias_variance import LOSSES

HIDDEN, EPOCHS, BATCH, RATE = (64, 32), 30, 64, 1e-3


def diagnose(rounds: int) -> None:
    """Both, once."""
    from mlxtend.evaluate import bias_variance_decomp
    from sklearn.neural_network import MLPClassifier

    warnings.filterwarnings("ignore")
    splits = jaxnet.load("digits")
    x, y, new, labels = (
        np.asarray(a) for a in (splits.train.x, splits.train.y, splits.test.x, splits.test.y)
    )
    began = time.perf_counter()
    recipe = jaxnet.Recipe(epochs=EPOCHS, batch_size=BATCH, learning_rate=RATE, schedule="constant")
    found = jaxnet.diagnose(jaxnet.mlp(HIDDEN), splits, recipe, jax.random.key(0), members=rounds)
    ours = time.perf_counter() - began
    print(found)
    began = time.perf_counter()
    estimator = MLPClassifier(
        HIDDEN,
        max_iter=EPOCHS,
        batch_size=BATCH,
        learning_rate_init=RATE,
        n_iter_no_change=EPOCHS + 1,
    )
    flat = (part.reshape(len(part), -1) / 16 for part in (x, new))
    x, new = flat
    loss, bias, variance = bias_variance_decomp(
        estimator, x, y, new, labels, loss="0-1_loss", num_rounds=rounds, random_seed=0
    )
    theirs = time.perf_counter() - began
    networks = rounds + sum(
        parts.members for parts in found.decompositions if parts.design == "partition"
    )
    print(
        f"\nmlxtend, {rounds} bootstraps: loss {loss:.4f}, bias {bias:.4f}, variance {variance:.4f}"
    )
    print(
        f"jaxnet {ours:.1f} s for {networks} networks, mlxtend {theirs:.1f} s for {rounds}: "
        f"{theirs / ours:.1f} times as long"
    )


def alone() -> None:
    """Each decomposition, after a first one."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 10_000)
    logits = (
        rng.standard_normal((64, 10_000, 10), dtype=np.float32)
        + 2.5 * np.eye(10, dtype=np.float32)[y]
    )
    log_p = (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)
    ids, values = log_p.argmax(-1), logits[..., 0].copy()
    bias_variance_decomposition(ids[:, :300], y[:300], loss="zero_one")
    before, total = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0
    for loss in LOSSES:
        given = values if loss == "squared" else ids if loss.startswith("zero") else log_p
        began = time.perf_counter()
        found = bias_variance_decomposition(
            given, y.astype(np.float32) if loss == "squared" else y, loss=loss
        )
        took = time.perf_counter() - began
        total += took
        print(f"{loss:26s}{took:6.2f} s   bias {found.bias}   variance {found.variance}")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"{'all':26s}{total:6.2f} s; {grown:.0f} MiB of memory beyond the predictions' own "
        f"{log_p.nbytes / 2**20:.0f} MiB"
    )


def main() -> int:
    """Print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("which", choices=("diagnose", "alone"))
    parser.add_argument("--rounds", type=int, default=64)
    options = parser.parse_args()
    if options.which == "alone":
        alone()
        return 0
    jaxnet.use_cpu_devices()
    diagnose(options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())

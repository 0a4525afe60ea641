"""Does a search that learns from its trials find better hyperparameters? Optuna asks for a batch,
one program trains it.

    pip install optuna
    python -m experiments.ask_and_tell --rounds 8 --batch 16

An example of a population inside another library's loop: every round is one call of fit_population,
and since its shapes stay the same, nothing is compiled after the first.
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import tyro

import jaxnet
from jaxnet.agreement import check_agreement
from jaxnet.cli.options import shared_options
from jaxnet.report import console
from jaxnet.runtime import processes


@dataclass(frozen=True)
class Options:
    """What to search."""

    dataset: str = "digits"
    """as in the other experiments"""
    data_dir: Path | None = None
    """where it is, for data sets that need it"""
    hidden: tuple[int, ...] = (64, 32)
    """widths of the hidden layers"""
    epochs: int = 10
    """of every training"""
    rounds: int = 8
    """how often Optuna is asked"""
    batch: int = 16
    """trials it is asked for at once"""
    seed: int = 0
    """of training and search"""
    coordinator: str | None = None
    """where several processes run this: host:port of the first, or auto; each trains a share of
    every batch
    """
    processes: int | None = None
    """with --coordinator: how many there are"""
    process_id: int | None = None
    """with --coordinator: which of them this is, from 0"""


def main() -> int:
    """The search, by one process or several."""
    console.open_to_all_names()
    options = tyro.cli(Options, description=__doc__)
    try:
        import optuna
    except ModuleNotFoundError:
        console.error("this example needs the package optuna: pip install optuna")
        return 2
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("jaxnet").addHandler(console.Spoken())
    try:
        with processes.joined(options.coordinator, options.processes, options.process_id):
            search(options)
    except jaxnet.InputError as error:
        console.error(str(error))
        return 2
    return 0


def search(options: Options) -> None:
    """Asks, trains, tells; then says the test error of the best."""
    import optuna

    check_agreement(lambda: {"experiment": "ask_and_tell", **shared_options(options)})
    jaxnet.use_cpu_devices()
    processes.meet("begin")
    splits = jaxnet.load(options.dataset, data_dir=options.data_dir)
    model, keys = (
        jaxnet.mlp(options.hidden),
        jax.random.split(jax.random.key(options.seed), options.batch),
    )
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(
            seed=options.seed, constant_liar=True, multivariate=False
        )
    )
    best = None
    for number in range(options.rounds):
        trials = [study.ask() for _ in range(options.batch)]
        recipe = jaxnet.Recipe(
            optimizer="adamw",
            schedule="one_cycle",
            epochs=options.epochs,
            batch_size=64,
            learning_rate=np.array(
                [trial.suggest_float("learning_rate", 1e-4, 1.0, log=True) for trial in trials]
            ),
            weight_decay=np.array(
                [trial.suggest_float("weight_decay", 1e-4, 1.0, log=True) for trial in trials]
            ),
            dropout=np.array([trial.suggest_float("dropout", 0.0, 0.6) for trial in trials]),
        )
        population = jaxnet.fit_population(model, splits, recipe, keys)
        losses = np.asarray(population.run.history.validation_loss)[:, -1]
        for trial, loss, lost in zip(trials, losses, population.diverged, strict=True):
            if lost:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, float(loss))
        if best is None or np.nanmin(losses) < best[0]:
            winner = int(np.nanargmin(losses))
            best = float(losses[winner]), population[winner]
        console.say(
            f"round {number + 1}/{options.rounds}: lowest validation loss "
            f"{np.nanmin(losses):.4f}, so far {best[0]:.4f}"
        )
    assert best is not None
    test = jaxnet.evaluate(model, best[1], splits.test)
    console.say(
        f"{study.best_params}: test error {test.error}; chosen by validation loss among "
        f"{options.rounds * options.batch}"
    )


if __name__ == "__main__":
    sys.exit(main())

"""Example script: Optuna proposes learning rates, weight decays and dropout rates, and jaxnet
trains each batch of them as one population.

    pip install optuna
    python -m experiments.ask_and_tell --rounds 8 --batch 16

Optuna learns from the validation losses of earlier batches what to propose next; the network with
the lowest one is judged on the test set. This is how to use a population inside another library's
loop: every round is one call of fit_population, and since its shapes stay the same, nothing is
compiled after the first.
"""

import logging
import sys
from typing import Any

import jax
import numpy as np

import jaxnet
from jaxnet import cli, progress
from jaxnet.cli.commands import lines_of

SPACE = {"learning_rate": (1e-4, 1.0), "weight_decay": (1e-4, 1.0), "dropout": (0.0, 0.6)}


def search(options: "cli.AskOptions") -> None:
    """Asks, trains, tells; then says the test error of the best."""
    from jaxnet.report import console

    logging.getLogger("jaxnet").addHandler(console.LogPrinter())
    optuna = cli.wanted("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    splits = jaxnet.load(options.dataset, data_dir=options.data_dir)
    keys = jax.random.split(jax.random.key(options.seed), options.batch)
    model = jaxnet.mlp(options.hidden)
    sampler = optuna.samplers.TPESampler(seed=options.seed, constant_liar=True, multivariate=False)
    study, best, lowest = optuna.create_study(sampler=sampler), None, np.inf
    fixed: dict[str, Any] = {"optimizer": "adamw"}
    for number in range(options.rounds):
        progress.phase(f"asking Optuna for batch {number + 1} of {options.rounds}")
        trials = [study.ask() for _ in range(options.batch)]
        for name, (low, high) in SPACE.items():
            asked = [trial.suggest_float(name, low, high, log=low > 0) for trial in trials]
            fixed[name] = np.array(asked)
        recipe = jaxnet.Recipe(**fixed, epochs=options.epochs)
        population = jaxnet.fit_population(model, splits, recipe, keys)
        losses = np.asarray(population.run.history.validation_loss)[:, -1]
        for trial, loss, lost in zip(trials, losses, population.diverged, strict=True):
            state = optuna.trial.TrialState.FAIL if lost else None
            study.tell(trial, None if lost else float(loss), state)
        if np.nanmin(losses) < lowest:
            best, lowest = population[int(np.nanargmin(losses))], np.nanmin(losses)
        words = f"lowest validation loss {np.nanmin(losses):.4f}, so far {lowest:.4f}"
        console.say(f"round {number + 1}/{options.rounds}: {words}")
    assert best is not None
    words = f"chosen by validation loss among {options.rounds * options.batch}"
    error = jaxnet.evaluate(model, best, splits.test).error
    console.say(f"{study.best_params}: test error {error}; {words}")


if __name__ == "__main__":
    with progress.command(
        lines_of(sys.argv[1:])
    ):  # before the imports of jaxnet, which take longest
        work = cli.together("ask_and_tell", search)
        sys.exit(cli.run_command("ask_and_tell", cli.AskOptions, __doc__, work))

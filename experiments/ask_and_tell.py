"""Example script: Optuna proposes hyperparameters, jaxnet trains each batch as one population.

    pip install optuna
    python -m experiments.ask_and_tell --rounds 8 --batch 16

Optuna learns from the validation losses what to propose next. Every batch is one call of
fit_population, compiled once. The network with the lowest loss is judged on the test set.
"""

import logging
import sys
from typing import Any

import jax
import numpy as np

import jaxnet
from jaxnet import cli, progress

SPACE = {"learning_rate": (1e-4, 1.0), "weight_decay": (1e-4, 1.0), "dropout": (0.0, 0.6)}


def search(options: "cli.AskOptions") -> None:
    """Asks, trains, tells; then says the test error of the best."""
    from jaxnet.report import console  # here, so that the display comes first

    logging.getLogger("jaxnet").addHandler(console.LogPrinter())
    optuna = cli.wanted("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    splits = jaxnet.load(options.dataset, data_dir=options.data_dir)
    keys = jax.random.split(jax.random.key(options.seed), options.batch)
    model = jaxnet.mlp(options.hidden)
    sampler = optuna.samplers.TPESampler(seed=options.seed, constant_liar=True, multivariate=False)
    study, best, lowest = optuna.create_study(sampler=sampler), None, np.inf
    for number in range(options.rounds):
        trials = [study.ask() for _ in range(options.batch)]
        asked: dict[str, Any] = {
            name: np.array([trial.suggest_float(name, low, high, log=low > 0) for trial in trials])
            for name, (low, high) in SPACE.items()
        }
        recipe = jaxnet.Recipe(optimizer="adamw", epochs=options.epochs, **asked)
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
    with progress.command(sys.stdout):  # before the imports of jaxnet, which take longest
        work = cli.together("ask_and_tell", search)
        sys.exit(cli.run_command("ask_and_tell", cli.AskOptions, __doc__, work))

"""What a training computes, as pure functions.

training.py    the fold: start, epoch, fit; the page to read first
recipe.py      every hyperparameter of a run
optimizers.py  the optax transformation that a recipe stands for
objective.py   outputs, targets and losses of a batch
run.py         what a training leaves behind
"""

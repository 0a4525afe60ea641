"""Many networks trained together, one compiled program per architecture.

fit.py          the public verb fit_population
job.py          what is trained: the members of a population, grouped by architecture
scheduler.py    which members train when, and what waits
program.py      the compiled programs that begin and train a wave of members
placement.py    how many members a device trains at once, and on which devices
checkpoint.py   the newest part of each member, in memory and on disk
halving.py      which members go on after a rung (successive halving)
ensemble.py     members that predict together, as one network
predictions.py  what the members predict, and how often they are right
result.py       Population and Predictions, which training leaves behind
"""

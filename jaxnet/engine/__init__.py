"""Where and how a training runs, on the host: what is pure is in jaxnet/core.

fit.py          the public verbs start, epoch and fit: arguments checked, devices and kernels chosen
loop.py         train: the same epochs one at a time, with progress, checkpoints and Ctrl-C
in_memory.py    the epochs of train, of a training set in memory
streamed.py     the epochs of train, of a training set on disk, one chunk at a time
parallel.py     which function runs the steps: plain JAX, the TPU kernel, or batches divided over
                devices or into micro-batches
prediction.py   what a trained network predicts, and how often it is right
arguments.py    what verbs refuse, and what they say then
fingerprint.py  what tells one training from another
checkpoint.py   runs and unfinished trainings on disk
resume.py       where train goes on, and when it writes a checkpoint
agreement.py    what several processes must agree on
"""

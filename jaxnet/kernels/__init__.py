"""Kernels for accelerators, each with a reference implementation and a fallback.

batch_last.py      a function of one example, evaluated on a batch held in the last dimension
updates.py         optimizers for the vector unit
budget.py          what fits a chip
resident.py        the steps of an epoch as one program
resident_steps.py  that program as another `run_steps`; its reference is in jaxnet/core/training.py
dispatch.py        whether it or XLA computes: a fixed rule
probe.py           whether the compiler takes a program
verification.py    kernel and reference compared on the device at hand
"""

from jaxnet.kernels.verification import Verification as Verification
from jaxnet.kernels.verification import verify as verify

"""Kernels for accelerators, each with a reference implementation and a fallback."""

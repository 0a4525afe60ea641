"""Statistics of plain arrays: intervals, bias and variance, calibration, label errors, tests of two
samples, forecasts.

Every function takes arrays and returns Estimates, or plain dataclasses of them. Nothing in this
package knows a model, trains a network or reads a file.
"""

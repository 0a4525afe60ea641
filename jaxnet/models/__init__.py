"""Models as pairs of pure functions, the built-in networks, adapters for other libraries, and
losses.
"""

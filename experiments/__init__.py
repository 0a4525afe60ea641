"""One short script a question; each shows its options with --help."""

import time

BEGAN = time.perf_counter()

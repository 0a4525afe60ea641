"""One short script a question; each shows its options with --help."""

import time

# Read before anything heavy is imported, so that a run can say how long that took.
BEGAN = time.perf_counter()

"""Side-by-side measurements, each against something real in the same run."""

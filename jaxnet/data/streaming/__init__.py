"""Training sets larger than memory, read from disk in chunks."""

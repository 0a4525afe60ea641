"""Read training sets larger than memory from disk."""

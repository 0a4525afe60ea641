"""HTML pages of results, each in one file that needs no network."""

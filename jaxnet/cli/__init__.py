"""The command line: options, the folder of a run, and what a script does with them."""

"""Many trainings as one compiled program."""

"""Tables of long studies: rows are added as they come, and read to go on where a study stopped."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a table; none where there is no table yet."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, rows: Sequence[Mapping[str, object]], fields: Sequence[str]) -> None:
    """Add rows to a table, which begins with the names of its fields."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)

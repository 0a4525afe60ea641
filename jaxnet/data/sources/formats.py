"""The formats of files, by the endings of their names."""

from pathlib import Path
from typing import Literal

Format = Literal["table", "arrays", "image"]
FORMATS: dict[str, Format] = {
    ".csv": "table",
    ".tsv": "table",
    ".txt": "table",
    ".parquet": "table",
    ".npz": "arrays",
    ".png": "image",
    ".jpg": "image",
    ".jpeg": "image",
}


def format_of(path: Path) -> Format | None:
    """The format of a file by the ending of its name, in upper or lower case, also of a table whose
    name ends in .gz; None for others.
    """
    held = FORMATS.get((path.with_suffix("") if _is_packed(path) else path).suffix.lower())
    return None if held != "table" and _is_packed(path) else held


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"

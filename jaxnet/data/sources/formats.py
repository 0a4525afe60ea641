"""The formats of files, by the endings of their names."""

from pathlib import Path
from typing import Literal

Format = Literal["table", "arrays", "image"]
FORMATS: dict[str, Format] = {
    ".csv": "table",
    ".tsv": "table",
    ".txt": "table",
    ".npz": "arrays",
    ".png": "image",
    ".jpg": "image",
    ".jpeg": "image",
}


def format_of(path: Path) -> Format | None:
    """The format of a file by the ending of its name, in upper or lower case; None for others."""
    return FORMATS.get(path.suffix.lower())

"""The formats of files, by the endings of their names."""

from pathlib import Path
from typing import Literal

from jaxnet.errors import InputError

Format = Literal["table", "arrays", "image"]
FORMATS: dict[str, Format] = {
    ".csv": "table",
    ".tsv": "table",
    ".txt": "table",
    ".parquet": "table",
    ".xlsx": "table",
    ".xlsm": "table",
    ".npz": "arrays",
    ".png": "image",
    ".jpg": "image",
    ".jpeg": "image",
}
PACKED = (".csv", ".tsv", ".txt")  # read also from a file that ends in .gz
# tables that are not read, and what of pandas reads them; None for spreadsheets
NOT_READ = {
    ".xls": None,
    ".xlsb": None,
    ".ods": None,
    ".numbers": None,
    ".json": "read_json",
    ".feather": "read_feather",
    ".arrow": "read_feather",
    ".orc": "read_orc",
    ".sav": "read_spss",
    ".dta": "read_stata",
    ".sas7bdat": "read_sas",
}


def format_of(path: Path) -> Format | None:
    """The format of a file by the ending of its name, in upper or lower case, also of a table of
    text whose name ends in .gz; None for others.
    """
    if path.suffix.lower() != ".gz":
        return FORMATS.get(path.suffix.lower())
    return "table" if path.with_suffix("").suffix.lower() in PACKED else None


def refuse_known(path: Path) -> None:
    """Refuse a file in a format of tables that is not read.

    Args:
        path: the file, by the ending of whose name the format is known.

    Raises:
        InputError: it says how to make of it a file that is read.
    """
    ending = path.suffix.lower()
    if ending not in NOT_READ:
        return
    reader = NOT_READ[ending]
    cure = "open it in a spreadsheet program and save it as .xlsx or .csv"
    if reader is not None:
        cure = (
            f'write it as Parquet with pandas.{reader}({str(path)!r}).to_parquet("table.parquet"), '
            "or give that data frame to jaxnet.load"
        )
    raise InputError(f"{path}: files that end in {ending} are not read; {cure}")

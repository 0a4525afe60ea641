"""How a source is to be read: what `load` was asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, near

WORDS = {"label": "label (--label)", "ignore": "ignore (--ignore)", "groups": "groups (--groups)", "order": "order (--order)",
         "task": "task (--task)", "image_size": "image_size (--image-size)", "data_dir": "data_dir (--data-dir)"}  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """What `load` was asked for beyond the name of the source; see there."""

    data_dir: Path | None = None
    validation: float = 0.1
    test: float = 0.2
    seed: int = 0
    task: str | None = None
    label: str | None = None
    groups: str | None = None
    order: str | None = None
    ignore: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None

    def refuse(self, source: object, *names: str) -> None:
        """Raise InputError where one of these was asked for, since this source has no use for it."""
        default = {f.name: f.default for f in fields(self)}
        for name in names:
            if getattr(self, name) != default[name]:
                raise InputError(f"{WORDS[name]} is {getattr(self, name)!r}, but {source} has no use for it; leave it out")

    def column(self, what: str, columns: Mapping[str, Any], where: str) -> np.ndarray:
        """The array or column that was named for groups or order."""
        name = getattr(self, what)
        if name not in columns:
            raise InputError(f"{where}: has no {name!r} for {what}{near(name, columns, 'it holds')}")
        return np.asarray(columns[name])

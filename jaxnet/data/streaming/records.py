"""Read single examples of a prepared data set of TensorFlow Datasets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxnet.data.sources import images
from jaxnet.data.sources import tfds as prepared
from jaxnet.errors import InputError


def records(name: str, folder: Path, size: tuple[int, int] | None) -> dict[str, "Records"]:
    """The parts of a data set that TensorFlow Datasets prepared as ArrayRecord files.

    A part whose labels were not published is left out.

    Args:
        name: name of the data set, for messages.
        folder: its folder.
        size: (height, width) to which images are scaled; None keeps their size.

    Returns:
        The rows of each part by name, "train" among them.

    Raises:
        InputError: for a data set that is not of images and classes, or cannot be read.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(str(folder))
        features = builder.info.features
        image, label = (
            prepared.only(features, kind, name)
            for kind in (tfds.features.Image, tfds.features.ClassLabel)
        )
        classes = tuple(map(str, features[label].names))
        height, width, channels = features[image].shape
        decoders: Any = {image: tfds.decode.SkipDecoding()}
        sources = {
            part: builder.as_data_source(split=part, decoders=decoders)
            for part in prepared.TFDS_PARTS
            if part in builder.info.splits
        }
        counts = {part: len(source) for part, source in sources.items()}
    except InputError:
        raise
    except Exception as error:  # TFDS and its readers raise exceptions of any type
        why = f"{type(error).__name__}: {prepared.first_line(error)}"
        raise InputError(f"{folder}: cannot be read ({why}); prepare {name} again") from None
    if size is None and None in (height, width):
        raise InputError(
            f"{folder}: its images may differ in size; scale all to one size, such as "
            "image_size=(64, 64)"
        )
    shape = (*(size or (height, width)), *(() if channels == 1 else (3,)))
    files = {p: tuple(sorted(folder.glob(f"*-{p}.array_record*"))) for p in sources}
    parts = {
        p: Records(
            sources[p],
            counts[p],
            image,
            label,
            classes,
            shape,
            size,
            f"{folder}: record {{}} of {p}",
            files[p],
        )
        for p in sources
    }
    if "train" not in parts:
        raise InputError(
            f"{folder}: has no part named train, but {', '.join(parts) or 'none'}; give a data "
            "set that has one"
        )
    return {
        part: rows
        for part, rows in parts.items()
        if part == "train" or not (rows.labels(0, min(1, len(rows))) < 0).any()
    }


@dataclass(frozen=True, eq=False)
class Records:
    """Rows of ArrayRecord files; each image is decoded when it is read.

    Attributes:
        source: the data source of TensorFlow Datasets.
        count: number of rows.
        image: name of the image feature.
        label: name of the label feature.
        classes: names of the classes.
        shape: shape of an image.
        size: (height, width) to which images are scaled, or None.
        place: template for the name of a record in messages.
        files: the files.
    """

    source: Any
    count: int
    image: str
    label: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    size: tuple[int, int] | None
    place: str
    files: tuple[Path, ...]

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    @property
    def whole(self) -> bool:
        return True

    @property
    def label_shape(self) -> tuple[int, ...]:
        return ()

    def __len__(self) -> int:
        return self.count

    def read(self, first: int, x: np.ndarray, y: np.ndarray) -> dict[int, str]:
        bad = {}
        for place in range(len(y)):
            try:
                x[place], y[place] = self._decoded(first + place)
            # whatever the reader, the parser and the decoder raise for a damaged record
            except Exception as error:
                bad[first + place] = (
                    f"{self.named(first + place, 'x')} cannot be decoded "
                    f"({prepared.first_line(error)})"
                )
        return bad

    def labels(self, first: int, count: int) -> np.ndarray:
        return np.array(
            [
                example[self.label]
                for example in self.source.__getitems__(range(first, first + count))
            ],
            np.float64,
        )

    def named(self, row: int, part: str) -> str:
        return self.place.format(row)

    def sizes(self) -> dict[str, int]:
        return {file.name: file.stat().st_size for file in self.files}

    def _decoded(self, row: int) -> tuple[np.ndarray, int]:
        (example,) = self.source.__getitems__([row])
        pixels = images.open_image(example[self.image], "its image", self.size)
        if pixels.ndim == 2 and len(self.shape) == 3:
            pixels = np.repeat(pixels[..., None], 3, -1)
        if pixels.shape != self.shape:
            raise ValueError(f"its pixels are {pixels.shape}, not {self.shape}")
        return pixels, int(example[self.label])

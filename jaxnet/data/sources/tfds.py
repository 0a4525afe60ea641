"""Read data sets of TensorFlow Datasets: TensorFlow prepares them once, and they are read without
it.

prepare              originals -> ArrayRecord files                 needs TensorFlow, once
splits_of_prepared   ArrayRecord files -> one .npz file -> Splits   later loads only map that file
"""

import contextlib
import hashlib
import importlib.util
import os
import socket
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import platformdirs

from jaxnet.data import checks
from jaxnet.data.dataset import Splits
from jaxnet.data.sources import idx
from jaxnet.data.sources.images import decode
from jaxnet.data.sources.npz import UNREADABLE, map_npz, write_npz
from jaxnet.data.sources.request import Reading
from jaxnet.data.splitting import complete
from jaxnet.errors import InputError, check_path, check_text, nearest
from jaxnet.progress import counted

TFDS_PARTS = ("train", "validation", "test")
DECODED_AT_ONCE = 1000  # examples decoded at a time
CONNECT_SECONDS = 5.0  # seconds to find out that there is no network


def splits_of_prepared(name: str, reading: Reading, others: tuple[str, ...] = ()) -> Splits:
    """Splits of a prepared data set.

    Args:
        name: name of the data set.
        reading: what `load` was asked for; without data_dir the folder of TensorFlow Datasets is
            used.
        others: names that the user may have meant, for the message.

    Returns:
        The Splits.

    Raises:
        InputError: where it is not prepared, or cannot be read.
    """
    reading.refuse(name, "task", "label", "groups", "order", "drop_columns", "table", "inputs")
    root = reading.data_dir or default_folder()
    folder = find(root, name)
    if folder is None:
        raise InputError(missing(name, reading.data_dir, root, others))
    arrays = _cached(name, folder, reading.image_size)
    classes = tuple(map(str, arrays["classes"]))
    data = {
        part: checks.dataset(
            arrays[f"x_{part}"], arrays[f"y_{part}"], classes=classes, where=f"{folder} ({part})"
        )
        for part in TFDS_PARTS
        if f"x_{part}" in arrays
    }
    if "train" not in data:
        raise InputError(
            f"{folder}: has no part named train, but {', '.join(data) or 'none'}; give a data set "
            "that has one"
        )
    return complete(data, reading, name=name, where=str(folder))


def prepare(
    name: str, *, data_dir: str | Path | None = None, originals: str | Path | None = None
) -> Path:
    """Prepare a data set of TensorFlow Datasets, so that `load` can read it from now on.

    Args:
        name: name of the data set.
        data_dir: where to keep it; by default where TensorFlow Datasets does.
        originals: a folder with its downloaded original files; without it they are downloaded.

    Returns:
        The folder of the data set.

    Raises:
        InputError: within seconds, where TensorFlow, the files or the network are missing; it says
            which files they are.
    """
    check_text("name", name, "the name of a data set of TensorFlow Datasets")
    for what, path in (("data_dir", data_dir), ("originals", originals)):
        if path is not None:
            check_path(what, path)
    root = default_folder() if data_dir is None else Path(data_dir)
    if (folder := find(root, name)) is not None:
        return folder
    if missing := [
        module
        for module in ("tensorflow", "importlib_resources")
        if importlib.util.find_spec(module) is None
    ]:
        raise InputError(
            f"preparing {name} needs {' and '.join(missing)}, once: pip install "
            f"{' '.join(missing)}. Reading it needs neither"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=str(root), file_format="array_record")
    except Exception as error:  # whatever the code of that data set raises
        raise InputError(
            f"{name} is no data set that TensorFlow Datasets can build: {first_line(error)}; its "
            "catalog lists the names"
        ) from None
    urls = sorted(getattr(builder, "url_infos", None) or {})
    if originals is not None:
        given = Path(originals)
        if absent := [url for url in urls if not (given / Path(urlparse(url).path).name).exists()]:
            raise InputError(
                f"{given}: lacks {', '.join(Path(urlparse(url).path).name for url in absent)}; "
                f"get it from {', '.join(absent)}"
            )
    else:
        check_network(name, urls)
    config = tfds.download.DownloadConfig(
        manual_dir=None if originals is None else str(Path(originals).absolute())
    )
    try:
        builder.download_and_prepare(download_config=config)
    except Exception as error:
        raise InputError(
            f"{name} could not be prepared: {type(error).__name__}: {first_line(error)}; fix "
            "that, and prepare it again"
        ) from None
    return Path(builder.data_dir)


def default_folder() -> Path:
    """The folder in which TensorFlow Datasets keeps what it prepared."""
    return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def find(root: Path, name: str) -> Path | None:
    """The folder of the newest prepared version: root/name[/config]/version, or root itself.

    Args:
        root: the folder of all data sets.
        name: name of the data set.

    Returns:
        The folder, or None.
    """
    if not root.is_dir():
        return None
    folders = (
        [path.parent for path in (root / name).rglob("dataset_info.json")]
        if ".." not in name
        else []
    )
    folders = [
        path
        for path in folders
        if not any(part.startswith("incomplete") for part in path.relative_to(root).parts)
    ]
    if (root / "dataset_info.json").exists() and name in root.parts:
        folders.append(root)
    return max(
        folders,
        key=lambda path: [int(n) if n.isdigit() else -1 for n in path.name.split(".")],
        default=None,
    )


def missing(name: str, given: Path | None, root: Path, others: tuple[str, ...] = ()) -> str:
    """The message for a data set that is not there.

    Args:
        name: name of the data set.
        given: the data_dir that the user gave, or None.
        root: the folder that was searched.
        others: names that the user may have meant, besides those that are prepared.

    Returns:
        The message.
    """
    there = (path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else ()
    meant = nearest(name, (*others, *there))
    hint = "" if meant is None else f" Did you mean {meant!r}?"
    files = ""
    if name == "mnist":
        files = (
            f", or put its four files {', '.join(f'{file}.gz' for file in idx.FILES)} into a "
            "folder and name it as --data-dir (data_dir=)"
        )
    where = (
        f"{root} (--data-dir)"
        if given is not None
        else f"{root}, and no --data-dir (data_dir=) was given"
    )
    return (
        f"there is no data set {name!r} in the package, nor prepared in {where}.{hint} If "
        "TensorFlow Datasets knows it, prepare it "
        f"once: pip install tensorflow importlib_resources; jaxnet prepare {name} "
        f"(jaxnet.prepare){files}"
    )


def _cached(name: str, folder: Path, size: tuple[int, int] | None) -> dict[str, np.ndarray]:
    """The decoded arrays, mapped from the file that the first load wrote."""
    described = b"".join(
        (folder / file).read_bytes()
        for file in ("dataset_info.json", "features.json")
        if (folder / file).exists()
    )
    key = hashlib.sha256(described + repr((str(folder.resolve()), size)).encode()).hexdigest()[:16]
    cache = (
        Path(platformdirs.user_cache_dir("jaxnet"))
        / "data"
        / f"{name.replace('/', '-')}-{folder.name}-{key}.npz"
    )
    with contextlib.suppress(*UNREADABLE):  # missing or damaged: it is written again
        return map_npz(cache)
    arrays = _decoded(name, folder, size)
    try:
        write_npz(cache, arrays)
    except OSError as error:
        warnings.warn(
            f"{cache}: cannot be written ({error}), so every load of {name} decodes its images "
            "again",
            stacklevel=5,
        )
        return arrays
    return map_npz(cache)


def _decoded(name: str, folder: Path, size: tuple[int, int] | None) -> dict[str, np.ndarray]:
    """All images and labels, decoded, as the arrays of an .npz file."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(str(folder))
        features = builder.info.features
        image, label = (
            only(features, tfds.features.Image, name),
            only(features, tfds.features.ClassLabel, name),
        )
        arrays: dict[str, np.ndarray] = {"classes": np.array(features[label].names)}
        for part in TFDS_PARTS:
            if part not in builder.info.splits:
                continue
            source: Any = builder.as_data_source(
                split=part, decoders={image: tfds.decode.SkipDecoding()}
            )
            pixels, labels = [], []
            for first in counted(
                range(0, len(source), DECODED_AT_ONCE), f"decoding {name} ({part})"
            ):
                rows = range(first, min(first + DECODED_AT_ONCE, len(source)))
                examples = source.__getitems__(rows)
                names = [f"{folder}: example {row} of {part}" for row in rows]
                pixels.append(decode([example[image] for example in examples], names, size))
                labels += [example[label] for example in examples]
            if min(labels, default=0) < 0:
                continue  # a part whose labels were not published
            if len({chunk.shape[1:] for chunk in pixels}) > 1:
                raise InputError(
                    f"{folder}: its images differ in size or colors; scale all to one size, such "
                    "as --image-size 64 64"
                )
            arrays |= {f"x_{part}": np.concatenate(pixels), f"y_{part}": np.array(labels, np.int32)}
        return arrays
    except InputError:
        raise
    except Exception as error:  # TFDS and its readers raise exceptions of any type
        raise InputError(
            f"{folder}: cannot be read ({type(error).__name__}: {first_line(error)}); prepare "
            f"{name} again"
        ) from None


def only(features: Any, kind: type, name: str) -> str:
    """The name of the one feature of a kind.

    Args:
        features: the features of a data set, by name.
        kind: the class of the feature.
        name: name of the data set, for messages.

    Returns:
        The name of the feature.

    Raises:
        InputError: where there are none or several.
    """
    found = [key for key, feature in features.items() if isinstance(feature, kind)]
    if len(found) != 1:
        raise InputError(
            f"{name} has {len(found)} features of kind {kind.__name__}; only image classification "
            "with one of each can be read"
        )
    return found[0]


def check_network(name: str, urls: list[str]) -> None:
    """Check within seconds that files can be downloaded; TensorFlow Datasets would try for minutes.

    Args:
        name: name of the data set.
        urls: the addresses of its files, of which the first one's host is tried.

    Raises:
        InputError: where it cannot be reached; it says how to do without.
    """
    if not urls:
        return
    host = urlparse(urls[0]).hostname or ""
    try:
        socket.create_connection((host, 443), CONNECT_SECONDS).close()
    except OSError as error:
        files = "; ".join(f"{Path(urlparse(url).path).name} from {url}" for url in urls)
        raise InputError(
            f"{host} cannot be reached ({error}), where the files of {name} are. Get them "
            "elsewhere, put them into a folder and name it "
            f"as --originals (originals=): {files}"
        ) from None


def first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")

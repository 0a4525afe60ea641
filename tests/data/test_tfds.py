"""Data sets of TensorFlow Datasets: read without TensorFlow, decoded once, and every failure said
within seconds.

The small data set here is written by hand in the layout that TFDS writes, so that no TensorFlow is
needed to test reading.
"""

import gzip
import importlib.util
import os
import socket
import sys
import time

import numpy as np
import pytest
from prepared import NAMES, write_prepared

import jaxnet
from jaxnet.data.sources import npz
from jaxnet.data.sources import tfds as prepared


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


def _bag(pixels, labels):
    return sorted((np.asarray(x).tobytes(), int(y)) for x, y in zip(pixels, labels, strict=True))


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3)])
def test_prepared_files_are_read_without_tensorflow(tmp_path, shape):
    arrays = write_prepared(tmp_path / "data", shape=shape)
    splits = jaxnet.load("pets", data_dir=tmp_path / "data", validation=0.0)
    assert "tensorflow" not in sys.modules
    assert splits.classes == NAMES
    for part, data in (("train", splits.train), ("test", splits.test)):
        assert data.x.dtype == np.uint8
        assert _bag(np.asarray(data.x), data.y) == _bag(*arrays[part])


def test_the_second_load_maps_one_file_and_decodes_nothing(tmp_path):
    write_prepared(tmp_path / "tfds")
    first = jaxnet.load("pets")
    (cache,) = (tmp_path / "cache/jaxnet/data").iterdir()
    assert set(np.load(cache).files) == {"classes", "x_train", "y_train", "x_test", "y_test"}
    for file in (tmp_path / "tfds/pets/1.0.0").glob("*.array_record*"):
        file.unlink()  # what would be decoded
    again = jaxnet.load("pets")
    assert np.array_equal(first.train.x, again.train.x)
    assert np.array_equal(first.test.y, again.test.y)
    mapped = npz.map_npz(cache)
    assert isinstance(mapped["x_train"], np.memmap)
    for name, array in np.load(cache).items():
        assert np.array_equal(array, mapped[name])
        assert array.dtype == mapped[name].dtype


def test_another_preparation_is_decoded_anew(tmp_path):
    write_prepared(tmp_path / "a")
    first = jaxnet.load("pets", data_dir=tmp_path / "a")
    write_prepared(tmp_path / "b")
    assert not np.array_equal(first.train.x, jaxnet.load("pets", data_dir=tmp_path / "b").train.x)


def test_a_damaged_cache_is_made_anew(tmp_path):
    write_prepared(tmp_path / "tfds")
    first = jaxnet.load("pets")
    (cache,) = (tmp_path / "cache/jaxnet/data").iterdir()
    cache.write_bytes(cache.read_bytes()[:500])
    assert np.array_equal(first.train.x, jaxnet.load("pets").train.x)
    assert len(np.load(cache)["x_train"]) == 30


def test_a_full_disk_while_caching_leaves_nothing_half_written(tmp_path, monkeypatch):
    write_prepared(tmp_path / "tfds")
    folder = tmp_path / "cache/jaxnet/data"

    def full(file, **arrays):
        file.write(b"PK half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.warns(
            UserWarning,
            match=r"cannot be written \(.*No space left on device\), so every load of pets decodes",
        ):
            first = jaxnet.load("pets")
    assert list(folder.iterdir()) == []
    assert np.array_equal(first.train.x, jaxnet.load("pets").train.x)
    assert len(list(folder.iterdir())) == 1


def test_a_kill_while_caching_leaves_nothing_that_is_read(tmp_path):
    """What a kill leaves: a file of another name, which no load looks at."""
    write_prepared(tmp_path / "tfds")
    folder = tmp_path / "cache/jaxnet/data"
    folder.mkdir(parents=True)
    (folder / "pets-1.0.0-0.npz.123.tmp").write_bytes(b"PK half of it")
    assert len(jaxnet.load("pets").train)


def test_an_unwritable_cache_is_said_and_does_no_harm(tmp_path, monkeypatch):
    write_prepared(tmp_path / "tfds")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be written"):
        assert len(jaxnet.load("pets").train) == 27


def test_images_of_many_sizes_need_a_size(tmp_path):
    write_prepared(tmp_path / "tfds", shapes=[(5, 4), (9, 7)])
    with pytest.raises(
        jaxnet.InputError,
        match=r"example 0 of train: is 4x5 pixels, and .* is 7x9; .* --image-size",
    ):
        jaxnet.load("pets")
    assert jaxnet.load("pets", image_size=(6, 6)).train.x.shape[1:] == (6, 6)


def test_what_cannot_be_read_is_named(tmp_path):
    write_prepared(tmp_path / "a", broken=True)
    with pytest.raises(
        jaxnet.InputError, match="example 7 of train: not a readable PNG or JPEG image"
    ):
        jaxnet.load("pets", data_dir=tmp_path / "a")
    write_prepared(tmp_path / "b")
    (record,) = (tmp_path / "b/pets/1.0.0").glob("*train*")
    record.unlink()
    with pytest.raises(jaxnet.InputError, match=r"1.0.0: cannot be read .*; prepare pets again"):
        jaxnet.load("pets", data_dir=tmp_path / "b")
    write_prepared(tmp_path / "c", parts=(("train", 20), ("test", 5)))
    (tmp_path / "c/pets/1.0.0/features.json").write_text(
        (tmp_path / "c/pets/1.0.0/features.json").read_text().replace("label", "lbl")
    )
    with pytest.raises(jaxnet.InputError, match=r"cannot be read|features of kind"):
        jaxnet.load("pets", data_dir=tmp_path / "c")
    with pytest.raises(jaxnet.InputError, match=r"task .* has no use for it"):
        jaxnet.load("pets", data_dir=tmp_path / "b", task="regression")


def test_what_is_not_there_is_said_within_seconds(tmp_path):
    start = time.monotonic()
    words = (
        r"no data set 'cifar10' in the package, nor prepared in .*tfds.*pip install "
        r"tensorflow importlib_resources; .* prepare cifar10"
    )
    with pytest.raises(jaxnet.InputError, match=words):
        jaxnet.load("cifar10")
    assert time.monotonic() - start < 2


def test_preparing_says_what_it_lacks(tmp_path, monkeypatch):
    if importlib.util.find_spec("tensorflow") is None:
        with pytest.raises(
            jaxnet.InputError,
            match=r"preparing cifar10 needs tensorflow.* once: pip install tensorflow",
        ):
            jaxnet.prepare("cifar10")

    def unreachable(address, timeout):
        raise socket.gaierror(-3, "no network")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    with pytest.raises(
        jaxnet.InputError,
        match=(
            r"example.org cannot be reached .* name it as --originals .*: a.gz from "
            r"https://example.org/b/a.gz"
        ),
    ):
        prepared.check_network("some", ["https://example.org/b/a.gz"])


def test_mnist_prepared_from_its_files_is_the_same_byte_for_byte(tmp_path, mnist_folder):
    if any(
        importlib.util.find_spec(module) is None for module in ("tensorflow", "importlib_resources")
    ):
        pytest.skip("TensorFlow, which prepares, is not installed")
    jaxnet.prepare("mnist", data_dir=tmp_path / "data", originals=mnist_folder)
    splits = jaxnet.load("mnist", data_dir=tmp_path / "data", validation=0.0)
    official = jaxnet.load("mnist", data_dir=mnist_folder, validation=0.0)
    for part in ("train", "test"):
        ours, theirs = getattr(splits, part), getattr(official, part)
        assert _bag(np.asarray(ours.x), ours.y) == _bag(np.asarray(theirs.x), theirs.y)
    assert gzip.decompress((mnist_folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:] == bytes(
        np.asarray(official.test.y, np.uint8)
    )
    with pytest.raises(jaxnet.InputError, match="lacks"):
        jaxnet.prepare("fashion_mnist", data_dir=tmp_path / "data", originals=os.fspath(tmp_path))

"""Pictures in files: folders of classes, every bad file by name, and scaling."""

import logging
import struct
import zlib
from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

import jaxnet
from jaxnet.data import Schema
from jaxnet.data.sources.images import decode, read_image

RNG = np.random.default_rng(0)


def _save(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    image = (
        image.quantize(8) if mode == "quantized" else image if mode is None else image.convert(mode)
    )
    image.save(path)


def _folder(root, *, count=12, shape=(6, 5), classes=("cat", "dog"), end=".png"):
    pixels = {}
    for c in classes:
        for i in range(count):
            pixels[c, i] = RNG.integers(0, 256, shape, dtype=np.uint8)
            _save(root / c / f"{i}{end}", pixels[c, i])
    return pixels


def _all(splits):
    return np.concatenate(
        [np.asarray(part.x) for part in (splits.train, splits.validation, splits.test)]
    )


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
def test_a_folder_a_class_gives_its_pixels(tmp_path, shape):
    pixels = _folder(tmp_path / "pets", shape=shape)
    splits = jaxnet.load(tmp_path / "pets")
    assert (splits.classes, splits.name, splits.train.pixel_max) == (("cat", "dog"), "pets", 255.0)
    ours = {x.tobytes() for x in _all(splits)}
    assert ours == {x.tobytes() for x in pixels.values()}
    for x, y in zip(np.asarray(splits.train.x), np.asarray(splits.train.y), strict=True):
        assert any(x.tobytes() == pixels[splits.classes[y], i].tobytes() for i in range(12))


def test_given_parts_jpeg_scaling_hidden_files_and_trained_on(tmp_path):
    for part in ("train", "val", "test"):
        _folder(tmp_path / part, shape=(20, 16), end=".jpg")
    (tmp_path / "train/cat/.DS_Store").write_text("")
    (tmp_path / ".git").mkdir()
    splits = jaxnet.load(tmp_path, image_size=(8, 8))
    assert [part.x.shape for part in (splits.train, splits.validation, splits.test)] == [
        (24, 8, 8)
    ] * 3
    with Image.open(sorted((tmp_path / "train/cat").glob("*.jpg"))[0]) as image:
        assert np.array_equal(
            splits.train.x[0], np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR))
        )
    run = jaxnet.fit(jaxnet.cnn((4,), (8,)), splits, jaxnet.Recipe(epochs=1), jax.random.key(0))
    assert run.shape == (8, 8)


def test_palettes_are_their_colors_and_gray_ones_are_gray(tmp_path):
    _folder(tmp_path)
    gray = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
    _save(tmp_path / "cat/palette.png", gray, "P")
    assert any(np.array_equal(x, gray) for x in _all(jaxnet.load(tmp_path)))
    _save(tmp_path / "cat/color.png", np.full((6, 5, 3), (200, 10, 10), np.uint8), "quantized")
    colors = _all(jaxnet.load(tmp_path))
    assert colors.shape[1:] == (6, 5, 3)
    assert any((x == (200, 10, 10)).all() for x in colors)
    assert any(np.array_equal(x, np.repeat(gray[..., None], 3, -1)) for x in colors)


def _spoil(path, content=b"no image"):
    path.write_bytes(content)


def _transparent(path):
    Image.new("RGBA", (5, 6), (1, 2, 3, 100)).save(path)


BAD = {
    "not decodable": (
        lambda p: _spoil(p / "cat/3.png"),
        {},
        r"cat/3.png: not a readable PNG or JPEG image .*; save it again",
    ),
    "cut off": (
        lambda p: _spoil(p / "cat/3.png", (p / "cat/3.png").read_bytes()[:60]),
        {},
        "cat/3.png: not a readable",
    ),
    "transparent": (
        lambda p: _transparent(p / "dog/3.png"),
        {},
        "dog/3.png: is partly transparent",
    ),
    "other size": (
        lambda p: _save(p / "dog/3.png", np.zeros((9, 5), np.uint8)),
        {},
        r"is 5x6 pixels, and .*dog/3.png is 5x9; .*--image-size",
    ),
    "other file": (
        lambda p: _spoil(p / "dog/notes.txt"),
        {},
        "dog/notes.txt: is no PNG or JPEG image",
    ),
    "a table's option": (
        lambda p: None,
        {"label": "x"},
        "label .* is 'x', but .* has no use for it",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_images_are_named(tmp_path, case):
    spoil, options, message = BAD[case]
    _folder(tmp_path)
    spoil(tmp_path)
    with pytest.raises(jaxnet.InputError, match=message):
        jaxnet.load(tmp_path, **options)


def test_folders_without_classes_are_refused(tmp_path):
    _folder(tmp_path / "one", classes=("cat",))
    with pytest.raises(
        jaxnet.InputError,
        match=r"one: has one sub-folder with images \('cat'\); it needs one a class, at least two",
    ):
        jaxnet.load(tmp_path / "one")
    (tmp_path / "none").mkdir()
    with pytest.raises(jaxnet.InputError, match="none: has no sub-folder with images"):
        jaxnet.load(tmp_path / "none")
    _folder(tmp_path / "parts/train")
    _folder(tmp_path / "parts/test", classes=("cat", "cow"))
    with pytest.raises(
        jaxnet.InputError, match=r"has a class 'cow' of which .*train has no example"
    ):
        jaxnet.load(tmp_path / "parts")
    with pytest.raises(jaxnet.InputError, match="no such folder, nor a file"):
        jaxnet.load(tmp_path / "nowhere")


# How a viewer shows what is stored, by the number of the tag (Exif 2.32, orientation).
UPRIGHT = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: x[::-1, ::-1],
    4: np.flipud,
    5: lambda x: x.T,
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_pictures_stand_upright_in_training_and_prediction(tmp_path, orientation):
    shape = (6, 5) if orientation < 5 else (5, 6)
    stored = RNG.integers(0, 256, shape, dtype=np.uint8)
    _folder(tmp_path, shape=(6, 5))
    exif, path = Image.Exif(), tmp_path / "cat/turned.png"
    exif[0x0112] = orientation
    Image.fromarray(stored).save(path, exif=exif)
    shown = UPRIGHT[orientation](stored)
    splits = jaxnet.load(tmp_path)
    assert any(np.array_equal(x, shown) for x in _all(splits))
    assert np.array_equal(read_image(path, (6, 5), 255.0)[0], shown)
    note = "1 of 25 images are turned upright, as their EXIF orientation says: cat/turned.png"
    assert splits.notes == ((note,) if orientation > 1 else ())


def test_damaged_exif_is_passed_over(tmp_path):
    pixels = _folder(tmp_path)
    Image.fromarray(pixels["cat", 0]).save(tmp_path / "cat/0.png", exif=b"Exif\0\0no tags")
    assert any(np.array_equal(x, pixels["cat", 0]) for x in _all(jaxnet.load(tmp_path)))


def test_gray_pictures_of_16_bits_keep_what_8_bits_cannot_hold(tmp_path):
    pixels = _folder(tmp_path)
    deep, path = RNG.integers(0, 4096, (6, 5)).astype(np.uint16), tmp_path / "dog/deep.png"
    deep[0, 0] = 65535
    Image.fromarray(deep).save(path)
    splits = jaxnet.load(tmp_path)
    assert (splits.train.x.dtype, splits.train.pixel_max) == (np.float32, 255.0)
    expected = deep / 65535 * 255
    assert any(np.allclose(x, expected, atol=1e-4) for x in _all(splits))
    assert any(np.array_equal(x, pixels["cat", 5]) for x in _all(splits))
    assert splits.notes == (
        "1 of 25 images have 16 bits a channel, which are scaled to the range 0 to 255 and keep "
        "their decimal places: dog/deep.png",
    )
    assert np.allclose(read_image(path, (6, 5), 1.0)[0] * 255, expected, atol=1e-4)
    small = _all(jaxnet.load(tmp_path, image_size=(3, 5)))
    assert small.shape[1:] == (3, 5)
    assert small.max() <= 255
    with pytest.raises(jaxnet.InputError, match="one: has 16 bits a pixel, which are read from"):
        decode([path.read_bytes()], ["one"], None)


def _chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def test_colors_of_16_bits_keep_the_upper_8(tmp_path):
    deep = RNG.integers(0, 65536, (6, 5, 3)).astype(">u2")
    lines = b"".join(b"\0" + line.tobytes() for line in deep)  # Pillow writes no such PNG
    header = struct.pack(">IIBBBBB", 5, 6, 16, 2, 0, 0, 0)
    _folder(tmp_path, shape=(6, 5, 3))
    (tmp_path / "cat/deep.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(lines))
        + _chunk(b"IEND", b"")
    )
    splits = jaxnet.load(tmp_path)
    assert any(np.array_equal(x, deep >> 8) for x in _all(splits))
    assert splits.notes == (
        "1 of 25 images have 16 bits a channel, of which the upper 8 are read: cat/deep.png",
    )


def test_folders_and_pictures_that_are_left_out_are_named(tmp_path):
    for part in ("train", "dev", "testing"):
        _folder(tmp_path / part)
    (tmp_path / "train/bird").mkdir()
    (tmp_path / "docs/old").mkdir(parents=True)
    (tmp_path / "train/cat/.ipynb_checkpoints").mkdir()
    (tmp_path / "__MACOSX/train/cat").mkdir(parents=True)
    (tmp_path / "__MACOSX/train/cat/._0.png").write_bytes(b"x")
    _save(tmp_path / "train/over.png", np.zeros((6, 5), np.uint8))
    splits = jaxnet.load(tmp_path)
    assert splits.classes == ("cat", "dog")
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [24] * 3
    assert splits.notes == (
        "left out, since they hold no images: docs, train/bird",
        "left out, since they are in no folder of a class: 1 images, train/over.png",
    )


@pytest.mark.parametrize(
    ("made", "given", "meant"),
    [
        ("dev/train", "", "dev"),
        ("photos/pets", "", "photos/pets"),
        ("pets/train", "pets/train/cat", "pets/train"),
    ],
)
def test_a_level_too_high_or_too_low_is_answered_with_what_was_meant(tmp_path, made, given, meant):
    _folder(tmp_path / made)
    with pytest.raises(jaxnet.InputError, match=f"did you mean {tmp_path / meant}\\?"):
        jaxnet.load(tmp_path / given)


def test_parts_of_other_names_are_answered_with_those_that_are_known(tmp_path):
    for part in ("train", "holdout"):
        _folder(tmp_path / part)
    with pytest.raises(
        jaxnet.InputError,
        match="holds holdout, train, .*validation, valid, val or dev, and test or testing.*"
        f"did you mean {tmp_path / 'train'}\\?",
    ):
        jaxnet.load(tmp_path)


def test_a_network_that_is_asked_on_another_scale_says_so(caplog):
    x = RNG.random((60, 6, 6), np.float32)
    x[:, 0, 0] = 1
    splits = jaxnet.split(x, np.arange(60) % 2)
    recipe = jaxnet.Recipe(epochs=1)
    run = jaxnet.fit(jaxnet.linear(), splits, recipe, jax.random.key(0))
    cases = (run, 255 * x), (run, x), (run, 0 * x), (replace(run, pixel_max=255.0), x)
    told = []
    with caplog.at_level(logging.WARNING, "jaxnet"):
        for asked, inputs in cases:
            caplog.clear()
            jaxnet.predict(jaxnet.linear(), asked, inputs)
            told.append(caplog.messages)
    words = "x has pixels up to {0}, but a white pixel was {1} where the network learned; give x * "
    cure = "({1} / {0}) if {0} is white in x"
    assert told == [[(words + cure).format(255, 1)], [], [], [(words + cure).format(1, 255)]]


def test_scales_of_pixels_that_differ():
    digits, gray = Schema(pixel_max=16.0), Schema(pixel_max=255.0)
    assert digits.other_scale(255.0) is not None
    assert digits.other_scale(15.0) is None
    assert gray.other_scale(3.0) is None  # a dark picture
    assert "(255 / 65535) if 65535 is white" in str(gray.other_scale(4095.0))
    assert Schema().other_scale(255.0) is None  # a table

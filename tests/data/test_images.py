"""Pictures in files: folders of classes, every bad file by name, and scaling."""

import numpy as np
import pytest
from PIL import Image

import jaxnet

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
    import jax

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


def _sixteen(path):
    Image.fromarray(RNG.integers(0, 65536, (6, 5)).astype(np.uint16)).save(path)


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
    "16 bits": (
        lambda p: _sixteen(p / "dog/3.png"),
        {},
        "dog/3.png: has 16 bits a pixel; save it with 8",
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

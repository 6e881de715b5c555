"""Images as samples: a folder with one sub-folder per class, and single files."""

import numpy as np
import pytest

from fastmlp.datasets import read

Image = pytest.importorskip("PIL.Image")

RNG = np.random.default_rng(0)


def write(path, shape=(3, 4), mode=None):
    """Write random pixels to `path`, and return them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, shape, np.uint8)
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return pixels


def test_sub_folders_are_classes(tmp_path):
    pixels = [write(tmp_path / name) for name in ("cat/1.png", "cat/2.png", "dog/a.png")]
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"junk")
    (tmp_path / ".hidden").mkdir()
    found = read(tmp_path)
    np.testing.assert_array_equal(found.x, np.reshape(pixels, (3, 12)))
    assert found.x.dtype == np.uint8
    assert found.y.tolist() == ["cat", "cat", "dog"]
    assert (found.kind, found.image_shape, found.test) == ("images", (3, 4), None)
    assert [file.rsplit("cat")[-1][1:] for file in found.files[:2]] == ["1.png", "2.png"]


def test_train_and_test_folders(tmp_path):
    pixels = {
        name: write(tmp_path / name) for name in ("train/a/1.png", "train/b/1.png", "test/b/1.png", "val/a/1.png")
    }
    found = read(tmp_path)
    np.testing.assert_array_equal(found.x, np.reshape([pixels["train/a/1.png"], pixels["train/b/1.png"]], (2, 12)))
    np.testing.assert_array_equal(found.test[0], pixels["test/b/1.png"].reshape(1, 12))
    assert (found.test[1].tolist(), found.validation[1].tolist()) == (["b"], ["a"])
    write(tmp_path / "test/b/2.png", (4, 4))
    write(tmp_path / "test/b/1.png", (4, 4))
    with pytest.raises(ValueError, match=r"test.b.2\.png has 4 x 4 pixels|test.b.1\.png has 4 x 4 pixels"):
        read(tmp_path)


def test_color_is_kept_where_there_is_any(tmp_path):
    gray, colored = write(tmp_path / "a/1.png"), write(tmp_path / "b/1.png", (3, 4, 3))
    found = read(tmp_path)
    assert found.image_shape == (3, 4, 3)
    np.testing.assert_array_equal(found.x, [np.repeat(gray[:, :, None], 3, axis=2).reshape(-1), colored.reshape(-1)])
    found = read(tmp_path, color=False)
    luminance = colored @ [0.299, 0.587, 0.114]
    assert np.abs(found.x[1] - luminance.reshape(-1)).max() <= 1
    np.testing.assert_array_equal(found.x[0], gray.reshape(-1))


def test_images_of_every_mode_are_the_same_pixels(tmp_path):
    pixels = RNG.integers(0, 256, (3, 4), np.uint8)
    image = Image.fromarray(pixels)
    palette = image.convert("P")
    for name, each in (
        ("gray", image), ("palette", palette), ("alpha", image.convert("LA")), ("rgba", image.convert("RGBA")),
        ("16 bits", Image.fromarray(pixels.astype(np.uint16) * 257)),
    ):  # fmt: skip
        each.save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(
            read(tmp_path / f"{name}.png", labelled=False, color=False).x[0], pixels.reshape(-1)
        )
    clear = np.dstack([pixels, np.zeros_like(pixels)])
    Image.fromarray(clear, "LA").save(tmp_path / "clear.png")
    assert (read(tmp_path / "clear.png", labelled=False).x == 255).all()  # as paper is


def test_sizes_must_agree_unless_one_is_given(tmp_path):
    write(tmp_path / "a/1.png")
    write(tmp_path / "b/odd.png", (5, 7))
    with pytest.raises(ValueError, match=r"odd\.png has 7 x 5 pixels, and .*1\.png has 4 x 3; pass a size"):
        read(tmp_path)
    found = read(tmp_path, size=(6, 2))
    assert (found.image_shape, found.x.shape) == ((2, 6), (2, 12))
    Image.fromarray(np.full((20, 30), 77, np.uint8)).save(tmp_path / "b/odd.png")
    assert (read(tmp_path, size=(6, 2)).x[1] == 77).all()


def test_what_a_camera_wrote_about_its_side_is_heeded(tmp_path):
    pixels = RNG.integers(0, 256, (3, 4), np.uint8)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    found = read(tmp_path / "turned.png", labelled=False)
    assert found.image_shape == (4, 3)
    np.testing.assert_array_equal(found.x[0].reshape(4, 3), np.rot90(pixels, -1))


def test_a_function_can_prepare_images(tmp_path):
    write(tmp_path / "a/1.png", (30, 20, 4))
    write(tmp_path / "b/1.png", (9, 9))
    seen = []

    def prepare(image):
        seen.append(image.shape)
        return np.full(16, len(seen), np.uint8)

    found = read(tmp_path, prepare=prepare)
    assert seen == [(30, 20, 4), (9, 9)]
    assert found.image_shape == (4, 4)
    np.testing.assert_array_equal(found.x, [[1] * 16, [2] * 16])


def test_images_without_labels(tmp_path):
    pixels = [write(tmp_path / name) for name in ("b.png", "a.png")]
    found = read(tmp_path, labelled=False)
    np.testing.assert_array_equal(found.x, np.reshape(pixels[::-1], (2, 12)))
    assert (found.y, len(found.files)) == (None, 2)
    with pytest.raises(ValueError, match="must have one sub-folder of images per class, got 2 images in it"):
        read(tmp_path)
    with pytest.raises(ValueError, match=r"a\.png is one image, which has no label"):
        read(tmp_path / "a.png")


def test_an_empty_class_is_named(tmp_path):
    write(tmp_path / "a/1.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match=r"b must hold images, as it is the folder of a class"):
        read(tmp_path)


def test_broken_images_are_named(tmp_path):
    write(tmp_path / "a/1.png", (40, 40))
    whole = (tmp_path / "a/1.png").read_bytes()
    for bad in (b"", b"hello", whole[:20], whole[: len(whole) // 2]):
        (tmp_path / "a/2.png").write_bytes(bad)
        with pytest.raises(ValueError, match=r"2\.png is not an image that can be read"):
            read(tmp_path)


def test_an_image_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    write(tmp_path / "a/1.png", (40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"1\.png is too large an image"):
        read(tmp_path)


def test_images_are_known_by_their_content(tmp_path):
    pixels = write(tmp_path / "1.png")
    (tmp_path / "1.png").rename(tmp_path / "picture")
    np.testing.assert_array_equal(read(tmp_path / "picture", labelled=False).x, pixels.reshape(1, -1))

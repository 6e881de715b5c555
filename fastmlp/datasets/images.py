"""Reader of images: a file, or a folder with one sub-folder per class."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.datasets.dataset import Dataset
from fastmlp.optional import require

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
_GRAY = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L")
_PARTS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
_PARTS |= {"validation": "validation", "test": "test", "testing": "test"}


def is_image(path: Path) -> bool:
    """Return whether the name of a file is that of an image."""
    return path.suffix.lower() in SUFFIXES


def image_classes(path: Path) -> list[Path]:
    """Return the sub-folders that hold images, which are the classes."""
    return [folder for folder in _folders(path) if _images(folder)]


def image_parts(path: Path) -> dict[str, Path]:
    """Return the sub-folders train, validation and test, if it is these that hold the classes."""
    parts = {_PARTS[folder.name.lower()]: folder for folder in _folders(path) if folder.name.lower() in _PARTS}
    return {part: folder for part, folder in parts.items() if image_classes(folder)}


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))


def _images(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if is_image(each) and not each.name.startswith("."))


def read_image_folder(
    path: Path, labelled: bool, size: tuple[int, int] | None, color: bool | None, prepare: Callable | None
) -> Dataset:
    """Read a folder with one sub-folder per class, or these in train, validation and test; or just of images."""
    parts = image_parts(path)
    if "train" in parts:
        train = _read_classes(parts.pop("train"), size, color, prepare)
        if color is None and prepare is None and train.image_shape is not None:
            color = len(train.image_shape) == 3
        more = {part: _read_classes(folder, size, color, prepare) for part, folder in parts.items()}
        for each in more.values():
            if each.image_shape != train.image_shape:
                _refuse_size(each.files, each.image_shape, train.files, train.image_shape)
        pairs = {part: (each.x, each.y) for part, each in more.items()}
        return train._replace(validation=pairs.get("validation"), test=pairs.get("test"))
    if image_classes(path):
        return _read_classes(path, size, color, prepare)
    files = _images(path)
    if labelled and files:
        raise ValueError(f"{path} must have one sub-folder of images per class, got {len(files)} images in it itself")
    return read_images(files, size, color, prepare)


def _read_classes(path: Path, size, color, prepare) -> Dataset:
    """Read the images in the sub-folders of a folder; their names are the labels."""
    files: list[Path] = []
    labels: list[str] = []
    for folder in _folders(path):
        images = _images(folder)
        if not images:
            raise ValueError(f"{folder} must hold images, as it is the folder of a class, got none")
        files += images
        labels += [folder.name] * len(images)
    return read_images(files, size, color, prepare)._replace(y=np.array(labels))


def read_images(
    files: Sequence[Path],
    size: tuple[int, int] | None = None,
    color: bool | None = None,
    prepare: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Dataset:
    """Read images of one size as rows of uint8, without labels.

    Parameters
    ----------
    files : sequence of path
    size : (width, height), optional
        Size that all images are resized to.
    color : bool, optional
        Whether pixels are red, green and blue, or gray.  By default they are gray if all images are.
    prepare : function, optional
        Makes an image (height, width) or (height, width, channels) into a row of pixels, instead of all that.
    """
    pillow = require("PIL.Image", "images")
    if prepare is None and color is None:
        color = any(_mode(pillow, file) not in _GRAY for file in files)
    x: np.ndarray | None = None
    shape: tuple[int, ...] | None = None
    for k, file in enumerate(files):
        image = _pixels(pillow, file, size, color, prepare is not None)
        if prepare is not None:
            row = prepare(image)
            side = int(np.sqrt(row.size))
            shape = (side, side) if side * side == row.size else None
        else:
            row = image.reshape(-1)
            if shape is None:
                shape = image.shape
            if image.shape != shape:
                _refuse_size([str(file)], image.shape, [str(files[0])], shape)
        if x is None:
            x = np.empty((len(files), row.size), np.uint8)
        x[k] = row
    if x is None:
        raise ValueError("there must be at least one image, got none")
    return Dataset(x, None, "images", files=[str(file) for file in files], image_shape=shape)


def _refuse_size(files, shape, others, other_shape) -> None:
    sizes = [f"{width} x {height}" for height, width, *_ in (shape, other_shape)]
    raise ValueError(
        f"images must have one size, but {files[0]} has {sizes[0]} pixels, and {others[0]} has {sizes[1]}; "
        "pass a size (--size WIDTHxHEIGHT) to resize them"
    )


def _mode(pillow, file: Path) -> str:
    return _decoded(pillow, file, lambda image: image.mode)


def _pixels(pillow, file: Path, size: tuple[int, int] | None, color: bool | None, as_it_is: bool) -> np.ndarray:
    """Return an image as (height, width) or (height, width, 3) uint8; if `as_it_is`, it may also have alpha."""
    from PIL import ImageOps

    def decode(image) -> np.ndarray:
        image = ImageOps.exif_transpose(image)  # cameras write which side is up
        if image.mode.startswith("I;16"):  # which Pillow would cut off at 255
            image = pillow.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        has_alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
        if as_it_is:
            gray = image.mode in _GRAY
            return np.asarray(
                image.convert("LA" if gray else "RGBA") if has_alpha else image.convert("L" if gray else "RGB")
            )
        if has_alpha:  # what is transparent is seen as white
            image = image.convert("RGBA")
            image = pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB" if color else "L")
        if size is not None and image.size != size:
            image = image.resize(size, pillow.Resampling.LANCZOS)
        return np.asarray(image)

    return _decoded(pillow, file, decode)


def _decoded(pillow, file: Path, use: Callable[[Any], Any]) -> Any:
    """Return what `use` makes of an opened image; errors name the file."""
    with open(file, "rb") as opened:  # raises the OS's own error if it can't be read
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", pillow.DecompressionBombWarning)
                with pillow.open(opened) as image:
                    return use(image)
        except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
            raise ValueError(f"{file} is too large an image: {error}") from None
        # broken files make Pillow raise nearly anything
        except (OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError) as error:
            raise ValueError(f"{file} is not an image that can be read, or is cut short: {error}") from None

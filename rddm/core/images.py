"""Image files as arrays (H, W, C), and arrays as tensors (C, H, W).

C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA). Values are uint8, uint16, or float32 in [0, 1]. Colour profiles
are ignored.
"""

from __future__ import annotations

import os
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError
from PIL.ExifTags import Base as Tag
from PIL.PngImagePlugin import putchunk

from rddm.core.errors import DataError, OutputError, ShapeError
from rddm.core.files import fresh_file

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]
_Dtype = type[np.uint8] | type[np.uint16]

_WRITE = {  # the modes that hold images of 1, 2, 3 and 4 channels
    **dict.fromkeys(("JPEG2000", "PNG", "TGA", "TIFF"), ("L", "LA", "RGB", "RGBA")),
    **dict.fromkeys(("BMP", "JPEG", "PPM"), ("L", "L", "RGB", "RGB")),
    **dict.fromkeys(("QOI", "WEBP"), ("RGB", "RGBA", "RGB", "RGBA")),
    "AVIF": ("L", "RGBA", "RGB", "RGBA"),
}
_READ = {*_WRITE, "DDS", "DIB", "GIF", "PCX", "PSD", "SGI", "SUN"}
# Pillow's decoders give the high bytes of 16-bit colour. Told the other byte order, they give the low bytes.
_OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


@cache
def _formats() -> dict[str, str]:
    return {s: f for s, f in Image.registered_extensions().items() if f in _READ and f in Image.OPEN}


def suffixes() -> frozenset[str]:
    """The endings of the files that `find` takes for images, in lower case."""
    return frozenset(_formats())


@cache
def _writable() -> dict[str, str]:
    return {suffix: form for suffix, form in _formats().items() if form in _WRITE and form in Image.SAVE}


def result_name(path: Path) -> Path:
    """The name for a changed copy of an image file: its own, or with `.png` added if its format can only be read."""
    return path if path.suffix.lower() in _writable() else path.with_name(path.name + ".png")


def find(folder: Path) -> list[Path]:
    """Every image file in and below a folder, sorted by relative path.

    Hidden files and folders are passed over. Links to folders are followed; a folder met twice counts once.
    Raises DataError where there is no image, or a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        message = f"cannot look for images in {error.filename}: {error.strerror}; give the path of a folder"
        raise DataError(message) from error

    found: list[Path] = []
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if (real := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(real)
        paths = (Path(root, name) for name in files if not name.startswith("."))
        found += (path for path in paths if path.suffix.lower() in _formats())
    if not found:
        allowed = " ".join(sorted(_formats()))
        raise DataError(f"no images in {folder} or below; give a folder that holds files named {allowed}")
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def read(path: Path) -> Array:
    """The pixels (H, W, C) of an image file, upright as its EXIF says; of an animation, the first frame.

    uint16 from 16-bit PNG and TIFF, and from 16-bit grey in other formats; float32 from floating point grey in
    [0, 1] (TIFF, PFM); else uint8. Palettes, CMYK, YCbCr and LAB become RGB, with alpha if they have transparency.
    Raises DataError for whatever cannot be read, and for more pixels than PIL.Image.MAX_IMAGE_PIXELS.
    """
    with _opened(path) as (image, turn):
        args = image.tile[0].args if image.tile and image.format in ("PNG", "TIFF") else ""
        raw = args[0] if isinstance(args, tuple) else args or ""
        # The raw mode RGBA gives the four bytes of 16-bit grey and alpha as they are.
        array = _decoded(image, "RGBA").view(">u2").astype(np.uint16) if raw == "LA;16B" else _pixels(image)
        if raw[:-1] in ("RGB;16", "RGBA;16"):
            with _opened(path) as (again, _):
                array = array.astype(np.uint16) << np.uint16(8) | _decoded(again, raw[:-1] + _OTHER[raw[-1]])
    array = array.swapaxes(0, 1) if turn in (5, 6, 7, 8) else array
    return np.ascontiguousarray(array[:: -1 if turn in (3, 4, 7, 8) else 1, :: -1 if turn in (2, 3, 6, 7) else 1])


def size(path: Path) -> tuple[int, int]:
    """(H, W) of what `read` gives, from the file's header alone; DataError likewise."""
    with _opened(path) as (image, turn):
        return image.size if turn in (5, 6, 7, 8) else (image.height, image.width)


def write(path: Path, array: Array) -> None:
    """Writes (H, W, C), uint8 or uint16, in the format that the suffix names, whole or not at all.

    PNG and TIFF keep 16 bits, others get 8. BMP, JPEG and PPM get no alpha; QOI and WebP, and AVIF and 16-bit TIFF
    with alpha, hold grey as RGB. Lossy formats have quality 95. Missing folders are made, a file of that name replaced.
    Raises OutputError where it cannot be written, ShapeError for another array.
    """
    form = _writable().get(path.suffix.lower())
    if form is None:
        raise OutputError(f"cannot write {path}: images are written to files named {' '.join(sorted(_writable()))}")
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or array.dtype not in (np.uint8, np.uint16):
        raise ShapeError(f"an image is (H, W, 1 to 4), uint8 or uint16; given {array.shape}, {array.dtype}")
    try:
        with fresh_file(path) as draft:
            _encode(draft, array, form)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error


def to_tensor(array: Array) -> Tensor:
    """(H, W, C) as float32 (C, H, W) in [0, 1], copied."""
    import torch

    if array.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        raise DataError(f"an image must be uint8, uint16 or floating point in [0, 1]; given {array.dtype}")
    scale = np.float32(np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1)
    return torch.from_numpy(np.moveaxis(array, 2, 0).astype(np.float32, order="C") / scale)


def to_array(tensor: Tensor, dtype: _Dtype = np.uint8) -> Array:
    """(C, H, W) in [0, 1] as (H, W, C) integers, clipped and rounded to the nearest; ShapeError for NaN."""
    if tensor.isnan().any():
        raise ShapeError("an image holds NaN where values in [0, 1] are needed; look for the step that made it")
    scaled = tensor.detach().float().cpu().clamp(0, 1).mul(np.iinfo(dtype).max).round()
    return np.ascontiguousarray(scaled.permute(1, 2, 0).numpy().astype(dtype))


def as_channels(array: Array, channels: int) -> Array:
    """The image with so many channels.

    Grey becomes RGB by repetition, RGB grey by the luma of ITU-R 601, 0.299 R + 0.587 G + 0.114 B; alpha is dropped.
    Raises DataError for any other change.
    """
    have = array.shape[2]
    if have == channels:
        return array
    if channels not in (1, 3) or have not in (1, 2, 3, 4):
        message = f"an image has {have} channels where {channels} are needed; 1 to 4 can become 1 or 3, no others"
        raise DataError(f"{message}: give other images, or set channels to {have}")
    colours = array[..., : 1 if have < 3 else 3]
    if channels == 3 or have < 3:
        return np.repeat(colours, channels // colours.shape[2], axis=2)
    luma: Array = colours @ np.array((19595, 38470, 7471)) / 65536  # Pillow's integers, exact in float64
    luma = (luma if array.dtype.kind == "f" else np.floor(luma + 0.5)).astype(array.dtype)
    return luma[..., None]


@dataclass(frozen=True)
class Rest:
    """What an image has and a model does not see."""

    grey: bool
    alpha: Array | None  # (H, W, 1)
    dtype: _Dtype


def for_model(array: Array, channels: int) -> tuple[Tensor, Rest]:
    """The image as `as_channels` gives it, (channels, H, W) in [0, 1], and the rest of it for `from_model`."""
    have = array.shape[2]
    alpha = array[..., -1:] if have in (2, 4) and have != channels else None
    rest = Rest(have < 3, alpha, np.uint8 if array.dtype == np.uint8 else np.uint16)
    return to_tensor(as_channels(array, channels)), rest


def from_model(tensor: Tensor, rest: Rest) -> Array:
    """A model's (C, H, W) in [0, 1] as an image like the one it came from: grey by the mean of RGB, the same alpha.

    Floating point becomes uint16; colour that went through a model of one channel comes back grey.
    """
    if rest.grey and tensor.shape[0] == 3:
        tensor = tensor.float().mean(dim=0, keepdim=True)
    array = to_array(tensor, rest.dtype)
    return array if rest.alpha is None else np.concatenate((array, rest.alpha), axis=2)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[ImageFile.ImageFile, int]]:
    try:
        with warnings.catch_warnings(), open(path, "rb") as file:
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(file, formats=sorted(set(_formats().values())))
            # Pillow turns a TIFF upright itself. Of a PNG, its getexif would decode the pixels to look behind them.
            turn = 1 if image.format == "TIFF" else Image.Image.getexif(image).get(Tag.Orientation, 1)
            yield image, turn
    except Exception as error:  # a damaged file makes decoders raise anything
        unknown = isinstance(error, UnidentifiedImageError) and "not an image, or of a kind that is not supported"
        cause = unknown or getattr(error, "strerror", None) or str(error) or repr(error)
        raise DataError(f"cannot read {path} as an image: {cause}; repair, replace or remove it") from error


def _decoded(image: ImageFile.ImageFile, raw: str) -> Array:
    image.tile = [t._replace(args=(raw, *t.args[1:]) if isinstance(t.args, tuple) else raw) for t in image.tile]
    return np.asarray(image)


def _pixels(image: ImageFile.ImageFile) -> Array:
    tags = getattr(image, "tag_v2", {})
    if tags.get(Tag.PlanarConfiguration) == 2 and max(tags.get(Tag.BitsPerSample, (8,))) > 8:
        raise ValueError("16-bit TIFF in separate planes is not supported, save it interleaved")
    if image.mode == "F" or image.mode.startswith("I"):
        array = np.asarray(image)[..., None]
        dtype, top = (np.float32, 1) if image.mode == "F" else (np.uint16, 65535)
        if not (array.min() >= 0 and array.max() <= top):
            raise ValueError(f"values from {array.min()} to {array.max()}, allowed are 0 to {top}")
        # Pillow leaves TIFF whose 0 is white as it is, unlike that of 8 bits.
        return (top - array if tags.get(Tag.PhotometricInterpretation) == 0 else array).astype(dtype)
    if image.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return np.asarray(ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB"))
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    array = np.asarray(image.convert(mode + "A" * image.has_transparency_data))
    return array.reshape(*array.shape[:2], -1)


def _encode(path: Path, array: Array, form: str) -> None:
    height, width, channels = array.shape
    if array.dtype == np.uint16 and form not in ("PNG", "TIFF"):
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype == np.uint8 or channels == 1:
        mode = _WRITE[form][channels - 1] if array.dtype == np.uint8 else "I;16"
        image = Image.fromarray(np.ascontiguousarray(array if channels > 1 else array[..., 0]))
        (image if image.mode == mode else image.convert(mode)).save(path, form, quality=95)
    elif form == "TIFF":
        import tifffile

        array = array[..., [0, 0, 0, 1]] if channels == 2 else array  # Pillow cannot read grey with alpha
        extra = None if channels == 3 else ["unassalpha"]
        tifffile.imwrite(path, array, photometric="rgb", planarconfig="contig", extrasamples=extra, metadata=None)
    else:
        rows = array.astype(">u2", order="C").view(np.uint8).reshape(height, -1)
        rows[:, 2 * channels :] -= rows[:, : -2 * channels].copy()  # PNG filter 1: the difference to the left
        with open(path, "wb") as file:
            file.write(b"\x89PNG\r\n\x1a\n")
            putchunk(file, b"IHDR", struct.pack(">2I5B", width, height, 16, (4, 2, 6)[channels - 2], 0, 0, 0))
            putchunk(file, b"IDAT", zlib.compress(np.pad(rows, ((0, 0), (1, 0)), constant_values=1).tobytes()))
            putchunk(file, b"IEND", b"")

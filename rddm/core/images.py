"""Image files as arrays (H, W, C), and arrays as tensors (C, H, W).

C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA). Values are uint8, uint16, or float32 in [0, 1]. Colour profiles
are ignored.
"""

from __future__ import annotations

import os
import struct
import sys
import uuid
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError
from PIL.ExifTags import Base as Tag

from rddm.core.errors import DataError, OutputError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
Array = np.ndarray[Any, Any]
_Dtype = type[np.uint8] | type[np.uint16]
_Picture = tuple[tuple[int, int], Callable[[], Array]]  # (H, W) and what decodes the pixels

SUFFIXES: frozenset[str]  # of the files that `find` takes for images, in lower case

_READ = "AVIF BMP DDS DIB GIF JPEG JPEG2000 PCX PNG PPM PSD QOI SGI SUN TIFF WEBP TGA".split()
_WRITE = {  # the modes that hold images of 1, 2, 3 and 4 channels
    **dict.fromkeys(("JPEG2000", "PNG", "TGA", "TIFF"), ("L", "LA", "RGB", "RGBA")),
    **dict.fromkeys(("BMP", "JPEG", "PPM"), ("L", "L", "RGB", "RGB")),
    **dict.fromkeys(("QOI", "WEBP"), ("RGB", "RGBA", "RGB", "RGBA")),
    "AVIF": ("L", "RGBA", "RGB", "RGBA"),
}
# Of 16-bit colour Pillow's decoders give the high bytes. Told the other byte order they give the low ones.
_LOW = {f"{mode};16{a}": f"{mode};16{b}" for mode in ("RGB", "RGBA") for a, b in ("BL", "LB")}
_LOW |= {f"{mode};16N": f"{mode};16{'B' if sys.byteorder == 'little' else 'L'}" for mode in ("RGB", "RGBA")}


@cache
def _formats() -> dict[str, str]:
    return {s: f for s, f in Image.registered_extensions().items() if f in _READ and f in Image.OPEN}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> frozenset[str]:
        if name != "SUFFIXES":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return frozenset(_formats())


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

    uint16 from 16-bit PNG and TIFF, and from 16-bit grey in other formats; float32 from floating point in [0, 1],
    TIFF or PFM; else uint8. Palettes, CMYK, YCbCr and LAB become RGB, with alpha where they have transparency.
    Raises DataError for whatever cannot be read, or has more pixels than PIL.Image.MAX_IMAGE_PIXELS.
    """
    return _use(path, lambda picture: np.ascontiguousarray(picture[1]()))


def size(path: Path) -> tuple[int, int]:
    """(H, W) of what `read` gives, from the file's header alone; DataError likewise."""
    return _use(path, lambda picture: picture[0])


def write(path: Path, array: Array) -> None:
    """Writes (H, W, C), uint8 or uint16, in the format that the suffix names.

    PNG and TIFF keep 16 bits, others get 8. BMP, JPEG and PPM get no alpha. Lossy formats have quality 95. Missing
    folders are made; the file appears whole or not at all, in place of one of that name.
    Raises OutputError where it cannot be written, ShapeError for another array.
    """
    form = _formats().get(path.suffix.lower(), "")
    if form not in _WRITE:
        allowed = " ".join(sorted(suffix for suffix, known in _formats().items() if known in _WRITE))
        raise OutputError(f"cannot write {path}: images are written to files named {allowed}")
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or array.dtype not in (np.uint8, np.uint16):
        raise ShapeError(f"an image is (H, W, 1 to 4), uint8 or uint16; given {array.shape}, {array.dtype}")
    draft = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(draft, "xb") as file:
                _encode(file, array, form)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error


def to_tensor(array: Array) -> Tensor:
    """(H, W, C) as float32 (C, H, W) in [0, 1], copied."""
    import torch

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
    if channels == 3:
        return np.broadcast_to(colours, (*array.shape[:2], 3))
    if have < 3:
        return colours
    weights = (19595, 38470, 7471)  # of 2^16, as in Pillow; the sum of 16-bit values fits into 32 bits
    if array.dtype.kind == "f":
        return (colours @ np.array(weights, array.dtype) / 65536)[..., None]
    return (colours.astype(np.uint32) @ np.array(weights, np.uint32) + 32768 >> 16).astype(array.dtype)[..., None]


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
    if alpha is not None and alpha.dtype.kind == "f":
        alpha = to_array(to_tensor(alpha), np.uint16)
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


def _use(path: Path, use: Callable[[_Picture], T]) -> T:
    try:
        with warnings.catch_warnings(), open(path, "rb") as file:
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return use(_picture(file))
    except Exception as error:  # a damaged file makes decoders raise anything
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"cannot read {path} as an image: {cause}; repair, replace or remove it") from error


def _open(file: IO[bytes]) -> ImageFile.ImageFile:
    return Image.open(file, formats=[form for form in _READ if form in _formats().values()])


def _picture(file: IO[bytes]) -> _Picture:
    try:
        image = _open(file)
    except UnidentifiedImageError:
        return _tiff(file)
    tags = getattr(image, "tag_v2", {})
    if tags.get(Tag.PlanarConfiguration) == 2 and max(tags[Tag.BitsPerSample]) > 8:
        return _tiff(file)
    # Pillow turns a TIFF upright itself. Of a PNG its own getexif would decode the pixels, to look behind them.
    turn = 1 if image.format == "TIFF" else Image.Image.getexif(image).get(Tag.Orientation, 1)
    shape = image.height, image.width
    return shape[::-1] if turn in (5, 6, 7, 8) else shape, lambda: _upright(_pixels(file, image), turn)


def _upright(array: Array, turn: int) -> Array:
    array = array.swapaxes(0, 1) if turn in (5, 6, 7, 8) else array
    return array[:: -1 if turn in (3, 4, 7, 8) else 1, :: -1 if turn in (2, 3, 6, 7) else 1]


def _pixels(file: IO[bytes], image: ImageFile.ImageFile) -> Array:
    tiles = image.tile if image.format in ("PNG", "TIFF") else []
    raw = [tile.args[0] if isinstance(tile.args, tuple) else tile.args for tile in tiles][:1]
    ...

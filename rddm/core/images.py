"""Image files as arrays (H, W, C), and arrays as tensors (C, H, W).

C is 1 (grey), 2 (grey, alpha), 3 (RGB), 4 (RGBA), or any other in TIFF and .npy. Values are uint8, uint16, or float32
in [0, 1]. Colour profiles are ignored. Of `ndim` 1 and 3, signals (L, C) and volumes (D, H, W, C) in .npy files; their
channels have no meaning here, and none is alpha.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError
from PIL.ExifTags import Base as Tag

from rddm.core import arrays
from rddm.core.arrays import Array as Array
from rddm.core.arrays import named as named
from rddm.core.encode import MODES, encode
from rddm.core.errors import DataError, OutputError, ShapeError
from rddm.core.files import fresh_file

if TYPE_CHECKING:
    from torch import Tensor

_Dtype = type[np.uint8] | type[np.uint16] | type[np.float32]
_KINDS: tuple[_Dtype, ...] = (np.uint8, np.uint16, np.float32)

_READ = {*MODES, "DDS", "DIB", "GIF", "PCX", "PSD", "SGI", "SUN"}
# Pillow's decoders give the high bytes of 16-bit colour. Told the other byte order, they give the low bytes.
_OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


@cache
def _formats() -> dict[str, str]:
    return {s: f for s, f in Image.registered_extensions().items() if f in _READ and f in Image.OPEN}


def suffixes(ndim: int = 2) -> frozenset[str]:
    """The endings of the files that `find` takes for images, in lower case."""
    return frozenset((*(_formats() if ndim == 2 else ()), ".npy"))


@cache
def _writable() -> dict[str, str]:
    # .pbm and .pfm are read as such, and would be written as PPM
    there = {s: form for s, form in _formats().items() if form in MODES and form in Image.SAVE}
    return {s: form for s, form in there.items() if s not in (".pbm", ".pfm")} | {".npy": "npy"}


def result_name(path: Path) -> Path:
    """The name for a changed copy of an image file: its own, or with `.png` added if its format can only be read."""
    return path if path.suffix.lower() in _writable() else path.with_name(path.name + ".png")


def find(folder: Path, ndim: int = 2) -> list[Path]:
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
        found += (path for path in paths if path.suffix.lower() in suffixes(ndim))
    if not found:
        allowed = " ".join(sorted(suffixes(ndim)))
        raise DataError(f"no {named(ndim)}s in {folder} or below; give a folder that holds files named {allowed}")
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def read(path: Path, file: BinaryIO | None = None, ndim: int = 2) -> Array:
    """The pixels (H, W, C) of an image file, upright as its EXIF says; of an animation, the first frame.

    uint16 from 16-bit PNG, TIFF and .npy, and from 16-bit grey in other formats; float32 from floating point in
    [0, 1] (TIFF, PFM, .npy); else uint8. Palettes, CMYK, YCbCr and LAB become RGB, with alpha if they have
    transparency. `file` is what is read if it is no file of its own, such as a part of an archive; `path` names it.
    Raises DataError for whatever cannot be read, and for more pixels than `max_pixels`.
    """
    with _opened(path, file, ndim) as opened:
        if found := _found(opened, ndim):
            return _upright(found.pixels(), found.turn)
        image, turn = _pillow(opened)
        args = image.tile[0].args if image.tile and image.format in ("PNG", "TIFF") else ""
        raw = args[0] if isinstance(args, tuple) else args or ""
        # The raw mode RGBA gives the four bytes of 16-bit grey and alpha as they are.
        array = _decoded(image, "RGBA").view(">u2").astype(np.uint16) if raw == "LA;16B" else _pixels(image)
        if raw[:-1] in ("RGB;16", "RGBA;16"):
            again, _ = _pillow(opened)
            array = array.astype(np.uint16) << np.uint16(8) | _decoded(again, raw[:-1] + _OTHER[raw[-1]])
        return _upright(array, turn)


def size(path: Path, file: BinaryIO | None = None, ndim: int = 2) -> tuple[int, ...]:
    """(H, W), or as many sides as there are dimensions, of what `read` gives, by its header; DataError likewise."""
    with _opened(path, file, ndim) as opened:
        if found := _found(opened, ndim):
            sides, turn = found.size, found.turn
        else:
            image, turn = _pillow(opened)
            sides = image.size[::-1]
        return sides[::-1] if turn in (5, 6, 7, 8) else sides


def max_pixels() -> int | None:
    """How many pixels an image may have; more may be a mistake, or a file made to fill the memory.

    The environment variable RDDM_MAX_PIXELS says it, else PIL.Image.MAX_IMAGE_PIXELS, 89 478 485 by default; None
    is without limit. Raises DataError where the variable holds no number.
    """
    if text := os.environ.get("RDDM_MAX_PIXELS"):
        if not text.isdecimal() or not int(text):
            raise DataError(f"the environment variable RDDM_MAX_PIXELS must be a number of pixels; given {text!r}")
        Image.MAX_IMAGE_PIXELS = int(text)
    return Image.MAX_IMAGE_PIXELS


def write(path: Path, array: Array) -> None:
    """Writes (H, W, C), uint8 or uint16, in the format that the suffix names, whole or not at all.

    Signals (L, C) and volumes (D, H, W, C), and arrays without channels, are written to .npy, and may be float32.

    PNG, TIFF and .npy keep 16 bits, others get 8. TIFF and .npy take any C. BMP, JPEG and PPM get no alpha; QOI and
    WebP, and AVIF and 16-bit TIFF with alpha, hold grey as RGB. Lossy formats have quality 95. Missing folders are
    made, a file of that name replaced.
    Raises OutputError where it cannot be written, ShapeError for another array.
    """
    form = _writable().get(path.suffix.lower())
    if form is None:
        raise OutputError(f"cannot write {path}: images are written to files named {' '.join(sorted(_writable()))}")
    most = np.inf if form == "TIFF" else 4
    image = array.ndim == 3 and 1 <= array.shape[2] <= most and array.dtype in (np.uint8, np.uint16)
    if not (array.dtype in _KINDS if form == "npy" else image):
        allowed = "(H, W, 1 to 4), in .tif and .npy (H, W, C), uint8 or uint16"
        raise ShapeError(f"an image is {allowed}; given {array.shape}, {array.dtype}")
    try:
        with fresh_file(path) as draft:
            encode(draft, array, form)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error


def to_tensor(array: Array) -> Tensor:
    """(*S, C) as float32 (C, *S) in [0, 1], copied; floating point may be off by 1e-6. Raises DataError."""
    import torch

    if array.dtype.kind != "f" and array.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise DataError(f"an image must be uint8, uint16 or floating point in [0, 1]; given {array.dtype}")
    if array.dtype.kind == "f" and not (array.min() >= -1e-6 and array.max() <= 1 + 1e-6):  # also catches NaN
        raise DataError(f"values span {array.min():.4g} .. {array.max():.4g}; those of an image must be in [0, 1]")
    first = np.moveaxis(array, -1, 0).astype(np.float32, order="C")
    return torch.from_numpy(
        first / np.float32(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else first.clip(0, 1)
    )


def to_array(tensor: Tensor, dtype: _Dtype = np.uint8) -> Array:
    """(C, *S) in [0, 1] as (*S, C), clipped and, for integers, rounded to the nearest; ShapeError for NaN."""
    if tensor.isnan().any():
        raise ShapeError("an image holds NaN where values in [0, 1] are needed; look for the step that made it")
    unit = tensor.detach().float().cpu().clamp(0, 1).movedim(0, -1)
    scaled = unit if dtype == np.float32 else unit.mul(65535 if dtype == np.uint16 else 255).round()
    return np.ascontiguousarray(scaled.numpy().astype(dtype))


def as_channels(array: Array, channels: int) -> Array:
    """The image with so many channels.

    Grey becomes RGB by repetition, RGB grey by the luma of ITU-R 601, 0.299 R + 0.587 G + 0.114 B; alpha is dropped.
    Raises DataError for any other change.
    """
    have = array.shape[-1]
    if have == channels:
        return array
    if channels not in (1, 3) or have not in (1, 2, 3, 4):
        message = f"an image has {have} channels where {channels} are needed; 1 to 4 can become 1 or 3, no others"
        raise DataError(f"{message}: give other images, or set channels to {have}")
    colours = array[..., : 1 if have < 3 else 3]
    if channels == 3 or have < 3:
        return np.repeat(colours, channels // colours.shape[-1], axis=-1)
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
    """The image as `as_channels` gives it, (channels, H, W) in [0, 1], and the rest of it for `from_model`.

    Signals and volumes must have the channels.
    """
    have = array.shape[-1]
    if array.ndim != 3:
        if have != channels:
            raise DataError(f"has {have} channels, and the model is of {channels}")
        kept = [dtype for dtype in _KINDS if array.dtype == dtype]
        return to_tensor(array), Rest(False, None, kept[0] if kept else np.float32)
    alpha = array[..., -1:] if have in (2, 4) and have != channels else None
    rest = Rest(have < 3, alpha, np.uint8 if array.dtype == np.uint8 else np.uint16)
    return to_tensor(as_channels(array, channels)), rest


def from_model(tensor: Tensor, rest: Rest) -> Array:
    """A model's (C, H, W) in [0, 1] as an image like the one it came from: grey by the mean of RGB, the same alpha.

    Floating point becomes uint16, but stays of signals and volumes; colour that went through a model of one channel
    comes back grey.
    """
    if rest.grey and tensor.shape[0] == 3:
        tensor = tensor.float().mean(dim=0, keepdim=True)
    array = to_array(tensor, rest.dtype)
    return array if rest.alpha is None else np.concatenate((array, rest.alpha), axis=2)


@contextmanager
def _opened(path: Path, file: BinaryIO | None, ndim: int) -> Iterator[BinaryIO]:
    limit = max_pixels()
    try:
        with warnings.catch_warnings(), open(path, "rb") if file is None else nullcontext(file) as opened:
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield opened
    except Exception as error:  # a damaged file makes decoders raise anything
        cause = getattr(error, "strerror", None) or str(error) or repr(error)
        if isinstance(error, UnidentifiedImageError):
            cause = "not an image, or of a kind that is not supported"
        elif isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
            cause = f"more than {limit} pixels; if it is sound, set the environment variable RDDM_MAX_PIXELS, else"
        raise DataError(
            f"cannot read {path} as {'an' if ndim == 2 else 'a'} {named(ndim)}: {cause}; repair, replace or remove it"
        ) from error


def _found(file: BinaryIO, ndim: int) -> arrays.Found | None:
    found, limit = arrays.found(file, ndim), max_pixels()
    if found and limit and prod(found.size) > limit:
        raise Image.DecompressionBombError
    return found


def _pillow(file: BinaryIO) -> tuple[ImageFile.ImageFile, int]:
    file.seek(0)
    image = Image.open(file, formats=sorted(set(_formats().values())))
    # Pillow turns a TIFF upright itself. Of a PNG, its getexif would decode the pixels to look behind them.
    return image, 1 if image.format == "TIFF" else Image.Image.getexif(image).get(Tag.Orientation, 1)


def _upright(array: Array, turn: int) -> Array:
    array = array.swapaxes(0, 1) if turn in (5, 6, 7, 8) else array
    return np.ascontiguousarray(array[:: -1 if turn in (3, 4, 7, 8) else 1, :: -1 if turn in (2, 3, 6, 7) else 1])


def _decoded(image: ImageFile.ImageFile, raw: str) -> Array:
    image.tile = [t._replace(args=(raw, *t.args[1:]) if isinstance(t.args, tuple) else raw) for t in image.tile]
    return np.asarray(image)


def _pixels(image: ImageFile.ImageFile) -> Array:
    if image.mode == "F" or image.mode.startswith("I"):
        array = np.asarray(image)[..., None]
        dtype, top = (np.float32, 1) if image.mode == "F" else (np.uint16, 65535)
        arrays.check_range(array, top)
        # Pillow leaves TIFF whose 0 is white as it is, unlike that of 8 bits.
        white = getattr(image, "tag_v2", {}).get(Tag.PhotometricInterpretation) == 0
        return (top - array if white else array).astype(dtype)
    if image.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return np.asarray(ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB"))
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    array = np.asarray(image.convert(mode + "A" * image.has_transparency_data))
    return array.reshape(*array.shape[:2], -1)

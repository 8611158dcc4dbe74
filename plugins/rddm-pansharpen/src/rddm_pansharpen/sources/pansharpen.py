"""Pairs of a multispectral and a panchromatic image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from rddm.plugin import Array, DataError, Source
from rddm_pansharpen.rasters import SAMPLE, fitting, header
from rddm_pansharpen.sources._tiles import Scene, TileRecords

Share = Annotated[float, Field(ge=0, le=1)]
Nyquist = Annotated[float, Field(gt=0, lt=1)]


class Pansharpen(Source):
    """Multispectral (MS) and panchromatic (PAN) scenes in GeoTIFF, as examples of "target", "input" and "pan".

    At reduced resolution, Wald's protocol: the target is the MS image; the input is the MS image degraded by a Gaussian
    that matches the sensor's MTF, decimated by the ratio, and up-sampled again by cubic splines; pan is the PAN image
    degraded likewise to the pixels of the target. At full resolution there is no target: the input is the MS image
    up-sampled to the pixels of pan, the PAN image as it is.

    A scene's `area` is cut into `tile`s side by side. Whatever lies outside is never read, not even by filters, so that
    areas that do not overlap make examples that share no pixel. Tiles with pixels without data are left out.

    Values are (stored - zero) / (peak - zero), in [0, 1]. Raises DataError where some are not.
    """

    name: Literal["pansharpen"] = "pansharpen"
    path: Path = Field(description="a folder with ms/ and pan/, files of equal names; an MS file; or spyndex:sentinel")
    pan: Path | tuple[Annotated[float, Field(ge=0)], ...] | None = Field(
        default=None, description="the PAN file beside an MS file; or weights of `bands` that simulate one, if reduced"
    )
    bands: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(default=None, description="from 1; all by default")
    ratio: int = Field(default=4, ge=2, description="pixels of PAN along one of MS")
    zero: float = Field(default=0, description="the stored number that stands for 0, in MS and PAN")
    peak: float = Field(default=2047, description="the stored number that stands for 1; 2047 for 11 bits")
    mtf: Nyquist | tuple[Nyquist, ...] = Field(default=0.3, description="MS gain at Nyquist, of all bands or each")
    pan_mtf: Nyquist = Field(default=0.15, description="PAN gain at Nyquist of the reduced resolution")
    area: tuple[Share, Share] = Field(default=(0, 1), description="part of the rows of each scene, from the top")
    tile: int | None = Field(default=None, ge=1, description="side in pixels of the input; by default one tile a scene")
    resolution: Literal["reduced", "full"] = "reduced"

    @field_validator("peak", "area", "tile", "mtf")
    @classmethod
    def _sensible(cls, value: Any, given: ValidationInfo) -> Any:
        ratio, bands = given.data.get("ratio", 1), given.data.get("bands")
        if given.field_name == "peak" and not value > given.data.get("zero", 0):
            raise ValueError(f"must be above zero={given.data.get('zero', 0)}")
        if isinstance(value, tuple) and given.field_name == "area" and not value[0] < value[1]:
            raise ValueError("must be a rising pair, such as [0, 0.7]")
        if isinstance(value, int) and given.field_name == "tile" and value % ratio:
            raise ValueError(f"must be a multiple of ratio={ratio}")
        if isinstance(value, tuple) and given.field_name == "mtf" and bands and len(value) != len(bands):
            raise ValueError(f"must be one number, or one for each of the {len(bands)} bands")
        return value

    def open(self) -> TileRecords:
        """The tiles, unread."""
        scenes = self._scenes()
        for scene in scenes:
            have = len(self.bands or range(header(scene.ms).bands))
            if isinstance(self.mtf, tuple) and len(self.mtf) != have:
                raise DataError(f"mtf={list(self.mtf)} must be one number, or one for each of {have} bands")
            if isinstance(scene.pan, Path):
                fitting(scene.ms, scene.pan, self.ratio)
                continue
            if len(scene.pan) != have or not sum(scene.pan):
                raise DataError(f"pan={list(scene.pan)} must be {have} weights, one for each band, not all of them 0")
            if self.resolution == "full":
                raise DataError(f"{scene.ms} has a simulated PAN, of its own resolution: set resolution to reduced")
        return TileRecords(self, scenes)

    def scaled(self, stored: Array, path: Path) -> Array:
        """Stored values as numbers in [0, 1]; `path` names them. Raises DataError where some are beyond."""
        if not (stored.min() >= self.zero and stored.max() <= self.peak):  # also catches NaN
            spans, ends = f"{stored.min():.6g} .. {stored.max():.6g}", f"zero={self.zero:g} .. peak={self.peak:g}"
            raise DataError(f"{path} spans {spans} where {ends} are 0 .. 1; set zero and peak")
        return (stored - self.zero) / (self.peak - self.zero)

    def _scenes(self) -> list[Scene]:
        path = self.path.expanduser()
        if path == SAMPLE or path.is_file():
            if self.pan is None:
                raise DataError(f"{path} needs pan: a PAN file, or weights that simulate one, such as [0.3, 0.4, 0.3]")
            return [
                Scene(
                    path.stem.replace(":", "-"), path, self.pan.expanduser() if isinstance(self.pan, Path) else self.pan
                )
            ]
        folders = [path / role for role in ("ms", "pan")]
        if isinstance(self.pan, Path) or not all(folder.is_dir() for folder in folders[: 1 if self.pan else 2]):
            raise DataError(
                f"{self.path} must be a folder with ms/ and pan/ in it, or ms/ and weights as `pan`, or an MS file with"
                f" its PAN file as `pan`, or {SAMPLE} (looked for {path.absolute()})"
            )
        ms, pan = ({f.stem: f for f in sorted(p.glob("*")) if f.suffix.lower() in (".tif", ".tiff")} for p in folders)
        if not ms:
            raise DataError(f"{folders[0]} holds no file named *.tif or *.tiff")
        if not self.pan and (missing := sorted(ms.keys() ^ pan.keys())):
            raise DataError(f"in {self.path}, {', '.join(missing[:10])} are not in both of ms/ and pan/")
        return [Scene(name, file, self.pan if isinstance(self.pan, tuple) else pan[name]) for name, file in ms.items()]

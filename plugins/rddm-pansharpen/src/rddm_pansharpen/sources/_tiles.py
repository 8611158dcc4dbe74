"""Tiles of scenes as examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from rddm.plugin import DataError, Record, Records
from rddm_pansharpen.rasters import empty, header, read
from rddm_pansharpen.wald import degraded, upsampled

if TYPE_CHECKING:
    from rddm_pansharpen.sources.pansharpen import Pansharpen

MARGIN = 16  # low-resolution pixels read around a tile: filters see them, and what is beyond counts for less than 1e-6
CACHE = 2**30  # bytes


class Scene(NamedTuple):
    """An MS file, and its PAN file or the weights that simulate one."""

    name: str
    ms: Path
    pan: Path | tuple[float, ...]


class _Tile(NamedTuple):
    scene: Scene
    area: tuple[slice, slice]  # in pixels of the input, which are those of the target
    where: tuple[slice, slice]


class TileRecords(Records):
    """The tiles of all scenes; "target" is there at reduced resolution only.

    Raises:
        DataError: no tile fits, or values are out of range.
    """

    def __init__(self, source: Pansharpen, scenes: Sequence[Scene]) -> None:
        self.source, self.reduced = source, source.resolution == "reduced"
        self.roles = frozenset(("target", "input", "pan") if self.reduced else ("input", "pan"))
        self.tiles = {name: tile for scene in scenes for name, tile in self._cut(scene)}
        self.names = list(self.tiles)
        self._cache: dict[str, Record] = {}
        self._room = CACHE
        if not self.names:
            size = f"of {source.tile} pixels with data everywhere" if source.tile else "with data everywhere"
            raise DataError(f"{source.path} gives no tile {size} in area={source.area}; set a smaller tile")

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        name = self.names[index]
        if name in self._cache:
            return self._cache[name]
        record = self._record(self.tiles[name])
        if (size := sum(array.nbytes for array in record.values())) <= self._room:
            self._cache[name] = record
            self._room -= size
        return record

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}, "_room": CACHE}

    def sizes(self) -> Sequence[tuple[int, int]]:
        """(height, width) of each."""
        return [(rows.stop - rows.start, columns.stop - columns.start) for _, _, (rows, columns) in self.tiles.values()]

    def _cut(self, scene: Scene) -> list[tuple[str, _Tile]]:
        source, ratio = self.source, self.source.ratio
        scale = 1 if self.reduced else ratio
        head, hole = header(scene.ms), empty(scene.ms)
        pan_hole, factor = empty(scene.pan) if isinstance(scene.pan, Path) else None, ratio if self.reduced else 1
        low = head.height * scale // ratio, head.width * scale // ratio  # in pixels of the degraded image
        top, bottom = (round(share * low[0]) * ratio for share in source.area)
        right = low[1] * ratio
        height, width = (source.tile or bottom - top), (source.tile or right)
        found = []
        for y in range(top, bottom - height + 1, height or 1):
            for x in range(0, right - width + 1, width or 1):
                where = slice(y, y + height), slice(x, x + width)
                stored = tuple(slice(one.start // scale, one.stop // scale) for one in where)
                finer = tuple(slice(one.start * factor, one.stop * factor) for one in where)
                holes = (hole is not None and hole[stored].any()) or (pan_hole is not None and pan_hole[finer].any())
                if height and width and not holes:
                    area = slice(top, bottom), slice(0, right)
                    found.append((f"{scene.name}-{y:05d}-{x:05d}", _Tile(scene, area, where)))
        return found

    def _record(self, tile: _Tile) -> Record:
        source, ratio, scene = self.source, self.source.ratio, tile.scene
        seen = [
            slice(max(area.start, where.start - MARGIN * ratio), min(area.stop, where.stop + MARGIN * ratio))
            for area, where in zip(tile.area, tile.where, strict=True)
        ]
        stored = seen if self.reduced else [slice(one.start // ratio, one.stop // ratio) for one in seen]
        ms = source.scaled(read(scene.ms, source.bands, stored[0], stored[1], source.zero), scene.ms)
        if isinstance(scene.pan, Path):
            factor = ratio if self.reduced else 1
            finer = [slice(one.start * factor, one.stop * factor) for one in seen]
            pan = source.scaled(read(scene.pan, (1,), finer[0], finer[1], source.zero), scene.pan)
            pan = degraded(pan, ratio, source.pan_mtf) if self.reduced else pan
        else:
            pan = np.average(ms, axis=-1, weights=scene.pan)[..., None]
        made = {"input": upsampled(degraded(ms, ratio, source.mtf) if self.reduced else ms, ratio), "pan": pan}
        cut = tuple(
            slice(where.start - one.start, where.stop - one.start) for where, one in zip(tile.where, seen, strict=True)
        )
        arrays = made | ({"target": ms} if self.reduced else {})
        return {role: np.clip(array[cut], 0, 1).astype(np.float32) for role, array in arrays.items()}

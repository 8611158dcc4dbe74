"""The images of another source, cut into squares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, overload

from pydantic import Field

from rddm.core.errors import DataError
from rddm.core.kinds import Record, Records, Source
from rddm.core.named import Named


class Tiles(Source):
    """Squares of `size` pixels, side by side from the upper left; what is left at the lower and right edges is dropped.

    They count row by row, image after image, so that `start` and `stop` can keep a part of a single photograph for
    evaluation. A tile's name is its image's with its row and column.

    Raises:
        DataError: no tile fits, or start and stop leave none.
    """

    name: Literal["tiles"] = "tiles"
    source: Named[Source] = Field(description="a folder, or a source")
    size: int = Field(ge=1, description="height and width of a tile in pixels")
    start: int = Field(default=0, ge=0, description="the first tile taken")
    stop: int | None = Field(default=None, ge=1, description="the tile to stop before; all by default")

    @property
    def labels(self) -> tuple[str, ...]:
        return self.source.labels

    def open(self) -> TileRecords:
        records = self.source.open()
        places = [
            (index, row, column)
            for index, size in enumerate(records.sizes())
            if size is not None
            for row in range(size[0] // self.size)
            for column in range(size[1] // self.size)
        ]
        if not (chosen := places[self.start : self.stop]):
            raise DataError(
                f"start={self.start} and stop={self.stop} leave none of {len(places)} tiles of"
                f" {self.size}x{self.size} pixels; change them, or take a smaller size"
            )
        return TileRecords(records, chosen, self.size)


class TileRecords(Records):
    """Tiles by (number of the image, row, column)."""

    def __init__(self, records: Records, places: Sequence[tuple[int, int, int]], size: int) -> None:
        self.records, self.places, self.size, self.roles = records, places, size, records.roles
        self.names = [f"{records.names[index]} {row},{column}" for index, row, column in places]

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        image, row, column = self.places[index]
        rows, columns = (slice(n * self.size, (n + 1) * self.size) for n in (row, column))
        return {role: array[rows, columns] for role, array in self.records[image].items()}

    def sizes(self) -> Sequence[tuple[int, int]]:
        """(size, size) of every tile."""
        return [(self.size, self.size)] * len(self)

    @property
    def weights(self) -> Sequence[float] | None:
        """Those of the images, divided among their tiles."""
        own, counts = self.records.weights, Counter(image for image, *_ in self.places)
        return None if own is None else [own[image] / counts[image] for image, *_ in self.places]

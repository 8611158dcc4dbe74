"""Image files as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from rddm.core import images
from rddm.core.errors import DataError
from rddm.core.kinds import Record, Records


class ImageFiles(Records):
    """Image files by example and role, decoded when asked for, into read-only arrays; DataError for one that cannot be.

    The first `cache_mb` MiB of arrays stay in memory. None makes room for another: when every image is used once an
    epoch, that would drop the one that is needed next.
    """

    def __init__(self, names: Sequence[str], files: Sequence[Mapping[str, Path]], cache_mb: int) -> None:
        self.names, self.roles = names, frozenset(files[0])
        self._files, self._budget = files, cache_mb * 2**20
        self._sizes: list[tuple[int, int] | None] = []
        self._cache: dict[Path, images.Array] = {}
        self._room = self._budget

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return {role: self._read(path) for role, path in self._files[index].items()}

    def sizes(self) -> Sequence[tuple[int, int] | None]:
        """(height, width) of every example by its header, None if unreadable; DataError where a pair differs."""
        if not self._sizes:
            found = [[_size(path) for path in files.values()] for files in self._files]
            pairs = zip(self.names, found, strict=True)
            if odd := [f"{name} {sizes}" for name, sizes in pairs if None not in sizes and len(set(sizes)) > 1]:
                raise DataError(f"{len(odd)} pairs differ in (height, width){first(odd)}; crop or remove them")
            self._sizes = [None if None in sizes else sizes[0] for sizes in found]
        return self._sizes

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}, "_room": self._budget}

    def _read(self, path: Path) -> images.Array:
        array = self._cache.get(path)
        if array is None:
            array = images.read(path)
            array.flags.writeable = False
            if array.nbytes <= self._room:
                self._cache[path] = array
                self._room -= array.nbytes
        return array


def _size(path: Path) -> tuple[int, int] | None:
    try:
        return images.size(path)
    except DataError:
        return None


def first(texts: Sequence[str]) -> str:
    """The first few of many, in brackets, for the end of a message."""
    return f" ({', '.join(texts[:3])}{', ...' if len(texts) > 3 else ''})" if texts else ""

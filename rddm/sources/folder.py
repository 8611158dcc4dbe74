"""A folder of image files: pairs, or clean photographs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from pydantic import Field

from rddm.core import images
from rddm.core.errors import DataError
from rddm.core.kinds import Record, Records, Source


class Folder(Source):
    """The images below `path`, named by their relative paths without suffix.

    With the sub-folders `input` and `target` in it: pairs, an image of one with the image of that name in the other.
    Without both: clean photographs, each a target. A relative path starts at the working directory, `~` at home.
    """

    name: Literal["folder"] = "folder"
    path: Path = Field(description="the folder")
    input: str = Field(default="input", min_length=1, description="sub-folder of the degraded images")
    target: str = Field(default="target", min_length=1, description="sub-folder of the clean images")
    cache_mb: int = Field(default=1024, ge=0, description="MiB of decoded images kept in memory, in each process")

    def open(self) -> ImageFiles:
        """The examples, unread.

        Raises:
            DataError: no images, one sub-folder without the other, images without a partner, or two of one name.
        """
        root = Path(os.path.expanduser(self.path)).absolute()  # unknown ~users are left as they are
        sides = {"input": root / self.input, "target": root / self.target}
        there = {role: side for role, side in sides.items() if side.is_dir()}
        if len(there) == 1:
            missing = next(side for side in sides.values() if side not in there.values())
            raise DataError(f"{missing} is missing; pairs need it: add it, or name it by `input` or `target`")
        found = {role: _by_name(side) for role, side in (there or {"target": root}).items()}
        paired = set.intersection(*map(set, found.values()))
        lone = {role: [name for name in side if name not in paired] for role, side in found.items()}
        if any(lone.values()):
            counts = [f"{len(lone[r])} of {len(found[r])} in {there[r]}{_first(lone[r])}" for r in there]
            raise DataError(f"no partner of the same name but for the suffix: {', '.join(counts)}; add or remove some")
        files = [{role: side[name] for role, side in found.items()} for name in found["target"]]
        return ImageFiles(list(found["target"]), files, self.cache_mb)


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
                raise DataError(f"{len(odd)} pairs differ in (height, width){_first(odd)}; crop or remove them")
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


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in images.find(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise DataError(f"{found[name]} and {path} have the same name {name!r}; rename or remove one")
        found[name] = path
    return found


def _size(path: Path) -> tuple[int, int] | None:
    try:
        return images.size(path)
    except DataError:
        return None


def _first(texts: Sequence[str]) -> str:
    return f" ({', '.join(texts[:3])}{', ...' if len(texts) > 3 else ''})" if texts else ""

"""Encoded images as records."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any, overload

from rddm.core import images
from rddm.core.errors import DataError
from rddm.core.kinds import Record, Records


class Decoded(Records):
    """Images by example and role, decoded when asked for, into read-only arrays; DataError for one that cannot be.

    The first `cache_mb` MiB of arrays stay in memory. None makes room for another: when every image is used once an
    epoch, that would drop the one that is needed next.
    """

    def __init__(self, names: Sequence[str], roles: Iterable[str], cache_mb: int) -> None:
        self.names, self.roles = names, frozenset(roles)
        self._order, self._budget = tuple(roles), cache_mb * 2**20
        self._sizes: list[tuple[int, ...] | None] = []
        self._cache: dict[tuple[int, str], images.Array] = {}
        self._room = self._budget

    @abstractmethod
    def decode(self, index: int, role: str) -> images.Array:
        """One image (H, W, C), index from 0. Raises DataError."""

    @abstractmethod
    def measure(self, index: int, role: str) -> tuple[int, ...]:
        """(height, width) of one image, by its header where the format allows. Raises DataError."""

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return {role: self._cached(place, role) for role in self._order}

    def sizes(self) -> Sequence[tuple[int, ...] | None]:
        """(height, width) of every example by its header, None if unreadable; DataError where a pair differs."""
        if not self._sizes:
            found = [[self._size(index, role) for role in self._order] for index in range(len(self))]
            pairs = zip(self.names, found, strict=True)
            if odd := [f"{name} {sizes}" for name, sizes in pairs if None not in sizes and len(set(sizes)) > 1]:
                raise DataError(f"{len(odd)} pairs differ in size{first(odd)}; crop or remove them")
            self._sizes = [None if None in sizes else sizes[0] for sizes in found]
        return self._sizes

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}, "_room": self._budget}

    def _size(self, index: int, role: str) -> tuple[int, ...] | None:
        try:
            return self.measure(index, role)
        except DataError:
            return None

    def _cached(self, index: int, role: str) -> images.Array:
        array = self._cache.get((index, role))
        if array is None:
            array = self.decode(index, role)
            array.flags.writeable = False
            if array.nbytes <= self._room:
                self._cache[index, role] = array
                self._room -= array.nbytes
        return array


class ImageFiles(Decoded):
    """Files of images, or of signals or volumes, by example and role."""

    def __init__(self, names: Sequence[str], files: Sequence[Mapping[str, Path]], cache_mb: int, ndim: int = 2) -> None:
        super().__init__(names, files[0], cache_mb)
        self._files, self._ndim = files, ndim

    def decode(self, index: int, role: str) -> images.Array:
        """The image of a file."""
        return images.read(self._files[index][role], ndim=self._ndim)

    def measure(self, index: int, role: str) -> tuple[int, ...]:
        """(height, width) by the file's header."""
        return images.size(self._files[index][role], ndim=self._ndim)


def first(texts: Sequence[str]) -> str:
    """The first few of many, in brackets, for the end of a message."""
    return f" ({', '.join(texts[:3])}{', ...' if len(texts) > 3 else ''})" if texts else ""


def columns_of(
    there: Iterable[str], columns: Mapping[str, str], where: str, also: Iterable[str] = ()
) -> dict[str, str]:
    """The column of every role: as `columns` says, else target, and input if it is there, by their own names.

    Raises:
        DataError: one of them, or of those needed `also`, is missing.
    """
    known = list(there)
    found = {"target": "target"} | ({"input": "input"} if "input" in known else {}) | dict(columns)
    if missing := sorted({*found.values(), *also} - set(known)):
        raise DataError(
            f"{where} has the columns {', '.join(known) or '(none)'}, and not {', '.join(missing)};"
            " name those that hold the images, such as columns={target: clean, input: noisy}"
        )
    return found


def unique(names: Sequence[str], where: str) -> Sequence[str]:
    """The names. Raises DataError where one is there twice."""
    if doubled := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{where} gives {len(doubled)} names more than once{first(doubled)}; rename or remove some")
    return names


def matching(patterns: Sequence[str]) -> list[Path]:
    """The files that patterns such as ~/a/{000..127}.tar and /mnt/*/b.tar stand for, each once, in their order.

    Raises:
        DataError: one stands for none.
    """
    found, missing = [], []
    for pattern in patterns:
        for text in _numbered(os.path.expanduser(pattern)) or [pattern]:
            paths = [text] if os.path.exists(text) else sorted(glob(text))
            missing += [] if paths else [text]
            found += [Path(os.path.abspath(path)) for path in paths]
    if missing:
        raise DataError(f"no file is called{first(missing)} ({len(missing)} such; working directory: {Path.cwd()})")
    return list(dict.fromkeys(found))


def _numbered(pattern: str) -> list[str]:
    if not (braces := re.search(r"\{(\d+)\.\.(\d+)\}", pattern)):
        return [pattern]
    (low, high), (start, end) = braces.groups(), braces.span()
    texts = (f"{pattern[:start]}{number:0{len(low)}}{pattern[end:]}" for number in range(int(low), int(high) + 1))
    return [one for text in texts for one in _numbered(text)]

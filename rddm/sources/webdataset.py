"""Images in tar files, the shards of WebDataset, on any number of disks."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from rddm.core import images
from rddm.core.errors import DataError
from rddm.core.kinds import Source
from rddm.sources._files import Decoded, first, matching

HEAD = 2**16  # bytes that hold the header of almost every image
MARK = bytes(tarfile.BLOCKSIZE)  # what a tar file ends with


class WebDataset(Source):
    """Samples of tar files: members `KEY.target.png`, `KEY.input.png`, `KEY.mask.npy` make up the sample KEY.

    Between the key, which ends at the first dot, and the suffix of an image file stands a field; `KEY.png` without one
    is a target. `columns` names fields by role. Members of other kinds are passed over. A sample's name is its
    shard's, with as many folders as tell it from others, and its key.

    The members' places are read at opening, about 50 000 a second, and images then by their places: examples are
    found by number, which the package webdataset, a reader of streams, does not offer.
    """

    name: Literal["webdataset"] = "webdataset"
    shards: str | tuple[str, ...] = Field(
        description="uncompressed tar files, local or mounted: paths, with * and ranges such as {000..127}"
    )
    columns: dict[str, str] = Field(default_factory=dict, description="field by role, such as {target: clean}")
    cache_mb: int = Field(default=1024, ge=0, description="MiB of decoded images kept in memory, in each process")

    def __hash__(self) -> int:  # of what can be hashed
        return hash((self.name, self.shards))

    def open(self) -> Members:
        """The samples, unread, shard by shard.

        Raises:
            DataError: shards are missing, damaged or cut short (all are counted), samples lack a field, or none is
                there.
        """
        shards = matching([self.shards] if isinstance(self.shards, str) else self.shards)
        fields = {"target": "target", "input": "input"} | self.columns
        samples: list[dict[str, tuple[int, int, int]]] = []
        names: list[str] = []
        damaged, seen = [], set()
        for number, (shard, label) in enumerate(zip(shards, _labels(shards), strict=True)):
            found: dict[str, dict[str, tuple[int, int, int]]] = {}
            try:
                for key, field, start, length in _members(shard):
                    seen.add(field)
                    if field in fields.values():
                        if field in (sample := found.setdefault(key, {})):
                            raise DataError(f"{shard} holds {field} of {key!r} twice; rename or remove one")
                        sample[field] = (number, start, length)
            except (OSError, tarfile.TarError) as cause:
                damaged.append(f"{shard}: {getattr(cause, 'strerror', None) or cause}")
            samples += found.values()
            names += [f"{label}/{key}" for key in found]
        if damaged:
            raise DataError(
                f"{len(damaged)} of {len(shards)} shards cannot be read as uncompressed tar files{first(damaged)};"
                " copy them again, or take them off `shards`"
            )
        if "input" not in seen and "input" not in self.columns:
            del fields["input"]
        if not samples:
            raise DataError(
                f"no image in {len(shards)} shards{first([str(shard) for shard in shards])} is called such as"
                f" KEY.{fields['target']}.png; the fields there are {', '.join(sorted(seen)) or '(none)'}: name one by"
                " columns={target: FIELD}"
            )
        if lone := [name for name, sample in zip(names, samples, strict=True) if len(sample) < len({*fields.values()})]:
            wanted = ", ".join(fields.values())
            raise DataError(
                f"{len(lone)} of {len(samples)} samples lack one of {wanted}{first(lone)}; add or remove some"
            )
        places = np.array([[sample[field] for field in fields.values()] for sample in samples], np.int64)
        return Members(names, list(fields), shards, places, self.cache_mb)


class Members(Decoded):
    """Members of tar files by example and role; `places` is (N, roles, 3): number of the shard, first byte, length."""

    def __init__(
        self, names: Sequence[str], roles: list[str], shards: Sequence[Path], places: images.Array, cache_mb: int
    ) -> None:
        super().__init__(names, roles, cache_mb)
        self._shards, self._places = shards, places

    def decode(self, index: int, role: str) -> images.Array:
        """The image of a member."""
        return images.read(*self._member(index, role))

    def measure(self, index: int, role: str) -> tuple[int, ...]:
        """(height, width) by the member's header."""
        try:
            return images.size(*self._member(index, role, HEAD))
        except DataError:  # TIFF may have it at its end
            return images.size(*self._member(index, role))

    def _member(self, index: int, role: str, most: int = -1) -> tuple[Path, io.BytesIO]:
        number, start, length = (int(n) for n in self._places[index, self._order.index(role)])
        shard, length = self._shards[number], length if most < 0 else min(length, most)
        try:
            with shard.open("rb") as file:
                file.seek(start)
                data = file.read(length)
        except OSError as cause:
            raise DataError(f"{shard} cannot be read: {cause.strerror}") from cause
        return Path(f"{shard}: {role} of {self.names[index]}"), io.BytesIO(data)


def _members(shard: Path) -> Iterator[tuple[str, str, int, int]]:
    # key, field, first byte and length of each image
    with tarfile.open(shard, "r:") as tar:
        for member in tar:
            folder, _, base = member.name.removeprefix("./").rpartition("/")
            key, _, rest = base.partition(".")
            field, _, suffix = rest.rpartition(".")
            if key and member.isreg() and not member.issparse() and f".{suffix.lower()}" in images.suffixes():
                yield f"{folder}/{key}".lstrip("/"), field or "target", member.offset_data, member.size
    with shard.open("rb") as file:  # tarfile takes damage behind the first member for the end
        file.seek(tar.offset)
        if file.read(len(MARK)) != MARK:
            raise tarfile.ReadError(f"damaged, or cut short, at byte {tar.offset}")


def _labels(shards: Sequence[Path]) -> list[str]:
    tails = (["/".join(shard.parts[-depth:]) for shard in shards] for depth in count(1))
    return next(labels for labels in tails if len(set(labels)) == len(shards))

"""Images in NumPy files."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

import numpy as np
from pydantic import Field

from rddm.core.errors import DataError
from rddm.core.images import Array
from rddm.core.kinds import Record, Records, Source

AXES = {1: "L", 2: "H, W", 3: "D, H, W"}
KINDS = (np.uint8, np.uint16, np.float16, np.float32, np.float64)


class Arrays(Source):
    """The images of a .npy or .npz file: (N, H, W) or (N, H, W, C), uint8, uint16, or floating point in [0, 1].

    With `ndim: 1` signals, (N, L) or (N, L, C), with `ndim: 3` volumes, (N, D, H, W) or (N, D, H, W, C).

    A .npy file holds targets, and is not read whole but mapped into memory. A .npz file holds arrays named
    `target` and, for pairs, `input`, and those of `extras`, of the same N and size. An example's name is its number.
    """

    name: Literal["arrays"] = "arrays"
    path: Path = Field(description="the file")
    ndim: Literal[1, 2, 3] = Field(default=2, description="1 for signals, 2 for images, 3 for volumes")
    start: int = Field(default=0, ge=0, description="the first example taken")
    stop: int | None = Field(default=None, ge=1, description="the example to stop before; all by default")

    extras: tuple[str, ...] = Field(default=(), description="names of further arrays to take, such as mask")

    def open(self) -> ArrayRecords:
        """The examples, floats still unchecked.

        Raises:
            DataError: the file is missing, holds no such arrays, or start and stop leave none.
        """
        file = Path(os.path.expanduser(self.path))
        try:
            with file.open("rb") as opened:  # by a name, numpy leaves a broken archive open
                if opened.read(2) == b"PK":
                    opened.seek(0)
                    with_roles = dict(np.load(opened, allow_pickle=False))
                else:
                    with_roles = {"target": np.load(file, mmap_mode="r", allow_pickle=False)}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as cause:
            raise DataError(
                f"{self.path} cannot be read as .npy or .npz (looked for {file.absolute()}): {cause}"
            ) from cause
        arrays = {role: with_roles[role] for role in ("target", "input", *self.extras) if role in with_roles}
        if "target" not in arrays:
            raise DataError(f"{self.path} holds {sorted(with_roles)}; name the array of the clean images 'target'")
        if missing := sorted(set(self.extras) - set(arrays)):
            raise DataError(f"{self.path} holds {sorted(with_roles)}; `extras` names {missing}, too")
        for role, array in arrays.items():
            if (
                array.ndim - self.ndim not in (1, 2)
                or array.dtype.newbyteorder("=") not in KINDS
                or 0 in array.shape[1:]
            ):
                given = f"{array.dtype} {array.shape}"
                raise DataError(
                    f"{role!r} in {self.path} must be (N, {AXES[self.ndim]}[, C]), uint8, uint16 or float;"
                    f" given {given}, with ndim={self.ndim}"
                )
        if len({array.shape[: 1 + self.ndim] for array in arrays.values()}) > 1:
            shapes = {role: array.shape for role, array in arrays.items()}
            raise DataError(f"the arrays in {self.path} must have one N and size; given {shapes}")
        stop = min(len(arrays["target"]), self.stop or len(arrays["target"]))
        if self.start >= stop:
            raise DataError(f"start={self.start} and stop={self.stop} leave none of {len(arrays['target'])} examples")
        return ArrayRecords({role: array[self.start : stop] for role, array in arrays.items()}, self.start, self.ndim)


class ArrayRecords(Records):
    """Rows of arrays (N, *S[, C]) as examples, S of `ndim` sizes."""

    def __init__(self, arrays: dict[str, Array], start: int, ndim: int) -> None:
        self.arrays, self.roles, self.ndim = arrays, frozenset(arrays), ndim
        self.names = [f"{n:06d}" for n in range(start, start + len(arrays["target"]))]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return {role: self._row(role, index) for role in self.arrays}

    def _row(self, role: str, index: int) -> Array:
        row = np.asarray(self.arrays[role][index])
        row = row.astype(row.dtype.newbyteorder("="), copy=False)
        row = row[..., None] if row.ndim == self.ndim else row
        if row.dtype.kind == "f":
            row = row.astype(np.float32)
            if not (row.min() >= 0 and row.max() <= 1):  # also catches NaN
                raise DataError(
                    f"{role} {self.names[index]} spans {row.min():.4g} .. {row.max():.4g}; must be in [0, 1]"
                )
        return row

    def sizes(self) -> Sequence[tuple[int, ...]]:
        """The size of each, the same for all."""
        return [self.arrays["target"].shape[1 : 1 + self.ndim]] * len(self)

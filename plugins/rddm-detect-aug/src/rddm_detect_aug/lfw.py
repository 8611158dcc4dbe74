"""The faces and backgrounds that come with scikit-image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
from pydantic import Field
from skimage.data import lfw_subset

from rddm.plugin import Array, Record, Records, Source

SIDE, COUNT = 25, 100  # pixels, images of each label
Label = Literal["face", "background"]
LABELS: tuple[Label, ...] = ("face", "background")


class LFWSubset(Source):
    """100 faces and 100 backgrounds of photographs, grey, 25 x 25 pixels, with the role `label` as a `mix` has it.

    The first half of either label is for training, the second for testing. Images are targets, float32; the planes of
    the label, 1 in that of the example, stand for face and background.

    Source: `skimage.data.lfw_subset`, of Labeled Faces in the Wild (Huang, Mattar, Lee, Learned-Miller 2012).
    """

    name: Literal["lfw-subset"] = "lfw-subset"
    split: Literal["train", "test"] = Field(default="train", description="the first or the second half of each label")
    keep: tuple[Label, ...] = Field(default=LABELS, min_length=1, description="labels of the examples given")

    @property
    def labels(self) -> tuple[str, ...]:
        return LABELS

    def open(self) -> LFWRecords:
        """The examples, faces first."""
        first = 0 if self.split == "train" else COUNT // 2
        return LFWRecords([(label, n) for label in LABELS if label in self.keep for n in range(first, first + 50)])


class LFWRecords(Records):
    """Images by label and number."""

    roles = frozenset({"target", "label"})

    def __init__(self, rows: Sequence[tuple[Label, int]]) -> None:
        images = np.asarray(lfw_subset(), np.float32)  # type: ignore[no-untyped-call]
        self.names = [f"{label}-{n:03d}" for label, n in rows]
        self._rows: list[tuple[Array, int]] = [
            (images[LABELS.index(label) * COUNT + n, ..., None], LABELS.index(label)) for label, n in rows
        ]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        image, plane = self._rows[index]
        label = np.eye(len(LABELS), dtype=np.float32)[plane]
        return {"target": image.copy(), "label": np.broadcast_to(label, (SIDE, SIDE, len(LABELS)))}

    def sizes(self) -> Sequence[tuple[int, ...]]:
        """The size of each, the same for all."""
        return [(SIDE, SIDE)] * len(self)

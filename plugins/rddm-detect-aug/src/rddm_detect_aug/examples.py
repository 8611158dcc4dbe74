"""Labelled images of a task, each spoilt several times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from torch import Generator, Tensor

from rddm import Trainer
from rddm.plugin import Array, DataError, Record, Records, ShapeError, Source, Task, images
from rddm_detect_aug.detection import is_positive


@dataclass(frozen=True, eq=False)
class Images:
    """Clean images (N, C, H, W), their inputs (draws, N, C, H, W), and which are positive."""

    clean: Tensor
    inputs: Tensor
    positives: Array  # (N,), bool

    def __len__(self) -> int:
        return len(self.clean)


def examples(task: Task, records: Records, draws: int) -> Images:
    """The records, whole, as a labelled task gives them. Draw d of an image depends on its name and d alone.

    Raises:
        DataError: the records have no label.
        ShapeError: their sizes differ.
    """
    if "label" not in records.roles:
        raise DataError(f"the records have no label, only {sorted(records.roles)}; take a source that has, such as mix")
    named = [(name, records[n]) for n, name in enumerate(records.names)]
    planes = (torch.from_numpy(np.array(record["label"], np.float32)).movedim(-1, 0) for _, record in named)
    return spoilt(task, named, draws, np.array([is_positive(plane) for plane in planes]))


def spoilt(task: Task, named: list[tuple[str, Record]], draws: int, positives: Array) -> Images:
    """Records by name, spoilt as the task says. Raises ShapeError where sizes differ."""
    found = [[_example(task, name, record, d) for name, record in named] for d in range(draws)]
    if len(sizes := sorted({tuple(one["target"].shape) for one in found[0]})) > 1:
        raise ShapeError(f"images for a detector must have one size; given {sizes}")
    inputs = torch.stack([torch.stack([one["input"] for one in row]) for row in found])
    return Images(torch.stack([one["target"] for one in found[0]]), inputs, positives)


def pictures_as(task: Task, pictures: Sequence[Tensor] | Tensor, name: str, draws: int) -> Images:
    """Images (C, H, W), all called positive, as examples of a task, rounded to 8 bits, as they are in files."""
    named: list[tuple[str, Record]] = [
        (f"{name} {n}", {"target": images.to_array(one)}) for n, one in enumerate(pictures)
    ]
    return spoilt(task, named, draws, np.ones(len(pictures), bool))


def label_of(trainer: Trainer) -> str:
    """The label that means positive: the first of the training source's."""
    source = getattr(trainer[Task], "train", None)
    labels = source.labels if isinstance(source, Source) else ()
    if not labels:
        raise DataError(
            f"task.train ({getattr(source, 'name', None)}) has no labels; take a source that has, such as mix"
        )
    return labels[0]


def _example(task: Task, name: str, record: Record, draw: int) -> dict[str, Tensor]:
    return task.example(record, None, Generator().manual_seed(crc32(f"{name} {draw}".encode())))

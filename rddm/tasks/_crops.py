"""What tasks on images share: one crop and one turn for all images of an example, and sources that fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

from rddm.core import images
from rddm.core.errors import DataError
from rddm.core.kinds import Records, Source

Augment = Literal["none", "flip", "dihedral"]


def cropped(
    arrays: Sequence[images.Array],
    channels: Sequence[int],
    crop: tuple[int, ...] | None,
    augment: Augment,
    generator: Generator,
) -> list[Tensor]:
    """Arrays (*S, C) of one size as tensors (channels[i], *S) in [0, 1], all cut and turned alike."""
    if crop is not None:
        for shape in (array.shape for array in arrays):
            if len(shape) != len(crop) + 1 or any(have < want for have, want in zip(shape[:-1], crop, strict=True)):
                sides = " x ".join(map(str, crop))
                raise DataError(f"an array {shape} where at least {sides} and the channels, last, are needed")
        where = tuple(
            slice(start, start + want)
            for want, have in zip(crop, arrays[0].shape[:-1], strict=True)
            for start in (int(torch.randint(have - want + 1, (), generator=generator)),)
        )
        arrays = [array[where] for array in arrays]
    tensors = [images.to_tensor(images.as_channels(*both)) for both in zip(arrays, channels, strict=True)]
    return tensors if crop is None else _turned(tensors, augment, generator)


def _turned(tensors: list[Tensor], augment: Augment, generator: Generator) -> list[Tensor]:
    mirror, upside_down, turn = torch.rand(3, generator=generator) < 0.5
    if augment != "none" and mirror:
        tensors = [image.flip(-1) for image in tensors]
    plane = augment == "dihedral" and tensors[0].ndim > 2
    if plane and upside_down:
        tensors = [image.flip(-2) for image in tensors]
    if plane and turn and tensors[0].shape[-1] == tensors[0].shape[-2]:
        tensors = [image.transpose(-1, -2) for image in tensors]
    return [image.contiguous() for image in tensors]


def opened(source: Source, role: str, *, targets: bool = True) -> Records:
    """The records of `task.<role>`, which hold targets, or inputs alone where these will do.

    Raises:
        DataError: there are none, names repeat, or they hold neither.
    """
    records = source.open()
    where = described(source, role)
    if not isinstance(records, Records) or not isinstance(getattr(records, "roles", None), frozenset | set):
        raise DataError(
            f"{where}: source {source.name!r} must open to Records with names and roles; gave {records!r:.80}"
        )
    if len(records) == 0 or len(set(records.names)) != len(records):
        raise DataError(f"{where} must give examples of different names; source {source.name!r} gave {len(records)}")
    if "target" not in records.roles and (targets or "input" not in records.roles):
        wanted = "'target'" if targets else "'target' or 'input'"
        raise DataError(f"{where} gives {sorted(records.roles)}; source {source.name!r} must give {wanted}")
    return records


def described(source: Source, role: str) -> str:
    """How an error names the source of a role."""
    return f"task.{role} ({getattr(source, 'path', source.name)})"

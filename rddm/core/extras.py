"""Images that a task needs beside target and input, such as a mask, by role."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from rddm.core import images
from rddm.core.errors import DataError, ShapeError
from rddm.core.kinds import Task

#: Where an extra comes from: an image file, or numbers in [0, 1], one for each channel, the same at every pixel.
Given = Path | tuple[float, ...]


def checked(task: Task, given: Mapping[str, Tensor] | None, images: Tensor) -> dict[str, Tensor]:
    """The task's extras (B, K, *S) for images (B, C, *S), in [0, 1], on their device and in their precision.

    For a single image they may be given as (K, *S).

    Raises:
        ShapeError: one is missing, is not asked for, or has another shape, type or range.
    """
    found = dict(given or {})
    size = tuple(images.shape[2:])
    wanted = {role: (len(images), channels, *size) for role, channels in task.extras.items()}
    needs = ", ".join(f"{role!r}: {shape} in [0, 1]" for role, shape in wanted.items())
    takes = f"task {task.name!r} takes " + (f"extras={{{needs}}}" if needs else "no extras")
    if set(found) != set(wanted):
        raise ShapeError(f"{takes}; given {sorted(found) or 'none'}")
    for role, extra in found.items():
        if not isinstance(extra, Tensor):
            raise ShapeError(f"{takes}, as torch tensors; given {role!r}: {type(extra).__name__}")
        if extra.ndim == images.ndim - 1:
            found[role] = extra = extra[None]
        if tuple(extra.shape) != wanted[role]:
            raise ShapeError(f"{takes}; given {role!r}: {tuple(extra.shape)}")
        if not (extra.is_floating_point() and extra.min() >= 0 and extra.max() <= 1):  # also catches NaN
            low, high = (float(v) for v in extra.float().aminmax())
            raise ShapeError(f"{takes}, floating point; given {role!r}: {extra.dtype} from {low:.4g} to {high:.4g}")
    return {role: extra.detach().to(images.device, images.dtype) for role, extra in found.items()}


def of(task: Task, example: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The extras among the images of an example."""
    return {role: example[role] for role in task.extras}


def stacked(task: Task, examples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The extras of several examples, (N, K, H, W)."""
    return {role: torch.stack([example[role] for example in examples]) for role in task.extras}


def accepted(task: Task) -> dict[str, int]:
    """What may come with an input, and its channels by role: the task's extras, and the mask of a hole to be cut."""
    return ({"mask": 1} if task.holed else {}) | dict(task.extras)


def read(given: Given, role: str, channels: int, size: tuple[int, ...]) -> Tensor:
    """An extra (channels, *size) in [0, 1].

    Raises:
        DataError: the file cannot be read, is of another size, or its channels cannot become these; or there are
            not as many numbers as channels.
    """
    if isinstance(given, Path):
        array = images.read(given, ndim=len(size))
        try:
            array = images.as_channels(array, channels)
        except DataError as error:
            raise DataError(f"{role} {given}: {error}") from error
        if array.shape[:-1] != size:
            own, other = ("x".join(map(str, sides)) for sides in (array.shape[:-1], size))
            raise DataError(
                f"{role} {given} is {own}, and its {images.named(len(size))} {other}; they must be of one size"
            )
        return images.to_tensor(array)
    if len(given) != channels or not all(0 <= number <= 1 for number in given):
        raise DataError(f"{role} must be {channels} numbers in [0, 1], or an image; given {', '.join(map(str, given))}")
    return torch.tensor(given).reshape(-1, *[1] * len(size)).expand(-1, *size).clone()


def applied(task: Task, image: Tensor, found: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """The input that an image (C, *S) in [0, 1] and its extras make, and those that sampling takes.

    Of a task with holes, what is lighter than mid grey in the mask is the hole, and is cut out of the image.
    """
    beside = dict(found)
    if task.holed and "mask" in beside:
        beside["mask"] = (beside["mask"] > 0.5).to(image)
        image = torch.where(beside["mask"] > 0, 0.5, image)
    return image, {role: beside[role] for role in task.extras if role in beside}

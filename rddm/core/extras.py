"""Images that a task needs beside target and input, such as a mask, by role."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rddm.core.errors import ShapeError
from rddm.core.kinds import Task


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

"""The parts of an image that a mask tells apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from torch import Tensor

from rddm.core.errors import ShapeError
from rddm.core.images import Array

Convention = Literal["correct", "published"]


def regions(output: Tensor, extras: Mapping[str, Tensor]) -> dict[str, Array] | None:
    """Where the mask says shadow, "s", lighter than mid grey, and where not, "ns": (H, W), bool. None without a mask.

    Raises:
        ShapeError: the mask is no (1, H, W) of the image's size.
    """
    if "mask" not in extras:
        return None
    mask, wanted = extras["mask"], (1, *output.shape[1:])
    if tuple(mask.shape) != wanted:
        raise ShapeError(f"the mask of this image must be {wanted}; given {tuple(mask.shape)}")
    shadow = mask[0].cpu().numpy() > 0.5
    return {"s": shadow, "ns": np.logical_not(shadow)}


def key(name: str, convention: Convention, region: str = "") -> str:
    """The name of a figure, such as "psnr_s" or "psnr_s_published"."""
    return "_".join(part for part in (name, region, convention if convention == "published" else "") if part)

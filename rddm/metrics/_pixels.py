"""Images as the literature measures them: in 8 bits, in RGB or in luma."""

from __future__ import annotations

from typing import Literal

import numpy as np
from skimage.color import rgb2ycbcr
from torch import Tensor

from rddm.core.errors import ShapeError
from rddm.core.images import Array, to_array

Space = Literal["rgb", "y"]


def pair(output: Tensor, target: Tensor, space: Space = "rgb") -> tuple[Array, Array] | None:
    """Both images (C, H, W) as float64 (H, W, C) in 0..255, rounded to 8 bits first, as when results are saved.

    "y" is the luma of ITU-R BT.601 in 16..235, not rounded, the convention of deraining and low-light papers; of
    images without three channels it is None, as it all is of signals and volumes.

    Raises:
        ShapeError: the two differ in shape.
    """
    if output.shape != target.shape:
        given = f"{tuple(output.shape)} and {tuple(target.shape)}"
        raise ShapeError(f"output and target must have one shape; given {given}")
    if output.ndim != 3 or (space == "y" and len(output) != 3):
        return None
    one, other = (to_array(x).astype(np.float64) for x in (output, target))
    return (one, other) if space == "rgb" else (_luma(one), _luma(other))


def values(output: Tensor, target: Tensor, space: Space) -> tuple[Array, Array, int] | None:
    """As `pair`, and the peak, 255; signals and volumes as they are, in float64, and their peak, 1, in "rgb" alone."""
    images = pair(output, target, space)
    if images is not None:
        return (*images, 255)
    if output.ndim == 3 or space == "y":
        return None
    return output.double().numpy(), target.double().numpy(), 1


def key(name: str, space: Space) -> str:
    """The name of a figure, "psnr" or "psnr_y"."""
    return name if space == "rgb" else f"{name}_{space}"


def _luma(image: Array) -> Array:
    luma: Array = rgb2ycbcr(image / 255)[..., :1]
    return luma

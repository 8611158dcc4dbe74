"""The sRGB transfer curve: light adds up, and is scattered and blurred, in linear values only."""

from __future__ import annotations

import torch
from torch import Tensor


def to_linear(srgb: Tensor) -> Tensor:
    """Linear light in [0, 1] of sRGB values in [0, 1] (IEC 61966-2-1:1999)."""
    srgb = srgb.contiguous()  # powers differ in the last bit between memory layouts
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Tensor) -> Tensor:
    """sRGB values in [0, 1] of linear light, which is clipped to [0, 1] first; inverse of `to_linear`."""
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).clamp(0, 1)

"""Colours of underwater images, compensated for what the water took, and their wavelets; batches of any size."""

from __future__ import annotations

import torch
from kornia.color import rgb_to_lab
from torch import Tensor
from torch.nn import functional as F

from rddm_underwater.haar import haar

LEVELS = 3


def compensated(rgb: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] without their cast, in [0, 1].

        I_c' = I_c + max(mean I_G - mean I_c, 0) (1 - I_c) I_G,   c = R, B
        I_c'' = I_c' mean I' / mean I_c',   c = R, G, B,   clipped

    First the lost channels are refilled from green, which water keeps best, then the world is grey on average.

    Source: Ancuti, Ancuti, De Vleeschouwer, Bekaert, "Color balance and fusion for underwater image enhancement",
    IEEE TIP 2018, equations 4 and 5 with alpha = 1, where they refill; Buchsbaum 1980 for the grey world.
    """
    red, green, blue = rgb.unbind(1)
    filled = torch.stack([_refilled(red, green), green, _refilled(blue, green)], dim=1)
    means = filled.mean((-2, -1), keepdim=True)
    return (filled * (means.mean(1, keepdim=True) / means.clamp(min=1 / 255))).clamp(0, 1)


def _refilled(channel: Tensor, green: Tensor) -> Tensor:
    loss = (green.mean((-2, -1), keepdim=True) - channel.mean((-2, -1), keepdim=True)).clamp(min=0)
    return channel + loss * (1 - channel) * green


def lab(rgb: Tensor) -> Tensor:
    """CIE L*a*b* (D65) of images (B, 3, H, W) in [0, 1], as (L / 50 - 1, a / 128, b / 128), in [-1, 1]."""
    found = rgb_to_lab(rgb)
    lightness, a, b = found.unbind(1)
    return torch.stack([lightness / 50 - 1, a / 128, b / 128], dim=1).clamp(-1, 1)


def wavelets(image: Tensor) -> Tensor:
    """The Haar bands of (B, C, H, W) in [-1, 1], each repeated to full size: (B, C + 3 LEVELS, H, W), in [-1, 1].

    The mean over cells of 2^LEVELS pixels a side of every channel, then the three details of the first channel at each
    level, the finest first. Bands are divided by 2 a level, so that a mean is a mean. Where a size is no multiple of
    the cell's, the edge is repeated.
    """
    height, width = image.shape[-2:]
    low, details = F.pad(image, (0, -width % 2**LEVELS, 0, -height % 2**LEVELS), mode="replicate"), []
    for level in range(1, LEVELS + 1):
        bands = haar(low) / 2
        low = bands[:, ::4]
        details.append(_repeated(bands[:, 1:4], 2**level))
    return torch.cat([_repeated(low, 2**LEVELS), *details], dim=1)[..., :height, :width].clamp(-1, 1)


def _repeated(x: Tensor, times: int) -> Tensor:
    return x.repeat_interleave(times, -2).repeat_interleave(times, -1)

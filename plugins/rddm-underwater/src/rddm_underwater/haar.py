"""The two-dimensional Haar transform of batches, by the filters of PyWavelets."""

from __future__ import annotations

import pywt  # type: ignore[import-untyped]
import torch
from torch import Tensor
from torch.nn import functional as F


def _filters() -> Tensor:
    # pywt convolves, so that its filters run backwards over the image
    haar = pywt.Wavelet("haar")
    low, high = (torch.tensor(taps[::-1], dtype=torch.float64) for taps in (haar.dec_lo, haar.dec_hi))
    bands = [torch.outer(rows, columns) for rows, columns in ((low, low), (high, low), (low, high), (high, high))]
    return torch.stack(bands)[:, None]


_FILTERS = _filters()  # (4, 1, 2, 2), float64


def haar(x: Tensor) -> Tensor:
    """(B, C, H, W), H and W even -> (B, 4 C, H / 2, W / 2): of each channel its bands, as `pywt.dwt2` orders them.

    The mean (twice that of the cell of 2 x 2 pixels), then horizontal, vertical and diagonal details; orthonormal.
    """
    channels = x.shape[1]
    return F.conv2d(x, _FILTERS.to(x).repeat(channels, 1, 1, 1), stride=2, groups=channels)


def unhaar(bands: Tensor) -> Tensor:
    """(B, 4 C, H, W) -> (B, C, 2 H, 2 W): what `haar` undoes."""
    channels = bands.shape[1] // 4
    return F.conv_transpose2d(bands, _FILTERS.to(bands).repeat(channels, 1, 1, 1), stride=2, groups=channels)

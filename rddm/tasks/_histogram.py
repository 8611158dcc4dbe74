"""Histogram equalisation, each channel by itself."""

from __future__ import annotations

import numpy as np
import torch
from skimage.exposure import cumulative_distribution
from torch import Tensor

from rddm.core.images import Array


def equalised(array: Array) -> Array:
    """Every value of (*S, C) replaced by the share of its channel's pixels that are not above it: float32 in (0, 1].

    That is scikit-image's `equalize_hist` with a bin for each value. Done twice it is done once.
    """
    return np.stack([_shares(channel) for channel in np.moveaxis(array, -1, 0)], axis=-1)


def equalised_batch(images: Tensor) -> Tensor:
    """The same of (B, C, *S)."""
    channels = images.detach().float().cpu().flatten(0, 1).numpy()
    return torch.from_numpy(np.stack([_shares(channel) for channel in channels])).reshape(images.shape).to(images)


def _shares(channel: Array) -> Array:
    if channel.dtype.kind == "u":
        shares, values = cumulative_distribution(channel)
        places = channel - values[0]
    else:
        _, places, counts = np.unique(channel, return_inverse=True, return_counts=True)
        shares = counts.cumsum() / channel.size
    found: Array = shares[places].reshape(channel.shape).astype(np.float32)
    return found

"""Classical restoration of dark, noisy images, to compare with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle
from torch import Tensor

from rddm.plugin import Array

Filter = Callable[[Tensor], Tensor]  # of one image (C, H, W) in [0, 1]
Tone = tuple[float, float]  # mean and standard deviation of clean images


def brightened(image: Tensor, tone: Tone) -> Tensor:
    """Scaled and shifted to a mean and a standard deviation, clipped to [0, 1]."""
    mean, std = tone
    return (mean + std * (image - image.mean()) / image.std().clamp(min=1e-6)).clamp(0, 1)


def total_variation(image: Tensor, tone: Tone, weight: float) -> Tensor:
    """Total variation (Chambolle 2004) of the brightened image."""
    return _by(denoise_tv_chambolle, brightened(image, tone), weight=weight)


def non_local_means(image: Tensor, tone: Tone, h: float) -> Tensor:
    """Non-local means (Buades, Coll, Morel 2005) of the brightened image, patches of 5 x 5 within 13 x 13."""
    return _by(denoise_nl_means, brightened(image, tone), h=h, patch_size=5, patch_distance=6, fast_mode=True)


#: By name: the filter, and the values of its parameter that are tried.
GRID: Mapping[str, tuple[Callable[..., Tensor], Mapping[str, tuple[float, ...]]]] = {
    "total variation": (total_variation, {"weight": (0.05, 0.1, 0.2, 0.3, 0.4, 0.6)}),
    "non-local means": (non_local_means, {"h": (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)}),
}


def _by(function: Callable[..., Any], image: Tensor, **parameters: Any) -> Tensor:
    array = image.double().movedim(0, -1).numpy()
    found: Array = function(array, channel_axis=-1, **parameters)
    return (
        torch.from_numpy(np.clip(found, 0, 1).reshape(array.shape)).movedim(-1, 0).float()
    )  # a single channel is lost

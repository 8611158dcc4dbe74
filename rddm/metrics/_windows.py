"""Structural similarity as Wang et al. 2004 measure it, by scikit-image."""

from __future__ import annotations

from typing import Any

import numpy as np
from skimage.metrics import structural_similarity

from rddm.core.images import Array

WINDOW = 11


def similarity(one: Array, other: Array, **constants: float) -> Array:
    """The map of structural similarity (H - 10, W - 10, C) of images (H, W, C) in 0..255.

    An 11x11 Gaussian window of sigma 1.5, where it fits. Constants: K1 of the luminance, K2 of the contrast.
    """
    options: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, **constants}
    full: Array = structural_similarity(other, one, data_range=255, channel_axis=-1, full=True, **options)[1]
    inner = slice(WINDOW // 2, -(WINDOW // 2))
    return np.asarray(full[inner, inner])

"""Images between the resolutions of a sensor, by Wald's protocol.

A pixel is an area, as georeferences say: low-resolution pixel k covers the high-resolution pixels ratio k to
ratio k + ratio - 1, and its centre lies between them. Nothing is shifted by half a pixel, in either direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log, pi, sqrt

import numpy as np
from scipy.ndimage import zoom

from rddm.plugin import Array

Gain = float | Sequence[float]  # of all bands, or one for each


def sigma(ratio: int, gain: float) -> float:
    """Standard deviation, in high-resolution pixels, of the Gaussian with this gain at frequency 1 / (2 ratio)."""
    return ratio / pi * sqrt(2 * log(1 / gain))


def degraded(image: Array, ratio: int, gain: Gain) -> Array:
    """An image (H, W, C), both sides multiples of the ratio, as a sensor of 1 / ratio the resolution sees it.

    The sensor's modulation transfer function is a Gaussian of this gain at its Nyquist frequency, and is sampled at the
    centres of its pixels; edges are mirrored. Source: Aiazzi et al. 2006, "MTF-tailored multiscale fusion of
    high-resolution MS and Pan imagery".
    """
    gains = [gain] * image.shape[2] if isinstance(gain, float) else list(gain)
    return np.stack([_plane(image[..., band], ratio, one) for band, one in enumerate(gains)], axis=-1)


def upsampled(image: Array, ratio: int) -> Array:
    """An image (H, W, C) at `ratio` times the resolution, by cubic splines."""
    return _splined(image, ratio)


def centres(image: Array, ratio: int) -> Array:
    """What `upsampled` made an image (H, W, C) from: its values at the centres of low-resolution pixels.

    By cubic splines, which is exact to a thousandth of the deviation of natural scenes.
    """
    return _splined(image, 1 / ratio)


def _splined(image: Array, factor: float) -> Array:
    planes = [zoom(plane, factor, order=3, mode="reflect", grid_mode=True) for plane in np.moveaxis(image, -1, 0)]
    return np.stack(planes, axis=-1)


def _plane(plane: Array, ratio: int, gain: float) -> Array:
    margin = ceil(4 * sigma(ratio, gain))
    taps = np.arange(-margin, ratio + margin) - (ratio - 1) / 2
    weights = np.exp(-0.5 * (taps / sigma(ratio, gain)) ** 2)
    for axis in (0, 1):
        pad = [(margin, margin) if axis == one else (0, 0) for one in (0, 1)]
        padded = np.pad(plane, pad, mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(taps), axis)
        plane = (windows[::ratio] if axis == 0 else windows[:, ::ratio]) @ (weights / weights.sum())
    return plane

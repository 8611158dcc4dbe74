"""Classical pansharpening, to compare with.

Each method takes the up-sampled MS image (H, W, C) and the PAN image (H, W, 1), the ratio of their resolutions and the
gain of PAN at the Nyquist frequency of MS, and gives the fused image (H, W, C), not clipped. Both sides are multiples
of the ratio. Sources: the review of Vivone et al. 2015, "A critical comparison among pansharpening algorithms", and
those named.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rddm.plugin import Array
from rddm_pansharpen.wald import centres, degraded, upsampled

Method = Callable[[Array, Array, int, float], Array]


def cubic(up: Array, pan: Array, ratio: int, gain: float) -> Array:
    """The up-sampled MS image itself."""
    return up


def brovey(up: Array, pan: Array, ratio: int, gain: float) -> Array:
    """MS * PAN / I, I being the mean of the bands, PAN brought to its mean and deviation (Gillespie et al. 1987)."""
    intensity = up.mean(axis=2, keepdims=True)
    return np.asarray(up * _matched(pan, intensity) / np.maximum(intensity, 1e-6))


def gram_schmidt(up: Array, pan: Array, ratio: int, gain: float) -> Array:
    """MS + cov(MS, I) / var(I) (PAN - I), I being the mean of the bands (Laben, Brower 2000, US patent 6 011 875)."""
    return _injected(up, pan, up.mean(axis=2, keepdims=True))


def gsa(up: Array, pan: Array, ratio: int, gain: float) -> Array:
    """Gram-Schmidt with I the sum of bands that comes nearest to PAN at MS resolution (Aiazzi, Baronti, Selva 2007)."""
    low = centres(up, ratio).reshape(-1, up.shape[2])
    ones = np.ones((len(low), 1))
    weights = np.linalg.lstsq(np.hstack([low, ones]), degraded(pan, ratio, gain).reshape(-1, 1), rcond=None)[0]
    return _injected(up, pan, up @ weights[:-1] + weights[-1])


def mtf_glp(up: Array, pan: Array, ratio: int, gain: float) -> Array:
    """MS + dev(MS) / dev(low-passed PAN) (PAN - low-passed PAN), by the sensor's MTF (Aiazzi et al. 2006)."""
    low = upsampled(degraded(pan, ratio, gain), ratio)
    return np.asarray(up + up.std(axis=(0, 1)) / max(low.std(), 1e-6) * (pan - low))


METHODS: dict[str, Method] = {"cubic": cubic, "Brovey": brovey, "GS": gram_schmidt, "GSA": gsa, "MTF-GLP": mtf_glp}


def _matched(pan: Array, intensity: Array) -> Array:
    return np.asarray((pan - pan.mean()) * intensity.std() / max(pan.std(), 1e-6) + intensity.mean())


def _injected(up: Array, pan: Array, intensity: Array) -> Array:
    centred = intensity - intensity.mean()
    gains = ((up - up.mean(axis=(0, 1))) * centred).mean(axis=(0, 1)) / max(intensity.var(), 1e-12)
    return np.asarray(up + gains * (_matched(pan, intensity) - intensity))

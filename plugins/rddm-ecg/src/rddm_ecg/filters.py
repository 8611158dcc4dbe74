"""Classical filters to compare with, and their tuning: signals (C, L) in mV at a sampling rate, all without delay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pywt  # type: ignore[import-untyped]
from scipy.ndimage import convolve1d
from scipy.signal import butter, filtfilt, firwin, iirnotch, sosfiltfilt

from rddm.plugin import Array

Filter = Callable[..., Array]  # (signals, rate, **parameters) -> signals


def fir(mv: Array, rate: float, *, low: float, high: float) -> Array:
    """A symmetric FIR band-pass of low .. high Hz: a Hamming window of 4 s, by SciPy's firwin, with mirrored ends."""
    taps = firwin(2 * round(2 * rate) + 1, [low, min(high, 0.49 * rate)], pass_zero=False, fs=rate)
    filtered: Array = convolve1d(mv, taps, axis=-1, mode="reflect")
    return filtered


def butterworth(mv: Array, rate: float, *, low: float, high: float, notch: float | None) -> Array:
    """A Butterworth band-pass of order 2, and SciPy's notch of Q = 30 at `notch` Hz if given, forth and back."""
    sos = butter(2, [low, min(high, 0.49 * rate)], "bandpass", fs=rate, output="sos")
    filtered: Array = sosfiltfilt(sos, mv, axis=-1, padlen=min(mv.shape[-1] - 1, round(2 * rate)))
    if notch is not None:
        filtered = filtfilt(*iirnotch(notch, 30, fs=rate), filtered, axis=-1, padlen=min(mv.shape[-1] - 1, round(rate)))
    return filtered


def wavelet(mv: Array, rate: float, *, wavelet: str, cutoff: float, drop: int, factor: float) -> Array:
    """Wavelet shrinkage by PyWavelets: coefficients of the octaves between are thresholded, those beyond set to 0.

    Beyond are the approximation below about `cutoff` Hz, the baseline's, and the `drop` finest octaves. The threshold
    is soft, `factor` s sqrt(2 ln L), with s the median of the absolute coefficients of the finest octave kept over
    0.6745 (factor 1: Donoho, Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994).
    """
    length, level = mv.shape[-1], max(drop + 1, round(np.log2(rate / 2 / cutoff)))
    ends = (pywt.Wavelet(wavelet).dec_len - 1) << level  # mirrored, so that the coarsest octave has room
    padded = np.pad(mv, ((0, 0), (ends, ends)), mode="reflect")
    coarse, *details = pywt.wavedec(padded, wavelet, level=level, axis=-1)
    kept, dropped = details[: level - drop], details[level - drop :]
    s = np.median(np.abs(kept[-1]), axis=-1, keepdims=True) / 0.6745
    threshold = factor * s * np.sqrt(2 * np.log(length))
    shrunk = [np.sign(detail) * np.maximum(np.abs(detail) - threshold, 0) for detail in kept]
    nothing = [np.zeros_like(detail) for detail in dropped]
    restored: Array = pywt.waverec([np.zeros_like(coarse), *shrunk, *nothing], wavelet, axis=-1)
    return restored[..., ends : ends + length]


#: Every filter, and the values that `tuned` tries of each parameter.
GRIDS: Mapping[str, tuple[Filter, Mapping[str, Sequence[Any]]]] = {
    "FIR": (fir, {"low": (0.3, 0.5, 0.7, 1.0), "high": (15, 20, 25, 30, 40, 60, 100)}),
    "Butterworth": (
        butterworth,
        {"low": (0.3, 0.5, 0.7, 1.0), "high": (15, 20, 25, 30, 40, 60, 100), "notch": (None, 50, 60)},
    ),
    "wavelet": (
        wavelet,
        {
            "wavelet": ("sym8", "db6"),
            "cutoff": (0.35, 0.7, 1.4),
            "drop": (0, 1, 2, 3),
            "factor": (0.0, 0.05, 0.1, 0.2, 0.4, 1.0),
        },
    ),
}


def tuned(
    name: str, pairs: Iterable[tuple[Array, Array]], rate: float
) -> tuple[Callable[[Array], Array], dict[str, Any]]:
    """A filter with the parameters of its grid that improve the SNR most on pairs (noisy, clean), in the mean of dB."""
    apply, grid = GRIDS[name]
    given = list(pairs)

    def error(parameters: dict[str, Any]) -> float:
        errors = [np.mean((apply(noisy, rate, **parameters) - clean) ** 2, axis=-1) for noisy, clean in given]
        return float(np.mean(np.log(errors)))

    best = min((dict(zip(grid, values, strict=True)) for values in product(*grid.values())), key=error)
    return partial(_applied, apply, rate, best), best


def _applied(apply: Filter, rate: float, parameters: dict[str, Any], mv: Array) -> Array:
    return np.ascontiguousarray(apply(mv, rate, **parameters))

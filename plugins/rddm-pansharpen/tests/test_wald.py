"""Degradation and up-sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rddm_pansharpen.rasters import SAMPLE, read
from rddm_pansharpen.wald import centres, degraded, sigma, upsampled


def test_the_gaussian_has_its_gain_at_the_nyquist_frequency_of_the_low_resolution() -> None:
    assert sigma(4, 0.3) == pytest.approx(4 / math.pi * 1.5517557, abs=1e-6)
    for ratio, gain in ((4, 0.3), (4, 0.15), (2, 0.25)):
        # H(f) = exp(-2 (pi sigma f)^2)
        assert math.exp(-2 * (math.pi * sigma(ratio, gain) / (2 * ratio)) ** 2) == pytest.approx(gain)


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_a_wave_is_damped_by_the_sensors_mtf(ratio: int) -> None:
    period = 8 * ratio
    x = np.arange(16 * period)
    wave = np.cos(2 * np.pi * x / period)[None, :, None].repeat(4 * ratio, axis=0)
    low = degraded(wave, ratio, 0.3)[2, 16:-16, 0]
    at = (np.arange(len(x) // ratio) * ratio + (ratio - 1) / 2)[16:-16]
    gain = 0.3 ** ((2 * ratio / period) ** 2)
    assert low == pytest.approx(gain * np.cos(2 * np.pi * at / period), abs=2e-4)


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_nothing_moves_a_ramp_stays_where_it_is(ratio: int) -> None:
    ramp = np.arange(24 * ratio, dtype=float)[:, None, None].repeat(8 * ratio, axis=1)
    low = degraded(ramp, ratio, 0.3)
    inner = slice(8, -8)
    assert low[inner, 0, 0] == pytest.approx((np.arange(24) * ratio + (ratio - 1) / 2)[inner], abs=1e-3)
    assert upsampled(low, ratio)[8 * ratio : -8 * ratio, 5, 0] == pytest.approx(
        ramp[8 * ratio : -8 * ratio, 5, 0], abs=0.01
    )


def test_bands_have_gains_of_their_own() -> None:
    image = np.random.default_rng(0).random((16, 16, 2))
    both = degraded(image, 4, (0.3, 0.2))
    assert np.array_equal(both[..., :1], degraded(image[..., :1], 4, 0.3))
    assert np.array_equal(both[..., 1:], degraded(image[..., 1:], 4, 0.2))
    assert not np.allclose(both, degraded(image, 4, 0.3))


def test_constants_stay_constant() -> None:
    flat = np.full((24, 20, 1), 0.37)
    assert np.allclose(degraded(flat, 4, 0.3), 0.37, atol=1e-12)
    assert np.allclose(upsampled(flat, 4), 0.37, atol=1e-12)


def test_centres_give_back_what_was_upsampled() -> None:
    scene = read(SAMPLE, None, slice(0, 120), slice(0, 160), 0.0) / 5000
    low = degraded(scene, 4, 0.3)
    error = centres(upsampled(low, 4), 4) - low

    assert error.std() < 0.001 * low.std(axis=(0, 1)).mean()

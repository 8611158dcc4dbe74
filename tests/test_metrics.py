"""PSNR and SSIM against scikit-image and the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import correlate1d
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rddm import ShapeError
from rddm.core import metrics
from rddm.core.kinds import usual_metrics


def measure(output, target):
    return metrics.measure(usual_metrics(), output, target)


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1).float() / 255


def noisy_astronaut():
    clean = data.astronaut()
    noise = np.random.default_rng(0).normal(0, 25.5, clean.shape)
    return clean, (clean + noise).clip(0, 255).round().astype(np.uint8)


def ssim_by_definition(a, b):
    """Wang et al. 2004, eq. 13, with scipy's filters: 11 taps, sigma 1.5, only where the window fits."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()

    def blur(x):
        return correlate1d(correlate1d(x, taps, 0), taps, 1)[5:-5, 5:-5]

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    a, b = a.astype(float), b.astype(float)
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    return ((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean()


def test_the_numbers_are_those_of_scikit_image_and_of_the_definition():
    clean, noisy = noisy_astronaut()
    scores = measure(tensor(noisy), tensor(clean))
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(clean, noisy), abs=1e-9)
    gaussian = structural_similarity(
        clean, noisy, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert scores["ssim"] == pytest.approx(gaussian, abs=1e-9)
    assert scores["ssim"] == pytest.approx(
        np.mean([ssim_by_definition(clean[..., c], noisy[..., c]) for c in range(3)]), abs=1e-6
    )


def test_golden_numbers_of_one_noisy_photograph():
    clean, noisy = noisy_astronaut()
    scores = measure(tensor(noisy), tensor(clean))
    golden = {"psnr": 20.7001, "ssim": 0.3297, "psnr_y": 25.3394, "ssim_y": 0.5176}
    assert scores == pytest.approx(golden, abs=1e-4)


def test_luma_is_bt_601_in_16_to_235():
    clean, noisy = noisy_astronaut()
    weights = np.array([65.481, 128.553, 24.966])
    luma = [16 + (image / 255) @ weights for image in (clean, noisy)]
    scores = measure(tensor(noisy), tensor(clean))
    assert scores["psnr_y"] == pytest.approx(10 * math.log10(255**2 / np.mean((luma[0] - luma[1]) ** 2)), abs=1e-6)
    assert scores["ssim_y"] == pytest.approx(ssim_by_definition(*luma), abs=1e-6)


@given(st.integers(1, 255))
def test_psnr_of_a_constant_difference_is_its_logarithm(step):
    black, grey = torch.zeros(1, 12, 12), torch.full((1, 12, 12), step / 255)
    assert measure(grey, black)["psnr"] == pytest.approx(20 * math.log10(255 / step), abs=1e-9)


def test_equal_images_have_infinite_psnr_and_ssim_1_and_grey_images_no_luma():
    image = torch.rand(1, 16, 16)
    assert measure(image, image) == {"psnr": math.inf, "ssim": 1.0}


def test_images_are_rounded_to_8_bits_first():
    image = torch.rand(3, 16, 16)
    rounded = (image * 255).round() / 255
    assert measure(image, rounded)["psnr"] == math.inf


def test_images_smaller_than_the_window_have_no_ssim_and_other_shapes_are_refused():
    assert math.isnan(measure(torch.rand(1, 10, 30), torch.rand(1, 10, 30))["ssim"])
    with pytest.raises(ShapeError, match=r"\(3, 16, 16\) and \(3, 16, 17\)|given"):
        measure(torch.rand(3, 16, 16), torch.rand(3, 16, 17))

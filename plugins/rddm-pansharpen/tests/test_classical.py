"""Classical methods."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rddm_pansharpen.classical import METHODS, brovey, gram_schmidt, gsa, mtf_glp
from rddm_pansharpen.metrics.ergas import ERGAS
from rddm_pansharpen.rasters import SAMPLE, read
from rddm_pansharpen.wald import degraded, upsampled

Scene = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Target, input and PAN of a part of the Sentinel-2 scene."""
    target = read(SAMPLE, None, slice(100, 196), slice(100, 196), 0.0) / 5000
    return target, upsampled(degraded(target, 4, 0.3), 4), target.mean(axis=2, keepdims=True)


def ergas(image: np.ndarray, target: np.ndarray) -> float:
    one, other = (torch.from_numpy(x).permute(2, 0, 1) for x in (image, target))
    return ERGAS().measure(one, other, {})["ergas"]


def test_every_method_is_nearer_to_the_target_than_upsampling(scene: Scene) -> None:
    target, up, pan = scene
    worst = ergas(METHODS["cubic"](up, pan, 4, 0.15), target)
    assert worst == ergas(up, target) > 1
    for name, method in METHODS.items():
        fused = method(up, pan, 4, 0.15)
        assert fused.shape == target.shape
        assert name == "cubic" or ergas(fused, target) < 0.85 * worst, name


def test_brovey_keeps_the_spectral_angle_of_every_pixel(scene: Scene) -> None:
    _, up, pan = scene
    fused = brovey(up, pan, 4, 0.15)
    assert np.allclose(fused / fused.sum(axis=2, keepdims=True), up / up.sum(axis=2, keepdims=True))


@pytest.mark.parametrize("method", [brovey, gram_schmidt])
def test_a_pan_that_is_the_intensity_changes_nothing(method: object, scene: Scene) -> None:
    _, up, _ = scene
    assert np.allclose(method(up, up.mean(axis=2, keepdims=True), 4, 0.15), up)  # type: ignore[operator]


def test_gram_schmidt_gains_sum_to_the_number_of_bands(scene: Scene) -> None:
    # sum over bands of cov(MS, I) / var(I) = C, so that the mean of the fused bands is the matched PAN
    _, up, pan = scene
    fused = gram_schmidt(up, pan, 4, 0.15).mean(axis=2)
    centred = (pan - pan.mean()) / pan.std()
    intensity = up.mean(axis=2)
    assert np.allclose(fused, centred[..., 0] * intensity.std() + intensity.mean())


def test_gsa_finds_the_bands_that_pan_is_made_of(scene: Scene) -> None:
    _, up, _ = scene
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    smooth = upsampled(degraded(up, 4, 0.15), 4)
    assert np.allclose(gsa(smooth, (smooth @ weights)[..., None], 4, 0.999), smooth, atol=2e-3)


def test_mtf_glp_injects_only_what_a_low_pass_takes_from_pan(scene: Scene) -> None:
    _, up, pan = scene
    assert np.allclose(mtf_glp(up, np.full_like(pan, 0.4), 4, 0.15), up)
    detail = mtf_glp(up, pan, 4, 0.15) - up
    assert abs(degraded(detail, 4, 0.15)).mean() < 0.35 * abs(detail).mean()

"""Figures of fused images."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from rddm_pansharpen.metrics.ergas import ERGAS
from rddm_pansharpen.metrics.q2n import Q2n, conjugate, product
from rddm_pansharpen.metrics.q_index import QIndex
from rddm_pansharpen.metrics.qnr import QNR
from rddm_pansharpen.metrics.sam import SAM
from rddm_pansharpen.wald import centres, degraded, upsampled
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torchmetrics.functional.image import quality_with_no_reference, universal_image_quality_index

from rddm.plugin import Metric
from rddm.testing import check


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.8 + 0.1


def blend(target: Tensor, seed: int = 1) -> Tensor:
    return 0.8 * target + 0.2 * drawn(*target.shape, seed=seed)


@pytest.mark.parametrize("metric", [SAM(), ERGAS(), QIndex(), QIndex(window=8), Q2n(), Q2n(block=8)], ids=repr)
@pytest.mark.parametrize("channels", [4, 8])
def test_they_keep_the_contract_of_metrics(metric: Metric, channels: int) -> None:
    check(metric, channels=channels)


def test_qnr_keeps_the_contract_of_metrics() -> None:
    extras = {"input": drawn(4, 48, 44, seed=2), "pan": drawn(1, 48, 44, seed=3)}
    check(QNR(), channels=4, size=(48, 44), extras=extras)


def test_sam_is_the_angle_between_spectra_in_degrees_and_knows_no_brightness() -> None:
    target = torch.zeros(2, 1, 3)
    target[0] = 0.5  # spectra along the first axis
    angles = torch.tensor([30.0, 60.0, 90.0]).deg2rad()
    output = torch.stack([angles.cos(), angles.sin()])[:, None] * torch.tensor([0.1, 0.7, 1.0])
    assert SAM().measure(output, target, {})["sam"] == pytest.approx(60, abs=1e-4)
    image = drawn(4, 16, 16)
    assert SAM().measure(image * 0.5, image, {})["sam"] < 1e-5


def test_sam_leaves_out_pixels_that_are_zero_in_all_bands() -> None:
    target, output = drawn(4, 8, 8), drawn(4, 8, 8, seed=1)
    without = SAM().measure(output[:, 1:], target[:, 1:], {})
    output[:, 0], target[:, 0] = 0, 0
    assert SAM().measure(output, target, {}) == pytest.approx(without)


def test_ergas_is_the_relative_error_of_bands_over_the_ratio() -> None:
    target = torch.stack([torch.full((8, 8), 0.2), torch.full((8, 8), 0.5)])
    output = torch.stack([torch.full((8, 8), 0.22), torch.full((8, 8), 0.4)])
    root = math.sqrt((0.1**2 + 0.2**2) / 2)
    assert ERGAS().measure(output, target, {})["ergas"] == pytest.approx(25 * root, rel=1e-5)
    assert ERGAS(ratio=2).measure(output, target, {})["ergas"] == pytest.approx(50 * root, rel=1e-5)


def test_the_q_index_is_wang_and_boviks_formula_in_every_window() -> None:
    target = drawn(3, 11, 12)
    output, found = blend(target), []
    for x, y in zip(output.numpy(), target.numpy(), strict=True):
        for i in range(11 - 8 + 1):
            for j in range(12 - 8 + 1):
                a, b = x[i : i + 8, j : j + 8].ravel(), y[i : i + 8, j : j + 8].ravel()
                c = np.cov(a, b)
                found.append(
                    4 * c[0, 1] * a.mean() * b.mean() / ((c[0, 0] + c[1, 1]) * (a.mean() ** 2 + b.mean() ** 2))
                )
    assert QIndex(window=8).measure(output, target, {})["q_index"] == pytest.approx(np.mean(found), rel=1e-9)


def test_the_q_index_of_flat_windows_is_that_of_their_means() -> None:
    flat = torch.full((1, 32, 32), 0.5)
    assert QIndex().measure(flat * 0.5, flat, {})["q_index"] == pytest.approx(2 * 0.5 / 1.25)
    assert QIndex().measure(flat * 0, flat * 0, {})["q_index"] == 1


def test_hypercomplex_numbers_multiply_as_complex_ones_quaternions_and_octonions_do() -> None:
    a, b = drawn(5, 2), drawn(5, 2, seed=1)
    assert torch.allclose(torch.view_as_complex(product(a, b)), torch.view_as_complex(a) * torch.view_as_complex(b))
    one, i, j, k = torch.eye(4)
    for left, right, result in ((i, j, k), (j, k, i), (k, i, j), (j, i, -k), (i, i, -one), (k, k, -one), (one, k, k)):
        assert torch.equal(product(left, right), result)
    for parts in (1, 2, 4, 8):
        a, b = drawn(50, parts) - 0.5, drawn(50, parts, seed=1) - 0.5
        assert torch.allclose(product(a, b).norm(dim=-1), a.norm(dim=-1) * b.norm(dim=-1))
        assert torch.allclose(product(a, conjugate(a))[:, 0], a.square().sum(-1))
        assert torch.allclose(conjugate(product(a, b)), product(conjugate(b), conjugate(a)))


def test_q2n_of_one_band_is_the_size_of_its_q_index() -> None:
    target = drawn(1, 16, 16)
    output = 1 - blend(target)
    q = QIndex(window=16).measure(output, target, {})["q_index"]
    assert q < 0
    assert Q2n(block=16).measure(output, target, {})["q2n"] == pytest.approx(-q)


def test_q4_is_the_formula_with_quaternions_written_out() -> None:
    target = drawn(4, 8, 8)
    output = blend(target)
    x, y = (image.flatten(1).numpy() for image in (output, target))
    mean_x, mean_y = x.mean(1), y.mean(1)
    (a1, b1, c1, d1), (a2, b2, c2, d2) = x - mean_x[:, None], (y - mean_y[:, None]) * np.array([[1], [-1], [-1], [-1]])
    hamilton = np.stack(
        [
            a1 * a2 - b1 * b2 - c1 * c2 - d1 * d2,
            a1 * b2 + b1 * a2 + c1 * d2 - d1 * c2,
            a1 * c2 - b1 * d2 + c1 * a2 + d1 * b2,
            a1 * d2 + b1 * c2 - c1 * b2 + d1 * a2,
        ]
    )
    covariance = np.linalg.norm(hamilton.mean(1))
    spread = ((x - mean_x[:, None]) ** 2 + (y - mean_y[:, None]) ** 2).sum(0).mean()
    sizes = np.linalg.norm(mean_x), np.linalg.norm(mean_y)
    expected = 4 * covariance * sizes[0] * sizes[1] / (spread * (sizes[0] ** 2 + sizes[1] ** 2))
    assert Q2n(block=8).measure(output, target, {})["q2n"] == pytest.approx(expected, rel=1e-9)


def test_q2n_sees_bands_that_change_places_where_angles_of_grey_pixels_do_not() -> None:
    target = drawn(4, 32, 32)
    assert Q2n().measure(target[[1, 0, 3, 2]], target, {})["q2n"] < 0.9


@pytest.mark.parametrize("ratio", [2, 4])
def test_qnr_is_torchmetrics_own_for_the_ms_image_and_the_degraded_pan(ratio: int) -> None:
    smooth = gaussian_filter(drawn(3, 16, 20).numpy(), (0, 1, 1)) * 3 - 1  # as natural scenes are
    ms, pan = torch.from_numpy(smooth), drawn(1, 16 * ratio, 20 * ratio, seed=1)
    up = torch.from_numpy(upsampled(ms.permute(1, 2, 0).numpy(), ratio)).permute(2, 0, 1)
    low = torch.from_numpy(degraded(pan.permute(1, 2, 0).numpy(), ratio, 0.15)).permute(2, 0, 1)
    output = 0.7 * up + 0.3 * pan
    found = QNR(ratio=ratio).measure(output, output, {"input": up, "pan": pan})
    wide = [one.expand(3, -1, -1)[None] for one in (pan, low)]
    expected = quality_with_no_reference(output[None], ms[None], wide[0], wide[1])
    assert found["qnr"] == pytest.approx(float(expected), abs=5e-4)
    assert found["qnr"] == pytest.approx((1 - found["d_lambda"]) * (1 - found["d_s"]))


def test_both_distortions_are_differences_of_likeness_as_published() -> None:
    up, pan = drawn(3, 64, 64), drawn(1, 64, 64, seed=1)
    output = 0.5 * up + 0.5 * pan
    found = QNR().measure(output, output, {"input": up, "pan": pan})

    def likeness(a: np.ndarray, b: np.ndarray) -> float:
        return float(universal_image_quality_index(*(torch.from_numpy(x.copy())[None, None] for x in (a, b))))

    high, sharp = output.numpy(), pan.numpy()[0]
    low = np.moveaxis(centres(np.moveaxis(up.numpy(), 0, -1), 4), -1, 0)
    blurred = degraded(np.moveaxis(pan.numpy(), 0, -1), 4, 0.15)[..., 0]
    pairs = list(combinations(range(3), 2))
    d_lambda = np.mean([abs(likeness(high[i], high[j]) - likeness(low[i], low[j])) for i, j in pairs])
    d_s = np.mean([abs(likeness(high[i], sharp) - likeness(low[i], blurred)) for i in range(3)])
    assert found["d_lambda"] == pytest.approx(d_lambda, abs=1e-6)
    assert found["d_s"] == pytest.approx(d_s, abs=1e-6)


def test_what_has_no_meaning_is_left_out() -> None:
    small = drawn(4, 24, 24)
    assert QIndex().measure(small, small, {}) == Q2n().measure(small, small, {}) == {}
    assert QNR().measure(small, small, {"input": small, "pan": small[:1]}) == {}
    large = drawn(4, 64, 64)
    assert QNR().measure(large, large, {}) == {}

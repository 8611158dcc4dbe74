import numpy as np
import pytest
import pywt
import torch
from rddm_underwater.colour import LEVELS, compensated, lab, wavelets
from skimage.color import rgb2lab


def picture(height: int = 40, width: int = 56) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_lab_is_that_of_scikit_image() -> None:
    x = picture()
    want = rgb2lab(x[0].permute(1, 2, 0).double().numpy())
    found = lab(x)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, (want - [50, 0, 0]) / [50, 128, 128], atol=1e-5)


def test_a_cast_is_refilled_from_green_then_the_world_is_grey() -> None:
    x = torch.tensor([[0.1, 0.2], [0.5, 0.7], [0.6, 0.4]])[None, :, None]  # (1, 3, 1, 2), red lost, blue not
    red = np.array([0.1, 0.2]) + (0.6 - 0.15) * (1 - np.array([0.1, 0.2])) * np.array([0.5, 0.7])
    blue = np.array([0.6, 0.4]) + (0.6 - 0.5) * (1 - np.array([0.6, 0.4])) * np.array([0.5, 0.7])
    filled = np.stack([red, [0.5, 0.7], blue])
    want = filled * filled.mean() / filled.mean(1, keepdims=True)
    np.testing.assert_allclose(compensated(x)[0, :, 0].numpy(), want, rtol=1e-5)


def test_grey_images_stay_and_black_ones_are_no_division_by_zero() -> None:
    grey = torch.rand(1, 1, 8, 8).expand(1, 3, 8, 8)
    torch.testing.assert_close(compensated(grey), grey)
    assert (compensated(torch.zeros(1, 3, 4, 4)) == 0).all()


def test_wavelets_are_the_means_and_details_of_pywavelets_at_full_size() -> None:
    x = picture(16, 24).double() * 2 - 1
    found = wavelets(x)
    assert found.shape == (1, 3 + 3 * LEVELS, 16, 24)
    low = x.numpy()
    for level in range(1, LEVELS + 1):
        low, details = pywt.dwt2(low, "haar")
        for k, detail in enumerate(details):
            want = (detail[:, 0] / 2**level).repeat(2**level, -2).repeat(2**level, -1)
            np.testing.assert_allclose(found[:, 3 * level + k].numpy(), want, atol=1e-12)
    np.testing.assert_allclose(found[0, :3, 0, 0].numpy(), x[0, :, :8, :8].mean((-2, -1)).numpy(), atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 8), (33, 17)])
def test_any_size_is_kept_and_a_constant_has_no_details(size: tuple[int, int]) -> None:
    found = wavelets(torch.full((1, 3, *size), 0.25))
    assert found.shape[-2:] == size
    torch.testing.assert_close(found[:, :3], torch.full_like(found[:, :3], 0.25))
    torch.testing.assert_close(found[:, 3:], torch.zeros_like(found[:, 3:]))

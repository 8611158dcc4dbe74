import numpy as np
import pytest
import torch
from rddm_underwater.water import ATTENUATION, Water

from rddm.plugin import SpecError

STILL = {"depth": (0, 0), "near": (0, 0), "far": (0, 0), "veil": (0, 0), "forward": (0, 0)}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def photograph(channels: int = 3) -> torch.Tensor:
    return torch.rand(channels, 20, 30, generator=seeded(5))


def test_without_water_the_picture_stays() -> None:
    torch.testing.assert_close(Water(**STILL)(photograph(), seeded()), photograph(), atol=1e-5, rtol=0)


def test_every_colour_follows_the_formula() -> None:
    water = Water(types=("II",), depth=(4, 4), near=(3, 3), far=(3, 3), veil=(0.4, 0.4), forward=(0, 0))
    found = linear(water(photograph(), seeded()).double().numpy())
    J = linear(photograph().double().numpy())
    K = np.array([0.260, 0.076, 0.062])[:, None, None]
    E = np.exp(-4 * K) / np.exp(-4 * 0.062)
    t = np.exp(-3 * K)
    np.testing.assert_allclose(found, E * (J * t + 0.4 * 0.062 / K * (1 - t)), atol=1e-5)


def test_infinitely_far_there_is_only_the_veil() -> None:
    water = Water(**STILL | {"types": ("9",), "near": (100, 100), "far": (100, 100), "veil": (0.5, 0.5)})
    found = linear(water(photograph(), seeded()).double().numpy())
    want = 0.5 * np.array([1, 0.60 / 0.78, 0.60 / 1.23])[:, None, None]  # red is what is left in coastal type 9
    np.testing.assert_allclose(found, np.broadcast_to(want, found.shape), atol=1e-5)


def test_light_scattered_forward_is_blurred_and_not_lost() -> None:
    all_forward = STILL | {"near": (5, 5), "far": (5, 5), "forward": (1, 1), "spread": (2, 2)}
    flat = torch.full((3, 40, 40), 0.5)
    torch.testing.assert_close(Water(**all_forward)(flat, seeded()), flat, atol=1e-5, rtol=0)
    point = torch.zeros(3, 41, 41)
    point[:, 20, 20] = 1
    found = linear(Water(types=("5",), **all_forward)(point, seeded()).double().numpy())
    t = np.exp(-5 * np.array([0.40, 0.31, 0.43]))
    np.testing.assert_allclose(found.sum((1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(found[:, 20, 20], t + (1 - t) / (8 * np.pi), rtol=0.02)


def test_the_top_is_farther_than_the_bottom() -> None:
    found = Water(**STILL | {"far": (8, 8)})(torch.full((3, 60, 60), 0.8), seeded()).mean((0, 2))
    assert found[:10].mean() < found[-10:].mean() - 0.1


def test_oceans_lose_red_and_turbid_coasts_blue() -> None:
    for kind in ("I", "IA", "IB", "II", "III"):
        red, green, blue = ATTENUATION[kind]
        assert red > green >= blue
    assert ATTENUATION["9"][2] > ATTENUATION["9"][1] > ATTENUATION["9"][0]
    green = [K[1] for K in ATTENUATION.values()]
    assert green == sorted(green)


def test_channels_of_other_images_are_green() -> None:
    water = Water(types=("1",))
    grey = photograph(1)
    want = water(grey, seeded())
    torch.testing.assert_close(water(grey.expand(4, 20, 30), seeded()), want.expand(4, 20, 30))


def test_unknown_water_and_ranges_upside_down_are_refused() -> None:
    with pytest.raises(SpecError, match="types"):
        Water(types=("X",))
    with pytest.raises(SpecError, match="low <= high"):
        Water(depth=(3, 1))

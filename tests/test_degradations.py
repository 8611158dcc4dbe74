"""Degradations: what holds for the built-in ones beside their contract, and the physics of each."""

from math import exp, gamma, pi, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import data
from torch import Generator, Tensor

from rddm.core import registry
from rddm.core.errors import DataError, ShapeError, SpecError
from rddm.core.kinds import Degradation
from rddm.core.light import to_linear, to_srgb
from rddm.degradations.blur import Blur
from rddm.degradations.haze import Haze
from rddm.degradations.low_light import LowLight
from rddm.degradations.noise import Noise
from rddm.degradations.rain import Rain
from rddm.degradations.shadow import Shadow
from rddm.sources.arrays import Arrays
from rddm.sources.photos import Photos
from rddm.tasks.paired import Paired, Shown
from rddm.testing.strategies import built_in

NAMES = built_in("degradation")
every = pytest.mark.parametrize("name", NAMES)
seeds = st.integers(0, 2**32 - 1)  # all that count: torch uses the low 32 bits


def seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def made(name: str) -> Degradation:
    return registry.load(Degradation, name)()


def astronaut(size: int = 64) -> Tensor:
    pixels = data.astronaut()[::8, ::8][:size, :size]
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255


@st.composite
def pictures(draw: st.DrawFn) -> Tensor:
    shape = draw(st.integers(1, 5)), draw(st.integers(1, 48)), draw(st.integers(1, 48))
    low, high = sorted((draw(st.floats(0, 1, width=32)), draw(st.floats(0, 1, width=32))))
    return (low + (high - low) * torch.rand(shape, generator=seeded(draw(seeds)))).clamp(0, 1)


quick = settings(max_examples=30, deadline=None)


@every
@quick
@given(pair=st.lists(seeds, min_size=2, max_size=2, unique=True))
def test_different_seeds_give_different_images(name: str, pair: list[int]) -> None:
    first, second = (made(name)(astronaut(), seeded(seed)) for seed in pair)
    assert not torch.allclose(first, second, atol=1e-3)


@every
def test_one_generator_gives_a_new_image_at_every_call(name: str) -> None:
    generator = seeded(0)
    first, second = (made(name)(astronaut(), generator) for _ in range(2))
    assert not torch.allclose(first, second, atol=1e-3)


@every
def test_ranges_that_are_reversed_or_out_of_bounds_are_refused_with_what_is_allowed(name: str) -> None:
    cls = registry.load(Degradation, name)
    ranges = [key for key, field in cls.model_fields.items() if isinstance(field.default, tuple)]
    assert ranges
    for key in ranges:
        low, high = cls.model_fields[key].default
        assert low <= high
        for wrong in ((high + 0.05, low), (-1e7, high), (low, 1e7)):
            with pytest.raises(SpecError, match=rf"{key}: must be \(low, high\) with .+ <= low <= high <= "):
                cls(**{key: wrong})
        assert getattr(cls(**{key: [low, low]}), key) == (low, low)


GOLDEN = {  # mean and standard deviation of a picture whose own are 0.4531 and 0.3181
    "blur": (0.52677, 0.19539),
    "haze": (0.57706, 0.24147),
    "low-light": (0.16695, 0.12384),
    "noise": (0.46232, 0.32187),
    "rain": (0.49168, 0.31093),
    "shadow": (0.36761, 0.28203),
}


@every
def test_golden_statistics(name: str) -> None:
    if name not in GOLDEN:
        pytest.skip("not one of rddm's own")
    bad = made(name)(astronaut(), seeded(7))
    assert (bad.mean().item(), bad.std().item()) == pytest.approx(GOLDEN[name], abs=1e-4)


def test_there_are_golden_statistics_for_each_of_our_own() -> None:
    own = {entry.name for entry in registry.entries("degradation") if entry.target.startswith("rddm.")}
    assert own == GOLDEN.keys()


def test_linear_light_of_srgb_has_the_values_of_the_standard() -> None:
    srgb = torch.tensor([0.0, 0.04045, 0.5, 1.0])
    assert to_linear(srgb).tolist() == pytest.approx([0, 0.0031308, 0.2140411, 1], abs=1e-6)
    ramp = torch.linspace(0, 1, 1001)
    torch.testing.assert_close(to_srgb(to_linear(ramp)), ramp, atol=2e-6, rtol=0)


# Rain


def test_rain_without_a_veil_only_brightens() -> None:
    clean = astronaut()
    for seed in range(20):
        bad = Rain(veil=(0, 0))(clean, seeded(seed))
        assert (bad >= clean - 1e-6).all()
        assert (bad > clean + 0.1).float().mean() > 0.05


def test_streaks_cover_the_same_share_of_every_picture() -> None:
    rain, clean = Rain(veil=(0, 0)), astronaut()
    s = rain(torch.zeros(1, 64, 64), seeded(4))
    torch.testing.assert_close(rain(clean, seeded(4)), clean + s * (1 - clean))
    assert s.max() > 0.8


def test_rain_of_density_0_leaves_only_the_veil() -> None:
    clean = astronaut()
    dry = Rain(density=(0, 0), veil=(0.25, 0.25))(clean, seeded(0))
    torch.testing.assert_close(dry, 0.75 * clean + 0.25 * 0.8)


@pytest.mark.parametrize("degrees", [-50, -20, 0, 20, 50])
def test_rain_falls_along_its_angle(degrees: int) -> None:
    s = Rain(angle=(degrees, degrees), length=(100, 100), width=(5, 5)).streaks(256, 256, seeded(3))
    down, right = torch.gradient(s)
    # Brightness changes across a streak: the main axis of the gradients' covariance is normal to the fall.
    axis = torch.atan2(2 * (down * right).sum(), (right**2 - down**2).sum()) / 2
    assert torch.rad2deg(axis).item() == pytest.approx(-degrees, abs=1.5)


def test_rain_adds_the_light_of_its_streaks() -> None:
    rain = Rain(density=(0.5, 0.5), length=(20, 20), width=(2, 2), brightness=(0.5, 0.5))
    one = 0.5 * 0.7 * (20 * gamma(1.25)) * (2 * sqrt(2 * pi))  # integral of exp(-(2a/l)^4 - (b/w)^2 / 2), mean shine
    near = np.mean((0.3 + 0.7 * ((np.arange(1000) + 0.5) / 1000) ** 2) ** 2.5)  # length, width, root in brightness
    mean = torch.stack([rain.streaks(300, 300, seeded(seed)) for seed in range(8)]).mean().item()
    assert mean == pytest.approx(0.5e-3 * one * near, rel=0.05)


def test_rain_is_as_dense_at_the_borders_as_inside_and_in_crops_as_in_whole_pictures() -> None:
    rain = Rain(density=(10, 10), angle=(25, 25), length=(30, 30), width=(1, 1), brightness=(0.8, 0.8))
    crops = torch.stack([rain.streaks(48, 48, seeded(seed)) for seed in range(250)]).mean(0)
    whole = rain.streaks(512, 512, seeded(0)).mean().item()
    for part in (crops[:8], crops[-8:], crops[:, :8], crops[:, -8:], crops[16:32, 16:32]):
        assert part.mean().item() == pytest.approx(whole, rel=0.08)


def test_default_rain_is_heavy_but_not_hopeless() -> None:
    clean = astronaut()
    errors = torch.stack([(Rain()(clean, seeded(seed)) - clean).square().mean() for seed in range(60)])
    psnr = -10 * errors.log10()
    assert 16 < psnr.median() < 22
    assert psnr.min() > 11


# Low light


def test_low_light_has_the_mean_and_the_variance_of_shot_and_read_noise() -> None:
    e, w, r, x = 0.1, 2000, 3, 0.7
    dark = LowLight(exposure=(e, e), white=(w, w), read=(r, r), bits=16)
    y = to_linear(dark(torch.full((1, 400, 400), x), seeded(0)))
    light = e * to_linear(torch.tensor(x)).item()
    assert y.mean().item() == pytest.approx(light, rel=0.003)
    assert y.var().item() == pytest.approx(light / w + (r / w) ** 2, rel=0.03)


def test_low_light_darkens() -> None:
    clean = astronaut()
    for seed in range(20):
        dark = LowLight()(clean, seeded(seed))
        assert to_linear(dark).mean() < 0.25 * to_linear(clean).mean()
        assert (dark[clean > 0.2] < clean[clean > 0.2]).float().mean() > 0.99


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_low_light_has_only_the_tones_of_its_bits(bits: int) -> None:
    tones = LowLight(bits=bits, exposure=(1, 1))(astronaut(), seeded(0)) * (2**bits - 1)
    torch.testing.assert_close(tones, tones.round(), atol=1e-4, rtol=0)
    assert len(tones.round().unique()) == pytest.approx(2**bits, rel=0.1)


# Blur


@quick
@given(value=st.floats(0, 1, width=32), seed=seeds, size=st.integers(1, 40))
def test_blur_leaves_constant_pictures_constant(value: float, seed: int, size: int) -> None:
    clean = torch.full((3, size, 20), value)
    torch.testing.assert_close(Blur()(clean, seeded(seed)), clean, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("size", "border"), [(64, "mirror"), (5, "nearest")])
def test_blur_is_the_convolution_of_linear_light(size: int, border: str) -> None:
    blur = Blur(shake=(15, 15))
    for seed in range(5):
        clean, kernel = astronaut(size), blur.kernel(seeded(seed)).double().numpy()
        assert len(kernel) > 9
        light = [ndimage.convolve(c.double().numpy(), kernel, mode=border) for c in to_linear(clean)]
        expected = to_srgb(torch.from_numpy(np.stack(light)))
        torch.testing.assert_close(blur(clean, seeded(seed)).double(), expected, atol=2e-5, rtol=0)


@quick
@given(seed=seeds, shake=st.floats(0, 60), defocus=st.floats(0, 4))
def test_blur_kernels_are_averages_about_the_centre(seed: int, shake: float, defocus: float) -> None:
    k = Blur(shake=(shake, shake), defocus=(defocus, defocus)).kernel(seeded(seed)).double()
    at = torch.arange(len(k), dtype=torch.float64) - len(k) // 2
    assert k.shape == (len(k), len(k))
    assert len(k) % 2 == 1
    assert k.min() >= 0
    assert k.sum().item() == pytest.approx(1, abs=1e-5)
    for weights in (k.sum(0), k.sum(1)):
        assert (weights * at).sum().item() == pytest.approx(0, abs=0.5 if defocus < 0.5 else 0.05)
        # Half the length of the path is as far as one can get from its centre of mass.
        assert (weights * at**2).sum().sqrt() <= shake / 2 + defocus + 0.5


def test_the_path_of_the_camera_is_as_long_as_asked_for() -> None:
    reach = []
    for seed in range(200):
        touched = Blur(shake=(30, 30), defocus=(0, 0)).kernel(seeded(seed)).nonzero().double()
        reach.append(torch.pdist(touched).max().item())
    assert 0.9 * 30 < max(reach) < 30 + sqrt(2)  # a straight path, seen in pixels
    assert min(reach) < 0.6 * 30  # a bent one


def test_defocus_alone_is_a_gaussian_over_square_pixels() -> None:
    k = Blur(shake=(0, 0), defocus=(2, 2)).kernel(seeded(0)).double()
    at = torch.arange(len(k)) - len(k) // 2
    assert (k.sum(0) * at**2).sum().item() == pytest.approx(2**2 + 1 / 12, rel=0.03)  # cut off at 3 sigma
    torch.testing.assert_close(k, k.T, atol=1e-7, rtol=0)
    torch.testing.assert_close(k, k.flip(0), atol=1e-7, rtol=0)


def test_a_steady_sharp_camera_does_not_blur() -> None:
    clean = astronaut()
    torch.testing.assert_close(Blur(shake=(0, 0), defocus=(0, 0))(clean, seeded(0)), clean, atol=1e-5, rtol=0)


# Noise


def test_noise_is_white_and_gaussian_with_the_sigma_asked_for() -> None:
    n = (Noise(sigma=(20, 20))(torch.full((3, 300, 300), 0.5), seeded(0)) - 0.5) * 255
    assert n.mean().item() == pytest.approx(0, abs=0.2)
    assert n.std().item() == pytest.approx(20, rel=0.003)
    assert (n / 20).pow(4).mean().item() == pytest.approx(3, rel=0.03)
    for shifted in (n.roll(1, 0), n.roll(1, 1), n.roll(1, 2)):
        assert (n * shifted).mean().item() / 400 == pytest.approx(0, abs=0.01)


def test_sigma_is_uniform_over_its_range() -> None:
    grey = torch.full((1, 64, 64), 0.5)
    sigmas = torch.stack([Noise(sigma=(10, 30))(grey, seeded(seed)).std() * 255 for seed in range(300)])
    assert sigmas.mean().item() == pytest.approx(20, abs=1)
    assert sigmas.std().item() == pytest.approx(20 / sqrt(12), rel=0.1)
    assert 9.5 < sigmas.min() < 11
    assert 29 < sigmas.max() < 31.5


# Haze


@quick
@given(clean=pictures(), seed=seeds, beta=st.floats(0.1, 3), airlight=st.floats(0.3, 1))
def test_haze_is_koschmieders_law(clean: Tensor, seed: int, beta: float, airlight: float) -> None:
    haze = Haze(beta=(beta, beta), airlight=(airlight, airlight))
    A = to_linear(torch.tensor(airlight))
    black, white, hazy = (to_linear(haze(scene, seeded(seed))) for scene in (clean * 0, clean * 0 + 1, clean))
    t = white - black
    assert t.min() >= exp(-beta) - 1e-4
    assert t.max() <= 1 + 1e-4
    torch.testing.assert_close(t, t[:1].expand_as(t), atol=1e-5, rtol=0)
    torch.testing.assert_close(black, A * (1 - t), atol=1e-4, rtol=0)
    torch.testing.assert_close(hazy, to_linear(clean) * t + A * (1 - t), atol=1e-4, rtol=0)


def test_haze_pulls_every_pixel_towards_the_airlight() -> None:
    clean = astronaut()
    for seed in range(10):
        hazy = Haze(airlight=(0.85, 0.85))(clean, seeded(seed))
        assert ((hazy - 0.85).abs() <= (clean - 0.85).abs() + 1e-5).all()
        assert (hazy - 0.85).abs().mean() < 0.9 * (clean - 0.85).abs().mean()


def test_haze_is_densest_at_the_top() -> None:
    t = torch.stack([Haze(beta=(1, 1)).transmission(64, 96, seeded(seed)) for seed in range(50)]).mean(0)
    assert t[0].mean() < exp(-0.85)
    assert t[-1].mean() > exp(-0.15)
    assert (t.mean(1).diff() > 0).all()


def test_clear_air_changes_nothing() -> None:
    clean = astronaut()
    torch.testing.assert_close(Haze(beta=(0, 0))(clean, seeded(0)), clean, atol=1e-5, rtol=0)


# Shadow


@quick
@given(seed=seeds, channels=st.integers(1, 4))
def test_shadow_leaves_lit_pixels_unchanged_and_darkens_the_others(seed: int, channels: int) -> None:
    clean = torch.rand(channels, 40, 56, generator=seeded(seed)).clamp(min=0.01)
    shadow = Shadow(penumbra=(3, 6))
    m = 1 - shadow(torch.ones(1, 40, 56), seeded(seed))[0]  # by what is missing in white
    bad = shadow(clean, seeded(seed))
    lit = m == 0
    assert 0.1 < lit.float().mean() < 0.9
    assert torch.equal(bad[:, lit], clean[:, lit])
    assert (bad[:, m > 0.01] < clean[:, m > 0.01]).all()


def test_shadow_takes_the_same_share_of_light_from_every_surface() -> None:
    clean = astronaut()
    left = to_linear(Shadow()(torch.ones_like(clean), seeded(5)))
    torch.testing.assert_close(to_linear(Shadow()(clean, seeded(5))), to_linear(clean) * left, atol=1e-5, rtol=0)


def test_umbra_keeps_the_ambient_light_bluish_in_rgb_only() -> None:
    shadow = Shadow(ambient=(0.3, 0.3), blue=(0.1, 0.1), penumbra=(2, 2))
    for channels, expected in ((1, [0.3]), (3, [0.27, 0.3, 0.33]), (4, [0.3] * 4)):
        left = to_linear(shadow(torch.ones(channels, 64, 64), seeded(0)))
        assert left.amin((1, 2)).tolist() == pytest.approx(expected, abs=1e-5)


@quick
@given(seed=seeds)
def test_the_mask_of_a_shadow_is_1_where_more_than_half_of_the_direct_light_is_gone(seed: int) -> None:
    shadow = Shadow(ambient=(0.2, 0.2), penumbra=(3, 6))
    white = torch.ones(1, 40, 56)
    found = shadow.example(white, seeded(seed))
    assert torch.equal(found["input"], shadow(white, seeded(seed)))
    light = to_linear(found["input"])  # 1 - 0.8 m
    assert set(found["mask"].unique().tolist()) == {0.0, 1.0}
    assert (light[found["mask"] == 1] <= 0.6 + 1e-5).all()
    assert (light[found["mask"] == 0] >= 0.6 - 1e-5).all()


@every
def test_an_example_holds_the_input_and_the_extras_that_are_declared(name: str) -> None:
    clean = astronaut()
    found = made(name).example(clean, seeded(3))
    assert torch.equal(found["input"], made(name)(clean, seeded(3)))
    shapes = {role: tuple(extra.shape) for role, extra in found.items() if role != "input"}
    assert shapes == {role: (channels, 64, 64) for role, channels in made(name).extras.items()}
    assert all(0 <= extra.min() <= extra.max() <= 1 for extra in found.values())


def test_the_mask_of_a_degradation_is_shown_to_the_network_and_missed_where_it_has_none() -> None:
    task = Paired(train="a", eval="b", degradation="shadow", shown=[{"role": "mask"}])
    record = {"target": np.full((64, 64, 3), 200, np.uint8)}
    example = task.example(record, (32, 48), seeded(0))
    assert task.extras == {"mask": 1}
    assert example["mask"].shape == (1, 32, 48)
    darker = (example["input"] < example["target"] - 0.05).any(0)
    assert darker[example["mask"][0] == 1].float().mean() > 0.9
    with pytest.raises(ShapeError, match=r"must give 'mask' as \(2, 32, 48\), float32, .*; gave \(1, 32, 48\)"):
        task.model_copy(update={"shown": (Shown(role="mask", channels=2),)}).example(record, (32, 48), seeded(0))
    with pytest.raises(DataError, match=r"task.shown wants \['mask'\], too"):
        Paired(train=Photos(), eval=Photos(), degradation="rain", shown=[{"role": "mask"}]).train_records()


def test_a_mask_that_source_and_degradation_give_is_refused(tmp_path) -> None:
    np.savez(tmp_path / "both.npz", target=np.zeros((1, 8, 8), np.uint8), mask=np.zeros((1, 8, 8), np.uint8))
    both = Arrays(path=tmp_path / "both.npz", extras=("mask",))
    task = Paired(train=both, eval=both, degradation="shadow", shown=[{"role": "mask"}])
    with pytest.raises(DataError, match=r"gives \['mask'\], and so does task.degradation"):
        task.train_records()


@pytest.mark.parametrize("area", [0.1, 0.5, 0.8])
def test_shadow_covers_the_area_asked_for(area: float) -> None:
    for seed in range(10):
        m = Shadow(area=(area, area)).mask(64, 96, seeded(seed))
        assert (m > 0.5).float().mean().item() == pytest.approx(area, abs=0.001)


def test_penumbra_is_as_wide_as_asked_for_in_pixels_at_every_size() -> None:
    for side in (64, 512):
        for width in (4, 16):
            soft = []
            for seed in range(40):
                m = Shadow(penumbra=(width, width), area=(0.5, 0.5)).mask(side, side, seeded(seed))
                outline = ((m[1:] > 0.5) != (m[:-1] > 0.5)).sum() + ((m[:, 1:] > 0.5) != (m[:, :-1] > 0.5)).sum()
                soft.append(((m > 0) & (m < 1)).sum() / (outline * pi / 4))  # Crofton: edges crossed to length
            assert torch.stack(soft).mean().item() == pytest.approx(width, rel=0.35)


def test_a_degradation_of_another_precision_is_told_so_before_a_network_sees_it() -> None:
    class Double(Noise):
        def __call__(self, clean: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            return clean.double()

    task = Paired(train="a", eval="b", degradation=Double())
    with pytest.raises(ShapeError, match=r"must give 'input' as \(3, 8, 8\), float32, .*; gave .* torch\.float64"):
        task.example({"target": np.full((8, 8, 3), 200, np.uint8)}, (8, 8), seeded(0))

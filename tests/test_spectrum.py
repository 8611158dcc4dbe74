"""Coefficients by frequency: the cosine transform, blur that grows, and sampling through it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch
from scipy.ndimage import gaussian_filter

import rddm
from rddm import SpecError
from rddm.core.heads import RES, clip_residual
from rddm.core.process import Path, Prediction, forward
from rddm.core.systems.train import losses
from rddm.core.systems.trajectory import trajectory
from rddm.samplers.sm_res import SMRes
from rddm.schedules.cold_blur import ColdBlur
from rddm.schedules.interpolant import Interpolant


@pytest.mark.parametrize("size", [(8, 8), (7, 12), (9,), (3, 4, 5)])
def test_the_transform_is_scipy_s_orthonormal_dct_and_comes_back(size):
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    spectrum = ColdBlur().path().spectrum
    want = scipy.fft.dctn(image.numpy(), axes=range(2, image.ndim), norm="ortho")
    torch.testing.assert_close(spectrum.to(image), torch.from_numpy(want), rtol=0, atol=1e-12)
    torch.testing.assert_close(spectrum.back(spectrum.to(image)), image, rtol=0, atol=1e-12)


def test_the_states_are_the_clean_image_under_a_growing_gaussian_blur():
    # scipy's filter on the same mirrored borders; its kernel is sampled and cut off, hence the tolerance
    clean = np.random.default_rng(0).normal(size=(24, 31))
    schedule = ColdBlur(T=10, sigma=5.0)
    path, spectrum = schedule.path().on(clean.shape), schedule.path().spectrum
    x0 = torch.from_numpy(clean)[None, None]
    blurred = torch.from_numpy(gaussian_filter(clean, 5.0, mode="reflect", truncate=8))[None, None]
    for t in (4, 7, 10):
        state = forward(spectrum.to(x0), spectrum.to(blurred), torch.zeros_like(x0), path[t])
        want = gaussian_filter(clean, 0.5 * t, mode="reflect", truncate=8)
        torch.testing.assert_close(spectrum.back(state)[0, 0], torch.from_numpy(want), rtol=0, atol=2e-3)


def test_every_frequency_starts_clean_ends_at_the_input_and_the_fastest_go_first():
    path = ColdBlur(T=20, sigma=3).path().on((6, 6))
    assert isinstance(path, Path)
    assert path.A.shape == (21, 6, 6)
    torch.testing.assert_close(path.B[-1], torch.ones(6, 6, dtype=torch.float64))
    assert (path.B.diff(dim=0) > -1e-15).all()
    assert path.B[10, 0, 0].item() == pytest.approx(0.25)  # (t / T)^2 at frequency 0
    assert path.B[10, 5, 5] > path.B[10, 1, 1] > path.B[10, 0, 0]


def trainer_of(**sampler):
    return rddm.build(
        {
            "task": {"name": "paired", "train": "a", "eval": "b", "channels": 1},
            "schedule": "cold-blur",
            "sampler": {"name": "sm-res", "clip": "none", **sampler},
            "backbone": {"name": "nafnet", "width": 8, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]},
        }
    )


@pytest.mark.parametrize("solver", ["first-order", "heun", "multistep"])
def test_a_network_that_knows_the_residual_leads_to_the_clean_image_in_any_number_of_steps(solver, monkeypatch):
    trainer = trainer_of(solver=solver)
    x0, x_in = torch.randn(2, 1, 1, 12, 10, dtype=torch.float64)
    network = trainer[rddm.core.network.Network]
    monkeypatch.setattr(type(network), "forward", lambda self, x, times, heads: {"res": x_in - x0})
    for steps in (1, 3, 50):
        *_, last = trajectory(trainer, x_in, steps=steps)
        torch.testing.assert_close(last.x, x0, rtol=0, atol=1e-10)
        torch.testing.assert_close(last.prediction.res, x_in - x0, rtol=0, atol=1e-10)


def test_the_network_sees_images_not_coefficients(monkeypatch):
    trainer, seen = trainer_of(steps=1), []
    x_in = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    network = trainer[rddm.core.network.Network]
    monkeypatch.setattr(type(network), "forward", lambda self, x, times, heads: seen.append(x) or {"res": x_in * 0})
    list(trajectory(trainer, x_in))
    torch.testing.assert_close(seen[0], torch.cat([x_in, x_in], dim=1), rtol=0, atol=1e-12)  # I_T is I_in


def test_a_clean_image_is_clipped_as_an_image():
    trainer = trainer_of().replace(SMRes(steps=1, clip="x0"))
    x_in = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    for weight in trainer[rddm.core.network.Network].parameters():
        torch.nn.init.constant_(weight, 0.1)
    with torch.inference_mode():
        *_, last = trajectory(trainer, x_in.float() * 3)
    assert last.x.abs().max() <= 1 + 1e-6


def test_a_residual_is_clipped_as_an_image(monkeypatch):
    trainer = trainer_of(steps=1, clip="residual")
    x_in = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    res = torch.full_like(x_in, 1.5)
    res[..., 0] = 0.25
    network = trainer[rddm.core.network.Network]
    monkeypatch.setattr(type(network), "forward", lambda self, x, times, heads: {"res": res})
    *_, last = trajectory(trainer, x_in)
    torch.testing.assert_close(last.prediction.res, res.clamp(max=1), rtol=0, atol=1e-10)


def test_the_posterior_variances_of_many_frequencies_are_one_table():
    path = ColdBlur(T=4).path().on((5, 6))
    assert path.posterior_variance.shape == (4, 5, 6)


def test_a_network_that_is_told_one_abar_for_all_refuses_a_path_that_has_many():
    with pytest.raises(SpecError, match=r"'path' needs one A and B for the whole image"):
        trainer_of(clock="path").restore(torch.rand(1, 8, 8))


def test_training_shows_blurred_images_and_asks_for_the_residual_as_an_image():
    trainer, shown = trainer_of(), []
    target = torch.rand(3, 1, 8, 8)
    given = blurred(target)

    def network(x, times):
        shown.append((x, times))
        return {"res": 2 * (given - target) + 0.25}

    batch = {"target": target, "input": given, "problems": []}
    found = losses(trainer, network, batch, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert found["res"].item() == pytest.approx(0.25, abs=1e-5)  # l1 of what was added
    [(x, times)] = shown
    for image, clean, t in zip(x[:, :1], target, times["res"][:, 0], strict=True):
        want = gaussian_filter(clean[0].double().numpy() * 2 - 1, 3 * t.item() / 50, mode="reflect", truncate=8)
        torch.testing.assert_close(image[0].double(), torch.from_numpy(want), rtol=0, atol=0.1)


def blurred(image):
    """The image under ColdBlur's whole blur, by the transform of Gaussians."""
    spectrum, squared = ColdBlur().path().spectrum, (torch.pi * torch.arange(8) / 8) ** 2
    return spectrum.back(spectrum.to(image) * torch.exp(-(squared[:, None] + squared) * 3.0**2 / 2))


def test_the_residual_cannot_be_clipped_where_the_state_holds_no_image():
    path = Interpolant(form="encoding-decoding", T=10).path()
    zero = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    with pytest.raises(SpecError, match=r"clip: 'residual' needs A \+ B above 0.*t = 5"):
        clip_residual(Prediction(zero, zero, zero), zero, path[5], zero, [RES])


def test_targets_by_frequency_are_no_noise_head_when_the_residual_is_clipped():
    path, t = ColdBlur(T=4).path().on((3, 3)), torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    node = path[2]
    found = clip_residual(Prediction(t, t + 3, t), t, node, t, [(node.A - 1, node.B, node.C)])
    torch.testing.assert_close(found.res, t + 1)

"""Golden numbers of the tables, and parity with diffusers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rddm import SpecError
from rddm.core.heads import decode
from rddm.core.process import forward, reverse_step
from rddm.samplers.sm_n import SMN
from rddm.schedules.ddim import DDIM
from rddm.schedules.power import Power


def test_the_default_is_alpha_falling_and_beta2_rising_linearly():
    path = Power().path()
    total = 1000 * 1001 / 2
    assert path.B[1].item() == pytest.approx(1000 / total, rel=1e-14)
    assert path.B[500].item() == pytest.approx(sum(range(501, 1001)) / total, rel=1e-14)
    assert path.B[999].item() == pytest.approx(1 - 1 / total, rel=1e-14)
    assert path.B[1000] == 1
    assert path.C[1].item() == pytest.approx((1 / total) ** 0.5, rel=1e-14)
    assert path.C[500].item() == pytest.approx((500 * 501 / 2 / total) ** 0.5, rel=1e-14)
    assert path.C[1000] == 1
    assert path.C[1] > 0
    assert path.B[999] < 1


@pytest.mark.parametrize(
    ("parameters", "abar", "bbar2"),
    [
        # T = 4, by hand
        ({}, [0, 0.4, 0.7, 0.9, 1], [0, 0.1, 0.3, 0.6, 1]),
        ({"alpha": "increasing", "beta2": "decreasing"}, [0, 0.1, 0.3, 0.6, 1], [0, 0.4, 0.7, 0.9, 1]),
        ({"alpha": "mean", "beta2": "mean", "beta_T2": 0.04}, [0, 0.25, 0.5, 0.75, 1], [0, 0.01, 0.02, 0.03, 0.04]),
        ({"alpha_power": 0, "beta2_power": 2}, [0, 0.25, 0.5, 0.75, 1], [0, 1 / 30, 5 / 30, 14 / 30, 1]),
        ({"grid": "linspace"}, [0, 0.5, 5 / 6, 1, 1], [0, 0, 1 / 6, 0.5, 1]),
        ({"beta_T2": 0}, [0, 0.4, 0.7, 0.9, 1], [0, 0, 0, 0, 0]),
    ],
)
def test_power_tables_by_hand(parameters, abar, bbar2):
    path = Power(T=4, **parameters).path()
    torch.testing.assert_close(path.B, torch.tensor(abar, dtype=torch.float64))
    torch.testing.assert_close(path.C**2, torch.tensor(bbar2, dtype=torch.float64))


@given(st.floats(0, 3), st.integers(2, 40), st.sampled_from(["cells", "linspace"]))
def test_decreasing_is_the_mirror_image_of_increasing(a, T, grid):
    up = Power(T=T, alpha="increasing", alpha_power=a, grid=grid).path().B.diff()
    down = Power(T=T, alpha="decreasing", alpha_power=a, grid=grid).path().B.diff()
    torch.testing.assert_close(up, down.flip(0), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    ("betas", "diffusers_name", "ends"),
    [("linear", "linear", (1e-4, 0.02)), ("scaled-linear", "scaled_linear", (8.5e-4, 0.012))],
)
def test_named_betas_are_those_of_diffusers(betas, diffusers_name, ends):
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(beta_schedule=diffusers_name, beta_start=ends[0], beta_end=ends[1]).alphas_cumprod
    ours = DDIM(betas=betas, beta_start=ends[0], beta_end=ends[1]).path().A[1:] ** 2
    torch.testing.assert_close(ours.float(), theirs, rtol=2e-5, atol=1e-7)


def test_squared_cosine_betas_are_those_of_diffusers():
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod
    ours = DDIM(betas="squared-cosine").path().A[1:] ** 2
    torch.testing.assert_close(ours.float(), theirs, rtol=1e-4, atol=1e-8)


def test_the_end_of_the_linear_ddim_path_still_holds_a_trace_of_the_image():
    path = DDIM().path()
    assert path.B[-1].item() == pytest.approx(0.993647, abs=1e-6)
    assert path.C[-1].item() == pytest.approx(0.999980, abs=1e-6)


@given(
    st.lists(st.floats(1e-4, 0.3), min_size=8, max_size=40),
    st.integers(1, 8),
    st.floats(0, 1),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_sampling_equals_the_ddim_scheduler_of_diffusers(betas, steps, eta, seed, clip):
    """With I_in = 0 and eta_RDDM = eta_DDIM^2, step by step, in float64, for random betas, steps and eta."""
    from diffusers import DDIMScheduler

    from rddm.core.heads import clip as clip_prediction

    T = len(betas)
    path = DDIM(betas=tuple(betas)).path()
    theirs = DDIMScheduler(T, trained_betas=np.array(betas), clip_sample=clip, set_alpha_to_one=True)
    theirs.alphas_cumprod = (1 - torch.tensor(betas, dtype=torch.float64)).cumprod(0)  # it rounds to float32
    theirs.final_alpha_cumprod = torch.ones((), dtype=torch.float64)
    stride = T // steps
    theirs.num_inference_steps = steps  # it finds a step's end by this stride
    nodes = [k * stride for k in range(steps, -1, -1)]
    generator = torch.Generator().manual_seed(seed)
    ours = other = torch.randn((2, 1, 3, 3), generator=generator, dtype=torch.float64)
    zero = torch.zeros_like(ours)
    noise_target = SMN().targets(path, path[1])["noise"]
    for now, to in itertools.pairwise(nodes):
        eps, z = (torch.randn(ours.shape, generator=generator, dtype=torch.float64) for _ in range(2))
        prediction = decode(ours, path[now], [(noise_target, eps)], zero)
        prediction = clip_prediction(prediction) if clip else prediction
        ours = reverse_step(prediction, path[now], path[to], eta**2, lambda z=z: z)
        other = theirs.step(eps, now - 1, other, eta=eta, variance_noise=z if eta > 0 else None).prev_sample
    torch.testing.assert_close(ours, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "path", "message"),
    [
        (lambda: Power(T=1), "T", "greater than or equal to 2"),
        (lambda: Power(beta_T2=-0.1), "beta_T2", "greater than or equal to 0"),
        (lambda: Power(alpha="linear"), "alpha", "'decreasing', 'increasing' or 'mean'"),
        (lambda: Power(alpha_power=float("nan")), "alpha_power", "finite"),
        (lambda: DDIM(betas=(0.1, 1.0)), "betas", "less than 1"),
        (lambda: DDIM(betas="cosine"), "betas", "squared-cosine"),
    ],
)
def test_parameters_out_of_range_are_refused_with_their_path(make, path, message):
    with pytest.raises(SpecError) as error:
        make()
    assert any(path in where and message in what for where, what in error.value.problems), str(error.value)


def test_the_forward_process_ends_at_the_input_with_the_asked_noise():
    path = Power(beta_T2=0.01).path()
    x0, x_in, eps = torch.randn(3, 1, 1, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(forward(x0, x_in, eps, path[1000]), x_in + 0.1 * eps)

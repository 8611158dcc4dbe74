"""The wider family: closed forms by hand, published posteriors, parity with diffusers, and tables of one's own."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import schedules, truth

from rddm import SpecError
from rddm.core.heads import NOISE, RES, decode
from rddm.core.process import Path, Prediction, forward, posterior_std, reverse_step
from rddm.schedules.bbdm import BBDM
from rddm.schedules.cold import Cold
from rddm.schedules.ddim import DDIM
from rddm.schedules.diffuir import DiffUIR
from rddm.schedules.flow import Flow
from rddm.schedules.i2sb import I2SB
from rddm.schedules.indi import InDI
from rddm.schedules.interpolant import Interpolant
from rddm.schedules.ir_sde import IRSDE
from rddm.schedules.power import Power
from rddm.schedules.resfusion import Resfusion
from rddm.schedules.resshift import ResShift
from rddm.schedules.table import Table
from rddm.schedules.truncated_normal import TruncatedNormal
from rddm.schedules.ve import VE
from rddm.schedules.vp import VP

BETAS = (0.1, 0.2, 0.3, 0.25, 0.4)


def close(a, b, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=torch.float64), rtol=tolerance, atol=tolerance)


def row(path: Path, t: int) -> list[float]:
    return [table[t].item() for table in (path.A, path.B, path.C, path.F)]


def ac(t: int, betas=BETAS) -> float:
    return math.prod(1 - beta for beta in betas[:t])


def bbdm_row(t, T=8, scale=0.7):
    return [1 - t / T, t / T, math.sqrt(2 * scale * t / T * (1 - t / T)), 1 - t / T]


def i2sb_row(t):
    ramp = [(math.sqrt(0.001) + i / 5 * (math.sqrt(1.2 / 6) - math.sqrt(0.001))) ** 2 for i in range(6)]
    betas = [*ramp[:3], *ramp[2::-1]]
    v, rest = sum(betas[:t]), sum(betas[t:])
    return [rest / (v + rest), v / (v + rest), math.sqrt(v * rest / (v + rest)), rest / (v + rest)]


def resshift_row(t):
    root = math.sqrt(0.001) * math.exp(math.log(0.999 / 0.001) / (2 * 9)) ** (((t - 1) / 9) ** 0.3 * 9) if t else 0
    return [1 - root**2, root**2, 2 * root, 1]


def ir_sde_row(t, theta, T=10):
    thetas = {
        "constant": [1] * (T + 1),
        "linear": [1e-4 + i / T * (0.02 - 1e-4) for i in range(T + 1)],
        "cosine": [
            1 - (math.cos((i / (T + 2) + 0.008) / 1.008 * math.pi / 2) / math.cos(0.008 / 1.008 * math.pi / 2)) ** 2
            for i in range(1, T + 2)
        ],
    }[theta]
    A = 0.005 ** (sum(thetas[1 : t + 1]) / sum(thetas[1:]))
    return [A, 1 - A, 0.3 * math.sqrt(1 - A * A), A]


def resfusion_row(t):
    # ac = .9, .72, .504, .378, .2268: the last is below 1/4, so the fifth row is 1/4
    c = math.sqrt([1, 0.9, 0.72, 0.504, 0.378, 0.25][t])
    return [2 * c - 1, 1 - c, math.sqrt(1 - c * c), c]


def diffuir_row(t):
    A, taken = math.sqrt(ac(t)), sum(0.01 + 0.01 * i for i in range(t))
    return [A, 1 - A - taken, math.sqrt(1 - ac(t)), 1]


def karras(u):
    return (0.002 ** (1 / 7) * (1 - u) + 80 ** (1 / 7) * u) ** 7


def coding_row(t):
    x = t / 6
    cosine, sine = math.cos(math.pi * x) ** 2, math.sin(math.pi * x) ** 2
    return [cosine if t < 3 else 0, cosine if t > 3 else 0, sine, (1 - x) ** 2]


def trig_row(t):
    x = t / 8
    A = math.cos(math.pi * x / 2)
    return [A, math.sin(math.pi * x / 2), math.sqrt(2 * x * (1 - x)), A]


CLOSED_FORMS = [
    (VP(betas=BETAS), lambda t: [math.sqrt(ac(t)), 0, math.sqrt(1 - ac(t)), math.sqrt(ac(t))]),
    (Cold(betas=BETAS), lambda t: [math.sqrt(ac(t)), math.sqrt(1 - ac(t)), 0, 1]),
    (DiffUIR(betas=BETAS, delta_start=0.01, delta_end=0.05), diffuir_row),
    (Resfusion(betas=BETAS), resfusion_row),
    (VE(T=9), lambda t: [1, 0, karras((t - 1) / 8) if t else 0, 1]),
    (
        VE(T=9, sigmas="geometric", sigma_min=0.01, sigma_max=50),
        lambda t: [1, 0, 0.01 * 5000 ** ((t - 1) / 8) if t else 0, 1],
    ),
    (Flow(T=8), lambda t: [1 - t / 8, 0, t / 8, 1]),
    (Flow(T=8, shift=3), lambda t: [1 - 3 * t / (8 + 2 * t), 0, 3 * t / (8 + 2 * t), 1]),
    (InDI(T=8, epsilon=0.2), lambda t: [1 - t / 8, t / 8, 0.2 * t / 8, max(t, 1) / 8]),
    (InDI(T=8, epsilon=0.2, noise="brownian"), lambda t: [1 - t / 8, t / 8, 0.2 * math.sqrt(t / 8), 1]),
    (I2SB(T=6, beta_start=0.001, beta_max=1.2), i2sb_row),
    (BBDM(T=8, scale=0.7), bbdm_row),
    (ResShift(T=10, eta_1=0.001), resshift_row),
    *[(IRSDE(T=10, theta=kind, level=0.3), lambda t, kind=kind: ir_sde_row(t, kind)) for kind in ("cosine", "linear")],
    (IRSDE(T=10, theta="constant", level=0.3), lambda t: ir_sde_row(t, "constant")),
    (Interpolant(T=8, a=1.4), bbdm_row),
    (Interpolant(T=8, form="trig"), trig_row),
    (Interpolant(T=6, form="encoding-decoding"), coding_row),
]


@pytest.mark.parametrize(("schedule", "by_hand"), CLOSED_FORMS, ids=lambda part: getattr(part, "name", ""))
def test_every_row_is_the_closed_form_by_hand(schedule, by_hand):
    path = schedule.path()
    for t in range(path.T + 1):
        assert row(path, t) == pytest.approx(by_hand(t), rel=1e-11, abs=1e-14), t


@pytest.mark.parametrize(
    ("schedule", "t", "golden"),
    [
        (TruncatedNormal(T=4, alpha_std=0.25), 1, [0.7417256272, 0.2582743728, None, 1]),
        (TruncatedNormal(T=4, alpha_std=0.25), 3, [0.0576288022, 0.9423711978, None, 1]),
        (TruncatedNormal(T=2, beta2_mean=0, beta2_std=0.5, beta_T2=4), 1, [None, None, 1.8083965010, 1]),
        (VE(T=3), 2, [1, 0, 2.5152189761, 1]),  # EDM's middle
        (I2SB(), 500, [0.5, 0.5, 0.1877679757, 0.5]),
        (Interpolant(T=4, form="trig"), 1, [0.92387953, 0.38268343, 0.61237244, 0.92387953]),
        (Interpolant(T=4, form="encoding-decoding"), 1, [0.5, 0, 0.5, 0.5625]),
        (ResShift(), 15, [0.001, 0.999, 1.99899975, 1]),
        (IRSDE(), 100, [0.005, 0.995, 0.39215196, 0.005]),
        (DiffUIR(), 1000, [0.00635282, 0.09314718, 0.99997982, 1]),
    ],
    ids=lambda part: getattr(part, "name", ""),
)
def test_golden_numbers(schedule, t, golden):
    for found, want in zip(row(schedule.path(), t), golden):
        assert want is None or found == pytest.approx(want, abs=1e-8)


@given(schedules(["truncated-normal"]))
def test_rates_of_the_truncated_normal_are_in_the_ratio_of_its_densities(schedule):
    rates, x = schedule.path().B.diff(), torch.arange(1, schedule.T + 1, dtype=torch.float64) / schedule.T
    logs = -((x - schedule.alpha_mean) ** 2) / (2 * schedule.alpha_std**2)
    close(rates * logs.exp().max(), rates.max() * logs.exp(), 1e-9)


@pytest.mark.parametrize(
    ("schedule", "end", "prior"),
    [
        # (A_T, B_T, C_T), and the weights of I_in and noise in the start
        (TruncatedNormal(beta_T2=0.01), (0, 1, 0.1), (1, 0.1)),
        (VP(betas="squared-cosine"), (0, 0, 1), (0, 1)),
        (VE(), (1, 0, 80), (0, 80)),
        (Flow(shift=3), (0, 0, 1), (0, 1)),
        (Resfusion(), (0, 0.5, math.sqrt(0.75)), (0.5, math.sqrt(0.75))),
        (DiffUIR(), (0.00635282, 0.09314718, 0.99997982), (0.0995, 0.99997982)),
        (DiffUIR(start_noise=0.1), (0.00635282, 0.09314718, 0.99997982), (0.0995, 0.1)),
        (InDI(), (0, 1, 0.01), (1, 0.01)),
        (I2SB(), (0, 1, 0), (1, 0)),
        (BBDM(), (0, 1, 0), (1, 0)),
        (ResShift(), (0.001, 0.999, 2 * math.sqrt(0.999)), (1, 2 * math.sqrt(0.999))),
        (IRSDE(), (0.005, 0.995, 100 / 255 * math.sqrt(1 - 0.005**2)), (1, 100 / 255)),
        (Cold(), (0, 1, 0), (1, 0)),
        *[(Interpolant(form=form), (0, 1, 0), (1, 0)) for form in ("linear", "trig", "encoding-decoding")],
    ],
    ids=lambda part: getattr(part, "name", ""),
)
def test_ends_and_starts(schedule, end, prior):
    path = schedule.path()
    assert row(path, path.T)[:3] == pytest.approx(end, abs=1e-4 if schedule.name in ("vp", "cold") else 1e-8)
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    start = path.start(one, zero).item(), path.start(zero, one).item()
    assert start == pytest.approx(prior, abs=1e-8)


def test_resfusion_ends_exactly_where_no_trace_of_the_image_is_left():
    path = Resfusion().path()
    assert path.T == 369
    assert path.A[-1] == 0
    assert (path.A[:-1] > 0).all()


def test_in_the_middle_of_encoding_decoding_there_is_noise_alone():
    assert row(Interpolant(form="encoding-decoding").path(), 500)[:3] == [0, 0, 1]


@pytest.mark.parametrize("schedule", [Flow(), Interpolant(form="encoding-decoding")], ids=["flow", "interpolant"])
def test_where_the_state_is_noise_alone_the_residual_is_taken_from_the_known_input(schedule):
    path = schedule.path()
    node = path[1000 if schedule.name == "flow" else 500]
    t = truth(0)
    found = decode(t.eps, node, [(RES, t.res), (NOISE, t.eps)], t.x0 + t.res)
    close(found.x0, t.x0)
    close(found.res, t.res)
    close(found.eps, t.eps)


def ddpm(t, s, x_t, x0, x_in, eps):
    beta, now, before = 1 - ac(t) / ac(s), ac(t), ac(s)
    mean = math.sqrt(before) * beta / (1 - now) * x0 + math.sqrt(1 - beta) * (1 - before) / (1 - now) * x_t
    return mean, (1 - before) / (1 - now) * beta


def ve(t, s, x_t, x0, x_in, eps):
    now, to = karras((t - 1) / 7), karras((s - 1) / 7)
    up = math.sqrt(to**2 * (now**2 - to**2) / now**2)
    return x_t + (x_t - x0) / now * (math.sqrt(to**2 - up**2) - now), up**2


def resfusion(t, s, x_t, x0, x_in, eps):
    alpha = ac(t) / ac(s)
    beta = 1 - alpha
    k = (1 - math.sqrt(alpha)) * math.sqrt(1 - ac(t)) / beta
    resnoise = eps + k * (x_in - x0)
    return (x_t - beta / math.sqrt(1 - ac(t)) * resnoise) / math.sqrt(alpha), (1 - ac(s)) / (1 - ac(t)) * beta


def diffuir(t, s, x_t, x0, x_in, eps):
    alpha = math.sqrt(ac(s)) - math.sqrt(ac(t))
    beta2, delta = ac(s) - ac(t), sum(0.01 + 0.01 * i for i in range(s, t))
    mean = x_t - alpha * (x_in - x0) + delta * x_in - beta2 / math.sqrt(1 - ac(t)) * eps
    return mean, beta2 * (1 - ac(s)) / (1 - ac(t))


def indi(t, s, x_t, x0, x_in, eps):
    e = {time: 0.2 / math.sqrt(time / 8) for time in (s, t)}
    return s / t * x_t + (1 - s / t) * x0, (s / 8) ** 2 * (e[s] ** 2 - e[t] ** 2)


def constant_indi(t, s, x_t, x0, x_in, eps):
    return s / t * x_t + (1 - s / t) * x0, 0.0


def i2sb(t, s, x_t, x0, x_in, eps):
    ramp = [(math.sqrt(0.001) + i / 5 * (math.sqrt(1.2 / 6) - math.sqrt(0.001))) ** 2 for i in range(6)]
    betas = [*ramp[:3], *ramp[2::-1]]
    gathered, step = sum(betas[:s]), sum(betas[s:t])
    return (step * x0 + gathered * x_t) / (step + gathered), step * gathered / (step + gathered)


def bbdm(t, s, x_t, x0, x_in, eps):
    m, n = t / 8, s / 8
    now, to = 1.4 * (m - m * m), 1.4 * (n - n * n)
    step = now - to * ((1 - m) / (1 - n)) ** 2
    c_x = to / now * (1 - m) / (1 - n) + step / now * (1 - n)
    c_y = n - m * (1 - m) / (1 - n) * to / now
    c_e = (1 - n) * step / now
    return c_x * x_t + c_y * x_in - c_e * (m * (x_in - x0) + math.sqrt(now) * eps), step * to / now


def resshift(t, s, x_t, x0, x_in, eps):
    now, to = resshift_row(t)[1], resshift_row(s)[1]
    return to / now * x_t + (now - to) / now * x0, 4 * to / now * (now - to)


def ir_sde(t, s, x_t, x0, x_in, eps):
    total, so_far = -math.log(ir_sde_row(t, "cosine")[0]), -math.log(ir_sde_row(s, "cosine")[0])
    step = total - so_far
    rest = 1 - math.exp(-2 * total)
    mean = (1 - math.exp(-2 * so_far)) / rest * math.exp(-step) * (x_t - x_in)
    mean = mean + (1 - math.exp(-2 * step)) / rest * math.exp(-so_far) * (x0 - x_in) + x_in
    return mean, 0.3**2 * (1 - math.exp(-2 * so_far)) * (1 - math.exp(-2 * step)) / rest


@pytest.mark.parametrize(
    ("schedule", "published", "T"),
    [
        (VP(betas=BETAS), ddpm, 5),
        (VE(T=8), ve, 8),
        (Resfusion(betas=BETAS), resfusion, 4),  # its last step is cut, so not the betas' own
        (DiffUIR(betas=BETAS, delta_start=0.01, delta_end=0.05), diffuir, 5),
        (InDI(T=8, epsilon=0.2, noise="brownian"), indi, 8),
        (InDI(T=8, epsilon=0.2), constant_indi, 8),
        (I2SB(T=6, beta_start=0.001, beta_max=1.2), i2sb, 6),
        (BBDM(T=8, scale=0.7), bbdm, 7),  # at the pinned end its coefficients are 0 / 0
        (ResShift(T=10, eta_1=0.001), resshift, 10),
        (IRSDE(T=10, level=0.3), ir_sde, 10),
    ],
    ids=lambda part: getattr(part, "name", getattr(part, "__name__", "")),
)
def test_eta_1_is_the_published_posterior(schedule, published, T):
    path = schedule.path()
    for s, t in itertools.combinations(range(1, T + 1), 2):
        true = truth(t)
        x_in = true.x0 + true.res
        x_t = forward(true.x0, x_in, true.eps, path[t])
        mean, variance = published(t, s, x_t, true.x0, x_in, true.eps)
        close(reverse_step(true, path[t], path[s], 1.0, lambda: torch.zeros(1)), mean, 1e-9)
        close(posterior_std(path[t], path[s], 1.0) ** 2, variance, 1e-12)


@given(st.integers(0, 2**31), st.integers(0, 4))
def test_cold_steps_mix_the_predicted_image_and_the_input_anew(seed, s):
    path, t = Cold(betas=BETAS).path(), truth(seed)
    by_hand = math.sqrt(ac(s)) * t.x0 + math.sqrt(1 - ac(s)) * (t.x0 + t.res)
    close(reverse_step(t, path[5], path[s]), by_hand)  # it draws nothing, and t.eps counts for nothing


def test_a_brownian_bridge_is_the_linear_interpolant():
    for a, b in zip(BBDM(scale=0.5).path().tables, Interpolant(a=1.0).path().tables):
        close(a, b)


def test_without_noise_indi_is_the_straight_line_between_the_images():
    path = InDI(T=4, epsilon=0).path()
    assert [row(path, t)[:3] for t in range(5)] == [[1 - t / 4, t / 4, 0] for t in range(5)]


@pytest.mark.parametrize("shift", [1.0, 3.0, 0.5])
def test_the_noise_of_flow_is_that_of_diffusers(shift):
    from diffusers import FlowMatchEulerDiscreteScheduler

    theirs = FlowMatchEulerDiscreteScheduler(shift=shift).sigmas
    torch.testing.assert_close(Flow(shift=shift).path().C[1:].flip(0).float(), theirs, rtol=1e-6, atol=0)


def test_sampling_along_flow_equals_the_euler_scheduler_of_diffusers():
    from diffusers import FlowMatchEulerDiscreteScheduler

    path, steps = Flow(T=10).path(), [10, 7, 4, 1, 0]
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[t / 10 for t in steps[:-1]])
    generator = torch.Generator().manual_seed(0)
    ours = torch.randn(1, 3, 4, 4, generator=generator, dtype=torch.float64)
    theirs = ours.float()
    for time, (now, to) in zip(scheduler.timesteps, itertools.pairwise(steps)):
        velocity = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
        x0 = ours - path.C[now] * velocity
        ours = reverse_step(Prediction(x0, -x0, x0 + velocity), path[now], path[to])
        theirs = scheduler.step(velocity.float(), time, theirs).prev_sample
        torch.testing.assert_close(ours.float(), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("sigmas", "diffusers_name"), [("karras", "karras"), ("geometric", "exponential")])
def test_the_noise_of_ve_is_that_of_edm_in_diffusers(sigmas, diffusers_name):
    from diffusers import EDMEulerScheduler

    scheduler = EDMEulerScheduler(sigma_schedule=diffusers_name)
    scheduler.set_timesteps(40)
    torch.testing.assert_close(VE(T=40, sigmas=sigmas).path().C.flip(0).float(), scheduler.sigmas)


@given(st.lists(st.floats(1e-4, 0.3), min_size=3, max_size=20), st.integers(0, 2**31))
def test_sampling_along_vp_equals_the_ddpm_scheduler_of_diffusers_whatever_the_input(betas, seed):
    from diffusers import DDPMScheduler

    path, T = VP(betas=tuple(betas)).path(), len(betas)
    scheduler = DDPMScheduler(T, trained_betas=np.array(betas), clip_sample=False, variance_type="fixed_small")
    scheduler.alphas_cumprod = (1 - torch.tensor(betas, dtype=torch.float64)).cumprod(0)  # it rounds to float32
    generator = torch.Generator().manual_seed(seed)
    ours, x_in = torch.randn(2, 1, 1, 3, 3, generator=generator, dtype=torch.float64)
    other = ours
    for t in range(T, 0, -1):
        eps = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
        z = torch.randn(ours.shape, generator=torch.Generator().manual_seed(t), dtype=torch.float64)
        x0 = (ours - path.C[t] * eps) / path.A[t]
        ours = reverse_step(Prediction(x0, x_in - x0, eps), path[t], path[t - 1], 1.0, lambda z=z: z)
        other = scheduler.step(eps, t - 1, other, generator=torch.Generator().manual_seed(t)).prev_sample
    torch.testing.assert_close(ours, other, rtol=1e-7, atol=1e-7)


def test_sigmoid_betas_are_those_of_diffusers():
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(beta_schedule="sigmoid", beta_start=2e-4, beta_end=0.03).alphas_cumprod
    ours = DDIM(betas="sigmoid", beta_start=2e-4, beta_end=0.03).path().A[1:] ** 2
    torch.testing.assert_close(ours.float(), theirs, rtol=2e-5, atol=1e-7)


@given(schedules(["ddim", "vp"]))
def test_betas_come_back_from_their_path(schedule):
    path = schedule.path()
    back = DDIM.from_path(path)
    close(back.path().A, path.A)
    close(back.path().C, path.C, 1e-10)
    if not isinstance(schedule.betas, str):
        assert back.betas == pytest.approx(schedule.betas, abs=1e-13)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (Power(T=4).path(), r"A\^2 \+ C\^2 must be 1 in every row, but misses it by -0\.61 at t = 2"),
        (VE(T=3).path(), r"misses it by 6\.4e\+03 at t = 3"),
        (Table(A=[1, 0.6, 0.0], B=[0, 0, 0], C=[0, 0.8, 1], F=[1, 0.6, 0]).path(), r"goes from 0\.6 to 0 at t=2"),
        (Table(A=[1, 0.6, -0.6], B=[0, 0, 0], C=[0, 0.8, 0.8]).path(), r"stay above 0, but goes from 0\.6 to -0\.6"),
    ],
)
def test_a_path_that_is_no_ddim_schedule_is_refused_with_the_row_and_the_amount(path, message):
    with pytest.raises(SpecError, match=message):
        DDIM.from_path(path)


def test_a_path_of_each_pixel_s_own_is_no_ddim_schedule():
    table = torch.linspace(0, 0.9, 4, dtype=torch.float64)[:, None].expand(4, 2)
    with pytest.raises(SpecError, match="one beta for all pixels"):
        DDIM.from_path(Path((1 - table**2).sqrt(), torch.zeros_like(table), table, torch.ones_like(table)))


@pytest.mark.parametrize(
    ("make", "where", "message"),
    [
        (lambda: TruncatedNormal(alpha_std=0), "alpha_std", "greater than or equal to 0.001"),
        (lambda: TruncatedNormal(beta2_mean=1.1), "beta2_mean", "less than or equal to 1"),
        (lambda: VP(betas=(0.1, 1.0)), "betas", "less than 1"),
        (lambda: VE(sigma_min=0), "sigma_min", "greater than 0"),
        (lambda: VE(sigma_min=90), "sigma_min", "at most sigma_max = 80.0"),
        (lambda: Flow(shift=0), "shift", "greater than 0"),
        (lambda: Resfusion(betas=(0.1, 0.1)), "betas", "down to 1/2, but end at 0.9"),
        (lambda: DiffUIR(start_noise=-1), "start_noise", "greater than or equal to 0"),
        (lambda: InDI(noise="white"), "noise", "'constant' or 'brownian'"),
        (lambda: I2SB(beta_max=0), "beta_max", "greater than 0"),
        (lambda: BBDM(scale=-1), "scale", "greater than or equal to 0"),
        (lambda: ResShift(eta_1=0.9, eta_T=0.8), "eta_1", "at most eta_T = 0.8"),
        (lambda: ResShift(T=1), "T", "greater than or equal to 2"),
        (lambda: IRSDE(end=0), "end", "greater than 0"),
        (lambda: Cold(betas="cosine"), "betas", "squared-cosine"),
        (lambda: Interpolant(form="spline"), "form", "'linear', 'trig' or 'encoding-decoding'"),
        (lambda: Interpolant(a=math.inf), "a", "finite"),
    ],
)
def test_parameters_out_of_range_are_refused_with_their_place(make, where, message):
    with pytest.raises(SpecError) as error:
        make()
    assert any(where in place and message in what for place, what in error.value.problems), str(error.value)


ABAR, BBAR = [0.0, 0.4, 0.7, 1.0], [0.0, 0.1, 0.3, 0.5]


def write(file, columns):
    if file.suffix == ".json":
        file.write_text(json.dumps(columns))
    elif file.suffix == ".npz":
        np.savez(file, **{key: np.array(column) for key, column in columns.items()})
    elif file.suffix == ".npy":
        np.save(file, np.array(list(columns.values())).T)
    else:
        rows = [columns, *zip(*columns.values())]
        file.write_text("\n".join(", ".join(map(str, row)) for row in rows) + "\n")
    return file


@pytest.mark.parametrize("suffix", [".csv", ".json", ".npz", ".npy"])
def test_a_table_from_a_file_is_the_table_of_its_numbers(tmp_path, suffix):
    dual = Table(file=write(tmp_path / f"dual{suffix}", {"abar": ABAR, "bbar": BBAR}))
    assert dual == Table(abar=ABAR, bbar=BBAR)
    assert [row(dual.path(), t) for t in (0, 2)] == [[1, 0, 0, 1], pytest.approx([0.3, 0.7, 0.3, 1])]
    columns = {"A": [1, 0.5, 0.25], "B": [0, 0.2, 0.1], "C": [0, 0.5, 0.4], "F": [1, 0.5, 0.25]}
    full = Table(file=write(tmp_path / f"full{suffix}", columns), prior=(0.35, 0.4))
    assert full == Table(**columns, prior=(0.35, 0.4))
    assert row(full.path(), 1) == [0.5, 0.2, 0.5, 0.5]
    assert full.path().prior == (0.35, 0.4)


def test_a_table_needs_its_file_no_more_once_it_is_read(tmp_path):
    file = write(tmp_path / "mine.csv", {"t": [0, 1, 2, 3], "abar": ABAR, "bbar": BBAR})
    table = Table(file=file)
    file.unlink()
    assert Table(**table.model_dump(mode="json")) == table


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "as abar, bbar or as A, B, C; given neither"),
        ({"abar": ABAR}, "given abar"),
        ({"abar": ABAR, "bbar": BBAR, "A": ABAR}, "given A, abar, bbar"),
        ({"A": [1, 0.5], "C": [0, 0.5]}, "given A, C"),
        ({"abar": ABAR, "bbar": BBAR[:3]}, "one for each t = 0 .. T; given abar 4, bbar 3"),
        ({"abar": ABAR, "bbar": BBAR, "F": [1, 1]}, "given F 2, abar 4, bbar 4"),
        ({"abar": ABAR[1:], "bbar": BBAR[1:]}, "abar: must be 0 in row 0, the clean image, but is 0.4; put a row of 0"),
        ({"abar": ABAR, "bbar": [0.1, 0.2, 0.3, 0.4]}, "bbar: must be 0 in row 0"),
        ({"abar": [0, 0.5, 0.4, 1], "bbar": BBAR}, "abar: must never fall, but goes from 0.5 at t = 1 to 0.4"),
        ({"abar": ABAR, "bbar": [0, 0.1, 0.3, 0.2]}, "bbar: must never fall, but goes from 0.3 at t = 2 to 0.2"),
        ({"abar": [0, 0.5, -0.1, 1], "bbar": BBAR}, "abar: is a sum of rates that are at least 0, but -0.1 at t = 2"),
        ({"abar": [0, math.nan, 0.7, 1], "bbar": BBAR}, "abar.1: Input should be a finite number"),
        ({"A": [0.9, 0.5], "B": [0, 0.5], "C": [0, 1]}, "t = 0 must be the clean image"),
        ({"A": [1, 0.5], "B": [0, 0.5], "C": [0, -1]}, "C, a standard deviation, is negative at t = 1"),
        ({"A": [1, 0.5, 0.2], "B": [0, 0.5, 0.8], "C": [0, 1, 0.5]}, "the noise level C / F falls from t = 1"),
        ({"A": [1], "B": [0], "C": [0]}, "at least 2"),
    ],
)
def test_numbers_that_are_no_path_are_refused_with_the_reason(columns, message):
    with pytest.raises(SpecError) as error:
        Table(**columns)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "none.csv cannot be read: No such file"),
        ("table.txt", "abar,bbar\n", "must be one of .csv, .json, .npz, .npy; given 'table.txt'"),
        ("empty.csv", "", "must have the columns abar, bbar or A, B, C; it has none"),
        ("half.csv", "t,abar\n0,0\n1,1\n", "it has t, abar"),
        ("short.csv", "abar,bbar\n0,0\n1\n", "row 1 has 1 cells, but the header 2"),
        ("text.csv", "abar,bbar\n0,0\none,1\n", "abar.1: Input should be a valid number"),
        ("nan.csv", "abar,bbar\n0,0\nnan,1\n", "abar.1: Input should be a finite number"),
        ("list.json", "[1, 2]", "must hold an object of columns, but holds a list"),
        ("cut.json", "{", "is no .json table"),
        ("cut.npz", "PK", "is no .npz table"),
        ("cut.npy", "x", "is no .npy table"),
    ],
)
def test_files_that_are_no_table_are_refused_with_the_reason(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SpecError) as error:
        Table(file=tmp_path / name)
    assert message in str(error.value)


def test_an_array_of_five_columns_is_refused(tmp_path):
    np.save(tmp_path / "wide.npy", np.zeros((3, 5)))
    with pytest.raises(SpecError, match=r"given \(3, 5\)"):
        Table(file=tmp_path / "wide.npy")


def test_columns_beside_a_file_are_refused(tmp_path):
    file = write(tmp_path / "mine.csv", {"abar": ABAR, "bbar": BBAR})
    with pytest.raises(SpecError, match="so bbar cannot be given beside it"):
        Table(file=file, bbar=BBAR)


def test_a_table_of_betas_has_a_t_of_its_own_and_refuses_another():
    schedule = DDIM(betas=(0.1, 0.2, 0.3))
    assert schedule.T == schedule.path().T == 3
    assert DDIM(**schedule.model_dump()) == schedule
    with pytest.raises(SpecError, match="a table of 3 betas has T = 3; given T = 1000"):
        DDIM(betas=(0.1, 0.2, 0.3), T=1000)

"""Solvers on a problem whose exact solution is known: how fast their error falls, and what they equal elsewhere."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import pytest
import torch
from gaussian import T, fine, scalar_schedules
from hypothesis import given
from hypothesis import strategies as st
from strategies import component, truth

import rddm
from rddm import SpecError
from rddm.core import registry
from rddm.core.heads import decode
from rddm.core.kinds import Grid, Solver
from rddm.core.process import Path, Prediction, forward
from rddm.samplers.sm_x0 import SMX0
from rddm.samplers.velocity import Velocity
from rddm.schedules.bbdm import BBDM
from rddm.schedules.cold import Cold
from rddm.schedules.ddim import DDIM
from rddm.schedules.diffuir import DiffUIR
from rddm.schedules.flow import Flow
from rddm.schedules.i2sb import I2SB
from rddm.schedules.indi import InDI
from rddm.schedules.interpolant import Interpolant
from rddm.schedules.power import Power
from rddm.solvers.first_order import FirstOrder
from rddm.solvers.heun import Heun
from rddm.solvers.kappa import Kappa
from rddm.solvers.multistep import Multistep
from rddm.testing._gaussian import Gaussian
from rddm.testing.strategies import built_in

FORMS = [
    {"name": "power", "alpha": "increasing"},
    {"name": "power", "alpha": "mean", "beta2": "mean"},
    {"name": "power", "beta2": "decreasing"},
    {"name": "power", "beta_T2": 0.01},
    {"name": "power", "beta_T2": 0.0},
    {"name": "power", "grid": "linspace", "alpha_power": 0.5},
    {"name": "ddim", "betas": "squared-cosine"},
    {"name": "ve", "sigmas": "geometric"},
    {"name": "indi", "noise": "brownian"},
    {"name": "interpolant", "form": "trig"},
    {"name": "interpolant", "form": "encoding-decoding"},
    {"name": "flow", "shift": 3.0},
]
CASES = [{"name": name} for name in scalar_schedules()] + FORMS
#: Of every solver of the path's own flow; kappa has other marginals, and its own tests.
ORDERS = {"first-order": 1, "posterior": 1, "heun": 2, "multistep": 2}
SOLVERS = [name for name in built_in("solver") if name != "kappa"]


@cache
def problem_of(name: str, *keys: tuple[str, object]) -> Gaussian:
    return Gaussian(fine(name, **dict(keys)).path())


def problem(keys: dict[str, object]) -> Gaussian:
    name, *others = keys.items()
    return problem_of(name[1], *others)


@pytest.mark.parametrize("keys", CASES, ids=lambda keys: " ".join(map(str, keys.values())))
@pytest.mark.parametrize("name", SOLVERS)
def test_the_error_falls_with_the_order_of_the_solver_inside_and_on_the_whole_way(name, keys):
    """Uniform in t between the ends, and equal in arc length from T to 0, where bbar can have an infinite slope."""
    case, solver, order = problem(keys), registry.load(Solver, name)(), ORDERS[name]
    if not case.path.C.any():  # without noise the state says exactly what the clean image is
        assert max(case.errors(solver, "inside")) < 1e-10
        traced = case.path.A[-1] > 0
        found = case.solve(solver, component(Grid, "arc-length").times(case.path, 40))
        # where no trace of it is left at T, there is nothing random to tell images apart by
        torch.testing.assert_close(found, case.state(0) if traced else case.mean, rtol=0, atol=1e-8)
        return
    # noise like sqrt(t (1 - t)) has an infinite slope at both of a bridge's ends, of which one is pinned
    bridge = bool(case.path.C[-1] == 0)
    low, high = (0.3 if bridge else 0.12) if order == 2 else 0.05, 1.0 if order == 2 else 0.05
    for grid in ("inside", "arc-length"):
        measured = case.order(solver, grid)
        assert order - low < measured < order + high, (grid, measured)


def test_second_order_is_lost_on_a_uniform_grid_where_noise_rises_like_sqrt_t_and_comes_back_at_equal_arc_lengths():
    for beta2 in ("mean", "decreasing"):
        case = problem({"name": "power", "beta2": beta2})
        uniform, arc = (case.errors(Multistep(), grid)[1] for grid in ("uniform", "arc-length"))
        assert case.order(Multistep(), "uniform") < 1.8
        assert case.order(Multistep(), "arc-length") > 1.9
        assert arc < 0.35 * uniform


@pytest.mark.parametrize("coordinate", ["angle", "log-snr"])
@pytest.mark.parametrize("keys", [{"name": "power"}, {"name": "ddim"}, {"name": "ir-sde"}, {"name": "resfusion"}])
def test_one_head_and_the_input_are_enough_for_second_order_inside(keys, coordinate):
    order = problem(keys).order(Multistep(coordinate=coordinate), "inside")
    assert 1.85 < order < 2.3
    coarse, fine = problem(keys).errors(Multistep(coordinate=coordinate), "arc-length")
    assert fine < 0.25 * coarse  # of order 1 to 2, where the coordinate, or its slope, has an end


@pytest.mark.parametrize("name", ["heun", "multistep"])
def test_second_order_reaches_the_clean_image_closer_than_first_order_at_equal_evaluations(name):
    case = problem({"name": "power"})
    for evaluations in (20, 40, 80):
        steps = evaluations // 2 if name == "heun" else evaluations
        (second,) = case.errors(registry.load(Solver, name)(), "uniform", (steps,))
        (first,) = case.errors(FirstOrder(), "uniform", (evaluations,))
        assert second < 0.35 * first


def test_multistep_limits_its_ratio_and_may_end_at_first_order():
    case = problem({"name": "power"})
    nodes = [T, T - 400, T // 2, 0]  # the second step is 124 times the first
    limited, free = (case.solve(Multistep(limit=limit), nodes) for limit in (2.5, 1e9))
    assert not torch.allclose(limited, free)
    first = case.solve(FirstOrder(), nodes)
    torch.testing.assert_close(case.solve(Multistep(limit=0), nodes), first)
    two = [T, T // 2, 0]
    torch.testing.assert_close(case.solve(Multistep(lower_last=True), two), case.solve(FirstOrder(), two))


def test_multistep_by_hand():
    """Two steps of the split form on numbers, with the formula written out."""
    path = Path.dual(*torch.tensor([[0.0, 0.2, 0.5, 1.0], [0.0, 0.1, 0.6, 0.8]], dtype=torch.float64))
    past, now = (Prediction(*torch.tensor(v, dtype=torch.float64)[:, None, None]) for v in ([1, 2, 3], [1.5, 2.5, 5]))
    x = torch.full((1, 1), 0.5 * 2.5 + 1.5 + 0.6 * 5, dtype=torch.float64)
    state, *_ = Multistep().step(x, path[2], path[1], lambda x, node: now, None, 0.0, (path[3], past))
    res = 2.5 + (0.2 - 0.5) / (0.5 - 1.0) * (2.5 - 2) / 2
    eps = 5 + 2.5 * (5 - 3) / 2  # the ratio is (0.1 - 0.6) / (0.6 - 0.8) = 2.5, the limit
    torch.testing.assert_close(state, x + (0.2 - 0.5) * res + (0.1 - 0.6) * eps)


def test_heun_is_deterministic_only_and_evaluates_twice_but_for_the_last_step():
    case = Gaussian(Power(T=100).path())
    with pytest.raises(SpecError, match="eta: must be 0 for the solver heun; given 0.5"):
        Heun().step(case.state(100), case.path[100], case.path[0], case.predict, None, 0.5, None)
    calls = []
    predict = case.predict
    case.predict = lambda x, node: (calls.append(1), predict(x, node))[1]
    case.solve(Heun(), [100, 50, 0])
    assert len(calls) == 3


def test_a_spec_takes_any_solver_by_name():
    for name in built_in("solver"):
        trainer = rddm.build(
            {
                "task": {"name": "paired", "train": "a", "eval": "b"},
                "sampler": {"name": "sm-res", "steps": 4, "solver": name},
                "backbone": {"name": "nafnet", "width": 8, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]},
            }
        )
        assert trainer.restore(torch.rand(3, 9, 9)).isfinite().all()


# ------------------------------------------------------------------------------------------------ kappa
RULES = st.sampled_from(["one", "zero", "input"])
IN_STATE = [Power(T=20), InDI(T=20), I2SB(T=20), BBDM(T=20), Cold(T=20), Interpolant(T=20, form="trig")]


@given(st.sampled_from(IN_STATE), RULES, st.floats(0, 1), st.integers(0, 99), st.sets(st.integers(1, 19), max_size=5))
def test_kappa_returns_the_image_that_an_oracle_knows(schedule, rule, eta, seed, inner):
    path, t = schedule.path(), truth(seed)
    x_in, generator = t.x0 + t.res, torch.Generator().manual_seed(seed)
    oracle = SMX0().targets(path, path[1])["x0"]
    x, nodes = forward(t.x0, x_in, t.eps, path[20]), [20, *sorted(inner, reverse=True), 0]
    for now, to in pairwise(nodes):
        x, _, _ = Kappa(rule=rule).step(
            x,
            path[now],
            path[to],
            lambda x, node: decode(x, node, [(oracle, t.x0)], x_in),
            lambda: torch.randn(x_in.shape, generator=generator, dtype=torch.float64),
            eta,
            None,
        )
    torch.testing.assert_close(x, t.x0, rtol=0, atol=1e-10)


def step_of(rule, schedule, now, to, eta=0.0, seed=0):
    """(I_s, I_t, x0, I_in, z) of one step with some prediction of the clean image."""
    path, t = schedule.path(), truth(seed)
    x, z = truth(seed + 1).x0, truth(seed + 2).x0
    found = Prediction(t.x0, t.res, torch.full_like(x, torch.nan))  # no noise estimate enters
    state, *_ = Kappa(rule=rule).step(x, path[now], path[to], lambda x, node: found, lambda: z, eta, None)
    return state, x, t.x0, t.x0 + t.res, z


@given(st.integers(2, 20), st.data())
def test_kappa_one_is_cold_diffusions_improved_sampling_and_zero_its_plain_one(now, data):
    to, seed = data.draw(st.integers(0, now - 1)), data.draw(st.integers(0, 99))
    schedule = Cold(T=20)
    ac = (1 - schedule._table()).cumprod(0)

    def degraded(x0, x_in, t):
        return x0 if t == 0 else ac[t - 1].sqrt() * x0 + (1 - ac[t - 1]).sqrt() * x_in

    state, x, x0, x_in, _ = step_of("one", schedule, now, to, seed=seed)
    torch.testing.assert_close(state, x - degraded(x0, x_in, now) + degraded(x0, x_in, to))
    state, _, x0, x_in, _ = step_of("zero", schedule, now, to, seed=seed)
    torch.testing.assert_close(state, degraded(x0, x_in, to))


@given(st.integers(2, 20), st.data())
def test_kappa_one_is_the_published_step_of_diffuir_whose_noise_is_not_removed(now, data):
    to, seed = data.draw(st.integers(1, now - 1)), data.draw(st.integers(0, 99))
    schedule = DiffUIR(T=20)
    path = schedule.path()
    state, x, x0, x_in, _ = step_of("one", schedule, now, to, seed=seed)
    abar, dbar = 1 - path.A, 1 - path.A - path.B
    res = x_in - x0
    torch.testing.assert_close(state, x - (abar[now] - abar[to]) * res + (dbar[now] - dbar[to]) * x_in)
    assert torch.equal(step_of("one", schedule, now, 0, seed=seed)[0], x0)


@pytest.mark.parametrize("noise", ["constant", "brownian"])
@given(st.integers(2, 20), st.data())
def test_kappa_input_is_indi(noise, now, data):
    to, seed = data.draw(st.integers(0, now - 1)), data.draw(st.integers(0, 99))
    state, x, x0, _, z = step_of("input", InDI(T=20, noise=noise, epsilon=0.3), now, to, eta=1.0, seed=seed)
    t, s = now / 20, to / 20
    spread = 0.0 if noise == "constant" or s == 0 else s * math.sqrt(0.3**2 / s - 0.3**2 / t)
    torch.testing.assert_close(state, s / t * x + (1 - s / t) * x0 + spread * z)


@given(st.integers(2, 20), st.data())
def test_kappa_input_without_noise_is_the_transport_of_i2sb(now, data):
    to, seed = data.draw(st.integers(0, now - 1)), data.draw(st.integers(0, 99))
    path = I2SB(T=20).path()
    state, x, x0, _, _ = step_of("input", I2SB(T=20), now, to, seed=seed)
    # of a bridge without noise, mu_t = (1 - w_t) x0 + w_t I_in, conditioned on I_t instead of I_in
    share = path.B[to] / path.B[now]
    torch.testing.assert_close(state, share * x + (1 - share) * x0)


@given(st.sampled_from([BBDM(T=20), InDI(T=20, noise="brownian")]), st.integers(2, 20), st.data())
def test_kappa_input_at_eta_1_keeps_the_marginal_variance(schedule, now, data):
    to = data.draw(st.integers(1, now - 1))
    path, zero = schedule.path(), torch.zeros(1, 1, dtype=torch.float64)
    nothing = Prediction(zero, zero, zero)
    kept, drawn = (
        Kappa(rule="input").step(x, path[now], path[to], lambda *_: nothing, lambda z=z: z, 1.0, None)[0]
        for x, z in ((path.C[now].reshape(1, 1), zero), (zero, zero + 1))
    )
    torch.testing.assert_close(kept**2 + drawn**2, (path.C[to] ** 2).reshape(1, 1))


def test_kappa_zero_at_eta_1_draws_all_noise_anew():
    state, _, x0, x_in, z = step_of("zero", Power(T=20), 9, 4, eta=1.0)
    torch.testing.assert_close(state, forward(x0, x_in, z, Power(T=20).path()[4]))


def test_kappa_input_needs_the_input_in_the_state():
    with pytest.raises(SpecError, match=r"solver\.rule: 'input' needs I_in in the state, but B = 0 at t = 9"):
        step_of("input", Flow(T=20), 9, 4)


# ---------------------------------------------------------------------------- independent implementations
def network(x, t):
    """Some nonlinear function of the state and the time, as a network is."""
    return torch.tanh(1.3 * x.roll(1, -1) - 0.7 * x + 0.01 * t) + 0.2 * x


@pytest.mark.parametrize("last", [0, 20])
@pytest.mark.parametrize("eta", [0, 1])
def test_multistep_in_log_snr_is_the_second_order_dpm_solver_of_diffusers(eta, last):
    """dpmsolver++ (2M, midpoint) and sde-dpmsolver++, in float64, over uneven steps, for an arbitrary network."""
    from diffusers import DPMSolverMultistepScheduler

    path = DDIM().path()
    nodes = [981, 900, 760, 700, 500, 320, 300, 150, 60, 20] + [0] * (last == 0)
    theirs = DPMSolverMultistepScheduler(
        solver_order=2, algorithm_type="sde-dpmsolver++" if eta else "dpmsolver++", solver_type="midpoint"
    )
    theirs.sigmas = path.C[nodes] / path.A[nodes]  # at any times, and not rounded to float32
    generator = torch.Generator().manual_seed(0)
    ours = other = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    zero, memory, images = torch.zeros_like(ours), None, [None, None]
    for i, (now, to) in enumerate(pairwise(nodes)):
        z = torch.randn(ours.shape, generator=generator, dtype=torch.float64)

        def predict(x, node):
            return decode(x, node, [((0.0, 0.0, 1.0), network(x, node.t))], zero)

        ours, _, memory = Multistep(coordinate="log-snr", limit=1e9).step(
            ours, path[now], path[to], predict, lambda z=z: z, eta, memory
        )
        theirs._step_index = i
        images = [images[1], theirs.convert_model_output(network(other, path[now].t), sample=other)]
        if i == 0 or to == 0:
            other = theirs.dpm_solver_first_order_update(images[1], sample=other, noise=z)
        else:
            other = theirs.multistep_dpm_solver_second_order_update(images, sample=other, noise=z)
    torch.testing.assert_close(ours, other, rtol=1e-11, atol=1e-11)


@given(st.floats(0.3, 5), st.integers(1, 20))
def test_first_order_on_the_flow_schedule_is_the_euler_scheduler_of_diffusers(shift, steps):
    from diffusers import FlowMatchEulerDiscreteScheduler

    path = Flow(T=1000, shift=shift).path()
    nodes = [1000 * k // steps for k in range(steps, -1, -1)]
    theirs = FlowMatchEulerDiscreteScheduler()
    theirs.set_timesteps(sigmas=[path.C[t].item() for t in nodes[:-1]])
    ours = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    other, zero = ours.float(), torch.zeros_like(ours)
    for (now, to), time in zip(pairwise(nodes), theirs.timesteps):

        def predict(x, node):
            target = Velocity().targets(path, node)["velocity"]
            # the derivative by t/T, of which the scheduler wants that by sigma
            return decode(x, node, [(target, network(x, node.t) * 1000 * (node.C - path[int(node.t) - 1].C))], zero)

        ours, *_ = FirstOrder().step(ours, path[now], path[to], predict, None, 0.0, None)
        other = theirs.step(network(other, torch.tensor(now)), time, other).prev_sample
    torch.testing.assert_close(ours.float(), other, rtol=2e-5, atol=2e-5)


def test_the_velocity_of_the_flow_schedule_is_noise_minus_image():
    path, t = Flow(T=50).path(), truth(0)
    for node in (path[1], path[17], path[50]):
        p, q, r = Velocity().targets(path, node)["velocity"]
        torch.testing.assert_close(p * t.x0 + r * t.eps, t.eps - t.x0)
        assert q == 0

"""The mathematics: what must hold for every registered schedule and sampler, in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import samplers, schedules, times, truth

from rddm import ShapeError, SpecError
from rddm.core import registry
from rddm.core.heads import clip, decode
from rddm.core.kinds import Sampler, Schedule, Solver
from rddm.core.process import Path, forward, forward_step, reverse_step
from rddm.testing import _laws as laws
from rddm.testing.strategies import built_in, etas, seeds, shapes


def close(a: torch.Tensor, b: torch.Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=atol)


@given(schedules())
def test_a_path_starts_at_the_clean_image_and_its_noise_level_never_falls(schedule):
    laws.starts_clean_and_its_noise_never_falls(schedule.path())


@given(schedules(["power", "truncated-normal", "ddim"]))
def test_residual_and_noise_of_a_residual_schedule_only_grow(schedule):
    path = schedule.path()
    assert (path.C.diff() >= -1e-15).all()
    assert (path.B.diff() >= -1e-15).all()
    assert path.B[-1] <= 1 + 1e-12
    close(path.A + path.B, torch.ones_like(path.A))


@given(schedules(), st.data())
def test_the_chain_has_the_mean_and_the_variance_of_the_closed_form(schedule, data):
    path = schedule.path()
    nodes = data.draw(times(path.T))[::-1]
    laws.the_chain_has_the_moments_of_the_closed_form(path, nodes, truth(data.draw(seeds)))


def test_the_sampled_chain_matches_the_closed_form_in_distribution():
    path = registry.load(Schedule, "power")(T=20).path()
    generator = torch.Generator().manual_seed(0)
    x0, x_in = torch.full((200_000, 1), 0.7, dtype=torch.float64), torch.full((200_000, 1), -0.4, dtype=torch.float64)
    x = x0
    for t in range(1, 15):
        z = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        x = forward_step(x, x0, x_in, z, path[t - 1], path[t])
    node = path[14]
    assert x.mean().item() == pytest.approx((0.7 * node.A - 0.4 * node.B).item(), abs=0.01)
    assert x.std().item() == pytest.approx(node.C.item(), rel=0.01)


@given(schedules(), seeds, etas, st.data())
def test_oracle_predictions_walk_back_to_the_clean_image_over_any_steps(schedule, seed, eta, data):
    path = schedule.path()
    nodes = data.draw(times(path.T))
    laws.the_truth_walks_back_to_the_clean_image(path, nodes, eta, truth(seed, data.draw(shapes)), seed)


@given(schedules(), samplers(), st.sampled_from(built_in("solver")), seeds, etas, st.data())
def test_every_sampler_and_solver_with_an_oracle_network_returns_the_clean_image(
    schedule, sampler, solver, seed, eta, data
):
    path = schedule.path()
    nodes = data.draw(times(path.T))
    eta = 0.0 if solver == "heun" else eta  # which is deterministic
    laws.an_oracle_samples_the_clean_image(path, sampler, registry.load(Solver, solver)(), nodes, eta, seed)


@given(schedules(), samplers(), seeds, st.data())
def test_decoding_what_was_encoded_gives_the_truth_back(schedule, sampler, seed, data):
    path = schedule.path()
    laws.what_is_encoded_is_decoded(path, sampler, data.draw(st.integers(1, path.T)), truth(seed))


@given(schedules(), samplers(), seeds)
def test_a_batch_of_times_decodes_like_each_time_alone(schedule, sampler, seed):
    laws.a_batch_of_times_decodes_like_each_alone(schedule.path(), sampler, seed)


def test_where_no_trace_of_the_clean_image_is_left_sm_n_takes_the_input_for_it():
    path = registry.load(Schedule, "power")().path()
    t = truth(0)
    x_in = t.x0 + t.res
    noise = registry.load(Sampler, "sm-n")().targets(path, path[1000])["noise"]
    found = decode(forward(t.x0, x_in, t.eps, path[1000]), path[1000], [(noise, t.eps)], x_in)
    close(found.x0, x_in)
    close(found.eps, t.eps)


def test_heads_that_say_nothing_about_the_image_are_an_error_in_one_sentence():
    node = registry.load(Schedule, "power")().path()[500]
    t = truth(0)
    with pytest.raises(SpecError, match=r"dependent equations .* at t = 500.0, so they do not determine"):
        decode(t.x0, node, [((node.A, node.B, node.C), t.x0)], t.x0)


@given(schedules(), seeds, st.data())
def test_eta_1_is_the_ancestral_posterior_of_the_chain(schedule, seed, data):
    path = schedule.path()
    high = data.draw(st.integers(2, path.T))
    laws.eta_1_is_the_ancestral_posterior(path, high, data.draw(st.integers(1, high - 1)), truth(seed))


@given(schedules(), etas, st.data())
def test_every_eta_keeps_the_variance_of_the_path(schedule, eta, data):
    path = schedule.path()
    high = data.draw(st.integers(1, path.T))
    laws.every_eta_keeps_the_variance(path, high, data.draw(st.integers(0, high - 1)), eta)


@given(schedules(), seeds, etas, st.data())
def test_the_step_to_0_returns_the_predicted_clean_image(schedule, seed, eta, data):
    path = schedule.path()
    t = truth(seed)
    close(reverse_step(t, path[data.draw(st.integers(1, path.T))], path[0], eta, lambda: torch.ones_like(t.x0)), t.x0)


@given(st.floats(0.01, 1.0), st.integers(2, 50))
def test_the_posterior_variances_of_a_residual_schedule_add_up_to_at_most_the_noise_level(level, T):
    path = registry.load(Schedule, "power")(T=T, beta_T2=level).path()
    assert path.posterior_variance.sum() <= level + 1e-12


@given(seeds)
def test_clipping_moves_the_clean_image_into_range_and_leaves_input_and_noise(seed):
    t = truth(seed)
    clipped = clip(t)
    assert clipped.x0.abs().max() <= 1
    close(clipped.x0 + clipped.res, t.x0 + t.res)
    assert clipped.eps is t.eps
    assert (clipped.x0 == t.x0.clamp(-1, 1)).all()


def test_a_pixel_may_rise_by_the_whole_range():
    # the residual of black to white is -2: nothing in the process may clip it to -1
    black, white = torch.full((1, 1, 2, 2), -1.0), torch.full((1, 1, 2, 2), 1.0)
    path = registry.load(Schedule, "power")().path()
    heads = [((-1.0, 1.0, 0.0), black - white)]
    prediction = clip(decode(black, path[1000], heads, black))
    assert (reverse_step(prediction, path[1000], path[0]) == 1).all()


def test_coefficients_may_differ_by_frequency():
    # an operator-valued path: the residual of each column enters at its own speed
    abar = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None] ** torch.tensor([0.5, 1.0, 2.0, 3.0, 4.0])
    bbar = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None].expand_as(abar)
    path = Path.dual(abar, bbar)
    t = truth(0)
    x_in = t.x0 + t.res
    for t_now in (3, torch.tensor([2, 7])):
        node = path[t_now]
        x = forward(t.x0, x_in, t.eps, node)
        found = decode(x, node, [((-1.0, 1.0, 0.0), t.res)], x_in)
        close(found.eps, t.eps)
        close(reverse_step(found, node, path[0]), t.x0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": torch.tensor([1.0, 0.5])}, "float64"),
        ({"A": torch.tensor([0.9, 0.5], dtype=torch.float64)}, "t = 0 must be the clean image"),
        ({"C": torch.tensor([0.0, -0.5], dtype=torch.float64)}, "negative at t = 1"),
        ({"B": torch.tensor([0.0, torch.nan], dtype=torch.float64)}, "not finite at t = 1"),
        ({"C": torch.tensor([0.0, 0.5, 0.4], dtype=torch.float64)}, "T [+] 1 rows"),
    ],
)
def test_tables_that_are_no_path_are_refused_with_the_reason(change, message):
    good = {key: torch.tensor(v, dtype=torch.float64) for key, v in zip("ABCF", ([1, 0.5], [0, 0.5], [0, 1], [1, 1]))}
    Path(**good)
    with pytest.raises(SpecError, match=message):
        Path(**(good | change))


def test_a_row_0_that_is_rounded_becomes_exactly_the_clean_image():
    rise = torch.linspace(0, 1, 5, dtype=torch.float64)
    path = Path.dual(rise, torch.sin(torch.pi * (1 - rise / 2)))
    assert torch.sin(torch.tensor(torch.pi, dtype=torch.float64)) > 0
    assert [float(table[0]) for table in (path.A, path.B, path.C)] == [1, 0, 0]
    assert float(path.C[1]) == float(torch.sin(torch.pi * (1 - rise / 2))[1])


def test_noise_that_falls_has_no_posterior_and_is_refused():
    table = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    with pytest.raises(SpecError, match="falls from t = 1"):
        Path.dual(table, torch.tensor([0.0, 0.8, 0.3], dtype=torch.float64))


@pytest.mark.parametrize("t", [-1, 11, torch.tensor([0, 11]), torch.tensor(0.5)])
def test_times_outside_the_path_are_refused(t):
    path = registry.load(Schedule, "power")(T=10).path()
    with pytest.raises(ShapeError, match=r"integers in 0\.\.10"):
        path[t]


def test_the_gauge_decides_what_the_chain_adds():
    # DDPM's chain (F = A) shrinks the image and adds only noise; RDDM's (F = 1) adds residual and noise to all of it
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    for name, gain in (("ddim", None), ("power", 1.0)):
        path = registry.load(Schedule, name)(T=20).path()
        now, to = path[4], path[9]
        want = to.A / now.A if gain is None else torch.tensor(gain)
        close(forward_step(one, zero, zero, zero, now, to), want.double().expand(1, 1))
        drift = forward_step(zero, one, zero, zero, now, to)
        close(drift, (to.A - want * now.A).double().expand(1, 1))
    assert drift.abs() > 0.01


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
def test_a_share_of_the_variance_outside_0_and_1_is_refused(eta):
    path, t = registry.load(Schedule, "power")(T=10).path(), truth(0)
    with pytest.raises(SpecError, match=r"eta: must be in \[0, 1\]; given"):
        reverse_step(t, path[5], path[3], eta, lambda: t.eps)

"""The mathematics: what must hold for every registered schedule and sampler, in float64."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import determined, samplers, schedules, times, truth

from rddm import ShapeError, SpecError
from rddm.core import registry
from rddm.core.heads import clip, decode, encode
from rddm.core.kinds import Sampler, Schedule, Solver
from rddm.core.process import Path, Prediction, forward, forward_step, posterior_std, reverse_step

seeds = st.integers(0, 2**32)
etas = st.sampled_from([0.0, 1.0]) | st.floats(0, 1)
SHAPES = st.sampled_from([(2, 3, 4, 5), (1, 1, 7), (2, 4, 3, 2, 2)])


def close(a: torch.Tensor, b: torch.Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=atol)


@given(schedules())
def test_a_path_starts_at_the_clean_image_and_its_noise_level_never_falls(schedule):
    path = schedule.path()
    assert (path.A[0], path.B[0], path.C[0]) == (1, 0, 0)
    assert all(table.dtype == torch.float64 and table.shape == (path.T + 1,) for table in (*path.tables, path.F))
    assert (path.C >= 0).all()
    assert (path.F[:-1] > 0).all()
    assert ((path.C / path.F)[:-1].diff() >= -1e-12).all()


@given(schedules(["power", "truncated-normal", "ddim"]))
def test_residual_and_noise_of_a_residual_schedule_only_grow(schedule):
    path = schedule.path()
    assert (path.C.diff() >= -1e-15).all()
    assert (path.B.diff() >= -1e-15).all()
    assert path.B[-1] <= 1 + 1e-12
    close(path.A + path.B, torch.ones_like(path.A))


@given(schedules(), st.data())
def test_the_chain_has_the_mean_and_the_variance_of_the_closed_form(schedule, data):
    # the chain is linear: follow its mean with z = 0, and its variance by the gains and spreads of its steps
    path = schedule.path()
    nodes = data.draw(times(path.T))[::-1]
    t = truth(data.draw(seeds))
    x_in, zero = t.x0 + t.res, torch.zeros_like(t.x0)
    x, variance = t.x0, torch.zeros(())
    for s, e in itertools.pairwise(nodes):
        now, to = path[s], path[e]
        gain = forward_step(torch.ones_like(zero), zero, zero, zero, now, to)
        spread = forward_step(zero, zero, zero, torch.ones_like(zero), now, to)
        x = forward_step(x, t.x0, x_in, zero, now, to)
        variance = gain**2 * variance + spread**2
    close(x, forward(t.x0, x_in, zero, path[path.T]))
    close(variance, (path.C[-1] ** 2).expand_as(zero))


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
    t = truth(seed, data.draw(SHAPES))
    x_in = t.x0 + t.res
    generator = torch.Generator().manual_seed(seed)
    x = forward(t.x0, x_in, t.eps, path[path.T])
    for now, to in itertools.pairwise(nodes):
        node = path[now]
        noisy = node.C > 0
        eps = (x - forward(t.x0, x_in, torch.zeros_like(x), node)) / node.C if noisy else torch.zeros_like(x)
        z = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        x = reverse_step(Prediction(t.x0, t.res, eps), node, path[to], eta, lambda z=z: z)
    close(x, t.x0)


@given(schedules(), samplers(), st.sampled_from(registry.names("solver")), seeds, etas, st.data())
def test_every_sampler_and_solver_with_an_oracle_network_returns_the_clean_image(
    schedule, sampler, solver, seed, eta, data
):
    path = schedule.path()
    nodes = data.draw(times(path.T))
    t = truth(seed)
    x_in = t.x0 + t.res
    generator = torch.Generator().manual_seed(seed)

    def predict(x, node):
        eps = (x - forward(t.x0, x_in, torch.zeros_like(x), node)) / node.C if node.C > 0 else torch.zeros_like(x)
        now = Prediction(t.x0, t.res, eps)
        heads = [(target, encode(target, now)) for target in sampler.targets(path, node).values()]
        return decode(x, node, heads, x_in)

    def draw():
        return torch.randn(t.x0.shape, generator=generator, dtype=torch.float64)

    if not all(determined(sampler, path, path[t]) for t in nodes[:-1]):
        return  # such as noise alone where abar = 1; see the next tests
    eta = 0.0 if solver == "heun" else eta  # which is deterministic
    x, memory = forward(t.x0, x_in, t.eps, path[path.T]), None
    for now, to in itertools.pairwise(nodes):
        x, _, memory = registry.load(Solver, solver)().step(x, path[now], path[to], predict, draw, eta, memory)
    close(x, t.x0, atol=1e-8)


@given(schedules(), samplers(), seeds, st.data())
def test_decoding_what_was_encoded_gives_the_truth_back(schedule, sampler, seed, data):
    path = schedule.path()
    node = path[data.draw(st.integers(1, path.T))]
    t = truth(seed)
    t = t if node.C > 0 else Prediction(t.x0, t.res, torch.zeros_like(t.eps))  # what holds no noise has none to find
    x_in = t.x0 + t.res
    heads = [(target, encode(target, t)) for target in sampler.targets(path, node).values()]
    if not determined(sampler, path, node):
        return
    found = decode(forward(t.x0, x_in, t.eps, node), node, heads, x_in)
    close(found.x0, t.x0, atol=1e-8)
    close(found.res, t.res, atol=1e-8)
    if node.C > 1e-3:
        close(found.eps, t.eps, atol=1e-8)


@given(schedules(), samplers(), seeds)
def test_a_batch_of_times_decodes_like_each_time_alone(schedule, sampler, seed):
    path = schedule.path()
    t = truth(seed, (path.T, 1, 2, 2))
    index = torch.arange(1, path.T + 1)
    node = path[index]
    x_in = t.x0 + t.res
    x = forward(t.x0, x_in, t.eps, node)
    heads = [(target, encode(target, t)) for target in sampler.targets(path, node).values()]
    try:
        found = decode(x, node, heads, x_in)
    except SpecError:
        assert not all(determined(sampler, path, path[int(t)]) for t in index)
        return
    for i in (0, path.T - 1):
        one = path[int(index[i])]
        row = Prediction(t.x0[i : i + 1], t.res[i : i + 1], t.eps[i : i + 1])
        heads = [(target, encode(target, row)) for target in sampler.targets(path, one).values()]
        alone = decode(x[i : i + 1], one, heads, x_in[i : i + 1])
        close(found.x0[i : i + 1], alone.x0, atol=1e-8)


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
    # Bayes by hand: q(x_s | x_t, x0) from the marginal at s and the Gaussian step s -> t, as a product of Gaussians
    path = schedule.path()
    high = data.draw(st.integers(2, path.T))
    now, to = path[high], path[data.draw(st.integers(1, high - 1))]
    t = truth(seed)
    x_in = t.x0 + t.res
    x_t = forward(t.x0, x_in, t.eps, now)
    gain = now.F / to.F
    shift = (now.A - gain * to.A) * t.x0 + (now.B - gain * to.B) * x_in
    step_variance, mean = now.C**2 - (gain * to.C) ** 2, to.A * t.x0 + to.B * x_in
    variance = to.C**2
    if now.C > 0:  # else the state is pinned, or nothing is random, and says no more than the marginal
        mean = (step_variance * mean + gain * to.C**2 * (x_t - shift)) / now.C**2
        variance = variance * step_variance / now.C**2
    sigma = posterior_std(now, to, 1.0)
    assert sigma.item() ** 2 == pytest.approx(variance.item(), rel=1e-6, abs=1e-13 * max(1, now.C.item() ** 2))
    close(reverse_step(t, now, to, 1.0, lambda: torch.zeros_like(x_t)), mean, atol=1e-6)


@given(schedules(), etas, st.data())
def test_every_eta_keeps_the_variance_of_the_path(schedule, eta, data):
    path = schedule.path()
    high = data.draw(st.integers(1, path.T))
    now, to = path[high], path[data.draw(st.integers(0, high - 1))]
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    kept = reverse_step(Prediction(zero, zero, one), now, to, eta, lambda: zero)
    drawn = reverse_step(Prediction(zero, zero, zero), now, to, eta, lambda: one)
    close(kept**2 + drawn**2, (to.C**2).expand(1, 1))


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

"""Routes through the (abar, bbar) plane: whichever way, perfect predictions end in exactly the clean image."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from gaussian import Blank, prior, scalar_schedules
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from strategies import component, schedules, truth
from torch import nn

from rddm import SpecError
from rddm.core import registry
from rddm.core.entity import Entity
from rddm.core.heads import RES, decode, encode
from rddm.core.kinds import Grid, Route, Sampler, Schedule, Solver, Task
from rddm.core.network import Network
from rddm.core.process import Prediction, forward
from rddm.core.systems.trajectory import itinerary, trajectory
from rddm.grids.arc_length import ArcLength
from rddm.grids.times import Times
from rddm.routes.curve import Curve
from rddm.routes.noise_first import NoiseFirst
from rddm.routes.residual_first import ResidualFirst
from rddm.routes.schedule import Rescheduled
from rddm.samplers.bridge import Bridge
from rddm.samplers.resnoise import ResNoise
from rddm.samplers.sm_res import SMRes
from rddm.samplers.sm_res_n import SMResN
from rddm.samplers.v import V
from rddm.samplers.velocity import Velocity
from rddm.schedules.ddim import DDIM
from rddm.schedules.power import Power
from rddm.schedules.vp import VP
from rddm.testing.strategies import built_in

GRIDS = [name for name in built_in("grid") if name != "times" and not registry.load(Grid, name).truncated]
SOLVERS = st.sampled_from([name for name in built_in("solver") if name != "kappa"])  # which goes off the path


def monotone(schedule: Schedule) -> bool:
    """Whether residual and noise both only grow, so that their plane can be crossed in any other way."""
    path = schedule.path()
    return torch.allclose(path.A + path.B, torch.ones_like(path.A), atol=1e-12, rtol=0) and bool(
        (path.B.diff() >= 0).all() and (path.C.diff() >= 0).all()
    )


DUAL = [name for name in scalar_schedules() if monotone(component(Schedule, name))]
duals = schedules(DUAL).filter(monotone)


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    """Any monotone polygon from [1, 1] to [0, 0], legs along an axis and short ones included."""
    values = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(1e-6, 1)
    abar, bbar = (
        sorted(draw(st.lists(values, min_size=n, max_size=n)), reverse=True) for n in [draw(st.integers(0, 4))] * 2
    )
    points = [(1.0, 1.0), *zip(abar, bbar), (0.0, 0.0)]
    return Curve(points=[point for i, point in enumerate(points) if i == 0 or point != points[i - 1]])


routes = st.one_of(
    *[
        curves() if name == "curve" else st.just(component(Route, name))
        for name in built_in("route")
        if name != "schedule"
    ],
    st.sampled_from(DUAL).map(lambda name: Rescheduled(schedule=component(Schedule, name))),
)


class Known(nn.Module):
    """Answers with the truth, whatever it is shown."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x, time):
        return self.answer


def entity_of(schedule: Schedule, sampler: Sampler, t, net: nn.Module | None = None) -> Entity:
    task = registry.load(Task, "paired")(train="a", eval="b", channels=t.x0.shape[1])
    network = Network(Blank(), sampler, t.x0.shape[1], task.conditions)
    answers = {"res": t.res, "noise": t.eps}
    for key, group in network.groups.items():
        network.nets[key] = net or Known(torch.cat([answers.get(head, t.eps) for head in group], dim=1))
    return Entity((task, sampler, schedule.path(), network))


@given(duals, routes, SOLVERS, st.sampled_from(GRIDS), st.integers(0, 999), st.data())
def test_true_residual_and_noise_lead_to_exactly_the_clean_image_on_every_route(
    schedule, route, solver, grid, seed, data
):
    t = truth(seed)
    keys = {"route": route, "solver": component(Solver, solver), "grid": component(Grid, grid), "clip": "none"}
    sampler = SMResN(clock="path", nets=data.draw(st.sampled_from([1, 2])), **keys)
    way = route.path(schedule.path())
    steps = data.draw(st.integers(1, min(12, way.T)))
    of_input, of_noise = prior(way)
    assume(of_noise > 0 or way.A[-1] == 0)  # else the start is not on the path
    end = forward(t.x0, t.x0 + t.res, t.eps, way[way.T])  # from here on, for two heads do not know I_in
    noise = (end - of_input * (t.x0 + t.res)) / of_noise if of_noise else t.eps
    *_, last = trajectory(entity_of(schedule, sampler, t), t.x0 + t.res, steps=steps, noise=noise, eta=0.0)
    torch.testing.assert_close(last.x, t.x0, rtol=0, atol=1e-10)


@given(duals, routes, st.integers(0, 999), st.floats(0, 1), st.data())
def test_the_true_residual_alone_is_enough_at_any_eta(schedule, route, seed, eta, data):
    t = truth(seed)
    steps = data.draw(st.integers(1, min(12, route.path(schedule.path()).T)))
    entity = entity_of(schedule, SMRes(clock="path", route=route, clip="none"), t)
    *_, last = trajectory(entity, t.x0 + t.res, steps=steps, eta=eta)
    torch.testing.assert_close(last.x, t.x0, rtol=0, atol=1e-10)


@given(duals, st.sampled_from(built_in("solver")), st.integers(2, 8), st.integers(0, 999))
def test_no_solver_keeps_or_averages_noise_across_a_corner_that_has_none(schedule, solver, steps, seed):
    # by an oracle of the residual, which decodes no noise where the state holds none
    t, way = truth(seed), NoiseFirst().path(schedule.path())

    def predict(x, node):
        return decode(x, node, [(RES, t.res)], t.x0 + t.res)

    (corner,) = way.corners
    times = sorted({way.T, way.T // 3, 0, corner} | set(range(0, way.T, max(1, way.T // steps))), reverse=True)
    x, memory = forward(t.x0, t.x0 + t.res, t.eps, way[way.T]), None
    for now, to in pairwise(times):
        x, _, memory = component(Solver, solver).step(x, way[now], way[to], predict, lambda: t.eps, 0.0, memory)
        if to == corner:
            torch.testing.assert_close(x, forward(t.x0, t.x0 + t.res, t.eps, way[corner]), rtol=0, atol=1e-9)
    torch.testing.assert_close(x, t.x0, rtol=0, atol=1e-9)


@settings(max_examples=300)  # two corners between two times are rare
@given(st.integers(4, 60), curves(), st.sampled_from(GRIDS), st.data())
def test_times_on_a_route_fall_from_its_end_to_0_and_visit_every_corner_that_there_are_steps_for(T, route, grid, data):
    path = Power(T=T).path()
    corners = route.path(path).corners
    steps = data.draw(st.integers(1, T))
    sampler = SMRes(clock="path", route=route, grid=component(Grid, grid))
    _, times = itinerary(Entity((path, sampler)), steps)
    assert len(times) == steps + 1
    assert (times[0], times[-1]) == (T, 0)
    assert times == sorted(set(times), reverse=True)
    if steps - 1 >= len(corners):
        assert set(corners) <= set(times)


def test_two_corners_between_two_times_keep_their_order():
    route = Curve(points=[(1, 1), (0.25, 0.5), (0, 0.25), (0, 0)])
    entity = Entity((Power(T=4).path(), SMRes(clock="path", route=route, grid=ArcLength())))
    assert itinerary(entity, 3)[1] == [4, 2, 1, 0]


@given(st.sampled_from([ResidualFirst(), NoiseFirst()]), st.integers(2, 40), st.sampled_from(GRIDS), st.data())
def test_a_route_of_two_legs_visits_its_corner_from_two_steps_on(route, T, grid, data):
    path = Power(T=T).path()
    steps = data.draw(st.integers(2, 2 * T))
    way, times = itinerary(Entity((path, SMRes(clock="path", route=route, grid=component(Grid, grid)))), steps)
    assert T in times
    assert (way.B[T], way.C[T]) == ((0, path.C[-1]) if route.name == "residual-first" else (1, 0))


@given(curves(), st.integers(4, 60))
@example(Curve(points=[(1, 1), (1, 0.875), (0, 0)]), 4)  # a leg shorter than a row
def test_a_curve_runs_monotonely_through_all_its_points(route, T):
    path = route.path(Power(T=T, beta_T2=0.25).path())
    assert path.T == T
    assert (path.B.diff() >= 0).all()
    assert (path.C.diff() >= 0).all()
    assert (path.B[-1], path.C[-1]) == (1, 0.5)
    inner = route.points[1:-1]
    assert len(path.corners) <= len(inner)
    for t in path.corners:
        assert any((path.B[t], 2 * path.C[t]) == pytest.approx(point, abs=1e-12) for point in inner)


def test_a_curve_by_hand():
    path = Curve(points=[(1, 1), (1, 0.5), (0, 0.5), (0, 0)]).path(Power(T=8, beta_T2=4).path())
    assert path.B.tolist() == [0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert path.C.tolist() == [0, 0.5, 1, 1, 1, 1, 1, 1.5, 2]
    assert path.corners == (2, 6)


def states(route: Route, t, steps: int, **keys):
    sampler = SMResN(clock="path", nets=1, route=route, clip="none")
    return list(trajectory(entity_of(Power(T=1000, **keys), sampler, t), t.x0 + t.res, steps=steps, noise=t.eps))


@pytest.mark.parametrize("steps", [2, 4, 10])
def test_residual_first_takes_away_all_residual_and_no_noise_and_then_the_noise(steps):
    t = truth(0)
    walk = states(ResidualFirst(), t, steps, beta_T2=0.25)
    torch.testing.assert_close(walk[steps // 2 - 1].x, t.x0 + 0.5 * t.eps)
    torch.testing.assert_close(walk[-1].x, t.x0)


@pytest.mark.parametrize("steps", [2, 4, 10])
def test_noise_first_takes_away_all_noise_and_no_residual_and_then_the_residual(steps):
    t = truth(0)
    walk = states(NoiseFirst(), t, steps)
    torch.testing.assert_close(walk[steps // 2 - 1].x, t.x0 + t.res)
    torch.testing.assert_close(walk[-1].x, t.x0)


def test_a_step_of_one_leg_changes_nothing_of_the_other():
    t, own = truth(0), Power(T=1000).path()
    first, second, third, fourth, *_ = states(ResidualFirst(), t, 8)
    for k, state in enumerate((first, second, third, fourth), start=1):
        torch.testing.assert_close(state.x, t.x0 + own.B[1000 - 250 * k] * t.res + t.eps)


def test_images_clipped_on_the_way_end_in_the_clean_image_too():
    """Sampling in two passes with the image clamped between them, as published, errs by about 0.3."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 1, 3, 8, 8, generator=generator, dtype=torch.float64) * 2 - 1
    x0, x_in = image[0], image[1]
    t = Prediction(x0, x_in - x0, torch.randn(x0.shape, generator=generator, dtype=torch.float64))
    for route in (ResidualFirst(), NoiseFirst(), Curve(points=[(1, 1), (0.2, 0.9), (0, 0)])):
        sampler = SMResN(clock="path", nets=2, route=route)
        assert sampler.clip == "x0"
        *_, last = trajectory(entity_of(Power(), sampler, t), x_in, steps=10, noise=t.eps)
        torch.testing.assert_close(last.x, x0, rtol=0, atol=1e-10)
    passed = (x0 + t.eps).clamp(-1, 1)  # what the published sampler would go on from
    assert (passed - t.eps - x0).abs().mean() > 0.25


@pytest.mark.parametrize(
    "route",
    [ResidualFirst(), NoiseFirst(), Curve(points=[(1, 1), (0, 0)]), Rescheduled(schedule=Power(T=50))],
    ids=lambda route: route.name,
)
def test_a_network_that_is_told_the_index_refuses_to_leave_the_states_it_knows(route):
    t = truth(0)
    entity = entity_of(Power(T=100), SMResN(route=route), t)
    with pytest.raises(SpecError, match=r"sampler\.route: leaves the states .* sampler\.clock=path"):
        next(trajectory(entity, t.x0 + t.res))


def test_a_network_that_is_told_the_index_takes_another_schedule_of_as_many_steps():
    t = truth(0)
    for schedule in (Power(T=100, alpha="mean"), DDIM(T=100)):
        entity = entity_of(Power(T=100), SMRes(route=Rescheduled(schedule=schedule), clip="none"), t)
        assert entity[Network].told_index
        path, _ = itinerary(entity)
        assert torch.equal(path.C, schedule.path().C)
        *_, last = trajectory(entity, t.x0 + t.res)
        torch.testing.assert_close(last.x, t.x0, rtol=0, atol=1e-10)


def test_a_path_that_is_not_of_residual_form_has_no_plane():
    for route in (ResidualFirst(), NoiseFirst(), Curve(points=[(1, 1), (0, 0)])):
        with pytest.raises(SpecError, match=r"A \+ B is not 1 all along"):
            route.path(VP().path())


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(1, 1), (0.5, 0)], r"lead from \[1, 1\].* to \[0, 0\]"),
        ([(1, 0.9), (0, 0)], r"lead from \[1, 1\].* to \[0, 0\]"),
        ([(1, 1), (0.5, 0.5), (0.6, 0.2), (0, 0)], r"neither may rise.*\[0.5, 0.5\] to \[0.6, 0.2\]"),
        ([(1, 1), (0.5, 0.5), (0.5, 0.5), (0, 0)], "neither may rise or both stand still"),
        ([(1, 1), (1.5, 0.5), (0, 0)], "less than or equal to 1"),
        ([(1, 1)], "at least 2"),
    ],
)
def test_points_that_are_no_way_back_are_refused(points, message):
    with pytest.raises(SpecError, match=message):
        Curve(points=points)


def test_a_route_starts_from_its_own_end():
    t = truth(0)
    path = Rescheduled(schedule=Power(beta_T2=0.25)).path(Power().path())
    torch.testing.assert_close(path.start(t.x0, t.eps), t.x0 + 0.5 * t.eps)
    for route in (ResidualFirst(), NoiseFirst()):
        torch.testing.assert_close(route.path(DDIM().path()).C[-1], DDIM().path().C[-1])


def test_own_times_on_a_route_may_leave_out_its_corner():
    """Straight across: the two legs become one step."""
    t = truth(0)
    sampler = SMResN(clock="path", nets=1, route=ResidualFirst(), grid=Times(at=(20, 3, 0)), clip="none")
    entity = entity_of(Power(T=10), sampler, t)
    assert itinerary(entity)[1] == [20, 3, 0]
    *_, last = trajectory(entity, t.x0 + t.res, noise=t.eps)
    torch.testing.assert_close(last.x, t.x0, rtol=0, atol=1e-10)


@pytest.mark.parametrize("sampler", [V, Velocity])
@pytest.mark.parametrize("steps", [1, 7])
def test_told_the_index_a_network_is_understood_by_its_own_path_along_another_schedule(sampler, steps):
    """It predicts what it was taught at t, A_t eps - C_t I_0 of its own path, whatever the state is made of."""
    t, own = truth(0), Power(T=50)

    class Taught(nn.Module):
        def forward(self, x, time):
            targets = sampler().targets(own.path(), own.path()[int(time[0, 0])])
            return encode(next(iter(targets.values())), t)

    for other in (Power(T=50, alpha="mean"), DDIM(T=50)):
        way = Rescheduled(schedule=other)
        entity = entity_of(own, sampler(route=way, clip="none", steps=steps), t, Taught())
        of_input, of_noise = prior(other.path())
        end = forward(t.x0, t.x0 + t.res, t.eps, other.path()[50])
        noise = (end - of_input * (t.x0 + t.res)) / of_noise
        *_, last = trajectory(entity, t.x0 + t.res, noise=noise)
        torch.testing.assert_close(last.x, t.x0, rtol=0, atol=1e-9)


@pytest.mark.parametrize("sampler", [Velocity, ResNoise, Bridge])
def test_what_only_training_s_path_defines_is_refused_on_a_route(sampler):
    t = truth(0)
    entity = entity_of(Power(T=50), sampler(clock="path", route=ResidualFirst()), t)
    with pytest.raises(SpecError, match=rf"sampler\.route: {sampler().name} predicts what only the path of training"):
        next(trajectory(entity, t.x0 + t.res))

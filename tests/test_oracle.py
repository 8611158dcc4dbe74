"""Sampling with the perfect network of a Gaussian world: what comes out has an exact distribution, and must be right.

All of `trajectory` runs as in production, in float64: what the network is shown and told, start, grid, decoding,
solver. Nothing is estimated from samples.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import pytest
import torch
from gaussian import EYE, D, Law, Telling, World, entity_of, fine, prior, scalar_schedules
from strategies import component

from rddm import SpecError
from rddm.core import registry
from rddm.core.entity import Entity
from rddm.core.kinds import Sampler, Schedule, Solver
from rddm.core.network import Network
from rddm.core.process import Path
from rddm.core.spec import Training
from rddm.core.systems.train import losses
from rddm.core.systems.trajectory import itinerary
from rddm.grids.arc_length import ArcLength
from rddm.routes.curve import Curve
from rddm.routes.noise_first import NoiseFirst
from rddm.routes.residual_first import ResidualFirst
from rddm.routes.schedule import Rescheduled
from rddm.samplers.sm_n import SMN
from rddm.samplers.sm_res import SMRes
from rddm.samplers.sm_res_n import SMResN
from rddm.schedules.ddim import DDIM
from rddm.schedules.indi import InDI
from rddm.schedules.power import Power
from rddm.schedules.table import Table
from rddm.solvers.kappa import Kappa
from rddm.solvers.multistep import Multistep
from rddm.testing.strategies import built_in

SCHEDULES = scalar_schedules()
SAMPLERS = [name for name in built_in("sampler") if name != "auto"]  # which, once decided, is one of the others
TABLE = Table(abar=[0, 0.2, 0.4, 0.5, 0.7, 0.9, 0.95, 1], bbar=[0, 0.1, 0.2, 0.4, 0.6, 0.7, 0.9, 1.1])


def by_hand(
    world: World, path: Path, times: list[int], eta: float, blind: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance after first-order steps, from the tables: the recursion of Gaussians, written out.

    I_s = A_s X + B_s I_in + k (I_t - A_t X - B_t I_in) + sigma z, with sigma^2 by Bayes' rule from the chain
    I_t = (F_t / F_s) I_s + ... + noise. `blind`: at T, where the heads say nothing of the image, I_in stands for it.
    """
    A, B, C, F = (table.tolist() for table in (*path.tables, path.F))
    of_input, of_noise = prior(path)
    mean, covariance = of_input * world.x_in, of_noise**2 * EYE
    for t, s in pairwise(times):
        pull = A[t] * world.covariance @ torch.linalg.pinv(A[t] ** 2 * world.covariance + C[t] ** 2 * EYE)
        if C[t] == 0:
            sigma2, k = C[s] ** 2, 0.0
        else:
            added = C[t] ** 2 - (F[t] / F[s] * C[s]) ** 2
            sigma2 = eta * C[s] ** 2 * added / C[t] ** 2
            k = math.sqrt(max(0.0, C[s] ** 2 - sigma2)) / C[t]
        moved = (A[s] - k * A[t]) * pull + k * EYE
        image = world.mean + pull @ (mean - A[t] * world.mean - B[t] * world.x_in)
        image = world.x_in if blind and t == path.T else image
        mean = (A[s] - k * A[t]) * image + (B[s] - k * B[t]) * world.x_in + k * mean
        covariance = moved @ covariance @ moved.T + sigma2 * EYE
    return mean, covariance


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_few_steps_with_any_heads_have_exactly_the_mean_and_covariance_computed_by_hand(schedule, name):
    world = World()
    chosen = TABLE if schedule == "table" else component(Schedule, schedule)
    entity = entity_of(world, chosen, component(Sampler, name))
    path, times = itinerary(entity, 6)
    silent = path.A[-1] == 0 and path.C[-1] == 0
    if name == "v" and silent:  # v is 0 times image and 0 times noise there
        with pytest.raises(SpecError, match="dependent equations"):
            Law(world, entity, 6, 0.0)
        return
    blind = bool((name == "sm-n" and path.A[-1] == 0) or (name == "resnoise" and silent))
    for eta in (0.0, 0.4, 1.0):
        mean, covariance = Law(world, entity, 6, eta, draws=7).mean_and_covariance()
        want = by_hand(world, path, times, eta, blind)
        torch.testing.assert_close(mean, want[0], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(covariance, want[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("name", ["sm-res-n", "sm-n", "sm-x0"])
def test_all_steps_with_the_index_told_are_the_chain_computed_by_hand(name, seen):
    """S = T: every row of the tables is visited, and one time told wrongly would be seen."""
    world, schedule = World(seen), DDIM(T=30, beta_start=1e-3, beta_end=0.3)
    entity = entity_of(world, schedule, component(Sampler, name))
    for eta in (0.0, 1.0):
        found = Law(world, entity, 30, eta).mean_and_covariance()
        want = by_hand(world, schedule.path(), list(range(30, -1, -1)), eta)
        torch.testing.assert_close(found, want, rtol=1e-9, atol=1e-9)


@cache
def base(schedule: str, seen: bool = True) -> tuple[World, Entity]:
    world = World(seen)
    return world, entity_of(world, fine(schedule), SMRes(grid=ArcLength()))


def errors(schedule: str, solver: Solver, eta: float, counts: tuple[int, ...] = (20, 80)) -> list[float]:
    """Of the covariance of the result; its mean must be exact at any number of steps, for all is linear."""
    world, entity = base(schedule)
    entity, found = entity.replace(SMRes(grid=ArcLength(), solver=solver, clip="none")), []
    for steps in counts:
        mean, covariance = Law(world, entity, steps, eta).from_the_paths_own_end()
        torch.testing.assert_close(mean, world.mean, rtol=0, atol=1e-11)
        found.append((covariance - world.covariance).norm().item())
    return found


NOISY = [name for name in SCHEDULES if name != "cold"]  # which has nothing random to draw a posterior with
ORDERS = {"first-order": 1, "posterior": 1, "heun": 2, "multistep": 2}


@pytest.mark.parametrize("name", [name for name in built_in("solver") if name != "kappa"])
@pytest.mark.parametrize("schedule", NOISY)
def test_deterministic_sampling_converges_to_the_exact_posterior_with_the_order_of_the_solver(schedule, name):
    coarse, fine = errors(schedule, component(Solver, name), 0.0)
    order = math.log(coarse / fine) / math.log(4)
    if ORDERS[name] == 1:
        assert 0.92 < order < 1.02
        assert fine < 0.035
    else:
        assert order > 1.75
        assert fine < 0.0025


@pytest.mark.parametrize("schedule", NOISY)
def test_stochastic_sampling_converges_to_the_exact_posterior_and_multistep_is_far_closer(schedule):
    first = errors(schedule, component(Solver, "first-order"), 1.0)
    second = errors(schedule, Multistep(), 1.0)
    rate = [math.log(coarse / fine) / math.log(4) for coarse, fine in (first, second)]
    assert 0.7 < rate[0] < 1.0
    assert rate[1] > 0.9
    assert second[1] < 0.2 * first[1] < 0.015


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_multistep_has_the_orders_of_the_theory_on_the_default_schedule(eta):
    coarse, fine = errors("power", Multistep(), eta)
    assert math.log(coarse / fine) / math.log(4) == pytest.approx(2.05 if eta == 0 else 1.59, abs=0.05)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_start_is_the_paths_own_end_up_to_the_trace_of_the_image_that_is_left_there(schedule):
    path = fine(schedule).path()
    of_input, of_noise = prior(path)
    A, B, C = (float(table[-1]) for table in path.tables)
    assert abs(of_input - B) <= A + 1e-12
    assert abs(of_noise - C) <= (0.0 if schedule == "ve" else A**2) + 1e-12  # whose noise leaves the image as it is


@pytest.mark.parametrize("schedule", ["power", "truncated-normal", "flow", "resfusion", "indi", "table"])
def test_from_its_own_prior_a_path_without_a_trace_of_the_image_ends_in_the_posterior(schedule):
    world, entity = base(schedule)
    mean, covariance = Law(world, entity, 80, 0.0).mean_and_covariance()
    torch.testing.assert_close(mean, world.mean, rtol=0, atol=1e-11)
    assert (covariance - world.covariance).norm() < 0.035


@pytest.mark.parametrize(("schedule", "name"), [("ddim", "sm-n"), ("ddim", "sm-res-n"), ("power", "sm-res-n")])
def test_generation_draws_from_the_distribution_of_the_images(schedule, name):
    """I_in = 0, and nothing is shown to the network but the state."""
    world = World(seen=False)
    assert torch.equal(world.mean, world.m)
    sampler = registry.load(Sampler, name)(grid=ArcLength(), solver=Multistep())
    for eta, near in ((0.0, 0.002), (1.0, 0.01)):
        mean, covariance = Law(world, entity_of(world, fine(schedule), sampler), 80, eta).from_the_paths_own_end()
        torch.testing.assert_close(mean, world.m, rtol=0, atol=1e-9)
        assert (covariance - world.S).norm() < near


@pytest.mark.parametrize("schedule", [Power(T=50), DDIM(T=50, beta_start=1e-3, beta_end=0.2)], ids=lambda s: s.name)
@pytest.mark.parametrize("sampler", [SMRes(clock="path"), SMResN(clock="path", nets=1)], ids=lambda s: s.name)
def test_the_path_clock_tells_where_in_the_plane_the_state_is(schedule, sampler):
    world = World()
    entity = entity_of(world, schedule, sampler)
    found = Law(world, entity, 7, 1.0).mean_and_covariance()
    want = by_hand(world, *itinerary(entity, 7), 1.0)
    torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-5)  # times are told in float32


def test_one_network_with_both_heads_is_two_networks_of_one():
    world = World()
    for name in ("sm-res-n", "sm-x0-n", "sm-res-mix", "sm-x0-mix"):
        entity = entity_of(world, Power(T=50), registry.load(Sampler, name)(nets=1))
        want = by_hand(world, *itinerary(entity, 6), 0.4)
        torch.testing.assert_close(Law(world, entity, 6, 0.4).mean_and_covariance(), want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(
    "schedule", [Power(T=50), DDIM(T=50), fine("resfusion", T=300, beta_start=1e-3, beta_end=0.02)]
)
def test_training_asks_each_head_for_the_truth(schedule, name):
    """A network that was told it has no loss."""
    sampler = component(Sampler, name)
    entity = entity_of(World(), schedule, sampler).replace(Training(loss="l1"))
    generator, path, network = torch.Generator().manual_seed(0), entity[Path], entity[Network]
    batch = {role: torch.rand(64, D, 5, generator=generator) for role in ("target", "input")} | {"problems": []}
    x0, x_in = (batch[role] * 2 - 1 for role in ("target", "input"))
    for key, group in network.groups.items():
        network.nets[key] = Telling(x0, x_in, path, group)
    found = losses(entity, network, batch, torch.Generator().manual_seed(1), torch.device("cpu"))
    assert set(found) == set(sampler.heads)
    assert max(value.item() for value in found.values()) < 2e-4


@pytest.mark.parametrize(
    "route",
    [
        ResidualFirst(),
        Curve(points=((1, 1), (0.2, 0.9), (0, 0))),
        Curve(points=((1, 1), (0.7, 0.4), (0, 0))),
        Rescheduled(schedule=Power(alpha="mean", beta2="mean")),
    ],
    ids=lambda route: route.name,
)
def test_every_route_through_the_plane_ends_in_the_posterior(route):
    """The flow goes along any curve to the same distribution, and each end state is the start's image under it."""
    world, found = World(), []
    sampler = SMResN(clock="path", nets=1, route=route, grid=ArcLength(), solver=Multistep())
    entity = entity_of(world, Power(T=4000), sampler)
    for steps in (20, 80):
        law = Law(world, entity, steps, 0.0)
        mean, covariance = law.mean_and_covariance()
        torch.testing.assert_close(mean, world.mean, rtol=0, atol=1e-5)
        found.append((covariance - world.covariance).norm().item())
    assert found[1] < 0.01
    assert found[1] < 0.25 * found[0]


def test_noise_first_ends_in_the_mean_alone():
    """Its middle is the input itself, which tells nothing random apart."""
    world = World()
    entity = entity_of(world, Power(T=100), SMResN(clock="path", nets=1, route=NoiseFirst()))
    mean, covariance = Law(world, entity, 20, 0.0).mean_and_covariance()
    torch.testing.assert_close(mean, world.mean, rtol=0, atol=1e-5)
    assert covariance.norm() < 1e-8


def test_kappa_input_is_the_flow_of_indi_and_converges_with_it():
    """Where noise is one draw for the whole path, B_s / B_t = C_s / C_t."""
    kappa, first = (errors("indi", solver, 0.0) for solver in (Kappa(rule="input"), component(Solver, "first-order")))
    assert kappa == pytest.approx(first, rel=1e-9)


def test_sm_n_takes_the_input_for_an_image_of_which_no_trace_is_left_and_so_is_biased_in_restoration():
    world, biases = World(), []
    for steps in (10, 40):
        law = Law(world, entity_of(world, Power(T=4000), SMN()), steps, 0.0)
        biases.append((law.mean_and_covariance()[0] - world.mean).norm().item())
    assert biases[0] > 0.01
    assert biases[1] < 0.5 * biases[0]


def test_a_coarse_indi_is_exact_in_its_mean():
    world = World()
    law = Law(world, entity_of(world, InDI(T=10, epsilon=0.5), SMRes()), 3, 0.0)
    torch.testing.assert_close(law.mean_and_covariance()[0], world.mean, rtol=0, atol=1e-12)

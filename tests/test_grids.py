"""Which times sampling visits."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from gaussian import fine, scalar_schedules
from hypothesis import given
from hypothesis import strategies as st
from strategies import schedules

from rddm import SpecError
from rddm.core import registry
from rddm.core.entity import Entity
from rddm.core.kinds import Grid
from rddm.core.process import Path, spread
from rddm.core.systems.trajectory import itinerary
from rddm.grids.arc_length import ArcLength
from rddm.grids.power import Power
from rddm.grids.times import Times
from rddm.grids.uniform import Uniform
from rddm.samplers.sm_res import SMRes
from rddm.schedules import power
from rddm.testing._ways import falls

SCHEDULES = scalar_schedules()
FULL = [name for name in registry.names("grid") if name != "times" and not registry.load(Grid, name).truncated]
grids = st.sampled_from(FULL).map(lambda name: registry.load(Grid, name)()) | st.floats(0.1, 5).map(
    lambda a: Power(exponent=a)
)


def path_of(T: int) -> Path:
    return power.Power(T=T).path()


def visited(grid: Grid, path: Path, steps: int | None = None, own: int = 1) -> list[int]:
    return itinerary(Entity((path, SMRes(grid=grid, steps=own))), steps)[1]


@given(schedules(SCHEDULES), grids, st.data())
def test_times_fall_strictly_from_T_to_0_in_as_many_steps_as_asked_for_any_number_up_to_T(schedule, grid, data):
    path = schedule.path()
    for steps in {1, data.draw(st.integers(1, path.T)), path.T - 1, path.T} - {0}:
        falls(grid.times(path, steps), path, steps)


@given(grids, st.integers(2, 60))
def test_as_many_steps_as_rows_visit_them_all(grid, T):
    assert grid.times(path_of(T), T) == list(range(T, -1, -1))


@given(st.integers(2, 1000), st.data())
def test_uniform_is_the_floor_of_equal_shares(T, data):
    steps = data.draw(st.integers(1, T))
    assert Uniform().times(path_of(T), steps) == [T * k // steps for k in range(steps, -1, -1)]


def test_the_published_times_are_uniform():
    assert Uniform().times(path_of(1000), 5) == [1000, 800, 600, 400, 200, 0]
    assert Uniform().times(path_of(1000), 3) == [1000, 666, 333, 0]


@given(st.integers(2, 400), st.data())
def test_a_power_of_1_is_uniform_up_to_rounding(T, data):
    steps = data.draw(st.integers(1, T))
    one, other = Power(exponent=1).times(path_of(T), steps), Uniform().times(path_of(T), steps)
    assert all(abs(a - b) <= 1 for a, b in zip(one, other))


def test_a_power_of_2_is_the_quadratic_grid():
    assert Power().times(path_of(1000), 10) == [1000, 810, 640, 490, 360, 250, 160, 90, 40, 10, 0]
    assert Power(exponent=0.5).times(path_of(100), 4) == [100, 87, 71, 50, 0]


@pytest.mark.parametrize("name", SCHEDULES)
def test_arc_length_steps_are_equally_long_in_the_space_of_the_coefficients(name):
    path = fine(name).path()
    points = torch.stack(path.tables, dim=1)
    along = torch.cat([torch.zeros(1), torch.linalg.vector_norm(points.diff(dim=0), dim=1).cumsum(0)])
    longest_row = along.diff().max()
    lengths = -along[ArcLength().times(path, 20)].diff()
    assert (lengths - along[-1] / 20).abs().max() <= longest_row * (1 + 1e-9)


def test_arc_length_by_hand():
    # A falls and B rises by the same, without noise: rows at 0, .1, .2, .3, 1 times sqrt(2)
    table = torch.tensor([0, 0.1, 0.2, 0.3, 1], dtype=torch.float64)
    assert ArcLength().times(Path.dual(table, torch.zeros_like(table)), 2) == [4, 3, 0]
    # noise alone, like sqrt(t): half of it is there at a quarter of the time
    noise = torch.linspace(0, 1, 101, dtype=torch.float64).sqrt()
    assert ArcLength().times(Path.dual(torch.zeros_like(noise), noise), 2) == [100, 25, 0]


@given(st.lists(st.floats(0, 1), min_size=3, max_size=40), st.data())
def test_spread_takes_the_nearest_row_wherever_rows_are_dense_enough(rises, data):
    measure = torch.tensor([0, *rises], dtype=torch.float64).cumsum(0)
    steps = data.draw(st.integers(1, len(rises)))
    times = spread(measure, steps)
    assert (times[0], times[-1], len(times)) == (len(rises), 0, steps + 1)
    wanted = [measure[-1] * k / steps for k in range(steps, -1, -1)]
    nearest = [int((measure - place).abs().argmin()) for place in wanted]
    if len(set(nearest)) == len(nearest) and (nearest[0], nearest[-1]) == (len(rises), 0):
        for t, n, place in zip(times, nearest, wanted):  # two rows may be equally near
            assert (measure[t] - place).abs() <= (measure[n] - place).abs() + 1e-9


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ((10, 5, 1), "must end at 0, the clean image"),
        ((10, 5, 5, 0), "must fall from each time to the next"),
        ((10, 5, 6, 0), "must fall from each time to the next"),
        ((0,), "at least 2"),
        ((10, 2.5, 0), "integer"),
    ],
)
def test_own_times_that_do_not_fall_to_0_are_refused(at, message):
    with pytest.raises(SpecError, match=message):
        Times(at=at)


def test_own_times_start_at_T_and_have_their_own_number_of_steps():
    grid, path = Times(at=(10, 4, 0)), path_of(10)
    assert visited(grid, path, own=7) == [10, 4, 0]
    assert visited(grid, path, 2) == [10, 4, 0]
    with pytest.raises(SpecError, match=r"grid: 'times' has 2 steps of its own; given steps=3"):
        visited(grid, path, 3)
    with pytest.raises(SpecError, match="must start at T = 20, where the state is all input and noise; given 10"):
        visited(grid, path_of(20))


@pytest.mark.parametrize("times", [[9, 4, 0], [10, 4, 1], [10, 4, 4, 0], [10, 4, 6, 0], [10], []])
def test_a_plugin_s_times_that_leave_noise_or_skip_the_start_are_refused(times):
    class Odd(Grid):
        """A grid that says what it is told to."""

        name: Literal["odd"] = "odd"

        def times(self, path: Path, steps: int) -> list[int]:
            return times

    with pytest.raises(SpecError, match=r"sampler\.grid: 'odd' must fall from T = 10 to 0"):
        visited(Odd(), path_of(10))


@pytest.mark.parametrize("steps", [0, -1, 11, 2.0, "3"])
def test_steps_that_are_no_number_of_rows_are_refused(steps):
    with pytest.raises(SpecError, match=r"sampler\.steps: must be an integer in 1\.\.10"):
        visited(Uniform(), path_of(10), steps)

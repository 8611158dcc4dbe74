"""What grids and routes promise."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from rddm.core.errors import SpecError
from rddm.core.kinds import Grid, Route, Schedule
from rddm.core.process import Path, Prediction
from rddm.testing import _laws as laws
from rddm.testing._property import cases, holds, require
from rddm.testing._solvers import power
from rddm.testing.strategies import components, etas, predictions, residual_paths, seeds, times


@holds(
    "grid",
    "Return a list of ints that falls from path.T to 0, each below the one before; `spread` makes such lists.",
)
def times_fall_from_T_to_0_in_the_steps_asked_for(grid: Grid, *, examples: int = 60, T: int | None = None) -> None:
    """Along any path, for any number of steps up to T, times gives steps + 1 integers that fall from T to 0.

    A grid with a number of its own ignores steps, and may refuse a path by SpecError, but not all, and not by the steps
    asked for; a truncated one may refuse any, start below T and end above 0.
    """
    paths = components(Schedule).map(lambda schedule: schedule.path()) | residual_paths(2)
    own: set[bool] = set()  # whether a path's answers have one number of steps, whatever was asked
    reached: list[int] = []  # T of the paths along which something was answered
    refused: list[int] = []  # and of the others

    def tried(path: Path, some: int) -> None:
        asked = [steps for steps in sorted({1, 2, 3, some, path.T}) if steps <= path.T]
        answers = [(steps, _times(grid, path, steps)) for steps in asked]
        found = {steps: answer for steps, answer in answers if answer is not None}
        (reached if found else refused).append(path.T)
        left = [steps for steps in asked if steps not in found]
        known = grid.truncated or not (left and found)
        require(known, f"{left} steps of T = {path.T} are refused by SpecError, and {[*found]} are not")
        fixed = len({len(answer) if isinstance(answer, list) else 0 for answer in found.values()}) == 1
        if len(found) > 1:
            own.add(fixed)
        for steps, answer in found.items():
            falls(answer, path, steps, own=fixed and len(found) > 1, truncated=grid.truncated)

    @cases(examples)
    @given(paths if T is None else st.just(power(T)), st.data())
    def each(path: Path, data: st.DataObject) -> None:
        tried(path, data.draw(st.integers(1, path.T)))

    tried(power(T or 1000), 5)
    each()
    require(reached, "every path was refused by SpecError; if it fits one T only, say check(grid, T=...)")
    require(len(own) < 2, "along some paths it ignores steps, and along others it does not")
    require(grid.truncated or True in own or not refused, f"all steps of T = {refused[:1]} are refused by SpecError")


def falls(found: object, path: Path, steps: int, *, own: bool = False, truncated: bool = False) -> None:
    """Times are steps + 1 ints, or as many as a grid has of its own, and fall from T to 0, or within if truncated."""
    require(isinstance(found, list) and all(type(t) is int for t in found), f"{found!r} is no list of ints")
    assert isinstance(found, list)
    given = f"{steps} steps along T = {path.T} are {found[:8]}{'...' if len(found) > 8 else ''}"
    require(own or len(found) == steps + 1, f"{given}, {len(found) - 1} steps")
    require(len(found) > 1 and all(later < t for t, later in pairwise(found)), f"{given}, which do not fall")
    require(found[-1] >= 0 and found[0] <= path.T, f"{given}, beyond the path")
    ends = (found[0], found[-1]) == (path.T, 0)
    require(truncated or ends, f"{given}: the ends are not T and 0, and truncated is False")


def _times(grid: Grid, path: Path, steps: int) -> list[int] | None:
    try:
        return grid.times(path, steps)
    except SpecError:
        return None


@holds("grid", "Compute the times from the path and steps alone.")
def times_are_always_the_same(grid: Grid, *, T: int | None = None) -> None:
    """times is a function of the path and steps: it gives the same every time."""
    reached = False
    for path in map(power, (20, 1000) if T is None else (T,)):
        for steps in {1, min(5, path.T), max(1, path.T // 2)}:
            one, other = _times(grid, path, steps), _times(grid, path, steps)
            require(one == other, f"for {steps} steps of T = {path.T}, two calls differ")
            reached = reached or isinstance(one, list)
    require(reached, "every path was refused by SpecError; if it fits one T only, say check(grid, T=...)")


@holds(
    "route",
    "Return rddm.plugin.Path.dual(abar, bbar, corners=...), from the rows of own.plane() in another order or shape.",
)
def the_route_is_a_path_from_the_clean_image_on(route: Route, *, examples: int = 30) -> None:
    """Along any residual path, path(own) is a path that starts at the clean image and visits its corners inside."""

    @cases(examples)
    @given(residual_paths(2))
    def each(own: Path) -> None:
        path = route.path(own)
        require(isinstance(path, Path), f"path(own) gives {type(path).__name__}")
        laws.starts_clean_and_its_noise_never_falls(path)
        inside = all(type(t) is int and 0 < t < path.T for t in path.corners)
        require(inside and list(path.corners) == sorted(set(path.corners)), f"corners is {path.corners}, T {path.T}")
        if not route.timed:
            path.plane()

    each()


@holds(
    "route",
    "Let the last row be (abar_T, bbar_T) of the path of training; a route that is another schedule says timed = True.",
)
def the_route_ends_where_training_does(route: Route, *, examples: int = 30) -> None:
    """The end of the route is the end of the path of training, unless `timed` says that it is another schedule's."""
    if route.timed:
        return

    @cases(examples)
    @given(residual_paths(2))
    def each(own: Path) -> None:
        (abar, bbar), ends = own.plane(), [float(table[-1]) for table in route.path(own).plane()]
        want = [float(abar[-1]), float(bbar[-1])]
        near = all(abs(a - b) < 1e-12 for a, b in zip(ends, want, strict=True))
        require(near, f"it ends at (abar, bbar) = {ends}, and training at {want}")

    each()


@holds("route", "abar and bbar must be finite, and C / F must not fall along the route.")
def the_truth_leads_back_along_the_route(route: Route, *, examples: int = 30) -> None:
    """Reverse steps with the true image, residual and noise along the route end at the clean image."""

    @cases(examples)
    @given(residual_paths(2), st.data(), etas, predictions(), seeds)
    def each(own: Path, data: st.DataObject, eta: float, known: Prediction, seed: int) -> None:
        path = route.path(own)
        falling = sorted({*data.draw(times(path.T)), *path.corners}, reverse=True)
        laws.the_truth_walks_back_to_the_clean_image(path, falling, eta, known, seed)

    each()


@holds("route", "Compute the route from the path and the parameters alone, and change no table of the path in place.")
def the_route_is_always_the_same_and_leaves_the_path(route: Route) -> None:
    """path(own) gives the same tables every time, and leaves those of own as they were."""
    own, before = power(20), power(20)
    one, other = route.path(own), route.path(own)
    for key, a, b in zip("ABCF", (*one.tables, one.F), (*other.tables, other.F), strict=True):
        require(torch.equal(a, b), f"{key} differs from one call to the next")
    for key, a, b in zip("ABCF", (*own.tables, own.F), (*before.tables, before.F), strict=True):
        require(torch.equal(a, b), f"{key} of the path of training is changed")

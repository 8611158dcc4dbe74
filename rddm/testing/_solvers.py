"""What a solver promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rddm.core.errors import SpecError
from rddm.core.kinds import Sampler, Schedule, Solver
from rddm.core.named import resolve
from rddm.core.process import Node, Path, Prediction, forward
from rddm.testing import _laws as laws
from rddm.testing._gaussian import Gaussian
from rddm.testing._property import Found, cases, holds, near, require
from rddm.testing.strategies import components, etas, predictions, seeds, times, truth

Predict = Callable[[Tensor, Node], Prediction]


def power(T: int) -> Path:
    """The path of the default schedule, with T steps."""
    return resolve(Schedule, {"name": "power", "T": T}).path()


def teller(path: Path, known: Prediction) -> Predict:
    """A prediction that is the truth."""
    return lambda x, node: Prediction(known.x0, known.res, laws.noise_in(x, known, node))


@holds(
    "solver", "Return (state, prediction, memory): weights are float64 tensors, so use rddm.plugin.combine and scale."
)
def a_step_gives_a_state_of_the_same_shape_and_type(solver: Solver) -> None:
    """step gives (state, prediction, memory), the state shaped and typed like x, for signals, images and volumes."""
    path = power(20)
    for dtype in (torch.float32, torch.float64):
        for shape in ((2, 3, 9), (2, 3, 4, 5), (1, 2, 3, 4, 5)):
            known = Prediction(*(part.to(dtype) for part in vars(truth(0, shape)).values()))
            x, memory = forward(known.x0, known.x0 + known.res, known.eps, path[20]), None
            before = x.clone()
            for now, to in ((20, 13), (13, 5), (5, 0)):
                given = x
                x, found, memory = solver.step(
                    x, path[now], path[to], teller(path, known), laws.drawing(x, now), 0.0, memory
                )
                what = f"the state for x {tuple(given.shape)}, {given.dtype}, is {tuple(x.shape)}, {x.dtype}"
                require(x.shape == given.shape and x.dtype == given.dtype, what)
                require(isinstance(found, Prediction), f"the second of the three is {type(found).__name__}")
                require(torch.equal(given, before), "x is changed in place")
                before = x.clone()


def quiet() -> list[Path]:
    """Paths that hold no noise at some rows above 0, as at a route's corner."""
    early = torch.tensor([0, 0, 0, 0.5, 1], dtype=torch.float64)
    rise = torch.linspace(0, 1, 6, dtype=torch.float64)
    late = torch.cat([torch.zeros(5, dtype=torch.float64), rise])
    return [Path.dual(early, 0.3 * early), Path.dual(torch.cat([rise, rise[-1:].expand(5)]), late, corners=(5,))]


@holds(
    "solver",
    "Where to.C is 0, at t = 0 or above, the step must end at to.A x0 + to.B I_in: no noise of the state is kept.",
)
def an_oracle_is_followed_to_the_clean_image(solver: Solver, *, examples: int = 60) -> None:
    """Along every built-in schedule, over any times, true predictions lead to the clean image, at any eta it takes.

    Rows above 0 may hold no noise, too, as a bridge's end and a route's corner: the state there is A I_0 + B I_in.
    """
    samplers = components(Sampler).filter(lambda sampler: sampler.choice is None)
    schedules, takes, reached = components(Schedule), laws.takes_eta(solver), []
    every = schedules.map(lambda schedule: schedule.path()) | st.sampled_from(quiet())

    @cases(examples)
    @given(every, samplers, st.data(), etas, seeds)
    def each(path: Path, sampler: Sampler, data: st.DataObject, eta: float, seed: int) -> None:
        falling, eta = data.draw(times(path.T)), eta if takes else 0.0
        reached.append(laws.an_oracle_samples_the_clean_image(path, sampler, solver, falling, eta, seed))

    each()
    require(any(reached), "no case could be tried")


@holds("solver", "Keep nothing on self, in the module or in closures; return what the next step needs as memory.")
def trajectories_do_not_influence_each_other(solver: Solver) -> None:
    """Two trajectories whose steps take turns end as each does alone: what is kept is in memory only."""
    path, all_known = power(30), [truth(seed) for seed in (0, 1)]

    def start(known: Prediction) -> tuple[Tensor, object]:
        return forward(known.x0, known.x0 + known.res, known.eps, path[30]), None

    def wrong(known: Prediction) -> Predict:  # a network that is not perfect, so that memories matter
        return lambda x, node: Prediction(known.x0 + 0.1 * x, known.res - 0.1 * x, laws.noise_in(x, known, node) + x)

    def step(x: Tensor, memory: object, known: Prediction, now: int, to: int) -> tuple[Tensor, object]:
        x, _, memory = solver.step(x, path[now], path[to], wrong(known), laws.drawing(x, now), 0.0, memory)
        return x, memory

    nodes, alone = [30, 22, 15, 6, 0], []
    for known in all_known:
        x, memory = start(known)
        for now, to in pairwise(nodes):
            x, memory = step(x, memory, known, now, to)
        alone.append(x)
    states = [start(known) for known in all_known]
    for now, to in pairwise(nodes):
        states = [step(*state, known, now, to) for state, known in zip(states, all_known, strict=True)]
    for (x, _), want in zip(states, alone, strict=True):
        near(x, want, "the end of a trajectory beside another", atol=0, rtol=0)


@holds("solver", "At eta = 0 use the predicted noise; call draw only where now.C is 0 and to.C is not, or for eta > 0.")
def eta_0_is_deterministic(solver: Solver) -> None:
    """At eta = 0, from states that hold noise, what draw gives makes no difference."""
    path, known, ends = power(20), truth(0), []
    for seed in (1, 2):
        x, memory = forward(known.x0, known.x0 + known.res, known.eps, path[20]), None
        for now, to in ((20, 13), (13, 5), (5, 0)):
            predict: Predict = lambda x, node: Prediction(known.x0 + 0.1 * x, known.res, x)  # noqa: E731
            x, _, memory = solver.step(x, path[now], path[to], predict, laws.drawing(x, seed), 0.0, memory)
        ends.append(x)
    near(ends[0], ends[1], "the result with other draws", atol=0, rtol=0)


@holds(
    "solver",
    "Raise SpecError for eta > 0 if the solver is deterministic; rddm.plugin.check_eta refuses what is outside [0, 1].",
)
def eta_outside_0_to_1_is_refused(solver: Solver) -> None:
    """An eta below 0 or above 1 is a SpecError."""
    path, known = power(20), truth(0)
    for eta in (-0.1, 1.1):
        try:
            solver.step(known.eps, path[20], path[9], teller(path, known), laws.drawing(known.eps, 0), eta, None)
        except SpecError:
            continue
        require(False, f"eta = {eta} is taken without a word")


def hill(T: int) -> Path:
    """A bridge, whose noise rises and falls again."""
    share = torch.linspace(0, 1, T + 1, dtype=torch.float64)
    return Path(1 - share, share, (share * (1 - share)).sqrt(), F=1 - share)


def leftovers(solver: Solver, path: Path, nodes: Sequence[int], eta: float, seed: int) -> list[float]:
    """The noise that true predictions leave in the states at all but the first of the nodes, as standard deviations."""
    known, found = truth(7, (2, 3, 64, 64)), []
    x_in, draw = known.x0 + known.res, laws.drawing(known.x0, seed)
    x, memory = forward(known.x0, x_in, known.eps, path[nodes[0]]), None
    for now, to in pairwise(nodes):
        x, _, memory = solver.step(x, path[now], path[to], teller(path, known), draw, eta, memory)
        left = x - forward(known.x0, x_in, torch.zeros_like(x), path[to])
        found.append(left.square().mean().sqrt().item())
    return found


WALKS = ((power(20), (20, 13, 5)), (hill(20), (18, 11, 4)))


@holds(
    "solver",
    "Multiply what draw gives by sigma, and what is kept of the predicted noise by sqrt(C_s^2 - sigma^2), as"
    " rddm.plugin.reverse_step does; a deterministic solver raises SpecError for eta > 0.",
)
def eta_above_0_is_drawn_or_refused(solver: Solver) -> None:
    """An eta above 0 is a SpecError, or some noise is drawn, and then states hold no more than the path at its most."""
    for eta in (0.5, 1.0):
        try:
            found = [[leftovers(solver, *walk, eta, seed) for walk in WALKS] for seed in (0, 1)]
        except SpecError:
            continue
        except Exception as error:
            raise Found(f"eta = {eta} raises {type(error).__name__}, no SpecError: {error}") from error
        require(found[0] != found[1], f"eta = {eta} is taken, and what draw gives makes no difference")
        for (path, nodes), left in zip(WALKS, found[0], strict=True):
            most = path.C[[*nodes]].max().item()
            given = f"at eta = {eta}, over {[*nodes]}, the noise of the states has the standard deviations {left}"
            require(max(left) < 1.03 * most, f"{given}, and the path's is {most:.4g} at most")


@holds(
    "solver",
    "The weights of the predicted noise and of what draw gives must be C of the time ahead together, the root of the"
    " sum of their squares; a solver with other marginals by intention leaves this out.",
)
def states_hold_the_noise_of_the_path(solver: Solver) -> None:
    """With true predictions, the noise in a state has the standard deviation C of its time, at any eta it takes."""
    for eta in (0.0, 0.5, 1.0) if laws.takes_eta(solver) else (0.0,):
        for path, nodes in WALKS:
            for to, left in zip(nodes[1:], leftovers(solver, path, nodes, eta, 0), strict=True):
                want = path.C[to].item()
                given = f"at eta = {eta}, over {[*nodes]}, it is {left:.4g} at t = {to}, and C is {want:.4g}"
                require(abs(left / want - 1) < 0.03, given)


@holds("solver", "Call predict(x, now) at least once a step; each call costs one evaluation of the network.")
def a_step_evaluates_the_network(solver: Solver, *, evaluations: int | None = None) -> None:
    """A step calls predict, first with the state given, at its time; as often as `evaluations` says if it is set."""
    path, known, calls = power(20), truth(0), []
    tell = teller(path, known)

    def predict(x: Tensor, node: Node) -> Prediction:
        calls.append((x, node))
        return tell(x, node)

    x = forward(known.x0, known.x0 + known.res, known.eps, path[20])
    solver.step(x, path[20], path[9], predict, laws.drawing(x, 0), 0.0, None)
    require(calls, "predict is never called")
    require(calls[0][0] is x and calls[0][1].t == 20, "the first evaluation is not of the state given, at its own time")
    require(evaluations in (None, len(calls)), f"a step evaluates the network {len(calls)} times, not {evaluations}")


@holds(
    "solver",
    "Weights may have one value for each item and coefficient, (B, *S): combine and scale broadcast them.",
)
def coefficients_may_differ_by_frequency(solver: Solver, *, examples: int = 20) -> None:
    """Along a path whose tables are (T + 1, *S), as that of a blur, true predictions lead to the clean image, too."""
    speeds = torch.tensor([0.5, 1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    share = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None]
    path = Path.dual(share**speeds, share.expand(11, 5).clone())
    takes = laws.takes_eta(solver)

    @cases(examples)
    @given(times(10), predictions(st.just((2, 3, 4, 5))), etas, seeds)
    def each(falling: list[int], known: Prediction, eta: float, seed: int) -> None:
        def predict(x: Tensor, node: Node) -> Prediction:
            left = x - forward(known.x0, known.x0 + known.res, torch.zeros_like(x), node)
            return Prediction(known.x0, known.res, left / node.C.reshape(1, 1, -1, 5))

        x, memory = forward(known.x0, known.x0 + known.res, known.eps, path[10]), None
        for now, to in pairwise(falling):
            x, _, memory = solver.step(
                x, path[now], path[to], predict, laws.drawing(x, seed), eta if takes else 0.0, memory
            )
        near(x, known.x0, "the image")

    each()


@holds("solver", "A step is x + dA x0 + dB I_in + dC eps up to second order; look at signs, and at to.C - now.C.")
def the_error_falls_at_least_with_the_step(solver: Solver, *, order: float = 1.0) -> None:
    """On Gaussian images, whose exact flow is known, the error falls with the step's length to the power of `order`."""
    case = Gaussian(power(20_000))
    for grid in ("inside", "arc-length"):
        coarse, fine = case.errors(solver, grid)
        measured = case.order(solver, grid)
        given = f"{measured:.2f} ({coarse:.3g} in 40 steps, {fine:.3g} in 160) on times {grid}"
        require(measured > order - 0.12 * order, f"the measured order is {given}, and {order:g} was expected")

"""Solvers on a problem whose exact solution is known: how fast their error falls."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

import rddm
from rddm import SpecError
from rddm.core import registry
from rddm.core.kinds import Schedule, Solver
from rddm.core.process import Path, Prediction, combine
from rddm.solvers.heun import Heun
from rddm.solvers.multistep import Multistep

T = 2560
ORDERS = {"first-order": 1, "heun": 2, "multistep": 2}
SCHEDULES = [
    {"name": "power", "T": T},
    {"name": "power", "T": T, "alpha": "increasing"},
    {"name": "power", "T": T, "alpha": "mean", "beta2": "mean"},
    {"name": "power", "T": T, "beta_T2": 0.01},
    {"name": "power", "T": T, "grid": "linspace", "alpha_power": 0.5},
    {"name": "ddim", "T": T, "beta_start": 1e-4 * 1000 / T, "beta_end": 0.02 * 1000 / T},
]


class Gaussian:
    """I_0 | I_in ~ N(mean, variance) by pixel: the posterior and the probability flow are known in closed form."""

    def __init__(self, path: Path) -> None:
        generator = torch.Generator().manual_seed(0)
        self.path = path
        self.variance = torch.tensor([0.05, 0.3, 1.2], dtype=torch.float64)
        self.x_in = torch.randn(1, 3, generator=generator, dtype=torch.float64)
        self.mean = 0.3 * self.x_in + 0.1
        self.start = torch.randn(1, 3, generator=generator, dtype=torch.float64)

    def state(self, t: int) -> torch.Tensor:
        """Where the flow is at t: the same quantile of every marginal."""
        node = self.path[t]
        return node.A * self.mean + node.B * self.x_in + self.start * (node.A**2 * self.variance + node.C**2).sqrt()

    def predict(self, x, node):
        gain = node.A * self.variance / (node.A**2 * self.variance + node.C**2)
        x0 = self.mean + gain * (x - node.A * self.mean - node.B * self.x_in)
        eps = (x - node.A * x0 - node.B * self.x_in) / node.C
        return Prediction(x0, self.x_in - x0, eps)

    def solve(self, solver: Solver, nodes: list[int]) -> torch.Tensor:
        x, memory = self.state(nodes[0]), None
        for now, to in pairwise(nodes):
            x, _, memory = solver.step(x, self.path[now], self.path[to], self.predict, None, 0.0, memory)
        return x


@pytest.mark.parametrize("keys", SCHEDULES, ids=str)
@pytest.mark.parametrize("name", registry.names("solver"))
def test_the_error_falls_with_the_order_of_the_solver(name, keys):
    problem = Gaussian(registry.load(Schedule, keys["name"])(**keys).path())
    solver = registry.load(Solver, name)()
    high, low = T * 31 // 32, T // 32  # inside: at the ends bbar can have an infinite slope
    errors = []
    for steps in (40, 160):
        nodes = [round(low + (high - low) * k / steps) for k in range(steps, -1, -1)]
        errors.append((problem.solve(solver, nodes) - problem.state(low)).norm().item())
    order = math.log(errors[0] / errors[1]) / math.log(4)
    assert order == pytest.approx(ORDERS[name], abs=0.12)


@pytest.mark.parametrize("name", ["heun", "multistep"])
def test_second_order_reaches_the_clean_image_closer_than_first_order_at_equal_evaluations(name):
    problem = Gaussian(registry.load(Schedule, "power")(T=T).path())
    for evaluations in (20, 40, 80):
        steps = evaluations // 2 if name == "heun" else evaluations
        errors = [
            (problem.solve(solver, [T * k // n for k in range(n, -1, -1)]) - problem.state(0)).norm().item()
            for solver, n in (
                (registry.load(Solver, name)(), steps),
                (registry.load(Solver, "first-order")(), evaluations),
            )
        ]
        assert errors[0] < 0.35 * errors[1]


def test_multistep_limits_its_ratio_and_may_end_at_first_order():
    problem = Gaussian(registry.load(Schedule, "power")(T=T).path())
    nodes = [T, T - 10, T // 2, 0]  # the second step is 127 times the first
    limited, free = (problem.solve(Multistep(limit=limit), nodes) for limit in (2.5, 1e9))
    assert not torch.allclose(limited, free)
    first = problem.solve(registry.load(Solver, "first-order")(), nodes)
    torch.testing.assert_close(problem.solve(Multistep(limit=0), nodes), first)
    two = [T, T // 2, 0]
    x = problem.solve(Multistep(lower_last=True), two)
    torch.testing.assert_close(x, problem.solve(registry.load(Solver, "first-order")(), two))


def test_multistep_with_noise_keeps_the_marginal_variance_to_second_order():
    # sample the flow's stochastic version many times: mean and variance of the clean image must be those of I_0
    problem = Gaussian(registry.load(Schedule, "power")(T=T).path())
    generator = torch.Generator().manual_seed(0)
    count, nodes = 40_000, [T * k // 20 for k in range(20, -1, -1)]
    end = problem.path[T]
    noise = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    start = combine((end.A + end.B, end.C), (problem.x_in.expand(count, 3), noise))
    errors = []
    for name in ("first-order", "multistep"):
        x, memory, solver = start, None, registry.load(Solver, name)()
        for now, to in pairwise(nodes):
            x, _, memory = solver.step(
                x,
                problem.path[now],
                problem.path[to],
                problem.predict,
                lambda: torch.randn(count, 3, generator=generator, dtype=torch.float64),
                1.0,
                memory,
            )
        errors.append((x.var(0) / problem.variance - 1).abs().max().item())
    assert errors[1] < 0.4 * errors[0]
    assert errors[1] < 0.1


def test_heun_is_deterministic_only_and_evaluates_twice_but_for_the_last_step():
    problem = Gaussian(registry.load(Schedule, "power")(T=T).path())
    with pytest.raises(SpecError, match="eta: must be 0 for the solver heun; given 0.5"):
        Heun().step(problem.state(T), problem.path[T], problem.path[0], problem.predict, None, 0.5, None)
    calls = []
    predict = problem.predict
    problem.predict = lambda x, node: (calls.append(1), predict(x, node))[1]
    problem.solve(Heun(), [T, T // 2, 0])
    assert len(calls) == 3


def test_a_spec_takes_any_solver_by_name():
    for name in registry.names("solver"):
        trainer = rddm.build(
            {
                "task": {"name": "paired", "train": "a", "eval": "b"},
                "sampler": {"name": "sm-res", "steps": 4, "solver": name},
                "backbone": {"name": "nafnet", "width": 8, "enc_blocks": [1], "middle_blocks": 1, "dec_blocks": [1]},
            }
        )
        assert trainer.restore(torch.rand(3, 9, 9)).isfinite().all()

"""A problem whose solution is known: images that are Gaussian by pixel, and the flow of their process."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from rddm.core.kinds import Grid, Solver
from rddm.core.named import resolve
from rddm.core.process import Node, Path, Prediction


class Gaussian:
    """I_0 | I_in ~ N(mean, variance) by pixel: the posterior and the probability flow are known in closed form."""

    def __init__(self, path: Path) -> None:
        generator = torch.Generator().manual_seed(0)
        self.path = path
        self.variance = torch.tensor([0.05, 0.3, 1.2], dtype=torch.float64)
        self.x_in = torch.randn(1, 3, generator=generator, dtype=torch.float64)
        self.mean = 0.3 * self.x_in + 0.1
        self.quantile = torch.randn(1, 3, generator=generator, dtype=torch.float64)

    def state(self, t: int) -> Tensor:
        """Where the flow is at t: the same quantile of every marginal."""
        node = self.path[t]
        std = (node.A**2 * self.variance + node.C**2).sqrt()
        return node.A * self.mean + node.B * self.x_in + self.quantile * std

    def predict(self, x: Tensor, node: Node) -> Prediction:
        """What the perfect network says: the means of image, residual and noise, given the state."""
        total = node.A**2 * self.variance + node.C**2
        shift = (x - node.A * self.mean - node.B * self.x_in) / torch.where(total > 0, total, 1.0)
        x0 = self.mean + node.A * self.variance * shift
        return Prediction(x0, self.x_in - x0, node.C * shift)

    def solve(self, solver: Solver, nodes: list[int]) -> Tensor:
        """The flow from nodes[0] on; a bridge, pinned there, has the quantile as its first draw."""
        x, memory = self.state(nodes[0]), None
        for now, to in pairwise(nodes):
            x, _, memory = solver.step(
                x, self.path[now], self.path[to], self.predict, lambda: self.quantile, 0.0, memory
            )
        return x

    def nodes(self, grid: str, steps: int) -> list[int]:
        """Times inside the path, where the grid is "inside", else those of the grid of that name, from T to 0."""
        if grid != "inside":
            return resolve(Grid, grid).times(self.path, steps)
        low, high = self.path.T // 32, self.path.T * 31 // 32
        return [round(low + (high - low) * k / steps) for k in range(steps, -1, -1)]

    def errors(self, solver: Solver, grid: str, counts: tuple[int, ...] = (40, 160)) -> list[float]:
        """Distances from the exact flow, where the steps of these numbers end."""
        ways = [self.nodes(grid, steps) for steps in counts]
        return [(self.solve(solver, nodes) - self.state(nodes[-1])).norm().item() for nodes in ways]

    def order(self, solver: Solver, grid: str) -> float:
        """The power of the step's length with which the error falls from 40 to 160 steps."""
        coarse, fine = self.errors(solver, grid)
        return math.log(coarse / fine) / math.log(4)

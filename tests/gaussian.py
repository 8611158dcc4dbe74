"""A world in which the perfect network is known: Gaussian images, and inputs that are a linear view of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from strategies import component
from torch import Tensor, nn

from rddm.core import registry
from rddm.core.entity import Entity
from rddm.core.kinds import Backbone, Sampler, Schedule, Task
from rddm.core.network import Network
from rddm.core.process import Path
from rddm.core.systems.trajectory import trajectory
from rddm.testing.strategies import built_in

T = 100_000  # so that rows are closer than steps even where bbar rises like sqrt(t)
BETAS = {"T": T, "beta_start": 1e-4 * 1000 / T, "beta_end": 0.02 * 1000 / T}
FINE = {  # schedules with T rows, at levels of noise like the data's; another schedule is taken with its defaults
    "bbdm": {"T": T},
    "cold": {"T": T},
    "ddim": BETAS,
    "diffuir": BETAS | {"delta_start": 1e-6 * 1000 / T, "delta_end": 1.8e-3 * 1000 / T},
    "flow": {"T": T},
    "i2sb": {"T": T},
    "indi": {"T": T, "epsilon": 0.5},
    "interpolant": {"T": T},
    "ir-sde": {"T": T},
    "power": {"T": T},
    "resfusion": BETAS,
    "resshift": {"T": T, "eta_1": 1e-6},
    "table": {
        "abar": [math.sin(math.pi / 2 * k / T) for k in range(T + 1)],
        "bbar": [0.8 * k / T for k in range(T + 1)],
    },
    "truncated-normal": {"T": T},
    "ve": {"T": T, "sigma_max": 3.0},
    "vp": BETAS,
}


def fine(name: str, **keys: object) -> Schedule:
    """A schedule of that name with many rows."""
    settings = FINE.get(name, {}) | keys
    return registry.load(Schedule, name)(**settings) if settings else component(Schedule, name)


def scalar_schedules() -> list[str]:
    """The schedules whose coefficients are the same for all pixels and frequencies."""
    paths = {name: component(Schedule, name).path() for name in built_in("schedule")}
    return [name for name, path in paths.items() if path.A.ndim == 1 and getattr(path, "spectrum", None) is None]


D = 3
ZERO, EYE = torch.zeros(D, dtype=torch.float64), torch.eye(D, dtype=torch.float64)


class World:
    """I_0 ~ N(m, S) in D dimensions, the channels; I_in = H I_0 + b + noise, of which one is at hand. All float64.

    Without `seen`, as in generation, I_in is 0 and says nothing.
    """

    def __init__(self, seen: bool = True) -> None:
        generator = torch.Generator().manual_seed(3)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        root = draw(D, D)
        self.m, self.S = 0.4 * draw(D), root @ root.T / D + 0.1 * EYE
        self.H, self.b, self.R = 0.6 * draw(D, D), 0.2 * draw(D), 0.3 * EYE
        self.seen = seen
        self.x_in = draw(D) if seen else torch.zeros(D, dtype=torch.float64)
        gain = self.S @ self.H.T @ torch.linalg.inv(self.H @ self.S @ self.H.T + self.R)
        self.gain = gain if seen else torch.zeros_like(gain)
        self.mean = self.believed(self.x_in[:, None])[:, 0]  # of I_0, given I_in
        self.covariance = self.S - self.gain @ self.H @ self.S

    def believed(self, x_in: Tensor) -> Tensor:
        """E[I_0 | I_in], (D, N) from (D, N)."""
        return self.m[:, None] + self.gain @ (x_in - (self.H @ self.m + self.b)[:, None])

    def predict(self, x_t: Tensor, x_in: Tensor, A: float, B: float, C: float) -> tuple[Tensor, Tensor]:
        """E[I_0 | I_t, I_in] and E[eps | I_t, I_in], (D, N) each."""
        total = A * A * self.covariance + C * C * EYE
        mean = self.believed(x_in)
        pull = torch.linalg.pinv(total) @ (x_t - A * mean - B * x_in)
        return mean + A * self.covariance @ pull, C * pull


def answers_of(
    x_t: Tensor, x_in: Tensor, x0: Tensor, eps: Tensor, now: Sequence[Any], before: Sequence[Any], T: int
) -> dict[str, Tensor]:
    """What heads mean, by their names, with the path's (A, B, C, F) at t and at t - 1."""
    A, _, C, F = now
    rise = [T * (here - there) for here, there in zip(now[:3], before[:3])]
    return {
        "res": x_in - x0,
        "noise": eps,
        "x0": x0,
        "res+noise": x_in - x0 + eps,
        "x0+noise": x0 + eps,
        "v": A * eps - C * x0,
        "velocity": rise[0] * x0 + rise[1] * x_in + rise[2] * eps,
        "resnoise": eps + C / (1 + F / before[3]) * (x_in - x0),
        "shift": x_t - x0,
    }


class Perfect(nn.Module):
    """The perfect network: answers for heads from the state, the condition and the time that it is given alone."""

    def __init__(self, world: World, path: Path, heads: tuple[str, ...], clock: str) -> None:
        super().__init__()
        self.world, self.path, self.heads, self.clock = world, path, heads, clock

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        assert len(x) == 1
        assert x.dtype == torch.float64
        assert x.shape[1] == (2 if self.world.seen else 1) * D
        x_t = x[0, :D]
        x_in = x[0, D:] if self.world.seen else torch.zeros_like(x_t)
        if self.clock == "index":
            (t,) = time[0].tolist()
            assert t == round(t)
            A, B, C = (float(table[round(t)]) for table in self.path.tables)
            before = [float(table[round(t) - 1]) for table in (*self.path.tables, self.path.F)]
            F = float(self.path.F[round(t)])
        else:  # of the residual form, where time is the place in the plane
            B, C = (time[0].double() / self.path.T).tolist()
            A = 1 - B
            before, F = [math.nan] * 4, math.nan
        x0, eps = self.world.predict(x_t, x_in, A, B, C)
        answers = answers_of(x_t, x_in, x0, eps, (A, B, C, F), before, self.path.T)
        return torch.cat([answers[head] for head in self.heads])[None]


class Telling(nn.Module):
    """A network that has been told the clean images, and answers for its heads from the noise that it finds in x_t."""

    def __init__(self, x0: Tensor, x_in: Tensor, path: Path, heads: tuple[str, ...]) -> None:
        super().__init__()
        self.x0, self.x_in, self.path, self.heads = x0, x_in, path, heads

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        t = time[:, 0].long()
        assert torch.equal(x[:, D:], self.x_in)
        tables = (*self.path.tables, self.path.F)
        now, before = ([table[rows].float()[:, None, None] for table in tables] for rows in (t, t - 1))
        A, B, C, _ = now
        eps = (x[:, :D] - A * self.x0 - B * self.x_in) / C
        answers = answers_of(x[:, :D], self.x_in, self.x0, eps, now, before, self.path.T)
        return torch.cat([answers[head] for head in self.heads], dim=1)


class Blank(Backbone):
    """Stands where the perfect network will."""

    name: Literal["blank"] = "blank"

    def build(self, in_chans: int, out_chans: int, times: int) -> nn.Module:
        return nn.Identity()


def entity_of(world: World, schedule: Schedule, sampler: Sampler) -> Entity:
    """All that the production code samples with, and the perfect network."""
    sampler = sampler.model_copy(update={"clip": "none"})
    task = registry.load(Task, "paired" if world.seen else "generation")(train="a", eval="b")
    path, network = schedule.path(), Network(Blank(), sampler, D, task.conditions)
    for key, group in network.groups.items():
        network.nets[key] = Perfect(world, path, group, sampler.clock)
    return Entity((task, sampler, path, network))


class Law:
    """The exact distribution of what `trajectory` gives, an affine function of the start noise and all draws.

    Every pixel of a wide image is one run. From more runs than unknowns the function is solved for, and it must
    explain all of them.
    """

    def __init__(self, world: World, entity: Entity, steps: int, eta: float, draws: int | None = None) -> None:
        draws = (steps if eta else 1) + 1 if draws is None else draws
        runs = 2 * (1 + D * draws)
        x_in = world.x_in[None, :, None].expand(1, D, runs)
        *_, last = trajectory(entity, x_in, steps=steps, eta=eta, generator=torch.Generator().manual_seed(7))
        generator = torch.Generator().manual_seed(7)
        known = [torch.randn(1, D, runs, generator=generator, dtype=torch.float64)[0] for _ in range(draws)]
        design = torch.cat([torch.ones(1, runs, dtype=torch.float64), *known]).T
        solution = torch.linalg.lstsq(design, last.x[0].T).solution
        torch.testing.assert_close(design @ solution, last.x[0].T, rtol=1e-9, atol=1e-9)
        self.offset, self.start, self.rest = solution[0], solution[1 : 1 + D].T, solution[1 + D :].T
        self.world, self.path = world, entity[Path]

    def mean_and_covariance(
        self, mean: Tensor | None = None, covariance: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Of the result, for a start noise with this mean and covariance; by default standard normal."""
        mean = torch.zeros(D, dtype=torch.float64) if mean is None else mean
        covariance = torch.eye(D, dtype=torch.float64) if covariance is None else covariance
        return self.offset + self.start @ mean, self.start @ covariance @ self.start.T + self.rest @ self.rest.T

    def from_the_paths_own_end(self, path: Path | None = None) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the result if the start state had the path's marginal at T, not the prior's."""
        path = self.path if path is None else path
        A, B, C = (float(table[-1]) for table in path.tables)
        of_input, of_noise = prior(path)
        if of_noise == 0:
            return self.mean_and_covariance()
        world = self.world
        return self.mean_and_covariance(
            (A * world.mean + (B - of_input) * world.x_in) / of_noise,
            (A * A * world.covariance + C * C * EYE) / of_noise**2,
        )


def prior(path: Path) -> tuple[float, float]:
    """Weights of I_in and of noise in the state that sampling starts from."""
    return path.prior or (float(path.A[-1] + path.B[-1]), float(path.C[-1]))

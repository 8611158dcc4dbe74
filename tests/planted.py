"""Components that break one property, or keep it in an unusual way, and what they are made of."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from rddm.core.component import Component
from rddm.core.kinds import Backbone, Choice, Records, Source
from rddm.core.process import Path, Prediction, reverse_step
from rddm.grids.uniform import Uniform
from rddm.metrics.psnr import PSNR
from rddm.samplers.sm_res import SMRes
from rddm.schedules.cold_blur import ColdBlur
from rddm.schedules.power import Power
from rddm.solvers.first_order import FirstOrder
from rddm.tasks.paired import Paired


def noise(seed: int, size: tuple[int, ...] = (33, 40), channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)


MASKED = {"extras": {"mask": torch.zeros(1, 48, 40).index_fill(1, torch.arange(10, 30), 1.0)}}


def broken(base: type[Component], parameters: dict[str, Any] | None = None, **members: Any) -> Component:
    """A component of a class derived from one that is right, with other members."""
    return type("Mine", (base,), {"__doc__": "Broken.", "__module__": __name__, **members})(**parameters or {})


def path_with(**tables: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    """The default path with tables changed behind its back."""
    path = Power(T=10).path()
    for key, change in tables.items():
        object.__setattr__(path, key, change(getattr(path, key).clone()))
    return path


def at(row: int, value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(table: torch.Tensor) -> torch.Tensor:
        table[row] = value
        return table

    return change


def falling(table: torch.Tensor) -> torch.Tensor:
    table[1:] = table[1:].flip(0)
    return table


def wandering(self) -> Path:
    return Power(T=10, alpha_power=random.random()).path()


class Skewed(type(ColdBlur().path().spectrum)):
    """A transform that is no isometry."""

    def to(self, image):
        return 2 * super().to(image)

    def back(self, coefficients):
        return super().back(coefficients) / 2


def skewed(self) -> Path:
    path = ColdBlur(T=10).path()
    spectrum = object.__new__(Skewed)
    spectrum.__dict__.update(vars(path.spectrum))
    return replace(path, spectrum=spectrum)


def schedule(path: Callable[[Any], Path]) -> Component:
    return broken(Power, path=path)


def stepping(how: Callable[..., Any], base: type = FirstOrder) -> Component:
    def step(self, x, now, to, predict, draw, eta, memory):
        return how(x, now, to, predict, draw, eta, memory)

    return broken(base, step=step)


def first(x, now, to, predict, draw, eta, memory):
    found = predict(x, now)
    return reverse_step(found, now, to, eta, draw), found, None


KEPT: list[Prediction] = []


def remembering(x, now, to, predict, draw, eta, memory):
    KEPT.append(predict(x, now))
    past = KEPT[-2] if len(KEPT) > 1 and KEPT[-2].x0.shape == x.shape and to.t > 0 else KEPT[-1]
    return reverse_step(past, now, to, eta, draw), KEPT[-1], None


def scalar_only(x, now, to, predict, draw, eta, memory):
    found = predict(x, now)
    kept = float(to.C)
    return to.A * found.x0 + to.B * (found.x0 + found.res) + kept * found.eps, found, None


class Conv(nn.Module):
    """A convolution told the time, as it should be."""

    def __init__(self, i, o, times):
        super().__init__()
        self.conv, self.time, self.out = nn.Conv2d(i, 16, 3, padding=1), nn.Linear(times, 16), nn.Conv2d(16, o, 1)

    def forward(self, x, time):
        emb = torch.sin(self.time((time.float() / 100).sin().to(self.time.weight.dtype)))
        return self.out(torch.relu(self.conv(x) + emb[:, :, None, None])) + x.mean(1, keepdim=True)


def network(forward: Callable[..., Any] | None = None, base: type[nn.Module] = Conv, init: Any = None) -> Component:
    members = {"forward": forward} if forward else {}
    if init:
        members["__init__"] = init
    cls = type("Net", (base,), members)

    class Mine(Backbone):
        """Broken."""

        name: Literal["mine"] = "mine"

        def build(self, in_chans: int, out_chans: int, times: int) -> nn.Module:
            return cls(in_chans, out_chans, times)

    return Mine()


def with_extra(self, i, o, times):
    Conv.__init__(self, i, o, times)
    self.unused = nn.Parameter(torch.zeros(3))


def with_plain_tensor(self, i, o, times):
    Conv.__init__(self, i, o, times)
    self.offset = torch.randn(1)


def seeded_by_the_clock(self, i, o, times):
    Conv.__init__(self, i, o, times)
    with torch.no_grad():
        self.conv.weight.copy_(torch.from_numpy(np.random.default_rng().normal(size=self.conv.weight.shape)))


class Rows(Records):
    """Records of arrays that are given."""

    def __init__(self, rows, names=None, sizes=None, weights=None):
        self.rows, self.roles, self._weights = rows, frozenset(("target",)), weights
        self.names = names or [str(n) for n in range(len(rows))]
        self._sizes = sizes or [row.shape[:2] for row in rows]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return (
            [{"target": row} for row in self.rows[index]] if isinstance(index, slice) else {"target": self.rows[index]}
        )

    def sizes(self):
        return self._sizes

    @property
    def weights(self):
        return self._weights


class Cyclic(Rows):
    """Records that never end."""

    def __getitem__(self, index):
        return super().__getitem__(index if isinstance(index, slice) else index % len(self))


class Open(Rows):
    """Records that hold what cannot be pickled."""

    def __init__(self, rows):
        super().__init__(rows)
        self.reader = lambda index: rows[index]


def source(records: Callable[[], Records]) -> Component:
    class Mine(Source):
        """Broken."""

        name: Literal["mine"] = "mine"

        def open(self) -> Records:
            return records()

    return Mine()


ROWS = [noise(n, (6, 5)) for n in range(3)]
PAIR = {"train": "a", "eval": "b"}


def changed(role: str, change: Callable[[torch.Tensor], torch.Tensor]):
    def example(self, record, crop, generator):
        found = Paired.example(self, record, crop, generator)
        return found | {role: change(found[role])}

    return example


def careless_example(self, record, crop, generator):
    return Paired.example(self, record, crop, torch.default_generator)


def measuring(value: Callable[[torch.Tensor, torch.Tensor], float], **members: Any) -> Component:
    def measure(self, output, target, extras):
        return {"psnr": value(output, target)}

    return broken(PSNR, measure=measure, **members)


def undecided(**members: Any) -> Component:
    def choice(self):
        return Choice((SMRes(), SMRes()), 0.1, 0.1, 1, 2, lambda *_: self)

    return broken(SMRes, choice=property(choice), **members)


def two_networks(self, path, node):
    return {"res": (node.A * 0 - 1, 1.0, 0.0)}


class Lethal(Uniform):
    """A grid that ends any process but the one that it was made in, when it is read there."""

    home: int = 0

    def __setstate__(self, state):
        super().__setstate__(state)
        if self.home != os.getpid():
            os._exit(3)

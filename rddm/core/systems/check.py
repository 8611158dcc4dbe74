"""What is refused before anything is trained."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from rddm.core.entity import Entity
from rddm.core.kinds import Backbone, Sampler, Task
from rddm.core.network import Network
from rddm.core.systems.trajectory import trajectory

SIDE = 32  # pixels; conditions such as filters may need some


def check(entity: Entity) -> None:
    """Refuse what could not be sampled from once it is trained; needs Path, Sampler and Task.

    Samples an image of 32 pixels a side by a network that predicts 0; with an open sampler, by either of its methods.

    Raises:
        SpecError: as `trajectory`.
    """
    sampler, task = entity[Sampler], entity[Task]
    choice = sampler.choice
    for settled in (choice.decide(n, 1, 0.5, "") for n in (0, 1)) if choice else (sampler,):
        network = Network(_Silence(), settled, task.channels, task.conditions)
        size = [SIDE] * task.ndim
        extras = {role: torch.zeros(1, channels, *size) for role, channels in task.extras.items()}
        with torch.inference_mode():
            for _ in trajectory(entity.replace(settled, network), torch.zeros(1, task.channels, *size), extras=extras):
                pass


class _Silence(Backbone):
    """A backbone whose network predicts 0."""

    name: Literal["silence"] = "silence"

    def build(self, in_chans: int, out_chans: int, times: int) -> nn.Module:
        return _Zeros(out_chans)


class _Zeros(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return x.new_zeros(len(x), self.channels, *x.shape[2:])

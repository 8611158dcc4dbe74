"""What a model costs: the paper's efficiency table for any spec."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from statistics import median
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import get_shape
from torch import Tensor, nn

from rddm.core.entity import Entity
from rddm.core.errors import ShapeError
from rddm.core.kinds import Sampler, Task
from rddm.core.network import Network
from rddm.core.process import Path
from rddm.core.systems.sample import restore


@dataclass(frozen=True)
class Profile:
    """Cost of restoring one image of a size, (height, width) or as many sides as it has dimensions."""

    size: tuple[int, ...]
    parameters: int  # trainable, of all networks
    macs: int  # multiply-accumulates of one evaluation of the network, one image
    steps: int
    evaluations: int  # of the network for one image: one a step, or more by solvers that look twice
    seconds: float  # median time of one image, all steps
    peak_memory: int  # bytes: allocated on the GPU, or the process's largest resident size on a CPU
    device: str
    uncounted: dict[str, int]  # operators that fvcore has no count for (elementwise ones, counted as 0), and how many

    @property
    def total_macs(self) -> int:
        """Multiply-accumulates of one image over all steps."""
        return self.macs * self.evaluations


class _Step(nn.Module):
    # one sampling step's network evaluation as a function of tensors alone, which is what a tracer takes
    def __init__(self, entity: Entity) -> None:
        super().__init__()
        path, self.network, self.heads = entity[Path], entity[Network], entity[Sampler].heads
        self.times = self.network.times(path.T, path[path.T // 2])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network(x, self.times, self.heads).values())


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    q, k, v = (get_shape(i) for i in inputs[:3])  # (..., L, E), (..., S, E), (..., S, Ev)
    return int(prod(q[:-2]) * q[-2] * k[-2] * (q[-1] + v[-1]))


def macs(entity: Entity, size: tuple[int, ...]) -> tuple[int, dict[str, int]]:
    """Multiply-accumulates of one step for one image, by fvcore, and the operators it does not count."""
    task, network = entity[Task], entity[Network]
    x = torch.zeros(1, task.channels + task.conditions, *size, device=next(network.parameters()).device)
    analysis = FlopCountAnalysis(_Step(entity).eval(), x)
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return int(analysis.total()), dict(analysis.unsupported_ops())


def profile(entity: Entity, size: tuple[int, ...] = (256, 256), *, runs: int = 3) -> Profile:
    """Measure one image of the size: one warm-up, then the median time of `runs`.

    Raises:
        ShapeError: size is not as many sides as the task has dimensions.
    """
    ndim = entity[Task].ndim
    if not isinstance(size, Sequence) or len(size) != ndim or not all(isinstance(n, int) and n > 0 for n in size):
        raise ShapeError(f"size must be {ndim} sides in pixels, such as {(256,) * ndim}; given {size!r}")
    if not isinstance(runs, int) or runs < 1:
        raise ShapeError(f"runs must be at least 1; given {runs!r}")
    network = entity[Network]
    device = next(network.parameters()).device
    cuda = device.type == "cuda"
    image = torch.zeros(entity[Task].channels, *size, device=device)
    extras = {role: torch.zeros(channels, *size, device=device) for role, channels in entity[Task].extras.items()}
    with torch.inference_mode():
        count, uncounted = macs(entity, size)
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    calls: list[nn.Module] = []
    counting = network.register_forward_hook(lambda module, *_: calls.append(module))
    restore(entity, image, extras=extras)
    counting.remove()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        restore(entity, image, extras=extras)
        if cuda:
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    unit = 1 if sys.platform == "darwin" else 1024
    peak = (
        torch.cuda.max_memory_allocated(device) if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    )
    return Profile(
        size=size,
        parameters=sum(p.numel() for p in network.parameters()),
        macs=count,
        steps=entity[Sampler].steps,
        evaluations=len(calls),
        seconds=median(times),
        peak_memory=peak,
        device=str(device),
        uncounted=uncounted,
    )

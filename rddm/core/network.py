"""The trainable part: named heads on one network, or on one network each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rddm.core.errors import ShapeError, SpecError
from rddm.core.kinds import Backbone, Sampler, Task
from rddm.core.process import Node

Times = Mapping[str, Tensor]


class Network(nn.Module):
    """Predictions by head, `{"res": (B, C, *S), ...}`, for states of any size.

    With `nets: 1` one network has all heads, else each head has its own, so that a head can be evaluated, trained
    and optimised alone. Sizes that are no multiple of the backbone's are padded by reflection, and cut back.
    """

    def __init__(self, backbone: Backbone, sampler: Sampler, channels: int, conditions: int) -> None:
        super().__init__()
        self.heads = sampler.heads
        groups = [self.heads] if sampler.nets == 1 else [(head,) for head in self.heads]
        self.groups = {_key(group): group for group in groups}
        self.clocks = {key: _clock(sampler, group) for key, group in self.groups.items()}
        self.nets = nn.ModuleDict(
            {
                key: backbone.build(channels + conditions, channels * len(group), len(self.clocks[key]))
                for key, group in self.groups.items()
            }
        )
        self.multiple, self.channels, self.backbone = backbone.multiple, channels, backbone.name

    @property
    def told_index(self) -> bool:
        """Whether a network is told the index t, and so knows the states of training's own path only."""
        return any(clock == ("t",) for clock in self.clocks.values())

    def times(self, T: int, node: Node) -> Times:
        """What each network is told of the time: (B, K) or (1, K), t or (abar T) and (bbar T), T that of training."""
        values = {"t": node.t}
        if any(clock != ("t",) for clock in self.clocks.values()):
            dual = node.A + node.B
            if node.A.ndim > 1 or (dual == 0).any():
                problem = "'path' needs one A and B for the whole image, and A + B above 0 all along; use 'index'"
                raise SpecError("Spec", [(("sampler", "clock"), problem)])
            values |= {"abar": node.B / dual * T, "bbar": node.C / dual * T}
        return {
            key: torch.stack([values[name].reshape(-1).float() for name in clock], dim=-1)
            for key, clock in self.clocks.items()
        }

    def forward(self, x: Tensor, times: Times, heads: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Predictions of the wanted heads (all by default) from the state and its conditions, (B, C + K, *S)."""
        size = x.shape[2:]
        x = _pad(x, self.multiple)
        found: dict[str, Tensor] = {}
        for key, group in self.groups.items():
            if heads is None or set(group) & set(heads):
                time = times[key].to(x.device).expand(len(x), -1)
                y = self.nets[key](x, time)
                want = (len(x), self.channels * len(group), *x.shape[2:])
                if y.shape != want:
                    raise ShapeError(
                        f"backbone {self.backbone!r} must give {want} for {tuple(x.shape)}; gave {tuple(y.shape)}"
                    )
                y = y[(..., *map(slice, size))]
                found.update(zip(group, y.chunk(len(group), dim=1), strict=True))
        return found if heads is None else {head: found[head] for head in heads}


def initialised(backbone: Backbone, sampler: Sampler, task: Task, seed: int, *, pretrained: bool = True) -> Network:
    """A fresh network in evaluation mode, always the same for the same seed.

    Args:
        pretrained: with the weights that the backbone starts training from; without where others replace all.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(backbone, sampler, task.channels, task.conditions)
        for net in network.nets.values() if pretrained else ():
            backbone.initialise(net)
        return network.eval()


def _key(group: Sequence[str]) -> str:
    # what a module is called; some names are those of its own methods
    key = "_".join(group)
    return f"{key}_" if hasattr(nn.ModuleDict, key) or hasattr(nn.ModuleDict(), key) else key


def _clock(sampler: Sampler, group: Sequence[str]) -> tuple[str, ...]:
    if sampler.clock == "index":
        return ("t",)
    # arXiv 2308.13712, partially path-independent generation: makes the path free to vary
    alone = {"res": ("abar",), "noise": ("bbar",)}
    return alone.get(group[0], ("abar", "bbar")) if sampler.nets > 1 else ("abar", "bbar")


def _pad(x: Tensor, multiple: int) -> Tensor:
    pads = [-size % multiple for size in x.shape[2:]]
    if not any(pads):
        return x
    # reflection needs a border smaller than the image; thin images repeat their edge instead
    mode = "reflect" if all(pad < size for pad, size in zip(pads, x.shape[2:], strict=True)) else "replicate"
    return F.pad(x, [end for pad in reversed(pads) for end in (0, pad)], mode=mode)

"""The network predicts the velocity of the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from rddm.core.heads import Target
from rddm.core.kinds import Sampler
from rddm.core.process import Node, Path


class Velocity(Sampler):
    """The derivative of the path by its time in [0, 1]: one head, `T (I_t - I_{t-1})` at constant I_0, I_in and eps.

    For the schedule `flow` it is eps - I_0, the target of rectified flow and flow matching; for stochastic
    interpolants their velocity; for RDDM `T (alpha_t I_res + (bbar_t - bbar_{t-1}) eps)`.
    Sources: arXiv 2209.03003, arXiv 2210.02747, arXiv 2303.08797.
    """

    name: Literal["velocity"] = "velocity"
    nets: Literal[1] = 1
    heads: ClassVar[tuple[str, ...]] = ("velocity",)
    bound: ClassVar[bool] = True

    def targets(self, path: Path, node: Node) -> Mapping[str, Target]:
        before = path[(node.t.long() - 1).clamp(min=0)]
        A, B, C = (path.T * (to - now) for to, now in ((node.A, before.A), (node.B, before.B), (node.C, before.C)))
        return {"velocity": (A, B, C)}

"""The network predicts residual and noise as one weighted sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from rddm.core.heads import Target
from rddm.core.kinds import Sampler
from rddm.core.process import Node, Path


class ResNoise(Sampler):
    """Resfusion's target: one head, `eps + k_t I_res`, which alone decides the mean of the ancestral step.

        k_t = (1 - sqrt(alpha_t)) sqrt(1 - F_t^2) / beta_t = C_t / (1 + F_t / F_{t-1}),   alpha_t = (F_t / F_{t-1})^2

    on the schedule `resfusion`, where C^2 = 1 - F^2. Source: Shi et al. 2024, Resfusion (arXiv 2311.14900).
    """

    name: Literal["resnoise"] = "resnoise"
    nets: Literal[1] = 1
    heads: ClassVar[tuple[str, ...]] = ("resnoise",)
    bound: ClassVar[bool] = True

    def targets(self, path: Path, node: Node) -> Mapping[str, Target]:
        before = path[(node.t.long() - 1).clamp(min=0)]
        k = node.C / (1 + node.F / before.F)
        return {"resnoise": (-k, k, 1.0)}

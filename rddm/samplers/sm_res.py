"""The network predicts the residual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from rddm.core.heads import RES, Target
from rddm.core.kinds import Sampler
from rddm.core.process import Node, Path


class SMRes(Sampler):
    """SM-Res: one head, I_res. `x0 = I_in - I_res`, `eps = (x_t - (1 - abar_t) x0 - abar_t I_in) / bbar_t`.

    For restoration: certain, cheap, and well-conditioned at every t. Source: arXiv 2308.13712, sampling methods.
    """

    name: Literal["sm-res"] = "sm-res"
    nets: Literal[1] = 1
    heads: ClassVar[tuple[str, ...]] = ("res",)

    def targets(self, path: Path, node: Node) -> Mapping[str, Target]:
        return {"res": RES}

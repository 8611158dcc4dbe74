"""The networks predict residual and noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from rddm.core.heads import NOISE, RES, Target
from rddm.core.kinds import Sampler
from rddm.core.process import Node, Path


class SMResN(Sampler):
    """SM-Res-N: two heads, I_res and eps. `x0 = x_t - abar_t I_res - bbar_t eps`.

    `nets: 2` trains one network for each head (the paper's best); `nets: 1` one network with both heads.
    Its checkpoints also sample as sm-res and sm-n. Source: arXiv 2308.13712, sampling methods.
    """

    name: Literal["sm-res-n"] = "sm-res-n"
    nets: Literal[1, 2] = Field(default=2, description="one network with both heads, or one for each head")
    heads: ClassVar[tuple[str, ...]] = ("res", "noise")

    def targets(self, path: Path, node: Node) -> Mapping[str, Target]:
        return {"res": RES, "noise": NOISE}

"""The networks predict the residual, and the residual with the noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from rddm.core.heads import RES, Target
from rddm.core.kinds import Sampler
from rddm.core.process import Node, Path


class SMResMix(Sampler):
    """SM-Res-N in the "add noise" form: two heads, I_res and I_res + eps; eps by subtraction.

    Its checkpoints also sample as sm-res. Source: arXiv 2308.13712, sampling methods.
    """

    name: Literal["sm-res-mix"] = "sm-res-mix"
    nets: Literal[1, 2] = Field(default=2, description="one network with both heads, or one for each head")
    heads: ClassVar[tuple[str, ...]] = ("res", "res+noise")

    def targets(self, path: Path, node: Node) -> Mapping[str, Target]:
        return {"res": RES, "res+noise": (-1.0, 1.0, 1.0)}

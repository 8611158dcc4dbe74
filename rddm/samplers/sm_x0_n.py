"""The networks predict the clean image and the noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from rddm.core.heads import NOISE, X0, Target
from rddm.core.kinds import Sampler
from rddm.core.process import Node, Path


class SMX0N(Sampler):
    """SM-x0-N: two heads, I_0 and eps. `I_res = (x_t - x0 - bbar_t eps) / abar_t`.

    It needs no I_in, and says nothing about it where abar_t = 0. Source: arXiv 2308.13712, sampling methods.
    """

    name: Literal["sm-x0-n"] = "sm-x0-n"
    nets: Literal[1, 2] = Field(default=2, description="one network with both heads, or one for each head")
    heads: ClassVar[tuple[str, ...]] = ("x0", "noise")

    def targets(self, path: Path, node: Node) -> Mapping[str, Target]:
        return {"x0": X0, "noise": NOISE}

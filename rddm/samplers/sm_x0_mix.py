"""The networks predict the clean image, and the clean image with the noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from rddm.core.heads import X0, Target
from rddm.core.kinds import Sampler
from rddm.core.process import Node, Path


class SMX0Mix(Sampler):
    """SM-x0-N in the "add noise" form: two heads, I_0 and I_0 + eps; eps by subtraction.

    Its checkpoints also sample as sm-x0. Source: arXiv 2308.13712, sampling methods.
    """

    name: Literal["sm-x0-mix"] = "sm-x0-mix"
    nets: Literal[1, 2] = Field(default=2, description="one network with both heads, or one for each head")
    heads: ClassVar[tuple[str, ...]] = ("x0", "x0+noise")

    def targets(self, path: Path, node: Node) -> Mapping[str, Target]:
        return {"x0": X0, "x0+noise": (1.0, 0.0, 1.0)}

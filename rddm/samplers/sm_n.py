"""The network predicts the noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from rddm.core.heads import NOISE, Target
from rddm.core.kinds import Sampler
from rddm.core.process import Node, Path


class SMN(Sampler):
    """SM-N: one head, eps. `x0 = (x_t - abar_t I_in - bbar_t eps) / (1 - abar_t)`.

    For generation. Errors grow by 1 / (1 - abar_t), which is why it fails for restoration; where abar_t = 1 the
    state holds no trace of the clean image, and I_in stands for it there. Source: arXiv 2308.13712, sampling methods.
    """

    name: Literal["sm-n"] = "sm-n"
    nets: Literal[1] = 1
    heads: ClassVar[tuple[str, ...]] = ("noise",)

    def targets(self, path: Path, node: Node) -> Mapping[str, Target]:
        return {"noise": NOISE}

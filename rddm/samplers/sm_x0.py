"""The network predicts the clean image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from rddm.core.heads import X0, Target
from rddm.core.kinds import Sampler
from rddm.core.process import Node, Path


class SMX0(Sampler):
    """SM-x0: one head, I_0. `I_res = I_in - x0`, `eps = (x_t - (1 - abar_t) x0 - abar_t I_in) / bbar_t`.

    SM-Res with the clean image as the output instead of what separates it from the input. Also the target of InDI,
    Cold Diffusion, ResShift and EDM. Source: arXiv 2308.13712, sampling methods.
    """

    name: Literal["sm-x0"] = "sm-x0"
    nets: Literal[1] = 1
    heads: ClassVar[tuple[str, ...]] = ("x0",)

    def targets(self, path: Path, node: Node) -> Mapping[str, Target]:
        return {"x0": X0}

"""The network predicts how far the state is from the clean image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from rddm.core.errors import SpecError
from rddm.core.heads import Target
from rddm.core.kinds import Sampler
from rddm.core.process import Node, Path


class Bridge(Sampler):
    """The bridges' target: one head, `(I_t - I_0) / s_t`; s = 1 for BBDM ("grad"), `scaled` for I2SB.

    Scaled, `s_t^2 = B_t S` is the variance that I2SB's process has gathered at t, with S that at T, which the path
    knows as C^2 / (A B). Sources: Li et al. 2023 (arXiv 2205.07680), Liu et al. 2023 (arXiv 2302.05872).

    Raises:
        SpecError: scaled on a path that is no such bridge, where C^2 / (A B) changes with t.
    """

    name: Literal["bridge"] = "bridge"
    nets: Literal[1] = 1
    scaled: bool = Field(default=False, description="divide by the standard deviation gathered so far (I2SB)")
    heads: ClassVar[tuple[str, ...]] = ("shift",)
    bound: ClassVar[bool] = True

    def targets(self, path: Path, node: Node) -> Mapping[str, Target]:
        if not self.scaled:
            return {"shift": (node.A - 1, node.B, node.C)}
        first = path[1]
        total = first.C**2 / (first.A * first.B)
        if ((path.C**2 - total * path.A * path.B).abs() > 1e-9 * total).any():
            problem = "needs a Brownian bridge, C^2 = S A B with one S for all t; use schedule i2sb, or scaled: false"
            raise SpecError("Spec", [(("sampler", "scaled"), problem)])
        s = (node.B * total).sqrt()
        return {"shift": ((node.A - 1) / s, node.B / s, node.C / s)}

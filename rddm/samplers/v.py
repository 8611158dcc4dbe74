"""The network predicts v."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from rddm.core.heads import Target
from rddm.core.kinds import Sampler
from rddm.core.process import Node, Path


class V(Sampler):
    """v-prediction: one head, `v = A_t eps - C_t I_0`, well-conditioned wherever A_t^2 + C_t^2 is not small.

    On the variance-preserving circle, A = cos(phi), C = sin(phi), it is the state's derivative by the angle phi.
    Source: Salimans and Ho 2022 (arXiv 2202.00512).
    """

    name: Literal["v"] = "v"
    nets: Literal[1] = 1
    heads: ClassVar[tuple[str, ...]] = ("v",)

    def targets(self, path: Path, node: Node) -> Mapping[str, Target]:
        return {"v": (-node.C, 0.0, node.A)}

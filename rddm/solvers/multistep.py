"""The second-order step that remembers one prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from rddm.core.kinds import Solver
from rddm.core.process import Node, Prediction, combine, posterior_std, reverse_step


class Multistep(Solver):
    """Linear extrapolation from the last two predictions, each in its own coordinate; one evaluation a step.

        res* = res + r_a (res - res_p) / 2,  r_a = (abar_s - abar_t) / (abar_t - abar_p)
        eps* = eps + r_b (eps - eps_p) / 2,  r_b = (bbar_s - bbar_t) / (bbar_t - bbar_p)
        I_s = I_t + (abar_s - abar_t) res* + (bbar_s - bbar_t) eps*                         p: the node before t

    here for any path (A, B, C), as corrections of the first-order step. Ratios are clipped to [0, limit]; where a
    coordinate stood still before, the ratio of the times is taken. The first step remembers nothing and is of first
    order. With eta > 0 only the image is extrapolated, in atan(C / A), and the noise derived from it anew, for eps
    carries the noise drawn before.

    The other coordinates extrapolate the image alone at any eta, so that one head and I_in are enough:
    `x0* = x0 + r (x0 - x0_p) / 2` with r from atan2(C, A) (angle), which is finite all along the path, or from
    ln(A / C) (log-snr), which makes it DPM-Solver++(2M) and its SDE form; steps from or to its infinite ends are of
    first order.

    Source: Adams and Bashforth's two-step rule for dI = res dabar + eps dbbar, the RDDM flow; the family's best known
    member is DPM-Solver++(2M), Lu et al. 2022 (arXiv 2211.01095).
    """

    name: Literal["multistep"] = "multistep"
    limit: float = Field(default=2.5, ge=0, description="largest ratio of a step to the one before it")
    coordinate: Literal["split", "angle", "log-snr"] = Field(
        default="split", description="what is linear: residual and noise each in its own weight, or the image"
    )
    lower_last: bool = Field(default=False, description="make the step to the clean image of first order")

    def step(
        self,
        x: Tensor,
        now: Node,
        to: Node,
        predict: Callable[[Tensor, Node], Prediction],
        draw: Callable[[], Tensor],
        eta: float,
        memory: Any,
    ) -> tuple[Tensor, Prediction, tuple[Node, Prediction]]:
        found = predict(x, now)
        state = reverse_step(found, now, to, eta, draw)
        if memory is not None and not (self.lower_last and (to.t == 0).all()):
            before, past = memory
            image, source, noise = (
                found.x0 - past.x0,
                found.x0 + found.res - past.x0 - past.res,
                found.eps - past.eps,
            )
            if eta > 0 or self.coordinate != "split":
                half = self._ratio([self._place(node) for node in (before, now, to)], before, now, to) / 2
                kept = (to.C**2 - posterior_std(now, to, eta) ** 2).clamp(min=0).sqrt()
                kappa = kept / torch.where(now.C > 0, now.C, 1.0)
                weights = [half * (to.A - kappa * now.A), half * (to.B - kappa * now.B)]
                state = state + combine(weights, (image, source))
            else:
                tables = [[getattr(node, key) for node in (before, now, to)] for key in "ABC"]
                weights = [self._ratio(c, before, now, to) / 2 * (c[2] - c[1]) for c in tables]
                # where a bridge is pinned, there was no noise yet to go on from
                weights[2] = torch.where(before.C > 0, weights[2], 0.0)
                state = state + combine(weights, (image, source, noise))
        return state, found, (now, found)

    def _ratio(self, values: list[Tensor], before: Node, now: Node, to: Node) -> Tensor:
        last, step = values[1] - values[0], values[2] - values[1]
        still = last.abs() < 1e-9
        time = (to.t - now.t) / (now.t - before.t)
        ratio = torch.where(still, time, step / torch.where(still, 1.0, last))
        return torch.where(ratio.isfinite() & last.isfinite(), ratio, 0.0).clamp(0, self.limit)

    def _place(self, node: Node) -> Tensor:
        return node.A.log() - node.C.log() if self.coordinate == "log-snr" else torch.atan2(node.C, node.A)

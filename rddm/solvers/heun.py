"""The second-order step that evaluates twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from rddm.core.errors import SpecError
from rddm.core.kinds import Solver
from rddm.core.process import Node, Prediction, check_eta, combine, reverse_step


class Heun(Solver):
    """The average of the predictions at both ends of a step; two evaluations a step, one for the last.

        I' = I_t + (abar_s - abar_t) res_t + (bbar_s - bbar_t) eps_t
        I_s = I_t + (abar_s - abar_t) (res_t + res') / 2 + (bbar_s - bbar_t) (eps_t + eps') / 2

    here for any path (A, B, C). At the clean image there is no noise left to predict, so the last step is of first
    order. Deterministic, but for the noise that is drawn where a bridge is pinned.

    Raises:
        SpecError: eta is above 0.

    Source: Heun's rule for dI = res dabar + eps dbbar; Karras et al. 2022 (arXiv 2206.00364), algorithm 1, for VE.
    """

    name: Literal["heun"] = "heun"

    def step(
        self,
        x: Tensor,
        now: Node,
        to: Node,
        predict: Callable[[Tensor, Node], Prediction],
        draw: Callable[[], Tensor],
        eta: float,
        memory: Any,
    ) -> tuple[Tensor, Prediction, None]:
        check_eta(eta)
        if eta > 0:
            raise SpecError("Spec", [(("sampler", "eta"), f"must be 0 for the solver heun; given {eta}")])
        here = predict(x, now)
        state = reverse_step(here, now, to, 0.0, draw)
        if (to.t > 0).all():
            there = predict(state, to)
            # where a path is pinned, at either end of the step, it draws or drops its noise, which is right as it is
            noise = torch.where((now.C > 0) & (to.C > 0), to.C - now.C, 0.0)
            steps = ((to.A - now.A) / 2, (to.B - now.B) / 2, noise / 2)
            inputs = there.x0 + there.res - here.x0 - here.res
            state = state + combine(steps, (there.x0 - here.x0, inputs, there.eps - here.eps))
        return state, here, None

"""The paper's own step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor

from rddm.core.kinds import Solver
from rddm.core.process import Node, Prediction, reverse_step


class FirstOrder(Solver):
    """One draw from q(I_s | I_t, I_0, I_res) with the prediction at t, held over the step.

        I_s = I_t - (abar_t - abar_s) res - (bbar_t - sqrt(bbar_s^2 - sigma^2)) eps + sigma z

    eta = 0 is deterministic (DDIM's step under a converted schedule), eta = 1 the ancestral posterior.
    Source: arXiv 2308.13712, the reverse step, for any s < t.
    """

    name: Literal["first-order"] = "first-order"

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
        prediction = predict(x, now)
        return reverse_step(prediction, now, to, eta, draw), prediction, None

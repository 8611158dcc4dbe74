"""The step that keeps a chosen share of what the prediction leaves unexplained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from rddm.core.errors import SpecError
from rddm.core.kinds import Solver
from rddm.core.process import Node, Prediction, check_eta, combine, scale


class Kappa(Solver):
    """From the predicted image and the state itself, without a noise estimate; one evaluation a step.

        I_s = A_s x0 + B_s I_in + kappa (I_t - A_t x0 - B_t I_in) + sigma z
        sigma^2 = eta max(0, C_s^2 - kappa^2 C_t^2)

        rule    kappa
        one     1            Cold Diffusion's improved sampling, and DiffUIR's as published
        zero    0            Cold Diffusion's plain sampling; with eta = 1 all noise is drawn anew at each step
        input   B_s / B_t    I_in drops out: InDI, and I2SB without noise

    eta = 1 keeps the path's marginals where kappa C_t <= C_s, and "one" with falling noise never does; eta = 0 adds no
    noise, not even where a bridge is pinned. What is left of noise is dropped in a step to where the path has none.

    Raises:
        SpecError: rule "input" at a time when I_in is not in the state.

    Source: arXiv 2208.09392 (Cold Diffusion), arXiv 2303.11435 (InDI), arXiv 2302.05872 (I2SB).
    """

    name: Literal["kappa"] = "kappa"
    rule: Literal["one", "zero", "input"] = "one"

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
        found = predict(x, now)
        kappa = self._kappa(now, to)
        sigma = (eta * (to.C**2 - (kappa * now.C) ** 2).clamp(min=0)).sqrt()
        weights = (kappa, to.A - kappa * now.A, to.B - kappa * now.B)
        state = combine(weights, (x, found.x0, found.x0 + found.res))
        return (state + scale(sigma, draw()) if sigma.any() else state), found, None

    def _kappa(self, now: Node, to: Node) -> Tensor:
        if self.rule == "input":
            if (now.B == 0).any():
                problem = f"'input' needs I_in in the state, but B = 0 at t = {now.t.tolist()}; use 'one' or 'zero'"
                raise SpecError("Spec", [(("sampler", "solver", "rule"), problem)])
            kappa = to.B / now.B
        else:
            kappa = torch.full_like(now.A, 1.0 if self.rule == "one" else 0.0)
        return torch.where((now.C > 0) & (to.C == 0), 0.0, kappa)  # no noise is kept where the path has none

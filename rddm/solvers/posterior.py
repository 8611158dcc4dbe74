"""The step of DDPM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from rddm.core.kinds import Solver
from rddm.core.process import Node, Prediction, combine, posterior_std, scale


class Posterior(Solver):
    """One draw from q(I_s | I_t, I_0, I_in) with the state itself in place of the predicted noise.

        I_s = A_s x0 + B_s I_in + k (I_t - A_t x0 - B_t I_in) + sigma z,   k = sqrt(C_s^2 - sigma^2) / C_t

    The same as first-order, except where the image was clipped: the noise then follows from the clipped image. So
    does DDPM, and DDIM with `use_clipped_model_output` of diffusers. eta = 0 is deterministic, eta = 1 ancestral.

    Source: arXiv 2006.11239 (DDPM), equation 7, for eta = 1.
    """

    name: Literal["posterior"] = "posterior"

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
        found = predict(x, now)
        sigma = posterior_std(now, to, eta)
        k = (to.C**2 - sigma**2).clamp(min=0).sqrt() / torch.where(now.C > 0, now.C, 1.0)
        state = combine((k, to.A - k * now.A, to.B - k * now.B), (x, found.x0, found.x0 + found.res))
        return (state + scale(sigma, draw()) if sigma.any() else state), found, None

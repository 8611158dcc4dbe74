"""Stochastic interpolants between two images."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from rddm.core.kinds import Schedule
from rddm.core.process import Path


class Interpolant(Schedule):
    """A way from one image to the other, with noise that is there in between only; x = t/T.

        form                A                     B                     C                    F
        linear              1 - x                 x                     sqrt(a x (1 - x))    A
        trig                cos(pi x / 2)         sin(pi x / 2)         sqrt(a x (1 - x))    A
        encoding-decoding   cos^2(pi x), x < 1/2  cos^2(pi x), x > 1/2  sin^2(pi x)          (1 - x)^2

    I_in is the other image; sampling starts from it. In the middle of encoding-decoding the state is noise alone. The
    gauge, which interpolants leave open, is one whose C / F never falls.

    Source: arXiv 2303.08797, where t = 0 and 1 are the two images.
    """

    name: Literal["interpolant"] = "interpolant"
    T: int = Field(default=1000, ge=2, description="steps of the full chain")
    form: Literal["linear", "trig", "encoding-decoding"] = "linear"
    a: float = Field(default=2.0, ge=0, description="four times the noise variance in the middle; 0 is noise-free")

    def path(self) -> Path:
        x = torch.arange(self.T + 1, dtype=torch.float64) / self.T
        back = x.flip(0)  # 1 - x, exactly 0 and 1 at the ends, as sines below are
        if self.form == "encoding-decoding":
            cosine = (torch.pi * x).cos() ** 2
            A, B = torch.where(x < 0.5, cosine, 0.0), torch.where(x > 0.5, cosine, 0.0)
            return Path(A, B, (torch.pi * torch.minimum(x, back)).sin() ** 2, F=back**2)
        noise = (self.a * x * back).sqrt()
        if self.form == "linear":
            return Path(back, x, noise, F=back)
        A, B = (torch.pi / 2 * back).sin(), (torch.pi / 2 * x).sin()
        return Path(A, B, noise, F=A)

"""The timesteps of diffusers."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from rddm.core.errors import SpecError
from rddm.core.kinds import Grid
from rddm.core.process import Path


class Spaced(Grid):
    """The times that the schedulers of diffusers visit, by their names; t here is t - 1 there. k = S - 1 .. 0:

        leading    1 + offset + k floor(T / S)      starts below T
        trailing   round((k + 1) T / S)
        linspace   1 + round(k (T - 1) / (S - 1))

    and then `end`. It may start below T, though the state that sampling starts from is that at T, and may end above 0:
    so were many models published.

    Raises:
        SpecError: the offset moves the start beyond T, or the last step goes nowhere.

    Source: arXiv 2305.08891, table 2.
    """

    name: Literal["spaced"] = "spaced"
    truncated: ClassVar[bool] = True
    spacing: Literal["leading", "trailing", "linspace"] = "leading"
    offset: int = Field(default=0, ge=0, description="diffusers' steps_offset; for leading only")
    end: Literal[0, 1] = Field(default=0, description="0: the clean image; 1: diffusers' set_alpha_to_one=False")

    def times(self, path: Path, steps: int) -> list[int]:
        T, ks = path.T, range(steps - 1, -1, -1)
        match self.spacing:
            case "leading":
                at = [1 + self.offset + k * (T // steps) for k in ks]
            case "trailing":
                at = np.arange(T, 0, -T / steps)[:steps].round().astype(int).tolist()  # to the same side at halves
            case "linspace":
                at = [1 + round(k * ((T - 1) / max(steps - 1, 1))) for k in ks]
        if at[0] > T:
            problem = f"starts {steps} steps at t = {at[0]}, beyond T = {T}; take fewer steps, or a smaller offset"
            raise SpecError("Spec", [(("sampler", "grid", "offset"), problem)])
        if at[-1] <= self.end:
            problem = f"makes the last of {steps} steps one from t = 1 to t = 1; take fewer steps, or end: 0"
            raise SpecError("Spec", [(("sampler", "grid", "end"), problem)])
        return [*at, self.end]

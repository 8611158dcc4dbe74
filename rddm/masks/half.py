"""One half of the image."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from rddm.core.kinds import Mask
from rddm.masks._shapes import rectangle

SIDES = ("left", "right", "top", "bottom")


class Half(Mask):
    """Half of the rows or columns, the middle one of an odd number not among them unless it is the only one."""

    name: Literal["half"] = "half"
    side: Literal["left", "right", "top", "bottom", "random"] = Field(default="random", description="where the hole is")

    def __call__(self, height: int, width: int, generator: Generator) -> Tensor:
        drawn = SIDES[int(torch.randint(4, (), generator=generator))]
        side = drawn if self.side == "random" else self.side
        rows, columns = (height, max(1, width // 2)) if side in ("left", "right") else (max(1, height // 2), width)
        top, left = (height - rows if side == "bottom" else 0), (width - columns if side == "right" else 0)
        return rectangle(height, width, top, left, rows, columns)

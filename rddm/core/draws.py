"""What is drawn at random, and from what."""

from __future__ import annotations

from math import ceil

import numpy as np
import torch
from pydantic import AfterValidator
from torch import Generator, Tensor
from torch.nn.functional import interpolate

#: (low, high): a value is drawn uniformly in between, anew for every image; equal ends fix it.
Range = tuple[float, float]


def seeded(*key: int, device: torch.device | str = "cpu") -> Generator:
    """A generator for a tuple of numbers, each at least 0; other tuples give independent streams."""
    seed = int(np.random.SeedSequence((len(key), *key)).generate_state(1, np.uint64)[0])
    return Generator(device).manual_seed(seed % 2**63)


def within(least: float, most: float) -> AfterValidator:
    """Validation of a `Range`: least <= low <= high <= most."""

    def check(given: Range) -> Range:
        if not least <= given[0] <= given[1] <= most:
            raise ValueError(
                f"must be (low, high) with {least:g} <= low <= high <= {most:g}; write (x, x) for always x"
            )
        return given

    return AfterValidator(check)


def draw(bounds: Range, generator: Generator) -> float:
    """A number uniform in `bounds`."""
    low, high = bounds
    return low + (high - low) * torch.rand((), generator=generator).item()


def smooth_field(height: int, width: int, cells: int, generator: Generator) -> Tensor:
    """A smooth random field (height, width): normal values at the corners of cells, bicubic in between.

    `cells` of them, rounded up, make the longer side.
    """
    rows, columns = (ceil(cells * size / max(height, width)) for size in (height, width))
    knots = torch.randn(1, 1, rows + 1, columns + 1, generator=generator)
    return interpolate(knots, (height, width), mode="bicubic", align_corners=True)[0, 0]

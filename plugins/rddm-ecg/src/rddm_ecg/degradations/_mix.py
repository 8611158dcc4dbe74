"""What the two degradations share: a level, and kinds of noise added up to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Generator, Tensor


def _ordered(snr: tuple[float, float]) -> tuple[float, float]:
    if not -60 <= snr[0] <= snr[1] <= 60:
        raise ValueError("must be (low, high) with -60 <= low <= high <= 60; write (x, x) for always x")
    return snr


SNR = Annotated[
    tuple[float, float],
    AfterValidator(_ordered),
    Field(description="dB, (low, high): drawn uniformly in between for every example; equal ends fix it"),
]


def added(clean: Tensor, kinds: Sequence[Tensor], snr: tuple[float, float], generator: Generator) -> Tensor:
    """A signal (*, L) in [0, 1] with the kinds of noise, float64 of its shape, at an SNR; clipped to [0, 1].

    The kinds share the noise's power by shares drawn uniformly from all that add up to 1.
    """
    level = snr[0] + (snr[1] - snr[0]) * torch.rand((), generator=generator, dtype=torch.float64)
    shares = -torch.rand(len(kinds), generator=generator, dtype=torch.float64).clamp(min=1e-300).log()
    shares = shares / shares.sum().clamp(min=1e-300)
    noise = sum((share.sqrt() * _normal(kind) for share, kind in zip(shares, kinds, strict=True)), torch.zeros(()))
    x = clean.to(torch.float64).contiguous()  # sums differ in the last bit between memory layouts
    power = x.var(-1, correction=0, keepdim=True)
    return (x + _normal(noise) * (power / 10 ** (level / 10)).sqrt()).clamp(0, 1).to(torch.float32)


def _normal(noise: Tensor) -> Tensor:
    # of mean square 1, or 0 where there is none
    return noise / noise.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-12)

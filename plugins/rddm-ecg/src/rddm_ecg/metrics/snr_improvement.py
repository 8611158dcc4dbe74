"""Improvement of the signal to noise ratio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rddm.plugin import ImageMetric
from rddm_ecg.metrics._leads import mean_over_leads
from rddm_ecg.units import to_mv


class SNRImprovement(ImageMetric):
    """10 log10(sum (i - x)^2 / sum (y - x)^2) dB, of input i, output y and clean signal x. Mean over leads.

    0 for the input itself, below 0 where denoising did harm, infinite for an output that is x. Beside it "snr", the
    output's 10 log10(sum (x - mean x)^2 / sum (y - x)^2) dB. Without the input there is "snr" alone.
    """

    name: Literal["ecg-snr-improvement"] = "ecg-snr-improvement"
    better: ClassVar[Literal["higher", "lower"]] = "higher"

    @property
    def keys(self) -> tuple[str, ...]:
        return ("snr_improvement", "snr")

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        snr = mean_over_leads(output, target, (0, 1), _snr)
        if "input" not in extras:
            return {"snr": snr}
        noisy = extras["input"].cpu().double().flatten(1)

        def gain(y: Tensor, x: Tensor) -> Tensor:
            before, after = ((one - x).square().sum(-1) for one in (to_mv(noisy, (0, 1)), y))
            return torch.where(before == after, 0.0, 10 * torch.log10(before / after))  # both may be exact

        return {"snr_improvement": mean_over_leads(output, target, (0, 1), gain), "snr": snr}


def _snr(y: Tensor, x: Tensor) -> Tensor:
    signal, error = (x - x.mean(-1, keepdim=True)).square().sum(-1), (y - x).square().sum(-1)
    return 10 * torch.log10(signal / error)

"""Quality with no reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torchmetrics.functional.image import spatial_distortion_index, spectral_distortion_index

from rddm.plugin import Array, ImageMetric
from rddm_pansharpen.wald import centres, degraded

SMALLEST = 11  # low-resolution pixels along a side, the window of torchmetrics' index


class QNR(ImageMetric):
    """(1 - D_lambda)(1 - D_s), at most 1, the more the better; and both distortions, the less the better.

    D_lambda: how far the bands of the output are like each other otherwise than those of the MS image.
    D_s: how far they are like PAN otherwise than those of the MS image are like PAN at their resolution.
    Likeness is the universal image quality index in Gaussian windows, 11x11. By torchmetrics.

    It needs "input", the up-sampled MS image, and "pan" among the extras, else it gives nothing: the MS image is read
    off the centres of its pixels in the input, and PAN is degraded by the sensor's MTF. It judges consistency, not
    truth: the target itself is below 1.

    Source: Alparone et al. 2008, "Multispectral and panchromatic data fusion assessment without reference".
    """

    name: Literal["qnr"] = "qnr"
    reference: ClassVar[bool] = False
    ratio: int = Field(default=4, ge=2, description="pixels of PAN along one of MS")
    pan_mtf: float = Field(default=0.15, gt=0, lt=1, description="PAN gain at Nyquist of the MS resolution")

    @property
    def keys(self) -> tuple[str, ...]:
        return ("qnr", "d_lambda", "d_s")

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        height, width = (side // self.ratio * self.ratio for side in output.shape[-2:])
        if not {"input", "pan"} <= set(extras) or len(output) < 2 or min(height, width) < SMALLEST * self.ratio:
            return {}
        fused, up, pan = (_array(image)[:height, :width] for image in (output, extras["input"], extras["pan"]))
        ms, pan_low = centres(up, self.ratio), degraded(pan, self.ratio, self.pan_mtf)
        high, low = _batch(fused), _batch(ms)
        d_lambda = float(spectral_distortion_index(high, low))
        d_s = float(spatial_distortion_index(high, low, _batch(pan).expand_as(high), _batch(pan_low).expand_as(low)))
        return {"qnr": (1 - d_lambda) * (1 - d_s), "d_lambda": d_lambda, "d_s": d_s}


def _array(image: Tensor) -> Array:
    return image.double().permute(1, 2, 0).cpu().numpy()


def _batch(array: Array) -> Tensor:
    return torch.from_numpy(array).permute(2, 0, 1)[None]

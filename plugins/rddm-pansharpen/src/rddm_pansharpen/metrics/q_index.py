"""Universal image quality index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import avg_pool2d

from rddm.plugin import ImageMetric


class QIndex(ImageMetric):
    """Q = 4 cov(x, y) mean(x) mean(y) / ((var(x) + var(y)) (mean(x)^2 + mean(y)^2)), mean over windows and bands.

    In [-1, 1], 1 for equal images. Windows are squares at every place. Where both are constant, their means alone
    count; where both are 0, they are equal. torchmetrics' index has Gaussian windows, and other values.

    Source: Wang, Bovik 2002, "A universal image quality index", with 8 pixels; fusion papers mostly take 32.
    """

    name: Literal["q-index"] = "q-index"
    window: int = Field(default=32, ge=2, description="side in pixels; images that are smaller have no index")

    @property
    def keys(self) -> tuple[str, ...]:
        return ("q_index",)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        if min(output.shape[-2:]) < self.window:
            return {}
        x, y = output.double()[:, None], target.double()[:, None]
        shift = y.mean(dim=(2, 3), keepdim=True)  # variances of numbers near 0 keep their digits
        a, b = x - shift, y - shift
        mean_a, mean_b, aa, bb, ab = (self._means(one) for one in (a, b, a * a, b * b, a * b))
        spread = (aa - mean_a**2 + bb - mean_b**2).clamp(min=0)
        mean_x, mean_y = mean_a + shift, mean_b + shift
        size, flat = mean_x**2 + mean_y**2, spread < 1e-12
        likeness = torch.where(flat, 1.0, 2 * (ab - mean_a * mean_b) / spread)
        light = torch.where(size == 0, 1.0, 2 * mean_x * mean_y / size)
        return {"q_index": float((likeness * light).mean())}

    def _means(self, image: Tensor) -> Tensor:
        return avg_pool2d(avg_pool2d(image, (self.window, 1), stride=1), (1, self.window), stride=1)

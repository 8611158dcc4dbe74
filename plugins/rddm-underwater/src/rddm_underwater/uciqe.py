"""Underwater colour image quality evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from skimage.color import rgb2lab
from torch import Tensor

from rddm.plugin import ImageMetric, images


class UCIQE(ImageMetric):
    """0.4680 sigma + 0.2745 con + 0.2576 mu: spread of chroma, contrast of lightness, saturation; without a target.

        con = 99th - 1st percentile of L,   mu = mean of C / sqrt(C^2 + L^2),   C = sqrt(a^2 + b^2)

    of RGB images rounded to 8 bits, in CIE L*a*b* under D65; of others there is none.

    convention: `published`, "uciqe", is what tables mostly show, the authors' program, which takes LAB in 8 bits
    (2.55 L, a + 128, b + 128) by 255, so that grey has the chroma 0.71, and sigma = sqrt(mean |1 - (mean C / C)^2|).
    Lightness is not stretched to its own range, as it is in that program's Python version. `definition`,
    "uciqe_definition", keeps to the paper's words: L and C of LAB itself, in hundredths, and sigma is the standard
    deviation of C. The two do not compare.

    Source: Yang, Sowmya, "An underwater color image quality evaluation metric", IEEE TIP 2015.
    """

    name: Literal["uciqe"] = "uciqe"
    reference: ClassVar[bool] = False
    convention: Literal["published", "definition"] = Field(
        default="published", description="published: as the authors' program; definition: as in the paper"
    )

    @property
    def keys(self) -> tuple[str, ...]:
        return ("uciqe" if self.convention == "published" else "uciqe_definition",)

    def measure(self, output: Tensor, target: Tensor, extras: Mapping[str, Tensor]) -> dict[str, float]:
        if output.ndim != 3 or len(output) != 3:
            return {}
        lab = np.moveaxis(rgb2lab(images.to_array(output) / 255), -1, 0)
        if self.convention == "published":
            lightness, a, b = np.round([lab[0] * 2.55, lab[1] + 128, lab[2] + 128]) / 255
        else:
            lightness, a, b = lab / 100
        chroma = np.hypot(a, b)
        if self.convention == "published":
            sigma = np.sqrt(np.abs(1 - (chroma.mean() / chroma) ** 2).mean())
        else:
            sigma = chroma.std()
        low, high = np.quantile(lightness, (0.01, 0.99))
        length = np.hypot(chroma, lightness)
        saturation = np.divide(chroma, length, out=np.zeros_like(chroma), where=length > 0).mean()
        return {self.keys[0]: float(0.4680 * sigma + 0.2745 * (high - low) + 0.2576 * saturation)}

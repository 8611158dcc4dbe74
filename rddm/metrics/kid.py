"""Kernel distance of the features of two sets of images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from rddm.core.kinds import Positive, SetMetric
from rddm.metrics._features import INCEPTION, features, identity, loaded
from rddm.metrics._weights import needed


class KID(SetMetric):
    """The squared maximum mean discrepancy of features under the kernel (x.y / D + 1)^3, averaged over subsets.

    Unbiased, so that small sets can be compared, and it may be below 0. "kid" is in the 2048 features of Inception, by
    torchmetrics and torch-fidelity; in those of another network it is "kd_" and its name. Nothing is downloaded.
    Subsets are always the same, and as large as the smaller set at most. Images are rounded to 8 bits, grey ones
    repeated; NaN for fewer than two. Source: arXiv 1801.01401.

    Raises:
        DataError: the weights are not there, or of another network.
        RddmError: torchmetrics or torch-fidelity is not installed.
    """

    name: Literal["kid"] = "kid"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    network: str = Field(default=INCEPTION, description="inception, or the name of a network of timm")
    file: Path | None = Field(default=None, description="its weights; by default of their usual name in $TORCH_HOME")
    subsets: Positive = 100
    subset_size: Positive = Field(default=1000, description="images in a subset, at most")

    @property
    def keys(self) -> tuple[str, ...]:
        return ("kid" if self.network == INCEPTION else f"kd_{self.network}",)

    def prepare(self) -> None:
        needed("kid", "torchmetrics.image.kid")
        loaded("kid", self.network, self.file, "2048")

    def features(self, image: Tensor) -> Tensor:
        return features("kid", self.network, self.file, "2048", image)

    def compare(self, outputs: Iterable[Tensor], targets: Iterable[Tensor]) -> dict[str, float]:
        sets = [torch.stack(list(images)).double() for images in (outputs, targets)]
        size = min(self.subset_size, *map(len, sets))
        if size < 2:
            return {self.keys[0]: math.nan}
        made = needed("kid", "torchmetrics.image.kid").KernelInceptionDistance
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")  # that all features are kept
            torch.manual_seed(0)
            distance = made(identity(sets[0].shape[1]), subsets=self.subsets, subset_size=size)
            for real, images in enumerate(sets):
                distance.update(images, real=bool(real))
            return {self.keys[0]: float(distance.compute()[0])}
